import { expect } from 'chai'
import type { Device } from '../../lib/device.js'
import { chance, halves, philox, purposeWord } from '../reference.js'
import { columnsOf, cpu, everywhere, expectOnlyGoodOperands, numbers, on, onAnyThreads, sizes } from '../support.js'

interface Options {
  probability: number
  seed?: number
  layer?: number
  step?: number
  initial?: Float32Array
}

function dropout(
  device: Device,
  features: number,
  batch: number,
  x: Float32Array,
  { probability, seed = 1, layer = 2, step = 5, initial }: Options,
): Promise<Float32Array> {
  return on(device, async (w) => {
    const output = w.batch(features, batch, initial)
    const columns = x.length / features
    const program = w.program({ batch })
    program.record('dropout', {
      ...{ input: w.batch(features, batch, x, 7.5), output, probability, seed, layer },
      accumulate: initial !== undefined,
    })
    await program.replay(1, { begin: { step, columns } })
    return output.read(columns)
  })
}

describe('dropout', () => {
  for (const [features, batch] of sizes) {
    it(`scales what it keeps, by draws that belong to places: ${features} features, batch ${batch}`, async () => {
      const [probability, seed, layer, step] = [0.3, 1, 2, 5]
      const lost = chance(probability)
      const scale = Math.fround(2 ** 16 / (2 ** 16 - lost))
      const draws = new Map<string, number[]>()
      const isKept = (feature: number, column: number): boolean => {
        const eight = Math.floor(column / 8)
        const draw =
          draws.get(`${feature} ${eight}`) ??
          halves(philox(seed, [feature, eight, step, purposeWord('dropout', layer)]))
        draws.set(`${feature} ${eight}`, draw)
        return draw[column % 8] >= lost
      }
      for (const columns of columnsOf(batch)) {
        const [x, initial] = [numbers(columns * features, 1, 0.5, 1), numbers(columns * features, 2)]
        const y = await everywhere((device) => dropout(device, features, batch, x, { probability, seed, layer, step }))
        const expected = x.map((v, i) => (isKept(i % features, Math.floor(i / features)) ? v * scale : 0))
        expect([...y]).to.deep.equal([...expected])
        const added = await everywhere((device) => dropout(device, features, batch, x, { probability, initial }))
        expect([...added]).to.deep.equal([...initial.map((v, i) => v + y[i])])
      }
    })
  }

  it('loses its share, each place by itself, and others in other steps, layers and seeds', async () => {
    const [features, batch] = [500, 256]
    const ones = new Float32Array(features * batch).fill(1)
    const lost = async (options: Partial<Options>) =>
      (await dropout(cpu(), features, batch, ones, { probability: 0.25, ...options })).map((y) => (y === 0 ? 1 : 0))
    const first = await lost({})
    const n = first.length
    const mean = (of: Float32Array) => of.reduce((sum, v) => sum + v, 0) / n
    // Five standard deviations: one in 1.7 million would fail although all is well.
    const bound = (share: number) => 5 * Math.sqrt((share * (1 - share)) / n)
    expect(Math.abs(mean(first) - 0.25)).to.be.below(bound(0.25))
    for (const options of [{ step: 6 }, { layer: 3 }, { seed: 2 }]) {
      const both = (await lost(options)).map((v, i) => v * first[i])
      expect(Math.abs(mean(both) - 0.0625)).to.be.below(bound(0.0625))
    }
    // Neighbours in the batch, and in the features.
    for (const distance of [features, 2 * features, 4 * features, 7 * features, 8 * features, 1]) {
      const pairs = first.map((v, i) => v * first[(i + distance) % n])
      expect(Math.abs(mean(pairs) - 0.0625)).to.be.below(bound(0.0625))
    }
  })

  it('rounds its probability to 2^-16, and scales by what it then keeps, so that the mean stays', async () => {
    const [features, batch] = [500, 256]
    const ones = new Float32Array(features * batch).fill(1)
    for (const [probability, lost] of [
      [0.1, 6554],
      [1 / 3, 21845],
      [2 ** -16, 1],
      [2 ** -18, 0],
      [0.999999, 65535],
    ]) {
      const y = await dropout(cpu(), features, batch, ones, { probability })
      const kept = y.filter((v) => v !== 0)
      expect(new Set(kept).size, `${probability}`).to.be.at.most(1)
      const share = lost / 2 ** 16
      for (const v of kept.subarray(0, 1)) expect(v, `${probability}`).to.equal(Math.fround(1 / (1 - share)))
      const mean = kept.length / y.length
      // Five standard deviations, and one element where hardly any are expected.
      const bound = 5 * Math.sqrt((share * (1 - share)) / y.length) + 1 / y.length
      expect(Math.abs(mean - (1 - share)), `${probability}`).to.be.at.most(bound)
    }
  })

  it('keeps all at 0, and gives the same bits on any number of threads and in place', async () => {
    const x = numbers(300 * 70, 1)
    expect([...(await dropout(cpu(), 70, 300, x, { probability: 0 }))]).to.deep.equal([...x])
    const apart = await onAnyThreads((device) => dropout(device, 70, 300, x, { probability: 0.5 }))
    await on(cpu(), async (w) => {
      const batch = w.batch(70, 300, x)
      const program = w.program({ batch: 300 })
      program.record('dropout', { input: batch, output: batch, probability: 0.5, seed: 1, layer: 2 })
      await program.replay(1, { begin: { step: 5 } })
      expect([...(await batch.read())]).to.deep.equal([...apart])
    })
  })

  it('refuses operands that do not fit', async () => {
    await on(cpu(), async (w) => {
      const program = w.program({ batch: 8 })
      const operands = { input: w.batch(6, 8), output: w.batch(6, 8), probability: 0.1, seed: 0, layer: 0 }
      await expectOnlyGoodOperands(program, 'dropout', operands, {
        'other features': [{ output: w.batch(5, 8) }, 'INVALID_ARGUMENT'],
        'a probability of 1': [{ probability: 1 }, 'INVALID_ARGUMENT'],
        'a negative probability': [{ probability: -0.1 }, 'INVALID_ARGUMENT'],
        'no layer': [{ layer: undefined }, 'INVALID_ARGUMENT'],
      })
    })
  })
})
