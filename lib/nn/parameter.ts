/** What an optimizer steps and a topology update moves: parallel arrays of one element a parameter. */
import type { Device } from '../device.js'
import { HebbError } from '../error.js'
import type { Links } from '../native.js'
import { SparseMatrix, Tensor } from '../tensor.js'

abstract class ParameterArrays {
  readonly name: string
  readonly values: Tensor
  readonly #slots = new Map<string, Tensor>()
  readonly #scalars = new Map<string, Tensor>()
  #gradient: Tensor | undefined
  readonly #device: Device

  constructor(device: Device, name: string, capacity: number) {
    this.#device = device
    this.name = name
    this.values = new Tensor(device, 'float32', capacity)
  }

  /** Elements that fit. */
  get capacity(): number {
    return this.values.length
  }

  /** Moves all arrays to memory for another number of elements. */
  protected async resizeArrays(capacity: number): Promise<void> {
    for (const tensor of [...this.#slots.values(), this.#gradient, this.values]) await tensor?.resize(capacity)
  }

  /** Made at the first call: a network that only predicts has none. */
  get gradient(): Tensor {
    this.#gradient ??= new Tensor(this.#device, 'float32', this.capacity)
    return this.#gradient
  }

  /** An optimizer's array, made at the first call. */
  slot(name: string): Tensor {
    let slot = this.#slots.get(name)
    if (!slot) {
      slot = new Tensor(this.#device, 'float32', this.capacity)
      this.#slots.set(name, slot)
    }
    return slot
  }

  /** The optimizer's arrays by name. */
  get slots(): ReadonlyMap<string, Tensor> {
    return this.#slots
  }

  /** An optimizer's number for the whole parameter, made at the first call. */
  scalar(name: string): Tensor {
    let scalar = this.#scalars.get(name)
    if (!scalar) {
      scalar = new Tensor(this.#device, 'float32', 1)
      this.#scalars.set(name, scalar)
    }
    return scalar
  }

  /** The optimizer's numbers by name. */
  get scalars(): ReadonlyMap<string, Tensor> {
    return this.#scalars
  }

  /** Bytes on the device. */
  get memory(): { readonly weights: number; readonly gradients: number; readonly optimizer: number } {
    const state = [...this.#slots.values(), ...this.#scalars.values()]
    const optimizer = state.reduce((sum, { bytes }) => sum + bytes, 0)
    return { weights: this.values.bytes, gradients: this.#gradient?.bytes ?? 0, optimizer }
  }

  /** Everything that belongs to a parameter's place: values and optimizer state. */
  get arrays(): Tensor[] {
    return [this.values, ...this.#slots.values()]
  }

  /** Gives the native memory of all its arrays back. Safe to call twice. */
  dispose(): void {
    for (const tensor of [...this.arrays, ...this.#scalars.values()]) tensor.dispose()
    this.#gradient?.dispose()
  }
}

/** A matrix [rows][cols] of numbers, row-major, with its optimizer state; cols is 1 for a vector. */
export class DenseParameter extends ParameterArrays {
  readonly rows: number
  readonly cols: number

  constructor(device: Device, name: string, rows: number, cols: number) {
    super(device, name, rows * cols)
    this.rows = rows
    this.cols = cols
  }
}

/** Links that a layer may have, with the weight that each had last: the historical weights of gradual pruning. */
export class Pool {
  readonly links: SparseMatrix
  /** [links] by column, as a layer's. */
  readonly values: Tensor
  /** [links] by column: the choice that is being made. */
  readonly keep: Tensor<'uint8'>

  constructor(device: Device, rows: number, cols: number, links: Links) {
    this.links = new SparseMatrix(device, rows, cols, links)
    try {
      this.values = new Tensor(device, 'float32', this.links.capacity)
      this.keep = new Tensor(device, 'uint8', this.links.capacity)
    } catch (error) {
      this.links.dispose() // nobody else knows it yet
      throw error
    }
  }

  get bytes(): number {
    return this.links.bytes + this.values.bytes + this.keep.bytes
  }

  dispose(): void {
    for (const part of [this.links, this.values, this.keep]) part.dispose()
  }
}

/** How a sparse layer's forward product is computed: link by link, or in dense tiles, zeros included. */
export type ExecutionForm = 'csr' | 'dense-tile'

/** What a SparseParameter is made with. */
export interface SparseParameterOptions {
  name: string
  /** Number of the layer in its model, part of every random counter. */
  layer: number
  rows: number
  cols: number
  links: Links
  /** Links that fit. Default: as many as there are. */
  capacity?: number | undefined
  /** Share of the possible links that the method's schedule leads to. Default: that of `links`. */
  density?: number | undefined
}

/**
 * The links of a sparse layer. Its arrays lie by column (input), then row: cscSlots() leads to them from the links by
 * row.
 */
export class SparseParameter extends ParameterArrays {
  readonly matrix: SparseMatrix
  /** Number of the layer in its model, part of every random counter. */
  readonly layer: number
  /** Share of the possible links that the method's schedule leads to. */
  readonly density: number
  readonly #device: Device
  #pool: Pool | undefined
  #disposed = false

  constructor(device: Device, options: SparseParameterOptions) {
    const { name, layer, rows, cols, links, capacity, density = links.columnIndices.length / (rows * cols) } = options
    const matrix = new SparseMatrix(device, rows, cols, links, capacity)
    try {
      super(device, name, matrix.capacity)
    } catch (error) {
      matrix.dispose() // nobody else knows it yet
      throw error
    }
    this.matrix = matrix
    this.layer = layer
    this.density = density
    this.#device = device
  }

  /** Links that are possible. */
  get possible(): number {
    return this.matrix.rows * this.matrix.cols
  }

  /** How the forward product is computed while the layer has so many links. Their order in memory is the same. */
  formAt(links: number): ExecutionForm {
    return links >= this.#device.info.denseFrom * this.possible ? 'dense-tile' : 'csr'
  }

  /**
   * Gives the layer room for another number of links, at least those that it has: the matrix and all that belongs to
   * its links. Programs that name them are bound again by their next replay. When there is no memory for it, the layer
   * has room for as many links as before.
   */
  async resize(capacity: number): Promise<void> {
    // Arrays are never shorter than the links that fit.
    if (capacity > this.matrix.capacity) await this.resizeArrays(capacity)
    await this.matrix.resize(capacity)
    if (capacity < this.capacity) await this.resizeArrays(capacity)
  }

  /** Of methods whose pruned links may return. */
  get pool(): Pool | undefined {
    return this.#pool
  }

  /** Makes these links, the layer's among them, the pool. */
  setPool(links: Links): Pool {
    if (this.#disposed) throw new HebbError('DISPOSED', 'Expected a parameter in use, got one that was disposed')
    const pool = new Pool(this.#device, this.matrix.rows, this.matrix.cols, links)
    this.#pool?.dispose()
    this.#pool = pool
    return pool
  }

  override dispose(): void {
    this.#disposed = true
    super.dispose()
    this.#pool?.dispose()
    this.matrix.dispose()
  }
}

/** What an optimizer steps: a matrix or a vector, or the values of a sparse layer's links. */
export type Parameter = DenseParameter | SparseParameter

/** How many elements a parameter has, as operations want to know it: a sparse layer's links, or a count. */
export function elementsOf(parameter: Parameter): { pattern: SparseMatrix } | { count: number } {
  return parameter instanceof SparseParameter ? { pattern: parameter.matrix } : { count: parameter.capacity }
}
