/**
 * Beam search over a Transformer with random weights: translations as long as real ones, whatever their words. A
 * thousand sentences of some 14 tokens, in batches of several sizes, measured in turns.
 */
import { Search, sgd, Trainer, type Transformer, transformer } from '../lib/index.js'
import { type BenchOptions, median, progress, type Report } from './measure.js'

const WORDS = 4000
const SHAPE = { features: 256, hidden: 512, heads: 8, encoderLayers: 3, decoderLayers: 3 }
const LENGTH = 15

export async function search({ threads, rounds, quick }: BenchOptions): Promise<Report> {
  progress('search: translate()')
  const words = quick ? 50 : WORDS
  const model = transformer({ sourceWords: words, targetWords: words, ...SHAPE })
  using trainer = new Trainer(model, {
    optimizer: sgd({ learningRate: 0.01 }),
    device: { kind: 'cpu', threads },
  })
  await trainer.measures()
  const sources = Array.from({ length: quick ? 4 : 1000 }, (_, i) =>
    Int32Array.from({ length: 6 + ((i * 7) % 17) }, (_, k) => (i * 31 + k * 7919) % words),
  )
  const sizes = quick ? [2048] : [512, 2048, 8192]
  const samples = sizes.map((): number[] => [])
  const kept = sizes.map(() => 0)
  for (let round = 0; round < (quick ? 1 : rounds); ++round) {
    for (const [i, batchTokens] of sizes.entries()) {
      const before = trainer.device.memory().bytes
      using one = new Search(trainer.device, model.modules[0] as Transformer, { begin: 1, end: 2 })
      const start = performance.now()
      await one.translate(sources, { beam: 2, maxLength: LENGTH, batchTokens })
      samples[i]?.push((performance.now() - start) / 1000)
      kept[i] = (trainer.device.memory().bytes - before) / 1e6
    }
  }
  const name = (i: number) => `translate(), ${sources.length} sentences, batches of ${sizes[i]} tokens`
  return {
    series: samples.map((all, i) => ({ name: name(i), unit: 's', samples: all })),
    figures: samples.flatMap((all, i) => [
      { name: name(i), unit: 'sentences/s', value: sources.length / median(all) },
      { name: `memory, batches of ${sizes[i]} tokens`, unit: 'MB', value: kept[i] as number },
    ]),
    notes: [
      `beam 2, ${LENGTH} tokens each, ${words} words, ${SHAPE.features} wide, FF ${SHAPE.hidden}, ` +
        `${SHAPE.encoderLayers} + ${SHAPE.decoderLayers} layers; recording included`,
    ],
  }
}
