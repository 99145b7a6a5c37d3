/**
 * What optimizers have in common: parameters are shared out among groups by their names, and the numbers of each group
 * are its own.
 */
import { expect, known, number, show } from '../error.js'
import type { Parameter } from '../nn/parameter.js'
import { sharedOut } from '../patterns.js'
import type { Program } from '../program.js'
import { suggestion } from '../suggestion.js'
import type { Tensor } from '../tensor.js'
import { type Rate, rateOf } from './rates.js'

/** Parameters by the names that they have in a checkpoint: modules.0.weights. */
export type NamedParameters = readonly (readonly [name: string, parameter: Parameter])[]

/** Parameters that take their step by the same numbers. */
export interface ParameterGroup {
  readonly parameters: readonly Parameter[]
  /** Which of the optimizer's groups it is, in the order given; that of all other parameters is the last. */
  readonly index: number
  /** They stay what they are: they have no state and take no step, and links among them do not move. */
  readonly frozen: boolean
}

/** What a trainer asks of an optimizer. */
export interface Optimizer {
  readonly name: string
  /** What changes from step to step, one column of the program's table each. The first is the learning rate. */
  readonly rates: readonly Rate[]
  /** What the norm of all gradients together is clipped to; without it they are taken as they are. */
  readonly clipNorm?: number | undefined
  /** Shares the parameters out. Throws INVALID_ARGUMENT for a pattern that none of their names matches. */
  groups(parameters: NamedParameters): ParameterGroup[]
  /** Makes its state for the groups' parameters. */
  prepare(groups: readonly ParameterGroup[]): void
  /**
   * Records its step for them; its rates are the first columns of the program's table. `scale` [1] is what gradients
   * are multiplied by.
   */
  record(program: Program, groups: readonly ParameterGroup[], scale?: Tensor<'float64'>): void
}

/** Parameters by their names, and what their numbers are in place of those of all. */
export type Group<Numbers> = Partial<Numbers> & {
  /**
   * A parameter's name, such as 'modules.3.bias', or a pattern in which * stands for any characters: 'modules.3.*',
   * '*.bias'; or several. Each must match a name. A parameter belongs to the first group that it matches.
   */
  match: string | readonly string[]
  /**
   * Default false. True: these parameters stay what they are. They take no step, have no optimizer state, and no
   * gradient is computed for them, but where a bias alone is trained: its gradient comes with that of its layer's
   * weights. A sparse layer whose weights are frozen keeps its links, too: the method's updates leave it out, and
   * percolation ends at it. Only a method of constant density, such as chts(), can begin with a frozen sparse layer;
   * one that is loaded stays as it was saved. A checkpoint keeps the state of parameters that are trained.
   */
  frozen?: boolean | undefined
}

/** An optimizer's step by one set of numbers. */
interface Rule {
  /** Makes its state for a parameter. */
  prepare(parameter: Parameter): void
  /** Records its step for a parameter; `learningRate` is the scalar's index. */
  record(
    program: Program,
    parameter: Parameter,
    operands: { learningRate: number; scale: Tensor<'float64'> | undefined },
  ): void
}

/** What an optimizer does with all gradients together. */
export interface ClippingOptions {
  /**
   * Where the norm of all gradients together is larger, they are multiplied by clipNorm / norm (Pascanu et al., 2013;
   * torch.nn.utils.clip_grad_norm_). Default: none, and SGD's step is taken while gradients are computed, which saves a
   * pass over them. A norm that is NaN or infinite ends training with NON_FINITE before its step has changed anything.
   */
  clipNorm?: number | undefined
}

/** The patterns of a group, checked. */
function patternsOf(group: { readonly match?: unknown } | undefined | null): string[] {
  const match = group?.match
  const patterns = Array.isArray(match) ? match : [match]
  expect(
    patterns.length > 0 && patterns.every((pattern) => typeof pattern === 'string' && pattern !== ''),
    () =>
      "Expected a group's match to be a name of parameters or a pattern such as 'modules.3.*' or '*.bias', or an " +
      `array of them, got ${show(match)}`,
  )
  return patterns
}

/** The parameters of groups that are frozen. */
export function frozenOf(groups: readonly ParameterGroup[]): ReadonlySet<Parameter> {
  return new Set(groups.flatMap(({ parameters, frozen }) => (frozen ? parameters : [])))
}

/**
 * The optimizer that steps the parameters of each group by `ruleOf` its numbers, which are those of all where the group
 * gives none. `fields` are the names that numbers may have. Groups of the same rate share a column of the table.
 */
export function byGroups<Numbers extends { learningRate: number | Rate }>(
  name: string,
  fields: readonly (keyof Numbers & string)[],
  numbers: Numbers,
  { groups = [], clipNorm }: ClippingOptions & { groups?: readonly Group<Numbers>[] | undefined },
  ruleOf: (numbers: Numbers) => Rule,
): Optimizer {
  known<object>(numbers, `${name}()`, Object.fromEntries([...fields, 'groups', 'clipNorm'].map((one) => [one, true])))
  expect(
    Array.isArray(groups),
    () => `Expected groups to be an array such as [{ match: '*.bias', weightDecay: 0 }], got ${show(groups)}`,
  )
  const patterns = groups.map(patternsOf)
  const names: readonly string[] = ['match', 'frozen', ...fields]
  for (const given of groups.flatMap(Object.keys))
    expect(
      names.includes(given),
      () => `Expected a group to have some of ${names.join(', ')}, got '${given}'${suggestion(given, names)}`,
    )
  const frozen = [...groups.map((group) => group.frozen ?? false), false]
  for (const flag of frozen)
    expect(typeof flag === 'boolean', () => `Expected a group's frozen to be true or false, got ${show(flag)}`)
  if (clipNorm !== undefined) number(clipNorm, 'clipNorm', Number.MIN_VALUE)
  const columns = new Map<number | Rate, number>()
  const rates: Rate[] = []
  const columnOf = (rate: number | Rate): number => {
    const column = columns.get(rate) ?? rates.push(rateOf(rate)) - 1
    columns.set(rate, column)
    return column
  }
  columnOf(numbers.learningRate)
  const rules = [...groups, {}].map((group) => {
    const given = Object.entries(group).filter(([, value]) => value !== undefined)
    const own: Numbers = { ...numbers, ...Object.fromEntries(given) }
    return { ...ruleOf(own), column: columnOf(own.learningRate) }
  })
  const ruleAt = (index: number) => rules[index] as (typeof rules)[0]
  return {
    name,
    rates,
    clipNorm,
    groups: (named) => {
      const shares = sharedOut(named, patterns)
      expect(
        named.length === 0 || shares.some((parameters, i) => parameters.length > 0 && !frozen[i]),
        () => `Expected groups that leave a parameter to train, got ${show(groups)}, which freeze all of them`,
      )
      return shares.map((parameters, index) => ({ parameters, index, frozen: frozen[index] as boolean }))
    },
    prepare: (groups) => {
      for (const { parameters, index, frozen } of groups)
        for (const parameter of frozen ? [] : parameters) ruleAt(index).prepare(parameter)
    },
    record: (program, groups, scale) => {
      for (const { parameters, index, frozen } of groups)
        for (const parameter of frozen ? [] : parameters)
          ruleAt(index).record(program, parameter, { learningRate: ruleAt(index).column, scale })
    },
  }
}
