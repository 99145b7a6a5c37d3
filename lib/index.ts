/// <reference lib="esnext.disposable" preserve="true" />
/// <reference types="node" preserve="true" />
/** hebb: neural networks that are sparse from the first step to the last. */
export {
  type Application,
  type GradientTarget,
  type LayerGradient,
  type Sequences,
  Tape,
  type TapeOptions,
  Tokens,
  type Value,
} from './autograd.js'
export { type Augment, type Dataset, type DatasetOptions, dataset } from './data/dataset.js'
export type { DataFormat, Normalisation, RawInputs } from './data/format.js'
export { type Chunk, SampleStream, type StreamOptions, stream } from './data/stream.js'
export { Device, type DeviceChoice, type DeviceInfo, type DeviceOptions, device, type Memory } from './device.js'
export {
  constantDensity,
  cubicDensity,
  type DecayOptions,
  type DensityRule,
  type DensitySchedule,
  densitySchedule,
  type OvershootOptions,
  overshootDensity,
  sigmoidDensity,
} from './dst/density.js'
export {
  constantFraction,
  cosineFraction,
  excessFraction,
  type Fraction,
  type FractionPoint,
  type UpdateSchedule,
  updateSchedule,
} from './dst/fraction.js'
export { type Method, method } from './dst/method.js'
export { cht, chts, chtss, dense, gmp, granet, mest, rigl, set, staticSparse } from './dst/methods.js'
export { recommended } from './dst/recommended.js'
export {
  type KeptLayer,
  largestGradient,
  type NewLinks,
  type RegrowFunction,
  type RegrowRule,
  random,
  type ScoreOptions,
  soft,
  topK,
} from './dst/regrow.js'
export {
  historicalMagnitude,
  type LayerView,
  magnitude,
  magnitudeAndGradient,
  type RemoveFunction,
  type RemoveRule,
  relativeImportance,
  softMagnitude,
  softRelativeImportance,
} from './dst/remove.js'
export { type ErrorCode, HebbError } from './error.js'
export type { Links } from './native.js'
export { Gelu, Relu, Sigmoid, Silu, Tanh } from './nn/activations.js'
export { MultiHeadAttention, type MultiHeadAttentionOptions } from './nn/attention.js'
export type { Distribution } from './nn/distribution.js'
export { Dropout, type DropoutOptions } from './nn/dropout.js'
export { Embedding, type EmbeddingOptions, PositionalEncoding, type PositionalEncodingOptions } from './nn/embedding.js'
export { kaiming, normal, swi, type WeightInit, xavier } from './nn/init.js'
export { LayerNorm, type LayerNormOptions, RMSNorm, type RMSNormOptions } from './nn/layer_norm.js'
export * as layers from './nn/layers.js'
export { Linear, type LinearOptions } from './nn/linear.js'
export {
  GatedFeedForward,
  type GatedFeedForwardOptions,
  Llama,
  type LlamaOptions,
  llama,
} from './nn/llama.js'
export { type MlpOptions, mlp } from './nn/mlp.js'
export type { Materials, Module, Relation } from './nn/module.js'
export {
  DenseParameter,
  type ExecutionForm,
  type Parameter,
  SparseParameter,
  type SparseParameterOptions,
} from './nn/parameter.js'
export { Pooling, type PoolingOptions } from './nn/pooling.js'
export { Recompute } from './nn/recompute.js'
export { Residual } from './nn/residual.js'
export { Sequential } from './nn/sequential.js'
export { SparseLinear, type SparseLinearOptions } from './nn/sparse_linear.js'
export {
  decoderLayer,
  encoderLayer,
  Transformer,
  type TransformerLayerOptions,
  type TransformerOptions,
  transformer,
} from './nn/transformer.js'
export type { LayerWeights, NewWeights } from './nn/weights.js'
export type { OperandsOf, OperationName } from './operands.js'
export { type AdamNumbers, type AdamOptions, adam } from './optim/adam.js'
export type { Group, NamedParameters, Optimizer, ParameterGroup } from './optim/optimizer.js'
export {
  byDensity,
  constantRate,
  cosineDecay,
  dips,
  inoam,
  linearDecay,
  noam,
  type Rate,
  type RatePoint,
  recovering,
  stepDecay,
} from './optim/rates.js'
export { type SgdNumbers, type SgdOptions, sgd } from './optim/sgd.js'
export { type Lifetime, Program, type ProgramOptions, type ReplayOptions, type Segment } from './program.js'
export {
  Activations,
  type Axis,
  cscSlots,
  inColumnOrder,
  inRowOrder,
  type LinkPredictor,
  type LinkScores,
  type PlainCsr,
  type PredictionRoute,
  predictLinks,
  SparseMatrix,
  sampleWithoutReplacement,
  Tensor,
} from './tensor.js'
export { type BrfOptions, brf } from './topology/brf.js'
export { bsf } from './topology/bsf.js'
export { type BswOptions, bsw } from './topology/bsw.js'
export { type CstiOptions, csti } from './topology/csti.js'
export {
  type Degrees,
  type DescribeOptions,
  describeTopology,
  type LayerDescription,
  type Measured,
  type TopologyDescription,
} from './topology/describe.js'
export { erdosRenyi } from './topology/erdos_renyi.js'
export type { LayerStart, Topology } from './topology/topology.js'
export { type Averaged, type AverageOptions, averageCheckpoints } from './train/average.js'
export {
  type Callback,
  type CallbackContext,
  type CallbackOrFunction,
  type EarlyStoppingOptions,
  type EpochContext,
  earlyStopping,
  keepBest,
} from './train/callbacks.js'
export type { Classification } from './train/classifier.js'
export type { GeneratedToken, GenerateOptions } from './train/generation.js'
export type {
  EvaluateOptions,
  Evaluation,
  OutputName,
  Outputs,
  Predictable,
  PredictOptions,
  RunOptions,
} from './train/inference.js'
export { exportLlama, type Imported, type ImportOptions, importLlama } from './train/llama_files.js'
export {
  type CrossEntropyOptions,
  crossEntropy,
  type LabelLoss,
  type Loss,
  type LossFunction,
  type LossName,
  type LossSums,
  type ValueLoss,
} from './train/loss.js'
export type { TopologyMeasures } from './train/measures.js'
export type { MemoryParts, TrainerMemory } from './train/memory.js'
export {
  type ClassificationMetrics,
  type ClassScores,
  classificationMetrics,
  classScores,
  confusionMatrix,
  type MetricsOptions,
  topKAccuracy,
} from './train/metrics.js'
export type { ChoiceEvaluation, ChoiceScores } from './train/multiple_choice.js'
export type {
  Batch,
  CheckpointOptions,
  Epoch,
  FitOptions,
  NamedGradients,
  Progress,
  ResumeOptions,
  TrainerLoadOptions,
  TrainerOptions,
  TrainOnOptions,
} from './train/options.js'
export type { Estimate, Perplexity, PerplexityOptions } from './train/perplexity.js'
export {
  type LoadOptions,
  load,
  Predictor,
} from './train/predictor.js'
export {
  type ForcedScore,
  type ForcedScoreOptions,
  type Hypothesis,
  Search,
  type SearchOptions,
  type TranslateOptions,
} from './train/search.js'
export type { TrainingData } from './train/source.js'
export { Trainer } from './train/trainer.js'
export { Training } from './train/training.js'
export type { CrossAttention, ScoredTranslation, Translation, TranslationOptions } from './train/translator.js'
