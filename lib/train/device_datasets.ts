/** Data sets in a device's memory, for those who train, evaluate and predict on it. */
import type { Dataset } from '../data/dataset.js'
import type { Device } from '../device.js'
import { HebbError } from '../error.js'
import { DeviceDataset, SampleOrder } from './feed.js'

/** Data sets that were brought to a device, each once, with an order for training and one for evaluation. */
export class DeviceDatasets {
  readonly #device: Device
  readonly #found = new Map<Dataset, { data: DeviceDataset; shuffled?: SampleOrder; asTheyLie?: SampleOrder }>()
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

  dispose(): void {
    this.#disposed = true
    for (const { data, shuffled, asTheyLie } of this.#found.values())
      for (const owned of [data, shuffled, asTheyLie]) owned?.dispose()
  }
}
