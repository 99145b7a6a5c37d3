/** The host in the middle of a step: gradients that are looked at, or changed, before the optimizer takes them. */
import { expect } from 'chai'
import {
  adam,
  chts,
  dataset,
  mlp,
  type NamedGradients,
  type Optimizer,
  sgd,
  Trainer,
  type TrainerOptions,
  updateSchedule,
} from '../lib/index.js'
import type { Tensor } from '../lib/tensor.js'
import { at, expectRefusal, expectSameBits, numbers, on, places, random } from './support.js'

const data = () => {
  const next = random(3)
  const y = Array.from({ length: 90 }, () => Math.floor(4 * next()))
  return dataset({ x: numbers(90 * 10, 5), y, shape: [10], classes: 4 })
}

async function trained(place: string, options: Partial<TrainerOptions> = {}, onEpoch?: (trainer: Trainer) => unknown) {
  const model = mlp({ widths: [10, 16, 12, 4], density: 0.3, seed: 2 })
  const dst = chts({ updates: updateSchedule({ every: 3, until: 1, fraction: 0.3 }) })
  const optimizer = sgd({ learningRate: 0.1, momentum: 0.9 })
  const trainer = new Trainer(model, { device: at(place), dst, optimizer, ...options })
  try {
    const losses: number[] = []
    for await (const epoch of trainer.fit(data(), { epochs: 4, batchSize: 20 })) {
      losses.push(epoch.trainLoss)
      await onEpoch?.(trainer)
    }
    const weights = await Promise.all(model.parameters.map(({ values }) => values.read()))
    return { losses: Float64Array.from(losses), weights }
  } finally {
    trainer.dispose()
  }
}

for (const place of places) {
  describe(`a step with the host in its middle, at ${place}`, () => {
    it('has the bits of one without', async () => {
      for (const optimizer of [
        sgd({ learningRate: 0.1, momentum: 0.9 }),
        adam({ learningRate: 0.01 }),
        sgd({ learningRate: 0.1, clipNorm: 0.5 }),
      ]) {
        const plain = await trained(place, { optimizer })
        const seen: number[] = []
        const watched = await trained(place, { optimizer, onGradients: (_, { step }) => seen.push(step) })
        expectSameBits([watched.losses, ...watched.weights], [plain.losses, ...plain.weights], place)
        expect(seen).to.deep.equal(Array.from({ length: 20 }, (_, step) => step))
      }
    })

    it('gives all gradients that are trained by name, and takes what was written', async () => {
      const names = [0, 2, 4].flatMap((i) => ['weights', 'bias'].map((name) => `modules.${i}.${name}`))
      const halve = async (gradients: NamedGradients) => {
        for (const tensor of gradients.values()) await tensor.write((await tensor.read()).map((g) => g / 2))
      }
      const keys: string[][] = []
      const optimizer = (learningRate: number): Optimizer =>
        sgd({ learningRate, groups: [{ match: 'modules.2.bias', frozen: true }] })
      const onGradients = (gradients: NamedGradients) => {
        keys.push([...gradients.keys()])
        return halve(gradients)
      }
      const halved = await trained(place, { optimizer: optimizer(0.5), onGradients })
      const slow = await trained(place, { optimizer: optimizer(0.25) })
      expectSameBits(halved.weights, slow.weights, place)
      expect(keys[7]).to.deep.equal(names.filter((name) => name !== 'modules.2.bias'))
    })

    it('has not happened where the host fails', async () => {
      await on(at(place), async () => {
        const model = mlp({ widths: [10, 16, 4], density: 0.3, seed: 2 })
        let fails = false
        const trainer = new Trainer(model, {
          device: at(place),
          optimizer: sgd({ learningRate: 0.1 }),
          onGradients: () => {
            if (fails) throw new Error('the other rank is gone')
          },
        })
        const [x, y] = [numbers(40, 1), Int32Array.of(0, 1, 2, 3)]
        const first = await trainer.trainOn({ x, y })
        const before = await Promise.all(model.parameters.map(({ values }) => values.read()))
        fails = true
        for (let i = 0; i < 2; ++i) {
          const error = await trainer.trainOn({ x, y }).catch((thrown: Error) => thrown)
          expect((error as Error).message).to.equal('the other rank is gone')
        }
        expect(trainer.step).to.equal(1)
        expectSameBits(await Promise.all(model.parameters.map(({ values }) => values.read())), before, place)
        fails = false
        expect(await trainer.trainOn({ x, y })).to.be.lessThan(first)
        expect(trainer.step).to.equal(2)
        trainer.dispose()
      })
    })

    it('counts no sums of a step that has not happened, and goes on', async () => {
      const plain = await trained(place)
      const model = mlp({ widths: [10, 16, 12, 4], density: 0.3, seed: 2 })
      let calls = 0
      const trainer = new Trainer(model, {
        device: at(place),
        dst: chts({ updates: updateSchedule({ every: 3, until: 1, fraction: 0.3 }) }),
        optimizer: sgd({ learningRate: 0.1, momentum: 0.9 }),
        onGradients: () => {
          if (++calls % 4 === 0) throw new Error('again')
        },
      })
      const losses: number[] = []
      let run = trainer.fit(data(), { epochs: 4, batchSize: 20 })
      while (losses.length < 4) {
        try {
          for await (const epoch of run) losses.push(epoch.trainLoss)
        } catch (error) {
          expect((error as Error).message).to.equal('again')
          run = trainer.resume(data())
        }
      }
      const weights = await Promise.all(model.parameters.map(({ values }) => values.read()))
      trainer.dispose()
      expectSameBits([Float64Array.from(losses), ...weights], [plain.losses, ...plain.weights], place)
    })

    it('ends whole when it is stopped meanwhile', async () => {
      const controller = new AbortController()
      const model = mlp({ widths: [10, 16, 4], density: 0.3, seed: 2 })
      const seen: number[] = []
      const trainer = new Trainer(model, {
        device: at(place),
        optimizer: sgd({ learningRate: 0.1 }),
        onGradients: (_: ReadonlyMap<string, Tensor>, { step }: { step: number }) => {
          seen.push(step)
          if (step === 2) controller.abort()
        },
      })
      const { signal } = controller
      await expectRefusal(() => trainer.fit(data(), { epochs: 1, batchSize: 9, signal }).next(), 'ABORTED', place)
      expect([seen, trainer.step]).to.deep.equal([[0, 1, 2], 3])
      trainer.dispose()
    })
  })
}

describe('onGradients', () => {
  it('is a function', async () => {
    const model = mlp({ widths: [10, 4], density: 0.5 })
    const options = { optimizer: sgd({ learningRate: 0.1 }), onGradients: 'all-reduce' as never }
    const error = await expectRefusal(() => new Trainer(model, options), 'INVALID_ARGUMENT', 'a text')
    expect(error.message).to.contain("Expected onGradients to be a function, got 'all-reduce'")
  })
})
