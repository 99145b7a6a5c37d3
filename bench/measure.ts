/**
 * What the benchmarks share: samples and their summary, the table, the file of a saved run, and the machine it ran on.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { availableParallelism, cpus } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Dataset, dataset } from '../lib/index.js'

export interface BenchOptions {
  /** Samples of every measure. */
  readonly rounds: number
  /** CPU threads of the device. */
  readonly threads: number
  /** Settings that only show that a benchmark runs; its numbers mean nothing. */
  readonly quick: boolean
  /** Every shape, for a run that is kept; else the few that a table needs. */
  readonly full: boolean
  /** Of the C++ benchmarks, those whose operation matches. */
  readonly programs: RegExp
}

/** One thing measured, with every sample of it. */
export interface Series {
  readonly name: string
  readonly unit: string
  readonly samples: readonly number[]
}

/**
 * An operation at one shape: what the table is too short for. Fields that a row does not need are not there. See
 * bench/results/README.md.
 */
export interface Row {
  readonly name: string
  readonly operation: string
  readonly rows?: number
  readonly cols?: number
  readonly density?: number
  readonly batch?: number
  readonly threads?: number
  readonly item: string
  readonly items: number
  readonly medianSeconds: number
  readonly minSeconds: number
  readonly maxSeconds: number
  readonly nsPerItem?: number
  readonly gflops?: number
  readonly gbps?: number
  readonly rooflineSeconds?: number
  readonly rooflineShare?: number
  readonly bound?: string
}

/** A number derived from medians. */
export interface Figure {
  readonly name: string
  readonly unit: string
  readonly value: number
  /** What it should be, for people: '<= 3'. */
  readonly goal?: string
}

export interface Report {
  readonly series: readonly Series[]
  readonly figures: readonly Figure[]
  readonly rows?: readonly Row[]
  /** Files for bench/results: name's ending and content. They are written where a run is saved. */
  readonly files?: { readonly [ending: string]: string }
  /** Anything else that a reader of a saved run may need. */
  readonly details?: object
  /** Sentences a reader of the numbers needs: what was measured, or why something was not. */
  readonly notes: readonly string[]
  /** Versions of libraries other than hebb. */
  readonly versions?: { readonly [library: string]: string }
}

/** A row from the seconds of one call, as often as they were measured. `flop` and `bytes` are those of a call. */
export function rowOf(
  about: Pick<Row, 'name' | 'operation' | 'rows' | 'cols' | 'density' | 'batch' | 'threads' | 'item' | 'items'>,
  seconds: readonly number[],
  { flop = 0, bytes = 0 } = {},
): Row {
  const middle = median(seconds)
  return {
    ...about,
    medianSeconds: middle,
    minSeconds: Math.min(...seconds),
    maxSeconds: Math.max(...seconds),
    ...(about.items > 0 && { nsPerItem: (1e9 * middle) / about.items }),
    ...(flop > 0 && { gflops: (1e-9 * flop) / middle }),
    ...(bytes > 0 && { gbps: (1e-9 * bytes) / middle }),
  }
}

export type Bench = (options: BenchOptions) => Promise<Report>

export function median(samples: readonly number[]): number {
  if (samples.length === 0) return Number.NaN
  const sorted = [...samples].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2
    ? (sorted[middle] as number)
    : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2
}

/** Milliseconds that `run` takes. */
export async function milliseconds(run: () => unknown): Promise<number> {
  const start = performance.now()
  await run()
  return performance.now() - start
}

/** Numbers in [-1, 1) that look random and are the same in every run. */
export function numbers(count: number): Float32Array {
  let state = 1
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0
    return state / 2 ** 31
  })
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** Milliseconds after which the threads of a matrix library have stopped to spin for more work. */
const SPIN = 300
/** Long enough to see a share of a processor in the system's clock ticks. */
const LOOK = 200
/** Processors kept busy by others, on average, that make a run worth a warning. */
const TOLERATED = 0.15

function idleMs(): number {
  return cpus().reduce((sum, { times }) => sum + times.idle, 0)
}

/** Waits between measurements, while nothing of ours runs, and notes what others do to the machine meanwhile. */
export class Quiet {
  readonly #quick: boolean
  #busy = 0
  #looked = 0

  /** A quick run does not wait. */
  constructor({ quick }: { readonly quick: boolean }) {
    this.#quick = quick
  }

