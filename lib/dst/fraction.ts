/** When updates happen, and what fraction of the links each removes. */
import { expect, integer, known, number, show } from '../error.js'
import { maker } from '../recipe.js'

/** Where a run is when a Fraction is asked. */
export interface FractionPoint {
  readonly step: number
  /** The step after which updates stop. */
  readonly lastStep: number
  /** The layer's density after this update, and the one at the end of the schedule. */
  readonly density: number
  readonly target: number
}

/**
 * The share of a layer's links, in [0, 1], that an update replaces. A function of your own must be given to
 * Trainer.load() again.
 */
export type Fraction = (point: FractionPoint) => number

/** zeta / 2 (1 + cos(pi step / lastStep)). */
export const cosineFraction = maker('cosine', (zeta: number): Fraction => {
  number(zeta, 'zeta', 0, 1)
  return ({ step, lastStep }) => (zeta / 2) * (1 + Math.cos((Math.PI * step) / lastStep))
})

/** The same share, in [0, 1], at every update. */
export const constantFraction = maker('constantFraction', (zeta: number): Fraction => {
  number(zeta, 'zeta', 0, 1)
  return () => zeta
})

/**
 * What exceeds the target density: with overshootDensity() a link that was grown has to prove itself until the next
 * update (MEST; Yuan et al. 2021).
 */
export const excessFraction = maker(
  'excess',
  (): Fraction =>
    ({ density, target }) =>
      Math.max(0, 1 - target / density),
)

/** When topology updates are, and how much each replaces. */
export interface UpdateSchedule {
  /** Steps between updates, or 'epoch'. */
  readonly every: number | 'epoch'
  /** Share of all steps after which updates stop. */
  readonly until: number
  readonly fraction: Fraction
}

/**
 * When topology updates are: every so many steps or every epoch (default), up to a share `until` of all steps (default
 * 0.75), each replacing a `fraction` of the links: a number in [0, 1], or a function such as cosineFraction(0.3).
 * Throws INVALID_ARGUMENT for what is out of range.
 */
export function updateSchedule(options: {
  every?: number | 'epoch'
  until?: number | undefined
  fraction: number | Fraction
}): UpdateSchedule {
  const {
    every = 'epoch',
    until = 0.75,
    fraction,
  } = known(options, 'updateSchedule()', { every: true, until: true, fraction: true })
  if (every !== 'epoch') integer(every, 'every', 1)
  number(until, 'until', 0, 1)
  expect(
    typeof fraction === 'function' || typeof fraction === 'number',
    () => `Expected fraction to be a number or a schedule such as cosineFraction(0.3), got ${show(fraction)}`,
  )
  return { every, until, fraction: typeof fraction === 'number' ? constantFraction(fraction) : fraction }
}
