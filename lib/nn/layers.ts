/** The operations of layers on the tape, for modules of your own. */

export { gelu, relu, sigmoid, silu, tanh } from './activations.js'
export { linear } from './linear.js'
export { sparseLinear } from './sparse_linear.js'
