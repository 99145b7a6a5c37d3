/** How well language models tell texts: by hand, by another program's golden data, by logits in double precision. */
import { readFileSync } from 'node:fs'
import { expect } from 'chai'
import { Tape } from '../lib/autograd.js'
import { adam, type Llama, llama, mlp, normal, sgd, Trainer } from '../lib/index.js'
import type { Sequential } from '../lib/nn/sequential.js'
import { Program } from '../lib/program.js'
import { LanguageText, languageDocuments, Tokenizer, trainTokenizer } from '../lib/text/index.js'
import { namedParameters } from '../lib/train/checkpoint.js'
import { theirName } from '../lib/train/llama_files.js'
import { ratioOf, windowsOf } from '../lib/train/perplexity.js'
import { at, cpu, expectRefusal, modelPlaces, on, places, random } from './support.js'
import { tensorsOf, tokensOf } from './translation.js'

const folder = new URL('vectors/llama-tiny/', import.meta.url)
const golden = JSON.parse(readFileSync(new URL('golden.json', folder), 'utf8'))
const config = JSON.parse(readFileSync(new URL('config.json', folder), 'utf8'))

const shape = {
  ...{ words: config.vocab_size, features: config.hidden_size, hidden: config.intermediate_size },
  ...{ layers: config.num_hidden_layers, heads: config.num_attention_heads, keyHeads: config.num_key_value_heads },
  ...{ places: config.max_position_embeddings },
}

/** Words w0 to w96 and no more, as many as the golden model has. */
const vocabulary = Object.fromEntries(Array.from({ length: shape.words }, (_, i) => [i === 2 ? '</s>' : `w${i}`, i]))
const words = Tokenizer.from({
  ...{ version: '1.0', truncation: null, padding: null, added_tokens: [], normalizer: null },
  ...{ pre_tokenizer: { type: 'WhitespaceSplit' }, post_processor: null, decoder: null },
  model: { type: 'WordLevel', vocab: vocabulary, unk_token: 'w0' },
})

const flat = (all: readonly number[][]) => ({
  tokens: Int32Array.from(all.flat()),
  starts: Int32Array.from([0, ...all.map((_, i) => all.slice(0, i + 1).flat().length)]),
})

/** A text of given tokens, of which no document has the separators that texts from files have. */
function textOf(all: readonly number[][], window = 64): LanguageText {
  const ones = Float64Array.from(all, ({ length }) => length)
  const documents = { text: flat(all), words: ones, bytes: ones }
  const how = { count: all.length, window, masked: true, separator: 2, firstWindow: false }
  return new LanguageText('numbers', documents, words, how)
}

async function goldenTrainer(place: string): Promise<{ trainer: Trainer; model: Sequential }> {
  const model = llama(shape)
  const trainer = new Trainer(model, { optimizer: sgd({ learningRate: 0.1 }), device: at(place) })
  await trainer.measures()
  const tensors = tensorsOf('llama-tiny', 'model.safetensors')
  for (const [name, { values }] of namedParameters(model)) {
    const theirs = theirName(name)
    await values.write(Float32Array.from(tensors.get(theirs)?.data ?? []))
  }
  return { trainer, model }
}

