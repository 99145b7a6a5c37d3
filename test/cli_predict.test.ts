/** hebb predict, as a process: what files and lines it takes, and what it prints. */
import { spawnSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { expect } from 'chai'
import { csv, dataset, parseNpy, readInputs } from '../lib/data/index.js'
import {
  adam,
  Embedding,
  LayerNorm,
  Linear,
  load,
  mlp,
  Pooling,
  PositionalEncoding,
  Sequential,
  sgd,
  Trainer,
  transformer,
} from '../lib/index.js'
import { labelledLines, parallelLines, trainTokenizer } from '../lib/text/index.js'
import { hebb, main } from './programs.js'
import { expectRefusal } from './support.js'
import { clusters, csvText, writeIdx } from './synthetic.js'

/** A .npy file as numpy.save() writes it. */
function npy(descr: string, shape: readonly number[], data: ArrayBufferView, order = 'False'): Buffer {
  const lengths = shape.length === 1 ? `${shape[0]},` : shape.join(', ')
  const dict = `{'descr': '${descr}', 'fortran_order': ${order}, 'shape': (${lengths}), }`
  const header = `${dict.padEnd(128 - 10 - 1)}\n`
  const length = Buffer.alloc(2)
  length.writeUInt16LE(header.length)
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength)
  return Buffer.concat([Buffer.from('\x93NUMPY\x01\x00', 'latin1'), length, Buffer.from(header), bytes])
}

const classes = ['T-shirt/top', 'Ankle boot', 'Bag']

