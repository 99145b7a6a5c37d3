import { expect } from 'chai'
import type { Device } from '../../lib/device.js'
import { numericalGradient } from '../reference.js'
import {
  at,
  columnsOf,
  cpu,
  expectNear,
  expectOnlyGoodOperands,
  numbers,
  on,
  onAnyThreads,
  places,
} from '../support.js'

const EPSILON = 1e-3

/** In double precision, [columns][features]; without a bias, by the root mean square. */
function reference(
  x: ArrayLike<number>,
  gain: ArrayLike<number>,
  bias: ArrayLike<number> | undefined,
  features: number,
) {
  const columns = x.length / features
  const y = new Float64Array(x.length)
  for (let c = 0; c < columns; ++c) {
    const column = Array.from({ length: features }, (_, f) => x[c * features + f])
    const mean = bias ? column.reduce((sum, v) => sum + v, 0) / features : 0
    const variance = column.reduce((sum, v) => sum + (v - mean) ** 2, 0) / features
    column.forEach((v, f) => {
      y[c * features + f] = ((v - mean) / Math.sqrt(variance + EPSILON)) * gain[f] + (bias?.[f] ?? 0)
    })
  }
  return y
}

/** The gradients of sum(y dy), in double precision. */
function gradientsOf(
  x: ArrayLike<number>,
  dy: ArrayLike<number>,
  gain: ArrayLike<number>,
  features: number,
  rms = false,
) {
  const columns = x.length / features
  const [dx, ofGain, ofBias] = [x.length, features, features].map((n) => new Float64Array(n))
  for (let c = 0; c < columns; ++c) {
    const over = (of: (i: number, f: number) => number) => {
      let sum = 0
      for (let f = 0; f < features; ++f) sum += of(c * features + f, f)
      return sum / features
    }
    const mean = rms ? 0 : over((i) => x[i])
    const scale = 1 / Math.sqrt(over((i) => (x[i] - mean) ** 2) + EPSILON)
    const normal = (i: number) => (x[i] - mean) * scale
    const ofGradient = rms ? 0 : over((i, f) => dy[i] * gain[f])
    const ofProduct = over((i, f) => dy[i] * gain[f] * normal(i))
    for (let f = 0; f < features; ++f) {
      const i = c * features + f
      dx[i] = scale * (dy[i] * gain[f] - ofGradient - normal(i) * ofProduct)
      ofGain[f] += dy[i] * normal(i)
      ofBias[f] += dy[i]
    }
  }
  return { dx, gain: ofGain, bias: ofBias }
}

interface Result {
  y: Float32Array
  dx: Float32Array
  gain: Float32Array
  bias: Float32Array
}

/** Forward and backward; with `initial`, gradients are added to it. With `rms`, there is no bias. */
function layerNorm(
  device: Device,
  features: number,
  batch: number,
  x: Float32Array,
  dy: Float32Array,
  initial?: number,
  rms = false,
): Promise<Result> {
  return on(device, async (w) => {
    const columns = x.length / features
    const [input, output, statistics] = [w.batch(features, batch, x, 7.5), w.batch(features, batch), w.batch(2, batch)]
    const [gain, bias] = [w.floats(numbers(features, 3)), w.floats(numbers(features, 4))]
    const accumulate = initial !== undefined
    const all = (n: number) => new Float32Array(n).fill(initial ?? Number.NaN)
    const [gainGradient, biasGradient] = [w.floats(all(features)), w.floats(all(features))]
    const inputGradient = w.batch(features, batch, accumulate ? all(columns * features) : [])
    await w.run(
      [
        ['layerNorm', { input, output, gain, bias: rms ? undefined : bias, statistics, epsilon: EPSILON, rms }],
        [
          'layerNormGradient',
          {
            ...{ input, statistics, gain, outputGradient: w.batch(features, batch, dy), inputGradient },
            ...{ gainGradient, biasGradient, rms, accumulate, accumulateGain: accumulate, accumulateBias: accumulate },
          },
        ],
      ],
      { batch, columns },
    )
    const [y, dx] = [await output.read(columns), await inputGradient.read(columns)]
    return { y, dx, gain: await gainGradient.read(), bias: await biasGradient.read() }
  })
}

