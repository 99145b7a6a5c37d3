/** What runs on text have in common: their method, their files, their layers at the end. */
import type { Method } from '../dst/method.js'
import { expect, show } from '../error.js'
import type { Links } from '../native.js'
import type { LayerLinks } from '../report/translation.js'
import { methods, pick, topologies } from '../settings/choices.js'
import { takenBy, typed } from '../settings/flags.js'
import { isOver as isRunOver } from '../train/checkpoint.js'
import { sparseNames } from '../train/layer_weights.js'
import type { Epoch } from '../train/options.js'
import type { Trainer } from '../train/trainer.js'
import type { Call } from './command.js'
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
