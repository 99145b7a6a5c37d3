/**
 * Which part of a method gives what: `npx tsx bench/ablation.ts --dataset fashion-mnist --data DIR [--variants
 * 'chts.*'] [--seeds 0,1,2]`.
 *
 * Trains the paper's network (three hidden layers of 1568, 1% of the links) by variants of the methods, one part or
 * setting replaced at a time, and measures each on samples held out of the training set: the test set is never looked
 * at, so that what is chosen here can be tested there. Every run that is finished is a line in --out and is not
 * repeated; the table has the mean over seeds and its standard error. Kept results: bench/results/ablation.
 */
import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { deviceOf, readData } from '../lib/cli/run.js'
import { type Dataset, trainTestSplit } from '../lib/data/index.js'
import {
  brf,
  cht,
  chts,
  chtss,
  cosineFraction,
  csti,
  type Distribution,
  erdosRenyi,
  kaiming,
  linearDecay,
  type Method,
  magnitude,
  mlp,
  random,
  recommended,
  relativeImportance,
  set,
  sgd,
  sigmoidDensity,
  soft,
  softMagnitude,
  softRelativeImportance,
  Trainer,
  topK,
  updateSchedule,
} from '../lib/index.js'
import { spread } from '../lib/report/table.js'

/** What a variant may replace beside the method's parts. */
interface Setting {
  readonly dst: Method
  readonly learningRate?: number
  readonly weightDecay?: number
  readonly distribution?: Distribution
}

const correlated = (data: Dataset, parts: Partial<Method> = {}) => chts({ ...recommended({ data }), ...parts })

