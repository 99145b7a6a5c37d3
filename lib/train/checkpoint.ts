/**
 * A whole training state in one file: parameters, links, optimizer state, the history of the links, how far the run is,
 * and how the model, the optimizer and the method were made. All randomness is counters (seed, update, epoch), so these
 * few numbers are the random state.
 */
import { dirname, relative, resolve } from 'node:path'
import { type DataFormat, isDataFormat } from '../data/format.js'
import { HebbError } from '../error.js'
import type { Links } from '../native.js'
import { Linear } from '../nn/linear.js'
import type { Module } from '../nn/module.js'
import { type Parameter, SparseParameter } from '../nn/parameter.js'
import { reservedNames, Sequential } from '../nn/sequential.js'
import { SparseLinear } from '../nn/sparse_linear.js'
import { deserialise, type Serialised, serialiseOnce } from '../recipe.js'
import { cscSlots, inColumnOrder, inRowOrder, type Tensor } from '../tensor.js'
import type { Tokenizers, Vocabularies } from '../text/dataset.js'
import { Tokenizer, type TokenizerJson } from '../text/tokenizer.js'
import { isLossName, type Loss } from './loss.js'
import type { CheckpointOptions } from './options.js'
import { type Outgoing, readTensors, type Stored, type StoredArray, writeTensors } from './safetensors.js'

/** Files of a later version may hold what this one does not understand. */
export const VERSION = 1

/** What updates and rates are laid out over. */
export interface Plan {
  readonly epochs: number
  readonly stepsPerEpoch: number
  /** Where the last epoch has fewer: all steps. */
  readonly steps?: number | undefined
}

/** The steps of all epochs, or of one, from 0. */
export function stepsOf({ epochs, stepsPerEpoch, steps = epochs * stepsPerEpoch }: Plan, epoch?: number): number {
  return epoch === undefined ? steps : Math.min(stepsPerEpoch, steps - epoch * stepsPerEpoch)
}

/** What of CheckpointOptions belongs to a run. */
export type Saving = Readonly<Pick<CheckpointOptions, 'file' | 'best' | 'everyEpochs' | 'everySteps'>>

/** With other paths. */
function moved({ file, best, ...often }: Saving, to: (path: string) => string): Saving {
  return { file: to(file), ...(best !== undefined && { best: to(best) }), ...often }
}

/** How far a run of fit() is. */
export interface Run {
  readonly epochs: number
  /** Samples a step; of a text, tokens. */
  readonly batchSize: number
  readonly microBatchSize?: number
  /** Of a text: batches of true tokens. */
  readonly packed?: boolean
  /** Of the training set; of a text, sequences, or pairs of them. */
  readonly samples: number
  /** The checksum of the training set: older files have none. */
  readonly data?: string
  /** The checksum of what it was last validated on. */
  validation?: string
  /** Where and how often it is saved. Paths are absolute; in a file, as seen from its folder. */
  checkpoint?: Saving
  /** Epochs done. */
  epoch: number
  /** Steps done of the next epoch, with their time and sums. */
  done: number
  seconds: number
  updateSeconds: number
  totals: Float64Array
  /** The best validation so far, larger is better, and its step. */
  best?: { readonly figure: number; readonly step: number }
  /** A callback has ended it: why. */
  stopped?: string
  /** How its callbacks were made, and what they count, by their names. */
  callbacks?: Serialised
  states?: Record<string, Record<string, unknown>>
}

/** Whether there is nothing to go on with. */
export const isOver = ({ epoch, epochs, stopped }: Pick<Run, 'epoch' | 'epochs' | 'stopped'>): boolean =>
  epoch >= epochs || stopped !== undefined

function bestOf(best: unknown): Pick<Run, 'best'> {
  const { figure, step } = Object(best) as { figure?: unknown; step?: unknown }
  return typeof figure === 'number' && typeof step === 'number' ? { best: { figure, step } } : {}
}

/** What a trainer knows beside its tensors. */
export interface Progress {
  readonly step: number
  /** Steps that updates and rates are laid out over. */
  readonly plan?: Plan | undefined
  readonly updates: { readonly done: number; readonly step: number; readonly settled: readonly number[] }
  readonly run?: Run | undefined
}

