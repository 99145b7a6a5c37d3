import { expect } from 'chai'
import type { Device } from '../../lib/device.js'
import { cscSlots, type PlainCsr } from '../../lib/tensor.js'
import { backward, forward } from '../reference.js'
import {
  at,
  byColumn,
  byRow,
  cellsOf,
  changesOf,
  cpu,
  csrOf,
  expectClose,
  expectOnlyGoodOperands,
  expectRefusal,
  expectSameBits,
  forms,
  numbers,
  on,
  onAnyThreads,
  places,
  randomCsr,
  subset,
  Workspace,
} from '../support.js'

/** Places of removed links, and the cells of new ones. */
interface Update {
  removed: number[]
  added: number[]
}

/** The layer's links and arrays after updates by hand, and its products in both directions. */
function updated(device: Device, csr: PlainCsr, arrays: Float32Array[], capacity: number, updates: Update[]) {
  return on(device, async (w) => {
    const matrix = w.matrix(csr, capacity)
    const tensors = arrays.map((array) => w.floats(byColumn(csr, array), capacity))
    const changes = changesOf(w, capacity)
    const [begin, close] = [w.program(), w.program()]
    begin.record('beginUpdate', { links: matrix, changes })
    close.record('rebuild', { links: matrix, changes, arrays: tensors })
    for (const { removed, added } of updates) {
      await begin.replay(1)
      const keep = await changes.keep.read()
      const now = await matrix.read()
      const slots = cscSlots(now, csr.cols)
      for (const place of removed) keep[slots[place]] = 0
      const [rows, columns] = [new Int32Array(capacity), new Int32Array(capacity)]
      for (const [n, cell] of added.entries()) {
        rows[n] = Math.floor(cell / csr.cols)
        columns[n] = cell % csr.cols
      }
      await Promise.all([changes.keep.write(keep), changes.newRows.write(rows), changes.newColumns.write(columns)])
      await changes.newCount.write(Int32Array.of(added.length))
      await close.replay(1)
    }
    const links: PlainCsr = { rows: csr.rows, cols: csr.cols, ...(await matrix.read()) }
    const after = (await Promise.all(tensors.map((tensor) => tensor.read()))).map((array) => byRow(links, array))
    const [x, dy] = [w.batch(csr.cols, 20, numbers(20 * csr.cols, 1)), w.batch(csr.rows, 20, numbers(20 * csr.rows, 2))]
    const [y, dx] = [w.batch(csr.rows, 20), w.batch(csr.cols, 20)]
    await w.run(
      [
        ['spmm', { weights: matrix, values: tensors[0], input: x, output: y }],
        ['spmmTransposed', { weights: matrix, values: tensors[0], outputGradient: dy, inputGradient: dx }],
      ],
      { batch: 20 },
    )
    return { links, arrays: after, y: await y.read(), dx: await dx.read() }
  })
}

/** Cells and their values in each array, after updates by the definition. */
function reference(csr: PlainCsr, arrays: Float32Array[], updates: Update[]): Map<number, number[]> {
  let state = new Map(cellsOf(csr).map((cell, k) => [cell, arrays.map((array) => array[k])]))
  for (const { removed, added } of updates) {
    const gone = new Set(removed)
    const next = [...state].filter((_, k) => !gone.has(k))
    for (const cell of added) next.push([cell, state.get(cell) ?? arrays.map(() => 0)])
    state = new Map(next.sort(([a], [b]) => a - b))
  }
  return state
}

async function expectUpdated(
  csr: PlainCsr,
  arrays: Float32Array[],
  capacity: number,
  updates: Update[],
): Promise<void> {
  const expected = reference(csr, arrays, updates)
  for (const place of forms) {
    const { links, arrays: after, y, dx } = await updated(at(place), csr, arrays, capacity, updates)
    expect(cellsOf(links), 'links').to.deep.equal([...expected.keys()])
    expect(links.rowOffsets.length).to.equal(csr.rows + 1)
    for (const [n, array] of after.entries())
      expect([...array], `array ${n}`).to.deep.equal([...expected.values()].map((values) => values[n]))
    expectClose(y, forward(links, after[0], undefined, numbers(20 * csr.cols, 1), 20), `by rows, ${place}`)
    expectClose(dx, backward(links, after[0], numbers(20 * csr.rows, 2), 20), `by columns, ${place}`)
  }
}

