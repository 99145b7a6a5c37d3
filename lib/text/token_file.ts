/**
 * Tokens that stay in a file, for texts larger than memory: a safetensors file of the tuples of a text one behind
 * another, each sequence after sequence, and behind them how long each sequence is. Whoever reads it asks for some
 * tuples by their numbers, in any order.
 */
import { createHash } from 'node:crypto'
import { type FileHandle, open, stat } from 'node:fs/promises'
import { basename } from 'node:path'
import { expect, HebbError, show } from '../error.js'
import { type Kind, replaceFile } from '../files.js'
import { Growing, type TokenizedText } from './dataset.js'
import type { Tokenizer } from './tokenizer.js'

const KIND: Kind = { name: 'a file of tokens of hebb', begins: /^.{8}\{"__metadata__":\{"made":"hebb tokens 1"/s }

/** Bytes of the header, filled up with spaces: it is written when all is known. */
const HEADER = 4096
/** Bytes that are written at once, and read at once where tuples are neighbours. */
const CHUNK = 1 << 20
/** What lies between two tuples is read with them up to so many bytes: a read costs as much as these. */
const GAP = 1 << 14
/** Reads that wait at once. */
const READS = 16

/** Sequences of numbers in a file. */
export class StoredText {
  readonly file: TokenFile
  /** Which of a tuple's sequences. */
  readonly part: number

  /** @internal */
  constructor(file: TokenFile, part: number) {
    this.file = file
    this.part = part
  }

  /** [sequences] tokens of each. */
  get lengths(): Int32Array {
    return this.file.lengths[this.part] as Int32Array
  }
}

/** What says that a file has been made of these texts by these tokenizers. */
async function sourceOf(
  files: readonly string[],
  tokenizers: readonly Tokenizer[],
  settings: string | undefined,
): Promise<string> {
  const hash = createHash('sha256').update(JSON.stringify(tokenizers))
  if (settings !== undefined) hash.update(settings)
  for (const file of files) {
    // A file that is missing is told of by who reads it.
    const { size, mtimeMs } = (await stat(file).catch(() => undefined)) ?? { size: 0, mtimeMs: 0 }
    hash.update(JSON.stringify([basename(file), size, mtimeMs]))
  }
  return hash.digest('hex')
}

interface Header {
  /** Of the texts and tokenizers. */
  readonly source: string
  /** SHA-256 of what follows the header. */
  readonly checksum: string
  /** Above all numbers of tokens. */
  readonly size: number
  readonly wide: boolean
  readonly tokens: number
  readonly parts: number
  readonly tuples: number
}

const bytesOf = ({ tokens, wide, parts, tuples }: Header) => tokens * (wide ? 4 : 2) + 4 * parts * tuples

function headerOf({ source, checksum, size, wide, tokens, parts, tuples }: Header): Buffer {
  const end = tokens * (wide ? 4 : 2)
  const json = JSON.stringify({
    __metadata__: { made: 'hebb tokens 1', source, checksum, size: String(size) },
    tokens: { dtype: wide ? 'I32' : 'U16', shape: [tokens], data_offsets: [0, end] },
    lengths: { dtype: 'I32', shape: [parts, tuples], data_offsets: [end, end + 4 * parts * tuples] },
  })
  const bytes = Buffer.alloc(HEADER, ' ')
  bytes.writeBigUInt64LE(BigInt(HEADER - 8))
  bytes.write(json, 8)
  return bytes
}

/** What a header says; undefined where it is none of this library. */
function parsed(bytes: Buffer): Header | undefined {
  if (!KIND.begins.test(bytes.toString('latin1', 0, 64))) return undefined
  try {
    const { __metadata__: metadata, tokens, lengths } = JSON.parse(bytes.toString('utf8', 8))
    const [parts, tuples] = lengths.shape
    const counts = { size: Number(metadata.size), tokens: tokens.shape[0], parts, tuples }
    if (!Object.values(counts).every((count) => Number.isSafeInteger(count) && count >= 0)) return undefined
    return { source: metadata.source, checksum: metadata.checksum, wide: tokens.dtype === 'I32', ...counts }
  } catch {
    return undefined
  }
}

/** Reads all of it, or says that the file is damaged. */
async function fill(handle: FileHandle, bytes: Uint8Array, position: number, file: string): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    const { bytesRead } = await handle.read(bytes, at, Math.min(CHUNK, bytes.length - at), position + at)
    if (bytesRead === 0) throw damaged(file)
    at += bytesRead
  }
}

