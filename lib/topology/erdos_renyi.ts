import { addon } from '../native.js'
import { maker } from '../recipe.js'
import type { Topology } from './topology.js'

/** Links anywhere, all sets of the given size alike. */
export const erdosRenyi = maker(
  'erdosRenyi',
  (): Topology => ({
    name: 'erdos-renyi',
    generate: ({ rows, cols, links, seed, layer }) => addon.erdosRenyi(rows, cols, links, seed, layer),
    fill: (matrix, { links, seed, layer }) => matrix.native.erdosRenyi(links, seed, layer),
  }),
)
