/** What training makes small: losses by name, and those of your own. */
import type { Tape, Value } from '../autograd.js'
import { expect, integer, known, show } from '../error.js'
import { maker } from '../recipe.js'
import type { Activations, Tensor } from '../tensor.js'

/**
 * What a loss divides by, and where it adds up what logs tell. Operations of losses take them as operands; tensors of
 * columns are the whole batch's.
 */
export interface LossSums {
  readonly totals: Tensor<'float64'>
  /** What the sums were when the step began. */
  readonly previous: Tensor<'float64'> | undefined
  /** How much each column counts, where not all count once. */
  readonly weights: Tensor<'float32'> | undefined
  /** What the mean divides by, where it is not the number of columns. */
  readonly count: Tensor<'float64'> | undefined
  /** The label whose columns do not count, for losses with labels. */
  readonly ignore?: number
  /** What the gradient that the loss writes is multiplied by; the optimizer divides by it. */
  readonly lossScale: number
}

interface LossOf<Targets extends string, Target> {
  /** What data sets must have: class numbers ('labels'), or a number for each output ('values'). */
  readonly targets: Targets
  /**
   * Records the loss of the network's output: operations such as layers make, and then one that adds to the sums and
   * writes the gradient of what it is given, `tape.gradient(value)?.gradient`.
   */
  record(tape: Tape, output: Value, target: Target, sums: LossSums): void
}

/** `target`: class numbers [columns of the whole batch]. */
export type LabelLoss = LossOf<'labels', Tensor<'int32'>>
/** `target`: [outputs][columns]. */
export type ValueLoss = LossOf<'values', Activations>
/** A loss that is recorded on the tape: of class numbers, or of values. */
export type LossFunction = LabelLoss | ValueLoss

/** What crossEntropy() takes. */
export interface CrossEntropyOptions {
  /**
   * The share of a target's probability that is spread over the other classes (label smoothing, Szegedy et al., 2016),
   * in [0, 1). Default 0. Where there are K classes, 0.1 is what torch, which spreads over the target too, calls 0.1 K
   * / (K - 1).
   */
  labelSmoothing?: number | undefined
  /** A class that gets nothing of it, such as the word that fills sentences up. Default: none. */
  paddingClass?: number | undefined
}

/**
 * Softmax and cross-entropy, the mean over the samples of the batch that count. With smoothed labels it is the
 * cross-entropy with them, in evaluation, too; the divergence from them is less by their entropy, a constant.
 */
export const crossEntropy = maker('crossEntropy', (options: CrossEntropyOptions = {}): LabelLoss => {
  const names = { labelSmoothing: true, paddingClass: true } as const
  const { labelSmoothing = 0, paddingClass } = known(options, 'crossEntropy()', names)
  expect(
    typeof labelSmoothing === 'number' && labelSmoothing >= 0 && labelSmoothing < 1,
    () => `Expected labelSmoothing to be a number of at least 0 and below 1, got ${show(labelSmoothing)}`,
  )
  if (paddingClass !== undefined) integer(paddingClass, 'paddingClass', 0)
  return {
    targets: 'labels',
    record: (tape, output, targets, sums) =>
      tape.record('softmaxCrossEntropy', {
        ...{ logits: output.activations, targets, labelSmoothing, paddingClass },
        ...{ gradient: tape.gradient(output)?.gradient, ...sums },
      }),
  }
})

const losses = {
  crossEntropy: crossEntropy(),
  /** The mean over outputs and the samples of the batch that count. */
  meanSquaredError: {
    targets: 'values',
    record: (tape, output, target, sums) =>
      tape.record('meanSquaredError', {
        ...{ output: output.activations, target },
        ...{ gradient: tape.gradient(output)?.gradient, ...sums },
      }),
  } satisfies ValueLoss as ValueLoss,
}

/**
 * The built-in losses: 'crossEntropy' of labels (softmax and negative log-likelihood, natural logarithm),
 * 'meanSquaredError' of targets.
 */
export type LossName = keyof typeof losses
/** A loss by its name, one made by crossEntropy(), or one of your own. */
export type Loss = LossName | LossFunction

export function isLossName(loss: unknown): loss is LossName {
  return typeof loss === 'string' && Object.hasOwn(losses, loss)
}

export function lossFunction(loss: Loss): LossFunction {
  return isLossName(loss) ? losses[loss] : loss
}

export function checkLoss(loss: unknown): Loss {
  const own = loss as LossFunction
  expect(
    isLossName(loss) || ((own?.targets === 'labels' || own?.targets === 'values') && typeof own.record === 'function'),
    () =>
      `Expected loss to be '${Object.keys(losses).join("', '")}', crossEntropy({ ... }) or one of your own, ` +
      "{ targets: 'labels' | 'values', record(tape, output, target, sums) }, " +
      `got ${show(loss)}`,
  )
  return own
}
