import { expect } from 'chai'
import type { Device } from '../../lib/device.js'
import { chiSquareTest, philox, purposeWord } from '../reference.js'
import {
  at,
  cpu,
  everywhere,
  expectClose,
  expectOnlyGoodOperands,
  expectRefusal,
  FALSE_ALARM,
  numbers,
  on,
  onAnyThreads,
  places,
  random,
  tally,
  Workspace,
} from '../support.js'

interface Source {
  bytes?: Uint8Array
  floats?: Float32Array
  features: number
  scale?: number
  shift?: number
}

/** The batches of `steps` steps over the samples that `order` names: [capacity][features], padding included. */
function gather(
  device: Device,
  { bytes, floats, features, scale, shift }: Source,
  order: Int32Array,
  batch: number,
  steps: number,
): Promise<Float32Array[]> {
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
    await program.replay(0, { begin: { samples: order.length } })
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
function expectBatch(
  actual: Float32Array,
  { bytes, floats, features, scale = 1, shift = 0 }: Source,
  samples: Int32Array,
  what: string,
): void {
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
        {
          bytes: Uint8Array.from({ length: samples * features }, () => Math.floor(next() * 256)),
          features,
          scale: 1 / 255 / 0.3081,
          shift: -0.1307 / 0.3081,
        },
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
    expect([...batch]).to.deep.equal(
      [...order].flatMap((sample) => [...floats.subarray(sample * 20, sample * 20 + 20)]),
    )
  })

  it('gives the same bits on any number of threads', async () => {
    const bytes = Uint8Array.from(numbers(71 * 800, 7, 0, 256))
    await onAnyThreads((device) =>
      gather(device, { bytes, features: 800, scale: 0.01, shift: -1 }, orderOf(300, 71, 8), 300, 1),
    )
  })

  /** Images, and what is done to them. */
  interface Images {
    bytes?: Uint8Array
    floats?: Float32Array
    channels: number
    height: number
    width: number
    padding: number
    flip: boolean
    seed: number
    scales?: Float32Array
    shifts?: Float32Array
  }

  /** Batches of images in their own order, from step `first` and sample `next` on: [columns][features]. */
  function gatherImages(
    device: Device,
    images: Images,
    batch: number,
    steps: number,
    first = 0,
    next = 0,
  ): Promise<Float32Array[]> {
    const { bytes, floats, channels, scales, shifts, ...augmentation } = images
    const features = channels * images.height * images.width
    const samples = (bytes ?? (floats as Float32Array)).length / features
    return on(device, async (w) => {
      const output = w.batch(features, batch, new Float32Array(features * batch).fill(9))
      const program = w.program({ batch })
      program.record('gather', {
        ...{
          bytes: bytes && w.tensor('uint8', bytes),
          floats: floats && w.tensor('float32', floats),
          samples,
          channels,
          augmentation,
          output,
        },
        ...{ scales: scales && w.tensor('float32', scales), shifts: shifts && w.tensor('float32', shifts) },
        ...{
          indices: w.tensor(
            'int32',
            Int32Array.from({ length: samples }, (_, i) => i),
          ),
          count: samples,
        },
      })
      await program.replay(0, { begin: { step: first, samples, first: next } })
      const batches: Float32Array[] = []
      for (let step = 0; step < steps; ++step) {
        await program.replay(1)
        batches.push(
          (await output.read()).slice(0, features * Math.min(batch, samples - ((next + step * batch) % samples))),
        )
      }
      return batches
    })
  }

  /** One image by the definition. */
  function cut(images: Images, sample: number, step: number, column: number): number[] {
    const { channels, height, width, padding, flip, seed, scales, shifts } = images
    const words = philox(seed, [column, step, 0, purposeWord('augment')])
    const places = 2 * padding + 1
    const [down, right] = words.map((word) => Math.floor((word / 2 ** 32) * places) - padding)
    const mirrored = flip && words[2] >= 2 ** 31
    const pixels: number[] = []
    for (let channel = 0; channel < channels; ++channel)
      for (let y = 0; y < height; ++y)
        for (let x = 0; x < width; ++x) {
          const [row, place] = [y + down, (mirrored ? width - 1 - x : x) + right]
          const inside = row >= 0 && row < height && place >= 0 && place < width
          const value = inside
            ? (images.bytes ?? (images.floats as Float32Array))[
                ((sample * channels + channel) * height + row) * width + place
              ]
            : 0
          pixels.push(value * (scales?.[channel] ?? 1) + (shifts?.[channel] ?? 0))
        }
    return pixels
  }

  for (const [channels, height, width, padding, batch] of [
    [1, 1, 1, 0, 3],
    [1, 5, 7, 2, 17],
    [2, 3, 5, 9, 33], // a frame wider than the image
    [3, 8, 16, 4, 32],
    [3, 9, 11, 4, 40],
    [1, 28, 28, 3, 48],
  ]) {
    const title =
      `cuts, flips and scales images by channel, everywhere: ${channels}x${height}x${width}, ` +
      `padding ${padding}, batch ${batch}`
    it(title, async () => {
      const count = Math.ceil(1.4 * batch)
      const length = count * channels * height * width
      const bytes = Uint8Array.from(numbers(length, 31, 0, 256))
      const scales = numbers(channels, 32, 0.01, 2)
      const shifts = numbers(channels, 33)
      const shape = { channels, height, width, padding, seed: 2 ** 40 + 7 }
      const sources: Images[] = [
        { bytes, flip: true, scales, shifts, ...shape },
        { floats: numbers(length, 34), flip: true, scales, shifts, ...shape },
        { bytes, flip: false, ...shape },
      ]
      for (const [i, images] of sources.entries()) {
        for (const place of places) {
          const batches = await gatherImages(at(place), images, batch, 2, 10)
          for (const [b, actual] of batches.entries()) {
            const samples = Array.from({ length: b === 0 ? batch : count - batch }, (_, c) => b * batch + c)
            const value = Float64Array.from(samples.flatMap((sample, column) => cut(images, sample, 10 + b, column)))
            expectClose(
              actual,
              { value, magnitude: value.map((v) => Math.abs(v) + 2) },
              `source ${i} at ${place}, batch ${b}`,
              4e-7,
            )
          }
        }
      }
      const scaled = sources[0] as Images
      await onAnyThreads((device) => gatherImages(device, scaled, batch, 2))
    })
  }

  it('scales by channel without an augmentation, and takes up a stream at any step with the same cuts', async () => {
    const bytes = Uint8Array.from(numbers(64 * 3 * 32 * 32, 41, 0, 256))
    const shape = { channels: 3, height: 32, width: 32, padding: 4, flip: true, seed: 3 }
    const scales = Float32Array.of(0.5, 2, 1)
    const shifts = Float32Array.of(-1, 0, 3)
    const whole = await gatherImages(cpu(), { bytes, scales, shifts, ...shape }, 32, 6)
    const rest = await gatherImages(cpu(), { bytes, scales, shifts, ...shape }, 32, 3, 3, 32)
    expect(rest).to.deep.equal(whole.slice(3))
    expect(whole[2]).to.not.deep.equal(whole[0]) // the same images one epoch later
    const plain = await everywhere((device) =>
      gatherImages(device, { bytes, scales, shifts, ...shape, padding: 0, flip: false }, 32, 1),
    )
    expect([...(plain[0] as Float32Array)]).to.deep.equal(
      [...bytes.subarray(0, 32 * 3072)].map((v, i) => v * scales[(i >> 10) % 3] + shifts[(i >> 10) % 3]),
    )
  })

  it('cuts at all places and flips alike often', async () => {
    // The image's one bright pixel is in its middle, so where it lands tells the cut; its neighbour on the right tells
    // the flip.
    const [side, padding, batch, steps] = [7, 1, 500, 12]
    const image = new Uint8Array(side * side)
    image[3 * side + 3] = 255
    image[3 * side + 4] = 100
    const bytes = new Uint8Array(batch * side * side)
    for (let i = 0; i < batch; ++i) bytes.set(image, i * side * side)
    const batches = await gatherImages(
      cpu(),
      { bytes, channels: 1, height: side, width: side, padding, flip: true, seed: 11 },
      batch,
      steps,
    )
    const seen = batches.flatMap((data) =>
      Array.from(
        { length: batch },
        (_, c) =>
          `${data.subarray(c * 49, c * 49 + 49).indexOf(255)} ${data.subarray(c * 49, c * 49 + 49).indexOf(100)}`,
      ),
    )
    const expected = new Map<string, number>()
    for (const y of [2, 3, 4])
      for (const x of [2, 3, 4])
        for (const beside of [-1, 1]) expected.set(`${7 * y + x} ${7 * y + x + beside}`, 1 / 18)
    expect(chiSquareTest(tally(seen), expected)).to.be.above(FALSE_ALARM)
  })

  it('brings labels into targets', async () => {
    await on(cpu(), async (w) => {
      const labels = Int32Array.from({ length: 71 }, (_, i) => 1000 + i)
      const order = orderOf(50, 71, 9)
      const targets = w.tensor('int32', 32)
      const program = w.program({ batch: 32 })
      program.record('gatherLabels', {
        labels: w.tensor('int32', labels),
        samples: 71,
        indices: w.tensor('int32', order),
        count: 50,
        targets,
      })
      await program.replay(1, { begin: { samples: 50 } })
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
          'channels that do not divide the features': [{ channels: 4 }, 'INVALID_ARGUMENT'],
          'scales without shifts': [{ scales: w.floats(1) }, 'INVALID_ARGUMENT'],
          'too few scales': [{ channels: 3, scales: w.floats(2), shifts: w.floats(3) }, 'INVALID_ARGUMENT'],
          'images of another size': [
            { augmentation: { height: 2, width: 2, padding: 0, flip: false, seed: 0 } },
            'INVALID_ARGUMENT',
          ],
          'images of other channels': [
            { channels: 2, augmentation: { height: 2, width: 3, padding: 0, flip: false, seed: 0 } },
            'INVALID_ARGUMENT',
          ],
          'a frame of less than nothing': [
            { augmentation: { height: 2, width: 3, padding: -1, flip: false, seed: 0 } },
            'INVALID_ARGUMENT',
          ],
          'an endless frame': [
            { augmentation: { height: 2, width: 3, padding: 65536, flip: false, seed: 0 } },
            'INVALID_ARGUMENT',
          ],
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
      const step = () => program.replay(1, { begin: { samples: 10 } })
      await step()
      expect([...(await output.read())]).to.deep.equal(new Array(48).fill(5))
      for (const index of [10, -1, 2 ** 31 - 1, -(2 ** 31)]) {
        await indices.write(Int32Array.of(0, 1, 2, index, 4, 5, 6, 7, 8, 9))
        const error = await expectRefusal(step, 'INVALID_ARGUMENT', `index ${index}`)
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
      program.record('gather', {
        bytes: w.tensor('uint8', 100),
        samples: 100,
        indices: w.tensor('int32', 64),
        count: 10,
        output: w.batch(1, 16),
      })
      const step = (samples: number) => () => program.replay(1, { begin: { samples } })
      await expectRefusal(step(11), 'INVALID_ARGUMENT', '11 samples of 10')
      await expectRefusal(step(0), 'INVALID_ARGUMENT', 'no stream, and 16 columns of 10')
      await step(10)()
    })
  })
})
