import { expect } from 'chai'
import { type PlainCsr, SparseMatrix } from '../../lib/tensor.js'
import {
  at,
  byColumn,
  cellsOf,
  changesOf,
  cpu,
  csrOf,
  everywhere,
  expectOnlyGoodOperands,
  expectRefusal,
  on,
  onAnyThreads,
  places,
  random,
  randomCsr,
  Workspace,
} from '../support.js'

describe('uniteLinks', () => {
  it('collects the links that were ever active, sorted and once', async () => {
    for (const place of places)
      await on(at(place), async (w) => {
        const ever = w.tensor('uint64', 700)
        const count = w.tensor('uint64', 1)
        const seen = new Set<number>()
        const layers = [0, 1, 120, 0, 300, 5, 120].map((links, i) => randomCsr(17, 41, links, i % 5))
        layers.push(layers[2], randomCsr(17, 41, 100, 9))
        for (const csr of layers) {
          await w.run([['uniteLinks', { links: w.matrix(csr), ever, count, capacity: 700 }]])
          for (const cell of cellsOf(csr)) seen.add(cell)
          expect((await count.read())[0]).to.equal(BigInt(seen.size))
          expect([...(await ever.read()).slice(0, seen.size)].map(Number)).to.deep.equal(
            [...seen].sort((a, b) => a - b),
          )
        }
      })
  })

  it('can hold all links, of a layer whose cells need more than 32 bits too', async () => {
    for (const place of places)
      await on(at(place), async (w) => {
        const full = randomCsr(5, 6, 30, 1)
        const [ever, count] = [w.tensor('uint64', 30), w.tensor('uint64', 1)]
        for (const csr of [randomCsr(5, 6, 10, 2), full, full])
          await w.run([['uniteLinks', { links: w.matrix(csr), ever, count, capacity: 30 }]])
        expect([...(await ever.read())].map(Number)).to.deep.equal(Array.from({ length: 30 }, (_, i) => i))

        const rowOffsets = new Int32Array(70_001).fill(1, 1)
        rowOffsets[70_000] = 2
        const wide: PlainCsr = { rows: 70_000, cols: 70_000, rowOffsets, columnIndices: Int32Array.of(3, 69_999) }
        const [far, two] = [w.tensor('uint64', 2), w.tensor('uint64', 1)]
        await w.run([['uniteLinks', { links: w.matrix(wide), ever: far, count: two, capacity: 2 }]])
        expect([...(await far.read())]).to.deep.equal([3n, 70_000n * 70_000n - 1n])
      })
  })

  it('changes nothing when there is no room, and says so', async () => {
    for (const place of places)
      await on(at(place), async (w) => {
        const [ever, count] = [w.tensor('uint64', 20), w.tensor('uint64', 1)]
        const unite = (csr: PlainCsr, capacity: number) =>
          w.run([['uniteLinks', { links: w.matrix(csr), ever, count, capacity }]])
        await unite(csrOf(4, 5, [0, 2, 4, 6]), 6)
        const before = await ever.read()
        await expectRefusal(() => unite(csrOf(4, 5, [1, 2, 3, 5]), 6), 'INVALID_ARGUMENT', 'a union of 7')
        expect((await count.read())[0]).to.equal(4n)
        expect(await ever.read()).to.deep.equal(before)
        await unite(csrOf(4, 5, [1, 2, 3]), 6)
        expect([...(await ever.read()).slice(0, 6)]).to.deep.equal([0n, 1n, 2n, 3n, 4n, 6n])
      })
  })

  it('refuses operands that do not fit, and works afterwards', async () => {
    await on(cpu(), async (w) => {
      const program = w.program()
      const other = w.own(new Workspace(cpu(2)))
      const gone = w.tensor('uint64', 20)
      gone.dispose()
      const count = w.tensor('uint64', 1)
      await expectOnlyGoodOperands(
        program,
        'uniteLinks',
        { links: w.matrix(csrOf(4, 5, [3, 8])), ever: w.tensor('uint64', 20), count, capacity: 20 },
        {
          'less room than said': [{ capacity: 21 }, 'INVALID_ARGUMENT'],
          'no capacity': [{ capacity: undefined }, 'INVALID_ARGUMENT'],
          'no count': [{ count: undefined }, 'INVALID_ARGUMENT'],
          'a count of 32 bits': [{ count: w.tensor('int32', 1) }, 'INVALID_ARGUMENT'],
          'links of another device': [{ links: other.matrix(csrOf(4, 5, [3])) }, 'INVALID_ARGUMENT'],
          'a disposed history': [{ ever: gone }, 'DISPOSED'],
        },
      )
      await program.replay(1)
      expect((await count.read())[0]).to.equal(2n)
    })
  })

  describe('as bits', () => {
    /** The words of a bitmap [rows][ceil(cols / 64)]. */
    const wordsOf = (rows: number, cols: number, cells: Iterable<number>): BigUint64Array => {
      const words = Math.ceil(cols / 64)
      const bits = new BigUint64Array(rows * words)
      for (const cell of cells) {
        bits[Math.floor(cell / cols) * words + Math.floor((cell % cols) / 64)] |= 1n << BigInt((cell % cols) % 64)
      }
      return bits
    }
    // Parts of a word, a word, several, and rows of more words than a warp has threads; no links, one, all of them.
    const shapes: [rows: number, cols: number, links: number[]][] = [
      [1, 1, [0, 1, 1]],
      [3, 7, [0, 1, 5, 21]],
      [5, 63, [1, 40, 0, 315]],
      [6, 64, [1, 60, 384, 2]],
      [4, 65, [1, 60, 260, 2]],
      [17, 200, [300, 300, 1, 900, 3400]],
      [300, 5, [200, 1, 200, 1500]],
      [2, 2113, [1000, 900, 0, 4226, 7]],
    ]
    for (const [rows, cols, counts] of shapes) {
      it(`collects the same links as the list: ${rows} x ${cols}, of ${counts.join(', ')} links`, async () => {
        const layers = counts.map((links, i) => randomCsr(rows, cols, links, i))
        const seen = new Set<number>()
        const expected = layers.map((csr) => {
          for (const cell of cellsOf(csr)) seen.add(cell)
          return [BigInt(seen.size), wordsOf(rows, cols, seen), BigUint64Array.from(seen, BigInt).sort()]
        })
        for (const place of places)
          await on(at(place), async (w) => {
            const [bits, many] = [w.tensor('uint64', rows * Math.ceil(cols / 64)), w.tensor('uint64', 1)]
            const [ever, count] = [w.tensor('uint64', rows * cols), w.tensor('uint64', 1)]
            for (const [i, csr] of layers.entries()) {
              const links = w.matrix(csr, rows * cols)
              await w.run([
                ['uniteLinks', { links, bits, count: many }],
                ['uniteLinks', { links, ever, count, capacity: rows * cols }],
              ])
              const [size, words, list] = expected[i]
              const what = `${place}, union ${i}`
              expect([(await many.read())[0], (await count.read())[0]], what).to.deep.equal([size, size])
              expect(await bits.read(), what).to.deep.equal(words)
              expect((await ever.read()).slice(0, Number(size)), what).to.deep.equal(list)
            }
          })
      })
    }

    it('are the same with any number of threads and on every device', async () => {
      const layers = [3, 4].map((seed) => randomCsr(300, 500, 60_000, seed))
      const unite = (device: ReturnType<typeof cpu>) =>
        on(device, async (w) => {
          const [bits, count] = [w.tensor('uint64', 300 * 8), w.tensor('uint64', 1)]
          for (const csr of layers) await w.run([['uniteLinks', { links: w.matrix(csr), bits, count }]])
          return [await bits.read(), await count.read()]
        })
      const [bits, count] = await onAnyThreads(unite)
      expect(await everywhere(unite)).to.deep.equal([bits, count])
      expect(count[0]).to.equal(BigInt(new Set(layers.flatMap(cellsOf)).size))
    })

    it('leaves words behind the last row alone', async () => {
      for (const place of places)
        await on(at(place), async (w) => {
          const [bits, count] = [w.tensor('uint64', new BigUint64Array(9).fill(5n)), w.tensor('uint64', 1)]
          await w.run([['uniteLinks', { links: w.matrix(csrOf(3, 70, [64, 71, 209])), bits, count }]])
          expect(await bits.read()).to.deep.equal(BigUint64Array.of(5n, 5n, 7n, 5n, 5n, 37n, 5n, 5n, 5n))
          expect((await count.read())[0]).to.equal(2n) // the third was there
        })
    })

    it('refuses operands that do not fit, and works afterwards', async () => {
      await on(cpu(), async (w) => {
        const program = w.program()
        const other = w.own(new Workspace(cpu(2)))
        const gone = w.tensor('uint64', 8)
        gone.dispose()
        const [bits, count, ever] = [w.tensor('uint64', 8), w.tensor('uint64', 1), w.tensor('uint64', 8)]
        const good = { links: w.matrix(csrOf(4, 65, [3, 8, 64])), bits, count }
        await expectOnlyGoodOperands(program, 'uniteLinks', good, {
          'a word too few': [{ bits: w.tensor('uint64', 7) }, 'INVALID_ARGUMENT'],
          'a list, too': [{ ever, capacity: 8 }, 'INVALID_ARGUMENT'],
          'neither bits nor a list': [{ bits: undefined }, 'INVALID_ARGUMENT'],
          'bits of 32': [{ bits: w.tensor('int32', 16) }, 'INVALID_ARGUMENT'],
          'no count': [{ count: undefined }, 'INVALID_ARGUMENT'],
          'bits of another device': [{ bits: other.tensor('uint64', 8) }, 'INVALID_ARGUMENT'],
          'disposed bits': [{ bits: gone }, 'DISPOSED'],
        })
        await program.replay(1)
        expect((await count.read())[0]).to.equal(3n)
      })
    })
  })
})

