/** What a run does after each epoch: early stopping, the best state, functions of a user's own. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import {
  type Callback,
  type CallbackOrFunction,
  chts,
  chtss,
  dataset,
  type Epoch,
  earlyStopping,
  keepBest,
  type Method,
  mlp,
  Trainer,
} from '../lib/index.js'
import { random } from './support.js'
import { plane } from './synthetic.js'
import { error, optimizer, state, test, train, widths } from './training.js'

const trainerOf = (dst: Method = chts()) =>
  new Trainer(mlp({ widths, density: 0.1, seed: 1 }), { optimizer: optimizer(), dst, device: 'cpu' })
// Labels of no sense: what is learned of others goes up and down on them.
const draw = random(11)
const noise = dataset({
  ...{ x: test.x, y: Int32Array.from({ length: test.samples }, () => Math.floor(4 * draw())) },
  ...{ shape: [48], classes: 4 },
})
const EPOCHS = 12
const options = { epochs: EPOCHS, batchSize: 40, validation: noise }

/** The epoch that early stopping ends by its definition, of a run that was not stopped. */
function stopOf(history: readonly Epoch[], figure: (epoch: Epoch) => number, patience: number, minDelta = 0): number {
  let [best, since] = [Number.NEGATIVE_INFINITY, 0]
  for (const epoch of history) {
    if (figure(epoch) > best + minDelta) [best, since] = [figure(epoch), 0]
    else if (++since === patience) return epoch.epoch
  }
  return history.length
}
const accuracy = ({ validation }: Epoch) => validation?.accuracy as number
const loss = ({ validation }: Epoch) => -(validation?.loss as number)

