import { expect, integer, show } from '../error.js'
import type { Topology } from '../topology/topology.js'
import { Relu } from './activations.js'
import { type Distribution, layerDensities } from './distribution.js'
import type { WeightInit } from './init.js'
import { Linear } from './linear.js'
import type { Module } from './module.js'
import { Sequential } from './sequential.js'
import { SparseLinear } from './sparse_linear.js'

export interface MlpOptions {
  /** Neurons a layer, input first, classes last. */
  widths: readonly number[]
  /** Share of the links in the sparse layers, in (0, 1]: the target of the method's density schedule. */
  density: number
  /**
   * How the links are shared out: 'uniform' (default), every layer has that density, or 'erk' (Evci et al. 2020), all
   * together have it and smaller layers are denser.
   */
  distribution?: Distribution
  /** Seed of the initial network and of everything random in its training. Default 0. */
  seed?: number
  /** Default: the method's. */
  topology?: Topology
  /** Default: the method's. */
  weights?: WeightInit
  /** Make the last layer sparse too; it is dense by default, as in the paper. */
  sparseOutput?: boolean
}

/** A multi-layer perceptron with ReLU between its layers: sparse ones, and a dense last one (paper, section 4.1). */
export function mlp(options: MlpOptions): Sequential {
  const { widths, topology, weights, seed = 0, sparseOutput = false } = options
  expect(
    Array.isArray(widths) && widths.length >= 2,
    () => `Expected widths to be at least an input and an output, got ${show(widths)}`,
  )
  const shapes = widths
    .slice(1)
    .map((width, i) => ({ inFeatures: integer(widths[i], 'a width', 1), outFeatures: integer(width, 'a width', 1) }))
  const densities = layerDensities(sparseOutput ? shapes : shapes.slice(0, -1), options.density, options.distribution)
  const modules: Module[] = []
  for (const [i, shape] of shapes.entries()) {
    const density = densities[i]
    modules.push(density === undefined ? new Linear(shape) : new SparseLinear({ ...shape, density, topology, weights }))
    if (i + 1 < shapes.length) modules.push(new Relu())
  }
  return new Sequential(modules, { seed })
}
