/** Brings a model to a device: its parameters, as its method wants a network to begin, or as a checkpoint has them. */
import type { Device } from '../device.js'
import type { Method } from '../dst/method.js'
import { linksAt, Room } from '../dst/room.js'
import { updatesOf } from '../dst/scheduler.js'
import { expect } from '../error.js'
import type { Links } from '../native.js'
import { swi } from '../nn/init.js'
import type { Materials, Module } from '../nn/module.js'
import type { Sequential } from '../nn/sequential.js'
import { frozenOf, type Optimizer, type ParameterGroup } from '../optim/optimizer.js'
import { Program } from '../program.js'
import { erdosRenyi } from '../topology/erdos_renyi.js'
import { type Checkpoint, namedModules, namedParameters, type Progress, stepsOf } from './checkpoint.js'

/** How the parameters begin. */
type Beginning = Pick<Materials, 'topology' | 'weights' | 'dense' | 'restored' | 'begun' | 'links'>

/** A file that a training has its parameters from: to go on with its run or, `anew`, to begin one. */
export interface Origin {
  readonly checkpoint: Checkpoint
  readonly anew: boolean
}

/** Makes a model's parameters, and records in `initialise` what fills them; gives what else is under way. */
function make(device: Device, model: Sequential, initialise: Program, beginning: Beginning): Promise<void>[] {
  const pending: Promise<void>[] = []
  let layer = 0
  model.materialise({
    ...beginning,
    device,
    seed: model.seed,
    initialise,
    made: new Set(),
    nextLayer: () => layer++,
    waitFor: (promise) => {
      promise.catch(() => {}) // reported by who waits for all, if it comes to that
      pending.push(promise)
    },
  })
  return pending
}

/**
 * Makes the parameters of a model for training, and the optimizer's arrays; gives the optimizer's groups. The arrays
 * hold what they should when the promise is fulfilled.
 */
export function materialise(
  device: Device,
  model: Sequential,
  method: Method,
  optimizer: Optimizer,
  origin?: Origin,
): { groups: readonly ParameterGroup[]; ready: Promise<void> } {
  const checkpoint = origin?.anew ? undefined : origin?.checkpoint
  const initialise = new Program(device)
  let pending: Promise<void>[]
  let groups: readonly ParameterGroup[]
  try {
    pending = make(device, model, initialise, {
      topology: method.topology,
      weights: method.weights,
      dense: method.dense ?? false,
      ...(checkpoint && { restored: (at: number) => checkpoint.links(at) }),
      ...(origin?.anew && { begun: begunBy(model, origin.checkpoint) }),
      links: (possible, density, name) => {
        const initial = linksAt(method.density.initial(density), possible)
        const most = linksAt(method.density.most(density), possible)
        const final = linksAt(density, possible)
        expect(
          initial >= 1 && final >= 1,
          () => `Expected a density of at least ${1 / possible} for one link in the layer ${name}, got ${density}`,
        )
        expect(most < 2 ** 31, () => `Expected fewer than 2^31 links in the layer ${name}, got ${most}`)
        // A network that is restored has had its updates.
        const capacity = checkpoint ? roomAfter(method, checkpoint.progress, { possible, density, most }) : most
        return { initial, capacity }
      },
    })
    groups = optimizer.groups(namedParameters(model))
    const frozen = frozenOf(groups)
    for (const parameter of model.sparse) {
      const initial = method.density.initial(parameter.density)
      expect(
        checkpoint !== undefined || !frozen.has(parameter) || initial === parameter.density,
        () =>
          `Expected a method that begins with the links of its end, for layer ${parameter.layer} is frozen, got ` +
          `${method.name}, which begins with a density of ${initial} in place of ${parameter.density}. Train the ` +
          'layer, or use a method such as chts() or staticSparse().',
      )
    }
    optimizer.prepare(groups)
  } catch (error) {
    initialise.dispose()
    throw error
  }
  pending.push(initialise.replay(1).finally(() => initialise.dispose()))
  const ready = Promise.all(pending).then(async () => {
    if (!method.prune.historical) return
    for (const parameter of model.sparse)
      parameter.setPool(checkpoint?.pool(parameter.layer) ?? (await parameter.matrix.read()))
  })
  return { groups, ready }
}

/** The links of a file, for the modules that have its layers' names. */
function begunBy(model: Sequential, checkpoint: Checkpoint): (module: Module) => Links | undefined {
  const names = namedModules(model)
  return (module) => checkpoint.linksOf(`${names.get(module)}.weights`)
}

/** Makes a model's parameters as the file has them, for predictions: without gradients and optimizer state. */
export async function materialiseSaved(device: Device, model: Sequential, checkpoint: Checkpoint): Promise<void> {
  const initialise = new Program(device)
  try {
    const pending = make(device, model, initialise, {
      topology: erdosRenyi(),
      weights: swi(),
      dense: checkpoint.dense,
      restored: (at) => checkpoint.links(at),
      links: () => ({ initial: 0, capacity: 0 }),
    })
    await Promise.all(pending)
    await checkpoint.fill(model)
  } finally {
    initialise.dispose()
  }
}

/** Room for the links of a layer in a run that was saved. */
function roomAfter(
  method: Method,
  { plan, updates: { done } }: Progress,
  { possible, density, most }: { possible: number; density: number; most: number },
): number {
  if (!plan) return most
  const { stepsPerEpoch } = plan
  const updates = updatesOf(method, { steps: stepsOf(plan), stepsPerEpoch }).count
  return new Room(method.density.schedule({ target: density, updates }), { possible, most, updates }).after(done)
}
