/** Data sets in a device's memory, for those who train, evaluate and predict on it. */
import type { Dataset } from '../data/dataset.js'
import type { SampleStream } from '../data/stream.js'
import type { Device } from '../device.js'
import { HebbError } from '../error.js'
import { DeviceDataset, SampleOrder, StreamOrder } from './feed.js'

/** Data sets that were brought to a device, each once, with an order for training and one for evaluation. */
export class DeviceDatasets {
  readonly #device: Device
  readonly #found = new Map<Dataset, { data: DeviceDataset; shuffled?: SampleOrder; asTheyLie?: SampleOrder }>()
  readonly #streams = new Map<SampleStream, StreamOrder>()
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

  dispose(): void {
    this.#disposed = true
    for (const order of this.#streams.values()) order.dispose()
    for (const { data, shuffled, asTheyLie } of this.#found.values())
      for (const owned of [data, shuffled, asTheyLie]) owned?.dispose()
  }
}