/** Everything that save() writes. */
export interface TrainingState {
  readonly model: Sequential
  readonly optimizer: object
  readonly method: object
  readonly loss: Loss | undefined
  readonly lossScale: number
  readonly progress: Progress
  /** Of the text that it was trained on. */
  readonly vocabularies: Vocabularies | undefined
  /** Of the data set that it was trained on. */
  readonly format: DataFormat | undefined
  /** The links that were ever active, by layer, as row * cols + col. */
  history(parameter: SparseParameter): Promise<BigUint64Array | undefined>
}

/**
 * The parameters of a model with names of their own: modules.0.weights. Tied weights have that of their first place.
 */
export function namedParameters(module: Module, path = ''): [string, Parameter][] {
  const inner = [...(module.children ?? [])].flatMap(([name, child]) => namedParameters(child, `${path}${name}.`))
  const theirs = new Set(inner.map(([, parameter]) => parameter))
  const own = module.parameters.filter((parameter) => !theirs.has(parameter))
  const all = [...own.map((parameter): [string, Parameter] => [`${path}${parameter.name}`, parameter]), ...inner]
  return all.filter(([, parameter], i) => all.findIndex(([, other]) => other === parameter) === i)
}

/** The modules of a model, however deep, with their names: modules.0. */
export function namedModules(module: Module, path = ''): Map<Module, string> {
  const names = new Map<Module, string>()
  for (const [name, child] of module.children ?? [])
    for (const [inner, named] of [[child, `${path}${name}`] as const, ...namedModules(child, `${path}${name}.`)])
      if (!names.has(inner)) names.set(inner, named)
  return names
}

/** One tokenizer for both sides is kept once. */
export function serialisedTokenizers({ source, target }: Tokenizers): {
  source: TokenizerJson
  target?: TokenizerJson
} {
  const isOne = target === source || JSON.stringify(target) === JSON.stringify(source)
  return { source: source.toJSON(), ...(!isOne && { target: target.toJSON() }) }
}

/** Whether a tensor's name is of the model, and not of what is kept beside it. */
export const isOfModel = (name: string): boolean => !reservedNames.includes(name.slice(0, name.indexOf('.')))

/** A state as files have it: what lasts longer than the call must be copied. */
async function outgoing(
  state: TrainingState,
  notes: Readonly<Record<string, string>>,
  file?: string,
): Promise<{ tensors: readonly Outgoing[]; metadata: Record<string, string> }> {
  const { model, optimizer, method, loss, lossScale, progress, vocabularies, format } = state
  const tensors: Outgoing[] = []
  const layers: Record<string, number> = {}
  const add = (
    name: string,
    type: Outgoing['type'],
    shape: readonly number[],
    read: () => StoredArray | Promise<StoredArray>,
  ) => tensors.push({ name, type, shape, read })
  for (const [name, parameter] of namedParameters(model)) {
    if (tensors.some((tensor) => tensor.name === name || tensor.name === `${name}.values`))
      throw new HebbError(
        'INVALID_ARGUMENT',
        `Expected every parameter of a module to have a name of its own, got ${name} twice`,
      )
    let shape: readonly number[]
    let read = (tensor: Tensor, count: number) => tensor.read(count)
    if (parameter instanceof SparseParameter) {
      const links = await parameter.matrix.read()
      const { rowOffsets, columnIndices } = links
      const slots = cscSlots(links, parameter.matrix.cols)
      read = async (tensor, count) => inRowOrder(await tensor.read(count), slots)
      shape = [columnIndices.length]
      layers[name] = parameter.layer
      add(`${name}.rowOffsets`, 'I32', [rowOffsets.length], () => rowOffsets)
      add(`${name}.columnIndices`, 'I32', shape, () => columnIndices)
      add(`${name}.values`, 'F32', shape, () => read(parameter.values, columnIndices.length))
      if (parameter.pool) {
        const { links: pool, values } = parameter.pool
        const { rowOffsets, columnIndices } = await pool.read()
        const places = cscSlots({ rowOffsets, columnIndices }, pool.cols)
        add(`pool.${name}.rowOffsets`, 'I32', [rowOffsets.length], () => rowOffsets)
        add(`pool.${name}.columnIndices`, 'I32', [columnIndices.length], () => columnIndices)
        add(`pool.${name}.values`, 'F32', [columnIndices.length], async () =>
          inRowOrder(await values.read(columnIndices.length), places),
        )
      }
      const history = await state.history(parameter)
      if (history)
        add(
          `history.${name}`,
          'I64',
          [history.length],
          () => new BigInt64Array(history.buffer, history.byteOffset, history.length),
        )
    } else {
      shape = parameter.cols === 1 ? [parameter.rows] : [parameter.rows, parameter.cols]
      add(name, 'F32', shape, () => parameter.values.read())
    }
    const count = shape.reduce((product, length) => product * length, 1)
    for (const [slot, tensor] of parameter.slots)
      add(`optimizer.${slot}.${name}`, 'F32', shape, () => read(tensor, count))
    for (const [scalar, tensor] of parameter.scalars)
      add(`optimizer.${scalar}.${name}`, 'F32', [1], () => tensor.read())
  }
  const { run } = progress
  const checkpoint =
    file !== undefined && run?.checkpoint
      ? moved(run.checkpoint, (path) => relative(dirname(resolve(file)), path))
      : undefined
  if (run) add('run.totals', 'F64', [run.totals.length], () => run.totals)
  const text = (value: unknown) => JSON.stringify(value)
  const metadata = {
    ...Object.fromEntries(Object.entries(notes).map(([name, note]) => [`note.${name}`, note])),
    format: 'hebb',
    version: String(VERSION),
    model: text(serialiseOnce(model, 'model')),
    optimizer: text(serialiseOnce(optimizer, 'optimizer')),
    dst: text(serialiseOnce(method, 'dst')),
    loss: text(serialiseOnce(loss, 'loss')),
    ...(lossScale !== 1 && { lossScale: text(lossScale) }),
    layers: text(layers),
    ...(vocabularies && { tokenizers: text(serialisedTokenizers(vocabularies.tokenizers)) }),
    ...(vocabularies?.classes && { classes: text(vocabularies.classes) }),
    ...(vocabularies?.separator !== undefined && { separator: text(vocabularies.separator) }),
    ...(format && { data: text(format) }),
    progress: text({ ...progress, run: run && { ...run, totals: undefined, checkpoint } }),
  }
  return { tensors, metadata }
}

