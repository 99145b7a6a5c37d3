/**
 * What a translator attends to, as a table whose cells are shaded by their weights: it reads as text where nobody sees
 * colours. The weights of each head are small pictures below.
 */
import { escaped, image } from './svg.js'

export interface HeatMap {
  readonly source: readonly string[]
  readonly target: readonly string[]
  readonly heads: number
  /** [heads][target][source] */
  readonly weights: Float32Array
  /** [target][source] */
  readonly mean: Float32Array
}

/** Shades stop where text on them is still read well. */
export const HEAT_STYLE = `
.heat { border-collapse: collapse; font-size: 12px } .heat caption { text-align: left; color: var(--soft) }
.heat th, .heat td { border: 1px solid var(--line); padding: .1rem .3rem; white-space: pre; vertical-align: bottom }
.heat th[scope=col] { writing-mode: vertical-rl } .heat th { font-weight: 400 } .heat td { text-align: right; \
background: color-mix(in srgb, var(--c) calc(var(--w) * 55%), var(--back)) }`

export function heatMap({ source, target, heads, weights, mean }: HeatMap): string {
  const [rows, cols] = [target.length, source.length]
  const head = source.map((token) => `<th scope="col">${escaped(token)}</th>`).join('')
  const body = target.map((token, row) => {
    const cells = [...mean.subarray(row * cols, (row + 1) * cols)].map(
      (weight) => `<td style="--w:${weight.toFixed(2)}">${Math.round(100 * weight)}</td>`,
    )
    return `<tr><th scope="row">${escaped(token)}</th>${cells.join('')}</tr>`
  })
  const pictures = Array.from({ length: heads }, (_, i) => {
    const own = weights.subarray(i * rows * cols, (i + 1) * rows * cols)
    return `<figure>${image(own, cols, rows, 6)}<figcaption>head ${i + 1}</figcaption></figure>`
  })
  return (
    '<div class="wide"><table class="heat c0"><caption>Weights in percent, the mean of the heads; a row for each ' +
    `token of the translation, a column for each of the source</caption><thead><tr><td></td>${head}</tr></thead>` +
    `<tbody>${body.join('')}</tbody></table></div>` +
    `<details><summary>Each head</summary><div class="row">${pictures.join('')}</div></details>`
  )
}
