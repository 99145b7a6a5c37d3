import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import {
  chts,
  dataset,
  layers,
  load,
  type Module,
  Sequential,
  SparseLinear,
  sgd,
  type Tape,
  Trainer,
  updateSchedule,
  type Value,
  type ValueLoss,
} from '../lib/index.js'
import { cpu, expectNear, expectRefusal, numbers } from './support.js'

/** relu(A x) + tanh(B x), both sparse. */
class TwoBranches implements Module {
  readonly children: ReadonlyMap<string, SparseLinear>

  constructor(
    readonly inFeatures: number,
    readonly outFeatures: number,
    density: number,
  ) {
    const branch = () => new SparseLinear({ inFeatures, outFeatures, density })
    this.children = new Map([
      ['a', branch()],
      ['b', branch()],
    ])
  }

  get #both() {
    return [...this.children.values()]
  }

  get parameters() {
    return this.#both.flatMap((branch) => branch.parameters)
  }

  get sparse() {
    return this.#both.flatMap((branch) => branch.sparse)
  }

  // Links that lead to the same neurons: percolation keeps or removes them together.
  get relations() {
    const [first, second] = this.sparse
    return first && second ? [{ first, second, kind: 'joint' as const }] : []
  }

  materialise(materials: Parameters<Module['materialise']>[0]) {
    for (const branch of this.#both) branch.materialise(materials)
  }

  forward(tape: Tape, x: Value): Value {
    const [a, b] = this.#both.map((branch) => branch.forward(tape, x)) as [Value, Value]
    return layers.add(tape, layers.relu(tape, a), layers.tanh(tape, b))
  }

  dispose() {
    for (const branch of this.#both) branch.dispose()
  }
}

/** The squared error of probabilities: the network gives their logits. */
const brier: ValueLoss = {
  targets: 'values',
  record(tape, logits, target, sums) {
    const output = layers.sigmoid(tape, logits)
    const gradient = tape.gradient(output)?.gradient
    tape.record('meanSquaredError', { output: output.activations, target, gradient, ...sums })
  },
}

const samples = 64
const x = numbers(samples * 20, 1)
const y = Float32Array.from({ length: samples * 3 }, (_, i) => (x[Math.floor(i / 3) * 20 + (i % 3)] > 0 ? 1 : 0))
const model = () =>
  new Sequential([new TwoBranches(20, 32, 0.2), new SparseLinear({ inFeatures: 32, outFeatures: 3, density: 0.2 })])
const optimizer = sgd({ learningRate: 0.5, momentum: 0.9 })
const options = { optimizer, loss: brier, dst: chts({ updates: updateSchedule({ every: 5, fraction: 0.2 }) }) }
const data = dataset({ x, y, shape: [20] })

describe("modules and losses of the user's own", () => {
  it('are the documented ones', async () => {
    const plain = (text: string) => text.replaceAll(/[\s,]+/g, ' ').replaceAll(/(?<=[([]) | (?=[)\]])/g, '')
    const documented = plain(await readFile(new URL('../docs/extending.md', import.meta.url), 'utf8'))
    const here = await readFile(new URL(import.meta.url), 'utf8')
    for (const example of [/class TwoBranches.*?^\}$/ms, /const brier.*?^\}$/ms])
      expect(documented).to.include(plain(example.exec(here)?.[0] ?? 'none'))
  })

  it('train, and are measured by the loss', async () => {
    using trainer = new Trainer(model(), { ...options, device: cpu() })
    const losses: number[] = []
    for await (const epoch of trainer.fit(data, { epochs: 30, batchSize: 16, validation: data }))
      losses.push(epoch.validation?.loss as number)
    expect(losses.at(-1)).to.be.below(0.5 * (losses[0] as number))
    // The loss is that of the logits' probabilities.
    const logits = await trainer.predict(x)
    const squares = logits.map((z, i) => (1 / (1 + Math.exp(-z)) - y[i]) ** 2)
    const mean = squares.reduce((sum, v) => sum + v, 0) / squares.length
    expectNear([(await trainer.evaluate(data)).loss], [mean], 'the loss', 1e-5)
  })

  it('are told to a checkpoint, and must be given again', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'hebb-own-'))
    try {
      const file = join(folder, 'own.safetensors')
      using trainer = new Trainer(model(), { ...options, device: cpu() })
      await trainer.trainOn({ x, y })
      await trainer.save(file)
      await expectRefusal(() => Trainer.load(file, { device: cpu() }), 'INVALID_ARGUMENT', 'to be given again')
      await expectRefusal(
        () => Trainer.load(file, { model: model(), device: cpu() }),
        'INVALID_ARGUMENT',
        'Expected loss to be given again',
      )
      using again = await Trainer.load(file, { model: model(), loss: brier, device: cpu() })
      expect(await again.trainOn({ x, y })).to.equal(await trainer.trainOn({ x, y }))
      using predictor = await load(file, { model: model(), loss: brier, device: cpu() })
      expect((await predictor.evaluate(data)).loss).to.be.above(0)
    } finally {
      await rm(folder, { recursive: true })
    }
  })

  it('are refused where they are none', async () => {
    for (const loss of ['hinge', {}, { targets: 'values' }, { targets: 'pixels', record() {} }])
      await expectRefusal(
        () => new Trainer(model(), { optimizer, loss: loss as never, device: cpu() }),
        'INVALID_ARGUMENT',
        'Expected loss to be',
      )
    using trainer = new Trainer(model(), { optimizer, loss: brier, device: cpu() })
    const classes = dataset({ x, y: new Int32Array(samples), shape: [20], classes: 3 })
    await expectRefusal(() => trainer.evaluate(classes), 'INVALID_ARGUMENT', 'targets')
  })
})
