/** Regrow rules: which missing links an update adds. */
import { expect, known, show } from '../error.js'
import { type LinkPredictor, linkPredictors, type PlainCsr, type PredictionRoute, predictionRoutes } from '../tensor.js'

/** The layer after removal. */
export interface KeptLayer extends PlainCsr {
  readonly layer: number
  readonly update: number
  readonly seed: number
}

/** Gives exactly `count` missing links, each once, in any order. */
export type RegrowFunction = (layer: KeptLayer, count: number) => NewLinks | Promise<NewLinks>

/** Missing links that are to be, the i-th leading from input col[i] to output row[i]. */
export interface NewLinks {
  readonly row: ArrayLike<number>
  readonly col: ArrayLike<number>
}

export interface BuiltInRegrow {
  readonly name: string
  readonly predictor: LinkPredictor | 'none' | 'gradient'
  readonly selection: 'sample' | 'largest'
  /** Of a link predictor; default 'auto'. */
  readonly route?: PredictionRoute
}

/** What soft() and topK() take beside the predictor. */
export interface ScoreOptions {
  /**
   * How scores are computed: 'auto', 'sparse' or 'dense'. Only a GPU's 'dense', on tensor cores, can choose other links
   * than the rest; its 'auto' may be 'dense', unless the device is to be deterministic 'everywhere'. Default 'auto'.
   */
  route?: PredictionRoute | undefined
}

/** Which missing links an update adds: random(), topK(), soft(), largestGradient(), or a function of your own. */
export type RegrowRule = BuiltInRegrow | RegrowFunction

function scores(predictor: LinkPredictor, options: ScoreOptions): Pick<BuiltInRegrow, 'predictor' | 'route'> {
  const { route } = known(options, 'a link predictor', { route: true })
  expect(
    linkPredictors.includes(predictor),
    () => `Expected the link predictor to be one of ${linkPredictors.map(show).join(', ')}, got ${show(predictor)}`,
  )
  expect(
    route === undefined || predictionRoutes.includes(route),
    () => `Expected route to be one of ${predictionRoutes.map(show).join(', ')}, got ${show(route)}`,
  )
  return { predictor, ...(route && { route }) }
}

/** Any missing link is as good as any other (SET; Mocanu et al. 2018). */
export function random(): BuiltInRegrow {
  return { name: 'random', predictor: 'none', selection: 'sample' }
}

/** The missing links with the highest scores, ties in a seeded random order (CHT). */
export function topK(predictor: LinkPredictor, options: ScoreOptions = {}): BuiltInRegrow {
  return { name: `top-k ${predictor}`, selection: 'largest', ...scores(predictor, options) }
}

/** Missing links sampled without replacement, probability proportional to their score (CHTs; paper, section 3.2). */
export function soft(predictor: LinkPredictor, options: ScoreOptions = {}): BuiltInRegrow {
  return { name: `soft ${predictor}`, selection: 'sample', ...scores(predictor, options) }
}

/**
 * The missing links whose gradients are largest (RigL; Evci et al. 2020): of the batch that comes next, at the current
 * weights. The dense gradient never exists, only the candidates that can still win.
 */
export function largestGradient(): BuiltInRegrow {
  return { name: 'largest gradient', predictor: 'gradient', selection: 'largest' }
}
