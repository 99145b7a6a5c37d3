import { expect } from 'chai'
import type { Device } from '../../lib/device.js'
import type { Program } from '../../lib/program.js'
import type { PlainCsr } from '../../lib/tensor.js'
import { gradients, type Sums } from '../reference.js'
import {
  at,
  byColumn,
  byRow,
  cpu,
  everywhere,
  expectClose,
  expectOnlyGoodOperands,
  expectSameBits,
  numbers,
  type Operands,
  on,
  onAnyThreads,
  places,
  randomCsr,
  Workspace,
} from '../support.js'

interface Rule {
  momentum: number
  weightDecay: number
}

const rules: Rule[] = [
  { momentum: 0, weightDecay: 0 },
  { momentum: 0.9, weightDecay: 0 },
  { momentum: 0, weightDecay: 5e-4 },
  { momentum: 0.9, weightDecay: 0.1 },
]

/** PyTorch's SGD, in double precision: g += decay w; m = momentum m + g; w -= rate m. */
function step(
  values: ArrayLike<number>,
  velocity: ArrayLike<number>,
  gradient: ArrayLike<number>,
  rate: number,
  { momentum, weightDecay }: Rule,
) {
  const n = values.length
  const m: Sums = { value: new Float64Array(n), magnitude: new Float64Array(n) }
  const w: Sums = { value: new Float64Array(n), magnitude: new Float64Array(n) }
  for (let i = 0; i < n; ++i) {
    m.value[i] = momentum * velocity[i] + gradient[i] + weightDecay * values[i]
    m.magnitude[i] = Math.abs(momentum * velocity[i]) + Math.abs(gradient[i]) + Math.abs(weightDecay * values[i])
    w.value[i] = values[i] - rate * m.value[i]
    w.magnitude[i] = Math.abs(values[i]) + rate * m.magnitude[i]
  }
  return { values: w, velocity: m }
}

describe('sgd', () => {
  for (const count of [1, 3, 4, 5, 31, 1000]) {
    it(`is PyTorch's step for ${count} parameters`, async () => {
      const [values, velocity, gradient] = [numbers(count, 1), numbers(count, 2), numbers(count, 3)]
      for (const place of places) {
        for (const rule of rules) {
          await on(at(place), async (w) => {
            const [v, m] = [w.floats(values), w.floats(velocity)]
            const operands = {
              count,
              values: v,
              gradient: w.floats(gradient),
              velocity: rule.momentum ? m : undefined,
              learningRate: 0,
              ...rule,
            }
            await w.run([['sgd', operands]], { scalars: [0.025] })
            const expected = step(values, rule.momentum ? velocity : new Float32Array(count), gradient, 0.025, rule)
            const what = `${place}, ${JSON.stringify(rule)}`
            expectClose(await v.read(), expected.values, what, 3e-7)
            if (rule.momentum) expectClose(await m.read(), expected.velocity, what, 3e-7)
            else expect(await m.read(), what).to.deep.equal(velocity)
          })
        }
      }
    })
  }

  it('changes the elements in use alone', async () => {
    await on(cpu(), async (w) => {
      const csr = randomCsr(7, 9, 22, 4)
      const [values, velocity] = [w.floats(numbers(30, 5)), w.floats(numbers(30, 6))]
      const operands = {
        pattern: w.matrix(csr, 30),
        values,
        velocity,
        gradient: w.floats(numbers(30, 7)),
        learningRate: 0,
        momentum: 0.9,
        weightDecay: 0.1,
      }
      await w.run([['sgd', operands]], { scalars: [0.5] })
      expect((await values.read()).slice(22)).to.deep.equal(numbers(30, 5).slice(22))
      expect((await velocity.read()).slice(22)).to.deep.equal(numbers(30, 6).slice(22))
      expectClose(
        (await values.read()).slice(0, 22),
        sliced(step(numbers(30, 5), numbers(30, 6), numbers(30, 7), 0.5, rules[3]).values, 22),
        'in use',
        3e-7,
      )
    })
  })

  for (const count of [1, 5, 31, 1000]) {
    it(`multiplies ${count} gradients by a scale, and by 1 with the bits of none`, async () => {
      const [values, velocity, gradient] = [numbers(count, 1), numbers(count, 2), numbers(count, 3)]
      const run = (device: Device, scale?: number) =>
        on(device, async (w) => {
          const [v, m] = [w.floats(values), w.floats(velocity)]
          const operands = {
            ...{ count, values: v, velocity: m, gradient: w.floats(gradient), learningRate: 0 },
            ...(scale !== undefined && { scale: w.tensor('float64', Float64Array.of(scale)) }),
          }
          await w.run([['sgd', { ...operands, ...rules[3] }]], { scalars: [0.025] })
          return [await v.read(), await m.read()]
        })
      for (const place of places) {
        expectSameBits(await run(at(place), 1), await run(at(place)), place)
        const scaled = gradient.map((g) => g * 0.3)
        const expected = step(values, velocity, scaled, 0.025, rules[3])
        const [v, m] = await run(at(place), 0.3)
        expectClose(v, expected.values, place, 4e-7)
        expectClose(m, expected.velocity, place, 4e-7)
      }
    })
  }

  it("takes each step's rate from the scalar table", async () => {
    await on(cpu(), async (w) => {
      const values = w.floats([0])
      const program = w.program({ scalars: 2 })
      program.record('sgd', { count: 1, values, gradient: w.floats([1]), learningRate: 1 })
      await program.replay(0, { begin: { scalars: [100, 1, 100, 0.25, 100, 4] } })
      const seen: number[] = []
      for (let i = 0; i < 5; ++i) {
        await program.replay(1)
        seen.push((await values.read())[0])
      }
      expect(seen).to.deep.equal([-1, -1.25, -5.25, -9.25, -13.25])
    })
  })

  it('gives the same bits on any number of threads', async () => {
    const count = 50_003
    await onAnyThreads((device) =>
      on(device, async (w) => {
        const [values, velocity] = [w.floats(numbers(count, 1)), w.floats(numbers(count, 2))]
        await w.run(
          [['sgd', { count, values, velocity, gradient: w.floats(numbers(count, 3)), learningRate: 0, ...rules[3] }]],
          { scalars: [0.1] },
        )
        return [await values.read(), await velocity.read()]
      }),
    )
  })

  it('refuses operands that do not fit, and works afterwards', async () => {
    await on(cpu(), async (w) => {
      const program = w.program()
      const other = w.own(new Workspace(cpu(2)))
      const gone = w.floats(12)
      gone.dispose()
      const values = w.floats(12)
      await expectOnlyGoodOperands(
        program,
        'sgd',
        { count: 12, values, gradient: w.floats(new Float32Array(12).fill(1)), learningRate: 0 },
        {
          'too few values': [{ values: w.floats(11) }, 'INVALID_ARGUMENT'],
          'a small gradient': [{ gradient: w.floats(11) }, 'INVALID_ARGUMENT'],
          'a small velocity': [{ velocity: w.floats(11), momentum: 0.5 }, 'INVALID_ARGUMENT'],
          'momentum without velocity': [{ momentum: 0.5 }, 'INVALID_ARGUMENT'],
          'a pattern with more links': [{ pattern: w.matrix(randomCsr(4, 4, 13, 1)) }, 'INVALID_ARGUMENT'],
          'a scalar that the program lacks': [{ learningRate: 1 }, 'INVALID_ARGUMENT'],
          'no rate': [{ learningRate: undefined }, 'INVALID_ARGUMENT'],
          'a momentum of NaN': [{ momentum: Number.NaN }, 'INVALID_ARGUMENT'],
          'values of another device': [{ values: other.floats(12) }, 'INVALID_ARGUMENT'],
          'disposed values': [{ values: gone }, 'DISPOSED'],
        },
      )
      await program.replay(1, { begin: { scalars: [2] } })
      expect([...(await values.read())]).to.deep.equal(new Array(12).fill(-2))
    })
  })
})

