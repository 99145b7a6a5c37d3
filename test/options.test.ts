/** Options that nobody reads: a misspelt one is refused by name, wherever options are taken. */
import { expect } from 'chai'
import { cifar10, csv, trainTestSplit } from '../lib/data/index.js'
import {
  adam,
  brf,
  bsw,
  byDensity,
  chts,
  cosineDecay,
  crossEntropy,
  csti,
  cubicDensity,
  Device,
  Dropout,
  dataset,
  dips,
  inoam,
  LayerNorm,
  Linear,
  linearDecay,
  load,
  method,
  mlp,
  noam,
  overshootDensity,
  Program,
  predictLinks,
  recovering,
  Sequential,
  SparseLinear,
  sampleWithoutReplacement,
  set,
  sgd,
  sigmoidDensity,
  soft,
  softMagnitude,
  stepDecay,
  stream,
  Trainer,
  topK,
  updateSchedule,
} from '../lib/index.js'
import { cpu, expectRefusal, on, randomCsr } from './support.js'

const data = dataset({ x: new Float32Array(40).fill(1), y: [0, 1, 0, 1, 1], shape: [8], classes: 3 })
const optimizer = sgd({ learningRate: 0.1 })
const layer = { inFeatures: 4, outFeatures: 3 }

/** Each takes options with one more name. */
const takers: Record<string, (more: object) => unknown> = {
  'sgd()': (more) => sgd({ learningRate: 0.1, ...more }),
  'adam()': (more) => adam(more),
  'crossEntropy()': (more) => crossEntropy(more),
  'linearDecay()': (more) => linearDecay({ from: 1, to: 0, ...more }),
  'stepDecay()': (more) => stepDecay({ from: 1, at: [0.5], ...more }),
  'cosineDecay()': (more) => cosineDecay({ from: 1, ...more }),
  'noam()': (more) => noam({ width: 8, warmup: 4, ...more }),
  'inoam()': (more) => inoam({ width: 8, warmup: 4, ...more }),
  'dips()': (more) => dips(0.1, { period: 10, rise: 2, ...more }),
  'recovering()': (more) => recovering(0.1, { rise: 2, ...more }),
  'byDensity()': (more) => byDensity(0.1, { target: 0.1, ...more }),
  'sigmoidDensity()': (more) => sigmoidDensity(more),
  'cubicDensity()': (more) => cubicDensity(more),
  'overshootDensity()': (more) => overshootDensity(more),
  'updateSchedule()': (more) => updateSchedule({ fraction: 0.3, ...more }),
  'a method': (more) => chts(more),
  'a method of one part': (more) => set(more),
  'a method of parts': (more) => method({ updates: undefined, ...more }),
  'a link predictor': (more) => soft('CH2-L3n', more),
  'a link predictor for the largest': (more) => topK('CH2-L3n', more),
  'soft removal': (more) => softMagnitude(more),
  'brf()': (more) => brf(more),
  'bsw()': (more) => bsw(more),
  'csti()': (more) => csti({ data, ...more }),
  'a device': (more) => new Device({ kind: 'cpu', ...more }),
  'mlp()': (more) => mlp({ widths: [8, 4, 3], density: 0.5, ...more }),
  SparseLinear: (more) => new SparseLinear({ ...layer, density: 0.5, ...more }),
  Linear: (more) => new Linear({ ...layer, ...more }),
  LayerNorm: (more) => new LayerNorm({ features: 4, ...more }),
  Dropout: (more) => new Dropout({ probability: 0.1, ...more }),
  Sequential: (more) => new Sequential([new Linear(layer)], more),
  'dataset()': (more) => dataset({ x: new Float32Array(8), y: [0], shape: [8], ...more }),
  augment: (more) =>
    dataset({ x: new Float32Array(8), y: [0], shape: [2, 4], augment: { padding: 1, flip: true, ...more } }),
  'stream()': (more) => stream({ samples: 8, chunk: 4, shape: [8], read: () => ({ x: data.x, y: [] }), ...more }),
  'a chunk': (more) =>
    stream({ samples: 1, chunk: 1, shape: [8], read: () => ({ x: new Float32Array(8), y: [0], ...more }) }).dataset(0),
  'trainTestSplit()': (more) => trainTestSplit(data, { testSize: 2, ...more }),
  'csv()': (more) => csv('none.csv', more),
  'cifar10()': (more) => cifar10('none', more),
  'predictLinks()': (more) => predictLinks(randomCsr(5, 6, 9, 1), 'CH2-L3n', more),
  'sampleWithoutReplacement()': (more) => sampleWithoutReplacement(new Float32Array(5), 2, more),
  'load()': (more) => load('none.safetensors', more),
  'Trainer.load()': (more) => Trainer.load('none.safetensors', more),
  Program: (more) => new Program(cpu(), more),
  'replay()': (more) => using(new Program(cpu()), (program) => program.replay(1, more)),
  begin: (more) => using(new Program(cpu()), (program) => program.replay(1, { begin: more })),
  'a trainer': (more) => trained({}, () => undefined, more),
  'fit()': (more) =>
    trained(more, (trainer, options) => trainer.fit(data, { epochs: 1, batchSize: 2, ...options }).next()),
  'resume()': (more) => trained(more, (trainer, options) => trainer.resume(data, options).next()),
  checkpoint: (more) =>
    trained(more, (trainer, options) =>
      trainer.fit(data, { epochs: 1, batchSize: 2, checkpoint: { file: 'none', ...options } }).next(),
    ),
  'plan()': (more) => trained(more, (trainer, options) => trainer.plan({ epochs: 1, stepsPerEpoch: 1, ...options })),
  'trainOn()': (more) =>
    trained(more, (trainer, options) => trainer.trainOn({ x: new Float32Array(8), y: [1] }, options)),
  'a batch': (more) =>
    trained(more, (trainer, options) => trainer.trainOn({ x: new Float32Array(8), y: [1], ...options })),
  'evaluate()': (more) => trained(more, (trainer, options) => trainer.evaluate(data, options)),
  'predict()': (more) => trained(more, (trainer, options) => trainer.predict(new Float32Array(8), options)),
  'describeTopology()': (more) => trained(more, (trainer, options) => trainer.describeTopology(options)),
  'save()': (more) => trained(more, (trainer, options) => trainer.save('none', options)),
}

