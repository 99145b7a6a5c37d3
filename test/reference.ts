/**
 * What the operations should compute, in double precision (JavaScript's numbers are float64) and in the plainest way.
 * Batches are [columns][features], as users see them. Nothing here is shared with the library but the types.
 */
import type { LinkPredictor, PlainCsr } from '../lib/tensor.js'

export type Numbers = ArrayLike<number>

/** Sums, and for each the sum of its terms' magnitudes: rounding is measured against that. */
export interface Sums {
  readonly value: Float64Array
  readonly magnitude: Float64Array
}

function sums(length: number): Sums {
  return { value: new Float64Array(length), magnitude: new Float64Array(length) }
}

function add(to: Sums, at: number, term: number): void {
  to.value[at] += term
  to.magnitude[at] += Math.abs(term)
}

/** Calls visit(row, column, place) for every link. */
export function eachLink(csr: PlainCsr, visit: (row: number, col: number, place: number) => void): void {
  for (let row = 0; row < csr.rows; ++row) {
    for (let k = csr.rowOffsets[row]; k < csr.rowOffsets[row + 1]; ++k) visit(row, csr.columnIndices[k], k)
  }
}

// Products

/** y = activation(W x + b). */
export function forward(
  w: PlainCsr,
  values: Numbers,
  bias: Numbers | undefined,
  x: Numbers,
  columns: number,
  activation = 'none',
): Sums {
  const y = sums(columns * w.rows)
  for (let c = 0; c < columns; ++c) {
    if (bias) for (let row = 0; row < w.rows; ++row) add(y, c * w.rows + row, bias[row])
    eachLink(w, (row, col, k) => add(y, c * w.rows + row, values[k] * x[c * w.cols + col]))
  }
  if (activation === 'relu') for (let i = 0; i < y.value.length; ++i) y.value[i] = Math.max(0, y.value[i])
  return y
}

/** dx = W^T dy, times relu's derivative at `input` when given, plus `initial` when given. */
export function backward(
  w: PlainCsr,
  values: Numbers,
  dy: Numbers,
  columns: number,
  { input, initial }: { input?: Numbers; initial?: Numbers | undefined } = {},
): Sums {
  const dx = sums(columns * w.cols)
  for (let c = 0; c < columns; ++c)
    eachLink(w, (row, col, k) => add(dx, c * w.cols + col, values[k] * dy[c * w.rows + row]))
  for (let i = 0; i < dx.value.length; ++i) {
    if (input && !(input[i] > 0)) dx.value[i] = dx.magnitude[i] = 0
    if (initial) add(dx, i, initial[i])
  }
  return dx
}

/** The gradients of the links' values and of the biases, plus `initial` ones when given. */
export function gradients(
  w: PlainCsr,
  dy: Numbers,
  x: Numbers,
  columns: number,
  initial: { values?: Numbers; bias?: Numbers } = {},
): { values: Sums; bias: Sums } {
  const values = sums(w.columnIndices.length)
  const bias = sums(w.rows)
  for (let c = 0; c < columns; ++c) {
    eachLink(w, (row, col, k) => add(values, k, dy[c * w.rows + row] * x[c * w.cols + col]))
    for (let row = 0; row < w.rows; ++row) add(bias, row, dy[c * w.rows + row])
  }
  if (initial.values) for (let k = 0; k < values.value.length; ++k) add(values, k, initial.values[k])
  if (initial.bias) for (let row = 0; row < w.rows; ++row) add(bias, row, initial.bias[row])
  return { values, bias }
}

/** All links: a dense layer as a sparse one. */
export function fullCsr(rows: number, cols: number): PlainCsr {
  return {
    rows,
    cols,
    rowOffsets: Int32Array.from({ length: rows + 1 }, (_, r) => r * cols),
    columnIndices: Int32Array.from({ length: rows * cols }, (_, k) => k % cols),
  }
}

// Losses

export interface LossOf {
  /** Sum over the columns. */
  readonly loss: number
  readonly correct: number
  /** Of the mean over the columns. */
  readonly gradient: Float64Array
}

export interface Smoothing {
  readonly labelSmoothing: number
  readonly paddingClass?: number | undefined
}

