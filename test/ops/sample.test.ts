import { expect } from 'chai'
import type { Device } from '../../lib/device.js'
import { type PlainCsr, sampleWithoutReplacement } from '../../lib/tensor.js'
import {
  bestOf,
  chiSquareTest,
  eachLink,
  philox,
  purposeWord,
  type Ranked,
  samplingKey,
  setProbabilities,
} from '../reference.js'
import {
  at,
  bitsOf,
  byColumn,
  byRow,
  changesOf,
  cpu,
  everywhere,
  expectOnlyGoodOperands,
  expectRefusal,
  expectSameBits,
  FALSE_ALARM,
  numbers,
  on,
  onAnyThreads,
  places,
  random,
  randomCsr,
  repeats,
  tally,
  Workspace,
} from '../support.js'

describe('Philox', () => {
  it("gives the published answers (Random123's known-answer tests, philox4x32-10)", () => {
    const ones = 0xffffffff
    expect(philox(0, [0, 0, 0, 0])).to.deep.equal([0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8])
    expect(philox(0xffffffffffffffffn, [ones, ones, ones, ones])).to.deep.equal([
      0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd,
    ])
    expect(philox(0x299f31d0a4093822n, [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344])).to.deep.equal([
      0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1,
    ])
  })
})

/** Ranks of links or scores, from reference Philox and Math.log2. Zero scores come after all others. */
function rankOf(score: number, temperature: number | undefined, words: readonly number[]): Ranked {
  if (temperature === undefined) return { key: score, tie: words[1] }
  if (score === 0) return { key: -1e30 + 1e15 * (words[0] >>> 9), tie: words[1] }
  return { key: samplingKey(score, words[0], temperature), tie: words[1] }
}

/** Scores of which some are alike and some are 0. */
function mixedScores(length: number, seed: number): Float32Array {
  const next = random(seed)
  return Float32Array.from({ length }, () => (next() < 0.2 ? 0 : next() < 0.2 ? 1.5 : 10 ** (4 * next() - 2)))
}

