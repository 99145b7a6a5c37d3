/**
 * A small tape over the operations. It runs at record time only: a forward pass through the modules records the
 * operations of the step, and backward() records those of the gradients, in reverse. Nothing of it is left when the
 * program runs.
 */
import type { Device } from './device.js'
import { HebbError } from './error.js'
import type { Parameter, SparseParameter } from './nn/parameter.js'
import type { OperandsOf, OperationName } from './operands.js'
import type { Program } from './program.js'
import type { Activations, Axis, Tensor } from './tensor.js'

/** What a sparse layer's gradient is the product of, after a backward pass: gradient = outputGradient input^T. */
export interface LayerGradient {
  readonly weights: SparseParameter
  /** [inputs][columns] */
  readonly input: Activations
  /** [outputs][columns] */
  readonly outputGradient: Activations
}

/** Sequences of tokens, one behind another along an axis whose columns are the tokens. */
export interface Sequences {
  readonly axis: Axis
  /** Sequences that fit. */
  readonly count: number
  /** [count + 1] the column where each begins; behind the last, where it ends. */
  readonly offsets: Tensor<'int32'>
  /** [columns of the axis] the place of each token in its sequence, from 0. */
  readonly positions: Tensor<'int32'>
  /** Whose columns are the sequences themselves, one each, where a task is about them as a whole. */
  readonly whole?: Axis | undefined
}

/** A batch of activations on the tape. */
export interface Value {
  /** [features][columns] */
  readonly activations: Activations
  readonly needsGradient: boolean
  /** Of values whose columns are tokens. */
  readonly sequences?: Sequences | undefined
  /** What the columns lie along, where they are neither the batch's nor tokens. */
  readonly axis?: Axis | undefined
}

/** What columns lie along, where they are not the batch's. */
const axisOf = ({ axis, sequences }: Pick<Value, 'axis' | 'sequences'>): Axis | undefined => axis ?? sequences?.axis

/** Tokens, which a model takes by an Embedding. */
export class Tokens implements Value {
  /** [columns of the axis] */
  readonly tokens: Tensor<'int32'>
  readonly sequences: Sequences
  readonly needsGradient = false

  constructor(tokens: Tensor<'int32'>, sequences: Sequences) {
    this.tokens = tokens
    this.sequences = sequences
  }

  get activations(): Activations {
    throw new HebbError(
      'INVALID_ARGUMENT',
      'Expected activations, got tokens. Begin a model for text with an Embedding.',
    )
  }
}

/** Where an operation writes a gradient, or adds to what others of the step have written. */
export interface GradientTarget<Memory> {
  readonly gradient: Memory
  readonly accumulate: boolean
}

/** What a module adds to the tape by Tape.apply(). */
export interface Application {
  /** Of the result. */
  features: number
  /** What the result is computed from: it has the columns of the first one. */
  inputs: readonly Value[]
  /** Of the result's columns, where they are others than the first input's: tokens of these sequences, */
  sequences?: Sequences
  /** or no tokens, along this axis. */
  axis?: Axis
  /** Parameters whose gradients the backward pass writes. */
  parameters?: readonly Parameter[]
  /** Records what computes the result, by Tape.record(). */
  forward(output: Activations): void
  /**
   * Records what the gradient of the result gives those of inputs and parameters: for each of them, an operation that
   * writes into Tape.gradient() of it, if there is one. Called when the gradient of the result is complete, and not
   * where none reaches it.
   */
  backward(outputGradient: Activations, output: Activations): void
}

/** What a Tape is made with. */
export interface TapeOptions {
  /** Whether backward() will be called. */
  training: boolean
  /** Keeps what the sparse layers' gradients are products of, for who reads it after the step. */
  keepGradients?: boolean | undefined
  /** Parameters whose gradients nobody wants. */
  frozen?: ReadonlySet<Parameter> | undefined
}

/**
 * Records the operations of a forward pass in a Program and, by backward(), those of their gradients in reverse order
 * (reverse-mode automatic differentiation). Nothing is computed before the Program is replayed.
 */
export class Tape {
  readonly program: Program
  readonly device: Device
  readonly training: boolean
  readonly #keepGradients: boolean
  readonly #frozen: ReadonlySet<Parameter>
  #axis: Axis | undefined
  readonly #axes: Axis[] = []
  #backward: (() => void)[] = []
  #gradients = new Map<Value, Activations>()
  #written = new Set<object>()
  readonly #memory: { dispose(): void }[] = []
  /** What the modules of the model gave, in their order. */
  readonly outputs: { readonly module: object; readonly output: Activations }[] = []
  /**
   * Where the sparse layers' gradients come from, one entry for each use of a layer's weights; filled by backward().
   */
  readonly gradients: LayerGradient[] = []

  constructor(program: Program, options: TapeOptions) {
    this.program = program
    this.device = program.device
    this.training = options.training
    this.#keepGradients = options.keepGradients ?? false
    this.#frozen = options.frozen ?? new Set()
  }

  /** Columns that activations on the tape have room for. */
  get batch(): number {
    return this.#axis?.columns ?? this.program.batch
  }

  /** Which column of the whole batch their first one is. */
  get firstColumn(): number {
    return this.#axis?.first ?? 0
  }

  /**
   * What is recorded from now on is for the columns of this axis, which is disposed with the tape. Gradients of
   * parameters add to those of what was recorded before.
   */
  begin(axis: Axis): void {
    this.#axis = axis
    this.#axes.push(axis)
  }

