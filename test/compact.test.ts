import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import {
  chtss,
  Linear,
  load,
  type Module,
  mlp,
  Relu,
  Sequential,
  SparseLinear,
  set,
  sgd,
  staticSparse,
  Trainer,
} from '../lib/index.js'
import { SparseParameter } from '../lib/nn/parameter.js'
import { cscSlots, inRowOrder } from '../lib/tensor.js'
import { at, expectRefusal, places, random } from './support.js'
import { clusters } from './synthetic.js'

const optimizer = () => sgd({ learningRate: 0.01 })
const on = (model: Sequential) => new Trainer(model, { optimizer: optimizer(), dst: staticSparse(), device: 'cpu' })

/** A layer with the links given, [row, col], and weights 1, 2, 3, ... in their order by row. */
function layer(inFeatures: number, outFeatures: number, cells: [number, number][]): SparseLinear {
  const rowOffsets = Int32Array.from({ length: outFeatures + 1 }, (_, r) => cells.filter(([row]) => row < r).length)
  const columnIndices = Int32Array.from(cells, ([, col]) => col)
  const generate = () => ({ rowOffsets, columnIndices })
  return new SparseLinear({
    inFeatures,
    outFeatures,
    density: cells.length / (inFeatures * outFeatures),
    topology: { name: 'given', generate },
  })
}

async function setWeights(model: Sequential, values: number[][], biases: number[][]): Promise<void> {
  for (const [i, module] of model.modules.filter((m) => m.parameters.length > 0).entries()) {
    const [weights, bias] = module.parameters
    let order = Float32Array.from(values[i])
    if (weights instanceof SparseParameter) {
      const slots = cscSlots(await weights.matrix.read(), weights.matrix.cols)
      const byColumn = order.slice()
      for (const [k, slot] of slots.entries()) byColumn[slot] = order[k]
      order = byColumn
    }
    await weights.values.write(order, order.length)
    await bias.values.write(Float32Array.from(biases[i]))
  }
}

/** Logits in double precision. */
async function forward(model: Sequential, x: Float32Array): Promise<number[]> {
  const width = model.inFeatures as number
  let samples = Array.from({ length: x.length / width }, (_, s) => [...x.subarray(s * width, (s + 1) * width)])
  for (const module of model.modules) {
    const [weights, bias] = module.parameters
    if (!weights) {
      samples = samples.map((values) => values.map((v) => Math.max(v, 0)))
      continue
    }
    const b = bias ? await bias.values.read() : new Float32Array(module.outFeatures as number)
    const rows = samples.map(() => [...b])
    if (weights instanceof SparseParameter) {
      const links = await weights.matrix.read()
      const w = inRowOrder(await weights.values.read(links.columnIndices.length), cscSlots(links, weights.matrix.cols))
      for (let r = 0; r < rows[0].length; ++r)
        for (let k = links.rowOffsets[r]; k < links.rowOffsets[r + 1]; ++k)
          for (const [s, values] of samples.entries()) rows[s][r] += w[k] * values[links.columnIndices[k]]
    } else {
      const w = await weights.values.read()
      const cols = module.inFeatures as number
      for (const [s, values] of samples.entries())
        for (let r = 0; r < rows[s].length; ++r)
          for (let c = 0; c < cols; ++c) rows[s][r] += w[r * cols + c] * values[c]
    }
    samples = rows
  }
  return samples.flat()
}

function expectClose(got: ArrayLike<number>, expected: ArrayLike<number>): void {
  expect(got.length).to.equal(expected.length)
  const scale = Math.max(...Array.from(expected, Math.abs), 1e-30)
  for (let i = 0; i < expected.length; ++i) expect(Math.abs(got[i] - expected[i]) / scale).to.be.below(1e-6)
}

const widths = (model: Sequential) =>
  model.modules.filter((m) => m.outFeatures).map((m) => [m.inFeatures, m.outFeatures])

