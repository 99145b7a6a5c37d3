/**
 * What fills the operands of a step: samples of a data set that lies on the device, or batches that the host writes. A
 * batch may be computed in parts, so a feed is told for each of them where its columns go.
 */
import type { Tape } from '../autograd.js'
import { type Dataset, expectSamples } from '../data/dataset.js'
import type { Device } from '../device.js'
import { expect } from '../error.js'
import { Program, type Transfer } from '../program.js'
import { type Activations, Tensor } from '../tensor.js'
import { isTyped } from '../typed_array.js'

/** What the whole batch has on the device, whatever parts it is computed in. */
export interface BatchTensors {
  /** Class numbers [batch]. */
  readonly labels?: Tensor<'int32'> | undefined
  /** How much each column counts in the loss [batch]. */
  readonly weights?: Tensor<'float32'> | undefined
}

export interface Feed {
  /** Whether columns have weights. */
  readonly isWeighted: boolean
  /** The label of samples that do not count. */
  readonly ignore: number | undefined
  /** Whether a graph that reads from the other can read from this. */
  isLike(other: Feed): boolean
  /** Records what fills the tensors of the whole batch. */
  fill(tape: Tape, batch: BatchTensors): void
  /** The input [features][columns] of the columns that the tape is at. */
  input(tape: Tape, features: number, augmentationSeed?: number): Activations
  /** Their targets [outputs][columns]. */
  targets(tape: Tape, outputs: number): Activations
}

/** A data set in device memory. */
export class DeviceDataset {
  readonly dataset: Dataset
  readonly x: Tensor<'uint8'> | Tensor<'float32'>
  readonly labels?: Tensor<'int32'>
  readonly targets?: Tensor<'float32'>
  readonly weights?: Tensor<'float32'>
  /** One of each for every channel, where one for all would not do. */
  readonly scales?: Tensor<'float32'>
  readonly shifts?: Tensor<'float32'>

  constructor(device: Device, data: Dataset) {
    expectSamples(data)
    this.dataset = data
    this.x = isTyped(data.x, 'Uint8Array') ? new Tensor(device, 'uint8', data.x) : new Tensor(device, 'float32', data.x)
    if (data.labels) this.labels = new Tensor(device, 'int32', data.labels)
    if (data.targets) this.targets = new Tensor(device, 'float32', data.targets)
    if (data.weights) this.weights = new Tensor(device, 'float32', data.weights)
    if (data.perChannel) {
      this.scales = new Tensor(device, 'float32', data.perChannel.scale)
      this.shifts = new Tensor(device, 'float32', data.perChannel.shift)
    }
  }

  dispose(): void {
    for (const tensor of [this.x, this.labels, this.targets, this.weights, this.scales, this.shifts]) tensor?.dispose()
  }
}

/** The samples of a data set, in an order. */
export class SampleOrder implements Feed {
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

  get isWeighted(): boolean {
    return this.data.weights !== undefined
  }

  get ignore(): number | undefined {
    return this.data.dataset.ignore
  }

  isLike(other: Feed): boolean {
    return other === this
  }

  /** Puts the samples into the order of an epoch. */
  async shuffle(epoch: number): Promise<void> {
    await this.#program.replay(1, { begin: { scalars: [epoch] } })
  }

