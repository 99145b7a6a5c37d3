/**
 * How late a timer of 5 ms is while the paper's MNIST run trains, updates its topology and is evaluated: what a server
 * that trains would feel.
 */
import { setTimeout } from 'node:timers/promises'
import { mnist } from '../lib/data/index.js'
import { type BenchOptions, firstOf, progress, Quiet, type Report } from './measure.js'
import { BATCH, paperTrainer, trainingImages } from './step.js'

const INTERVAL = 5
/** Epochs a round, each but the last ones with a topology update before it and an evaluation after it. */
const EPOCHS = 3

/** Milliseconds by which each tick of a timer is late, until `run` is done. */
async function lateness(run: () => Promise<void>): Promise<number[]> {
  const late: number[] = []
  let last = performance.now()
  const timer = setInterval(() => {
    const now = performance.now()
    late.push(Math.max(0, now - last - INTERVAL))
    last = now
  }, INTERVAL)
  await run()
  clearInterval(timer)
  return late.sort((a, b) => a - b)
}

const quantile = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN

export async function responsiveness(options: BenchOptions): Promise<Report> {
  const { rounds, threads, quick } = options
  const data = await trainingImages(quick)
  const { test } = await mnist()
  const validation = quick ? firstOf(test, 320) : test
  const quiet = new Quiet(options)
  const [half, most, worst, idle]: [number[], number[], number[], number[]] = [[], [], [], []]
  for (let round = 0; round < rounds; ++round) {
    progress(`responsiveness: round ${round + 1} of ${rounds}`)
    await quiet.settle()
    idle.push(quantile(await lateness(() => setTimeout(quick ? 100 : 1000)), 0.99))
    const late = await lateness(async () => {
      using trainer = paperTrainer(threads)
      for await (const _ of trainer.fit(data, { epochs: EPOCHS, batchSize: BATCH, validation }));
    })
    half.push(quantile(late, 0.5))
    most.push(quantile(late, 0.99))
    worst.push(late.at(-1) ?? Number.NaN)
  }
  const name = `timer of ${INTERVAL} ms late while training`
  return {
    series: [
      { name: `${name}, median`, unit: 'ms', samples: half },
      { name: `${name}, 99th percentile`, unit: 'ms', samples: most },
      { name: `${name}, worst`, unit: 'ms', samples: worst },
      { name: `timer of ${INTERVAL} ms late while idle, 99th percentile`, unit: 'ms', samples: idle },
    ],
    figures: [{ name: 'worst 99th percentile of a round', unit: 'ms', value: Math.max(...most), goal: '<= 20' }],
    notes: [
      `from the trainer's making to its disposal, ${EPOCHS} epochs with updates and evaluations a round, ` +
        `${threads} threads`,
      ...quiet.notes,
    ],
  }
}
