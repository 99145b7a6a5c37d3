/** Llama: a decoder that tells the next word, with RMSNorm, rotary positions and a gated feed-forward part. */
import type { Tape, Value } from '../autograd.js'
import { expect, integer, known } from '../error.js'
import { numbersByName } from '../patterns.js'
import { makerOf, remember } from '../recipe.js'
import type { Topology } from '../topology/topology.js'
import { silu } from './activations.js'
import { MultiHeadAttention, projection } from './attention.js'
import { Embedding, Scores } from './embedding.js'
import { normal, type WeightInit } from './init.js'
import { RMSNorm } from './layer_norm.js'
import { Linear } from './linear.js'
import type { Materials, Module, Relation } from './module.js'
import { multiply } from './multiply.js'
import type { Parameter, SparseParameter } from './parameter.js'
import { Residual } from './residual.js'
import { Sequential } from './sequential.js'
import type { SparseLinear } from './sparse_linear.js'

/** What a GatedFeedForward is made with. */
export interface GatedFeedForwardOptions {
  features: number
  /** Neurons between. */
  hidden: number
  /** Share of the links of its three layers, in (0, 1]. Default: they are fully connected. */
  density?: number | undefined
  /** Densities of their own. */
  densities?: Readonly<Partial<Record<'gate' | 'up' | 'down', number>>> | undefined
  /** Default true. */
  bias?: boolean | undefined
  /** Default: the method's. */
  topology?: Topology | undefined
  /** Default: the method's, or that of a Linear. */
  weights?: WeightInit | undefined
}

/** down(silu(gate(x)) * up(x)): a feed-forward part with a gate (SwiGLU: Shazeer, 2020). */
export class GatedFeedForward implements Module {
  readonly inFeatures: number
  readonly outFeatures: number
  readonly gate: Linear | SparseLinear
  readonly up: Linear | SparseLinear
  readonly down: Linear | SparseLinear

  constructor(options: GatedFeedForwardOptions) {
    const {
      features,
      hidden,
      density,
      densities = {},
      bias,
      topology,
      weights,
    } = known(options, 'GatedFeedForward', {
      ...({ features: true, hidden: true, density: true, densities: true } as const),
      ...({ bias: true, topology: true, weights: true } as const),
    })
    this.inFeatures = this.outFeatures = integer(features, 'features', 1)
    integer(hidden, 'hidden', 1)
    known(densities, 'densities', { gate: true, up: true, down: true })
    const of = (name: keyof typeof densities, from: number, to: number) =>
      projection(from, to, { density: densities[name] ?? density, bias, topology, weights })
    this.gate = of('gate', features, hidden)
    this.up = of('up', features, hidden)
    this.down = of('down', hidden, features)
    if (new.target === GatedFeedForward) remember('GatedFeedForward', [options], this)
  }

  get children(): ReadonlyMap<string, Module> {
    const { gate, up, down } = this
    return new Map(Object.entries({ gate, up, down }))
  }

  get parameters(): Parameter[] {
    return [...this.children.values()].flatMap((m) => m.parameters)
  }

  get sparse(): SparseParameter[] {
    return [...this.children.values()].flatMap((m) => m.sparse)
  }

  /** A hidden neuron lives by its gate, by what it lets through and by what is made of it. */
  get relations(): Relation[] {
    const pairs = (a: Module, b: Module, kind: Relation['kind']) =>
      a.sparse.flatMap((first) => b.sparse.map((second) => ({ first, second, kind })))
    const { gate, up, down } = this
    return [...pairs(gate, up, 'joint'), ...pairs(gate, down, 'consecutive'), ...pairs(up, down, 'consecutive')]
  }

  materialise(materials: Materials): void {
    for (const module of this.children.values()) module.materialise(materials)
  }

  forward(tape: Tape, x: Value): Value {
    const open = silu(tape, this.gate.forward(tape, x))
    return this.down.forward(tape, multiply(tape, open, this.up.forward(tape, x)))
  }

  dispose(): void {
    for (const module of this.children.values()) module.dispose()
  }
}
makerOf('GatedFeedForward', GatedFeedForward)

/** What llama() takes. Numbers are checked when it is called: INVALID_ARGUMENT. */
export interface LlamaOptions {
  /** Entries of the vocabulary. */
  words: number
  features: number
  /** Neurons of a feed-forward part. */
  hidden: number
  layers: number
  heads: number
  /** Heads of keys and values, a divisor of `heads`. Default: as many. */
  keyHeads?: number | undefined
  /** Share of the links of all projections and feed-forward layers, in (0, 1]. Default: they are fully connected. */
  density?: number | undefined
  /**
   * Densities of their own for some layers, by names such as '0.attention.query' and '3.feedForward.gate' or patterns
   * of these, in which * stands for any characters.
   */
  densities?: Readonly<Record<string, number>> | undefined
  /** Whether sparse projections are divided among the heads; see MultiHeadAttention. Default false. */
  perHead?: boolean | undefined
  /** Added to means of squares. Default 1e-6. */
  epsilon?: number | undefined
  /** Of rotary positions. Default 10,000. */
  base?: number | undefined
  /** Tokens of the longest sequence. Default 1024. */
  places?: number | undefined
  /** Whether the embedding's matrix gives the scores, too. Default false. */
  tied?: boolean | undefined
  /** Default: the method's. */
  topology?: Topology | undefined
  /** Of all matrices. Default normal(0.02). */
  weights?: WeightInit | undefined
}

