/**
 * Layer normalisation on the tape, and as a module. Two numbers a column, its mean and its scale, are what the forward
 * pass leaves for the backward pass.
 */
import type { Tape, Value } from '../autograd.js'
import { expect, HebbError, integer, known, show } from '../error.js'
import { makerOf, remember } from '../recipe.js'
import type { Materials, Module } from './module.js'
import { DenseParameter, type Parameter } from './parameter.js'

/** What a LayerNorm is made with. */
export interface LayerNormOptions {
  features: number
  /** Added to the variance. Default 1e-5. */
  epsilon?: number | undefined
}

/**
 * y = (x - mean) / sqrt(variance + epsilon) * gain + bias on the tape, mean and variance those of each column. Without
 * a bias the mean is taken to be 0.
 */
function layerNorm(
  tape: Tape,
  x: Value,
  gain: DenseParameter,
  bias: DenseParameter | undefined,
  epsilon: number,
): Value {
  const input = x.activations
  const rms = bias === undefined
  const statistics = tape.activations(2, x)
  return tape.apply({
    features: input.features,
    inputs: [x],
    parameters: bias ? [gain, bias] : [gain],
    forward: (output) =>
      tape.record('layerNorm', { input, output, gain: gain.values, bias: bias?.values, statistics, epsilon, rms }),
    backward(outputGradient) {
      const [below, ofGain, ofBias] = [tape.gradient(x), tape.gradient(gain), bias && tape.gradient(bias)]
      tape.record('layerNormGradient', {
        ...{ input, statistics, gain: gain.values, outputGradient, rms },
        ...{ inputGradient: below?.gradient, accumulate: below?.accumulate },
        ...{ gainGradient: ofGain?.gradient, accumulateGain: ofGain?.accumulate },
        ...{ biasGradient: ofBias?.gradient, accumulateBias: ofBias?.accumulate },
      })
    },
  })
}

/** What the two normalisations share: a gain for each feature, which begins at 1 and is trained. */
abstract class Norm implements Module {
  readonly inFeatures: number
  readonly outFeatures: number
  readonly epsilon: number
  readonly sparse = []
  readonly #hasBias: boolean
  #gain?: DenseParameter
  #bias?: DenseParameter

  constructor(name: string, options: LayerNormOptions, hasBias: boolean, standard: number) {
    const { features, epsilon = standard } = known(options, name, { features: true, epsilon: true })
    this.inFeatures = this.outFeatures = integer(features, 'features', 1)
    expect(
      typeof epsilon === 'number' && epsilon >= 1e-30 && epsilon <= 1,
      () => `Expected epsilon to be a number above 0, such as 1e-5, got ${show(epsilon)}`,
    )
    this.epsilon = epsilon
    this.#hasBias = hasBias
  }

  get parameters(): Parameter[] {
    return [this.#gain, this.#bias].filter((p) => p !== undefined)
  }

  materialise({ device, restored, waitFor }: Materials): void {
    this.#gain = new DenseParameter(device, 'gain', this.inFeatures, 1)
    if (this.#hasBias) this.#bias = new DenseParameter(device, 'bias', this.inFeatures, 1)
    if (!restored) waitFor(this.#gain.values.write(new Float32Array(this.inFeatures).fill(1)))
  }

  forward(tape: Tape, x: Value): Value {
    if (!this.#gain) throw new HebbError('DISPOSED', 'Expected a model in use by a trainer, got one that is not')
    return layerNorm(tape, x, this.#gain, this.#bias, this.epsilon)
  }

  dispose(): void {
    for (const parameter of this.parameters) parameter.dispose()
    this.#gain = this.#bias = undefined
  }
}

/**
 * Layer normalisation (Ba et al., 2016): each sample by itself is brought to mean 0 and variance 1 over its features,
 * then multiplied by a gain and moved by a bias for each feature, which begin at 1 and 0 and are trained.
 */
export class LayerNorm extends Norm {
  constructor(options: LayerNormOptions) {
    super('LayerNorm', options, true, 1e-5)
    if (new.target === LayerNorm) remember('LayerNorm', [options], this)
  }
}
makerOf('LayerNorm', LayerNorm)

/** What an RMSNorm is made with. */
export interface RMSNormOptions {
  features: number
  /** Added to the mean of squares. Default 1e-6. */
  epsilon?: number | undefined
}

/**
 * Normalisation by the root mean square (Zhang and Sennrich, 2019): each sample by itself is divided by that of its
 * features, then multiplied by a gain for each feature, which begins at 1 and is trained.
 */
export class RMSNorm extends Norm {
  constructor(options: RMSNormOptions) {
    super('RMSNorm', options, false, 1e-6)
    if (new.target === RMSNorm) remember('RMSNorm', [options], this)
  }
}
makerOf('RMSNorm', RMSNorm)
