/** Llama in Hugging Face's files, against the golden data (test/vectors/llama-tiny). */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { Tape } from '../lib/autograd.js'
import {
  type ErrorCode,
  exportLlama,
  type ImportOptions,
  importLlama,
  llama,
  load,
  mlp,
  sgd,
  Trainer,
} from '../lib/index.js'
import { Program } from '../lib/program.js'
import { trainTokenizer } from '../lib/text/index.js'
import { foreignTensors } from '../lib/train/safetensors.js'
import { cpu, expectNear, on } from './support.js'
import { refuses } from './text/refuses.js'
import { tensorsOf, tokensOf } from './translation.js'

const golden = fileURLToPath(new URL('vectors/llama-tiny/', import.meta.url))
const originals = tensorsOf('llama-tiny', 'model.safetensors')

/** A safetensors file; numbers are what their bytes are in the type. */
function written(
  file: string,
  tensors: Record<string, { dtype: string; shape: number[]; data: ArrayBufferView }>,
): void {
  const header: Record<string, unknown> = { __metadata__: { format: 'pt' } }
  const parts: Buffer[] = []
  let end = 0
  for (const [name, { dtype, shape, data }] of Object.entries(tensors)) {
    header[name] = { dtype, shape, data_offsets: [end, end + data.byteLength] }
    end += data.byteLength
    parts.push(Buffer.from(data.buffer, data.byteOffset, data.byteLength))
  }
  const json = Buffer.from(JSON.stringify(header))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(json.length))
  writeFileSync(file, Buffer.concat([length, json, ...parts]))
}

const floats = (of: Map<string, { shape: number[]; data: Float64Array }>) =>
  Object.fromEntries(
    [...of].map(([name, { shape, data }]) => [name, { dtype: 'F32', shape, data: Float32Array.from(data) }] as const),
  )

/** The nearest power of two that 16 bits have. */
const power = (value: number) => Math.sign(value) * 2 ** Math.max(-14, Math.round(Math.log2(Math.abs(value))))

async function logitsOf(file: string): Promise<Float32Array> {
  const { ids } = JSON.parse(readFileSync(join(golden, 'golden.json'), 'utf8'))
  using predictor = await load(file, { device: cpu() })
  const { model } = predictor
  return on(cpu(), async (w) => {
    const program = w.own(new Program(w.device))
    const tape = w.own(new Tape(program, { training: false }))
    const tokens = tokensOf(
      tape,
      ids,
      ids.map(({ length }: number[]) => length),
    )
    const logits = model.forward(tape, tokens)
    program.keep(logits.activations)
    await program.replay(1)
    return logits.activations.read(ids.flat().length)
  })
}

