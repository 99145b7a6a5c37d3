/**
 * A loop of the user's own over trainOn(), small batches on a small network: what a call costs beside its
 * arithmetic.
 */
import { mlp, sgd, Trainer } from '../lib/index.js'
import { type BenchOptions, median, progress, type Report } from './measure.js'

const WIDTHS = [64, 64, 10]
const BATCH = 32

/** Calls a second. */
async function rate(trainer: Trainer, calls: number): Promise<number> {
  const x = Float32Array.from({ length: BATCH * (WIDTHS[0] as number) }, (_, i) => Math.sin(i))
  const y = Int32Array.from({ length: BATCH }, (_, i) => i % 10)
  const start = performance.now()
  for (let i = 0; i < calls; ++i) await trainer.trainOn({ x, y })
  return (1000 * calls) / (performance.now() - start)
}

export async function loop({ threads, quick }: BenchOptions): Promise<Report> {
  progress('loop: trainOn()')
  using trainer = new Trainer(mlp({ widths: WIDTHS, density: 0.1 }), {
    optimizer: sgd({ learningRate: 0.01 }),
    device: { kind: 'cpu', threads },
  })
  const calls = quick ? 50 : 2000
  await rate(trainer, calls)
  const samples: number[] = []
  for (let i = 0; i < (quick ? 1 : 9); ++i) samples.push(await rate(trainer, calls))
  return {
    series: [],
    figures: [{ name: `trainOn(), ${WIDTHS.join('-')}, batch ${BATCH}`, unit: 'calls/s', value: median(samples) }],
    notes: [`the median of ${samples.length} runs of ${calls} calls, one after the other`],
  }
}