describe('compact()', () => {
  it('folds a constant through a cascade into the output, by hand', async () => {
    // Hidden 1 has no input: relu(3) = 3 feeds neuron 1 of the second layer alone, which emits relu(1 + 2 * 3) = 7 to
    // the output. Hidden 2 has no output.
    const first = layer(2, 3, [[0, 0], [2, 1]]) // biome-ignore format: pairs
    const second = layer(3, 2, [[0, 0], [1, 1]]) // biome-ignore format: pairs
    const model = new Sequential([first, new Relu(), second, new Relu(), new Linear({ inFeatures: 2, outFeatures: 1 })])
    using trainer = on(model)
    await trainer.measures()
    await setWeights(model, [[1, 5], [1, 2], [1, 10]], [[0, 3, 1], [0, 1], [0.5]]) // biome-ignore format: by layer
    const compact = await model.compact()
    expect(widths(compact)).to.deep.equal([[2, 1], [1, 1], [1, 1]]) // biome-ignore format: pairs
    using smaller = on(compact)
    // 4 * 1 * 1 * 1 + 10 * 7 + 0.5
    expect([...(await smaller.predict(Float32Array.of(4, 9)))]).to.deep.equal([74.5])
    expect([...(await trainer.predict(Float32Array.of(4, 9)))]).to.deep.equal([74.5])
    expect(await (compact.modules.at(-1) as Module).parameters[1].values.read()).to.deep.equal(Float32Array.of(70.5))
  })

  it('keeps a legal network where nothing connects input and output', async () => {
    const model = new Sequential([layer(2, 2, [[0, 0]]), new Relu(), layer(2, 2, [[1, 1]])])
    using trainer = on(model)
    await trainer.measures()
    await setWeights(model, [[2], [3]], [[0, 5], [1, -1]]) // biome-ignore format: by layer
    const compact = await model.compact()
    expect(widths(compact)).to.deep.equal([[2, 1], [1, 2]]) // biome-ignore format: pairs
    using smaller = on(compact)
    expect([...(await smaller.predict(Float32Array.of(4, 9)))]).to.deep.equal([1, 14])
  })

  for (const sparseOutput of [false, true]) {
    const title =
      'has the logits of random networks at 1%, in double precision, ' +
      `with a ${sparseOutput ? 'sparse' : 'dense'} output`
    it(title, async () => {
      for (let seed = 0; seed < 8; ++seed) {
        const model = mlp({ widths: [60, 150, 140, 130, 10], density: 0.01, seed, sparseOutput })
        using trainer = on(model)
        await trainer.measures()
        const uniform = random(seed + 1)
        for (const module of model.modules) {
          const bias = module.parameters[1]
          if (bias) await bias.values.write(Float32Array.from({ length: bias.capacity }, () => uniform() - 0.4))
        }
        const x = Float32Array.from({ length: 20 * 60 }, () => uniform() * 2 - 1)
        const compact = await model.compact()
        expect(compact.modules[0].outFeatures).to.be.below(110)
        using smaller = on(compact)
        expectClose(await smaller.predict(x), await forward(model, x))
        expect(widths(await compact.compact())).to.deep.equal(widths(compact))
      }
    })
  }

  for (const place of places) {
    const title = `of a network trained on ${place}: smaller, with its logits there and on the CPU, and it trains on`
    it(title, async () => {
      const train = clusters({ samples: 200, features: 48, classes: 4 })
      const uniform = random(1)
      const x = Float32Array.from({ length: 20 * 48 }, () => uniform() * 2 - 1)
      for (const sparseOutput of [false, true]) {
        const model = mlp({ widths: [48, 150, 140, 4], density: 0.02, sparseOutput, seed: 1 })
        using trainer = new Trainer(model, { optimizer: optimizer(), dst: set(), device: at(place) })
        for await (const _ of trainer.fit(train, { epochs: 3 }));
        const before = await trainer.predict(x, { raw: false })
        const compact = await model.compact()
        expect(await trainer.predict(x, { raw: false }), 'the network itself').to.deep.equal(before)
        const neurons = (one: Sequential) => widths(one).reduce((sum, [, out]) => sum + (out as number), 0)
        expect(neurons(compact)).to.be.below(neurons(model))
        {
          using elsewhere = on(await model.compact())
          expectClose(await elsewhere.predict(x, { raw: false }), before)
        }
        using smaller = new Trainer(compact, { optimizer: optimizer(), dst: set(), device: at(place) })
        expectClose(await smaller.predict(x), before)
        expectClose(before, await forward(model, x))
        const { loss } = await smaller.evaluate(train)
        for await (const _ of smaller.fit(train, { epochs: 4 }));
        expect((await smaller.evaluate(train)).loss).to.be.below(loss)
      }
    })
  }

  it('can be trained on, saved, and loaded', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'hebb-compact-'))
    try {
      const train = clusters({ samples: 200, features: 48, classes: 4 })
      using trainer = new Trainer(mlp({ widths: [48, 90, 80, 4], density: 0.02 }), {
        optimizer: optimizer(),
        dst: set(),
        device: 'cpu',
      })
      for await (const _ of trainer.fit(train, { epochs: 2 }));
      using smaller = new Trainer(await trainer.model.compact(), { optimizer: optimizer(), dst: set(), device: 'cpu' })
      const before = await smaller.predict(train)
      expectClose(before, await trainer.predict(train))
      const file = join(folder, 'compact.safetensors')
      await smaller.save(file)
      using loaded = await load(file, { device: 'cpu' })
      expect(await loaded.predict(train)).to.deep.equal(before)
      expect(widths(await loaded.model.compact())).to.deep.equal(widths(smaller.model))
      const { loss } = await smaller.evaluate(train)
      for await (const _ of smaller.fit(train, { epochs: 4 }));
      expect((await smaller.evaluate(train)).loss).to.be.below(loss)
    } finally {
      await rm(folder, { recursive: true })
    }
  })

  it('refuses what it cannot do', async () => {
    const model = mlp({ widths: [20, 30, 30, 4], density: 0.05 })
    await expectRefusal(() => model.compact(), 'DISPOSED', 'a model not in use')
    using trainer = on(model)
    await trainer.measures()
    const compact = await model.compact()
    await expectRefusal(
      () => new Trainer(compact, { optimizer: optimizer(), dst: chtss(), device: 'cpu' }),
      'INVALID_ARGUMENT',
      'a method that begins denser',
    )
    class Odd extends Relu {}
    await expectRefusal(() => new Sequential([new Odd()]).compact(), 'UNSUPPORTED', 'a module of your own')
    await expectRefusal(() => new Sequential([new Relu()]).compact(), 'INVALID_ARGUMENT', 'no layer')
  })
})
