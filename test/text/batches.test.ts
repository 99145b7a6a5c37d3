/** Batches of sentence pairs by their tokens. */
import { expect } from 'chai'
import { type BatchOrder, type TokenBatchesOptions, tokenBatches } from '../../lib/text/index.js'
import { refuses } from './refuses.js'

let state = 3
const random = (below: number) => {
  state = (state * 1103515245 + 12345) % 2 ** 31
  return Math.floor((state / 2 ** 31) * below)
}
const sentences = 3000
/** Translations are about as long as what they translate. */
const sourceLengths = Int32Array.from({ length: sentences }, () => 3 + random(12) + random(12))
const targetLengths = sourceLengths.map((length) => Math.max(1, length + random(7) - 3))

const batchesOf = ({ sentences, offsets }: BatchOrder) =>
  Array.from(offsets.subarray(1), (end, i) => [...sentences.subarray(offsets[i], end)])
const longestOf = (batch: readonly number[]) =>
  Math.max(...batch.map((i) => Math.max(sourceLengths[i] + 2, targetLengths[i] + 1)))
const made = (options: Partial<TokenBatchesOptions> = {}) =>
  tokenBatches({ sourceLengths, targetLengths, tokens: 256, ...options })

describe('batches of tokens', () => {
  it('have at most so many tokens, padding counted, and each sentence once', () => {
    const batches = made()
    expect([batches.sentences, batches.dropped.length]).to.deep.equal([sentences, 0])
    for (const epoch of [0, 1, 2 ** 32 - 1]) {
      const all = batchesOf(batches.epoch(epoch))
      for (const batch of all) expect(batch.length * longestOf(batch)).to.be.within(1, 256)
      expect(all.flat().sort((a, b) => a - b)).to.deep.equal([...sourceLengths.keys()])
    }
  })

  it('count the begin and the end of a source, and one of both of a target', () => {
    const of = (source: number, target: number) =>
      batchesOf(
        tokenBatches({
          sourceLengths: new Array(12).fill(source),
          targetLengths: new Array(12).fill(target),
          tokens: 48,
        }).epoch(0),
      ).map(({ length }) => length)
    expect(of(10, 3)).to.deep.equal([4, 4, 4])
    expect(of(11, 3).sort()).to.deep.equal([3, 3, 3, 3])
    expect(of(3, 11)).to.deep.equal([4, 4, 4])
    expect(of(3, 12)).to.deep.equal([3, 3, 3, 3])
    expect(of(0, 0)).to.deep.equal([12])
  })

  it('are full: the next longer sentence of the pool would not have fitted', () => {
    // One pool: in the order of lengths, each batch with the first sentence of the next is too large.
    const inOrder = batchesOf(made({ pool: sentences }).epoch(3))
    const key = (i: number) => sourceLengths[i] * 1000 + targetLengths[i]
    for (const batch of inOrder) expect(batch.map(key)).to.deep.equal(batch.map(key).sort((a, b) => a - b))
    const sorted = inOrder.sort((one, two) => key(one[0]) - key(two[0]) || key(one.at(-1)!) - key(two.at(-1)!))
    let full = 0
    for (const [i, batch] of sorted.entries()) {
      const next = sorted[i + 1]
      if (next && (batch.length + 1) * longestOf([...batch, next[0]]) > 256) ++full
    }
    expect(full).to.be.greaterThan(sorted.length - 8)
  })

  it('bring sentences of one length together, within a pool', () => {
    const count = (pool: number) => made({ pool }).epoch(0).offsets.length - 1
    expect(count(3000)).to.be.lessThan(0.9 * count(50))
    expect(made({ pool: 1 }).epoch(0).offsets.length).to.equal(sentences + 1)
  })

  it('depend on seed and epoch alone', () => {
    const order = made({ seed: 5 }).epoch(2)
    expect(made({ seed: 5 }).epoch(2)).to.deep.equal(order)
    const lists = { sourceLengths: [...sourceLengths], targetLengths: [...targetLengths] }
    expect(made({ seed: 5, ...lists }).epoch(2)).to.deep.equal(order)
    for (const other of [made({ seed: 6 }).epoch(2), made({ seed: 5 }).epoch(3), made({ seed: 5 + 2 ** 32 }).epoch(2)])
      expect(other.sentences).to.not.deep.equal(order.sentences)
    // Other sentences come together, not only other batches first.
    const neighbours = (batch: readonly number[]) => [...batch].sort((a, b) => a - b).join()
    const before = new Set(batchesOf(order).map(neighbours))
    const same = batchesOf(made({ seed: 5 }).epoch(3)).filter((batch) => before.has(neighbours(batch)))
    expect(same.length).to.be.lessThan(before.size / 10)
    // Long batches are not at one end.
    const lengths = batchesOf(order).map(longestOf)
    const mean = (values: readonly number[]) => values.reduce((sum, v) => sum + v, 0) / values.length
    expect(mean(lengths.slice(0, 100))).to.be.closeTo(mean(lengths), 3)
  })

  it('are packed to their true tokens on request', () => {
    const packed = made({ packed: true })
    const all = batchesOf(packed.epoch(1))
    expect(all.flat().sort((a, b) => a - b)).to.deep.equal([...sourceLengths.keys()])
    const sums = all.map((batch) => [
      batch.reduce((sum, i) => sum + sourceLengths[i] + 2, 0),
      batch.reduce((sum, i) => sum + targetLengths[i] + 1, 0),
    ])
    for (const sum of sums) expect(Math.max(...sum)).to.be.within(1, 256)
    // All but the last one have no room for the longest sentence.
    expect(sums.filter((sum) => Math.max(...sum) < 256 - 32).length).to.be.lessThan(2)
    expect(all.length).to.be.lessThan(made().epoch(1).offsets.length)
  })

  it('leave out what is too long, and say so', () => {
    const lengths = { sourceLengths: [5, 100, 5, 5], targetLengths: [5, 5, 200, 5] }
    const batches = tokenBatches({ ...lengths, tokens: 64 })
    expect([batches.sentences, [...batches.dropped]]).to.deep.equal([2, [1, 2]])
    expect([...batches.epoch(0).sentences].sort()).to.deep.equal([0, 3])
    const at = (longest: number) => [...tokenBatches({ ...lengths, tokens: 256, longest }).dropped]
    expect([at(102), at(101), at(201), at(200)]).to.deep.equal([[2], [1, 2], [], [2]])
    const packed = tokenBatches({ ...lengths, tokens: 102, packed: true })
    expect([...packed.dropped]).to.deep.equal([2])
  })

  it('of a text by itself count all tokens of a sentence, and nothing beside', () => {
    const batches = tokenBatches({ lengths: sourceLengths, tokens: 128, seed: 3 })
    const all = batchesOf(batches.epoch(1))
    for (const batch of all) expect(batch.length * Math.max(...batch.map((i) => sourceLengths[i]))).to.be.within(0, 128)
    expect(all.flat().sort((a, b) => a - b)).to.deep.equal([...sourceLengths.keys()])
    expect(batchesOf(tokenBatches({ lengths: new Array(12).fill(12), tokens: 48 }).epoch(0)).length).to.equal(3)
  })

  it('refuse what makes none', async () => {
    await refuses(() => made({ lengths: [1, 2] }), /lengths, or sourceLengths and targetLengths of pairs, got both/)
    await refuses(() => tokenBatches({ lengths: [], tokens: 4 }), /lengths to be the tokens of each sentence, got \[\]/)
    await refuses(() => made({ tokens: 4 }), /fit in 4 tokens, got 3000 longer ones, the shortest of 5. Raise tokens/)
    await refuses(() => made({ targetLengths: [1, 2] }), /as many sourceLengths as targetLengths.*got 3000 and 2/)
    await refuses(() => made({ sourceLengths: [] }), /sourceLengths to be the tokens of each sentence, got \[\]/)
    await refuses(() => made({ sourceLengths: [1.5] }), /sourceLengths\[0\] to be an integer/)
    await refuses(() => made({ tokens: 0 }), /tokens to be an integer/)
    await refuses(() => made({ packed: true, pool: 5 }), /no pool with packed, got 5/)
    await refuses(() => made({ packed: 1 as never }), /packed to be true or false, got 1/)
    await refuses(() => made({ token: 5 } as never), /Did you mean 'tokens'/)
    await refuses(() => made().epoch(-1), /epoch to be an integer/)
  })
})
