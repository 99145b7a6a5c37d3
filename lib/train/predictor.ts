/**
 * What a trained network does: outputs for samples, and how good they are. Holds no gradient and no optimizer state.
 */
import { type Dataset, expectSamples } from '../data/dataset.js'
import { Device, type DeviceOptions, type Memory } from '../device.js'
import { expect, HebbError, show } from '../error.js'
import { swi } from '../nn/init.js'
import type { Module } from '../nn/module.js'
import type { Sequential } from '../nn/sequential.js'
import type { SparseLinear } from '../nn/sparse_linear.js'
import { Program } from '../program.js'
import { Tensor } from '../tensor.js'
import { type DescribeOptions, describeLayers, type TopologyDescription } from '../topology/describe.js'
import { erdosRenyi } from '../topology/erdos_renyi.js'
import { type Checkpoint, readCheckpoint } from './checkpoint.js'
import { DeviceDataset, SampleOrder } from './feed.js'
import { Graph, noTotals, totalsOf } from './graph.js'
import { checkLoss, type Loss, lossFunction } from './loss.js'

export interface Evaluation {
  readonly loss: number
  /** Share of samples whose class is right; NaN for a regression. */
  readonly accuracy: number
  readonly samples: number
}

export interface RunOptions {
  /** Stops after the batch that runs; the promise then rejects with code ABORTED. */
  signal?: AbortSignal | undefined
}

/** A device, or how to open one. */
export type DeviceChoice = Device | DeviceOptions | 'auto' | 'cpu' | 'cuda'

export function openDevice(choice: DeviceChoice): { device: Device; owned: boolean } {
  if (choice instanceof Device) return { device: choice, owned: false }
  return { device: new Device(typeof choice === 'string' ? { kind: choice } : choice), owned: true }
}

/** The layers of a model that have a density, in its order. */
export function sparseLayers(module: Module): SparseLinear[] {
  if (module.children) return [...module.children.values()].flatMap(sparseLayers)
  return 'density' in module ? [module as unknown as SparseLinear] : []
}

/** The loss for a data set: what was asked for, or what its targets are. */
export function lossFor(data: Dataset, loss?: Loss): Loss {
  return loss ?? (data.labels ? 'crossEntropy' : 'meanSquaredError')
}

/** Refuses data that the model cannot take. */
export function checkData(model: Sequential, data: Dataset, loss?: Loss): void {
  const { inFeatures, outFeatures } = model
  expect(
    typeof data?.samples === 'number',
    () => `Expected a data set made by dataset(), mnist() or the like, got ${show(data)}`,
  )
  expect(
    inFeatures === data.features,
    () =>
      `Expected ${data.name} to have ${inFeatures} features a sample, the width of the model's input, got ` +
      data.features,
  )
  expect(
    outFeatures === data.classes || (data.labels !== undefined && (outFeatures as number) > data.classes),
    () =>
      `Expected ${data.name} to have ${outFeatures} ${data.labels ? 'classes' : 'outputs'}, the width of the ` +
      `model's output, got ${data.classes}`,
  )
  expect(
    (lossFunction(lossFor(data, loss)).targets === 'labels') === (data.labels !== undefined),
    () => `Expected ${data.name} to have ${data.labels ? 'targets' : 'labels'} for the loss ${show(loss)}`,
  )
}

/** Data sets that were brought to a device, each once, with an order for training and one for evaluation. */
export class DeviceDatasets {
  readonly #device: Device
  readonly #found = new Map<Dataset, { data: DeviceDataset; shuffled?: SampleOrder; asTheyLie?: SampleOrder }>()
  #disposed = false

  constructor(device: Device) {
    this.#device = device
  }

