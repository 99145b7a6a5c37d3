/** What an optimizer steps and a topology update moves: parallel arrays of one element a parameter. */
import type { Device } from '../device.js'
import { HebbError } from '../error.js'
import type { Links } from '../native.js'
import { SparseMatrix, Tensor } from '../tensor.js'

abstract class ParameterArrays {
  readonly name: string
  /** Elements that fit. */
  readonly capacity: number
  readonly values: Tensor
  readonly #slots = new Map<string, Tensor>()
  #gradient: Tensor | undefined
  readonly #device: Device

  constructor(device: Device, name: string, capacity: number) {
    this.#device = device
    this.name = name
    this.capacity = capacity
    this.values = new Tensor(device, 'float32', capacity)
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

  /** Everything that belongs to a parameter's place: values and optimizer state. */
  get arrays(): Tensor[] {
    return [this.values, ...this.#slots.values()]
  }

  dispose(): void {
    for (const tensor of this.arrays) tensor.dispose()
    this.#gradient?.dispose()
  }
}

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

  dispose(): void {
    for (const part of [this.links, this.values, this.keep]) part.dispose()
  }
}

/**
 * The links of a sparse layer. Its arrays lie by column (input), then row: cscSlots() leads to them from the links by
 * row.
 */
export class SparseParameter extends ParameterArrays {
  readonly matrix: SparseMatrix
  /** Number of the layer in its model, part of every random counter. */
  readonly layer: number
  readonly #device: Device
  #pool: Pool | undefined
  #disposed = false

  constructor(device: Device, name: string, layer: number, rows: number, cols: number, links: Links, capacity: number) {
    const matrix = new SparseMatrix(device, rows, cols, links, capacity)
    try {
      super(device, name, matrix.capacity)
    } catch (error) {
      matrix.dispose() // nobody else knows it yet
      throw error
    }
    this.matrix = matrix
    this.layer = layer
    this.#device = device
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

export type Parameter = DenseParameter | SparseParameter
