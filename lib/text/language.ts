/** Documents in the numbers of their tokens, cut into windows: what a language model is trained and evaluated on. */
import { expect, HebbError, integer, known, show } from '../error.js'
import { checkTokenizer, GrowingText, lengthsOf, TextDataset, type TextPart, type TokenizedText } from './dataset.js'
import { readLines } from './lines.js'
import { StoredText, tokenFile } from './token_file.js'
import type { Tokenizer } from './tokenizer.js'

/** How the documents of a file are told apart. */
export type DocumentForm = 'file' | 'line' | 'paragraph' | 'json' | { readonly line: string }

/** How documents are read from files. */
export interface DocumentOptions {
  /**
   * 'file': a file is a document; 'line': each line; 'paragraph': what stands between empty lines; { line: '***' }:
   * what stands between lines that are that; 'json': the `text` of an object in each line. Default: 'json' for files
   * that end in .jsonl or .jsonl.gz, else 'file'.
   */
  documents?: DocumentForm | undefined
}

/** What languageText() takes. */
export interface LanguageTextOptions extends DocumentOptions {
  tokenizer: Tokenizer
  /** Tokens that the model is given of a document at a time; it tells the one behind each of them. Default 256. */
  window?: number | undefined
  /**
   * Default true: windows are of one document each, and so no token sees another document (a document mask). False:
   * they are cut from all documents, one behind another.
   */
  masked?: boolean | undefined
  /** Only the first window of each document, as the paper's language models are trained. Default false. */
  firstWindow?: boolean | undefined
  /**
   * The token that stands before, between and behind documents: a text is begun by it and ended by it. Default: the
   * first of </s>, <|endoftext|> and <|end_of_text|> that the tokenizer has.
   */
  separator?: string | undefined
  /**
   * Of texts larger than memory: the file where the tokens of windows are kept, 2 or 4 bytes each, and read from batch
   * by batch. It is made once, or again where texts, tokenizer or options are others. A document at a time is in
   * memory.
   */
  store?: string | undefined
  /** For messages. Default: the names of the files. */
  name?: string | undefined
}

const SEPARATORS = ['</s>', '<|endoftext|>', '<|end_of_text|>']
const WINDOW = 256

/** The number of the token between documents. */
export function separatorOf(tokenizer: Tokenizer, separator?: string): number {
  checkTokenizer(tokenizer)
  expect(
    separator === undefined || typeof separator === 'string',
    () => `Expected separator to be a token, got ${show(separator)}`,
  )
  const names = separator === undefined ? SEPARATORS : [separator]
  const id = names.map((name) => tokenizer.idOf(name)).find((found) => found !== undefined)
  expect(id !== undefined, () =>
    separator === undefined
      ? `Expected a tokenizer with one of the tokens ${SEPARATORS.join(', ')} to stand between documents, got one ` +
        'without. Name one that it has: separator.'
      : `Expected a separator that the tokenizer has as a token, got ${show(separator)}`,
  )
  return id
}

/** Texts of documents, and what measures them apart from tokens. */
export interface Documents {
  /** [documents] each begins and ends with the separator. */
  readonly text: TokenizedText
  /** [documents] of UTF-8, separators not counted. */
  readonly bytes: Float64Array
  /** [documents] what stands between white space. */
  readonly words: Float64Array
}

/** How documents are cut. */
type Shape = Pick<LanguageText, 'window' | 'masked' | 'separator'> & { readonly firstWindow: boolean }

/** Made by languageText() and languageDocuments(). */
export class LanguageText<Text extends TokenizedText | StoredText = TokenizedText | StoredText> extends TextDataset {
  readonly task = 'lm'
  override readonly packed = true
  /** As they are evaluated: without masks, all of them are one. Of a text that is in a file, undefined. */
  readonly documents: Text extends StoredText ? undefined : Documents
  /** How many there are in truth, where that is known. */
  readonly count: number | undefined
  readonly window: number
  readonly masked: boolean
  /** The number of the token between documents. */
  override readonly separator: number
  /** Each window with the token behind it, where the next one begins. */
  readonly windows: Text

  /** @internal */
  constructor(
    name: string,
    documents: Text extends StoredText ? StoredText : Documents,
    tokenizer: Tokenizer,
    { count, window, masked, separator, firstWindow }: Shape & Pick<LanguageText, 'count'>,
  ) {
    super(name, { source: tokenizer, target: tokenizer })
    const isStored = documents instanceof StoredText
    this.documents = (isStored ? undefined : documents) as this['documents']
    this.count = count
    this.window = window
    this.masked = masked
    this.separator = separator
    this.windows = (isStored ? documents : windowsOf(documents.text, window, firstWindow)) as Text
  }

