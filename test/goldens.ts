/**
 * Short runs of every method, and what each must give to the last bit: test/vectors/goldens.json, made at 99345ab. What
 * a redesign moves must not move these. `npx tsx test/goldens.ts` computes them again, prints what differs, and then
 * ends with 1; with --write it replaces the file, which is for changes of the mathematics alone, and their commit says
 * why.
 */
import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { mnist } from '../lib/data/index.js'
import {
  adam,
  cht,
  chts,
  chtss,
  type Dataset,
  Device,
  dense,
  gmp,
  granet,
  linearDecay,
  type Method,
  mest,
  mlp,
  type Optimizer,
  recommended,
  rigl,
  set,
  sgd,
  soft,
  staticSparse,
  Trainer,
} from '../lib/index.js'
import { clusters } from './synthetic.js'

/**
 * Of an epoch: mean loss and accuracy of training, then of the samples held out, as hexadecimal doubles. Of the end:
 * links, and a hash of what the network says.
 */
export interface Golden {
  readonly epochs: readonly (readonly [string, string, string, string])[]
  readonly links: readonly number[]
  readonly predictions: string
}

const file = new URL('vectors/goldens.json', import.meta.url)

/**
 * By case: the best level's values, and those of other levels, whose sums differ in their last bits, by case and level.
 */
export const goldens = (): Record<string, Golden> => JSON.parse(readFileSync(file, 'utf8'))

const momentum = () => sgd({ learningRate: linearDecay({ from: 0.05, to: 0.005 }), momentum: 0.9, weightDecay: 5e-4 })

/** The first images of a data set. */
function first(data: Dataset, samples: number): Dataset {
  const { x, labels, features } = data
  return {
    ...data,
    samples,
    x: x.subarray(0, samples * features) as typeof x,
    labels: (labels as Int32Array).subarray(0, samples),
  }
}

let read: ReturnType<typeof mnist> | undefined

/** MNIST, read once, its first 6,000 images, and the first 1,000 to test on. */
async function data() {
  read ??= mnist()
  const { train: all, test } = await read
  return { all, train: first(all, 6000), test: first(test, 1000) }
}

interface Case {
  readonly method: (train: Dataset) => Method
  readonly optimizer?: () => Optimizer
  readonly density?: number
  /** Trained on the whole of MNIST, at the paper's size. */
  readonly whole?: boolean
}

const often = (made: Method): Method => (made.updates ? { ...made, updates: { ...made.updates, every: 40 } } : made)

export const cases: Record<string, Case> = {
  static: { method: () => staticSparse() },
  set: { method: () => often(set()) },
  rigl: { method: () => often(rigl()) },
  mest: { method: () => often(mest()) },
  gmp: { method: () => often(gmp()) },
  granet: { method: () => often(granet()) },
  cht: { method: () => often(cht()) },
  chts: { method: () => often(chts()) },
  'chts, recommended, CH3-L3p': {
    method: (train) => often(chts({ ...recommended({ data: train }), regrow: soft('CH3-L3p') })),
  },
  chtss: { method: () => often(chtss()) },
  dense: { method: () => dense(), density: 1 },
  'chts, adam': { method: () => often(chts()), optimizer: () => adam({ learningRate: 1e-3 }) },
  'chtss, adam': {
    method: () => often(chtss()),
    optimizer: () => adam({ learningRate: 1e-3, weightDecay: 1e-2, decoupled: true }),
  },
  'set, the whole of MNIST': {
    method: () => ({ ...set(), updates: { ...often(set()).updates, every: 400 } }) as Method,
    whole: true,
  },
  'chts, the whole of MNIST': {
    method: () => ({ ...chts(), updates: { ...often(chts()).updates, every: 400 } }) as Method,
    whole: true,
  },
}

function bits(number: number): string {
  const bytes = Buffer.alloc(8)
  bytes.writeDoubleBE(number)
  return bytes.toString('hex')
}

/** Runs a case on a device. */
export async function run(name: string, device: Device): Promise<Golden> {
  const { method, optimizer = momentum, density = 0.05, whole = false } = cases[name] as Case
  const { all, train, test } = await data()
  const model = whole
    ? mlp({ widths: [784, 1568, 1568, 1568, 10], density: 0.01, seed: 3 })
    : mlp({
        widths: [784, 112, 112, 10],
        density,
        seed: 3,
        ...(name.includes('recommended') && { widths: [784, 784, 784, 10] }),
      })
  const trainer = new Trainer(model, { optimizer: optimizer(), dst: method(train), device })
  try {
    const epochs: [string, string, string, string][] = []
    const links: number[] = []
    for await (const epoch of trainer.fit(whole ? all : train, { epochs: 2, batchSize: 32, validation: test })) {
      const { loss, accuracy } = epoch.validation as { loss: number; accuracy: number }
      epochs.push([bits(epoch.trainLoss), bits(epoch.trainAccuracy), bits(loss), bits(accuracy)])
      links.push(epoch.links)
    }
    const logits = await trainer.predict(test)
    return { epochs, links, predictions: createHash('sha256').update(new Uint8Array(logits.buffer)).digest('hex') }
  } finally {
    trainer.dispose()
  }
}

