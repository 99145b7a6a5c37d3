import type { Device } from '../../lib/device.js'
import type { PlainCsr } from '../../lib/tensor.js'
import { forward, gradients, numericalGradient } from '../reference.js'
import {
  at,
  byColumn,
  byRow,
  columnsOf,
  cpu,
  expectClose,
  expectNear,
  expectOnlyGoodOperands,
  expectSameBits,
  gpu,
  hubs,
  inAnyOrder,
  nameOf,
  numbers,
  type Operands,
  on,
  onAnyThreads,
  places,
  randomCsr,
  sanitized,
  shapes,
  Workspace,
  withEnvironment,
} from '../support.js'

interface Case {
  csr: PlainCsr
  /** [columns][outputs] and [columns][inputs], of a capacity of `batch` columns. */
  dy: Float32Array
  x: Float32Array
  batch: number
  /** What the gradients are added to. */
  initial?: { values?: Float32Array; bias?: Float32Array } | undefined
  withoutBias?: boolean
}

function sddmm(
  device: Device,
  { csr, dy, x, batch, initial, withoutBias }: Case,
): Promise<{ values: Float32Array; bias: Float32Array }> {
  return on(device, async (w) => {
    const links = csr.columnIndices.length
    const columns = x.length / csr.cols
    const gradient = w.floats(
      initial?.values ? byColumn(csr, initial.values) : new Float32Array(links).fill(Number.NaN),
    )
    const biasGradient = w.floats(initial?.bias ?? new Float32Array(csr.rows).fill(Number.NaN))
    const operands = {
      pattern: w.matrix(csr),
      outputGradient: w.batch(csr.rows, batch, dy),
      input: w.batch(csr.cols, batch, x, 7.5),
      gradient,
      biasGradient: withoutBias ? undefined : biasGradient,
      accumulate: initial?.values !== undefined,
      accumulateBias: initial?.bias !== undefined,
    }
    await w.run([['sddmm', operands]], { batch, columns })
    return { values: byRow(csr, await gradient.read()), bias: await biasGradient.read() }
  })
}

for (const place of places) {
  describe(`sddmm at ${place}`, () => {
    const device = at(place)
    for (const shape of shapes) {
      it(`is dy x^T on the links: ${nameOf(shape)}`, async () => {
        const { rows, cols, links, batch } = shape
        const csr = randomCsr(rows, cols, links, 10)
        for (const columns of columnsOf(batch)) {
          const dy = numbers(columns * rows, 20)
          const x = numbers(columns * cols, 30)
          const [values, bias] = [numbers(links, 40), numbers(rows, 50)]
          for (const initial of [undefined, { values, bias }, { values }, { bias }]) {
            const how = initial ? `${Object.keys(initial).join(' and ')} accumulated` : 'written'
            const what = `${columns} columns, ${how}`
            const expected = gradients(csr, dy, x, columns, initial)
            const actual = await sddmm(device, { csr, dy, x, batch, initial })
            expectClose(actual.values, expected.values, `values, ${what}`)
            expectClose(actual.bias, expected.bias, `bias, ${what}`)
            expectClose(
              (await sddmm(device, { csr, dy, x, batch, initial, withoutBias: true })).values,
              expected.values,
              `values alone, ${what}`,
            )
          }
        }
      })
    }
  })
}

