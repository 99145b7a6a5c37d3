/**
 * Which source tokens a decoder attends to while it writes a translation that is there: the weights of the cross-
 * attention in its last layer. The device computes queries and keys of all tokens at once, the host the weights.
 */
import type { Tape } from '../autograd.js'
import type { Device } from '../device.js'
import { HebbError } from '../error.js'
import type { MultiHeadAttention } from '../nn/attention.js'
import type { Transformer } from '../nn/transformer.js'
import type { Activations } from '../tensor.js'
import { attentionsIn, batchesOf, flat, forget, forward, Given, most, recorded, startsOf, total } from './search.js'

/** Weights of a sentence pair, those of each target token adding up to 1 in each head. */
export interface Attended {
  readonly heads: number
  /** Tokens of the target, its end counted: row t is what is looked at while token t is chosen. */
  readonly rows: number
  /** Tokens of the source. */
  readonly cols: number
  /** [heads][rows][cols] */
  readonly weights: Float32Array
}

/** Tokens side by side, at most. */
const BATCH = 2048

/** Queries and keys of the last cross-attention, for whole targets. */
class Recording {
  readonly #tape: Tape
  readonly #source: Given
  readonly #target: Given
  readonly #query: Activations
  readonly #key: Activations
  readonly heads: number

  constructor(tape: Tape, model: Transformer, sources: number, targets: number, sentences: number) {
    const last = [...attentionsIn(model.decoder)].filter(({ cross }) => cross).at(-1)
    if (!last) throw new HebbError('UNSUPPORTED', 'Expected a decoder that attends to its source, got one without')
    this.#tape = tape
    this.heads = last.heads
    this.#source = new Given(tape, sources, sentences)
    this.#target = new Given(tape, targets, sentences)
    const memory = model.encode(tape, this.#source.tokens)
    const found: Partial<Record<'query' | 'key', Activations>> = {}
    const input = model.target.forward(tape, this.#target.tokens)
    // What comes behind it is not read, and so not computed.
    forward(model.decoder, tape, input, (one: MultiHeadAttention, x) => {
      if (one === last) {
        found.query = one.query.forward(tape, x).activations
        found.key = one.key.forward(tape, memory).activations
      }
      return one.cross ? one.forward(tape, x, memory) : one.forward(tape, x)
    })
    this.#query = found.query as Activations
    this.#key = found.key as Activations
    for (const value of [this.#query, this.#key]) tape.program.keep(value)
  }

  async run(sources: readonly Int32Array[], targets: readonly Int32Array[], signal?: AbortSignal): Promise<Attended[]> {
    const starts = [sources, targets].map((all) => startsOf(all.map(({ length }) => length)))
    const [ofSources, ofTargets] = starts as [Int32Array, Int32Array]
    const query = new Float32Array((ofTargets.at(-1) as number) * this.#query.features)
    const key = new Float32Array((ofSources.at(-1) as number) * this.#key.features)
    await this.#tape.program.replay(1, {
      signal,
      writes: [
        ...this.#source.writes(flat(sources, ofSources), ofSources),
        ...this.#target.writes(flat(targets, ofTargets), ofTargets),
      ],
      reads: [
        [this.#query, query, ofTargets.at(-1) as number],
        ...(key.length > 0 ? [[this.#key, key, ofSources.at(-1) as number] as const] : []),
      ],
    })
    return sources.map((source, i) => {
      const [rows, cols] = [(targets[i] as Int32Array).length, source.length]
      const from = (all: Float32Array, of: Int32Array, features: number) =>
        all.subarray((of[i] as number) * features, (of[i + 1] as number) * features)
      const weights = weightsOf(
        { values: from(query, ofTargets, this.#query.features), features: this.#query.features, count: rows },
        { values: from(key, ofSources, this.#key.features), features: this.#key.features, count: cols },
        this.heads,
      )
      return { heads: this.heads, rows, cols, weights }
    })
  }
}

/** [count][features] */
interface Vectors {
  readonly values: Float32Array
  readonly features: number
  readonly count: number
}

/** softmax(Q K^T / sqrt(features of a head)) of each head; keys may have fewer heads, a divisor. */
function weightsOf(query: Vectors, key: Vectors, heads: number): Float32Array {
  const own = query.features / heads
  const shared = heads / (key.features / own)
  const weights = new Float32Array(heads * query.count * key.count)
  const scores = new Float64Array(key.count)
  for (let head = 0; head < heads; ++head)
    for (let row = 0; row < query.count; ++row) {
      const q = row * query.features + head * own
      for (let col = 0; col < key.count; ++col) {
        const k = col * key.features + Math.floor(head / shared) * own
        let sum = 0
        for (let i = 0; i < own; ++i) sum += (query.values[q + i] as number) * (key.values[k + i] as number)
        scores[col] = sum / Math.sqrt(own)
      }
      const largest = scores.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY)
      const powers = scores.map((score) => Math.exp(score - largest))
      const sum = powers.reduce((a, b) => a + b, 0)
      for (let col = 0; col < key.count; ++col)
        weights[(head * query.count + row) * key.count + col] = (powers[col] as number) / sum
    }
  return weights
}

/** The mean over the heads: [rows][cols]. */
export function meanOfHeads({ heads, rows, cols, weights }: Attended): Float32Array {
  const size = rows * cols
  return Float32Array.from({ length: size }, (_, i) => {
    let sum = 0
    for (let head = 0; head < heads; ++head) sum += weights[head * size + i] as number
    return sum / heads
  })
}

/** Of sources and targets in token numbers, that are known to fit the model; targets without begin and end. */
export async function crossAttention(
  device: Device,
  model: Transformer,
  begin: number,
  pairs: readonly (readonly [source: Int32Array, target: Int32Array])[],
  signal?: AbortSignal,
): Promise<Attended[]> {
  const sources = pairs.map(([source]) => source)
  const targets = pairs.map(([, target]) => Int32Array.of(begin, ...target))
  const pick = (all: readonly Int32Array[], batch: readonly number[]) => batch.map((i) => all[i] as Int32Array)
  const lengths = targets.map(({ length }) => length)
  const batches = batchesOf(lengths, (i) => Math.max((sources[i]?.length ?? 0) + 1, lengths[i] as number), BATCH)
  const results = new Array<Attended>(pairs.length)
  if (batches.length === 0) return results
  let tape: Tape | undefined
  const recording = recorded(device, (made) => {
    tape = made
    const columns = (all: readonly Int32Array[]) => most(batches, (batch) => total(pick(all, batch)))
    return new Recording(
      made,
      model,
      columns(sources),
      columns(targets),
      most(batches, ({ length }) => length),
    )
  })
  try {
    for (const batch of batches) {
      const found = await recording.run(pick(sources, batch), pick(targets, batch), signal)
      for (const [k, i] of batch.entries()) results[i] = found[k] as Attended
    }
    return results
  } finally {
    if (tape) forget(tape)
  }
}
