/** Density schedules: the share of links after each topology update. */
import { density, integer, known, number } from '../error.js'
import { maker } from '../recipe.js'

export interface DensityScheduleOptions {
  /** Density before the first update. Default 0.5. */
  initialDensity?: number | undefined
  finalDensity: number
  /** Updates after which the final density is reached, exactly. */
  updates: number
}

/** The density after `c` updates. */
export type DensitySchedule = (c: number) => number

function checked(
  options: DensityScheduleOptions & { steepness?: number | undefined },
): Required<DensityScheduleOptions> {
  const names = { initialDensity: true, finalDensity: true, updates: true, steepness: true } as const
  const { initialDensity = 0.5, finalDensity, updates } = known(options, 'densitySchedule', names)
  density(initialDensity, 'initialDensity')
  density(finalDensity, 'finalDensity')
  integer(updates, 'updates', 0)
  return { initialDensity, finalDensity, updates }
}

function between(
  { initialDensity, finalDensity, updates }: Required<DensityScheduleOptions>,
  share: (c: number) => number,
): DensitySchedule {
  // Written over the sparsity, as the sources have it.
  const initial = 1 - initialDensity
  const final = 1 - finalDensity
  return (c) => {
    number(c, 'c', 0)
    if (c >= updates) return finalDensity
    if (c === 0) return initialDensity
    return 1 - (initial + (final - initial) * share(c))
  }
}

/** Densities as functions of the number of updates done, from 0: what density rules are made of. */
export const densitySchedule = {
  /** The same density throughout. */
  constant(options: { density: number }): DensitySchedule {
    const share = density(known(options, 'densitySchedule.constant()', { density: true }).density)
    return () => share
  },

  /**
   * Sigmoid decay (CHTss; paper, section 3.4): x(c) = 1 / (1 + exp(-k (2c/n - 1))), normalised so that it begins and
   * ends exactly.
   */
  sigmoid(options: DensityScheduleOptions & { steepness?: number | undefined }): DensitySchedule {
    const k = number(options.steepness ?? 6, 'steepness', 0)
    const all = checked(options)
    const x = (c: number) => 1 / (1 + Math.exp(-k * ((2 * c) / all.updates - 1)))
    // Without steepness the curve has no height; its limit is a line.
    return between(all, (c) => (k === 0 ? c / all.updates : (x(c) - x(0)) / (x(all.updates) - x(0))))
  },

  /** Cubic decay (GMP, Zhu and Gupta 2017; GraNet): s = sf + (si - sf)(1 - c/n)^3. */
  cubic(options: DensityScheduleOptions): DensitySchedule {
    const all = checked(options)
    return between(all, (c) => 1 - (1 - c / all.updates) ** 3)
  },
}

/** A method's choice of schedule; the model gives the target and the training run the number of updates. */
export interface DensityRule {
  readonly name: string
  /** Density of the first network, for a target density, whatever the number of updates. */
  initial(target: number): number
  /** The highest density that there will be. */
  most(target: number): number
  schedule(options: { target: number; updates: number }): DensitySchedule
}

/** The target density from the first step to the last. */
export const constantDensity = maker(
  'constantDensity',
  (): DensityRule => ({
    name: 'constant',
    initial: (target) => target,
    most: (target) => target,
    schedule: ({ target }) => densitySchedule.constant({ density: target }),
  }),
)

/** What sigmoidDensity() and cubicDensity() take. Densities and shares are in (0, 1]. */
export interface DecayOptions {
  /** Density at the start, where the target is lower. Default 0.5. */
  initialDensity?: number | undefined
  /** Share of the updates that the decay takes. */
  over?: number | undefined
}

/** What a decay to the target begins with. */
function decayFrom(initialDensity: number, over: number): Pick<DensityRule, 'initial' | 'most'> {
  density(initialDensity, 'initialDensity')
  number(over, 'over', 0, 1)
  const initial = (target: number) => (over > 0 ? Math.max(target, initialDensity) : target)
  return { initial, most: initial }
}

/**
 * Sigmoid decay to the target over a share of the updates, by default half (so that its training costs what cubic decay
 * over all of them does).
 */
export const sigmoidDensity = maker(
  'sigmoidDensity',
  (options: DecayOptions & { steepness?: number | undefined } = {}): DensityRule => {
    const names = { initialDensity: true, over: true, steepness: true } as const
    const { initialDensity = 0.5, over = 0.5, steepness = 6 } = known(options, 'sigmoidDensity()', names)
    return {
      name: 'sigmoid',
      ...decayFrom(initialDensity, over),
      schedule: ({ target, updates }) =>
        densitySchedule.sigmoid({
          initialDensity: Math.max(target, initialDensity),
          finalDensity: target,
          steepness,
          updates: Math.floor(over * updates),
        }),
    }
  },
)

/** Cubic decay to the target, by default over all updates. */
export const cubicDensity = maker('cubicDensity', (options: DecayOptions = {}): DensityRule => {
  const { initialDensity = 0.5, over = 1 } = known(options, 'cubicDensity()', { initialDensity: true, over: true })
  return {
    name: 'cubic',
    ...decayFrom(initialDensity, over),
    schedule: ({ target, updates }) =>
      densitySchedule.cubic({
        initialDensity: Math.max(target, initialDensity),
        finalDensity: target,
        updates: Math.floor(over * updates),
      }),
  }
})

/** What overshootDensity() takes. */
export interface OvershootOptions {
  /**
   * Density beyond the target, each up to a share of the updates. Default: 5% of all possible links up to 0.6 of the
   * updates, then 2.5%.
   */
  by?: readonly { readonly density: number; readonly until: number }[] | undefined
}

/**
 * The target and a little more, in steps, and the target alone after the last update (elastic mutation with shrinking,
 * MEST; Yuan et al. 2021).
 */
export const overshootDensity = maker('overshootDensity', (options: OvershootOptions = {}): DensityRule => {
  const {
    by = [
      { density: 0.05, until: 0.6 },
      { density: 0.025, until: 1 },
    ],
  } = known(options, 'overshootDensity()', { by: true })
  for (const [i, { density: more, until }] of by.entries()) {
    number(more, `by[${i}].density`, 0, 1)
    number(until, `by[${i}].until`, by[i - 1]?.until ?? 0, 1)
  }
  const beyond = (target: number, more = 0) => Math.min(1, density(target, 'target') + more)
  return {
    name: 'overshoot',
    initial: (target) => beyond(target, by.find(({ until }) => until > 0)?.density),
    most: (target) => beyond(target, Math.max(0, ...by.filter(({ until }) => until > 0).map(({ density }) => density))),
    schedule({ target, updates }) {
      density(target, 'target')
      integer(updates, 'updates', 0)
      return (c) => {
        number(c, 'c', 0)
        const step = c >= updates ? undefined : by.find(({ until }) => c < until * updates)
        return Math.min(1, target + (step?.density ?? 0))
      }
    },
  }
})
