/**
 * SGD: the options, checked, and what state a parameter has, which is none without momentum. The arithmetic is native,
 * and mostly fused into the product that gives the gradient.
 */
import { number } from '../error.js'
import { elementsOf, type Parameter } from '../nn/parameter.js'
import { maker } from '../recipe.js'
import { byGroups, type ClippingOptions, type Group, type Optimizer } from './optimizer.js'
import type { Rate } from './rates.js'

/** The numbers of SGD's step, of all parameters or of a group of them. */
export interface SgdNumbers {
  learningRate: number | Rate
  /** Default 0. */
  momentum?: number | undefined
  /** Default 0. Applied to all parameters of the group, biases included. */
  weightDecay?: number | undefined
}

/** What sgd() takes. What is out of range is refused with INVALID_ARGUMENT. */
export interface SgdOptions extends SgdNumbers, ClippingOptions {
  /** Numbers of their own for some of the parameters: [{ match: '*.bias', weightDecay: 0 }]. */
  groups?: readonly Group<SgdNumbers>[] | undefined
}

/** Stochastic gradient descent with momentum and weight decay: g += decay w; m = momentum m + g; w -= rate m. */
export const sgd = maker('sgd', ({ groups, clipNorm, ...numbers }: SgdOptions): Optimizer => {
  return byGroups<SgdNumbers>(
    'sgd',
    ['learningRate', 'momentum', 'weightDecay'],
    numbers,
    { groups, clipNorm },
    (options) => {
      const momentum = number(options.momentum ?? 0, 'momentum', 0, 1)
      const weightDecay = number(options.weightDecay ?? 0, 'weightDecay', 0)
      const velocity = (parameter: Parameter) => (momentum === 0 ? undefined : parameter.slot('velocity'))
      return {
        prepare: (parameter) => void velocity(parameter),
        record: (program, parameter, operands) =>
          program.record('sgd', {
            ...elementsOf(parameter),
            values: parameter.values,
            gradient: parameter.gradient,
            velocity: velocity(parameter),
            ...operands,
            momentum,
            weightDecay,
          }),
      }
    },
  )
})