/** What the classes of a target should be, smoothed. */
function smoothed(target: number, classes: number, { labelSmoothing, paddingClass }: Smoothing): number[] {
  const others = Array.from({ length: classes }, (_, k) => k).filter((k) => k !== target && k !== paddingClass)
  const q = new Array<number>(classes).fill(0)
  for (const k of others) q[k] = labelSmoothing / others.length
  q[target] = 1 - labelSmoothing
  return q
}

export function softmaxCrossEntropy(
  logits: Numbers,
  targets: Numbers,
  classes: number,
  columns: number,
  smoothing: Smoothing = { labelSmoothing: 0 },
): LossOf {
  const gradient = new Float64Array(columns * classes)
  let loss = 0
  let correct = 0
  for (let c = 0; c < columns; ++c) {
    const z = Array.from({ length: classes }, (_, k) => logits[c * classes + k])
    const top = Math.max(...z)
    const total = z.reduce((sum, v) => sum + Math.exp(v - top), 0)
    const q = smoothed(targets[c], classes, smoothing)
    for (let k = 0; k < classes; ++k) if (q[k] > 0) loss += q[k] * (Math.log(total) + top - z[k])
    correct += z.indexOf(top) === targets[c] ? 1 : 0
    for (let k = 0; k < classes; ++k) gradient[c * classes + k] = (Math.exp(z[k] - top) / total - q[k]) / columns
  }
  return { loss, correct, gradient }
}

export function meanSquaredError(output: Numbers, target: Numbers, features: number, columns: number): LossOf {
  const gradient = new Float64Array(columns * features)
  let loss = 0
  for (let i = 0; i < columns * features; ++i) {
    const difference = output[i] - target[i]
    loss += difference ** 2 / features
    gradient[i] = (2 * difference) / (features * columns)
  }
  return { loss, correct: 0, gradient }
}

/** Central differences of `loss` in each element of `at`, which is left as it was. */
export function numericalGradient(loss: () => number, at: Float64Array, step = 1e-5): Float64Array {
  return at.map((x, i) => {
    at[i] = x + step
    const above = loss()
    at[i] = x - step
    const below = loss()
    at[i] = x
    return (above - below) / (2 * step)
  })
}

// Topology

/** Whether a link exists, cell by cell. */
export function maskOf(csr: PlainCsr): Uint8Array {
  const mask = new Uint8Array(csr.rows * csr.cols)
  eachLink(csr, (row, col) => {
    mask[row * csr.cols + col] = 1
  })
  return mask
}

/**
 * Scores of all cells by the definition (methods.md, section 3); 0 where a link exists. O(M N (M + N)), by paths
 * O(paths).
 */
export function linkScores(csr: PlainCsr, predictor: LinkPredictor): Float64Array {
  const { rows: m, cols: n } = csr
  const a = maskOf(csr)
  const outputDegree = new Float64Array(m)
  const inputDegree = new Float64Array(n)
  const outputCommon = new Float64Array(m * m)
  const inputCommon = new Float64Array(n * n)
  for (let u = 0; u < m; ++u) {
    for (let v = 0; v < n; ++v) {
      if (!a[u * n + v]) continue
      ++outputDegree[u]
      ++inputDegree[v]
      for (let k = 0; k < m; ++k) outputCommon[u * m + k] += a[k * n + v]
      for (let b = 0; b < n; ++b) inputCommon[v * n + b] += a[u * n + b]
    }
  }
  const numerator = (common: number) => (predictor.startsWith('CH2') ? common + 1 : 1)
  const scores = new Float64Array(m * n)
  for (let u = 0; u < m; ++u) {
    for (let v = 0; v < n; ++v) {
      if (a[u * n + v]) continue
      let score = 0
      if (predictor.endsWith('p')) {
        // All paths u - b - k - v.
        for (let k = 0; k < m; ++k) {
          if (!a[k * n + v]) continue
          for (let b = 0; b < n; ++b) {
            if (!a[u * n + b] || !a[k * n + b]) continue
            const [byOutput, byInput] = [outputCommon[u * m + k], inputCommon[v * n + b]]
            score += Math.sqrt(
              (numerator(byInput) * numerator(byOutput)) / ((inputDegree[b] - byInput) * (outputDegree[k] - byOutput)),
            )
          }
        }
        scores[u * n + v] = score
        continue
      }
      for (let k = 0; k < m; ++k) {
        const common = outputCommon[u * m + k]
        if (k !== u && a[k * n + v] && common > 0) score += numerator(common) / Math.max(outputDegree[k] - common, 1)
      }
      for (let b = 0; b < n; ++b) {
        const common = inputCommon[v * n + b]
        if (b !== v && a[u * n + b] && common > 0) score += numerator(common) / Math.max(inputDegree[b] - common, 1)
      }
      scores[u * n + v] = score
    }
  }
  return scores
}

