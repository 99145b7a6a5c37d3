/**
 * What a method is made of, and which parts go together. A method only says what an update does; scheduler.ts carries
 * it out.
 */
import { expect, known, number, show } from '../error.js'
import { checkWeightInit, kaiming, type WeightInit } from '../nn/init.js'
import { linkPredictors, predictionRoutes } from '../tensor.js'
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
  /** Undefined, with regrow: an update prunes, and that is all. */
  readonly remove?: RemoveRule | undefined
  readonly regrow?: RegrowRule | undefined
  /** Undefined: the network never changes. */
  readonly updates?: UpdateSchedule | undefined
  /** Whether links of neurons that lost all links on one side go, too. */
  readonly percolate: boolean
  /**
   * A layer's links stay as they are, once more than this share of an update's new links are ones that it has removed.
   * Undefined: never.
   */
  readonly earlyStop?: number | undefined
  /** Sparse layers are made fully connected ones: no links, no updates. Their density must be 1. */
  readonly dense?: boolean | undefined
  readonly topology: Topology
  readonly weights: WeightInit
}

function isRemove(rule: BuiltInRemove): boolean {
  const { from, to } = rule?.temperature ?? { from: 0, to: 0 }
  const share = rule?.gradientShare ?? 0
  const isPossible = !rule?.historical || (rule.importance === 'magnitude' && !rule.temperature)
  return (
    ['magnitude', 'relative', 'magnitude+gradient'].includes(rule?.importance) &&
    from >= 0 &&
    to >= 0 &&
    share >= 0 &&
    Number.isFinite(from + to + share) &&
    isPossible
  )
}

function isRegrow(rule: BuiltInRegrow): boolean {
  if (rule?.predictor === 'gradient') return rule.selection === 'largest'
  return (
    (rule?.selection === 'sample' || rule?.selection === 'largest') &&
    ['none', ...linkPredictors].includes(rule.predictor) &&
    [undefined, ...predictionRoutes].includes(rule.route)
  )
}

/** Whether updates need the gradients of a batch. */
export function usesGradients({ prune, remove, regrow }: Pick<Method, 'prune' | 'remove' | 'regrow'>): boolean {
  const removes = (rule: RemoveRule | undefined) => typeof rule === 'object' && rule.importance === 'magnitude+gradient'
  return removes(prune) || removes(remove) || (typeof regrow === 'object' && regrow.predictor === 'gradient')
}

/**
 * Combines parts into a method. Without `remove` and `regrow` its updates prune alone; what else is not given is SET's.
 */
export function method(parts: Partial<Method> & Pick<Method, 'updates'>): Method {
  known(parts, 'a method', {
    ...{ name: true, density: true, prune: true, remove: true, regrow: true, updates: true, percolate: true },
    ...{ earlyStop: true, dense: true, topology: true, weights: true },
  })
  const { name = 'custom', density = constantDensity(), percolate = false } = parts
  const { remove, regrow, prune = magnitude(), updates, earlyStop, dense } = parts
  expect((remove === undefined) === (regrow === undefined), () => {
    const [given, missing] = remove ? ['remove', 'regrow'] : ['regrow', 'remove']
    return `Expected ${missing} beside ${given}, got none. Give both, or none of them for updates that only prune.`
  })
  const isRule = <T>(rule: unknown, isBuiltIn: (rule: T) => boolean) =>
    rule === undefined || typeof rule === 'function' || isBuiltIn(rule as T)
  expect(
    isRule(remove, isRemove),
    () => `Expected remove to be a rule such as softMagnitude() or a function, got ${show(remove)}`,
  )
  expect(
    isRule(regrow, isRegrow),
    () => `Expected regrow to be a rule such as soft('CH2-L3n') or a function, got ${show(regrow)}`,
  )
  expect(
    typeof remove !== 'object' || !remove.historical,
    () => 'Expected historicalMagnitude() as prune, got it as remove',
  )
  expect(isRemove(prune), () => `Expected prune to be a rule such as relativeImportance(), got ${show(prune)}`)
  expect(
    (['schedule', 'initial', 'most'] as const).every((name) => typeof density?.[name] === 'function'),
    () =>
      `Expected density to be a rule with initial(), most() and schedule(), such as constantDensity(), ` +
      `got ${show(density)}`,
  )
  expect(typeof percolate === 'boolean', () => `Expected percolate to be true or false, got ${show(percolate)}`)
  expect(
    !percolate || remove !== undefined,
    () => 'Expected percolate with remove and regrow, which brings what it deletes back, got neither of them',
  )
  expect(
    !prune.historical || remove === undefined,
    () => 'Expected historicalMagnitude() in a method without remove and regrow, got one with them',
  )
  if (earlyStop !== undefined) number(earlyStop, 'earlyStop', 0, 1)
  expect(
    dense === undefined || typeof dense === 'boolean',
    () => `Expected dense to be true or false, got ${show(dense)}`,
  )
  expect(!dense || !updates, () => 'Expected a dense method to have no updates, got some. Leave updates out.')
  return {
    name,
    density,
    prune,
    ...(remove && { remove, regrow }),
    updates: updates && updateSchedule(updates),
    percolate,
    ...(earlyStop !== undefined && { earlyStop }),
    ...(dense && { dense }),
    topology: checkTopology(parts.topology ?? erdosRenyi()),
    weights: checkWeightInit(parts.weights ?? kaiming()),
  }
}
