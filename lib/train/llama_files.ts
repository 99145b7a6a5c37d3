/**
 * Llama in the files of Hugging Face: config.json, model.safetensors or its shards, tokenizer.json. Import makes a
 * checkpoint of them, export makes them of a checkpoint; both from file to file, a tensor at a time.
 */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { dense, staticSparse } from '../dst/methods.js'
import { expect, HebbError, known, number, show } from '../error.js'
import { expectPlace, type Kind, replaceFile } from '../files.js'
import { Linear } from '../nn/linear.js'
import { Llama, llama } from '../nn/llama.js'
import { jsonIn, llamaShape } from '../nn/llama_config.js'
import { adam } from '../optim/adam.js'
import { serialiseOnce } from '../recipe.js'
import { Tokenizer } from '../text/tokenizer.js'
import { Checkpoint, isOfModel, namedModules, scattered, serialisedTokenizers, VERSION } from './checkpoint.js'
import { CHECKPOINT, type Foreign, foreignTensors, type Outgoing, readTensors, writeTensors } from './safetensors.js'

const JSON_FILE: Kind = { name: 'JSON', begins: /^\s*\{/ }

/** The name of one of our parameters in their files. */
export function theirName(ours: string): string {
  return ours
    .replace(/^modules\.0\./, '')
    .replace('embedding.weights', 'model.embed_tokens.weight')
    .replace('head.weights', 'lm_head.weight')
    .replace(/^layers\.norm\.gain/, 'model.norm.weight')
    .replace(/^layers\./, 'model.layers.')
    .replace('.attention.module.norm.gain', '.input_layernorm.weight')
    .replace('.feedForward.module.norm.gain', '.post_attention_layernorm.weight')
    .replace(/\.attention\.module\.attention\.(.)[a-z]*\.weights/, '.self_attn.$1_proj.weight')
    .replace(/\.feedForward\.module\.feedForward\.([a-z]*)\.weights/, '.mlp.$1_proj.weight')
}

/** The name of a projection as densities have it: '0.attention.query'. */
const shortName = (path: string) =>
  path.replace(/^modules\.0\.layers\./, '').replace(/\.module\.(?:attention|feedForward)/, '')

/** Fields of config.json that are written from our options, or say nothing of the model. */
const CONFIG = [
  'architectures',
  'model_type',
  'vocab_size',
  'hidden_size',
  'intermediate_size',
  'num_hidden_layers',
  'num_attention_heads',
  'num_key_value_heads',
  'head_dim',
  'max_position_embeddings',
  'rms_norm_eps',
  'rope_theta',
  'rope_parameters',
  'rope_scaling',
  'hidden_act',
  'tie_word_embeddings',
  'attention_bias',
  'mlp_bias',
  'torch_dtype',
  'dtype',
]

/** All tensors of a folder, by name. */
async function tensorsIn(folder: string): Promise<Map<string, Foreign>> {
  const index = join(folder, 'model.safetensors.index.json')
  let files = ['model.safetensors']
  const whole = await foreignTensors(join(folder, files[0] as string)).catch((error: HebbError) => {
    if (error.code !== 'MISSING_FILE') throw error
    return undefined
  })
  const found = new Map((whole ?? []).map((tensor) => [tensor.name, tensor]))
  if (whole) return found
  const { weight_map: places } = jsonIn(index, 'model.safetensors, or model.safetensors.index.json and its shards,')
  if (typeof places !== 'object' || places === null || !Object.values(places).every((file) => typeof file === 'string'))
    throw new HebbError('BAD_FILE', `Expected ${index} to have a weight_map that names the file of each tensor`)
  files = [...new Set(Object.values(places as Record<string, string>))]
  for (const file of files) {
    expect(!/[\\/]/.test(file), () => `Expected ${index} to name files beside it, got ${show(file)}`)
    for (const tensor of await foreignTensors(join(folder, file))) found.set(tensor.name, tensor)
  }
  const missing = Object.keys(places).find((name) => !found.has(name))
  if (missing !== undefined)
    throw new HebbError(
      'BAD_FILE',
      `Expected ${show(missing)} in the files that ${index} names, got none. Fetch them again.`,
    )
  return found
}

/** What importLlama() takes. */
export interface ImportOptions {
  /**
   * Projections and feed-forward layers keep this share of their weights, in (0, 1], those of the largest magnitude,
   * of equal ones the first. 'nonzero': those that are not 0 or -0, each layer's own share. Default: all, as
   * fully connected layers.
   */
  density?: number | 'nonzero' | undefined
}

/** What an import has come to. */
export interface Imported {
  /** Links of its sparse layers. */
  readonly links: number
  /** That these could have. */
  readonly possible: number
}

/** The links of `count` weights: those that are not 0, or those of the largest magnitude. */
function linksOf(values: Float32Array, rows: number, count: number, keep: 'nonzero' | 'largest') {
  let isKept = (value: number) => value !== 0
  if (keep === 'largest') {
    const order = values.map(Math.abs).sort()
    const threshold = order[order.length - count] as number
    let equal = count
    for (let i = order.length - 1; i >= 0 && (order[i] as number) > threshold; --i) --equal
    isKept = (value) => Math.abs(value) > threshold || (Math.abs(value) === threshold && equal-- > 0)
  }
  const cols = values.length / rows
  const links = {
    ...{ rowOffsets: new Int32Array(rows + 1), columnIndices: new Int32Array(count), values: new Float32Array(count) },
  }
  let link = 0
  for (let row = 0; row < rows; ++row) {
    for (let col = 0; col < cols; ++col) {
      const value = values[row * cols + col] as number
      if (!isKept(value)) continue
      links.columnIndices[link] = col
      links.values[link++] = value
    }
    links.rowOffsets[row + 1] = link
  }
  return links
}

/**
 * Writes the Llama of a folder of Hugging Face's files to a checkpoint, for load(), Trainer.from() and the command
 * line: config.json, model.safetensors or model.safetensors.index.json and its shards, of F32, F16, BF16 or F64, and
 * tokenizer.json if it is there. MISSING_FILE names what is not there; UNSUPPORTED the field of a config that llama()
 * cannot be (rope_scaling, biases, another head_dim); BAD_FILE a tensor that is missing, has no place, is of another
 * shape or not finite.
 */
export async function importLlama(folder: string, out: string, options: ImportOptions = {}): Promise<Imported> {
  const { density } = known(options, 'importLlama()', { density: true })
  if (density !== undefined && density !== 'nonzero') number(density, 'density', Number.MIN_VALUE, 1)
  await expectPlace(out, CHECKPOINT)
  const configFile = join(folder, 'config.json')
  const config = jsonIn(configFile, 'config.json')
  const shape = llamaShape(configFile, config)
  const tokenizer = readTokenizer(join(folder, 'tokenizer.json'))
  if (tokenizer && tokenizer.size > shape.words)
    throw new HebbError(
      'BAD_FILE',
      `Expected a tokenizer of at most the ${shape.words} words of ${configFile}, got ${tokenizer.size} in ` +
        'tokenizer.json',
    )
  const found = await tensorsIn(folder)
  // What older files have beside: computed from the base.
  for (const name of [...found.keys()]) if (name.endsWith('.rotary_emb.inv_freq')) found.delete(name)
  if (shape.tied) found.delete('lm_head.weight')
  const take = async (name: string, expected: readonly number[]) => {
    const tensor = found.get(theirName(name))
    if (!tensor) throw new HebbError('BAD_FILE', `Expected a tensor ${show(theirName(name))} in ${folder}, got none`)
    if (`${tensor.shape}` !== `${expected}`)
      throw new HebbError(
        'BAD_FILE',
        `Expected ${show(tensor.name)} of ${tensor.file} to be ${expected.join(' x ')}, got ` +
          tensor.shape.join(' x '),
      )
    const values = await tensor.read()
    const bad = values.findIndex((value) => !Number.isFinite(value))
    if (bad >= 0)
      throw new HebbError(
        'BAD_FILE',
        `Expected finite weights, got ${values[bad]} in ${show(tensor.name)} of ${tensor.file}, element ${bad}`,
      )
    return values
  }
  const tensors: Outgoing[] = []
  const layers: Record<string, number> = {}
  const densities: Record<string, number> = {}
  const imported = { links: 0, possible: 0 }
  const wanted = new Set<string>()
  const add = (name: string, shape: readonly number[]) => {
    wanted.add(theirName(name))
    tensors.push({ name, type: 'F32', shape, read: () => take(name, shape) })
  }
  for (const [module, path] of namedModules(llama({ ...shape, ...(density !== undefined && { density: 1 }) }))) {
    const { inFeatures: cols, outFeatures: rows } = module
    if (path === 'modules.0.embedding') add(`${path}.weights`, [shape.words, shape.features])
    else if (path.endsWith('.norm')) add(`${path}.gain`, [shape.features])
    else if (module instanceof Linear) add(`${path}.weights`, [rows as number, cols as number])
    else if (density !== undefined && 'density' in module) {
      const [name, size] = [`${path}.weights`, [rows as number, cols as number] as const]
      const possible = size[0] * size[1]
      const keep = density === 'nonzero' ? density : 'largest'
      // Weights are read twice: a file begins with how many they are.
      const count =
        density === 'nonzero'
          ? (await take(name, size)).reduce((sum, value) => sum + (value === 0 ? 0 : 1), 0)
          : Math.max(1, Math.round(density * possible))
      let links: ReturnType<typeof linksOf> | undefined
      const read = async () => {
        links ??= linksOf(await take(name, size), size[0], count, keep)
        return links
      }
      wanted.add(theirName(name))
      layers[name] = Object.keys(layers).length + 1 // the embedding is 0
      densities[shortName(path)] = Math.max(1, count) / possible
      imported.links += count
      imported.possible += possible
      tensors.push({
        ...{ name: `${name}.rowOffsets`, type: 'I32', shape: [size[0] + 1] },
        read: async () => (await read()).rowOffsets,
      })
      tensors.push({
        ...{ name: `${name}.columnIndices`, type: 'I32', shape: [count] },
        read: async () => (await read()).columnIndices,
      })
      tensors.push({
        ...{ name: `${name}.values`, type: 'F32', shape: [count] },
        read: async () => {
          const { values } = await read()
          links = undefined
          return values
        },
      })
    }
  }
  const other = [...found.keys()].find((name) => !wanted.has(name))
  if (other !== undefined)
    throw new HebbError('BAD_FILE', `Expected the tensors of a Llama in ${folder}, got ${show(other)} besides`)
  const model = llama({ ...shape, ...(density !== undefined && { density: 1, densities }) })
  const others = Object.fromEntries(Object.entries(config).filter(([name]) => !CONFIG.includes(name)))
  const text = (value: unknown) => JSON.stringify(value)
  await writeTensors(out, tensors, {
    ...{
      'note.config': text(others),
      format: 'hebb',
      version: String(VERSION),
      model: text(serialiseOnce(model, 'model')),
    },
    optimizer: text(serialiseOnce(adam({ learningRate: 0.001 }), 'optimizer')),
    dst: text(serialiseOnce(density === undefined ? dense() : staticSparse(), 'dst')),
    ...{ loss: text('crossEntropy'), layers: text(layers) },
    ...(tokenizer && { tokenizers: text(serialisedTokenizers({ source: tokenizer, target: tokenizer })) }),
    progress: text({ step: 0, updates: { done: 0, step: 0, settled: [] } }),
  })
  return imported
}

function readTokenizer(file: string): Tokenizer | undefined {
  try {
    return Tokenizer.from(file)
  } catch (error) {
    if ((error as HebbError).code === 'MISSING_FILE') return undefined
    throw error
  }
}

/**
 * Writes the Llama of a checkpoint to a folder as Hugging Face's files: config.json, model.safetensors (F32, with zeros
 * where there is no link) and tokenizer.json if it has one. importLlama() gives the same weights and links back.
 */
export async function exportLlama(file: string, folder: string): Promise<void> {
  expect(typeof folder === 'string' && folder !== '', () => `Expected folder to be a path, got ${show(folder)}`)
  const { metadata, tensors } = await readTensors(file, isOfModel)
  const checkpoint = new Checkpoint(file, metadata, tensors)
  const model = checkpoint.model()
  const [of, ...more] = model.modules
  expect(
    of instanceof Llama && more.length === 0,
    () => `Expected ${file} to hold a model made by llama(), got another one`,
  )
  const { options } = of as Llama
  expect(!options.perHead, () => `Expected a model whose heads are not apart, got one with perHead in ${file}`)
  const outgoing: Outgoing[] = []
  for (const [name, { shape, data }] of tensors) {
    const layer = name.replace(/\.values$/, '')
    if (/\.(rowOffsets|columnIndices)$/.test(name)) continue
    if (layer === name) {
      outgoing.push({ name: theirName(name), type: 'F32', shape, read: () => data })
      continue
    }
    const links = checkpoint.linksOf(layer)
    const path = layer.replace(/\.weights$/, '')
    const module = [...namedModules(model)].find(([, at]) => at === path)?.[0]
    const size = [module?.outFeatures as number, module?.inFeatures as number]
    outgoing.push({
      ...{ name: theirName(layer), type: 'F32', shape: size },
      read: () =>
        scattered(links as NonNullable<typeof links>, data as Float32Array, (size[0] as number) * (size[1] as number)),
    })
  }
  const { words, features, hidden, layers, heads, keyHeads = heads, tied = false } = options
  const { places = 1024, epsilon = 1e-6, base = 10_000 } = options
  const others = checkpoint.notes.config === undefined ? {} : JSON.parse(checkpoint.notes.config)
  const config = {
    ...{ architectures: ['LlamaForCausalLM'], model_type: 'llama', vocab_size: words, hidden_size: features },
    ...{ intermediate_size: hidden, num_hidden_layers: layers, num_attention_heads: heads },
    ...{ num_key_value_heads: keyHeads, max_position_embeddings: places, rms_norm_eps: epsilon, rope_theta: base },
    ...{ rope_scaling: null, hidden_act: 'silu', tie_word_embeddings: tied, attention_bias: false, mlp_bias: false },
    ...{ torch_dtype: 'float32' },
    ...others,
  }
  await mkdir(folder, { recursive: true })
  const write = (name: string, json: unknown) =>
    replaceFile(join(folder, name), JSON_FILE, (handle) => handle.writeFile(`${JSON.stringify(json, undefined, 2)}\n`))
  await writeTensors(join(folder, 'model.safetensors'), outgoing, { format: 'pt' })
  await write('config.json', config)
  const tokenizer = checkpoint.vocabularies?.tokenizers.target
  if (tokenizer) await write('tokenizer.json', tokenizer)
}
