/** Lines of text through a translator: in tokens, by beam search, and back. */
import type { Device } from '../device.js'
import { expect, HebbError, known, show } from '../error.js'
import type { Module } from '../nn/module.js'
import type { Sequential } from '../nn/sequential.js'
import { Transformer } from '../nn/transformer.js'
import { BEGIN, END, sourceTokens, specialOf, type Tokenizers } from '../text/parallel.js'
import { Search, type TranslateOptions } from './search.js'

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
    this.#search = new Search(device, transformer, { begin: specialOf(target, BEGIN), end: specialOf(target, END) })
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
  async translations(lines: readonly string[], options: TranslateOptions = {}): Promise<Translation[][]> {
    const [long] = this.tooLong(lines)
    expect(
      long === undefined,
      () =>
        `Expected lines of at most ${this.places} tokens, as the model takes, got ${long?.tokens} in line ` +
        `${(long?.line ?? 0) + 1}. Nothing is cut: leave it out, or divide it.`,
    )
    const asked = lines.flatMap((line, i) => (line.trim() === '' ? [] : [i]))
    const sources = asked.map((i) => sourceTokens(this.#tokenizers, lines[i] as string))
    const found = await this.#search.translate(sources, options)
    const all: Translation[][] = lines.map(() => [{ text: '', score: 0, logProbability: 0, finished: true }])
    for (const [k, i] of asked.entries())
      all[i] = (found[k] as (typeof found)[number]).map(({ tokens, ...rest }) => ({
        // Bytes may spell what would end the line.
        text: this.#tokenizers.target
          .decode(tokens, { skipSpecial: true })
          .replaceAll(/[\r\n]+/g, ' ')
          .trim(),
        ...rest,
      }))
    return all
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
