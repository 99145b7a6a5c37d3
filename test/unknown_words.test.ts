/** What translators attend to, and the words that stand in place of unknown tokens: names, which no vocabulary has. */
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { adam, crossEntropy, dense, load, type Predictor, Trainer, transformer } from '../lib/index.js'
import { parallelLines, Tokenizer, trainTokenizer } from '../lib/text/index.js'
import { main } from './programs.js'
import { cpu, expectRefusal, random } from './support.js'

const WORDS = ['one two three four five six', 'eins zwei drei vier acht elf'].map((words) => words.split(' '))
const NAMES = ['Ada', 'Bo', 'Cleo', 'Dan', 'Eve', 'Finn', 'Gus']

/** A word is a token, as in the vocabularies of old. */
const wordLevel = (words: readonly string[], normalizer: object | null = null) =>
  Tokenizer.from({
    version: '1.0',
    ...{ truncation: null, padding: null, added_tokens: [], normalizer, pre_tokenizer: { type: 'WhitespaceSplit' } },
    ...{ post_processor: null, decoder: null },
    model: {
      ...{ type: 'WordLevel', unk_token: '<unk>' },
      vocab: Object.fromEntries(['<pad>', '<s>', '</s>', '<unk>', ...words].map((word, id) => [word, id])),
    },
  })

describe('unknown words', function () {
  this.timeout(120_000)
  let folder: string
  let predictor: Predictor
  const tokenizer = { source: wordLevel(WORDS[0]), target: wordLevel(WORDS[1]) }
  const next = random(4)
  const draw = (count: number) => Math.floor(next() * count)
  const pairs = Array.from({ length: 120 }, () => {
    const words = Array.from({ length: 2 + draw(3) }, () => draw(6))
    const [at, name] = [draw(words.length), NAMES[draw(NAMES.length)]]
    const spelt = (language: string[]) => words.map((n, i) => (i === at ? name : language[n])).join(' ')
    return WORDS.map(spelt) as [string, string]
  })
  const [sources, targets] = [0, 1].map((i) => pairs.map((pair) => pair[i]))

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'hebb-unknown-'))
    const text = await parallelLines(sources, targets, { tokenizer })
    const model = transformer({
      ...{ sourceWords: tokenizer.source.size, targetWords: tokenizer.target.size, features: 32, hidden: 64, heads: 4 },
      ...{ encoderLayers: 1, decoderLayers: 1 },
    })
    using trainer = new Trainer(model, {
      optimizer: adam({ learningRate: 0.003 }),
      dst: dense(),
      loss: crossEntropy({ paddingClass: 0 }),
      device: cpu(),
    })
    for await (const _ of trainer.fit(text, { steps: 400, interval: 400, batchSize: 256 }));
    await trainer.save(join(folder, 'm'))
    predictor = await load(join(folder, 'm'), { device: cpu() })
  })
  after(() => {
    predictor.dispose()
    rmSync(folder, { recursive: true })
  })

  it('become the words of the source that the decoder attends to', async () => {
    const lines = sources.slice(0, 60)
    const plain = await predictor.translate(lines)
    for (const line of plain) expect(line).to.match(/<unk>/)
    const replaced = await predictor.translate(lines, { replaceUnk: true })
    const maps = await predictor.crossAttention(lines, plain)
    for (const [i, line] of replaced.entries()) {
      const { source, target, heads, weights, mean } = maps[i]
      expect(source).to.deep.equal(lines[i].split(' ').map((word) => (NAMES.includes(word) ? '<unk>' : word)))
      expect(target).to.deep.equal([...plain[i].split(' '), '</s>'])
      expect([heads, weights.length, mean.length]).to.deep.equal([
        4,
        4 * source.length * target.length,
        source.length * target.length,
      ])
      const words = plain[i].split(' ').map((word, row) => {
        const own = [...mean.subarray(row * source.length, (row + 1) * source.length)]
        expect(own.reduce((a, b) => a + b)).to.be.closeTo(1, 1e-6)
        return word === '<unk>' ? lines[i].split(' ')[own.indexOf(Math.max(...own))] : word
      })
      expect(line).to.equal(words.join(' '))
    }
    const right = replaced.filter((line, i) => line === targets[i]).length
    expect(right, 'translations with the right name').to.be.above(40)
    // Each hypothesis has its own.
    const several = await predictor.translations(lines.slice(0, 3), { beam: 3, nBest: 3, replaceUnk: true })
    for (const one of several) {
      expect(one).to.have.length(3)
      for (const { text } of one) expect(text).not.to.contain('<unk>')
    }
    expect(await predictor.translate(['', 'one'], { replaceUnk: true })).to.deep.equal(
      await predictor.translate(['', 'one']),
    )
    await expectRefusal(() => predictor.translate(lines, { replaceUnk: 1 } as never), 'INVALID_ARGUMENT', 'a number')
    await expectRefusal(() => predictor.crossAttention(['one'], []), 'INVALID_ARGUMENT', 'no target')
    const long = Array(1025).fill('one').join(' ')
    for (const pair of [
      [[long], ['eins']],
      [['one'], [long]],
    ] as [string[], string[]][]) {
      const error = await expectRefusal(() => predictor.crossAttention(...pair), 'INVALID_ARGUMENT', 'too long')
      expect(error.message).to.match(/at most 102[43] tokens, as the model takes, got 1025 in line 1/)
    }
  })

  it('do so on the command line', async () => {
    const translated = (...flags: string[]): Promise<string> =>
      new Promise((done) => {
        const child = spawn(process.execPath, [main, 'translate', join(folder, 'm'), '--device', 'cpu', ...flags])
        let out = ''
        child.stdout.on('data', (data) => {
          out += data
        })
        child.on('close', () => done(out))
        child.stdin.end(`${sources.slice(0, 5).join('\n')}\n`)
      })
    expect(await translated()).to.contain('<unk>')
    const lines = await predictor.translate(sources.slice(0, 5), { replaceUnk: true })
    expect(await translated('--replace-unk')).to.equal(`${lines.join('\n')}\n`)
  })

  it('are none where the tokenizer spells everything', async () => {
    const spelling = await trainTokenizer(['one two', 'eins zwei'], { vocabulary: 270 })
    expect(spelling.unknown).to.equal(undefined)
    const text = await parallelLines(['one', 'two'], ['eins', 'zwei'], { tokenizer: spelling })
    const model = transformer({
      ...{ sourceWords: spelling.size, targetWords: spelling.size, features: 8, hidden: 8, heads: 2 },
      ...{ encoderLayers: 1, decoderLayers: 1 },
    })
    using trainer = new Trainer(model, { optimizer: adam(), dst: dense(), device: cpu() })
    for await (const _ of trainer.fit(text, { steps: 5, batchSize: 64 }));
    const lines = ['one two', 'Zoë']
    expect(await trainer.translate(lines, { replaceUnk: true })).to.deep.equal(await trainer.translate(lines))
    const [{ source, target }] = await trainer.crossAttention(['one Zoë'], ['eins'])
    expect(source[0]).to.equal('one')
    expect(target.at(-1)).to.equal('</s>')
  })
})