  async settle(): Promise<void> {
    if (this.#quick) return
    await pause(SPIN)
    const [idle, start] = [idleMs(), performance.now()]
    await pause(LOOK)
    const looked = performance.now() - start
    this.#busy += cpus().length * looked - (idleMs() - idle)
    this.#looked += looked
  }

  /** A warning for the reader, if there is a reason for one. */
  get notes(): string[] {
    const busy = this.#busy / this.#looked
    if (!(busy > TOLERATED)) return []
    return [
      `DISTURBED: between measurements other processes kept ${busy.toFixed(1)} processors busy on average. Run ` +
        'it again on an idle machine.',
    ]
  }
}

/** A line that overwrites itself while a benchmark runs; nothing where stderr is not a terminal. */
export function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`)
}

/** The first `samples` of a data set. */
export function firstOf(data: Dataset, samples: number): Dataset {
  const { x, labels, shape, features, classes, name, scale, shift } = data
  const unit = x instanceof Uint8Array ? 1 / 255 : 1
  const normalise = { deviation: unit / scale, mean: (-shift * unit) / scale }
  return dataset({
    x: x.subarray(0, samples * features),
    y: (labels as Int32Array).subarray(0, samples),
    shape,
    classes,
    normalise,
    name,
  })
}

function significant(value: number): string {
  if (!Number.isFinite(value)) return '-'
  const digits = value === 0 ? 0 : Math.max(0, 3 - Math.floor(Math.log10(Math.abs(value))))
  return value.toFixed(Math.min(digits, 6))
}

/** Rows under a head, columns aligned: the first to the left, the last to the left, numbers to the right. */
function aligned(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] as readonly string[]).map((_, c) => Math.max(...rows.map((row) => (row[c] as string).length)))
  const cell = (text: string, c: number) =>
    c === 0 || c === widths.length - 1 ? text.padEnd(widths[c] as number) : text.padStart(widths[c] as number)
  return rows.map((row) => row.map(cell).join('  ').trimEnd()).join('\n')
}

export function table(reports: { readonly [bench: string]: Report }): string {
  const rows = [['', 'median', 'min', 'max', 'unit']]
  for (const [bench, { series, figures }] of Object.entries(reports)) {
    for (const { name, unit, samples } of series) {
      rows.push([
        `${bench}: ${name}`,
        significant(median(samples)),
        significant(Math.min(...samples)),
        significant(Math.max(...samples)),
        unit,
      ])
    }
    for (const { name, unit, value, goal } of figures)
      rows.push([`${bench}: ${name}`, significant(value), '', '', goal ? `${unit} (goal ${goal})` : unit])
  }
  const notes = Object.entries(reports).flatMap(([bench, report]) => report.notes.map((note) => `${bench}: ${note}`))
  return [aligned(rows), ...notes].join('\n')
}

export const root = fileURLToPath(new URL('..', import.meta.url))

export async function hebbVersion(): Promise<string> {
  return JSON.parse(await readFile(join(root, 'package.json'), 'utf8')).version
}

export function processorName(): string {
  return cpus()[0]?.model.trim() || process.arch
}

export interface Run {
  readonly date: string
  readonly processor: string
  readonly cores: number
  readonly simd: string
  readonly platform: string
  readonly node: string
  readonly versions: { readonly [library: string]: string }
  /** What repeats this run, from the repository's root. */
  readonly command: string
  readonly options: BenchOptions
  readonly reports: { readonly [bench: string]: Report }
}

export async function describeRun(
  command: string,
  simd: string,
  options: BenchOptions,
  reports: { readonly [bench: string]: Report },
): Promise<Run> {
  return {
    date: new Date().toISOString(),
    processor: processorName(),
    cores: availableParallelism(),
    simd,
    platform: `${process.platform}-${process.arch}`,
    node: process.version,
    versions: Object.assign({ hebb: await hebbVersion() }, ...Object.values(reports).map((report) => report.versions)),
    command,
    options,
    reports,
  }
}

/**
 * Writes a run to bench/results/<date>-<processor>.json, beside one of the same day and never over it, and its reports'
 * files with it. Returns the paths from the root.
 */
export async function save(run: Run): Promise<string[]> {
  const slug = run.processor
    .toLowerCase()
    .replaceAll(/\((r|tm|c)\)/g, '')
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^-|-$/g, '')
  await mkdir(join(root, 'bench', 'results'), { recursive: true })
  const medians = Object.values(run.reports).flatMap((report) => report.series)
  const summary = Object.fromEntries(medians.map(({ name, unit, samples }) => [`${name} [${unit}]`, median(samples)]))
  const files = Object.values(run.reports).flatMap((report) => Object.entries(report.files ?? {}))
  const reports = Object.fromEntries(
    Object.entries(run.reports).map(([name, { files: _, ...report }]) => [name, report]),
  )
  for (let n = 1; ; ++n) {
    const stem = join('bench', 'results', `${run.date.slice(0, 10)}-${slug}${n > 1 ? `-${n}` : ''}`)
    try {
      await writeFile(join(root, `${stem}.json`), textOf({ ...run, reports, medians: summary }), { flag: 'wx' })
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') continue
      throw error
    }
    for (const [ending, content] of files) await writeFile(join(root, `${stem}-${ending}`), content)
    return [`${stem}.json`, ...files.map(([ending]) => `${stem}-${ending}`)]
  }
}

/** JSON with a row or a rate to a line. */
function textOf(run: object): string {
  const lines = new Map<string, string>()
  const text = JSON.stringify(
    run,
    (key, value) => {
      if ((key !== 'rows' && key !== 'rates') || !Array.isArray(value)) return value
      return value.map((one) => {
        const mark = `line ${lines.size} of this run`
        lines.set(JSON.stringify(mark), JSON.stringify(one))
        return mark
      })
    },
    2,
  )
  return `${text.replaceAll(/"line \d+ of this run"/g, (mark) => lines.get(mark) as string)}\n`
}
