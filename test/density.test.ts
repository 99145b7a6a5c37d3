import { readFileSync } from 'node:fs'
import { expect } from 'chai'
import {
  constantDensity,
  cosineFraction,
  cubicDensity,
  densitySchedule,
  excessFraction,
  HebbError,
  overshootDensity,
  sigmoidDensity,
} from '../lib/index.js'

interface ScheduleCase {
  kind: 'sparsity-sigmoid' | 'sparsity-cubic' | 'drop-fraction-cosine'
  initial: number
  final: number
  steepness?: number
  total: number
  values: number[]
}

const { cases } = JSON.parse(readFileSync(new URL('vectors/schedules.json', import.meta.url), 'utf8')) as {
  cases: ScheduleCase[]
}

describe('schedules', () => {
  for (const { kind, initial, final, steepness, total, values } of cases) {
    it(`${kind} from ${initial} to ${final} over ${total} updates agrees with the authors' values`, () => {
      const ends = { initialDensity: 1 - initial, finalDensity: 1 - final, updates: total }
      const at = {
        'sparsity-sigmoid': () => (c: number) =>
          1 - densitySchedule.sigmoid({ ...ends, steepness: steepness as number })(c),
        'sparsity-cubic': () => (c: number) => 1 - densitySchedule.cubic(ends)(c),
        'drop-fraction-cosine': () => (c: number) =>
          cosineFraction(initial)({ step: c, lastStep: total, density: 0.1, target: 0.1 }),
      }[kind]()
      for (const [c, value] of values.entries()) expect(at(c), `update ${c}`).to.be.closeTo(value, 1e-9)
    })
  }

  it('begin and end exactly, and stay at the end', () => {
    for (const schedule of [densitySchedule.sigmoid, densitySchedule.cubic]) {
      const at = schedule({ initialDensity: 0.5, finalDensity: 0.01, updates: 37 })
      expect(at(0)).to.equal(0.5)
      expect(at(37)).to.equal(0.01)
      expect(at(1000)).to.equal(0.01)
    }
  })

  it('fall at every update', () => {
    for (const schedule of [densitySchedule.sigmoid, densitySchedule.cubic]) {
      const at = schedule({ initialDensity: 0.5, finalDensity: 0.05, updates: 20 })
      for (let c = 1; c <= 20; ++c) expect(at(c)).to.be.below(at(c - 1))
    }
  })

  it('rules take their share of the updates and never rise from a density below the target', () => {
    expect(sigmoidDensity().schedule({ target: 0.01, updates: 75 })(37)).to.equal(0.01)
    expect(sigmoidDensity().schedule({ target: 0.01, updates: 75 })(36)).to.be.above(0.01)
    expect(cubicDensity().schedule({ target: 0.01, updates: 75 })(74)).to.be.above(0.01)
    expect(sigmoidDensity().schedule({ target: 0.8, updates: 10 })(0)).to.equal(0.8)
    expect(constantDensity().schedule({ target: 0.2, updates: 5 })(3)).to.equal(0.2)
  })

  it('overshoot is above the target, in steps, until the last update', () => {
    const at = overshootDensity().schedule({ target: 0.01, updates: 10 })
    const shares = Array.from({ length: 13 }, (_, c) => Number(at(c).toFixed(9)))
    expect(shares).to.deep.equal([...new Array(6).fill(0.06), ...new Array(4).fill(0.035), 0.01, 0.01, 0.01])
    expect(
      overshootDensity({ by: [{ density: 0.5, until: 1 }] }).schedule({ target: 0.7, updates: 4 })(0),
      'no more than all',
    ).to.equal(1)
    expect(overshootDensity().schedule({ target: 0.01, updates: 0 })(0), 'without updates').to.equal(0.01)
    // What exceeds the target is what goes, and comes back as other links.
    expect(0.06 * (1 - excessFraction()({ step: 3, lastStep: 9, density: 0.06, target: 0.01 }))).to.be.closeTo(
      0.01,
      1e-12,
    )
    expect(excessFraction()({ step: 9, lastStep: 9, density: 0.01, target: 0.01 })).to.equal(0)
    for (const by of [
      [{ density: -1, until: 1 }],
      [{ density: 0.1, until: 2 }],
      [
        { density: 0.1, until: 0.6 },
        { density: 0.1, until: 0.5 },
      ],
    ]) {
      expect(() => overshootDensity({ by })).to.throw(HebbError, /by\[/)
    }
  })

  it('reject densities outside (0, 1] and broken numbers', () => {
    for (const finalDensity of [0, -0.1, 1.5, Number.NaN, '0.1']) {
      expect(() => densitySchedule.sigmoid({ finalDensity: finalDensity as number, updates: 5 })).to.throw(
        HebbError,
        /finalDensity/,
      )
    }
    expect(() => densitySchedule.cubic({ finalDensity: 0.1, updates: 2.5 })).to.throw(HebbError, /updates/)
    expect(() => densitySchedule.cubic({ finalDensity: 0.1, updates: 3 })(-1)).to.throw(HebbError, /c /)
  })
})