  get samples(): number {
    return lengthsOf(this.windows).length
  }

  get inputs(): readonly TextPart[] {
    return [{ text: this.windows, drop: 1 }]
  }

  get labels(): TextPart {
    return { text: this.windows, skip: 1 }
  }

  /** [windows] tokens that the model is given of each. */
  get lengths(): { readonly lengths: Int32Array } {
    return { lengths: lengthsOf(this.windows, 1) }
  }

  /** Tokens that are told, in all windows. */
  get tokens(): number {
    return this.lengths.lengths.reduce((sum, length) => sum + length, 0)
  }
}

/** Every token but the first is told once. */
function* cut(tokens: Int32Array, window: number, firstWindow: boolean): Generator<Int32Array> {
  for (let first = 0; first + 1 < tokens.length; first += window) {
    yield tokens.subarray(first, first + window + 1)
    if (firstWindow) return
  }
}

function windowsOf({ tokens, starts }: TokenizedText, window: number, firstWindow: boolean): TokenizedText {
  const all = new GrowingText()
  for (let d = 0; d + 1 < starts.length; ++d)
    for (const one of cut(tokens.subarray(starts[d], starts[d + 1]), window, firstWindow)) all.push(one)
  return all.text
}

/** The same of documents that come one by one. */
async function* windowsIn(
  texts: AsyncIterable<string>,
  tokenizer: Tokenizer,
  { window, masked, separator, firstWindow }: Shape,
): AsyncGenerator<[Int32Array]> {
  // What is left of the documents before, without masks: it is less than a window.
  let left = Int32Array.of(separator)
  for await (const text of texts) {
    const tokens = Int32Array.of(...left, ...tokenizer.encode(text, { special: false }), separator)
    const whole = masked ? tokens.length : tokens.length - ((tokens.length - 1) % window)
    for (const one of cut(tokens.subarray(0, whole), window, firstWindow)) yield [one]
    if (!masked) left = tokens.slice(whole - 1)
  }
  if (left.length > 1) yield [left]
}

const DOCUMENTS = { documents: true } as const
const NAMES = {
  ...({ tokenizer: true, window: true, masked: true, firstWindow: true, separator: true, name: true } as const),
}

function formOf(file: string, documents: DocumentForm | undefined): Exclude<DocumentForm, 'file'> | 'file' {
  return documents ?? (/\.jsonl(\.gz)?$/.test(file) ? 'json' : 'file')
}

function checkForm(documents: DocumentForm | undefined): void {
  const isOne =
    documents === undefined ||
    ['file', 'line', 'paragraph', 'json'].includes(documents as string) ||
    (typeof documents === 'object' && documents !== null && typeof documents.line === 'string')
  expect(
    isOne,
    () => `Expected documents to be 'file', 'line', 'paragraph', 'json' or { line: '***' }, got ${show(documents)}`,
  )
  if (typeof documents === 'object') known(documents, 'documents', { line: true })
}

function textIn(line: string, file: string, number: number): string {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch (cause) {
    throw new HebbError(
      'BAD_FILE',
      `Expected a JSON object in each line of ${file}, got none in line ${number}: ${(cause as Error).message}`,
      { cause },
    )
  }
  const text = (value as { text?: unknown } | null)?.text
  if (typeof text !== 'string')
    throw new HebbError(
      'BAD_FILE',
      `Expected a text in each line of ${file}, { "text": ... }, got none in line ${number}`,
    )
  return text
}

/**
 * The texts of the documents of files, in their order; those without anything but white space are left out. Lines are
 * those of readLines(): \r\n is \n, .gz is unpacked, and the last line's end is not part of a document. MISSING_FILE;
 * BAD_FILE names a line that is not UTF-8, or not JSON with a text.
 */
export async function* readDocuments(
  files: string | readonly string[],
  options: DocumentOptions = {},
): AsyncGenerator<string> {
  const { documents } = known(options, 'readDocuments()', DOCUMENTS)
  checkForm(documents)
  const all = typeof files === 'string' ? [files] : files
  expect(
    Array.isArray(all) && all.length > 0 && all.every((file) => typeof file === 'string' && file !== ''),
    () => `Expected the names of text files, got ${show(files)}`,
  )
  for (const file of all) {
    const form = formOf(file, documents)
    let [lines, number]: [string[], number] = [[], 0]
    for await (const line of readLines(file)) {
      ++number
      if (form === 'line' || form === 'json') {
        const text = form === 'json' ? (line.trim() === '' ? '' : textIn(line, file, number)) : line
        if (text.trim() !== '') yield text
        continue
      }
      const ends = form === 'paragraph' ? line.trim() === '' : typeof form === 'object' && line === form.line
      if (!ends) {
        lines.push(line)
        continue
      }
      const text = lines.join('\n')
      lines = []
      if (text.trim() !== '') yield text
    }
    const text = lines.join('\n')
    if (text.trim() !== '') yield text
  }
}

