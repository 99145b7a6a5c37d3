import { known, number } from '../error.js'
import { maker } from '../recipe.js'
import { drawn, type Topology } from './topology.js'

/** What bsw() takes. */
export interface BswOptions {
  /**
   * Probability in [0, 1] that a link of the ring lattice is rewired: 0 the lattice, 1 links anywhere (Erdős-Rényi).
   * Default 0.25.
   */
  beta?: number | undefined
}

/**
 * Bipartite small world (arXiv 2501.19107, after Watts and Strogatz 1998): each neuron of the smaller side is linked to
 * the nearest ones of the larger side, and each link is rewired with probability beta to any place that has none.
 */
export const bsw = maker('bsw', (options: BswOptions = {}): Topology => {
  const beta = number(known(options, 'bsw()', { beta: true }).beta ?? 0.25, 'beta', 0, 1)
  return drawn('bsw', () => ({ kind: 'bsw', beta }))
})
