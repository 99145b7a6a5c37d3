import { maker } from '../recipe.js'
import { drawn, type Topology } from './topology.js'

/**
 * Bipartite scale-free network (arXiv 2501.19107, after Barabási and Albert 1999): neurons arrive one by one, each with
 * the same number of links, links / (rows + cols), to neurons of the other side, which are chosen with probability
 * proportional to their links. (The paper grows a network without sides and then moves the links within a side across;
 * growing with sides needs no repair.) Degrees follow a power law, of exponent 3 when the sides are equal.
 */
export const bsf = maker('bsf', (): Topology => drawn('bsf', () => ({ kind: 'bsf' })))
