import { expect } from 'chai'
import type { Links } from '../../lib/native.js'
import { type BrfOptions, brf } from '../../lib/topology/brf.js'
import { bsf } from '../../lib/topology/bsf.js'
import { bsw } from '../../lib/topology/bsw.js'
import { erdosRenyi } from '../../lib/topology/erdos_renyi.js'
import type { Topology } from '../../lib/topology/topology.js'
import { chiSquareTest, distinctDraws, purposeWord, ringWeights, setProbabilities } from '../reference.js'
import { bitsOf, cellsOf, expectRefusal, FALSE_ALARM, repeats, tally } from '../support.js'

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
      if (!(column >= 0 && column < cols && (k === rowOffsets[row] || column > columnIndices[k - 1])))
        expect.fail(`${what}: column ${column} in row ${row}`)
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

const topologies: [string, Topology][] = [
  ['Erdos and Renyi', erdosRenyi()],
  ['BSF', bsf()],
]
for (const beta of [0, 0.25, 1]) topologies.push([`BSW beta = ${beta}`, bsw({ beta })])
for (const degree of ['fixed', 'uniform'] as const) {
  for (const r of [0, 1e-3, 0.1, 0.25, 0.5, 0.9, 1]) topologies.push([`BRF r = ${r}, ${degree}`, brf({ r, degree })])
}

describe('initial networks', () => {
  for (const [name, topology] of topologies) {
    it(`have exactly the links asked for, each once: ${name}`, () => {
      for (const shape of shapes) {
        for (const seed of [0, 1, 2 ** 40])
          expectProper(generate(topology, shape, seed, seed % 7), shape, JSON.stringify(shape))
      }
    })

    it(`depend on seed and layer: ${name}`, () => {
      const shape = { rows: 40, cols: 50, links: 300 }
      const first = generate(topology, shape, 3, 1)
      expect(generate(topology, shape, 3, 1)).to.deep.equal(first)
      // Nothing is random.
      if ((name.startsWith('BRF r = 0,') && name.endsWith('fixed')) || name === 'BSW beta = 0') return
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
      await expectRefusal(
        () => generate(topology, { rows: 3, cols: 4, links: 13 }),
        'INVALID_ARGUMENT',
        `${name}: too many links`,
      )
      await expectRefusal(
        () => generate(topology, { rows: 3, cols: 4, links: -1 }),
        'INVALID_ARGUMENT',
        `${name}: too few links`,
      )
      await expectRefusal(
        () => generate(topology, { rows: 0, cols: 4, links: 0 }),
        'INVALID_ARGUMENT',
        `${name}: no rows`,
      )
      await expectRefusal(
        () => generate(topology, { rows: 3, cols: 4, links: 3 }, -1),
        'INVALID_ARGUMENT',
        `${name}: a negative seed`,
      )
    }
    for (const r of [-0.1, 1.1, Number.NaN]) await expectRefusal(() => brf({ r }), 'INVALID_ARGUMENT', `r = ${r}`)
    for (const beta of [-0.1, 1.1, Number.NaN])
      await expectRefusal(() => bsw({ beta }), 'INVALID_ARGUMENT', `beta = ${beta}`)
    await expectRefusal(() => brf({ degree: 'random' as 'fixed' }), 'INVALID_ARGUMENT', 'unknown degrees')
  })
})

describe('erdosRenyi', () => {
  for (const links of [1, 2, 4, 5, 7]) {
    it(`makes all sets of ${links} of 9 links alike`, () => {
      const sets = Array.from({ length: repeats(12_000) }, (_, seed) =>
        bitsOf(cellsOf({ rows: 3, cols: 3, ...generate(erdosRenyi(), { rows: 3, cols: 3, links }, seed, 5) })),
      )
      expect(chiSquareTest(tally(sets), setProbabilities(new Array(9).fill(1), links))).to.be.above(FALSE_ALARM)
    })
  }

  it('takes what its Philox words say', () => {
    for (const seed of [0, 9e9]) {
      const cells = cellsOf({
        rows: 31,
        cols: 47,
        ...generate(erdosRenyi(), { rows: 31, cols: 47, links: 400 }, seed, 3),
      })
      expect(cells).to.deep.equal(
        [...distinctDraws(400, 31 * 47, seed, 0, purposeWord('topology', 3))].sort((a, b) => a - b),
      )
    }
  })
})