  /** With a seed, for training: its samples are read in random orders. */
  of(data: Dataset, seed?: number): SampleOrder {
    if (this.#disposed)
      throw new HebbError('DISPOSED', 'Expected a trainer or predictor that is in use, got one that was disposed')
    let found = this.#found.get(data)
    if (!found) {
      found = { data: new DeviceDataset(this.#device, data) }
      this.#found.set(data, found)
    }
    if (seed === undefined) {
      found.asTheyLie ??= new SampleOrder(this.#device, found.data)
      return found.asTheyLie
    }
    found.shuffled ??= new SampleOrder(this.#device, found.data, seed)
    return found.shuffled
  }

  dispose(): void {
    this.#disposed = true
    for (const { data, shuffled, asTheyLie } of this.#found.values())
      for (const owned of [data, shuffled, asTheyLie]) owned?.dispose()
  }
}

const BATCH = 256

/** Runs a model forward. Called by one at a time. */
export class Inference {
  readonly #device: Device
  readonly #model: Sequential
  readonly #loss: Loss | undefined
  readonly #datasets: DeviceDatasets
  readonly #workspace: Tensor<'uint8'>
  #evaluating: { order: SampleOrder; graph: Graph } | undefined
  #predicting: Graph | undefined

  /** `workspace`: for the values of its graphs. */
  constructor(device: Device, model: Sequential, datasets: DeviceDatasets, workspace: Tensor<'uint8'>, loss?: Loss) {
    this.#device = device
    this.#workspace = workspace
    this.#model = model
    this.#datasets = datasets
    this.#loss = loss
  }

  async evaluate(set: Dataset, { signal }: RunOptions): Promise<Evaluation> {
    const order = this.#datasets.of(set)
    const loss = lossFor(set, this.#loss)
    if (this.#evaluating?.order !== order) {
      this.#evaluating?.graph.dispose()
      const graph = new Graph({
        device: this.#device,
        model: this.#model,
        batch: Math.min(BATCH, set.samples),
        features: set.features,
        feed: order,
        loss,
        workspace: this.#workspace,
      })
      this.#evaluating = { order, graph }
      await order.shuffle(0)
    }
    const { graph } = this.#evaluating
    const sums = noTotals()
    await graph.program.replay(Math.ceil(set.samples / graph.batch), {
      ...{ signal, begin: { step: 0, samples: set.samples } },
      ...{ writes: [[graph.totals, sums]], reads: [[graph.totals, sums]] },
    })
    const totals = totalsOf(sums)
    return { loss: totals.loss, accuracy: set.labels ? totals.accuracy : Number.NaN, samples: set.samples }
  }

  /** `samples`: what check() has counted in x, whose memory may be gone by now. */
  async predict(x: Float32Array | Dataset, samples: number, { signal }: RunOptions): Promise<Float32Array> {
    const features = this.#model.inFeatures as number
    const classes = this.#model.outFeatures as number
    const batch = Math.min(samples, BATCH)
    if (!this.#predicting || this.#predicting.batch < batch) {
      this.#predicting?.dispose()
      this.#predicting = new Graph({
        device: this.#device,
        model: this.#model,
        batch,
        features,
        workspace: this.#workspace,
      })
    }
    const graph = this.#predicting
    const out = new Float32Array(samples * classes)
    for (let first = 0; first < samples; first += graph.batch) {
      const count = Math.min(graph.batch, samples - first)
      await graph.program.replay(1, {
        ...{ signal, begin: { step: 0, columns: count } },
        writes: graph.writes({ x: slice(x, first, count, features), samples: count }),
        reads: [[graph.output, out.subarray(first * classes, (first + count) * classes), count]],
      })
    }
    return out
  }

  /** Refuses what predict() cannot take; returns the number of samples. */
  check(x: Float32Array | Dataset): number {
    const features = this.#model.inFeatures as number
    const samples = x instanceof Float32Array ? x.length / features : x?.samples
    expect(
      samples > 0 && Number.isInteger(samples),
      () => `Expected x to hold samples of ${features} features, got ${show(x)}`,
    )
    if (!(x instanceof Float32Array)) checkData(this.#model, x, this.#loss)
    return samples
  }

  dispose(): void {
    this.#evaluating?.graph.dispose()
    this.#predicting?.dispose()
  }
}

/** Samples [first, first + count) as the network sees them. */
function slice(x: Float32Array | Dataset, first: number, count: number, features: number): Float32Array {
  const [begin, end] = [first * features, (first + count) * features]
  if (x instanceof Float32Array) {
    expect(
      x.length >= end,
      () => `Expected x to keep its ${end} numbers, got ${x.length}. Was its ArrayBuffer transferred or resized?`,
    )
    return x.subarray(begin, end)
  }
  expectSamples(x)
  const seen = new Float32Array(x.x.subarray(begin, end))
  const { perChannel } = x
  const plane = perChannel ? features / perChannel.scale.length : features
  for (let i = 0; i < seen.length; ++i) {
    const channel = Math.floor((i % features) / plane)
    const [scale, shift] = perChannel
      ? [perChannel.scale[channel] as number, perChannel.shift[channel] as number]
      : [x.scale, x.shift]
    seen[i] = (seen[i] as number) * scale + shift
  }
  return seen
}

export interface LoadOptions {
  /** Default 'auto'. */
  device?: DeviceChoice
  /** Needed when the file's model has modules of your own. */
  model?: Sequential
  /** Needed when it was trained with a loss of your own. */
  loss?: Loss
}

/**
 * A trained network from a file, for use without training: it has weights and links, and no gradients or optimizer
 * state.
 */
export class Predictor {
  readonly device: Device
  readonly model: Sequential
  /** What was noted with the checkpoint. */
  readonly notes: Readonly<Record<string, string>>
  readonly #ownsDevice: boolean
  readonly #datasets: DeviceDatasets
  readonly #workspace: Tensor<'uint8'>
  readonly #inference: Inference
  readonly #loss: Loss | undefined
  #queue: Promise<unknown> = Promise.resolve()
  #disposed = false

  /** @internal Use load(). */
  constructor(device: Device, ownsDevice: boolean, model: Sequential, checkpoint: Checkpoint, loss?: Loss) {
    this.device = device
    this.model = model
    this.#ownsDevice = ownsDevice
    this.#datasets = new DeviceDatasets(device)
    this.notes = checkpoint.notes
    this.#loss = loss
    this.#workspace = new Tensor(device, 'uint8', 0)
    this.#inference = new Inference(device, model, this.#datasets, this.#workspace, loss)
  }

  /**
   * The network's outputs (logits) for [samples][features] as the network sees them, or for a data set:
   * [samples][classes]. Calls may overlap; they wait for each other.
   */
  async predict(x: Float32Array | Dataset, options: RunOptions = {}): Promise<Float32Array> {
    const samples = this.#inference.check(x)
    return this.#inTurn(() => this.#inference.predict(x, samples, options))
  }

  /** Mean loss and accuracy on a data set. */
  async evaluate(data: Dataset, options: RunOptions = {}): Promise<Evaluation> {
    checkData(this.model, data, this.#loss)
    return this.#inTurn(() => this.#inference.evaluate(data, options))
  }

  /** Degrees, clustering, path lengths and percolation of the links. */
  async describeTopology(options: DescribeOptions = {}): Promise<TopologyDescription> {
    return this.#inTurn(() => describeLayers(this.model, options))
  }

  /** Live native memory on the predictor's device. */
  memory(): Memory {
    return this.device.memory()
  }

  /** Gives back the network's memory, and the device's if load() opened it. Safe to call twice. */
  dispose(): void {
    if (this.#disposed) return
    this.#disposed = true
    this.#inference.dispose()
    this.#workspace.dispose()
    this.#datasets.dispose()
    this.model.dispose()
    if (this.#ownsDevice) this.device.dispose()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }

  #inTurn<T>(run: () => Promise<T>): Promise<T> {
    const mine = this.#queue.then(() => {
      if (this.#disposed)
        throw new HebbError('DISPOSED', 'Expected a predictor that is in use, got one that was disposed')
      return run()
    })
    this.#queue = mine.catch(() => {})
    return mine
  }
}

/**
 * Reads the network of a checkpoint, for predictions. Optimizer state is not loaded. A file runs no code, but it may
 * ask for as much memory as the network takes that it describes.
 */
export async function load(file: string, options: LoadOptions = {}): Promise<Predictor> {
  const checkpoint = await readCheckpoint(file, { training: false })
  const model = options.model ?? checkpoint.model()
  expect(
    model.parameters.length === 0,
    () => 'Expected a model that nothing uses, got one that is in use. Dispose its trainer, or make another model.',
  )
  checkpoint.check(model)
  const loss = options.loss ? checkLoss(options.loss) : checkpoint.loss
  const { device, owned } = openDevice(options.device ?? 'auto')
  const predictor = new Predictor(device, owned, model, checkpoint, loss)
  try {
    await materialise(device, model, checkpoint)
  } catch (error) {
    predictor.dispose()
    throw error
  }
  return predictor
}

/** Makes the model's parameters as the file has them. */
async function materialise(device: Device, model: Sequential, checkpoint: Checkpoint): Promise<void> {
  const initialise = new Program(device)
  const pending: Promise<void>[] = []
  let layer = 0
  try {
    model.materialise({
      device,
      seed: model.seed,
      topology: erdosRenyi(),
      weights: swi(),
      initialise,
      made: new Set(),
      nextLayer: () => layer++,
      waitFor: (promise) => void pending.push(promise),
      dense: checkpoint.dense,
      restored: (at) => checkpoint.links(at),
      links: () => ({ initial: 0, capacity: 0 }),
    })
    await Promise.all(pending)
    await checkpoint.fill(model)
  } finally {
    initialise.dispose()
  }
}
