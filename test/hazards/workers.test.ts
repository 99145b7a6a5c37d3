/** Hazards: several environments in one process, and environments that end in the middle of something. */
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { expect } from 'chai'
import { program } from '../programs.js'
import { bound, train } from './training.js'

/** A worker that runs worker.ts. */
function workerThat(workerData: object): Worker {
  return new Worker(program('hazards/worker.ts'), { workerData })
}

/** What the worker says first. Rejects when it ends before. */
async function word(worker: Worker): Promise<unknown> {
  const gone = once(worker, 'exit').then(([code]) => {
    throw new Error(`The worker ended with ${code}`)
  })
  gone.catch(() => {})
  return Promise.race([once(worker, 'message').then(([said]) => said), gone])
}

describe('worker threads', () => {
  it('train side by side, with the bits of the main thread', async () => {
    const seeds = [0, 1, 2, 3]
    const workers = seeds.map((seed) => workerThat({ task: 'train', seed }))
    const [here, ...there] = await Promise.all([train({ seed: 0 }), ...workers.map(word)])
    expect(there[0]).to.equal(here)
    expect(there[3]).to.equal(await train({ seed: 3 }))
    expect(new Set(there).size).to.equal(4)
    await Promise.all(workers.map((worker) => worker.terminate()))
  })

  for (const [phase, times] of [
    ['loading', 5],
    ['training', 2],
    ['updating', 2],
    ['drawing', 1],
    ['pending', 2],
  ] as const) {
    it(`that are terminated while ${phase} take nothing with them`, async () => {
      const beside = train({ seed: 5, epochs: 20 })
      const one = workerThat({ task: 'train', seed: 6 })
      const done = word(one)
      for (let i = 0; i < times; ++i) {
        const worker = workerThat({ task: 'endless', phase })
        expect(await word(worker)).to.equal(phase)
        // Loading takes some tens of milliseconds, in whose course these fall.
        if (phase === 'loading') await new Promise((resolve) => setTimeout(resolve, 40 * i))
        const start = performance.now()
        await worker.terminate()
        expect(performance.now() - start, 'milliseconds to terminate').to.be.below(bound(2000))
      }
      // Others go on, here and in another worker.
      expect(await beside).to.equal(await train({ seed: 5, epochs: 20 }))
      expect(await done).to.equal(await train({ seed: 6 }))
      await one.terminate()
    })
  }
})
