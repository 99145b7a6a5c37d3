/**
 * Batches of sequences that lie on the device: which ones a step takes is a plan of the epoch, uploaded once, and
 * tokens are set one behind another by the step itself, so that no padding is computed.
 */
import { setImmediate } from 'node:timers/promises'
import { type Tape, Tokens, type Value } from '../autograd.js'
import type { Device } from '../device.js'
import { HebbError } from '../error.js'
import type { Transfer } from '../program.js'
import { type Axis, Tensor } from '../tensor.js'
import { type BatchOrder, type TokenBatches, tokenBatches } from '../text/batches.js'
import type { TextDataset, TextPart, TokenizedText } from '../text/dataset.js'
import { StoredText, type TokenFile } from '../text/token_file.js'
import type { BatchTensors, Feed, NextBatch, Place, Span } from './feed.js'
import { tasks } from './task.js'

class DeviceTokens {
  readonly tokens: Tensor<'int32'>
  readonly starts: Tensor<'int32'>

  /** As they are, or room for so many of each. */
  constructor(device: Device, { tokens, starts }: TokenizedText | { tokens: number; starts: number }) {
    // No operation takes memory of no element.
    this.tokens = new Tensor(device, 'int32', isNone(tokens) ? new Int32Array(1) : tokens)
    this.starts = new Tensor(device, 'int32', starts)
  }

  async write({ tokens, starts }: TokenizedText): Promise<void> {
    await this.tokens.write(tokens, tokens.length)
    await this.starts.write(starts, starts.length)
  }

  get bytes(): number {
    return this.tokens.bytes + this.starts.bytes
  }

  dispose(): void {
    this.tokens.dispose()
    this.starts.dispose()
  }
}

const isNone = (tokens: Int32Array | number) => typeof tokens !== 'number' && tokens.length === 0

/** What a step takes of them. */
interface DevicePart extends Omit<TextPart, 'text'> {
  readonly text: DeviceTokens
}

/** A text in device memory: all of it, or of one that is in a file, room for what some steps take. */
export class DeviceText {
  readonly name: string
  readonly task: TextDataset['task']
  readonly inputs: readonly DevicePart[]
  readonly labels: DevicePart
  /** By part of the file. */
  readonly stored: readonly DeviceTokens[]
  readonly #owned: readonly DeviceTokens[]

  /** Nothing here refers to the text. `room`: tokens of the batches that are there at once. */
  constructor(device: Device, text: TextDataset, room = 0) {
    this.name = text.name
    this.task = text.task
    const brought = new Map<TokenizedText | StoredText, DeviceTokens>()
    const stored: DeviceTokens[] = []
    // Each sequence has a token that is counted, and may have one more.
    const there = ({ text, ...ends }: TextPart): DevicePart => {
      const isStored = text instanceof StoredText
      const tokens =
        brought.get(text) ?? new DeviceTokens(device, isStored ? { tokens: 2 * room, starts: room + 1 } : text)
      brought.set(text, tokens)
      if (isStored) stored[text.part] = tokens
      return { ...ends, text: tokens }
    }
    this.inputs = text.inputs.map(there)
    this.labels = there(text.labels)
    this.stored = stored
    this.#owned = [...brought.values()]
  }

  get bytes(): number {
    return this.#owned.reduce((sum, { bytes }) => sum + bytes, 0)
  }

  dispose(): void {
    for (const owned of this.#owned) owned.dispose()
  }
}

/** The file that a text's tokens are in, if they are in one. */
export function storeOf({ labels: { text } }: TextDataset): TokenFile | undefined {
  return text instanceof StoredText ? text.file : undefined
}

export interface TextOrderOptions {
  /** Tokens of a batch, as tokenBatches() counts them. */
  tokens: number
  /** Whether they are true ones, without padding. */
  packed?: boolean | undefined
  /** Without one, all epochs have the batches of the first. */
  seed?: number | undefined
  /** Most tokens that the model takes. */
  places?: number | undefined
}

/** The batches of a text, in an order. */
export class TextOrder implements Feed {
  readonly isWeighted = false
  readonly ignore = undefined
  readonly data: DeviceText
  readonly tokens: number
  readonly batches: TokenBatches
  readonly #isShuffled: boolean
  /** The sentences of the span that is read, batch after batch. */
  protected readonly plan: Tensor<'int32'>
  /** [steps + 1] where each batch of a segment begins in it. */
  readonly #offsets: Tensor<'int32'>
  readonly #made = new WeakMap<Tape, readonly Tokens[]>()
  /** What the labels lie along. */
  readonly #along = new WeakMap<Tape, Axis>()
  /** Steps before each epoch, as far as they are known. */
  readonly #before = [0]
  #latest: { readonly pass: number; readonly order: BatchOrder } | undefined
  #pass = -1
  #order: BatchOrder | undefined

