import { expect } from 'chai'
import type { Device } from '../../lib/device.js'
import type { Transfer } from '../../lib/program.js'
import { type LossOf, meanSquaredError, numericalGradient, type Smoothing, softmaxCrossEntropy } from '../reference.js'
import {
  at,
  columnsOf,
  cpu,
  expectClose,
  expectNear,
  expectOnlyGoodOperands,
  expectRefusal,
  numbers,
  on,
  onAnyThreads,
  places,
  random,
  type Workspace,
} from '../support.js'

/** loss, correct, columns, nonFiniteStep */
const emptyTotals = Float64Array.of(0, 0, 0, -1)

interface Result {
  totals: Float64Array
  /** [capacity][features] */
  gradient: Float32Array
}

function crossEntropy(
  device: Device,
  classes: number,
  batch: number,
  logits: Float32Array,
  targets: Int32Array,
  training = true,
  smoothing?: Smoothing,
): Promise<Result> {
  return on(device, async (w) => {
    const columns = targets.length
    const gradient = w.batch(classes, batch, new Float32Array(batch * classes).fill(9))
    const totals = w.tensor('float64', emptyTotals)
    const operands = {
      logits: w.batch(classes, batch, logits, 7.5),
      targets: targetsOf(w, targets, batch),
      gradient: training ? gradient : undefined,
      totals,
      ...smoothing,
    }
    await w.run([['softmaxCrossEntropy', operands]], { batch, columns })
    return { totals: await totals.read(), gradient: await gradient.read() }
  })
}

/** Targets of the valid columns; the others name a class that does not exist, which must not matter. */
function targetsOf(w: Workspace, targets: Int32Array, batch: number) {
  const all = new Int32Array(batch).fill(-1_000_000)
  all.set(targets)
  return w.tensor('int32', all)
}

function squaredError(
  device: Device,
  features: number,
  batch: number,
  output: Float32Array,
  target: Float32Array,
  training = true,
): Promise<Result> {
  return on(device, async (w) => {
    const gradient = w.batch(features, batch, new Float32Array(batch * features).fill(9))
    const totals = w.tensor('float64', emptyTotals)
    const operands = {
      output: w.batch(features, batch, output, 7.5),
      target: w.batch(features, batch, target, 7.5),
      gradient: training ? gradient : undefined,
      totals,
    }
    await w.run([['meanSquaredError', operands]], { batch, columns: output.length / features })
    return { totals: await totals.read(), gradient: await gradient.read() }
  })
}

function classesOf(columns: number, classes: number, seed: number): Int32Array {
  const next = random(seed)
  return Int32Array.from({ length: columns }, () => Math.floor(next() * classes))
}

function expectTotals(totals: Float64Array, expected: LossOf, columns: number, what: string): void {
  expectNear([totals[0]], [expected.loss], `${what}: loss`, 3e-6)
  expect([totals[1], totals[2], totals[3]], what).to.deep.equal([expected.correct, columns, -1])
}

/** What the columns of a batch count: some twice, some not at all, and fractions. */
function weightsOf(columns: number, seed: number): Float32Array {
  const next = random(seed)
  return Float32Array.from({ length: columns }, () => [0, 0.25, 1, 2, 3.5][Math.floor(5 * next())])
}

const sum = (values: Iterable<number>) => [...values].reduce((a, b) => a + b, 0)

/** Columns of `gradient` [columns][features], the mean's over all of them, by their weights and over their sum. */
function weighted(gradient: ArrayLike<number>, weights: Float32Array, features: number): number[] {
  const count = sum(weights)
  const scale = (column: number) => (weights[column] === 0 ? 0 : (weights[column] * weights.length) / count)
  return Array.from(gradient, (g, i) => (g === 0 ? 0 : g * scale(Math.floor(i / features))))
}

const batches = [1, 5, 17, 33, 128, 129, 200, 300]

