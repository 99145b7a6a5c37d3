/**
 * The fully connected layer, on the tape and as a module. Sparse layers of a dense method record the same operations.
 */
import type { Tape, Value } from '../autograd.js'
import { expect, HebbError, integer, known } from '../error.js'
import { makerOf, remember } from '../recipe.js'
import { checkWeightInit, drawWeights, kaiming, type WeightInit } from './init.js'
import type { Materials, Module } from './module.js'
import { DenseParameter, type Parameter } from './parameter.js'
import { checkWeights, type LayerWeights, type NewWeights } from './weights.js'

/** What a Linear is made with. */
export interface LinearOptions {
  inFeatures: number
  outFeatures: number
  /** Default true; starts at 0. */
  bias?: boolean | undefined
  /** Default kaiming(). */
  weights?: WeightInit | undefined
}

/** y = W x + b on the tape, W dense [rows][cols]. */
export function linear(tape: Tape, x: Value, weights: DenseParameter, bias?: DenseParameter): Value {
  const input = x.activations
  return tape.apply({
    features: weights.rows,
    inputs: [x],
    parameters: bias ? [weights, bias] : [weights],
    forward: (output) => tape.record('linear', { weights: weights.values, bias: bias?.values, input, output }),
    backward(outputGradient) {
      const below = tape.gradient(x)
      if (below) {
        const { gradient: inputGradient, accumulate } = below
        tape.record('linearTransposed', { weights: weights.values, outputGradient, inputGradient, accumulate })
      }
      const ofWeights = tape.gradient(weights)
      const ofBias = bias && tape.gradient(bias)
      if (!ofWeights && !ofBias) return
      // A bias that is trained alone has its gradient from the product for the weights.
      const { gradient, accumulate } = ofWeights ?? { gradient: weights.gradient, accumulate: false }
      tape.record('linearGradient', {
        ...{ outputGradient, input, gradient, accumulate },
        biasGradient: ofBias?.gradient,
        accumulateBias: ofBias?.accumulate,
      })
    },
  })
}

/** A fully connected layer: y = W x + b, W [outFeatures][inFeatures]. */
export class Linear implements Module {
  readonly inFeatures: number
  readonly outFeatures: number
  readonly sparse = []
  readonly #hasBias: boolean
  readonly #init: WeightInit
  #start?: Pick<LayerWeights, 'values' | 'bias'>
  #weights?: DenseParameter
  #bias?: DenseParameter

  constructor(options: LinearOptions) {
    known(options, 'Linear', { inFeatures: true, outFeatures: true, bias: true, weights: true })
    this.inFeatures = integer(options.inFeatures, 'inFeatures', 1)
    this.outFeatures = integer(options.outFeatures, 'outFeatures', 1)
    this.#hasBias = options.bias ?? true
    this.#init = checkWeightInit(options.weights ?? kaiming())
    if (new.target === Linear) remember('Linear', [options], this)
  }

  /** Begins with these values, by row, and biases. Of a model in use, see Trainer.setWeights(). */
  setWeights(weights: NewWeights): void {
    expect(!this.#weights, () => 'Expected a layer that no trainer uses, got one in use. Use trainer.setWeights().')
    const { inFeatures: cols, outFeatures: rows } = this
    const name = `the layer ${cols} -> ${rows}`
    this.#start = checkWeights(weights, { name, rows, cols, isSparse: false, hasBias: this.#hasBias })
  }

  get head(): Module {
    return this
  }

  get parameters(): Parameter[] {
    return [this.#weights, this.#bias].filter((p) => p !== undefined)
  }

  materialise({ device, seed, initialise, nextLayer, restored, waitFor }: Materials): void {
    expect(
      !this.#weights,
      () =>
        'Expected a model that no trainer uses, got one that is in use. Dispose its trainer, or make another model.',
    )
    this.#weights = new DenseParameter(device, 'weights', this.outFeatures, this.inFeatures)
    if (this.#hasBias) this.#bias = new DenseParameter(device, 'bias', this.outFeatures, 1)
    const layer = nextLayer()
    if (restored) return
    if (this.#start) {
      waitFor(this.#weights.values.write(this.#start.values))
      if (this.#bias && this.#start.bias) waitFor(this.#bias.values.write(this.#start.bias))
      return
    }
    drawWeights(initialise, this.#weights, this.#init, { seed, layer })
  }

  forward(tape: Tape, x: Value): Value {
    if (!this.#weights) throw new HebbError('DISPOSED', 'Expected a model in use by a trainer, got one that is not')
    return linear(tape, x, this.#weights, this.#bias)
  }

  dispose(): void {
    for (const parameter of this.parameters) parameter.dispose()
    this.#weights = this.#bias = undefined
  }
}
makerOf('Linear', Linear)
