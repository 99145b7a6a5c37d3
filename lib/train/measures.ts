/** What is measured of the topology: links, active neurons, and the links that were ever active. */
import type { Device } from '../device.js'
import type { SparseParameter } from '../nn/parameter.js'
import { Program } from '../program.js'
import { Tensor } from '../tensor.js'

export interface TopologyMeasures {
  /** Links in the sparse layers. */
  readonly links: number
  /** Links over possible links, all sparse layers together. */
  readonly density: number
  /** Share of active neurons (ANP): inputs with a link over all sparse layers, and outputs with a link of the last one, over all of these. */
  readonly activeNeurons: number
  /** Links ever active over possible links (ITOP rate; Liu et al. 2021). */
  readonly itop: number
  /** Links a layer. */
  readonly linksPerLayer: readonly number[]
}

interface Layer {
  readonly parameter: SparseParameter
  /** Inputs with a link, outputs with a link, links. */
  readonly counts: Tensor<'int32'>
  ever: Tensor<'uint64'>
  readonly everCount: Tensor<'uint64'>
}

export class Measures {
  readonly #device: Device
  readonly #layers: Layer[]
  readonly #active: Program
  #unite: Program

  constructor(device: Device, parameters: readonly SparseParameter[]) {
    this.#device = device
    this.#layers = parameters.map((parameter) => ({
      parameter,
      counts: new Tensor(device, 'int32', 3),
      ever: new Tensor(device, 'uint64', Math.min(parameter.matrix.rows * parameter.matrix.cols, 4 * parameter.capacity)),
      everCount: new Tensor(device, 'uint64', 1),
    }))
    this.#active = new Program(device)
    for (const { parameter, counts } of this.#layers) this.#active.record('activeNeurons', { links: parameter.matrix, counts })
    this.#unite = this.#recordUnite()
  }

  /** Notes which links are active: after every change of the topology. */
  async note(): Promise<void> {
    let grown = false
    for (const layer of this.#layers) {
      const { rows, cols, capacity } = layer.parameter.matrix
      const used = Number((await layer.everCount.read())[0])
      if (Math.min(rows * cols, used + capacity) <= layer.ever.length) continue
      const larger = new Tensor(this.#device, 'uint64', Math.min(rows * cols, 2 * (used + capacity)))
      const old = await layer.ever.read()
      const copy = new BigUint64Array(larger.length)
      copy.set(old.subarray(0, used))
      await larger.write(copy)
      layer.ever.dispose()
      layer.ever = larger
      grown = true
    }
    if (grown) {
      this.#unite.dispose()
      this.#unite = this.#recordUnite()
    }
    await this.#unite.replay(1)
  }

  /** The links that were ever active in a layer, as row * cols + col, ascending. */
  async history(parameter: SparseParameter): Promise<BigUint64Array | undefined> {
    const layer = this.#layers.find((l) => l.parameter === parameter)
    if (!layer) return undefined
    return layer.ever.read(Number((await layer.everCount.read())[0]))
  }

  /** Goes on with a history that was saved. */
  async restore(parameter: SparseParameter, history: BigUint64Array): Promise<void> {
    const layer = this.#layers.find((l) => l.parameter === parameter)
    if (!layer) return
    if (history.length > layer.ever.length) {
      layer.ever.dispose()
      layer.ever = new Tensor(this.#device, 'uint64', history.length)
      this.#unite.dispose()
      this.#unite = this.#recordUnite()
    }
    await Promise.all([layer.ever.write(history, history.length), layer.everCount.write(BigUint64Array.of(BigInt(history.length)))])
  }

  async read(): Promise<TopologyMeasures> {
    await this.#active.replay(1)
    let [links, possible, active, neurons, ever] = [0, 0, 0, 0, 0]
    const linksPerLayer: number[] = []
    for (const [i, { parameter, counts, everCount }] of this.#layers.entries()) {
      const { rows, cols } = parameter.matrix
      const [inputs, outputs, count] = (await counts.read()) as unknown as [number, number, number]
      linksPerLayer.push(count)
      links += count
      possible += rows * cols
      active += inputs
      neurons += cols
      if (i === this.#layers.length - 1) {
        active += outputs
        neurons += rows
      }
      ever += Number((await everCount.read())[0])
    }
    const share = (a: number, b: number) => (b === 0 ? 1 : a / b)
    return { links, density: share(links, possible), activeNeurons: share(active, neurons), itop: share(ever, possible), linksPerLayer }
  }

  dispose(): void {
    for (const { counts, ever, everCount } of this.#layers) for (const tensor of [counts, ever, everCount]) tensor.dispose()
    this.#active.dispose()
    this.#unite.dispose()
  }

  #recordUnite(): Program {
    const program = new Program(this.#device)
    for (const { parameter, ever, everCount } of this.#layers) {
      program.record('uniteLinks', { links: parameter.matrix, ever, count: everCount, capacity: ever.length })
    }
    return program
  }
}
