/** chrF of a corpus, with the numbers of sacreBLEU. */
import { integer, known, number } from '../error.js'
import { version } from '../package.js'
import { common, countNgrams, flag, type References, referenceSets, words } from './metric.js'

/** What corpusChrf() takes. */
export interface ChrfOptions {
  /** n-grams of up to so many characters. Default 6. */
  charOrder?: number | undefined
  /** n-grams of up to so many words, too: 2 is chrF++. Default 0. */
  wordOrder?: number | undefined
  /** How many times as much recall counts as precision. Default 2. */
  beta?: number | undefined
  /** Compare lower-cased lines. Default false. */
  lowercase?: boolean | undefined
}

/** The chrF of some translations (Popović, 2015). */
export interface Chrf {
  /** From 0 to 100. */
  readonly score: number
  /** What sacreBLEU calls it: chrF, beta, and a + for each order of words, as in `chrF2` and `chrF2++`. */
  readonly name: string
  /** What to report beside score and name: sacreBLEU's signature, with the version of this package. */
  readonly signature: string
}

/** n-grams of one order: of the hypothesis, of the reference, and those that both have. */
interface Matches {
  readonly given: number
  readonly expected: number
  readonly matched: number
}

/** A word and the ASCII punctuation at its end or, if there is none, at its beginning: one character of it. */
function partsOf(word: string): string[] {
  const parts = /^(.+)([!-/:-@[-`{-~])$/su.exec(word) ?? /^([!-/:-@[-`{-~])(.+)$/su.exec(word)
  return parts ? parts.slice(1) : [word]
}

/** From 0 to 1: of precision and recall, each the mean over the orders that both sides have n-grams of. */
function fScore(matches: readonly Matches[], beta: number): number {
  const orders = matches.filter(({ given, expected }) => given > 0 && expected > 0)
  const precision = orders.reduce((sum, { given, matched }) => sum + matched / given, 0) / orders.length
  const recall = orders.reduce((sum, { expected, matched }) => sum + matched / expected, 0) / orders.length
  // Precision and recall are 0 together; without any order they are NaN.
  return precision > 0 ? ((1 + beta ** 2) * precision * recall) / (beta ** 2 * precision + recall) : 0
}

/**
 * chrF of a corpus, from 0 to 100 (Popović 2015, "chrF: character n-gram F-score for automatic MT evaluation"): the
 * F-score of n-grams of characters, white space left out, with recall counted `beta` times as much as precision, over
 * all lines together. With `wordOrder: 2` it is chrF++ (Popović 2017). Of several references a line has the one that
 * scores best. With the same options the numbers are those of sacreBLEU 2.6.0 (Post 2018).
 *
 * Throws INVALID_ARGUMENT for anything but strings, for sets of references with more or fewer lines than there are
 * hypotheses, for no lines at all, and for unknown options.
 */
export function corpusChrf(hypotheses: readonly string[], references: References, options: ChrfOptions = {}): Chrf {
  const all = { charOrder: true, wordOrder: true, beta: true, lowercase: true } as const
  const { charOrder = 6, wordOrder = 0, beta = 2, lowercase = false } = known(options, 'corpusChrf()', all)
  integer(charOrder, 'charOrder', 1)
  integer(wordOrder, 'wordOrder', 0)
  number(beta, 'beta', 0)
  flag(lowercase, 'lowercase')
  const sets = referenceSets(hypotheses, references)

  const ngramsOf = (line: string) => {
    const found = words(lowercase ? line.toLowerCase() : line)
    return [...countNgrams([...found.join('')], charOrder), ...countNgrams(found.flatMap(partsOf), wordOrder)]
  }
  const size = (ngrams: ReadonlyMap<string, number>) => [...ngrams.values()].reduce((sum, count) => sum + count, 0)
  let sums: readonly Matches[] = Array.from({ length: charOrder + wordOrder }, () => ({
    given: 0,
    expected: 0,
    matched: 0,
  }))
  for (const [line, hypothesis] of hypotheses.entries()) {
    const given = ngramsOf(hypothesis)
    let [best, highest]: [readonly Matches[], number] = [[], Number.NEGATIVE_INFINITY]
    for (const set of sets) {
      const matches = ngramsOf(set[line] as string).map((expected, i): Matches => {
        const ngrams = given[i] as Map<string, number>
        // Of an order that the reference is too short for, nothing counts.
        return {
          given: expected.size > 0 ? size(ngrams) : 0,
          expected: size(expected),
          matched: common(ngrams, expected),
        }
      })
      const score = fScore(matches, beta)
      if (score > highest) [best, highest] = [matches, score]
    }
    sums = best.map((matches, i) => {
      const { given, expected, matched } = sums[i] as Matches
      return {
        given: given + matches.given,
        expected: expected + matches.expected,
        matched: matched + matches.matched,
      }
    })
  }
  return {
    score: 100 * fScore(sums, beta),
    name: `chrF${beta}${'+'.repeat(wordOrder)}`,
    signature:
      `nrefs:${sets.length}|case:${lowercase ? 'lc' : 'mixed'}|eff:yes|nc:${charOrder}|nw:${wordOrder}|space:no|` +
      `version:hebb-${version}`,
  }
}
