import { expect } from 'chai'
import type { Device } from '../../lib/device.js'
import type { PlainCsr } from '../../lib/tensor.js'
import { bestOf, chiSquareTest, distinctDraws, maskOf, philox, purposeWord, setProbabilities } from '../reference.js'
import {
  at,
  bitsOf,
  byColumn,
  cellsOf,
  changesOf,
  columnsOf,
  cpu,
  csrOf,
  everywhere,
  expectOnlyGoodOperands,
  expectRefusal,
  expectSameBits,
  FALSE_ALARM,
  nameOf,
  numbers,
  on,
  onAnyThreads,
  places,
  random,
  randomCsr,
  repeats,
  sanitized,
  shapes,
  tally,
  Workspace,
} from '../support.js'

interface Growth {
  csr: PlainCsr
  /** Flags of the links; default: all stay. */
  keep?: Uint8Array
  /** [columns][cols] and [columns][rows]. */
  x: Float32Array
  dy: Float32Array
  columns: number
  batch?: number
  /** Links afterwards. */
  count: number
  capacity?: number
  update?: number
  seed?: number
  layer?: number
}

/** The cells of the new links, in the order in which they come. */
function grow(device: Device, growth: Growth): Promise<number[]> {
  return on(device, async (w) => {
    const { csr, keep, x, dy, columns, batch = columns, count, update = 1, seed = 0, layer = 0 } = growth
    const links = w.matrix(csr, growth.capacity ?? Math.max(csr.columnIndices.length, count))
    const changes = changesOf(w, links.capacity)
    const flags = new Uint8Array(links.capacity).fill(1)
    if (keep) flags.set(byColumn(csr, keep))
    await changes.keep.write(flags)
    // What lies behind the valid columns is not read.
    const [input, outputGradient] = [w.batch(csr.cols, batch, x, 7.5), w.batch(csr.rows, batch, dy, Number.NaN)]
    await w.run([['regrowByGradient', { links, changes, input, outputGradient, count: 0, update: 1, seed, layer }]], {
      scalars: [count, update],
      batch,
      columns,
    })
    const [rows, cols, added] = await Promise.all([
      changes.newRows.read(),
      changes.newColumns.read(),
      changes.newCount.read(),
    ])
    return Array.from(rows.slice(0, added[0]), (row, n) => row * csr.cols + cols[n])
  })
}

function keptOf({ csr, keep }: Growth): PlainCsr {
  return csrOf(
    csr.rows,
    csr.cols,
    cellsOf(csr).filter((_, k) => !keep || keep[k]),
  )
}

/** |dY X^T| in double precision. */
function magnitudes({ csr: { rows, cols }, x, dy, columns }: Growth): Float64Array {
  const sums = new Float64Array(rows * cols)
  for (let c = 0; c < columns; ++c)
    for (let i = 0; i < rows; ++i)
      for (let j = 0; j < cols; ++j) sums[i * cols + j] += dy[c * rows + i] * x[c * cols + j]
  return sums.map(Math.abs)
}

/**
 * Expects missing links in order, and the largest gradients: none that was left out is larger than one that was taken
 * by more than rounding.
 */
function expectLargest(cells: number[], growth: Growth, what: string): void {
  const kept = keptOf(growth)
  const mask = maskOf(kept)
  expect(cells.length, what).to.equal(Math.max(0, growth.count - kept.columnIndices.length))
  expect(
    cells.every((cell, n) => !mask[cell] && cell < mask.length && (n === 0 || cell > cells[n - 1])),
    `${what}: missing links in order`,
  ).to.equal(true)
  const gradient = magnitudes(growth)
  const taken = new Set(cells)
  const worst = cells.reduce((least, cell) => Math.min(least, gradient[cell]), Number.POSITIVE_INFINITY)
  const missed = gradient.reduce((most, g, cell) => (mask[cell] || taken.has(cell) ? most : Math.max(most, g)), 0)
  expect(missed, `${what}: the largest one left out`).to.be.at.most(worst + 4e-7 * growth.columns)
}

/**
 * The cells to be chosen by the reference; undefined when it is a matter of rounding. Gradients that are 0 are drawn
 * from.
 */
