import { readFile } from 'node:fs/promises'
import { expect } from 'chai'
import {
  constantDensity,
  cosineFraction,
  erdosRenyi,
  type Links,
  type Method,
  method,
  mlp,
  type NewLinks,
  sampleWithoutReplacement,
  Trainer,
  updateSchedule,
} from '../lib/index.js'
import { cellsOf, linksOf } from './support.js'
import { randomFrom } from './synthetic.js'
import { all, error, optimizer, state, test, train, widths } from './training.js'

describe("a method of the user's own", () => {
  /** Removes the links with the smallest magnitude; grows links between the least connected neurons. */
  const ownMethod = (regrow: (count: number) => NewLinks | undefined = () => undefined) =>
    method({
      name: 'own',
      updates: updateSchedule({ every: 5, fraction: 0.2, until: 1 }),
      remove: ({ values }, count) =>
        Array.from(values.keys())
          .sort((a, b) => Math.abs(values[a]) - Math.abs(values[b]))
          .slice(0, count),
      regrow: async ({ rows, cols, rowOffsets, columnIndices, update, seed }, count) => {
        const given = regrow(count)
        if (given) return given
        const next = randomFrom(seed + update)
        const taken = new Set<number>()
        for (let r = 0; r < rows; ++r)
          for (let k = rowOffsets[r]; k < rowOffsets[r + 1]; ++k) taken.add(r * cols + columnIndices[k])
        const row: number[] = []
        const col: number[] = []
        while (row.length < count) {
          const cell = Math.floor(next() * rows * cols)
          if (taken.has(cell)) continue
          taken.add(cell)
          row.push(Math.floor(cell / cols))
          col.push(cell % cols)
        }
        return { row, col }
      },
    })

  it('is refused where its functions give nothing', async () => {
    const nothing = (() => null) as never
    const of = ownMethod()
    for (const [bad, words] of [
      [method({ ...of, remove: nothing }), /remove function to give an array of places, got null in layer 0/],
      [method({ ...of, regrow: nothing }), /regrow function to give \{ row, col \}, two arrays, got null in layer 0/],
    ] as const) {
      using trainer = new Trainer(mlp({ widths, density: 0.1 }), { optimizer: optimizer(), dst: bad, device: 'cpu' })
      const refused = await error(() => all(trainer.fit(train, { epochs: 6, batchSize: 40 })))
      expect(refused.code).to.equal('INVALID_ARGUMENT')
      expect(refused.message).to.match(words)
    }
  })

  it('train, and keep the number of links', async () => {
    using trainer = new Trainer(mlp({ widths, density: 0.1 }), {
      optimizer: optimizer(),
      dst: ownMethod(),
      device: 'cpu',
    })
    const epochs = await all(trainer.fit(train, { epochs: 6, batchSize: 40, validation: test }))
    for (const { linksPerLayer } of epochs)
      expect(linksPerLayer).to.deep.equal([Math.round(0.1 * 48 * 64), Math.round(0.1 * 64 * 56)])
    expect(epochs.at(-1)?.itop).to.be.above(0.15)
    expect(epochs.at(-1)?.validation?.accuracy).to.be.above(0.85)
  })

  it('the documented ones are obeyed, update after update, and the number of links is exact', async () => {
    const own = method({
      density: constantDensity(),
      updates: updateSchedule({ every: 100, until: 0.75, fraction: cosineFraction(0.3) }),
      // The places in columnIndices of `count` links: here those of the smallest weights.
      remove: ({ values }, count) =>
        [...values.keys()].sort((a, b) => Math.abs(values[a]) - Math.abs(values[b])).slice(0, count),
      // `count` missing links: here any, in O(links) memory. Of so many random links at least `count` are missing.
      regrow: ({ rows, cols, seed, update, layer, ...kept }, count) => {
        const drawn = erdosRenyi().generate({
          rows,
          cols,
          links: kept.columnIndices.length + count,
          seed: seed + update,
          layer,
        })
        const cells = ({ rowOffsets, columnIndices }: Links) =>
          Array.from({ length: rows }, (_, row) =>
            Array.from(columnIndices.subarray(rowOffsets[row], rowOffsets[row + 1]), (col) => row * cols + col),
          ).flat()
        const taken = new Set(cells(kept))
        const missing = cells(drawn).filter((cell) => !taken.has(cell))
        const picks = sampleWithoutReplacement(new Float32Array(missing.length).fill(1), count, { seed: seed + update })
        const chosen = Array.from(picks, (n) => missing[n])
        return { row: chosen.map((cell) => Math.floor(cell / cols)), col: chosen.map((cell) => cell % cols) }
      },
      topology: erdosRenyi(),
    })
    const documented = await readFile(new URL('../docs/extending.md', import.meta.url), 'utf8')
    const here = await readFile(new URL(import.meta.url), 'utf8')
    const flush = (text: string) => text.replaceAll(/^ +/gm, '')
    const example = /const own = method\(\{.*?^\}\)$/ms.exec(documented)?.[0] as string
    expect(flush(here), 'this test').to.include(flush(example))

    const { remove, regrow } = own
    if (typeof remove !== 'function' || typeof regrow !== 'function') throw new Error('Expected functions')
    /** What the functions were given and chose, as cells. */
    const asked: { layer: number; update: number; given: number[]; removed: number[]; grown: number[] }[] = []
    const dst: Method = {
      ...own,
      remove: async (view, count) => {
        const chosen = Array.from(await remove(view, count))
        const cells = cellsOf(view)
        asked.push({
          layer: view.layer,
          update: view.update,
          given: cells,
          removed: chosen.map((k) => cells[k]),
          grown: [],
        })
        expect(chosen.length).to.equal(count)
        const kept = view.values.filter((_, k) => !chosen.includes(k))
        expect(Math.max(...chosen.map((k) => Math.abs(view.values[k])))).to.be.at.most(Math.min(...kept.map(Math.abs)))
        return chosen
      },
      regrow: async (kept, count) => {
        const links = await regrow(kept, count)
        const { update, given, removed, grown } = asked.findLast(
          ({ layer }) => layer === kept.layer,
        ) as (typeof asked)[number]
        expect([kept.update, count]).to.deep.equal([update, removed.length])
        expect(cellsOf(kept)).to.deep.equal(given.filter((cell) => !removed.includes(cell)))
        grown.push(...Array.from(links.row, (row, i) => row * kept.cols + links.col[i]))
        return links
      },
    }
    using trainer = new Trainer(mlp({ widths, density: 0.1 }), { optimizer: optimizer(), dst, device: 'cpu' })
    const epochs = await all(trainer.fit(train, { epochs: 4, batchSize: 4, validation: test }))
    // Updates at steps 100, 200 and 300 of 400. Between them, and after the last, the links are those that the
    // functions left.
    expect(asked.map(({ layer, update }) => [update, layer])).to.deep.equal(
      [1, 2, 3].flatMap((update) => [0, 1].map((layer) => [update, layer])),
    )
    for (const layer of [0, 1]) {
      const updates = asked.filter((one) => one.layer === layer)
      const after = cellsOf(await linksOf(trainer, layer))
      for (const [i, { given, removed, grown }] of updates.entries()) {
        const left = [...given.filter((cell) => !removed.includes(cell)), ...grown].sort((a, b) => a - b)
        expect(updates[i + 1]?.given ?? after, `layer ${layer}, after update ${i + 1}`).to.deep.equal(left)
      }
    }
    for (const { linksPerLayer } of epochs)
      expect(linksPerLayer).to.deep.equal([Math.round(0.1 * 48 * 64), Math.round(0.1 * 64 * 56)])
    expect(epochs.at(-1)?.validation?.accuracy).to.be.above(0.85)
  })

  const broken: [string, (count: number) => NewLinks, RegExp][] = [
    ['too few links', () => ({ row: [], col: [] }), /to give \d+ links, got 0/],
    ['a link twice', (n) => ({ row: new Array(n).fill(0), col: new Array(n).fill(0) }), /(twice|exists)/],
    [
      'links outside the layer',
      (n) => ({ row: new Array(n).fill(64), col: Array.from({ length: n }, (_, i) => i) }),
      /inside 64 x 48/,
    ],
  ]
  for (const [what, links, message] of broken) {
    it(`that give ${what} are refused and leave the network as it was`, async () => {
      using trainer = new Trainer(mlp({ widths, density: 0.1 }), {
        optimizer: optimizer(),
        dst: ownMethod(links),
        device: 'cpu',
      })
      const before: number[][] = []
      const failure = await error(async () => {
        for await (const _ of trainer.fit(train, { epochs: 2, batchSize: 80 })) before.push(...(await state(trainer)))
      })
      expect(failure.message).to.match(message)
      expect(await state(trainer)).to.deep.equal(before)
    })
  }
})
