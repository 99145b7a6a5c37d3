import { expect } from 'chai'
import type { Links } from '../../lib/native.js'
import { type BrfOptions, brf } from '../../lib/topology/brf.js'
import { erdosRenyi } from '../../lib/topology/erdos_renyi.js'
import type { Topology } from '../../lib/topology/topology.js'
import { chiSquareTest, distinctDraws, purposeWord, ringWeights, setProbabilities } from '../reference.js'
import { bitsOf, cellsOf, expectRefusal, FALSE_ALARM, tally } from '../support.js'

interface Shape {
  rows: number
  cols: number
  links: number
}

function generate(topology: Topology, shape: Shape, seed = 0, layer = 0): Links {
  return topology.generate({ ...shape, seed, layer })
}

/** Expects a proper matrix with exactly the links asked for. */
function expectProper({ rowOffsets, columnIndices }: Links, { rows, cols, links }: Shape, what: string): void {
  expect(columnIndices.length, what).to.equal(links)
  expect([rowOffsets.length, rowOffsets[0], rowOffsets[rows]], what).to.deep.equal([rows + 1, 0, links])
  for (let row = 0; row < rows; ++row) {
    for (let k = rowOffsets[row]; k < rowOffsets[row + 1]; ++k) {
      const column = columnIndices[k]
      if (!(column >= 0 && column < cols && (k === rowOffsets[row] || column > columnIndices[k - 1]))) expect.fail(`${what}: column ${column} in row ${row}`)
    }
  }
}

/** The places that each neuron of the smaller side is linked to, in the order of these neurons. */
function placesOf({ rowOffsets, columnIndices }: Links, { rows, cols, links }: Shape): number[][] {
  const places: number[][] = Array.from({ length: Math.min(rows, cols) }, () => [])
  for (const cell of cellsOf({ rows, cols, rowOffsets, columnIndices })) {
    const [row, col] = [Math.floor(cell / cols), cell % cols]
    if (rows <= cols) places[row].push(col)
    else places[col].push(row)
  }
  expect(places.flat().length).to.equal(links)
  return places
}

const shapes: Shape[] = [
  { rows: 1, cols: 1, links: 0 },
  { rows: 1, cols: 1, links: 1 },
  { rows: 1, cols: 10, links: 4 },
  { rows: 10, cols: 1, links: 4 },
  { rows: 1, cols: 10, links: 10 },
  { rows: 2, cols: 2, links: 3 },
  { rows: 20, cols: 30, links: 0 },
  { rows: 20, cols: 30, links: 1 },
  { rows: 20, cols: 30, links: 7 }, // fewer than neurons
  { rows: 30, cols: 20, links: 19 },
  { rows: 20, cols: 30, links: 20 },
  { rows: 20, cols: 30, links: 50 },
  { rows: 30, cols: 20, links: 299 },
  { rows: 20, cols: 20, links: 399 },
  { rows: 20, cols: 30, links: 600 }, // all
  { rows: 37, cols: 61, links: 1000 },
  { rows: 100, cols: 784, links: 784 },
  { rows: 784, cols: 300, links: 2352 },
]

const topologies: [string, Topology][] = [['Erdos and Renyi', erdosRenyi()]]
for (const degree of ['fixed', 'uniform'] as const) {
  for (const r of [0, 1e-3, 0.1, 0.25, 0.5, 0.9, 1]) topologies.push([`BRF r = ${r}, ${degree}`, brf({ r, degree })])
}

