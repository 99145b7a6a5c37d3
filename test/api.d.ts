// What the package exports, without comments. Made by: npx tsx test/api.ts

// hebb: Activations
export declare class Activations implements NativeActivations {
    readonly device: Device;
    readonly features: number;
    readonly capacity: number;
    constructor(device: Device, features: number, capacity: number, of?: {
        whole: Activations;
        first: number;
    } | NativeBuffer);
    slice(first: number, end: number): Activations;
    read(columns?: number): Promise<Float32Array>;
    write(data: Float32Array, columns?: number): Promise<void>;
    dispose(): void;
}

// hebb: AdamNumbers
export interface AdamNumbers {
    learningRate?: number | Rate;
    beta1?: number | undefined;
    beta2?: number | undefined;
    epsilon?: number | undefined;
    weightDecay?: number | undefined;
    decoupled?: boolean | undefined;
    warmup?: number | undefined;
    stepsBy?: 'link' | 'parameter';
}

// hebb: AdamOptions
export interface AdamOptions extends AdamNumbers, ClippingOptions {
    groups?: readonly Group<AdamNumbers>[] | undefined;
}

// hebb: Application
export interface Application {
    features: number;
    inputs: readonly Value[];
    sequences?: Sequences;
    axis?: Axis;
    parameters?: readonly Parameter[];
    forward(output: Activations): void;
    backward(outputGradient: Activations, output: Activations): void;
}

// hebb: Augment
export interface Augment {
    readonly padding: number;
    readonly flip: boolean;
}

// hebb: AverageOptions
export interface AverageOptions {
    union?: boolean | undefined;
}

// hebb: Averaged
export interface Averaged {
    readonly files: number;
    readonly links: number;
    readonly linksBefore: number;
}

// hebb: Axis
export declare class Axis {
    readonly columns: number;
    readonly first: number;
    read(): Promise<Int32Array>;
    dispose(): void;
}

// hebb: Batch
export interface Batch {
    x: Float32Array;
    y: ArrayLike<number>;
    weights?: ArrayLike<number> | undefined;
    ignore?: number | undefined;
}

// hebb: BrfOptions
export interface BrfOptions {
    r?: number | undefined;
    degree?: 'fixed' | 'uniform' | undefined;
}

// hebb: BswOptions
export interface BswOptions {
    beta?: number | undefined;
}

// hebb: Callback
export interface Callback {
    readonly name?: string | undefined;
    readonly keepsBest?: boolean | undefined;
    onBegin?(context: CallbackContext): unknown;
    onEpoch?(epoch: Epoch, context: EpochContext): unknown;
}

// hebb: CallbackContext
export interface CallbackContext {
    readonly trainer: Trainer;
    readonly state: Record<string, unknown>;
    readonly validation: Dataset | TextDataset | undefined;
    stop(reason?: string): void;
}

// hebb: CallbackOrFunction
export type CallbackOrFunction = Callback | NonNullable<Callback['onEpoch']>;

// hebb: CheckpointOptions
export interface CheckpointOptions {
    file: string;
    overwrite?: boolean | undefined;
    best?: string | undefined;
    everyEpochs?: number | undefined;
    everySteps?: number | undefined;
    notes?: Readonly<Record<string, string>> | undefined;
    onError?: ((error: Error) => void) | undefined;
}

// hebb: ChoiceEvaluation
export interface ChoiceEvaluation extends ChoiceScores {
    readonly matthews: Estimate;
    readonly groups: Readonly<Record<string, ChoiceScores>>;
    readonly groupMean?: Estimate | undefined;
    readonly cut: number;
}

// hebb: ChoiceScores
export interface ChoiceScores {
    readonly questions: number;
    readonly accuracy: Estimate;
    readonly normalised: Estimate;
}

// hebb: Chunk
export type Chunk = Pick<DatasetOptions, 'x' | 'y' | 'weights'>;

// hebb: ClassScores
export interface ClassScores {
    readonly precision: number;
    readonly recall: number;
    readonly f1: number;
    readonly samples: number;
}

// hebb: Classification
export interface Classification {
    readonly label: string;
    readonly probability: number;
}

// hebb: ClassificationMetrics
export interface ClassificationMetrics {
    readonly accuracy: number;
    readonly top5: number;
    readonly confusion: readonly (readonly number[])[];
    readonly classes: readonly ClassScores[];
    readonly macro: Readonly<Omit<ClassScores, 'samples'>>;
}

// hebb: CrossAttention
export interface CrossAttention {
    readonly source: readonly string[];
    readonly target: readonly string[];
    readonly heads: number;
    readonly weights: Float32Array;
    readonly mean: Float32Array;
}

// hebb: CrossEntropyOptions
export interface CrossEntropyOptions {
    labelSmoothing?: number | undefined;
    paddingClass?: number | undefined;
}

// hebb: CstiOptions
export interface CstiOptions {
    data: Dataset;
}

// hebb: DataFormat
export interface DataFormat {
    readonly shape: readonly number[];
    readonly type: 'uint8' | 'float32';
    readonly inputs: Normalisation;
    readonly inputNames?: readonly string[];
    readonly classNames?: readonly string[];
    readonly targets?: Normalisation & {
        readonly names?: readonly string[];
    };
}

// hebb: Dataset
export interface Dataset extends Affine {
    readonly name: string;
    readonly x: Uint8Array | Float32Array;
    readonly labels?: Int32Array;
    readonly targets?: Float32Array;
    readonly weights?: Float32Array;
    readonly ignore?: number;
    readonly shape: readonly number[];
    readonly samples: number;
    readonly features: number;
    readonly classes: number;
    readonly augment?: Augment;
    readonly classNames?: readonly string[];
    readonly format: DataFormat;
}

// hebb: DatasetOptions
export interface DatasetOptions {
    x: Uint8Array | Float32Array;
    y: ArrayLike<number>;
    shape: readonly number[];
    classes?: number | undefined;
    weights?: ArrayLike<number> | undefined;
    ignore?: number | undefined;
    normalise?: {
        mean: number | readonly number[];
        deviation: number | readonly number[];
    } | undefined;
    augment?: Augment | undefined;
    name?: string | undefined;
    classNames?: readonly string[] | undefined;
}

// hebb: DecayOptions
export interface DecayOptions {
    initialDensity?: number | undefined;
    over?: number | undefined;
}

// hebb: Degrees
export interface Degrees {
    readonly neurons: number;
    readonly active: number;
    readonly mean: number;
    readonly deviation: number;
    readonly largest: number;
    readonly histogram: readonly {
        readonly degree: number;
        readonly neurons: number;
    }[];
}

// hebb: DenseParameter
export declare class DenseParameter extends ParameterArrays {
    readonly rows: number;
    readonly cols: number;
    constructor(device: Device, name: string, rows: number, cols: number);
}

// hebb: DensityRule
export interface DensityRule {
    readonly name: string;
    initial(target: number): number;
    most(target: number): number;
    schedule(options: {
        target: number;
        updates: number;
    }): DensitySchedule;
}

// hebb: DensitySchedule
export type DensitySchedule = (c: number) => number;

// hebb: DescribeOptions
export interface DescribeOptions {
    exactUpTo?: number | undefined;
    seed?: number | undefined;
}

// hebb: Device
export declare class Device {
    readonly reason: string;
    constructor(options?: DeviceOptions);
    get info(): DeviceInfo;
    predictionRoute(rows: number, cols: number, links: number, predictor: LinkPredictor): PredictionRoute;
    memory(): Memory;
    dispose(): void;
    [Symbol.dispose](): void;
}

// hebb: DeviceChoice
export type DeviceChoice = Device | DeviceOptions | 'auto' | 'cpu' | 'cuda';

// hebb: DeviceInfo
export interface DeviceInfo {
    readonly kind: string;
    readonly name: string;
    readonly simd: string;
    readonly threads: number;
    readonly denseFrom: number;
    readonly memoryBytes: number;
    readonly blas: string;
    readonly deterministic: string;
    readonly detail: string;
}

// hebb: DeviceOptions
export interface DeviceOptions {
    kind?: 'auto' | 'cpu' | 'cuda' | undefined;
    threads?: number | undefined;
    simd?: string | undefined;
    denseFrom?: number | undefined;
    index?: number | undefined;
    blas?: 'own' | 'cublas' | undefined;
    deterministic?: 'device' | 'everywhere' | undefined;
}

// hebb: Distribution
export type Distribution = 'uniform' | 'erk';

// hebb: Dropout
export declare class Dropout implements Module {
    readonly parameters: never[];
    readonly sparse: never[];
    readonly pointwise = true;
    readonly probability: number;
    constructor(options: DropoutOptions);
    materialise({ seed, nextLayer }: Materials): void;
    forward(tape: Tape, x: Value): Value;
    dispose(): void;
}

// hebb: DropoutOptions
export interface DropoutOptions {
    probability: number;
}

// hebb: EarlyStoppingOptions
export interface EarlyStoppingOptions {
    patience: number;
    monitor?: 'accuracy' | 'loss' | undefined;
    minDelta?: number | undefined;
}

// hebb: Embedding
export declare class Embedding implements Module {
    readonly outFeatures: number;
    readonly words: number;
    readonly scale: number;
    readonly sparse: never[];
    constructor(options: EmbeddingOptions);
    get parameters(): Parameter[];
    materialise({ device, seed, nextLayer, restored, initialise }: Materials): void;
    forward(tape: Tape, x: Value): Value;
    score(tape: Tape, x: Value, bias?: DenseParameter): Value;
    dispose(): void;
}

// hebb: EmbeddingOptions
export interface EmbeddingOptions {
    words: number;
    features: number;
    scale?: number | undefined;
    weights?: WeightInit | undefined;
}

// hebb: Epoch
export interface Epoch extends TopologyMeasures {
    readonly epoch: number;
    readonly trainLoss: number;
    readonly trainAccuracy: number;
    readonly counted: number;
    readonly dropped?: number;
    readonly validation?: Evaluation;
    readonly seconds: number;
    readonly updateSeconds: number;
    readonly learningRate: number;
    readonly gradientNorm?: number;
}

// hebb: EpochContext
export interface EpochContext extends CallbackContext {
    readonly figure: number;
    readonly isAtTarget: boolean;
}

// hebb: ErrorCode
export type ErrorCode = 'INVALID_ARGUMENT' | 'OUT_OF_MEMORY' | 'ABORTED' | 'NON_FINITE' | 'DISPOSED' | 'DEVICE_UNAVAILABLE' | 'UNSUPPORTED' | 'MISSING_FILE' | 'BAD_FILE' | 'CANNOT_WRITE' | 'INTERNAL';

