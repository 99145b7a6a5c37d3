/** Zero-shot tests of language models: which choice of a question is the most probable to them. */
import { expect, known, show } from '../error.js'
import { checkQuestion, type Question } from '../text/choices.js'
import type { Vocabularies } from '../text/dataset.js'
import { separatorOf } from '../text/language.js'
import type { Tokenizer } from '../text/tokenizer.js'
import { placesOf } from './check_data.js'
import { begun } from './generation.js'
import type { RunOptions } from './inference.js'
import { type Estimate, SequenceLosses, type Within } from './perplexity.js'

/** What questions of a group come to. */
export interface ChoiceScores {
  readonly questions: number
  /**
   * Share of questions whose right choice has the largest log-likelihood, sums over its tokens behind the context; of
   * so many that are as large, one of as many.
   */
  readonly accuracy: Estimate
  /** The same of log-likelihoods divided by the choice's length in code points. */
  readonly normalised: Estimate
}

/** How a language model chooses. */
export interface ChoiceEvaluation extends ChoiceScores {
  /** Matthews correlation of chosen and right numbers, of several classes (Gorodkin, 2004); 0 where all are one. */
  readonly matthews: Estimate
  /** By name, where questions have groups. */
  readonly groups: Readonly<Record<string, ChoiceScores>>
  /** Mean of the groups' accuracies, as BLiMP is told, with the error that follows from theirs. */
  readonly groupMean?: Estimate | undefined
  /** Contexts that were cut at their begin, as the model has no places for more. */
  readonly cut: number
}

/** The tokens of a choice behind its context, and how many of them are the context's. */
export interface EncodedChoice {
  readonly tokens: Int32Array
  readonly context: number
}

/**
 * Context and choice are encoded as one text and cut where the context's own tokens end, which a token may span. Spaces
 * at the end of the context belong to the choice.
 */
export function encodedChoice(
  tokenizer: Tokenizer,
  { context, choice }: { context: string; choice: string },
  separator: number | undefined,
): EncodedChoice {
  const end = separator ?? separatorOf(tokenizer)
  const before = context.trimEnd()
  const tokens = begun(tokenizer, context + choice, separator, end)
  const own = begun(tokenizer, before, separator, end).length
  return { tokens, context: Math.min(own, tokens.length - 1) }
}

/** The numbers of the largest ones. */
function largest(numbers: readonly number[]): number[] {
  const most = Math.max(...numbers)
  return numbers.flatMap((number, i) => (number === most ? [i] : []))
}

/** A mean with its standard error. */
function meanOf(numbers: readonly number[]): Estimate {
  const count = numbers.length
  const value = numbers.reduce((a, b) => a + b, 0) / count
  const squares = numbers.reduce((sum, number) => sum + (number - value) ** 2, 0)
  return { value, error: count > 1 ? Math.sqrt(squares / (count - 1) / count) : Number.NaN }
}

/** The correlation of a table of counts [right][chosen]. */
function correlationOf(table: readonly (readonly number[])[]): number {
  const rows = table.map((row) => row.reduce((a, b) => a + b, 0))
  const cols = table.map((_, i) => table.reduce((sum, row) => sum + (row[i] as number), 0))
  const all = rows.reduce((a, b) => a + b, 0)
  const hits = table.reduce((sum, row, i) => sum + (row[i] as number), 0)
  const product = (a: number[], b: number[]) => a.reduce((sum, one, i) => sum + one * (b[i] as number), 0)
  const spread = Math.sqrt((all ** 2 - product(cols, cols)) * (all ** 2 - product(rows, rows)))
  return spread === 0 ? 0 : (hits * all - product(rows, cols)) / spread
}

