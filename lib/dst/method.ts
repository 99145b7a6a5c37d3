import { expect, number, show } from '../error.js'
import { checkWeightInit, kaiming, type WeightInit } from '../nn/init.js'
import { linkPredictors } from '../tensor.js'
import { erdosRenyi } from '../topology/erdos_renyi.js'
import { checkTopology, type Topology } from '../topology/topology.js'
import { constantDensity, type DensityRule } from './density.js'
import { type UpdateSchedule, updateSchedule } from './fraction.js'
import type { BuiltInRegrow, RegrowRule } from './regrow.js'
import { type BuiltInRemove, magnitude, type RemoveRule } from './remove.js'

/** A method of dynamic sparse training: four orthogonal values, and how the network begins. */
export interface Method {
  readonly name: string
  readonly density: DensityRule
  /** How links are pruned to a falling density, before the removal. */
  readonly prune: BuiltInRemove
  readonly remove: RemoveRule
  readonly regrow: RegrowRule
  /** Undefined: the network never changes. */
  readonly updates?: UpdateSchedule | undefined
  /** Whether links of neurons that lost all links on one side go, too. */
  readonly percolate: boolean
  /** A layer's links stay as they are, once more than this share of an update's new links are ones that it has removed. Undefined: never. */
  readonly earlyStop?: number | undefined
  /** Sparse layers are made fully connected ones: no links, no updates. Their density must be 1. */
  readonly dense?: boolean | undefined
  readonly topology: Topology
  readonly weights: WeightInit
}

function isRemove(rule: BuiltInRemove): boolean {
  const { from, to } = rule?.temperature ?? { from: 0, to: 0 }
  const share = rule?.gradientShare ?? 0
  return ['magnitude', 'relative', 'magnitude+gradient'].includes(rule?.importance) && from >= 0 && to >= 0 && share >= 0 && Number.isFinite(from + to + share)
}

function isRegrow(rule: BuiltInRegrow): boolean {
  if (rule?.predictor === 'gradient') return rule.selection === 'largest'
  return (rule?.selection === 'sample' || rule?.selection === 'largest') && ['none', ...linkPredictors].includes(rule.predictor)
}

/** Whether updates need the gradients of a batch. */
export function usesGradients({ prune, remove, regrow }: Pick<Method, 'prune' | 'remove' | 'regrow'>): boolean {
  const removes = (rule: RemoveRule) => typeof rule !== 'function' && rule.importance === 'magnitude+gradient'
  return removes(prune) || removes(remove) || (typeof regrow !== 'function' && regrow.predictor === 'gradient')
}

/** Combines parts into a method. What is not given is SET's. */
export function method(parts: Partial<Method> & Pick<Method, 'remove' | 'regrow' | 'updates'>): Method {
  const { name = 'custom', density = constantDensity(), percolate = false } = parts
  const { remove, regrow, prune = magnitude(), updates, earlyStop, dense } = parts
  expect(typeof remove === 'function' || isRemove(remove), () => `Expected remove to be a rule such as softMagnitude() or a function, got ${show(remove)}`)
  expect(typeof regrow === 'function' || isRegrow(regrow), () => `Expected regrow to be a rule such as soft('CH2-L3n') or a function, got ${show(regrow)}`)
  expect(isRemove(prune), () => `Expected prune to be a rule such as relativeImportance(), got ${show(prune)}`)
  expect(typeof density?.schedule === 'function', () => `Expected density to be a rule such as constantDensity(), got ${show(density)}`)
  expect(typeof percolate === 'boolean', () => `Expected percolate to be true or false, got ${show(percolate)}`)
  if (earlyStop !== undefined) number(earlyStop, 'earlyStop', 0, 1)
  expect(dense === undefined || typeof dense === 'boolean', () => `Expected dense to be true or false, got ${show(dense)}`)
  expect(!dense || !updates, () => 'Expected a dense method to have no updates, got some. Leave updates out.')
  return {
    name,
    density,
    prune,
    remove,
    regrow,
    updates: updates && updateSchedule(updates),
    percolate,
    ...(earlyStop !== undefined && { earlyStop }),
    ...(dense && { dense }),
    topology: checkTopology(parts.topology ?? erdosRenyi()),
    weights: checkWeightInit(parts.weights ?? kaiming()),
  }
}
