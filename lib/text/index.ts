/// <reference lib="esnext.disposable" preserve="true" />
/// <reference types="node" preserve="true" />
/** hebb/text: the package's entry point for texts. */

export { type BatchOrder, TokenBatches, type TokenBatchesOptions, tokenBatches } from './batches.js'
export { type Bleu, type BleuOptions, type BleuSmoothing, type BleuTokenization, corpusBleu } from './bleu.js'
export { type TrainTokenizerOptions, trainTokenizer } from './byte_pair.js'
export { type Question, readQuestions } from './choices.js'
export { type Chrf, type ChrfOptions, corpusChrf } from './chrf.js'
export type { TextDataset, TextPart, TokenizedText, Tokenizers } from './dataset.js'
export {
  LabelledText,
  type LabelledTextOptions,
  labelledLines,
  labelledText,
} from './labelled.js'
export {
  type DocumentForm,
  type DocumentOptions,
  type Documents,
  LanguageText,
  type LanguageTextOptions,
  languageDocuments,
  languageText,
  readDocuments,
} from './language.js'
export { type ParallelLine, readLines, readParallel } from './lines.js'
export type { References } from './metric.js'
export {
  type ParallelLinesOptions,
  type ParallelText,
  type ParallelTextOptions,
  parallelLines,
  parallelText,
} from './parallel.js'
export { StoredText, type TokenFile } from './token_file.js'
export { type DecodeOptions, DecodeStream, type EncodeOptions, Tokenizer, type TokenizerJson } from './tokenizer.js'
