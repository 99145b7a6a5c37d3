/**
 * How well a language model tells texts: the mean loss of their tokens, by windows that may overlap, with what follows
 * from it and standard errors.
 */
import type { Tape, Value } from '../autograd.js'
import type { Device } from '../device.js'
import { expect, integer, known } from '../error.js'
import type { Sequential } from '../nn/sequential.js'
import type { Transfer } from '../program.js'
import type { Tensor } from '../tensor.js'
import type { Documents, LanguageText } from '../text/language.js'
import { placesOf } from './check_data.js'
import type { BatchTensors, Feed, NextBatch } from './feed.js'
import { Graph, noTotals } from './graph.js'
import type { RunOptions } from './inference.js'
import { Given } from './search.js'

/** What perplexity() takes. */
export interface PerplexityOptions extends RunOptions {
  /** Tokens that the model is given at a time. Default: the text's window. */
  window?: number | undefined
  /**
   * Tokens from the beginning of a window to that of the next. Of a window, those are counted that the one before has
   * not: each token once, and the smaller the stride, the more tokens stand before it. Default: the window, as in
   * training.
   */
  stride?: number | undefined
}

/** A number with its standard error, over documents or windows that are taken as independent. */
export interface Estimate {
  readonly value: number
  /** NaN where there is one unit alone. */
  readonly error: number
}

/** How well a language model foresees a text, a token, a word and a byte at a time. */
export interface Perplexity {
  /** Mean over tokens, in natural logarithms: the ends of documents are tokens, too. */
  readonly loss: Estimate
  /** exp(loss): a token. */
  readonly perplexity: Estimate
  /** exp(loss of all tokens / words), where words are what stands between white space. */
  readonly wordPerplexity: Estimate
  /** Loss of all tokens / (ln 2 x bytes of UTF-8): what compares models of different tokenizers. */
  readonly bitsPerByte: Estimate
  /** That were counted. */
  readonly tokens: number
  /** How many of them are the tokenizer's unknown one: which text each stands for is not told, and costs nothing. */
  readonly unknown: number
  readonly words: number
  readonly bytes: number
  /** What errors are over: documents where there are 30 at least, else windows. */
  readonly by: 'documents' | 'windows'
  readonly units: number
  readonly window: number
  readonly stride: number
}

/** Documents from which on errors are over them. */
const MANY = 30
/** Labels that do not count. */
const IGNORED = -1

/** What the model is given of a document of so many tokens, and the first label of it that counts. */
export interface Window {
  readonly begin: number
  readonly end: number
  readonly counted: number
}

/** The labels of the tokens [begin, end) are those at [begin + 1, end]; each label from 1 on counts in one window. */
export function* windowsOf(tokens: number, window: number, stride: number): Generator<Window> {
  for (let [begin, counted] = [0, 1]; counted < tokens; begin += stride) {
    const end = Math.min(begin + window, tokens - 1)
    yield { begin, end, counted }
    counted = end + 1
  }
}

/** sum of `ofs` / sum of `tos` over units, with its standard error (ratio estimator, linearised). */
export function ratioOf(ofs: ArrayLike<number>, tos: ArrayLike<number>): Estimate {
  const sum = (numbers: ArrayLike<number>) => Array.from(numbers).reduce((a, b) => a + b, 0)
  const [count, all] = [ofs.length, sum(tos)]
  const value = sum(ofs) / all
  const squares = sum(Array.from(ofs, (of, i) => (of - value * (tos[i] as number)) ** 2))
  return { value, error: count > 1 ? Math.sqrt((count / (count - 1)) * squares) / all : Number.NaN }
}

const exponential = ({ value, error }: Estimate): Estimate => ({
  value: Math.exp(value),
  error: Math.exp(value) * error,
})

/** One sequence a step, from the host, with labels of which some do not count. */
class WindowFeed implements Feed {
  readonly isWeighted = false
  readonly ignore = IGNORED
  readonly #columns: number
  readonly #given = new WeakMap<Tape, Given>()
  #tokens = new Int32Array(0)
  #labels = new Int32Array(0)

  constructor(columns: number) {
    this.#columns = columns
  }

  /** `tokens`: from the first that is given to the last that is a label; `left`: labels that do not count. */
  take(tokens: Int32Array, left: number): void {
    this.#tokens = tokens.slice(0, -1)
    this.#labels = tokens.slice(1).fill(IGNORED, 0, left)
  }

  isLike(other: Feed): boolean {
    return other === this
  }

  fill(tape: Tape): void {
    this.#given.set(tape, new Given(tape, this.#columns, 1))
  }