describe('sampleWithoutReplacement', () => {
  const draws = repeats(20_000)

  /** Draws with `draws` seeds and compares the sets with those of sequential draws. */
  function expectSequentialLaw(scores: number[], k: number, temperature: number, firstSeed = 0): void {
    const sets = Array.from({ length: draws }, (_, i) =>
      bitsOf(sampleWithoutReplacement(scores, k, { temperature, seed: firstSeed + i })),
    )
    const law = setProbabilities(
      scores.map((s) => (s === 0 ? 0 : s ** temperature)),
      k,
    )
    expect(chiSquareTest(tally(sets), law), `k = ${k}, T = ${temperature}`).to.be.above(FALSE_ALARM)
  }

  for (const temperature of [0, 0.5, 1, 3]) {
    for (const k of [1, 2, 4]) {
      it(`draws ${k} like sequential draws without replacement, T = ${temperature}`, () => {
        expectSequentialLaw([4, 1, 2.5, 1, 0.5, 0.2], k, temperature, 1e6)
      })
    }
    it(`draws zeros after all positive scores, alike, T = ${temperature}`, () => {
      expectSequentialLaw([0, 4, 0, 1, 0, 0.3, 0], 2, temperature, 2e6)
      expectSequentialLaw([0, 4, 0, 1, 0, 0.3, 0], 3, temperature, 3e6)
      expectSequentialLaw([0, 4, 0, 1, 0, 0.3, 0], 5, temperature, 4e6)
      expectSequentialLaw([0, 0, 0, 0, 0], 2, temperature, 5e6)
    })
  }

  it('draws like sequential draws at T = 9, where scores^T spans a wide range', () => {
    expectSequentialLaw([1, 1.1, 0.9, 1.25, 0, 0.8, 1.05], 3, 9, 6e6)
    expectSequentialLaw([1, 1.1, 0.9, 1.25, 0, 0.8, 1.05], 1, 9, 7e6)
    // score^9 itself would be 0 or infinite in float32.
    const scale = (scores: number[], by: number) => scores.map((s) => s * by)
    const sets = (scores: number[]) =>
      Array.from({ length: draws }, (_, i) =>
        bitsOf(sampleWithoutReplacement(scores, 2, { temperature: 9, seed: 8e6 + i })),
      )
    const law = setProbabilities(
      [1, 1.1, 0.9, 1.2].map((s) => s ** 9),
      2,
    )
    for (const by of [1e-30, 1e30])
      expect(chiSquareTest(tally(sets(scale([1, 1.1, 0.9, 1.2], by))), law), `times ${by}`).to.be.above(FALSE_ALARM)
  })

  it('draws like sequential draws from denormal scores', () => {
    const sets = Array.from({ length: draws }, (_, i) =>
      bitsOf(sampleWithoutReplacement([2 ** -140, 2 ** -139, 2 ** -138, 0], 1, { seed: 9e6 + i })),
    )
    expect(chiSquareTest(tally(sets), setProbabilities([1, 2, 4, 0], 1))).to.be.above(FALSE_ALARM)
  })

  it('prefers overwhelming scores always', () => {
    for (let seed = 0; seed < 200; ++seed) {
      expect([...sampleWithoutReplacement([1e-38, 3e38, 1e-45, 0, 1e38], 2, { temperature: 9, seed })]).to.deep.equal([
        1, 4,
      ])
    }
  })

  it('takes what its Philox words say', () => {
    let decided = 0
    for (const temperature of [0, 1, 2.75, 9]) {
      for (let seed = 0; seed < 12; ++seed) {
        const n = 60 + seed
        const scores = mixedScores(n, seed)
        // Seeds of more than 32 bits use both words of the key.
        const big = seed * 4_294_967_296 + 7
        const ranked = Array.from(scores, (score, i) =>
          rankOf(score, temperature, philox(big, [0, i, 0, purposeWord('sample')])),
        )
        for (const k of [1, 7, 30, n - 5]) {
          const expected = bestOf(ranked, k)
          if (!expected) continue
          ++decided
          expect(
            [...sampleWithoutReplacement(scores, k, { temperature, seed: big })],
            `seed ${big}, T ${temperature}, k ${k}`,
          ).to.deep.equal(expected)
        }
      }
    }
    expect(decided, 'cases that rounding does not decide').to.be.above(180)
  })

  it('gives all, none, and ascending indices', () => {
    expect([...sampleWithoutReplacement([], 0)]).to.deep.equal([])
    expect([...sampleWithoutReplacement([1, 2], 0)]).to.deep.equal([])
    expect([...sampleWithoutReplacement([0, 5, 0, 1], 4, { seed: 3 })]).to.deep.equal([0, 1, 2, 3])
    const large = sampleWithoutReplacement(mixedScores(5000, 1), 2500, { seed: 4 })
    expect(large.length).to.equal(2500)
    expect(large.every((x, i) => i === 0 || x > large[i - 1])).to.equal(true)
  })

  it('depends on the seed, and gives the same for the same', () => {
    const scores = mixedScores(500, 2)
    const first = sampleWithoutReplacement(scores, 100, { seed: 1 })
    expect(sampleWithoutReplacement(scores, 100, { seed: 1 })).to.deep.equal(first)
    expect(sampleWithoutReplacement(scores, 100, { seed: 2 })).to.not.deep.equal(first)
    expect(sampleWithoutReplacement(scores, 100, { seed: 1 + 2 ** 32 })).to.not.deep.equal(first)
  })

  it('refuses scores that are no weights, and numbers out of range', async () => {
    for (const bad of [Number.NaN, -1, Number.POSITIVE_INFINITY, -1e-30]) {
      await expectRefusal(() => sampleWithoutReplacement([1, bad, 1], 1), 'NON_FINITE', `a score of ${bad}`)
      await expectRefusal(
        () => sampleWithoutReplacement([...new Array(40).fill(1), bad], 1),
        'NON_FINITE',
        `a last score of ${bad}`,
      )
    }
    await expectRefusal(() => sampleWithoutReplacement([1, 2], 3), 'INVALID_ARGUMENT', 'more than there are')
    await expectRefusal(() => sampleWithoutReplacement([1, 2], -1), 'INVALID_ARGUMENT', 'less than none')
    await expectRefusal(() => sampleWithoutReplacement([1, 2], 0.5), 'INVALID_ARGUMENT', 'half of one')
    await expectRefusal(
      () => sampleWithoutReplacement([1, 2], 1, { temperature: -1 }),
      'INVALID_ARGUMENT',
      'a negative temperature',
    )
    await expectRefusal(
      () => sampleWithoutReplacement([1, 2], 1, { temperature: Number.NaN }),
      'INVALID_ARGUMENT',
      'a temperature of NaN',
    )
    await expectRefusal(() => sampleWithoutReplacement([1, 2], 1, { seed: -1 }), 'INVALID_ARGUMENT', 'a negative seed')
    await expectRefusal(() => sampleWithoutReplacement([1, 2], 1, { seed: 1.5 }), 'INVALID_ARGUMENT', 'half a seed')
  })
})

