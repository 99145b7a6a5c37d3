/** Gradients times a power of two until the optimizer takes them: the same steps, to the last bit. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import {
  adam,
  chts,
  crossEntropy,
  Dropout,
  dataset,
  Gelu,
  granet,
  LayerNorm,
  type Method,
  mest,
  type Optimizer,
  Relu,
  rigl,
  Sequential,
  SparseLinear,
  sgd,
  Trainer,
  type TrainerOptions,
  updateSchedule,
} from '../lib/index.js'
import { at, expectRefusal, expectSameBits, numbers, places, random } from './support.js'
import { all, state } from './training.js'

const [FEATURES, CLASSES, SAMPLES] = [12, 5, 100]

function model(): Sequential {
  const layer = (inFeatures: number, outFeatures: number) => new SparseLinear({ inFeatures, outFeatures, density: 0.4 })
  return new Sequential(
    [
      ...[layer(FEATURES, 24), new Relu(), new LayerNorm({ features: 24 })],
      ...[layer(24, 24), new Gelu(), new Dropout({ probability: 0.2 }), layer(24, CLASSES)],
    ],
    { seed: 3 },
  )
}

const next = random(7)
const labels = Array.from({ length: SAMPLES }, (_, i) => (i % 9 === 0 ? -1 : Math.floor(CLASSES * next())))
const x = numbers(SAMPLES * FEATURES, 8, -2, 2)
const shape = [FEATURES]
const classified = dataset({ x, y: labels.map((label) => Math.max(label, 0)), shape, classes: CLASSES })
const weights = labels.map((_, i) => i % 3)
const weighted = dataset({ x, y: labels, shape, classes: CLASSES, weights, ignore: -1 })
const valued = dataset({ x, y: numbers(SAMPLES * CLASSES, 9), shape })

interface Case {
  optimizer: () => Optimizer
  dst?: (parts: Partial<Method>) => Method
  data?: typeof classified
  loss?: TrainerOptions['loss']
  microBatchSize?: number
}

const decaying = { learningRate: 0.05, momentum: 0.9, weightDecay: 1e-3 }
const cases: Record<string, Case> = {
  'sgd, whose step is taken with the gradients without a scale': { optimizer: () => sgd({ learningRate: 0.1 }) },
  'sgd with momentum and decay': { optimizer: () => sgd(decaying) },
  'adam, to values': { optimizer: () => adam({ learningRate: 0.01, weightDecay: 0.01 }), data: valued },
  'clipped sgd': { optimizer: () => sgd({ ...decaying, clipNorm: 0.3 }) },
  'clipped adam, of weighted samples': { optimizer: () => adam({ clipNorm: 0.1 }), data: weighted },
  'sgd over micro-batches': { optimizer: () => sgd(decaying), data: weighted, microBatchSize: 16 },
  'clipped sgd over micro-batches, with smoothed labels': {
    optimizer: () => sgd({ ...decaying, clipNorm: 0.3 }),
    loss: crossEntropy({ labelSmoothing: 0.1 }),
    microBatchSize: 16,
  },
  rigl: { optimizer: () => sgd(decaying), dst: rigl },
  'granet, clipped': { optimizer: () => sgd({ ...decaying, clipNorm: 0.3 }), dst: granet },
  mest: { optimizer: () => sgd(decaying), dst: mest },
  'mest with adam over micro-batches': { optimizer: () => adam(), dst: mest, data: weighted, microBatchSize: 16 },
}

/** What a run comes to. */
async function run(place: string, { optimizer, dst = chts, data = classified, loss, ...fit }: Case, lossScale = 1) {
  const updates = updateSchedule({ every: 3, until: 1, fraction: 0.3 })
  const trainer = new Trainer(model(), {
    ...{ optimizer: optimizer(), dst: dst({ updates }), device: at(place), lossScale },
    ...(loss && { loss }),
  })
  try {
    const epochs = await all(trainer.fit(data, { epochs: 3, batchSize: 40, ...fit }))
    const told = epochs.map(({ trainLoss, trainAccuracy, gradientNorm = 0 }) =>
      Float64Array.of(trainLoss, trainAccuracy, gradientNorm),
    )
    return { told, state: await state(trainer) }
  } finally {
    trainer.dispose()
    expect(at(place).memory().buffers, 'nothing is left').to.equal(0)
  }
}

for (const place of places) {
  describe(`a scale of the loss, at ${place}`, () => {
    for (const [name, given] of Object.entries(cases))
      it(`leaves the bits of ${name}`, async () => {
        const plain = await run(place, given)
        for (const scale of [2 ** 20, 0.25]) expectSameBits(await run(place, given, scale), plain, `${place}, ${scale}`)
      })

    it('multiplies the gradients that are shown, for a loss of your own, too', async () => {
      const own: NonNullable<TrainerOptions['loss']> = {
        targets: 'labels',
        record(tape, output, targets, sums) {
          const gradient = tape.gradient(output)?.gradient
          tape.record('softmaxCrossEntropy', { logits: output.activations, targets, gradient, ...sums })
        },
      }
      for (const loss of ['crossEntropy', own] as const) {
        const shown = async (lossScale: number) => {
          const seen: Float32Array[] = []
          const optimizer = sgd({ learningRate: 0.1 })
          using trainer = new Trainer(model(), {
            ...{ optimizer, loss, lossScale, device: at(place) },
            onGradients: async (gradients) => {
              for (const tensor of gradients.values()) seen.push(await tensor.read())
            },
          })
          await trainer.trainOn({ x, y: labels, ignore: -1 })
          return seen
        }
        const plain = await shown(1)
        const times = plain.map((gradient) => gradient.map((g) => 4096 * g))
        expectSameBits(await shown(4096), times, place)
        expect(plain.some((gradient) => gradient.some((g) => g !== 0))).to.equal(true)
      }
    })
  })
}

describe('a scale of the loss', () => {
  it('is kept in a checkpoint, or replaced', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'hebb-scale-'))
    try {
      const file = join(folder, 'scaled.safetensors')
      const options = { optimizer: sgd({ learningRate: 0.1, clipNorm: 0.2 }), device: 'cpu' } as const
      using trainer = new Trainer(model(), { ...options, lossScale: 512 })
      await trainer.save(file)
      let most = 0
      const onGradients: TrainerOptions['onGradients'] = async (gradients) => {
        most = 0
        for (const tensor of gradients.values()) most = Math.max(most, ...(await tensor.read()).map(Math.abs))
      }
      const seen: number[] = []
      for (const more of [{}, { lossScale: 1 }]) {
        using loaded = await Trainer.load(file, { device: 'cpu', onGradients, ...more })
        await loaded.trainOn({ x, y: labels, ignore: -1 })
        seen.push(most)
      }
      expect(seen[0]).to.equal(512 * (seen[1] as number))
    } finally {
      await rm(folder, { recursive: true })
    }
  })

  it('is refused where it is no power of two', async () => {
    for (const lossScale of [0, -2, 3, 1000, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 127, 2 ** -127, '2' as never]) {
      const take = () =>
        new Trainer(model(), { optimizer: sgd({ learningRate: 0.1 }), device: at(places[0]), lossScale })
      const error = await expectRefusal(take, 'INVALID_ARGUMENT', `a scale of ${lossScale}`)
      expect(error.message).to.match(/^Expected lossScale to be a power of two between .*, such as 1024, got/)
    }
  })
})
