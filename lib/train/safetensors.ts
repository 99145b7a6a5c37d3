/**
 * The safetensors format, written so that a reader finds either a whole file or none: an 8-byte length, a JSON header
 * that tells each tensor's type, shape and place, then the elements. Files of this library also carry a SHA-256 of
 * everything in them.
 */
import { createHash, type Hash } from 'node:crypto'
import { type FileHandle, open } from 'node:fs/promises'
import { HebbError } from '../error.js'
import { type Kind, replaceFile } from '../files.js'

const types = { F32: Float32Array, F64: Float64Array, I32: Int32Array, I64: BigInt64Array, U8: Uint8Array } as const

type StoredType = keyof typeof types
export type StoredArray = Float32Array | Float64Array | Int32Array | BigInt64Array | Uint8Array

/** A tensor to write. Its elements are asked for when their turn comes. */
export interface Outgoing {
  readonly name: string
  readonly type: StoredType
  readonly shape: readonly number[]
  read(): StoredArray | Promise<StoredArray>
}

export interface Stored {
  readonly type: StoredType
  readonly shape: readonly number[]
  readonly data: StoredArray
}

const CHUNK = 1 << 22
/** What readers of the format allow. */
const LONGEST_HEADER = 100_000_000
const NO_CHECKSUM = `sha256:${'0'.repeat(64)}`

/** Files of this library, by what they begin with: other programs write no checksum. */
export const CHECKPOINT: Kind = {
  name: 'a checkpoint of hebb',
  begins: /^.{8}\{"__metadata__":\{"checksum":"sha256:/s,
}

/** Chunk by chunk, so that neither hashing nor copying holds up the event loop. */
async function writeAll(handle: FileHandle, bytes: Uint8Array, position: number, hash?: Hash): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    const { bytesWritten } = await handle.write(bytes, at, Math.min(CHUNK, bytes.length - at), position + at)
    hash?.update(bytes.subarray(at, at + bytesWritten))
    at += bytesWritten
  }
}

/** Writes a file as a whole. */
export async function writeTensors(
  file: string,
  tensors: readonly Outgoing[],
  metadata: Readonly<Record<string, string>>,
): Promise<void> {
  await replaceFile(file, CHECKPOINT, (handle) => writeTo(handle, file, tensors, metadata))
}

async function writeTo(
  handle: FileHandle,
  file: string,
  tensors: readonly Outgoing[],
  metadata: Readonly<Record<string, string>>,
): Promise<void> {
  // Large elements first, so that all are aligned to their size.
  const sizeOf = ({ type }: Outgoing) => types[type].BYTES_PER_ELEMENT
  const ordered = [...tensors].sort((a, b) => sizeOf(b) - sizeOf(a))
  const header: Record<string, unknown> = { __metadata__: { checksum: NO_CHECKSUM, ...metadata } }
  let end = 0
  for (const tensor of ordered) {
    const begin = end
    end += tensor.shape.reduce((product, length) => product * length, 1) * sizeOf(tensor)
    header[tensor.name] = { dtype: tensor.type, shape: tensor.shape, data_offsets: [begin, end] }
  }
  const json = Buffer.from(JSON.stringify(header))
  const start = Buffer.alloc(8 + Math.ceil(json.length / 8) * 8, ' ')
  start.writeBigUInt64LE(BigInt(start.length - 8))
  json.copy(start, 8)
  if (json.length > LONGEST_HEADER)
    throw new HebbError('INVALID_ARGUMENT', `Expected metadata of at most ${LONGEST_HEADER} bytes, got ${json.length}`)
  const hash = createHash('sha256').update(start)
  let position = start.length
  for (const tensor of ordered) {
    const data = await tensor.read()
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
    await writeAll(handle, bytes, position, hash)
    position += bytes.length
  }
  if (position !== start.length + end)
    throw new HebbError('INTERNAL', `Expected ${end} bytes of tensors for ${file}, got ${position - start.length}`)
  // Without its checksum a file that was cut off is recognised even if its length is right.
  start.write(`sha256:${hash.digest('hex')}`, start.indexOf(NO_CHECKSUM), 'latin1')
  await writeAll(handle, start, 0)
}

interface Entry<Type extends string = StoredType> {
  readonly name: string
  readonly type: Type
  readonly shape: readonly number[]
  readonly begin: number
  readonly end: number
}

/**
 * Reads a file of this library; `wanted` says which tensors to keep. Nothing is returned before the checksum has been
 * found right.
 */
