import { expect } from 'chai'
import type { Device } from '../../lib/device.js'
import { numericalGradient } from '../reference.js'
import { columnsOf, cpu, everywhere, expectClose, expectNear, numbers, on, onAnyThreads } from '../support.js'

function tanh(device: Device, features: number, batch: number, x: Float32Array): Promise<Float32Array> {
  return on(device, async (w) => {
    const output = w.batch(features, batch)
    const columns = x.length / features
    await w.run([['tanh', { input: w.batch(features, batch, x, 7.5), output }]], { batch, columns })
    return output.read(columns)
  })
}

function tanhGradient(
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
    const columns = y.length / features
    await w.run([['tanhGradient', operands]], { batch, columns })
    return inputGradient.read(columns)
  })
}

const exactly = (value: Float64Array) => ({ value, magnitude: value.map(Math.abs) })

describe('tanh', () => {
  for (const [features, batch] of [
    [1, 1],
    [61, 5],
    [37, 17],
    [3, 128],
    [19, 129],
    [37, 300],
  ] as const) {
    it(`is that of double precision, and so is its gradient: ${features} features, batch ${batch}`, async () => {
      for (const columns of columnsOf(batch)) {
        const x = numbers(columns * features, 1, -6, 6)
        const dy = numbers(columns * features, 2)
        const initial = numbers(columns * features, 3)
        const y = await everywhere((device) => tanh(device, features, batch, x))
        expectClose(y, exactly(Float64Array.from(x, Math.tanh)), `${columns} columns`, 1e-6)
        const dx = await everywhere((device) => tanhGradient(device, features, batch, y, dy))
        const derivative = Float64Array.from(y, (v, i) => (1 - v * v) * dy[i])
        const magnitude = Float64Array.from(dy, Math.abs)
        expectClose(dx, { value: derivative, magnitude }, `${columns} columns`, 2e-7)
        const added = await everywhere((device) => tanhGradient(device, features, batch, y, dy, initial))
        const value = Float64Array.from(dx, (g, i) => g + initial[i])
        expectClose(added, exactly(value), 'accumulated', 1e-7)
      }
    })
  }

  it('is right where numbers are small, large, infinite or none', async () => {
    const x = Float32Array.of(0, 1e-30, -1e-6, 1e-3, 20, -20, 1e30, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY)
    const y = await everywhere((device) => tanh(device, x.length, 1, x))
    expectClose(y, exactly(Float64Array.from(x, Math.tanh)), 'tanh', 1e-6)
    const none = await everywhere((device) => tanh(device, 1, 1, Float32Array.of(Number.NaN)))
    expect([...none]).to.deep.equal([Number.NaN])
  })

  it('gives the same bits on any number of threads', async () => {
    const x = numbers(300 * 700, 1)
    await onAnyThreads((device) => tanh(device, 700, 300, x))
    await onAnyThreads((device) => tanhGradient(device, 700, 300, x, x, x))
  })

  it('works in place', async () => {
    await on(cpu(), async (w) => {
      const x = numbers(40 * 7, 4)
      const batch = w.batch(7, 40, x)
      await w.run([['tanh', { input: batch, output: batch }]], { batch: 40 })
      expectClose(await batch.read(), exactly(Float64Array.from(x, Math.tanh)), 'in place', 1e-6)
    })
  })

  it('has the gradient that differences of the loss have', async () => {
    const x = numbers(90, 5)
    const point = Float64Array.from(x)
    const loss = () => point.reduce((sum, v) => sum + Math.sin(Math.tanh(v)), 0)
    const y = await tanh(cpu(), 9, 10, x)
    const dx = await tanhGradient(cpu(), 9, 10, y, y.map(Math.cos))
    expectNear(dx, numericalGradient(loss, point), 'tanh', 1e-6)
  })
})
