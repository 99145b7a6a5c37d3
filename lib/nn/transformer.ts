/** Transformers: their layers, and the encoder and decoder that translate. */
import type { Tape, Value } from '../autograd.js'
import { expect, HebbError, integer, known, number, show } from '../error.js'
import { numbersByName } from '../patterns.js'
import { makerOf, remember } from '../recipe.js'
import type { Topology } from '../topology/topology.js'
import { Gelu, Relu, Silu } from './activations.js'
import { MultiHeadAttention, projection } from './attention.js'
import { Dropout } from './dropout.js'
import { Embedding, PositionalEncoding, Scores } from './embedding.js'
import { type WeightInit, xavier } from './init.js'
import { LayerNorm } from './layer_norm.js'
import { Linear } from './linear.js'
import type { Materials, Module, Relation } from './module.js'
import type { Parameter, SparseParameter } from './parameter.js'
import { Residual } from './residual.js'
import { Sequential } from './sequential.js'

const activations = { relu: () => new Relu(), gelu: () => new Gelu(), silu: () => new Silu() }

/** What encoderLayer() and decoderLayer() take. */
export interface TransformerLayerOptions {
  features: number
  heads: number
  /** Neurons between the two layers of the feed-forward part. */
  hidden: number
  /**
   * Whether projections are divided among the heads, each of which keeps its share of the links. Default false: a
   * method may move links from one head to another.
   */
  perHead?: boolean | undefined
  /** Share of the links of all projections and feed-forward layers, in (0, 1]. Default: they are fully connected. */
  density?: number | undefined
  /** Densities of their own, by 'attention.query', 'crossAttention.key', 'feedForward.in' or patterns of such names. */
  densities?: Readonly<Record<string, number>> | undefined
  /** Of losing an element in training, in [0, 1): of each part's result, of the hidden neurons. Default 0. */
  dropout?: number | undefined
  /** Of losing a weight of attention. Default: `dropout`. */
  attentionDropout?: number | undefined
  /** Default 'relu'. */
  activation?: keyof typeof activations | undefined
  /** Added to variances. Default 1e-6. */
  epsilon?: number | undefined
  /** Default: the method's. */
  topology?: Topology | undefined
  /** Default xavier(). */
  weights?: WeightInit | undefined
}

const LAYER = {
  ...({ features: true, heads: true, hidden: true, density: true, densities: true, dropout: true } as const),
  ...({ attentionDropout: true, activation: true, epsilon: true, topology: true, weights: true } as const),
  ...({ perHead: true } as const),
}

const ATTENTION = ['query', 'key', 'value', 'output'] as const
const FEED_FORWARD = ['in', 'out'] as const

const namesOf = (parts: readonly string[]): string[] => [
  ...parts.flatMap((part) => ATTENTION.map((name) => `${part}.${name}`)),
  ...FEED_FORWARD.map((name) => `feedForward.${name}`),
]

/** x + part(norm(x)), pre-LN (Xiong et al., 2020), without what the part's result loses. */
function around(features: number, epsilon: number, dropout: number, parts: Record<string, Module>): Residual {
  return new Residual(new Sequential({ norm: new LayerNorm({ features, epsilon }), ...parts, ...lost(dropout) }))
}

/** A part that loses elements, where any are lost. */
function lost(probability: number, name = 'lost'): Record<string, Module> {
  return probability > 0 ? { [name]: new Dropout({ probability }) } : {}
}

