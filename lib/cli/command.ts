/** Commands as commander knows them: their flags and help, made of the table. */
import { type Command, Option } from 'commander'
import { methods, optimizers } from '../settings/choices.js'
import { datasets } from '../settings/datasets.js'
import type { CommandName, Need, Place } from '../settings/flag_table.js'
import { declared, type FlagName, type Texts, takenBy, typed } from '../settings/flags.js'
import { tasks } from '../train/task.js'
import { styled } from './color.js'

/** For which choices a flag is; nothing where it is for all. */
function usersOf({ of, met }: Need): string {
  const all = Object.keys({ task: tasks, method: methods, optimizer: optimizers, dataset: datasets }[of])
  const users = all.filter(met)
  return users.length < all.length ? `, for ${users.join(', ')}` : ''
}

function helpOf(name: FlagName, command: CommandName): string {
  const { type, help, needs, default: otherwise, otherwise: text, commands } = declared(name)
  const { help: own = help, list, optional, required } = commands[command] as Place
  const value = optional ?? text ?? (otherwise === undefined ? undefined : String(otherwise))
  return [
    own,
    needs && usersOf(needs),
    type.values && `: ${type.values}`,
    list && ', separated by commas',
    required ? ' (required)' : value !== undefined && ` (default: ${value})`,
  ]
    .filter(Boolean)
    .join('')
}

/** What a command was called with. */
export interface Call {
  readonly argument: string | undefined
  /** All of them. */
  readonly args: readonly string[]
  /** Flags as texts, by their names in the command. */
  readonly texts: Texts
  readonly version: string
}

/** Adds a command with the flags that the table has for it. */
export function define(
  program: Command,
  name: CommandName,
  parts: {
    readonly does: string
    readonly argument?: readonly [name: string, help: string]
    /** Behind it, where there is one. */
    readonly input?: readonly [name: string, help: string]
    readonly examples: readonly string[]
    /** Modes whose flags the command takes, too. */
    readonly also?: readonly CommandName[]
    run(call: Call): Promise<void> | void
  },
): void {
  const { does, argument, input, examples, also = [], run } = parts
  const command = program.command(name).description(does)
  if (argument) command.argument(...argument)
  if (input) command.argument(...input)
  const modes = [name, ...also]
  for (const flag of new Set(modes.flatMap(takenBy))) {
    const { type, group, commands } = declared(flag)
    const option = new Option(
      `--${typed(flag, name)}${type.placeholder === undefined ? '' : ` <${type.placeholder}>`}`,
      helpOf(flag, modes.find((mode) => commands[mode]) as CommandName),
    )
    command.addOption(group ? option.helpGroup(group) : option)
  }
  const title = styled('Examples:', 'bold', process.stdout)
  command.addHelpText('after', `\n${title}\n${examples.map((example) => `  ${example}`).join('\n')}`)
  command.action((...args: unknown[]) => {
    const [texts, called] = args.slice(-2) as [Texts, Command]
    return run({ argument: called.args[0], args: called.args, texts, version: program.version() as string })
  })
}
