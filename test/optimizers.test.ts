/**
 * Optimizers over whole small runs, beside a plain reference in double precision: groups of parameters by name, and the
 * step that each takes.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import {
  type AdamOptions,
  adam,
  chts,
  chtss,
  LayerNorm,
  Linear,
  linearDecay,
  type Method,
  mlp,
  type Optimizer,
  Relu,
  rigl,
  Sequential,
  type SgdOptions,
  SparseLinear,
  SparseParameter,
  set,
  sgd,
  Trainer,
} from '../lib/index.js'
import { cscSlots, inRowOrder, type PlainCsr } from '../lib/tensor.js'
import { namedParameters } from '../lib/train/checkpoint.js'
import * as reference from './reference.js'
import { at, numbers, places, randomCsr } from './support.js'
import { all, error, state, train, widths } from './training.js'

/** Two sparse layers and a dense one. */
const layers: readonly PlainCsr[] = [randomCsr(9, 7, 30, 1), randomCsr(8, 9, 25, 2), reference.fullCsr(3, 8)]
const columns = 6
const begins = layers.map((csr, i) => ({
  values: numbers(csr.columnIndices.length, 10 + i),
  bias: numbers(csr.rows, 20 + i),
}))
const batchAt = (step: number) => ({
  x: numbers(columns * 7, 100 + step),
  y: Int32Array.from(numbers(columns, 200 + step, 0, 3)),
})

function network(): Sequential {
  const modules = layers.map((csr, i) => {
    const shape = { inFeatures: csr.cols, outFeatures: csr.rows }
    if (i === 2) {
      const last = new Linear(shape)
      last.setWeights(begins[i])
      return last
    }
    const layer = new SparseLinear({ ...shape, density: csr.columnIndices.length / (csr.rows * csr.cols) })
    layer.setWeights({ links: csr, ...begins[i] })
    return layer
  })
  return new Sequential([modules[0], new Relu(), modules[1], new Relu(), modules[2]])
}

/** A parameter's numbers, and what an optimizer keeps for it. */
interface Kept {
  readonly values: Float64Array
  readonly first: Float64Array
  readonly second: Float64Array
  steps: number
}

/** One step of an optimizer on parameters whose gradients are known. */
type Step = (name: string, kept: Kept, gradient: Float64Array) => void

const sgdStep =
  (numbersOf: (name: string) => Omit<SgdOptions, 'learningRate'> & { learningRate: number }): Step =>
  (name, { values, first }, gradient) => {
    const { learningRate, momentum = 0, weightDecay = 0 } = numbersOf(name)
    for (const [i, w] of values.entries()) {
      first[i] = momentum * first[i] + gradient[i] + weightDecay * w
      values[i] -= learningRate * first[i]
    }
  }

const adamStep =
  (numbersOf: (name: string) => AdamOptions): Step =>
  (name, kept, gradient) => {
    const options = numbersOf(name)
    const { beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weightDecay = 0, decoupled = false } = options
    const learningRate = (options.learningRate ?? 1e-3) as number
    const { values, first, second } = kept
    const t = ++kept.steps
    for (const [i, w] of values.entries()) {
      const g = gradient[i] + (decoupled ? 0 : weightDecay * w)
      first[i] = beta1 * first[i] + (1 - beta1) * g
      second[i] = beta2 * second[i] + (1 - beta2) * g * g
      if (decoupled) values[i] -= learningRate * weightDecay * w
      values[i] -= (learningRate * (first[i] / (1 - beta1 ** t))) / (Math.sqrt(second[i] / (1 - beta2 ** t)) + epsilon)
    }
  }

const STEPS = 40

interface Clipped {
  readonly clipNorm?: number
  readonly isFrozen?: (name: string) => boolean
}