export async function readTensors(
  file: string,
  wanted: (name: string) => boolean = () => true,
): Promise<{ metadata: Readonly<Record<string, string>>; tensors: Map<string, Stored> }> {
  return reading(file, 'a checkpoint', (handle) => readFrom(handle, file, wanted))
}

/** What `read` makes of a file, which is told of by its name where it cannot be read. */
async function reading<T>(file: string, what: string, read: (handle: FileHandle) => Promise<T>): Promise<T> {
  let handle: FileHandle
  try {
    handle = await open(file, 'r')
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR')
      throw new HebbError('MISSING_FILE', `Expected ${what} at ${file}, got none`, { cause })
    throw new HebbError('BAD_FILE', `Expected to be able to read ${file}: ${message}`, { cause })
  }
  try {
    return await read(handle)
  } catch (cause) {
    if (cause instanceof HebbError) throw cause
    throw new HebbError('BAD_FILE', `Expected to be able to read ${file}: ${(cause as Error).message}`, { cause })
  } finally {
    await handle.close()
  }
}

/** Types of numbers in files of other programs, with their bytes. */
const FLOATS = { F64: 8, F32: 4, F16: 2, BF16: 2 } as const

/** A tensor in a file of any program. */
export interface Foreign {
  readonly name: string
  readonly file: string
  readonly shape: readonly number[]
  /** Its elements, rounded to 32 bits where they have more. */
  read(): Promise<Float32Array>
}

/**
 * The tensors of a safetensors file that another program may have made. Each is read when it is asked for.
 * MISSING_FILE; BAD_FILE names what does not fit together, and a tensor of numbers that are no floats.
 */
export async function foreignTensors(file: string): Promise<Foreign[]> {
  const bad = (what: string) => new HebbError('BAD_FILE', `Expected ${file} to be a safetensors file: ${what}`)
  const what = 'a safetensors file'
  return reading(file, what, async (handle) => {
    const { size } = await handle.stat()
    const truncated = () => bad(`it has ${size} bytes, fewer than its header says. Fetch it again.`)
    const length = Buffer.alloc(8)
    if ((await handle.read(length, 0, 8, 0)).bytesRead < 8) throw truncated()
    const headerBytes = Number(length.readBigUInt64LE())
    if (headerBytes > LONGEST_HEADER) throw bad('it does not begin with the length of a header')
    if (headerBytes > size - 8) throw truncated()
    const header = Buffer.alloc(headerBytes)
    await fill(handle, header, 8, truncated)
    const { entries } = parseHeader(header, size - 8 - headerBytes, FLOATS, bad, truncated)
    return entries.map(({ name, type, shape, begin, end }) => ({
      ...{ name, file, shape },
      read: () =>
        reading(file, what, async (again) => {
          const bytes = new Uint8Array(end - begin)
          await fill(again, bytes, 8 + headerBytes + begin, truncated)
          return floats(type, bytes.buffer)
        }),
    }))
  })
}

async function fill(handle: FileHandle, bytes: Uint8Array, position: number, truncated: () => Error): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    const { bytesRead } = await handle.read(bytes, at, Math.min(CHUNK, bytes.length - at), position + at)
    if (bytesRead === 0) throw truncated()
    at += bytesRead
  }
}

function floats(type: keyof typeof FLOATS, buffer: ArrayBuffer): Float32Array {
  if (type === 'F32') return new Float32Array(buffer)
  if (type === 'F64') return Float32Array.from(new Float64Array(buffer))
  const halves = new Uint16Array(buffer)
  const bits = new Uint32Array(halves.length)
  const numbers = new Float32Array(bits.buffer)
  if (type === 'BF16') {
    for (let i = 0; i < halves.length; ++i) bits[i] = (halves[i] as number) << 16
    return numbers
  }
  for (let i = 0; i < halves.length; ++i) {
    const half = halves[i] as number
    const exponent = (half >> 10) & 31
    const fraction = half & 1023
    // Below the normal numbers of 16 bits, products of a power of two; they are normal ones of 32 bits.
    if (exponent === 0) numbers[i] = (half & 0x8000 ? -fraction : fraction) * 2 ** -24
    else bits[i] = ((half & 0x8000) << 16) | (exponent === 31 ? 0x7f800000 : (exponent + 112) << 23) | (fraction << 13)
  }
  return numbers
}

