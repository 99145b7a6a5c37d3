/**
 * A training step of a translator: sparse, its dense twin, and PyTorch's own Transformer on the same batches, padded.
 * In turns, in one run. And where the time goes: each kind of operation of the same step by itself.
 */
import { availableParallelism } from 'node:os'
import {
  adam,
  chtss,
  crossEntropy,
  dense,
  type Epoch,
  type Method,
  staticSparse,
  Tensor,
  Trainer,
  transformer,
  updateSchedule,
} from '../lib/index.js'
import { type ParallelText, parallelLines, Tokenizer, tokenBatches } from '../lib/text/index.js'
import type { TokenizedText } from '../lib/text/parallel.js'
import {
  type BenchOptions,
  type Figure,
  median,
  milliseconds,
  progress,
  Quiet,
  type Report,
  type Row,
  rowOf,
  type Series,
} from './measure.js'
import { type About, NOT_INSTALLED, PythonProcess, pythonWithTorch, TUNED_BLAS } from './python.js'
import { type Operation, type Recording, recordings } from './recording.js'

interface Shape {
  readonly name: string
  readonly words: number
  readonly features: number
  readonly hidden: number
  /** Of the encoder, and as many of the decoder. */
  readonly layers: number
  readonly heads: number
  /** Of a batch, as tokenBatches() counts them. */
  readonly tokens: number
  /** Between two turns. */
  readonly steps: number
}
const PAPER: Shape = {
  ...{ name: "paper's", words: 8000, features: 512, hidden: 1024, layers: 6, heads: 8 },
  ...{ tokens: 1024, steps: 3 },
}
const SMALL: Shape = { ...PAPER, name: 'small', words: 4000, features: 256, hidden: 512, layers: 3, steps: 10 }
const QUICK: Shape = { ...SMALL, name: 'tiny', words: 200, features: 32, hidden: 64, layers: 1, tokens: 128, steps: 2 }

const DENSITIES = [0.05, 0.1, 1]
const [DROPOUT, SMOOTHING, RATE] = [0.1, 0.1, 1e-4]
const SEED = 1
/** A pool of what is sorted by length: batches are then padded as little as in training. */
const PAIRS = 8192
const SPECIAL = ['<pad>', '<unk>', '<s>', '</s>']
const PADDING = 0

/** Kinds of operations, in the order of the table; the first that fits counts. */
const KINDS: readonly (readonly [kind: string, isOne: (operation: Operation, words: number) => boolean])[] = [
  ['generator, forward', ({ name, operands }, words) => name === 'linear' && featuresOf(operands.output) === words],
  [
    'generator, backward',
    ({ name, operands }, words) => /^linear./.test(name) && featuresOf(operands.outputGradient) === words,
  ],
  // The engine fuses what stands here side by side.
  ['projections with relu, forward', ({ name }) => /^(spmm|linear|relu)$/.test(name)],
  ['projections, backward', ({ name }) => /^(spmm.|sddmm|linear.)/.test(name)],
  ['attention, forward', ({ name }) => name === 'attention'],
  ['attention, backward', ({ name }) => name === 'attentionGradient'],
  ['layerNorm, forward', ({ name }) => name === 'layerNorm'],
  ['layerNorm, backward', ({ name }) => name === 'layerNormGradient'],
  ['dropout, both ways', ({ name }) => name === 'dropout'],
  ['add, both ways', ({ name }) => name === 'add'],
  ['reluGradient', ({ name }) => name === 'reluGradient'],
  ['embedding', ({ name }) => name === 'embedding'],
  ['embeddingGradient', ({ name }) => name === 'embeddingGradient'],
  ['softmaxCrossEntropy', ({ name }) => name === 'softmaxCrossEntropy'],
  ['adam of links', ({ name, operands }) => name === 'adam' && operands.pattern !== undefined],
  ['adam of dense parameters', ({ name }) => name === 'adam'],
  ['batches and sums', () => true],
]

function featuresOf(activations: unknown): number {
  return (activations as { features: number }).features
}

