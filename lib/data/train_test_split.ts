/** Divides a data set in two: to train on the one, and to measure, or to choose settings, on the other. */
import { expect, integer, known, show } from '../error.js'
import { sampleWithoutReplacement } from '../tensor.js'
import type { Dataset } from './dataset.js'
import type { TrainAndTest } from './mnist.js'

/** How trainTestSplit() divides. */
export interface TrainTestSplitOptions {
  /** Samples of the test set, or their share of all, in (0, 1). Default 0.25. */
  testSize?: number | undefined
  /** Decides which ones those are. Default 0. */
  seed?: number | undefined
  /** Whether each class has the same share in both parts, as near as whole samples come. Default false. */
  stratify?: boolean | undefined
}

/** `count` of `all`, at random. */
function draw(all: Int32Array, count: number, seed: number): Int32Array {
  return sampleWithoutReplacement(new Float32Array(all.length).fill(1), count, { seed }).map((i) => all[i] as number)
}

/** As many of each label as its share of `count`, by largest remainders. */
function drawOfEach(labels: Int32Array, count: number, seed: number): number[] {
  const byLabel = new Map<number, number[]>()
  for (const [sample, label] of labels.entries()) {
    const own = byLabel.get(label)
    if (own) own.push(sample)
    else byLabel.set(label, [sample])
  }
  const groups = [...byLabel]
    .sort(([a], [b]) => a - b)
    .map(([, samples]) => {
      const exact = (count * samples.length) / labels.length
      return { samples, take: Math.floor(exact), rest: exact % 1 }
    })
  const left = count - groups.reduce((sum, { take }) => sum + take, 0)
  for (const group of [...groups].sort((a, b) => b.rest - a.rest).slice(0, left)) ++group.take
  return groups.flatMap(({ samples, take }) => [...draw(Int32Array.from(samples), take, seed)])
}

/**
 * Takes a test set, or one for validation, out of a data set. Which samples depends on the seed alone, by default the
 * same for every run; both parts keep the order of the whole. The test set is not augmented. INVALID_ARGUMENT for a
 * size that leaves one part empty, and for `stratify` where there are no classes.
 */
export function trainTestSplit(data: Dataset, options: TrainTestSplitOptions = {}): TrainAndTest {
  const names = { testSize: true, seed: true, stratify: true } as const
  const { testSize = 0.25, seed = 0, stratify = false } = known(options, 'trainTestSplit()', names)
  const isShare = typeof testSize === 'number' && testSize > 0 && testSize < 1
  const count = isShare
    ? Math.min(data.samples - 1, Math.max(1, Math.round(testSize * data.samples)))
    : integer(testSize, 'testSize, where it is no share in (0, 1),', 1, data.samples - 1)
  expect(count > 0, () => `Expected two samples or more in ${data.name}, got ${data.samples}`)
  expect(typeof stratify === 'boolean', () => `Expected stratify to be true or false, got ${show(stratify)}`)
  expect(
    !stratify || data.labels !== undefined,
    () => `Expected classes to stratify ${data.name} by, got a regression. Leave stratify out.`,
  )
  const held = stratify
    ? drawOfEach(data.labels as Int32Array, count, seed)
    : sampleWithoutReplacement(new Float32Array(data.samples).fill(1), count, { seed })
  const isHeld = new Uint8Array(data.samples)
  for (const sample of held) isHeld[sample] = 1
  const places = (which: number) => Int32Array.from([...isHeld.keys()].filter((sample) => isHeld[sample] === which))
  const { augment: _, ...plain } = data
  return { train: part(data, places(0), 'kept'), test: part(plain, places(1), 'held out') }
}

/** Some samples of a data set, copied. */
function part(data: Dataset, samples: Int32Array, which: string): Dataset {
  const { x, labels, targets, weights, features, classes } = data
  const rows = <T extends Uint8Array | Float32Array>(from: T, width: number): T => {
    const to = new (from.constructor as new (length: number) => T)(samples.length * width)
    for (let i = 0; i < samples.length; ++i)
      to.set(from.subarray((samples[i] as number) * width, ((samples[i] as number) + 1) * width), i * width)
    return to
  }
  return {
    ...data,
    name: `${data.name} (${which})`,
    samples: samples.length,
    x: rows(x, features),
    ...(labels && { labels: samples.map((sample) => labels[sample] as number) }),
    ...(targets && { targets: rows(targets, classes) }),
    ...(weights && { weights: rows(weights, 1) }),
  }
}
