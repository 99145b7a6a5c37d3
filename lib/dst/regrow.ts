/** Regrow rules: which missing links an update adds. */
import { expect, show } from '../error.js'
import { type LinkPredictor, linkPredictors, type PlainCsr } from '../tensor.js'

/** The layer after removal. */
export interface KeptLayer extends PlainCsr {
  readonly layer: number
  readonly update: number
  readonly seed: number
}

/** Gives exactly `count` missing links, each once, in any order. */
export type RegrowFunction = (layer: KeptLayer, count: number) => NewLinks | Promise<NewLinks>

export interface NewLinks {
  readonly row: ArrayLike<number>
  readonly col: ArrayLike<number>
}

export interface BuiltInRegrow {
  readonly name: string
  readonly predictor: LinkPredictor | 'none' | 'gradient'
  readonly selection: 'sample' | 'largest'
}

export type RegrowRule = BuiltInRegrow | RegrowFunction

function checked(predictor: LinkPredictor): LinkPredictor {
  expect(linkPredictors.includes(predictor), () => `Expected the link predictor to be one of ${linkPredictors.map(show).join(', ')}, got ${show(predictor)}`)
  return predictor
}

/** Any missing link is as good as any other (SET; Mocanu et al. 2018). */
export function random(): BuiltInRegrow {
  return { name: 'random', predictor: 'none', selection: 'sample' }
}

/** The missing links with the highest scores, ties in a seeded random order (CHT). */
export function topK(predictor: LinkPredictor): BuiltInRegrow {
  return { name: `top-k ${predictor}`, predictor: checked(predictor), selection: 'largest' }
}

/** Missing links sampled without replacement, probability proportional to their score (CHTs; paper, section 3.2). */
export function soft(predictor: LinkPredictor): BuiltInRegrow {
  return { name: `soft ${predictor}`, predictor: checked(predictor), selection: 'sample' }
}

/**
 * The missing links whose gradients are largest (RigL; Evci et al. 2020): of the batch that comes next, at the current weights. The dense gradient never
 * exists, only the candidates that can still win.
 */
export function largestGradient(): BuiltInRegrow {
  return { name: 'largest gradient', predictor: 'gradient', selection: 'largest' }
}
