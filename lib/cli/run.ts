/**
 * One training run by the paper's settings: what `hebb train` does once, and `hebb compare` for every cell of its
 * table.
 */
import type { Command } from 'commander'
import { holdOut } from '../data/hold_out.js'
import type { Dataset, TrainAndTest } from '../data/index.js'
import { Device } from '../device.js'
import { cubicDensity, type DecayOptions, type DensityRule, sigmoidDensity } from '../dst/density.js'
import type { Method } from '../dst/method.js'
import { soft, topK } from '../dst/regrow.js'
import { density, expect, HebbError, integer, number, show } from '../error.js'
import { mlp } from '../nn/mlp.js'
import { linear } from '../optim/rates.js'
import type { Settings } from '../report/log.js'
import { linkPredictors } from '../tensor.js'
import type { Epoch, ResumeOptions } from '../train/options.js'
import { Trainer } from '../train/trainer.js'
import {
  datasets,
  distributions,
  hiddenWidths,
  methods,
  numeric,
  optimizers,
  pick,
  predictors,
  removals,
  topologies,
} from './flags.js'

/** The flags that runs of both commands take alike, as texts. */
export interface RunFlags {
  distribution: string
  topology?: string
  predictor?: string
  removal?: string
  initialDensity?: string
  hidden?: string
  epochs: string
  batchSize: string
  optimizer: string
  learningRate?: string
  validationSplit: string
  device: string
  threads: string
  blas: string
  deterministic: string
}

/** The flags that are a list in `hebb compare`. */
export interface CellFlags {
  dataset: string
  method: string
  /** Default: 1 for a dense method, else 0.01. */
  density?: string
  seed: string
}

export function defineRunFlags(command: Command): Command {
  const widths = Object.entries(hiddenWidths).map(([name, hidden]) => `${name}: ${hidden}`)
  const rates = Object.entries(optimizers).map(([name, { rate }]) => `${name}: ${rate}`)
  return command
    .option(
      '--distribution <name>',
      `of the links over the layers: ${Object.keys(distributions).join(' | ')}`,
      'uniform',
    )
    .option('--topology <name>', `initial network: ${Object.keys(topologies).join(' | ')} (default: the method's)`)
    .option(
      '--predictor <name>',
      `scores of new links, for methods that have them: ${linkPredictors.join(' | ')} (default: the method's)`,
    )
    .option(
      '--removal <rule>',
      `which links go, for methods that remove some: ${Object.keys(removals).join(' | ')} (default: the method's)`,
    )
    .option(
      '--initial-density <share>',
      'where a density that decays begins, for methods that have one: chtss, gmp, granet (default: 0.5)',
    )
    .option(
      '--hidden <widths>',
      `neurons of the hidden layers (default: ${[...widths, `else ${PAPER_WIDTHS}`].join(', ')})`,
    )
    .option('--epochs <n>', 'passes over the training set', '100')
    .option('--batch-size <n>', 'samples a step', '32')
    .option(
      '--optimizer <name>',
      `${Object.keys(optimizers).join(' | ')} (SGD with momentum 0.9 and weight decay 5e-4)`,
      'sgd',
    )
    .option(
      '--learning-rate <rate>',
      `first rate; it falls to a hundredth over 90% of the epochs (default: ${rates.join(', ')})`,
    )
    .option(
      '--validation-split <n>',
      'hold n samples of the training set out, the same in every run, and measure on them: the test set is not used',
      '0',
    )
    .option('--device <kind>', 'auto | cpu | cuda', 'auto')
    .option('--threads <n>', 'CPU threads (default: all the process may use)', '0')
    .option('--blas <name>', 'dense products on a GPU: own | cublas', 'own')
    .option('--deterministic <where>', "a GPU's routes: device (the fastest) | everywhere (the CPU's bits)", 'device')
}

/** The device that flags ask for. */
export function deviceOf(flags: Pick<RunFlags, 'device' | 'threads' | 'blas' | 'deterministic'>): Device {
  return new Device({
    kind: flags.device as 'auto',
    threads: numeric(flags.threads, 'threads'),
    blas: flags.blas as 'own',
    deterministic: flags.deterministic as 'device',
  })
}

const PAPER_WIDTHS = '1568,1568,1568'

/** The settings that flags ask for. All are checked, as far as that goes without data. */
export function settingsOf(flags: RunFlags & CellFlags): Settings {
  pick(datasets, flags.dataset, 'dataset')
  const hidden = flags.hidden ?? hiddenWidths[flags.dataset] ?? PAPER_WIDTHS
  const optimizer = pick(optimizers, flags.optimizer, 'optimizer')
  const settings: Settings = {
    dataset: flags.dataset,
    method: flags.method,
    ...(flags.topology !== undefined && { topology: flags.topology }),
    ...(flags.predictor !== undefined && { predictor: flags.predictor }),
    ...(flags.removal !== undefined && { removal: flags.removal }),
    ...(flags.initialDensity !== undefined && {
      initialDensity: density(numeric(flags.initialDensity, 'initial-density'), 'initial-density'),
    }),
    density: density(numeric(flags.density ?? (isDense(flags.method) ? '1' : '0.01'), 'density')),
    distribution: pick(distributions, flags.distribution, 'distribution'),
    hidden: hidden.split(',').map((width) => integer(numeric(width, 'hidden'), 'hidden', 1)),
    epochs: integer(numeric(flags.epochs, 'epochs'), 'epochs', 1),
    batchSize: integer(numeric(flags.batchSize, 'batch-size'), 'batch-size', 1),
    optimizer: flags.optimizer,
    learningRate:
      flags.learningRate === undefined
        ? optimizer.rate
        : number(numeric(flags.learningRate, 'learning-rate'), 'learning-rate', 0),
    seed: integer(numeric(flags.seed, 'seed'), 'seed', 0),
    validationSplit: integer(numeric(flags.validationSplit, 'validation-split'), 'validation-split', 0),
  }
  checkMethod(settings)
  return settings
}

