/**
 * One training run by the paper's settings: what `hebb train` does once, and `hebb compare` for every cell of its
 * table.
 */
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { checksum } from '../data/checksum.js'
import type { Dataset, TrainAndTest } from '../data/index.js'
import { trainTestSplit } from '../data/train_test_split.js'
import { Device } from '../device.js'
import type { Method } from '../dst/method.js'
import { soft, topK } from '../dst/regrow.js'
import { expect, HebbError, show } from '../error.js'
import { mlp } from '../nn/mlp.js'
import type { Optimizer } from '../optim/optimizer.js'
import { linearDecay } from '../optim/rates.js'
import {
  decays,
  distributions,
  methods,
  optimizers,
  pick,
  predictors,
  removals,
  topologies,
} from '../settings/choices.js'
import { datasets } from '../settings/datasets.js'
import type { Settings, Values } from '../settings/flags.js'
import type { Topology } from '../topology/topology.js'
import { earlyStopping } from '../train/callbacks.js'
import { crossEntropy } from '../train/loss.js'
import type { Epoch, ResumeOptions } from '../train/options.js'
import { Trainer } from '../train/trainer.js'

/** The device that flags ask for. */
export function deviceOf(values: Pick<Values, 'device' | 'threads' | 'blas' | 'deterministic'>): Device {
  const { device: kind, threads, blas, deterministic } = values
  return new Device({ kind, threads, blas, deterministic })
}

/** The name of the network that a method begins with. */
export function networkOf({ dense, topology }: Method): string {
  return dense ? 'full' : topology.name
}

/** What may be asked for in place of a method's own parts, by name. */
export interface AskedParts {
  readonly topology?: string | undefined
  readonly predictor?: string | undefined
  readonly removal?: string | undefined
  readonly initialDensity?: number | undefined
}

/** The method, with the parts that were asked for in place of its own, and some that are given. */
export function methodWith(
  name: string,
  { topology, predictor, removal, initialDensity }: AskedParts,
  topologyOf: (name: string) => Topology,
  given: Partial<Method> = {},
): Method {
  const create = pick(methods, name, 'method')
  const { regrow, density } = create()
  const parts: { -readonly [Part in keyof Method]?: Method[Part] } = { ...given }
  if (topology !== undefined) parts.topology = topologyOf(topology)
  if (removal !== undefined) parts.remove = pick(removals, removal, 'removal')()
  if (predictor !== undefined) {
    const scores = pick(predictors, predictor, 'predictor')
    parts.regrow = typeof regrow === 'object' && regrow.selection === 'largest' ? topK(scores) : soft(scores)
  }
  const decay = decays[density.name]
  if (initialDensity !== undefined && decay) parts.density = decay({ initialDensity })
  return create(parts)
}

/** What a run trains on, and what it is measured on. */
export interface RunData {
  readonly train: Dataset
  readonly measured: Dataset
  readonly part: 'test' | 'validation'
  readonly notes: DataNotes
}

/** What is noted of a run's data with its checkpoints. */
interface DataNotes {
  /** Of all samples: runs on other data of the same name are not gone on with. */
  readonly checksum: string
  readonly [name: string]: string
}

/** The checksum of samples, labels and shapes, of both parts. */
function wholeOf(...parts: Dataset[]): Promise<string> {
  return checksum(
    parts.flatMap(({ x, labels, targets, shape, classes }) => [JSON.stringify([shape, classes]), x, labels, targets]),
  )
}

/** The data set of a run. `place`: its folder or file; `notes`: those of a checkpoint. */
export async function readData(
  { dataset, targets, testSplit }: Pick<Settings, 'dataset' | 'targets' | 'testSplit'>,
  place: string | undefined,
  notes?: Readonly<Record<string, string>>,
): Promise<TrainAndTest & { readonly notes: DataNotes }> {
  const { train, test, ...own } = await pick(datasets, dataset, 'dataset').read(place, { targets, testSplit, notes })
  return { train, test, notes: { ...own.notes, checksum: await wholeOf(train, test) } }
}

