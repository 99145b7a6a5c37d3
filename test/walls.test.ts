/**
 * Faults that reading the code has found, each a test with its name: what is related is declared and not guessed (F1),
 * messages name the layer that is meant (F2), tied weights take one step (F4), and layers have memory and kernels for
 * the links that they have now (F5, F6). F3 is in hazards/operands.test.ts.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import {
  adam,
  chts,
  chtss,
  Device,
  Linear,
  type Links,
  type Materials,
  type Method,
  type Module,
  mlp,
  type Relation,
  Relu,
  Sequential,
  SparseLinear,
  sgd,
  type Tape,
  Trainer,
  type Value,
} from '../lib/index.js'
import { cscSlots, inColumnOrder } from '../lib/tensor.js'
import { counters, emulated } from './emulation/counters.js'
import { at, linksOf, numbers, places, randomCsr, sanitized } from './support.js'
import { clusters } from './synthetic.js'
import { error, optimizer, state } from './training.js'

const features = 16
const square = () => new SparseLinear({ inFeatures: features, outFeatures: features, density: 0.25 })

/** Two layers one after the other, as a module of one's own that declares what it wants to. */
class Pair implements Module {
  readonly inFeatures = features
  readonly outFeatures = features
  readonly first = square()
  readonly second = square()
  readonly #kind: Relation['kind'] | undefined

  constructor(kind?: Relation['kind']) {
    this.#kind = kind
  }

  get children() {
    return new Map<string, Module>(Object.entries({ first: this.first, second: this.second }))
  }
  get parameters() {
    return [...this.first.parameters, ...this.second.parameters]
  }
  get sparse() {
    return [...this.first.sparse, ...this.second.sparse]
  }
  get relations(): Relation[] {
    const [first, second] = this.sparse
    return this.#kind && first && second ? [{ first, second, kind: this.#kind }] : []
  }
  materialise(materials: Materials): void {
    this.first.materialise(materials)
    this.second.materialise(materials)
  }
  forward(tape: Tape, x: Value): Value {
    return this.second.forward(tape, this.first.forward(tape, x))
  }
  dispose(): void {
    this.first.dispose()
    this.second.dispose()
  }
}

const data = () => clusters({ samples: 64, features, classes: features })

/**
 * The links of both layers after an update that removes all links of the first one's neuron 3, and grows none there.
 */
async function afterLosing(module: Module): Promise<{ links: [Links, Links]; percolated: number[] }> {
  const method: Method = {
    ...chts(),
    updates: { every: 1, until: 1, fraction: () => 0.25 },
    // Neuron 3 of the first layer loses its inputs; what else must go are the last links.
    remove: ({ rowOffsets, columnIndices, layer }, count) => {
      const lost = new Set<number>()
      if (layer === 0) for (let k = rowOffsets[3] as number; k < (rowOffsets[4] as number); ++k) lost.add(k)
      for (let k = columnIndices.length - 1; lost.size < count; --k) lost.add(k)
      return [...lost].slice(0, count)
    },
    // New links go to other neurons than 3.
    regrow: ({ rows, cols, rowOffsets, columnIndices }, count) => {
      const has = new Set<number>()
      for (let r = 0; r < rows; ++r)
        for (let k = rowOffsets[r] as number; k < (rowOffsets[r + 1] as number); ++k)
          has.add(r * cols + (columnIndices[k] as number))
      const cells: number[] = []
      for (let cell = 0; cells.length < count; ++cell) {
        const [r, c] = [Math.floor(cell / cols), cell % cols]
        if (r !== 3 && c !== 3 && !has.has(cell)) cells.push(cell)
      }
      return { row: cells.map((cell) => Math.floor(cell / cols)), col: cells.map((cell) => cell % cols) }
    },
  }
  using trainer = new Trainer(new Sequential([module]), { optimizer: optimizer(), dst: method, device: 'cpu' })
  trainer.plan({ epochs: 1, stepsPerEpoch: 3 })
  const x = new Float32Array(8 * features).fill(0.5)
  const y = new Int32Array(8)
  await trainer.trainOn({ x, y })
  await trainer.trainOn({ x, y })
  const { layers } = await trainer.describeTopology()
  const percolated = layers.map((layer) => layer.percolated.links)
  return { links: [await linksOf(trainer, 0), await linksOf(trainer, 1)], percolated }
}

const inColumn = ({ columnIndices }: Links, column: number) => columnIndices.filter((c) => c === column).length
const inRow = ({ rowOffsets }: Links, row: number) => (rowOffsets[row + 1] as number) - (rowOffsets[row] as number)