// hebb: Estimate
export interface Estimate {
    readonly value: number;
    readonly error: number;
}

// hebb: EvaluateOptions
export interface EvaluateOptions extends RunOptions {
    metrics?: boolean | undefined;
}

// hebb: Evaluation
export interface Evaluation {
    readonly loss: number;
    readonly accuracy: number;
    readonly samples: number;
    readonly dropped?: number;
    readonly metrics?: ClassificationMetrics;
}

// hebb: ExecutionForm
export type ExecutionForm = 'csr' | 'dense-tile';

// hebb: FitOptions
export interface FitOptions extends ResumeOptions {
    epochs?: number | undefined;
    steps?: number | undefined;
    interval?: number | undefined;
    batchSize?: number | undefined;
    packed?: boolean | undefined;
    microBatchSize?: number | undefined;
}

// hebb: ForcedScore
export interface ForcedScore {
    readonly logProbability: number;
    readonly tokens: number;
}

// hebb: ForcedScoreOptions
export interface ForcedScoreOptions {
    batchTokens?: number | undefined;
    signal?: AbortSignal | undefined;
}

// hebb: Fraction
export type Fraction = (point: FractionPoint) => number;

// hebb: FractionPoint
export interface FractionPoint {
    readonly step: number;
    readonly lastStep: number;
    readonly density: number;
    readonly target: number;
}

// hebb: GatedFeedForward
export declare class GatedFeedForward implements Module {
    readonly inFeatures: number;
    readonly outFeatures: number;
    readonly gate: Linear | SparseLinear;
    readonly up: Linear | SparseLinear;
    readonly down: Linear | SparseLinear;
    constructor(options: GatedFeedForwardOptions);
    get children(): ReadonlyMap<string, Module>;
    get parameters(): Parameter[];
    get sparse(): SparseParameter[];
    get relations(): Relation[];
    materialise(materials: Materials): void;
    forward(tape: Tape, x: Value): Value;
    dispose(): void;
}

// hebb: GatedFeedForwardOptions
export interface GatedFeedForwardOptions {
    features: number;
    hidden: number;
    density?: number | undefined;
    densities?: Readonly<Partial<Record<'gate' | 'up' | 'down', number>>> | undefined;
    bias?: boolean | undefined;
    topology?: Topology | undefined;
    weights?: WeightInit | undefined;
}

// hebb: Gelu
export declare class Gelu extends ActivationFunction {
    constructor();
}

// hebb: GenerateOptions
export interface GenerateOptions extends SamplingOptions {
    tokens?: number | undefined;
    stop?: string | readonly string[] | undefined;
    seed?: number | undefined;
    signal?: AbortSignal | undefined;
}

// hebb: GeneratedToken
export interface GeneratedToken {
    readonly id: number;
    readonly text: string;
    readonly logProbability: number;
}

// hebb: GradientTarget
export interface GradientTarget<Memory> {
    readonly gradient: Memory;
    readonly accumulate: boolean;
}

// hebb: Group
export type Group<Numbers> = Partial<Numbers> & {
    match: string | readonly string[];
    frozen?: boolean | undefined;
};

// hebb: HebbError
export declare class HebbError extends Error {
    readonly name = "HebbError";
    readonly code: ErrorCode;
    constructor(code: ErrorCode, message: string, options?: ErrorOptions);
    static [Symbol.hasInstance](value: unknown): boolean;
}

// hebb: Hypothesis
export interface Hypothesis {
    readonly tokens: Int32Array;
    readonly score: number;
    readonly logProbability: number;
    readonly finished: boolean;
}

// hebb: ImportOptions
export interface ImportOptions {
    density?: number | 'nonzero' | undefined;
}

// hebb: Imported
export interface Imported {
    readonly links: number;
    readonly possible: number;
}

// hebb: KeptLayer
export interface KeptLayer extends PlainCsr {
    readonly layer: number;
    readonly update: number;
    readonly seed: number;
}

// hebb: LabelLoss
export type LabelLoss = LossOf<'labels', Tensor<'int32'>>;

// hebb: LayerDescription
export interface LayerDescription {
    readonly inFeatures: number;
    readonly outFeatures: number;
    readonly links: number;
    readonly density: number;
    readonly inputs: Degrees;
    readonly outputs: Degrees;
    readonly clustering: Measured;
    readonly pathLength: Measured;
    readonly connected: number;
    readonly percolated: {
        readonly links: number;
        readonly inputs: number;
        readonly outputs: number;
    };
}

// hebb: LayerGradient
export interface LayerGradient {
    readonly weights: SparseParameter;
    readonly input: Activations;
    readonly outputGradient: Activations;
}

// hebb: LayerNorm
export declare class LayerNorm extends Norm {
    constructor(options: LayerNormOptions);
}

// hebb: LayerNormOptions
export interface LayerNormOptions {
    features: number;
    epsilon?: number | undefined;
}

// hebb: LayerStart
export interface LayerStart {
    readonly rows: number;
    readonly cols: number;
    readonly links: number;
    readonly seed: number;
    readonly layer: number;
}

// hebb: LayerView
export interface LayerView extends PlainCsr {
    readonly values: Float32Array;
    readonly layer: number;
    readonly update: number;
    readonly seed: number;
}

// hebb: LayerWeights
export interface LayerWeights {
    readonly rows: number;
    readonly cols: number;
    readonly links?: Links;
    readonly values: Float32Array;
    readonly bias?: Float32Array;
}

// hebb: Lifetime
export type Lifetime = 'step' | 'given' | 'kept';

// hebb: Linear
export declare class Linear implements Module {
    readonly inFeatures: number;
    readonly outFeatures: number;
    readonly sparse: never[];
    constructor(options: LinearOptions);
    setWeights(weights: NewWeights): void;
    get head(): Module;
    get parameters(): Parameter[];
    materialise({ device, seed, initialise, nextLayer, restored, waitFor }: Materials): void;
    forward(tape: Tape, x: Value): Value;
    dispose(): void;
}

// hebb: LinearOptions
export interface LinearOptions {
    inFeatures: number;
    outFeatures: number;
    bias?: boolean | undefined;
    weights?: WeightInit | undefined;
}

// hebb: LinkPredictor
export type LinkPredictor = (typeof linkPredictors)[number];

// hebb: LinkScores
export interface LinkScores {
    readonly row: Int32Array;
    readonly col: Int32Array;
    readonly score: Float32Array;
}

// hebb: Links
export interface Links {
    readonly rowOffsets: Int32Array;
    readonly columnIndices: Int32Array;
}

// hebb: Llama
export declare class Llama implements Module {
    readonly options: LlamaOptions;
    readonly embedding: Embedding;
    readonly layers: Sequential;
    readonly head: Linear | Scores;
    constructor(options: LlamaOptions);
    get outFeatures(): number;
    get children(): ReadonlyMap<string, Module>;
    get parameters(): Parameter[];
    get sparse(): SparseParameter[];
    get relations(): readonly Relation[];
    materialise(materials: Materials): void;
    body(tape: Tape, tokens: Value): Value;
    forward(tape: Tape, tokens: Value): Value;
    dispose(): void;
}

// hebb: LlamaOptions
export interface LlamaOptions {
    words: number;
    features: number;
    hidden: number;
    layers: number;
    heads: number;
    keyHeads?: number | undefined;
    density?: number | undefined;
    densities?: Readonly<Record<string, number>> | undefined;
    perHead?: boolean | undefined;
    epsilon?: number | undefined;
    base?: number | undefined;
    places?: number | undefined;
    tied?: boolean | undefined;
    topology?: Topology | undefined;
    weights?: WeightInit | undefined;
}

// hebb: LoadOptions
export interface LoadOptions {
    device?: DeviceChoice | undefined;
    model?: Sequential | undefined;
    loss?: Loss | undefined;
    format?: DataFormat | undefined;
}

// hebb: Loss
export type Loss = LossName | LossFunction;

// hebb: LossFunction
export type LossFunction = LabelLoss | ValueLoss;

// hebb: LossName
export type LossName = keyof typeof losses;

// hebb: LossSums
export interface LossSums {
    readonly totals: Tensor<'float64'>;
    readonly previous: Tensor<'float64'> | undefined;
    readonly weights: Tensor<'float32'> | undefined;
    readonly count: Tensor<'float64'> | undefined;
    readonly ignore?: number;
    readonly lossScale: number;
}

// hebb: Materials
export interface Materials {
    readonly device: Device;
    readonly seed: number;
    readonly topology: Topology;
    readonly weights: WeightInit;
    readonly dense?: boolean;
    links(possible: number, density: number, name: string): {
        initial: number;
        capacity: number;
    };
    restored?(layer: number): Links;
    begun?(module: Module): Links | undefined;
    nextLayer(): number;
    readonly made: Set<Module>;
    readonly initialise: Program;
    waitFor(promise: Promise<void>): void;
}

// hebb: Measured
export interface Measured {
    readonly value: number;
    readonly error: number;
}

// hebb: Memory
export interface Memory {
    readonly buffers: number;
    readonly bytes: number;
    readonly peakBytes: number;
}

// hebb: MemoryParts
export interface MemoryParts {
    readonly weights: number;
    readonly gradients: number;
    readonly optimizer: number;
    readonly links: number;
    readonly activations: number;
    readonly workspace: number;
    readonly data: number;
    readonly other: number;
}

// hebb: Method
export interface Method {
    readonly name: string;
    readonly density: DensityRule;
    readonly prune: BuiltInRemove;
    readonly remove?: RemoveRule | undefined;
    readonly regrow?: RegrowRule | undefined;
    readonly updates?: UpdateSchedule | undefined;
    readonly percolate: boolean;
    readonly earlyStop?: number | undefined;
    readonly dense?: boolean | undefined;
    readonly topology: Topology;
    readonly weights: WeightInit;
}

// hebb: MetricsOptions
export interface MetricsOptions {
    ignore?: number | undefined;
}

// hebb: MlpOptions
export interface MlpOptions {
    widths: readonly number[];
    density: number;
    distribution?: Distribution | undefined;
    densities?: Readonly<Record<string, number>> | undefined;
    seed?: number | undefined;
    topology?: Topology | undefined;
    weights?: WeightInit | undefined;
    sparseOutput?: boolean | undefined;
}

// hebb: Module
export interface Module {
    readonly inFeatures?: number | undefined;
    readonly outFeatures?: number | undefined;
    readonly parameters: readonly Parameter[];
    readonly children?: ReadonlyMap<string, Module>;
    readonly sparse: readonly SparseParameter[];
    readonly relations?: readonly Relation[];
    readonly entrances?: readonly SparseParameter[];
    readonly exits?: readonly SparseParameter[];
    readonly pointwise?: boolean;
    readonly head?: Module | undefined;
    materialise(materials: Materials): void;
    body?(tape: Tape, x: Value, ...inputs: Value[]): Value;
    forward(tape: Tape, x: Value, ...inputs: Value[]): Value;
    dispose(): void;
}

