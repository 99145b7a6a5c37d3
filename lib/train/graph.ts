/**
 * A model recorded as a Program: for training or for evaluation, fed from a data set on the device or from the host.
 */
import { type LayerGradient, Tape, type Value } from '../autograd.js'
import type { Device } from '../device.js'
import { elementsOf, type Parameter } from '../nn/parameter.js'
import type { Sequential } from '../nn/sequential.js'
import { frozenOf, type Optimizer, type ParameterGroup } from '../optim/optimizer.js'
import { Program, type Transfer } from '../program.js'
import { type Activations, Tensor } from '../tensor.js'
import { type Feed, HostFeed, type NextBatch } from './feed.js'
import { type Loss, type LossFunction, type LossSums, lossFunction } from './loss.js'

export interface LossTotals {
  /** Mean over the samples, each counted as often as its weight says; 0 where none counts. */
  readonly loss: number
  /** Share of the samples whose class was right, counted in the same way. */
  readonly accuracy: number
  /** How many were counted, in the same way. */
  readonly counted: number
}

/** What sums, as Graph.totals has them, tell. */
export function totalsOf(sums: Float64Array): LossTotals {
  const [loss, correct, weight] = sums as unknown as [number, number, number]
  return weight > 0
    ? { loss: loss / weight, accuracy: correct / weight, counted: weight }
    : { loss: 0, accuracy: Number.NaN, counted: 0 }
}

/** Sums before the first step. */
export function noTotals(): Float64Array {
  return Float64Array.of(0, 0, 0, -1)
}

export interface GraphOptions {
  device: Device
  model: Sequential
  batch: number
  /** Features of a sample. */
  features: number
  /** Without it the graph only predicts. */
  loss?: Loss | undefined
  /** Where batches come from. Default: they are written by the host. */
  feed?: Feed | undefined
  /** Train with this optimizer, the parameters of these groups; without it evaluate only. */
  training?: { readonly optimizer: Optimizer; readonly groups: readonly ParameterGroup[] } | undefined
  /** What the gradients of a step are multiplied by until the optimizer takes them. Default 1. */
  lossScale?: number | undefined
  /** The host looks at the gradients before the optimizer's step. */
  showsGradients?: boolean | undefined
  /**
   * In training, the columns that are computed at a time, a multiple of 16; their gradients add up to the batch's.
   * Default: all of a batch.
   */
  microBatch?: number | undefined
  /** Memory that the values of several graphs take in turn. */
  workspace?: Tensor<'uint8'> | undefined
}

/** A step that computes gradients and takes none. */
export interface Probe {
  readonly program: Program
  /** Columns of a full batch. */
  readonly batch: number
  /** What its gradients are multiplied by. */
  readonly lossScale: number
  /** What the steps of a replay from this batch on need to be written. */
  writes(next: NextBatch): Transfer[]
  /** What the sparse layers' gradients are products of, kept until a graph of the workspace runs. */
  readonly layers: readonly LayerGradient[]
  readonly inputs: readonly Value[]
  /** What the model's modules gave. */
  readonly outputs: Tape['outputs']
}

/** What clipping the gradients by their norm takes. */
class Clipping {
  readonly norm: Tensor<'float64'>
  readonly scale: Tensor<'float64'>

  constructor(device: Device) {
    this.norm = new Tensor(device, 'float64', Float64Array.of(Number.NaN))
    this.scale = new Tensor(device, 'float64', 1)
  }

  dispose(): void {
    for (const tensor of [this.norm, this.scale]) tensor.dispose()
  }
}

/** What was recorded for some columns: `output` where it is there as a whole. */
interface Recorded {
  readonly inputs: readonly Value[]
  readonly output: Activations | undefined
}

/** Scores that are computed at a time: 16 MB. Their gradient takes their place. */
const SCORES = 2 ** 22

/**
 * Columns of the network's result that a loss has computed at a time: all, or where these were more numbers than
 * SCORES, as many as are not.
 */
function columnsAtATime(outputs: number, columns: number): number {
  return outputs * columns <= SCORES ? columns : Math.max(1, Math.floor(SCORES / outputs / 64)) * 64
}