/** |w|, or |w| / its column's sum + |w| / its row's sum, both over the links with `keep`; 0 for the others. */
export function importance(
  csr: PlainCsr,
  values: Numbers,
  keep: Numbers,
  rule: 'magnitude' | 'relative',
): Float64Array {
  const rowSums = new Float64Array(csr.rows)
  const columnSums = new Float64Array(csr.cols)
  eachLink(csr, (row, col, k) => {
    if (!keep[k]) return
    rowSums[row] += Math.abs(values[k])
    columnSums[col] += Math.abs(values[k])
  })
  const scores = new Float64Array(csr.columnIndices.length)
  eachLink(csr, (row, col, k) => {
    const size = Math.abs(values[k])
    if (keep[k]) scores[k] = rule === 'magnitude' || size === 0 ? size : size / columnSums[col] + size / rowSums[row]
  })
  return scores
}

export interface Relation {
  readonly first: number
  readonly second: number
  readonly kind: 'consecutive' | 'joint'
}

/** The flags after percolation: backward over the relations, then forward. */
export function percolate(
  layers: readonly PlainCsr[],
  keep: readonly Uint8Array[],
  relations: readonly Relation[],
): Uint8Array[] {
  const flags = keep.map((k) => k.slice())
  const linksOf = (layer: number, side: 'row' | 'col', neuron: number) => {
    const places: number[] = []
    eachLink(layers[layer], (row, col, k) => {
      if ((side === 'row' ? row : col) === neuron && flags[layer][k]) places.push(k)
    })
    return places
  }
  const clear = (layer: number, side: 'row' | 'col', neuron: number) => {
    for (const k of linksOf(layer, side, neuron)) flags[layer][k] = 0
  }
  const pass = ({ first, second, kind }: Relation, direction: 'backward' | 'forward') => {
    const sideOfSecond = kind === 'joint' ? 'row' : 'col'
    for (let neuron = 0; neuron < layers[first].rows; ++neuron) {
      const deadBefore = linksOf(first, 'row', neuron).length === 0
      const deadAfter = linksOf(second, sideOfSecond, neuron).length === 0
      if (deadAfter && (kind === 'joint' || direction === 'backward')) clear(first, 'row', neuron)
      if (deadBefore && (kind === 'joint' || direction === 'forward')) clear(second, sideOfSecond, neuron)
    }
  }
  for (const relation of relations.toReversed()) pass(relation, 'backward')
  for (const relation of relations) pass(relation, 'forward')
  return flags
}

// Randomness

/** Philox-4x32-10 (Salmon et al. 2011), with BigInt's exact products. */
export function philox(
  seed: number | bigint,
  counter: readonly [number, number, number, number],
): [number, number, number, number] {
  const word = 0xffffffffn
  let [k0, k1] = [BigInt(seed) & word, BigInt(seed) >> 32n]
  let [c0, c1, c2, c3] = counter.map((c) => BigInt(c >>> 0))
  for (let round = 0; round < 10; ++round) {
    const p0 = 0xd2511f53n * c0
    const p1 = 0xcd9e8d57n * c2
    ;[c0, c1, c2, c3] = [(p1 >> 32n) ^ c1 ^ k0, p1 & word, (p0 >> 32n) ^ c3 ^ k1, p0 & word]
    k0 = (k0 + 0x9e3779b9n) & word
    k1 = (k1 + 0xbb67ae85n) & word
  }
  return [Number(c0), Number(c1), Number(c2), Number(c3)]
}

