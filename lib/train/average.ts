/**
 * The mean of the parameters of several checkpoints, as a checkpoint of its own. States of one run after its last
 * topology update have the same links; where links differ, the mean of the matrices that the files stand for has all
 * links that any of them has.
 */

import { expect, HebbError, known, show } from '../error.js'
import { expectPlace } from '../files.js'
import type { Links } from '../native.js'
import { Checkpoint, isOfModel } from './checkpoint.js'
import { CHECKPOINT, type Outgoing, readTensors, type Stored, writeTensors } from './safetensors.js'

export interface AverageOptions {
  /**
   * Where links differ, take all that any of the files has: a link that a file lacks counts as 0 there. The network
   * becomes denser by that. Default false: such files are refused.
   */
  union?: boolean | undefined
}

/** What the average has come to. */
export interface Averaged {
  readonly files: number
  /** In its sparse layers. */
  readonly links: number
  /** In those of the first file. */
  readonly linksBefore: number
}

interface Sums {
  readonly shape: readonly number[]
  /** In double precision. */
  readonly values: Float64Array
  /** Of a sparse layer. */
  readonly links?: Links
}

/** Of one file: its tensors by name, those of a sparse layer by the layer's. */
interface Read {
  readonly file: string
  readonly metadata: Readonly<Record<string, string>>
  readonly tensors: ReadonlyMap<string, { readonly shape: readonly number[]; data: Float32Array; links?: Links }>
}

const LINKS = /\.(rowOffsets|columnIndices)$/

async function readModel(file: string): Promise<Read> {
  const { metadata, tensors } = await readTensors(file, isOfModel)
  new Checkpoint(file, metadata, tensors) // refuses what is none
  const found = new Map<string, { shape: readonly number[]; data: Float32Array; links?: Links }>()
  for (const [name, tensor] of tensors) {
    if (LINKS.test(name)) continue
    const { shape, data } = tensor
    const layer = name.replace(/\.values$/, '')
    const links = layer !== name && linksIn(tensors, layer, data.length)
    if (tensor.type !== 'F32' || (layer !== name && !links))
      throw new HebbError('BAD_FILE', `Expected ${file} to be a checkpoint of hebb: ${name} does not fit together`)
    found.set(layer, { shape, data: data as Float32Array, ...(links && { links }) })
  }
  return { file, metadata, tensors: found }
}

/** A layer's links, ascending within each row; undefined where they are none. */
function linksIn(tensors: ReadonlyMap<string, Stored>, layer: string, count: number): Links | undefined {
  const [offsets, indices] = ['rowOffsets', 'columnIndices'].map((part) => tensors.get(`${layer}.${part}`))
  if (offsets?.type !== 'I32' || indices?.type !== 'I32') return undefined
  const [rowOffsets, columnIndices] = [offsets.data as Int32Array, indices.data as Int32Array]
  let isFit = rowOffsets[0] === 0 && rowOffsets.at(-1) === count && columnIndices.length === count
  for (let row = 0; isFit && row + 1 < rowOffsets.length; ++row) {
    const [begin, end] = [rowOffsets[row] as number, rowOffsets[row + 1] as number]
    isFit = begin <= end && end <= count
    for (let k = begin + 1; isFit && k < end; ++k)
      isFit = (columnIndices[k - 1] as number) < (columnIndices[k] as number)
  }
  return isFit ? { rowOffsets, columnIndices } : undefined
}

/** What of a model's making says how it computes: not its seed, dropout or density. */
const OWN = ['seed', 'dropout', 'attentionDropout', 'density', 'densities', 'topology', 'weights']
const makingOf = ({ metadata }: Read) =>
  JSON.stringify(JSON.parse(metadata.model as string), (name, value) => (OWN.includes(name) ? undefined : value))

const isSame = (a: ArrayLike<number>, b: ArrayLike<number>) =>
  a.length === b.length && Array.prototype.every.call(a, (one, i) => one === b[i])

/** Refuses a file whose network is another one than that of the first. */
function expectLike(first: Read, other: Read): void {
  const differs = (what: string, mend = '') =>
    new HebbError(
      'INVALID_ARGUMENT',
      `Expected ${other.file} to be of the network of ${first.file}, got ${what}${mend}`,
    )
  for (const [name, { shape, links }] of first.tensors) {
    const there = other.tensors.get(name)
    if (!there) throw differs(`one without ${name}`)
    if (!links !== !there.links) throw differs(`one whose ${name} has ${there.links ? 'links' : 'no links'}`)
    if (!links && !isSame(shape, there.shape))
      throw differs(`one whose ${name} is ${there.shape.join(' x ')} and not ${shape.join(' x ')}`)
    if (links && there.links && links.rowOffsets.length !== there.links.rowOffsets.length)
      throw differs(
        `one whose ${name} has ${there.links.rowOffsets.length - 1} rows, not ${links.rowOffsets.length - 1}`,
      )
  }
  const more = [...other.tensors.keys()].find((name) => !first.tensors.has(name))
  if (more !== undefined) throw differs(`one that has ${more} besides`)
  if (makingOf(first) !== makingOf(other)) throw differs('one that was made otherwise')
  if (first.metadata.tokenizers !== other.metadata.tokenizers) throw differs('one with another tokenizer')
}

