/** Lines of text through a translator: in tokens, by beam search, and back. */
import type { Device } from '../device.js'
import { expect, HebbError, known, show } from '../error.js'
import type { Module } from '../nn/module.js'
import type { Sequential } from '../nn/sequential.js'
import { Transformer } from '../nn/transformer.js'
import { BEGIN, END, sourceTokens, specialOf, type Tokenizers } from '../text/parallel.js'
import type { Tokenizer } from '../text/tokenizer.js'
import { type Attended, crossAttention, meanOfHeads } from './cross_attention.js'
import { Search, type TranslateOptions } from './search.js'

/** What translate() and translations() take. */
export interface TranslationOptions extends TranslateOptions {
  /**
   * Default false. True: where the target's tokenizer has an unknown token, each one of a translation becomes the word
   * of the source that the last decoder layer's cross-attention, the mean of its heads, has the largest weight for.
   */
  replaceUnk?: boolean | undefined
}

/** What a translator attends to while it writes a translation. */
export interface CrossAttention {
  /** Tokens as texts; ▁ stands before those that begin a word, where tokens tell. */
  readonly source: readonly string[]
  /** The same, with the end. */
  readonly target: readonly string[]
  readonly heads: number
  /** [heads][target][source] of the last decoder layer: those of a target token add up to 1 in each head. */
  readonly weights: Float32Array
  /** [target][source] their mean over the heads. */
  readonly mean: Float32Array
}

/** One of the translations of a line. */
export interface Translation {
  readonly text: string
  /** logProbability / ((5 + length) / 6) ** lengthPenalty, where the length counts the end. */
  readonly score: number
  /** Natural logarithm, the end counted. */
  readonly logProbability: number
  /** Whether it has its end; else it has `maxLength` tokens. */
  readonly finished: boolean
}

/** How probable a translation is that was given. */
export interface ScoredTranslation {
  /** Natural logarithm of its probability, its end counted. */
  readonly logProbability: number
  /** Its tokens and the end. */
  readonly tokens: number
}

function transformerIn(module: Module): Transformer | undefined {
  if (module instanceof Transformer) return module
  for (const child of module.children?.values() ?? []) {
    const found = transformerIn(child)
    if (found) return found
  }
  return undefined
}

/** A token for a person: as text where it is one, else as the vocabulary spells it. */
function textOf(tokenizer: Tokenizer, token: number): string {
  const spelt = tokenizer.tokenOf(token)
  const text = tokenizer.decode([token]).trim()
  return text === '' || text.includes('\ufffd') ? spelt : (/^[Ġ▁]/.test(spelt) ? '▁' : '') + text
}

function expectLines(lines: readonly string[], what: string): void {
  expect(
    Array.isArray(lines) && lines.every((line) => typeof line === 'string'),
    () => `Expected ${what} to be lines of text, got ${show(lines)}`,
  )
  const broken = lines.findIndex((line) => line.includes('\n'))
  expect(broken < 0, () => `Expected ${what} to be lines without line breaks, got ${show(lines[broken])}`)
}

/** A translator on a device. */
export class Translator {
  readonly #search: Search
  readonly #tokenizers: Tokenizers
  readonly #begin: number

  /** Throws INVALID_ARGUMENT for a model that is no translator, or was not trained on text. */
  constructor(device: Device, model: Sequential, tokenizers: Tokenizers | undefined) {
    const transformer = transformerIn(model)
    if (!transformer || !tokenizers)
      throw new HebbError(
        'INVALID_ARGUMENT',
        'Expected a model made by transformer() and trained on text, got ' +
          `${transformer ? 'one that has seen no text' : 'another one'}`,
      )
    this.#tokenizers = tokenizers
    const { target } = tokenizers
    this.#begin = specialOf(target, BEGIN)
    this.#search = new Search(device, transformer, { begin: this.#begin, end: specialOf(target, END) })
  }

  /** Tokens of the longest line that the model takes. */
  get places(): number {
    return this.#search.places
  }