/** Eight times 16 bits of a draw: of each word the lower ones first. */
export function halves(words: readonly number[]): number[] {
  return words.flatMap((word) => [word & 0xffff, word >>> 16])
}

/** The probability that 16 bits of a draw can have, in units of 2^-16: below it they lose an element. */
export function chance(probability: number): number {
  return Math.min(Math.floor(probability * 2 ** 16 + 0.5), 2 ** 16 - 1)
}

/** What a draw is for (HEBB_PURPOSE in include/hebb). */
export const purposes = {
  topology: 1,
  weights: 2,
  shuffle: 3,
  prune: 4,
  remove: 5,
  regrow: 6,
  fill: 7,
  sample: 8,
  augment: 16,
  dropout: 17,
  attention: 20,
}

export function purposeWord(purpose: keyof typeof purposes, layer = 0): number {
  return ((purposes[purpose] << 24) | (layer & 0xffffff)) >>> 0
}

/**
 * The exponential race's key of a positive score (methods.md, section 4) for 32 random bits: `temperature`
 * log2(score) - log2(E).
 */
export function samplingKey(score: number, random: number, temperature: number): number {
  const uniform = Math.min(Math.fround(Math.fround(Math.fround(random) + 0.5) * 2 ** -32), 1 - 2 ** -24)
  return temperature * Math.log2(score) - Math.log2(-Math.log1p(-uniform))
}

/** An element of a choice: larger keys win; equal ones are told apart by the tie word. */
export interface Ranked {
  readonly key: number
  readonly tie: number
}

/** The `k` best places, ascending; undefined when the decision is so narrow that float32 may see it otherwise. */
export function bestOf(ranked: readonly Ranked[], k: number, margin = 1e-4): number[] | undefined {
  const order = ranked.map((_, i) => i).sort((i, j) => ranked[j].key - ranked[i].key || ranked[j].tie - ranked[i].tie)
  if (k > 0 && k < order.length) {
    const gap = ranked[order[k - 1]].key - ranked[order[k]].key
    if (gap !== 0 && gap < margin) return undefined
  }
  return order.slice(0, k).sort((i, j) => i - j)
}

/** The first `count` distinct numbers of [0, range) in the stream of draws (index, step, purpose). */
export function distinctDraws(count: number, range: number, seed: number, step: number, purpose: number): Set<number> {
  const drawn = new Set<number>()
  for (let i = 0; drawn.size < count; ++i) {
    const [high, low] = philox(seed, [i, 0, step, purpose])
    drawn.add(Number((((BigInt(high) << 32n) | BigInt(low)) * BigInt(range)) >> 64n))
  }
  return drawn
}

// Laws

/**
 * Probability of every set that k sequential draws without replacement can give, each draw proportional to the weights
 * that are left;
 * zero weights are drawn uniformly once no positive one is left. Sets are bit masks.
 */
export function setProbabilities(weights: Numbers, k: number): Map<number, number> {
  const n = weights.length
  let level = new Map<number, number>([[0, 1]])
  for (let draw = 0; draw < k; ++draw) {
    const next = new Map<number, number>()
    for (const [set, probability] of level) {
      const left = Array.from({ length: n }, (_, i) => i).filter((i) => !(set & (1 << i)))
      const positive = left.some((i) => weights[i] > 0)
      const weightOf = (i: number) => (positive ? weights[i] : 1)
      const total = left.reduce((sum, i) => sum + weightOf(i), 0)
      for (const i of left) {
        if (weightOf(i) === 0) continue
        const grown = set | (1 << i)
        next.set(grown, (next.get(grown) ?? 0) + (probability * weightOf(i)) / total)
      }
    }
    level = next
  }
  return level
}

/** (1 + distance)^(-(1-r)/r) of every place of a ring from a centre; 0 < r <= 1 (methods.md, section 6). */
export function ringWeights(size: number, centre: number, r: number): number[] {
  return Array.from({ length: size }, (_, j) => {
    const along = Math.abs(j - centre)
    return (1 + Math.min(along, size - along)) ** (-(1 - r) / r)
  })
}

// Statistics

