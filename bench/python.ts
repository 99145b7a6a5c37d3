/** Peers in processes of their own; and PyTorch: where it is, and what it runs on. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

export const NOT_INSTALLED = 'PyTorch: not installed (apt install python3-torch)'
/**
 * Matrix libraries that are tuned for the processor. Without one PyTorch runs the reference BLAS, and a ratio to it
 * says little about hebb.
 */
export const TUNED_BLAS = /openblas|mkl|blis|atlas|accelerate|armpl|nvpl/i

/** A Python that can import torch: HEBB_PYTHON, or the first that is found. */
export function pythonWithTorch(): string | undefined {
  const candidates = process.env.HEBB_PYTHON ? [process.env.HEBB_PYTHON] : ['python3', '/usr/bin/python3']
  return candidates.find((python) => spawnSync(python, ['-c', 'import torch'], { stdio: 'ignore' }).status === 0)
}

/** What a script says of itself first. */
export interface About {
  readonly torch: string
  readonly blas: string
}

/** A process that sleeps between requests: a line of JSON is answered by one. Lines of other text are passed over. */
export class LineProcess {
  readonly #process: ChildProcess
  readonly #lines: AsyncIterator<string>

  constructor(command: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env) {
    const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'], env })
    child.on('error', () => {}) // and where it does not start or ends, its answer is missing
    child.stdin.on('error', () => {})
    this.#process = child
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  }

  send(message: object): void {
    this.#process.stdin?.write(`${JSON.stringify(message)}\n`)
  }

  sendBytes(bytes: Uint8Array): void {
    this.#process.stdin?.write(bytes)
  }

  async answer<T>(): Promise<T> {
    for (;;) {
      const { value, done } = await this.#lines.next()
      if (done) throw new Error('the process ended without an answer')
      if (value.startsWith('{')) return JSON.parse(value)
    }
  }

  async stop(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return
    const exited = once(this.#process, 'exit')
    this.#process.kill()
    await exited
  }
}

/**
 * A script of peers/ in a process of its own. Its own loops and its matrix library count their threads apart. `more`:
 * of its environment.
 */
export class PythonProcess extends LineProcess {
  constructor(python: string, script: string, blasThreads: number, more: NodeJS.ProcessEnv = {}) {
    const n = String(blasThreads)
    super(python, [fileURLToPath(new URL(`peers/${script}`, import.meta.url))], {
      ...process.env,
      OMP_NUM_THREADS: n,
      OPENBLAS_NUM_THREADS: n,
      MKL_NUM_THREADS: n,
      BLIS_NUM_THREADS: n,
      PYTHONDONTWRITEBYTECODE: '1',
      ...more,
    })
  }
}
