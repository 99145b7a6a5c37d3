import type { Tape, Value } from '../autograd.js'
import { makerOf, remember } from '../recipe.js'
import type { Module } from './module.js'

/** y = max(x, 0) on the tape. After a layer it takes no pass of its own: the layer's product rectifies. */
export function relu(tape: Tape, x: Value): Value {
  const input = x.activations
  return tape.apply({
    features: input.features,
    inputs: [x],
    forward: (output) => tape.record('relu', { input, output }),
    backward(outputGradient, output) {
      const below = tape.gradient(x)
      if (!below) return
      const { gradient: inputGradient, accumulate } = below
      tape.record('reluGradient', { output, outputGradient, inputGradient, accumulate })
    },
  })
}

/** max(x, 0). */
export class Relu implements Module {
  readonly parameters = []
  readonly sparse = []
  readonly pointwise = true

  constructor() {
    if (new.target === Relu) remember('Relu', [], this)
  }

  materialise(): void {}

  forward(tape: Tape, x: Value): Value {
    return relu(tape, x)
  }

  dispose(): void {}
}
makerOf('Relu', Relu)
