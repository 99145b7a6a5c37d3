import { expect } from 'chai'
import type { Device } from '../../lib/device.js'
import { backward, forward, fullCsr, gradients, numericalGradient } from '../reference.js'
import {
  at,
  columnsOf,
  cpu,
  expectClose,
  expectNear,
  expectOnlyGoodOperands,
  expectSameBits,
  gpu,
  numbers,
  on,
  onAnyThreads,
  places,
  sanitized,
  Workspace,
} from '../support.js'

const hasGpu = places.includes('cuda')

// A dense layer is a sparse one with all its links: the references are the same.

/** [outputs, inputs, batch] */
const shapes = [
  [1, 1, 1],
  [10, 37, 5],
  [4, 3, 17],
  [11, 64, 33],
  [5, 1, 48],
  [1, 5, 128],
  [26, 19, 129],
  [13, 30, 200],
  [10, 61, 300],
] as const

/**
 * Layers of at least 64 x 64, which a GPU may give to its tensor cores: whole tiles, remainders of tiles and of
 * vectors, several panels.
 */
const largeShapes = [
  [64, 64, 64],
  [67, 65, 1],
  [64, 131, 20],
  [129, 68, 150],
  [331, 70, 40],
] as const

interface Layer {
  inputs: number
  outputs: number
  batch: number
  /** How a GPU multiplies. */
  product?: 'auto' | 'fma' | 'tensorCores'
}

function linear(
  device: Device,
  layer: Layer,
  weights: Float32Array,
  bias: Float32Array | undefined,
  x: Float32Array,
  activation?: string,
): Promise<Float32Array> {
  const { inputs, outputs, batch, product } = layer
  return on(device, async (w) => {
    const columns = x.length / inputs
    const output = w.batch(outputs, batch)
    const operands = {
      weights: w.floats(weights),
      bias: bias && w.floats(bias),
      input: w.batch(inputs, batch, x, 7.5),
      output,
      activation,
      product,
    }
    await w.run([['linear', operands]], { batch, columns })
    return output.read(columns)
  })
}

function linearTransposed(
  device: Device,
  { inputs, outputs, batch, product }: Layer,
  weights: Float32Array,
  dy: Float32Array,
  { input, initial }: { input?: Float32Array | undefined; initial?: Float32Array | undefined } = {},
): Promise<Float32Array> {
  return on(device, async (w) => {
    const columns = dy.length / outputs
    const inputGradient = w.batch(inputs, batch, initial)
    const operands = {
      weights: w.floats(weights),
      outputGradient: w.batch(outputs, batch, dy),
      inputGradient,
      input: input && w.batch(inputs, batch, input, 7.5),
      activation: input && 'relu',
      accumulate: initial !== undefined,
      product,
    }
    await w.run([['linearTransposed', operands]], { batch, columns })
    return inputGradient.read(columns)
  })
}

function linearGradient(
  device: Device,
  { inputs, outputs, batch, product }: Layer,
  dy: Float32Array,
  x: Float32Array,
  initial?: { values?: Float32Array; bias?: Float32Array },
): Promise<{ values: Float32Array; bias: Float32Array }> {
  return on(device, async (w) => {
    const gradient = w.floats(initial?.values ?? new Float32Array(inputs * outputs).fill(Number.NaN))
    const biasGradient = w.floats(initial?.bias ?? new Float32Array(outputs).fill(Number.NaN))
    const operands = {
      outputGradient: w.batch(outputs, batch, dy),
      input: w.batch(inputs, batch, x, 7.5),
      gradient,
      biasGradient,
      accumulate: initial?.values !== undefined,
      accumulateBias: initial?.bias !== undefined,
      product,
    }
    await w.run([['linearGradient', operands]], { batch, columns: x.length / inputs })
    return { values: await gradient.read(), bias: await biasGradient.read() }
  })
}

