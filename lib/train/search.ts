/**
 * Beam search over a Transformer. The encoder runs once a batch, and keys and values of what it gives are kept. Each
 * step computes the latest token of every hypothesis alone: the keys and values of those before lie in a cache, a
 * column a token, into which the step puts its own and from which it gathers those of each hypothesis. The host reads
 * the scores of all words and chooses, and so knows which columns these are: nothing in the cache moves. One recording
 * serves all steps.
 */
import { Tape, Tokens, type Value } from '../autograd.js'
import type { Device } from '../device.js'
import { expect, HebbError, integer, known, number, show } from '../error.js'
import { add } from '../nn/add.js'
import { attention, MultiHeadAttention } from '../nn/attention.js'
import { Llama } from '../nn/llama.js'
import type { Module } from '../nn/module.js'
import type { Parameter } from '../nn/parameter.js'
import { Recompute } from '../nn/recompute.js'
import { Residual } from '../nn/residual.js'
import { Sequential } from '../nn/sequential.js'
import { Transformer } from '../nn/transformer.js'
import { Program, type Transfer } from '../program.js'
import { Activations, Tensor } from '../tensor.js'
import { isTyped } from '../typed_array.js'

/** Columns of a cache at first, for each hypothesis. It grows. */
const FIRST_ROOM = 32
/** Scores of words that are read at once, at most, unless a single sentence has more. */
const MOST_SCORES = 2 ** 24

/** What a Search is made with: the special tokens, and how long sentences may be. */
export interface SearchOptions {
  /** The token that a translation begins with, which the model is given, and the one that ends it. */
  begin: number
  end: number
  /** Tokens of the longest source, and of the longest translation with its begin or its end. Default: the model's. */
  places?: number | undefined
}

/**
 * How Search.translate() and translate() look for the best translation: beam search, hypotheses ranked by
 * logProbability / ((5 + length) / 6) ** lengthPenalty (Wu et al., 2016).
 */
export interface TranslateOptions {
  /** Hypotheses of a sentence that live side by side. Default 2; 1 takes the best word each time. */
  beam?: number | undefined
  /** What the length penalty ((5 + length) / 6) is raised to, at least 0. Default 1. */
  lengthPenalty?: number | undefined
  /** Tokens before a translation may end. Default 1. */
  minLength?: number | undefined
  /** Most tokens of a translation, its end counted. Default 100, or `places` where these are fewer. */
  maxLength?: number | undefined
  /** Hypotheses that are given of a sentence, at most `beam`. Default 1. */
  nBest?: number | undefined
  /** Source tokens that are translated side by side. Default 2048. */
  batchTokens?: number | undefined
  /** Stops before the next token; the promise then rejects with code ABORTED. */
  signal?: AbortSignal | undefined
}

/** A translation that a search has found, in tokens. */
export interface Hypothesis {
  /** Without begin and end. */
  readonly tokens: Int32Array
  /** logProbability / ((5 + length) / 6) ** lengthPenalty, where the length counts the end. */
  readonly score: number
  /** Natural logarithm, the end counted. */
  readonly logProbability: number
  /** Whether it has its end; else it has `maxLength` tokens. */
  readonly finished: boolean
}

/** What Search.score() takes. */
export interface ForcedScoreOptions {
  /** Source tokens that are scored side by side. Default 2048. */
  batchTokens?: number | undefined
  /** Stops before the next batch; the promise then rejects with code ABORTED. */
  signal?: AbortSignal | undefined
}

/** How probable a model finds a translation that is there. */
export interface ForcedScore {
  /** Natural logarithm of the target's probability, its end counted. */
  readonly logProbability: number
  /** Its tokens and the end. */
  readonly tokens: number
}

const TRANSLATE = {
  ...({ beam: true, lengthPenalty: true, minLength: true, maxLength: true, nBest: true } as const),
  ...({ batchTokens: true, signal: true } as const),
}

