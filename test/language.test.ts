/** Language models: documents as windows of tokens, and llama() trained on them. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { expect } from 'chai'
import {
  adam,
  chtss,
  cosineFraction,
  type Epoch,
  Linear,
  type Llama,
  llama,
  load,
  mlp,
  Sequential,
  Trainer,
  transformer,
  updateSchedule,
} from '../lib/index.js'
import {
  type DocumentOptions,
  type LanguageText,
  languageDocuments,
  languageText,
  parallelLines,
  readDocuments,
  type TextPart,
  type TokenizedText,
  type Tokenizer,
  trainTokenizer,
} from '../lib/text/index.js'
import type { StoredText } from '../lib/text/token_file.js'
import { expectRefusal, expectSameBits, random } from './support.js'

/** Documents that count on from a random number, which a model of next tokens can learn but for their beginnings. */
const NAMES = 'zero one two three four five six seven eight nine'.split(' ')
const counting = (count: number, seed: number): string[] => {
  const next = random(seed)
  return Array.from({ length: count }, () => {
    const first = Math.floor(10 * next())
    const length = 4 + Math.floor(5 * next())
    return Array.from({ length }, (_, i) => NAMES[(first + i) % 10]).join(' ')
  })
}
const lines = counting(120, 1)
let tokenizer: Tokenizer

const small = (options = {}) =>
  llama({
    ...{ words: tokenizer.size, features: 32, hidden: 48, layers: 2, heads: 4, density: 0.4, places: 32, seed: 3 },
    ...options,
  })
const trainerOf = (model = small()) =>
  new Trainer(model, {
    optimizer: adam({ learningRate: 0.01 }),
    dst: chtss({ updates: updateSchedule({ every: 10, fraction: cosineFraction(0.3) }) }),
    device: { kind: 'cpu', threads: 1 },
  })

/** Sequences, as lists of numbers. */
function sequences({ text, skip = 0, drop = 0 }: TextPart): number[][] {
  const { tokens, starts } = text as TokenizedText
  return [...starts.subarray(1)].map((end, i) => [...tokens.subarray(starts[i] + skip, end - drop)])
}

