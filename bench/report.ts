/**
 * Prints a table of finished training runs: `tsx bench/report.ts bench/results/training [report.html]`. Each file there
 * is the log of a run, as `hebb train --json` prints it and `hebb compare` keeps it; with a second argument, an HTML
 * report is written, too.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { htmlReport } from '../lib/report/html.js'
import { parseEvents, runOf } from '../lib/report/log.js'
import { betterFirst, markdownTable, tableOf } from '../lib/report/table.js'

const [folder = join(import.meta.dirname, 'results', 'training'), html] = process.argv.slice(2)
const runs = readdirSync(folder)
  .filter((name) => name.endsWith('.jsonl'))
  .sort()
  .map((name) => runOf(parseEvents(readFileSync(join(folder, name), 'utf8')), name))
  .filter((run) => run.done ?? run.failed)
const rows = tableOf(runs).sort((a, b) => a.dataset.localeCompare(b.dataset) || betterFirst(a, b))
console.log(markdownTable(rows))
if (html) writeFileSync(html, htmlReport({ title: 'Training runs', runs, settings: {} }))
