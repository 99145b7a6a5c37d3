/** Data sets in a device's memory, for those who train, evaluate and predict on it. */
import type { Dataset } from '../data/dataset.js'
import type { SampleStream } from '../data/stream.js'
import type { Device } from '../device.js'
import { HebbError } from '../error.js'
import type { TextDataset } from '../text/dataset.js'
import { DeviceDataset, SampleOrder, StreamOrder } from './feed.js'
import { DeviceText, TextOrder, type TextOrderOptions } from './text_feed.js'

/** Data sets that were brought to a device, each once, with an order for training and one for evaluation. */
export class DeviceDatasets {
  readonly #device: Device
  readonly #found = new Map<Dataset, { data: DeviceDataset; shuffled?: SampleOrder; asTheyLie?: SampleOrder }>()
  readonly #streams = new Map<SampleStream, StreamOrder>()
  readonly #texts = new Map<TextDataset, { data: DeviceText; orders: Map<string, TextOrder> }>()
  #disposed = false

  constructor(device: Device) {
    this.#device = device
  }

  /** With a seed, for training: its samples are read in random orders. */
  of(data: Dataset, seed?: number): SampleOrder {
    if (this.#disposed)
      throw new HebbError('DISPOSED', 'Expected a trainer or predictor that is in use, got one that was disposed')
    let found = this.#found.get(data)
    if (!found) {
      found = { data: new DeviceDataset(this.#device, data) }
      this.#found.set(data, found)
    }
    if (seed === undefined) {
      found.asTheyLie ??= new SampleOrder(this.#device, found.data)
      return found.asTheyLie
    }
    found.shuffled ??= new SampleOrder(this.#device, found.data, seed)
    return found.shuffled
  }

  /** A text in batches of so many tokens: with a seed for training, in random orders. */
  ofText(text: TextDataset, options: TextOrderOptions): TextOrder {
    if (this.#disposed)
      throw new HebbError('DISPOSED', 'Expected a trainer or predictor that is in use, got one that was disposed')
    let found = this.#texts.get(text)
    if (!found) {
      found = { data: new DeviceText(this.#device, text), orders: new Map() }
      this.#texts.set(text, found)
    }
    const key = JSON.stringify(options)
    let order = found.orders.get(key)
    if (!order) {
      order = new TextOrder(this.#device, found.data, options)
      found.orders.set(key, order)
    }
    return order
  }

  /** `first`: its first chunk. */
  ofStream(stream: SampleStream, first: Dataset, seed: number): StreamOrder {
    if (this.#disposed)
      throw new HebbError('DISPOSED', 'Expected a trainer or predictor that is in use, got one that was disposed')
    let order = this.#streams.get(stream)
    if (!order) {
      order = new StreamOrder(this.#device, stream, first, seed)
      this.#streams.set(stream, order)
    }
    return order
  }

  /** What all of them take on the device. */
  get bytes(): number {
    const parts: ({ readonly bytes: number } | undefined)[] = [
      ...[...this.#streams.values()].flatMap((order) => [order.data, order]),
      ...[...this.#found.values()].flatMap(({ data, shuffled, asTheyLie }) => [data, shuffled, asTheyLie]),
      ...[...this.#texts.values()].flatMap(({ data, orders }) => [data, ...orders.values()]),
    ]
    return parts.reduce((sum, part) => sum + (part?.bytes ?? 0), 0)
  }

  dispose(): void {
    this.#disposed = true
    for (const order of this.#streams.values()) order.dispose()
    for (const { data, shuffled, asTheyLie } of this.#found.values())
      for (const owned of [data, shuffled, asTheyLie]) owned?.dispose()
    for (const { data, orders } of this.#texts.values()) for (const owned of [data, ...orders.values()]) owned.dispose()
  }
}
