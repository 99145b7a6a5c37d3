import { expect } from 'chai'
import type { Device } from '../../lib/device.js'
import { at, cpu, everywhere, expectClose, expectOnlyGoodOperands, expectRefusal, numbers, on, onAnyThreads, places, random, Workspace } from '../support.js'

interface Source {
  bytes?: Uint8Array
  floats?: Float32Array
  features: number
  scale?: number
  shift?: number
}

/** The batches of `steps` steps over the samples that `order` names: [capacity][features], padding included. */
function gather(device: Device, { bytes, floats, features, scale, shift }: Source, order: Int32Array, batch: number, steps: number): Promise<Float32Array[]> {
  return on(device, async (w) => {
    const output = w.batch(features, batch, new Float32Array(features * batch).fill(9))
    const program = w.program({ batch })
    program.record('gather', {
      bytes: bytes && w.tensor('uint8', bytes),
      floats: floats && w.tensor('float32', floats),
      samples: (bytes ?? (floats as Float32Array)).length / features,
      scale,
      shift,
      indices: w.tensor('int32', order),
      count: order.length,
      output,
    })
    await program.rewind(order.length)
    const batches: Float32Array[] = []
    for (let step = 0; step < steps; ++step) {
      await program.replay(1)
      batches.push(await output.read())
    }
    return batches
  })
}

function orderOf(length: number, samples: number, seed: number): Int32Array {
  const next = random(seed)
  return Int32Array.from({ length }, () => Math.floor(next() * samples))
}

/** Samples of one batch by the definition: [columns][features]. */
function expectBatch(actual: Float32Array, { bytes, floats, features, scale = 1, shift = 0 }: Source, samples: Int32Array, what: string): void {
  const data = (bytes ?? floats) as ArrayLike<number>
  const at = (i: number) => data[samples[Math.floor(i / features)] * features + (i % features)] * Math.fround(scale)
  const value = Float64Array.from({ length: samples.length * features }, (_, i) => at(i) + Math.fround(shift))
  const magnitude = value.map((_, i) => Math.abs(at(i)) + Math.abs(shift))
  expectClose(actual.slice(0, value.length), { value, magnitude }, what, 2e-7)
  const padding = actual.slice(value.length, Math.min(actual.length, Math.ceil(samples.length / 16) * 16 * features))
  expect(
    padding.every((x) => x === 0),
    `${what}: zeros in the padding`,
  ).to.equal(true)
}

