/**
 * hebb evaluate: a checkpoint on a test part. The data set, its folder and how it was normalised are those noted with
 * the run, where flags do not say otherwise. A translator is evaluated on two files of sentences.
 */
import type { Command } from 'commander'
import { expect, HebbError } from '../error.js'
import { pick } from '../settings/choices.js'
import { datasets } from '../settings/datasets.js'
import { type FlagName, read, takenBy, typed, valuesOf, withDefaults } from '../settings/flags.js'
import { count, percent } from '../settings/format.js'
import { corpusBleu } from '../text/bleu.js'
import { corpusChrf } from '../text/chrf.js'
import { parallelLines } from '../text/parallel.js'
import { load, type Predictor } from '../train/predictor.js'
import { tasks, told } from '../train/task.js'
import { type Call, define } from './command.js'
import { deviceOf, notedPlace, notedSettings, readData } from './run.js'
import { linesOf, locatedFiles, translationsOf } from './translation.js'

/** What a saved network does on a data set's test part. */
export function defineEvaluate(program: Command): void {
  define(program, 'evaluate', {
    does: 'tells how good a saved network is on the test part of a data set, or on sentences and their translations',
    argument: ['<file>', 'a checkpoint'],
    examples: [
      'hebb evaluate run.safetensors',
      'hebb evaluate run.safetensors --data DIR --json',
      'hebb evaluate en-de.best.safetensors --source F --target F --beam 4',
    ],
    also: ['evaluateTranslation'],
    run: evaluate,
  })
}

/** Refuses what only the other kind of checkpoints has a use for. */
function expectTaken(texts: Call['texts'], file: string, isTranslator: boolean): void {
  const [own, others]: FlagName[][] = [takenBy('evaluate'), takenBy('evaluateTranslation')]
  const [taken, refused] = isTranslator ? [others, own] : [own, others]
  for (const name of refused as FlagName[])
    expect(
      texts[name] === undefined || (taken as FlagName[]).includes(name),
      () =>
        `Expected no --${typed(name)} for ${file}, which is ${isTranslator ? 'a translator' : 'no translator'}, got ` +
        `${texts[name]}`,
    )
}

async function evaluate({ argument, texts }: Call): Promise<void> {
  const file = argument as string
  const { given } = read('evaluate', texts)
  using device = deviceOf(withDefaults('evaluate', given))
  using predictor = await load(file, { device })
  const { notes } = predictor
  const isTranslator = predictor.tokenizers !== undefined
  expectTaken(texts, file, isTranslator)
  if (isTranslator) {
    await evaluateTranslator(file, predictor, texts)
    return
  }
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
  const evaluation = await predictor.evaluate(test)
  const seconds = (performance.now() - start) / 1000
  const { samples } = evaluation
  const measured = task.measured(evaluation)
  if (given.json) {
    console.log(JSON.stringify({ file, dataset, ...measured, samples, seconds }))
    return
  }
  const { figure } = task
  const parts = [
    `${figure.title} ${told(figure, measured[figure.name] as number)}`,
    ...(measured.loss === undefined ? [] : [`loss ${measured.loss.toFixed(4)}`]),
  ]
  console.log(`${dataset} test: ${parts.join(', ')}, ${count(samples)} samples in ${seconds.toFixed(2)} s`)
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
