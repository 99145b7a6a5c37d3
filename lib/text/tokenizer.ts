/** Texts as numbers and back, as a tokenizer.json says. */
import { readFileSync } from 'node:fs'
import { expect, HebbError, known, show } from '../error.js'
import {
  type AddedToken,
  addedTokenOf,
  characterOfByte,
  type Decoder,
  decoderOf,
  finderOf,
  inBytes,
  type Model,
  modelOf,
  normalizerOf,
  Part,
  type Piece,
  splitterOf,
  type Template,
  templateOf,
  unsupported,
} from './pipeline.js'

/** How many pieces are remembered with their tokens, of how many UTF-16 units: words come again and again. */
const [MOST_PIECES, LONGEST_PIECE] = [50_000, 64]

const inByteLevel = /"type":"ByteLevel"/

/** The contents of a tokenizer.json, of Hugging Face's format version 1.0. */
export type TokenizerJson = Readonly<Record<string, unknown>>

/** What Tokenizer.encode() takes. */
export interface EncodeOptions {
  /** Whether the tokens that the tokenizer.json puts before and after every text are put there. Default true. */
  special?: boolean | undefined
}

/** What Tokenizer.decode() takes. */
export interface DecodeOptions {
  /** Whether special tokens are left out. Default false. */
  skipSpecial?: boolean | undefined
  /**
   * What stands in place of the unknown tokens, one word for each in their order. Default: the token, as the vocabulary
   * spells it, or nothing where it is a special one and these are left out.
   */
  unknown?: readonly string[] | undefined
}

/**
 * Numbers the tokens of texts, as the Rust implementation of the format does: byte-level, WordPiece, unigram and word
 * models, with all that stands before and after them. A tokenizer.json with something that is not known to have the
 * same result here is refused, by its name, when it is read.
 */
export class Tokenizer {
  /** Above all numbers of tokens: the rows that an embedding needs. */
  readonly size: number
  readonly #json: string
  readonly #model: Model
  readonly #template: Template
  readonly #decoder: Decoder
  readonly #tokens: (string | undefined)[] = []
  readonly #added = new Map<string, AddedToken>()
  readonly #special = new Set<string>()
  /** The number of the next added token that the model does not have. */
  #next: number
  /** Of pieces that were seen lately. */
  readonly #pieceIds = new Map<string, readonly number[]>()
  /** Added tokens, and between them the pieces that the model sees. */
  readonly #pieces: (text: string) => (Piece | AddedToken)[]

  /** @internal */
  constructor(json: TokenizerJson) {
    const file = new Part(json, 'the contents')
    this.#json = JSON.stringify(json)
    file.only('version', '1.0')
    for (const name of ['truncation', 'padding'])
      if ((file.value(name) ?? null) !== null)
        throw new HebbError(
          'UNSUPPORTED',
          `Expected ${name} of a tokenizer.json to be null, got ${show(json[name])}. Batches are cut and packed by ` +
            'those who make them; write null.',
        )
    const normalizer = normalizerOf(file.part('normalizer'))
    const splitter = splitterOf(file.part('pre_tokenizer'))
    const has = (name: string, what: RegExp) => what.test(JSON.stringify(json[name] ?? null))
    const [isInBytes, isFromBytes] = [has('pre_tokenizer', inByteLevel), has('decoder', inByteLevel)]
    if (
      has('pre_tokenizer', /"prepend_scheme":"first"/) &&
      has('normalizer', /"type":"(?:Strip|StripAccents|Replace)"/)
    )
      throw unsupported("Expected a tokenizer.json without prepend_scheme 'first' after a normalizer that cuts a text")
    const model = file.part('model')
    if (!model) throw file.bad('model', 'an object')
    this.#model = modelOf(model, isInBytes)
    for (const [token, id] of this.#model.idOf) this.#tokens[id] = token
    this.#next = this.#model.idOf.size
    const added = file.value('added_tokens') === undefined ? [] : file.list('added_tokens').map(addedTokenOf)
    for (const token of added) {
      if (token.normalized && normalizer(token.content) !== token.content)
        throw unsupported(
          `Expected added token ${show(token.content)} of a tokenizer.json to be left as it is by the normalizer, ` +
            `got ${show(normalizer(token.content))}. Write normalized: false`,
        )
      this.#add(token, isFromBytes)
    }
    this.size = this.#tokens.length
    this.#template = templateOf(file.part('post_processor'), (token) => this.idOf(token))
    this.#decoder = decoderOf(file.part('decoder'))
    file.done()
    const asTheyAre = finderOf(
      added.filter(({ normalized }) => !normalized),
      (text) => text,
    )
    const normalized = finderOf(
      added.filter((token) => token.normalized),
      normalizer,
    )
    const each = (parts: (Piece | AddedToken)[], cut: (piece: Piece) => (Piece | AddedToken)[]) =>
      parts.flatMap((part) => ('id' in part ? [part] : cut(part)))
    this.#pieces = (text) => {
      const found = each(asTheyAre({ text, first: true }), (piece) =>
        normalized({ text: normalizer(piece.text), first: piece.first }),
      )
      return each(found, (piece) => (piece.text === '' ? [] : splitter(piece).filter((one) => one.text !== '')))
    }
  }

