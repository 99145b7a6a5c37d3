/** The only door to the addon: its types, and how it is found. */
import { createRequire } from 'node:module'
import { join, resolve } from 'node:path'
import { HebbError } from './error.js'
import { cureOf, packageRoot } from './package.js'
import type { LayerStart } from './topology/topology.js'

export interface NativeBuffer {
  readonly bytes: number
  read<T extends ArrayBufferView>(out: T, byteOffset?: number): Promise<T>
  write(data: ArrayBufferView, byteOffset?: number): Promise<void>
  copy(from: NativeBuffer): Promise<void>
  resize(bytes: number): Promise<void>
  dispose(): void
}

export interface NativeMatrix {
  /** Links that fit. */
  readonly capacity: number
  resize(capacity: number): Promise<void>
  read(): Promise<{ rowOffsets: Int32Array; columnIndices: Int32Array }>
  draw(network: NativeNetwork, layer: LayerStart): Promise<void>
  predictLinks(predictor: string, route: string): Promise<{ row: Int32Array; col: Int32Array; score: Float32Array }>
  dispose(): void
}

/** What csti() has found in one data set. */
interface NativeCorrelations {
  readonly native: 'FeatureCorrelations'
}

/** An initial network; see lib/topology. */
export type NativeNetwork =
  | { readonly kind: 'brf'; readonly r: number; readonly uniformDegrees: boolean }
  | { readonly kind: 'bsw'; readonly beta: number }
  | { readonly kind: 'bsf' }
  | { readonly kind: 'erdosRenyi' }
  | {
      readonly kind: 'csti'
      readonly correlations: NativeCorrelations
      readonly x: Uint8Array | Float32Array
      readonly features: number
    }

/** See lib/topology/describe.ts. */
export interface NativeLayerDescription {
  readonly inputs: { readonly degrees: Int32Array; readonly neurons: Int32Array }
  readonly outputs: { readonly degrees: Int32Array; readonly neurons: Int32Array }
  readonly clustering: { readonly value: number; readonly error: number }
  readonly pathLength: { readonly value: number; readonly error: number }
  readonly connected: number
  readonly percolatedLinks: number
  readonly percolatedInputs: number
  readonly percolatedOutputs: number
}

export interface NativeActivations {
  readonly buffer: NativeBuffer
  readonly features: number
  readonly capacity: number
  /** The first row of the buffer that is theirs, and the buffer's rows. */
  readonly first: number
  readonly rows: number
}

/** An array for memory on the device, from or to it; `place`: columns of activations, or a tensor's first byte. */
export type NativeTransfer = readonly [memory: NativeBuffer | NativeActivations, array: ArrayBufferView, place: number]

export interface NativeProgram {
  cut(): void
  part(first: number, columns: number, of?: NativeBuffer): NativeBuffer
  axis(columns: number): NativeBuffer
  value(features: number, lifetime: string, axis?: NativeBuffer): NativeBuffer
  setLifetime(value: NativeActivations, lifetime: string): void
  keepAll(all: boolean): Promise<void>
  record(name: string, args: object): void
  replay(
    steps: number,
    begin?: {
      readonly step: number | undefined
      readonly scalars: Float64Array | undefined
      readonly samples: number
      readonly columns: number
      readonly next: number
    },
    writes?: readonly NativeTransfer[],
    reads?: readonly NativeTransfer[],
    section?: number,
  ): Promise<void>
  cancelStep(): Promise<void>
  abort(): void
  readonly stepsDone: number
  readonly operationCount: number
  dispose(): void
}

/** What a device is. */
export interface DeviceInfo {
  /** 'cpu' or 'cuda'. */
  readonly kind: string
  /** The processor or GPU. */
  readonly name: string
  /** CPU: the SIMD level in use. */
  readonly simd: string
  /** CPU: threads. */
  readonly threads: number
  /** Share of the possible links from which on a layer's forward product multiplies dense tiles; above 1: never. */
  readonly denseFrom: number
  /** CUDA: the device's memory. */
  readonly memoryBytes: number
  /** CUDA: what multiplies large dense matrices: 'own', or cuBLAS and its version. */
  readonly blas: string
  /** CUDA: 'device' or 'everywhere', as DeviceOptions has it. CPU: 'everywhere', as its routes give the same bits. */
  readonly deterministic: string
  /** CPU: the levels this processor can run. CUDA: driver and runtime. */
  readonly detail: string
}