// hebb: MultiHeadAttention
export declare class MultiHeadAttention implements Module {
    readonly inFeatures: number;
    readonly outFeatures: number;
    readonly heads: number;
    readonly keyHeads: number;
    readonly causal: boolean;
    readonly cross: boolean;
    readonly dropout: number;
    readonly query: Projection;
    readonly key: Projection;
    readonly value: Projection;
    readonly output: Projection;
    readonly places: number | undefined;
    constructor(options: MultiHeadAttentionOptions);
    get children(): ReadonlyMap<string, Module>;
    get parameters(): Parameter[];
    get sparse(): SparseParameter[];
    get relations(): Relation[];
    materialise(materials: Materials): void;
    project(tape: Tape, x: Value, memory?: Value): {
        readonly query: Value;
        readonly key: Value;
        readonly value: Value;
    };
    forward(tape: Tape, x: Value, ...inputs: Value[]): Value;
    dispose(): void;
}

// hebb: MultiHeadAttentionOptions
export interface MultiHeadAttentionOptions extends ProjectionOptions {
    features: number;
    heads: number;
    keyHeads?: number | undefined;
    causal?: boolean | undefined;
    cross?: boolean | undefined;
    memoryFeatures?: number | undefined;
    dropout?: number | undefined;
    rotary?: RotaryOptions | undefined;
    perHead?: boolean | undefined;
    densities?: Readonly<Partial<Record<'query' | 'key' | 'value' | 'output', number>>> | undefined;
}

// hebb: NamedGradients
export type NamedGradients = ReadonlyMap<string, Tensor>;

// hebb: NamedParameters
export type NamedParameters = readonly (readonly [
    name: string,
    parameter: Parameter
])[];

// hebb: NewLinks
export interface NewLinks {
    readonly row: ArrayLike<number>;
    readonly col: ArrayLike<number>;
}

// hebb: NewWeights
export interface NewWeights {
    rows?: number | undefined;
    cols?: number | undefined;
    links?: {
        readonly rowOffsets: ArrayLike<number>;
        readonly columnIndices: ArrayLike<number>;
    } | undefined;
    values: ArrayLike<number>;
    bias?: ArrayLike<number> | undefined;
}

// hebb: Normalisation
export interface Normalisation {
    readonly mean: readonly number[];
    readonly deviation: readonly number[];
}

// hebb: OperandsOf
export interface OperandsOf {
    gather: {
        output: Activations;
        samples: number;
        bytes?: Tensor<'uint8'> | undefined;
        floats?: Tensor | undefined;
        scale?: number | undefined;
        shift?: number | undefined;
        count: number;
        indices: Tensor<'int32'>;
        channels?: number | undefined;
        scales?: Tensor | undefined;
        shifts?: Tensor | undefined;
        augmentation?: {
            height: number;
            width: number;
            padding: number;
            flip?: boolean | undefined;
            seed: number;
        } | undefined;
    };
    gatherLabels: {
        count: number;
        samples: number;
        labels: Tensor<'int32'>;
        indices: Tensor<'int32'>;
        targets: Tensor<'int32'>;
    };
    gatherWeights: {
        count: number;
        samples: number;
        weights: Tensor;
        indices: Tensor<'int32'>;
        columnWeights: Tensor;
    };
    spmm: {
        weights: SparseMatrix;
        values: Tensor;
        bias?: Tensor | undefined;
        input: Activations;
        output: Activations;
        activation?: 'none' | 'relu' | undefined;
    };
    spmmTransposed: {
        weights: SparseMatrix;
        values: Tensor;
        outputGradient: Activations;
        activation?: 'none' | 'relu' | undefined;
        accumulate?: boolean | undefined;
        inputGradient: Activations;
        input?: Activations | undefined;
    };
    sddmm: {
        pattern: SparseMatrix;
        outputGradient: Activations;
        input: Activations;
        gradient: Tensor;
        biasGradient?: Tensor | undefined;
        accumulate?: boolean | undefined;
        accumulateBias?: boolean | undefined;
    };
    linear: {
        input: Activations;
        output: Activations;
        weights: Tensor;
        bias?: Tensor | undefined;
        activation?: 'none' | 'relu' | undefined;
        product?: 'auto' | 'fma' | 'tensorCores' | undefined;
    };
    linearTransposed: {
        outputGradient: Activations;
        activation?: 'none' | 'relu' | undefined;
        accumulate?: boolean | undefined;
        inputGradient: Activations;
        input?: Activations | undefined;
        weights: Tensor;
        product?: 'auto' | 'fma' | 'tensorCores' | undefined;
    };
    linearGradient: {
        outputGradient: Activations;
        input: Activations;
        gradient: Tensor;
        biasGradient?: Tensor | undefined;
        accumulate?: boolean | undefined;
        accumulateBias?: boolean | undefined;
        product?: 'auto' | 'fma' | 'tensorCores' | undefined;
    };
    relu: {
        input: Activations;
        output: Activations;
    };
    reluGradient: {
        output: Activations;
        outputGradient: Activations;
        accumulate?: boolean | undefined;
        inputGradient: Activations;
    };
    tanh: {
        input: Activations;
        output: Activations;
    };
    tanhGradient: {
        output: Activations;
        outputGradient: Activations;
        accumulate?: boolean | undefined;
        inputGradient: Activations;
    };
    sigmoid: {
        input: Activations;
        output: Activations;
    };
    sigmoidGradient: {
        output: Activations;
        outputGradient: Activations;
        accumulate?: boolean | undefined;
        inputGradient: Activations;
    };
    silu: {
        input: Activations;
        output: Activations;
    };
    siluGradient: {
        input: Activations;
        outputGradient: Activations;
        accumulate?: boolean | undefined;
        inputGradient: Activations;
    };
    gelu: {
        input: Activations;
        output: Activations;
    };
    geluGradient: {
        input: Activations;
        outputGradient: Activations;
        accumulate?: boolean | undefined;
        inputGradient: Activations;
    };
    add: {
        first: Activations;
        second?: Activations | undefined;
        accumulate?: boolean | undefined;
        output: Activations;
    };
    multiply: {
        first: Activations;
        second: Activations;
        accumulate?: boolean | undefined;
        output: Activations;
    };
    dropout: {
        input: Activations;
        accumulate?: boolean | undefined;
        output: Activations;
        probability: number;
        seed: number;
        layer: number;
    };
    layerNorm: {
        input: Activations;
        output: Activations;
        gain: Tensor;
        bias?: Tensor | undefined;
        statistics: Activations;
        epsilon?: number | undefined;
        rms?: boolean | undefined;
    };
    layerNormGradient: {
        input: Activations;
        statistics: Activations;
        gain: Tensor;
        outputGradient: Activations;
        accumulate?: boolean | undefined;
        inputGradient?: Activations | undefined;
        gainGradient?: Tensor | undefined;
        biasGradient?: Tensor | undefined;
        accumulateGain?: boolean | undefined;
        accumulateBias?: boolean | undefined;
        rms?: boolean | undefined;
    };
    embedding: {
        accumulate?: boolean | undefined;
        output: Activations;
        words: number;
        tokens: Tensor<'int32'>;
        table: Tensor;
        scale?: number | undefined;
    };
    embeddingGradient: {
        outputGradient: Activations;
        words: number;
        tokens: Tensor<'int32'>;
        accumulate?: boolean | undefined;
        gradient: Tensor;
        scale?: number | undefined;
    };
    rotate: {
        input: Activations;
        accumulate?: boolean | undefined;
        output: Activations;
        heads: number;
        angles: Activations;
        back?: boolean | undefined;
    };
    attention: {
        query: Activations;
        key: Activations;
        value: Activations;
        sequences: number;
        queryOffsets: Tensor<'int32'>;
        keyOffsets: Tensor<'int32'>;
        heads: number;
        causal?: boolean | undefined;
        scale?: number | undefined;
        probability?: number | undefined;
        seed?: number | undefined;
        layer?: number | undefined;
        output: Activations;
        statistics: Activations;
    };
    attentionGradient: {
        query: Activations;
        key: Activations;
        value: Activations;
        sequences: number;
        queryOffsets: Tensor<'int32'>;
        keyOffsets: Tensor<'int32'>;
        heads: number;
        causal?: boolean | undefined;
        scale?: number | undefined;
        probability?: number | undefined;
        seed?: number | undefined;
        layer?: number | undefined;
        output: Activations;
        statistics: Activations;
        outputGradient: Activations;
        products: Activations;
        accumulateQuery?: boolean | undefined;
        accumulateKey?: boolean | undefined;
        accumulateValue?: boolean | undefined;
        queryGradient: Activations;
        keyGradient: Activations;
        valueGradient: Activations;
    };
    softmaxCrossEntropy: {
        logits: Activations;
        targets: Tensor<'int32'>;
        ignore?: number | undefined;
        labelSmoothing?: number | undefined;
        paddingClass?: number | undefined;
        gradient?: Activations | undefined;
        weights?: Tensor | undefined;
        count?: Tensor<'float64'> | undefined;
        totals: Tensor<'float64'>;
        previous?: Tensor<'float64'> | undefined;
        lossScale?: number | undefined;
    };
    meanSquaredError: {
        output: Activations;
        target: Activations;
        gradient?: Activations | undefined;
        weights?: Tensor | undefined;
        count?: Tensor<'float64'> | undefined;
        totals: Tensor<'float64'>;
        previous?: Tensor<'float64'> | undefined;
        lossScale?: number | undefined;
    };
    noteTotals: {
        totals: Tensor<'float64'>;
        previous: Tensor<'float64'>;
    };
    sumWeights: {
        axis?: Axis | undefined;
        weights?: Tensor | undefined;
        targets?: Tensor<'int32'> | undefined;
        ignore?: number | undefined;
        sum: Tensor<'float64'>;
    };
    gradientNorm: {
        gradients: readonly {
            pattern?: SparseMatrix | undefined;
            count?: number | undefined;
            gradient: Tensor;
        }[];
        maxNorm: number;
        lossScale?: number | undefined;
        norm: Tensor<'float64'>;
        scale: Tensor<'float64'>;
        totals?: Tensor<'float64'> | undefined;
        previous?: Tensor<'float64'> | undefined;
    };
    sgd: {
        pattern?: SparseMatrix | undefined;
        count?: number | undefined;
        values: Tensor;
        momentum?: number | undefined;
        velocity?: Tensor | undefined;
        learningRate: number;
        weightDecay?: number | undefined;
        gradient: Tensor;
        scale?: Tensor<'float64'> | undefined;
    };
    adam: {
        pattern?: SparseMatrix | undefined;
        count?: number | undefined;
        values: Tensor;
        gradient: Tensor;
        firstMoment: Tensor;
        secondMoment: Tensor;
        sharedSteps?: boolean | undefined;
        steps: Tensor;
        learningRate: number;
        scale?: Tensor<'float64'> | undefined;
        beta1?: number | undefined;
        beta2?: number | undefined;
        epsilon?: number | undefined;
        weightDecay?: number | undefined;
        decoupled?: boolean | undefined;
        warmup?: number | undefined;
    };
    importance: {
        links: SparseMatrix;
        values: Tensor;
        keep: Tensor<'uint8'>;
        rule: 'magnitude' | 'relative' | 'magnitude+gradient';
        scores: Tensor;
        gradient?: Tensor | undefined;
        share?: number | undefined;
    };
    keepLinks: {
        links: SparseMatrix;
        scores: Tensor;
        keep: Tensor<'uint8'>;
        count: number;
        temperature?: number | undefined;
        update: number;
        seed: number;
        purpose: 'prune' | 'remove';
        layer: number;
    };
    regrow: {
        links: SparseMatrix;
        changes: {
            keep: Tensor<'uint8'>;
            newRows: Tensor<'int32'>;
            newColumns: Tensor<'int32'>;
            newCount: Tensor<'int32'>;
        };
        predictor: 'none' | 'CH2-L3n' | 'CH3-L3n' | 'CH2-L3p' | 'CH3-L3p';
        selection: 'sample' | 'largest';
        route?: 'auto' | 'sparse' | 'dense' | undefined;
        count: number;
        update: number;
        seed: number;
        layer: number;
    };
    regrowByGradient: {
        links: SparseMatrix;
        changes: {
            keep: Tensor<'uint8'>;
            newRows: Tensor<'int32'>;
            newColumns: Tensor<'int32'>;
            newCount: Tensor<'int32'>;
        };
        input: Activations;
        outputGradient: Activations;
        count: number;
        update: number;
        seed: number;
        layer: number;
    };
    permute: {
        count: number;
        indices: Tensor<'int32'>;
        seed: number;
        epoch?: number | undefined;
        identity?: boolean | undefined;
    };
    gatherSequences: {
        total: number;
        tokens: Tensor<'int32'>;
        sequences: number;
        starts: Tensor<'int32'>;
        planned: number;
        plan: Tensor<'int32'>;
        steps: number;
        batches: Tensor<'int32'>;
        skip?: number | undefined;
        drop?: number | undefined;
        most: number;
        axis: Axis;
        output: Tensor<'int32'>;
        positions?: Tensor<'int32'> | undefined;
        offsets?: Tensor<'int32'> | undefined;
    };
    gatherColumns: {
        output: Activations;
        indices: Tensor<'int32'>;
        input: Activations;
    };
    scatterColumns: {
        input: Activations;
        indices: Tensor<'int32'>;
        output: Activations;
    };
    takeColumns: {
        output: Activations;
        input: Activations;
    };
    putColumns: {
        input: Activations;
        keep?: boolean | undefined;
        output: Activations;
    };
    pooling: {
        output: Activations;
        offsets: Tensor<'int32'>;
        kind: 'mean' | 'max' | 'first';
        input: Activations;
    };
    poolingGradient: {
        outputGradient: Activations;
        offsets: Tensor<'int32'>;
        kind: 'mean' | 'max' | 'first';
        input?: Activations | undefined;
        output?: Activations | undefined;
        accumulate?: boolean | undefined;
        inputGradient: Activations;
    };
    percolate: {
        layers: readonly {
            links: SparseMatrix;
            keep: Tensor<'uint8'>;
        }[];
        relations: readonly {
            first: number;
            second: number;
            kind: 'consecutive' | 'joint';
        }[];
    };
    openPool: {
        links: SparseMatrix;
        values: Tensor;
        pool: {
            links: SparseMatrix;
            values: Tensor;
            keep: Tensor<'uint8'>;
        };
    };
    chooseFromPool: {
        links: SparseMatrix;
        changes: {
            keep: Tensor<'uint8'>;
            newRows: Tensor<'int32'>;
            newColumns: Tensor<'int32'>;
            newCount: Tensor<'int32'>;
        };
        pool: {
            links: SparseMatrix;
            values: Tensor;
            keep: Tensor<'uint8'>;
        };
    };
    restoreWeights: {
        links: SparseMatrix;
        values: Tensor;
        pool: {
            links: SparseMatrix;
            values: Tensor;
            keep: Tensor<'uint8'>;
        };
    };
    beginUpdate: {
        links: SparseMatrix;
        changes: {
            keep: Tensor<'uint8'>;
            newRows: Tensor<'int32'>;
            newColumns: Tensor<'int32'>;
            newCount: Tensor<'int32'>;
        };
    };
    rebuild: {
        links: SparseMatrix;
        changes: {
            keep: Tensor<'uint8'>;
            newRows: Tensor<'int32'>;
            newColumns: Tensor<'int32'>;
            newCount: Tensor<'int32'>;
        };
        arrays: readonly Tensor[];
    };
    uniteLinks: {
        links: SparseMatrix;
        capacity?: number | undefined;
        ever?: Tensor<'uint64'> | undefined;
        bits?: Tensor<'uint64'> | undefined;
        count: Tensor<'uint64'>;
    };
    returnedLinks: {
        links: SparseMatrix;
        changes: {
            keep: Tensor<'uint8'>;
            newRows: Tensor<'int32'>;
            newColumns: Tensor<'int32'>;
            newCount: Tensor<'int32'>;
        };
        counts: Tensor<'int32'>;
    };
    activeNeurons: {
        links: SparseMatrix;
        counts: Tensor<'int32'>;
    };
    initializeNormal: {
        pattern?: SparseMatrix | undefined;
        rows?: number | undefined;
        cols?: number | undefined;
        values: Tensor;
        deviation?: number | undefined;
        seed: number;
        layer: number;
    };
    initializeUniform: {
        pattern?: SparseMatrix | undefined;
        rows?: number | undefined;
        cols?: number | undefined;
        values: Tensor;
        deviation?: number | undefined;
        seed: number;
        layer: number;
    };
}