describe('callbacks', () => {
  let folder: string
  let whole: readonly Epoch[]
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hebb-callbacks-'))
    using trainer = trainerOf()
    whole = await trainer.fit(train, options)
  })
  after(() => rm(folder, { recursive: true }))

  describe('earlyStopping()', () => {
    for (const [name, given, figure, patience, minDelta] of [
      ['accuracy, where there are labels', {}, accuracy, 2, 0],
      ['accuracy by name', { monitor: 'accuracy' }, accuracy, 3, 0],
      ['loss', { monitor: 'loss' }, loss, 2, 0],
      ['what becomes better by more than minDelta', { monitor: 'accuracy', minDelta: 0.1 }, accuracy, 3, 0.1],
    ] as const)
      it(`ends a run by ${name}`, async () => {
        using trainer = trainerOf()
        const history = await trainer.fit(train, { ...options, callbacks: [earlyStopping({ ...given, patience })] })
        const expected = stopOf(whole, figure, patience, minDelta)
        expect(expected).to.be.below(EPOCHS)
        expect(history.map(accuracy)).to.deep.equal(whole.slice(0, expected).map(accuracy))
        expect(trainer.run?.stopped).to.include(`no better in ${patience} epochs`)
        expect(trainer.run?.epoch).to.equal(expected)
        expect((await error(async () => void (await trainer.resume(train)))).message).to.match(
          /was stopped: .*patience|no better/,
        )
      })

    it('waits for the final density of a method that prunes', async () => {
      const dst = () => chtss()
      using free = trainerOf(dst())
      const epochs = await free.fit(train, options)
      const final = epochs.at(-1)?.links as number
      const first = epochs.findIndex(({ links }) => links <= final)
      expect(first).to.be.within(3, EPOCHS - 3)
      using trainer = trainerOf(dst())
      const callbacks = [earlyStopping({ patience: 1, minDelta: 1 })]
      const history = await trainer.fit(train, { ...options, callbacks })
      expect(history.length).to.equal(first + 2)
      expect(history.at(-1)?.links).to.equal(final)
    })

    it('decides the same when the run is gone on with from files, at every epoch', async () => {
      const file = join(folder, 'patient.safetensors')
      const expected = stopOf(whole, accuracy, 3)
      const callbacks = [earlyStopping({ patience: 3 })]
      const first = trainerOf()
      for await (const _ of first.fit(train, { ...options, callbacks })) {
        await first.save(file)
        break
      }
      first.dispose()
      for (let epoch = 2; epoch <= expected; ++epoch) {
        using trainer = await Trainer.load(file, { device: 'cpu' })
        const { value } = await trainer.resume(train, { validation: noise }).next()
        expect(value?.epoch).to.equal(epoch)
        expect(trainer.run?.stopped !== undefined).to.equal(epoch === expected)
        await trainer.save(file)
      }
      using ended = await Trainer.load(file, { device: 'cpu' })
      expect((await error(() => ended.resume(train).next())).message).to.match(/was stopped: /)
    })

    it('is refused without validation, of nothing to monitor, and by what it does not know', async () => {
      using trainer = trainerOf()
      const trying = (callbacks: readonly CallbackOrFunction[], validation: typeof noise | undefined = noise) =>
        error(async () => void (await trainer.fit(train, { epochs: 1, validation, callbacks })))
      using regression = new Trainer(mlp({ widths: [48, 16, 3], density: 0.5 }), {
        ...{ optimizer: optimizer(), device: 'cpu' },
      })
      const values = plane({ samples: 64, features: 48, outputs: 3 })
      const ofValues = {
        epochs: 1,
        validation: values,
        callbacks: [earlyStopping({ patience: 1, monitor: 'accuracy' })],
      }
      const refusals: [() => Promise<{ message: string }>, RegExp][] = [
        [
          () => error(async () => void (await trainer.fit(train, { epochs: 1, callbacks: [keepBest()] }))),
          /validation beside keepBest/,
        ],
        [
          () =>
            error(
              async () => void (await trainer.fit(train, { epochs: 1, callbacks: [earlyStopping({ patience: 1 })] })),
            ),
          /validation beside earlyStopping/,
        ],
        [
          () => error(async () => void (await regression.fit(values, ofValues))),
          /monitor to be 'loss' for a regression/,
        ],
        [() => trying([{} as never]), /callbacks to be functions or to have onEpoch\(\)/],
        [() => trying([{ onepoch() {} } as never]), /onEpoch\(\)/],
        [() => trying('no' as never), /callbacks to be a list, got 'no'/],
        [() => error(() => earlyStopping({ patience: 0 })), /patience to be an integer of at least 1/],
        [() => error(() => earlyStopping({ patience: 1, monitor: 'f1' as never })), /'accuracy' or 'loss', got 'f1'/],
        [() => error(() => earlyStopping({ patience: 1, minDelta: -1 })), /minDelta/],
        [() => error(() => earlyStopping({ patiense: 1 } as never)), /patience/],
      ]
      for (const [refused, message] of refusals) expect((await refused()).message).to.match(message)
      expect(trainer.step).to.equal(0)
    })
  })

  describe('keepBest()', () => {
    const best = () => Math.max(...whole.map(accuracy))

    it('ends with the bits of the best file: weights, links, optimizer state', async () => {
      const [file, bestFile] = ['kept', 'kept.best'].map((name) => join(folder, `${name}.safetensors`))
      using without = trainerOf()
      await without.fit(train, { ...options, checkpoint: { file, best: bestFile } })
      using expected = await Trainer.load(bestFile, { device: 'cpu' })
      using trainer = trainerOf()
      const history = await trainer.fit(train, { ...options, callbacks: [keepBest()] })
      expect(history.map(accuracy)).to.deep.equal(whole.map(accuracy))
      expect(trainer.step).to.be.below(10 * EPOCHS)
      expect((await trainer.evaluate(noise)).accuracy).to.equal(best())
      expect(await state(trainer)).to.deep.equal(await state(expected))
      expect(trainer.step).to.equal(expected.step)
      expect(await trainer.measures()).to.deep.equal(await expected.measures())
      // The run is over; what comes next begins with the best state.
      expect((await error(() => trainer.resume(train).next())).message).to.match(/has done its 12 epochs/)
      const again = { epochs: 2, batchSize: 40 }
      const [one, other] = [await trainer.fit(train, again), await expected.fit(train, again)]
      expect(one.map(({ trainLoss }) => trainLoss)).to.deep.equal(other.map(({ trainLoss }) => trainLoss))
      const { bytes } = trainer.device.memory()
      trainer.dispose()
      expect(bytes).to.be.above(0)
    })

    it('with early stopping, and from files when the run is gone on with', async () => {
      const [file, bestFile] = ['both', 'both.best'].map((name) => join(folder, `${name}.safetensors`))
      const callbacks = [earlyStopping({ patience: 4 }), keepBest()]
      using memory = trainerOf()
      const history = await memory.fit(train, { ...options, callbacks })
      expect(history.length).to.be.below(EPOCHS)
      const checkpoint = { file, best: bestFile }
      const first = trainerOf()
      for await (const { epoch } of first.fit(train, { ...options, callbacks, checkpoint })) if (epoch === 2) break
      first.dispose()
      using second = await Trainer.load(file, { device: 'cpu' })
      const rest = await second.resume(train, { validation: noise, checkpoint })
      expect([2 + rest.length, second.run]).to.deep.equal([history.length, memory.run])
      expect(await state(second)).to.deep.equal(await state(memory))
      // The file has what the run came to, too.
      using loaded = await Trainer.load(file, { device: 'cpu' })
      expect(await state(loaded)).to.deep.equal(await state(memory))
    })

    it('asks for the file of the best state where a run could be gone on with', async () => {
      const file = join(folder, 'asked.safetensors')
      using trainer = trainerOf()
      const callbacks = [keepBest()]
      expect(
        (await error(() => trainer.fit(train, { ...options, callbacks, checkpoint: { file } }).next())).message,
      ).to.match(/checkpoint.best beside keepBest\(\)/)
      for await (const _ of trainer.fit(train, { ...options, callbacks })) break
      await trainer.save(file)
      using loaded = await Trainer.load(file, { device: 'cpu' })
      const { message } = await error(() => loaded.resume(train, { validation: noise }).next())
      expect(message).to.match(/the run's best state, after step 10, for keepBest\(\)/)
      expect((await loaded.resume(train, { validation: noise, callbacks: [] })).length).to.equal(EPOCHS - 1)
      // In the process that has begun, the best state is there.
      expect((await trainer.resume(train, { validation: noise })).length).to.equal(EPOCHS - 1)
      expect((await trainer.evaluate(noise)).accuracy).to.equal(best())
    })
  })

  describe('of your own', () => {
    it('are functions or objects, may use the trainer, keep a state, and stop', async () => {
      const file = join(folder, 'own.safetensors')
      const told: unknown[] = []
      const counting = (): Callback => ({
        name: 'counting',
        onEpoch(_, { state, stop }) {
          state.count = ((state.count as number | undefined) ?? 0) + 1
          if (state.count === 5) stop('five are enough')
        },
      })
      const looking: CallbackOrFunction = async ({ epoch }, { trainer, figure, isAtTarget, validation }) => {
        expect((await trainer.predict(noise)).length).to.equal(4 * noise.samples)
        told.push([epoch, figure, isAtTarget, validation === noise])
      }
      using trainer = trainerOf()
      for await (const { epoch } of trainer.fit(train, { ...options, callbacks: [counting(), looking] })) {
        if (epoch < 3) continue
        await trainer.save(file)
        break
      }
      expect(told).to.deep.equal(whole.slice(0, 3).map((one) => [one.epoch, accuracy(one), true, true]))
      using loaded = await Trainer.load(file, { device: 'cpu' })
      expect((await error(() => loaded.resume(train).next())).message).to.match(
        /callbacks of the run to be given again/,
      )
      const rest = await loaded.resume(train, { validation: noise, callbacks: [counting()] })
      expect(rest.map(({ epoch }) => epoch)).to.deep.equal([4, 5])
      expect(loaded.run?.stopped).to.equal('five are enough')
    })

    it('whose errors end the training, which can be gone on with', async () => {
      using trainer = trainerOf()
      const failing = ({ epoch }: Epoch) => {
        if (epoch === 2) throw new RangeError('mine')
      }
      const thrown = await trainer.fit(train, { ...options, callbacks: [failing] }).catch((one) => one)
      expect(thrown).to.be.instanceOf(RangeError)
      expect((await trainer.resume(train, { callbacks: [] })).map(({ epoch }) => epoch)[0]).to.equal(3)
      const circular: Callback = {
        onEpoch(_, { state }) {
          state.self = state
        },
      }
      const { message } = await error(async () => void (await trainer.fit(train, { epochs: 2, callbacks: [circular] })))
      expect(message).to.match(/state of 0 to be what JSON has/)
      const disposing = () => trainer.dispose()
      const run = async () => void (await trainer.fit(train, { epochs: 2, callbacks: [disposing] }))
      expect((await error(run)).code).to.equal('DISPOSED')
    })
  })
})
