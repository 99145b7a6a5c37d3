import { expect } from 'chai'
import type { Device } from '../../lib/device.js'
import type { Program } from '../../lib/program.js'
import type { Axis } from '../../lib/tensor.js'
import { type Numbers, numericalGradient } from '../reference.js'
import {
  at,
  cpu,
  everywhere,
  expectNear,
  expectOnlyGoodOperands,
  expectRefusal,
  numbers,
  on,
  onAnyThreads,
  places,
  type Workspace,
} from '../support.js'

const KINDS = ['mean', 'max', 'first'] as const
type Kind = (typeof KINDS)[number]

const offsetsOf = (lengths: readonly number[]) => {
  const offsets = new Int32Array(lengths.length + 1)
  lengths.forEach((length, s) => {
    offsets[s + 1] = offsets[s] + length
  })
  return offsets
}

/** In double precision, [columns][features] in and [sequences][features] out: the output, and its gradient's. */
function reference(kind: Kind, features: number, lengths: readonly number[], x: Numbers, dy: Numbers) {
  const offsets = offsetsOf(lengths)
  const [output, gradient] = [new Float64Array(lengths.length * features), new Float64Array(x.length)]
  lengths.forEach((length, s) => {
    for (let f = 0; length > 0 && f < features; ++f) {
      const place = (i: number) => (offsets[s] + i) * features + f
      const column = Array.from({ length }, (_, i) => x[place(i)])
      const top = Math.max(...column)
      const y = { mean: column.reduce((a, b) => a + b, 0) / length, max: top, first: column[0] }[kind]
      output[s * features + f] = y
      const g = dy[s * features + f]
      if (kind === 'mean') for (let i = 0; i < length; ++i) gradient[place(i)] = g / length
      else gradient[place(kind === 'max' ? column.indexOf(top) : 0)] = g
    }
  })
  return { output, gradient }
}

/** An axis of the program with so many columns, set by an operation of its step. */
function axisOf(w: Workspace, program: Program, columns: number, room: number): Axis {
  const axis = w.own(program.axis(room))
  program.record('gatherSequences', {
    ...{ total: room, tokens: w.tensor('int32', room) },
    ...{ sequences: 1, starts: w.tensor('int32', Int32Array.of(0, columns)) },
    ...{ planned: 1, plan: w.tensor('int32', 1), steps: 1, batches: w.tensor('int32', Int32Array.of(0, 1)) },
    ...{ most: 1, axis, output: w.tensor('int32', room) },
  })
  return axis
}

interface Case {
  kind: Kind
  features: number
  lengths: readonly number[]
}

function inputsOf({ features, lengths }: Case) {
  const columns = lengths.reduce((a, b) => a + b, 0)
  return { columns, x: numbers(columns * features, 1, -2, 2), dy: numbers(lengths.length * features, 2) }
}

interface Options {
  initial?: number
  spare?: number
  offsets?: ArrayLike<number>
  /** [columns][features] */
  input?: Float32Array
  /** Only the gradient's operation. */
  backwardAlone?: boolean
}

/**
 * Forward and backward, with room for more than there is; with `initial`, the gradient is added to it. Offsets may be
 * others than the lengths'.
 */
function pool(
  device: Device,
  one: Case,
  {
    initial,
    spare = 5,
    offsets: ends = offsetsOf(one.lengths),
    input: x = inputsOf(one).x,
    backwardAlone,
  }: Options = {},
) {
  const { kind, features, lengths } = one
  const { columns, dy } = inputsOf(one)
  const sequences = lengths.length
  const [room, most] = [columns + spare, sequences + spare]
  const accumulate = initial !== undefined
  return on(device, async (w) => {
    const program = w.program({ batch: 1 })
    const [tokens, whole] = [axisOf(w, program, columns, room), axisOf(w, program, sequences, most)]
    const given = (axis: Axis) => w.own(program.activations(features, 'given', axis))
    const offsets = new Int32Array(most + 1).fill(-1) // behind the last sequence nobody looks
    offsets.set(ends)
    const operands = { kind, offsets: w.tensor('int32', offsets) }
    const [input, outputGradient] = [given(tokens), given(whole)]
    const output = w.own(program.activations(features, 'kept', whole))
    const inputGradient = accumulate ? given(tokens) : w.own(program.activations(features, 'kept', tokens))
    if (!backwardAlone) program.record('pooling', { ...operands, input, output })
    program.record('poolingGradient', {
      ...{ ...operands, outputGradient, inputGradient, accumulate },
      ...(kind === 'max' && { input, output }),
    })
    program.keep(inputGradient)
    // What is not valid is NaN, but for the columns up to a multiple of 16.
    const padded = (data: Float32Array, fits: number, padding = 7.5) => {
      const all = new Float32Array(fits * features).fill(Number.NaN)
      all.fill(padding, 0, Math.min(fits, Math.ceil(data.length / features / 16) * 16) * features)
      all.set(data)
      return all
    }
    await program.replay(1, {
      writes: [
        [input, padded(x, room), room],
        [outputGradient, padded(dy, most), most],
        ...(accumulate
          ? ([[inputGradient, padded(new Float32Array(x.length).fill(initial), room, 0), room]] as const)
          : []),
      ],
    })
    const live = (count: number, fits: number) => Math.min(fits, Math.ceil(count / 16) * 16)
    return {
      output: await output.read(live(sequences, most)),
      gradient: await inputGradient.read(live(columns, room)),
    }
  })
}