describe('sddmm on the GPU', () => {
  before(function () {
    if (!places.includes('cuda')) this.skip()
  })

  for (const { name, csr } of hubs) {
    for (const batch of [16, 130]) {
      it(`shares ${name}, and gives the same bits in any order of the blocks, batch ${batch}`, async () => {
        const columns = batch - 5
        const [dy, x] = [numbers(columns * csr.rows, 1), numbers(columns * csr.cols, 2)]
        const initial = { values: numbers(csr.columnIndices.length, 3), bias: numbers(csr.rows, 4) }
        const actual = await inAnyOrder((device) => sddmm(device, { csr, dy, x, batch, initial }))
        const expected = gradients(csr, dy, x, columns, initial)
        expectClose(actual.values, expected.values, 'values')
        expectClose(actual.bias, expected.bias, 'bias')
      })
    }
  }

  /**
   * Both gradients of a layer and, with a rule, the optimizer's steps: one operation, once the engine has fused them.
   */
  const backwardOf =
    (csr: PlainCsr, batch: number, columns: number, rule: object | undefined, accumulate: boolean) =>
    (device: Device) =>
      on(device, async (w) => {
        const links = csr.columnIndices.length
        const [pattern, values] = [w.matrix(csr, links + 700), w.floats(numbers(links, 1), links + 700)]
        const [gradient, biasGradient] = [w.floats(numbers(links, 2), links + 700), w.floats(numbers(csr.rows, 3))]
        const [velocity, bias] = [w.floats(numbers(links, 4), links + 700), w.floats(numbers(csr.rows, 5))]
        const outputGradient = w.batch(csr.rows, batch, numbers(columns * csr.rows, 6))
        const input = w.batch(csr.cols, batch, numbers(columns * csr.cols, 7), 7.5)
        const inputGradient = w.batch(csr.cols, batch, numbers(columns * csr.cols, 8))
        const operations: [string, Operands][] = [
          [
            'spmmTransposed',
            { weights: pattern, values, outputGradient, inputGradient, input, activation: 'relu', accumulate },
          ],
          ['sddmm', { pattern, outputGradient, input, gradient, biasGradient, accumulate }],
        ]
        if (rule)
          operations.push(
            ['sgd', { pattern, values, gradient, velocity, learningRate: 0, ...rule }],
            ['sgd', { count: csr.rows, values: bias, gradient: biasGradient, learningRate: 0 }],
          )
        await w.run(operations, { batch, columns, scalars: [0.1] })
        const written = rule && !accumulate ? [] : [gradient, biasGradient] // a step that is fused leaves no gradient
        const results = await Promise.all([values, velocity, bias, ...written].map((tensor) => tensor.read()))
        return [
          ...results.map((result) => result.subarray(0, links)),
          (await inputGradient.read(columns)) as Float32Array,
        ]
      })
  const rule = { momentum: 0.9, weightDecay: 0.1 }
  const layers = [
    ...shapes.map((shape) => ({
      name: nameOf(shape),
      csr: randomCsr(shape.rows, shape.cols, shape.links, 9),
      batch: shape.batch,
    })),
  ]
  for (const { name, csr } of hubs)
    for (const batch of sanitized ? [3, 49] : [3, 32, 49, 64])
      layers.push({ name: `${name}, batch ${batch}`, csr, batch })

  for (const { name, csr, batch } of layers) {
    it(`has the bits of separate launches where one does both gradients: ${name}`, async () => {
      for (const columns of columnsOf(batch)) {
        for (const [step, accumulate] of [
          [undefined, false],
          [undefined, true],
          [rule, false],
        ] as const) {
          const run = backwardOf(csr, batch, columns, step, accumulate)
          const apart = await withEnvironment('HEBB_CUDA_SDDMM', 'apart', () => run(gpu()))
          const together = await withEnvironment('HEBB_CUDA_SDDMM', 'together', () =>
            columns === batch ? inAnyOrder(run) : run(gpu()),
          )
          expectSameBits(
            together,
            apart,
            `${columns} columns, ${step ? 'a step' : 'no step'}, ${accumulate ? 'accumulated' : 'written'}`,
          )
          const onCpu = await run(cpu())
          for (const [i, result] of apart.entries())
            expectNear(result, onCpu[i], `${columns} columns, result ${i}`, 2e-5) // of sums of 1100 terms
        }
      }
    })
  }
})

