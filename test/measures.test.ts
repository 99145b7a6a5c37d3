/** The history of links that were ever active: a list or a bitmap, whichever is smaller, and the same links in both. */
import { expect } from 'chai'
import type { Device } from '../lib/device.js'
import { SparseParameter } from '../lib/nn/parameter.js'
import { Program } from '../lib/program.js'
import type { PlainCsr } from '../lib/tensor.js'
import { Measures } from '../lib/train/measures.js'
import { at, cellsOf, changesOf, cpu, expectSameBits, on, places, randomCsr, type Workspace } from './support.js'

function parameterOf(device: Device, csr: PlainCsr): SparseParameter {
  return new SparseParameter(device, { name: 'layer', layer: 0, rows: csr.rows, cols: csr.cols, links: csr })
}

/** As many links in every row, side by side. */
function striped(rows: number, cols: number, aRow: number): PlainCsr {
  const rowOffsets = Int32Array.from({ length: rows + 1 }, (_, row) => row * aRow)
  const columnIndices = new Int32Array(rows * aRow)
  for (let k = 0; k < columnIndices.length; ++k) columnIndices[k] = k % aRow
  return { rows, cols, rowOffsets, columnIndices }
}

/** Bytes that the history of a layer takes, its count aside. */
function bytesOf(device: Device, parameter: SparseParameter): number {
  const [without, withIt] = [false, true].map((trackHistory) => {
    const before = device.memory().bytes
    const measures = new Measures(device, [parameter], { trackHistory })
    const bytes = device.memory().bytes - before
    measures.dispose()
    expect(device.memory().bytes).to.equal(before)
    return bytes
  }) as [number, number]
  return withIt - without - 8
}

/** Gives a layer other links, as many as it has. */
async function relink(w: Workspace, parameter: SparseParameter, csr: PlainCsr): Promise<void> {
  const { matrix, values } = parameter
  const cells = cellsOf(csr)
  const changes = changesOf(w, matrix.capacity)
  await Promise.all([
    changes.newRows.write(Int32Array.from(cells, (cell) => Math.floor(cell / csr.cols))),
    changes.newColumns.write(Int32Array.from(cells, (cell) => cell % csr.cols)),
    changes.newCount.write(Int32Array.of(cells.length)),
  ])
  await w.run([['rebuild', { links: matrix, changes, arrays: [values] }]])
}

const ascending = (cells: Iterable<number>) => BigUint64Array.from(cells, BigInt).sort()

describe('the history of links', () => {
  const bitmap = (rows: number, cols: number) => 8 * rows * Math.ceil(cols / 64)
  const list = (links: number) => 8 * 4 * links
  const cases: [what: string, csr: () => PlainCsr, bytes: number][] = [
    // As CHTss begins on MNIST: a list took 8 * 1568 * 1568 bytes, 19.7 MB.
    ['half of 1568 x 1568', () => striped(1568, 1568, 784), 313_600],
    ['1% of 1568 x 1568', () => striped(1568, 1568, 16), bitmap(1568, 1568)],
    ['narrow rows, which waste most of a word', () => striped(100, 3, 1), bitmap(100, 3)],
    ['a list just smaller than the bitmap', () => striped(100, 257, 1), list(100)],
    ['a list just as large as the bitmap', () => striped(100, 256, 1), bitmap(100, 256)],
    ['a bitmap of 64 MiB', () => striped(32_768, 16_384, 65), 64 * 2 ** 20],
    ['a larger bitmap, which would be smaller than the list', () => striped(32_768, 16_448, 65), list(65 * 32_768)],
  ]
  for (const [what, csr, bytes] of cases) {
    it(`begins with ${bytes} bytes: ${what}`, async () => {
      await on(cpu(), async (w) => {
        expect(bytesOf(w.device, w.own(parameterOf(w.device, csr())))).to.equal(bytes)
      })
    })
  }

  it('grows as a list, becomes a bitmap before it is larger than one, and lists the same links', async () => {
    // A bitmap of 10,000 words.
    const [rows, cols, links] = [100, 6400, 640]
    const layers = Array.from({ length: 12 }, (_, seed) => randomCsr(rows, cols, links, seed))
    for (const place of places)
      await on(at(place), async (w) => {
        const parameter = w.own(parameterOf(w.device, layers[0]))
        const before = w.device.memory().bytes
        const measures = w.own(new Measures(w.device, [parameter]))
        const fixed = w.device.memory().bytes - before - list(links)
        const seen = new Set<number>()
        const sizes = new Set<number>()
        for (const [n, csr] of layers.entries()) {
          if (n > 0) await on(w.device, (inner) => relink(inner, parameter, csr))
          await measures.note()
          for (const cell of cellsOf(csr)) seen.add(cell)
          expectSameBits(await measures.history(parameter), ascending(seen), `${place}, ${n}`)
          expect((await measures.read()).itop).to.equal(seen.size / (rows * cols))
          sizes.add((w.device.memory().bytes - before - fixed) / 8)
        }
        const [first, second, third, ...more] = sizes
        expect([first, third, more], place).to.deep.equal([4 * links, 10_000, []])
        expect(second, place).to.be.within(6 * links, 10_000)
      })
  })

  it('is restored in the form that is smaller, and goes on', async () => {
    const [rows, cols] = [90, 640] // a bitmap of 900 words
    for (const place of places)
      await on(at(place), async (w) => {
        for (const [links, saved, words] of [
          [30, 100, 120],
          [30, 500, 500],
          [30, 901, 900],
          [30, 57_600, 900],
          [400, 5, 900],
          [400, 20_000, 900],
          [400, 0, 900],
        ] as const) {
          const csr = randomCsr(rows, cols, links, 1)
          const past = cellsOf(randomCsr(rows, cols, saved, 2))
          const parameter = w.own(parameterOf(w.device, csr))
          const before = w.device.memory().bytes
          const measures = new Measures(w.device, [parameter])
          await measures.note()
          await measures.restore(parameter, ascending(past))
          const what = `${place}, ${links} links, ${saved} before`
          expectSameBits(await measures.history(parameter), ascending(past), what)
          const bytes = w.device.memory().bytes - before
          measures.dispose()
          expect(bytesOf(w.device, parameter), what).to.equal(8 * Math.min(4 * links, 900))
          // Three counts of 32 bits, one of 64, and what two programs hold.
          expect(bytes, what).to.equal(8 * words + 8 + 12 + programs(w.device))

          const again = w.own(new Measures(w.device, [parameter]))
          await again.restore(parameter, ascending(past))
          await again.note()
          const union = ascending(new Set([...past, ...cellsOf(csr)]))
          expectSameBits(await again.history(parameter), union, what)
          expect((await again.read()).itop, what).to.equal(union.length / (rows * cols))
        }
      })
  })
})

/** Bytes of device memory of two programs. */
function programs(device: Device): number {
  const before = device.memory().bytes
  const made = [new Program(device), new Program(device)]
  const bytes = device.memory().bytes - before
  for (const program of made) program.dispose()
  return bytes
}
