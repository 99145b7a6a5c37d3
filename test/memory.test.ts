/** Device memory of a trainer by what it is for. */
import { expect } from 'chai'
import { dataset } from '../lib/data/dataset.js'
import {
  adam,
  chts,
  chtss,
  Device,
  type Epoch,
  gmp,
  type Method,
  mlp,
  SparseMatrix,
  sgd,
  staticSparse,
  Trainer,
  type TrainerMemory,
  transformer,
  updateSchedule,
} from '../lib/index.js'
import { parallelLines, trainTokenizer } from '../lib/text/index.js'
import { at, cpu, forms, numbers, randomCsr } from './support.js'

const updates = updateSchedule({ every: 5, fraction: 0.3 })
const data = dataset({ x: numbers(64 * 160, 1), y: Array.from({ length: 160 }, (_, i) => i % 4), shape: [64] })

async function all(run: AsyncIterable<Epoch>): Promise<void> {
  for await (const _ of run);
}

const sumOf = (parts: object) => Object.values<number>({ ...parts }).reduce((a, b) => a + b)

function expectWhole({ parts, peak, bytes, peakBytes }: TrainerMemory, what: string): void {
  expect(sumOf(parts), what).to.equal(bytes)
  expect(sumOf(peak), `${what}, at the peak`).to.equal(peakBytes)
  for (const [name, part] of [...Object.entries(parts), ...Object.entries(peak)])
    expect(part, `${what}: ${name}`).to.be.at.least(0)
}

/** What a trainer takes after some epochs, on a device of its own. */
async function memoryOf(dst: Method, density: number, { optimizer = adam(), batchSize = 32 } = {}) {
  const model = mlp({ widths: [64, 128, 96, 4], density })
  using trainer = new Trainer(model, { optimizer, dst, device: { kind: 'cpu', threads: 1 } })
  await all(trainer.fit(data, { epochs: 6, batchSize }))
  const memory = trainer.memory()
  expectWhole(memory, dst.name)
  return { ...memory, elements: model.parameters.reduce((sum, { capacity }) => sum + capacity, 0) }
}

describe('memory by part', () => {
  it('is that of all arrays: they sum up to the total, now and at the peak', async () => {
    const { parts, elements } = await memoryOf(chts({ updates }), 0.1)
    expect(parts.weights).to.equal(4 * elements)
    expect(parts.gradients).to.equal(4 * elements)
    expect(parts.optimizer).to.equal(3 * 4 * elements)
    expect(parts.data).to.equal(data.x.byteLength + 4 * 160 + 4 * 160)
    expect(parts.activations).to.be.above(4 * 32 * (128 + 96))
    const momentum = await memoryOf(chts({ updates }), 0.1, { optimizer: sgd({ learningRate: 0.1, momentum: 0.9 }) })
    expect(momentum.parts.optimizer).to.equal(4 * elements)
  })

  it('grows with links where it is by link, and with the batch where it is by sample', async () => {
    const [thin, thick] = [await memoryOf(staticSparse(), 0.1), await memoryOf(staticSparse(), 0.3)]
    const more = 0.2 * (64 * 128 + 128 * 96)
    expect(thick.parts.weights - thin.parts.weights).to.be.closeTo(4 * more, 8)
    expect(thick.parts.gradients - thin.parts.gradients).to.be.closeTo(4 * more, 8)
    expect(thick.parts.optimizer - thin.parts.optimizer).to.be.closeTo(12 * more, 24)
    expect(thick.parts.links - thin.parts.links).to.be.at.least(12 * more)
    for (const name of ['activations', 'data'] as const) expect(thick.parts[name]).to.equal(thin.parts[name])
    const wide = await memoryOf(staticSparse(), 0.1, { batchSize: 128 })
    expect(wide.parts.activations).to.be.at.least(2 * thin.parts.activations)
    expect(wide.parts.links).to.equal(thin.parts.links)
  })

  it('was more while the density fell', async () => {
    const { parts, peak, bytes, peakBytes } = await memoryOf(chtss({ updates }), 0.05)
    for (const name of ['weights', 'gradients', 'optimizer', 'links'] as const)
      expect(peak[name], name).to.be.above(1.5 * parts[name])
    expect(peak.workspace).to.be.above(parts.workspace)
    expect(peakBytes).to.be.above(bytes)
    // A pool of links that were pruned belongs to the links.
    const pruned = await memoryOf(gmp({ updates }), 0.05)
    expect(pruned.parts.links).to.be.above(16 * 0.5 * (64 * 128 + 128 * 96))
  })

  it('is told before the first step, of a text, and beside what others own on the device', async () => {
    const device = new Device({ kind: 'cpu', threads: 1 })
    const lines = ['one two', 'two one', 'one']
    const tokenizer = await trainTokenizer(lines, { vocabulary: 262 })
    const text = await parallelLines(lines, lines, { tokenizer })
    const options = { optimizer: adam(), dst: chts({ updates }), device }
    const other = new Trainer(mlp({ widths: [64, 32, 4], density: 0.2 }), options)
    const model = transformer({
      ...{ sourceWords: tokenizer.size, targetWords: tokenizer.size, features: 16, hidden: 32, heads: 2 },
      ...{ encoderLayers: 1, decoderLayers: 1, density: 0.2 },
    })
    const trainer = new Trainer(model, options)
    const before = trainer.memory()
    expectWhole(before, 'before')
    expect([before.parts.gradients, before.parts.data, before.parts.activations]).to.deep.equal([0, 0, 0])
    await all(trainer.fit(text, { steps: 12, batchSize: 64, validation: text }))
    const after = trainer.memory()
    expectWhole(after, 'after')
    expect(after.parts.data).to.be.above(4 * (text.source.tokens.length + text.target.tokens.length))
    await trainer.translate(lines)
    const translated = trainer.memory()
    expectWhole(translated, 'translated')
    expect(translated.parts.other).to.be.above(after.parts.other)
    const { bytes } = other.memory()
    expect(other.memory().parts.other).to.be.above(bytes / 2)
    trainer.dispose()
    other.dispose()
    expect(device.memory().buffers).to.equal(0)
    expect(() => trainer.memory()).to.throw('disposed')
    device.dispose()
  })

  it('knows what the indices of links take, in each form and after a move', async () => {
    for (const place of forms) {
      const device = at(place)
      for (const [rows, cols, links] of [
        [1, 1, 1],
        [37, 61, 350],
        [40, 17, 680],
      ]) {
        const before = device.memory().bytes
        const matrix = new SparseMatrix(device, rows, cols, randomCsr(rows, cols, links, 1), links + 5)
        expect(device.memory().bytes - before, `${place}, ${rows} x ${cols}`).to.equal(matrix.bytes)
        await matrix.resize(links)
        expect(device.memory().bytes - before, `${place}, ${rows} x ${cols}, moved`).to.equal(matrix.bytes)
        matrix.dispose()
      }
    }
    expect(cpu().memory().bytes).to.be.at.least(0)
  })
})
