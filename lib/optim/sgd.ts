import { number } from '../error.js'
import { type Parameter, SparseParameter } from '../nn/parameter.js'
import type { Program } from '../program.js'
import { maker } from '../recipe.js'
import { type Rate, rateOf } from './rates.js'

/** What a trainer asks of an optimizer. */
export interface Optimizer {
  readonly name: string
  /** What changes from step to step, one number of the program's table each. The first is the learning rate. */
  readonly rates: readonly Rate[]
  /** Makes its state for a parameter. */
  prepare(parameter: Parameter): void
  /** Records its step for a parameter; its rates begin at index `scalar` of the table. */
  record(program: Program, parameter: Parameter, scalar: number): void
}

export interface SgdOptions {
  learningRate: number | Rate
  /** Default 0. */
  momentum?: number
  /** Default 0. Applied to all parameters, biases included. */
  weightDecay?: number
}

/** Stochastic gradient descent with momentum and weight decay: g += decay w; m = momentum m + g; w -= rate m. */
export const sgd = maker('sgd', (options: SgdOptions): Optimizer => {
  const rate = rateOf(options.learningRate)
  const momentum = number(options.momentum ?? 0, 'momentum', 0, 1)
  const weightDecay = number(options.weightDecay ?? 0, 'weightDecay', 0)
  const velocity = (parameter: Parameter) => (momentum === 0 ? undefined : parameter.slot('velocity'))
  return {
    name: 'sgd',
    rates: [rate],
    prepare: (parameter) => void velocity(parameter),
    record: (program, parameter, scalar) =>
      program.record('sgd', {
        ...(parameter instanceof SparseParameter ? { pattern: parameter.matrix } : { count: parameter.capacity }),
        values: parameter.values,
        gradient: parameter.gradient,
        velocity: velocity(parameter),
        learningRate: scalar,
        momentum,
        weightDecay,
      }),
  }
})
