/** What went wrong, and how a value that is not what it should be is refused. */
import { suggestion } from './suggestion.js'

/** What went wrong, stable across versions. */
export type ErrorCode =
  | 'INVALID_ARGUMENT'
  | 'OUT_OF_MEMORY'
  | 'ABORTED'
  | 'NON_FINITE'
  | 'DISPOSED'
  | 'DEVICE_UNAVAILABLE'
  | 'UNSUPPORTED'
  | 'MISSING_FILE'
  | 'BAD_FILE'
  | 'CANNOT_WRITE'
  | 'INTERNAL'

const BRAND = Symbol.for('hebb.HebbError')

/** Every error of this library. The message says what was given, what was expected and how to mend it. */
export class HebbError extends Error {
  override readonly name = 'HebbError'
  readonly code: ErrorCode

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }

  /** Those of another copy of this library, too: a process may have several, whose native addon is one. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    // biome-ignore-start lint/complexity/noThisInStatic: it is a subclass that a subclass is asked for
    if (this === HebbError) return Object(value)[BRAND] === true
    return Function.prototype[Symbol.hasInstance].call(this, value)
    // biome-ignore-end lint/complexity/noThisInStatic: it is a subclass that a subclass is asked for
  }
}
Object.defineProperty(HebbError.prototype, BRAND, { value: true })

/** The error for a file that could not be written: what the file system's refusal means to a person. */
export function cannotWrite(file: string, error: NodeJS.ErrnoException): HebbError {
  return new HebbError('CANNOT_WRITE', `Expected to be able to write ${file}: ${reasonOf(error)}.`, { cause: error })
}

/** What the file system's refusal means. */
export function reasonOf(error: NodeJS.ErrnoException): string {
  if (error.code === 'ENOSPC' || error.code === 'EDQUOT')
    return 'the disk is full. Free some space, or give another folder'
  if (error.code === 'EACCES' || error.code === 'EPERM' || error.code === 'EROFS')
    return 'the folder may not be written to. Change its permissions, or give another folder'
  if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return 'there is no such folder. Make it first'
  if (error.code === 'EISDIR') return 'there is a folder of that name. Give a file name'
  if (error.code === 'ELOOP') return 'its links lead in a circle. Give another file'
  return error.message
}

/** Throws INVALID_ARGUMENT unless `condition` holds. The message is made only then. */
export function expect(condition: boolean, message: () => string): asserts condition {
  if (!condition) throw new HebbError('INVALID_ARGUMENT', message())
}

/** A value as it should appear in a message. */
export function show(value: unknown): string {
  if (typeof value === 'string') return `'${value}'`
  if (ArrayBuffer.isView(value)) return `${value.constructor.name}(${(value as Uint8Array).length})`
  if (typeof value === 'function') return 'a function'
  if (typeof value === 'object' && value !== null) {
    const { name } = value.constructor ?? {}
    if (name !== 'Object' && name !== 'Array') return `a ${name}`
    const text = JSON.stringify(value, (_, v) => (ArrayBuffer.isView(v) ? show(v) : v))
    return text.length > 80 ? `${text.slice(0, 77)}...` : text
  }
  return String(value)
}

/** All names that T may have. */
type Names<T> = { readonly [Name in keyof T]-?: true }

/**
 * `options`, if it is an object without names that nobody reads: what is misspelt is refused, not ignored. `what` has
 * them. A name whose value is undefined is not given.
 */
export function known<T extends object>(options: T, what: string, names: Names<T>): T {
  expect(
    typeof options === 'object' && options !== null && !Array.isArray(options),
    () => `Expected the options of ${what} to be an object, got ${show(options)}`,
  )
  const all = Object.keys(names)
  for (const [name, value] of Object.entries(options))
    expect(
      value === undefined || Object.hasOwn(names, name),
      () => `Expected options of ${what} named ${all.join(', ')}, got '${name}'${suggestion(name, all)}`,
    )
  return options
}

/** `value`, if it is an integer in [least, most]. */
export function integer(value: unknown, what: string, least: number, most = Number.MAX_SAFE_INTEGER): number {
  const range = most === Number.MAX_SAFE_INTEGER ? `of at least ${least}` : `between ${least} and ${most}`
  expect(
    Number.isInteger(value) && (value as number) >= least && (value as number) <= most,
    () => `Expected ${what} to be an integer ${range}, got ${show(value)}`,
  )
  return value as number
}

/** `value`, if it is a finite number in [least, most]. */
export function number(value: unknown, what: string, least: number, most = Number.POSITIVE_INFINITY): number {
  const range = most === Number.POSITIVE_INFINITY ? `of at least ${least}` : `between ${least} and ${most}`
  expect(
    Number.isFinite(value) && (value as number) >= least && (value as number) <= most,
    () => `Expected ${what} to be a number ${range}, got ${show(value)}`,
  )
  return value as number
}

/** `value`, if it is a density: in (0, 1]. */
export function density(value: unknown, what = 'density'): number {
  expect(
    typeof value === 'number' && value > 0 && value <= 1,
    () => `Expected ${what} to be in (0, 1], got ${show(value)}. 0.01 keeps 1% of the links.`,
  )
  return value
}
