/**
 * Byte-pair encoding (Sennrich et al. 2016) over bytes (Radford et al. 2019), trained: the pair of neighbouring tokens
 * that is most frequent becomes a token, again and again. Ties go to the pair with the smaller numbers, and so the same
 * texts give the same merges as the Rust implementation.
 */
import { expect, integer, known, show } from '../error.js'
import { characterOfByte, inBytes, wordsOfBytes } from './pipeline.js'
import { Tokenizer } from './tokenizer.js'

/** What trainTokenizer() takes. */
export interface TrainTokenizerOptions {
  /** Tokens in all: the special ones, 256 bytes, and merges. Fewer, if the texts have no pairs left. Default 4,000. */
  vocabulary?: number | undefined
  /**
   * Tokens that no text has, numbered from 0 on. Default ['<pad>', '<s>', '</s>']: begin and end are 1 and 2, as
   * SentencePiece and LLaMA have them, and 0 pads, as in T5. hebb packs batches and never uses <pad>; other programs
   * that read the tokenizer.json need it. There is no <unk>, as bytes spell everything.
   */
  special?: readonly string[] | undefined
}

/** A pair of tokens that may become one. */
interface Candidate {
  /** left * 2^22 + right: in the order of the pairs. */
  readonly pair: number
  count: number
  /** Words that had the pair when this was made. */
  readonly words: readonly number[]
}

const PAIR = 2 ** 22
/** So that a pair is an exact number, and its half a token. */
const MOST_TOKENS = PAIR

/** More frequent, then smaller. */
const comesFirst = (one: Candidate, two: Candidate) =>
  one.count > two.count || (one.count === two.count && one.pair < two.pair)

/** A binary heap. */
class Queue {
  readonly #heap: Candidate[] = []

  push(candidate: Candidate): void {
    const heap = this.#heap
    let at = heap.length
    for (; at > 0; ) {
      const parent = (at - 1) >> 1
      if (!comesFirst(candidate, heap[parent] as Candidate)) break
      heap[at] = heap[parent] as Candidate
      at = parent
    }
    heap[at] = candidate
  }

  pop(): Candidate | undefined {
    const heap = this.#heap
    const [first, last] = [heap[0], heap.pop()]
    if (!last || heap.length === 0) return first
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && comesFirst(heap[child + 1] as Candidate, heap[child] as Candidate)) ++child
      if (!comesFirst(heap[child] as Candidate, last)) break
      heap[at] = heap[child] as Candidate
      at = child
    }
    heap[at] = last
    return first
  }
}

/** Words as tokens, how often each occurs, and how often each pair does. */
class Words {
  readonly #tokens: Int32Array[]
  readonly #counts: readonly number[]
  /** Counts of pairs. What has been merged stays as it was: nobody asks again. */
  readonly #pairs = new Map<number, number>()

  constructor(words: ReadonlyMap<string, number>, idOf: ReadonlyMap<string, number>) {
    this.#tokens = Array.from(words.keys(), (word) =>
      Int32Array.from(inBytes(word), (character) => idOf.get(character) as number),
    )
    this.#counts = [...words.values()]
  }

  countOf(pair: number): number {
    return this.#pairs.get(pair) ?? 0
  }

  /** All pairs that there are. */
  candidates(): Candidate[] {
    const where = new Map<number, number[]>()
    for (const [word, tokens] of this.#tokens.entries())
      for (let i = 1; i < tokens.length; ++i)
        this.#add((tokens[i - 1] as number) * PAIR + (tokens[i] as number), word, 1, where)
    return this.#made(where)
  }

  /** Puts `made` in the place of the pair in those words; the pairs that come into being by it. */
  merge(pair: number, words: readonly number[], made: number): Candidate[] {
    const [left, right] = [Math.floor(pair / PAIR), pair % PAIR]
    const where = new Map<number, number[]>()
    for (const word of words) {
      const tokens = this.#tokens[word] as Int32Array
      let end = 0
      for (let i = 0; i < tokens.length; ++i, ++end) {
        if (tokens[i] !== left || tokens[i + 1] !== right) {
          tokens[end] = tokens[i] as number
          continue
        }
        ++i
        if (end > 0) {
          const before = (tokens[end - 1] as number) * PAIR
          this.#add(before + left, word, -1)
          this.#add(before + made, word, 1, where)
        }
        if (i + 1 < tokens.length) {
          const after = tokens[i + 1] as number
          this.#add(right * PAIR + after, word, -1)
          this.#add(made * PAIR + after, word, 1, where)
        }
        tokens[end] = made
      }
      this.#tokens[word] = tokens.subarray(0, end)
    }
    return this.#made(where)
  }

  #add(pair: number, word: number, times: number, where?: Map<number, number[]>): void {
    this.#pairs.set(pair, this.countOf(pair) + times * (this.#counts[word] as number))
    const words = where?.get(pair)
    // Words come one after the other.
    if (words && words.at(-1) !== word) words.push(word)
    else if (!words) where?.set(pair, [word])
  }

  #made(where: ReadonlyMap<number, readonly number[]>): Candidate[] {
    return Array.from(where, ([pair, words]) => ({ pair, count: this.countOf(pair), words })).filter(
      ({ count }) => count > 0,
    )
  }
}

