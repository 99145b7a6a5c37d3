/** Memory for time: a block of a network whose inside is computed twice. Tape.recompute() says how. */
import type { Tape, Value } from '../autograd.js'
import { makerOf, remember } from '../recipe.js'
import type { Module } from './module.js'
import { Wrapper } from './wrapper.js'

/**
 * A module that keeps nothing of its inside for the backward pass, which computes it again from its input: some blocks
 * of a deep network then need the memory of one, for another forward pass. The bits are the same.
 */
export class Recompute extends Wrapper {
  constructor(module: Module) {
    super(module)
    if (new.target === Recompute) remember('Recompute', [module], this)
  }

  forward(tape: Tape, x: Value, ...inputs: Value[]): Value {
    return tape.recompute(() => this.module.forward(tape, x, ...inputs))
  }
}
makerOf('Recompute', Recompute)
