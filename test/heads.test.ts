/** Projections of attention that are divided among its heads. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { chts, load, type Sequential, set, sgd, staticSparse, Trainer, transformer } from '../lib/index.js'
import type { SparseParameter } from '../lib/nn/parameter.js'
import { SparseLinear } from '../lib/nn/sparse_linear.js'
import { cscSlots, inRowOrder } from '../lib/tensor.js'
import { parallelLines, trainTokenizer } from '../lib/text/index.js'
import { namedModules, namedParameters } from '../lib/train/checkpoint.js'
import { at, expectNear, expectSameBits, modelPlaces, places } from './support.js'

const [features, heads] = [16, 2]
const modelOf = (perHead: boolean) =>
  transformer({
    ...{ sourceWords: 270, targetWords: 270, features, hidden: 16, heads, density: 0.5, perHead, seed: 3 },
    ...{ encoderLayers: 1, decoderLayers: 1 },
  })

async function textOf() {
  const lines = Array.from({ length: 32 }, (_, i) => `${i % 7} b ${i % 5} d ${i % 3} h`)
  const tokenizer = await trainTokenizer(lines, { vocabulary: 270 })
  return parallelLines(lines, lines, { tokenizer, name: 'lines' })
}

interface Layer {
  readonly rowOffsets: Int32Array
  readonly columnIndices: Int32Array
  readonly values: Float32Array
}

async function layerOf({ matrix, values }: SparseParameter): Promise<Layer> {
  const links = await matrix.read()
  const byColumn = await values.read(links.columnIndices.length)
  return { ...links, values: inRowOrder(byColumn, cscSlots(links, matrix.cols)) }
}

/** One matrix of those of the heads: their rows one behind another, or the parts of each row. */
function joined(layers: readonly Layer[], of: 'rows' | 'columns', width: number): Layer {
  const rows = layers.map(({ rowOffsets, columnIndices, values }) =>
    Array.from({ length: rowOffsets.length - 1 }, (_, row) => {
      const part = [rowOffsets[row], rowOffsets[row + 1]] as const
      return { columns: [...columnIndices.subarray(...part)], values: [...values.subarray(...part)] }
    }),
  )
  const all =
    of === 'rows'
      ? rows.flat()
      : rows[0].map((_, row) => ({
          columns: rows.flatMap((one, head) => one[row].columns.map((column) => column + head * width)),
          values: rows.flatMap((one) => one[row].values),
        }))
  const ends = [0]
  for (const { columns } of all) ends.push(ends[ends.length - 1] + columns.length)
  return {
    rowOffsets: Int32Array.from(ends),
    columnIndices: Int32Array.from(all.flatMap(({ columns }) => columns)),
    values: Float32Array.from(all.flatMap(({ values }) => values)),
  }
}

const parametersOf = (model: Sequential) => new Map(namedParameters(model))