export async function writeCheckpoint(
  file: string,
  state: TrainingState,
  notes: Readonly<Record<string, string>> = {},
): Promise<void> {
  const { tensors, metadata } = await outgoing(state, notes, file)
  await writeTensors(file, tensors, metadata)
}

/** The state as a file would have it, in memory. */
export async function snapshotOf(state: TrainingState): Promise<Checkpoint> {
  const { tensors, metadata } = await outgoing(state, {})
  const stored = new Map<string, Stored>()
  for (const { name, type, shape, read } of tensors)
    stored.set(name, { type, shape, data: (await read()).slice() as StoredArray })
  return new Checkpoint('the best state', metadata, stored)
}

/** Refuses a layer that did not begin with the links of a file. */
function expectSame(name: string, links: Links, made: Links): void {
  const isSame = (a: Int32Array, b: Int32Array) => a.length === b.length && a.every((one, i) => one === b[i])
  if (isSame(links.rowOffsets, made.rowOffsets) && isSame(links.columnIndices, made.columnIndices)) return
  throw new HebbError(
    'UNSUPPORTED',
    `Expected the layer ${name} to begin with the links of the file, got others. A module of your own must list its ` +
      'layers among its children, or ask for materials.begun().',
  )
}

/** A matrix of so many cells, by row, which is 0 where there is no link. */
export function scattered({ rowOffsets, columnIndices }: Links, values: Float32Array, cells: number): Float32Array {
  const matrix = new Float32Array(cells)
  const rows = rowOffsets.length - 1
  for (let row = 0; row < rows; ++row)
    for (let k = rowOffsets[row] as number; k < (rowOffsets[row + 1] as number); ++k)
      matrix[row * (cells / rows) + (columnIndices[k] as number)] = values[k] as number
  return matrix
}

/** A file that was read, checked as far as it can be without a model. */
export class Checkpoint {
  readonly file: string
  readonly progress: Progress
  /** What the one who saved it noted. */
  readonly notes: Readonly<Record<string, string>>
  readonly #metadata: Readonly<Record<string, string>>
  readonly #tensors: ReadonlyMap<string, Stored>
  readonly #layers: ReadonlyMap<number, string>

