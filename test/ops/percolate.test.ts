import { expect } from 'chai'
import type { Device } from '../../lib/device.js'
import type { PlainCsr } from '../../lib/tensor.js'
import { type Relation, percolate as reference } from '../reference.js'
import {
  byColumn,
  byRow,
  cpu,
  csrOf,
  everywhere,
  expectOnlyGoodOperands,
  expectRefusal,
  on,
  random,
  randomCsr,
  Workspace,
} from '../support.js'

function percolate(
  device: Device,
  layers: readonly PlainCsr[],
  keep: readonly Uint8Array[],
  relations: readonly Relation[],
): Promise<Uint8Array[]> {
  return on(device, async (w) => {
    const flags = keep.map((k, i) => w.tensor('uint8', Uint8Array.of(...byColumn(layers[i], k), 1)))
    await w.run([
      ['percolate', { layers: layers.map((csr, i) => ({ links: w.matrix(csr), keep: flags[i] })), relations }],
    ])
    return Promise.all(flags.map(async (f, i) => byRow(layers[i], await f.read())))
  })
}

function randomFlags(length: number, share: number, seed: number): Uint8Array {
  const next = random(seed)
  return Uint8Array.from({ length }, () => (next() < share ? 1 : 0))
}

/** Layers of the given widths, input first, each with about two links a neuron, and the relations of a chain. */
function chain(widths: readonly number[], seed: number): { layers: PlainCsr[]; relations: Relation[] } {
  const layers = widths
    .slice(1)
    .map((rows, i) => randomCsr(rows, widths[i], Math.min(rows * widths[i], rows + widths[i]), seed + i))
  const relations = layers.slice(1).map((_, i) => ({ first: i, second: i + 1, kind: 'consecutive' as const }))
  return { layers, relations }
}

