import { resolve } from 'node:path'
import { type Dataset, dataset } from '../data/dataset.js'
import type { DataFormat } from '../data/format.js'
import { type Device, openDevice } from '../device.js'
import type { Method } from '../dst/method.js'
import { method } from '../dst/method.js'
import { staticSparse } from '../dst/methods.js'
import { Scheduler, updatesOf } from '../dst/scheduler.js'
import { expect, HebbError, integer, known, show } from '../error.js'
import { expectPlace, isSameFile, own } from '../files.js'
import type { Lock } from '../lock.js'
import { Sequential } from '../nn/sequential.js'
import { sparseLayers } from '../nn/sparse_linear.js'
import type { LayerWeights, NewWeights } from '../nn/weights.js'
import { frozenOf, type Optimizer } from '../optim/optimizer.js'
import { type Transfer, unlessAborted } from '../program.js'
import { deserialise, serialiseOnce } from '../recipe.js'
import { Tensor } from '../tensor.js'
import type { Question } from '../text/choices.js'
import { TextDataset, type Tokenizers, type Vocabularies, vocabulariesOf } from '../text/dataset.js'
import type { LanguageText } from '../text/language.js'
import { type DescribeOptions, describeLayers, type TopologyDescription } from '../topology/describe.js'
import { isTyped } from '../typed_array.js'
import { type Callback, callEach, figureOf, type Named, namedCallbacks } from './callbacks.js'
import { checkCounts, checkData, checkFormat, checkVocabularies, featuresOf, lossFor } from './check_data.js'
import {
  type Checkpoint,
  expectNoRun,
  isOver,
  notesIn,
  type Plan,
  type Run,
  readCheckpoint,
  snapshotOf,
  stepsOf,
  type TrainingState,
  writeCheckpoint,
} from './checkpoint.js'
import { type Classification, classesOf, classified, linesFor, outputsOf } from './classifier.js'
import { DeviceDatasets } from './device_datasets.js'
import { HostFeed, hostBatchOf } from './feed.js'
import { type GeneratedToken, type GenerateOptions, Generation } from './generation.js'
import { noTotals, totalsOf } from './graph.js'
import {
  type EvaluateOptions,
  type Evaluation,
  Inference,
  type OutputName,
  type Outputs,
  type Predictable,
  type PredictOptions,
  type RunOptions,
} from './inference.js'
import { layerOf, readWeights, replaceWeights } from './layer_weights.js'
import { checkLoss, type Loss, lossFunction } from './loss.js'
import { materialise, type Origin } from './materialise.js'
import { Measures, type TopologyMeasures } from './measures.js'
import { Ledger, parametersOf, type TrainerMemory } from './memory.js'
import type { ChoiceEvaluation } from './multiple_choice.js'
import type {
  Batch,
  CheckpointOptions,
  Epoch,
  FitOptions,
  ResumeOptions,
  TrainerLoadOptions,
  TrainerOptions,
  TrainOnOptions,
} from './options.js'
import type { Perplexity, PerplexityOptions } from './perplexity.js'
import { CHECKPOINT } from './safetensors.js'
import { planOf, type Source, sourceOf, type TrainingData, validationChecksum } from './source.js'
import { disposed, Stepper } from './stepper.js'
import { TextOrder } from './text_feed.js'
import { Training } from './training.js'
import { type CrossAttention, type Translation, type TranslationOptions, Translator } from './translator.js'

/** Columns to compute at a time, checked: draws belong to four of them together, and memory lies in sixteens. */
function microBatchOf(size: unknown): number | undefined {
  if (size === undefined) return undefined
  const columns = integer(size, 'microBatchSize', 1)
  expect(columns % 16 === 0, () => `Expected microBatchSize to be a multiple of 16, got ${columns}`)
  return columns
}

/** What gradients are multiplied by, checked. */
function lossScaleOf(scale: number): number {
  const exponent = Math.round(Math.log2(scale))
  expect(
    scale === 2 ** exponent && Math.abs(exponent) <= 126,
    () => `Expected lossScale to be a power of two between 2^-126 and 2^126, such as 1024, got ${show(scale)}`,
  )
  return scale
}

/** What resume() is asked for, with where its run is saved unless that is said. */
function askedOf({ checkpoint, ...options }: ResumeOptions, run: Run | undefined): Asked {
  if (checkpoint === false) return options
  if (checkpoint || !run?.checkpoint) return { ...options, checkpoint }
  const { best, ...saving } = run.checkpoint
  if (options.validation) return { ...options, checkpoint: run.checkpoint }
  if (best !== undefined)
    process.emitWarning(`Expected validation, to keep the best state in ${best}, got none.`, 'HebbWarning')
  return { ...options, checkpoint: saving }
}

/** What a run is asked for belongs to it. */
function note(run: Run, { checkpoint }: Asked): void {
  delete run.checkpoint
  if (!checkpoint) return
  const { file, best, everyEpochs, everySteps } = checkpoint
  run.checkpoint = {
    ...{ file: resolve(file), ...(best !== undefined && { best: resolve(best) }) },
    ...(everyEpochs !== undefined && { everyEpochs }),
    ...(everySteps !== undefined && { everySteps }),
  }
}

/** Ends a run after the epoch that a callback was told of. */
function stop(run: Run, reason = 'a callback asked for it'): void {
  expect(typeof reason === 'string', () => `Expected the reason to stop to be a text, got ${show(reason)}`)
  run.stopped ??= reason
}

/** Those of a run that was saved. */
function callbacksOf(run: Run): Named {
  try {
    return namedCallbacks(run.callbacks === undefined ? [] : (deserialise(run.callbacks) as Callback[]))
  } catch (cause) {
    if (!(cause instanceof HebbError)) throw cause
    throw new HebbError(
      cause.code,
      'Expected the callbacks of the run to be given again, as some are functions of your own, which a file cannot ' +
        'hold. callbacks: [] leaves them out.',
      { cause },
    )
  }
}