/** The data of a run, out of a data set that was read. */
export function divide(
  { train, test, notes }: TrainAndTest & Pick<RunData, 'notes'>,
  validationSplit: number,
): RunData {
  if (validationSplit === 0) return { train, measured: test, part: 'test', notes }
  expect(
    validationSplit < train.samples,
    () =>
      `Expected --validation-split to be less than the ${train.samples} samples of ${train.name}, got ` +
      validationSplit,
  )
  const { train: kept, test: validation } = trainTestSplit(train, { testSize: validationSplit })
  return { train: kept, measured: validation, part: 'validation', notes }
}

/** A trainer in its run. */
export interface TrainingRun {
  readonly settings: Settings
  readonly trainer: Trainer
  readonly data: RunData
  /** The epochs that are not done yet, from the first or from where the run was saved. */
  epochs(options: ResumeOptions): AsyncGenerator<Epoch, void, undefined>
}

function optimizerOf({ optimizer, learningRate: from, momentum, weightDecay }: Settings): Optimizer {
  const learningRate = linearDecay({ from, to: from / 100, over: 0.9 })
  return pick(optimizers, optimizer, 'optimizer').create({ learningRate, momentum, weightDecay })
}

export function beginRun(settings: Settings, data: RunData, device: Device): TrainingRun {
  const { density, distribution, seed, hidden, epochs, batchSize, microBatchSize, labelSmoothing, patience } = settings
  const model = mlp({
    widths: [data.train.features, ...hidden, data.train.classes],
    density,
    distribution: pick(distributions, distribution, 'distribution'),
    seed,
  })
  const trainer = new Trainer(model, {
    optimizer: optimizerOf(settings),
    dst: methodWith(settings.method, settings, (name) =>
      pick(topologies, name, 'topology')({ train: data.train, test: data.measured }),
    ),
    ...(labelSmoothing !== undefined && { loss: crossEntropy({ labelSmoothing }) }),
    device,
  })
  return {
    settings,
    trainer,
    data,
    epochs: (options) =>
      trainer.fit(data.train, {
        ...{ ...options, validation: data.measured, epochs, batchSize, microBatchSize },
        ...(patience !== undefined && { callbacks: [earlyStopping({ patience })] }),
      }),
  }
}

/** A run that was saved; `read` brings its data. */
export async function resumeRun(
  file: string,
  device: Device,
  read: (settings: Settings, notes: Readonly<Record<string, string>>) => Promise<RunData>,
): Promise<TrainingRun> {
  const trainer = await Trainer.load(file, { device })
  try {
    const settings = notedSettings(trainer.notes, file)
    const data = await read(settings, trainer.notes)
    const { checksum } = trainer.notes
    expect(
      checksum === undefined || checksum === data.notes.checksum,
      () =>
        `Expected the data of ${settings.dataset} that the run of ${file} began with, got others. Give their place ` +
        'by --data.',
    )
    return {
      settings,
      trainer,
      data,
      epochs: (options) => trainer.resume(data.train, { ...options, validation: data.measured }),
    }
  } catch (error) {
    trainer.dispose()
    throw error
  }
}

/** What is noted with a run's checkpoints: what the trainer does not know. `place`: where its data are. */
export function notesOf(settings: Settings, place: string | undefined, { notes }: RunData): Record<string, string> {
  return {
    ...notes,
    dataset: settings.dataset,
    settings: JSON.stringify(settings),
    // A run may be gone on with from another folder, or be moved together with its data.
    ...(place !== undefined && { data: place, dataPath: resolve(place) }),
  }
}

/** Where the data of a run were, as its checkpoint notes it. */
export function notedPlace({ data, dataPath }: Readonly<Record<string, string>>): string | undefined {
  return dataPath !== undefined && existsSync(dataPath) ? dataPath : data
}

/** The settings that a checkpoint of the command line notes. */
export function notedSettings(notes: Readonly<Record<string, string>>, file: string): Settings {
  if (notes.settings === undefined)
    throw new HebbError(
      'INVALID_ARGUMENT',
      `Expected ${file} to be a checkpoint of the command line, got one of a program. Go on with it by Trainer.load().`,
    )
  try {
    const settings = JSON.parse(notes.settings) as Settings
    if (typeof settings.dataset === 'string' && typeof settings.method === 'string') return settings
  } catch {}
  throw new HebbError('BAD_FILE', `Expected ${file} to note its settings, got ${show(notes.settings)}`)
}
