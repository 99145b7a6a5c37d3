/**
 * A model recorded as a Program: for training or for evaluation, fed from a data set on the device or from the host.
 */
import { type LayerGradient, Tape } from '../autograd.js'
import { type Dataset, expectSamples } from '../data/dataset.js'
import type { Device } from '../device.js'
import { expect } from '../error.js'
import { elementsOf } from '../nn/parameter.js'
import type { Sequential } from '../nn/sequential.js'
import { frozenOf, type Optimizer, type ParameterGroup } from '../optim/optimizer.js'
import { Program } from '../program.js'
import { Activations, Tensor } from '../tensor.js'
import { type Loss, type LossFunction, lossFunction } from './loss.js'

/** A data set in device memory. */
export class DeviceDataset {
  readonly dataset: Dataset
  readonly x: Tensor<'uint8'> | Tensor<'float32'>
  readonly labels?: Tensor<'int32'>
  readonly targets?: Tensor<'float32'>
  /** One of each for every channel, where one for all would not do. */
  readonly scales?: Tensor<'float32'>
  readonly shifts?: Tensor<'float32'>

  constructor(device: Device, data: Dataset) {
    expectSamples(data)
    this.dataset = data
    this.x = data.x instanceof Uint8Array ? new Tensor(device, 'uint8', data.x) : new Tensor(device, 'float32', data.x)
    if (data.labels) this.labels = new Tensor(device, 'int32', data.labels)
    if (data.targets) this.targets = new Tensor(device, 'float32', data.targets)
    if (data.perChannel) {
      this.scales = new Tensor(device, 'float32', data.perChannel.scale)
      this.shifts = new Tensor(device, 'float32', data.perChannel.shift)
    }
  }

  dispose(): void {
    for (const tensor of [this.x, this.labels, this.targets, this.scales, this.shifts]) tensor?.dispose()
  }
}

/** The order in which a data set's samples are read. */
export class SampleOrder {
  readonly data: DeviceDataset
  readonly indices: Tensor<'int32'>
  readonly #program: Program

  /**
   * With a seed, a new random order every epoch, which depends on the seed and the epoch alone; without one, as the
   * samples lie.
   */
  constructor(device: Device, data: DeviceDataset, seed?: number) {
    const { samples } = data.dataset
    this.data = data
    this.indices = new Tensor(device, 'int32', samples)
    this.#program = new Program(device)
    this.#program.record('permute', {
      indices: this.indices,
      count: samples,
      seed: seed ?? 0,
      epoch: 0,
      identity: seed === undefined,
    })
  }

  /** Puts the samples into the order of an epoch. */
  async shuffle(epoch: number): Promise<void> {
    await this.#program.setScalars([epoch])
    await this.#program.replay(1)
  }

  dispose(): void {
    this.indices.dispose()
    this.#program.dispose()
  }
}

export interface LossTotals {
  /** Mean over the samples. */
  readonly loss: number
  /** Share of the samples whose class was right. */
  readonly accuracy: number
  readonly samples: number
}

/** What sums, as Graph.totals has them, tell. */
export function totalsOf(sums: Float64Array): LossTotals {
  const [loss, correct, samples] = sums as unknown as [number, number, number]
  return { loss: loss / samples, accuracy: correct / samples, samples }
}

/** Sums before the first step. */
export function noTotals(): Float64Array {
  return Float64Array.of(0, 0, 0, -1)
}

export interface GraphOptions {
  device: Device
  model: Sequential
  batch: number
  /** Features of a sample. */
  features: number
  /** Without it the graph only predicts. */
  loss?: Loss
  /** Read batches in this order; without it they are written by the host. */
  order?: SampleOrder | undefined
  /** Train with this optimizer, the parameters of these groups; without it evaluate only. */
  training?: { readonly optimizer: Optimizer; readonly groups: readonly ParameterGroup[] }
  /** Memory that the values of several graphs take in turn. */
  workspace?: Tensor<'uint8'>
}

/** A step that computes gradients and takes none. */
export interface Probe {
  readonly program: Program
  /** Columns of a full batch. */
  readonly batch: number
  /** What the sparse layers' gradients are products of, kept until a graph of the workspace runs. */
  readonly layers: readonly LayerGradient[]
  readonly input: Activations
  /** What the model's modules gave. */
  readonly outputs: Tape['outputs']
}

/** What clipping the gradients by their norm takes. */
class Clipping {
  readonly norm: Tensor<'float64'>
  readonly scale: Tensor<'float64'>
  /** The sums of the loss before the step, for one that is not taken. */
  readonly previous: Tensor<'float64'>

  constructor(device: Device) {
    this.norm = new Tensor(device, 'float64', Float64Array.of(Number.NaN))
    this.scale = new Tensor(device, 'float64', 1)
    this.previous = new Tensor(device, 'float64', 4)
  }

  dispose(): void {
    for (const tensor of [this.norm, this.scale, this.previous]) tensor.dispose()
  }
}

export class Graph {
  readonly program: Program
  readonly batch: number
  readonly input: Activations
  readonly output: Activations
  /** Class numbers of the batch. */
  readonly labels?: Tensor<'int32'>
  /** Targets of the batch, for regression. */
  readonly targets?: Activations
  /** Sums over the batches since it was last written. */
  readonly totals: Tensor<'float64'>
  readonly #clipping: Clipping | undefined
  readonly #tape: Tape
  readonly #options: GraphOptions
  readonly #loss: LossFunction | undefined
  /** Batches from the host, for the step and its probe. */
  readonly #fromHost: Activations[] = []
  #probe: (Probe & { readonly tape: Tape; readonly totals: Tensor<'float64'> }) | undefined