  /** Which of the lines are longer than that, by their places from 0. */
  tooLong(lines: readonly string[]): { readonly line: number; readonly tokens: number }[] {
    expectLines(lines, 'lines')
    return lines.flatMap((text, line) => {
      const tokens = sourceTokens(this.#tokenizers, text).length
      return tokens > this.places ? [{ line, tokens }] : []
    })
  }

  /** The `nBest` translations of each line, the best first; of an empty line, an empty one. */
  async translations(lines: readonly string[], options: TranslationOptions = {}): Promise<Translation[][]> {
    const { replaceUnk = false, ...searching } = options
    expect(typeof replaceUnk === 'boolean', () => `Expected replaceUnk to be true or false, got ${show(replaceUnk)}`)
    const [long] = this.tooLong(lines)
    expect(
      long === undefined,
      () =>
        `Expected lines of at most ${this.places} tokens, as the model takes, got ${long?.tokens} in line ` +
        `${(long?.line ?? 0) + 1}. Nothing is cut: leave it out, or divide it.`,
    )
    const asked = lines.flatMap((line, i) => (line.trim() === '' ? [] : [i]))
    const sources = asked.map((i) => sourceTokens(this.#tokenizers, lines[i] as string))
    const found = await this.#search.translate(sources, searching)
    const words = replaceUnk
      ? await this.#attended(
          found.flatMap((each, k) =>
            each.map(({ tokens }) => [lines[asked[k] as number] as string, sources[k] as Int32Array, tokens] as const),
          ),
          options.signal,
        )
      : undefined
    const all: Translation[][] = lines.map(() => [{ text: '', score: 0, logProbability: 0, finished: true }])
    for (const [k, i] of asked.entries())
      all[i] = (found[k] as (typeof found)[number]).map(({ tokens, ...rest }) => ({
        // Bytes may spell what would end the line.
        text: this.#tokenizers.target
          .decode(tokens, { skipSpecial: true, unknown: words?.get(tokens) })
          .replaceAll(/[\r\n]+/g, ' ')
          .trim(),
        ...rest,
      }))
    return all
  }

  /** The source's words that a translation's unknown tokens attend to most, for translations that have some. */
  async #attended(
    all: readonly (readonly [line: string, source: Int32Array, target: Int32Array])[],
    signal: AbortSignal | undefined,
  ): Promise<ReadonlyMap<Int32Array, string[]>> {
    const { unknown } = this.#tokenizers.target
    const some = unknown === undefined ? [] : all.filter(([, , target]) => target.includes(unknown))
    const { device, model } = this.#search
    const pairs = some.map(([, source, target]) => [source, target] as const)
    const found = await crossAttention(device, model, this.#begin, pairs, signal)
    return new Map(
      some.map(([line, , target], i) => {
        const { cols } = found[i] as Attended
        const mean = meanOfHeads(found[i] as Attended)
        const words = this.#tokenizers.source.words(line)
        const replaced = [...target].flatMap((token, row) => {
          if (token !== unknown) return []
          const weights = mean.subarray(row * cols, (row + 1) * cols)
          return [words[weights.indexOf(weights.reduce((a, b) => Math.max(a, b), 0))] ?? '']
        })
        return [target, replaced]
      }),
    )
  }

  /** What the model attends to while it writes these translations of these lines. */
  async crossAttention(
    sources: readonly string[],
    targets: readonly string[],
    options: { signal?: AbortSignal | undefined } = {},
  ): Promise<CrossAttention[]> {
    const { signal } = known(options, 'crossAttention()', { signal: true })
    const pairs = this.#pairs(sources, targets)
    const { device, model } = this.#search
    const found = await crossAttention(device, model, this.#begin, pairs, signal)
    const texts = (tokenizer: Tokenizer, tokens: Int32Array) => [...tokens].map((token) => textOf(tokenizer, token))
    return found.map((attended, i) => {
      const [source, target] = pairs[i] as (typeof pairs)[number]
      return {
        source: texts(this.#tokenizers.source, source),
        target: [...texts(this.#tokenizers.target, target), END],
        ...{ heads: attended.heads, weights: attended.weights, mean: meanOfHeads(attended) },
      }
    })
  }

  /** Lines in tokens that the model takes. */
  #pairs(sources: readonly string[], targets: readonly string[]): (readonly [Int32Array, Int32Array])[] {
    expectLines(sources, 'sources')
    expectLines(targets, 'targets')
    expect(
      sources.length === targets.length,
      () => `Expected as many sources as targets, got ${sources.length} and ${targets.length}`,
    )
    const { target } = this.#tokenizers
    return sources.map((line, i) => {
      const pair = [
        sourceTokens(this.#tokenizers, line),
        target.encode(targets[i] as string, { special: false }),
      ] as const
      for (const [what, tokens, most] of [
        ['sources', pair[0], this.places],
        ['targets', pair[1], this.places - 1],
      ] as const)
        expect(
          tokens.length <= most,
          () => `Expected ${what} of at most ${most} tokens, as the model takes, got ${tokens.length} in line ${i + 1}`,
        )
      return pair
    })
  }

  /** How probable the model finds these translations. */
  async score(
    sources: readonly string[],
    targets: readonly string[],
    options: { signal?: AbortSignal | undefined } = {},
  ): Promise<ScoredTranslation[]> {
    known(options, 'score()', { signal: true })
    expectLines(sources, 'sources')
    expectLines(targets, 'targets')
    expect(
      sources.length === targets.length,
      () => `Expected as many sources as targets, got ${sources.length} and ${targets.length}`,
    )
    return this.#search.score(
      sources.map((line) => sourceTokens(this.#tokenizers, line)),
      targets.map((line) => this.#tokenizers.target.encode(line, { special: false })),
      options,
    )
  }

  dispose(): void {
    this.#search.dispose()
  }
}