function layer(kinds: readonly ('attention' | 'crossAttention')[], causal: boolean, options: TransformerLayerOptions) {
  const { features, heads, hidden, dropout = 0, epsilon = 1e-6, topology, weights = xavier() } = options
  const { attentionDropout = dropout, activation = 'relu', perHead } = options
  integer(hidden, 'hidden', 1)
  expect(
    Object.hasOwn(activations, activation),
    () => `Expected activation to be one of ${Object.keys(activations).join(', ')}, got ${show(activation)}`,
  )
  const own = numbersByName(namesOf(kinds), options.densities ?? {})
  const densityOf = (name: string) => own.get(name) ?? options.density
  const attention = (kind: (typeof kinds)[number]) =>
    new MultiHeadAttention({
      ...{ features, heads, causal: kind === 'attention' && causal, cross: kind === 'crossAttention' },
      ...{ dropout: attentionDropout, weights, perHead, ...(topology && { topology }) },
      densities: Object.fromEntries(
        ATTENTION.map((name) => [name, densityOf(`${kind}.${name}`)] as const).filter(([, d]) => d !== undefined),
      ),
    })
  const feedForward = (name: (typeof FEED_FORWARD)[number], from: number, to: number) =>
    projection(from, to, { density: densityOf(`feedForward.${name}`), topology, weights })
  return new Sequential({
    ...Object.fromEntries(
      kinds.map((kind) => [kind, around(features, epsilon, dropout, { attention: attention(kind) })]),
    ),
    feedForward: around(features, epsilon, dropout, {
      in: feedForward('in', features, hidden),
      activation: activations[activation](),
      ...lost(dropout, 'lostHidden'),
      out: feedForward('out', hidden, features),
    }),
  })
}

/** A layer of an encoder: attention within sequences and a feed-forward part, each around a connection, pre-LN. */
export function encoderLayer(options: TransformerLayerOptions & { causal?: boolean | undefined }): Sequential {
  const { causal = false } = known(options, 'encoderLayer()', { ...LAYER, causal: true })
  return layer(['attention'], causal, options)
}

/**
 * A layer of a decoder, whose second input is what the encoder gave: causal attention, that to the encoder, and a
 * feed-forward part.
 */
export function decoderLayer(options: TransformerLayerOptions): Sequential {
  return layer(['attention', 'crossAttention'], true, known(options, 'decoderLayer()', LAYER))
}

/** What transformer() takes. Numbers are checked when it is called: INVALID_ARGUMENT. */
export interface TransformerOptions extends Omit<TransformerLayerOptions, 'densities'> {
  /** Entries of the vocabularies of source and target. */
  sourceWords: number
  targetWords: number
  encoderLayers: number
  decoderLayers: number
  /** Tokens of the longest sequence. Default 1024. */
  places?: number | undefined
  /**
   * Which matrices are one: 'none' (default); 'target', the target's embedding and the generator; 'all', the source's
   * embedding too, of one vocabulary.
   */
  shared?: 'none' | 'target' | 'all' | undefined
  /**
   * Densities of their own for some layers, by names such as 'encoder.0.attention.query' and 'decoder.2.feedForward.in'
   * or patterns of these, in which * stands for any characters.
   */
  densities?: Readonly<Record<string, number>> | undefined
}

const TRANSFORMER = {
  ...LAYER,
  ...({ sourceWords: true, targetWords: true, encoderLayers: true, decoderLayers: true } as const),
  ...({ places: true, shared: true } as const),
}

/** An encoder and a decoder (Vaswani et al., 2017), pre-LN, with a LayerNorm behind each. Inputs: source and target. */
export class Transformer implements Module {
  readonly options: TransformerOptions
  readonly source: Sequential
  readonly target: Sequential
  readonly encoder: Sequential
  readonly decoder: Sequential
  readonly generator: Module

