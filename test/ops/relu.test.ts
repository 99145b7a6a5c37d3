import { expect } from 'chai'
import type { Device } from '../../lib/device.js'
import { numericalGradient } from '../reference.js'
import {
  columnsOf,
  cpu,
  everywhere,
  expectClose,
  expectNear,
  expectOnlyGoodOperands,
  numbers,
  on,
  onAnyThreads,
  Workspace,
} from '../support.js'

function relu(device: Device, features: number, batch: number, x: Float32Array): Promise<Float32Array> {
  return on(device, async (w) => {
    const output = w.batch(features, batch)
    await w.run([['relu', { input: w.batch(features, batch, x, 7.5), output }]], {
      batch,
      columns: x.length / features,
    })
    return output.read(x.length / features)
  })
}

function reluGradient(
  device: Device,
  features: number,
  batch: number,
  y: Float32Array,
  dy: Float32Array,
  initial?: Float32Array,
): Promise<Float32Array> {
  return on(device, async (w) => {
    const inputGradient = w.batch(features, batch, initial)
    const operands = {
      output: w.batch(features, batch, y, 7.5),
      outputGradient: w.batch(features, batch, dy),
      inputGradient,
      accumulate: initial !== undefined,
    }
    await w.run([['reluGradient', operands]], { batch, columns: y.length / features })
    return inputGradient.read(y.length / features)
  })
}

describe('relu', () => {
  for (const [features, batch] of [
    [1, 1],
    [61, 5],
    [37, 17],
    [3, 128],
    [19, 129],
    [37, 300],
  ]) {
    it(`is max(x, 0), and so is its gradient's mask: ${features} features, batch ${batch}`, async () => {
      for (const columns of columnsOf(batch)) {
        const x = numbers(columns * features, 1)
        const dy = numbers(columns * features, 2)
        const initial = numbers(columns * features, 3)
        const y = await everywhere((device) => relu(device, features, batch, x))
        expect([...y], `${columns} columns`).to.deep.equal([...x.map((v) => Math.max(v, 0))])
        const dx = await everywhere((device) => reluGradient(device, features, batch, y, dy))
        expect([...dx], `${columns} columns`).to.deep.equal([...dy.map((g, i) => (x[i] > 0 ? g : 0))])
        const added = await everywhere((device) => reluGradient(device, features, batch, y, dy, initial))
        const value = Float64Array.from(dx, (g, i) => g + initial[i])
        expectClose(added, { value, magnitude: value.map(Math.abs) }, 'accumulated', 1e-7)
      }
    })
  }

  it('gives the same bits on any number of threads', async () => {
    const x = numbers(300 * 700, 1)
    await onAnyThreads((device) => relu(device, 700, 300, x))
    await onAnyThreads((device) => reluGradient(device, 700, 300, x, x, x))
  })

  it('has no gradient at 0 and lets NaN through', async () => {
    const x = Float32Array.of(0, -0, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 1e-45)
    const y = await everywhere((device) => relu(device, 6, 1, x))
    expect([...y].map((v) => v + 0)).to.deep.equal([0, 0, Number.NaN, Number.POSITIVE_INFINITY, 0, x[5]])
    const dx = await reluGradient(cpu(), 6, 1, y, new Float32Array(6).fill(3))
    expect([...dx]).to.deep.equal([0, 0, 0, 3, 0, 3])
  })

  it('works in place', async () => {
    await on(cpu(), async (w) => {
      const x = numbers(40 * 7, 4)
      const batch = w.batch(7, 40, x)
      await w.run([['relu', { input: batch, output: batch }]], { batch: 40 })
      expect([...(await batch.read())]).to.deep.equal([...x.map((v) => Math.max(v, 0))])
    })
  })

  it('has the gradient that differences of the loss have', async () => {
    const x = numbers(90, 5)
    const point = Float64Array.from(x)
    const loss = () => point.reduce((sum, v) => sum + Math.sin(Math.max(0, v)), 0)
    const y = await relu(cpu(), 9, 10, x)
    const dx = await reluGradient(
      cpu(),
      9,
      10,
      y,
      y.map((v) => Math.cos(v)),
    )
    expectNear(dx, numericalGradient(loss, point), 'relu', 1e-6)
  })

  it('refuses operands that do not fit, and works afterwards', async () => {
    await on(cpu(), async (w) => {
      const program = w.program({ batch: 8 })
      const input = w.batch(6, 8, numbers(48, 6))
      const output = w.batch(6, 8)
      const other = w.own(new Workspace(cpu(2)))
      const gone = w.batch(6, 8)
      gone.dispose()
      await expectOnlyGoodOperands(
        program,
        'relu',
        { input, output },
        {
          'other features': [{ output: w.batch(5, 8) }, 'INVALID_ARGUMENT'],
          'another capacity': [{ output: w.batch(6, 9) }, 'INVALID_ARGUMENT'],
          'no output': [{ output: undefined }, 'INVALID_ARGUMENT'],
          'a batch of another device': [{ output: other.batch(6, 8) }, 'INVALID_ARGUMENT'],
          'a disposed batch': [{ input: gone }, 'DISPOSED'],
        },
      )
      await expectOnlyGoodOperands(
        program,
        'reluGradient',
        { output, outputGradient: input, inputGradient: w.batch(6, 8) },
        {
          'other features': [{ outputGradient: w.batch(5, 8) }, 'INVALID_ARGUMENT'],
          'another capacity': [{ inputGradient: w.batch(6, 7) }, 'INVALID_ARGUMENT'],
        },
      )
      await program.replay(1)
      expect([...(await output.read())]).to.deep.equal([...numbers(48, 6).map((v) => Math.max(v, 0))])
    })
  })
})