describe('gather', () => {
  const samples = 71
  for (const [features, batch] of [
    [1, 1],
    [1, 33],
    [15, 5],
    [16, 16],
    [17, 17],
    [33, 48],
    [61, 129],
    [48, 200],
    [37, 300],
  ]) {
    it(`brings samples into columns, everywhere: ${features} features, batch ${batch}`, async () => {
      const next = random(1)
      const sources: Source[] = [
        { bytes: Uint8Array.from({ length: samples * features }, () => Math.floor(next() * 256)), features, scale: 1 / 255 / 0.3081, shift: -0.1307 / 0.3081 },
        { bytes: Uint8Array.from({ length: samples * features }, () => Math.floor(next() * 256)), features },
        { floats: numbers(samples * features, 2), features, scale: 3.7, shift: -0.3 },
        { floats: numbers(samples * features, 3), features },
      ]
      const order = orderOf(batch + Math.ceil(batch / 3), samples, 4) // a full batch and a third of one
      for (const [i, source] of sources.entries()) {
        for (const place of places) {
          const [first, second] = await gather(at(place), source, order, batch, 2)
          expectBatch(first, source, order.slice(0, batch), `source ${i} at ${place}`)
          expectBatch(second, source, order.slice(batch), `source ${i} at ${place}, the rest`)
        }
      }
    })
  }

  it('copies floats exactly when there is nothing to scale', async () => {
    const floats = numbers(40 * 20, 5)
    const order = orderOf(30, 40, 6)
    const [batch] = await everywhere((device) => gather(device, { floats, features: 20 }, order, 30, 1))
    expect([...batch]).to.deep.equal([...order].flatMap((sample) => [...floats.subarray(sample * 20, sample * 20 + 20)]))
  })

  it('gives the same bits on any number of threads', async () => {
    const bytes = Uint8Array.from(numbers(71 * 800, 7, 0, 256))
    await onAnyThreads((device) => gather(device, { bytes, features: 800, scale: 0.01, shift: -1 }, orderOf(300, 71, 8), 300, 1))
  })

  it('brings labels into targets', async () => {
    await on(cpu(), async (w) => {
      const labels = Int32Array.from({ length: 71 }, (_, i) => 1000 + i)
      const order = orderOf(50, 71, 9)
      const targets = w.tensor('int32', 32)
      const program = w.program({ batch: 32 })
      program.record('gatherLabels', { labels: w.tensor('int32', labels), samples: 71, indices: w.tensor('int32', order), count: 50, targets })
      await program.rewind(50)
      await program.replay(1)
      expect([...(await targets.read())]).to.deep.equal([...order.slice(0, 32)].map((i) => 1000 + i))
      await program.replay(1)
      expect([...(await targets.read()).slice(0, 18)]).to.deep.equal([...order.slice(32)].map((i) => 1000 + i))
    })
  })

  it('refuses operands that do not fit, and works afterwards', async () => {
    await on(cpu(), async (w) => {
      const program = w.program({ batch: 8 })
      const other = w.own(new Workspace(cpu(2)))
      const gone = w.tensor('int32', 10)
      gone.dispose()
      const indices = w.tensor(
        'int32',
        Int32Array.from({ length: 10 }, (_, i) => i),
      )
      const output = w.batch(6, 8)
      const bytes = w.tensor('uint8', new Uint8Array(60).fill(5))
      await expectOnlyGoodOperands(
        program,
        'gather',
        { bytes, samples: 10, indices, count: 10, output },
        {
          'too few bytes': [{ bytes: w.tensor('uint8', 59) }, 'INVALID_ARGUMENT'],
          'more samples than bytes': [{ samples: 11 }, 'INVALID_ARGUMENT'],
          'too few floats': [{ bytes: undefined, floats: w.floats(59) }, 'INVALID_ARGUMENT'],
          'bytes and floats': [{ floats: w.floats(60) }, 'INVALID_ARGUMENT'],
          'neither bytes nor floats': [{ bytes: undefined }, 'INVALID_ARGUMENT'],
          'too few indices': [{ count: 11 }, 'INVALID_ARGUMENT'],
          'a scale of NaN': [{ scale: Number.NaN }, 'INVALID_ARGUMENT'],
          'indices of another device': [{ indices: other.tensor('int32', 10) }, 'INVALID_ARGUMENT'],
          'disposed indices': [{ indices: gone }, 'DISPOSED'],
        },
      )
      const labels = w.tensor('int32', 10)
      await expectOnlyGoodOperands(
        program,
        'gatherLabels',
        { labels, samples: 10, indices, count: 10, targets: w.tensor('int32', 8) },
        {
          'too few labels': [{ samples: 11 }, 'INVALID_ARGUMENT'],
          'too few indices': [{ count: 11 }, 'INVALID_ARGUMENT'],
          'too few targets': [{ targets: w.tensor('int32', 7) }, 'INVALID_ARGUMENT'],
        },
      )
      await program.rewind(10)
      await program.replay(1)
      expect([...(await output.read())]).to.deep.equal(new Array(48).fill(5))
      for (const index of [10, -1, 2 ** 31 - 1, -(2 ** 31)]) {
        await indices.write(Int32Array.of(0, 1, 2, index, 4, 5, 6, 7, 8, 9))
        await program.rewind(10)
        const error = await expectRefusal(() => program.replay(1), 'INVALID_ARGUMENT', `index ${index}`)
        expect(error.message).to.match(new RegExp(`indices in \\[0, 10\\), got ${index} at 3`))
      }
    })
  })

  // With more columns than fit, the operations would write past their buffers.
  it("refuses outputs that are smaller than the program's batch", async () => {
    await on(cpu(), async (w) => {
      const program = w.program({ batch: 64 })
      const indices = w.tensor('int32', 100)
      await expectOnlyGoodOperands(
        program,
        'gather',
        { bytes: w.tensor('uint8', 100), samples: 100, indices, count: 100, output: w.batch(1, 64) },
        {
          'room for 16 of 64 columns': [{ output: w.batch(1, 16) }, 'INVALID_ARGUMENT'],
        },
      )
      const labels = { labels: w.tensor('int32', 100), samples: 100, indices, count: 100 }
      await expectOnlyGoodOperands(
        program,
        'gatherLabels',
        { ...labels, targets: w.tensor('int32', 64) },
        {
          'room for 16 of 64 targets': [{ targets: w.tensor('int32', 16) }, 'INVALID_ARGUMENT'],
        },
      )
    })
  })

  // The indices have room for 64 here, so that a test that fails reads no foreign memory.
  it('refuses a stream that is longer than its indices', async () => {
    await on(cpu(), async (w) => {
      const program = w.program({ batch: 16 })
      program.record('gather', { bytes: w.tensor('uint8', 100), samples: 100, indices: w.tensor('int32', 64), count: 10, output: w.batch(1, 16) })
      const step = (samples: number) => async () => {
        await program.rewind(samples)
        await program.replay(1)
      }
      await expectRefusal(step(11), 'INVALID_ARGUMENT', '11 samples of 10')
      await expectRefusal(step(0), 'INVALID_ARGUMENT', 'no stream, and 16 columns of 10')
      await step(10)()
    })
  })
})
