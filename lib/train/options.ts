/** What users say to a trainer, and what it reports. */
import type { Dataset } from '../data/dataset.js'
import type { DataFormat } from '../data/format.js'
import type { DeviceChoice } from '../device.js'
import type { Method } from '../dst/method.js'
import type { Sequential } from '../nn/sequential.js'
import type { Optimizer } from '../optim/optimizer.js'
import type { Tensor } from '../tensor.js'
import type { TextDataset } from '../text/dataset.js'
import type { CallbackOrFunction } from './callbacks.js'
import type { Evaluation, RunOptions } from './inference.js'
import type { Loss } from './loss.js'
import type { TopologyMeasures } from './measures.js'

/**
 * Gradients of all parameters that are trained, by the names that parameters have in a checkpoint: 'modules.0.weights'.
 * Those of a sparse layer are in the order of its links by column, [capacity]: what lies behind the links belongs to
 * none. With micro-batches, of the whole batch; before they are clipped, and times the trainer's lossScale.
 */
export type NamedGradients = ReadonlyMap<string, Tensor>

/** What a Trainer is made with. What does not fit, or is nobody's option, is refused with INVALID_ARGUMENT. */
export interface TrainerOptions {
  optimizer: Optimizer
  /** The method of dynamic sparse training; default staticSparse(). */
  dst?: Method | undefined
  /**
   * Default: by the data, 'crossEntropy' for labels and 'meanSquaredError' for targets. Labels are smoothed by
   * crossEntropy({ labelSmoothing: 0.1 }).
   */
  loss?: Loss | undefined
  /**
   * A power of two that all gradients of a step are multiplied by, and divided by again as the optimizer takes them, so
   * that small ones are not lost where they are kept in few bits. Steps have the same bits with any, as long as no
   * gradient is too large or too small for its format. Default 1; another one costs SGD the fusion of its step with the
   * gradients.
   */
  lossScale?: number | undefined
  /** A device, or how to open one. Default 'auto'. */
  device?: DeviceChoice | undefined
  /**
   * Default true: the links that were ever active are kept for the ITOP rate, as a list of 8 bytes each or, where that
   * is smaller, as one bit for each possible link. Without it `itop` is NaN.
   */
  trackHistory?: boolean | undefined
  /**
   * Called in each step when its gradients are there and before the optimizer takes them, to look at them or to change
   * them, as an all-reduce over processes does. The step waits for it, and the trainer takes no other call meanwhile.
   * What it throws is thrown by the call that trains; the step has then not happened. It costs SGD the fusion of its
   * step with the gradients. The gradients by which rigl, granet and mest choose links are not among them: processes
   * that share gradients alone would come to have other links.
   */
  onGradients?: ((gradients: NamedGradients, at: { readonly step: number }) => unknown) | undefined
  /**
   * How raw inputs become what the network sees, and names of classes: a data set's `format`. It is saved with the
   * model, for predict(). fit() takes that of what it trains on; needed by those who train with trainOn() alone.
   */
  format?: DataFormat | undefined
}

/**
 * What of a checkpoint is to be replaced: parts that a file cannot hold (functions of your own) must be, others may.
 */
export interface TrainerLoadOptions extends Partial<TrainerOptions> {
  model?: Sequential | undefined
}

/** Checkpoints of a run, without the loop's doing. */
export interface CheckpointOptions {
  /**
   * Replaced as a whole, or not at all. Its folder must be there when the run begins. One with another run that is not
   * finished is refused with CANNOT_WRITE.
   */
  file: string
  /** Let the file lose a run that is not finished. Default false. */
  overwrite?: boolean | undefined
  /**
   * Where the best state so far goes, by validation (accuracy where there are labels, else loss), once the links are as
   * few as they are to be.
   */
  best?: string | undefined
  /** Epochs between checkpoints; default 1, or none when everySteps is given. The last epoch is always saved. */
  everyEpochs?: number | undefined
  /** Steps between checkpoints. */
  everySteps?: number | undefined
  /** Kept with each. */
  notes?: Readonly<Record<string, string>> | undefined
  /** Called when one could not be written; training goes on. Default: a process warning. */
  onError?: ((error: Error) => void) | undefined
}

