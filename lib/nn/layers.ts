/** The operations of layers on the tape, for modules of your own. */
export { linear } from './linear.js'
export { relu } from './relu.js'
export { sparseLinear } from './sparse_linear.js'
