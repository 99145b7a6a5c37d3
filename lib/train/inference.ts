/** Runs a network forward: outputs for samples, and how good they are. For a trainer as for a predictor. */
import { type Dataset, expectSamples } from '../data/dataset.js'
import { type DataFormat, featuresIn, isScaled, type RawInputs, scaled, seenBy } from '../data/format.js'
import type { Device } from '../device.js'
import { expect, HebbError, known, show } from '../error.js'
import type { Sequential } from '../nn/sequential.js'
import type { Tensor } from '../tensor.js'
import type { BatchOrder } from '../text/batches.js'
import type { Question } from '../text/choices.js'
import { lengthsOf, TextDataset, type TextPart, type Vocabularies } from '../text/dataset.js'
import { LanguageText } from '../text/language.js'
import { isTyped } from '../typed_array.js'
import { checkData, checkVocabularies, featuresOf, lossFor, placesOf, tellsNext } from './check_data.js'
import type { DeviceDatasets } from './device_datasets.js'
import { type Order, placeOf, type Span } from './feed.js'
import { Graph, noTotals, totalsOf } from './graph.js'
import { type Loss, lossFunction } from './loss.js'
import { type ClassificationMetrics, classificationMetrics } from './metrics.js'
import { evaluateChoices } from './multiple_choice.js'
import { type Perplexity, type PerplexityOptions, perplexity } from './perplexity.js'
import { tasks } from './task.js'
import { DeviceText, TextOrder } from './text_feed.js'

/** How good a network is on some data: mean loss, and accuracy in [0, 1]. */
export interface Evaluation {
  readonly loss: number
  /** Share of what the task counts that is right: samples, or the tokens of translations; NaN for a regression. */
  readonly accuracy: number
  /** Of a text, lines, or sentence pairs. */
  readonly samples: number
  /** Of a text, those that were left out, as they are longer than the model takes, or than 2,048 tokens. */
  readonly dropped?: number
  /** Of a data set with labels, where they are asked for. */
  readonly metrics?: ClassificationMetrics
}

/** What evaluate(), predict() and their kin take. */
export interface RunOptions {
  /** Stops after the batch that runs; the promise then rejects with code ABORTED. */
  signal?: AbortSignal | undefined
}

/** What evaluate() takes. */
export interface EvaluateOptions extends RunOptions {
  /** Top-5 accuracy, confusion matrix, precision, recall and F1, too, of a data set with labels. Default false. */
  metrics?: boolean | undefined
}

/**
 * What outputs are asked for of: samples [samples][features], or data that the network could be trained on. Bytes are
 * raw inputs; of numbers, see PredictOptions.
 */
export type Predictable = RawInputs | Dataset | TextDataset

/** What predict() gives, by its name. */
export interface Outputs {
  /** [samples][outputs] as the network gives them. */
  logits: Float32Array
  /** [samples][classes], of each sample 1 together. */
  probabilities: Float32Array
  /** [samples] the most probable class: its name, or its number where classes have no names. */
  labels: string[]
  /** [samples][targets] of a regression, in the units of its targets. */
  values: Float32Array
}

/** What predict() may be asked for. */
export type OutputName = keyof Outputs

/** How inputs are taken, and what is told of them. */
export interface PredictOptions<Output extends OutputName = OutputName> extends RunOptions {
  /**
   * Whether `x` is raw, as files have it, and to be scaled as in training. Bytes always are. Numbers could be either,
   * so it must be said for a network whose training data were scaled; for others, raw is what they see.
   */
  raw?: boolean | undefined
  /** Default 'logits'. */
  output?: Output | undefined
}

/** What a model knows of the data that it was trained on. */
export interface Known {
  readonly vocabularies: Vocabularies | undefined
  readonly format: DataFormat | undefined
}

/** Samples that predict() has taken. */
export interface Samples {
  readonly samples: number
  /** As the network sees them: [count][features]. */
  read(first: number, count: number): Float32Array
}

const PREDICT = { signal: true, raw: true, output: true } as const

const BATCH = 256
const TEXT_BATCH = 2048 // tokens

/** Runs a model forward. Called by one at a time. */
export class Inference {
  readonly #device: Device
  readonly #model: Sequential
  readonly #loss: Loss | undefined
  readonly #datasets: DeviceDatasets
  readonly #workspace: Tensor<'uint8'>
  #evaluating: { order: Order; graph: Graph } | undefined
  #predicting: Graph | undefined

