/**
 * A recorded step: operations with their operands, replayed natively, off the event loop. Shapes are checked when an
 * operation is recorded.
 */
import type { Device } from './device.js'
import { expect, HebbError, integer, known, show } from './error.js'
import type { NativeActivations, NativeProgram, NativeTransfer } from './native.js'
import type { OperandsOf, OperationName } from './operands.js'
import { Activations, Axis, SparseMatrix, Tensor, type TensorType, type TypedArrayOf, typedArrays } from './tensor.js'
import { isTyped } from './typed_array.js'

/**
 * As the addon takes them: tensors, activations and matrices stand for their memory. What is undefined is not given.
 */
function nativeOf(operand: unknown): unknown {
  if (operand instanceof Tensor || operand instanceof SparseMatrix || operand instanceof Axis) return operand.native
  if (Array.isArray(operand)) return operand.map(nativeOf)
  if (typeof operand !== 'object' || operand === null) return operand
  if (operand instanceof Activations) {
    const { buffer, features, capacity, first, rows } = operand
    return { buffer, features, capacity, first, rows }
  }
  return Object.fromEntries(Object.entries(operand).map(([name, inner]) => [name, nativeOf(inner)]))
}

/** Where a segment of steps begins. But for the count of steps and the scalars, nothing is taken over from before. */
export interface Segment {
  /** Number of the first step. Default: the next one. */
  step?: number
  /**
   * Rows of scalars. The first is the first step's, and steps past the last row use that. Default: those of before,
   * from the first row on.
   */
  scalars?: ArrayLike<number> | undefined
  /** Length of the stream of samples; 0, the default: no stream. */
  samples?: number
  /** Place in the stream where the first batch begins. Default 0. */
  first?: number
  /** Without a stream: valid columns of the batch. Default: all. */
  columns?: number
}

/** What replay() takes. */
export interface ReplayOptions {
  /** Where to begin; without it, where the last one ended. One that is refused changes nothing. */
  begin?: Segment | undefined
  /** Written before the first step. The arrays may be reused at once. */
  writes?: readonly Transfer[] | undefined
  /** Read after the last step, into the arrays. */
  reads?: readonly Transfer[] | undefined
  /**
   * Called in each step between its sections, 0 after the first: see Program.cut(). What it throws is thrown by the
   * replay; its step is then given up.
   */
  between?: ((section: number) => unknown) | undefined
  /**
   * Stops before or after the step that runs, within it if nothing that lasts was changed yet; the promise then rejects
   * with code ABORTED and the signal's reason as cause. The steps done are whole.
   */
  signal?: AbortSignal | undefined
}

/** The promise, or ABORTED as soon as the signal says so; what the promise stands for goes on by itself. */
export async function unlessAborted<T>(promise: Promise<T>, signal?: AbortSignal): Promise<T> {
  if (!signal) return promise
  const stopped = () => new HebbError('ABORTED', 'The call was stopped by its AbortSignal', { cause: signal.reason })
  if (signal.aborted) throw stopped()
  let abort = () => {}
  const aborted = new Promise<never>((_, reject) => {
    abort = () => reject(stopped())
    signal.addEventListener('abort', abort, { once: true })
  })
  try {
    return await Promise.race([promise, aborted])
  } finally {
    signal.removeEventListener('abort', abort)
  }
}

/**
 * Memory on the device and an array for it: all of a tensor, or its first elements; or [columns][features] for the
 * first columns of activations.
 */
export type Transfer =
  | readonly [tensor: Tensor<TensorType>, array: TypedArrayOf<TensorType>]
  | readonly [activations: Activations, array: Float32Array, columns: number]

function nativeTransfer([memory, array, columns = 0]: Transfer): NativeTransfer {
  if (memory instanceof Activations) return [nativeOf(memory) as NativeActivations, array, columns]
  expect(
    isTyped(array, typedArrays[memory.type].name as 'Float32Array'),
    () => `Expected a ${typedArrays[memory.type].name} for a tensor of ${memory.type}, got ${show(array)}`,
  )
  return [memory.native, array, 0]
}

function segmentOf({ step, scalars, samples = 0, first = 0, columns = 0 }: Segment) {
  return { step, scalars: scalars && Float64Array.from(scalars), samples, columns, next: first }
}

/** What a Program is made with. */
export interface ProgramOptions {
  /** Numbers that operations read and that may differ from step to step. Default 1. */
  scalars?: number | undefined
  /** Columns of a full batch. Default 1. */
  batch?: number | undefined
  /**
   * Memory for the values of several programs, of which one runs at a time: it grows as they need it, and a replay of
   * one may overwrite what another has kept. Without it the program has its own.
   */
  workspace?: Tensor<'uint8'> | undefined
}

/**
 * How long a value needs its memory. 'step': from the operation that writes it to the one that reads it last; values
 * whose times do not meet lie in the same place. 'given': the host writes it before each replay of a step, and it is
 * there until it is read last. 'kept': it is there when the replay is done, for others to read.
 */
export type Lifetime = 'step' | 'given' | 'kept'

/**
 * Operations that are recorded once and replayed as steps, on one device: what a training step is made of. An operation
 * that does not fit is refused when it is recorded, with INVALID_ARGUMENT.
 */
export class Program {
  readonly device: Device
  readonly batch: number
  readonly #native: NativeProgram
  #sections = 1
  #disposed = false