  constructor(file: string, metadata: Readonly<Record<string, string>>, tensors: ReadonlyMap<string, Stored>) {
    this.file = file
    this.#metadata = metadata
    this.#tensors = tensors
    const { format, version } = metadata
    if (format !== 'hebb') throw this.#bad('another program made it')
    if (!/^\d+$/.test(version ?? '')) throw this.#bad('it does not tell its version')
    if (Number(version) > VERSION)
      throw new HebbError(
        'UNSUPPORTED',
        `Expected a checkpoint of version ${VERSION} or older, got version ${version} in ${file}. Install a ` +
          'newer hebb.',
      )
    this.notes = Object.fromEntries(
      Object.entries(metadata).flatMap(([name, note]) => (name.startsWith('note.') ? [[name.slice(5), note]] : [])),
    )
    const loss = this.#json('loss')
    if (loss !== null && !isLossName(loss) && typeof loss !== 'object') throw this.#bad(`its loss is '${loss}'`)
    this.#layers = new Map(Object.entries(this.#object('layers')).map(([name, layer]) => [Number(layer), name]))
    this.progress = this.#readProgress()
  }

  /** The model, made again. */
  model(): Sequential {
    const model = this.deserialise('model')
    if (!(model instanceof Sequential)) throw this.#bad('its model is none')
    return model
  }

