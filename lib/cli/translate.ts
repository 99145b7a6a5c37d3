/** hebb translate: lines from stdin, their translations to stdout, in their order, some hundred at a time. */
import type { Command } from 'commander'
import { read, withDefaults } from '../settings/flags.js'
import { linesIn } from '../text/lines.js'
import { load } from '../train/predictor.js'
import { type Call, define } from './command.js'
import { deviceOf } from './run.js'

/** Lines that are translated together: they are sorted by length, and wait for each other. */
const LINES = 1024

export function defineTranslate(program: Command): void {
  define(program, 'translate', {
    does: 'translates the lines of stdin by a saved translator, to stdout',
    argument: ['<file>', 'a checkpoint of hebb train --task translation'],
    examples: [
      'hebb translate m.best.safetensors < FILE',
      'hebb translate m.best.safetensors --beam 4 --n-best 4 --json',
    ],
    run: translate,
  })
}

async function translate({ argument, texts }: Call): Promise<void> {
  const { given } = read('translate', texts)
  const { beam, lengthPenalty, maxLength, nBest, ...values } = withDefaults('translate', given)
  using device = deviceOf(values)
  using model = await load(argument as string, { device })
  const options = { beam, lengthPenalty, maxLength, nBest }
  const flush = async (lines: string[]) => {
    for (const [i, translations] of (await model.translations(lines, options)).entries())
      if (given.json) console.log(JSON.stringify({ source: lines[i], translations }))
      else for (const { text } of translations) console.log(text)
  }
  let lines: string[] = []
  for await (const line of linesIn(process.stdin, 'stdin')) {
    lines.push(line)
    if (lines.length < LINES) continue
    await flush(lines)
    lines = []
  }
  if (lines.length > 0) await flush(lines)
}
