/** What an optimizer steps and a topology update moves: parallel arrays of one element a parameter. */
import type { Device } from '../device.js'
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

/** The links of a sparse layer. Its arrays lie by column (input), then row: cscSlots() leads to them from the links by row. */
export class SparseParameter extends ParameterArrays {
  readonly matrix: SparseMatrix
  /** Number of the layer in its model, part of every random counter. */
  readonly layer: number

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
  }

  override dispose(): void {
    super.dispose()
    this.matrix.dispose()
  }
}

export type Parameter = DenseParameter | SparseParameter
