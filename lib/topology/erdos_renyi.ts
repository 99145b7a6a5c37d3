import { addon } from '../native.js'
import type { Topology } from './topology.js'

/** Links anywhere, all sets of the given size alike. */
export function erdosRenyi(): Topology {
  return { name: 'erdos-renyi', generate: ({ rows, cols, links, seed, layer }) => addon.erdosRenyi(rows, cols, links, seed, layer) }
}