/** The merges, in their order, of which each makes a token; `tokens` grows to `size` by them. */
function learn(words: ReadonlyMap<string, number>, tokens: string[], size: number): [string, string][] {
  const idOf = new Map(tokens.map((token, id) => [token, id]))
  const corpus = new Words(words, idOf)
  const queue = new Queue()
  for (const candidate of corpus.candidates()) queue.push(candidate)
  const merges: [string, string][] = []
  while (tokens.length < size) {
    const best = queue.pop()
    if (!best) break
    const count = corpus.countOf(best.pair)
    if (count !== best.count) {
      // Others have taken some of its tokens since.
      if (count > 0) queue.push({ ...best, count })
      continue
    }
    const [left, right] = [Math.floor(best.pair / PAIR), best.pair % PAIR].map((id) => tokens[id] as string) as [
      string,
      string,
    ]
    const made = left + right
    const id = idOf.get(made) ?? tokens.push(made) - 1
    idOf.set(made, id)
    merges.push([left, right])
    for (const candidate of corpus.merge(best.pair, best.words, id)) queue.push(candidate)
  }
  return merges
}

function checkSpecial(special: readonly string[]): void {
  expect(
    Array.isArray(special) &&
      special.every((token) => typeof token === 'string') &&
      new Set(special).size === special.length,
    () => `Expected special to be different tokens, got ${show(special)}`,
  )
  // A word or a sign could be a token of the text, too.
  for (const token of special)
    expect(
      (token.match(wordsOfBytes()) ?? []).length > 1,
      () => `Expected special tokens that are no word, such as '<s>', got ${show(token)}`,
    )
}

/**
 * Trains a byte-level tokenizer on lines, those of readLines() for example; its toJSON() is a valid tokenizer.json.
 * Any text has tokens, and decode() gives it back. Text is cut into words as GPT-2 does, and no token crosses a word.
 * encode() puts no special tokens around a text. The same lines give the same tokenizer.
 */
export async function trainTokenizer(
  lines: Iterable<string> | AsyncIterable<string>,
  options: TrainTokenizerOptions = {},
): Promise<Tokenizer> {
  const { vocabulary = 4000, special = ['<pad>', '<s>', '</s>'] } = known(options, 'trainTokenizer()', {
    vocabulary: true,
    special: true,
  })
  checkSpecial(special)
  integer(vocabulary, 'vocabulary', 256 + special.length, MOST_TOKENS)
  const isIterable =
    typeof lines === 'object' && lines !== null && (Symbol.iterator in lines || Symbol.asyncIterator in lines)
  expect(isIterable, () => `Expected lines to train on, as readLines() gives them, got ${show(lines)}`)
  const words = new Map<string, number>()
  const pattern = wordsOfBytes()
  for await (const line of lines) {
    expect(typeof line === 'string', () => `Expected lines to be strings, got ${show(line)}`)
    for (const word of line.match(pattern) ?? []) words.set(word, (words.get(word) ?? 0) + 1)
  }
  expect(words.size > 0, () => 'Expected lines with text to train on, got none')
  const tokens = [...special, ...characterOfByte.toSorted()]
  const merges = learn(words, tokens, vocabulary)
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true }
  const plain = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true }
  return Tokenizer.from({
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: special.map((content, id) => ({ id, content, ...plain })),
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: null,
    decoder: byteLevel,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges,
    },
  })
}
