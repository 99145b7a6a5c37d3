/**
 * Modules in a row, and what a trainer takes as its model. Here parameters get their names, and sparse layers that
 * follow one another are related.
 */
import type { Tape, Value } from '../autograd.js'
import { expect, HebbError, integer, known, show } from '../error.js'
import { makerOf, remember } from '../recipe.js'
import { compactModules } from './compact.js'
import { type Materials, type Module, type Relation, usesOf } from './module.js'
import type { Parameter, SparseParameter } from './parameter.js'

/** What files have beside the parameters of a model. */
export const reservedNames: readonly string[] = ['optimizer', 'run', 'history', 'pool']

/**
 * Modules one after the other. The first and the last decide what goes in and out; further inputs, such as the one that
 * a decoder attends to, go to each of them. A module that stands in several places has one set of parameters (tied
 * weights), which takes one step of the optimizer by the sum of its gradients.
 */
export class Sequential implements Module {
  readonly modules: readonly Module[]
  /** Seed of the initial network and of everything random in its training. */
  readonly seed: number
  readonly #names: readonly string[]

  /**
   * `modules`: in a row, as a list, or by names, which their parameters then have in a file; of an object, names that
   * are integers come first, ascending.
   */
  constructor(modules: readonly Module[] | Readonly<Record<string, Module>>, options: { seed?: number } = {}) {
    known(options, 'Sequential', { seed: true })
    const isList = Array.isArray(modules)
    const all = typeof modules === 'object' && modules !== null ? (Object.values(modules) as Module[]) : []
    expect(all.length > 0, () => `Expected a list of at least one module, or modules by names, got ${show(modules)}`)
    for (const name of isList ? [] : Object.keys(modules)) {
      expect(
        name !== '' && !/[.*]/.test(name) && !reservedNames.includes(name),
        () => `Expected names without '.' and '*' and other than ${reservedNames.join(', ')}, got ${show(name)}`,
      )
    }
    for (const [i, module] of all.entries()) {
      const isModule = (['materialise', 'forward', 'dispose'] as const).every(
        (name) => typeof module?.[name] === 'function',
      )
      expect(
        isModule,
        () =>
          `Expected module ${i} to be one such as SparseLinear, with materialise(), forward() and dispose(), ` +
          `got ${show(module)}`,
      )
    }
    this.seed = integer(options.seed ?? 0, 'seed', 0)
    let features: number | undefined
    for (const [i, module] of all.entries()) {
      expect(
        features === undefined || module.inFeatures === undefined || module.inFeatures === features,
        () =>
          `Expected module ${i} to take ${features} features, the output of the one before, got ${module.inFeatures}`,
      )
      features = module.outFeatures ?? features
    }
    this.modules = all
    this.#names = Object.keys(modules).map((name) => (isList ? `modules.${name}` : name))
    if (new.target === Sequential) remember('Sequential', [modules, options], this)
  }

  /** Undefined where the first that knows its features, such as an Embedding, takes something else. */
  get inFeatures(): number | undefined {
    return this.modules.find((m) => m.inFeatures !== undefined || m.outFeatures !== undefined)?.inFeatures
  }

  get outFeatures(): number | undefined {
    return this.modules.findLast((m) => m.outFeatures !== undefined)?.outFeatures
  }

  get parameters(): Parameter[] {
    return [...new Set(this.modules.flatMap((m) => m.parameters))]
  }

  get children(): ReadonlyMap<string, Module> {
    return new Map(this.modules.map((module, i) => [this.#names[i] as string, module]))
  }

  get sparse(): SparseParameter[] {
    return [...new Set(this.modules.flatMap((m) => m.sparse))]
  }

  /**
   * Those within its modules, and between one and the next, across activation functions. A layer that is used twice is
   * in none: its neurons are those of several places.
   */
  get relations(): Relation[] {
    const relations: Relation[] = []
    let before: readonly SparseParameter[] = []
    for (const { relations: inner = [], entrances = [], exits = [], pointwise = false } of this.modules) {
      for (const first of before) for (const second of entrances) relations.push({ first, second, kind: 'consecutive' })
      relations.push(...inner)
      if (!pointwise) before = exits
    }
    const tied = new Set([...usesOf(this)].flatMap(([module, uses]) => (uses > 1 ? module.sparse : [])))
    return relations.filter(({ first, second }) => !tied.has(first) && !tied.has(second))
  }

  get entrances(): readonly SparseParameter[] {
    return this.modules.find((m) => !m.pointwise)?.entrances ?? []
  }

  get exits(): readonly SparseParameter[] {
    return this.modules.findLast((m) => !m.pointwise)?.exits ?? []
  }

  get pointwise(): boolean {
    return this.modules.every((m) => m.pointwise)
  }

  get head(): Module | undefined {
    return this.modules.at(-1)?.head
  }

  materialise(materials: Materials): void {
    for (const module of this.modules) {
      if (materials.made.has(module)) continue
      materials.made.add(module)
      module.materialise(materials)
    }
  }

  body(tape: Tape, x: Value, ...inputs: Value[]): Value {
    const value = this.#through(this.modules.slice(0, -1), tape, x, inputs)
    return this.modules.at(-1)?.body?.(tape, value, ...inputs) ?? value
  }

  forward(tape: Tape, x: Value, ...inputs: Value[]): Value {
    return this.#through(this.modules, tape, x, inputs)
  }

  #through(modules: readonly Module[], tape: Tape, x: Value, inputs: readonly Value[]): Value {
    let value = x
    for (const module of modules) {
      value = module.forward(tape, value, ...inputs)
      tape.note(module, value)
    }
    return value
  }

  /**
   * The same network without its inactive neurons, read from the device: hidden neurons without inputs are folded into
   * the biases of the next layer, those without outputs are dropped, with all that this leaves inactive. Input and
   * output keep their widths, and the outputs their values but for rounding. A layer that would have no neuron keeps
   * one, a sparse one that would have no link keeps one of weight 0. The result is a model for a Trainer, which begins
   * with these weights by any method that begins at the network's density. Call it while nothing trains the model.
   * Throws DISPOSED for a model that no trainer or predictor uses, UNSUPPORTED for modules other than Linear,
   * SparseLinear, Relu and Sequential, and for tied weights.
   */
  async compact(): Promise<Sequential> {
    const flat = (modules: readonly Module[]): Module[] =>
      modules.flatMap((m) => (m instanceof Sequential && m.constructor === Sequential ? flat(m.modules) : [m]))
    if ([...usesOf(this)].some(([module, uses]) => uses > 1 && module.parameters.length > 0)) {
      throw new HebbError(
        'UNSUPPORTED',
        'Expected layers that stand in one place each, to make the network compact, got tied weights',
      )
    }
    return new Sequential(await compactModules(flat(this.modules)), { seed: this.seed })
  }

  dispose(): void {
    for (const module of this.modules) module.dispose()
  }
}
makerOf('Sequential', Sequential)