  fill(tape: Tape, batch: BatchTensors): void {
    const { dataset, labels, weights } = this.data
    if (batch.labels) {
      expect(
        labels !== undefined,
        () => `Expected ${dataset.name} to have labels, got targets for a regression. Use loss: 'meanSquaredError'.`,
      )
      tape.record('gatherLabels', { ...this.#stream, labels, targets: batch.labels })
    }
    if (batch.weights && weights)
      tape.record('gatherWeights', { ...this.#stream, weights, columnWeights: batch.weights })
  }

  /** With a seed, images are augmented as their data set says. */
  input(tape: Tape, features: number, augmentationSeed?: number): Activations {
    const { dataset, x, scales, shifts } = this.data
    const { scale, shift, shape, augment } = dataset
    const [channels, height, width] = (shape.length === 3 ? shape : [1, ...shape]) as [number, number, number]
    const output = tape.activations(features)
    tape.record('gather', {
      ...this.#stream,
      ...(x.type === 'uint8' ? { bytes: x } : { floats: x }),
      ...(scales ? { scales, shifts } : { scale, shift }),
      ...(augment &&
        augmentationSeed !== undefined && { augmentation: { height, width, ...augment, seed: augmentationSeed } }),
      ...{ channels, output },
    })
    return output
  }

  targets(tape: Tape, outputs: number): Activations {
    const output = tape.activations(outputs)
    tape.record('gather', { ...this.#stream, floats: this.data.targets, output })
    return output
  }

  get #stream() {
    const { samples } = this.data.dataset
    return { samples, indices: this.indices, count: samples }
  }

  dispose(): void {
    this.indices.dispose()
    this.#program.dispose()
  }
}

/** What the host writes before a step. */
export interface HostBatch {
  /** [samples][features] */
  readonly x: Float32Array
  readonly samples: number
  readonly labels?: Int32Array | undefined
  /** [samples][outputs] */
  readonly targets?: Float32Array | undefined
  /** [samples] */
  readonly weights?: Float32Array | undefined
}

/** A data set as a batch. What is none any more, as its memory is gone, is refused. */
export function hostBatchOf(data: Dataset, x: Float32Array): HostBatch {
  const { samples, features, classes, labels, targets, weights } = data
  for (const [name, array, length] of [
    ['x', x, samples * features],
    ['y', labels ?? targets, labels ? samples : samples * classes],
    ['weights', weights, weights ? samples : undefined],
  ] as const) {
    expect(
      array?.length === length,
      () => `Expected ${name} to keep its ${length} numbers, got ${array?.length}. Was its ArrayBuffer transferred?`,
    )
  }
  return { x, samples, labels, targets, weights }
}

/** Batches that the host writes. */
export class HostFeed implements Feed {
  readonly isWeighted: boolean
  readonly ignore: number | undefined
  /** By program, what each of its parts is given. */
  readonly #given = new Map<Program, { first: number; input: Activations; targets?: Activations }[]>()

  constructor({ isWeighted = false, ignore }: { isWeighted?: boolean; ignore?: number | undefined } = {}) {
    this.isWeighted = isWeighted
    this.ignore = ignore
  }

  isLike(other: Feed): boolean {
    return other instanceof HostFeed && other.isWeighted === this.isWeighted && other.ignore === this.ignore
  }

  fill(): void {}

  input(tape: Tape, features: number): Activations {
    const input = tape.given(features)
    const parts = this.#given.get(tape.program) ?? []
    this.#given.set(tape.program, [...parts, { first: tape.firstColumn, input }])
    return input
  }

  targets(tape: Tape, outputs: number): Activations {
    const targets = tape.given(outputs)
    const part = this.#given.get(tape.program)?.at(-1)
    if (part) part.targets = targets
    return targets
  }

  /** What a batch is written by, for a step of the program. */
  writes(program: Program, batch: HostBatch, tensors: BatchTensors): Transfer[] {
    const { samples, labels, weights } = batch
    const writes: Transfer[] = []
    for (const { first, input, targets } of this.#given.get(program) ?? []) {
      const columns = Math.min(input.capacity, samples - first)
      if (columns <= 0) continue
      const ofPart = (array: Float32Array, features: number) =>
        array.subarray(first * features, (first + columns) * features)
      writes.push([input, ofPart(batch.x, input.features), columns])
      if (targets && batch.targets) writes.push([targets, ofPart(batch.targets, targets.features), columns])
    }
    if (tensors.labels && labels) writes.push([tensors.labels, labels])
    if (tensors.weights && weights) writes.push([tensors.weights, weights])
    return writes
  }
}
