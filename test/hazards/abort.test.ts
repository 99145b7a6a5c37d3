/** Hazard: an AbortSignal that is heard late, or that leaves something half done. */
import { expect } from 'chai'
import {
  type Batch,
  chts,
  cosineFraction,
  Device,
  erdosRenyi,
  HebbError,
  mlp,
  Trainer,
  updateSchedule,
} from '../../lib/index.js'
import { cpu, numbers, on, randomCsr, sanitized } from '../support.js'
import { clusters } from '../synthetic.js'
import { batchOf, bound, optimizer, pause, stateOf } from './training.js'

/** Milliseconds from abort() to the error. */
const SOON = 1000

/**
 * Calls `run`, aborts it after a while, and expects ABORTED soon, with the reason. Says whether it was stopped before
 * it was done.
 */
async function aborted(after: number, run: (signal: AbortSignal) => Promise<unknown>): Promise<boolean> {
  const stop = new AbortController()
  let at = Number.NaN
  const timer = setTimeout(() => {
    at = performance.now()
    stop.abort('enough')
  }, after)
  try {
    await run(stop.signal)
    return false
  } catch (error) {
    if (!(error instanceof HebbError)) throw error
    expect([error.code, error.cause]).to.deep.equal(['ABORTED', 'enough'])
    expect(performance.now() - at, 'milliseconds from abort() to the error').to.be.below(bound(SOON))
    return true
  } finally {
    clearTimeout(timer)
  }
}

