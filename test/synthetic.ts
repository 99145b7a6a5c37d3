/** Small data sets that tests train on in milliseconds. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Dataset, dataset } from '../lib/index.js'

/** Numbers in [0, 1) from a seed (mulberry32). For test data only: the library's own randomness is Philox. */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

/** Bytes around one centre a class: easy to learn, not trivial. */
export function clusters(options: {
  samples: number
  features: number
  classes: number
  seed?: number
  noise?: number
}): Dataset {
  const { samples, features, classes, seed = 1, noise = 60 } = options
  const centre = randomFrom(99)
  const centres = Array.from({ length: classes * features }, () => 60 + 130 * centre())
  const random = randomFrom(seed)
  const x = new Uint8Array(samples * features)
  const y = new Int32Array(samples)
  for (let s = 0; s < samples; ++s) {
    y[s] = Math.floor(random() * classes)
    for (let f = 0; f < features; ++f)
      x[s * features + f] = Math.max(0, Math.min(255, centres[y[s] * features + f] + noise * (2 * random() - 1)))
  }
  return dataset({ x, y, shape: [features], classes, normalise: { mean: 0.5, deviation: 0.25 }, name: 'clusters' })
}

/** Targets that are a linear function of the input. */
export function plane(options: { samples: number; features: number; outputs: number; seed?: number }): Dataset {
  const { samples, features, outputs, seed = 1 } = options
  const random = randomFrom(seed)
  const w = Array.from({ length: features * outputs }, () => random() - 0.5)
  const x = Float32Array.from({ length: samples * features }, () => 2 * random() - 1)
  const y = new Float32Array(samples * outputs)
  for (let s = 0; s < samples; ++s) {
    for (let o = 0; o < outputs; ++o) {
      for (let f = 0; f < features; ++f) y[s * outputs + o] += w[o * features + f] * x[s * features + f]
    }
  }
  return dataset({ x, y, shape: [features], name: 'plane' })
}

/**
 * A CSV file of samples whose last columns, in units of their own, are smooth functions of the others: `columns` of
 * both together.
 */
export function csvText(options: { samples: number; inputs: number; targets: number; seed?: number }): string {
  const { samples, inputs, targets, seed = 1 } = options
  const random = randomFrom(seed)
  const lines = [[...Array(inputs).keys()].map((i) => `x${i}`).concat([...Array(targets).keys()].map((i) => `y${i}`))]
  for (let sample = 0; sample < samples; ++sample) {
    const x = Array.from({ length: inputs }, () => 200 * random() + 1000)
    const y = Array.from(
      { length: targets },
      (_, t) => -3 + 50 * x.reduce((sum, v, i) => sum + Math.sin((v - 1000) / 60 + i + t), 0),
    )
    lines.push([...x, ...y].map((v) => v.toFixed(4)))
  }
  return `${lines.map((line) => line.join(',')).join('\n')}\n`
}

/** An IDX file's magic number and lengths. */
export function idxHeader(shape: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 + 4 * shape.length)
  bytes.writeUInt32BE(0x0800 | shape.length)
  for (const [i, length] of shape.entries()) bytes.writeUInt32BE(length, 4 + 4 * i)
  return bytes
}

/** Writes bytes with labels as one part of MNIST: images of a shape, under MNIST's names. */
export async function writeIdx(
  folder: string,
  part: 'train' | 't10k',
  { x, labels, samples }: Dataset,
  shape: readonly number[],
): Promise<void> {
  await writeFile(
    join(folder, `${part}-images-idx3-ubyte`),
    Buffer.concat([idxHeader([samples, ...shape]), x as Uint8Array]),
  )
  await writeFile(
    join(folder, `${part}-labels-idx1-ubyte`),
    Buffer.concat([idxHeader([samples]), Uint8Array.from(labels as Int32Array)]),
  )
}
