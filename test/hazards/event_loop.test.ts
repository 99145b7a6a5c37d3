/** Hazard: something of the library keeps the event loop from turning. */
import { expect } from 'chai'
import { chts, chtss, mlp, set, Trainer, updateSchedule } from '../../lib/index.js'
import { clusters } from '../synthetic.js'
import { batchOf, bound, Lateness, optimizer, pause } from './training.js'

/**
 * Milliseconds that a timer may be late: long enough for a busy machine of two processors, far shorter than what is
 * done meanwhile.
 */
const LATE = 250

describe('the event loop turns', () => {
  async function timerIsNeverLate(run: () => Promise<void>): Promise<void> {
    const lateness = new Lateness()
    await pause(20)
    await run()
    const worst = lateness.stop()
    expect(lateness.samples.length).to.be.above(10)
    expect(worst, 'milliseconds late').to.be.below(bound(LATE))
  }

  for (const [name, density, dst] of [
    ['CHTs', 0.05, chts({ updates: updateSchedule({ every: 10, fraction: 0.3 }) })],
    ['SET', 0.05, set({ updates: updateSchedule({ every: 10, fraction: 0.3 }) })],
    // Begins with half of a million links: an update takes about a second.
    ['CHTss from 50%', 0.2, chtss({ updates: updateSchedule({ every: 16, fraction: 0.3 }) })],
  ] as const) {
    it(`while a trainer is made, trains and updates the topology by ${name}`, async () => {
      const data = clusters({ samples: 1024, features: 64, classes: 4 })
      await timerIsNeverLate(async () => {
        using trainer = new Trainer(mlp({ widths: [64, 1000, 1000, 4], density }), {
          optimizer: optimizer(),
          dst,
          device: 'cpu',
        })
        for await (const _ of trainer.fit(data, { epochs: 2, batchSize: 32, validation: data }));
        await trainer.predict(data)
        await trainer.measures()
      })
    })
  }

  it('while the links of a large layer are drawn, which takes about half a second', async () => {
    const batch = batchOf(16, 64)
    await timerIsNeverLate(async () => {
      using trainer = new Trainer(mlp({ widths: [64, 900, 900, 4], density: 0.5 }), {
        optimizer: optimizer(),
        dst: chts(),
        device: 'cpu',
      })
      await trainer.trainOn(batch)
    })
  })
})
