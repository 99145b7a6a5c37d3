/** The shape of a LLaMA as a config.json of Hugging Face's tells it. */
import { readFileSync } from 'node:fs'
import { HebbError, show } from '../error.js'
import type { LlamaOptions } from './llama.js'

type Shape = Pick<LlamaOptions, 'words' | 'features' | 'hidden' | 'layers' | 'heads'> &
  Required<Pick<LlamaOptions, 'keyHeads' | 'epsilon' | 'base' | 'places' | 'tied'>>

/** Reads one; MISSING_FILE and BAD_FILE, and UNSUPPORTED names what llama() has not. */
export function llamaShape(file: string): Shape {
  let config: Record<string, unknown>
  try {
    config = Object(JSON.parse(readFileSync(file, 'utf8')))
  } catch (cause) {
    const isMissing = (cause as NodeJS.ErrnoException).code === 'ENOENT'
    throw isMissing
      ? new HebbError('MISSING_FILE', `Expected a config.json at ${file}, got none`, { cause })
      : new HebbError('BAD_FILE', `Expected ${file} to be JSON: ${(cause as Error).message}`, { cause })
  }
  const only = (name: string, ...values: unknown[]) => {
    if (config[name] !== undefined && !values.includes(config[name]))
      throw new HebbError(
        'UNSUPPORTED',
        `Expected ${name} of ${file} to be ${values.map(show).join(' or ')}, got ${show(config[name])}`,
      )
  }
  const numberOf = (name: string, otherwise?: number): number => {
    const value = config[name] ?? otherwise
    if (typeof value !== 'number' || !(value > 0))
      throw new HebbError('BAD_FILE', `Expected ${file} to tell ${name}, a number above 0, got ${show(value)}`)
    return value
  }
  only('model_type', 'llama')
  only('hidden_act', 'silu')
  only('rope_scaling', null)
  for (const name of ['attention_bias', 'mlp_bias']) only(name, false)
  const [features, heads] = [numberOf('hidden_size'), numberOf('num_attention_heads')]
  only('head_dim', null, features / heads)
  return {
    ...{ words: numberOf('vocab_size'), features, heads },
    ...{ hidden: numberOf('intermediate_size'), layers: numberOf('num_hidden_layers') },
    ...{ keyHeads: numberOf('num_key_value_heads', heads), epsilon: numberOf('rms_norm_eps', 1e-6) },
    ...{ base: numberOf('rope_theta', 10_000), places: numberOf('max_position_embeddings', 2048) },
    tied: config.tie_word_embeddings === true,
  }
}
