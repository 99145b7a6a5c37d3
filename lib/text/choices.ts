/** Questions with choices, as zero-shot tests of language models have them. */
import { expect, HebbError, show } from '../error.js'
import { readLines } from './lines.js'

/** One of its choices is right. */
export interface Question {
  /** What stands before a choice; may be empty. */
  readonly context: string
  /** Two or more, none of them empty. */
  readonly choices: readonly string[]
  /** Which one is right, from 0. */
  readonly label: number
  /** Such as the paradigm: accuracies of groups are told, and their mean. */
  readonly group?: string | undefined
}

/** Refuses what is no question; `where` names it. */
export function checkQuestion({ context, choices, label, group }: Question, where: string): void {
  expect(typeof context === 'string', () => `Expected the context of ${where} to be a text, got ${show(context)}`)
  expect(
    Array.isArray(choices) && choices.length > 1 && choices.every((choice) => typeof choice === 'string' && choice),
    () => `Expected the choices of ${where} to be two or more texts, none of them empty, got ${show(choices)}`,
  )
  expect(
    Number.isInteger(label) && label >= 0 && label < choices.length,
    () => `Expected the label of ${where} to be the number of one of its ${choices.length} choices, got ${show(label)}`,
  )
  expect(
    group === undefined || typeof group === 'string',
    () => `Expected the group of ${where} to be a text, got ${show(group)}`,
  )
}

/** A line's question: BLiMP's pairs have a good sentence and a bad one. */
function questionOf(json: unknown): Question | undefined {
  if (Array.isArray(json)) {
    const [group, good, bad] = [json[0], json.at(-2), json.at(-1)]
    return { context: '', choices: [good, bad], label: 0, group }
  }
  if (typeof json !== 'object' || json === null) return undefined
  const pair = json as { sentence_good?: string; sentence_bad: string; UID?: string }
  if (pair.sentence_good !== undefined)
    return { context: '', choices: [pair.sentence_good, pair.sentence_bad], label: 0, group: pair.UID }
  const { context = '', choices, label, group } = json as Question
  return { context, choices, label, group }
}

/**
 * The questions in JSON lines, of a .gz unpacked: `{ "context": "...", "choices": ["...", "..."], "label": 0 }` with a
 * "group" where there is one; BLiMP's pairs, `{ "sentence_good": ..., "sentence_bad": ..., "UID": group }` (Warstadt et
 * al., 2020); or arrays whose first text is the group and whose last two are the good sentence and the bad one.
 * MISSING_FILE; BAD_FILE names a line that is none of these.
 */
export async function readQuestions(file: string): Promise<Question[]> {
  const questions: Question[] = []
  let number = 0
  for await (const line of readLines(file)) {
    ++number
    if (line.trim() === '') continue
    const where = `line ${number} of ${file}`
    try {
      const question = questionOf(JSON.parse(line))
      expect(question !== undefined, () => `Expected a question in ${where}, got ${show(line)}`)
      checkQuestion(question, where)
      questions.push(question)
    } catch (cause) {
      const why = cause instanceof HebbError ? cause.message : `Expected JSON in ${where}: ${(cause as Error).message}`
      throw new HebbError('BAD_FILE', why, { cause })
    }
  }
  if (questions.length === 0) throw new HebbError('BAD_FILE', `Expected questions in ${file}, got none`)
  return questions
}
