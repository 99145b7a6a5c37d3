/** What a run does after each of its epochs beside training: stop early, keep the best state, or what a user wants. */
import type { Dataset } from '../data/dataset.js'
import { expect, HebbError, integer, known, number, show } from '../error.js'
import { maker } from '../recipe.js'
import type { TextDataset } from '../text/dataset.js'
import { LanguageText } from '../text/language.js'
import type { Evaluation } from './inference.js'
import type { Epoch } from './options.js'
import type { Trainer } from './trainer.js'

/** What a callback is told with each call. */
export interface CallbackContext {
  /** Free for other calls, such as predict() and save(), until the callback's promise is fulfilled. */
  readonly trainer: Trainer
  /**
   * The callback's own in this run, empty at its beginning. It is saved with checkpoints as JSON has it, so that a run
   * that is gone on with decides as if it had not been stopped: what is counted belongs here, and not in a closure.
   */
  readonly state: Record<string, unknown>
  readonly validation: Dataset | TextDataset | undefined
  /** Ends the run after this epoch; `reason` is told by trainer.run.stopped. */
  stop(reason?: string): void
}

/** What it is told with an epoch. */
export interface EpochContext extends CallbackContext {
  /** How good it is, larger is better: validation accuracy where there are labels, else -loss; NaN without any. */
  readonly figure: number
  /** Whether the links are as few as they are to be in the end: methods that prune are denser until late. */
  readonly isAtTarget: boolean
}

/**
 * Called in a run, after the epoch's validation and before its checkpoint. What it throws, or rejects with, is thrown
 * by fit(). The training waits for promises.
 */
export interface Callback {
  /** Its state is saved under it; default: its place in the list. */
  readonly name?: string | undefined
  /** The run is to end with its best state. See keepBest(). */
  readonly keepsBest?: boolean | undefined
  /** Before a run's first step, or before it goes on: to refuse what does not fit. Nothing has changed by then. */
  onBegin?(context: CallbackContext): unknown
  onEpoch?(epoch: Epoch, context: EpochContext): unknown
}

/** Callbacks as fit() takes them: a function is called after each epoch. */
export type CallbackOrFunction = Callback | NonNullable<Callback['onEpoch']>

/** When earlyStopping() ends a run. */
export interface EarlyStoppingOptions {
  /** Epochs in a row, or intervals of text, that bring nothing better. */
  patience: number
  /** What is to become better, of the validation data. Default: accuracy where there are labels, else loss. */
  monitor?: 'accuracy' | 'loss' | undefined
  /** What is no larger than this is no improvement. Default 0. */
  minDelta?: number | undefined
}

const expectValidation = (name: string, validation: unknown) =>
  expect(validation !== undefined, () => `Expected validation beside ${name}(), got none`)

/**
 * Ends a run when its validation has become no better for some epochs. It begins to count when the links are as few as
 * they are to be, so that a method that prunes comes to its density.
 */
export const earlyStopping = maker('earlyStopping', (options: EarlyStoppingOptions): Callback => {
  const names = { patience: true, monitor: true, minDelta: true } as const
  const { monitor, ...given } = known(options, 'earlyStopping()', names)
  const patience = integer(given.patience, 'patience', 1)
  const minDelta = number(given.minDelta ?? 0, 'minDelta', 0)
  expect(
    monitor === undefined || monitor === 'accuracy' || monitor === 'loss',
    () => `Expected monitor to be 'accuracy' or 'loss', got ${show(monitor)}`,
  )
  return {
    name: 'earlyStopping',
    onBegin({ validation }) {
      expectValidation('earlyStopping', validation)
      expect(
        monitor !== 'accuracy' || (validation as Dataset).targets === undefined,
        () => "Expected monitor to be 'loss' for a regression, got 'accuracy'",
      )
    },
    onEpoch({ validation }, { state, figure, isAtTarget, stop }) {
      if (!isAtTarget || !validation) return
      const now = monitor === undefined ? figure : monitor === 'loss' ? -validation.loss : validation.accuracy
      if (typeof state.best !== 'number' || now > state.best + minDelta) {
        Object.assign(state, { best: now, since: 0 })
        return
      }
      state.since = Number(state.since) + 1
      if ((state.since as number) >= patience)
        stop(`the ${monitor ?? 'figure'} of the validation became no better in ${patience} epochs`)
    },
  }
})

/**
 * Ends a run with the weights, links and optimizer state of its best epoch, by validation (trainer.run.best), of those
 * whose links are as few as they are to be. They are kept in memory; beside checkpoints, in the file `checkpoint.best`,
 * so that a run that is gone on with has them. Parameters are made anew then: what was read of `trainer.model` before
 * is no longer in use.
 */
export const keepBest = maker(
  'keepBest',
  (): Callback => ({
    name: 'keepBest',
    keepsBest: true,
    onBegin: ({ validation }) => expectValidation('keepBest', validation),
  }),
)

/** What says which of a run's states is the best: larger is better. */
export function figureOf({ accuracy, loss }: Evaluation, data: Dataset | TextDataset | undefined): number {
  return Number.isNaN(accuracy) || data instanceof LanguageText ? -loss : accuracy
}

/** Callbacks with names, of which no two are alike. */
export type Named = ReadonlyMap<string, Callback>

/** Refuses what is no list of callbacks. */
export function namedCallbacks(callbacks: readonly CallbackOrFunction[]): Named {
  expect(Array.isArray(callbacks), () => `Expected callbacks to be a list, got ${show(callbacks)}`)
  const named = new Map<string, Callback>()
  for (const [i, one] of callbacks.entries()) {
    const callback: Callback = typeof one === 'function' ? { onEpoch: one } : one
    expect(
      ['onBegin', 'onEpoch'].some((hook) => typeof Object(callback)[hook] === 'function'),
      () => `Expected callbacks to be functions or to have onEpoch(), such as earlyStopping(...), got ${show(one)}`,
    )
    const name = callback.name ?? String(i)
    named.set(named.has(name) ? `${name} ${i}` : name, callback)
  }
  return named
}

/** Calls each with a state of its own among `states`. */
export async function callEach(
  callbacks: Named,
  states: Record<string, Record<string, unknown>>,
  call: (callback: Callback, state: Record<string, unknown>) => unknown,
): Promise<void> {
  for (const [name, callback] of callbacks) {
    states[name] ??= {}
    const state = states[name]
    await call(callback, state)
    try {
      JSON.stringify(state)
    } catch (cause) {
      const { message } = cause as Error
      throw new HebbError('INVALID_ARGUMENT', `Expected the state of ${name} to be what JSON has: ${message}`, {
        cause,
      })
    }
    if (Object.keys(state).length === 0) delete states[name]
  }
}
