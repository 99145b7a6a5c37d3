/**
 * The network of the paper's experiments, made from its widths. Until a trainer materialises it, it has neither links
 * nor weights.
 */
import { density, expect, integer, known, show } from '../error.js'
import { numbersByName } from '../patterns.js'
import type { Topology } from '../topology/topology.js'
import { Relu } from './activations.js'
import { type Distribution, type LayerShape, layerDensities } from './distribution.js'
import type { WeightInit } from './init.js'
import { Linear } from './linear.js'
import type { Module } from './module.js'
import { Sequential } from './sequential.js'
import { SparseLinear } from './sparse_linear.js'

/** What mlp() takes. Numbers are checked when it is called: INVALID_ARGUMENT. */
export interface MlpOptions {
  /** Neurons a layer, input first, classes last. */
  widths: readonly number[]
  /** Share of the links in the sparse layers, in (0, 1]: the target of the method's density schedule. */
  density: number
  /**
   * How the links are shared out: 'uniform' (default), every layer has that density, or 'erk' (Evci et al. 2020), all
   * together have it and smaller layers are denser.
   */
  distribution?: Distribution | undefined
  /**
   * Densities of their own for some of the sparse layers, by their names or patterns of these, in which * stands for
   * any characters: { 'modules.0': 0.1 }. A layer has that of the first pattern that matches; `density` and
   * `distribution` are those of the others.
   */
  densities?: Readonly<Record<string, number>> | undefined
  /** Seed of the initial network and of everything random in its training. Default 0. */
  seed?: number | undefined
  /** Default: the method's. */
  topology?: Topology | undefined
  /** Default: the method's. */
  weights?: WeightInit | undefined
  /** Make the last layer sparse too; it is dense by default, as in the paper. */
  sparseOutput?: boolean | undefined
}

/** The densities of sparse layers: their own, and those of the others as they are shared out. */
function densitiesOf(
  shapes: readonly LayerShape[],
  { density: share, distribution, densities: given = {} }: MlpOptions,
): Map<LayerShape, number> {
  expect(
    typeof given === 'object' && given !== null && !Array.isArray(given),
    () => `Expected densities to be numbers by the names of layers such as { 'modules.0': 0.1 }, got ${show(given)}`,
  )
  for (const [pattern, value] of Object.entries(given)) density(value, `the density of '${pattern}'`)
  const names = shapes.map((_, i) => `modules.${2 * i}`) // an activation is between two layers
  const own = numbersByName(names, given)
  const rest = shapes.filter((_, i) => !own.has(names[i] as string))
  const shared = layerDensities(rest, share, distribution)
  return new Map([
    ...shapes.flatMap((shape, i) => {
      const value = own.get(names[i] as string)
      return value === undefined ? [] : [[shape, value] as const]
    }),
    ...rest.map((shape, i) => [shape, shared[i] as number] as const),
  ])
}

/** A multi-layer perceptron with ReLU between its layers: sparse ones, and a dense last one (paper, section 4.1). */
export function mlp(options: MlpOptions): Sequential {
  const names = {
    widths: true,
    density: true,
    distribution: true,
    densities: true,
    seed: true,
    topology: true,
    weights: true,
    sparseOutput: true,
  } as const
  const { widths, topology, weights, seed = 0, sparseOutput = false } = known(options, 'mlp()', names)
  expect(
    Array.isArray(widths) && widths.length >= 2,
    () => `Expected widths to be at least an input and an output, got ${show(widths)}`,
  )
  const shapes = widths
    .slice(1)
    .map((width, i) => ({ inFeatures: integer(widths[i], 'a width', 1), outFeatures: integer(width, 'a width', 1) }))
  const densities = densitiesOf(sparseOutput ? shapes : shapes.slice(0, -1), options)
  const modules: Module[] = []
  for (const [i, shape] of shapes.entries()) {
    const density = densities.get(shape)
    modules.push(density === undefined ? new Linear(shape) : new SparseLinear({ ...shape, density, topology, weights }))
    if (i + 1 < shapes.length) modules.push(new Relu())
  }
  return new Sequential(modules, { seed })
}