async function readFrom(handle: FileHandle, file: string, wanted: (name: string) => boolean) {
  const size = (await handle.stat()).size
  const bad = (what: string) => new HebbError('BAD_FILE', `Expected ${file} to be a checkpoint of hebb: ${what}`)
  const truncated = () => bad(`it has ${size} bytes, fewer than its header says. It is truncated; take an older one.`)
  let position = 0
  const fill = async (bytes: Uint8Array, hash?: Hash) => {
    for (let at = 0; at < bytes.length; ) {
      const { bytesRead } = await handle.read(bytes, at, Math.min(CHUNK, bytes.length - at), position)
      if (bytesRead === 0) throw truncated()
      hash?.update(bytes.subarray(at, at + bytesRead))
      at += bytesRead
      position += bytesRead
    }
    return bytes
  }
  if (size < 8) throw truncated()
  const length = Buffer.from(await fill(new Uint8Array(8)))
  const headerBytes = Number(length.readBigUInt64LE())
  if (headerBytes > LONGEST_HEADER) throw bad('it does not begin with the length of a header')
  if (headerBytes > size - 8) throw truncated()
  const header = Buffer.from(await fill(new Uint8Array(headerBytes)))
  const { entries, metadata } = parseHeader(header, size - 8 - headerBytes, SIZES, bad, truncated)
  const checksum = metadata.checksum ?? ''
  if (!/^sha256:[0-9a-f]{64}$/.test(checksum)) throw bad('it has no checksum, so another program made it')
  const hash = createHash('sha256').update(length)
  // The checksum was taken with zeros in its own place.
  header.write(NO_CHECKSUM, header.indexOf(checksum), 'latin1')
  hash.update(header)
  const tensors = new Map<string, Stored>()
  for (const { name, type, shape, begin, end } of entries) {
    if (wanted(name)) {
      const data = new types[type]((end - begin) / types[type].BYTES_PER_ELEMENT)
      await fill(new Uint8Array(data.buffer), hash)
      tensors.set(name, { type, shape, data })
    } else {
      const buffer = new Uint8Array(Math.min(CHUNK, end - begin))
      for (let left = end - begin; left > 0; left -= buffer.length)
        await fill(buffer.subarray(0, Math.min(left, buffer.length)), hash)
    }
  }
  if (`sha256:${hash.digest('hex')}` !== checksum)
    throw bad('its checksum does not fit. It is damaged; take an older one.')
  return { metadata, tensors }
}

const SIZES: Readonly<Record<StoredType, number>> = { F32: 4, F64: 8, I32: 4, I64: 8, U8: 1 }

function parseHeader<Type extends string>(
  header: Buffer,
  dataBytes: number,
  sizes: Readonly<Record<Type, number>>,
  bad: (what: string) => HebbError,
  truncated: () => HebbError,
): { entries: Entry<Type>[]; metadata: Record<string, string> } {
  const isObject = (value: unknown): value is Record<string, unknown> =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
  const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0
  let json: unknown
  try {
    json = JSON.parse(header.toString('utf8'))
  } catch {
    throw bad('its header is not JSON')
  }
  if (!isObject(json)) throw bad('its header is not a list of tensors')
  const { __metadata__: metadata = {}, ...rest } = json
  if (!isObject(metadata) || !Object.values(metadata).every((value) => typeof value === 'string'))
    throw bad('its metadata are not texts')
  const entries: Entry<Type>[] = []
  for (const [name, tensor] of Object.entries(rest)) {
    if (!isObject(tensor)) throw bad(`its header tells nothing of the tensor '${name}'`)
    const { dtype, shape, data_offsets: offsets } = tensor
    if (typeof dtype !== 'string' || !Object.hasOwn(sizes, dtype))
      throw bad(`its tensor '${name}' has the type '${dtype}', not one of ${Object.keys(sizes).join(', ')}`)
    if (!Array.isArray(shape) || !shape.every(isCount)) throw bad(`its tensor '${name}' has no shape`)
    if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount))
      throw bad(`its tensor '${name}' has no place`)
    const [begin, end] = offsets as [number, number]
    const type = dtype as Type
    const bytes = shape.reduce((product: number, n) => product * n, sizes[type])
    if (end - begin !== bytes)
      throw bad(`its tensor '${name}' takes ${end - begin} bytes, but its shape needs ${bytes}`)
    entries.push({ name, type, shape, begin, end })
  }
  entries.sort((a, b) => a.begin - b.begin || a.end - b.end)
  let at = 0
  for (const { name, begin, end } of entries) {
    if (begin !== at) throw bad(`its tensor '${name}' does not follow the one before`)
    at = end
  }
  if (at > dataBytes) throw truncated()
  if (at < dataBytes) throw bad(`${dataBytes - at} bytes follow its last tensor`)
  return { entries, metadata: metadata as Record<string, string> }
}
