/**
 * The IDX format of MNIST and its kin: a magic number that tells type and dimensions, big-endian lengths, then the
 * elements. Plain or gzipped.
 */
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { gunzip } from 'node:zlib'
import { HebbError } from '../error.js'

/** What an IDX file holds: unsigned bytes, row-major, of [...shape]. */
export interface Idx {
  readonly shape: readonly number[]
  readonly data: Uint8Array
}

const MAX_ELEMENTS = 2 ** 31

/** Parses an IDX file's bytes; `name` is for messages. Elements are unsigned bytes. */
export function parseIdx(bytes: Uint8Array, name = 'the file'): Idx {
  const bad = (message: string) => new HebbError('BAD_FILE', `Expected ${name} to be an IDX file: ${message}`)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (bytes.length < 4) throw bad(`it has ${bytes.length} bytes, fewer than a magic number's 4`)
  if (view.getUint16(0) !== 0)
    throw bad(`it begins with ${view.getUint32(0).toString(16).padStart(8, '0')}, not with two zero bytes`)
  if (bytes[2] !== 8)
    throw bad(`its elements are of type 0x${(bytes[2] as number).toString(16)}, not unsigned bytes (0x8)`)
  const dimensions = bytes[3] as number
  const header = 4 + 4 * dimensions
  if (dimensions === 0 || bytes.length < header) throw bad(`it has ${dimensions} dimensions and ${bytes.length} bytes`)
  const shape = Array.from({ length: dimensions }, (_, i) => view.getUint32(4 + 4 * i))
  const elements = shape.reduce((product, length) => product * length, 1)
  if (elements > MAX_ELEMENTS) throw bad(`its header says ${shape.join(' x ')} elements`)
  if (bytes.length !== header + elements) {
    throw bad(
      `its header says ${shape.join(' x ')} elements, but ${bytes.length - header} bytes follow. The file is ` +
        `${bytes.length < header + elements ? 'truncated; fetch it again' : 'too long'}.`,
    )
  }
  return { shape, data: bytes.subarray(header) }
}

/** The names that a file goes by: as it is fetched, and as archives and browsers unpack it. */
function namesOf(path: string): string[] {
  const names = [path, path.replace(/-(idx\d-ubyte)$/, '.$1')]
  return [...new Set(names)].flatMap((name) => [name, `${name}.gz`])
}

/** The first of the files that is there, with its bytes. */
async function firstOf(files: readonly string[]): Promise<[file: string, bytes: Uint8Array] | undefined> {
  for (const file of files) {
    try {
      return [file, await readFile(file)]
    } catch (cause) {
      const { code, message } = cause as NodeJS.ErrnoException
      if (code !== 'ENOENT')
        throw new HebbError('BAD_FILE', `Expected to be able to read ${file}: ${message}`, { cause })
    }
  }
  return undefined
}

/**
 * Reads `path`, or `path`.gz when there is no such file; of train-images-idx3-ubyte also train-images.idx3-ubyte.
 * Gzipped files are recognised by their content.
 */
export async function readIdx(path: string): Promise<Idx & { readonly file: string }> {
  const names = namesOf(path)
  const found = await firstOf(names)
  if (!found) throw new HebbError('MISSING_FILE', `Expected an IDX file at ${names.join(' or ')}, got none`)
  const [file] = found
  let [, bytes] = found
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) {
    try {
      bytes = await promisify(gunzip)(bytes, { maxOutputLength: MAX_ELEMENTS + 1024 })
    } catch (cause) {
      throw new HebbError(
        'BAD_FILE',
        `Expected ${file} to be gzip data: ${(cause as Error).message}. Fetch it again.`,
        { cause },
      )
    }
  }
  return { ...parseIdx(bytes, file), file }
}
