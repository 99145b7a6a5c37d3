/** What a model knows of its data, and what predict() makes of raw inputs by it. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { csv, type Dataset, dataset, mnist, stream } from '../lib/data/index.js'
import { load, mlp, type Predictor, sgd, Trainer } from '../lib/index.js'
import { checkpoint } from './goldens.js'
import { expectRefusal, expectSameBits, numbers } from './support.js'
import { clusters, csvText } from './synthetic.js'

const NAMES = ['one', 'two', 'three']
const optimizer = sgd({ learningRate: 0.1 })

/** Bytes in three classes that have names. */
function named(): Dataset {
  const { x, labels } = clusters({ samples: 96, features: 12, classes: 3 })
  const normalise = { mean: [0.4, 0.5, 0.6], deviation: [0.2, 0.25, 0.3] }
  return dataset({ x, y: labels as Int32Array, shape: [3, 2, 2], classNames: NAMES, normalise })
}

async function trained(data: Dataset, { epochs = 2 } = {}): Promise<Trainer> {
  const model = mlp({ widths: [data.features, 16, data.classes], density: 0.5 })
  const trainer = new Trainer(model, { optimizer, device: { kind: 'cpu', threads: 1 } })
  for await (const _ of trainer.fit(data, { epochs, batchSize: 16 }));
  return trainer
}