  constructor(device: Device, options: ProgramOptions = {}) {
    known(options, 'Program', { scalars: true, batch: true, workspace: true })
    this.device = device
    this.batch = integer(options.batch ?? 1, 'batch', 1)
    this.#native = device.native.program(
      integer(options.scalars ?? 1, 'scalars', 1),
      this.batch,
      options.workspace?.native,
    )
  }

  /**
   * Columns [first, first + columns) of each batch, a micro-batch, or of an axis that has values, as far as it has
   * them, for values to have. `first` is a multiple of 16.
   */
  part(first: number, columns: number, of?: Axis): Axis {
    const native = this.#native.part(first, columns, of?.native)
    return new Axis(this.device, (of?.first ?? 0) + first, columns, native)
  }

  /**
   * An axis of its own, such as one of tokens, with room for so many columns. An operation of each step says how many
   * it has: gatherSequences.
   */
  axis(columns: number): Axis {
    return new Axis(this.device, 0, columns, this.#native.axis(integer(columns, 'columns', 1, 2 ** 31 - 1)))
  }

  /**
   * A value of the step: activations [features][batch], or [features][columns of an axis], whose memory the program
   * finds. Disposed with it, or before.
   */
  activations(features: number, lifetime: Lifetime = 'step', axis?: Axis): Activations {
    integer(features, 'features', 1)
    const native = this.#native.value(features, lifetime, axis?.native)
    return new Activations(this.device, features, axis?.columns ?? this.batch, native)
  }

  /** Keeps a value for who reads it when the replay is done: the host, or another program. */
  keep(value: Activations): void {
    this.#native.setLifetime(value, 'kept')
  }

  /**
   * Keeps all values from now on, each in memory of its own, to look where a number went wrong; or goes back to what
   * was declared.
   */
  async keepAll(all: boolean): Promise<void> {
    return this.#native.keepAll(all)
  }

  /**
   * Adds an operation with its operands, which lib/operands.ts lists. Scalars are given by their index in the table.
   * Throws INVALID_ARGUMENT for operands that the operation does not have, and for those whose types, shapes or memory
   * do not fit.
   */
  record<Name extends OperationName>(operation: Name, operands: OperandsOf[Name]): void {
    this.#native.record(operation, nativeOf(operands) as object)
  }

  /**
   * What is recorded from now on is another section of the step. Between two sections, a replay that is given `between`
   * lets the host look at what lies on the device, or change it; one that is not runs them one after another.
   */
  cut(): void {
    this.#native.cut()
    this.#sections += 1
  }

  /** Runs `steps` steps in one native call. With 0 steps, it says where the next replay begins. */
  async replay(steps: number, options: ReplayOptions = {}): Promise<void> {
    known(options, 'replay()', { begin: true, writes: true, reads: true, between: true, signal: true })
    const { signal, begin } = options
    if (begin) known(begin, 'begin', { step: true, scalars: true, samples: true, first: true, columns: true })
    const writes = options.writes?.map(nativeTransfer)
    const reads = options.reads?.map(nativeTransfer)
    const stopped = () =>
      new HebbError('ABORTED', 'The program was stopped by its AbortSignal', { cause: signal?.reason })
    if (signal?.aborted) throw stopped()
    const abort = () => this.#native.abort()
    signal?.addEventListener('abort', abort, { once: true })
    try {
      const segment = begin && segmentOf(begin)
      if (options.between && steps > 0) await this.#replaySections(steps, segment, writes, reads, options)
      else await this.#native.replay(steps, segment, writes, reads)
    } catch (error) {
      if (this.#disposed)
        throw new HebbError(
          'DISPOSED',
          'Expected a program that is in use until its replay is done, got one that was disposed before',
        )
      if (signal?.aborted && (error as HebbError).code === 'ABORTED') throw stopped()
      throw error
    } finally {
      signal?.removeEventListener('abort', abort)
    }
  }

  /** Steps are whole: once its first section has run, nobody stops one but who fails in between. */
  async #replaySections(
    steps: number,
    segment: ReturnType<typeof segmentOf> | undefined,
    writes: NativeTransfer[] | undefined,
    reads: NativeTransfer[] | undefined,
    { between, signal }: ReplayOptions,
  ): Promise<void> {
    const last = this.#sections - 1
    for (let step = 0; step < steps; ++step) {
      if (signal?.aborted)
        throw new HebbError('ABORTED', `stopped after ${step} of ${steps} steps`, { cause: signal.reason })
      for (let section = 0; section <= last; ++section) {
        const first = step === 0 && section === 0
        const end = step === steps - 1 && section === last
        await this.#native.replay(1, first ? segment : undefined, first ? writes : [], end ? reads : [], section)
        if (section === last) break
        try {
          await between?.(section)
        } catch (error) {
          await this.#native.cancelStep()
          throw error
        }
      }
    }
  }

  /** Steps done so far; may be read while a replay runs. */
  get stepsDone(): number {
    return this.#native.stepsDone
  }

  /** Operations that a step runs after fusion, with the one that begins it. 0 before the first replay. */
  get operationCount(): number {
    return this.#native.operationCount
  }

  /** Stops what runs. Safe to call twice. */
  dispose(): void {
    this.#disposed = true
    this.#native.abort()
    this.#native.dispose()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}
