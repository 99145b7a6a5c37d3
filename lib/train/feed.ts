/**
 * What fills the operands of a step: samples of a data set that lies on the device, or batches that the host writes. A
 * batch may be computed in parts, so a feed is told for each of them where its columns go.
 */
import type { Tape, Value } from '../autograd.js'
import { type Dataset, expectSamples } from '../data/dataset.js'
import type { SampleStream } from '../data/stream.js'
import type { Device } from '../device.js'
import { expect } from '../error.js'
import { Program, type Segment, type Transfer, unlessAborted } from '../program.js'
import { type Activations, Tensor } from '../tensor.js'
import { isTyped } from '../typed_array.js'

/** What the whole batch has on the device, whatever parts it is computed in. */
export interface BatchTensors {
  /** Class numbers [batch]. */
  readonly labels?: Tensor<'int32'> | undefined
  /** How much each column counts in the loss [batch]. */
  readonly weights?: Tensor<'float32'> | undefined
}

/** A step of a run. */
export interface Place {
  /** From 0. */
  readonly epoch: number
  /** In its epoch, from 0. */
  readonly step: number
  /** But for the last epoch, which may have fewer. */
  readonly stepsPerEpoch: number
}

/** What an epoch reads one after another: its steps [begin, end) take these samples. */
export interface Span {
  readonly begin: number
  readonly end: number
  readonly samples: number
}

/**
 * Where a graph's next batch is: in its stream of `samples`, from `first` on, or, without a stream (0 samples), on the
 * host or in a row of a plan.
 */
export interface NextBatch {
  readonly samples: number
  readonly first: number
  /** Valid ones. */
  readonly columns: number
  readonly host?: HostBatch
  /** Of a text's plan. */
  readonly row?: number
}

/** Where a replay begins. */
export function placeOf({ samples, first, columns }: NextBatch): Segment {
  return { samples, first, columns }
}

/** The batch that follows in so many steps. */
export function later(next: NextBatch, steps: number, batch: number): NextBatch {
  return {
    ...next,
    ...(next.samples > 0 && { first: next.first + steps * batch }),
    ...(next.row !== undefined && { row: next.row + steps }),
  }
}

export interface Feed {
  /** Whether columns have weights. */
  readonly isWeighted: boolean
  /** The label of samples that do not count. */
  readonly ignore: number | undefined
  /** Whether a graph that reads from the other can read from this. */
  isLike(other: Feed): boolean
  /** Records what fills the tensors of the whole batch, those that it is given. */
  fill(tape: Tape, batch: BatchTensors): void
  /** The inputs of the model: [features][columns] of the columns that the tape is at, or tokens. */
  inputs(tape: Tape, features: number, augmentationSeed?: number): Value[]
  /** Their targets [outputs][columns]. */
  targets(tape: Tape, outputs: number): Activations
  /** Refuses what the model gives, where its columns are others than the labels'. */
  checkOutput?(tape: Tape, output: Value): void
  /** What the steps of a replay from this batch on need to be written. */
  writes(tape: Tape, next: NextBatch, batch: BatchTensors): Transfer[]
}

/** What a run of some epochs reads. */
export interface Order extends Feed {
  /** Makes ready what a step reads, in batches of a size. */
  enter(at: Place, batch: number, signal?: AbortSignal): Promise<Span>
  /** Where the batch of a step of the span is. */
  next(span: Span, step: number, batch: number): NextBatch
  /** What it puts in order, in device memory. */
  readonly data: { readonly bytes: number }
  /** Of itself in device memory. */
  readonly bytes: number
  dispose(): void
}

/** What is known of a data set without its samples, which are the user's. */
type Described = Omit<Dataset, 'x' | 'labels' | 'targets' | 'weights'>

/** A data set in device memory. */
export class DeviceDataset {
  readonly dataset: Described
  readonly x: Tensor<'uint8'> | Tensor<'float32'>
  readonly labels?: Tensor<'int32'>
  readonly targets?: Tensor<'float32'>
  readonly weights?: Tensor<'float32'>
  /** One of each for every channel, where one for all would not do. */
  readonly scales?: Tensor<'float32'>
  readonly shifts?: Tensor<'float32'>

