/**
 * A sparse layer's forward product beside PyTorch: its own CSR product, and the dense product of the same shape, which
 * is what masks on dense matrices cost. In turns, in one run; PyTorch with one thread and with as many as hebb, and the
 * faster one counts.
 */
import { Activations, Device, erdosRenyi, Program, SparseMatrix, Tensor } from '../lib/index.js'
import {
  type BenchOptions,
  type Figure,
  median,
  milliseconds,
  progress,
  Quiet,
  type Report,
  type Row,
  rowOf,
  type Series,
} from './measure.js'
import { type About, NOT_INSTALLED, PythonProcess, pythonWithTorch, TUNED_BLAS } from './python.js'

interface Shape {
  readonly rows: number
  readonly cols: number
  readonly density: number
  readonly batch: number
}

function shapesOf({ quick, full }: BenchOptions): Shape[] {
  if (quick) return [{ rows: 784, cols: 784, density: 0.01, batch: 32 }]
  const sizes = full ? [[1568, 784] as const, [1568, 1568] as const, [4096, 4096] as const] : [[1568, 1568] as const]
  const batches = full ? [32, 128, 512] : [32]
  return sizes.flatMap(([rows, cols]) =>
    [0.01, 0.02, 0.05, 0.1].flatMap((density) => batches.map((batch) => ({ rows, cols, density, batch }))),
  )
}

/** hebb's product of a shape. */
class Ours {
  readonly links: number
  readonly #program: Program
  readonly #owned: { dispose(): void }[]
  #steps = 1

  constructor(device: Device, { rows, cols, density, batch }: Shape) {
    const links = erdosRenyi().generate({ rows, cols, links: Math.round(density * rows * cols), seed: 1, layer: 0 })
    this.links = links.columnIndices.length
    const numbers = (count: number) => Float32Array.from({ length: count }, (_, i) => Math.sin(i))
    const weights = new SparseMatrix(device, rows, cols, links)
    const values = new Tensor(device, 'float32', numbers(this.links))
    const [input, output] = [new Activations(device, cols, batch), new Activations(device, rows, batch)]
    void input.write(numbers(cols * batch))
    this.#program = new Program(device, { batch })
    this.#program.record('spmm', { weights, values, input, output })
    this.#owned = [weights, values, input, output, this.#program]
  }

  /** Seconds a product, over about so many seconds. */
  async measure(seconds: number): Promise<number> {
    for (;;) {
      const taken = (await milliseconds(() => this.#program.replay(this.#steps))) / 1000
      if (taken >= seconds) return taken / this.#steps
      this.#steps = Math.ceil(this.#steps * Math.min(64, (1.2 * seconds) / taken))
    }
  }

  dispose(): void {
    for (const one of this.#owned) one.dispose()
  }
}

export async function peers(options: BenchOptions): Promise<Report> {
  const { rounds, threads, quick } = options
  const python = pythonWithTorch()
  if (!python) return { series: [], figures: [], notes: [NOT_INSTALLED] }
  const counts = threads > 1 ? [1, threads] : [1]
  const processes = counts.map((count) => ({ count, process: new PythonProcess(python, 'operations.py', count) }))
  const quiet = new Quiet(options)
  const notes: string[] = []
  const [series, figures, rows]: [Series[], Figure[], Row[]] = [[], [], []]
  let about: About | undefined
  using device = new Device({ kind: 'cpu', threads })
  try {
    for (const { count, process } of processes) {
      process.send({ threads: count })
      about = await process.answer<About>()
    }
    const seconds = quick ? 0.001 : 0.05
    for (const shape of shapesOf(options)) {
      const { rows: m, cols: n, density, batch } = shape
      const name = `${n}x${m}/${100 * density}%/batch:${batch}`
      progress(`peers: ${name}`)
      const ours = new Ours(device, shape)
      try {
        const measured = new Map<string, { threads: number; samples: number[] }>([
          ['hebb spmm', { threads, samples: [] }],
        ])
        const products: { label: string; product: string; process: PythonProcess }[] = []
        for (const { count, process } of processes) {
          process.send({ layer: shape })
          const { made, reason } = await process.answer<{ made: boolean; reason?: string }>()
          if (!made) notes.push(`PyTorch has no CSR product here: ${reason}`)
          for (const product of made ? ['csr', 'dense'] : ['dense']) {
            const label = `PyTorch ${product === 'csr' ? 'CSR' : 'dense'}, threads: ${count}`
            measured.set(label, { threads: count, samples: [] })
            products.push({ label, product, process })
          }
        }
        await ours.measure(seconds) // finds the number of steps
        for (let round = 0; round < rounds; ++round) {
          await quiet.settle()
          measured.get('hebb spmm')?.samples.push(await ours.measure(seconds))
          for (const { label, product, process } of products) {
            process.send({ product, seconds })
            const taken = await process.answer<{ seconds: number; calls: number }>()
            measured.get(label)?.samples.push(taken.seconds / taken.calls)
          }
        }
        for (const [operation, one] of measured) {
          const dense = operation.includes('dense')
          const items = dense ? m * n : ours.links
          rows.push(
            rowOf(
              {
                name: `${operation}/${name}`,
                operation,
                ...shape,
                threads: one.threads,
                item: dense ? 'weight' : 'link',
                items,
              },
              one.samples,
              {
                flop: 2 * items * batch,
              },
            ),
          )
        }
        const best = (kind: string) =>
          [...measured]
            .filter(([label]) => label.includes(kind))
            .sort((a, b) => median(a[1].samples) - median(b[1].samples))[0]
        const own = best('hebb')?.[1].samples as number[]
        series.push({ name: `${name}: hebb spmm`, unit: 'us', samples: own.map((s) => 1e6 * s) })
        for (const kind of ['CSR', 'dense']) {
          const peer = best(kind)
          if (!peer) continue
          series.push({ name: `${name}: ${peer[0]}`, unit: 'us', samples: peer[1].samples.map((s) => 1e6 * s) })
          figures.push({
            name: `${name}: PyTorch ${kind} / hebb`,
            unit: 'x',
            value: median(peer[1].samples) / median(own),
          })
        }
      } finally {
        ours.dispose()
      }
    }
  } catch (error) {
    notes.push(`PyTorch: ${(error as Error).message}`)
  } finally {
    await Promise.all(processes.map(({ process }) => process.stop()))
  }
  if (about) {
    notes.push(`PyTorch ${about.torch}, BLAS: ${about.blas}; the faster of its thread counts counts`)
    if (!TUNED_BLAS.test(about.blas))
      notes.push(
        'the ratio to the dense product is not a fair one: this PyTorch has no tuned BLAS. apt install ' +
          'libopenblas0-pthread',
      )
  }
  return {
    series,
    figures,
    rows,
    notes: [...new Set(notes), ...quiet.notes],
    ...(about && { versions: { torch: about.torch, blas: about.blas } }),
  }
}
