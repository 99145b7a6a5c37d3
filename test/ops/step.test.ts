import { expect } from 'chai'
import type { Device } from '../../lib/device.js'
import { permutation, philox } from '../../lib/philox.js'
import type { Segment } from '../../lib/program.js'
import { chiSquareTest } from '../reference.js'
import {
  cpu,
  expectOnlyGoodOperands,
  expectRefusal,
  FALSE_ALARM,
  on,
  onAnyThreads,
  record,
  tally,
  Workspace,
} from '../support.js'

function permute(device: Device, count: number, seed: number, epoch?: number, identity = false): Promise<Int32Array> {
  return on(device, async (w) => {
    const indices = w.tensor('int32', count)
    await w.run([['permute', { indices, count, seed, epoch: epoch === undefined ? undefined : 0, identity }]], {
      scalars: [epoch ?? 0],
    })
    return indices.read()
  })
}

describe('permute', () => {
  it('is what permutation() does on the host, with the numbers of Random123', async () => {
    expect(philox(0, 0, 0, 0, 0) >>> 0).to.equal(0x6627e8d5)
    const shuffle = { purpose: 3, layer: 0 }
    for (const [count, seed, epoch] of [
      [1, 0, 0],
      [1000, 1, 0],
      [1025, 5e9 + 3, 7],
      [60_000, Number.MAX_SAFE_INTEGER, 2 ** 32 - 1],
    ] as const)
      expect(permutation(count, seed, epoch, shuffle)).to.deep.equal(await permute(cpu(), count, seed, epoch))
  })

  for (const count of [1, 2, 3, 4, 5, 16, 17, 63, 64, 65, 1000, 1024, 1025, 60_000]) {
    it(`makes a permutation of ${count}`, async () => {
      for (const epoch of [0, 1, 77]) {
        const indices = await permute(cpu(), count, 3, epoch)
        expect([...indices].sort((a, b) => a - b)).to.deep.equal(Array.from({ length: count }, (_, i) => i))
      }
    })
  }

  it('depends on the seed and the epoch, and on nothing else', async () => {
    const first = await onAnyThreads((device) => permute(device, 2000, 5, 9))
    expect(await permute(cpu(), 2000, 6, 9)).to.not.deep.equal(first)
    expect(await permute(cpu(), 2000, 5, 10)).to.not.deep.equal(first)
    expect(await permute(cpu(), 2000, 5 + 2 ** 32, 9), 'the seed has more than 32 bits').to.not.deep.equal(first)
    // Not on the step of the program, nor on what it did before.
    const later = await on(cpu(), async (w) => {
      const indices = w.tensor('int32', 2000)
      const program = w.program({ scalars: 2, batch: 7 })
      program.record('permute', { indices, count: 2000, seed: 5, epoch: 1 })
      await program.replay(6, { begin: { step: 40, scalars: [0, 3, 0, 9], samples: 30 } })
      return indices.read()
    })
    expect(later).to.deep.equal(first)
  })

  it('leaves the order alone when asked to', async () => {
    for (const count of [1, 5, 1000])
      expect([...(await permute(cpu(), count, 1, 1, true))]).to.deep.equal(Array.from({ length: count }, (_, i) => i))
  })

  it('takes epoch 0 without a scalar', async () => {
    expect(await permute(cpu(), 100, 4)).to.deep.equal(await permute(cpu(), 100, 4, 0))
  })

  it('sends every place everywhere alike', async () => {
    const count = 50
    const epochs = 4000
    const orders = await on(cpu(), async (w) => {
      const indices = w.tensor('int32', count)
      const program = w.program()
      program.record('permute', { indices, count, seed: 11, epoch: 0 })
      await program.replay(0, { begin: { scalars: Array.from({ length: epochs }, (_, epoch) => epoch) } })
      const reads: Promise<Int32Array>[] = []
      for (let epoch = 0; epoch < epochs; ++epoch) {
        void program.replay(1)
        reads.push(indices.read())
      }
      return Promise.all(reads)
    })
    const uniform = new Map(Array.from({ length: count }, (_, i) => [i, 1 / count]))
    for (const place of [0, 1, 24, 49])
      expect(chiSquareTest(tally(orders.map((order) => order[place])), uniform), `place ${place}`).to.be.above(
        FALSE_ALARM,
      )
  })

  it('refuses operands that do not fit, and works afterwards', async () => {
    await on(cpu(), async (w) => {
      const program = w.program()
      const other = w.own(new Workspace(cpu(2)))
      const gone = w.tensor('int32', 10)
      gone.dispose()
      const indices = w.tensor('int32', 10)
      await expectOnlyGoodOperands(
        program,
        'permute',
        { indices, count: 10, seed: 1, epoch: 0, identity: true },
        {
          'too few indices': [{ count: 11 }, 'INVALID_ARGUMENT'],
          'no count': [{ count: undefined }, 'INVALID_ARGUMENT'],
          'a count of 0': [{ count: 0 }, 'INVALID_ARGUMENT'],
          'no seed': [{ seed: undefined }, 'INVALID_ARGUMENT'],
          'a negative seed': [{ seed: -1 }, 'INVALID_ARGUMENT'],
          'a scalar that the program lacks': [{ epoch: 1 }, 'INVALID_ARGUMENT'],
          'indices of another device': [{ indices: other.tensor('int32', 10) }, 'INVALID_ARGUMENT'],
          'disposed indices': [{ indices: gone }, 'DISPOSED'],
        },
      )
      await expectRefusal(() => record(program, 'shuffle', {}), 'INVALID_ARGUMENT', 'an operation that does not exist')
      await expectRefusal(
        () => record(program, 'advance', {}),
        'INVALID_ARGUMENT',
        'an operation that is not for recording',
      )
      await program.replay(1)
      expect([...(await indices.read())]).to.deep.equal([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    })
  })
})

/** A program whose steps tell which samples they saw and which scalar. */
async function observed(
  use: (steps: {
    program: ReturnType<Workspace['program']>
    next(begin?: Segment): Promise<{ samples: number[]; scalar: number }>
  }) => Promise<void>,
) {
  await on(cpu(), async (w) => {
    const batch = 16
    const program = w.program({ batch, scalars: 2 })
    const stream = Int32Array.from({ length: 50 }, (_, i) => 100 + i)
    const targets = w.tensor('int32', batch)
    const totals = w.tensor('float64', 4)
    const output = w.batch(1, batch)
    const value = w.floats([0])
    const labels = Int32Array.from({ length: 200 }, (_, i) => i)
    program.record('gatherLabels', {
      labels: w.tensor('int32', labels),
      samples: 200,
      indices: w.tensor('int32', stream),
      count: 50,
      targets,
    })
    program.record('relu', { input: output, output })
    program.record('meanSquaredError', { output, target: output, totals })
    program.record('sgd', { count: 1, values: value, gradient: w.floats([-1]), learningRate: 1 })
    await use({
      program,
      next: async (begin) => {
        await Promise.all([
          totals.write(new Float64Array(4)),
          value.write(new Float32Array(1)),
          targets.write(new Int32Array(batch).fill(-1)),
        ])
        await program.replay(1, { begin })
        const columns = (await totals.read())[2]
        const samples = [...(await targets.read())]
        return { samples: samples.slice(0, columns), scalar: (await value.read())[0] }
      },
    })
  })
}

describe('advance', () => {
  const from = (first: number, count: number) => Array.from({ length: count }, (_, i) => 100 + first + i)

  it('walks through the stream batch by batch, the last one shorter, and begins again', async () => {
    await observed(async ({ next }) => {
      const seen = async (begin?: Segment) => (await next(begin)).samples
      expect(await seen({ samples: 50 })).to.deep.equal(from(0, 16))
      for (const [first, count] of [
        [16, 16],
        [32, 16],
        [48, 2],
        [0, 16],
        [16, 16],
      ]) {
        expect(await seen()).to.deep.equal(from(first, count))
      }
      expect(await seen({ samples: 20 }), 'a shorter stream').to.deep.equal(from(0, 16))
      expect(await seen(), 'its rest').to.deep.equal(from(16, 4))
      expect(await seen(), 'its start').to.deep.equal(from(0, 16))
      const five = 'a stream of less than a batch'
      expect(await seen({ samples: 5 }), five).to.deep.equal(from(0, 5))
      for (let i = 0; i < 2; ++i) expect(await seen(), five).to.deep.equal(from(0, 5))
      const whole = 'a stream of whole batches'
      expect(await seen({ samples: 32 }), whole).to.deep.equal(from(0, 16))
      for (const first of [16, 0, 16]) expect(await seen(), whole).to.deep.equal(from(first, 16))
    })
  })

  it('takes the number of columns that it is told when there is no stream', async () => {
    await observed(async ({ next }) => {
      expect((await next({ columns: 5 })).samples).to.deep.equal(from(0, 5))
      expect((await next()).samples).to.deep.equal(from(0, 5))
      expect((await next({})).samples).to.deep.equal(from(0, 16))
    })
  })

  it('reads a row of scalars a step, and the last one from then on', async () => {
    await observed(async ({ next }) => {
      const scalars = async (steps: number, begin?: Segment) => {
        const seen: number[] = []
        for (let i = 0; i < steps; ++i) seen.push((await next(i === 0 ? begin : undefined)).scalar)
        return seen
      }
      expect(await scalars(1), 'before any were given').to.deep.equal([0])
      expect(await scalars(5, { scalars: [9, 1, 9, 2, 9, 3] })).to.deep.equal([1, 2, 3, 3, 3])
      expect(await scalars(1, { scalars: [9, 4, 9, 5] })).to.deep.equal([4])
      expect(await scalars(2, { scalars: [9, 6] }), 'a shorter table').to.deep.equal([6, 6])
      expect(await scalars(3, { step: 1000, scalars: [9, 7, 9, 8] }), 'after a jump').to.deep.equal([7, 8, 8])
      expect(await scalars(3, { step: 10 }), 'a jump begins the table again').to.deep.equal([7, 8, 8])
      expect(await scalars(3, { columns: 5 }), 'as each beginning does').to.deep.equal([7, 8, 8])
      expect(await scalars(3, { scalars: [] }), 'no row: those of before').to.deep.equal([7, 8, 8])
    })
  })

  it('begins in the middle of a stream, and with all of it said anew', async () => {
    await observed(async ({ program, next }) => {
      expect(await next({ step: 7, scalars: [9, 1, 9, 2], samples: 40, first: 30 })).to.deep.equal({
        samples: from(30, 10),
        scalar: 1,
      })
      expect(await next()).to.deep.equal({ samples: from(0, 16), scalar: 2 })
      expect(program.stepsDone).to.equal(9)
      // What is not said is not that of before: no stream, and all columns.
      expect(await next({ scalars: [9, 3] })).to.deep.equal({ samples: from(0, 16), scalar: 3 })
      expect(await next()).to.deep.equal({ samples: from(0, 16), scalar: 3 })
      expect(program.stepsDone).to.equal(11)
    })
  })

  it('begins at once or with the next replay, which is the same', async () => {
    await observed(async ({ program, next }) => {
      const begin = { step: 5, scalars: [9, 1, 9, 2], samples: 50, first: 20 }
      const together = [await next(begin), await next()]
      for (const between of [undefined, () => {}]) {
        await program.replay(0, { begin, between })
        expect(program.stepsDone).to.equal(5)
        expect([await next(), await next()]).to.deep.equal(together)
      }
    })
  })

  it('goes on counting from the step that was given up', async () => {
    await on(cpu(), async (w) => {
      const value = w.floats([0])
      const program = w.program({ scalars: 1 })
      program.record('sgd', { count: 1, values: value, gradient: w.floats([-1]), learningRate: 0 })
      program.cut()
      await program.replay(3, { between: () => {}, begin: { step: 4, scalars: [1, 10, 100, 1000] } })
      const failing = () => {
        throw new Error('no')
      }
      const failed = await program.replay(1, { between: failing }).catch((error: Error) => error)
      expect((failed as Error).message).to.equal('no')
      expect(program.stepsDone).to.equal(7)
      await program.replay(2, { begin: { scalars: [0] } })
      expect(program.stepsDone).to.equal(9)
      expect([...(await value.read())], 'its first section has run').to.deep.equal([1111])
    })
  })

  it('refuses a beginning that cannot be, before anything is changed', async () => {
    await observed(async ({ program, next }) => {
      const good = { step: 7, scalars: [9, 1, 9, 2, 9, 3], samples: 50, first: 20 }
      await next(good)
      for (const [what, bad] of Object.entries({
        'half a row': { scalars: [1, 2, 3] },
        'more columns than a batch': { samples: 0, first: 0, columns: 17 },
        'columns below 0': { columns: -1 },
        'half a column': { columns: 1.5 },
        'a stream that is longer than its indices': { samples: 51 },
        'a stream below 0': { samples: -1 },
        'a first sample past the end': { first: 50 },
        'a first sample below 0': { first: -1 },
        'a first sample of no stream': { samples: 0 },
        'a step below 0': { step: -1 },
        'half a step': { step: 0.5 },
      })) {
        const begin = { ...good, step: 40, scalars: [8, 8], ...bad }
        await expectRefusal(() => next(begin), 'INVALID_ARGUMENT', what)
        expect(program.stepsDone, what).to.equal(8)
      }
      expect(await next()).to.deep.equal({ samples: from(36, 14), scalar: 2 })
    })
    await on(cpu(), async (w) => {
      const [program, written] = [w.program(), w.floats([1])]
      const writes = [[written, Float32Array.of(2)]] as const
      await expectRefusal(() => program.replay(1, { writes, begin: { columns: 2 } }), 'INVALID_ARGUMENT', 'columns')
      expect([...(await written.read())]).to.deep.equal([1])
    })
  })

  it('counts the steps', async () => {
    await observed(async ({ program }) => {
      expect(program.stepsDone).to.equal(0)
      await program.replay(3)
      expect(program.stepsDone).to.equal(3)
      await program.replay(2, { begin: { step: 10 } })
      expect(program.stepsDone).to.equal(12)
      await program.replay(1, { begin: { scalars: [9, 9] } })
      expect(program.stepsDone, 'a beginning without a step').to.equal(13)
      await program.replay(0)
      expect(program.stepsDone).to.equal(13)
      expect(program.operationCount).to.equal(5)
    })
  })

  it('gives many steps in one replay what it gives one by one', async () => {
    await on(cpu(), async (w) => {
      const value = w.floats([0])
      const program = w.program()
      program.record('sgd', { count: 1, values: value, gradient: w.floats([-1]), learningRate: 0 })
      await program.replay(6, { begin: { scalars: [1, 10, 100, 1000] } })
      expect([...(await value.read())]).to.deep.equal([3111])
    })
  })

  it('refuses programs without scalars or batch', async () => {
    await on(cpu(), async (w) => {
      await expectRefusal(() => w.program({ scalars: 0 }), 'INVALID_ARGUMENT', 'no scalars')
      await expectRefusal(() => w.program({ batch: 0 }), 'INVALID_ARGUMENT', 'no batch')
      await expectRefusal(() => w.program({ batch: 1.5 }), 'INVALID_ARGUMENT', 'half a column')
      const program = w.program()
      program.dispose()
      await expectRefusal(() => program.replay(1), 'DISPOSED', 'replay')
      await expectRefusal(() => record(program, 'permute', {}), 'DISPOSED', 'record')
      await expectRefusal(() => program.stepsDone, 'DISPOSED', 'stepsDone')
    })
  })
})