  constructor(device: Device, data: Dataset) {
    expectSamples(data)
    const { x: _x, labels: _labels, targets: _targets, weights: _weights, ...described } = data
    this.dataset = described
    this.x = isTyped(data.x, 'Uint8Array') ? new Tensor(device, 'uint8', data.x) : new Tensor(device, 'float32', data.x)
    if (data.labels) this.labels = new Tensor(device, 'int32', data.labels)
    if (data.targets) this.targets = new Tensor(device, 'float32', data.targets)
    if (data.weights) this.weights = new Tensor(device, 'float32', data.weights)
    if (data.perChannel) {
      this.scales = new Tensor(device, 'float32', data.perChannel.scale)
      this.shifts = new Tensor(device, 'float32', data.perChannel.shift)
    }
  }

  /** Takes other samples of the same kind, at most as many, in place of the first ones. */
  async replace(data: Dataset): Promise<void> {
    const { x, labels, targets, weights } = this
    const isSame = [
      isTyped(data.x, 'Uint8Array') === (x.type === 'uint8'),
      ...(['features', 'classes', 'scale', 'shift'] as const).map((name) => Object.is(data[name], this.dataset[name])),
      ...(['labels', 'targets', 'weights'] as const).map((name) => !data[name] === !this[name]),
    ].every(Boolean)
    expect(
      isSame && data.samples <= this.dataset.samples,
      () => `Expected all chunks of ${data.name} to hold samples of one kind, got others than in the first one`,
    )
    expectSamples(data)
    await (x as Tensor<'float32'>).write(data.x as Float32Array, data.x.length)
    if (data.labels) await labels?.write(data.labels, data.labels.length)
    if (data.targets) await targets?.write(data.targets, data.targets.length)
    if (data.weights) await weights?.write(data.weights, data.weights.length)
  }

  get bytes(): number {
    return this.#tensors.reduce((sum, tensor) => sum + (tensor?.bytes ?? 0), 0)
  }

  get #tensors() {
    return [this.x, this.labels, this.targets, this.weights, this.scales, this.shifts]
  }

  dispose(): void {
    for (const tensor of this.#tensors) tensor?.dispose()
  }
}

/** Numbers from 0 on, in an order. */
class Numbers {
  readonly indices: Tensor<'int32'>
  readonly #seed: number | undefined
  /** By how many they are. */
  readonly #programs = new Map<number, Program>()

  constructor(device: Device, most: number, seed: number | undefined) {
    this.indices = new Tensor(device, 'int32', most)
    this.#seed = seed
  }

