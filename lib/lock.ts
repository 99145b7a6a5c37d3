/**
 * What one process owns while it works on it: a checkpoint that a run saves to, a folder of a comparison. The system
 * keeps the lock, and takes it back when the process ends, however that happens; what may stay is a file beside.
 */
import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  openSync,
  readFileSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs'
import { hostname } from 'node:os'
import { HebbError } from './error.js'
import { addon } from './native.js'

export interface Lock extends Disposable {
  /** The file beside, which says who has it. */
  readonly file: string
  /** Safe to call twice. */
  release(): void
}

/** By lock file: those of this thread. */
const held = new Set<string>()

const isInUse = (what: string, owner: string) =>
  new HebbError(
    'CANNOT_WRITE',
    `Expected ${what} to be written by one process at a time, got one that ${owner || 'another process'} works on. ` +
      'Wait until it has ended, or give another name.',
  )

const isCode = (error: unknown, code: string) => (error as NodeJS.ErrnoException).code === code

/** Owns `what` from now on, by a lock on that file, which is made and removed again. */
export function lock(what: string, file: string): Lock {
  for (;;) {
    const fd = openSync(file, constants.O_RDWR | constants.O_CREAT, 0o666)
    try {
      if (!addon.tryLock(fd)) throw isInUse(what, readFileSync(fd, 'utf8'))
      // Whoever had it may have removed it since it was opened: then it is locked for nobody.
      const [opened, there] = [fstatSync(fd), statSync(file, { throwIfNoEntry: false })]
      if (there?.ino === opened.ino && there.dev === opened.dev) {
        ftruncateSync(fd)
        writeSync(fd, `process ${process.pid} on ${hostname()}`)
        held.add(file)
        const release = () => void (held.delete(file) && unlock(file, fd))
        return { file, release, [Symbol.dispose]: release }
      }
    } catch (error) {
      closeSync(fd)
      throw error
    }
    closeSync(fd)
  }
}

function unlock(file: string, fd: number): void {
  try {
    unlinkSync(file)
  } catch (error) {
    if (!isCode(error, 'ENOENT')) throw error // its folder was removed
  } finally {
    closeSync(fd)
  }
}

/** Refuses what another process owns. */
export function expectUnlocked(what: string, file: string): void {
  if (held.has(file)) return
  let fd: number
  try {
    fd = openSync(file, constants.O_RDONLY)
  } catch {
    return // nobody has made one
  }
  try {
    if (!addon.tryLock(fd)) throw isInUse(what, readFileSync(fd, 'utf8'))
  } finally {
    closeSync(fd)
  }
}