/** The beginning of a translation, by its last token. */
interface Prefix {
  readonly before: Prefix | undefined
  readonly token: number
  /** Tokens behind the begin. */
  readonly length: number
  readonly logProbability: number
  /** The column of the cache that has the keys and values of its last token, once a step has computed them. */
  column: number
}

/** What `record` makes with a tape of its own. Where it throws, nothing is left. */
export function recorded<T>(device: Device, record: (tape: Tape) => T): T {
  const tape = new Tape(new Program(device), { training: false })
  try {
    return record(tape)
  } catch (error) {
    forget(tape)
    throw error
  }
}

export function forget(tape: Tape): void {
  tape.dispose()
  tape.program.dispose()
}

/** Sequences of integers that the host gives before each step, and the axis along which they lie. */
export class Given {
  readonly tokens: Tokens
  readonly #given: Tensor<'int32'>
  readonly #starts: Tensor<'int32'>
  readonly #batches: Tensor<'int32'>

  /** With room for so many integers and sequences. */
  constructor(tape: Tape, columns: number, count: number) {
    const int32 = (data: number | Int32Array) => tape.own(new Tensor(tape.device, 'int32', data))
    const axis = tape.own(tape.program.axis(columns))
    const [output, positions, offsets] = [int32(columns), int32(columns), int32(count + 1)]
    const plan = int32(Int32Array.from({ length: count }, (_, i) => i))
    const [given, starts, batches] = [int32(columns), int32(count + 1), int32(2)]
    tape.record('gatherSequences', {
      ...{ tokens: given, total: columns, starts, sequences: count, plan, planned: count, batches, steps: 1 },
      ...{ most: count, axis, output, positions, offsets },
    })
    this.tokens = new Tokens(output, { axis, count, offsets, positions })
    this.#given = given
    this.#starts = starts
    this.#batches = batches
  }