describe('sddmm', () => {
  it('gives the same bits on any number of threads', async () => {
    const csr = randomCsr(210, 170, 3500, 1)
    for (const batch of [1, 33, 300]) {
      const dy = numbers(batch * csr.rows, 2)
      const x = numbers(batch * csr.cols, 3)
      await onAnyThreads((device) => sddmm(device, { csr, dy, x, batch }))
    }
  })

  it('takes the word for the values for the bias too, when it hears nothing else', async () => {
    await on(cpu(), async (w) => {
      const csr = randomCsr(5, 6, 12, 1)
      const [dy, x, bias] = [numbers(8 * 5, 2), numbers(8 * 6, 3), numbers(5, 4)]
      for (const accumulate of [false, true]) {
        const biasGradient = w.floats(bias)
        const operands = {
          pattern: w.matrix(csr),
          outputGradient: w.batch(5, 8, dy),
          input: w.batch(6, 8, x),
          gradient: w.floats(12),
          biasGradient,
          accumulate,
        }
        await w.run([['sddmm', operands]], { batch: 8 })
        expectClose(
          await biasGradient.read(),
          gradients(csr, dy, x, 8, accumulate ? { bias } : undefined).bias,
          `${accumulate}`,
        )
      }
    })
  })

  it('has the gradients that differences of the loss have', async () => {
    const batch = 19
    const csr = randomCsr(8, 11, 30, 4)
    const x = numbers(batch * 11, 5)
    const g = numbers(batch * 8, 6)
    const point = { values: Float64Array.from(numbers(30, 7)), bias: Float64Array.from(numbers(8, 8)) }
    // A loss that is not linear in the parameters: sum of g * y + y^2 / 2, whose derivative by y is g + y.
    const loss = () =>
      forward(csr, point.values, point.bias, x, batch).value.reduce((sum, y, i) => sum + g[i] * y + y ** 2 / 2, 0)
    const dy = Float32Array.from(forward(csr, point.values, point.bias, x, batch).value, (y, i) => g[i] + y)
    const actual = await sddmm(cpu(), { csr, dy, x, batch })
    expectNear(actual.values, numericalGradient(loss, point.values), 'values', 1e-5)
    expectNear(actual.bias, numericalGradient(loss, point.bias), 'bias', 1e-5)
  })

  it('refuses operands that do not fit, and works afterwards', async () => {
    await on(cpu(), async (w) => {
      const csr = randomCsr(5, 6, 12, 1)
      const [dy, x] = [numbers(8 * 5, 2), numbers(8 * 6, 3)]
      const program = w.program({ batch: 8 })
      const other = w.own(new Workspace(cpu(2)))
      const gone = w.floats(12)
      gone.dispose()
      const gradient = w.floats(12)
      const good = {
        pattern: w.matrix(csr),
        outputGradient: w.batch(5, 8, dy),
        input: w.batch(6, 8, x),
        gradient,
        biasGradient: w.floats(5),
      }
      await expectOnlyGoodOperands(program, 'sddmm', good, {
        'too few inputs': [{ input: w.batch(5, 8) }, 'INVALID_ARGUMENT'],
        'too few outputs': [{ outputGradient: w.batch(4, 8) }, 'INVALID_ARGUMENT'],
        'another capacity': [{ input: w.batch(6, 7) }, 'INVALID_ARGUMENT'],
        'a small gradient': [{ gradient: w.floats(11) }, 'INVALID_ARGUMENT'],
        'a gradient smaller than the capacity': [{ pattern: w.matrix(csr, 13) }, 'INVALID_ARGUMENT'],
        'a small bias gradient': [{ biasGradient: w.floats(4) }, 'INVALID_ARGUMENT'],
        'no gradient': [{ gradient: undefined }, 'INVALID_ARGUMENT'],
        'a gradient of another device': [{ gradient: other.floats(12) }, 'INVALID_ARGUMENT'],
        'a disposed gradient': [{ gradient: gone }, 'DISPOSED'],
      })
      await program.replay(1)
      expectClose(byRow(csr, await gradient.read()), gradients(csr, dy, x, 8).values, 'the good one')
    })
  })
})
