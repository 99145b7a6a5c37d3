import { maker } from '../recipe.js'
import { drawn, type Topology } from './topology.js'

/** Links anywhere, all sets of the given size alike. */
export const erdosRenyi = maker('erdosRenyi', (): Topology => drawn('erdos-renyi', () => ({ kind: 'erdosRenyi' })))