/** Removes `removed` links at random and adds as many cells as asked for, of which some were just removed. */
function randomUpdate(csr: PlainCsr, removed: number, added: number, back: number, seed: number): Update {
  const cells = cellsOf(csr)
  const places = subset(removed, cells.length, seed)
  const returning = places.slice(0, back).map((k) => cells[k])
  const existing = new Set(cells)
  const free = Array.from({ length: csr.rows * csr.cols }, (_, cell) => cell).filter((cell) => !existing.has(cell))
  const fresh = subset(added - back, free.length, seed + 1).map((i) => free[i])
  return { removed: places, added: [...returning, ...fresh].sort((a, b) => a - b) }
}

describe('rebuild', () => {
  it('keeps what stays, starts new links at 0, and returns to regrown links what they had', async () => {
    const csr = csrOf(3, 4, [0, 2, 5, 8, 11])
    const arrays = [Float32Array.of(1, 2, 3, 4, 5), Float32Array.of(10, 20, 30, 40, 50)]
    const update = { removed: [1, 2, 4], added: [1, 2, 9, 10] } // (0, 2) comes back
    await expectUpdated(csr, arrays, 6, [update])
    const { links, arrays: after } = await updated(cpu(), csr, arrays, 6, [update])
    expect(cellsOf(links)).to.deep.equal([0, 1, 2, 8, 9, 10])
    expect(after.map((array) => [...array])).to.deep.equal([
      [1, 0, 2, 4, 0, 0],
      [10, 0, 20, 40, 0, 0],
    ])
  })

  for (const { rows, cols, links, removed, added, back } of [
    { rows: 1, cols: 1, links: 1, removed: 1, added: 1, back: 1 },
    { rows: 1, cols: 1, links: 1, removed: 1, added: 0, back: 0 },
    { rows: 1, cols: 1, links: 0, removed: 0, added: 1, back: 0 },
    { rows: 5, cols: 7, links: 0, removed: 0, added: 35, back: 0 },
    { rows: 5, cols: 7, links: 35, removed: 35, added: 0, back: 0 },
    { rows: 5, cols: 7, links: 35, removed: 12, added: 12, back: 12 },
    { rows: 37, cols: 61, links: 350, removed: 100, added: 100, back: 0 },
    { rows: 37, cols: 61, links: 350, removed: 350, added: 350, back: 100 },
    { rows: 61, cols: 37, links: 700, removed: 30, added: 200, back: 20 },
    { rows: 40, cols: 30, links: 50, removed: 40, added: 3, back: 2 },
    { rows: 20, cols: 25, links: 100, removed: 0, added: 0, back: 0 },
  ]) {
    const title =
      `keeps the two views and the arrays together: ${rows}x${cols}, ${links} - ${removed} + ${added} links, ` +
      `${back} of them back`
    it(title, async () => {
      const csr = randomCsr(rows, cols, links, 3)
      const arrays = [numbers(links, 4), numbers(links, 5)]
      const update = randomUpdate(csr, removed, added, back, 6)
      await expectUpdated(csr, arrays, Math.max(1, links, links - removed + added), [update])
    })
  }

  it('works update after update', async () => {
    const updates: Update[] = []
    const arrays = [numbers(300, 7), numbers(300, 8)]
    let csr = randomCsr(30, 40, 300, 9)
    const first = csr
    for (const [removed, added] of [
      [90, 90],
      [60, 10],
      [20, 150],
      [300, 300],
    ]) {
      const update = randomUpdate(csr, removed, added, Math.min(5, added), 10 + updates.length)
      updates.push(update)
      csr = csrOf(30, 40, reference(first, arrays, updates).keys())
    }
    await expectUpdated(first, arrays, 400, updates)
  })

  it('gives the same bits on any number of threads', async () => {
    const csr = randomCsr(300, 200, 30_000, 11)
    const arrays = [numbers(30_000, 12), numbers(30_000, 13)]
    const update = randomUpdate(csr, 9000, 9000, 1000, 14)
    const { links, arrays: after } = await onAnyThreads((device) => updated(device, csr, arrays, 30_000, [update]))
    const expected = reference(csr, arrays, [update])
    expect(cellsOf(links)).to.deep.equal([...expected.keys()])
    expectSameBits(after[1], Float32Array.from([...expected.values()].map((values) => values[1])), 'the second array')
  })

  it('updates a layer by its whole chain of operations, exactly to the counts asked for', async () => {
    for (const place of places)
      await on(at(place), async (w) => {
        const [rows, cols, links] = [60, 50, 600]
        const csr = randomCsr(rows, cols, links, 15)
        const matrix = w.matrix(csr, 700)
        const [values, velocity, scores] = [
          w.floats(byColumn(csr, numbers(links, 16)), 700),
          w.floats(byColumn(csr, numbers(links, 17)), 700),
          w.floats(700),
        ]
        const changes = changesOf(w, 700)
        const program = w.program({ scalars: 4 })
        const choice = { links: matrix, scores, keep: changes.keep, update: 0, seed: 1, layer: 0 }
        program.record('beginUpdate', { links: matrix, changes })
        program.record('importance', { links: matrix, values, keep: changes.keep, rule: 'relative', scores })
        program.record('keepLinks', { ...choice, count: 1, temperature: 3, purpose: 'remove' })
        program.record('regrow', {
          links: matrix,
          changes,
          predictor: 'CH2-L3n',
          selection: 'sample',
          count: 2,
          update: 0,
          seed: 1,
          layer: 0,
        })
        program.record('rebuild', { links: matrix, changes, arrays: [values, velocity] })
        let before: PlainCsr = csr
        let old = byRow(csr, await values.read())
        for (const [update, [kept, target]] of [
          [420, 600],
          [300, 700],
          [700, 700],
          [0, 10],
          [10, 650],
        ].entries()) {
          await program.replay(1, { begin: { scalars: [update + 1, kept, target, 1.5] } })
          const after: PlainCsr = { rows, cols, ...(await matrix.read()) }
          const now = byRow(after, await values.read())
          expect(after.columnIndices.length, `update ${update}`).to.equal(target)
          const places = new Map(cellsOf(before).map((cell, k) => [cell, k]))
          let stayed = 0
          for (const [k, cell] of cellsOf(after).entries()) {
            const place = places.get(cell)
            if (place === undefined) expect(now[k], 'a new link').to.equal(0)
            else if (++stayed) expect(now[k], 'an old link').to.equal(old[place])
          }
          expect(stayed, 'links that stayed').to.be.at.least(Math.min(kept, before.columnIndices.length))
          before = after
          old = now
        }
      })
  })

  it('is the only thing that changes a layer: an update that is not closed changes nothing', async () => {
    for (const place of places)
      await on(at(place), async (w) => {
        const csr = randomCsr(20, 25, 100, 18)
        const matrix = w.matrix(csr, 120)
        const values = w.floats(byColumn(csr, numbers(100, 19)), 120)
        const scores = w.floats(120)
        const changes = changesOf(w, 120)
        const [dy, dx] = [w.batch(20, 8, numbers(160, 20)), w.batch(25, 8)]
        await w.run(
          [
            ['beginUpdate', { links: matrix, changes }],
            ['importance', { links: matrix, values, keep: changes.keep, rule: 'magnitude', scores }],
            [
              'keepLinks',
              {
                links: matrix,
                scores,
                keep: changes.keep,
                count: 0,
                temperature: 1,
                update: 2,
                seed: 0,
                purpose: 'remove',
                layer: 0,
              },
            ],
            ['percolate', { layers: [{ links: matrix, keep: changes.keep }], relations: [] }],
            [
              'regrow',
              {
                links: matrix,
                changes,
                predictor: 'CH2-L3n',
                selection: 'sample',
                count: 3,
                update: 2,
                seed: 0,
                layer: 0,
              },
            ],
          ],
          { scalars: [50, 1, 1, 110] },
        )
        expect((await changes.newCount.read())[0]).to.equal(60)
        expect(cellsOf({ ...csr, ...(await matrix.read()) })).to.deep.equal(cellsOf(csr))
        expectSameBits(byRow(csr, await values.read()), numbers(100, 19), 'the values')
        await w.run([['spmmTransposed', { weights: matrix, values, outputGradient: dy, inputGradient: dx }]], {
          batch: 8,
        })
        expectClose(await dx.read(), backward(csr, numbers(100, 19), numbers(160, 20), 8), 'the view by columns')
        // The next update begins anew.
        await w.run([
          ['beginUpdate', { links: matrix, changes }],
          ['rebuild', { links: matrix, changes, arrays: [values] }],
        ])
        expect(cellsOf({ ...csr, ...(await matrix.read()) })).to.deep.equal(cellsOf(csr))
        expectSameBits(byRow(csr, await values.read()), numbers(100, 19), 'the values')
      })
  })

  it('changes nothing when there is no room for the links, and says so', async () => {
    for (const place of places)
      await on(at(place), async (w) => {
        const csr = csrOf(3, 4, [0, 5, 10])
        const matrix = w.matrix(csr, 3)
        const values = w.floats([1, 2, 3])
        const changes = changesOf(w, 3)
        const [begin, close] = [w.program(), w.program()]
        begin.record('beginUpdate', { links: matrix, changes })
        close.record('rebuild', { links: matrix, changes, arrays: [values] })
        await begin.replay(1)
        await changes.newColumns.write(Int32Array.of(2, 0, 0))
        await changes.newCount.write(Int32Array.of(1))
        await expectRefusal(() => close.replay(1), 'INVALID_ARGUMENT', 'four links in the room of three')
        expect(cellsOf({ ...csr, ...(await matrix.read()) })).to.deep.equal([0, 5, 10])
        expect([...(await values.read())]).to.deep.equal([1, 2, 3])
        await changes.keep.write(Uint8Array.of(1, 0, 1))
        await close.replay(1)
        expect(cellsOf({ ...csr, ...(await matrix.read()) })).to.deep.equal([0, 2, 10])
        expect([...(await values.read())]).to.deep.equal([1, 0, 3])
      })
  })

  it('refuses operands that do not fit, and works afterwards', async () => {
    await on(cpu(), async (w) => {
      const program = w.program()
      const other = w.own(new Workspace(cpu(2)))
      const csr = randomCsr(4, 5, 12, 1)
      const changes = changesOf(w, 12)
      const links = w.matrix(csr)
      const gone = w.floats(12)
      gone.dispose()
      await expectOnlyGoodOperands(
        program,
        'beginUpdate',
        { links, changes },
        {
          'few flags': [{ changes: { ...changes, keep: w.tensor('uint8', 11) } }, 'INVALID_ARGUMENT'],
          'no count': [{ changes: { ...changes, newCount: undefined } }, 'INVALID_ARGUMENT'],
          'no changes': [{ changes: undefined }, 'INVALID_ARGUMENT'],
          'a matrix with more room than the changes': [{ links: w.matrix(csr, 13) }, 'INVALID_ARGUMENT'],
        },
      )
      await expectOnlyGoodOperands(
        program,
        'rebuild',
        { links, changes, arrays: [w.floats(12)] },
        {
          'a short array': [{ arrays: [w.floats(12), w.floats(11)] }, 'INVALID_ARGUMENT'],
          'no arrays': [{ arrays: undefined }, 'INVALID_ARGUMENT'],
          'an array that is none': [{ arrays: [7] }, 'INVALID_ARGUMENT'],
          'an array of another device': [{ arrays: [other.floats(12)] }, 'INVALID_ARGUMENT'],
          'a disposed array': [{ arrays: [gone] }, 'DISPOSED'],
        },
      )
      await program.replay(1)
      expect(cellsOf({ ...csr, ...(await links.read()) })).to.deep.equal(cellsOf(csr))
    })
  })
})
