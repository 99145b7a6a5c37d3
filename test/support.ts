/**
 * What the tests share: random layers and batches, the devices that operations run on, memory that is given back, and
 * the comparisons.
 */
import { expect } from 'chai'
import { Device } from '../lib/device.js'
import { type ErrorCode, HebbError } from '../lib/error.js'
import { addon } from '../lib/native.js'
import type { OperationName } from '../lib/operands.js'
import { Program } from '../lib/program.js'
import {
  Activations,
  cscSlots,
  inColumnOrder,
  inRowOrder,
  type PlainCsr,
  SparseMatrix,
  Tensor,
  type TensorType,
  type TypedArrayOf,
} from '../lib/tensor.js'
import type { Trainer } from '../lib/train/trainer.js'
import type { Numbers, Sums } from './reference.js'

/** Allowed rounding, in units of the sum of the terms' magnitudes. */
export const ROUNDING = 2e-6

/**
 * A statistical test fails when its p-value is below this: with fresh seeds one in a million would fail although all is
 * well.
 */
export const FALSE_ALARM = 1e-6

// Random data

/** Uniform numbers in [0, 1) from a seed (mulberry32). */
export function random(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

/** `length` floats, uniform in [from, to). */
export function numbers(length: number, seed: number, from = -1, to = 1): Float32Array {
  const next = random(seed)
  return Float32Array.from({ length }, () => from + (to - from) * next())
}

/** `count` distinct numbers of [0, range), ascending. */
export function subset(count: number, range: number, seed: number): number[] {
  const next = random(seed)
  const all = Array.from({ length: range }, (_, i) => i)
  for (let i = 0; i < count; ++i) {
    const j = i + Math.floor(next() * (range - i))
    ;[all[i], all[j]] = [all[j], all[i]]
  }
  return all.slice(0, count).sort((a, b) => a - b)
}

/** Links by their cells (row * cols + col). */
export function csrOf(rows: number, cols: number, cells: Iterable<number>): PlainCsr {
  const sorted = [...cells].sort((a, b) => a - b)
  const rowOffsets = new Int32Array(rows + 1)
  for (const cell of sorted) ++rowOffsets[Math.floor(cell / cols) + 1]
  for (let row = 0; row < rows; ++row) rowOffsets[row + 1] += rowOffsets[row]
  return { rows, cols, rowOffsets, columnIndices: Int32Array.from(sorted, (cell) => cell % cols) }
}

/** The cells (row * cols + col) of the links, in their order. */
export function cellsOf({ rows, cols, rowOffsets, columnIndices }: PlainCsr): number[] {
  const cells: number[] = []
  for (let row = 0; row < rows; ++row)
    for (let k = rowOffsets[row]; k < rowOffsets[row + 1]; ++k) cells.push(row * cols + columnIndices[k])
  return cells
}

export function randomCsr(rows: number, cols: number, links: number, seed: number): PlainCsr {
  return csrOf(rows, cols, subset(links, rows * cols, seed))
}

/** What belongs to links, given by row as in `csr`, in the order in which tensors hold it: by column. */
/** The links of a trainer's layer. */
export async function linksOf(trainer: Trainer, layer: number | string): Promise<PlainCsr> {
  const { rows, cols, links } = await trainer.weights(layer)
  if (!links) throw new Error(`Expected layer ${layer} to have links, got none`)
  return { rows, cols, ...links }
}

export function byColumn<T extends Float32Array | Uint8Array>(csr: PlainCsr, data: T): T {
  return inColumnOrder(data, cscSlots(csr, csr.cols))
}

/** What a tensor holds for the links of `csr`, by row. */
export function byRow<T extends Float32Array | Uint8Array>(csr: PlainCsr, data: T): T {
  return inRowOrder(data, cscSlots(csr, csr.cols))
}

export interface Shape {
  readonly rows: number
  readonly cols: number
  readonly links: number
  readonly batch: number
}

/**
 * Sizes at which kernels may go wrong: no link, one link, all links, empty rows and columns, remainders of every
 * vector, several panels.
 */
export const shapes: readonly Shape[] = [
  { rows: 1, cols: 1, links: 1, batch: 1 },
  { rows: 3, cols: 4, links: 0, batch: 1 },
  { rows: 20, cols: 25, links: 0, batch: 33 },
  { rows: 37, cols: 61, links: 350, batch: 5 },
  { rows: 61, cols: 37, links: 400, batch: 17 },
  { rows: 37, cols: 61, links: 350, batch: 33 },
  { rows: 1, cols: 64, links: 13, batch: 48 },
  { rows: 64, cols: 1, links: 13, batch: 64 },
  { rows: 16, cols: 16, links: 256, batch: 128 },
  { rows: 23, cols: 19, links: 23 * 19, batch: 129 },
  { rows: 40, cols: 30, links: 50, batch: 200 },
  { rows: 37, cols: 61, links: 700, batch: 300 },
]

export function nameOf({ rows, cols, links, batch }: Shape): string {
  return `${rows}x${cols}, ${links} links, batch ${batch}`
}

/**
 * Layers with hubs, rows and columns whose links are more than one warp adds up (256 at these sizes): one full row
 * among empty ones, full columns, and rows that end just before, at and behind the ends of segments, one after the
 * other.
 */
export const hubs: readonly { name: string; csr: PlainCsr }[] = [
  { name: 'a full row among empty ones', csr: layerOfLengths(5, 1100, [0, 0, 1100, 0, 0]) },
  { name: 'full columns among empty ones', csr: transposed(layerOfLengths(6, 700, [0, 700, 3, 0, 700, 1])) },
  {
    name: 'rows around the ends of segments',
    csr: layerOfLengths(12, 800, [255, 256, 257, 0, 511, 512, 513, 1, 769, 258, 800, 300]),
  },
  {
    name: 'hubs on both sides',
    csr: unite(
      layerOfLengths(300, 290, [290, ...Array(299).fill(2)]),
      transposed(layerOfLengths(290, 300, [0, 300, ...Array(288).fill(1)])),
    ),
  },
]

/** Features and batches for operations without links: one element, odd sizes, panels that are full and begun. */
export const sizes = [
  [1, 1],
  [61, 5],
  [37, 17],
  [3, 128],
  [19, 129],
  [37, 300],
] as const

/** A layer whose rows have so many links, at places from all over the row. */
function layerOfLengths(rows: number, cols: number, lengths: readonly number[]): PlainCsr {
  return csrOf(
    rows,
    cols,
    lengths.flatMap((length, row) => subset(length, cols, 100 + row).map((col) => row * cols + col)),
  )
}

function transposed(csr: PlainCsr): PlainCsr {
  return csrOf(
    csr.cols,
    csr.rows,
    cellsOf(csr).map((cell) => (cell % csr.cols) * csr.rows + Math.floor(cell / csr.cols)),
  )
}

function unite(a: PlainCsr, b: PlainCsr): PlainCsr {
  return csrOf(a.rows, a.cols, new Set([...cellsOf(a), ...cellsOf(b)]))
}

/**
 * Whether AddressSanitizer watches, some five times slower. It wants to see each kind of access once: what takes long
 * then takes its smaller cases and fewer repetitions. `npm cit` has all of them on the CPU, .ci/release on the emulated
 * GPU.
 */
export const sanitized = process.env.ASAN_OPTIONS !== undefined

/** How often a statistical test draws: what numbers look like tells a sanitizer nothing. */
export const repeats = (count: number): number => (sanitized ? count / 10 : count)

/** Numbers of valid columns to try for a capacity. */
export function columnsOf(batch: number): number[] {
  const columns = [batch, Math.ceil(batch / 2), Math.min(batch, 17), 1]
  return [...new Set(sanitized ? columns.slice(0, 2) : columns)]
}

// Devices

const opened = new Map<string, Device>()

/** A CPU device, opened once for all tests. */
export function cpu(threads = 1, simd?: string, denseFrom?: number): Device {
  const key = `${threads} ${simd} ${denseFrom}`
  let device = opened.get(key)
  if (!device) {
    device = new Device({ kind: 'cpu', threads, simd, ...(denseFrom !== undefined && { denseFrom }) })
    opened.set(key, device)
  }
  return device
}

after(() => {
  for (const device of opened.values()) device.dispose()
})

/**
 * The GPU, opened once for all tests: a real one, or the emulated one of an addon built with HEBB_CUDA=EMULATE. By
 * routes whose bits are the CPU's, as tests compare them.
 */
export function gpu(): Device {
  let device = opened.get('cuda')
  if (!device) {
    device = new Device({ kind: 'cuda', deterministic: 'everywhere' })
    opened.set('cuda', device)
  }
  return device
}

/** The SIMD levels that this processor can run, the best first. */
export const levels: readonly string[] = cpu().info.detail.split(', ')

/** Where every operation is tested: at each SIMD level, and on the GPU where the addon finds one. */
export const places: readonly string[] = addon.cudaStatus().devices > 0 ? [...levels, 'cuda'] : levels

/** Where whole models are tested: a sanitizer sees at two levels what it sees at one. */
export const modelPlaces: readonly string[] = sanitized ? [...new Set([places[0], places.at(-1) as string])] : places

const TILES = ' in dense tiles'

/** The same, and each SIMD level with all layers in dense tiles. */
export const forms: readonly string[] = [...places, ...levels.map((level) => level + TILES)]

/** The device of a place. */
export function at(place: string, threads = 1): Device {
  if (place === 'cuda') return gpu()
  return place.endsWith(TILES) ? cpu(threads, place.slice(0, -TILES.length), 0) : cpu(threads, place)
}

const hasGpu = places.includes('cuda')

/**
 * Runs `compute` on 1, 2 and 3 threads and expects the same bits; returns them. On a GPU it expects the same bits in
 * any order of the blocks.
 */
export async function onAnyThreads<T>(compute: (device: Device) => Promise<T>): Promise<T> {
  if (hasGpu) await inAnyOrder(compute)
  return sameBits(compute, [cpu(1), cpu(2), cpu(3)])
}

/** Runs `compute` at every SIMD level, on two threads and on the GPU, and expects the same bits; returns them. */
export async function everywhere<T>(compute: (device: Device) => Promise<T>): Promise<T> {
  return sameBits(compute, [...places.map((place) => at(place)), cpu(2)])
}

/** Runs `compute` while an environment variable that the addon reads has a value. */
export async function withEnvironment<T>(name: string, value: string, compute: () => Promise<T>): Promise<T> {
  const before = process.env[name]
  process.env[name] = value
  try {
    return await compute()
  } finally {
    if (before === undefined) delete process.env[name]
    else process.env[name] = before
  }
}

/**
 * Blocks and threads of an emulated GPU run in these orders; a real one does as it likes, three times. Expects the same
 * bits; returns them.
 */
export async function inAnyOrder<T>(compute: (device: Device) => Promise<T>): Promise<T> {
  const results: T[] = []
  for (const order of sanitized ? ['forward', 'reversed'] : ['forward', 'reversed', 'random:1']) {
    results.push(await withEnvironment('HEBB_EMULATION_ORDER', order, () => compute(gpu())))
    expectSameBits(results[results.length - 1], results[0], `the GPU, ${order}`)
  }
  return results[0]
}

async function sameBits<T>(compute: (device: Device) => Promise<T>, devices: readonly Device[]): Promise<T> {
  const first = await compute(devices[0])
  for (const device of devices.slice(1)) {
    const { kind, simd, threads } = device.info
    expectSameBits(await compute(device), first, kind === 'cuda' ? 'the GPU' : `${simd}, ${threads} threads`)
  }
  return first
}

/** Expects equal structures whose typed arrays have equal bytes, so that -0 differs from 0 and a NaN equals itself. */
export function expectSameBits(actual: unknown, expected: unknown, where: string): void {
  const bytes = (value: any): any => {
    if (ArrayBuffer.isView(value)) return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('hex')
    if (Array.isArray(value)) return value.map(bytes)
    if (typeof value === 'object' && value !== null)
      return Object.fromEntries(Object.entries(value).map(([name, v]) => [name, bytes(v)]))
    return value
  }
  expect(JSON.stringify(bytes(actual)) === JSON.stringify(bytes(expected)), `the same bits on ${where}`).to.equal(true)
}

// Memory and programs

/** Operands by name, right or wrong: tests give both. */
export type Operands = { [name: string]: any }

/** Program.record() for operands that TypeScript need not find right. */
export function record(program: Program, operation: string, operands: Operands): void {
  program.record(operation as OperationName, operands as never)
}

interface RunOptions {
  /** Columns of a full batch, and how many of them are valid (default: all). */
  batch?: number
  columns?: number
  /** One row of scalars. */
  scalars?: readonly number[]
}

/** Memory of one test on one device. */
export class Workspace {
  readonly device: Device
  readonly #owned: { dispose(): void }[] = []

  constructor(device: Device) {
    this.device = device
  }

  own<T extends { dispose(): void }>(thing: T): T {
    this.#owned.push(thing)
    return thing
  }

  tensor<T extends TensorType>(type: T, data: number | TypedArrayOf<T>): Tensor<T> {
    return this.own(new Tensor(this.device, type, data))
  }

  /** Floats with room for `capacity` of them; an empty array gets room for one, which no layer uses. */
  floats(data: Numbers | number, capacity = typeof data === 'number' ? data : data.length): Tensor {
    const all = new Float32Array(Math.max(1, capacity))
    if (typeof data !== 'number') all.set(Float32Array.from(data))
    return this.tensor('float32', all)
  }

  matrix(csr: PlainCsr, capacity?: number): SparseMatrix {
    return this.own(new SparseMatrix(this.device, csr.rows, csr.cols, csr, capacity))
  }

  /**
   * A batch that holds `data` [columns][features]. The columns up to the next multiple of 16 hold `padding`, as the
   * contract allows; those after them hold NaN, which no operation may read.
   */
  batch(features: number, capacity: number, data: Numbers = [], padding = 0): Activations {
    const activations = this.own(new Activations(this.device, features, capacity))
    const columns = data.length / features
    const all = new Float32Array(features * capacity).fill(Number.NaN)
    all.fill(padding, 0, Math.min(capacity, Math.ceil(columns / 16) * 16) * features)
    all.set(Float32Array.from(data))
    void activations.write(all)
    return activations
  }

  program(options: { scalars?: number; batch?: number } = {}): Program {
    return this.own(new Program(this.device, options))
  }

  /** Records the operations, in their order, and runs them once. */
  async run(
    operations: readonly (readonly [string, Operands])[],
    { batch = 1, columns = batch, scalars = [0] }: RunOptions = {},
  ): Promise<Program> {
    const program = this.program({ scalars: scalars.length, batch })
    for (const [name, operands] of operations) record(program, name, operands)
    await program.replay(1, { begin: { scalars, columns } })
    return program
  }

  dispose(): void {
    for (const thing of this.#owned) thing.dispose()
  }
}

/** Gives `use` a workspace and takes its memory back afterwards. */
export async function on<T>(device: Device, use: (workspace: Workspace) => Promise<T>): Promise<T> {
  const workspace = new Workspace(device)
  try {
    return await use(workspace)
  } finally {
    workspace.dispose()
  }
}

/** The buffers of an update. */
export function changesOf(workspace: Workspace, capacity: number) {
  return {
    keep: workspace.tensor('uint8', capacity),
    newRows: workspace.tensor('int32', capacity),
    newColumns: workspace.tensor('int32', capacity),
    newCount: workspace.tensor('int32', 1),
  }
}

// Comparisons

export function expectClose(actual: Numbers, expected: Sums, what: string, tolerance = ROUNDING): void {
  expect(actual.length, `${what}: length`).to.equal(expected.value.length)
  for (let i = 0; i < actual.length; ++i) {
    const error = Math.abs(actual[i] - expected.value[i])
    if (!(error <= tolerance * expected.magnitude[i] + 1e-37)) {
      expect.fail(
        `${what}: element ${i} is ${actual[i]}, expected ${expected.value[i]} within ${tolerance} of ` +
          expected.magnitude[i],
      )
    }
  }
}

/** Expects numbers equal up to `tolerance`, relative to the largest of them. */
export function expectNear(actual: Numbers, expected: Numbers, what: string, tolerance: number): void {
  expect(actual.length, `${what}: length`).to.equal(expected.length)
  const largest = Array.from(expected).reduce((most, x) => Math.max(most, Math.abs(x)), 0)
  for (let i = 0; i < actual.length; ++i) {
    if (!(Math.abs(actual[i] - expected[i]) <= tolerance * largest)) {
      expect.fail(`${what}: element ${i} is ${actual[i]}, expected ${expected[i]} within ${tolerance} of ${largest}`)
    }
  }
}

/** Expects a HebbError with this code, thrown or rejected with. */
export async function expectRefusal(act: () => unknown, code: ErrorCode, what: string): Promise<HebbError> {
  try {
    await act()
  } catch (error) {
    if (!(error instanceof HebbError)) throw new Error(`${what}: expected a HebbError, got ${error}`, { cause: error })
    expect(error.code, `${what}: ${error.message}`).to.equal(code)
    expect(error.message, what).to.not.equal('')
    return error
  }
  return expect.fail(`${what}: expected an error with code ${code}, got none`)
}

/**
 * Expects record() to refuse `good` with each of the changes in `bad`, by name: [operands that differ, code]. Then
 * records `good`.
 */
export async function expectOnlyGoodOperands(
  program: Program,
  operation: string,
  good: Operands,
  bad: Record<string, readonly [Operands, ErrorCode]>,
): Promise<void> {
  for (const [what, [different, code]] of Object.entries(bad)) {
    await expectRefusal(() => record(program, operation, { ...good, ...different }), code, `${operation} with ${what}`)
  }
  record(program, operation, good)
}

/** How often each key occurred. */
export function tally<K>(keys: Iterable<K>): Map<K, number> {
  const counts = new Map<K, number>()
  for (const key of keys) counts.set(key, (counts.get(key) ?? 0) + 1)
  return counts
}

/** A set of small numbers as a bit mask. */
export function bitsOf(set: Iterable<number>): number {
  let bits = 0
  for (const i of set) bits |= 1 << i
  return bits
}