/** Sentences of 6 to 22 tokens, 14 on average, as Multi30k's are; translations are at most 2 longer or shorter. */
async function sentences(words: number, pairs: number): Promise<ParallelText<TokenizedText>> {
  let state = SEED
  const below = (limit: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((limit * state) / 2 ** 32)
  }
  const sources: string[] = []
  const targets: string[] = []
  // Some words are frequent, as in all languages: a word's number is spread evenly on a logarithmic scale.
  const own = words - SPECIAL.length
  const sentence = (length: number) =>
    Array.from({ length }, () => `w${Math.floor(own ** (below(2 ** 20) / 2 ** 20))}`).join(' ')
  for (let i = 0; i < pairs; ++i) {
    const length = 6 + below(5) + below(5) + below(5) + below(5)
    sources.push(sentence(length))
    targets.push(sentence(length - 2 + below(5)))
  }
  const vocabulary = [...SPECIAL, ...Array.from({ length: own }, (_, i) => `w${i + 1}`)]
  const plain = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true }
  const tokenizer = Tokenizer.from({
    version: '1.0',
    added_tokens: SPECIAL.map((content, id) => ({ id, content, ...plain })),
    pre_tokenizer: { type: 'WhitespaceSplit' },
    model: {
      type: 'WordLevel',
      vocab: Object.fromEntries(vocabulary.map((word, id) => [word, id])),
      unk_token: '<unk>',
    },
  })
  return parallelLines(sources, targets, { tokenizer, name: 'made sentences' })
}

/** The batches of training's first pass, as they are for all models of the seed. */
function batchesOf(text: ParallelText<TokenizedText>, tokens: number): Int32Array[] {
  const { sentences, offsets } = tokenBatches({ ...text.lengths, tokens, seed: SEED }).epoch(0)
  return Array.from(offsets.subarray(1), (end, i) => sentences.subarray(offsets[i], end))
}

function trainerOf(shape: Shape, density: number, threads: number, dst: Method): Trainer {
  const { words, features, hidden, layers, heads } = shape
  const model = transformer({
    ...{ sourceWords: words, targetWords: words, features, hidden, heads, density },
    ...{ encoderLayers: layers, decoderLayers: layers, dropout: DROPOUT, seed: SEED },
  })
  return new Trainer(model, {
    optimizer: adam({ learningRate: RATE, beta1: 0.9, beta2: 0.998, epsilon: 1e-9 }),
    loss: crossEntropy({ labelSmoothing: SMOOTHING, paddingClass: PADDING }),
    device: { kind: 'cpu', threads },
    dst,
  })
}

/** A model in training. */
class Ours {
  readonly name: string
  readonly density: number
  readonly samples: number[] = []
  readonly trainer: Trainer
  readonly #shape: Shape
  readonly #epochs: AsyncGenerator<Epoch, void, undefined>
  #step: Recording | undefined

  constructor(shape: Shape, density: number, text: ParallelText<TokenizedText>, { threads, rounds }: BenchOptions) {
    this.name = density === 1 ? 'hebb, dense' : `hebb, ${100 * density}% of the links`
    this.density = density
    this.#shape = shape
    this.trainer = trainerOf(shape, density, threads, density === 1 ? dense() : staticSparse())
    const { steps, tokens } = shape
    this.#epochs = this.trainer.fit(text, { steps: (1 + rounds) * steps, interval: steps, batchSize: tokens })
  }