  /** What to write. `starts`: where each sequence begins, and behind the last, where it ends. */
  writes(given: Int32Array, starts: Int32Array): Transfer[] {
    return [
      [this.#given, given],
      [this.#starts, starts],
      [this.#batches, Int32Array.of(0, starts.length - 1)],
    ]
  }
}

/** Where sequences of these lengths begin, one behind another, and where the last one ends. */
export function startsOf(lengths: readonly number[]): Int32Array {
  const starts = new Int32Array(lengths.length + 1)
  for (const [i, length] of lengths.entries()) starts[i + 1] = (starts[i] as number) + length
  return starts
}

export function flat(sentences: readonly Int32Array[], starts: Int32Array): Int32Array {
  const all = new Int32Array(starts.at(-1) as number)
  for (const [i, sentence] of sentences.entries()) all.set(sentence, starts[i])
  return all
}

/** A module's forward pass, with `attend` in place of its attentions' own. */
export function forward(
  module: Module,
  tape: Tape,
  x: Value,
  attend: (of: MultiHeadAttention, x: Value) => Value,
): Value {
  if (module instanceof MultiHeadAttention) return attend(module, x)
  if (module instanceof Residual) return add(tape, x, forward(module.module, tape, x, attend))
  if (module instanceof Recompute) return forward(module.module, tape, x, attend)
  const row = module instanceof Llama ? [module.embedding, module.layers, module.head] : undefined
  const modules = module instanceof Sequential ? module.modules : row
  if (modules) return modules.reduce((value, inner) => forward(inner, tape, value, attend), x)
  // An attention within would see the latest token alone.
  if (!attentionsIn(module).next().done)
    throw new HebbError(
      'UNSUPPORTED',
      'Expected attentions of a decoder within Sequential, Residual and Recompute, to write word by word, got one in ' +
        'a module of another kind',
    )
  return module.forward(tape, x)
}

export function* attentionsIn(module: Module): Generator<MultiHeadAttention> {
  if (module instanceof MultiHeadAttention) yield module
  else for (const child of module.children?.values() ?? []) yield* attentionsIn(child)
}

/** The encoder, and the keys and values that the decoder's layers make of what it gives. */
class Encoder {
  readonly columns: number
  readonly sentences: number
  readonly memory = new Map<MultiHeadAttention, { readonly key: Value; readonly value: Value }>()
  readonly #tape: Tape
  readonly #sources: Given

  constructor(tape: Tape, model: Transformer, columns: number, sentences: number) {
    this.columns = columns
    this.sentences = sentences
    this.#tape = tape
    this.#sources = new Given(tape, columns, sentences)
    const encoded = model.encode(tape, this.#sources.tokens)
    for (const one of attentionsIn(model.decoder)) {
      if (!one.cross) continue
      const [key, value] = [one.key.forward(tape, encoded), one.value.forward(tape, encoded)]
      for (const { activations } of [key, value]) tape.program.keep(activations)
      this.memory.set(one, { key, value })
    }
  }

  async run(sources: readonly Int32Array[], signal?: AbortSignal): Promise<void> {
    const starts = startsOf(sources.map(({ length }) => length))
    await this.#tape.program.replay(1, { signal, writes: this.#sources.writes(flat(sources, starts), starts) })
  }

  dispose(): void {
    forget(this.#tape)
  }
}

/** One token of every hypothesis, with the cache of those before. */
class Decoder {
  readonly hypotheses: number
  /** Columns of the cache, and of what is gathered from it. */
  readonly columns: number
  readonly #tape: Tape
  readonly #latest: Given
  readonly #prefixes: Given
  readonly #positions: Tensor<'int32'>
  readonly #ofSentences: Tensor<'int32'>
  readonly #places: Tensor<'int32'>
  readonly #caches: Activations[] = []
  readonly #logits: Activations
  readonly #scores: Float32Array

  constructor(tape: Tape, model: Transformer, encoder: Encoder, hypotheses: number, columns: number) {
    this.hypotheses = hypotheses
    this.columns = columns
    const { device, program } = tape
    const int32 = (length: number) => tape.own(new Tensor(device, 'int32', length))
    this.#tape = tape
    this.#latest = new Given(tape, hypotheses, hypotheses)
    this.#prefixes = new Given(tape, columns, hypotheses)
    this.#positions = int32(hypotheses)
    this.#places = int32(hypotheses)
    this.#ofSentences = int32(encoder.sentences + 1)
    const { tokens, sequences } = this.#latest.tokens
    const { tokens: indices, sequences: prefixes } = this.#prefixes.tokens
    // The queries of a sentence are those of all its hypotheses.
    const queries = { ...sequences, count: encoder.sentences, offsets: this.#ofSentences }

    /** A value of all tokens of the hypotheses, which is given that of the latest. */
    const cached = ({ activations: input }: Value): Value => {
      const cache = tape.own(new Activations(device, input.features, columns))
      this.#caches.push(cache)
      program.record('scatterColumns', { input, indices: this.#places, output: cache })
      return tape.apply({
        ...{ features: input.features, inputs: [], sequences: prefixes },
        forward: (output) => program.record('gatherColumns', { input: cache, indices, output }),
        backward() {},
      })
    }
    const attend = (one: MultiHeadAttention, x: Value): Value => {
      const { heads } = one
      const memory = encoder.memory.get(one)
      const query = one.query.forward(tape, x)
      const attended = memory
        ? attention(tape, { ...query, sequences: queries }, memory.key, memory.value, { heads })
        : attention(tape, query, cached(one.key.forward(tape, x)), cached(one.value.forward(tape, x)), { heads })
      return one.output.forward(tape, attended)
    }
    const input = model.target.forward(tape, new Tokens(tokens, { ...sequences, positions: this.#positions }))
    const { activations: logits } = model.generator.forward(tape, forward(model.decoder, tape, input, attend))
    program.keep(logits)
    this.#logits = logits
    this.#scores = new Float32Array(hypotheses * logits.features)
  }

  /** Another one with a larger cache, which has what this one has in its first columns, and takes its place. */
  async grown(model: Transformer, encoder: Encoder, columns: number): Promise<Decoder> {
    const make = (tape: Tape) => new Decoder(tape, model, encoder, this.hypotheses, columns)
    const larger = recorded(this.#tape.device, make)
    try {
      for (const [i, cache] of this.#caches.entries())
        await (larger.#caches[i] as Activations).write(await cache.read(), this.columns)
    } catch (error) {
      larger.dispose()
      throw error
    }
    this.dispose()
    return larger
  }

  /**
   * Scores (logits) of all words behind the hypotheses of sentences: [hypotheses][words], until the next step. Their
   * last tokens get the columns from `first` on.
   */
  async step(sentences: readonly (readonly Prefix[])[], first: number, signal?: AbortSignal): Promise<Float32Array> {
    const live = sentences.flat()
    const { length } = live[0] as Prefix
    const prefixes = new Int32Array(live.length * (length + 1))
    for (const [i, prefix] of live.entries()) {
      prefix.column = first + i
      let at = (i + 1) * (length + 1)
      for (let one: Prefix | undefined = prefix; one; one = one.before) prefixes[--at] = one.column
    }
    const scores = this.#scores.subarray(0, live.length * this.#logits.features)
    const ofSentences = new Int32Array(this.#ofSentences.length).fill(live.length)
    ofSentences.set(startsOf(sentences.map((one) => one.length)))
    await this.#tape.program.replay(1, {
      signal,
      writes: [
        ...this.#latest.writes(
          Int32Array.from(live, ({ token }) => token),
          startsOf(live.map(() => 1)),
        ),
        ...this.#prefixes.writes(prefixes, startsOf(live.map(() => length + 1))),
        [this.#positions, new Int32Array(live.length).fill(length)],
        [this.#places, Int32Array.from(live, ({ column }) => column)],
        [this.#ofSentences, ofSentences],
      ],
      reads: [[this.#logits, scores, live.length]],
    })
    return scores
  }

  dispose(): void {
    forget(this.#tape)
  }
}

/** The logits of whole targets. */
class Scorer {
  readonly sources: number
  readonly targets: number
  readonly sentences: number
  readonly #tape: Tape
  readonly #source: Given
  readonly #target: Given
  readonly #logits: Activations

  constructor(tape: Tape, model: Transformer, sources: number, targets: number, sentences: number) {
    this.sources = sources
    this.targets = targets
    this.sentences = sentences
    this.#tape = tape
    this.#source = new Given(tape, sources, sentences)
    this.#target = new Given(tape, targets, sentences)
    this.#logits = model.forward(tape, this.#source.tokens, this.#target.tokens).activations
    tape.program.keep(this.#logits)
  }

  async run(sources: readonly Int32Array[], targets: readonly Int32Array[], signal?: AbortSignal) {
    const [ofSources, ofTargets] = [sources, targets].map((all) => startsOf(all.map(({ length }) => length)))
    const tokens = flat(targets, ofTargets as Int32Array)
    const scores = new Float32Array(tokens.length * this.#logits.features)
    await this.#tape.program.replay(1, {
      signal,
      writes: [
        ...this.#source.writes(flat(sources, ofSources as Int32Array), ofSources as Int32Array),
        ...this.#target.writes(tokens, ofTargets as Int32Array),
      ],
      reads: [[this.#logits, scores, tokens.length]],
    })
    return scores
  }

  dispose(): void {
    forget(this.#tape)
  }
}

/** Parts of a power of two: powers are 2 ** (place / PARTS) between whole ones. */
const PARTS = 256
const LEAST_POWER = -1074
const between = Float64Array.from({ length: PARTS }, (_, i) => 2 ** (i / PARTS))
const whole = Float64Array.from({ length: 1 - LEAST_POWER }, (_, i) => 2 ** -i)

/**
 * The logarithm of the sum of the powers of e, each to 3e-12 of itself. By tables, a third of Math.exp()'s time, which
 * is most of what the host does.
 */
function logSum(logits: Float32Array): number {
  let most = Number.NEGATIVE_INFINITY
  for (let i = 0; i < logits.length; ++i) if ((logits[i] as number) > most) most = logits[i] as number
  let sum = 0
  for (let i = 0; i < logits.length; ++i) {
    const place = ((logits[i] as number) - most) * (PARTS / Math.LN2)
    if (place < LEAST_POWER * PARTS) continue
    const floor = Math.floor(place)
    const rest = (place - floor) * (Math.LN2 / PARTS)
    const power = (between[floor & (PARTS - 1)] as number) * (whole[-(floor >> 8)] as number)
    sum += power * (1 + rest * (1 + rest * (1 / 2 + rest * (1 / 6))))
  }
  const all = most + Math.log(sum)
  if (!Number.isFinite(all))
    throw new HebbError('NON_FINITE', `Expected finite scores of words, got ones whose powers of e sum to ${sum}`)
  return all
}

/** A word behind a hypothesis of a sentence, by its number. */
interface Candidate {
  readonly parent: number
  readonly token: number
  readonly logProbability: number
}

/**
 * The best words behind the hypotheses of a sentence, the best first; of equal ones that of the earlier hypothesis, and
 * of its words that of the smaller number. `scores`: [hypotheses][words]; a word `without` is left out.
 */
function candidatesOf(live: readonly Prefix[], scores: Float32Array, count: number, without?: number): Candidate[] {
  const words = scores.length / live.length
  const best: Candidate[] = []
  let least = Number.NEGATIVE_INFINITY // what a candidate must exceed
  for (const [parent, { logProbability }] of live.entries()) {
    const logits = scores.subarray(parent * words, (parent + 1) * words)
    const base = logProbability - logSum(logits)
    for (let token = 0; token < words; ++token) {
      const sum = base + (logits[token] as number)
      if (!(sum > least) || token === without) continue
      let low = 0
      for (let high = best.length; low < high; ) {
        const middle = (low + high) >> 1
        if ((best[middle] as Candidate).logProbability >= sum) low = middle + 1
        else high = middle
      }
      best.splice(low, 0, { parent, token, logProbability: sum })
      if (best.length > count) best.pop()
      if (best.length === count) least = (best.at(-1) as Candidate).logProbability
    }
  }
  return best
}

/** Tokens behind the begin. */
function tokensOf(prefix: Prefix): Int32Array {
  const tokens = new Int32Array(prefix.length)
  for (let one = prefix; one.before; one = one.before) tokens[one.length - 1] = one.token
  return tokens
}

/** What the search of one sentence has found. */
class Sentence {
  live: readonly Prefix[]
  readonly #found: Hypothesis[] = []
  readonly #options: Required<Omit<TranslateOptions, 'signal' | 'batchTokens'>>
  readonly #end: number

  constructor(begin: number, end: number, options: Required<Omit<TranslateOptions, 'signal' | 'batchTokens'>>) {
    this.#end = end
    this.#options = options
    this.live = [{ before: undefined, token: begin, length: 0, logProbability: 0, column: -1 }]
  }

  /** Goes on by a token, with the scores of all words behind the live hypotheses. */
  advance(scores: Float32Array): void {
    const { beam, minLength, maxLength } = this.#options
    const { length } = this.live[0] as Prefix
    const next: Prefix[] = []
    const candidates = candidatesOf(this.live, scores, 2 * beam, length < minLength ? this.#end : undefined)
    for (const [rank, { parent, token, logProbability }] of candidates.entries()) {
      const before = this.live[parent] as Prefix
      if (token === this.#end) {
        if (rank < beam) this.#add(tokensOf(before), logProbability, true)
      } else if (next.length < beam) {
        next.push({ before, token, length: length + 1, logProbability, column: -1 })
      }
    }
    this.live = this.#found.length >= beam ? [] : next
    if (length + 1 < maxLength) return
    for (const prefix of this.live) this.#add(tokensOf(prefix), prefix.logProbability, false)
    this.live = []
  }

  /** The best hypotheses; of equal ones the one that was found first. */
  get best(): Hypothesis[] {
    return this.#found.sort((a, b) => b.score - a.score).slice(0, this.#options.nBest)
  }

  #add(tokens: Int32Array, logProbability: number, finished: boolean): void {
    const length = tokens.length + (finished ? 1 : 0)
    const score = logProbability / ((5 + length) / 6) ** this.#options.lengthPenalty
    this.#found.push({ tokens, score, logProbability, finished })
  }
}

/** Numbers of sentences in batches, those of like `size` together, by what each costs and what a batch may. */
export function batchesOf(size: readonly number[], cost: (i: number) => number, most: number): number[][] {
  const batches: number[][] = []
  let sum = Number.POSITIVE_INFINITY
  for (const i of [...size.keys()].sort((a, b) => (size[a] as number) - (size[b] as number) || a - b)) {
    sum += cost(i)
    if (sum > most) {
      batches.push([])
      sum = cost(i)
    }
    batches.at(-1)?.push(i)
  }
  return batches
}

export const most = <T>(all: readonly T[], of: (one: T) => number) => all.reduce((so, one) => Math.max(so, of(one)), 1)
export const total = (sentences: readonly Int32Array[]) => sentences.reduce((sum, { length }) => sum + length, 0)

/**
 * Translates by a model in the hands of a Trainer or of load(), in token numbers; calls wait for each other, and see
 * the parameters as they are. What a sentence gets depends on nothing else in its batch; on a GPU, whose attention adds
 * up across sequences, but for rounding. The model outlives it.
 */
export class Search {
  readonly device: Device
  readonly model: Transformer
  readonly places: number
  readonly #begin: number
  readonly #end: number
  #encoder: Encoder | undefined
  #decoder: Decoder | undefined
  #scorer: Scorer | undefined
  #queue: Promise<unknown> = Promise.resolve()
  #parameter: Parameter | undefined
  #disposed = false

  /** Throws INVALID_ARGUMENT for a model that is none or on another device, DISPOSED for one that nobody uses. */
  constructor(device: Device, model: Transformer, options: SearchOptions) {
    const { begin, end, places } = known(options, 'Search', { begin: true, end: true, places: true })
    expect(model instanceof Transformer, () => `Expected a Transformer, got ${show(model)}`)
    const { targetWords, places: longest = 1024 } = model.options
    this.#begin = integer(begin, 'begin', 0, targetWords - 1)
    this.#end = integer(end, 'end', 0, targetWords - 1)
    this.places = integer(places ?? longest, 'places', 1, longest)
    this.device = device
    this.model = model
    this.#refresh()
  }

  /**
   * The best translations of each source, by beam search (Graves, 2012; the penalty of Wu et al., 2016, equation 14).
   * A step takes the 2 * beam best words behind all hypotheses of a sentence: those that end it are finished if they
   * are among the first `beam`, and the best `beam` of the others live on. A sentence is done when `beam` hypotheses
   * have finished; where it has `maxLength` tokens before, those that live are given beside the finished, marked. Of
   * equal scores, the earlier hypothesis and then the smaller token comes first. Gives for each source [at most nBest],
   * sorted by score, all different. Throws INVALID_ARGUMENT for sources that are longer than `places` or have unknown
   * tokens, NON_FINITE where the model's scores are not finite.
   */
  async translate(sources: readonly Int32Array[], options: TranslateOptions = {}): Promise<Hypothesis[][]> {
    known(options, 'translate()', TRANSLATE)
    const { beam = 2, lengthPenalty = 1, minLength = 1, maxLength = Math.min(100, this.places) } = options
    const { nBest = 1, batchTokens = 2048, signal } = options
    integer(beam, 'beam', 1, 2 ** 20)
    number(lengthPenalty, 'lengthPenalty', 0)
    integer(maxLength, 'maxLength', 1, this.places)
    integer(minLength, 'minLength', 0, maxLength)
    integer(nBest, 'nBest', 1, beam)
    integer(batchTokens, 'batchTokens', 1)
    const { sourceWords, targetWords } = this.model.options
    const given = this.#check(sources, 'sources', sourceWords, this.places)
    const live = Math.min(beam, targetWords ** (maxLength - 1)) // there are no more beginnings
    const lengths = given.map(({ length }) => length)
    // So that hypotheses do not outnumber tokens by far.
    const batches = batchesOf(lengths, (i) => Math.max((lengths[i] as number) + 1, 4 * live), batchTokens)
    return this.#inTurn(async () => {
      const columns = most(batches, (batch) => total(batch.map((i) => given[i] as Int32Array)))
      const sentences = most(batches, ({ length }) => length)
      const results = new Array<Hypothesis[]>(given.length)
      for (const batch of batches) {
        const encoder = this.#encoderFor(columns, sentences, sentences * live)
        await encoder.run(
          batch.map((i) => given[i] as Int32Array),
          signal,
        )
        const search = { beam, lengthPenalty, minLength, maxLength, nBest }
        const states = batch.map(() => new Sentence(this.#begin, this.#end, search))
        await this.#complete(states, encoder, signal)
        for (const [k, i] of batch.entries()) results[i] = (states[k] as Sentence).best
      }
      return results
    })
  }

  /**
   * The probability that the model gives each target, whose tokens are without begin and end. Throws as translate().
   */
  async score(
    sources: readonly Int32Array[],
    targets: readonly Int32Array[],
    options: ForcedScoreOptions = {},
  ): Promise<ForcedScore[]> {
    const { batchTokens = 2048, signal } = known(options, 'score()', { batchTokens: true, signal: true })
    integer(batchTokens, 'batchTokens', 1)
    const { sourceWords, targetWords } = this.model.options
    const given = this.#check(sources, 'sources', sourceWords, this.places)
    const wanted = this.#check(targets, 'targets', targetWords, this.places - 1)
    expect(
      given.length === wanted.length,
      () => `Expected as many targets as sources, got ${wanted.length} for ${given.length}`,
    )
    const inputs = wanted.map((target) => Int32Array.of(this.#begin, ...target))
    const pick = (all: readonly Int32Array[], batch: readonly number[]) => batch.map((i) => all[i] as Int32Array)
    const batches = batchesOf(
      inputs.map(({ length }) => length),
      (i) => Math.max((given[i]?.length ?? 0) + 1, inputs[i]?.length ?? 0),
      Math.min(batchTokens, Math.floor(MOST_SCORES / targetWords)),
    )
    return this.#inTurn(async () => {
      const scorer = this.#scorerFor(
        most(batches, (batch) => total(pick(given, batch))),
        most(batches, (batch) => total(pick(inputs, batch))),
        most(batches, ({ length }) => length),
      )
      const results = new Array<ForcedScore>(given.length)
      for (const batch of batches) {
        const scores = await scorer.run(pick(given, batch), pick(inputs, batch), signal)
        let at = 0
        for (const i of batch) {
          const labels = [...(wanted[i] as Int32Array), this.#end]
          let logProbability = 0
          for (const label of labels) {
            const logits = scores.subarray(at, at + targetWords)
            at += targetWords
            logProbability = logProbability - logSum(logits) + (logits[label] as number)
          }
          results[i] = { logProbability, tokens: labels.length }
        }
      }
      return results
    })
  }

  /** Gives its memory back, not the model's. Safe to call twice. */
  dispose(): void {
    this.#disposed = true
    this.#forget()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }

  /** Goes on until all sentences of a batch are done. */
  async #complete(states: readonly Sentence[], encoder: Encoder, signal?: AbortSignal): Promise<void> {
    let used = 0 // columns of the cache
    for (let length = 0; states.some(({ live }) => live.length > 0); ++length) {
      const live = states.map((state) => state.live)
      const count = live.reduce((sum, { length }) => sum + length, 0)
      const needed = Math.max(used + count, count * (length + 1))
      let decoder = this.#decoder
      if (!decoder) throw disposed()
      if (needed > decoder.columns) {
        decoder = await decoder.grown(this.model, encoder, 2 * needed)
        this.#decoder = decoder
        if (this.#disposed) this.#forgetSteps()
      }
      const scores = await decoder.step(live, used, signal)
      used += count
      const words = this.model.options.targetWords
      let at = 0
      for (const state of states) {
        const { length: hypotheses } = state.live
        if (hypotheses > 0) state.advance(scores.subarray(at * words, (at + hypotheses) * words))
        at += hypotheses
      }
    }
  }

  /** Copies of sentences, since the caller may change them. */
  #check(sentences: readonly Int32Array[], what: string, words: number, longest: number): Int32Array[] {
    expect(Array.isArray(sentences), () => `Expected ${what} to be a list of Int32Arrays, got ${show(sentences)}`)
    return sentences.map((sentence, i) => {
      expect(isTyped(sentence, 'Int32Array'), () => `Expected ${what} of Int32Arrays, got ${show(sentence)} at ${i}`)
      expect(
        sentence.length <= longest,
        () => `Expected ${what} of at most ${longest} tokens, got ${sentence.length} at ${i}. Nothing is cut.`,
      )
      for (const token of sentence)
        expect(token >= 0 && token < words, () => `Expected ${what} of tokens in [0, ${words}), got ${token} at ${i}`)
      return sentence.slice()
    })
  }

  #encoderFor(columns: number, sentences: number, hypotheses: number): Encoder {
    const [before, decoder] = [this.#encoder, this.#decoder]
    const fits = before && before.columns >= columns && before.sentences >= sentences
    if (fits && decoder && decoder.hypotheses >= hypotheses) return before
    this.#forgetSteps()
    const { device, model } = this
    const encoder = recorded(device, (tape) => new Encoder(tape, model, columns, sentences))
    this.#encoder = encoder
    const room = hypotheses * FIRST_ROOM
    this.#decoder = recorded(device, (tape) => new Decoder(tape, model, encoder, hypotheses, room))
    return encoder
  }

  #scorerFor(sources: number, targets: number, sentences: number): Scorer {
    const before = this.#scorer
    if (before && before.sources >= sources && before.targets >= targets && before.sentences >= sentences) return before
    before?.dispose()
    this.#scorer = undefined
    const make = (tape: Tape) => new Scorer(tape, this.model, sources, targets, sentences)
    this.#scorer = recorded(this.device, make)
    return this.#scorer
  }

  /** Recordings keep parameters alive, but those of a model may be others by now. */
  #refresh(): void {
    const [first] = this.model.parameters
    if (!first) throw new HebbError('DISPOSED', 'Expected a model in use by a trainer, got one that is not')
    expect(first.values.device === this.device, () => 'Expected the device of the model, got another one')
    if (first !== this.#parameter) this.#forget()
    this.#parameter = first
  }

  #forget(): void {
    this.#forgetSteps()
    this.#scorer?.dispose()
    this.#scorer = undefined
  }

  #forgetSteps(): void {
    this.#decoder?.dispose()
    this.#encoder?.dispose()
    this.#decoder = this.#encoder = undefined
  }

  #inTurn<T>(run: () => Promise<T>): Promise<T> {
    const mine = this.#queue.then(() => {
      if (this.#disposed) throw disposed()
      this.#refresh()
      return run()
    })
    this.#queue = mine.catch(() => {})
    return mine
  }
}

const disposed = () => new HebbError('DISPOSED', 'Expected a search that is in use, got one that was disposed')
