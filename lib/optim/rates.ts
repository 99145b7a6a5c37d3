/**
 * Learning-rate schedules. A rate is asked for every step. Checkpoints name them as they were called first: 'linear' is
 * linearDecay(), 'constant' constantRate().
 */
import { expect, integer, known, number, show } from '../error.js'
import { maker } from '../recipe.js'

/** Where a training is when a rate is asked for. */
export interface RatePoint {
  /** The step that is about to run, from 0. */
  readonly step: number
  /** Steps of the run; Infinity for batches of your own without plan(). */
  readonly steps: number
  /** The epoch that the step is in, from 0. */
  readonly epoch: number
  /** Epochs in all. */
  readonly epochs: number
  /** Steps since the last topology update, or since the first step: 0 for the first step after it. */
  readonly stepsSinceUpdate: number
  /**
   * Share of the possible links that the sparse layers have, frozen ones left out, as their method's schedule says; 1
   * without any.
   */
  readonly density: number
}

/**
 * A learning rate, asked for before every step: of at least 0, else the step is refused with INVALID_ARGUMENT. linear()
 * and others make them; a function of your own must be given to Trainer.load() again.
 */
export type Rate = (point: RatePoint) => number

/** The same rate, of at least 0, in every step. */
export const constantRate = maker('constant', (rate: number): Rate => {
  number(rate, 'learningRate', 0)
  return () => rate
})

/**
 * Falls (or rises) by equal parts, once an epoch, from `from` to `to` over the first `over` of the epochs (default 0.9,
 * the paper's 90 of 100), then stays.
 */
export const linearDecay = maker('linear', (options: { from: number; to: number; over?: number }): Rate => {
  const { from, to, over = 0.9 } = known(options, 'linearDecay()', { from: true, to: true, over: true })
  number(from, 'from', 0)
  number(to, 'to', 0)
  number(over, 'over', 0, 1)
  return ({ epoch, epochs }) => from + (to - from) * Math.min(1, epoch / Math.max(1, over * epochs))
})

/**
 * Begins at `from`, and is multiplied by `factor` (default 0.1) where each of the shares `at` of the run's steps is
 * done: `at: [0.5, 0.75]`.
 */
export const stepDecay = maker(
  'stepDecay',
  (options: { from: number; at: readonly number[]; factor?: number }): Rate => {
    const { from, at, factor = 0.1 } = known(options, 'stepDecay()', { from: true, at: true, factor: true })
    number(from, 'from', 0)
    number(factor, 'factor', 0)
    expect(Array.isArray(at), () => `Expected at to be shares of the run such as [0.5, 0.75], got ${show(at)}`)
    for (const share of at) number(share, 'a share in at', 0, 1)
    return ({ step, steps }) => from * factor ** at.filter((share) => step >= share * steps).length
  },
)

/**
 * Rises in equal parts over the first `warmup` steps (default 0) to `from`, then falls along half a cosine to `to`
 * (default 0) at the end of the run; with `cycles` above 1 it begins again at `from` that often (Loshchilov and Hutter,
 * 2017).
 */
export const cosineDecay = maker(
  'cosineDecay',
  (options: { from: number; to?: number; warmup?: number; cycles?: number }): Rate => {
    const names = { from: true, to: true, warmup: true, cycles: true } as const
    const { from, to = 0, warmup = 0, cycles = 1 } = known(options, 'cosineDecay()', names)
    number(from, 'from', 0)
    number(to, 'to', 0)
    integer(warmup, 'warmup', 0)
    integer(cycles, 'cycles', 1)
    return ({ step, steps }) => {
      if (step < warmup) return (from * (step + 1)) / warmup
      const done = Math.min(1, (step - warmup) / Math.max(1, steps - warmup)) * cycles
      const share = done >= cycles ? 1 : done % 1
      return to + ((from - to) / 2) * (1 + Math.cos(Math.PI * share))
    }
  },
)

/**
 * factor width^-0.5 min(t^-0.5, t warmup^-1.5) in step t, counted from 1: rises over `warmup` steps, then falls with
 * the root of the steps (Vaswani et al., 2017).
 */
export const noam = maker('noam', (options: { width: number; warmup: number; factor?: number }): Rate => {
  const { width, warmup, factor = 1 } = known(options, 'noam()', { width: true, warmup: true, factor: true })
  integer(width, 'width', 1)
  integer(warmup, 'warmup', 1)
  number(factor, 'factor', 0)
  return ({ step }) => factor * width ** -0.5 * Math.min((step + 1) ** -0.5, (step + 1) * warmup ** -1.5)
})

/**
 * The rate times min(1, (t mod period) / rise) in step t, counted from 1: after every `period` steps, as topology
 * updates are made, it falls to 0 and rises again in `rise` steps (paper, appendix).
 */
export const dips = maker('dips', (rate: number | Rate, options: { period: number; rise: number }): Rate => {
  const inner = rateOf(rate)
  known(options, 'dips()', { period: true, rise: true })
  const period = integer(options.period, 'period', 1)
  const rise = integer(options.rise, 'rise', 1)
  return (point) => inner(point) * Math.min(1, ((point.step + 1) % period) / rise)
})

/** noam() with dips(): the paper's rate for sparse translation models. */
export const inoam = maker(
  'inoam',
  (options: { width: number; warmup: number; factor?: number; period?: number; rise?: number }): Rate => {
    const names = { width: true, warmup: true, factor: true, period: true, rise: true } as const
    const { period = 100, rise = 20, ...rest } = known(options, 'inoam()', names)
    return dips(noam(rest), { period, rise })
  },
)

/** The rate times min(1, n / rise) in the n-th step after a topology update, or after the first step. */
export const recovering = maker('recovering', (rate: number | Rate, options: { rise: number }): Rate => {
  const inner = rateOf(rate)
  known(options, 'recovering()', { rise: true })
  const rise = integer(options.rise, 'rise', 1)
  return (point) => inner(point) * Math.min(1, (point.stepsSinceUpdate + 1) / rise)
})

/**
 * The rate times (target / density)^power (default 1): lower while the links are denser than at the method's end, where
 * it is the rate itself.
 */
export const byDensity = maker(
  'byDensity',
  (rate: number | Rate, options: { target: number; power?: number }): Rate => {
    const inner = rateOf(rate)
    known(options, 'byDensity()', { target: true, power: true })
    const target = number(options.target, 'target', Number.MIN_VALUE, 1)
    const power = number(options.power ?? 1, 'power', 0)
    return (point) => inner(point) * (target / point.density) ** power
  },
)

/** A number as a constant rate. */
export function rateOf(rate: number | Rate): Rate {
  if (typeof rate === 'function') return rate
  expect(
    typeof rate === 'number',
    () => `Expected learningRate to be a number or a schedule such as linearDecay({ from, to }), got ${show(rate)}`,
  )
  return constantRate(rate)
}
