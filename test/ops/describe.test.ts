import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import {
  brf,
  bsf,
  describeTopology,
  erdosRenyi,
  load,
  mlp,
  set,
  sgd,
  type TopologyDescription,
  Trainer,
} from '../../lib/index.js'
import type { PlainCsr } from '../../lib/tensor.js'
import { eachLink, fullCsr } from '../reference.js'
import { cpu, csrOf, expectRefusal, random, randomCsr } from '../support.js'

/** The same by definition: all paths and cycles one by one, all distances by Floyd and Warshall. */
function reference(csr: PlainCsr) {
  const { rows, cols } = csr
  const linked = (r: number, c: number) => links.has(r * cols + c)
  const links = new Set<number>()
  eachLink(csr, (r, c) => links.add(r * cols + c))
  let [paths, closed] = [0, 0]
  eachLink(csr, (r, c) => {
    for (let c2 = 0; c2 < cols; ++c2) {
      for (let r2 = 0; r2 < rows; ++r2) {
        if (c2 === c || r2 === r || !linked(r, c2) || !linked(r2, c)) continue
        ++paths
        if (linked(r2, c2)) ++closed
      }
    }
  })
  const n = rows + cols
  const distance = Array.from({ length: n }, (_, i) =>
    Array.from({ length: n }, (_, j) => (i === j ? 0 : Number.POSITIVE_INFINITY)),
  )
  eachLink(csr, (r, c) => {
    distance[r][rows + c] = distance[rows + c][r] = 1
  })
  for (let k = 0; k < n; ++k)
    for (let i = 0; i < n; ++i)
      for (let j = 0; j < n; ++j) distance[i][j] = Math.min(distance[i][j], distance[i][k] + distance[k][j])
  let [active, pairs, sum] = [0, 0, 0]
  for (let i = 0; i < n; ++i) {
    if (distance[i].includes(1)) ++active
    for (let j = 0; j < n; ++j) {
      if (i === j || distance[i][j] === Number.POSITIVE_INFINITY) continue
      ++pairs
      sum += distance[i][j]
    }
  }
  const degree = (of: (r: number, c: number) => number, size: number) => {
    const degrees = new Array(size).fill(0)
    eachLink(csr, (r, c) => ++degrees[of(r, c)])
    return degrees
  }
  return {
    clustering: closed / paths,
    pathLength: sum / pairs,
    connected: pairs / (active * (active - 1)),
    outputs: degree((r) => r, rows),
    inputs: degree((_, c) => c, cols),
  }
}

/** Percolation by definition: again and again over all neurons of the chain. */
function percolated(layers: readonly PlainCsr[]): { links: number; inputs: number; outputs: number }[] {
  const left = layers.map((csr) => {
    const cells: [number, number][] = []
    eachLink(csr, (r, c) => cells.push([r, c]))
    return cells
  })
  for (let changed = true; changed; ) {
    changed = false
    for (let l = 0; l + 1 < layers.length; ++l) {
      const outputs = new Set(left[l].map(([r]) => r))
      const inputs = new Set(left[l + 1].map(([, c]) => c))
      const before = left[l].length + left[l + 1].length
      left[l] = left[l].filter(([r]) => inputs.has(r))
      left[l + 1] = left[l + 1].filter(([, c]) => outputs.has(c))
      if (left[l].length + left[l + 1].length < before) changed = true
    }
  }
  return left.map((cells) => ({
    links: cells.length,
    inputs: new Set(cells.map(([, c]) => c)).size,
    outputs: new Set(cells.map(([r]) => r)).size,
  }))
}

function sameOrNaN(actual: number, expected: number, what: string): void {
  if (Number.isNaN(expected)) expect(actual, what).to.be.NaN
  else expect(actual, what).to.be.closeTo(expected, 1e-12)
}