/** Whether a method of this name has fully connected layers, and no other density than 1. */
export function isDense(method: string): boolean {
  return pick(methods, method, 'method')().dense === true
}

/** The name of the network that a method begins with. */
export function networkOf({ dense, topology }: Method): string {
  return dense ? 'full' : topology.name
}

/** Rules of a density that decays, by name. */
const decays: Record<string, (options: DecayOptions) => DensityRule> = { sigmoid: sigmoidDensity, cubic: cubicDensity }

interface ReplaceablePart {
  readonly flag: string
  has(method: Method): boolean
  /** What is said of a method that has it, and of one that has not. */
  readonly having: string
  readonly lacking: string
}

/** Parts of a method that flags may replace, and that not every method has. */
export const replaceableParts = {
  predictor: {
    flag: 'predictor',
    has: ({ regrow }) => typeof regrow === 'object' && (linkPredictors as readonly string[]).includes(regrow.predictor),
    having: 'regrows by one',
    lacking: 'regrows without one',
  },
  removal: {
    flag: 'removal',
    has: ({ remove }) => remove !== undefined,
    having: 'removes links',
    lacking: 'removes no links',
  },
  initialDensity: {
    flag: 'initial-density',
    has: ({ density }) => Object.hasOwn(decays, density.name),
    having: 'has a density that decays',
    lacking: 'has no density that decays',
  },
} satisfies Record<string, ReplaceablePart>

export const partKeys = Object.keys(replaceableParts) as (keyof typeof replaceableParts)[]

/** Whether a method of this name has the part. */
export function hasPart(method: string, key: keyof typeof replaceableParts): boolean {
  return replaceableParts[key].has(pick(methods, method, 'method')())
}

/** Refuses a method, or a part of one, that there is none of. */
function checkMethod(settings: Settings): void {
  const { method, topology, predictor, removal, initialDensity, density } = settings
  pick(methods, method, 'method')
  if (topology !== undefined) pick(topologies, topology, 'topology')
  if (predictor !== undefined) pick(predictors, predictor, 'predictor')
  if (removal !== undefined) pick(removals, removal, 'removal')
  for (const key of partKeys) {
    const { flag, lacking } = replaceableParts[key]
    expect(
      settings[key] === undefined || hasPart(method, key),
      () => `Expected no --${flag} for the method '${method}', which ${lacking}, got ${show(settings[key])}`,
    )
  }
  expect(
    initialDensity === undefined || initialDensity >= density,
    () =>
      `Expected --initial-density to be at least ${density}, the density that it falls to, got ${show(initialDensity)}`,
  )
}

/** The method, with the parts that were asked for in place of its own. */
function methodOf(settings: Settings, data: RunData): Method {
  checkMethod(settings)
  const { method, topology, predictor, removal, initialDensity } = settings
  const create = pick(methods, method, 'method')
  const { regrow, density } = create()
  const parts: { -readonly [Part in keyof Method]?: Method[Part] } = {}
  if (topology !== undefined)
    parts.topology = pick(topologies, topology, 'topology')({ train: data.train, test: data.measured })
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
}

/** The data of a run, out of a data set that was read. */
export function divide({ train, test }: TrainAndTest, validationSplit: number): RunData {
  if (validationSplit === 0) return { train, measured: test, part: 'test' }
  expect(
    validationSplit < train.samples,
    () =>
      `Expected --validation-split to be less than the ${train.samples} samples of ${train.name}, got ` +
      validationSplit,
  )
  const { train: kept, validation } = holdOut(train, validationSplit)
  return { train: kept, measured: validation, part: 'validation' }
}

/** A trainer in its run. */
export interface TrainingRun {
  readonly settings: Settings
  readonly trainer: Trainer
  readonly data: RunData
  /** The epochs that are not done yet, from the first or from where the run was saved. */
  epochs(options: ResumeOptions): AsyncGenerator<Epoch, void, undefined>
}

export function beginRun(settings: Settings, data: RunData, device: Device): TrainingRun {
  const { density, distribution, seed, hidden, optimizer, learningRate, epochs, batchSize } = settings
  const model = mlp({
    widths: [data.train.features, ...hidden, data.train.classes],
    density,
    ...(distribution && { distribution }),
    seed,
  })
  const trainer = new Trainer(model, {
    optimizer: pick(optimizers, optimizer, 'optimizer').create(
      linear({ from: learningRate, to: learningRate / 100, over: 0.9 }),
    ),
    dst: methodOf(settings, data),
    device,
  })
  return {
    settings,
    trainer,
    data,
    epochs: (options) => trainer.fit(data.train, { ...options, validation: data.measured, epochs, batchSize }),
  }
}

/** A run that was saved; `read` brings its data. */
export async function resumeRun(
  file: string,
  device: Device,
  read: (settings: Settings, folder?: string) => Promise<RunData>,
): Promise<TrainingRun> {
  const trainer = await Trainer.load(file, { device })
  try {
    const settings = notedSettings(trainer.notes, file)
    const data = await read(settings, trainer.notes.data)
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

/** What is noted with a run's checkpoints: what the trainer does not know. `data`: the folder of the data set. */
export function notesOf(settings: Settings, data: string | undefined): Record<string, string> {
  return { dataset: settings.dataset, settings: JSON.stringify(settings), ...(data !== undefined && { data }) }
}

function notedSettings(notes: Readonly<Record<string, string>>, file: string): Settings {
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
