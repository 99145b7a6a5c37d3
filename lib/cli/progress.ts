/**
 * How far a command is, on a terminal, and never elsewhere: one line that is drawn again and again, at most every 50
 * ms, and never wider than the terminal; where that cannot take a line back, a line now and then.
 */
import { styled } from './color.js'

const BAR = 8
const DUMB_INTERVAL = 10_000 // ms

export class ProgressLine {
  readonly #stream: NodeJS.WriteStream
  readonly #isDumb = process.env.TERM === 'dumb'
  #drawn = Number.NEGATIVE_INFINITY
  #shown = false

  constructor(stream: NodeJS.WriteStream) {
    this.#stream = stream
  }

  /** `share` of 1 as a bar, between two texts; of several behind it, those come last that may be left out. */
  draw(before: string, share: number, after: string | readonly string[]): void {
    const now = performance.now()
    if (!this.#stream.isTTY || now - this.#drawn < (this.#isDumb ? DUMB_INTERVAL : 50)) return
    this.#drawn = now
    if (this.#isDumb) {
      this.#stream.write(`${before} ${Math.floor(100 * share)}% ${[after].flat().join(', ')}\n`)
      return
    }
    const line = progressLine(before, share, after, this.#stream.columns || 80)
    this.#stream.write(`\r\x1b[2K${line.replace(/█+/, (full) => styled(full, 'cyan', this.#stream))}`)
    this.#shown = true
  }

  clear(): void {
    if (this.#shown) this.#stream.write('\r\x1b[2K')
    this.#shown = false
  }
}

/** Less than the terminal's columns: a full line would begin another one. What has no room is cut, the bar last. */
export function progressLine(
  before: string,
  share: number,
  texts: string | readonly string[],
  columns: number,
): string {
  const most = Math.max(0, columns - 1)
  const all = [texts].flat()
  const widthOf = (after: string) => before.length + 1 + BAR + 1 + after.length
  while (all.length > 1 && widthOf(all.join(', ')) > most) all.pop()
  const after = all.join(', ')
  const room = most - before.length - after.length - 2
  const width = Math.max(Math.min(BAR, most), Math.min(40, room))
  const full = Math.round(width * Math.min(1, share))
  const bar = `${'█'.repeat(full)}${'░'.repeat(width - full)}`
  if (room >= width) return `${before} ${bar} ${after}`
  const left = most - width - 1 - after.length - 1
  // What is left to do is worth more than a long name.
  if (left >= 1) return `${left < before.length ? `${before.slice(0, left - 1)}…` : before} ${bar} ${after}`
  return `${bar} ${after}`.slice(0, most)
}

/** How long the rest of some work will take, for a person: none before any is done. */
export function timeLeft(done: number, left: number, ms: number): string[] {
  return done > 0 ? [`${duration((left * ms) / done)} left`] : []
}

/** Milliseconds for a person. */
function duration(ms: number): string {
  const minutes = Math.round(ms / 60_000)
  if (minutes < 1) return `${Math.max(1, Math.round(ms / 1000))} s`
  return minutes < 100 ? `${minutes} min` : `${(minutes / 60).toFixed(1)} h`
}
