/** Runs a network forward: outputs for samples, and how good they are. For a trainer as for a predictor. */
import { type Dataset, expectSamples } from '../data/dataset.js'
import type { Device } from '../device.js'
import { expect, show } from '../error.js'
import type { Sequential } from '../nn/sequential.js'
import type { Tensor } from '../tensor.js'
import type { BatchOrder } from '../text/batches.js'
import { lengthsOf, TextDataset, type TextPart, type Vocabularies } from '../text/dataset.js'
import { isTyped } from '../typed_array.js'
import { checkData, checkVocabularies, featuresOf, lossFor, placesOf } from './check_data.js'
import type { DeviceDatasets } from './device_datasets.js'
import { type Order, placeOf, type Span } from './feed.js'
import { Graph, noTotals, totalsOf } from './graph.js'
import type { Loss } from './loss.js'
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
}

/** What evaluate(), predict() and their kin take. */
export interface RunOptions {
  /** Stops after the batch that runs; the promise then rejects with code ABORTED. */
  signal?: AbortSignal | undefined
}

/** What outputs are asked for of: samples as the network sees them, or data that it could be trained on. */
export type Predictable = Float32Array | Dataset | TextDataset

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

  async evaluate(set: Dataset | TextDataset, { signal }: RunOptions): Promise<Evaluation> {
    const isText = set instanceof TextDataset
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
    }
  }

  /** Refuses a text of which nothing can be evaluated. */
  expectText(text: TextDataset): void {
    this.#datasets.ofText(text, { tokens: TEXT_BATCH, places: placesOf(this.#model) })
  }

  /** `samples`: what check() has counted in x, whose memory may be gone by now. */
  async predict(x: Predictable, samples: number, { signal }: RunOptions): Promise<Float32Array> {
    if (x instanceof TextDataset) return this.#predictText(x, signal)
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
          host: { x: slice(x, first, count, features), samples: count },
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

  /** Refuses what predict() cannot take; returns the number of samples. */
  check(x: Predictable, known?: Vocabularies): number {
    if (x instanceof TextDataset) return this.#checkText(x, known)
    const features = featuresOf(this.#model)
    const samples = isTyped(x, 'Float32Array') ? x.length / features : x?.samples
    expect(
      samples > 0 && Number.isInteger(samples),
      () => `Expected x to hold samples of ${features} features, got ${show(x)}`,
    )
    if (!isTyped(x, 'Float32Array')) checkData(this.#model, x, this.#loss)
    return samples
  }

  #checkText(text: TextDataset, known: Vocabularies | undefined): number {
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
    return text.samples
  }

  dispose(): void {
    this.#evaluating?.graph.dispose()
    this.#predicting?.dispose()
  }
}

/** Samples [first, first + count) as the network sees them. */
function slice(x: Float32Array | Dataset, first: number, count: number, features: number): Float32Array {
  const [begin, end] = [first * features, (first + count) * features]
  if (isTyped(x, 'Float32Array')) {
    expect(
      x.length >= end,
      () => `Expected x to keep its ${end} numbers, got ${x.length}. Was its ArrayBuffer transferred or resized?`,
    )
    return x.subarray(begin, end)
  }
  expectSamples(x)
  const seen = new Float32Array(x.x.subarray(begin, end))
  const { perChannel } = x
  const plane = perChannel ? features / perChannel.scale.length : features
  for (let i = 0; i < seen.length; ++i) {
    const channel = Math.floor((i % features) / plane)
    const [scale, shift] = perChannel
      ? [perChannel.scale[channel] as number, perChannel.shift[channel] as number]
      : [x.scale, x.shift]
    seen[i] = (seen[i] as number) * scale + shift
  }
  return seen
}
