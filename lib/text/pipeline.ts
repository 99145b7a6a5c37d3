/**
 * The parts of a tokenizer.json as functions: normalizers, pre-tokenizers, models, post-processors and decoders. They
 * do what the Rust implementation does; what is not known to be the same, an option that nobody reads included, is
 * refused by its name. Models and the translation of regular expressions are those of @huggingface/tokenizers, the
 * rest is here: the package takes JavaScript's \s for Rust's, reads over options, and fuses unknown words across words.
 */
import * as huggingface from '@huggingface/tokenizers'
import { HebbError, show } from '../error.js'
import { precompiled } from './precompiled.js'

type ModelClass = new (config: object, eos?: string) => { encode(pieces: string[]): string[] }

/** The package's own declarations import files without their endings, which TypeScript does not find for Node. */
const { BPE, Unigram, WordPiece, SplitPreTokenizer } = huggingface as unknown as {
  readonly BPE: ModelClass
  readonly Unigram: ModelClass
  readonly WordPiece: ModelClass
  readonly SplitPreTokenizer: new (config: object) => { readonly pattern: RegExp | null }
}

/** What Rust calls whitespace. JavaScript's \s has U+FEFF besides, and lacks U+0085. */
const SPACE = '\\p{White_Space}'
const WORD = '\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}'
const PUNCTUATION = '\\p{P}!-/:-@\\[-`{-~'

/** Pieces of text that byte-level models never merge across: GPT-2's, with Rust's whitespace. */
export const wordsOfBytes = () =>
  new RegExp(
    `'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^${SPACE}\\p{L}\\p{N}]+|${SPACE}+(?!\\P{White_Space})|${SPACE}+`,
    'gu',
  )

/** The character that stands for each byte in a byte-level vocabulary: itself where it prints, else from U+0100 on. */
export const characterOfByte: readonly string[] = (() => {
  let next = 0x100
  const prints = (byte: number) => (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte !== 0xad)
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(prints(byte) ? byte : next++))
})()
const byteOfCharacter = new Map(characterOfByte.map((character, byte) => [character, byte]))

const utf8 = new TextEncoder()
const lossy = new TextDecoder('utf-8', { ignoreBOM: true })
const strict = new TextDecoder('utf-8', { ignoreBOM: true, fatal: true })

/** A text's bytes, a character each. */
export function inBytes(text: string): string {
  let out = ''
  for (const byte of utf8.encode(text)) out += characterOfByte[byte]
  return out
}

export function unsupported(message: string): HebbError {
  return new HebbError('UNSUPPORTED', `${message}. Convert the tokenizer, or take another one.`)
}

/** An object of a tokenizer.json. What is in it and nobody has asked for is refused by done(). */
export class Part {
  readonly where: string
  readonly #json: Record<string, unknown>
  readonly #asked = new Set<string>(['type'])

  constructor(json: unknown, where: string) {
    this.where = where
    if (typeof json !== 'object' || json === null || Array.isArray(json))
      throw new HebbError('BAD_FILE', `Expected ${where} of a tokenizer.json to be an object, got ${show(json)}`)
    this.#json = json as Record<string, unknown>
  }

  get type(): string {
    return this.text('type')
  }

  value(name: string): unknown {
    this.#asked.add(name)
    return this.#json[name]
  }

  bad(name: string, what: string): HebbError {
    return new HebbError(
      'BAD_FILE',
      `Expected ${this.where}.${name} of a tokenizer.json to be ${what}, got ${show(this.#json[name])}`,
    )
  }

  text(name: string, fallback?: string): string {
    const value = this.value(name) ?? fallback
    if (typeof value !== 'string') throw this.bad(name, 'a string')
    return value
  }

  flag(name: string, fallback?: boolean): boolean {
    const value = this.value(name) ?? fallback
    if (typeof value !== 'boolean') throw this.bad(name, 'true or false')
    return value
  }

  count(name: string, fallback?: number): number {
    const value = this.value(name) ?? fallback
    if (!Number.isInteger(value) || (value as number) < 0) throw this.bad(name, 'an integer of at least 0')
    return value as number
  }

