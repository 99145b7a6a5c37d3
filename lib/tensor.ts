/**
 * Native memory with a type: flat tensors, batches of activations, and sparse matrices. All are freed by dispose(); the
 * garbage collector is only the safety net.
 */
import type { Device } from './device.js'
import { expect, integer, known, show } from './error.js'
import { addon, type Links, type NativeActivations, type NativeBuffer, type NativeMatrix } from './native.js'
import { isTyped } from './typed_array.js'

/** What holds a tensor's elements in JavaScript. */
export const typedArrays = {
  float32: Float32Array,
  float64: Float64Array,
  int32: Int32Array,
  uint8: Uint8Array,
  uint64: BigUint64Array,
}

export type TensorType = keyof typeof typedArrays

const nameOf = (type: TensorType) => typedArrays[type].name as 'Float32Array'

interface TypedArrays {
  float32: Float32Array
  float64: Float64Array
  int32: Int32Array
  uint8: Uint8Array
  uint64: BigUint64Array
}
export type TypedArrayOf<T extends TensorType> = TypedArrays[T]

/** For messages about a length: why there is nothing where there was something. */
function detached({ buffer, byteLength }: ArrayBufferView): string {
  return byteLength === 0 && buffer.byteLength === 0 ? '. Was its ArrayBuffer transferred?' : ''
}

/** A flat array on a device. */
export class Tensor<T extends TensorType = 'float32'> {
  readonly device: Device
  readonly type: T
  #length: number
  /** @internal */
  readonly native: NativeBuffer

  /** Zeroed, or holding `data`. `native` is internal: memory that is there. */
  constructor(device: Device, type: T, lengthOrData: number | TypedArrayOf<T>, native?: NativeBuffer) {
    this.device = device
    this.type = type
    expect(
      Object.hasOwn(typedArrays, type),
      () => `Expected the type to be one of ${Object.keys(typedArrays).join(', ')}, got ${show(type)}`,
    )
    expect(
      typeof lengthOrData === 'number' || isTyped(lengthOrData, nameOf(type)),
      () => `Expected a length or a ${typedArrays[type].name} for a tensor of ${type}, got ${show(lengthOrData)}`,
    )
    this.#length = typeof lengthOrData === 'number' ? integer(lengthOrData, 'length', 0) : lengthOrData.length
    const bytes = this.#length * typedArrays[type].BYTES_PER_ELEMENT
    const data = typeof lengthOrData === 'number' ? undefined : lengthOrData
    this.native = native ?? device.native.allocate(type, bytes, data)
  }

  /** Elements that fit. */
  get length(): number {
    return this.#length
  }

  /** What it takes on the device. */
  get bytes(): number {
    return this.#length * typedArrays[this.type].BYTES_PER_ELEMENT
  }

  /** A copy of the first `length` elements, after all calls made before. */
  async read(length: number = this.length): Promise<TypedArrayOf<T>> {
    return this.native.read(new typedArrays[this.type](integer(length, 'length', 0, this.length)) as TypedArrayOf<T>)
  }

  /**
   * Copies `data` in, after all calls made before. The array may be reused at once. With `length`, the first elements
   * alone are given.
   */
  async write(data: TypedArrayOf<T>, length: number = this.length): Promise<void> {
    expect(isTyped(data, nameOf(this.type)), () => `Expected a ${typedArrays[this.type].name}, got ${show(data)}`)
    integer(length, 'length', 0, this.length)
    expect(data.length === length, () => `Expected ${length} elements, got ${data.length}${detached(data)}`)
    return this.native.write(data)
  }

  /**
   * Copies the elements of a tensor of the same type and device, which may be shorter, to the beginning of this one,
   * without a trip through JavaScript.
   */
  async copy(from: Tensor<T>): Promise<void> {
    expect(
      from instanceof Tensor && from.type === this.type,
      () => `Expected a tensor of ${this.type}, got ${from instanceof Tensor ? from.type : show(from)}`,
    )
    return this.native.copy(from.native)
  }

  /**
   * Moves to memory for another number of elements: the first ones stay what they are, new ones are 0. Programs that
   * name the tensor are bound again.
   */
  async resize(length: number): Promise<void> {
    await this.native.resize(integer(length, 'length', 0) * typedArrays[this.type].BYTES_PER_ELEMENT)
    this.#length = length
  }

  /** Gives the native memory back. Safe to call twice. */
  dispose(): void {
    this.native.dispose()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}

/** What the columns of activations are: a part of the batch, or tokens. Made by Program.part() and Program.axis(). */
export class Axis {
  /** Columns that fit. */
  readonly columns: number
  /** Of a part of the batch: its first column. */
  readonly first: number
  readonly #memory: Tensor<'int32'>

  /** @internal */
  constructor(device: Device, first: number, columns: number, native: NativeBuffer) {
    this.first = first
    this.columns = columns
    this.#memory = new Tensor(device, 'int32', 3, native)
  }

  /** @internal */
  get native(): NativeBuffer {
    return this.#memory.native
  }