  inputs(tape: Tape): Value[] {
    return [(this.#given.get(tape) as Given).tokens]
  }

  targets(): never {
    throw new TypeError('text has labels')
  }

  writes(tape: Tape, _next: NextBatch, { labels }: BatchTensors): Transfer[] {
    const all = new Int32Array((labels as Tensor<'int32'>).length).fill(IGNORED)
    all.set(this.#labels)
    const given = this.#given.get(tape) as Given
    return [...given.writes(this.#tokens, Int32Array.of(0, this.#tokens.length)), [labels as Tensor<'int32'>, all]]
  }
}

/** Where losses are computed. `workspace`: for the values of graphs. */
export interface Within {
  readonly device: Device
  readonly model: Sequential
  readonly workspace: Tensor<'uint8'>
}

/** Losses of sequences, one after another. */
export class SequenceLosses {
  readonly #feed: WindowFeed
  readonly #graph: Graph
  readonly #columns: number

  /** Of sequences in which the model is given so many tokens at most. */
  constructor({ device, model, workspace }: Within, columns: number) {
    this.#columns = columns
    this.#feed = new WindowFeed(columns)
    const all = { device, model, batch: columns, features: 0, feed: this.#feed, workspace }
    this.#graph = new Graph({ ...all, loss: 'crossEntropy' })
  }

  /** The sum over the tokens behind the first but for so many of them, `left`, and how many these are. */
  async of(tokens: Int32Array, left: number, signal?: AbortSignal): Promise<{ loss: number; count: number }> {
    this.#feed.take(tokens, left)
    const next = { samples: 0, first: 0, columns: this.#columns }
    const { program, totals } = this.#graph
    const sums = noTotals()
    await program.replay(1, {
      ...{ signal, begin: { step: 0, ...next } },
      ...{ writes: [...this.#graph.writes(next), [totals, sums]], reads: [[totals, sums]] },
    })
    return { loss: sums[0] as number, count: sums[2] as number }
  }

  dispose(): void {
    this.#graph.dispose()
  }
}

/** What the options come to for a text and a model. */
function shapeOf(model: Sequential, text: LanguageText, options: PerplexityOptions) {
  known(options, 'perplexity()', { window: true, stride: true, signal: true })
  const places = placesOf(model) ?? Number.POSITIVE_INFINITY
  const window = integer(options.window ?? text.window, 'window', 1)
  expect(window <= places, () => `Expected window to be at most ${places}, the places of the model, got ${window}`)
  return { window, stride: integer(options.stride ?? window, 'stride', 1, window) }
}

/** See Perplexity. */
export async function perplexity(
  within: Within,
  text: LanguageText,
  options: PerplexityOptions = {},
): Promise<Perplexity> {
  const { window, stride } = shapeOf(within.model, text, options)
  const { documents: all, name } = text
  expect(all !== undefined, () => `Expected a text that is in memory to measure, got ${name}. Make it without store.`)
  const { tokens, starts } = all.text
  const count = starts.length - 1
  const longest = starts.subarray(1).reduce((most, end, d) => Math.max(most, end - (starts[d] as number)), 0)
  const sequences = new SequenceLosses(within, Math.min(window, longest - 1))
  const [losses, counts]: [number[], number[]] = [[], []]
  /** The document of each window. */
  const documents: number[] = []
  try {
    for (let d = 0; d < count; ++d) {
      const document = tokens.subarray(starts[d], starts[d + 1])
      for (const { begin, end, counted } of windowsOf(document.length, window, stride)) {
        const found = await sequences.of(document.subarray(begin, end + 1), counted - begin - 1, options.signal)
        losses.push(found.loss)
        counts.push(found.count)
        documents.push(d)
      }
    }
  } finally {
    sequences.dispose()
  }
  return { ...told(all, text.tokenizers.source.unknown, losses, counts, documents), window, stride }
}

/** What losses of windows come to. */
function told(
  documents: Documents,
  unknown: number | undefined,
  losses: readonly number[],
  counts: readonly number[],
  ofDocuments: readonly number[],
): Omit<Perplexity, 'window' | 'stride'> {
  const byDocument = (numbers: readonly number[]) => {
    const sums = new Float64Array(documents.bytes.length)
    for (const [i, number] of numbers.entries()) {
      const d = ofDocuments[i] as number
      sums[d] = (sums[d] as number) + number
    }
    return sums
  }
  const isByDocuments = documents.bytes.length >= MANY
  const tokens = byDocument(counts)
  const [ofs, tos] = isByDocuments ? [byDocument(losses), tokens] : [losses, counts]
  // A window has the words and bytes of its document in proportion to its tokens.
  const shared = (numbers: Float64Array) =>
    isByDocuments
      ? numbers
      : counts.map((of, i) => {
          const d = ofDocuments[i] as number
          return ((numbers[d] as number) * of) / (tokens[d] as number)
        })
  const sum = (numbers: ArrayLike<number>) => Array.from(numbers).reduce((a, b) => a + b, 0)
  const [loss, ofWords, ofBytes] = [tos, shared(documents.words), shared(documents.bytes)].map((to) => ratioOf(ofs, to))
  const { value, error } = ofBytes as Estimate
  return {
    loss: loss as Estimate,
    perplexity: exponential(loss as Estimate),
    wordPerplexity: exponential(ofWords as Estimate),
    bitsPerByte: { value: value / Math.LN2, error: error / Math.LN2 },
    unknown: documents.text.tokens.reduce((all, token) => all + Number(token === unknown), 0),
    ...{ tokens: sum(counts), words: sum(documents.words), bytes: sum(documents.bytes) },
    ...{ by: isByDocuments ? 'documents' : 'windows', units: ofs.length },
  }
}