  /** Disposes this with the tape. */
  own<T extends { dispose(): void }>(memory: T): T {
    this.#memory.push(memory)
    return memory
  }

  /** Activations [features][batch, or the columns of a value], for what an operation has beside its result. */
  activations(features: number, along: Pick<Value, 'axis' | 'sequences'> = {}): Activations {
    return this.own(this.program.activations(features, 'step', axisOf(along) ?? this.#axis))
  }

  /** Activations that the host writes before each step. */
  given(features: number): Activations {
    return this.own(this.program.activations(features, 'given', this.#axis))
  }

  /** A value that the tape did not compute. */
  input(activations: Activations): Value {
    return { activations, needsGradient: false }
  }

  /** Records one operation; see Program.record(). */
  record<Name extends OperationName>(operation: Name, operands: OperandsOf[Name]): void {
    this.program.record(operation, operands)
  }

  /** Adds a result that is computed from others, with what its gradient gives them. */
  apply({ features, inputs, parameters = [], forward, backward, ...along }: Application): Value {
    const { sequences, axis } = along.sequences || along.axis ? along : (inputs[0] ?? {})
    const activations = this.activations(features, { sequences, axis })
    const isTrained = parameters.some((parameter) => !this.#frozen.has(parameter))
    const needsGradient = isTrained || inputs.some((input) => input.needsGradient)
    const value: Value = { activations, needsGradient, sequences, axis }
    forward(activations)
    if (this.training && needsGradient) {
      this.#backward.push(() => {
        const gradient = this.#gradients.get(value)
        if (gradient) backward(gradient, activations)
      })
    }
    return value
  }

  /**
   * Adds what `compute` gives, and keeps nothing of it for the backward pass, which computes it again before it needs
   * it: memory for time. What `compute` records must be the same both times.
   */
  recompute(compute: () => Value): Value {
    const outer = this.#backward
    this.#backward = []
    const value = compute()
    this.#backward = outer
    if (!this.training || !value.needsGradient) return value
    outer.push(() => {
      const gradient = this.#gradients.get(value)
      if (!gradient) return
      const again = compute()
      this.#gradients.set(again, gradient)
      this.#written.add(again)
      this.#recordBackward()
    })
    return value
  }

  /**
   * Adds what `compute` makes of a value, so many of its columns at a time, with the backward pass of what it adds: of
   * what lies between, such as scores of many words, no more is ever there than for these columns. To be called before
   * backward(), with `compute` to write the first gradient, as a loss does.
   */
  byColumns(x: Value, columns: number, compute: (part: Value) => void): void {
    const { activations } = x
    const [whole, backward] = [this.#axis, this.#backward]
    const of = axisOf(x) ?? whole
    for (let first = 0; first < activations.capacity; first += columns) {
      this.#axis = this.own(this.program.part(first, Math.min(columns, activations.capacity - first), of))
      this.#backward = []
      const part: Value = { activations: this.activations(activations.features), needsGradient: x.needsGradient }
      this.record('takeColumns', { input: activations, output: part.activations })
      compute(part)
      if (this.training) this.#recordBackward()
      this.#axis = whole
      const gradient = this.#gradients.get(part)
      const into = gradient && this.gradient(x)
      // Whatever adds to it besides does so later.
      if (into) this.record('putColumns', { input: gradient, output: into.gradient, keep: first > 0 })
    }
    this.#backward = backward
  }

  /**
   * Where the next contribution to the gradient of a value, or of a parameter, goes; undefined where nobody needs it,
   * as in evaluation, or that of a frozen parameter. Whoever asks must write there, in the order of the questions.
   */
  gradient(of: Value): GradientTarget<Activations> | undefined
  gradient(of: Parameter): GradientTarget<Tensor> | undefined
  gradient(of: Value | Parameter): GradientTarget<Activations | Tensor> | undefined {
    if (!this.training || ('activations' in of ? !of.needsGradient : this.#frozen.has(of))) return undefined
    const accumulate = this.#written.has(of)
    this.#written.add(of)
    return { gradient: 'activations' in of ? this.#gradientOf(of) : of.gradient, accumulate }
  }

  /** Notes what the gradient of a sparse layer's links is the product of: dense-gradient growth reads both. */
  noteGradient(layer: LayerGradient): void {
    if (this.#frozen.has(layer.weights)) return
    this.gradients.push(layer)
    if (!this.#keepGradients) return
    this.program.keep(layer.input)
    this.program.keep(layer.outputGradient)
  }

  /** Notes what a module gave, so that it can be found when numbers go wrong. */
  note(module: object, value: Value): void {
    this.outputs.push({ module, output: value.activations })
  }

  /** Records the gradients of everything on the tape. The loss has written gradient() of its output before. */
  backward(): void {
    if (!this.training)
      throw new HebbError('INVALID_ARGUMENT', 'Expected a tape made for training, got one made for evaluation')
    this.#recordBackward()
  }

  #recordBackward(): void {
    const records = this.#backward.reverse()
    this.#backward = []
    for (const record of records) record()
  }

  /** Gives back what the tape owns. */
  dispose(): void {
    for (const owned of [...this.#memory, ...this.#axes]) owned.dispose()
  }

  #gradientOf(value: Value): Activations {
    let gradient = this.#gradients.get(value)
    if (!gradient) {
      gradient = this.activations(value.activations.features, value)
      this.#gradients.set(value, gradient)
    }
    return gradient
  }
}
