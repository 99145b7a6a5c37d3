export { type Augment, type Dataset, type DatasetOptions, dataset } from './dataset.js'
export { holdOut } from './hold_out.js'
export { type Idx, parseIdx, readIdx } from './idx.js'
export { fashionMnist, mnist, type TrainAndTest } from './mnist.js'
