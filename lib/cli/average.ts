/** hebb average: the mean of the parameters of several checkpoints, as one more. */
import type { Command } from 'commander'
import { read, valuesOf } from '../settings/flags.js'
import { count } from '../settings/format.js'
import { averageCheckpoints } from '../train/average.js'
import { type Call, define } from './command.js'

export function defineAverage(program: Command): void {
  define(program, 'average', {
    does: 'averages the parameters of several checkpoints, such as the last ones of a run, to one checkpoint',
    argument: ['<files...>', 'checkpoints of one network'],
    examples: [
      'hebb average run.step4000.safetensors run.step4500.safetensors run.step5000.safetensors --out mean.safetensors',
      'hebb average a.safetensors b.safetensors --union --out mean.safetensors --json',
    ],
    run: average,
  })
}

async function average({ args, texts }: Call): Promise<void> {
  const { given } = read('average', texts)
  const { out, union = false } = valuesOf('average', given)
  const averaged = await averageCheckpoints(args, out as string, { union })
  const { files, links, linksBefore } = averaged
  if (given.json) {
    console.log(JSON.stringify({ out, ...averaged }))
    return
  }
  console.log(`${out}: the mean of ${files} checkpoints`)
  if (links !== linksBefore) console.log(`links ${count(links)}, all that any has; ${count(linksBefore)} in ${args[0]}`)
}
