/** What an epoch asks of the addon and of the GPU: as much for ten steps as for a hundred. */
import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect } from 'chai'
import { adam, chts, Device, type Method, mlp, type Optimizer, sgd, staticSparse, Trainer } from '../../lib/index.js'
import type { NativeDevice } from '../../lib/native.js'
import { main } from '../programs.js'
import { places } from '../support.js'
import { clusters } from '../synthetic.js'
import { type Counters, counters, countersFile, emulated, folder, written } from './counters.js'

/**
 * The names of the calls of a native object, and of those that it makes, go to `calls`. Own properties go before those
 * of the class.
 */
function listen<T extends object>(native: T, calls: string[], made: readonly string[] = []): T {
  for (const [name, { value, get }] of Object.entries(
    Object.getOwnPropertyDescriptors(Object.getPrototypeOf(native) as object),
  )) {
    if (name === 'constructor') continue
    if (get) {
      Object.defineProperty(native, name, {
        get: () => {
          calls.push(name)
          return get.call(native)
        },
      })
    } else {
      const call = (...args: unknown[]) => {
        calls.push(name)
        const result = value.apply(native, args)
        return made.includes(name) ? listen(result, calls) : result
      }
      Object.defineProperty(native, name, { value: call })
    }
  }
  return native
}

const batchSize = 8
const methods: Record<string, [() => Method, () => Optimizer]> = {
  'static, SGD': [staticSparse, () => sgd({ learningRate: 0.02, momentum: 0.9 })],
  'chts, SGD': [chts, () => sgd({ learningRate: 0.02, momentum: 0.9 })],
  'chts, Adam': [chts, () => adam()],
}

for (const kind of ['cpu', 'cuda'] as const) {
  describe(`an epoch on ${kind === 'cpu' ? 'the CPU' : 'a GPU'}`, () => {
    before(function () {
      if (kind === 'cuda' && !places.includes('cuda')) this.skip()
    })
    for (const [name, [method, optimizer]] of Object.entries(methods)) {
      it(`makes as many native calls and copies to the host for 10 steps as for 100: ${name}`, async () => {
        const calls: string[] = []
        const seen: { calls: string[]; counters?: Counters }[] = []
        for (const steps of [10, 100]) {
          using device = new Device({ kind })
          listen<NativeDevice>(device.native, calls, ['program', 'allocate', 'sparse'])
          const model = mlp({ widths: [12, 16, 16, 4], density: 0.3, seed: 1 })
          using trainer = new Trainer(model, { optimizer: optimizer(), dst: method(), device })
          const train = clusters({ samples: steps * batchSize, features: 12, classes: 4 })
          const validation = clusters({ samples: 50, features: 12, classes: 4 })
          // The first epoch sets up; the second is looked at.
          let before: Counters | undefined
          for await (const { epoch } of trainer.fit(train, { epochs: 3, batchSize, validation })) {
            const now = kind === 'cuda' && emulated ? counters() : undefined
            if (epoch === 2) {
              seen.push({ calls: [...calls], ...(now && before && { counters: difference(now, before) }) })
              expect(trainer.step).to.equal(2 * steps)
            }
            before = now
            calls.length = 0
          }
        }
        const [few, many] = seen as [(typeof seen)[0], (typeof seen)[0]]
        expect(many.calls).to.deep.equal(few.calls)
        expect(few.calls).to.include('replay')
        expect(few.calls.length).to.be.below(100)
        if (!few.counters || !many.counters) return
        const { graphLaunches, launches, blocks, ...rest } = few.counters
        expect(many.counters.graphLaunches - graphLaunches, 'a graph a step').to.equal(90)
        expect(many.counters).to.include(rest)
        // Each call that waits looks whether something failed; sums, scores and measures are a few numbers.
        expect(rest.toHost).to.be.below(30)
        expect(rest.bytesToHost).to.be.below(2000)
      })
    }
  })
}

const difference = (after: Counters, before: Counters) =>
  Object.fromEntries(
    Object.entries(after).map(([name, count]) => [name, count - before[name as keyof Counters]]),
  ) as unknown as Counters

describe('hebb train --device cuda', () => {
  before(function () {
    if (!emulated) this.skip()
  })

  it('copies as much to the host in an epoch of 10 steps as in one of 100', async () => {
    const header = (shape: readonly number[]) => {
      const words = Buffer.alloc(4 + 4 * shape.length)
      words.writeUInt32BE(0x0800 | shape.length)
      for (const [i, length] of shape.entries()) words.writeUInt32BE(length, 4 + 4 * i)
      return words
    }
    const run = async (samples: number, epochs: number) => {
      for (const [part, count] of [
        ['train', samples],
        ['t10k', 40],
      ] as const) {
        const data = clusters({ samples: count, features: 36, classes: 10 })
        await writeFile(
          join(folder, `${part}-images-idx3-ubyte`),
          Buffer.concat([header([count, 6, 6]), data.x as Uint8Array]),
        )
        await writeFile(
          join(folder, `${part}-labels-idx1-ubyte`),
          Buffer.concat([header([count]), Uint8Array.from(data.labels as Int32Array)]),
        )
      }
      const flags = [
        'train',
        '--data',
        folder,
        '--hidden',
        '24,20',
        '--density',
        '0.2',
        '--device',
        'cuda',
        '--batch-size',
        '8',
        '--json',
      ]
      const env = { ...process.env, HEBB_EMULATION_COUNTERS: countersFile }
      await promisify(execFile)(process.execPath, [main, ...flags, '--epochs', String(epochs)], {
        env,
      })
      return written()
    }
    // An epoch is what a run of three has more than a run of two.
    const [few, many] = [
      difference(await run(80, 3), await run(80, 2)),
      difference(await run(800, 3), await run(800, 2)),
    ]
    expect(many.toHost, JSON.stringify({ few, many })).to.equal(few.toHost)
    expect(many.bytesToHost).to.equal(few.bytesToHost)
    expect(many.graphLaunches - few.graphLaunches).to.equal(90)
    expect(few.toHost).to.be.below(30)
  })
})
