/** Training of tokenizers, against the Rust implementation and by hand. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import * as native from 'tokenizers'
import { Tokenizer, trainTokenizer } from '../../lib/text/index.js'
import { refuses } from './refuses.js'

const mergesOf = (tokenizer: Tokenizer) =>
  (tokenizer.toJSON() as any).model.merges.map((pair: string[]) => pair.join(' ')) as string[]

let state = 7
const random = (below: number) => {
  state = (state * 1103515245 + 12345) % 2 ** 31
  return Math.floor((state / 2 ** 31) * below)
}
const made = (lines: number, letters: string, longest: number) =>
  Array.from({ length: lines }, () =>
    Array.from({ length: 6 }, () =>
      Array.from({ length: 1 + random(longest) }, () => letters[random(letters.length)]).join(''),
    ).join(' '),
  )

describe('training of tokenizers', () => {
  let scratch: string
  before(async () => {
    scratch = await mkdtemp(join(tmpdir(), 'hebb-text-'))
  })
  after(() => rm(scratch, { recursive: true }))

  /** The merges of the Rust implementation, up to those of a vocabulary of 30,000. */
  async function merges(lines: readonly string[]): Promise<string[]> {
    const [text, saved] = [join(scratch, 'text'), join(scratch, 'tokenizer.json')]
    await writeFile(text, lines.join('\n'))
    const tokenizer = new native.Tokenizer(native.BPE.empty())
    tokenizer.setPreTokenizer(native.byteLevelPreTokenizer(false, true))
    tokenizer.train([text])
    tokenizer.save(saved)
    return JSON.parse(await readFile(saved, 'utf8')).model.merges.map((pair: string[]) => pair.join(' '))
  }

  it('makes the merges of the Rust implementation, ties and runs of one letter too', async () => {
    const corpora = [
      ['aaaa aaaaaaa aaa', 'aaaaaaaaaaaaaaaaaaaaa ....... ....', 'abababab abab abba babba bbbbb bbbb'],
      ["Don't we'll 1234 it's 12.5% naïve", '日本語 日本 🚀🚀  two  spaces', 'straße Straßen, straßen'],
      ...[2, 3, 5].flatMap((letters) => [
        made(40, 'abcdé'.slice(0, letters), 9),
        made(20, 'a.bcd'.slice(0, letters), 14),
      ]),
    ]
    for (const lines of corpora) {
      const theirs = await merges(lines)
      const ours = mergesOf(await trainTokenizer(lines, { vocabulary: 4000 }))
      expect(ours.length).to.be.greaterThan(13)
      expect(ours).to.deep.equal(theirs)
      // Merges are greedy: fewer tokens are the first ones.
      expect(mergesOf(await trainTokenizer(lines, { vocabulary: 269, special: [] }))).to.deep.equal(theirs.slice(0, 13))
    }
  })

  it('merges the most frequent pair, and of equal ones the smaller', async () => {
    // 5 times 'l o' and 'o w', of which l is the smaller byte; then 3 times 'low e'; at last once 's t' and 'lowe s'.
    const tokenizer = await trainTokenizer(['low', 'low', 'lower', 'lower', 'lowest'])
    expect(mergesOf(tokenizer)).to.deep.equal(['l o', 'lo w', 'low e', 'lowe r', 's t', 'lowe st'])
    expect([...tokenizer.encode('lowest low')].map((id) => tokenizer.tokenOf(id))).to.deep.equal(['lowest', 'Ġ', 'low'])
    expect(tokenizer.size).to.equal(3 + 256 + 6)
  })

  it('numbers special tokens first, then bytes, then merges', async () => {
    const tokenizer = await trainTokenizer(['in in in'], { vocabulary: 260, special: ['<s>', '</s>'] })
    expect(['<s>', '</s>', '!', 'Ń', 'in', 'Ġin'].map((token) => tokenizer.idOf(token))).to.deep.equal([
      0, 1, 2, 257, 258, 259,
    ])
    expect([...tokenizer.encode('</s>in')]).to.deep.equal([1, 258])
    const usual = await trainTokenizer(['in'])
    expect([0, 1, 2].map((id) => usual.tokenOf(id))).to.deep.equal(['<pad>', '<s>', '</s>'])
  })

  it('gives a tokenizer.json that both implementations read, and that spells any text', async () => {
    const lines = made(30, 'abcdé', 8)
    const tokenizer = await trainTokenizer(lines, { vocabulary: 400 })
    const theirs = native.Tokenizer.fromString(JSON.stringify(tokenizer))
    const bits = () => String.fromCodePoint(...Array.from({ length: 12 }, () => random(0xd800)), 0x1f680 + random(64))
    for (const text of ['', ' ', '\ufeff\u0085 \u2028', '\r\n\t\0', ...lines, ...Array.from({ length: 100 }, bits)]) {
      const ids = tokenizer.encode(text)
      expect([...ids]).to.deep.equal((await theirs.encode(text)).getIds())
      expect(tokenizer.decode(ids)).to.equal(text)
    }
    expect(Tokenizer.from(tokenizer.toJSON()).toJSON()).to.deep.equal(tokenizer.toJSON())
  })

  it('gives the same for the same lines, from a list or one by one', async () => {
    const lines = made(30, 'abcd', 8)
    async function* oneByOne() {
      yield* lines
    }
    const whole = await trainTokenizer(lines, { vocabulary: 500 })
    expect((await trainTokenizer(oneByOne(), { vocabulary: 500 })).toJSON()).to.deep.equal(whole.toJSON())
    expect((await trainTokenizer(lines.toReversed(), { vocabulary: 500 })).toJSON()).to.deep.equal(whole.toJSON())
  })

  it('refuses what it cannot train on', async () => {
    await refuses(
      () => trainTokenizer('a line' as never),
      /lines to train on, as readLines\(\) gives them, got 'a line'/,
    )
    await refuses(() => trainTokenizer([5] as never), /lines to be strings, got 5/)
    await refuses(() => trainTokenizer(['', '']), /lines with text to train on, got none/)
    await refuses(() => trainTokenizer(['a'], { vocabulary: 258 }), /vocabulary .* between 259 and .*, got 258/)
    await refuses(() => trainTokenizer(['a'], { special: ['<s>', '<s>'] }), /different tokens, got/)
    await refuses(() => trainTokenizer(['a'], { special: ['PAD'] }), /no word, such as '<s>', got 'PAD'/)
    await refuses(() => trainTokenizer(['a'], { special: [''] }), /no word/)
    await refuses(() => trainTokenizer(['a'], { vocabulry: 500 } as never), /Did you mean 'vocabulary'/)
  })
})
