/** fit() and resume() as values: iterated, awaited, or left alone. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { expect } from 'chai'
import { chts, type Epoch, mlp, Trainer } from '../lib/index.js'
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
})
