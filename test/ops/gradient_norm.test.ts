import { expect } from 'chai'
import type { Device } from '../../lib/device.js'
import {
  at,
  cpu,
  everywhere,
  expectOnlyGoodOperands,
  expectRefusal,
  expectSameBits,
  numbers,
  type Operands,
  on,
  onAnyThreads,
  places,
  randomCsr,
  sanitized,
  type Workspace,
} from '../support.js'

const LANES = 32
const BLOCK = 1024
const PARTS = 4096

/** The sums of lanes, added in pairs that are 16, 8, 4, 2 and 1 apart. */
function inPairs(lanes: Float64Array): number {
  for (let apart = LANES / 2; apart >= 1; apart /= 2) for (let i = 0; i < apart; ++i) lanes[i] += lanes[i + apart]
  return lanes[0]
}

/** The norm in the order that the contract tells: JavaScript's numbers are its double precision. */
function normOf(gradients: readonly Float32Array[]): number {
  let squares = 0
  for (const gradient of gradients) {
    const blocks = Math.ceil(gradient.length / BLOCK)
    const parts = Array.from({ length: Math.min(blocks, PARTS) }, () => new Float64Array(LANES))
    for (const [i, g] of gradient.entries()) parts[Math.floor(i / BLOCK) % PARTS][(i % BLOCK) % LANES] += g * g
    const lanes = new Float64Array(LANES)
    for (const [p, part] of parts.entries()) lanes[p % LANES] += inPairs(part)
    squares += inPairs(lanes)
  }
  return Math.sqrt(squares)
}

const scaleOf = (norm: number, maxNorm: number) => (maxNorm < norm ? maxNorm / norm : 1)

interface Results {
  norm: Float64Array
  scale: Float64Array
}

/** Runs the operation on gradients that operands are made of. */
function run(device: Device, maxNorm: number, gradientsOf: (w: Workspace) => Operands[], steps = 1): Promise<Results> {
  return on(device, async (w) => {
    const [norm, scale] = [w.tensor('float64', 1), w.tensor('float64', 1)]
    const program = w.program()
    program.record('gradientNorm', { gradients: gradientsOf(w), maxNorm, norm, scale } as never)
    await program.replay(steps)
    return { norm: await norm.read(), scale: await scale.read() }
  })
}

const dense = (gradients: readonly Float32Array[]) => (w: Workspace) =>
  gradients.map((gradient) => ({ count: gradient.length, gradient: w.floats(gradient) }))