/** The paper's names of what differs from the method that comes first in a name. */
const variants: Record<string, (data: Dataset) => Method | Setting> = {
  set: () => set(),
  chts: () => chts(),
  'chts, CSTI': (data) => chts({ topology: csti({ data }) }),
  'chts, soft RI': () => chts({ remove: softRelativeImportance() }),
  'chts, CH3-L3p': () => chts({ regrow: soft('CH3-L3p') }),
  'chts, CSTI, soft RI': (data) => correlated(data),
  'chts, CSTI, CH3-L3p': (data) => chts({ topology: csti({ data }), regrow: soft('CH3-L3p') }),
  'chts, CSTI, CH3-L3p, soft RI': (data) =>
    chts({ topology: csti({ data }), regrow: soft('CH3-L3p'), remove: softRelativeImportance() }),
  'chts, T to 9': () => chts({ remove: softMagnitude({ to: 9 }) }),
  'chts, zeta 0.1': () => chts({ updates: updateSchedule({ fraction: cosineFraction(0.1) }) }),
  'chts, zeta 0.5': () => chts({ updates: updateSchedule({ fraction: cosineFraction(0.5) }) }),
  'chts, zeta 0.3 throughout': () => chts({ updates: updateSchedule({ fraction: 0.3 }) }),
  'chts, until 0.9': () => chts({ updates: updateSchedule({ fraction: cosineFraction(0.3), until: 0.9 }) }),
  'chts, 4 updates an epoch': () => chts({ updates: updateSchedule({ every: 469, fraction: cosineFraction(0.3) }) }),
  'chts, BRF r = 0': () => chts({ topology: brf({ r: 0 }) }),
  'chts, BRF r = 1': () => chts({ topology: brf({ r: 1 }) }),
  'chts, BRF uniform degrees': () => chts({ topology: brf({ degree: 'uniform' }) }),
  'chts, Kaiming': () => chts({ weights: kaiming() }),
  'chts, not percolated': () => chts({ percolate: false }),
  'chts, CSTI, soft RI, T to 2': (data) => correlated(data, { remove: softRelativeImportance({ to: 2 }) }),
  'chts, CSTI, soft RI, T to 9': (data) => correlated(data, { remove: softRelativeImportance({ to: 9 }) }),
  'chts, CSTI, RI': (data) => correlated(data, { remove: relativeImportance() }),
  'chts, CSTI, soft RI, zeta 0.1': (data) =>
    correlated(data, { updates: updateSchedule({ fraction: cosineFraction(0.1) }) }),
  'chts, CSTI, soft RI, zeta 0.5': (data) =>
    correlated(data, { updates: updateSchedule({ fraction: cosineFraction(0.5) }) }),
  'chts, CSTI, soft RI, until 0.9': (data) =>
    correlated(data, { updates: updateSchedule({ fraction: cosineFraction(0.3), until: 0.9 }) }),
  'chts, CSTI, soft RI, until 0.5': (data) =>
    correlated(data, { updates: updateSchedule({ fraction: cosineFraction(0.3), until: 0.5 }) }),
  'chts, CSTI, soft RI, 4 updates an epoch': (data) =>
    correlated(data, { updates: updateSchedule({ every: 391, fraction: cosineFraction(0.3) }) }),
  'chts, CSTI, soft RI, Kaiming': (data) => correlated(data, { weights: kaiming() }),
  'chts, CSTI, soft RI, CH2-L3p': (data) => correlated(data, { regrow: soft('CH2-L3p') }),
  'chts, CSTI, soft RI, random': (data) => correlated(data, { regrow: random() }),
  'chts, CSTI, soft RI, decay 1e-4': (data) => ({ dst: correlated(data), weightDecay: 1e-4 }),
  'chts, CSTI, soft RI, decay 2e-4': (data) => ({ dst: correlated(data), weightDecay: 2e-4 }),
  'chts, CSTI, soft RI, decay 1e-3': (data) => ({ dst: correlated(data), weightDecay: 1e-3 }),
  'chts, CSTI, soft RI, rate 0.05': (data) => ({ dst: correlated(data), learningRate: 0.05 }),
  'chts, CSTI, soft RI, rate 0.1': (data) => ({ dst: correlated(data), learningRate: 0.1 }),
  'chts, CSTI, soft RI, ERK': (data) => ({ dst: correlated(data), distribution: 'erk' }),
  'chts, ERK': () => ({ dst: chts(), distribution: 'erk' }),
  'chts, decay 1e-4': () => ({ dst: chts(), weightDecay: 1e-4 }),
  'chts, decay 1e-3': () => ({ dst: chts(), weightDecay: 1e-3 }),
  'chts, rate 0.05': () => ({ dst: chts(), learningRate: 0.05 }),
  chtss: () => chtss(),
  'chtss, CSTI': (data) => chtss({ topology: csti({ data }) }),
  'chtss, soft RI': () => chtss({ remove: softRelativeImportance() }),
  'chtss, CSTI, soft RI': (data) => chtss({ topology: csti({ data }), remove: softRelativeImportance() }),
  'chtss, CH3-L3p': () => chtss({ regrow: soft('CH3-L3p') }),
  'chtss, pruned by magnitude': () => chtss({ prune: magnitude() }),
  'chtss, decay over all updates': () => chtss({ density: sigmoidDensity({ initialDensity: 0.5, over: 1 }) }),
  'chtss, from 10%': () => chtss({ density: sigmoidDensity({ initialDensity: 0.1 }) }),
  'chtss, from 10%, CSTI, soft RI': (data) =>
    chtss({ ...recommended({ data }), density: sigmoidDensity({ initialDensity: 0.1 }) }),
  'chtss, from 10% over all updates, CSTI, soft RI': (data) =>
    chtss({ ...recommended({ data }), density: sigmoidDensity({ initialDensity: 0.1, over: 1 }) }),
  cht: () => cht(),
  'cht, CSTI': (data) => cht({ topology: csti({ data }) }),
  'cht, Erdos-Renyi': () => cht({ topology: erdosRenyi() }),
  'cht, Erdos-Renyi, no early stop': () => cht({ topology: erdosRenyi(), earlyStop: undefined }),
  'cht, no early stop': () => cht({ earlyStop: undefined }),
  'cht, CSTI, no early stop': (data) => cht({ topology: csti({ data }), earlyStop: undefined }),
  'cht, RI': () => cht({ remove: relativeImportance() }),
  'cht, zeta 0.3 throughout': () => cht({ updates: updateSchedule({ fraction: 0.3 }) }),
  'cht, CH2-L3n': () => cht({ regrow: topK('CH2-L3n') }),
}

interface Line {
  readonly variant: string
  readonly dataset: string
  readonly seed: number
  readonly epochs: number
  readonly density: number
  readonly heldOut: number
  /** Accuracy on the samples that were held out, after the last epoch and after the best. */
  readonly accuracy: number
  readonly best: number
  readonly activeNeurons: number
  readonly itop: number
  readonly seconds: number
}

