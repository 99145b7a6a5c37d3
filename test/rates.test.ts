import { expect } from 'chai'
import {
  byDensity,
  chtss,
  constantRate,
  cosineDecay,
  dips,
  inoam,
  linearDecay,
  mlp,
  noam,
  type Rate,
  type RatePoint,
  recovering,
  sgd,
  stepDecay,
  Trainer,
  updateSchedule,
} from '../lib/index.js'
import { all, error, state, train, widths } from './training.js'

const at = (step: number, more: Partial<RatePoint> = {}): RatePoint => ({
  step,
  steps: 1000,
  epoch: Math.floor(step / 100),
  epochs: 10,
  stepsSinceUpdate: step % 50,
  density: 0.1,
  ...more,
})

describe('rates', () => {
  const cases: [name: string, rate: Rate, values: [point: RatePoint, value: number][]][] = [
    ['constant', constantRate(0.3), [[at(7), 0.3]]],
    [
      'linear, by the epoch',
      linearDecay({ from: 1, to: 0.1, over: 0.5 }),
      [
        [at(0), 1],
        [at(199), 0.82],
        [at(200), 0.64],
        [at(999), 0.1],
      ],
    ],
    [
      'stepDecay',
      stepDecay({ from: 1, at: [0.5, 0.75] }),
      [
        [at(499), 1],
        [at(500), 0.1],
        [at(750), 0.01],
      ],
    ],
    [
      'cosineDecay',
      cosineDecay({ from: 1, to: 0.1, warmup: 10 }),
      [
        [at(0), 0.1],
        [at(9), 1],
        [at(10), 1],
        [at(505), 0.55], // half of the 990 steps after the warm-up
        [at(1000), 0.1],
        [at(5000), 0.1],
        [at(77, { steps: Number.POSITIVE_INFINITY }), 1],
      ],
    ],
    [
      'cosineDecay that begins again',
      cosineDecay({ from: 1, cycles: 4 }),
      [
        [at(0), 1],
        [at(125), 0.5],
        [at(250), 1],
        [at(875), 0.5],
        [at(1000), 0],
      ],
    ],
    [
      'noam',
      noam({ width: 64, warmup: 100, factor: 2 }),
      [
        [at(0), 2 * 0.125 * 1e-3],
        [at(99), 2 * 0.125 * 0.1],
        [at(399), 2 * 0.125 * 0.05],
      ],
    ],
    [
      'inoam',
      inoam({ width: 64, warmup: 100 }),
      [
        [at(9), 0.125 * 10e-3 * 0.5],
        [at(49), 0.125 * 50e-3],
        [at(99), 0], // t = 100
        [at(399 + 10), 0.125 * 410 ** -0.5 * 0.5],
      ],
    ],
    [
      'dips of another rate',
      dips(stepDecay({ from: 1, at: [0.5] }), { period: 10, rise: 4 }),
      [
        [at(0), 0.25],
        [at(3), 1],
        [at(9), 0],
        [at(501), 0.05],
      ],
    ],
    [
      'recovering',
      recovering(0.4, { rise: 4 }),
      [
        [at(50), 0.1],
        [at(52), 0.3],
        [at(60), 0.4],
      ],
    ],
    [
      'byDensity',
      byDensity(0.005, { target: 0.1 }),
      [
        [at(0, { density: 0.5 }), 0.001],
        [at(0), 0.005],
      ],
    ],
  ]
  for (const [name, rate, values] of cases) {
    it(`${name}`, () => {
      for (const [point, value] of values) expect(rate(point), `step ${point.step}`).to.be.closeTo(value, 1e-15)
    })
  }

  const trainerOf = (learningRate: Rate | number) =>
    new Trainer(mlp({ widths, density: 0.1, seed: 3 }), {
      optimizer: sgd({ learningRate, momentum: 0.9 }),
      dst: chtss({ updates: updateSchedule({ every: 7, fraction: 0.3 }) }),
      device: 'cpu',
    })

  it('are asked for every step, with the steps since the update and the density at it', async () => {
    const points: RatePoint[] = []
    using trainer = trainerOf((point) => {
      points.push(point)
      return 0.05
    })
    await all(trainer.fit(train, { epochs: 3, batchSize: 40 }))
    expect(points.map(({ step }) => step)).to.deep.equal(Array.from({ length: 30 }, (_, i) => i))
    expect(points.map(({ epoch }) => epoch)).to.deep.equal(Array.from({ length: 30 }, (_, i) => Math.floor(i / 10)))
    expect(points.every(({ steps, epochs }) => steps === 30 && epochs === 3)).to.equal(true)
    // Updates before steps 7, 14 and 21; the last one is made within the first 75% of the steps.
    expect(points.map(({ stepsSinceUpdate }) => stepsSinceUpdate)).to.deep.equal(
      Array.from({ length: 30 }, (_, i) => (i < 21 ? i % 7 : i - 21)),
    )
    const densities = [0, 7, 14, 21].map((step) => (points[step] as RatePoint).density)
    expect(densities).to.deep.equal([...densities].sort((a, b) => b - a))
    expect(densities[0]).to.be.above(0.3)
    expect(densities[3]).to.be.closeTo(0.1, 0.001)
    for (const { step, density } of points) expect(density).to.equal(densities[Math.min(3, Math.floor(step / 7))])
  })

  it('of the step are those of the epoch where they say the same', async () => {
    const results = []
    for (const rate of [
      ({ epoch }: RatePoint) => 0.05 / (1 + epoch),
      ({ step }: RatePoint) => (step < 10 ? 0.05 : 0.025),
    ]) {
      using trainer = trainerOf(rate)
      const epochs = await all(trainer.fit(train, { epochs: 2, batchSize: 40 }))
      expect(epochs.map(({ learningRate }) => learningRate)).to.deep.equal([0.05, 0.025])
      results.push(await state(trainer))
    }
    expect(results[0]).to.deep.equal(results[1])
  })

  it('reach the step that they are for', async () => {
    using trainer = trainerOf(({ step }) => (step === 17 ? 1e30 : 0.05))
    const { message } = await error(() => all(trainer.fit(train, { epochs: 3, batchSize: 40 })))
    expect(message).to.match(/step 18 \(epoch 2\)/)
  })

  it('count the steps of batches of your own', async () => {
    const points: RatePoint[] = []
    using trainer = trainerOf((point) => {
      points.push(point)
      return 0.05
    })
    const batch = { x: Float32Array.from(train.x.subarray(0, 48)), y: [1] }
    await trainer.trainOn(batch)
    await trainer.trainOn(batch)
    expect(points.map(({ step, steps, epoch }) => [step, steps, epoch])).to.deep.equal([
      [0, Number.POSITIVE_INFINITY, 0],
      [1, Number.POSITIVE_INFINITY, 0],
    ])
    trainer.plan({ epochs: 5, stepsPerEpoch: 2 })
    await trainer.trainOn(batch)
    expect(points[2]).to.include({ step: 2, steps: 10, epoch: 1, epochs: 5 })
  })

  const refusals: [() => unknown, RegExp][] = [
    [() => cosineDecay({ from: -1 }), /Expected from to be a number of at least 0, got -1/],
    [() => cosineDecay({ from: 1, warmup: 0.5 }), /warmup/],
    [() => cosineDecay({ from: 1, cycles: 0 }), /cycles/],
    [() => stepDecay({ from: 1, at: 0.5 as unknown as number[] }), /Expected at to be shares of the run/],
    [() => stepDecay({ from: 1, at: [2] }), /a share in at/],
    [() => noam({ width: 0, warmup: 1 }), /width/],
    [() => dips(0.1, { period: 0, rise: 1 }), /period/],
    [() => recovering('x' as unknown as number, { rise: 1 }), /Expected learningRate to be a number or a schedule/],
    [() => byDensity(0.1, { target: 0 }), /target/],
  ]
  it('refuse what makes no rate', async () => {
    for (const [make, message] of refusals) expect((await error(make)).message).to.match(message)
    using trainer = trainerOf(({ step }) => (step === 4 ? Number.NaN : 0.05))
    const before = (await error(() => all(trainer.fit(train, { epochs: 1, batchSize: 40 })))).message
    expect(before).to.match(/Expected learningRate in step 4 to be a number of at least 0, got NaN/)
    expect(trainer.step).to.equal(0)
  })
})
