import { expect, HebbError, integer, show } from '../error.js'

export interface DatasetOptions {
  /** [samples][features], row-major. Bytes stand for value / 255. */
  x: Uint8Array | Float32Array
  /** One class number a sample, or for regression a Float32Array of [samples][outputs]. */
  y: ArrayLike<number>
  /** Shape of one sample, such as [28, 28]. */
  shape: readonly number[]
  /** Classes; default: the largest label + 1. */
  classes?: number
  /** (value - mean) / deviation is what the network sees. */
  normalise?: { mean: number; deviation: number }
  /** For messages. */
  name?: string
}

/** Samples with their targets, in host memory. */
export interface Dataset {
  readonly name: string
  readonly x: Uint8Array | Float32Array
  /** Class numbers, for classification. */
  readonly labels?: Int32Array
  /** [samples][outputs], for regression. */
  readonly targets?: Float32Array
  readonly shape: readonly number[]
  readonly samples: number
  readonly features: number
  /** Classes, or outputs of a regression. */
  readonly classes: number
  /** value * scale + shift is what the network sees. */
  readonly scale: number
  readonly shift: number
}

/** Throws unless the data set still has its samples: they lie in the user's arrays, whose memory can be transferred to another thread. */
export function expectSamples({ name, x, targets, samples, features, classes }: Dataset): void {
  const whole = x.length === samples * features && (!targets || targets.length === samples * classes)
  expect(whole, () => `Expected ${name} to hold ${samples} samples, got arrays that are shorter now. Was their ArrayBuffer transferred or resized?`)
}

/** A data set from arrays. They are not copied; do not change them afterwards. */
export function dataset(options: DatasetOptions): Dataset {
  const { x, y, shape, normalise = { mean: 0, deviation: 1 }, name = 'dataset' } = options
  expect(x instanceof Uint8Array || x instanceof Float32Array, () => `Expected x to be a Uint8Array or a Float32Array, got ${show(x)}`)
  expect(Array.isArray(shape) && shape.length > 0, () => `Expected shape to be the shape of a sample, such as [28, 28], got ${show(shape)}`)
  const features = shape.reduce((product, length) => product * integer(length, 'a length in shape', 1), 1)
  expect(
    x.length > 0 && x.length % features === 0,
    () => `Expected x to hold samples of ${features} features (shape ${shape.join(' x ')}), got ${x.length} elements`,
  )
  const samples = x.length / features
  const { mean, deviation } = normalise
  expect(
    Number.isFinite(mean) && Number.isFinite(deviation) && deviation > 0,
    () => `Expected normalise to be a finite mean and a positive deviation, got ${show(normalise)}`,
  )
  const unit = x instanceof Uint8Array ? 1 / 255 : 1
  const common = { name, x, shape, samples, features, scale: unit / deviation, shift: -mean / deviation }
  if (x instanceof Float32Array) {
    const bad = x.findIndex((v) => !Number.isFinite(v))
    if (bad >= 0) throw new HebbError('NON_FINITE', `Expected finite data, got ${x[bad]} at feature ${bad % features} of sample ${Math.floor(bad / features)}`)
  }
  if (y instanceof Float32Array) {
    expect(y.length > 0 && y.length % samples === 0, () => `Expected targets for ${samples} samples, got ${y.length} numbers`)
    const bad = y.findIndex((v) => !Number.isFinite(v))
    if (bad >= 0) throw new HebbError('NON_FINITE', `Expected finite targets, got ${y[bad]} at ${bad}`)
    return { ...common, targets: y, classes: y.length / samples }
  }
  expect(y.length === samples, () => `Expected ${samples} labels, one a sample, got ${y.length}`)
  const labels = Int32Array.from(y)
  const classes = options.classes === undefined ? labels.reduce((most, label) => Math.max(most, label), 0) + 1 : integer(options.classes, 'classes', 1)
  for (let i = 0; i < samples; ++i) {
    expect(
      labels[i] === y[i] && (labels[i] as number) >= 0 && (labels[i] as number) < classes,
      () => `Expected labels to be integers in [0, ${classes}), got ${y[i]} for sample ${i}`,
    )
  }
  return { ...common, labels, classes }
}
