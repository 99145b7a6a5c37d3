/**
 * A plot on two logarithmic axes as SVG that stands alone: the chart of reports, with fits, a legend and a style sheet.
 */
import { CHART_STYLE, COLOURS, type Curve, chart, escaped, type Point } from '../lib/report/svg.js'

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
/** Of a line of text below the chart. */
const LINE = 20

const SUPERSCRIPTS = '⁰¹²³⁴⁵⁶⁷⁸⁹'
/** 10³; of a number in between, 2·10³. */
function power(value: number): string {
  const exponent = Math.floor(Math.log10(value) + 1e-9)
  const factor = Math.round(value / 10 ** exponent)
  const raised = [...String(exponent)].map((c) => (c === '-' ? '⁻' : SUPERSCRIPTS[Number(c)])).join('')
  return `${factor === 1 ? '' : `${factor}·`}10${raised}`
}

/** Whole decades that hold all values; one that is over by a hair may stand on the edge. */
function decades(values: readonly number[]): [number, number] {
  const logs = values.map(Math.log10)
  const first = Math.floor(Math.min(...logs) + 0.02)
  return [10 ** first, 10 ** Math.max(first + 1, Math.ceil(Math.max(...logs) - 0.02))]
}

function curvesOf({ name, points, fit, mark }: PlotSeries, colour: number): Curve[] {
  const own: Curve = { name, points, colour, joined: mark === 'line', mark: mark === 'ring' ? 'ring' : 'dot' }
  if (!fit) return [own]
  const xs = points.map(([px]) => px)
  const ends = [Math.min(...xs), Math.max(...xs)].map((px): Point => [px, fit.factor * px ** fit.exponent])
  return [{ name, points: ends, colour, dashed: true }, own]
}

export function logLogPlot({ title, subtitle = '', x, y, series }: PlotOptions): string {
  const points = series.flatMap((one) => one.points)
  const colours = series.map((_, i) => series.slice(0, i + 1).filter(({ mark }) => mark !== 'ring').length - 1)
  const drawn = chart({
    ...{ title, x, y, width: WIDTH, height: HEIGHT, logarithmic: true, xLabel: power, yLabel: power },
    domain: decades(points.map(([px]) => px)),
    range: decades(points.map(([, py]) => py)),
    curves: series.flatMap((one, i) => curvesOf(one, colours[i] as number)),
  })
  const legend = series.map(({ name, fit, mark }, i) => {
    const py = HEIGHT + LINE * (i + 1)
    const [shape, radius] = mark === 'ring' ? ['ring', 6] : ['dot', 3]
    return (
      `<circle class="${shape} c${(colours[i] as number) % COLOURS}" cx="66" cy="${py - 4}" r="${radius}"/>` +
      `<text x="80" y="${py}">${escaped(fit ? `${name}: exponent ${fit.exponent.toFixed(3)}` : name)}</text>`
    )
  })
  const height = HEIGHT + LINE * (series.length + 2)
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" \
role="img" aria-label="${escaped(title)}">
<style>${CHART_STYLE}</style>
<rect width="${WIDTH}" height="${height}" style="fill: var(--back)"/>
${drawn}
${legend.join('\n')}
<text class="tick" x="58" y="${HEIGHT + LINE * (series.length + 1)}">${escaped(subtitle)}</text>
</svg>
`
}
