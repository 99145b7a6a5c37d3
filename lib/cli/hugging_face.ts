/** hebb import and hebb export: language models in the files of Hugging Face. */
import type { Command } from 'commander'
import { read, valuesOf } from '../settings/flags.js'
import { count, percent } from '../settings/format.js'
import { exportLlama, importLlama } from '../train/llama_files.js'
import { type Call, define } from './command.js'

export function defineImport(program: Command): void {
  define(program, 'import', {
    does: "makes a checkpoint of a Llama in Hugging Face's files: config.json, model.safetensors or its shards",
    argument: ['<folder>', 'of the files'],
    examples: [
      'hebb import my-llama --out llama.safetensors',
      'hebb import my-llama --links 30% --out sparse.safetensors',
      'hebb import my-masked-llama --links nonzero --out sparse.safetensors',
    ],
    run: bring,
  })
}

async function bring({ argument, texts }: Call): Promise<void> {
  const { given } = read('import', texts)
  const { out, links: density } = valuesOf('import', given)
  const made = await importLlama(argument as string, out as string, { density })
  if (given.json) {
    console.log(JSON.stringify({ out, ...made }))
    return
  }
  const { links, possible } = made
  const form =
    possible > 0 ? `${count(links)} links, ${percent(links / possible)} of those possible` : 'fully connected'
  console.log(`${out}: ${form}`)
}

export function defineExport(program: Command): void {
  define(program, 'export', {
    does: "writes a Llama in a checkpoint as Hugging Face's files, zeros where it has no links",
    argument: ['<file>', 'a checkpoint'],
    examples: ['hebb export llama.safetensors --out my-llama', 'hebb export llama.safetensors --out my-llama --json'],
    run: take,
  })
}

async function take({ argument, texts }: Call): Promise<void> {
  const { given } = read('export', texts)
  const { out } = valuesOf('export', given)
  await exportLlama(argument as string, out as string)
  if (given.json) console.log(JSON.stringify({ out }))
  else console.log(`${out}: config.json, model.safetensors and, where it has one, tokenizer.json`)
}
