import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { dataset } from '../../lib/data/dataset.js'
import { csti, Device, type HebbError, load, mlp, sgd, staticSparse, type Topology, Trainer } from '../../lib/index.js'
import { addon } from '../../lib/native.js'
import { deserialise, serialise } from '../../lib/recipe.js'
import { cellsOf, expectRefusal, numbers, random, tally } from '../support.js'

interface Sample {
  x: Uint8Array | Float32Array
  samples: number
  features: number
}

/** Correlated features, some of them constant, some equal. */
function drawn(samples: number, features: number, bytes: boolean, seed: number): Sample {
  const next = random(seed)
  const x = bytes ? new Uint8Array(samples * features) : new Float32Array(samples * features)
  for (let s = 0; s < samples; ++s) {
    const hidden = Array.from({ length: 5 }, next)
    for (let f = 0; f < features; ++f) {
      const mixed = 0.6 * hidden[f % 5] + 0.4 * (f % 4 === 3 ? 1 - hidden[(f >> 2) % 5] : next())
      x[s * features + f] = f % 11 === 10 ? 7 : bytes ? Math.floor(255 * mixed) : 1000 + (f + 1) * mixed
    }
    if (features > 8) x[s * features + 8] = x[s * features + 2]
  }
  return { x, samples, features }
}

/** All pairs' correlations in double precision, the strongest first. */
function reference({ x, samples, features }: Sample): { first: number; second: number; r: number }[] {
  const mean = new Float64Array(features)
  for (let i = 0; i < x.length; ++i) mean[i % features] += x[i] / samples
  const column = Array.from({ length: features }, (_, f) =>
    Float64Array.from({ length: samples }, (_, s) => x[s * features + f] - mean[f]),
  )
  const dot = (a: Float64Array, b: Float64Array) => a.reduce((sum, v, i) => sum + v * b[i], 0)
  const constant = Array.from({ length: features }, (_, f) => x.every((v, i) => i % features !== f || v === x[f]))
  const pairs = []
  for (let first = 0; first < features; ++first) {
    for (let second = first + 1; second < features; ++second) {
      const r =
        constant[first] || constant[second]
          ? 0
          : dot(column[first], column[second]) /
            Math.sqrt(dot(column[first], column[first]) * dot(column[second], column[second]))
      pairs.push({ first, second, r })
    }
  }
  return pairs.sort((a, b) => Math.abs(b.r) - Math.abs(a.r))
}

describe('correlations of features', () => {
  for (const bytes of [true, false]) {
    for (const [samples, features] of [
      [1, 3],
      [2, 5],
      [17, 9],
      [1023, 12],
      [1025, 33],
      [3000, 131], // two tiles
      [130, 300],
    ]) {
      it(`are those of double precision: ${samples} samples of ${features} ${bytes ? 'bytes' : 'floats'}`, () => {
        const sample = drawn(samples, features, bytes, samples)
        const expected = reference(sample)
        const tolerance = bytes ? 1e-12 : 3e-6
        const known = new Map(expected.map(({ first, second, r }) => [first * features + second, r]))
        const all = addon.strongestPairs(sample.x, features, expected.length)
        // What is 0 in theory may be a rounding error in the reference.
        for (const [i, r] of all.correlation.entries()) {
          const [first, second] = [all.first[i], all.second[i]]
          expect(first, 'first').to.be.below(second)
          expect(
            Math.abs(r - (known.get(first * features + second) as number)),
            `pair ${first}, ${second}`,
          ).to.be.below(tolerance)
          expect(Math.abs(r)).to.be.at.most(i === 0 ? 1 : Math.abs(all.correlation[i - 1]))
        }
        expect(new Set(Array.from(all.first, (f, i) => f * features + all.second[i])).size).to.equal(all.first.length)
        for (const { first, second, r } of expected) {
          if (Math.abs(r) > tolerance) continue
          known.delete(first * features + second)
        }
        expect(all.first.length).to.be.within(known.size, expected.length)
        for (const count of [0, 1, 7, 40]) {
          const some = addon.strongestPairs(sample.x, features, count)
          expect([...some.first]).to.deep.equal([...all.first.subarray(0, count)])
          expect([...some.second]).to.deep.equal([...all.second.subarray(0, count)])
        }
      })
    }
  }

  it('of features without variance, or of one alone, are none', () => {
    expect(addon.strongestPairs(new Uint8Array(60).fill(3), 6, 100).first.length).to.equal(0)
    expect(addon.strongestPairs(new Float32Array(60).fill(0.1), 6, 100).first.length).to.equal(0)
    expect(addon.strongestPairs(Uint8Array.of(1, 2, 3), 1, 100).first.length).to.equal(0)
  })

  it('take whole samples of bytes or floats', async () => {
    await expectRefusal(() => addon.strongestPairs(new Uint8Array(7), 3, 1), 'INVALID_ARGUMENT', 'a part of a sample')
    await expectRefusal(() => addon.strongestPairs(new Uint8Array(0), 3, 1), 'INVALID_ARGUMENT', 'no sample')
    await expectRefusal(
      () => addon.strongestPairs(new Int16Array(3) as unknown as Uint8Array, 3, 1),
      'INVALID_ARGUMENT',
      'integers',
    )
  })
})

