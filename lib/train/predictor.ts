/**
 * What a trained network does: outputs for samples, and how good they are. Holds no gradient and no optimizer state.
 */
import type { Dataset } from '../data/dataset.js'
import type { DataFormat } from '../data/format.js'
import { type Device, type DeviceChoice, type Memory, openDevice } from '../device.js'
import { expect, HebbError, known } from '../error.js'
import type { Sequential } from '../nn/sequential.js'
import type { LayerWeights } from '../nn/weights.js'
import { Tensor } from '../tensor.js'
import type { Question } from '../text/choices.js'
import type { TextDataset, Tokenizers, Vocabularies } from '../text/dataset.js'
import type { LanguageText } from '../text/language.js'
import { type DescribeOptions, describeLayers, type TopologyDescription } from '../topology/describe.js'
import { checkCounts, checkData, checkFormat, checkVocabularies } from './check_data.js'
import { type Checkpoint, readCheckpoint } from './checkpoint.js'
import { type Classification, classesOf, classified, linesFor, outputsOf } from './classifier.js'
import { DeviceDatasets } from './device_datasets.js'
import { type GeneratedToken, type GenerateOptions, Generation } from './generation.js'
import {
  type EvaluateOptions,
  type Evaluation,
  Inference,
  type OutputName,
  type Outputs,
  type Predictable,
  type PredictOptions,
  type RunOptions,
} from './inference.js'
import { layerOf, readWeights } from './layer_weights.js'
import { checkLoss, type Loss } from './loss.js'
import { materialiseSaved } from './materialise.js'
import type { ChoiceEvaluation } from './multiple_choice.js'
import type { Perplexity, PerplexityOptions } from './perplexity.js'
import {
  type CrossAttention,
  type ScoredTranslation,
  type Translation,
  type TranslationOptions,
  Translator,
} from './translator.js'

/** What load() takes. */
export interface LoadOptions {
  /** Default 'auto'. */
  device?: DeviceChoice | undefined
  /** Needed when the file's model has modules of your own. */
  model?: Sequential | undefined
  /** Needed when it was trained with a loss of your own. */
  loss?: Loss | undefined
  /** How raw inputs become what the network sees, and names, in place of what the file says: a data set's `format`. */
  format?: DataFormat | undefined
}

/** What a predictor takes of a checkpoint beside the network. */
type Kept = Pick<Checkpoint, 'notes' | 'vocabularies' | 'format'>

/**
 * A trained network from a file, for use without training: it has weights and links, and no gradients or optimizer
 * state.
 */
export class Predictor {
  readonly device: Device
  readonly model: Sequential
  /** What was noted with the checkpoint. */
  readonly notes: Readonly<Record<string, string>>
  /** Of the data set that the model was trained on, if it is known. */
  readonly format: DataFormat | undefined
  readonly #vocabularies: Vocabularies | undefined
  readonly #ownsDevice: boolean
  readonly #datasets: DeviceDatasets
  readonly #workspace: Tensor<'uint8'>
  readonly #inference: Inference
  readonly #loss: Loss | undefined
  #translating: Translator | undefined
  readonly #generations = new Set<Generation>()
  #queue: Promise<unknown> = Promise.resolve()
  #disposed = false

  /** @internal Use load(). */
  constructor(device: Device, ownsDevice: boolean, model: Sequential, kept: Kept, loss?: Loss) {
    this.device = device
    this.model = model
    this.#ownsDevice = ownsDevice
    this.#datasets = new DeviceDatasets(device)
    this.notes = kept.notes
    this.format = kept.format
    this.#vocabularies = kept.vocabularies
    this.#loss = loss
    this.#workspace = new Tensor(device, 'uint8', 0)
    this.#inference = new Inference(device, model, this.#datasets, this.#workspace, loss)
  }

  /** Of the text that the model was trained on, if it was. */
  get tokenizers(): Tokenizers | undefined {
    return this.#vocabularies?.tokenizers
  }

