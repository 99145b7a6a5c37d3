/** Layers that no dense method could hold: nothing grows with rows x cols, and all of it can be stopped. */
import { expect } from 'chai'
import {
  brf,
  chts,
  Device,
  type Epoch,
  HebbError,
  type Method,
  mlp,
  set,
  sgd,
  soft,
  Trainer,
  topK,
} from '../lib/index.js'
import { erdosRenyi } from '../lib/topology/erdos_renyi.js'
import { changesOf, cpu, expectRefusal, on } from './support.js'
import { clusters } from './synthetic.js'

const optimizer = () => sgd({ learningRate: 0.01, momentum: 0.9, weightDecay: 1e-4 })

describe('huge layers', () => {
  describe('memory grows with links and neurons, never with rows * cols', () => {
    const links = 65_536
    /** Peak of a training with updates, the update's own memory included, of two layers with `links` links each. */
    const peak = async (width: number, dst: Method) => {
      using device = new Device({ kind: 'cpu', threads: 2 })
      const data = clusters({ samples: 64, features: 64, classes: 4 })
      const model = mlp({ widths: [64, width, width, 4], density: links / width ** 2, seed: 1 })
      using trainer = new Trainer(model, { optimizer: optimizer(), dst, device })
      let updateSeconds = 0
      for await (const epoch of trainer.fit(data, { epochs: 4, batchSize: 16 })) updateSeconds += epoch.updateSeconds
      expect(updateSeconds).to.be.above(0)
      return device.memory().peakBytes
    }
    const methods: [string, () => Method][] = [
      ['chts', () => chts()],
      ['chts, the best scores of CH3-L3n', () => chts({ regrow: topK('CH3-L3n') })],
      ['chts of a random network', () => chts({ topology: erdosRenyi() })],
      ['set', () => set()],
      ['set, many links at once', () => set({ regrow: soft('CH2-L3n') })],
    ]
    for (const [name, method] of methods) {
      it(`for ${name}`, async () => {
        const [small, large] = [await peak(4096, method()), await peak(16_384, method())]
        // 16 times as many cells: a bit for each of them would be 30 MiB more, 2560 bytes for each neuron more.
        expect(large - small).to.be.below(1000 * (16_384 - 4096))
      })
    }
  })

  it('65,536 x 65,536 with 16 links a neuron trains and rewires', async () => {
    const width = 65_536
    using device = new Device({ kind: 'cpu', threads: 2 })
    const data = clusters({ samples: 64, features: width, classes: 4 })
    using trainer = new Trainer(mlp({ widths: [width, width, 4], density: 16 / width, seed: 2 }), {
      optimizer: optimizer(),
      dst: chts(),
      device,
    })
    const epochs: Epoch[] = []
    for await (const epoch of trainer.fit(data, { epochs: 2, batchSize: 32 })) epochs.push(epoch)
    expect(epochs[1].updateSeconds).to.be.above(0)
    const possible = width ** 2
    for (const { links, density, activeNeurons, itop, trainLoss } of epochs) {
      expect([links, density]).to.deep.equal([16 * width, 16 / width])
      expect(trainLoss).to.be.within(0, 10)
      expect(activeNeurons).to.be.within(0.9, 1)
      expect(itop).to.be.within(16 / width, 1.3 * (16 / width))
    }
    // The cosine schedule replaces 7.5% at two thirds of the updates' time; a few of them come back.
    expect((epochs[1].itop - epochs[0].itop) * possible).to.be.within(0.06 * 16 * width, 0.075 * 16 * width)
    const { rowOffsets, columnIndices } = await trainer.model.sparse[0].matrix.read()
    expect(rowOffsets[width]).to.equal(16 * width)
    for (let row = 0; row < width; ++row) {
      for (let k = rowOffsets[row]; k < rowOffsets[row + 1]; ++k) {
        if (
          !(
            columnIndices[k] < width &&
            (k === rowOffsets[row] ? columnIndices[k] >= 0 : columnIndices[k] > columnIndices[k - 1])
          )
        )
          expect.fail(`link ${k}`)
      }
    }
    expect(device.memory().peakBytes).to.be.below(300 * 16 * width)
  })

  it('2^20 x 2^20 is rewired', async () => {
    const width = 2 ** 20
    const links = brf().generate({ rows: width, cols: width, links: width, seed: 1, layer: 0 })
    await on(cpu(2), async (w) => {
      const matrix = w.matrix({ rows: width, cols: width, ...links })
      const changes = changesOf(w, width)
      const program = w.program({ scalars: 3 })
      const scores = w.floats(new Float32Array(width).fill(1))
      program.record('beginUpdate', { links: matrix, changes })
      program.record('keepLinks', {
        links: matrix,
        scores,
        keep: changes.keep,
        count: 0,
        temperature: undefined,
        update: 2,
        seed: 3,
        purpose: 'remove',
        layer: 0,
      })
      program.record('regrow', {
        links: matrix,
        changes,
        predictor: 'CH2-L3n',
        selection: 'sample',
        count: 1,
        update: 2,
        seed: 3,
        layer: 0,
      })
      program.record('rebuild', { links: matrix, changes, arrays: [scores] })
      await program.replay(1, { begin: { scalars: [0.7 * width, width, 1] } })
      const after = await matrix.read()
      expect(after.columnIndices.length).to.equal(width)
      expect((await scores.read()).reduce((a, b) => a + b, 0)).to.be.within(0.7 * width - 1, 0.71 * width)
    })
  })

  it('a long update ends within a second of its AbortSignal', async () => {
    const width = 12_000
    const links = erdosRenyi().generate({ rows: width, cols: width, links: 300 * width, seed: 1, layer: 0 })
    await on(cpu(2), async (w) => {
      const matrix = w.matrix({ rows: width, cols: width, ...links })
      const changes = changesOf(w, matrix.capacity)
      const keep = new Uint8Array(matrix.capacity).fill(1)
      for (let k = 0; k < keep.length; k += 3) keep[k] = 0
      await changes.keep.write(keep)
      for (const after of [0, 100, 1000]) {
        const program = w.program({ scalars: 2 })
        program.record('regrow', {
          links: matrix,
          changes,
          predictor: 'CH2-L3n',
          selection: 'sample',
          count: 0,
          update: 1,
          seed: 3,
          layer: 0,
        })
        const abort = new AbortController()
        let aborted = 0
        setTimeout(() => {
          aborted = performance.now()
          abort.abort()
        }, after)
        const begin = { scalars: [300 * width, 1] }
        await expectRefusal(() => program.replay(1, { begin, signal: abort.signal }), 'ABORTED', `after ${after} ms`)
        expect(performance.now() - aborted, `after ${after} ms`).to.be.within(0, 1000)
      }
    })
  })

  describe('without the history of links', () => {
    const data = clusters({ samples: 64, features: 64, classes: 4 })
    const train = async (trackHistory?: boolean) => {
      using trainer = new Trainer(mlp({ widths: [64, 256, 256, 4], density: 0.1 }), {
        optimizer: optimizer(),
        dst: chts(),
        device: 'cpu',
        trackHistory,
      })
      let last: Epoch | undefined
      for await (const epoch of trainer.fit(data, { epochs: 4, batchSize: 16 })) last = epoch
      const { rowOffsets, columnIndices } = await trainer.model.sparse[1].matrix.read()
      return { last: last as Epoch, rowOffsets, columnIndices, bytes: trainer.memory().bytes }
    }

    it('training is the same, takes less memory, and the ITOP rate is unknown', async () => {
      const [tracked, untracked] = [await train(), await train(false)]
      expect(await train(true).then(({ last }) => last.itop)).to.equal(tracked.last.itop)
      expect(untracked.last.itop).to.be.NaN
      const measured = ({ last: { trainLoss, links, activeNeurons, linksPerLayer } }: typeof tracked) => ({
        trainLoss,
        links,
        activeNeurons,
        linksPerLayer,
      })
      expect(measured(untracked)).to.deep.equal(measured(tracked))
      expect(untracked.columnIndices).to.deep.equal(tracked.columnIndices)
      // One bit a cell, rows of whole words, of layers with 64 and with 256 inputs; and two counts.
      expect(tracked.bytes - untracked.bytes).to.equal(8 * (256 + 256 * 4 + 2))
    })

    it('the option must be true or false', () => {
      expect(
        () =>
          new Trainer(mlp({ widths: [4, 4, 2], density: 0.5 }), {
            optimizer: optimizer(),
            trackHistory: 1 as unknown as boolean,
          }),
      ).to.throw(HebbError, /trackHistory to be true or false, got 1/)
    })
  })
})
