/**
 * What a network is trained for: which loss it has, what is measured on samples that it was not trained on, and how
 * that is told. The command line, logs, comparisons and reports know of tasks what stands here.
 */

import type { Evaluation } from './inference.js'
import type { LossName } from './loss.js'

/** The number by which runs and epochs are compared. */
export interface Figure {
  /** In logs 'testAccuracy', 'bestTestAccuracy'; in tables of results 'accuracy', 'bestAccuracy'. */
  readonly name: 'accuracy' | 'meanSquaredError' | 'perplexity'
  /** For a person. */
  readonly title: string
  /** Follows the number for a person: '%' where that is a hundred times the figure. */
  readonly unit: '' | '%'
  readonly better: 'higher' | 'lower'
  /** The number for a person, without its unit. */
  text(value: number): string
}

export interface Task {
  readonly name: TaskName
  readonly loss: LossName
  readonly figure: Figure
  /** What the loss is a mean over, and what is counted as right: samples, of text whole sequences, or tokens. */
  readonly counts: 'samples' | 'tokens'
  /** What logs keep of an evaluation, the figure first. */
  measured(evaluation: Evaluation): { readonly [name in MeasureName]?: number }
}

export type FigureName = Figure['name']
/** What an evaluation may tell. */
export type MeasureName = FigureName | 'loss'

export type TaskName = 'classification' | 'regression' | 'translation' | 'lm'

export const tasks: Readonly<Record<TaskName, Task>> = {
  /** One of several classes for each sample, or for each sequence of a text, by softmax and cross-entropy. */
  classification: {
    name: 'classification',
    loss: 'crossEntropy',
    counts: 'samples',
    figure: {
      name: 'accuracy',
      title: 'accuracy',
      unit: '%',
      better: 'higher',
      text: (value) => (100 * value).toFixed(2),
    },
    measured: ({ accuracy, loss }) => ({ accuracy, loss }),
  },
  /** Numbers for each sample, by the mean squared error over samples and outputs, which is the loss itself. */
  regression: {
    name: 'regression',
    loss: 'meanSquaredError',
    counts: 'samples',
    figure: {
      name: 'meanSquaredError',
      title: 'mean squared error',
      unit: '',
      better: 'lower',
      text: (value) => value.toPrecision(4),
    },
    measured: ({ loss }) => ({ meanSquaredError: loss }),
  },
  /** The next token of a translation, given the source and those before it. */
  translation: {
    name: 'translation',
    loss: 'crossEntropy',
    counts: 'tokens',
    figure: {
      name: 'accuracy',
      title: 'token accuracy',
      unit: '%',
      better: 'higher',
      text: (value) => (100 * value).toFixed(2),
    },
    measured: ({ accuracy, loss }) => ({ accuracy, loss }),
  },
  /** The next token of a text, given those before it. */
  lm: {
    name: 'lm',
    loss: 'crossEntropy',
    counts: 'tokens',
    figure: {
      name: 'perplexity',
      title: 'perplexity',
      unit: '',
      better: 'lower',
      text: (value) => value.toFixed(2),
    },
    measured: ({ accuracy, loss }) => ({ perplexity: Math.exp(loss), accuracy, loss }),
  },
}

/** The task of a run. One that notes none classifies, as all did before there were others. */
export function taskOf({ task = 'classification' }: { readonly task?: TaskName } = {}): Task {
  return tasks[task]
}

/** A figure for a person, with its unit. */
export function told({ text, unit }: Figure, value: number): string {
  return `${text(value)}${unit}`
}

/** Whether a figure is better than another one. */
export function isBetter({ better }: Figure, value: number, than: number): boolean {
  return better === 'higher' ? value > than : value < than
}
