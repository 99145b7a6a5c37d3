/** A new run that begins with the weights and links of a checkpoint: Trainer.from(). */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { dataset } from '../lib/data/dataset.js'
import {
  adam,
  chts,
  chtss,
  cubicDensity,
  dense,
  type Epoch,
  gmp,
  load,
  type Method,
  mest,
  mlp,
  Relu,
  Sequential,
  SparseLinear,
  type SparseParameter,
  set,
  sgd,
  sigmoidDensity,
  staticSparse,
  Trainer,
  transformer,
  updateSchedule,
} from '../lib/index.js'
import { type ParallelText, parallelLines, type Tokenizer, trainTokenizer } from '../lib/text/index.js'
import { cpu, expectRefusal, expectSameBits, numbers, random } from './support.js'

const updates = updateSchedule({ every: 10, until: 0.75, fraction: 0.3 })

async function all(run: AsyncIterable<Epoch>): Promise<Epoch[]> {
  const reports: Epoch[] = []
  for await (const report of run) reports.push(report)
  return reports
}

const valuesOf = (trainer: Trainer) => Promise.all(trainer.model.parameters.map(({ values }) => values.read()))
const linksOf = (trainer: Trainer) => Promise.all(trainer.model.sparse.map(({ matrix }) => matrix.read()))
const outputsOf = (trainer: Trainer, x: Float32Array) => trainer.predict(x)

const data = dataset({
  x: numbers(20 * 200, 1),
  y: Array.from({ length: 200 }, (_, i) => i % 4),
  shape: [20],
})

