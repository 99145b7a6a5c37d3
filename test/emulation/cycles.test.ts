/** Device memory after many trainers have come and gone: what it was before. */
import { expect } from 'chai'
import { chts, Device, mlp, sgd, Trainer, updateSchedule } from '../../lib/index.js'
import { places } from '../support.js'
import { clusters } from '../synthetic.js'

// Sanitizers take their time: a hundred cycles are looked at there.
const CYCLES = process.env.ASAN_OPTIONS ? 100 : 1000

describe('the memory of a device', () => {
  const data = clusters({ samples: 16, features: 12, classes: 3 })

  for (const kind of ['cpu', ...places.filter((place) => place === 'cuda')] as ('cpu' | 'cuda')[]) {
    it(`is what it was after ${CYCLES} trainers were made, trained and disposed: ${kind}`, async () => {
      using device = new Device({ kind })
      const before = device.memory()
      const peaks = new Set<number>()
      for (let cycle = 0; cycle < CYCLES; ++cycle) {
        const model = mlp({ widths: [12, 16, 3], density: 0.2, seed: 1 })
        const dst = chts({ updates: updateSchedule({ every: 1, fraction: 0.3 }) })
        using trainer = new Trainer(model, { optimizer: sgd({ learningRate: 0.05, momentum: 0.9 }), dst, device })
        for await (const _ of trainer.fit(data, { epochs: 1, batchSize: 8 }));
        peaks.add(device.memory().bytes)
      }
      const { buffers, bytes } = device.memory()
      expect({ buffers, bytes }).to.deep.equal({ buffers: before.buffers, bytes: before.bytes })
      expect(peaks.size, 'different sizes of one and the same trainer').to.equal(1)
    }).timeout(120_000)
  }
})
