/** BLEU of a corpus, with the numbers of sacreBLEU. */
import { expect, known, number, show } from '../error.js'
import { version } from '../package.js'
import { common, countNgrams, flag, oneOf, type References, referenceSets, trimEnd, words } from './metric.js'

/** What makes words of a line. */
export type BleuTokenization = '13a' | 'intl' | 'char' | 'none'

/** What a precision becomes of which no n-gram matched. */
export type BleuSmoothing = 'exp' | 'floor' | 'add-k' | 'none'

/** What corpusBleu() takes. */
export interface BleuOptions {
  /** Compare lower-cased lines. Default false. */
  lowercase?: boolean | undefined
  /**
   * `13a` (default) parts ASCII punctuation from words, as mteval-v13a.pl does; `intl` all punctuation and symbols of
   * Unicode, as mteval-v14.pl does with --international-tokenization; `char` takes every character for a word; `none`
   * takes the lines as tokenised, with white space between the words.
   */
  tokenize?: BleuTokenization | undefined
  /**
   * `exp` (default) halves the precision of an order without matches for each such order so far: 1/2, 1/4, ... of a
   * match; `floor` takes `smoothValue` of a match; `add-k` adds `smoothValue` to matches and n-grams of all orders but
   * the first; `none` leaves the precision, and so the score, at 0.
   */
  smoothMethod?: BleuSmoothing | undefined
  /** For `floor`, default 0.1, and `add-k`, default 1; at least 0. */
  smoothValue?: number | undefined
}

/** The BLEU of some translations, and what it is made of (Papineni et al., 2002). */
export interface Bleu {
  /** From 0 to 100. */
  readonly score: number
  /** Of 1-grams to 4-grams, smoothed, from 0 to 100. */
  readonly precisions: readonly number[]
  /** n-grams of the hypotheses that match, of 1-grams to 4-grams, before smoothing. */
  readonly counts: readonly number[]
  /** All n-grams of the hypotheses, of 1-grams to 4-grams, before smoothing. */
  readonly totals: readonly number[]
  /** From 0 to 1; 1 where the hypotheses are not shorter than the references. */
  readonly brevityPenalty: number
  /** In tokens. */
  readonly hypothesisLength: number
  /** In tokens: for each hypothesis, of the reference whose length is nearest, the shorter one of two. */
  readonly referenceLength: number
  /** What to report beside the score: sacreBLEU's signature, with the version of this package. */
  readonly signature: string
}

const orders = 4

/** Rules that apply one after the other. */
type Rules = readonly (readonly [RegExp, string])[]

const entities: Rules = [
  [/<skipped>/g, ''],
  [/-\n/g, ''],
  [/\n/g, ' '],
  [/&quot;/g, '"'],
  // What this uncovers is decoded, too: &amp;lt; is <.
  [/&amp;/g, '&'],
  [/&lt;/g, '<'],
  [/&gt;/g, '>'],
]