describe('returnedLinks', () => {
  it('counts the new links, and those that the update removed', async () => {
    for (const [rows, cols, links] of [
      [17, 41, 300],
      [1, 1, 1],
      [5, 6, 30],
      [300, 2, 500],
      [4, 9, 0],
    ] as const) {
      const csr = randomCsr(rows, cols, links, 3)
      const next = random(4)
      const flags = Uint8Array.from({ length: links }, () => (next() < 0.4 ? 0 : 1))
      const cells = cellsOf(csr)
      const removed = new Set(cells.filter((_, k) => flags[k] === 0))
      const kept = new Set(cells.filter((_, k) => flags[k] === 1))
      const missing = Array.from({ length: rows * cols }, (_, cell) => cell).filter((cell) => !kept.has(cell))
      for (const share of [0, 0.5, 1]) {
        const fresh = missing.filter(() => next() < share)
        const capacity = Math.max(1, links, fresh.length)
        for (const place of places)
          await on(at(place), async (w) => {
            const changes = changesOf(w, capacity)
            const all = new Uint8Array(capacity)
            all.set(byColumn(csr, flags))
            const padded = (values: number[]) => Int32Array.from({ length: capacity }, (_, i) => values[i] ?? -1)
            await Promise.all([
              changes.keep.write(all),
              changes.newRows.write(padded(fresh.map((cell) => Math.floor(cell / cols)))),
              changes.newColumns.write(padded(fresh.map((cell) => cell % cols))),
              changes.newCount.write(Int32Array.of(fresh.length)),
            ])
            const counts = w.tensor('int32', 2)
            await w.run([['returnedLinks', { links: w.matrix(csr, capacity), changes, counts }]])
            expect([...(await counts.read())], `${place}, ${rows} x ${cols}`).to.deep.equal([
              fresh.filter((cell) => removed.has(cell)).length,
              fresh.length,
            ])
          })
      }
    }
  })

  it('refuses operands that do not fit, and works afterwards', async () => {
    await on(cpu(), async (w) => {
      const [links, counts] = [w.matrix(randomCsr(4, 5, 6, 1)), w.tensor('int32', 2)]
      const good = { links, changes: changesOf(w, 6), counts }
      await expectOnlyGoodOperands(w.program(), 'returnedLinks', good, {
        'no links': [{ links: undefined }, 'INVALID_ARGUMENT'],
        'no changes': [{ changes: undefined }, 'INVALID_ARGUMENT'],
        'flags too short': [{ changes: changesOf(w, 5) }, 'INVALID_ARGUMENT'],
        'one count': [{ counts: w.tensor('int32', 1) }, 'INVALID_ARGUMENT'],
      })
    })
  })
})

