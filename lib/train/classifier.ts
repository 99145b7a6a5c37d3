/** Outputs of a network as a person reads them; lines of text through a classifier. */
import { type DataFormat, inUnits } from '../data/format.js'
import { expect, HebbError, show } from '../error.js'
import type { Vocabularies } from '../text/dataset.js'
import { LabelledText, tokenizedLines } from '../text/labelled.js'
import type { Known, OutputName, Outputs } from './inference.js'

/** The class of a line. */
export interface Classification {
  readonly label: string
  /** What the model gives it, of all classes together 1. */
  readonly probability: number
}

/**
 * Lines as the classifier takes them, without labels; `before`: how many came before them. Refuses a model that is
 * none, and lines without a token.
 */
export function linesFor(known: Vocabularies | undefined, lines: readonly string[], before = 0): LabelledText {
  if (!known?.classes)
    throw new HebbError(
      'INVALID_ARGUMENT',
      `Expected a model trained on labelledText(), got one that has seen ${known ? 'no classes' : 'no text'}`,
    )
  expect(
    Array.isArray(lines) && lines.every((line) => typeof line === 'string'),
    () => `Expected lines to be lines of text, got ${show(lines)}`,
  )
  const { source } = known.tokenizers
  const tokens = tokenizedLines(lines, source, (line) => `line ${before + line}`)
  return new LabelledText('the lines', tokens, new Int32Array(lines.length), known.classes, source)
}

/** Of each sample's logits [samples][columns] the probabilities, by softmax. */
function probabilitiesOf(logits: Float32Array, columns: number): Float32Array {
  const out = new Float32Array(logits.length)
  for (let first = 0; first < logits.length; first += columns) {
    const own = logits.subarray(first, first + columns)
    const most = own.reduce((one, other) => Math.max(one, other), Number.NEGATIVE_INFINITY)
    const powers = Float64Array.from(own, (logit) => Math.exp(logit - most))
    const total = powers.reduce((sum, power) => sum + power, 0)
    out.set(
      powers.map((power) => power / total),
      first,
    )
  }
  return out
}

/** The names of the classes, by number, of what a model was trained on, if they have some. */
export const classesOf = ({ vocabularies, format }: Known): readonly string[] | undefined =>
  vocabularies?.classes ?? format?.classNames

/** What predict() was asked for, of logits [samples][columns]. */
export function outputsOf<Output extends OutputName>(
  logits: Float32Array,
  columns: number,
  output: Output | undefined,
  of: Known,
): Outputs[Output] {
  const make: { readonly [Name in OutputName]: () => Outputs[Name] } = {
    logits: () => logits,
    probabilities: () => probabilitiesOf(logits, columns),
    labels: () => classified(logits, columns, classesOf(of) ?? []).map(({ label }) => label),
    values: () => inUnits(of.format?.targets as NonNullable<DataFormat['targets']>, logits),
  }
  return make[output ?? 'logits']() as Outputs[Output]
}

/** The most probable class of each line. `logits`: [lines][columns], of which the first are the classes'. */
export function classified(logits: Float32Array, columns: number, classes: readonly string[]): Classification[] {
  return Array.from({ length: logits.length / columns }, (_, line) => {
    const own = logits.subarray(line * columns, (line + 1) * columns)
    const best = own.reduce((top, logit, i) => (logit > (own[top] as number) ? i : top), 0)
    const total = own.reduce((sum, logit) => sum + Math.exp(logit - (own[best] as number)), 0)
    return { label: classes[best] ?? String(best), probability: 1 / total }
  })
}
