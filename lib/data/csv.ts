/** Tables of numbers with a header, one sample a line: inputs, then the targets of a regression. */
import { readFile } from 'node:fs/promises'
import { expect, HebbError, integer, known, show } from '../error.js'
import { sampleWithoutReplacement } from '../tensor.js'
import { type Dataset, dataset } from './dataset.js'
import type { DataFormat } from './format.js'
import type { TrainAndTest } from './mnist.js'

/** A column as it is standardised: what the network sees of a number is (number - mean) / deviation. */
export interface CsvColumn {
  readonly name: string
  readonly mean: number
  /** Above 0; 1 for a column that does not vary. */
  readonly deviation: number
}

/** What csv() takes. */
export interface CsvOptions {
  /** The last so many columns are targets, the others inputs. Default 1. */
  targets?: number | undefined
  /** Share of the rows that is held out as the test set, in (0, 1). Default 0.2. */
  testSize?: number | undefined
  /** Decides which rows those are. Default 0. */
  seed?: number | undefined
  /** To standardise by what an earlier file had, as its `columns` say; default: by the rows of the training set. */
  columns?: readonly CsvColumn[] | undefined
}

/** What csv() has read: two data sets, both standardised by the training set's columns. */
export interface CsvData extends TrainAndTest {
  /** All columns in their order: to standardise other inputs, and to read a network's outputs in the targets' units. */
  readonly columns: readonly CsvColumn[]
}

/** The fields of a line: separated by commas, quoted or not. */
function fieldsOf(line: string): string[] {
  if (!line.includes('"')) return line.split(',')
  const fields: string[] = []
  const quoted = /\s*"((?:[^"]|"")*)"\s*(?=,|$)/y
  for (let at = 0; ; ++at) {
    quoted.lastIndex = at
    const inner = quoted.exec(line)?.[1]
    const comma = line.indexOf(',', inner === undefined ? at : quoted.lastIndex)
    const end = comma < 0 ? line.length : comma
    fields.push(inner?.replaceAll('""', '"') ?? line.slice(at, end))
    if (comma < 0) return fields
    at = end
  }
}

const isNumber = (text: string) => text.trim() !== '' && Number.isFinite(Number(text))

/** All numbers of a file, by row, and the names of its columns. */
export interface Table {
  /** Empty where the first line holds numbers, and may. */
  readonly names: readonly string[]
  readonly values: Float64Array
  readonly rows: number
  readonly columns: number
}

/** `inputs`: a file of inputs alone may have one column, one row, and, if 'unnamed', no header. */
function parse(text: string, file: string, inputs?: 'named' | 'unnamed'): Table {
  const bad = (message: string) => new HebbError('BAD_FILE', `Expected ${file} to be a table of numbers: ${message}`)
  const lines = text.replace(/^\ufeff/, '').split(/\r?\n/)
  while (lines.length > 0 && lines.at(-1)?.trim() === '') lines.pop()
  const first = fieldsOf(lines[0] ?? '').map((name) => name.trim())
  const columns = first.length
  if (columns < (inputs ? 1 : 2) || (columns === 1 && first[0] === ''))
    throw bad(`its first line names ${show(first[0])}, not two columns or more. Separate the columns by commas.`)
  const isHeaderless = first.every(isNumber)
  if (isHeaderless && inputs !== 'unnamed')
    throw bad('its first line holds numbers. Put a line with the names of the columns before it.')
  const header = isHeaderless ? 0 : 1
  const rows = lines.length - header
  const least = inputs ? 1 : 2
  if (rows < least) throw bad(`it has ${rows} ${rows === 1 ? 'row' : 'rows'} below its header, fewer than ${least}`)
  const values = new Float64Array(rows * columns)
  for (let row = 0; row < rows; ++row) {
    const fields = fieldsOf(lines[row + header] as string)
    const line = row + header + 1
    if (fields.length !== columns)
      throw bad(`line ${line} has ${fields.length} fields, and the ${header ? 'header' : 'first'} ${columns}`)
    for (const [column, field] of fields.entries()) {
      if (!isNumber(field))
        throw bad(
          `column ${header ? show(first[column]) : column + 1} of line ${line} is ${show(field)}. Leave such rows ` +
            'out, or write numbers.',
        )
      values[row * columns + column] = Number(field)
    }
  }
  return { names: isHeaderless ? [] : first, values, rows, columns }
}

async function textOf(file: string): Promise<string> {
  return readFile(file, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT')
      throw new HebbError('MISSING_FILE', `Expected a CSV file at ${file}, got none`, { cause })
    throw new HebbError('BAD_FILE', `Expected to be able to read ${file}: ${cause.message}`, { cause })
  })
}

/** Reads a file of inputs alone, which is no whole data set. */
export async function readTable(file: string, inputs: 'named' | 'unnamed'): Promise<Table> {
  return parse(await textOf(file), file, inputs)
}