const damaged = (file: string) =>
  new HebbError('BAD_FILE', `Expected ${file} to hold the tokens that were written there, got others. Delete it.`)

/** Made by tokenFile(). */
export class TokenFile {
  readonly file: string
  /** SHA-256 of tokens and lengths. */
  readonly checksum: string
  /** [parts][tuples] tokens of each sequence. */
  readonly lengths: readonly Int32Array[]
  readonly #header: Header
  /** [tuples + 1] where each tuple begins in the tokens. */
  readonly #starts: Float64Array

  constructor(file: string, header: Header, lengths: readonly Int32Array[]) {
    this.file = file
    this.checksum = header.checksum
    this.lengths = lengths
    this.#header = header
    this.#starts = new Float64Array(header.tuples + 1)
    for (let tuple = 0; tuple < header.tuples; ++tuple)
      this.#starts[tuple + 1] = lengths.reduce((end, ofPart) => end + (ofPart[tuple] as number), this.#start(tuple))
  }

  #start(tuple: number): number {
    return this.#starts[tuple] as number
  }

  /** Tuples. */
  get samples(): number {
    return this.#header.tuples
  }

  /** The text of each part. */
  get texts(): StoredText[] {
    return this.lengths.map((_, part) => new StoredText(this, part))
  }

  /** These tuples, one text for each part. BAD_FILE where the file is no more what it was. */
  async read(tuples: Int32Array): Promise<TokenizedText[]> {
    const { file } = this
    const bytes = this.#header.wide ? 4 : 2
    const starts = this.lengths.map((lengths) => {
      const ends = new Int32Array(tuples.length + 1)
      for (let i = 0; i < tuples.length; ++i)
        ends[i + 1] = (ends[i] as number) + (lengths[tuples[i] as number] as number)
      return ends
    })
    const texts = starts.map((ends) => ({ starts: ends, tokens: new Int32Array(ends.at(-1) as number) }))
    const handle = await open(file, 'r').catch((cause) => {
      throw new HebbError('MISSING_FILE', `Expected the tokens of a text at ${file}: ${cause.message}`, { cause })
    })
    try {
      const begin = Buffer.alloc(HEADER)
      await fill(handle, begin, 0, file)
      if (parsed(begin)?.checksum !== this.checksum) throw damaged(file)
      const reads = this.#reads(tuples)
      const readOn = async () => {
        for (let next = reads.pop(); next; next = reads.pop()) {
          const [from, to] = [this.#start(next.first), this.#start(next.last + 1)]
          const buffer = new Uint8Array((to - from) * bytes)
          await fill(handle, buffer, HEADER + from * bytes, file)
          const tokens = bytes === 2 ? new Uint16Array(buffer.buffer) : new Int32Array(buffer.buffer)
          if (!tokens.every((token) => token >= 0 && token < this.#header.size)) throw damaged(file)
          for (const i of next.of) {
            let at = this.#start(tuples[i] as number) - from
            for (const [part, text] of texts.entries()) {
              const length = this.lengths[part]?.[tuples[i] as number] as number
              text.tokens.set(tokens.subarray(at, at + length), text.starts[i])
              at += length
            }
          }
        }
      }
      await Promise.all(Array.from({ length: READS }, readOn))
    } finally {
      await handle.close()
    }
    return texts
  }

  /** What to read at once: from the first tuple to the last, for those at these places of the list. */
  #reads(tuples: Int32Array): { first: number; last: number; of: number[] }[] {
    const bytes = this.#header.wide ? 4 : 2
    const places = Int32Array.from(tuples.keys()).sort((a, b) => (tuples[a] as number) - (tuples[b] as number))
    const reads: { first: number; last: number; of: number[] }[] = []
    for (const place of places) {
      const tuple = tuples[place] as number
      const read = reads.at(-1)
      const isNear =
        read &&
        (this.#start(tuple) - this.#start(read.last + 1)) * bytes <= GAP &&
        (this.#start(tuple + 1) - this.#start(read.first)) * bytes <= CHUNK
      if (isNear) {
        read.of.push(place)
        read.last = tuple
      } else reads.push({ first: tuple, last: tuple, of: [place] })
    }
    return reads
  }
}

/** Numbers on their way into a file. */
class Writer {
  readonly #handle: FileHandle
  readonly #hash = createHash('sha256')
  readonly #buffer = Buffer.alloc(CHUNK)
  #filled = 0
  #position = HEADER

  constructor(handle: FileHandle) {
    this.#handle = handle
  }

  async push({ buffer, byteOffset, byteLength }: ArrayBufferView): Promise<void> {
    for (let at = 0; at < byteLength; ) {
      const count = Math.min(byteLength - at, CHUNK - this.#filled)
      this.#buffer.set(new Uint8Array(buffer, byteOffset + at, count), this.#filled)
      this.#filled += count
      at += count
      if (this.#filled === CHUNK) await this.#flush()
    }
  }

  async #flush(): Promise<void> {
    const bytes = this.#buffer.subarray(0, this.#filled)
    this.#hash.update(bytes)
    for (let at = 0; at < bytes.length; ) {
      const { bytesWritten } = await this.#handle.write(bytes, at, bytes.length - at, this.#position)
      at += bytesWritten
      this.#position += bytesWritten
    }
    this.#filled = 0
  }

  /** Gives the checksum of all. */
  async end(): Promise<string> {
    await this.#flush()
    return this.#hash.digest('hex')
  }
}

/** The file as it is, if it was made of the same. */
async function opened(file: string, source: string): Promise<TokenFile | undefined> {
  const handle = await open(file, 'r').catch(() => undefined)
  if (!handle) return undefined
  try {
    const begin = Buffer.alloc(HEADER)
    const { bytesRead } = await handle.read(begin, 0, HEADER, 0)
    const header = bytesRead === HEADER ? parsed(begin) : undefined
    if (header?.source !== source) return undefined
    if ((await handle.stat()).size !== HEADER + bytesOf(header)) return undefined
    const { wide, tokens, parts, tuples } = header
    const lengths = Array.from({ length: parts }, () => new Int32Array(tuples))
    for (const [part, ofPart] of lengths.entries())
      await fill(handle, new Uint8Array(ofPart.buffer), HEADER + tokens * (wide ? 4 : 2) + 4 * part * tuples, file)
    return new TokenFile(file, header, lengths)
  } finally {
    await handle.close()
  }
}

/** How a file of tokens is made. */
export interface Making {
  /** Where the tokens go. */
  readonly file: string
  /** What they are read from. */
  readonly files: readonly string[]
  /** Of each part. */
  readonly tokenizers: readonly Tokenizer[]
  /** What else the tuples depend on. Default: nothing. */
  readonly settings?: string
  /** The sequences of each tuple, read once, where the file was not made of the same before. */
  readonly tuples: () => AsyncIterable<readonly ArrayLike<number>[]>
}

/**
 * A file of tokens, made now or as it was made of the same texts by the same tokenizers before. Texts are told by name,
 * size and time. CANNOT_WRITE where it cannot be written, or another file lies there.
 */
export async function tokenFile({ file, files, tokenizers, settings, tuples }: Making): Promise<TokenFile> {
  expect(typeof file === 'string' && file !== '', () => `Expected store to be the name of a file, got ${show(file)}`)
  const source = await sourceOf(files, tokenizers, settings)
  const before = await opened(file, source)
  if (before) return before
  const size = Math.max(...tokenizers.map((tokenizer) => tokenizer.size))
  const wide = size > 2 ** 16
  await replaceFile(file, KIND, async (handle) => {
    const writer = new Writer(handle)
    const lengths = tokenizers.map(() => new Growing())
    let tokens = 0
    for await (const tuple of tuples()) {
      for (const [part, sequence] of tuple.entries()) {
        await writer.push(wide ? Int32Array.from(sequence) : Uint16Array.from(sequence))
        lengths[part]?.push([sequence.length])
        tokens += sequence.length
      }
    }
    for (const ofPart of lengths) await writer.push(ofPart.numbers)
    const checksum = await writer.end()
    const made = { source, checksum, size, wide, tokens, parts: lengths.length, tuples: lengths[0]?.length ?? 0 }
    await handle.write(headerOf(made), 0, HEADER, 0)
  })
  const made = await opened(file, source)
  if (!made) throw new HebbError('BAD_FILE', `Expected ${file} to be what was just written there, got another file`)
  return made
}
