/**
 * What a part of a network is, the library's as well as your own. It has parameters from materialise() to dispose(),
 * and forward() records operations, it computes nothing.
 */
import type { Tape, Value } from '../autograd.js'
import type { Device } from '../device.js'
import type { Links } from '../native.js'
import type { Program } from '../program.js'
import type { Topology } from '../topology/topology.js'
import type { WeightInit } from './init.js'
import type { Parameter, SparseParameter } from './parameter.js'

/** What a module needs to make its parameters: where, and how its method wants the network to begin. */
export interface Materials {
  readonly device: Device
  readonly seed: number
  /** For layers that do not bring their own. */
  readonly topology: Topology
  readonly weights: WeightInit
  /** Whether sparse layers are to be fully connected ones, without links. */
  readonly dense?: boolean
  /** Links of a sparse layer at the start, and the most it will ever have, for its target density. */
  links(possible: number, density: number, name: string): { initial: number; capacity: number }
  /** The links that the layer of this number had when it was saved; undefined: it begins anew, by the topology. */
  restored?(layer: number): Links
  /** The links that a module's sparse layer begins with, of a run from a checkpoint; undefined: the method's. */
  begun?(module: Module): Links | undefined
  /** Numbers the layers in the order of the network: the number is part of every random counter. */
  nextLayer(): number
  /** Modules that have their parameters: one that stands in several places has them once (tied weights). */
  readonly made: Set<Module>
  /** Records the operation that draws the parameter's initial weights. */
  readonly initialise: Program
  /** What else must be done before the model is used. */
  waitFor(promise: Promise<void>): void
}

/**
 * Sparse layers that share neurons, for percolation: the outputs of `first` are the inputs of `second` (consecutive),
 * or both have the same outputs (joint), as the queries and keys of an attention have.
 */
export interface Relation {
  readonly first: SparseParameter
  readonly second: SparseParameter
  readonly kind: 'consecutive' | 'joint'
}

/** How often each module within `module` stands in it. */
export function usesOf(module: Module, uses = new Map<Module, number>()): Map<Module, number> {
  for (const child of module.children?.values() ?? []) {
    uses.set(child, (uses.get(child) ?? 0) + 1)
    usesOf(child, uses)
  }
  return uses
}

/** A part of a network. It is a description until a Trainer materialises it on a device. */
export interface Module {
  /** Features that it expects, when it cares. */
  readonly inFeatures?: number | undefined
  /** Features that it gives, when they are known before it is recorded. */
  readonly outFeatures?: number | undefined
  /** What an optimizer steps, those of its children included. None before materialise() and after dispose(). */
  readonly parameters: readonly Parameter[]
  /** Modules that this one is made of, by the names that their parameters have in a file, and that messages use. */
  readonly children?: ReadonlyMap<string, Module>
  /** Sparse layers, those of its children included, in the order of the network. */
  readonly sparse: readonly SparseParameter[]
  /** Which of them share neurons. Nothing is guessed: widths that are equal by chance relate no layers. */
  readonly relations?: readonly Relation[]
  /** Sparse layers whose inputs are the module's inputs: what comes before the module is related to them. */
  readonly entrances?: readonly SparseParameter[]
  /** Sparse layers whose outputs are the module's outputs. */
  readonly exits?: readonly SparseParameter[]
  /** Whether its outputs are the neurons of its input, each by itself: an activation function. */
  readonly pointwise?: boolean
  /**
   * The layer that gives the result, each column from the same column of what body() gives: a loss may have it
   * computed for some columns at a time, where it has many outputs.
   */
  readonly head?: Module | undefined
  /** Makes its parameters, on the device that `materials` name; a Trainer calls it once. */
  materialise(materials: Materials): void
  /** Records what `head` is given. Without it, that is the module's input. */
  body?(tape: Tape, x: Value, ...inputs: Value[]): Value
  /**
   * Records the forward pass, by Tape.apply() or by the forward passes of others. Those of several inputs, such as an
   * attention to another sequence, have the others after the first.
   */
  forward(tape: Tape, x: Value, ...inputs: Value[]): Value
  /** Gives its parameters' memory back. It is then a description again. */
  dispose(): void
}