async function using<T extends { dispose(): void }>(owned: T, use: (owned: T) => unknown): Promise<unknown> {
  try {
    return await use(owned)
  } finally {
    owned.dispose()
  }
}

async function trained(
  options: object,
  use: (trainer: Trainer, options: object) => unknown,
  more: object = {},
): Promise<unknown> {
  const model = mlp({ widths: [8, 4, 3], density: 0.5 })
  return using(new Trainer(model, { optimizer, device: cpu(), ...more }), (trainer) => use(trainer, options))
}

describe('options', () => {
  for (const [what, take] of Object.entries(takers)) {
    it(`of ${what} are refused when nobody reads them`, async () => {
      await on(cpu(), async () => {
        const error = await expectRefusal(() => take({ learningrat: 0.1 }), 'INVALID_ARGUMENT', what)
        expect(error.message).to.match(/^Expected options of .+ named .+, got 'learningrat'/)
      })
    })
  }

  it('that are not given may be named, and others are told with the nearest name', async () => {
    expect(sgd({ learningRate: 0.1, lr: undefined } as never).name).to.equal('sgd')
    const told = {
      "got 'momentm'. Did you mean 'momentum'?": () => sgd({ learningRate: 0.1, momentm: 0.9 } as never),
      "got 'sed'. Did you mean 'seed'?": () => mlp({ widths: [2, 2], density: 1, sed: 7 } as never),
      "got 'checkPoint'. Did you mean 'checkpoint'?": () =>
        trained({ checkPoint: {} }, (trainer, more) => trainer.fit(data, { epochs: 1, ...more }).next()),
      "got 'weightdecay'. Did you mean 'weightDecay'?": () => adam({ weightdecay: 0.1 } as never),
    }
    for (const [words, act] of Object.entries(told)) {
      const error = await expectRefusal(act, 'INVALID_ARGUMENT', words)
      expect(error.message).to.contain(words)
    }
  })

  it('are an object', async () => {
    for (const bad of [null, 7, 'chts', [1]])
      await expectRefusal(() => brf(bad as never), 'INVALID_ARGUMENT', String(bad))
  })
})
