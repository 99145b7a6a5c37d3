/**
 * hebb evaluate: a checkpoint on a test part. The data set, its folder and how it was normalised are those noted with
 * the run, where flags do not say otherwise. A translator is evaluated on two files of sentences, a language model on
 * text files.
 */
import type { Command } from 'commander'
import { expect, HebbError } from '../error.js'
import { pick } from '../settings/choices.js'
import { datasets } from '../settings/datasets.js'
import { type FlagName, type Given, read, takenBy, typed, valuesOf, withDefaults } from '../settings/flags.js'
import { count, percent } from '../settings/format.js'
import { corpusBleu } from '../text/bleu.js'
import { readQuestions } from '../text/choices.js'
import { corpusChrf } from '../text/chrf.js'
import { languageText } from '../text/language.js'
import { parallelLines } from '../text/parallel.js'
import { placesOf, tellsNext } from '../train/check_data.js'
import type { ClassificationMetrics } from '../train/metrics.js'
import type { Estimate } from '../train/perplexity.js'
import { load, type Predictor } from '../train/predictor.js'
import { tasks, told } from '../train/task.js'
import { type Call, define } from './command.js'
import { filesIn, locatedTexts } from './language.js'
import { deviceOf, notedPlace, notedSettings, readData } from './run.js'
import { linesOf, locatedFiles, translationsOf } from './translation.js'

/** What a saved network does on a data set's test part. */
export function defineEvaluate(program: Command): void {
  define(program, 'evaluate', {
    does: 'tells how good a saved network is on a test set, on sentences and their translations, or on text',
    argument: ['<file>', 'a checkpoint'],
    examples: [
      'hebb evaluate run.safetensors --metrics',
      'hebb evaluate en-de.best.safetensors --source F --target F --beam 4',
      'hebb evaluate lm.best.safetensors --data FILE --stride 64',
    ],
    also: ['evaluateTranslation', 'evaluateLm'],
    run: evaluate,
  })
}

type Kind = 'evaluate' | 'evaluateTranslation' | 'evaluateLm'
const KINDS: Readonly<Record<Kind, string>> = {
  evaluate: 'no model of text',
  evaluateTranslation: 'a translator',
  evaluateLm: 'a language model',
}

/** Refuses what only the other kinds of checkpoints have a use for. */
function expectTaken(texts: Call['texts'], file: string, kind: Kind): void {
  const taken: FlagName[] = takenBy(kind)
  for (const name of (Object.keys(KINDS) as Kind[]).flatMap(takenBy))
    expect(
      texts[name] === undefined || taken.includes(name),
      () => `Expected no --${typed(name)} for ${file}, which is ${KINDS[kind]}, got ${texts[name]}`,
    )
}

async function evaluate({ argument, texts }: Call): Promise<void> {
  const file = argument as string
  const { given } = read('evaluate', texts)
  using device = deviceOf(withDefaults('evaluate', given))
  using predictor = await load(file, { device })
  const { notes } = predictor
  const isLanguage = predictor.separator !== undefined || tellsNext(predictor.model)
  const ofText = isLanguage ? 'evaluateLm' : 'evaluateTranslation'
  const kind = predictor.tokenizers ? ofText : 'evaluate'
  expectTaken(texts, file, kind)
  if (kind === 'evaluateTranslation') return await evaluateTranslator(file, predictor, texts)
  if (kind === 'evaluateLm') return await evaluateLanguage(file, predictor, texts)
  const dataset = given.dataset ?? notes.dataset
  if (dataset === undefined) throw new HebbError('INVALID_ARGUMENT', `Expected --dataset, as ${file} does not tell it`)
  const task = tasks[pick(datasets, dataset, 'dataset').task]
  valuesOf('evaluate', { ...given, dataset, task: task.name })
  // What was noted is of that data set.
  const isNoted = dataset === notes.dataset
  const settings = isNoted && notes.settings !== undefined ? notedSettings(notes, file) : undefined
  const { test } = await readData(
    { ...settings, ...given, dataset },
    given.data ?? (isNoted ? notedPlace(notes) : undefined),
    isNoted ? notes : undefined,
  )
  const start = performance.now()
  expect(
    !given.metrics || test.labels !== undefined,
    () => `Expected no --metrics for ${dataset}, which is a regression, got it`,
  )
  const evaluation = await predictor.evaluate(test, { metrics: given.metrics ?? false })
  const seconds = (performance.now() - start) / 1000
  const { samples, metrics } = evaluation
  const measured = task.measured(evaluation)
  if (given.json) {
    console.log(JSON.stringify({ file, dataset, ...measured, ...(metrics && { metrics }), samples, seconds }))
    return
  }
  const { figure } = task
  const parts = [
    `${figure.title} ${told(figure, measured[figure.name] as number)}`,
    ...(measured.loss === undefined ? [] : [`loss ${measured.loss.toFixed(4)}`]),
  ]
  console.log(`${dataset} test: ${parts.join(', ')}, ${count(samples)} samples in ${seconds.toFixed(2)} s`)
  if (metrics) tellMetrics(metrics)
}