describe('text for language models', () => {
  let folder: string
  const file = (name: string, contents: string | Buffer) => {
    writeFileSync(join(folder, name), contents)
    return join(folder, name)
  }
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'hebb-language-'))
    tokenizer = await trainTokenizer(lines, { vocabulary: 300 })
  })
  after(() => rmSync(folder, { recursive: true }))

  it('tells documents apart by files, lines, empty lines, a line of their own, or JSON', async () => {
    const text = 'one\r\ntwo\n\n \nthree\n***\nfour\u2028 five\n'
    const plain = file('a.txt', text)
    const read = async (of: string | string[], options?: DocumentOptions) => {
      const all: string[] = []
      for await (const one of readDocuments(of, options)) all.push(one)
      return all
    }
    expect(await read(plain)).to.deep.equal(['one\ntwo\n\n \nthree\n***\nfour\u2028 five'])
    expect(await read([plain, plain])).to.have.length(2)
    expect(await read(plain, { documents: 'line' })).to.deep.equal(['one', 'two', 'three', '***', 'four\u2028 five'])
    expect(await read(plain, { documents: 'paragraph' })).to.deep.equal(['one\ntwo', 'three\n***\nfour\u2028 five'])
    expect(await read(plain, { documents: { line: '***' } })).to.deep.equal(['one\ntwo\n\n \nthree', 'four\u2028 five'])
    const objects = `${JSON.stringify({ text: 'a\nb', id: 3 })}\n\n${JSON.stringify({ text: ' ' })}\n{"text":"c"}\n`
    for (const name of ['b.jsonl', 'b.jsonl.gz'])
      expect(await read(file(name, name.endsWith('gz') ? gzipSync(objects) : objects))).to.deep.equal(['a\nb', 'c'])
    expect(await read(file('b.txt', objects), { documents: 'json' })).to.deep.equal(['a\nb', 'c'])
    for (const [line, message] of [
      ['{"text": 3}', 'got none in line 2'],
      ['null', 'got none in line 2'],
      ['{"text', 'got none in line 2'],
    ] as const) {
      const bad = file('c.jsonl', `{"text":"a"}\n${line}\n`)
      expect((await expectRefusal(() => read(bad), 'BAD_FILE', line)).message).to.contain(message)
    }
    await expectRefusal(() => read(join(folder, 'none.txt')), 'MISSING_FILE', 'no file')
    await expectRefusal(() => read(plain, { documents: 'lines' } as never), 'INVALID_ARGUMENT', 'another form')
    await expectRefusal(() => read([]), 'INVALID_ARGUMENT', 'no files')
    await expectRefusal(
      () => languageText(file('d.txt', ' \n\n'), { tokenizer }),
      'BAD_FILE',
      'nothing but white space',
    )
  })

  it('cuts them into windows, each with the token behind it, where the next begins', async () => {
    const [one, two] = ['one two three four five', 'six'].map((text) => [...tokenizer.encode(text)])
    const end = tokenizer.idOf('</s>') as number
    const documents = ['one two three four five', 'six']
    const masked = await languageDocuments(documents, { tokenizer, window: 3 })
    const expected = [
      [end, ...one, end],
      [end, ...two, end],
    ].flatMap((all) => Array.from({ length: Math.ceil((all.length - 1) / 3) }, (_, i) => all.slice(3 * i, 3 * i + 4)))
    expect(sequences({ text: masked.windows })).to.deep.equal(expected)
    expect(sequences(masked.inputs[0])).to.deep.equal(expected.map((window) => window.slice(0, -1)))
    expect(sequences(masked.labels)).to.deep.equal(expected.map((window) => window.slice(1)))
    expect([...masked.lengths.lengths]).to.deep.equal(expected.map((window) => window.length - 1))
    expect([masked.count, masked.samples, masked.tokens]).to.deep.equal([
      2,
      expected.length,
      one.length + two.length + 2,
    ])
    expect([...masked.documents.words]).to.deep.equal([5, 1])
    expect([...masked.documents.bytes]).to.deep.equal(documents.map((text) => text.length))

    const joined = await languageDocuments(documents, { tokenizer, window: 3, masked: false })
    expect(sequences({ text: joined.documents.text })).to.deep.equal([[end, ...one, end, ...two, end]])
    expect([joined.count, joined.documents.words[0]]).to.deep.equal([2, 6])
    expect(joined.tokens).to.equal(masked.tokens)

    const first = await languageDocuments(documents, { tokenizer, window: 3, firstWindow: true })
    expect(sequences({ text: first.windows })).to.deep.equal([
      [end, ...one.slice(0, 3)],
      [end, ...two, end].slice(0, 4),
    ])
    const other = await languageDocuments(['one'], { tokenizer, separator: '<s>' })
    expect(other.windows.tokens[0]).to.equal(tokenizer.idOf('<s>'))
  })

  it('keeps the tokens of larger texts in a file, with the same windows and the same bits of training', async () => {
    const one = file('stored.txt', `${lines.slice(0, 60).join('\n')}\n`)
    const two = file('more.txt', `${lines.slice(60).join('\n')}\n`)
    for (const options of [{}, { masked: false }, { masked: false, window: 7 }, { window: 7, firstWindow: true }]) {
      const how = { tokenizer, window: 32, documents: 'line', ...options } as const
      const held = await languageText([one, two], how)
      const store = join(folder, 'a.tokens')
      const stored = await languageText([one, two], { ...how, store })
      const { file: of } = stored.windows as StoredText
      const [windows] = await of.read(Int32Array.from({ length: stored.samples }, (_, i) => i))
      expect(sequences({ text: windows })).to.deep.equal(sequences({ text: held.windows }), JSON.stringify(options))
      expect([stored.samples, stored.tokens]).to.deep.equal([held.samples, held.tokens])
    }
    const how = { tokenizer, window: 32, documents: 'line', store: join(folder, 'b.tokens') } as const
    const [held, stored] = [
      await languageText([one, two], { ...how, store: undefined }),
      await languageText([one, two], how),
    ]
    expect(stored.count).to.equal(undefined)
    const ends = []
    for (const text of [held, stored]) {
      using trainer = trainerOf()
      for await (const report of trainer.fit(text, { steps: 20, interval: 10, batchSize: 192, validation: text }))
        ends.push([report.trainLoss, report.validation?.loss])
      const error =
        text === stored && (await expectRefusal(() => trainer.perplexity(text), 'INVALID_ARGUMENT', 'stored'))
      if (error) expect(error.message).to.contain('Make it without store')
    }
    expect(ends.slice(2)).to.deep.equal(ends.slice(0, 2))
  })

  it('hides documents from each other, or does not', async () => {
    const documents = ['one two three', 'four five six']
    const others = ['nine nine nine', 'four five six']
    const losses = async (masked: boolean) => {
      using trainer = trainerOf()
      const all: number[] = []
      for (const texts of [documents, others, [documents[1]]]) {
        const text = await languageDocuments(texts, { tokenizer, window: 32, masked })
        const { loss } = await trainer.evaluate(text)
        all.push(loss * text.tokens)
      }
      return all
    }
    // What the second document adds is what it is alone, or depends on the first.
    const alone = async (text: string) => {
      using trainer = trainerOf()
      const only = await languageDocuments([text], { tokenizer, window: 32 })
      return (await trainer.evaluate(only)).loss * only.tokens
    }
    const [one, two, second] = await losses(true)
    expect(one - (await alone(documents[0]))).to.be.closeTo(second, 1e-4)
    expect(two - (await alone(others[0]))).to.be.closeTo(second, 1e-4)
    const [seen, seenToo, unseen] = await losses(false)
    expect(Math.abs(seen - (await alone(documents[0])) - unseen)).to.be.above(1e-3)
    expect(Math.abs(seenToo - (await alone(others[0])) - unseen)).to.be.above(1e-3)
  })

  it('refuses what cannot be', async () => {
    const make = (options: object) => languageDocuments(['one two'], { tokenizer, ...options } as never)
    for (const [what, options, message] of [
      ['no tokenizer', { tokenizer: {} }, 'Expected tokenizer to be made by'],
      ['a separator that is no token', { separator: '<eod>' }, "has as a token, got '<eod>'"],
      ['an empty window', { window: 0 }, 'window'],
      ['masks that are no flag', { masked: 1 }, 'masked to be true or false, got 1'],
      ['a misspelt option', { mask: true }, "'mask'"],
      ['first windows of all together', { masked: false, firstWindow: true }, 'Expected firstWindow, or masked: false'],
    ] as const) {
      const error = await expectRefusal(() => make(options), 'INVALID_ARGUMENT', what)
      expect(error.message).to.contain(message)
    }
    await expectRefusal(() => languageDocuments([], { tokenizer }), 'INVALID_ARGUMENT', 'no documents')
    const without = await trainTokenizer(lines, { vocabulary: 290, special: [] })
    const error = await expectRefusal(
      () => languageDocuments(['one'], { tokenizer: without }),
      'INVALID_ARGUMENT',
      'a tokenizer without separators',
    )
    expect(error.message).to.contain('Name one that it has: separator')
  })
})

