/** Weights of a layer as arrays of a program: what trainers and predictors give, and what is checked of others. */
import { expect, HebbError, known, show } from '../error.js'
import type { Links } from '../native.js'

/** W [rows = outputs][cols = inputs] and the biases of a layer. */
export interface LayerWeights {
  readonly rows: number
  readonly cols: number
  /** Of a sparse layer, by row (CSR); a fully connected one has none. */
  readonly links?: Links
  /** [links] in their order; of a fully connected layer [rows][cols], by row. */
  readonly values: Float32Array
  /** [rows], if the layer has biases. */
  readonly bias?: Float32Array
}

/** What setWeights() takes: what weights() gives, or arrays made elsewhere. */
export interface NewWeights {
  rows?: number | undefined
  cols?: number | undefined
  links?: { readonly rowOffsets: ArrayLike<number>; readonly columnIndices: ArrayLike<number> } | undefined
  values: ArrayLike<number>
  /** Default: they stay what they are. */
  bias?: ArrayLike<number> | undefined
}

/** A layer that weights are checked for. */
interface Shape {
  /** For messages. */
  readonly name: string
  readonly rows: number
  readonly cols: number
  readonly isSparse: boolean
  readonly hasBias: boolean
  /** Links that fit, where that is known. */
  readonly room?: number
}

const isList = (value: unknown): value is ArrayLike<number> =>
  typeof value === 'object' && value !== null && typeof (value as ArrayLike<number>).length === 'number'

function numbersOf(given: unknown, what: string, length: number, name: string): Float32Array {
  const isFit = isList(given) && given.length === length
  expect(isFit, () => `Expected ${length} ${what} for ${name}, got ${show(isList(given) ? given.length : given)}`)
  const numbers = Float32Array.from(given)
  const bad = numbers.findIndex((number, i) => !Number.isFinite(number) || typeof given[i] !== 'number')
  if (bad >= 0)
    throw new HebbError('NON_FINITE', `Expected finite ${what} for ${name}, got ${show(given[bad])} at ${bad}`)
  return numbers
}

function indicesOf(given: unknown, what: string, most: number, name: string): Int32Array {
  expect(isList(given), () => `Expected ${what} for ${name}, got ${show(given)}`)
  const bad = Array.prototype.findIndex.call(
    given,
    (index: unknown) => !Number.isInteger(index) || (index as number) < 0 || (index as number) > most,
  )
  expect(bad < 0, () => `Expected ${what} of ${name} to be integers in [0, ${most}], got ${show(given[bad])} at ${bad}`)
  return Int32Array.from(given)
}

function linksOf(given: NewWeights['links'], { name, rows, cols, room }: Shape): Links {
  expect(
    typeof given === 'object' && given !== null,
    () => `Expected links { rowOffsets, columnIndices } for the sparse layer ${name}, got ${show(given)}`,
  )
  const most = rows * cols
  const rowOffsets = indicesOf(given.rowOffsets, 'rowOffsets', most, name)
  const columnIndices = indicesOf(given.columnIndices, 'columnIndices', cols - 1, name)
  const count = columnIndices.length
  expect(
    rowOffsets.length === rows + 1 && rowOffsets[0] === 0 && rowOffsets[rows] === count,
    () =>
      `Expected ${rows + 1} rowOffsets of ${name}, from 0 to its ${count} links, got ${rowOffsets.length} from ` +
      `${rowOffsets[0]} to ${rowOffsets.at(-1)}`,
  )
  expect(
    room === undefined || count <= room,
    () => `Expected at most ${room} links for ${name}, which it has room for, got ${count}`,
  )
  const range = (row: number) => [rowOffsets[row] as number, rowOffsets[row + 1] as number] as const
  for (let row = 0; row < rows; ++row) {
    const [begin, end] = range(row)
    expect(begin <= end, () => `Expected rowOffsets of ${name} to ascend, got ${begin} and then ${end} in row ${row}`)
  }
  for (let row = 0; row < rows; ++row) {
    const [begin, end] = range(row)
    for (let k = begin + 1; k < end; ++k)
      expect(
        (columnIndices[k - 1] as number) < (columnIndices[k] as number),
        () =>
          `Expected columnIndices of ${name} to ascend within a row, each once, got ${columnIndices[k - 1]} and then ` +
          `${columnIndices[k]} in row ${row}`,
      )
  }
  return { rowOffsets, columnIndices }
}

/** A copy of weights that fit the layer; refuses others, before anything is changed. */
export function checkWeights(
  given: NewWeights,
  shape: Shape,
): { readonly links?: Links; readonly values: Float32Array; readonly bias?: Float32Array } {
  const { name, rows, cols, isSparse, hasBias } = shape
  known(given, 'setWeights()', { rows: true, cols: true, links: true, values: true, bias: true })
  expect(
    (given.rows ?? rows) === rows && (given.cols ?? cols) === cols,
    () => `Expected weights of ${rows} x ${cols} for ${name}, got ${given.rows ?? rows} x ${given.cols ?? cols}`,
  )
  expect(
    isSparse || given.links === undefined,
    () => `Expected no links for ${name}, which is fully connected: values by row, ${rows} x ${cols}`,
  )
  expect(hasBias || given.bias === undefined, () => `Expected no bias for ${name}, which has none`)
  const links = isSparse ? linksOf(given.links, shape) : undefined
  const values = numbersOf(given.values, 'values', links ? links.columnIndices.length : rows * cols, name)
  const bias = given.bias === undefined ? undefined : numbersOf(given.bias, 'biases', rows, name)
  return { ...(links && { links }), values, ...(bias && { bias }) }
}
