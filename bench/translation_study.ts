/**
 * How well sparse translators do beside a dense one: `npx tsx bench/translation_study.ts --data DIR --out FILE
 * --folder DIR [--variants 'chtss|dense'] [--densities 0.1,0.05] [--seeds 0,1,2] [--steps 5000] [--test]`.
 *
 * Trains the small shape (256 wide, 3 + 3 layers) on Multi30k's English and German by each variant, schedule of the
 * rate, link warm-up, factor of the rate, density and seed that is asked for. Settings are chosen by the validation
 * set: test sets are translated with --test alone. A run that is stopped goes on from its checkpoint in --folder; one
 * that is finished is a line in --out and is not repeated. Results do not depend on --jobs and --threads. --table
 * prints what --out has, --claims how far each row is from that of --than, with intervals. Kept results:
 * bench/results/translation.
 */
import { spawn } from 'node:child_process'
import { appendFileSync, existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import {
  adam,
  brf,
  chts,
  chtss,
  crossEntropy,
  Device,
  dense,
  gmp,
  granet,
  inoam,
  load,
  type Method,
  mest,
  noam,
  random,
  rigl,
  set,
  sigmoidDensity,
  staticSparse,
  Trainer,
  transformer,
} from '../lib/index.js'
import { philox } from '../lib/philox.js'
import { spread } from '../lib/report/table.js'
import { corpusBleu, parallelLines, parallelText, readLines, trainTokenizer } from '../lib/text/index.js'

/** Steps between updates. */
const EVERY = 100
const [WIDTH, LAYERS, HEADS, WORDS, WARMUP, TOKENS] = [256, 3, 8, 4000, 1000, 1024]

/** What a variant may replace beside its method. */
interface Variant {
  readonly dst: () => Method
  readonly dropout?: number
  readonly width?: number
}

const byUpdates = (method: () => Method) => (): Method => {
  const { updates, ...parts } = method()
  return { ...parts, updates: updates && { ...updates, every: EVERY } }
}
const variants: Record<string, Variant> = {
  dense: { dst: dense },
  'dense, dropout 0.3': { dst: dense, dropout: 0.3 },
  // As many parameters as 10% of the links leave: 3.46 million.
  'dense, 160 wide': { dst: dense, width: 160 },
  'dense, 160 wide, dropout 0.3': { dst: dense, width: 160, dropout: 0.3 },
  static: { dst: () => staticSparse({ topology: brf({ r: 0.25, degree: 'fixed' }) }) },
  set: { dst: byUpdates(set) },
  rigl: { dst: byUpdates(rigl) },
  mest: { dst: byUpdates(mest) },
  gmp: { dst: byUpdates(gmp) },
  granet: { dst: byUpdates(granet) },
  chts: { dst: byUpdates(chts) },
  chtss: { dst: byUpdates(chtss) },
  'chtss, random regrowth': { dst: byUpdates(() => chtss({ regrow: random() })) },
  'chtss, decay over all updates': { dst: byUpdates(() => chtss({ density: sigmoidDensity({ over: 1 }) })) },
}

interface Run {
  readonly variant: string
  readonly schedule: string
  readonly linkWarmup: number
  readonly factor: number
  readonly density: number
  readonly steps: number
  readonly seed: number
}

interface Interval {
  readonly step: number
  readonly trainLoss: number
  readonly loss: number
  readonly accuracy: number
  readonly density: number
  readonly seconds: number
}

interface Line extends Run {
  /** Validation token accuracy at the best of the intervals that have the final density, and its step. */
  readonly accuracy: number
  readonly bestStep: number
  /** Validation loss there. */
  readonly loss: number
  /** Of the state that was best, by set; the test sets with --test alone. */
  readonly bleu: Readonly<Record<string, number>>
  /** Of the sparse layers' links, mean over the steps: the share of the dense layers' operations. */
  readonly meanDensity: number
  readonly parameters: number
  /** Steps and updates, on `threads` threads of a machine that may have had other work. */
  readonly seconds: number
  readonly threads: number
  readonly intervals: readonly Interval[]
}

const { values: flags } = parseArgs({
  options: {
    data: { type: 'string' },
    out: { type: 'string', default: 'study.jsonl' },
    folder: { type: 'string', default: 'study' },
    variants: { type: 'string', default: '.*' },
    schedules: { type: 'string', default: 'inoam' },
    'link-warmups': { type: 'string', default: '0' },
    factors: { type: 'string', default: '0.5' },
    densities: { type: 'string', default: '0.1' },
    seeds: { type: 'string', default: '0' },
    steps: { type: 'string', default: '5000' },
    threads: { type: 'string', default: '1' },
    jobs: { type: 'string', default: '2' },
    test: { type: 'boolean', default: false },
    only: { type: 'string' },
    table: { type: 'boolean', default: false },
    claims: { type: 'boolean', default: false },
    than: { type: 'string', default: 'dense' },
  },
})
const numbers = (text: string) => text.split(',').map(Number)

/** What says which run a line is of. */
const keyOf = ({ variant, schedule, linkWarmup, factor, density, steps, seed }: Run) =>
  `${variant}, ${100 * density}%, ${schedule}, link warm-up ${linkWarmup}, factor ${factor}, ` +
  `${steps} steps, seed ${seed}`

const isDense = (variant: string) => variant.startsWith('dense')

function wanted(): Run[] {
  const pattern = new RegExp(`^(?:${flags.variants})$`)
  const runs = numbers(flags.seeds).flatMap((seed) =>
    Object.keys(variants)
      .filter((variant) => pattern.test(variant))
      .flatMap((variant) =>
        numbers(flags.factors).flatMap((factor): Run[] => {
          const base = { variant, factor, steps: Number(flags.steps), seed }
          if (isDense(variant)) return [{ ...base, schedule: 'noam', linkWarmup: 0, density: 1 }]
          return flags.schedules
            .split(',')
            .flatMap((schedule) =>
              numbers(flags['link-warmups']).flatMap((linkWarmup) =>
                numbers(flags.densities).map((density) => ({ ...base, schedule, linkWarmup, density })),
              ),
            )
        }),
      ),
  )
  if (runs.length === 0)
    throw new Error(`Expected --variants to match one of ${Object.keys(variants).join('; ')}, got ${flags.variants}`)
  return runs
}

function linesIn<T>(file: string): T[] {
  if (!existsSync(file)) return []
  const lines = readFileSync(file, 'utf8').split('\n').filter(Boolean)
  return lines.map((line) => JSON.parse(line) as T)
}

const sets = { validation: 'val', test2016: 'test_2016_flickr', test2017: 'test_2017_flickr' } as const
type SetName = keyof typeof sets
const fileOf = (set: string, language: string) => join(flags.data ?? '', `${set}.${language}.gz`)

/** Matches of 1-grams to 4-grams, tokens of the translation and tokens of the reference: what BLEU is a function of. */
type Sentence = readonly number[]
/** The sentences of a set, as a run translates them. */
interface Translated {
  readonly run: string
  readonly set: SetName
  readonly sentences: readonly Sentence[]
}
const sentencesFile = flags.out.replace(/(\.jsonl)?$/, '.sentences.jsonl')

async function linesOf(set: string, language: string): Promise<string[]> {
  const lines: string[] = []
  for await (const line of readLines(fileOf(set, language))) lines.push(line)
  return lines
}

async function train(run: Run): Promise<void> {
  const tokenizer = await trainTokenizer(readLines(fileOf('train', 'en'), fileOf('train', 'de')), { vocabulary: WORDS })
  const text = await parallelText(fileOf('train', 'en'), fileOf('train', 'de'), { tokenizer })
  const [sources, references] = [await linesOf('val', 'en'), await linesOf('val', 'de')]
  const validation = await parallelLines(sources, references, { tokenizer, name: 'validation' })
  const { dst, dropout = 0.1, width = WIDTH } = variants[run.variant] as Variant
  const threads = Number(flags.threads)
  const device = new Device({ kind: 'cpu', threads })
  const file = join(flags.folder, `${keyOf(run)}.safetensors`)
  const best = file.replace('.safetensors', '.best.safetensors')
  const log = file.replace('.safetensors', '.jsonl')
  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort(new Error(signal)))
  const isBegun = existsSync(file)
  if (!isBegun) rmSync(log, { force: true })
  const { density, factor, steps, seed, schedule, linkWarmup } = run
  const rate = { width, warmup: WARMUP, factor }
  const trainer = isBegun
    ? await Trainer.load(file, { device })
    : new Trainer(
        transformer({
          ...{ sourceWords: tokenizer.size, targetWords: tokenizer.size, features: width, hidden: 2 * width },
          ...{ heads: HEADS, encoderLayers: LAYERS, decoderLayers: LAYERS, dropout, density, seed },
        }),
        {
          optimizer: adam({
            learningRate: schedule === 'noam' ? noam(rate) : inoam({ ...rate, period: EVERY, rise: EVERY / 5 }),
            ...{ beta1: 0.9, beta2: 0.998, epsilon: 1e-9, warmup: linkWarmup },
          }),
          dst: dst(),
          loss: crossEntropy({ labelSmoothing: 0.1, paddingClass: tokenizer.idOf('<pad>') }),
          device,
        },
      )
  const options = { validation, signal: stop.signal, checkpoint: { file, best, everySteps: 250 } }
  const isOver = (trainer.run?.epoch ?? 0) >= (trainer.run?.epochs ?? 1)
  const reports = isBegun
    ? trainer.resume(text, options)
    : trainer.fit(text, { ...options, steps, interval: Math.min(500, steps), batchSize: TOKENS })
  try {
    if (!isOver)
      for await (const { epoch: _, trainLoss, validation: measured, density, seconds, updateSeconds } of reports) {
        const { loss = Number.NaN, accuracy = Number.NaN } = measured ?? {}
        const interval = { step: trainer.step, trainLoss, loss, accuracy, density, seconds: seconds + updateSeconds }
        appendFileSync(log, `${JSON.stringify(interval)}\n`)
      }
  } catch (error) {
    if (!stop.signal.aborted) throw error
    await trainer.save(file)
    process.exit(130)
  }
  // An interval that was run again after the process was killed is there twice, with the same figures.
  const intervals = [...new Map(linesIn<Interval>(log).map((interval) => [interval.step, interval])).values()]
  const at = trainer.run?.best ?? { step: Number.NaN, figure: Number.NaN }
  const parameters = trainer.model.parameters.reduce((sum, { capacity }) => sum + capacity, 0)
  trainer.dispose()
  using predictor = await load(best, { device })
  const bleu: Record<string, number> = {}
  for (const name of Object.keys(sets) as SetName[]) {
    if (name !== 'validation' && !flags.test) continue
    const [source, reference] = [await linesOf(sets[name], 'en'), await linesOf(sets[name], 'de')]
    const translations = await predictor.translate(source, { signal: stop.signal })
    bleu[name] = corpusBleu(translations, reference).score
    const sentences = translations.map((translation, i): Sentence => {
      const { counts, hypothesisLength, referenceLength } = corpusBleu([translation], [reference[i] as string])
      return [...counts, hypothesisLength, referenceLength]
    })
    const translated: Translated = { run: keyOf(run), set: name, sentences }
    if (name !== 'validation') appendFileSync(sentencesFile, `${JSON.stringify(translated)}\n`)
  }
  const line: Line = {
    ...run,
    accuracy: at.figure,
    bestStep: at.step,
    loss: intervals.find(({ step }) => step === at.step)?.loss ?? Number.NaN,
    bleu,
    meanDensity: meanDensityOf(dst(), run),
    parameters,
    seconds: intervals.reduce((sum, { seconds }) => sum + seconds, 0),
    threads,
    intervals,
  }
  appendFileSync(flags.out, `${JSON.stringify(line)}\n`)
  device.dispose()
  for (const kept of [file, best, log]) rmSync(kept, { force: true })
}