describe('activeNeurons', () => {
  it('counts inputs with links, outputs with links, and links', async () => {
    for (const place of places)
      await on(at(place), async (w) => {
        for (const [rows, cols, links] of [
          [1, 1, 0],
          [1, 1, 1],
          [20, 30, 0],
          [40, 30, 25],
          [37, 61, 700],
          [9, 9, 81],
        ]) {
          const csr = randomCsr(rows, cols, links, 3)
          const counts = w.tensor('int32', 3)
          await w.run([['activeNeurons', { links: w.matrix(csr, links + 10), counts }]])
          const cells = cellsOf(csr)
          const inputs = new Set(cells.map((cell) => cell % cols)).size
          const outputs = new Set(cells.map((cell) => Math.floor(cell / cols))).size
          expect([...(await counts.read())]).to.deep.equal([inputs, outputs, links])
        }
      })
  })

  it('refuses operands that do not fit, and works afterwards', async () => {
    await on(cpu(), async (w) => {
      const program = w.program()
      const gone = new SparseMatrix(cpu(), 2, 2, csrOf(2, 2, [0]))
      gone.dispose()
      const counts = w.tensor('int32', 3)
      await expectOnlyGoodOperands(
        program,
        'activeNeurons',
        { links: w.matrix(csrOf(2, 2, [1])), counts },
        {
          'too few counts': [{ counts: w.tensor('int32', 2) }, 'INVALID_ARGUMENT'],
          'no links': [{ links: undefined }, 'INVALID_ARGUMENT'],
          'disposed links': [{ links: gone }, 'DISPOSED'],
        },
      )
      await program.replay(1)
      expect([...(await counts.read())]).to.deep.equal([1, 1, 1])
    })
  })
})
