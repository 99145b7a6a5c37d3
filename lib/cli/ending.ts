/**
 * How a command is told to end: by SIGINT, SIGTERM or SIGHUP, or by a stdout that takes no more. What is worth saving
 * is saved then, and the exit code is the convention's: 128 + the number of the signal, of SIGPIPE where a reader left.
 */
import { readFileSync } from 'node:fs'
import { isatty } from 'node:tty'
import { reasonOf } from '../error.js'

const SIGNALS = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const
type Signal = keyof typeof SIGNALS
const READER_LEFT = 141
/** A terminal and npm both hand Ctrl-C on: so soon, the second is the first. */
const SAME = 1000 // ms

/** What runs until it is done or told to end. */
export interface Stop extends Disposable {
  readonly signal: AbortSignal
  /** The exit code of a process that was told to end. */
  readonly code: number
}

/** Whether the terminal was closed. */
let isHungUp = false
let current: ((code: number) => void) | undefined

/** Whether nohup was asked to keep the process. Node forgets: it takes back what signals it was to ignore. */
function keepsOnHangup(): boolean {
  if (/(^|\/)nohup$/.test(process.env._ ?? '')) return true // as shells tell what they start
  try {
    const ignored = /^SigIgn:\s*([0-9a-f]+)$/m.exec(readFileSync(`/proc/${process.ppid}/status`, 'utf8'))?.[1]
    return ignored !== undefined && (BigInt(`0x${ignored}`) & 1n) === 1n // of a script under nohup
  } catch {
    return false
  }
}

/** From here on, whoever looks at the signal ends whole, and not at once. A second Ctrl-C does end at once. */
export function stopping(): Stop {
  const stop = new AbortController()
  let [code, since] = [0, Number.POSITIVE_INFINITY]
  const end = (why: number) => {
    if (stop.signal.aborted) return
    code = why
    since = performance.now()
    stop.abort(new Error('interrupted'))
  }
  const on = (signal: Signal) => {
    const isAgain = signal === 'SIGINT' && performance.now() - since > SAME
    isHungUp ||= signal === 'SIGHUP'
    if (!isAgain) return end(SIGNALS[signal])
    process.off('SIGINT', on)
    process.kill(process.pid, 'SIGINT')
  }
  const before = current
  current = end
  for (const signal of Object.keys(SIGNALS) as Signal[])
    if (signal !== 'SIGHUP' || !keepsOnHangup()) process.on(signal, on)
  return {
    signal: stop.signal,
    get code() {
      return code
    },
    [Symbol.dispose]() {
      current = before
      for (const signal of Object.keys(SIGNALS)) process.off(signal, on)
    },
  }
}

/** For a process of its own. */
export function watchOutput(): void {
  if (keepsOnHangup()) process.on('SIGHUP', () => {})
  const hasTerminal = [0, 1, 2].some((fd) => isatty(fd))
  let isTold = false
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    // EIO: a terminal that was closed.
    const code = error.code === 'EPIPE' || error.code === 'EIO' ? READER_LEFT : 1
    if (code === 1 && !isTold) console.error(`hebb: Expected to be able to write to stdout: ${reasonOf(error)}.`)
    isTold = true
    isHungUp ||= error.code === 'EIO'
    if (current) current(code)
    else process.exit(code)
  })
  // Nobody is left to be told of it.
  process.stderr.on('error', () => {})
  // Node 20 fails at its end, with a core dump, when it cannot set a terminal back that is no more.
  process.on('exit', () => {
    if (!isHungUp || !hasTerminal) return
    process.removeAllListeners('SIGHUP')
    process.kill(process.pid, 'SIGHUP')
  })
}
