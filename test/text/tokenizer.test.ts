/** Tokenizers against the Rust implementation: golden files, and the native package on many variants of them. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import native from 'tokenizers'
import { Tokenizer } from '../../lib/text/index.js'
import { refuses } from './refuses.js'

const folder = fileURLToPath(new URL('../vectors/tokenizers/', import.meta.url))
const read = async (name: string) => JSON.parse(await readFile(join(folder, `${name}.json`), 'utf8'))
const golden: {
  probes: string[]
  encodings: Record<string, { ids: number[]; decoded: string }[]>
} = await read('encodings')
const [bytes, llama, unigram] = await Promise.all(['byte-level-bpe', 'llama-bpe', 'unigram'].map(read))

/** One of the golden files with other parts. */
function changed(base: any, parts: object, model: object = {}, added: object[] = []): any {
  const json = { ...structuredClone(base), ...parts }
  json.model = { ...json.model, ...model }
  const { vocab } = json.model
  const tokens: string[] = Array.isArray(vocab) ? vocab.map(([token]) => token) : Object.keys(vocab)
  let next = tokens.length
  for (const token of added as { content: string }[]) {
    const at = Array.isArray(vocab) ? tokens.indexOf(token.content) : (vocab[token.content] ?? -1)
    const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true }
    json.added_tokens.push({ id: at < 0 ? next++ : at, ...flags, ...token })
  }
  return json
}

// Texts of what is read differently in many places, put together at random, and the golden ones.
const atoms = [
  ...[
    'a',
    'b',
    'in',
    'the ',
    'The',
    ' ',
    '  ',
    '\t',
    '\n',
    '\r\n',
    '\u0085',
    '\ufeff',
    '\u00a0',
    '\u2028',
    '\u3000',
    '\f',
  ],
  ...[
    'é',
    'e\u0301',
    'ﬁ',
    '½',
    '²',
    'Ǆ',
    'Σ',
    'ΑΣ ',
    'İ',
    'ß',
    'ẞ',
    '日本',
    '🚀',
    '👩‍🔬',
    '\ufffd',
    '\u200d',
    '\0',
    '\u00ad',
    '한국',
  ],
  ...[
    '<s>',
    '</s>',
    '<unk>',
    '<pad>',
    '<mask>',
    '▁',
    '▁▁',
    'Ġ',
    '<0x41>',
    '##',
    '1',
    '23',
    '٣',
    'Ⅷ',
    "'s",
    "'S",
    "'ſ",
    "'LL",
  ],
  ...[
    '.',
    ',',
    '!',
    '_',
    '-',
    '…',
    '“',
    '$',
    '+',
    'x1',
    'Ein ',
    'spielt',
    '\u212a',
    'Ａ',
    '㍿',
    'क्',
    '\u{1F1E9}\u{1F1EA}',
  ],
]
let state = 1
const random = (below: number) => {
  state = (state * 1103515245 + 12345) % 2 ** 31
  return Math.floor((state / 2 ** 31) * below)
}
const mixed = Array.from({ length: 80 }, () =>
  Array.from({ length: 1 + random(10) }, () => atoms[random(atoms.length)]).join(''),
)

/** Both implementations, on all texts and on tokens at random. */
async function compare(json: any, name: string): Promise<void> {
  const [theirs, ours] = [native.Tokenizer.fromString(JSON.stringify(json)), Tokenizer.from(json)]
  for (const text of [...golden.probes, ...mixed]) {
    for (const special of [true, false]) {
      const ids = (await theirs.encode(text, null, { addSpecialTokens: special })).getIds()
      expect([...ours.encode(text, { special })], `${name}: ${JSON.stringify(text)}`).to.deep.equal(ids)
      for (const skipSpecial of [true, false])
        expect(ours.decode(ids, { skipSpecial }), `${name}: tokens of ${JSON.stringify(text)}`).to.equal(
          await theirs.decode(ids, skipSpecial),
        )
    }
  }
  for (let n = 0; n < 50; ++n) {
    const ids = Array.from({ length: random(8) }, () => random(ours.size))
    expect(ours.decode(ids), `${name}: ${ids.map((id) => ours.tokenOf(id)).join(' ')}`).to.equal(
      await theirs.decode(ids, false),
    )
  }
}

