/** What a translator's run was like, as one HTML file that needs nothing else. */
import type { TrainerMemory } from '../train/memory.js'
import { type HeatMap, heatMap } from './heat_map.js'
import { page } from './page.js'
import { type Curve, chart, escaped, type Point } from './svg.js'

/** What was measured after an interval of steps. */
export interface Interval {
  readonly step: number
  readonly trainLoss: number
  readonly validationLoss: number
  readonly validationAccuracy: number
  readonly learningRate: number
  readonly density: number
}

/** A sparse layer at the end. */
export interface LayerLinks {
  readonly name: string
  readonly rows: number
  readonly cols: number
  readonly links: number
  /** Links of each head, where the layer belongs to an attention. */
  readonly heads?: readonly number[]
}

export interface Sample {
  readonly source: string
  readonly reference: string
  readonly translation: string
}

export interface TranslationReport {
  readonly title: string
  readonly intervals: readonly Interval[]
  readonly layers: readonly LayerLinks[]
  readonly samples: readonly Sample[]
  /** What the decoder's last layer attends to while it writes translations of some samples. */
  readonly attention: readonly HeatMap[]
  /** Of the best state on the validation set, with its signature. */
  readonly bleu?: { readonly score: number; readonly signature: string }
  /** On the device, of this process. */
  readonly memory: TrainerMemory
  readonly settings: Readonly<Record<string, unknown>>
}

const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(2)} MB`
export const percent = (value: number) => `${Number((100 * value).toPrecision(3))}%`

export function table(head: readonly string[], body: readonly (readonly string[])[]): string {
  const cells = (tag: string, texts: readonly string[]) =>
    `<tr>${texts.map((text) => `<${tag}>${escaped(text)}</${tag}>`).join('')}</tr>`
  const rows = body.map((texts) => cells('td', texts))
  return `<div class="wide"><table class="settings">${cells('th', head)}${rows.join('')}</table></div>`
}

/** Tables of the layers, and of their heads. */
export function linksOf(layers: readonly LayerLinks[]): string[] {
  if (layers.length === 0) return []
  const ofHeads = ({ heads = [], rows, cols }: LayerLinks) =>
    heads.map((of) => percent((of * heads.length) / (rows * cols))).join(' ')
  return [
    '<h2>Links at the end</h2>',
    table(
      ['layer', 'inputs', 'outputs', 'links', 'density', 'density of each head'],
      layers.map((one) => [
        ...[one.name, String(one.cols), String(one.rows), String(one.links)],
        ...[percent(one.links / (one.rows * one.cols)), ofHeads(one)],
      ]),
    ),
  ]
}

/** What ends a report: the device's memory, and what was asked for. */
export function endsOf(memory: TrainerMemory, settings: Readonly<Record<string, unknown>>): string[] {
  return [
    '<h2>Memory of the device</h2>',
    table(
      ['part', 'at the end', 'at the peak'],
      [
        ...Object.entries(memory.parts).map(([name, bytes]) => [
          name,
          megabytes(bytes),
          megabytes(memory.peak[name as keyof typeof memory.peak]),
        ]),
        ['all', megabytes(memory.bytes), megabytes(memory.peakBytes)],
      ],
    ),
    '<h2>Settings</h2>',
    table(
      ['setting', 'value'],
      Object.entries(settings).map(([name, value]) => [
        name,
        typeof value === 'string' ? value : JSON.stringify(value),
      ]),
    ),
  ]
}

export function translationReport(report: TranslationReport): string {
  const { title, intervals, layers, samples, attention, bleu, memory, settings } = report
  const curve = (name: string, colour: number, read: (at: Interval) => number): Curve => ({
    ...{ name, colour },
    points: intervals.map((at): Point => [at.step, read(at)]),
  })
  const plain = { x: 'step', counts: true }
  const charts = [
    chart({
      ...{ ...plain, title: 'Token accuracy, validation', y: 'token accuracy', yLabel: percent },
      curves: [curve('validation', 0, (at) => at.validationAccuracy)],
    }),
    chart({
      ...{ ...plain, title: 'Loss, training and validation', y: 'loss a token', yLabel: String },
      curves: [curve('training', 1, (at) => at.trainLoss), curve('validation', 0, (at) => at.validationLoss)],
    }),
    chart({
      ...{ ...plain, title: 'Links of the possible', y: 'density', yLabel: percent },
      curves: [curve('density', 2, (at) => at.density)],
    }),
    chart({
      ...{ ...plain, title: 'Learning rate', y: 'rate', yLabel: String },
      curves: [curve('rate', 3, (at) => at.learningRate)],
    }),
  ]
  const best = intervals.reduce((a, b) => (b.validationAccuracy > a.validationAccuracy ? b : a))
  const parts = [
    `<h1>${escaped(title)}</h1>`,
    `<p>Token accuracy ${percent(best.validationAccuracy)} on the validation set, best after step ${best.step}.` +
      (bleu ? ` BLEU ${bleu.score.toFixed(2)} there <span class="soft">(${escaped(bleu.signature)})</span>.` : '') +
      '</p>',
    `<h2>Over the steps</h2><div class="row">${charts.join('')}</div>`,
    ...linksOf(layers),
    ...(samples.length > 0
      ? [
          '<h2>Samples of the validation set</h2>',
          table(
            ['source', 'reference', 'translation'],
            samples.map(({ source, reference, translation }) => [source, reference, translation]),
          ),
        ]
      : []),
    ...(attention.length > 0
      ? ['<h2>What the decoder attends to in its last layer</h2>', ...attention.map(heatMap)]
      : []),
    ...endsOf(memory, settings),
  ]
  return page(title, parts)
}
