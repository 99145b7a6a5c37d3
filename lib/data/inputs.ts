/** Raw inputs in a file, for a model that is trained: what predict() takes. */
import { basename } from 'node:path'
import { expect, HebbError, show } from '../error.js'
import { isTyped } from '../typed_array.js'
import { readTable } from './csv.js'
import { transposed } from './emnist.js'
import { type DataFormat, featuresIn, isDataFormat, type RawInputs } from './format.js'
import { readIdx } from './idx.js'
import { readNpy } from './npy.js'

/** Samples [samples][features] of a file, and how many of them. */
interface Found {
  readonly samples: number
  /** Of one sample. */
  readonly shape: readonly number[]
  readonly data: RawInputs
}

const bad = (file: string, message: string) =>
  new HebbError('BAD_FILE', `Expected ${file} to hold inputs of the model: ${message}`)

/** Images in IDX files, as MNIST and its kin have them. */
async function images(path: string): Promise<Found> {
  const { shape, data, file } = await readIdx(path)
  const [samples = 0, ...rest] = shape
  const isTransposed = basename(file).startsWith('emnist-') && rest.join() === '28,28'
  return { samples, shape: rest, data: isTransposed ? transposed(data) : data }
}

/** The columns of a table that are inputs; targets may stand behind them. */
async function rows(file: string, { inputNames, targets, type, ...format }: DataFormat): Promise<Found> {
  const features = featuresIn(format)
  const { names, values, rows, columns } = await readTable(file, inputNames ? 'named' : 'unnamed')
  if (inputNames) {
    const all = [...inputNames, ...(targets?.names ?? [])]
    const expected = columns === features ? inputNames : all
    const other = Array.from({ length: Math.max(columns, expected.length) }, (_, i) => i).find(
      (i) => names[i] !== expected[i],
    )
    if (other !== undefined)
      throw bad(
        file,
        `its column ${other + 1} is ${show(names[other] ?? 'none')}, and the model's ` +
          `${show(expected[other] ?? 'none')}. Give the columns that it was trained on, with the targets or without.`,
      )
  } else if (columns !== features) {
    throw bad(file, `it has ${columns} columns, and the model ${features} inputs`)
  }
  const at = (i: number) => values[Math.floor(i / features) * columns + (i % features)] as number
  const data = type === 'uint8' ? new Uint8Array(rows * features) : new Float64Array(rows * features)
  for (let i = 0; i < data.length; ++i) {
    data[i] = at(i)
    if (type === 'uint8' && data[i] !== at(i))
      throw bad(
        file,
        `column ${(i % features) + 1} of row ${Math.floor(i / features) + 1} is ${at(i)}, and the model takes bytes, ` +
          'whole numbers from 0 to 255',
      )
  }
  return { samples: rows, shape: [features], data }
}

/** Arrays of NumPy. */
async function array(file: string): Promise<Found> {
  const { shape, data } = await readNpy(file)
  const [samples = 0, ...rest] = shape
  return { samples, shape: rest, data }
}

/**
 * Raw inputs of a file, for predict(): [samples][features] as `format`, what the model knows of its data, has them. A
 * name that ends in .csv is of a table (a header, which a model with named inputs needs, then a line a sample), one in
 * .npy of an array [samples, ...] of NumPy, any other of IDX images, plain or gzipped; those of EMNIST are turned
 * upright. Numbers of tables are doubles, as csv() takes them. MISSING_FILE;
 * BAD_FILE for a file of another number of features, of other columns, or with what is no
 * number.
 */
export async function readInputs(file: string, format: DataFormat): Promise<RawInputs> {
  expect(typeof file === 'string' && file !== '', () => `Expected the name of a file, got ${show(file)}`)
  expect(isDataFormat(format), () => `Expected the format of a model's data, its \`format\`, got ${show(format)}`)
  const read = /\.csv$/i.test(file) ? rows : /\.npy$/i.test(file) ? array : images
  const { samples, shape, data } = await read(file, format)
  const features = featuresIn({ shape })
  if (samples === 0) throw bad(file, 'it has no sample')
  if (
    features !== featuresIn(format) ||
    (shape.length > 1 && format.shape.length > 1 && `${shape}` !== `${format.shape}`)
  )
    throw bad(
      file,
      `its samples have ${features} features (${shape.join(' x ') || 'one number each'}), and the model's ` +
        `${featuresIn(format)} (${format.shape.join(' x ')})`,
    )
  const areBytes = isTyped(data, 'Uint8Array')
  if (format.type === 'uint8' && !areBytes)
    throw bad(file, 'it holds floating-point numbers, and the model takes bytes from 0 to 255')
  if (areBytes) return format.type === 'uint8' ? data : Float32Array.from(data)
  // As float32 has them.
  const nan = data.findIndex((value) => !Number.isFinite(Math.fround(value)))
  if (nan >= 0) throw bad(file, `feature ${nan % features} of sample ${Math.floor(nan / features)} is ${data[nan]}`)
  return data
}