/** What the network's parameters are after a run, by name. */
function expected(step: Step, { clipNorm = Number.POSITIVE_INFINITY, isFrozen = () => false }: Clipped = {}) {
  const all = new Map<string, Kept>()
  for (const [i, { values, bias }] of begins.entries())
    for (const [name, start] of Object.entries({ weights: values, bias })) {
      const zeros = () => new Float64Array(start.length)
      all.set(`modules.${2 * i}.${name}`, {
        values: Float64Array.from(start),
        first: zeros(),
        second: zeros(),
        steps: 0,
      })
    }
  const parameter = (i: number, name: string) => all.get(`modules.${2 * i}.${name}`) as Kept
  for (let n = 0; n < STEPS; ++n) {
    const { x, y } = batchAt(n)
    const inputs: reference.Numbers[] = [x]
    for (const [i, csr] of layers.entries()) {
      const [w, b] = [parameter(i, 'weights').values, parameter(i, 'bias').values]
      inputs.push(reference.forward(csr, w, b, inputs[i], columns, i < 2 ? 'relu' : 'none').value)
    }
    let dy = reference.softmaxCrossEntropy(inputs[3], y, 3, columns).gradient
    const gradients = new Map<string, Float64Array>()
    for (let i = layers.length - 1; i >= 0; --i) {
      const { values, bias } = reference.gradients(layers[i], dy, inputs[i], columns)
      gradients.set(`modules.${2 * i}.weights`, values.value).set(`modules.${2 * i}.bias`, bias.value)
      const w = parameter(i, 'weights').values
      if (i > 0) dy = reference.backward(layers[i], w, dy, columns, { input: inputs[i] }).value
    }
    for (const name of gradients.keys()) if (isFrozen(name)) gradients.delete(name)
    const norm = Math.sqrt([...gradients.values()].flatMap((g) => [...g]).reduce((sum, g) => sum + g * g, 0))
    const scale = Math.min(1, clipNorm / norm)
    for (const [name, gradient] of gradients)
      step(
        name,
        all.get(name) as Kept,
        gradient.map((g) => g * scale),
      )
  }
  return new Map([...all].map(([name, { values }]) => [name, values]))
}

/** The network after a run on a device, by row. */
async function trained(optimizer: Optimizer, place: string): Promise<Map<string, Float32Array>> {
  using trainer = new Trainer(network(), { optimizer, device: at(place) })
  for (let n = 0; n < STEPS; ++n) await trainer.trainOn(batchAt(n))
  const result = new Map<string, Float32Array>()
  for (const [name, parameter] of namedParameters(trainer.model)) {
    const values = await parameter.values.read()
    const slots = parameter instanceof SparseParameter && cscSlots(await parameter.matrix.read(), parameter.matrix.cols)
    result.set(name, slots ? inRowOrder(values, slots) : values)
  }
  return result
}

async function expectRun(optimizer: () => Optimizer, step: Step, options?: Clipped): Promise<void> {
  const wanted = expected(step, options)
  for (const place of places) {
    const got = await trained(optimizer(), place)
    expect([...got.keys()]).to.have.members([...wanted.keys()])
    for (const [name, values] of wanted)
      for (const [i, value] of values.entries())
        expect(got.get(name)?.[i], `${place}, ${name}, ${i}`).to.be.closeTo(value, 1e-4)
  }
}

const isBias = (name: string) => name.endsWith('.bias')