interface AdamRule {
  beta1: number
  beta2: number
  epsilon: number
  weightDecay: number
  decoupled: boolean
  warmup?: number
}

const adamRules: AdamRule[] = [
  { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0, decoupled: false },
  { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.1, decoupled: false },
  { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.1, decoupled: true },
  { beta1: 0, beta2: 0.9999, epsilon: 0.1, weightDecay: 0, decoupled: false },
  { beta1: 0.95, beta2: 0, epsilon: 1e-3, weightDecay: 1e-2, decoupled: true },
  { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.1, decoupled: true, warmup: 100 },
  { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.1, decoupled: false, warmup: 10 },
]

interface AdamState {
  values: Float64Array
  firstMoment: Float64Array
  secondMoment: Float64Array
  steps: Float64Array
}

/** Algorithm 1 of Kingma and Ba, in double precision and as it is printed; in place. */
function adamStep(
  state: AdamState,
  gradient: ArrayLike<number>,
  learningRate: number,
  { beta1, beta2, epsilon, weightDecay, decoupled, warmup = 0 }: AdamRule,
): void {
  const { values, firstMoment, secondMoment, steps } = state
  for (let i = 0; i < values.length; ++i) {
    const g = gradient[i] + (decoupled ? 0 : weightDecay * values[i])
    steps[i] += 1
    const rate = learningRate * (steps[i] < warmup ? steps[i] / warmup : 1)
    if (decoupled) values[i] -= rate * weightDecay * values[i]
    firstMoment[i] = beta1 * firstMoment[i] + (1 - beta1) * g
    secondMoment[i] = beta2 * secondMoment[i] + (1 - beta2) * g * g
    const mean = firstMoment[i] / (1 - beta1 ** steps[i])
    const square = secondMoment[i] / (1 - beta2 ** steps[i])
    values[i] -= (rate * mean) / (Math.sqrt(square) + epsilon)
  }
}

