import { type Dataset, dataset } from '../data/dataset.js'
import { Device, type DeviceOptions, type Memory } from '../device.js'
import type { Method } from '../dst/method.js'
import { staticSparse } from '../dst/methods.js'
import { linksAt, type Plan, Scheduler, updatesOf } from '../dst/scheduler.js'
import { expect, HebbError, integer, show } from '../error.js'
import type { Module } from '../nn/module.js'
import { Sequential } from '../nn/sequential.js'
import type { SparseLinear } from '../nn/sparse_linear.js'
import type { Optimizer } from '../optim/sgd.js'
import { Program } from '../program.js'
import { DeviceDataset, Graph, type Loss } from './graph.js'
import { Measures, type TopologyMeasures } from './measures.js'

export interface TrainerOptions {
  optimizer: Optimizer
  /** The method of dynamic sparse training; default staticSparse(). */
  dst?: Method
  /** Default: by the data, 'crossEntropy' for labels and 'meanSquaredError' for targets. */
  loss?: Loss
  /** A device, or how to open one. Default 'auto'. */
  device?: Device | DeviceOptions | 'auto' | 'cpu' | 'cuda'
}

export interface FitOptions {
  epochs: number
  /** Samples a step. Default 32. The last batch of an epoch may be smaller. */
  batchSize?: number
  /** Evaluated after every epoch. */
  validation?: Dataset
  /** Stops within a step or between parts of an update; the loop then throws ABORTED. What was trained stays. */
  signal?: AbortSignal
  /** Called at most every 50 ms while an epoch runs. */
  onProgress?: (progress: Progress) => void
}

export interface Progress {
  /** From 1. */
  readonly epoch: number
  readonly epochs: number
  /** Steps done in this epoch. */
  readonly step: number
  readonly stepsPerEpoch: number
}

export interface Epoch extends TopologyMeasures {
  /** From 1. */
  readonly epoch: number
  /** Mean over the epoch's samples, as they were trained on. */
  readonly trainLoss: number
  readonly trainAccuracy: number
  /** On `validation`, with the weights and links at the end of the epoch. */
  readonly validation?: Evaluation
  /** Time of the epoch's steps, gathering included, updates and evaluation not. */
  readonly seconds: number
  /** Time of the topology updates before and between the epoch's steps. */
  readonly updateSeconds: number
  readonly learningRate: number
}

export interface Evaluation {
  readonly loss: number
  /** Share of samples whose class is right; NaN for a regression. */
  readonly accuracy: number
  readonly samples: number
}

export interface Batch {
  /** [samples][features], as the network sees it (already normalised). */
  x: Float32Array
  /** Labels, or for regression a Float32Array of [samples][outputs]. */
  y: ArrayLike<number>
}

const EVALUATION_BATCH = 256
/** Updates that a method is imagined to make when nothing is known of the run yet: for its initial and its highest density. */
const IMAGINED_UPDATES = 1000

function isSparse(module: Module): module is SparseLinear {
  return 'density' in module
}

/** Trains a model on a device by a method. Owns all their native memory: dispose() gives it back. */
export class Trainer {
  readonly model: Sequential
  readonly device: Device
  readonly method: Method
  readonly #optimizer: Optimizer
  readonly #loss: Loss | undefined
  readonly #ownsDevice: boolean
  readonly #scheduler: Scheduler
  readonly #measures: Measures
  readonly #ready: Promise<void>
  readonly #datasets = new Map<Dataset, DeviceDataset>()
  #training: { data: DeviceDataset | undefined; graph: Graph } | undefined
  #evaluating: { data: DeviceDataset | undefined; graph: Graph } | undefined
  #plan: Plan | undefined
  #epochs = 1
  #step = 0
  #disposed = false
  #busy = false

  constructor(model: Sequential, options: TrainerOptions) {
    const { optimizer, dst = staticSparse(), loss } = options
    expect(model instanceof Sequential, () => `Expected model to be made by mlp() or Sequential, got ${show(model)}`)
    expect(typeof optimizer?.record === 'function', () => `Expected optimizer to be sgd(...), got ${show(optimizer)}`)
    expect(typeof dst?.density?.schedule === 'function', () => `Expected dst to be a method such as chts(), got ${show(dst)}`)
    expect(
      loss === undefined || loss === 'crossEntropy' || loss === 'meanSquaredError',
      () => `Expected loss to be 'crossEntropy' or 'meanSquaredError', got ${show(loss)}`,
    )
    const given = options.device ?? 'auto'
    this.#ownsDevice = !(given instanceof Device)
    this.device = given instanceof Device ? given : new Device(typeof given === 'string' ? { kind: given } : given)
    this.model = model
    this.method = dst
    this.#optimizer = optimizer
    this.#loss = loss
    try {
      this.#ready = this.#materialise()
      this.#scheduler = new Scheduler(
        this.device,
        dst,
        model.seed,
        model.sparse,
        model.modules.filter(isSparse).map((m) => m.density),
      )
      this.#measures = new Measures(this.device, model.sparse)
    } catch (error) {
      model.dispose()
      if (this.#ownsDevice) this.device.dispose()
      throw error
    }
    this.#ready.catch(() => {}) // reported by the first call that awaits it
  }

