/**
 * A trained chain of layers without the neurons that do nothing. A hidden neuron without inputs emits a constant, its
 * activation of its bias: that goes into the biases of the next layer, through its links, which may leave further
 * neurons without inputs. A hidden neuron without outputs goes with its links, which may leave further neurons without
 * outputs. One pass forward and one backward find them all: what the second takes away are outputs of earlier neurons,
 * never inputs of those that stay.
 */
import { expect, HebbError, show } from '../error.js'
import { Relu } from './activations.js'
import { Linear } from './linear.js'
import type { Module } from './module.js'
import { SparseParameter } from './parameter.js'
import { SparseLinear } from './sparse_linear.js'

/** A layer on the host, by row. */
interface Layer {
  readonly rows: number
  readonly cols: number
  readonly dense: boolean
  readonly hasBias: boolean
  readonly bias: Float64Array
  /** Modules that follow before the next layer; all of them are ReLUs. */
  readonly relus: number
  links: { row: number; col: number; value: number }[]
}

async function read(module: Linear | SparseLinear, relus: number): Promise<Layer> {
  const [weights, bias] = module.parameters
  if (!weights)
    throw new HebbError(
      'DISPOSED',
      'Expected a model in use by a trainer or a predictor, got one that is not: it has no weights yet',
    )
  const { outFeatures: rows, inFeatures: cols } = module
  const links: Layer['links'] = []
  const dense = !(weights instanceof SparseParameter)
  if (dense) {
    const values = await weights.values.read(rows * cols)
    for (let row = 0; row < rows; ++row)
      for (let col = 0; col < cols; ++col) links.push({ row, col, value: values[row * cols + col] as number })
  } else {
    const { rowOffsets, columnIndices } = await weights.matrix.read()
    const values = await weights.values.read(columnIndices.length)
    for (let row = 0; row < rows; ++row) {
      for (let k = rowOffsets[row] as number; k < (rowOffsets[row + 1] as number); ++k)
        links.push({ row, col: columnIndices[k] as number, value: 0 })
    }
    // Values lie by column, then row.
    const byColumn = [...links].sort((a, b) => a.col - b.col || a.row - b.row)
    for (const [slot, link] of byColumn.entries()) link.value = values[slot] as number
  }
  return {
    rows,
    cols,
    dense,
    hasBias: bias !== undefined,
    bias: bias ? Float64Array.from(await bias.values.read(rows)) : new Float64Array(rows),
    relus,
    links,
  }
}

/** Modules of the compact network, for those of a network in use, nested ones laid flat. */
export async function compactModules(modules: readonly Module[]): Promise<Module[]> {
  for (const module of modules) {
    const known = [Linear, SparseLinear, Relu].some((type) => module.constructor === type)
    if (!known)
      throw new HebbError(
        'UNSUPPORTED',
        `Expected modules that are Linear, SparseLinear or Relu, to fold constants through, got ${show(module)}`,
      )
  }
  const isLayer = (module: Module): module is Linear | SparseLinear => !(module instanceof Relu)
  const first = modules.findIndex(isLayer)
  expect(first >= 0, () => 'Expected a model with a Linear or SparseLinear layer, got one without')
  const layers: Layer[] = []
  for (const [i, module] of modules.entries()) {
    if (!isLayer(module)) continue
    const next = modules.findIndex((m, j) => j > i && isLayer(m))
    layers.push(await read(module, (next < 0 ? modules.length : next) - i - 1))
  }
  const stays = layers.map(({ rows }) => new Uint8Array(rows).fill(1))
  for (let l = 0; l + 1 < layers.length; ++l) {
    const [layer, next] = [layers[l] as Layer, layers[l + 1] as Layer]
    const here = stays[l] as Uint8Array
    const fed = new Uint8Array(layer.rows)
    for (const { row } of layer.links) fed[row] = 1
    next.links = next.links.filter(({ row, col, value }) => {
      if (fed[col]) return true
      const constant = layer.bias[col] as number
      next.bias[row] = (next.bias[row] as number) + value * (layer.relus > 0 ? Math.max(constant, 0) : constant)
      return false
    })
    for (let r = 0; r < layer.rows; ++r) here[r] = fed[r] as number
  }
  for (let l = layers.length - 2; l >= 0; --l) {
    const [layer, next] = [layers[l] as Layer, layers[l + 1] as Layer]
    const here = stays[l] as Uint8Array
    const used = new Uint8Array(layer.rows)
    for (const { col } of next.links) used[col] = 1
    for (let r = 0; r < layer.rows; ++r) here[r] = (here[r] as number) & (used[r] as number)
    layer.links = layer.links.filter(({ row }) => here[row])
    if (!here.includes(1)) here[0] = 1 // no layer is empty: a neuron that emits nothing to anyone
  }
  return [
    ...modules.slice(0, first).map(() => new Relu()),
    ...layers.flatMap((layer, l) => [
      build(layer, stays[l] as Uint8Array, stays[l - 1]),
      ...Array.from({ length: layer.relus }, () => new Relu()),
    ]),
  ]
}

/** The layer with the neurons that stay; all inputs do where `inputs` is undefined. */
function build({ cols, dense, hasBias, bias, links }: Layer, outputs: Uint8Array, inputs?: Uint8Array): Module {
  const places = (stay: Uint8Array) => {
    let next = 0
    return Int32Array.from(stay, (s) => (s ? next++ : -1))
  }
  const [rowAt, colAt] = [places(outputs), places(inputs ?? new Uint8Array(cols).fill(1))]
  const outFeatures = outputs.reduce((sum, s) => sum + s, 0)
  const inFeatures = inputs ? inputs.reduce((sum, s) => sum + s, 0) : cols
  const kept = links.map(({ row, col, value }) => ({ row: rowAt[row] as number, col: colAt[col] as number, value }))
  const newBias = Float32Array.from(bias.filter((_, row) => outputs[row]))
  const withBias = hasBias || newBias.some((b) => b !== 0)
  if (dense) {
    const values = new Float32Array(outFeatures * inFeatures)
    for (const { row, col, value } of kept) values[row * inFeatures + col] = value
    const module = new Linear({ inFeatures, outFeatures, bias: withBias })
    module.setWeights({ values, ...(withBias && { bias: newBias }) })
    return module
  }
  if (kept.length === 0) kept.push({ row: 0, col: 0, value: 0 }) // a sparse layer has a link
  const rowOffsets = new Int32Array(outFeatures + 1)
  for (const { row } of kept) rowOffsets[row + 1] = (rowOffsets[row + 1] as number) + 1
  for (let r = 0; r < outFeatures; ++r) rowOffsets[r + 1] = (rowOffsets[r + 1] as number) + (rowOffsets[r] as number)
  const module = new SparseLinear({
    inFeatures,
    outFeatures,
    density: kept.length / (inFeatures * outFeatures),
    bias: withBias,
  })
  module.setWeights({
    links: { rowOffsets, columnIndices: Int32Array.from(kept, ({ col }) => col) },
    values: Float32Array.from(kept, ({ value }) => value),
    ...(withBias && { bias: newBias }),
  })
  return module
}
