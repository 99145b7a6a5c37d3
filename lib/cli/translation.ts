/**
 * hebb train --task translation: a Transformer on two files whose lines are each other's translations, reported every
 * interval of steps. The tokenizer is trained on both files where none is given, and kept in the checkpoint.
 */
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Device } from '../device.js'
import { expect, HebbError } from '../error.js'
import { expectPlace } from '../files.js'
import { transformer } from '../nn/transformer.js'
import { adam } from '../optim/adam.js'
import { inoam, noam, type Rate } from '../optim/rates.js'
import { type TranslationReport, translationReport } from '../report/translation.js'
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
import { corpusBleu } from '../text/bleu.js'
import { lengthsOf } from '../text/dataset.js'
import { readLines, readParallel } from '../text/lines.js'
import { type ParallelText, parallelLines, parallelText, type Tokenizers, tokenizersOf } from '../text/parallel.js'
import { placesOf } from '../train/check_data.js'
import { notesIn } from '../train/checkpoint.js'
import { crossEntropy } from '../train/loss.js'
import { load, type Predictor } from '../train/predictor.js'
import { Trainer } from '../train/trainer.js'
import type { TranslationOptions } from '../train/translator.js'
import type { Call } from './command.js'
import { stopping } from './ending.js'
import { expectFree, REPORT, writeWhole } from './files.js'
import { pretrained } from './pretrained.js'
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
  readonly [name in
    | 'method'
    | 'density'
    | 'seed'
    | 'width'
    | 'feedForward'
    | 'layers'
    | 'heads'
    | 'dropout']-?: Exclude<Values[name], undefined>
} & {
  readonly [name in 'steps' | 'interval' | 'batchTokens' | 'rateFactor' | 'warmup' | 'vocabulary']-?: number
}

/** Steps between topology updates (paper, section 4.2), or of a run that is short for them, a fiftieth of it. */
const UPDATES = 100
/** Steps between updates from which on the rate falls after them. */
const LEAST_PERIOD = 5
const updatesEvery = (steps: number) => Math.min(UPDATES, Math.max(1, Math.floor(steps / 50)))

/** Labels are not smoothed over the word that others fill sentences up with; we have it and never do. */
const PADDING = '<pad>'

interface Files {
  readonly source: string
  readonly target: string
  readonly validationSource: string
  readonly validationTarget: string
}
const FILES = ['source', 'target', 'validationSource', 'validationTarget'] as const

/** The files as a checkpoint notes them, or where they were, for whoever goes on in another folder. */
export function locatedFiles<Some extends Partial<Files>>(files: Some, paths: Partial<Files>): Some {
  const located = FILES.map((name) => [
    name,
    existsSync(files[name] ?? '') ? files[name] : (paths[name] ?? files[name]),
  ])
  return Object.fromEntries(located) as Some
}

const pathsOf = (files: Files) => Object.fromEntries(FILES.map((name) => [name, resolve(files[name])]))

function filesOf(given: Given, noted: Partial<Files> = {}): Files {
  const files = Object.fromEntries(FILES.map((name) => [name, given[name] ?? noted[name]]))
  for (const name of FILES)
    expect(
      files[name] !== undefined,
      () => `Expected --${typed(name)} with a file of sentences for the task 'translation', got none`,
    )
  return files as unknown as Files
}

function rateOf({ schedule, rateFactor: factor, warmup, width, steps }: Settings): Rate {
  const period = updatesEvery(steps)
  // The paper's rise is a fifth of its period. A fall takes a step, of which a shorter period has none to spare.
  const dips = { period, rise: Math.round(period / 5) }
  const isPlain = schedule === 'noam' || period < LEAST_PERIOD
  return isPlain ? noam({ width, warmup, factor }) : inoam({ width, warmup, factor, ...dips })
}

interface TranslationRun extends TextRun<Settings, Files, ParallelText> {
  /** The validation set as it was read. */
  readonly sources: readonly string[]
  readonly references: readonly string[]
}

type Texts = Pick<TranslationRun, 'train' | 'validation' | 'sources' | 'references'>

/** The lines of two files, which belong together. */
export async function linesOf(sourceFile: string, targetFile: string) {
  const [sources, references]: [string[], string[]] = [[], []]
  for await (const { source, target } of readParallel(sourceFile, targetFile)) {
    sources.push(source)
    references.push(target)
  }
  return { sources, references }
}

/** Lines in translation, '' for those that are longer than the model takes; and how many these are. */
export async function translationsOf(
  translator: Pick<Predictor, 'tooLong' | 'translate'>,
  lines: readonly string[],
  options: Omit<TranslationOptions, 'nBest'>,
): Promise<{ translations: string[]; tooLong: number }> {
  const long = new Set(translator.tooLong(lines).map(({ line }) => line))
  const fitting = lines.map((line, i) => (long.has(i) ? '' : line))
  return { translations: await translator.translate(fitting, options), tooLong: long.size }
}

