/** What runs on text have in common: their method, their files, their layers at the end. */
import { rm } from 'node:fs/promises'
import type { Device } from '../device.js'
import type { Method } from '../dst/method.js'
import { expect, HebbError, show } from '../error.js'
import type { Links } from '../native.js'
import type { Interval, LayerLinks } from '../report/translation.js'
import { methods, pick, topologies } from '../settings/choices.js'
import { intervalOf } from '../settings/flag_types.js'
import { type Given, takenBy, typed } from '../settings/flags.js'
import { count, percent } from '../settings/format.js'
import { trainTokenizer } from '../text/byte_pair.js'
import { Tokenizer } from '../text/tokenizer.js'
import { isOver as isRunOver } from '../train/checkpoint.js'
import { sparseNames } from '../train/layer_weights.js'
import type { TrainerMemory } from '../train/memory.js'
import type { Epoch, ResumeOptions } from '../train/options.js'
import type { Trainer } from '../train/trainer.js'
import type { Call } from './command.js'
import type { Stop } from './ending.js'
import { ProgressLine, timeLeft } from './progress.js'
import { type AskedParts, methodWith } from './run.js'

/** Tasks of text: the names of their flags' commands, too. */
export const TASKS = ['translation', 'lm'] as const
export type TaskOfText = (typeof TASKS)[number]

/** The method, updated after so many steps and not by epochs, with the parts that were asked for. */
export function methodBySteps(settings: AskedParts & { readonly method: string }, every: number): Method {
  const { method, topology, predictor, removal, initialDensity } = settings
  expect(
    topology !== 'csti',
    () => "Expected a topology that needs no samples for a model of text, got 'csti'. Take brf or bsw.",
  )
  const { updates } = pick(methods, method, 'method')()
  return methodWith(
    method,
    { topology, predictor, removal, initialDensity },
    (name) => pick(topologies, name, 'topology')({} as never),
    updates && { updates: { ...updates, every } },
  )
}

/** A run that is over is measured once more. */
export const isOver = ({ run }: Trainer) => run !== undefined && isRunOver(run)
export async function* none(): AsyncGenerator<Epoch, void, undefined> {}

/** Where the best state of a run goes. */
export function bestOf(file: string): string {
  return file.replace(/(\.safetensors)?$/, '.best.safetensors')
}

/** Where the state after a step goes that is kept beside it. */
export const keptOf = (file: string, step: number): string =>
  file.replace(/(\.safetensors)?$/, `.step${step}.safetensors`)

/** Refuses flags of other tasks. */
export function checkTaken(texts: Call['texts'], task: TaskOfText): void {
  const taken = new Set(takenBy(task))
  for (const name of (['train', ...TASKS] as const).flatMap(takenBy))
    expect(
      texts[name] === undefined || taken.has(name),
      () => `Expected no --${typed(name)} for the task '${task}', got ${show(texts[name])}`,
    )
}

/** The sparse layers by name, those of attentions by head: rows of queries, keys and values, columns of outputs. */
export async function layersOf(trainer: Trainer, heads: number): Promise<LayerLinks[]> {
  const layers: LayerLinks[] = []
  for (const place of sparseNames(trainer.model)) {
    const name = place.replace('modules.0.', '')
    const { rows, cols, links } = await trainer.weights(place)
    const { rowOffsets, columnIndices } = links as Links
    const [, whole, head] = /^(.*\.attention\.(?:query|key|value|output))\.(\d+)$/.exec(name) ?? []
    if (whole !== undefined) {
      // A head's own layer: the heads follow one another.
      const before = head === '0' ? undefined : layers.pop()
      const ofOutputs = !whole.endsWith('.output')
      layers.push({
        name: whole,
        rows: ofOutputs ? rows + (before?.rows ?? 0) : rows,
        cols: ofOutputs ? cols : cols + (before?.cols ?? 0),
        links: columnIndices.length + (before?.links ?? 0),
        heads: [...(before?.heads ?? []), columnIndices.length],
      })
      continue
    }
    const [, part] = /\.attention\.(query|key|value|output)$/.exec(name) ?? []
    const ofHeads = part === undefined ? undefined : new Array<number>(heads).fill(0)
    for (let row = 0; ofHeads && row < rows; ++row)
      for (const col of columnIndices.subarray(rowOffsets[row], rowOffsets[row + 1])) {
        const head = part === 'output' ? Math.floor((col * heads) / cols) : Math.floor((row * heads) / rows)
        ofHeads[head] = (ofHeads[head] as number) + 1
      }
    layers.push({ name, rows, cols, links: columnIndices.length, ...(ofHeads && { heads: ofHeads }) })
  }
  return layers
}

/** A run on text, as it was begun or is gone on with. */
export interface TextRun<Settings, Files, Text> {
  readonly settings: Settings
  readonly files: Files
  readonly trainer: Trainer
  readonly train: Text
  readonly validation: Text
  /** What is left of it. */
  intervals(options: ResumeOptions): AsyncIterable<Epoch>
}

/** What is told of an interval beside what all tasks tell. */
interface Told {
  readonly learningRate: number
  /** For a program. */
  readonly fields: object
  /** For a person: how good the model is. */
  readonly quality: string
  /** Of the tokens that are counted. */
  readonly tokens: string
}

/** How a run is told and kept. */
export interface Telling {
  readonly task: TaskOfText
  readonly given: Given
  readonly stop: Stop
  /** Where files are, for whoever goes on in another folder. */
  readonly paths: object
  say(line: string): void
  event(fields: object): void
  tell(report: Epoch, step: number): Told
}

/** What a run has come to. */
export interface Trained {
  readonly intervals: readonly Interval[]
  readonly last: Epoch | undefined
  /** What its checkpoints note. */
  readonly notes: Readonly<Record<string, string>>
}

