/**
 * Arrays that NumPy has saved (numpy.save): a magic number, a header that tells type, order and shape as Python writes
 * a dict, then the elements. Format: numpy.lib.format, versions 1 to 3.
 */
import { readFile } from 'node:fs/promises'
import { HebbError } from '../error.js'

/** An array of NumPy, its elements by row. */
export interface Npy {
  readonly shape: readonly number[]
  readonly data: Uint8Array | Float32Array | Float64Array
}

const MAGIC = '\x93NUMPY'
const BYTES = { '|u1': 1, '<f4': 4, '<f8': 8 } as const

/** Parses a .npy file's bytes; `name` is for messages. Elements are uint8, float32 or float64, in C order. */
export function parseNpy(bytes: Uint8Array, name = 'the file'): Npy {
  const bad = (message: string) => new HebbError('BAD_FILE', `Expected ${name} to be an array of NumPy: ${message}`)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const latin1 = (begin: number, end: number) => Buffer.from(bytes.subarray(begin, end)).toString('latin1')
  if (bytes.length < 12 || latin1(0, 6) !== MAGIC) throw bad('it does not begin as numpy.save() begins files')
  const isFirst = bytes[6] === 1
  const from = isFirst ? 10 : 12
  const end = from + (isFirst ? view.getUint16(8, true) : view.getUint32(8, true))
  const header = latin1(from, end)
  const descr = /'descr':\s*'([^']*)'/.exec(header)?.[1]
  const order = /'fortran_order':\s*(True|False)/.exec(header)?.[1]
  const lengths = /'shape':\s*\(([\d\s,]*)\)/.exec(header)?.[1]
  if (end > bytes.length || descr === undefined || order === undefined || lengths === undefined)
    throw bad('its header does not tell descr, fortran_order and shape')
  if (!Object.hasOwn(BYTES, descr))
    throw bad(`its elements are of type '${descr}'. Save it as uint8 or float32: numpy.save(file, array.astype('f4')).`)
  if (order === 'True') throw bad('it lies column by column. Save numpy.ascontiguousarray(array).')
  const shape = lengths.split(',').flatMap((length) => (length.trim() === '' ? [] : [Number(length)]))
  const elements = shape.reduce((product, length) => product * length, 1)
  const each = BYTES[descr as keyof typeof BYTES]
  if (bytes.length - end !== each * elements)
    throw bad(`its header says ${shape.join(' x ')} elements, but ${bytes.length - end} bytes follow`)
  const own = new Uint8Array(bytes.subarray(end)) // a copy, where floats may begin
  if (each === 1) return { shape, data: own }
  return {
    shape,
    data: each === 4 ? new Float32Array(own.buffer) : new Float64Array(own.buffer),
  }
}

/** Reads a .npy file. */
export async function readNpy(file: string): Promise<Npy> {
  const bytes = await readFile(file).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT')
      throw new HebbError('MISSING_FILE', `Expected a .npy file at ${file}, got none`, { cause })
    throw new HebbError('BAD_FILE', `Expected to be able to read ${file}: ${cause.message}`, { cause })
  })
  return parseNpy(bytes, file)
}
