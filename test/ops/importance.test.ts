import { expect } from 'chai'
import type { Device } from '../../lib/device.js'
import type { PlainCsr } from '../../lib/tensor.js'
import { importance as reference } from '../reference.js'
import {
  byColumn,
  byRow,
  cpu,
  everywhere,
  expectOnlyGoodOperands,
  nameOf,
  numbers,
  on,
  onAnyThreads,
  random,
  randomCsr,
  shapes,
  Workspace,
} from '../support.js'

type Rule = 'magnitude' | 'relative'

/** What a link that is not kept must still hold afterwards. */
const untouched = -77

function importance(
  device: Device,
  csr: PlainCsr,
  values: Float32Array,
  keep: Uint8Array,
  rule: Rule,
): Promise<Float32Array> {
  return on(device, async (w) => {
    const links = csr.columnIndices.length
    const scores = w.floats(new Float32Array(Math.max(1, links)).fill(untouched))
    const flags = w.tensor('uint8', Math.max(1, links))
    const all = new Uint8Array(Math.max(1, links))
    all.set(byColumn(csr, keep))
    await flags.write(all)
    await w.run([
      ['importance', { links: w.matrix(csr), values: w.floats(byColumn(csr, values)), keep: flags, rule, scores }],
    ])
    return byRow(csr, await scores.read())
  })
}

function flagsOf(length: number, share: number, seed: number): Uint8Array {
  const next = random(seed)
  return Uint8Array.from({ length }, () => (next() < share ? 1 : 0))
}

function expectScores(actual: Float32Array, csr: PlainCsr, values: Float32Array, keep: Uint8Array, rule: Rule): void {
  const expected = reference(csr, values, keep, rule)
  for (let k = 0; k < actual.length; ++k) {
    if (!keep[k]) expect(actual[k], `link ${k} is left alone`).to.equal(untouched)
    // Magnitudes are exact; sums of up to 61 of them are rounded 60 times.
    else
      expect(Math.abs(actual[k] - expected[k]), `link ${k}: ${actual[k]} for ${expected[k]}`).to.be.at.most(
        rule === 'magnitude' ? 0 : 4e-6 * expected[k],
      )
  }
}

