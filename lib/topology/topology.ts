import { expect, show } from '../error.js'
import { addon, type Links, type NativeNetwork } from '../native.js'
import type { SparseMatrix } from '../tensor.js'

/** A layer whose first links are drawn. */
export interface LayerStart {
  readonly rows: number
  readonly cols: number
  readonly links: number
  readonly seed: number
  readonly layer: number
}

/**
 * How a sparse layer's first links are drawn. Exactly `links` of them, no duplicates, the same for the same seed and
 * layer.
 */
export interface Topology {
  readonly name: string
  generate(layer: LayerStart): Links
  /**
   * @internal Gives the matrix the links of generate(), on the device's thread: the links of a large layer take seconds
   * to draw.
   */
  fill?(matrix: SparseMatrix, layer: LayerStart): Promise<void>
}

/** A topology that the addon draws: `networkOf` gives it, with what the layer must be like checked. */
export function drawn(name: string, networkOf: (start: LayerStart) => NativeNetwork): Topology {
  return {
    name,
    generate: (start) => addon.drawLinks(networkOf(start), start),
    fill: (matrix, start) => matrix.native.draw(networkOf(start), start),
  }
}

export function checkTopology(topology: Topology): Topology {
  expect(
    typeof topology?.generate === 'function',
    () =>
      'Expected topology to be brf(), bsw(), bsf(), csti({ data }), erdosRenyi() or an object with ' +
      `generate(layer), got ${show(topology)}`,
  )
  return topology
}