  /** The steps before the first sample, in which all is recorded and memory found. */
  async warmUp(): Promise<void> {
    const all = await recordings(() => this.#epochs.next())
    this.#step = all.find(({ operations }) => operations.some(({ name }) => name === 'adam'))
  }

  async turn(): Promise<void> {
    const { value: epoch } = await this.#epochs.next()
    if (epoch) this.samples.push((1000 * epoch.seconds) / this.#shape.steps)
  }

  /** Parameters, and those of them that are links of sparse layers. */
  get parameters(): { readonly all: number; readonly links: number } {
    const { parameters, sparse } = this.trainer.model
    const sum = (of: readonly { capacity: number }[]) => of.reduce((total, { capacity }) => total + capacity, 0)
    return { all: sum(parameters), links: sum(sparse) }
  }

  /** Bytes that belong to parameters: weights, gradients and Adam's state. */
  get parameterBytes(): number {
    return this.trainer.model.parameters.reduce(
      (sum, { arrays, capacity }) => sum + 4 * capacity * (arrays.length + 1),
      0,
    )
  }

  /**
   * Milliseconds of each kind of operation in a step, and of all of them together, over the same batches. The weights
   * stay, but what Adam keeps of gradients is lost.
   */
  async apart({ rounds }: BenchOptions): Promise<{ kinds: Map<string, Kind>; whole: number[] }> {
    const step = this.#step
    if (!step) throw new Error('Expected steps before they are taken apart')
    const { words, steps } = this.#shape
    const kindOf = (one: Operation) => KINDS.find(([, isOne]) => isOne(one, words))?.[0]
    const kinds = new Map<string, Kind>()
    for (const [kind] of KINDS) {
      const operations = step.operations.filter((one) => kindOf(one) === kind).length
      if (operations > 0) kinds.set(kind, { operations, samples: [] })
    }
    const whole: number[] = []
    using workspace = new Tensor(this.trainer.device, 'uint8', 1)
    const parts = [{ ...step.part(() => true, workspace), samples: whole }]
    for (const [kind, { samples }] of kinds)
      parts.push({ ...step.part((one) => kindOf(one) === kind, workspace), samples })
    try {
      const begin = { step: 0, scalars: [0] }
      for (let round = 0; round < rounds; ++round) {
        for (const { program, writes, samples } of parts) {
          await program.replay(1, { begin, writes }) // others have used the workspace
          samples.push((await milliseconds(() => program.replay(steps, { begin }))) / steps)
        }
      }
    } finally {
      for (const { program } of parts) program.dispose()
    }
    return { kinds, whole }
  }
}

/** The operations of a kind. */
interface Kind {
  readonly operations: number
  readonly samples: number[]
}

/** The model in PyTorch. */
class Peer {
  readonly name: string
  readonly samples: number[] = []
  readonly #process: PythonProcess
  readonly #shape: Shape
  #about: About & { gflops: number } = { torch: '', blas: '', gflops: Number.NaN }

  constructor(python: string, shape: Shape, threads: number, blasThreads: number) {
    this.name = `PyTorch's Transformer, threads: ${threads}, in BLAS: ${blasThreads}`
    this.#shape = shape
    // Two pools of threads that spin for more work take the processors from each other.
    this.#process = new PythonProcess(python, 'translation.py', blasThreads, { OMP_WAIT_POLICY: 'passive' })
  }

  get about(): About & { gflops: number } {
    return this.#about
  }

  async prepare(setup: object): Promise<void> {
    this.#process.send(setup)
    this.#about = await this.#process.answer()
  }

  /** Milliseconds a step. */
  async measure(first: number, steps: number): Promise<number> {
    this.#process.send({ first, steps })
    const { seconds } = await this.#process.answer<{ seconds: number }>()
    return (1000 * seconds) / steps
  }

  async turn(round: number): Promise<void> {
    const { steps } = this.#shape
    this.samples.push(await this.measure((1 + round) * steps, steps))
  }

  stop(): Promise<void> {
    return this.#process.stop()
  }
}

/** PyTorch at the number of threads that is the fastest here. */
async function fastestPeer(
  shape: Shape,
  text: ParallelText<TokenizedText>,
  batches: readonly Int32Array[],
): Promise<Peer> {
  const python = pythonWithTorch()
  if (!python) throw new Error(NOT_INSTALLED)
  const sentencesOf = ({ tokens, starts }: TokenizedText, batch: Int32Array) =>
    Array.from(batch, (i) => [...tokens.subarray(starts[i], starts[i + 1])])
  const setup = {
    ...{ ...shape, dropout: DROPOUT, labelSmoothing: SMOOTHING, learningRate: RATE, pad: PADDING },
    batches: batches.map((batch) => [sentencesOf(text.source, batch), sentencesOf(text.target, batch)]),
  }
  const all = availableParallelism()
  let best: { peer: Peer; ms: number } | undefined
  for (const [threads, blasThreads] of all > 1
    ? [[all, all] as const, [1, all] as const, [1, 1] as const]
    : [[1, 1] as const]) {
    progress(`translation: PyTorch, ${shape.name}, ${threads} threads, ${blasThreads} in BLAS`)
    const peer = new Peer(python, shape, threads, blasThreads)
    try {
      await peer.prepare({ ...setup, threads })
      const ms = await peer.measure(1, 2)
      if (!best || ms < best.ms) {
        await best?.peer.stop()
        best = { peer, ms }
      } else await peer.stop()
    } catch (error) {
      await Promise.all([peer.stop(), best?.peer.stop()])
      throw new Error(`PyTorch: ${(error as Error).message}`)
    }
  }
  return (best as { peer: Peer }).peer
}

/** Milliseconds of updates by CHTss, from half of the links to 5% of them. */
async function updatesOf(
  shape: Shape,
  text: ParallelText<TokenizedText>,
  { threads, quick }: BenchOptions,
): Promise<number[]> {
  const dst = chtss({ updates: updateSchedule({ every: 1, until: 0.75, fraction: 0.3 }) })
  using trainer = trainerOf(shape, DENSITIES[0] as number, threads, dst)
  const samples: number[] = []
  const options = { steps: quick ? 4 : 8, interval: 1, batchSize: shape.tokens }
  for await (const { updateSeconds } of trainer.fit(text, options))
    if (updateSeconds > 0) samples.push(1000 * updateSeconds)
  return samples
}

interface TokenCounts {
  /** True ones of a batch, on average. */
  readonly source: number
  readonly target: number
  /** Share of what padded batches compute that is padding. */
  readonly padding: number
}

function tokensOf(text: ParallelText<TokenizedText>, batches: readonly Int32Array[]): TokenCounts {
  const { sourceLengths, targetLengths } = text.lengths
  let [source, target, padded] = [0, 0, 0]
  for (const batch of batches) {
    const sources = Array.from(batch, (i) => sourceLengths[i] as number)
    const targets = Array.from(batch, (i) => (targetLengths[i] as number) + 1)
    for (const length of sources) source += length
    for (const length of targets) target += length
    padded += batch.length * (Math.max(...sources) + Math.max(...targets))
  }
  const { length } = batches
  return { source: source / length, target: target / length, padding: 1 - (source + target) / padded }
}

/** What a shape adds to the report. */
interface Findings {
  readonly series: Series[]
  readonly figures: Figure[]
  readonly rows: Row[]
  readonly notes: string[]
}

const percent = (share: number) => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)}%`
const grouped = (count: number) => count.toLocaleString('en-US')

/** Adds steps, their ratios, speed and memory. */
function compare(found: Findings, shape: Shape, models: readonly Ours[], peer: Peer | undefined, target: number): void {
  const { series, figures, notes } = found
  for (const { name, samples } of [...models, ...(peer ? [peer] : [])])
    series.push({ name: `${shape.name}: ${name}, a step`, unit: 'ms', samples })
  const twin = models.find(({ density }) => density === 1) as Ours
  for (const model of models) {
    const ms = median(model.samples)
    const add = (name: string, unit: string, value: number) =>
      figures.push({ name: `${shape.name}: ${model.name}, ${name}`, unit, value })
    if (model !== twin) add('a step of our dense one / of it', 'x', median(twin.samples) / ms)
    if (peer) add('a step of PyTorch / of it', 'x', median(peer.samples) / ms)
    add('target tokens', 'a second', (1000 * target) / ms)
    const held = model.parameterBytes
    add("weights, gradients and Adam's state", 'MB', held / 1e6)
    add('activations and all else', 'MB', (model.trainer.memory().bytes - held) / 1e6)
    if (model === twin) continue
    const { all, links } = model.parameters
    const { all: ofTwin } = twin.parameters
    notes.push(
      `${shape.name}: with ${100 * model.density}% of the links there are ${grouped(all)} parameters, ` +
        `${percent(all / ofTwin)} of the dense model's ${grouped(ofTwin)}, as embeddings and generator are dense; ` +
        `${percent(links / all)} of them are links`,
    )
  }
}

