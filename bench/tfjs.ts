/**
 * A training step of the paper's MNIST network beside TensorFlow.js, what a program in JavaScript would train with
 * otherwise: by its WebAssembly and its JavaScript backend, which need no native library either. TensorFlow.js has no
 * sparse layers, so it trains the fully connected network; hebb does both. In turns, in one run.
 */
import { spawnSync } from 'node:child_process'
import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { dense, mlp, sgd, Trainer } from '../lib/index.js'
import { type BenchOptions, firstOf, median, progress, Quiet, type Report, root } from './measure.js'
import { LineProcess } from './python.js'
import { BATCH, LEARNING_RATE, paperTrainer, trainingImages, WIDTHS } from './step.js'

const VERSION = '4.22.0'
const PACKAGES = ['@tensorflow/tfjs', '@tensorflow/tfjs-backend-wasm'].map((name) => `${name}@${VERSION}`)
/** Images of an epoch of the fully connected network, and what TensorFlow.js draws from. */
const SAMPLES = 3200

class Peer {
  name: string
  readonly samples: number[] = []
  readonly #process: LineProcess

  constructor(folder: string, name: string) {
    this.name = name
    this.#process = new LineProcess(process.execPath, [join(folder, 'tfjs.mjs')])
  }

  async prepare(backend: string, threads: number): Promise<void> {
    const training = { widths: WIDTHS, batch: BATCH, samples: SAMPLES, learningRate: LEARNING_RATE, momentum: 0.9 }
    this.#process.send({ backend, threads, ...training })
    const { threads: taken } = await this.#process.answer<{ threads: number }>()
    this.name += `, ${taken} ${taken === 1 ? 'thread' : 'threads'}`
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

/** Installs TensorFlow.js. What was wrong, if something was. */
async function install(folder: string): Promise<string | undefined> {
  await writeFile(join(folder, 'package.json'), '{ "private": true }')
  await copyFile(join(root, 'bench/peers/tfjs.mjs'), join(folder, 'tfjs.mjs'))
  const flags = ['--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error']
  const { status, stderr } = spawnSync('npm', ['install', ...flags, ...PACKAGES], { cwd: folder, encoding: 'utf8' })
  return status === 0 ? undefined : `TensorFlow.js: npm could not install it. ${String(stderr).split('\n')[0]}`
}

export async function tfjs(options: BenchOptions): Promise<Report> {
  const { rounds, threads, quick } = options
  const folder = await mkdtemp(join(tmpdir(), 'hebb-tfjs-'))
  const peers: Peer[] = []
  const quiet = new Quiet(options)
  const [sparse, full]: [number[], number[]] = [[], []]
  try {
    progress('tfjs: npm install')
    const wrong = await install(folder)
    if (wrong) return { series: [], figures: [], notes: [wrong] }
    for (const [backend, name] of [
      ['wasm', 'WebAssembly'],
      ['cpu', 'JavaScript'],
    ] as const) {
      const peer = new Peer(folder, `TensorFlow.js ${VERSION}, ${name} backend, a step`)
      peers.push(peer)
      await peer.prepare(backend, threads)
    }
    const data = await trainingImages(quick)
    const few = firstOf(data, Math.min(SAMPLES, data.samples))
    using paper = paperTrainer(threads)
    using connected = new Trainer(mlp({ widths: WIDTHS, density: 1 }), {
      optimizer: sgd({ learningRate: LEARNING_RATE, momentum: 0.9 }),
      dst: dense(),
      device: { kind: 'cpu', threads },
    })
    const epochs = { epochs: rounds + 1, batchSize: BATCH }
    const runs = [
      { epochs: paper.fit(data, epochs), steps: Math.ceil(data.samples / BATCH), samples: sparse },
      { epochs: connected.fit(few, epochs), steps: Math.ceil(few.samples / BATCH), samples: full },
    ]
    // The first round is for caches, compilers and clock rates, and does not count.
    for (let round = 0; round <= rounds; ++round) {
      for (const { epochs, steps, samples } of runs) {
        progress(`tfjs: hebb, round ${round} of ${rounds}`)
        await quiet.settle()
        const { value: epoch, done } = await epochs.next()
        if (!done && round > 0) samples.push((1000 * epoch.seconds) / steps)
      }
      for (const peer of peers) {
        progress(`${peer.name}, round ${round} of ${rounds}`)
        await quiet.settle()
        await peer.measure(quick ? 0 : 2, round === 0 ? 1 : 0)
        if (round === 0) peer.samples.length = 0
      }
    }
  } finally {
    await Promise.all(peers.map((peer) => peer.stop()))
    await rm(folder, { recursive: true })
  }
  const fastest = Math.min(...peers.map(({ samples }) => median(samples)))
  return {
    series: [
      { name: `hebb, 1% of the links, ${threads} threads, a step`, unit: 'ms', samples: sparse },
      { name: `hebb, all links (dense()), ${threads} threads, a step`, unit: 'ms', samples: full },
      ...peers.map(({ name, samples }) => ({ name, unit: 'ms', samples })),
    ],
    figures: [
      { name: 'a step of the faster backend / of hebb at 1%', unit: 'x', value: fastest / median(sparse) },
      { name: 'a step of the faster backend / of hebb with all links', unit: 'x', value: fastest / median(full) },
    ],
    notes: [
      `${WIDTHS.join('-')}, batch ${BATCH}, SGD with momentum, gathering included, in all; tfjs-node, which ` +
        'binds the native TensorFlow, is not measured',
      ...quiet.notes,
    ],
    versions: { tfjs: VERSION },
  }
}
