import { expect } from 'chai'
import {
  adam,
  type Batch,
  cht,
  chts,
  chtss,
  constantFraction,
  cosineFraction,
  cubicDensity,
  Device,
  dataset,
  dense,
  type Epoch,
  gmp,
  granet,
  HebbError,
  historicalMagnitude,
  Linear,
  type Method,
  magnitude,
  mest,
  method,
  mlp,
  type Progress,
  Relu,
  random,
  recommended,
  relativeImportance,
  rigl,
  Sequential,
  SparseLinear,
  type SparseParameter,
  set,
  sgd,
  soft,
  softMagnitude,
  softRelativeImportance,
  staticSparse,
  Trainer,
  topK,
  updateSchedule,
} from '../lib/index.js'
import { addon } from '../lib/native.js'
import { at, byRow, cellsOf, everywhere, expectRefusal, linksOf, places } from './support.js'
import { clusters, plane } from './synthetic.js'
import { all, error, optimizer, state, test, train, widths } from './training.js'

const everyEpoch = updateSchedule({ fraction: cosineFraction(0.3), until: 0.75 })
const methods: Record<string, () => Method> = {
  static: staticSparse,
  set,
  chts,
  chtss,
  cht,
  rigl,
  mest,
  gmp,
  granet,
  'chts with CH3-L3n and soft RI': () => chts({ regrow: soft('CH3-L3n'), remove: softRelativeImportance({ to: 9 }) }),
  'chts by the dense route': () => chts({ regrow: soft('CH2-L3n', { route: 'dense' }) }),
  'chts with CH3-L3p': () => chts({ regrow: soft('CH3-L3p') }),
  'hard CHT': () => chts({ regrow: topK('CH2-L3n'), remove: magnitude() }),
  'cubic decay': () =>
    method({
      density: cubicDensity(),
      remove: magnitude(),
      regrow: random(),
      prune: relativeImportance(),
      updates: everyEpoch,
    }),
}

