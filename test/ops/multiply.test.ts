import { expect } from 'chai'
import { Tape, type Value } from '../../lib/autograd.js'
import type { Device } from '../../lib/device.js'
import { multiply, silu } from '../../lib/nn/layers.js'
import type { Activations } from '../../lib/tensor.js'
import { numericalGradient } from '../reference.js'
import {
  at,
  columnsOf,
  cpu,
  everywhere,
  expectNear,
  expectOnlyGoodOperands,
  expectSameBits,
  numbers,
  on,
  onAnyThreads,
  places,
  sizes,
} from '../support.js'

/** In double precision, where the product of two floats is exact; then rounded, as each operation does. */
const product = (a: Float32Array, b: Float32Array) => a.map((v, i) => v * b[i])
const sum = (a: Float32Array, b: Float32Array) => a.map((v, i) => v + b[i])

/** first * second, added to `initial` where it is given. Beside the samples both hold 7.5. */
function times(
  device: Device,
  [features, batch]: readonly [number, number],
  [first, second]: readonly [Float32Array, Float32Array],
  initial?: Float32Array,
): Promise<Float32Array> {
  return on(device, async (w) => {
    const columns = first.length / features
    const operands = { first: w.batch(features, batch, first, 7.5), second: w.batch(features, batch, second, 7.5) }
    const output = w.batch(features, batch, initial)
    await w.run([['multiply', { ...operands, output, accumulate: initial !== undefined }]], { batch, columns })
    return output.read(columns)
  })
}

describe('multiply', () => {
  for (const [features, batch] of sizes) {
    it(`is the product of two batches, or adds it: ${features} features, batch ${batch}`, async () => {
      for (const columns of columnsOf(batch)) {
        const [a, b, c] = [1, 2, 3].map((seed) => numbers(columns * features, seed, -2, 3))
        const plain = await everywhere((device) => times(device, [features, batch], [a, b]))
        expectSameBits(plain, product(a, b), 'any place, and in double precision')
        const added = await everywhere((device) => times(device, [features, batch], [a, b], c))
        expectSameBits(added, sum(product(a, b), c), 'any place, and in double precision, added')
      }
    })
  }

  it('is right where numbers are small or large, and hides no NaN', async () => {
    const a = Float32Array.of(0, -0, -0, 1e30, -1e30, 1e-30, 1e-30, 1e-45, 3.4e38, Number.POSITIVE_INFINITY)
    const b = Float32Array.of(-3, 2, -2, 1e30, 1e30, -1e-12, 1e-30, 0.75, 1, -2)
    const y = await everywhere((device) => times(device, [a.length, 1], [a, b]))
    expectSameBits(y, product(a, b), 'any place, and in double precision')
    const none = [Float32Array.of(Number.NaN, 0, 1), Float32Array.of(0, Number.NEGATIVE_INFINITY, Number.NaN)] as const
    for (const place of places)
      expect([...(await times(at(place), [3, 1], none))], place).to.deep.equal(Array(3).fill(Number.NaN))
  })

  it('gives the same bits on any number of threads, and in place of either factor', async () => {
    const [a, b] = [numbers(300 * 70, 1), numbers(300 * 70, 2)]
    const inPlace = (operands: (first: Activations, second: Activations) => object) =>
      onAnyThreads((device) =>
        on(device, async (w) => {
          const [first, second] = [w.batch(70, 300, a), w.batch(70, 300, b)]
          const all = { first, second, output: first, ...operands(first, second) }
          await w.run([['multiply', all]], { batch: 300 })
          return all.output.read()
        }),
      )
    expectSameBits(await onAnyThreads((device) => times(device, [70, 300], [a, b])), product(a, b), 'apart')
    expectSameBits(await inPlace(() => ({})), product(a, b), 'the first')
    expectSameBits(await inPlace((_, second) => ({ output: second })), product(a, b), 'the second')
    expectSameBits(await inPlace((first) => ({ second: first })), product(a, a), 'both')
    expectSameBits(await inPlace(() => ({ accumulate: true })), sum(product(a, b), a), 'the first, added')
    expectSameBits(await inPlace((first) => ({ second: first, accumulate: true })), sum(product(a, a), a), 'all')
  })

  it('refuses operands that do not fit', async () => {
    await on(cpu(), async (w) => {
      const program = w.program({ batch: 8 })
      const operands = { first: w.batch(6, 8), second: w.batch(6, 8), output: w.batch(6, 8) }
      await expectOnlyGoodOperands(program, 'multiply', operands, {
        'other features': [{ second: w.batch(5, 8) }, 'INVALID_ARGUMENT'],
        'another capacity': [{ second: w.batch(6, 9) }, 'INVALID_ARGUMENT'],
        'one factor': [{ second: undefined }, 'INVALID_ARGUMENT'],
        'an output of other features': [{ output: w.batch(5, 8) }, 'INVALID_ARGUMENT'],
        'no output': [{ output: undefined }, 'INVALID_ARGUMENT'],
      })
    })
  })
})

