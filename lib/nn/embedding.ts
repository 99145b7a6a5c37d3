/** Embeddings of tokens and of their positions, on the tape and as modules. */
import { type Sequences, type Tape, Tokens, type Value } from '../autograd.js'
import { expect, HebbError, integer, known, number, show } from '../error.js'
import { makerOf, remember } from '../recipe.js'
import { Tensor } from '../tensor.js'
import { checkWeightInit, drawWeights, type WeightInit, xavier } from './init.js'
import { linear } from './linear.js'
import type { Materials, Module } from './module.js'
import { DenseParameter, type Parameter } from './parameter.js'

/** y = scale times the rows of a table [words][features] that tokens name, on the tape. */
export function embedding(tape: Tape, { tokens, sequences }: Tokens, table: DenseParameter, scale = 1): Value {
  const { rows: words, cols: features } = table
  return tape.apply({
    features,
    inputs: [],
    sequences,
    parameters: [table],
    forward: (output) => tape.record('embedding', { tokens, table: table.values, words, scale, output }),
    backward(outputGradient) {
      const into = tape.gradient(table)
      if (!into) return
      const { gradient, accumulate } = into
      tape.record('embeddingGradient', { tokens, outputGradient, words, scale, gradient, accumulate })
    },
  })
}

/** y = x plus the rows of a table [places][features] by the place of each token in its sequence, on the tape. */
function positions(tape: Tape, x: Value, of: Sequences, table: Tensor, learned?: DenseParameter): Value {
  const { features } = x.activations
  const [words, tokens] = [table.length / features, of.positions]
  return tape.apply({
    features,
    inputs: [x],
    parameters: learned ? [learned] : [],
    forward(output) {
      tape.record('add', { first: x.activations, output })
      tape.record('embedding', { tokens, table, words, output, accumulate: true })
    },
    backward(outputGradient) {
      const [below, ofTable] = [tape.gradient(x), learned && tape.gradient(learned)]
      if (ofTable) tape.record('embeddingGradient', { tokens, outputGradient, words, ...ofTable })
      if (below) tape.record('add', { first: outputGradient, output: below.gradient, accumulate: below.accumulate })
    },
  })
}

/** What modules for text are given, in place of activations. */
export function sequencesOf(x: Value, who: string): Sequences {
  if (x.sequences) return x.sequences
  throw new HebbError('INVALID_ARGUMENT', `Expected tokens for ${who}, got samples. Train it on text.`)
}

const inUse = () => new HebbError('DISPOSED', 'Expected a model in use by a trainer, got one that is not')

/** What an Embedding is made with. */
export interface EmbeddingOptions {
  /** Entries of the vocabulary. */
  words: number
  features: number
  /** What rows are multiplied by, such as the square root of the features. Default 1. */
  scale?: number | undefined
  /** Default xavier(). */
  weights?: WeightInit | undefined
}

/** A vector of features for each token: the rows of a dense matrix [words][features], trained. */
export class Embedding implements Module {
  readonly outFeatures: number
  readonly words: number
  readonly scale: number
  readonly sparse = []
  readonly #init: WeightInit
  #weights?: DenseParameter

  constructor(options: EmbeddingOptions) {
    const names = { words: true, features: true, scale: true, weights: true } as const
    const { words, features, scale = 1, weights = xavier() } = known(options, 'Embedding', names)
    this.words = integer(words, 'words', 1)
    this.outFeatures = integer(features, 'features', 1)
    this.scale = number(scale, 'scale', Number.NEGATIVE_INFINITY)
    this.#init = checkWeightInit(weights)
    if (new.target === Embedding) remember('Embedding', [options], this)
  }

  get parameters(): Parameter[] {
    return this.#weights ? [this.#weights] : []
  }

