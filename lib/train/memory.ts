/** What a trainer's device memory is taken by, now and when it was most. */
import type { Device, Memory } from '../device.js'
import { SparseParameter } from '../nn/parameter.js'
import type { Sequential } from '../nn/sequential.js'

/** Bytes of device memory by what they are for. */
export interface MemoryParts {
  /** Values of all parameters: those of sparse layers for the links that fit. */
  readonly weights: number
  /** One for each weight, from the first training step on. */
  readonly gradients: number
  /** The optimizer's arrays. */
  readonly optimizer: number
  /** Indices of sparse layers, the links that were ever active, and those that may return with their weights. */
  readonly links: number
  /** What a step computes: activations, their gradients, and what operations keep between forward and backward. */
  readonly activations: number
  /** Scratch of topology updates and, at the peak, of operations while they run. */
  readonly workspace: number
  /** Data sets, and the orders in which they are read. */
  readonly data: number
  /** The rest: a batch's tokens and labels, tables of recordings, what translating takes; and what others own there. */
  readonly other: number
}

/** A trainer's native memory in bytes, by what it is for. */
export interface TrainerMemory extends Memory {
  /** Their sum is `bytes`. */
  readonly parts: MemoryParts
  /**
   * What there was when `peakBytes` was reached, as far as the trainer has seen: it looks after each update and each
   * segment of steps. The sum is `peakBytes`, and what was there between two looks alone counts as workspace.
   */
  readonly peak: MemoryParts
}

/** What a trainer knows to be its own. */
export type Owned = Omit<MemoryParts, 'other'>

const sum = (parts: Owned & { readonly other?: number }) => Object.values(parts).reduce((all, part) => all + part, 0)

/** What the parameters of a model take. */
export function parametersOf({ parameters }: Sequential): Pick<Owned, 'weights' | 'gradients' | 'optimizer' | 'links'> {
  const of = { weights: 0, gradients: 0, optimizer: 0, links: 0 }
  for (const parameter of parameters) {
    const { weights, gradients, optimizer } = parameter.memory
    of.weights += weights
    of.gradients += gradients
    of.optimizer += optimizer
    if (parameter instanceof SparseParameter) of.links += parameter.matrix.bytes + (parameter.pool?.bytes ?? 0)
  }
  return of
}

/** Notes what the peak of a device's memory is made of. */
export class Ledger {
  readonly #device: Device
  readonly #owned: () => Owned
  #peak: { readonly bytes: number; readonly parts: MemoryParts } | undefined

  constructor(device: Device, owned: () => Owned) {
    this.#device = device
    this.#owned = owned
  }

  /** What there is now. */
  get now(): MemoryParts {
    const owned = this.#owned()
    return { ...owned, other: this.#device.memory().bytes - sum(owned) }
  }

  /** Whether the peak has risen since the last look, and what it is made of: `before`, or what there is now. */
  look(before?: MemoryParts): void {
    const { peakBytes } = this.#device.memory()
    if (peakBytes === this.#peak?.bytes) return
    const { now } = this
    const parts = before && sum(before) > sum(now) ? before : now
    const workspace = parts.workspace + peakBytes - sum(parts)
    this.#peak = { bytes: peakBytes, parts: { ...parts, workspace } }
  }

  get memory(): TrainerMemory {
    this.look()
    const memory = this.#device.memory()
    return { ...memory, parts: this.now, peak: (this.#peak as { parts: MemoryParts }).parts }
  }
}