const TEXT = { steps: true, interval: true, packed: true } as const
const OPTIONS = {
  optimizer: true,
  dst: true,
  loss: true,
  lossScale: true,
  device: true,
  trackHistory: true,
  onGradients: true,
  format: true,
} as const
const RUN = { validation: true, signal: true, onProgress: true, checkpoint: true, callbacks: true } as const

/** What a run is asked for. */
type Asked = Omit<ResumeOptions, 'checkpoint'> & { checkpoint?: CheckpointOptions | undefined }

/** What is said to who would lose a run. */
const CURE = 'Go on with it by Trainer.load() and resume(), give another file, or overwrite: true.'

/** What stands upon a model's parameters, and is made anew with them. */
interface Parts {
  readonly scheduler: Scheduler
  readonly measures: Measures
  readonly stepper: Stepper
  readonly inference: Inference
  readonly ready: Promise<void>
}

/** Trains a model on a device by a method. Owns all their native memory: dispose() gives it back. */
export class Trainer {
  readonly model: Sequential
  readonly device: Device
  readonly method: Method
  #notes: Readonly<Record<string, string>>
  /** Of the text that the model was trained on. */
  #vocabularies: Vocabularies | undefined
  #format: DataFormat | undefined
  #translator: Translator | undefined
  readonly #generations = new Set<Generation>()
  readonly #optimizer: Optimizer
  readonly #loss: Loss | undefined
  readonly #lossScale: number
  readonly #ownsDevice: boolean
  readonly #datasets: DeviceDatasets
  readonly #make: (origin?: Origin) => Parts
  #scheduler: Scheduler
  #measures: Measures
  #stepper: Stepper
  #inference: Inference
  #ready: Promise<void>
  readonly #workspace: Tensor<'uint8'>
  readonly #ledger: Ledger
  #run: Run | undefined
  /** Of the run that was last begun. */
  #callbacks: Named | undefined
  /** Files that are known to be of the run. */
  #files = new Set<string>()
  /** Its best state, where that is kept in memory. */
  #best: Checkpoint | undefined
  /** On what the run that was last begun saves to. */
  #locks: Lock[] = []
  #disposed = false
  #busy = false

  /** `origin` is internal: see Trainer.load() and Trainer.from(). */
  constructor(model: Sequential, options: TrainerOptions, origin?: Origin) {
    const checkpoint = origin?.anew ? undefined : origin?.checkpoint
    const {
      optimizer,
      dst = staticSparse(),
      loss,
      lossScale = 1,
      trackHistory = true,
      onGradients,
    } = known(options, 'a trainer', OPTIONS)
    expect(model instanceof Sequential, () => `Expected model to be made by mlp() or Sequential, got ${show(model)}`)
    expect(
      model.parameters.length === 0,
      () =>
        'Expected a model that no trainer uses, got one that is in use. Dispose its trainer, or make another model.',
    )
    expect(
      typeof optimizer?.record === 'function',
      () => `Expected optimizer to be sgd(...) or adam(...), got ${show(optimizer)}`,
    )
    expect(
      typeof dst?.density?.schedule === 'function',
      () => `Expected dst to be a method such as chts(), got ${show(dst)}`,
    )
    if (loss !== undefined) checkLoss(loss)
    this.#lossScale = lossScaleOf(lossScale)
    expect(
      typeof trackHistory === 'boolean',
      () => `Expected trackHistory to be true or false, got ${show(trackHistory)}`,
    )
    expect(
      onGradients === undefined || typeof onGradients === 'function',
      () => `Expected onGradients to be a function, got ${show(onGradients)}`,
    )
    this.method = method(dst)
    this.#vocabularies = origin?.checkpoint.vocabularies // before a device is opened: they may be bad
    this.#format = checkFormat(options.format ?? origin?.checkpoint.format, model)
    const { device, owned } = openDevice(options.device ?? 'auto')
    this.device = device
    this.#ownsDevice = owned
    this.model = model
    this.#notes = checkpoint?.notes ?? {}
    if (checkpoint) this.#files.add(resolve(checkpoint.file))
    this.#optimizer = optimizer
    this.#loss = loss
    this.#datasets = new DeviceDatasets(device)
    this.#workspace = new Tensor(device, 'uint8', 0)
    this.#ledger = new Ledger(device, () => {
      const { links, ...of } = parametersOf(model)
      return {
        ...{ ...of, links: links + this.#measures.bytes, activations: this.#workspace.native.bytes },
        ...{ workspace: this.#scheduler.bytes, data: this.#datasets.bytes },
      }
    })
    this.#make = (origin) => {
      const { groups, ready } = materialise(device, model, this.method, optimizer, origin)
      const frozen = frozenOf(groups)
      const moving = model.sparse.filter((parameter) => !frozen.has(parameter))
      const scheduler = new Scheduler(device, this.method, model.seed, moving, model.relations)
      const full = this.method.dense ? sparseLayers(model).map((layer) => layer.inFeatures * layer.outFeatures) : []
      const measures = new Measures(device, model.sparse, { trackHistory, full, regrow: this.method.regrow })
      const training = { optimizer, groups, onGradients, lossScale }
      const stepper = new Stepper(device, model, training, scheduler, measures, this.#workspace)
      const inference = new Inference(device, model, this.#datasets, this.#workspace, loss)
      return { scheduler, measures, stepper, inference, ready }
    }
    try {
      const { ready, ...parts } = this.#make(origin)
      this.#scheduler = parts.scheduler
      this.#measures = parts.measures
      this.#stepper = parts.stepper
      this.#inference = parts.inference
      this.#datasets.onDrop((order) => this.#stepper.forget(order))
      this.#ready = ready.then(() => (checkpoint ? this.#restore(checkpoint) : origin?.checkpoint.begin(model)))
    } catch (error) {
      model.dispose()
      this.#workspace.dispose()
      if (owned) device.dispose()
      throw error
    }
    this.#ready.catch(() => {}) // reported by the first call that awaits it
  }

  /**
   * A trainer as it was when save() wrote the file. The model, the optimizer and the method are made again as they
   * were; parts that were functions of your own must be given, others may be replaced. resume() goes on with a run of
   * fit() that was not finished; fit() begins one, with its steps and rates counted from 0 and with the optimizer's
   * state as it is. from() begins that anew, too.
   */
  static async load(file: string, options: TrainerLoadOptions = {}): Promise<Trainer> {
    known(options, 'Trainer.load()', { ...OPTIONS, model: true })
    const checkpoint = await readCheckpoint(file, { training: true })
    const model = options.model ?? checkpoint.model()
    checkpoint.check(model)
    const optimizer = options.optimizer ?? (checkpoint.deserialise('optimizer') as Optimizer)
    const dst = options.dst ?? (checkpoint.deserialise('dst') as Method)
    const loss = options.loss ?? checkpoint.loss
    const { device = 'auto', trackHistory = checkpoint.hasHistory, onGradients, format } = options
    const { lossScale = checkpoint.lossScale } = options
    const all = { optimizer, dst, ...(loss && { loss }), lossScale, device, trackHistory, onGradients, format }
    return new Trainer(model, all, { checkpoint, anew: false }).#whenReady()
  }

  /**
   * A trainer for a new run that begins with the weights, the links and the tokenizers of a checkpoint (fine-tuning).
   * Steps, updates, the optimizer's state, the history of links and notes begin anew. The model, its seed included,
   * the method, the optimizer and the loss are the file's where none is given; a model that is given has the file's
   * layers by name, with densities, dropout and a seed of its own. The method must begin with the links that there
   * are: one that keeps their density, such as chts() or staticSparse(), or one whose density falls from there, such
   * as chtss({ density: sigmoidDensity({ initialDensity: 0.05 }) }). Fully connected layers become sparse ones by a
   * method that begins with all links, and sparse ones fully connected by dense(), 0 where there was no link. Throws
   * INVALID_ARGUMENT or BAD_FILE for what does not fit.
   */
  static async from(file: string, options: TrainerLoadOptions = {}): Promise<Trainer> {
    known(options, 'Trainer.from()', { ...OPTIONS, model: true })
    const checkpoint = await readCheckpoint(file, { training: false })
    const { model = checkpoint.model(), loss = checkpoint.loss, ...given } = options
    checkpoint.check(model, { anew: true })
    const optimizer = given.optimizer ?? (checkpoint.deserialise('optimizer') as Optimizer)
    const dst = given.dst ?? (checkpoint.deserialise('dst') as Method)
    const { lossScale = checkpoint.lossScale } = given
    const all = { ...given, optimizer, dst, ...(loss && { loss }), lossScale }
    return new Trainer(model, all, { checkpoint, anew: true }).#whenReady()
  }

  /** Gives its memory back where what it waits for fails. */
  async #whenReady(): Promise<Trainer> {
    try {
      await this.#ready
    } catch (error) {
      this.dispose()
      throw error
    }
    return this
  }