// hebb: OperationName
export type OperationName = keyof OperandsOf;

// hebb: Optimizer
export interface Optimizer {
    readonly name: string;
    readonly rates: readonly Rate[];
    readonly clipNorm?: number | undefined;
    groups(parameters: NamedParameters): ParameterGroup[];
    prepare(groups: readonly ParameterGroup[]): void;
    record(program: Program, groups: readonly ParameterGroup[], scale?: Tensor<'float64'>): void;
}

// hebb: OutputName
export type OutputName = keyof Outputs;

// hebb: Outputs
export interface Outputs {
    logits: Float32Array;
    probabilities: Float32Array;
    labels: string[];
    values: Float32Array;
}

// hebb: OvershootOptions
export interface OvershootOptions {
    by?: readonly {
        readonly density: number;
        readonly until: number;
    }[] | undefined;
}

// hebb: Parameter
export type Parameter = DenseParameter | SparseParameter;

// hebb: ParameterGroup
export interface ParameterGroup {
    readonly parameters: readonly Parameter[];
    readonly index: number;
    readonly frozen: boolean;
}

// hebb: Perplexity
export interface Perplexity {
    readonly loss: Estimate;
    readonly perplexity: Estimate;
    readonly wordPerplexity: Estimate;
    readonly bitsPerByte: Estimate;
    readonly tokens: number;
    readonly unknown: number;
    readonly words: number;
    readonly bytes: number;
    readonly by: 'documents' | 'windows';
    readonly units: number;
    readonly window: number;
    readonly stride: number;
}

// hebb: PerplexityOptions
export interface PerplexityOptions extends RunOptions {
    window?: number | undefined;
    stride?: number | undefined;
}

// hebb: PlainCsr
export interface PlainCsr extends Links {
    readonly rows: number;
    readonly cols: number;
}

// hebb: Pooling
export declare class Pooling implements Module {
    readonly parameters: never[];
    readonly sparse: never[];
    readonly pointwise = true;
    readonly kind: Kind;
    constructor(options?: PoolingOptions);
    materialise(): void;
    forward(tape: Tape, x: Value): Value;
    dispose(): void;
}

// hebb: PoolingOptions
export interface PoolingOptions {
    kind?: Kind | undefined;
}

// hebb: PositionalEncoding
export declare class PositionalEncoding implements Module {
    readonly inFeatures: number;
    readonly outFeatures: number;
    readonly places: number;
    readonly sparse: never[];
    constructor(options: PositionalEncodingOptions);
    get parameters(): Parameter[];
    materialise({ device, seed, nextLayer, restored, initialise }: Materials): void;
    forward(tape: Tape, x: Value): Value;
    dispose(): void;
}

// hebb: PositionalEncodingOptions
export interface PositionalEncodingOptions {
    features: number;
    places?: number | undefined;
    kind?: 'sinusoidal' | 'learned' | undefined;
}

// hebb: PredictOptions
export interface PredictOptions<Output extends OutputName = OutputName> extends RunOptions {
    raw?: boolean | undefined;
    output?: Output | undefined;
}

// hebb: Predictable
export type Predictable = RawInputs | Dataset | TextDataset;

// hebb: PredictionRoute
export type PredictionRoute = (typeof predictionRoutes)[number];

// hebb: Predictor
export declare class Predictor {
    readonly device: Device;
    readonly model: Sequential;
    readonly notes: Readonly<Record<string, string>>;
    readonly format: DataFormat | undefined;
    get tokenizers(): Tokenizers | undefined;
    get separator(): string | undefined;
    get classes(): readonly string[] | undefined;
    predict<Output extends OutputName = 'logits'>(x: Predictable, options?: PredictOptions<Output>): Promise<Outputs[Output]>;
    classify(lines: readonly string[], options?: RunOptions): Promise<Classification[]>;
    evaluate(data: Dataset | TextDataset, options?: EvaluateOptions): Promise<Evaluation>;
    perplexity(text: LanguageText, options?: PerplexityOptions): Promise<Perplexity>;
    evaluateChoices(questions: readonly Question[], options?: RunOptions): Promise<ChoiceEvaluation>;
    translate(lines: readonly string[], options?: Omit<TranslationOptions, 'nBest'>): Promise<string[]>;
    translations(lines: readonly string[], options?: TranslationOptions): Promise<Translation[][]>;
    generate(prompt: string, options?: GenerateOptions): AsyncGenerator<GeneratedToken, void, undefined>;
    tooLong(lines: readonly string[]): {
        readonly line: number;
        readonly tokens: number;
    }[];
    get places(): number;
    scoreTranslations(sources: readonly string[], targets: readonly string[], options?: RunOptions): Promise<ScoredTranslation[]>;
    crossAttention(sources: readonly string[], targets: readonly string[], options?: RunOptions): Promise<CrossAttention[]>;
    weights(layer: number | string): Promise<LayerWeights>;
    describeTopology(options?: DescribeOptions): Promise<TopologyDescription>;
    memory(): Memory;
    dispose(): void;
    [Symbol.dispose](): void;
}

