/** Remove rules: which links an update takes away. */
import { known, number } from '../error.js'
import type { PlainCsr } from '../tensor.js'

/** A layer as a user's own rule sees it, in host memory. */
export interface LayerView extends PlainCsr {
  /** [links] in the order of columnIndices. */
  readonly values: Float32Array
  /** Number of the layer in its model. */
  readonly layer: number
  /** Number of the update, from 1. */
  readonly update: number
  /** The model's seed. */
  readonly seed: number
}

/** Gives the places (in columnIndices) of the links to remove; `count` is what the schedule asks for. */
export type RemoveFunction = (layer: LayerView, count: number) => ArrayLike<number> | Promise<ArrayLike<number>>

export interface BuiltInRemove {
  readonly name: string
  readonly importance: 'magnitude' | 'relative' | 'magnitude+gradient'
  /**
   * Of 'magnitude', for pruning alone: pruned links take part with the weights they had, and return when these are
   * larger than those of others.
   */
  readonly historical?: boolean
  /** Of 'magnitude+gradient': how much of the gradient's magnitude is added. */
  readonly gradientShare?: number
  /**
   * Soft: links to keep are sampled with probability proportional to score^T, T growing from `from` to `to` until
   * updates stop.
   */
  readonly temperature?: { readonly from: number; readonly to: number }
}

/** Which links an update removes: magnitude(), relativeImportance() and their kin, or a function of your own. */
export type RemoveRule = BuiltInRemove | RemoveFunction

export interface SoftOptions {
  /** Temperature at the start. Default 1. */
  from?: number | undefined
  /** Temperature when updates stop. Default 3, for MLPs and translation; 9 for LLaMAs. */
  to?: number | undefined
}

function temperature(options: SoftOptions): { from: number; to: number } {
  const { from = 1, to = 3 } = known(options, 'soft removal', { from: true, to: true })
  return { from: number(from, 'from', 0), to: number(to, 'to', 0) }
}

/** The links with the smallest |w| go. */
export function magnitude(): BuiltInRemove {
  return { name: 'magnitude', importance: 'magnitude' }
}

/**
 * As magnitude(), among all links that the layer began with: one that was pruned keeps the weight that it had, and
 * returns with it when that is larger than what is left of others (the historical weights of GMP; Zhu and Gupta 2017).
 * For pruning, in methods that grow nothing else. Memory: 17 bytes for each link that a layer begins with, and 4 a
 * neuron; one bit a cell more where the layer is in dense tiles.
 */
export function historicalMagnitude(): BuiltInRemove {
  return { name: 'historical magnitude', importance: 'magnitude', historical: true }
}

/**
 * The links with the smallest relative importance go: |w_ij| / sum_i |w_ij| + |w_ij| / sum_j |w_ij| (RI; Zhang et al.
 * 2024).
 */
export function relativeImportance(): BuiltInRemove {
  return { name: 'relative importance', importance: 'relative' }
}

/**
 * The links with the smallest |w| + share |gradient| go (MEST; Yuan et al. 2021): of the batch that comes next, at the
 * current weights. Default share 0.01.
 */
export function magnitudeAndGradient({ share = 0.01 }: { share?: number | undefined } = {}): BuiltInRemove {
  return { name: 'magnitude and gradient', importance: 'magnitude+gradient', gradientShare: number(share, 'share', 0) }
}

/** The links to keep are sampled by |w|^T (CHTs; paper, section 3.3). */
export function softMagnitude(options: SoftOptions = {}): BuiltInRemove {
  return { name: 'soft magnitude', importance: 'magnitude', temperature: temperature(options) }
}

/** The links to keep are sampled by RI^T (CHTs; paper, section 3.3). */
export function softRelativeImportance(options: SoftOptions = {}): BuiltInRemove {
  return { name: 'soft relative importance', importance: 'relative', temperature: temperature(options) }
}
