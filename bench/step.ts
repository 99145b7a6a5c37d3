/**
 * A training step and an epoch of the paper's MNIST network at 1% of the links, through the public API; beside it, in
 * turns, the same network in PyTorch with masks.
 */
import { availableParallelism } from 'node:os'
import { mnist } from '../lib/data/index.js'
import { chts, type Dataset, mlp, sgd, Trainer } from '../lib/index.js'
import { type BenchOptions, firstOf, median, progress, Quiet, type Report } from './measure.js'
import { type About, NOT_INSTALLED, PythonProcess, pythonWithTorch, TUNED_BLAS } from './python.js'

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

/** The network in PyTorch. */
class MaskedPeer {
  readonly name: string
  readonly samples: number[] = []
  readonly #process: PythonProcess
  #about: About & { gflops: number } = { torch: '', blas: '', gflops: Number.NaN }

  constructor(python: string, threads: number, blasThreads: number) {
    this.name = `PyTorch with masks, threads: ${threads}, in BLAS: ${blasThreads}`
    this.#process = new PythonProcess(python, 'masked_mlp.py', blasThreads)
  }

  get about(): About & { gflops: number } {
    return this.#about
  }

  async prepare(data: Dataset, threads: number): Promise<this> {
    const { samples, scale, shift } = data
    this.#process.send({
      widths: WIDTHS,
      density: DENSITY,
      batch: BATCH,
      learningRate: LEARNING_RATE,
      samples,
      scale,
      shift,
      threads,
    })
    this.#process.sendBytes(data.x as Uint8Array)
    this.#process.sendBytes(Uint8Array.from(data.labels as Int32Array))
    this.#about = await this.#process.answer()
    return this
  }

  /** Milliseconds a step, over about so many seconds. */
  async measure(seconds: number, warmup: number): Promise<void> {
    this.#process.send({ seconds, warmup })
    const taken = await this.#process.answer<{ seconds: number; steps: number }>()
    this.samples.push((1000 * taken.seconds) / taken.steps)
  }

  stop(): Promise<void> {
    return this.#process.stop()
  }
}

/**
 * Peers of one thread, of all, and with all in BLAS alone, as its products gain from a second thread more often than
 * the rest does.
 */
async function startPeers(data: Dataset): Promise<MaskedPeer[]> {
  const python = pythonWithTorch()
  if (!python) throw new Error(NOT_INSTALLED)
  const all = availableParallelism()
  const peers: MaskedPeer[] = []
  try {
    for (const [threads, blasThreads] of all > 1
      ? [[1, 1] as const, [1, all] as const, [all, all] as const]
      : [[1, 1] as const]) {
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
  const notes = [
    `${WIDTHS.join('-')}, density ${DENSITY}, batch ${BATCH}; a step includes gathering its batch, in both`,
  ]
  const peers = await startPeers(data).catch((error: Error) => {
    notes.push(error.message)
    return []
  })
  const quiet = new Quiet(options)
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
    notes.push(
      `PyTorch ${torch}, BLAS: ${blas}, ${gflops.toFixed(1)} GFLOP/s in a hidden layer's dense product; the ` +
        'fastest of its thread counts counts',
    )
    if (!tuned)
      notes.push(
        'the ratio is not a fair one: this PyTorch has no tuned BLAS and spends its step in the reference one. ' +
          'apt install libopenblas0-pthread',
      )
  }
  return {
    series: [
      { name: `hebb, ${threads} threads, a step`, unit: 'ms', samples: stepMs },
      { name: `hebb, epoch of ${data.samples.toLocaleString('en-US')} images`, unit: 's', samples: epochSeconds },
      { name: 'hebb, topology update of all layers', unit: 'ms', samples: updateMs },
      ...peers.map(({ name, samples }) => ({ name, unit: 'ms', samples })),
    ],
    figures: fastest
      ? [
          {
            name: `a step in PyTorch / in hebb${tuned ? '' : ' (UNFAIR: reference BLAS)'}`,
            unit: 'x',
            value: median(fastest.samples) / median(stepMs),
          },
        ]
      : [],
    notes: [...notes, ...quiet.notes],
    ...(fastest && { versions: { torch: fastest.about.torch, blas: fastest.about.blas } }),
  }
}