describe('initial networks', () => {
  for (const [name, topology] of topologies) {
    it(`have exactly the links asked for, each once: ${name}`, () => {
      for (const shape of shapes) {
        for (const seed of [0, 1, 2 ** 40]) expectProper(generate(topology, shape, seed, seed % 7), shape, JSON.stringify(shape))
      }
    })

    it(`depend on seed and layer: ${name}`, () => {
      const shape = { rows: 40, cols: 50, links: 300 }
      const first = generate(topology, shape, 3, 1)
      expect(generate(topology, shape, 3, 1)).to.deep.equal(first)
      if (name.startsWith('BRF r = 0,') && name.endsWith('fixed')) return // nothing is random
      for (const [seed, layer] of [
        [4, 1],
        [3 + 2 ** 32, 1],
        [3, 2],
      ]) {
        expect(generate(topology, shape, seed, layer), `seed ${seed}, layer ${layer}`).to.not.deep.equal(first)
      }
    })
  }

  it('refuse what cannot be', async () => {
    for (const [name, topology] of topologies) {
      await expectRefusal(() => generate(topology, { rows: 3, cols: 4, links: 13 }), 'INVALID_ARGUMENT', `${name}: too many links`)
      await expectRefusal(() => generate(topology, { rows: 3, cols: 4, links: -1 }), 'INVALID_ARGUMENT', `${name}: too few links`)
      await expectRefusal(() => generate(topology, { rows: 0, cols: 4, links: 0 }), 'INVALID_ARGUMENT', `${name}: no rows`)
      await expectRefusal(() => generate(topology, { rows: 3, cols: 4, links: 3 }, -1), 'INVALID_ARGUMENT', `${name}: a negative seed`)
    }
    for (const r of [-0.1, 1.1, Number.NaN]) await expectRefusal(() => brf({ r }), 'INVALID_ARGUMENT', `r = ${r}`)
    await expectRefusal(() => brf({ degree: 'random' as 'fixed' }), 'INVALID_ARGUMENT', 'unknown degrees')
  })
})

describe('erdosRenyi', () => {
  for (const links of [1, 2, 4, 5, 7]) {
    it(`makes all sets of ${links} of 9 links alike`, () => {
      const sets = Array.from({ length: 12_000 }, (_, seed) =>
        bitsOf(cellsOf({ rows: 3, cols: 3, ...generate(erdosRenyi(), { rows: 3, cols: 3, links }, seed, 5) })),
      )
      expect(chiSquareTest(tally(sets), setProbabilities(new Array(9).fill(1), links))).to.be.above(FALSE_ALARM)
    })
  }

  it('takes what its Philox words say', () => {
    for (const seed of [0, 9e9]) {
      const cells = cellsOf({ rows: 31, cols: 47, ...generate(erdosRenyi(), { rows: 31, cols: 47, links: 400 }, seed, 3) })
      expect(cells).to.deep.equal([...distinctDraws(400, 31 * 47, seed, 0, purposeWord('topology', 3))].sort((a, b) => a - b))
    }
  })
})

