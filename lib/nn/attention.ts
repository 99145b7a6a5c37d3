/** Attention, on the tape and as a module of four projections, which may be sparse. */
import type { Tape, Value } from '../autograd.js'
import { expect, HebbError, integer, known, number, show } from '../error.js'
import { makerOf, remember } from '../recipe.js'
import type { Topology } from '../topology/topology.js'
import { sequencesOf } from './embedding.js'
import { Heads } from './heads.js'
import type { WeightInit } from './init.js'
import { Linear } from './linear.js'
import type { Materials, Module, Relation } from './module.js'
import type { Parameter, SparseParameter } from './parameter.js'
import { Rotary, type RotaryOptions, rotaryOptions, rotate } from './rotary.js'
import { SparseLinear } from './sparse_linear.js'

/** How attention is computed. */
export interface Attending {
  heads: number
  /** A token sees none behind it. Default false. */
  causal?: boolean | undefined
  /** What scores are multiplied by. Default: 1 / sqrt(features of a head). */
  scale?: number | undefined
  /** Of losing a weight, and what its draws belong to. Default: none is lost. */
  dropout?: { readonly probability: number; readonly seed: number; readonly layer: number } | undefined
}

/**
 * softmax(scale Q^T K) V of each head on the tape, within sequences: those of `query`, and those of `key` and `value`,
 * which are as many. Keys may have fewer heads than queries, a divisor of their number.
 */
export function attention(tape: Tape, query: Value, key: Value, value: Value, options: Attending): Value {
  const { heads, causal, scale, dropout } = options
  const [ofQueries, ofKeys] = [sequencesOf(query, 'attention'), sequencesOf(key, 'attention')]
  expect(
    ofQueries.count === ofKeys.count,
    () => `Expected queries and keys of as many sequences, got room for ${ofQueries.count} and ${ofKeys.count}`,
  )
  const operands = {
    ...{ query: query.activations, key: key.activations, value: value.activations },
    ...{ sequences: ofQueries.count, queryOffsets: ofQueries.offsets, keyOffsets: ofKeys.offsets },
    ...{ heads, causal, scale, ...dropout },
  }
  const statistics = tape.activations(2 * heads, query)
  return tape.apply({
    features: query.activations.features,
    inputs: [query, key, value],
    forward: (output) => tape.record('attention', { ...operands, output, statistics }),
    backward(outputGradient, output) {
      const into = (of: Value) =>
        tape.gradient(of) ?? {
          gradient: tape.activations(of.activations.features, of),
          accumulate: false,
        }
      const [ofQuery, ofKey, ofValue] = [into(query), into(key), into(value)]
      tape.record('attentionGradient', {
        ...{ ...operands, output, statistics, outputGradient, products: tape.activations(heads, query) },
        ...{ queryGradient: ofQuery.gradient, accumulateQuery: ofQuery.accumulate },
        ...{ keyGradient: ofKey.gradient, accumulateKey: ofKey.accumulate },
        ...{ valueGradient: ofValue.gradient, accumulateValue: ofValue.accumulate },
      })
    },
  })
}

export interface ProjectionOptions {
  /** Share of the possible links, in (0, 1]. Default: fully connected layers, that no method changes. */
  density?: number | undefined
  /** Default true; starts at 0. */
  bias?: boolean | undefined
  /** Default: the method's. */
  topology?: Topology | undefined
  /** Default: the method's, or that of a Linear. */
  weights?: WeightInit | undefined
}

/** A sparse layer where it has a density, else a fully connected one. */
export function projection(
  inFeatures: number,
  outFeatures: number,
  { density, bias, topology, weights }: ProjectionOptions,
): Linear | SparseLinear {
  const options = {
    ...{ inFeatures, outFeatures },
    ...(bias !== undefined && { bias }),
    ...(weights && { weights }),
  }
  return density === undefined
    ? new Linear(options)
    : new SparseLinear({ ...options, density, ...(topology && { topology }) })
}

/** What a MultiHeadAttention is made with. */
export interface MultiHeadAttentionOptions extends ProjectionOptions {
  features: number
  heads: number
  /** Heads of keys and values, a divisor of `heads` (grouped-query attention). Default: as many. */
  keyHeads?: number | undefined
  /** A token sees none behind it. Default false. */
  causal?: boolean | undefined
  /** Queries come from the first input, keys and values from the second one. Default false: both from the first. */
  cross?: boolean | undefined
  /** Features of the second input. Default: `features`. */
  memoryFeatures?: number | undefined
  /** Of losing a weight in training, in [0, 1), rounded as that of Dropout. Default 0. */
  dropout?: number | undefined
  /**
   * Queries and keys are turned by the places of their tokens, in pairs of the features i and i + half of a head, as
   * Llama has them. Default: they are not.
   */
  rotary?: RotaryOptions | undefined
  /**
   * Sparse projections are divided among the heads: each has its share of the links and keeps it. Default false: a
   * method may move links from one head to another.
   */
  perHead?: boolean | undefined
  /** Densities of single projections. */
  densities?: Readonly<Partial<Record<'query' | 'key' | 'value' | 'output', number>>> | undefined
}

type Projection = Linear | SparseLinear | Heads

/** Attention of several heads (Vaswani et al., 2017), with projections before and after it. */
export class MultiHeadAttention implements Module {
  readonly inFeatures: number
  readonly outFeatures: number
  readonly heads: number
  /** Heads of keys and values. */
  readonly keyHeads: number
  readonly causal: boolean
  readonly cross: boolean
  readonly dropout: number
  readonly query: Projection
  readonly key: Projection
  readonly value: Projection
  readonly output: Projection
  /** Tokens of the longest sequence, where places are told by turning. */
  readonly places: number | undefined
  readonly #rotary: Required<RotaryOptions> | undefined
  #angles: Rotary | undefined
  #draws: { readonly seed: number; readonly layer: number } | undefined

