/**
 * Every operation as a user of the package calls it: recorded into a Program of its own and replayed from JavaScript.
 * What the crossing costs stands beside it: a replay that does nothing, and copies to and from native memory. ns an
 * item and GB/s mean what they mean in the C++ benchmarks (bench/cpp): bytes are those between registers and caches.
 */

import {
  Activations,
  brf,
  Device,
  erdosRenyi,
  type Links,
  Program,
  predictLinks,
  SparseMatrix,
  sampleWithoutReplacement,
  Tensor,
} from '../lib/index.js'
import type { OperationName } from '../lib/operands.js'
import {
  type BenchOptions,
  milliseconds,
  numbers,
  progress,
  Quiet,
  type Report,
  type Row,
  rowOf,
  type Series,
} from './measure.js'

/** Share of the links that an update replaces. */
const REMOVED = 0.3
/** Milliseconds that a sample takes at least, where a call takes less. */
const SAMPLE = 15
/** Multiply-adds of link prediction above which a shape is left out. */
const MOST_PATHS = 1e9

/** Sequences of a batch of text, tokens of each, and the network's width and heads. */
const TEXT = { sequences: 64, length: 16, features: 512, heads: 8, words: 8000 }
const TOKENS = TEXT.sequences * TEXT.length

interface Shape {
  readonly rows: number
  readonly cols: number
  readonly density: number
}
const SHORT: Shape[] = [{ rows: 1568, cols: 1568, density: 0.01 }]
const FULL: Shape[] = [
  [1568, 784],
  [1568, 1568],
  [4096, 4096],
].flatMap(([rows, cols]) =>
  [0.01, 0.02, 0.05, 0.1].map((density) => ({ rows: rows as number, cols: cols as number, density })),
)

/** What an operation is about: its items, and what a call computes and moves. */
interface Cost {
  readonly item: string
  readonly items: number
  readonly flop?: number
  readonly bytes?: number
}

/** Native memory that is given back together. */
class Workspace {
  readonly device: Device
  readonly #owned: { dispose(): void }[] = []

  constructor(device: Device) {
    this.device = device
  }

  keep<T extends { dispose(): void }>(owned: T): T {
    this.#owned.push(owned)
    return owned
  }

  floats(count: number): Tensor {
    return this.keep(new Tensor(this.device, 'float32', numbers(count)))
  }

  zeros<T extends 'float32' | 'float64' | 'int32' | 'uint8' | 'uint64'>(type: T, count: number): Tensor<T> {
    return this.keep(new Tensor(this.device, type, count))
  }

  async batch(features: number, columns: number): Promise<Activations> {
    const activations = this.keep(new Activations(this.device, features, columns))
    await activations.write(numbers(features * columns))
    return activations
  }

  [Symbol.dispose](): void {
    for (const one of this.#owned.reverse()) one.dispose()
  }
}

class Timing {
  readonly rows: Row[] = []
  readonly #options: BenchOptions

  constructor(options: BenchOptions) {
    this.#options = options
  }

  /** Times `call`, which does its work `count` times. */
  async time(name: string, about: Partial<Row>, cost: Cost, call: (count: number) => unknown): Promise<void> {
    progress(`operations: ${name}`)
    const { rounds, quick, threads } = this.#options
    await call(1)
    let count = 1
    for (
      let ms = await milliseconds(() => call(1));
      !quick && ms < SAMPLE && count < 1 << 20;
      ms = await milliseconds(() => call(count))
    ) {
      count *= ms > SAMPLE / 100 ? Math.ceil(SAMPLE / ms) : 64
    }
    const seconds: number[] = []
    for (let round = 0; round < rounds; ++round) seconds.push((await milliseconds(() => call(count))) / 1000 / count)
    const parts = [
      about.rows && about.cols ? `${about.cols}x${about.rows}` : about.rows,
      about.density && `${100 * about.density}%`,
      about.batch && `batch:${about.batch}`,
    ]
    const full = [name, ...parts.filter((part) => part)].join('/')
    const { item, items, ...moved } = cost
    this.rows.push(rowOf({ ...about, name: full, operation: name, threads, item, items }, seconds, moved))
  }

