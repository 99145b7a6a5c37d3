/** The links of a layer that were ever active: a sorted list, or one bit a cell where that is not larger. */
import { setImmediate } from 'node:timers/promises'
import type { Device } from '../device.js'
import type { SparseParameter } from '../nn/parameter.js'
import type { OperandsOf } from '../operands.js'
import { Tensor } from '../tensor.js'

/** No bitmap is larger, however long the list becomes: huge layers take memory for their links, not for their cells. */
const MOST_BITMAP_BYTES = 64 * 2 ** 20
/** Cells that are converted before the event loop turns. */
const PAUSE = 2 ** 18

const wordsOf = (cols: number): number => Math.ceil(cols / 64)

/** One bit a cell, [rows][wordsOf(cols)], of a list of cells that ascends. */
async function bitmapOf(list: BigUint64Array, rows: number, cols: number): Promise<BigUint64Array> {
  const words = wordsOf(cols)
  const bits = new BigUint64Array(rows * words)
  // Halves, the lower one first, are numbers: a BigInt for each cell would be an object for each cell.
  const [from, to] = [halvesOf(list), halvesOf(bits)]
  for (let i = 0; i < list.length; ++i) {
    if (i % PAUSE === PAUSE - 1) await setImmediate()
    const cell = (from[2 * i] as number) + 2 ** 32 * (from[2 * i + 1] as number)
    const row = Math.floor(cell / cols)
    const col = cell - row * cols
    const half = 2 * words * row + (col >>> 5)
    to[half] = (to[half] as number) | (1 << (col & 31))
  }
  return bits
}

/** The list of the `count` cells whose bits are set, ascending. */
async function listOf(bits: BigUint64Array, cols: number, count: number): Promise<BigUint64Array> {
  const list = new BigUint64Array(count)
  const [from, to] = [halvesOf(bits), halvesOf(list)]
  const halves = 2 * wordsOf(cols)
  let n = 0
  for (let i = 0; i < from.length; ++i) {
    if (i % (PAUSE / 32) === PAUSE / 32 - 1) await setImmediate()
    const first = Math.floor(i / halves) * cols + 32 * (i % halves)
    for (let half = from[i] as number; half !== 0; half &= half - 1) {
      const cell = first + 31 - Math.clz32(half & -half)
      to[n++] = cell // modulo 2^32
      to[n++] = cell / 2 ** 32
    }
  }
  return list
}

const halvesOf = ({ buffer, byteOffset, length }: BigUint64Array) => new Uint32Array(buffer, byteOffset, 2 * length)

export class History {
  readonly parameter: SparseParameter
  /** [1]: how many links there are. */
  readonly count: Tensor<'uint64'>
  readonly #device: Device
  /** Words of the bitmap; Infinity where there is to be none. */
  readonly #words: number
  #members: Tensor<'uint64'>
  #isBitmap: boolean
  #disposed = false

  constructor(device: Device, parameter: SparseParameter) {
    const { rows, cols, capacity } = parameter.matrix
    const words = rows * wordsOf(cols)
    this.parameter = parameter
    this.#device = device
    this.#words = 8 * words <= MOST_BITMAP_BYTES ? words : Number.POSITIVE_INFINITY
    const room = Math.min(rows * cols, 4 * capacity)
    this.#isBitmap = this.#words <= room
    this.#members = new Tensor(device, 'uint64', Math.min(this.#words, room))
    this.count = new Tensor(device, 'uint64', 1)
  }

  get bytes(): number {
    return this.#members.bytes + this.count.bytes
  }

  /** Of uniteLinks. */
  get operands(): OperandsOf['uniteLinks'] {
    const [links, members, count] = [this.parameter.matrix, this.#members, this.count]
    return this.#isBitmap ? { links, bits: members, count } : { links, ever: members, count, capacity: members.length }
  }

  /** Makes room for the layer's links. Says whether the operands are others now. */
  async makeRoom(): Promise<boolean> {
    if (this.#isBitmap) return false
    const { rows, cols, capacity } = this.parameter.matrix
    const used = Number((await this.count.read())[0])
    if (Math.min(rows * cols, used + capacity) <= this.#members.length) return false
    const room = Math.min(rows * cols, 2 * (used + capacity))
    if (this.#words <= room) {
      const bits = await bitmapOf(await this.#members.read(used), rows, cols)
      this.#replace(new Tensor(this.#device, 'uint64', bits))
      this.#isBitmap = true
    } else {
      const larger = new Tensor(this.#device, 'uint64', room)
      await larger.copy(this.#members)
      this.#replace(larger)
    }
    return true
  }

  /** The links as row * cols + col, ascending. */
  async read(): Promise<BigUint64Array> {
    if (!this.#isBitmap) return this.#members.read(Number((await this.count.read())[0]))
    const [bits, count] = await Promise.all([this.#members.read(), this.count.read()])
    return listOf(bits, this.parameter.matrix.cols, Number(count[0]))
  }

  /** Goes on with what read() gave. Says whether the operands are others now. */
  async restore(list: BigUint64Array): Promise<boolean> {
    const { rows, cols } = this.parameter.matrix
    const grows = !this.#isBitmap && list.length > this.#members.length
    if (grows) {
      this.#members.dispose()
      this.#isBitmap = this.#words <= list.length
      this.#members = new Tensor(this.#device, 'uint64', Math.min(this.#words, list.length))
    }
    const members = this.#isBitmap ? await bitmapOf(list, rows, cols) : list
    await this.#members.write(members, members.length)
    await this.count.write(BigUint64Array.of(BigInt(list.length)))
    return grows
  }

  dispose(): void {
    this.#disposed = true
    for (const tensor of [this.#members, this.count]) tensor.dispose()
  }

  #replace(members: Tensor<'uint64'>): void {
    this.#members.dispose()
    this.#members = members
    if (this.#disposed) members.dispose() // meanwhile
  }
}