describe('bsw', () => {
  it('is the ring lattice at beta = 0', () => {
    for (const shape of shapes)
      expect(generate(bsw({ beta: 0 }), shape), JSON.stringify(shape)).to.deep.equal(generate(brf({ r: 0 }), shape))
  })

  it('makes all sets alike at beta = 1', () => {
    for (const links of [2, 5, 7]) {
      const sets = Array.from({ length: repeats(12_000) }, (_, seed) =>
        bitsOf(cellsOf({ rows: 3, cols: 3, ...generate(bsw({ beta: 1 }), { rows: 3, cols: 3, links }, seed, 5) })),
      )
      expect(chiSquareTest(tally(sets), setProbabilities(new Array(9).fill(1), links))).to.be.above(FALSE_ALARM)
    }
  })

  for (const [rows, cols, links, beta] of [
    [2, 4, 4, 0.25],
    [3, 3, 5, 0.5],
    [4, 2, 3, 0.8],
    [1, 6, 5, 0.4], // little room elsewhere
  ]) {
    const title =
      `rewires each link with probability beta to any free place: ${rows}x${cols}, ` + `${links} links, beta = ${beta}`
    it(title, () => {
      const shape = { rows, cols, links }
      const cells = rows * cols
      const lattice = cellsOf({ rows, cols, ...generate(brf({ r: 0 }), shape) })
      // The sets that are left of the lattice, each completed by all sets of cells outside of it alike.
      const law = new Map<number, number>()
      for (let left = 0; left < 2 ** links; ++left) {
        const kept = lattice.filter((_, i) => left & (1 << i))
        const share = (1 - beta) ** kept.length * beta ** (links - kept.length)
        const free = Array.from({ length: cells }, (_, cell) => (kept.includes(cell) ? 0 : 1))
        for (const [set, probability] of setProbabilities(free, links - kept.length)) {
          if (probability > 0) law.set(set | bitsOf(kept), (law.get(set | bitsOf(kept)) ?? 0) + share * probability)
        }
      }
      const sets = Array.from({ length: repeats(12_000) }, (_, seed) =>
        bitsOf(cellsOf({ rows, cols, ...generate(bsw({ beta }), shape, seed, 2) })),
      )
      expect(chiSquareTest(tally(sets), law)).to.be.above(FALSE_ALARM)
    })
  }

  it('rewires the share beta of a real layer', () => {
    const shape = { rows: 1568, cols: 1568, links: 24_586 }
    const lattice = new Set(cellsOf({ ...shape, ...generate(brf({ r: 0 }), shape) }))
    for (const beta of [0.05, 0.25, 0.7]) {
      const made = generate(bsw({ beta }), shape, 3)
      expectProper(made, shape, `beta = ${beta}`)
      const left = cellsOf({ ...shape, ...made }).filter((cell) => lattice.has(cell)).length
      // Of those that are rewired, a share of about 1% finds a place of the lattice. 4.9 standard deviations: one in a
      // million.
      const back = (beta * shape.links) / (shape.rows * shape.cols - (1 - beta) * shape.links)
      const expected = shape.links * (1 - beta + beta * back)
      expect(Math.abs(left - expected), `beta = ${beta}`).to.be.below(
        4.9 * Math.sqrt(shape.links * beta * (1 - beta) + shape.links * beta * back),
      )
    }
  })
})