describe('Llama in the files of Hugging Face', () => {
  let folder: string
  const at = (name: string) => join(folder, name)
  /** A copy of the golden model, with another config. */
  const changed = (config: object): string => {
    const to = at('changed')
    cpSync(golden, to, { recursive: true })
    const own = { ...JSON.parse(readFileSync(join(to, 'config.json'), 'utf8')), ...config }
    rmSync(join(to, 'config.json'), { force: true })
    writeFileSync(join(to, 'config.json'), JSON.stringify(own))
    return to
  }
  const replaced = (name: string, write: (file: string) => void): string => {
    const to = changed({})
    rmSync(join(to, name), { force: true })
    write(join(to, name))
    return to
  }
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'hebb-llama-'))
  })
  afterEach(() => rmSync(folder, { recursive: true }))

  it('is imported with its logits, and exported and imported again to the same bytes', async () => {
    const expected = JSON.parse(readFileSync(join(golden, 'golden.json'), 'utf8')).logits.flat(2)
    expect(await importLlama(golden, at('a.safetensors'))).to.deep.equal({ links: 0, possible: 0 })
    expectNear(await logitsOf(at('a.safetensors')), expected, 'logits', 1e-5)
    await exportLlama(at('a.safetensors'), at('a'))
    const back = await foreignTensors(join(at('a'), 'model.safetensors'))
    expect(back.map(({ name }) => name).sort()).to.deep.equal([...originals.keys()].sort())
    for (const { name, shape, read } of back) {
      expect(shape).to.deep.equal(originals.get(name)?.shape)
      expect([...(await read())]).to.deep.equal([...(originals.get(name)?.data ?? [])])
    }
    const [config, own] = [golden, at('a')].map((of) => JSON.parse(readFileSync(join(of, 'config.json'), 'utf8')))
    expect(own).to.deep.equal(config)
    expect(await importLlama(at('a'), at('b.safetensors'))).to.deep.equal({ links: 0, possible: 0 })
    await exportLlama(at('b.safetensors'), at('b'))
    for (const name of ['config.json', 'model.safetensors'])
      expect(readFileSync(join(at('a'), name)).equals(readFileSync(join(at('b'), name))), name).to.equal(true)
    expect(readFileSync(at('a.safetensors')).equals(readFileSync(at('b.safetensors')))).to.equal(true)
    expect(readFileSync(join(at('a'), 'model.safetensors'), 'latin1')).to.contain('"format":"pt"')
  })

  it('becomes a sparse one by magnitude, or by its zeros, layer by layer', async () => {
    const tensors = floats(originals)
    const zeroed = 'model.layers.0.self_attn.k_proj.weight'
    const none = 'model.layers.1.mlp.up_proj.weight'
    for (const [i, sign] of [0, -0, 0, -0].entries()) tensors[zeroed].data[7 * i] = sign
    tensors[none].data.fill(-0)
    const source = replaced('model.safetensors', (file) => written(file, tensors))
    const possible = 2 * (2 * 32 * 32 + 2 * 16 * 32 + 3 * 32 * 56)
    const nonzero = await importLlama(source, at('nonzero.safetensors'), { density: 'nonzero' })
    expect(nonzero).to.deep.equal({ links: possible - 4 - 32 * 56, possible })
    const thirty = await importLlama(golden, at('thirty.safetensors'), { density: 0.3 })
    expect(thirty.possible).to.equal(possible)
    expect(thirty.links).to.be.closeTo(0.3 * possible, 7)
    for (const [name, kept] of [
      ['nonzero', (value: number) => value !== 0],
      ['thirty', undefined],
    ] as const) {
      await exportLlama(at(`${name}.safetensors`), at(name))
      for (const { name: tensor, read } of await foreignTensors(join(at(name), 'model.safetensors'))) {
        const before = kept ? tensors[tensor].data : Float32Array.from(originals.get(tensor)?.data ?? [])
        const isSparse = tensor.includes('_proj')
        const least = [...before].map(Math.abs).sort((a, b) => b - a)[Math.round(0.3 * before.length) - 1]
        const keep = kept ?? ((value: number) => Math.abs(value) >= least)
        expect([...(await read())], `${name} ${tensor}`).to.deep.equal(
          [...before].map((value) => (isSparse && !keep(value) ? 0 : value)),
        )
      }
      // Again, by what is there.
      const again = await importLlama(at(name), at('again.safetensors'), { density: 'nonzero' })
      expect(again.links).to.equal(name === 'nonzero' ? nonzero.links : thirty.links)
    }
    // Sparse layers compute what the matrices with zeros do, and train on.
    await importLlama(at('nonzero'), at('dense.safetensors'))
    expectNear(
      await logitsOf(at('nonzero.safetensors')),
      [...(await logitsOf(at('dense.safetensors')))],
      'logits of a sparse one',
      1e-5,
    )
    using trainer = await Trainer.from(at('thirty.safetensors'), { device: cpu(), optimizer: sgd({ learningRate: 1 }) })
    expect((await trainer.measures()).links).to.equal(thirty.links)
  })

  it('is read from shards, halves, old files and tied ones, with its tokenizer', async () => {
    const tensors = floats(originals)
    const names = Object.keys(tensors)
    const halves = (name: string, dtype: 'F16' | 'BF16') => {
      const { shape, data } = tensors[name]
      // Powers of two are the same in both.
      const bits = new Uint32Array(data.map(power).buffer)
      const bf16 = (word: number) => word >>> 16
      const f16 = (word: number) => ((word >>> 16) & 0x8000) | ((((word >>> 23) & 255) - 112) << 10)
      return { dtype, shape, data: Uint16Array.from(bits, dtype === 'F16' ? f16 : bf16) }
    }
    const source = replaced('model.safetensors', () => {})
    const of: Record<string, string> = {}
    const shards: Record<string, Record<string, { dtype: string; shape: number[]; data: ArrayBufferView }>> = {}
    for (const [i, name] of names.entries()) {
      of[name] = `model-0000${1 + (i % 3)}-of-00003.safetensors`
      shards[of[name]] = {
        ...shards[of[name]],
        [name]: i % 3 === 0 ? tensors[name] : halves(name, i % 3 === 1 ? 'F16' : 'BF16'),
      }
    }
    const inverse = { dtype: 'F32', shape: [4], data: new Float32Array(4) }
    shards['model-00001-of-00003.safetensors']['model.layers.0.self_attn.rotary_emb.inv_freq'] = inverse
    for (const [file, all] of Object.entries(shards)) written(join(source, file), all)
    writeFileSync(join(source, 'model.safetensors.index.json'), JSON.stringify({ metadata: {}, weight_map: of }))
    const tokenizer = await trainTokenizer(['a b'], { vocabulary: 260 })
    writeFileSync(join(source, 'tokenizer.json'), JSON.stringify(tokenizer))
    await refuses(() => importLlama(source, at('m.safetensors')), /at most the 97 words .* got 260/, 'BAD_FILE')
    rmSync(join(source, 'tokenizer.json'))
    await importLlama(source, at('m.safetensors'))
    await exportLlama(at('m.safetensors'), at('m'))
    for (const { name, read } of await foreignTensors(join(at('m'), 'model.safetensors'))) {
      const exact = names.indexOf(name) % 3 === 0
      expect([...(await read())], name).to.deep.equal([...tensors[name].data].map((v) => (exact ? v : power(v))))
    }
    rmSync(join(source, 'model-00002-of-00003.safetensors'))
    await refuses(() => importLlama(source, at('m.safetensors')), /model-00002-of-00003\.safetensors/, 'MISSING_FILE')

    const tied = changed({ tie_word_embeddings: true, eos_token_id: [2, 3], torch_dtype: undefined, dtype: 'float32' })
    await importLlama(tied, at('tied.safetensors'))
    await exportLlama(at('tied.safetensors'), at('tied'))
    const back = await foreignTensors(join(at('tied'), 'model.safetensors'))
    expect(back.map(({ name }) => name)).to.not.include('lm_head.weight')
    expect(JSON.parse(readFileSync(join(at('tied'), 'config.json'), 'utf8'))).to.deep.include({
      ...{ tie_word_embeddings: true, eos_token_id: [2, 3], bos_token_id: 1 },
    })
  })

  it('reads every number of 16 bits', async () => {
    const all = Uint16Array.from({ length: 65_536 }, (_, i) => i)
    for (const [dtype, exponentBits] of [
      ['F16', 5],
      ['BF16', 8],
    ] as const) {
      written(at(dtype), { all: { dtype, shape: [65_536], data: all } })
      const [tensor] = await foreignTensors(at(dtype))
      const digits = 15 - exponentBits
      const bias = 2 ** (exponentBits - 1) - 1
      const expected = Float32Array.from(all, (bits) => {
        const sign = bits & 0x8000 ? -1 : 1
        const exponent = (bits & 0x7fff) >> digits
        const fraction = (bits & (2 ** digits - 1)) / 2 ** digits
        if (exponent === 2 ** exponentBits - 1) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY
        return sign * (exponent === 0 ? fraction * 2 ** (1 - bias) : (1 + fraction) * 2 ** (exponent - bias))
      })
      const read = await (tensor as NonNullable<typeof tensor>).read()
      expect(
        read.every((value, i) => Object.is(value, expected[i])),
        dtype,
      ).to.equal(true)
    }
  })

  it('refuses what it cannot be, by name, and leaves nothing behind', async () => {
    const out = at('m.safetensors')
    const cases: [source: () => string, RegExp, ErrorCode, ImportOptions?][] = [
      [() => at('none'), /config\.json at .*none/, 'MISSING_FILE'],
      [
        () => replaced('config.json', (file) => writeFileSync(file, '[]')),
        /config\.json to hold a JSON object/,
        'BAD_FILE',
      ],
      [() => changed({ model_type: 'gpt2' }), /model_type of .* to be 'llama', got 'gpt2'/, 'UNSUPPORTED'],
      [() => changed({ hidden_act: 'gelu' }), /hidden_act .* 'silu', got 'gelu'/, 'UNSUPPORTED'],
      [() => changed({ attention_bias: true }), /attention_bias .* false, got true/, 'UNSUPPORTED'],
      [() => changed({ mlp_bias: true }), /mlp_bias/, 'UNSUPPORTED'],
      [() => changed({ rope_scaling: { type: 'linear', factor: 2 } }), /rope_scaling/, 'UNSUPPORTED'],
      [
        () => changed({ rope_parameters: { rope_type: 'llama3' } }),
        /rope_type .* 'default', got 'llama3'/,
        'UNSUPPORTED',
      ],
      [() => changed({ head_dim: 16 }), /head_dim .* 8, got 16/, 'UNSUPPORTED'],
      [() => changed({ hidden_size: '32' }), /hidden_size .* whole number, got '32'/, 'BAD_FILE'],
      [() => changed({ rms_norm_eps: 0 }), /rms_norm_eps .* positive number, got 0/, 'BAD_FILE'],
      [
        () => changed({ intermediate_size: 57 }),
        /mlp\.gate_proj\.weight' of .* to be 57 x 32, got 56 x 32/,
        'BAD_FILE',
      ],
      [
        () => changed({ num_hidden_layers: 3 }),
        /'model\.layers\.2\.input_layernorm\.weight' in .*, got none/,
        'BAD_FILE',
      ],
      [() => changed({ num_hidden_layers: 1 }), /'model\.layers\.1\.[a-z_.]+' besides/, 'BAD_FILE'],
      [() => replaced('model.safetensors', () => {}), /model\.safetensors\.index\.json/, 'MISSING_FILE'],
      [
        () =>
          replaced('model.safetensors', (file) =>
            writeFileSync(file, readFileSync(join(golden, 'model.safetensors')).subarray(0, 9999)),
          ),
        /9999 bytes, fewer than its header says/,
        'BAD_FILE',
      ],
      [
        () =>
          replaced('model.safetensors', (file) => {
            const tensors = floats(originals)
            tensors['model.norm.weight'].data[3] = Number.NaN
            written(file, tensors)
          }),
        /got NaN in 'model\.norm\.weight' of .*, element 3/,
        'BAD_FILE',
      ],
      [
        () =>
          replaced('model.safetensors', (file) => {
            written(file, { ...floats(originals), ids: { dtype: 'I64', shape: [1], data: new BigInt64Array(1) } })
          }),
        /'ids' has the type 'I64', not one of F64, F32, F16, BF16/,
        'BAD_FILE',
      ],
      [() => golden, /density to be a number/, 'INVALID_ARGUMENT', { density: 'half' as never }],
      [() => golden, /density to be .* got 1\.5/, 'INVALID_ARGUMENT', { density: 1.5 }],
    ]
    for (const [source, message, code, options] of cases) {
      const from = source()
      await refuses(() => importLlama(from, out, options), message, code)
      expect(() => readFileSync(out)).to.throw('ENOENT')
      rmSync(at('changed'), { recursive: true, force: true })
    }
    using trainer = new Trainer(mlp({ widths: [3, 2], density: 1 }), {
      optimizer: sgd({ learningRate: 1 }),
      device: cpu(),
    })
    await trainer.save(out)
    await refuses(() => exportLlama(out, at('m')), /made by llama\(\)/, 'INVALID_ARGUMENT')
    const shape = { words: 9, features: 8, hidden: 8, layers: 1, heads: 2, density: 0.5, perHead: true }
    using heads = new Trainer(llama(shape), { optimizer: sgd({ learningRate: 1 }), device: cpu() })
    await heads.save(out)
    await refuses(() => exportLlama(out, at('m')), /perHead/, 'INVALID_ARGUMENT')
  })
})
