import { expect } from 'chai'
import type { Device } from '../../lib/device.js'
import type { PlainCsr } from '../../lib/tensor.js'
import { chiSquareTest, kolmogorovTest, normalCdf, philox, purposeWord } from '../reference.js'
import {
  byRow,
  cellsOf,
  cpu,
  everywhere,
  expectOnlyGoodOperands,
  FALSE_ALARM,
  on,
  onAnyThreads,
  randomCsr,
  tally,
  Workspace,
} from '../support.js'

interface Where {
  deviation?: number
  seed?: number
  layer?: number
  operation?: 'initializeNormal' | 'initializeUniform'
}

function sparse(
  device: Device,
  csr: PlainCsr,
  { deviation = 1, seed = 0, layer = 0, operation = 'initializeNormal' }: Where = {},
): Promise<Float32Array> {
  return on(device, async (w) => {
    const values = w.floats(csr.columnIndices.length)
    await w.run([[operation, { pattern: w.matrix(csr), values, deviation, seed, layer }]])
    return byRow(csr, await values.read())
  })
}

function dense(
  device: Device,
  rows: number,
  cols: number,
  { deviation = 1, seed = 0, layer = 0, operation = 'initializeNormal' }: Where = {},
): Promise<Float32Array> {
  return on(device, async (w) => {
    const values = w.floats(rows * cols)
    await w.run([[operation, { rows, cols, values, deviation, seed, layer }]])
    return values.read()
  })
}

/** The variate of a place by Marsaglia's polar method from reference Philox. */
function normalAt(seed: number, row: number, col: number, layer: number): number {
  const unit = (high: number, low: number) => (Number(((BigInt(high) << 32n) | BigInt(low)) >> 11n) + 0.5) * 2 ** -53
  for (let attempt = 0; ; ++attempt) {
    const words = philox(seed, [row, col, attempt, purposeWord('weights', layer)])
    const [u, v] = [2 * unit(words[0], words[1]) - 1, 2 * unit(words[2], words[3]) - 1]
    const s = u * u + v * v
    if (s < 1 && s >= 1e-30) return u * Math.sqrt((-2 * Math.log(s)) / s)
  }
}

