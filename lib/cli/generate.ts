/** hebb generate: text by a language model, to stdout as it is written. */
import type { Command } from 'commander'
import { HebbError } from '../error.js'
import { read, withDefaults } from '../settings/flags.js'
import { load } from '../train/predictor.js'
import { type Call, define } from './command.js'
import { stopping } from './ending.js'
import { deviceOf } from './run.js'

export function defineGenerate(program: Command): void {
  define(program, 'generate', {
    does: 'goes on from a prompt by a saved language model, to stdout',
    argument: ['<file>', 'a checkpoint of hebb train --task lm'],
    examples: [
      'hebb generate m.best.safetensors --prompt Once',
      'hebb generate m.best.safetensors --tokens 500 --temperature 0.8 --top-k 50 --top-p 0.95 --seed 1',
    ],
    run: generate,
  })
}

async function generate({ argument, texts }: Call): Promise<void> {
  const { given } = read('generate', texts)
  const values = withDefaults('generate', given)
  const { prompt, tokens, temperature, topK, topP, repetitionPenalty, stop, seed } = values
  using device = deviceOf(values)
  using model = await load(argument as string, { device })
  using told = stopping()
  const options = { tokens, temperature, topK, topP, repetitionPenalty, stop, seed, signal: told.signal }
  try {
    for await (const token of model.generate(prompt, options)) {
      if (given.json) console.log(JSON.stringify(token))
      else process.stdout.write(token.text)
    }
  } catch (error) {
    if (!(error instanceof HebbError) || error.code !== 'ABORTED') throw error
    process.exitCode = told.code
  }
  if (!given.json) console.log('')
}
