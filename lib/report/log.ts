/**
 * The log of a training run: JSON lines, one an event, as `hebb train --json` prints them and `hebb compare` keeps
 * them. Accuracies, densities and rates are fractions of 1, times are seconds.
 */

import type { DeviceInfo } from '../device.js'
import { HebbError } from '../error.js'
import type { Links } from '../native.js'
import type { ExecutionForm } from '../nn/parameter.js'
import type { Settings } from '../settings/flags.js'
import type { PredictionRoute } from '../tensor.js'
import { sparseNames } from '../train/layer_weights.js'
import type { Epoch } from '../train/options.js'
import { type FigureName, isBetter, type MeasureName, type Task, taskOf } from '../train/task.js'
import type { Trainer } from '../train/trainer.js'

/** What a run was measured on: the test set, or samples of the training set that were held out. */
export type Part = 'test' | 'validation'

/** Measured after an epoch: testAccuracy, validationLoss and so on, as the task has it. */
interface Measured extends Readonly<Partial<Record<`${Part}${Capitalize<MeasureName>}`, number>>> {
  readonly trainLoss: number
  readonly seconds: number
  readonly updateSeconds: number
  readonly links: number
  readonly density: number
  readonly activeNeurons: number
  readonly itop: number
  /** How each sparse layer's forward product was computed; absent in logs of early versions. */
  readonly forms?: readonly ExecutionForm[]
  /** How each sparse layer's missing links are scored; absent without a predictor, and in logs of early versions. */
  readonly routes?: readonly PredictionRoute[]
  readonly learningRate: number
}

export interface EpochEvent extends Measured {
  readonly event: 'epoch'
  /** From 1. */
  readonly epoch: number
}

/** The links at the end of an epoch. */
export interface TopologyEvent {
  readonly event: 'topology'
  readonly epoch: number
  readonly layers: readonly LayerDegrees[]
  /** Shape of a sample. */
  readonly shape: readonly number[]
  /** Links of every input of the first layer; absent when it has very many. */
  readonly inputDegrees?: readonly number[]
  /**
   * The inputs that some neurons of the first layer see: those with the most links, and some about the median. A bit an
   * input, lowest first, in base64.
   */
  readonly fields?: readonly { readonly row: number; readonly links: number; readonly inputs: string }[]
}

/** How many neurons have how many links: [links, neurons], ascending. */
export interface LayerDegrees {
  readonly rows: number
  readonly cols: number
  readonly inputs: readonly (readonly [number, number])[]
  readonly outputs: readonly (readonly [number, number])[]
}

type BestKey = `best${Capitalize<Part>}${Capitalize<FigureName>}`

/** The last epoch once more, with what the whole run was. */
export interface DoneEvent extends Measured, Readonly<Partial<Record<BestKey, number>>> {
  readonly event: 'done'
  readonly epoch: number
  readonly epochs: number
  readonly bestEpoch: number
  readonly wallSeconds: number
  readonly stepSeconds: number
  readonly samplesPerSecond: number
  readonly method: string
  readonly dataset: string
  readonly topology: string
  readonly seed: number
  readonly batchSize: number
  readonly device: DeviceInfo
  /** Absent in logs of early versions, as are the next two. */
  readonly settings?: Settings
  readonly version?: string
  readonly node?: string
}

/** The run ended before its time, and would do so again or not, as the code says. */
export interface FailedEvent {
  readonly event: 'failed'
  readonly code: string
  readonly message: string
  /** Epochs that were done. */
  readonly epochs: number
  readonly settings: Settings
}

export type LogEvent = EpochEvent | TopologyEvent | DoneEvent | FailedEvent

/** A log, sorted. */
export interface Run {
  readonly epochs: readonly EpochEvent[]
  readonly topologies: readonly TopologyEvent[]
  readonly done?: DoneEvent
  readonly failed?: FailedEvent
}

/** 'accuracy' as the end of a longer name. */
export const capital = <T extends string>(name: T) => `${name[0]?.toUpperCase()}${name.slice(1)}` as Capitalize<T>

/** The task's figure on what the run was measured on. */
export function figureOf(event: Measured, { figure }: Task): number {
  const name = capital(figure.name)
  return event[`test${name}`] ?? event[`validation${name}`] ?? Number.NaN
}

/** The figure of the best epoch: picked on the samples that it is measured on. */
export function bestOf(event: DoneEvent, { figure }: Task): number {
  const name = capital(figure.name)
  return event[`bestTest${name}`] ?? event[`bestValidation${name}`] ?? Number.NaN
}

export function epochEvent(epoch: Epoch, part: Part, task: Task): EpochEvent {
  const { trainLoss, validation, seconds, updateSeconds, links, density, activeNeurons, itop, forms, learningRate } =
    epoch
  return {
    event: 'epoch',
    epoch: epoch.epoch,
    trainLoss,
    ...(validation &&
      Object.fromEntries(
        Object.entries(task.measured(validation)).map(([name, value]) => [`${part}${capital(name)}`, value]),
      )),
    seconds,
    updateSeconds,
    links,
    density,
    activeNeurons,
    itop,
    forms,
    ...(epoch.routes && { routes: epoch.routes }),
    learningRate,
  }
}

