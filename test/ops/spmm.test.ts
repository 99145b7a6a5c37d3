import { expect } from 'chai'
import type { Device } from '../../lib/device.js'
import type { PlainCsr } from '../../lib/tensor.js'
import { backward, forward, gradients, numericalGradient } from '../reference.js'
import {
  at,
  byColumn,
  byRow,
  columnsOf,
  cpu,
  expectClose,
  expectNear,
  expectOnlyGoodOperands,
  expectRefusal,
  expectSameBits,
  forms,
  gpu,
  hubs,
  inAnyOrder,
  levels,
  nameOf,
  numbers,
  on,
  onAnyThreads,
  places,
  randomCsr,
  type Shape,
  shapes,
  Workspace,
  withEnvironment,
} from '../support.js'

interface Forward {
  csr: PlainCsr
  values: Float32Array
  bias?: Float32Array | undefined
  /** [columns][inputs], of a capacity of `batch` columns. */
  x: Float32Array
  batch: number
  activation?: string | undefined
}

function spmm(device: Device, { csr, values, bias, x, batch, activation }: Forward): Promise<Float32Array> {
  return on(device, async (w) => {
    const columns = x.length / csr.cols
    const output = w.batch(csr.rows, batch)
    const operands = {
      weights: w.matrix(csr),
      values: w.floats(byColumn(csr, values)),
      bias: bias && w.floats(bias),
      input: w.batch(csr.cols, batch, x, 7.5),
      output,
      activation,
    }
    await w.run([['spmm', operands]], { batch, columns })
    return output.read(columns)
  })
}

interface Backward {
  csr: PlainCsr
  values: Float32Array
  dy: Float32Array
  batch: number
  /** The layer's input, when relu's derivative is asked for. */
  input?: Float32Array | undefined
  /** What the gradient is added to. */
  initial?: Float32Array | undefined
}

function spmmTransposed(device: Device, { csr, values, dy, batch, input, initial }: Backward): Promise<Float32Array> {
  return on(device, async (w) => {
    const columns = dy.length / csr.rows
    const inputGradient = w.batch(csr.cols, batch, initial)
    const operands = {
      weights: w.matrix(csr),
      values: w.floats(byColumn(csr, values)),
      outputGradient: w.batch(csr.rows, batch, dy),
      inputGradient,
      input: input && w.batch(csr.cols, batch, input, 7.5),
      activation: input && 'relu',
      accumulate: initial !== undefined,
    }
    await w.run([['spmmTransposed', operands]], { batch, columns })
    return inputGradient.read(columns)
  })
}

function layerOf(
  { rows, cols, links }: Shape,
  seed: number,
): { csr: PlainCsr; values: Float32Array; bias: Float32Array } {
  return { csr: randomCsr(rows, cols, links, seed), values: numbers(links, seed + 1), bias: numbers(rows, seed + 2) }
}

/** A rectified batch: about half of it is exactly 0. */
function rectified(length: number, seed: number): Float32Array {
  return numbers(length, seed).map((x) => Math.max(0, x))
}

for (const place of forms) {
  describe(`spmm at ${place}`, () => {
    const device = at(place)
    for (const shape of shapes) {
      it(`is W x + b: ${nameOf(shape)}`, async () => {
        const { batch } = shape
        const { csr, values, bias } = layerOf(shape, 10)
        for (const columns of columnsOf(batch)) {
          const x = numbers(columns * csr.cols, 20)
          for (const activation of [undefined, 'none', 'relu']) {
            for (const b of [undefined, bias]) {
              const what = `${columns} columns, ${activation}, ${b ? 'bias' : 'no bias'}`
              expectClose(
                await spmm(device, { csr, values, bias: b, x, batch, activation }),
                forward(csr, values, b, x, columns, activation),
                what,
              )
            }
          }
        }
      })
    }
  })
}

for (const place of places) {
  describe(`spmmTransposed at ${place}`, () => {
    const device = at(place)
    for (const shape of shapes) {
      it(`is W^T dy: ${nameOf(shape)}`, async () => {
        const { batch } = shape
        const { csr, values } = layerOf(shape, 30)
        for (const columns of columnsOf(batch)) {
          const dy = numbers(columns * csr.rows, 40)
          for (const input of [undefined, rectified(columns * csr.cols, 50)]) {
            for (const initial of [undefined, numbers(columns * csr.cols, 60)]) {
              const what = `${columns} columns, ${input ? 'relu' : 'none'}, ${initial ? 'accumulated' : 'written'}`
              const actual = await spmmTransposed(device, { csr, values, dy, batch, input, initial })
              expectClose(actual, backward(csr, values, dy, columns, { input, initial }), what)
            }
          }
        }
      })
    }
  })
}

