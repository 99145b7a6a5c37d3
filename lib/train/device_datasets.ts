/**
 * Data sets in a device's memory, for those who train, evaluate and predict on it. They stay as long as the user's
 * object does, and no more than a few of them: whoever makes one for every call takes no more memory with each.
 */
import type { Dataset } from '../data/dataset.js'
import type { SampleStream } from '../data/stream.js'
import type { Device } from '../device.js'
import { HebbError } from '../error.js'
import type { TextDataset } from '../text/dataset.js'
import { DeviceDataset, type Order, SampleOrder, StreamOrder } from './feed.js'
import { DeviceText, StoredOrder, storeOf, TextOrder, type TextOrderOptions } from './text_feed.js'

/** How many data sets are kept, and how many orders of each. */
const MOST = 4

/** What was made of a user's object, and does not refer to it. */
interface Entry<Data = unknown> {
  readonly data: Data
  /** Those of the least recent use first. */
  readonly orders: Map<string, Order>
}

/** The map's last entry from now on. */
function touch<Key, Value>(map: Map<Key, Value>, key: Key, value: Value): void {
  map.delete(key)
  map.set(key, value)
}

/** Data sets that were brought to a device, each once, with orders for training and for evaluation. */
export class DeviceDatasets {
  readonly #device: Device
  /** By the user's object. */
  readonly #found = new WeakMap<object, Entry>()
  /** All there are, those of the least recent use first. */
  readonly #entries = new Map<Entry, Entry>()
  readonly #gone = new FinalizationRegistry<Entry>((entry) => this.#drop(entry))
  /** The user's objects that a call works on. */
  readonly #inUse = new Map<Entry, object>()
  /** What was last trained on. */
  #trained: Entry | undefined
  readonly #listeners: ((order: Order) => void)[] = []
  #disposed = false

  constructor(device: Device) {
    this.#device = device
  }

  /** Calls `act` when an order is no more, before its memory goes: what was recorded with it keeps that. */
  onDrop(act: (order: Order) => void): void {
    this.#listeners.push(act)
  }

  /** With a seed, for training: its samples are read in random orders. */
  of(data: Dataset, seed?: number): SampleOrder {
    const entry = this.#entry(data, () => new DeviceDataset(this.#device, data), seed !== undefined)
    return this.#order(entry, `${seed}`, () => new SampleOrder(this.#device, entry.data, seed))
  }

  /** A text in batches of so many tokens: with a seed for training, in random orders. */
  ofText(text: TextDataset, options: TextOrderOptions): TextOrder {
    const isTrained = options.seed !== undefined
    const name = JSON.stringify(options)
    const file = storeOf(text)
    if (file) {
      const entry = this.#entry(text, () => undefined, isTrained)
      return this.#order(entry, name, () => new StoredOrder(this.#device, text, file, options))
    }
    const entry = this.#entry(text, () => new DeviceText(this.#device, text), isTrained)
    return this.#order(entry, name, () => new TextOrder(this.#device, entry.data, text.lengths, options))
  }

  /** `first`: its first chunk. */
  ofStream(stream: SampleStream, first: Dataset, seed: number): StreamOrder {
    const entry = this.#entry(stream, () => undefined, true)
    return this.#order(entry, `${seed}`, () => new StreamOrder(this.#device, stream, first, seed))
  }

  /** Says that no call works on any of them. */
  rest(): void {
    this.#inUse.clear()
  }

  #entry<Data>(of: object, bring: () => Data, isTrained: boolean): Entry<Data> {
    if (this.#disposed)
      throw new HebbError('DISPOSED', 'Expected a trainer or predictor that is in use, got one that was disposed')
    let entry = this.#found.get(of) as Entry<Data> | undefined
    if (!entry || !this.#entries.has(entry)) {
      entry = { data: bring(), orders: new Map() }
      this.#found.set(of, entry)
      this.#gone.register(of, entry, entry)
    }
    touch(this.#entries, entry, entry)
    this.#inUse.set(entry, of)
    if (isTrained) this.#trained = entry
    for (const old of this.#entries.values()) {
      if (this.#entries.size <= MOST) break
      if (old !== this.#trained && !this.#inUse.has(old)) this.#drop(old)
    }
    return entry
  }

  #order<Made extends Order>({ orders }: Entry, name: string, make: () => Made): Made {
    const order = (orders.get(name) as Made | undefined) ?? make()
    touch(orders, name, order)
    for (const [oldest, old] of orders) {
      if (orders.size <= MOST) break
      orders.delete(oldest)
      this.#end(old)
    }
    return order
  }

  #end(order: Order): void {
    for (const act of this.#listeners) act(order)
    order.dispose()
  }

  #drop(entry: Entry): void {
    if (!this.#entries.delete(entry)) return
    this.#gone.unregister(entry)
    if (this.#trained === entry) this.#trained = undefined
    for (const order of entry.orders.values()) this.#end(order)
    ;(entry.data as Partial<DeviceDataset> | undefined)?.dispose?.()
  }

  /** What all of them take on the device. */
  get bytes(): number {
    // The data of a stream is its order's.
    const parts = [...this.#entries.values()].flatMap(({ data, orders }) => [
      ...[...orders.values()].flatMap((order) => (data === undefined ? [order.data, order] : [order])),
      data as { readonly bytes: number } | undefined,
    ])
    return parts.reduce((sum, part) => sum + (part?.bytes ?? 0), 0)
  }

  dispose(): void {
    this.#disposed = true
    for (const entry of [...this.#entries.values()]) this.#drop(entry)
  }
}
