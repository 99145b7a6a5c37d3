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
import { Tokenizer } from './tokenizer.js'

export type { TokenizedText, Tokenizers }

export interface ParallelTextOptions {
  /** For both languages, or one for each. */
  tokenizer: Tokenizer | Tokenizers
  /** For messages. Default: the names of the files. */
  name?: string | undefined
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
export class ParallelText extends TextDataset {
  readonly task = 'translation'
  /** Sentences with their translations. */
  readonly pairs: number
  /** Sources, without special tokens. */
  readonly source: TokenizedText
  /** Targets, each from <s> to </s>. */
  readonly target: TokenizedText

  /** @internal */
  constructor(name: string, source: TokenizedText, target: TokenizedText, tokenizers: Tokenizers) {
    super(name, tokenizers)
    this.pairs = source.starts.length - 1
    this.source = source
    this.target = target
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

async function textOf(
  name: string,
  pairs: Iterable<readonly [string, string]> | AsyncIterable<readonly [string, string]>,
  tokenizer: ParallelTextOptions['tokenizer'],
): Promise<ParallelText> {
  const tokenizers = tokenizersOf(tokenizer)
  const ends = [specialOf(tokenizers.target, BEGIN), specialOf(tokenizers.target, END)] as const
  const [sources, targets] = [new GrowingText(), new GrowingText()]
  for await (const [source, target] of pairs) {
    sources.push(sourceTokens(tokenizers, source))
    targets.push([ends[0], ...tokenizers.target.encode(target, { special: false }), ends[1]])
  }
  return new ParallelText(name, sources.text, targets.text, tokenizers)
}

const NAMES = { tokenizer: true, name: true } as const

/**
 * Two files whose lines are each other's translations, as tokens in memory (4 bytes each). MISSING_FILE and BAD_FILE
 * as readParallel() has them; INVALID_ARGUMENT for a tokenizer without the tokens <s> and </s>.
 */
export async function parallelText(
  source: string,
  target: string,
  options: ParallelTextOptions,
): Promise<ParallelText> {
  const { tokenizer, name = `${source} and ${target}` } = known(options, 'parallelText()', NAMES)
  const pairs = async function* () {
    for await (const line of readParallel(source, target)) yield [line.source, line.target] as const
  }
  return textOf(name, pairs(), tokenizer)
}

/** The same of sentences that are there, as many sources as targets. */
export async function parallelLines(
  sources: readonly string[],
  targets: readonly string[],
  options: ParallelTextOptions,
): Promise<ParallelText> {
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
  return textOf(
    name,
    sources.map((source, i) => [source, targets[i] as string] as const),
    tokenizer,
  )
}