for (const place of places) {
  describe(`softmaxCrossEntropy at ${place}`, () => {
    const device = at(place)
    for (const [i, classes] of [2, 10, 47, 3, 10, 5, 62, 130].entries()) {
      const batch = batches[i]
      it(`is the mean of -log softmax: ${classes} classes, batch ${batch}`, async () => {
        for (const columns of columnsOf(batch)) {
          const logits = numbers(columns * classes, 1, -6, 6)
          const targets = classesOf(columns, classes, 2)
          const expected = softmaxCrossEntropy(logits, targets, classes, columns)
          const { totals, gradient } = await crossEntropy(device, classes, batch, logits, targets)
          expectTotals(totals, expected, columns, `${columns} columns`)
          const magnitude = expected.gradient.map((g, j) =>
            targets[Math.floor(j / classes)] === j % classes ? g + 2 / columns : g,
          )
          expectClose(
            gradient.slice(0, columns * classes),
            { value: expected.gradient, magnitude },
            `${columns} columns`,
            4e-6,
          )
          const padding = gradient.slice(columns * classes, Math.min(batch, Math.ceil(columns / 16) * 16) * classes)
          expect(
            padding.every((g) => g === 0),
            'no gradient in the padding',
          ).to.equal(true)
          const evaluated = await crossEntropy(device, classes, batch, logits, targets, false)
          expect([...evaluated.totals]).to.deep.equal([...totals])
          expect(evaluated.gradient.every((g) => g === 9)).to.equal(true)
        }
      })
    }

    it('is accurate for large and lopsided logits', async () => {
      const logits = Float32Array.of(1e4, 0, -1e4, 80, 79.5, -3e38, -87, -88, -100, 0, 0, 0, 30, -30, -60)
      const targets = Int32Array.of(0, 1, 0, 2, 1)
      const expected = softmaxCrossEntropy(logits, targets, 3, 5)
      const { totals, gradient } = await crossEntropy(device, 3, 5, logits, targets)
      expectTotals(totals, expected, 5, 'loss')
      expectNear(gradient, expected.gradient, 'gradient', 1e-6)
    })

    it('does not mind a class that is impossible', async () => {
      const logits = Float32Array.of(Number.NEGATIVE_INFINITY, 1, 2)
      const expected = softmaxCrossEntropy(logits, [1], 3, 1)
      const { totals, gradient } = await crossEntropy(device, 3, 1, logits, Int32Array.of(1))
      expectTotals(totals, expected, 1, 'loss')
      expectNear(gradient, expected.gradient, 'gradient', 1e-6)
    })

    it('takes the largest of many logits for it, wherever it is, behind many that are impossible, too', async () => {
      const [classes, columns] = [200, 3]
      const logits = Float32Array.from({ length: classes * columns }, (_, i) => {
        const [c, k] = [Math.floor(i / classes), i % classes]
        const ascending = k / 4 - 20
        return c === 0 ? ascending : c === 1 ? -ascending : k < 150 ? Number.NEGATIVE_INFINITY : ascending
      })
      const targets = Int32Array.of(199, 100, 180)
      const expected = softmaxCrossEntropy(logits, targets, classes, columns)
      const { totals, gradient } = await crossEntropy(device, classes, columns, logits, targets)
      expectTotals(totals, expected, columns, 'loss')
      expectNear(gradient, expected.gradient, 'gradient', 2e-6)
    })
  })

  describe(`softmaxCrossEntropy with smoothed labels at ${place}`, () => {
    const device = at(place)
    for (const [i, classes] of [2, 10, 47, 3, 10, 5, 62, 100].entries()) {
      const batch = batches[i]
      it(`is the mean of -q log softmax: ${classes} classes, batch ${batch}`, async () => {
        for (const columns of columnsOf(batch))
          for (const paddingClass of classes > 2 ? [undefined, 0, classes - 1] : [undefined])
            for (const labelSmoothing of [0.1, 0.95]) {
              const what = `${columns} columns, ${labelSmoothing}, padding ${paddingClass}`
              const logits = numbers(columns * classes, 1, -6, 6)
              const targets = classesOf(columns, classes, 2)
              if (paddingClass !== undefined) targets[0] = paddingClass // which then is a target as others are
              const smoothing = { labelSmoothing, paddingClass }
              const expected = softmaxCrossEntropy(logits, targets, classes, columns, smoothing)
              const { totals, gradient } = await crossEntropy(device, classes, batch, logits, targets, true, smoothing)
              expectTotals(totals, expected, columns, what)
              const magnitude = expected.gradient.map((g) => Math.abs(g) + 2 / columns)
              const computed = gradient.slice(0, columns * classes)
              expectClose(computed, { value: expected.gradient, magnitude }, what, 1e-6)
              const padding = gradient.slice(columns * classes, Math.min(batch, Math.ceil(columns / 16) * 16) * classes)
              expect(
                padding.every((g) => g === 0),
                'no gradient in the padding',
              ).to.equal(true)
              const evaluated = await crossEntropy(device, classes, batch, logits, targets, false, smoothing)
              expect([...evaluated.totals]).to.deep.equal([...totals])
            }
      })
    }

    it('has the bits of plain labels without smoothing', async () => {
      for (const classes of [3, 40]) {
        const [logits, targets] = [numbers(33 * classes, 1, -6, 6), classesOf(33, classes, 2)]
        const plain = await crossEntropy(device, classes, 40, logits, targets)
        const smoothing = { labelSmoothing: 0, paddingClass: 1 }
        expect(await crossEntropy(device, classes, 40, logits, targets, true, smoothing)).to.deep.equal(plain)
      }
    })

    it('asks nothing of a padding class that is impossible, and is infinite for others', async () => {
      const logits = Float32Array.of(Number.NEGATIVE_INFINITY, 1, 2, -3e38, 0.5)
      const smoothing = { labelSmoothing: 0.1, paddingClass: 0 }
      const expected = softmaxCrossEntropy(logits, [1], 5, 1, smoothing)
      const { totals, gradient } = await crossEntropy(device, 5, 1, logits, Int32Array.of(1), true, smoothing)
      expectTotals(totals, expected, 1, 'loss')
      expectNear(gradient, expected.gradient, 'gradient', 1e-6)
      const spread = { labelSmoothing: 0.1 }
      const other = await crossEntropy(device, 5, 1, logits, Int32Array.of(1), false, spread)
      expect([other.totals[0], other.totals[3]]).to.deep.equal([Number.POSITIVE_INFINITY, 0])
    })

    it('goes with weights, ignored labels, parts of a batch, and a gradient in place of the logits', async () => {
      const [batch, columns, ignore] = [48, 41, -1]
      for (const classes of [5, 50]) {
        const logits = numbers(columns * classes, 1, -6, 6)
        const labels = classesOf(columns, classes, 2)
        const weights = weightsOf(columns, 3)
        for (let c = 0; c < columns; c += 5) labels[c] = ignore
        const counted = weights.map((weight, c) => (labels[c] === ignore ? 0 : weight))
        const smoothing = { labelSmoothing: 0.2, paddingClass: 2 }
        const inParts = (parts: (readonly [first: number, length: number])[]) =>
          on(device, async (w): Promise<Result> => {
            const padded = new Float32Array(batch).fill(Number.NaN)
            padded.set(weights)
            const targets = targetsOf(w, labels, batch)
            const [totals, count] = [w.tensor('float64', emptyTotals), w.tensor('float64', 1)]
            const columnsOfBatch = { targets, weights: w.tensor('float32', padded), ignore }
            const program = w.program({ batch })
            program.record('sumWeights', { ...columnsOfBatch, sum: count })
            const writes: Transfer[] = []
            const gradients = parts.map(([first, length]) => {
              const part = w.own(program.part(first, length))
              const z = w.own(program.activations(classes, 'given', part))
              const own = Math.min(columns - first, length)
              writes.push([z, logits.slice(first * classes, (first + own) * classes), own])
              const operands = { logits: z, gradient: z, ...columnsOfBatch, count, totals, ...smoothing }
              program.record('softmaxCrossEntropy', operands)
              program.keep(z)
              return async () => [...(await z.read(own))]
            })
            await program.replay(1, { begin: { step: 0, columns }, writes })
            const read = await Promise.all(gradients.map((gradient) => gradient()))
            return { totals: await totals.read(), gradient: Float32Array.from(read.flat()) }
          })
        const whole = await inParts([[0, batch]])
        const valid = labels.map((label) => Math.max(label, 0))
        const plain = softmaxCrossEntropy(logits, valid, classes, columns, smoothing)
        const each = Array.from({ length: columns }, (_, c) => {
          const own = logits.slice(c * classes, (c + 1) * classes)
          return softmaxCrossEntropy(own, [valid[c]], classes, 1, smoothing)
        })
        expectNear(whole.gradient, weighted(plain.gradient, counted, classes), 'gradient', 4e-6)
        expectNear([whole.totals[0]], [sum(each.map((one, c) => counted[c] * one.loss))], 'loss', 3e-6)
        expect(whole.totals[2]).to.equal(sum(counted))
        const parts = await inParts([
          [0, 16],
          [16, 32],
        ])
        expect([...parts.gradient]).to.deep.equal([...whole.gradient])
        expectNear(parts.totals, whole.totals, 'sums in parts', 1e-14)
      }
    })
  })

  describe(`meanSquaredError at ${place}`, () => {
    const device = at(place)
    for (const [i, features] of [1, 61, 3, 37, 2, 19, 10, 5].entries()) {
      const batch = batches[i]
      it(`is the mean of squares: ${features} features, batch ${batch}`, async () => {
        for (const columns of columnsOf(batch)) {
          const target = numbers(columns * features, 3)
          const output = numbers(columns * features, 4)
          const expected = meanSquaredError(output, target, features, columns)
          const { totals, gradient } = await squaredError(device, features, batch, output, target)
          expectTotals(totals, expected, columns, `${columns} columns`)
          const magnitude = expected.gradient.map((g, j) =>
            g === 0 ? 0 : ((Math.abs(output[j]) + Math.abs(target[j])) * 2) / (features * columns),
          )
          expectClose(
            gradient.slice(0, columns * features),
            { value: expected.gradient, magnitude },
            `${columns} columns`,
            4e-7,
          )
          const padding = gradient.slice(columns * features, Math.min(batch, Math.ceil(columns / 16) * 16) * features)
          expect(
            padding.every((g) => g === 0),
            'no gradient in the padding',
          ).to.equal(true)
        }
      })
    }
  })
}

