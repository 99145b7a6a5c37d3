import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { chtss, type MlpOptions, mlp, sgd, Trainer } from '../lib/index.js'
import { layerDensities } from '../lib/nn/distribution.js'
import { sparseLayers } from '../lib/nn/sparse_linear.js'
import { expectRefusal, random } from './support.js'

const shapesOf = (widths: readonly number[]) =>
  widths.slice(1).map((outFeatures, i) => ({ inFeatures: widths[i], outFeatures }))

describe('the distribution of links over layers', () => {
  it('is uniform unless asked for', () => {
    for (const options of [{}, { distribution: 'uniform' as const }]) {
      const model = mlp({ widths: [10, 20, 30, 5], density: 0.1, ...options })
      expect(sparseLayers(model).map((layer) => layer.density)).to.deep.equal([0.1, 0.1])
    }
  })

  it("is proportional to (in + out) / (in * out) by 'erk'", () => {
    // 784 x 1568, 1568 x 1568 twice, 1%: 61465 links in the proportion 2352 : 3136 : 3136.
    const shapes = shapesOf([784, 1568, 1568, 1568])
    const links = layerDensities(shapes, 0.01, 'erk').map(
      (density, i) => density * shapes[i].inFeatures * shapes[i].outFeatures,
    )
    const total = Math.round(0.01 * 5 * 784 * 1568)
    for (const [i, expected] of [2352, 3136, 3136].entries())
      expect(links[i]).to.be.closeTo((total * expected) / 8624, 1)
    expect(Math.round(links[0]) + Math.round(links[1]) + Math.round(links[2])).to.equal(total)
  })

  it('fills small layers and gives the others what is left', () => {
    // 25% of 100 x 100 + 100 x 4 + 4 x 100 = 2700 links: 200 : 104 : 104 would be 1324 : 688 : 688, more than the 400
    // there is room for.
    expect(layerDensities(shapesOf([100, 100, 4, 100]), 0.25, 'erk')).to.deep.equal([0.19, 1, 1])
    // The second overflows only when the third is full: 10%, 2060 links of [40 x 500, 20 x 20, 2 x 100].
    const shapes = [
      { inFeatures: 40, outFeatures: 500 },
      { inFeatures: 20, outFeatures: 20 },
      { inFeatures: 2, outFeatures: 100 },
    ]
    const densities = layerDensities(shapes, 0.1, 'erk')
    expect(densities[2]).to.equal(1)
    expect(densities[1] * 400).to.be.closeTo((40 / 580) * (2060 - 200), 1)
    expect(densities[0] * 20_000 + densities[1] * 400 + 200).to.be.closeTo(2060, 1e-9)
  })

  it('has exactly the links of the density, at least one and at most all in each layer', () => {
    const next = random(5)
    for (let run = 0; run < 500; ++run) {
      const widths = Array.from(
        { length: 2 + Math.floor(5 * next()) },
        () => 1 + Math.floor(next() * (next() < 0.3 ? 4 : 200)),
      )
      const shapes = shapesOf(widths)
      const possible = shapes.map(({ inFeatures, outFeatures }) => inFeatures * outFeatures)
      const all = possible.reduce((a, b) => a + b, 0)
      const density = Math.max(next() ** 3, shapes.length / all)
      const densities = layerDensities(shapes, density, 'erk')
      const links = densities.map((d, i) => Math.round(d * possible[i]))
      expect(links.reduce((a, b) => a + b, 0)).to.equal(Math.round(density * all))
      for (const [i, n] of links.entries()) {
        expect(n).to.be.within(1, possible[i])
        expect(densities[i]).to.be.closeTo(n / possible[i], 1e-12)
      }
    }
  })

  it('holds in a network that a method starts at 50%', async () => {
    const model = mlp({ widths: [100, 100, 4, 100, 3], density: 0.25, distribution: 'erk' })
    using trainer = new Trainer(model, { optimizer: sgd({ learningRate: 0.1 }), dst: chtss(), device: 'cpu' })
    expect((await trainer.measures()).linksPerLayer).to.deep.equal([5000, 400, 400])
    const sparse = mlp({ widths: [50, 40, 7], density: 0.2, distribution: 'erk', sparseOutput: true })
    using other = new Trainer(sparse, { optimizer: sgd({ learningRate: 0.1 }), device: 'cpu' })
    expect((await other.measures()).links).to.equal(Math.round(0.2 * (2000 + 280)))
  })

  describe('with densities of their own', () => {
    const widths = [10, 20, 30, 40, 5]
    const of = (options: Partial<MlpOptions>) =>
      sparseLayers(mlp({ widths, density: 0.1, ...options })).map((layer) => layer.density)

    it('gives named layers theirs, and the others what was asked for', () => {
      expect(of({ densities: {} })).to.deep.equal([0.1, 0.1, 0.1])
      expect(of({ densities: { 'modules.2': 0.5 } })).to.deep.equal([0.1, 0.5, 0.1])
      expect(of({ densities: { 'modules.6': 1, 'modules.*': 0.25 }, sparseOutput: true })).to.deep.equal([
        0.25, 0.25, 0.25, 1,
      ])
      expect(of({ densities: { '*.0': 0.3, 'm*0': 0.4, '*s.4': 0.2 } })).to.deep.equal([0.3, 0.1, 0.2])
    })

    it("shares the others' links out among themselves by 'erk'", () => {
      const shapes = shapesOf(widths)
      const [first, , third] = of({ densities: { 'modules.2': 0.5 }, distribution: 'erk' })
      expect([first, third]).to.deep.equal(layerDensities([shapes[0], shapes[2]], 0.1, 'erk'))
    })

    it('may name all layers', () => {
      for (const distribution of ['uniform', 'erk'] as const)
        expect(of({ densities: { '*': 0.7 }, distribution })).to.deep.equal([0.7, 0.7, 0.7])
    })

    it('holds in a network, and in one that is loaded', async () => {
      const folder = await mkdtemp(join(tmpdir(), 'hebb-densities-'))
      try {
        const file = join(folder, 'densities.safetensors')
        const model = mlp({ widths, density: 0.1, densities: { 'modules.0': 0.5 } })
        using trainer = new Trainer(model, { optimizer: sgd({ learningRate: 0.1 }), device: 'cpu' })
        expect((await trainer.measures()).linksPerLayer).to.deep.equal([100, 60, 120])
        await trainer.save(file)
        using loaded = await Trainer.load(file, { device: 'cpu' })
        expect((await loaded.measures()).linksPerLayer).to.deep.equal([100, 60, 120])
        expect(sparseLayers(loaded.model).map((layer) => layer.density)).to.deep.equal([0.5, 0.1, 0.1])
      } finally {
        await rm(folder, { recursive: true })
      }
    })

    const bad: [name: string, densities: unknown, message: string][] = [
      ['a layer that is none', { 'modules.9': 0.1 }, "matches one of modules.0, modules.2, modules.4, got 'modules.9'"],
      ['the dense last layer', { 'modules.6': 0.1 }, "got 'modules.6'"],
      ['a density of 0', { 'modules.0': 0 }, "Expected the density of 'modules.0' to be in (0, 1], got 0"],
      ['a list', [0.1, 0.2], 'Expected densities to be numbers by the names of layers'],
    ]
    for (const [name, densities, message] of bad)
      it(`refuses ${name}`, async () => {
        const found = await expectRefusal(() => of({ densities: densities as never }), 'INVALID_ARGUMENT', name)
        expect(found.message).to.contain(message)
      })
  })

  it('refuses what cannot be', async () => {
    await expectRefusal(
      () => mlp({ widths: [3, 4, 2], density: 0.5, distribution: 'erdos' as 'erk' }),
      'INVALID_ARGUMENT',
      'an unknown one',
    )
    await expectRefusal(
      () => mlp({ widths: [30, 40, 30, 2], density: 1e-4, distribution: 'erk' }),
      'INVALID_ARGUMENT',
      'less than a link a layer',
    )
    await expectRefusal(
      () => mlp({ widths: [30, 40.5, 2], density: 0.1, distribution: 'erk' }),
      'INVALID_ARGUMENT',
      'half a neuron',
    )
  })
})