  /** `workspace`: for the values of its graphs. */
  constructor(device: Device, model: Sequential, datasets: DeviceDatasets, workspace: Tensor<'uint8'>, loss?: Loss) {
    this.#device = device
    this.#workspace = workspace
    this.#model = model
    this.#datasets = datasets
    this.#loss = loss
    datasets.onDrop((order) => {
      if (this.#evaluating?.order !== order) return
      this.#evaluating.graph.dispose()
      this.#evaluating = undefined
    })
  }

  async evaluate(set: Dataset | TextDataset, { signal, metrics = false }: EvaluateOptions): Promise<Evaluation> {
    const isText = set instanceof TextDataset
    const labels = isText ? undefined : set.labels
    expect(
      metrics === false || (metrics === true && labels !== undefined),
      () => `Expected metrics to be true or false, and a data set with labels for them, got ${show(metrics)}`,
    )
    const batch = isText ? TEXT_BATCH : Math.min(BATCH, set.samples)
    const order = isText
      ? this.#datasets.ofText(set, { tokens: batch, places: placesOf(this.#model) })
      : this.#datasets.of(set)
    if (this.#evaluating?.order !== order) {
      this.#evaluating?.graph.dispose()
      const graph = new Graph({
        device: this.#device,
        model: this.#model,
        batch,
        features: isText ? 0 : set.features,
        feed: order,
        loss: lossFor(set, this.#loss),
        workspace: this.#workspace,
      })
      this.#evaluating = { order, graph }
    }
    const { graph } = this.#evaluating
    const sums = noTotals()
    let span: Span
    let step = 0
    do {
      span = await order.enter({ epoch: 0, step, stepsPerEpoch: 1 }, batch, signal)
      const next = order.next(span, step, batch)
      await graph.program.replay(span.end - step, {
        ...{ signal, begin: { step, ...placeOf(next) } },
        ...{ writes: [...graph.writes(next), [graph.totals, sums]], reads: [[graph.totals, sums]] },
      })
      step = span.end
    } while (order instanceof TextOrder && step < order.steps)
    const totals = totalsOf(sums)
    const isClassified = isText || set.labels !== undefined
    const { samples } = span
    return {
      ...{ loss: totals.loss, accuracy: isClassified ? totals.accuracy : Number.NaN, samples },
      ...(order instanceof TextOrder && { dropped: order.batches.dropped.length }),
      ...(metrics &&
        !isText && {
          metrics: classificationMetrics(await this.predict(samplesOf(set), { signal }), labels as Int32Array, {
            ignore: set.ignore,
          }),
        }),
    }
  }

  perplexity(text: LanguageText, options: PerplexityOptions): Promise<Perplexity> {
    return perplexity({ device: this.#device, model: this.#model, workspace: this.#workspace }, text, options)
  }

  choices(questions: readonly Question[], vocabularies: Vocabularies | undefined, options: RunOptions) {
    expect(
      vocabularies !== undefined && (vocabularies.separator !== undefined || tellsNext(this.#model)),
      () => 'Expected a language model such as llama(), trained on a text made by languageText(), got another one',
    )
    return evaluateChoices(
      { device: this.#device, model: this.#model, workspace: this.#workspace },
      vocabularies,
      questions,
      options,
    )
  }

  /** Refuses what perplexity() cannot take. */
  checkLanguage(text: LanguageText, known?: Vocabularies): void {
    expect(
      text instanceof LanguageText,
      () => `Expected a text made by languageText() or languageDocuments(), got ${show(text)}`,
    )
    checkData(this.#model, text)
    checkVocabularies(text, known)
  }

  /** Refuses a text of which nothing can be evaluated. */
  expectText(text: TextDataset): void {
    this.#datasets.ofText(text, { tokens: TEXT_BATCH, places: placesOf(this.#model) })
  }

  /** `checked`: what check() has taken, whose memory may be gone by now. */
  async predict(checked: Samples | TextDataset, { signal }: RunOptions): Promise<Float32Array> {
    if (checked instanceof TextDataset) return this.#predictText(checked, signal)
    const { samples } = checked
    const features = this.#model.inFeatures as number
    const classes = this.#model.outFeatures as number
    const batch = Math.min(samples, BATCH)
    if (!this.#predicting || this.#predicting.batch < batch) {
      this.#predicting?.dispose()
      this.#predicting = new Graph({
        device: this.#device,
        model: this.#model,
        batch,
        features,
        workspace: this.#workspace,
      })
    }
    const graph = this.#predicting
    const out = new Float32Array(samples * classes)
    for (let first = 0; first < samples; first += graph.batch) {
      const count = Math.min(graph.batch, samples - first)
      await graph.program.replay(1, {
        ...{ signal, begin: { step: 0, columns: count } },
        writes: graph.writes({
          ...{ samples: 0, first: 0, columns: count },
          host: { x: checked.read(first, count), samples: count },
        }),
        reads: [[graph.output, out.subarray(first * classes, (first + count) * classes), count]],
      })
    }
    return out
  }

  /** What the model gives each sequence, in their order. */
  async #predictText(text: TextDataset, signal: AbortSignal | undefined): Promise<Float32Array> {
    const [device, model, workspace] = [this.#device, this.#model, this.#workspace]
    const classes = model.outFeatures as number
    if (text.samples === 0) return new Float32Array(0)
    const lengths = lengthsOf((text.inputs[0] as TextPart).text)
    const [all, longest] = lengths.reduce(([sum, most], length) => [sum + length, Math.max(most, length)], [0, 0])
    const tokens = Math.max(longest, Math.min(all, TEXT_BATCH))
    const out = new Float32Array(text.samples * classes)
    const owned: { dispose(): void }[] = []
    const own = <T extends { dispose(): void }>(one: T): T => {
      owned.unshift(one)
      return one
    }
    try {
      const data = own(new DeviceText(device, text))
      const order = own(new TextOrder(device, data, text.lengths, { tokens, packed: true }))
      const graph = own(new Graph({ device, model, batch: tokens, features: 0, feed: order, workspace }))
      const span = await order.enter({ epoch: 0, step: 0, stepsPerEpoch: 1 })
      const { sentences, offsets } = order.order as BatchOrder
      for (let step = 0; step < span.end; ++step) {
        const [first, end] = [offsets[step] as number, offsets[step + 1] as number]
        const logits = new Float32Array((end - first) * classes)
        const next = order.next(span, step)
        await graph.program.replay(1, {
          ...{ signal, begin: { step: 0, ...placeOf(next) } },
          ...{ writes: graph.writes(next), reads: [[graph.output, logits, end - first]] },
        })
        for (let i = first; i < end; ++i)
          out.set(logits.subarray((i - first) * classes, (i - first + 1) * classes), (sentences[i] as number) * classes)
      }
    } finally {
      for (const one of owned) one.dispose()
    }
    return out
  }

  /** Refuses what predict() cannot take. */
  check(x: Predictable, options: PredictOptions, of: Known): Samples | TextDataset {
    const { raw, output = 'logits' } = known(options, 'predict()', PREDICT)
    expect(raw === undefined || typeof raw === 'boolean', () => `Expected raw to be true or false, got ${show(raw)}`)
    checkOutput(output, of.format, this.#loss)
    const numbers = isNumbers(x) ? x : undefined
    const data = numbers ? undefined : (x as Dataset | TextDataset)
    expect(
      raw === undefined || !data,
      () => `Expected no raw beside ${data?.name}, which tells itself how it is scaled`,
    )
    if (data instanceof TextDataset) return this.#checkText(data, of.vocabularies)
    const features = featuresOf(this.#model)
    const samples = numbers ? numbers.length / features : (data?.samples as number)
    expect(
      samples > 0 && Number.isInteger(samples),
      () => `Expected x to hold samples of ${features} features, got ${show(x)}`,
    )
    if (!numbers) {
      checkData(this.#model, data as Dataset, this.#loss)
      return samplesOf(data as Dataset)
    }
    const scale = scalingFor(numbers, raw, of.format)
    return {
      samples,
      read(first, count) {
        const [begin, end] = [first * features, (first + count) * features]
        expect(
          numbers.length >= end,
          () =>
            `Expected x to keep its ${end} numbers, got ${numbers.length}. Was its ArrayBuffer transferred or resized?`,
        )
        return scale(numbers.subarray(begin, end))
      },
    }
  }

  #checkText(text: TextDataset, known: Vocabularies | undefined): TextDataset {
    checkData(this.#model, text, this.#loss)
    checkVocabularies(text, known)
    expect(
      tasks[text.task].counts === 'samples',
      () => `Expected samples, or a text made by labelledText(), got ${text.name}. translate() translates.`,
    )
    const places = placesOf(this.#model) ?? Number.POSITIVE_INFINITY
    const lengths = lengthsOf((text.inputs[0] as TextPart).text)
    const long = lengths.findIndex((length) => length > places)
    expect(
      long < 0,
      () =>
        `Expected lines of at most ${places} tokens, as the model takes, got ${lengths[long]} in line ${long + 1}. ` +
        'Nothing is cut: leave it out, or divide it.',
    )
    return text
  }

  dispose(): void {
    this.#evaluating?.graph.dispose()
    this.#predicting?.dispose()
  }
}

/** The samples of a data set as the network sees them. */
function samplesOf(data: Dataset): Samples {
  return {
    samples: data.samples,
    read(first, count) {
      expectSamples(data)
      const { x, features } = data
      return scaled(x.subarray(first * features, (first + count) * features), features, data)
    },
  }
}

/** Refuses an output that a network of this task does not have. */
function checkOutput(output: OutputName, format: DataFormat | undefined, loss: Loss | undefined): void {
  const names: OutputName[] = ['logits', 'probabilities', 'labels', 'values']
  expect(names.includes(output), () => `Expected output to be '${names.join("', '")}', got ${show(output)}`)
  if (output === 'logits') return
  const targets = loss ? lossFunction(loss).targets : format?.targets ? 'values' : 'labels'
  const fitting =
    targets === 'values' ? "'values' or 'logits' for a regression" : "'labels', 'probabilities' or 'logits'"
  expect(
    (output === 'values') === (targets === 'values'),
    () => `Expected output to be ${fitting}, got ${show(output)}`,
  )
  expect(
    output !== 'values' || format?.targets !== undefined,
    () =>
      "Expected a model that knows the units of its targets for output 'values', got one that does not. Take 'logits'.",
  )
}

const isNumbers = (x: unknown): x is RawInputs =>
  isTyped(x, 'Uint8Array') || isTyped(x, 'Float32Array') || isTyped(x, 'Float64Array')

const asSeen = (part: RawInputs) => (isTyped(part, 'Float32Array') ? part : Float32Array.from(part))

/** What makes of inputs what the network sees; refuses inputs of which that cannot be told, and what is no number. */
function scalingFor(
  x: RawInputs,
  raw: boolean | undefined,
  format: DataFormat | undefined,
): (part: RawInputs) => Float32Array {
  const unknown =
    'Expected a model that knows how its inputs were scaled, got one that was not trained by fit(), or saved by an ' +
    'older hebb. Give it inputs as it sees them, in a Float32Array without raw, or say `format` when you load it.'
  if (isTyped(x, 'Uint8Array')) {
    expect(raw !== false, () => 'Expected a Float32Array for raw: false, got bytes, which are raw')
    expect(format !== undefined, () => unknown)
    expect(
      format.type === 'uint8',
      () =>
        'Expected a Float32Array, as the model was trained on numbers, got bytes. Float32Array.from() converts them.',
    )
    return (part) => seenBy(format, part)
  }
  const bad = x.findIndex((value) => !Number.isFinite(Math.fround(value)))
  if (bad >= 0) {
    const features = format ? featuresIn(format) : undefined
    const where = features ? `feature ${bad % features} of sample ${Math.floor(bad / features)}` : `${bad}`
    throw new HebbError('NON_FINITE', `Expected finite inputs, got ${x[bad]} at ${where}`)
  }
  if (raw === undefined) {
    expect(!format || !isScaled(format), () =>
      format?.type === 'uint8'
        ? 'Expected a Uint8Array of raw inputs, as the model was trained on bytes, or raw: false for a Float32Array ' +
          'that is scaled already, got a Float32Array'
        : 'Expected raw: true for inputs as files have them, or raw: false for inputs that are scaled already, as ' +
          'the model was trained on scaled ones, got neither',
    )
    return asSeen
  }
  if (!raw) return asSeen
  expect(format !== undefined, () => unknown)
  expect(
    format.type === 'float32',
    () =>
      'Expected a Uint8Array of raw inputs, as the model was trained on bytes, got a Float32Array. Uint8Array.from() ' +
      'converts it.',
  )
  return (part) => seenBy(format, part)
}
