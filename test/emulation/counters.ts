/** What the emulated GPU counts, for tests. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { addon } from '../../lib/native.js'

export const emulated = /^driver.*Emulated GPU/.test(addon.cudaStatus().detail)
export const folder = mkdtempSync(join(tmpdir(), 'hebb-counters-'))
after(() => rmSync(folder, { recursive: true }))

/** What the emulated GPU was asked for since its process began. */
export interface Counters {
  /** Of kernels, those within graphs too. */
  readonly launches: number
  readonly blocks: number
  readonly graphLaunches: number
  readonly allocations: number
  readonly toDevice: number
  readonly toHost: number
  readonly bytesToHost: number
}

export const countersFile = join(folder, 'counters.json')
export const written = () => JSON.parse(readFileSync(countersFile, 'utf8')) as Counters

/** The counters of this process. */
export function counters(): Counters {
  process.env.HEBB_EMULATION_COUNTERS = countersFile
  try {
    addon.cudaStatus() // asks for the number of GPUs
    return written()
  } finally {
    delete process.env.HEBB_EMULATION_COUNTERS
  }
}
