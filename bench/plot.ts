/**
 * A plot on two logarithmic axes as SVG that stands alone: points, fitted or joining lines, a legend, in colours for
 * light and for dark.
 */

export interface PlotSeries {
  readonly name: string
  readonly points: readonly (readonly [x: number, y: number])[]
  /** A fit: y = factor * x^exponent. */
  readonly fit?: { readonly factor: number; readonly exponent: number }
  /**
   * Dots alone (the default), dots joined by a line, or rings, through which the dots beneath are seen, in the colour
   * of the series before.
   */
  readonly mark?: 'dot' | 'line' | 'ring'
}

export interface PlotOptions {
  readonly title: string
  readonly subtitle?: string
  readonly x: string
  readonly y: string
  readonly series: readonly PlotSeries[]
}

const WIDTH = 720
const HEIGHT = 480
const LEFT = 78
const RIGHT = 24
const TOP = 64
const BOTTOM = 58

const escaped = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
const SUPERSCRIPTS = '⁰¹²³⁴⁵⁶⁷⁸⁹'
const power = (n: number) => `10${[...String(n)].map((c) => (c === '-' ? '⁻' : SUPERSCRIPTS[Number(c)])).join('')}`

/** Whole decades that hold all values; one that is over by a hair may stand on the edge. */
function decades(values: readonly number[]): [number, number] {
  const logs = values.map(Math.log10)
  const first = Math.floor(Math.min(...logs) + 0.02)
  return [first, Math.max(first + 1, Math.ceil(Math.max(...logs) - 0.02))]
}

export function logLogPlot({ title, subtitle = '', x, y, series }: PlotOptions): string {
  const points = series.flatMap((one) => one.points)
  const [x0, x1] = decades(points.map(([px]) => px))
  const [y0, y1] = decades(points.map(([, py]) => py))
  const across = (value: number) => LEFT + ((Math.log10(value) - x0) / (x1 - x0)) * (WIDTH - LEFT - RIGHT)
  const down = (value: number) => HEIGHT - BOTTOM - ((Math.log10(value) - y0) / (y1 - y0)) * (HEIGHT - TOP - BOTTOM)
  const at = (n: number) => n.toFixed(1)
  const out: string[] = []
  const line = (ax: number, ay: number, bx: number, by: number, kind: string) =>
    out.push(`<line class="${kind}" x1="${at(ax)}" y1="${at(ay)}" x2="${at(bx)}" y2="${at(by)}"/>`)
  const text = (px: number, py: number, content: string, kind: string, more = '') =>
    out.push(`<text class="${kind}" x="${at(px)}" y="${at(py)}"${more}>${escaped(content)}</text>`)

  for (let d = x0; d <= x1; ++d) {
    for (let n = 1; n < 10 && (d < x1 || n === 1); ++n)
      line(across(n * 10 ** d), TOP, across(n * 10 ** d), HEIGHT - BOTTOM, n === 1 ? 'grid' : 'fine')
    text(across(10 ** d), HEIGHT - BOTTOM + 18, power(d), 'tick', ' text-anchor="middle"')
  }
  for (let d = y0; d <= y1; ++d) {
    for (let n = 1; n < 10 && (d < y1 || n === 1); ++n)
      line(LEFT, down(n * 10 ** d), WIDTH - RIGHT, down(n * 10 ** d), n === 1 ? 'grid' : 'fine')
    text(LEFT - 8, down(10 ** d) + 4, power(d), 'tick', ' text-anchor="end"')
  }
  const colours = series.map((_, i) => (series.slice(0, i + 1).filter(({ mark }) => mark !== 'ring').length + 3) % 4)
  const mark = (px: string, py: string, i: number) => {
    const ring = series[i]?.mark === 'ring'
    out.push(`<circle class="${ring ? 'ring' : 'dot'} s${colours[i]}" cx="${px}" cy="${py}" r="${ring ? 7 : 4}"/>`)
  }
  for (const [i, { points: own, fit, mark: kind }] of series.entries()) {
    if (fit) {
      const ends = [Math.min(...own.map(([px]) => px)), Math.max(...own.map(([px]) => px))] as const
      const value = (px: number) => fit.factor * px ** fit.exponent
      line(across(ends[0]), down(value(ends[0])), across(ends[1]), down(value(ends[1])), `fit s${colours[i]}`)
    }
    const places = own.map(([px, py]) => [at(across(px)), at(down(py))] as const)
    if (kind === 'line') out.push(`<polyline class="join s${colours[i]}" points="${places.join(' ')}"/>`)
    for (const [px, py] of places) mark(px, py, i)
  }
  text(LEFT, 26, title, 'title')
  text(LEFT, 46, subtitle, 'label')
  text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14, x, 'label', ' text-anchor="middle"')
  const middle = (TOP + HEIGHT - BOTTOM) / 2
  text(20, middle, y, 'label', ` text-anchor="middle" transform="rotate(-90 20 ${at(middle)})"`)
  for (const [i, { name, fit }] of series.entries()) {
    const py = TOP + 20 + 20 * i
    mark(String(LEFT + 16), String(py - 4), i)
    text(LEFT + 28, py, fit ? `${name}: exponent ${fit.exponent.toFixed(3)}` : name, 'name')
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" \
role="img" aria-label="${escaped(title).replaceAll('"', '&quot;')}">
<style>
svg { font: 13px system-ui, sans-serif; --back: #ffffff; --ink: #1f2328; \
--soft: #59636e; --grid: #c8ced4; --fine: #eceff2 }
.s0 { --c: #0b62c4 } .s1 { --c: #b4470b } .s2 { --c: #1a7f37 } .s3 { --c: #8250df }
@media (prefers-color-scheme: dark) {
  svg { --back: #0d1117; --ink: #f0f6fc; --soft: #9198a1; --grid: #3d444d; --fine: #1d232b }
  .s0 { --c: #58a6ff } .s1 { --c: #f0883e } .s2 { --c: #3fb950 } .s3 { --c: #bc8cff }
}
.back { fill: var(--back) } text { fill: var(--ink) } .title { font-size: 16px; font-weight: 600 } \
.tick, .label { fill: var(--soft) }
.grid { stroke: var(--grid) } .fine { stroke: var(--fine) }
.dot { fill: var(--c) } .fit { stroke: var(--c); stroke-width: 1.5; stroke-dasharray: 6 4 }
.join, .ring { fill: none; stroke: var(--c); stroke-width: 1.5 }
</style>
<rect class="back" width="${WIDTH}" height="${HEIGHT}"/>
${out.join('\n')}
</svg>
`
}