/** What resume() takes, and fit() too. */
export interface ResumeOptions {
  /** Evaluated after every epoch, or interval. A run that goes on with another one warns of it. */
  validation?: Dataset | TextDataset | undefined
  /**
   * Stops within a step, an update or the drawing of the first links, and leaves whole steps and updates; the loop then
   * throws ABORTED. What was trained stays, and resume() goes on from there.
   */
  signal?: AbortSignal | undefined
  /** Called at most every 50 ms while an epoch runs. */
  onProgress?: ((progress: Progress) => void) | undefined
  /** Default of resume(): file, best and how often, as the run has it; false: none. */
  checkpoint?: CheckpointOptions | false | undefined
  /**
   * What is done after each epoch, in their order: earlyStopping(), keepBest(), functions of your own. Default of
   * resume(): those of the run; functions of your own that were in a file must be given again.
   */
  callbacks?: readonly CallbackOrFunction[] | undefined
}

/** What fit() takes: how long, in what parts, and what is done beside it. */
export interface FitOptions extends ResumeOptions {
  /** Passes over samples. Of text, say `steps`. */
  epochs?: number | undefined
  /** Of text, in place of epochs: the steps of the run. */
  steps?: number | undefined
  /** Of text: steps between two reports, which are what an epoch's are elsewhere. Default 500. */
  interval?: number | undefined
  /**
   * Samples a step. Default 32, or all where there are fewer. The last batch of an epoch may be smaller. Of text:
   * tokens a step, as tokenBatches() counts them. Default 1024.
   */
  batchSize?: number | undefined
  /**
   * Of text: fill batches with so many true tokens, in a random order of sentences, in place of counting padding that
   * is not computed. Default false, as papers count; of text made by languageText(), true.
   */
  packed?: boolean | undefined
  /**
   * Samples computed at a time, a multiple of 16: the gradients of a batch's parts are added up before its step
   * (gradient accumulation), so that activations take the memory of a part. The step is that of the whole batch, but
   * for the order of summation. Methods that grow by gradients (rigl, granet, mest) compute the whole batch at once
   * before an update. Default: the whole batch.
   */
  microBatchSize?: number | undefined
}

/** What trainOn() takes. */
export interface TrainOnOptions extends RunOptions {
  /** Samples computed at a time, as FitOptions has it. */
  microBatchSize?: number | undefined
}

/** Where a run is, as onProgress is told. */
export interface Progress {
  /** From 1. */
  readonly epoch: number
  readonly epochs: number
  /** Steps done in this epoch. */
  readonly step: number
  readonly stepsPerEpoch: number
}

/**
 * What fit() reports after each epoch, or interval of text. Times are seconds, losses and accuracies means, accuracies
 * in [0, 1].
 */
export interface Epoch extends TopologyMeasures {
  /** From 1. */
  readonly epoch: number
  /** Mean over the epoch's samples, as they were trained on. */
  readonly trainLoss: number
  readonly trainAccuracy: number
  /** What these are means over: samples, by their weights; of text, lines, or the target's tokens. */
  readonly counted: number
  /** Of text: lines, or pairs, that are in no batch, as they are longer than one, or than what the model takes. */
  readonly dropped?: number
  /** On `validation`, with the weights and links at the end of the epoch. */
  readonly validation?: Evaluation
  /** Time of the epoch's steps, gathering included, updates and evaluation not. */
  readonly seconds: number
  /** Time of the topology updates before and between the epoch's steps. */
  readonly updateSeconds: number
  /** Of the epoch's last step. */
  readonly learningRate: number
  /** Of all gradients together in the epoch's last step, before they were clipped; with the optimizer's clipNorm. */
  readonly gradientNorm?: number
}

/** A batch of your own, for trainOn(). */
export interface Batch {
  /** [samples][features], as the network sees it (already normalised). */
  x: Float32Array
  /** Labels, or for regression a Float32Array of [samples][outputs]. */
  y: ArrayLike<number>
  /** How much each sample counts, as DatasetOptions has it. */
  weights?: ArrayLike<number> | undefined
  /** The label of samples that do not count, as DatasetOptions has it. */
  ignore?: number | undefined
}