/** Points and commas stay within numbers, apostrophes within words, and dashes everywhere but behind a digit. */
const asciiPunctuation: Rules = [
  [/[!-&(-+/:-@[-`{-~]/gu, ' $& '],
  [/([^0-9])([.,])/gu, '$1 $2 '],
  [/([.,])([^0-9])/gu, ' $1 $2'],
  [/([0-9])(-)/gu, '$1 $2 '],
]

const unicodePunctuation: Rules = [
  [/(\P{N})(\p{P})/gu, '$1 $2 '],
  [/(\p{P})(\P{N})/gu, ' $1 $2'],
  [/\p{S}/gu, ' $& '],
]

const apply = (rules: Rules, line: string) => rules.reduce((text, [rule, by]) => text.replace(rule, by), line)

/** Of a line that does not end in white space. */
const tokenizers: Readonly<Record<BleuTokenization, (line: string) => string[]>> = {
  // Spaces around the line: to the rules, its ends are no digits. intl has none, so a point stays at a number there.
  '13a': (line) => words(apply(asciiPunctuation, ` ${apply(entities, line)} `)),
  intl: (line) => words(apply(unicodePunctuation, line)),
  char: (line) => [...words(line).join('')],
  none: words,
}

/** What each smoothing takes for its value; undefined where it has none. */
const smoothings: Readonly<Record<BleuSmoothing, number | undefined>> = {
  exp: undefined,
  floor: 0.1,
  'add-k': 1,
  none: undefined,
}

/** In percent. */
function precisionsOf(
  counts: readonly number[],
  totals: readonly number[],
  method: BleuSmoothing,
  value: number,
): number[] {
  // No smoothing makes something of hypotheses without any match.
  if (counts.every((count) => count === 0)) return counts.map(() => 0)
  let halvings = 0
  return counts.map((count, i) => {
    const added = method === 'add-k' && i > 0 ? value : 0
    const total = (totals[i] as number) + added
    if (total === 0) return 0
    if (count + added > 0) return (100 * (count + added)) / total
    if (method === 'exp') return 100 / (2 ** ++halvings * total)
    return method === 'floor' ? (100 * value) / total : 0
  })
}

/**
 * BLEU of a corpus, from 0 to 100 (Papineni et al. 2002, "BLEU: a method for automatic evaluation of machine
 * translation"): the geometric mean of the precisions of 1-grams to 4-grams, over all lines together, times a penalty
 * for hypotheses that are shorter than their references. With the same options the numbers are those of sacreBLEU
 * 2.6.0 (Post 2018, "A call for clarity in reporting BLEU scores"). A corpus with no line of 4 tokens or more scores 0
 * unless smoothed by `add-k`.
 *
 * Throws INVALID_ARGUMENT for anything but strings, for sets of references with more or fewer lines than there are
 * hypotheses, for no lines at all, and for unknown options.
 */
export function corpusBleu(hypotheses: readonly string[], references: References, options: BleuOptions = {}): Bleu {
  const all = { lowercase: true, tokenize: true, smoothMethod: true, smoothValue: true } as const
  const { lowercase = false, tokenize = '13a', smoothMethod = 'exp', smoothValue } = known(options, 'corpusBleu()', all)
  flag(lowercase, 'lowercase')
  oneOf(tokenize, 'tokenize', Object.keys(tokenizers))
  oneOf(smoothMethod, 'smoothMethod', Object.keys(smoothings))
  const standard = smoothings[smoothMethod]
  expect(
    standard !== undefined || smoothValue === undefined,
    () =>
      `Expected no smoothValue for smoothMethod '${smoothMethod}', which has none, got ${show(smoothValue)}. ` +
      `'floor' and 'add-k' have one.`,
  )
  const value = number(smoothValue ?? standard ?? 0, 'smoothValue', 0)
  const sets = referenceSets(hypotheses, references)

  const tokens = (line: string) => tokenizers[tokenize](trimEnd(lowercase ? line.toLowerCase() : line))
  const counts = new Array<number>(orders).fill(0)
  const totals = new Array<number>(orders).fill(0)
  let [hypothesisLength, referenceLength] = [0, 0]
  for (const [line, hypothesis] of hypotheses.entries()) {
    const given = tokens(hypothesis)
    const expected = sets.map((set) => tokens(set[line] as string))
    hypothesisLength += given.length
    const far = (length: number) => Math.abs(length - given.length)
    referenceLength += expected
      .map(({ length }) => length)
      .reduce((a, b) => (far(b) < far(a) || (far(b) === far(a) && b < a) ? b : a))
    // An n-gram matches as often as the reference has it that has it most often.
    const most = countNgrams(expected[0] as string[], orders)
    for (const other of expected.slice(1))
      for (const [i, ngrams] of countNgrams(other, orders).entries())
        for (const [ngram, count] of ngrams) most[i]?.set(ngram, Math.max(most[i].get(ngram) ?? 0, count))
    for (const [i, ngrams] of countNgrams(given, orders).entries()) {
      counts[i] = (counts[i] as number) + common(ngrams, most[i] as Map<string, number>)
      totals[i] = (totals[i] as number) + Math.max(0, given.length - i)
    }
  }

  const precisions = precisionsOf(counts, totals, smoothMethod, value)
  // Of no tokens at all, exp(-Infinity) is 0.
  const brevityPenalty = hypothesisLength < referenceLength ? Math.exp(1 - referenceLength / hypothesisLength) : 1
  const mean = precisions.reduce((sum, precision) => sum + Math.log(precision), 0) / orders
  const smooth = standard === undefined ? smoothMethod : `${smoothMethod}[${value.toFixed(2)}]`
  return {
    // What rounding puts on top of 100 is taken off.
    score: Math.min(100, brevityPenalty * Math.exp(mean)),
    precisions,
    counts,
    totals,
    brevityPenalty,
    hypothesisLength,
    referenceLength,
    signature:
      `nrefs:${sets.length}|case:${lowercase ? 'lc' : 'mixed'}|eff:no|tok:${tokenize}|smooth:${smooth}|` +
      `version:hebb-${version}`,
  }
}
