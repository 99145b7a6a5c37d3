/**
 * Text by a language model, token by token. A step computes the tokens that are new alone: the keys and values of those
 * before lie in a cache, a column a token. One recording serves the prompt, some tokens at a time, and what follows.
 */

import type { Tape } from '../autograd.js'
import { Tokens, type Value } from '../autograd.js'
import type { Device } from '../device.js'
import { expect, HebbError, integer, known, show } from '../error.js'
import { attention, type MultiHeadAttention } from '../nn/attention.js'
import type { Sequential } from '../nn/sequential.js'
import { Activations, Tensor } from '../tensor.js'
import type { Vocabularies } from '../text/dataset.js'
import { separatorOf } from '../text/language.js'
import { checkSampling, drawOf, type SamplingOptions, sample } from '../text/sampling.js'
import type { DecodeStream, Tokenizer } from '../text/tokenizer.js'
import { placesOf, tellsNext } from './check_data.js'
import { forget, forward, Given, recorded } from './search.js'

/** What generate() takes. */
export interface GenerateOptions extends SamplingOptions {
  /** Most tokens. Default 256. */
  tokens?: number | undefined
  /** Ends before the first of these texts. Default: none; the model's own end always ends it. */
  stop?: string | readonly string[] | undefined
  /** Of what is drawn: the same seed, model and prompt give the same text. Default 0. */
  seed?: number | undefined
  /** Stops before the next token; the loop then throws ABORTED. */
  signal?: AbortSignal | undefined
}

/** A token of a text that is written. */
export interface GeneratedToken {
  /** Its number. The last one is that of the separator, where the model has ended the text. */
  readonly id: number
  /**
   * What the text has more by it: characters once all their tokens are there, and nothing that may be the beginning of
   * a text to stop at.
   */
  readonly text: string
  /** Natural logarithm of its probability by the model, whatever temperature and limits were. */
  readonly logProbability: number
}

const NAMES = {
  ...({ tokens: true, stop: true, seed: true, signal: true } as const),
  ...({ temperature: true, topK: true, topP: true, repetitionPenalty: true } as const),
}

/** Tokens that a step takes at most. */
const CHUNK = 64
/** Tokens that a model sees which tells no places. */
const PLACES = 1024

/**
 * Where the context of a text of so many tokens begins, for a model with so many places: at 0 while it has room, and
 * then half of the places further each time.
 */
export function contextOf(tokens: number, places: number): number {
  const step = Math.ceil(places / 2)
  return Math.max(0, Math.ceil((tokens - places) / step)) * step
}

/** The steps of a model with its cache. */
class Steps {
  readonly #tape: Tape
  readonly #latest: Given
  readonly #prefix: Given
  readonly #positions: Tensor<'int32'>
  readonly #chunk: number
  readonly #logits: Activations

