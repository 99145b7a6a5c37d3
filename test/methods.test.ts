/**
 * What an update of each method does to a layer, link by link, and the step after it, against a reference in double
 * precision.
 */
import { expect } from 'chai'
import {
  gmp,
  granet,
  type Method,
  magnitude,
  magnitudeAndGradient,
  mest,
  method,
  random as randomLinks,
  rigl,
  Sequential,
  SparseLinear,
  set,
  sgd,
  Trainer,
  updateSchedule,
} from '../lib/index.js'
import { byRow, cellsOf, everywhere, linksOf, random } from './support.js'

const [inputs, outputs, samples, rate] = [37, 11, 25, 0.1]
const [epochs, stepsPerEpoch, density] = [4, 6, 0.2]

const next = random(5)
const x = Float32Array.from({ length: inputs * samples }, () => 2 * next() - 1)
const y = Int32Array.from({ length: samples }, () => Math.floor(outputs * next()))

/** The layer: weights by cell (row x inputs + column), and biases. */
interface Layer {
  readonly weights: Map<number, number>
  readonly biases: ArrayLike<number>
}

/** dLoss/dW of all cells, links or not: the mean over the batch of (softmax - one-hot) x. */
function denseGradient({ weights, biases }: Layer): Float64Array {
  const gradient = new Float64Array(inputs * outputs)
  for (let s = 0; s < samples; ++s) {
    const logits = Array.from(biases)
    for (const [cell, w] of weights) logits[Math.floor(cell / inputs)] += w * x[s * inputs + (cell % inputs)]
    const sum = logits.reduce((total, v) => total + Math.exp(v), 0)
    for (let r = 0; r < outputs; ++r) {
      const d = (Math.exp(logits[r]) / sum - Number(r === y[s])) / samples
      for (let c = 0; c < inputs; ++c) gradient[r * inputs + c] += d * x[s * inputs + c]
    }
  }
  return gradient
}

async function layerOf(trainer: Trainer): Promise<Layer> {
  const csr = await linksOf(trainer, 0)
  const [sparse] = trainer.model.sparse
  const values = byRow(csr, await sparse.values.read(csr.columnIndices.length))
  const bias = trainer.model.parameters.find((parameter) => parameter !== sparse)
  return {
    weights: new Map(cellsOf(csr).map((cell, k) => [cell, values[k]])),
    biases: (await bias?.values.read(outputs)) as Float32Array,
  }
}

/** The `count` cells with the highest scores. */
const best = (cells: Iterable<number>, score: (cell: number) => number, count: number) =>
  Array.from(cells)
    .sort((a, b) => score(b) - score(a))
    .slice(0, count)

interface Case {
  readonly dst: () => Method
  /** What removal ranks links by, of weight and gradient; pruning to a falling density ranks by the same. */
  readonly importance?: (w: number, g: number) => number
  /** Weight decay: links that stay get weaker than pruned ones were. */
  readonly decay?: number
  readonly grows: 'gradient' | 'random' | 'nothing' | 'what was pruned'
}

const cases: Record<string, Case> = {
  set: { dst: set, grows: 'random' },
  rigl: { dst: rigl, grows: 'gradient' },
  granet: { dst: granet, grows: 'gradient' },
  gmp: { dst: gmp, decay: 1, grows: 'what was pruned' },
  'gmp, without historical weights': { dst: () => gmp({ prune: magnitude() }), grows: 'nothing' },
  mest: { dst: mest, importance: (w, g) => Math.abs(w) + 0.01 * Math.abs(g), grows: 'random' },
  'mest, with the gradient before all': {
    dst: () => mest({ prune: magnitudeAndGradient({ share: 50 }), remove: magnitudeAndGradient({ share: 50 }) }),
    importance: (w, g) => Math.abs(w) + 50 * Math.abs(g),
    grows: 'random',
  },
  'a density schedule and a fraction of its own': {
    dst: () =>
      method({
        name: 'thinner',
        density: {
          name: 'thinner',
          initial: (target) => 2 * target,
          most: (target) => 2 * target,
          schedule:
            ({ target }) =>
            (c) =>
              target * (1 + 1 / (1 + c)),
        },
        remove: magnitude(),
        regrow: randomLinks(),
        updates: updateSchedule({ fraction: ({ density, target }) => (density - target) / 2, until: 1 }),
      }),
    grows: 'random',
  },
}

