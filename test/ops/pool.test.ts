import { expect } from 'chai'
import type { PlainCsr, SparseMatrix } from '../../lib/tensor.js'
import {
  at,
  byColumn,
  byRow,
  cellsOf,
  changesOf,
  cpu,
  csrOf,
  expectOnlyGoodOperands,
  expectRefusal,
  numbers,
  on,
  places,
  random,
  randomCsr,
  type Workspace,
} from '../support.js'

interface Case {
  readonly rows: number
  readonly cols: number
  /** Links of the layer, and of the pool, by cell. */
  readonly links: number[]
  readonly pool: number[]
}

/** Layers whose links are some of the pool's, all, none, and some others, too. */
function* cases(): Generator<Case> {
  for (const [rows, cols, all] of [
    [17, 41, 300],
    [1, 1, 1],
    [5, 6, 30],
    [300, 2, 500],
    [2, 300, 77],
    [4, 9, 0],
    [211, 190, 20_000],
  ] as const) {
    const pool = cellsOf(randomCsr(rows, cols, all, 1))
    const next = random(2)
    for (const share of [0, 0.01, 0.5, 1]) yield { rows, cols, pool, links: pool.filter(() => next() < share) }
    yield { rows, cols, pool, links: cellsOf(randomCsr(rows, cols, Math.ceil((rows * cols) / 3), 3)) }
  }
}

const weightOf = (cell: number, layer: number) => Math.fround(Math.sin(1 + cell * (layer + 1)))

/** A layer in device memory, with a weight for each cell of its own. */
function layerOf(w: Workspace, csr: PlainCsr, layer: number, capacity = csr.columnIndices.length) {
  const values = new Float32Array(Math.max(1, capacity)).fill(-7)
  values.set(
    byColumn(
      csr,
      Float32Array.from(cellsOf(csr), (cell) => weightOf(cell, layer)),
    ),
  )
  return { links: w.matrix(csr, capacity), values: w.tensor('float32', values) }
}

function poolOf(w: Workspace, csr: PlainCsr, flags: Uint8Array) {
  const keep = new Uint8Array(Math.max(1, flags.length))
  keep.set(byColumn(csr, flags))
  return { ...layerOf(w, csr, 1), keep: w.tensor('uint8', keep) }
}

describe('openPool', () => {
  it("takes the layer's weights over, keeps those of other links, and chooses nothing yet", async () => {
    for (const { rows, cols, links, pool } of cases())
      for (const place of places)
        await on(at(place), async (w) => {
          const [csr, all] = [csrOf(rows, cols, links), csrOf(rows, cols, pool)]
          const of = poolOf(w, all, new Uint8Array(pool.length))
          await w.run([['openPool', { ...layerOf(w, csr, 0, links.length + 3), pool: of }]])
          const has = new Set(links)
          const values = byRow(all, await of.values.read(pool.length))
          const expected = Float32Array.from(pool, (cell) => weightOf(cell, has.has(cell) ? 0 : 1))
          expect(values, `${place}, ${rows} x ${cols}`).to.deep.equal(expected)
          expect((await of.keep.read(pool.length)).every((flag) => flag === 1)).to.equal(true)
        })
  })
})

describe('chooseFromPool', () => {
  it('removes what is not chosen and makes new links of what is chosen and missing', async () => {
    for (const { rows, cols, links, pool } of cases())
      for (const share of [0, 0.3, 1]) {
        const next = random(5)
        const flags = Uint8Array.from(pool, () => Number(next() < share))
        const chosen = new Set(pool.filter((_, p) => flags[p]))
        const capacity = Math.max(1, links.length, chosen.size)
        for (const place of places)
          await on(at(place), async (w) => {
            const [csr, all] = [csrOf(rows, cols, links), csrOf(rows, cols, pool)]
            const changes = changesOf(w, capacity)
            await w.run([['chooseFromPool', { links: w.matrix(csr, capacity), changes, pool: poolOf(w, all, flags) }]])
            const where = `${place}, ${rows} x ${cols}, ${links.length} of ${pool.length}, ${share} chosen`
            expect([...byRow(csr, await changes.keep.read(links.length))], where).to.deep.equal(
              links.map((cell) => Number(chosen.has(cell))),
            )
            const had = new Set(links)
            const fresh = pool.filter((cell) => chosen.has(cell) && !had.has(cell))
            expect([...(await changes.newCount.read())], where).to.deep.equal([fresh.length])
            expect([...(await changes.newRows.read(fresh.length))], where).to.deep.equal(
              fresh.map((cell) => Math.floor(cell / cols)),
            )
            expect([...(await changes.newColumns.read(fresh.length))], where).to.deep.equal(
              fresh.map((cell) => cell % cols),
            )
          })
      }
  })

  it('changes nothing when there is no room for what is chosen, and says so', async () => {
    for (const place of places)
      await on(at(place), async (w) => {
        const changes = changesOf(w, 2)
        await Promise.all([changes.keep.write(Uint8Array.of(1, 0)), changes.newCount.write(Int32Array.of(5))])
        const pool = poolOf(w, csrOf(4, 5, [0, 3, 7, 19]), Uint8Array.of(1, 0, 1, 1))
        const links = w.matrix(csrOf(4, 5, [0, 3]), 2)
        const error = await expectRefusal(
          () => w.run([['chooseFromPool', { links, changes, pool }]]),
          'INVALID_ARGUMENT',
          place,
        )
        expect(error.message).to.contain('chooseFromPool: Expected at most 2 links, got 3')
        expect([[...(await changes.keep.read())], [...(await changes.newCount.read())]]).to.deep.equal([[1, 0], [5]])
      })
  })
})