describe('a language model', () => {
  let text: LanguageText
  before(async () => {
    tokenizer = await trainTokenizer(lines, { vocabulary: 300 })
    text = await languageDocuments(lines, { tokenizer, window: 32 })
  })
  const trained = { steps: 60, interval: 20, batchSize: 192 }

  it('learns to count, and goes on from a checkpoint to the same bits', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'hebb-language-'))
    const file = join(folder, 'run.safetensors')
    try {
      using whole = trainerOf()
      const reports: Epoch[] = []
      for await (const report of whole.fit(text, { ...trained, validation: text })) reports.push(report)
      expect(reports[2].validation?.loss).to.be.below(0.8)
      expect(reports[2].counted)
        .to.be.above(20 * 150)
        .and.at.most(20 * 192)
      expect(whole.run?.best).to.deep.equal({ figure: -(reports[2].validation?.loss as number), step: 60 })
      {
        using begun = trainerOf()
        for await (const _ of begun.fit(text, { ...trained, validation: text, checkpoint: { file, everySteps: 7 } }))
          break
      }
      using later = await Trainer.load(file, { device: { kind: 'cpu', threads: 2 } })
      for await (const _ of later.resume(text, { validation: text })) {
      }
      const values = async ({ model }: Trainer) => Promise.all(model.parameters.map((p) => p.values.read()))
      expectSameBits(await values(later), await values(whole), 'parameters')
      await later.save(file)
      using found = await load(file)
      expect((await found.evaluate(text)).loss).to.be.closeTo(reports[2].validation?.loss as number, 1e-6)
      const other = await languageDocuments(lines, { tokenizer, window: 32, separator: '<s>' })
      const error = await expectRefusal(() => found.evaluate(other), 'INVALID_ARGUMENT', 'another separator')
      expect(error.message).to.contain("trained with, '</s>', got '<s>'")
    } finally {
      rmSync(folder, { recursive: true })
    }
  }).timeout(60_000)

  it('is refused what it cannot take, each with its own reason', async () => {
    const begin = async (model: Sequential, data: object = text) => {
      using trainer = trainerOf(model)
      await trainer.fit(data as LanguageText, { steps: 1 }).next()
    }
    const { size: words } = tokenizer
    const narrow = () => {
      const { embedding, layers } = small().modules[0] as Llama
      return new Sequential({ embedding, layers, head: new Linear({ inFeatures: 32, outFeatures: words - 1 }) })
    }
    const shape = { features: 32, hidden: 32, heads: 4 }
    const translator = { sourceWords: words, targetWords: words, encoderLayers: 1, decoderLayers: 1 }
    for (const [what, model, message] of [
      [
        'windows of more tokens than places',
        small({ places: 31 }),
        'Expected windows of at most 31 tokens, the places',
      ],
      ['a vocabulary above the embedding', small({ words: words - 1 }), `at most ${words - 1} tokens, the words of`],
      ['a vocabulary above the head', narrow(), `at most ${words - 1} tokens, the scores that`],
      ['a model for samples', mlp({ widths: [4, 4, 2], density: 0.5 }), 'begins with an Embedding'],
      ['a translator', transformer({ ...shape, ...translator }), 'one that translates'],
    ] as const) {
      const error = await expectRefusal(() => begin(model), 'INVALID_ARGUMENT', what)
      expect(error.message).to.contain(message)
    }
    const pairs = await parallelLines(['one'], ['two'], { tokenizer })
    await expectRefusal(() => begin(small(), pairs), 'INVALID_ARGUMENT', 'pairs of sentences')
  })
})
