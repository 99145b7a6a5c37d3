/** Activation functions: on the tape, and as modules. After a sparse or dense layer, Relu takes no pass of its own. */
import type { Tape, Value } from '../autograd.js'
import { makerOf, remember } from '../recipe.js'
import type { Module } from './module.js'

/** Records a function whose derivative is computed from its output, or from its input. */
function fromOutput(name: 'relu' | 'tanh' | 'sigmoid'): (tape: Tape, x: Value) => Value {
  return (tape, x) => {
    const input = x.activations
    return tape.apply({
      features: input.features,
      inputs: [x],
      forward: (output) => tape.record(name, { input, output }),
      backward(outputGradient, output) {
        const below = tape.gradient(x)
        if (!below) return
        const { gradient: inputGradient, accumulate } = below
        tape.record(`${name}Gradient`, { output, outputGradient, inputGradient, accumulate })
      },
    })
  }
}

function fromInput(name: 'silu' | 'gelu'): (tape: Tape, x: Value) => Value {
  return (tape, x) => {
    const input = x.activations
    return tape.apply({
      features: input.features,
      inputs: [x],
      forward: (output) => tape.record(name, { input, output }),
      backward(outputGradient) {
        const below = tape.gradient(x)
        if (!below) return
        const { gradient: inputGradient, accumulate } = below
        tape.record(`${name}Gradient`, { input, outputGradient, inputGradient, accumulate })
      },
    })
  }
}

/** y = max(x, 0) on the tape. */
export const relu = fromOutput('relu')
/** y = tanh(x) on the tape. */
export const tanh = fromOutput('tanh')
/** y = 1 / (1 + e^-x) on the tape. */
export const sigmoid = fromOutput('sigmoid')
/** y = x sigmoid(x) on the tape: SiLU, or Swish. */
export const silu = fromInput('silu')
/** y = x P(x) on the tape, P the normal distribution: GELU, without an approximation by tanh. */
export const gelu = fromInput('gelu')

abstract class ActivationFunction implements Module {
  readonly parameters = []
  readonly sparse = []
  readonly pointwise = true
  readonly #of: (tape: Tape, x: Value) => Value

  constructor(of: (tape: Tape, x: Value) => Value) {
    this.#of = of
  }

  forward(tape: Tape, x: Value): Value {
    return this.#of(tape, x)
  }

  materialise(): void {}

  dispose(): void {}
}

/** max(x, 0). */
export class Relu extends ActivationFunction {
  constructor() {
    super(relu)
    if (new.target === Relu) remember('Relu', [], this)
  }
}
makerOf('Relu', Relu)

/** The hyperbolic tangent. */
export class Tanh extends ActivationFunction {
  constructor() {
    super(tanh)
    if (new.target === Tanh) remember('Tanh', [], this)
  }
}
makerOf('Tanh', Tanh)

/** 1 / (1 + e^-x). */
export class Sigmoid extends ActivationFunction {
  constructor() {
    super(sigmoid)
    if (new.target === Sigmoid) remember('Sigmoid', [], this)
  }
}
makerOf('Sigmoid', Sigmoid)

/** SiLU, or Swish: x sigmoid(x) (Hendrycks and Gimpel, 2016; Ramachandran et al., 2017). */
export class Silu extends ActivationFunction {
  constructor() {
    super(silu)
    if (new.target === Silu) remember('Silu', [], this)
  }
}
makerOf('Silu', Silu)

/** GELU: x P(x), P the normal distribution (Hendrycks and Gimpel, 2016). */
export class Gelu extends ActivationFunction {
  constructor() {
    super(gelu)
    if (new.target === Gelu) remember('Gelu', [], this)
  }
}
makerOf('Gelu', Gelu)