/** Mean and deviation of each column over some rows. */
function measure(names: readonly string[], values: Float64Array, rows: readonly number[], file: string): CsvColumn[] {
  const at = (row: number, column: number) => values[row * names.length + column] as number
  return names.map((name, column) => {
    const mean = rows.reduce((sum, row) => sum + at(row, column) / rows.length, 0)
    const variance = rows.reduce((sum, row) => sum + (at(row, column) - mean) ** 2 / rows.length, 0)
    // What is left by rounding of a column that does not vary is no deviation.
    const deviation = Math.sqrt(variance) > 1e-12 * Math.abs(mean) ? Math.sqrt(variance) : 1
    if (!Number.isFinite(mean) || !Number.isFinite(deviation))
      throw new HebbError('BAD_FILE', `Expected ${file} to have smaller numbers in column ${show(name)}. Scale them.`)
    return { name, mean, deviation }
  })
}

/** The columns that were asked for, where they are those of this file. */
function checkColumns(columns: readonly CsvColumn[], names: readonly string[], file: string): readonly CsvColumn[] {
  const whole = (column: CsvColumn) => Number.isFinite(column?.mean) && column.deviation > 0
  expect(
    Array.isArray(columns) && columns.every(whole),
    () => `Expected columns to be what csv() gave, with a mean and a positive deviation each, got ${show(columns)}`,
  )
  const other = Array.from({ length: Math.max(names.length, columns.length) }, (_, i) => i).find(
    (i) => columns[i]?.name !== names[i],
  )
  if (other !== undefined)
    throw new HebbError(
      'BAD_FILE',
      `Expected column ${other + 1} of ${file} to be ${show(columns[other]?.name ?? 'none')}, got ` +
        `${show(names[other] ?? 'none')}. Give a file with the columns that the network was trained on.`,
    )
  return columns
}

/** How the rows of a file become what the network sees: each column was standardised when it was read. */
function formatOf(columns: readonly CsvColumn[], inputs: number): DataFormat {
  const of = (some: readonly CsvColumn[]) => ({
    mean: some.map(({ mean }) => mean),
    deviation: some.map(({ deviation }) => deviation),
  })
  const names = (some: readonly CsvColumn[]) => some.map(({ name }) => name)
  const [first, last] = [columns.slice(0, inputs), columns.slice(inputs)]
  return {
    ...{ shape: [inputs], type: 'float32', inputs: of(first), inputNames: names(first) },
    targets: { ...of(last), names: names(last) },
  }
}

/**
 * A regression from a CSV file: a header with the names of the columns, then a line of numbers for each sample, inputs
 * first and targets last. A share of the rows, picked at random by `seed`, is the test set. Every column is
 * standardised by mean and deviation of the training set, so that a mean squared error of 1 is that of who predicts the
 * means.
 */
export async function csv(file: string, options: CsvOptions = {}): Promise<CsvData> {
  const all = { targets: true, testSize: true, seed: true, columns: true } as const
  const { targets = 1, testSize = 0.2, seed = 0 } = known(options, 'csv()', all)
  integer(targets, 'targets', 1)
  expect(
    typeof testSize === 'number' && testSize > 0 && testSize < 1,
    () => `Expected testSize to be in (0, 1), got ${show(testSize)}`,
  )
  const text = await textOf(file)
  const { names, values, rows } = parse(text, file)
  expect(
    targets < names.length,
    () => `Expected targets to leave inputs among the ${names.length} columns of ${file}, got ${targets}`,
  )
  const held = Math.min(rows - 1, Math.max(1, Math.round(testSize * rows)))
  const isHeld = new Uint8Array(rows)
  for (const row of sampleWithoutReplacement(new Float32Array(rows).fill(1), held, { seed })) isHeld[row] = 1
  const [kept, left] = [0, 1].map((which) => [...isHeld.keys()].filter((row) => isHeld[row] === which)) as [
    number[],
    number[],
  ]
  const columns = options.columns ? checkColumns(options.columns, names, file) : measure(names, values, kept, file)
  const inputs = names.length - targets
  const part = (chosen: readonly number[], name: string): Dataset => {
    const seen = (first: number, width: number) => {
      const out = new Float32Array(chosen.length * width)
      for (const [i, row] of chosen.entries())
        for (let j = 0; j < width; ++j) {
          const { mean, deviation } = columns[first + j] as CsvColumn
          out[i * width + j] = ((values[row * names.length + first + j] as number) - mean) / deviation
        }
      return out
    }
    const made = dataset({ x: seen(0, inputs), y: seen(inputs, targets), shape: [inputs], name })
    return { ...made, format: formatOf(columns, inputs) }
  }
  return { train: part(kept, `${file} (kept)`), test: part(left, `${file} (held out)`), columns }
}