  /** `most`: sentences that a span has. */
  constructor(
    device: Device,
    data: DeviceText,
    lengths: TextDataset['lengths'],
    { tokens, seed, places, packed = false }: TextOrderOptions,
    most = Number.POSITIVE_INFINITY,
  ) {
    this.data = data
    this.tokens = tokens
    this.#isShuffled = seed !== undefined
    this.batches = tokenBatches({
      ...{ ...lengths, tokens, packed, seed: seed ?? 0 },
      ...(places !== undefined && { longest: Math.min(places, tokens) }),
    })
    const sentences = Math.min(this.batches.sentences, most)
    this.plan = new Tensor(device, 'int32', sentences)
    this.#offsets = new Tensor(device, 'int32', sentences + 1)
  }

  isLike(other: Feed): boolean {
    return other === this
  }

  /** Kept until another pass is asked for: it takes a while to compute. */
  #orderOf(pass: number): BatchOrder {
    if (this.#latest?.pass !== pass) this.#latest = { pass, order: this.batches.epoch(this.#isShuffled ? pass : 0) }
    return this.#latest.order
  }

  /** The steps before a pass over the text ends. */
  #end(pass: number): number {
    for (let p = this.#before.length - 1; p <= pass; ++p)
      this.#before.push((this.#before[p] as number) + this.#orderOf(p).offsets.length - 1)
    return this.#before[pass + 1] as number
  }

