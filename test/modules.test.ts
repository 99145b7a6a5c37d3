import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import {
  Dropout,
  dataset,
  Gelu,
  LayerNorm,
  Linear,
  load,
  type Module,
  Recompute,
  Residual,
  Sequential,
  Sigmoid,
  Silu,
  SparseLinear,
  sgd,
  Tanh,
  Trainer,
} from '../lib/index.js'
import { cpu, expectNear, expectRefusal, expectSameBits, numbers } from './support.js'

const [inputs, width, outputs, batch] = [6, 8, 3, 10]
const x = numbers(batch * inputs, 1)
const y = numbers(batch * outputs, 2)
const data = () => dataset({ x, y, shape: [inputs], name: 'numbers' })

const sparse = (inFeatures: number, outFeatures: number) => new SparseLinear({ inFeatures, outFeatures, density: 0.5 })

/** Every module there is, some of them within others. */
function network(options: { dropout?: number } = {}): Sequential {
  const modules: Module[] = [
    sparse(inputs, width),
    new LayerNorm({ features: width }),
    new Gelu(),
    new Residual(
      new Sequential([sparse(width, width), new Silu(), new Linear({ inFeatures: width, outFeatures: width })]),
    ),
    new Tanh(),
    new Recompute(new Sequential([new Linear({ inFeatures: width, outFeatures: width }), new Sigmoid()])),
    new LayerNorm({ features: width }),
    new Linear({ inFeatures: width, outFeatures: outputs }),
  ]
  if (options.dropout) modules.splice(3, 0, new Dropout({ probability: options.dropout }))
  return new Sequential(modules, { seed: 3 })
}

describe('modules', () => {
  it('have the gradients that differences of the loss have', async () => {
    const model = network()
    using trainer = new Trainer(model, { optimizer: sgd({ learningRate: 1 }), device: cpu() })
    await trainer.measures()
    const values = await Promise.all(model.parameters.map(({ values }) => values.read()))
    const differences: Float64Array[] = []
    for (const [i, parameter] of model.parameters.entries()) {
      const at = values[i] as Float32Array
      const slopes = new Float64Array(at.length)
      for (let k = 0; k < at.length; ++k) {
        const losses = []
        for (const step of [1e-2, -1e-2]) {
          await parameter.values.write(at.map((v, j) => (j === k ? v + step : v)))
          losses.push((await trainer.evaluate(data())).loss)
        }
        slopes[k] = ((losses[0] as number) - (losses[1] as number)) / 2e-2
      }
      await parameter.values.write(at)
      differences.push(slopes)
    }
    // A step with rate 1 takes the gradient away.
    await trainer.trainOn({ x, y })
    const largest = Math.max(...differences.flatMap((slopes) => [...slopes].map(Math.abs)))
    for (const [i, parameter] of model.parameters.entries()) {
      const after = await parameter.values.read()
      const gradient = Float64Array.from(values[i] as Float32Array, (v, k) => v - (after[k] as number))
      const scale = (slopes: Float64Array) => [...slopes, largest]
      expectNear(scale(gradient), scale(differences[i] as Float64Array), parameter.name, 2e-3)
    }
  })

  it('are saved with their parameters, and go on to the same bits', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'hebb-modules-'))
    try {
      const file = join(folder, 'model.safetensors')
      const options = { optimizer: sgd({ learningRate: 0.05, momentum: 0.9 }), device: cpu() }
      using trainer = new Trainer(network({ dropout: 0.2 }), options)
      trainer.plan({ epochs: 1, stepsPerEpoch: 6 })
      for (let i = 0; i < 3; ++i) await trainer.trainOn({ x, y })
      await trainer.save(file)
      using again = await Trainer.load(file, { device: cpu() })
      for (let i = 0; i < 3; ++i) expect(await again.trainOn({ x, y })).to.equal(await trainer.trainOn({ x, y }))
      const all = (model: Sequential) => Promise.all(model.parameters.map(({ values }) => values.read()))
      expectSameBits(await all(again.model), await all(trainer.model), 'after loading')
      await trainer.save(file)
      using predictor = await load(file, { device: cpu() })
      expectSameBits(await predictor.predict(x), await trainer.predict(x), 'a predictor')
    } finally {
      await rm(folder, { recursive: true })
    }
  })

  it('drop elements in training alone, others in every step', async () => {
    const identity = () =>
      new Sequential([new Linear({ inFeatures: inputs, outFeatures: 1, bias: false })], { seed: 1 })
    const dropping = new Sequential([new Dropout({ probability: 0.5 }), ...identity().modules], { seed: 1 })
    using trainer = new Trainer(dropping, { optimizer: sgd({ learningRate: 0 }), device: cpu() })
    const batchOf = { x, y: new Float32Array(batch) }
    const losses = [await trainer.trainOn(batchOf), await trainer.trainOn(batchOf)]
    expect(losses[0]).not.to.equal(losses[1])
    const [first, second] = [await trainer.predict(x), await trainer.predict(x)]
    expectSameBits(first, second, 'predictions')
  })

  it('relate no layers across a sum or a normalisation, as neurons live on there', async () => {
    const model = new Sequential([
      sparse(inputs, width),
      new Gelu(),
      new Dropout({ probability: 0.1 }),
      sparse(width, width),
      new Residual(new Sequential([sparse(width, width), new Silu(), sparse(width, width)])),
      sparse(width, width),
      new LayerNorm({ features: width }),
      sparse(width, outputs),
    ])
    using trainer = new Trainer(model, { optimizer: sgd({ learningRate: 0.1 }), device: cpu() })
    await trainer.measures()
    const of = (parameter: object) => (model.sparse as object[]).indexOf(parameter)
    expect(model.relations.map(({ first, second }) => [of(first), of(second)])).to.deep.equal([
      [0, 1],
      [2, 3],
    ])
  })

  it('are refused where they do not fit', async () => {
    await expectRefusal(() => new Dropout({ probability: 1 }), 'INVALID_ARGUMENT', 'probability')
    await expectRefusal(() => new LayerNorm({ features: 0 }), 'INVALID_ARGUMENT', 'features')
    await expectRefusal(() => new LayerNorm({ features: 3, epsilon: 0 }), 'INVALID_ARGUMENT', 'epsilon')
    await expectRefusal(() => new Residual(sparse(3, 4)), 'INVALID_ARGUMENT', 'as many outputs as inputs')
    await expectRefusal(
      () => new Sequential([sparse(3, 4), new LayerNorm({ features: 5 })]),
      'INVALID_ARGUMENT',
      'take 4 features',
    )
  })
})