export class Graph {
  readonly program: Program
  readonly batch: number
  readonly #output: Activations | undefined
  /** Sums over the batches since it was last written. */
  readonly totals: Tensor<'float64'>
  /** The sums before the step, for one that is not taken. */
  readonly #previous?: Tensor<'float64'>
  readonly #clipping?: Clipping
  /** 1 / the loss's scale, where it is not 1 and clipping does not divide by it. */
  readonly #unscale?: Tensor<'float64'>
  readonly #tape: Tape
  readonly #options: GraphOptions
  readonly #feed: Feed
  readonly #loss: LossFunction | undefined
  /** Of the whole batch, for the step and its probe. */
  readonly #labels?: Tensor<'int32'>
  readonly #weights?: Tensor<'float32'>
  readonly #count?: Tensor<'float64'>
  #probe: (Probe & { readonly tape: Tape; readonly totals: Tensor<'float64'> }) | undefined

  constructor(options: GraphOptions) {
    const { device, batch, training, loss, workspace, microBatch = batch, feed = new HostFeed() } = options
    const { showsGradients = false } = options
    this.#options = options
    this.#feed = feed
    this.batch = batch
    this.program = new Program(device, {
      scalars: Math.max(1, training?.optimizer.rates.length ?? 0),
      batch,
      ...(workspace && { workspace }),
    })
    const frozen = frozenOf(training?.groups ?? [])
    this.#tape = new Tape(this.program, { training: training !== undefined, frozen })
    try {
      this.totals = new Tensor(device, 'float64', 4)
      this.#loss = loss === undefined ? undefined : lossFunction(loss)
      const padded = Math.ceil(batch / 16) * 16
      if (this.#loss?.targets === 'labels') this.#labels = new Tensor(device, 'int32', padded)
      if (this.#loss && feed.isWeighted) this.#weights = new Tensor(device, 'float32', padded)
      if (this.#weights || (this.#labels && feed.ignore !== undefined)) this.#count = new Tensor(device, 'float64', 1)
      const clipNorm = training?.optimizer.clipNorm
      if (clipNorm !== undefined) this.#clipping = new Clipping(device)
      else if (training && this.#lossScale !== 1)
        this.#unscale = new Tensor(device, 'float64', Float64Array.of(1 / this.#lossScale))
      const isSplit = training !== undefined && microBatch < batch
      const isByColumns = this.#columnsOfHead(this.#tape, batch) < batch
      if (isSplit || isByColumns || this.#clipping || showsGradients) this.#previous = new Tensor(device, 'float64', 4)
      this.#output = this.#record(this.#tape, this.totals, isSplit ? microBatch : undefined).output
      if (!loss) this.program.keep(this.output)
      if (training) this.#recordStep(training, frozen, showsGradients)
    } catch (error) {
      this.dispose() // nobody else knows it yet
      throw error
    }
  }

  #recordStep(
    { optimizer, groups }: NonNullable<GraphOptions['training']>,
    frozen: ReadonlySet<Parameter>,
    showsGradients: boolean,
  ): void {
    if (showsGradients) this.program.cut()
    if (optimizer.clipNorm !== undefined && this.#clipping && this.#previous) {
      const { norm, scale } = this.#clipping
      this.program.record('gradientNorm', {
        gradients: this.#options.model.parameters
          .filter((parameter) => !frozen.has(parameter))
          .map((parameter) => ({ ...elementsOf(parameter), gradient: parameter.gradient })),
        ...{ maxNorm: optimizer.clipNorm, lossScale: this.#lossScale, norm, scale },
        ...{ totals: this.totals, previous: this.#previous },
      })
    }
    optimizer.record(this.program, groups, this.#clipping?.scale ?? this.#unscale)
  }

  /** Of a graph that only predicts. */
  get output(): Activations {
    if (!this.#output) throw new TypeError('a loss is computed of parts of the output')
    return this.#output
  }

  get #lossScale(): number {
    return this.#options.lossScale ?? 1
  }

  /**
   * The step without the optimizer's: it leaves the gradients at the current weights in place, and changes nothing else
   * that lasts. All columns of a batch are computed together, as whoever looks at them wants all of them.
   */
  get probe(): Probe {
    if (!this.#probe) {
      const { device, workspace, training } = this.#options
      const program = new Program(device, { batch: this.batch, ...(workspace && { workspace }) })
      const frozen = frozenOf(training?.groups ?? [])
      const tape = new Tape(program, { training: true, keepGradients: true, frozen })
      const totals = new Tensor(device, 'float64', 4)
      try {
        const { inputs } = this.#record(tape, totals)
        const { gradients: layers, outputs } = tape
        const writes = (next: NextBatch) => this.#writes(tape, next)
        const { batch } = this
        const lossScale = this.#lossScale
        this.#probe = { program, batch, lossScale, writes, layers, inputs, outputs, tape, totals }
      } catch (error) {
        for (const owned of [program, tape, totals]) owned.dispose()
        throw error
      }
    }
    return this.#probe
  }

  /** Takes back what the step has added to the sums. */
  async restoreTotals(): Promise<void> {
    if (this.#previous) await this.totals.write(await this.#previous.read())
  }

  /** What the steps of a replay from this batch on need to be written. */
  writes(next: NextBatch): Transfer[] {
    return this.#writes(this.#tape, next)
  }

  #writes(tape: Tape, next: NextBatch): Transfer[] {
    return this.#feed.writes(tape, next, { labels: this.#labels, weights: this.#weights })
  }

  /** The norm of all gradients in the last step, before they were clipped, if they are and a step was made. */
  async gradientNorm(): Promise<number | undefined> {
    const [norm] = (await this.#clipping?.norm.read()) ?? []
    return norm === undefined || Number.isNaN(norm) ? undefined : norm
  }

  dispose(): void {
    this.program.dispose()
    for (const owned of [this.#probe?.program, this.#probe?.tape, this.#probe?.totals]) owned?.dispose()
    this.#tape.dispose()
    for (const owned of [this.#labels, this.#weights, this.#count, this.totals, this.#previous]) owned?.dispose()
    for (const owned of [this.#clipping, this.#unscale]) owned?.dispose()
  }

  /** Records forward, loss and backward as far as they are wanted, for the batch or for one micro-batch by one. */
  #record(tape: Tape, totals: Tensor<'float64'>, microBatch?: number): Recorded {
    const { ignore } = this.#feed
    if (totals === this.totals && this.#previous) tape.record('noteTotals', { totals, previous: this.#previous })
    this.#feed.fill(tape, { labels: this.#labels, weights: this.#weights })
    if (this.#count) {
      tape.record('sumWeights', {
        ...(this.#labels && ignore !== undefined && { targets: this.#labels, ignore }),
        ...{ weights: this.#weights, sum: this.#count },
      })
    }
    const sums = {
      ...{ totals, weights: this.#weights, count: this.#count },
      previous: totals === this.totals ? this.#previous : undefined,
      ...(this.#labels && ignore !== undefined && { ignore }),
      lossScale: this.#lossScale,
    }
    if (microBatch === undefined) return this.#recordColumns(tape, sums)
    for (let first = 0; ; first += microBatch) {
      tape.begin(tape.program.part(first, Math.min(microBatch, this.batch - first)))
      const recorded = this.#recordColumns(tape, sums)
      if (first + microBatch >= this.batch) return recorded
    }
  }

  /** Columns that the head computes at a time, of so many. What its links grow by is wanted of all together. */
  #columnsOfHead(tape: Tape, columns: number): number {
    const { head } = this.#options.model
    const isWhole = this.#loss?.targets !== 'labels' || (tape !== this.#tape && head?.sparse.length)
    return isWhole || head?.outFeatures === undefined ? columns : columnsAtATime(head.outFeatures, columns)
  }

  #recordColumns(tape: Tape, sums: LossSums): Recorded {
    const { model, features } = this.#options
    const loss = this.#loss
    const inputs = this.#feed.inputs(tape, features, tape.training ? model.seed : undefined)
    const { head } = model
    const columns = this.#columnsOfHead(tape, tape.batch)
    if (loss?.targets === 'labels' && head && columns < tape.batch) {
      const body = model.body(tape, ...(inputs as [Value, ...Value[]]))
      this.#feed.checkOutput?.(tape, body)
      const labels = this.#labels as Tensor<'int32'>
      tape.byColumns(body, columns, (part) => {
        const scores = head.forward(tape, part)
        tape.note(head, scores)
        loss.record(tape, scores, labels, sums)
      })
      if (tape.training) tape.backward()
      return { inputs, output: undefined }
    }
    const output = model.forward(tape, ...(inputs as [Value, ...Value[]]))
    this.#feed.checkOutput?.(tape, output)
    if (loss?.targets === 'labels') loss.record(tape, output, this.#labels as Tensor<'int32'>, sums)
    if (loss?.targets === 'values')
      loss.record(tape, output, this.#feed.targets(tape, output.activations.features), sums)
    if (tape.training) tape.backward()
    return { inputs, output: output.activations }
  }
}
