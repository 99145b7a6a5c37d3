/// <reference lib="esnext.disposable" preserve="true" />
/// <reference types="node" preserve="true" />
/** hebb/data: the package's other entry point, for readers of data sets. */
export { cifar10 } from './cifar10.js'
export { type CsvColumn, type CsvData, type CsvOptions, csv } from './csv.js'
export { type Augment, type Dataset, type DatasetOptions, dataset } from './dataset.js'
export { emnist } from './emnist.js'
export type { DataFormat, Normalisation, RawInputs } from './format.js'
export { type Idx, parseIdx, readIdx } from './idx.js'
export { readInputs } from './inputs.js'
export { fashionMnist, mnist, type TrainAndTest } from './mnist.js'
export { type Npy, parseNpy, readNpy } from './npy.js'
export { type Chunk, SampleStream, type StreamOptions, stream } from './stream.js'
export { type TrainTestSplitOptions, trainTestSplit } from './train_test_split.js'