for (const place of places) {
  describe(`linear at ${place}`, () => {
    const device = at(place)
    // The CPU multiplies in one way; on a GPU, tensor cores are given small layers too.
    const products = place === 'cuda' ? (['fma', 'tensorCores'] as const) : ([undefined] as const)
    const cases = products.flatMap((product) => [...shapes, ...largeShapes].map((shape) => ({ product, shape })))
    for (const { product, shape } of cases) {
      const [outputs, inputs, batch] = shape
      if (sanitized && product === 'tensorCores' && outputs > 300) continue
      const layer = { inputs, outputs, batch, ...(product && { product }) }
      const csr = fullCsr(outputs, inputs)
      const name = `${outputs}x${inputs}, batch ${batch}${product ? `, ${product}` : ''}`
      const weights = numbers(outputs * inputs, 1)
      const bias = numbers(outputs, 2)

      it(`linear is W x + b: ${name}`, async () => {
        for (const columns of columnsOf(batch)) {
          const x = numbers(columns * inputs, 3)
          for (const activation of [undefined, 'relu']) {
            for (const b of [undefined, bias]) {
              const what = `${columns} columns, ${activation}, ${b ? 'bias' : 'no bias'}`
              expectClose(
                await linear(device, layer, weights, b, x, activation),
                forward(csr, weights, b, x, columns, activation),
                what,
              )
            }
          }
        }
      })

      it(`linearTransposed is W^T dy: ${name}`, async () => {
        for (const columns of columnsOf(batch)) {
          const dy = numbers(columns * outputs, 4)
          for (const input of [undefined, numbers(columns * inputs, 5).map((v) => Math.max(0, v))]) {
            for (const initial of [undefined, numbers(columns * inputs, 6)]) {
              const what = `${columns} columns, ${input ? 'relu' : 'none'}, ${initial ? 'accumulated' : 'written'}`
              const actual = await linearTransposed(device, layer, weights, dy, { input, initial })
              expectClose(actual, backward(csr, weights, dy, columns, { input, initial }), what)
            }
          }
        }
      })

      it(`linearGradient is dy x^T: ${name}`, async () => {
        for (const columns of columnsOf(batch)) {
          const dy = numbers(columns * outputs, 7)
          const x = numbers(columns * inputs, 8)
          const [values, bias] = [numbers(outputs * inputs, 9), numbers(outputs, 10)]
          for (const initial of [undefined, { values, bias }, { values }, { bias }]) {
            const actual = await linearGradient(device, layer, dy, x, initial)
            const expected = gradients(csr, dy, x, columns, initial)
            expectClose(actual.values, expected.values, `values, ${columns} columns`)
            expectClose(actual.bias, expected.bias, `bias, ${columns} columns`)
          }
        }
      })
    }
  })
}

