/**
 * hebb train --task lm: a LLaMA on text files, measured on another one after every interval of steps. The tokenizer is
 * trained on the files where none is given, and kept in the checkpoint.
 */
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Device } from '../device.js'
import { expect, HebbError } from '../error.js'
import { expectPlace } from '../files.js'
import { llama } from '../nn/llama.js'
import { llamaShape } from '../nn/llama_config.js'
import { adam } from '../optim/adam.js'
import { cosineDecay } from '../optim/rates.js'
import { languageReport } from '../report/language.js'
import {
  type FlagName,
  type Given,
  isSetting,
  read,
  settingsOf,
  typed,
  type Values,
  valuesOf,
  withDefaults,
} from '../settings/flags.js'
import { count, percent } from '../settings/format.js'
import { type LanguageText, languageText, readDocuments } from '../text/language.js'
import type { Tokenizer } from '../text/tokenizer.js'
import { Trainer } from '../train/trainer.js'
import type { Call } from './command.js'
import { stopping } from './ending.js'
import { expectFree, REPORT, writeWhole } from './files.js'
import { deviceOf } from './run.js'
import {
  bestOf,
  checkTaken,
  deviceLine,
  isOver,
  layersOf,
  memoryLine,
  methodBySteps,
  none,
  type TextRun,
  tokenizerOf,
  trainText,
} from './text_run.js'

/** What a run was asked for, as its checkpoint notes it. */
type Settings = { readonly [name in FlagName]?: Values[name] } & {
  readonly [name in 'method' | 'density' | 'seed' | 'learningRate']-?: Exclude<Values[name], undefined>
} & {
  readonly [name in
    | ('vocabulary' | 'width' | 'feedForward' | 'layers' | 'heads' | 'window')
    | ('steps' | 'interval' | 'batchTokens' | 'warmup' | 'updateEvery')]-?: number
}

interface Files {
  readonly data: readonly string[]
  readonly validation: string
}

/** Files that are separated by commas, unless there is one of that name. */
export const filesIn = (text: string): string[] => (existsSync(text) ? [text] : text.split(','))

function filesOf({ data, validation }: Given, noted: Partial<Files> = {}): Files {
  const files = { data: data === undefined ? noted.data : filesIn(data), validation: validation ?? noted.validation }
  for (const name of ['data', 'validation'] as const)
    expect(files[name] !== undefined, () => `Expected --${name} with a text file for the task 'lm', got none`)
  return files as Files
}

/** A file as a checkpoint notes it, or where it was, for whoever goes on in another folder. */
const located = (file: string, path: string | undefined) => (existsSync(file) ? file : (path ?? file))

export function locatedTexts({ data, validation }: Files, paths: Partial<Files>): Files {
  return {
    data: data.map((file, i) => located(file, paths.data?.[i])),
    validation: located(validation, paths.validation),
  }
}

const pathsOf = ({ data, validation }: Files): Files => ({
  data: data.map((file) => resolve(file)),
  validation: resolve(validation),
})

/** How texts are read, by the settings of a run. */
function textsBy({ documents, joined, firstWindow, separator, window, store }: Settings, tokenizer: Tokenizer) {
  return (files: readonly string[], isTrained: boolean) =>
    languageText(files, {
      ...{ tokenizer, window, masked: joined !== true, firstWindow: isTrained && firstWindow === true },
      ...(documents !== undefined && { documents }),
      ...(separator !== undefined && { separator }),
      ...(isTrained && store !== undefined && { store }),
    })
}

const documents = ({ count: all }: LanguageText) =>
  all === undefined ? '' : `${count(all)} document${all > 1 ? 's' : ''}, `

type LanguageRun = TextRun<Settings, Files, LanguageText>

async function textsOf(settings: Settings, files: Files, tokenizer: Tokenizer) {
  const text = textsBy(settings, tokenizer)
  return { train: await text(files.data, true), validation: await text([files.validation], false) }
}

async function* linesOf(files: readonly string[], { documents }: Settings): AsyncGenerator<string> {
  for await (const text of readDocuments(files, documents === undefined ? {} : { documents })) yield* text.split('\n')
}

const SHAPE = ['width', 'feedForward', 'layers', 'heads'] as const

/** What a config.json says of the model, and the flags with that. */
function configured(given: Given) {
  if (given.config === undefined) return { given, shape: undefined }
  const twice = SHAPE.find((name) => given[name] !== undefined)
  expect(twice === undefined, () => `Expected no --${typed(twice as FlagName)} beside --config, which tells it`)
  const shape = llamaShape(given.config)
  const { features: width, hidden: feedForward, layers, heads } = shape
  return { given: { ...given, width, feedForward, layers, heads }, shape }
}

