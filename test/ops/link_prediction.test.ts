import { readFileSync } from 'node:fs'
import { expect } from 'chai'
import { type PlainCsr, predictLinks } from '../../lib/tensor.js'
import { fullCsr, linkScores } from '../reference.js'
import { at, cellsOf, csrOf, expectRefusal, expectSameBits, on, places, randomCsr, sanitized } from '../support.js'

const predictors = ['CH2-L3n', 'CH3-L3n', 'CH2-L3p', 'CH3-L3p'] as const

/** Allowed relative error of a score: it is a sum of float32 terms. */
const tolerance = 1e-5

interface Scores {
  row: ArrayLike<number>
  col: ArrayLike<number>
  score: ArrayLike<number>
}

/** Expects the same links in the same order, and the same scores. */
function expectScores(actual: Scores, expected: Scores, what: string): void {
  expect(Array.from(actual.row), `${what}: rows`).to.deep.equal(Array.from(expected.row))
  expect(Array.from(actual.col), `${what}: columns`).to.deep.equal(Array.from(expected.col))
  for (let n = 0; n < expected.score.length; ++n) {
    const error = Math.abs(actual.score[n] - expected.score[n])
    if (!(error <= tolerance * expected.score[n])) {
      expect.fail(
        `${what}: link (${expected.row[n]}, ${expected.col[n]}) scores ${actual.score[n]}, expected ` +
          expected.score[n],
      )
    }
  }
}

/** The nonzero scores, by row, then column. */
function listed(scores: Float64Array, cols: number): Scores {
  const cells = Array.from(scores, (_, cell) => cell).filter((cell) => scores[cell] !== 0)
  return {
    row: cells.map((cell) => Math.floor(cell / cols)),
    col: cells.map((cell) => cell % cols),
    score: cells.map((cell) => scores[cell]),
  }
}

function transposed(csr: PlainCsr): PlainCsr {
  return csrOf(
    csr.cols,
    csr.rows,
    cellsOf(csr).map((cell) => (cell % csr.cols) * csr.rows + Math.floor(cell / csr.cols)),
  )
}

interface Case {
  name: string
  rows: number
  cols: number
  rowOffsets: number[]
  columnIndices: number[]
  scores: Record<string, Scores>
}

describe("predictLinks: the authors' scores", () => {
  const { cases } = JSON.parse(readFileSync(new URL('../vectors/link-prediction.json', import.meta.url), 'utf8')) as {
    cases: Case[]
  }
  for (const { name, rows, cols, rowOffsets, columnIndices, scores } of cases) {
    for (const predictor of predictors) {
      if (!scores[predictor]) continue
      it(`${predictor}, ${name}`, async () => {
        const csr = {
          rows,
          cols,
          rowOffsets: Int32Array.from(rowOffsets),
          columnIndices: Int32Array.from(columnIndices),
        }
        for (const route of ['auto', 'sparse', 'dense'] as const)
          expectScores(predictLinks(csr, predictor, { route }), scores[predictor], `${predictor}, ${route}`)
        for (const place of places)
          await on(at(place), async (w) => {
            for (const route of place === 'cuda' && predictor.endsWith('p')
              ? (['sparse'] as const)
              : (['sparse', 'dense'] as const))
              expectScores(
                await w.matrix(csr).predictLinks(predictor, { route }),
                scores[predictor],
                `${place}, ${predictor}, ${route}`,
              )
          })
        // The reference of these tests is held to them too.
        expectScores(listed(linkScores(csr, predictor), cols), scores[predictor], 'reference')
      })
    }
  }
})

