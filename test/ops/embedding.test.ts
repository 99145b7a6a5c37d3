import { expect } from 'chai'
import type { Device } from '../../lib/device.js'
import {
  at,
  columnsOf,
  cpu,
  everywhere,
  expectOnlyGoodOperands,
  expectRefusal,
  numbers,
  on,
  onAnyThreads,
  places,
  random,
  sizes,
} from '../support.js'

const WORDS = 50

/** Tokens of a batch, many of them the same, and behind the valid ones some that are none. */
function tokensOf(columns: number, batch: number, seed: number): Int32Array {
  const next = random(seed)
  return Int32Array.from({ length: batch }, (_, c) => (c < columns ? Math.floor(next() ** 3 * WORDS) : -1))
}

interface Result {
  y: Float32Array
  gradient: Float32Array
}

/** Forward and backward; with `initial`, both are added to it. */
function embed(
  device: Device,
  features: number,
  batch: number,
  columns: number,
  { scale, initial }: { scale?: number; initial?: number } = {},
): Promise<Result> {
  return on(device, async (w) => {
    const accumulate = initial !== undefined
    const table = w.floats(numbers(WORDS * features, 1))
    const tokens = w.tensor('int32', tokensOf(columns, batch, 2))
    const output = w.batch(features, batch, accumulate ? new Float32Array(columns * features).fill(initial) : [])
    const gradient = w.floats(new Float32Array(WORDS * features).fill(initial ?? Number.NaN))
    const outputGradient = w.batch(features, batch, numbers(columns * features, 3))
    await w.run(
      [
        ['embedding', { tokens, table, words: WORDS, output, scale, accumulate }],
        ['embeddingGradient', { tokens, words: WORDS, outputGradient, gradient, scale, accumulate }],
      ],
      { batch, columns },
    )
    return { y: await output.read(columns), gradient: await gradient.read() }
  })
}

describe('embedding', () => {
  for (const [features, batch] of sizes) {
    it(`gives tokens their rows, and rows the sums of their columns: ${features} x ${batch}`, async () => {
      for (const columns of columnsOf(batch)) {
        const [table, dy, tokens] = [
          numbers(WORDS * features, 1),
          numbers(columns * features, 3),
          tokensOf(columns, batch, 2),
        ]
        for (const scale of [undefined, 22.627417]) {
          const by = Math.fround(scale ?? 1)
          const y = Float32Array.from(
            { length: columns * features },
            (_, i) => table[tokens[Math.floor(i / features)] * features + (i % features)] * by,
          )
          const gradient = new Float32Array(WORDS * features)
          for (let i = 0; i < dy.length; ++i)
            gradient[tokens[Math.floor(i / features)] * features + (i % features)] += Math.fround(dy[i] * by)
          const got = await everywhere((device) => embed(device, features, batch, columns, { scale }))
          expect([...got.y]).to.deep.equal([...y])
          expect([...got.gradient]).to.deep.equal([...gradient])
          const added = await everywhere((device) => embed(device, features, batch, columns, { scale, initial: 0.5 }))
          expect([...added.y]).to.deep.equal([...y.map((v) => v + 0.5)])
          added.gradient.forEach((g, i) => {
            expect(Math.abs(g - gradient[i] - 0.5)).to.be.below(1e-6 * (1 + batch * by))
          })
        }
      }
    })
  }

  it('gives the same bits on any number of threads', async () => {
    await onAnyThreads((device) => embed(device, 130, 300, 290))
  })

  for (const place of places) {
    it(`ends the step where a token is no word, and names the first: ${place}`, async () => {
      for (const [token, column] of [
        [WORDS, 40],
        [-1, 0],
        [2 ** 31 - 1, 299],
      ] as const) {
        await on(at(place), async (w) => {
          const tokens = tokensOf(300, 300, 1)
          tokens[column] = tokens[299] = token
          const operands = { tokens: w.tensor('int32', tokens), words: WORDS }
          const [table, activations] = [w.floats(WORDS * 3), w.batch(3, 300, numbers(900, 1))]
          for (const [name, more] of [
            ['embedding', { table, output: activations }],
            ['embeddingGradient', { outputGradient: activations, gradient: table }],
          ] as const) {
            const run = () => w.run([[name, { ...operands, ...more }]], { batch: 300 })
            const error = await expectRefusal(run, 'INVALID_ARGUMENT', name)
            expect(error.message).to.contain(`${name}: Expected tokens in [0, 50), got ${token} in column ${column}`)
          }
        })
      }
    })
  }

  it('refuses operands that do not fit', async () => {
    await on(cpu(), async (w) => {
      const program = w.program({ batch: 8 })
      const [tokens, table] = [w.tensor('int32', 8), w.floats(60)]
      const good = { tokens, table, words: 10, output: w.batch(6, 8) }
      await expectOnlyGoodOperands(program, 'embedding', good, {
        'more words than rows': [{ words: 11 }, 'INVALID_ARGUMENT'],
        'no words': [{ words: 0 }, 'INVALID_ARGUMENT'],
        'fewer tokens than columns': [{ tokens: w.tensor('int32', 7) }, 'INVALID_ARGUMENT'],
        'tokens that are floats': [{ tokens: w.floats(8) }, 'INVALID_ARGUMENT'],
      })
      const back = { tokens, words: 10, outputGradient: w.batch(6, 8), gradient: table }
      await expectOnlyGoodOperands(program, 'embeddingGradient', back, {
        'a short gradient': [{ gradient: w.floats(59) }, 'INVALID_ARGUMENT'],
        'fewer tokens than columns': [{ tokens: w.tensor('int32', 7) }, 'INVALID_ARGUMENT'],
      })
    })
  })
})
