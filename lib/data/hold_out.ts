/** Divides a training set, so that settings are chosen on samples that are neither trained on nor the test set. */
import { integer, known } from '../error.js'
import { sampleWithoutReplacement } from '../tensor.js'
import type { Dataset } from './dataset.js'

/**
 * Takes `samples` of a training set out of it, so that settings can be chosen without the test set. Which ones depends
 * on the seed alone, by default the same for every run; both parts keep the order of the whole. The validation set is
 * not augmented.
 */
export function holdOut(
  data: Dataset,
  samples: number,
  options: { seed?: number | undefined } = {},
): { train: Dataset; validation: Dataset } {
  known(options, 'holdOut()', { seed: true })
  integer(samples, 'the samples held out', 1, data.samples - 1)
  const held = sampleWithoutReplacement(new Float32Array(data.samples).fill(1), samples, options)
  const isHeld = new Uint8Array(data.samples)
  for (const sample of held) isHeld[sample] = 1
  const kept = new Int32Array(data.samples - samples)
  for (let sample = 0, at = 0; sample < data.samples; ++sample) if (!isHeld[sample]) kept[at++] = sample
  const { augment: _, ...plain } = data
  return { train: part(data, kept, 'kept'), validation: part(plain, held, 'held out') }
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
