/** Batches of sentences, or of pairs of them, by their tokens, as the papers of translation count them. */
import { expect, integer, known, show } from '../error.js'
import { permutation } from '../philox.js'

/** hebb::kBatchDraws. */
const PURPOSE = 18
/** The special tokens of a sentence: begin and end around a source, and of a target the one or the other. */
const [SOURCE_ENDS, TARGET_ENDS] = [2, 1]

/** What tokenBatches() takes. */
export interface TokenBatchesOptions {
  /** [sentences] of pairs, tokens of each source and each target, special tokens not counted. */
  sourceLengths?: ArrayLike<number>
  targetLengths?: ArrayLike<number>
  /** [sentences] of a text by itself, all tokens of each. */
  lengths?: ArrayLike<number>
  /** Most tokens of a batch. */
  tokens: number
  /**
   * Tokens of a batch are its true ones, the more of sources and targets, and sentences stay in their random order.
   * Default false: they are sentences x the longest of them, padding included, as in OpenNMT.
   */
  packed?: boolean | undefined
  /** Sentences that are sorted by length together, to share batches with their likes; not `packed`. Default 8192. */
  pool?: number | undefined
  /** Most tokens of a source or a target that the model takes, special ones counted. Default: what fits in a batch. */
  longest?: number | undefined
  /** Default 0. */
  seed?: number | undefined
}

/** The batches of an epoch, in their order. */
export interface BatchOrder {
  /** [sentences] their numbers, batch after batch. */
  readonly sentences: Int32Array
  /** [batches + 1] where each batch begins in them, and the end of the last. */
  readonly offsets: Int32Array
}

/** Made by tokenBatches(). */
export class TokenBatches {
  /** Numbers of the sentences that are too long, and in no batch. */
  readonly dropped: Int32Array
  readonly #kept: Int32Array
  readonly #sources: Int32Array
  readonly #targets: Int32Array
  readonly #tokens: number
  readonly #pool: number | undefined
  readonly #seed: number

