/**
 * A batch that is computed in parts: the same sums and draws as of the whole, the memory of a part, and steps that are
 * whole or have not happened.
 */
import { expect } from 'chai'
import {
  Dropout,
  dataset,
  type LabelLoss,
  LayerNorm,
  Relu,
  Residual,
  rigl,
  Sequential,
  SparseLinear,
  sgd,
  Trainer,
  type TrainerOptions,
  updateSchedule,
} from '../lib/index.js'
import { at, expectRefusal, linksOf, numbers, places, random } from './support.js'

const FEATURES = 12
const CLASSES = 5

function model(dropout = 0.3): Sequential {
  const layer = (inFeatures: number, outFeatures: number) => new SparseLinear({ inFeatures, outFeatures, density: 0.4 })
  return new Sequential(
    [
      layer(FEATURES, 24),
      new Relu(),
      new Residual(
        new Sequential([new LayerNorm({ features: 24 }), layer(24, 24), new Dropout({ probability: dropout })]),
      ),
      layer(24, CLASSES),
    ],
    { seed: 3 },
  )
}

function samples(count: number, weighted = false) {
  const next = random(7)
  const labels = Array.from({ length: count }, () => Math.floor(CLASSES * next()))
  const weights = weighted ? Array.from({ length: count }, () => Math.floor(3 * next())) : undefined
  if (weighted) for (let i = 0; i < count; i += 5) labels[i] = -1
  return dataset({
    x: numbers(count * FEATURES, 8, -2, 2),
    y: labels,
    shape: [FEATURES],
    classes: CLASSES,
    weights,
    ...(weighted && { ignore: -1 }),
  })
}

const targets = (count: number, weighted: boolean) =>
  dataset({
    x: numbers(count * FEATURES, 8, -2, 2),
    y: numbers(count * CLASSES, 9),
    shape: [FEATURES],
    ...(weighted && { weights: Array.from({ length: count }, (_, i) => i % 3) }),
  })

type Made = { trainer: Trainer; weights: () => Promise<Float32Array[]> }
function made(place: string, options: Partial<TrainerOptions> = {}, network = model()): Made {
  const trainer = new Trainer(network, {
    optimizer: sgd({ learningRate: 0.5 }),
    device: at(place),
    ...options,
  })
  return { trainer, weights: () => Promise.all(network.parameters.map(({ values }) => values.read())) }
}

/** The sums of an epoch of one step: its loss, and what each weight has moved by. */
async function oneStep(place: string, data: ReturnType<typeof samples>, microBatchSize?: number, options = {}) {
  const { trainer, weights } = made(place, options)
  try {
    await trainer.measures() // the weights are there
    const before = await weights()
    let trainLoss = Number.NaN
    let trainAccuracy = Number.NaN
    const epochs = trainer.fit(data, { epochs: 1, batchSize: data.samples, microBatchSize })
    for await (const epoch of epochs) ({ trainLoss, trainAccuracy } = epoch)
    const after = await weights()
    trainer.dispose()
    expect(at(place).memory().buffers, 'nothing is left').to.equal(0)
    return {
      trainLoss,
      trainAccuracy,
      moves: after.map((values, i) => values.map((v, k) => v - (before[i] as Float32Array)[k])),
    }
  } finally {
    trainer.dispose()
  }
}

type Sums = Awaited<ReturnType<typeof oneStep>>
function expectSameSums(parts: Sums, whole: Sums, what: string): void {
  expect(parts.trainLoss, what).to.be.closeTo(whole.trainLoss, 1e-6 * Math.abs(whole.trainLoss))
  expect(parts.trainAccuracy, what).to.deep.equal(whole.trainAccuracy)
  for (const [i, moves] of whole.moves.entries()) {
    const largest = Math.max(...moves.map(Math.abs))
    const apart = moves.map((move, k) => Math.abs(move - (parts.moves[i] as Float32Array)[k]))
    // A move is the difference of two weights, each rounded to 2^-24 of it.
    expect(Math.max(...apart), `${what}: parameter ${i}`).to.be.at.most(3e-6 * largest + 4e-7)
    expect(largest, what).to.be.greaterThan(0)
  }
}