const LLAMA = {
  ...({ words: true, features: true, hidden: true, layers: true, heads: true, keyHeads: true, density: true } as const),
  ...({ densities: true, perHead: true, epsilon: true, base: true, places: true, tied: true } as const),
  ...({ topology: true, weights: true } as const),
}
const ATTENTION = ['query', 'key', 'value', 'output'] as const
const FEED_FORWARD = ['gate', 'up', 'down'] as const

/** A decoder of causal layers (Touvron et al., 2023). Its input: tokens; its result: scores of the next word. */
export class Llama implements Module {
  readonly options: LlamaOptions
  readonly embedding: Embedding
  readonly layers: Sequential
  readonly head: Linear | Scores

  constructor(options: LlamaOptions) {
    known(options, 'Llama', LLAMA)
    const { words, features, hidden, heads, keyHeads, density, perHead, epsilon = 1e-6, topology } = options
    const { base = 10_000, places = 1024, tied = false, weights = normal(0.02) } = options
    const layers = integer(options.layers, 'layers', 1)
    this.options = options
    expect(typeof tied === 'boolean', () => `Expected tied to be true or false, got ${tied}`)
    this.embedding = new Embedding({ words, features, weights })
    const names = Array.from({ length: layers }, (_, layer) => [
      ...ATTENTION.map((part) => `${layer}.attention.${part}`),
      ...FEED_FORWARD.map((part) => `${layer}.feedForward.${part}`),
    ])
    const own = numbersByName(names.flat(), options.densities ?? {})
    const shares = <Part extends string>(path: string, parts: readonly Part[]) => ({
      densities: Object.fromEntries(
        parts.flatMap((part) => (own.has(path + part) ? [[part, own.get(path + part)]] : [])),
      ) as Partial<Record<Part, number>>,
      ...{ density, topology, weights, bias: false },
    })
    const around = (parts: Record<string, Module>) =>
      new Residual(new Sequential({ norm: new RMSNorm({ features, epsilon }), ...parts }))
    const layer = (_: unknown, i: number) =>
      new Sequential({
        attention: around({
          attention: new MultiHeadAttention({
            ...shares(`${i}.attention.`, ATTENTION),
            ...{ features, heads, causal: true, rotary: { places, base }, perHead },
            ...(keyHeads !== undefined && { keyHeads }),
          }),
        }),
        feedForward: around({
          feedForward: new GatedFeedForward({ ...shares(`${i}.feedForward.`, FEED_FORWARD), features, hidden }),
        }),
      })
    this.layers = new Sequential({
      ...Object.fromEntries(Array.from({ length: layers }, layer).entries()),
      norm: new RMSNorm({ features, epsilon }),
    })
    this.head = tied
      ? new Scores(this.embedding, { bias: false })
      : new Linear({ inFeatures: features, outFeatures: words, bias: false, weights })
    if (new.target === Llama) remember('Llama', [options], this)
  }

  get outFeatures(): number {
    return this.embedding.words
  }

  get children(): ReadonlyMap<string, Module> {
    const { embedding, layers, head } = this
    return new Map(Object.entries({ embedding, layers, head }))
  }

  get parameters(): Parameter[] {
    return [...new Set([...this.children.values()].flatMap((m) => m.parameters))]
  }

  get sparse(): SparseParameter[] {
    return this.layers.sparse
  }

  get relations(): readonly Relation[] {
    return this.layers.relations
  }

  materialise(materials: Materials): void {
    for (const module of this.children.values()) {
      materials.made.add(module)
      module.materialise(materials)
    }
  }

  body(tape: Tape, tokens: Value): Value {
    return this.layers.forward(tape, this.embedding.forward(tape, tokens))
  }

  /** Scores (logits) of the word that follows each token: [words][tokens]. */
  forward(tape: Tape, tokens: Value): Value {
    return this.head.forward(tape, this.body(tape, tokens))
  }

  dispose(): void {
    for (const module of this.children.values()) module.dispose()
  }
}
makerOf('Llama', Llama)

/** A language model for a Trainer. `seed`: of the initial network and of everything random in its training. */
export function llama({ seed = 0, ...options }: LlamaOptions & { seed?: number }): Sequential {
  return new Sequential([new Llama(options)], { seed })
}
