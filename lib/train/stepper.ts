/**
 * Takes training's steps: keeps the graph that they replay, makes the topology updates that are due before them, and
 * finds where numbers go wrong.
 */
import { Tokens } from '../autograd.js'
import type { Device } from '../device.js'
import type { Gradients, Scheduler } from '../dst/scheduler.js'
import { HebbError, number } from '../error.js'
import type { Module } from '../nn/module.js'
import { SparseParameter } from '../nn/parameter.js'
import type { Sequential } from '../nn/sequential.js'
import { frozenOf, type Optimizer, type ParameterGroup } from '../optim/optimizer.js'
import type { ReplayOptions } from '../program.js'
import type { Tensor } from '../tensor.js'
import { namedModules, namedParameters, type Plan, type Run, stepsOf } from './checkpoint.js'
import { type Feed, HostFeed, later, type NextBatch, placeOf } from './feed.js'
import { Graph, type Probe } from './graph.js'
import type { Loss } from './loss.js'
import type { Measures } from './measures.js'
import type { TrainerOptions } from './options.js'

/** Where numbers are not finite before the network has begun. */
const DATA = 'the data'

/** How steps are taken. */
interface Training {
  readonly optimizer: Optimizer
  readonly groups: readonly ParameterGroup[]
  readonly onGradients: TrainerOptions['onGradients']
  readonly lossScale: number
}

/** What goes with steps: what is written before and read after them, who is told of them and who counts them. */
interface RunOptions extends Omit<ReplayOptions, 'begin'> {
  onProgress?: ((done: number) => void) | undefined
  run?: Run
}

export class Stepper {
  /** Steps done. */
  step = 0
  /** What rates and updates are laid out over, if it is known. */
  plan: Plan | undefined
  readonly #device: Device
  readonly #model: Sequential
  readonly #optimizer: Optimizer
  readonly #groups: readonly ParameterGroup[]
  readonly #onGradients: TrainerOptions['onGradients']
  readonly #lossScale: number
  readonly #scheduler: Scheduler
  readonly #measures: Measures
  readonly #workspace: Tensor<'uint8'>
  #training: { feed: Feed; loss: Loss; microBatch: number | undefined; graph: Graph } | undefined
  /** The last step that a rate was asked for. */
  #lastRate = { step: -1, rate: Number.NaN }
  /** That of a step whose graph is no more. */
  #lastNorm: Promise<number | undefined> | undefined
  #disposed = false

  /** `workspace`: for the values of its graphs. */
  constructor(
    device: Device,
    model: Sequential,
    { optimizer, groups, onGradients, lossScale }: Training,
    scheduler: Scheduler,
    measures: Measures,
    workspace: Tensor<'uint8'>,
  ) {
    this.#device = device
    this.#workspace = workspace
    this.#model = model
    this.#optimizer = optimizer
    this.#groups = groups
    this.#onGradients = onGradients
    this.#lossScale = lossScale
    this.#scheduler = scheduler
    this.#measures = measures
  }

  /** Samples that fit the graph for batches from the host, if it is the one that is kept. */
  get room(): number {
    return this.#training?.feed instanceof HostFeed ? this.#training.graph.batch : 0
  }

  /** Whether no graph was asked for yet. */
  get fresh(): boolean {
    return this.#training === undefined
  }

