/**
 * Serialises values as how they were made: by which function of this library, with which arguments. Models, optimizers
 * and methods are made of functions, which a file cannot hold; their recipes it can. Only functions that were named
 * here are ever called for a file.
 */
import { HebbError, show } from './error.js'

/**
 * A value as a file has it. `made` names a function of this library, `custom` tells where a user's own function stood,
 * `again` is the number of a value that was made before, in the order in which they are begun.
 */
export type Serialised = null | boolean | number | string | Serialised[] | { [name: string]: Serialised }

// biome-ignore lint/suspicious/noExplicitAny: makers of every kind are kept together
const makers = new Map<string, (...args: any[]) => object>()
const recipes = new WeakMap<object, Serialised>()

/** Gives a function's name to what it makes. */
export function maker<Args extends unknown[], T extends object>(
  name: string,
  make: (...args: Args) => T,
): (...args: Args) => T {
  const named = (...args: Args) => remember(name, args, make(...args))
  makers.set(name, named)
  return named
}

/** Lets a class's objects be made again; its constructor calls remember(). */
export function makerOf<Args extends unknown[], T extends object>(name: string, type: new (...args: Args) => T): void {
  makers.set(name, (...args: Args) => new type(...args))
}

/** Notes how `value` was made. */
export function remember<T extends object>(name: string, args: readonly unknown[], value: T): T {
  recipes.set(value, { made: name, with: args.map((arg, i) => serialise(arg, `${name}(${i})`)) })
  return value
}

/** Whether it has fields alone: made by {}, here or in another realm, or without a prototype, as parsers make them. */
function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || Object.getPrototypeOf(prototype) === null
}

/** `value` as a file can hold it; `where` names it in messages of deserialise(). */
export function serialise(value: unknown, where: string): Serialised {
  if (value === null || value === undefined) return null
  if (typeof value === 'boolean' || typeof value === 'number' || typeof value === 'string') return value
  const recipe = typeof value === 'object' || typeof value === 'function' ? recipes.get(value) : undefined
  if (recipe !== undefined) return recipe
  if (Array.isArray(value)) return value.map((v, i) => serialise(v, `${where}[${i}]`))
  if (typeof value !== 'object' || !isPlain(value)) return { custom: where }
  const entries = Object.entries(value).filter(([, v]) => v !== undefined)
  return Object.fromEntries(entries.map(([name, v]) => [name, serialise(v, `${where}.${name}`)]))
}

/** `value` as serialise() has it, in which what stands in several places is made once. */
export function serialiseOnce(value: unknown, where: string): Serialised {
  const numbers = new Map<Serialised, number>()
  const once = (part: Serialised): Serialised => {
    if (typeof part !== 'object' || part === null) return part
    if (Array.isArray(part)) return part.map(once)
    const before = numbers.get(part)
    if (before !== undefined) return { again: before }
    if ('made' in part) numbers.set(part, numbers.size)
    return Object.fromEntries(Object.entries(part).map(([name, inner]) => [name, once(inner)]))
  }
  return once(serialise(value, where))
}

/** The value that was written, made again by the same functions. */
export function deserialise(written: Serialised, before: unknown[] = []): unknown {
  if (written === null) return undefined
  if (typeof written !== 'object') return written
  if (Array.isArray(written)) return written.map((part) => deserialise(part, before))
  if (typeof written.again === 'number') {
    const value = before[written.again]
    if (value === undefined) throw new HebbError('BAD_FILE', `Expected a part made before, got number ${written.again}`)
    return value
  }
  if (typeof written.custom === 'string') {
    throw new HebbError(
      'INVALID_ARGUMENT',
      `Expected ${written.custom} to be given again: it is a function or an object of your own, which a file ` +
        'cannot hold. Name the model, optimizer, dst or loss it belongs to in the options.',
    )
  }
  if ('made' in written) {
    const make = makers.get(String(written.made))
    if (!make) throw new HebbError('BAD_FILE', `Expected a part that this version of hebb knows, got '${written.made}'`)
    if (!Array.isArray(written.with))
      throw new HebbError('BAD_FILE', `Expected the arguments of '${written.made}', got none`)
    const number = before.push(undefined) - 1
    const args = written.with.map((part) => deserialise(part, before))
    try {
      before[number] = make(...args)
      return before[number]
    } catch (cause) {
      if (cause instanceof HebbError) throw cause
      throw new HebbError('BAD_FILE', `Expected arguments that ${written.made}() takes, got ${show(written.with)}`, {
        cause,
      })
    }
  }
  return Object.fromEntries(Object.entries(written).map(([name, value]) => [name, deserialise(value, before)]))
}
