import { expect } from 'chai'
import type { Device } from '../../lib/device.js'
import { softmaxCrossEntropy } from '../reference.js'
import { at, expectNear, expectRefusal, numbers, on, places, random, type Workspace } from '../support.js'

const text = (lengths: readonly number[], seed: number) => {
  const next = random(seed)
  const tokens = Int32Array.from({ length: lengths.reduce((a, b) => a + b, 0) }, () => Math.floor(next() * 1000))
  const starts = [0]
  for (const length of lengths) starts.push((starts.at(-1) as number) + length)
  return { tokens, starts: Int32Array.from(starts), sequences: lengths.length }
}
type Text = ReturnType<typeof text>

/** The operands, and what they write to. */
function operandsOf(
  w: Workspace,
  { tokens, starts, sequences }: Text,
  plan: readonly (readonly number[])[],
  { columns, most, skip = 0, drop = 0 }: { columns: number; most: number; skip?: number; drop?: number },
) {
  const program = w.program({ batch: 1 })
  const axis = program.axis(columns)
  const batches = [0]
  for (const batch of plan) batches.push((batches.at(-1) as number) + batch.length)
  const written = {
    axis: w.own(axis),
    output: w.tensor('int32', new Int32Array(columns).fill(-7)),
    positions: w.tensor('int32', new Int32Array(columns).fill(-7)),
    offsets: w.tensor('int32', new Int32Array(most + 1).fill(-7)),
  }
  const read = {
    ...{ total: tokens.length, tokens: w.tensor('int32', tokens) },
    ...{ sequences, starts: w.tensor('int32', starts) },
    ...{ planned: Math.max(1, plan.flat().length), plan: w.tensor('int32', Int32Array.from([...plan.flat(), 0])) },
    ...{ steps: plan.length, batches: w.tensor('int32', Int32Array.from(batches)) },
    ...{ skip, drop, most },
  }
  return { program, axis, written, operands: { ...read, ...written } }
}

async function stepsOf(
  device: Device,
  ...[given, plan, options]: [Text, number[][], { columns: number; most: number }]
) {
  return on(device, async (w) => {
    const { program, written, operands } = operandsOf(w, given, plan, options)
    program.record('gatherSequences', operands)
    const steps: number[][][] = []
    for (let step = 0; step < plan.length + 1; ++step) {
      await program.replay(1, step === 0 ? { begin: { step: 40 } } : {})
      const { axis, output, positions, offsets } = written
      const all = await Promise.all([axis.read(), output.read(), positions.read(), offsets.read()])
      steps.push(all.map((part) => [...part]))
    }
    return steps
  })
}

