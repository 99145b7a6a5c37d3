/** Parts of a model by their names: modules.0.weights, or patterns of such names. */
import { expect } from './error.js'

/** Whether a name is what the pattern says, in which * stands for any characters. */
function matches(pattern: string, name: string): boolean {
  const [first = '', ...texts] = pattern.split('*')
  const last = texts.pop()
  if (last === undefined) return name === pattern
  const end = name.length - last.length
  if (!name.startsWith(first) || !name.endsWith(last)) return false
  let at = first.length
  for (const text of texts) {
    const found = name.indexOf(text, at)
    if (found < 0) return false
    at = found + text.length
  }
  return at <= end
}

/** Names in a message, at most. */
const SHOWN = 40

function shown(names: readonly string[]): string {
  if (names.length === 0) return 'no names'
  const more = names.length > SHOWN ? ` and ${names.length - SHOWN} more` : ''
  return names.slice(0, SHOWN).join(', ') + more
}

/**
 * Shares out what has names: to the first list with a pattern that matches, or to a last list of all others. Throws
 * INVALID_ARGUMENT for a pattern that no name matches, with the names that there are.
 */
export function sharedOut<T>(named: readonly (readonly [string, T])[], lists: readonly (readonly string[])[]): T[][] {
  const names = named.map(([name]) => name)
  for (const pattern of lists.flat())
    expect(
      names.some((name) => matches(pattern, name)),
      () => `Expected a pattern that matches one of ${shown(names)}, got '${pattern}'`,
    )
  const shares: T[][] = [...lists, []].map(() => [])
  for (const [name, value] of named) {
    const first = lists.findIndex((patterns) => patterns.some((pattern) => matches(pattern, name)))
    shares.at(first)?.push(value)
  }
  return shares
}

/** What patterns give names: each the number of the first one that matches it, if any does. */
export function numbersByName(
  names: readonly string[],
  given: Readonly<Record<string, number>>,
): ReadonlyMap<string, number> {
  const patterns = Object.keys(given)
  const groups = sharedOut(
    names.map((name) => [name, name] as const),
    patterns.map((pattern) => [pattern]),
  )
  return new Map(
    patterns.flatMap((pattern, i) =>
      (groups[i] as string[]).map((name): [string, number] => [name, given[pattern] as number]),
    ),
  )
}
