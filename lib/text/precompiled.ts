/**
 * SentencePiece's table of replacements, as a tokenizer.json carries it: a double-array trie of UTF-8 (Darts-clone)
 * over what is replaced, and by what. Read as the Rust implementation reads it, its habits included.
 */
import { HebbError } from '../error.js'

const utf8 = new TextEncoder()
const text = new TextDecoder('utf-8', { ignoreBOM: true })

/** Graphemes of this many bytes or more are replaced character by character. */
const LONG = 6

/** [4-byte length of the trie, the trie's 32-bit units, replacements that end with 0], base64. */
export function precompiled(base64: string, where: string): (given: string) => string {
  const bytes = Buffer.from(base64, 'base64')
  const size = bytes.length < 4 ? 0 : bytes.readUInt32LE(0)
  if (size === 0 || size % 4 !== 0 || size + 4 > bytes.length)
    throw new HebbError('BAD_FILE', `Expected ${where} of a tokenizer.json to be a table, got ${bytes.length} bytes`)
  const units = Uint32Array.from({ length: size / 4 }, (_, i) => bytes.readUInt32LE(4 + 4 * i))
  const replacements = bytes.subarray(4 + size)
  const unit = (at: number) => units[at] ?? 0
  const childrenOf = (at: number) => ((unit(at) >>> 10) << ((unit(at) & 0x200) >>> 6)) >>> 0
  /** What the first bytes that are in the table become; those behind them are dropped with them. */
  const replaced = (part: string): string | undefined => {
    let at = childrenOf(0)
    for (const byte of utf8.encode(part)) {
      if (byte === 0) return undefined
      at = (at ^ byte) >>> 0
      const found = unit(at)
      if ((found & 0x800000ff) >>> 0 !== byte) return undefined
      at = (at ^ childrenOf(at)) >>> 0
      if ((found & 0x100) === 0) continue
      const start = unit(at) & 0x7fffffff
      const end = replacements.indexOf(0, start)
      return text.decode(replacements.subarray(start, end < 0 ? undefined : end))
    }
    return undefined
  }
  const graphemes = new Intl.Segmenter('en', { granularity: 'grapheme' })
  return (given) => {
    let out = ''
    for (const { segment } of graphemes.segment(given)) {
      const whole = utf8.encode(segment).length < LONG ? replaced(segment) : undefined
      if (whole !== undefined) out += whole
      else for (const character of segment) out += replaced(character) ?? character
    }
    return out
  }
}
