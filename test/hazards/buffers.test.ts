/**
 * Hazards: ArrayBuffers that are detached, shared or resized, before a call, and between the call and its completion.
 */
import { expect } from 'chai'
import {
  chts,
  dataset,
  HebbError,
  mlp,
  predictLinks,
  SparseMatrix,
  sampleWithoutReplacement,
  Tensor,
  Trainer,
} from '../../lib/index.js'
import type { NativeBuffer } from '../../lib/native.js'
import { cpu, expectRefusal, numbers, on, randomCsr } from '../support.js'
import { clusters } from '../synthetic.js'
import { batchOf, optimizer, stateOf } from './training.js'

/** Two ways to take an ArrayBuffer away. */
const takers: Record<string, (buffer: ArrayBuffer) => void> = {
  structuredClone: (buffer) => void structuredClone(buffer, { transfer: [buffer] }),
  postMessage: (buffer) => {
    const { port1, port2 } = new MessageChannel()
    port1.postMessage(buffer, [buffer])
    port1.close()
    port2.close()
  },
}

/** The same elements in shared memory. */
function shared<T extends Float32Array | Uint8Array | Int32Array>(array: T): T {
  const Type = array.constructor as new (buffer: SharedArrayBuffer) => T
  const copy = new Type(new SharedArrayBuffer(array.byteLength))
  copy.set(array)
  return copy
}

/** Elements in a buffer that can be resized, or undefined where this Node cannot. */
function resizable(elements: number): { array: Float32Array; resize: (elements: number) => void } | undefined {
  const Resizable = ArrayBuffer as unknown as new (
    bytes: number,
    options: { maxByteLength: number },
  ) => ArrayBuffer & { resize?(bytes: number): void }
  const buffer = new Resizable(4 * elements, { maxByteLength: 8 * elements })
  return buffer.resize && { array: new Float32Array(buffer), resize: (n) => buffer.resize?.(4 * n) }
}

for (const [way, take] of Object.entries(takers)) {
  describe(`ArrayBuffers detached by ${way}`, () => {
    it('before a write are refused', async () => {
      await on(cpu(), async (w) => {
        const tensor = w.tensor('float32', 100)
        const batch = w.batch(10, 10)
        const gone = numbers(100, 1)
        take(gone.buffer as ArrayBuffer)
        for (const write of [() => tensor.write(gone), () => batch.write(gone)])
          await expectRefusal(write, 'INVALID_ARGUMENT', 'a detached array')
        expect([...(await tensor.read())]).to.deep.equal(new Array(100).fill(0))
      })
    })

    it('right after a write have been copied', async () => {
      await on(cpu(), async (w) => {
        const tensor = w.tensor('float32', 100_000)
        const batch = w.batch(1000, 100)
        for (const target of [tensor, batch]) {
          const data = numbers(100_000, 2)
          const written = target.write(data)
          take(data.buffer as ArrayBuffer)
          await written
          expect(await target.read()).to.deep.equal(numbers(100_000, 2))
        }
      })
    })

    it('right after objects were made of them have been copied; before, they are refused', async () => {
      const csr = randomCsr(30, 40, 200, 1)
      const given = { rowOffsets: csr.rowOffsets.slice(), columnIndices: csr.columnIndices.slice() }
      const values = numbers(50, 3)
      const tensor = new Tensor(cpu(), 'float32', values)
      const matrix = new SparseMatrix(cpu(), 30, 40, given)
      for (const { buffer } of [values, given.rowOffsets, given.columnIndices]) take(buffer as ArrayBuffer)
      expect(await tensor.read()).to.deep.equal(numbers(50, 3))
      expect(await matrix.read()).to.deep.equal({ rowOffsets: csr.rowOffsets, columnIndices: csr.columnIndices })
      await expectRefusal(() => new SparseMatrix(cpu(), 30, 40, given), 'INVALID_ARGUMENT', 'detached links')
      await expectRefusal(
        () => new SparseMatrix(cpu(), 30, 40, { ...given, rowOffsets: csr.rowOffsets }),
        'INVALID_ARGUMENT',
        'detached columns',
      )
      await expectRefusal(
        () => predictLinks({ rows: 30, cols: 40, ...given }, 'CH2-L3n'),
        'INVALID_ARGUMENT',
        'links to predict from',
      )
      expect(sampleWithoutReplacement(values, 0).length).to.equal(0)
      await expectRefusal(() => sampleWithoutReplacement(values, 1), 'INVALID_ARGUMENT', 'detached scores')
      tensor.dispose()
      matrix.dispose()
    })

    it('while a native read is under way are left alone', async () => {
      await on(cpu(), async (w) => {
        const tensor = w.tensor('float32', numbers(50_000, 4))
        const out = new Float32Array(50_000)
        const read = (tensor.native as NativeBuffer).read(out)
        take(out.buffer as ArrayBuffer)
        expect((await read).length).to.equal(0)
        const columns = new Float32Array(1000)
        const batch = w.batch(100, 10, numbers(1000, 5))
        const activations = cpu().native.readActivations(batch, columns, 10)
        take(columns.buffer as ArrayBuffer)
        expect((await activations).length).to.equal(0)
      })
    })

    it('of a data set or a batch end training with an error, and not the process', async () => {
      const data = clusters({ samples: 256, features: 16, classes: 4 })
      using trainer = new Trainer(mlp({ widths: [16, 32, 4], density: 0.3 }), {
        optimizer: optimizer(),
        dst: chts(),
        device: 'cpu',
      })
      const trained = async () => {
        for await (const _ of trainer.fit(data, { epochs: 2 }));
      }
      await trained() // now it is on the device, and may go
      take(data.x.buffer as ArrayBuffer)
      await trained()
      const gone = dataset({
        x: clusters({ samples: 256, features: 16, classes: 4 }).x,
        y: new Int32Array(256),
        shape: [16],
        classes: 4,
      })
      take(gone.x.buffer as ArrayBuffer)
      await expectRefusal(() => trainer.evaluate(gone), 'INVALID_ARGUMENT', 'evaluate')
      await expectRefusal(() => trainer.predict(gone), 'INVALID_ARGUMENT', 'predict')
      const many = numbers(16 * 600, 1)
      const predicted = trainer.predict(many)
      take(many.buffer as ArrayBuffer)
      await expectRefusal(() => predicted, 'INVALID_ARGUMENT', 'predict, in its course')
      const before = await stateOf(trainer.model)
      const batch = batchOf(32, 16)
      const step = trainer.trainOn(batch)
      take(batch.x.buffer as ArrayBuffer) // before it could be copied: the call waits for others first
      await step.catch((error) => {
        if (!(error instanceof HebbError)) throw error
      })
      await expectRefusal(() => trainer.trainOn(batch), 'INVALID_ARGUMENT', 'trainOn')
      if ((await step.catch(() => undefined)) === undefined) expect(await stateOf(trainer.model)).to.equal(before)
      await trainer.trainOn(batchOf(32, 16))
    })
  })
}