const VARIANT = 'HEBB_CUDA_SPMM'
const VARIANTS = ['fetched', 'staged']

describe('the variants of spmm and spmmTransposed on the GPU', () => {
  before(function () {
    if (!places.includes('cuda')) this.skip()
  })

  // Several chunks of inputs and several blocks of rows in both directions, and rows of no link, of one and of many.
  const large: Shape[] = [
    { rows: 300, cols: 530, links: 6000, batch: 150 },
    { rows: 530, cols: 300, links: 900, batch: 64 },
    { rows: 65, cols: 257, links: 65 * 257, batch: 70 },
  ]
  for (const shape of [...shapes, ...large]) {
    it(`give the same bits: ${nameOf(shape)}`, async () => {
      const { batch } = shape
      const { csr, values, bias } = layerOf(shape, 10)
      for (const columns of columnsOf(batch)) {
        const x = numbers(columns * csr.cols, 20)
        const dy = numbers(columns * csr.rows, 40)
        const run = (variant: string) =>
          withEnvironment(VARIANT, variant, async () => [
            await spmm(gpu(), { csr, values, bias, x, batch, activation: 'relu' }),
            await spmmTransposed(gpu(), { csr, values, dy, batch, input: x, initial: x }),
          ])
        const [y, dx] = await run('fetched')
        expectSameBits(await run('staged'), [y, dx], `staged, ${columns} columns`)
        expectClose(y, forward(csr, values, bias, x, columns, 'relu'), `${columns} columns`)
        expectClose(dx, backward(csr, values, dy, columns, { input: x, initial: x }), `${columns} columns, transposed`)
      }
    })
  }

  for (const { name, csr } of hubs) {
    for (const batch of [16, 32, 130]) {
      it(`share ${name}, and give the same bits in any order of the blocks, batch ${batch}`, async () => {
        const [values, bias] = [numbers(csr.columnIndices.length, 1), numbers(csr.rows, 2)]
        const columns = batch - 3
        const [x, dy] = [numbers(columns * csr.cols, 3), numbers(columns * csr.rows, 4)]
        const results = []
        for (const variant of VARIANTS) {
          const run = () =>
            inAnyOrder(async (device) => [
              await spmm(device, { csr, values, bias, x, batch, activation: 'relu' }),
              await spmmTransposed(device, { csr, values, dy, batch, input: x, initial: x }),
            ])
          results.push(await withEnvironment(VARIANT, variant, run))
        }
        const [[y, dx], staged] = results
        expectSameBits(staged, [y, dx], 'staged')
        expectClose(y, forward(csr, values, bias, x, columns, 'relu'), 'forward')
        expectClose(dx, backward(csr, values, dy, columns, { input: x, initial: x }), 'backward')
      })
    }
  }

  it('let NaN and infinity through to the rows that have a link to them, and to no other', async () => {
    const { csr, values } = layerOf({ rows: 70, cols: 300, links: 2000, batch: 0 }, 1)
    const x = numbers(80 * csr.cols, 2)
    for (let column = 0; column < 80; ++column)
      x[column * csr.cols + 260] = column % 2 ? Number.NaN : Number.POSITIVE_INFINITY
    const expected = await spmm(cpu(), { csr, values, x, batch: 80 })
    for (const variant of VARIANTS) {
      const actual = await withEnvironment(VARIANT, variant, () => spmm(gpu(), { csr, values, x, batch: 80 }))
      expect([...actual].map(Number.isFinite), variant).to.deep.equal([...expected].map(Number.isFinite))
    }
  })

  it('are refused when asked for by a name that none has', async () => {
    const { csr, values } = layerOf({ rows: 3, cols: 4, links: 5, batch: 0 }, 1)
    const run = () => spmm(gpu(), { csr, values, x: numbers(8, 2), batch: 2 })
    const { message } = await withEnvironment(VARIANT, 'fast', () => expectRefusal(run, 'INVALID_ARGUMENT', 'fast'))
    expect(message).to.contain("Expected HEBB_CUDA_SPMM to be 'staged' or 'fetched', got 'fast'")
    await run()
  })
})