describe('perplexity', () => {
  it('of a model that finds all tokens equally probable is their number', async () => {
    const tokenizer = await trainTokenizer(['one two three'], { vocabulary: 262 })
    const { size } = tokenizer
    const model = llama({ words: size, features: 8, hidden: 8, layers: 1, heads: 2, places: 16, weights: normal(0) })
    using trainer = new Trainer(model, { optimizer: adam({ learningRate: 0.1 }), device: cpu() })
    const text = await languageDocuments(['one two', 'ä'], { tokenizer, window: 16 })
    const found = await trainer.perplexity(text)
    // 'one two': tokens and the end; 'ä': two bytes and the end.
    const tokens = tokenizer.encode('one two').length + 1 + 3
    expect([found.tokens, found.words, found.bytes]).to.deep.equal([tokens, 3, 9])
    const near = ({ value, error }: { value: number; error: number }, expected: number) => {
      expect(value / expected).to.be.closeTo(1, 1e-6)
      return error
    }
    expect(near(found.loss, Math.log(size))).to.be.below(1e-6)
    expect(near(found.perplexity, size)).to.be.below(1e-4)
    near(found.wordPerplexity, size ** (tokens / 3))
    near(found.bitsPerByte, (tokens * Math.log2(size)) / 9)
    expect([found.by, found.units, found.window, found.stride]).to.deep.equal(['windows', 2, 16, 16])
    expect(found.unknown).to.equal(0)
  })

  for (const place of modelPlaces) {
    it(`is that of another program's model in double precision, at ${place}`, async () => {
      const { trainer, model } = await goldenTrainer(place)
      const documents = golden.ids.map((ids: number[], i: number) =>
        ids.filter((_, j) => j === 0 || golden.labels[i][j] >= 0),
      ) as number[][]
      const text = textOf(documents)
      const found = await trainer.perplexity(text)
      expect(found.loss.value).to.be.closeTo(golden.loss, 1e-6)
      expect(found.perplexity.value / Math.exp(golden.loss)).to.be.closeTo(1, 1e-6)
      expect((await trainer.evaluate(text)).loss).to.be.closeTo(golden.loss, 1e-6)

      // Windows that overlap, against the logits of each, in double precision.
      const [window, stride] = [5, 2]
      const units: { loss: number; count: number }[] = []
      for (const ids of documents)
        for (const { begin, end, counted } of windowsOf(ids.length, window, stride)) {
          const logits = await logitsOf(place, model, ids.slice(begin, end))
          const losses = logits.map((row, i) => {
            const most = Math.max(...row)
            const total = most + Math.log(row.reduce((sum, z) => sum + Math.exp(z - most), 0))
            return begin + 1 + i < counted ? 0 : total - row[ids[begin + 1 + i]]
          })
          units.push({ loss: losses.reduce((a, b) => a + b, 0), count: end + 1 - counted })
        }
      const strided = await trainer.perplexity(text, { window, stride })
      const [losses, counts] = [units.map(({ loss }) => loss), units.map(({ count }) => count)]
      const expected = ratioOf(losses, counts)
      expect(strided.tokens).to.equal(documents.flat().length - documents.length)
      expect(strided.loss.value).to.be.closeTo(expected.value, 1e-6)
      expect(strided.loss.error).to.be.closeTo(expected.error, 1e-6)
      expect(strided.units).to.equal(units.length)
      trainer.dispose()
    })
  }

  async function logitsOf(place: string, model: Sequential, ids: number[]): Promise<number[][]> {
    let rows: number[][] = []
    await on(at(place), async (w) => {
      const program = w.own(new Program(w.device))
      const tape = w.own(new Tape(program, { training: false }))
      const { activations } = (model.modules[0] as Llama).forward(tape, tokensOf(tape, [ids], [ids.length]))
      program.keep(activations)
      await program.replay(1)
      const all = await activations.read(ids.length)
      rows = ids.map((_, i) => [...all.subarray(i * shape.words, (i + 1) * shape.words)])
    })
    return rows
  }

  it('tells how many tokens are unknown to the tokenizer', async () => {
    const { trainer } = await goldenTrainer(places[0])
    const text = await languageDocuments(['w5 w6 another w7', 'other w8'], { tokenizer: words, window: 64 })
    expect((await trainer.perplexity(text)).unknown).to.equal(2)
    trainer.dispose()
  })

  it('counts each token but the first once, whatever the stride', () => {
    const next = random(5)
    for (let i = 0; i < 300; ++i) {
      const tokens = 1 + Math.floor(40 * next())
      const window = 1 + Math.floor(12 * next())
      const stride = 1 + Math.floor(window * next())
      const counts = new Int32Array(tokens)
      for (const { begin, end, counted } of windowsOf(tokens, window, stride)) {
        expect(end - begin).to.be.within(1, window)
        expect(counted).to.be.above(begin)
        for (let label = counted; label <= end; ++label) ++counts[label]
      }
      expect([...counts]).to.deep.equal([0, ...Array(tokens - 1).fill(1)], `${tokens} ${window} ${stride}`)
    }
  })

  it('has the standard errors of ratios, by hand and as often as they say', () => {
    // Losses 3, 5, 4 of 1, 2, 1 tokens: the ratio is 3, residuals are 0, -1, 1.
    const { value, error } = ratioOf([3, 5, 4], [1, 2, 1])
    expect([value, error]).to.deep.equal([3, Math.sqrt((3 / 2) * 2) / 4])
    expect(ratioOf([3], [2]).error).to.deep.equal(Number.NaN)
    // Of 400 samples of 100 units, 95% have the truth within 1.96 errors: 20 +- 4.4 lie outside. False alarm: 1e-6.
    const next = random(7)
    let outside = 0
    for (let sample = 0; sample < 400; ++sample) {
      const counts = Array.from({ length: 100 }, () => 1 + Math.floor(50 * next()))
      const losses = counts.map((count) => 3 * count + 20 * (next() + next() - 1) * Math.sqrt(count))
      const { value, error } = ratioOf(losses, counts)
      if (Math.abs(value - 3) > 1.96 * error) ++outside
    }
    expect(outside).to.be.within(3, 50)
  })

  it('is over documents where there are many, with their own words and bytes', async () => {
    const tokenizer = await trainTokenizer(['one two three'], { vocabulary: 262 })
    const model = llama({ words: tokenizer.size, features: 8, hidden: 8, layers: 1, heads: 2, places: 8 })
    using trainer = new Trainer(model, { optimizer: adam({ learningRate: 0.1 }), device: cpu() })
    const documents = Array.from({ length: 30 }, (_, i) =>
      Array(1 + (i % 7))
        .fill('two')
        .join(' '),
    )
    const text = await languageDocuments(documents, { tokenizer, window: 8 })
    const found = await trainer.perplexity(text)
    expect([found.by, found.units]).to.deep.equal(['documents', 30])
    expect(found.loss.value).to.be.closeTo((await trainer.evaluate(text)).loss, 1e-6)
    const each: { loss: number; tokens: number; bytes: number }[] = []
    for (const document of documents) {
      const one = await trainer.perplexity(await languageDocuments([document], { tokenizer, window: 8 }))
      each.push({ loss: one.loss.value * one.tokens, tokens: one.tokens, bytes: one.bytes })
    }
    const of = (name: 'loss' | 'tokens' | 'bytes') => each.map((one) => one[name])
    expect(found.loss.error).to.be.closeTo(ratioOf(of('loss'), of('tokens')).error, 1e-6)
    const bits = ratioOf(of('loss'), of('bytes'))
    expect(found.bitsPerByte.error).to.be.closeTo(bits.error / Math.LN2, 1e-6)
    expect(found.bitsPerByte.value).to.be.closeTo(bits.value / Math.LN2, 1e-6)
  })

  it('refuses what cannot be, and stops when it is told to', async () => {
    const { trainer } = await goldenTrainer(places[0])
    const text = textOf([[1, 2, 3, 4]])
    for (const [what, options, message] of [
      ['a stride above the window', { window: 3, stride: 4 }, 'stride'],
      [
        'a window above the places',
        { window: 65 },
        'Expected window to be at most 64, the places of the model, got 65',
      ],
      ['a misspelt option', { strides: 4 }, "'strides'"],
    ] as const) {
      const error = await expectRefusal(() => trainer.perplexity(text, options as never), 'INVALID_ARGUMENT', what)
      expect(error.message).to.contain(message)
    }
    await expectRefusal(() => trainer.perplexity({} as never), 'INVALID_ARGUMENT', 'no text')
    const before = trainer.device.memory().bytes
    await expectRefusal(() => trainer.perplexity(text, { signal: AbortSignal.abort() }), 'ABORTED', 'aborted')
    expect(trainer.device.memory().bytes).to.equal(before)
    trainer.dispose()
    using other = new Trainer(mlp({ widths: [4, 2], density: 0.5 }), { optimizer: sgd({ learningRate: 0.1 }) })
    await expectRefusal(() => other.perplexity(text), 'INVALID_ARGUMENT', 'a model for samples')
  })
})
