import { expect } from 'chai'
import type { Device } from '../../lib/device.js'
import type { Axis } from '../../lib/tensor.js'
import { chance, halves, type Numbers, numericalGradient, philox, purposeWord } from '../reference.js'
import {
  at,
  cpu,
  expectNear,
  expectOnlyGoodOperands,
  expectRefusal,
  expectSameBits,
  numbers,
  on,
  onAnyThreads,
  places,
  sanitized,
  type Workspace,
} from '../support.js'

interface Case {
  /** Tokens of each sequence: queries, and keys where they are others. */
  queries: readonly number[]
  keys?: readonly number[]
  heads: number
  keyHeads?: number
  /** Features of a head. */
  n: number
  causal?: boolean
  scale?: number
  probability?: number
}

const sum = (lengths: readonly number[]) => lengths.reduce((a, b) => a + b, 0)
const offsetsOf = (lengths: readonly number[]) => lengths.map((_, i) => sum(lengths.slice(0, i)))
const [SEED, LAYER, STEP] = [3, 2, 5]

/** What the weight of a key for a query is multiplied by, by (head, key, query). */
function factorOf({ probability = 0 }: Case, head: number, key: number, query: number): number {
  if (probability === 0) return 1
  const words = philox(SEED, [head * 2 ** 20 + Math.floor(key / 8), query, STEP, purposeWord('attention', LAYER)])
  const lost = chance(probability)
  return halves(words)[key % 8] >= lost ? 2 ** 16 / (2 ** 16 - lost) : 0
}

/** [columns][heads * n] each. */
interface Inputs {
  q: Numbers
  k: Numbers
  v: Numbers
}

/** In double precision: the output, and the gradients of sum(output dy). */
function reference(one: Case, { q, k, v }: Inputs, dy: Numbers) {
  const { queries, keys = queries, heads, keyHeads = heads, n, causal = false } = one
  const { scale = 1 / Math.sqrt(n) } = one
  const [width, keyWidth] = [heads * n, keyHeads * n]
  const output = new Float64Array(q.length)
  const gradients = { q: new Float64Array(q.length), k: new Float64Array(k.length), v: new Float64Array(v.length) }
  for (let s = 0; s < queries.length; ++s) {
    const [q0, k0] = [offsetsOf(queries)[s], offsetsOf(keys)[s]]
    for (let h = 0; h < heads; ++h) {
      const g = Math.floor((h * keyHeads) / heads)
      for (let i = 0; i < queries[s]; ++i) {
        const seen = causal ? Math.max(0, Math.min(keys[s], i + 1 + keys[s] - queries[s])) : keys[s]
        const at = (q0 + i) * width + h * n
        const keyAt = (j: number) => (k0 + j) * keyWidth + g * n
        const dot = (a: Numbers, from: number, b: Numbers, to: number) => {
          let total = 0
          for (let f = 0; f < n; ++f) total += a[from + f] * b[to + f]
          return total
        }
        const scores = Array.from({ length: seen }, (_, j) => scale * dot(q, at, k, keyAt(j)))
        const most = Math.max(...scores)
        const powers = scores.map((score) => Math.exp(score - most))
        const total = powers.reduce((a, b) => a + b, 0)
        const weights = powers.map((power) => power / total)
        const factors = weights.map((_, j) => factorOf(one, h, k0 + j, q0 + i))
        for (let f = 0; f < n; ++f)
          output[at + f] = weights.reduce((y, p, j) => y + p * factors[j] * v[keyAt(j) + f], 0)
        const slopes = factors.map((factor, j) => factor * dot(v, keyAt(j), dy, at))
        const mean = weights.reduce((m, p, j) => m + p * slopes[j], 0)
        weights.forEach((p, j) => {
          const slope = p * (slopes[j] - mean) * scale
          for (let f = 0; f < n; ++f) {
            gradients.v[keyAt(j) + f] += p * factors[j] * dy[at + f]
            gradients.q[at + f] += slope * k[keyAt(j) + f]
            gradients.k[keyAt(j) + f] += slope * q[at + f]
          }
        })
      }
    }
  }
  return { output, ...gradients }
}

function inputsOf({ queries, keys = queries, heads, keyHeads = heads, n }: Case): Inputs & { dy: Float32Array } {
  return {
    q: numbers(sum(queries) * heads * n, 1, -2, 2),
    k: numbers(sum(keys) * keyHeads * n, 2, -2, 2),
    v: numbers(sum(keys) * keyHeads * n, 3),
    dy: numbers(sum(queries) * heads * n, 4),
  }
}

