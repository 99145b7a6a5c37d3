import type { Tape, Value } from '../autograd.js'
import { makerOf, remember } from '../recipe.js'
import type { Materials, Module, Relation } from './module.js'
import type { Parameter, SparseParameter } from './parameter.js'

/**
 * A module that keeps nothing of its inside for the backward pass, which computes it again from its input: some blocks
 * of a deep network then need the memory of one, for another forward pass. The bits are the same.
 */
export class Recompute implements Module {
  readonly module: Module

  constructor(module: Module) {
    this.module = module
    if (new.target === Recompute) remember('Recompute', [module], this)
  }

  get inFeatures(): number | undefined {
    return this.module.inFeatures
  }

  get outFeatures(): number | undefined {
    return this.module.outFeatures
  }

  get parameters(): readonly Parameter[] {
    return this.module.parameters
  }

  get children(): ReadonlyMap<string, Module> {
    return new Map([['module', this.module]])
  }

  get sparse(): readonly SparseParameter[] {
    return this.module.sparse
  }

  get relations(): readonly Relation[] {
    return this.module.relations ?? []
  }

  get entrances(): readonly SparseParameter[] {
    return this.module.entrances ?? []
  }

  get exits(): readonly SparseParameter[] {
    return this.module.exits ?? []
  }

  get pointwise(): boolean {
    return this.module.pointwise ?? false
  }

  materialise(materials: Materials): void {
    if (materials.made.has(this.module)) return
    materials.made.add(this.module)
    this.module.materialise(materials)
  }

  forward(tape: Tape, x: Value, ...inputs: Value[]): Value {
    return tape.recompute(() => this.module.forward(tape, x, ...inputs))
  }

  dispose(): void {
    this.module.dispose()
  }
}
makerOf('Recompute', Recompute)