/** With its standard error by leaving out each question once (jackknife). */
export function matthewsOf(right: readonly number[], chosen: readonly number[]): Estimate {
  const classes = Math.max(...right, ...chosen) + 1
  const table = Array.from({ length: classes }, () => new Array<number>(classes).fill(0))
  for (const [i, label] of right.entries()) {
    const row = table[label] as number[]
    row[chosen[i] as number] = (row[chosen[i] as number] as number) + 1
  }
  const value = correlationOf(table)
  const count = right.length
  if (count < 2) return { value, error: Number.NaN }
  const [without, weights]: [number[], number[]] = [[], []]
  for (const row of table)
    for (const [i, cell] of row.entries()) {
      if (cell === 0) continue
      row[i] = cell - 1
      without.push(correlationOf(table))
      row[i] = cell
      weights.push(cell)
    }
  const mean = without.reduce((sum, one, i) => sum + one * (weights[i] as number), 0) / count
  const squares = without.reduce((sum, one, i) => sum + (weights[i] as number) * (one - mean) ** 2, 0)
  return { value, error: Math.sqrt(((count - 1) / count) * squares) }
}

const scoresOf = (right: readonly number[], normalised: readonly number[]): ChoiceScores => ({
  ...{ questions: right.length, accuracy: meanOf(right), normalised: meanOf(normalised) },
})

/** Throws INVALID_ARGUMENT, before anything is computed, for what is no question, and a choice that is too long. */
export async function evaluateChoices(
  within: Within,
  { tokenizers, separator }: Vocabularies,
  questions: readonly Question[],
  options: RunOptions = {},
): Promise<ChoiceEvaluation> {
  const { signal } = known(options, 'evaluateChoices()', { signal: true })
  expect(
    Array.isArray(questions) && questions.length > 0,
    () => `Expected questions, at least one, got ${show(questions)}`,
  )
  const places = placesOf(within.model) ?? Number.POSITIVE_INFINITY
  let [cut, most] = [0, 1]
  const encoded = questions.map((question: Question, i) => {
    const where = `question ${i + 1}`
    checkQuestion(question, where)
    const all = question.choices.map((choice) => {
      const { tokens, context } = encodedChoice(tokenizers.source, { context: question.context, choice }, separator)
      const over = Math.max(0, tokens.length - 1 - places)
      expect(
        over < context,
        () =>
          `Expected choices of at most ${places} tokens, as the model takes, got ${tokens.length - context} in ` +
          where,
      )
      most = Math.max(most, tokens.length - over - 1)
      return { tokens: tokens.subarray(over), context: context - over, isCut: over > 0 }
    })
    if (all.some(({ isCut }) => isCut)) ++cut
    return all
  })
  const sequences = new SequenceLosses(within, most)
  const [right, normalised, chosen]: [number[], number[], number[]] = [[], [], []]
  const groups = new Map<string, [right: number[], normalised: number[]]>()
  try {
    for (const [i, { choices, label, group }] of questions.entries()) {
      const sums: number[] = []
      for (const { tokens, context } of encoded[i] as (typeof encoded)[number])
        sums.push(-(await sequences.of(tokens, context - 1, signal)).loss)
      const hits = [sums, sums.map((sum, at) => sum / [...(choices[at] as string)].length)].map((of) => {
        const best = largest(of)
        return best.includes(label) ? 1 / best.length : 0
      }) as [number, number]
      right.push(hits[0])
      normalised.push(hits[1])
      chosen.push(largest(sums)[0] as number)
      if (group === undefined) continue
      const own = groups.get(group) ?? [[], []]
      groups.set(group, own)
      for (const at of [0, 1] as const) own[at].push(hits[at])
    }
  } finally {
    sequences.dispose()
  }
  const ofGroups = [...groups].map(([name, hits]) => [name, scoresOf(...hits)] as const)
  const sum = (numbers: readonly number[]) => numbers.reduce((a, b) => a + b, 0)
  return {
    ...scoresOf(right, normalised),
    matthews: matthewsOf(
      questions.map(({ label }) => label),
      chosen,
    ),
    groups: Object.fromEntries(ofGroups),
    ...(ofGroups.length > 0 && {
      groupMean: {
        value: sum(ofGroups.map(([, { accuracy }]) => accuracy.value)) / ofGroups.length,
        error: Math.sqrt(sum(ofGroups.map(([, { accuracy }]) => accuracy.error ** 2))) / ofGroups.length,
      },
    }),
    cut,
  }
}