describe('predict()', () => {
  let folder: string
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hebb-predict-'))
  })
  after(() => rm(folder, { recursive: true }))

  /** The trainer, the trainer from its file, and the predictor from it. */
  async function* all(trainer: Trainer): AsyncGenerator<Trainer | Predictor> {
    const file = join(folder, 'model.safetensors')
    yield trainer
    await trainer.save(file)
    using loaded = await Trainer.load(file, { device: 'cpu' })
    yield loaded
    using begun = await Trainer.from(file, { device: 'cpu' })
    yield begun
    using predictor = await load(file, { device: 'cpu' })
    yield predictor
  }

  it('scales bytes as in training, to the bits of the data set itself, and tells classes by name', async () => {
    const data = named()
    using trainer = await trained(data)
    const logits = await trainer.predict(data)
    for await (const model of all(trainer)) {
      expect(model.format).to.deep.equal({
        ...{ shape: [3, 2, 2], type: 'uint8', classNames: NAMES },
        inputs: { mean: [0.4, 0.5, 0.6], deviation: [0.2, 0.25, 0.3] },
      })
      expect(model.classes).to.deep.equal(NAMES)
      const raw = data.x as Uint8Array
      expectSameBits(await model.predict(raw), logits, 'raw')
      expectSameBits(await model.predict(raw, { raw: true, output: 'logits' }), logits, 'raw: true')
      const probabilities = await model.predict(raw, { output: 'probabilities' })
      const labels: string[] = await model.predict(raw, { output: 'labels' })
      expect(labels).to.deep.equal(await model.predict(data, { output: 'labels' }))
      for (let sample = 0; sample < data.samples; ++sample) {
        const own = Array.from(logits.subarray(3 * sample, 3 * sample + 3))
        const total = own.reduce((sum, logit) => sum + Math.exp(logit), 0)
        for (const [i, logit] of own.entries())
          expect(probabilities[3 * sample + i]).to.be.closeTo(Math.exp(logit) / total, 1e-6)
        expect(labels[sample]).to.equal(NAMES[own.indexOf(Math.max(...own))])
      }
      // What the network sees, made here.
      const seen = Float32Array.from(raw, (byte, i) => {
        const channel = Math.floor((i % 12) / 4)
        return (byte / 255 - [0.4, 0.5, 0.6][channel]) / [0.2, 0.25, 0.3][channel]
      })
      const byHand = await model.predict(seen, { raw: false })
      for (const [i, logit] of byHand.entries()) expect(logit).to.be.closeTo(logits[i], 1e-4)
    }
  })

  it('refuses inputs of which it cannot be told whether they are scaled', async () => {
    using trainer = await trained(named())
    const x = numbers(12, 1)
    const cases: [() => Promise<unknown>, RegExp][] = [
      [() => trainer.predict(x), /Expected a Uint8Array of raw inputs.*or raw: false/],
      [() => trainer.predict(x, { raw: true }), /Expected a Uint8Array of raw inputs.*got a Float32Array/],
      [() => trainer.predict(new Uint8Array(12), { raw: false }), /raw: false, got bytes, which are raw/],
      [() => trainer.predict(named(), { raw: true }), /Expected no raw beside dataset/],
      [() => trainer.predict(x, { raw: 1 as never }), /Expected raw to be true or false, got 1/],
      [() => trainer.predict(new Uint8Array(13)), /samples of 12 features, got Uint8Array\(13\)/],
      [() => trainer.predict(x, { output: 'classes' as never }), /output to be 'logits', 'probabilities'.*'classes'/],
      [() => trainer.predict(named(), { output: 'values' }), /'labels', 'probabilities' or 'logits', got 'values'/],
    ]
    for (const [act, message] of cases)
      expect((await expectRefusal(act, 'INVALID_ARGUMENT', String(message))).message).to.match(message)
    x[5] = Number.NaN
    const { message } = await expectRefusal(() => trainer.predict(x, { raw: false }), 'NON_FINITE', 'NaN')
    expect(message).to.match(/got NaN at feature 5 of sample 0/)
  })

  it('takes numbers as they are where training data were not scaled, and classes without names by number', async () => {
    const x = numbers(8 * 20, 2)
    const data = dataset({ x, y: Array.from({ length: 20 }, (_, i) => i % 4), shape: [8] })
    using trainer = await trained(data)
    const logits = await trainer.predict(data)
    for await (const model of all(trainer)) {
      for (const options of [{}, { raw: true }, { raw: false }])
        expectSameBits(await model.predict(x, options), logits, JSON.stringify(options))
      expect(model.classes).to.equal(undefined)
      for (const label of await model.predict(x, { output: 'labels' })) expect(label).to.match(/^[0-3]$/)
      const bytes = await expectRefusal(() => model.predict(new Uint8Array(8)), 'INVALID_ARGUMENT', 'bytes')
      expect(bytes.message).to.match(/trained on numbers, got bytes/)
    }
  })

  it('standardises rows as csv() did, and gives values in the units of the targets', async () => {
    const file = join(folder, 'table.csv')
    await writeFile(file, csvText({ samples: 120, inputs: 3, targets: 2 }))
    const { test, columns } = await csv(file, { targets: 2 })
    using trainer = await trained(test)
    const logits = await trainer.predict(test)
    // The rows as the file has them, of the first that are held out.
    const raw = Float32Array.from(test.x, (value, i) => value * columns[i % 3].deviation + columns[i % 3].mean)
    for await (const model of all(trainer)) {
      expect(model.format?.inputNames).to.deep.equal(columns.slice(0, 3).map(({ name }) => name))
      expect(model.format?.targets?.names).to.deep.equal(columns.slice(3).map(({ name }) => name))
      const seen = await model.predict(raw, { raw: true })
      for (const [i, value] of seen.entries()) expect(value).to.be.closeTo(logits[i], 1e-5)
      const values = await model.predict(test, { output: 'values' })
      for (const [i, value] of values.entries()) {
        const { mean, deviation } = columns[3 + (i % 2)]
        expect(value).to.be.closeTo(logits[i] * deviation + mean, 1e-4)
      }
      const neither = await expectRefusal(() => model.predict(raw), 'INVALID_ARGUMENT', 'neither')
      expect(neither.message).to.match(/Expected raw: true for inputs as files have them, or raw: false/)
      const labels = await expectRefusal(() => model.predict(test, { output: 'labels' }), 'INVALID_ARGUMENT', 'labels')
      expect(labels.message).to.match(/'values' or 'logits' for a regression, got 'labels'/)
    }
  })

  it('knows the data of a stream, and what is said to trainers with batches of their own', async () => {
    const data = named()
    const normalise = { mean: 0.5, deviation: 0.25 }
    const chunks = stream({
      ...{ samples: 96, chunk: 48, shape: [12], classNames: NAMES, normalise },
      read: (first, count) => ({
        x: data.x.subarray(12 * first, 12 * (first + count)),
        y: (data.labels as Int32Array).subarray(first, first + count),
      }),
    })
    using streamed = new Trainer(mlp({ widths: [12, 8, 3], density: 0.5 }), { optimizer, device: 'cpu' })
    for await (const _ of streamed.fit(chunks, { epochs: 1, batchSize: 16 }));
    expect(streamed.format?.inputs).to.deep.equal({ mean: [0.5], deviation: [0.25] })
    expect(streamed.classes).to.deep.equal(NAMES)

    const { format } = data
    using own = new Trainer(mlp({ widths: [12, 8, 3], density: 0.5 }), { optimizer, device: 'cpu', format })
    await own.trainOn({ x: numbers(24, 1), y: [0, 2] })
    for await (const model of all(own)) expect(model.format).to.deep.equal(format)
    for (const [bad, message] of [
      [{ ...format, shape: [3, 1, 2] }, /samples of 12 features, the width of the model's input, got 6/],
      [{ ...format, classNames: [...NAMES, 'four'] }, /the format of 3 classes.*got 4/],
      [{ ...format, inputs: { mean: [0.1], deviation: [0] } }, /Expected format to be that of a data set/],
      [{ shape: [12] }, /Expected format to be that of a data set/],
    ] as const) {
      const make = () =>
        new Trainer(mlp({ widths: [12, 8, 3], density: 0.5 }), { optimizer, device: 'cpu', format: bad as never })
      expect((await expectRefusal(make, 'INVALID_ARGUMENT', String(message))).message).to.match(message)
    }
  })

  it('of an older checkpoint sees what it always saw, refuses bytes, and learns its format by resume()', async () => {
    const file = checkpoint('set')
    using predictor = await load(file, { device: 'cpu' })
    expect(predictor.format).to.equal(undefined)
    const data = clusters({ samples: 400, features: 48, classes: 4 })
    const logits = await predictor.predict(data)
    const seen = Float32Array.from(data.x, (byte) => Math.fround(byte) * (1 / 255 / 0.25) - 0.5 / 0.25)
    expectSameBits(await predictor.predict(seen), logits, 'as the network sees them')
    const bytes = await expectRefusal(() => predictor.predict(data.x as Uint8Array), 'INVALID_ARGUMENT', 'bytes')
    expect(bytes.message).to.match(/knows how its inputs were scaled, got one .*saved by an older hebb/)
    using told = await load(file, { device: 'cpu', format: data.format })
    expectSameBits(await told.predict(data.x as Uint8Array), logits, 'told')
    using trainer = await Trainer.load(file, { device: 'cpu' })
    for await (const _ of trainer.resume(data)) break
    expect(trainer.format).to.deep.equal(data.format)
  })

  it('names the digits of MNIST', async () => {
    const { test } = await mnist()
    expect(test.format).to.deep.equal({
      ...{ shape: [28, 28], type: 'uint8', inputs: { mean: [0.1307], deviation: [0.3081] } },
      classNames: [...'0123456789'],
    })
  })
})
