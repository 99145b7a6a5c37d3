/**
 * The epoch alone, and beside another process that keeps as many threads busy: threads that wait must give the
 * processor away. In turns.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { type BenchOptions, median, progress, Quiet, type Report } from './measure.js'
import { BATCH, paperTrainer, trainingImages } from './step.js'

const BUSY_THREADS = 2
const BURN = `
const { Worker } = require('node:worker_threads')
let started = 0
for (let i = 0; i < ${BUSY_THREADS}; ++i) {
  const worker = new Worker("require('node:worker_threads').parentPort.postMessage(0); for (;;);", { eval: true })
  worker.once('message', () => ++started === ${BUSY_THREADS} && console.log('busy'))
}`

/** A process that burns until it is stopped. */
async function burn(): Promise<() => Promise<void>> {
  const child = spawn(process.execPath, ['-e', BURN], { stdio: ['ignore', 'pipe', 'inherit'] })
  // Whatever ends this process ends that one.
  const kill = () => void child.kill('SIGKILL')
  process.once('exit', kill)
  await Promise.race([
    once(child.stdout, 'data'),
    once(child, 'exit').then(() => {
      throw new Error('The busy process ended too early')
    }),
  ])
  return async () => {
    process.off('exit', kill)
    const exited = once(child, 'exit')
    kill()
    await exited
  }
}

export async function contention(options: BenchOptions): Promise<Report> {
  const { rounds, threads, quick } = options
  const data = await trainingImages(quick)
  const quiet = new Quiet(options)
  const alone: number[] = []
  const beside: number[] = []
  using trainer = paperTrainer(threads)
  const epochs = trainer.fit(data, { epochs: 1 + 2 * rounds, batchSize: BATCH })
  const seconds = async () => (await epochs.next()).value?.seconds ?? Number.NaN
  await seconds()
  for (let round = 0; round < rounds; ++round) {
    progress(`contention: alone, round ${round + 1} of ${rounds}`)
    await quiet.settle()
    alone.push(await seconds())
    progress(`contention: beside a busy process, round ${round + 1} of ${rounds}`)
    const stop = await burn()
    try {
      beside.push(await seconds())
    } finally {
      await stop()
    }
  }
  return {
    series: [
      {
        name: `epoch of ${data.samples.toLocaleString('en-US')} images alone, ${threads} threads`,
        unit: 's',
        samples: alone,
      },
      { name: `epoch beside a process of ${BUSY_THREADS} busy threads`, unit: 's', samples: beside },
    ],
    figures: [{ name: 'beside / alone', unit: 'x', value: median(beside) / median(alone), goal: '<= 3' }],
    notes: quiet.notes,
  }
}
