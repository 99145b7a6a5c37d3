import { expect, show } from '../error.js'
import { checkWeightInit, kaiming, type WeightInit } from '../nn/init.js'
import { erdosRenyi } from '../topology/erdos_renyi.js'
import { checkTopology, type Topology } from '../topology/topology.js'
import { constantDensity, type DensityRule } from './density.js'
import type { UpdateSchedule } from './fraction.js'
import type { RegrowRule } from './regrow.js'
import type { BuiltInRemove, RemoveRule } from './remove.js'

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

/** Combines parts into a method. What is not given is SET's. */
export function method(parts: Partial<Method> & Pick<Method, 'remove' | 'regrow' | 'updates'>): Method {
  const { name = 'custom', density = constantDensity(), percolate = false } = parts
  const isRule = (rule: unknown) => typeof rule === 'function' || (typeof rule === 'object' && rule !== null && 'name' in rule)
  expect(isRule(parts.remove), () => `Expected remove to be a rule such as softMagnitude() or a function, got ${show(parts.remove)}`)
  expect(isRule(parts.regrow), () => `Expected regrow to be a rule such as soft('CH2-L3n') or a function, got ${show(parts.regrow)}`)
  return {
    name,
    density,
    prune: parts.prune ?? { name: 'magnitude', importance: 'magnitude' },
    remove: parts.remove,
    regrow: parts.regrow,
    updates: parts.updates,
    percolate,
    topology: checkTopology(parts.topology ?? erdosRenyi()),
    weights: checkWeightInit(parts.weights ?? kaiming()),
  }
}
