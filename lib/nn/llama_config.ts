/** The shape of a LLaMA as a config.json of Hugging Face's tells it. */
import { readFileSync } from 'node:fs'
import { HebbError, show } from '../error.js'
import type { LlamaOptions } from './llama.js'

type Shape = Pick<LlamaOptions, 'words' | 'features' | 'hidden' | 'layers' | 'heads'> &
  Required<Pick<LlamaOptions, 'keyHeads' | 'epsilon' | 'base' | 'places' | 'tied'>>

/** What a config.json holds. */
export type Config = Readonly<Record<string, unknown>>

/** A JSON object; `what` is its name where there is none. */
export function jsonIn(file: string, what: string): Config {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR')
      throw new HebbError('MISSING_FILE', `Expected ${what} at ${file}, got none`, { cause })
    throw new HebbError('BAD_FILE', `Expected to be able to read ${file}: ${message}`, { cause })
  }
  try {
    const json: unknown = JSON.parse(text)
    if (typeof json === 'object' && json !== null && !Array.isArray(json)) return json as Config
  } catch {}
  throw new HebbError('BAD_FILE', `Expected ${file} to hold a JSON object`)
}

/** What a config.json asks for. UNSUPPORTED names a field that llama() cannot be; BAD_FILE one that is none. */
export function llamaShape(file: string, config: Config = jsonIn(file, 'config.json')): Shape {
  const only = (name: string, ...allowed: unknown[]) => {
    const value = config[name] ?? allowed[0]
    if (!allowed.includes(value))
      throw new HebbError('UNSUPPORTED', `Expected ${name} of ${file} to be ${show(allowed[0])}, got ${show(value)}`)
  }
  const count = (name: string, otherwise?: number) => {
    const value = config[name] ?? otherwise
    if (!Number.isSafeInteger(value) || (value as number) < 1)
      throw new HebbError('BAD_FILE', `Expected ${name} of ${file} to be a positive whole number, got ${show(value)}`)
    return value as number
  }
  const positive = (name: string, value: unknown) => {
    if (typeof value !== 'number' || !(value > 0) || !Number.isFinite(value))
      throw new HebbError('BAD_FILE', `Expected ${name} of ${file} to be a positive number, got ${show(value)}`)
    return value
  }
  only('model_type', 'llama')
  only('hidden_act', 'silu')
  only('attention_bias', false)
  only('mlp_bias', false)
  only('rope_scaling', null)
  const { rope_parameters: rope = {} } = config
  const { rope_type: ropeType = 'default', rope_theta: theta } = Object(rope)
  if (ropeType !== 'default')
    throw new HebbError('UNSUPPORTED', `Expected rope_type of ${file} to be 'default', got ${show(ropeType)}`)
  const [features, heads] = [count('hidden_size'), count('num_attention_heads')]
  const headFeatures = count('head_dim', features / heads)
  if (headFeatures * heads !== features)
    throw new HebbError(
      'UNSUPPORTED',
      `Expected head_dim of ${file} to be hidden_size / num_attention_heads, ${features / heads}, got ${headFeatures}`,
    )
  const tied = config.tie_word_embeddings ?? false
  if (typeof tied !== 'boolean')
    throw new HebbError('BAD_FILE', `Expected tie_word_embeddings of ${file} to be true or false, got ${show(tied)}`)
  return {
    ...{ words: count('vocab_size'), features, hidden: count('intermediate_size'), heads, tied },
    ...{ layers: count('num_hidden_layers'), keyHeads: count('num_key_value_heads', heads) },
    places: count('max_position_embeddings', 2048),
    epsilon: positive('rms_norm_eps', config.rms_norm_eps ?? 1e-6),
    base: positive('rope_theta', theta ?? config.rope_theta ?? 10_000),
  }
}
