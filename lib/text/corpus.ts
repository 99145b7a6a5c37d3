/** Texts that are larger than memory, in random orders that can be gone on with after a stop. */
import { expect, HebbError, integer, known, show } from '../error.js'
import { permutation, philox } from '../philox.js'
import { type ParallelLine, readLines, readParallel } from './lines.js'

/** hebb::Purpose::corpus. */
const PURPOSE = 19

export interface CorpusOptions {
  /** Text files, as readLines() takes them: of lines, or of sources. */
  files: readonly string[]
  /** The translations of each of them; without, lines have none. */
  targets?: readonly string[] | undefined
  /** Lines that are in memory at once, and shuffled among themselves. Default 65,536. */
  chunk?: number | undefined
  /** Default 0. */
  seed?: number | undefined
}

/** Where a corpus has got to: JSON, some bytes. */
export interface CorpusState {
  readonly seed: number
  readonly chunk: number
  readonly files: number
  readonly epoch: number
  /** Files of this epoch that have been read to their end. */
  readonly filesDone: number
  /** Lines of the next one that have been given. */
  readonly linesDone: number
}

/** Made by corpus(). */
export class Corpus<Line> implements AsyncIterable<Line> {
  readonly #open: readonly (() => AsyncIterable<Line>)[]
  readonly #chunk: number
  readonly #seed: number
  #epoch = 0
  #filesDone = 0
  #linesDone = 0
  #isRead = false

  /** @internal */
  constructor(open: readonly (() => AsyncIterable<Line>)[], chunk: number, seed: number) {
    this.#open = open
    this.#chunk = integer(chunk, 'chunk', 1)
    this.#seed = integer(seed, 'seed', 0)
  }

  /** The number of the epoch whose lines come next, from 0 on. */
  get epoch(): number {
    return this.#epoch
  }

  /**
   * What is left of this epoch: each line once, in an order that depends on seed and epoch alone. Files come in a
   * random order and are read from their beginning, a chunk of lines at a time, and the lines of a chunk come in a
   * random order. A loop that is left early has given what it has given; the next one goes on.
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<Line> {
    expect(!this.#isRead, () => 'Expected one loop over a corpus at a time, got a second one. Make a corpus for each.')
    this.#isRead = true
    try {
      const order = permutation(this.#open.length, this.#seed, this.#epoch, { purpose: PURPOSE, layer: 0 })
      while (this.#filesDone < order.length) {
        yield* this.#file(order[this.#filesDone] as number)
        ++this.#filesDone
        this.#linesDone = 0
      }
      ++this.#epoch
      this.#filesDone = 0
    } finally {
      this.#isRead = false
    }
  }

  async *#file(file: number): AsyncGenerator<Line> {
    const first = Math.floor(this.#linesDone / this.#chunk) * this.#chunk
    let [lines, chunk]: [number, Line[]] = [0, []]
    for await (const line of (this.#open[file] as () => AsyncIterable<Line>)()) {
      // Chunks that have been given are read past.
      if (++lines <= first) continue
      chunk.push(line)
      if (chunk.length < this.#chunk) continue
      yield* this.#shuffled(chunk, file)
      chunk = []
    }
    if (lines < this.#linesDone)
      throw new HebbError(
        'BAD_FILE',
        `Expected file ${file} of a corpus to have ${this.#linesDone} lines, as many as were read before, got ` +
          `${lines}. Give the files that the state was saved with.`,
      )
    yield* this.#shuffled(chunk, file)
  }

  *#shuffled(chunk: readonly Line[], file: number): Generator<Line> {
    const number = Math.floor(this.#linesDone / this.#chunk)
    // A seed of its own for each chunk.
    const seed = philox(this.#seed, file, number, this.#epoch, PURPOSE << 24) >>> 0
    const order = permutation(chunk.length, seed, this.#epoch, { purpose: PURPOSE, layer: 1 })
    for (let i = this.#linesDone - number * this.#chunk; i < order.length; ++i) {
      ++this.#linesDone
      yield chunk[order[i] as number] as Line
    }
  }

  /** The position behind the line that was given last. */
  state(): CorpusState {
    return {
      seed: this.#seed,
      chunk: this.#chunk,
      files: this.#open.length,
      epoch: this.#epoch,
      filesDone: this.#filesDone,
      linesDone: this.#linesDone,
    }
  }

  /**
   * Goes on from a state() of a corpus with the same files and options; the lines before are read past, and cost their
   * reading alone. INVALID_ARGUMENT where files or options are others.
   */
  restore(state: CorpusState): void {
    const own = this.state()
    known(state, 'restore()', {
      ...{ seed: true, chunk: true, files: true, epoch: true, filesDone: true, linesDone: true },
    })
    expect(!this.#isRead, () => 'Expected restore() outside of a loop over the corpus, got one that is not over')
    for (const name of ['seed', 'chunk', 'files'] as const)
      expect(
        state[name] === own[name],
        () => `Expected the state of a corpus with ${name} ${own[name]}, got ${show(state[name])}. Make it as it was.`,
      )
    integer(state.epoch, 'epoch of the state', 0, 2 ** 32 - 1)
    integer(state.filesDone, 'filesDone of the state', 0, own.files)
    integer(state.linesDone, 'linesDone of the state', 0)
    this.#epoch = state.epoch
    this.#filesDone = state.filesDone
    this.#linesDone = state.linesDone
  }
}

/**
 * Lines of text files that are larger than memory, or lines and their translations, in random orders. In memory is a
 * chunk of them. state() and restore() go on after a stop, at the same line and in the same order. Errors are those of
 * readLines() and readParallel().
 */
export function corpus(options: CorpusOptions & { targets: readonly string[] }): Corpus<ParallelLine>
export function corpus(options: CorpusOptions & { targets?: undefined }): Corpus<string>
export function corpus(options: CorpusOptions): Corpus<string> | Corpus<ParallelLine> {
  const {
    files,
    targets,
    chunk = 65_536,
    seed = 0,
  } = known(options, 'corpus()', {
    ...{ files: true, targets: true, chunk: true, seed: true },
  })
  const areNames = (names: unknown) => Array.isArray(names) && names.every((name) => typeof name === 'string' && name)
  expect(areNames(files) && files.length > 0, () => `Expected files to be the names of text files, got ${show(files)}`)
  if (targets === undefined)
    return new Corpus(
      files.map((file) => () => readLines(file)),
      chunk,
      seed,
    )
  expect(
    areNames(targets) && targets.length === files.length,
    () => `Expected targets to be ${files.length} names of text files, one of each of files, got ${show(targets)}`,
  )
  return new Corpus(
    files.map((file, i) => () => readParallel(file, targets[i] as string)),
    chunk,
    seed,
  )
}