describe('bsf', () => {
  /**
   * All networks that grow, with their probabilities, by bits of cells: arrival by arrival, then over all orders of
   * both sides.
   */
  function growthLaw({ rows, cols, links }: Shape): Map<number, number> {
    const neurons = rows + cols
    let grown = new Map<string, { edges: [number, number][]; probability: number }>([
      ['', { edges: [], probability: 1 }],
    ])
    const arrived = [0, 0]
    let owed = 0
    for (let n = 0; n < neurons; ++n) {
      const side = Math.floor(((n + 1) * rows) / neurons) > Math.floor((n * rows) / neurons) ? 0 : 1
      owed += Math.floor((links * (n + 1)) / neurons) - Math.floor((links * n) / neurons)
      const count = Math.min(owed, arrived[1 - side])
      owed -= count
      const next: typeof grown = new Map()
      for (const { edges, probability } of grown.values()) {
        const degrees = Array.from(
          { length: arrived[1 - side] },
          (_, place) => edges.filter((edge) => edge[1 - side] === place).length,
        )
        const weights = count === arrived[1 - side] ? degrees.map(() => 1) : degrees
        for (const [set, share] of count === 0 ? [[0, 1] as const] : setProbabilities(weights, count)) {
          const added = degrees.flatMap((_, place) =>
            set & (1 << place) ? [(side === 0 ? [arrived[0], place] : [place, arrived[1]]) as [number, number]] : [],
          )
          const all = [...edges, ...added]
          const key = all.map((edge) => edge.join()).join(' ')
          next.set(key, { edges: all, probability: (next.get(key)?.probability ?? 0) + probability * share })
        }
      }
      grown = next
      ++arrived[side]
    }
    expect(owed).to.equal(0)
    const orders = (size: number): number[][] =>
      size === 0
        ? [[]]
        : orders(size - 1).flatMap((order) => Array.from({ length: size }, (_, i) => order.toSpliced(i, 0, size - 1)))
    const [rowOrders, colOrders] = [orders(rows), orders(cols)]
    const law = new Map<number, number>()
    for (const { edges, probability } of grown.values()) {
      for (const r of rowOrders) {
        for (const c of colOrders) {
          const set = bitsOf(edges.map(([row, col]) => r[row] * cols + c[col]))
          law.set(set, (law.get(set) ?? 0) + probability / (rowOrders.length * colOrders.length))
        }
      }
    }
    return law
  }

  for (const [rows, cols, links] of [
    [3, 3, 6],
    [2, 4, 6],
    [4, 2, 6],
    [3, 4, 7],
    [3, 3, 7],
    [2, 2, 4], // all of them
  ]) {
    it(`grows by preferential attachment: ${rows}x${cols}, ${links} links`, () => {
      const shape = { rows, cols, links }
      const sets = Array.from({ length: repeats(20_000) }, (_, seed) =>
        bitsOf(cellsOf({ rows, cols, ...generate(bsf(), shape, seed, 4) })),
      )
      expect(chiSquareTest(tally(sets), growthLaw(shape))).to.be.above(FALSE_ALARM)
    })
  }

  it('has degrees that follow the power law of Barabasi and Albert on both sides, and links anywhere do not', () => {
    // 2 m (m + 1) / (k (k + 1) (k + 2)) for degrees k >= m, in the limit of many neurons; those of one network are
    // nearly independent.
    const m = 4
    const shape = { rows: 20_000, cols: 20_000, links: 40_000 * m }
    const tail = (k: number) => (m * (m + 1)) / (k * (k + 1)) // P(degree >= k)
    const bins = [4, 5, 6, 7, 8, 10, 12, 16, 24, 32, 64, 128]
    const law = new Map(bins.map((k, i) => [k, tail(k) - (i + 1 < bins.length ? tail(bins[i + 1]) : 0)]))
    const p = (topology: Topology, side: 'rows' | 'cols') => {
      const { rowOffsets, columnIndices } = generate(topology, shape, 11)
      const degrees = new Array(shape[side]).fill(0)
      if (side === 'rows')
        for (let row = 0; row < shape.rows; ++row) degrees[row] = rowOffsets[row + 1] - rowOffsets[row]
      else for (const column of columnIndices) ++degrees[column]
      // A few degrees below m are those of the first arrivals' partners; none has fewer.
      return chiSquareTest(tally(degrees.filter((d) => d >= m).map((d) => bins.findLast((k) => d >= k))), law)
    }
    for (const side of ['rows', 'cols'] as const) {
      expect(p(bsf(), side), side).to.be.above(FALSE_ALARM)
      expect(p(erdosRenyi(), side), `${side} of links anywhere`).to.be.below(FALSE_ALARM)
    }
  })

  it('has hubs of another exponent on each side when they differ', () => {
    // Of degrees above 5 m, the share above 10 m is 2^-(exponent - 1): 2^-(neurons / rows) among the columns.
    const shape = { rows: 8000, cols: 24_000, links: 6 * 32_000 }
    const { rowOffsets, columnIndices } = generate(bsf(), shape, 2)
    const share = (degrees: number[]) => degrees.filter((d) => d >= 60).length / degrees.filter((d) => d >= 30).length
    const rows = Array.from({ length: shape.rows }, (_, row) => rowOffsets[row + 1] - rowOffsets[row])
    const cols = new Array(shape.cols).fill(0)
    for (const column of columnIndices) ++cols[column]
    expect(share(rows)).to.be.within(0.36, 0.44) // 2^-(4/3) = 0.397; 1300 neurons: 3 standard deviations
    expect(share(cols)).to.be.below(0.3) // 2^-4, of few
  })

  it('is dense where the density asks for it', () => {
    for (const shape of [
      { rows: 50, cols: 60, links: 2990 },
      { rows: 60, cols: 50, links: 1500 },
      { rows: 3, cols: 200, links: 599 },
    ]) {
      expectProper(generate(bsf(), shape, 1), shape, JSON.stringify(shape))
    }
  })
})

