/** Prints a table of finished training runs: `tsx bench/report.ts bench/results/training`. Each file there is what `hebb train --json` printed. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

interface Done {
  event: string
  dataset: string
  method: string
  topology: string
  seed: number
  epochs: number
  testAccuracy: number
  bestTestAccuracy: number
  activeNeurons: number
  density: number
  itop: number
  links: number
}

const folder = process.argv[2] ?? join(import.meta.dirname, 'results', 'training')
const runs = readdirSync(folder)
  .filter((name) => name.endsWith('.jsonl'))
  .map((name) => JSON.parse(readFileSync(join(folder, name), 'utf8').trim().split('\n').at(-1) as string) as Done)
  .filter(({ event }) => event === 'done')

const groups = new Map<string, Done[]>()
for (const run of runs) {
  const key = [run.dataset, run.method, run.topology, run.epochs, run.density.toFixed(4)].join()
  groups.set(key, [...(groups.get(key) ?? []), run])
}

const mean = (values: number[]) => values.reduce((sum, v) => sum + v, 0) / values.length
const percent = (share: number, digits = 2) => (100 * share).toFixed(digits)
/** Mean and, of more than one, its standard error. */
function spread(values: number[]): string {
  const centre = mean(values)
  if (values.length === 1) return percent(centre)
  const variance = values.reduce((sum, v) => sum + (v - centre) ** 2, 0) / (values.length - 1)
  return `${percent(centre)} ± ${percent(Math.sqrt(variance / values.length))}`
}

console.log('| data | method | network | epochs | density % | seeds | accuracy %, last epoch | best epoch | active neurons % | ITOP % |')
console.log('|---|---|---|---|---|---|---|---|---|---|')
for (const group of [...groups.values()].sort(
  (a, b) => (a[0] as Done).dataset.localeCompare((b[0] as Done).dataset) || mean(b.map((r) => r.testAccuracy)) - mean(a.map((r) => r.testAccuracy)),
)) {
  const { dataset, method, topology, epochs, density } = group[0] as Done
  const all = (field: keyof Done) => group.map((run) => run[field] as number)
  const seeds = all('seed').sort((a, b) => a - b)
  console.log(
    `| ${dataset} | ${method} | ${topology} | ${epochs} | ${percent(density)} | ${seeds.join(', ')} | ${spread(all('testAccuracy'))} | ${percent(mean(all('bestTestAccuracy')))} | ${percent(mean(all('activeNeurons')), 1)} | ${percent(mean(all('itop')), 1)} |`,
  )
}
