/**
 * Samples with their targets, as trainers take them: checked once, when they are made. Inputs stay in the user's array;
 * a trainer copies them to its device.
 */
import { expect, HebbError, integer, known, show } from '../error.js'
import { isTyped } from '../typed_array.js'
import { type Affine, affineOf, type DataFormat, formatOf } from './format.js'

/** Random crops and flips of images, for training alone: whoever evaluates or predicts sees them as they are. */
export interface Augment {
  /**
   * A frame of so many zeros, as they are in `x`, is put around the image, and a window of the image's own size cut out
   * somewhere.
   */
  readonly padding: number
  /** Left and right are exchanged in half of the images. */
  readonly flip: boolean
}

/** What dataset() takes. Arrays whose lengths do not fit are refused with INVALID_ARGUMENT. */
export interface DatasetOptions {
  /** [samples][features], row-major. Bytes stand for value / 255. */
  x: Uint8Array | Float32Array
  /** One class number a sample, or for regression a Float32Array of [samples][outputs]. */
  y: ArrayLike<number>
  /** Shape of one sample, such as [28, 28]. */
  shape: readonly number[]
  /** Classes; default: the largest label + 1. */
  classes?: number | undefined
  /**
   * How much each sample counts in the loss and in what is measured, one number of at least 0 each: one of weight 2
   * counts as two samples, one of weight 0 not at all. Default: each counts once.
   */
  weights?: ArrayLike<number> | undefined
  /** A label whose samples do not count, as if their weight were 0, such as -1 for samples without a label. */
  ignore?: number | undefined
  /**
   * (value - mean) / deviation is what the network sees. Lists tell one of each for every channel, the first of the
   * shape's three lengths.
   */
  normalise?: { mean: number | readonly number[]; deviation: number | readonly number[] } | undefined
  /** What training does to images at random, each time it sees one. */
  augment?: Augment | undefined
  /** For messages. */
  name?: string | undefined
  /** What the classes are called, one name each. */
  classNames?: readonly string[] | undefined
}

/**
 * Samples with their targets, in host memory. value * scale + shift is what the network sees; `scale` and `shift` are
 * NaN where each channel has its own.
 */
export interface Dataset extends Affine {
  readonly name: string
  readonly x: Uint8Array | Float32Array
  /** Class numbers, for classification. */
  readonly labels?: Int32Array
  /** [samples][outputs], for regression. */
  readonly targets?: Float32Array
  /** How much each sample counts, where not all count once. */
  readonly weights?: Float32Array
  /** The label whose samples do not count. */
  readonly ignore?: number
  readonly shape: readonly number[]
  readonly samples: number
  readonly features: number
  /** Classes, or outputs of a regression. */
  readonly classes: number
  readonly augment?: Augment
  /** What the classes are called. */
  readonly classNames?: readonly string[]
  /** What a model keeps of it that is trained on it: how raw inputs become what the network sees, and names. */
  readonly format: DataFormat
}

/**
 * Throws unless the data set still has its samples: they lie in the user's arrays, whose memory can be transferred to
 * another thread.
 */
export function expectSamples({ name, x, targets, weights, samples, features, classes }: Dataset): void {
  const whole =
    x.length === samples * features &&
    (!targets || targets.length === samples * classes) &&
    (!weights || weights.length === samples)
  expect(
    whole,
    () =>
      `Expected ${name} to hold ${samples} samples, got arrays that are shorter now. Was their ArrayBuffer ` +
      'transferred or resized?',
  )
}

function weightsOf(given: ArrayLike<number>, samples: number): Float32Array {
  const weights = Float32Array.from(given)
  expect(weights.length === samples, () => `Expected ${samples} weights, one a sample, got ${given.length}`)
  const bad = weights.findIndex((weight) => !(weight >= 0 && Number.isFinite(weight)))
  expect(bad < 0, () => `Expected weights of at least 0, got ${given[bad]} for sample ${bad}`)
  return weights
}

