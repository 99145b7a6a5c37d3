/** What the metrics of translations share: lines that belong together, words and n-grams. */
import { expect, show } from '../error.js'
import { suggestion } from '../suggestion.js'

/**
 * One reference for each hypothesis; or several such sets, [set][hypothesis], the order of files that each hold a
 * translation of the whole text.
 */
export type References = readonly string[] | readonly (readonly string[])[]

// White space as sacreBLEU knows it, which is Python's: \s has U+FEFF, and lacks U+0085 and U+001C to U+001F.
// biome-ignore lint/suspicious/noControlCharactersInRegex: the four separators of ASCII are what is meant.
const space = /[\p{White_Space}\x1c-\x1f]/u

/** The words between white space. */
export const words = (line: string): string[] => line.split(space).filter((word) => word !== '')

/** A line without the white space at its end. */
export function trimEnd(line: string): string {
  let end = line.length
  while (end > 0 && space.test(line[end - 1] as string)) --end
  return line.slice(0, end)
}

/** How often each n-gram occurs: a map for each n from 1 to `orders`. Units have no white space in them. */
export function countNgrams(units: readonly string[], orders: number): Map<string, number>[] {
  return Array.from({ length: orders }, (_, order) => {
    const counts = new Map<string, number>()
    for (let first = 0; first + order < units.length; ++first) {
      const ngram = units.slice(first, first + order + 1).join(' ')
      counts.set(ngram, (counts.get(ngram) ?? 0) + 1)
    }
    return counts
  })
}

/** How many n-grams the two have in common, each as often as it occurs in both. */
export function common(counts: ReadonlyMap<string, number>, others: ReadonlyMap<string, number>): number {
  let sum = 0
  for (const [ngram, count] of counts) sum += Math.min(count, others.get(ngram) ?? 0)
  return sum
}

/** Refuses what is no array of strings. */
function checkLines(lines: unknown, what: string): asserts lines is readonly string[] {
  expect(Array.isArray(lines), () => {
    const mend = typeof lines === 'string' ? '. Put a single line into an array.' : ''
    return `Expected ${what} to be an array of strings, got ${show(lines)}${mend}`
  })
  // findIndex() also sees the holes of an array.
  const other = (lines as unknown[]).findIndex((line) => typeof line !== 'string')
  expect(
    other < 0,
    () => `Expected ${what} to be an array of strings, got ${show((lines as unknown[])[other])} at index ${other}`,
  )
}

/** The sets of references, one line in each for every hypothesis, or an error that says what does not fit. */
export function referenceSets(hypotheses: readonly string[], references: References): readonly (readonly string[])[] {
  checkLines(hypotheses, 'hypotheses')
  const lines = hypotheses.length
  expect(lines > 0, () => 'Expected hypotheses to have at least one line, got none. The score of nothing is undefined.')
  const several = Array.isArray(references) && Array.isArray(references[0])
  const sets = (several ? references : [references]) as readonly (readonly string[])[]
  const name = (i: number) => (several ? `references[${i}]` : 'references')
  for (const [i, set] of sets.entries()) checkLines(set, name(i))
  for (const [i, set] of sets.entries())
    expect(set.length === lines, () => {
      const turned = several && sets.length === lines && sets.every((one) => one.length === set.length)
      const mend = turned
        ? 'It looks as if each array had the references of one hypothesis: give each set of references an array.'
        : 'A line without a translation is an empty string.'
      return `Expected ${name(i)} to have a line for each of the ${lines} hypotheses, got ${set.length}. ${mend}`
    })
  return sets
}

/** Refuses a value that is none of `names`. */
export function oneOf(value: unknown, what: string, names: readonly string[]): void {
  expect((names as readonly unknown[]).includes(value), () => {
    const near = typeof value === 'string' ? suggestion(value, names) : ''
    return `Expected ${what} to be one of ${names.join(', ')}, got ${show(value)}${near}`
  })
}

/** Refuses what is neither true nor false. */
export function flag(value: unknown, what: string): void {
  expect(typeof value === 'boolean', () => `Expected ${what} to be true or false, got ${show(value)}`)
}
