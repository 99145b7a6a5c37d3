import { expect, show } from '../error.js'
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
  readonly topology: Topology
  readonly weights: WeightInit
}

function isRemove(rule: BuiltInRemove): boolean {
  const { from, to } = rule?.temperature ?? { from: 0, to: 0 }
  return (rule?.importance === 'magnitude' || rule?.importance === 'relative') && from >= 0 && to >= 0 && Number.isFinite(from + to)
}

function isRegrow(rule: BuiltInRegrow): boolean {
  return (rule?.selection === 'sample' || rule?.selection === 'largest') && ['none', ...linkPredictors].includes(rule.predictor)
}

/** Combines parts into a method. What is not given is SET's. */
export function method(parts: Partial<Method> & Pick<Method, 'remove' | 'regrow' | 'updates'>): Method {
  const { name = 'custom', density = constantDensity(), percolate = false } = parts
  const { remove, regrow, prune = magnitude(), updates } = parts
  expect(typeof remove === 'function' || isRemove(remove), () => `Expected remove to be a rule such as softMagnitude() or a function, got ${show(remove)}`)
  expect(typeof regrow === 'function' || isRegrow(regrow), () => `Expected regrow to be a rule such as soft('CH2-L3n') or a function, got ${show(regrow)}`)
  expect(isRemove(prune), () => `Expected prune to be a rule such as relativeImportance(), got ${show(prune)}`)
  expect(typeof density?.schedule === 'function', () => `Expected density to be a rule such as constantDensity(), got ${show(density)}`)
  expect(typeof percolate === 'boolean', () => `Expected percolate to be true or false, got ${show(percolate)}`)
  return {
    name,
    density,
    prune,
    remove,
    regrow,
    updates: updates && updateSchedule(updates),
    percolate,
    topology: checkTopology(parts.topology ?? erdosRenyi()),
    weights: checkWeightInit(parts.weights ?? kaiming()),
  }
}