/** A line of all classes together, and one of each. */
function tellMetrics({ top5, macro, classes }: ClassificationMetrics): void {
  const shares = ({ precision, recall, f1 }: typeof macro) =>
    [precision, recall, f1].map((share) => (Number.isNaN(share) ? '-' : percent(share)).padStart(9)).join('')
  console.log(`top-5 accuracy ${percent(top5)}`)
  console.log(`${'class'.padEnd(9)}${['precision', 'recall', 'F1'].map((name) => name.padStart(9)).join('')}  samples`)
  for (const [i, scores] of classes.entries())
    console.log(`${String(i).padEnd(9)}${shares(scores)}  ${count(scores.samples).padStart(7)}`)
  console.log(`${'mean'.padEnd(9)}${shares(macro)}`)
}

/** Token accuracy and loss of the translations that are there, BLEU and chrF of those that the model finds. */
async function evaluateTranslator(file: string, predictor: Predictor, texts: Call['texts']): Promise<void> {
  const { given } = read('evaluateTranslation', texts)
  const { beam, lengthPenalty, maxLength, replaceUnk = false } = valuesOf('evaluateTranslation', given)
  const { files = '{}', paths = '{}' } = predictor.notes
  const noted = locatedFiles(JSON.parse(files), JSON.parse(paths))
  const { source = noted.validationSource, target = noted.validationTarget } = given
  for (const [name, one] of Object.entries({ source, target }))
    expect(one !== undefined, () => `Expected --${name} with a file of sentences for ${file}, got none`)
  const { sources, references } = await linesOf(source, target)
  const tokenizer = predictor.tokenizers as NonNullable<Predictor['tokenizers']>
  const text = await parallelLines(sources, references, { tokenizer, name: `${source} and ${target}` })
  const start = performance.now()
  const { accuracy, loss, samples: pairs, dropped } = await predictor.evaluate(text)
  const searching = { beam, lengthPenalty, replaceUnk, ...(maxLength !== undefined && { maxLength }) }
  const { translations, tooLong } = await translationsOf(predictor, sources, searching)
  const seconds = (performance.now() - start) / 1000
  const bleu = corpusBleu(translations, references)
  const chrf = corpusChrf(translations, references)
  if (given.json) {
    const scores = { bleu: bleu.score, bleuSignature: bleu.signature, chrf: chrf.score, chrfSignature: chrf.signature }
    console.log(JSON.stringify({ file, source, target, accuracy, loss, ...scores, pairs, dropped, tooLong, seconds }))
    return
  }
  console.log(`${text.name}: ${count(pairs)} pairs in ${seconds.toFixed(2)} s`)
  console.log(`token accuracy  ${percent(accuracy)}, loss ${loss.toFixed(4)} a token, as it was trained on`)
  console.log(`BLEU            ${bleu.score.toFixed(2)} (${bleu.signature})`)
  console.log(`${chrf.name.padEnd(16)}${chrf.score.toFixed(2)} (${chrf.signature})`)
  if (dropped) console.log(`                ${count(dropped)} pairs are too long for accuracy and loss, and left out`)
  if (tooLong > 0)
    console.log(`                ${count(tooLong)} sentences are longer than the model takes, and count as ''`)
}

