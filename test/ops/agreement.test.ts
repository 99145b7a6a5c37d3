import type { Activations, Tensor, TensorType } from '../../lib/tensor.js'
import {
  columnsOf,
  cpu,
  expectNear,
  expectSameBits,
  gpu,
  nameOf,
  numbers,
  type Operands,
  on,
  places,
  randomCsr,
  shapes,
  type Workspace,
} from '../support.js'

type Operations = readonly (readonly [string, Operands])[]
type Results = Record<string, Tensor<TensorType> | Activations>

const read = async (results: Results, columns: number): Promise<Record<string, ArrayLike<number>>> =>
  Object.fromEntries(
    await Promise.all(
      Object.entries(results).map(async ([name, result]) => {
        const values = (await result.read()) as Float32Array | Int32Array
        return [name, 'features' in result ? values.slice(0, columns * result.features) : values] as const
      }),
    ),
  )

/** A CPU that multiplies link by link at every density, as a GPU does. */
const linkByLink = cpu(1, undefined, 2)

// Where a kernel's file promises the bits of the CPU. These fuse multiply and add, as the GPU does.
const fuses = ['x86-64-v4', 'x86-64-v3'].includes(linkByLink.info.simd) || process.arch === 'arm64'

describe('the CUDA kernels', () => {
  before(function () {
    if (!places.includes('cuda')) this.skip()
  })

  /** Runs what `describe` makes of a workspace on both devices, and compares. */
  async function agree(
    describe: (w: Workspace) => {
      operations: Operations
      results: Results
      batch?: number
      columns?: number
      scalars?: number[]
    },
    tolerance: number,
    what: string,
  ): Promise<void> {
    const [expected, actual] = await Promise.all(
      [linkByLink, gpu()].map((device) =>
        on(device, async (w) => {
          const { operations, results, batch = 1, columns = batch, scalars } = describe(w)
          await w.run(operations, { batch, columns, scalars })
          return read(results, columns)
        }),
      ),
    )
    for (const [name, values] of Object.entries(expected)) {
      if (tolerance === 0 && fuses) expectSameBits(actual[name], values, `${what}: ${name}`)
      else expectNear(actual[name], values, `${what}: ${name}`, Math.max(tolerance, 2e-6))
    }
  }

  // Narrow and wide tiles of the dense products, few classes and many.
  const layers = [
    ...shapes,
    { rows: 70, cols: 45, links: 500, batch: 33 },
    { rows: 130, cols: 77, links: 2000, batch: 150 },
  ]

  for (const shape of layers) {
    const { rows, cols, links, batch } = shape
    const csr = randomCsr(rows, cols, links, 1)

    it(`give the CPU's bits where they promise them: ${nameOf(shape)}`, async () => {
      for (const columns of columnsOf(batch)) {
        const layer = (w: Workspace) => ({
          input: w.batch(cols, batch, numbers(columns * cols, 2), 7.5),
          output: w.batch(rows, batch),
          outputGradient: w.batch(rows, batch, numbers(columns * rows, 3)),
          inputGradient: w.batch(cols, batch, numbers(columns * cols, 4), 7.5),
          bias: w.floats(numbers(rows, 5)),
          activation: 'relu',
        })
        await agree(
          (w) => {
            const { input, output, outputGradient, inputGradient, bias, activation } = layer(w)
            const [weights, values] = [w.matrix(csr), w.floats(numbers(links, 6))]
            return {
              operations: [
                ['spmm', { weights, values, bias, input, output, activation }],
                [
                  'spmmTransposed',
                  { weights, values, outputGradient, inputGradient, input, activation, accumulate: true },
                ],
              ],
              results: { output, inputGradient },
              batch,
              columns,
            }
          },
          0,
          `sparse, ${columns} columns`,
        )
        await agree(
          (w) => {
            const { input, output, outputGradient, inputGradient, bias, activation } = layer(w)
            const weights = w.floats(numbers(rows * cols, 7))
            return {
              operations: [
                ['linear', { weights, bias, input, output, activation, product: 'fma' }],
                [
                  'linearTransposed',
                  { weights, outputGradient, inputGradient, input, activation, accumulate: true, product: 'fma' },
                ],
              ],
              results: { ...(rows > 32 && { output }), ...(cols > 32 && { inputGradient }) },
              batch,
              columns,
            }
          },
          0,
          `dense, ${columns} columns`,
        )
        await agree(
          (w) => {
            const logits = w.batch(rows, batch, numbers(columns * rows, 8, -5, 5))
            const gradient = w.batch(rows, batch)
            const targets = w.tensor(
              'int32',
              Int32Array.from({ length: batch }, (_, i) => (i * 7) % rows),
            )
            const totals = w.tensor('float64', 4)
            return {
              operations: [['softmaxCrossEntropy', { logits, targets, gradient, totals }]],
              results: { gradient },
              batch,
              columns,
            }
          },
          rows <= 32 ? 0 : 1e-6,
          `softmaxCrossEntropy, ${columns} columns`,
        )
      }
    })

    it(`agree with the CPU where they add in another order: ${nameOf(shape)}`, async () => {
      for (const columns of columnsOf(batch)) {
        await agree(
          (w) => {
            const [input, outputGradient] = [
              w.batch(cols, batch, numbers(columns * cols, 2), 7.5),
              w.batch(rows, batch, numbers(columns * rows, 3)),
            ]
            const [gradient, dense] = [w.floats(links), w.floats(rows * cols)]
            const [bias, denseBias] = [w.floats(rows), w.floats(rows)]
            const output = w.batch(rows, batch)
            return {
              operations: [
                ['sddmm', { pattern: w.matrix(csr), outputGradient, input, gradient, biasGradient: bias }],
                ['linearGradient', { outputGradient, input, gradient: dense, biasGradient: denseBias }],
                ['linear', { weights: w.floats(numbers(rows * cols, 7)), input, output }],
              ],
              results: { gradient, dense, bias, denseBias, output },
              batch,
              columns,
            }
          },
          4e-6,
          `${columns} columns`,
        )
      }
    })
  }

  it('draw, permute, gather and step as the CPU does, to the bit', async () => {
    const csr = randomCsr(40, 50, 701, 1)
    await agree(
      (w) => {
        const pattern = w.matrix(csr)
        const values = w.floats(701)
        const dense = w.floats(33 * 21)
        const velocity = w.floats(numbers(701, 2))
        const indices = w.tensor('int32', 1025)
        const output = w.batch(50, 70)
        const order = w.tensor(
          'int32',
          Int32Array.from({ length: 70 }, (_, i) => (i * 3) % 20),
        )
        return {
          operations: [
            ['initializeNormal', { pattern, values, deviation: 0.3, seed: 5e9 + 1, layer: 2 }],
            ['initializeNormal', { rows: 33, cols: 21, values: dense, deviation: 0.3, seed: 7, layer: 1 }],
            ['permute', { indices, count: 1025, seed: 5e9 + 3, epoch: 1 }],
            [
              'gather',
              {
                floats: w.floats(numbers(20 * 50, 3)),
                samples: 20,
                scale: 1.7,
                shift: 0.3,
                indices: order,
                count: 70,
                output,
              },
            ],
            [
              'sgd',
              {
                pattern,
                values,
                velocity,
                gradient: w.floats(numbers(701, 4)),
                learningRate: 0,
                momentum: 0.9,
                weightDecay: 0.01,
              },
            ],
          ],
          results: { values, velocity, dense, indices, output },
          batch: 70,
          columns: 61,
          scalars: [0.1, 3],
        }
      },
      0,
      'one step',
    )
  })
})