describe('abort', () => {
  /** A trainer whose next step has a long update before it, after `batches` were trained on. */
  async function beforeUpdate(size: number, batches: readonly Batch[]): Promise<Trainer> {
    const model = mlp({ widths: [64, size, size, 4], density: 0.5, topology: erdosRenyi() })
    const updates = updateSchedule({ every: batches.length, until: 1, fraction: cosineFraction(0.3) })
    const trainer = new Trainer(model, { optimizer: optimizer(), dst: chts({ updates }), device: 'cpu' })
    trainer.plan({ epochs: 2, stepsPerEpoch: batches.length })
    for (const batch of batches) await trainer.trainOn(batch)
    return trainer
  }

  it('within a topology update that would take many seconds ends it, and leaves the network as it was', async () => {
    const batch = batchOf(16, 64)
    using trainer = await beforeUpdate(2500, [batch])
    const before = await stateOf(trainer.model)
    expect(await aborted(400, (signal) => trainer.trainOn(batch, { signal }))).to.equal(true)
    expect(await stateOf(trainer.model)).to.equal(before)
    expect(trainer.step).to.equal(1)
  })

  const title =
    'within a topology update changes nothing, after it leaves it whole, ' +
    'and training goes on as if nothing had happened'
  it(title, async () => {
    const batches = [1, 2, 3].map((seed) => batchOf(16, 64, seed))
    using disturbed = await beforeUpdate(1000, batches.slice(0, 2))
    const before = await stateOf(disturbed.model)
    // Each of these ends in another part of the update, the last ones perhaps between it and the step.
    let stopped = 0
    let network = before
    for (const after of [0, 2, 15, 100, 300]) {
      if (!(await aborted(after, (signal) => disturbed.trainOn(batches[2], { signal })))) break
      const now = await stateOf(disturbed.model)
      if (now !== network) expect(network, `the network after ${after} ms, updated twice`).to.equal(before)
      network = now
      expect(disturbed.step).to.equal(2)
      ++stopped
    }
    expect(stopped).to.be.above(2)
    if (disturbed.step === 2) await disturbed.trainOn(batches[2])
    expect(disturbed.step).to.equal(3)
    const { itop, links } = await disturbed.measures()
    expect(itop, 'the update was made').to.be.above(0.55)
    using undisturbed = await beforeUpdate(1000, batches.slice(0, 2))
    await undisturbed.trainOn(batches[2])
    expect(await stateOf(disturbed.model)).to.equal(await stateOf(undisturbed.model))
    expect(await undisturbed.measures()).to.include({ itop, links })
  })

  it('while the first links are drawn, which takes seconds, ends the call and not the drawing', async () => {
    using trainer = new Trainer(mlp({ widths: [64, 3000, 3000, 4], density: 0.5 }), {
      optimizer: optimizer(),
      dst: chts(),
      device: 'cpu',
    })
    const batch = batchOf(16, 64)
    const data = clusters({ samples: 32, features: 64, classes: 4 })
    expect(await aborted(50, (signal) => trainer.trainOn(batch, { signal }))).to.equal(true)
    expect(await aborted(50, (signal) => trainer.evaluate(data, { signal }))).to.equal(true)
    expect(await aborted(50, (signal) => trainer.predict(data, { signal }))).to.equal(true)
    expect(await aborted(50, (signal) => trainer.fit(data, { epochs: 1, signal }).next())).to.equal(true)
  })

  it('within a long training step leaves whole steps', async () => {
    const batch = batchOf(512, 64)
    const width = sanitized ? 300 : 900
    const make = () =>
      new Trainer(mlp({ widths: [64, width, width, width, 4], density: 0.4, topology: erdosRenyi() }), {
        optimizer: optimizer(),
        device: 'cpu',
      })
    using undisturbed = make()
    const states: string[] = []
    let duration = Number.POSITIVE_INFINITY
    for (let step = 0; step < 12; ++step) {
      const start = performance.now()
      await undisturbed.trainOn(batch)
      duration = Math.min(duration, performance.now() - start)
      states.push(await stateOf(undisturbed.model))
    }
    using disturbed = make()
    await disturbed.trainOn(batch)
    let stopped = 0
    for (let tenth = 0; tenth < 10; ++tenth) {
      const { step } = disturbed
      const early = await aborted((duration * tenth) / 10, (signal) => disturbed.trainOn(batch, { signal }))
      expect(disturbed.step).to.equal(early ? step : step + 1)
      expect(await stateOf(disturbed.model), `after ${disturbed.step} steps`).to.equal(states[disturbed.step - 1])
      stopped += Number(early)
    }
    expect(stopped).to.be.above(0)
    await disturbed.trainOn(batch)
    expect(await stateOf(disturbed.model)).to.equal(states[disturbed.step - 1])
  })

  it('stops evaluate and predict, and both work afterwards', async () => {
    const data = clusters({ samples: 20_000, features: 64, classes: 4 })
    const device = { kind: 'cpu', threads: 1 } as const
    using trainer = new Trainer(mlp({ widths: [64, 1000, 1000, 4], density: 0.5, topology: erdosRenyi() }), {
      optimizer: optimizer(),
      device,
    })
    const few = clusters({ samples: 100, features: 64, classes: 4 })
    const { loss } = await trainer.evaluate(few)
    const logits = await trainer.predict(few)
    expect(await aborted(50, (signal) => trainer.evaluate(data, { signal })), 'evaluate').to.equal(true)
    expect(await aborted(50, (signal) => trainer.predict(data, { signal })), 'predict').to.equal(true)
    const gone = AbortSignal.abort('enough')
    for (const run of [() => trainer.evaluate(few, { signal: gone }), () => trainer.predict(few, { signal: gone })]) {
      expect(await run().catch((error) => error)).to.include({ code: 'ABORTED', cause: 'enough' })
    }
    expect((await trainer.evaluate(few)).loss).to.equal(loss)
    expect(await trainer.predict(few)).to.deep.equal(logits)
  })

  it('of a program ends it between samples: what is left is what was not done', async () => {
    const samples = 4000
    const batch = 16
    for (const after of [0, 2, 7, 15]) {
      await on(cpu(2), async (w) => {
        const csr = randomCsr(300, 64, 9000, 1)
        const totals = w.tensor('float64', Float64Array.of(0, 0, 0, -1))
        const [input, hidden] = [w.batch(64, batch), w.batch(300, batch)]
        const program = w.program({ batch })
        const indices = w.tensor(
          'int32',
          Int32Array.from({ length: samples }, (_, i) => i),
        )
        const targets = w.tensor('int32', batch)
        program.record('gather', {
          floats: w.floats(numbers(samples * 64, 2)),
          samples,
          indices,
          count: samples,
          output: input,
        })
        program.record('gatherLabels', {
          labels: w.tensor('int32', samples),
          samples,
          indices,
          count: samples,
          targets,
        })
        program.record('spmm', { weights: w.matrix(csr), values: w.floats(numbers(9000, 3)), input, output: hidden })
        program.record('softmaxCrossEntropy', { logits: hidden, targets, totals })
        const run = async (interrupt: boolean) => {
          await program.replay(0, { begin: { samples } })
          await totals.write(Float64Array.of(0, 0, 0, -1))
          const first = program.stepsDone
          const all = samples / batch
          while (program.stepsDone - first < all) {
            const left = all - (program.stepsDone - first)
            if (interrupt) await aborted(after, (signal) => program.replay(left, { signal }))
            else await program.replay(left)
            interrupt = false
          }
          return totals.read()
        }
        const [disturbed, undisturbed] = [await run(true), await run(false)]
        expect(undisturbed[2]).to.equal(samples)
        expect([...disturbed]).to.deep.equal([...undisturbed])
      })
    }
  })

  it('that comes after the last step stops nothing, then or later', async () => {
    await on(cpu(), async (w) => {
      const program = w.program()
      program.record('relu', { input: w.batch(4, 1), output: w.batch(4, 1) })
      for (let i = 0; i < 20; ++i) {
        const stop = new AbortController()
        const done = program.replay(1, { signal: stop.signal })
        // The replay ends while this thread does not look; its promise is not settled yet.
        for (const end = performance.now() + 5; performance.now() < end; );
        stop.abort()
        await done.catch((error) => expect(error.code).to.equal('ABORTED')) // on a busy machine it had not ended
        await program.replay(1)
      }
    })
  })

  it('of one program does not stop another of the same device', async () => {
    using device = new Device({ kind: 'cpu', threads: 1 })
    await on(device, async (w) => {
      const [first, second] = [w.program(), w.program()]
      for (const program of [first, second])
        program.record('relu', { input: w.batch(4000, 1), output: w.batch(4000, 1) })
      for (let i = 0; i < 30; ++i) {
        const stop = new AbortController()
        const one = first.replay(100_000_000, { signal: stop.signal }).catch((error) => error.code)
        const two = second.replay(20)
        await pause(i % 4)
        stop.abort()
        expect(await one).to.equal('ABORTED')
        await two
      }
      expect(second.stepsDone).to.equal(600)
    })
  })
})
