/**
 * The sparse layer, on the tape and as a module. Its links come from a file, from its own topology or from the
 * method's; a dense method makes a matrix of it.
 */
import type { Tape, Value } from '../autograd.js'
import { density, expect, HebbError, integer, known } from '../error.js'
import type { Links } from '../native.js'
import { makerOf, remember } from '../recipe.js'
import { cscSlots, inColumnOrder } from '../tensor.js'
import { checkTopology, type Topology } from '../topology/topology.js'
import { checkWeightInit, drawWeights, type WeightInit } from './init.js'
import { linear } from './linear.js'
import type { Materials, Module } from './module.js'
import { DenseParameter, type Parameter, SparseParameter } from './parameter.js'
import { checkWeights, type LayerWeights, type NewWeights } from './weights.js'

/** What a SparseLinear is made with. */
export interface SparseLinearOptions {
  inFeatures: number
  outFeatures: number
  /** Share of the possible links, in (0, 1]: the target of the method's density schedule. */
  density: number
  /** Default true; starts at 0. */
  bias?: boolean | undefined
  /** Default: the method's. */
  topology?: Topology | undefined
  /** Default: the method's. */
  weights?: WeightInit | undefined
}

/** y = W x + b on the tape, W sparse [rows][cols]. */
export function sparseLinear(tape: Tape, x: Value, weights: SparseParameter, bias?: DenseParameter): Value {
  const input = x.activations
  const { matrix, values } = weights
  return tape.apply({
    features: matrix.rows,
    inputs: [x],
    parameters: bias ? [weights, bias] : [weights],
    forward: (output) => tape.record('spmm', { weights: matrix, values, bias: bias?.values, input, output }),
    backward(outputGradient) {
      tape.noteGradient({ weights, input, outputGradient })
      // First what reads the weights, then their gradient: the optimizer's step can then be fused into the latter.
      const below = tape.gradient(x)
      if (below) {
        const { gradient: inputGradient, accumulate } = below
        tape.record('spmmTransposed', { weights: matrix, values, outputGradient, inputGradient, accumulate })
      }
      const ofWeights = tape.gradient(weights)
      const ofBias = bias && tape.gradient(bias)
      if (!ofWeights && !ofBias) return
      // A bias that is trained alone has its gradient from the product for the weights.
      const { gradient, accumulate } = ofWeights ?? { gradient: weights.gradient, accumulate: false }
      tape.record('sddmm', {
        ...{ pattern: matrix, outputGradient, input, gradient, accumulate },
        biasGradient: ofBias?.gradient,
        accumulateBias: ofBias?.accumulate,
      })
    },
  })
}

/** A sparse layer: y = W x + b, W [outFeatures][inFeatures] with round(density * outFeatures * inFeatures) links. */
export class SparseLinear implements Module {
  readonly inFeatures: number
  readonly outFeatures: number
  readonly density: number
  readonly #hasBias: boolean
  readonly #topology: Topology | undefined
  readonly #init: WeightInit | undefined
  #start?: Pick<LayerWeights, 'values' | 'bias'> & { readonly links: Links }
  #weights?: SparseParameter | DenseParameter
  #bias?: DenseParameter

  constructor(options: SparseLinearOptions) {
    known(options, 'SparseLinear', {
      inFeatures: true,
      outFeatures: true,
      density: true,
      bias: true,
      topology: true,
      weights: true,
    })
    this.inFeatures = integer(options.inFeatures, 'inFeatures', 1)
    this.outFeatures = integer(options.outFeatures, 'outFeatures', 1)
    this.density = density(options.density)
    this.#hasBias = options.bias ?? true
    this.#topology = options.topology && checkTopology(options.topology)
    this.#init = options.weights && checkWeightInit(options.weights)
    if (new.target === SparseLinear) remember('SparseLinear', [options], this)
  }