interface Choice {
  csr: PlainCsr
  scores: Float32Array
  keep?: Uint8Array
  count: number
  /** Without one the largest stay. */
  temperature?: number | undefined
  update?: number
  seed?: number
  purpose?: 'prune' | 'remove'
  layer?: number
}

function keepLinks(device: Device, choice: Choice): Promise<Uint8Array> {
  return on(device, async (w) => {
    const { csr, scores, keep, count, temperature, update = 1, seed = 0, purpose = 'remove', layer = 0 } = choice
    const all = new Uint8Array(Math.max(1, scores.length)).fill(1)
    if (keep) all.set(byColumn(csr, keep))
    const flags = w.tensor('uint8', all)
    const operands = {
      links: w.matrix(csr),
      scores: w.floats(byColumn(csr, scores)),
      keep: flags,
      count: 0,
      temperature: temperature === undefined ? undefined : 1,
      update: 2,
      seed,
      purpose,
      layer,
    }
    await w.run([['keepLinks', operands]], { scalars: [count, temperature ?? 0, update] })
    return byRow(csr, await flags.read())
  })
}

const kept = (flags: Uint8Array) => [...flags].flatMap((flag, k) => (flag ? [k] : []))

/** Ranks of a layer's links. */
function ranksOf({ csr, scores, temperature, update = 1, seed = 0, purpose = 'remove', layer = 0 }: Choice): Ranked[] {
  const ranks: Ranked[] = []
  eachLink(csr, (row, col, k) =>
    ranks.push(rankOf(scores[k], temperature, philox(seed, [row, col, update, purposeWord(purpose, layer)]))),
  )
  return ranks
}

