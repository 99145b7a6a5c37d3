/** What a user's editor sees. Checked by `npm run types`; running it proves only that the imports exist. */
import { expectTypeOf } from 'expect-type'
import { cifar10, type Dataset, emnist, mnist, type TrainAndTest, trainTestSplit } from '../lib/data/index.js'
import {
  brf,
  bsf,
  bsw,
  cht,
  chts,
  chtss,
  csti,
  dense,
  densitySchedule,
  type Epoch,
  erdosRenyi,
  gmp,
  granet,
  type LayerWeights,
  type LinkPredictor,
  type LinkScores,
  type Method,
  mest,
  mlp,
  predictLinks,
  rigl,
  type Sequential,
  type SparseMatrix,
  sampleWithoutReplacement,
  set,
  soft,
  staticSparse,
  type Topology,
  Trainer,
  topK,
} from '../lib/index.js'

it('types are what the documentation says', () => {
  expectTypeOf(mlp).returns.toEqualTypeOf<Sequential>()
  for (const create of [cht, chts, chtss, dense, gmp, granet, mest, rigl, set, staticSparse]) {
    expectTypeOf(create).returns.toEqualTypeOf<Method>()
    expectTypeOf(create).parameter(0).toEqualTypeOf<Partial<Method> | undefined>()
  }
  expectTypeOf<Sequential['compact']>().returns.resolves.toEqualTypeOf<Sequential>()
  expectTypeOf(mnist).returns.resolves.toEqualTypeOf<{ readonly train: Dataset; readonly test: Dataset }>()
  expectTypeOf(emnist).returns.toEqualTypeOf<ReturnType<typeof mnist>>()
  expectTypeOf(cifar10).parameter(1).toEqualTypeOf<{ augment?: boolean } | undefined>()
  expectTypeOf(trainTestSplit).returns.toEqualTypeOf<TrainAndTest>()
  expectTypeOf<Trainer['weights']>().returns.resolves.toEqualTypeOf<LayerWeights>()
  expectTypeOf<ReturnType<Trainer['fit']>>().toExtend<AsyncIterable<Epoch>>()
  expectTypeOf(predictLinks).returns.toEqualTypeOf<LinkScores>()
  expectTypeOf<SparseMatrix['predictLinks']>().returns.resolves.toEqualTypeOf<LinkScores>()
  expectTypeOf(predictLinks).parameter(1).toEqualTypeOf<'CH2-L3n' | 'CH3-L3n' | 'CH2-L3p' | 'CH3-L3p'>()
  expectTypeOf(predictLinks).parameter(2).toEqualTypeOf<{ route?: 'auto' | 'sparse' | 'dense' } | undefined>()
  expectTypeOf(soft).parameter(0).toEqualTypeOf<LinkPredictor>()
  expectTypeOf(topK).parameter(0).toEqualTypeOf<LinkPredictor>()
  // @ts-expect-error a predictor has a name
  void (() => soft('CN'))
  expectTypeOf(sampleWithoutReplacement).returns.toEqualTypeOf<Int32Array>()
  expectTypeOf(densitySchedule.sigmoid({ finalDensity: 0.1, updates: 3 })).toEqualTypeOf<(c: number) => number>()
  for (const topology of [brf, bsw, bsf, csti, erdosRenyi]) expectTypeOf(topology).returns.toEqualTypeOf<Topology>()
  expectTypeOf(bsw).parameter(0).toEqualTypeOf<{ beta?: number } | undefined>()
  expectTypeOf(csti).parameter(0).toEqualTypeOf<{ data: Dataset }>()
  // @ts-expect-error a density is a number
  void (() => mlp({ widths: [1, 2], density: '1%' }))
  // @ts-expect-error a trainer needs an optimizer
  void ((model: Sequential) => new Trainer(model, {}))
})