async function textsOf(files: Files, tokenizer: Tokenizers, { store }: Settings): Promise<Texts> {
  const { validationSource, validationTarget } = files
  const { sources, references } = await linesOf(validationSource, validationTarget)
  const name = `${validationSource} and ${validationTarget}`
  const validation = await parallelLines(sources, references, { tokenizer, name })
  const train = await parallelText(files.source, files.target, { tokenizer, ...(store !== undefined && { store }) })
  return { train, validation, sources, references }
}

async function begin(asked: Given, device: Device, say: (line: string) => void): Promise<TranslationRun> {
  const files = filesOf(asked)
  const before = asked.from === undefined ? undefined : await pretrained(asked.from, asked)
  const given = before?.given ?? asked
  const settings = settingsOf(valuesOf('translation', given)) as unknown as Settings
  const lines = () => readLines(files.source, files.target)
  const tokenizers = before?.tokenizers ?? tokenizersOf(await tokenizerOf(given, lines, settings.vocabulary, say))
  const texts = await textsOf(files, tokenizers, settings)
  const { width, feedForward, layers, heads, perHead, dropout, density, seed, labelSmoothing, linkWarmup } = settings
  const { source, target } = tokenizers
  const model =
    before?.model({ dropout, seed }) ??
    transformer({
      ...{ sourceWords: source.size, targetWords: target.size, features: width, hidden: feedForward, heads },
      ...{ encoderLayers: layers, decoderLayers: layers, dropout, density, seed, ...(perHead && { perHead }) },
    })
  const parts = {
    optimizer: adam({
      ...{ learningRate: rateOf(settings), beta1: 0.9, beta2: 0.998, epsilon: 1e-9 },
      ...(linkWarmup !== undefined && { warmup: linkWarmup }),
    }),
    dst: methodBySteps(settings, updatesEvery(settings.steps)),
    loss: crossEntropy({ labelSmoothing: labelSmoothing ?? 0, paddingClass: target.idOf(PADDING) }),
    device,
  }
  const trainer =
    asked.from === undefined ? new Trainer(model, parts) : await Trainer.from(asked.from, { ...parts, model })
  const { steps, interval, batchTokens, packed } = settings
  return {
    ...{ settings, files, trainer, ...texts },
    intervals: (options) =>
      trainer.fit(texts.train, {
        ...options,
        ...{ validation: texts.validation, steps, interval: Math.min(interval, steps) },
        ...{ batchSize: batchTokens, ...(packed && { packed }) },
      }),
  }
}

