/** Documents in the numbers of their tokens, cut into windows: what a language model is trained and evaluated on. */
import { expect, HebbError, integer, known, show } from '../error.js'
import { checkTokenizer, GrowingText, lengthsOf, TextDataset, type TextPart, type TokenizedText } from './dataset.js'
import { readLines } from './lines.js'
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

/** Made by languageText() and languageDocuments(). */
export class LanguageText extends TextDataset {
  readonly task = 'lm'
  override readonly packed = true
  /** As they are evaluated: without masks, all of them are one. */
  readonly documents: Documents
  /** How many there are in truth. */
  readonly count: number
  readonly window: number
  readonly masked: boolean
  /** The number of the token between documents. */
  override readonly separator: number
  /** Each window with the token behind it, where the next one begins. */
  readonly windows: TokenizedText

  /** @internal */
  constructor(
    name: string,
    documents: Documents,
    tokenizer: Tokenizer,
    shape: Pick<LanguageText, 'count' | 'window' | 'masked' | 'separator'> & { firstWindow: boolean },
  ) {
    super(name, { source: tokenizer, target: tokenizer })
    const { count, window, masked, separator, firstWindow } = shape
    this.documents = documents
    this.count = count
    this.window = window
    this.masked = masked
    this.separator = separator
    this.windows = windowsOf(documents.text, window, firstWindow)
  }

  get samples(): number {
    return this.windows.starts.length - 1
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
    return this.windows.tokens.length - this.samples
  }
}

/** Every token of a document but the first is told once. */
function windowsOf({ tokens, starts }: TokenizedText, window: number, firstWindow: boolean): TokenizedText {
  const all = new GrowingText()
  for (let d = 0; d + 1 < starts.length; ++d) {
    const [begin, end] = [starts[d] as number, starts[d + 1] as number]
    for (let first = begin; first + 1 < end; first += window) {
      all.push(tokens.subarray(first, Math.min(first + window + 1, end)))
      if (firstWindow) break
    }
  }
  return all.text
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

async function textOf(
  name: string,
  texts: Iterable<string> | AsyncIterable<string>,
  { tokenizer, window = WINDOW, masked = true, firstWindow = false, separator }: LanguageTextOptions,
): Promise<LanguageText> {
  const token = separatorOf(tokenizer, separator)
  integer(window, 'window', 1, 2 ** 24)
  for (const [what, flag] of Object.entries({ masked, firstWindow }))
    expect(typeof flag === 'boolean', () => `Expected ${what} to be true or false, got ${show(flag)}`)
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
  return new LanguageText(name, documents, tokenizer, { count, window, masked, separator: token, firstWindow })
}

/**
 * The documents of text files for a language model, as tokens in memory (8 bytes each). Each begins and ends with the
 * separator; windows of so many tokens, and the token behind, are what batches are made of. Errors are those of
 * readDocuments(); INVALID_ARGUMENT for a tokenizer without the separator.
 */
export async function languageText(
  files: string | readonly string[],
  options: LanguageTextOptions,
): Promise<LanguageText> {
  const all = typeof files === 'string' ? [files] : files
  const { documents, name, ...rest } = known(options, 'languageText()', { ...NAMES, ...DOCUMENTS })
  const called = name ?? (Array.isArray(all) ? all.join(', ') : 'the files')
  return textOf(called, readDocuments(all, { documents }), rest)
}

/** The same of documents that are there. */
export async function languageDocuments(
  documents: readonly string[],
  options: Omit<LanguageTextOptions, 'documents'>,
): Promise<LanguageText> {
  const { name = 'the documents', ...rest } = known(options, 'languageDocuments()', NAMES)
  expect(
    Array.isArray(documents) && documents.length > 0 && documents.every((text) => typeof text === 'string'),
    () => `Expected documents to be texts, one at least, got ${show(documents)}`,
  )
  return textOf(name, documents, rest)
}
