import type { Tape, Value } from '../autograd.js'
import { makerOf, remember } from '../recipe.js'
import type { Module } from './module.js'

/** max(x, 0). After a layer, Sequential lets it ride on that layer's product. */
export class Relu implements Module {
  readonly parameters = []
  readonly sparse = []
  readonly pointwise = true

  constructor() {
    if (new.target === Relu) remember('Relu', [], this)
  }

  materialise(): void {}

  forward(tape: Tape, x: Value): Value {
    return tape.relu(x)
  }

  dispose(): void {}
}
makerOf('Relu', Relu)
