/** What the value of a flag may be: how its text is read, and refused. */
import { integer as checkInteger, number as checkNumber, expect, HebbError, show } from '../error.js'
import { pick } from './choices.js'

export interface FlagType<T> {
  /** Stands for the value in help; absent for a switch, which has none. */
  readonly placeholder?: string
  /** What help says of the values, where it lists them. */
  readonly values?: string
  /** `name`: the flag's, without its dashes. */
  read(text: string, name: string): T
}

function numberOf(text: string, name: string, or = ''): number {
  const value = Number(text)
  if (text.trim() === '' || !Number.isFinite(value))
    throw new HebbError('INVALID_ARGUMENT', `Expected --${name} to be a number${or}, got ${show(text)}`)
  return value
}

export function integer(least: number, most?: number): FlagType<number> {
  return { placeholder: 'n', read: (text, name) => checkInteger(numberOf(text, name), `--${name}`, least, most) }
}

export function number(least: number, most?: number, placeholder = 'x'): FlagType<number> {
  return { placeholder, read: (text, name) => checkNumber(numberOf(text, name), `--${name}`, least, most) }
}

/** A share in (0, 1], without the whole or with none where that is said: 0.05, or 5%. */
export function share({ none = false, whole = true } = {}): FlagType<number> {
  return {
    placeholder: 'share',
    read(text, name) {
      const [, digits] = /^\s*([\d.]+)\s*%\s*$/.exec(text) ?? []
      // As a decimal, so that 0.7% is the same number as 0.007.
      const value = numberOf(digits === undefined ? text : `${digits}e-2`, name, ' such as 0.05, or 5%')
      expect(
        (none ? value >= 0 : value > 0) && (whole ? value <= 1 : value < 1),
        () =>
          `Expected --${name} to be in ${none ? '[' : '('}0, 1${whole ? ']' : ')'}, got ${text}. Write 0.05, or 5%.`,
      )
      return value
    },
  }
}

/** A share in (0, 1], or a word in its place. */
export function shareOr<const T extends string>(word: T): FlagType<number | T> {
  const { placeholder, read } = share()
  return {
    ...(placeholder !== undefined && { placeholder }),
    values: `${word} | 0.05 | 5%`,
    read: (text, name) => (text === word ? word : read(text, name)),
  }
}

/** The name of one of several things. */
export function choice(choices: Readonly<Record<string, unknown>>): FlagType<string> {
  const names = Object.keys(choices)
  return {
    placeholder: 'name',
    values: names.join(' | '),
    read(text, name) {
      pick(choices, text, name)
      return text
    },
  }
}

/** A text of a few, which mean the same in a program. */
export function oneOf<const T extends string>(...texts: readonly T[]): FlagType<T> {
  const quoted = texts.map((text) => `'${text}'`)
  return {
    placeholder: 'which',
    values: texts.join(' | '),
    read(text, name) {
      const found = texts.find((one) => one === text)
      expect(
        found !== undefined,
        () => `Expected --${name} to be ${quoted.slice(0, -1).join(', ')} or ${quoted.at(-1)}, got ${show(text)}`,
      )
      return found
    },
  }
}

/** Positive integers, one a layer. */
export function widths(): FlagType<readonly number[]> {
  const one = integer(1)
  return { placeholder: 'widths', read: (text, name) => text.split(',').map((width) => one.read(width, name)) }
}

export function path(placeholder: string): FlagType<string> {
  return {
    placeholder,
    read(text, name) {
      expect(text !== '', () => `Expected --${name} to be a path, got ''`)
      return text
    },
  }
}

/** Any text, the empty one too where that is said. */
export function text(placeholder: string, { empty = false } = {}): FlagType<string> {
  return {
    placeholder,
    read(given, name) {
      expect(empty || given !== '', () => `Expected --${name} to be a text, got ''`)
      return given
    },
  }
}

/** '5' or '5epochs': epochs between two checkpoints; '500steps': steps. */
export function intervalOf(text: string, name: string): { everyEpochs: number } | { everySteps: number } {
  const [, n, unit] = /^([1-9]\d*)\s*(epochs?|steps?)?$/.exec(text) ?? []
  expect(
    n !== undefined,
    () => `Expected --${name} to be a number of epochs, or of steps as in 500steps, got ${show(text)}`,
  )
  return unit?.startsWith('step') ? { everySteps: Number(n) } : { everyEpochs: Number(n) }
}

/** What intervalOf() reads, as it is noted with a checkpoint. */
export function interval(): FlagType<string> {
  return {
    placeholder: 'n',
    read(text, name) {
      intervalOf(text, name)
      return text
    },
  }
}

/** Given or not. */
export function toggle(): FlagType<true> {
  return { read: () => true }
}
