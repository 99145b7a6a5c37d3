/** What several commands read from their flags, and how they print it. */
import { cifar10, emnist, fashionMnist, mnist, type TrainAndTest } from '../data/index.js'
import type { Method } from '../dst/method.js'
import { cht, chts, chtss, dense, gmp, granet, mest, rigl, set, staticSparse } from '../dst/methods.js'
import {
  type BuiltInRemove,
  magnitude,
  relativeImportance,
  softMagnitude,
  softRelativeImportance,
} from '../dst/remove.js'
import { HebbError, show } from '../error.js'
import type { Distribution } from '../nn/distribution.js'
import { adam } from '../optim/adam.js'
import type { Rate } from '../optim/rates.js'
import { type Optimizer, sgd } from '../optim/sgd.js'
import { type LinkPredictor, linkPredictors } from '../tensor.js'
import { brf } from '../topology/brf.js'
import { bsf } from '../topology/bsf.js'
import { bsw } from '../topology/bsw.js'
import { csti } from '../topology/csti.js'
import { erdosRenyi } from '../topology/erdos_renyi.js'
import type { Topology } from '../topology/topology.js'

export const datasets: Record<string, (directory?: string) => Promise<TrainAndTest>> = {
  mnist,
  'fashion-mnist': (directory) =>
    fashionMnist(
      given(
        directory,
        "Fashion-MNIST's four IDX files (Debian: dataset-fashion-mnist installs them in " +
          '/usr/share/datasets/fashion-mnist)',
      ),
    ),
  emnist: (directory) => emnist(given(directory, "EMNIST's files emnist-balanced-*-ubyte (NIST's gzip.zip has them)")),
  cifar10: (directory) =>
    cifar10(given(directory, "CIFAR-10's binary version: data_batch_1.bin to data_batch_5.bin and test_batch.bin")),
}

function given(directory: string | undefined, files: string): string {
  if (directory === undefined) throw new HebbError('INVALID_ARGUMENT', `Expected --data with the folder of ${files}`)
  return directory
}

/** Neurons of the hidden layers, where they are not the paper's 1568. */
export const hiddenWidths: Readonly<Record<string, string>> = { cifar10: '3072,3072,3072' }

export const methods: Record<string, (parts?: Partial<Method>) => Method> = {
  chts,
  chtss,
  cht,
  set,
  rigl,
  mest,
  gmp,
  granet,
  static: staticSparse,
  dense,
}

/** Given the data, which some begin with. */
export const topologies: Record<string, (data: TrainAndTest) => Topology> = {
  brf: () => brf(),
  'brf-uniform': () => brf({ degree: 'uniform' }),
  bsw: () => bsw(),
  bsf: () => bsf(),
  csti: ({ train }) => csti({ data: train }),
  'erdos-renyi': () => erdosRenyi(),
}

export const distributions: Record<string, Distribution> = { uniform: 'uniform', erk: 'erk' }

export const predictors: Record<string, LinkPredictor> = Object.fromEntries(linkPredictors.map((name) => [name, name]))

/** Rules by which links are removed, with their paper's temperatures. */
export const removals: Record<string, () => BuiltInRemove> = {
  magnitude,
  relative: relativeImportance,
  'soft-magnitude': softMagnitude,
  'soft-relative': softRelativeImportance,
}

/** Optimizers, and the first rate where none is given. */
export const optimizers: Record<string, { rate: number; create(learningRate: Rate): Optimizer }> = {
  sgd: { rate: 0.025, create: (learningRate) => sgd({ learningRate, momentum: 0.9, weightDecay: 5e-4 }) },
  adam: { rate: 0.001, create: (learningRate) => adam({ learningRate }) },
}

export function pick<T>(choices: Record<string, T>, name: string, flag: string): T {
  const found = Object.hasOwn(choices, name) ? choices[name] : undefined
  if (found === undefined)
    throw new HebbError(
      'INVALID_ARGUMENT',
      `Expected --${flag} to be one of ${Object.keys(choices).join(', ')}, got ${show(name)}`,
    )
  return found
}

export function numeric(text: string, flag: string): number {
  const value = Number(text)
  if (text.trim() === '' || !Number.isFinite(value))
    throw new HebbError('INVALID_ARGUMENT', `Expected --${flag} to be a number, got ${show(text)}`)
  return value
}

export const percent = (share: number, digits = 2) => `${(100 * share).toFixed(digits)}%`
export const count = (n: number) => Math.round(n).toLocaleString('en-US')