describe('layers of 65,536 x 65,536 with 16 links a neuron', () => {
  for (const topology of [bsw(), bsf()]) {
    it(`are drawn in about a second: ${topology.name}`, () => {
      const shape = { rows: 2 ** 16, cols: 2 ** 16, links: 2 ** 20 }
      const start = performance.now()
      const made = generate(topology, shape)
      expect(performance.now() - start).to.be.below(10_000) // beside much else
      expectProper(made, shape, topology.name)
    }).timeout(20_000)
  }
})

describe('brf', () => {
  /** Draws many networks and compares each neuron's places with sequential draws by the law of ring distances. */
  function expectLaw(shape: Shape, r: number, draws: number): void {
    const { rows, cols } = shape
    const [smaller, larger] = [Math.min(rows, cols), Math.max(rows, cols)]
    const sets: number[][] = Array.from({ length: smaller }, () => [])
    for (let seed = 0; seed < repeats(draws); ++seed) {
      for (const [i, places] of placesOf(generate(brf({ r }), shape, seed, 2), shape).entries())
        sets[i].push(bitsOf(places))
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
      it(`draws by ring distance without replacement: ${rows}x${cols}, ${links} links, r = ${r}`, () =>
        expectLaw({ rows, cols, links }, r, 5000))
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

  /**
   * The same for two places a neuron on a ring too large to tell its places apart: by pairs of groups of places, many
   * small ones and two large ones.
   */
  function expectLawOfPairs(shape: Shape, r: number, draws: number): void {
    const { rows, cols } = shape
    const [smaller, larger] = [Math.min(rows, cols), Math.max(rows, cols)]
    const drawn: number[][][] = Array.from({ length: smaller }, () => [])
    for (let seed = 0; seed < repeats(draws); ++seed) {
      for (const [i, places] of placesOf(generate(brf({ r }), shape, seed, 2), shape).entries()) drawn[i].push(places)
    }
    const key = (a: number, b: number) => `${Math.min(a, b)} ${Math.max(a, b)}`
    for (let i = 0; i < smaller; ++i) {
      const weights = ringWeights(larger, (i * larger) / smaller, r)
      const total = weights.reduce((x, y) => x + y, 0)
      const right = (j: number) => (((j - (i * larger) / smaller) % larger) + larger) % larger
      const distance = (j: number) => Math.min(right(j), larger - right(j))
      // Side by side near the centre, and by powers of two; or near and far.
      const small = (j: number) =>
        (distance(j) < 6 ? Math.floor(distance(j)) : 10 + Math.floor(Math.log2(distance(j)))) +
        (distance(j) === right(j) ? 0 : 100)
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
          for (const [b, [second]] of groups)
            law.set(key(a, b), (law.get(key(a, b)) ?? 0) + first * second - (a === b ? same : 0))
        }
        const observed = new Map<string, number>()
        for (const [a, b] of drawn[i])
          observed.set(key(groupOf(a), groupOf(b)), (observed.get(key(groupOf(a), groupOf(b))) ?? 0) + 1)
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
        const distance = (j: number) =>
          Math.min(Math.abs(j - (i * larger) / smaller), larger - Math.abs(j - (i * larger) / smaller))
        const nearest = Array.from({ length: larger }, (_, j) => distance(j)).sort((a, b) => a - b)
        const taken = places.map(distance).sort((a, b) => a - b)
        for (const [n, d] of taken.entries())
          expect(d, `${JSON.stringify(shape)}, neuron ${i}`).to.be.closeTo(nearest[n], 1e-9)
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

  /**
   * Probabilities of degrees when each neuron has one link and the rest is thrown at those that have room, one by one.
   */
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
    const title =
      `throws what exceeds one link a neuron at random, when degrees are uniform: ${rows}x${cols}, ` + `${links} links`
    it(title, () => {
      const shape = { rows, cols, links }
      const degrees = Array.from({ length: repeats(8000) }, (_, seed) =>
        placesOf(generate(brf({ degree: 'uniform' } satisfies BrfOptions), shape, seed, 1), shape)
          .map((places) => places.length)
          .join(),
      )
      expect(chiSquareTest(tally(degrees), degreeLaw(Math.min(rows, cols), links, Math.max(rows, cols)))).to.be.above(
        FALSE_ALARM,
      )
    })
  }

  it('makes networks of the size of a real layer in no time', () => {
    const shape = { rows: 1568, cols: 1568, links: 24_586 }
    for (const degree of ['fixed', 'uniform'] as const) {
      for (const r of [0, 0.05, 0.25, 1])
        expectProper(generate(brf({ r, degree }), shape), shape, `${degree}, r = ${r}`)
    }
  })
})

function bitsCount(bits: number): number {
  let count = 0
  for (let rest = bits; rest; rest &= rest - 1) ++count
  return count
}
