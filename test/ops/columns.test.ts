import { expect } from 'chai'
import type { Device } from '../../lib/device.js'
import {
  at,
  columnsOf,
  cpu,
  everywhere,
  expectOnlyGoodOperands,
  expectRefusal,
  numbers,
  on,
  onAnyThreads,
  places,
  random,
  sizes,
} from '../support.js'

/** Columns of what is larger than the batch. */
const wideOf = (batch: number) => 2 * batch + 37

/** `count` distinct columns below `wide`, in a random order, and behind them some that are none. */
function indicesOf(count: number, batch: number, wide: number): Int32Array {
  const next = random(count)
  const all = Int32Array.from({ length: wide }, (_, i) => i)
  for (let i = wide - 1; i > 0; --i) {
    const j = Math.floor(next() * (i + 1))
    ;[all[i], all[j]] = [all[j], all[i]]
  }
  return Int32Array.from({ length: batch }, (_, c) => (c < count ? all[c] : -1))
}

/** What is gathered, and what is there after a scatter: [columns][features]. */
function move(device: Device, features: number, batch: number, columns: number) {
  return on(device, async (w) => {
    const wide = wideOf(batch)
    const indices = w.tensor('int32', indicesOf(columns, batch, wide))
    const from = w.batch(features, wide, numbers(features * wide, 1))
    const gathered = w.batch(features, batch, new Float32Array(features * columns).fill(7), 7)
    const into = w.batch(features, wide, numbers(features * wide, 2))
    const latest = w.batch(features, batch, numbers(features * columns, 3), 9)
    await w.run(
      [
        ['gatherColumns', { input: from, indices, output: gathered }],
        ['scatterColumns', { input: latest, indices, output: into }],
      ],
      { batch, columns },
    )
    const live = Math.min(batch, Math.ceil(columns / 16) * 16)
    return { gathered: await gathered.read(live), scattered: await into.read() }
  })
}

describe('columns', () => {
  for (const [features, batch] of sizes) {
    it(`are gathered from their places, and scattered to them: ${features} x ${batch}`, async () => {
      for (const columns of columnsOf(batch)) {
        const wide = wideOf(batch)
        const indices = indicesOf(columns, batch, wide)
        const [from, latest] = [numbers(features * wide, 1), numbers(features * columns, 3)]
        const column = (all: Float32Array, c: number) => all.subarray(c * features, (c + 1) * features)
        const scattered = numbers(features * wide, 2)
        const gathered = new Float32Array(features * Math.min(batch, Math.ceil(columns / 16) * 16))
        for (let c = 0; c < columns; ++c) {
          gathered.set(column(from, indices[c]), c * features)
          scattered.set(column(latest, c), indices[c] * features)
        }
        const got = await everywhere((device) => move(device, features, batch, columns))
        expect([...got.gathered], `${columns} columns gathered`).to.deep.equal([...gathered])
        expect([...got.scattered], `${columns} columns scattered`).to.deep.equal([...scattered])
      }
    })
  }

  it('have the same bits on any number of threads', async () => {
    await onAnyThreads((device) => move(device, 130, 300, 290))
  })

  it('may be gathered more than once', async () => {
    const [y] = await everywhere((device) =>
      on(device, async (w) => {
        const input = w.batch(2, 5, [1, 2, 3, 4, 5, 6])
        const output = w.batch(2, 5)
        const indices = w.tensor('int32', Int32Array.of(2, 2, 0, 2, 1))
        await w.run([['gatherColumns', { input, indices, output }]], { batch: 5 })
        return [await output.read()]
      }),
    )
    expect([...y]).to.deep.equal([5, 6, 5, 6, 1, 2, 5, 6, 3, 4])
  })

  for (const place of places) {
    it(`end the step where an index is none, name the first, and write nothing: ${place}`, async () => {
      for (const [index, c] of [
        [310, 299],
        [-1, 0],
        [2 ** 31 - 1, 270],
      ]) {
        await on(at(place), async (w) => {
          const all = Int32Array.from({ length: 300 }, (_, i) => 309 - i)
          all[c] = all[299] = index // the last one, too
          const indices = w.tensor('int32', all)
          const [wide, batch] = [w.batch(3, 310, numbers(930, 1)), w.batch(3, 300, numbers(900, 2))]
          for (const [name, input, output] of [
            ['gatherColumns', wide, batch],
            ['scatterColumns', batch, wide],
          ] as const) {
            const before = await output.read()
            const run = () => w.run([[name, { input, indices, output }]], { batch: 300 })
            const error = await expectRefusal(run, 'INVALID_ARGUMENT', name)
            expect(error.message).to.contain(`${name}: Expected indices in [0, 310), got ${index} at ${c}`)
            expect([...(await output.read())]).to.deep.equal([...before])
          }
        })
      }
    })
  }

  it('refuse operands that do not fit', async () => {
    await on(cpu(), async (w) => {
      const program = w.program({ batch: 8 })
      const indices = w.tensor('int32', 8)
      const [narrow, wide] = [w.batch(6, 8), w.batch(6, 20)]
      const bad = {
        'fewer indices than columns': [{ indices: w.tensor('int32', 7) }, 'INVALID_ARGUMENT'],
        'indices that are floats': [{ indices: w.floats(8) }, 'INVALID_ARGUMENT'],
        'features of another number': [{ input: w.batch(5, 20) }, 'INVALID_ARGUMENT'],
      } as const
      await expectOnlyGoodOperands(program, 'gatherColumns', { input: wide, indices, output: narrow }, bad)
      await expectOnlyGoodOperands(program, 'scatterColumns', { input: narrow, indices, output: wide }, bad)
    })
  })
})

