/** What a run trains on is noted with its checkpoints: it is found from other folders, and others are refused. */
import { spawnSync } from 'node:child_process'
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { chts, dataset, mlp, type SampleStream, sgd, stream, Trainer, transformer } from '../lib/index.js'
import { parallelLines, trainTokenizer } from '../lib/text/index.js'
import type { TrainingData } from '../lib/train/source.js'
import { main } from './programs.js'
import { expectRefusal } from './support.js'
import { clusters, writeIdx } from './synthetic.js'

describe('a run goes on with what it began with', () => {
  let folder: string
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hebb-same-'))
  })
  after(() => rm(folder, { recursive: true }))

  /** Begins on the one, and goes on after a load with an equal one, after the other was refused. */
  async function goesOn(
    trainer: Trainer,
    options: object,
    began: TrainingData,
    same: TrainingData,
    others: TrainingData[],
  ) {
    const file = join(folder, 'run.safetensors')
    try {
      for await (const _ of trainer.fit(began, options)) break
      await trainer.save(file)
    } finally {
      trainer.dispose()
    }
    using loaded = await Trainer.load(file, { device: 'cpu' })
    for (const [i, other] of others.entries()) {
      const { message } = await expectRefusal(() => loaded.resume(other).next(), 'INVALID_ARGUMENT', `other ${i}`)
      expect(message).to.match(
        /^Expected the data that the run began with, got .*, which has others of the same number/,
      )
    }
    expect((await loaded.resume(same).next()).value?.epoch).to.equal(2)
  }
  const mlpTrainer = () =>
    new Trainer(mlp({ widths: [12, 16, 4], density: 0.3 }), {
      ...{ optimizer: sgd({ learningRate: 0.1 }), dst: chts(), device: 'cpu' },
    })

  it('of samples: with all their numbers, labels, weights and how they are normalised', async () => {
    const { x, labels } = clusters({ samples: 80, features: 12, classes: 4, seed: 1 })
    const y = labels as Int32Array
    const made = (options: object = {}) => dataset({ x, y, shape: [12], classes: 4, ...options })
    const changed = x.slice()
    changed[500] = (changed[500] as number) ^ 1
    const others = [
      made({ x: changed }),
      made({ y: y.map((label, i) => (i === 79 ? 3 - label : label)) }),
      made({ normalise: { mean: 0.5, deviation: 1 } }),
      made({ weights: new Float32Array(80).fill(2) }),
    ]
    await goesOn(mlpTrainer(), { epochs: 4 }, made(), made({ x: x.slice(), name: 'a copy' }), others)
  })

  it('of a stream: with its first chunk, and chunks of that size', async () => {
    const streamOf = (seed: number, chunk: number): SampleStream => {
      const { x, labels } = clusters({ samples: 80, features: 12, classes: 4, seed })
      const read = (first: number, count: number) => ({
        x: x.slice(12 * first, 12 * (first + count)),
        y: (labels as Int32Array).slice(first, first + count),
      })
      return stream({ samples: 80, chunk, shape: [12], classes: 4, read })
    }
    const options = { epochs: 4, batchSize: 20 }
    await goesOn(mlpTrainer(), options, streamOf(1, 40), streamOf(1, 40), [streamOf(2, 40), streamOf(1, 20)])
  })

  it('of text: with all sentences', async () => {
    const lines = ['one two', 'two three', 'three one', 'one one two']
    const tokenizer = await trainTokenizer(lines, { vocabulary: 300 })
    const text = (targets: string[]) => parallelLines(lines, targets, { tokenizer })
    const words = tokenizer.size
    const model = transformer({
      ...{ sourceWords: words, targetWords: words, features: 16, hidden: 16, heads: 2, density: 0.5 },
      ...{ encoderLayers: 1, decoderLayers: 1 },
    })
    const trainer = new Trainer(model, { optimizer: sgd({ learningRate: 0.1 }), device: 'cpu' })
    const other = await text(['one two', 'two three', 'three one', 'one two one'])
    await goesOn(trainer, { steps: 8, interval: 2, batchSize: 64 }, await text(lines), await text(lines), [other])
  })

  it('of the command line: from another folder, and after a move', async () => {
    const [project, elsewhere] = [join(folder, 'project'), join(folder, 'elsewhere')]
    await mkdir(join(project, 'data'), { recursive: true })
    await mkdir(elsewhere)
    for (const part of ['train', 't10k'] as const)
      await writeIdx(join(project, 'data'), part, clusters({ samples: 60, features: 36, classes: 10, seed: 1 }), [6, 6])
    const at = (cwd: string, ...args: string[]) => {
      const { status, stderr } = spawnSync(process.execPath, [main, ...args], { cwd, encoding: 'utf8' })
      return [status, stderr]
    }
    const flags = ['--hidden', '24', '--density', '0.2', '--device', 'cpu', '--epochs', '2', '--seed', '1']
    expect(at(project, 'train', '--data', 'data', ...flags, '--checkpoint', 'run.safetensors')).to.deep.equal([0, ''])
    expect(at(elsewhere, 'evaluate', '../project/run.safetensors')).to.deep.equal([0, ''])
    const moved = join(folder, 'moved')
    await cp(project, moved, { recursive: true })
    await rm(project, { recursive: true })
    expect(at(moved, 'evaluate', 'run.safetensors')).to.deep.equal([0, ''])

    await writeFile(join(moved, 'en'), 'one two\ntwo three\nthree one\n')
    const files = ['--source', 'en', '--target', 'en', '--validation-source', 'en', '--validation-target', 'en']
    const small = ['--width', '16', '--feed-forward', '16', '--layers', '1', '--heads', '2', '--vocabulary', '300']
    const run = ['--task', 'translation', ...files, ...small, '--steps', '2', '--checkpoint', 't.safetensors']
    expect(at(moved, 'train', ...run)).to.deep.equal([0, ''])
    expect(at(elsewhere, 'train', '--resume', '../moved/t.safetensors')).to.deep.equal([0, ''])
  })
})