const behaviors = ['Isolated', 'Removed', 'MergedWithPrevious', 'MergedWithNext', 'Contiguous']
const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true }
const precededBy = (...parts: object[]) => ({
  pre_tokenizer: { type: 'Sequence', pretokenizers: [...parts, { ...byteLevel, use_regex: false }] },
})
const contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
const rest = ' ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+'
const patterns = {
  llama3: `${contractions}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|${rest}`,
  o200k:
    '[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+' +
    `${contractions}?|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*` +
    `${contractions}?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`,
  digit: '\\d',
  han: '[一-龥]+',
}
const metaspace = (scheme: string, split: boolean) => ({
  type: 'Metaspace',
  replacement: '▁',
  prepend_scheme: scheme,
  split,
})
const mark = (id: string) => ({ SpecialToken: { id, type_id: 0 } })
const text = { Sequence: { id: 'A', type_id: 0 } }
const template = (single: object[], tokens: Record<string, number[]>) => ({
  type: 'TemplateProcessing',
  single,
  pair: [],
  special_tokens: Object.fromEntries(
    Object.entries(tokens).map(([id, ids]) => [id, { id, ids, tokens: ids.map((n) => ['<unk>', '<s>', '</s>'][n]) }]),
  ),
})
const bare = {
  version: '1.0',
  truncation: null,
  padding: null,
  added_tokens: [],
  normalizer: null,
  post_processor: null,
}
const numbered = (tokens: string[]) => Object.fromEntries(tokens.map((token, id) => [token, id]))
const wordPiece = {
  type: 'WordPiece',
  unk_token: '[UNK]',
  continuing_subword_prefix: '##',
  max_input_chars_per_word: 6,
  vocab: numbered(['[UNK]', 'a', 'b', '##a', '##b', 'in', '##in', 'the', '1', '##1', '.', 'é', '日', '##本', 'ab']),
}
const byteTokens = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`)

/**
 * A table of replacements as SentencePiece compiles it. Each node of the trie has a block of 256 units for its
 * children, of which the one of byte 0 says where its replacement begins.
 */
function charsmap(replacements: Record<string, string>): string {
  const children: Map<number, number>[] = [new Map()]
  const replaced = new Map<number, number>()
  const texts: Buffer[] = []
  for (const [from, to] of Object.entries(replacements)) {
    let node = 0
    for (const byte of Buffer.from(from)) {
      const next = children[node].get(byte) ?? children.push(new Map()) - 1
      children[node].set(byte, next)
      node = next
    }
    replaced.set(node, Buffer.concat(texts).length)
    texts.push(Buffer.from(`${to}\0`))
  }
  // The root's unit is the first of all; blocks begin behind it. Every other node has a long
  // offset, of which the lower 8 bits are 0 and left out.
  const units = new Uint32Array(256 * (children.length + 1))
  const starts = [256]
  const way = (at: number, node: number) => {
    const start = 256 * (node + 1)
    starts[node] = node % 2 ? start | (at & 0xff) : start
    return node % 2 ? ((at ^ starts[node]) << 2) | 0x200 : (at ^ start) << 10
  }
  units[0] = way(0, 0)
  for (const [node, bytes] of children.entries())
    for (const [byte, child] of bytes) {
      const at = starts[node] ^ byte
      units[at] = way(at, child) | (replaced.has(child) ? 0x100 : 0) | byte
      if (replaced.has(child)) units[starts[child]] = (replaced.get(child)! | 0x80000000) >>> 0
    }
  const size = Buffer.alloc(4)
  size.writeUInt32LE(units.byteLength)
  return Buffer.concat([size, Buffer.from(units.buffer), ...texts]).toString('base64')
}

const table = charsmap({
  ...{
    ﬁ: 'fi',
    'e\u0301': 'é',
    e: 'ee',
    '\u0301': "'",
    '½': '1⁄2',
    '\u00a0': ' ',
    '\u3000': ' ',
    '\u200d': '',
    Ａ: 'A',
  },
  ...{
    日: '月',
    '👩': 'woman',
    '\r': '',
    '\t': ' ',
    in: 'IN',
    ß: 'ss',
    '\u{1F1E9}': 'D',
    क: 'ka',
    Ǆ: 'DŽ',
    '\ufeff': '',
  },
})

const variants: Record<string, () => Record<string, any>> = {
  'what is done to a text first': () => {
    const all: Record<string, any> = {
      replaceRegex: { type: 'Replace', pattern: { Regex: '\\s+' }, content: ' $& ' },
      replaceString: { type: 'Replace', pattern: { String: 'a.' }, content: '$1' },
      prepend: { type: 'Prepend', prepend: 'x' },
      several: { type: 'Sequence', normalizers: [{ type: 'NFD' }, { type: 'StripAccents' }, { type: 'Lowercase' }] },
      stripLeft: { type: 'Strip', strip_left: true, strip_right: false },
      stripRight: { type: 'Strip', strip_left: false, strip_right: true },
    }
    for (const type of ['NFC', 'NFD', 'NFKC', 'NFKD', 'Lowercase', 'StripAccents']) all[type] = { type }
    all.table = { type: 'Precompiled', precompiled_charsmap: table }
    return Object.fromEntries(Object.entries(all).map(([name, normalizer]) => [name, changed(bytes, { normalizer })]))
  },
  'how a text is cut into words': () => {
    const all: Record<string, object> = {
      prefix: { pre_tokenizer: { ...byteLevel, add_prefix_space: true } },
      whole: { pre_tokenizer: { ...byteLevel, use_regex: false } },
      first: { pre_tokenizer: { type: 'Sequence', pretokenizers: [metaspace('first', true), byteLevel] } },
    }
    for (const type of ['Whitespace', 'WhitespaceSplit', 'BertPreTokenizer']) all[type] = precededBy({ type })
    for (const individual_digits of [true, false])
      all[`digits ${individual_digits}`] = precededBy({ type: 'Digits', individual_digits })
    for (const behavior of behaviors) {
      all[`punctuation ${behavior}`] = precededBy({ type: 'Punctuation', behavior })
      all[`spaces ${behavior}`] = precededBy({ type: 'Split', pattern: { String: ' ' }, behavior, invert: false })
      for (const [name, Regex] of Object.entries(patterns))
        for (const invert of [true, false])
          all[`${name} ${behavior} ${invert}`] = precededBy({ type: 'Split', pattern: { Regex }, behavior, invert })
    }
    return Object.fromEntries(Object.entries(all).map(([name, parts]) => [name, changed(bytes, parts)]))
  },
  metaspaces: () => {
    const all: Record<string, any> = {}
    for (const scheme of ['always', 'first', 'never'])
      for (const split of [true, false])
        for (const normalizer of [null, { type: 'NFKC' }]) {
          const both = { pre_tokenizer: metaspace(scheme, split), decoder: metaspace(scheme, split) }
          const added = [{ content: 'the', special: false, normalized: true }]
          all[`${scheme} ${split} ${normalizer?.type}`] = changed(unigram, { normalizer, ...both }, {}, added)
        }
    for (const scheme of ['always', 'first']) {
      const pretokenizers = [{ type: 'WhitespaceSplit' }, metaspace(scheme, true)]
      all[`words ${scheme}`] = changed(unigram, { pre_tokenizer: { type: 'Sequence', pretokenizers } })
    }
    // T5's, of older files.
    const old = { type: 'Metaspace', replacement: '▁', add_prefix_space: true }
    all.t5 = changed(unigram, {
      normalizer: { type: 'Precompiled', precompiled_charsmap: table },
      pre_tokenizer: { type: 'Sequence', pretokenizers: [{ type: 'WhitespaceSplit' }, old] },
      decoder: old,
    })
    all.llama = changed(llama, { normalizer: null, pre_tokenizer: metaspace('first', false) })
    return all
  },
  'unknown words': () => ({
    'unigram, no words': changed(unigram, { pre_tokenizer: null }),
    'unigram, words': changed(unigram, { pre_tokenizer: { type: 'WhitespaceSplit' } }),
    'unigram, no bytes': changed(unigram, {}, { byte_fallback: true }),
    'unigram, bytes': changed(
      unigram,
      {},
      { byte_fallback: true, vocab: [...unigram.model.vocab, ...byteTokens.map((token) => [token, -20])] },
    ),
    fused: changed(llama, {}, { byte_fallback: false }),
    single: changed(llama, {}, { byte_fallback: false, fuse_unk: false }),
    'fused in words': changed(llama, { pre_tokenizer: { type: 'WhitespaceSplit' } }, { byte_fallback: false }),
    'single in words': changed(
      llama,
      { pre_tokenizer: { type: 'Whitespace' } },
      { byte_fallback: false, fuse_unk: false },
    ),
    'whole words first': changed(bytes, {}, { ignore_merges: true }),
    ...Object.fromEntries(
      ['Whitespace', 'WhitespaceSplit', 'BertPreTokenizer'].flatMap((type) => [
        [
          `pieces, ${type}`,
          {
            ...bare,
            pre_tokenizer: { type },
            decoder: { type: 'WordPiece', prefix: '##', cleanup: false },
            model: wordPiece,
          },
        ],
        [
          `words, ${type}`,
          {
            ...bare,
            pre_tokenizer: { type },
            decoder: null,
            model: {
              type: 'WordLevel',
              unk_token: '[UNK]',
              vocab: numbered(['[UNK]', 'the', 'a', '.', 'constructor']),
            },
          },
        ],
      ]),
    ),
  }),
  'added tokens': () => ({
    several: changed(bytes, {}, {}, [
      { content: '<mask>', lstrip: true },
      { content: 'the', special: false, normalized: true },
      { content: 'ein', single_word: true, special: false },
      { content: ' . ', rstrip: true, special: false },
      { content: '日本', special: false },
      { content: '_-/$^a' },
      { content: '🚀', rstrip: true, lstrip: true },
    ]),
    normalized: changed(bytes, { normalizer: { type: 'Lowercase' } }, {}, [
      { content: 'the', special: false, normalized: true },
      { content: 'ein', normalized: true, single_word: true },
      { content: 'EIN' },
    ]),
  }),
  'what stands around a text': () => ({
    template: changed(llama, {
      post_processor: template([mark('<s>'), text, mark('</s>')], { '<s>': [1], '</s>': [2] }),
    }),
    several: changed(llama, { post_processor: template([mark('<q>'), text], { '<q>': [1, 2] }) }),
    bert: changed(llama, { post_processor: { type: 'BertProcessing', sep: ['</s>', 2], cls: ['<s>', 1] } }),
    roberta: changed(llama, {
      post_processor: {
        ...{ type: 'RobertaProcessing', sep: ['</s>', 2], cls: ['<s>', 1] },
        ...{ trim_offsets: true, add_prefix_space: true },
      },
    }),
    sequence: changed(llama, {
      post_processor: { type: 'Sequence', processors: [byteLevel, template([mark('<s>'), text], { '<s>': [1] })] },
    }),
  }),
  decoders: () => ({
    always: changed(llama, { decoder: metaspace('always', true) }),
    never: changed(llama, { decoder: metaspace('never', true) }),
    none: changed(llama, { decoder: null }),
    pieces: changed(llama, { decoder: { type: 'WordPiece', prefix: '▁', cleanup: false } }),
    regex: changed(llama, { decoder: { type: 'Replace', pattern: { Regex: '[▁ab]+' }, content: '-' } }),
    strip: changed(llama, {
      decoder: {
        type: 'Sequence',
        decoders: [
          { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
          { type: 'Fuse' },
          { type: 'Strip', content: ' ', start: 2, stop: 0 },
        ],
      },
    }),
  }),
}

describe('tokenizers', () => {
  it('give the tokens and the texts of the golden files', () => {
    for (const [name, json] of Object.entries({ 'byte-level-bpe': bytes, 'llama-bpe': llama, unigram })) {
      const tokenizer = Tokenizer.from(json)
      for (const [i, { ids, decoded }] of (golden.encodings[name] ?? []).entries()) {
        expect([...tokenizer.encode(golden.probes[i])], `${name}: ${golden.probes[i]}`).to.deep.equal(ids)
        expect(tokenizer.decode(ids, { skipSpecial: true }), `${name}: ${golden.probes[i]}`).to.equal(decoded)
      }
    }
  })

  for (const [what, make] of Object.entries(variants))
    it(`do what the Rust implementation does: ${what}`, async () => {
      for (const [name, json] of Object.entries(make())) await compare(json, name)
    })

  it('refuse by its name what is not known to be the same', async () => {
    const refused: [any, RegExp][] = [
      [changed(bytes, { truncation: { max_length: 4 } }), /truncation .* to be null.*write null/],
      [changed(bytes, { padding: {} }), /padding .* to be null/],
      [changed(bytes, { extra: 1 }), /without 'extra'/],
      [changed(bytes, { normalizer: { type: 'BertNormalizer' } }), /known type for the contents.normalizer.*'BertNorm/],
      [changed(bytes, { normalizer: { type: 'NFC', option: 1 } }), /normalizer .* without 'option'/],
      [changed(bytes, { decoder: { type: 'CTC' } }), /known type for the contents.decoder.*'CTC'/],
      [changed(bytes, { decoder: { type: 'WordPiece', prefix: '##', cleanup: true } }), /without cleanup true/],
      [changed(bytes, {}, { dropout: 0.1 }), /without dropout 0.1/],
      [changed(bytes, {}, { end_of_word_suffix: '</w>' }), /without end_of_word_suffix '<\/w>'/],
      [changed(bytes, {}, { continuing_subword_prefix: '##' }), /without continuing_subword_prefix/],
      [changed(llama, {}, { byte_fallback: false, unk_token: null }), /to have an unk_token, or a token for each byte/],
      [
        changed(bytes, precededBy({ type: 'Split', pattern: { Regex: 'a++' }, behavior: 'Isolated' })),
        /plain.*'a\+\+'/,
      ],
      [
        changed(bytes, precededBy({ type: 'Split', pattern: { Regex: '(?>a)' }, behavior: 'Isolated' })),
        /plain pattern/,
      ],
      [
        changed(bytes, precededBy({ type: 'Split', pattern: { Regex: '\\bin' }, behavior: 'Isolated' })),
        /plain pattern/,
      ],
      [
        changed(llama, {}, {}, [{ content: 'x', normalized: true }]),
        /'x' .* left as it is .* '▁x'. Write normalized: f/,
      ],
      [{ ...bytes, added_tokens: [{ id: 4711, content: 'new' }] }, /'new' .* to have number 600, got 4711/],
      [changed(bytes, {}, {}, [{ content: 'é' }]), /cannot be bytes, got 'é'/],
      [
        changed(unigram, {
          normalizer: { type: 'Strip', strip_left: true, strip_right: true },
          pre_tokenizer: metaspace('first', true),
        }),
        /without prepend_scheme 'first' after a normalizer/,
      ],
    ]
    for (const [json, message] of refused) await refuses(() => Tokenizer.from(json), message, 'UNSUPPORTED')
  })

  it('refuse a damaged file', async () => {
    const scratch = await mkdtemp(join(tmpdir(), 'hebb-text-'))
    const file = join(scratch, 'tokenizer.json')
    await refuses(() => Tokenizer.from(file), /tokenizer.json at .*, got none/, 'MISSING_FILE')
    await writeFile(file, '{')
    await refuses(() => Tokenizer.from(file), /to be JSON.*Fetch it again/, 'BAD_FILE')
    await rm(scratch, { recursive: true })
    for (const [json, message] of [
      [[], /the contents of a tokenizer.json to be an object, got \[\]/],
      [changed(bytes, { normalizer: { type: 'Precompiled' } }), /precompiled_charsmap .* to be a string/],
      [changed(bytes, { normalizer: { type: 'Precompiled', precompiled_charsmap: 'AAAA' } }), /a table, got 3 bytes/],
      [{ ...bytes, model: null }, /model .* to be an object, got null/],
      [changed(bytes, {}, { vocab: { a: 1.5 } }), /number its tokens, got 1.5 for 'a'/],
      [changed(bytes, {}, { vocab: { a: 1, b: 1 } }), /number its tokens, got 1 for 'b'/],
      [changed(bytes, {}, { merges: [['i', 'nope']] }), /merges\[0\] .* a token of two, got \["i","nope"\]/],
      [changed(unigram, {}, { unk_id: null }), /unk_id .* got null/],
      [changed(unigram, {}, { unk_id: 10_000 }), /unk_id .* below/],
      [changed(llama, {}, { unk_token: 'none' }), /unk_token .* in the vocabulary/],
    ] as [any, RegExp][])
      await refuses(() => Tokenizer.from(json), message, 'BAD_FILE')
  })

  it('make the same tokenizer of what toJSON() gives', () => {
    const tokenizer = Tokenizer.from(join(folder, 'llama-bpe.json'))
    const again = Tokenizer.from(JSON.parse(JSON.stringify(tokenizer)))
    expect(again.toJSON()).to.deep.equal(llama)
    for (const probe of mixed) expect(again.encode(probe)).to.deep.equal(tokenizer.encode(probe))
  })

  it('number tokens, and refuse numbers of none', async () => {
    const tokenizer = Tokenizer.from(changed(bytes, {}, {}, [{ content: '<mask>' }]))
    expect([tokenizer.size, tokenizer.idOf('<mask>'), tokenizer.idOf('Ġa'), tokenizer.idOf('nope')]).to.deep.equal([
      601,
      600,
      260,
      undefined,
    ])
    expect([tokenizer.tokenOf(600), tokenizer.tokenOf(260)]).to.deep.equal(['<mask>', 'Ġa'])
    for (const id of [601, -1, 0.5, Number.NaN])
      for (const act of [
        () => tokenizer.tokenOf(id),
        () => tokenizer.decode([5, id]),
        () => tokenizer.decodeStream().push(id),
      ])
        await refuses(act, /number of a token, an integer below 601, got/)
    expect([tokenizer.encode('').length, tokenizer.decode([])]).to.deep.equal([0, ''])
    await refuses(() => tokenizer.encode(5 as never), /a text to encode, got 5/)
    await refuses(() => tokenizer.encode('', { specials: true } as never), /'specials'. Did you mean 'special'/)
    await refuses(() => tokenizer.decode([], { special: true } as never), /named skipSpecial, unknown, got 'special'/)
  })

  it('take whitespace for what Rust takes it for', () => {
    const tokenizer = Tokenizer.from(bytes)
    const words = (text: string) => [...tokenizer.encode(text)].map((id) => tokenizer.decode([id]))
    // U+FEFF is none, so a space may go before it; U+0085 is one, and does not begin a word.
    const spaceAnd = (text: string) => [...tokenizer.encode(` ${text}`)].length - [...tokenizer.encode(text)].length
    expect(spaceAnd('\ufeff')).to.equal(1)
    expect(words('a\u0085b').at(-1)).to.equal('b')
    expect(tokenizer.decode(tokenizer.encode('a\ufeff\u0085 b'))).to.equal('a\ufeff\u0085 b')
  })

  it("replace what SentencePiece's table replaces", () => {
    const tokenizer = Tokenizer.from(
      changed(bytes, { normalizer: { type: 'Precompiled', precompiled_charsmap: table } }),
    )
    const seen = (text: string) => tokenizer.decode(tokenizer.encode(text))
    expect(['ﬁ', 'a\u3000日本', 'x', '\r\n', 'ß½'].map(seen)).to.deep.equal(['fi', 'a 月本', 'x', '', 'ss1⁄2'])
  })

  it('take a literal </s> for the token, and parts of it for text', () => {
    const tokenizer = Tokenizer.from(llama)
    expect([...tokenizer.encode('</s><unk>', { special: false })]).to.deep.equal([2, 0])
    const close = tokenizer.encode('</s >')
    expect([...close].includes(2)).to.equal(false)
    expect(tokenizer.decode(close)).to.equal('</s >')
    expect(tokenizer.decode([2], { skipSpecial: true })).to.equal('')
  })

  it('keep composed and decomposed letters apart without a normalizer', () => {
    const tokenizer = Tokenizer.from(bytes)
    expect(tokenizer.encode('\u00e9')).not.to.deep.equal(tokenizer.encode('e\u0301'))
    expect(tokenizer.decode(tokenizer.encode('e\u0301'))).to.equal('e\u0301')
    const nfd = Tokenizer.from(changed(bytes, { normalizer: { type: 'NFD' } }))
    expect(nfd.encode('\u00e9')).to.deep.equal(nfd.encode('e\u0301'))
  })

  it('merge the leftmost of equal pairs, and the earlier of two merges', () => {
    const vocab = numbered(['a', 'b', 'c', 'aa', 'bc', 'ab', '?'])
    const merges = [
      ['a', 'a'],
      ['b', 'c'],
      ['a', 'b'],
    ]
    const model = { ...bytes.model, vocab, merges, unk_token: '?' }
    const tokenizer = Tokenizer.from({ ...bare, pre_tokenizer: null, decoder: null, model })
    const tokens = (text: string) => [...tokenizer.encode(text)].map((id) => tokenizer.tokenOf(id)).join(' ')
    expect(['aaa', 'aaab', 'abc', 'aabc', 'aaaaa'].map(tokens)).to.deep.equal([
      'aa a',
      'aa ab',
      'a bc',
      'aa bc',
      'aa aa a',
    ])
  })

  it('replace halves of surrogate pairs', () => {
    const tokenizer = Tokenizer.from(bytes)
    expect(tokenizer.encode('a\ud83db')).to.deep.equal(tokenizer.encode('a\ufffdb'))
  })

  describe('streams', () => {
    const streamed = (tokenizer: Tokenizer, ids: ArrayLike<number>, options = {}) => {
      const stream = tokenizer.decodeStream(options)
      return [...Array.from(ids, (id) => stream.push(id)), stream.end()]
    }

    it('give what decode() gives, bit by bit', () => {
      for (const json of [bytes, llama, unigram]) {
        const tokenizer = Tokenizer.from(json)
        for (const probe of [...golden.probes, ...mixed])
          for (const skipSpecial of [true, false]) {
            const ids = tokenizer.encode(probe)
            expect(streamed(tokenizer, ids, { skipSpecial }).join(''), JSON.stringify(probe)).to.equal(
              tokenizer.decode(ids, { skipSpecial }),
            )
          }
      }
    })

    it('wait for all tokens of an emoji', () => {
      for (const json of [bytes, llama]) {
        const tokenizer = Tokenizer.from(json)
        const parts = streamed(tokenizer, tokenizer.encode('a 🚀🚀 b'))
        expect(parts.filter((part) => part !== '')).to.deep.equal(['a', ' ', '🚀', '🚀', ' b'])
      }
    })

    it('leave out the first space alone', () => {
      const tokenizer = Tokenizer.from(llama)
      expect(streamed(tokenizer, tokenizer.encode('in in in'))).to.deep.equal(['in', ' in', ' in', ''])
    })

    it('end with U+FFFD where a character lacks tokens, and begin anew', () => {
      const tokenizer = Tokenizer.from(bytes)
      const ids = tokenizer.encode('🚀')
      const stream = tokenizer.decodeStream()
      expect([stream.push(ids[0]), stream.end(), stream.end()]).to.deep.equal(['', '\ufffd', ''])
      expect([...ids].map((id) => stream.push(id)).join('')).to.equal('🚀')
    })
  })

  it('tells the word of each token, and decodes with words in place of unknown tokens', () => {
    const deduped = (words: string[]) => words.filter((word, i) => word !== words[i - 1])
    const line = 'The quick brown fox jumps over zebras'
    for (const json of [bytes, llama, unigram]) {
      const tokenizer = Tokenizer.from(json)
      expect(deduped(tokenizer.words(line))).to.deep.equal(line.split(' '))
      for (const text of golden.probes)
        expect(tokenizer.words(text).length).to.equal(tokenizer.encode(text, { special: false }).length)
    }
    const one = Tokenizer.from(unigram)
    const unknown = one.unknown as number
    expect(one.tokenOf(unknown)).to.equal('<unk>')
    const strange = 'the \u{10ffff}\u{10ffff} fox'
    const ids = one.encode(strange, { special: false })
    expect([...ids]).to.include(unknown)
    expect(one.words(strange)[ids.indexOf(unknown)]).to.equal('\u{10ffff}\u{10ffff}')
    expect(one.decode(ids, { unknown: ['Zoë'] })).to.equal('the Zoë fox')
    expect(() => one.decode(ids, { unknown: [] })).to.throw('Expected a word for each unknown token, got 0')
    expect(Tokenizer.from(bytes).unknown).to.equal(undefined)
  })
})
