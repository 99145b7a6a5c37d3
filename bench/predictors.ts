/**
 * Scores of all missing links of a layer by each link predictor, as an update in training makes them; beside it, in
 * turns, the same formulas written plainly on dense matrices in PyTorch, whose scores hebb's are held to first. Then
 * how the time grows with the neurons and with the density, by each route, and whether the automatic choice takes the
 * faster one.
 */
import { availableParallelism } from 'node:os'
import {
  Device,
  erdosRenyi,
  type LinkPredictor,
  type PlainCsr,
  type PredictionRoute,
  Program,
  predictLinks,
  SparseMatrix,
  Tensor,
} from '../lib/index.js'
import { linkPredictors } from '../lib/tensor.js'
import { fitPower } from './growth.js'
import {
  type BenchOptions,
  type Figure,
  median,
  milliseconds,
  progress,
  Quiet,
  type Report,
  type Row,
  rowOf,
  type Series,
} from './measure.js'
import { logLogPlot, type PlotSeries } from './plot.js'
import { type About, NOT_INSTALLED, PythonProcess, pythonWithTorch, TUNED_BLAS } from './python.js'

/** Links that are chosen by the scores, as a share of those that exist: what an update of CHTs regrows. */
const GROWN = 0.3
/** Largest relative difference between hebb's scores and the plain form's: both sum float32 terms, in other orders. */
const TOLERANCE = 1e-4
/** A number of threads with which the plain form takes so many times as long as with another is left out. */
const SLOW = 3

interface Shape {
  readonly rows: number
  readonly cols: number
  readonly density: number
}

/** Odd sizes, for comparing scores: nothing is timed. */
const CHECKED: Shape = { rows: 157, cols: 203, density: 0.04 }

interface Case extends Shape {
  readonly predictors: readonly LinkPredictor[]
}

function casesOf({ quick, full }: BenchOptions): Case[] {
  if (quick) return [{ rows: 128, cols: 128, density: 0.02, predictors: linkPredictors }]
  return [
    { rows: 1568, cols: 1568, density: 0.01, predictors: linkPredictors },
    { rows: 1024, cols: 1024, density: 0.05, predictors: full ? linkPredictors : ['CH3-L3p'] },
  ]
}

/** Seconds that scoring should take on two cores, beside what the authors' implementation was measured at there. */
const goals: { readonly [name: string]: { readonly most: number; readonly authors: number } } = {
  'CH3-L3p, 1568x1568, 1%': { most: 0.05, authors: 11.0 },
  'CH3-L3p, 1024x1024, 5%': { most: 1.5, authors: 58.8 },
  'CH2-L3n, 1568x1568, 1%': { most: 0.03, authors: 1.2 },
}

/** Two sweeps: neurons a side at one density, and densities at one size. */
const SWEPT: readonly LinkPredictor[] = ['CH2-L3n', 'CH3-L3p']
const ROUTES: readonly PredictionRoute[] = ['sparse', 'dense', 'auto']
const SIZES = [512, 724, 1024, 1448, 2048, 2896, 4096]
const SIZES_DENSITY = 0.01
const DENSITIES = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2]
const DENSITIES_SIZE = 1024
const QUICK_SIZES = [96, 128]
const QUICK_DENSITIES = [0.01, 0.1]
const QUICK_DENSITIES_SIZE = 96

const percent = (density: number) => `${Number((100 * density).toFixed(4))}%`
const layerName = ({ rows, cols, density }: Shape) => `${cols}x${rows}, ${percent(density)}`

function layerOf({ rows, cols, density }: Shape): PlainCsr {
  return {
    rows,
    cols,
    ...erdosRenyi().generate({ rows, cols, links: Math.round(density * rows * cols), seed: 1, layer: 0 }),
  }
}

/** hebb's scoring in training: all missing links of a layer are scored and the winners chosen, in one operation. */
class Scoring {
  readonly #program: Program
  readonly #owned: { dispose(): void }[]
  readonly #target: number
  #calls = 1

