/**
 * Dense products by cuBLAS: a device that was opened with it, with a library in its place that emulated GPUs can use
 * (stand_in_cublas.cc).
 */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { expect } from 'chai'
import { chts, Device, type HebbError, mlp, sgd, Trainer, updateSchedule } from '../../lib/index.js'
import { addon, addonPath } from '../../lib/native.js'
import { main } from '../programs.js'
import { backward, forward, fullCsr, gradients } from '../reference.js'
import { columnsOf, expectClose, expectRefusal, expectSameBits, numbers, on } from '../support.js'
import { clusters } from '../synthetic.js'

const standIn = join(dirname(addonPath()), 'libhebb_stand_in_cublas.so')
const emulated = /^driver.*Emulated GPU/.test(addon.cudaStatus().detail)

/** Runs `act` with these variables in the environment. */
async function withEnvironment<T>(variables: Record<string, string>, act: () => T | Promise<T>): Promise<T> {
  Object.assign(process.env, variables)
  try {
    return await act()
  } finally {
    for (const name of Object.keys(variables)) delete process.env[name]
  }
}

const open = () => withEnvironment({ HEBB_CUBLAS: standIn }, () => new Device({ kind: 'cuda', blas: 'cublas' }))

describe('cuBLAS', () => {
  before(function () {
    if (!emulated || !existsSync(standIn)) this.skip()
  })

  it("multiplies where the device was opened with it: within the bounds of hebb's own products", async () => {
    using device = await open()
    expect(device.info.blas).to.match(/^cuBLAS \d+\.\d+\.\d+$/)
    for (const [outputs, inputs, batch] of [
      [64, 64, 64],
      [67, 65, 1],
      [64, 131, 20],
      [129, 68, 150],
      [10, 61, 300], // too small for it
    ] as const) {
      const csr = fullCsr(outputs, inputs)
      for (const columns of columnsOf(batch)) {
        const [weights, bias] = [numbers(outputs * inputs, 1), numbers(outputs, 2)]
        const [x, dy, before] = [
          numbers(columns * inputs, 3),
          numbers(columns * outputs, 4),
          numbers(columns * inputs, 5),
        ]
        const results = await on(device, async (w) => {
          const [input, output] = [w.batch(inputs, batch, x, 7.5), w.batch(outputs, batch)]
          const [outputGradient, inputGradient] = [w.batch(outputs, batch, dy), w.batch(inputs, batch, before)]
          const [gradient, biasGradient] = [w.floats(outputs * inputs), w.floats(outputs)]
          const values = w.floats(weights)
          await w.run(
            [
              ['linear', { weights: values, bias: w.floats(bias), input, output, activation: 'relu' }],
              ['linearTransposed', { weights: values, outputGradient, inputGradient, accumulate: true }],
              ['linearGradient', { outputGradient, input, gradient, biasGradient }],
            ],
            { batch, columns },
          )
          return {
            output: await output.read(columns),
            inputGradient: await inputGradient.read(columns),
            gradient: (await gradient.read()) as Float32Array,
            biasGradient: (await biasGradient.read()) as Float32Array,
          }
        })
        const what = `${outputs} x ${inputs}, ${columns} of ${batch} columns`
        const expected = gradients(csr, dy, x, columns)
        expectClose(results.output, forward(csr, weights, bias, x, columns, 'relu'), `${what}: output`)
        expectClose(
          results.inputGradient,
          backward(csr, weights, dy, columns, { initial: before }),
          `${what}: input gradient`,
        )
        expectClose(results.gradient, expected.values, `${what}: gradient`)
        expectClose(results.biasGradient, expected.bias, `${what}: bias gradient`)
      }
    }
  }).timeout(120_000)

  it('is not asked for by others: the same bits as ever', async () => {
    const run = (device: Device) =>
      on(device, async (w) => {
        const output = w.batch(70, 20)
        await w.run(
          [['linear', { weights: w.floats(numbers(70 * 66, 1)), input: w.batch(66, 20, numbers(20 * 66, 2)), output }]],
          { batch: 20 },
        )
        return output.read(20)
      })
    using plain = new Device({ kind: 'cuda' })
    const own = await run(plain)
    expect(plain.info.blas).to.equal('own')
    await withEnvironment({ HEBB_CUBLAS: standIn }, async () => {
      using again = new Device({ kind: 'cuda' })
      expectSameBits(await run(again), own, 'own products')
    })
  })

  it('is recorded with the steps of training, and gives its memory back', async () => {
    using device = await open()
    const before = device.memory().bytes
    const data = clusters({ samples: 60, features: 72, classes: 4 })
    const train = async () => {
      const dst = chts({ updates: updateSchedule({ every: 2, until: 1, fraction: 0.3 }) })
      const model = mlp({ widths: [72, 80, 70, 4], density: 0.3, seed: 1 })
      using trainer = new Trainer(model, { optimizer: sgd({ learningRate: 0.05, momentum: 0.9 }), dst, device })
      const losses: number[] = []
      for await (const epoch of trainer.fit(data, { epochs: 3, batchSize: 20 })) losses.push(epoch.trainLoss)
      return losses
    }
    const losses = await train()
    expect(losses[2]).to.be.below(losses[0] as number)
    expect(await train()).to.deep.equal(losses)
    expect(device.memory().bytes).to.equal(before)
  }).timeout(120_000)

  it('that is not there, or fails, says so, and opens nothing', async () => {
    const missing = await expectRefusal(
      () =>
        withEnvironment({ HEBB_CUBLAS: '/nowhere/libcublas.so' }, () => new Device({ kind: 'cuda', blas: 'cublas' })),
      'DEVICE_UNAVAILABLE',
      'no library',
    )
    expect((missing as HebbError).message).to.match(/\/nowhere\/libcublas\.so.*HEBB_CUBLAS.*blas 'own'/)
    for (const failing of ['create:1', 'create:3']) {
      await withEnvironment({ HEBB_CUBLAS: standIn, HEBB_STAND_IN_FAIL: failing }, async () => {
        const code = failing.endsWith('3') ? 'OUT_OF_MEMORY' : 'INTERNAL'
        await expectRefusal(() => new Device({ kind: 'cuda', blas: 'cublas' }), code, failing)
      })
    }
    using device = await open()
    const product = () =>
      on(device, async (w) => {
        const output = w.batch(70, 20)
        await w.run(
          [['linear', { weights: w.floats(numbers(70 * 66, 1)), input: w.batch(66, 20, numbers(20 * 66, 2)), output }]],
          { batch: 20 },
        )
      })
    for (const failing of ['workspace:7', 'multiply:13']) {
      await withEnvironment({ HEBB_STAND_IN_FAIL: failing }, () => expectRefusal(product, 'INTERNAL', failing))
    }
    await product()
    expect(() => new Device({ kind: 'cpu', blas: 'cublas' })).to.throw(/blas 'cublas' with device 'cuda', got 'cpu'/)
    expect(() => new Device({ kind: 'cuda', blas: 'mkl' as 'own' })).to.throw(/blas to be 'own' or 'cublas', got 'mkl'/)
  })

  it('is told of by hebb doctor', async () => {
    const doctor = (variables: Record<string, string>) =>
      promisify(execFile)(process.execPath, [main, 'doctor', '--json'], {
        env: { ...process.env, ...variables },
      })
    expect(JSON.parse((await doctor({ HEBB_CUBLAS: standIn })).stdout).cublas).to.match(/libhebb_stand_in_cublas\.so/)
    expect(JSON.parse((await doctor({ HEBB_CUBLAS: '/nowhere/x.so' })).stdout).cublas).to.match(/\/nowhere\/x\.so/)
  }).timeout(60_000)
})