describe('spmm and spmmTransposed', () => {
  it('give the same bits on any number of threads', async () => {
    const { csr, values, bias } = layerOf({ rows: 210, cols: 170, links: 3500, batch: 0 }, 1)
    for (const batch of [1, 33, 300]) {
      const x = numbers(batch * csr.cols, 2)
      const dy = numbers(batch * csr.rows, 3)
      await onAnyThreads((device) => spmm(device, { csr, values, bias, x, batch, activation: 'relu' }))
      await onAnyThreads((device) => spmmTransposed(device, { csr, values, dy, batch, input: x, initial: x }))
    }
  })

  it('give the same bits on any number of threads, and at all levels that fuse, in dense tiles', async () => {
    const { csr, values, bias } = layerOf({ rows: 219, cols: 170, links: 20000, batch: 0 }, 1)
    const fused = levels.filter((level) => level === 'x86-64-v4' || level === 'x86-64-v3')
    for (const batch of [1, 33, 300]) {
      const x = numbers(batch * csr.cols, 2)
      const run = (device: Device) => spmm(device, { csr, values, bias, x, batch, activation: 'relu' })
      const first = await run(cpu(1, undefined, 0))
      for (const device of [cpu(2, undefined, 0), cpu(3, undefined, 0), ...fused.map((level) => cpu(1, level, 0))]) {
        expectSameBits(await run(device), first, `${device.info.simd}, ${device.info.threads} threads`)
      }
    }
  })

  const title = 'take dense tiles from the share of links on that the device says, and only where there may be so many'
  it(title, async () => {
    const bits = (csr: PlainCsr, device: Device) =>
      spmm(device, { csr, values: numbers(csr.columnIndices.length, 3), x: numbers(20 * csr.cols, 4), batch: 20 })
    const bytes = (device: Device, csr: PlainCsr, capacity: number) =>
      on(device, async (w) => {
        const before = device.memory().bytes
        w.matrix(csr, capacity)
        return device.memory().bytes - before
      })
    const [plain, half, always] = [cpu(1, undefined, 2), cpu(1, undefined, 0.5), cpu(1, undefined, 0)]
    for (const [links, form] of [
      [1799, plain],
      [1800, always],
    ] as const) {
      const csr = randomCsr(60, 60, links, 2)
      expectSameBits(await bits(csr, half), await bits(csr, form), `${links} links`)
    }
    const csr = randomCsr(60, 60, 1800, 2)
    expect(
      Buffer.from((await bits(csr, plain)).buffer).equals(Buffer.from((await bits(csr, always)).buffer)),
      'the forms have bits of their own',
    ).to.equal(false)
    const few = randomCsr(60, 60, 100, 5)
    expect(await bytes(half, few, 1799)).to.equal(await bytes(plain, few, 1799))
    // A bit for each cell of whole tiles of 16 rows, and a place in each column for each of 16 parts.
    expect((await bytes(half, few, 1800)) - (await bytes(plain, few, 1800))).to.equal((64 * 60) / 8 + 16 * 60 * 4)
  })

  for (const denseFrom of [2, 0]) {
    it(`do not let a column see another, dense from ${denseFrom}`, async () => {
      const device = cpu(1, undefined, denseFrom)
      const { csr, values, bias } = layerOf({ rows: 37, cols: 61, links: 350, batch: 0 }, 4)
      const x = numbers(300 * csr.cols, 5)
      const all = await spmm(device, { csr, values, bias, x, batch: 300 })
      for (const column of [0, 99, 100, 299]) {
        const alone = await spmm(device, {
          csr,
          values,
          bias,
          x: x.slice(column * csr.cols, (column + 1) * csr.cols),
          batch: 1,
        })
        expect([...alone]).to.deep.equal([...all.subarray(column * csr.rows, (column + 1) * csr.rows)])
      }
    })
  }

  it('let NaN and infinity through, relu included', async () => {
    for (const place of places) {
      const csr = randomCsr(3, 3, 9, 1)
      const values = new Float32Array(9).fill(1)
      const x = Float32Array.of(Number.NaN, 0, 0, Number.POSITIVE_INFINITY, 1, 1, Number.NEGATIVE_INFINITY, 1, 1)
      const y = await spmm(at(place), { csr, values, x, batch: 3, activation: 'relu' })
      expect([...y]).to.deep.equal([...[Number.NaN, Number.POSITIVE_INFINITY, 0].flatMap((v) => [v, v, v])])
    }
  })

  // A zero of a dense tile times infinity would be NaN.
  it('give what is not finite to linked neurons alone, in every form', async () => {
    for (const simd of levels) {
      for (const batch of [1, 33, 300]) {
        const { csr, values, bias } = layerOf({ rows: 37, cols: 61, links: 700, batch: 0 }, 4)
        const x = numbers(batch * csr.cols, 5)
        const bad = [0, 31, 32, 99, 299].filter((column) => column < batch)
        bad.forEach((column, i) => {
          x[column * csr.cols + 7 * i] = [Number.POSITIVE_INFINITY, Number.NaN, Number.NEGATIVE_INFINITY][
            i % 3
          ] as number
        })
        const operands = { csr, values, bias, x, batch, activation: 'relu' } as const
        const [links, tiles] = [await spmm(cpu(1, simd, 2), operands), await spmm(cpu(1, simd, 0), operands)]
        const linked = Array.from(links, (v) => !Number.isFinite(v))
        expect(linked.filter(Boolean).length, 'reached').to.be.within(1, bad.length * csr.rows - 1)
        expect(Array.from(tiles, (v) => !Number.isFinite(v))).to.deep.equal(linked)
        for (const column of bad) {
          const [from, to] = [column * csr.rows, (column + 1) * csr.rows]
          expectSameBits(tiles.subarray(from, to), links.subarray(from, to), `column ${column}`)
        }
      }
    }
  })

  it('leave the columns past the next multiple of 16 alone', async () => {
    await on(cpu(), async (w) => {
      const { csr, values } = layerOf({ rows: 5, cols: 6, links: 12, batch: 0 }, 6)
      const output = w.batch(5, 200, new Float32Array(200 * 5).fill(3))
      const operands = {
        weights: w.matrix(csr),
        values: w.floats(values),
        input: w.batch(6, 200, numbers(40 * 6, 7)),
        output,
      }
      await w.run([['spmm', operands]], { batch: 200, columns: 40 })
      expect([...(await output.read(200)).subarray(48 * 5)]).to.deep.equal(new Array(152 * 5).fill(3))
    })
  })

  // Two layers, relu between them, and the loss sum of g * y: everything that training asks of the three products.
  it('have the gradients that differences of the loss have', async () => {
    const batch = 21
    const [inputs, hidden, outputs] = [9, 13, 7]
    const first = layerOf({ rows: hidden, cols: inputs, links: 50, batch }, 70)
    const second = layerOf({ rows: outputs, cols: hidden, links: 40, batch }, 80)
    const x = numbers(batch * inputs, 90)
    const g = numbers(batch * outputs, 91)
    const point = {
      x: Float64Array.from(x),
      w1: Float64Array.from(first.values),
      b1: Float64Array.from(first.bias),
      w2: Float64Array.from(second.values),
    }
    const loss = () => {
      const h = forward(first.csr, point.w1, point.b1, point.x, batch, 'relu').value
      return forward(second.csr, point.w2, second.bias, h, batch).value.reduce((sum, y, i) => sum + y * g[i], 0)
    }
    const actual = await on(cpu(), async (w) => {
      const [a, b] = [w.matrix(first.csr), w.matrix(second.csr)]
      const [w1, w2, dw1, dw2, db1] = [
        w.floats(byColumn(first.csr, first.values)),
        w.floats(byColumn(second.csr, second.values)),
        w.floats(50),
        w.floats(40),
        w.floats(hidden),
      ]
      const [input, h, y] = [w.batch(inputs, batch, x), w.batch(hidden, batch), w.batch(outputs, batch)]
      const [dx, dh, dy] = [w.batch(inputs, batch), w.batch(hidden, batch), w.batch(outputs, batch, g)]
      await w.run(
        [
          ['spmm', { weights: a, values: w1, bias: w.floats(first.bias), input, output: h, activation: 'relu' }],
          ['spmm', { weights: b, values: w2, bias: w.floats(second.bias), input: h, output: y }],
          [
            'spmmTransposed',
            { weights: b, values: w2, outputGradient: dy, inputGradient: dh, input: h, activation: 'relu' },
          ],
          ['sddmm', { pattern: b, outputGradient: dy, input: h, gradient: dw2 }],
          ['spmmTransposed', { weights: a, values: w1, outputGradient: dh, inputGradient: dx }],
          ['sddmm', { pattern: a, outputGradient: dh, input, gradient: dw1, biasGradient: db1 }],
        ],
        { batch },
      )
      return {
        x: await dx.read(),
        w1: byRow(first.csr, await dw1.read()),
        b1: await db1.read(),
        w2: byRow(second.csr, await dw2.read()),
      }
    })
    for (const name of ['x', 'w1', 'b1', 'w2'] as const)
      expectNear(actual[name], numericalGradient(loss, point[name]), name, 1e-5)
    // The reference's own gradient agrees too: it is the one that the other tests compare with.
    const h = forward(second.csr, point.w2, undefined, new Float64Array(batch * hidden), batch).value
    expect(h.every((v) => v === 0)).to.equal(true)
    const hiddenValues = forward(first.csr, point.w1, point.b1, point.x, batch, 'relu').value
    expectNear(
      gradients(second.csr, g, hiddenValues, batch).values.value,
      numericalGradient(loss, point.w2),
      'reference',
      1e-7,
    )
  })

  it('refuse operands that do not fit, and work afterwards', async () => {
    await on(cpu(), async (w) => {
      const { csr, values, bias } = layerOf({ rows: 5, cols: 6, links: 12, batch: 0 }, 8)
      const x = numbers(8 * 6, 9)
      const program = w.program({ batch: 8 })
      const [weights, buffer, input, output] = [
        w.matrix(csr),
        w.floats(byColumn(csr, values)),
        w.batch(6, 8, x),
        w.batch(5, 8),
      ]
      const other = w.own(new Workspace(cpu(2)))
      const gone = w.floats(12)
      gone.dispose()
      const goneBatch = w.batch(6, 8)
      goneBatch.dispose()
      const goneMatrix = w.matrix(csr)
      goneMatrix.dispose()
      await expectOnlyGoodOperands(
        program,
        'spmm',
        { weights, values: buffer, bias: w.floats(bias), input, output },
        {
          'too few inputs': [{ input: w.batch(5, 8) }, 'INVALID_ARGUMENT'],
          'too many outputs': [{ output: w.batch(6, 8) }, 'INVALID_ARGUMENT'],
          'another capacity': [{ output: w.batch(5, 9) }, 'INVALID_ARGUMENT'],
          'too few values': [{ values: w.floats(11) }, 'INVALID_ARGUMENT'],
          'a short bias': [{ bias: w.floats(4) }, 'INVALID_ARGUMENT'],
          'no values': [{ values: undefined }, 'INVALID_ARGUMENT'],
          'no weights': [{ weights: undefined }, 'INVALID_ARGUMENT'],
          'a tensor as weights': [{ weights: buffer }, 'INVALID_ARGUMENT'],
          'a tensor as input': [{ input: buffer }, 'INVALID_ARGUMENT'],
          'a number as values': [{ values: 3 }, 'INVALID_ARGUMENT'],
          'an unknown activation': [{ activation: 'tanh' }, 'INVALID_ARGUMENT'],
          'values of bytes': [{ values: w.tensor('uint8', 48) }, 'INVALID_ARGUMENT'],
          'values of 32-bit integers': [{ values: w.tensor('int32', 12) }, 'INVALID_ARGUMENT'],
          'a bias of doubles': [{ bias: w.tensor('float64', 5) }, 'INVALID_ARGUMENT'],
          'values of another device': [{ values: other.floats(values) }, 'INVALID_ARGUMENT'],
          'weights of another device': [{ weights: other.matrix(csr) }, 'INVALID_ARGUMENT'],
          'a batch of another device': [{ input: other.batch(6, 8) }, 'INVALID_ARGUMENT'],
          'disposed values': [{ values: gone }, 'DISPOSED'],
          'disposed weights': [{ weights: goneMatrix }, 'DISPOSED'],
          'a disposed batch': [{ input: goneBatch }, 'DISPOSED'],
        },
      )
      await expectOnlyGoodOperands(
        program,
        'spmmTransposed',
        { weights, values: buffer, outputGradient: output, inputGradient: input, input, activation: 'relu' },
        {
          'too few inputs': [{ inputGradient: w.batch(5, 8) }, 'INVALID_ARGUMENT'],
          'too few outputs': [{ outputGradient: w.batch(4, 8) }, 'INVALID_ARGUMENT'],
          'another input': [{ input: w.batch(5, 8) }, 'INVALID_ARGUMENT'],
          'no input for relu': [{ input: undefined }, 'INVALID_ARGUMENT'],
          'too few values': [{ values: w.floats(11) }, 'INVALID_ARGUMENT'],
        },
      )
      await program.replay(1)
      expectClose(await output.read(), forward(csr, values, bias, x, 8), 'the good one')
    })
  })

  it('refuse null with an error of the library', async () => {
    await on(cpu(), async (w) => {
      const csr = randomCsr(5, 6, 12, 1)
      const good = { weights: w.matrix(csr), values: w.floats(12), input: w.batch(6, 8), output: w.batch(5, 8) }
      await expectOnlyGoodOperands(w.program({ batch: 8 }), 'spmm', good, {
        'null for values': [{ values: null }, 'INVALID_ARGUMENT'],
        'null for weights': [{ weights: null }, 'INVALID_ARGUMENT'],
        'null for a batch': [{ input: null }, 'INVALID_ARGUMENT'],
      })
    })
  })
})
