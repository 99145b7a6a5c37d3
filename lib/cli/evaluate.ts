import type { Command } from 'commander'
import { HebbError } from '../error.js'
import { load } from '../train/predictor.js'
import { datasets, pick } from './choices.js'
import { type Call, define } from './command.js'
import { read, valuesOf } from './flags.js'
import { count, percent } from './format.js'
import { deviceOf } from './run.js'

/** What a saved network does on a data set's test part. */
export function defineEvaluate(program: Command): void {
  define(program, 'evaluate', {
    does: "tells a saved network's loss and accuracy on the test part of a data set",
    argument: ['<file>', 'a checkpoint'],
    examples: ['hebb evaluate run.safetensors', 'hebb evaluate run.safetensors --data DIR --json'],
    run: evaluate,
  })
}

async function evaluate({ argument, texts }: Call): Promise<void> {
  const file = argument as string
  const { given } = read('evaluate', texts)
  const values = valuesOf('evaluate', given)
  using device = deviceOf(values)
  using predictor = await load(file, { device })
  const dataset = given.dataset ?? predictor.notes.dataset
  if (dataset === undefined) throw new HebbError('INVALID_ARGUMENT', `Expected --dataset, as ${file} does not tell it`)
  // A folder that was noted is of that data set.
  const folder = given.data ?? (dataset === predictor.notes.dataset ? predictor.notes.data : undefined)
  const { test } = await pick(datasets, dataset, 'dataset')(folder)
  const start = performance.now()
  const { loss, accuracy, samples } = await predictor.evaluate(test)
  const seconds = (performance.now() - start) / 1000
  if (values.json) console.log(JSON.stringify({ file, dataset, loss, accuracy, samples, seconds }))
  else
    console.log(
      `${dataset} test: accuracy ${percent(accuracy)}, loss ${loss.toFixed(4)}, ${count(samples)} samples in ` +
        `${seconds.toFixed(2)} s`,
    )
}