  /** Records an operation, or a few, and times the replay. Those with values of the program are made for it. */
  async replay(
    w: Workspace,
    operations: readonly [string, object][] | ((program: Program) => readonly [string, object][]),
    about: Partial<Row>,
    cost: Cost,
    options: { name?: string; scalars?: number[]; samples?: number } = {},
  ): Promise<void> {
    const { name = (operations as [string, object][])[0]?.[0] as string, scalars = [0], samples = 0 } = options
    const batch = about.batch ?? 1
    const program = new Program(w.device, { scalars: scalars.length, batch })
    try {
      const all = typeof operations === 'function' ? operations(program) : operations
      for (const [operation, operands] of all) program.record(operation as OperationName, operands as never)
      // Batch after batch of a stream, or always the same columns.
      await program.replay(0, { begin: { scalars, samples } })
      await this.time(name, about, cost, (count) => program.replay(count))
    } finally {
      program.dispose()
    }
  }
}

async function crossing(timing: Timing, w: Workspace, quick: boolean): Promise<void> {
  const empty = w.keep(new Program(w.device))
  await timing.time('replay(1) of an empty program', {}, { item: 'call', items: 1 }, async (count) => {
    for (let i = 0; i < count; ++i) await empty.replay(1)
  })
  await timing.time('replay(n) of an empty program', {}, { item: 'step', items: 1 }, (count) => empty.replay(count))
  for (const kib of quick ? [4] : [4, 1024, 65536]) {
    const tensor = w.zeros('float32', 256 * kib)
    const data = numbers(256 * kib)
    const bytes = 2 * 1024 * kib // read and written
    const about = { rows: 256 * kib }
    await timing.time('Tensor.write', about, { item: 'value', items: 256 * kib, bytes }, async (count) => {
      for (let i = 0; i < count; ++i) await tensor.write(data)
    })
    await timing.time('Tensor.read', about, { item: 'value', items: 256 * kib, bytes }, async (count) => {
      for (let i = 0; i < count; ++i) await tensor.read()
    })
  }
  const batch = await w.batch(784, 32)
  const data = numbers(784 * 32)
  const cost = { item: 'value', items: 784 * 32, bytes: 2 * 4 * 784 * 32 }
  await timing.time('Activations.write', { rows: 784, batch: 32 }, cost, async (count) => {
    for (let i = 0; i < count; ++i) await batch.write(data)
  })
  await timing.time('Activations.read', { rows: 784, batch: 32 }, cost, async (count) => {
    for (let i = 0; i < count; ++i) await batch.read()
  })
}

/** Operations on a batch without links: gathering, the dense layer, losses. */
async function dense(timing: Timing, w: Workspace, batch: number, quick: boolean): Promise<void> {
  const [features, samples, classes] = [784, quick ? 640 : 60000, 10]
  const values = features * batch
  const indices = w.keep(
    new Tensor(
      w.device,
      'int32',
      Int32Array.from({ length: samples }, (_, i) => (i * 7919) % samples),
    ),
  )
  const x = await w.batch(features, batch)
  const about = { rows: features, batch }
  const gather = { samples, indices, count: samples, scale: 1 / 255, output: x }
  const bytes = w.zeros('uint8', samples * features)
  await timing.replay(
    w,
    [['gather', { ...gather, bytes }]],
    about,
    { item: 'value', items: values, flop: 2 * values, bytes: 5 * values },
    { name: 'gather bytes', samples },
  )
  const some = Math.floor(samples / 4)
  const floats = w.zeros('float32', some * features)
  const fromFloats = { ...gather, floats, samples: some, count: some, indices: w.zeros('int32', some) }
  await timing.replay(
    w,
    [['gather', fromFloats]],
    about,
    { item: 'value', items: values, flop: 2 * values, bytes: 8 * values },
    { name: 'gather floats', samples: some },
  )
  const targets = w.zeros('int32', Math.ceil(batch / 16) * 16)
  const labels = { labels: w.zeros('int32', samples), samples, indices, count: samples, targets }
  await timing.replay(
    w,
    [['gatherLabels', labels]],
    { batch },
    { item: 'label', items: batch, bytes: 12 * batch },
    { samples },
  )
  const permute = { indices: w.zeros('int32', samples), count: samples, seed: 1, epoch: 0, identity: false }
  await timing.replay(
    w,
    [['permute', permute]],
    { rows: samples },
    { item: 'index', items: samples, bytes: 4 * samples },
  )

  const relu = { input: x, output: await w.batch(features, batch) }
  await timing.replay(w, [['relu', relu]], about, { item: 'value', items: values, bytes: 8 * values })
  const reluGradient = { output: x, outputGradient: relu.output, inputGradient: await w.batch(features, batch) }
  await timing.replay(w, [['reluGradient', reluGradient]], about, { item: 'value', items: values, bytes: 12 * values })

  const weights = features * classes
  const [y, dy, dx] = [await w.batch(classes, batch), await w.batch(classes, batch), await w.batch(features, batch)]
  const shape = { rows: classes, cols: features, batch }
  const cost = {
    item: 'weight',
    items: weights,
    flop: 2 * weights * batch,
    bytes: 4 * weights + 4 * batch * (features + classes),
  }
  const matrix = w.floats(weights)
  await timing.replay(w, [['linear', { weights: matrix, bias: w.floats(classes), input: x, output: y }]], shape, cost)
  const back = { weights: matrix, outputGradient: dy, inputGradient: dx, input: x, activation: 'relu' }
  await timing.replay(w, [['linearTransposed', back]], shape, { ...cost, bytes: cost.bytes + 4 * batch * features })
  const gradient = {
    outputGradient: dy,
    input: x,
    gradient: w.zeros('float32', weights),
    biasGradient: w.zeros('float32', classes),
  }
  await timing.replay(w, [['linearGradient', gradient]], shape, cost)

  const totals = w.zeros('float64', 4)
  const outputs = classes * batch
  const loss = { rows: classes, batch }
  await timing.replay(w, [['softmaxCrossEntropy', { logits: y, targets, gradient: dy, totals }]], loss, {
    item: 'value',
    items: outputs,
    flop: 41 * outputs,
    bytes: 16 * outputs,
  })
  const squared = { output: y, target: await w.batch(classes, batch), gradient: dy, totals }
  await timing.replay(w, [['meanSquaredError', squared]], loss, {
    item: 'value',
    items: outputs,
    flop: 4 * outputs,
    bytes: 12 * outputs,
  })
}

/** Operations on the tokens of sequences. */
async function sequences(timing: Timing, w: Workspace, quick: boolean): Promise<void> {
  const { sequences, length, features, heads, words } = quick ? { ...TEXT, features: 64, words: 200 } : TEXT
  const about = { rows: features, batch: TOKENS }
  const values = features * TOKENS
  const batch = () => w.batch(features, TOKENS)
  const table = w.floats(words * features)
  // Numbers of words, as if at random.
  const numbered = Int32Array.from({ length: TOKENS }, (_, i) => (i * 7919) % words)
  const tokens = w.keep(new Tensor(w.device, 'int32', numbered))
  const embedding = { tokens, table, words, scale: Math.sqrt(features), output: await batch() }
  const cost = { item: 'value', items: values, flop: values, bytes: 8 * values }
  await timing.replay(w, [['embedding', embedding]], about, cost)
  const gradient = w.zeros('float32', words * features)
  const embeddingGradient = { tokens, words, scale: Math.sqrt(features), outputGradient: await batch(), gradient }
  await timing.replay(w, [['embeddingGradient', embeddingGradient]], about, {
    ...{ item: 'value', items: values, flop: 2 * values },
    bytes: 4 * words * features + 12 * values, // all rows are set to 0 first
  })

  const offsets = w.keep(
    new Tensor(
      w.device,
      'int32',
      Int32Array.from({ length: sequences + 1 }, (_, s) => s * length),
    ),
  )
  const [query, key, value, output, outputGradient] = [
    await batch(),
    await batch(),
    await batch(),
    await batch(),
    await batch(),
  ]
  const attention = {
    ...{ query, key, value, output, statistics: await w.batch(2 * heads, TOKENS) },
    ...{ sequences, queryOffsets: offsets, keyOffsets: offsets, heads, probability: 0.1, seed: 1, layer: 0 },
  }
  // Of a query and a key, in all heads together: two products forward, five backward.
  const pairs = { item: 'pair', items: TOKENS * length, flop: 4 * features * TOKENS * length }
  await timing.replay(w, [['attention', attention]], about, pairs)
  const attentionGradient = {
    ...{ ...attention, outputGradient, products: await w.batch(heads, TOKENS) },
    ...{ queryGradient: await batch(), keyGradient: await batch(), valueGradient: await batch() },
  }
  await timing.replay(w, [['attentionGradient', attentionGradient]], about, { ...pairs, flop: 2.5 * pairs.flop })

  // The operation before says how many sequences there are.
  const pooled = (operation: 'pooling' | 'poolingGradient') => (program: Program) => {
    const int32 = (data: Int32Array) => w.keep(new Tensor(w.device, 'int32', data))
    const numbered = Int32Array.from({ length: sequences + 1 }, (_, s) => s)
    const axis = w.keep(program.axis(sequences))
    const ofSequences = w.keep(program.activations(features, operation === 'pooling' ? 'kept' : 'given', axis))
    const gather = {
      ...{ total: sequences, tokens: int32(numbered), sequences, starts: int32(numbered) },
      ...{ planned: sequences, plan: int32(numbered), steps: 1, batches: int32(Int32Array.of(0, sequences)) },
      ...{ most: sequences, axis, output: w.zeros('int32', sequences) },
    }
    const operands =
      operation === 'pooling'
        ? { input: query, output: ofSequences }
        : { outputGradient: ofSequences, inputGradient: output }
    return [
      ['gatherSequences', gather],
      [operation, { ...operands, offsets, kind: 'mean' }],
    ] as [string, object][]
  }
  for (const operation of ['pooling', 'poolingGradient'] as const)
    await timing.replay(
      w,
      pooled(operation),
      about,
      { item: 'value', items: values, flop: values, bytes: 4 * values },
      { name: `gatherSequences and ${operation}` },
    )
}

function linksOf({ rows, cols, density }: Shape): Links {
  return erdosRenyi().generate({ rows, cols, links: Math.round(density * rows * cols), seed: 1, layer: 0 })
}

/** The products of a sparse layer. */
async function products(timing: Timing, w: Workspace, shape: Shape, batch: number): Promise<void> {
  const { rows, cols } = shape
  const links = linksOf(shape)
  const n = links.columnIndices.length
  const weights = w.keep(new SparseMatrix(w.device, rows, cols, links))
  const values = w.floats(n)
  const [x, y, dx, dy] = [
    await w.batch(cols, batch),
    await w.batch(rows, batch),
    await w.batch(cols, batch),
    await w.batch(rows, batch),
  ]
  const about = { ...shape, batch }
  const cost = (bytesPerLink: number, once: number, flop = 0): Cost => ({
    item: 'link',
    items: n,
    flop: n * (2 * batch + flop),
    bytes: n * (4 * batch + bytesPerLink) + 4 * batch * once,
  })
  await timing.replay(
    w,
    [['spmm', { weights, values, bias: w.floats(rows), input: x, output: y, activation: 'relu' }]],
    about,
    cost(8, rows),
  )
  const back = { weights, values, outputGradient: dy, inputGradient: dx, input: x, activation: 'relu' }
  await timing.replay(w, [['spmmTransposed', back]], about, cost(12, 2 * cols))
  const gradient = w.zeros('float32', n)
  const sddmm = { pattern: weights, outputGradient: dy, input: x, gradient, biasGradient: w.zeros('float32', rows) }
  await timing.replay(w, [['sddmm', sddmm]], about, cost(8, rows))
  // Fused when it is replayed. At rate 0 the same work is done and the weights stay what they are.
  const sgd = {
    pattern: weights,
    values,
    gradient,
    velocity: w.zeros('float32', n),
    learningRate: 0,
    momentum: 0.9,
    weightDecay: 5e-4,
  }
  await timing.replay(
    w,
    [
      ['sddmm', sddmm],
      ['sgd', sgd],
    ],
    about,
    cost(20, rows, 6),
    { name: 'sddmm+sgd' },
  )
}

/** What a topology update does to a layer, and what is made and measured of its links. */
async function topology(timing: Timing, w: Workspace, shape: Shape): Promise<void> {
  const { rows, cols, density } = shape
  const links = linksOf(shape)
  const n = links.columnIndices.length
  const matrix = w.keep(new SparseMatrix(w.device, rows, cols, links))
  const values = w.floats(n)
  const perLink = (flop = 0, bytes = 0): Cost => ({ item: 'link', items: n, flop: flop * n, bytes: bytes * n })

  const gradient = w.floats(n)
  const velocity = w.zeros('float32', n)
  const sgd = {
    pattern: matrix,
    values,
    gradient,
    velocity,
    learningRate: 0,
    momentum: 0.9,
    weightDecay: 5e-4,
  }
  await timing.replay(w, [['sgd', sgd]], shape, perLink(6, 20))
  const drawn = { pattern: matrix, values: w.zeros('float32', n), deviation: 1, seed: 1, layer: 0 }
  for (const name of ['initializeNormal', 'initializeUniform'])
    await timing.replay(w, [[name, drawn]], shape, perLink(0, 8))

  const changes = {
    keep: w.zeros('uint8', n),
    newRows: w.zeros('int32', n),
    newColumns: w.zeros('int32', n),
    newCount: w.zeros('int32', 1),
  }
  const { keep } = changes
  const scores = w.zeros('float32', n)
  const begin: [string, object] = ['beginUpdate', { links: matrix, changes }]
  await timing.replay(w, [begin], shape, perLink(0, 1))
  await timing.replay(
    w,
    [['importance', { links: matrix, values, keep, rule: 'relative', scores }]],
    shape,
    perLink(5, 27),
    { name: 'importance relative' },
  )
  await timing.replay(
    w,
    [['importance', { links: matrix, values, keep, rule: 'magnitude', scores }]],
    shape,
    perLink(1, 9),
    { name: 'importance magnitude' },
  )
  // Scalars of the update: its number, links that stay, temperature, links in the end.
  const scalars = [1, n - Math.floor(REMOVED * n), 1, n]
  const common = { links: matrix, update: 0, seed: 1, layer: 0 }
  for (const temperature of [2, undefined]) {
    const name = temperature === undefined ? 'beginUpdate and keepLinks largest' : 'beginUpdate and keepLinks sample'
    const operations: [string, object][] = [
      begin,
      ['keepLinks', { ...common, scores, keep, count: 1, temperature, purpose: 'remove' }],
    ]
    await timing.replay(w, operations, shape, perLink(), { name, scalars })
  }
  const nextLinks = linksOf({ rows, cols: rows, density })
  const next = w.keep(new SparseMatrix(w.device, rows, rows, nextLinks))
  const nextKeep = w.keep(new Tensor(w.device, 'uint8', new Uint8Array(nextLinks.columnIndices.length).fill(1)))
  const chain = {
    layers: [
      { links: matrix, keep },
      { links: next, keep: nextKeep },
    ],
    relations: [{ first: 0, second: 1, kind: 'consecutive' }],
  }
  await timing.replay(
    w,
    [['percolate', chain]],
    shape,
    { item: 'neuron', items: rows },
    { name: 'percolate, two layers' },
  )
  const paths = density * cols * density * rows * (rows * density * cols + cols * density * rows)
  for (const predictor of ['none', 'CH2-L3n', 'CH3-L3n']) {
    if (predictor !== 'none' && paths > MOST_PATHS) continue
    for (const selection of predictor === 'none' ? ['sample'] : ['sample', 'largest']) {
      const name = `regrow ${predictor}${predictor === 'none' ? '' : ` ${selection}`}`
      await timing.replay(w, [['regrow', { ...common, changes, predictor, selection, count: 3 }]], shape, perLink(), {
        name,
        scalars,
      })
    }
  }
  const rebuild: [string, object] = ['rebuild', { links: matrix, changes, arrays: [values, velocity] }]
  await timing.replay(w, [begin, rebuild], shape, perLink(), { name: 'beginUpdate and rebuild, nothing changed' })
  const capacity = 2 * n
  const unite = { links: matrix, ever: w.zeros('uint64', capacity), count: w.zeros('uint64', 1), capacity }
  await timing.replay(w, [['uniteLinks', unite]], shape, perLink(0, 12), { name: 'uniteLinks, none new' })
  await timing.replay(w, [['activeNeurons', { links: matrix, counts: w.zeros('int32', 3) }]], shape, {
    item: 'neuron',
    items: rows + cols,
    bytes: 4 * (rows + cols),
  })

  const plain = { rows, cols, ...links }
  const times = (call: () => unknown) => (count: number) => {
    for (let i = 0; i < count; ++i) call()
  }
  if (paths <= MOST_PATHS) {
    for (const predictor of ['CH2-L3n', 'CH3-L3n'] as const)
      await timing.time(
        `predictLinks ${predictor}`,
        shape,
        perLink(),
        times(() => predictLinks(plain, predictor)),
      )
  }
  const weights = numbers(n).map(Math.abs)
  await timing.time(
    'sampleWithoutReplacement',
    shape,
    { item: 'score', items: n },
    times(() => sampleWithoutReplacement(weights, Math.floor(REMOVED * n))),
  )
  for (const made of [brf(), erdosRenyi()]) {
    await timing.time(
      `${made.name} topology`,
      shape,
      perLink(),
      times(() => made.generate({ rows, cols, links: n, seed: 1, layer: 0 })),
    )
  }
}

export async function operations(options: BenchOptions): Promise<Report> {
  const { threads, quick, full } = options
  using device = new Device({ kind: 'cpu', threads })
  const quiet = new Quiet(options)
  const timing = new Timing(options)
  const within = async (body: (w: Workspace) => Promise<void>) => {
    using workspace = new Workspace(device)
    await body(workspace)
    await quiet.settle()
  }
  const batches = full ? [32, 128, 512] : [32]
  await within((w) => crossing(timing, w, quick))
  for (const batch of batches) await within((w) => dense(timing, w, batch, quick))
  await within((w) => sequences(timing, w, quick))
  for (const shape of full ? FULL : SHORT) {
    for (const batch of batches) await within((w) => products(timing, w, shape, batch))
    await within((w) => topology(timing, w, shape))
  }
  const short = timing.rows.filter(
    ({ cols, density, batch }) =>
      (density ?? 0.01) === 0.01 &&
      [32, TOKENS].includes(batch ?? 32) &&
      (cols === undefined || density === undefined || cols === 1568),
  )
  const series = short.map(({ name, item, nsPerItem, gbps, minSeconds, medianSeconds, maxSeconds }): Series => {
    const speed = [
      nsPerItem && item !== 'call' && `${nsPerItem.toPrecision(3)} ns/${item}`,
      gbps && `${gbps.toPrecision(3)} GB/s`,
    ].filter((text) => text)
    return {
      name: [name, ...speed].join(', '),
      unit: 'us',
      samples: [minSeconds, medianSeconds, maxSeconds].map((s) => 1e6 * s),
    }
  })
  return {
    series,
    figures: [],
    rows: timing.rows,
    notes: [`${threads} threads; a time is a replay's for one step, the call divided among its steps`, ...quiet.notes],
  }
}
