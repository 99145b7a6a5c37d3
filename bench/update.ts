/**
 * One topology update of a 1568 x 1568 layer at 1% by CHTs, CH2-L3n: as a whole, by its parts, and the scores alone.
 * The layer is in training: an epoch lies between two updates, so weights and topology are what a run really has, hubs
 * included.
 */

import { brf, mlp, predictLinks, type SparseParameter, sgd, staticSparse, swi, Tensor, Trainer } from '../lib/index.js'
import type { OperandsOf, OperationName } from '../lib/operands.js'
import { Program, type Segment } from '../lib/program.js'
import { type BenchOptions, milliseconds, progress, Quiet, type Report } from './measure.js'
import { BATCH, DENSITY, LEARNING_RATE, trainingImages, WIDTHS } from './step.js'

/** Share of the links that an update replaces, and the temperature at which it keeps the others. */
const REMOVED = 0.3
const TEMPERATURE = 1
/** Updates before the first sample: they bring the topology from its regular start to what training makes of it. */
const WARM_UP = 2
export const PARTS = ['beginUpdate', 'importance', 'keepLinks', 'regrow', 'rebuild'] as const
export type Part = (typeof PARTS)[number]

/** Scalars of the update's Programs. */
const UPDATE = 0
const KEPT = 1
const HEAT = 2
const TARGET = 3

/** The operations of one layer's update by CHTs, together and one by one. */
export class LayerUpdate {
  readonly parts: Record<Part, Program>
  readonly whole: Program
  /** A replay that does nothing: what calling the device costs by itself. */
  readonly empty: Program
  readonly #links: number
  #done = 0

  constructor(trainer: Trainer, parameter: SparseParameter, links: number) {
    const { device } = trainer
    this.#links = links
    const { matrix, capacity, values, layer } = parameter
    const changes = {
      keep: new Tensor(device, 'uint8', capacity),
      newRows: new Tensor(device, 'int32', capacity),
      newColumns: new Tensor(device, 'int32', capacity),
      newCount: new Tensor(device, 'int32', 1),
    }
    const scores = new Tensor(device, 'float32', capacity)
    const common = { links: matrix, update: UPDATE, seed: 0, layer }
    const operands: { [Name in Part]: OperandsOf[Name] } = {
      beginUpdate: { links: matrix, changes },
      importance: { links: matrix, values, keep: changes.keep, rule: 'magnitude', scores },
      keepLinks: { ...common, scores, keep: changes.keep, count: KEPT, temperature: HEAT, purpose: 'remove' },
      regrow: { ...common, changes, predictor: 'CH2-L3n', selection: 'sample', count: TARGET },
      rebuild: { links: matrix, changes, arrays: parameter.arrays },
    }
    const program = (parts: readonly Part[]) => {
      const made = new Program(device, { scalars: 4 })
      for (const part of parts) made.record<OperationName>(part, operands[part])
      return made
    }
    this.parts = Object.fromEntries(PARTS.map((part) => [part, program([part])])) as Record<Part, Program>
    this.whole = program(PARTS)
    this.empty = program([])
  }

  /** Moves to the next update, with whose scalars a program begins. */
  next(): Segment {
    return { scalars: [++this.#done, this.#links - Math.floor(REMOVED * this.#links), TEMPERATURE, this.#links] }
  }
}

export async function update(options: BenchOptions): Promise<Report> {
  const { rounds, threads, quick } = options
  const data = await trainingImages(quick)
  // The trainer's own method leaves the topology alone: the updates are made here.
  using trainer = new Trainer(mlp({ widths: WIDTHS, density: DENSITY }), {
    optimizer: sgd({ learningRate: LEARNING_RATE, momentum: 0.9, weightDecay: 5e-4 }),
    dst: staticSparse({ topology: brf(), weights: swi() }),
    device: { kind: 'cpu', threads },
  })
  const quiet = new Quiet(options)
  const whole: number[] = []
  const scores: number[] = []
  const calls: number[] = []
  const parts = Object.fromEntries(PARTS.map((part) => [part, [] as number[]])) as Record<Part, number[]>
  let layer: LayerUpdate | undefined
  let links = 0
  let scored = 0
  let round = -WARM_UP
  for await (const _ of trainer.fit(data, { epochs: WARM_UP + 2 * rounds, batchSize: BATCH })) {
    progress(`update: ${Math.max(0, round + 1)} of ${2 * rounds}`)
    const parameter = trainer.model.sparse[1] as SparseParameter
    const { rows, cols } = parameter.matrix
    const before = await parameter.matrix.read()
    links = before.columnIndices.length
    layer ??= new LayerUpdate(trainer, parameter, links)
    const begin = layer.next()
    await quiet.settle()
    const { empty, whole: all, parts: single } = layer
    if (round < 0) {
      await all.replay(1, { begin })
      await empty.replay(1)
      predictLinks({ rows, cols, ...before }, 'CH2-L3n')
    } else if (round % 2 === 0) {
      whole.push(await milliseconds(() => all.replay(1, { begin })))
      scores.push(
        await milliseconds(() => {
          scored = predictLinks({ rows, cols, ...before }, 'CH2-L3n').score.length
        }),
      )
    } else {
      calls.push(await milliseconds(() => empty.replay(1)))
      for (const part of PARTS) parts[part].push(await milliseconds(() => single[part].replay(1, { begin })))
    }
    const after = await parameter.matrix.read()
    if (after.columnIndices.length !== links)
      throw new Error(`Expected an update to keep ${links} links, got ${after.columnIndices.length}`)
    ++round
  }
  const { rows, cols } = (trainer.model.sparse[1] as SparseParameter).matrix
  return {
    series: [
      { name: `whole update, ${threads} threads`, unit: 'ms', samples: whole },
      ...PARTS.map((part) => ({ name: `  ${part}`, unit: 'ms', samples: parts[part] })),
      { name: '  (calling the device, in each part)', unit: 'ms', samples: calls },
      {
        name: `predictLinks: all ${scored.toLocaleString('en-US')} scores, to host memory`,
        unit: 'ms',
        samples: scores,
      },
    ],
    figures: [],
    notes: [
      `${rows} x ${cols}, ${links.toLocaleString('en-US')} links, ${100 * REMOVED}% replaced, CH2-L3n, an epoch ` +
        'of training between updates',
      'predictLinks runs at once on a device of its own, with all threads that the process may use',
      ...quiet.notes,
    ],
  }
}