/** As the method's schedule says, before percolation. */
function meanDensityOf({ density, updates }: Method, { density: target, steps }: Run): number {
  if (target === 1) return 1
  const last = updates ? Math.floor(Math.min(updates.until * steps, steps - 1) / EVERY) : 0
  const schedule = density.schedule({ target, updates: last })
  let sum = 0
  for (let step = 0; step < steps; ++step) {
    const done = Math.min(Math.floor(step / EVERY), last)
    sum += done === 0 ? density.initial(target) : schedule(done)
  }
  return sum / steps
}

/** Runs what is missing, so many processes at a time. */
async function runAll(): Promise<void> {
  mkdirSync(flags.folder, { recursive: true })
  const isDone = (run: Run) =>
    linesIn<Line>(flags.out).some((line) => keyOf(line) === keyOf(run) && (!flags.test || 'test2016' in line.bleu))
  const queue = wanted().filter((run) => !isDone(run))
  let stopped = false
  const children = new Set<ReturnType<typeof spawn>>()
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.on(signal, () => {
      stopped = true
      for (const child of children) child.kill('SIGTERM')
    })
  const worker = async () => {
    for (let run = queue.shift(); run && !stopped; run = queue.shift()) {
      const began = performance.now()
      const only = JSON.stringify(run)
      const child = spawn(process.execPath, [...process.execArgv, ...process.argv.slice(1), '--only', only], {
        stdio: 'inherit',
      })
      children.add(child)
      const code = await new Promise((resolve) => child.on('exit', resolve))
      children.delete(child)
      const line = linesIn<Line>(flags.out).find((line) => keyOf(line) === keyOf(run))
      const figures = line
        ? `${(100 * line.accuracy).toFixed(2)}% of tokens, ${Object.entries(line.bleu)
            .map(([name, score]) => `${name} ${score.toFixed(2)}`)
            .join(', ')}`
        : `ended with ${code}`
      const minutes = (performance.now() - began) / 60_000
      console.error(`${keyOf(run)}: ${figures}, ${minutes.toFixed(1)} min`)
    }
  }
  await Promise.all(Array.from({ length: Number(flags.jobs) }, worker))
}