describe('adam', () => {
  /** Parameters of every age: at their first step, at their second, and so on to those whose corrections are 1. */
  const ages = [0, 1, 2, 9, 10, 99, 692, 693, 694, 5000, 1e5, 2 ** 24]
  const initial = (count: number, seed = 1): AdamState => {
    const steps = Float64Array.from({ length: count }, (_, i) => ages[(i + seed) % ages.length])
    return {
      values: Float64Array.from(numbers(count, seed)),
      firstMoment: Float64Array.from(numbers(count, seed + 1), (m, i) => (steps[i] ? m : 0)),
      secondMoment: Float64Array.from(numbers(count, seed + 2, 0, 1), (v, i) => (steps[i] ? v : 0)),
      steps,
    }
  }
  const tensors = (w: Workspace, { values, firstMoment, secondMoment, steps }: AdamState) => ({
    values: w.floats(values),
    firstMoment: w.floats(firstMoment),
    secondMoment: w.floats(secondMoment),
    steps: w.floats(steps),
  })
  const read = async (t: ReturnType<typeof tensors>) => [
    await t.values.read(),
    await t.firstMoment.read(),
    await t.secondMoment.read(),
    await t.steps.read(),
  ]

  for (const count of [1, 3, 4, 5, 15, 16, 17, 31, 1000]) {
    it(`is the textbook's step for ${count} parameters of every age, with the same bits everywhere`, async () => {
      for (const rule of adamRules) {
        const gradient = numbers(count, 7)
        const expected = initial(count)
        const before = Float64Array.from(expected.values)
        adamStep(expected, gradient, 0.01, rule)
        const state = await everywhere((device) =>
          on(device, async (w) => {
            const state = tensors(w, initial(count))
            await w.run([['adam', { count, ...state, gradient: w.floats(gradient), learningRate: 0, ...rule }]], {
              scalars: [0.01],
            })
            return read(state)
          }),
        )
        const [values, firstMoment, secondMoment, steps] = state
        for (let i = 0; i < count; ++i) {
          const what = `${JSON.stringify(rule)}, parameter ${i} of age ${expected.steps[i]}`
          const moved = Math.abs(expected.values[i] - before[i])
          expect(values[i], what).to.be.closeTo(
            expected.values[i],
            1e-6 * moved + 1.2e-7 * (Math.abs(before[i]) + moved),
          )
          expect(firstMoment[i], what).to.be.closeTo(expected.firstMoment[i], 3e-7 * (1 + rule.weightDecay))
          expect(secondMoment[i], what).to.be.closeTo(expected.secondMoment[i], 3e-7 * (1 + rule.weightDecay) ** 2)
          expect(steps[i], what).to.equal(Math.min(expected.steps[i], 2 ** 24))
        }
      }
    })
  }

  it('steps each parameter by its own age, whether its neighbours have the same or others', async () => {
    const [count, rule] = [1000, adamRules[6]]
    const [mixed, gradient] = [initial(count), numbers(count, 7)]
    const byAge = Array.from(mixed.steps.keys()).sort((i, j) => mixed.steps[i] - mixed.steps[j])
    const sorted = <A extends Float64Array | Float32Array>(a: A) => byAge.map((i) => a[i])
    const run = (order: <A extends Float64Array | Float32Array>(a: A) => ArrayLike<number>) =>
      everywhere((device) =>
        on(device, async (w) => {
          const { values, firstMoment, secondMoment, steps } = mixed
          const all = [values, firstMoment, secondMoment, steps].map((a) => Float64Array.from(order(a)))
          const state = tensors(w, { values: all[0], firstMoment: all[1], secondMoment: all[2], steps: all[3] })
          const operands = { count, ...state, gradient: w.floats(order(gradient)), learningRate: 0, ...rule }
          await w.run([['adam', operands]], { scalars: [0.01] })
          return read(state)
        }),
      )
    const [expected, got] = [await run((a) => a), await run(sorted)]
    for (const [i, array] of expected.entries()) expect([...got[i]]).to.deep.equal(sorted(array))
  })

  it('stays near the textbook over a thousand steps, with the rate of each from the scalar table', async () => {
    const count = 37
    for (const rule of adamRules.slice(0, 3)) {
      for (const place of places) {
        await on(at(place), async (w) => {
          const zeros = {
            firstMoment: new Float64Array(count),
            secondMoment: new Float64Array(count),
            steps: new Float64Array(count),
          }
          const expected = { values: Float64Array.from(numbers(count, 1)), ...zeros }
          const state = tensors(w, expected)
          const gradient = w.floats(count)
          const program = w.program({ scalars: 2 })
          program.record('adam', { count, ...state, gradient, learningRate: 1, ...rule })
          const rates = Array.from({ length: 1000 }, (_, i) => 0.01 / (1 + i / 100))
          await program.replay(0, { begin: { scalars: rates.flatMap((rate) => [100, rate]) } })
          for (const [i, rate] of rates.entries()) {
            // Gradients that pull back towards 0.5, with noise: none is the same for long.
            const noise = numbers(count, 100 + i)
            const g = Float32Array.from(noise, (n, k) => n + expected.values[k] - 0.5)
            adamStep(expected, g, rate, rule)
            await gradient.write(g)
            await program.replay(1)
          }
          const values = await state.values.read()
          for (let i = 0; i < count; ++i)
            expect(values[i], `${place}, ${JSON.stringify(rule)}, ${i}`).to.be.closeTo(expected.values[i], 2e-5)
          expect([...(await state.steps.read())]).to.deep.equal(new Array(count).fill(1000))
        })
      }
    }
  })

  const title =
    'moves a parameter at its first step by the rate, whatever the gradient is, and one without gradients not at all'
  it(title, async () => {
    await everywhere((device) =>
      on(device, async (w) => {
        const gradients = [1e-3, -1e-3, 7, -7, 1e6, 0]
        const state = tensors(w, {
          values: new Float64Array(6),
          firstMoment: new Float64Array(6),
          secondMoment: new Float64Array(6),
          steps: new Float64Array(6),
        })
        await w.run([['adam', { count: 6, ...state, gradient: w.floats(gradients), learningRate: 0 }]], {
          scalars: [0.25],
        })
        const values = await state.values.read()
        for (const [i, g] of gradients.entries()) expect(values[i]).to.be.closeTo(-0.25 * Math.sign(g), 1e-5)
        return values
      }),
    )
  })

  for (const count of [1, 5, 17, 1000]) {
    it(`multiplies ${count} gradients by a scale, and by 1 with the bits of none`, async () => {
      const gradient = numbers(count, 7)
      const run = (scale?: number) =>
        everywhere((device) =>
          on(device, async (w) => {
            const state = tensors(w, initial(count))
            const operands = { count, ...state, gradient: w.floats(gradient), learningRate: 0 }
            const scaled = scale !== undefined && { scale: w.tensor('float64', Float64Array.of(scale)) }
            await w.run([['adam', { ...operands, ...scaled, ...adamRules[1] }]], { scalars: [0.01] })
            return read(state)
          }),
        )
      expectSameBits(await run(1), await run(), 'scaled by 1')
      const expected = initial(count)
      const before = Float64Array.from(expected.values)
      adamStep(
        expected,
        gradient.map((g) => g * 0.3),
        0.01,
        adamRules[1],
      )
      const [values, firstMoment] = await run(0.3)
      for (let i = 0; i < count; ++i) {
        const moved = Math.abs(expected.values[i] - before[i])
        expect(values[i], `${i}`).to.be.closeTo(
          expected.values[i],
          1e-6 * moved + 1.2e-7 * (Math.abs(before[i]) + moved),
        )
        expect(firstMoment[i], `${i}`).to.be.closeTo(expected.firstMoment[i], 4e-7)
      }
    })
  }

  it('changes the elements in use alone, and none of a layer without links', async () => {
    for (const links of [0, 1, 22]) {
      await everywhere((device) =>
        on(device, async (w) => {
          const state = tensors(w, initial(30))
          const before = await read(state)
          const pattern = w.matrix(randomCsr(7, 9, links, 4), 30)
          await w.run([['adam', { pattern, ...state, gradient: w.floats(numbers(30, 7)), learningRate: 0 }]], {
            scalars: [0.5],
          })
          const after = await read(state)
          for (const [i, array] of after.entries()) {
            expect(array.slice(links), `array ${i}, ${links} links`).to.deep.equal(before[i].slice(links))
            if (links) expect(array.slice(0, links)).to.not.deep.equal(before[i].slice(0, links))
          }
          return after
        }),
      )
    }
  })

  for (const count of [1, 5, 17, 1000]) {
    it(`counts the steps of ${count} parameters by one number, whatever their moments, if it is told to`, async () => {
      for (const age of [0, 1, 700, 2 ** 24]) {
        const rule = adamRules[6]
        const gradient = [numbers(count, 7), numbers(count, 8)]
        const expected = { ...initial(count), steps: new Float64Array(count).fill(age) }
        const start = Float64Array.from(expected.values)
        const state = await everywhere((device) =>
          on(device, async (w) => {
            const { steps: _, ...rest } = tensors(w, initial(count))
            const state = { ...rest, steps: w.floats([age]) }
            for (const g of gradient)
              await w.run(
                [['adam', { count, ...state, gradient: w.floats(g), learningRate: 0, sharedSteps: true, ...rule }]],
                { scalars: [0.01] },
              )
            return read(state)
          }),
        )
        for (const g of gradient) adamStep(expected, g, 0.01, rule)
        const [values, , , steps] = state
        expect([...steps]).to.deep.equal([Math.min(age + 2, 2 ** 24)])
        for (let i = 0; i < count; ++i) {
          const moved = Math.abs(expected.values[i] - start[i])
          expect(values[i], `age ${age}, ${i}`).to.be.closeTo(expected.values[i], 3e-6 * moved + 3e-7)
        }
      }
    })
  }

  it('gives the same bits on any number of threads', async () => {
    const count = 50_003
    await onAnyThreads((device) =>
      on(device, async (w) => {
        const { steps: _, ...rest } = tensors(w, initial(count))
        const state = { ...rest, steps: w.floats([3]) }
        const operands = { count, ...state, gradient: w.floats(numbers(count, 3)), learningRate: 0, sharedSteps: true }
        await w.run([['adam', { ...operands, ...adamRules[1] }]], { scalars: [0.1] })
        return read(state)
      }),
    )
    await onAnyThreads((device) =>
      on(device, async (w) => {
        const state = tensors(w, initial(count))
        await w.run(
          [['adam', { count, ...state, gradient: w.floats(numbers(count, 3)), learningRate: 0, ...adamRules[1] }]],
          { scalars: [0.1] },
        )
        return read(state)
      }),
    )
  })

  it('refuses operands that do not fit, and works afterwards', async () => {
    await on(cpu(), async (w) => {
      const program = w.program()
      const zeros = () => new Float64Array(12)
      const state = tensors(w, { values: zeros(), firstMoment: zeros(), secondMoment: zeros(), steps: zeros() })
      const gone = w.floats(12)
      gone.dispose()
      const bad: Record<string, readonly [Operands, 'INVALID_ARGUMENT' | 'DISPOSED']> = {
        'a pattern with more links': [{ pattern: w.matrix(randomCsr(4, 4, 13, 1)) }, 'INVALID_ARGUMENT'],
        'a scalar that the program lacks': [{ learningRate: 1 }, 'INVALID_ARGUMENT'],
        'no rate': [{ learningRate: undefined }, 'INVALID_ARGUMENT'],
        'a beta1 of 1': [{ beta1: 1 }, 'INVALID_ARGUMENT'],
        'a beta2 of 1.5': [{ beta2: 1.5 }, 'INVALID_ARGUMENT'],
        'a beta2 below 0': [{ beta2: -0.1 }, 'INVALID_ARGUMENT'],
        'a beta1 of NaN': [{ beta1: Number.NaN }, 'INVALID_ARGUMENT'],
        'a warm-up below 0': [{ warmup: -1 }, 'INVALID_ARGUMENT'],
        'an epsilon of 0': [{ epsilon: 0 }, 'INVALID_ARGUMENT'],
        'an epsilon that no float holds': [{ epsilon: 1e-60 }, 'INVALID_ARGUMENT'],
        'disposed steps': [{ steps: gone }, 'DISPOSED'],
        'no count of shared steps': [{ sharedSteps: true, steps: undefined }, 'INVALID_ARGUMENT'],
        'shared steps that are a number': [{ sharedSteps: 1 }, 'INVALID_ARGUMENT'],
      }
      for (const name of ['values', 'gradient', 'firstMoment', 'secondMoment', 'steps']) {
        bad[`too few of ${name}`] = [{ [name]: w.floats(11) }, 'INVALID_ARGUMENT']
        bad[`no ${name}`] = [{ [name]: undefined }, 'INVALID_ARGUMENT']
      }
      await expectOnlyGoodOperands(
        program,
        'adam',
        { count: 12, ...state, gradient: w.floats(new Float32Array(12).fill(1)), learningRate: 0 },
        bad,
      )
      await program.replay(1, { begin: { scalars: [2] } })
      for (const value of await state.values.read()) expect(value).to.be.closeTo(-2, 1e-6)
    })
  })

  it('is not taken into the product before it, and reads the gradient that this wrote', async () => {
    const csr = randomCsr(37, 61, 350, 7)
    for (const place of places) {
      const t = new Trained(at(place), csr, 33)
      try {
        const { pattern, values, gradient } = t.operands
        const zeros = () => t.w.floats(350)
        const state = { values, firstMoment: zeros(), secondMoment: zeros(), steps: zeros() }
        const before = await values.read()
        t.product()
        t.program.record('adam', { pattern, ...state, gradient, learningRate: 0 })
        await t.run()
        const expected = gradients(csr, t.dy, t.x, 33).values.value
        const moved = byRow(
          csr,
          (await values.read()).map((value: number, i: number) => value - before[i]),
        )
        for (let i = 0; i < 350; ++i) expect(moved[i]).to.be.closeTo(-0.05 * Math.sign(expected[i]), 1e-4)
      } finally {
        t.w.dispose()
      }
    }
  })
})