/** A data set from arrays. They are not copied; do not change them afterwards. */
export function dataset(options: DatasetOptions): Dataset {
  known(options, 'dataset()', {
    x: true,
    y: true,
    shape: true,
    classes: true,
    weights: true,
    ignore: true,
    normalise: true,
    augment: true,
    name: true,
    classNames: true,
  })
  const { x, y, shape, normalise = { mean: 0, deviation: 1 }, augment, classNames, name = 'dataset' } = options
  expect(
    isTyped(x, 'Uint8Array') || isTyped(x, 'Float32Array'),
    () => `Expected x to be a Uint8Array or a Float32Array, got ${show(x)}`,
  )
  expect(
    Array.isArray(shape) && shape.length > 0,
    () => `Expected shape to be the shape of a sample, such as [28, 28], got ${show(shape)}`,
  )
  const features = shape.reduce((product, length) => product * integer(length, 'a length in shape', 1), 1)
  expect(
    x.length > 0 && x.length % features === 0,
    () => `Expected x to hold samples of ${features} features (shape ${shape.join(' x ')}), got ${x.length} elements`,
  )
  const samples = x.length / features
  expect(
    typeof y === 'object' && y !== null && typeof y.length === 'number',
    () => `Expected y to be labels, one a sample, or a Float32Array of targets, got ${show(y)}`,
  )
  const channels = shape.length === 3 ? (shape[0] as number) : 1
  const listed = (numbers: number | readonly number[]): readonly number[] =>
    Array.isArray(numbers) ? numbers : [numbers as number]
  const [means, deviations] = [listed(normalise.mean), listed(normalise.deviation)]
  expect(
    means.length === deviations.length &&
      means.every(Number.isFinite) &&
      deviations.every((deviation) => Number.isFinite(deviation) && deviation > 0),
    () => `Expected normalise to be a finite mean and a positive deviation, got ${show(normalise)}`,
  )
  expect(
    means.length === 1 || means.length === channels,
    () =>
      `Expected normalise to have one mean for all or one for each of the ${channels} channels of shape ` +
      `${shape.join(' x ')}, got ${means.length}`,
  )
  if (augment) {
    known(augment, 'augment', { padding: true, flip: true })
    integer(augment.padding, 'augment.padding', 0, 65535)
    expect(
      typeof augment.flip === 'boolean',
      () => `Expected augment.flip to be true or false, got ${show(augment.flip)}`,
    )
    expect(
      shape.length === 2 || shape.length === 3,
      () => `Expected images to augment, of shape [height, width] or [channels, height, width], got ${show(shape)}`,
    )
  }
  const weights = options.weights && weightsOf(options.weights, samples)
  const format = (more: Pick<DataFormat, 'classNames' | 'targets'>) =>
    formatOf(x, shape, { mean: [...means], deviation: [...deviations] }, more)
  const common = {
    ...{ name, x, shape, samples, features },
    ...affineOf(format({})),
    ...(augment && { augment: { padding: augment.padding, flip: augment.flip } }),
    ...(weights && { weights }),
  }
  if (isTyped(x, 'Float32Array')) {
    const bad = x.findIndex((v) => !Number.isFinite(v))
    if (bad >= 0)
      throw new HebbError(
        'NON_FINITE',
        `Expected finite data, got ${x[bad]} at feature ${bad % features} of sample ${Math.floor(bad / features)}`,
      )
  }
  if (isTyped(y, 'Float32Array')) {
    expect(
      y.length > 0 && y.length % samples === 0,
      () => `Expected targets for ${samples} samples, got ${y.length} numbers`,
    )
    const bad = y.findIndex((v) => !Number.isFinite(v))
    if (bad >= 0) throw new HebbError('NON_FINITE', `Expected finite targets, got ${y[bad]} at ${bad}`)
    expect(options.ignore === undefined, () => `Expected no label to ignore for targets, got ${show(options.ignore)}`)
    return {
      ...common,
      ...{ targets: y, classes: y.length / samples },
      format: format({ targets: { mean: [0], deviation: [1] } }),
    }
  }
  expect(y.length === samples, () => `Expected ${samples} labels, one a sample, got ${y.length}`)
  const labels = Int32Array.from(y)
  const ignore =
    options.ignore === undefined ? undefined : integer(options.ignore, 'ignore', -(2 ** 31 - 1), 2 ** 31 - 1)
  const classes =
    options.classes === undefined
      ? labels.reduce((most, label) => (label === ignore ? most : Math.max(most, label)), 0) + 1
      : integer(options.classes, 'classes', 1)
  for (let i = 0; i < samples; ++i) {
    const label = labels[i] as number
    const or = ignore === undefined ? '' : ` or ${ignore}`
    expect(
      label === y[i] && ((label >= 0 && label < classes) || label === ignore),
      () => `Expected labels to be integers in [0, ${classes})${or}, got ${y[i]} for sample ${i}`,
    )
  }
  expect(
    classNames === undefined || classNames.length === classes,
    () => `Expected a name for each of ${classes} classes, got ${classNames?.length}`,
  )
  return {
    ...common,
    labels,
    classes,
    ...(ignore !== undefined && { ignore }),
    ...(classNames && { classNames: [...classNames] }),
    format: format(classNames ? { classNames: [...classNames] } : {}),
  }
}