  constructor(device: Device, layer: PlainCsr, predictor: LinkPredictor, route: PredictionRoute = 'auto') {
    const { rows, cols, columnIndices } = layer
    const links = columnIndices.length
    const capacity = Math.min(rows * cols, links + Math.floor(GROWN * links))
    // All links are kept: the layer that is scored has the density that it is named by.
    const keep = new Tensor(device, 'uint8', new Uint8Array(capacity).fill(1))
    const [newRows, newColumns, newCount] = [capacity, capacity, 1].map((size) => new Tensor(device, 'int32', size))
    const matrix = new SparseMatrix(device, rows, cols, layer, capacity)
    this.#target = capacity
    this.#program = new Program(device, { scalars: 2 })
    const changes = { keep, newRows, newColumns, newCount }
    this.#program.record('regrow', {
      links: matrix,
      changes,
      predictor,
      selection: 'sample',
      route,
      count: 1,
      update: 0,
      seed: 0,
      layer: 0,
    })
    this.#owned = [this.#program, matrix, ...Object.values(changes)] as { dispose(): void }[]
  }

  /** Seconds a call, over about so many seconds. */
  async measure(seconds: number): Promise<number> {
    await this.#program.replay(0, { begin: { scalars: [1, this.#target] } })
    for (;;) {
      const taken = (await milliseconds(() => this.#program.replay(this.#calls))) / 1000
      if (taken >= seconds) return taken / this.#calls
      this.#calls = Math.ceil(this.#calls * Math.min(64, (1.2 * seconds) / taken))
    }
  }

  dispose(): void {
    for (const one of this.#owned) one.dispose()
  }
}

/** The plain form in PyTorch. */
class PlainForm {
  readonly threads: number
  readonly #process: PythonProcess

  constructor(python: string, threads: number) {
    this.threads = threads
    this.#process = new PythonProcess(python, 'link_prediction.py', threads)
  }

  async start(): Promise<About> {
    this.#process.send({ threads: this.threads })
    return this.#process.answer()
  }

  async take({ rows, cols, rowOffsets, columnIndices }: PlainCsr): Promise<void> {
    const links = columnIndices.length
    this.#process.send({ layer: { rows, cols, links } })
    this.#process.sendBytes(new Uint8Array(rowOffsets.buffer, rowOffsets.byteOffset, rowOffsets.byteLength))
    this.#process.sendBytes(new Uint8Array(columnIndices.buffer, columnIndices.byteOffset, columnIndices.byteLength))
    const made = await this.#process.answer<{ links: number }>()
    if (made.links !== links) throw new Error(`Expected the plain form to hold ${links} links, got ${made.links}`)
  }

  /** Holds hebb's scores of the layer to the plain form's. Returns the largest relative difference. */
  async check(layer: PlainCsr, predictor: LinkPredictor): Promise<number> {
    const { rows, cols } = layer
    const dense = new Float32Array(rows * cols)
    const { row, col, score } = predictLinks(layer, predictor)
    for (let n = 0; n < score.length; ++n) dense[(row[n] as number) * cols + (col[n] as number)] = score[n] as number
    this.#process.send({ check: predictor })
    this.#process.sendBytes(new Uint8Array(dense.buffer))
    const { difference, scored } = await this.#process.answer<{ difference: number; scored: number }>()
    if (scored !== score.length || !(difference <= TOLERANCE)) {
      throw new Error(
        `Expected hebb's ${predictor} scores of a ${rows} x ${cols} layer to equal the plain form's within ` +
          `${TOLERANCE}, got a relative difference of ${difference} (${score.length} and ${scored} links have a ` +
          'score)',
      )
    }
    return difference
  }

  /** Seconds a call, over about so many seconds. */
  async measure(predictor: LinkPredictor, seconds: number): Promise<number> {
    this.#process.send({ predictor, seconds })
    const taken = await this.#process.answer<{ seconds: number; calls: number }>()
    return taken.seconds / taken.calls
  }

  stop(): Promise<void> {
    return this.#process.stop()
  }
}

/** What a benchmark of several parts adds to. */
interface Results {
  readonly series: Series[]
  readonly figures: Figure[]
  readonly rows: Row[]
}

async function compare(
  options: BenchOptions,
  devices: readonly Device[],
  plain: readonly PlainForm[],
  quiet: Quiet,
  results: Results,
): Promise<void> {
  const seconds = options.quick ? 0.001 : 0.05
  for (const { predictors, ...shape } of casesOf(options)) {
    const layer = layerOf(shape)
    const missing = shape.rows * shape.cols - layer.columnIndices.length
    for (const one of plain) await one.take(layer)
    for (const predictor of predictors) {
      const name = `${predictor}, ${layerName(shape)}`
      progress(`predictors: ${name}`)
      const scorings = devices.map((device) => ({
        threads: device.info.threads,
        scoring: new Scoring(device, layer, predictor),
      }))
      try {
        const measured = new Map<string, { threads: number; measure: () => Promise<number>; samples: number[] }>()
        const add = (label: string, threads: number, measure: () => Promise<number>) =>
          measured.set(label, { threads, measure, samples: [] })
        for (const { threads, scoring } of scorings)
          add(`hebb, threads: ${threads}`, threads, () => scoring.measure(seconds))
        const all = availableParallelism()
        add(
          `hebb predictLinks, to host memory, threads: ${all}`,
          all,
          async () => (await milliseconds(() => predictLinks(layer, predictor))) / 1000,
        )
        const addPlain = (one: PlainForm) =>
          add(`plain form in PyTorch, threads: ${one.threads}`, one.threads, () => one.measure(predictor, seconds))
        // Once without counting it: buffers, the number of calls; and the plain form's scores of this very layer. A
        // matrix library whose threads are in each other's way may take ten times as long with more of them: such a
        // number of threads is not asked again.
        const checked: number[] = []
        for (const [label, { measure }] of measured) if (label.startsWith('hebb')) await measure()
        for (const one of plain) checked.push(await milliseconds(() => one.check(layer, predictor)))
        for (const [i, one] of plain.entries()) if ((checked[i] as number) <= SLOW * Math.min(...checked)) addPlain(one)
        for (let round = 0; round < options.rounds; ++round) {
          await quiet.settle()
          for (const { measure, samples } of measured.values()) samples.push(await measure())
        }
        for (const [label, { threads, samples }] of measured) {
          results.series.push({ name: `${name}: ${label}`, unit: 'ms', samples: samples.map((s) => 1000 * s) })
          const about = {
            name: `${name}: ${label}`,
            operation: `${predictor}, ${label}`,
            ...shape,
            threads,
            item: 'missing link',
            items: missing,
          }
          results.rows.push(rowOf(about, samples))
        }
        const fastest = (kind: string) =>
          Math.min(
            ...[...measured].filter(([label]) => label.startsWith(kind)).map(([, { samples }]) => median(samples)),
          )
        const own = fastest('hebb, ')
        const goal = goals[name]
        if (goal) {
          const text =
            `<= ${goal.most}: ${own <= goal.most ? 'met' : 'missed'}; the authors' implementation took ` +
            `${goal.authors} on such a machine`
          results.figures.push({ name: `${name}: all scores in training`, unit: 's', value: own, goal: text })
        }
        if (plain.length > 0) {
          results.figures.push({ name: `${name}: plain form / hebb`, unit: 'x', value: fastest('plain') / own })
          results.figures.push({
            name: `${name}: plain form / predictLinks`,
            unit: 'x',
            value: fastest('plain') / fastest('hebb predictLinks'),
          })
        }
      } finally {
        for (const { scoring } of scorings) scoring.dispose()
      }
    }
  }
}

interface Point {
  /** Neurons a side, or the density in percent. */
  readonly at: number
  readonly links: number
  /** Seconds a call by each route, of each round. */
  readonly seconds: { readonly [route: string]: readonly number[] }
}

/** Both routes and the automatic one, in turns, at each of the shapes. */
async function sweep(
  what: 'size' | 'density',
  shapes: readonly Shape[],
  options: BenchOptions,
  device: Device,
  quiet: Quiet,
  results: Results,
): Promise<{ predictor: LinkPredictor; points: Point[] }[]> {
  const least = options.quick ? 0 : 0.02
  const { threads } = device.info
  const curves = SWEPT.map((predictor) => ({ predictor, points: [] as Point[] }))
  for (const shape of shapes) {
    const layer = layerOf(shape)
    const links = layer.columnIndices.length
    for (const { predictor, points } of curves) {
      progress(`predictors: growth with ${what}, ${predictor}, ${layerName(shape)}`)
      const scorings = ROUTES.map((route) => ({
        route,
        scoring: new Scoring(device, layer, predictor, route),
        samples: [] as number[],
      }))
      try {
        for (let round = -1; round < options.rounds; ++round) {
          if (round >= 0) await quiet.settle()
          for (const { scoring, samples } of scorings) {
            const taken = await scoring.measure(least)
            if (round >= 0) samples.push(taken)
          }
        }
      } finally {
        for (const { scoring } of scorings) scoring.dispose()
      }
      points.push({
        at: what === 'size' ? shape.rows : 100 * shape.density,
        links,
        seconds: Object.fromEntries(scorings.map(({ route, samples }) => [route, samples])),
      })
      for (const { route, samples } of scorings) {
        const operation = `${predictor}, growth with ${what}, ${route}`
        const items = shape.rows * shape.cols - links
        results.rows.push(
          rowOf(
            { name: `${operation}, ${layerName(shape)}`, operation, ...shape, threads, item: 'missing link', items },
            samples,
          ),
        )
      }
    }
  }
  return curves
}

const curveOf = (points: readonly Point[], route: PredictionRoute) =>
  points.map((p): [number, number] => [p.at, median(p.seconds[route] as number[])])

/** Lines of the two routes, and rings around what the automatic choice took. */
function plotted(curves: readonly { predictor: LinkPredictor; points: readonly Point[] }[]): PlotSeries[] {
  return curves.flatMap(({ predictor, points }) =>
    ROUTES.map(
      (route): PlotSeries => ({
        name: `${predictor}, ${route}`,
        points: curveOf(points, route),
        mark: route === 'auto' ? 'ring' : 'line',
      }),
    ),
  )
}

export async function predictors(options: BenchOptions): Promise<Report> {
  const { threads, quick, rounds } = options
  const counts = threads > 1 ? [1, threads] : [1]
  const python = pythonWithTorch()
  let plain = python ? counts.map((count) => new PlainForm(python, count)) : []
  const devices = counts.map((count) => new Device({ kind: 'cpu', threads: count }))
  const device = devices.at(-1) as Device
  const quiet = new Quiet(options)
  const results: Results = { series: [], figures: [], rows: [] }
  const notes: string[] = []
  let about: About | undefined
  try {
    try {
      for (const one of plain) about = await one.start()
    } catch (error) {
      notes.push(`PyTorch: ${(error as Error).message}`)
      await Promise.all(plain.map((one) => one.stop()))
      plain = []
    }
    let worst = 0
    if (plain[0]) {
      const layer = layerOf(CHECKED)
      await plain[0].take(layer)
      for (const predictor of linkPredictors) worst = Math.max(worst, await plain[0].check(layer, predictor))
    }
    await compare(options, devices, plain, quiet, results)
    await Promise.all(plain.map((one) => one.stop()))

    const square = (n: number, density: number): Shape => ({ rows: n, cols: n, density })
    const sizes = (quick ? QUICK_SIZES : SIZES).map((n) => square(n, SIZES_DENSITY))
    const fixed = quick ? QUICK_DENSITIES_SIZE : DENSITIES_SIZE
    const densities = (quick ? QUICK_DENSITIES : DENSITIES).map((density) => square(fixed, density))
    const bySize = await sweep('size', sizes, options, device, quiet, results)
    const byDensity = await sweep('density', densities, options, device, quiet, results)
    const said = [
      { what: 'neurons a side', curves: bySize },
      { what: 'density', curves: byDensity },
    ]
    for (const { what, curves } of said) {
      for (const { predictor, points } of curves) {
        for (const route of ROUTES) {
          results.figures.push({
            name: `${predictor}, ${route}: exponent of time with ${what}`,
            unit: '',
            value: fitPower(curveOf(points, route)).exponent,
          })
        }
        const lost = points.map(({ seconds }) => {
          const [sparse, dense, auto] = ROUTES.map((route) => median(seconds[route] as number[])) as [
            number,
            number,
            number,
          ]
          return auto / Math.min(sparse, dense)
        })
        results.figures.push({
          name: `${predictor}: automatic route / faster route, worst over ${what}`,
          unit: 'x',
          value: Math.max(...lost),
        })
      }
    }

    notes.push(
      `a time is that of scoring all missing links and choosing ${100 * GROWN}% as many as there are links by ` +
        'them, as an update does; links anywhere, none removed',
      'predictLinks runs at once on a device of its own, with all threads that the process may use, and lists ' +
        'every score for JavaScript',
    )
    if (about) {
      notes.push(
        `PyTorch ${about.torch}, BLAS: ${about.blas}; the faster of its thread counts counts, and one that ` +
          `takes over ${SLOW} times as long is left out`,
      )
      notes.push(
        `hebb's scores are the plain form's, relative difference at most ${worst.toExponential(1)} in a ` +
          `${CHECKED.rows} x ${CHECKED.cols} layer`,
      )
      if (!TUNED_BLAS.test(about.blas))
        notes.push('the ratio is not a fair one: this PyTorch has no tuned BLAS. apt install libopenblas0-pthread')
    } else if (!python) {
      notes.push(NOT_INSTALLED)
    }
    const subtitle = (of: string) => `${of}, ${threads} threads, median of ${rounds}; rings: the automatic choice`
    const plot = (title: string, of: string, x: string, curves: typeof bySize) =>
      logLogPlot({ title, subtitle: subtitle(of), x, y: 'seconds', series: plotted(curves) })
    return {
      ...results,
      files: {
        'predictors-size.svg': plot(
          'Scoring all missing links, by neurons',
          `${percent(SIZES_DENSITY)} of the links`,
          'neurons a side',
          bySize,
        ),
        'predictors-density.svg': plot(
          'Scoring all missing links, by density',
          `${fixed} x ${fixed}`,
          'links, % of the possible',
          byDensity,
        ),
      },
      details: { size: summary(bySize), density: summary(byDensity) },
      notes: [...notes, ...quiet.notes],
      ...(about && { versions: { torch: about.torch, blas: about.blas } }),
    }
  } finally {
    await Promise.all(plain.map((one) => one.stop()))
    for (const one of devices) one.dispose()
  }
}

function summary(curves: readonly { predictor: LinkPredictor; points: readonly Point[] }[]): object {
  return curves.map(({ predictor, points }) => ({
    predictor,
    points: points.map(({ at, links, seconds }) => ({
      at,
      links,
      medianSeconds: Object.fromEntries(Object.entries(seconds).map(([route, samples]) => [route, median(samples)])),
    })),
  }))
}
