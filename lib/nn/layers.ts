/** What layers record on the tape, as functions: for modules of your own. */
export { gelu, relu, sigmoid, silu, tanh } from './activations.js'
export { add } from './add.js'
export { linear } from './linear.js'
export { sparseLinear } from './sparse_linear.js'
