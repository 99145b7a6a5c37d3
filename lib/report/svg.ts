/**
 * Pictures as SVG: curves with bands and marks, and images of a few grey levels. Colours are classes of CHART_STYLE,
 * which the page has.
 */

export const escaped = (text: string) =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')

/** A point with, perhaps, how far the band reaches to both sides. */
export type Point = readonly [x: number, y: number, spread?: number]

export interface Curve {
  readonly name: string
  readonly points: readonly Point[]
  /** Which of the page's colours, from 0. */
  readonly colour: number
  readonly dashed?: boolean
  /** Points are joined, which is the default, or not. A point that is alone has a dot in any case. */
  readonly joined?: boolean
  /** On every point: a dot, or a ring, through which what lies beneath is seen. */
  readonly mark?: 'dot' | 'ring'
}

interface ChartOptions {
  readonly title: string
  readonly x: string
  readonly y: string
  readonly curves: readonly Curve[]
  readonly width?: number
  readonly height?: number
  /** Both axes. Points at or below 0 are left out. */
  readonly logarithmic?: boolean
  /** Of the x axis and the y axis; default: what the curves take. */
  readonly domain?: readonly [number, number]
  readonly range?: readonly [number, number]
  readonly xLabel?: (value: number) => string
  readonly yLabel?: (value: number) => string
  /** The x axis counts things. */
  readonly counts?: boolean
}

export const COLOURS = 8
/** For a page with charts and images, or a picture that stands alone; in colours for light and for dark. */
export const CHART_STYLE = `\
:root { --back: #ffffff; --ink: #1f2328; --soft: #59636e; --line: #d1d9e0; --zero: #f3f5f7 }
.c0 { --c: #0b62c4 } .c1 { --c: #b4470b } .c2 { --c: #1a7f37 } .c3 { --c: #8250df } \
.c4 { --c: #bf3989 } .c5 { --c: #7a6200 } .c6 { --c: #007a7a } .c7 { --c: #59636e }
@media (prefers-color-scheme: dark) {
  :root { --back: #0d1117; --ink: #f0f6fc; --soft: #9198a1; --line: #3d444d; --zero: #1b2129 }
  .c0 { --c: #58a6ff } .c1 { --c: #f0883e } .c2 { --c: #3fb950 } .c3 { --c: #bc8cff } \
.c4 { --c: #ff7bc8 } .c5 { --c: #d6b93a } .c6 { --c: #39c5cf } .c7 { --c: #9198a1 }
}
svg text { font: 11px system-ui, sans-serif; fill: var(--ink) } \
svg .title { font-size: 13px; font-weight: 600 } svg .tick { fill: var(--soft) }
.grid { stroke: var(--line); stroke-width: .6; fill: none } \
.curve { stroke: var(--c); stroke-width: 1.6; fill: none; stroke-linejoin: round } .dashed { stroke-dasharray: 4 3 }
.band { fill: var(--c); opacity: .18 } .dot { fill: var(--c) } \
.ring { stroke: var(--c); stroke-width: 1.5; fill: none } .image { background: var(--zero); fill: var(--ink) }`
/** Points of a curve that are drawn. */
const MOST_POINTS = 400

/** Every n-th element, and the last. */
function thinned<T>(elements: readonly T[], most: number): readonly T[] {
  if (elements.length <= most) return elements
  const each = Math.ceil(elements.length / most)
  return elements.filter((_, i) => i % each === 0 || i === elements.length - 1)
}

/** About `count` round numbers in [from, to], `least` or more from each other. */
function ticks(from: number, to: number, count: number, least = 0): number[] {
  const rough = Math.max(least, (to - from) / count)
  const unit = 10 ** Math.floor(Math.log10(rough))
  const step = unit * ([1, 2, 5, 10].find((n) => n * unit >= rough) as number)
  const first = Math.ceil(from / step - 1e-9)
  return Array.from({ length: Math.max(0, Math.floor(to / step + 1e-9) - first + 1) }, (_, i) =>
    Number(((first + i) * step).toPrecision(12)),
  )
}

/** Powers of ten in [from, to]; of less than two decades, 2 and 5 of each, too. */
function logarithmicTicks(from: number, to: number): number[] {
  const factors = to / from < 100 ? [1, 2, 5] : [1]
  const [first, last] = [Math.floor(Math.log10(from)), Math.floor(Math.log10(to))]
  const all = Array.from({ length: last - first + 1 }, (_, i) =>
    factors.map((factor) => Number((factor * 10 ** (first + i)).toPrecision(6))),
  ).flat()
  return all.filter((value) => value >= from * (1 - 1e-9) && value <= to * (1 + 1e-9))
}

const at = (n: number) => Number(n.toFixed(1)).toString()

