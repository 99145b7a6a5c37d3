/** Dropout on the tape, and as a module. No mask is kept: backward, the same operation makes the same draws again. */
import type { Tape, Value } from '../autograd.js'
import { expect, known, show } from '../error.js'
import { makerOf, remember } from '../recipe.js'
import type { Materials, Module } from './module.js'

/** What a Dropout is made with. */
export interface DropoutOptions {
  /** Of losing an element, in [0, 1). 16 random bits decide: rounded to a multiple of 2^-16, 1 - 2^-16 at most. */
  probability: number
}

/** y = x / (1 - probability) where a draw keeps the element, else 0, on the tape. */
function dropout(tape: Tape, x: Value, options: { probability: number; seed: number; layer: number }): Value {
  const input = x.activations
  return tape.apply({
    features: input.features,
    inputs: [x],
    forward: (output) => tape.record('dropout', { input, output, ...options }),
    backward(outputGradient) {
      const below = tape.gradient(x)
      if (below)
        tape.record('dropout', {
          ...{ input: outputGradient, output: below.gradient, accumulate: below.accumulate },
          ...options,
        })
    },
  })
}

/**
 * Dropout (Srivastava et al., 2014): in training each element is lost with a probability, and what stays is scaled by
 * 1 / (1 - probability), so that its mean stays; in evaluation nothing happens. A draw belongs to the model's seed, the
 * layer, the feature, the place in the batch and the step.
 */
export class Dropout implements Module {
  readonly parameters = []
  readonly sparse = []
  readonly pointwise = true
  readonly probability: number
  #draws: { readonly seed: number; readonly layer: number } | undefined

  constructor(options: DropoutOptions) {
    const { probability } = known(options, 'Dropout', { probability: true })
    expect(
      typeof probability === 'number' && probability >= 0 && probability < 1,
      () => `Expected probability to be a number of at least 0 and below 1, got ${show(probability)}`,
    )
    this.probability = probability
    if (new.target === Dropout) remember('Dropout', [{ probability }], this)
  }

  materialise({ seed, nextLayer }: Materials): void {
    this.#draws = { seed, layer: nextLayer() }
  }

  forward(tape: Tape, x: Value): Value {
    if (!tape.training || this.probability === 0 || !this.#draws) return x
    return dropout(tape, x, { probability: this.probability, ...this.#draws })
  }

  dispose(): void {}
}
makerOf('Dropout', Dropout)