/** An axis of the program with so many columns, set by an operation of its step. */
function axisOf(w: Workspace, program: ReturnType<Workspace['program']>, columns: number, room: number): Axis {
  const axis = w.own(program.axis(room))
  program.record('gatherSequences', {
    ...{ total: room, tokens: w.tensor('int32', room) },
    ...{ sequences: 1, starts: w.tensor('int32', Int32Array.of(0, columns)) },
    ...{ planned: 1, plan: w.tensor('int32', 1), steps: 1, batches: w.tensor('int32', Int32Array.of(0, 1)) },
    ...{ most: 1, axis, output: w.tensor('int32', room) },
  })
  return axis
}

interface Result {
  output: Float32Array
  q: Float32Array
  k: Float32Array
  v: Float32Array
}

/** Forward and backward; with `initial`, the gradients are added to it. Room for more columns than there are. */
function attend(device: Device, one: Case, { initial, spare = 5 }: { initial?: number; spare?: number } = {}) {
  const { queries, keys = queries, heads, keyHeads = heads, n, causal, scale, probability } = one
  const { q, k, v, dy } = inputsOf(one)
  const [columns, keyColumns] = [sum(queries), sum(keys)]
  const [room, keyRoom] = [Math.max(1, columns) + spare, Math.max(1, keyColumns) + spare]
  const most = queries.length + 2
  const accumulate = initial !== undefined
  return on(device, async (w): Promise<Result> => {
    const program = w.program({ batch: 1 })
    const ofQueries = axisOf(w, program, columns, room)
    const ofKeys = one.keys ? axisOf(w, program, keyColumns, keyRoom) : ofQueries
    const along = (features: number, axis: Axis) => w.own(program.activations(features, 'kept', axis))
    const given = (features: number, axis: Axis) => w.own(program.activations(features, 'given', axis))
    const ends = (lengths: readonly number[]) =>
      w.tensor(
        'int32',
        Int32Array.from({ length: most + 1 }, (_, i) => sum(lengths.slice(0, i))),
      )
    const [query, outputGradient] = [given(heads * n, ofQueries), given(heads * n, ofQueries)]
    const [key, value] = [given(keyHeads * n, ofKeys), given(keyHeads * n, ofKeys)]
    const sequences = {
      ...{ sequences: most, queryOffsets: ends(queries), keyOffsets: ends(keys) },
      ...{ heads, causal, scale, probability, seed: SEED, layer: LAYER },
    }
    const [output, statistics] = [along(heads * n, ofQueries), along(2 * heads, ofQueries)]
    const gradient = (features: number, axis: Axis) => (accumulate ? given : along)(features, axis)
    const [queryGradient, keyGradient, valueGradient] = [
      gradient(heads * n, ofQueries),
      gradient(keyHeads * n, ofKeys),
      gradient(keyHeads * n, ofKeys),
    ]
    program.record('attention', { query, key, value, output, statistics, ...sequences })
    program.record('attentionGradient', {
      ...{ query, key, value, output, statistics, outputGradient, products: along(heads, ofQueries), ...sequences },
      ...{ queryGradient, keyGradient, valueGradient },
      ...{ accumulateQuery: accumulate, accumulateKey: accumulate, accumulateValue: accumulate },
    })
    for (const one of [queryGradient, keyGradient, valueGradient]) program.keep(one)
    // What is not valid is NaN, but for the columns up to a multiple of 16.
    const padded = (data: Float32Array, features: number, fits: number) => {
      const all = new Float32Array(fits * features).fill(Number.NaN)
      all.fill(7.5, 0, Math.min(fits, Math.ceil(data.length / features / 16) * 16) * features)
      all.set(data)
      return all
    }
    const [wide, keyWide] = [heads * n, keyHeads * n]
    const all = (features: number, fits: number) => new Float32Array(features * fits).fill(initial ?? 0)
    await program.replay(1, {
      begin: { step: STEP },
      writes: [
        [query, padded(q as Float32Array, wide, room), room],
        [key, padded(k as Float32Array, keyWide, keyRoom), keyRoom],
        [value, padded(v as Float32Array, keyWide, keyRoom), keyRoom],
        [outputGradient, padded(dy, wide, room), room],
        ...(accumulate
          ? ([
              [queryGradient, all(wide, room), room],
              [keyGradient, all(keyWide, keyRoom), keyRoom],
              [valueGradient, all(keyWide, keyRoom), keyRoom],
            ] as const)
          : []),
      ],
    })
    return {
      output: await output.read(columns),
      q: await queryGradient.read(columns),
      k: await keyGradient.read(keyColumns),
      v: await valueGradient.read(keyColumns),
    }
  })
}

