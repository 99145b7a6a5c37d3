/** How good a classifier is beside its accuracy, of its outputs and the labels: pure functions, samples count once. */
import { expect, integer, known, show } from '../error.js'
import { isTyped } from '../typed_array.js'

/** What the metrics take beside logits and labels. */
export interface MetricsOptions {
  /** The label of samples that do not count, as DatasetOptions has it. */
  ignore?: number | undefined
}

/** Of one class, in [0, 1]; 0 where a share is of nothing; NaN of a class that is no label and no prediction. */
export interface ClassScores {
  /** Share of those predicted as the class that are of it. */
  readonly precision: number
  /** Share of its samples that are predicted as it. */
  readonly recall: number
  /** Harmonic mean of both. */
  readonly f1: number
  /** Its samples. */
  readonly samples: number
}

/** What classificationMetrics() gives. */
export interface ClassificationMetrics {
  readonly accuracy: number
  /** Share of the samples whose label is among the 5 largest outputs, or among all where there are fewer. */
  readonly top5: number
  /** Samples by [label][prediction]. */
  readonly confusion: readonly (readonly number[])[]
  readonly classes: readonly ClassScores[]
  /** Means over the classes that are a label or a prediction. */
  readonly macro: Readonly<Omit<ClassScores, 'samples'>>
}

/** Outputs and labels of the samples that count, checked. */
interface Checked {
  readonly classes: number
  readonly samples: readonly { readonly label: number; readonly logits: Float32Array }[]
}

function check(logits: Float32Array, labels: ArrayLike<number>, options: MetricsOptions): Checked {
  const { ignore } = known(options, 'metrics', { ignore: true })
  expect(isTyped(logits, 'Float32Array'), () => `Expected logits to be a Float32Array, got ${show(logits)}`)
  const classes = logits.length / labels.length
  expect(
    labels.length > 0 && classes >= 1 && Number.isInteger(classes),
    () => `Expected logits of [samples][classes] for ${labels.length} labels, got ${logits.length} numbers`,
  )
  const bad = logits.findIndex(Number.isNaN)
  expect(bad < 0, () => `Expected logits without NaN, got one for sample ${Math.floor(bad / classes)}`)
  const samples: { label: number; logits: Float32Array }[] = []
  for (let i = 0; i < labels.length; ++i) {
    const label = labels[i] as number
    if (label === ignore) continue
    integer(label, `the label of sample ${i}`, 0, classes - 1)
    samples.push({ label, logits: logits.subarray(i * classes, (i + 1) * classes) })
  }
  return { classes, samples }
}

/** How many classes come before a sample's label: larger outputs, and equal ones of lower numbers. */
function rankOf({ label, logits }: Checked['samples'][number]): number {
  const own = logits[label] as number
  return logits.reduce((rank, logit, i) => rank + Number(logit > own || (logit === own && i < label)), 0)
}

/**
 * Share of the samples whose label is among the `k` largest outputs; of equal ones, the lower class comes first. NaN
 * where no sample counts. `logits`: [samples][classes], as predict() gives them.
 */
export function topKAccuracy(
  logits: Float32Array,
  labels: ArrayLike<number>,
  k: number,
  options: MetricsOptions = {},
): number {
  const { classes, samples } = check(logits, labels, options)
  integer(k, 'k', 1, classes)
  return samples.filter((sample) => rankOf(sample) < k).length / samples.length
}

/** Samples by [label][prediction], the largest output. `logits`: [samples][classes]. */
export function confusionMatrix(
  logits: Float32Array,
  labels: ArrayLike<number>,
  options: MetricsOptions = {},
): number[][] {
  const { classes, samples } = check(logits, labels, options)
  const matrix = Array.from({ length: classes }, () => new Array<number>(classes).fill(0))
  for (const { label, logits } of samples) {
    const predicted = logits.reduce((top, logit, i) => (logit > (logits[top] as number) ? i : top), 0)
    const row = matrix[label] as number[]
    row[predicted] = (row[predicted] as number) + 1
  }
  return matrix
}

/**
 * Precision, recall and F1 of each class, and their means (macro), of a confusion matrix: scikit-learn's numbers, with
 * zero_division 0. A class that is no label and no prediction has NaN, and is not in the means.
 */
export function classScores(
  confusion: readonly (readonly number[])[],
): Pick<ClassificationMetrics, 'classes' | 'macro'> {
  const share = (part: number, whole: number) => (whole === 0 ? 0 : part / whole)
  const classes = confusion.map((row, i): ClassScores => {
    expect(row.length === confusion.length, () => `Expected ${confusion.length} numbers in row ${i}, got ${row.length}`)
    const right = row[i] as number
    const samples = row.reduce((sum, count) => sum + count, 0)
    const predicted = confusion.reduce((sum, other) => sum + (other[i] as number), 0)
    if (samples + predicted === 0) return { precision: Number.NaN, recall: Number.NaN, f1: Number.NaN, samples }
    return {
      precision: share(right, predicted),
      recall: share(right, samples),
      f1: (2 * right) / (samples + predicted),
      samples,
    }
  })
  const seen = classes.filter(({ f1 }) => !Number.isNaN(f1))
  const mean = (name: keyof ClassScores) => seen.reduce((sum, scores) => sum + scores[name], 0) / seen.length
  return { classes, macro: { precision: mean('precision'), recall: mean('recall'), f1: mean('f1') } }
}

/** All of them: accuracy, top-5 accuracy, confusion matrix, precision, recall and F1. `logits`: [samples][classes]. */
export function classificationMetrics(
  logits: Float32Array,
  labels: ArrayLike<number>,
  options: MetricsOptions = {},
): ClassificationMetrics {
  const classes = logits.length / labels.length
  const confusion = confusionMatrix(logits, labels, options)
  return {
    accuracy: topKAccuracy(logits, labels, 1, options),
    top5: topKAccuracy(logits, labels, Math.min(5, classes), options),
    ...{ confusion, ...classScores(confusion) },
  }
}