describe('walls', () => {
  it('F1: layers of equal width are related as their module says, and are not by chance', async () => {
    const [alone, next] = (await afterLosing(new Pair())).links
    expect(inRow(alone, 3)).to.equal(0)
    expect(inColumn(next, 3), 'links from a neuron of a layer that is not related').to.be.above(0)

    const [, consecutive] = (await afterLosing(new Pair('consecutive'))).links
    expect(inColumn(consecutive, 3), 'links from a neuron without inputs').to.equal(0)

    const [, joint] = (await afterLosing(new Pair('joint'))).links
    expect(inRow(joint, 3), 'the same outputs').to.equal(0)
    expect(inColumn(joint, 3)).to.be.above(0)
  })

  it('F1: what describes a topology follows the declared relations, too', async () => {
    // Links from a neuron without inputs go when a network is percolated, if that neuron is the one that lost them.
    const unrelated = await afterLosing(new Pair())
    expect(unrelated.percolated).to.deep.equal(unrelated.links.map(({ columnIndices }) => columnIndices.length))
  })

  it('F1: a chain is related across activation functions and nested modules, and not across a dense layer', () => {
    const names = (model: Sequential) => {
      using trainer = new Trainer(model, { optimizer: optimizer(), device: 'cpu' })
      void trainer
      return model.relations.map(({ first, second, kind }) => `${first.layer} ${kind} ${second.layer}`)
    }
    expect(
      names(new Sequential([square(), new Relu(), square(), new Sequential([new Relu(), square()])])),
    ).to.deep.equal(['0 consecutive 1', '1 consecutive 2'])
    expect(names(new Sequential([square(), new Relu(), new Pair('joint'), square()]))).to.deep.equal(['1 joint 2'])
  })

  it('F2: a loss that is not finite names the layer by its whole path', async () => {
    const inner = new Sequential([square(), new Relu(), square()])
    const model = new Sequential([square(), new Relu(), inner, new Relu(), square()])
    using trainer = new Trainer(model, { optimizer: optimizer(), device: 'cpu' })
    const train = data()
    await trainer.measures()
    const weights = model.sparse[2]
    if (!weights) throw new Error('Expected four sparse layers')
    const values = await weights.values.read()
    values[5] = Number.NaN
    await weights.values.write(values)
    const found = await error(async () => {
      for await (const _ of trainer.fit(train, { epochs: 1, batchSize: 16 })) void _
    })
    expect(found.code).to.equal('NON_FINITE')
    expect(found.message).to.contain('first in the weights modules.2.modules.2.weights (16 -> 16)')
  })

  describe('F4: tied weights', () => {
    const links = randomCsr(features, features, 64, 5)
    const start = { links, values: numbers(64, 6), bias: new Float32Array(features) }
    const layer = () => {
      const made = square()
      made.setWeights(start)
      return made
    }
    const last = () => {
      const made = new Linear({ inFeatures: features, outFeatures: 4 })
      made.setWeights({ values: numbers(4 * features, 7), bias: new Float32Array(4) })
      return made
    }
    const tied = () => {
      const twice = layer()
      return new Sequential([twice, new Relu(), twice, last()])
    }
    const batch = { x: numbers(8 * features, 8), y: [0, 1, 2, 3, 0, 1, 2, 3] }

    for (const place of places.filter((name, i) => i === 0 || name === 'cuda')) {
      it(`take one step, by the sum of their gradients (${place})`, async () => {
        const trained = async (model: Sequential) => {
          using trainer = new Trainer(model, { optimizer: sgd({ learningRate: 0.1 }), device: at(place) })
          await trainer.trainOn(batch)
          return Promise.all(trainer.model.parameters.map(({ values }) => values.read()))
        }
        const [weights, bias, ...rest] = await trained(tied())
        const [first, firstBias, second, secondBias, ...others] = await trained(
          new Sequential([layer(), new Relu(), layer(), last()]),
        )
        expect(rest).to.deep.equal(others)
        const before = inColumnOrder(start.values, cscSlots(links, features))
        const sum = (a: ArrayLike<number> | undefined, b: ArrayLike<number> | undefined, from: ArrayLike<number>) =>
          Array.from(from, (w, i) => (a?.[i] as number) + (b?.[i] as number) - w)
        for (const [i, value] of sum(first, second, before).entries()) expect(weights?.[i]).to.be.closeTo(value, 1e-6)
        for (const [i, value] of sum(firstBias, secondBias, start.bias).entries())
          expect(bias?.[i]).to.be.closeTo(value, 1e-6)
        expect(weights).not.to.deep.equal(before)
      })
    }

    it('count one step, are saved once, and are tied when they are loaded', async () => {
      const folder = await mkdtemp(join(tmpdir(), 'hebb-tied-'))
      try {
        const file = join(folder, 'tied.safetensors')
        const train = clusters({ samples: 64, features, classes: 4 })
        using trainer = new Trainer(tied(), { optimizer: adam(), dst: chts(), device: 'cpu' })
        for await (const { epoch } of trainer.fit(train, { epochs: 3, batchSize: 16 })) {
          if (epoch === 2) await trainer.save(file)
        }
        const [weights] = trainer.model.sparse
        const steps = await weights?.slot('steps').read()
        expect(Math.max(...(steps as Float32Array))).to.equal(12)
        expect(trainer.model.parameters.length).to.equal(4)
        using loaded = await Trainer.load(file, { device: 'cpu' })
        expect(loaded.model.modules[0]).to.equal(loaded.model.modules[2])
        for await (const _ of loaded.resume(train)) void _
        expect(await state(loaded)).to.deep.equal(await state(trainer))
        expect((await error(() => trainer.model.compact())).message).to.contain('got tied weights')
      } finally {
        await rm(folder, { recursive: true })
      }
    })

    it('have no neurons of their own, and are related to no layer', async () => {
      const twice = layer()
      const model = new Sequential([twice, square(), twice, square(), square()])
      using _ = new Trainer(model, { optimizer: optimizer(), device: 'cpu' })
      const [, , third, fourth] = model.sparse
      expect(model.sparse.length).to.equal(4)
      expect(model.relations).to.deep.equal([{ first: third, second: fourth, kind: 'consecutive' }])
    })
  })

  for (const kind of ['cpu', 'cuda'] as const) {
    it(`F5: CHTss gives its memory back as it decays, and ends with what CHTs takes (${kind})`, async function () {
      if (kind === 'cuda' && !places.includes('cuda')) this.skip()
      const runs: { bytes: number[]; capacities: number[]; links: number[] }[] = []
      for (const dst of [chts(), chtss()]) {
        using device = new Device({ kind })
        const width = sanitized && kind === 'cuda' ? 96 : 160
        const model = mlp({ widths: [48, width, width, 4], density: 0.02, seed: 1 })
        using trainer = new Trainer(model, { optimizer: optimizer(), dst, device })
        const train = clusters({ samples: 64, features: 48, classes: 4 })
        const run = { bytes: [] as number[], capacities: [] as number[], links: [] as number[] }
        for await (const { links } of trainer.fit(train, { epochs: 16, batchSize: 32 })) {
          run.bytes.push(trainer.memory().bytes)
          run.links.push(links)
          run.capacities.push(model.sparse.reduce((sum, { capacity }) => sum + capacity, 0))
        }
        runs.push(run)
      }
      const [even, decayed] = runs as [(typeof runs)[0], (typeof runs)[0]]
      const last = <T>(list: T[]) => list.at(-1) as T
      expect(last(decayed.links)).to.equal(last(even.links))
      expect(last(decayed.capacities), 'room for the links that there are').to.equal(last(decayed.links))
      expect(last(decayed.bytes)).to.be.below(1.1 * last(even.bytes))
      expect(decayed.bytes[0]).to.be.above(3 * last(decayed.bytes))
      for (const [i, capacity] of decayed.capacities.entries()) {
        expect(capacity).to.be.within(decayed.links[i] as number, 1.15 * (decayed.links[i] as number) + 2)
        if (i > 0) expect(decayed.bytes[i]).to.be.at.most(decayed.bytes[i - 1] as number)
      }
    })
  }

  it('F6: on a GPU, a step launches blocks for the links that a layer has now', async function () {
    if (!emulated) this.skip()
    const blocks: number[] = []
    const width = sanitized ? 120 : 200
    using device = new Device({ kind: 'cuda' })
    const model = mlp({ widths: [48, width, width, 4], density: 0.02, seed: 1 })
    using trainer = new Trainer(model, { optimizer: optimizer(), dst: chtss({ regrow: chts().regrow }), device })
    const train = clusters({ samples: 320, features: 48, classes: 4 })
    for await (const { epoch } of trainer.fit(train, { epochs: 9, batchSize: 32 })) {
      void epoch
      blocks.push(counters().blocks)
    }
    // Epochs 1 and 9 make no update.
    const inEpoch = (n: number) => (blocks[n] as number) - (blocks[n - 1] as number)
    expect(inEpoch(8)).to.be.below(0.8 * inEpoch(1))
  })
})