const lengthsOf = {
  'one token': [1],
  'one sequence': [37],
  'short ones, some empty': [3, 0, 17, 1, 0],
  'as many as tokens': Array(33).fill(1),
  'longer than panels': [150, 2, 300],
  '17 sequences': [5, 1, 9, 16, 2, 0, 7, 7, 3, 1, 1, 12, 30, 4, 8, 6, 11],
} as const

describe('pooling', () => {
  for (const kind of KINDS) {
    for (const [name, lengths] of Object.entries(lengthsOf)) {
      it(`is that of double precision, and so is its gradient: ${kind}, ${name}`, async () => {
        for (const features of [1, 9, 61]) {
          const one = { kind, features, lengths }
          const { columns, x, dy } = inputsOf(one)
          const expected = reference(kind, features, lengths, x, dy)
          const got = await everywhere((device) => pool(device, one))
          const valid = lengths.length * features
          expectNear(got.output.subarray(0, valid), expected.output, 'output', 1e-7)
          expectNear(got.gradient.subarray(0, x.length), expected.gradient, 'gradient', 1e-7)
          for (const [what, all, from] of [
            ['output', got.output, valid],
            ['gradient', got.gradient, columns * features],
          ] as const)
            expect(
              all.subarray(from).every((v) => v === 0),
              `padding of the ${what}`,
            ).to.equal(true)
          const added = await everywhere((device) => pool(device, one, { initial: 0.5 }))
          const sum = got.gradient.map((g, i) => (i < x.length ? g + 0.5 : 0))
          expect([...added.gradient]).to.deep.equal([...sum])
        }
      })
    }
  }

  it('has the gradients that differences have', () => {
    for (const kind of KINDS) {
      const one = { kind, features: 3, lengths: [3, 1, 0, 4] }
      const { dy, ...inputs } = inputsOf(one)
      const x = Float64Array.from(inputs.x)
      const loss = () => reference(kind, 3, one.lengths, x, dy).output.reduce((total, y, i) => total + y * dy[i], 0)
      const { gradient } = reference(kind, 3, one.lengths, x, dy)
      expectNear(gradient, numericalGradient(loss, x), kind, 1e-7)
    }
  })

  it('has the same bits on any number of threads', async () => {
    const lengths = Array.from({ length: 40 }, (_, s) => (s * 7) % 23)
    for (const kind of KINDS) await onAnyThreads((device) => pool(device, { kind, features: 130, lengths }))
  })

  for (const place of places) {
    it(`gives the gradient of max to the first of equals, and hides no NaN: ${place}`, async () => {
      const one: Case = { kind: 'max', features: 1, lengths: [4, 2] }
      const input = Float32Array.of(1, 3, 3, 2, 5, Number.NaN)
      const { output, gradient } = await pool(at(place), one, { input })
      expect([...output.subarray(0, 2)]).to.deep.equal([3, Number.NaN])
      expect([...gradient.subarray(0, 4)]).to.deep.equal([0, inputsOf(one).dy[0], 0, 0])
    })

    it(`ends the step where offsets are wrong, and names the first: ${place}`, async () => {
      for (const [bad, what] of [
        [[0, 9, 8, 20], 'got 8 at 2'],
        [[0, 9, 21, 21], 'got 21 at 2'],
        [[0, 9, 12, 19], 'got 19 at 3'],
        [[1, 9, 12, 20], 'got 1 at 0'],
        [[0, -5, 12, 20], 'got -5 at 1'],
      ] as const) {
        const one: Case = { kind: 'mean', features: 6, lengths: [9, 3, 8] }
        for (const [name, backwardAlone] of [
          ['pooling', false],
          ['poolingGradient', true],
        ] as const) {
          const run = () => pool(at(place), one, { offsets: bad, backwardAlone })
          const error = await expectRefusal(run, 'INVALID_ARGUMENT', what)
          expect(error.message).to.equal(`${name}: Expected offsets that ascend from 0 to the 20 columns, ${what}`)
        }
      }
    })
  }

  it('refuses operands that do not fit', async () => {
    await on(cpu(), async (w) => {
      const program = w.program({ batch: 8 })
      const good = { input: w.batch(6, 20), offsets: w.tensor('int32', 9), kind: 'mean', output: w.batch(6, 8) }
      await expectOnlyGoodOperands(program, 'pooling', good, {
        'features of another number': [{ input: w.batch(5, 20) }, 'INVALID_ARGUMENT'],
        'as many offsets as sequences': [{ offsets: w.tensor('int32', 8) }, 'INVALID_ARGUMENT'],
        'offsets that are floats': [{ offsets: w.floats(9) }, 'INVALID_ARGUMENT'],
        'another kind': [{ kind: 'median' }, 'INVALID_ARGUMENT'],
        'tokens of the batch itself': [
          { input: w.own(program.activations(6, 'given')), output: w.own(program.activations(5)) },
          'INVALID_ARGUMENT',
        ],
      })
      const back = { outputGradient: w.batch(6, 8), offsets: w.tensor('int32', 9), inputGradient: w.batch(6, 20) }
      await expectOnlyGoodOperands(
        program,
        'poolingGradient',
        { ...back, kind: 'first' },
        {
          'max without its input': [{ kind: 'max', output: w.batch(6, 8) }, 'INVALID_ARGUMENT'],
          'max without its output': [{ kind: 'max', input: w.batch(6, 20) }, 'INVALID_ARGUMENT'],
          'a gradient of other features': [{ inputGradient: w.batch(7, 20) }, 'INVALID_ARGUMENT'],
        },
      )
    })
  })
})
