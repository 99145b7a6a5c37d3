/** hebb translate: lines from stdin, their translations to stdout, in their order, some hundred at a time. */
import type { Command } from 'commander'
import { expect } from '../error.js'
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
  const { beam, lengthPenalty, maxLength, nBest, replaceUnk = false, ...values } = withDefaults('translate', given)
  expect(nBest <= beam, () => `Expected --n-best to be at most --beam, ${beam}, got ${nBest}`)
  using device = deviceOf(values)
  using model = await load(argument as string, { device })
  const options = { beam, lengthPenalty, nBest, replaceUnk, ...(maxLength !== undefined && { maxLength }) }
  let done = 0
  const flush = async (lines: string[]) => {
    for (const [i, translations] of (await model.translations(lines, options)).entries()) {
      if (given.json) {
        console.log(JSON.stringify({ source: lines[i], translations }))
        continue
      }
      // As many lines for each, so that they stay in step.
      for (let n = 0; n < nBest; ++n) console.log(translations[n]?.text ?? '')
    }
    done += lines.length
  }
  /** Up to the first line that is too long, which is told by its number. */
  const take = async (lines: string[]) => {
    const [long] = model.tooLong(lines)
    await flush(lines.slice(0, long?.line))
    expect(
      long === undefined,
      () =>
        `Expected lines of at most ${model.places} tokens, as the model takes, got ${long?.tokens} in line ` +
        `${done + 1} of stdin. Nothing is cut: leave it out, or divide it.`,
    )
  }
  let lines: string[] = []
  for await (const line of linesIn(process.stdin, 'stdin')) {
    lines.push(line)
    if (lines.length < LINES) continue
    await take(lines)
    lines = []
  }
  await take(lines)
}