  materialise({ device, seed, nextLayer, restored, initialise }: Materials): void {
    const { words: rows, outFeatures: cols } = this
    const layer = nextLayer()
    this.#weights = new DenseParameter(device, 'weights', rows, cols)
    if (!restored) drawWeights(initialise, this.#weights, this.#init, { seed, layer })
  }

  forward(tape: Tape, x: Value): Value {
    if (!this.#weights) throw inUse()
    if (!(x instanceof Tokens))
      throw new HebbError('INVALID_ARGUMENT', 'Expected tokens for an Embedding, got activations. It comes first.')
    return embedding(tape, x, this.#weights, this.scale)
  }

  /** Scores of all words, by the same matrix: [words][columns]. */
  score(tape: Tape, x: Value, bias?: DenseParameter): Value {
    if (!this.#weights) throw inUse()
    return linear(tape, x, this.#weights, bias)
  }

  dispose(): void {
    this.#weights?.dispose()
    this.#weights = undefined
  }
}
makerOf('Embedding', Embedding)

/** Scores of all words, by the matrix of an embedding. */
export class Scores implements Module {
  readonly sparse = []
  readonly #embedding: Embedding
  readonly #hasBias: boolean
  #bias?: DenseParameter

  constructor(embedding: Embedding, { bias = true }: { bias?: boolean } = {}) {
    this.#embedding = embedding
    this.#hasBias = bias
  }

  get inFeatures(): number {
    return this.#embedding.outFeatures
  }

  get outFeatures(): number {
    return this.#embedding.words
  }

  get parameters(): Parameter[] {
    return [...this.#embedding.parameters, ...(this.#bias ? [this.#bias] : [])]
  }

  get children(): ReadonlyMap<string, Module> {
    return new Map([['embedding', this.#embedding]])
  }

  materialise({ device }: Materials): void {
    if (this.#hasBias) this.#bias = new DenseParameter(device, 'bias', this.outFeatures, 1)
  }

  forward(tape: Tape, x: Value): Value {
    return this.#embedding.score(tape, x, this.#bias)
  }

  dispose(): void {
    this.#bias?.dispose()
    this.#bias = undefined
  }
}

/** What PositionalEncoding are made with. */
export interface PositionalEncodingOptions {
  features: number
  /** Tokens of the longest sequence. Default 1024. */
  places?: number | undefined
  /**
   * 'sinusoidal' (default): sin(p / 10000^(2i / features)) at feature 2i and its cosine at 2i + 1 for the place p
   * (Vaswani et al., 2017, section 3.5). 'learned': a row for each place, trained.
   */
  kind?: 'sinusoidal' | 'learned' | undefined
}

/** [places][features] */
function sinusoids(places: number, features: number): Float32Array {
  return Float32Array.from({ length: places * features }, (_, i) => {
    const [place, f] = [Math.floor(i / features), i % features]
    const angle = place * Math.exp((-(f - (f % 2)) / features) * Math.log(10000))
    return f % 2 === 0 ? Math.sin(angle) : Math.cos(angle)
  })
}

/** Adds to each token what tells its place in its sequence. */
export class PositionalEncoding implements Module {
  readonly inFeatures: number
  readonly outFeatures: number
  readonly places: number
  readonly sparse = []
  readonly #isLearned: boolean
  #table?: Tensor
  #learned?: DenseParameter

  constructor(options: PositionalEncodingOptions) {
    const names = { features: true, places: true, kind: true } as const
    const { features, places = 1024, kind = 'sinusoidal' } = known(options, 'PositionalEncoding', names)
    this.inFeatures = this.outFeatures = integer(features, 'features', 1)
    this.places = integer(places, 'places', 1)
    expect(
      kind === 'sinusoidal' || kind === 'learned',
      () => `Expected kind to be 'sinusoidal' or 'learned', got ${show(kind)}`,
    )
    this.#isLearned = kind === 'learned'
    if (new.target === PositionalEncoding) remember('Positions', [options], this)
  }

  get parameters(): Parameter[] {
    return this.#learned ? [this.#learned] : []
  }

  materialise({ device, seed, nextLayer, restored, initialise }: Materials): void {
    const { places, outFeatures } = this
    if (!this.#isLearned) {
      this.#table = new Tensor(device, 'float32', sinusoids(places, outFeatures))
      return
    }
    const layer = nextLayer()
    this.#learned = new DenseParameter(device, 'weights', places, outFeatures)
    if (!restored) drawWeights(initialise, this.#learned, xavier(), { seed, layer })
  }

  forward(tape: Tape, x: Value): Value {
    const table = this.#learned?.values ?? this.#table
    if (!table) throw inUse()
    return positions(tape, x, sequencesOf(x, 'PositionalEncoding'), table, this.#learned)
  }

  dispose(): void {
    this.#table?.dispose()
    this.#learned?.dispose()
    this.#table = this.#learned = undefined
  }
}
makerOf('Positions', PositionalEncoding)
