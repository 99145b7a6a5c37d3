/** fit() and resume() as values: iterated, awaited, or left alone. */
import { mkdir, mkdtemp, readdir, rename, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { expect } from 'chai'
import { type CheckpointOptions, chts, type Epoch, mlp, Trainer } from '../lib/index.js'
import { clusters } from './synthetic.js'
import { all, error, optimizer, state, test, train, widths } from './training.js'

const trainerOf = () =>
  new Trainer(mlp({ widths, density: 0.2, seed: 1 }), { optimizer: optimizer(), dst: chts(), device: 'cpu' })
const numbers = (epochs: readonly Epoch[]) => epochs.map(({ epoch }) => epoch)

describe('a training', () => {
  let folder: string
  const unhandled: unknown[] = []
  const note = (reason: unknown) => void unhandled.push(reason)
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hebb-fit-'))
    process.on('unhandledRejection', note)
  })
  after(async () => {
    process.off('unhandledRejection', note)
    await rm(folder, { recursive: true })
  })
  afterEach(async () => {
    await setImmediate()
    expect(unhandled).to.deep.equal([])
  })

  it('that is awaited is the one of the loop, to the last bit', async () => {
    using looped = trainerOf()
    using awaited = trainerOf()
    const options = { epochs: 3, validation: test }
    const expected = await all(looped.fit(train, options))
    const history = await awaited.fit(train, options)
    expect(history.map(({ trainLoss, validation }) => [trainLoss, validation])).to.deep.equal(
      expected.map(({ trainLoss, validation }) => [trainLoss, validation]),
    )
    expect(await state(awaited)).to.deep.equal(await state(looped))
  })

  it('starts when it is used, and not before', async () => {
    using trainer = trainerOf()
    trainer.fit(train, { epochs: 3 })
    trainer.fit(train, { epochs: -1 })
    trainer.resume(train)
    await setImmediate()
    expect(trainer.step).to.equal(0)
    expect(trainer.run).to.equal(undefined)
    expect(numbers(await trainer.fit(train, { epochs: 1 }))).to.deep.equal([1])
  })

  it('gives the same history to all who await it', async () => {
    using trainer = trainerOf()
    const training = trainer.fit(train, { epochs: 2 })
    const [one, other] = await Promise.all([training, training])
    expect(one).to.equal(other)
    expect(await training).to.equal(one)
    expect(await training.finally(() => {})).to.equal(one)
    expect(numbers(one)).to.deep.equal([1, 2])
    expect(await all(training)).to.deep.equal([])
    expect(trainer.step).to.equal(26)
  })

  it('that is awaited in its loop trains the rest; after the loop was left, it gives what was done', async () => {
    using trainer = trainerOf()
    const training = trainer.fit(train, { epochs: 4 })
    const seen: number[] = []
    for await (const { epoch } of training) {
      seen.push(epoch)
      expect(numbers(await training)).to.deep.equal([1, 2, 3, 4])
    }
    expect(seen).to.deep.equal([1])
    const left = trainer.fit(train, { epochs: 4 })
    for await (const { epoch } of left) if (epoch === 2) break
    expect(numbers(await left)).to.deep.equal([1, 2])
    expect(trainer.step).to.equal(26)
  })

  it('rejects for bad options, once for each who waits, and leaves the trainer as it was', async () => {
    using trainer = trainerOf()
    const bad = trainer.fit(train, { epochs: 0 })
    for (const run of [() => bad, () => bad, () => trainer.resume(train)])
      expect((await error(async () => void (await run()))).code).to.equal('INVALID_ARGUMENT')
    expect(await trainer.fit(train, { epochs: 0 }).catch(({ message }) => message)).to.match(/Expected epochs/)
    const misspelt = trainer.fit(train, { epochs: 1, batchsize: 8 } as never)
    expect((await error(() => all(misspelt))).message).to.match(/Did you mean 'batchSize'/i)
    // The loop has told of it, and so does who awaits it then.
    expect((await error(async () => void (await misspelt))).message).to.match(/batchSize/)
    expect(numbers(await trainer.fit(train, { epochs: 1 }))).to.deep.equal([1])
  })

  it('rejects with ABORTED, goes on by an awaited resume(), and to the same bits from a file', async () => {
    const file = join(folder, 'run.safetensors')
    using whole = trainerOf()
    await whole.fit(train, { epochs: 4 })
    using trainer = trainerOf()
    const stop = new AbortController()
    const training = trainer.fit(train, { epochs: 4, signal: stop.signal })
    for await (const { epoch } of training) {
      if (epoch !== 2) continue
      await trainer.save(file)
      stop.abort()
      break
    }
    expect(
      (await error(async () => void (await trainer.fit(train, { epochs: 9, signal: stop.signal })))).code,
    ).to.equal('ABORTED')
    expect(numbers(await trainer.resume(train))).to.deep.equal([3, 4])
    expect(await state(trainer)).to.deep.equal(await state(whole))
    using loaded = await Trainer.load(file, { device: 'cpu' })
    expect(numbers(await loaded.resume(train))).to.deep.equal([3, 4])
    expect(await state(loaded)).to.deep.equal(await state(whole))
  })

  it('rejects with DISPOSED when its trainer is disposed meanwhile', async () => {
    const trainer = trainerOf()
    const onProgress = () => trainer.dispose()
    const training = trainer.fit(train, { epochs: 50, onProgress })
    expect((await error(async () => void (await training))).code).to.equal('DISPOSED')
    expect((await error(async () => void (await training))).code).to.equal('DISPOSED')
    expect((await error(async () => void (await trainer.fit(train, { epochs: 1 })))).code).to.equal('DISPOSED')
  })

  describe('that is saved', () => {
    const begin = async (trainer: Trainer, checkpoint: CheckpointOptions, validation?: typeof test) => {
      for await (const { epoch } of trainer.fit(train, { epochs: 4, checkpoint, validation })) if (epoch === 2) break
      trainer.dispose()
    }
    const epochIn = async (file: string) => {
      using trainer = await Trainer.load(file, { device: 'cpu' })
      return trainer.run?.epoch
    }
    /** The warnings of this library while `act` runs. */
    const warnings = async (act: () => Promise<unknown>): Promise<string[]> => {
      const told: string[] = []
      const listen = ({ name, message }: Error) => void (name === 'HebbWarning' && told.push(message))
      process.on('warning', listen)
      await act()
      await setImmediate()
      process.off('warning', listen)
      return told
    }

    it('goes on saving to its files, after a move of their folder too, unless it is told not to', async () => {
      const [place, moved] = [join(folder, 'place'), join(folder, 'moved')]
      await mkdir(place)
      const file = join(place, 'run.safetensors')
      await begin(trainerOf(), { file, best: join(place, 'best.safetensors'), everySteps: 13 }, test)
      await rename(place, moved)
      const at = join(moved, 'run.safetensors')
      {
        using trainer = await Trainer.load(at, { device: 'cpu' })
        await trainer.resume(train, { checkpoint: false })
        expect(trainer.run?.epoch).to.equal(4)
      }
      expect(await epochIn(at)).to.equal(2)
      using trainer = await Trainer.load(at, { device: 'cpu' })
      await trainer.resume(train, { validation: test })
      expect(await epochIn(at)).to.equal(4)
      expect((await readdir(moved)).sort()).to.deep.equal(['best.safetensors', 'run.safetensors'])
      expect(await readdir(folder)).to.not.include('place')
    })

    it('goes on saving in the process that left its loop', async () => {
      const file = join(folder, 'left.safetensors')
      using trainer = trainerOf()
      for await (const _ of trainer.fit(train, { epochs: 4, checkpoint: { file, everyEpochs: 3 } })) break
      await trainer.resume(train)
      expect(await epochIn(file)).to.equal(4)
    })

    it('does not begin, or go on, over another run that is not finished', async () => {
      const [file, other] = [join(folder, 'first.safetensors'), join(folder, 'second.safetensors')]
      await begin(trainerOf(), { file })
      await begin(trainerOf(), { file: other })
      using trainer = trainerOf()
      const refused = await error(() => trainer.fit(train, { epochs: 1, checkpoint: { file } }).next())
      expect(refused.code).to.equal('CANNOT_WRITE')
      expect(refused.message).to.equal(
        `Expected a file without a run that is not finished, got ${file}, whose run has done 2 of its 4 epochs. Go ` +
          'on with it by Trainer.load() and resume(), give another file, or overwrite: true.',
      )
      expect(trainer.step).to.equal(0)
      using loaded = await Trainer.load(file, { device: 'cpu' })
      const over = { checkpoint: { file: other } }
      expect((await error(() => loaded.resume(train, over).next())).message).to.include(`got ${other}`)
      // Its own, under any name, and files of its own saves are no other run's.
      await symlink(file, join(folder, 'link.safetensors'))
      expect(
        (await loaded.resume(train, { checkpoint: { file: join(folder, 'link.safetensors') } }).next()).value?.epoch,
      ).to.equal(3)
      await loaded.save(other)
      expect((await loaded.resume(train, over).next()).value?.epoch).to.equal(4)
      loaded.dispose()
      await begin(trainerOf(), { file: other, overwrite: true })
      expect(await epochIn(other)).to.equal(2)
      const { message } = await error(() =>
        trainer.fit(train, { epochs: 1, checkpoint: { file, overwrite: 1 as never } }).next(),
      )
      expect(message).to.match(/overwrite to be true or false, got 1/)
    })

    it('the best state of a run does not overwrite what came after it', async () => {
      const [file, best] = [join(folder, 'late.safetensors'), join(folder, 'early.safetensors')]
      await begin(trainerOf(), { file, best }, test)
      using trainer = await Trainer.load(best, { device: 'cpu' })
      const { message } = await error(() => trainer.resume(train, { validation: test }).next())
      expect(message).to.include(`got ${file}`)
      expect((await trainer.resume(train, { validation: test, checkpoint: false })).length).to.be.within(2, 3)
    })

    it('warns of other validation data than it began with, and of none where a best state is kept', async () => {
      const [file, best] = [join(folder, 'warned.safetensors'), join(folder, 'warned.best.safetensors')]
      await begin(trainerOf(), { file, best }, test)
      const other = clusters({ samples: 203, features: 48, classes: 4, seed: 3 })
      const resume = (validation?: typeof test) => async () => {
        using trainer = await Trainer.load(file, { device: 'cpu' })
        for await (const _ of trainer.resume(train, { ...(validation && { validation }) })) break
      }
      expect(await warnings(resume(test))).to.deep.equal([])
      const [told, ...more] = await warnings(resume(other))
      expect(told).to.match(/^Expected the validation data that the run began with, got .*, which has others\./)
      expect(more).to.deep.equal([])
      await begin(trainerOf(), { file, best, overwrite: true }, test)
      expect(await warnings(resume())).to.deep.equal([
        `Expected validation, to keep the best state in ${best}, got none.`,
      ])
    })
  })

  it('takes fewer samples than a usual batch, all at once', async () => {
    const few = clusters({ samples: 20, features: 48, classes: 4 })
    using trainer = trainerOf()
    await trainer.fit(few, { epochs: 2 })
    expect([trainer.run?.batchSize, trainer.step]).to.deep.equal([20, 2])
    await trainer.fit(train, { epochs: 1 })
    expect(trainer.run?.batchSize).to.equal(32)
    const { message } = await error(() => trainer.fit(few, { epochs: 1, batchSize: 32 }).next())
    expect(message).to.match(/batchSize to be at most the 20 samples/)
  })
})
