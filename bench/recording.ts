/**
 * A step taken apart, as the engine has no clock for single operations: those of one kind, as often as the step has
 * them, with its weights and its shapes, in a Program of their own.
 */
import { type Activations, type Lifetime, Program, type Tensor } from '../lib/index.js'
import type { OperandsOf, OperationName } from '../lib/operands.js'
import type { Transfer } from '../lib/program.js'
import { Axis } from '../lib/tensor.js'
import { numbers } from './measure.js'

export interface Operation {
  readonly name: OperationName
  readonly operands: Readonly<Record<string, unknown>>
}

/** How Program.activations() was asked for a value. */
type Asked = readonly [features: number, lifetime?: Lifetime, axis?: Axis]

/** Some operations of a step in a Program of their own. */
export interface Part {
  readonly program: Program
  /** For a replay that comes first, or after one of another Program in the workspace. */
  readonly writes: readonly Transfer[]
}

/** What was recorded into a Program. */
export class Recording {
  readonly operations: Operation[] = []
  readonly values = new Map<unknown, Asked>()
  readonly #of: Program
  #random: Float32Array = new Float32Array(0)

  constructor(of: Program) {
    this.#of = of
  }

  /**
   * The operations that are asked for, behind those that say how many columns the axes have. Values that other
   * operations of the step touch begin with numbers that look random.
   */
  part(isAskedFor: (operation: Operation) => boolean, workspace: Tensor<'uint8'>): Part {
    const { device, batch } = this.#of
    const program = new Program(device, { batch, workspace })
    const isMine = (one: Operation) => one.name === 'gatherSequences' || isAskedFor(one)
    const others = new Set(
      this.operations.filter((one) => !isMine(one)).flatMap(({ operands }) => Object.values(operands)),
    )
    const made = new Map<unknown, unknown>()
    const given: Activations[] = []
    const axisOf = (axis: Axis): Axis => {
      if (!made.has(axis)) made.set(axis, program.axis(axis.columns))
      return made.get(axis) as Axis
    }
    const ours = (operand: unknown): unknown => {
      if (operand instanceof Axis) return axisOf(operand)
      const asked = this.values.get(operand)
      if (!asked) return operand
      const [features, lifetime, axis] = asked
      if (!made.has(operand)) {
        // What others touch is given, so that nothing is left out as unread which they would have read.
        const isGiven = others.has(operand)
        const value = program.activations(features, isGiven ? 'given' : lifetime, axis && axisOf(axis))
        if (isGiven) given.push(value)
        made.set(operand, value)
      }
      return made.get(operand)
    }
    for (const { name, operands } of this.operations.filter(isMine)) {
      const own = Object.fromEntries(Object.entries(operands).map(([key, operand]) => [key, ours(operand)]))
      program.record(name, own as unknown as OperandsOf[typeof name])
    }
    const sizeOf = ({ features, capacity }: Activations) => features * capacity
    const most = Math.max(0, ...given.map(sizeOf))
    if (most > this.#random.length) this.#random = numbers(most)
    const write = (value: Activations) => [value, this.#random.subarray(0, sizeOf(value)), value.capacity] as const
    return { program, writes: given.map(write) }
  }
}

/** What is recorded while `run` runs, Program by Program. */
export async function recordings(run: () => Promise<unknown>): Promise<Recording[]> {
  const all = new Map<Program, Recording>()
  const of = (program: Program): Recording => {
    const recording = all.get(program) ?? new Recording(program)
    all.set(program, recording)
    return recording
  }
  const { record, activations } = Program.prototype
  Program.prototype.record = function (name, operands) {
    of(this).operations.push({ name, operands: { ...operands } })
    record.call(this, name, operands)
  }
  Program.prototype.activations = function (...asked) {
    const value = activations.apply(this, asked)
    of(this).values.set(value, asked)
    return value
  }
  try {
    await run()
  } finally {
    Object.assign(Program.prototype, { record, activations })
  }
  return [...all.values()]
}
