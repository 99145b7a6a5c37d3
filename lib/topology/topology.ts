import { expect, show } from '../error.js'
import type { Links } from '../native.js'

/** How a sparse layer's first links are drawn. Exactly `links` of them, no duplicates, the same for the same seed and layer. */
export interface Topology {
  readonly name: string
  generate(layer: { rows: number; cols: number; links: number; seed: number; layer: number }): Links
}

export function checkTopology(topology: Topology): Topology {
  expect(typeof topology?.generate === 'function', () => `Expected topology to be brf(), erdosRenyi() or an object with generate(layer), got ${show(topology)}`)
  return topology
}