async function goOn(given: Given, device: Device): Promise<TranslationRun> {
  const file = given.resume as string
  const changed = (Object.keys(given) as FlagName[]).find((name) => isSetting(name) || name === 'tokenizer')
  expect(
    changed === undefined,
    () => `Expected no --${typed(changed as FlagName)} beside --resume: the run goes on as it began`,
  )
  const trainer = await Trainer.load(file, { device })
  try {
    const { notes, tokenizers } = trainer
    if (notes.settings === undefined || notes.files === undefined || !tokenizers)
      throw new HebbError('INVALID_ARGUMENT', `Expected ${file} to be a checkpoint of hebb train, got one of a program`)
    const files = filesOf(given, JSON.parse(notes.files))
    const settings: Settings = JSON.parse(notes.settings)
    const texts = await textsOf(locatedFiles(files, JSON.parse(notes.paths ?? '{}')), tokenizers, settings)
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

export async function trainTranslation({ texts, version }: Call): Promise<void> {
  checkTaken(texts, 'translation')
  const { given } = read('translation', texts)
  expect(
    given.from === undefined || given.resume === undefined,
    () => 'Expected --from for a new run or --resume to go on with one, got both',
  )
  if (given.report !== undefined) await expectPlace(given.report, REPORT)
  await expectFree(given)
  using device = deviceOf(withDefaults('translation', given))
  const say = (line: string) => void (given.json || console.log(line))
  const event = (fields: object) => void (given.json && console.log(JSON.stringify(fields)))
  const run = given.resume === undefined ? await begin(given, device, say) : await goOn(given, device)
  const { settings, train, validation, files } = run
  using trainer = run.trainer
  const { steps } = settings
  const file = given.checkpoint ?? given.resume
  const tokens = (text: ParallelText) => count(lengthsOf(text.target, 1).reduce((sum, length) => sum + length, 0))
  say(`${settings.method} on ${train.name}: ${count(train.pairs)} pairs, ${tokens(train)} target tokens`)
  const parameters = trainer.model.parameters.reduce((sum, parameter) => sum + parameter.capacity, 0)
  if (settings.from !== undefined) say(`from ${settings.from}, whose weights, links and tokenizer it begins with`)
  say(
    `${settings.width} wide, ${settings.layers} + ${settings.layers} layers, density ${percent(settings.density)} of ` +
      `the projections, ${count(parameters)} parameters with the embeddings, seed ${settings.seed}`,
  )
  say(deviceLine(device))
  if (updatesEvery(steps) < UPDATES && trainer.method.updates)
    say(
      `topology updates every ${updatesEvery(steps)} steps: the run is short for ${UPDATES}` +
        (updatesEvery(steps) < LEAST_PERIOD ? ', and the rate does not fall after them' : ''),
    )

  using stop = stopping()
  const began = performance.now()
  // The rate without the falls that follow updates.
  const rate = noam({ width: settings.width, warmup: settings.warmup, factor: settings.rateFactor })
  const trained = await trainText(run, {
    ...{ task: 'translation', given, stop, paths: pathsOf(files), say, event },
    tell({ trainAccuracy, validation: { loss, accuracy } = { loss: Number.NaN, accuracy: Number.NaN } }, step) {
      const quality = `token accuracy ${percent(accuracy, 2)}  validation loss ${loss.toFixed(4)}`
      const learningRate = rate({ step: step - 1 } as Parameters<Rate>[0])
      return { learningRate, fields: { trainAccuracy }, quality, tokens: 'target tokens' }
    },
  })
  if (!trained) return
  const { intervals, last, notes } = trained
  // Before the best state is loaded beside it.
  const memory = trainer.memory()
  const { best } = trainer.run ?? {}
  // What lies there may be of another run: where it could not be written, or was not yet.
  const kept = best && file !== undefined && existsSync(bestOf(file)) ? await notesIn(bestOf(file)) : undefined
  const isKept = kept !== undefined && kept.settings === notes.settings && kept.files === notes.files
  let measured: Awaited<ReturnType<typeof translated>>
  try {
    measured = await translated(run, isKept ? bestOf(file as string) : undefined, device, stop.signal)
  } catch (error) {
    if (!(error instanceof HebbError) || error.code !== 'ABORTED') throw error
    say(`stopped before the validation set was translated${file === undefined ? '' : `: hebb train --resume ${file}`}`)
    event({ event: 'aborted', step: trainer.step })
    process.exitCode = stop.code
    return
  }
  event({
    ...{ event: 'done', steps: trainer.step, validationAccuracy: last?.validation?.accuracy },
    ...{ bestValidationAccuracy: best?.figure, bestStep: best?.step, density: last?.density, links: last?.links },
    ...{ validationBleu: measured.bleu.score, bleu: measured.bleu.signature, tooLong: measured.tooLong },
    ...{ pairs: train.pairs, dropped: last?.dropped, batchTokens: settings.batchTokens },
    wallSeconds: (performance.now() - began) / 1000,
    memory,
    ...{ settings, device: device.info, version, node: process.version },
  })
  if (given.report !== undefined) {
    const title = `${settings.method} on ${train.name}`
    const layers = await layersOf(trainer, settings.heads)
    await writeWhole(
      given.report,
      REPORT,
      translationReport({ title, intervals, layers, ...measured, memory, settings: { ...settings, ...files } }),
    )
  }
  say('')
  if (best) say(`token accuracy  ${percent(best.figure, 2)} on ${validation.name}, best after step ${best.step}`)
  say(`BLEU            ${measured.bleu.score.toFixed(2)} there (${measured.bleu.signature})`)
  if (measured.tooLong > 0)
    say(`                ${count(measured.tooLong)} sentences are longer than the model takes, and count as ''`)
  say(memoryLine(memory))
  const [sample] = measured.samples
  if (sample) say(`for example     ${sample.source}\n             -> ${sample.translation}`)
  if (file !== undefined) say(`translate with: hebb translate ${isKept ? bestOf(file) : file} < FILE`)
}

/** Validation sentences that are shown, and of how many with so many words at most, what is attended to. */
const SAMPLES = 10
const [MAPS, LONGEST] = [3, 30]

/** How the state in a file, or without one the last, translates the validation set. */
async function translated(
  { sources, references, trainer, validation }: TranslationRun,
  file: string | undefined,
  device: Device,
  signal: AbortSignal,
): Promise<
  Pick<TranslationReport, 'samples' | 'attention'> & { bleu: { score: number; signature: string }; tooLong: number }
> {
  const by = async (translator: Pick<Predictor, 'tooLong' | 'translate' | 'crossAttention'>) => {
    const { translations, tooLong } = await translationsOf(translator, sources, { signal })
    const places = placesOf(trainer.model) ?? Number.POSITIVE_INFINITY
    const isShort = (line: string) => line.trim() !== '' && line.split(' ').length <= LONGEST
    // A translation may take more tokens when it is read again.
    const fits = (line: string) => validation.tokenizers.target.encode(line, { special: false }).length < places
    const pairs = sources
      .map((line, i) => [line, translations[i] as string] as const)
      .filter(([line, translation]) => isShort(line) && fits(translation))
      .slice(0, MAPS)
    const attention = await translator.crossAttention(
      pairs.map(([line]) => line),
      pairs.map(([, translation]) => translation),
      { signal },
    )
    return { translations, attention, tooLong }
  }
  let found: Awaited<ReturnType<typeof by>>
  if (file !== undefined) {
    using best = await load(file, { device })
    found = await by(best)
  } else found = await by(trainer)
  const { score, signature } = corpusBleu(found.translations, references)
  const samples = sources.slice(0, SAMPLES).map((source, i) => ({
    ...{ source, reference: references[i] as string, translation: found.translations[i] as string },
  }))
  return { bleu: { score, signature }, samples, attention: found.attention, tooLong: found.tooLong }
}