const cases: Readonly<Record<string, Case>> = {
  'one token': { queries: [1], heads: 1, n: 1 },
  'no token': { queries: [0], heads: 2, n: 3 },
  'short sequences, some empty': { queries: [3, 0, 17, 1, 5, 0], heads: 2, n: 5 },
  'short sequences, causal': { queries: [3, 0, 17, 1, 5, 33], heads: 3, n: 8, causal: true },
  'more than a tile, causal': { queries: [150, 20, 70], heads: 2, n: 16, causal: true },
  'more than a tile': { queries: [70, 130], heads: 1, n: 20 },
  'other keys': { queries: [4, 0, 20, 3], keys: [7, 3, 0, 70], heads: 2, n: 6 },
  'other keys, causal, ends together': { queries: [2, 9, 5], keys: [40, 4, 70], heads: 2, n: 4, causal: true },
  'other keys, more than a tile each': { queries: [90, 66], keys: [130, 65], heads: 2, n: 7 },
  'heads that share keys': { queries: [20, 9], heads: 6, keyHeads: 2, n: 5, causal: true },
  'a scale of its own': { queries: [20, 9], heads: 2, n: 5, scale: 0.9 },
  'wide heads': { queries: [9, 30], heads: 2, n: 130 },
  'the widest heads': { queries: [9, 30], heads: 1, n: 256, causal: true },
  'lost weights': { queries: [3, 17, 1, 40], heads: 3, n: 8, probability: 0.3 },
  'lost weights, causal, more than a tile': { queries: [5, 90, 70], heads: 2, n: 8, causal: true, probability: 0.6 },
  'lost weights of other keys': { queries: [5, 70], keys: [70, 9], heads: 4, keyHeads: 2, n: 8, probability: 0.2 },
}

