/**
 * Layer normalisation on the tape, and as a module. Two numbers a column, its mean and its scale, are what the forward
 * pass leaves for the backward pass.
 */
import type { Tape, Value } from '../autograd.js'
import { expect, HebbError, integer, known, show } from '../error.js'
import { makerOf, remember } from '../recipe.js'
import type { Materials, Module } from './module.js'
import { DenseParameter, type Parameter } from './parameter.js'

export interface LayerNormOptions {
  features: number
  /** Added to the variance. Default 1e-5. */
  epsilon?: number
}

/** y = (x - mean) / sqrt(variance + epsilon) * gain + bias on the tape, mean and variance those of each column. */
function layerNorm(tape: Tape, x: Value, gain: DenseParameter, bias: DenseParameter, epsilon: number): Value {
  const input = x.activations
  const statistics = tape.activations(2, x.sequences)
  return tape.apply({
    features: input.features,
    inputs: [x],
    parameters: [gain, bias],
    forward: (output) =>
      tape.record('layerNorm', { input, output, gain: gain.values, bias: bias.values, statistics, epsilon }),
    backward(outputGradient) {
      const [below, ofGain, ofBias] = [tape.gradient(x), tape.gradient(gain), tape.gradient(bias)]
      tape.record('layerNormGradient', {
        ...{ input, statistics, gain: gain.values, outputGradient },
        ...{ inputGradient: below?.gradient, accumulate: below?.accumulate },
        ...{ gainGradient: ofGain?.gradient, accumulateGain: ofGain?.accumulate },
        ...{ biasGradient: ofBias?.gradient, accumulateBias: ofBias?.accumulate },
      })
    },
  })
}

/**
 * Layer normalisation (Ba et al., 2016): each sample by itself is brought to mean 0 and variance 1 over its features,
 * then multiplied by a gain and moved by a bias for each feature, which begin at 1 and 0 and are trained.
 */
export class LayerNorm implements Module {
  readonly inFeatures: number
  readonly outFeatures: number
  readonly epsilon: number
  readonly sparse = []
  #gain?: DenseParameter
  #bias?: DenseParameter

  constructor(options: LayerNormOptions) {
    const { features, epsilon = 1e-5 } = known(options, 'LayerNorm', { features: true, epsilon: true })
    this.inFeatures = this.outFeatures = integer(features, 'features', 1)
    expect(
      typeof epsilon === 'number' && epsilon >= 1e-30 && epsilon <= 1,
      () => `Expected epsilon to be a number above 0, such as 1e-5, got ${show(epsilon)}`,
    )
    this.epsilon = epsilon
    if (new.target === LayerNorm) remember('LayerNorm', [options], this)
  }

  get parameters(): Parameter[] {
    return [this.#gain, this.#bias].filter((p) => p !== undefined)
  }

  materialise({ device, restored, waitFor }: Materials): void {
    this.#gain = new DenseParameter(device, 'gain', this.inFeatures, 1)
    this.#bias = new DenseParameter(device, 'bias', this.inFeatures, 1)
    if (!restored) waitFor(this.#gain.values.write(new Float32Array(this.inFeatures).fill(1)))
  }

  forward(tape: Tape, x: Value): Value {
    if (!this.#gain || !this.#bias)
      throw new HebbError('DISPOSED', 'Expected a model in use by a trainer, got one that is not')
    return layerNorm(tape, x, this.#gain, this.#bias, this.epsilon)
  }

  dispose(): void {
    for (const parameter of this.parameters) parameter.dispose()
    this.#gain = this.#bias = undefined
  }
}
makerOf('LayerNorm', LayerNorm)