  /** The loss, where one was named; one of your own must be given again. */
  get loss(): Loss | undefined {
    return deserialise(this.#json('loss') as Serialised) as Loss | undefined
  }

  /** What gradients are multiplied by: older files have none. */
  get lossScale(): number {
    return this.#metadata.lossScale === undefined ? 1 : (this.#json('lossScale') as number)
  }

  /** Those of the text that the model was trained on, if it was. */
  get vocabularies(): Vocabularies | undefined {
    if (this.#metadata.tokenizers === undefined) return undefined
    const { source, target = source } = this.#object('tokenizers') as { source?: TokenizerJson; target?: TokenizerJson }
    if (!source || !target) throw this.#bad('it does not tell its tokenizers')
    const made = Tokenizer.from(source)
    const classes = this.#metadata.classes === undefined ? undefined : this.#json('classes')
    if (classes !== undefined && !(Array.isArray(classes) && classes.every((name) => typeof name === 'string')))
      throw this.#bad("its 'classes' are not names")
    const separator = this.#metadata.separator === undefined ? undefined : this.#json('separator')
    if (
      separator !== undefined &&
      !(Number.isInteger(separator) && Number(separator) >= 0 && Number(separator) < made.size)
    )
      throw this.#bad("its 'separator' is no token")
    return {
      tokenizers: { source: made, target: target === source ? made : Tokenizer.from(target) },
      ...(classes && { classes: classes as string[] }),
      ...(separator !== undefined && { separator: separator as number }),
    }
  }

  /** That of the data set that the model was trained on: older files, and those of text, have none. */
  get format(): DataFormat | undefined {
    if (this.#metadata.data === undefined) return undefined
    const format = this.#object('data')
    if (!isDataFormat(format)) throw this.#bad("its 'data' does not tell what the model was trained on")
    return format
  }

  /** The model, the optimizer or the method, made again. */
  deserialise(part: 'model' | 'optimizer' | 'dst'): object {
    let made: unknown
    try {
      made = deserialise(this.#json(part) as Serialised)
    } catch (error) {
      if (error instanceof RangeError) throw this.#bad(`its ${part} is nested too deeply`)
      throw error
    }
    if (typeof made !== 'object' || made === null) throw this.#bad(`it does not tell its ${part}`)
    return made
  }

  /**
   * Refuses a model whose layers are not those of the file, before any memory is taken for them. `anew`: what has links
   * in the file may be a matrix of the model, and the other way round.
   */
  check(model: Sequential, { anew = false } = {}): void {
    const shapeOf = (name: string) => this.#tensors.get(name)?.shape.join(' x ') ?? 'none'
    const hasLinks = (module: Module, path: string) =>
      anew ? this.#tensors.has(`${path}.weights.rowOffsets`) : module instanceof SparseLinear && !this.dense
    for (const [module, path] of namedModules(model)) {
      const { inFeatures, outFeatures } = module
      const [name, expected] =
        (module instanceof Linear || module instanceof SparseLinear) && hasLinks(module, path)
          ? [`${path}.weights.rowOffsets`, `${module.outFeatures + 1}`]
          : module instanceof Linear || module instanceof SparseLinear
            ? [`${path}.weights`, `${outFeatures} x ${inFeatures}`]
            : []
      if (
        name &&
        shapeOf(name) !== expected &&
        !(name === `${path}.weights` && inFeatures === 1 && shapeOf(name) === `${outFeatures}`)
      )
        throw this.#bad(
          `the model's layer ${inFeatures} -> ${outFeatures} needs a tensor '${name}' of shape ${expected}, the ` +
            `file has ${shapeOf(name)}`,
        )
    }
  }

  /** The links of a sparse layer. */
  links(layer: number): Links {
    const name = this.#layers.get(layer)
    if (name === undefined) throw this.#bad(`it has no sparse layer ${layer}. Give the model that it was saved from`)
    return this.#links(name)
  }

  /** The links of a layer by its name, all that are possible of a matrix; undefined: it has no such layer. */
  linksOf(name: string): Links | undefined {
    if (this.#tensors.has(`${name}.rowOffsets`)) return this.#links(name)
    const [rows, cols = 1] = this.#tensors.get(name)?.shape ?? []
    if (rows === undefined) return undefined
    return {
      rowOffsets: Int32Array.from({ length: rows + 1 }, (_, row) => row * cols),
      columnIndices: Int32Array.from({ length: rows * cols }, (_, i) => i % cols),
    }
  }

  /** The links that a sparse layer may have, where its method keeps a pool of them. */
  pool(layer: number): Links | undefined {
    const name = `pool.${this.#layers.get(layer)}`
    return this.#tensors.has(`${name}.values`) ? this.#links(name) : undefined
  }

  #links(name: string): Links {
    return {
      rowOffsets: this.#tensor(`${name}.rowOffsets`, 'I32') as Int32Array,
      columnIndices: this.#tensor(`${name}.columnIndices`, 'I32') as Int32Array,
    }
  }

  /** Whether its sparse layers were made fully connected ones. */
  get dense(): boolean {
    return this.#layers.size === 0
  }

  /** Whether the links that were ever active were listed. */
  get hasHistory(): boolean {
    return this.#layers.size === 0 || [...this.#tensors.keys()].some((name) => name.startsWith('history.'))
  }

  /** The links that were ever active in a layer of `cells` possible ones, if they were listed. */
  history(layer: number, cells: number): BigUint64Array | undefined {
    const name = `history.${this.#layers.get(layer)}`
    if (!this.#tensors.has(name)) return undefined
    const data = this.#tensor(name, 'I64') as BigInt64Array
    const halves = new Uint32Array(data.buffer, data.byteOffset, 2 * data.length)
    for (let i = 0, last = -1; i < data.length; ++i) {
      const cell = (halves[2 * i] as number) + 2 ** 32 * (halves[2 * i + 1] as number)
      if (cell <= last || cell >= cells)
        throw this.#bad(`its tensor '${name}' does not list links of the layer in their order`)
      last = cell
    }
    return new BigUint64Array(data.buffer, data.byteOffset, data.length)
  }

  /** Writes values to the parameters of the same names, sparse ones or matrices, as a run that begins has them. */
  async begin(model: Sequential): Promise<void> {
    for (const [name, parameter] of namedParameters(model)) {
      const saved = this.#tensors.has(`${name}.values`) ? this.#links(name) : undefined
      const data = this.#tensor(saved ? `${name}.values` : name, 'F32') as Float32Array
      const links = parameter instanceof SparseParameter ? this.linksOf(name) : undefined
      const { length } = links?.columnIndices ?? parameter.values
      const values = saved && !links ? scattered(saved, data, length) : data
      if (values.length !== length)
        throw this.#bad(
          `its tensor '${name}' has ${values.length} elements, but ${length} are needed. Give the model that it was ` +
            'saved with',
        )
      if (links && parameter instanceof SparseParameter) expectSame(name, links, await parameter.matrix.read())
      const slots = links && parameter instanceof SparseParameter && cscSlots(links, parameter.matrix.cols)
      await parameter.values.write(slots ? inColumnOrder(values, slots) : values, length)
    }
    this.#expectPlaces(new Set(namedParameters(model).flatMap(([name]) => [name, `${name}.values`])))
  }

  /** Writes values and optimizer state to the model's parameters. What the file has no state for starts at 0. */
  async fill(model: Sequential): Promise<void> {
    const known = new Set<string>()
    const put = async (name: string, tensor: Tensor, length: number, slots?: Int32Array) => {
      const data = this.#tensor(name, 'F32') as Float32Array
      if (data.length !== length)
        throw this.#bad(
          `its tensor '${name}' has ${data.length} elements, but ${length} are needed. Give the model and the ` +
            'optimizer that it was saved with',
        )
      await tensor.write(slots ? inColumnOrder(data, slots) : data, length)
    }
    for (const [name, parameter] of namedParameters(model)) {
      const sparse = parameter instanceof SparseParameter
      const links = sparse ? this.links(parameter.layer) : undefined
      const slots = sparse && links ? cscSlots(links, parameter.matrix.cols) : undefined
      const length = links ? links.columnIndices.length : parameter.capacity
      known.add(sparse ? `${name}.values` : name)
      await put(sparse ? `${name}.values` : name, parameter.values, length, slots)
      const pool = sparse && parameter.pool ? this.pool(parameter.layer) : undefined
      if (sparse && parameter.pool && pool)
        await put(
          `pool.${name}.values`,
          parameter.pool.values,
          pool.columnIndices.length,
          cscSlots(pool, parameter.matrix.cols),
        )
      for (const [slot, tensor] of parameter.slots) {
        if (this.#tensors.has(`optimizer.${slot}.${name}`))
          await put(`optimizer.${slot}.${name}`, tensor, length, slots)
      }
      for (const [scalar, tensor] of parameter.scalars)
        if (this.#tensors.has(`optimizer.${scalar}.${name}`)) await put(`optimizer.${scalar}.${name}`, tensor, 1)
    }
    this.#expectPlaces(known)
  }

  /** Refuses a file with parameters that none of these names is of. */
  #expectPlaces(known: ReadonlySet<string>): void {
    for (const name of this.#tensors.keys()) {
      const isParameter = isOfModel(name) && !/\.(rowOffsets|columnIndices)$/.test(name)
      if (isParameter && !known.has(name)) throw this.#bad(`its tensor '${name}' has no place in the model`)
    }
  }

  #readProgress(): Progress {
    const { step, plan, updates, run } = this.#object('progress') as {
      step?: unknown
      plan?: Record<string, unknown>
      updates?: Record<string, unknown>
      run?: Record<string, unknown>
    }
    const count = (value: unknown, what: string, least = 0) => {
      if (!Number.isSafeInteger(value) || (value as number) < least)
        throw this.#bad(`its ${what} is ${JSON.stringify(value)}`)
      return value as number
    }
    const seconds = (value: unknown) => (typeof value === 'number' && value >= 0 ? value : 0)
    const settled = updates?.settled ?? [] // older files have none
    if (!Array.isArray(settled)) throw this.#bad(`its layers without updates are ${JSON.stringify(settled)}`)
    let read: Run | undefined
    if (run && this.#tensors.has('run.totals')) {
      read = {
        epochs: count(run.epochs, 'number of epochs', 1),
        batchSize: count(run.batchSize, 'batch size', 1),
        ...(run.microBatchSize !== undefined && {
          microBatchSize: count(run.microBatchSize, 'size of micro-batches', 16),
        }),
        ...(run.packed === true && { packed: true }),
        samples: count(run.samples, 'number of samples', 1),
        ...(typeof run.data === 'string' && { data: run.data }),
        epoch: count(run.epoch, 'epoch'),
        done: count(run.done, 'step in the epoch'),
        seconds: seconds(run.seconds),
        updateSeconds: seconds(run.updateSeconds),
        ...(typeof run.validation === 'string' && { validation: run.validation }),
        ...(run.checkpoint !== undefined && { checkpoint: this.#savingOf(Object(run.checkpoint)) }),
        ...bestOf(run.best),
        ...(typeof run.stopped === 'string' && { stopped: run.stopped }),
        ...(Array.isArray(run.callbacks) && { callbacks: run.callbacks as Serialised }),
        ...(run.states !== undefined && { states: this.#statesOf(run.states) }),
        totals: this.#tensor('run.totals', 'F64') as Float64Array,
      }
      if ((read.microBatchSize ?? 0) % 16 !== 0) throw this.#bad('its micro-batches are of no multiple of 16 samples')
      const most = plan ? count(plan.stepsPerEpoch, 'number of steps', 1) : Math.ceil(read.samples / read.batchSize)
      if (read.totals.length !== 4 || read.epoch > read.epochs || read.done > most)
        throw this.#bad('its run does not fit together')
    }
    return {
      step: count(step, 'step'),
      plan: plan && {
        epochs: count(plan.epochs, 'number of epochs', 1),
        stepsPerEpoch: count(plan.stepsPerEpoch, 'number of steps', 1),
        ...(plan.steps !== undefined && { steps: count(plan.steps, 'number of steps', 1) }),
      },
      updates: {
        done: count(updates?.done, 'number of updates'),
        step: count(updates?.step, 'step of the last update'),
        settled: settled.map((layer) => count(layer, 'layer without updates')),
      },
      run: read,
    }
  }

  #savingOf({ file, best, everyEpochs, everySteps }: Record<string, unknown>): Saving {
    const isPath = (path: unknown) => typeof path === 'string' && path !== ''
    const isCount = (count: unknown) => count === undefined || (Number.isSafeInteger(count) && (count as number) > 0)
    const all = { file, best, everyEpochs, everySteps } as Saving
    if (!isPath(file) || !(best === undefined || isPath(best)) || !isCount(everyEpochs) || !isCount(everySteps))
      throw this.#bad(`its run is saved by ${JSON.stringify(all)}`)
    return moved(all, (path) => resolve(dirname(this.file), path))
  }

  #statesOf(states: unknown): Record<string, Record<string, unknown>> {
    const isPlain = (value: unknown) => typeof value === 'object' && value !== null && !Array.isArray(value)
    if (!isPlain(states) || !Object.values(states as object).every(isPlain))
      throw this.#bad(`its states of callbacks are ${JSON.stringify(states)}`)
    return states as Record<string, Record<string, unknown>>
  }

  #json(name: string): unknown {
    try {
      return JSON.parse(this.#metadata[name] as string)
    } catch {
      throw this.#bad(`its '${name}' is not JSON`)
    }
  }

  #object(name: string): Record<string, unknown> {
    const value = this.#json(name)
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      throw this.#bad(`its '${name}' is not an object`)
    return value as Record<string, unknown>
  }

  #tensor(name: string, type: Stored['type']): StoredArray {
    const tensor = this.#tensors.get(name)
    if (!tensor) throw this.#bad(`it has no tensor '${name}'`)
    if (tensor.type !== type) throw this.#bad(`its tensor '${name}' is of type ${tensor.type}, not ${type}`)
    return tensor.data
  }

  #bad(what: string): HebbError {
    return new HebbError('BAD_FILE', `Expected ${this.file} to be a checkpoint of hebb: ${what}`)
  }
}