function print(lines: readonly Line[]): void {
  const groups = new Map<string, Line[]>()
  for (const line of lines) {
    const key = keyOf({ ...line, seed: 0 })
    groups.set(key, [...(groups.get(key) ?? []), line])
  }
  const show = (values: readonly number[], digits = 2) => {
    const { mean, error } = spread(values)
    return `${mean.toFixed(digits)}${error === undefined ? '' : ` ± ${error.toFixed(digits)}`}`
  }
  console.log(
    '| method | links % | mean over training % | rate | link warm-up | steps | seeds | validation accuracy % | ' +
      'loss | BLEU validation | 2016 | 2017 |',
  )
  console.log(`|${'---|'.repeat(12)}`)
  const rows = [...groups.values()].sort((a, b) => mean(b) - mean(a))
  for (const of of rows) {
    const { variant, density, meanDensity, schedule, factor, linkWarmup, steps } = of[0] as Line
    const bleus = (Object.keys(sets) as SetName[]).map((name) => {
      const scores = of.flatMap((line) => line.bleu[name] ?? [])
      return scores.length ? show(scores) : ''
    })
    const cells = [
      ...[variant, 100 * density, (100 * meanDensity).toFixed(1), `${schedule} ${factor}`, linkWarmup, steps],
      ...[
        of.length,
        show(of.map(({ accuracy }) => 100 * accuracy)),
        show(
          of.map(({ loss }) => loss),
          3,
        ),
        ...bleus,
      ],
    ]
    console.log(`| ${cells.join(' | ')} |`)
  }
}
const mean = (lines: readonly Line[]) => spread(lines.map(({ accuracy }) => accuracy)).mean