  /** [3] the columns of the last step, the first one's number in the whole batch, and the whole batch's columns. */
  async read(): Promise<Int32Array> {
    return this.#memory.read()
  }

  /** Gives the native memory back. Safe to call twice. */
  dispose(): void {
    this.#memory.dispose()
  }
}

/** A batch: [features][columns], a column a sample. The order in memory is the backend's own. */
export class Activations implements NativeActivations {
  readonly device: Device
  readonly features: number
  /** Columns that fit. */
  readonly capacity: number
  /** @internal */
  readonly buffer: NativeBuffer
  /** @internal The first row of the buffer that is theirs, and the buffer's rows. */
  readonly first: number
  /** @internal */
  readonly rows: number

  readonly #isWhole: boolean

  /** `of` is internal: see slice() and Program.activations(). */
  constructor(
    device: Device,
    features: number,
    capacity: number,
    of?: { whole: Activations; first: number } | NativeBuffer,
  ) {
    this.device = device
    this.features = integer(features, 'features', 1)
    this.capacity = integer(capacity, 'capacity', 1)
    const part = of && 'whole' in of ? of : undefined
    this.buffer = part
      ? part.whole.buffer
      : ((of as NativeBuffer | undefined) ??
        device.native.allocate('float32', device.native.activationBytes(features, capacity)))
    this.#isWhole = part === undefined
    this.first = part ? part.whole.first + part.first : 0
    this.rows = part ? part.whole.rows : features
  }

  /**
   * The features from `first` up to `end`, not a copy: a head's rows. The memory is that of the whole, which is the one
   * to dispose.
   */
  slice(first: number, end: number): Activations {
    integer(first, 'first', 0, this.features - 1)
    integer(end, 'end', first + 1, this.features)
    return new Activations(this.device, end - first, this.capacity, { whole: this, first })
  }

  /** The first `columns` columns as [columns][features]. */
  async read(columns: number = this.capacity): Promise<Float32Array> {
    integer(columns, 'columns', 0, this.capacity)
    return this.device.native.readActivations(this, new Float32Array(columns * this.features), columns)
  }

  /** Writes [columns][features]. */
  async write(data: Float32Array, columns: number = this.capacity): Promise<void> {
    return this.device.native.writeActivations(this, data, columns)
  }

  /** Gives the memory back; a slice has none of its own. */
  dispose(): void {
    if (this.#isWhole) this.buffer.dispose()
  }
}

/**
 * The links of a layer on a device: W [rows = outputs][cols = inputs]. The links may change within the capacity, and
 * the capacity by resize().
 */
export class SparseMatrix {
  readonly rows: number
  readonly cols: number
  #capacity: number
  /** Links from which on it has dense tiles, too. */
  readonly #tilesFrom: number
  /** @internal */
  readonly native: NativeMatrix

