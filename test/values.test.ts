import { expect } from 'chai'
import {
  type Module,
  mlp,
  Recompute,
  Relu,
  rigl,
  Sequential,
  SparseLinear,
  sgd,
  Trainer,
  updateSchedule,
} from '../lib/index.js'
import { Program } from '../lib/program.js'
import type { Activations } from '../lib/tensor.js'
import { namedParameters } from '../lib/train/checkpoint.js'
import { Graph, type GraphOptions } from '../lib/train/graph.js'
import {
  at,
  cpu,
  expectRefusal,
  expectSameBits,
  numbers,
  on,
  places,
  randomCsr,
  record,
  type Workspace,
} from './support.js'

const batch = 20

/** y = relu(relu(...x)), `count` times, each of them a value of the program. */
function chain(w: Workspace, program: Program, x: Activations, count: number): Activations[] {
  const values = [x]
  for (let i = 0; i < count; ++i) {
    const output = w.own(program.activations(x.features))
    program.record('relu', { input: values[i], output })
    values.push(output)
  }
  return values
}

describe('values of a step', () => {
  const x = numbers(batch * 7, 1)
  const rectified = x.map((v) => Math.max(0, v))

  for (const place of places) {
    it(`take memory in turn, at ${place}`, async () => {
      await on(at(place), async (w) => {
        const program = w.program({ batch })
        const values = chain(w, program, w.batch(7, batch, x), 20)
        program.keep(values[20])
        const before = w.device.memory().bytes
        await program.replay(3)
        expectSameBits(await values[20].read(), rectified, place)
        // One by one in place: a single one's memory.
        expect(w.device.memory().bytes - before).to.be.at.most(w.device.native.activationBytes(7, batch) + 255)
      })
    })
  }

  it('are there when the host writes them, or keeps them', async () => {
    await on(cpu(), async (w) => {
      const program = w.program({ batch })
      const given = w.own(program.activations(7, 'given'))
      const values = chain(w, program, given, 3)
      program.keep(values[1])
      program.keep(values[3])
      await given.write(x)
      await program.replay(1)
      expectSameBits(await values[1].read(), rectified, 'the first')
      expectSameBits(await values[3].read(), rectified, 'the last')
    })
  })

  it('are refused to the host, and to other programs, where they are not kept', async () => {
    await on(cpu(), async (w) => {
      const program = w.program({ batch })
      const values = chain(w, program, w.batch(7, batch, x), 2)
      await expectRefusal(() => values[1].read(), 'INVALID_ARGUMENT', 'keep()')
      await expectRefusal(() => values[1].write(x), 'INVALID_ARGUMENT', 'keep()')
      const other = w.program({ batch })
      const output = w.batch(7, batch)
      await expectRefusal(
        () => other.record('relu', { input: values[2], output }),
        'INVALID_ARGUMENT',
        'another program does not keep',
      )
      program.keep(values[2])
      other.record('relu', { input: values[2], output })
      await program.replay(1)
      await other.replay(1)
      expectSameBits(await output.read(), rectified, 'the other program')
      program.keep(output)
      await expectRefusal(() => other.keep(values[1]), 'INVALID_ARGUMENT', 'a value of this program')
    })
  })

  it('follow their program to another place', async () => {
    await on(cpu(), async (w) => {
      const workspace = w.tensor('uint8', 0)
      const program = w.own(new Program(w.device, { batch, workspace }))
      const values = chain(w, program, w.batch(7, batch, x), 2)
      program.keep(values[2])
      const other = w.program({ batch })
      const output = w.batch(7, batch)
      other.record('relu', { input: values[2], output })
      await program.replay(1)
      await other.replay(1)
      // A larger program moves the workspace.
      const larger = w.own(new Program(w.device, { batch, workspace }))
      await w.own(larger.activations(5000, 'given')).write(numbers(5000 * batch, 2))
      await program.replay(1)
      await other.replay(1)
      expectSameBits(await output.read(), rectified, 'after the move')
    })
  })

  it('are refused when nothing has written what is read', async () => {
    await on(cpu(), async (w) => {
      const program = w.program({ batch })
      const [output, value] = [w.batch(7, batch), w.own(program.activations(7))]
      program.record('relu', { input: value, output })
      await expectRefusal(() => program.replay(1), 'INVALID_ARGUMENT', 'relu: Expected input to be written')
      const adding = w.program({ batch })
      const gradient = w.own(adding.activations(7))
      adding.record('reluGradient', { output, outputGradient: output, inputGradient: gradient, accumulate: true })
      adding.keep(gradient)
      await expectRefusal(() => adding.replay(1), 'INVALID_ARGUMENT', 'Expected inputGradient to be written')
    })
  })

  it('are gone with their program', async () => {
    await on(cpu(), async (w) => {
      const program = new Program(w.device, { batch })
      const value = w.own(program.activations(7, 'kept'))
      program.dispose()
      await expectRefusal(() => value.read(), 'DISPOSED', 'program was disposed')
    })
  })

  it('are not computed where nobody reads them', async () => {
    await on(cpu(), async (w) => {
      const program = w.program({ batch })
      const values = chain(w, program, w.batch(7, batch, x), 5)
      program.keep(values[2])
      await program.replay(1)
      expect(program.operationCount).to.equal(3) // the step's own, and two
    })
  })

  it('are all there while all are kept', async () => {
    await on(cpu(), async (w) => {
      const program = w.program({ batch })
      const values = chain(w, program, w.batch(7, batch, x), 5)
      program.keep(values[2])
      await program.keepAll(true)
      await program.replay(1)
      for (const value of values) expect((await value.read()).length).to.equal(batch * 7)
      expectSameBits(await values[5].read(), rectified, 'the last')
      const bytes = w.device.memory().bytes
      await program.keepAll(false)
      await program.replay(1)
      expect(w.device.memory().bytes).to.be.below(bytes)
      await expectRefusal(() => values[5].read(), 'INVALID_ARGUMENT', 'keep()')
    })
  })

  it('within a module that computes them again give the same bits in less memory', async () => {
    const [width, batch] = [64, 32]
    const x = numbers(batch * width, 5)
    const y = Int32Array.from({ length: batch }, (_, i) => i % width)
    const block = () => new Sequential([0, 1, 2, 3].flatMap(() => [sparse(width), new Relu()]))
    const sparse = (features: number) => new SparseLinear({ inFeatures: features, outFeatures: features, density: 0.1 })
    await on(cpu(), async (w) => {
      const train = async (blocks: Module[]) => {
        const model = new Sequential(blocks, { seed: 7 })
        const optimizer = sgd({ learningRate: 0.1, momentum: 0.9 })
        const trainer = w.own(
          new Trainer(model, {
            optimizer,
            dst: rigl({ updates: updateSchedule({ every: 2, fraction: 0.3 }) }),
            device: w.device,
          }),
        )
        trainer.plan({ epochs: 1, stepsPerEpoch: 6 })
        const losses = []
        for (let i = 0; i < 6; ++i) losses.push(await trainer.trainOn({ x, y }))
        const workspace = w.tensor('uint8', 0)
        const training = { optimizer, groups: optimizer.groups(namedParameters(model)) }
        const options = { device: w.device, model, batch, features: width, loss: 'crossEntropy', training } as const
        await w.own(new Graph({ ...options, workspace })).program.replay(1)
        const weights = await Promise.all(model.parameters.map(({ values }) => values.read()))
        return { losses, weights, bytes: workspace.native.bytes }
      }
      const plain = await train([block(), block(), block()])
      const again = await train([0, 1, 2].map(() => new Recompute(block())))
      expectSameBits([again.losses, again.weights], [plain.losses, plain.weights], 'computed again')
      expect(again.bytes).to.be.below(0.75 * plain.bytes)
    })
  })

  const layer = { csr: randomCsr(9, 7, 30, 11), weights: numbers(30, 12) }
  const dense = numbers(9 * 7, 13)
  const products = {
    spmm: (w: Workspace) => ({ weights: w.matrix(layer.csr), values: w.floats(layer.weights) }),
    linear: (w: Workspace) => ({ weights: w.floats(dense) }),
  }
  for (const place of places) {
    for (const [name, weightsOf] of Object.entries(products)) {
      it(`lets relu and its derivative ride on ${name}, at ${place}`, async () => {
        /** What is kept in between keeps its operation. */
        const run = (kept: { z?: boolean; gradient?: boolean }, accumulate: boolean) =>
          on(at(place), async (w) => {
            const program = w.program({ batch })
            const weights = weightsOf(w)
            const [z, y] = [program.activations(9), program.activations(9)].map((value) => w.own(value))
            record(program, name, { ...weights, input: w.batch(7, batch, x), output: z })
            program.record('relu', { input: z, output: y })
            program.keep(y)
            if (kept.z) program.keep(z)
            const [dx, dz] = [w.own(program.activations(7)), w.batch(7, batch, numbers(batch * 7, 15))]
            const outputGradient = w.batch(9, batch, numbers(batch * 9, 14))
            record(program, `${name}Transposed`, { ...weights, outputGradient, inputGradient: dx })
            const output = w.batch(7, batch, rectified)
            program.record('reluGradient', { output, outputGradient: dx, inputGradient: dz, accumulate })
            if (kept.gradient) program.keep(dx)
            await program.replay(1)
            return { operations: program.operationCount, results: [await y.read(), await dz.read()] }
          })
        for (const accumulate of [false, true]) {
          const apart = await run({ z: true, gradient: true }, accumulate)
          const together = await run({}, accumulate)
          expectSameBits(together.results, apart.results, place)
          expect([apart.operations, together.operations]).to.deep.equal([5, 3])
          expect((await run({ z: true }, accumulate)).operations).to.equal(4)
          expect((await run({ gradient: true }, accumulate)).operations).to.equal(4)
        }
      })
    }
  }

  for (const place of places) {
    it(`may outlive the step in activations with memory of their own, at ${place}`, async () => {
      await on(at(place), async (w) => {
        const state = w.batch(3, 5, new Float32Array(15))
        const program = w.program({ batch: 5 })
        const added = w.own(program.activations(3))
        program.record('add', { first: state, second: w.batch(3, 5, numbers(15, 1)), output: added })
        program.record('add', { first: added, output: state })
        await program.replay(4)
        const one = numbers(15, 1)
        const sums = [0, 0, 0].reduce((total) => total.map((v, i) => Math.fround(v + one[i])), Array.from(one))
        expectSameBits(await state.read(), Float32Array.from(sums), place)
      })
    })
  }

  it('of an MLP with 8 layers take 0.6 of their memory while it trains, 0.23 while it predicts', async () => {
    const [width, batch] = [256, 128]
    await on(cpu(), async (w) => {
      const model = mlp({ widths: Array(9).fill(width), density: 0.05 })
      const optimizer = sgd({ learningRate: 0.01 })
      const trainer = w.own(new Trainer(model, { optimizer, device: w.device }))
      await trainer.measures()
      const one = w.device.native.activationBytes(width, batch)
      const training = { optimizer, groups: optimizer.groups(namedParameters(model)) }
      const bytesOf = async (options: Pick<GraphOptions, 'loss' | 'training'>) => {
        const workspace = w.tensor('uint8', 0)
        const graph = w.own(new Graph({ device: w.device, model, batch, features: width, workspace, ...options }))
        await graph.program.replay(1)
        return workspace.native.bytes
      }
      // The batch, and what each of 8 layers gives.
      expect(await bytesOf({})).to.be.below(0.23 * 9 * one)
      // Besides, the gradient of each.
      expect(await bytesOf({ loss: 'crossEntropy', training })).to.be.below(0.6 * 17 * one)
    })
  })
})