const { values: flags } = parseArgs({
  options: {
    dataset: { type: 'string', default: 'fashion-mnist' },
    data: { type: 'string' },
    variants: { type: 'string', default: '.*' },
    seeds: { type: 'string', default: '0,1,2' },
    epochs: { type: 'string', default: '100' },
    density: { type: 'string', default: '0.01' },
    'hold-out': { type: 'string', default: '10000' },
    out: { type: 'string', default: 'ablation.jsonl' },
    threads: { type: 'string', default: '0' },
    table: { type: 'boolean', default: false },
  },
})
const epochs = Number(flags.epochs)
const density = Number(flags.density)
const heldOut = Number(flags['hold-out'])
const wanted = new RegExp(`^(?:${flags.variants})$`)
const names = Object.keys(variants).filter((name) => wanted.test(name))
const seeds = flags.seeds.split(',').map(Number)

function read(): Line[] {
  if (!existsSync(flags.out)) return []
  const lines = readFileSync(flags.out, 'utf8').split('\n').filter(Boolean)
  return lines
    .map((line) => JSON.parse(line) as Line)
    .filter((line) => line.dataset === flags.dataset && line.epochs === epochs && line.density === density)
}

const device = deviceOf({ device: 'auto', threads: Number(flags.threads), blas: 'own', deterministic: 'device' })

async function run(variant: string, seed: number, train: Dataset, validation: Dataset): Promise<Line> {
  const part = (variants[variant] as (typeof variants)[string])(train)
  const {
    dst,
    learningRate = 0.025,
    weightDecay = 5e-4,
    distribution = 'uniform',
  } = 'dst' in part ? part : { dst: part }
  const model = mlp({ widths: [train.features, 1568, 1568, 1568, train.classes], density, distribution, seed })
  using trainer = new Trainer(model, {
    device,
    optimizer: sgd({
      learningRate: linearDecay({ from: learningRate, to: learningRate / 100, over: 0.9 }),
      momentum: 0.9,
      weightDecay,
    }),
    dst,
  })
  const began = performance.now()
  let [accuracy, best, activeNeurons, itop] = [0, 0, 0, 0]
  for await (const epoch of trainer.fit(train, { epochs, batchSize: 32, validation })) {
    accuracy = epoch.validation?.accuracy ?? Number.NaN
    best = Math.max(best, accuracy)
    ;({ activeNeurons, itop } = epoch)
  }
  const seconds = (performance.now() - began) / 1000
  return {
    variant,
    dataset: flags.dataset,
    seed,
    epochs,
    density,
    heldOut,
    accuracy,
    best,
    activeNeurons,
    itop,
    seconds,
  }
}

function print(lines: readonly Line[]): void {
  const show = (of: readonly number[]) => {
    const { mean, error } = spread(of)
    return `${(100 * mean).toFixed(2)}${error === undefined ? '' : ` ± ${(100 * error).toFixed(2)}`}`
  }
  const rows = Object.keys(variants).flatMap((variant) => {
    const of = lines.filter((line) => line.variant === variant)
    return of.length ? [{ variant, of, accuracy: spread(of.map((line) => line.accuracy)).mean }] : []
  })
  console.log(
    '| data | variant | seeds | held-out accuracy %, last epoch | best epoch | active neurons % | ITOP % |\n' +
      '|---|---|---|---|---|---|---|',
  )
  for (const { variant, of } of rows.sort((a, b) => b.accuracy - a.accuracy)) {
    const cells = [
      of.map((line) => line.accuracy),
      of.map((line) => line.best),
      of.map((line) => line.activeNeurons),
      of.map((line) => line.itop),
    ]
    console.log(`| ${flags.dataset} | ${variant} | ${of.length} | ${cells.map(show).join(' | ')} |`)
  }
}

if (!flags.table) {
  if (names.length === 0)
    throw new Error(`Expected --variants to match one of ${Object.keys(variants).join('; ')}, got ${flags.variants}`)
  const { train: all } = await readData(flags, flags.data)
  const { train, test: validation } = trainTestSplit(all, { testSize: heldOut })
  const missing = seeds.flatMap((seed) => names.map((name) => ({ name, seed })))
  for (const { name, seed } of missing) {
    if (read().some((line) => line.variant === name && line.seed === seed)) continue
    const line = await run(name, seed, train, validation)
    appendFileSync(flags.out, `${JSON.stringify(line)}\n`)
    console.error(`${name}, seed ${seed}: ${(100 * line.accuracy).toFixed(2)}%, ${line.seconds.toFixed(0)} s`)
  }
}
print(read())
