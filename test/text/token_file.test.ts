import { appendFileSync, mkdtempSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { adam, chts, type Epoch, Trainer, transformer, updateSchedule } from '../../lib/index.js'
import { lengthsOf, type TokenizedText } from '../../lib/text/dataset.js'
import { parallelLines, parallelText, type StoredText, type Tokenizer, trainTokenizer } from '../../lib/text/index.js'
import { tokenFile } from '../../lib/text/token_file.js'
import { cpu, expectSameBits, random, sanitized } from '../support.js'
import { refuses } from './refuses.js'

const WORDS = 'one two three four five six seven eight'.split(' ')
let folder: string
let tokenizer: Tokenizer
const lines = (count: number, seed: number): string[] => {
  const next = random(seed)
  return Array.from({ length: count }, () =>
    Array.from({ length: 1 + Math.floor(9 * next()) }, () => WORDS[Math.floor(8 * next())]).join(' '),
  )
}
/** Names of two files with these lines. */
function filesOf(sources: readonly string[], targets: readonly string[]): [string, string] {
  const names = ['train.en', 'train.de'].map((name) => join(folder, name)) as [string, string]
  writeFileSync(names[0], `${sources.join('\n')}\n`)
  writeFileSync(names[1], `${targets.join('\n')}\n`)
  return names
}

describe('a text whose tokens are in a file', function () {
  this.timeout(sanitized ? 600_000 : 60_000)

  before(async () => {
    tokenizer = await trainTokenizer(WORDS, { vocabulary: 270 })
  })
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'hebb-store-'))
  })
  afterEach(() => rmSync(folder, { recursive: true }))

  it('has the tokens that it has in memory, in any order', async () => {
    const files = filesOf(['', ...lines(999, 1)], [...lines(999, 2), ''])
    const there = await parallelText(...files, { tokenizer })
    const store = join(folder, 'train.tokens')
    const stored = await parallelText(...files, { tokenizer, store })
    expect(stored.lengths).to.deep.equal(there.lengths)
    const next = random(3)
    for (const numbers of [
      [],
      [0],
      [999],
      [999, 0, 999],
      Array.from({ length: 500 }, () => Math.floor(1000 * next())),
    ]) {
      const texts = await (stored.source as StoredText).file.read(Int32Array.from(numbers))
      for (const [part, { tokens, starts }] of texts.entries()) {
        const whole = [there.source, there.target][part] as TokenizedText
        const expected = numbers.map((n) => [...whole.tokens.subarray(whole.starts[n], whole.starts[n + 1])])
        expect(starts.length).to.equal(numbers.length + 1)
        expect(expected.map((_, i) => [...tokens.subarray(starts[i], starts[i + 1])])).to.deep.equal(expected)
      }
    }
  })

  it('keeps tokens above 65,535 in 4 bytes', async () => {
    const wide = { size: 70_000, toJSON: () => ({}) } as unknown as Tokenizer
    const tuples = [
      [[69_999, 0], []],
      [[], [65_536]],
    ]
    for (const size of [70_000, 65_536]) {
      const file = join(folder, `${size}`)
      const texts = size > 65_536 ? tuples : tuples.map((tuple) => tuple.map((all) => all.map((n) => n % 65_536)))
      const made = await tokenFile({
        ...{ file, files: [], tokenizers: [{ ...wide, size } as Tokenizer, { ...wide, size } as Tokenizer] },
        tuples: async function* () {
          yield* texts
        },
      })
      expect(statSync(file).size).to.equal(4096 + 3 * (size > 65_536 ? 4 : 2) + 4 * 4)
      const [one, other] = (await made.read(Int32Array.of(1, 0))) as [TokenizedText, TokenizedText]
      expect([...one.tokens, ...other.tokens]).to.deep.equal([...texts[0][0], ...texts[1][1]])
    }
  })

  it('is made once, and again where a text or a tokenizer is another', async () => {
    const files = filesOf(lines(50, 1), lines(50, 2))
    const store = join(folder, 'train.tokens')
    const make = async (own = tokenizer) => {
      const { pairs } = await parallelText(...files, { tokenizer: own, store })
      return { pairs, file: statSync(store).ino }
    }
    const first = await make()
    expect(await make()).to.deep.equal(first)
    const other = await make(await trainTokenizer(WORDS, { vocabulary: 265 }))
    expect(other.file).to.not.equal(first.file)
    for (const file of files) appendFileSync(file, 'two two\n')
    expect((await make()).pairs).to.equal(51)
    const before = (await make()).file
    utimesSync(files[0], 1, 1)
    expect((await make()).file).to.not.equal(before)
  })

  it('trains and evaluates to the same bits as from memory, after a stop, too', async () => {
    // Of batches of 20,000 tokens three are on the device at once, of 2,048 in an evaluation 32.
    const files = filesOf(lines(12_000, 4), lines(12_000, 5))
    const there = await parallelText(...files, { tokenizer })
    const stored = await parallelText(...files, { tokenizer, store: join(folder, 'train.tokens') })
    const options = { steps: 17, interval: 6, batchSize: 20_000, packed: true }
    const trainer = () =>
      new Trainer(
        transformer({
          ...{ sourceWords: tokenizer.size, targetWords: tokenizer.size, features: 8, hidden: 8, heads: 1 },
          ...{ encoderLayers: 1, decoderLayers: 1, density: 0.5, dropout: 0.1 },
        }),
        {
          optimizer: adam({ learningRate: 0.01 }),
          dst: chts({ updates: updateSchedule({ every: 4, fraction: 0.3 }) }),
          device: cpu(),
        },
      )
    const figures = ({ trainLoss, validation, dropped }: Epoch) => ({ trainLoss, validation, dropped })
    const all = async (epochs: AsyncIterable<Epoch>) => {
      const reports = []
      for await (const epoch of epochs) reports.push(figures(epoch))
      return reports
    }
    const stateOf = ({ model }: Trainer) =>
      Promise.all(model.parameters.flatMap(({ arrays }) => arrays).map((tensor) => tensor.read()))
    using expected = trainer()
    const reports = await all(expected.fit(there, { ...options, validation: there }))
    expect(Math.floor(lengthsOf(there.target, 1).reduce((sum, n) => sum + n) / 20_000), 'steps a pass').to.be.above(4)

    const file = join(folder, 'run.safetensors')
    using stopped = trainer()
    const controller = new AbortController()
    const before: unknown[] = []
    try {
      for await (const epoch of stopped.fit(stored, {
        ...{ ...options, validation: stored, signal: controller.signal },
        onProgress: ({ epoch, step }) => epoch === 2 && step >= 2 && controller.abort(),
      }))
        before.push(figures(epoch))
    } catch (error) {
      expect((error as { code: string }).code).to.equal('ABORTED')
    }
    await stopped.save(file)
    expect(stopped.step).to.be.within(7, 16)
    using later = await Trainer.load(file, { device: cpu() })
    const after = await all(later.resume(stored, { validation: stored }))
    expect([...before, ...after]).to.deep.equal(reports)
    const [one, other] = [await stateOf(expected), await stateOf(later)]
    for (const [i, array] of one.entries()) expectSameBits(other[i] as Float32Array, array, `array ${i}`)
    expect(later.memory().parts.data, 'however long the text').to.be.below(4 * 2 ** 20)
    // Of another text, though of as many pairs.
    const others = await parallelText(files[1], files[0], { tokenizer, store: join(folder, 'others.tokens') })
    await stopped.save(file)
    using third = await Trainer.load(file, { device: cpu() })
    await refuses(() => all(third.resume(others)), /other/, 'INVALID_ARGUMENT')
  })

  it('refuses what is no file of tokens, and one that is not what it was', async () => {
    const files = filesOf(lines(50, 1), lines(50, 2))
    const store = join(folder, 'train.tokens')
    await refuses(() => parallelText(...files, { tokenizer, store: '' }), /store to be the name/, 'INVALID_ARGUMENT')
    await refuses(
      () => parallelText(...files, { tokenizer, store: join(folder, 'none', 'train.tokens') }),
      /no such folder/,
      'CANNOT_WRITE',
    )
    writeFileSync(store, 'my letters')
    await refuses(() => parallelText(...files, { tokenizer, store }), /not a file of tokens/, 'CANNOT_WRITE')
    expect(readFileSync(store, 'utf8')).to.equal('my letters')
    rmSync(store)
    await refuses(
      () => parallelText(join(folder, 'none.en'), files[1], { tokenizer, store }),
      /none\.en/,
      'MISSING_FILE',
    )
    // A bad line leaves nothing behind.
    writeFileSync(files[0], Buffer.of(0xff, 0x0a))
    await refuses(() => parallelText(...files, { tokenizer, store }), /UTF-8/, 'BAD_FILE')
    expect(() => statSync(store)).to.throw('ENOENT')
    filesOf(lines(50, 1), lines(50, 2))
    const { file } = (await parallelText(...files, { tokenizer, store })).source as StoredText
    const bytes = readFileSync(store)
    const read = () => file.read(Int32Array.of(0, 49))
    for (const [changed, code] of [
      [bytes.subarray(0, bytes.length / 4), 'BAD_FILE'],
      [Buffer.alloc(0), 'BAD_FILE'],
      [Buffer.from(bytes).fill(0xff, 4096, 4100), 'BAD_FILE'],
      [
        Buffer.from(bytes).fill('0', bytes.indexOf('"checksum":"') + 12, bytes.indexOf('"checksum":"') + 20),
        'BAD_FILE',
      ],
    ] as const) {
      writeFileSync(store, changed)
      await refuses(read, /hold the tokens/, code)
    }
    rmSync(store)
    await refuses(read, /train\.tokens/, 'MISSING_FILE')
    await parallelLines(['one'], ['two'], { tokenizer })
  })
})