// hebb: Program
export declare class Program {
    readonly device: Device;
    readonly batch: number;
    constructor(device: Device, options?: ProgramOptions);
    part(first: number, columns: number, of?: Axis): Axis;
    axis(columns: number): Axis;
    activations(features: number, lifetime?: Lifetime, axis?: Axis): Activations;
    keep(value: Activations): void;
    keepAll(all: boolean): Promise<void>;
    record<Name extends OperationName>(operation: Name, operands: OperandsOf[Name]): void;
    cut(): void;
    replay(steps: number, options?: ReplayOptions): Promise<void>;
    get stepsDone(): number;
    get operationCount(): number;
    dispose(): void;
    [Symbol.dispose](): void;
}

// hebb: ProgramOptions
export interface ProgramOptions {
    scalars?: number | undefined;
    batch?: number | undefined;
    workspace?: Tensor<'uint8'> | undefined;
}

// hebb: Progress
export interface Progress {
    readonly epoch: number;
    readonly epochs: number;
    readonly step: number;
    readonly stepsPerEpoch: number;
}

// hebb: RMSNorm
export declare class RMSNorm extends Norm {
    constructor(options: RMSNormOptions);
}

// hebb: RMSNormOptions
export interface RMSNormOptions {
    features: number;
    epsilon?: number | undefined;
}

// hebb: Rate
export type Rate = (point: RatePoint) => number;

// hebb: RatePoint
export interface RatePoint {
    readonly step: number;
    readonly steps: number;
    readonly epoch: number;
    readonly epochs: number;
    readonly stepsSinceUpdate: number;
    readonly density: number;
}

// hebb: RawInputs
export type RawInputs = Uint8Array | Float32Array | Float64Array;

// hebb: Recompute
export declare class Recompute extends Wrapper {
    constructor(module: Module);
    forward(tape: Tape, x: Value, ...inputs: Value[]): Value;
}

// hebb: RegrowFunction
export type RegrowFunction = (layer: KeptLayer, count: number) => NewLinks | Promise<NewLinks>;

// hebb: RegrowRule
export type RegrowRule = BuiltInRegrow | RegrowFunction;

// hebb: Relation
export interface Relation {
    readonly first: SparseParameter;
    readonly second: SparseParameter;
    readonly kind: 'consecutive' | 'joint';
}

// hebb: Relu
export declare class Relu extends ActivationFunction {
    constructor();
}

// hebb: RemoveFunction
export type RemoveFunction = (layer: LayerView, count: number) => ArrayLike<number> | Promise<ArrayLike<number>>;

// hebb: RemoveRule
export type RemoveRule = BuiltInRemove | RemoveFunction;

// hebb: ReplayOptions
export interface ReplayOptions {
    begin?: Segment | undefined;
    writes?: readonly Transfer[] | undefined;
    reads?: readonly Transfer[] | undefined;
    between?: ((section: number) => unknown) | undefined;
    signal?: AbortSignal | undefined;
}

// hebb: Residual
export declare class Residual extends Wrapper {
    constructor(module: Module);
    get entrances(): readonly SparseParameter[];
    get exits(): readonly SparseParameter[];
    forward(tape: Tape, x: Value, ...inputs: Value[]): Value;
}

// hebb: ResumeOptions
export interface ResumeOptions {
    validation?: Dataset | TextDataset | undefined;
    signal?: AbortSignal | undefined;
    onProgress?: ((progress: Progress) => void) | undefined;
    checkpoint?: CheckpointOptions | false | undefined;
    callbacks?: readonly CallbackOrFunction[] | undefined;
}

// hebb: RunOptions
export interface RunOptions {
    signal?: AbortSignal | undefined;
}

// hebb: SampleStream
export declare class SampleStream {
    readonly name: string;
    readonly samples: number;
    readonly chunk: number;
    get fullChunks(): number;
    get chunks(): number;
    dataset(index: number): Promise<Dataset>;
}

// hebb: ScoreOptions
export interface ScoreOptions {
    route?: PredictionRoute | undefined;
}

// hebb: ScoredTranslation
export interface ScoredTranslation {
    readonly logProbability: number;
    readonly tokens: number;
}

// hebb: Search
export declare class Search {
    readonly device: Device;
    readonly model: Transformer;
    readonly places: number;
    constructor(device: Device, model: Transformer, options: SearchOptions);
    translate(sources: readonly Int32Array[], options?: TranslateOptions): Promise<Hypothesis[][]>;
    score(sources: readonly Int32Array[], targets: readonly Int32Array[], options?: ForcedScoreOptions): Promise<ForcedScore[]>;
    dispose(): void;
    [Symbol.dispose](): void;
}

// hebb: SearchOptions
export interface SearchOptions {
    begin: number;
    end: number;
    places?: number | undefined;
}

// hebb: Segment
export interface Segment {
    step?: number;
    scalars?: ArrayLike<number> | undefined;
    samples?: number;
    first?: number;
    columns?: number;
}

// hebb: Sequences
export interface Sequences {
    readonly axis: Axis;
    readonly count: number;
    readonly offsets: Tensor<'int32'>;
    readonly positions: Tensor<'int32'>;
    readonly whole?: Axis | undefined;
}

// hebb: Sequential
export declare class Sequential implements Module {
    readonly modules: readonly Module[];
    readonly seed: number;
    constructor(modules: readonly Module[] | Readonly<Record<string, Module>>, options?: {
        seed?: number;
    });
    get inFeatures(): number | undefined;
    get outFeatures(): number | undefined;
    get parameters(): Parameter[];
    get children(): ReadonlyMap<string, Module>;
    get sparse(): SparseParameter[];
    get relations(): Relation[];
    get entrances(): readonly SparseParameter[];
    get exits(): readonly SparseParameter[];
    get pointwise(): boolean;
    get head(): Module | undefined;
    materialise(materials: Materials): void;
    body(tape: Tape, x: Value, ...inputs: Value[]): Value;
    forward(tape: Tape, x: Value, ...inputs: Value[]): Value;
    compact(): Promise<Sequential>;
    dispose(): void;
}

// hebb: SgdNumbers
export interface SgdNumbers {
    learningRate: number | Rate;
    momentum?: number | undefined;
    weightDecay?: number | undefined;
}

// hebb: SgdOptions
export interface SgdOptions extends SgdNumbers, ClippingOptions {
    groups?: readonly Group<SgdNumbers>[] | undefined;
}

// hebb: Sigmoid
export declare class Sigmoid extends ActivationFunction {
    constructor();
}

// hebb: Silu
export declare class Silu extends ActivationFunction {
    constructor();
}

// hebb: SparseLinear
export declare class SparseLinear implements Module {
    readonly inFeatures: number;
    readonly outFeatures: number;
    readonly density: number;
    constructor(options: SparseLinearOptions);
    setWeights(weights: NewWeights): void;
    get head(): Module;
    get parameters(): Parameter[];
    get sparse(): SparseParameter[];
    get entrances(): SparseParameter[];
    get exits(): SparseParameter[];
    materialise(materials: Materials): void;
    forward(tape: Tape, x: Value): Value;
    dispose(): void;
}

// hebb: SparseLinearOptions
export interface SparseLinearOptions {
    inFeatures: number;
    outFeatures: number;
    density: number;
    bias?: boolean | undefined;
    topology?: Topology | undefined;
    weights?: WeightInit | undefined;
}

// hebb: SparseMatrix
export declare class SparseMatrix {
    readonly rows: number;
    readonly cols: number;
    constructor(device: Device, rows: number, cols: number, links: Links, capacity?: number);
    get capacity(): number;
    get bytes(): number;
    resize(capacity: number): Promise<void>;
    read(): Promise<Links>;
    predictLinks(predictor: LinkPredictor, options?: {
        route?: PredictionRoute | undefined;
    }): Promise<LinkScores>;
    dispose(): void;
}

// hebb: SparseParameter
export declare class SparseParameter extends ParameterArrays {
    readonly matrix: SparseMatrix;
    readonly layer: number;
    readonly density: number;
    constructor(device: Device, options: SparseParameterOptions);
    get possible(): number;
    formAt(links: number): ExecutionForm;
    resize(capacity: number): Promise<void>;
    get pool(): Pool | undefined;
    setPool(links: Links): Pool;
    dispose(): void;
}

// hebb: SparseParameterOptions
export interface SparseParameterOptions {
    name: string;
    layer: number;
    rows: number;
    cols: number;
    links: Links;
    capacity?: number | undefined;
    density?: number | undefined;
}

// hebb: StreamOptions
export interface StreamOptions extends Omit<DatasetOptions, 'x' | 'y' | 'weights'> {
    samples: number;
    chunk: number;
    read(first: number, count: number): Chunk | Promise<Chunk>;
}

// hebb: Tanh
export declare class Tanh extends ActivationFunction {
    constructor();
}

// hebb: Tape
export declare class Tape {
    readonly program: Program;
    readonly device: Device;
    readonly training: boolean;
    readonly outputs: {
        readonly module: object;
        readonly output: Activations;
    }[];
    readonly gradients: LayerGradient[];
    constructor(program: Program, options: TapeOptions);
    get batch(): number;
    get firstColumn(): number;
    begin(axis: Axis): void;
    own<T extends {
        dispose(): void;
    }>(memory: T): T;
    activations(features: number, along?: Pick<Value, 'axis' | 'sequences'>): Activations;
    given(features: number): Activations;
    input(activations: Activations): Value;
    record<Name extends OperationName>(operation: Name, operands: OperandsOf[Name]): void;
    apply({ features, inputs, parameters, forward, backward, ...along }: Application): Value;
    recompute(compute: () => Value): Value;
    byColumns(x: Value, columns: number, compute: (part: Value) => void): void;
    gradient(of: Value): GradientTarget<Activations> | undefined;
    gradient(of: Parameter): GradientTarget<Tensor> | undefined;
    noteGradient(layer: LayerGradient): void;
    note(module: object, value: Value): void;
    backward(): void;
    dispose(): void;
}

