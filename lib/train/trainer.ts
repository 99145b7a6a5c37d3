import { type Dataset, dataset } from '../data/dataset.js'
import type { Device, Memory } from '../device.js'
import type { Method } from '../dst/method.js'
import { method } from '../dst/method.js'
import { staticSparse } from '../dst/methods.js'
import { linksAt, Scheduler, updatesOf } from '../dst/scheduler.js'
import { expect, HebbError, integer, show } from '../error.js'
import type { SparseParameter } from '../nn/parameter.js'
import { Sequential } from '../nn/sequential.js'
import type { Optimizer } from '../optim/sgd.js'
import { Program, unlessAborted } from '../program.js'
import type { PlainCsr } from '../tensor.js'
import { type Checkpoint, namedParameters, type Run, readCheckpoint, writeCheckpoint } from './checkpoint.js'
import { Graph, type Loss, noTotals, type SampleOrder } from './graph.js'
import { Measures, type TopologyMeasures } from './measures.js'
import { checkData, type DeviceChoice, DeviceDatasets, type Evaluation, Inference, lossFor, openDevice, type RunOptions, sparseLayers } from './predictor.js'

export interface TrainerOptions {
  optimizer: Optimizer
  /** The method of dynamic sparse training; default staticSparse(). */
  dst?: Method
  /** Default: by the data, 'crossEntropy' for labels and 'meanSquaredError' for targets. */
  loss?: Loss
  /** A device, or how to open one. Default 'auto'. */
  device?: DeviceChoice
  /** Default true: the links that were ever active are listed, 8 bytes each, for the ITOP rate. Without it `itop` is NaN. */
  trackHistory?: boolean
}

/** What of a checkpoint is to be replaced: parts that a file cannot hold (functions of your own) must be, others may. */
export interface TrainerLoadOptions extends Partial<TrainerOptions> {
  model?: Sequential
}

/** Checkpoints of a run, without the loop's doing. */
export interface CheckpointOptions {
  /** Replaced as a whole, or not at all. */
  file: string
  /** Epochs between checkpoints; default 1, or none when everySteps is given. The last epoch is always saved. */
  everyEpochs?: number
  /** Steps between checkpoints. */
  everySteps?: number
  /** Kept with each. */
  notes?: Readonly<Record<string, string>>
  /** Called when one could not be written; training goes on. Default: a process warning. */
  onError?: (error: Error) => void
}

export interface ResumeOptions {
  /** Evaluated after every epoch. */
  validation?: Dataset
  /**
   * Stops within a step, an update or the drawing of the first links, and leaves whole steps and updates; the loop then throws ABORTED. What was trained
   * stays, and resume() goes on from there.
   */
  signal?: AbortSignal
  /** Called at most every 50 ms while an epoch runs. */
  onProgress?: (progress: Progress) => void
  checkpoint?: CheckpointOptions
}

export interface FitOptions extends ResumeOptions {
  epochs: number
  /** Samples a step. Default 32. The last batch of an epoch may be smaller. */
  batchSize?: number
}

export interface Progress {
  /** From 1. */
  readonly epoch: number
  readonly epochs: number
  /** Steps done in this epoch. */
  readonly step: number
  readonly stepsPerEpoch: number
}

export interface Epoch extends TopologyMeasures {
  /** From 1. */
  readonly epoch: number
  /** Mean over the epoch's samples, as they were trained on. */
  readonly trainLoss: number
  readonly trainAccuracy: number
  /** On `validation`, with the weights and links at the end of the epoch. */
  readonly validation?: Evaluation
  /** Time of the epoch's steps, gathering included, updates and evaluation not. */
  readonly seconds: number
  /** Time of the topology updates before and between the epoch's steps. */
  readonly updateSeconds: number
  readonly learningRate: number
}

export interface Batch {
  /** [samples][features], as the network sees it (already normalised). */
  x: Float32Array
  /** Labels, or for regression a Float32Array of [samples][outputs]. */
  y: ArrayLike<number>
}

/** Updates that a method is imagined to make when nothing is known of the run yet: for its initial and its highest density. */
const IMAGINED_UPDATES = 1000