  list(name: string): Part[] {
    const value = this.value(name)
    if (!Array.isArray(value)) throw this.bad(name, 'a list')
    return value.map((json, i) => new Part(json, `${this.where}.${name}[${i}]`))
  }

  part(name: string): Part | undefined {
    const value = this.value(name) ?? undefined
    return value === undefined ? undefined : new Part(value, `${this.where}.${name}`)
  }

  /** `name` must be missing, or one of `values`, as nothing else has been compared. */
  only(name: string, ...values: unknown[]): void {
    const value = this.value(name) ?? null
    if (value !== null && !values.includes(value))
      throw unsupported(`Expected ${this.where} of a tokenizer.json without ${name} ${show(value)}`)
  }

  /** For types that are not done here. */
  refused(): HebbError {
    return unsupported(`Expected a known type for ${this.where} of a tokenizer.json, got ${show(this.type)}`)
  }

  done(): void {
    for (const name of Object.keys(this.#json))
      if (!this.#asked.has(name))
        throw unsupported(`Expected ${this.where} of a tokenizer.json without ${show(name)}, which is not known`)
  }
}

/**
 * Regular expressions that Oniguruma and JavaScript read alike once they are translated. Not among them: possessive and
 * atomic groups, anchors, word boundaries, back-references, set operations.
 */
const tame = new RegExp(
  `^(?!.*&&)(?:${[
    String.raw`\\[pP]\{\w+\}|\\[sSdrnt]|\\[^\p{L}\p{N}]|\\x[\da-fA-F]{2}|\\u[\da-fA-F]{4}`,
    String.raw`\[\^?|\]|\((?!\?)|\(\?(?:i:|:|!|=|<!|<=)|\)|[|.]`,
    String.raw`[*+?]\??(?!\+)|\{\d+(?:,\d*)?\}(?![+?])|[^\\()[\]{}|*+?^$]`,
  ].join('|')})+$`,
  'u',
)

const escaped = (text: string) => text.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&')

/** The pattern of a part, to be found everywhere. */
function patternOf(part: Part): RegExp {
  const given = part.part('pattern')
  if (!given) throw part.bad('pattern', '{ String } or { Regex }')
  const literal = given.value('String')
  if (typeof literal === 'string') {
    given.done()
    return new RegExp(escaped(literal), 'gu')
  }
  const regex = given.text('Regex')
  given.done()
  const found = tame.test(regex) ? translated(regex) : null
  if (!found)
    throw unsupported(`Expected ${part.where} of a tokenizer.json to have a plain pattern, got ${show(regex)}`)
  return found
}

function translated(regex: string): RegExp | null {
  try {
    return new SplitPreTokenizer({
      type: 'Split',
      pattern: { Regex: regex },
      behavior: 'Isolated',
      invert: false,
    }).pattern
  } catch {
    return null
  }
}

export type Normalizer = (text: string) => string

export function normalizerOf(part: Part | undefined): Normalizer {
  if (!part) return (text) => text
  const made = ((): Normalizer => {
    switch (part.type) {
      case 'Sequence': {
        const all = part.list('normalizers').map(normalizerOf)
        return (text) => all.reduce((now, one) => one(now), text)
      }
      case 'NFC':
      case 'NFD':
      case 'NFKC':
      case 'NFKD': {
        const form = part.type
        return (text) => text.normalize(form)
      }
      case 'Lowercase':
        // Character by character: at the end of a word, JavaScript would make another sigma of a capital one.
        return (text) => Array.from(text, (character) => character.toLowerCase()).join('')
      case 'StripAccents':
        return (text) => text.replace(/\p{M}/gu, '')
      case 'Strip': {
        const [left, right] = [part.flag('strip_left'), part.flag('strip_right')]
        return (text) => strip(strip(text, left ? spacesAtStart : undefined), right ? spacesAtEnd : undefined)
      }
      case 'Prepend': {
        const before = part.text('prepend')
        return (text) => (text === '' ? '' : before + text)
      }
      case 'Replace': {
        const [pattern, content] = [patternOf(part), part.text('content')]
        return (text) => text.replace(pattern, () => content)
      }
      case 'Precompiled':
        return precompiled(part.text('precompiled_charsmap'), part.where)
      default:
        throw part.refused()
    }
  })()
  part.done()
  return made
}

const spacesAtStart = new RegExp(`^${SPACE}+`, 'u')
const spacesAtEnd = new RegExp(`${SPACE}+$`, 'u')
const strip = (text: string, what: RegExp | undefined) => (what ? text.replace(what, '') : text)

/** A piece of a text, which no token crosses. */
export interface Piece {
  readonly text: string
  /** Whether the text begins with it. */
  readonly first: boolean
}

type Splitter = (piece: Piece) => Piece[]

const behaviors = ['Removed', 'Isolated', 'MergedWithPrevious', 'MergedWithNext', 'Contiguous'] as const
type Behavior = (typeof behaviors)[number]

/** Cuts a text at what matches, or with `invert` at what does not; `behavior` says where the delimiters go. */
function split({ text, first }: Piece, pattern: RegExp, behavior: Behavior, invert = false): Piece[] {
  const spans: { start: number; end: number; cuts: boolean }[] = []
  let at = 0
  const add = (end: number, cuts: boolean) => {
    if (end > at) spans.push({ start: at, end, cuts })
    at = end
  }
  for (const match of text.matchAll(pattern)) {
    add(match.index, invert)
    add(match.index + match[0].length, !invert)
  }
  add(text.length, invert)
  const kept: typeof spans = []
  if (behavior === 'MergedWithNext') {
    for (const [i, span] of spans.entries()) {
      const next = spans[i + 1]
      if (span.cuts && next && !next.cuts) next.start = span.start
      else kept.push(span)
    }
  } else {
    for (const [i, span] of spans.entries()) {
      const before = spans[i - 1]
      const last = kept.at(-1)
      const joins =
        (behavior === 'Contiguous' && before?.cuts === span.cuts) ||
        (behavior === 'MergedWithPrevious' && span.cuts && before?.cuts === false)
      if (joins && last) last.end = span.end
      else if (behavior !== 'Removed' || !span.cuts) kept.push({ ...span })
    }
  }
  return kept.map(({ start, end }) => ({ text: text.slice(start, end), first: first && start === 0 }))
}

function behaviorOf(part: Part, fallback?: string): Behavior {
  const name = part.text('behavior', fallback)
  const found = behaviors.find((one) => one === name)
  if (!found) throw part.bad('behavior', `one of ${behaviors.join(', ')}`)
  return found
}

/** Cuts a normalized text into pieces. */
export function splitterOf(part: Part | undefined): Splitter {
  if (!part) return (piece) => [piece]
  const made = ((): Splitter => {
    switch (part.type) {
      case 'Sequence': {
        const all = part.list('pretokenizers').map(splitterOf)
        return (piece) => all.reduce((pieces, one) => pieces.flatMap(one), [piece])
      }
      case 'ByteLevel': {
        const [prefix, words] = [part.flag('add_prefix_space'), part.flag('use_regex', true) && wordsOfBytes()]
        part.flag('trim_offsets', true)
        return ({ text, first }) => {
          const piece = { text: prefix && !text.startsWith(' ') ? ` ${text}` : text, first }
          const pieces = words ? split(piece, words, 'Isolated') : [piece]
          return pieces.map((one) => ({ text: inBytes(one.text), first: one.first }))
        }
      }
      case 'Metaspace':
        return metaspace(part)
      case 'Split': {
        const [pattern, behavior, invert] = [patternOf(part), behaviorOf(part), part.flag('invert', false)]
        return (piece) => split(piece, pattern, behavior, invert)
      }
      case 'Digits': {
        const behavior = part.flag('individual_digits') ? 'Isolated' : 'Contiguous'
        return (piece) => split(piece, /\p{N}/gu, behavior)
      }
      case 'Punctuation': {
        const behavior = behaviorOf(part, 'Isolated')
        const pattern = new RegExp(`[${PUNCTUATION}]`, 'gu')
        return (piece) => split(piece, pattern, behavior)
      }
      case 'Whitespace': {
        const pattern = new RegExp(`[${WORD}]+|[^${WORD}${SPACE}]+`, 'gu')
        return (piece) => split(piece, pattern, 'Removed', true)
      }
      case 'WhitespaceSplit': {
        const pattern = new RegExp(SPACE, 'gu')
        return (piece) => split(piece, pattern, 'Removed')
      }
      case 'BertPreTokenizer': {
        const [spaces, marks] = [new RegExp(SPACE, 'gu'), new RegExp(`[${PUNCTUATION}]`, 'gu')]
        return (piece) => split(piece, spaces, 'Removed').flatMap((one) => split(one, marks, 'Isolated'))
      }
      default:
        throw part.refused()
    }
  })()
  part.done()
  return made
}

function schemeOf(part: Part): string {
  part.only('add_prefix_space', true)
  const scheme = part.text('prepend_scheme', 'always')
  if (!['always', 'first', 'never'].includes(scheme)) throw part.bad('prepend_scheme', "'always', 'first' or 'never'")
  return scheme
}

function metaspace(part: Part): Splitter {
  const [mark, scheme, splits] = [part.text('replacement'), schemeOf(part), part.flag('split', true)]
  part.only('str_rep', mark)
  const pattern = new RegExp(escaped(mark), 'gu')
  return ({ text, first }) => {
    const marked = text.replaceAll(' ', mark)
    const prepends = scheme === 'always' || (scheme === 'first' && first)
    const piece = { text: prepends && !marked.startsWith(mark) ? mark + marked : marked, first }
    return splits ? split(piece, pattern, 'MergedWithNext') : [piece]
  }
}

export interface Model {
  readonly idOf: ReadonlyMap<string, number>
  /** What stands for text that the vocabulary cannot spell, if anything does. */
  readonly unknown?: number | undefined
  /** The tokens of a piece. */
  encode(piece: string): number[]
}

/** Numbers of the tokens, if each has its own. */
function vocabularyOf(part: Part): Map<string, number> {
  const vocab = part.value('vocab')
  if (typeof vocab !== 'object' || vocab === null || Array.isArray(vocab)) throw part.bad('vocab', 'an object')
  const ids = new Map(Object.entries(vocab as Record<string, number>))
  const seen = new Set<number>()
  for (const [token, id] of ids) {
    if (!Number.isInteger(id) || id < 0 || id >= 2 ** 31 || seen.has(id))
      throw new HebbError(
        'BAD_FILE',
        `Expected ${part.where}.vocab of a tokenizer.json to number its tokens, got ${show(id)} for ${show(token)}`,
      )
    seen.add(id)
  }
  return ids
}

const byteToken = (byte: number) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`
const byteTokens = Array.from({ length: 256 }, (_, byte) => byteToken(byte))

/** The tokens' numbers, with neighbours that are both unknown as one where `fuse`. */
function numbers(
  tokens: readonly string[],
  idOf: ReadonlyMap<string, number>,
  unknown: number,
  fuse: boolean,
): number[] {
  const ids: number[] = []
  for (const token of tokens) {
    const id = idOf.get(token) ?? unknown
    if (!fuse || id !== unknown || ids.at(-1) !== unknown) ids.push(id)
  }
  return ids
}

/** The unknown token's number. */
function unknownOf(part: Part, idOf: ReadonlyMap<string, number>): number {
  const id = idOf.get(part.text('unk_token'))
  if (id === undefined) throw part.bad('unk_token', 'in the vocabulary')
  return id
}

/** `isInBytes`: whether pieces consist of the characters of bytes. */
export function modelOf(part: Part, isInBytes: boolean): Model {
  const made = ((): Model => {
    switch (part.type) {
      case 'BPE':
        return bytePair(part, isInBytes)
      case 'Unigram':
        return unigram(part)
      case 'WordPiece': {
        const idOf = vocabularyOf(part)
        const unknown = unknownOf(part, idOf)
        const model = new WordPiece({
          type: 'WordPiece',
          vocab: Object.fromEntries(idOf),
          unk_token: part.text('unk_token'),
          continuing_subword_prefix: part.text('continuing_subword_prefix'),
          max_input_chars_per_word: part.count('max_input_chars_per_word', 100),
        })
        return { idOf, unknown, encode: (piece) => numbers(model.encode([piece]), idOf, unknown, false) }
      }
      case 'WordLevel': {
        const idOf = vocabularyOf(part)
        const unknown = unknownOf(part, idOf)
        return { idOf, unknown, encode: (piece) => [idOf.get(piece) ?? unknown] }
      }
      default:
        throw part.refused()
    }
  })()
  part.done()
  return made
}

function mergesOf(part: Part, idOf: ReadonlyMap<string, number>, withBytes: boolean): [string, string][] {
  const merges = part.value('merges')
  if (!Array.isArray(merges)) throw part.bad('merges', 'a list')
  return merges.map((given, i) => {
    const pair: unknown = typeof given === 'string' ? given.split(' ') : given
    const [left, right] = Array.isArray(pair) && pair.length === 2 ? pair : []
    if (![left, right, left + right].every((token) => idOf.has(token)))
      throw new HebbError(
        'BAD_FILE',
        `Expected ${part.where}.merges[${i}] of a tokenizer.json to make a token of two, got ${show(given)}`,
      )
    if (withBytes && [left, right].some((token) => byteTokens.includes(token)))
      throw unsupported(`Expected ${part.where}.merges[${i}] of a tokenizer.json without bytes, got ${show(given)}`)
    return [left, right]
  })
}

function bytePair(part: Part, isInBytes: boolean): Model {
  const idOf = vocabularyOf(part)
  part.only('dropout', 0)
  part.only('continuing_subword_prefix', '')
  part.only('end_of_word_suffix', '')
  const fallback = part.flag('byte_fallback', false)
  const fuse = part.flag('fuse_unk', false)
  const needsUnknown = !(isInBytes ? characterOfByte : fallback ? byteTokens : ['']).every((token) => idOf.has(token))
  const unknown = (part.value('unk_token') ?? null) === null ? -1 : unknownOf(part, idOf)
  if (needsUnknown && unknown < 0)
    throw unsupported(`Expected ${part.where} of a tokenizer.json to have an unk_token, or a token for each byte`)
  const model = new BPE({
    type: 'BPE',
    vocab: Object.fromEntries(idOf),
    merges: mergesOf(part, idOf, fallback),
    ...(unknown >= 0 && { unk_token: part.text('unk_token') }),
    byte_fallback: fallback,
    ignore_merges: part.flag('ignore_merges', false),
  })
  return {
    idOf,
    ...(unknown >= 0 && { unknown }),
    encode: (piece) => numbers(model.encode([piece]), idOf, unknown, fuse),
  }
}

function unigram(part: Part): Model {
  const vocab = part.value('vocab')
  const isScored = (entry: unknown) =>
    Array.isArray(entry) && entry.length === 2 && typeof entry[0] === 'string' && Number.isFinite(entry[1])
  if (!Array.isArray(vocab) || vocab.length === 0 || !vocab.every(isScored))
    throw part.bad('vocab', 'a list of tokens with their scores')
  const idOf = new Map<string, number>((vocab as [string, number][]).map(([token], id) => [token, id]))
  if (idOf.size !== vocab.length) throw part.bad('vocab', 'a list of different tokens')
  const unknown = part.count('unk_id')
  if (unknown >= vocab.length) throw part.bad('unk_id', `below ${vocab.length}`)
  const fallback = part.flag('byte_fallback', false)
  const model = new Unigram({ type: 'Unigram', vocab, unk_id: unknown }, '')
  return {
    idOf,
    unknown,
    encode(piece) {
      // A run of unknown characters is one unknown token, whose bytes stand for it if all of them have a token.
      const tokens: string[] = []
      let run = ''
      const flush = () => {
        const bytes = Array.from(utf8.encode(run), byteToken)
        if (fallback && bytes.every((token) => idOf.has(token))) tokens.push(...bytes)
        else tokens.push(run)
        run = ''
      }
      for (const token of model.encode([piece])) {
        if ((idOf.get(token) ?? unknown) === unknown) run += token
        else {
          if (run !== '') flush()
          tokens.push(token)
        }
      }
      if (run !== '') flush()
      return numbers(tokens, idOf, unknown, false)
    },
  }
}

/** Tokens that stand before and after every text. */
export interface Template {
  readonly before: readonly number[]
  readonly after: readonly number[]
}

/** `idOf` numbers all tokens, added ones too. */
export function templateOf(part: Part | undefined, idOf: (token: string) => number | undefined): Template {
  if (!part) return { before: [], after: [] }
  const numbered = (name: string): number => {
    const pair = part.value(name)
    if (!Array.isArray(pair) || pair.length !== 2 || idOf(pair[0]) !== pair[1])
      throw part.bad(name, 'a token and its number')
    return pair[1]
  }
  const made = ((): Template => {
    switch (part.type) {
      case 'ByteLevel': {
        for (const name of ['add_prefix_space', 'trim_offsets', 'use_regex']) part.value(name)
        return { before: [], after: [] }
      }
      case 'BertProcessing':
      case 'RobertaProcessing': {
        for (const name of ['add_prefix_space', 'trim_offsets']) part.value(name)
        return { before: [numbered('cls')], after: [numbered('sep')] }
      }
      case 'Sequence': {
        const all = part.list('processors').map((one) => templateOf(one, idOf))
        const [template, second] = all.filter(({ before, after }) => before.length + after.length > 0)
        if (second) throw unsupported(`Expected ${part.where} of a tokenizer.json to have one template, got more`)
        return template ?? { before: [], after: [] }
      }
      case 'TemplateProcessing':
        return templateProcessing(part, idOf)
      default:
        throw part.refused()
    }
  })()
  part.done()
  return made
}

function templateProcessing(part: Part, idOf: (token: string) => number | undefined): Template {
  part.value('pair')
  const tokens = part.part('special_tokens')
  const [before, after]: [number[], number[]] = [[], []]
  let [into, texts] = [before, 0]
  for (const item of part.list('single')) {
    const sequence = item.part('Sequence')
    const name = item.part('SpecialToken')?.text('id')
    item.done()
    if (sequence) {
      if (sequence.text('id') !== 'A') throw sequence.bad('id', "'A'")
      into = after
      ++texts
    }
    if (name === undefined) continue
    const ids = tokens?.part(name)?.value('ids')
    if (!Array.isArray(ids) || ids.length === 0 || !ids.every(Number.isInteger))
      throw new HebbError('BAD_FILE', `Expected ${part.where}.special_tokens of a tokenizer.json to have ${show(name)}`)
    if (ids.length === 1 && idOf(name) !== undefined && idOf(name) !== ids[0])
      throw unsupported(`Expected ${show(name)} of ${part.where} to have its number ${idOf(name)}, got ${ids[0]}`)
    into.push(...ids)
  }
  if (texts !== 1) throw part.bad('single', "a template with 'A' in it once")
  return { before, after }
}

/** Makes other texts of the texts of tokens; joined, they are the whole text. */
export type Decoder = (tokens: readonly string[]) => string[]

export function decoderOf(part: Part | undefined): Decoder {
  if (!part) return (tokens) => [tokens.join(' ')]
  const made = ((): Decoder => {
    switch (part.type) {
      case 'Sequence': {
        const all = part.list('decoders').map(decoderOf)
        return (tokens) => all.reduce<string[]>((now, one) => one(now), [...tokens])
      }
      case 'ByteLevel': {
        for (const name of ['add_prefix_space', 'trim_offsets', 'use_regex']) part.value(name)
        return (tokens) => [lossy.decode(Uint8Array.from(tokens.flatMap(bytesOf)))]
      }
      case 'Metaspace': {
        const [mark, keeps] = [part.text('replacement'), schemeOf(part) === 'never']
        part.flag('split', true)
        part.only('str_rep', mark)
        return (tokens) => tokens.map((token, i) => token.replaceAll(mark, i === 0 && !keeps ? '' : ' '))
      }
      case 'Replace': {
        const [pattern, content] = [patternOf(part), part.text('content')]
        return (tokens) => tokens.map((token) => token.replace(pattern, () => content))
      }
      case 'ByteFallback':
        return fromBytes
      case 'Fuse':
        return (tokens) => [tokens.join('')]
      case 'Strip': {
        const [content, start, stop] = [part.text('content'), part.count('start'), part.count('stop')]
        return (tokens) => tokens.map((token) => stripped(token, content, start, stop))
      }
      case 'WordPiece': {
        const prefix = part.text('prefix')
        part.only('cleanup', false)
        return (tokens) =>
          tokens.map((token, i) =>
            i === 0 ? token : token.startsWith(prefix) ? token.slice(prefix.length) : ` ${token}`,
          )
      }
      default:
        throw part.refused()
    }
  })()
  part.done()
  return made
}

/** The bytes that a token's characters stand for, or those of the token itself where one of them stands for none. */
function bytesOf(token: string): number[] {
  const bytes = Array.from(token, (character) => byteOfCharacter.get(character))
  return bytes.some((byte) => byte === undefined) ? [...utf8.encode(token)] : (bytes as number[])
}

/** Runs of <0x41> are the text that their bytes are, or U+FFFD for each of the bytes. */
function fromBytes(tokens: readonly string[]): string[] {
  const out: string[] = []
  let run: number[] = []
  const flush = () => {
    if (run.length === 0) return
    try {
      out.push(strict.decode(Uint8Array.from(run)))
    } catch {
      out.push('\ufffd'.repeat(run.length))
    }
    run = []
  }
  for (const token of tokens) {
    const byte = /^<0x([\da-fA-F]{2})>$/.exec(token)?.[1]
    if (byte !== undefined) run.push(Number.parseInt(byte, 16))
    else {
      flush()
      out.push(token)
    }
  }
  flush()
  return out
}

function stripped(token: string, content: string, start: number, stop: number): string {
  const characters = Array.from(token)
  let [first, end] = [0, characters.length]
  while (first < start && characters[first] === content) ++first
  while (characters.length - end < stop && end > first && characters[end - 1] === content) --end
  return characters.slice(first, end).join('')
}

/** A token that is found in the text itself, before any model sees it. */
export interface AddedToken {
  readonly id: number
  readonly content: string
  readonly special: boolean
  readonly normalized: boolean
  readonly single: boolean
  readonly left: boolean
  readonly right: boolean
}

export function addedTokenOf(part: Part): AddedToken {
  const special = part.flag('special', false)
  const token = {
    id: part.count('id'),
    content: part.text('content'),
    special,
    normalized: part.flag('normalized', !special),
    single: part.flag('single_word', false),
    left: part.flag('lstrip', false),
    right: part.flag('rstrip', false),
  }
  part.done()
  return token
}

const wordAtStart = new RegExp(`^[${WORD}]`, 'u')
const wordAtEnd = new RegExp(`[${WORD}]$`, 'u')

/** Cuts texts at added tokens, the leftmost and then the longest first. `contentOf`: how they look in the text. */
export function finderOf(
  tokens: readonly AddedToken[],
  contentOf: Normalizer,
): (piece: Piece) => (Piece | AddedToken)[] {
  const byContent = new Map(tokens.map((token) => [contentOf(token.content), token]))
  byContent.delete('')
  if (byContent.size === 0) return (piece) => [piece]
  const longestFirst = [...byContent.keys()].sort((one, two) => two.length - one.length)
  const pattern = new RegExp(longestFirst.map(escaped).join('|'), 'gu')
  return ({ text, first }) => {
    const out: (Piece | AddedToken)[] = []
    let at = 0
    const until = (end: number) => {
      if (end > at) out.push({ text: text.slice(at, end), first: first && at === 0 })
    }
    for (const { 0: content, index } of text.matchAll(pattern)) {
      const token = byContent.get(content) as AddedToken
      const [before, after] = [text.slice(0, index), text.slice(index + content.length)]
      if (token.single && (wordAtEnd.test(before) || wordAtStart.test(after))) continue
      const start = Math.max(at, token.left ? before.replace(spacesAtEnd, '').length : index)
      until(start)
      out.push(token)
      at = token.right ? text.length - after.replace(spacesAtStart, '').length : index + content.length
    }
    until(text.length)
    return out
  }
}
