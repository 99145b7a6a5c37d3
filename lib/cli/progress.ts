/** One line that is drawn again and again on a terminal, at most every 50 ms, and never elsewhere. */
export class ProgressLine {
  readonly #stream: NodeJS.WriteStream
  #drawn = 0
  #shown = false

  constructor(stream: NodeJS.WriteStream) {
    this.#stream = stream
  }

  /** `share` of 1 as a bar, between two texts. */
  draw(before: string, share: number, after: string): void {
    const now = performance.now()
    if (!this.#stream.isTTY || now - this.#drawn < 50) return
    this.#drawn = now
    const width = Math.max(8, Math.min(40, (this.#stream.columns ?? 80) - before.length - after.length - 6))
    const full = Math.round(width * Math.min(1, share))
    this.#stream.write(`\r\x1b[2K${before} ${'█'.repeat(full)}${'░'.repeat(width - full)} ${after}`)
    this.#shown = true
  }

  clear(): void {
    if (this.#shown) this.#stream.write('\r\x1b[2K')
    this.#shown = false
  }
}
