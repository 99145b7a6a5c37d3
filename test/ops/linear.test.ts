import type { Device } from '../../lib/device.js'
import { backward, forward, fullCsr, gradients, numericalGradient } from '../reference.js'
import { at, columnsOf, cpu, expectClose, expectNear, expectOnlyGoodOperands, numbers, on, onAnyThreads, places, Workspace } from '../support.js'

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

interface Layer {
  inputs: number
  outputs: number
  batch: number
}

function linear(
  device: Device,
  layer: Layer,
  weights: Float32Array,
  bias: Float32Array | undefined,
  x: Float32Array,
  activation?: string,
): Promise<Float32Array> {
  const { inputs, outputs, batch } = layer
  return on(device, async (w) => {
    const columns = x.length / inputs
    const output = w.batch(outputs, batch)
    const operands = { weights: w.floats(weights), bias: bias && w.floats(bias), input: w.batch(inputs, batch, x, 7.5), output, activation }
    await w.run([['linear', operands]], { batch, columns })
    return output.read(columns)
  })
}

function linearTransposed(
  device: Device,
  { inputs, outputs, batch }: Layer,
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
    }
    await w.run([['linearTransposed', operands]], { batch, columns })
    return inputGradient.read(columns)
  })
}

function linearGradient(
  device: Device,
  { inputs, outputs, batch }: Layer,
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
    }
    await w.run([['linearGradient', operands]], { batch, columns: x.length / inputs })
    return { values: await gradient.read(), bias: await biasGradient.read() }
  })
}

for (const place of places) {
  describe(`linear at ${place}`, () => {
    const device = at(place)
    for (const [outputs, inputs, batch] of shapes) {
      const layer = { inputs, outputs, batch }
      const csr = fullCsr(outputs, inputs)
      const name = `${outputs}x${inputs}, batch ${batch}`
      const weights = numbers(outputs * inputs, 1)
      const bias = numbers(outputs, 2)

      it(`linear is W x + b: ${name}`, async () => {
        for (const columns of columnsOf(batch)) {
          const x = numbers(columns * inputs, 3)
          for (const activation of [undefined, 'relu']) {
            for (const b of [undefined, bias]) {
              const what = `${columns} columns, ${activation}, ${b ? 'bias' : 'no bias'}`
              expectClose(await linear(device, layer, weights, b, x, activation), forward(csr, weights, b, x, columns, activation), what)
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
  })

  it('has the gradients that differences of the loss have', async () => {
    const layer = { inputs: 11, outputs: 6, batch: 19 }
    const csr = fullCsr(6, 11)
    const x = numbers(19 * 11, 4).map((v) => Math.max(0, v))
    const [weights, bias, g] = [numbers(66, 5), numbers(6, 6), numbers(19 * 6, 7)]
    const point = { x: Float64Array.from(x), weights: Float64Array.from(weights), bias: Float64Array.from(bias) }
    // The input went through relu: where it is 0, its gradient before relu is 0.
    const loss = () => forward(csr, point.weights, point.bias, point.x, 19).value.reduce((sum, y, i) => sum + g[i] * y + y ** 2 / 2, 0)
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
