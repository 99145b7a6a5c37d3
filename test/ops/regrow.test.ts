import { expect } from 'chai'
import { Device } from '../../lib/device.js'
import {
  type LinkPredictor,
  linkPredictors,
  type PlainCsr,
  type PredictionRoute,
  predictLinks,
} from '../../lib/tensor.js'
import {
  bestOf,
  chiSquareTest,
  distinctDraws,
  linkScores,
  maskOf,
  philox,
  purposeWord,
  samplingKey,
  setProbabilities,
} from '../reference.js'
import {
  at,
  bitsOf,
  byColumn,
  cellsOf,
  changesOf,
  cpu,
  csrOf,
  everywhere,
  expectOnlyGoodOperands,
  expectRefusal,
  expectSameBits,
  FALSE_ALARM,
  on,
  onAnyThreads,
  places,
  random,
  randomCsr,
  repeats,
  sanitized,
  tally,
  Workspace,
} from '../support.js'

interface Growth {
  csr: PlainCsr
  /** Flags of the links; default: all stay. */
  keep?: Uint8Array | undefined
  predictor: 'none' | LinkPredictor
  selection: 'sample' | 'largest'
  /** Links afterwards. */
  count: number
  capacity?: number
  update?: number
  seed?: number
  layer?: number
  route?: PredictionRoute
}

/** The cells of the new links, in the order in which they come. */
function regrow(device: Device, growth: Growth): Promise<number[]> {
  return on(device, async (w) => {
    const { csr, keep, predictor, selection, count, update = 1, seed = 0, layer = 0, route } = growth
    const links = w.matrix(csr, growth.capacity ?? Math.max(csr.columnIndices.length, count))
    const changes = changesOf(w, links.capacity)
    const flags = new Uint8Array(links.capacity).fill(1)
    if (keep) flags.set(byColumn(csr, keep))
    await changes.keep.write(flags)
    await w.run([['regrow', { links, changes, predictor, selection, count: 0, update: 1, seed, layer, route }]], {
      scalars: [count, update],
    })
    const [rows, columns, added] = await Promise.all([
      changes.newRows.read(),
      changes.newColumns.read(),
      changes.newCount.read(),
    ])
    return Array.from(rows.slice(0, added[0]), (row, n) => row * csr.cols + columns[n])
  })
}

/** The links that stay. */
function keptOf({ csr, keep }: Growth): PlainCsr {
  return csrOf(
    csr.rows,
    csr.cols,
    cellsOf(csr).filter((_, k) => !keep || keep[k]),
  )
}

/** Expects as many new links as are wanted, missing ones of the kept topology, by row, then column, each once. */
function expectValid(cells: number[], growth: Growth, what: string): void {
  const kept = keptOf(growth)
  const mask = maskOf(kept)
  expect(cells.length, what).to.equal(Math.max(0, growth.count - kept.columnIndices.length))
  expect(
    cells.every((cell, n) => !mask[cell] && cell < kept.rows * kept.cols && (n === 0 || cell > cells[n - 1])),
    `${what}: missing links in order`,
  ).to.equal(true)
}

/**
 * The cells that regrow should choose, by reference Philox and the library's own scores (which other tests check);
 * undefined when it is a matter of rounding.
 */
function expectedCells(growth: Growth): number[] | undefined {
  const { predictor, selection, count, update = 1, seed = 0, layer = 0 } = growth
  const kept = keptOf(growth)
  const wanted = Math.max(0, count - kept.columnIndices.length)
  const scores = predictor === 'none' ? { row: [], col: [], score: [] } : predictLinks(kept, predictor)
  const ranked = Array.from(scores.score, (score, n) => {
    const words = philox(seed, [scores.row[n], scores.col[n], update, purposeWord('regrow', layer)])
    return { key: selection === 'largest' ? score : samplingKey(score, words[0], 1), tie: words[1] }
  })
  const best = bestOf(ranked, Math.min(wanted, ranked.length))
  if (!best) return undefined
  const chosen = best.map((n) => scores.row[n] * kept.cols + scores.col[n])
  const taken = maskOf(kept)
  for (const cell of chosen) taken[cell] = 1
  const free = Array.from(taken, (_, cell) => cell).filter((cell) => !taken[cell])
  const fill = distinctOf(wanted - chosen.length, free.length, seed, update, purposeWord('fill', layer))
  return [...chosen, ...fill.map((n) => free[n])].sort((a, b) => a - b)
}