/** Native memory of a device, in bytes. */
export interface Memory {
  /** Live native buffers. */
  readonly buffers: number
  /** Their bytes. */
  readonly bytes: number
  /** The most bytes that were live at once, transient memory of operations included. */
  readonly peakBytes: number
}

export interface NativeDevice {
  readonly info: DeviceInfo
  memory(): Memory
  allocate(type: string, bytes: number, data?: ArrayBufferView): NativeBuffer
  activationBytes(features: number, capacity: number): number
  predictionRoute(rows: number, cols: number, links: number, predictor: string): 'auto' | 'sparse' | 'dense'
  sparse(rows: number, cols: number, capacity: number, rowOffsets: Int32Array, columnIndices: Int32Array): NativeMatrix
  program(scalars: number, batch: number, workspace?: NativeBuffer): NativeProgram
  readActivations(activations: NativeActivations, out: Float32Array, columns: number): Promise<Float32Array>
  writeActivations(activations: NativeActivations, data: Float32Array, columns: number): Promise<void>
  dispose(): void
}

/**
 * The links of a sparse layer, in CSR: those of row r, an output, come from the inputs columnIndices[rowOffsets[r]] to
 * columnIndices[rowOffsets[r + 1] - 1].
 */
export interface Links {
  /** [rows + 1] */
  readonly rowOffsets: Int32Array
  /** [links], ascending within a row */
  readonly columnIndices: Int32Array
}

/** Of a CPU the first three, of a GPU the others. */
interface DeviceChoice {
  threads?: number
  simd?: string | undefined
  denseFrom?: number | undefined
  index?: number
  blas?: string
  deterministic?: string
}

interface Addon {
  /** All operations that can be recorded with their operands, as JSON. */
  describeOperations(): string
  Device: new (kind: string, options: DeviceChoice) => NativeDevice
  predictLinks(
    rows: number,
    cols: number,
    rowOffsets: Int32Array,
    columnIndices: Int32Array,
    predictor: string,
    route: string,
  ): { row: Int32Array; col: Int32Array; score: Float32Array }
  sampleWithoutReplacement(scores: Float32Array, k: number, temperature: number, seed: number): Int32Array
  drawLinks(network: NativeNetwork, layer: LayerStart): Links
  featureCorrelations(): NativeCorrelations
  /** For tests: the pairs of features that csti() begins with. */
  strongestPairs(
    x: Uint8Array | Float32Array,
    features: number,
    count: number,
  ): { first: Int32Array; second: Int32Array; correlation: Float64Array }
  describeMatrices(
    matrices: readonly NativeMatrix[],
    follows: readonly boolean[],
    exactUpTo: number,
    seed: number,
  ): Promise<NativeLayerDescription[]>
  describeLinks(
    layers: readonly (Links & { readonly rows: number; readonly cols: number })[],
    follows: readonly boolean[],
    exactUpTo: number,
    seed: number,
  ): NativeLayerDescription[]
  cudaStatus(): { built: boolean; devices: number; detail: string }
  cublasStatus(): { found: boolean; detail: string }
  /** Whether the open file is locked by this process alone now, until it is closed. */
  tryLock(fd: number): boolean
  setErrorClass(errorClass: typeof HebbError): void
}

function loadAddon(): { addon: Addon; path: string } {
  const require = createRequire(join(packageRoot, 'package.json'))
  const given = process.env.HEBB_ADDON
  try {
    if (given) return { addon: require(resolve(given)), path: given }
    const find = require('node-gyp-build') as { (root: string): Addon; path(root: string): string }
    return { addon: find(packageRoot), path: find.path(packageRoot) }
  } catch (cause) {
    // node-gyp-build tells more in lines of its own.
    const why = (cause as Error).message.split('\n', 1)[0] as string
    throw new HebbError(
      'DEVICE_UNAVAILABLE',
      given
        ? `Expected HEBB_ADDON to be the path of hebb's native addon, got ${given}, which does not load: ${why}.`
        : `Expected hebb's native addon in ${packageRoot}, got none that loads: ${why}. ${cureOf(why)}`,
      { cause },
    )
  }
}

let loaded: ReturnType<typeof loadAddon> | undefined

function load(): ReturnType<typeof loadAddon> {
  if (!loaded) {
    loaded = loadAddon()
    loaded.addon.setErrorClass(HebbError)
  }
  return loaded
}

/** Loaded when it is first used: help, hebb doctor and hebb build are also for where there is none. */
export const addon: Addon = new Proxy({} as Addon, { get: (_, name) => Reflect.get(load().addon, name) })
/** The file that is loaded. */
export const addonPath = (): string => load().path
