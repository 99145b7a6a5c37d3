/** Sentence pairs in the numbers of their tokens: what a translator is trained and evaluated on. */
import { expect, known, show } from '../error.js'
import {
  checkTokenizer,
  GrowingText,
  lengthsOf,
  TextDataset,
  type TextPart,
  type TokenizedText,
  type Tokenizers,
} from './dataset.js'
import { readParallel } from './lines.js'
import { type StoredText, tokenFile } from './token_file.js'
import { Tokenizer } from './tokenizer.js'

export type { TokenizedText, Tokenizers }

/** What parallelLines() takes. */
export interface ParallelLinesOptions {
  /** For both languages, or one for each. */
  tokenizer: Tokenizer | Tokenizers
  /** For messages. Default: the names of the files. */
  name?: string | undefined
}

/** What parallelText() takes. */
export interface ParallelTextOptions extends ParallelLinesOptions {
  /**
   * A file that tokens are kept in, 2 or 4 bytes each, in place of memory, for texts larger than that; training reads
   * each batch from there. It is made once, and again where texts (by name, size and time) or tokenizers are others.
   * Some 40 bytes a pair stay in memory.
   */
  store?: string | undefined
}

/** The tokens that a target begins and ends with. */
export const [BEGIN, END] = ['<s>', '</s>'] as const

export function tokenizersOf(tokenizer: Tokenizer | Tokenizers): Tokenizers {
  const { source, target } = tokenizer instanceof Tokenizer ? { source: tokenizer, target: tokenizer } : tokenizer
  for (const one of [source, target]) checkTokenizer(one)
  return { source, target }
}

/** The number of a token that a translator needs. */
export function specialOf(tokenizer: Tokenizer, token: string): number {
  const id = tokenizer.idOf(token)
  expect(
    id !== undefined,
    () => `Expected a tokenizer with the token '${token}', got one without. trainTokenizer() makes one with it.`,
  )
  return id as number
}

/** A source as a translator takes it: its tokens alone. */
export function sourceTokens({ source }: Tokenizers, line: string): Int32Array {
  return source.encode(line, { special: false })
}

/** Made by parallelText() and parallelLines(). */
export class ParallelText<Text extends TokenizedText | StoredText = TokenizedText | StoredText> extends TextDataset {
  readonly task = 'translation'
  /** Sentences with their translations. */
  readonly pairs: number
  /** Sources, without special tokens. */
  readonly source: Text
  /** Targets, each from <s> to </s>. */
  readonly target: Text

  /** @internal */
  constructor(name: string, source: Text, target: Text, tokenizers: Tokenizers) {
    super(name, tokenizers)
    this.source = source
    this.target = target
    this.pairs = lengthsOf(source).length
  }

  get samples(): number {
    return this.pairs
  }

  get inputs(): readonly TextPart[] {
    return [{ text: this.source }, { text: this.target, drop: 1 }]
  }

  /** A target's word is told by those before it. */
  get labels(): TextPart {
    return { text: this.target, skip: 1 }
  }

  /** [pairs] tokens of each source, and of each target without its begin and end. */
  get lengths(): { readonly sourceLengths: Int32Array; readonly targetLengths: Int32Array } {
    return { sourceLengths: lengthsOf(this.source), targetLengths: lengthsOf(this.target, 2) }
  }
}

/** The tokens of a line and of its translation. */
type Encode = (source: string, target: string) => [Int32Array, number[]]

function encoderOf(tokenizers: Tokenizers): Encode {
  const [begin, end] = [specialOf(tokenizers.target, BEGIN), specialOf(tokenizers.target, END)]
  return (source, target) => [
    sourceTokens(tokenizers, source),
    [begin, ...tokenizers.target.encode(target, { special: false }), end],
  ]
}

const NAMES = { tokenizer: true, name: true } as const

/**
 * Two files whose lines are each other's translations, as tokens in memory (4 bytes each), or in a file (`store`).
 * MISSING_FILE and BAD_FILE as readParallel() has them; INVALID_ARGUMENT for a tokenizer without the tokens <s> and
 * </s>; CANNOT_WRITE for a file that cannot be written.
 */
export function parallelText(
  source: string,
  target: string,
  options: ParallelTextOptions & { store?: undefined },
): Promise<ParallelText<TokenizedText>>
export function parallelText(source: string, target: string, options: ParallelTextOptions): Promise<ParallelText>
export async function parallelText(
  source: string,
  target: string,
  options: ParallelTextOptions,
): Promise<ParallelText> {
  const given = known(options, 'parallelText()', { ...NAMES, store: true })
  const { name = `${source} and ${target}`, store } = given
  const tokenizers = tokenizersOf(given.tokenizer)
  const encode = encoderOf(tokenizers)
  if (store === undefined) {
    const [sources, targets] = [new GrowingText(), new GrowingText()]
    for await (const line of readParallel(source, target)) {
      const [one, other] = encode(line.source, line.target)
      sources.push(one)
      targets.push(other)
    }
    return new ParallelText(name, sources.text, targets.text, tokenizers)
  }
  const { texts } = await tokenFile({
    ...{ file: store, files: [source, target], tokenizers: [tokenizers.source, tokenizers.target] },
    tuples: async function* () {
      for await (const line of readParallel(source, target)) yield encode(line.source, line.target)
    },
  })
  return new ParallelText<StoredText>(name, texts[0] as StoredText, texts[1] as StoredText, tokenizers)
}

/** The same of sentences that are there, as many sources as targets. */
export async function parallelLines(
  sources: readonly string[],
  targets: readonly string[],
  options: ParallelLinesOptions,
): Promise<ParallelText<TokenizedText>> {
  const { tokenizer, name = 'the sentences' } = known(options, 'parallelLines()', NAMES)
  for (const [what, lines] of Object.entries({ sources, targets }))
    expect(
      Array.isArray(lines) && lines.length > 0 && lines.every((line) => typeof line === 'string'),
      () => `Expected ${what} to be at least one line of text, got ${show(lines)}`,
    )
  expect(
    sources.length === targets.length,
    () => `Expected as many sources as targets, got ${sources.length} and ${targets.length}`,
  )
  const tokenizers = tokenizersOf(tokenizer)
  const encode = encoderOf(tokenizers)
  const [one, other] = [new GrowingText(), new GrowingText()]
  for (const [i, source] of sources.entries()) {
    const [tokens, translation] = encode(source, targets[i] as string)
    one.push(tokens)
    other.push(translation)
  }
  return new ParallelText(name, one.text, other.text, tokenizers)
}
