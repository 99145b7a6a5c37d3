/** A layer's weights in arrays of a program: given out, and taken back, before training and within it. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { dense } from '../lib/dst/methods.js'
import {
  adam,
  chts,
  cscSlots,
  type Dataset,
  gmp,
  inRowOrder,
  type LayerWeights,
  Linear,
  load,
  mlp,
  type NewWeights,
  type Optimizer,
  Sequential,
  SparseLinear,
  sgd,
  staticSparse,
  Trainer,
  updateSchedule,
} from '../lib/index.js'
import { cellsOf, cpu, csrOf, expectRefusal, expectSameBits, linksOf, numbers, randomCsr, subset } from './support.js'
import { clusters } from './synthetic.js'

const [inputs, hidden, outputs, density] = [9, 12, 4, 0.25]
const first = randomCsr(hidden, inputs, Math.round(density * hidden * inputs), 1)

function begin(seed: number): [NewWeights, NewWeights] {
  const csr = randomCsr(hidden, inputs, first.columnIndices.length, seed)
  return [
    { links: csr, values: numbers(csr.columnIndices.length, seed + 1), bias: numbers(hidden, seed + 2) },
    { values: numbers(hidden * outputs, seed + 3), bias: numbers(outputs, seed + 4) },
  ]
}

const network = (seed = 7) =>
  new Sequential(
    [
      new SparseLinear({ inFeatures: inputs, outFeatures: hidden, density }),
      new Linear({ inFeatures: hidden, outFeatures: outputs }),
    ],
    { seed },
  )

const batch = (step: number) => ({
  x: numbers(20 * inputs, 50 + step),
  y: Int32Array.from(numbers(20, 70 + step, 0, 4), Math.floor),
})

async function stateOf(trainer: Trainer): Promise<unknown> {
  const optimizer: Float32Array[] = []
  for (const parameter of trainer.model.parameters) {
    const links = trainer.model.sparse.find((one) => one === parameter)
    const length = links ? (await links.matrix.read()).columnIndices.length : parameter.capacity
    for (const slot of parameter.slots.values()) optimizer.push(await slot.read(length))
  }
  return [await trainer.weights(0), await trainer.weights(1), optimizer]
}

const optimizers: Record<string, () => Optimizer> = {
  'SGD with momentum': () => sgd({ learningRate: 0.1, momentum: 0.9, weightDecay: 1e-3 }),
  Adam: () => adam({ learningRate: 0.01 }),
}

describe('weights()', () => {
  for (const [name, optimizer] of Object.entries(optimizers)) {
    it(`and setWeights() within training end as a model that was made with them, with ${name}`, async () => {
      const [one, two] = begin(10)
      // Made with them.
      const model = network()
      ;(model.modules[0] as SparseLinear).setWeights(one)
      ;(model.modules[1] as Linear).setWeights(two)
      using made = new Trainer(model, { optimizer: optimizer(), dst: staticSparse(), device: cpu() })
      // Before the first step.
      using early = new Trainer(network(8), { optimizer: optimizer(), dst: staticSparse(), device: cpu(2) })
      await early.setWeights(0, one)
      await early.setWeights('modules.1', two)
      // After some: all weights change, and so all state is new.
      using late = new Trainer(network(9), { optimizer: optimizer(), dst: staticSparse(), device: cpu() })
      for (const step of [0, 1, 2]) await late.trainOn(batch(step))
      await late.setWeights('modules.0', one)
      await late.setWeights(1, two)
      for (const trainer of [early, late]) {
        const { links, values, bias } = await trainer.weights(0)
        expect(links).to.deep.equal({
          rowOffsets: (one.links as LayerWeights['links'])?.rowOffsets,
          columnIndices: (one.links as LayerWeights['links'])?.columnIndices,
        })
        expectSameBits([values, bias], [one.values, one.bias], 'weights')
      }
      const losses = new Map<Trainer, number[]>()
      for (const trainer of [made, early, late]) {
        losses.set(trainer, [])
        for (const step of [3, 4, 5]) losses.get(trainer)?.push(await trainer.trainOn(batch(step)))
      }
      for (const trainer of [early, late]) {
        expect(losses.get(trainer)).to.deep.equal(losses.get(made))
        expectSameBits(await stateOf(trainer), await stateOf(made), 'after three steps')
      }
    })
  }

  it('that go back change nothing, the optimizer state included', async () => {
    const run = async (isSet: boolean) => {
      using trainer = new Trainer(network(), { optimizer: optimizers.Adam(), device: cpu() })
      for (const step of [0, 1, 2, 3]) {
        await trainer.trainOn(batch(step))
        if (isSet) for (const layer of [0, 1]) await trainer.setWeights(layer, await trainer.weights(layer))
      }
      return await stateOf(trainer)
    }
    expectSameBits(await run(true), await run(false), 'state')
  })

  it('that change in part keep the state of what stays', async () => {
    using trainer = new Trainer(network(), { optimizer: optimizers['SGD with momentum'](), device: cpu() })
    for (const step of [0, 1]) await trainer.trainOn(batch(step))
    const [sparse] = trainer.model.sparse
    const stateNow = async () => {
      const csr = await linksOf(trainer, 0)
      const slot = [...sparse.slots.values()][0]
      const { values } = await trainer.weights(0)
      const state = inRowOrder(await slot.read(values.length), cscSlots(csr, inputs))
      return new Map(cellsOf(csr).map((cell, k) => [cell, { value: values[k], state: state[k] }]))
    }
    const before = await stateNow()
    // Half of the links go, as many come, and one that stays has another value.
    const all = [...before.keys()]
    const gone = new Set(subset(Math.floor(all.length / 2), all.length, 3).map((i) => all[i]))
    const stay = all.filter((cell) => !gone.has(cell))
    const missing = Array.from({ length: hidden * inputs }, (_, cell) => cell).filter((cell) => !before.has(cell))
    const come = subset(gone.size, missing.length, 4).map((i) => missing[i])
    const cells = [...stay, ...come].sort((a, b) => a - b)
    const values = Float32Array.from(cells, (cell) => (cell === stay[0] ? 5 : (before.get(cell)?.value ?? 3)))
    await trainer.setWeights(0, { links: csrOf(hidden, inputs, cells), values })
    const after = await stateNow()
    expect([...after.keys()]).to.deep.equal(cells)
    for (const [i, [cell, { value, state }]] of [...after].entries()) {
      expect(value).to.equal(values[i])
      expect(state, `${cell}`).to.equal(come.includes(cell) || cell === stay[0] ? 0 : before.get(cell)?.state)
    }
    expect([...before.values()].some(({ state }) => state !== 0)).to.equal(true)
    await trainer.trainOn(batch(2))
  })

  it('may be fewer, which the next topology update brings back to the density, and are in the history', async () => {
    const every = { updates: updateSchedule({ every: 2, until: 1, fraction: 0.3 }) }
    using trainer = new Trainer(network(), { optimizer: optimizers.Adam(), dst: chts(every), device: cpu() })
    trainer.plan({ epochs: 1, stepsPerEpoch: 8 })
    await trainer.trainOn(batch(0))
    const { itop } = await trainer.measures()
    const fewer = randomCsr(hidden, inputs, 10, 77)
    await trainer.setWeights(0, { links: fewer, values: numbers(10, 1) })
    const measured = await trainer.measures()
    expect(measured.linksPerLayer).to.deep.equal([10])
    const ever = new Set([...cellsOf(fewer)])
    expect(measured.itop).to.be.within(itop, itop + ever.size / (hidden * inputs))
    expect(measured.itop).to.be.above(itop)
    for (const step of [1, 2]) await trainer.trainOn(batch(step))
    expect((await trainer.measures()).linksPerLayer).to.deep.equal([first.columnIndices.length])
    await trainer.setWeights(0, { links: csrOf(hidden, inputs, []), values: [] })
    await trainer.trainOn(batch(3))
  })

  it('go into a checkpoint and come out of it, and of a predictor', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'hebb-weights-'))
    try {
      const file = join(folder, 'model.safetensors')
      const data: Dataset = clusters({ samples: 60, features: inputs, classes: outputs })
      using trainer = new Trainer(network(), { optimizer: optimizers.Adam(), dst: chts(), device: cpu() })
      for await (const { epoch } of trainer.fit(data, { epochs: 4, batchSize: 20 })) {
        if (epoch !== 2) continue
        const [one, two] = begin(30)
        await trainer.setWeights(0, one)
        await trainer.setWeights(1, two)
        await trainer.save(file)
      }
      using again = await Trainer.load(file, { device: 'cpu' })
      using predictor = await load(file, { device: 'cpu' })
      for (const layer of ['modules.0', 'modules.1'])
        expectSameBits(await again.weights(layer), await predictor.weights(layer), layer)
      expectSameBits((await predictor.weights(1)).values, begin(30)[1].values, 'as they were set')
      for await (const _ of again.resume(data));
      expectSameBits(await stateOf(again), await stateOf(trainer), 'resumed')
    } finally {
      await rm(folder, { recursive: true })
    }
  })

  it('of a dense method are all values, and links are refused there', async () => {
    using trainer = new Trainer(mlp({ widths: [6, 5, 3], density: 1 }), {
      ...{ optimizer: optimizers.Adam(), dst: dense(), device: cpu() },
    })
    const { links, values, rows, cols } = await trainer.weights(0)
    expect([links, values.length, rows, cols]).to.deep.equal([undefined, 30, 5, 6])
    await trainer.setWeights(0, { values: numbers(30, 1) })
    expectSameBits((await trainer.weights(0)).values, numbers(30, 1), 'values')
    const { message } = await expectRefusal(
      () => trainer.setWeights(0, { links: randomCsr(5, 6, 3, 1), values: numbers(3, 1) }),
      'INVALID_ARGUMENT',
      'links',
    )
    expect(message).to.match(/no links for modules.0, which is fully connected: values by row, 5 x 6/)
  })

  it('that do not fit are refused by name, and nothing is changed', async () => {
    using trainer = new Trainer(network(), { optimizer: optimizers.Adam(), device: cpu() })
    await trainer.trainOn(batch(0))
    const before = await stateOf(trainer)
    const { links, values, bias } = (await trainer.weights(0)) as Required<LayerWeights>
    const count = values.length
    const wrong = (change: (parts: { rowOffsets: number[]; columnIndices: number[] }) => void): NewWeights => {
      const parts = { rowOffsets: [...links.rowOffsets], columnIndices: [...links.columnIndices] }
      change(parts)
      return { links: parts, values }
    }
    const full = links.rowOffsets.findIndex((start, row) => links.rowOffsets[row + 1] - start > 1)
    const at = links.rowOffsets[full]
    const cases: [NewWeights, RegExp][] = [
      [wrong(({ columnIndices }) => columnIndices.reverse()), /columnIndices of modules.0 to ascend within a row/],
      [wrong(({ columnIndices }) => (columnIndices[at + 1] = columnIndices[at])), /ascend within a row, each once/],
      [wrong(({ columnIndices }) => (columnIndices[0] = inputs)), /integers in \[0, 8\], got 9 at 0/],
      [wrong(({ columnIndices }) => (columnIndices[0] = -1)), /got -1 at 0/],
      [wrong(({ columnIndices }) => (columnIndices[0] = 0.5)), /got 0.5 at 0/],
      [wrong(({ columnIndices }) => (columnIndices[0] = Number.NaN)), /got NaN at 0/],
      [wrong(({ rowOffsets }) => rowOffsets.pop()), /Expected 13 rowOffsets of modules.0, from 0 to its/],
      [wrong(({ rowOffsets }) => (rowOffsets[0] = 1)), /got 13 from 1 to/],
      [wrong(({ rowOffsets }) => (rowOffsets[hidden] = count - 1)), /from 0 to its 27 links/],
      [wrong(({ rowOffsets }) => (rowOffsets[1] = count)), /Expected rowOffsets of modules.0 to ascend/],
      [{ links, values: values.slice(1) }, /Expected 27 values for modules.0, got 26/],
      [{ links, values, bias: bias.slice(1) }, /Expected 12 biases for modules.0, got 11/],
      [{ links, values: 3 as never }, /Expected 27 values for modules.0, got 3/],
      [{ links, values, rows: 3 }, /Expected weights of 12 x 9 for modules.0, got 3 x 9/],
      [{ values }, /Expected links \{ rowOffsets, columnIndices \} for the sparse layer modules.0, got undefined/],
      [{ links, values, vales: 1 } as never, /got 'vales'. Did you mean 'values'/],
      [
        { links: randomCsr(hidden, inputs, count + 1, 1), values: numbers(count + 1, 1) },
        /at most 27 links for modules.0, which it has room for, got 28/,
      ],
    ]
    for (const [weights, message] of cases)
      expect(
        (await expectRefusal(() => trainer.setWeights(0, weights), 'INVALID_ARGUMENT', String(message))).message,
      ).to.match(message)
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, 1e300]) {
      const other = Array.from(values)
      other[2] = bad
      const { message } = await expectRefusal(
        () => trainer.setWeights(0, { links, values: other }),
        'NON_FINITE',
        `${bad}`,
      )
      expect(message).to.match(/Expected finite values for modules.0, got .* at 2/)
      await expectRefusal(() => trainer.setWeights(1, { values: numbers(48, 1).fill(bad) }), 'NON_FINITE', `${bad}`)
    }
    await expectRefusal(() => trainer.setWeights('modules.2', { values }), 'INVALID_ARGUMENT', 'no such layer')
    expectSameBits(await stateOf(trainer), before, 'untouched')
    await expectRefusal(
      () => new SparseLinear({ inFeatures: 2, outFeatures: 2, density: 1 }).setWeights({ values }),
      'INVALID_ARGUMENT',
      'before',
    )
    await expectRefusal(
      () => (trainer.model.modules[0] as SparseLinear).setWeights({ links, values }),
      'INVALID_ARGUMENT',
      'in use',
    )
    trainer.dispose()
    await expectRefusal(() => trainer.weights(0), 'DISPOSED', 'weights')
    await expectRefusal(() => trainer.setWeights(0, { links, values }), 'DISPOSED', 'setWeights')
  })

  it('of a layer whose pruned links may return are among those', async () => {
    using trainer = new Trainer(network(), { optimizer: optimizers.Adam(), dst: gmp(), device: cpu() })
    trainer.plan({ epochs: 20, stepsPerEpoch: 10 })
    await trainer.trainOn(batch(0))
    const csr = await linksOf(trainer, 0)
    const cells = cellsOf(csr)
    const other = Array.from({ length: hidden * inputs }, (_, cell) => cell).find((cell) => !cells.includes(cell))
    const less = cells.slice(1)
    await trainer.setWeights(0, { links: csrOf(hidden, inputs, less), values: numbers(less.length, 1) })
    const more = [...less, other as number].sort((a, b) => a - b)
    const { message } = await expectRefusal(
      () => trainer.setWeights(0, { links: csrOf(hidden, inputs, more), values: numbers(more.length, 1) }),
      'UNSUPPORTED',
      'another link',
    )
    expect(message).to.match(/links among those that modules.0 began with/)
    for (const step of [1, 2]) await trainer.trainOn(batch(step))
  })
})