  /** The graph for batches of a size, computed all at once or some columns at a time. */
  graph(batch: number, features: number, feed: Feed, loss: Loss, microBatch?: number): Graph {
    if (this.#disposed) throw disposed()
    const kept = this.#training
    const isOther = kept?.loss !== loss || kept.graph.batch !== batch || kept.microBatch !== microBatch
    if (isOther || !kept.feed.isLike(feed)) {
      kept?.graph.dispose()
      this.#training = undefined // for as long as there may be no room for another
      const graph = new Graph({
        device: this.#device,
        model: this.#model,
        batch,
        features,
        feed,
        microBatch,
        showsGradients: this.#onGradients !== undefined,
        training: { optimizer: this.#optimizer, groups: this.#groups },
        loss,
        lossScale: this.#lossScale,
        workspace: this.#workspace,
      })
      this.#training = { feed, loss, microBatch, graph }
      return graph
    }
    return kept.graph
  }

  /**
   * Makes the update that is due before the graph takes its next step, on the batch `next`; gives the seconds it took.
   */
  async update(graph: Graph, next: NextBatch, signal?: AbortSignal): Promise<number> {
    if (this.#disposed) throw disposed() // the scheduler would record anew what nobody disposes
    const start = performance.now()
    let gradients: Gradients | undefined
    if (this.#scheduler.needsGradients) {
      const { probe } = graph
      const { program } = probe
      try {
        const writes = probe.writes(next)
        await program.replay(1, { signal, writes, begin: { step: this.step, ...placeOf(next) } })
      } catch (error) {
        throw (error as HebbError).code === 'NON_FINITE'
          ? await this.#whereNotFinite(graph, this.step, next, error as HebbError)
          : error
      }
      gradients = { probe, columns: next.columns }
    }
    await this.#scheduler.update(this.step, { signal, gradients })
    await this.#measures.note()
    return (performance.now() - start) / 1000
  }

  /** Replays steps, the first of them on the batch `next`, and counts those that were done. */
  async run(
    graph: Graph,
    steps: number,
    next: NextBatch,
    { onProgress, run, ...options }: RunOptions = {},
  ): Promise<void> {
    const { step } = this
    const done = () => graph.program.stepsDone - step
    let failure: { error: unknown } | undefined
    const timer =
      onProgress &&
      setInterval(() => {
        try {
          onProgress(done())
        } catch (error) {
          failure = { error } // thrown to who trains, once the steps are done
          clearInterval(timer)
        }
      }, 50)
    try {
      const writes = [...graph.writes(next), ...(options.writes ?? [])]
      const begin = { step, scalars: this.#rates(steps), ...placeOf(next) }
      const between = this.#onGradients && (() => this.#showGradients(graph))
      await graph.program.replay(steps, { ...options, writes, begin, between })
    } catch (error) {
      if ((error as HebbError).code !== 'NON_FINITE') throw error
      const failed = later(next, done(), graph.batch)
      throw await this.#whereNotFinite(graph, step + done(), failed, error as HebbError)
    } finally {
      clearInterval(timer)
      this.step += done()
      if (run) run.done += done()
    }
    if (failure) throw failure.error
    onProgress?.(steps)
  }

  async #showGradients(graph: Graph): Promise<void> {
    const frozen = frozenOf(this.#groups)
    const trained = namedParameters(this.#model).filter(([, parameter]) => !frozen.has(parameter))
    const gradients = new Map(trained.map(([name, parameter]) => [name, parameter.gradient]))
    try {
      await this.#onGradients?.(gradients, { step: graph.program.stepsDone })
    } catch (error) {
      await graph.restoreTotals()
      throw error
    }
  }

  /** The learning rate of the last step that was done. */
  get learningRate(): number {
    const { step, rate } = this.#lastRate
    // Whoever goes on after the last step of an epoch has asked for none yet.
    return step === this.step - 1 ? rate : (this.#ratesAt(this.step - 1)[0] as number)
  }

  /** The norm of the gradients in the last step, where it is asked for. */
  async gradientNorm(): Promise<number | undefined> {
    return this.#training ? this.#training.graph.gradientNorm() : this.#lastNorm
  }

  /** Gives back the graph that reads from what is no more, but for what may be asked of its last step. */
  forget(feed: Feed): void {
    if (this.#training?.feed !== feed) return
    const { graph } = this.#training
    this.#training = undefined
    if (this.#optimizer.clipNorm === undefined) {
      graph.dispose()
      return
    }
    this.#lastNorm = graph
      .gradientNorm()
      .catch(() => undefined) // disposed meanwhile
      .finally(() => graph.dispose())
  }

  /** What the optimizer's rates are in a step between the last update and the next. */
  #ratesAt(step: number): number[] {
    const endless = { epochs: 1, stepsPerEpoch: Number.POSITIVE_INFINITY }
    const plan = this.plan ?? endless
    const { epochs, stepsPerEpoch } = plan
    const point = {
      step,
      steps: stepsOf(plan),
      epoch: Math.floor(step / stepsPerEpoch),
      epochs,
      stepsSinceUpdate: this.#scheduler.stepsSinceUpdate(step),
      density: this.#scheduler.density,
    }
    return this.#optimizer.rates.map((rate) => number(rate(point), `learningRate in step ${step}`, 0))
  }

  /** Rows of the optimizer's rates for the next steps; one row where it is the same in all of them. */
  #rates(steps: number): number[] {
    const rows = Array.from({ length: steps }, (_, i) => this.#ratesAt(this.step + i))
    const first = rows[0] as number[]
    this.#lastRate = { step: this.step + steps - 1, rate: rows.at(-1)?.[0] as number }
    return rows.every((row) => row.every((rate, i) => rate === first[i])) ? first : rows.flat()
  }

  /** Names the step and the first place in the network where the numbers ended. The step has changed no weights. */
  async #whereNotFinite(graph: Graph, step: number, at: NextBatch, cause: HebbError): Promise<HebbError> {
    const epoch = this.plan ? ` (epoch ${Math.floor(step / this.plan.stepsPerEpoch) + 1})` : ''
    const clipping = this.#optimizer.clipNorm === undefined ? 'set clipNorm, ' : ''
    const error = (what: string, where: string) =>
      new HebbError(
        'NON_FINITE',
        `Expected a finite ${what}, got NaN or infinity in step ${step}${epoch}, first in ${where}. ` +
          (where === DATA
            ? 'Look for NaN and infinity in the samples.'
            : `Lower the learning rate, ${clipping}or check the data for NaN and inputs that are not scaled.`),
        { cause },
      )
    if (cause.message.startsWith('gradientNorm:'))
      return error('norm of the gradients', `that of ${await this.#gradientNotFinite()}`)
    const where = await this.#placeNotFinite(graph.probe, step, at).catch((error: Error) =>
      // There may be no memory to look.
      (error as HebbError).code === 'OUT_OF_MEMORY'
        ? 'a place that there was no memory to look for'
        : Promise.reject(error),
    )
    return error('loss', where)
  }

  /** The parameter whose gradient was the first that is not finite: the backward pass begins with the last layer. */
  async #gradientNotFinite(): Promise<string> {
    const frozen = frozenOf(this.#groups)
    for (const [name, parameter] of namedParameters(this.#model).reverse()) {
      if (frozen.has(parameter)) continue
      const links = parameter instanceof SparseParameter ? await parameter.matrix.read() : undefined
      const gradient = await parameter.gradient.read(links?.columnIndices.length)
      if (!gradient.every(Number.isFinite)) return name
    }
    return 'all parameters together'
  }

  /** Computes the step again, without taking it and with all values kept. */
  async #placeNotFinite({ program, inputs, outputs, writes }: Probe, step: number, at: NextBatch): Promise<string> {
    const finite = (numbers: Float32Array) => numbers.every(Number.isFinite)
    await program.keepAll(true)
    try {
      await program
        .replay(1, { writes: writes(at), begin: { step, ...placeOf(at) } })
        .catch((error: HebbError) => (error.code === 'NON_FINITE' ? undefined : Promise.reject(error)))
      for (const input of inputs) if (!(input instanceof Tokens) && !finite(await input.activations.read())) return DATA
      const named = namedParameters(this.#model)
      const names = namedModules(this.#model)
      for (const { module, output } of outputs) {
        const path = names.get(module as Module) ?? 'a module'
        const bad = []
        for (const [name, { values }] of named)
          if (name.startsWith(`${path}.`) && !finite(await values.read())) bad.push(name)
        if (bad.length === 0 && finite(await output.read())) continue
        const { inFeatures, outFeatures } = module as Module
        const features = outFeatures === undefined ? '' : ` (${inFeatures} -> ${outFeatures})`
        return `${bad.length ? `the weights ${bad.join(' and ')}` : `the output of ${path}`}${features}`
      }
      return 'the loss'
    } finally {
      await program.keepAll(false)
    }
  }

  dispose(): void {
    this.#disposed = true
    this.#training?.graph.dispose()
  }
}

export const disposed = () => new HebbError('DISPOSED', 'Expected a trainer that is in use, got one that was disposed')
