/**
 * Text files line by line, as parallel corpora need them: the 7th line of one is the translation of the 7th line of the
 * other, so nothing but \n may end a line.
 */
import { createReadStream } from 'node:fs'
import { pipeline } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { expect, HebbError, show } from '../error.js'

const NEWLINE = 0x0a
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** The bytes of a file, unpacked where its name ends in .gz. */
function bytesOf(file: string): AsyncIterable<Buffer> {
  const bytes = createReadStream(file, { highWaterMark: 2 ** 20 })
  // Errors of each are those of the last, and the end of one is that of all.
  return file.endsWith('.gz') ? pipeline(bytes, createGunzip(), () => {}) : bytes
}

function unreadable(file: string, cause: NodeJS.ErrnoException): HebbError {
  if (cause.code === 'ENOENT') return new HebbError('MISSING_FILE', `Expected a text at ${file}, got none`, { cause })
  const packed = cause.code?.startsWith('Z_') ? 'be whole gzip data' : 'be readable'
  const again = cause.code?.startsWith('Z_') ? '. Fetch it again.' : ''
  return new HebbError('BAD_FILE', `Expected ${file} to ${packed}: ${cause.message}${again}`, { cause })
}

/** The text of some whole lines, of which the first is number `first` from 1 on. */
function decoded(bytes: Buffer, file: string, first: number): string {
  try {
    return utf8.decode(bytes)
  } catch (cause) {
    let number = first
    for (let at = 0; at <= bytes.length; ++number) {
      const end = bytes.indexOf(NEWLINE, at)
      const line = bytes.subarray(at, end < 0 ? bytes.length : end)
      try {
        utf8.decode(line)
      } catch {
        break
      }
      at += line.length + 1
    }
    throw new HebbError(
      'BAD_FILE',
      `Expected ${file} to be UTF-8, got other bytes in line ${number}. Convert it: iconv -f LATIN1 -t UTF-8, or ` +
        'whatever it is in.',
      { cause },
    )
  }
}

/** The lines in some bytes, some at a time; `file` is their name in messages. */
async function* blocksOf(all: AsyncIterable<Buffer>, file: string, mayBeEmpty = false): AsyncGenerator<string[]> {
  let [rest, lines]: [Buffer[], number] = [[], 0]
  const linesOf = (bytes: Buffer) => {
    const text = decoded(bytes, file, lines + 1)
    const found = (lines === 0 && text.startsWith('\ufeff') ? text.slice(1) : text).split('\n')
    lines += found.length
    return found
  }
  try {
    for await (const chunk of all) {
      const end = chunk.lastIndexOf(NEWLINE)
      if (end >= 0) {
        const block = linesOf(Buffer.concat([...rest, chunk.subarray(0, end)]))
        yield block.map((line) => (line.endsWith('\r') ? line.slice(0, -1) : line))
        rest = []
      }
      rest.push(chunk.subarray(end + 1))
    }
  } catch (error) {
    throw error instanceof HebbError ? error : unreadable(file, error as NodeJS.ErrnoException)
  }
  const last = Buffer.concat(rest)
  const block = last.length > 0 ? linesOf(last) : []
  if (lines === 0 || (lines === 1 && block[0] === '')) {
    if (mayBeEmpty) return
    throw new HebbError('BAD_FILE', `Expected ${file} to have lines, got an empty file`)
  }
  yield block
}

function named(file: unknown): asserts file is string {
  expect(typeof file === 'string' && file !== '', () => `Expected the name of a text file, got ${show(file)}`)
}

/**
 * The lines of text files, one file after the other; those that end in .gz are unpacked. A line ends with \n, and a \r
 * before it is no part of it; other characters that end lines elsewhere (U+2028, U+0085, form feeds) stay in it, and so
 * do no-break spaces. A byte order mark at the beginning is left out. Empty lines are lines. MISSING_FILE; BAD_FILE
 * names the file, and the line that is not UTF-8. In memory is about a megabyte at a time.
 */
export async function* readLines(...files: string[]): AsyncGenerator<string> {
  expect(files.length > 0, () => 'Expected the names of text files, got none')
  for (const file of files) named(file)
  for (const file of files) for await (const block of blocksOf(bytesOf(file), file)) yield* block
}

/** The lines in bytes from elsewhere, such as process.stdin; `name` is theirs in messages. There may be none. */
export async function* linesIn(bytes: AsyncIterable<Buffer>, name: string): AsyncGenerator<string> {
  for await (const block of blocksOf(bytes, name, true)) yield* block
}

/** A line and its translation. */
export interface ParallelLine {
  readonly source: string
  readonly target: string
}

/**
 * The lines of two files, side by side, as readLines() reads them. BAD_FILE where one has more lines than the other,
 * once the shorter one has ended.
 */
export async function* readParallel(source: string, target: string): AsyncGenerator<ParallelLine> {
  named(source)
  named(target)
  const [sources, targets] = [readLines(source), readLines(target)]
  try {
    for (let lines = 0; ; ++lines) {
      const [one, other] = [await sources.next(), await targets.next()]
      if (one.done && other.done) return
      if (one.done || other.done)
        throw await unequal(
          source,
          one.done ? lines : await left(sources, lines + 1),
          target,
          other.done ? lines : await left(targets, lines + 1),
        )
      yield { source: one.value, target: other.value }
    }
  } finally {
    await Promise.all([sources.return(undefined), targets.return(undefined)])
  }
}

/** `lines`, and those that follow. */
async function left(more: AsyncIterable<string>, lines: number): Promise<number> {
  for await (const _ of more) ++lines
  return lines
}

function unequal(source: string, sources: number, target: string, targets: number): HebbError {
  const [longer, from] = sources > targets ? [source, targets + 1] : [target, sources + 1]
  return new HebbError(
    'BAD_FILE',
    `Expected ${source} and ${target} to have equally many lines, got ${sources} and ${targets}: line ${from} of ` +
      `${longer} has no partner. Find where they part, or take the files from one release.`,
  )
}
