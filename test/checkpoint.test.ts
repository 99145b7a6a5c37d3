import { mkdirSync, rmSync } from 'node:fs'
import {
  chmod,
  lstat,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import vm from 'node:vm'
import { expect } from 'chai'
import {
  adam,
  byDensity,
  cht,
  chts,
  chtss,
  cosineDecay,
  crossEntropy,
  Device,
  dense,
  dips,
  type Epoch,
  type ErrorCode,
  excessFraction,
  gmp,
  granet,
  linearDecay,
  load,
  type Method,
  type Module,
  mest,
  method,
  mlp,
  random,
  recovering,
  rigl,
  Sequential,
  SparseLinear,
  set,
  sgd,
  staticSparse,
  Trainer,
  updateSchedule,
} from '../lib/index.js'
import { DenseParameter, SparseParameter } from '../lib/nn/parameter.js'
import { readTensors, writeTensors } from '../lib/train/safetensors.js'
import { softmaxCrossEntropy } from './reference.js'
import { expectRefusal, linksOf } from './support.js'
import { clusters, plane } from './synthetic.js'

const widths = [48, 64, 56, 4]
const optimizer = () => sgd({ learningRate: ({ epoch }) => 0.05 / (1 + epoch), momentum: 0.9, weightDecay: 1e-4 })
const plain = () => sgd({ learningRate: 0.05, momentum: 0.9, weightDecay: 1e-4 })
const train = clusters({ samples: 400, features: 48, classes: 4 })
const test = clusters({ samples: 203, features: 48, classes: 4, seed: 2 })
/** Updates in the middle of epochs, too. */
const often = updateSchedule({ every: 7, until: 0.75, fraction: 0.3 })
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
  'set, every 7 steps': () => set({ updates: often }),
  'chts, every 7 steps': () => chts({ updates: often }),
  'chtss, every 7 steps': () => chtss({ updates: often }),
  'cht, every 7 steps, which stops early': () =>
    cht({ updates: updateSchedule({ every: 7, fraction: 0.3 }), earlyStop: 0.25 }),
  'rigl, every 7 steps': () => rigl({ updates: often }),
  'mest, every 7 steps': () => mest({ updates: updateSchedule({ every: 7, fraction: excessFraction() }) }),
  'granet, every 7 steps': () => granet({ updates: often }),
}

const trainerOf = (dst: Method, seed = 3, optimizer = plain()) =>
  new Trainer(mlp({ widths, density: 0.1, seed }), { optimizer, dst, device: 'cpu' })

/** What is resumed: the methods with SGD, and Adam with links that are regrown often. */
const runs: [name: string, create: () => Trainer][] = [
  ...Object.entries(methods).map(([name, create]): [string, () => Trainer] => [name, () => trainerOf(create())]),
  [
    'gmp, every 7 steps, whose pruned links return',
    () =>
      trainerOf(
        gmp({ updates: updateSchedule({ every: 7, fraction: 0 }) }),
        3,
        sgd({ learningRate: 0.05, weightDecay: 0.5 }),
      ),
  ],
  [
    'dense',
    () => new Trainer(mlp({ widths, density: 1, seed: 3 }), { optimizer: plain(), dst: dense(), device: 'cpu' }),
  ],
  [
    'chts, every 7 steps, Adam',
    () => trainerOf(chts({ updates: often }), 3, adam({ learningRate: 0.003, weightDecay: 1e-3, warmup: 9 })),
  ],
  [
    'chtss, every 7 steps, AdamW with a schedule',
    () =>
      trainerOf(
        chtss({ updates: often }),
        3,
        adam({ learningRate: linearDecay({ from: 0.003, to: 1e-4 }), beta2: 0.99, weightDecay: 0.01, decoupled: true }),
      ),
  ],
  [
    'chtss, every 7 steps, with a rate that differs in every step',
    () => {
      const rate = dips(cosineDecay({ from: 0.1, warmup: 5 }), { period: 6, rise: 3 })
      const learningRate = byDensity(recovering(rate, { rise: 4 }), { target: 0.1 })
      return trainerOf(chtss({ updates: often }), 3, sgd({ learningRate, momentum: 0.9 }))
    },
  ],
]

async function all(run: AsyncIterable<Epoch>): Promise<Epoch[]> {
  const epochs: Epoch[] = []
  for await (const epoch of run) epochs.push(epoch)
  return epochs
}

/** Reports without what clocks say. */
const reports = (epochs: readonly Epoch[]) => epochs.map(({ seconds, updateSeconds, ...rest }) => rest)

