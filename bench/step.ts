/**
 * A training step and an epoch of the paper's MNIST network at 1% of the links, through the public API; beside it, in turns, the same network in
 * PyTorch with masks.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { availableParallelism } from 'node:os'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { mnist } from '../lib/data/index.js'
import { chts, type Dataset, mlp, sgd, Trainer } from '../lib/index.js'
import { type BenchOptions, firstOf, median, progress, Quiet, type Report } from './measure.js'

export const WIDTHS = [784, 1568, 1568, 1568, 10]
export const DENSITY = 0.01
export const BATCH = 32
export const LEARNING_RATE = 0.025
/** Epochs before the first sample: caches, page tables and clock rates settle. */
const WARM_UP = 1

export async function trainingImages(quick: boolean): Promise<Dataset> {
  const { train } = await mnist()
  return quick ? firstOf(train, 1920) : train
}

/** A trainer of the paper's MLP by CHTs. */
export function paperTrainer(threads: number): Trainer {
  return new Trainer(mlp({ widths: WIDTHS, density: DENSITY }), {
    optimizer: sgd({ learningRate: LEARNING_RATE, momentum: 0.9, weightDecay: 5e-4 }),
    dst: chts(),
    device: { kind: 'cpu', threads },
  })
}

const NOT_INSTALLED = 'PyTorch: not installed (apt install python3-torch)'
/** Matrix libraries that are tuned for the processor. Without one PyTorch runs the reference BLAS, and a ratio to it says little about hebb. */
const TUNED_BLAS = /openblas|mkl|blis|atlas|accelerate|armpl|nvpl/i

/** A Python that can import torch: HEBB_PYTHON, or the first that is found. */
function pythonWithTorch(): string | undefined {
  const candidates = process.env.HEBB_PYTHON ? [process.env.HEBB_PYTHON] : ['python3', '/usr/bin/python3']
  return candidates.find((python) => spawnSync(python, ['-c', 'import torch'], { stdio: 'ignore' }).status === 0)
}

/** PyTorch in a process of its own, which sleeps between measurements. Its own loops and its matrix library count their threads apart. */
class MaskedPeer {
  readonly name: string
  readonly samples: number[] = []
  readonly #process: ChildProcess
  readonly #lines: AsyncIterator<string>
  #about: { torch: string; blas: string; gflops: number } = { torch: '', blas: '', gflops: Number.NaN }

  constructor(python: string, threads: number, blasThreads: number) {
    this.name = `PyTorch with masks, threads: ${threads}, in BLAS: ${blasThreads}`
    const script = fileURLToPath(new URL('peers/masked_mlp.py', import.meta.url))
    const n = String(blasThreads)
    const env = { ...process.env, OMP_NUM_THREADS: n, OPENBLAS_NUM_THREADS: n, MKL_NUM_THREADS: n, BLIS_NUM_THREADS: n }
    const child = spawn(python, [script], { stdio: ['pipe', 'pipe', 'inherit'], env })
    child.on('error', () => {}) // and where it does not start or ends, its answer is missing
    child.stdin.on('error', () => {})
    this.#process = child
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  }

  get about(): { torch: string; blas: string; gflops: number } {
    return this.#about
  }

  async prepare(data: Dataset, threads: number): Promise<this> {
    const { samples, scale, shift } = data
    const setup = { widths: WIDTHS, density: DENSITY, batch: BATCH, learningRate: LEARNING_RATE, samples, scale, shift, threads }
    this.#process.stdin?.write(`${JSON.stringify(setup)}\n`)
    this.#process.stdin?.write(data.x as Uint8Array)
    this.#process.stdin?.write(Uint8Array.from(data.labels as Int32Array))
    this.#about = await this.#answer()
    return this
  }

  /** Milliseconds a step, over about so many seconds. */
  async measure(seconds: number, warmup: number): Promise<void> {
    this.#process.stdin?.write(`${JSON.stringify({ seconds, warmup })}\n`)
    const taken = await this.#answer<{ seconds: number; steps: number }>()
    this.samples.push((1000 * taken.seconds) / taken.steps)
  }