  constructor(options: GraphOptions) {
    const { device, batch, training, loss, workspace } = options
    this.#options = options
    this.batch = batch
    this.program = new Program(device, {
      scalars: Math.max(1, training?.optimizer.rates.length ?? 0),
      batch,
      ...(workspace && { workspace }),
    })
    const frozen = frozenOf(training?.groups ?? [])
    this.#tape = new Tape(this.program, { training: training !== undefined, frozen })
    this.totals = new Tensor(device, 'float64', 4)
    this.#loss = loss === undefined ? undefined : lossFunction(loss)
    if (this.#loss?.targets === 'labels') this.labels = new Tensor(device, 'int32', Math.ceil(batch / 16) * 16)
    const clipNorm = training?.optimizer.clipNorm
    this.#clipping = clipNorm === undefined ? undefined : new Clipping(device)
    const { input, output, targets } = this.#record(this.#tape, this.totals, this.#clipping?.previous)
    this.input = input
    this.output = output
    if (targets) this.targets = targets
    if (!loss) this.program.keep(output)
    if (!training) return
    if (clipNorm !== undefined && this.#clipping) {
      const { norm, scale, previous } = this.#clipping
      this.program.record('gradientNorm', {
        gradients: options.model.parameters
          .filter((parameter) => !frozen.has(parameter))
          .map((parameter) => ({ ...elementsOf(parameter), gradient: parameter.gradient })),
        ...{ maxNorm: clipNorm, norm, scale, totals: this.totals, previous },
      })
    }
    training.optimizer.record(this.program, training.groups, this.#clipping?.scale)
  }

  /**
   * The step without the optimizer's: it leaves the gradients at the current weights in place, and changes nothing else
   * that lasts.
   */
  get probe(): Probe {
    if (!this.#probe) {
      const { device, workspace, training } = this.#options
      const program = new Program(device, { batch: this.batch, ...(workspace && { workspace }) })
      const frozen = frozenOf(training?.groups ?? [])
      const tape = new Tape(program, { training: true, keepGradients: true, frozen })
      const totals = new Tensor(device, 'float64', 4)
      const { input } = this.#record(tape, totals)
      const { gradients: layers, outputs } = tape
      this.#probe = { program, batch: this.batch, layers, input, outputs, tape, totals }
    }
    return this.#probe
  }

  /** The norm of all gradients in the last step, before they were clipped, if they are and a step was made. */
  async gradientNorm(): Promise<number | undefined> {
    const [norm] = (await this.#clipping?.norm.read()) ?? []
    return norm === undefined || Number.isNaN(norm) ? undefined : norm
  }

  dispose(): void {
    this.program.dispose()
    for (const owned of [this.#probe?.program, this.#probe?.tape, this.#probe?.totals]) owned?.dispose()
    this.#tape.dispose()
    for (const activations of this.#fromHost) activations.dispose()
    this.labels?.dispose()
    this.totals.dispose()
    this.#clipping?.dispose()
  }

  /** Records forward, loss and backward as far as they are wanted. */
  #record(
    tape: Tape,
    totals: Tensor<'float64'>,
    previous?: Tensor<'float64'>,
  ): { input: Activations; output: Activations; targets: Activations | undefined } {
    const { model, features, order } = this.#options
    const loss = this.#loss
    const input = order ? tape.activations(features) : this.#hostWrites(tape, 0, features)
    if (order) this.#gather(tape.program, input, order, tape.training ? model.seed : undefined)
    const output = model.forward(tape, tape.input(input))
    const classes = output.activations.features
    let targets: Activations | undefined
    if (loss?.targets === 'values') targets = order ? tape.activations(classes) : this.#hostWrites(tape, 1, classes)
    if (targets && order) {
      const { targets: floats, dataset } = order.data
      const { samples } = dataset
      tape.program.record('gather', { floats, samples, indices: order.indices, count: samples, output: targets })
    }
    const sums = { totals, previous }
    if (loss?.targets === 'labels') loss.record(tape, output, this.labels as Tensor<'int32'>, sums)
    if (loss?.targets === 'values') loss.record(tape, output, targets as Activations, sums)
    if (tape.training) tape.backward()
    return { input, output: output.activations, targets }
  }

  /** Number `i` of what the host writes before a step: of training, for the step and its probe, which runs before. */
  #hostWrites(tape: Tape, i: number, features: number): Activations {
    if (!tape.training) return tape.given(features)
    this.#fromHost[i] ??= new Activations(this.#options.device, features, this.batch)
    return this.#fromHost[i]
  }

  /** With a seed, images are augmented as their data set says. */
  #gather(
    program: Program,
    output: Activations,
    { data: { dataset, x, labels, scales, shifts }, indices }: SampleOrder,
    seed?: number,
  ): void {
    const { samples, scale, shift, shape, augment } = dataset
    const source = x.type === 'uint8' ? { bytes: x } : { floats: x }
    const [channels, height, width] = (shape.length === 3 ? shape : [1, ...shape]) as [number, number, number]
    program.record('gather', {
      ...source,
      ...(scales ? { scales, shifts } : { scale, shift }),
      ...(augment && seed !== undefined && { augmentation: { height, width, ...augment, seed } }),
      ...{ channels, samples, indices, count: samples, output },
    })
    if (this.labels) {
      expect(
        labels !== undefined,
        () => `Expected ${dataset.name} to have labels, got targets for a regression. Use loss: 'meanSquaredError'.`,
      )
      program.record('gatherLabels', { labels, samples, indices, count: samples, targets: this.labels })
    }
  }
}