  constructor(tape: Tape, model: Sequential, places: number) {
    const { device, program } = tape
    this.#tape = tape
    this.#chunk = Math.min(CHUNK, places)
    this.#latest = new Given(tape, this.#chunk, 1)
    this.#prefix = new Given(tape, places, 1)
    this.#positions = tape.own(new Tensor(device, 'int32', this.#chunk))
    const { tokens, sequences } = this.#latest.tokens
    const { tokens: indices, sequences: prefix } = this.#prefix.tokens
    /** A value of all tokens of the context, which is given that of the latest. */
    const cached = ({ activations: input }: Value): Value => {
      const cache = tape.own(new Activations(device, input.features, places))
      program.record('scatterColumns', { input, indices: this.#positions, output: cache })
      return tape.apply({
        ...{ features: input.features, inputs: [], sequences: prefix },
        forward: (output) => program.record('gatherColumns', { input: cache, indices, output }),
        backward() {},
      })
    }
    const attend = (one: MultiHeadAttention, x: Value): Value => {
      const { query, key, value } = one.project(tape, x)
      // The latest tokens are the context's last: both end together.
      return one.output.forward(
        tape,
        attention(tape, query, cached(key), cached(value), { heads: one.heads, causal: true }),
      )
    }
    const input = new Tokens(tokens, { ...sequences, positions: this.#positions })
    const { activations } = forward(model, tape, input, attend)
    program.keep(activations)
    this.#logits = activations
  }

  /** [words] the scores of what follows the context, of which the tokens before `from` are in the cache. */
  async run(context: Int32Array, from: number, signal?: AbortSignal): Promise<Float32Array> {
    const words = this.#logits.features
    for (let first = from; ; first += this.#chunk) {
      const end = Math.min(first + this.#chunk, context.length)
      const scores = new Float32Array((end - first) * words)
      const numbers = Int32Array.from({ length: end }, (_, i) => i)
      await this.#tape.program.replay(1, {
        signal,
        writes: [
          ...this.#latest.writes(context.slice(first, end), Int32Array.of(0, end - first)),
          ...this.#prefix.writes(numbers, Int32Array.of(0, end)),
          [this.#positions, numbers.slice(first)],
        ],
        reads: [[this.#logits, scores, end - first]],
      })
      if (end === context.length) return scores.subarray(scores.length - words)
    }
  }

  dispose(): void {
    forget(this.#tape)
  }
}

/** Scores of what follows a text that grows. */
export class NextToken {
  readonly places: number
  readonly #steps: Steps
  /** What the cache has. */
  #cached = new Int32Array(0)
  #version = 0

  constructor(device: Device, model: Sequential) {
    this.places = placesOf(model) ?? PLACES
    this.#steps = recorded(device, (tape) => new Steps(tape, model, this.places))
  }

  /**
   * [words] scores (logits) behind the tokens of a text, of which it sees the last ones that it has places for. Where
   * the model has changed, with `version`, nothing of the cache is used.
   */
  async scores(text: Int32Array, { version = 0, signal }: { version?: number; signal?: AbortSignal | undefined } = {}) {
    const context = text.slice(contextOf(text.length, this.places))
    let from = 0
    if (version === this.#version)
      while (from < Math.min(this.#cached.length, context.length - 1) && this.#cached[from] === context[from]) ++from
    this.#cached = context.slice(0, from)
    const scores = await this.#steps.run(context, from, signal)
    this.#cached = context
    this.#version = version
    return scores
  }

  dispose(): void {
    this.#steps.dispose()
  }
}

function stopsOf(stop: GenerateOptions['stop']): readonly string[] {
  const all = stop === undefined ? [] : typeof stop === 'string' ? [stop] : stop
  expect(
    Array.isArray(all) && all.every((text) => typeof text === 'string' && text !== ''),
    () => `Expected stop to be a text, or some, none of them empty, got ${show(stop)}`,
  )
  return all
}

/** The scores' own logarithm of a token's probability. */
function logProbabilityOf(scores: Float32Array, token: number): number {
  const most = scores.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY)
  return (scores[token] as number) - most - Math.log(scores.reduce((sum, score) => sum + Math.exp(score - most), 0))
}

/**
 * A prompt in tokens: as texts begin that the model was trained on here, or of one that was imported, as its tokenizer
 * begins texts.
 */
export function begun(tokenizer: Tokenizer, prompt: string, separator: number | undefined, end: number): Int32Array {
  const tokens = tokenizer.encode(prompt, { special: false })
  if (separator !== undefined) return Int32Array.of(separator, ...tokens)
  const whole = tokenizer.encode(prompt)
  if (whole.length === tokens.length) return Int32Array.of(end, ...tokens)
  const hasEnd = whole.at(-1) === end && whole.length > 1
  return hasEnd ? whole.slice(0, -1) : whole
}

/** A text that is being written. */
export class Generation {
  readonly #next: NextToken
  readonly #options: GenerateOptions
  readonly #stops: readonly string[]
  readonly #separator: number
  readonly #stream: DecodeStream
  readonly #most: number
  readonly #seed: number
  #text: Int32Array
  #given = 0
  /** Text that may be the beginning of one to stop at. */
  #held = ''
  #isOver = false

  /** Throws INVALID_ARGUMENT for a model that is no language model. */
  constructor(
    device: Device,
    model: Sequential,
    vocabularies: Vocabularies | undefined,
    prompt: string,
    options: GenerateOptions,
  ) {
    known(options, 'generate()', NAMES)
    if (!vocabularies || (vocabularies.separator === undefined && !tellsNext(model)))
      throw new HebbError(
        'INVALID_ARGUMENT',
        'Expected a language model such as llama(), trained on a text made by languageText(), got another one',
      )
    expect(typeof prompt === 'string', () => `Expected a prompt, a text, got ${show(prompt)}`)
    checkSampling(options)
    this.#most = integer(options.tokens ?? 256, 'tokens', 1)
    this.#seed = integer(options.seed ?? 0, 'seed', 0)
    this.#stops = stopsOf(options.stop)
    this.#options = options
    const tokenizer = vocabularies.tokenizers.source
    this.#separator = vocabularies.separator ?? separatorOf(tokenizer)
    this.#text = begun(tokenizer, prompt, vocabularies.separator, this.#separator)
    this.#stream = tokenizer.decodeStream({ skipSpecial: true })
    for (const token of this.#text) this.#stream.push(token)
    this.#next = new NextToken(device, model)
  }

  /** The next token; undefined once the text has its end. `version`: of the model. */
  async next(version?: number): Promise<GeneratedToken | undefined> {
    if (this.#isOver) return undefined
    const scores = await this.#next.scores(this.#text, {
      ...(version !== undefined && { version }),
      signal: this.#options.signal,
    })
    const id = sample(scores, this.#text, this.#options, drawOf(this.#seed, this.#given))
    ++this.#given
    const isEnd = id === this.#separator
    this.#isOver = isEnd || this.#given >= this.#most
    if (!isEnd) this.#text = Int32Array.of(...this.#text, id)
    return { id, text: this.#told(isEnd ? '' : this.#stream.push(id)), logProbability: logProbabilityOf(scores, id) }
  }

  /** What is sure of the text with so much more. */
  #told(more: string): string {
    const text = this.#held + more + (this.#isOver ? this.#stream.end() : '')
    const found = this.#stops.map((stop) => text.indexOf(stop)).filter((at) => at >= 0)
    if (found.length > 0) {
      this.#isOver = true
      return text.slice(0, Math.min(...found))
    }
    const begins = (end: number) => this.#stops.some((stop) => stop.startsWith(text.slice(end)))
    let sure = text.length
    if (!this.#isOver) for (let end = text.length - 1; end >= 0; --end) if (begins(end)) sure = end
    this.#held = text.slice(sure)
    return text.slice(0, sure)
  }

  dispose(): void {
    this.#next.dispose()
  }
}
