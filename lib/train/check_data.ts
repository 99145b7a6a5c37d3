/** Whether a network, a data set and a loss fit together. */
import type { Dataset } from '../data/dataset.js'
import { type DataFormat, featuresIn, isDataFormat } from '../data/format.js'
import { expect, show } from '../error.js'
import { MultiHeadAttention } from '../nn/attention.js'
import { Embedding, PositionalEncoding } from '../nn/embedding.js'
import type { Module } from '../nn/module.js'
import type { Sequential } from '../nn/sequential.js'
import { Transformer } from '../nn/transformer.js'
import { TextDataset, type Vocabularies } from '../text/dataset.js'
import { LanguageText } from '../text/language.js'
import { type Loss, lossFunction } from './loss.js'

/** The loss for a data set: what was asked for, or what its targets are. */
export function lossFor(data: Dataset | TextDataset, loss?: Loss): Loss {
  return loss ?? (data instanceof TextDataset || data.labels ? 'crossEntropy' : 'meanSquaredError')
}

/** The features of a sample, for calls that take samples. */
export function featuresOf(model: Module): number {
  expect(
    model.inFeatures !== undefined,
    () => 'Expected a model for samples, got one for text. fit() trains it, and translate() or classify() runs it.',
  )
  return model.inFeatures as number
}

/** The modules of a model, however deep. */
export function* modulesIn(module: Module): Generator<Module> {
  yield module
  for (const child of module.children?.values() ?? []) yield* modulesIn(child)
}

/** Tokens of the longest sequence that a model takes, if it tells. */
export function placesOf(model: Module): number | undefined {
  const places = [...modulesIn(model)].flatMap((module) =>
    module instanceof PositionalEncoding || module instanceof MultiHeadAttention ? (module.places ?? []) : [],
  )
  return places.length > 0 ? Math.min(...places) : undefined
}

const separatorText = ({ separator, tokenizers }: Vocabularies) =>
  separator === undefined ? 'none' : show(tokenizers.source.tokenOf(separator))

/** Refuses text in other tokens, or of other classes, than those that the model was trained on, where it was. */
export function checkVocabularies(data: Dataset | TextDataset, known: Vocabularies | undefined): void {
  if (!(data instanceof TextDataset) || !known) return
  for (const side of ['source', 'target'] as const) {
    const [expected, given] = [known.tokenizers[side], data.tokenizers[side]]
    expect(
      given === expected || JSON.stringify(given) === JSON.stringify(expected),
      () =>
        `Expected ${data.name} in the tokens of the ${side} that the model was trained on, got those of another ` +
        "tokenizer. Use the model's own: its `tokenizers`.",
    )
  }
  // A model that was imported knows none.
  expect(
    known.separator === undefined || known.separator === data.separator,
    () =>
      `Expected ${data.name} with the separator that the model was trained with, ${separatorText(known)}, got ` +
      `${separatorText(data)}. Say it when you make it: \`separator\`.`,
  )
  const [expected, given] = [JSON.stringify(known.classes), JSON.stringify(data.classes)]
  expect(
    given === expected,
    () =>
      `Expected ${data.name} to have the classes that the model was trained on, ${expected}, got ${given}. Say ` +
      'them when you make it: `classes`.',
  )
}

/** Whether a model is made to tell next tokens: it attends, and each token to those before it alone. */
export function tellsNext(model: Module): boolean {
  const all = [...modulesIn(model)]
  const attentions = all.filter((module) => module instanceof MultiHeadAttention)
  return attentions.length > 0 && attentions.every(({ causal, cross }) => causal && !cross)
}

/** Refuses a text whose next tokens the model cannot tell. */
function checkLanguage(model: Module, { name, tokenizers: { source }, window }: LanguageText): void {
  const attentions = [...modulesIn(model)].filter((module) => module instanceof MultiHeadAttention)
  expect(
    attentions.every(({ causal }) => causal),
    () =>
      `Expected a model such as llama(), whose tokens see none behind them, for ${name}, got one without a causal ` +
      'attention',
  )
  const scores = model.outFeatures as number
  expect(
    source.size <= scores,
    () =>
      `Expected a tokenizer of at most ${scores} tokens, the scores that the model gives, got ${source.size} for ` +
      name,
  )
  const places = placesOf(model) ?? Number.POSITIVE_INFINITY
  expect(
    window <= places,
    () =>
      `Expected windows of at most ${places} tokens, the places of the model, got ${window} for ${name}. Say ` +
      `window: ${places} when you make it, or give the model more places.`,
  )
}

