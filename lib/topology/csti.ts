import { type Dataset, expectSamples } from '../data/dataset.js'
import { expect, known, show } from '../error.js'
import { addon } from '../native.js'
import { maker, remember } from '../recipe.js'
import { drawn, type Topology } from './topology.js'

/** What csti() takes. */
export interface CstiOptions {
  /** The training set whose features are correlated. */
  data: Dataset
}

function make(data: Dataset | undefined): Topology {
  const correlations = addon.featureCorrelations()
  return drawn('csti', ({ rows, cols }) => {
    expect(
      data !== undefined,
      () =>
        'Expected csti() to have its data to draw links, got one from a file, which holds no data. Give the ' +
        'topology again: csti({ data }).',
    )
    expectSamples(data)
    expect(
      rows % data.features === 0 && cols % data.features === 0,
      () =>
        `Expected layers whose widths are multiples of the ${data.features} features of ${data.name}, for ` +
        `csti(), got ${cols} -> ${rows}. Make the hidden layers once or twice as wide as the input, or give ` +
        'this layer another topology.',
    )
    return { kind: 'csti', correlations, x: data.x, features: data.features }
  })
}

/** From a file: links that were saved need no data, and others cannot be drawn. */
maker('csti', () => make(undefined))

/**
 * Correlated sparse topological initialisation (CHT, ICLR 2024): links where the features' |Pearson correlation| over
 * the training set is largest. Neuron n of a layer stands for feature n mod features, so every layer's widths must be
 * multiples of the data's features; all layers use the same correlations, as in the paper. Features without variance
 * correlate with none. Links beyond all correlations that are not 0 lie anywhere, by the seed. A checkpoint does not
 * hold the data: its links are restored without them.
 */
export function csti(options: CstiOptions): Topology {
  const { data } = known(options, 'csti()', { data: true })
  expect(
    typeof data?.samples === 'number' && ArrayBuffer.isView(data.x),
    () => `Expected data to be a data set made by dataset(), mnist() or the like, got ${show(data)}`,
  )
  return remember('csti', [], make(data))
}