// hebb: TapeOptions
export interface TapeOptions {
    training: boolean;
    keepGradients?: boolean | undefined;
    frozen?: ReadonlySet<Parameter> | undefined;
}

// hebb: Tensor
export declare class Tensor<T extends TensorType = 'float32'> {
    readonly device: Device;
    readonly type: T;
    constructor(device: Device, type: T, lengthOrData: number | TypedArrayOf<T>, native?: NativeBuffer);
    get length(): number;
    get bytes(): number;
    read(length?: number): Promise<TypedArrayOf<T>>;
    write(data: TypedArrayOf<T>, length?: number): Promise<void>;
    copy(from: Tensor<T>): Promise<void>;
    resize(length: number): Promise<void>;
    dispose(): void;
    [Symbol.dispose](): void;
}

// hebb: Tokens
export declare class Tokens implements Value {
    readonly tokens: Tensor<'int32'>;
    readonly sequences: Sequences;
    readonly needsGradient = false;
    constructor(tokens: Tensor<'int32'>, sequences: Sequences);
    get activations(): Activations;
}

// hebb: Topology
export interface Topology {
    readonly name: string;
    generate(layer: LayerStart): Links;
}

// hebb: TopologyDescription
export interface TopologyDescription {
    readonly layers: readonly LayerDescription[];
    readonly links: number;
    readonly density: number;
    readonly activeNeurons: number;
    readonly percolated: {
        readonly links: number;
        readonly neurons: number;
    };
}

// hebb: TopologyMeasures
export interface TopologyMeasures {
    readonly links: number;
    readonly density: number;
    readonly activeNeurons: number;
    readonly itop: number;
    readonly linksPerLayer: readonly number[];
    readonly forms: readonly ExecutionForm[];
    readonly routes?: readonly PredictionRoute[] | undefined;
}

// hebb: TrainOnOptions
export interface TrainOnOptions extends RunOptions {
    microBatchSize?: number | undefined;
}

// hebb: Trainer
export declare class Trainer {
    readonly model: Sequential;
    readonly device: Device;
    readonly method: Method;
    constructor(model: Sequential, options: TrainerOptions, origin?: Origin);
    static load(file: string, options?: TrainerLoadOptions): Promise<Trainer>;
    static from(file: string, options?: TrainerLoadOptions): Promise<Trainer>;
    get notes(): Readonly<Record<string, string>>;
    get tokenizers(): Tokenizers | undefined;
    get format(): DataFormat | undefined;
    get classes(): readonly string[] | undefined;
    get step(): number;
    get run(): Readonly<Pick<Run, 'epochs' | 'batchSize' | 'epoch' | 'best' | 'stopped'>> | undefined;
    plan(options: {
        epochs: number;
        stepsPerEpoch: number;
    }): void;
    fit(data: TrainingData, options: FitOptions): Training;
    resume(data: TrainingData, options?: ResumeOptions): Training;
    trainOn(batch: Batch, options?: TrainOnOptions): Promise<number>;
    evaluate(data: Dataset | TextDataset, options?: EvaluateOptions): Promise<Evaluation>;
    perplexity(text: LanguageText, options?: PerplexityOptions): Promise<Perplexity>;
    evaluateChoices(questions: readonly Question[], options?: RunOptions): Promise<ChoiceEvaluation>;
    predict<Output extends OutputName = 'logits'>(x: Predictable, options?: PredictOptions<Output>): Promise<Outputs[Output]>;
    classify(lines: readonly string[], options?: RunOptions): Promise<Classification[]>;
    translate(lines: readonly string[], options?: Omit<TranslationOptions, 'nBest'>): Promise<string[]>;
    generate(prompt: string, options?: GenerateOptions): AsyncGenerator<GeneratedToken, void, undefined>;
    tooLong(lines: readonly string[]): {
        readonly line: number;
        readonly tokens: number;
    }[];
    crossAttention(sources: readonly string[], targets: readonly string[], options?: RunOptions): Promise<CrossAttention[]>;
    measures(): Promise<TopologyMeasures>;
    gradientNorm(): Promise<number | undefined>;
    weights(layer: number | string): Promise<LayerWeights>;
    setWeights(layer: number | string, weights: NewWeights): Promise<void>;
    describeTopology(options?: DescribeOptions): Promise<TopologyDescription>;
    save(file: string, options?: {
        notes?: Readonly<Record<string, string>> | undefined;
    }): Promise<void>;
    memory(): TrainerMemory;
    dispose(): void;
    [Symbol.dispose](): void;
}

// hebb: TrainerLoadOptions
export interface TrainerLoadOptions extends Partial<TrainerOptions> {
    model?: Sequential | undefined;
}

// hebb: TrainerMemory
export interface TrainerMemory extends Memory {
    readonly parts: MemoryParts;
    readonly peak: MemoryParts;
}

// hebb: TrainerOptions
export interface TrainerOptions {
    optimizer: Optimizer;
    dst?: Method | undefined;
    loss?: Loss | undefined;
    lossScale?: number | undefined;
    device?: DeviceChoice | undefined;
    trackHistory?: boolean | undefined;
    onGradients?: ((gradients: NamedGradients, at: {
        readonly step: number;
    }) => unknown) | undefined;
    format?: DataFormat | undefined;
}

// hebb: Training
export declare class Training implements AsyncGenerator<Epoch, void, undefined>, Promise<readonly Epoch[]> {
    constructor(epochs: AsyncGenerator<Epoch, void, undefined>);
    next(): Promise<IteratorResult<Epoch, void>>;
    return(): Promise<IteratorResult<Epoch, void>>;
    throw(error: unknown): Promise<IteratorResult<Epoch, void>>;
    [Symbol.asyncIterator](): this;
    [Symbol.asyncDispose](): Promise<void>;
    then<Fulfilled = readonly Epoch[], Rejected = never>(onFulfilled?: ((history: readonly Epoch[]) => Fulfilled | PromiseLike<Fulfilled>) | null, onRejected?: ((reason: any) => Rejected | PromiseLike<Rejected>) | null): Promise<Fulfilled | Rejected>;
    catch<Rejected = never>(onRejected?: ((reason: any) => Rejected | PromiseLike<Rejected>) | null): Promise<readonly Epoch[] | Rejected>;
    finally(onFinally?: (() => void) | null): Promise<readonly Epoch[]>;
    get [Symbol.toStringTag](): string;
}

// hebb: TrainingData
export type TrainingData = Dataset | SampleStream | TextDataset;

// hebb: Transformer
export declare class Transformer implements Module {
    readonly options: TransformerOptions;
    readonly source: Sequential;
    readonly target: Sequential;
    readonly encoder: Sequential;
    readonly decoder: Sequential;
    readonly generator: Module;
    constructor(options: TransformerOptions);
    get outFeatures(): number;
    get head(): Module;
    get children(): ReadonlyMap<string, Module>;
    get parameters(): Parameter[];
    get sparse(): SparseParameter[];
    get relations(): Relation[];
    materialise(materials: Materials): void;
    encode(tape: Tape, source: Value): Value;
    decode(tape: Tape, target: Value, memory: Value): Value;
    body(tape: Tape, source: Value, ...[target]: Value[]): Value;
    forward(tape: Tape, source: Value, ...targets: Value[]): Value;
    dispose(): void;
}

// hebb: TransformerLayerOptions
export interface TransformerLayerOptions {
    features: number;
    heads: number;
    hidden: number;
    perHead?: boolean | undefined;
    density?: number | undefined;
    densities?: Readonly<Record<string, number>> | undefined;
    dropout?: number | undefined;
    attentionDropout?: number | undefined;
    activation?: keyof typeof activations | undefined;
    epsilon?: number | undefined;
    topology?: Topology | undefined;
    weights?: WeightInit | undefined;
}

// hebb: TransformerOptions
export interface TransformerOptions extends Omit<TransformerLayerOptions, 'densities'> {
    sourceWords: number;
    targetWords: number;
    encoderLayers: number;
    decoderLayers: number;
    places?: number | undefined;
    shared?: 'none' | 'target' | 'all' | undefined;
    densities?: Readonly<Record<string, number>> | undefined;
}

// hebb: TranslateOptions
export interface TranslateOptions {
    beam?: number | undefined;
    lengthPenalty?: number | undefined;
    minLength?: number | undefined;
    maxLength?: number | undefined;
    nBest?: number | undefined;
    batchTokens?: number | undefined;
    signal?: AbortSignal | undefined;
}

// hebb: Translation
export interface Translation {
    readonly text: string;
    readonly score: number;
    readonly logProbability: number;
    readonly finished: boolean;
}

// hebb: TranslationOptions
export interface TranslationOptions extends TranslateOptions {
    replaceUnk?: boolean | undefined;
}

// hebb: UpdateSchedule
export interface UpdateSchedule {
    readonly every: number | 'epoch';
    readonly until: number;
    readonly fraction: Fraction;
}

// hebb: Value
export interface Value {
    readonly activations: Activations;
    readonly needsGradient: boolean;
    readonly sequences?: Sequences | undefined;
    readonly axis?: Axis | undefined;
}

// hebb: ValueLoss
export type ValueLoss = LossOf<'values', Activations>;

// hebb: WeightInit
export interface WeightInit {
    readonly name: string;
    readonly distribution?: 'normal' | 'uniform' | undefined;
    deviation(layer: {
        fanIn: number;
        fanOut: number;
        density: number;
    }): number;
}

// hebb: adam
export declare const adam: (args_0?: AdamOptions | undefined) => Optimizer;

// hebb: averageCheckpoints
export declare function averageCheckpoints(files: readonly string[], out: string, options?: AverageOptions): Promise<Averaged>;

// hebb: brf
export declare const brf: (options?: BrfOptions | undefined) => Topology;

// hebb: bsf
export declare const bsf: () => Topology;

// hebb: bsw
export declare const bsw: (options?: BswOptions | undefined) => Topology;

// hebb: byDensity
export declare const byDensity: (rate: number | Rate, options: {
    target: number;
    power?: number;
}) => Rate;

// hebb: cht
export declare function cht(parts?: Parts): Method;

// hebb: chts
export declare function chts(parts?: Parts): Method;

// hebb: chtss
export declare function chtss(parts?: Parts): Method;

// hebb: classScores
export declare function classScores(confusion: readonly (readonly number[])[]): Pick<ClassificationMetrics, 'classes' | 'macro'>;

// hebb: classificationMetrics
export declare function classificationMetrics(logits: Float32Array, labels: ArrayLike<number>, options?: MetricsOptions): ClassificationMetrics;

// hebb: confusionMatrix
export declare function confusionMatrix(logits: Float32Array, labels: ArrayLike<number>, options?: MetricsOptions): number[][];

