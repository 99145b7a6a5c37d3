/**
 * The example of a server that answers waiting calls together, under 32 clients that each send their next call when
 * the last one is answered: calls a second and how long they take; beside it, in turns, the same server with one pass
 * of the network a call. Clients and server share the machine.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { Agent, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chts, mlp, sgd, Trainer } from '../lib/index.js'
import { type BenchOptions, median, numbers, progress, Quiet, type Report, root } from './measure.js'
import { DENSITY, WIDTHS } from './step.js'

const CLIENTS = 32

/** The example as a process of its own, on a free port. */
class Server {
  readonly name: string
  readonly calls: number[] = []
  readonly p50: number[] = []
  readonly p99: number[] = []
  readonly #child: ChildProcess
  #url = ''

  constructor(name: string, file: string, batch: number) {
    this.name = name
    const args = [join(root, 'examples/server.mjs'), file, '--port', '0', '--batch', String(batch)]
    this.#child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  }

  async start(): Promise<this> {
    const failed = once(this.#child, 'exit').then(([code]) => {
      throw new Error(`Expected examples/server.mjs to listen, got its end with code ${code}`)
    })
    const [said] = await Promise.race([once(this.#child.stdout as NodeJS.ReadableStream, 'data'), failed])
    failed.catch(() => {}) // its end is asked for from here on
    this.#url = /http:\S+/.exec(String(said))?.[0] as string
    return this
  }

  /** Clients for some seconds; a sample of everything that is measured. */
  async measure(seconds: number): Promise<void> {
    const agent = new Agent({ keepAlive: true, maxSockets: CLIENTS })
    const [url, took]: [string, number[]] = [this.#url, []]
    const body = Buffer.from(numbers(WIDTHS[0] as number).buffer)
    const call = () =>
      new Promise<void>((resolve, reject) => {
        const sent = request(url, { method: 'POST', agent, headers: { 'content-length': body.length } }, (answer) => {
          answer.resume().once('end', resolve).once('error', reject)
          if (answer.statusCode !== 200) reject(new Error(`Expected status 200, got ${answer.statusCode}`))
        })
        sent.once('error', reject).end(body)
      })
    const begun = performance.now()
    const client = async () => {
      while (performance.now() - begun < 1000 * seconds) {
        const start = performance.now()
        await call()
        took.push(performance.now() - start)
      }
    }
    try {
      await Promise.all(Array.from({ length: CLIENTS }, client))
    } finally {
      agent.destroy()
    }
    this.calls.push((1000 * took.length) / (performance.now() - begun))
    took.sort((a, b) => a - b)
    const quantile = (share: number) => took[Math.floor(share * (took.length - 1))] as number
    this.p50.push(quantile(0.5))
    this.p99.push(quantile(0.99))
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null) return
    const ended = once(this.#child, 'exit')
    this.#child.kill('SIGTERM')
    await ended
  }
}

export async function server(options: BenchOptions): Promise<Report> {
  const { rounds, quick } = options
  if (!existsSync(join(root, 'dist/index.js')))
    return { series: [], figures: [], notes: ["not measured: the example imports dist/. Run 'npm run build:lib'."] }
  const folder = await mkdtemp(join(tmpdir(), 'hebb-bench-'))
  const file = join(folder, 'network.safetensors')
  const servers: Server[] = []
  const quiet = new Quiet(options)
  try {
    {
      using trainer = new Trainer(mlp({ widths: WIDTHS, density: DENSITY }), {
        optimizer: sgd({ learningRate: 0.025 }),
        dst: chts(),
      })
      await trainer.save(file)
    }
    servers.push(new Server('waiting calls together', file, 64), new Server('one call a pass', file, 1))
    for (const one of servers) await one.start()
    for (const one of servers) await one.measure(quick ? 0.1 : 1)
    for (const one of servers) one.calls.length = one.p50.length = one.p99.length = 0
    for (let round = 0; round < rounds; ++round)
      for (const one of servers) {
        progress(`server: ${one.name}, round ${round + 1} of ${rounds}`)
        await quiet.settle()
        await one.measure(quick ? 0.1 : 3)
      }
  } finally {
    await Promise.all(servers.map((one) => one.stop()))
    await rm(folder, { recursive: true })
  }
  const [together, single] = servers as [Server, Server]
  return {
    series: servers.flatMap(({ name, calls, p50, p99 }) => [
      { name, unit: 'calls/s', samples: calls },
      { name: `${name}, median call`, unit: 'ms', samples: p50 },
      { name: `${name}, 99th percentile`, unit: 'ms', samples: p99 },
    ]),
    figures: [
      {
        name: 'calls a second, together / one a pass',
        unit: 'x',
        value: median(together.calls) / median(single.calls),
      },
    ],
    notes: [
      `examples/server.mjs, ${WIDTHS.join('-')} at a density of ${DENSITY}, ${CLIENTS} clients in a process of ` +
        'their own, on the same machine; from the sending of a call to the end of its answer',
      ...quiet.notes,
    ],
  }
}
