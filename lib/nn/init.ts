/** Initial weights: a distribution around 0 and its standard deviation, by layer. */
import { expect, number, show } from '../error.js'
import type { Program } from '../program.js'
import { maker } from '../recipe.js'
import { type DenseParameter, SparseParameter } from './parameter.js'

/** How a layer's weights are drawn: independently, with mean 0. swi(), kaiming(), xavier() and normal() make them. */
export interface WeightInit {
  readonly name: string
  /** Default 'normal'. */
  readonly distribution?: 'normal' | 'uniform' | undefined
  /** Standard deviation for a layer with `fanIn` inputs of which a share of `density` is linked. */
  deviation(layer: { fanIn: number; fanOut: number; density: number }): number
}

/**
 * Sparse weight initialisation: sqrt(2 / (density * fanIn)), so that a neuron's few links carry what many would (CHT,
 * ICLR 2024).
 */
export const swi = maker(
  'swi',
  (): WeightInit => ({ name: 'swi', deviation: ({ fanIn, density }) => Math.sqrt(2 / (density * fanIn)) }),
)

/** Kaiming (He et al. 2015): sqrt(2 / fanIn), whatever the density. */
export const kaiming = maker(
  'kaiming',
  (): WeightInit => ({ name: 'kaiming', deviation: ({ fanIn }) => Math.sqrt(2 / fanIn) }),
)

/**
 * Xavier (Glorot and Bengio 2010): uniform in +-sqrt(6 / (fanIn + fanOut)), whatever the density. What Transformers
 * begin with.
 */
export const xavier = maker(
  'xavier',
  (): WeightInit => ({
    name: 'xavier',
    distribution: 'uniform',
    deviation: ({ fanIn, fanOut }) => Math.sqrt(2 / (fanIn + fanOut)),
  }),
)

/** The same normal distribution for all layers: what language models begin with, at 0.02. */
export const normal = maker('normal', (deviation: number): WeightInit => {
  number(deviation, 'deviation', 0)
  return { name: 'normal', deviation: () => deviation }
})

/** Records what draws a parameter's weights, each at its row and column. */
export function drawWeights(
  program: Program,
  parameter: DenseParameter | SparseParameter,
  init: WeightInit,
  { density = 1, ...place }: { density?: number | undefined; seed: number; layer: number },
): void {
  const { rows, cols } = parameter instanceof SparseParameter ? parameter.matrix : parameter
  const deviation = init.deviation({ fanIn: cols, fanOut: rows, density })
  program.record(init.distribution === 'uniform' ? 'initializeUniform' : 'initializeNormal', {
    ...(parameter instanceof SparseParameter ? { pattern: parameter.matrix } : { rows, cols }),
    ...{ values: parameter.values, deviation, ...place },
  })
}

export function checkWeightInit(init: WeightInit): WeightInit {
  expect(
    typeof init?.deviation === 'function' && [undefined, 'normal', 'uniform'].includes(init.distribution),
    () => `Expected weights to be swi(), kaiming(), xavier() or an object with deviation(layer), got ${show(init)}`,
  )
  return init
}