  /** The token between documents, of a language model. */
  get separator(): string | undefined {
    const { separator, tokenizers } = this.#vocabularies ?? {}
    return separator === undefined ? undefined : tokenizers?.source.tokenOf(separator)
  }

  /** The names of the classes, by number, of the data that the model was trained on, if they have some. */
  get classes(): readonly string[] | undefined {
    return classesOf(this.#known)
  }

  get #known() {
    return { vocabularies: this.#vocabularies, format: this.format }
  }

  /**
   * What the network says of samples [samples][features], of a data set, or of a text made by labelledText(): logits,
   * probabilities, labels, or the values of a regression. Uint8Array: raw inputs, scaled as in training. Float32Array:
   * as the network sees it; where training data were scaled, `raw` must say which. Calls may overlap; they wait for
   * each other.
   */
  async predict<Output extends OutputName = 'logits'>(
    x: Predictable,
    options: PredictOptions<Output> = {},
  ): Promise<Outputs[Output]> {
    const checked = this.#inference.check(x, options, this.#known)
    const logits = await this.#inTurn(() => this.#inference.predict(checked, options))
    return outputsOf(logits, this.model.outFeatures as number, options.output, this.#known)
  }

  /** The most probable class of each line. For models trained on text made by labelledText(). */
  async classify(lines: readonly string[], options: RunOptions = {}): Promise<Classification[]> {
    const text = linesFor(this.#vocabularies, lines)
    return classified(await this.predict(text, options), this.model.outFeatures as number, text.classes)
  }

  /** Mean loss and accuracy on a data set; with `metrics: true` more of a classifier. */
  async evaluate(data: Dataset | TextDataset, options: EvaluateOptions = {}): Promise<Evaluation> {
    known(options, 'evaluate()', { signal: true, metrics: true })
    checkData(this.model, data, this.#loss)
    checkCounts(data)
    checkVocabularies(data, this.#vocabularies)
    return this.#inTurn(() => this.#inference.evaluate(data, options))
  }

  /**
   * How well a language model tells a text: loss a token, perplexity a token and a word, bits per byte, each with its
   * standard error. Loss is plain cross-entropy, whatever it was trained by.
   */
  async perplexity(text: LanguageText, options: PerplexityOptions = {}): Promise<Perplexity> {
    this.#inference.checkLanguage(text, this.#vocabularies)
    return this.#inTurn(() => this.#inference.perplexity(text, options))
  }

  /**
   * How a language model chooses among the choices of questions, by the log-likelihood of each behind its context
   * (zero-shot): accuracy, accuracy normalised by length, Matthews correlation, and those of groups, each with its
   * standard error. See readQuestions() of hebb/text.
   */
  async evaluateChoices(questions: readonly Question[], options: RunOptions = {}): Promise<ChoiceEvaluation> {
    return this.#inTurn(() => this.#inference.choices(questions, this.#vocabularies, options))
  }

  /** The translation of each line, by beam search; an empty line for an empty one. For models trained on text. */
  async translate(lines: readonly string[], options: Omit<TranslationOptions, 'nBest'> = {}): Promise<string[]> {
    const all = await this.translations(lines, { ...options, nBest: 1 })
    return all.map(([best]) => (best as Translation).text)
  }

  /** The `nBest` translations of each line with their scores, the best first. */
  async translations(lines: readonly string[], options: TranslationOptions = {}): Promise<Translation[][]> {
    return this.#inTurn(() => this.#translator().translations(lines, options))
  }

  /**
   * Goes on from a prompt, token by token, by a language model: `for await (const { text } of model.generate('Once'))`.
   * Leave the loop to end it: its memory is given back then. Several may be written side by side.
   */
  async *generate(prompt: string, options: GenerateOptions = {}): AsyncGenerator<GeneratedToken, void, undefined> {
    const { device, model } = this
    const begin = async () => new Generation(device, model, this.#vocabularies, prompt, options)
    const generation = await this.#inTurn(begin)
    this.#generations.add(generation)
    try {
      for (;;) {
        const token = await this.#inTurn(() => generation.next())
        if (!token) return
        yield token
      }
    } finally {
      this.#generations.delete(generation)
      generation.dispose()
    }
  }

  /** Which of the lines are longer than the model takes, with their tokens: translations() refuses them. */
  tooLong(lines: readonly string[]): { readonly line: number; readonly tokens: number }[] {
    return this.#translator().tooLong(lines)
  }

  /** Tokens of the longest line that the model takes. */
  get places(): number {
    return this.#translator().places
  }

  /** How probable the model finds these translations of these lines. */
  async scoreTranslations(
    sources: readonly string[],
    targets: readonly string[],
    options: RunOptions = {},
  ): Promise<ScoredTranslation[]> {
    return this.#inTurn(() => this.#translator().score(sources, targets, options))
  }

  /** What the model attends to in these lines while it writes these translations, which are there. */
  async crossAttention(
    sources: readonly string[],
    targets: readonly string[],
    options: RunOptions = {},
  ): Promise<CrossAttention[]> {
    return this.#inTurn(() => this.#translator().crossAttention(sources, targets, options))
  }

  #translator(): Translator {
    this.#translating ??= new Translator(this.device, this.model, this.tokenizers)
    return this.#translating
  }

  /** A copy of a layer's weights, by its name, such as 'modules.0', or number: see Trainer.weights(). */
  async weights(layer: number | string): Promise<LayerWeights> {
    return this.#inTurn(() => readWeights(layerOf(this.model, layer)))
  }

  /** Degrees, clustering, path lengths and percolation of the links. */
  async describeTopology(options: DescribeOptions = {}): Promise<TopologyDescription> {
    return this.#inTurn(() => describeLayers(this.model, options))
  }

  /** Live native memory on the predictor's device. */
  memory(): Memory {
    return this.device.memory()
  }

  /** Gives back the network's memory, and the device's if load() opened it. Safe to call twice. */
  dispose(): void {
    if (this.#disposed) return
    this.#disposed = true
    this.#inference.dispose()
    this.#translating?.dispose()
    for (const generation of this.#generations) generation.dispose()
    this.#workspace.dispose()
    this.#datasets.dispose()
    this.model.dispose()
    if (this.#ownsDevice) this.device.dispose()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }

  #inTurn<T>(run: () => Promise<T>): Promise<T> {
    const mine = this.#queue.then(() => {
      if (this.#disposed)
        throw new HebbError('DISPOSED', 'Expected a predictor that is in use, got one that was disposed')
      return run().finally(() => this.#datasets.rest())
    })
    this.#queue = mine.catch(() => {})
    return mine
  }
}

/**
 * Reads the network of a checkpoint, for predictions. Optimizer state is not loaded. A file runs no code, but it may
 * ask for as much memory as the network takes that it describes.
 */
export async function load(file: string, options: LoadOptions = {}): Promise<Predictor> {
  known(options, 'load()', { device: true, model: true, loss: true, format: true })
  const checkpoint = await readCheckpoint(file, { training: false })
  const model = options.model ?? checkpoint.model()
  expect(
    model.parameters.length === 0,
    () => 'Expected a model that nothing uses, got one that is in use. Dispose its trainer, or make another model.',
  )
  checkpoint.check(model)
  const loss = options.loss ? checkLoss(options.loss) : checkpoint.loss
  const { notes, vocabularies } = checkpoint // before a device is opened: they may be bad
  const format = checkFormat(options.format ?? checkpoint.format, model)
  const { device, owned } = openDevice(options.device ?? 'auto')
  const predictor = new Predictor(device, owned, model, { notes, vocabularies, format }, loss)
  try {
    await materialiseSaved(device, model, checkpoint)
  } catch (error) {
    predictor.dispose()
    throw error
  }
  return predictor
}
