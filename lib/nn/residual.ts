/** A connection around a module. Percolation ends at it, since a neuron of the sum lives by its other input too. */
import type { Tape, Value } from '../autograd.js'
import { expect } from '../error.js'
import { makerOf, remember } from '../recipe.js'
import { add } from './add.js'
import type { Module } from './module.js'
import type { SparseParameter } from './parameter.js'
import { Wrapper } from './wrapper.js'

/** y = x + module(x): a residual connection (He et al., 2016). The module has as many outputs as inputs. */
export class Residual extends Wrapper {
  constructor(module: Module) {
    super(module)
    const { inFeatures, outFeatures } = module
    expect(
      inFeatures === undefined || outFeatures === undefined || inFeatures === outFeatures,
      () => `Expected a module with as many outputs as inputs, got ${inFeatures} -> ${outFeatures}`,
    )
    if (new.target === Residual) remember('Residual', [module], this)
  }

  // A neuron of the sum lives by x where the module has no links to it: layers around are related to none inside.
  override get entrances(): readonly SparseParameter[] {
    return []
  }

  override get exits(): readonly SparseParameter[] {
    return []
  }

  forward(tape: Tape, x: Value, ...inputs: Value[]): Value {
    return add(tape, x, this.module.forward(tape, x, ...inputs))
  }
}
makerOf('Residual', Residual)