/** Trains a model on a device by a method. Owns all their native memory: dispose() gives it back. */
export class Trainer {
  readonly model: Sequential
  readonly device: Device
  readonly method: Method
  #notes: Readonly<Record<string, string>>
  readonly #optimizer: Optimizer
  readonly #loss: Loss | undefined
  readonly #ownsDevice: boolean
  readonly #scheduler: Scheduler
  readonly #measures: Measures
  readonly #ready: Promise<void>
  readonly #datasets: DeviceDatasets
  readonly #inference: Inference
  #training: { order: SampleOrder | undefined; graph: Graph } | undefined
  #plan: { readonly epochs: number; readonly stepsPerEpoch: number } | undefined
  #run: Run | undefined
  #step = 0
  #disposed = false
  #busy = false

  /** `checkpoint` is internal: see Trainer.load(). */
  constructor(model: Sequential, options: TrainerOptions, checkpoint?: Checkpoint) {
    const { optimizer, dst = staticSparse(), loss, trackHistory = true } = options
    expect(model instanceof Sequential, () => `Expected model to be made by mlp() or Sequential, got ${show(model)}`)
    expect(model.parameters.length === 0, () => 'Expected a model that no trainer uses, got one that is in use. Dispose its trainer, or make another model.')
    expect(typeof optimizer?.record === 'function', () => `Expected optimizer to be sgd(...), got ${show(optimizer)}`)
    expect(typeof dst?.density?.schedule === 'function', () => `Expected dst to be a method such as chts(), got ${show(dst)}`)
    expect(
      loss === undefined || loss === 'crossEntropy' || loss === 'meanSquaredError',
      () => `Expected loss to be 'crossEntropy' or 'meanSquaredError', got ${show(loss)}`,
    )
    expect(typeof trackHistory === 'boolean', () => `Expected trackHistory to be true or false, got ${show(trackHistory)}`)
    this.method = method(dst)
    const { device, owned } = openDevice(options.device ?? 'auto')
    this.device = device
    this.#ownsDevice = owned
    this.model = model
    this.#notes = checkpoint?.notes ?? {}
    this.#optimizer = optimizer
    this.#loss = loss
    this.#datasets = new DeviceDatasets(device)
    this.#inference = new Inference(device, model, this.#datasets, loss)
    try {
      const materialised = this.#materialise(checkpoint)
      this.#scheduler = new Scheduler(
        device,
        this.method,
        model.seed,
        model.sparse,
        sparseLayers(model).map((layer) => layer.density),
      )
      this.#measures = new Measures(device, model.sparse, trackHistory)
      this.#ready = checkpoint ? materialised.then(() => this.#restore(checkpoint)) : materialised
    } catch (error) {
      model.dispose()
      if (owned) device.dispose()
      throw error
    }
    this.#ready.catch(() => {}) // reported by the first call that awaits it
  }

  /**
   * A trainer as it was when save() wrote the file. The model, the optimizer and the method are made again as they were; parts that were
   * functions of your own must be given, others may be replaced. resume() goes on with a run of fit() that was not finished.
   */
  static async load(file: string, options: TrainerLoadOptions = {}): Promise<Trainer> {
    const checkpoint = await readCheckpoint(file, { training: true })
    const model = options.model ?? checkpoint.model()
    checkpoint.check(model)
    const optimizer = options.optimizer ?? (checkpoint.remake('optimizer') as Optimizer)
    const dst = options.dst ?? (checkpoint.remake('dst') as Method)
    const loss = options.loss ?? checkpoint.loss
    const { device = 'auto', trackHistory = checkpoint.hasHistory } = options
    const trainer = new Trainer(model, { optimizer, dst, ...(loss && { loss }), device, trackHistory }, checkpoint)
    try {
      await trainer.#ready
    } catch (error) {
      trainer.dispose()
      throw error
    }
    return trainer
  }

  /** What was last noted with a checkpoint of the training. */
  get notes(): Readonly<Record<string, string>> {
    return this.#notes
  }

  /** Steps trained so far. */
  get step(): number {
    return this.#step
  }

  /** The run of fit() that was last begun: what it was asked for, and how many of its epochs are done. */
  get run(): { readonly epochs: number; readonly batchSize: number; readonly epoch: number } | undefined {
    return this.#run && { epochs: this.#run.epochs, batchSize: this.#run.batchSize, epoch: this.#run.epoch }
  }

  /** Lays the method's updates and the learning rate out over a run. fit() does it by itself; call it before a loop over batches of your own. */
  plan(options: { epochs: number; stepsPerEpoch: number }): void {
    if (this.#disposed) throw disposed()
    this.#layOut(options)
    this.#run = undefined
  }

  #layOut(options: { epochs: number; stepsPerEpoch: number }): void {
    const epochs = integer(options.epochs, 'epochs', 1)
    const stepsPerEpoch = integer(options.stepsPerEpoch, 'stepsPerEpoch', 1)
    const plan = { steps: epochs * stepsPerEpoch, stepsPerEpoch }
    for (const { density } of sparseLayers(this.model)) {
      const schedule = this.method.density.schedule({ target: density, updates: IMAGINED_UPDATES })
      expect(
        schedule(0) === density || updatesOf(this.method, plan).count > 0,
        () =>
          `Expected a run with at least one topology update, for ${this.method.name} to reach the density ${density} from ${schedule(0)}, got ${epochs} epochs of ${stepsPerEpoch} steps. Train longer or update more often.`,
      )
    }
    this.#plan = { epochs, stepsPerEpoch }
    this.#scheduler.plan(plan)
  }

  /**
   * Trains for some epochs, from the first one on, and gives a report after each. Leaving the loop stops the training; within it, the trainer may be
   * saved, evaluated and asked for predictions.
   */
  async *fit(train: Dataset, options: FitOptions): AsyncGenerator<Epoch, void, undefined> {
    const epochs = integer(options.epochs, 'epochs', 1)
    const batchSize = integer(options.batchSize ?? 32, 'batchSize', 1)
    this.#checkRun(train, options)
    expect(batchSize <= train.samples, () => `Expected batchSize to be at most the ${train.samples} samples of ${train.name}, got ${batchSize}`)
    const run: Run = { epochs, batchSize, samples: train.samples, epoch: 0, done: 0, seconds: 0, updateSeconds: 0, totals: noTotals() }
    const { signal } = options
    if (signal?.aborted) throw new HebbError('ABORTED', 'The call was stopped by its AbortSignal', { cause: signal.reason })
    this.#begin()
    try {
      this.#layOut({ epochs, stepsPerEpoch: Math.ceil(train.samples / batchSize) })
      this.#scheduler.begin()
      this.#step = 0
      this.#run = run
    } finally {
      this.#busy = false
    }
    yield* this.#epochs(run, train, options)
  }

  /** Goes on with the run of fit() that was stopped or saved before its end, as if it had not been: the result is the same to the last bit. */
  async *resume(train: Dataset, options: ResumeOptions = {}): AsyncGenerator<Epoch, void, undefined> {
    this.#checkRun(train, options)
    const run = this.#run
    if (!run || run.epoch >= run.epochs) {
      throw new HebbError(
        'INVALID_ARGUMENT',
        `Expected a run that is not finished, got ${run ? `one that has done its ${run.epochs} epochs` : 'none'}. Begin one with fit().`,
      )
    }
    expect(train.samples === run.samples, () => `Expected the ${run.samples} samples that the run began with, got the ${train.samples} of ${train.name}`)
    yield* this.#epochs(run, train, options)
  }

  /**
   * Trains one step on a batch of your own, after the topology update that is due before it (see plan()). Returns the batch's mean loss.
   * Batches may differ in size. A run of fit() that was not finished ends here.
   */
  async trainOn(batch: Batch, options: RunOptions = {}): Promise<number> {
    const features = this.model.inFeatures as number
    expect(
      batch?.x instanceof Float32Array && batch.x.length > 0 && batch.x.length % features === 0,
      () => `Expected x to be a Float32Array of samples of ${features} features, got ${show(batch?.x)}`,
    )
    const samples = batch.x.length / features
    const data = dataset({
      x: batch.x,
      y: batch.y,
      shape: [features],
      name: 'the batch',
      ...(!(batch.y instanceof Float32Array) && { classes: this.model.outFeatures as number }),
    })
    checkData(this.model, data, this.#loss)
    return this.#alone(async () => {
      if (!this.#training) await this.#measures.note()
      this.#run = undefined // its steps are not these
      const room = this.#training && this.#training.order === undefined ? this.#training.graph.batch : 0
      const { graph } = this.#trainingGraph(Math.max(samples, room), features, undefined, lossFor(data, this.#loss))
      const epoch = this.#plan ? Math.floor(this.#step / this.#plan.stepsPerEpoch) : 0
      if (this.#scheduler.due(this.#step)) await this.#update(options.signal)
      await this.#write(graph, batch.x, data)
      await Promise.all([
        graph.program.setStep(this.#step),
        graph.program.setScalars(this.#optimizer.scalars({ epoch, epochs: this.#plan?.epochs ?? 1 })),
        graph.program.rewind(0, samples),
        graph.setTotals(),
      ])
      await this.#steps(graph, 1, options.signal)
      return (await graph.totals()).loss
    }, options.signal)
  }

  /** Mean loss and accuracy on a data set. */
  async evaluate(data: Dataset, options: RunOptions = {}): Promise<Evaluation> {
    checkData(this.model, data, this.#loss)
    return this.#alone(() => this.#inference.evaluate(data, options), options.signal)
  }

  /** The network's outputs (logits) for [samples][features] as the network sees them, or for a data set: [samples][classes]. */
  async predict(x: Float32Array | Dataset, options: RunOptions = {}): Promise<Float32Array> {
    const samples = this.#inference.check(x)
    return this.#alone(() => this.#inference.predict(x, samples, options), options.signal)
  }

  /** Links, active neurons and ITOP rate as they are now. */
  async measures(): Promise<TopologyMeasures> {
    return this.#alone(() => this.#measures.read())
  }

  /** The links of a sparse layer as they are now: W [rows = outputs][cols = inputs], by row. Sparse layers are counted from 0, in the model's order. */
  async links(layer: number): Promise<PlainCsr> {
    const { sparse } = this.model
    if (this.#disposed) throw disposed()
    expect(sparse.length > 0, () => 'Expected a model with sparse layers, got one without')
    const { matrix } = sparse[integer(layer, 'layer', 0, sparse.length - 1)] as SparseParameter
    return this.#alone(async () => ({ rows: matrix.rows, cols: matrix.cols, ...(await matrix.read()) }))
  }

  /**
   * Writes the whole training state to one .safetensors file: parameters, links, optimizer state, the run, and how the model, the optimizer and the
   * method were made. The file is replaced as a whole; when that fails, it is left as it was, and so is the training.
   */
  async save(file: string, options: { notes?: Readonly<Record<string, string>> } = {}): Promise<void> {
    return this.#alone(() => this.#save(file, options.notes))
  }

  /** Live native memory on the trainer's device. */
  memory(): Memory {
    return this.device.memory()
  }

  /** Stops what runs, gives back the model's memory, and the device's if the trainer opened it. Safe to call twice. */
  dispose(): void {
    if (this.#disposed) return
    this.#disposed = true
    this.#training?.graph.dispose()
    this.#inference.dispose()
    this.#datasets.dispose()
    this.#scheduler.dispose()
    this.#measures.dispose()
    this.model.dispose()
    if (this.#ownsDevice) this.device.dispose()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }

  #materialise(checkpoint?: Checkpoint): Promise<void> {
    const initialise = new Program(this.device)
    const pending: Promise<void>[] = []
    let layer = 0
    try {
      this.model.materialise({
        device: this.device,
        seed: this.model.seed,
        topology: this.method.topology,
        weights: this.method.weights,
        initialise,
        nextLayer: () => layer++,
        waitFor: (promise) => {
          promise.catch(() => {}) // reported by #ready, if it comes to that
          pending.push(promise)
        },
        ...(checkpoint && { restored: (at: number) => checkpoint.links(at) }),
        links: (possible, density, name) => {
          const schedule = this.method.density.schedule({ target: density, updates: IMAGINED_UPDATES })
          const initial = linksAt(schedule(0), possible)
          let capacity = initial
          for (let c = 1; c <= IMAGINED_UPDATES; ++c) capacity = Math.max(capacity, linksAt(schedule(c), possible))
          const final = linksAt(density, possible)
          expect(initial >= 1 && final >= 1, () => `Expected a density of at least ${1 / possible} for one link in the layer ${name}, got ${density}`)
          expect(capacity < 2 ** 31, () => `Expected fewer than 2^31 links in the layer ${name}, got ${capacity}`)
          return { initial, capacity }
        },
      })
      for (const parameter of this.model.parameters) this.#optimizer.prepare(parameter)
    } catch (error) {
      initialise.dispose()
      throw error
    }
    pending.push(initialise.replay(1).finally(() => initialise.dispose()))
    return Promise.all(pending).then(() => {})
  }

  async #restore(checkpoint: Checkpoint): Promise<void> {
    await checkpoint.fill(this.model)
    for (const parameter of this.model.sparse) {
      const { layer, matrix } = parameter
      const history = checkpoint.history(layer, matrix.rows * matrix.cols)
      if (history) await this.#measures.restore(parameter, history)
    }
    if (!checkpoint.hasHistory) await this.#measures.note()
    const { step, plan, updates, run } = checkpoint.progress
    if (plan) this.#layOut(plan)
    this.#scheduler.restore(updates)
    this.#step = step
    this.#run = run
  }

  #begin(): void {
    if (this.#disposed) throw disposed()
    expect(!this.#busy, () => 'Expected one call of a trainer at a time. Await the one before, or leave its loop.')
    this.#busy = true
  }

  /** Runs one call while no other runs. */
  async #alone<T>(call: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    this.#begin()
    try {
      await unlessAborted(this.#ready, signal)
      if (this.#disposed) throw disposed()
      return await call()
    } finally {
      this.#busy = false
    }
  }

  #checkRun(train: Dataset, { validation, checkpoint }: ResumeOptions): void {
    checkData(this.model, train, this.#loss)
    if (validation) checkData(this.model, validation, this.#loss)
    if (!checkpoint) return
    expect(typeof checkpoint.file === 'string' && checkpoint.file !== '', () => `Expected checkpoint.file to be a path, got ${show(checkpoint.file)}`)
    if (checkpoint.everyEpochs !== undefined) integer(checkpoint.everyEpochs, 'checkpoint.everyEpochs', 1)
    if (checkpoint.everySteps !== undefined) integer(checkpoint.everySteps, 'checkpoint.everySteps', 1)
  }

  /** The epochs that a run has not done yet. Between two of them the trainer is free for other calls. */
  async *#epochs(run: Run, train: Dataset, options: ResumeOptions): AsyncGenerator<Epoch, void, undefined> {
    while (run.epoch < run.epochs) yield await this.#alone(() => this.#epoch(run, train, options), options.signal)
  }

  async #epoch(run: Run, train: Dataset, { validation, signal, onProgress, checkpoint }: ResumeOptions): Promise<Epoch> {
    expect(this.#run === run, () => 'Expected to go on with the run that was last begun, got one that another call of fit() has ended')
    const { epochs, batchSize } = run
    const stepsPerEpoch = Math.ceil(train.samples / batchSize)
    const order = this.#datasets.of(train, this.model.seed)
    const { graph } = this.#trainingGraph(batchSize, train.features, order)
    const { program } = graph
    const epoch = run.epoch + 1
    const scalars = this.#optimizer.scalars({ epoch: run.epoch, epochs })
    if (this.#step === 0) await this.#measures.note()
    await order.shuffle(run.epoch)
    await Promise.all([
      program.setStep(this.#step),
      program.setScalars(scalars),
      program.rewind(train.samples, 0, run.done < stepsPerEpoch ? run.done * batchSize : 0),
      graph.setTotals(run.totals),
    ])
    const everySteps = checkpoint?.everySteps ?? Number.POSITIVE_INFINITY
    try {
      while (run.done < stepsPerEpoch) {
        if (this.#scheduler.due(this.#step)) run.updateSeconds += await this.#update(signal)
        const steps = Math.min(stepsPerEpoch - run.done, this.#scheduler.until(this.#step), everySteps - (this.#step % everySteps || 0))
        const before = run.done
        const progress = onProgress && ((n: number) => onProgress({ epoch, epochs, step: before + n, stepsPerEpoch }))
        const start = performance.now()
        try {
          await this.#steps(graph, steps, signal, progress, run)
        } finally {
          run.seconds += (performance.now() - start) / 1000
        }
        if (checkpoint && this.#step % everySteps === 0 && run.done < stepsPerEpoch) {
          run.totals = await graph.sums()
          await this.#saveNow(checkpoint)
        }
      }
    } catch (error) {
      // What was trained stays, and so do its sums: resume() goes on from here.
      if (!this.#disposed) run.totals = await graph.sums().catch(() => run.totals)
      throw error
    }
    run.totals = await graph.sums() // for who stops the evaluation
    const totals = await graph.totals()
    if (totals.nonFiniteStep !== undefined) throw await this.#whereNotFinite(graph, totals.nonFiniteStep)
    const report: Epoch = {
      epoch,
      trainLoss: totals.loss,
      trainAccuracy: lossFor(train, this.#loss) === 'crossEntropy' ? totals.accuracy : Number.NaN,
      ...(validation && { validation: await this.#inference.evaluate(validation, { signal }) }),
      seconds: run.seconds,
      updateSeconds: run.updateSeconds,
      learningRate: scalars[0] as number,
      ...(await this.#measures.read()),
    }
    Object.assign(run, { epoch, done: 0, seconds: 0, updateSeconds: 0, totals: noTotals() })
    const everyEpochs = checkpoint?.everyEpochs ?? (checkpoint?.everySteps ? Number.POSITIVE_INFINITY : 1)
    if (checkpoint && (epoch % everyEpochs === 0 || epoch === epochs || this.#step % everySteps === 0)) await this.#saveNow(checkpoint)
    return report
  }

  #trainingGraph(batch: number, features: number, order: SampleOrder | undefined, loss?: Loss): { order: SampleOrder | undefined; graph: Graph } {
    if (this.#disposed) throw disposed()
    if (!this.#training || this.#training.order !== order || this.#training.graph.batch !== batch) {
      this.#training?.graph.dispose()
      const graph = new Graph({
        device: this.device,
        model: this.model,
        batch,
        features,
        order,
        optimizer: this.#optimizer,
        loss: loss ?? lossFor((order as SampleOrder).data.dataset, this.#loss),
      })
      this.#training = { order, graph }
    }
    return this.#training
  }

  async #update(signal?: AbortSignal): Promise<number> {
    const start = performance.now()
    await this.#scheduler.update(this.#step, { signal })
    await this.#measures.note()
    return (performance.now() - start) / 1000
  }

  /** Replays steps, and counts those that were done. */
  async #steps(graph: Graph, steps: number, signal?: AbortSignal, onProgress?: (done: number) => void, run?: Run): Promise<void> {
    const before = graph.program.stepsDone
    const done = () => graph.program.stepsDone - before
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
      await graph.program.replay(steps, { signal })
    } catch (error) {
      throw (error as HebbError).code === 'NON_FINITE' ? await this.#whereNotFinite(graph, this.#step + done(), error as HebbError) : error
    } finally {
      clearInterval(timer)
      this.#step += done()
      if (run) run.done += done()
    }
    if (failure) throw failure.error
    onProgress?.(steps)
  }

  /** Names the step and the first place in the network where the numbers ended. The step has changed no weights. */
  async #whereNotFinite(graph: Graph, step: number, cause?: HebbError): Promise<HebbError> {
    const finite = (numbers: Float32Array) => numbers.every(Number.isFinite)
    let where = 'the data'
    if (finite(await graph.input.read())) {
      where = 'the loss'
      const named = namedParameters(this.model)
      for (const { module, output } of graph.outputs) {
        const path = `modules.${module}`
        const bad = []
        for (const [name, { values }] of named) if (name.startsWith(`${path}.`) && !finite(await values.read())) bad.push(name)
        if (bad.length === 0 && finite(await output.read())) continue
        const { inFeatures, outFeatures } = this.model.modules[module] ?? {}
        where = `${bad.length ? `the weights ${bad.join(' and ')}` : `the output of ${path}`} (${inFeatures} -> ${outFeatures})`
        break
      }
    }
    const epoch = this.#plan ? ` (epoch ${Math.floor(step / this.#plan.stepsPerEpoch) + 1})` : ''
    return new HebbError(
      'NON_FINITE',
      `Expected a finite loss, got NaN or infinity in step ${step}${epoch}, first in ${where}. Lower the learning rate, or look at the data.`,
      { cause },
    )
  }

  /** A checkpoint in the middle of a run: when it cannot be written, training goes on. */
  async #saveNow({ file, notes, onError }: CheckpointOptions): Promise<void> {
    try {
      await this.#save(file, notes)
    } catch (error) {
      if (onError) onError(error as Error)
      else process.emitWarning(`The checkpoint was not written, training goes on. ${(error as Error).message}`, 'HebbWarning')
    }
  }

  #save(file: string, notes = this.#notes): Promise<void> {
    expect(typeof file === 'string' && file !== '', () => `Expected file to be a path, got ${show(file)}`)
    for (const [name, note] of Object.entries(notes)) expect(typeof note === 'string', () => `Expected notes to be texts, got ${show(note)} for ${name}`)
    this.#notes = { ...notes }
    return writeCheckpoint(
      file,
      {
        model: this.model,
        optimizer: this.#optimizer,
        method: this.method,
        loss: this.#loss,
        progress: { step: this.#step, plan: this.#plan, updates: this.#scheduler.progress, run: this.#run },
        history: (parameter) => this.#measures.history(parameter),
      },
      notes,
    )
  }

  async #write(graph: Graph, x: Float32Array, data: Dataset): Promise<void> {
    await graph.input.write(x, data.samples)
    if (graph.labels) {
      const labels = new Int32Array(graph.labels.length)
      labels.set(data.labels as Int32Array)
      await graph.labels.write(labels)
    }
    if (graph.targets) await graph.targets.write(data.targets as Float32Array, data.samples)
  }
}

const disposed = () => new HebbError('DISPOSED', 'Expected a trainer that is in use, got one that was disposed')