  /** Steps trained so far. */
  get step(): number {
    return this.#step
  }

  /** Lays the method's updates and the learning rate out over a run. fit() does it by itself; call it before a loop over batches of your own. */
  plan(options: { epochs: number; stepsPerEpoch: number }): void {
    const epochs = integer(options.epochs, 'epochs', 1)
    const stepsPerEpoch = integer(options.stepsPerEpoch, 'stepsPerEpoch', 1)
    const plan = { steps: epochs * stepsPerEpoch, stepsPerEpoch }
    for (const { density } of this.model.modules.filter(isSparse)) {
      const schedule = this.method.density.schedule({ target: density, updates: IMAGINED_UPDATES })
      expect(
        schedule(0) === density || updatesOf(this.method, plan).count > 0,
        () =>
          `Expected a run with at least one topology update, for ${this.method.name} to reach the density ${density} from ${schedule(0)}, got ${epochs} epochs of ${stepsPerEpoch} steps. Train longer or update more often.`,
      )
    }
    this.#epochs = epochs
    this.#plan = plan
    this.#scheduler.plan(plan)
  }

  /** Trains for some epochs and gives a report after each. Leaving the loop stops the training. */
  async *fit(train: Dataset, options: FitOptions): AsyncGenerator<Epoch, void, undefined> {
    const epochs = integer(options.epochs, 'epochs', 1)
    const batchSize = integer(options.batchSize ?? 32, 'batchSize', 1)
    const { validation, signal, onProgress } = options
    this.#checkData(train)
    if (validation) this.#checkData(validation)
    expect(batchSize <= train.samples, () => `Expected batchSize to be at most the ${train.samples} samples of ${train.name}, got ${batchSize}`)
    const stepsPerEpoch = Math.ceil(train.samples / batchSize)
    this.#begin()
    try {
      await this.#ready
      this.#step = 0
      this.plan({ epochs, stepsPerEpoch })
      await this.#measures.note()
      const data = this.#onDevice(train, true)
      const { graph } = this.#trainingGraph(batchSize, train.features, data)
      for (let epoch = 0; epoch < epochs; ++epoch) {
        await data.shuffle(epoch)
        const scalars = this.#optimizer.scalars({ epoch, epochs })
        await Promise.all([graph.program.setScalars(scalars), graph.program.rewind(train.samples), graph.resetTotals()])
        let seconds = 0
        let updateSeconds = 0
        for (let done = 0; done < stepsPerEpoch; ) {
          if (this.#scheduler.due(this.#step)) updateSeconds += await this.#update(signal)
          const steps = Math.min(stepsPerEpoch - done, this.#scheduler.until(this.#step))
          const progress = (n: number) => onProgress?.({ epoch: epoch + 1, epochs, step: done + n, stepsPerEpoch })
          seconds += await this.#run(graph, steps, signal, progress)
          done += steps
        }
        const totals = await graph.totals()
        if (totals.nonFiniteStep !== undefined) {
          throw new HebbError(
            'NON_FINITE',
            `Expected a finite loss, got NaN or infinity in step ${totals.nonFiniteStep} (epoch ${epoch + 1}). Lower the learning rate, or look at the data.`,
          )
        }
        yield {
          epoch: epoch + 1,
          trainLoss: totals.loss,
          trainAccuracy: this.#lossOf(train) === 'crossEntropy' ? totals.accuracy : Number.NaN,
          ...(validation && { validation: await this.#evaluate(validation, signal) }),
          seconds,
          updateSeconds,
          learningRate: scalars[0] as number,
          ...(await this.#measures.read()),
        }
      }
    } finally {
      this.#busy = false
    }
  }

  /**
   * Trains one step on a batch of your own, after the topology update that is due before it (see plan()). Returns the batch's mean loss.
   * All batches of a trainer have the size of its first, or less.
   */
  async trainOn(batch: Batch, options: { signal?: AbortSignal } = {}): Promise<number> {
    const features = this.model.inFeatures as number
    expect(
      batch?.x instanceof Float32Array && batch.x.length > 0 && batch.x.length % features === 0,
      () => `Expected x to be a Float32Array of samples of ${features} features, got ${show(batch?.x)}`,
    )
    const samples = batch.x.length / features
    const data = dataset({
      x: batch.x,
      y: batch.y,
      shape: [features],
      name: 'the batch',
      ...(!(batch.y instanceof Float32Array) && { classes: this.model.outFeatures as number }),
    })
    this.#checkData(data)
    this.#begin()
    try {
      await this.#ready
      if (!this.#training) await this.#measures.note()
      const hostFed = this.#training?.data === undefined ? this.#training : undefined
      const { graph } = hostFed ?? this.#trainingGraph(samples, features, undefined, this.#lossOf(data))
      expect(samples <= graph.batch, () => `Expected at most ${graph.batch} samples, the size of the first batch, got ${samples}`)
      const epoch = this.#plan ? Math.floor(this.#step / this.#plan.stepsPerEpoch) : 0
      if (this.#scheduler.due(this.#step)) await this.#update(options.signal)
      await this.#write(graph, batch.x, data)
      await Promise.all([
        graph.program.setScalars(this.#optimizer.scalars({ epoch, epochs: this.#epochs })),
        graph.program.rewind(0, samples),
        graph.resetTotals(),
      ])
      await this.#run(graph, 1, options.signal)
      const { loss, nonFiniteStep } = await graph.totals()
      if (nonFiniteStep !== undefined)
        throw new HebbError('NON_FINITE', `Expected a finite loss, got ${loss} in step ${this.#step - 1}. Lower the learning rate, or look at the data.`)
      return loss
    } finally {
      this.#busy = false
    }
  }

  /** Mean loss and accuracy on a data set. */
  async evaluate(data: Dataset, options: { signal?: AbortSignal } = {}): Promise<Evaluation> {
    this.#checkData(data)
    this.#begin()
    try {
      await this.#ready
      return await this.#evaluate(data, options.signal)
    } finally {
      this.#busy = false
    }
  }

  /** The network's outputs (logits) for [samples][features] as the network sees them, or for a data set: [samples][classes]. */
  async predict(x: Float32Array | Dataset): Promise<Float32Array> {
    const features = this.model.inFeatures as number
    const samples = x instanceof Float32Array ? x.length / features : x.samples
    expect(samples > 0 && Number.isInteger(samples), () => `Expected x to hold samples of ${features} features, got ${show(x)}`)
    if (!(x instanceof Float32Array)) this.#checkData(x)
    this.#begin()
    try {
      await this.#ready
      const classes = this.model.outFeatures as number
      const graph = new Graph({ device: this.device, model: this.model, batch: Math.min(samples, EVALUATION_BATCH), features, loss: 'crossEntropy' })
      try {
        const out = new Float32Array(samples * classes)
        for (let first = 0; first < samples; first += graph.batch) {
          const count = Math.min(graph.batch, samples - first)
          await graph.input.write(slice(x, first, count, features), count)
          await graph.program.rewind(0, count)
          await graph.program.replay(1)
          out.set(await graph.output.read(count), first * classes)
        }
        return out
      } finally {
        graph.dispose()
      }
    } finally {
      this.#busy = false
    }
  }

  /** Links, active neurons and ITOP rate as they are now. */
  async measures(): Promise<TopologyMeasures> {
    this.#begin()
    try {
      await this.#ready
      return await this.#measures.read()
    } finally {
      this.#busy = false
    }
  }

  /** Live native memory on the trainer's device. */
  memory(): Memory {
    return this.device.memory()
  }

  /** Gives back the model's memory, and the device's if the trainer opened it. Safe to call twice. */
  dispose(): void {
    if (this.#disposed) return
    this.#disposed = true
    this.#training?.graph.dispose()
    this.#evaluating?.graph.dispose()
    for (const data of this.#datasets.values()) data.dispose()
    this.#scheduler.dispose()
    this.#measures.dispose()
    this.model.dispose()
    if (this.#ownsDevice) this.device.dispose()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }

  #materialise(): Promise<void> {
    const initialise = new Program(this.device)
    let layer = 0
    this.model.materialise({
      device: this.device,
      seed: this.model.seed,
      topology: this.method.topology,
      weights: this.method.weights,
      initialise,
      nextLayer: () => layer++,
      links: (possible, density, name) => {
        const schedule = this.method.density.schedule({ target: density, updates: IMAGINED_UPDATES })
        const initial = linksAt(schedule(0), possible)
        let capacity = initial
        for (let c = 1; c <= IMAGINED_UPDATES; ++c) capacity = Math.max(capacity, linksAt(schedule(c), possible))
        const final = linksAt(density, possible)
        expect(initial >= 1 && final >= 1, () => `Expected a density of at least ${1 / possible} for one link in the layer ${name}, got ${density}`)
        expect(capacity < 2 ** 31, () => `Expected fewer than 2^31 links in the layer ${name}, got ${capacity}`)
        return { initial, capacity }
      },
    })
    for (const parameter of this.model.parameters) this.#optimizer.prepare(parameter)
    return initialise.replay(1).finally(() => initialise.dispose())
  }

  #begin(): void {
    if (this.#disposed) throw new HebbError('DISPOSED', 'Expected a trainer that is in use, got one that was disposed')
    expect(!this.#busy, () => 'Expected one call of a trainer at a time. Await the one before, or leave its loop.')
    this.#busy = true
  }

  #lossOf(data: Dataset): Loss {
    return this.#loss ?? (data.labels ? 'crossEntropy' : 'meanSquaredError')
  }

  #checkData(data: Dataset): void {
    const { inFeatures, outFeatures } = this.model
    expect(typeof data?.samples === 'number', () => `Expected a data set made by dataset(), mnist() or the like, got ${show(data)}`)
    expect(
      inFeatures === data.features,
      () => `Expected ${data.name} to have ${inFeatures} features a sample, the width of the model's input, got ${data.features}`,
    )
    expect(
      outFeatures === data.classes || (data.labels !== undefined && (outFeatures as number) > data.classes),
      () => `Expected ${data.name} to have ${outFeatures} ${data.labels ? 'classes' : 'outputs'}, the width of the model's output, got ${data.classes}`,
    )
    expect(
      (this.#lossOf(data) === 'crossEntropy') === (data.labels !== undefined),
      () => `Expected ${data.name} to have ${data.labels ? 'targets' : 'labels'} for the loss '${this.#lossOf(data)}'`,
    )
  }

  #onDevice(data: Dataset, shuffled: boolean): DeviceDataset {
    let found = this.#datasets.get(data)
    if (!found) {
      found = new DeviceDataset(this.device, data, shuffled ? this.model.seed : undefined)
      this.#datasets.set(data, found)
    }
    return found
  }

  #trainingGraph(batch: number, features: number, data: DeviceDataset | undefined, loss?: Loss): { data: DeviceDataset | undefined; graph: Graph } {
    if (!this.#training || this.#training.data !== data || this.#training.graph.batch !== batch) {
      this.#training?.graph.dispose()
      const graph = new Graph({
        device: this.device,
        model: this.model,
        batch,
        features,
        data,
        optimizer: this.#optimizer,
        loss: loss ?? this.#lossOf((data as DeviceDataset).dataset),
      })
      this.#training = { data, graph }
    }
    return this.#training
  }

  async #update(signal?: AbortSignal): Promise<number> {
    const start = performance.now()
    await this.#scheduler.update(this.#step, { signal })
    await this.#measures.note()
    return (performance.now() - start) / 1000
  }

  /** Replays steps; returns the seconds they took. */
  async #run(graph: Graph, steps: number, signal?: AbortSignal, onProgress?: (done: number) => void): Promise<number> {
    const before = graph.program.stepsDone
    const done = () => graph.program.stepsDone - before
    const timer = onProgress && setInterval(() => onProgress(done()), 50)
    const start = performance.now()
    try {
      await graph.program.replay(steps, { signal })
    } finally {
      clearInterval(timer)
      this.#step += done()
    }
    const seconds = (performance.now() - start) / 1000
    onProgress?.(steps)
    return seconds
  }

  async #evaluate(set: Dataset, signal?: AbortSignal): Promise<Evaluation> {
    const data = this.#onDevice(set, false)
    if (this.#evaluating?.data !== data) {
      this.#evaluating?.graph.dispose()
      const batch = Math.min(EVALUATION_BATCH, set.samples)
      this.#evaluating = { data, graph: new Graph({ device: this.device, model: this.model, batch, features: set.features, data, loss: this.#lossOf(set) }) }
      await data.shuffle(0)
    }
    const { graph } = this.#evaluating
    await Promise.all([graph.program.rewind(set.samples), graph.resetTotals()])
    await graph.program.replay(Math.ceil(set.samples / graph.batch), { signal })
    const { loss, accuracy, samples } = await graph.totals()
    return { loss, accuracy: set.labels ? accuracy : Number.NaN, samples }
  }

  async #write(graph: Graph, x: Float32Array, data: Dataset): Promise<void> {
    await graph.input.write(x, data.samples)
    if (graph.labels) {
      const labels = new Int32Array(graph.labels.length)
      labels.set(data.labels as Int32Array)
      await graph.labels.write(labels)
    }
    if (graph.targets) await graph.targets.write(data.targets as Float32Array, data.samples)
  }
}

/** Samples [first, first + count) as the network sees them. */
function slice(x: Float32Array | Dataset, first: number, count: number, features: number): Float32Array {
  const [begin, end] = [first * features, (first + count) * features]
  if (x instanceof Float32Array) return x.subarray(begin, end)
  return Float32Array.from(x.x.subarray(begin, end), (v) => v * x.scale + x.shift)
}
