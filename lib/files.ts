/**
 * Files that are written: each as a whole, over nothing but a file of its own kind, and by one process. Whatever
 * happens meanwhile, the file is the old one or the new one.
 */
import { randomBytes } from 'node:crypto'
import {
  access,
  constants,
  type FileHandle,
  lstat,
  open,
  readdir,
  readlink,
  realpath,
  rename,
  stat,
  unlink,
} from 'node:fs/promises'
import { hostname } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import { cannotWrite, HebbError } from './error.js'
import { expectUnlocked, type Lock, lock } from './lock.js'

/** What files of a kind begin with. */
export interface Kind {
  /** With its article, for messages. */
  readonly name: string
  readonly begins: RegExp
}

/** The file that is meant: behind links, whether it is there or not. */
async function behindLinks(file: string): Promise<string> {
  let at = resolve(file)
  for (let links = 0; links < 40; ++links) {
    const target = await readlink(at).catch(() => undefined)
    if (target === undefined) return realpath(at).catch(() => at)
    at = resolve(dirname(at), target)
  }
  throw cannotWrite(file, Object.assign(new Error('too many links'), { code: 'ELOOP' }))
}

/** Whether two names are of one file that is there. */
export async function isSameFile(one: string, other: string): Promise<boolean> {
  const [a, b] = await Promise.all([one, other].map((file) => stat(file).catch(() => undefined)))
  return a !== undefined && b !== undefined && a.dev === b.dev && a.ino === b.ino
}

interface Place {
  /** Behind links. */
  readonly path: string
  /** Of the file that is to be replaced. */
  readonly before?: { readonly mode: number; readonly uid: number; readonly gid: number }
}

async function placeOf(file: string, kind: Kind): Promise<Place> {
  const path = await behindLinks(file)
  const refuse = (why: string) => new HebbError('CANNOT_WRITE', `Expected to be able to write ${file}: ${why}.`)
  const before = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw cannotWrite(file, error)
    return undefined
  })
  if (before?.isDirectory()) throw cannotWrite(file, Object.assign(new Error(), { code: 'EISDIR' }))
  if (before && !before.isFile())
    throw refuse('there is a pipe, a device or a socket of that name. Give the name of a file')
  await access(dirname(path), constants.W_OK).catch((error: NodeJS.ErrnoException) => {
    throw cannotWrite(file, error)
  })
  if (!before) return { path }
  const isProtected = (before.mode & 0o222) === 0 || (await access(path, constants.W_OK).catch(() => true))
  if (isProtected) throw refuse('it is write-protected. Change its permissions, or give another file')
  if (before.size > 0 && !kind.begins.test(await beginOf(path)))
    throw refuse(`it is not ${kind.name}, and would be lost. Move it away, or give another file`)
  return { path, before }
}

/** Some first bytes, a character each. */
async function beginOf(path: string): Promise<string> {
  const handle = await open(path, 'r').catch(() => undefined)
  if (!handle) return ''
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(64), 0, 64, 0)
    return buffer.toString('latin1', 0, bytesRead)
  } finally {
    await handle.close()
  }
}

const lockOf = (path: string) => `${path}.lock`

/** Makes this process the only one that writes a file, until it gives that back. `had`: locks that it has by now. */
export async function own(file: string, had: readonly Lock[] = []): Promise<Lock> {
  const path = lockOf(await behindLinks(file))
  try {
    return had.find((known) => known.file === path) ?? lock(file, path)
  } catch (error) {
    throw error instanceof HebbError ? error : cannotWrite(file, error as NodeJS.ErrnoException)
  }
}

/** Refuses a place where no file of this kind can be written, before there is one to write. */
export async function expectPlace(file: string, kind: Kind): Promise<void> {
  await placeOf(file, kind)
}

/** Writes a file beside its place, syncs it, and moves it there. What it replaces gives it its permissions. */
export async function replaceFile(
  file: string,
  kind: Kind,
  write: (handle: FileHandle) => Promise<unknown>,
): Promise<void> {
  const { path, before } = await placeOf(file, kind)
  expectUnlocked(file, lockOf(path))
  // Who writes it is in the name, so that what a killed process left can be told from what is being written.
  const temporary = `${path}.${hostname()}-${process.pid}-${randomBytes(6).toString('hex')}.tmp`
  let handle: FileHandle | undefined
  try {
    handle = await open(temporary, 'wx')
    if (before) {
      await handle.chown(before.uid, before.gid).catch(() => {}) // which only root may
      await handle.chmod(before.mode)
    }
    await write(handle)
    await handle.sync()
    await handle.close()
    handle = undefined
    await rename(temporary, path)
  } catch (cause) {
    await handle?.close().catch(() => {})
    await unlink(temporary).catch(() => {})
    if (cause instanceof HebbError || (cause as NodeJS.ErrnoException).code === undefined) throw cause
    throw cannotWrite(file, cause as NodeJS.ErrnoException)
  }
  // The rename survives a power cut once the folder is on disk, too. Not every file system can do this; none needs it
  // to keep files whole.
  const folder = await open(dirname(path), 'r').catch(() => undefined)
  await folder?.sync().catch(() => {})
  await folder?.close()
  await removeAbandoned(path)
}

/** Takes away what processes of this machine left that were killed while they wrote this file. */
async function removeAbandoned(file: string): Promise<void> {
  const begin = `${basename(file)}.${hostname()}-`
  for (const entry of await readdir(dirname(file)).catch(() => [] as string[])) {
    const owner = entry.startsWith(begin) && /^(\d+)-[0-9a-f]{12}\.tmp$/.exec(entry.slice(begin.length))?.[1]
    if (owner && (await isAbandoned(join(dirname(file), entry), Number(owner))))
      await unlink(join(dirname(file), entry)).catch(() => {})
  }
}

async function isAbandoned(path: string, owner: number): Promise<boolean> {
  // In a container every process may have the same number: what is older than this one is not its own.
  if (owner === process.pid)
    return (
      ((await stat(path).catch(() => undefined))?.mtimeMs ?? Number.POSITIVE_INFINITY) < performance.timeOrigin - 1000
    )
  try {
    process.kill(owner, 0)
    return false
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH'
  }
}
