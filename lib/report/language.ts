/** What the run of a language model was like, as one HTML file that needs nothing else. */
import type { TrainerMemory } from '../train/memory.js'
import { page } from './page.js'
import { type Curve, chart, escaped, type Point } from './svg.js'
import { endsOf, type Interval, type LayerLinks, linksOf, percent } from './translation.js'

export interface LanguageReport {
  readonly title: string
  readonly intervals: readonly Interval[]
  readonly layers: readonly LayerLinks[]
  /** On the device, of this process. */
  readonly memory: TrainerMemory
  readonly settings: Readonly<Record<string, unknown>>
}

export function languageReport({ title, intervals, layers, memory, settings }: LanguageReport): string {
  const curve = (name: string, colour: number, read: (at: Interval) => number): Curve => ({
    ...{ name, colour },
    points: intervals.map((at): Point => [at.step, read(at)]),
  })
  const plain = { x: 'step', counts: true, yLabel: String }
  // The first steps begin at the size of the vocabulary: what follows is told apart on a scale of its own.
  const perplexities = intervals.map(({ validationLoss }) => Math.exp(validationLoss))
  const late = perplexities.slice(Math.floor(intervals.length / 10)).filter(Number.isFinite)
  const [low, high] = [Math.min(...late), Math.max(...late)]
  const charts = [
    chart({
      ...{ ...plain, title: 'Perplexity, validation', y: 'perplexity' },
      ...(high > low && { range: [low - 0.05 * (high - low), high + 0.05 * (high - low)] as const }),
      curves: [curve('validation', 0, (at) => Math.exp(at.validationLoss))],
    }),
    chart({
      ...{ ...plain, title: 'Loss, training and validation', y: 'loss a token' },
      curves: [curve('training', 1, (at) => at.trainLoss), curve('validation', 0, (at) => at.validationLoss)],
    }),
    chart({
      ...{ ...plain, title: 'Links of the possible', y: 'density', yLabel: percent },
      curves: [curve('density', 2, (at) => at.density)],
    }),
    chart({
      ...{ ...plain, title: 'Learning rate', y: 'rate' },
      curves: [curve('rate', 3, (at) => at.learningRate)],
    }),
  ]
  const best = intervals.reduce((a, b) => (b.validationLoss < a.validationLoss ? b : a))
  return page(title, [
    `<h1>${escaped(title)}</h1>`,
    `<p>Perplexity ${Math.exp(best.validationLoss).toFixed(2)} a token of the validation text, best after step ` +
      `${best.step}.</p>`,
    `<h2>Over the steps</h2><div class="row">${charts.join('')}</div>`,
    ...linksOf(layers),
    ...endsOf(memory, settings),
  ])
}
