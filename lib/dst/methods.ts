/** Published methods, each a combination of parts. Every option replaces one part. */
import { swi } from '../nn/init.js'
import { brf } from '../topology/brf.js'
import { erdosRenyi } from '../topology/erdos_renyi.js'
import { constantDensity, sigmoidDensity } from './density.js'
import { cosine, updateSchedule } from './fraction.js'
import { type Method, method } from './method.js'
import { random, soft } from './regrow.js'
import { magnitude, relativeImportance, softMagnitude } from './remove.js'

type Parts = Partial<Method>

/** A fixed sparse network: no updates. */
export function staticSparse(parts: Parts = {}): Method {
  return method({ name: 'static', remove: magnitude(), regrow: random(), updates: undefined, topology: erdosRenyi(), ...parts })
}

/** Sparse evolutionary training (Mocanu et al., Nature Communications 2018): magnitude, random, 30% at every update of the whole run. */
export function set(parts: Parts = {}): Method {
  return method({ name: 'set', remove: magnitude(), regrow: random(), updates: updateSchedule({ fraction: 0.3, until: 1 }), ...parts })
}

/** Cannistraci-Hebb training soft rule (arXiv 2501.19107): sampled removal and regrowth by CH2-L3n, percolation, BRF network, SWI weights. */
export function chts(parts: Parts = {}): Method {
  return method({
    name: 'chts',
    density: constantDensity(),
    remove: softMagnitude({ from: 1, to: 3 }),
    regrow: soft('CH2-L3n'),
    updates: updateSchedule({ fraction: cosine(0.3), until: 0.75 }),
    percolate: true,
    topology: brf({ r: 0.25, degree: 'fixed' }),
    weights: swi(),
    ...parts,
  })
}

/** CHTs with sigmoid density decay from 50% (arXiv 2501.19107, section 3.4): before each update's removal, relative importance prunes to the scheduled density. */
export function chtss(parts: Parts = {}): Method {
  return chts({ name: 'chtss', density: sigmoidDensity({ initialDensity: 0.5, over: 0.5, steepness: 6 }), prune: relativeImportance(), ...parts })
}