  #add(token: AddedToken, isFromBytes: boolean): void {
    const { id, content, special } = token
    // The file's number of a token that is not the model's is not read by the Rust implementation: it counts on.
    const own = this.#model.idOf.get(content) ?? this.#added.get(content)?.id ?? this.#next
    if (id !== own)
      throw unsupported(`Expected added token ${show(content)} of a tokenizer.json to have number ${own}, got ${id}`)
    this.#next = Math.max(this.#next, id + 1)
    const characters = Array.from(content)
    if (isFromBytes && !/^[\0-\x7f]*$/.test(content) && characters.every((one) => characterOfByte.includes(one)))
      throw unsupported(
        `Expected added tokens of a byte-level tokenizer.json that cannot be bytes, got ${show(content)}`,
      )
    this.#tokens[id] = content
    this.#added.set(content, token)
    if (special) this.#special.add(content)
  }

  /**
   * Of a file, or of what a tokenizer.json holds, toJSON() of another tokenizer included. MISSING_FILE or BAD_FILE
   * where there is none; UNSUPPORTED names what has no same result here.
   */
  static from(pathOrJson: string | TokenizerJson): Tokenizer {
    if (typeof pathOrJson !== 'string') return new Tokenizer(pathOrJson)
    return new Tokenizer(read(pathOrJson))
  }

  /**
   * [tokens] the numbers of a text's tokens. Halves of surrogate pairs are U+FFFD, as in every UTF-8. Added tokens that
   * stand in the text, such as a literal </s>, are those tokens.
   */
  encode(text: string, options: EncodeOptions = {}): Int32Array {
    const { special = true } = known(options, 'encode()', { special: true })
    expect(typeof text === 'string', () => `Expected a text to encode, got ${show(text)}`)
    const ids: number[] = special ? [...this.#template.before] : []
    for (const part of this.#pieces(text.replace(/\p{Surrogate}/gu, '\ufffd'))) {
      if ('id' in part) ids.push(part.id)
      else for (const id of this.#encoded(part.text)) ids.push(id)
    }
    if (special) ids.push(...this.#template.after)
    return Int32Array.from(ids)
  }

  #encoded(piece: string): readonly number[] {
    const known = this.#pieceIds.get(piece)
    if (known) return known
    const ids = this.#model.encode(piece)
    if (this.#pieceIds.size >= MOST_PIECES) this.#pieceIds.clear()
    if (piece.length <= LONGEST_PIECE) this.#pieceIds.set(piece, ids)
    return ids
  }

  /** The text of some tokens; spaces before punctuation stay. */
  decode(ids: ArrayLike<number>, options: DecodeOptions = {}): string {
    const { skipSpecial = false, unknown } = known(options, 'decode()', { skipSpecial: true, unknown: true })
    let at = 0
    const tokens: string[] = []
    for (const id of Array.from(ids)) {
      const token = this.tokenOf(id)
      if (unknown && id === this.unknown) {
        expect(at < unknown.length, () => `Expected a word for each unknown token, got ${unknown.length}`)
        tokens.push(this.#spelt(unknown[at++] as string, tokens.at(-1)))
      } else if (!skipSpecial || !this.#special.has(token)) tokens.push(token)
    }
    return this.#decoder(tokens).join('')
  }

  /** A word as a token behind another one, with a space before it where tokens spell them. */
  #spelt(word: string, before: string | undefined): string {
    if (this.#decoder(['a', 'Ġa']).join('') === 'a a') return (before === undefined ? '' : 'Ġ') + inBytes(word)
    const isMarked = this.#decoder(['a', '▁a']).join('') === 'a a'
    return isMarked && before !== '▁' ? `▁${word}` : word
  }

  /** The number of the token for text that the vocabulary cannot spell; undefined: it spells everything. */
  get unknown(): number | undefined {
    return this.#model.unknown
  }

  /** [tokens] the word that each token of a text is part of, without special tokens, as the normalizer has left it. */
  words(text: string): string[] {
    expect(typeof text === 'string', () => `Expected a text, got ${show(text)}`)
    return this.#pieces(text.replace(/\p{Surrogate}/gu, '\ufffd')).flatMap((part) =>
      'id' in part ? [part.content] : this.#wordsOf(part.text),
    )
  }

  /** A piece may have several words: then their tokens are found in it. */
  #wordsOf(piece: string): string[] {
    const shown = (word: string) => this.#decoder([word]).join('').trim()
    const ids = this.#encoded(piece)
    const inner = /(?<=[^\s▁])(?=[\s▁])/
    if (!inner.test(piece)) return ids.map(() => shown(piece))
    const ends: number[] = []
    const words = piece.split(inner)
    for (const word of words) ends.push((ends.at(-1) ?? 0) + word.length)
    const wordAt = (place: number) => shown(words[ends.findIndex((end) => place < end)] ?? (words.at(-1) as string))
    let place = 0
    return ids.map((id) => {
      const token = this.tokenOf(id)
      const found = id === this.unknown ? -1 : piece.indexOf(token, place)
      // An unknown token, or a byte: it begins where the one before has ended.
      const begin = found < 0 ? place : found
      place = found < 0 ? place : found + token.length
      // A token that is a space alone is of the word behind it.
      return wordAt(begin + (/^[\s▁]/.test(piece.slice(begin)) ? 1 : 0))
    })
  }

  /** Gives the text of tokens that come one by one, each character once all its tokens are there. */
  decodeStream(options: Pick<DecodeOptions, 'skipSpecial'> = {}): DecodeStream {
    return new DecodeStream(this, known(options, 'decodeStream()', { skipSpecial: true }))
  }

  /** undefined: no token is that. */
  idOf(token: string): number | undefined {
    return this.#added.get(token)?.id ?? this.#model.idOf.get(token)
  }

  /** As the vocabulary spells it: 'Ġhaus' in place of ' haus'. */
  tokenOf(id: number): string {
    const token = this.#tokens[id]
    expect(
      token !== undefined,
      () =>
        `Expected the number of a token, an integer below ${this.size}, got ${show(id)}. Is it of another tokenizer?`,
    )
    return token
  }

  /** The contents of its tokenizer.json: from() makes the same tokenizer of it. */
  toJSON(): TokenizerJson {
    return JSON.parse(this.#json)
  }
}

function read(path: string): TokenizerJson {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException
    if (code === 'ENOENT')
      throw new HebbError('MISSING_FILE', `Expected a tokenizer.json at ${path}, got none`, { cause })
    throw new HebbError('BAD_FILE', `Expected to be able to read ${path}: ${message}`, { cause })
  }
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new HebbError('BAD_FILE', `Expected ${path} to be JSON: ${(cause as Error).message}. Fetch it again.`, {
      cause,
    })
  }
}

/** Made by Tokenizer.decodeStream(). */
export class DecodeStream {
  readonly #tokenizer: Tokenizer
  readonly #options: DecodeOptions
  /** The tokens of the text that was given last, and those after it. */
  #ids: number[] = []
  /** How many of them have been given, and as what. */
  #given = 0
  #before = ''

  /** @internal */
  constructor(tokenizer: Tokenizer, options: DecodeOptions) {
    this.#tokenizer = tokenizer
    this.#options = options
  }

  /** The text that is whole now and was not before; '' while a character lacks tokens. */
  push(id: number): string {
    this.#tokenizer.tokenOf(id)
    this.#ids.push(id)
    const text = this.#tokenizer.decode(this.#ids, this.#options)
    return text.endsWith('\ufffd') || text.length <= this.#before.length ? '' : this.#give(text)
  }

  /** What is left, with U+FFFD where a character lacks tokens for good. The stream begins anew. */
  end(): string {
    const text = this.#tokenizer.decode(this.#ids, this.#options).slice(this.#before.length)
    ;[this.#ids, this.#given, this.#before] = [[], 0, '']
    return text
  }

  #give(text: string): string {
    const fresh = text.slice(this.#before.length)
    // The last tokens stay, so that what decoders do at the start of a text happens only there.
    this.#ids = this.#ids.slice(this.#given)
    this.#given = this.#ids.length
    this.#before = this.#tokenizer.decode(this.#ids, this.#options)
    return fresh
  }
}