/** Every bit of a trainer's model, links and optimizer state. */
async function state(trainer: Trainer): Promise<string> {
  const bytes: Uint8Array[] = []
  const add = (data: ArrayBufferView) => bytes.push(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
  for (const parameter of trainer.model.parameters) {
    let count = parameter.capacity
    if (parameter instanceof SparseParameter) {
      const { rowOffsets, columnIndices } = await parameter.matrix.read()
      add(rowOffsets)
      add(columnIndices)
      count = columnIndices.length
    }
    for (const array of parameter.arrays) add(await array.read(count))
  }
  return Buffer.concat(bytes).toString('base64')
}

describe('checkpoints', () => {
  let folder: string
  let file: string
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hebb-checkpoint-'))
    file = join(folder, 'model.safetensors')
  })
  after(() => rm(folder, { recursive: true }))

  it('hold options without a prototype, and those of another realm', async () => {
    const foreign = vm.runInNewContext('({ learningRate: 0.1, momentum: 0.9 })')
    for (const options of [foreign, Object.assign(Object.create(null), foreign)]) {
      using trainer = trainerOf(set(), 3, sgd(options))
      await trainer.save(file)
      using loaded = await Trainer.load(file, { device: 'cpu' })
      expect(loaded.model.modules.length).to.equal(trainer.model.modules.length)
    }
  })

  describe('resume equals uninterrupted training, bit for bit', () => {
    for (const [name, create] of runs) {
      it(name, async () => {
        using whole = create()
        const expected = await all(whole.fit(train, { epochs: 8, batchSize: 33, validation: test }))
        const end = await state(whole)

        // Saved between epochs, from within the loop, which goes on.
        {
          using first = create()
          for await (const { epoch } of first.fit(train, { epochs: 8, batchSize: 33, validation: test }))
            if (epoch === 3) await first.save(file)
          expect(await state(first)).to.equal(end)
          using second = await Trainer.load(file, { device: 'cpu' })
          expect(second.run).to.include({ epochs: 8, batchSize: 33, epoch: 3 })
          expect(second.method.name).to.equal(first.method.name)
          expect(reports(await all(second.resume(train, { validation: test })))).to.deep.equal(
            reports(expected.slice(3)),
          )
          expect(await state(second)).to.equal(end)
        }
        // Saved by the trainer at odd steps in the middle of epochs; the program ends there.
        {
          using first = create()
          const stop = new AbortController()
          const seen: Epoch[] = []
          const run = first.fit(train, {
            epochs: 8,
            batchSize: 33,
            validation: test,
            checkpoint: { file, everySteps: 5, overwrite: true },
            signal: stop.signal,
          })
          for await (const epoch of run) if (seen.push(epoch) === 4) break
          using second = await Trainer.load(file, { device: { kind: 'cpu', threads: 3 } })
          expect(second.step % 5).to.equal(0)
          const rest = await all(second.resume(train, { validation: test }))
          expect(reports([...seen.slice(0, expected.length - rest.length), ...rest])).to.deep.equal(reports(expected))
          expect(await state(second)).to.equal(end)
        }
      })
    }

    it('after an AbortSignal, in the same process and in another', async () => {
      using whole = trainerOf(chts({ updates: often }))
      const expected = await all(whole.fit(train, { epochs: 6, batchSize: 20 }))
      using trainer = trainerOf(chts({ updates: often }))
      const seen: Epoch[] = []
      let starts = 0
      for (let finished = false; !finished; ++starts) {
        const stop = new AbortController()
        setTimeout(() => stop.abort(), 1 + 2 * starts)
        try {
          const { signal } = stop
          const run =
            starts === 0 ? trainer.fit(train, { epochs: 6, batchSize: 20, signal }) : trainer.resume(train, { signal })
          for await (const epoch of run) seen.push(epoch)
          finished = true
        } catch (error) {
          expect((error as { code: string }).code).to.equal('ABORTED')
          await trainer.save(file)
          using other = await Trainer.load(file, { device: 'cpu' })
          expect(await state(other)).to.equal(await state(trainer))
        }
      }
      expect(starts).to.be.above(1)
      expect(reports(seen)).to.deep.equal(reports(expected))
      expect(await state(trainer)).to.equal(await state(whole))
    })

    it('in a loop over batches of your own', async () => {
      const batch = (step: number) => {
        const data = clusters({ samples: 24, features: 48, classes: 4, seed: step })
        return { x: Float32Array.from(data.x, (v) => v / 255), y: data.labels as Int32Array }
      }
      const make = () =>
        new Trainer(mlp({ widths, density: 0.1 }), { optimizer: plain(), dst: chts({ updates: often }), device: 'cpu' })
      using whole = make()
      whole.plan({ epochs: 4, stepsPerEpoch: 10 })
      const losses: number[] = []
      for (let step = 0; step < 40; ++step) losses.push(await whole.trainOn(batch(step)))
      let trainer = make()
      trainer.plan({ epochs: 4, stepsPerEpoch: 10 })
      const resumed: number[] = []
      for (let step = 0; step < 40; ++step) {
        if (step % 6 === 1 || step === 14) {
          await trainer.save(file)
          trainer.dispose()
          trainer = await Trainer.load(file, { device: 'cpu' })
          expect(trainer.step).to.equal(step)
        }
        resumed.push(await trainer.trainOn(batch(step)))
      }
      expect(resumed).to.deep.equal(losses)
      expect(await state(trainer)).to.equal(await state(whole))
      expect((await trainer.measures()).itop).to.equal((await whole.measures()).itop)
      trainer.dispose()
    })

    it('whatever else the trainer does meanwhile: evaluating the training set, before and between', async () => {
      using whole = trainerOf(chts())
      const expected = await all(whole.fit(train, { epochs: 5, batchSize: 33, validation: train }))
      using trainer = trainerOf(chts())
      await trainer.evaluate(train)
      const seen: Epoch[] = []
      for await (const epoch of trainer.fit(train, { epochs: 5, batchSize: 33, validation: train })) {
        seen.push(epoch)
        await trainer.predict(test)
        await trainer.evaluate(train)
        if (epoch.epoch === 2) await trainer.save(file)
      }
      expect(reports(seen)).to.deep.equal(reports(expected))
      using other = await Trainer.load(file, { device: 'cpu' })
      await other.evaluate(train)
      expect(reports(await all(other.resume(train, { validation: train })))).to.deep.equal(reports(expected.slice(2)))
    })

    it('when the evaluation of an epoch was stopped, in the same process and in another', async () => {
      const large = clusters({ samples: 60_000, features: 48, classes: 4, seed: 9 })
      using whole = trainerOf(chts())
      const expected = await all(whole.fit(train, { epochs: 2, batchSize: 200, validation: large }))
      // A timer may come late: then an epoch is done, and the next trainer is stopped sooner.
      const stoppedAfter = async (delay: number) => {
        const trainer = trainerOf(chts())
        const stop = new AbortController()
        const run = trainer.fit(train, { epochs: 2, batchSize: 200, validation: large, signal: stop.signal })
        const timer = setTimeout(() => stop.abort(), delay)
        const done = await run.next().then(
          () => true,
          () => false,
        )
        clearTimeout(timer)
        return { trainer, done, evaluating: !done && trainer.step === 2 }
      }
      let attempt = await stoppedAfter(1)
      for (let delay = 1, late = 0; !attempt.evaluating; attempt = await stoppedAfter(delay)) {
        attempt.trainer.dispose()
        if (attempt.done) ++late
        expect(late, 'epochs that were done before they were stopped').to.be.lessThan(30)
        delay = attempt.done ? Math.max(1, delay - 2) : delay + 1
      }
      using trainer = attempt.trainer
      await trainer.save(file)
      using other = await Trainer.load(file, { device: 'cpu' })
      for (const one of [trainer, other])
        expect(reports(await all(one.resume(train, { validation: large })))).to.deep.equal(reports(expected))
    })

    it('steps or a plan of your own end a run, and a signal that came before it does not', async () => {
      using trainer = trainerOf(chts())
      const stop = new AbortController()
      const run = trainer.fit(train, { epochs: 4, signal: stop.signal })
      await run.next()
      stop.abort()
      await expectRefusal(() => run.next(), 'ABORTED', 'stopped')
      await expectRefusal(
        () => trainer.fit(train, { epochs: 9, signal: stop.signal }).next(),
        'ABORTED',
        'stopped before',
      )
      expect(trainer.run).to.include({ epochs: 4, epoch: 1 })
      await trainer.trainOn({ x: new Float32Array(48), y: [1] })
      await expectRefusal(() => all(trainer.resume(train)), 'INVALID_ARGUMENT', 'after a step of its own')
      await all(trainer.fit(train, { epochs: 1 }))
      trainer.plan({ epochs: 1, stepsPerEpoch: 5 })
      expect(trainer.run).to.equal(undefined)
    })

    it('batches of your own may grow', async () => {
      const steps = async (trainer: Trainer, sizes: number[]) => {
        const losses: number[] = []
        for (const size of sizes)
          losses.push(
            await trainer.trainOn({
              x: new Float32Array(48 * size).map((_, i) => (i % 7) / 7),
              y: new Int32Array(size),
            }),
          )
        return losses
      }
      using whole = trainerOf(chts())
      const losses = await steps(whole, [24, 7, 24, 40])
      using first = trainerOf(chts())
      await steps(first, [24])
      await first.save(file)
      using second = await Trainer.load(file, { device: 'cpu' })
      expect(await steps(second, [7, 24, 40])).to.deep.equal(losses.slice(1))
      expect(await state(second)).to.equal(await state(whole))
    })

    it('steps with smoothed labels, whose loss evaluation tells, too', async () => {
      const data = clusters({ samples: 200, features: widths[0] as number, classes: widths.at(-1) as number })
      const loss = crossEntropy({ labelSmoothing: 0.1, paddingClass: 1 })
      const x = Float32Array.from(data.x, (v) => v / 255)
      const y = data.labels as Int32Array
      using trainer = new Trainer(mlp({ widths, density: 0.1 }), { optimizer: plain(), loss, device: 'cpu' })
      await trainer.trainOn({ x, y })
      await trainer.save(file)
      using again = await Trainer.load(file, { device: 'cpu' })
      const next = await trainer.trainOn({ x, y })
      expect(await again.trainOn({ x, y })).to.equal(next)
      expect(await state(again)).to.equal(await state(trainer))
      await again.save(file)
      using predictor = await load(file, { device: 'cpu' })
      const classes = widths.at(-1) as number
      const smoothing = { labelSmoothing: 0.1, paddingClass: 1 }
      const { loss: sum } = softmaxCrossEntropy(await predictor.predict(data), y, classes, y.length, smoothing)
      for (const one of [trainer, again, predictor])
        expect((await one.evaluate(data)).loss).to.be.closeTo(sum / y.length, 1e-6)
      using plainly = await Trainer.load(file, { loss: 'crossEntropy', device: 'cpu' })
      expect(await plainly.trainOn({ x, y })).to.not.be.closeTo(sum / y.length, 1e-3)
      const beyond = { optimizer: plain(), loss: crossEntropy({ paddingClass: classes }), device: 'cpu' } as const
      using refused = new Trainer(mlp({ widths, density: 0.1 }), beyond)
      const error = await expectRefusal(() => refused.trainOn({ x, y }), 'INVALID_ARGUMENT', 'padding that is no class')
      expect(error.message).to.include(`paddingClass to be a class in [0, ${classes}), got ${classes}`)
      for (const labelSmoothing of [1, -0.1, Number.NaN, '0.1' as never])
        await expectRefusal(() => crossEntropy({ labelSmoothing }), 'INVALID_ARGUMENT', `smoothing ${labelSmoothing}`)
      await expectRefusal(() => crossEntropy({ paddingClass: -1 }), 'INVALID_ARGUMENT', 'padding -1')
    })

    it('a regression without momentum, saved before its first step and after its last', async () => {
      const data = plane({ samples: 60, features: 9, outputs: 3 })
      const model = new Sequential([new SparseLinear({ inFeatures: 9, outFeatures: 3, density: 0.5, bias: false })], {
        seed: 2,
      })
      using trainer = new Trainer(model, { optimizer: sgd({ learningRate: 0.1 }), dst: set(), device: 'cpu' })
      await trainer.save(file)
      await all(trainer.fit(data, { epochs: 5, batchSize: 10 }))
      using other = await Trainer.load(file, { device: 'cpu' })
      expect(other.run).to.equal(undefined)
      await all(other.fit(data, { epochs: 5, batchSize: 10 }))
      expect(await state(other)).to.equal(await state(trainer))
      await other.save(file)
      using done = await Trainer.load(file, { device: 'cpu' })
      expect(await state(done)).to.equal(await state(trainer))
      expect((await done.evaluate(data)).loss).to.equal((await trainer.evaluate(data)).loss)
      const refusal = await expectRefusal(() => all(done.resume(data)), 'INVALID_ARGUMENT', 'a finished run')
      expect(refusal.message).to.match(/done its 5 epochs/)
    })
  })

  describe('load', () => {
    it('predicts as the trainer does, without gradients and optimizer state', async () => {
      const trainer = trainerOf(chtss())
      await all(trainer.fit(train, { epochs: 4 }))
      await trainer.save(file)
      const x = Float32Array.from(test.x, (v) => v * test.scale + test.shift)
      const expected = await trainer.predict(test)
      using device = new Device({ kind: 'cpu' })
      const predictor = await load(file, { device })
      let values = 0
      for (const parameter of predictor.model.parameters) {
        expect(parameter.slots.size).to.equal(0)
        values += 4 * parameter.capacity
      }
      const links = predictor.model.sparse.map((p) => p.matrix)
      const topology = links.reduce((sum, m) => sum + 4 * (m.rows + m.cols + 2 + 3 * m.capacity), 0)
      expect(device.memory().bytes).to.equal(values + topology)
      // No more capacity than links: chtss trains with half of all possible ones.
      for (const matrix of links) expect(matrix.capacity).to.equal(Math.round(0.1 * matrix.rows * matrix.cols))
      expect(await predictor.predict(x, { raw: false })).to.deep.equal(expected)
      expect(await predictor.predict(test)).to.deep.equal(expected)
      // Calls may overlap, and the batch may be of any size.
      const parts = await Promise.all(
        [0, 1, 202].map((s) => predictor.predict(x.subarray(48 * s, 48 * s + 48), { raw: false })),
      )
      for (const [i, s] of [0, 1, 202].entries()) expect(parts[i]).to.deep.equal(expected.subarray(4 * s, 4 * s + 4))
      expect(await predictor.evaluate(test)).to.deep.equal(await trainer.evaluate(test))
      trainer.dispose()
      predictor.dispose()
      predictor.dispose()
      expect(device.memory()).to.include({ buffers: 0, bytes: 0 })
      await expectRefusal(() => predictor.predict(x, { raw: false }), 'DISPOSED', 'a disposed predictor')
      await expectRefusal(() => predictor.predict(new Float32Array(47)), 'INVALID_ARGUMENT', 'a wrong width')
    })

    it('wants parts that are functions of your own again, and takes others instead', async () => {
      const own = () =>
        method({
          name: 'own',
          remove: ({ values }, count) =>
            [...values.keys()].sort((a, b) => Math.abs(values[a]) - Math.abs(values[b])).slice(0, count),
          regrow: random(),
          updates: often,
        })
      using trainer = new Trainer(mlp({ widths, density: 0.1 }), { optimizer: optimizer(), dst: own(), device: 'cpu' })
      for await (const { epoch } of trainer.fit(train, { epochs: 4 }))
        if (epoch === 2) await trainer.save(file, { notes: { who: 'me' } })
      const refusals: [object, RegExp][] = [
        [{}, /optimizer|sgd/],
        [{ optimizer: optimizer() }, /dst\.remove to be given again/],
      ]
      for (const [options, message] of refusals) {
        expect(
          (await expectRefusal(() => Trainer.load(file, options), 'INVALID_ARGUMENT', 'own functions')).message,
        ).to.match(message)
      }
      using other = await Trainer.load(file, { optimizer: optimizer(), dst: own(), device: 'cpu' })
      expect(other.notes).to.deep.equal({ who: 'me' })
      await all(other.resume(train))
      expect(await state(other)).to.equal(await state(trainer))
      // Another optimizer: its state begins at 0.
      using plainer = await Trainer.load(file, { optimizer: sgd({ learningRate: 0.01 }), dst: chts(), device: 'cpu' })
      expect((await all(plainer.resume(train))).length).to.equal(2)
      // Another model is one that the tensors do not fit.
      const wrong: [Sequential, RegExp][] = [
        [mlp({ widths: [48, 64, 64, 4], density: 0.1 }), /needs a tensor/],
        [mlp({ widths: [48, 64, 4], density: 0.1 }), /needs a tensor/],
        [mlp({ widths: [48, 64, 56, 5, 4], density: 0.1 }), /needs a tensor/],
      ]
      for (const [model, message] of wrong) {
        using device = new Device({ kind: 'cpu' })
        let failure: { message: string } = { message: '' }
        try {
          using _ = await Trainer.load(file, { model, optimizer: optimizer(), dst: own(), device })
        } catch (error) {
          failure = error as { message: string }
        }
        expect(failure.message).to.match(message)
        expect(device.memory().buffers, 'memory after a refusal').to.equal(0)
      }
    })

    it('leaves a model in use to who uses it', async () => {
      using trainer = trainerOf(chts())
      await trainer.save(file)
      const { model } = trainer
      await expectRefusal(() => load(file, { model, device: 'cpu' }), 'INVALID_ARGUMENT', 'a model in use')
      await expectRefusal(() => Trainer.load(file, { model, device: 'cpu' }), 'INVALID_ARGUMENT', 'a model in use')
      await all(trainer.fit(train, { epochs: 1 }))
    })

    it('lists links from a file that has no list, and keeps notes', async () => {
      using trainer = new Trainer(mlp({ widths, density: 0.1 }), {
        optimizer: plain(),
        dst: chts(),
        device: 'cpu',
        trackHistory: false,
      })
      await trainer.save(file, { notes: { who: 'me' } })
      using without = await Trainer.load(file, { device: 'cpu' })
      expect((await without.measures()).itop).to.be.NaN
      await without.save(file)
      using other = await Trainer.load(file, { device: 'cpu', trackHistory: true })
      expect(other.notes).to.deep.equal({ who: 'me' })
      const { itop, density } = await other.measures()
      expect(itop).to.equal(density)
      const bad = { notes: { epoch: 3 } } as unknown as { notes: Record<string, string> }
      await expectRefusal(() => other.save(file, bad), 'INVALID_ARGUMENT', 'a note that is no text')
      await other.save(file, { notes: { odd: `sha256:${'0'.repeat(64)}`, checksum: 'sha256:' } })
      using _ = await Trainer.load(file, { device: 'cpu' })
    })

    it('lists the links that were ever active, ascending, whether they are kept as a list or as bits', async () => {
      // The first layer's list (4 * 48 words) is smaller than its bitmap (64 * 16 words), the second one's is not.
      const model = new Sequential([
        new SparseLinear({ inFeatures: 1000, outFeatures: 64, density: 48 / 64_000 }),
        new SparseLinear({ inFeatures: 64, outFeatures: 56, density: 0.5 }),
      ])
      const dst = set({ updates: updateSchedule({ every: 5, fraction: 0.3 }) })
      using trainer = new Trainer(model, { optimizer: plain(), dst, loss: 'crossEntropy', device: 'cpu' })
      const ever = trainer.model.sparse.map(() => new Set<number>())
      const x = Float32Array.from({ length: 1000 }, (_, i) => Math.sin(i))
      trainer.plan({ epochs: 1, stepsPerEpoch: 40 })
      for (let step = 0; step < 20; ++step) {
        await trainer.trainOn({ x, y: [step % 56] })
        for (const [layer, seen] of ever.entries()) {
          const { cols, rowOffsets, columnIndices } = await linksOf(trainer, layer)
          for (let k = 0, row = 0; k < columnIndices.length; ++k) {
            while ((rowOffsets[row + 1] as number) <= k) ++row
            seen.add(row * cols + (columnIndices[k] as number))
          }
        }
      }
      await trainer.save(file)
      const histories = [...(await readTensors(file)).tensors].filter(([name]) => name.startsWith('history.'))
      const lists = ever.map((cells) => BigInt64Array.from(cells, BigInt).sort())
      expect(histories.map(([, { data }]) => data)).to.deep.equal(lists)
      const saved = await readFile(file)
      using resumed = await Trainer.load(file, { device: 'cpu' })
      await resumed.save(file)
      expect(saved.equals(await readFile(file))).to.equal(true)
      for (const same of [trainer, resumed]) {
        await same.trainOn({ x, y: [0] })
        await same.trainOn({ x, y: [1] })
      }
      expect(await resumed.measures()).to.deep.equal(await trainer.measures())
    })

    it('a module of your own comes with its model', async () => {
      class Scale implements Module {
        readonly sparse = []
        #gain: DenseParameter | undefined
        get parameters() {
          return this.#gain ? [this.#gain] : []
        }
        materialise({ device }: Parameters<Module['materialise']>[0]) {
          this.#gain = new DenseParameter(device, 'gain', 1, 1)
        }
        forward: Module['forward'] = (_, x) => x
        dispose() {
          this.#gain?.dispose()
          this.#gain = undefined
        }
      }
      const model = () =>
        new Sequential([new SparseLinear({ inFeatures: 48, outFeatures: 4, density: 0.5 }), new Scale()])
      using trainer = new Trainer(model(), { optimizer: plain(), device: 'cpu' })
      await trainer.save(file)
      await expectRefusal(() => Trainer.load(file), 'INVALID_ARGUMENT', 'a model with a module of your own')
      using other = await Trainer.load(file, { model: model(), device: 'cpu' })
      expect(await state(other)).to.equal(await state(trainer))
    })
  })

  describe('the file', () => {
    it('is what the safetensors specification says', async () => {
      using trainer = trainerOf(chts())
      await all(trainer.fit(train, { epochs: 3 }))
      await trainer.save(file)
      const bytes = await readFile(file)
      const length = Number(bytes.readBigUInt64LE(0))
      expect(length).to.be.below(100_000_000)
      expect(length % 8, 'elements are aligned').to.equal(0)
      expect(bytes[8]).to.equal('{'.charCodeAt(0))
      const text = bytes.subarray(8, 8 + length).toString('utf8')
      expect(text.trimEnd().endsWith('}')).to.equal(true)
      const { __metadata__: metadata, ...tensors } = JSON.parse(text)
      for (const value of Object.values(metadata)) expect(value).to.be.a('string')
      const size: Record<string, number> = { F64: 8, I64: 8, F32: 4, I32: 4, U8: 1 }
      let end = 0
      for (const [name, { dtype, shape, data_offsets: offsets }] of Object.entries<{
        dtype: string
        shape: number[]
        data_offsets: [number, number]
      }>(tensors)) {
        expect(offsets[0], `${name} follows the one before`).to.equal(end)
        expect(offsets[0] % size[dtype], `${name} is aligned`).to.equal(0)
        end = offsets[1]
        expect(end - offsets[0], name).to.equal(shape.reduce((a, b) => a * b, size[dtype]))
      }
      expect(bytes.length).to.equal(8 + length + end)
      expect(tensors['modules.0.weights.values'].shape).to.deep.equal([Math.round(0.1 * 48 * 64)])
      expect(tensors['modules.4.weights'].shape).to.deep.equal([4, 56])
      const { data_offsets: at } = tensors['modules.4.bias']
      const bias = (trainer.model.parameters.at(-1) as DenseParameter).values
      expect(
        bytes.subarray(8 + length + at[0], 8 + length + at[1]).equals(Buffer.from((await bias.read()).buffer)),
      ).to.equal(true)
    })

    it('holds what was put in, also nothing, much and odd names', async () => {
      const big = new Float32Array(3_000_000).map((_, i) => i)
      const odd = 'a "name" with ünïcode \u{1f9e0}'
      await writeTensors(
        file,
        [
          { name: odd, type: 'U8', shape: [3], read: () => Uint8Array.of(1, 2, 3) },
          { name: 'nothing', type: 'F64', shape: [0, 4], read: () => new Float64Array() },
          { name: 'big', type: 'F32', shape: [3, 1_000_000], read: async () => big },
          { name: 'scalar', type: 'I64', shape: [], read: () => BigInt64Array.of(-5n) },
        ],
        { note: odd },
      )
      const { metadata, tensors } = await readTensors(file)
      expect(metadata.note).to.equal(odd)
      expect(tensors.get(odd)).to.deep.equal({ type: 'U8', shape: [3], data: Uint8Array.of(1, 2, 3) })
      expect(tensors.get('nothing')?.shape).to.deep.equal([0, 4])
      expect(tensors.get('scalar')?.data).to.deep.equal(BigInt64Array.of(-5n))
      expect(Buffer.from(tensors.get('big')?.data.buffer as ArrayBuffer).equals(Buffer.from(big.buffer))).to.equal(true)
      expect([...(await readTensors(file, (name) => name === 'scalar')).tensors.keys()]).to.deep.equal(['scalar'])
    })

    it('that is missing, truncated or damaged anywhere is refused', async () => {
      const small = mlp({ widths: [4, 3, 2], density: 0.5 })
      using trainer = new Trainer(small, { optimizer: plain(), dst: set(), device: 'cpu' })
      await trainer.save(file)
      const good = await readFile(file)
      expect(
        (await expectRefusal(() => Trainer.load(join(folder, 'none')), 'MISSING_FILE', 'no file')).message,
      ).to.match(/none/)
      await expectRefusal(() => load(folder), 'BAD_FILE', 'a folder')
      const bad = join(folder, 'bad.safetensors')
      for (let length = 0; length < good.length; length += length < 16 || length > good.length - 16 ? 1 : 13) {
        await writeFile(bad, good.subarray(0, length))
        await expectRefusal(() => load(bad), 'BAD_FILE', `${length} of ${good.length} bytes`)
      }
      for (let at = 0; at < good.length; at += 1) {
        const damaged = Buffer.from(good)
        damaged[at] ^= 1 << (at % 8)
        await writeFile(bad, damaged)
        await expectRefusal(() => readTensors(bad), 'BAD_FILE', `byte ${at}`)
      }
      await writeFile(bad, Buffer.concat([good, Buffer.of(0)]))
      await expectRefusal(() => load(bad), 'BAD_FILE', 'a byte too many')
      using _ = await Trainer.load(file, { device: 'cpu' })
    })

    it('of another program, of a newer version or that does not fit together is refused', async () => {
      using trainer = new Trainer(mlp({ widths: [4, 3, 2], density: 0.5 }), {
        optimizer: plain(),
        dst: set(),
        device: 'cpu',
      })
      await trainer.save(file)
      const { metadata, tensors } = await readTensors(file)
      const { checksum, ...rest } = metadata
      const outgoing = [...tensors].map(([name, { type, shape, data }]) => ({ name, type, shape, read: () => data }))
      const progress = JSON.parse(rest.progress as string)
      const cases: [string, Record<string, string>, ErrorCode, RegExp][] = [
        ['another program', { format: 'pt' }, 'BAD_FILE', /another program/],
        ['a newer version', { version: '2' }, 'UNSUPPORTED', /version 2 in .*newer hebb/],
        ['no version', { version: 'x' }, 'BAD_FILE', /version/],
        ['a model that is no JSON', { model: '{' }, 'BAD_FILE', /model/],
        ['a model that is none', { model: '7' }, 'BAD_FILE', /model/],
        ['an unknown module', { model: '{"made":"Attention","with":[]}' }, 'BAD_FILE', /'Attention'/],
        ['a maker that is no maker', { model: '{"made":"toString","with":[]}' }, 'BAD_FILE', /'toString'/],
        ['another kind of thing', { model: '{"made":"cosine","with":[0.3]}' }, 'BAD_FILE', /model/],
        [
          'options that are not allowed',
          { model: '{"made":"SparseLinear","with":[{"inFeatures":-1}]}' },
          'INVALID_ARGUMENT',
          /inFeatures/,
        ],
        ['no layers', { layers: '[]' }, 'BAD_FILE', /layers/],
        ['layers that are elsewhere', { layers: '{"modules.9":0}' }, 'BAD_FILE', /modules\.9/],
        ['a loss that is none', { loss: '"hinge"' }, 'BAD_FILE', /hinge/],
        [
          'a model that is nested too deeply',
          { model: `${'['.repeat(50_000)}${']'.repeat(50_000)}` },
          'BAD_FILE',
          /nested too deeply|model/,
        ],
        ['a negative step', { progress: JSON.stringify({ ...progress, step: -1 }) }, 'BAD_FILE', /step/],
        [
          'a fraction of an update',
          { progress: JSON.stringify({ ...progress, updates: { done: 0.5, step: 0 } }) },
          'BAD_FILE',
          /updates/,
        ],
      ]
      for (const [what, different, code, message] of cases) {
        await writeTensors(file, outgoing, { ...rest, ...different })
        expect((await expectRefusal(() => Trainer.load(file, { device: 'cpu' }), code, what)).message, what).to.match(
          message,
        )
      }
      const histories = outgoing.map((t) =>
        t.name.startsWith('history.')
          ? { ...t, type: 'I64' as const, shape: [2], read: () => BigInt64Array.of(5n, 5n) }
          : t,
      )
      await writeTensors(file, histories, rest)
      expect(
        (await expectRefusal(() => Trainer.load(file, { device: 'cpu' }), 'BAD_FILE', 'a history twice')).message,
      ).to.match(/history\..*order/)
      const links = outgoing.map((t) =>
        t.name.endsWith('columnIndices') ? { ...t, read: () => (t.read() as Int32Array).map(() => 99) } : t,
      )
      await writeTensors(file, links, rest)
      await expectRefusal(() => Trainer.load(file, { device: 'cpu' }), 'INVALID_ARGUMENT', 'links outside the layer')
      for (const drop of ['modules.0.weights.values', 'modules.2.bias', 'modules.0.weights.rowOffsets']) {
        await writeTensors(
          file,
          outgoing.filter(({ name }) => name !== drop),
          rest,
        )
        expect((await expectRefusal(() => load(file, { device: 'cpu' }), 'BAD_FILE', drop)).message).to.match(
          new RegExp(drop),
        )
      }
    })
  })

  describe('a file that cannot be written', () => {
    const isRoot = process.getuid?.() === 0

    /** Makes writes fail after so many bytes, as a full disk does. */
    async function onFullDisk<T>(room: number, run: () => Promise<T>): Promise<T> {
      const handle = await open(join(folder, 'probe'), 'w')
      const prototype = Object.getPrototypeOf(handle)
      await handle.close()
      const { write } = prototype
      let left = room
      prototype.write = function (buffer: Uint8Array, offset: number, length: number, position: number) {
        if (left === 0)
          return Promise.reject(Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' }))
        const now = Math.min(left, length)
        left -= now
        return write.call(this, buffer, offset, now, position)
      }
      try {
        return await run()
      } finally {
        prototype.write = write
      }
    }

    it('a full disk, at whatever byte: the old file stays, the training is intact and goes on', async () => {
      using whole = trainerOf(chts())
      await all(whole.fit(train, { epochs: 5 }))
      using trainer = trainerOf(chts())
      for await (const { epoch } of trainer.fit(train, { epochs: 5 })) {
        if (epoch === 1) await trainer.save(file)
        const { size } = await stat(file)
        const old = await readFile(file)
        for (const room of [0, 1, 8, 5000, size - 1]) {
          const { message } = await onFullDisk(room, () =>
            expectRefusal(() => trainer.save(file), 'CANNOT_WRITE', `room for ${room} bytes`),
          )
          expect(message).to.match(/model\.safetensors: the disk is full/)
          expect((await readFile(file)).equals(old)).to.equal(true)
        }
      }
      expect(await state(trainer)).to.equal(await state(whole))
      expect((await readdir(folder)).filter((name) => name.endsWith('.tmp'))).to.deep.equal([])
    })

    it('while fit() saves by itself: it says so and goes on', async () => {
      using trainer = trainerOf(chts())
      const errors: string[] = []
      const warnings: Error[] = []
      const warn = (warning: Error) => void warnings.push(warning)
      process.on('warning', warn)
      const gone = join(folder, 'gone')
      const checkpoint = {
        file: join(gone, 'run.safetensors'),
        onError: (error: Error) => void errors.push(error.message),
      }
      const refused = trainer.fit(train, { epochs: 3, checkpoint }).next()
      expect((await expectRefusal(() => refused, 'CANNOT_WRITE', 'no folder')).message).to.match(/no such folder/)
      expect(trainer.step, 'before the first step').to.equal(0)
      const onProgress = () => rmSync(gone, { recursive: true, force: true })
      mkdirSync(gone)
      expect((await all(trainer.fit(train, { epochs: 3, checkpoint, onProgress }))).length).to.equal(3)
      expect(errors.length).to.equal(3)
      expect(errors[0]).to.match(/there is no such folder/)
      mkdirSync(gone)
      await all(trainer.fit(train, { epochs: 2, onProgress, checkpoint: { file: checkpoint.file, everyEpochs: 2 } }))
      await new Promise((resolve) => setTimeout(resolve, 10))
      process.off('warning', warn)
      expect(warnings.map((w) => w.message).join()).to.match(/not written, training goes on/)
    })

    it('a read-only folder, and a folder in the place of the file', async () => {
      using trainer = trainerOf(chts())
      const closed = join(folder, 'closed')
      await mkdir(closed)
      expect((await expectRefusal(() => trainer.save(closed), 'CANNOT_WRITE', 'a folder')).message).to.match(
        /there is a folder of that name/,
      )
      await chmod(closed, 0o555)
      if (isRoot) process.seteuid?.(65534)
      try {
        const refusal = await expectRefusal(
          () => trainer.save(join(closed, 'model')),
          'CANNOT_WRITE',
          'a read-only folder',
        )
        // Someone else may not even look into the test's own folder.
        expect(refusal.message).to.match(/may not be written to/)
      } finally {
        if (isRoot) process.seteuid?.(0)
      }
      await trainer.save(file)
    })

    it('keeps the permissions of a file, and the link that leads to it', async () => {
      using trainer = trainerOf(chts())
      await trainer.save(file)
      await chmod(file, 0o600)
      const link = join(folder, 'link.safetensors')
      await symlink(file, link)
      const before = await readFile(file)
      await all(trainer.fit(train, { epochs: 1 }))
      await trainer.save(link)
      expect((await lstat(link)).isSymbolicLink()).to.equal(true)
      expect((await stat(file)).mode & 0o777).to.equal(0o600)
      expect((await readFile(file)).equals(before)).to.equal(false)
      using _ = await Trainer.load(link, { device: 'cpu' })
    })

    it('a progress function that throws ends the loop, and not the process', async () => {
      const large = clusters({ samples: 40_000, features: 48, classes: 4, seed: 9 })
      using trainer = trainerOf(chts())
      const onProgress = () => {
        throw new Error('of the user')
      }
      let message = ''
      await all(trainer.fit(large, { epochs: 1, batchSize: 8, onProgress })).catch((error) => {
        message = error.message
      })
      expect(message).to.equal('of the user')
      await all(trainer.resume(large))
    })

    it('bad arguments change nothing', async () => {
      using trainer = trainerOf(chts())
      await expectRefusal(() => trainer.save(''), 'INVALID_ARGUMENT', 'no name')
      await expectRefusal(
        () => all(trainer.fit(train, { epochs: 1, checkpoint: { file: '' } })),
        'INVALID_ARGUMENT',
        'no name',
      )
      await expectRefusal(
        () => all(trainer.fit(train, { epochs: 1, checkpoint: { file, everySteps: 0 } })),
        'INVALID_ARGUMENT',
        'everySteps',
      )
      await expectRefusal(
        () => all(trainer.fit(train, { epochs: 1, checkpoint: { file, everyEpochs: 1.5 } })),
        'INVALID_ARGUMENT',
        'everyEpochs',
      )
      await expectRefusal(() => all(trainer.resume(train)), 'INVALID_ARGUMENT', 'no run')
      await all(trainer.fit(train, { epochs: 1 }))
    })
  })

  it('what a killed process left is taken away by the next save', async () => {
    using trainer = trainerOf(chts())
    const dead = 2 ** 22 + 1 // no process has this number
    const own = `${file}.${hostname()}-${process.pid}-0123456789ab.tmp`
    const older = `${file}.${hostname()}-${process.pid}-0123456789ac.tmp`
    const elsewhere = `${file}.another-machine-${dead}-0123456789ab.tmp`
    for (const name of [`${file}.${hostname()}-${dead}-0123456789ab.tmp`, own, older, elsewhere])
      await writeFile(name, 'half')
    await utimes(older, 1e9, 1e9) // by a process that had the same number
    await trainer.save(file)
    const left = (await readdir(folder)).filter((name) => name.endsWith('.tmp')).map((name) => join(folder, name))
    expect(left.sort()).to.deep.equal([own, elsewhere].sort())
    for (const name of left) await rm(name)
  })
})