function sliced({ value, magnitude }: Sums, length: number): Sums {
  return { value: value.slice(0, length), magnitude: magnitude.slice(0, length) }
}

/** A sparse layer with everything that training it needs. */
class Trained {
  readonly w: Workspace
  readonly program: Program
  readonly csr: PlainCsr
  readonly batch: number
  readonly columns: number
  readonly dy: Float32Array
  readonly x: Float32Array
  readonly operands: Record<
    | 'pattern'
    | 'outputGradient'
    | 'input'
    | 'values'
    | 'velocity'
    | 'gradient'
    | 'bias'
    | 'biasVelocity'
    | 'biasGradient',
    any
  >

  constructor(device: Device, csr: PlainCsr, batch: number, columns = batch) {
    const { rows, cols } = csr
    const links = csr.columnIndices.length
    const w = new Workspace(device)
    this.w = w
    this.csr = csr
    this.batch = batch
    this.columns = columns
    this.dy = numbers(columns * rows, 1)
    this.x = numbers(columns * cols, 2)
    this.program = w.program({ batch, scalars: 2 })
    this.operands = {
      pattern: w.matrix(csr),
      outputGradient: w.batch(rows, batch, this.dy),
      input: w.batch(cols, batch, this.x),
      values: w.floats(byColumn(csr, numbers(links, 3))),
      velocity: w.floats(byColumn(csr, numbers(links, 4))),
      gradient: w.floats(links),
      bias: w.floats(numbers(rows, 5)),
      biasVelocity: w.floats(numbers(rows, 6)),
      biasGradient: w.floats(rows),
    }
  }