/** Reads a checkpoint; without `training`, what only a trainer needs stays in the file. */
export async function readCheckpoint(file: string, { training }: { training: boolean }): Promise<Checkpoint> {
  const { metadata, tensors } = await readTensors(file, (name) => training || isOfModel(name))
  return new Checkpoint(file, metadata, tensors)
}

/** Refuses a file with a run that is not at its end: who begins a new one there would lose what it has trained. */
export async function expectNoRun(
  file: string,
  cure = 'Go on with it by hebb train --resume, remove it, or give another file.',
): Promise<void> {
  let run: Run | undefined
  try {
    const { metadata, tensors } = await readTensors(file, (name) => name === 'run.totals')
    run = new Checkpoint(file, metadata, tensors).progress.run
  } catch (error) {
    // What is not there, or damaged, is no loss.
    if (error instanceof HebbError && ['MISSING_FILE', 'BAD_FILE'].includes(error.code)) return
    throw error
  }
  if (run && !isOver(run))
    throw new HebbError(
      'CANNOT_WRITE',
      `Expected a file without a run that is not finished, got ${file}, whose run has done ${run.epoch} of its ` +
        `${run.epochs} epochs. ${cure}`,
    )
}

/** What the one who saved a checkpoint noted. */
export async function notesIn(file: string): Promise<Readonly<Record<string, string>>> {
  const { metadata, tensors } = await readTensors(file, () => false)
  return new Checkpoint(file, metadata, tensors).notes
}
