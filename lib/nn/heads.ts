/**
 * A projection of an attention in as many layers as there are heads. Each has a share of the links and keeps it: what a
 * method removes in one head grows again in the same, by paths within it.
 */
import type { Tape, Value } from '../autograd.js'
import { add } from './add.js'
import type { WeightInit } from './init.js'
import type { Materials, Module } from './module.js'
import type { Parameter, SparseParameter } from './parameter.js'
import { SparseLinear, type SparseLinearOptions } from './sparse_linear.js'

/** Weights of a head's layer as the whole matrix begins with. */
function ofWhole(init: WeightInit, whole: { fanIn: number; fanOut: number }): WeightInit {
  return { ...init, deviation: ({ density }) => init.deviation({ ...whole, density }) }
}

/** The heads' shares of the features of a value. All of them are to be used. */
function shares(tape: Tape, x: Value, count: number): Value[] {
  const features = x.activations.features / count
  // Whether something else has written the gradient: each share only adds to its own features.
  let accumulate: boolean | undefined
  return Array.from({ length: count }, (_, head) => {
    const part = [head * features, (head + 1) * features] as const
    return tape.apply({
      features,
      inputs: [x],
      forward: (output) => tape.record('add', { first: x.activations.slice(...part), output }),
      backward(outputGradient) {
        const into = tape.gradient(x)
        if (!into) return
        accumulate ??= into.accumulate
        tape.record('add', { first: outputGradient, output: into.gradient.slice(...part), accumulate })
      },
    })
  })
}

/** The features of values of as many, one value's behind another's. */
function together(tape: Tape, values: readonly Value[]): Value {
  const features = (values[0] as Value).activations.features
  const partOf = (i: number) => [i * features, (i + 1) * features] as const
  return tape.apply({
    features: values.length * features,
    inputs: values,
    forward(output) {
      for (const [i, { activations }] of values.entries())
        tape.record('add', { first: activations, output: output.slice(...partOf(i)) })
    },
    backward(outputGradient) {
      for (const [i, value] of values.entries()) {
        const into = tape.gradient(value)
        if (!into) continue
        const first = outputGradient.slice(...partOf(i))
        tape.record('add', { first, output: into.gradient, accumulate: into.accumulate })
      }
    },
  })
}

export interface HeadsOptions extends SparseLinearOptions {
  heads: number
  /** Whose features are the heads': the outputs, as of queries, or the inputs. */
  of: 'outputs' | 'inputs'
}

/** A sparse layer, divided among heads. */
export class Heads implements Module {
  readonly inFeatures: number
  readonly outFeatures: number
  readonly of: 'outputs' | 'inputs'
  readonly layers: readonly SparseLinear[]

  constructor({ heads, of, weights, bias = true, ...options }: HeadsOptions) {
    const { inFeatures, outFeatures } = options
    this.inFeatures = inFeatures
    this.outFeatures = outFeatures
    this.of = of
    this.layers = Array.from(
      { length: heads },
      (_, head) =>
        new SparseLinear({
          ...options,
          ...(of === 'outputs' ? { outFeatures: outFeatures / heads } : { inFeatures: inFeatures / heads }),
          ...(weights && { weights: ofWhole(weights, { fanIn: inFeatures, fanOut: outFeatures }) }),
          bias: bias && (of === 'outputs' || head === 0),
        }),
    )
  }

  get children(): ReadonlyMap<string, Module> {
    return new Map(this.layers.map((layer, head) => [String(head), layer]))
  }

  get parameters(): Parameter[] {
    return this.layers.flatMap((layer) => layer.parameters)
  }

  get sparse(): SparseParameter[] {
    return this.layers.flatMap((layer) => layer.sparse)
  }

  materialise(materials: Materials): void {
    for (const layer of this.layers) layer.materialise(materials)
  }

  forward(tape: Tape, x: Value): Value {
    if (this.of === 'outputs')
      return together(
        tape,
        this.layers.map((layer) => layer.forward(tape, x)),
      )
    const parts = shares(tape, x, this.layers.length)
    return this.layers
      .map((layer, head) => layer.forward(tape, parts[head] as Value))
      .reduce((sum, part) => add(tape, sum, part))
  }

  dispose(): void {
    for (const layer of this.layers) layer.dispose()
  }
}