  product(different: Operands = {}): void {
    const { pattern, outputGradient, input, gradient, biasGradient } = this.operands
    this.program.record('sddmm', { pattern, outputGradient, input, gradient, biasGradient, ...different })
  }

  stepValues(rule: Rule = rules[3], different: Operands = {}): void {
    const { pattern, values, velocity, gradient } = this.operands
    this.program.record('sgd', {
      pattern,
      values,
      gradient,
      velocity: rule.momentum ? velocity : undefined,
      learningRate: 0,
      ...rule,
      ...different,
    })
  }

  stepBias(rule: Rule = rules[3]): void {
    const { bias, biasVelocity, biasGradient } = this.operands
    const velocity = rule.momentum ? biasVelocity : undefined
    this.program.record('sgd', {
      count: this.csr.rows,
      values: bias,
      gradient: biasGradient,
      velocity,
      learningRate: 1,
      ...rule,
    })
  }

  /** Something else that reads the gradients, and changes nothing. */
  readGradients(): void {
    const { gradient, biasGradient } = this.operands
    const links = Math.max(1, this.csr.columnIndices.length)
    this.program.record('sgd', { count: links, values: this.w.floats(links), gradient, learningRate: 0 })
    this.program.record('sgd', {
      count: this.csr.rows,
      values: this.w.floats(this.csr.rows),
      gradient: biasGradient,
      learningRate: 0,
    })
  }