describe('linear', () => {
  it('gives the same bits on any number of threads', async () => {
    const layer = { inputs: 150, outputs: 47, batch: 300 }
    const weights = numbers(150 * 47, 1)
    const x = numbers(300 * 150, 2)
    const dy = numbers(300 * 47, 3)
    await onAnyThreads((device) => linear(device, layer, weights, undefined, x, 'relu'))
    await onAnyThreads((device) => linearTransposed(device, layer, weights, dy, { input: x, initial: x }))
    await onAnyThreads((device) => linearGradient(device, layer, dy, x))
    if (!hasGpu) return
    await onAnyThreads((device) => linear(device, { ...layer, product: 'tensorCores' }, weights, undefined, x, 'relu'))
    await onAnyThreads((device) => linearGradient(device, { ...layer, product: 'tensorCores' }, dy, x))
  })

  it('is as precise in tensor cores as in fp32, where nothing cancels and where sums are long', async function () {
    if (!hasGpu) this.skip()
    this.timeout(60_000)
    // Numbers of one sign: a sum that is cut off and not rounded comes out too small.
    for (const [outputs, inputs, batch] of [
      [64, 2000, 16],
      [70, 300, 64],
    ] as const) {
      const layer = { inputs, outputs, batch, product: 'tensorCores' } as const
      const csr = fullCsr(outputs, inputs)
      const weights = numbers(outputs * inputs, 1, 0.5, 1)
      const x = numbers(batch * inputs, 2, 0.5, 1)
      const dy = numbers(batch * outputs, 3, 0.5, 1)
      expectClose(
        await linear(gpu(), layer, weights, undefined, x),
        forward(csr, weights, undefined, x, batch),
        'linear',
        1e-6,
      )
      expectClose(
        await linearTransposed(gpu(), layer, weights, dy),
        backward(csr, weights, dy, batch),
        'linearTransposed',
        1e-6,
      )
      expectClose(
        (await linearGradient(gpu(), layer, dy, x)).values,
        gradients(csr, dy, x, batch).values,
        'linearGradient',
        1e-6,
      )
    }
    // Of very different sizes, and where one tf32 number would lose three digits.
    const layer = { inputs: 64, outputs: 64, batch: 16, product: 'tensorCores' } as const
    const weights = numbers(64 * 64, 4).map((v, i) => v * 10 ** ((i % 7) - 3))
    const x = numbers(16 * 64, 5).map((v, i) => v * 10 ** ((i % 5) - 2))
    expectClose(
      await linear(gpu(), layer, weights, undefined, x),
      forward(fullCsr(64, 64), weights, undefined, x, 16),
      'sizes',
      1e-6,
    )
  })

  it('takes tensor cores for layers of 64 x 64 and more, whatever the batch, and lets NaN through', async function () {
    if (!hasGpu) this.skip()
    const bits = (layer: Layer, weights: Float32Array, x: Float32Array) => linear(gpu(), layer, weights, undefined, x)
    for (const [outputs, inputs, product] of [
      [64, 64, 'tensorCores'],
      [63, 64, 'fma'],
      [64, 63, 'fma'],
    ] as const) {
      const weights = numbers(outputs * inputs, 1)
      const x = numbers(70 * inputs, 2)
      const layer = { inputs, outputs, batch: 70 }
      const all = await bits(layer, weights, x)
      expectSameBits(all, await bits({ ...layer, product }, weights, x), `${outputs}x${inputs}`)
      // A column's result is that of a batch of its own.
      expectSameBits(
        all.slice(66 * outputs, 67 * outputs),
        await bits({ ...layer, batch: 1 }, weights, x.slice(66 * inputs, 67 * inputs)),
        'one column',
      )
    }
    const x = numbers(64 * 64, 3)
    x[5] = Number.NaN
    x[64 + 7] = Number.POSITIVE_INFINITY
    const y = await bits({ inputs: 64, outputs: 64, batch: 64 }, numbers(64 * 64, 1), x)
    for (let i = 0; i < y.length; ++i) expect(Number.isFinite(y[i]), `element ${i}`).to.equal(i >= 128)
  })

  it('has the gradients that differences of the loss have', async () => {
    const layer = { inputs: 11, outputs: 6, batch: 19 }
    const csr = fullCsr(6, 11)
    const x = numbers(19 * 11, 4).map((v) => Math.max(0, v))
    const [weights, bias, g] = [numbers(66, 5), numbers(6, 6), numbers(19 * 6, 7)]
    const point = { x: Float64Array.from(x), weights: Float64Array.from(weights), bias: Float64Array.from(bias) }
    // The input went through relu: where it is 0, its gradient before relu is 0.
    const loss = () =>
      forward(csr, point.weights, point.bias, point.x, 19).value.reduce((sum, y, i) => sum + g[i] * y + y ** 2 / 2, 0)
    const dy = Float32Array.from(forward(csr, weights, bias, x, 19).value, (y, i) => g[i] + y)
    const actual = await linearGradient(cpu(), layer, dy, x)
    expectNear(actual.values, numericalGradient(loss, point.weights), 'weights', 1e-5)
    expectNear(actual.bias, numericalGradient(loss, point.bias), 'bias', 1e-5)
    const dx = numericalGradient(loss, point.x)
    expectNear(await linearTransposed(cpu(), layer, weights, dy), dx, 'input', 1e-5)
    const throughRelu = dx.map((v, i) => (x[i] > 0 ? v : 0))
    expectNear(await linearTransposed(cpu(), layer, weights, dy, { input: x }), throughRelu, 'input before relu', 1e-5)
  })

  it('refuses operands that do not fit, and works afterwards', async () => {
    await on(cpu(), async (w) => {
      const program = w.program({ batch: 8 })
      const [x, weights] = [numbers(8 * 6, 1), numbers(30, 2)]
      const [input, output, buffer] = [w.batch(6, 8, x), w.batch(5, 8), w.floats(weights)]
      const other = w.own(new Workspace(cpu(2)))
      const gone = w.floats(30)
      gone.dispose()
      await expectOnlyGoodOperands(
        program,
        'linear',
        { weights: buffer, bias: w.floats(5), input, output },
        {
          'too few weights': [{ weights: w.floats(29) }, 'INVALID_ARGUMENT'],
          'a short bias': [{ bias: w.floats(4) }, 'INVALID_ARGUMENT'],
          'another capacity': [{ output: w.batch(5, 9) }, 'INVALID_ARGUMENT'],
          'more inputs than weights': [{ input: w.batch(7, 8) }, 'INVALID_ARGUMENT'],
          'an unknown activation': [{ activation: 'gelu' }, 'INVALID_ARGUMENT'],
          'an unknown product': [{ product: 'cublas' }, 'INVALID_ARGUMENT'],
          'weights of another device': [{ weights: other.floats(30) }, 'INVALID_ARGUMENT'],
          'disposed weights': [{ weights: gone }, 'DISPOSED'],
        },
      )
      await expectOnlyGoodOperands(
        program,
        'linearTransposed',
        { weights: buffer, outputGradient: output, inputGradient: w.batch(6, 8) },
        {
          'too few weights': [{ weights: w.floats(29) }, 'INVALID_ARGUMENT'],
          'another capacity': [{ outputGradient: w.batch(5, 9) }, 'INVALID_ARGUMENT'],
          'no input for relu': [{ activation: 'relu' }, 'INVALID_ARGUMENT'],
          'another input': [{ activation: 'relu', input: w.batch(5, 8) }, 'INVALID_ARGUMENT'],
        },
      )
      await expectOnlyGoodOperands(
        program,
        'linearGradient',
        { outputGradient: output, input, gradient: w.floats(30), biasGradient: w.floats(5) },
        {
          'a small gradient': [{ gradient: w.floats(29) }, 'INVALID_ARGUMENT'],
          'a small bias gradient': [{ biasGradient: w.floats(4) }, 'INVALID_ARGUMENT'],
          'another capacity': [{ input: w.batch(6, 9) }, 'INVALID_ARGUMENT'],
        },
      )
      await program.replay(1)
      expectClose(await output.read(), forward(fullCsr(5, 6), weights, undefined, x, 8), 'the good one')
    })
  })
})