for (const place of places) {
  describe(`micro-batches at ${place}`, () => {
    for (const weighted of [false, true]) {
      const what = weighted ? ' with weights and ignored labels' : ''
      it(`sum up to the batch: 4 of 32${what}`, async () => {
        const data = samples(128, weighted)
        const whole = await oneStep(place, data)
        expectSameSums(await oneStep(place, data, 32), whole, 'labels')
        const clipped = { optimizer: sgd({ learningRate: 0.5, clipNorm: 0.01 }) }
        const small = await oneStep(place, data, undefined, clipped)
        expectSameSums(await oneStep(place, data, 32, clipped), small, 'clipped')
        const values = targets(128, weighted)
        expectSameSums(await oneStep(place, values, 32), await oneStep(place, values), 'targets')
      })
    }

    it('sum up where the last is shorter, and where there is but one', async () => {
      const data = samples(50)
      const whole = await oneStep(place, data)
      for (const size of [16, 48, 64]) expectSameSums(await oneStep(place, data, size), whole, `of ${size}`)
    })

    it('are empty where the last batch of an epoch ends before them', async () => {
      const data = samples(70) // a batch of 64 and one of 6
      const run = async (microBatchSize?: number) => {
        const { trainer } = made(place, { optimizer: sgd({ learningRate: 0.05 }) })
        const losses: number[] = []
        for await (const epoch of trainer.fit(data, { epochs: 3, batchSize: 64, microBatchSize }))
          losses.push(epoch.trainLoss)
        trainer.dispose()
        return losses
      }
      const [whole, parts] = [await run(), await run(16)]
      for (const [i, loss] of whole.entries()) expect(parts[i]).to.be.closeTo(loss, 1e-4 * loss)
    })

    it("are taken of the host's batches, too, and gradients for growth of all columns", async () => {
      const data = samples(40, true)
      const x = data.x as Float32Array
      const run = async (microBatchSize?: number) => {
        const dst = rigl({ updates: updateSchedule({ every: 2, until: 1, fraction: 0.3 }) })
        const { trainer } = made(place, { dst, optimizer: sgd({ learningRate: 0.1 }) })
        trainer.plan({ epochs: 1, stepsPerEpoch: 8 })
        const losses: number[] = []
        for (let step = 0; step < 5; ++step) {
          const count = step === 3 ? 17 : 40
          const [y, weights] = [data.labels, data.weights].map((of) => of?.slice(0, count))
          const batch = { x: x.slice(0, count * FEATURES), y: y as Int32Array, weights, ignore: -1 }
          losses.push(await trainer.trainOn(batch, { microBatchSize }))
        }
        const links: number[][] = []
        for (const layer of [0, 1, 2]) links.push([...(await linksOf(trainer, layer)).columnIndices])
        trainer.dispose()
        return { losses, links }
      }
      const [whole, parts] = [await run(), await run(16)]
      for (const [i, loss] of whole.losses.entries()) expect(parts.losses[i]).to.be.closeTo(loss, 1e-4 * loss)
      expect(parts.links).to.deep.equal(whole.links)
    })

    it('leave sums and weights as they were where a later part is not finite', async () => {
      const data = samples(64)
      const x = Float32Array.from(data.x)
      const { trainer, weights } = made(place, {}, model(0))
      const batch = { x, y: data.labels as Int32Array }
      const first = await trainer.trainOn(batch, { microBatchSize: 16 })
      const before = await weights()
      const bad = Float32Array.from(x, (v, i) => (i > 60 * FEATURES ? v * 1.5e38 : v))
      const error = await expectRefusal(
        () => trainer.trainOn({ ...batch, x: bad }, { microBatchSize: 16 }),
        'NON_FINITE',
        'the last part',
      )
      expect(error.message).to.contain('step 1')
      expect(await weights()).to.deep.equal(before)
      expect(await trainer.trainOn(batch, { microBatchSize: 16 })).to.be.lessThan(first)
      trainer.dispose()
    })

    it('may be of batches in which nothing counts, whose loss is 0', async () => {
      const data = samples(32)
      const { trainer, weights } = made(place, { optimizer: sgd({ learningRate: 0.5 }) })
      await trainer.measures()
      const before = await weights()
      const x = data.x as Float32Array
      const none = { x, y: new Int32Array(32).fill(-1), ignore: -1 }
      for (const microBatchSize of [undefined, 16]) expect(await trainer.trainOn(none, { microBatchSize })).to.equal(0)
      expect(await weights()).to.deep.equal(before)
      const nothing = dataset({ ...none, shape: [FEATURES], classes: CLASSES })
      await expectRefusal(() => trainer.evaluate(nothing), 'INVALID_ARGUMENT', 'a data set of which nothing counts')
      await expectRefusal(() => trainer.fit(nothing, { epochs: 1 }).next(), 'INVALID_ARGUMENT', 'to train on it')
      // Weights that are as small as numbers are.
      const tiny = { x, y: data.labels as Int32Array, weights: new Float32Array(32).fill(1e-41) }
      const one = await trainer.trainOn(tiny)
      expect(one).to.be.within(1, 3)
      expect((await weights()).every((values) => values.every(Number.isFinite))).to.equal(true)
      trainer.dispose()
    })

    it('follow labels with values, and a batch that there was no room for', async () => {
      const x = samples(20).x as Float32Array
      const [y, values] = [new Int32Array(20).fill(2), new Float32Array(20 * CLASSES).fill(0.5)]
      const { trainer } = made(place, { optimizer: sgd({ learningRate: 0 }) }, model(0))
      const fresh = made(place, { optimizer: sgd({ learningRate: 0 }) }, model(0)).trainer
      const squares = await fresh.trainOn({ x, y: values })
      fresh.dispose()
      const entropy = await trainer.trainOn({ x, y })
      expect(await trainer.trainOn({ x, y: values })).to.equal(squares)
      expect(await trainer.trainOn({ x, y })).to.equal(entropy)
      trainer.dispose()
      let fails = false
      const loss: LabelLoss = {
        targets: 'labels',
        record(tape, output, targets, sums) {
          if (fails) throw new Error('no room')
          const gradient = tape.gradient(output)?.gradient
          tape.record('softmaxCrossEntropy', { logits: output.activations, targets, gradient, ...sums })
        },
      }
      const own = made(place, { optimizer: sgd({ learningRate: 0 }), loss }, model(0)).trainer
      expect(await own.trainOn({ x, y })).to.equal(entropy)
      fails = true
      const two = { x: Float32Array.of(...x, ...x), y: Int32Array.of(...y, ...y) }
      expect(await own.trainOn(two).catch((error: Error) => error.message)).to.equal('no room')
      fails = false
      expect(await own.trainOn({ x, y })).to.equal(entropy)
      own.dispose()
      expect(at(place).memory().buffers, 'nothing is left').to.equal(0)
    })

    it("take a part's memory", async () => {
      const data = samples(1024)
      const run = async (microBatchSize?: number) => {
        const wide = new Sequential(
          Array.from({ length: 6 }, (_, i) => [
            new SparseLinear({
              inFeatures: i === 0 ? FEATURES : 64,
              outFeatures: i === 5 ? CLASSES : 64,
              density: 0.2,
            }),
            ...(i === 5 ? [] : [new Relu()]),
          ]).flat(),
          { seed: 1 },
        )
        const { trainer } = made(place, {}, wide)
        await trainer.measures()
        const before = trainer.memory().bytes
        await trainer.trainOn({ x: data.x as Float32Array, y: data.labels as Int32Array }, { microBatchSize })
        const bytes = trainer.memory().bytes - before
        trainer.dispose()
        return bytes
      }
      const [whole, parts] = [await run(), await run(64)]
      expect(parts).to.be.lessThan(whole / 8)
    })
  })
}