describe('brf', () => {
  /** Draws many networks and compares each neuron's places with sequential draws by the law of ring distances. */
  function expectLaw(shape: Shape, r: number, draws: number): void {
    const { rows, cols } = shape
    const [smaller, larger] = [Math.min(rows, cols), Math.max(rows, cols)]
    const sets: number[][] = Array.from({ length: smaller }, () => [])
    for (let seed = 0; seed < draws; ++seed) {
      for (const [i, places] of placesOf(generate(brf({ r }), shape, seed, 2), shape).entries()) sets[i].push(bitsOf(places))
    }
    for (let i = 0; i < smaller; ++i) {
      const degree = bitsCount(sets[i][0])
      const law = setProbabilities(ringWeights(larger, (i * larger) / smaller, r), degree)
      expect(chiSquareTest(tally(sets[i]), law), `neuron ${i} of ${smaller}, ${degree} links`).to.be.above(FALSE_ALARM)
    }
  }

  for (const [rows, cols, links] of [
    [1, 6, 2], // an even ring: one place lies opposite
    [1, 7, 3],
    [3, 7, 6], // centres at thirds, an odd ring
    [2, 7, 4], // a centre half-way, with a place opposite
    [4, 10, 12], // centres half-way, an even ring
    [5, 8, 10],
    [9, 4, 8], // the smaller side is the columns
    [4, 4, 8],
    [3, 2, 4],
    [1, 2, 1],
    [2, 3, 3], // degrees 1 and 2
  ]) {
    for (const r of [0.25, 0.5, 0.9]) {
      it(`draws by ring distance without replacement: ${rows}x${cols}, ${links} links, r = ${r}`, () => expectLaw({ rows, cols, links }, r, 5000))
    }
  }

  it('draws by ring distance when nearly all places are taken, and distant ones are all but impossible', () => {
    expectLaw({ rows: 1, cols: 6, links: 5 }, 0.1, 20_000)
    expectLaw({ rows: 2, cols: 7, links: 12 }, 0.15, 20_000)
    expectLaw({ rows: 1, cols: 8, links: 4 }, 0.12, 20_000)
  })

  it('draws uniformly at r = 1', () => {
    expectLaw({ rows: 3, cols: 8, links: 9 }, 1, 5000)
    expectLaw({ rows: 7, cols: 2, links: 6 }, 1, 5000)
  })

  /** The same for two places a neuron on a ring too large to tell its places apart: by pairs of groups of places, many small ones and two large ones. */
  function expectLawOfPairs(shape: Shape, r: number, draws: number): void {
    const { rows, cols } = shape
    const [smaller, larger] = [Math.min(rows, cols), Math.max(rows, cols)]
    const drawn: number[][][] = Array.from({ length: smaller }, () => [])
    for (let seed = 0; seed < draws; ++seed) {
      for (const [i, places] of placesOf(generate(brf({ r }), shape, seed, 2), shape).entries()) drawn[i].push(places)
    }
    const key = (a: number, b: number) => `${Math.min(a, b)} ${Math.max(a, b)}`
    for (let i = 0; i < smaller; ++i) {
      const weights = ringWeights(larger, (i * larger) / smaller, r)
      const total = weights.reduce((x, y) => x + y, 0)
      const right = (j: number) => (((j - (i * larger) / smaller) % larger) + larger) % larger
      const distance = (j: number) => Math.min(right(j), larger - right(j))
      // Side by side near the centre, and by powers of two; or near and far.
      const small = (j: number) => (distance(j) < 6 ? Math.floor(distance(j)) : 10 + Math.floor(Math.log2(distance(j)))) + (distance(j) === right(j) ? 0 : 100)
      for (const groupOf of [small, (j: number) => (distance(j) > 20.9 ? 1 : 0)]) {
        // Sums over a group's places j of p, p / (1 - p) and p^2 / (1 - p): P(j, then k) = p_j p_k / (1 - p_j).
        const groups = new Map<number, [number, number, number]>()
        for (const [j, w] of weights.entries()) {
          const p = w / total
          const sums = groups.get(groupOf(j)) ?? [0, 0, 0]
          groups.set(groupOf(j), [sums[0] + p, sums[1] + p / (1 - p), sums[2] + p ** 2 / (1 - p)])
        }
        const law = new Map<string, number>()
        for (const [a, [, first, same]] of groups) {
          for (const [b, [second]] of groups) law.set(key(a, b), (law.get(key(a, b)) ?? 0) + first * second - (a === b ? same : 0))
        }
        const observed = new Map<string, number>()
        for (const [a, b] of drawn[i]) observed.set(key(groupOf(a), groupOf(b)), (observed.get(key(groupOf(a), groupOf(b))) ?? 0) + 1)
        expect(chiSquareTest(observed, law), `neuron ${i} of ${smaller}`).to.be.above(FALSE_ALARM)
      }
    }
  }

  for (const r of [0.15, 0.25, 0.5, 0.9, 1]) {
    it(`draws by the same law on a large ring: r = ${r}`, () => {
      expectLawOfPairs({ rows: 1, cols: 8194, links: 2 }, r, 2000)
      expectLawOfPairs({ rows: 8193, cols: 2, links: 4 }, r, 2000) // an odd ring, and a centre half-way
      expectLawOfPairs({ rows: 3, cols: 9000, links: 6 }, r, 1000)
    })
  }

  it('links most of a large ring, and is the same again', () => {
    for (const r of [0.001, 0.01, 0.25, 0.7, 1]) {
      for (const links of [1, 4500, 9000, 9001]) {
        const shape = { rows: 1, cols: 9001, links }
        const made = generate(brf({ r }), shape, 5)
        expectProper(made, shape, `r = ${r}, ${links} links`)
        expect(generate(brf({ r }), shape, 5)).to.deep.equal(made)
      }
    }
    for (const [shape, r] of [
      [{ rows: 1, cols: 9001, links: 500 }, 1], // most of them are far
      [{ rows: 1, cols: 9001, links: 1500 }, 0.6],
      [{ rows: 10_000, cols: 9000, links: 60_000 }, 0.25], // several threads
    ] as const) {
      expectProper(generate(brf({ r }), shape), shape, JSON.stringify(shape))
    }
  })

  it('takes the nearest places at r = 0', () => {
    for (const shape of shapes) {
      const { rows, cols } = shape
      const [smaller, larger] = [Math.min(rows, cols), Math.max(rows, cols)]
      for (const [i, places] of placesOf(generate(brf({ r: 0 }), shape), shape).entries()) {
        const distance = (j: number) => Math.min(Math.abs(j - (i * larger) / smaller), larger - Math.abs(j - (i * larger) / smaller))
        const nearest = Array.from({ length: larger }, (_, j) => distance(j)).sort((a, b) => a - b)
        const taken = places.map(distance).sort((a, b) => a - b)
        for (const [n, d] of taken.entries()) expect(d, `${JSON.stringify(shape)}, neuron ${i}`).to.be.closeTo(nearest[n], 1e-9)
      }
    }
  })

  it('goes to the nearest places as r falls', () => {
    const shape = { rows: 8, cols: 40, links: 40 }
    const far = (r: number) =>
      placesOf(generate(brf({ r }), shape, 1), shape)
        .flatMap((places, i) => places.map((j) => Math.min(Math.abs(j - 5 * i), 40 - Math.abs(j - 5 * i))))
        .reduce((a, b) => a + b, 0)
    expect(far(0.01)).to.equal(far(0))
    expect(far(0.25)).to.be.above(far(0))
    expect(far(1)).to.be.above(far(0.25))
  })

  it('gives the smaller side equal degrees, up to rounding, when they are fixed', () => {
    for (const shape of shapes) {
      for (const r of [0, 0.25, 1]) {
        const degrees = placesOf(generate(brf({ r, degree: 'fixed' }), shape, 4), shape).map((places) => places.length)
        expect(Math.max(...degrees) - Math.min(...degrees), JSON.stringify(shape)).to.be.at.most(1)
      }
    }
  })

  /** Probabilities of degrees when each neuron has one link and the rest is thrown at those that have room, one by one. */
  function degreeLaw(neurons: number, links: number, most: number): Map<string, number> {
    let law = new Map([[new Array(neurons).fill(1).join(), 1]])
    for (let thrown = neurons; thrown < links; ++thrown) {
      const next = new Map<string, number>()
      for (const [key, probability] of law) {
        const degrees = key.split(',').map(Number)
        const open = degrees.flatMap((d, i) => (d < most ? [i] : []))
        for (const i of open) {
          const grown = degrees.with(i, degrees[i] + 1).join()
          next.set(grown, (next.get(grown) ?? 0) + probability / open.length)
        }
      }
      law = next
    }
    return law
  }

  for (const [rows, cols, links] of [
    [3, 9, 7],
    [9, 3, 7],
    [4, 10, 8],
    [3, 4, 10], // no room for all: degrees are cut at 4
    [2, 3, 5],
    [4, 5, 4],
  ]) {
    it(`throws what exceeds one link a neuron at random, when degrees are uniform: ${rows}x${cols}, ${links} links`, () => {
      const shape = { rows, cols, links }
      const degrees = Array.from({ length: 8000 }, (_, seed) =>
        placesOf(generate(brf({ degree: 'uniform' } satisfies BrfOptions), shape, seed, 1), shape)
          .map((places) => places.length)
          .join(),
      )
      expect(chiSquareTest(tally(degrees), degreeLaw(Math.min(rows, cols), links, Math.max(rows, cols)))).to.be.above(FALSE_ALARM)
    })
  }

  it('makes networks of the size of a real layer in no time', () => {
    const shape = { rows: 1568, cols: 1568, links: 24_586 }
    for (const degree of ['fixed', 'uniform'] as const) {
      for (const r of [0, 0.05, 0.25, 1]) expectProper(generate(brf({ r, degree }), shape), shape, `${degree}, r = ${r}`)
    }
  })
})

function bitsCount(bits: number): number {
  let count = 0
  for (let rest = bits; rest; rest &= rest - 1) ++count
  return count
}
