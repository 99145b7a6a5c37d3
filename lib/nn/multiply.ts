/**
 * The product of two values, as gates need it. Backward, the gradient of each factor is the result's times the other
 * one. Where both are the same value, the two gradients add up: that of x * x is 2 x times the result's.
 */
import type { Tape, Value } from '../autograd.js'

/** y = a * b on the tape, element by element. */
export function multiply(tape: Tape, a: Value, b: Value): Value {
  const [first, second] = [a.activations, b.activations]
  return tape.apply({
    features: first.features,
    inputs: [a, b],
    forward: (output) => tape.record('multiply', { first, second, output }),
    backward(outputGradient) {
      for (const [factor, other] of [
        [a, second],
        [b, first],
      ] as const) {
        const into = tape.gradient(factor)
        if (!into) continue
        const { gradient: output, accumulate } = into
        tape.record('multiply', { first: outputGradient, second: other, output, accumulate })
      }
    },
  })
}
