/** The operands of every operation. Written by `npm run operands` from include/hebb. */
import type { Activations, Axis, SparseMatrix, Tensor } from './tensor.js'

/** By the operation's name. What an operation computes is said where it is declared. */
export interface OperandsOf {
  gather: {
    /** written */
    output: Activations
    samples: number
    bytes?: Tensor<'uint8'> | undefined
    floats?: Tensor | undefined
    scale?: number | undefined
    shift?: number | undefined
    count: number
    indices: Tensor<'int32'>
    channels?: number | undefined
    scales?: Tensor | undefined
    shifts?: Tensor | undefined
    augmentation?:
      | {
          height: number
          width: number
          padding: number
          flip?: boolean | undefined
          seed: number
        }
      | undefined
  }
  gatherLabels: {
    count: number
    samples: number
    labels: Tensor<'int32'>
    indices: Tensor<'int32'>
    /** written */
    targets: Tensor<'int32'>
  }
  gatherWeights: {
    count: number
    samples: number
    weights: Tensor
    indices: Tensor<'int32'>
    /** written */
    columnWeights: Tensor
  }
  spmm: {
    weights: SparseMatrix
    values: Tensor
    bias?: Tensor | undefined
    input: Activations
    /** written */
    output: Activations
    activation?: 'none' | 'relu' | undefined
  }
  spmmTransposed: {
    weights: SparseMatrix
    values: Tensor
    outputGradient: Activations
    activation?: 'none' | 'relu' | undefined
    accumulate?: boolean | undefined
    /** updated */
    inputGradient: Activations
    input?: Activations | undefined
  }
  sddmm: {
    pattern: SparseMatrix
    outputGradient: Activations
    input: Activations
    /** updated */
    gradient: Tensor
    /** updated */
    biasGradient?: Tensor | undefined
    accumulate?: boolean | undefined
    accumulateBias?: boolean | undefined
  }
  linear: {
    input: Activations
    /** written */
    output: Activations
    weights: Tensor
    bias?: Tensor | undefined
    activation?: 'none' | 'relu' | undefined
    product?: 'auto' | 'fma' | 'tensorCores' | undefined
  }
  linearTransposed: {
    outputGradient: Activations
    activation?: 'none' | 'relu' | undefined
    accumulate?: boolean | undefined
    /** updated */
    inputGradient: Activations
    input?: Activations | undefined
    weights: Tensor
    product?: 'auto' | 'fma' | 'tensorCores' | undefined
  }
  linearGradient: {
    outputGradient: Activations
    input: Activations
    /** updated */
    gradient: Tensor
    /** updated */
    biasGradient?: Tensor | undefined
    accumulate?: boolean | undefined
    accumulateBias?: boolean | undefined
    product?: 'auto' | 'fma' | 'tensorCores' | undefined
  }
  relu: {
    input: Activations
    /** written */
    output: Activations
  }
  reluGradient: {
    output: Activations
    outputGradient: Activations
    accumulate?: boolean | undefined
    /** updated */
    inputGradient: Activations
  }
  tanh: {
    input: Activations
    /** written */
    output: Activations
  }
  tanhGradient: {
    output: Activations
    outputGradient: Activations
    accumulate?: boolean | undefined
    /** updated */
    inputGradient: Activations
  }
  sigmoid: {
    input: Activations
    /** written */
    output: Activations
  }
  sigmoidGradient: {
    output: Activations
    outputGradient: Activations
    accumulate?: boolean | undefined
    /** updated */
    inputGradient: Activations
  }
  silu: {
    input: Activations
    /** written */
    output: Activations
  }
  siluGradient: {
    input: Activations
    outputGradient: Activations
    accumulate?: boolean | undefined
    /** updated */
    inputGradient: Activations
  }
  gelu: {
    input: Activations
    /** written */
    output: Activations
  }
  geluGradient: {
    input: Activations
    outputGradient: Activations
    accumulate?: boolean | undefined
    /** updated */
    inputGradient: Activations
  }
  add: {
    first: Activations
    second?: Activations | undefined
    accumulate?: boolean | undefined
    /** updated */
    output: Activations
  }
  multiply: {
    first: Activations
    second: Activations
    accumulate?: boolean | undefined
    /** updated */
    output: Activations
  }
  dropout: {
    input: Activations
    accumulate?: boolean | undefined
    /** updated */
    output: Activations
    probability: number
    seed: number
    layer: number
  }
  layerNorm: {
    input: Activations
    /** written */
    output: Activations
    gain: Tensor
    bias?: Tensor | undefined
    /** written */
    statistics: Activations
    epsilon?: number | undefined
    rms?: boolean | undefined
  }
  layerNormGradient: {
    input: Activations
    statistics: Activations
    gain: Tensor
    outputGradient: Activations
    accumulate?: boolean | undefined
    /** updated */
    inputGradient?: Activations | undefined
    /** updated */
    gainGradient?: Tensor | undefined
    /** updated */
    biasGradient?: Tensor | undefined
    accumulateGain?: boolean | undefined
    accumulateBias?: boolean | undefined
    rms?: boolean | undefined
  }
  embedding: {
    accumulate?: boolean | undefined
    /** updated */
    output: Activations
    words: number
    tokens: Tensor<'int32'>
    table: Tensor
    scale?: number | undefined
  }
  embeddingGradient: {
    outputGradient: Activations
    words: number
    tokens: Tensor<'int32'>
    accumulate?: boolean | undefined
    /** updated */
    gradient: Tensor
    scale?: number | undefined
  }
  rotate: {
    input: Activations
    accumulate?: boolean | undefined
    /** updated */
    output: Activations
    heads: number
    angles: Activations
    back?: boolean | undefined
  }
  attention: {
    query: Activations
    key: Activations
    value: Activations
    sequences: number
    queryOffsets: Tensor<'int32'>
    keyOffsets: Tensor<'int32'>
    heads: number
    causal?: boolean | undefined
    scale?: number | undefined
    probability?: number | undefined
    seed?: number | undefined
    layer?: number | undefined
    /** written */
    output: Activations
    /** written */
    statistics: Activations
  }
  attentionGradient: {
    query: Activations
    key: Activations
    value: Activations
    sequences: number
    queryOffsets: Tensor<'int32'>
    keyOffsets: Tensor<'int32'>
    heads: number
    causal?: boolean | undefined
    scale?: number | undefined
    probability?: number | undefined
    seed?: number | undefined
    layer?: number | undefined
    output: Activations
    statistics: Activations
    outputGradient: Activations
    /** written */
    products: Activations
    accumulateQuery?: boolean | undefined
    accumulateKey?: boolean | undefined
    accumulateValue?: boolean | undefined
    /** updated */
    queryGradient: Activations
    /** updated */
    keyGradient: Activations
    /** updated */
    valueGradient: Activations
  }
  softmaxCrossEntropy: {
    logits: Activations
    targets: Tensor<'int32'>
    ignore?: number | undefined
    labelSmoothing?: number | undefined
    paddingClass?: number | undefined
    /** written */
    gradient?: Activations | undefined
    weights?: Tensor | undefined
    count?: Tensor<'float64'> | undefined
    /** updated */
    totals: Tensor<'float64'>
    previous?: Tensor<'float64'> | undefined
    lossScale?: number | undefined
  }
  meanSquaredError: {
    output: Activations
    target: Activations
    /** written */
    gradient?: Activations | undefined
    weights?: Tensor | undefined
    count?: Tensor<'float64'> | undefined
    /** updated */
    totals: Tensor<'float64'>
    previous?: Tensor<'float64'> | undefined
    lossScale?: number | undefined
  }
  noteTotals: {
    totals: Tensor<'float64'>
    /** written */
    previous: Tensor<'float64'>
  }
  sumWeights: {
    axis?: Axis | undefined
    weights?: Tensor | undefined
    targets?: Tensor<'int32'> | undefined
    ignore?: number | undefined
    /** written */
    sum: Tensor<'float64'>
  }
  gradientNorm: {
    gradients: readonly {
      pattern?: SparseMatrix | undefined
      count?: number | undefined
      gradient: Tensor
    }[]
    maxNorm: number
    lossScale?: number | undefined
    /** written */
    norm: Tensor<'float64'>
    /** written */
    scale: Tensor<'float64'>
    /** updated */
    totals?: Tensor<'float64'> | undefined
    previous?: Tensor<'float64'> | undefined
  }
  sgd: {
    pattern?: SparseMatrix | undefined
    count?: number | undefined
    /** updated */
    values: Tensor
    momentum?: number | undefined
    /** updated */
    velocity?: Tensor | undefined
    /** index in the scalar table */
    learningRate: number
    weightDecay?: number | undefined
    gradient: Tensor
    scale?: Tensor<'float64'> | undefined
  }
  adam: {
    pattern?: SparseMatrix | undefined
    count?: number | undefined
    /** updated */
    values: Tensor
    gradient: Tensor
    /** updated */
    firstMoment: Tensor
    /** updated */
    secondMoment: Tensor
    sharedSteps?: boolean | undefined
    /** updated */
    steps: Tensor
    /** index in the scalar table */
    learningRate: number
    scale?: Tensor<'float64'> | undefined
    beta1?: number | undefined
    beta2?: number | undefined
    epsilon?: number | undefined
    weightDecay?: number | undefined
    decoupled?: boolean | undefined
    warmup?: number | undefined
  }
  importance: {
    links: SparseMatrix
    values: Tensor
    keep: Tensor<'uint8'>
    rule: 'magnitude' | 'relative' | 'magnitude+gradient'
    /** updated */
    scores: Tensor
    gradient?: Tensor | undefined
    share?: number | undefined
  }
  keepLinks: {
    links: SparseMatrix
    scores: Tensor
    /** updated */
    keep: Tensor<'uint8'>
    /** index in the scalar table */
    count: number
    /** index in the scalar table */
    temperature?: number | undefined
    /** index in the scalar table */
    update: number
    seed: number
    purpose: 'prune' | 'remove'
    layer: number
  }
  regrow: {
    links: SparseMatrix
    changes: {
      /** updated */
      keep: Tensor<'uint8'>
      /** updated */
      newRows: Tensor<'int32'>
      /** updated */
      newColumns: Tensor<'int32'>
      /** updated */
      newCount: Tensor<'int32'>
    }
    predictor: 'none' | 'CH2-L3n' | 'CH3-L3n' | 'CH2-L3p' | 'CH3-L3p'
    selection: 'sample' | 'largest'
    route?: 'auto' | 'sparse' | 'dense' | undefined
    /** index in the scalar table */
    count: number
    /** index in the scalar table */
    update: number
    seed: number
    layer: number
  }
  regrowByGradient: {
    links: SparseMatrix
    changes: {
      /** updated */
      keep: Tensor<'uint8'>
      /** updated */
      newRows: Tensor<'int32'>
      /** updated */
      newColumns: Tensor<'int32'>
      /** updated */
      newCount: Tensor<'int32'>
    }
    input: Activations
    outputGradient: Activations
    /** index in the scalar table */
    count: number
    /** index in the scalar table */
    update: number
    seed: number
    layer: number
  }
  permute: {
    count: number
    /** written */
    indices: Tensor<'int32'>
    seed: number
    /** index in the scalar table */
    epoch?: number | undefined
    identity?: boolean | undefined
  }
  gatherSequences: {
    total: number
    tokens: Tensor<'int32'>
    sequences: number
    starts: Tensor<'int32'>
    planned: number
    plan: Tensor<'int32'>
    steps: number
    batches: Tensor<'int32'>
    skip?: number | undefined
    drop?: number | undefined
    most: number
    /** written */
    axis: Axis
    /** written */
    output: Tensor<'int32'>
    /** written */
    positions?: Tensor<'int32'> | undefined
    /** written */
    offsets?: Tensor<'int32'> | undefined
  }
  gatherColumns: {
    /** written */
    output: Activations
    indices: Tensor<'int32'>
    input: Activations
  }
  scatterColumns: {
    input: Activations
    indices: Tensor<'int32'>
    /** updated */
    output: Activations
  }
  takeColumns: {
    /** written */
    output: Activations
    input: Activations
  }
  putColumns: {
    input: Activations
    keep?: boolean | undefined
    /** updated */
    output: Activations
  }
  pooling: {
    /** written */
    output: Activations
    offsets: Tensor<'int32'>
    kind: 'mean' | 'max' | 'first'
    input: Activations
  }
  poolingGradient: {
    outputGradient: Activations
    offsets: Tensor<'int32'>
    kind: 'mean' | 'max' | 'first'
    input?: Activations | undefined
    output?: Activations | undefined
    accumulate?: boolean | undefined
    /** updated */
    inputGradient: Activations
  }
  percolate: {
    layers: readonly {
      links: SparseMatrix
      /** updated */
      keep: Tensor<'uint8'>
    }[]
    relations: readonly {
      first: number
      second: number
      kind: 'consecutive' | 'joint'
    }[]
  }
  openPool: {
    links: SparseMatrix
    values: Tensor
    pool: {
      links: SparseMatrix
      /** updated */
      values: Tensor
      /** updated */
      keep: Tensor<'uint8'>
    }
  }
  chooseFromPool: {
    links: SparseMatrix
    changes: {
      /** updated */
      keep: Tensor<'uint8'>
      /** updated */
      newRows: Tensor<'int32'>
      /** updated */
      newColumns: Tensor<'int32'>
      /** updated */
      newCount: Tensor<'int32'>
    }
    pool: {
      links: SparseMatrix
      /** updated */
      values: Tensor
      /** updated */
      keep: Tensor<'uint8'>
    }
  }
  restoreWeights: {
    links: SparseMatrix
    /** updated */
    values: Tensor
    pool: {
      links: SparseMatrix
      /** updated */
      values: Tensor
      /** updated */
      keep: Tensor<'uint8'>
    }
  }
  beginUpdate: {
    links: SparseMatrix
    changes: {
      /** updated */
      keep: Tensor<'uint8'>
      /** updated */
      newRows: Tensor<'int32'>
      /** updated */
      newColumns: Tensor<'int32'>
      /** updated */
      newCount: Tensor<'int32'>
    }
  }
  rebuild: {
    /** updated */
    links: SparseMatrix
    changes: {
      /** updated */
      keep: Tensor<'uint8'>
      /** updated */
      newRows: Tensor<'int32'>
      /** updated */
      newColumns: Tensor<'int32'>
      /** updated */
      newCount: Tensor<'int32'>
    }
    /** updated */
    arrays: readonly Tensor[]
  }
  uniteLinks: {
    links: SparseMatrix
    capacity?: number | undefined
    /** updated */
    ever?: Tensor<'uint64'> | undefined
    /** updated */
    bits?: Tensor<'uint64'> | undefined
    /** updated */
    count: Tensor<'uint64'>
  }
  returnedLinks: {
    links: SparseMatrix
    changes: {
      /** updated */
      keep: Tensor<'uint8'>
      /** updated */
      newRows: Tensor<'int32'>
      /** updated */
      newColumns: Tensor<'int32'>
      /** updated */
      newCount: Tensor<'int32'>
    }
    /** written */
    counts: Tensor<'int32'>
  }
  activeNeurons: {
    links: SparseMatrix
    /** written */
    counts: Tensor<'int32'>
  }
  initializeNormal: {
    pattern?: SparseMatrix | undefined
    rows?: number | undefined
    cols?: number | undefined
    /** written */
    values: Tensor
    deviation?: number | undefined
    seed: number
    layer: number
  }
  initializeUniform: {
    pattern?: SparseMatrix | undefined
    rows?: number | undefined
    cols?: number | undefined
    /** written */
    values: Tensor
    deviation?: number | undefined
    seed: number
    layer: number
  }
}

/** The operations that a Program records. */
export type OperationName = keyof OperandsOf