/** Adds where the time of a model's step goes. */
async function takeApart(found: Findings, shape: Shape, model: Ours, options: BenchOptions): Promise<void> {
  const { series, figures, rows } = found
  const { kinds, whole } = await model.apart(options)
  const sum = [...kinds.values()].reduce((ms, { samples }) => ms + median(samples), 0)
  const name = `${shape.name}, ${model.name}`
  for (const [kind, { operations, samples }] of kinds) {
    const share = percent(median(samples) / sum)
    series.push({ name: `${name}: ${kind}, x${operations}, ${share} of the sum`, unit: 'ms', samples })
    const about = { name: `${name}: ${kind}`, operation: kind, density: model.density, batch: shape.tokens }
    const cost = { threads: options.threads, item: 'operation', items: operations }
    const seconds = samples.map((ms) => ms / 1000)
    rows.push(rowOf({ ...about, ...cost }, seconds))
  }
  series.push({ name: `${name}: all of them in one Program, the same batches`, unit: 'ms', samples: whole })
  figures.push({ name: `${name}: sum of the kinds / all in one`, unit: '', value: sum / median(whole) })
}

async function measured(shape: Shape, options: BenchOptions): Promise<Findings & Pick<Report, 'versions'>> {
  const { rounds, quick } = options
  const text = await sentences(shape.words, quick ? 200 : PAIRS)
  const batches = batchesOf(text, shape.tokens)
  const { source, target, padding } = tokensOf(text, batches)
  const found: Findings = { series: [], figures: [], rows: [], notes: [] }
  found.notes.push(
    `${shape.name}: ${shape.features} wide, feed-forward ${shape.hidden}, ${shape.layers} + ${shape.layers} layers, ` +
      `${shape.heads} heads, vocabularies of ${grouped(shape.words)}; batches of ${grouped(shape.tokens)} tokens are ` +
      `${source.toFixed(0)} true ones of sources and ${target.toFixed(0)} of targets on average`,
  )
  const quiet = new Quiet(options)
  const models: Ours[] = []
  let peer: Peer | undefined
  try {
    for (const density of DENSITIES) models.push(new Ours(shape, density, text, options))
    if (!quick) {
      peer = await fastestPeer(shape, text, batches).catch((error: Error) => {
        found.notes.push(error.message)
        return undefined
      })
    }
    for (const model of models) await model.warmUp()
    for (let round = 0; round < rounds; ++round) {
      for (const runner of [...models, ...(peer ? [peer] : [])]) {
        progress(`translation: ${shape.name}, ${runner.name}, round ${round + 1} of ${rounds}`)
        await quiet.settle()
        await runner.turn(round)
      }
    }
    await peer?.stop()
    compare(found, shape, models, peer, target)
    if (peer) {
      const { torch, blas, gflops } = peer.about
      found.notes.push(
        `${shape.name}: PyTorch ${torch}, BLAS: ${blas}, ${gflops.toFixed(1)} GFLOP/s in the generator's product; ` +
          `torch.nn.Transformer on the same batches, ${percent(padding)} of whose tokens are padding there; the ` +
          'fastest of its thread counts, with OMP_WAIT_POLICY=passive',
      )
      if (!TUNED_BLAS.test(blas))
        found.notes.push('UNFAIR: this PyTorch has no tuned BLAS. apt install libopenblas0-pthread')
    }
    for (const model of models) {
      progress(`translation: ${shape.name}, ${model.name}, operation by operation`)
      await quiet.settle()
      await takeApart(found, shape, model, options)
      model.trainer.dispose()
    }
    progress(`translation: ${shape.name}, updates by CHTss`)
    const samples = await updatesOf(shape, text, options)
    found.series.push({ name: `${shape.name}: CHTss, a topology update, from 50% to 5%`, unit: 'ms', samples })
  } finally {
    for (const { trainer } of models) trainer.dispose()
    await peer?.stop()
  }
  found.notes.push(...quiet.notes)
  return { ...found, ...(peer && { versions: { torch: peer.about.torch, blas: peer.about.blas } }) }
}

export async function translation(options: BenchOptions): Promise<Report> {
  const shapes = options.quick ? [QUICK] : options.full ? [SMALL, PAPER] : [SMALL]
  const found = []
  for (const shape of shapes) found.push(await measured(shape, options))
  return {
    series: found.flatMap(({ series }) => series),
    figures: found.flatMap(({ figures }) => figures),
    rows: found.flatMap(({ rows }) => rows),
    notes: [
      `${options.threads} threads; pre-LN, dropout ${DROPOUT}, label smoothing ${SMOOTHING}, Adam; sentences of the ` +
        "benchmark's own; no update among the steps, which include gathering their batches",
      ...found.flatMap(({ notes }) => notes),
    ],
    ...Object.assign({}, ...found.map(({ versions }) => versions && { versions })),
  }
}