  /**
   * Begins with these links, values and biases, whatever the method would draw: as many links as the method begins
   * with. Of a model in use, see Trainer.setWeights().
   */
  setWeights(weights: NewWeights): void {
    expect(!this.#weights, () => 'Expected a layer that no trainer uses, got one in use. Use trainer.setWeights().')
    const { inFeatures: cols, outFeatures: rows } = this
    const name = `the layer ${cols} -> ${rows}`
    const checked = checkWeights(weights, { name, rows, cols, isSparse: true, hasBias: this.#hasBias })
    this.#start = { ...checked, links: checked.links as Links }
  }

  get head(): Module {
    return this
  }

  get parameters(): Parameter[] {
    return [this.#weights, this.#bias].filter((p) => p !== undefined)
  }

  get sparse(): SparseParameter[] {
    return this.#weights instanceof SparseParameter ? [this.#weights] : []
  }

  get entrances(): SparseParameter[] {
    return this.sparse
  }

  get exits(): SparseParameter[] {
    return this.sparse
  }

  materialise(materials: Materials): void {
    expect(
      !this.#weights,
      () =>
        'Expected a model that no trainer uses, got one that is in use. Dispose its trainer, or make another model.',
    )
    const { device, seed, initialise } = materials
    const rows = this.outFeatures
    const cols = this.inFeatures
    if (materials.dense) {
      this.#materialiseDense(materials)
      return
    }
    const layer = materials.nextLayer()
    const { initial, capacity } = materials.links(rows * cols, this.density, `${cols} -> ${rows}`)
    const given = materials.restored ? undefined : this.#start
    expect(
      given === undefined || given.links.columnIndices.length === initial,
      () =>
        `Expected a method that begins with the ${given?.links.columnIndices.length} links of the layer ${cols} ` +
        `-> ${rows}, got one that begins with ${initial}. A compact network is trained on by staticSparse(), ` +
        'set(), chts() or the like.',
    )
    const begun = materials.begun?.(this)
    // A density gives back the links that it was made of, but for rounding.
    expect(
      begun === undefined || Math.abs(begun.columnIndices.length - initial) <= 1,
      () =>
        `Expected a method that begins with the ${begun?.columnIndices.length} links that the layer ${cols} -> ` +
        `${rows} has in the file, got one that begins with ${initial}. Give the density of the file to a method that ` +
        'keeps it, such as chts() or staticSparse(), or as initialDensity to one whose density falls.',
    )
    const restored = materials.restored?.(layer) ?? begun ?? given?.links
    const topology = this.#topology ?? materials.topology
    const start = { rows, cols, links: initial, seed, layer }
    const later = restored ? undefined : topology.fill
    const links =
      restored ??
      (later ? { rowOffsets: new Int32Array(rows + 1), columnIndices: new Int32Array(0) } : topology.generate(start))
    const count = links.columnIndices.length
    expect(
      restored !== undefined || later !== undefined || count === initial,
      () => `Expected the topology '${topology.name}' to make ${initial} links, got ${count}`,
    )
    const weights = new SparseParameter(device, {
      name: 'weights',
      ...{ layer, rows, cols, links, density: this.density },
      capacity: Math.max(capacity, count),
    })
    this.#weights = weights
    if (later) materials.waitFor(later(weights.matrix, start))
    if (this.#hasBias) this.#bias = new DenseParameter(device, 'bias', rows, 1)
    if (given) {
      materials.waitFor(weights.values.write(inColumnOrder(given.values, cscSlots(given.links, cols)), count))
      if (this.#bias && given.bias) materials.waitFor(this.#bias.values.write(given.bias))
    }
    if (restored) return // the weights are restored, too
    const density = initial / (rows * cols)
    drawWeights(initialise, weights, this.#init ?? materials.weights, { density, seed, layer })
  }

  forward(tape: Tape, x: Value): Value {
    if (!this.#weights) throw new HebbError('DISPOSED', 'Expected a model in use by a trainer, got one that is not')
    if (this.#weights instanceof DenseParameter) return linear(tape, x, this.#weights, this.#bias)
    return sparseLinear(tape, x, this.#weights, this.#bias)
  }

  /** All links, as a matrix. */
  #materialiseDense({ device, seed, initialise, nextLayer, restored, weights: init }: Materials): void {
    const { inFeatures: cols, outFeatures: rows } = this
    expect(
      this.density === 1 || restored !== undefined,
      () =>
        `Expected the layer ${cols} -> ${rows} to have density 1, to be fully connected, got ${this.density}. ` +
        'Make the model with density: 1.',
    )
    expect(
      this.#start === undefined || restored !== undefined,
      () =>
        `Expected a method with links for the layer ${cols} -> ${rows} of a compact network, got dense(). Train ` +
        'it on by staticSparse(), set() or chts().',
    )
    const layer = nextLayer()
    const weights = new DenseParameter(device, 'weights', rows, cols)
    this.#weights = weights
    if (this.#hasBias) this.#bias = new DenseParameter(device, 'bias', rows, 1)
    if (restored) return
    drawWeights(initialise, weights, this.#init ?? init, { seed, layer })
  }

  dispose(): void {
    for (const parameter of this.parameters) parameter.dispose()
    this.#weights = this.#bias = undefined
  }
}
makerOf('SparseLinear', SparseLinear)

/** The layers of a model that have a density, in its order. */
export function sparseLayers(module: Module): SparseLinear[] {
  if (module.children) return [...module.children.values()].flatMap(sparseLayers)
  return 'density' in module ? [module as unknown as SparseLinear] : []
}