  /** Replays with rates of the values and the bias that change after the first step. */
  async run(steps = 1): Promise<void> {
    const { columns } = this
    await this.program.replay(steps, { begin: { scalars: [0.05, 0.02, 0.04, 0.01], columns } })
  }

  async state(): Promise<Float32Array[]> {
    const { values, velocity, bias, biasVelocity } = this.operands
    const [v, m, b, c] = await Promise.all([values, velocity, bias, biasVelocity].map((tensor) => tensor.read()))
    return [byRow(this.csr, v), byRow(this.csr, m), b, c]
  }
}

describe('sddmm and sgd', () => {
  async function trained<T>(
    device: Device,
    csr: PlainCsr,
    batch: number,
    use: (t: Trained) => Promise<T>,
    columns = batch,
  ): Promise<T> {
    const t = new Trained(device, csr, batch, columns)
    try {
      return await use(t)
    } finally {
      t.w.dispose()
    }
  }

  const sizes = [
    { rows: 1, cols: 1, links: 1, batch: 1, columns: 1 },
    { rows: 3, cols: 3, links: 0, batch: 4, columns: 4 },
    { rows: 37, cols: 61, links: 350, batch: 33, columns: 33 },
    { rows: 23, cols: 19, links: 23 * 19, batch: 129, columns: 129 },
    { rows: 210, cols: 170, links: 3501, batch: 300, columns: 300 },
    { rows: 37, cols: 61, links: 350, batch: 300, columns: 50 },
  ]

  for (const { rows, cols, links, batch, columns } of sizes) {
    const title =
      `give the same bits fused and not, everywhere and on any threads: ${rows}x${cols}, ${links} links, ` +
      `${columns} of ${batch} columns`
    it(title, async () => {
      const csr = randomCsr(rows, cols, links, 7)
      for (const device of [...places.map((place) => at(place)), cpu(3)]) {
        for (const rule of rules) {
          const run = (fused: boolean) =>
            trained(
              device,
              csr,
              batch,
              async (t) => {
                t.product()
                if (!fused) t.readGradients()
                t.stepValues(rule)
                t.stepBias(rule)
                await t.run(3)
                expect(t.program.operationCount).to.equal(fused ? 2 : 6)
                return t.state()
              },
              columns,
            )
          expectSameBits(
            await run(true),
            await run(false),
            `${device.info.simd}, ${device.info.threads} threads, ${JSON.stringify(rule)}`,
          )
        }
      }
    })
  }

  const csr = randomCsr(13, 17, 60, 8)

  it('are fused in either order, and when only the values or only the bias are stepped', async () => {
    await trained(cpu(), csr, 20, async (t) => {
      t.product()
      t.stepBias()
      t.stepValues()
      await t.run()
      expect(t.program.operationCount).to.equal(2)
    })
    for (const part of ['stepValues', 'stepBias'] as const) {
      await trained(cpu(), csr, 20, async (t) => {
        t.product()
        t[part]()
        await t.run()
        expect(t.program.operationCount, part).to.equal(2)
        const expected = gradients(csr, t.dy, t.x, 20)
        // The gradient that no optimizer takes is there for the user.
        if (part === 'stepValues') expectClose(await t.operands.biasGradient.read(), expected.bias, 'bias')
        else expectClose(byRow(csr, await t.operands.gradient.read()), expected.values, 'values')
      })
    }
  })

  for (const { rows, cols, links, batch, columns } of [
    ...sizes,
    { rows: 90, cols: 70, links: 3000, batch: 48, columns: 41 },
  ]) {
    const title =
      `go with the product before them, with the same bits: ${rows}x${cols}, ${links} links, ` +
      `${columns} of ${batch} columns`
    it(title, async () => {
      const csr = randomCsr(rows, cols, links, 7)
      const initial = numbers(columns * cols, 9)
      for (const device of [...places.map((place) => at(place)), cpu(3)]) {
        for (const [activation, accumulate] of [
          ['none', false],
          ['relu', false],
          ['relu', true],
        ] as const) {
          const run = (fused: boolean) =>
            trained(
              device,
              csr,
              batch,
              async (t) => {
                const { pattern, values, outputGradient, input } = t.operands
                const inputGradient = t.w.batch(cols, batch, initial)
                t.program.record('spmmTransposed', {
                  weights: pattern,
                  values,
                  outputGradient,
                  inputGradient,
                  input,
                  activation,
                  accumulate,
                })
                if (!fused) t.program.record('relu', { input, output: t.w.batch(cols, batch, initial) })
                t.product()
                t.stepValues()
                t.stepBias()
                await t.run(3)
                expect(t.program.operationCount).to.equal(fused ? 2 : 4)
                return [...(await t.state()), await inputGradient.read(columns)]
              },
              columns,
            )
          const what =
            `${device.info.simd}, ${device.info.threads} threads, ${activation}, ` +
            (accumulate ? 'accumulated' : 'written')
          expectSameBits(await run(true), await run(false), what)
        }
      }
    })
  }

  it('are not fused where the gradient is scaled, or its norm is taken', async () => {
    for (const place of places) {
      for (const norm of [false, true]) {
        await trained(at(place), csr, 20, async (t) => {
          const { gradient, biasGradient, pattern, values } = t.operands
          const scale = t.w.tensor('float64', Float64Array.of(0.25))
          const before = await values.read()
          t.product()
          if (norm)
            t.program.record('gradientNorm', {
              gradients: [
                { pattern, gradient },
                { count: csr.rows, gradient: biasGradient },
              ],
              ...{ maxNorm: 0.25, norm: t.w.tensor('float64', 1), scale },
            })
          t.stepValues(rules[0], { scale })
          if (norm) t.stepBias()
          await t.run()
          expect(t.program.operationCount, place).to.equal(norm ? 5 : 3)
          const expected = gradients(csr, t.dy, t.x, 20)
          const squares = [...expected.values.value, ...expected.bias.value].reduce((sum, g) => sum + g * g, 0)
          const factor = norm ? 0.25 / Math.sqrt(squares) : 0.25
          const moved = byRow(
            csr,
            (await values.read()).map((value: number, i: number) => (before[i] - value) / (0.05 * factor)),
          )
          for (const [k, g] of expected.values.value.entries())
            expect(moved[k], `${place}, ${k}`).to.be.closeTo(g, norm ? 1e-3 : 1e-4)
        })
      }
    }
  })

  it('leave a product alone that is of other links, of another gradient, or writes what they read', async () => {
    const other = randomCsr(13, 17, 50, 9)
    for (const alone of [false, true]) {
      await trained(cpu(), csr, 20, async (t) => {
        const { pattern, values, outputGradient } = t.operands
        const good = { weights: pattern, values, outputGradient, inputGradient: t.w.batch(17, 20) }
        for (const [what, different] of Object.entries({
          'other links': { weights: t.w.matrix(other), values: t.w.floats(50) },
          'another gradient': { outputGradient: t.w.batch(13, 20) },
          'the input is written': { inputGradient: t.operands.input },
        })) {
          const program = t.w.program({ batch: 20 })
          program.record('spmmTransposed', { ...good, ...(alone ? different : {}) })
          const { gradient, input } = t.operands
          program.record('sddmm', { pattern, outputGradient, input, gradient })
          await program.replay(1)
          expect(program.operationCount, what).to.equal(alone ? 3 : 2)
        }
      })
    }
  })

  it('compute the step of PyTorch when fused', async () => {
    await trained(cpu(), csr, 20, async (t) => {
      t.product()
      t.stepValues()
      t.stepBias()
      await t.run()
      const [values, velocity, bias] = await t.state()
      const g = gradients(csr, t.dy, t.x, 20)
      const widened = (s: Sums, of: Sums, rate: number): Sums => ({
        value: s.value,
        magnitude: s.magnitude.map((m, i) => m + rate * of.magnitude[i]),
      })
      const forValues = step(numbers(60, 3), numbers(60, 4), g.values.value, 0.05, rules[3])
      expectClose(values, widened(forValues.values, g.values, 0.05), 'values')
      expectClose(velocity, widened(forValues.velocity, g.values, 1), 'velocity')
      expectClose(
        bias,
        widened(step(numbers(13, 5), numbers(13, 6), g.bias.value, 0.02, rules[3]).values, g.bias, 0.02),
        'bias',
      )
    })
  })

  it('are not fused where the gradient is accumulated', async () => {
    for (const [accumulate, accumulateBias, operations] of [
      [true, true, 4],
      [true, false, 3],
      [false, true, 3],
    ] as const) {
      await trained(cpu(), csr, 20, async (t) => {
        t.product({ accumulate, accumulateBias })
        t.stepValues()
        t.stepBias()
        await t.run(2)
        expect(t.program.operationCount).to.equal(operations)
        const once = gradients(csr, t.dy, t.x, 20)
        const twice = ({ value, magnitude }: Sums): Sums => ({
          value: value.map((g) => 2 * g),
          magnitude: magnitude.map((g) => 2 * g),
        })
        if (accumulate)
          expectClose(byRow(csr, await t.operands.gradient.read()), twice(once.values), 'the values twice')
        if (accumulateBias) expectClose(await t.operands.biasGradient.read(), twice(once.bias), 'the bias twice')
      })
    }
  })

  it('give the same bits when one of the gradients is accumulated and the other fused', async () => {
    for (const [accumulate, accumulateBias] of [
      [true, false],
      [false, true],
    ]) {
      const run = (fused: boolean) =>
        trained(cpu(), csr, 150, async (t) => {
          t.product({ accumulate, accumulateBias })
          if (!fused) t.readGradients()
          t.stepValues()
          t.stepBias()
          await t.run(3)
          expect(t.program.operationCount).to.equal(fused ? 3 : 6)
          return t.state()
        })
      expectSameBits(await run(true), await run(false), `${accumulate}, ${accumulateBias}`)
    }
  })

  it('are not fused when two products add up', async () => {
    await trained(cpu(), csr, 20, async (t) => {
      t.product()
      t.product({ accumulate: true })
      t.stepValues()
      await t.run()
      expect(t.program.operationCount).to.equal(4)
    })
  })

  it('are not fused when the values are read in between, by a product that must see the old ones', async () => {
    await trained(cpu(), csr, 20, async (t) => {
      const { pattern, values, input } = t.operands
      const output = t.w.batch(13, 20)
      t.product()
      t.program.record('spmm', { weights: pattern, values, input, output })
      t.stepValues()
      await t.run()
      expect(t.program.operationCount).to.equal(4)
      const withOldValues = await output.read()
      await trained(cpu(), csr, 20, async (alone) => {
        const expected = alone.w.batch(13, 20)
        alone.program.record('spmm', {
          weights: alone.operands.pattern,
          values: alone.operands.values,
          input: alone.operands.input,
          output: expected,
        })
        await alone.run()
        expectSameBits(withOldValues, await expected.read(), 'the old values')
      })
    })
  })

  it('are not fused across operations on the topology', async () => {
    await trained(cpu(), csr, 20, async (t) => {
      const { pattern, values } = t.operands
      const [keep, scores] = [t.w.tensor('uint8', 60), t.w.floats(60)]
      t.product()
      t.program.record('importance', { links: pattern, values, keep, rule: 'magnitude', scores })
      t.stepValues()
      await t.run()
      expect(t.program.operationCount).to.equal(4)
    })
  })

  it('are not fused when the step comes first: it takes the gradient of the step before', async () => {
    const run = (device: Device) =>
      trained(device, csr, 20, async (t) => {
        t.stepValues(rules[0])
        t.product()
        await t.run()
        expect(t.program.operationCount).to.equal(3)
        expect((await t.state())[0]).to.deep.equal(numbers(60, 3))
        await t.run()
        return t.state()
      })
    const [values] = await run(cpu())
    expect(values).to.not.deep.equal(numbers(60, 3))
  })

  it('are not fused when the optimizer steps another number of parameters', async () => {
    await trained(cpu(), csr, 20, async (t) => {
      t.product()
      t.stepValues(rules[0], { pattern: undefined, count: 5 })
      await t.run()
      const [values] = await t.state()
      expectSameBits(
        byColumn(csr, values).slice(5),
        byColumn(csr, numbers(60, 3)).slice(5),
        'the elements that the optimizer leaves',
      )
    })
  })
})
