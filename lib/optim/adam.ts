/** Adam and AdamW: the options, checked, and what state a parameter has. The arithmetic is in include/hebb/adam.h. */
import { expect, number, show } from '../error.js'
import { elementsOf, type Parameter } from '../nn/parameter.js'
import { maker } from '../recipe.js'
import { byGroups, type ClippingOptions, type Group, type Optimizer } from './optimizer.js'
import type { Rate } from './rates.js'

/** The numbers of Adam's step, of all parameters or of a group of them. */
export interface AdamNumbers {
  /** Default 0.001. */
  learningRate?: number | Rate
  /** Decay of the gradient's running mean. Default 0.9. */
  beta1?: number | undefined
  /** Decay of the running mean of its square. Default 0.999. */
  beta2?: number | undefined
  /** Added to the root of that mean. Default 1e-8. */
  epsilon?: number | undefined
  /** Default 0. Applied to all parameters of the group, biases included. */
  weightDecay?: number | undefined
  /**
   * Default false: decay is added to the gradient, as torch.optim.Adam does it. True: weights shrink by rate times
   * decay, as torch.optim.AdamW does it.
   */
  decoupled?: boolean | undefined
  /**
   * Steps over which the rate of a link rises in equal parts to the learning rate, from its own first step on: at the
   * beginning for all, later for those that are regrown. Default 0.
   */
  warmup?: number | undefined
  /**
   * What counts the steps t of the corrections and of the warm-up. 'link' (default): every link by itself, so that one
   * that is regrown begins as all began. 'parameter': one count for all links of a parameter, as torch.optim.Adam has
   * it, in 4 bytes a link less; a regrown link's first step is then up to (1 - beta1) / sqrt(1 - beta2) times the rate,
   * 3.2 times it by default.
   */
  stepsBy?: 'link' | 'parameter'
}

/** What adam() takes. What is out of range is refused with INVALID_ARGUMENT. */
export interface AdamOptions extends AdamNumbers, ClippingOptions {
  /** Numbers of their own for some of the parameters: [{ match: '*.bias', weightDecay: 0 }]. */
  groups?: readonly Group<AdamNumbers>[] | undefined
}

const NAMES = ['learningRate', 'beta1', 'beta2', 'epsilon', 'weightDecay', 'decoupled', 'warmup', 'stepsBy'] as const

/**
 * Adam (Kingma and Ba, 2015): m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2; w -= rate m' / (sqrt(v') +
 * epsilon), m' and v' being m and v over 1 - beta^t, t counted as `stepsBy` says.
 */
export const adam = maker('adam', ({ groups, clipNorm, ...numbers }: AdamOptions = {}): Optimizer => {
  const defaults = { ...numbers, learningRate: numbers.learningRate ?? 0.001 }
  return byGroups<AdamNumbers & { learningRate: number | Rate }>(
    'adam',
    NAMES,
    defaults,
    { groups, clipNorm },
    (options) => {
      const beta = (value: number, name: string) => {
        expect(
          typeof value === 'number' && value >= 0 && value < 1,
          () => `Expected ${name} to be a number of at least 0 and below 1, got ${show(value)}`,
        )
        return value
      }
      const beta1 = beta(options.beta1 ?? 0.9, 'beta1')
      const beta2 = beta(options.beta2 ?? 0.999, 'beta2')
      const epsilon = options.epsilon ?? 1e-8
      expect(
        Number.isFinite(epsilon) && Math.fround(epsilon) > 0,
        () => `Expected epsilon to be a number above 0, such as 1e-8, got ${show(epsilon)}`,
      )
      const weightDecay = number(options.weightDecay ?? 0, 'weightDecay', 0)
      const decoupled = options.decoupled ?? false
      expect(typeof decoupled === 'boolean', () => `Expected decoupled to be true or false, got ${show(decoupled)}`)
      const warmup = number(options.warmup ?? 0, 'warmup', 0, 2 ** 24)
      const stepsBy = options.stepsBy ?? 'link'
      expect(
        stepsBy === 'link' || stepsBy === 'parameter',
        () => `Expected stepsBy to be 'link' or 'parameter', got ${show(stepsBy)}`,
      )
      const sharedSteps = stepsBy === 'parameter'
      const state = (parameter: Parameter) => ({
        firstMoment: parameter.slot('firstMoment'),
        secondMoment: parameter.slot('secondMoment'),
        steps: sharedSteps ? parameter.scalar('steps') : parameter.slot('steps'),
      })
      return {
        prepare: (parameter) => void state(parameter),
        record: (program, parameter, operands) =>
          program.record('adam', {
            ...elementsOf(parameter),
            values: parameter.values,
            gradient: parameter.gradient,
            ...state(parameter),
            ...operands,
            ...{ beta1, beta2, epsilon, weightDecay, decoupled, warmup, sharedSteps },
          }),
      }
    },
  )
})
