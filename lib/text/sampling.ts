/** The next token of a text, chosen by its scores: a pure function of these, the options and a draw. */
import { expect, HebbError, integer, number, show } from '../error.js'
import { philox } from '../philox.js'

export interface SamplingOptions {
  /** What scores are divided by, at least 0. Default 1; 0 takes the best token each time. */
  temperature?: number | undefined
  /** Only so many of the best tokens. Default: all. */
  topK?: number | undefined
  /**
   * Only the best tokens, as few as have this share of the probability together (nucleus: Holtzman et al., 2020), in
   * (0, 1]. Default 1.
   */
  topP?: number | undefined
  /**
   * Scores of tokens that the text has are divided by this where they are above 0, and multiplied where below (Keskar
   * et al., 2019). Default 1.
   */
  repetitionPenalty?: number | undefined
}

/** hebb::kGenerationDraws. */
const PURPOSE = 21

/** In [0, 1), for the token at a place of a text that is written with a seed. */
export function drawOf(seed: number, place: number): number {
  return (philox(seed, place, 0, 0, PURPOSE << 24) >>> 0) / 2 ** 32
}

export function checkSampling({ temperature, topK, topP, repetitionPenalty }: SamplingOptions): void {
  if (temperature !== undefined) number(temperature, 'temperature', 0)
  if (topK !== undefined) integer(topK, 'topK', 1)
  if (topP !== undefined) {
    number(topP, 'topP', 0, 1)
    expect(topP > 0, () => `Expected topP to be above 0 and at most 1, got ${show(topP)}`)
  }
  if (repetitionPenalty !== undefined) {
    number(repetitionPenalty, 'repetitionPenalty', 0)
    expect(repetitionPenalty > 0, () => `Expected repetitionPenalty to be above 0, got ${show(repetitionPenalty)}`)
  }
}

/** A token that may come next. */
export interface Candidate {
  readonly token: number
  /** Among the candidates, which add up to 1. */
  readonly probability: number
}

/**
 * What may come next, the most probable first; of equal ones that of the smaller number. `scores` [words]; `seen`: the
 * tokens that the text has.
 */
export function candidatesOf(
  scores: ArrayLike<number>,
  seen: Iterable<number>,
  { temperature = 1, topK, topP = 1, repetitionPenalty = 1 }: SamplingOptions,
): Candidate[] {
  const penalised = Float64Array.from(scores)
  if (!penalised.every(Number.isFinite))
    throw new HebbError('NON_FINITE', 'Expected finite scores of tokens, got others. Look at the model: evaluate it.')
  if (repetitionPenalty !== 1)
    for (const token of new Set(seen)) {
      const score = penalised[token] as number
      penalised[token] = score > 0 ? score / repetitionPenalty : score * repetitionPenalty
    }
  const order = Array.from(penalised.keys()).sort(
    (a, b) => (penalised[b] as number) - (penalised[a] as number) || a - b,
  )
  const best = order.slice(0, temperature === 0 ? 1 : topK)
  const most = penalised[best[0] as number] as number
  // The best has power 1, so that no temperature above 0 leaves nothing.
  const powers = best.map((token) =>
    temperature === 0 ? 1 : Math.exp(((penalised[token] as number) - most) / temperature),
  )
  const all = powers.reduce((a, b) => a + b, 0)
  let [kept, sum] = [0, 0]
  while (kept < best.length && (kept === 0 || topP === 1 || sum < topP * all)) sum += powers[kept++] as number
  return best.slice(0, kept).map((token, i) => ({ token, probability: (powers[i] as number) / sum }))
}

/** The token that a draw in [0, 1) gives. */
export function sample(
  scores: ArrayLike<number>,
  seen: Iterable<number>,
  options: SamplingOptions,
  draw: number,
): number {
  const candidates = candidatesOf(scores, seen, options)
  let left = draw
  for (const { token, probability } of candidates) {
    left -= probability
    if (left < 0) return token
  }
  // Rounding has left something.
  return (candidates.at(-1) as Candidate).token
}
