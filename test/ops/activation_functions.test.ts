import { expect } from 'chai'
import type { Device } from '../../lib/device.js'
import { normalDistribution, numericalGradient } from '../reference.js'
import {
  at,
  columnsOf,
  cpu,
  everywhere,
  expectClose,
  expectNear,
  expectOnlyGoodOperands,
  numbers,
  on,
  onAnyThreads,
  places,
  sizes,
  Workspace,
} from '../support.js'

interface Case {
  /** In double precision. */
  f(x: number): number
  /** Its derivative, from the function's output or from its input. */
  derivative(at: number): number
  gradientAt: 'output' | 'input'
  /** Of the function, relative to f(x), or, where numbers cancel, to x. */
  tolerance: number
}

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x))
const density = (x: number) => Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI)
const cases: Record<string, Case> = {
  relu: { f: (x) => Math.max(0, x), derivative: (y) => (y > 0 ? 1 : 0), gradientAt: 'output', tolerance: 0 },
  tanh: { f: Math.tanh, derivative: (y) => 1 - y * y, gradientAt: 'output', tolerance: 1e-6 },
  sigmoid: { f: sigmoid, derivative: (y) => y * (1 - y), gradientAt: 'output', tolerance: 1e-6 },
  silu: {
    f: (x) => x * sigmoid(x),
    derivative: (x) => sigmoid(x) + x * sigmoid(x) * sigmoid(-x),
    gradientAt: 'input',
    tolerance: 1e-6,
  },
  gelu: {
    f: (x) => x * normalDistribution(x),
    derivative: (x) => normalDistribution(x) + x * density(x),
    gradientAt: 'input',
    tolerance: 5e-6,
  },
}

function apply(name: string, device: Device, features: number, batch: number, x: Float32Array): Promise<Float32Array> {
  return on(device, async (w) => {
    const output = w.batch(features, batch)
    const columns = x.length / features
    await w.run([[name, { input: w.batch(features, batch, x, 7.5), output }]], { batch, columns })
    return output.read(columns)
  })
}

function gradient(
  name: string,
  device: Device,
  features: number,
  batch: number,
  at: Float32Array,
  dy: Float32Array,
  initial?: Float32Array,
): Promise<Float32Array> {
  return on(device, async (w) => {
    const inputGradient = w.batch(features, batch, initial)
    const operands = {
      [cases[name].gradientAt]: w.batch(features, batch, at, 7.5),
      outputGradient: w.batch(features, batch, dy),
      inputGradient,
      accumulate: initial !== undefined,
    }
    const columns = at.length / features
    await w.run([[`${name}Gradient`, operands]], { batch, columns })
    return inputGradient.read(columns)
  })
}

const exactly = (value: Float64Array) => ({ value, magnitude: value.map(Math.abs) })

for (const [name, { f, derivative, gradientAt, tolerance }] of Object.entries(cases)) {
  describe(name, () => {
    for (const [features, batch] of sizes) {
      it(`is that of double precision, and so is its gradient: ${features} features, batch ${batch}`, async () => {
        for (const columns of columnsOf(batch)) {
          const x = numbers(columns * features, 1, -6, 6)
          const dy = numbers(columns * features, 2)
          const initial = numbers(columns * features, 3)
          const y = await everywhere((device) => apply(name, device, features, batch, x))
          expectClose(y, exactly(Float64Array.from(x, f)), `${columns} columns`, tolerance)
          const at = gradientAt === 'output' ? y : x
          const dx = await everywhere((device) => gradient(name, device, features, batch, at, dy))
          const value = Float64Array.from(at, (v, i) => derivative(v) * dy[i])
          expectClose(dx, { value, magnitude: Float64Array.from(dy, Math.abs) }, `${columns} columns`, 1e-6)
          const added = await everywhere((device) => gradient(name, device, features, batch, at, dy, initial))
          expectClose(added, exactly(Float64Array.from(dx, (g, i) => g + initial[i])), 'accumulated', 1e-7)
        }
      })
    }

    it('is right where numbers are small or large, and lets NaN through', async () => {
      const x = Float32Array.of(0, -0, 1e-30, -1e-6, 1e-3, -1e-3, 9, -9, 20, -20, 80, -80, 1e30)
      const y = await everywhere((device) => apply(name, device, x.length, 1, x))
      const expected = Float64Array.from(x, f)
      const magnitude = expected.map((v) => (name === 'gelu' ? Math.max(Math.abs(v), 1e-12) : Math.abs(v)))
      expectClose(y, { value: expected, magnitude }, name, Math.max(tolerance, 2e-7))
      // A GPU's NaN has other bits than a CPU's.
      for (const place of places)
        expect([...(await apply(name, at(place), 1, 1, Float32Array.of(Number.NaN)))]).to.deep.equal([Number.NaN])
      const dx = await gradient(
        name,
        cpu(),
        x.length,
        1,
        gradientAt === 'output' ? y : x,
        new Float32Array(x.length).fill(1),
      )
      expect(dx.every(Number.isFinite)).to.equal(true)
    })

    it('gives the same bits on any number of threads', async () => {
      const x = numbers(300 * 700, 1)
      await onAnyThreads((device) => apply(name, device, 700, 300, x))
      await onAnyThreads((device) => gradient(name, device, 700, 300, x, x, x))
    })

    it('works in place', async () => {
      await on(cpu(), async (w) => {
        const x = numbers(40 * 7, 4)
        const expected = await apply(name, cpu(), 7, 40, x)
        const batch = w.batch(7, 40, x)
        await w.run([[name, { input: batch, output: batch }]], { batch: 40 })
        expect([...(await batch.read())]).to.deep.equal([...expected])
      })
    })

    it('has the gradient that differences of the loss have', async () => {
      const x = numbers(90, 5)
      const point = Float64Array.from(x)
      const loss = () => point.reduce((sum, v) => sum + Math.sin(f(v)), 0)
      const y = await apply(name, cpu(), 9, 10, x)
      const dx = await gradient(name, cpu(), 9, 10, gradientAt === 'output' ? y : x, y.map(Math.cos))
      expectNear(dx, numericalGradient(loss, point), name, 2e-6)
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
          name,
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
          `${name}Gradient`,
          { [gradientAt]: output, outputGradient: input, inputGradient: w.batch(6, 8) },
          {
            'other features': [{ outputGradient: w.batch(5, 8) }, 'INVALID_ARGUMENT'],
            'another capacity': [{ inputGradient: w.batch(6, 7) }, 'INVALID_ARGUMENT'],
          },
        )
        await program.replay(1)
        expect([...(await output.read())]).to.deep.equal([...(await apply(name, cpu(), 6, 8, numbers(48, 6)))])
      })
    })
  })
}

describe('relu', () => {
  it('has no gradient at 0, and keeps infinity', async () => {
    const x = Float32Array.of(0, -0, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 1e-45)
    const y = await apply('relu', cpu(), 6, 1, x)
    expect([...y].map((v) => v + 0)).to.deep.equal([0, 0, Number.NaN, Number.POSITIVE_INFINITY, 0, x[5]])
    const dx = await gradient('relu', cpu(), 6, 1, y, new Float32Array(6).fill(3))
    expect([...dx]).to.deep.equal([0, 0, 0, 3, 0, 3])
  })
})
