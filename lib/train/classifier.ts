/** Lines of text through a classifier: in tokens, and back as the names of classes. */
import { expect, HebbError, show } from '../error.js'
import type { Vocabularies } from '../text/dataset.js'
import { LabelledText, tokenizedLines } from '../text/labelled.js'

/** The class of a line. */
export interface Classification {
  readonly label: string
  /** What the model gives it, of all classes together 1. */
  readonly probability: number
}

/** Lines as the classifier takes them, without labels. Refuses a model that is none, and lines without a token. */
export function linesFor(known: Vocabularies | undefined, lines: readonly string[]): LabelledText {
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
  const tokens = tokenizedLines(lines, source, (line) => `line ${line}`)
  return new LabelledText('the lines', tokens, new Int32Array(lines.length), known.classes, source)
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
