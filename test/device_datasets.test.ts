/** What trainers and predictors keep of data sets on a device: few of them, and no longer than the user has them. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect } from 'chai'
import { chts, type Dataset, dataset, load, mlp, sgd, stream, Trainer, transformer } from '../lib/index.js'
import { parallelLines, trainTokenizer } from '../lib/text/index.js'

const FEATURES = 64
const SAMPLES = 2000
const SET = 4 * FEATURES * SAMPLES // bytes

const made = (seed: number): Dataset =>
  dataset({
    x: Float32Array.from({ length: FEATURES * SAMPLES }, (_, i) => Math.sin(i * (seed + 1))),
    y: Int32Array.from({ length: SAMPLES }, (_, i) => (i * (seed + 3)) % 4),
    shape: [FEATURES],
    classes: 4,
  })
const trainerOf = (clipNorm?: number) =>
  new Trainer(mlp({ widths: [FEATURES, 16, 4], density: 0.3, seed: 1 }), {
    optimizer: sgd({ learningRate: 0.05, ...(clipNorm !== undefined && { clipNorm }) }),
    dst: chts(),
    device: 'cpu',
  })

describe('data sets on a device', () => {
  setFlagsFromString('--expose-gc')
  const gc = runInNewContext('gc') as () => void

  it('are few, however many are trained and evaluated on, all held by the user', async () => {
    const sets = Array.from({ length: 12 }, (_, seed) => made(seed))
    using trainer = trainerOf()
    const [first] = sets as [Dataset]
    for await (const _ of trainer.fit(first, { epochs: 1, batchSize: 100 }));
    const before = trainer.memory().bytes
    const expected = await trainer.evaluate(first)
    for (const set of sets) await trainer.evaluate(set)
    for (const set of sets) for await (const _ of trainer.fit(set, { epochs: 1, batchSize: 100, validation: first }));
    expect(trainer.memory().bytes - before).to.be.below(4.5 * SET)
    const folder = await mkdtemp(join(tmpdir(), 'hebb-sets-'))
    const file = join(folder, 'model.safetensors')
    using fresh = trainerOf()
    for await (const _ of fresh.fit(first, { epochs: 1, batchSize: 100 }));
    await fresh.save(file)
    using predictor = await load(file, { device: 'cpu' })
    for (const set of [...sets, ...sets]) await predictor.evaluate(set)
    expect(await predictor.evaluate(first)).to.deep.equal(expected)
    expect(predictor.memory().bytes).to.be.below(5.5 * SET)
    await rm(folder, { recursive: true })
  })

  it('stay for the run that trains on them: others between its steps change no bit', async () => {
    const [data, ...others] = Array.from({ length: 9 }, (_, seed) => made(seed)) as [Dataset, ...Dataset[]]
    const losses = []
    for (const between of [[], others]) {
      using trainer = trainerOf(1)
      for await (const { trainLoss, gradientNorm } of trainer.fit(data, { epochs: 4, batchSize: 100 })) {
        losses.push([trainLoss, gradientNorm])
        for (const other of between) await trainer.evaluate(other)
      }
    }
    expect(losses.slice(4)).to.deep.equal(losses.slice(0, 4))
  })

  it('leave with the object of the user, and what was asked of their last step stays', async () => {
    using trainer = trainerOf(1)
    await trainer.predict(new Float32Array(FEATURES * 256))
    const before = trainer.memory().bytes
    /** Trains and evaluates on what nobody has afterwards. */
    const use = async () => {
      const { x, labels } = made(7)
      const chunks = stream({
        ...{ samples: SAMPLES, chunk: 200, shape: [FEATURES], classes: 4 },
        read: (first, count) => ({
          x: x.slice(first * FEATURES, (first + count) * FEATURES) as Float32Array,
          y: (labels as Int32Array).slice(first, first + count),
        }),
      })
      for await (const _ of trainer.fit(chunks, { epochs: 1, batchSize: 100 }));
      for await (const _ of trainer.fit(made(3), { epochs: 2, batchSize: 100, validation: made(4) }));
      await trainer.evaluate(made(5))
    }
    await use()
    const norm = await trainer.gradientNorm()
    expect(norm).to.be.above(0)
    const most = performance.now() + 10_000
    while (trainer.memory().bytes > before + SET && performance.now() < most) {
      gc()
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    expect(trainer.memory().bytes).to.be.below(before + SET)
    expect(await trainer.gradientNorm()).to.equal(norm)
    await use()
  })

  it('orders of one text for batches of many sizes are few, too', async () => {
    const lines = Array.from({ length: 500 }, (_, i) => `one two ${i % 7}`)
    const tokenizer = await trainTokenizer(lines, { vocabulary: 300 })
    const text = await parallelLines(lines, lines, { tokenizer })
    const words = tokenizer.size
    const model = transformer({
      ...{ sourceWords: words, targetWords: words, features: 16, hidden: 16, heads: 2, density: 0.5 },
      ...{ encoderLayers: 1, decoderLayers: 1 },
    })
    using trainer = new Trainer(model, { optimizer: sgd({ learningRate: 0.1 }), device: 'cpu' })
    const buffers: number[] = []
    for (let batchSize = 60; batchSize < 75; ++batchSize) {
      for await (const _ of trainer.fit(text, { steps: 2, interval: 2, batchSize }));
      buffers.push(trainer.memory().buffers)
    }
    expect(buffers.at(-1)).to.equal(buffers[5])
  })
})