/** What is told of the data that a model was trained on, where it fits the model. */
export function checkFormat(
  format: DataFormat | undefined,
  { inFeatures, outFeatures }: Module,
): DataFormat | undefined {
  if (format === undefined) return undefined
  expect(isDataFormat(format), () => `Expected format to be that of a data set, its \`format\`, got ${show(format)}`)
  const features = featuresIn(format)
  expect(
    features === inFeatures,
    () => `Expected the format of samples of ${inFeatures} features, the width of the model's input, got ${features}`,
  )
  const classes = format.classNames?.length ?? 0
  expect(
    classes <= (outFeatures as number),
    () => `Expected the format of ${outFeatures} classes, the width of the model's output, got ${classes}`,
  )
  return format
}

/** Refuses text that the model cannot take. */
export function checkText(model: Module, text: TextDataset, loss?: Loss): void {
  const modules = [...modulesIn(model)]
  const translator = modules.find((module) => module instanceof Transformer)
  const embedding = modules.find((module) => module instanceof Embedding)
  const { source, target } = text.tokenizers
  const { classes } = text
  const got =
    model.inFeatures === undefined
      ? `one ${translator ? 'that translates' : 'from parts'}`
      : `one for samples of ${model.inFeatures} features`
  if (text.task === 'translation') {
    expect(translator !== undefined, () => `Expected a model made by transformer() for ${text.name}, got ${got}`)
    const { sourceWords, targetWords } = translator.options
    expect(
      source.size <= sourceWords && target.size <= targetWords,
      () =>
        `Expected tokenizers of at most ${sourceWords} and ${targetWords} tokens, the words of the model, got ` +
        `${source.size} and ${target.size} for ${text.name}`,
    )
  } else {
    expect(
      embedding !== undefined && translator === undefined,
      () => `Expected a model that begins with an Embedding for ${text.name}, got ${got}`,
    )
    expect(
      source.size <= embedding.words,
      () =>
        `Expected a tokenizer of at most ${embedding.words} tokens, the words of the model, got ${source.size} for ` +
        text.name,
    )
  }
  if (text instanceof LanguageText) checkLanguage(model, text)
  expect(
    classes === undefined || (model.outFeatures as number) >= classes.length,
    () =>
      `Expected ${text.name} to have ${model.outFeatures} classes, the width of the model's output, got ` +
      `${classes?.length}`,
  )
  expect(
    lossFunction(lossFor(text, loss)).targets === 'labels',
    () => `Expected a loss with labels for ${text.name}, such as crossEntropy(), got ${show(loss)}`,
  )
}

/** Whether any of its samples counts: a mean over none is none. */
function counts({ labels, weights, ignore }: Dataset): boolean {
  if (!weights && ignore === undefined) return true
  const isCounted = (sample: number) => (weights?.[sample] ?? 1) > 0 && (!labels || labels[sample] !== ignore)
  return (weights ?? (labels as Int32Array)).some((_: number, sample: number) => isCounted(sample))
}

/** Refuses data of which no sample counts. A batch may have none. */
export function checkCounts(data: Dataset | TextDataset): void {
  if (data instanceof TextDataset) return
  expect(counts(data), () => `Expected ${data.name} to have a sample that counts, got weights or labels without any`)
}

/** Refuses data that the model cannot take. */
export function checkData(model: Sequential, data: Dataset | TextDataset, loss?: Loss): void {
  if (data instanceof TextDataset) {
    checkText(model, data, loss)
    return
  }
  const { inFeatures, outFeatures } = model
  expect(
    typeof data?.samples === 'number',
    () => `Expected a data set made by dataset(), mnist() or the like, got ${show(data)}`,
  )
  expect(
    inFeatures === data.features,
    () =>
      `Expected ${data.name} to have ${inFeatures} features a sample, the width of the model's input, got ` +
      data.features,
  )
  expect(
    outFeatures === data.classes || (data.labels !== undefined && (outFeatures as number) > data.classes),
    () =>
      `Expected ${data.name} to have ${outFeatures} ${data.labels ? 'classes' : 'outputs'}, the width of the ` +
      `model's output, got ${data.classes}`,
  )
  expect(
    (lossFunction(lossFor(data, loss)).targets === 'labels') === (data.labels !== undefined),
    () => `Expected ${data.name} to have ${data.labels ? 'targets' : 'labels'} for the loss ${show(loss)}`,
  )
}