for (const place of places) {
  describe(`losses of columns with weights at ${place}`, () => {
    const device = at(place)
    const IGNORED = -100

    async function losses(classes: number, batch: number, columns: number, seed: number) {
      const logits = numbers(columns * classes, seed, -6, 6)
      const target = numbers(columns * classes, seed + 1)
      const labels = classesOf(columns, classes, seed + 2)
      const weights = weightsOf(columns, seed + 3)
      weights[columns - 1] = 1
      for (let c = 0; c < columns - 1; c += 7) labels[c] = IGNORED
      const counted = weights.map((weight, c) => (labels[c] === IGNORED ? 0 : weight))
      await on(device, async (w) => {
        const padded = new Float32Array(batch).fill(Number.NaN)
        padded.set(weights)
        const shared = { weights: w.tensor('float32', padded) }
        const targets = targetsOf(w, labels, batch)
        const [z, y, t] = [logits, logits, target].map((given) => w.batch(classes, batch, given, 7.5))
        const [dz, dy] = [0, 1].map(() => w.batch(classes, batch, new Float32Array(batch * classes).fill(9)))
        const [entropy, squares] = [0, 1].map(() => w.tensor('float64', emptyTotals))
        const [count, all] = [0, 1].map(() => w.tensor('float64', 1))
        await w.run(
          [
            ['sumWeights', { ...shared, targets, ignore: IGNORED, sum: count }],
            ['sumWeights', { ...shared, sum: all }],
            [
              'softmaxCrossEntropy',
              { ...shared, logits: z, targets, ignore: IGNORED, gradient: dz, totals: entropy, count },
            ],
            ['meanSquaredError', { ...shared, output: y, target: t, gradient: dy, totals: squares, count: all }],
          ],
          { batch, columns },
        )
        const what = `${columns} of ${batch} columns`
        expect([...(await count.read()), ...(await all.read())], what).to.deep.equal([sum(counted), sum(weights)])
        // The mean over the same columns one by one, each with its own loss.
        const plain = softmaxCrossEntropy(
          logits,
          labels.map((label) => Math.max(label, 0)),
          classes,
          columns,
        )
        const each = Array.from({ length: columns }, (_, c) =>
          softmaxCrossEntropy(logits.slice(c * classes, (c + 1) * classes), [Math.max(labels[c], 0)], classes, 1),
        )
        const gradient = (await dz.read()).slice(0, columns * classes)
        expectNear(gradient, weighted(plain.gradient, counted, classes), `${what}: cross-entropy`, 4e-6)
        const [loss, correct, weight] = await entropy.read()
        expectNear([loss], [sum(each.map((one, c) => counted[c] * one.loss))], `${what}: loss`, 3e-6)
        expect([correct, weight], what).to.deep.equal([
          sum(each.map((one, c) => counted[c] * one.correct)),
          sum(counted),
        ])
        const error = meanSquaredError(logits, target, classes, columns)
        const ofColumns = Array.from({ length: columns }, (_, c) => {
          const at = [c * classes, (c + 1) * classes]
          return weights[c] * meanSquaredError(logits.slice(...at), target.slice(...at), classes, 1).loss
        })
        expectNear(
          (await dy.read()).slice(0, columns * classes),
          weighted(error.gradient, weights, classes),
          `${what}: squares`,
          1e-6,
        )
        const totals = await squares.read()
        expectNear([totals[0]], [sum(ofColumns)], `${what}: sum of squares`, 3e-6)
        expect(totals[2], what).to.equal(sum(weights))
      })
    }

    it('are means over what counts', async () => {
      for (const [classes, batch, columns] of [
        [2, 1, 1],
        [10, 33, 33],
        [10, 200, 131],
        [47, 129, 128],
        [3, 300, 290],
      ])
        await losses(classes, batch, columns, 10 * batch)
    })

    it('are 0, and so are their gradients, where nothing counts', async () => {
      await on(device, async (w) => {
        const count = w.tensor('float64', 1)
        const weights = w.tensor('float32', new Float32Array(5))
        const [logits, target] = [w.batch(3, 5, new Float32Array(15).fill(Number.NaN)), w.batch(3, 5, numbers(15, 1))]
        const gradients = [0, 1].map(() => w.batch(3, 5, new Float32Array(15).fill(9)))
        const totals = w.tensor('float64', emptyTotals)
        const targets = w.tensor('int32', new Int32Array(5))
        await w.run(
          [
            ['sumWeights', { weights, sum: count }],
            ['softmaxCrossEntropy', { logits, targets, weights, count, gradient: gradients[0], totals }],
            ['meanSquaredError', { output: logits, target, weights, count, gradient: gradients[1], totals }],
          ],
          { batch: 5 },
        )
        expect([...(await totals.read())]).to.deep.equal([0, 0, 0, -1])
        for (const gradient of gradients) expect((await gradient.read()).every((g) => g === 0)).to.equal(true)
      })
    })

    it('refuse a label that is neither a class nor ignored', async () => {
      await on(device, async (w) => {
        const program = w.program({ batch: 2 })
        program.record('softmaxCrossEntropy', {
          logits: w.batch(3, 2, numbers(6, 1)),
          targets: w.tensor('int32', Int32Array.of(-1, -2)),
          ignore: -1,
          totals: w.tensor('float64', emptyTotals),
        })
        const error = await expectRefusal(() => program.replay(1), 'INVALID_ARGUMENT', 'a label of -2')
        expect(error.message).to.contain('targets in [0, 3), got -2 in column 1')
      })
    })

    it('go back to the sums of before the step where it ends in a later part', async () => {
      for (const bad of ['a label', 'the loss'])
        await on(device, async (w) => {
          const before = Float64Array.of(5, 2, 7, -1)
          const program = w.program({ batch: 32 })
          const [totals, previous] = [w.tensor('float64', before), w.tensor('float64', 4)]
          const labels = new Int32Array(32).fill(1)
          if (bad === 'a label') labels[20] = 3
          const targets = w.tensor('int32', labels)
          program.record('noteTotals', { totals, previous })
          const writes: Transfer[] = []
          for (const first of [0, 16]) {
            const numbersOfPart = numbers(48, first)
            if (bad === 'the loss' && first > 0) numbersOfPart[9] = Number.POSITIVE_INFINITY
            const part = w.own(program.part(first, 16))
            const [logits, gradient] = ['given', 'step'].map((lifetime) =>
              w.own(program.activations(3, lifetime as 'given' | 'step', part)),
            )
            writes.push([logits, numbersOfPart, 16])
            program.record('softmaxCrossEntropy', { logits, targets, gradient, totals, previous })
          }
          await expectRefusal(
            () => program.replay(1, { writes }),
            bad === 'a label' ? 'INVALID_ARGUMENT' : 'NON_FINITE',
            bad,
          )
          expect([...(await totals.read())], bad).to.deep.equal([...before])
        })
    })
  })
}

