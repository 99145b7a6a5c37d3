import { expect } from 'chai'
import { columnsOf, cpu, everywhere, expectOnlyGoodOperands, numbers, on, onAnyThreads, sizes } from '../support.js'

describe('add', () => {
  for (const [features, batch] of sizes) {
    it(`is the sum of two batches, or a copy, or added: ${features} features, batch ${batch}`, async () => {
      for (const columns of columnsOf(batch)) {
        const [a, b, c] = [1, 2, 3].map((seed) => numbers(columns * features, seed))
        for (const [hasSecond, accumulate] of [
          [true, false],
          [false, false],
          [true, true],
          [false, true],
        ]) {
          const sum = await everywhere((device) =>
            on(device, async (w) => {
              const output = w.batch(features, batch, accumulate ? c : [])
              const second = hasSecond ? w.batch(features, batch, b, 7.5) : undefined
              const operands = { first: w.batch(features, batch, a, 7.5), second, output, accumulate }
              await w.run([['add', operands]], { batch, columns })
              return output.read(columns)
            }),
          )
          const plus = (x: Float32Array, y: Float32Array) => x.map((v, i) => v + y[i])
          const first = hasSecond ? plus(a, b) : a
          expect([...sum]).to.deep.equal([...(accumulate ? plus(first, c) : first)])
        }
      }
    })
  }

  it('gives the same bits on any number of threads, and works in place', async () => {
    const [a, b] = [numbers(300 * 70, 1), numbers(300 * 70, 2)]
    await onAnyThreads((device) =>
      on(device, async (w) => {
        const [first, second] = [w.batch(70, 300, a), w.batch(70, 300, b)]
        await w.run([['add', { first, second, output: second }]], { batch: 300 })
        expect([...(await second.read())]).to.deep.equal([...a.map((v, i) => v + b[i])])
        return second.read()
      }),
    )
  })

  it('refuses operands that do not fit', async () => {
    await on(cpu(), async (w) => {
      const program = w.program({ batch: 8 })
      const operands = { first: w.batch(6, 8), second: w.batch(6, 8), output: w.batch(6, 8) }
      await expectOnlyGoodOperands(program, 'add', operands, {
        'other features': [{ second: w.batch(5, 8) }, 'INVALID_ARGUMENT'],
        'an output of other features': [{ output: w.batch(5, 8) }, 'INVALID_ARGUMENT'],
        'no output': [{ output: undefined }, 'INVALID_ARGUMENT'],
      })
    })
  })
})
