/** Tokenizers that are kept with a checkpoint, so that a translator is one file. */
import { HebbError } from '../error.js'
import type { Tokenizers } from '../text/parallel.js'
import { Tokenizer } from '../text/tokenizer.js'

const [SOURCE, TARGET] = ['sourceTokenizer', 'targetTokenizer'] as const

/** The notes of a checkpoint; one tokenizer for both languages is noted once. */
export function tokenizerNotes({ source, target }: Tokenizers): Record<string, string> {
  const [ofSource, ofTarget] = [JSON.stringify(source), JSON.stringify(target)]
  return { [SOURCE]: ofSource, ...(ofTarget !== ofSource && { [TARGET]: ofTarget }) }
}

/** The tokenizers that a checkpoint notes, if it was trained on text. Throws BAD_FILE for what is no tokenizer. */
export function notedTokenizers(notes: Readonly<Record<string, string>>): Tokenizers | undefined {
  const read = (name: typeof SOURCE | typeof TARGET) => {
    try {
      return Tokenizer.from(JSON.parse(notes[name] as string))
    } catch (cause) {
      throw new HebbError('BAD_FILE', `Expected the checkpoint to note a tokenizer.json as ${name}, got another text`, {
        cause,
      })
    }
  }
  if (notes[SOURCE] === undefined) return undefined
  const source = read(SOURCE)
  return { source, target: notes[TARGET] === undefined ? source : read(TARGET) }
}