describe('losses', () => {
  it('give the same bits on any number of threads', async () => {
    const logits = numbers(300 * 100, 1, -5, 5)
    await onAnyThreads((device) => crossEntropy(device, 100, 300, logits, classesOf(300, 100, 2)))
    const smoothing = { labelSmoothing: 0.1, paddingClass: 7 }
    await onAnyThreads((device) => crossEntropy(device, 100, 300, logits, classesOf(300, 100, 2), true, smoothing))
    const output = numbers(300 * 200, 3)
    await onAnyThreads((device) => squaredError(device, 200, 300, output, numbers(300 * 200, 4)))
  })

  it('have the gradients that differences of the loss have', async () => {
    const logits = numbers(12 * 7, 5, -3, 3)
    const targets = classesOf(12, 7, 6)
    const point = Float64Array.from(logits)
    const slope = numericalGradient(() => softmaxCrossEntropy(point, targets, 7, 12).loss / 12, point)
    expectNear((await crossEntropy(cpu(), 7, 12, logits, targets)).gradient, slope, 'cross-entropy', 1e-5)
    for (const paddingClass of [undefined, 3]) {
      const smoothing = { labelSmoothing: 0.3, paddingClass }
      const smooth = numericalGradient(() => softmaxCrossEntropy(point, targets, 7, 12, smoothing).loss / 12, point)
      const { gradient } = await crossEntropy(cpu(), 7, 12, logits, targets, true, smoothing)
      expectNear(gradient, smooth, `smoothed labels, padding ${paddingClass}`, 1e-5)
    }

    const target = numbers(12 * 7, 7)
    const squares = numericalGradient(() => meanSquaredError(point, target, 7, 12).loss / 12, point)
    expectNear((await squaredError(cpu(), 7, 12, logits, target)).gradient, squares, 'mean squared error', 1e-5)
  })

  it('add up over steps, and note the first step that was not finite', async () => {
    await on(cpu(), async (w) => {
      const logits = w.batch(3, 4, numbers(12, 8))
      const program = w.program({ batch: 4 })
      const totals = w.tensor('float64', emptyTotals)
      program.record('softmaxCrossEntropy', { logits, targets: w.tensor('int32', Int32Array.of(0, 1, 2, 0)), totals })
      await program.replay(3, { begin: { step: 100 } })
      const { loss, correct } = softmaxCrossEntropy(numbers(12, 8), [0, 1, 2, 0], 3, 4)
      let read = await totals.read()
      expectNear([read[0]], [3 * loss], 'three times the loss', 3e-6)
      expect([...read.slice(1)]).to.deep.equal([3 * correct, 12, -1])
      await logits.write(Float32Array.of(0, 0, 0, 1, Number.NaN, 1, 0, 0, 0, 0, 0, 0))
      await program.replay(2)
      read = await totals.read()
      expect(read[0]).to.be.NaN
      expect([...read.slice(2)]).to.deep.equal([20, 103])
    })
  })

  it('note an infinite squared error', async () => {
    const { totals } = await squaredError(
      cpu(),
      2,
      2,
      Float32Array.of(1, 2, Number.POSITIVE_INFINITY, 0),
      new Float32Array(4),
      false,
    )
    expect([totals[0], totals[3]]).to.deep.equal([Number.POSITIVE_INFINITY, 0])
  })

  for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
    it(`end the step when training meets ${bad}, and leave the sums`, async () => {
      await on(cpu(), async (w) => {
        const totals = w.tensor('float64', Float64Array.of(1, 2, 3, -1))
        const program = w.program({ batch: 2 })
        const [logits, gradient] = [w.batch(2, 2, Float32Array.of(1, bad, 0, 0)), w.batch(2, 2)]
        program.record('softmaxCrossEntropy', {
          logits,
          targets: w.tensor('int32', Int32Array.of(1, 1)),
          gradient,
          totals,
        })
        const failure = await expectRefusal(() => program.replay(3, { begin: { step: 7 } }), 'NON_FINITE', 'a loss')
        expect(failure.message).to.match(/in step 7/)
        expect(program.stepsDone).to.equal(7)
        const squares = w.program({ batch: 2 })
        squares.record('meanSquaredError', {
          output: logits,
          target: w.batch(2, 2, new Float32Array(4)),
          gradient,
          totals,
        })
        await expectRefusal(() => squares.replay(1), 'NON_FINITE', 'a squared error')
        expect([...(await totals.read())]).to.deep.equal([1, 2, 3, -1])
      })
    })
  }

  it('do not count a column of NaN as right', async () => {
    const { totals } = await crossEntropy(cpu(), 3, 2, new Float32Array(6).fill(Number.NaN), Int32Array.of(0, 1), false)
    expect(totals[1]).to.equal(0)
  })

  it('take the first of equal logits as the class', async () => {
    for (const place of places) {
      const { totals } = await crossEntropy(at(place), 3, 3, new Float32Array(9).fill(2), Int32Array.of(0, 1, 2))
      expect(totals[1]).to.equal(1)
    }
  })

  it('refuse operands that do not fit, and work afterwards', async () => {
    await on(cpu(), async (w) => {
      const program = w.program({ batch: 8 })
      const totals = w.tensor('float64', 4)
      const gone = w.tensor('float64', 4)
      gone.dispose()
      const good = {
        logits: w.batch(3, 8, numbers(24, 1)),
        targets: w.tensor('int32', 8),
        gradient: w.batch(3, 8),
        totals,
      }
      const [one, two] = [1, 2].map((classes) => ({ logits: w.batch(classes, 8), gradient: w.batch(classes, 8) }))
      await expectOnlyGoodOperands(program, 'softmaxCrossEntropy', good, {
        'too few targets': [{ targets: w.tensor('int32', 7) }, 'INVALID_ARGUMENT'],
        'no targets': [{ targets: undefined }, 'INVALID_ARGUMENT'],
        'a gradient of another shape': [{ gradient: w.batch(4, 8) }, 'INVALID_ARGUMENT'],
        'a gradient of another capacity': [{ gradient: w.batch(3, 9) }, 'INVALID_ARGUMENT'],
        'short totals': [{ totals: w.tensor('float64', 3) }, 'INVALID_ARGUMENT'],
        'disposed totals': [{ totals: gone }, 'DISPOSED'],
        'a scale of 0': [{ lossScale: 0 }, 'INVALID_ARGUMENT'],
        'all smoothed': [{ labelSmoothing: 1 }, 'INVALID_ARGUMENT'],
        'smoothed by less than nothing': [{ labelSmoothing: -0.1 }, 'INVALID_ARGUMENT'],
        'smoothed by NaN': [{ labelSmoothing: Number.NaN }, 'INVALID_ARGUMENT'],
        'padding that is no class': [{ paddingClass: 3 }, 'INVALID_ARGUMENT'],
        'padding below the classes': [{ paddingClass: -1 }, 'INVALID_ARGUMENT'],
        'no class to smooth over': [{ labelSmoothing: 0.1, ...one }, 'INVALID_ARGUMENT'],
        'padding as the only other class': [{ labelSmoothing: 0.1, paddingClass: 0, ...two }, 'INVALID_ARGUMENT'],
      })
      await expectOnlyGoodOperands(
        program,
        'meanSquaredError',
        { output: good.logits, target: w.batch(3, 8, numbers(24, 2)), totals },
        {
          'a target of another shape': [{ target: w.batch(2, 8) }, 'INVALID_ARGUMENT'],
          'a gradient of another shape': [{ gradient: w.batch(2, 8) }, 'INVALID_ARGUMENT'],
          'short totals': [{ totals: w.tensor('float64', 3) }, 'INVALID_ARGUMENT'],
        },
      )
      await program.replay(1)
      expect((await totals.read())[2]).to.equal(16)
    })
  })

  // With more columns than fit, the operations would read and write past their buffers.
  it("refuse batches that are smaller than the program's", async () => {
    await on(cpu(), async (w) => {
      const program = w.program({ batch: 64 })
      const totals = w.tensor('float64', 4)
      const targets = w.tensor('int32', 64)
      await expectOnlyGoodOperands(
        program,
        'softmaxCrossEntropy',
        { logits: w.batch(3, 64), targets, totals },
        {
          'room for 16 of 64 columns': [{ logits: w.batch(3, 16) }, 'INVALID_ARGUMENT'],
        },
      )
      await expectOnlyGoodOperands(
        program,
        'meanSquaredError',
        { output: w.batch(3, 64), target: w.batch(3, 64), totals },
        {
          'room for 16 of 64 columns': [{ output: w.batch(3, 16), target: w.batch(3, 16) }, 'INVALID_ARGUMENT'],
        },
      )
    })
  })
})
