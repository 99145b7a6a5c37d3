/** What a topology looks like to network science. */
import { expect, integer, known, show } from '../error.js'
import { addon, type NativeLayerDescription } from '../native.js'
import type { Module } from '../nn/module.js'
import type { PlainCsr } from '../tensor.js'
import { isTyped } from '../typed_array.js'

/** What describeTopology() takes. */
export interface DescribeOptions {
  /**
   * Steps of work up to which clustering and path lengths are exact; beyond, they are estimated from samples. Default
   * 2^28, some tenths of a second a layer.
   */
  exactUpTo?: number | undefined
  /** Seed of the samples. Default 0. */
  seed?: number | undefined
}

/** A measure, exact or estimated. */
export interface Measured {
  readonly value: number
  /** Standard error of an estimate; 0: the value is exact. */
  readonly error: number
}

/** The degrees of one side of a layer. */
export interface Degrees {
  readonly neurons: number
  /** Neurons with a link. */
  readonly active: number
  readonly mean: number
  /** Standard deviation over all neurons. */
  readonly deviation: number
  readonly largest: number
  /** The degrees that occur, ascending, and how many neurons have each. */
  readonly histogram: readonly { readonly degree: number; readonly neurons: number }[]
}

/** What the links of one sparse layer look like. */
export interface LayerDescription {
  readonly inFeatures: number
  readonly outFeatures: number
  readonly links: number
  /** Links over possible links. */
  readonly density: number
  readonly inputs: Degrees
  readonly outputs: Degrees
  /**
   * Bipartite clustering (Robins and Alexander 2004): 4 x cycles of four links / paths of three links, the share of
   * such paths whose ends are linked. NaN without such paths.
   */
  readonly clustering: Measured
  /**
   * Characteristic path length: mean distance in links between active neurons of either side that are connected. NaN
   * without any.
   */
  readonly pathLength: Measured
  /** Share of the pairs of active neurons that are connected within the layer. */
  readonly connected: number
  /**
   * What is left when neurons without links on one side go, and their links with them, through the whole chain of
   * layers.
   */
  readonly percolated: { readonly links: number; readonly inputs: number; readonly outputs: number }
}

/** What the links of a model look like, a layer at a time and together. */
export interface TopologyDescription {
  readonly layers: readonly LayerDescription[]
  readonly links: number
  readonly density: number
  /** Share of neurons with a link: inputs of all layers and outputs of the last (ANP, as in TopologyMeasures). */
  readonly activeNeurons: number
  /** Links, and the share of these neurons, that percolation leaves. */
  readonly percolated: { readonly links: number; readonly neurons: number }
}

function degreesOf({ degrees, neurons }: { degrees: Int32Array; neurons: Int32Array }): Degrees {
  const histogram = Array.from(degrees, (degree, i) => ({ degree, neurons: neurons[i] as number }))
  const sum = (term: (entry: (typeof histogram)[number]) => number) =>
    histogram.reduce((total, entry) => total + term(entry), 0)
  const all = sum((entry) => entry.neurons)
  const mean = sum((entry) => entry.degree * entry.neurons) / all
  return {
    neurons: all,
    active: sum((entry) => (entry.degree > 0 ? entry.neurons : 0)),
    mean,
    deviation: Math.sqrt(sum((entry) => entry.neurons * (entry.degree - mean) ** 2) / all),
    largest: histogram.at(-1)?.degree ?? 0,
    histogram,
  }
}

function descriptionOf(described: readonly NativeLayerDescription[]): TopologyDescription {
  const layers = described.map((layer): LayerDescription => {
    const inputs = degreesOf(layer.inputs)
    const outputs = degreesOf(layer.outputs)
    const links = inputs.histogram.reduce((total, { degree, neurons }) => total + degree * neurons, 0)
    return {
      inFeatures: inputs.neurons,
      outFeatures: outputs.neurons,
      links,
      density: links / (inputs.neurons * outputs.neurons),
      inputs,
      outputs,
      clustering: layer.clustering,
      pathLength: layer.pathLength,
      connected: layer.connected,
      percolated: { links: layer.percolatedLinks, inputs: layer.percolatedInputs, outputs: layer.percolatedOutputs },
    }
  })
  const sum = (term: (layer: LayerDescription) => number) => layers.reduce((total, layer) => total + term(layer), 0)
  const share = (a: number, b: number) => (b === 0 ? 1 : a / b)
  const last = layers.at(-1)
  const neurons = sum((layer) => layer.inFeatures) + (last?.outFeatures ?? 0)
  const links = sum((layer) => layer.links)
  return {
    layers,
    links,
    density: share(
      links,
      sum((layer) => layer.inFeatures * layer.outFeatures),
    ),
    activeNeurons: share(sum((layer) => layer.inputs.active) + (last?.outputs.active ?? 0), neurons),
    percolated: {
      links: sum((layer) => layer.percolated.links),
      neurons: share(sum((layer) => layer.percolated.inputs) + (last?.percolated.outputs ?? 0), neurons),
    },
  }
}

function checked(options: DescribeOptions): [number, number] {
  const { exactUpTo = 2 ** 28, seed = 0 } = known(options, 'describeTopology()', { exactUpTo: true, seed: true })
  return [integer(exactUpTo, 'exactUpTo', 0), integer(seed, 'seed', 0)]
}

/**
 * Describes the links of a layer, or of layers in the order of their network: a layer with as many inputs as the one
 * before has outputs follows it. Works at once, on the calling thread and helpers of its own;
 * Trainer.describeTopology() does not hold the event loop.
 */
export function describeTopology(
  links: PlainCsr | readonly PlainCsr[],
  options: DescribeOptions = {},
): TopologyDescription {
  const layers: readonly PlainCsr[] = 'rowOffsets' in links ? [links] : links
  for (const layer of layers)
    expect(
      isTyped(layer?.rowOffsets, 'Int32Array') && isTyped(layer.columnIndices, 'Int32Array'),
      () => `Expected links with rows, cols, rowOffsets and columnIndices (Int32Array), got ${show(layer)}`,
    )
  const follows = layers.map((layer, i) => i > 0 && layers[i - 1]?.rows === layer.cols)
  return descriptionOf(addon.describeLinks(layers, follows, ...checked(options)))
}

/** Describes a model's sparse layers, on their device's thread. Those follow each other that the model says do. */
export async function describeLayers(
  { sparse: layers, relations = [] }: Pick<Module, 'sparse' | 'relations'>,
  options: DescribeOptions = {},
): Promise<TopologyDescription> {
  const [exactUpTo, seed] = checked(options)
  if (layers.length === 0) return descriptionOf([])
  const follows = layers.map((layer, i) =>
    relations.some(({ first, second, kind }) => kind === 'consecutive' && second === layer && first === layers[i - 1]),
  )
  const matrices = layers.map(({ matrix }) => matrix.native)
  return descriptionOf(await addon.describeMatrices(matrices, follows, exactUpTo, seed))
}