function expectedCells(growth: Growth): number[] | undefined {
  const { csr, count, update = 1, seed = 0, layer = 0 } = growth
  const kept = keptOf(growth)
  const mask = maskOf(kept)
  const gradient = magnitudes(growth)
  const wanted = Math.max(0, count - kept.columnIndices.length)
  const cells = Array.from(mask, (_, cell) => cell).filter((cell) => !mask[cell] && gradient[cell] > 0)
  const ranked = cells.map((cell) => ({
    key: gradient[cell],
    tie: philox(seed, [Math.floor(cell / csr.cols), cell % csr.cols, update, purposeWord('regrow', layer)])[1],
  }))
  const best = bestOf(ranked, Math.min(wanted, ranked.length), 4e-7 * growth.columns)
  if (!best) return undefined
  const chosen = best.map((n) => cells[n])
  for (const cell of chosen) mask[cell] = 1
  const free = Array.from(mask, (_, cell) => cell).filter((cell) => !mask[cell])
  const fill = wanted - chosen.length
  const complement = fill > free.length / 2
  const drawn = distinctDraws(
    complement ? free.length - fill : fill,
    free.length,
    seed,
    update,
    purposeWord('fill', layer),
  )
  return [...chosen, ...free.filter((_, n) => drawn.has(n) !== complement)].sort((a, b) => a - b)
}

function flagsOf(length: number, share: number, seed: number): Uint8Array {
  const next = random(seed)
  return Uint8Array.from({ length }, () => (next() < share ? 1 : 0))
}

/** Numbers of which a share is 0, as behind a rectifier. */
function sparseNumbers(length: number, seed: number, zeros = 0.5): Float32Array {
  const next = random(seed + 77)
  return numbers(length, seed).map((v) => (next() < zeros ? 0 : v))
}

/** Powers of two and zeros, whose sums are exact: ties are ties everywhere. */
function exactNumbers(length: number, seed: number): Float32Array {
  const next = random(seed)
  return Float32Array.from({ length }, () => Math.floor(5 * next()) - 2)
}

// Where the CUDA kernel and the CPU fuse multiply and add alike.
const fuses = ['x86-64-v4', 'x86-64-v3'].includes(cpu().info.simd) || process.arch === 'arm64'