describe('layerNorm', () => {
  for (const place of places) {
    for (const [features, batch] of [
      [1, 1],
      [3, 5],
      [61, 17],
      [300, 33],
      [19, 129],
    ] as const) {
      it(`is that of double precision, and so are its gradients: ${features} x ${batch}, ${place}`, async () => {
        for (const columns of columnsOf(batch)) {
          const x = numbers(columns * features, 1, -2, 3)
          const dy = numbers(columns * features, 2)
          const [gain, bias] = [numbers(features, 3), numbers(features, 4)].map((v) => Float64Array.from(v))
          const expected = reference(x, gain, bias, features)
          const gradients = gradientsOf(x, dy, gain, features)
          const result = await layerNorm(at(place), features, batch, x, dy)
          expectNear(result.y, expected, 'output', 3e-6)
          // Of one feature, all is the mean.
          if (features > 1) expectNear(result.dx, gradients.dx, 'input', 5e-6)
          else expect(result.dx.every((g) => g === 0)).to.equal(true)
          if (features > 1) expectNear(result.gain, gradients.gain, 'gain', 5e-6)
          expectNear(result.bias, gradients.bias, 'bias', 2e-6)
          const added = await layerNorm(at(place), features, batch, x, dy, 0.5)
          for (const name of ['dx', 'gain', 'bias'] as const) {
            expectNear(
              added[name],
              Float64Array.from(result[name], (g) => g + 0.5),
              `${name}, added`,
              1e-6,
            )
          }
        }
      })
    }
  }

  for (const rms of [false, true]) {
    it(`has the gradients that differences have${rms ? ', by the root mean square' : ''}`, () => {
      const [x, dy] = [Float64Array.from(numbers(7 * 9, 1)), numbers(7 * 9, 2)]
      const [gain, bias] = [numbers(9, 3), numbers(9, 4)].map((v) => Float64Array.from(v))
      const loss = () => reference(x, gain, rms ? undefined : bias, 9).reduce((sum, v, i) => sum + v * dy[i], 0)
      const gradients = gradientsOf(x, dy, gain, 9, rms)
      expectNear(gradients.dx, numericalGradient(loss, x), 'input', 1e-7)
      expectNear(gradients.gain, numericalGradient(loss, gain), 'gain', 1e-7)
      if (!rms) expectNear(gradients.bias, numericalGradient(loss, bias), 'bias', 1e-7)
    })
  }

  for (const place of places) {
    it(`is, by the root mean square, that of double precision: ${place}`, async () => {
      for (const [features, batch] of [
        [1, 1],
        [61, 17],
        [300, 33],
      ] as const) {
        const [x, dy] = [numbers(batch * features, 1, -2, 3), numbers(batch * features, 2)]
        const gain = Float64Array.from(numbers(features, 3))
        const gradients = gradientsOf(x, dy, gain, features, true)
        const result = await layerNorm(at(place), features, batch, x, dy, undefined, true)
        expectNear(result.y, reference(x, gain, undefined, features), 'output', 3e-6)
        // Of one feature only epsilon is left.
        if (features > 1) expectNear(result.dx, gradients.dx, 'input', 5e-6)
        expectNear(result.gain, gradients.gain, 'gain', 5e-6)
      }
    })
  }

  it('gives the same bits on any number of threads', async () => {
    const [x, dy] = [numbers(300 * 70, 1), numbers(300 * 70, 2)]
    await onAnyThreads((device) => layerNorm(device, 70, 300, x, dy))
  })

  it('works in place, and without the gradients that nobody needs', async () => {
    const [x, dy] = [numbers(40 * 7, 1), numbers(40 * 7, 2)]
    const apart = await layerNorm(cpu(), 7, 40, x, dy)
    await on(cpu(), async (w) => {
      const [gain, bias] = [w.floats(numbers(7, 3)), w.floats(numbers(7, 4))]
      const [input, statistics, gradient] = [w.batch(7, 40, x), w.batch(2, 40), w.batch(7, 40, dy)]
      const output = w.batch(7, 40, x)
      await w.run(
        [
          ['layerNorm', { input: output, output, gain, bias, statistics, epsilon: EPSILON }],
          ['layerNormGradient', { input, statistics, gain, outputGradient: gradient, inputGradient: gradient }],
        ],
        { batch: 40 },
      )
      expect([...(await output.read())]).to.deep.equal([...apart.y])
      expect([...(await gradient.read())]).to.deep.equal([...apart.dx])
    })
  })

  it('refuses operands that do not fit', async () => {
    await on(cpu(), async (w) => {
      const program = w.program({ batch: 8 })
      const [gain, bias] = [w.floats(6), w.floats(6)]
      const good = { input: w.batch(6, 8), output: w.batch(6, 8), gain, bias, statistics: w.batch(2, 8) }
      await expectOnlyGoodOperands(program, 'layerNorm', good, {
        'other features': [{ output: w.batch(5, 8) }, 'INVALID_ARGUMENT'],
        'a short gain': [{ gain: w.floats(5) }, 'INVALID_ARGUMENT'],
        'statistics of another shape': [{ statistics: w.batch(1, 8) }, 'INVALID_ARGUMENT'],
        'epsilon 0': [{ epsilon: 0 }, 'INVALID_ARGUMENT'],
      })
      const { input, statistics } = good
      const back = { input, statistics, gain, outputGradient: w.batch(6, 8), inputGradient: w.batch(6, 8) }
      await expectOnlyGoodOperands(program, 'layerNormGradient', back, {
        'other features': [{ outputGradient: w.batch(5, 8) }, 'INVALID_ARGUMENT'],
        'a short gain gradient': [{ gainGradient: w.floats(5) }, 'INVALID_ARGUMENT'],
      })
    })
  })
})
