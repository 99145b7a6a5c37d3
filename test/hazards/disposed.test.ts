/** Hazard: objects that are used after dispose(), or disposed while they are used. */
import { expect } from 'chai'
import { Activations, chts, Device, HebbError, mlp, Program, SparseMatrix, Tensor, Trainer } from '../../lib/index.js'
import { cpu, expectRefusal, numbers, on, randomCsr } from '../support.js'
import { clusters } from '../synthetic.js'
import { batchOf, bound, optimizer, pause } from './training.js'

const links = randomCsr(20, 30, 100, 1)

/** One of each, on the device. */
function objectsOf(device: Device) {
  const tensor = new Tensor(device, 'float32', numbers(100, 1))
  const input = new Activations(device, 30, 8)
  const output = new Activations(device, 20, 8)
  const matrix = new SparseMatrix(device, 20, 30, links)
  const program = new Program(device, { batch: 8 })
  const other = new Tensor(device, 'float32', 100)
  const record = () => program.record('spmm', { weights: matrix, values: tensor, input, output })
  record()
  return { tensor, other, input, output, matrix, program, record }
}

/** Everything that the objects can be asked for. */
function usesOf(
  device: Device,
  { tensor, other, input, matrix, program, record }: ReturnType<typeof objectsOf>,
): Record<string, () => unknown> {
  return {
    'tensor.read': () => tensor.read(),
    'tensor.write': () => tensor.write(new Float32Array(100)),
    'tensor.copy': () => tensor.copy(other),
    'activations.read': () => input.read(),
    'activations.write': () => input.write(new Float32Array(240)),
    'matrix.read': () => matrix.read(),
    'program.record': record,
    'program.replay': () => program.replay(1),
    'program.replay, which begins': () => program.replay(0, { begin: { step: 1, scalars: [1], columns: 8 } }),
    'device.info': () => device.info,
    'device.memory': () => device.memory(),
    'new Tensor': () => new Tensor(device, 'float32', 1),
    'new Activations': () => new Activations(device, 1, 1),
    'new SparseMatrix': () => new SparseMatrix(device, 20, 30, links),
    'new Program': () => new Program(device),
    'new Trainer': () => new Trainer(mlp({ widths: [4, 4, 4], density: 0.5 }), { optimizer: optimizer(), device }),
  }
}

describe('after dispose', () => {
  it('of a device everything on it says DISPOSED, and can still be disposed', async () => {
    const device = new Device({ kind: 'cpu', threads: 2 })
    const objects = objectsOf(device)
    await objects.program.replay(1)
    const uses = usesOf(device, objects)
    device.dispose()
    for (const [what, use] of Object.entries(uses)) await expectRefusal(use, 'DISPOSED', what)
    for (let i = 0; i < 2; ++i) {
      const { tensor, input, output, matrix, program } = objects
      for (const object of [tensor, input, output, matrix, program, device]) object.dispose()
    }
    for (const [what, use] of Object.entries(uses)) await expectRefusal(use, 'DISPOSED', what)
  })

  const title =
    'of a tensor, activations, matrix or program it says DISPOSED, what was recorded goes on, ' +
    'and disposing twice is fine'
  it(title, async () => {
    using device = new Device({ kind: 'cpu', threads: 2 })
    const objects = objectsOf(device)
    const { tensor, other, input, output, matrix, program } = objects
    const uses = usesOf(device, objects)
    for (const object of [tensor, input, matrix]) for (let i = 0; i < 2; ++i) object.dispose()
    await program.replay(3)
    expect((await output.read()).every((v) => v === 0)).to.equal(true)
    for (let i = 0; i < 2; ++i) program.dispose()
    for (let i = 0; i < 2; ++i) for (const object of [output, other]) object.dispose()
    for (const [what, use] of Object.entries(uses))
      if (/^(tensor|activations|matrix|program)/.test(what)) await expectRefusal(use, 'DISPOSED', what)
    await expectRefusal(() => program.stepsDone, 'DISPOSED', 'stepsDone')
    await expectRefusal(() => program.operationCount, 'DISPOSED', 'operationCount')
    expect(device.memory()).to.include({ buffers: 0, bytes: 0 })
  })

  it('of a trainer every call says DISPOSED', async () => {
    using device = new Device({ kind: 'cpu', threads: 2 })
    for (const own of [true, false]) {
      const data = clusters({ samples: 64, features: 16, classes: 4 })
      const model = mlp({ widths: [16, 32, 4], density: 0.3 })
      const trainer = new Trainer(model, { optimizer: optimizer(), dst: chts(), device: own ? 'cpu' : device })
      await trainer.trainOn(batchOf(16, 16))
      for (let i = 0; i < 2; ++i) trainer.dispose()
      const uses: Record<string, () => unknown> = {
        fit: () => trainer.fit(data, { epochs: 1 }).next(),
        trainOn: () => trainer.trainOn(batchOf(16, 16)),
        evaluate: () => trainer.evaluate(data),
        predict: () => trainer.predict(data),
        measures: () => trainer.measures(),
        plan: () => trainer.plan({ epochs: 4, stepsPerEpoch: 4 }),
        ...(own && { memory: () => trainer.memory() }),
      }
      for (const [what, use] of Object.entries(uses)) await expectRefusal(use, 'DISPOSED', what)
      expect(trainer.step).to.equal(1)
      expect(device.memory()).to.include({ buffers: 0, bytes: 0 })
    }
  })

  it('of a trainer just before an update leaves nothing behind', async () => {
    using device = new Device({ kind: 'cpu', threads: 2 })
    const data = clusters({ samples: 200, features: 16, classes: 4 })
    const trainer = new Trainer(mlp({ widths: [16, 20, 20, 4], density: 0.3 }), {
      optimizer: optimizer(),
      dst: chts(),
      device,
    })
    // The last that an epoch awaits before its first update, which the second one has.
    const { write } = Tensor.prototype
    let epochs = 0
    Tensor.prototype.write = async function (this: Tensor, values: Float32Array) {
      await write.call(this, values)
      if (this.length === 4 && ++epochs === 2) trainer.dispose()
    }
    try {
      const run = trainer.fit(data, { epochs: 2, batchSize: 20 })
      await expectRefusal(
        async () => {
          for await (const _ of run);
        },
        'DISPOSED',
        'disposed before an update',
      )
    } finally {
      Tensor.prototype.write = write
    }
    expect(device.memory()).to.include({ buffers: 0, bytes: 0 })
  })
})

