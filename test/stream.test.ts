/** Training sets that are read a chunk at a time. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import {
  type Chunk,
  chts,
  type Dataset,
  dataset,
  mlp,
  type SampleStream,
  type StreamOptions,
  sgd,
  stream,
  Trainer,
  updateSchedule,
} from '../lib/index.js'
import { at, expectRefusal, expectSameBits, places } from './support.js'
import { clusters } from './synthetic.js'

const FEATURES = 12
const samples = 230
const whole = clusters({ samples, features: FEATURES, classes: 4, seed: 1 })

function chunkOf(data: Dataset, first: number, count: number): Chunk {
  const x = data.x.slice(first * FEATURES, (first + count) * FEATURES)
  return { x, y: (data.labels as Int32Array).slice(first, first + count) }
}

function streamOf(chunk: number, options: Partial<StreamOptions> = {}) {
  const reads: number[] = []
  const read = (first: number, count: number) => {
    reads.push(first)
    const { x, y } = chunkOf(whole, first, count)
    // A subclass of the same bytes, as files are read.
    return first === 80 && x instanceof Uint8Array ? { x: Buffer.from(x), y } : { x, y }
  }
  return { reads, data: stream({ samples, chunk, shape: [FEATURES], classes: 4, read, ...options }) }
}

function trainerOf(place: string, seed = 2): Trainer {
  return new Trainer(mlp({ widths: [FEATURES, 24, 16, 4], density: 0.3, seed }), {
    optimizer: sgd({ learningRate: 0.1, momentum: 0.9 }),
    dst: chts({ updates: updateSchedule({ every: 5, until: 1, fraction: 0.3 }) }),
    device: at(place),
  })
}

async function weightsOf(trainer: Trainer): Promise<Float32Array[]> {
  return Promise.all(trainer.model.parameters.map(({ values }) => values.read()))
}

async function trained(place: string, data: Dataset | SampleStream, epochs = 3, seed?: number) {
  using trainer = trainerOf(place, seed)
  const losses: number[] = []
  for await (const { trainLoss } of trainer.fit(data, { epochs, batchSize: 20 })) losses.push(trainLoss)
  return { losses: Float64Array.from(losses), weights: await weightsOf(trainer) }
}

for (const place of places) {
  describe(`a stream at ${place}`, () => {
    it('of one chunk trains to the bits of its data set', async () => {
      const data = dataset({ ...chunkOf(whole, 0, samples), shape: [FEATURES], classes: 4 })
      const [expected, got] = [await trained(place, data), await trained(place, streamOf(1000).data)]
      expectSameBits([got.losses, ...got.weights], [expected.losses, ...expected.weights], place)
    })

    it('reads each chunk once an epoch, in another order, the shorter one last', async () => {
      const { reads, data } = streamOf(40)
      const { losses } = await trained(place, data, 6)
      expect(losses[5]).to.be.below(0.5 * (losses[0] as number))
      const [shown, ...others] = reads
      expect(shown).to.equal(0)
      const epochs = Array.from({ length: 6 }, (_, i) => others.slice(6 * i, 6 * i + 6))
      for (const epoch of epochs) {
        expect([...epoch].sort((a, b) => a - b)).to.deep.equal([0, 40, 80, 120, 160, 200])
        expect(epoch[5]).to.equal(200)
      }
      expect(new Set(epochs.map(String)).size).to.be.above(2)
      const other = streamOf(40)
      await trained(place, other.data, 6, 3)
      expect(other.reads).to.not.deep.equal(reads)
    })

    it('goes on within its chunk, to the same bits', async () => {
      const folder = await mkdtemp(join(tmpdir(), 'hebb-stream-'))
      try {
        const straight = await trained(place, streamOf(40).data)
        const file = join(folder, 'run.safetensors')
        {
          using trainer = trainerOf(place)
          const signal = new AbortController()
          const run = trainer.fit(streamOf(40).data, {
            ...{ epochs: 3, batchSize: 20, signal: signal.signal },
            // After step 15, the fourth of epoch 2, in the middle of a chunk.
            checkpoint: { file, everySteps: 15, onError: (error) => signal.abort(error) },
          })
          for await (const { epoch } of run) if (epoch === 1) break
          const steps = trainer.resume(streamOf(40).data, { checkpoint: { file, everySteps: 15 } })
          await steps.next()
        }
        using resumed = await Trainer.load(file, { device: at(place) })
        for await (const _ of resumed.resume(streamOf(40).data));
        expectSameBits(await weightsOf(resumed), straight.weights, place)
      } finally {
        await rm(folder, { recursive: true })
      }
    })
  })
}

describe('streams', () => {
  it('are read ahead, and held a chunk at a time', async () => {
    using trainer = trainerOf(places[0] as string)
    let [reading, most] = [0, 0]
    const read = async (first: number, count: number) => {
      reading += 1
      most = Math.max(most, reading)
      await new Promise((resolve) => setTimeout(resolve, 2))
      reading -= 1
      return chunkOf(whole, first, count)
    }
    const steps: number[] = []
    const watched = async (first: number, count: number) => {
      steps.push(trainer.step)
      return read(first, count)
    }
    const data = streamOf(40, { read: watched }).data
    for await (const _ of trainer.fit(data, { epochs: 1, batchSize: 20 }));
    expect(most, 'at once').to.equal(1)
    // The second is asked for before the first step, and each other with the begin of the one before it.
    expect(steps).to.deep.equal([0, 0, 0, 2, 4, 6, 8])
    const held = async (source: Dataset | SampleStream) => {
      using one = trainerOf(places[0] as string)
      for await (const _ of one.fit(source, { epochs: 1, batchSize: 20 }));
      return one.memory().bytes
    }
    const apart = (samples - 40) * FEATURES * whole.x.BYTES_PER_ELEMENT
    expect((await held(whole)) - (await held(streamOf(40).data))).to.be.at.least(0.9 * apart)
  })

  it('that fail end training where it is, and it goes on', async () => {
    using trainer = trainerOf(places[0] as string)
    let fails = true
    const flaky = streamOf(40, {
      read: (first, count) => {
        if (fails && trainer.step >= 4) throw new Error('the disk is gone')
        return chunkOf(whole, first, count)
      },
    }).data
    const first = trainer.fit(flaky, { epochs: 3, batchSize: 20 })
    expect(await first.next().catch((error: Error) => error.message)).to.equal('the disk is gone')
    expect(trainer.step).to.be.within(4, 8)
    fails = false
    for await (const _ of trainer.resume(flaky));
    const straight = await trained(places[0] as string, streamOf(40).data)
    expectSameBits(await weightsOf(trainer), straight.weights, 'resumed')
  })

  it('are refused where they do not fit', async () => {
    using trainer = trainerOf(places[0] as string)
    const attempt = (options: Partial<StreamOptions>, chunk = 40) => {
      const run = trainer.fit(streamOf(chunk, options).data, { epochs: 1, batchSize: 20 })
      return async () => {
        for await (const _ of run);
      }
    }
    for (const [what, act, words] of [
      ['chunks that batches cut', attempt({}, 50), /multiple of the 20 samples of a batch, got 50/],
      [
        'fewer samples',
        attempt({ read: (first) => chunkOf(whole, first, 39) }),
        /to read 40 samples from 0 on, got 39/,
      ],
      [
        'other samples later',
        attempt({
          read: (first, count) => {
            const { x, y } = chunkOf(whole, first, count)
            const other = x instanceof Uint8Array ? new Float32Array(x.length) : new Uint8Array(x.length)
            return first === 80 ? { x: other, y } : { x, y }
          },
        }),
        /samples of one kind/,
      ],
      ['nothing', attempt({ read: () => undefined as never }), /options of a chunk to be an object, got undefined/],
      ['other features', attempt({ shape: [6] }), /80 labels/],
    ] as const) {
      const error = await expectRefusal(act, 'INVALID_ARGUMENT', what)
      expect(error.message, what).to.match(words)
    }
    for (const bad of [{ samples: 0 }, { chunk: 0 }, { read: 7 as never }, { chunks: 3 }])
      await expectRefusal(() => streamOf(40, bad), 'INVALID_ARGUMENT', JSON.stringify(bad))
  })
})