describe('micro-batches', () => {
  it('go on to the same bits after a checkpoint', async () => {
    const { mkdtemp, rm } = await import('node:fs/promises')
    const { tmpdir } = await import('node:os')
    const folder = await mkdtemp(`${tmpdir()}/hebb-`)
    const file = `${folder}/run.safetensors`
    const data = samples(100)
    const options = { epochs: 3, batchSize: 50, microBatchSize: 16 }
    const { trainer, weights } = made(places[0], {}, model())
    for await (const epoch of trainer.fit(data, options)) if (epoch.epoch === 1) await trainer.save(file)
    const straight = await weights()
    trainer.dispose()
    const resumed = await Trainer.load(file, { device: at(places[0]) })
    for await (const _ of resumed.resume(data)) {
    }
    const values = await Promise.all(resumed.model.parameters.map((parameter) => parameter.values.read()))
    resumed.dispose()
    await rm(folder, { recursive: true })
    expect(values).to.deep.equal(straight)
  })

  it('are of a multiple of 16', async () => {
    const { trainer } = made(places[0])
    const data = samples(20)
    const batch = { x: data.x as Float32Array, y: data.labels as Int32Array }
    for (const microBatchSize of [0, 8, 17, 1.5, Number.NaN])
      await expectRefusal(() => trainer.trainOn(batch, { microBatchSize }), 'INVALID_ARGUMENT', `${microBatchSize}`)
    await expectRefusal(
      () => trainer.fit(data, { epochs: 1, batchSize: 20, microBatchSize: 8 }).next(),
      'INVALID_ARGUMENT',
      'fit',
    )
    trainer.dispose()
  })
})
