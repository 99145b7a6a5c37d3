import { density, expect, show } from '../error.js'
import type { Topology } from '../topology/topology.js'
import type { WeightInit } from './init.js'
import { Linear } from './linear.js'
import type { Module } from './module.js'
import { Relu } from './relu.js'
import { Sequential } from './sequential.js'
import { SparseLinear } from './sparse_linear.js'

export interface MlpOptions {
  /** Neurons a layer, input first, classes last. */
  widths: readonly number[]
  /** Share of the links in every sparse layer, in (0, 1]: the target of the method's density schedule. */
  density: number
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
  expect(Array.isArray(widths) && widths.length >= 2, () => `Expected widths to be at least an input and an output, got ${show(widths)}`)
  density(options.density)
  const modules: Module[] = []
  for (let i = 0; i + 1 < widths.length; ++i) {
    const shape = { inFeatures: widths[i] as number, outFeatures: widths[i + 1] as number }
    const last = i + 2 === widths.length
    modules.push(last && !sparseOutput ? new Linear(shape) : new SparseLinear({ ...shape, density: options.density, topology, weights }))
    if (!last) modules.push(new Relu())
  }
  return new Sequential(modules, { seed })
}
