/**
 * Runs with --expose-gc: drops objects of every kind without disposing them. Prints what went wrong; for
 * garbage.test.ts.
 */
import { setImmediate } from 'node:timers/promises'
import { Activations, chts, Device, mlp, Program, SparseMatrix, Tensor, Trainer } from '../../lib/index.js'
import { clusters } from '../synthetic.js'
import { optimizer, stateOf } from './training.js'

const gc = globalThis.gc as () => void

/** Collects, and lets finalizers run. */
async function collect(): Promise<void> {
  for (let i = 0; i < 6; ++i) {
    gc()
    await setImmediate()
  }
}

function expectEqual(actual: unknown, expected: unknown, what: string): void {
  if (JSON.stringify(actual) !== JSON.stringify(expected))
    throw new Error(`${what}: expected ${JSON.stringify(expected)}, got ${JSON.stringify(actual)}`)
}

const none = { buffers: 0, bytes: 0 }
const live = ({ buffers, bytes } = device.memory()) => ({ buffers, bytes })
const device = new Device({ kind: 'cpu', threads: 2 })
const links = {
  rowOffsets: Int32Array.from({ length: 301 }, (_, i) => 20 * i),
  columnIndices: Int32Array.from({ length: 6000 }, (_, i) => i % 20),
}

const tasks: Record<string, () => Promise<void>> = {
  /** Operands, their program and its promise are dropped while the replay runs. */
  async jobs() {
    const replays: Promise<void>[] = []
    for (let i = 0; i < 20; ++i) {
      const program = new Program(device, { batch: 64 })
      program.record('spmm', {
        weights: new SparseMatrix(device, 300, 100, links),
        values: new Tensor(device, 'float32', 6000),
        input: new Activations(device, 100, 64),
        output: new Activations(device, 300, 64),
      })
      replays.push(program.replay(100))
      if (i % 5 === 0) await collect()
    }
    await collect()
    await Promise.all(replays)
  },
  /** Reads and writes of tensors that nobody holds; what a read promises is right. */
  async copies() {
    const reads = Array.from({ length: 50 }, (_, i) =>
      new Tensor(device, 'float32', new Float32Array(10_000).fill(i)).read(),
    )
    for (let i = 0; i < 50; ++i) void new Tensor(device, 'int32', 10_000).write(new Int32Array(10_000))
    gc()
    for (const [i, read] of reads.entries())
      expectEqual(
        (await read).every((v) => v === i),
        true,
        `read ${i}`,
      )
  },
  async trainers() {
    const data = clusters({ samples: 512, features: 48, classes: 4 })
    const results: string[] = []
    for (let i = 0; i < 4; ++i) {
      const trainer = new Trainer(mlp({ widths: [48, 120, 120, 4], density: 0.1 }), {
        optimizer: optimizer(),
        dst: chts(),
        device,
      })
      const timer = setInterval(gc, 3)
      for await (const _ of trainer.fit(data, { epochs: 4 }));
      clearInterval(timer)
      results.push(await stateOf(trainer.model))
    }
    expectEqual(new Set(results).size, 1, 'different results')
    // And one that is left in the middle.
    const left = new Trainer(mlp({ widths: [48, 120, 120, 4], density: 0.1 }), {
      optimizer: optimizer(),
      dst: chts(),
      device,
    })
    for await (const _ of left.fit(data, { epochs: 1000 })) break
  },
  /** Devices are objects like others. */
  async devices() {
    for (let i = 0; i < 20; ++i) {
      const own = new Device({ kind: 'cpu', threads: 2 })
      const program = new Program(own)
      program.record('relu', { input: new Activations(own, 1000, 16), output: new Activations(own, 1000, 16) })
      void program.replay(50).catch(() => {})
      if (i % 3 === 0) await collect()
    }
  },
  /** Nobody calls gc() and nothing is disposed: V8 collects because it knows of the native memory. */
  async pressure() {
    const mebibytes = 4
    let most = 0
    for (let i = 0; i < 200; ++i) {
      new Tensor(device, 'uint8', mebibytes << 20)
      most = Math.max(most, device.memory().bytes)
      await setImmediate()
    }
    if (most > 400 * 2 ** 20)
      throw new Error(`Expected at most half of 800 MiB to be live at once, got ${most / 2 ** 20} MiB`)
  },
}

for (const [name, task] of Object.entries(tasks)) {
  await task()
  for (let i = 0; i < 200 && device.memory().buffers > 0; ++i) await collect()
  expectEqual(live(), none, `after ${name}`)
}
console.log(Object.keys(tasks).join(' '))
