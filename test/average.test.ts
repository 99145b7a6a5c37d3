/** The mean of several checkpoints: averageCheckpoints(). */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { dataset } from '../lib/data/dataset.js'
import {
  averageCheckpoints,
  chts,
  dense,
  load,
  type Method,
  mlp,
  type Predictor,
  SparseParameter,
  sgd,
  staticSparse,
  Trainer,
  updateSchedule,
} from '../lib/index.js'
import { namedParameters } from '../lib/train/checkpoint.js'
import { readTensors, writeTensors } from '../lib/train/safetensors.js'
import { byRow, cellsOf, cpu, expectRefusal, numbers } from './support.js'

const data = dataset({ x: numbers(12 * 96, 1), y: Array.from({ length: 96 }, (_, i) => i % 3), shape: [12] })

describe('an average of checkpoints', () => {
  let folder: string
  const at = (name: string) => join(folder, name)

  /** Saves the state after each epoch; gives their files. */
  async function run(name: string, dst: Method, epochs: number, seed = 0, widths = [12, 20, 16, 3]): Promise<string[]> {
    const model = mlp({ widths, density: dst.dense ? 1 : 0.25, seed })
    using trainer = new Trainer(model, { optimizer: sgd({ learningRate: 0.1 }), dst, device: cpu() })
    const files: string[] = []
    for await (const { epoch } of trainer.fit(data, { epochs, batchSize: 16 })) {
      files.push(at(`${name}${epoch}`))
      await trainer.save(files.at(-1) as string, { notes: { epoch: String(epoch) } })
    }
    return files
  }

  /** All weights by their place: [rows][cols] of sparse layers, too, where a missing link is 0. */
  async function matricesOf(file: string): Promise<{ values: Map<string, Float32Array>; links: number }> {
    using predictor: Predictor = await load(file, { device: cpu() })
    const values = new Map<string, Float32Array>()
    let links = 0
    for (const [name, parameter] of namedParameters(predictor.model)) {
      if (!(parameter instanceof SparseParameter)) {
        values.set(name, await parameter.values.read())
        continue
      }
      const { rows, cols } = parameter.matrix
      const csr = { rows, cols, ...(await parameter.matrix.read()) }
      const weights = byRow(csr, await parameter.values.read())
      const matrix = new Float32Array(rows * cols)
      for (const [k, cell] of cellsOf(csr).entries()) matrix[cell] = weights[k]
      links += csr.columnIndices.length
      values.set(name, matrix)
    }
    return { values, links }
  }

  async function expectMean(files: string[], out: string): Promise<number> {
    const [mean, ...all] = await Promise.all([out, ...files].map(matricesOf))
    for (const [name, values] of mean.values)
      for (const [i, value] of values.entries()) {
        const sum = all.reduce((so, one) => so + (one.values.get(name)?.[i] as number), 0)
        expect(value, `${name} at ${i}`).to.equal(Math.fround(sum / files.length))
      }
    return mean.links
  }

  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'hebb-average-'))
  })
  after(() => rmSync(folder, { recursive: true }))

  it('is the mean of each weight, in double precision and rounded once, of sparse and dense runs', async () => {
    for (const dst of [staticSparse(), dense()]) {
      const files = await run(dst.name, dst, 5)
      const averaged = await averageCheckpoints(files, at('mean'))
      const links = await expectMean(files, at('mean'))
      expect(averaged).to.deep.equal({ files: 5, links, linksBefore: links })
    }
  })

  it('has the links of any where they differ and that is asked for: the mean of the matrices', async () => {
    const updates = updateSchedule({ every: 'epoch', until: 1, fraction: 0.3 })
    const files = await run('moving', chts({ updates }), 4)
    const error = await expectRefusal(() => averageCheckpoints(files, at('none')), 'INVALID_ARGUMENT', 'other links')
    expect(error.message).to.match(
      /Expected .*moving2 to have the links of .*moving1 in the layer modules\.0\.weights, got others.*--union/,
    )
    const averaged = await averageCheckpoints(files, at('union'), { union: true })
    expect(await expectMean(files, at('union'))).to.equal(averaged.links)
    expect(averaged.links).to.be.above(averaged.linksBefore)
    using trainer = await Trainer.load(at('union'), { device: cpu() })
    expect((await trainer.measures()).links).to.equal(averaged.links)
  })

  it('is a checkpoint: it predicts, begins a run, and has the notes of the first, and no run', async () => {
    const files = await run('last', staticSparse(), 3)
    await averageCheckpoints(files, at('whole'))
    using predictor = await load(at('whole'), { device: cpu() })
    expect(predictor.notes).to.deep.equal({ epoch: '1' })
    const { loss } = await predictor.evaluate(data)
    using tuned = await Trainer.from(at('whole'), { device: cpu() })
    expect((await tuned.evaluate(data)).loss).to.equal(loss)
    using trainer = await Trainer.load(at('whole'), { device: cpu() })
    expect([trainer.step, trainer.run]).to.deep.equal([0, undefined])
    // Replacing one of its own files is one way to keep the mean.
    await averageCheckpoints(files, files[0])
    using replaced = await load(files[0], { device: cpu() })
    expect((await replaced.evaluate(data)).loss).to.equal(loss)
  })

  it('refuses other networks by the file and the layer, and files that do not fit together', async () => {
    const [one] = await run('one', staticSparse(), 1)
    const [wide] = await run('wide', staticSparse(), 1, 0, [12, 24, 16, 3])
    const [deep] = await run('deep', staticSparse(), 1, 0, [12, 20, 16, 16, 3])
    const [full] = await run('full', dense(), 1)
    const [seed] = await run('seed', staticSparse(), 1, 1)
    for (const [files, message] of [
      [[one, wide], /Expected .*wide1 to be of the network of .*one1, got one whose modules\.0\.\w+ (has|is) /],
      [[one, full], /full1 .* got one whose modules\.0\.weights has no links/],
      [[deep, one], /one1 .* got one without modules\.6\.\w+|got one whose/],
      [[one, seed], /seed1 to have the links of .*one1 in the layer modules\.0\.weights/],
    ] as const) {
      const error = await expectRefusal(() => averageCheckpoints(files, at('no')), 'INVALID_ARGUMENT', String(message))
      expect(error.message).to.match(message)
    }
    await expectRefusal(() => averageCheckpoints([one], at('no')), 'INVALID_ARGUMENT', 'one file')
    await expectRefusal(() => averageCheckpoints([one, at('gone')], at('no')), 'MISSING_FILE', 'a missing file')
    await expectRefusal(() => averageCheckpoints([one, one], join(at('no'), 'x')), 'CANNOT_WRITE', 'no folder')
    await expectRefusal(() => averageCheckpoints([one, one], at('no'), { all: 1 } as never), 'INVALID_ARGUMENT', 'all')
    const { metadata, tensors } = await readTensors(one, () => true)
    const { checksum: _, ...rest } = metadata
    for (const [what, change] of [
      ['rows that end nowhere', (data: Int32Array) => data.fill(3, 1)],
      ['rows that go back', (data: Int32Array) => data.fill(-1, 2, 3)],
    ] as const) {
      const broken = [...tensors].map(([name, { type, shape, data }]) => {
        const copy = data.slice()
        if (name === 'modules.0.weights.rowOffsets') change(copy as Int32Array)
        return { name, type, shape, read: () => copy }
      })
      await writeTensors(at('broken'), broken, rest)
      await expectRefusal(() => averageCheckpoints([one, at('broken')], at('no')), 'BAD_FILE', what)
    }
  })
})
