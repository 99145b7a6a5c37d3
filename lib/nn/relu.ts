import type { Tape, Value } from '../autograd.js'
import type { Module } from './module.js'

/** max(x, 0). After a layer, Sequential lets it ride on that layer's product. */
export class Relu implements Module {
  readonly parameters = []
  readonly sparse = []

  materialise(): void {}

  forward(tape: Tape, x: Value): Value {
    return tape.relu(x)
  }

  dispose(): void {}
}