describe('hebb predict', () => {
  let folder: string
  const at = (name: string) => join(folder, name)
  const lines = (stdout: string) => stdout.trimEnd().split('\n')
  const images = clusters({ samples: 30, features: 36, classes: 3, noise: 30 })
  const bytes = images.x as Uint8Array

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hebb-cli-predict-'))
    const normalise = { mean: 0.5, deviation: 0.25 }
    const y = images.labels as Int32Array
    const data = dataset({ x: bytes, y, shape: [6, 6], classNames: classes, normalise })
    using trainer = new Trainer(mlp({ widths: [36, 24, 3], density: 0.5 }), {
      ...{ optimizer: sgd({ learningRate: 0.1, momentum: 0.9 }), device: 'cpu' },
    })
    for await (const _ of trainer.fit(data, { epochs: 5, batchSize: 10 }));
    await trainer.save(at('images.safetensors'))
    await writeIdx(folder, 't10k', images, [6, 6])
  })
  after(() => rm(folder, { recursive: true }))

  async function told(...args: string[]): Promise<string[]> {
    const { code, stdout, stderr } = await hebb('predict', ...args)
    expect([code, stderr]).to.deep.equal([0, ''])
    return lines(stdout)
  }

  async function refused(message: RegExp, ...args: string[]): Promise<void> {
    const { code, stdout, stderr } = await hebb('predict', ...args)
    expect([code, stdout]).to.deep.equal([1, ''])
    expect(stderr).to.match(message)
    expect(stderr).to.match(/^hebb: Expected/)
  }

  it('tells the class of each image, with others and probabilities, as text and as JSON', async () => {
    using model = await load(at('images.safetensors'), { device: 'cpu' })
    const labels = await model.predict(bytes, { output: 'labels' })
    const probabilities = await model.predict(bytes, { output: 'probabilities' })
    const [file, idx] = [at('images.safetensors'), at('t10k-images-idx3-ubyte')]
    expect(await told(file, idx)).to.deep.equal(labels)
    expect(new Set(labels).size).to.equal(3)
    const two = await told(file, idx, '--top', '2', '--probabilities')
    const json = await told(file, idx, '--top', '5', '--json', '--threads', '1')
    for (const [i, label] of labels.entries()) {
      const own = [...classes.keys()]
        .map((n) => ({ label: classes[n], probability: probabilities[3 * i + n] }))
        .sort((a, b) => b.probability - a.probability)
      expect(own[0].label).to.equal(label)
      const fields = own.slice(0, 2).flatMap((one) => [one.label, one.probability.toFixed(4)])
      expect(two[i].split('\t')).to.deep.equal(fields)
      expect(JSON.parse(json[i])).to.deep.equal({ classes: own })
    }
  })

  it('takes CSV files with and without a header, and arrays of NumPy', async () => {
    const file = at('images.safetensors')
    const labels = await told(file, at('t10k-images-idx3-ubyte'))
    const rows = Array.from({ length: 30 }, (_, i) => bytes.subarray(36 * i, 36 * i + 36).join(','))
    await writeFile(at('plain.csv'), `${rows.join('\n')}\n`)
    await writeFile(at('named.csv'), [Array.from({ length: 36 }, (_, i) => `p${i}`).join(','), ...rows].join('\r\n'))
    await writeFile(at('one.csv'), `${rows[7]}\n`)
    await writeFile(at('images.npy'), npy('|u1', [30, 6, 6], bytes))
    await writeFile(at('emnist-like.gz'), gzipSync(Buffer.from([0, 0, 8, 3, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 6])))
    for (const name of ['plain.csv', 'named.csv', 'images.npy'])
      expect(await told(file, at(name)), name).to.deep.equal(labels)
    expect(await told(file, at('one.csv'))).to.deep.equal([labels[7]])
    await refused(/emnist-like.gz to hold inputs of the model: it has no sample/, file, at('emnist-like.gz'))
  })

  it('refuses other inputs by name, and prints nothing', async () => {
    const file = at('images.safetensors')
    const row = (change: (values: (number | string)[]) => void) => {
      const values: (number | string)[] = Array.from(bytes.subarray(0, 36))
      change(values)
      return `${values.join(',')}\n`
    }
    const cases: Record<string, [string | Buffer, RegExp]> = {
      'fewer.csv': [row((values) => values.pop()), /fewer.csv .*has 35 columns, and the model 36 inputs/],
      'nan.csv': [row((values) => (values[4] = 'nan')), /no such|column 5|two columns|table of numbers/],
      'nan2.csv': [row(() => {}) + row((values) => (values[4] = 'nan')), /column 5 of line 2 is 'nan'/],
      'half.csv': [row((values) => (values[4] = 0.5)), /column 5 of row 1 is 0.5, and the model takes bytes/],
      'float.npy': [
        npy('<f4', [1, 36], new Float32Array(36)),
        /holds floating-point numbers, and the model takes bytes/,
      ],
      'wide.npy': [
        npy('|u1', [1, 4, 9], new Uint8Array(36)),
        /have 36 features \(4 x 9\), and the model's 36 \(6 x 6\)/,
      ],
      'int.npy': [npy('<i8', [36], new Uint8Array(288)), /elements are of type '<i8'. Save it as uint8 or float32/],
      'cut.npy': [npy('|u1', [2, 36], new Uint8Array(36)), /says 2 x 36 elements, but 36 bytes follow/],
      'order.npy': [npy('|u1', [1, 36], new Uint8Array(36), 'True'), /lies column by column/],
      'text.npy': ['no array', /does not begin as numpy.save\(\) begins files/],
      'text.txt': ['1,2,3', /text.txt to be an IDX file/],
    }
    for (const [name, [content, message]] of Object.entries(cases)) {
      await writeFile(at(name), content)
      await refused(message, file, at(name))
    }
    for (const name of ['no.csv', 'no.npy', 'no']) await refused(/at .*no(\.csv|\.npy)?.*, got none/, file, at(name))
    await refused(/Expected a file of samples behind the checkpoint/, file)
    await refused(/--top to be an integer of at least 1, got 0/, file, at('one.csv'), '--top', '0')
    await refused(/Expected .*no.safetensors|no file/, at('no.safetensors'), at('one.csv'))
  })

  it('tells a regression in the units of its targets, with and without them in the file', async () => {
    const file = at('table.csv')
    const text = csvText({ samples: 60, inputs: 3, targets: 2 })
    await writeFile(file, text)
    const saved = at('table.safetensors')
    const flags = ['--task', 'regression', '--data', file, '--targets', '2', '--hidden', '16', '--epochs', '3']
    expect(
      (await hebb('train', ...flags, '--batch-size', '8', '--checkpoint', saved, '--device', 'cpu')).stderr,
    ).to.equal('')
    const { test, columns } = await csv(file, { targets: 2 })
    using model = await load(saved, { device: 'cpu' })
    const expected = await model.predict(test, { output: 'values' })
    const [header, ...rows] = text.trim().split('\n')
    const inputs = rows.map((row) => row.split(',').slice(0, 3))
    // The rows that are held out, by their first input.
    const first = (value: number) => value * columns[0].deviation + columns[0].mean
    const place = (sample: number) =>
      inputs.findIndex((row) => Math.abs(Number(row[0]) - first(test.x[3 * sample])) < 1e-4)
    const names = header.split(',')
    await writeFile(at('alone.csv'), [names.slice(0, 3), ...inputs].join('\n'))
    const values = (await told(saved, file)).map((line) => line.split('\t').map(Number))
    expect(values).to.have.length(60)
    for (let sample = 0; sample < test.samples; ++sample)
      for (const target of [0, 1])
        expect(values[place(sample)][target]).to.be.closeTo(expected[2 * sample + target], 1e-3)
    const json = (await told(saved, at('alone.csv'), '--json')).map((line) => JSON.parse(line).values)
    expect(json.map((one) => names.slice(3).map((name) => one[name]))).to.deep.equal(values)
    await writeFile(at('numbers.npy'), npy('<f8', [60, 3], Float64Array.from(inputs.flat().map(Number))))
    expect((await told(saved, at('numbers.npy'))).map((line) => line.split('\t').map(Number))).to.deep.equal(values)
    await refused(/no --top for .*table.safetensors, which is of a regression/, saved, file, '--top', '2')
    await refused(/no --probabilities for .*, which is of a regression/, saved, file, '--probabilities')
    await writeFile(at('other.csv'), text.replace(names[1], 'other'))
    await refused(/its column 2 is 'other', and the model's/, saved, at('other.csv'))
    await writeFile(at('bare.csv'), rows.join('\n'))
    await refused(/first line holds numbers/, saved, at('bare.csv'))
  })

  it('classifies the lines of stdin, up to the first that it cannot take', async () => {
    const texts = Array.from({ length: 40 }, (_, i) => (i % 2 ? 'a fine film' : 'what a bore it was'))
    const tokenizer = await trainTokenizer(texts, { vocabulary: 280 })
    const train = await labelledLines(
      texts,
      texts.map((_, i) => (i % 2 ? 'positive' : 'negative')),
      { tokenizer },
    )
    const model = new Sequential({
      embedding: new Embedding({ words: tokenizer.size, features: 16 }),
      positions: new PositionalEncoding({ features: 16, places: 12 }),
      norm: new LayerNorm({ features: 16 }),
      pooling: new Pooling(),
      classes: new Linear({ inFeatures: 16, outFeatures: 2 }),
    })
    const file = at('text.safetensors')
    using trainer = new Trainer(model, { optimizer: adam({ learningRate: 0.01 }), device: 'cpu' })
    for await (const _ of trainer.fit(train, { steps: 60, batchSize: 128 }));
    await trainer.save(file)
    const run = (input: string, ...flags: string[]) =>
      spawnSync(process.execPath, [main, 'predict', file, ...flags], { input, encoding: 'utf8' })
    const told = run('a fine film\nwhat a bore it was\n')
    expect([told.status, told.stderr, told.stdout]).to.deep.equal([0, '', 'positive\nnegative\n'])
    const json = run('a fine film\n', '--json').stdout
    const [own] = await trainer.classify(['a fine film'])
    expect(JSON.parse(json).classes).to.have.length(1)
    expect(JSON.parse(json).classes[0].label).to.equal(own.label)
    expect(JSON.parse(json).classes[0].probability).to.be.closeTo(own.probability, 1e-6)
    expect(run('a fine film\n', '--top', '2', '--probabilities').stdout).to.match(
      /^positive\t0\.\d{4}\tnegative\t0\.\d{4}\n$/,
    )
    expect(run('').stdout).to.equal('')
    const empty = run('a fine film\n\na fine film\n')
    expect([empty.status, empty.stdout]).to.deep.equal([1, 'positive\n'])
    expect(empty.stderr).to.match(/lines of 1 to 12 tokens, as the model takes, got 0 in line 2 of stdin/)
    expect(run(`${'fine '.repeat(30)}\n`).stderr).to.match(/got \d+ in line 1 of stdin. Nothing is cut/)
    await refused(/Expected lines on stdin for a classifier of text/, file, at('one.csv'))
  })

  it('refuses translators, and networks that do not know their data', async () => {
    const pairs = [['a b', 'c d']]
    const tokenizer = await trainTokenizer(pairs.flat(), { vocabulary: 264 })
    const text = await parallelLines(['a b'], ['c d'], { tokenizer })
    const words = { sourceWords: tokenizer.size, targetWords: tokenizer.size }
    using translator = new Trainer(
      transformer({ ...words, features: 8, hidden: 8, encoderLayers: 1, decoderLayers: 1, heads: 1, density: 1 }),
      {
        optimizer: adam({ learningRate: 0.01 }),
        device: 'cpu',
      },
    )
    for await (const _ of translator.fit(text, { steps: 1, batchSize: 64 }));
    await translator.save(at('translator.safetensors'))
    await refused(/got .*translator.safetensors, which translates: hebb translate/, at('translator.safetensors'))
    using own = new Trainer(mlp({ widths: [36, 3], density: 1 }), {
      optimizer: sgd({ learningRate: 1 }),
      device: 'cpu',
    })
    await own.trainOn({ x: new Float32Array(36), y: [1] })
    await own.save(at('own.safetensors'))
    await refused(
      /to tell how its inputs were scaled, got a checkpoint of trainOn\(\)/,
      at('own.safetensors'),
      at('one.csv'),
    )
  })
})

