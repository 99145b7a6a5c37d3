/** Whether a network, a data set and a loss fit together. */
import type { Dataset } from '../data/dataset.js'
import { expect, show } from '../error.js'
import type { Sequential } from '../nn/sequential.js'
import { type Loss, lossFunction } from './loss.js'

/** The loss for a data set: what was asked for, or what its targets are. */
export function lossFor(data: Dataset, loss?: Loss): Loss {
  return loss ?? (data.labels ? 'crossEntropy' : 'meanSquaredError')
}

/** Whether any of its samples counts: a mean over none is none. */
function counts({ labels, weights, ignore }: Dataset): boolean {
  if (!weights && ignore === undefined) return true
  const isCounted = (sample: number) => (weights?.[sample] ?? 1) > 0 && (!labels || labels[sample] !== ignore)
  return (weights ?? (labels as Int32Array)).some((_: number, sample: number) => isCounted(sample))
}

/** Refuses data of which no sample counts. A batch may have none. */
export function checkCounts(data: Dataset): void {
  expect(counts(data), () => `Expected ${data.name} to have a sample that counts, got weights or labels without any`)
}

/** Refuses data that the model cannot take. */
export function checkData(model: Sequential, data: Dataset, loss?: Loss): void {
  const { inFeatures, outFeatures } = model
  expect(
    typeof data?.samples === 'number',
    () => `Expected a data set made by dataset(), mnist() or the like, got ${show(data)}`,
  )
  expect(
    inFeatures === data.features,
    () =>
      `Expected ${data.name} to have ${inFeatures} features a sample, the width of the model's input, got ` +
      data.features,
  )
  expect(
    outFeatures === data.classes || (data.labels !== undefined && (outFeatures as number) > data.classes),
    () =>
      `Expected ${data.name} to have ${outFeatures} ${data.labels ? 'classes' : 'outputs'}, the width of the ` +
      `model's output, got ${data.classes}`,
  )
  expect(
    (lossFunction(lossFor(data, loss)).targets === 'labels') === (data.labels !== undefined),
    () => `Expected ${data.name} to have ${data.labels ? 'targets' : 'labels'} for the loss ${show(loss)}`,
  )
}
