/** Lines of text with a class each: what a classifier is trained and evaluated on. */
import { expect, HebbError, known, show } from '../error.js'
import { suggestion } from '../suggestion.js'
import { checkTokenizer, GrowingText, lengthsOf, TextDataset, type TextPart, type TokenizedText } from './dataset.js'
import { readParallel } from './lines.js'
import type { Tokenizer } from './tokenizer.js'

/** What labelledText() and labelledLines() take. */
export interface LabelledTextOptions {
  /** Each line is what it makes of it, with the special tokens that its tokenizer.json puts around a text. */
  tokenizer: Tokenizer
  /**
   * The names of the classes, by number. Default: of labels that are names, all that there are, sorted; of numbers, as
   * many as the largest wants. A text for validation takes those of the one for training, its `classes`.
   */
  classes?: readonly string[] | undefined
  /** For messages. Default: the names of the files. */
  name?: string | undefined
}

/** Made by labelledText() and labelledLines(). */
export class LabelledText extends TextDataset {
  readonly task = 'classification'
  readonly samples: number
  /** Lines, as the tokenizer gives them. */
  readonly lines: TokenizedText
  /** [samples] the class of each line. */
  readonly classNumbers: Int32Array
  override readonly classes: readonly string[]

  /** @internal */
  constructor(
    name: string,
    lines: TokenizedText,
    classNumbers: Int32Array,
    classes: readonly string[],
    tokenizer: Tokenizer,
  ) {
    super(name, { source: tokenizer, target: tokenizer })
    this.samples = classNumbers.length
    this.lines = lines
    this.classNumbers = classNumbers
    this.classes = classes
  }

  get inputs(): readonly TextPart[] {
    return [{ text: this.lines }]
  }

  get labels(): TextPart {
    const starts = Int32Array.from({ length: this.samples + 1 }, (_, i) => i)
    return { text: { tokens: this.classNumbers, starts } }
  }

  /** [samples] tokens of each line. */
  get lengths(): { readonly lengths: Int32Array } {
    return { lengths: lengthsOf(this.lines) }
  }
}

/** The tokens of lines that have some; `where` names a line, counted from 1. */
export function tokenizedLines(
  lines: Iterable<string>,
  tokenizer: Tokenizer,
  where: (line: number) => string,
): TokenizedText {
  const all = new GrowingText()
  let line = 0
  for (const text of lines) {
    const tokens = tokenizer.encode(text)
    ++line
    expect(
      text.trim() !== '' && tokens.length > 0,
      () => `Expected lines with a token or more, got ${show(text)} in ${where(line)}. Leave it out, with its label.`,
    )
    all.push(tokens)
  }
  return all.text
}

/** The class of each label, and the names of all. */
function classesOf(
  labels: ArrayLike<string | number>,
  given: readonly string[] | undefined,
  where: (line: number) => string,
): { numbers: Int32Array; classes: readonly string[] } {
  const all = Array.from(labels)
  const areNames = typeof all[0] === 'string'
  for (const [i, label] of all.entries())
    expect(
      areNames ? typeof label === 'string' && label !== '' : Number.isInteger(label) && (label as number) >= 0,
      () =>
        `Expected labels to be the names of classes, or all of them their numbers from 0 on, got ${show(label)} for ` +
        where(i + 1),
    )
  if (given !== undefined)
    expect(
      Array.isArray(given) &&
        given.length > 0 &&
        given.every((name) => typeof name === 'string' && name !== '') &&
        new Set(given).size === given.length,
      () => `Expected classes to be names, each once, got ${show(given)}`,
    )
  const most = areNames ? 0 : (all as number[]).reduce((one, other) => Math.max(one, other), 0)
  expect(
    given !== undefined || most < 2 ** 16,
    () => `Expected labels below 65536 where no classes are given, got ${most}. Number the classes from 0 on.`,
  )
  const classes =
    given ??
    (areNames ? [...new Set(all as string[])].sort() : Array.from({ length: most + 1 }, (_, number) => String(number)))
  const numberOf = new Map(classes.map((name, number) => [name, number]))
  const numbers = Int32Array.from(all, (label, i) => {
    const number = typeof label === 'string' ? numberOf.get(label) : label
    expect(number !== undefined && number < classes.length, () =>
      typeof label === 'string'
        ? `Expected labels among the classes ${show(classes)}, got ${show(label)} for ${where(i + 1)}` +
          suggestion(label, classes)
        : `Expected labels in [0, ${classes.length}), the classes, got ${label} for ${where(i + 1)}`,
    )
    return number as number
  })
  return { numbers, classes }
}

const NAMES = { tokenizer: true, classes: true, name: true } as const

function textOf(
  name: string,
  lines: readonly string[],
  labels: ArrayLike<string | number>,
  { tokenizer, classes: given }: LabelledTextOptions,
): LabelledText {
  checkTokenizer(tokenizer)
  const where = (line: number) => `line ${line} of ${name}`
  const { numbers, classes } = classesOf(labels, given, where)
  return new LabelledText(name, tokenizedLines(lines, tokenizer, where), numbers, classes, tokenizer)
}

/**
 * Two files: lines, and for each a line with the name of its class. MISSING_FILE and BAD_FILE as readParallel() has
 * them; INVALID_ARGUMENT as labelledLines() has it.
 */
export async function labelledText(file: string, labels: string, options: LabelledTextOptions): Promise<LabelledText> {
  const { name = file } = known(options, 'labelledText()', NAMES)
  const [lines, classes]: [string[], string[]] = [[], []]
  for await (const { source, target } of readParallel(file, labels)) {
    lines.push(source)
    classes.push(target.trim())
    if (classes.at(-1) === '')
      throw new HebbError('BAD_FILE', `Expected ${labels} to have a class in each line, got none in ${lines.length}`)
  }
  return textOf(name, lines, classes, options)
}

/**
 * Lines with a label each, the name of a class or its number from 0 on. INVALID_ARGUMENT names a line without a token
 * and a label that is no class. Lines that are longer than a batch, or than the model takes, are in no batch, and
 * counted (`dropped`).
 */
export async function labelledLines(
  lines: readonly string[],
  labels: readonly string[] | ArrayLike<number>,
  options: LabelledTextOptions,
): Promise<LabelledText> {
  const { name = 'the lines' } = known(options, 'labelledLines()', NAMES)
  expect(
    Array.isArray(lines) && lines.length > 0 && lines.every((line) => typeof line === 'string'),
    () => `Expected lines to be at least one line of text, got ${show(lines)}`,
  )
  expect(
    typeof labels === 'object' && labels?.length === lines.length,
    () => `Expected as many labels as lines, got ${show(labels?.length ?? labels)} and ${lines.length}`,
  )
  return textOf(name, lines, labels, options)
}
