import { expect } from 'chai'
import { dataset } from '../lib/data/index.js'
import { adam, Linear, Relu, Sequential, sgd, Trainer, Transformer } from '../lib/index.js'
import { parallelLines, trainTokenizer } from '../lib/text/index.js'
import { at, expectNear, expectRefusal, expectSameBits, modelPlaces, numbers, places } from './support.js'

// More scores than are computed at a time: 832 columns of them, and the others.
const [inputs, words, samples, atATime] = [3, 5000, 1000, 832]

const modelOf = () =>
  new Sequential([
    new Linear({ inFeatures: inputs, outFeatures: 4 }),
    new Relu(),
    new Linear({ inFeatures: 4, outFeatures: words }),
  ])

const batchOf = (x = numbers(samples * inputs, 1)) => ({
  x,
  y: Int32Array.from({ length: samples }, (_, i) => (7 * i) % words),
})

const trainerOf = (place: string) => new Trainer(modelOf(), { optimizer: adam(), device: at(place, 2) })

async function parametersOf(trainer: Trainer): Promise<Float32Array[]> {
  return Promise.all(trainer.model.parameters.map(({ values }) => values.read()))
}

describe('a layer with more outputs than are computed at a time', () => {
  for (const place of places) {
    it(`takes the step of micro-batches as large as that, at ${place}`, async () => {
      const run = async (microBatchSize?: number) => {
        using trainer = trainerOf(place)
        const loss = await trainer.trainOn(batchOf(), { microBatchSize })
        return { losses: [loss], parameters: await parametersOf(trainer) }
      }
      const [whole, parts] = [await run(), await run(atATime)]
      expectNear(whole.losses, parts.losses, 'loss', 1e-6)
      for (const [i, parameter] of whole.parameters.entries())
        expectNear(parameter, parts.parameters[i] as Float32Array, `parameter ${i}`, 1e-5)
    })

    it(`leaves the sums and the parameters where the last columns go wrong, at ${place}`, async () => {
      using trainer = trainerOf(place)
      await trainer.trainOn(batchOf())
      const before = await parametersOf(trainer)
      const x = numbers(samples * inputs, 1)
      x[(samples - 1) * inputs] = Number.NaN
      await expectRefusal(() => trainer.trainOn(batchOf(x)), 'NON_FINITE', 'a sample that is NaN')
      for (const [i, parameter] of (await parametersOf(trainer)).entries())
        expectSameBits(parameter, before[i] as Float32Array, `parameter ${i}`)
      expect(await trainer.trainOn(batchOf())).to.be.lessThan(10)
      await trainer.model.parameters[2].values.write(new Float32Array(4 * words).fill(Number.NaN))
      const error = await expectRefusal(() => trainer.trainOn(batchOf()), 'NON_FINITE', 'weights that are NaN')
      expect(error.message).to.contain('first in the weights modules.2.weights')
    })
  }

  for (const place of modelPlaces) {
    it(`takes the step that it takes at once, where the columns are tokens, at ${place}`, async () => {
      // 448 columns at a time, of some 600 tokens in a batch of at most 1024: the last ones are none.
      const lines = Array.from({ length: 64 }, (_, i) => `${i % 7} b c d e f ${i % 3} h`)
      const tokenizer = await trainTokenizer(lines, { vocabulary: 270 })
      const text = await parallelLines(lines, lines, { tokenizer, name: 'lines' })
      class Whole extends Transformer {
        override get head() {
          return undefined as never
        }
      }
      const run = async (Model: typeof Transformer) => {
        const transformer = new Model({
          ...{ sourceWords: 300, targetWords: 9000, features: 4, hidden: 4, heads: 2 },
          ...{ encoderLayers: 1, decoderLayers: 1 },
        })
        const optimizer = sgd({ learningRate: 0.1 })
        using trainer = new Trainer(new Sequential([transformer]), { optimizer, device: at(place, 2) })
        const losses: number[] = []
        const options = { steps: 2, interval: 2, batchSize: 1024 }
        for await (const { trainLoss } of trainer.fit(text, options)) losses.push(trainLoss)
        return { losses, parameters: await parametersOf(trainer) }
      }
      const [parts, whole] = [await run(Transformer), await run(Whole)]
      expectNear(parts.losses, whole.losses, 'losses', 1e-6)
      // What keys are shifted by changes no attention: such a bias stays at 0 but for rounding.
      for (const [i, parameter] of parts.parameters.entries())
        if (parameter.some((value) => Math.abs(value) > 1e-8))
          expectNear(parameter, whole.parameters[i] as Float32Array, `parameter ${i}`, 1e-4)
    })
  }

  it('is measured in parts, and predicts as a whole', async () => {
    using trainer = trainerOf(places[0] as string)
    const { x, y } = batchOf()
    const data = dataset({ x, y, shape: [inputs], classes: words })
    await trainer.trainOn(batchOf())
    const { loss } = await trainer.evaluate(data)
    const scores = await trainer.predict(x)
    let expected = 0
    for (let i = 0; i < samples; ++i) {
      const row = Float64Array.from(scores.subarray(i * words, (i + 1) * words))
      expected += Math.log(row.reduce((sum, score) => sum + Math.exp(score), 0)) - (row[y[i] as number] as number)
    }
    expectNear([loss], [expected / samples], 'loss', 1e-6)
  })

  it('needs memory for the scores of some columns alone', async () => {
    const peakOf = async (outputs: number) => {
      const model = new Sequential([new Linear({ inFeatures: inputs, outFeatures: outputs })])
      using trainer = new Trainer(model, { optimizer: adam(), device: { kind: 'cpu', threads: 2 } })
      const x = numbers(4096 * inputs, 1)
      await trainer.trainOn({ x, y: new Int32Array(4096) })
      return trainer.memory().peakBytes
    }
    const scores = 4 * 4096 * 5000
    expect((await peakOf(5000)) - (await peakOf(10))).to.be.lessThan(scores / 3)
  })
})