async function begin(asked: Given, device: Device, say: (line: string) => void): Promise<LanguageRun> {
  const files = filesOf(asked)
  const { given, shape } = configured(asked)
  const settings = settingsOf(valuesOf('lm', given)) as unknown as Settings
  const { width: features, feedForward: hidden, layers, heads, perHead, density, seed, window } = settings
  const { learningRate: from, warmup, steps, interval, batchTokens, updateEvery } = settings
  expect(
    window <= batchTokens,
    () => `Expected --batch-tokens of at least --window, ${window}, got ${batchTokens}: windows are not divided`,
  )
  const lines = () => linesOf(files.data, settings)
  const tokenizer = await tokenizerOf(given, lines, settings.vocabulary, say)
  const texts = await textsOf(settings, files, tokenizer)
  const model = llama({
    ...(shape ?? { words: tokenizer.size, features, hidden, layers, heads, places: window }),
    ...{ density, seed, ...(perHead && { perHead }) },
  })
  const trainer = new Trainer(model, {
    optimizer: adam({ learningRate: cosineDecay({ from, to: from / 10, warmup }) }),
    dst: methodBySteps(settings, updateEvery),
    device,
  })
  return {
    ...{ settings, files, trainer, ...texts },
    intervals: (options) =>
      trainer.fit(texts.train, {
        ...options,
        ...{ validation: texts.validation, steps, interval: Math.min(interval, steps), batchSize: batchTokens },
      }),
  }
}

async function goOn(given: Given, device: Device): Promise<LanguageRun> {
  const file = given.resume as string
  const changed = (Object.keys(given) as FlagName[]).find(
    (name) => isSetting(name) || name === 'tokenizer' || name === 'config',
  )
  expect(
    changed === undefined || changed === 'task',
    () => `Expected no --${typed(changed as FlagName)} beside --resume: the run goes on as it began`,
  )
  const trainer = await Trainer.load(file, { device })
  try {
    const { notes, tokenizers } = trainer
    if (notes.settings === undefined || notes.files === undefined || !tokenizers)
      throw new HebbError('INVALID_ARGUMENT', `Expected ${file} to be a checkpoint of hebb train, got one of a program`)
    const settings = JSON.parse(notes.settings) as Settings
    const files = filesOf(given, JSON.parse(notes.files))
    const there = locatedTexts(files, JSON.parse(notes.paths ?? '{}'))
    const texts = await textsOf(settings, there, tokenizers.source)
    return {
      ...{ settings, files, trainer, ...texts },
      intervals: (options) =>
        isOver(trainer) ? none() : trainer.resume(texts.train, { ...options, validation: texts.validation }),
    }
  } catch (error) {
    trainer.dispose()
    throw error
  }
}

export async function trainLanguage({ texts, version }: Call): Promise<void> {
  checkTaken(texts, 'lm')
  const { given } = read('lm', texts)
  if (given.report !== undefined) await expectPlace(given.report, REPORT)
  await expectFree(given)
  using device = deviceOf(withDefaults('lm', given))
  const say = (line: string) => void (given.json || console.log(line))
  const event = (fields: object) => void (given.json && console.log(JSON.stringify(fields)))
  const run = given.resume === undefined ? await begin(given, device, say) : await goOn(given, device)
  const { settings, train, validation, files } = run
  using trainer = run.trainer
  const file = given.checkpoint ?? given.resume
  say(
    `${settings.method} on ${train.name}: ${documents(train)}` +
      `${count(train.tokens)} tokens in ${count(train.samples)} windows; ${count(validation.tokens)} of validation`,
  )
  const parameters = trainer.model.parameters.reduce((sum, parameter) => sum + parameter.capacity, 0)
  say(
    `${settings.width} wide, ${settings.layers} layers, density ${percent(settings.density)} of the projections, ` +
      `${count(parameters)} parameters with embedding and head, seed ${settings.seed}`,
  )
  say(deviceLine(device))

  using stop = stopping()
  const began = performance.now()
  const trained = await trainText(run, {
    ...{ task: 'lm', given, stop, paths: pathsOf(files), say, event },
    tell({ validation: { loss } = { loss: Number.NaN }, learningRate }) {
      const perplexity = Math.exp(loss)
      const quality = `validation loss ${loss.toFixed(4)}  perplexity ${perplexity.toFixed(2)}`
      return { learningRate, fields: { perplexity }, quality, tokens: 'tokens' }
    },
  })
  if (!trained) return
  const { intervals, last } = trained
  const memory = trainer.memory()
  const { best } = trainer.run ?? {}
  const bestLoss = best && -best.figure
  event({
    ...{ event: 'done', steps: trainer.step, validationLoss: last?.validation?.loss, bestValidationLoss: bestLoss },
    ...{ bestPerplexity: bestLoss && Math.exp(bestLoss), bestStep: best?.step },
    ...{ density: last?.density, links: last?.links, tokens: train.tokens, batchTokens: settings.batchTokens },
    ...{ wallSeconds: (performance.now() - began) / 1000, memory, settings },
    ...{ device: device.info, version, node: process.version },
  })
  if (given.report !== undefined && intervals.length > 0) {
    const title = `${settings.method} on ${train.name}`
    const layers = await layersOf(trainer, settings.heads)
    const asked = { ...settings, ...files }
    await writeWhole(given.report, REPORT, languageReport({ title, intervals, layers, memory, settings: asked }))
  }
  say('')
  if (bestLoss !== undefined)
    say(`perplexity      ${Math.exp(bestLoss).toFixed(2)} a token of ${validation.name}, best after step ${best?.step}`)
  say(memoryLine(memory))
  if (file !== undefined) say(`measure it with: hebb evaluate ${best ? bestOf(file) : file} --data FILE`)
}
