import { expect } from 'chai'
import { Tape, type Value } from '../../lib/autograd.js'
import type { Device } from '../../lib/device.js'
import { Rotary, rotate as rotateOnTape } from '../../lib/nn/rotary.js'
import { Program } from '../../lib/program.js'
import type { Activations } from '../../lib/tensor.js'
import { numericalGradient } from '../reference.js'
import {
  at,
  columnsOf,
  cpu,
  everywhere,
  expectNear,
  expectOnlyGoodOperands,
  expectRefusal,
  numbers,
  on,
  onAnyThreads,
  places,
} from '../support.js'

/** Of all columns, [columns][features of a head]: cosines, and behind them sines. */
function anglesOf(columns: number, half: number): Float32Array {
  const angles = numbers(columns * half, 9, -3, 3)
  return Float32Array.from({ length: columns * 2 * half }, (_, i) => {
    const [c, k] = [Math.floor(i / (2 * half)), i % (2 * half)]
    const angle = angles[c * half + (k % half)]
    return k < half ? Math.cos(angle) : Math.sin(angle)
  })
}

/** In double precision, [columns][features]. */
function reference(x: ArrayLike<number>, angles: ArrayLike<number>, features: number, heads: number, back = false) {
  const half = features / heads / 2
  const y = new Float64Array(x.length)
  for (let c = 0; c < x.length / features; ++c) {
    for (let pair = 0; pair < features / 2; ++pair) {
      const first = c * features + Math.floor(pair / half) * 2 * half + (pair % half)
      const cosine = angles[c * 2 * half + (pair % half)]
      const sine = angles[c * 2 * half + half + (pair % half)] * (back ? -1 : 1)
      y[first] = x[first] * cosine - x[first + half] * sine
      y[first + half] = x[first + half] * cosine + x[first] * sine
    }
  }
  return y
}

type Shape = readonly [heads: number, half: number, batch: number]

/** Turned, turned back and added to ones, and turned in place. */
function rotate(device: Device, [heads, half, batch]: Shape, columns: number) {
  return on(device, async (w) => {
    const features = heads * 2 * half
    const x = numbers(columns * features, 1)
    const angles = w.batch(2 * half, batch, anglesOf(columns, half))
    const [input, inPlace] = [w.batch(features, batch, x, 7), w.batch(features, batch, x, 7)]
    const output = w.batch(features, batch)
    const added = w.batch(features, batch, new Float32Array(columns * features).fill(1))
    await w.run(
      [
        ['rotate', { input, output, angles, heads }],
        ['rotate', { input, output: added, angles, heads, back: true, accumulate: true }],
        ['rotate', { input: inPlace, output: inPlace, angles, heads }],
      ],
      { batch, columns },
    )
    return {
      x,
      y: await output.read(columns),
      added: await added.read(columns),
      inPlace: await inPlace.read(columns),
    }
  })
}

const shapes: readonly Shape[] = [
  [1, 1, 1],
  [3, 1, 5],
  [2, 3, 33],
  [4, 8, 129],
  [1, 40, 17],
]

describe('rotate', () => {
  for (const shape of shapes) {
    const [heads, half, batch] = shape
    it(`turns pairs of features as double precision does, with the same bits: ${shape.join(' x ')}`, async () => {
      const features = heads * 2 * half
      for (const columns of columnsOf(batch)) {
        const { x, y, added, inPlace } = await everywhere((device) => rotate(device, shape, columns))
        const angles = anglesOf(columns, half)
        expectNear(y, reference(x, angles, features, heads), `${columns} columns`, 1e-6)
        const back = reference(x, angles, features, heads, true).map((v) => v + 1)
        expectNear(added, back, `${columns} columns, back and added`, 1e-6)
        expect([...inPlace]).to.deep.equal([...y])
      }
    })
  }

  it('has the same bits on any number of threads', async () => {
    await onAnyThreads((device) => rotate(device, [4, 16, 300], 290))
  })

  it('refuses operands that do not fit', async () => {
    await on(cpu(), async (w) => {
      const program = w.program({ batch: 8 })
      const good = { input: w.batch(12, 8), output: w.batch(12, 8), angles: w.batch(6, 8), heads: 2 }
      await expectOnlyGoodOperands(program, 'rotate', good, {
        'other features': [{ output: w.batch(10, 8) }, 'INVALID_ARGUMENT'],
        'angles of another head': [{ angles: w.batch(4, 8) }, 'INVALID_ARGUMENT'],
        'no head': [{ heads: 0 }, 'INVALID_ARGUMENT'],
      })
      const odd = { ...good, heads: 4, angles: w.batch(3, 8) }
      const error = await expectRefusal(() => program.record('rotate', odd), 'INVALID_ARGUMENT', 'heads of 3 features')
      expect(error.message).to.contain('heads that share out the 12 features in pairs, got 4')
    })
  })

  for (const place of places) {
    it(`turns tokens by their places, and has the gradients that differences have: ${place}`, async () => {
      await on(at(place, 2), async (w) => {
        const [heads, headFeatures, base] = [2, 6, 100]
        const [features, half] = [heads * headFeatures, headFeatures / 2]
        const positions = Int32Array.of(0, 1, 2, 3, 0, 1, 0, 1, 2)
        const columns = positions.length
        const x = Float64Array.from(numbers(columns * features, 1))
        const dy = numbers(columns * features, 2)
        const program = w.own(new Program(w.device, { batch: columns }))
        const tape = w.own(new Tape(program, { training: true }))
        const rotary = w.own(new Rotary(w.device, headFeatures, { places: 4, base }))
        const input: Value = { activations: w.batch(features, columns, x), needsGradient: true }
        const angles = rotary.angles(tape, { positions: w.tensor('int32', positions) } as never)
        const turned = rotateOnTape(tape, input, angles, heads)
        const gradient = tape.gradient(turned)?.gradient as Activations
        program.record('add', { first: w.batch(features, columns, dy), output: gradient })
        tape.backward()
        const ofInput = tape.gradient(input)?.gradient as Activations
        for (const kept of [turned.activations, ofInput]) program.keep(kept)
        await program.replay(1)
        const expected = Float64Array.from({ length: columns * headFeatures }, (_, i) => {
          const [c, k] = [Math.floor(i / headFeatures), i % headFeatures]
          const angle = positions[c] / base ** ((k % half) / half)
          return k < half ? Math.cos(angle) : Math.sin(angle)
        })
        expectNear(await turned.activations.read(), reference(x, expected, features, heads), 'output', 1e-6)
        const loss = () => reference(x, expected, features, heads).reduce((sum, v, i) => sum + v * dy[i], 0)
        expectNear(await ofInput.read(), numericalGradient(loss, x), 'gradient', 1e-5)
      })
    })
  }
})
