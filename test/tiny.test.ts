/** The whole system once, small: read this first. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { chts, load, mlp, sgd, Trainer, updateSchedule } from '../lib/index.js'
import { clusters } from './synthetic.js'

describe('hebb, in short', () => {
  // Two hidden layers with a tenth of their links, and a dense last one.
  const model = () => mlp({ widths: [32, 64, 48, 4], density: 0.1, seed: 1 })
  const links = [Math.round(0.1 * 32 * 64), Math.round(0.1 * 64 * 48)]
  // 20% of the links are replaced every five steps, by the Cannistraci-Hebb soft rule.
  const dst = () => chts({ updates: updateSchedule({ every: 5, fraction: 0.2 }) })
  const optimizer = () => sgd({ learningRate: 0.05, momentum: 0.9 })
  const train = clusters({ samples: 400, features: 32, classes: 4, seed: 1 })
  const test = clusters({ samples: 200, features: 32, classes: 4, seed: 2 })

  it('trains, rewires, saves, goes on, predicts', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'hebb-tiny-'))
    try {
      const file = join(folder, 'model.safetensors')
      using trainer = new Trainer(model(), { optimizer: optimizer(), dst: dst(), device: 'cpu' })
      const { links: before } = await trainer.weights(0)
      const accuracies: number[] = []
      for await (const epoch of trainer.fit(train, { epochs: 8, batchSize: 20, validation: test })) {
        // Links move, and their number stays.
        expect(epoch.linksPerLayer).to.deep.equal(links)
        accuracies.push(epoch.validation?.accuracy as number)
        if (epoch.epoch === 4) await trainer.save(file)
      }
      expect(accuracies.at(-1)).to.be.above(0.95)
      const { links: after } = await trainer.weights(0)
      expect(after).not.to.deep.equal(before)

      // The second half again, from the file: the same bits.
      using again = await Trainer.load(file, { device: 'cpu' })
      const resumed: number[] = []
      for await (const epoch of again.resume(train, { validation: test }))
        resumed.push(epoch.validation?.accuracy as number)
      expect(resumed).to.deep.equal(accuracies.slice(4))
      expect((await again.weights(0)).links).to.deep.equal(after)

      // Without gradients and optimizer state.
      await again.save(file)
      using predictor = await load(file, { device: 'cpu' })
      expect((await predictor.evaluate(test)).accuracy).to.equal(accuracies.at(-1))
      expect(predictor.memory().bytes).to.be.below(again.memory().bytes)
    } finally {
      await rm(folder, { recursive: true })
    }
  })
})
