import type { Tape, Value } from '../autograd.js'
import { expect, integer, show } from '../error.js'
import { makerOf, remember } from '../recipe.js'
import type { Materials, Module } from './module.js'
import type { Parameter, SparseParameter } from './parameter.js'
import { Relu } from './relu.js'

/** Modules one after the other. The first and the last decide what goes in and out. */
export class Sequential implements Module {
  readonly modules: readonly Module[]
  /** Seed of the initial network and of everything random in its training. */
  readonly seed: number

  constructor(modules: readonly Module[], options: { seed?: number } = {}) {
    expect(Array.isArray(modules) && modules.length > 0, () => `Expected a list of at least one module, got ${show(modules)}`)
    for (const [i, module] of modules.entries()) {
      const isModule = (['materialise', 'forward', 'dispose'] as const).every((name) => typeof module?.[name] === 'function')
      expect(isModule, () => `Expected module ${i} to be one such as SparseLinear, with materialise(), forward() and dispose(), got ${show(module)}`)
    }
    this.seed = integer(options.seed ?? 0, 'seed', 0)
    let features: number | undefined
    for (const [i, module] of modules.entries()) {
      expect(
        features === undefined || module.inFeatures === undefined || module.inFeatures === features,
        () => `Expected module ${i} to take ${features} features, the output of the one before, got ${module.inFeatures}`,
      )
      features = module.outFeatures ?? features
    }
    this.modules = modules
    if (new.target === Sequential) remember('Sequential', [modules, options], this)
  }

  get inFeatures(): number | undefined {
    return this.modules.find((m) => m.inFeatures !== undefined)?.inFeatures
  }

  get outFeatures(): number | undefined {
    return this.modules.findLast((m) => m.outFeatures !== undefined)?.outFeatures
  }

  get parameters(): Parameter[] {
    return this.modules.flatMap((m) => m.parameters)
  }

  get sparse(): SparseParameter[] {
    return this.modules.flatMap((m) => m.sparse)
  }

  materialise(materials: Materials): void {
    for (const module of this.modules) module.materialise(materials)
  }

  forward(tape: Tape, x: Value): Value {
    let value = x
    for (let i = 0; i < this.modules.length; ++i) {
      const module = this.modules[i] as Module
      const place = i
      if (module.takesActivation && this.modules[i + 1] instanceof Relu) {
        value = module.forward(tape, value, 'relu')
        ++i
      } else {
        value = module.forward(tape, value)
      }
      tape.note(place, value)
    }
    return value
  }

  dispose(): void {
    for (const module of this.modules) module.dispose()
  }
}
makerOf('Sequential', Sequential)