describe('keepLinks', () => {
  const shapes = [
    { rows: 1, cols: 1, links: 1 },
    { rows: 3, cols: 3, links: 0 },
    { rows: 9, cols: 5, links: 45 },
    { rows: 40, cols: 30, links: 50 },
    { rows: 37, cols: 61, links: 350 },
  ]
  for (const { rows, cols, links } of shapes) {
    it(`keeps what its Philox words say, everywhere: ${rows}x${cols}, ${links} links`, async () => {
      const csr = randomCsr(rows, cols, links, 1)
      const scores = mixedScores(links, 2)
      const next = random(3)
      const flags = Uint8Array.from({ length: Math.max(1, links) }, () => (next() < 0.7 ? 1 : 0))
      for (const keep of [new Uint8Array(Math.max(1, links)).fill(1), flags]) {
        const open = kept(keep.slice(0, links))
        // The scores of links that are gone do not matter, not even NaN.
        const seen = scores.map((s, k) => (keep[k] ? s : Number.NaN))
        for (const temperature of [undefined, 0, 1, 9]) {
          for (const count of [0, 1, Math.floor(open.length / 2), open.length - 1, open.length, open.length + 3]) {
            if (count < 0) continue
            const choice: Choice = {
              csr,
              scores: seen,
              keep,
              count,
              temperature,
              update: 7,
              seed: 5e9,
              purpose: 'prune',
              layer: 3,
            }
            const actual = kept(await everywhere((device) => keepLinks(device, choice)))
            expect(actual.length, `T = ${temperature}, ${count} of ${open.length}`).to.equal(
              Math.min(count, open.length),
            )
            const ranks = ranksOf(choice)
            const best = bestOf(
              open.map((k) => ranks[k]),
              Math.min(count, open.length),
            )
            if (best)
              expect(actual, `T = ${temperature}, ${count} of ${open.length}`).to.deep.equal(best.map((i) => open[i]))
          }
        }
      }
    })
  }

  it('gives the same bits on any number of threads and everywhere', async () => {
    const csr = randomCsr(220, 200, 16_000, 4)
    const scores = numbers(16_000, 5, 0, 1)
    for (const temperature of [undefined, 1, 2.5]) {
      const choice = { csr, scores, count: 11_200, temperature, seed: 9 }
      const flags = await onAnyThreads((device) => keepLinks(device, choice))
      expect(kept(flags).length).to.equal(11_200)
      expectSameBits(await everywhere((device) => keepLinks(device, choice)), flags, 'everywhere')
    }
  })

  it('depends on seed, update, purpose and layer', async () => {
    const base: Choice = { csr: randomCsr(20, 20, 200, 6), scores: numbers(200, 7, 0.5, 1), count: 100, temperature: 1 }
    const first = kept(await keepLinks(cpu(), base))
    expect(kept(await keepLinks(cpu(2), base))).to.deep.equal(first)
    for (const different of [
      { seed: 1 },
      { seed: 2 ** 32 },
      { update: 2 },
      { purpose: 'prune' },
      { layer: 1 },
    ] as const) {
      expect(kept(await keepLinks(cpu(), { ...base, ...different })), JSON.stringify(different)).to.not.deep.equal(
        first,
      )
    }
  })

  it('draws for a link by its place in the network, not in memory', async () => {
    const csr = randomCsr(20, 20, 200, 8)
    const scores = numbers(200, 9, 0.5, 1)
    const winners = kept(await keepLinks(cpu(), { csr, scores, count: 60, temperature: 1 }))
    // Take links away that lost anyhow: the same ones win.
    const wins = new Set(winners)
    const rest = Array.from({ length: 200 }, (_, k) => k).filter((k) => wins.has(k) || k % 3 === 0)
    const rowOffsets = csr.rowOffsets.map((end) => rest.filter((k) => k < end).length)
    const smaller = {
      rows: 20,
      cols: 20,
      rowOffsets,
      columnIndices: Int32Array.from(rest, (k) => csr.columnIndices[k]),
    }
    const again = kept(
      await keepLinks(cpu(), {
        csr: smaller,
        scores: Float32Array.from(rest, (k) => scores[k]),
        count: 60,
        temperature: 1,
      }),
    )
    expect(again.map((i) => rest[i])).to.deep.equal(winners)
  })

  /** The sets that stay in many updates of one layer. */
  async function manyChoices(
    csr: PlainCsr,
    scores: Float32Array,
    count: number,
    temperature: number | undefined,
    updates: number,
  ): Promise<number[]> {
    return on(cpu(), async (w) => {
      const changes = changesOf(w, scores.length)
      const program = w.program({ scalars: 3 })
      const links = w.matrix(csr)
      program.record('beginUpdate', { links, changes })
      const soft = temperature === undefined ? undefined : 1
      const choice = {
        scores: w.floats(byColumn(csr, scores)),
        keep: changes.keep,
        count: 0,
        temperature: soft,
        update: 2,
        seed: 12,
        purpose: 'remove' as const,
        layer: 2,
      }
      program.record('keepLinks', { links, ...choice })
      const scalars = Array.from({ length: updates }, (_, update) => [count, temperature ?? 0, update]).flat()
      await program.replay(0, { begin: { scalars } })
      const reads: Promise<Uint8Array>[] = []
      for (let update = 0; update < updates; ++update) {
        void program.replay(1)
        reads.push(changes.keep.read())
      }
      return (await Promise.all(reads)).map((flags) => bitsOf(kept(byRow(csr, flags))))
    })
  }

  const scores = Float32Array.of(1, 0, 0.25, 2, 0, 0.5, 1)
  for (const [temperature, count] of [
    [0, 3],
    [1, 3],
    [1, 6],
    [9, 2],
  ]) {
    it(`keeps ${count} of ${scores.length} like sequential draws, T = ${temperature}`, async () => {
      const sets = await manyChoices(randomCsr(3, 4, 7, 10), scores, count, temperature, repeats(6000))
      const law = setProbabilities(
        scores.map((s) => (s === 0 ? 0 : s ** temperature)),
        count,
      )
      expect(chiSquareTest(tally(sets), law)).to.be.above(FALSE_ALARM)
    })
  }

  it('keeps the largest, and breaks ties by chance', async () => {
    const tied = Float32Array.of(3, 1, 1, 0, 1, 2, 1)
    const sets = await manyChoices(randomCsr(3, 4, 7, 10), tied, 4, undefined, repeats(6000))
    // Places 0 and 5 are the largest; two of the four ties join them, all pairs alike.
    const pairs = [1, 2, 4, 6].flatMap((a, i, all) =>
      all.slice(i + 1).map((b) => [bitsOf([0, 5, a, b]), 1 / 6] as const),
    )
    expect(chiSquareTest(tally(sets), new Map(pairs))).to.be.above(FALSE_ALARM)
  })

  it('names the layer of a score that is no number, and changes nothing', async () => {
    for (const place of places)
      await on(at(place), async (w) => {
        const csr = randomCsr(6, 7, 20, 11)
        for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, -1]) {
          const values = numbers(20, 12, 0, 1)
          values[13] = bad
          const flags = new Uint8Array(20).fill(1)
          flags[3] = 0
          const [scores, keep] = [w.floats(values), w.tensor('uint8', flags)]
          const program = w.program({ scalars: 3 })
          program.record('keepLinks', {
            links: w.matrix(csr),
            scores,
            keep,
            count: 0,
            temperature: 1,
            update: 2,
            seed: 0,
            purpose: 'remove',
            layer: 41,
          })
          const update = () => program.replay(1, { begin: { scalars: [10, 1, 1] } })
          const error = await expectRefusal(update, 'NON_FINITE', `a score of ${bad}`)
          expect(error.message).to.match(/layer 41\b/)
          expect([...(await keep.read())]).to.deep.equal([...flags])
          await scores.write(numbers(20, 12, 0, 1))
          await program.replay(1)
          expect(kept(await keep.read()).length, 'the program works on').to.equal(10)
        }
      })
  })

  it('refuses operands that do not fit, and works afterwards', async () => {
    await on(cpu(), async (w) => {
      const program = w.program({ scalars: 3 })
      const other = w.own(new Workspace(cpu(2)))
      const csr = randomCsr(4, 5, 12, 1)
      const gone = w.floats(12)
      gone.dispose()
      const keep = w.tensor('uint8', new Uint8Array(12).fill(1))
      const good = {
        links: w.matrix(csr),
        scores: w.floats(numbers(12, 1, 0, 1)),
        keep,
        count: 0,
        temperature: 1,
        update: 2,
        seed: 0,
        purpose: 'remove',
        layer: 0,
      }
      await expectOnlyGoodOperands(program, 'keepLinks', good, {
        'too few scores': [{ scores: w.floats(11) }, 'INVALID_ARGUMENT'],
        'too few flags': [{ keep: w.tensor('uint8', 11) }, 'INVALID_ARGUMENT'],
        'more links than scores': [{ links: w.matrix(csr, 13) }, 'INVALID_ARGUMENT'],
        'a count that the program lacks': [{ count: 3 }, 'INVALID_ARGUMENT'],
        'a temperature that the program lacks': [{ temperature: 3 }, 'INVALID_ARGUMENT'],
        'no update': [{ update: undefined }, 'INVALID_ARGUMENT'],
        'no seed': [{ seed: undefined }, 'INVALID_ARGUMENT'],
        'an unknown purpose': [{ purpose: 'regrow' }, 'INVALID_ARGUMENT'],
        'a negative layer': [{ layer: -1 }, 'INVALID_ARGUMENT'],
        'flags of another device': [{ keep: other.tensor('uint8', 12) }, 'INVALID_ARGUMENT'],
        'disposed scores': [{ scores: gone }, 'DISPOSED'],
      })
      await program.replay(1, { begin: { scalars: [5, 1, 1] } })
      expect(kept(await keep.read()).length).to.equal(5)
    })
  })
})