describe('multiply on the tape', () => {
  const [features, batch, columns] = [3, 40, 21]
  const data = [1, 2].map((seed) => numbers(columns * features, seed, -2, 3))
  const dy = numbers(columns * features, 3)

  /** What is computed from one or two values, and the same of numbers. */
  interface Case {
    record(tape: Tape, a: Value, b: Value): Value
    of(a: number, b: number): number
    inputs: 1 | 2
  }
  const cases: Record<string, Case> = {
    'two values': { record: multiply, of: (a, b) => a * b, inputs: 2 },
    'a value and itself': { record: (tape, a) => multiply(tape, a, a), of: (a) => a * a, inputs: 1 },
    'a product and one of its factors': {
      record: (tape, a, b) => multiply(tape, multiply(tape, a, b), a),
      of: (a, b) => a * b * a,
      inputs: 2,
    },
    'a product and itself': {
      record(tape, a, b) {
        const ab = multiply(tape, a, b)
        return multiply(tape, ab, ab)
      },
      of: (a, b) => (a * b) ** 2,
      inputs: 2,
    },
    'a gate and a value, as in SwiGLU': {
      record: (tape, a, b) => multiply(tape, silu(tape, a), b),
      of: (a, b) => (a / (1 + Math.exp(-a))) * b,
      inputs: 2,
    },
  }

  for (const [name, { record, of, inputs }] of Object.entries(cases)) {
    it(`has the gradients that differences have: ${name}`, async () => {
      const points = data.map((x) => Float64Array.from(x))
      const value = (i: number) => of(points[0][i], points[1][i])
      const loss = () => dy.reduce((total, g, i) => total + g * value(i), 0)
      for (const place of places) {
        await on(at(place, 2), async (w) => {
          const program = w.program({ batch })
          const tape = w.own(new Tape(program, { training: true }))
          const input = (x: Float32Array): Value => ({
            activations: w.batch(features, batch, x, 7.5),
            needsGradient: true,
          })
          const [a, b] = [input(data[0]), input(data[1])]
          const y = record(tape, a, b)
          const [first, output] = [w.batch(features, batch, dy), tape.gradient(y)?.gradient as Activations]
          program.record('add', { first, output })
          tape.backward()
          const gradients = [a, b].slice(0, inputs).map((x) => tape.gradient(x)?.gradient as Activations)
          for (const kept of [y.activations, ...gradients]) program.keep(kept)
          await program.replay(1, { begin: { columns } })
          expectNear(
            await y.activations.read(columns),
            Float64Array.from(dy, (_, i) => value(i)),
            place,
            1e-6,
          )
          for (const [n, gradient] of gradients.entries()) {
            // Up to the next multiple of 16 columns, gradients are 0 behind the valid ones.
            const all = await gradient.read(32)
            expectNear(all.subarray(0, dy.length), numericalGradient(loss, points[n]), `input ${n}, ${place}`, 1e-6)
            expect(all.subarray(dy.length).every((g) => g === 0)).to.equal(true)
          }
        })
      }
    })
  }

  it('computes no gradient that nobody needs', async () => {
    await on(cpu(), async (w) => {
      const operations = async (training: boolean, needed: readonly [boolean, boolean]) => {
        const program = w.program({ batch })
        const tape = w.own(new Tape(program, { training }))
        const [a, b] = needed.map((needsGradient) => ({ activations: w.batch(features, batch), needsGradient }))
        const y = multiply(tape, a, b)
        const into = tape.gradient(y)
        if (into) program.record('add', { first: w.batch(features, batch), output: into.gradient })
        if (training) tape.backward()
        for (const value of [a, b]) {
          const wanted = tape.gradient(value)
          expect(wanted !== undefined).to.equal(training && value.needsGradient)
          if (wanted) program.keep(wanted.gradient)
        }
        program.keep(y.activations)
        await program.replay(1)
        return program.operationCount
      }
      // The product, its gradient, a product for each factor's gradient, and what advances the step.
      expect(await operations(true, [true, true])).to.equal(5)
      expect(await operations(true, [true, false])).to.equal(4)
      expect(await operations(true, [false, true])).to.equal(4)
      expect(await operations(true, [false, false])).to.equal(2)
      expect(await operations(false, [true, true])).to.equal(2)
    })
  })
})
