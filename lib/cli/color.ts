/**
 * Colours for people, sparing: headings, the bar, and errors. Where a stream is a terminal that has them; NO_COLOR
 * takes them away, and FORCE_COLOR, which counts for more, asks for them. What programs read has none.
 */

/** What is written to: a terminal, a file or a pipe. */
type Stream = Pick<NodeJS.WriteStream, 'isTTY'> & Partial<Pick<NodeJS.WriteStream, 'hasColors'>>

/** Whether what is written there may have colours. */
export function hasColors(stream: Stream, { FORCE_COLOR, NO_COLOR }: NodeJS.ProcessEnv = process.env): boolean {
  if (FORCE_COLOR !== undefined && FORCE_COLOR !== '') return FORCE_COLOR !== '0' && FORCE_COLOR !== 'false'
  if (NO_COLOR !== undefined && NO_COLOR !== '') return false
  return stream.isTTY === true && (stream.hasColors?.() ?? false)
}

const codes = { bold: [1, 22], red: [31, 39], cyan: [36, 39] } as const

/** A text in a colour, or bold, as it is to be written to a stream. */
export function styled(text: string, style: keyof typeof codes, stream: Stream): string {
  const [on, off] = codes[style]
  return hasColors(stream) && text !== '' ? `\x1b[${on}m${text}\x1b[${off}m` : text
}
