/** What is measured of the topology: links, active neurons, and the links that were ever active. */
import type { Device } from '../device.js'
import type { RegrowRule } from '../dst/regrow.js'
import type { ExecutionForm, SparseParameter } from '../nn/parameter.js'
import { Program } from '../program.js'
import { type PredictionRoute, Tensor } from '../tensor.js'
import { History } from './history.js'

/** What the links of a model are like now. Shares are in [0, 1]. */
export interface TopologyMeasures {
  /** Links in the sparse layers. */
  readonly links: number
  /** Links over possible links, all sparse layers together. */
  readonly density: number
  /**
   * Share of active neurons (ANP): inputs with a link over all sparse layers, and outputs with a link of the last one,
   * over all of these.
   */
  readonly activeNeurons: number
  /** Links ever active over possible links (ITOP rate; Liu et al. 2021); NaN when they are not tracked. */
  readonly itop: number
  /** Links a layer. */
  readonly linksPerLayer: readonly number[]
  /**
   * How each sparse layer's forward product is computed: link by link, or in dense tiles, zeros included, where that is
   * faster (DeviceInfo.denseFrom).
   */
  readonly forms: readonly ExecutionForm[]
  /**
   * The route by which updates score each sparse layer's missing links (Device.predictionRoute; on a CPU 'auto', where
   * the rule names none); undefined where none are scored.
   */
  readonly routes?: readonly PredictionRoute[] | undefined
}

interface Layer {
  readonly parameter: SparseParameter
  /** Inputs with a link, outputs with a link, links. */
  readonly counts: Tensor<'int32'>
}

interface MeasuresOptions {
  /** Whether to keep the links that were ever active, for the ITOP rate. */
  trackHistory?: boolean
  /** The links of layers that were made fully connected ones, and are no sparse parameters. */
  full?: readonly number[]
  /** The rule that adds links. */
  regrow?: RegrowRule | undefined
}

export class Measures {
  readonly #device: Device
  readonly #layers: Layer[]
  readonly #histories: History[] | undefined
  readonly #full: readonly number[]
  readonly #regrow: RegrowRule | undefined
  readonly #active: Program
  #unite: Program

  constructor(
    device: Device,
    parameters: readonly SparseParameter[],
    { trackHistory = true, full = [], regrow }: MeasuresOptions = {},
  ) {
    this.#device = device
    this.#full = full
    this.#regrow = regrow
    this.#layers = parameters.map((parameter) => ({ parameter, counts: new Tensor(device, 'int32', 3) }))
    if (trackHistory) this.#histories = parameters.map((parameter) => new History(device, parameter))
    this.#active = new Program(device)
    for (const { parameter, counts } of this.#layers)
      this.#active.record('activeNeurons', { links: parameter.matrix, counts })
    this.#unite = this.#recordUnite()
  }

  /** Notes which links are active: after every change of the topology. */
  async note(): Promise<void> {
    let others = false
    for (const history of this.#histories ?? []) others = (await history.makeRoom()) || others
    if (others) this.#recordAgain()
    await this.#unite.replay(1)
  }

  /** The links that were ever active in a layer, as row * cols + col, ascending. */
  async history(parameter: SparseParameter): Promise<BigUint64Array | undefined> {
    return this.#histories?.find((h) => h.parameter === parameter)?.read()
  }

  /** Goes on with a history that was saved. */
  async restore(parameter: SparseParameter, history: BigUint64Array): Promise<void> {
    const known = this.#histories?.find((h) => h.parameter === parameter)
    if (await known?.restore(history)) this.#recordAgain()
  }

  async read(): Promise<TopologyMeasures> {
    await this.#active.replay(1)
    const fully = this.#full.reduce((sum, count) => sum + count, 0)
    let [links, possible, active, neurons] = [fully, fully, 0, 0]
    const linksPerLayer = [...this.#full]
    const forms: ExecutionForm[] = []
    for (const [i, { parameter, counts }] of this.#layers.entries()) {
      const { rows, cols } = parameter.matrix
      const [inputs, outputs, count] = (await counts.read()) as unknown as [number, number, number]
      linksPerLayer.push(count)
      forms.push(parameter.formAt(count))
      links += count
      possible += rows * cols
      active += inputs
      neurons += cols
      if (i === this.#layers.length - 1) {
        active += outputs
        neurons += rows
      }
    }
    let ever = this.#histories ? fully : Number.NaN
    for (const { count } of this.#histories ?? []) ever += Number((await count.read())[0])
    const share = (a: number, b: number) => (b === 0 ? 1 : a / b)
    const [density, activeNeurons, itop] = [share(links, possible), share(active, neurons), share(ever, possible)]
    return { links, density, activeNeurons, itop, linksPerLayer, forms, routes: this.#routes() }
  }

  #routes(): PredictionRoute[] | undefined {
    if (typeof this.#regrow !== 'object') return undefined
    const { predictor, route = 'auto' } = this.#regrow
    if (predictor === 'none' || predictor === 'gradient') return undefined
    const taken = ({ rows, cols, capacity }: SparseParameter['matrix']) =>
      route === 'auto' ? this.#device.predictionRoute(rows, cols, capacity, predictor) : route
    return this.#layers.map(({ parameter }) => taken(parameter.matrix))
  }

  /** What the links that were ever active take on the device, and counts. */
  get bytes(): number {
    const parts = [...this.#layers.map(({ counts }) => counts), ...(this.#histories ?? [])]
    return parts.reduce((sum, { bytes }) => sum + bytes, 0)
  }

  dispose(): void {
    for (const { counts } of this.#layers) counts.dispose()
    for (const history of this.#histories ?? []) history.dispose()
    this.#active.dispose()
    this.#unite.dispose()
  }

  #recordUnite(): Program {
    const program = new Program(this.#device)
    for (const { operands } of this.#histories ?? []) program.record('uniteLinks', operands)
    return program
  }

  #recordAgain(): void {
    this.#unite.dispose()
    this.#unite = this.#recordUnite()
  }
}