describe('readInputs()', () => {
  it('turns the images of EMNIST upright', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'hebb-inputs-'))
    try {
      const image = Uint8Array.from({ length: 784 }, (_, i) => i % 251)
      const header = Buffer.from([0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 28, 0, 0, 0, 28])
      const format = { shape: [28, 28], type: 'uint8', inputs: { mean: [0], deviation: [1] } } as const
      for (const name of ['emnist-letters-test-images-idx3-ubyte', 'images-idx3-ubyte']) {
        await writeFile(join(folder, name), Buffer.concat([header, image]))
        const x = await readInputs(join(folder, name), format)
        const expected = name.startsWith('emnist')
          ? image.map((_, i) => image[(i % 28) * 28 + Math.floor(i / 28)])
          : image
        expect([...x]).to.deep.equal([...expected])
      }
    } finally {
      await rm(folder, { recursive: true })
    }
  })

  it('and readers of arrays refuse what is none', async () => {
    const format = { shape: [2], type: 'float32', inputs: { mean: [0], deviation: [1] } } as const
    await expectRefusal(() => readInputs('', format), 'INVALID_ARGUMENT', 'no name')
    await expectRefusal(() => readInputs('x.csv', {} as never), 'INVALID_ARGUMENT', 'no format')
    expect(parseNpy(npy('<f4', [2, 3], new Float32Array(6).fill(2)))).to.deep.equal({
      shape: [2, 3],
      data: new Float32Array(6).fill(2),
    })
    for (const bad of [new Uint8Array(0), new Uint8Array(20), npy('<f4', [2], new Float32Array(2)).subarray(0, 40)])
      expect(() => parseNpy(bad)).to.throw(/Expected the file to be an array of NumPy/)
  })
})