  constructor(options: TransformerOptions) {
    known(options, 'Transformer', TRANSFORMER)
    const { sourceWords, targetWords, features, dropout = 0, epsilon = 1e-6, places = 1024 } = options
    const { shared = 'none', weights = xavier() } = options
    const { sourceWords: _s, targetWords: _t, encoderLayers, decoderLayers, places: _p, shared: _h, ...rest } = options
    this.options = options
    integer(sourceWords, 'sourceWords', 1)
    integer(targetWords, 'targetWords', 1)
    integer(encoderLayers, 'encoderLayers', 1)
    integer(decoderLayers, 'decoderLayers', 1)
    integer(features, 'features', 1)
    number(dropout, 'dropout', 0, 1)
    expect(
      ['none', 'target', 'all'].includes(shared),
      () => `Expected shared to be 'none', 'target' or 'all', got ${show(shared)}`,
    )
    expect(
      shared !== 'all' || sourceWords === targetWords,
      () => `Expected one vocabulary to share all embeddings, got ${sourceWords} and ${targetWords} words`,
    )
    const scale = Math.sqrt(features)
    const table = (words: number) => new Embedding({ words, features, scale, weights })
    const ofTarget = table(targetWords)
    const input = (embedding: Embedding) =>
      new Sequential({ embedding, positions: new PositionalEncoding({ features, places }), ...lost(dropout) })
    const stacks = { encoder: namesOf(['attention']), decoder: namesOf(['attention', 'crossAttention']) }
    const depths = { encoder: encoderLayers, decoder: decoderLayers }
    const each = <T>(stack: keyof typeof stacks, of: (path: string) => T) =>
      Array.from({ length: depths[stack] }, (_, i) => of(`${stack}.${i}.`))
    const own = numbersByName(
      (['encoder', 'decoder'] as const).flatMap((name) =>
        each(name, (path) => stacks[name].map((part) => path + part)).flat(),
      ),
      options.densities ?? {},
    )
    const stack = (name: keyof typeof stacks, make: (options: TransformerLayerOptions) => Sequential) => {
      const layers = each(name, (path) => {
        const parts = stacks[name].filter((part) => own.has(path + part))
        return make({
          ...rest,
          densities: Object.fromEntries(parts.map((part) => [part, own.get(path + part) as number])),
        })
      })
      return new Sequential({ ...layers, norm: new LayerNorm({ features, epsilon }) })
    }
    this.source = input(shared === 'all' ? ofTarget : table(sourceWords))
    this.encoder = stack('encoder', encoderLayer)
    this.target = input(ofTarget)
    this.decoder = stack('decoder', decoderLayer)
    this.generator =
      shared === 'none' ? new Linear({ inFeatures: features, outFeatures: targetWords, weights }) : new Scores(ofTarget)
    if (new.target === Transformer) remember('Transformer', [options], this)
  }

  get outFeatures(): number {
    return this.options.targetWords
  }

  get head(): Module {
    return this.generator
  }

  get children(): ReadonlyMap<string, Module> {
    const { source, encoder, target, decoder, generator } = this
    return new Map(Object.entries({ source, encoder, target, decoder, generator }))
  }

  get parameters(): Parameter[] {
    return [...new Set([...this.children.values()].flatMap((m) => m.parameters))]
  }

  get sparse(): SparseParameter[] {
    return [...this.children.values()].flatMap((m) => m.sparse)
  }

  get relations(): Relation[] {
    return [...this.children.values()].flatMap((m) => m.relations ?? [])
  }

  materialise(materials: Materials): void {
    for (const module of this.children.values()) {
      materials.made.add(module)
      module.materialise(materials)
    }
  }

  /** What the encoder makes of source tokens: [features][tokens]. */
  encode(tape: Tape, source: Value): Value {
    return this.encoder.forward(tape, this.source.forward(tape, source))
  }

  /** What the decoder makes of target tokens: [features][tokens]. */
  decode(tape: Tape, target: Value, memory: Value): Value {
    return this.decoder.forward(tape, this.target.forward(tape, target), memory)
  }

  body(tape: Tape, source: Value, ...[target]: Value[]): Value {
    if (!target) throw new HebbError('INVALID_ARGUMENT', 'Expected source and target for a Transformer, got one input')
    return this.decode(tape, target, this.encode(tape, source))
  }

  /** Scores (logits) of the word that follows each target token: [targetWords][tokens]. */
  forward(tape: Tape, source: Value, ...targets: Value[]): Value {
    return this.generator.forward(tape, this.body(tape, source, ...targets))
  }

  dispose(): void {
    for (const module of this.children.values()) module.dispose()
  }
}
makerOf('Transformer', Transformer)

/** A model that translates, for a Trainer. `seed`: of the initial network and of everything random in its training. */
export function transformer({ seed = 0, ...options }: TransformerOptions & { seed?: number | undefined }): Sequential {
  return new Sequential([new Transformer(options)], { seed })
}
