/**
 * What is kept of a data set with a model that was trained on it: how raw inputs become what the network sees, and what
 * its outputs are called.
 */
import { isTyped } from '../typed_array.js'

/** Inputs as files have them. Doubles are for columns whose numbers are large beside what they vary by. */
export type RawInputs = Uint8Array | Float32Array | Float64Array

/** (value - mean) / deviation: one of each for all, for every channel of [channels, height, width], or every column. */
export interface Normalisation {
  readonly mean: readonly number[]
  readonly deviation: readonly number[]
}

/** What a model keeps of the data set that it was trained on: a data set's and a model's `format`. */
export interface DataFormat {
  /** Of one sample, such as [28, 28]. */
  readonly shape: readonly number[]
  /** What raw inputs are: bytes, which stand for value / 255, or numbers. */
  readonly type: 'uint8' | 'float32'
  readonly inputs: Normalisation
  /** What the inputs are called, as the header of a CSV file does. */
  readonly inputNames?: readonly string[]
  /** What the classes are called, by number. */
  readonly classNames?: readonly string[]
  /** Of a regression: how its targets were normalised, and what they are called. */
  readonly targets?: Normalisation & { readonly names?: readonly string[] }
}

export const featuresIn = ({ shape }: Pick<DataFormat, 'shape'>): number =>
  shape.reduce((product, length) => product * length, 1)

/** Whether raw inputs are others than what the network sees. */
export function isScaled({ type, inputs: { mean, deviation } }: DataFormat): boolean {
  return type === 'uint8' || mean.some((one) => one !== 0) || deviation.some((one) => one !== 1)
}

/** What becomes of raw inputs: value * scale + shift, with one of each for all, or in lists for every channel. */
export interface Affine {
  readonly scale: number
  readonly shift: number
  readonly perChannel?: { readonly scale: Float32Array; readonly shift: Float32Array }
}

export function affineOf({ type, inputs: { mean, deviation } }: Pick<DataFormat, 'type' | 'inputs'>): Affine {
  const unit = type === 'uint8' ? 1 / 255 : 1
  const scales = deviation.map((one) => unit / one)
  const shifts = mean.map((one, i) => -one / (deviation[i] as number))
  return scales.length === 1
    ? { scale: scales[0] as number, shift: shifts[0] as number }
    : {
        ...{ scale: Number.NaN, shift: Number.NaN },
        perChannel: { scale: Float32Array.from(scales), shift: Float32Array.from(shifts) },
      }
}

/** Raw samples [samples][features] as the network sees them, to the bits that evaluation and prediction have. */
export function scaled(raw: RawInputs, features: number, { scale, shift, perChannel }: Affine): Float32Array {
  const seen = new Float32Array(raw)
  const plane = perChannel ? features / perChannel.scale.length : features
  for (let i = 0; i < seen.length; ++i) {
    const channel = Math.floor((i % features) / plane)
    const [by, add] = perChannel
      ? [perChannel.scale[channel] as number, perChannel.shift[channel] as number]
      : [scale, shift]
    seen[i] = (seen[i] as number) * by + add
  }
  return seen
}

/** Rows of numbers, each column by its own mean and deviation, as csv() has them. */
function standardised(raw: RawInputs, { mean, deviation }: Normalisation): Float32Array {
  const seen = new Float32Array(raw.length)
  for (let i = 0; i < raw.length; ++i) {
    const column = i % mean.length
    seen[i] = ((raw[i] as number) - (mean[column] as number)) / (deviation[column] as number)
  }
  return seen
}

/** Raw samples as the network sees them. */
export function seenBy(format: DataFormat, raw: RawInputs): Float32Array {
  const isTable = format.inputNames !== undefined
  return isTable ? standardised(raw, format.inputs) : scaled(raw, featuresIn(format), affineOf(format))
}

/** Outputs of a regression [samples][targets] in the units of its targets. */
export function inUnits({ mean, deviation }: Normalisation, outputs: Float32Array): Float32Array {
  const at = (list: readonly number[], i: number) => list[i % list.length] as number
  return outputs.map((value, i) => value * at(deviation, i) + at(mean, i))
}

const areNumbers = (list: unknown, are: (one: number) => boolean): list is number[] =>
  Array.isArray(list) && list.length > 0 && list.every((one) => typeof one === 'number' && are(one))
const areNames = (list: unknown): boolean =>
  list === undefined || (Array.isArray(list) && list.every((name) => typeof name === 'string'))

function isNormalisation(value: unknown, lengths: readonly number[]): boolean {
  const { mean, deviation } = Object(value) as Partial<Normalisation>
  return (
    areNumbers(mean, Number.isFinite) &&
    areNumbers(deviation, (one) => Number.isFinite(one) && one > 0) &&
    mean.length === deviation.length &&
    lengths.includes(mean.length)
  )
}

/** Whether a value from elsewhere, a file or a program, is one. */
export function isDataFormat(value: unknown): value is DataFormat {
  const { shape, type, inputs, inputNames, classNames, targets } = Object(value) as Partial<DataFormat>
  if (!areNumbers(shape, (length) => Number.isSafeInteger(length) && length > 0)) return false
  const features = featuresIn({ shape })
  const isTable = inputNames !== undefined
  const lengths = isTable ? [features] : shape.length === 3 ? [1, shape[0] as number] : [1]
  return (
    (type === 'float32' || (type === 'uint8' && !isTable)) &&
    isNormalisation(inputs, lengths) &&
    areNames(inputNames) &&
    (!isTable || inputNames.length === features) &&
    areNames(classNames) &&
    (targets === undefined ||
      (isNormalisation(targets, [1, targets.mean?.length]) &&
        areNames(targets.names) &&
        (targets.names === undefined || [targets.mean.length, undefined].includes(targets.names.length))))
  )
}

/** What a data set says of itself. */
export function formatOf(
  x: Uint8Array | Float32Array,
  shape: readonly number[],
  inputs: Normalisation,
  more: Pick<DataFormat, 'classNames' | 'targets'>,
): DataFormat {
  return { shape: [...shape], type: isTyped(x, 'Uint8Array') ? 'uint8' : 'float32', inputs, ...more }
}