describe('csti', () => {
  const sample = drawn(500, 24, true, 3)
  const data = dataset({ x: sample.x, y: new Uint8Array(500), shape: [24], classes: 2 })
  const ranked = reference(sample)

  for (const [tall, wide] of [
    [1, 1],
    [2, 1],
    [2, 2],
    [1, 3],
  ]) {
    it(`links the most correlated features, in all tiles: ${tall} x ${wide}`, () => {
      const [rows, cols] = [24 * tall, 24 * wide]
      const cellsOfPair = 2 * tall * wide
      for (const links of [0, 1, cellsOfPair, 10 * cellsOfPair, 37 * cellsOfPair - 1]) {
        const made = csti({ data }).generate({ rows, cols, links, seed: 1, layer: 0 })
        expect(made.columnIndices.length).to.equal(links)
        const linked = tally(
          cellsOf({ rows, cols, ...made }).map((cell) => {
            const [a, b] = [Math.floor(cell / cols) % 24, (cell % cols) % 24]
            return Math.min(a, b) * 24 + Math.max(a, b)
          }),
        )
        const whole = Math.floor(links / cellsOfPair)
        for (const { first, second } of ranked.slice(0, whole))
          expect(linked.get(first * 24 + second), `${first}, ${second}`).to.equal(cellsOfPair)
        const rest = links - whole * cellsOfPair
        if (rest) expect(linked.get(ranked[whole].first * 24 + ranked[whole].second)).to.equal(rest)
        expect(linked.size).to.equal(Math.ceil(links / cellsOfPair))
      }
    })
  }

  it('is the same for the same seed, and takes another part of the last pair for another', () => {
    const start = { rows: 48, cols: 48, links: 12, layer: 0 }
    const made = (seed: number) => csti({ data }).generate({ ...start, seed })
    expect(made(5)).to.deep.equal(made(5))
    expect(new Set(Array.from({ length: 20 }, (_, seed) => String(made(seed).columnIndices))).size).to.be.above(1)
  })

  it('puts links that exceed the correlations anywhere, by the seed', () => {
    // The third is constant.
    const few = dataset({ x: Uint8Array.of(1, 1, 5, 2, 3, 5, 3, 2, 5), y: [0, 1, 0], shape: [3] })
    const made = (links: number, seed: number) =>
      cellsOf({ rows: 3, cols: 3, ...csti({ data: few }).generate({ rows: 3, cols: 3, links, seed, layer: 0 }) })
    expect(made(2, 0)).to.deep.equal([1, 3])
    const drawn = Array.from({ length: 300 }, (_, seed) => made(3, seed))
    for (const cells of drawn) expect(cells).to.include.members([1, 3])
    // The third link takes each of the other places; missing one has probability 7 (6/7)^300.
    expect(new Set(drawn.map(String)).size).to.equal(7)
    expect(made(9, 0)).to.deep.equal([0, 1, 2, 3, 4, 5, 6, 7, 8])
  })

  it('refuses other widths, and data that are none', async () => {
    const error = await expectRefusal(
      () => csti({ data }).generate({ rows: 30, cols: 24, links: 5, seed: 0, layer: 0 }),
      'INVALID_ARGUMENT',
      'width 30',
    )
    expect(error.message).to.match(/multiples of the 24 features of dataset, for csti\(\), got 24 -> 30/)
    await expectRefusal(
      () => csti({ data }).generate({ rows: 24, cols: 24, links: 577, seed: 0, layer: 0 }),
      'INVALID_ARGUMENT',
      'too many links',
    )
    // @ts-expect-error data are needed
    await expectRefusal(() => csti({}), 'INVALID_ARGUMENT', 'no data')
    // @ts-expect-error data are needed
    await expectRefusal(() => csti(), 'INVALID_ARGUMENT', 'no options')
    const moved = dataset({ x: sample.x.slice(), y: new Uint8Array(500), shape: [24], classes: 2 })
    const topology = csti({ data: moved })
    structuredClone(moved.x, { transfer: [moved.x.buffer as ArrayBuffer] })
    await expectRefusal(
      () => topology.generate({ rows: 24, cols: 24, links: 5, seed: 0, layer: 0 }),
      'INVALID_ARGUMENT',
      'data that were transferred',
    )
  })

  const title =
    "draws a model's layers on the device's thread as it draws them at once, though the data are transferred meanwhile"
  it(title, async () => {
    const own = dataset({ x: sample.x.slice(), y: new Uint8Array(500), shape: [24], classes: 2 })
    const model = mlp({ widths: [24, 48, 48, 2], density: 0.1, seed: 7 })
    using trainer = new Trainer(model, {
      optimizer: sgd({ learningRate: 0.1 }),
      dst: staticSparse({ topology: csti({ data: own }) }),
      device: 'cpu',
    })
    structuredClone(own.x, { transfer: [own.x.buffer as ArrayBuffer] })
    await trainer.measures()
    for (const { matrix, layer } of model.sparse) {
      const { rows, cols } = matrix
      const links = Math.round(0.1 * rows * cols)
      expect(await matrix.read(), `layer ${layer}`).to.deep.equal(
        csti({ data }).generate({ rows, cols, links, seed: 7, layer }),
      )
    }
  })

  it('is restored from a checkpoint without its data, and says so when it is asked to draw', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'hebb-'))
    try {
      const file = join(folder, 'csti.safetensors')
      const make = () =>
        new Trainer(mlp({ widths: [24, 24, 2], density: 0.2, topology: csti({ data }) }), {
          optimizer: sgd({ learningRate: 0.1 }),
          device: 'cpu',
        })
      using trainer = make()
      await trainer.save(file)
      using loaded = await Trainer.load(file, { device: 'cpu' })
      expect(await loaded.model.sparse[0].matrix.read()).to.deep.equal(await trainer.model.sparse[0].matrix.read())
      using predictor = await load(file, { device: 'cpu' })
      expect(await predictor.predict(numbers(24, 1))).to.deep.equal(await trainer.predict(numbers(24, 1)))
      const again = deserialise(serialise(csti({ data }), 'topology')) as Topology
      const error = await expectRefusal(
        () => again.generate({ rows: 24, cols: 24, links: 5, seed: 0, layer: 0 }),
        'INVALID_ARGUMENT',
        'no data',
      )
      expect(error.message).to.match(/csti\(\{ data \}\)/)
    } finally {
      await rm(folder, { recursive: true })
    }
  })

  it('stops at an AbortSignal', async () => {
    const wide = dataset({
      x: new Uint8Array(numbers(4000 * 2000, 1, 0, 256).buffer).subarray(0, 4000 * 2000),
      y: new Uint8Array(4000),
      shape: [2000],
      classes: 2,
    })
    using device = new Device({ kind: 'cpu', threads: 1 })
    using trainer = new Trainer(mlp({ widths: [2000, 2000, 2], density: 0.01 }), {
      optimizer: sgd({ learningRate: 0.1 }),
      dst: staticSparse({ topology: csti({ data: wide }) }),
      device,
    })
    const start = performance.now()
    const abort = new AbortController()
    setTimeout(() => abort.abort(), 20)
    try {
      await trainer.predict(new Float32Array(2000), { signal: abort.signal })
    } catch (error) {
      expect((error as HebbError).code).to.equal('ABORTED')
    }
    trainer.dispose()
    expect(performance.now() - start).to.be.below(5000)
  })
})
