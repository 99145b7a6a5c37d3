/** What layers record on the tape, as functions: for modules of your own. */
export { gelu, relu, sigmoid, silu, tanh } from './activations.js'
export { add } from './add.js'
export { attention } from './attention.js'
export { embedding } from './embedding.js'
export { linear } from './linear.js'
export { multiply } from './multiply.js'
export { pooling } from './pooling.js'
export { sparseLinear } from './sparse_linear.js'
