/** Initial weights: the standard deviation of a normal distribution around 0, by layer. */
import { expect, show } from '../error.js'
import { maker } from '../recipe.js'

export interface WeightInit {
  readonly name: string
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

export function checkWeightInit(init: WeightInit): WeightInit {
  expect(
    typeof init?.deviation === 'function',
    () => `Expected weights to be swi(), kaiming() or an object with deviation(layer), got ${show(init)}`,
  )
  return init
}
