/** Learning-rate schedules. A rate is asked for once an epoch. */
import { expect, number, show } from '../error.js'
import { maker } from '../recipe.js'

export interface RatePoint {
  /** Epoch about to run, from 0. */
  readonly epoch: number
  /** Epochs in all. */
  readonly epochs: number
}

export type Rate = (point: RatePoint) => number

export const constant = maker('constant', (rate: number): Rate => {
  number(rate, 'learningRate', 0)
  return () => rate
})

/**
 * Falls (or rises) in equal parts from `from` to `to` over the first `over` of the epochs (default 0.9, the paper's 90
 * of 100), then stays.
 */
export const linear = maker('linear', (options: { from: number; to: number; over?: number }): Rate => {
  const { from, to, over = 0.9 } = options
  number(from, 'from', 0)
  number(to, 'to', 0)
  number(over, 'over', 0, 1)
  return ({ epoch, epochs }) => from + (to - from) * Math.min(1, epoch / Math.max(1, over * epochs))
})

/** A number as a constant rate. */
export function rateOf(rate: number | Rate): Rate {
  if (typeof rate === 'function') return rate
  expect(
    typeof rate === 'number',
    () => `Expected learningRate to be a number or a schedule such as linear({ from, to }), got ${show(rate)}`,
  )
  return constant(rate)
}