  async enter({ epoch, step, stepsPerEpoch }: Place): Promise<Span> {
    const at = epoch * stepsPerEpoch + step
    let pass = 0
    // A run that is gone on with computes all passes before it: the event loop turns in between.
    for (; this.#end(pass) <= at; ++pass) await setImmediate()
    const [begin, end] = [this.#before[pass] as number, this.#end(pass)]
    const run = epoch * stepsPerEpoch
    const order = this.#orderOf(pass)
    const { sentences } = this.batches
    const span = await this.bring(order, at - begin, pass !== this.#pass)
    this.#pass = pass
    if (span) {
      this.#order = span.order
      return { begin: at - run, end: at - run + span.order.offsets.length - 1, samples: sentences }
    }
    this.#order = order
    return { begin: begin - run, end: end - run, samples: sentences }
  }

  /** Steps of a pass over the text, the first. */
  get steps(): number {
    return this.#end(0)
  }

  /**
   * Brings to the device what the steps of a pass take: all of them, if it is another pass than before, or some from
   * `_step` on, whose order is given.
   */
  protected async bring(
    { sentences }: BatchOrder,
    _step: number,
    isOther: boolean,
  ): Promise<{ readonly order: BatchOrder } | undefined> {
    if (isOther) await this.plan.write(sentences)
    return undefined
  }

  next({ begin }: Span, step: number): NextBatch {
    return { samples: 0, first: 0, columns: this.tokens, row: step - begin }
  }

  /** The sequences of the span's batches, and where each batch begins in them; once a span was entered. */
  get order(): BatchOrder | undefined {
    return this.#order
  }

  writes(_tape: Tape, { row = 0 }: NextBatch): Transfer[] {
    return this.#order ? [[this.#offsets, this.#order.offsets.slice(row)]] : []
  }

  fill(tape: Tape, { labels }: BatchTensors): void {
    const { device, program } = tape
    const { task, ...parts } = this.data
    const columns = this.tokens
    const int32 = (length: number) => tape.own(new Tensor(device, 'int32', length))
    const gather = (
      { text: { tokens, starts }, ...ends }: DevicePart,
      into: { axis: Axis; output: Tensor<'int32'>; positions?: Tensor<'int32'>; offsets?: Tensor<'int32'> },
    ) =>
      tape.record('gatherSequences', {
        ...{ total: tokens.length, tokens, sequences: starts.length - 1, starts },
        ...{ planned: this.plan.length, plan: this.plan },
        ...{ steps: this.#offsets.length - 1, batches: this.#offsets },
        ...{ most: columns, ...ends, ...into },
      })
    // A label of a sequence is a sequence of one number.
    const whole = tasks[task].counts === 'samples' ? tape.own(program.axis(columns)) : undefined
    const inputs = parts.inputs.map((part) => {
      const [axis, output] = [tape.own(program.axis(columns)), int32(columns)]
      const [offsets, positions] = [int32(columns + 1), int32(columns)]
      gather(part, { axis, output, positions, offsets })
      return new Tokens(output, { axis, count: columns, offsets, positions, whole })
    })
    const axis = whole ?? (inputs.at(-1) as Tokens).sequences.axis
    const output = labels ?? (whole && int32(columns))
    if (output) gather(parts.labels, { axis, output })
    this.#made.set(tape, inputs)
    this.#along.set(tape, axis)
  }

  checkOutput(tape: Tape, { axis, sequences }: Value): void {
    if ((axis ?? sequences?.axis) === this.#along.get(tape)) return
    const { name, task } = this.data
    const [expected, given] =
      tasks[task].counts === 'samples'
        ? ['sequence', 'token. Put Pooling before the last layers.']
        : ['token', 'something else']
    throw new HebbError(
      'INVALID_ARGUMENT',
      `Expected a model that gives a column for each ${expected} of ${name}, got one for each ${given}`,
    )
  }

  inputs(tape: Tape): Value[] {
    return [...(this.#made.get(tape) ?? [])]
  }

  targets(): never {
    throw new TypeError('text has labels')
  }

  /** Of the order alone. */
  get bytes(): number {
    return this.plan.bytes + this.#offsets.bytes
  }

  dispose(): void {
    this.plan.dispose()
    this.#offsets.dispose()
  }
}

/** Tokens that are on the device at once, of a text that is in a file. */
const WINDOW = 1 << 16

/** The sentences of some steps on their way from a file. */
interface Window {
  readonly of: BatchOrder
  readonly step: number
  readonly order: BatchOrder
  readonly texts: Promise<TokenizedText[]>
}

/** The batches of a text that is in a file: some of them are on the device, and the next on their way. */
export class StoredOrder extends TextOrder {
  readonly #file: TokenFile
  readonly #steps: number
  #ahead: Window | undefined
  #brought: Window | undefined

  constructor(device: Device, text: TextDataset, file: TokenFile, options: TextOrderOptions) {
    const steps = Math.max(1, Math.floor(WINDOW / options.tokens))
    const room = steps * options.tokens
    super(device, new DeviceText(device, text, room), text.lengths, options, room)
    this.#file = file
    this.#steps = steps
  }

  protected override async bring(of: BatchOrder, step: number): Promise<{ readonly order: BatchOrder } | undefined> {
    const isAt = (window: Window | undefined) => window?.of === of && window.step === step
    if (!isAt(this.#brought)) {
      const window = isAt(this.#ahead) ? (this.#ahead as Window) : this.#window(of, step)
      const texts = await window.texts
      await this.plan.write(Int32Array.from(window.order.sentences.keys()), window.order.sentences.length)
      for (const [part, tokens] of this.data.stored.entries()) await tokens.write(texts[part] as TokenizedText)
      this.#brought = window
    }
    const { order } = this.#brought as Window
    const next = step + order.offsets.length - 1
    if (next < of.offsets.length - 1 && !(this.#ahead?.of === of && this.#ahead.step === next))
      this.#ahead = this.#window(of, next)
    return { order }
  }

  #window(of: BatchOrder, step: number): Window {
    const last = Math.min(step + this.#steps, of.offsets.length - 1)
    const begin = of.offsets[step] as number
    const sentences = of.sentences.subarray(begin, of.offsets[last])
    const offsets = of.offsets.slice(step, last + 1).map((offset) => offset - begin)
    const texts = this.#file.read(sentences)
    texts.catch(() => {}) // told to who asks for it
    return { of, step, order: { sentences, offsets }, texts }
  }

  override dispose(): void {
    super.dispose()
    this.data.dispose()
  }
}
