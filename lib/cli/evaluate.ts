/**
 * hebb evaluate: a checkpoint on a test part. The data set, its folder and how it was normalised are those noted with
 * the run, where flags do not say otherwise.
 */
import type { Command } from 'commander'
import { expect, HebbError } from '../error.js'
import { pick } from '../settings/choices.js'
import { datasets } from '../settings/datasets.js'
import { read, valuesOf, withDefaults } from '../settings/flags.js'
import { count } from '../settings/format.js'
import { load } from '../train/predictor.js'
import { tasks, told } from '../train/task.js'
import { type Call, define } from './command.js'
import { deviceOf, notedSettings, readData } from './run.js'

/** What a saved network does on a data set's test part. */
export function defineEvaluate(program: Command): void {
  define(program, 'evaluate', {
    does: 'tells how good a saved network is on the test part of a data set',
    argument: ['<file>', 'a checkpoint'],
    examples: ['hebb evaluate run.safetensors', 'hebb evaluate run.safetensors --data DIR --json'],
    run: evaluate,
  })
}

async function evaluate({ argument, texts }: Call): Promise<void> {
  const file = argument as string
  const { given } = read('evaluate', texts)
  using device = deviceOf(withDefaults('evaluate', given))
  using predictor = await load(file, { device })
  const { notes } = predictor
  expect(
    notes.task !== 'translation',
    () => `Expected a checkpoint of samples, got a translator in ${file}. hebb translate runs it.`,
  )
  const dataset = given.dataset ?? notes.dataset
  if (dataset === undefined) throw new HebbError('INVALID_ARGUMENT', `Expected --dataset, as ${file} does not tell it`)
  const task = tasks[pick(datasets, dataset, 'dataset').task]
  valuesOf('evaluate', { ...given, dataset, task: task.name })
  // What was noted is of that data set.
  const isNoted = dataset === notes.dataset
  const settings = isNoted && notes.settings !== undefined ? notedSettings(notes, file) : undefined
  const { test } = await readData(
    { ...settings, ...given, dataset },
    given.data ?? (isNoted ? notes.data : undefined),
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