describe('gradient growth', () => {
  const layers = [
    ...shapes,
    { rows: 150, cols: 130, links: 3000, batch: 32 },
    { rows: 70, cols: 200, links: 7000, batch: 40 },
    { rows: 700, cols: 5, links: 90, batch: 20 },
  ]
  for (const shape of layers) {
    const { rows, cols, links, batch } = shape
    it(`takes the missing links with the largest gradients: ${nameOf(shape)}`, async () => {
      const csr = randomCsr(rows, cols, links, 1)
      for (const columns of columnsOf(batch)) {
        for (const share of sanitized && links > 500 ? [0.7] : [1, 0.7, 0]) {
          const keep = flagsOf(links, share, 2)
          const [x, dy] = [sparseNumbers(columns * cols, 3), numbers(columns * rows, 4)]
          const most = rows * cols
          for (const count of new Set([
            Math.min(most, links + 1),
            Math.min(most, links + Math.ceil(most / 10)),
            sanitized && most > 5000 ? links : most,
          ])) {
            const growth: Growth = { csr, keep, x, dy, columns, batch, count, update: 5, seed: 6e9, layer: 4 }
            const what = `${columns} columns, ${share} kept, ${count} links`
            const cells = await onAnyThreads((device) => grow(device, growth))
            expectLargest(cells, growth, what)
            const expected = expectedCells(growth)
            if (expected) expect(cells, what).to.deep.equal(expected)
          }
        }
      }
    })
  }

  it('chooses the same everywhere where sums are exact, and ties by chance', async () => {
    for (const [rows, cols, links, columns] of [
      [37, 61, 350, 33],
      [130, 70, 900, 17],
      [64, 64, 0, 3],
      [90, 200, 9000, 129],
    ] as const) {
      const csr = randomCsr(rows, cols, links, 1)
      const [x, dy] = [exactNumbers(columns * cols, 3), exactNumbers(columns * rows, 4)]
      for (const count of [links + 5, links + 500]) {
        const growth: Growth = {
          csr,
          keep: flagsOf(links, 0.6, 5),
          x,
          dy,
          columns,
          count,
          seed: 9,
          update: 3,
          layer: 2,
        }
        const cells = await everywhere((device) => grow(device, growth))
        expectLargest(cells, growth, `${rows} x ${cols}`)
        expect(cells).to.deep.equal(expectedCells({ ...growth }))
      }
    }
  })

  it('differs between places in no more than what rounding may exchange', async () => {
    // Sums over a batch are taken in one order everywhere. Processors that do not fuse multiply and add round twice,
    // and may exchange links at the threshold.
    let [grown, different] = [0, 0]
    for (const seed of [1, 2, 3, 4, 5, 6]) {
      const csr = randomCsr(120, 140, 1700, seed)
      const growth: Growth = {
        csr,
        keep: flagsOf(1700, 0.7, seed),
        x: sparseNumbers(32 * 140, seed),
        dy: numbers(32 * 120, seed + 50),
        columns: 32,
        count: 1700,
        seed,
      }
      const first = new Set(await grow(cpu(), growth))
      for (const place of places) {
        const cells = await grow(at(place), growth)
        const missing = cells.filter((cell) => !first.has(cell)).length
        if (place === 'cuda' && fuses) expect(missing, 'the bits of the CPU').to.equal(0)
        grown += cells.length
        different += missing
      }
    }
    expect(different / grown).to.be.below(0.01)
  })

  it('fills up uniformly where gradients are 0, after all others', async () => {
    const csr = csrOf(4, 5, [0, 1, 5, 7, 8, 12, 19])
    // Row 1 alone has a gradient, in columns 1 and 3, of which (1, 3) exists as cell 8.
    const [x, dy] = [Float32Array.of(0, 2, 0, 1, 0), Float32Array.of(0, -3, 0, 0)]
    const missing = Array.from({ length: 20 }, (_, cell) => cell).filter(
      (cell) => ![0, 1, 5, 7, 8, 12, 19].includes(cell),
    )
    for (const [grown, updates] of [
      [1, 20],
      [3, repeats(6000)],
    ]) {
      const sets: number[] = []
      for (let update = 0; update < updates / 20; ++update) {
        const cells = await grow(cpu(), { csr, x, dy, columns: 1, count: 7 + grown, update })
        expect(cells).to.include(6)
        sets.push(bitsOf(cells.map((cell) => missing.indexOf(cell))))
      }
      const weights = missing.map((cell) => (cell === 6 ? 1 : 0))
      expect(chiSquareTest(tally(sets), setProbabilities(weights, grown))).to.be.above(FALSE_ALARM)
    }
    // Without any gradient, all are alike.
    const cells = await everywhere((device) => grow(device, { csr, x, dy: new Float32Array(4), columns: 1, count: 12 }))
    expect(cells.length).to.equal(5)
  })

  it('depends on seed, update and layer where gradients are alike', async () => {
    const base: Growth = {
      csr: randomCsr(20, 20, 80, 9),
      x: new Float32Array(20).fill(1),
      dy: new Float32Array(20).fill(-1),
      columns: 1,
      count: 120,
    }
    const first = await grow(cpu(), base)
    expect(await grow(cpu(2), base)).to.deep.equal(first)
    for (const different of [{ seed: 1 }, { seed: 2 ** 32 }, { update: 2 }, { layer: 1 }])
      expect(await grow(cpu(), { ...base, ...different }), JSON.stringify(different)).to.not.deep.equal(first)
  })

  it('grows nothing when there are links enough', async () => {
    const base = { csr: randomCsr(20, 30, 100, 3), x: numbers(30, 1), dy: numbers(20, 2), columns: 1 }
    for (const count of [100, 99, 0])
      expect(await everywhere((device) => grow(device, { ...base, count }))).to.deep.equal([])
  })

  it('names the first missing link whose gradient is not finite, and works on', async () => {
    const csr = csrOf(3, 70, [0, 69, 139])
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) {
      const dy = Float32Array.of(0, 1, 1)
      const x = numbers(70, 4)
      x[69] = bad // (0, 69) and (1, 69) exist; 0 times it is NaN as well
      x[3] = bad
      for (const place of places) {
        const error = await expectRefusal(
          () => grow(at(place), { csr, x, dy: Float32Array.of(1, 1, 1), columns: 1, count: 5 }),
          'NON_FINITE',
          `${bad}`,
        )
        expect(error.message).to.match(/from neuron 3 to neuron 0 of layer 0\b/)
        const later = await expectRefusal(
          () => grow(at(place), { csr, x: x.with(3, 1), dy, columns: 1, count: 5, layer: 8 }),
          'NON_FINITE',
          `${bad}`,
        )
        expect(later.message).to.match(/from neuron 69 to neuron 2 of layer 8\b/)
        expect((await grow(at(place), { csr, x: x.with(3, 1).with(69, 0), dy, columns: 1, count: 5 })).length).to.equal(
          2,
        )
      }
    }
  })

  it('refuses more links than fit, and works on', async () => {
    const base = { csr: randomCsr(5, 6, 12, 10), x: numbers(6, 1), dy: numbers(5, 2), columns: 1, layer: 9 }
    for (const place of places) {
      for (const [capacity, tooMany] of [
        [15, 16],
        [40, 31],
      ]) {
        const error = await expectRefusal(
          () => grow(at(place), { ...base, capacity, count: tooMany }),
          'INVALID_ARGUMENT',
          `${tooMany} links`,
        )
        expect(error.message).to.match(/layer 9\b/)
        expect((await grow(at(place), { ...base, capacity, count: tooMany - 1 })).length).to.equal(tooMany - 13)
      }
    }
  })

  it('gives the same bits on any number of threads in a layer of several parts', async () => {
    const csr = randomCsr(1100, 90, 9000, 6)
    const growth: Growth = {
      csr,
      keep: flagsOf(9000, 0.7, 7),
      x: sparseNumbers(90 * 20, 1),
      dy: numbers(1100 * 20, 2),
      columns: 20,
      count: 9000,
      seed: 8,
    }
    const cells = await onAnyThreads((device) => grow(device, growth))
    expectLargest(cells, growth, 'parts')
    if (fuses && places.includes('cuda')) expectSameBits(await grow(at('cuda'), growth), cells, 'cuda')
  })

  it('refuses operands that do not fit, and works afterwards', async () => {
    await on(cpu(), async (w) => {
      const program = w.program({ scalars: 2, batch: 3 })
      const other = w.own(new Workspace(cpu(2)))
      const csr = randomCsr(4, 5, 12, 1)
      const changes = changesOf(w, 15)
      const good = {
        links: w.matrix(csr, 15),
        changes,
        input: w.batch(5, 3, numbers(15, 1)),
        outputGradient: w.batch(4, 3, numbers(12, 2)),
        count: 0,
        update: 1,
        seed: 0,
        layer: 0,
      }
      await expectOnlyGoodOperands(program, 'regrowByGradient', good, {
        'an input of other features': [{ input: w.batch(4, 3) }, 'INVALID_ARGUMENT'],
        'a gradient of other features': [{ outputGradient: w.batch(5, 3) }, 'INVALID_ARGUMENT'],
        'a smaller batch': [{ input: w.batch(5, 2) }, 'INVALID_ARGUMENT'],
        'an input of another device': [{ input: other.batch(5, 3) }, 'INVALID_ARGUMENT'],
        'no gradient': [{ outputGradient: undefined }, 'INVALID_ARGUMENT'],
        'too few places': [{ changes: changesOf(w, 14) }, 'INVALID_ARGUMENT'],
        'no such scalar': [{ count: 2 }, 'INVALID_ARGUMENT'],
        'a negative layer': [{ layer: -1 }, 'INVALID_ARGUMENT'],
      })
      await changes.keep.write(new Uint8Array(15).fill(1))
      await program.replay(1, { begin: { scalars: [15, 1], columns: 3 } })
      expect((await changes.newCount.read())[0]).to.equal(3)
    })
  })
})
