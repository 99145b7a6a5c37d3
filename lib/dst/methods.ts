/** Published methods, each a combination of parts. Every option replaces one part. */
import { swi } from '../nn/init.js'
import { brf } from '../topology/brf.js'
import { erdosRenyi } from '../topology/erdos_renyi.js'
import { constantDensity, cubicDensity, overshootDensity, sigmoidDensity } from './density.js'
import { cosineFraction, excessFraction, updateSchedule } from './fraction.js'
import { type Method, method } from './method.js'
import { largestGradient, random, soft, topK } from './regrow.js'
import { historicalMagnitude, magnitude, magnitudeAndGradient, relativeImportance, softMagnitude } from './remove.js'

type Parts = Partial<Method>

/** A fixed sparse network: no updates. */
export function staticSparse(parts: Parts = {}): Method {
  return method({ name: 'static', updates: undefined, topology: erdosRenyi(), ...parts })
}

/**
 * Sparse evolutionary training (Mocanu et al., Nature Communications 2018): magnitude, random, 30% at every update of
 * the whole run.
 */
export function set(parts: Parts = {}): Method {
  return method({
    name: 'set',
    remove: magnitude(),
    regrow: random(),
    updates: updateSchedule({ fraction: 0.3, until: 1 }),
    ...parts,
  })
}

/**
 * Cannistraci-Hebb training soft rule (arXiv 2501.19107): sampled removal and regrowth by CH2-L3n, percolation, BRF
 * network, SWI weights.
 */
export function chts(parts: Parts = {}): Method {
  return method({
    name: 'chts',
    density: constantDensity(),
    remove: softMagnitude({ from: 1, to: 3 }),
    regrow: soft('CH2-L3n'),
    updates: updateSchedule({ fraction: cosineFraction(0.3), until: 0.75 }),
    percolate: true,
    topology: brf({ r: 0.25, degree: 'fixed' }),
    weights: swi(),
    ...parts,
  })
}

/**
 * CHTs with sigmoid density decay from 50% (arXiv 2501.19107, section 3.4): before each update's removal, relative
 * importance prunes to the scheduled density.
 */
export function chtss(parts: Parts = {}): Method {
  return chts({
    name: 'chtss',
    density: sigmoidDensity({ initialDensity: 0.5, over: 0.5, steepness: 6 }),
    prune: relativeImportance(),
    ...parts,
  })
}

/**
 * The rigged lottery (RigL; Evci et al., ICML 2020): magnitude, cosine from 30%; regrows where the dense gradient of
 * the next batch is largest.
 */
export function rigl(parts: Parts = {}): Method {
  return method({
    name: 'rigl',
    remove: magnitude(),
    regrow: largestGradient(),
    updates: updateSchedule({ fraction: cosineFraction(0.3), until: 0.75 }),
    ...parts,
  })
}

/**
 * Memory-economic sparse training with elastic mutation (MEST, EM&S; Yuan et al., NeurIPS 2021): the network has 5% of
 * all possible links more than its target, later 2.5%; each update removes as many by |w| + 0.01 |gradient| and grows
 * them at random, and the last one leaves the target.
 */
export function mest(parts: Parts = {}): Method {
  return method({
    name: 'mest',
    density: overshootDensity(),
    prune: magnitudeAndGradient({ share: 0.01 }),
    remove: magnitudeAndGradient({ share: 0.01 }),
    regrow: random(),
    updates: updateSchedule({ fraction: excessFraction(), until: 0.75 }),
    ...parts,
  })
}

/**
 * Gradual magnitude pruning (GMP; Zhu and Gupta 2017): cubic decay from 50%; a link that was pruned may return with the
 * weight it had, no other grows.
 */
export function gmp(parts: Parts = {}): Method {
  return method({
    name: 'gmp',
    density: cubicDensity({ initialDensity: 0.5 }),
    prune: historicalMagnitude(),
    updates: updateSchedule({ fraction: 0, until: 0.75 }),
    ...parts,
  })
}

/**
 * Gradual pruning with zero-cost neuroregeneration (GraNet; Liu et al., NeurIPS 2021): GMP's decay, after each step of
 * which RigL's update follows.
 */
export function granet(parts: Parts = {}): Method {
  return rigl({ name: 'granet', density: cubicDensity({ initialDensity: 0.5 }), prune: magnitude(), ...parts })
}

/**
 * Cannistraci-Hebb training (CHT; Zhang et al., ICLR 2024): magnitude, cosine from 30%; regrows the best links by
 * CH3-L3p, and leaves a layer alone once more than 90% of what it regrows is what it removed.
 */
export function cht(parts: Parts = {}): Method {
  return chts({ name: 'cht', remove: magnitude(), regrow: topK('CH3-L3p'), earlyStop: 0.9, ...parts })
}

/** A fully connected network, to compare with: the sparse layers of a model with density 1 are made dense ones. */
export function dense(parts: Parts = {}): Method {
  return staticSparse({ name: 'dense', dense: true, ...parts })
}
