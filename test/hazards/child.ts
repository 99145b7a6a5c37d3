/** Child processes of the tests of hazards. */
import { execFile } from 'node:child_process'
import { program } from '../programs.js'
import { bound } from './training.js'

export interface Ended {
  code: number | null
  signal: string | null
  stdout: string
  stderr: string
  /** From the start to the end of the process. */
  milliseconds: number
}

/**
 * Runs one of the child programs beside this file to its end. It is killed, which a test sees as a signal, when it
 * hangs.
 */
export function child(name: string, args: readonly string[] = [], nodeFlags: readonly string[] = []): Promise<Ended> {
  const start = performance.now()
  return new Promise((resolve) => {
    const options = { timeout: bound(40_000), killSignal: 'SIGKILL' as const }
    execFile(
      process.execPath,
      [...nodeFlags, program(`hazards/${name}`), ...args],
      options,
      (error, stdout, stderr) => {
        const { code = null, signal = null } = (error as { code?: number; signal?: string } | null) ?? { code: 0 }
        resolve({ code, signal, stdout, stderr, milliseconds: performance.now() - start })
      },
    )
  })
}