describe('dispose in the middle', () => {
  it('of the operands changes nothing for jobs that were asked for', async () => {
    for (let round = 0; round < 20; ++round) {
      await on(cpu(2), async (w) => {
        const [from, to] = [w.tensor('float32', numbers(100_000, 3)), w.tensor('float32', 100_000)]
        const copied = to.copy(from)
        const read = to.read()
        const written = to.write(new Float32Array(100_000))
        from.dispose()
        to.dispose()
        expect(await read).to.deep.equal(numbers(100_000, 3))
        await Promise.all([copied, written])
      })
    }
  })

  it('of a program ends its replay with DISPOSED', async () => {
    using device = new Device({ kind: 'cpu', threads: 2 })
    const { program, tensor, other, input, output, matrix } = objectsOf(device)
    const endless = program.replay(1e12)
    const waits = program.replay(1)
    for (const object of [tensor, other, input, output, matrix]) object.dispose()
    await pause(5)
    program.dispose()
    await expectRefusal(() => endless, 'DISPOSED', 'the replay that ran')
    await expectRefusal(() => waits, 'DISPOSED', 'the replay that waited')
    expect(device.memory()).to.include({ buffers: 0, bytes: 0 })
  })

  it('of a device ends what runs and what waits with DISPOSED, at once', async () => {
    const device = new Device({ kind: 'cpu', threads: 2 })
    const { program, tensor, input } = objectsOf(device)
    const running = [
      program.replay(1e12),
      tensor.read(),
      input.write(new Float32Array(240)),
      program.replay(1, { begin: { scalars: [1] } }),
    ]
    for (const promise of running) promise.catch(() => {})
    await pause(5)
    const start = performance.now()
    device.dispose()
    expect(performance.now() - start, 'milliseconds').to.be.below(bound(1000))
    for (const [i, promise] of running.entries()) await expectRefusal(() => promise, 'DISPOSED', `call ${i}`)
  })

  it('of a trainer ends its training, at any time', async () => {
    using device = new Device({ kind: 'cpu', threads: 2 })
    const data = clusters({ samples: 2000, features: 64, classes: 4 })
    for (const own of [true, false]) {
      for (const after of [0, 1, 3, 10, 30, 100]) {
        const model = mlp({ widths: [64, 300, 300, 4], density: 0.3 })
        const trainer = new Trainer(model, {
          optimizer: optimizer(),
          dst: chts(),
          device: own ? { kind: 'cpu', threads: 2 } : device,
        })
        const run = (async () => {
          for await (const _ of trainer.fit(data, { epochs: 1000, validation: data }));
        })()
        run.catch(() => {})
        await pause(after)
        trainer.dispose()
        const error = await run.catch((e) => e)
        expect(error, `after ${after} ms: ${error.stack}`).to.be.instanceOf(HebbError)
        expect(error.code, error.stack).to.equal('DISPOSED')
      }
      expect(device.memory()).to.include({ buffers: 0, bytes: 0 })
    }
  })
})
