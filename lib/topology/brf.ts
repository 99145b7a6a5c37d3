import { expect, known, number, show } from '../error.js'
import { maker } from '../recipe.js'
import { drawn, type Topology } from './topology.js'

/** What brf() takes. */
export interface BrfOptions {
  /** Randomness in [0, 1]: 0 links a neuron to the nearest ones of the other side, 1 to any. Default 0.25. */
  r?: number | undefined
  /**
   * 'fixed' (default): equal degrees on the smaller side, up to rounding. 'uniform': one link each, the rest thrown at
   * random.
   */
  degree?: 'fixed' | 'uniform' | undefined
}

/**
 * Bipartite receptive field network (paper, section 3.1): each neuron of the smaller side draws its links without
 * replacement with probability proportional to (1 + d)^(-(1-r)/r), d the ring distance on the larger side from its own
 * place.
 */
export const brf = maker('brf', (options: BrfOptions = {}): Topology => {
  const { r = 0.25, degree = 'fixed' } = known(options, 'brf()', { r: true, degree: true })
  number(r, 'r', 0, 1)
  expect(
    degree === 'fixed' || degree === 'uniform',
    () => `Expected degree to be 'fixed' or 'uniform', got ${show(degree)}`,
  )
  return drawn('brf', () => ({ kind: 'brf', r, uniformDegrees: degree === 'uniform' }))
})