function logGamma(x: number): number {
  const c = [
    76.18009172947146, -86.50532032941678, 24.01409824083091, -1.231739572450155, 0.1208650973866179e-2,
    -0.5395239384953e-5,
  ]
  const t = x + 5.5 - (x + 0.5) * Math.log(x + 5.5)
  const series = c.reduce((sum, coefficient, i) => sum + coefficient / (x + 1 + i), 1.000000000190015)
  return -t + Math.log((2.5066282746310007 * series) / x)
}

/** The regularised upper incomplete gamma function Q(a, x), by its series or its continued fraction. */
function gammaTail(a: number, x: number): number {
  if (x <= 0) return 1
  const scale = Math.exp(-x + a * Math.log(x) - logGamma(a))
  if (x < a + 1) {
    let term = 1 / a
    let sum = term
    for (let n = 1; Math.abs(term) > 1e-16 * sum; ++n) sum += term *= x / (a + n)
    return 1 - sum * scale
  }
  let b = x + 1 - a
  let c = 1e300
  let d = 1 / b
  let h = d
  for (let n = 1; n < 10000; ++n) {
    const an = -n * (n - a)
    b += 2
    d = 1 / (an * d + b)
    c = b + an / c
    h *= d * c
    if (Math.abs(d * c - 1) < 1e-15) break
  }
  return scale * h
}

/** Probability that a chi-square variate with these degrees of freedom exceeds `statistic`. */
export function chiSquareTail(statistic: number, degrees: number): number {
  return gammaTail(degrees / 2, statistic / 2)
}

/**
 * Pearson's test of counts against probabilities: the p-value. Cells that expect fewer than 5 are pooled; what should
 * not occur must not.
 */
export function chiSquareTest<K>(observed: ReadonlyMap<K, number>, expected: ReadonlyMap<K, number>): number {
  const draws = [...observed.values()].reduce((a, b) => a + b, 0)
  for (const cell of observed.keys()) if (!expected.get(cell)) return 0
  let statistic = 0
  let cells = 0
  let pooled = { observed: 0, expected: 0 }
  for (const [cell, probability] of expected) {
    const [o, e] = [observed.get(cell) ?? 0, probability * draws]
    if (e < 5) {
      pooled = { observed: pooled.observed + o, expected: pooled.expected + e }
    } else {
      statistic += (o - e) ** 2 / e
      ++cells
    }
  }
  if (pooled.expected > 0) {
    statistic += (pooled.observed - pooled.expected) ** 2 / pooled.expected
    ++cells
  }
  return cells < 2 ? 1 : chiSquareTail(statistic, cells - 1)
}

/** The standard normal distribution function. */
export function normalCdf(x: number): number {
  const tail = gammaTail(0.5, x ** 2 / 2) / 2
  return x > 0 ? 1 - tail : tail
}

/** Kolmogorov and Smirnov's test of a sample against a distribution function: the p-value (asymptotic). */
export function kolmogorovTest(sample: Numbers, cdf: (x: number) => number): number {
  const sorted = Float64Array.from(sample).sort()
  const n = sorted.length
  let distance = 0
  for (let i = 0; i < n; ++i) {
    const p = cdf(sorted[i])
    distance = Math.max(distance, p - i / n, (i + 1) / n - p)
  }
  const x = distance * (Math.sqrt(n) + 0.12 + 0.11 / Math.sqrt(n))
  let tail = 0
  for (let k = 1; k < 100; ++k) tail += 2 * (-1) ** (k - 1) * Math.exp(-2 * k ** 2 * x ** 2)
  return Math.min(1, Math.max(0, tail))
}

/** The share of a standard normal distribution below x: by its series, and in the tail by its continued fraction. */
export function normalDistribution(x: number): number {
  const density = Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI)
  const z = Math.abs(x)
  if (z < 5) {
    let [sum, term] = [z, z]
    for (let n = 1; n < 200; ++n) sum += term *= (z * z) / (2 * n + 1)
    return x < 0 ? 0.5 - density * sum : 0.5 + density * sum
  }
  let fraction = z
  for (let n = 100; n > 0; --n) fraction = z + n / fraction
  return x < 0 ? density / fraction : 1 - density / fraction
}
