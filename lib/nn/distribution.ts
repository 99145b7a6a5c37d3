/** How a network's links are shared out among its sparse layers. */
import { density, expect, show } from '../error.js'

/** 'uniform': the same density everywhere. 'erk': Erdős-Rényi-Kernel, layers with few neurons are denser. */
export type Distribution = 'uniform' | 'erk'

export interface LayerShape {
  readonly inFeatures: number
  readonly outFeatures: number
}

/**
 * The layers' densities, for a density of all of them together. 'erk' (Evci et al. 2020, "Rigging the lottery"):
 * proportional to (in + out) / (in * out); layers that would exceed 1 are full, and the others get what is left, again
 * in that proportion. The layers then have exactly round(density * all possible links).
 */
export function layerDensities(
  layers: readonly LayerShape[],
  share: number,
  distribution: Distribution = 'uniform',
): number[] {
  density(share)
  expect(
    distribution === 'uniform' || distribution === 'erk',
    () => `Expected distribution to be 'uniform' or 'erk', got ${show(distribution)}`,
  )
  if (distribution === 'uniform') return layers.map(() => share)
  const possible = layers.map(({ inFeatures, outFeatures }) => inFeatures * outFeatures)
  const weights = layers.map(({ inFeatures, outFeatures }) => inFeatures + outFeatures)
  const sum = (numbers: readonly number[]) => numbers.reduce((a, b) => a + b, 0)
  const total = Math.round(share * sum(possible))
  expect(
    total >= layers.length,
    () => `Expected a density of at least ${layers.length / sum(possible)} for one link a layer, got ${share}`,
  )
  const full = layers.map(() => false)
  let links: number[]
  for (;;) {
    const rest = total - sum(possible.filter((_, i) => full[i]))
    const scale = rest / sum(weights.filter((_, i) => !full[i]))
    links = possible.map((most, i) => (full[i] ? most : scale * (weights[i] as number)))
    const over = links.findIndex((n, i) => !full[i] && n >= (possible[i] as number))
    if (over < 0) break
    full[over] = true
  }
  // Whole links: what is cut off goes to the largest remainders, one each.
  const whole = links.map((n) => Math.max(1, Math.floor(n)))
  const byRemainder = layers
    .map((_, i) => i)
    .sort((a, b) => ((links[b] as number) % 1) - ((links[a] as number) % 1) || a - b)
  for (let left = total - sum(whole), at = 0; left !== 0; at = (at + 1) % layers.length) {
    const layer = byRemainder[left > 0 ? at : layers.length - 1 - at] as number
    const next = (whole[layer] as number) + Math.sign(left)
    if (next < 1 || next > (possible[layer] as number)) continue
    whole[layer] = next
    left -= Math.sign(left)
  }
  return whole.map((n, i) => n / (possible[i] as number))
}
