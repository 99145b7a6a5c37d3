/** What runs may be made of, by the names that flags and plans give it. */
import type { TrainAndTest } from '../data/index.js'
import { cubicDensity, type DecayOptions, type DensityRule, sigmoidDensity } from '../dst/density.js'
import type { Method } from '../dst/method.js'
import { cht, chts, chtss, dense, gmp, granet, mest, rigl, set, staticSparse } from '../dst/methods.js'
import {
  type BuiltInRemove,
  magnitude,
  relativeImportance,
  softMagnitude,
  softRelativeImportance,
} from '../dst/remove.js'
import { HebbError, show } from '../error.js'
import type { Distribution } from '../nn/distribution.js'
import { adam } from '../optim/adam.js'
import type { Optimizer } from '../optim/optimizer.js'
import type { Rate } from '../optim/rates.js'
import { sgd } from '../optim/sgd.js'
import { suggestion } from '../suggestion.js'
import { type LinkPredictor, linkPredictors } from '../tensor.js'
import { brf } from '../topology/brf.js'
import { bsf } from '../topology/bsf.js'
import { bsw } from '../topology/bsw.js'
import { csti } from '../topology/csti.js'
import { erdosRenyi } from '../topology/erdos_renyi.js'
import type { Topology } from '../topology/topology.js'

export const methods: Record<string, (parts?: Partial<Method>) => Method> = {
  chts,
  chtss,
  cht,
  set,
  rigl,
  mest,
  gmp,
  granet,
  static: staticSparse,
  dense,
}

/** Given the data, which some begin with. */
export const topologies: Record<string, (data: TrainAndTest) => Topology> = {
  brf: () => brf(),
  'brf-uniform': () => brf({ degree: 'uniform' }),
  bsw: () => bsw(),
  bsf: () => bsf(),
  csti: ({ train }) => csti({ data: train }),
  'erdos-renyi': () => erdosRenyi(),
}

/** What a translator or a language model is like, and how the latter is trained. */
export interface Preset {
  readonly task: 'translation' | 'lm'
  readonly vocabulary: number
  readonly width: number
  readonly feedForward: number
  readonly layers: number
  readonly heads: number
  /** Of translators. */
  readonly rateFactor?: number
  /** Of language models, and all that follows. */
  readonly window?: number
  readonly batchTokens?: number
  readonly steps?: number
  readonly interval?: number
  readonly learningRate?: number
  readonly warmup?: number
  readonly updateEvery?: number
}

/**
 * The paper's Transformer for Multi30k (section 4.2), and one that two cores train within the hour; a language model
 * that two cores train on a megabyte of text in some minutes, and a larger one for books.
 */
export const presets: Readonly<Record<string, Preset>> = {
  multi30k: {
    ...{ task: 'translation', vocabulary: 8000, width: 512, feedForward: 1024, layers: 6, heads: 8, rateFactor: 0.25 },
  },
  'multi30k-small': {
    ...{ task: 'translation', vocabulary: 4000, width: 256, feedForward: 512, layers: 3, heads: 8, rateFactor: 0.5 },
  },
  shakespeare: {
    ...{ task: 'lm', vocabulary: 512, width: 128, feedForward: 344, layers: 4, heads: 4, window: 128 },
    ...{ batchTokens: 2048, steps: 1000, interval: 100, learningRate: 3e-3, warmup: 100, updateEvery: 50 },
  },
  books: {
    ...{ task: 'lm', vocabulary: 4000, width: 256, feedForward: 688, layers: 4, heads: 4, window: 256 },
    ...{ batchTokens: 4096, steps: 1500, interval: 250, learningRate: 2e-3, warmup: 150, updateEvery: 50 },
  },
}

export const distributions: Record<string, Distribution> = { uniform: 'uniform', erk: 'erk' }

export const predictors: Record<string, LinkPredictor> = Object.fromEntries(linkPredictors.map((name) => [name, name]))

/** Rules by which links are removed, with their paper's temperatures. */
export const removals: Record<string, () => BuiltInRemove> = {
  magnitude,
  relative: relativeImportance,
  'soft-magnitude': softMagnitude,
  'soft-relative': softRelativeImportance,
}

/** Rules of a density that decays. */
export const decays: Readonly<Record<string, (options: DecayOptions) => DensityRule>> = {
  sigmoid: sigmoidDensity,
  cubic: cubicDensity,
}

interface OptimizerChoice {
  /** The first learning rate, the momentum and the decay of weights, where they are not given. */
  readonly learningRate: number
  /** Absent: it has none. */
  readonly momentum?: number
  readonly weightDecay: number
  create(options: { learningRate: Rate; momentum?: number; weightDecay?: number }): Optimizer
}

export const optimizers: Readonly<Record<string, OptimizerChoice>> = {
  sgd: {
    learningRate: 0.025,
    momentum: 0.9,
    weightDecay: 5e-4,
    create: ({ learningRate, momentum = 0.9, weightDecay = 5e-4 }) => sgd({ learningRate, momentum, weightDecay }),
  },
  adam: {
    learningRate: 0.001,
    weightDecay: 0,
    create: ({ learningRate, weightDecay = 0 }) => adam({ learningRate, weightDecay }),
  },
}

/** What has this name among the choices of a flag. */
export function pick<T>(choices: Readonly<Record<string, T>>, name: string, flag: string): T {
  const found = Object.hasOwn(choices, name) ? choices[name] : undefined
  if (found === undefined) throw new HebbError('INVALID_ARGUMENT', notOneOf(`--${flag}`, Object.keys(choices), name))
  return found
}

/** The message for a name that is none of these. */
function notOneOf(what: string, names: readonly string[], given: string): string {
  return `Expected ${what} to be one of ${names.join(', ')}, got ${show(given)}${suggestion(given, names)}`
}
