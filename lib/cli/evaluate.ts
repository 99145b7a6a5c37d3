import type { Command } from 'commander'
import { Device } from '../device.js'
import { HebbError } from '../error.js'
import { load } from '../train/predictor.js'
import { count, datasets, numeric, percent, pick } from './flags.js'

interface Flags {
  dataset?: string
  data?: string
  device: string
  threads: string
  json?: boolean
}

/** What a saved network does on a data set's test part. */
export function defineEvaluate(program: Command): void {
  program
    .command('evaluate')
    .description("tells a saved network's loss and accuracy on the test part of a data set")
    .argument('<file>', 'a checkpoint')
    .option('--dataset <name>', `${Object.keys(datasets).join(' | ')} (default: the one it was trained on)`)
    .option('--data <dir>', "folder of the data set's files")
    .option('--device <kind>', 'auto | cpu | cuda', 'auto')
    .option('--threads <n>', 'CPU threads (default: all the process may use)', '0')
    .option('--json', 'one JSON object on stdout')
    .action(evaluate)
}

async function evaluate(file: string, flags: Flags): Promise<void> {
  using device = new Device({ kind: flags.device as 'auto', threads: numeric(flags.threads, 'threads') })
  using predictor = await load(file, { device })
  const dataset = flags.dataset ?? predictor.notes.dataset
  if (dataset === undefined) throw new HebbError('INVALID_ARGUMENT', `Expected --dataset, as ${file} does not tell it`)
  // A folder that was noted is of that data set.
  const folder = flags.data ?? (dataset === predictor.notes.dataset ? predictor.notes.data : undefined)
  const { test } = await pick(datasets, dataset, 'dataset')(folder)
  const start = performance.now()
  const { loss, accuracy, samples } = await predictor.evaluate(test)
  const seconds = (performance.now() - start) / 1000
  if (flags.json) console.log(JSON.stringify({ file, dataset, loss, accuracy, samples, seconds }))
  else
    console.log(
      `${dataset} test: accuracy ${percent(accuracy)}, loss ${loss.toFixed(4)}, ${count(samples)} samples in ` +
        `${seconds.toFixed(2)} s`,
    )
}