/** Distinct draws; when more than half of the range is wanted, the draws say what stays out. */
function distinctOf(count: number, range: number, seed: number, step: number, purpose: number): number[] {
  const all = Array.from({ length: range }, (_, n) => n)
  if (count <= range / 2) return [...distinctDraws(count, range, seed, step, purpose)]
  const out = distinctDraws(range - count, range, seed, step, purpose)
  return all.filter((n) => !out.has(n))
}

function flagsOf(length: number, share: number, seed: number): Uint8Array {
  const next = random(seed)
  return Uint8Array.from({ length }, () => (next() < share ? 1 : 0))
}

describe('regrow', () => {
  const shapes = [
    { rows: 1, cols: 1, links: 0, count: 1 },
    { rows: 1, cols: 9, links: 4, count: 6 },
    { rows: 9, cols: 1, links: 4, count: 9 },
    { rows: 6, cols: 7, links: 0, count: 20 },
    { rows: 6, cols: 7, links: 42, count: 42 },
    { rows: 20, cols: 30, links: 25, count: 200 },
    { rows: 37, cols: 61, links: 350, count: 350 },
    { rows: 61, cols: 37, links: 700, count: 900 },
    { rows: 40, cols: 70, links: 1680, count: 1700 },
    // Far more candidates than are wanted: most are refused before their logarithms are known.
    { rows: 150, cols: 200, links: 700, count: 702 },
    { rows: 200, cols: 150, links: 3000, count: 3002 },
  ]
  for (const predictor of ['none', ...linkPredictors] as const) {
    for (const selection of ['sample', 'largest'] as const) {
      for (const { rows, cols, links, count } of shapes) {
        const title =
          `chooses missing links as its Philox words say: ${predictor}, ${selection}, ${rows}x${cols}, ` +
          `${links} to ${count} links`
        it(title, async () => {
          const csr = randomCsr(rows, cols, links, 1)
          for (const share of sanitized && links > 300 ? [0.7] : [1, 0.7, 0]) {
            const growth = {
              csr,
              keep: flagsOf(links, share, 2),
              predictor,
              selection,
              count,
              update: 5,
              seed: 6e9,
              layer: 4,
            }
            const cells = await everywhere((device) => regrow(device, growth))
            expectValid(cells, growth, `${share} kept`)
            const expected = expectedCells(growth)
            if (expected) expect(cells, `${share} kept`).to.deep.equal(expected)
          }
        })
      }
    }
  }

  it('grows nothing when there are links enough', async () => {
    const csr = randomCsr(20, 30, 100, 3)
    for (const count of [100, 99, 0])
      expect(
        await everywhere((device) => regrow(device, { csr, predictor: 'CH2-L3n', selection: 'sample', count })),
      ).to.deep.equal([])
  })

  it('takes the best scores of the kept topology', async () => {
    const csr = randomCsr(30, 40, 150, 4)
    const keep = flagsOf(150, 0.7, 5)
    for (const predictor of linkPredictors) {
      const growth = { csr, keep, predictor, selection: 'largest' as const, count: 150 }
      const scores = linkScores(keptOf(growth), predictor)
      const cells = new Set(await everywhere((device) => regrow(device, growth)))
      const worst = Math.min(...[...cells].map((cell) => scores[cell]))
      const missed = Math.max(...Array.from(scores, (score, cell) => (cells.has(cell) ? 0 : score)))
      expect(missed, predictor).to.be.at.most(worst * (1 + 1e-5))
    }
  })

  it('gives the same bits on any number of threads and everywhere', async () => {
    for (const [rows, cols, links, predictors] of [
      [150, 130, 900, ['none', ...linkPredictors]],
      [150, 130, 9000, ['none', ...(sanitized ? [] : (['CH2-L3n', 'CH3-L3n'] as const))]],
      [40, 50, 900, ['CH2-L3p', 'CH3-L3p']],
    ] as const) {
      const csr = randomCsr(rows, cols, links, 6)
      const keep = flagsOf(links, 0.7, 7)
      for (const predictor of predictors) {
        for (const selection of ['sample', 'largest'] as const) {
          const growth = { csr, keep, predictor, selection, count: links, seed: 8 }
          const cells = await onAnyThreads((device) => regrow(device, growth))
          expectValid(cells, growth, `${predictor}, ${selection}`)
          if (!sanitized) expectSameBits(await everywhere((device) => regrow(device, growth)), cells, 'everywhere')
        }
      }
    }
  })

  it('chooses the same by both routes, on any processor', async () => {
    for (const [rows, cols, links] of [
      [150, 130, 900],
      [130, 290, 3000],
    ] as const) {
      const csr = randomCsr(rows, cols, links, 6)
      for (const predictor of linkPredictors) {
        const growth: Growth = {
          csr,
          keep: flagsOf(links, 0.7, 7),
          predictor,
          selection: 'sample',
          count: links,
          seed: 8,
        }
        const cells = await regrow(cpu(), { ...growth, route: 'sparse' })
        for (const place of places.filter((place) => place !== 'cuda')) {
          for (const threads of [1, 2])
            expectSameBits(
              await regrow(at(place, threads), { ...growth, route: 'dense' }),
              cells,
              `${predictor}, ${place}, ${threads} threads`,
            )
        }
      }
    }
  })

  const title =
    'chooses by the dense route of a GPU what the sparse one chooses, but where keys are as close as its scores'
  it(title, async function () {
    if (!places.includes('cuda') || sanitized) this.skip()
    let [grown, differing] = [0, 0]
    for (const [rows, cols, links] of [
      [150, 130, 900],
      [130, 190, 3000],
      [70, 65, 1500],
      [600, 5, 900],
      [64, 1, 20],
      [1, 1, 0],
    ] as const) {
      const csr = randomCsr(rows, cols, links, 6)
      for (const predictor of ['CH2-L3n', 'CH3-L3n'] as const) {
        for (const selection of ['sample', 'largest'] as const) {
          const growth: Growth = { csr, keep: flagsOf(links, 0.7, 7), predictor, selection, count: links, seed: 8 }
          const expected = new Set(await regrow(cpu(), { ...growth, route: 'sparse' }))
          const cells = await regrow(at('cuda'), { ...growth, route: 'dense' })
          expectValid(cells, growth, `${predictor}, ${selection}, ${rows} x ${cols}`)
          expectSameBits(await regrow(at('cuda'), { ...growth, route: 'dense' }), cells, 'again')
          grown += cells.length
          differing += cells.filter((cell) => !expected.has(cell)).length
        }
      }
    }
    // Scores that are equal by the definition may differ in their last bits here, and then the largest ones are not
    // chosen by the seed alone.
    expect(grown).to.be.above(5000)
    expect(differing, `of ${grown}`).to.be.at.most(0.002 * grown)
  })

  it("F7: chooses by the faster route for 'auto' on a GPU, by the sparse one where bits must agree", async function () {
    if (!places.includes('cuda')) this.skip()
    using fastest = new Device({ kind: 'cuda' })
    const [rows, cols, links] = [96, 80, 4000]
    expect(fastest.predictionRoute(rows, cols, links, 'CH2-L3n')).to.equal('dense')
    const csr = randomCsr(rows, cols, links, 6)
    for (const selection of ['sample', 'largest'] as const) {
      const keep = flagsOf(links, 0.7, 7)
      const growth: Growth = { csr, keep, predictor: 'CH2-L3n', selection, count: links, seed: 8 }
      const sparse = await regrow(cpu(), { ...growth, route: 'sparse' })
      const cells = await regrow(fastest, growth)
      expectSameBits(cells, await regrow(fastest, { ...growth, route: 'dense' }), 'the dense route')
      expectSameBits(await regrow(at('cuda'), growth), sparse, 'deterministic everywhere')
      const expected = new Set(sparse)
      const differing = cells.filter((cell) => !expected.has(cell)).length
      expect(differing, `${selection}, of ${cells.length}`).to.be.at.most(0.002 * cells.length)
    }
  })

  // A backend may score such rows in parts: the columns that a hub's paths lead to are more than a table of them has
  // room for.
  for (const [rows, cols, links, predictor] of [
    [40, 6000, 6000, 'CH2-L3n'],
    [6000, 40, 6000, 'CH2-L3n'],
    [2100, 2300, 5000, 'CH2-L3n'],
    [12, 6000, 3000, 'CH3-L3p'],
    [2100, 2300, 2000, 'CH3-L3p'],
  ] as const) {
    it(`chooses the same on every device by ${predictor} in a layer of ${rows} x ${cols} with hubs`, async () => {
      const next = random(rows)
      const cells = new Set<number>()
      while (cells.size < links) cells.add(Math.floor(next() ** 2 * rows) * cols + Math.floor(next() ** 2 * cols))
      const csr = csrOf(rows, cols, cells)
      for (const selection of sanitized ? (['sample'] as const) : (['sample', 'largest'] as const)) {
        const growth: Growth = {
          csr,
          keep: flagsOf(links, 0.9, 6),
          predictor,
          selection,
          count: links,
          route: 'sparse',
        }
        expectValid(await everywhere((device) => regrow(device, growth)), growth, selection)
      }
    })
  }

  it('depends on seed, update and layer', async () => {
    for (const predictor of ['none', 'CH2-L3n'] as const) {
      const base: Growth = { csr: randomCsr(20, 20, 80, 9), predictor, selection: 'sample', count: 120 }
      const first = await regrow(cpu(), base)
      expect(await regrow(cpu(2), base)).to.deep.equal(first)
      for (const different of [{ seed: 1 }, { seed: 2 ** 32 }, { update: 2 }, { layer: 1 }]) {
        expect(
          await regrow(cpu(), { ...base, ...different }),
          `${predictor}, ${JSON.stringify(different)}`,
        ).to.not.deep.equal(first)
      }
    }
  })

  /** What is grown in many updates of one layer: bit masks over `among`. */
  async function manyUpdates(growth: Growth, among: number[], updates: number): Promise<number[]> {
    return on(cpu(), async (w) => {
      const { csr, predictor, selection, count } = growth
      const links = w.matrix(csr, count)
      const changes = changesOf(w, count)
      const program = w.program({ scalars: 2 })
      program.record('beginUpdate', { links, changes })
      program.record('regrow', { links, changes, predictor, selection, count: 0, update: 1, seed: 13, layer: 1 })
      const scalars = Array.from({ length: updates }, (_, update) => [count, update]).flat()
      await program.replay(0, { begin: { scalars } })
      const reads: Promise<Int32Array[]>[] = []
      for (let update = 0; update < updates; ++update) {
        void program.replay(1)
        reads.push(Promise.all([changes.newRows.read(), changes.newColumns.read()]))
      }
      const grown = count - csr.columnIndices.length
      return (await Promise.all(reads)).map(([rows, columns]) =>
        bitsOf(Array.from(rows.slice(0, grown), (row, n) => among.indexOf(row * csr.cols + columns[n]))),
      )
    })
  }

  const updates = repeats(6000)
  /** The missing cells of a layer. */
  const missingOf = (csr: PlainCsr) => Array.from(maskOf(csr), (_, cell) => cell).filter((cell) => !maskOf(csr)[cell])
  // A layer whose 18 missing links have very different scores, ten of them 0.
  const uneven = csrOf(5, 6, [4, 6, 7, 9, 11, 18, 21, 22, 23, 25, 27, 28])
  const missing = missingOf(uneven)
  const scoresOf = (predictor: LinkPredictor) => missing.map((cell) => linkScores(uneven, predictor)[cell])

  for (const predictor of linkPredictors) {
    for (const grown of [1, 2, 3]) {
      it(`samples ${grown} like sequential draws by ${predictor}`, async () => {
        const scores = scoresOf(predictor)
        expect(Math.max(...scores), 'a wide range of scores').to.be.above(6 * Math.min(...scores.filter((s) => s > 0)))
        const sets = await manyUpdates(
          { csr: uneven, predictor, selection: 'sample', count: 12 + grown },
          missing,
          2 * updates,
        )
        expect(chiSquareTest(tally(sets), setProbabilities(scores, grown))).to.be.above(FALSE_ALARM)
      })
    }
  }

  it('fills up uniformly from the links of score 0, after all positive ones', async () => {
    const scores = scoresOf('CH2-L3n')
    const positive = scores.filter((s) => s > 0).length
    expect([positive, missing.length]).to.deep.equal([8, 18])
    for (const selection of ['sample', 'largest'] as const) {
      for (const extra of [1, 2]) {
        const sets = await manyUpdates(
          { csr: uneven, predictor: 'CH2-L3n', selection, count: 12 + positive + extra },
          missing,
          updates,
        )
        expect(
          chiSquareTest(tally(sets), setProbabilities(scores, positive + extra)),
          `${selection}, ${extra}`,
        ).to.be.above(FALSE_ALARM)
      }
    }
  })

  it('chooses uniformly without a predictor', async () => {
    const small = csrOf(4, 5, [0, 1, 5, 7, 8, 12, 19])
    for (const grown of [1, 2, 11]) {
      const sets = await manyUpdates(
        { csr: small, predictor: 'none', selection: 'sample', count: 7 + grown },
        missingOf(small),
        updates,
      )
      expect(chiSquareTest(tally(sets), setProbabilities(new Array(13).fill(1), grown)), `${grown}`).to.be.above(
        FALSE_ALARM,
      )
    }
  })

  it('breaks ties of the best by chance', async () => {
    // A ring: every missing link has the same score as its images under rotation.
    const ring = csrOf(5, 5, [0, 1, 6, 7, 12, 13, 18, 19, 24, 20])
    const scores = linkScores(ring, 'CH2-L3n')
    const best = Math.max(...scores)
    const tied = Array.from(scores, (_, cell) => cell).filter((cell) => Math.abs(scores[cell] - best) < 1e-9)
    expect(tied.length).to.be.within(4, 10)
    for (const grown of [1, 2]) {
      const sets = await manyUpdates(
        { csr: ring, predictor: 'CH2-L3n', selection: 'largest', count: 10 + grown },
        tied,
        updates,
      )
      expect(
        chiSquareTest(tally(sets), setProbabilities(new Array(tied.length).fill(1), grown)),
        `${grown}`,
      ).to.be.above(FALSE_ALARM)
    }
  })

  it('refuses more links than fit, and works on', async () => {
    for (const place of places)
      await on(at(place), async (w) => {
        const csr = randomCsr(5, 6, 12, 10)
        for (const [capacity, tooMany] of [
          [15, 16],
          [40, 31],
        ]) {
          const links = w.matrix(csr, capacity)
          const changes = changesOf(w, capacity)
          const program = w.program({ scalars: 2 })
          program.record('beginUpdate', { links, changes })
          program.record('regrow', {
            links,
            changes,
            predictor: 'CH2-L3n',
            selection: 'sample',
            count: 0,
            update: 1,
            seed: 0,
            layer: 9,
          })
          program.record('rebuild', { links, changes, arrays: [] })
          const grow = (count: number) => program.replay(1, { begin: { scalars: [count, 1] } })
          const error = await expectRefusal(() => grow(tooMany), 'INVALID_ARGUMENT', `${tooMany} links`)
          expect(error.message).to.match(/layer 9\b/)
          expect(cellsOf({ ...csr, ...(await links.read()) })).to.deep.equal(cellsOf(csr))
          await grow(tooMany - 1)
          expect((await links.read()).columnIndices.length).to.equal(tooMany - 1)
        }
      })
  })

  it('refuses operands that do not fit, and works afterwards', async () => {
    await on(cpu(), async (w) => {
      const program = w.program({ scalars: 2 })
      const other = w.own(new Workspace(cpu(2)))
      const csr = randomCsr(4, 5, 12, 1)
      const changes = changesOf(w, 15)
      const gone = w.tensor('int32', 15)
      gone.dispose()
      const good = {
        links: w.matrix(csr, 15),
        changes,
        predictor: 'none',
        selection: 'sample',
        count: 0,
        update: 1,
        seed: 0,
        layer: 0,
      }
      await changes.keep.write(new Uint8Array(15).fill(1))
      await expectOnlyGoodOperands(program, 'regrow', good, {
        'few flags': [{ changes: { ...changes, keep: w.tensor('uint8', 14) } }, 'INVALID_ARGUMENT'],
        'few new rows': [{ changes: { ...changes, newRows: w.tensor('int32', 14) } }, 'INVALID_ARGUMENT'],
        'few new columns': [{ changes: { ...changes, newColumns: w.tensor('int32', 14) } }, 'INVALID_ARGUMENT'],
        'no new count': [{ changes: { ...changes, newCount: undefined } }, 'INVALID_ARGUMENT'],
        'no changes': [{ changes: undefined }, 'INVALID_ARGUMENT'],
        'an unknown route': [{ route: 'fast' }, 'INVALID_ARGUMENT'],
        'an unknown predictor': [{ predictor: 'CH4-L3p' }, 'INVALID_ARGUMENT'],
        'an unknown selection': [{ selection: 'best' }, 'INVALID_ARGUMENT'],
        'a count that the program lacks': [{ count: 2 }, 'INVALID_ARGUMENT'],
        'no update': [{ update: undefined }, 'INVALID_ARGUMENT'],
        'new rows of another device': [
          { changes: { ...changes, newRows: other.tensor('int32', 15) } },
          'INVALID_ARGUMENT',
        ],
        'disposed new rows': [{ changes: { ...changes, newRows: gone } }, 'DISPOSED'],
      })
      await program.replay(1, { begin: { scalars: [14, 1] } })
      expect((await changes.newCount.read())[0]).to.equal(2)
    })
  })
})
