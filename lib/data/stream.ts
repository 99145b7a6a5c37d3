/** Training sets that are read a chunk at a time, where all of their samples together are too many for memory. */
import { expect, integer, known, show } from '../error.js'
import { type Dataset, type DatasetOptions, dataset } from './dataset.js'

/** Some neighbouring samples, as dataset() takes them. */
export type Chunk = Pick<DatasetOptions, 'x' | 'y' | 'weights'>

/** What stream() takes: dataset()'s options for all chunks, and how chunks are read. */
export interface StreamOptions extends Omit<DatasetOptions, 'x' | 'y' | 'weights'> {
  /** All of them. */
  samples: number
  /** Samples that are read at once, a multiple of the batch size; the last chunk may be shorter. */
  chunk: number
  /** Reads samples [first, first + count). Called for the next chunk while the device trains on the one before. */
  read(first: number, count: number): Chunk | Promise<Chunk>
}

/** Made by stream(). */
export class SampleStream {
  readonly name: string
  readonly samples: number
  readonly chunk: number
  readonly #options: StreamOptions

  /** @internal */
  constructor(options: StreamOptions) {
    this.name = options.name ?? 'the stream'
    this.samples = options.samples
    this.chunk = Math.min(options.chunk, options.samples)
    this.#options = options
  }

  /** Chunks that have as many samples as fit. */
  get fullChunks(): number {
    return Math.floor(this.samples / this.chunk)
  }

  /** Chunks of an epoch, the shorter one counted. */
  get chunks(): number {
    return Math.ceil(this.samples / this.chunk)
  }

  /** Reads chunk number `index`. */
  async dataset(index: number): Promise<Dataset> {
    const { samples: _, chunk: __, read, ...options } = this.#options
    const first = index * this.chunk
    const count = Math.min(this.chunk, this.samples - first)
    const data = dataset({ ...options, ...pick(await read(first, count)), name: this.name })
    expect(
      data.samples === count,
      () => `Expected ${this.name} to read ${count} samples from ${first} on, got ${data.samples}`,
    )
    return data
  }
}

function pick(given: Chunk): Chunk {
  const { x, y, weights } = known(given, 'a chunk', { x: true, y: true, weights: true })
  return { x, y, ...(weights && { weights }) }
}

/**
 * A training set for fit() that is read a chunk at a time: in the memory of the device is one chunk, in that of the
 * host the next. Chunks come in a random order that depends on the model's seed and the epoch, the shorter one last,
 * and the samples of each in another; a run that is resumed goes on in its chunk.
 */
export function stream(options: StreamOptions): SampleStream {
  known(options, 'stream()', {
    ...{ samples: true, chunk: true, read: true, shape: true, classes: true, ignore: true, normalise: true },
    ...{ augment: true, name: true, classNames: true },
  })
  integer(options.samples, 'samples', 1)
  integer(options.chunk, 'chunk', 1)
  expect(
    typeof options.read === 'function',
    () => `Expected read to be a function that gives { x, y } for (first, count), got ${show(options.read)}`,
  )
  return new SampleStream(options)
}
