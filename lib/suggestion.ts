/** The names nearest to a word that is none of them. */

/**
 * Letters that are changed, left out, put in or exchanged with the next one to make one word of the other (optimal
 * string alignment).
 */
function distance(from: string, to: string): number {
  let [before, last]: [number[], number[]] = [[], Array.from({ length: to.length + 1 }, (_, j) => j)]
  for (let i = 1; i <= from.length; ++i) {
    const row = [i]
    for (let j = 1; j <= to.length; ++j) {
      const changed = from[i - 1] === to[j - 1] ? 0 : 1
      const costs = [(last[j - 1] as number) + changed, (last[j] as number) + 1, (row[j - 1] as number) + 1]
      if (i > 1 && j > 1 && from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1])
        costs.push((before[j - 2] as number) + 1)
      row.push(Math.min(...costs))
    }
    ;[before, last] = [last, row]
  }
  return last[to.length] as number
}

/** ". Did you mean 'chts'?", or nothing where no name is near. */
export function suggestion(word: string, names: readonly string[]): string {
  const lower = word.toLowerCase()
  let [nearest, least]: [string | undefined, number] = [undefined, Math.max(1, Math.floor(word.length / 3)) + 1]
  for (const name of names) {
    const far = name.toLowerCase().startsWith(lower) && word.length > 2 ? 0.5 : distance(lower, name.toLowerCase())
    if (far < least) [nearest, least] = [name, far]
  }
  return nearest === undefined ? '' : `. Did you mean '${nearest}'?`
}