describe('gradientNorm', () => {
  for (const count of [1, 2, 31, 32, 33, 100, 1023, 1024, 1025, 32_768, 32_769, 70_001]) {
    it(`is the norm of ${count} elements in the contract's order, with the same bits everywhere`, async () => {
      const gradient = numbers(count, 1)
      const norm = normOf([gradient])
      expect(norm).to.be.closeTo(Math.sqrt(gradient.reduce((sum, g) => sum + g * g, 0)), 1e-12 * norm)
      for (const maxNorm of [norm / 3, norm * 2]) {
        const result = await everywhere((device) => run(device, maxNorm, dense([gradient])))
        expect([...result.norm]).to.deep.equal([norm])
        expect([...result.scale]).to.deep.equal([scaleOf(norm, maxNorm)])
      }
    })
  }

  it('is that of all gradients together, in their order', async () => {
    const gradients = [3, 40_000, 1, 1024, 5000].map((count, i) => numbers(count, 10 + i, -(10 ** i), 10 ** i))
    const result = await everywhere((device) => run(device, 1, dense(gradients)))
    expect([...result.norm]).to.deep.equal([normOf(gradients)])
  })

  it('takes more gradients than one launch does, step after step', async () => {
    for (const many of [64, 65, 130]) {
      const gradients = Array.from({ length: many }, (_, i) => numbers(1 + ((i * 37) % 90), i))
      const result = await everywhere((device) => run(device, 1, dense(gradients), 3))
      expect([...result.norm], `${many} gradients`).to.deep.equal([normOf(gradients)])
    }
  })

  it('goes on with the first part where a gradient has more blocks than parts', async function () {
    if (sanitized) this.skip()
    const gradient = numbers(BLOCK * (PARTS + 3) + 5, 3)
    const result = await everywhere((device) => run(device, 1, dense([gradient])))
    expect([...result.norm]).to.deep.equal([normOf([gradient])])
  })

  it('counts the links in use alone, and nothing of a layer without links', async () => {
    for (const links of [0, 1, 63, 64]) {
      const used = numbers(links, 5)
      const gradient = new Float32Array(200).fill(Number.NaN)
      gradient.set(used)
      const result = await everywhere((device) =>
        run(device, 0.5, (w) => [
          { pattern: w.matrix(randomCsr(8, 8, links, 4), 200), gradient: w.floats(gradient) },
          { count: 2, gradient: w.floats([3, 4, Number.NaN]) },
        ]),
      )
      expect([...result.norm], `${links} links`).to.deep.equal([normOf([used, Float32Array.of(3, 4)])])
    }
  })

  it('scales nothing where all gradients are 0, or there is none', async () => {
    for (const gradients of [[new Float32Array(50)], []]) {
      const result = await everywhere((device) => run(device, 1e-30, dense(gradients)))
      expect(result).to.deep.equal({ norm: Float64Array.of(0), scale: Float64Array.of(1) })
    }
  })

  it('is finite where squares of floats would not be', async () => {
    const gradient = Float32Array.of(3e38, -3e38, 1e-45)
    const result = await everywhere((device) => run(device, 1, dense([gradient])))
    expect([...result.norm]).to.deep.equal([normOf([gradient])])
  })

  it('gives the same bits on any number of threads', async () => {
    const gradients = [numbers(200_003, 1), numbers(77, 2)]
    const result = await onAnyThreads((device) => run(device, 1, dense(gradients)))
    expect([...result.norm]).to.deep.equal([normOf(gradients)])
  })

  for (const place of places)
    it(`ends a step at NaN and infinity, and nothing is what it was not before (${place})`, async () => {
      for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
        await on(at(place), async (w) => {
          const columns = 4
          const program = w.program({ batch: columns })
          const totals = w.tensor('float64', Float64Array.of(1.25, 3, 8, -1))
          const previous = w.tensor('float64', 4)
          const [norm, scale] = [w.tensor('float64', 1), w.tensor('float64', 1)]
          const [values, gradient] = [w.floats(numbers(50, 1)), w.floats(numbers(50, 2))]
          const targets = w.tensor('int32', new Int32Array(16))
          const [logits, dy] = [w.batch(3, columns, numbers(3 * columns, 3)), w.batch(3, columns)]
          program.record('noteTotals', { totals, previous })
          program.record('softmaxCrossEntropy', { logits, targets, gradient: dy, totals, previous })
          const gradients = [{ count: 50, gradient }]
          program.record('gradientNorm', { gradients, maxNorm: 1, norm, scale, totals, previous })
          program.record('sgd', { count: 50, values, gradient, scale, learningRate: 0 })
          await program.replay(2, { begin: { scalars: [0.1], columns } })
          const before = [values, totals, norm].map((tensor) => tensor.read())
          const state = await Promise.all(before)
          const good = await gradient.read()
          await gradient.write(good.map((g, i) => (i === 33 ? bad : g)))
          const error = await expectRefusal(() => program.replay(3), 'NON_FINITE', String(bad))
          const word = Number.isNaN(bad) ? 'nan' : 'inf'
          expect(error.message).to.equal(`gradientNorm: Expected a finite norm of the gradients, got ${word} in step 2`)
          expectSameBits(await Promise.all([values, totals, norm].map((tensor) => tensor.read())), state, place)
          expect(program.stepsDone).to.equal(2)
          await gradient.write(good)
          await program.replay(1)
          expect((await totals.read())[2]).to.equal(8 + 3 * columns)
        })
      }
    })

  it('finds the sums of before the step, which leave the loss what it makes of them', async () => {
    const sums = await everywhere((device) =>
      on(device, async (w) => {
        const [output, target] = [w.batch(5, 3, numbers(15, 1)), w.batch(5, 3, numbers(15, 2))]
        const [totals, previous] = [w.tensor('float64', Float64Array.of(1, 2, 3, -1)), w.tensor('float64', 4)]
        const alone = w.tensor('float64', Float64Array.of(1, 2, 3, -1))
        const operations = [
          ['noteTotals', { totals, previous }],
          ['meanSquaredError', { output, target, gradient: w.batch(5, 3), totals, previous }],
          ['meanSquaredError', { output, target, gradient: w.batch(5, 3), totals: alone }],
        ] as const
        await w.run(operations, { batch: 3 })
        expectSameBits(await totals.read(), await alone.read(), 'totals')
        return previous.read()
      }),
    )
    expect([...sums]).to.deep.equal([1, 2, 3, -1])
  })

  it('refuses operands that do not fit, and works afterwards', async () => {
    await on(cpu(), async (w) => {
      const program = w.program()
      const [norm, scale, totals] = [w.tensor('float64', 1), w.tensor('float64', 1), w.tensor('float64', 4)]
      const gradient = w.floats([3, 4])
      const pattern = w.matrix(randomCsr(4, 4, 3, 1))
      await expectOnlyGoodOperands(
        program,
        'gradientNorm',
        { gradients: [{ count: 2, gradient }], maxNorm: 1, norm, scale },
        {
          'no gradients': [{ gradients: undefined }, 'INVALID_ARGUMENT'],
          'a gradient that is none': [{ gradients: [gradient] }, 'INVALID_ARGUMENT'],
          'a small gradient': [{ gradients: [{ count: 3, gradient }] }, 'INVALID_ARGUMENT'],
          'a gradient of fewer links': [{ gradients: [{ pattern, gradient }] }, 'INVALID_ARGUMENT'],
          'links and a count': [{ gradients: [{ pattern, count: 2, gradient }] }, 'INVALID_ARGUMENT'],
          'a norm of 0': [{ maxNorm: 0 }, 'INVALID_ARGUMENT'],
          'a scale of 0': [{ lossScale: 0 }, 'INVALID_ARGUMENT'],
          'a norm of NaN': [{ maxNorm: Number.NaN }, 'INVALID_ARGUMENT'],
          'a norm of floats': [{ norm: w.floats(1) }, 'INVALID_ARGUMENT'],
          'one tensor for both': [{ scale: norm }, 'INVALID_ARGUMENT'],
          'no scale': [{ scale: undefined }, 'INVALID_ARGUMENT'],
          'sums without those before': [{ totals }, 'INVALID_ARGUMENT'],
          'small sums': [{ totals, previous: w.tensor('float64', 3) }, 'INVALID_ARGUMENT'],
        },
      )
      await program.replay(1)
      expect([...(await norm.read()), ...(await scale.read())]).to.deep.equal([5, 0.2])
    })
  })
})