describe('describeTopology', () => {
  const graphs: [string, PlainCsr][] = [
    ['no link', csrOf(3, 4, [])],
    ['one link', csrOf(3, 4, [5])],
    ['one neuron a side', csrOf(1, 1, [0])],
    ['a path of three links', csrOf(2, 2, [0, 1, 3])],
    ['a cycle of four', csrOf(2, 2, [0, 1, 2, 3])],
    ['a star', csrOf(1, 9, [0, 1, 2, 3, 4, 5, 6, 7, 8])],
    ['all links', fullCsr(5, 7)],
    ['a ring', { rows: 12, cols: 12, ...brf({ r: 0 }).generate({ rows: 12, cols: 12, links: 36, seed: 0, layer: 0 }) }],
    [
      'a scale-free network',
      { rows: 20, cols: 15, ...bsf().generate({ rows: 20, cols: 15, links: 70, seed: 3, layer: 0 }) },
    ],
  ]
  for (const [rows, cols, links] of [
    [7, 9, 12],
    [9, 7, 20],
    [20, 20, 60],
    [25, 10, 100],
    [4, 40, 50],
    [40, 4, 50],
  ])
    graphs.push([`${rows}x${cols} with ${links} links`, randomCsr(rows, cols, links, links)])

  for (const [name, csr] of graphs) {
    it(`counts what there is: ${name}`, () => {
      const { layers } = describeTopology(csr)
      const [layer] = layers
      const expected = reference(csr)
      const links = csr.columnIndices.length
      expect([layers.length, layer.outFeatures, layer.inFeatures, layer.links]).to.deep.equal([
        1,
        csr.rows,
        csr.cols,
        links,
      ])
      expect(layer.density).to.equal(links / (csr.rows * csr.cols))
      sameOrNaN(layer.clustering.value, expected.clustering, 'clustering')
      sameOrNaN(layer.pathLength.value, expected.pathLength, 'path length')
      sameOrNaN(layer.connected, expected.connected, 'connected')
      expect([layer.clustering.error, layer.pathLength.error]).to.deep.equal([0, 0])
      for (const side of ['inputs', 'outputs'] as const) {
        const degrees = expected[side]
        const mean = degrees.reduce((a, b) => a + b, 0) / degrees.length
        expect(layer[side].neurons).to.equal(degrees.length)
        expect(layer[side].active).to.equal(degrees.filter((d) => d > 0).length)
        expect(layer[side].mean).to.be.closeTo(mean, 1e-12)
        expect(layer[side].deviation).to.be.closeTo(
          Math.sqrt(degrees.reduce((a, d) => a + (d - mean) ** 2, 0) / degrees.length),
          1e-12,
        )
        expect(layer[side].largest).to.equal(Math.max(...degrees))
        expect(layer[side].histogram.flatMap(({ degree, neurons }) => new Array(neurons).fill(degree))).to.deep.equal(
          degrees.sort((a, b) => a - b),
        )
      }
    })
  }

  it('percolates through the chain of layers, and no further', () => {
    const next = random(7)
    for (let run = 0; run < 60; ++run) {
      const widths = Array.from({ length: 3 + Math.floor(3 * next()) }, () => 3 + Math.floor(9 * next()))
      const layers = widths
        .slice(1)
        .map((rows, i) =>
          randomCsr(rows, widths[i], Math.ceil((0.1 + 0.25 * next()) * rows * widths[i]), Math.floor(1e6 * next())),
        )
      const description = describeTopology(layers)
      const expected = percolated(layers)
      expect(description.layers.map((layer) => layer.percolated)).to.deep.equal(expected)
      const neurons = widths.reduce((a, b) => a + b, 0)
      const left = expected.reduce((total, layer) => total + layer.inputs, 0) + (expected.at(-1)?.outputs as number)
      expect(description.percolated).to.deep.equal({
        links: expected.reduce((total, layer) => total + layer.links, 0),
        neurons: left / neurons,
      })
    }
    const apart = [randomCsr(6, 5, 4, 1), randomCsr(4, 7, 3, 2)] // 6 outputs, then 7 inputs
    expect(describeTopology(apart).layers.map((layer) => layer.percolated)).to.deep.equal(
      apart.flatMap((csr) => percolated([csr])),
    )
  })

  it('estimates by samples what would take too long, within its standard error', () => {
    for (const [name, csr] of [
      [
        'scale-free',
        { rows: 300, cols: 200, ...bsf().generate({ rows: 300, cols: 200, links: 2500, seed: 1, layer: 0 }) },
      ],
      [
        'receptive fields',
        { rows: 300, cols: 300, ...brf({ r: 0.1 }).generate({ rows: 300, cols: 300, links: 1500, seed: 1, layer: 0 }) },
      ],
    ] as const) {
      const [exact] = describeTopology(csr).layers
      for (let seed = 0; seed < 20; ++seed) {
        const [sampled] = describeTopology(csr, { exactUpTo: 0, seed }).layers
        for (const measure of ['clustering', 'pathLength'] as const) {
          expect(exact[measure].error).to.equal(0)
          expect(sampled[measure].error, `${name}: ${measure}`).to.be.within(1e-9, 0.1 * exact[measure].value)
          // Path lengths come from 16 sources, whose mean has heavier tails than a normal one.
          const off = Math.abs(sampled[measure].value - exact[measure].value) / sampled[measure].error
          expect(off, `${name}: ${measure}, seed ${seed}`).to.be.below(measure === 'clustering' ? 4.9 : 8)
        }
        expect(sampled.connected).to.be.closeTo(exact.connected, 0.2)
        expect(describeTopology(csr, { exactUpTo: 0, seed }).layers[0]).to.deep.equal(sampled)
      }
    }
  })

  it('sees the lattice become a small world, and hubs', () => {
    const shape = { rows: 1568, cols: 1568, links: 24_586 }
    const measure = (links: { rowOffsets: Int32Array; columnIndices: Int32Array }) =>
      describeTopology({ ...shape, ...links }).layers[0]
    const start = { ...shape, seed: 1, layer: 0 }
    const [lattice, random, hubs] = [brf({ r: 0 }), erdosRenyi(), bsf()].map((topology) =>
      measure(topology.generate(start)),
    )
    expect(lattice.clustering.value).to.be.above(20 * random.clustering.value)
    expect(lattice.pathLength.value).to.be.above(10 * random.pathLength.value)
    expect(hubs.inputs.largest).to.be.above(4 * random.inputs.largest)
  }).timeout(20_000)

  it('refuses what are no links', async () => {
    const good = randomCsr(4, 5, 6, 1)
    const bad: [string, unknown][] = [
      ['plain arrays', { ...good, columnIndices: [...good.columnIndices] }],
      ['a column too many', { ...good, columnIndices: good.columnIndices.map(() => 5) }],
      ['no rows', { ...good, rows: 0 }],
      ['nothing', {}],
    ]
    for (const [what, links] of bad)
      await expectRefusal(() => describeTopology([links as PlainCsr]), 'INVALID_ARGUMENT', what)
    await expectRefusal(() => describeTopology(good, { exactUpTo: -1 }), 'INVALID_ARGUMENT', 'negative work')
  })

  it("is a trainer's and a predictor's, the same as of the links in a file", async () => {
    const folder = await mkdtemp(join(tmpdir(), 'hebb-'))
    try {
      const file = join(folder, 'described.safetensors')
      const model = mlp({ widths: [30, 40, 50, 4], density: 0.03, seed: 2 })
      using trainer = new Trainer(model, { optimizer: sgd({ learningRate: 0.1 }), dst: set(), device: cpu(2) })
      const described: TopologyDescription = await trainer.describeTopology()
      const layers = await Promise.all(
        model.sparse.map(async ({ matrix }) => ({ rows: matrix.rows, cols: matrix.cols, ...(await matrix.read()) })),
      )
      expect(described).to.deep.equal(describeTopology(layers))
      const measures = await trainer.measures()
      expect([described.links, described.density, described.activeNeurons]).to.deep.equal([
        measures.links,
        measures.density,
        measures.activeNeurons,
      ])
      expect(described.percolated.neurons).to.be.below(described.activeNeurons)
      await trainer.save(file)
      using predictor = await load(file, { device: cpu(1) })
      expect(await predictor.describeTopology()).to.deep.equal(described)
    } finally {
      await rm(folder, { recursive: true })
    }
  })

  it('of a network without sparse layers is empty', async () => {
    using trainer = new Trainer(mlp({ widths: [3, 2], density: 0.5 }), {
      optimizer: sgd({ learningRate: 0.1 }),
      device: cpu(1),
    })
    expect(await trainer.describeTopology()).to.deep.equal({
      layers: [],
      links: 0,
      density: 1,
      activeNeurons: 1,
      percolated: { links: 0, neurons: 1 },
    })
  })
})