function shapeOf(options: LanguageTextOptions): Shape {
  const { tokenizer, window = WINDOW, masked = true, firstWindow = false, separator } = options
  for (const [what, flag] of Object.entries({ masked, firstWindow }))
    expect(typeof flag === 'boolean', () => `Expected ${what} to be true or false, got ${show(flag)}`)
  expect(masked || !firstWindow, () => 'Expected firstWindow, or masked: false, got both')
  integer(window, 'window', 1, 2 ** 24)
  return { window, masked, firstWindow, separator: separatorOf(tokenizer, separator) }
}

async function textOf(
  name: string,
  texts: Iterable<string> | AsyncIterable<string>,
  options: LanguageTextOptions,
): Promise<LanguageText<TokenizedText>> {
  const { tokenizer } = options
  const shape = shapeOf(options)
  const { masked, separator: token } = shape
  const [all, bytes, words]: [GrowingText, number[], number[]] = [new GrowingText(), [], []]
  let count = 0
  for await (const text of texts) {
    const tokens = tokenizer.encode(text, { special: false })
    // Without masks documents follow one another, with one separator between two.
    const isFirst = masked || count === 0
    const sequence = new Int32Array(tokens.length + (isFirst ? 2 : 1)).fill(token)
    sequence.set(tokens, isFirst ? 1 : 0)
    if (isFirst) all.push(sequence)
    else all.extend(sequence)
    if (isFirst) for (const counts of [bytes, words]) counts.push(0)
    const last = bytes.length - 1
    bytes[last] = (bytes[last] as number) + Buffer.byteLength(text)
    words[last] = (words[last] as number) + (text.match(/\S+/g)?.length ?? 0)
    ++count
  }
  if (count === 0) throw new HebbError('BAD_FILE', `Expected text in ${name}, got none`)
  const documents = { text: all.text, bytes: Float64Array.from(bytes), words: Float64Array.from(words) }
  return new LanguageText<TokenizedText>(name, documents, tokenizer, { ...shape, count })
}

/**
 * The documents of text files for a language model, as tokens in memory (8 bytes each), or in a file (`store`). Each
 * begins and ends with the separator; windows of so many tokens, and the token behind, are what batches are made of.
 * Errors are those of readDocuments(); INVALID_ARGUMENT for a tokenizer without the separator, CANNOT_WRITE for a file
 * that cannot be written.
 */
export function languageText(
  files: string | readonly string[],
  options: LanguageTextOptions & { store?: undefined },
): Promise<LanguageText<TokenizedText>>
export function languageText(files: string | readonly string[], options: LanguageTextOptions): Promise<LanguageText>
export async function languageText(
  files: string | readonly string[],
  options: LanguageTextOptions,
): Promise<LanguageText> {
  const all = typeof files === 'string' ? [files] : files
  const { documents, name, ...rest } = known(options, 'languageText()', { ...NAMES, ...DOCUMENTS, store: true })
  const called = name ?? (Array.isArray(all) ? all.join(', ') : 'the files')
  const texts = () => readDocuments(all, { documents })
  const { store, tokenizer } = rest
  if (store === undefined) return textOf(called, texts(), rest)
  const shape = shapeOf(rest)
  const file = await tokenFile({
    ...{ file: store, files: all, tokenizers: [tokenizer], settings: JSON.stringify({ ...shape, documents }) },
    tuples: () => windowsIn(texts(), tokenizer, shape),
  })
  if (file.samples === 0) throw new HebbError('BAD_FILE', `Expected text in ${called}, got none`)
  return new LanguageText<StoredText>(called, file.texts[0] as StoredText, tokenizer, { ...shape, count: undefined })
}

/** The same of documents that are there. */
export async function languageDocuments(
  documents: readonly string[],
  options: Omit<LanguageTextOptions, 'documents' | 'store'>,
): Promise<LanguageText<TokenizedText>> {
  const { name = 'the documents', ...rest } = known(options, 'languageDocuments()', NAMES)
  expect(
    Array.isArray(documents) && documents.length > 0 && documents.every((text) => typeof text === 'string'),
    () => `Expected documents to be texts, one at least, got ${show(documents)}`,
  )
  return textOf(name, documents, rest)
}