/** All links of both, and the values of the first at them. */
function united(sums: Sums & { readonly links: Links }, links: Links): Sums & { readonly links: Links } {
  const rows = sums.links.rowOffsets.length - 1
  const rowOffsets = new Int32Array(rows + 1)
  const [columns, values]: [number[], number[]] = [[], []]
  for (let row = 0; row < rows; ++row) {
    const ends = (of: Links) => [of.rowOffsets[row] as number, of.rowOffsets[row + 1] as number] as const
    let [a, aEnd] = ends(sums.links)
    let [b, bEnd] = ends(links)
    while (a < aEnd || b < bEnd) {
      const mine = a < aEnd ? (sums.links.columnIndices[a] as number) : Number.POSITIVE_INFINITY
      const theirs = b < bEnd ? (links.columnIndices[b] as number) : Number.POSITIVE_INFINITY
      columns.push(Math.min(mine, theirs))
      values.push(mine <= theirs ? (sums.values[a] as number) : 0)
      if (mine <= theirs) ++a
      if (theirs <= mine) ++b
    }
    rowOffsets[row + 1] = columns.length
  }
  return {
    shape: [columns.length],
    values: Float64Array.from(values),
    links: { rowOffsets, columnIndices: Int32Array.from(columns) },
  }
}

/** Adds the values of `links`, which are among those of the sums. */
function addAt(sums: Sums & { readonly links: Links }, links: Links, data: Float32Array): void {
  let at = 0
  for (let row = 0; row + 1 < links.rowOffsets.length; ++row)
    for (let k = links.rowOffsets[row] as number; k < (links.rowOffsets[row + 1] as number); ++k) {
      if (k === links.rowOffsets[row]) at = sums.links.rowOffsets[row] as number
      while (sums.links.columnIndices[at] !== links.columnIndices[k]) ++at
      sums.values[at] = (sums.values[at] as number) + (data[k] as number)
    }
}

/**
 * Writes the mean of the parameters of several checkpoints to `out`, a checkpoint for load(), Trainer.from() and the
 * command line. Sums are in double precision, and each mean is rounded once. Everything else, how the model was made,
 * the loss, tokenizers and notes, is the first file's; there is no run and no optimizer's state. Throws
 * INVALID_ARGUMENT, with the file and the layer, for files of other networks, and for links that differ unless `union`
 * says what is to become of them.
 */
export async function averageCheckpoints(
  files: readonly string[],
  out: string,
  options: AverageOptions = {},
): Promise<Averaged> {
  const { union = false } = known(options, 'averageCheckpoints()', { union: true })
  expect(
    Array.isArray(files) && files.length >= 2 && files.every((file) => typeof file === 'string'),
    () => `Expected the paths of at least two checkpoints, got ${show(files)}`,
  )
  expect(typeof union === 'boolean', () => `Expected union to be true or false, got ${show(union)}`)
  await expectPlace(out, CHECKPOINT)
  const first = await readModel(files[0] as string)
  const sums = new Map<string, Sums>()
  for (const [name, { shape, data, links }] of first.tensors)
    sums.set(name, { shape, values: Float64Array.from(data), ...(links && { links }) })
  for (const file of files.slice(1)) {
    const other = await readModel(file)
    expectLike(first, other)
    for (const [name, { data, links }] of other.tensors) {
      const sum = sums.get(name) as Sums
      if (!links || !sum.links) {
        for (let i = 0; i < data.length; ++i) sum.values[i] = (sum.values[i] as number) + (data[i] as number)
        continue
      }
      const hasSame =
        isSame(links.rowOffsets, sum.links.rowOffsets) && isSame(links.columnIndices, sum.links.columnIndices)
      expect(
        hasSame || union,
        () =>
          `Expected ${file} to have the links of ${first.file} in the layer ${name}, got others. Take states of one ` +
          'run after its last topology update; or take all links that any file has, by union (--union).',
      )
      const all = hasSame ? { ...sum, links: sum.links } : united({ ...sum, links: sum.links }, links)
      sums.set(name, all)
      addAt(all, links, data)
    }
  }
  const tensors: Outgoing[] = []
  let [links, linksBefore] = [0, 0]
  for (const [name, sum] of sums) {
    const mean = () => Float32Array.from(sum.values, (value) => value / files.length)
    if (sum.links) {
      const { rowOffsets, columnIndices } = sum.links
      links += columnIndices.length
      linksBefore += first.tensors.get(name)?.data.length as number
      tensors.push({ name: `${name}.rowOffsets`, type: 'I32', shape: [rowOffsets.length], read: () => rowOffsets })
      tensors.push({ name: `${name}.columnIndices`, type: 'I32', shape: sum.shape, read: () => columnIndices })
      tensors.push({ name: `${name}.values`, type: 'F32', shape: sum.shape, read: mean })
    } else tensors.push({ name, type: 'F32', shape: sum.shape, read: mean })
  }
  const progress = { step: 0, updates: { done: 0, step: 0, settled: [] } }
  const { checksum: _, ...metadata } = first.metadata
  await writeTensors(out, tensors, { ...metadata, progress: JSON.stringify(progress) })
  return { files: files.length, links, linksBefore }
}