  constructor(device: Device, rows: number, cols: number, links: Links, capacity: number = links.columnIndices.length) {
    this.rows = integer(rows, 'rows', 1)
    this.cols = integer(cols, 'cols', 1)
    this.#capacity = Math.max(1, integer(capacity, 'capacity', 0))
    this.#tilesFrom = device.info.denseFrom * rows * cols
    this.native = device.native.sparse(rows, cols, this.#capacity, links.rowOffsets, links.columnIndices)
  }

  /** Links that fit. */
  get capacity(): number {
    return this.#capacity
  }

  /** What its indices take on the device: rows and columns in both orders, and in tiles a bit for each cell. */
  get bytes(): number {
    const { rows, cols, capacity } = this
    const tiles = capacity < this.#tilesFrom ? 0 : Math.floor((Math.ceil(rows / 16) * cols + 1) / 2) + 16 * cols
    return 4 * (rows + 1 + cols + 1 + 3 * capacity + tiles)
  }

  /**
   * Gives the matrix room for another number of links, at least those that it has. What belongs to the links is resized
   * by who owns it; Programs that name the matrix are bound again by their next replay.
   */
  async resize(capacity: number): Promise<void> {
    await this.native.resize(integer(capacity, 'capacity', 1, 2 ** 31 - 1))
    this.#capacity = capacity
  }

  /** A copy of the links. */
  async read(): Promise<Links> {
    return this.native.read()
  }

  /** As predictLinks(), on the matrix's device and off the event loop. */
  async predictLinks(
    predictor: LinkPredictor,
    options: { route?: PredictionRoute | undefined } = {},
  ): Promise<LinkScores> {
    return this.native.predictLinks(predictor, known(options, 'predictLinks()', { route: true }).route ?? 'auto')
  }

  /** Gives the native memory back. Safe to call twice. */
  dispose(): void {
    this.native.dispose()
  }
}

/**
 * Where the links of a layer lie in the tensors that belong to them. Links are listed by row, then column (CSR); their
 * values, gradients, optimizer state, scores and flags lie by column, then row (CSC). Link k is element cscSlots(links,
 * cols)[k].
 */
export function cscSlots({ columnIndices }: Links, cols: number): Int32Array {
  const next = new Int32Array(cols + 1)
  for (const column of columnIndices) next[column + 1] = (next[column + 1] as number) + 1
  for (let column = 0; column < cols; ++column)
    next[column + 1] = (next[column + 1] as number) + (next[column] as number)
  return columnIndices.map((column) => {
    const slot = next[column] as number
    next[column] = slot + 1
    return slot
  })
}

type Elements = Float32Array | Int32Array | Uint8Array

/** Elements of a tensor (CSC order) in the order of the links (CSR). */
export function inRowOrder<T extends Elements>(elements: T, slots: Int32Array): T {
  const ordered = elements.slice(0, slots.length)
  for (let k = 0; k < slots.length; ++k) ordered[k] = elements[slots[k] as number] as number
  return ordered as T
}

/** Elements in the order of the links (CSR) as they lie in a tensor (CSC order). */
export function inColumnOrder<T extends Elements>(elements: T, slots: Int32Array): T {
  const ordered = elements.slice(0, slots.length)
  for (let k = 0; k < slots.length; ++k) ordered[slots[k] as number] = elements[k] as number
  return ordered as T
}

/** Links with the sizes of their layer: W [rows = outputs][cols = inputs]. */
export interface PlainCsr extends Links {
  readonly rows: number
  readonly cols: number
}

/**
 * The link predictors, from paths of length three (the Cannistraci-Hebb network automata): by nodes (n), by paths (p).
 */
export const linkPredictors = ['CH2-L3n', 'CH3-L3n', 'CH2-L3p', 'CH3-L3p'] as const

/**
 * How a missing link is scored by topology alone: the Cannistraci-Hebb indices CH2 and CH3 on paths of length 3, by
 * nodes (L3n) or by paths (L3p); arXiv 2501.19107. predictLinks() has the formulas.
 */
export type LinkPredictor = (typeof linkPredictors)[number]

/** Missing links with a nonzero score, by row, then column. */
export interface LinkScores {
  readonly row: Int32Array
  readonly col: Int32Array
  readonly score: Float32Array
}

/**
 * How missing links are scored: row by row along the links, in tiles with min(rows, cols)^2 memory, or as a cost model
 * chooses. The CPU gives the same bits by both. A GPU's 'dense' route, for CH2-L3n and CH3-L3n, runs on tensor cores
 * and differs by about 1e-6 of a score; 'auto' takes it where it is expected to be faster (Device.predictionRoute),
 * unless the device is to be deterministic 'everywhere': then 'auto' is 'sparse', with the CPU's bits.
 */
export const predictionRoutes = ['auto', 'sparse', 'dense'] as const

/**
 * How scores are computed: 'sparse' path by path, 'dense' by products of matrices a tile at a time, 'auto' the faster
 * one.
 */
export type PredictionRoute = (typeof predictionRoutes)[number]

/**
 * Scores all missing links of a layer by topology alone. Returns those with a nonzero score, by row, then column.
 * CH2-L3n(u,v) sums (UU[u,k] + 1) / max(d[k] - UU[u,k], 1) over v's outputs k != u that share an input with u, and the
 * same with the sides exchanged; CH3-L3n has numerator 1. CH2-L3p(u,v) sums sqrt((1 + VV[a,v]) (1 + UU[u,k]) / ((d[a] -
 * VV[a,v]) (d[k] - UU[u,k]))) over all paths u - a - k - v; CH3-L3p has numerator 1 (methods of the paper, arXiv
 * 2501.19107). For inspection: the answer can be as large as rows x cols. Training never holds it. Runs at once, on the
 * CPU: no device is needed.
 */
export function predictLinks(
  links: PlainCsr,
  predictor: LinkPredictor,
  options: { route?: PredictionRoute | undefined } = {},
): LinkScores {
  const { rows, cols, rowOffsets, columnIndices } = links
  const int32 = (indices: Int32Array) => (isTyped(indices, 'Int32Array') ? indices : Int32Array.from(indices))
  const { route = 'auto' } = known(options, 'predictLinks()', { route: true })
  return addon.predictLinks(rows, cols, int32(rowOffsets), int32(columnIndices), predictor, route)
}

/**
 * Draws `k` indices without replacement with probabilities proportional to score^temperature, by an exponential race
 * (equal in law to sequential draws). Zero scores are drawn only after all positive ones. Returns ascending indices.
 * Runs at once, on the CPU: no device is needed.
 */
export function sampleWithoutReplacement(
  scores: ArrayLike<number>,
  k: number,
  options: { temperature?: number | undefined; seed?: number | undefined } = {},
): Int32Array {
  const names = { temperature: true, seed: true } as const
  const { temperature = 1, seed = 0 } = known(options, 'sampleWithoutReplacement()', names)
  integer(k, 'k', 0, scores.length)
  integer(seed, 'seed', 0)
  return addon.sampleWithoutReplacement(
    isTyped(scores, 'Float32Array') ? scores : Float32Array.from(scores),
    k,
    temperature,
    seed,
  )
}