describe('predictLinks', () => {
  const shapes = [
    { rows: 1, cols: 1, links: 0 },
    { rows: 1, cols: 1, links: 1 },
    { rows: 1, cols: 9, links: 4 },
    { rows: 9, cols: 1, links: 4 },
    { rows: 5, cols: 6, links: 1 },
    { rows: 20, cols: 30, links: 0 },
    { rows: 37, cols: 61, links: 70 },
    { rows: 61, cols: 37, links: 350 },
    { rows: 64, cols: 64, links: 300 },
    { rows: 100, cols: 130, links: 650 },
    { rows: 33, cols: 129, links: 1200 },
    { rows: 80, cols: 70, links: 3360 }, // 60%: the dense coefficients
    { rows: 70, cols: 80, links: 5500 }, // 98%
    { rows: 70, cols: 70, links: 4900 }, // all links: none is missing
  ]
  for (const { rows, cols, links } of shapes) {
    it(`agrees with the definition: ${rows}x${cols}, ${links} links`, () => {
      const csr = links === rows * cols ? fullCsr(rows, cols) : randomCsr(rows, cols, links, 1)
      for (const predictor of predictors)
        expectScores(predictLinks(csr, predictor), listed(linkScores(csr, predictor), cols), predictor)
    })
  }

  it('gives the same bits by both routes', () => {
    for (const [rows, cols, links] of [
      [1, 1, 0],
      [1, 9, 4],
      [61, 37, 350],
      [100, 130, 4000],
      [130, 100, 6500],
      [64, 65, 2000],
      [300, 310, 4650],
      [330, 290, 900],
    ]) {
      const csr = randomCsr(rows, cols, links, 4)
      for (const predictor of predictors) {
        const sparse = predictLinks(csr, predictor, { route: 'sparse' })
        expectSameBits(predictLinks(csr, predictor, { route: 'dense' }), sparse, `${predictor}, ${rows}x${cols}, dense`)
        expectSameBits(predictLinks(csr, predictor), sparse, `${predictor}, ${rows}x${cols}, auto`)
      }
    }
  })

  describe('on a device', () => {
    const byNodes = ['CH2-L3n', 'CH3-L3n'] as const

    it('gives the same bits as at once, by the sparse route and by what a device chooses', async () => {
      for (const { rows, cols, links } of shapes) {
        const csr = links === rows * cols ? fullCsr(rows, cols) : randomCsr(rows, cols, links, 1)
        for (const predictor of predictors) {
          const expected = predictLinks(csr, predictor, { route: 'sparse' })
          for (const place of places) {
            // This GPU chooses the sparse route.
            const once = sanitized && place === 'cuda'
            if (once && links > (predictor.endsWith('p') ? 700 : 4000)) continue
            await on(at(place), async (w) => {
              for (const route of once ? (['auto'] as const) : (['sparse', 'auto'] as const))
                expectSameBits(
                  await w.matrix(csr, links + 5).predictLinks(predictor, { route }),
                  expected,
                  `${place}, ${predictor}, ${rows}x${cols}, ${route}`,
                )
            })
          }
        }
      }
    })

    it('agrees with the definition by the dense route, a GPU to 1e-6, in each run with the same bits', async () => {
      const more = [
        { rows: 1, cols: 9, links: 4 },
        { rows: 65, cols: 200, links: 5000 },
        { rows: 200, cols: 65, links: 5000 },
        { rows: 150, cols: 140, links: 16_000 },
        { rows: 600, cols: 5, links: 900 }, // an emulated GPU makes the coefficients of the larger side in two panels
        { rows: 5, cols: 600, links: 900 },
      ]
      for (const { rows, cols, links } of [...shapes, ...more]) {
        if (sanitized && links > 1000) continue
        const csr = links === rows * cols ? fullCsr(rows, cols) : randomCsr(rows, cols, links, 1)
        for (const predictor of byNodes) {
          const expected = listed(linkScores(csr, predictor), cols)
          for (const place of places)
            await on(at(place), async (w) => {
              const matrix = w.matrix(csr, links + 5)
              const got = await matrix.predictLinks(predictor, { route: 'dense' })
              const where = `${place}, ${predictor}, ${rows}x${cols}, ${links} links`
              expect([...got.row], where).to.deep.equal(expected.row)
              expect([...got.col], where).to.deep.equal(expected.col)
              const allowed = place === 'cuda' ? 1e-6 : tolerance
              const off = Array.from(expected.score).findIndex(
                (score, n) => !(Math.abs(got.score[n] - score) <= allowed * score),
              )
              if (off >= 0) expect.fail(`${where}: ${got.score[off]} instead of ${expected.score[off]}`)
              expectSameBits(await matrix.predictLinks(predictor, { route: 'dense' }), got, where)
            })
        }
      }
    })

    it('has the dense route by paths on CPUs alone, and says so', async function () {
      if (!places.includes('cuda')) this.skip()
      await on(at('cuda'), async (w) => {
        for (const predictor of ['CH2-L3p', 'CH3-L3p'] as const) {
          const error = await expectRefusal(
            () => w.matrix(csrOf(2, 2, [0, 2, 3])).predictLinks(predictor, { route: 'dense' }),
            'UNSUPPORTED',
            predictor,
          )
          expect(error.message).to.match(/'auto' or 'sparse' for a predictor by paths/)
        }
      })
    })

    it('refuses the dense route where pairs of neurons do not fit', async () => {
      for (const place of places)
        await on(at(place), async (w) => {
          for (const [rows, cols] of [
            [8256, 8193],
            [2, 70_000],
          ]) {
            const matrix = w.matrix({
              rows,
              cols,
              rowOffsets: new Int32Array(rows + 1),
              columnIndices: new Int32Array(),
            })
            await expectRefusal(
              () => matrix.predictLinks('CH2-L3n', { route: 'dense' }),
              'UNSUPPORTED',
              `${place}, ${rows} x ${cols}`,
            )
          }
        })
    })
  })

  it('refuses the dense route where pairs of neurons do not fit', async () => {
    for (const [rows, cols] of [
      [8256, 8193],
      [2, 70_000],
    ]) {
      const rowOffsets = new Int32Array(rows + 1)
      await expectRefusal(
        () => predictLinks({ rows, cols, rowOffsets, columnIndices: new Int32Array() }, 'CH2-L3p', { route: 'dense' }),
        'UNSUPPORTED',
        `${rows} x ${cols}`,
      )
    }
  })

  it('gives the same bits by rows and by tiles, whatever neurons without links are beside', () => {
    // Beside many neurons without links the same layer is scored by rows: tiles hold at most 65,535 neurons.
    for (const [rows, cols, links] of [
      [100, 130, 4000],
      [130, 100, 6500],
      [64, 65, 2000],
      [129, 127, 12_000],
    ]) {
      if (sanitized && links > 4000) continue
      const csr = randomCsr(rows, cols, links, 4)
      for (const predictor of predictors) {
        const alone = predictLinks(csr, predictor)
        expectSameBits(
          predictLinks({ ...csr, cols: 70_000 }, predictor),
          alone,
          `${predictor}, ${rows}x${cols}, more columns`,
        )
        const rowOffsets = new Int32Array(70_001).fill(links)
        rowOffsets.set(csr.rowOffsets)
        expectSameBits(
          predictLinks({ ...csr, rows: 70_000, rowOffsets }, predictor),
          alone,
          `${predictor}, ${rows}x${cols}, more rows`,
        )
      }
    }
  })

  it('scores a path of length three', () => {
    // 0 - 0 - 1 - 1: outputs 0 and 1 share input 0, and output 1 has input 1 too. Missing: (0, 1).
    const csr = csrOf(2, 2, [0, 2, 3])
    // By output 1: one common neighbour, external degree 2 - 1. By input 0: one common neighbour, external degree 2 -
    // 1.
    expect(predictLinks(csr, 'CH2-L3n')).to.deep.equal({
      row: Int32Array.of(0),
      col: Int32Array.of(1),
      score: Float32Array.of(4),
    })
    expect(predictLinks(csr, 'CH3-L3n')).to.deep.equal({
      row: Int32Array.of(0),
      col: Int32Array.of(1),
      score: Float32Array.of(2),
    })
    // The one path: sqrt(2 * 2 / (1 * 1)), and 1.
    expectScores(predictLinks(csr, 'CH2-L3p'), { row: [0], col: [1], score: [2] }, 'CH2-L3p')
    expect(predictLinks(csr, 'CH3-L3p')).to.deep.equal({
      row: Int32Array.of(0),
      col: Int32Array.of(1),
      score: Float32Array.of(1),
    })
  })

  it('gives a layer and its transpose the same scores', () => {
    for (const links of [300, 2500]) {
      const csr = randomCsr(70, 90, links, 3)
      for (const predictor of predictors) {
        const there = predictLinks(csr, predictor)
        const back = predictLinks(transposed(csr), predictor)
        const byColumn = Array.from(there.row, (_, n) => n).sort(
          (a, b) => there.col[a] - there.col[b] || there.row[a] - there.row[b],
        )
        const turned = {
          row: byColumn.map((n) => there.col[n]),
          col: byColumn.map((n) => there.row[n]),
          score: byColumn.map((n) => there.score[n]),
        }
        expectScores(back, turned, predictor)
      }
    }
  })

  it('does without the coefficients that would not fit into memory', () => {
    // Two outputs with 4200 of 8300 inputs each, 100 of them in common: the inputs' coefficients would take 8300 x 8320
    // floats.
    const cols = 8300
    const csr = csrOf(2, cols, [
      ...Array.from({ length: 4200 }, (_, j) => j),
      ...Array.from({ length: 4200 }, (_, j) => cols + 4100 + j),
    ])
    const { row, col, score } = predictLinks(csr, 'CH2-L3n')
    expect(row.length).to.equal(2 * 4100)
    expect([row[0], col[0], row[4100], col[4100]]).to.deep.equal([0, 4200, 1, 0])
    // Through the other output: 100 common inputs, 4100 of its own. Through the 100 common inputs: each has one output
    // more than it shares.
    const expected = 101 / 4100 + 100 * (2 / 1)
    for (const s of score)
      if (!(Math.abs(s - expected) <= tolerance * expected)) expect.fail(`${s} instead of ${expected}`)
    // 100 paths over the common inputs and the other output.
    const paths = predictLinks(csr, 'CH2-L3p')
    expect(paths.row.length).to.equal(2 * 4100)
    const byPaths = 100 * Math.sqrt((2 * 101) / (1 * 4100))
    for (const s of paths.score)
      if (!(Math.abs(s - byPaths) <= tolerance * byPaths)) expect.fail(`${s} instead of ${byPaths}`)
  })

  it('refuses what is no matrix, and unknown predictors', async () => {
    const csr = { rows: 2, cols: 3, rowOffsets: Int32Array.of(0, 1, 3), columnIndices: Int32Array.of(1, 0, 2) }
    const bad: Record<string, Partial<PlainCsr>> = {
      'too few offsets': { rowOffsets: Int32Array.of(0, 3) },
      'an offset that does not begin at 0': { rowOffsets: Int32Array.of(1, 1, 3) },
      'descending offsets': { rowOffsets: Int32Array.of(0, 4, 3) },
      'offsets that end early': { rowOffsets: Int32Array.of(0, 1, 2) },
      'offsets past the links': { rowOffsets: Int32Array.of(0, 1, 4) },
      'a negative offset': { rowOffsets: Int32Array.of(0, -1, 3) },
      'a column outside': { columnIndices: Int32Array.of(3, 0, 2) },
      'a negative column': { columnIndices: Int32Array.of(-1, 0, 2) },
      'columns that descend': { columnIndices: Int32Array.of(1, 2, 0) },
      'a link twice': { columnIndices: Int32Array.of(1, 2, 2) },
      'no rows': { rows: 0, rowOffsets: Int32Array.of(0), columnIndices: new Int32Array() },
      'no columns': { cols: 0, rowOffsets: Int32Array.of(0, 0, 0), columnIndices: new Int32Array() },
    }
    for (const [what, different] of Object.entries(bad)) {
      await expectRefusal(() => predictLinks({ ...csr, ...different }, 'CH2-L3n'), 'INVALID_ARGUMENT', what)
    }
    await expectRefusal(() => predictLinks(csr, 'CH4-L3p' as 'CH3-L3p'), 'INVALID_ARGUMENT', 'an unknown predictor')
    await expectRefusal(
      () => predictLinks(csr, 'CH3-L3n', { route: 'fast' as 'auto' }),
      'INVALID_ARGUMENT',
      'an unknown route',
    )
    expect(predictLinks(csr, 'CH2-L3n').row.length).to.equal(listed(linkScores(csr, 'CH2-L3n'), 3).row.length)
  })
})