  /** What was last noted with a checkpoint of the training. */
  get notes(): Readonly<Record<string, string>> {
    return this.#notes
  }

  /** Of the text that the model was trained on, if it was. */
  get tokenizers(): Tokenizers | undefined {
    return this.#vocabularies?.tokenizers
  }

  /** Of the data set that the model was last trained on, if it is known. */
  get format(): DataFormat | undefined {
    return this.#format
  }

  /** The names of the classes, by number, of the data that the model was trained on, if they have some. */
  get classes(): readonly string[] | undefined {
    return classesOf(this.#known)
  }

  get #known() {
    return { vocabularies: this.#vocabularies, format: this.#format }
  }

  /** Steps trained so far. */
  get step(): number {
    return this.#stepper.step
  }

  /**
   * The run of fit() that was last begun: what it was asked for, how many of its epochs are done, and the best
   * validation so far (accuracy where there are labels, else, and of a language model, the loss below 0) with its step.
   * `stopped`: why a callback has ended it.
   */
  get run(): Readonly<Pick<Run, 'epochs' | 'batchSize' | 'epoch' | 'best' | 'stopped'>> | undefined {
    if (!this.#run) return undefined
    const { epochs, batchSize, epoch, best, stopped } = this.#run
    return { epochs, batchSize, epoch, ...(best && { best }), ...(stopped !== undefined && { stopped }) }
  }

  /**
   * Lays the method's updates and the learning rate out over a run. fit() does it by itself; call it before a loop over
   * batches of your own.
   */
  plan(options: { epochs: number; stepsPerEpoch: number }): void {
    if (this.#disposed) throw disposed()
    known(options, 'plan()', { epochs: true, stepsPerEpoch: true })
    this.#layOut(options)
    this.#run = undefined
  }

  #layOut(options: Plan): void {
    const epochs = integer(options.epochs, 'epochs', 1)
    const stepsPerEpoch = integer(options.stepsPerEpoch, 'stepsPerEpoch', 1)
    const plan = { steps: stepsOf(options), stepsPerEpoch }
    for (const { density } of sparseLayers(this.model)) {
      const initial = this.method.density.initial(density)
      expect(
        initial === density || updatesOf(this.method, plan).count > 0,
        () =>
          `Expected a run with at least one topology update, for ${this.method.name} to reach the density ` +
          `${density} from ${initial}, got ${epochs} epochs of ${stepsPerEpoch} steps. Train longer or ` +
          'update more often.',
      )
    }
    this.#stepper.plan = { epochs, stepsPerEpoch, ...(options.steps !== undefined && { steps: options.steps }) }
    this.#scheduler.plan(plan)
  }

  /**
   * Trains for some epochs, from the first one on, and gives a report after each: `for await (const epoch of
   * trainer.fit(...))`, or `const history = await trainer.fit(...)` for all of them at the end. Leaving the loop stops
   * the training; within it, the trainer may be saved, evaluated and asked for predictions. Without a loop or an await
   * nothing starts.
   */
  fit(data: TrainingData, options: FitOptions): Training {
    return new Training(this.#fit(data, options))
  }

  async *#fit(data: TrainingData, options: FitOptions): AsyncGenerator<Epoch, void, undefined> {
    const names = { ...RUN, epochs: true, batchSize: true, microBatchSize: true, ...TEXT } as const
    known(options, 'fit()', names)
    const isText = data instanceof TextDataset
    const asked: Asked = { ...options, checkpoint: options.checkpoint === false ? undefined : options.checkpoint }
    const microBatchSize = microBatchOf(options.microBatchSize)
    const callbacks = namedCallbacks(options.callbacks ?? [])
    expect(
      !isText || microBatchSize === undefined,
      () => `Expected no microBatchSize for text, got ${microBatchSize}. Lower batchSize, or use Recompute.`,
    )
    if (options.batchSize !== undefined) integer(options.batchSize, 'batchSize', 1)
    const train = await this.#sourceOf(data, asked)
    const batchSize = options.batchSize ?? (isText ? 1024 : Math.min(32, train.samples))
    expect(
      isText || batchSize <= train.samples,
      () => `Expected batchSize to be at most the ${train.samples} samples of ${data.name}, got ${batchSize}`,
    )
    train.check(batchSize)
    const plan = planOf(data, options, train.samples, batchSize)
    const run: Run = {
      epochs: plan.epochs,
      batchSize,
      ...(microBatchSize !== undefined && { microBatchSize }),
      ...(options.packed && { packed: true }),
      samples: train.samples,
      data: await train.checksum(),
      ...(asked.validation && { validation: await validationChecksum(asked.validation) }),
      epoch: 0,
      done: 0,
      seconds: 0,
      updateSeconds: 0,
      totals: noTotals(),
    }
    const { signal } = options
    if (signal?.aborted)
      throw new HebbError('ABORTED', 'The call was stopped by its AbortSignal', { cause: signal.reason })
    if (asked.checkpoint && !asked.checkpoint.overwrite) await expectNoRun(asked.checkpoint.file, CURE)
    await this.#tellBegin(run, callbacks, asked)
    await this.#own(asked)
    this.#begin()
    try {
      this.#layOut(plan)
      this.#callbacks = callbacks
      this.#best = undefined
      this.#files.clear()
      note(run, asked)
      this.#scheduler.begin()
      this.#stepper.step = 0
      this.#run = run
      if (isText) this.#vocabularies = vocabulariesOf(data)
      else this.#format = (train.shown as Dataset).format
    } finally {
      this.#busy = false
    }
    yield* this.#epochs(run, train, asked)
  }

  /**
   * Goes on with the run of fit() that was stopped or saved before its end, as if it had not been: the result is the
   * same to the last bit. In a loop, or awaited, as fit().
   */
  resume(data: TrainingData, options: ResumeOptions = {}): Training {
    return new Training(this.#resume(data, options))
  }

  async *#resume(data: TrainingData, options: ResumeOptions): AsyncGenerator<Epoch, void, undefined> {
    known(options, 'resume()', RUN)
    const asked = askedOf(options, this.#run)
    const train = await this.#sourceOf(data, asked)
    const run = this.#run
    if (!run || isOver(run)) {
      const ended = run?.stopped === undefined ? `has done its ${run?.epochs} epochs` : `was stopped: ${run.stopped}`
      throw new HebbError(
        'INVALID_ARGUMENT',
        `Expected a run that is not finished, got ${run ? `one that ${ended}` : 'none'}. Begin one with fit().`,
      )
    }
    const callbacks = options.callbacks ? namedCallbacks(options.callbacks) : (this.#callbacks ?? callbacksOf(run))
    expect(
      train.samples === run.samples,
      () => `Expected the ${run.samples} samples that the run began with, got the ${train.samples} of ${data.name}`,
    )
    const checksum = run.data && (await train.checksum())
    expect(
      run.data === checksum,
      () =>
        `Expected the data that the run began with, got ${data.name}, which has others of the same number. Go on ` +
        'with the same, or begin a run with fit().',
    )
    train.check(run.batchSize)
    const { validation, checkpoint } = asked
    if (checkpoint && !checkpoint.overwrite && !(await this.#isOwn(checkpoint.file)))
      await expectNoRun(checkpoint.file, CURE)
    const validated = validation && (await validationChecksum(validation))
    await this.#tellBegin(run, callbacks, asked)
    // An older checkpoint has none, and these are the data that it was trained on.
    if (!(data instanceof TextDataset)) this.#format ??= (train.shown as Dataset).format
    await this.#own(asked)
    this.#callbacks = callbacks
    if (run.validation !== undefined && validated !== undefined && run.validation !== validated)
      process.emitWarning(
        `Expected the validation data that the run began with, got ${validation?.name}, which has others. The best ` +
          'state and early stopping go by both.',
        'HebbWarning',
      )
    if (validated !== undefined) run.validation = validated
    note(run, asked)
    yield* this.#epochs(run, train, asked)
  }

  /**
   * Trains one step on a batch of your own, after the topology update that is due before it (see plan()). Returns the
   * batch's mean loss, 0 where none of its samples counts.
   * Batches may differ in size. A run of fit() that was not finished ends here.
   */
  async trainOn(batch: Batch, options: TrainOnOptions = {}): Promise<number> {
    known(options, 'trainOn()', { signal: true, microBatchSize: true })
    known(batch, 'a batch', { x: true, y: true, weights: true, ignore: true })
    const microBatchSize = microBatchOf(options.microBatchSize)
    const features = featuresOf(this.model)
    expect(
      isTyped(batch?.x, 'Float32Array') && batch.x.length > 0 && batch.x.length % features === 0,
      () => `Expected x to be a Float32Array of samples of ${features} features, got ${show(batch?.x)}`,
    )
    const samples = batch.x.length / features
    const data = dataset({
      x: batch.x,
      y: batch.y,
      shape: [features],
      weights: batch.weights,
      ignore: batch.ignore,
      name: 'the batch',
      ...(!isTyped(batch.y, 'Float32Array') && { classes: this.model.outFeatures as number }),
    })
    checkData(this.model, data, this.#loss)
    return this.#alone(async () => {
      if (this.#stepper.fresh) await this.#measures.note()
      this.#run = undefined // its steps are not these
      const graph = this.#stepper.graph(
        Math.max(samples, this.#stepper.room),
        features,
        new HostFeed({ isWeighted: data.weights !== undefined, ignore: data.ignore }),
        lossFor(data, this.#loss),
        microBatchSize,
      )
      const next = { samples: 0, first: 0, columns: samples, host: hostBatchOf(data, batch.x) }
      if (this.#scheduler.due(this.#stepper.step)) {
        const before = this.#ledger.now
        await this.#stepper.update(graph, next, options.signal)
        this.#ledger.look(before)
      }
      const totals: Transfer = [graph.totals, noTotals()]
      const sums = totals[1] as Float64Array
      await this.#stepper.run(graph, 1, next, { signal: options.signal, writes: [totals], reads: [totals] })
      this.#ledger.look()
      return totalsOf(sums).loss
    }, options.signal)
  }

  /** Mean loss and accuracy on a data set; with `metrics: true` more of a classifier. */
  async evaluate(data: Dataset | TextDataset, options: EvaluateOptions = {}): Promise<Evaluation> {
    known(options, 'evaluate()', { signal: true, metrics: true })
    checkData(this.model, data, this.#loss)
    checkCounts(data)
    checkVocabularies(data, this.#vocabularies)
    return this.#alone(() => this.#inference.evaluate(data, options), options.signal)
  }

  /**
   * How well a language model tells a text: loss a token, perplexity a token and a word, bits per byte, each with its
   * standard error. Loss is plain cross-entropy, whatever it was trained by.
   */
  async perplexity(text: LanguageText, options: PerplexityOptions = {}): Promise<Perplexity> {
    this.#inference.checkLanguage(text, this.#vocabularies)
    return this.#alone(() => this.#inference.perplexity(text, options), options.signal)
  }

  /**
   * How a language model chooses among the choices of questions, by the log-likelihood of each behind its context
   * (zero-shot): accuracy, accuracy normalised by length, Matthews correlation, and those of groups, each with its
   * standard error. See readQuestions() of hebb/text.
   */
  async evaluateChoices(questions: readonly Question[], options: RunOptions = {}): Promise<ChoiceEvaluation> {
    return this.#alone(() => this.#inference.choices(questions, this.#vocabularies, options), options.signal)
  }

  /**
   * What the network says of samples [samples][features], of a data set, or of a text made by labelledText(): logits,
   * probabilities, labels, or the values of a regression. Uint8Array: raw inputs, scaled as in training. Float32Array:
   * as the network sees it; where training data were scaled, `raw` must say which.
   */
  async predict<Output extends OutputName = 'logits'>(
    x: Predictable,
    options: PredictOptions<Output> = {},
  ): Promise<Outputs[Output]> {
    const checked = this.#inference.check(x, options, this.#known)
    const logits = await this.#alone(() => this.#inference.predict(checked, options), options.signal)
    return outputsOf(logits, this.model.outFeatures as number, options.output, this.#known)
  }

  /** The most probable class of each line. For models trained on text made by labelledText(). */
  async classify(lines: readonly string[], options: RunOptions = {}): Promise<Classification[]> {
    const text = linesFor(this.#vocabularies, lines)
    return classified(await this.predict(text, options), this.model.outFeatures as number, text.classes)
  }

  /** The translation of each line, by beam search; an empty line for an empty one. For models trained on text. */
  async translate(lines: readonly string[], options: Omit<TranslationOptions, 'nBest'> = {}): Promise<string[]> {
    return this.#alone(async () => {
      const all = await this.#translating.translations(lines, { ...options, nBest: 1 })
      return all.map(([best]) => (best as Translation).text)
    }, options.signal)
  }

  /**
   * Goes on from a prompt, token by token, by a language model. Leave the loop to end it: its memory is given back
   * then. Between two tokens the trainer is free for other calls; if it is trained, the rest is by what it has learned.
   */
  async *generate(prompt: string, options: GenerateOptions = {}): AsyncGenerator<GeneratedToken, void, undefined> {
    const { device, model } = this
    const begin = async () => new Generation(device, model, this.#vocabularies, prompt, options)
    const generation = await this.#alone(begin, options.signal)
    this.#generations.add(generation)
    try {
      for (;;) {
        const token = await this.#alone(() => generation.next(this.#stepper.step), options.signal)
        if (!token) return
        yield token
      }
    } finally {
      this.#generations.delete(generation)
      generation.dispose()
    }
  }

  /** Which of the lines are longer than the model takes, with their tokens: translate() refuses them. */
  tooLong(lines: readonly string[]): { readonly line: number; readonly tokens: number }[] {
    if (this.#disposed) throw disposed()
    return this.#translating.tooLong(lines)
  }

  /** What the model attends to in these lines while it writes these translations, which are there. */
  async crossAttention(
    sources: readonly string[],
    targets: readonly string[],
    options: RunOptions = {},
  ): Promise<CrossAttention[]> {
    return this.#alone(() => this.#translating.crossAttention(sources, targets, options), options.signal)
  }

  get #translating(): Translator {
    this.#translator ??= new Translator(this.device, this.model, this.tokenizers)
    return this.#translator
  }

  /** Links, active neurons and ITOP rate as they are now. */
  async measures(): Promise<TopologyMeasures> {
    return this.#alone(() => this.#measures.read())
  }

  /**
   * The norm of all gradients together in the last step, before they were clipped. Undefined before a step was made,
   * and without the optimizer's clipNorm.
   */
  async gradientNorm(): Promise<number | undefined> {
    return this.#alone(() => this.#stepper.gradientNorm())
  }

  /**
   * A copy of a layer's weights as they are now: links and values of a sparse one, all values of a fully connected one,
   * and its biases. Layers have the names of their checkpoints, such as 'modules.0', and numbers from 0 on in the
   * model's order.
   */
  async weights(layer: number | string): Promise<LayerWeights> {
    if (this.#disposed) throw disposed()
    const found = layerOf(this.model, layer)
    return this.#alone(() => readWeights(found))
  }

  /**
   * Replaces a layer's weights, and the links of a sparse one, between steps: as many links as the layer has room for
   * (what its method's density asks for), columns ascending in each row. A weight or bias that changes, and a new link,
   * begin with an optimizer state of 0; others keep theirs. INVALID_ARGUMENT or NON_FINITE for what does not fit,
   * before anything is changed. The next topology update brings the layer back to its method's density.
   */
  async setWeights(layer: number | string, weights: NewWeights): Promise<void> {
    if (this.#disposed) throw disposed()
    const found = layerOf(this.model, layer)
    return this.#alone(async () => {
      await replaceWeights(this.device, found, weights)
      // Before the first step, nothing was ever active.
      if (this.#stepper.step > 0 || !this.#stepper.fresh) await this.#measures.note()
    })
  }

  /** Degrees, clustering, path lengths and percolation of the links as they are now. */
  async describeTopology(options: DescribeOptions = {}): Promise<TopologyDescription> {
    return this.#alone(() => describeLayers(this.model, options))
  }

  /**
   * Writes the whole training state to one .safetensors file: parameters, links, optimizer state, the run, and how the
   * model, the optimizer and the method were made. The file is replaced as a whole; when that fails, it is left as it
   * was, and so is the training.
   */
  async save(file: string, options: { notes?: Readonly<Record<string, string>> | undefined } = {}): Promise<void> {
    return this.#alone(() => this.#save(file, known(options, 'save()', { notes: true }).notes))
  }

  /** Native memory on the trainer's device, by what it is for: now, and when it was most. */
  memory(): TrainerMemory {
    if (this.#disposed) throw disposed()
    return this.#ledger.memory
  }

  /** Stops what runs, gives back the model's memory, and the device's if the trainer opened it. Safe to call twice. */
  dispose(): void {
    if (this.#disposed) return
    this.#disposed = true
    this.#disown()
    this.#stepper.dispose()
    this.#inference.dispose()
    this.#translator?.dispose()
    for (const generation of this.#generations) generation.dispose()
    this.#workspace.dispose()
    this.#datasets.dispose()
    this.#scheduler.dispose()
    this.#measures.dispose()
    this.model.dispose()
    if (this.#ownsDevice) this.device.dispose()
  }

  [Symbol.dispose](): void {
    this.dispose()
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
    this.#stepper.step = step
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
      this.#datasets.rest()
      this.#busy = false
    }
  }

  /** What a run trains on, looked at with where it is saved, while no other call runs. */
  async #sourceOf(data: TrainingData, options: Asked): Promise<Source> {
    this.#begin()
    try {
      const source = await sourceOf(data, this.model, this.#datasets)
      this.#checkRun(source.shown, options)
      if (options.checkpoint) await expectPlace(options.checkpoint.file, CHECKPOINT)
      if (options.checkpoint?.best !== undefined) await expectPlace(options.checkpoint.best, CHECKPOINT)
      return source
    } finally {
      this.#datasets.rest()
      this.#busy = false
    }
  }

  #checkRun(train: Dataset | TextDataset, { validation, checkpoint }: Asked): void {
    if (validation instanceof TextDataset) this.#inference.expectText(validation)
    for (const data of validation ? [train, validation] : [train]) {
      checkVocabularies(data, this.#vocabularies ?? (train instanceof TextDataset ? train : undefined))
      checkData(this.model, data, this.#loss)
      checkCounts(data)
    }
    if (!checkpoint) return
    known(checkpoint, 'checkpoint', {
      ...({ file: true, best: true, everyEpochs: true, everySteps: true, notes: true, onError: true } as const),
      overwrite: true,
    })
    expect(
      checkpoint.overwrite === undefined || typeof checkpoint.overwrite === 'boolean',
      () => `Expected checkpoint.overwrite to be true or false, got ${show(checkpoint.overwrite)}`,
    )
    expect(
      checkpoint.best === undefined || (typeof checkpoint.best === 'string' && validation !== undefined),
      () => `Expected checkpoint.best to be a path, beside validation, got ${show(checkpoint.best)}`,
    )
    expect(
      typeof checkpoint.file === 'string' && checkpoint.file !== '',
      () => `Expected checkpoint.file to be a path, got ${show(checkpoint.file)}`,
    )
    if (checkpoint.everyEpochs !== undefined) integer(checkpoint.everyEpochs, 'checkpoint.everyEpochs', 1)
    if (checkpoint.everySteps !== undefined) integer(checkpoint.everySteps, 'checkpoint.everySteps', 1)
  }

  /** The epochs that a run has not done yet. Between two of them the trainer is free for other calls. */
  async *#epochs(run: Run, train: Source, options: Asked): AsyncGenerator<Epoch, void, undefined> {
    const locks = this.#locks
    try {
      while (!isOver(run)) yield await this.#told(run, train, options)
    } finally {
      if (this.#locks === locks) this.#disown()
    }
  }

  /** Lets callbacks refuse a run before it begins, or goes on. */
  async #tellBegin(run: Run, callbacks: Named, { validation, checkpoint }: Asked): Promise<void> {
    const keepsBest = [...callbacks.values()].some((callback) => callback.keepsBest)
    const { best, file } = checkpoint ?? {}
    if (keepsBest) {
      expect(
        file === undefined || best !== undefined,
        () =>
          `Expected checkpoint.best beside keepBest() and checkpoint.file ${show(file)}, for a run that is gone on ` +
          'with to find its best state there, got none',
      )
      if (run.best && best !== undefined) await notesIn(best)
      expect(
        !run.best || best !== undefined || this.#best !== undefined,
        () =>
          `Expected checkpoint.best to be the file of the run's best state, after step ${run.best?.step}, for ` +
          'keepBest(), got none. It was kept in memory by another process; go on without keepBest().',
      )
    }
    delete run.callbacks
    if (callbacks.size === 0) return
    run.callbacks = serialiseOnce([...callbacks.values()], 'callbacks')
    run.states ??= {}
    await callEach(callbacks, run.states, (callback, state) =>
      callback.onBegin?.({ trainer: this, state, validation, stop: (reason) => stop(run, reason) }),
    )
  }

  /** The next epoch, when callbacks were told of it and it is saved. While they look, the trainer is free. */
  async #told(run: Run, train: Source, options: Asked): Promise<Epoch> {
    const callbacks = this.#callbacks as Named
    if (callbacks.size === 0)
      return this.#alone(async () => {
        const report = await this.#epoch(run, train, options)
        await this.#keep(run, report, options)
        return report
      }, options.signal)
    const report = await this.#alone(() => this.#epoch(run, train, options), options.signal)
    const { validation } = options
    const context = {
      ...{ trainer: this, validation, stop: (reason?: string) => stop(run, reason) },
      figure: report.validation ? figureOf(report.validation, validation) : Number.NaN,
      isAtTarget: this.#isAtTarget(report.links),
    }
    run.states ??= {}
    await callEach(callbacks, run.states, (callback, state) => callback.onEpoch?.(report, { ...context, state }))
    // Not to be stopped: the epoch is done.
    await this.#alone(() => this.#keep(run, report, options))
    return report
  }

  /** Takes the files that a run saves to: for itself, in place of what a run had that was left without its end. */
  async #own({ checkpoint }: Asked): Promise<void> {
    const had = this.#locks
    const locks: Lock[] = []
    try {
      for (const file of [checkpoint?.file, checkpoint?.best])
        if (file !== undefined) locks.push(await own(file, [...had, ...locks]))
    } catch (error) {
      for (const lock of locks) if (!had.includes(lock)) lock.release()
      throw error
    }
    for (const lock of had) if (!locks.includes(lock)) lock.release()
    this.#locks = locks
    if (this.#disposed) this.#disown() // meanwhile
  }

  /** Whether a file is known to hold this run. */
  async #isOwn(file: string): Promise<boolean> {
    for (const known of this.#files) if (known === resolve(file) || (await isSameFile(known, file))) return true
    return false
  }

  #disown(): void {
    for (const lock of this.#locks) lock.release()
    this.#locks = []
  }

  async #epoch(
    run: Run,
    { shown: train, order: orderOf }: Source,
    { validation, signal, onProgress, checkpoint }: Asked,
  ): Promise<Epoch> {
    expect(
      this.#run === run,
      () => 'Expected to go on with the run that was last begun, got one that another call of fit() has ended',
    )
    const { epochs, batchSize, microBatchSize } = run
    const { plan } = this.#stepper
    if (!plan) throw new TypeError('a run has a plan')
    const stepsPerEpoch = stepsOf(plan, run.epoch)
    const order = orderOf(run)
    const features = train instanceof TextDataset ? 0 : train.features
    const graph = this.#stepper.graph(batchSize, features, order, lossFor(train, this.#loss), microBatchSize)
    const epoch = run.epoch + 1
    if (this.#stepper.step === 0) await this.#measures.note()
    const enter = () =>
      order.enter({ epoch: run.epoch, step: run.done, stepsPerEpoch: plan.stepsPerEpoch }, batchSize, signal)
    let span = await enter()
    await graph.totals.write(run.totals)
    const everySteps = checkpoint?.everySteps ?? Number.POSITIVE_INFINITY
    try {
      while (run.done < stepsPerEpoch) {
        if (run.done >= span.end) span = await enter()
        const next = order.next(span, run.done, batchSize)
        if (this.#scheduler.due(this.#stepper.step)) {
          const before = this.#ledger.now
          run.updateSeconds += await this.#stepper.update(graph, next, signal)
          this.#ledger.look(before)
        }
        const steps = Math.min(
          Math.min(span.end, stepsPerEpoch) - run.done,
          this.#scheduler.until(this.#stepper.step),
          everySteps - (this.#stepper.step % everySteps || 0),
        )
        const before = run.done
        const progress = onProgress && ((n: number) => onProgress({ epoch, epochs, step: before + n, stepsPerEpoch }))
        const start = performance.now()
        try {
          await this.#stepper.run(graph, steps, next, { signal, onProgress: progress, run })
        } finally {
          run.seconds += (performance.now() - start) / 1000
        }
        this.#ledger.look()
        if (checkpoint && this.#stepper.step % everySteps === 0 && run.done < stepsPerEpoch) {
          run.totals = await graph.totals.read()
          await this.#saveNow(checkpoint)
        }
      }
    } catch (error) {
      // What was trained stays, and so do its sums: resume() goes on from here.
      if (!this.#disposed) run.totals = await graph.totals.read().catch(() => run.totals)
      throw error
    }
    run.totals = await graph.totals.read() // for who stops the evaluation
    const totals = totalsOf(run.totals)
    const gradientNorm = await this.#stepper.gradientNorm()
    const report: Epoch = {
      epoch,
      trainLoss: totals.loss,
      trainAccuracy: lossFunction(lossFor(train, this.#loss)).targets === 'labels' ? totals.accuracy : Number.NaN,
      counted: totals.counted,
      ...(order instanceof TextOrder && { dropped: order.batches.dropped.length }),
      ...(validation && { validation: await this.#inference.evaluate(validation, { signal }) }),
      seconds: run.seconds,
      updateSeconds: run.updateSeconds,
      learningRate: this.#stepper.learningRate,
      ...(gradientNorm !== undefined && { gradientNorm }),
      ...(await this.#measures.read()),
    }
    Object.assign(run, { epoch, done: 0, seconds: 0, updateSeconds: 0, totals: noTotals() })
    return report
  }

  /** Saves what is to be saved after an epoch; at the run's end it goes back to the best state, where that is kept. */
  async #keep(run: Run, report: Epoch, { validation, checkpoint }: Asked): Promise<void> {
    const { best, epoch } = run
    const keepsBest = [...(this.#callbacks?.values() ?? [])].some((callback) => callback.keepsBest)
    const figure = report.validation ? figureOf(report.validation, validation) : Number.NaN
    const isBest = figure > (best?.figure ?? Number.NEGATIVE_INFINITY) && this.#isAtTarget(report.links)
    if (isBest) run.best = { figure, step: this.#stepper.step }
    // First the best: what the other file says of it must be there.
    if (checkpoint?.best !== undefined && isBest) {
      const isSaved = await this.#saveNow({ ...checkpoint, file: checkpoint.best })
      if (!isSaved) {
        delete run.best
        if (best) run.best = best
      }
    } else if (keepsBest && isBest) this.#best = await snapshotOf(this.#state)
    if (keepsBest && isOver(run)) await this.#returnTo(run, checkpoint?.best)
    const everySteps = checkpoint?.everySteps ?? Number.POSITIVE_INFINITY
    const everyEpochs = checkpoint?.everyEpochs ?? (checkpoint?.everySteps ? Number.POSITIVE_INFINITY : 1)
    if (checkpoint && (epoch % everyEpochs === 0 || isOver(run) || this.#stepper.step % everySteps === 0))
      await this.#saveNow(checkpoint)
  }

  /** Makes parameters, links and optimizer state those of a run's best state, in a file or in memory. */
  async #returnTo(run: Run, file: string | undefined): Promise<void> {
    const kept = this.#best
    this.#best = undefined
    if (!run.best || run.best.step === this.#stepper.step) return
    const checkpoint = file === undefined ? kept : await readCheckpoint(file, { training: true })
    if (!checkpoint) throw new TypeError('a best state is kept')
    if (this.#disposed) throw disposed()
    this.#stepper.dispose()
    this.#inference.dispose()
    this.#translator?.dispose()
    this.#translator = undefined
    this.#scheduler.dispose()
    this.#measures.dispose()
    this.model.dispose()
    try {
      const { scheduler, measures, stepper, inference, ready } = this.#make({ checkpoint, anew: false })
      this.#scheduler = scheduler
      this.#measures = measures
      this.#stepper = stepper
      this.#inference = inference
      this.#ready = ready.then(() => this.#restore(checkpoint))
      await this.#ready
    } catch (error) {
      if (this.#disposed) throw disposed()
      this.dispose() // it has no parameters
      throw error
    }
    this.#run = run
  }

  /** Whether no layer has more links than it is to have in the end: methods that prune are denser until late. */
  #isAtTarget(links: number): boolean {
    const final = sparseLayers(this.model).reduce(
      (sum, { density, inFeatures, outFeatures }) => sum + Math.ceil(density * inFeatures * outFeatures),
      0,
    )
    return links <= final
  }

  /** A checkpoint in the middle of a run: when it cannot be written, training goes on. Whether it was written. */
  async #saveNow({ file, notes, onError }: CheckpointOptions): Promise<boolean> {
    try {
      await this.#save(file, notes)
      return true
    } catch (error) {
      if (onError) onError(error as Error)
      else
        process.emitWarning(
          `The checkpoint was not written, training goes on. ${(error as Error).message}`,
          'HebbWarning',
        )
      return false
    }
  }

  async #save(file: string, notes = this.#notes): Promise<void> {
    expect(typeof file === 'string' && file !== '', () => `Expected file to be a path, got ${show(file)}`)
    for (const [name, note] of Object.entries(notes))
      expect(typeof note === 'string', () => `Expected notes to be texts, got ${show(note)} for ${name}`)
    this.#notes = { ...notes }
    await writeCheckpoint(file, this.#state, this.#notes)
    this.#files.add(resolve(file))
  }

  /** All that is saved. */
  get #state(): TrainingState {
    return {
      model: this.model,
      optimizer: this.#optimizer,
      method: this.method,
      loss: this.#loss,
      vocabularies: this.#vocabularies,
      format: this.#format,
      lossScale: this.#lossScale,
      progress: {
        step: this.#stepper.step,
        plan: this.#stepper.plan,
        updates: this.#scheduler.progress,
        run: this.#run,
      },
      history: (parameter) => this.#measures.history(parameter),
    }
  }
}
