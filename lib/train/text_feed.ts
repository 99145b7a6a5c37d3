/**
 * Batches of sentence pairs that lie on the device: which ones a step takes is a plan of the epoch, uploaded once, and
 * tokens are set one behind another by the step itself, so that no padding is computed.
 */
import { setImmediate } from 'node:timers/promises'
import { type Tape, Tokens, type Value } from '../autograd.js'
import type { Device } from '../device.js'
import { expect } from '../error.js'
import type { Transfer } from '../program.js'
import { Tensor } from '../tensor.js'
import { type BatchOrder, type TokenBatches, tokenBatches } from '../text/batches.js'
import type { ParallelText, TokenizedText } from '../text/parallel.js'
import type { BatchTensors, Feed, NextBatch, Place, Span } from './feed.js'

class DeviceTokens {
  readonly tokens: Tensor<'int32'>
  readonly starts: Tensor<'int32'>

  constructor(device: Device, { tokens, starts }: TokenizedText) {
    // No operation takes memory of no element.
    this.tokens = new Tensor(device, 'int32', tokens.length > 0 ? tokens : new Int32Array(1))
    this.starts = new Tensor(device, 'int32', starts)
  }

  get bytes(): number {
    return this.tokens.bytes + this.starts.bytes
  }

  dispose(): void {
    this.tokens.dispose()
    this.starts.dispose()
  }
}

/** Sentence pairs in device memory. */
export class DeviceText {
  readonly text: ParallelText
  readonly source: DeviceTokens
  readonly target: DeviceTokens

  constructor(device: Device, text: ParallelText) {
    this.text = text
    this.source = new DeviceTokens(device, text.source)
    this.target = new DeviceTokens(device, text.target)
  }

  get bytes(): number {
    return this.source.bytes + this.target.bytes
  }

  dispose(): void {
    this.source.dispose()
    this.target.dispose()
  }
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
  /** The sentences of the epoch that is read, batch after batch. */
  readonly #plan: Tensor<'int32'>
  /** [steps + 1] where each batch of a segment begins in it. */
  readonly #offsets: Tensor<'int32'>
  readonly #made = new WeakMap<Tape, readonly [source: Tokens, target: Tokens]>()
  /** Steps before each epoch, as far as they are known. */
  readonly #before = [0]
  #latest: { readonly pass: number; readonly order: BatchOrder } | undefined
  #pass = -1
  #order: BatchOrder | undefined

  constructor(device: Device, data: DeviceText, { tokens, seed, places, packed = false }: TextOrderOptions) {
    this.data = data
    this.tokens = tokens
    this.#isShuffled = seed !== undefined
    this.batches = tokenBatches({
      ...{ ...data.text.lengths, tokens, packed, seed: seed ?? 0 },
      ...(places !== undefined && { longest: Math.min(places, tokens) }),
    })
    const { sentences } = this.batches
    this.#plan = new Tensor(device, 'int32', sentences)
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
    if (pass !== this.#pass) {
      const order = this.#orderOf(pass)
      await this.#plan.write(order.sentences)
      this.#order = order
      this.#pass = pass
    }
    const [begin, end] = [this.#before[pass] as number, this.#end(pass)]
    const run = epoch * stepsPerEpoch
    return { begin: begin - run, end: end - run, samples: this.batches.sentences }
  }

  next({ begin }: Span, step: number): NextBatch {
    return { samples: 0, first: 0, columns: this.tokens, row: step - begin }
  }

  writes(_tape: Tape, { row = 0 }: NextBatch): Transfer[] {
    return this.#order ? [[this.#offsets, this.#order.offsets.slice(row)]] : []
  }

  fill(tape: Tape, { labels }: BatchTensors): void {
    const { device, program } = tape
    const columns = this.tokens
    const int32 = (length: number) => tape.own(new Tensor(device, 'int32', length))
    const tokensOf = ({ tokens, starts }: DeviceTokens, ends: { skip?: number; drop?: number }) => {
      const sequences = {
        ...{ axis: tape.own(program.axis(columns)), count: columns },
        ...{ offsets: int32(columns + 1), positions: int32(columns) },
      }
      const { axis, count, offsets, positions } = sequences
      const gather = (output: Tensor<'int32'>, cut: { skip?: number; drop?: number }) =>
        tape.record('gatherSequences', {
          ...{ total: tokens.length, tokens, sequences: starts.length - 1, starts },
          ...{ planned: this.#plan.length, plan: this.#plan },
          ...{ steps: this.#offsets.length - 1, batches: this.#offsets },
          ...{ most: count, axis, output, positions, offsets, ...cut },
        })
      const output = int32(columns)
      gather(output, ends)
      return { gather, tokens: new Tokens(output, sequences) }
    }
    const source = tokensOf(this.data.source, {})
    // A target's word is told by those before it.
    const target = tokensOf(this.data.target, { drop: 1 })
    expect(labels !== undefined, () => 'Expected a loss with labels for text, such as crossEntropy()')
    if (labels) target.gather(labels, { skip: 1 })
    this.#made.set(tape, [source.tokens, target.tokens])
  }

  inputs(tape: Tape): Value[] {
    return [...(this.#made.get(tape) ?? [])]
  }

  targets(): never {
    throw new TypeError('text has labels')
  }

  /** Of the order alone. */
  get bytes(): number {
    return this.#plan.bytes + this.#offsets.bytes
  }

  dispose(): void {
    this.#plan.dispose()
    this.#offsets.dispose()
  }
}