for (const place of places) {
  describe(`gatherSequences at ${place}`, () => {
    it('sets the sequences of a batch behind one another, without what is left out of each', async () => {
      const lengths = [3, 0, 7, 1, 12, 2, 40, 5]
      const given = text(lengths, 1)
      const plan = [[2, 0], [], [6], [1, 1, 3, 1], [7, 5, 4, 2], [3, 3, 3, 3]]
      for (const [skip, drop] of [
        [0, 0],
        [1, 0],
        [0, 1],
        [2, 3],
        [2 ** 31 - 1, 2 ** 31 - 1],
      ]) {
        const options = { columns: 40, most: 4, skip, drop }
        const steps = await stepsOf(at(place), given, plan, options)
        // The step behind the last row has that row.
        for (const [row, [axis, output, positions, offsets]] of steps.entries()) {
          const batch = plan[Math.min(row, plan.length - 1)] as number[]
          const parts = batch.map((s) => {
            const [from, to] = [given.starts[s] + skip, given.starts[s + 1] - drop]
            return [...given.tokens.slice(from, Math.max(from, to))]
          })
          const tokens = parts.flat()
          const what = `skip ${skip}, drop ${drop}, row ${row}`
          expect(axis, what).to.deep.equal([tokens.length, 0, tokens.length])
          expect(output.slice(0, tokens.length), what).to.deep.equal(tokens)
          expect(positions.slice(0, tokens.length), what).to.deep.equal(parts.flatMap((part) => part.map((_, i) => i)))
          const ends = parts.map((_, i) => parts.slice(0, i).flat().length)
          expect(offsets, what).to.deep.equal([...ends, ...Array(5 - ends.length).fill(tokens.length)])
        }
      }
    })

    it('has room for batches of many sequences', async () => {
      const next = random(4)
      const given = text(
        Array.from({ length: 1500 }, () => Math.floor(5 * next())),
        2,
      )
      const plan = [Array.from({ length: 1400 }, () => Math.floor(1500 * next()))]
      const [[axis, output, , offsets]] = await stepsOf(at(place), given, plan, { columns: 4000, most: 1400 })
      const parts = plan[0].map((s) => [...given.tokens.slice(given.starts[s], given.starts[s + 1])])
      const tokens = parts.flat()
      expect(axis).to.deep.equal([tokens.length, 0, tokens.length])
      expect(output.slice(0, tokens.length)).to.deep.equal(tokens)
      let at0 = 0
      for (const [i, part] of parts.entries()) {
        if (offsets[i] !== at0) expect.fail(`sequence ${i} begins at ${offsets[i]} in place of ${at0}`)
        at0 += part.length
      }
    })

    it('ends the step where a batch does not fit or is none, and writes nothing', async () => {
      const given = text([3, 4, 5], 3)
      const bad = {
        'tokens that do not fit': [[[2, 2]], {}, 'at most 9 tokens in a batch, got 10'],
        'sequences that do not fit': [[[0, 0, 0]], {}, 'at most 2 sequences in a batch, got 3'],
        'a sequence that is none': [[[0, 3]], {}, 'planned sequences in [0, 3), got 3'],
        'one below all': [[[-1]], {}, 'planned sequences in [0, 3), got -1'],
        'starts that fall': [[[0]], { starts: Int32Array.of(3, 0, 7, 12) }, 'starts that ascend within [0, 12], got 0'],
        'a start behind the end': [[[2]], { starts: Int32Array.of(0, 3, 7, 13) }, 'ascend within [0, 12], got 13'],
      } as const
      for (const [what, [plan, changed, message]] of Object.entries(bad)) {
        await on(at(place), async (w) => {
          const { program, written, operands } = operandsOf(w, { ...given, ...changed }, plan, { columns: 9, most: 2 })
          program.record('gatherSequences', operands)
          const error = await expectRefusal(() => program.replay(1), 'INVALID_ARGUMENT', what)
          expect(error.message).to.contain(message)
          expect([...(await written.output.read())], what).to.deep.equal(Array(9).fill(-7))
          expect([...(await written.axis.read())], what).to.deep.equal([0, 0, 0])
        })
      }
    })

    it('gives values along its axis their columns, and losses what to divide by', async () => {
      const [classes, columns] = [5, 50]
      const given = text([8, 13, 4, 20], 5)
      const tokens = given.tokens.map((token) => token % classes)
      const plan = [
        [1, 0, 3],
        [2, 2, 2],
      ]
      await on(at(place), async (w) => {
        const { program, axis, operands } = operandsOf(w, { ...given, tokens }, plan, { columns, most: 3 })
        program.record('gatherSequences', operands)
        const logits = numbers(columns * classes, 6)
        const [z, gradient] = [w.own(program.activations(classes, 'step', axis)), w.batch(classes, columns)]
        program.record('add', { first: w.batch(classes, columns, logits), output: z })
        const count = w.tensor('float64', 1)
        const targets = operands.output
        program.record('sumWeights', { axis, targets, ignore: 0, sum: count })
        const totals = w.tensor('float64', 4)
        program.record('softmaxCrossEntropy', { logits: z, targets, ignore: 0, count, gradient, totals })
        for (const [row, batch] of plan.entries()) {
          await totals.write(new Float64Array(4))
          await program.replay(1, row === 0 ? { begin: { step: 0 } } : {})
          const labels = batch.flatMap((s) => [...tokens.slice(given.starts[s], given.starts[s + 1])])
          const counted = labels.flatMap((label, c) => (label === 0 ? [] : [c]))
          const rows = counted.map((c) => logits.slice(c * classes, (c + 1) * classes))
          const expected = softmaxCrossEntropy(
            rows.flatMap((one) => [...one]),
            counted.map((c) => labels[c] as number),
            classes,
            counted.length,
          )
          expect([...(await count.read())]).to.deep.equal([counted.length])
          const [loss, correct, weight] = await totals.read()
          expectNear([loss], [expected.loss], 'loss', 3e-6)
          expect([correct, weight]).to.deep.equal([expected.correct, counted.length])
          const got = await gradient.read(labels.length)
          const wanted = labels.flatMap((label, c) =>
            label === 0
              ? Array(classes).fill(0)
              : [...expected.gradient.slice(counted.indexOf(c) * classes, (counted.indexOf(c) + 1) * classes)],
          )
          expectNear(got, wanted, 'gradient', 1e-6)
        }
      })
    })
  })
}

describe('axes of their own', () => {
  it('do not mix with the columns of the batch', async () => {
    await on(at(places[0]), async (w) => {
      const program = w.program({ batch: 16 })
      const [tokens, others] = [program.axis(8), program.axis(8)]
      for (const axis of [tokens, others]) w.own(axis)
      const [a, b, c] = [tokens, others, undefined].map((axis) => w.own(program.activations(3, 'given', axis)))
      const output = w.own(program.activations(3, 'step', tokens))
      for (const second of [b, c]) {
        const record = () => program.record('add', { first: a, second, output })
        const error = await expectRefusal(record, 'INVALID_ARGUMENT', 'another axis')
        expect(error.message).to.contain('Expected second to have the columns of the others')
      }
      const mine = { first: w.batch(3, 8), second: a, output }
      program.record('add', mine)
      const targets = w.tensor('int32', 16)
      const sum = w.tensor('float64', 1)
      const part = w.own(w.program({ batch: 32 }).part(16, 16))
      const whole = w.program({ batch: 32 })
      for (const axis of [part, w.own(whole.part(16, 16)), tokens]) {
        const record = () => whole.record('sumWeights', { axis, targets, ignore: 0, sum })
        const error = await expectRefusal(record, 'INVALID_ARGUMENT', 'no axis of its own')
        expect(error.message).to.contain("Expected axis to be an axis of the program's own, made by axis()")
      }
      const other = w.program({ batch: 8 })
      await expectRefusal(() => other.activations(3, 'step', tokens), 'INVALID_ARGUMENT', 'of another program')
    })
  })
})
