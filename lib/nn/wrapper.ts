/** What modules around another one share (Residual, Recompute). Parameters have the name `module` in their path. */
import type { Tape, Value } from '../autograd.js'
import type { Materials, Module, Relation } from './module.js'
import type { Parameter, SparseParameter } from './parameter.js'

/** A module around another one, whose parameters and links are its own. */
export abstract class Wrapper implements Module {
  readonly module: Module

  constructor(module: Module) {
    this.module = module
  }

  abstract forward(tape: Tape, x: Value, ...inputs: Value[]): Value

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

  dispose(): void {
    this.module.dispose()
  }
}