describe('importance', () => {
  for (const rule of ['magnitude', 'relative'] as const) {
    for (const shape of shapes) {
      it(`is the ${rule} rule's, of the links that are still kept: ${nameOf(shape)}`, async () => {
        const csr = randomCsr(shape.rows, shape.cols, shape.links, 1)
        const values = numbers(shape.links, 2)
        for (const share of [1, 0.5, 0]) {
          const keep = flagsOf(shape.links, share, 3)
          expectScores(
            await everywhere((device) => importance(device, csr, values, keep, rule)),
            csr,
            values,
            keep,
            rule,
          )
        }
      })
    }
  }

  it('adds a share of the gradient to the magnitude, the same everywhere', async () => {
    for (const { rows, cols, links } of shapes) {
      const csr = randomCsr(rows, cols, links, 1)
      const [values, gradient, keep] = [numbers(links, 2), numbers(links, 3, -50, 50), flagsOf(links, 0.7, 4)]
      for (const share of [0, 0.01, 3]) {
        const scores = await everywhere((device) =>
          on(device, async (w) => {
            const out = w.floats(new Float32Array(Math.max(1, links)).fill(untouched))
            const flags = w.tensor('uint8', Math.max(1, links))
            const all = new Uint8Array(Math.max(1, links))
            all.set(byColumn(csr, keep))
            await flags.write(all)
            const operands = {
              values: w.floats(byColumn(csr, values)),
              gradient: w.floats(byColumn(csr, gradient)),
              keep: flags,
              scores: out,
            }
            await w.run([['importance', { links: w.matrix(csr), ...operands, rule: 'magnitude+gradient', share }]])
            return byRow(csr, await out.read())
          }),
        )
        for (let k = 0; k < links; ++k) {
          const expected = Math.fround(Math.abs(values[k]) + Math.fround(Math.fround(share) * Math.abs(gradient[k])))
          expect(scores[k], `link ${k}`).to.equal(keep[k] ? expected : untouched)
        }
      }
    }
  })

  it('gives zero weights no importance, in rows and columns of zeros too', async () => {
    const csr = randomCsr(12, 15, 60, 4)
    const keep = new Uint8Array(60).fill(1)
    for (const values of [
      new Float32Array(60),
      numbers(60, 5).map((v) => (v < 0.5 ? 0 : v)),
      new Float32Array(60).fill(-0),
    ]) {
      const scores = await importance(cpu(), csr, values, keep, 'relative')
      expectScores(scores, csr, values, keep, 'relative')
      expect(scores.every((s, k) => (values[k] === 0 ? Object.is(s, 0) : s > 0))).to.equal(true)
    }
  })

  it('adds up to the number of rows and columns with links', async () => {
    const csr = randomCsr(30, 40, 400, 6)
    const scores = await importance(cpu(), csr, numbers(400, 7), new Uint8Array(400).fill(1), 'relative')
    const rows = csr.rowOffsets.slice(1).filter((end, row) => end > csr.rowOffsets[row]).length
    const cols = new Set(csr.columnIndices).size
    expect(scores.reduce((a, b) => a + b, 0)).to.be.closeTo(rows + cols, 1e-3)
  })

  it('gives the same bits on any number of threads', async () => {
    const csr = randomCsr(260, 200, 40_000, 8)
    const values = numbers(40_000, 9)
    const keep = flagsOf(40_000, 0.7, 10)
    for (const rule of ['magnitude', 'relative'] as const)
      await onAnyThreads((device) => importance(device, csr, values, keep, rule))
  })

  it('lets NaN through, for the choice to report', async () => {
    const csr = randomCsr(3, 3, 9, 1)
    const values = numbers(9, 2)
    values[4] = Number.NaN
    const scores = await importance(cpu(), csr, values, new Uint8Array(9).fill(1), 'relative')
    expect([1, 3, 4, 5, 7].every((k) => Number.isNaN(scores[k]))).to.equal(true)
    expect([0, 2, 6, 8].every((k) => scores[k] > 0)).to.equal(true)
  })

  it('refuses operands that do not fit, and works afterwards', async () => {
    await on(cpu(), async (w) => {
      const program = w.program()
      const other = w.own(new Workspace(cpu(2)))
      const csr = randomCsr(4, 5, 12, 1)
      const gone = w.floats(12)
      gone.dispose()
      const scores = w.floats(12)
      const keep = w.tensor('uint8', new Uint8Array(12).fill(1))
      const good = {
        links: w.matrix(csr),
        values: w.floats(new Float32Array(12).fill(-3)),
        keep,
        rule: 'magnitude',
        scores,
      }
      await expectOnlyGoodOperands(program, 'importance', good, {
        'too few values': [{ values: w.floats(11) }, 'INVALID_ARGUMENT'],
        'too few flags': [{ keep: w.tensor('uint8', 11) }, 'INVALID_ARGUMENT'],
        'too few scores': [{ scores: w.floats(11) }, 'INVALID_ARGUMENT'],
        'more links than values': [{ links: w.matrix(csr, 13) }, 'INVALID_ARGUMENT'],
        'an unknown rule': [{ rule: 'gradient' }, 'INVALID_ARGUMENT'],
        'no gradient for the rule that adds it': [{ rule: 'magnitude+gradient', share: 0.01 }, 'INVALID_ARGUMENT'],
        'a gradient too short': [
          { rule: 'magnitude+gradient', share: 0.01, gradient: w.floats(11) },
          'INVALID_ARGUMENT',
        ],
        'a negative share': [{ rule: 'magnitude+gradient', share: -1, gradient: w.floats(12) }, 'INVALID_ARGUMENT'],
        'scores in the place of the gradient': [
          { rule: 'magnitude+gradient', share: 1, gradient: scores },
          'INVALID_ARGUMENT',
        ],
        'no rule': [{ rule: undefined }, 'INVALID_ARGUMENT'],
        'links of another device': [{ links: other.matrix(csr) }, 'INVALID_ARGUMENT'],
        'disposed scores': [{ scores: gone }, 'DISPOSED'],
      })
      await program.replay(1)
      expect([...(await scores.read())]).to.deep.equal(new Array(12).fill(3))
    })
  })
})