describe('a new run from a checkpoint', () => {
  let folder: string
  const at = (name: string) => join(folder, name)
  const network = (density: number, seed = 0) => mlp({ widths: [20, 40, 30, 4], density, seed })
  const momentum = () => sgd({ learningRate: 0.05, momentum: 0.9 })
  const x = numbers(20 * 7, 2)

  /** A file of a run by a method, and what its network computes. */
  async function saved(name: string, dst: Method, density: number, epochs = 4) {
    using trainer = new Trainer(network(density), { optimizer: momentum(), dst, device: cpu() })
    await all(trainer.fit(data, { epochs, batchSize: 20 }))
    await trainer.save(at(name), { notes: { of: name } })
    return { outputs: await outputsOf(trainer, x), values: await valuesOf(trainer), links: await linksOf(trainer) }
  }

  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'hebb-fine-'))
  })
  after(() => rmSync(folder, { recursive: true }))

  it('has the weights and links of the file, and nothing of its run', async () => {
    const before = await saved('chts', chts({ updates }), 0.2)
    using trainer = await Trainer.from(at('chts'), { device: cpu() })
    expectSameBits(await valuesOf(trainer), before.values, 'the weights')
    expectSameBits(await linksOf(trainer), before.links, 'the links')
    expect(trainer.step).to.equal(0)
    expect(trainer.run).to.equal(undefined)
    expect(trainer.notes).to.deep.equal({})
    for (const { slots } of trainer.model.parameters)
      for (const state of slots.values()) expect((await state.read()).every((value) => value === 0)).to.equal(true)
    // load() goes on with the state; fit() of it begins a run, and leaves the state.
    using loaded = await Trainer.load(at('chts'), { device: cpu() })
    const state = loaded.model.parameters[0].slots.values().next().value
    expect((await state?.read())?.some((value) => value !== 0)).to.equal(true)
    const [first] = await all(trainer.fit(data, { epochs: 1, batchSize: 20 }))
    const [again] = await all(loaded.fit(data, { epochs: 1, batchSize: 20 }))
    expect([trainer.step, loaded.step]).to.deep.equal([10, 10])
    expect(first.trainLoss).not.to.equal(again.trainLoss)
    expect(first.itop).to.be.below(again.itop)
  })

  it('changes links by another method, and by none', async () => {
    const before = await saved('chtss', chtss({ updates }), 0.1)
    for (const dst of [chts({ updates }), set({ updates }), staticSparse()]) {
      using trainer = await Trainer.from(at('chtss'), { dst, optimizer: adam({ learningRate: 0.001 }), device: cpu() })
      expectSameBits(await outputsOf(trainer, x), before.outputs, dst.name)
      const [report] = await all(trainer.fit(data, { epochs: 2, batchSize: 20 }))
      expect(report.links, dst.name).to.equal(before.links.reduce((sum, one) => sum + one.columnIndices.length, 0))
      const isSame = JSON.stringify(await linksOf(trainer)) === JSON.stringify(before.links)
      expect(isSame, dst.name).to.equal(dst.name === 'static')
    }
  })

  it('falls from the density of the file to a lower one, and from a dense network to any', async () => {
    await saved('twenty', chts({ updates }), 0.2)
    const full = await saved('dense', dense(), 1)
    for (const [file, initialDensity] of [
      ['twenty', 0.2],
      ['dense', 1],
    ] as const)
      for (const dst of [
        chtss({ updates, density: sigmoidDensity({ initialDensity }) }),
        gmp({ updates, density: cubicDensity({ initialDensity }) }),
      ]) {
        using trainer = await Trainer.from(at(file), { model: network(0.1), dst, device: cpu() })
        // The whole matrix, by links: sums are in another order.
        if (file === 'dense') {
          for (const [i, output] of (await outputsOf(trainer, x)).entries())
            expect(output, dst.name).to.be.closeTo(full.outputs[i], 1e-5)
        }
        const reports = await all(trainer.fit(data, { epochs: 10, batchSize: 20 }))
        expect(reports[0].density, dst.name).to.be.closeTo(initialDensity, 0.01)
        expect(reports.at(-1)?.density, dst.name).to.be.closeTo(0.1, 0.001)
        await trainer.save(at('pruned'))
        using again = await Trainer.load(at('pruned'), { device: cpu() })
        expectSameBits(await valuesOf(again), await valuesOf(trainer), 'after a save')
      }
  })

  it('makes matrices of links, which are 0 where there was none, and of matrices again', async () => {
    const before = await saved('thin', staticSparse(), 0.2)
    using filled = await Trainer.from(at('thin'), { model: network(1), dst: dense(), device: cpu() })
    for (const [i, output] of (await outputsOf(filled, x)).entries())
      expect(output).to.be.closeTo(before.outputs[i], 1e-5)
    const share = async () => (await filled.model.parameters[0].values.read()).filter((w) => w !== 0).length / 800
    expect(await share()).to.equal(0.2)
    await all(filled.fit(data, { epochs: 1, batchSize: 20 }))
    expect(await share()).to.equal(1)
    const again = await saved('whole', dense(), 1)
    using same = await Trainer.from(at('whole'), { device: cpu() })
    expectSameBits(await valuesOf(same), again.values, 'a dense file')
  })

  it('has dropout and a seed of its own, and the tokenizers of a text', async () => {
    const next = random(3)
    const words = 'one two three four five'.split(' ')
    const lines = Array.from({ length: 24 }, () =>
      Array.from({ length: 1 + Math.floor(4 * next()) }, () => words[Math.floor(5 * next())]).join(' '),
    )
    const tokenizer: Tokenizer = await trainTokenizer(lines, { vocabulary: 270 })
    const text: ParallelText = await parallelLines(lines, lines, { tokenizer })
    const model = (dropout: number, seed: number) =>
      transformer({
        ...{ sourceWords: tokenizer.size, targetWords: tokenizer.size, features: 16, hidden: 32, heads: 2 },
        ...{ encoderLayers: 1, decoderLayers: 1, density: 0.3, dropout, seed },
      })
    const options = { optimizer: adam({ learningRate: 0.003 }), dst: chts({ updates }), device: cpu() }
    const trainer = new Trainer(model(0.1, 0), options)
    await all(trainer.fit(text, { steps: 30, batchSize: 128 }))
    await trainer.save(at('text'))
    const { loss } = await trainer.evaluate(text)
    trainer.dispose()
    // Without dropout layers have other numbers; their names stay.
    for (const [dropout, seed] of [
      [0, 5],
      [0.2, 6],
    ]) {
      using tuned = await Trainer.from(at('text'), { ...options, model: model(dropout, seed) })
      expect((await tuned.evaluate(text)).loss).to.equal(loss)
      expect(JSON.stringify(tuned.tokenizers?.target)).to.equal(JSON.stringify(tokenizer))
      const other = await trainTokenizer(['another vocabulary'], { vocabulary: 260 })
      const stranger = await parallelLines(['one'], ['one'], { tokenizer: other })
      await expectRefusal(() => all(tuned.fit(stranger, { steps: 1 })), 'INVALID_ARGUMENT', 'another vocabulary')
      const [report] = await all(tuned.fit(text, { steps: 40, batchSize: 128, validation: text }))
      expect(report.validation?.loss).to.be.below(loss)
    }
  })

  it('refuses what does not fit, and leaves no memory', async () => {
    await saved('small', chts({ updates }), 0.2)
    await saved('full', dense(), 1)
    const device = cpu(2)
    const { buffers } = device.memory()
    for (const [file, options, message] of [
      ['small', { dst: chtss({ updates }) }, /begins with the 160 links .* 20 -> 40 .* begins with 400/],
      ['small', { dst: mest({ updates }) }, /begins with the 160 links/],
      ['small', { model: network(0.1) }, /begins with the 160 links .* begins with 80/],
      ['full', { model: network(0.2), dst: chts() }, /begins with the 800 links .* begins with 160/],
      ['small', { model: mlp({ widths: [20, 30, 30, 4], density: 0.2 }) }, /layer 20 -> 30 needs a tensor/],
      ['small', { model: mlp({ widths: [20, 40, 4], density: 0.2 }) }, /needs a tensor|has no place/],
      ['small', { model: hidden(), dst: staticSparse() }, /weights to begin with the links of the file/],
      ['small', { mode: network(0.2) }, /Trainer\.from\(\)/],
    ] as const) {
      const make = () => Trainer.from(at(file), { device, ...options } as never)
      let error: Error | undefined
      await make().catch((e) => {
        error = e
      })
      expect(error?.message, String(message)).to.match(message)
      expect(device.memory().buffers, 'what is left').to.equal(buffers)
    }
    await expectRefusal(() => Trainer.from(at('none')), 'MISSING_FILE', 'no file')
    using predictor = await load(at('small'), { device })
    expect(predictor.notes).to.deep.equal({ of: 'small' })
  })

  /** The layers, in a module that does not tell of them. */
  function hidden(): Sequential {
    const layers = [20, 40, 30].map(
      (inFeatures, i) => new SparseLinear({ inFeatures, outFeatures: [40, 30, 4][i], density: [0.2, 0.2, 1][i] }),
    )
    const [first] = layers
    const secret = {
      inFeatures: 20,
      outFeatures: 40,
      get parameters() {
        return first.parameters
      },
      get sparse(): SparseParameter[] {
        return first.sparse
      },
      materialise: first.materialise.bind(first),
      forward: first.forward.bind(first),
      dispose: first.dispose.bind(first),
    }
    return new Sequential([secret, new Relu(), layers[1], new Relu(), layers[2]])
  }
})
