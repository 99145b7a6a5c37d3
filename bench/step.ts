/**
 * A training step and an epoch of the paper's MNIST network at 1% of the links, through the public API; beside it, in turns, the same network in
 * PyTorch with masks.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { mnist } from '../lib/data/index.js'
import { chts, type Dataset, mlp, sgd, Trainer } from '../lib/index.js'
import { type BenchOptions, firstOf, median, pause, progress, type Report } from './measure.js'

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

/** A Python that can import torch: HEBB_PYTHON, or the first that is found. */
function pythonWithTorch(): string | undefined {
  const candidates = process.env.HEBB_PYTHON ? [process.env.HEBB_PYTHON] : ['python3', '/usr/bin/python3']
  return candidates.find((python) => spawnSync(python, ['-c', 'import torch'], { stdio: 'ignore' }).status === 0)
}

/** PyTorch in a process of its own, which sleeps between measurements. */
class MaskedPeer {
  readonly version: string
  readonly blas: string
  readonly cores: number
  readonly #process: ChildProcess
  readonly #lines: AsyncIterator<string>

  private constructor(process: ChildProcess, lines: AsyncIterator<string>, hello: { torch: string; blas: string; cores: number }) {
    this.#process = process
    this.#lines = lines
    this.version = hello.torch
    this.blas = hello.blas
    this.cores = hello.cores
  }

  static async start(python: string, data: Dataset): Promise<MaskedPeer> {
    const script = fileURLToPath(new URL('peers/masked_mlp.py', import.meta.url))
    const child = spawn(python, [script], { stdio: ['pipe', 'pipe', 'inherit'] })
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
    child.stdin.on('error', () => {}) // a process that ended is reported where its answer is missing
    const { samples, scale, shift } = data
    const setup = { widths: WIDTHS, density: DENSITY, batch: BATCH, learningRate: LEARNING_RATE, samples, scale, shift }
    child.stdin.write(`${JSON.stringify(setup)}\n`)
    child.stdin.write(data.x as Uint8Array)
    child.stdin.write(Uint8Array.from(data.labels as Int32Array))
    return new MaskedPeer(child, lines, JSON.parse(await MaskedPeer.#next(lines)))
  }

  static async #next(lines: AsyncIterator<string>): Promise<string> {
    const { value, done } = await lines.next()
    if (done) throw new Error('The PyTorch process ended without an answer')
    return value
  }

  /** Milliseconds a step. */
  async measure(threads: number, steps: number, warmup: number): Promise<number> {
    this.#process.stdin?.write(`${JSON.stringify({ threads, steps, warmup })}\n`)
    const { seconds } = JSON.parse(await MaskedPeer.#next(this.#lines)) as { seconds: number }
    return (1000 * seconds) / steps
  }

  async stop(): Promise<void> {
    if (this.#process.exitCode !== null) return
    this.#process.stdin?.end()
    await once(this.#process, 'exit')
  }
}

async function startPeer(data: Dataset): Promise<MaskedPeer | string> {
  const python = pythonWithTorch()
  if (!python) return NOT_INSTALLED
  try {
    return await MaskedPeer.start(python, data)
  } catch (error) {
    return `PyTorch: ${(error as Error).message}`
  }
}

export async function step(options: BenchOptions): Promise<Report> {
  const { rounds, threads, quick } = options
  const data = await trainingImages(quick)
  const started = await startPeer(data)
  const peer = typeof started === 'string' ? undefined : started
  const peerThreads = peer ? [...new Set([1, peer.cores])] : []
  const peerSteps = new Map(peerThreads.map((n) => [n, [] as number[]]))
  const stepMs: number[] = []
  const epochSeconds: number[] = []
  const updateMs: number[] = []
  try {
    using trainer = paperTrainer(threads)
    const epochs = trainer.fit(data, { epochs: WARM_UP + rounds, batchSize: BATCH })
    const steps = Math.ceil(data.samples / BATCH)
    for (let round = -WARM_UP; round < rounds; ++round) {
      progress(`step: hebb, round ${Math.max(0, round + 1)} of ${rounds}`)
      // Threads of the other process may spin for a while after their work.
      if (peer) await pause(200)
      const { value: epoch, done } = await epochs.next()
      if (done) break
      if (round < 0) continue
      epochSeconds.push(epoch.seconds)
      stepMs.push((1000 * epoch.seconds) / steps)
      // No update lies before the last epochs of a run.
      if (epoch.updateSeconds > 0) updateMs.push(1000 * epoch.updateSeconds)
      for (const [n, samples] of peerSteps) {
        progress(`step: PyTorch with ${n} thread${n > 1 ? 's' : ''}, round ${round + 1} of ${rounds}`)
        samples.push(await peer!.measure(n, quick ? 2 : 30, quick ? 1 : 5))
      }
    }
  } finally {
    await peer?.stop()
  }

  const fastest = [...peerSteps.values()].sort((a, b) => median(a) - median(b))[0]
  const peerName = (n: number) => `PyTorch with masks, ${n} thread${n > 1 ? 's' : ''}, a step`
  return {
    series: [
      { name: `hebb, ${threads} threads, a step`, unit: 'ms', samples: stepMs },
      { name: `hebb, epoch of ${data.samples.toLocaleString('en-US')} images`, unit: 's', samples: epochSeconds },
      { name: 'hebb, topology update of all layers', unit: 'ms', samples: updateMs },
      ...[...peerSteps].map(([n, samples]) => ({ name: peerName(n), unit: 'ms', samples })),
    ],
    figures: fastest ? [{ name: 'a step in PyTorch / in hebb', unit: 'x', value: median(fastest) / median(stepMs) }] : [],
    notes: [
      `${WIDTHS.join('-')}, density ${DENSITY}, batch ${BATCH}; a step includes gathering its batch, in both`,
      peer ? `PyTorch ${peer.version}, BLAS: ${peer.blas}; the thread count that was faster counts` : (started as string),
    ],
    ...(peer && { versions: { torch: peer.version, blas: peer.blas } }),
  }
}
