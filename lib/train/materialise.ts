/** Brings a model to a device: its parameters, as its method wants a network to begin, or as a checkpoint has them. */
import type { Device } from '../device.js'
import type { Method } from '../dst/method.js'
import { linksAt } from '../dst/scheduler.js'
import { expect } from '../error.js'
import type { Sequential } from '../nn/sequential.js'
import type { Optimizer } from '../optim/sgd.js'
import { Program } from '../program.js'
import type { Checkpoint } from './checkpoint.js'

/**
 * Updates that a method is imagined to make when nothing is known of the run yet: for its initial and its highest
 * density.
 */
export const IMAGINED_UPDATES = 1000

/**
 * Makes the parameters of a model for training, and the optimizer's arrays. They hold what they should when the promise
 * is fulfilled.
 */
export function materialise(
  device: Device,
  model: Sequential,
  method: Method,
  optimizer: Optimizer,
  checkpoint?: Checkpoint,
): Promise<void> {
  const initialise = new Program(device)
  const pending: Promise<void>[] = []
  let layer = 0
  try {
    model.materialise({
      device,
      seed: model.seed,
      topology: method.topology,
      weights: method.weights,
      initialise,
      dense: method.dense ?? false,
      nextLayer: () => layer++,
      waitFor: (promise) => {
        promise.catch(() => {}) // reported by the trainer's first call, if it comes to that
        pending.push(promise)
      },
      ...(checkpoint && { restored: (at: number) => checkpoint.links(at) }),
      links: (possible, density, name) => {
        const schedule = method.density.schedule({ target: density, updates: IMAGINED_UPDATES })
        const initial = linksAt(schedule(0), possible)
        let capacity = initial
        for (let c = 1; c <= IMAGINED_UPDATES; ++c) capacity = Math.max(capacity, linksAt(schedule(c), possible))
        const final = linksAt(density, possible)
        expect(
          initial >= 1 && final >= 1,
          () => `Expected a density of at least ${1 / possible} for one link in the layer ${name}, got ${density}`,
        )
        expect(capacity < 2 ** 31, () => `Expected fewer than 2^31 links in the layer ${name}, got ${capacity}`)
        return { initial, capacity }
      },
    })
    for (const parameter of model.parameters) optimizer.prepare(parameter)
  } catch (error) {
    initialise.dispose()
    throw error
  }
  pending.push(initialise.replay(1).finally(() => initialise.dispose()))
  return Promise.all(pending).then(async () => {
    if (!method.prune.historical) return
    for (const parameter of model.sparse)
      parameter.setPool(checkpoint?.pool(parameter.layer) ?? (await parameter.matrix.read()))
  })
}