  /** Of the first `count`: with a seed at random by it and `epoch`, without one as they are. */
  async shuffle(epoch: number, count: number): Promise<void> {
    let program = this.#programs.get(count)
    if (!program) {
      program = new Program(this.indices.device)
      this.#programs.set(count, program)
      const identity = this.#seed === undefined
      program.record('permute', { indices: this.indices, count, seed: this.#seed ?? 0, epoch: 0, identity })
    }
    await program.replay(1, { begin: { scalars: [epoch] } })
  }

  dispose(): void {
    this.indices.dispose()
    for (const program of this.#programs.values()) program.dispose()
  }
}

/** The samples of a data set, in an order. */
export class SampleOrder implements Order {
  readonly data: DeviceDataset
  protected readonly order: Numbers

  /**
   * With a seed, a new random order every epoch, which depends on the seed and the epoch alone; without one, as the
   * samples lie.
   */
  constructor(device: Device, data: DeviceDataset, seed?: number) {
    this.data = data
    this.order = new Numbers(device, data.dataset.samples, seed)
  }

  get indices(): Tensor<'int32'> {
    return this.order.indices
  }

  /** Of the order alone. */
  get bytes(): number {
    return this.indices.bytes
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

  async enter({ epoch }: Place, batch: number, _signal?: AbortSignal): Promise<Span> {
    const { samples } = this.data.dataset
    await this.order.shuffle(epoch, samples)
    return { begin: 0, end: Math.ceil(samples / batch), samples }
  }

  next({ begin, samples }: Span, step: number, batch: number): NextBatch {
    const first = (step - begin) * batch
    return { samples, first, columns: Math.min(batch, samples - first) }
  }

  writes(): Transfer[] {
    return []
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
  inputs(tape: Tape, features: number, augmentationSeed?: number): Value[] {
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
    return [tape.input(output)]
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
    this.order.dispose()
  }
}

/** The samples of a stream: one chunk of them is on the device, and the next on its way. */
export class StreamOrder extends SampleOrder {
  readonly #stream: SampleStream
  readonly #chunks: Numbers
  #epoch = -1
  #order: Int32Array = new Int32Array(0)
  #ahead: { readonly index: number; readonly data: Promise<Dataset> } | undefined

  /** `first`: the stream's first chunk, which says what all are like. */
  constructor(device: Device, stream: SampleStream, first: Dataset, seed: number) {
    super(device, new DeviceDataset(device, first), seed)
    this.#stream = stream
    this.#chunks = new Numbers(device, stream.fullChunks, seed)
  }

  override async enter({ epoch, step }: Place, batch: number, signal?: AbortSignal): Promise<Span> {
    const { chunk, chunks, fullChunks } = this.#stream
    if (epoch !== this.#epoch) {
      // Apart from the orders of samples, whose numbers are small.
      await this.#chunks.shuffle(2 ** 31 + epoch, fullChunks)
      this.#order = await this.#chunks.indices.read()
      this.#epoch = epoch
    }
    const steps = chunk / batch
    const place = chunks === 1 ? 0 : Math.floor(step / steps)
    const indexAt = (at: number) => (at < fullChunks ? (this.#order[at] as number) : at)
    const index = indexAt(place)
    const ahead = this.#ahead?.index === index ? this.#ahead.data : this.#stream.dataset(index)
    this.#ahead = undefined // one that could not be read is asked for again
    const data = await unlessAborted(ahead, signal)
    if (place + 1 < chunks) {
      const next = indexAt(place + 1)
      this.#ahead = { index: next, data: this.#stream.dataset(next) }
      this.#ahead.data.catch(() => {}) // told to who asks for it
    }
    await this.data.replace(data)
    await this.order.shuffle(epoch * chunks + index, data.samples)
    const begin = place * steps
    return { begin, end: begin + Math.ceil(data.samples / batch), samples: data.samples }
  }

  override dispose(): void {
    super.dispose()
    this.#chunks.dispose()
    this.data.dispose()
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
  /** By tape, what each part of its batch is given. */
  readonly #given = new WeakMap<Tape, { first: number; input: Activations; targets?: Activations }[]>()

  constructor({ isWeighted = false, ignore }: { isWeighted?: boolean; ignore?: number | undefined } = {}) {
    this.isWeighted = isWeighted
    this.ignore = ignore
  }

  isLike(other: Feed): boolean {
    return other instanceof HostFeed && other.isWeighted === this.isWeighted && other.ignore === this.ignore
  }

  fill(): void {}

  inputs(tape: Tape, features: number): Value[] {
    const input = tape.given(features)
    this.#given.set(tape, [...(this.#given.get(tape) ?? []), { first: tape.firstColumn, input }])
    return [tape.input(input)]
  }

  targets(tape: Tape, outputs: number): Activations {
    const targets = tape.given(outputs)
    const part = this.#given.get(tape)?.at(-1)
    if (part) part.targets = targets
    return targets
  }

  writes(tape: Tape, { host: batch }: NextBatch, tensors: BatchTensors): Transfer[] {
    if (!batch) return []
    const { samples, labels, weights } = batch
    const writes: Transfer[] = []
    for (const { first, input, targets } of this.#given.get(tape) ?? []) {
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