describe('initializeNormal', () => {
  it('draws at places: what the words there say, whatever the other links are', async () => {
    const where = { deviation: 0.3, seed: 5e9 + 1, layer: 2 }
    const all = await dense(cpu(), 37, 61, where)
    for (let i = 0; i < all.length; i += 7) {
      const expected = 0.3 * normalAt(where.seed, Math.floor(i / 61), i % 61, 2)
      // The logarithm is taken of a float32: near s = 1 that costs some of its digits.
      expect(Math.abs(all[i] - expected), `place ${i}: ${all[i]} for ${expected}`).to.be.at.most(
        1e-6 + 1e-6 * Math.abs(expected),
      )
    }
    for (const links of [1, 350, 37 * 61]) {
      const csr = randomCsr(37, 61, links, links)
      const values = await sparse(cpu(), csr, where)
      expect([...values]).to.deep.equal(cellsOf(csr).map((cell) => all[cell]))
    }
  })

  it('gives the same bits everywhere and on any number of threads', async () => {
    const csr = randomCsr(200, 100, 5000, 1)
    await everywhere((device) => sparse(device, csr, { seed: 3 }))
    await onAnyThreads((device) => sparse(device, csr, { seed: 3 }))
    await onAnyThreads((device) => dense(device, 61, 130, { seed: 3 }))
  })

  it('depends on seed and layer, and scales with the deviation', async () => {
    const base = await dense(cpu(), 10, 10)
    expect(await dense(cpu(), 10, 10, { seed: 1 })).to.not.deep.equal(base)
    expect(await dense(cpu(), 10, 10, { seed: 2 ** 32 })).to.not.deep.equal(base)
    expect(await dense(cpu(), 10, 10, { layer: 1 })).to.not.deep.equal(base)
    expect(await dense(cpu(), 10, 10, { deviation: 4 })).to.deep.equal(base.map((v) => 4 * v))
    expect((await dense(cpu(), 10, 10, { deviation: 0 })).every((v) => v === 0)).to.equal(true)
  })

  it('leaves room that no link uses alone', async () => {
    await on(cpu(), async (w) => {
      const values = w.floats(new Float32Array(30).fill(8))
      await w.run([
        [
          'initializeNormal',
          { pattern: w.matrix(randomCsr(5, 6, 12, 1), 30), values, deviation: 1, seed: 0, layer: 0 },
        ],
      ])
      expect([...(await values.read()).slice(12)]).to.deep.equal(new Array(18).fill(8))
    })
  })

  it('is normal: mean, variance, skewness, kurtosis, and Kolmogorov and Smirnov', async () => {
    // |z| > 4.9 happens once in a million.
    const limit = 4.9
    for (const seed of [1, 2, 3]) {
      const deviation = 0.05
      const values = (await dense(cpu(), 300, 200, { deviation, seed })).map((v) => v / deviation)
      const n = values.length
      const moment = (k: number) => values.reduce((sum, v) => sum + v ** k, 0) / n
      expect(Math.abs(moment(1)) * Math.sqrt(n), 'mean').to.be.below(limit)
      expect(Math.abs(moment(2) - 1) * Math.sqrt(n / 2), 'variance').to.be.below(limit)
      expect(Math.abs(moment(3)) * Math.sqrt(n / 15), 'skewness').to.be.below(limit)
      expect(Math.abs(moment(4) - 3) * Math.sqrt(n / 96), 'kurtosis').to.be.below(limit)
      expect(kolmogorovTest(values, normalCdf), 'Kolmogorov and Smirnov').to.be.above(FALSE_ALARM)
    }
  })

  it('is independent from place to place, layer to layer and seed to seed', async () => {
    const here = await dense(cpu(), 100, 100, { seed: 7 })
    const others: Record<string, Float32Array> = {
      'the next column': here.map((_, i) => here[(i + 1) % here.length]),
      'the next row': here.map((_, i) => here[(i + 100) % here.length]),
      'the next layer': await dense(cpu(), 100, 100, { seed: 7, layer: 1 }),
      'the next seed': await dense(cpu(), 100, 100, { seed: 8 }),
    }
    const quarters = new Map([0, 1, 2, 3].map((q) => [q, 1 / 4]))
    for (const [what, there] of Object.entries(others)) {
      const correlation = here.reduce((sum, v, i) => sum + v * there[i], 0) / Math.sqrt(here.length)
      expect(Math.abs(correlation), what).to.be.below(4.9)
      expect(
        chiSquareTest(tally(Array.from(here, (v, i) => (v > 0 ? 1 : 0) + (there[i] > 0 ? 2 : 0))), quarters),
        what,
      ).to.be.above(FALSE_ALARM)
    }
  })

  it('refuses operands that do not fit, and works afterwards', async () => {
    await on(cpu(), async (w) => {
      const program = w.program()
      const other = w.own(new Workspace(cpu(2)))
      const gone = w.floats(12)
      gone.dispose()
      const values = w.floats(12)
      const good = { pattern: w.matrix(randomCsr(4, 5, 12, 1)), values, deviation: 1, seed: 0, layer: 0 }
      await expectOnlyGoodOperands(program, 'initializeNormal', good, {
        'too few values': [{ values: w.floats(11) }, 'INVALID_ARGUMENT'],
        'too few values for a dense matrix': [{ pattern: undefined, rows: 4, cols: 5 }, 'INVALID_ARGUMENT'],
        'no shape': [{ pattern: undefined }, 'INVALID_ARGUMENT'],
        'a deviation of NaN': [{ deviation: Number.NaN }, 'INVALID_ARGUMENT'],
        'no seed': [{ seed: undefined }, 'INVALID_ARGUMENT'],
        'values of another device': [{ values: other.floats(12) }, 'INVALID_ARGUMENT'],
        'disposed values': [{ values: gone }, 'DISPOSED'],
      })
      await program.replay(1)
      expect((await values.read()).every((v) => v !== 0)).to.equal(true)
    })
  })
})

describe('initializeUniform', () => {
  const operation = 'initializeUniform'

  it('draws at places: what the words there say, whatever the other links are, everywhere', async () => {
    const where = { deviation: 0.3, seed: 5e9 + 1, layer: 2, operation } as const
    const all = await everywhere((device) => dense(device, 37, 61, where))
    const unit = (high: number, low: number) => (Number(((BigInt(high) << 32n) | BigInt(low)) >> 11n) + 0.5) * 2 ** -53
    for (let i = 0; i < all.length; i += 7) {
      const [high, low] = philox(where.seed, [Math.floor(i / 61), i % 61, 0, purposeWord('weights', 2)])
      expect(all[i]).to.equal(Math.fround(0.3 * 1.7320508075688772 * (2 * unit(high, low) - 1)))
    }
    for (const links of [1, 350, 37 * 61]) {
      const csr = randomCsr(37, 61, links, links)
      const values = await everywhere((device) => sparse(device, csr, where))
      expect([...values]).to.deep.equal(cellsOf(csr).map((cell) => all[cell]))
    }
  })

  it('is uniform, with the deviation that is asked for', async () => {
    for (const seed of [1, 2, 3]) {
      const values = await dense(cpu(), 300, 200, { deviation: 0.5, seed, operation })
      const reach = 0.5 * Math.sqrt(3)
      const test = kolmogorovTest(values, (x) => Math.min(1, Math.max(0, (x + reach) / (2 * reach))))
      expect(test, 'Kolmogorov and Smirnov').to.be.above(FALSE_ALARM)
    }
  })
})