/** What is measured once at the end, from the epochs of a run: all, or those since it was gone on with. */
export function doneEvent(
  epochs: readonly EpochEvent[],
  whole: Pick<DoneEvent, 'topology' | 'device' | 'version'> & {
    settings: Settings
    steps: number
    samples: number
    wallSeconds: number
  },
): DoneEvent {
  const { settings, steps, samples, wallSeconds, topology, device, version } = whole
  const last = epochs.at(-1) as EpochEvent
  const task = taskOf(settings)
  const { figure } = task
  const best = epochs.reduce((a, b) => (isBetter(figure, figureOf(b, task), figureOf(a, task)) ? b : a))
  const seconds = epochs.reduce((sum, epoch) => sum + epoch.seconds, 0)
  return {
    ...last,
    event: 'done',
    epochs: last.epoch,
    seconds,
    updateSeconds: epochs.reduce((sum, epoch) => sum + epoch.updateSeconds, 0),
    [`best${settings.validationSplit ? 'Validation' : 'Test'}${capital(figure.name)}`]: figureOf(best, task),
    bestEpoch: best.epoch,
    wallSeconds,
    stepSeconds: seconds / ((steps * epochs.length) / last.epoch),
    samplesPerSecond: (epochs.length * samples) / seconds,
    method: settings.method,
    dataset: settings.dataset,
    topology,
    seed: settings.seed,
    batchSize: settings.batchSize,
    device,
    settings,
    ...(version !== undefined && { version }),
    node: process.version,
  }
}

/** Neurons whose fields are kept: as many with the most links as about the median. */
const FIELDS = 6
/** Inputs of a first layer that are listed one by one. */
const MOST_INPUTS = 1 << 16

/** The degrees of all layers, and what the first one looks at. */
export async function topologyEvent(trainer: Trainer, epoch: number, shape: readonly number[]): Promise<TopologyEvent> {
  const layers: LayerDegrees[] = []
  let looks: Pick<TopologyEvent, 'inputDegrees' | 'fields'> = {}
  for (const [layer, name] of sparseNames(trainer.model).entries()) {
    const { rows, cols, links } = await trainer.weights(name)
    const { rowOffsets, columnIndices } = links as Links
    const inputs = new Int32Array(cols)
    for (const column of columnIndices) inputs[column] = (inputs[column] as number) + 1
    const outputs = rowOffsets.subarray(1).map((end, row) => end - (rowOffsets[row] as number))
    layers.push({ rows, cols, inputs: histogram(inputs), outputs: histogram(outputs) })
    if (layer > 0 || cols > MOST_INPUTS) continue
    const ranked = [...outputs.keys()].sort((a, b) => (outputs[b] as number) - (outputs[a] as number) || a - b)
    const linked = ranked.filter((row) => (outputs[row] as number) > 0)
    const middle = Math.max(0, Math.floor((linked.length - FIELDS) / 2))
    const chosen = [...new Set([...linked.slice(0, FIELDS), ...linked.slice(middle, middle + FIELDS)])]
    const fields = chosen.map((row) => {
      const bits = new Uint8Array(Math.ceil(cols / 8))
      for (const input of columnIndices.subarray(rowOffsets[row], rowOffsets[row + 1]))
        bits[input >> 3] = (bits[input >> 3] as number) | (1 << (input & 7))
      return { row, links: outputs[row] as number, inputs: Buffer.from(bits).toString('base64') }
    })
    looks = { inputDegrees: [...inputs], fields }
  }
  return { event: 'topology', epoch, layers, shape, ...looks }
}

function histogram(degrees: Int32Array): [number, number][] {
  const counts = new Map<number, number>()
  for (const degree of degrees) counts.set(degree, (counts.get(degree) ?? 0) + 1)
  return [...counts].sort(([a], [b]) => a - b)
}

/** The events of a log's text, up to the first line that is not whole: what a process that was killed had written. */
export function parseEvents(text: string): LogEvent[] {
  const events: LogEvent[] = []
  for (const line of text.split('\n')) {
    try {
      const event = JSON.parse(line) as LogEvent
      if (typeof event?.event !== 'string') break
      events.push(event)
    } catch {
      break
    }
  }
  return events
}

/** Sorts a run's events. `name` is for messages. */
export function runOf(events: readonly LogEvent[], name: string): Run {
  const of = <E extends LogEvent['event']>(kind: E) =>
    events.filter((event): event is Extract<LogEvent, { event: E }> => event.event === kind)
  const epochs = of('epoch')
  const [done] = of('done')
  const [failed] = of('failed')
  const first = epochs[0]?.epoch ?? 1
  if (!epochs.every((event, i) => event.epoch === first + i))
    throw new HebbError('BAD_FILE', `Expected ${name} to tell every epoch once, in order`)
  return { epochs, topologies: of('topology'), ...(done && { done }), ...(failed && { failed }) }
}