describe('attention', () => {
  for (const place of places) {
    for (const [name, one] of Object.entries(cases)) {
      it(`is that of double precision, and so are its gradients: ${name}, ${place}`, async () => {
        const { dy, ...inputs } = inputsOf(one)
        const expected = reference(one, inputs, dy)
        const got = await attend(at(place), one)
        expectNear(got.output, expected.output, 'output', 3e-6)
        for (const name of ['q', 'k', 'v'] as const) {
          // Of one key, the weight is 1 whatever the score.
          if (expected[name].every((g) => Math.abs(g) < 1e-12))
            expect(got[name].every((g) => Math.abs(g) < 1e-6)).to.equal(true)
          else expectNear(got[name], expected[name], name, 1e-5)
        }
        if (sanitized) return
        const added = await attend(at(place), one, { initial: 0.5 })
        for (const name of ['q', 'k', 'v'] as const) {
          expectNear(
            added[name],
            Float64Array.from(got[name], (g) => g + 0.5),
            `${name}, added`,
            1e-6,
          )
        }
      })
    }
  }

  it('has the gradients that differences have', () => {
    for (const one of [
      { queries: [3, 4], heads: 2, n: 3, causal: true, probability: 0.4 },
      { queries: [3, 2], keys: [4, 5], heads: 4, keyHeads: 2, n: 2 },
    ]) {
      const { q, k, v, dy } = inputsOf(one)
      const inputs = { q: Float64Array.from(q), k: Float64Array.from(k), v: Float64Array.from(v) }
      const loss = () => reference(one, inputs, dy).output.reduce((total, y, i) => total + y * dy[i], 0)
      const expected = reference(one, inputs, dy)
      for (const name of ['q', 'k', 'v'] as const)
        expectNear(expected[name], numericalGradient(loss, inputs[name]), name, 1e-7)
    }
  })

  it('gives the same bits on any number of threads, and whatever else is in the batch', async () => {
    await onAnyThreads((device) => attend(device, cases['lost weights, causal, more than a tile']))
    // Draws belong to places in the batch, so without them.
    const [alone, among] = [
      { queries: [21], heads: 2, n: 5 },
      { queries: [21, 100, 7], heads: 2, n: 5 },
    ]
    const [a, b] = [await attend(cpu(), alone), await attend(cpu(), among)]
    // The first numbers of both are the same.
    for (const name of ['output', 'q', 'k', 'v'] as const)
      expectSameBits(b[name].slice(0, 210), a[name], `${name}, among others`)
  })

  for (const place of places) {
    it(`hides no number that is none: ${place}`, async () => {
      for (const [q, k] of [
        [Number.POSITIVE_INFINITY, -1],
        [Number.POSITIVE_INFINITY, 1],
        [Number.NaN, 1],
      ]) {
        await on(at(place), async (w) => {
          const offsets = w.tensor('int32', Int32Array.of(0, 4))
          const all = (x: number) => w.batch(1, 4, [x, x, x, x])
          const output = w.batch(1, 4)
          await w.run(
            [
              [
                'attention',
                {
                  ...{ query: all(q), key: all(k), value: all(1), output, statistics: w.batch(2, 4), heads: 1 },
                  ...{ sequences: 1, queryOffsets: offsets, keyOffsets: offsets },
                },
              ],
            ],
            { batch: 4 },
          )
          expect([...(await output.read())].every(Number.isNaN), `${q} ${k}`).to.equal(true)
        })
      }
    })

    it(`ends the step where offsets are wrong, and names the first: ${place}`, async () => {
      for (const [offsets, what] of [
        [[0, 9, 8, 20], 'got 8 at 2'],
        [[0, 9, 21, 21], 'got 21 at 2'],
        [[0, 9, 12, 19], 'got 19 at 3'],
        [[1, 9, 12, 20], 'got 1 at 0'],
        [[0, -5, 12, 20], 'got -5 at 1'],
      ] as const) {
        await on(at(place), async (w) => {
          const good = w.tensor('int32', Int32Array.of(0, 9, 12, 20))
          const bad = w.tensor('int32', Int32Array.from(offsets))
          const batch = () => w.batch(6, 20, numbers(120, 1))
          const [query, key, value] = [batch(), batch(), batch()]
          const all = { query, key, value, output: batch(), statistics: w.batch(4, 20, numbers(80, 1)), heads: 2 }
          const gradients = {
            ...{ outputGradient: batch(), products: w.batch(2, 20) },
            ...{ queryGradient: batch(), keyGradient: batch(), valueGradient: batch() },
          }
          for (const [name, more] of [
            ['attention', {}],
            ['attentionGradient', gradients],
          ] as const) {
            for (const [queryOffsets, keyOffsets, which] of [
              [bad, good, 'queryOffsets'],
              [good, bad, 'keyOffsets'],
            ] as const) {
              const operands = { ...all, ...more, sequences: 3, queryOffsets, keyOffsets }
              const run = () => w.run([[name, operands]], { batch: 20 })
              const error = await expectRefusal(run, 'INVALID_ARGUMENT', name)
              expect(error.message).to.equal(`${name}: Expected ${which} that ascend from 0 to the 20 columns, ${what}`)
            }
          }
        })
      }
    })
  }

  it('refuses operands that do not fit', async () => {
    await on(cpu(), async (w) => {
      const program = w.program({ batch: 8 })
      const offsets = w.tensor('int32', 3)
      const good = {
        ...{ query: w.batch(12, 8), key: w.batch(12, 8), value: w.batch(12, 8), output: w.batch(12, 8) },
        ...{ statistics: w.batch(4, 8), sequences: 2, queryOffsets: offsets, keyOffsets: offsets, heads: 2 },
      }
      const axis = w.own(program.axis(8))
      await expectOnlyGoodOperands(program, 'attention', good, {
        'heads that do not divide the features': [{ heads: 5, statistics: w.batch(10, 8) }, 'INVALID_ARGUMENT'],
        'keys of half a head': [{ key: w.batch(3, 8), value: w.batch(3, 8) }, 'INVALID_ARGUMENT'],
        'values of other features': [{ value: w.batch(6, 8) }, 'INVALID_ARGUMENT'],
        'short offsets': [{ sequences: 3 }, 'INVALID_ARGUMENT'],
        'statistics of other heads': [{ statistics: w.batch(2, 8) }, 'INVALID_ARGUMENT'],
        'probability 1': [{ probability: 1 }, 'INVALID_ARGUMENT'],
        'values along another axis than the keys': [
          { key: w.own(program.activations(12, 'given', axis)), value: w.own(program.activations(12, 'given')) },
          'INVALID_ARGUMENT',
        ],
        'an output along the keys': [
          { query: w.own(program.activations(12, 'given')), output: w.own(program.activations(12, 'step', axis)) },
          'INVALID_ARGUMENT',
        ],
        'heads too wide': [
          {
            ...{ query: w.batch(257, 8), key: w.batch(257, 8), value: w.batch(257, 8), output: w.batch(257, 8) },
            ...{ heads: 1, statistics: w.batch(2, 8) },
          },
          'UNSUPPORTED',
        ],
      })
    })
  })
})