// hebb: constantDensity
export declare const constantDensity: () => DensityRule;

// hebb: constantFraction
export declare const constantFraction: (zeta: number) => Fraction;

// hebb: constantRate
export declare const constantRate: (rate: number) => Rate;

// hebb: cosineDecay
export declare const cosineDecay: (options: {
    from: number;
    to?: number;
    warmup?: number;
    cycles?: number;
}) => Rate;

// hebb: cosineFraction
export declare const cosineFraction: (zeta: number) => Fraction;

// hebb: crossEntropy
export declare const crossEntropy: (options?: CrossEntropyOptions | undefined) => LabelLoss;

// hebb: cscSlots
export declare function cscSlots({ columnIndices }: Links, cols: number): Int32Array;

// hebb: csti
export declare function csti(options: CstiOptions): Topology;

// hebb: cubicDensity
export declare const cubicDensity: (options?: DecayOptions | undefined) => DensityRule;

// hebb: dataset
export declare function dataset(options: DatasetOptions): Dataset;

// hebb: decoderLayer
export declare function decoderLayer(options: TransformerLayerOptions): Sequential;

// hebb: dense
export declare function dense(parts?: Parts): Method;

// hebb: densitySchedule
export declare const densitySchedule: {
    constant(options: {
        density: number;
    }): DensitySchedule;
    sigmoid(options: DensityScheduleOptions & {
        steepness?: number | undefined;
    }): DensitySchedule;
    cubic(options: DensityScheduleOptions): DensitySchedule;
};

// hebb: describeTopology
export declare function describeTopology(links: PlainCsr | readonly PlainCsr[], options?: DescribeOptions): TopologyDescription;

// hebb: device
export declare function device(options?: DeviceOptions | 'auto' | 'cpu' | 'cuda'): Device;

// hebb: dips
export declare const dips: (rate: number | Rate, options: {
    period: number;
    rise: number;
}) => Rate;

// hebb: earlyStopping
export declare const earlyStopping: (options: EarlyStoppingOptions) => Callback;

// hebb: encoderLayer
export declare function encoderLayer(options: TransformerLayerOptions & {
    causal?: boolean | undefined;
}): Sequential;

// hebb: erdosRenyi
export declare const erdosRenyi: () => Topology;

// hebb: excessFraction
export declare const excessFraction: () => Fraction;

// hebb: exportLlama
export declare function exportLlama(file: string, folder: string): Promise<void>;

// hebb: gmp
export declare function gmp(parts?: Parts): Method;

// hebb: granet
export declare function granet(parts?: Parts): Method;

// hebb: historicalMagnitude
export declare function historicalMagnitude(): BuiltInRemove;

// hebb: importLlama
export declare function importLlama(folder: string, out: string, options?: ImportOptions): Promise<Imported>;

// hebb: inColumnOrder
export declare function inColumnOrder<T extends Elements>(elements: T, slots: Int32Array): T;

// hebb: inRowOrder
export declare function inRowOrder<T extends Elements>(elements: T, slots: Int32Array): T;

// hebb: inoam
export declare const inoam: (options: {
    width: number;
    warmup: number;
    factor?: number;
    period?: number;
    rise?: number;
}) => Rate;

// hebb: kaiming
export declare const kaiming: () => WeightInit;

// hebb: keepBest
export declare const keepBest: () => Callback;

// hebb: largestGradient
export declare function largestGradient(): BuiltInRegrow;

// hebb: layers.add
export declare function add(tape: Tape, a: Value, b: Value): Value;

// hebb: layers.attention
export declare function attention(tape: Tape, query: Value, key: Value, value: Value, options: Attending): Value;

// hebb: layers.embedding
export declare function embedding(tape: Tape, { tokens, sequences }: Tokens, table: DenseParameter, scale?: number): Value;

// hebb: layers.gelu
export declare const gelu: (tape: Tape, x: Value) => Value;

// hebb: layers.linear
export declare function linear(tape: Tape, x: Value, weights: DenseParameter, bias?: DenseParameter): Value;

// hebb: layers.multiply
export declare function multiply(tape: Tape, a: Value, b: Value): Value;

// hebb: layers.pooling
export declare function pooling(tape: Tape, x: Value, kind?: Kind): Value;

// hebb: layers.relu
export declare const relu: (tape: Tape, x: Value) => Value;

// hebb: layers.sigmoid
export declare const sigmoid: (tape: Tape, x: Value) => Value;

// hebb: layers.silu
export declare const silu: (tape: Tape, x: Value) => Value;

// hebb: layers.sparseLinear
export declare function sparseLinear(tape: Tape, x: Value, weights: SparseParameter, bias?: DenseParameter): Value;

// hebb: layers.tanh
export declare const tanh: (tape: Tape, x: Value) => Value;

// hebb: linearDecay
export declare const linearDecay: (options: {
    from: number;
    to: number;
    over?: number;
}) => Rate;

// hebb: llama
export declare function llama({ seed, ...options }: LlamaOptions & {
    seed?: number;
}): Sequential;

// hebb: load
export declare function load(file: string, options?: LoadOptions): Promise<Predictor>;

// hebb: magnitude
export declare function magnitude(): BuiltInRemove;

// hebb: magnitudeAndGradient
export declare function magnitudeAndGradient({ share }?: {
    share?: number | undefined;
}): BuiltInRemove;

// hebb: mest
export declare function mest(parts?: Parts): Method;

// hebb: method
export declare function method(parts: Partial<Method> & Pick<Method, 'updates'>): Method;

// hebb: mlp
export declare function mlp(options: MlpOptions): Sequential;

// hebb: noam
export declare const noam: (options: {
    width: number;
    warmup: number;
    factor?: number;
}) => Rate;

// hebb: normal
export declare const normal: (deviation: number) => WeightInit;

// hebb: overshootDensity
export declare const overshootDensity: (options?: OvershootOptions | undefined) => DensityRule;

// hebb: predictLinks
export declare function predictLinks(links: PlainCsr, predictor: LinkPredictor, options?: {
    route?: PredictionRoute | undefined;
}): LinkScores;

// hebb: random
export declare function random(): BuiltInRegrow;

// hebb: recommended
export declare function recommended({ data }: {
    data: Dataset;
}): Pick<Method, 'topology' | 'remove'>;

// hebb: recovering
export declare const recovering: (rate: number | Rate, options: {
    rise: number;
}) => Rate;

// hebb: relativeImportance
export declare function relativeImportance(): BuiltInRemove;

// hebb: rigl
export declare function rigl(parts?: Parts): Method;

// hebb: sampleWithoutReplacement
export declare function sampleWithoutReplacement(scores: ArrayLike<number>, k: number, options?: {
    temperature?: number | undefined;
    seed?: number | undefined;
}): Int32Array;

// hebb: set
export declare function set(parts?: Parts): Method;

// hebb: sgd
export declare const sgd: (args_0: SgdOptions) => Optimizer;

// hebb: sigmoidDensity
export declare const sigmoidDensity: (options?: (DecayOptions & {
    steepness?: number | undefined;
}) | undefined) => DensityRule;

// hebb: soft
export declare function soft(predictor: LinkPredictor, options?: ScoreOptions): BuiltInRegrow;

// hebb: softMagnitude
export declare function softMagnitude(options?: SoftOptions): BuiltInRemove;

// hebb: softRelativeImportance
export declare function softRelativeImportance(options?: SoftOptions): BuiltInRemove;

// hebb: staticSparse
export declare function staticSparse(parts?: Parts): Method;

// hebb: stepDecay
export declare const stepDecay: (options: {
    from: number;
    at: readonly number[];
    factor?: number;
}) => Rate;

// hebb: stream
export declare function stream(options: StreamOptions): SampleStream;

// hebb: swi
export declare const swi: () => WeightInit;

// hebb: topK
export declare function topK(predictor: LinkPredictor, options?: ScoreOptions): BuiltInRegrow;

// hebb: topKAccuracy
export declare function topKAccuracy(logits: Float32Array, labels: ArrayLike<number>, k: number, options?: MetricsOptions): number;

// hebb: transformer
export declare function transformer({ seed, ...options }: TransformerOptions & {
    seed?: number | undefined;
}): Sequential;

// hebb: updateSchedule
export declare function updateSchedule(options: {
    every?: number | 'epoch';
    until?: number | undefined;
    fraction: number | Fraction;
}): UpdateSchedule;

// hebb: xavier
export declare const xavier: () => WeightInit;

// hebb/data: Augment is hebb: Augment

// hebb/data: Chunk is hebb: Chunk

// hebb/data: CsvColumn
export interface CsvColumn {
    readonly name: string;
    readonly mean: number;
    readonly deviation: number;
}

// hebb/data: CsvData
export interface CsvData extends TrainAndTest {
    readonly columns: readonly CsvColumn[];
}

// hebb/data: CsvOptions
export interface CsvOptions {
    targets?: number | undefined;
    testSize?: number | undefined;
    seed?: number | undefined;
    columns?: readonly CsvColumn[] | undefined;
}

// hebb/data: DataFormat is hebb: DataFormat

// hebb/data: Dataset is hebb: Dataset

// hebb/data: DatasetOptions is hebb: DatasetOptions

// hebb/data: Idx
export interface Idx {
    readonly shape: readonly number[];
    readonly data: Uint8Array;
}

// hebb/data: Normalisation is hebb: Normalisation

// hebb/data: Npy
export interface Npy {
    readonly shape: readonly number[];
    readonly data: Uint8Array | Float32Array | Float64Array;
}

// hebb/data: RawInputs is hebb: RawInputs

// hebb/data: SampleStream is hebb: SampleStream

// hebb/data: StreamOptions is hebb: StreamOptions

// hebb/data: TrainAndTest
export interface TrainAndTest {
    readonly train: Dataset;
    readonly test: Dataset;
}

// hebb/data: TrainTestSplitOptions
export interface TrainTestSplitOptions {
    testSize?: number | undefined;
    seed?: number | undefined;
    stratify?: boolean | undefined;
}

// hebb/data: cifar10
export declare function cifar10(directory: string, options?: {
    augment?: boolean | undefined;
}): Promise<TrainAndTest>;

// hebb/data: csv
export declare function csv(file: string, options?: CsvOptions): Promise<CsvData>;

// hebb/data: dataset is hebb: dataset

// hebb/data: emnist
export declare function emnist(directory: string): Promise<TrainAndTest>;

// hebb/data: fashionMnist
export declare function fashionMnist(directory: string): Promise<TrainAndTest>;

// hebb/data: mnist
export declare function mnist(directory?: string): Promise<TrainAndTest>;