describe('linearGradient and sgd', () => {
  const sizes = [
    { outputs: 1, inputs: 1, batch: 1, columns: 1 },
    { outputs: 10, inputs: 61, batch: 33, columns: 33 },
    { outputs: 7, inputs: 130, batch: 300, columns: 300 },
    { outputs: 329, inputs: 67, batch: 300, columns: 50 },
  ]
  const rules = [{}, { weightDecay: 0.1 }, { momentum: 0.9 }, { momentum: 0.9, weightDecay: 0.1 }]

  /**
   * What three steps leave of weights, bias and their velocities, with nothing or something else that reads the
   * gradients.
   */
  const trained = (
    device: Device,
    { outputs, inputs, batch, columns }: (typeof sizes)[number],
    rule: { momentum?: number; weightDecay?: number },
    fused: boolean,
  ) =>
    on(device, async (w) => {
      const count = outputs * inputs
      const program = w.program({ batch, scalars: 1 })
      const [gradient, biasGradient] = [w.floats(count), w.floats(outputs)]
      const [values, bias] = [w.floats(numbers(count, 3)), w.floats(numbers(outputs, 5))]
      const [velocity, biasVelocity] = rule.momentum ? [w.floats(numbers(count, 4)), w.floats(numbers(outputs, 6))] : []
      const batches = {
        outputGradient: w.batch(outputs, batch, numbers(columns * outputs, 1)),
        input: w.batch(inputs, batch, numbers(columns * inputs, 2)),
      }
      program.record('linearGradient', { ...batches, gradient, biasGradient })
      if (!fused) {
        program.record('sgd', { count, values: w.floats(count), gradient, learningRate: 0 })
        program.record('sgd', { count: outputs, values: w.floats(outputs), gradient: biasGradient, learningRate: 0 })
      }
      program.record('sgd', { count, values, gradient, velocity, learningRate: 0, ...rule })
      program.record('sgd', {
        count: outputs,
        values: bias,
        gradient: biasGradient,
        velocity: biasVelocity,
        learningRate: 0,
        ...rule,
      })
      await program.replay(3, { begin: { scalars: [0.05, 0.02, 0.01], columns } })
      expect(program.operationCount).to.equal(fused ? 2 : 6)
      return Promise.all([values, bias, velocity, biasVelocity].map((tensor) => tensor?.read()))
    })

  for (const size of sizes) {
    it(`give the same bits fused and not, everywhere and on any threads: ${JSON.stringify(size)}`, async () => {
      for (const device of [...places.map((place) => at(place)), cpu(3)]) {
        for (const rule of rules) {
          const where = `${device.info.simd}, ${device.info.threads} threads, ${JSON.stringify(rule)}`
          expectSameBits(await trained(device, size, rule, true), await trained(device, size, rule, false), where)
        }
      }
    })
  }

  it('compute the step of PyTorch when fused', async () => {
    const [size, rule] = [sizes[1], { momentum: 0.9, weightDecay: 0.1 }]
    const { outputs, inputs, batch, columns } = size
    const [values, bias] = await trained(cpu(), size, rule, true)
    const g = gradients(fullCsr(outputs, inputs), numbers(columns * outputs, 1), numbers(columns * inputs, 2), batch)
    for (const [of, actual, from, velocity] of [
      [g.values.value, values, numbers(outputs * inputs, 3), numbers(outputs * inputs, 4)],
      [g.bias.value, bias, numbers(outputs, 5), numbers(outputs, 6)],
    ] as const) {
      const [w, m] = [Array.from(from), Array.from(velocity)]
      for (const rate of [0.05, 0.02, 0.01]) {
        for (let i = 0; i < w.length; ++i) {
          m[i] = 0.9 * m[i] + of[i] + 0.1 * w[i]
          w[i] -= rate * m[i]
        }
      }
      expectNear(actual as Float32Array, w, 'after three steps', 1e-5)
    }
  })
})
