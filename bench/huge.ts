/**
 * Layers that no dense method could hold, against the targets for two cores: 65,536 x 65,536 with 16 links a neuron and
 * 2^20 x 2^20 with 10. Each is trained in a process of its own by CHTs, CH2-L3n (batch 32, SGD with momentum, a small
 * dense layer on top), so that the process's peak memory is that of the training. A round is one process.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { chts, dataset, mlp, type SparseParameter, sgd, Trainer } from '../lib/index.js'
import { type BenchOptions, type Figure, median, milliseconds, progress, type Report, type Series } from './measure.js'
import { LayerUpdate, PARTS, type Part } from './update.js'

interface Shape {
  readonly width: number
  readonly linksPerNeuron: number
  /** Seconds, seconds, MiB. */
  readonly goals: { readonly initialisation?: number; readonly update: number; readonly resident: number }
}

const SHAPES: readonly Shape[] = [
  { width: 65_536, linksPerNeuron: 16, goals: { initialisation: 10, update: 30, resident: 1024 } },
  { width: 2 ** 20, linksPerNeuron: 10, goals: { update: 120, resident: 6144 } },
]
const QUICK: readonly Shape[] = [{ width: 4096, linksPerNeuron: 8, goals: { update: 30, resident: 1024 } }]

const BATCH = 32
const STEPS = 4
const EPOCHS = 3
const CLASSES = 10

interface Job {
  readonly width: number
  readonly linksPerNeuron: number
  readonly threads: number
}

/** What one process measured: milliseconds and bytes. */
interface Measured {
  /** The Trainer's constructor, which keeps the event loop waiting, and then the weights. */
  readonly blocking: number
  readonly initialisation: number
  readonly step: number
  readonly update: number
  readonly parts: Record<Part, number>
  readonly native: number
  readonly resident: number
}

async function measure({ width, linksPerNeuron, threads }: Job): Promise<Measured> {
  const samples = STEPS * BATCH
  const x = new Uint8Array(samples * width)
  for (let i = 0; i < x.length; ++i) x[i] = (Math.imul(i, 2654435761) >>> 16) & 255
  const y = Int32Array.from({ length: samples }, (_, i) => i % CLASSES)
  const data = dataset({
    x,
    y,
    shape: [width],
    classes: CLASSES,
    normalise: { mean: 0.5, deviation: 0.25 },
    name: 'bytes',
  })
  const start = performance.now()
  using trainer = new Trainer(mlp({ widths: [width, width, CLASSES], density: linksPerNeuron / width }), {
    optimizer: sgd({ learningRate: 1e-3, momentum: 0.9, weightDecay: 5e-4 }),
    dst: chts(),
    device: { kind: 'cpu', threads },
  })
  const blocking = performance.now() - start
  await trainer.measures()
  const initialisation = performance.now() - start
  const steps: number[] = []
  const updates: number[] = []
  for await (const epoch of trainer.fit(data, { epochs: EPOCHS, batchSize: BATCH })) {
    steps.push((1000 * epoch.seconds) / STEPS)
    if (epoch.updateSeconds > 0) updates.push(1000 * epoch.updateSeconds)
  }
  const native = trainer.memory().peakBytes
  const resident = process.resourceUsage().maxRSS * 1024
  const parameter = trainer.model.sparse[0] as SparseParameter
  const layer = new LayerUpdate(trainer, parameter, parameter.capacity)
  const begin = layer.next()
  const parts = {} as Record<Part, number>
  for (const part of PARTS) parts[part] = await milliseconds(() => layer.parts[part].replay(1, { begin }))
  return { blocking, initialisation, step: median(steps.slice(1)), update: median(updates), parts, native, resident }
}

/** Measures in a new process. */
async function inProcess(job: Job): Promise<Measured> {
  const child = fork(fileURLToPath(import.meta.url), { execArgv: ['--import', 'tsx'] })
  child.send(job)
  const ended = once(child, 'exit').then(([code]) =>
    Promise.reject(new Error(`The process of a huge layer ended with ${code}`)),
  )
  const [measured] = (await Promise.race([once(child, 'message'), ended])) as [Measured]
  ended.catch(() => {})
  return measured
}

export async function huge(options: BenchOptions): Promise<Report> {
  const { rounds, threads, quick } = options
  const series: Series[] = []
  const figures: Figure[] = []
  for (const { width, linksPerNeuron, goals } of quick ? QUICK : SHAPES) {
    const name = `${width.toLocaleString('en-US')} wide, ${linksPerNeuron} links a neuron`
    const runs: Measured[] = []
    for (let round = 0; round < rounds; ++round) {
      progress(`huge: ${name}, ${round + 1} of ${rounds}`)
      runs.push(await inProcess({ width, linksPerNeuron, threads }))
    }
    const add = (what: string, samples: number[], unit = 'ms') =>
      series.push({ name: `${name}: ${what}`, unit, samples })
    add(
      'initialisation',
      runs.map((run) => run.initialisation),
    )
    add(
      '  of it blocking the event loop',
      runs.map((run) => run.blocking),
    )
    add(
      'step',
      runs.map((run) => run.step),
    )
    add(
      'update, and ITOP history',
      runs.map((run) => run.update),
    )
    for (const part of PARTS) {
      add(
        `  ${part}`,
        runs.map((run) => run.parts[part]),
      )
    }
    const mib = (bytes: number[]) => Math.max(...bytes) / 2 ** 20
    const figure = (what: string, unit: string, value: number, goal?: number) =>
      figures.push({ name: `${name}: ${what}`, unit, value, ...(goal !== undefined && { goal: `< ${goal}` }) })
    figure('initialisation', 's', median(runs.map((run) => run.initialisation)) / 1000, goals.initialisation)
    figure('update', 's', median(runs.map((run) => run.update)) / 1000, goals.update)
    figure('peak native memory', 'MiB', mib(runs.map((run) => run.native)))
    figure('peak resident memory of the process', 'MiB', mib(runs.map((run) => run.resident)), goals.resident)
  }
  return {
    series,
    figures,
    notes: [`CHTs, CH2-L3n, 30% replaced; batch ${BATCH}, SGD with momentum; a process for each round`],
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  process.once('message', async (job: Job) => {
    const measured = await measure(job)
    process.send?.(measured, () => process.disconnect())
  })
}