describe('SharedArrayBuffers', () => {
  it('are read and written like others', async () => {
    await on(cpu(), async (w) => {
      const data = shared(numbers(1000, 6))
      const tensor = w.tensor('float32', data)
      const batch = w.batch(100, 10)
      await tensor.write(data)
      await batch.write(data)
      expect([...(await tensor.read())]).to.deep.equal([...data])
      expect([...(await batch.read())]).to.deep.equal([...data])
      const out = shared(new Float32Array(1000))
      expect(await (tensor.native as NativeBuffer).read(out)).to.equal(out)
      expect([...out]).to.deep.equal([...data])
      const columns = shared(new Float32Array(1000))
      expect(await cpu().native.readActivations(batch, columns, 10)).to.equal(columns)
      expect([...columns]).to.deep.equal([...data])
      const csr = randomCsr(30, 40, 200, 1)
      const matrix = w.own(
        new SparseMatrix(cpu(), 30, 40, {
          rowOffsets: shared(csr.rowOffsets),
          columnIndices: shared(csr.columnIndices),
        }),
      )
      expect(await matrix.read()).to.deep.equal({ rowOffsets: csr.rowOffsets, columnIndices: csr.columnIndices })
      expect(sampleWithoutReplacement(shared(Float32Array.of(0, 1, 0)), 1)).to.deep.equal(Int32Array.of(1))
    })
  })

  it('train with the bits of others', async () => {
    const data = clusters({ samples: 256, features: 16, classes: 4 })
    const results = []
    for (const x of [data.x as Uint8Array, shared(data.x as Uint8Array)]) {
      const set = dataset({ x, y: data.labels as Int32Array, shape: [16] })
      using trainer = new Trainer(mlp({ widths: [16, 32, 4], density: 0.3 }), {
        optimizer: optimizer(),
        dst: chts(),
        device: 'cpu',
      })
      for await (const _ of trainer.fit(set, { epochs: 3 }));
      const { x: batch, y } = batchOf(32, 16)
      const loss = await trainer.trainOn({ x: x.buffer instanceof SharedArrayBuffer ? shared(batch) : batch, y })
      results.push(loss, await stateOf(trainer.model), [...(await trainer.predict(set))])
    }
    expect(results.slice(3)).to.deep.equal(results.slice(0, 3))
  })
})

describe('ArrayBuffers that are resized', () => {
  it('have been copied right after a write, and are refused where their length does not fit', async function () {
    if (!resizable(1)) this.skip()
    await on(cpu(), async (w) => {
      const tensor = w.tensor('float32', 1000)
      const batch = w.batch(100, 10)
      for (const target of [tensor, batch]) {
        const { array, resize } = resizable(1000) as NonNullable<ReturnType<typeof resizable>>
        array.set(numbers(1000, 7))
        const written = target.write(array)
        resize(10)
        await written
        expect([...(await target.read())]).to.deep.equal([...numbers(1000, 7)])
        await expectRefusal(() => target.write(array), 'INVALID_ARGUMENT', 'a shrunk array')
        resize(1000)
        await target.write(array)
        expect([...(await target.read())]).to.deep.equal([
          ...numbers(1000, 7).subarray(0, 10),
          ...new Array(990).fill(0),
        ])
      }
    })
  })

  it('while a native read is under way get what fits or nothing', async function () {
    if (!resizable(1)) this.skip()
    await on(cpu(), async (w) => {
      const tensor = w.tensor('float32', numbers(1000, 8))
      const batch = w.batch(100, 10, numbers(1000, 8))
      for (const size of [0, 10, 999, 1000, 1500]) {
        for (const read of [
          (out: Float32Array) => (tensor.native as NativeBuffer).read(out),
          (out: Float32Array) => cpu().native.readActivations(batch, out, 10),
        ]) {
          const { array, resize } = resizable(1000) as NonNullable<ReturnType<typeof resizable>>
          const reading = read(array)
          resize(size)
          const out = await reading
          expect(out.length).to.equal(size)
          const filled = [...out].some((v) => v !== 0)
          if (filled) expect([...out.subarray(0, 1000)]).to.deep.equal([...numbers(1000, 8)])
          if (size === 1000) expect(filled).to.equal(true)
        }
      }
    })
  })
})
