/**
 * A small tape over the operations. It runs at record time only: a forward pass through the modules records the
 * operations of the step, and backward() records those of the gradients, in reverse. Nothing of it is left when the
 * program runs.
 *
 * The gradient kept for a value is the one before its activation: whoever contributes to it multiplies by the
 * activation's derivative, in the epilogue of its own product.
 */
import type { Device } from './device.js'
import { HebbError } from './error.js'
import type { DenseParameter, SparseParameter } from './nn/parameter.js'
import type { Program } from './program.js'
import { Activations } from './tensor.js'

export type ActivationName = 'none' | 'relu'

/** What a sparse layer's gradient is the product of, after a backward pass: gradient = outputGradient input^T. */
export interface LayerGradient {
  readonly weights: SparseParameter
  /** [inputs][columns] */
  readonly input: Activations
  /** [outputs][columns] */
  readonly outputGradient: Activations
}

/** A batch of activations on the tape. */
export interface Value {
  readonly activations: Activations
  readonly activation: ActivationName
  readonly needsGradient: boolean
}

export class Tape {
  readonly program: Program
  readonly device: Device
  readonly batch: number
  readonly training: boolean
  readonly #backward: (() => void)[] = []
  readonly #gradients = new Map<Value, Activations>()
  readonly #written = new Set<object>()
  readonly #memory: Activations[] = []
  /** What the modules of the model gave, in their order. */
  readonly outputs: { readonly module: object; readonly output: Activations }[] = []
  /**
   * Where the sparse layers' gradients come from, one entry for each use of a layer's weights; filled by backward().
   */
  readonly gradients: LayerGradient[] = []
  readonly #shared: readonly Activations[]
  #asked = 0

  /** With `like`, a tape that recorded the same before, its memory is shared. */
  constructor(program: Program, batch: number, training: boolean, like?: Tape) {
    this.#shared = like ? like.#memory : []
    this.program = program
    this.device = program.device
    this.batch = batch
    this.training = training
  }

  /** Memory for a batch that lives as long as the tape. */
  activations(features: number): Activations {
    const shared = this.#shared[this.#asked++]
    if (shared?.features === features) return shared
    const activations = new Activations(this.device, features, this.batch)
    this.#memory.push(activations)
    return activations
  }

  /** A value that the tape did not compute. */
  input(activations: Activations): Value {
    return { activations, activation: 'none', needsGradient: false }
  }

  /** Notes what a module gave, so that it can be found when numbers go wrong. */
  note(module: object, value: Value): void {
    this.outputs.push({ module, output: value.activations })
  }

  /** y = activation(W x + b), W sparse. */
  sparseLinear(
    x: Value,
    weights: SparseParameter,
    bias: DenseParameter | undefined,
    activation: ActivationName,
  ): Value {
    const y = this.#value(weights.matrix.rows, activation)
    const pattern = weights.matrix
    this.program.record('spmm', {
      weights: pattern,
      values: weights.values,
      bias: bias?.values,
      input: x.activations,
      output: y.activations,
      activation,
    })
    this.#later(() => {
      const outputGradient = this.#gradientOf(y)
      this.gradients.push({ weights, input: x.activations, outputGradient })
      // First what reads the weights, then their gradient: the optimizer's step can then be fused into the latter.
      this.#contribute(x, (inputGradient, accumulate) =>
        this.program.record('spmmTransposed', {
          weights: pattern,
          values: weights.values,
          outputGradient,
          inputGradient,
          input: x.activations,
          activation: x.activation,
          accumulate,
        }),
      )
      const accumulate = this.#accumulates(weights)
      const accumulateBias = bias !== undefined && this.#accumulates(bias)
      this.program.record('sddmm', {
        pattern,
        outputGradient,
        input: x.activations,
        gradient: weights.gradient,
        biasGradient: bias?.gradient,
        accumulate,
        accumulateBias,
      })
    })
    return y
  }

  /** y = activation(W x + b), W dense. */
  linear(x: Value, weights: DenseParameter, bias: DenseParameter | undefined, activation: ActivationName): Value {
    const y = this.#value(weights.rows, activation)
    this.program.record('linear', {
      weights: weights.values,
      bias: bias?.values,
      input: x.activations,
      output: y.activations,
      activation,
    })
    this.#later(() => {
      const outputGradient = this.#gradientOf(y)
      this.#contribute(x, (inputGradient, accumulate) =>
        this.program.record('linearTransposed', {
          weights: weights.values,
          outputGradient,
          inputGradient,
          input: x.activations,
          activation: x.activation,
          accumulate,
        }),
      )
      const accumulate = this.#accumulates(weights)
      const accumulateBias = bias !== undefined && this.#accumulates(bias)
      this.program.record('linearGradient', {
        outputGradient,
        input: x.activations,
        gradient: weights.gradient,
        biasGradient: bias?.gradient,
        accumulate,
        accumulateBias,
      })
    })
    return y
  }

  /** y = max(x, 0), where it cannot ride on the product before it. */
  relu(x: Value): Value {
    if (x.activation === 'relu') return x // rectifying twice changes nothing
    const y: Value = { ...this.#value(x.activations.features, 'none'), needsGradient: x.needsGradient }
    this.program.record('relu', { input: x.activations, output: y.activations })
    this.#later(() => {
      if (!this.#gradients.has(y)) return
      this.#contribute(x, (inputGradient, accumulate) =>
        this.program.record('reluGradient', {
          output: y.activations,
          outputGradient: this.#gradientOf(y),
          inputGradient,
          accumulate,
        }),
      )
    })
    return y
  }

  /** The gradient of a value, for a loss to write; what else the value flows into adds to it. */
  gradientOf(value: Value): Activations {
    this.#accumulates(value)
    return this.#gradientOf(value)
  }

  /** Records the gradients of everything on the tape. The loss has written gradientOf() its output before. */
  backward(): void {
    if (!this.training)
      throw new HebbError('INVALID_ARGUMENT', 'Expected a tape made for training, got one made for evaluation')
    for (const record of this.#backward.reverse()) record()
  }

  dispose(): void {
    for (const activations of this.#memory) activations.dispose()
  }

  #gradientOf(value: Value): Activations {
    let gradient = this.#gradients.get(value)
    if (!gradient) {
      gradient = this.activations(value.activations.features)
      this.#gradients.set(value, gradient)
    }
    return gradient
  }

  #value(features: number, activation: ActivationName): Value {
    return { activations: this.activations(features), activation, needsGradient: true }
  }

  #later(record: () => void): void {
    if (this.training) this.#backward.push(record)
  }

  #contribute(x: Value, record: (gradient: Activations, accumulate: boolean) => void): void {
    if (x.needsGradient) record(this.#gradientOf(x), this.#accumulates(x))
  }

  /** Whether the gradient of `target` was written before in this step; notes that it is now. */
  #accumulates(target: object): boolean {
    const before = this.#written.has(target)
    this.#written.add(target)
    return before
  }
}