  async stop(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return
    const exited = once(this.#process, 'exit')
    this.#process.kill()
    await exited
  }

  async #answer<T>(): Promise<T> {
    const { value, done } = await this.#lines.next()
    if (done) throw new Error('the process ended without an answer')
    return JSON.parse(value)
  }
}

/** Peers of one thread, of all, and with all in BLAS alone, as its products gain from a second thread more often than the rest does. */
async function startPeers(data: Dataset): Promise<MaskedPeer[]> {
  const python = pythonWithTorch()
  if (!python) throw new Error(NOT_INSTALLED)
  const all = availableParallelism()
  const peers: MaskedPeer[] = []
  try {
    for (const [threads, blasThreads] of all > 1 ? [[1, 1] as const, [1, all] as const, [all, all] as const] : [[1, 1] as const]) {
      // The reference BLAS has one thread.
      if (threads < blasThreads && peers[0] && !TUNED_BLAS.test(peers[0].about.blas)) continue
      const peer = new MaskedPeer(python, threads, blasThreads)
      peers.push(peer)
      await peer.prepare(data, threads)
    }
    return peers
  } catch (error) {
    await Promise.all(peers.map((peer) => peer.stop()))
    throw new Error(`PyTorch: ${(error as Error).message}`)
  }
}

export async function step(options: BenchOptions): Promise<Report> {
  const { rounds, threads, quick } = options
  const data = await trainingImages(quick)
  const notes = [`${WIDTHS.join('-')}, density ${DENSITY}, batch ${BATCH}; a step includes gathering its batch, in both`]
  const peers = await startPeers(data).catch((error: Error) => {
    notes.push(error.message)
    return []
  })
  const quiet = new Quiet()
  const stepMs: number[] = []
  const epochSeconds: number[] = []
  const updateMs: number[] = []
  try {
    using trainer = paperTrainer(threads)
    const epochs = trainer.fit(data, { epochs: WARM_UP + rounds, batchSize: BATCH })
    const steps = Math.ceil(data.samples / BATCH)
    for (let round = -WARM_UP; round < rounds; ++round) {
      progress(`step: hebb, round ${Math.max(0, round + 1)} of ${rounds}`)
      await quiet.settle()
      const { value: epoch, done } = await epochs.next()
      if (done) break
      if (round < 0) continue
      epochSeconds.push(epoch.seconds)
      stepMs.push((1000 * epoch.seconds) / steps)
      // No update lies before the last epochs of a run.
      if (epoch.updateSeconds > 0) updateMs.push(1000 * epoch.updateSeconds)
      for (const peer of peers) {
        progress(`step: ${peer.name}, round ${round + 1} of ${rounds}`)
        await quiet.settle()
        await peer.measure(quick ? 0 : 1.5, quick ? 1 : 3)
      }
    }
  } finally {
    await Promise.all(peers.map((peer) => peer.stop()))
  }

  const fastest = [...peers].sort((a, b) => median(a.samples) - median(b.samples))[0]
  const tuned = fastest && TUNED_BLAS.test(fastest.about.blas)
  if (fastest) {
    const { torch, blas, gflops } = fastest.about
    notes.push(`PyTorch ${torch}, BLAS: ${blas}, ${gflops.toFixed(1)} GFLOP/s in a hidden layer's dense product; the fastest of its thread counts counts`)
    if (!tuned)
      notes.push('the ratio is not a fair one: this PyTorch has no tuned BLAS and spends its step in the reference one. apt install libopenblas0-pthread')
  }
  return {
    series: [
      { name: `hebb, ${threads} threads, a step`, unit: 'ms', samples: stepMs },
      { name: `hebb, epoch of ${data.samples.toLocaleString('en-US')} images`, unit: 's', samples: epochSeconds },
      { name: 'hebb, topology update of all layers', unit: 'ms', samples: updateMs },
      ...peers.map(({ name, samples }) => ({ name, unit: 'ms', samples })),
    ],
    figures: fastest
      ? [{ name: `a step in PyTorch / in hebb${tuned ? '' : ' (UNFAIR: reference BLAS)'}`, unit: 'x', value: median(fastest.samples) / median(stepMs) }]
      : [],
    notes: [...notes, ...quiet.notes],
    ...(fastest && { versions: { torch: fastest.about.torch, blas: fastest.about.blas } }),
  }
}
