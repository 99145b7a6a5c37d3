/** Reads and replaces the weights of one layer of a model in use. */
import type { Device } from '../device.js'
import { expect, HebbError, show } from '../error.js'
import type { Links } from '../native.js'
import { Linear } from '../nn/linear.js'
import { type DenseParameter, type Parameter, SparseParameter } from '../nn/parameter.js'
import type { Sequential } from '../nn/sequential.js'
import { SparseLinear } from '../nn/sparse_linear.js'
import { checkWeights, type LayerWeights, type NewWeights } from '../nn/weights.js'
import { Program } from '../program.js'
import { cscSlots, inColumnOrder, inRowOrder, Tensor } from '../tensor.js'
import { namedModules, namedParameters } from './checkpoint.js'

/** A layer of a model in use. */
interface Layer {
  readonly name: string
  readonly weights: Parameter
  readonly bias: DenseParameter | undefined
}

/** The names of a model's sparse layers, in the order of its sparse parameters. */
export function sparseNames(model: Sequential): string[] {
  return namedParameters(model).flatMap(([name, parameter]) =>
    parameter instanceof SparseParameter ? [name.replace(/\.weights$/, '')] : [],
  )
}

/** The layer of this name, or number, among a model's sparse and fully connected ones. */
export function layerOf(model: Sequential, which: number | string): Layer {
  const all = [...namedModules(model)].filter(([m]) => m instanceof SparseLinear || m instanceof Linear)
  const names = all.map(([, name]) => name)
  const found = all.find(([, name], i) => i === which || name === which)
  expect(
    found !== undefined,
    () => `Expected a layer of the model, ${names.join(', ')} or its number from 0 on, got ${show(which)}`,
  )
  const [module, name] = found
  const [weights, bias] = module.parameters as [Parameter, DenseParameter | undefined]
  return { name, weights, bias }
}

export async function readWeights({ weights, bias }: Layer): Promise<LayerWeights> {
  const ofBias = bias && { bias: await bias.values.read() }
  if (!(weights instanceof SparseParameter))
    return { rows: weights.rows, cols: weights.cols, values: await weights.values.read(), ...ofBias }
  const { rows, cols } = weights.matrix
  const links = await weights.matrix.read()
  const values = await weights.values.read(links.columnIndices.length)
  return { rows, cols, links, values: inRowOrder(values, cscSlots(links, cols)), ...ofBias }
}

/** Writes values, and zeroes the optimizer's state where they differ from what was there. */
async function write(parameter: Parameter, values: Float32Array): Promise<void> {
  const before = await parameter.values.read(values.length)
  const slots: [Tensor, Float32Array][] = []
  for (const slot of parameter.slots.values()) {
    const state = await slot.read(values.length)
    slots.push([slot, state.map((one, i) => (Object.is(values[i], before[i]) ? one : 0))])
  }
  for (const [slot, state] of slots) await slot.write(state, values.length)
  await parameter.values.write(values, values.length)
}

/** Walks through two lists of links, cell by cell: the place of each link in one, in the other, or in both. */
function compare(
  one: Links,
  other: Links,
  visit: (row: number, col: number, ofOne: number | undefined, ofOther: number | undefined) => void,
): void {
  for (let row = 0; row + 1 < one.rowOffsets.length; ++row) {
    let [i, j] = [one.rowOffsets[row] as number, other.rowOffsets[row] as number]
    const [endOne, endOther] = [one.rowOffsets[row + 1] as number, other.rowOffsets[row + 1] as number]
    while (i < endOne || j < endOther) {
      const a = i < endOne ? (one.columnIndices[i] as number) : Number.POSITIVE_INFINITY
      const b = j < endOther ? (other.columnIndices[j] as number) : Number.POSITIVE_INFINITY
      visit(row, Math.min(a, b), a <= b ? i++ : undefined, b <= a ? j++ : undefined)
    }
  }
}

/** Moves a sparse layer to other links: those that stay keep all that is theirs, others begin at 0. */
async function relink(device: Device, parameter: SparseParameter, links: Links): Promise<void> {
  const { matrix, capacity } = parameter
  const before = await matrix.read()
  const slots = cscSlots(before, matrix.cols)
  const keep = new Uint8Array(capacity)
  const [newRows, newColumns] = [new Int32Array(capacity), new Int32Array(capacity)]
  let [kept, fresh] = [0, 0]
  compare(before, links, (row, col, old, next) => {
    if (old !== undefined && next !== undefined) {
      keep[slots[old] as number] = 1
      ++kept
    } else if (next !== undefined) {
      newRows[fresh] = row
      newColumns[fresh++] = col
    }
  })
  if (fresh === 0 && kept === before.columnIndices.length) return
  const made: { dispose(): void }[] = []
  const tensor = <T extends 'uint8' | 'int32'>(type: T, data: T extends 'uint8' ? Uint8Array : Int32Array) => {
    const one = new Tensor<'uint8' | 'int32'>(device, type, data) as Tensor<T>
    made.push(one)
    return one
  }
  try {
    const changes = {
      keep: tensor('uint8', keep),
      newRows: tensor('int32', newRows),
      newColumns: tensor('int32', newColumns),
      newCount: tensor('int32', Int32Array.of(fresh)),
    }
    const program = new Program(device)
    made.push(program)
    program.record('rebuild', { links: matrix, changes, arrays: parameter.arrays })
    await program.replay(1)
  } finally {
    for (const one of made.reverse()) one.dispose()
  }
}

/** Refuses links that a method which remembers pruned ones has not seen. */
async function expectInPool({ pool }: SparseParameter, links: Links, name: string): Promise<void> {
  if (!pool) return
  compare(await pool.links.read(), links, (row, col, known, link) => {
    if (link !== undefined && known === undefined)
      throw new HebbError(
        'UNSUPPORTED',
        `Expected links among those that ${name} began with, as its method lets pruned ones return, got a new one ` +
          `from input ${col} to output ${row}`,
      )
  })
}

/**
 * Replaces the weights of a layer, where they fit: all is checked before anything is changed. A link, weight or bias
 * that is what it was keeps its optimizer state; that of others begins at 0.
 */
export async function replaceWeights(device: Device, { name, weights, bias }: Layer, given: NewWeights): Promise<void> {
  const isSparse = weights instanceof SparseParameter
  const { rows, cols } = isSparse ? weights.matrix : weights
  const room = isSparse ? { room: weights.matrix.capacity } : {}
  const {
    links,
    values,
    bias: biases,
  } = checkWeights(given, {
    ...{ name, rows, cols, isSparse, hasBias: bias !== undefined },
    ...room,
  })
  if (isSparse && links) {
    await expectInPool(weights, links, name)
    await relink(device, weights, links)
    await write(weights, inColumnOrder(values, cscSlots(links, cols)))
  } else {
    await write(weights, values)
  }
  if (bias && biases) await write(bias, biases)
}