describe('Trainer', () => {
  describe('every method', () => {
    for (const [name, create] of Object.entries(methods)) {
      it(`${name}: learns, with exactly round(density * rows * cols) links after every update`, async () => {
        const density = 0.1
        const dst = create()
        using trainer = new Trainer(mlp({ widths, density, seed: 3 }), { optimizer: optimizer(), dst, device: 'cpu' })
        const updates = dst.updates ? Math.floor(Math.min(dst.updates.until * 12, 11)) : 0
        const epochs = await all(trainer.fit(train, { epochs: 12, batchSize: 16, validation: test }))
        const schedule = dst.density.schedule({ target: density, updates })
        for (const { epoch, linksPerLayer } of epochs) {
          const share = schedule(Math.min(epoch - 1, updates))
          expect(linksPerLayer, `epoch ${epoch}`).to.deep.equal([
            Math.round(share * 48 * 64),
            Math.round(share * 64 * 56),
          ])
        }
        const last = epochs.at(-1) as Epoch
        expect(last.validation?.accuracy).to.be.above(0.9)
        expect(last.links).to.equal(Math.round(0.1 * 48 * 64) + Math.round(0.1 * 64 * 56))
        if (dst.updates) expect(last.itop).to.be.above(0.12)
        else expect(last.itop).to.equal(last.density)
        expect(last.activeNeurons).to.be.within(0.1, 1)
      })
    }
  })

  for (const [name, create] of Object.entries({ ...methods, dense })) {
    it(`${name}: the same seed gives the same bits with 1, 2 and 3 threads, another seed does not`, async () => {
      const run = async (threads: number, seed: number) => {
        const model = mlp({ widths, density: name === 'dense' ? 1 : 0.15, seed })
        using trainer = new Trainer(model, { optimizer: optimizer(), dst: create(), device: { kind: 'cpu', threads } })
        await all(trainer.fit(train, { epochs: 5, batchSize: 33 }))
        return await state(trainer)
      }
      const one = await run(1, 7)
      expect(await run(2, 7)).to.deep.equal(one)
      expect(await run(3, 7)).to.deep.equal(one)
      expect(await run(1, 8)).to.not.deep.equal(one)
    })
  }

  it('recommended() gives CHTs and CHTss a correlated network and removal by relative importance', async () => {
    for (const create of [chts, chtss]) {
      const dst = create(recommended({ data: train }))
      expect([dst.name, dst.topology.name, dst.remove?.name]).to.deep.equal([
        create().name,
        'csti',
        'soft relative importance',
      ])
      using trainer = new Trainer(mlp({ widths: [48, 48, 96, 4], density: 0.15, seed: 3 }), {
        optimizer: optimizer(),
        dst,
        device: 'cpu',
      })
      const epochs = await all(trainer.fit(train, { epochs: 10, batchSize: 16, validation: test }))
      expect(epochs.at(-1)?.validation?.accuracy).to.be.above(0.85)
    }
  })

  describe('Adam', () => {
    for (const place of places) {
      for (const decoupled of [false, true]) {
        it(`${place}: learns while links are regrown${decoupled ? ', with decoupled decay' : ''}`, async () => {
          const options = {
            optimizer: adam({ learningRate: 0.003, weightDecay: 1e-3, decoupled }),
            dst: chts({ updates: updateSchedule({ every: 7, fraction: cosineFraction(0.3), until: 0.75 }) }),
            device: at(place),
          }
          using trainer = new Trainer(mlp({ widths, density: 0.1, seed: 3 }), options)
          const epochs = await all(trainer.fit(train, { epochs: 6, batchSize: 16, validation: test }))
          expect(epochs.at(-1)?.validation?.accuracy).to.be.above(0.9)
          expect(epochs.at(-1)?.itop).to.be.above(0.12)
        })
      }
    }

    it('an update moves all that belongs to a link, and a link that is regrown begins as all began', async () => {
      const [beta1, beta2] = [0.9, 0.999]
      await everywhere(async (device) => {
        const dst = chts({ updates: updateSchedule({ every: 10, fraction: constantFraction(0.3), until: 1 }) })
        using trainer = new Trainer(mlp({ widths, density: 0.1, seed: 3 }), {
          optimizer: adam({ beta1, beta2 }),
          dst,
          device,
        })
        const x = Float32Array.from(train.x.subarray(0, 48 * 100), (v) => v * train.scale + train.shift)
        const batch = { x, y: (train.labels as Int32Array).subarray(0, 100) }
        /** By the link: first moment, second moment, steps. */
        const links = async (parameter: SparseParameter) => {
          const { rows, cols } = parameter.matrix
          const csr = { rows, cols, ...(await parameter.matrix.read()) }
          const arrays = await Promise.all(
            ['firstMoment', 'secondMoment', 'steps'].map((name) => parameter.slot(name).read(csr.columnIndices.length)),
          )
          const [m, v, t] = arrays.map((array) => byRow(csr, array))
          return new Map(cellsOf(csr).map((cell, k) => [cell, [m[k], v[k], t[k]] as const]))
        }
        trainer.plan({ epochs: 3, stepsPerEpoch: 10 })
        for (let step = 0; step < 10; ++step) await trainer.trainOn(batch)
        const before = await Promise.all(trainer.model.sparse.map(links))
        await trainer.trainOn(batch) // after an update
        const after = await Promise.all(trainer.model.sparse.map(links))
        for (const [layer, now] of after.entries()) {
          let regrown = 0
          for (const [cell, [m, v, t]] of now) {
            let [m0, v0, t0] = before[layer].get(cell) ?? [0, 0, 0]
            if (t === 1) [m0, v0, t0] = [0, 0, 0] // perhaps removed and regrown at once
            regrown += Number(t === 1)
            expect(t).to.equal(t0 + 1)
            // The gradient, from either moment.
            const first = ((m - beta1 * m0) / (1 - beta1)) ** 2
            const second = (v - beta2 * v0) / (1 - beta2)
            expect(first, `layer ${layer}, link ${cell}`).to.be.closeTo(second, 1e-3 * (v + first + m0 ** 2))
          }
          const removed = [...before[layer].keys()].filter((cell) => !now.has(cell)).length
          expect(regrown).to.be.at.least(removed)
          expect(removed).to.be.above(0.1 * now.size)
        }
        return []
      })
    })
  })

  it('evaluate and predict agree, whatever the batch', async () => {
    using trainer = new Trainer(mlp({ widths, density: 0.2 }), { optimizer: optimizer(), device: 'cpu' })
    await all(trainer.fit(train, { epochs: 2 }))
    const { accuracy, samples, loss } = await trainer.evaluate(test)
    const logits = await trainer.predict(test)
    let right = 0
    let sum = 0
    for (let s = 0; s < test.samples; ++s) {
      const row = Array.from(logits.subarray(4 * s, 4 * s + 4))
      const label = (test.labels as Int32Array)[s]
      right += Number(row.indexOf(Math.max(...row)) === label)
      sum += Math.log(row.reduce((z, v) => z + Math.exp(v), 0)) - row[label]
    }
    expect(samples).to.equal(203)
    expect(accuracy).to.be.closeTo(right / 203, 1e-12)
    expect(loss).to.be.closeTo(sum / 203, 1e-6)
    const x = Float32Array.from(test.x.subarray(0, 48), (v) => v * test.scale + test.shift)
    expect(Array.from(await trainer.predict(x, { raw: false }))).to.deep.equal(Array.from(logits.subarray(0, 4)))
  })

  it('a plain loop over batches trains, updates the topology and follows the plan', async () => {
    using trainer = new Trainer(mlp({ widths, density: 0.1 }), { optimizer: optimizer(), dst: chts(), device: 'cpu' })
    trainer.plan({ epochs: 8, stepsPerEpoch: 10 })
    async function* batches(): AsyncGenerator<Batch> {
      for (let i = 0; i < 80; ++i) {
        const first = (i * 32) % 368
        const x = Float32Array.from(
          train.x.subarray(48 * first, 48 * (first + 32)),
          (v) => v * train.scale + train.shift,
        )
        yield { x, y: (train.labels as Int32Array).subarray(first, first + 32) }
      }
    }
    const losses: number[] = []
    for await (const batch of batches()) losses.push(await trainer.trainOn(batch))
    expect(losses.at(-1)).to.be.below(losses[0] / 2)
    const { itop, links } = await trainer.measures()
    expect(itop).to.be.above(0.12)
    expect(links).to.equal(Math.round(0.1 * 48 * 64) + Math.round(0.1 * 64 * 56))
    // Smaller and larger batches are welcome.
    await trainer.trainOn({ x: new Float32Array(48 * 3), y: [0, 1, 2] })
    expect(await trainer.trainOn({ x: new Float32Array(48 * 33), y: new Int32Array(33) })).to.be.above(0)
  })

  it('regression by mean squared error', async () => {
    const data = plane({ samples: 256, features: 20, outputs: 3 })
    using trainer = new Trainer(mlp({ widths: [20, 64, 3], density: 0.5 }), {
      optimizer: sgd({ learningRate: 0.05, momentum: 0.9 }),
      device: 'cpu',
    })
    const epochs = await all(trainer.fit(data, { epochs: 30, batchSize: 32, validation: data }))
    expect(epochs.at(-1)?.validation?.loss).to.be.below((epochs[0] as Epoch).trainLoss / 10)
    expect(epochs.at(-1)?.validation?.accuracy).to.be.NaN
  })

  it('a model of its own layers, with a Relu that stands alone and a sparse output', async () => {
    const model = new Sequential(
      [
        new Relu(),
        new SparseLinear({ inFeatures: 48, outFeatures: 40, density: 0.2, bias: false }),
        new Relu(),
        new Linear({ inFeatures: 40, outFeatures: 24 }),
        new Relu(),
        new SparseLinear({ inFeatures: 24, outFeatures: 4, density: 0.5 }),
      ],
      { seed: 1 },
    )
    using trainer = new Trainer(model, { optimizer: optimizer(), dst: set(), device: 'cpu' })
    const epochs = await all(trainer.fit(train, { epochs: 8, validation: test }))
    expect(epochs.at(-1)?.validation?.accuracy).to.be.above(0.85)
  })

  describe('early stop', () => {
    /** Removes the first links of a layer and grows the same again, or others. */
    const returning = (again: boolean, asked: number[], earlyStop = 0.9) =>
      method({
        name: 'returning',
        updates: updateSchedule({ every: 5, fraction: 0.2, until: 1 }),
        earlyStop,
        remove: ({ rowOffsets, columnIndices, cols, values, rows }, count) => {
          asked.push(count)
          lost = []
          for (let r = 0, k = 0; r < rows; ++r)
            for (; k < rowOffsets[r + 1]; ++k) if (k < count) lost.push([r, columnIndices[k] % cols])
          return Array.from(values.keys()).slice(0, count)
        },
        regrow: async ({ rows, cols, rowOffsets, columnIndices }, count) => {
          if (again) return { row: lost.slice(0, count).map(([r]) => r), col: lost.slice(0, count).map(([, c]) => c) }
          const taken = new Set(lost.map(([r, c]) => r * cols + c))
          for (let r = 0; r < rows; ++r)
            for (let k = rowOffsets[r]; k < rowOffsets[r + 1]; ++k) taken.add(r * cols + columnIndices[k])
          const free = Array.from({ length: rows * cols }, (_, cell) => cell).filter((cell) => !taken.has(cell))
          return {
            row: free.slice(0, count).map((cell) => Math.floor(cell / cols)),
            col: free.slice(0, count).map((cell) => cell % cols),
          }
        },
      })
    let lost: [number, number][] = []

    it('leaves a layer alone once what it regrows is what it removed, and no other', async () => {
      for (const [again, earlyStop, stops] of [
        [true, 0.9, true],
        [false, 0.9, false],
        [true, 1, false], // more than all of them is never
      ] as const) {
        const asked: number[] = []
        const dst = returning(again, asked, earlyStop)
        using trainer = new Trainer(mlp({ widths: [48, 64, 4], density: 0.1 }), {
          optimizer: optimizer(),
          dst,
          device: 'cpu',
        })
        await all(trainer.fit(train, { epochs: 2, batchSize: 40 }))
        expect(asked[0]).to.equal(Math.floor(0.2 * Math.round(0.1 * 48 * 64)))
        expect(asked.slice(1).every((count) => count === (stops ? 0 : asked[0]))).to.equal(true)
        expect(asked.length > 2).to.equal(true)
      }
    })
  })

  describe('stopping', () => {
    it('an AbortSignal ends the epoch; what was trained stays and training can go on', async () => {
      using trainer = new Trainer(mlp({ widths: [48, 512, 512, 4], density: 0.2 }), {
        optimizer: optimizer(),
        dst: chts(),
        device: 'cpu',
      })
      const stop = new AbortController()
      const big = clusters({ samples: 20000, features: 48, classes: 4 })
      const onProgress = ({ step }: Progress) => step > 0 && stop.abort('enough')
      const failure = await error(() =>
        all(trainer.fit(big, { epochs: 100, batchSize: 16, signal: stop.signal, onProgress })),
      )
      expect(failure.code).to.equal('ABORTED')
      expect(failure.cause).to.equal('enough')
      expect(trainer.step).to.be.above(0)
      expect((await trainer.evaluate(test)).samples).to.equal(203)
    })

    it('leaving the loop is enough', async () => {
      using trainer = new Trainer(mlp({ widths, density: 0.2 }), { optimizer: optimizer(), device: 'cpu' })
      for await (const epoch of trainer.fit(train, { epochs: 1000 })) if (epoch.epoch === 2) break
      expect(trainer.step).to.equal(26)
      expect((await all(trainer.fit(train, { epochs: 1 }))).length).to.equal(1)
    })

    it('progress is told while an epoch runs, and the event loop goes on', async () => {
      using trainer = new Trainer(mlp({ widths: [48, 512, 512, 4], density: 0.3 }), {
        optimizer: optimizer(),
        device: 'cpu',
      })
      let ticks = 0
      const timer = setInterval(() => ++ticks, 5)
      const steps: number[] = []
      const big = clusters({ samples: 30000, features: 48, classes: 4 })
      await all(trainer.fit(big, { epochs: 1, onProgress: ({ step }) => steps.push(step) }))
      clearInterval(timer)
      expect(ticks).to.be.above(5)
      expect(steps.at(-1)).to.equal(938)
      expect(steps).to.deep.equal([...steps].sort((a, b) => a - b))
    })
  })

  it('the ITOP rate counts the links that were ever active, however many they become', async () => {
    using trainer = new Trainer(mlp({ widths: [640, 200, 4], density: 0.001 }), {
      optimizer: optimizer(),
      dst: set({ updates: updateSchedule({ every: 1, until: 1, fraction: 0.5 }) }),
      device: 'cpu',
    })
    trainer.plan({ epochs: 1, stepsPerEpoch: 60 })
    const { matrix } = trainer.model.sparse[0]
    const ever = new Set<number>()
    for (let step = 0; step < 60; ++step) {
      await trainer.trainOn({ x: Float32Array.from({ length: 640 }, () => 1), y: [0] })
      const { rowOffsets, columnIndices } = await matrix.read()
      for (let row = 0; row < 200; ++row) {
        for (let k = rowOffsets[row]; k < rowOffsets[row + 1]; ++k) ever.add(row * 640 + columnIndices[k])
      }
    }
    // The history began as a list with room for four times the links, and became a bitmap of 2000 words.
    expect(ever.size).to.be.above(20 * 128)
    expect((await trainer.measures()).itop).to.equal(ever.size / (640 * 200))
  })

  it('gives out the links of its sparse layers as they are, while it trains and after', async () => {
    using trainer = new Trainer(mlp({ widths, density: 0.1, seed: 3 }), {
      optimizer: optimizer(),
      dst: chts(),
      device: 'cpu',
    })
    const before = await linksOf(trainer, 0)
    expect(before).to.include({ rows: 64, cols: 48 })
    expect(before.columnIndices).to.have.length(Math.round(0.1 * 64 * 48))
    for await (const { epoch, linksPerLayer } of trainer.fit(train, { epochs: 4 })) {
      for (const [layer, links] of linksPerLayer.entries()) {
        const { rowOffsets, columnIndices } = await linksOf(trainer, layer)
        expect([columnIndices.length, rowOffsets.at(-1)], `layer ${layer}, epoch ${epoch}`).to.deep.equal([
          links,
          links,
        ])
        expect({ rowOffsets, columnIndices }).to.deep.equal(await trainer.model.sparse[layer].matrix.read())
      }
    }
    expect((await linksOf(trainer, 0)).columnIndices).to.not.deep.equal(before.columnIndices)
    for (const layer of [-1, 3, 0.5, 'modules.1'])
      expect((await expectRefusal(() => linksOf(trainer, layer), 'INVALID_ARGUMENT', 'links')).message).to.match(
        /Expected a layer of the model, modules.0, modules.2, modules.4 or its number from 0 on, got/,
      )
    using dense = new Trainer(new Sequential([new Linear({ inFeatures: 48, outFeatures: 4 })]), {
      optimizer: optimizer(),
      device: 'cpu',
    })
    expect(await dense.weights(0)).to.have.keys('rows', 'cols', 'values', 'bias')
    dense.dispose()
    expect((await expectRefusal(() => linksOf(dense, 0), 'DISPOSED', 'links')).message).to.match(/disposed/)
  })

  describe('memory', () => {
    it('is given back by dispose', async () => {
      using device = new Device({ kind: 'cpu' })
      expect(device.memory()).to.deep.equal({ buffers: 0, bytes: 0, peakBytes: 0 })
      for (let i = 0; i < 3; ++i) {
        const trainer = new Trainer(mlp({ widths, density: 0.1 }), { optimizer: optimizer(), dst: chtss(), device })
        await all(trainer.fit(train, { epochs: 4, batchSize: 16, validation: test }))
        await trainer.predict(test)
        expect(device.memory().bytes).to.be.above(0)
        trainer.dispose()
        trainer.dispose()
        expect(device.memory()).to.include({ buffers: 0, bytes: 0 })
      }
    })

    it('of historical weights is 17 bytes a link, 4 a neuron and one bit a cell of layers in dense tiles', async () => {
      using device = new Device({ kind: 'cpu' })
      const bytes: number[] = []
      for (const prune of [magnitude(), historicalMagnitude()]) {
        using trainer = new Trainer(mlp({ widths: [64, 128, 10], density: 0.1 }), {
          optimizer: optimizer(),
          dst: gmp({ prune }),
          device,
        })
        expect((await trainer.measures()).links).to.equal(4096)
        bytes.push(device.memory().bytes)
      }
      const [without, withThem] = bytes as [number, number]
      const least = 17 * 4096 + 4 * (64 + 128)
      expect(withThem - without).to.be.within(least, least + (64 * 128) / 8 + 4 * 16 * 64 + 1024)
    })
  })

  describe('bad input', () => {
    const model = () => mlp({ widths, density: 0.1 })
    const trainerOf = () => new Trainer(model(), { optimizer: optimizer(), device: 'cpu' })

    it('is told when a trainer is made', async () => {
      const fails: [() => unknown, RegExp, string?][] = [
        [() => mlp({ widths: [5], density: 0.1 }), /at least an input and an output/],
        [() => mlp({ widths, density: 0 }), /density to be in \(0, 1\]/],
        [() => mlp({ widths, density: 1.01 }), /density to be in \(0, 1\]/],
        [() => mlp({ widths: [4, 0, 2], density: 0.5 }), /at least 1, got 0/],
        [() => mlp({ widths, density: 0.1, seed: -1 }), /seed/],
        [
          () => new Trainer(mlp({ widths: [4, 4, 2], density: 0.01 }), { optimizer: optimizer() }),
          /at least 0.0625 for one link in the layer 4 -> 4/,
        ],
        [() => new Trainer({} as Sequential, { optimizer: optimizer() }), /model/],
        [() => new Trainer(model(), {} as { optimizer: ReturnType<typeof sgd> }), /optimizer/],
        [
          () => new Trainer(model(), { optimizer: optimizer(), dst: 'chts' as unknown as Method }),
          /dst to be a method/,
        ],
        [
          () => new Trainer(model(), { optimizer: optimizer(), device: 'tpu' as 'cpu' }),
          /'auto', 'cpu' or 'cuda', got 'tpu'/,
        ],
        [() => new Trainer(model(), { optimizer: optimizer(), device: { kind: 'cpu', threads: 1.5 } }), /threads/],
        [
          () => new Trainer(model(), { optimizer: optimizer(), device: { kind: 'cpu', simd: 'mmx' } }),
          /simd to be one of .*portable/,
        ],
        [() => sgd({ learningRate: '0.1' as unknown as number }), /learningRate/],
        [() => sgd({ learningRate: 0.1, momentum: 2 }), /momentum/],
        [() => adam({ learningRate: -1 }), /learningRate/],
        [() => adam({ warmup: -1 }), /warmup/],
        [() => adam({ beta1: 1 }), /beta1 to be a number of at least 0 and below 1, got 1/],
        [() => adam({ beta2: Number.NaN }), /beta2/],
        [() => adam({ epsilon: 0 }), /epsilon to be a number above 0/],
        [() => adam({ weightDecay: -1 }), /weightDecay/],
        [() => adam({ decoupled: 'yes' as unknown as boolean }), /decoupled to be true or false, got 'yes'/],
        [
          () =>
            new Sequential([
              new Linear({ inFeatures: 4, outFeatures: 3 }),
              new Linear({ inFeatures: 4, outFeatures: 2 }),
            ]),
          /to take 3 features/,
        ],
        [
          () =>
            method({
              remove: softMagnitude(),
              regrow: 'random' as unknown as ReturnType<typeof random>,
              updates: everyEpoch,
            }),
          /regrow/,
        ],
        [
          () => soft('CH2-L3n', { route: 'fast' as 'auto' }),
          /route to be one of 'auto', 'sparse', 'dense', got 'fast'/,
        ],
        [() => topK('CH4-L3n' as 'CH2-L3n'), /link predictor to be one of/],
        [() => method({ remove: softMagnitude(), updates: everyEpoch }), /regrow beside remove, got none/],
        [() => method({ regrow: random(), updates: everyEpoch }), /remove beside regrow, got none/],
        [() => method({ percolate: true, updates: everyEpoch }), /percolate with remove and regrow/],
        [
          () => method({ remove: historicalMagnitude(), regrow: random(), updates: everyEpoch }),
          /historicalMagnitude\(\) as prune, got it as remove/,
        ],
        [() => set({ prune: historicalMagnitude() }), /historicalMagnitude\(\) in a method without remove and regrow/],
        [() => gmp({ prune: { ...relativeImportance(), historical: true } }), /prune to be a rule/],
      ]
      for (const [make, message] of fails) expect(make, String(message)).to.throw(HebbError, message)
      const shared = model()
      using _ = new Trainer(shared, { optimizer: optimizer(), device: 'cpu' })
      expect(() => new Trainer(shared, { optimizer: optimizer(), device: 'cpu' })).to.throw(HebbError, /in use/)
    })

    it('is told when training begins', async () => {
      using trainer = trainerOf()
      const wide = clusters({ samples: 40, features: 47, classes: 4 })
      const many = clusters({ samples: 400, features: 48, classes: 5 })
      const fails: [() => unknown, RegExp][] = [
        [() => all(trainer.fit(wide, { epochs: 1 })), /48 features a sample.*got 47/],
        [() => all(trainer.fit(many, { epochs: 1 })), /4 classes.*got 5/],
        [() => all(trainer.fit(train, { epochs: 1, validation: wide })), /got 47/],
        [() => all(trainer.fit(train, { epochs: 0 })), /epochs/],
        [() => all(trainer.fit(train, { epochs: 1, batchSize: 401 })), /batchSize to be at most the 400 samples/],
        [() => all(trainer.fit(train, { epochs: 1, batchSize: 2.5 })), /batchSize/],
        [
          () => all(trainer.fit(plane({ samples: 8, features: 48, outputs: 3 }), { epochs: 1, batchSize: 4 })),
          /4 outputs/,
        ],
        [() => trainer.predict(new Float32Array(50)), /samples of 48 features/],
        [() => trainer.trainOn({ x: new Float32Array(48), y: [4] }), /got 4 for sample 0/],
      ]
      for (const [run, message] of fails) expect((await error(run)).message, String(message)).to.match(message)
      expect((await all(trainer.fit(train, { epochs: 1 }))).length).to.equal(1)
    })

    it('chtss without an update cannot reach its density and says so', async () => {
      using trainer = new Trainer(model(), { optimizer: optimizer(), dst: chtss(), device: 'cpu' })
      expect((await error(() => all(trainer.fit(train, { epochs: 1 })))).message).to.match(
        /at least one topology update/,
      )
    })

    it('a loss that is not finite names the step and the layer, and spoils nothing', async () => {
      using trainer = new Trainer(model(), { optimizer: sgd({ learningRate: 1e30 }), device: 'cpu' })
      const failure = await error(() => all(trainer.fit(train, { epochs: 3 })))
      expect(failure.code).to.equal('NON_FINITE')
      expect(failure.message).to.match(/in step \d+ \(epoch 1\), first in .* \(\d+ -> \d+\)/)
      const cures = 'Lower the learning rate, set clipNorm, or check the data for NaN and inputs that are not scaled.'
      expect(failure.message.endsWith(cures), failure.message).to.equal(true)
      const clipping = sgd({ learningRate: 1e30, clipNorm: 1 })
      using clipped = new Trainer(model(), { optimizer: clipping, device: 'cpu' })
      const { message } = await error(() => all(clipped.fit(train, { epochs: 3 })))
      expect(message).to.include('Lower the learning rate, or check the data')
    })

    it('data that are not finite are named as such', async () => {
      using trainer = trainerOf()
      const x = new Float32Array(48 * 40).fill(0.5)
      const bad = dataset({ x, y: new Int32Array(40), shape: [48], classes: 4 })
      bad.x[100] = Number.NaN // which dataset() refuses
      const { code, message } = await error(() => all(trainer.fit(bad, { epochs: 1 })))
      expect(code).to.equal('NON_FINITE')
      expect(message).to.match(/first in the data\. Look for NaN and infinity in the samples\.$/)
    })

    for (const [place, name, where] of [
      [0, 'modules.0.weights', '48 -> 64'],
      [3, 'modules.2.bias', '64 -> 56'],
      [4, 'modules.4.weights', '56 -> 4'],
    ] as const) {
      it(`weights that are not finite in ${name} are named in training, at the step that meets them`, async () => {
        using trainer = trainerOf()
        const run = trainer.fit(train, { epochs: 4, batchSize: 40 })
        await run.next()
        const { values } = trainer.model.parameters[place] as SparseParameter
        await values.write((await values.read()).fill(Number.NaN))
        const before = await state(trainer)
        const failure = await error(() => all(run))
        expect(failure.code).to.equal('NON_FINITE')
        expect(failure.message).to.include(`in step 10 (epoch 2), first in the weights ${name} (${where})`)
        expect(trainer.step).to.equal(10)
        expect(await state(trainer)).to.deep.equal(before)
      })
    }

    it('an output that overflows names its layer', async () => {
      using trainer = trainerOf()
      const { values } = trainer.model.parameters[2] as SparseParameter
      await values.write((await values.read()).fill(3e38))
      const failure = await error(() => all(trainer.fit(train, { epochs: 1 })))
      expect(failure.message).to.include('in step 0 (epoch 1), first in the output of modules.2 (64 -> 56)')
    })

    it("device: 'cuda' without one says why, and what to do", async function () {
      if (addon.cudaStatus().devices > 0) this.skip()
      const failure = await error(() => new Device({ kind: 'cuda' }))
      expect(failure.code).to.equal('DEVICE_UNAVAILABLE')
      expect(failure.message).to.match(/use device 'cpu' or 'auto'/i)
      expect((await error(() => new Trainer(model(), { optimizer: optimizer(), device: 'cuda' }))).code).to.equal(
        'DEVICE_UNAVAILABLE',
      )
    })

    it('a model in use stays in use when another trainer asks for it', async () => {
      const shared = model()
      using first = new Trainer(shared, { optimizer: optimizer(), device: 'cpu' })
      expect(() => new Trainer(shared, { optimizer: optimizer(), device: 'cpu' })).to.throw(HebbError, /in use/)
      expect((await all(first.fit(train, { epochs: 1 }))).length).to.equal(1)
    })

    it('weights that are not finite name the layer when links are chosen', async () => {
      using trainer = new Trainer(model(), { optimizer: optimizer(), dst: chts(), device: 'cpu' })
      const run = trainer.fit(train, { epochs: 4 })
      await run.next()
      const values = (trainer.model.parameters[0] as SparseParameter).values
      await values.write((await values.read()).fill(Number.NaN))
      const failure = await error(() => all(run))
      expect(failure.code).to.equal('NON_FINITE')
      expect(failure.message).to.match(/layer 0/)
    })

    it('one call at a time, and none after dispose', async () => {
      const trainer = trainerOf()
      const run = all(trainer.fit(train, { epochs: 2 }))
      expect((await error(() => trainer.evaluate(test))).message).to.match(/one call of a trainer at a time/)
      await run
      trainer.dispose()
      expect((await error(() => trainer.evaluate(test))).code).to.equal('DISPOSED')
      expect((await error(() => all(trainer.fit(train, { epochs: 1 })))).code).to.equal('DISPOSED')
    })

    it('data that cannot be normal: a data set of one sample and one feature', async () => {
      const tiny = dataset({ x: Float32Array.of(0.5), y: [1], shape: [1], classes: 2 })
      using trainer = new Trainer(mlp({ widths: [1, 3, 2], density: 1 }), {
        optimizer: optimizer(),
        dst: chts(),
        device: 'cpu',
      })
      const epochs = await all(trainer.fit(tiny, { epochs: 6, batchSize: 1, validation: tiny }))
      expect(epochs.at(-1)?.links).to.equal(3)
    })
  })
})
