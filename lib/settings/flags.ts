/** What follows from the table of flags: values that were given or hold by default, settings of a run, columns. */
import { expect, show } from '../error.js'
import { type Basis, type CommandName, type Declaration, type Need, type Place, table } from './flag_table.js'
import type { FlagType } from './flag_types.js'

type Table = typeof table
export type FlagName = keyof Table
type ValueOf<K extends FlagName> = Table[K]['type'] extends FlagType<infer T> ? T : never
/** Flags that `hebb compare` takes a list of. */
export type ListName = {
  [K in FlagName]: Table[K]['commands'] extends { compare: { list: string } } ? K : never
}[FlagName]
type Where<When> = { [K in FlagName]: Table[K] extends { setting: When } ? K : never }[FlagName]

/** What was given, of what a command takes one value of. */
export type Given = { readonly [K in FlagName]?: ValueOf<K> }
export type Lists = { readonly [K in ListName]?: readonly ValueOf<K>[] }
/** Whether a default may be none. */
type Lacking<D> = D extends (...args: never[]) => infer R ? Extract<R, undefined> : never
/** What holds, given or by default. */
export type Values = {
  readonly [K in FlagName]: ValueOf<K> | (Table[K] extends { default: infer D } ? Lacking<D> : undefined)
}

/** How a run is asked for. Beside the version and the kind of device, this alone decides its result. */
export type Settings = { readonly [K in Where<'always'>]: ValueOf<K> } & {
  /** Absent: as the method, the optimizer or the data set has it; of a task, classification. */
  readonly [K in Where<'given'>]?: ValueOf<K>
}
type SettingName = keyof Settings
export type ColumnName = { [K in FlagName]: Table[K] extends { column: object } ? K : never }[FlagName] & SettingName

const names = Object.keys(table) as FlagName[]
/** A flag's line of the table. */
export const declared = (name: FlagName) => table[name] as unknown as { type: FlagType<unknown> } & Declaration<unknown>

/** Settings in their order. */
const settingNames = names.filter((name) => declared(name).setting) as SettingName[]

/** Flags that `hebb compare` takes a list of, and what it calls the list. */
export const lists = Object.fromEntries(
  names.flatMap((name) => {
    const { list } = declared(name).commands.compare ?? {}
    return list === undefined ? [] : [[name, list]]
  }),
) as Readonly<Record<ListName, string>>

/** Settings that are a column of a table whose runs were given them; `always`: of every table as data. */
export const columns = settingNames.flatMap((name) => {
  const { column, needs } = declared(name)
  if (!column) return []
  const { title, text = String, label = String } = column
  return [{ name: name as ColumnName, title, text, label, always: needs?.of === 'method' }]
})

/** A flag as it is typed, without its dashes. */
export function typed(name: FlagName, command?: CommandName): string {
  const called = (command && declared(name).commands[command]?.list) ?? name
  return called.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
}

/** Flags that a command takes, in the table's order. */
export const takenBy = (command: CommandName) => names.filter((name) => declared(name).commands[command])

/** Flags as they were typed, by their names in a command. */
export type Texts = Readonly<Record<string, string | true>>

/** Reads what a command was given, each flag by itself. */
export function read(command: CommandName, texts: Texts): { given: Given; lists: Lists } {
  const given: Record<string, unknown> = {}
  const entries: Record<string, unknown> = {}
  for (const name of takenBy(command)) {
    const { type, commands } = declared(name)
    const { list, required } = commands[command] as Place
    const text = texts[list ?? name]
    const flag = typed(name)
    if (text === undefined || (text === '' && required !== undefined))
      expect(required === undefined, () => `Expected --${flag} with ${required}, got none`)
    else if (list === undefined) given[name] = type.read(String(text), flag)
    else entries[name] = entriesOf(String(text), typed(name, command)).map((entry) => type.read(entry, flag))
  }
  return { given, lists: entries }
}

/** The entries of a list, each once. */
export function entriesOf(text: string, flag: string): string[] {
  const entries = text.split(',').map((entry) => entry.trim())
  const twice = entries.find((entry, i) => entries.indexOf(entry) < i)
  expect(twice === undefined, () => `Expected every entry of --${flag} once, got ${show(twice)} twice`)
  return entries
}

/** What was given to a command, and the defaults of the rest. */
export function withDefaults(command: CommandName, given: Given): Values {
  const values: Record<string, unknown> = { ...given }
  const taken = takenBy(command).filter((name) => declared(name).commands[command]?.optional === undefined)
  const defaultOf = (name: FlagName) => declared(name).commands[command]?.default ?? declared(name).default
  const left = taken.filter((name) => values[name] === undefined && defaultOf(name) !== undefined)
  // Those that others go by come first.
  const [others, first] = [true, false].map((later) =>
    left.filter((name) => (typeof defaultOf(name) === 'function') === later),
  ) as [FlagName[], FlagName[]]
  for (const name of first) values[name] = defaultOf(name)
  for (const name of others) values[name] = (defaultOf(name) as (basis: Basis) => unknown)(values as unknown as Basis)
  return values as unknown as Values
}

/** What holds for a command; refuses flags that do not go together. */
export function valuesOf(command: CommandName, given: Given): Values {
  const holding = withDefaults(command, given)
  for (const name of names) {
    const { needs, beside, check } = declared(name)
    const value = given[name]
    if (value === undefined) continue
    if (needs) {
      const chosen = holding[needs.of]
      expect(
        needs.met(chosen),
        () =>
          `Expected no --${typed(name)} for the ${needs.of} '${chosen}', which ${needs.lacking}, got ${show(value)}`,
      )
    }
    const others = beside?.filter((other) => takenBy(command).includes(other as FlagName))
    expect(
      !others || others.some((other) => given[other as FlagName] !== undefined),
      () => `Expected --${typed(name)} beside ${others?.map((other) => `--${other}`).join(' or ')}, got it alone`,
    )
    check?.(value, holding)
  }
  return holding
}

/** The settings among what holds. */
export function settingsOf(values: Values): Settings {
  return Object.fromEntries(
    settingNames.flatMap((name) =>
      values[name] === undefined || values[name] === declared(name).unnoted ? [] : [[name, values[name]]],
    ),
  ) as Settings
}

/** What a flag goes by, where some choices have no use for it. */
export const needOf = (name: FlagName): Need | undefined => declared(name).needs

/** Whether a flag says what a run comes to. */
export const isSetting = (name: FlagName): boolean => declared(name).setting !== undefined

/** What a plan file of `hebb compare` may hold: what is compared, then what is the same in all runs. */
export const planKeys: readonly string[] = [
  ...Object.values(lists),
  ...takenBy('compare').filter((name) => !Object.hasOwn(lists, name) && name !== 'json'),
]

/** Settings that are the same in all runs of a comparison, or in all on one data set. */
export const sharedSettings = settingNames
  .filter((name) => !Object.hasOwn(lists, name))
  .map((name) => ({ name, byDataset: declared(name).byDataset === true }))