describe('heads with links of their own', () => {
  for (const place of modelPlaces) {
    it(`compute what one matrix of all their links computes, at ${place}`, async () => {
      const text = await textOf()
      const divided = modelOf(true)
      const optimizer = () => sgd({ learningRate: 0.05 })
      const device = at(place, 2)
      const trainer = new Trainer(divided, { optimizer: optimizer(), dst: staticSparse(), device })
      const [whole, parameters] = [modelOf(false), parametersOf(divided)]
      const layersOf = (name: string) =>
        Promise.all(
          Array.from({ length: heads }, (_, head) =>
            layerOf(parameters.get(`${name}.${head}.weights`) as SparseParameter),
          ),
        )
      const joinedOf = async (name: string) =>
        joined(await layersOf(name), name.endsWith('.output') ? 'columns' : 'rows', features / heads)
      for (const [module, name] of namedModules(whole)) {
        if (!(module instanceof SparseLinear)) continue
        const isOfHeads = /\.(query|key|value|output)$/.test(name)
        const links = isOfHeads
          ? await joinedOf(name)
          : await layerOf(parameters.get(`${name}.weights`) as SparseParameter)
        module.setWeights({ links, values: links.values, bias: new Float32Array(module.outFeatures) })
      }
      const other = new Trainer(whole, { optimizer: optimizer(), dst: staticSparse(), device })
      const others = parametersOf(whole)
      for (const [name, { values }] of others)
        if (parameters.has(name)) await values.write(await (parameters.get(name) as SparseParameter).values.read())
      const losses = async (one: Trainer) => {
        const all: number[] = []
        for await (const { trainLoss } of one.fit(text, { steps: 6, interval: 2, batchSize: 64 })) all.push(trainLoss)
        return all
      }
      expectNear(await losses(trainer), await losses(other), 'losses', 1e-5)
      for (const [name, parameter] of others) {
        if (!/\.(query|key|value|output)\.weights$/.test(name)) continue
        const { values } = await joinedOf(name.replace(/\.weights$/, ''))
        expectNear(values, (await layerOf(parameter as SparseParameter)).values, name, 1e-4)
      }
      for (const one of [trainer, other]) one.dispose()
    })
  }

  it('keep their shares of the links, whatever is removed and grown', async () => {
    const text = await textOf()
    for (const method of [set, chts]) {
      const model = modelOf(true)
      const { updates } = method()
      const dst = method({ percolate: false, updates: updates && { ...updates, every: 2 } })
      using trainer = new Trainer(model, { optimizer: sgd({ learningRate: 0.1 }), dst, device: at(places[0], 2) })
      const before = new Map<SparseParameter, string>()
      for (const parameter of model.sparse) before.set(parameter, String((await parameter.matrix.read()).columnIndices))
      for await (const _ of trainer.fit(text, { steps: 12, interval: 12, batchSize: 64 })) {
        let moved = 0
        for (const [parameter, links] of before) {
          const { columnIndices } = await parameter.matrix.read()
          expect(columnIndices.length).to.equal(parameter.matrix.rows * parameter.matrix.cols * 0.5)
          if (String(columnIndices) !== links) ++moved
        }
        expect(moved).to.equal(before.size)
      }
    }
  })

  it('are related head by head', () => {
    const model = modelOf(true)
    using trainer = new Trainer(model, { optimizer: sgd({ learningRate: 0.1 }), device: at(places[0], 2) })
    const names = new Map(namedParameters(trainer.model).map(([name, parameter]) => [parameter, name]))
    const found = model.relations.map(({ first, second }) => {
      const [a, b] = [names.get(first) as string, names.get(second) as string].map((name) =>
        name.replace(/^.*\.(attention|feedForward)\./, ''),
      )
      return `${a} ${b}`
    })
    // Three attentions of two heads, and two feed-forward parts.
    expect(found.length).to.equal(3 * 2 * heads + 2)
    expect(found).to.include.members(['key.0.weights query.0.weights', 'value.1.weights output.1.weights'])
    expect(found.filter((pair) => /\.0\..*\.1\.|\.1\..*\.0\./.test(pair))).to.deep.equal([])
  })

  it('are saved and loaded, and translate', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'hebb-heads-'))
    try {
      const file = join(folder, 'model.safetensors')
      const text = await textOf()
      using trainer = new Trainer(modelOf(true), { optimizer: sgd({ learningRate: 0.1 }), device: at(places[0], 2) })
      for await (const _ of trainer.fit(text, { steps: 3, interval: 3, batchSize: 64 }));
      await trainer.save(file)
      using again = await Trainer.load(file, { device: at(places[0], 2) })
      const others = parametersOf(again.model)
      for (const [name, { values }] of parametersOf(trainer.model))
        expectSameBits(await values.read(), await (others.get(name) as SparseParameter).values.read(), name)
      using predictor = await load(file, { device: at(places[0], 2) })
      expect(await predictor.translate(['3 b'])).to.deep.equal(await trainer.translate(['3 b']))
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})