/** The SIMD levels of this processor, best first. */
export function levels(): string[] {
  const device = new Device({ kind: 'cpu' })
  const { detail } = device.info
  device.dispose()
  return ['x86-64-v4', 'x86-64-v3', 'x86-64-v2', 'portable'].filter((level) => detail.includes(level))
}

/** Methods whose runs are saved after half of their epochs, for what later versions make of the file. */
export const saved: Record<string, Case> = {
  set: { method: () => set() },
  mest: { method: () => mest() },
  gmp: { method: () => gmp() },
  rigl: { method: () => rigl() },
  cht: { method: () => cht() },
  chts: { method: () => chts() },
  chtss: { method: () => chtss() },
  'chtss-adam': { method: () => chtss(), optimizer: () => adam({ learningRate: 1e-3 }) },
  dense: { method: () => dense(), density: 1 },
}

export const checkpoint = (name: string): string =>
  fileURLToPath(new URL(`vectors/checkpoints/${name}.safetensors`, import.meta.url))

const small = () => clusters({ samples: 400, features: 48, classes: 4 })

/** Trains from the beginning, and saves the first half's state; only what made the files needs it. */
async function save(name: string): Promise<void> {
  const { method, optimizer = momentum, density = 0.1 } = saved[name] as Case
  const device = new Device({ kind: 'cpu' })
  const model = mlp({ widths: [48, 64, 56, 4], density, seed: 5 })
  const trainer = new Trainer(model, { optimizer: optimizer(), dst: method(small()), device })
  for await (const epoch of trainer.fit(small(), { epochs: 8, batchSize: 32 })) {
    if (epoch.epoch < 4) continue
    await trainer.save(checkpoint(name))
    break
  }
  trainer.dispose()
  device.dispose()
}

/** Goes on with a saved run to its end. */
export async function resumed(name: string, device: Device): Promise<Golden> {
  const trainer = await Trainer.load(checkpoint(name), { device })
  try {
    const epochs: [string, string, string, string][] = []
    const links: number[] = []
    const data = small()
    for await (const epoch of trainer.resume(data, { validation: data })) {
      const { loss, accuracy } = epoch.validation as { loss: number; accuracy: number }
      epochs.push([bits(epoch.trainLoss), bits(epoch.trainAccuracy), bits(loss), bits(accuracy)])
      links.push(epoch.links)
    }
    const { itop, activeNeurons } = await trainer.measures()
    const logits = await trainer.predict(data)
    const predictions = createHash('sha256').update(new Uint8Array(logits.buffer)).digest('hex')
    return { epochs: [...epochs, [bits(itop), bits(activeNeurons), '', '']], links, predictions }
  } finally {
    trainer.dispose()
  }
}

/** What a case must give on a level. */
export const expected = (known: Record<string, Golden>, name: string, level: string): Golden | undefined =>
  known[`${name}, ${level}`] ?? known[name]

async function main(): Promise<void> {
  const write = process.argv.includes('--write')
  const known = write ? {} : goldens()
  const made: Record<string, Golden> = {}
  const compute: Record<string, (device: Device) => Promise<Golden>> = {}
  for (const name of Object.keys(cases)) compute[name] = (device) => run(name, device)
  for (const name of Object.keys(saved)) compute[`${name}, resumed`] = (device) => resumed(name, device)
  if (write) for (const name of Object.keys(saved)) await save(name)
  for (const [name, golden] of Object.entries(compute)) {
    for (const simd of levels()) {
      const device = new Device({ kind: 'cpu', simd })
      const start = performance.now()
      const result = await golden(device)
      device.dispose()
      if (write) {
        made[name] ??= result
        if (JSON.stringify(made[name]) !== JSON.stringify(result)) made[`${name}, ${simd}`] = result
      }
      const same = JSON.stringify(result) === JSON.stringify(expected(write ? made : known, name, simd))
      if (!same) process.exitCode = 1
      console.log(
        `${name}, ${simd}: ${same ? 'same' : 'DIFFERENT'} (${((performance.now() - start) / 1000).toFixed(1)} s)`,
      )
    }
  }
  if (write) writeFileSync(file, `${JSON.stringify(made, null, 1)}\n`)
}

// A module that awaited something at its top could not be loaded by require(), which mocha begins with.
if (process.argv[1]?.endsWith('goldens.ts')) void main()