/** Curves on two axes. */
export function chart(options: ChartOptions): string {
  const {
    title,
    x,
    y,
    width = 460,
    height = 280,
    logarithmic = false,
    counts = false,
    xLabel = String,
    yLabel = String,
  } = options
  const [left, right, top, bottom] = [58, 12, 30, 42]
  const curves = options.curves.map((curve) => ({
    ...curve,
    points: thinned(
      curve.points.filter(
        ([px, py]) => Number.isFinite(px) && Number.isFinite(py) && (!logarithmic || (px > 0 && py > 0)),
      ),
      MOST_POINTS,
    ),
  }))
  const all = curves.flatMap(({ points }) => points)
  const bounds = (values: number[]): [number, number] => {
    const [low, high] = [
      values.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY),
      values.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY),
    ]
    if (low > high) return logarithmic ? [1, 10] : [0, 1]
    if (low < high) return [low, high]
    return logarithmic ? [low / 2, high * 2] : [low - 0.5 * (Math.abs(low) || 1), high + 0.5 * (Math.abs(high) || 1)]
  }
  const [x0, x1] = options.domain ?? bounds(all.map(([px]) => px))
  const [y0, y1] =
    options.range ?? bounds(all.flatMap(([, py, spread = 0]) => (logarithmic ? [py] : [py - spread, py + spread])))
  const scale = logarithmic ? Math.log10 : (value: number) => value
  const share = (value: number, from: number, to: number) => (scale(value) - scale(from)) / (scale(to) - scale(from))
  const across = (value: number) => left + share(value, x0, x1) * (width - left - right)
  const down = (value: number) => height - bottom - share(value, y0, y1) * (height - top - bottom)
  const out: string[] = []
  const text = (px: number, py: number, content: string, kind: string, more = '') =>
    out.push(`<text class="${kind}" x="${at(px)}" y="${at(py)}"${more}>${escaped(content)}</text>`)

  for (const value of logarithmic ? logarithmicTicks(x0, x1) : ticks(x0, x1, 6, counts ? 1 : 0)) {
    out.push(`<path class="grid" d="M${at(across(value))} ${top}V${height - bottom}"/>`)
    text(across(value), height - bottom + 15, xLabel(value), 'tick', ' text-anchor="middle"')
  }
  for (const value of logarithmic ? logarithmicTicks(y0, y1) : ticks(y0, y1, 5)) {
    out.push(`<path class="grid" d="M${left} ${at(down(value))}H${width - right}"/>`)
    text(left - 6, down(value) + 4, yLabel(value), 'tick', ' text-anchor="end"')
  }
  // What leaves the axes is cut off.
  const [wide, high] = [width - left - right, height - top - bottom]
  out.push(
    `<svg x="${left}" y="${top - 2}" width="${wide + 2}" height="${high + 4}" viewBox="${left} ${top - 2} ` +
      `${wide + 2} ${high + 4}" overflow="hidden">`,
  )
  for (const { points, colour } of curves) {
    if (!points.some(([, , spread]) => spread)) continue
    const edge = (sign: number) =>
      points.map(([px, py, spread = 0]) => `${at(across(px))} ${at(down(py + sign * spread))}`)
    out.push(`<path class="band c${colour % COLOURS}" d="M${[...edge(1), ...edge(-1).reverse()].join('L')}Z"/>`)
  }
  for (const { points, colour, name, dashed, joined = true, mark } of curves) {
    if (points.length === 0) continue
    const kind = `c${colour % COLOURS}${dashed ? ' dashed' : ''}`
    const path = points.map(([px, py]) => `${at(across(px))} ${at(down(py))}`).join('L')
    const isAlone = points.length === 1
    if (joined && !isAlone) out.push(`<path class="curve ${kind}" d="M${path}"><title>${escaped(name)}</title></path>`)
    if (!mark && !isAlone) continue
    const [shape, radius] = mark === 'ring' ? ['ring', 6] : ['dot', 3]
    for (const [px, py] of points)
      out.push(
        `<circle class="${shape} ${kind}" cx="${at(across(px))}" cy="${at(down(py))}" r="${radius}"><title>` +
          `${escaped(name)}</title></circle>`,
      )
  }
  out.push('</svg>')
  text(left, 18, title, 'title')
  text((left + width - right) / 2, height - 8, x, 'tick', ' text-anchor="middle"')
  const middle = at((top + height - bottom) / 2)
  text(13, Number(middle), y, 'tick', ` text-anchor="middle" transform="rotate(-90 13 ${middle})"`)
  return (
    `<svg viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="` +
    `${escaped(title)}">${out.join('')}</svg>`
  )
}

/** Grey levels of an image. */
const LEVELS = 12

/** A picture of [height][width] numbers in [0, 1], 0 as the background. Equal neighbours in a row are one rectangle. */
export function image(values: ArrayLike<number>, width: number, height: number, pixel: number): string {
  const paths: string[] = new Array(LEVELS + 1).fill('')
  for (let y = 0; y < height; ++y) {
    for (let x = 0; x < width; ) {
      const level = Math.round(LEVELS * Math.max(0, Math.min(1, values[y * width + x] as number)))
      let end = x + 1
      while (end < width && Math.round(LEVELS * Math.max(0, Math.min(1, values[y * width + end] as number))) === level)
        ++end
      paths[level] += `M${x} ${y}h${end - x}v1h${x - end}z`
      x = end
    }
  }
  const drawn = paths.map((path, level) =>
    level > 0 && path ? `<path fill-opacity="${(level / LEVELS).toFixed(2)}" d="${path}"/>` : '',
  )
  return (
    `<svg class="image" viewBox="0 0 ${width} ${height}" width="${width * pixel}" height="${height * pixel}" ` +
    `shape-rendering="crispEdges">${drawn.join('')}</svg>`
  )
}