/** Trains to the end, tells of each interval, and keeps states; undefined where it was stopped. */
export async function trainText<
  Settings extends { readonly [name in 'steps' | 'interval' | 'batchTokens']: number },
  Files extends object,
>(
  { settings, files, trainer, intervals: run }: TextRun<Settings, Files, unknown>,
  { task, given, stop, paths, say, event, tell }: Telling,
): Promise<Trained | undefined> {
  const { steps, interval, batchTokens } = settings
  const file = given.checkpoint ?? given.resume
  const noted = JSON.stringify(files)
  const every = given.every ?? trainer.notes.every ?? '1'
  const notes = {
    ...{ task, settings: JSON.stringify(settings), files: noted, every },
    // Of a run that is gone on with in another folder: where they were.
    paths: (trainer.notes.files === noted && trainer.notes.paths) || JSON.stringify(paths),
  }
  const line = new ProgressLine(process.stderr)
  const unsaved = (error: Error) => {
    line.clear()
    console.error(`hebb: the checkpoint was not written, training goes on. ${error.message}`)
    process.exitCode = 1
  }
  const intervals: Interval[] = []
  let last: Epoch | undefined
  // Where the bar's speed is counted from.
  let since = { step: trainer.step, at: performance.now() }
  try {
    const reports = run({
      signal: stop.signal,
      onProgress: ({ epoch, step, stepsPerEpoch }) => {
        const done = (epoch - 1) * interval + step
        const [taken, ms] = [done - since.step, performance.now() - since.at]
        line.draw(`step ${done}/${steps}`, done / steps, [
          ...timeLeft(taken, steps - done, ms),
          ...(last ? [`loss ${last.trainLoss.toFixed(4)}`] : []),
          `${count(Math.round((1000 * batchTokens * taken) / ms))} tokens a second`,
          `${step}/${stepsPerEpoch} to the next validation`,
        ])
      },
      ...(file !== undefined && {
        checkpoint: { file, best: bestOf(file), ...intervalOf(every, 'every'), notes, onError: unsaved },
      }),
    })
    for await (const report of reports) {
      const out = [report.dropped ?? 0, report.validation?.dropped ?? 0] as const
      if (!last && out.some((sequences) => sequences > 0))
        say(`${count(out[0])} pairs and ${count(out[1])} of validation are too long, and left out`)
      last = report
      const { step } = trainer
      const { trainLoss, validation, seconds, updateSeconds, links, density } = report
      const [validationLoss, validationAccuracy] = [validation?.loss ?? Number.NaN, validation?.accuracy ?? Number.NaN]
      const stepSeconds = seconds / Math.min(interval, step - (report.epoch - 1) * interval)
      const tokensPerSecond = report.counted / seconds
      const { learningRate, fields, quality, tokens } = tell(report, step)
      intervals.push({ step, trainLoss, validationLoss, validationAccuracy, learningRate, density })
      line.clear()
      event({
        ...{ event: 'interval', step, trainLoss, validationLoss, validationAccuracy, ...fields, learningRate },
        ...{ links, density, seconds, updateSeconds, stepSeconds, tokensPerSecond },
      })
      say(
        `step ${String(step).padStart(String(steps).length)}  loss ${trainLoss.toFixed(4)}  ${quality}  ` +
          `rate ${learningRate.toPrecision(3)}  links ${count(links)} (${percent(density)})  ` +
          `${(1000 * stepSeconds).toFixed(0)} ms a step, ${count(Math.round(tokensPerSecond))} ${tokens} a second`,
      )
      since = { step, at: performance.now() }
      if (file === undefined || given.keep === undefined) continue
      try {
        await trainer.save(keptOf(file, step), { notes })
        await rm(keptOf(file, (report.epoch - given.keep) * interval), { force: true })
      } catch (error) {
        unsaved(error as Error)
      }
    }
  } catch (error) {
    line.clear()
    if (!(error instanceof HebbError) || error.code !== 'ABORTED') throw error
    if (file !== undefined) await trainer.save(file, { notes })
    say(`stopped after step ${trainer.step}${file === undefined ? '' : `; go on with: hebb train --resume ${file}`}`)
    event({ event: 'aborted', step: trainer.step })
    process.exitCode = stop.code
    return undefined
  }
  return { intervals, last, notes }
}

/** The most memory that a run took, by what for. */
export function memoryLine({ peak, peakBytes }: TrainerMemory): string {
  const parts = Object.entries(peak).sort(([, a], [, b]) => b - a)
  const largest = parts.slice(0, 3).map(([name, bytes]) => `${name} ${percent(bytes / peakBytes, 0)}`)
  return `memory          ${(peakBytes / 1e6).toFixed(1)} MB of the device at the most: ${largest.join(', ')}`
}

/** Which device computes, and why it was taken. */
export function deviceLine({ info: { kind, name, simd, threads }, reason }: Device): string {
  return `${kind}: ${name}${kind === 'cpu' ? `, ${simd}, ${threads} threads` : ''} (${reason})`
}

/** The tokenizer of a file, or trained on lines. */
export async function tokenizerOf(
  { tokenizer, vocabulary: asked }: Given,
  lines: () => AsyncIterable<string>,
  vocabulary: number,
  say: (line: string) => void,
): Promise<Tokenizer> {
  expect(tokenizer === undefined || asked === undefined, () => 'Expected --tokenizer or --vocabulary, got both')
  if (tokenizer !== undefined) return Tokenizer.from(tokenizer)
  const start = performance.now()
  const made = await trainTokenizer(lines(), { vocabulary })
  say(`tokenizer of ${count(made.size)} tokens trained in ${((performance.now() - start) / 1000).toFixed(1)} s`)
  return made
}