/** Perplexity of text files, a token and a word, and bits per byte, with standard errors. */
async function evaluateLanguage(file: string, predictor: Predictor, texts: Call['texts']): Promise<void> {
  const { given } = read('evaluateLm', texts)
  if (given.choices !== undefined) return await evaluateQuestions(file, predictor, given)
  const { notes, tokenizers, separator } = predictor
  const noted = notes.task === 'lm' ? JSON.parse(notes.settings ?? '{}') : {}
  const { stride, documents = noted.documents } = given
  const [named, paths] = [notes.files, notes.paths].map((text) => JSON.parse(text ?? '{}'))
  const files =
    given.data === undefined ? named.validation && [locatedTexts(named, paths).validation] : filesIn(given.data)
  expect(files !== undefined, () => `Expected --data with a text file for ${file}, got none`)
  const window = given.window ?? noted.window ?? placesOf(predictor.model)
  const text = await languageText(files, {
    ...{ tokenizer: (tokenizers as NonNullable<typeof tokenizers>).source, separator, documents, window },
    masked: noted.joined !== true,
  })
  const start = performance.now()
  const found = await predictor.perplexity(text, { ...(stride !== undefined && { stride }) })
  const seconds = (performance.now() - start) / 1000
  const { loss, perplexity, wordPerplexity, bitsPerByte, ...counts } = found
  if (given.json) {
    const all = { loss, perplexity, wordPerplexity, bitsPerByte }
    const flat = Object.entries(all).flatMap(([name, { value, error }]) => [
      [name, value],
      [`${name}Error`, error],
    ])
    const { masked, count } = text
    console.log(
      JSON.stringify({ file, data: files, ...Object.fromEntries(flat), ...counts, masked, documents: count, seconds }),
    )
    return
  }
  const line = (title: string, { value, error }: Estimate, digits: number, rest: string) =>
    console.log(`${title.padEnd(16)}${value.toFixed(digits)} ± ${error.toFixed(digits)} ${rest}`)
  const { tokens, words, bytes, by, units, stride: step } = counts
  console.log(
    `${text.name}: ${count(tokens)} tokens in windows of ${count(counts.window)}, ${count(step)} apart, in ` +
      `${seconds.toFixed(2)} s`,
  )
  line('loss', loss, 4, 'a token')
  line('perplexity', perplexity, 2, 'a token')
  line('', wordPerplexity, 2, `a word, of ${count(words)}`)
  line('bits per byte', bitsPerByte, 4, `of ${count(bytes)} bytes`)
  if (counts.unknown > 0)
    console.log(`${''.padEnd(16)}${count(counts.unknown)} tokens are unknown ones: what they stand for is not told`)
  console.log(`${''.padEnd(16)}standard errors over ${count(units)} ${by}; the ends of documents are tokens, too`)
}

/** Zero-shot: the shares of questions of which the right choice is the most probable one. */
async function evaluateQuestions(file: string, predictor: Predictor, given: Given): Promise<void> {
  const other = (['data', 'documents', 'stride', 'window'] as const).find((name) => given[name] !== undefined)
  expect(other === undefined, () => `Expected no --${typed(other as FlagName)} beside --choices, got both`)
  const name = given.choices as string
  const questions = await readQuestions(name)
  const start = performance.now()
  const found = await predictor.evaluateChoices(questions)
  const seconds = (performance.now() - start) / 1000
  if (given.json) {
    console.log(JSON.stringify({ file, choices: name, ...found, seconds }))
    return
  }
  const { accuracy, normalised, matthews, groups, groupMean, cut } = found
  const line = (title: string, { value, error }: Estimate, rest: string) =>
    console.log(`${title.padEnd(16)}${(100 * value).toFixed(2)} ± ${(100 * error).toFixed(2)}% ${rest}`)
  console.log(`${name}: ${count(questions.length)} questions in ${seconds.toFixed(2)} s`)
  line('accuracy', accuracy, 'by log-likelihood')
  line('', normalised, 'by log-likelihood a character')
  console.log(`${'Matthews'.padEnd(16)}${matthews.value.toFixed(3)} ± ${matthews.error.toFixed(3)}`)
  if (groupMean) line('mean of groups', groupMean, `of ${Object.keys(groups).length}`)
  if (cut > 0) console.log(`${''.padEnd(16)}${count(cut)} contexts were cut at their begin, to the places of the model`)
}
