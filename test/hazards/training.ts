/**
 * What the tests of hazards and their child programs share: a small training run whose result is one string, and bounds
 * on time.
 */
import { createHash } from 'node:crypto'
import {
  type Batch,
  chts,
  type Device,
  type DeviceOptions,
  mlp,
  type Sequential,
  SparseParameter,
  sgd,
  Trainer,
} from '../../lib/index.js'
import { clusters } from '../synthetic.js'

/**
 * Milliseconds as a bound: HEBB_TIME_FACTOR says how many times slower than normal this run is, for instance under a
 * sanitizer.
 */
export function bound(milliseconds: number): number {
  return milliseconds * Number(process.env.HEBB_TIME_FACTOR ?? 1)
}

export const pause = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, milliseconds))

/** Bits of typed arrays, as a string. */
export function digest(arrays: Iterable<ArrayBufferView>): string {
  const hash = createHash('sha256')
  for (const { buffer, byteOffset, byteLength } of arrays) hash.update(new Uint8Array(buffer, byteOffset, byteLength))
  return hash.digest('hex')
}

/** The bits of a model's links, values and optimizer state. */
export async function stateOf(model: Sequential): Promise<string> {
  const arrays: ArrayBufferView[] = []
  for (const parameter of model.parameters) {
    let count = parameter.capacity
    if (parameter instanceof SparseParameter) {
      const { rowOffsets, columnIndices } = await parameter.matrix.read()
      arrays.push(rowOffsets, columnIndices)
      count = columnIndices.length
    }
    for (const array of parameter.arrays) arrays.push((await array.read()).subarray(0, count))
  }
  return digest(arrays)
}

export const optimizer = () => sgd({ learningRate: 0.02, momentum: 0.9, weightDecay: 1e-4 })

export interface Run {
  seed?: number
  epochs?: number
  device?: Device | DeviceOptions
}

/**
 * Trains a small network by CHTs, with an update an epoch: a few hundred milliseconds. The same seed gives the same
 * string, anywhere.
 */
export async function train({ seed = 0, epochs = 8, device = { kind: 'cpu', threads: 2 } }: Run = {}): Promise<string> {
  using trainer = new Trainer(mlp({ widths: [48, 200, 200, 4], density: 0.1, seed }), {
    optimizer: optimizer(),
    dst: chts(),
    device,
  })
  const data = clusters({ samples: 1024, features: 48, classes: 4, seed: 7 })
  for await (const _ of trainer.fit(data, { epochs, batchSize: 32, validation: data }));
  return await stateOf(trainer.model)
}

/** One batch of clusters, as the network sees it. */
export function batchOf(samples: number, features: number, seed = 1): Batch {
  const { x, labels, scale, shift } = clusters({ samples, features, classes: 4, seed })
  return { x: Float32Array.from(x, (v) => v * scale + shift), y: labels as Int32Array }
}

/** How late a timer of a few milliseconds is, in milliseconds, while something else goes on. */
export class Lateness {
  readonly samples: number[] = []
  readonly #timer: NodeJS.Timeout
  #last = performance.now()

  constructor(interval = 5) {
    this.#timer = setInterval(() => {
      const now = performance.now()
      this.samples.push(Math.max(0, now - this.#last - interval))
      this.#last = now
    }, interval)
  }

  /** The worst, the time since the last tick included. */
  stop(): number {
    clearInterval(this.#timer)
    this.samples.push(Math.max(0, performance.now() - this.#last))
    return this.samples.reduce((worst, late) => Math.max(worst, late), 0)
  }
}