describe('an update', () => {
  for (const [name, { dst: create, importance = Math.abs, decay = 0, grows }] of Object.entries(cases)) {
    it(`${name}: keeps, removes and grows the links that it should, new ones from zero`, async () => {
      await everywhere(async (device) => {
        const dst = create()
        const model = new Sequential([new SparseLinear({ inFeatures: inputs, outFeatures: outputs, density })], {
          seed: 2,
        })
        using trainer = new Trainer(model, { optimizer: sgd({ learningRate: rate, weightDecay: decay }), dst, device })
        trainer.plan({ epochs, stepsPerEpoch })
        const lastStep = (dst.updates?.until ?? 0) * epochs * stepsPerEpoch
        const updates = Math.min(lastStep / stepsPerEpoch, epochs - 1)
        const schedule = dst.density.schedule({ target: density, updates })
        const historical = new Map<number, number>()
        let returned = 0
        for (let step = 0; step <= updates * stepsPerEpoch; ++step) {
          if (step === 0 || step % stepsPerEpoch !== 0) {
            await trainer.trainOn({ x, y })
            continue
          }
          const update = step / stepsPerEpoch
          const before = await layerOf(trainer)
          const gradient = denseGradient(before)
          expect(before.weights.size).to.equal(Math.round(schedule(update - 1) * inputs * outputs))
          await trainer.trainOn({ x, y })
          const after = await layerOf(trainer)

          const share = schedule(update)
          const target = Math.round(share * inputs * outputs)
          const zeta = dst.updates?.fraction({ step, lastStep, density: share, target: density }) ?? 0
          if (grows === 'what was pruned') for (const [cell, w] of before.weights) historical.set(cell, w)
          const candidates = grows === 'what was pruned' ? historical : before.weights
          const kept = best(
            candidates.keys(),
            (cell) => importance(candidates.get(cell) as number, gradient[cell]),
            target - Math.floor(zeta * target),
          )
          returned += kept.filter((cell) => !before.weights.has(cell)).length
          const where = `update ${update}`
          expect(after.weights.size, where).to.equal(target)
          for (const cell of kept) expect(after.weights.has(cell), `${where} keeps ${cell}`).to.equal(true)
          const grown = Array.from(after.weights.keys()).filter((cell) => !kept.includes(cell))
          if (grows === 'nothing' || grows === 'what was pruned') expect(grown, where).to.deep.equal([])
          else if (update < updates) expect(grown.length, where).to.be.above(0)
          if (grows === 'gradient') {
            const missing = Array.from(gradient.keys()).filter((cell) => !kept.includes(cell))
            const expected = best(missing, (cell) => Math.abs(gradient[cell]), target - kept.length)
            expect(grown.sort(), where).to.deep.equal(expected.sort())
          }

          // The step that follows, from the links that stayed or returned as they were and from new ones at zero.
          const between = {
            weights: new Map(Array.from(after.weights.keys(), (cell) => [cell, candidates.get(cell) ?? 0])),
            biases: before.biases,
          }
          const slope = denseGradient(between)
          for (const [cell, w] of after.weights) {
            const was = between.weights.get(cell) as number
            expect(w, `${where}, weight ${cell}`).to.be.closeTo(was - rate * (slope[cell] + decay * was), 1e-6)
          }
        }
        expect(returned > 0, `${returned} links returned`).to.equal(grows === 'what was pruned')
        return []
      })
    })
  }
})
