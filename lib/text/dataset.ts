/** Texts in the numbers of their tokens, as models are trained on them: what goes in, and what it is compared with. */
import { expect, show } from '../error.js'
import type { TokenBatchesOptions } from './batches.js'
import type { StoredText } from './token_file.js'
import { Tokenizer } from './tokenizer.js'

/** Sequences of numbers, one behind another. */
export interface TokenizedText {
  /** [tokens] */
  readonly tokens: Int32Array
  /** [sequences + 1] where each begins; behind the last, where it ends. */
  readonly starts: Int32Array
}

/** What a step takes of sequences: all but so many tokens where each begins, and where it ends. */
export interface TextPart {
  readonly text: TokenizedText | StoredText
  readonly skip?: number
  readonly drop?: number
}

/** Of the texts that a model takes, and of those that it tells; often one. */
export interface Tokenizers {
  readonly source: Tokenizer
  readonly target: Tokenizer
}

/** What a model keeps of the text that it was trained on, to take another and to tell of it. */
export interface Vocabularies {
  readonly tokenizers: Tokenizers
  /** The names of the classes, by number, where sequences are classified. */
  readonly classes?: readonly string[] | undefined
  /** The number of the token between documents, of a language model. */
  readonly separator?: number | undefined
}

/** Sequences of tokens with what a model is to tell of them. */
export abstract class TextDataset implements Vocabularies {
  readonly name: string
  readonly tokenizers: Tokenizers
  readonly classes: readonly string[] | undefined = undefined
  readonly separator: number | undefined = undefined
  /** Whether batches are filled with true tokens where nothing else is asked for. */
  readonly packed: boolean = false
  /** What it is for; see Task in lib/train/task.ts. */
  abstract readonly task: 'classification' | 'translation' | 'lm'
  /** How many sequences, or tuples of them, there are. */
  abstract readonly samples: number
  /** What the model takes, each as one input. */
  abstract readonly inputs: readonly TextPart[]
  /** What the loss compares with: for each token of the last input a number, or one for each sequence. */
  abstract readonly labels: TextPart
  /** Of all sequences, as batches count them. */
  abstract readonly lengths: Pick<TokenBatchesOptions, 'sourceLengths' | 'targetLengths' | 'lengths'>

  /** @internal */
  constructor(name: string, tokenizers: Tokenizers) {
    this.name = name
    this.tokenizers = tokenizers
  }
}

/** What is kept of a text. */
export function vocabulariesOf({ tokenizers, classes, separator }: Vocabularies): Vocabularies {
  return { tokenizers, classes, separator }
}

export function checkTokenizer(tokenizer: Tokenizer): void {
  expect(
    tokenizer instanceof Tokenizer,
    () => `Expected tokenizer to be made by Tokenizer.from() or trainTokenizer(), got ${show(tokenizer)}`,
  )
}

/** [sequences] tokens of each, without so many at its ends. */
export function lengthsOf(text: TokenizedText | StoredText, ends = 0): Int32Array {
  if ('lengths' in text) return text.lengths.map((length) => length - ends)
  const { starts } = text
  return starts.subarray(1).map((end, i) => end - (starts[i] as number) - ends)
}

/** Numbers one after another, without knowing how many they will be. */
export class Growing {
  #numbers = new Int32Array(1024)
  #length = 0

  push(more: ArrayLike<number>): void {
    const length = this.#length + more.length
    if (length > this.#numbers.length) {
      const grown = new Int32Array(Math.max(length, 2 * this.#numbers.length))
      grown.set(this.#numbers)
      this.#numbers = grown
    }
    this.#numbers.set(more, this.#length)
    this.#length = length
  }

  replaceLast(number: number): void {
    this.#numbers[this.#length - 1] = number
  }

  get length(): number {
    return this.#length
  }

  get numbers(): Int32Array {
    return this.#numbers.slice(0, this.#length)
  }
}

/** Sequences that come one after another. */
export class GrowingText {
  readonly #tokens = new Growing()
  readonly #starts = new Growing()

  constructor() {
    this.#starts.push([0])
  }

  push(tokens: ArrayLike<number>): void {
    this.#tokens.push(tokens)
    this.#starts.push([this.#tokens.length])
  }

  /** Goes on with the last one. */
  extend(tokens: ArrayLike<number>): void {
    this.#tokens.push(tokens)
    this.#starts.replaceLast(this.#tokens.length)
  }

  get text(): TokenizedText {
    return { tokens: this.#tokens.numbers, starts: this.#starts.numbers }
  }
}