/** The BLEU of so many translations of a set: `matches` adds up over sentences. */
function bleuOf(sentences: readonly Sentence[], which: Int32Array): number {
  const [matches, totals] = [
    [0, 0, 0, 0],
    [0, 0, 0, 0],
  ]
  let [length, reference] = [0, 0]
  for (const at of which) {
    const sentence = sentences[at] as Sentence
    const tokens = sentence[4] as number
    for (let n = 0; n < 4; ++n) {
      matches[n] = (matches[n] as number) + (sentence[n] as number)
      totals[n] = (totals[n] as number) + Math.max(0, tokens - n)
    }
    length += tokens
    reference += sentence[5] as number
  }
  const precision = matches.reduce((sum, count, n) => sum + Math.log(count / (totals[n] as number)), 0) / 4
  return 100 * Math.exp(precision + Math.min(0, 1 - reference / length))
}

/** Resamples of a bootstrap. */
const RESAMPLES = 2000

/**
 * How far rows with test sets are from those of the variant --than: the difference of their mean BLEU, its interval of
 * 95% and the bound that it is above at 95%. Seeds and sentences are drawn again with replacement, sentences the same
 * for both.
 */
function claim(lines: readonly Line[]): void {
  const translated = linesIn<Translated>(sentencesFile)
  const rowOf = (line: Line) => keyOf({ ...line, seed: 0 }).replace(', seed 0', '')
  const rows = [...new Set(lines.filter((line) => 'test2016' in line.bleu).map(rowOf))]
  const than = rows.filter((row) => row.startsWith(`${flags.than}, `))
  if (than.length !== 1) throw new Error(`Expected one row of ${flags.than} with test sets, got ${than.length}`)
  const runsOf = (row: string) => lines.filter((line) => rowOf(line) === row).map(keyOf)
  console.log(`| method | set | seeds | BLEU less ${flags.than}'s | 95% interval | above, at 95% |`)
  console.log(`|${'---|'.repeat(6)}`)
  for (const row of rows.filter((row) => row !== than[0])) {
    for (const name of ['test2016', 'test2017'] as const) {
      const sentencesOf = (which: string) =>
        runsOf(which).map((run) => translated.find((one) => one.run === run && one.set === name)?.sentences ?? [])
      const [ours, theirs] = [sentencesOf(row), sentencesOf(than[0] as string)]
      const count = (ours[0] as readonly Sentence[]).length
      let draw = 0
      const below = (limit: number) => Math.floor(((philox(1, draw++, 0, 0, 0) >>> 0) / 2 ** 32) * limit)
      const all = Int32Array.from({ length: count }, (_, i) => i)
      const mean = (runs: readonly (readonly Sentence[])[], which: Int32Array, pick: (i: number) => number) =>
        runs.reduce((sum, _, i) => sum + bleuOf(runs[pick(i)] as readonly Sentence[], which), 0) / runs.length
      const difference = mean(ours, all, (i) => i) - mean(theirs, all, (i) => i)
      const drawn = Float64Array.from({ length: RESAMPLES }, () => {
        const which = all.map(() => below(count))
        return mean(ours, which, () => below(ours.length)) - mean(theirs, which, () => below(theirs.length))
      }).sort()
      const quantile = (share: number) => (drawn[Math.round(share * (RESAMPLES - 1))] as number).toFixed(2)
      const cells = [`${quantile(0.025)} to ${quantile(0.975)}`, quantile(0.05)]
      console.log(`| ${[row, name, `${ours.length}, ${theirs.length}`, difference.toFixed(2), ...cells].join(' | ')} |`)
    }
  }
}

if (flags.table) print(linesIn<Line>(flags.out))
else if (flags.claims) claim(linesIn<Line>(flags.out))
else if (flags.only !== undefined) await train(JSON.parse(flags.only) as Run)
else await runAll()