describe('restoreWeights', () => {
  it('gives links the weights that they have in the pool, and leaves others alone', async () => {
    for (const { rows, cols, links, pool } of cases())
      for (const place of places)
        await on(at(place), async (w) => {
          const [csr, all] = [csrOf(rows, cols, links), csrOf(rows, cols, pool)]
          const layer = layerOf(w, csr, 0, links.length + 3)
          await w.run([['restoreWeights', { ...layer, pool: poolOf(w, all, new Uint8Array(pool.length)) }]])
          const has = new Set(pool)
          const values = byRow(csr, await layer.values.read(links.length))
          expect(values, `${place}, ${rows} x ${cols}`).to.deep.equal(
            Float32Array.from(links, (cell) => weightOf(cell, has.has(cell) ? 1 : 0)),
          )
        })
  })

  it('after a choice and a rebuild, leaves the layer with the chosen links and the last weight of each', async () => {
    for (const { rows, cols, links, pool } of cases()) {
      if (!links.every((cell) => pool.includes(cell))) continue
      const next = random(9)
      const flags = Uint8Array.from(pool, () => Number(next() < 0.4))
      const chosen = pool.filter((_, p) => flags[p])
      const capacity = Math.max(1, links.length, chosen.length)
      for (const place of places)
        await on(at(place), async (w) => {
          const csr = csrOf(rows, cols, links)
          const layer = layerOf(w, csr, 0, capacity)
          const of = poolOf(w, csrOf(rows, cols, pool), flags)
          const changes = changesOf(w, capacity)
          await w.run([
            ['beginUpdate', { links: layer.links, changes }],
            ['openPool', { ...layer, pool: of }],
          ])
          if (pool.length > 0) await of.keep.write(byColumn(csrOf(rows, cols, pool), flags))
          await w.run([
            ['chooseFromPool', { links: layer.links, changes, pool: of }],
            ['rebuild', { links: layer.links, changes, arrays: [layer.values] }],
            ['restoreWeights', { ...layer, pool: of }],
          ])
          const now = { rows, cols, ...(await (layer.links as SparseMatrix).read()) }
          expect(cellsOf(now), place).to.deep.equal(chosen)
          const had = new Set(links)
          const expected = Float32Array.from(chosen, (cell) => weightOf(cell, had.has(cell) ? 0 : 1))
          expect(byRow(now, await layer.values.read(chosen.length)), place).to.deep.equal(expected)
        })
    }
  })
})

describe('operations on a pool', () => {
  it('refuse operands that do not fit', async () => {
    await on(cpu(), async (w) => {
      const layer = layerOf(w, randomCsr(4, 5, 6, 1), 0)
      const pool = poolOf(w, randomCsr(4, 5, 10, 2), new Uint8Array(10))
      const changes = changesOf(w, 6)
      const bad = {
        'no pool': [{ pool: undefined }, 'INVALID_ARGUMENT'],
        'a pool of other rows': [{ pool: poolOf(w, randomCsr(3, 5, 10, 2), new Uint8Array(10)) }, 'INVALID_ARGUMENT'],
        'a pool of other columns': [
          { pool: poolOf(w, randomCsr(4, 6, 10, 2), new Uint8Array(10)) },
          'INVALID_ARGUMENT',
        ],
        'too few values': [{ pool: { ...pool, values: w.tensor('float32', 9) } }, 'INVALID_ARGUMENT'],
        'too few flags': [{ pool: { ...pool, keep: w.tensor('uint8', 9) } }, 'INVALID_ARGUMENT'],
      } as const
      const same = w.tensor('float32', numbers(10, 1))
      const shared = { values: same, pool: { ...pool, values: same } }
      await expectOnlyGoodOperands(
        w.program(),
        'openPool',
        { ...layer, pool },
        { ...bad, 'the same values': [shared, 'INVALID_ARGUMENT'] },
      )
      await expectOnlyGoodOperands(
        w.program(),
        'restoreWeights',
        { ...layer, pool },
        { ...bad, 'the same values': [shared, 'INVALID_ARGUMENT'] },
      )
      await expectOnlyGoodOperands(w.program(), 'chooseFromPool', { links: layer.links, changes, pool }, bad)
    })
  })
})