// hebb/data: parseIdx
export declare function parseIdx(bytes: Uint8Array, name?: string): Idx;

// hebb/data: parseNpy
export declare function parseNpy(bytes: Uint8Array, name?: string): Npy;

// hebb/data: readIdx
export declare function readIdx(path: string): Promise<Idx & {
    readonly file: string;
}>;

// hebb/data: readInputs
export declare function readInputs(file: string, format: DataFormat): Promise<RawInputs>;

// hebb/data: readNpy
export declare function readNpy(file: string): Promise<Npy>;

// hebb/data: stream is hebb: stream

// hebb/data: trainTestSplit
export declare function trainTestSplit(data: Dataset, options?: TrainTestSplitOptions): TrainAndTest;

// hebb/text: BatchOrder
export interface BatchOrder {
    readonly sentences: Int32Array;
    readonly offsets: Int32Array;
}

// hebb/text: Bleu
export interface Bleu {
    readonly score: number;
    readonly precisions: readonly number[];
    readonly counts: readonly number[];
    readonly totals: readonly number[];
    readonly brevityPenalty: number;
    readonly hypothesisLength: number;
    readonly referenceLength: number;
    readonly signature: string;
}

// hebb/text: BleuOptions
export interface BleuOptions {
    lowercase?: boolean | undefined;
    tokenize?: BleuTokenization | undefined;
    smoothMethod?: BleuSmoothing | undefined;
    smoothValue?: number | undefined;
}

// hebb/text: BleuSmoothing
export type BleuSmoothing = 'exp' | 'floor' | 'add-k' | 'none';

// hebb/text: BleuTokenization
export type BleuTokenization = '13a' | 'intl' | 'char' | 'none';

// hebb/text: Chrf
export interface Chrf {
    readonly score: number;
    readonly name: string;
    readonly signature: string;
}

// hebb/text: ChrfOptions
export interface ChrfOptions {
    charOrder?: number | undefined;
    wordOrder?: number | undefined;
    beta?: number | undefined;
    lowercase?: boolean | undefined;
}

// hebb/text: DecodeOptions
export interface DecodeOptions {
    skipSpecial?: boolean | undefined;
    unknown?: readonly string[] | undefined;
}

// hebb/text: DecodeStream
export declare class DecodeStream {
    push(id: number): string;
    end(): string;
}

// hebb/text: DocumentForm
export type DocumentForm = 'file' | 'line' | 'paragraph' | 'json' | {
    readonly line: string;
};

// hebb/text: DocumentOptions
export interface DocumentOptions {
    documents?: DocumentForm | undefined;
}

// hebb/text: Documents
export interface Documents {
    readonly text: TokenizedText;
    readonly bytes: Float64Array;
    readonly words: Float64Array;
}

// hebb/text: EncodeOptions
export interface EncodeOptions {
    special?: boolean | undefined;
}

// hebb/text: LabelledText
export declare class LabelledText extends TextDataset {
    readonly task = "classification";
    readonly samples: number;
    readonly lines: TokenizedText;
    readonly classNumbers: Int32Array;
    readonly classes: readonly string[];
    get inputs(): readonly TextPart[];
    get labels(): TextPart;
    get lengths(): {
        readonly lengths: Int32Array;
    };
}

// hebb/text: LabelledTextOptions
export interface LabelledTextOptions {
    tokenizer: Tokenizer;
    classes?: readonly string[] | undefined;
    name?: string | undefined;
}

// hebb/text: LanguageText
export declare class LanguageText<Text extends TokenizedText | StoredText = TokenizedText | StoredText> extends TextDataset {
    readonly task = "lm";
    readonly packed = true;
    readonly documents: Text extends StoredText ? undefined : Documents;
    readonly count: number | undefined;
    readonly window: number;
    readonly masked: boolean;
    readonly separator: number;
    readonly windows: Text;
    get samples(): number;
    get inputs(): readonly TextPart[];
    get labels(): TextPart;
    get lengths(): {
        readonly lengths: Int32Array;
    };
    get tokens(): number;
}

// hebb/text: LanguageTextOptions
export interface LanguageTextOptions extends DocumentOptions {
    tokenizer: Tokenizer;
    window?: number | undefined;
    masked?: boolean | undefined;
    firstWindow?: boolean | undefined;
    separator?: string | undefined;
    store?: string | undefined;
    name?: string | undefined;
}

// hebb/text: ParallelLine
export interface ParallelLine {
    readonly source: string;
    readonly target: string;
}

// hebb/text: ParallelLinesOptions
export interface ParallelLinesOptions {
    tokenizer: Tokenizer | Tokenizers;
    name?: string | undefined;
}

// hebb/text: ParallelText
export declare class ParallelText<Text extends TokenizedText | StoredText = TokenizedText | StoredText> extends TextDataset {
    readonly task = "translation";
    readonly pairs: number;
    readonly source: Text;
    readonly target: Text;
    get samples(): number;
    get inputs(): readonly TextPart[];
    get labels(): TextPart;
    get lengths(): {
        readonly sourceLengths: Int32Array;
        readonly targetLengths: Int32Array;
    };
}

// hebb/text: ParallelTextOptions
export interface ParallelTextOptions extends ParallelLinesOptions {
    store?: string | undefined;
}

// hebb/text: Question
export interface Question {
    readonly context: string;
    readonly choices: readonly string[];
    readonly label: number;
    readonly group?: string | undefined;
}

// hebb/text: References
export type References = readonly string[] | readonly (readonly string[])[];

// hebb/text: StoredText
export declare class StoredText {
    readonly file: TokenFile;
    readonly part: number;
    get lengths(): Int32Array;
}

// hebb/text: TextDataset
export declare abstract class TextDataset implements Vocabularies {
    readonly name: string;
    readonly tokenizers: Tokenizers;
    readonly classes: readonly string[] | undefined;
    readonly separator: number | undefined;
    readonly packed: boolean;
    abstract readonly task: 'classification' | 'translation' | 'lm';
    abstract readonly samples: number;
    abstract readonly inputs: readonly TextPart[];
    abstract readonly labels: TextPart;
    abstract readonly lengths: Pick<TokenBatchesOptions, 'sourceLengths' | 'targetLengths' | 'lengths'>;
}

// hebb/text: TextPart
export interface TextPart {
    readonly text: TokenizedText | StoredText;
    readonly skip?: number;
    readonly drop?: number;
}

// hebb/text: TokenBatches
export declare class TokenBatches {
    readonly dropped: Int32Array;
    get sentences(): number;
    epoch(epoch: number): BatchOrder;
}

// hebb/text: TokenBatchesOptions
export interface TokenBatchesOptions {
    sourceLengths?: ArrayLike<number>;
    targetLengths?: ArrayLike<number>;
    lengths?: ArrayLike<number>;
    tokens: number;
    packed?: boolean | undefined;
    pool?: number | undefined;
    longest?: number | undefined;
    seed?: number | undefined;
}

// hebb/text: TokenFile
export declare class TokenFile {
    readonly file: string;
    readonly checksum: string;
    readonly lengths: readonly Int32Array[];
    constructor(file: string, header: Header, lengths: readonly Int32Array[]);
    get samples(): number;
    get texts(): StoredText[];
    read(tuples: Int32Array): Promise<TokenizedText[]>;
}

// hebb/text: TokenizedText
export interface TokenizedText {
    readonly tokens: Int32Array;
    readonly starts: Int32Array;
}

// hebb/text: Tokenizer
export declare class Tokenizer {
    readonly size: number;
    static from(pathOrJson: string | TokenizerJson): Tokenizer;
    encode(text: string, options?: EncodeOptions): Int32Array;
    decode(ids: ArrayLike<number>, options?: DecodeOptions): string;
    get unknown(): number | undefined;
    words(text: string): string[];
    decodeStream(options?: Pick<DecodeOptions, 'skipSpecial'>): DecodeStream;
    idOf(token: string): number | undefined;
    tokenOf(id: number): string;
    toJSON(): TokenizerJson;
}

// hebb/text: TokenizerJson
export type TokenizerJson = Readonly<Record<string, unknown>>;

// hebb/text: Tokenizers
export interface Tokenizers {
    readonly source: Tokenizer;
    readonly target: Tokenizer;
}

// hebb/text: TrainTokenizerOptions
export interface TrainTokenizerOptions {
    vocabulary?: number | undefined;
    special?: readonly string[] | undefined;
}

// hebb/text: corpusBleu
export declare function corpusBleu(hypotheses: readonly string[], references: References, options?: BleuOptions): Bleu;

// hebb/text: corpusChrf
export declare function corpusChrf(hypotheses: readonly string[], references: References, options?: ChrfOptions): Chrf;

// hebb/text: labelledLines
export declare function labelledLines(lines: readonly string[], labels: readonly string[] | ArrayLike<number>, options: LabelledTextOptions): Promise<LabelledText>;

// hebb/text: labelledText
export declare function labelledText(file: string, labels: string, options: LabelledTextOptions): Promise<LabelledText>;

// hebb/text: languageDocuments
export declare function languageDocuments(documents: readonly string[], options: Omit<LanguageTextOptions, 'documents' | 'store'>): Promise<LanguageText<TokenizedText>>;

// hebb/text: languageText
export declare function languageText(files: string | readonly string[], options: LanguageTextOptions & {
    store?: undefined;
}): Promise<LanguageText<TokenizedText>>;
export declare function languageText(files: string | readonly string[], options: LanguageTextOptions): Promise<LanguageText>;

// hebb/text: parallelLines
export declare function parallelLines(sources: readonly string[], targets: readonly string[], options: ParallelLinesOptions): Promise<ParallelText<TokenizedText>>;

// hebb/text: parallelText
export declare function parallelText(source: string, target: string, options: ParallelTextOptions & {
    store?: undefined;
}): Promise<ParallelText<TokenizedText>>;
export declare function parallelText(source: string, target: string, options: ParallelTextOptions): Promise<ParallelText>;

// hebb/text: readDocuments
export declare function readDocuments(files: string | readonly string[], options?: DocumentOptions): AsyncGenerator<string>;

// hebb/text: readLines
export declare function readLines(...files: string[]): AsyncGenerator<string>;

// hebb/text: readParallel
export declare function readParallel(source: string, target: string): AsyncGenerator<ParallelLine>;

// hebb/text: readQuestions
export declare function readQuestions(file: string): Promise<Question[]>;

// hebb/text: tokenBatches
export declare function tokenBatches(options: TokenBatchesOptions): TokenBatches;

// hebb/text: trainTokenizer
export declare function trainTokenizer(lines: Iterable<string> | AsyncIterable<string>, options?: TrainTokenizerOptions): Promise<Tokenizer>;