  constructor(options: MultiHeadAttentionOptions) {
    known(options, 'MultiHeadAttention', {
      ...({ features: true, heads: true, keyHeads: true, causal: true, cross: true, memoryFeatures: true } as const),
      ...({ dropout: true, density: true, densities: true, bias: true, topology: true, weights: true } as const),
      ...({ perHead: true, rotary: true } as const),
    })
    const { causal = false, cross = false, perHead = false, dropout = 0, densities = {}, density } = options
    const features = integer(options.features, 'features', 1)
    this.inFeatures = this.outFeatures = features
    this.heads = integer(options.heads, 'heads', 1, 4095)
    const keyHeads = integer(options.keyHeads ?? this.heads, 'keyHeads', 1, this.heads)
    this.keyHeads = keyHeads
    expect(
      features % this.heads === 0,
      () => `Expected heads that share out the ${features} features evenly, got ${this.heads}`,
    )
    expect(
      this.heads % keyHeads === 0,
      () => `Expected keyHeads to be a divisor of the ${this.heads} heads, got ${keyHeads}`,
    )
    for (const [name, flag] of Object.entries({ causal, cross, perHead }))
      expect(typeof flag === 'boolean', () => `Expected ${name} to be true or false, got ${show(flag)}`)
    this.causal = causal
    this.cross = cross
    this.dropout = number(dropout, 'dropout', 0, 1)
    expect(dropout < 1, () => `Expected dropout to be at least 0 and below 1, got ${dropout}`)
    if (options.rotary !== undefined) {
      this.#rotary = rotaryOptions(options.rotary)
      this.places = this.#rotary.places
      expect(
        (features / this.heads) % 2 === 0,
        () => `Expected heads of an even number of features to rotate, got ${features / this.heads}`,
      )
      expect(!cross, () => 'Expected rotary positions within one sequence, got them across two')
    }
    known(densities, 'densities', { query: true, key: true, value: true, output: true })
    const memory = integer(options.memoryFeatures ?? features, 'memoryFeatures', 1)
    const keys = (features / this.heads) * keyHeads
    const { bias, topology, weights } = options
    const of = (name: keyof typeof densities, from: number, to: number, heads: number) => {
      const share = densities[name] ?? density
      if (!perHead || share === undefined) return projection(from, to, { density: share, bias, topology, weights })
      return new Heads({
        ...{ inFeatures: from, outFeatures: to, density: share, heads, of: name === 'output' ? 'inputs' : 'outputs' },
        ...(bias !== undefined && { bias }),
        ...(topology && { topology }),
        ...(weights && { weights }),
      })
    }
    this.query = of('query', features, features, this.heads)
    this.key = of('key', memory, keys, keyHeads)
    this.value = of('value', memory, keys, keyHeads)
    this.output = of('output', features, features, this.heads)
    if (new.target === MultiHeadAttention) remember('MultiHeadAttention', [options], this)
  }

  get children(): ReadonlyMap<string, Module> {
    const { query, key, value, output } = this
    return new Map(Object.entries({ query, key, value, output }))
  }

  get parameters(): Parameter[] {
    return [...this.children.values()].flatMap((m) => m.parameters)
  }

  get sparse(): SparseParameter[] {
    return [...this.children.values()].flatMap((m) => m.sparse)
  }

  /**
   * A neuron of the queries lives by the one of the keys that it is multiplied with, and one of the values by what the
   * output makes of it, where they are as many: within heads, where these have links of their own.
   */
  get relations(): Relation[] {
    const pairs = (a: Module, b: Module, kind: Relation['kind']) =>
      a.sparse.length === b.sparse.length
        ? a.sparse.map((first, i) => ({ first, second: b.sparse[i] as SparseParameter, kind }))
        : []
    if (this.key.outFeatures !== this.query.outFeatures) return []
    return [...pairs(this.key, this.query, 'joint'), ...pairs(this.value, this.output, 'consecutive')]
  }

  materialise(materials: Materials): void {
    for (const module of this.children.values()) module.materialise(materials)
    if (this.#rotary) this.#angles = new Rotary(materials.device, this.inFeatures / this.heads, this.#rotary)
    if (this.dropout > 0) this.#draws = { seed: materials.seed, layer: materials.nextLayer() }
  }

  /** Queries of x, and keys and values of `memory`, turned by the places of their tokens where these are rotary. */
  project(tape: Tape, x: Value, memory = x): { readonly query: Value; readonly key: Value; readonly value: Value } {
    const angles = this.#angles?.angles(tape, sequencesOf(x, 'rotary positions'))
    const turned = (of: Value, by: number) => (angles ? rotate(tape, of, angles, by) : of)
    return {
      query: turned(this.query.forward(tape, x), this.heads),
      key: turned(this.key.forward(tape, memory), this.keyHeads),
      value: this.value.forward(tape, memory),
    }
  }

  forward(tape: Tape, x: Value, ...inputs: Value[]): Value {
    const memory = this.cross ? inputs[0] : x
    if (!memory)
      throw new HebbError('INVALID_ARGUMENT', 'Expected a second input for attention across sequences, got none')
    const { heads, causal } = this
    const { query, key, value } = this.project(tape, x, memory)
    const dropout = tape.training && this.#draws ? { probability: this.dropout, ...this.#draws } : undefined
    const attended = attention(tape, query, key, value, { heads, causal, dropout })
    return this.output.forward(tape, attended)
  }

  dispose(): void {
    for (const module of this.children.values()) module.dispose()
    this.#angles?.dispose()
    this.#angles = undefined
  }
}
makerOf('MultiHeadAttention', MultiHeadAttention)