describe('percolate', () => {
  it('takes the links of neurons that lost all links on one side, through the chain', async () => {
    // Input 0 - hidden 0 - hidden' 0 - output 0, and hidden 1, which nothing enters, - hidden' 1, which nothing leaves.
    const layers = [csrOf(2, 1, [0]), csrOf(2, 2, [0, 3]), csrOf(1, 2, [0])]
    const keep = [Uint8Array.of(1), Uint8Array.of(1, 1), Uint8Array.of(1)]
    const relations: Relation[] = [
      { first: 0, second: 1, kind: 'consecutive' },
      { first: 1, second: 2, kind: 'consecutive' },
    ]
    expect(await percolate(cpu(), layers, keep, relations)).to.deep.equal([
      Uint8Array.of(1),
      Uint8Array.of(1, 0),
      Uint8Array.of(1),
    ])
  })

  it('carries a cut at one end to the other', async () => {
    const diagonal = csrOf(3, 3, [0, 4, 8])
    const relations = [0, 1, 2].map((i) => ({ first: i, second: i + 1, kind: 'consecutive' as const }))
    const all = Uint8Array.of(1, 1, 1)
    const cut = Uint8Array.of(1, 0, 1)
    const layers = [diagonal, diagonal, diagonal, diagonal]
    for (const place of [0, 1, 3]) {
      const keep = layers.map((_, i) => (i === place ? cut : all))
      expect(await percolate(cpu(), layers, keep, relations), `cut in layer ${place}`).to.deep.equal([
        cut,
        cut,
        cut,
        cut,
      ])
    }
  })

  it('leaves the first inputs and the last outputs alone', async () => {
    const layers = [csrOf(2, 3, [0, 5]), csrOf(4, 2, [0, 7])] // input 1 and outputs 1 and 2 have no links
    const keep = [Uint8Array.of(1, 1), Uint8Array.of(1, 1)]
    expect(await percolate(cpu(), layers, keep, [{ first: 0, second: 1, kind: 'consecutive' }])).to.deep.equal(keep)
  })

  it('treats joint layers alike: an output without links in one loses them in the other', async () => {
    const layers = [csrOf(3, 2, [0, 2, 5]), csrOf(3, 4, [0, 1, 10])]
    const keep = [Uint8Array.of(1, 1, 1), Uint8Array.of(1, 1, 1)] // output 1 has no link in the second layer
    const expected = [Uint8Array.of(1, 0, 1), Uint8Array.of(1, 1, 1)]
    expect(await percolate(cpu(), layers, keep, [{ first: 0, second: 1, kind: 'joint' }])).to.deep.equal(expected)
    expect(await percolate(cpu(), layers, keep, [{ first: 1, second: 0, kind: 'joint' }])).to.deep.equal(expected)
  })

  it('agrees with the definition on random chains, everywhere', async () => {
    for (const [i, widths] of [
      [5, 7, 6],
      [9, 4, 11, 6],
      [20, 30, 10, 25, 8],
      [1, 1, 1],
      [6, 6],
    ].entries()) {
      const { layers, relations } = chain(widths, 10 * i)
      for (const share of [1, 0.8, 0.4, 0]) {
        const keep = layers.map((csr, j) => randomFlags(csr.columnIndices.length, share, j + 100))
        const actual = await everywhere((device) => percolate(device, layers, keep, relations))
        expect(actual, `${widths}, ${share}`).to.deep.equal(reference(layers, keep, relations))
      }
    }
  })

  it('agrees with the definition on an attention block: query and key joint, value before output', async () => {
    const [query, key, value, output] = [
      randomCsr(12, 10, 20, 1),
      randomCsr(12, 10, 20, 2),
      randomCsr(12, 10, 20, 3),
      randomCsr(10, 12, 20, 4),
    ]
    const layers = [query, key, value, output]
    const relations: Relation[] = [
      { first: 0, second: 1, kind: 'joint' },
      { first: 2, second: 3, kind: 'consecutive' },
    ]
    for (let seed = 0; seed < 10; ++seed) {
      const keep = layers.map((_, j) => randomFlags(20, 0.7, seed * 10 + j))
      expect(await percolate(cpu(), layers, keep, relations)).to.deep.equal(reference(layers, keep, relations))
    }
  })

  it('leaves no dangling link in the middle of a chain', async () => {
    const { layers, relations } = chain([15, 20, 20, 10], 50)
    const keep = layers.map((csr, j) => randomFlags(csr.columnIndices.length, 0.5, j))
    const once = await percolate(cpu(), layers, keep, relations)
    expect(await percolate(cpu(), layers, once, relations)).to.deep.equal(once)
    expect(
      once.every((flags, i) => flags.every((flag, k) => flag <= keep[i][k])),
      'nothing comes back',
    ).to.equal(true)
  })

  it('refuses layers that share no neurons, and changes nothing', async () => {
    await on(cpu(), async (w) => {
      const layers = [csrOf(2, 3, [0]), csrOf(2, 3, [1])]
      const flags = [w.tensor('uint8', Uint8Array.of(1)), w.tensor('uint8', Uint8Array.of(1))]
      const program = w.program()
      const attempt = async () => {
        const relations = [{ first: 0, second: 1, kind: 'consecutive' as const }]
        program.record('percolate', {
          layers: layers.map((csr, i) => ({ links: w.matrix(csr), keep: flags[i] })),
          relations,
        })
        await program.replay(1)
      }
      await expectRefusal(attempt, 'INVALID_ARGUMENT', 'a hidden layer of 2 and 3 neurons')
      expect([...(await flags[0].read()), ...(await flags[1].read())]).to.deep.equal([1, 1])
    })
  })

  it('refuses operands that do not fit, and works afterwards', async () => {
    await on(cpu(), async (w) => {
      const program = w.program()
      const other = w.own(new Workspace(cpu(2)))
      const gone = w.tensor('uint8', 2)
      gone.dispose()
      const keep = w.tensor('uint8', Uint8Array.of(1, 1))
      const first = { links: w.matrix(csrOf(2, 2, [0, 3])), keep }
      const second = { links: w.matrix(csrOf(2, 2, [0])), keep: w.tensor('uint8', Uint8Array.of(1)) }
      const relation = { first: 0, second: 1, kind: 'consecutive' }
      await expectOnlyGoodOperands(
        program,
        'percolate',
        { layers: [first, second], relations: [relation] },
        {
          'no layers': [{ layers: undefined }, 'INVALID_ARGUMENT'],
          'no relations': [{ relations: undefined }, 'INVALID_ARGUMENT'],
          'too few flags': [{ layers: [{ ...first, keep: w.tensor('uint8', 1) }, second] }, 'INVALID_ARGUMENT'],
          'no flags': [{ layers: [{ links: first.links }, second] }, 'INVALID_ARGUMENT'],
          'a relation to a layer that is not there': [{ relations: [{ ...relation, second: 2 }] }, 'INVALID_ARGUMENT'],
          'a relation to a negative layer': [{ relations: [{ ...relation, first: -1 }] }, 'INVALID_ARGUMENT'],
          'a relation of a layer to itself': [
            { relations: [{ ...relation, second: relation.first }] },
            'INVALID_ARGUMENT',
          ],
          'flags of one layer for both': [{ layers: [first, { ...second, keep: first.keep }] }, 'INVALID_ARGUMENT'],
          'an unknown relation': [{ relations: [{ ...relation, kind: 'parallel' }] }, 'INVALID_ARGUMENT'],
          'flags of another device': [
            { layers: [{ ...first, keep: other.tensor('uint8', 2) }, second] },
            'INVALID_ARGUMENT',
          ],
          'disposed flags': [{ layers: [{ ...first, keep: gone }, second] }, 'DISPOSED'],
        },
      )
      await program.replay(1)
      expect([...(await keep.read())]).to.deep.equal([1, 0])
    })
  })
})