/** Columns of wholes, and of parts: where they begin and how many fit. */
const parts = [
  { whole: 300, first: 0, columns: 64 },
  { whole: 300, first: 256, columns: 44 },
  { whole: 300, first: 16, columns: 130 },
  { whole: 5, first: 0, columns: 5 },
] as const

describe('columns of a part', () => {
  for (const { whole, first, columns } of parts) {
    it(`are taken out and put back: ${columns} of ${whole} from ${first} on`, async () => {
      const features = 3
      for (const live of columnsOf(whole)) {
        const [given, before] = [numbers(features * live, 1), numbers(features * whole, 2)]
        const got = await everywhere((device) =>
          on(device, async (w) => {
            const program = w.program({ batch: whole })
            const axis = w.own(program.part(first, columns))
            const input = w.batch(features, whole, given, 7)
            const [alone, kept] = [w.batch(features, whole, before), w.batch(features, whole, before)]
            const part = w.own(program.activations(features, 'kept', axis))
            program.record('takeColumns', { input, output: part })
            program.record('putColumns', { input: part, output: alone })
            program.record('putColumns', { input: part, output: kept, keep: true })
            await program.replay(1, { begin: { step: 0, columns: live } })
            const there = Math.max(0, Math.min(columns, live - first))
            return {
              alone: await alone.read(live),
              kept: await kept.read(live),
              part: await part.read(there || 1),
              there,
            }
          }),
        )
        const { there } = got
        const [alone, kept] = [new Float32Array(features * live), before.slice(0, features * live)]
        const taken = given.subarray(features * first, features * (first + there))
        for (const all of [alone, kept]) all.set(taken, there > 0 ? features * first : 0)
        expect([...got.alone], `${live} columns, alone`).to.deep.equal([...alone])
        expect([...got.kept], `${live} columns, others kept`).to.deep.equal([...kept])
        if (there > 0) expect([...got.part], `${live} columns, taken`).to.deep.equal([...taken])
      }
    })
  }

  it('have the same bits on any number of threads', async () => {
    await onAnyThreads((device) =>
      on(device, async (w) => {
        const program = w.program({ batch: 300 })
        const axis = w.own(program.part(64, 200))
        const input = w.batch(130, 300, numbers(130 * 300, 1))
        const output = w.batch(130, 300)
        const part = program.activations(130, 'step', axis)
        program.record('takeColumns', { input, output: part })
        program.record('putColumns', { input: part, output })
        await program.replay(1, { begin: { step: 0, columns: 290 } })
        return { output: await output.read() }
      }),
    )
  })

  it('refuse operands that do not fit', async () => {
    await on(cpu(), async (w) => {
      const program = w.program({ batch: 32 })
      const part = program.activations(6, 'step', w.own(program.part(16, 16)))
      const bad = { 'features of another number': [{ input: w.batch(5, 32) }, 'INVALID_ARGUMENT'] } as const
      await expectOnlyGoodOperands(program, 'takeColumns', { input: w.batch(6, 32), output: part }, bad)
      await expectOnlyGoodOperands(
        program,
        'putColumns',
        { input: part, output: w.batch(6, 32), keep: true },
        {
          'features of another number': [{ output: w.batch(5, 32) }, 'INVALID_ARGUMENT'],
        },
      )
    })
  })
})