  /** @internal */
  constructor(options: TokenBatchesOptions) {
    const { lengths, sourceLengths, targetLengths, tokens, packed = false } = options
    const { pool, longest = tokens, seed = 0 } = options
    expect(
      lengths === undefined || (sourceLengths === undefined && targetLengths === undefined),
      () => 'Expected lengths, or sourceLengths and targetLengths of pairs, got both',
    )
    this.#sources = lengths
      ? withEnds(lengths, 'lengths', 0)
      : withEnds(sourceLengths as ArrayLike<number>, 'sourceLengths', SOURCE_ENDS)
    this.#targets = lengths ? this.#sources : withEnds(targetLengths as ArrayLike<number>, 'targetLengths', TARGET_ENDS)
    expect(
      this.#sources.length === this.#targets.length,
      () =>
        'Expected as many sourceLengths as targetLengths, one of each a sentence, got ' +
        `${this.#sources.length} and ${this.#targets.length}`,
    )
    expect(typeof packed === 'boolean', () => `Expected packed to be true or false, got ${show(packed)}`)
    expect(!packed || pool === undefined, () => `Expected no pool with packed, got ${show(pool)}. Nothing is sorted.`)
    this.#tokens = integer(tokens, 'tokens', 1, 2 ** 31 - 1)
    this.#pool = packed ? undefined : integer(pool ?? 8192, 'pool', 1)
    this.#seed = integer(seed, 'seed', 0)
    const most = Math.min(tokens, integer(longest, 'longest', 1))
    const fits = (i: number) => this.#lengthOf(i) <= most
    const all = Int32Array.from(this.#sources.keys())
    this.#kept = all.filter(fits)
    this.dropped = all.filter((i) => !fits(i))
    expect(
      this.#kept.length > 0,
      () =>
        `Expected sentences that fit in ${most} tokens, got ${all.length} longer ones, the shortest of ` +
        `${all.reduce((least, i) => Math.min(least, this.#lengthOf(i)), Number.POSITIVE_INFINITY)}. Raise tokens ` +
        'and longest.',
    )
  }

  /** Sentences that are in batches. */
  get sentences(): number {
    return this.#kept.length
  }

  /**
   * The batches of epoch number `epoch`, which depend on it and on the seed alone. Each sentence is in one of them; how
   * many they are differs a little from epoch to epoch.
   */
  epoch(epoch: number): BatchOrder {
    integer(epoch, 'epoch', 0, 2 ** 32 - 1)
    const shuffled = (count: number, layer: number) =>
      permutation(count, this.#seed, epoch, { purpose: PURPOSE, layer })
    const order = shuffled(this.#kept.length, 0).map((i) => this.#kept[i] as number)
    const pool = this.#pool ?? order.length
    const batches: Int32Array[] = []
    for (let first = 0; first < order.length; first += pool)
      for (const batch of this.#cut(this.#sorted(order.subarray(first, first + pool)))) batches.push(batch)
    const [sentences, offsets] = [new Int32Array(order.length), new Int32Array(batches.length + 1)]
    for (const [i, which] of shuffled(batches.length, 1).entries()) {
      const batch = batches[which] as Int32Array
      sentences.set(batch, offsets[i])
      offsets[i + 1] = (offsets[i] as number) + batch.length
    }
    return { sentences, offsets }
  }

  #lengthOf(sentence: number): number {
    return Math.max(this.#sources[sentence] as number, this.#targets[sentence] as number)
  }

  /** By the source's length, then the target's; equals stay in their random order. */
  #sorted(pool: Int32Array): Int32Array {
    if (this.#pool === undefined) return pool
    const [sources, targets] = [this.#sources, this.#targets]
    return pool.toSorted(
      (one, two) =>
        (sources[one] as number) - (sources[two] as number) || (targets[one] as number) - (targets[two] as number),
    )
  }

  /** Neighbours, as many as fit. */
  *#cut(order: Int32Array): Generator<Int32Array> {
    const join = this.#pool === undefined ? (one: number, two: number) => one + two : Math.max
    let [first, source, target] = [0, 0, 0]
    for (const [i, sentence] of order.entries()) {
      const [ofSource, ofTarget] = [this.#sources[sentence] as number, this.#targets[sentence] as number]
      const length = Math.max(join(source, ofSource), join(target, ofTarget))
      const isFull = (this.#pool === undefined ? length : (i - first + 1) * length) > this.#tokens
      if (isFull) {
        yield order.subarray(first, i)
        ;[first, source, target] = [i, ofSource, ofTarget]
      } else [source, target] = [join(source, ofSource), join(target, ofTarget)]
    }
    yield order.subarray(first)
  }
}

/** Lengths with the special tokens of a sentence. */
function withEnds(lengths: ArrayLike<number>, what: string, ends: number): Int32Array {
  expect(
    typeof lengths === 'object' && lengths !== null && lengths.length > 0,
    () => `Expected ${what} to be the tokens of each sentence, got ${show(lengths)}`,
  )
  return Int32Array.from(lengths, (length, i) => integer(length, `${what}[${i}]`, 0, 2 ** 30) + ends)
}

/**
 * Orders of batches of sentence pairs, or of the sentences of a text by itself. A batch has so many sentences that
 * sentences x the longest of (source + 2, target + 1), or of `lengths`, is at most `tokens`: begin and end of a source
 * and the one or the other of a target are counted, and so is padding, though it is never computed. Each epoch shuffles
 * the sentences, sorts pools of them by the source's length and then the target's, cuts the pools into batches and
 * shuffles the batches. Sentences that are longer than a batch, or than `longest`, are `dropped`, whole;
 * INVALID_ARGUMENT if all of them are.
 */
export function tokenBatches(options: TokenBatchesOptions): TokenBatches {
  return new TokenBatches(
    known(options, 'tokenBatches()', {
      ...{ lengths: true, sourceLengths: true, targetLengths: true, tokens: true },
      ...{ packed: true, pool: true, longest: true, seed: true },
    }),
  )
}
