/** The sum of two values, as residual connections need it. Backward, each of them gets the same gradient. */
import type { Tape, Value } from '../autograd.js'

/** y = a + b on the tape. */
export function add(tape: Tape, a: Value, b: Value): Value {
  const [first, second] = [a.activations, b.activations]
  return tape.apply({
    features: first.features,
    inputs: [a, b],
    forward: (output) => tape.record('add', { first, second, output }),
    backward(outputGradient) {
      for (const into of [tape.gradient(a), tape.gradient(b)])
        if (into) tape.record('add', { first: outputGradient, output: into.gradient, accumulate: into.accumulate })
    },
  })
}