describe('optimizers', () => {
  describe('over a whole run', () => {
    it('sgd is what the reference is', async () => {
      const numbers = { learningRate: 0.1, momentum: 0.9, weightDecay: 0.01 }
      await expectRun(
        () => sgd(numbers),
        sgdStep(() => numbers),
      )
    })

    it('adam is what the reference is', async () => {
      const numbers = { learningRate: 0.01, weightDecay: 0.1, decoupled: true }
      await expectRun(
        () => adam(numbers),
        adamStep(() => numbers),
      )
    })

    it("adam with one count of steps for a parameter is torch's", async () => {
      const numbers = { learningRate: 0.01, stepsBy: 'parameter' as const }
      await expectRun(
        () => adam(numbers),
        adamStep(() => numbers),
      )
    })

    for (const clipNorm of [0.1, 0.5, 100])
      it(`sgd and adam clip gradients to a norm of ${clipNorm}`, async () => {
        const numbers = { learningRate: 0.1, momentum: 0.9, weightDecay: 0.01 }
        await expectRun(
          () => sgd({ ...numbers, clipNorm }),
          sgdStep(() => numbers),
          { clipNorm },
        )
        const others = { learningRate: 0.01, weightDecay: 0.1, decoupled: true }
        await expectRun(
          () => adam({ ...others, clipNorm }),
          adamStep(() => others),
          { clipNorm },
        )
      })

    it('sgd steps groups by numbers of their own', async () => {
      const numbers = { learningRate: 0.1, momentum: 0.9, weightDecay: 0.01 }
      await expectRun(
        () =>
          sgd({
            ...numbers,
            groups: [
              { match: '*.bias', weightDecay: 0, momentum: 0 },
              { match: 'modules.2.*', learningRate: 0.02 },
            ],
          }),
        sgdStep((name) => ({
          ...numbers,
          ...(isBias(name)
            ? { weightDecay: 0, momentum: 0 }
            : name === 'modules.2.weights'
              ? { learningRate: 0.02 }
              : {}),
        })),
      )
    })

    it('adam steps groups by numbers of their own', async () => {
      const numbers = { learningRate: 0.01, weightDecay: 0.1, decoupled: true }
      await expectRun(
        () =>
          adam({
            ...numbers,
            groups: [
              { match: ['*.bias', 'modules.4.*'], weightDecay: 0, decoupled: false, beta1: 0.5, beta2: 0.9 },
              { match: 'modules.0.weights', epsilon: 0.1, learningRate: 0.005 },
            ],
          }),
        adamStep((name) => {
          if (isBias(name) || name.startsWith('modules.4'))
            return { ...numbers, weightDecay: 0, decoupled: false, beta1: 0.5, beta2: 0.9 }
          return name === 'modules.0.weights' ? { ...numbers, epsilon: 0.1, learningRate: 0.005 } : numbers
        }),
      )
    })
  })

  describe('a count of steps for all links of a parameter', () => {
    const run = async (file: string, stepsBy: 'link' | 'parameter') => {
      const optimizer = adam({ learningRate: 0.01, stepsBy })
      const model = mlp({ widths, density: 0.1, seed: 3 })
      const trainer = new Trainer(model, { optimizer, dst: chts(), device: { kind: 'cpu' } })
      for await (const { epoch } of trainer.fit(train, { epochs: 4 })) if (epoch === 2) await trainer.save(file)
      return trainer
    }

    it('is saved, and goes on to the same bits; a file of the other kind is refused', async () => {
      const folder = await mkdtemp(join(tmpdir(), 'hebb-steps-'))
      try {
        const [file, other] = [join(folder, 'parameter.safetensors'), join(folder, 'link.safetensors')]
        using trainer = await run(file, 'parameter')
        using byLink = await run(other, 'link')
        const parameters = trainer.model.parameters
        for (const { scalars, slots } of parameters) {
          expect([...slots.keys()]).to.deep.equal(['firstMoment', 'secondMoment'])
          expect([...((await scalars.get('steps')?.read()) ?? [])]).to.deep.equal([4 * 13])
        }
        const elements = parameters.reduce((sum, { capacity }) => sum + capacity, 0)
        expect(byLink.memory().bytes - trainer.memory().bytes).to.equal(4 * (elements - parameters.length))
        using loaded = await Trainer.load(file, { device: 'cpu' })
        await all(loaded.resume(train))
        expect(await state(loaded)).to.deep.equal(await state(trainer))
        for (const [saved, stepsBy] of [
          [file, 'link'],
          [other, 'parameter'],
        ] as const) {
          const found = await error(() => Trainer.load(saved, { device: 'cpu', optimizer: adam({ stepsBy }) }))
          expect(found.code).to.equal('BAD_FILE')
          expect(found.message).to.contain("tensor 'optimizer.steps.modules.0.weights' has")
          expect(found.message).to.contain('Give the model and the optimizer that it was saved with')
        }
      } finally {
        await rm(folder, { recursive: true })
      }
    })

    it('is refused by another name', async () => {
      const found = await error(() => adam({ stepsBy: 'layer' as never }))
      expect(found.message).to.equal("Expected stepsBy to be 'link' or 'parameter', got 'layer'")
    })
  })

  describe('frozen groups', () => {
    for (const match of [
      'modules.0.*',
      'modules.2.*',
      '*.bias',
      ['modules.4.*', '*.bias'],
      ['modules.0.*', 'modules.2.*'],
    ])
      it(`stay what they are, and the others are trained as the reference's: ${match}`, async () => {
        const patterns = [match].flat().map((pattern) => pattern.replace(/[.*]/g, (c) => (c === '*' ? '.*' : '[.]')))
        const isFrozen = (name: string) => patterns.some((pattern) => new RegExp(`^${pattern}$`).test(name))
        const numbers = { learningRate: 0.02 }
        for (const clipNorm of [undefined, 0.2])
          await expectRun(
            () => adam({ ...numbers, clipNorm, groups: [{ match, frozen: true }] }),
            adamStep(() => numbers),
            { isFrozen, ...(clipNorm && { clipNorm }) },
          )
      })

    it('have no state, and no gradient where nothing else needs it', async () => {
      const bytes = async (match?: string) => {
        const model = network()
        const groups = match ? [{ match, frozen: true }] : []
        using trainer = new Trainer(model, { optimizer: adam({ groups }), device: { kind: 'cpu' } })
        await trainer.trainOn(batchAt(0))
        return { bytes: trainer.memory().bytes, slots: model.parameters.map(({ slots }) => slots.size) }
      }
      const [none, first, biases] = [await bytes(), await bytes('modules.0.*'), await bytes('*.bias')]
      expect(none.slots).to.deep.equal([3, 3, 3, 3, 3, 3])
      expect(first.slots).to.deep.equal([0, 0, 3, 3, 3, 3])
      expect(biases.slots).to.deep.equal([3, 0, 3, 0, 3, 0])
      // A gradient, two moments and a count of steps, for each of them; the first layer's outputs need no gradient.
      expect(none.bytes - first.bytes).to.be.at.least(4 * 4 * (30 + 9))
      expect(none.bytes - biases.bytes).to.be.at.least(4 * 4 * (9 + 8 + 3))
    })

    const run = async (frozen: string[], dst: Method, epochs = 4) => {
      const groups = frozen.length > 0 ? [{ match: frozen, frozen: true }] : []
      const optimizer = sgd({ learningRate: 0.05, momentum: 0.9, groups })
      const trainer = new Trainer(mlp({ widths, density: 0.1, seed: 3 }), { optimizer, dst, device: 'cpu' })
      const before = await linksOf(trainer)
      await all(trainer.fit(train, { epochs }))
      return { trainer, before, after: await linksOf(trainer) }
    }
    const linksOf = (trainer: Trainer) => Promise.all(trainer.model.sparse.map(({ matrix }) => matrix.read()))

    for (const method of [chts, rigl, set])
      it(`keep their links while ${method().name} moves the others'`, async () => {
        const { trainer, before, after } = await run(['modules.0.weights'], method())
        using _ = trainer
        expect(after[0]).to.deep.equal(before[0])
        expect(after[1]).not.to.deep.equal(before[1])
        expect(trainer.model.sparse[1].slots.size).to.equal(1)
      })

    for (const place of places)
      it(`may be those of a layer norm, one or both (${place})`, async () => {
        const values = async (frozen: string[]) => {
          const [first, , second, , last] = network().modules
          const model = new Sequential([first, new LayerNorm({ features: 9 }), new Relu(), second, last])
          const groups = frozen.length > 0 ? [{ match: frozen, frozen: true }] : []
          using trainer = new Trainer(model, { optimizer: sgd({ learningRate: 0.1, groups }), device: at(place) })
          await trainer.trainOn(batchAt(0))
          const named = namedParameters(model).map(async ([name, p]) => [name, await p.values.read()] as const)
          return new Map(await Promise.all(named))
        }
        const trained = await values([])
        const start = { 'modules.1.gain': new Float32Array(9).fill(1), 'modules.1.bias': new Float32Array(9) }
        for (const frozen of [['modules.1.gain'], ['modules.1.bias'], ['modules.1.*']])
          for (const [name, got] of await values(frozen)) {
            const isFrozen = name === frozen[0] || (frozen[0] === 'modules.1.*' && name in start)
            expect(got, `${name}, ${frozen}`).to.deep.equal(
              isFrozen ? start[name as keyof typeof start] : trained.get(name),
            )
          }
        expect(trained.get('modules.1.gain')).not.to.deep.equal(start['modules.1.gain'])
      })

    it('may be all sparse layers: then no link moves', async () => {
      const { trainer, before, after } = await run(['modules.0.*', 'modules.2.weights'], chts())
      using _ = trainer
      expect(after).to.deep.equal(before)
    })

    it('are saved, and go on to the same bits; loaded without them, training goes on with all', async () => {
      const folder = await mkdtemp(join(tmpdir(), 'hebb-frozen-'))
      try {
        const file = join(folder, 'frozen.safetensors')
        const optimizer = sgd({ learningRate: 0.05, momentum: 0.9, groups: [{ match: 'modules.0.*', frozen: true }] })
        using trainer = new Trainer(mlp({ widths, density: 0.1, seed: 3 }), { optimizer, dst: chts(), device: 'cpu' })
        for await (const { epoch } of trainer.fit(train, { epochs: 4 })) if (epoch === 2) await trainer.save(file)
        using loaded = await Trainer.load(file, { device: 'cpu' })
        const before = await linksOf(loaded)
        await all(loaded.resume(train))
        expect(await state(loaded)).to.deep.equal(await state(trainer))
        using thawed = await Trainer.load(file, { device: 'cpu', optimizer: adam() })
        await all(thawed.resume(train))
        expect((await linksOf(thawed))[0]).not.to.deep.equal(before[0])
      } finally {
        await rm(folder, { recursive: true })
      }
    })

    it('of a network that was trained sparser and sparser stay as they were saved', async () => {
      const folder = await mkdtemp(join(tmpdir(), 'hebb-frozen-'))
      try {
        const file = join(folder, 'chtss.safetensors')
        using trainer = new Trainer(mlp({ widths, density: 0.1, seed: 3 }), {
          optimizer: sgd({ learningRate: 0.05 }),
          dst: chtss(),
          device: 'cpu',
        })
        for await (const { epoch } of trainer.fit(train, { epochs: 12 })) if (epoch === 3) await trainer.save(file)
        const optimizer = sgd({ learningRate: 0.05, groups: [{ match: 'modules.0.weights', frozen: true }] })
        using loaded = await Trainer.load(file, { device: 'cpu', optimizer })
        const before = await linksOf(loaded)
        await all(loaded.resume(train))
        const after = await linksOf(loaded)
        expect(after[0]).to.deep.equal(before[0])
        expect(after[1].columnIndices.length).to.be.below(before[1].columnIndices.length)
        expect((await linksOf(trainer))[0].columnIndices.length).to.be.below(after[0].columnIndices.length)
      } finally {
        await rm(folder, { recursive: true })
      }
    })

    const bad: [name: string, groups: object[], dst: Method, message: string][] = [
      ['of all parameters', [{ match: '*', frozen: true }], chts(), 'Expected groups that leave a parameter to train'],
      [
        'that are not true or false',
        [{ match: '*', frozen: 1 }],
        chts(),
        "Expected a group's frozen to be true or false",
      ],
      [
        'among links that are to become fewer',
        [{ match: 'modules.2.*', frozen: true }],
        chtss(),
        'for layer 1 is frozen, got chtss',
      ],
    ]
    for (const [name, groups, dst, message] of bad)
      it(`are refused ${name}`, async () => {
        const make = () =>
          new Trainer(mlp({ widths, density: 0.1 }), { optimizer: adam({ groups } as AdamOptions), dst, device: 'cpu' })
        const found = await error(make)
        expect(found.code).to.equal('INVALID_ARGUMENT')
        expect(found.message).to.contain(message)
      })
  })

  describe('clipping', () => {
    const run = async (optimizer: Optimizer, dst = chts()) => {
      const trainer = new Trainer(mlp({ widths, density: 0.1, seed: 3 }), { optimizer, dst, device: 'cpu' })
      return { trainer, epochs: await all(trainer.fit(train, { epochs: 3 })) }
    }

    it('tells the norm of the last step, and nothing where gradients are not clipped', async () => {
      const { trainer, epochs } = await run(sgd({ learningRate: 0.05, clipNorm: 0.01 }))
      using _ = trainer
      const norm = await trainer.gradientNorm()
      expect(norm).to.be.above(0.01)
      expect(epochs.at(-1)?.gradientNorm).to.equal(norm)
      using fresh = new Trainer(network(), { optimizer: adam({ clipNorm: 1 }), device: 'cpu' })
      expect(await fresh.gradientNorm()).to.equal(undefined)
      const plain = await run(sgd({ learningRate: 0.05 }))
      using __ = plain.trainer
      expect(await plain.trainer.gradientNorm()).to.equal(undefined)
      expect(plain.epochs[0]).not.to.have.property('gradientNorm')
    })

    it('to a norm that none has changes no bit of training, or of what is reported', async () => {
      const never = await run(sgd({ learningRate: 0.05, momentum: 0.9, clipNorm: 1e30 }))
      using first = never.trainer
      const plain = await run(sgd({ learningRate: 0.05, momentum: 0.9 }))
      using second = plain.trainer
      expect(await state(first)).to.deep.equal(await state(second))
      expect(never.epochs.map(({ trainLoss }) => trainLoss)).to.deep.equal(plain.epochs.map((e) => e.trainLoss))
    })

    it('goes on from a checkpoint to the same bits, while the links become fewer', async () => {
      const folder = await mkdtemp(join(tmpdir(), 'hebb-clipping-'))
      try {
        const file = join(folder, 'clipped.safetensors')
        const optimizer = adam({ learningRate: 0.01, clipNorm: 0.05 })
        using trainer = new Trainer(mlp({ widths, density: 0.1, seed: 3 }), { optimizer, dst: chtss(), device: 'cpu' })
        for await (const { epoch } of trainer.fit(train, { epochs: 8 })) if (epoch === 3) await trainer.save(file)
        using loaded = await Trainer.load(file, { device: 'cpu' })
        await all(loaded.resume(train))
        expect(await state(loaded)).to.deep.equal(await state(trainer))
        expect(await loaded.gradientNorm()).to.equal(await trainer.gradientNorm())
      } finally {
        await rm(folder, { recursive: true })
      }
    })

    for (const place of places)
      it(`refuses a step whose norm is not finite, and has not taken it (${place})`, async () => {
        const model = () => new Sequential([network(), new Relu()])
        const optimizer = sgd({ learningRate: 1e-3, momentum: 0.9, clipNorm: 1 })
        using trainer = new Trainer(model(), { optimizer, device: at(place) })
        const good = { x: numbers(columns * 7, 1), y: numbers(columns * 3, 2, 0, 1) }
        await trainer.trainOn(good)
        const before = await state(trainer)
        // The loss is a sum in double precision; the gradients of weights are products of two large floats.
        const found = await error(() => trainer.trainOn({ ...good, x: numbers(columns * 7, 3, -1e30, 1e30) }))
        expect(found.code).to.equal('NON_FINITE')
        expect(found.message).to.match(
          /^Expected a finite norm of the gradients, got NaN or infinity in step 1, first in that of modules\.0\.mod/,
        )
        expect(await state(trainer)).to.deep.equal(before)
        expect(trainer.step).to.equal(1)
        await trainer.trainOn(good)
        using other = new Trainer(model(), { optimizer, device: at(place) })
        await other.trainOn(good)
        await other.trainOn(good)
        expect(await state(trainer)).to.deep.equal(await state(other))
      })

    it('is refused to norms that are none', async () => {
      for (const clipNorm of [0, -1, Number.NaN, Number.POSITIVE_INFINITY, '1']) {
        const found = await error(() => adam({ clipNorm } as AdamOptions))
        expect(found.message).to.match(/^Expected clipNorm to be a number of at least/)
      }
    })
  })

  describe('groups', () => {
    it('have a column of the scalar table for each rate that differs', async () => {
      const falling = linearDecay({ from: 0.1, to: 0.01 })
      const groups = [
        { match: '*.bias', learningRate: 0.1 },
        { match: 'modules.0.*', learningRate: falling },
        { match: 'modules.2.*', learningRate: falling, momentum: 0.5 },
        { match: '*', learningRate: undefined },
      ]
      expect(sgd({ learningRate: 0.1, groups }).rates.length).to.equal(2)
      expect(sgd({ learningRate: falling, groups }).rates.length).to.equal(2)
      expect(sgd({ learningRate: 0.2 }).rates.length).to.equal(1)
    })

    it('change no bit where they change no number', async () => {
      const run = async (groups: SgdOptions['groups']) => {
        const model = mlp({ widths, density: 0.1, seed: 3 })
        using trainer = new Trainer(model, {
          optimizer: sgd({ learningRate: 0.05, momentum: 0.9, ...(groups && { groups }) }),
          dst: chts(),
          device: 'cpu',
        })
        await all(trainer.fit(train, { epochs: 3 }))
        return await state(trainer)
      }
      expect(await run([{ match: '*.bias' }, { match: 'modules.0.*', learningRate: 0.05 }])).to.deep.equal(
        await run(undefined),
      )
    })

    it('are the first that matches', async () => {
      const zero = { learningRate: 0 }
      const optimizer = sgd({
        learningRate: 0.1,
        groups: [{ match: 'modules.0.bias' }, { match: 'modules.0.*', ...zero }],
      })
      using trainer = new Trainer(network(), { optimizer, device: 'cpu' })
      await trainer.trainOn(batchAt(0))
      const [weights, bias] = trainer.model.parameters
      const { values } = begins[0]
      expect(inRowOrder(await weights.values.read(), cscSlots(layers[0], layers[0].cols))).to.deep.equal(values)
      expect(await bias.values.read()).not.to.deep.equal(begins[0].bias)
    })

    const bad: [name: string, options: object, message: string][] = [
      ['a pattern without *', { match: 'bias' }, 'Expected a pattern that matches one of modules.0.weights, '],
      ['a layer that is none', { match: ['*.bias', 'modules.9.*'] }, "got 'modules.9.*'"],
      ['a dot that would be any character', { match: 'modules.0?weights' }, "got 'modules.0?weights'"],
      ['no pattern', {}, "Expected a group's match to be a name of parameters or a pattern such as"],
      ['no patterns', { match: [] }, 'got []'],
      ['a regular expression', { match: /bias$/ }, 'got a RegExp'],
      [
        'a number that sgd has not',
        { match: '*', beta1: 0.9 },
        'match, frozen, learningRate, momentum, weightDecay, got',
      ],
      ['a norm of its own', { match: '*', clipNorm: 1 }, "got 'clipNorm'"],
      ['a bad number', { match: '*', momentum: 2 }, 'Expected momentum to be a number between 0 and 1, got 2'],
      ['a bad rate', { match: '*', learningRate: '1' }, "got '1'"],
    ]
    for (const [name, group, message] of bad) {
      it(`are refused with ${name}, and the model is free for another trainer`, async () => {
        const model = network()
        const make = (groups: object[]) =>
          new Trainer(model, { optimizer: sgd({ learningRate: 0.1, groups } as SgdOptions), device: 'cpu' })
        const found = await error(() => make([group]))
        expect(found.code).to.equal('INVALID_ARGUMENT')
        expect(found.message).to.contain(message)
        make([]).dispose()
      })
    }

    it('are refused where they are no array', async () => {
      const groups = { match: '*' } as never
      expect((await error(() => adam({ groups }))).message).to.contain('Expected groups to be an array')
    })

    it('go on from a checkpoint to the same bits', async () => {
      const folder = await mkdtemp(join(tmpdir(), 'hebb-groups-'))
      try {
        const file = join(folder, 'groups.safetensors')
        const falling = linearDecay({ from: 0.01, to: 0.001 })
        const optimizer = adam({
          learningRate: falling,
          weightDecay: 0.1,
          groups: [
            { match: ['*.bias'], weightDecay: 0 },
            { match: 'modules.2.*', learningRate: 0.02, warmup: 5 },
          ],
        })
        using trainer = new Trainer(mlp({ widths, density: 0.1, seed: 3 }), { optimizer, dst: chts(), device: 'cpu' })
        for await (const { epoch } of trainer.fit(train, { epochs: 4 })) if (epoch === 2) await trainer.save(file)
        using loaded = await Trainer.load(file, { device: 'cpu' })
        await all(loaded.resume(train))
        expect(await state(loaded)).to.deep.equal(await state(trainer))
      } finally {
        await rm(folder, { recursive: true })
      }
    })
  })
})
