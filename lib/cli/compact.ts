/**
 * hebb compact: writes a checkpoint without its inactive neurons, and only where both networks agree on random inputs.
 */
import type { Command } from 'commander'
import { Device } from '../device.js'
import { staticSparse } from '../dst/methods.js'
import { HebbError } from '../error.js'
import { expectPlace, isSameFile } from '../files.js'
import type { Module } from '../nn/module.js'
import type { Sequential } from '../nn/sequential.js'
import { sgd } from '../optim/sgd.js'
import { read, valuesOf } from '../settings/flags.js'
import { count, percent } from '../settings/format.js'
import { expectNoRun } from '../train/checkpoint.js'
import { load, type Predictor } from '../train/predictor.js'
import { CHECKPOINT } from '../train/safetensors.js'
import { Trainer } from '../train/trainer.js'
import { type Call, define } from './command.js'

/**
 * Random inputs that the two networks are compared on, and the largest difference of their outputs, relative to the
 * largest output.
 */
const SAMPLES = 256
const TOLERANCE = 1e-6
/** Predictions that are timed, of each network. */
const REPETITIONS = 31

/** A saved network without its inactive neurons. */
export function defineCompact(program: Command): void {
  define(program, 'compact', {
    does: 'writes a saved network without its inactive neurons, after checking that its outputs stay',
    argument: ['<file>', 'a checkpoint'],
    examples: [
      'hebb compact run.safetensors --out small.safetensors',
      'hebb compact run.safetensors --out small.safetensors --threads 1 --json',
    ],
    run: compact,
  })
}

/**
 * Neurons (input and output included), links, numbers, and bytes of the network itself (no optimizer state, no history)
 * of a network in use. A dense layer's weights are links.
 */
async function sizeOf(model: Sequential): Promise<{ nodes: number; links: number; parameters: number; bytes: number }> {
  let [nodes, links, biases, indices] = [model.inFeatures as number, 0, 0, 0]
  const visit = async (module: Module): Promise<void> => {
    for (const inner of module.children?.values() ?? []) await visit(inner)
    if (module.children || module.outFeatures === undefined) return
    nodes += module.outFeatures
    const [weights, bias] = module.parameters
    const [sparse] = module.sparse
    const count = sparse ? (await sparse.matrix.read()).columnIndices.length : (weights?.capacity ?? 0)
    links += count
    if (sparse) indices += count + sparse.matrix.rows + 1
    biases += bias?.capacity ?? 0
  }
  await visit(model)
  return { nodes, links, parameters: links + biases, bytes: 4 * (links + biases + indices) }
}

async function compact({ argument, texts }: Call): Promise<void> {
  const file = argument as string
  const { threads, json, ...rest } = valuesOf('compact', read('compact', texts).given)
  const out = rest.out as string // required
  if (await isSameFile(out, file))
    throw new HebbError('INVALID_ARGUMENT', `Expected --out to be another file than ${file}, got ${out}`)
  await expectPlace(out, CHECKPOINT)
  await expectNoRun(out)
  using device = new Device({ kind: 'cpu', threads })
  using original = await load(file, { device })
  // No method draws anything here: the trainer is what saves a model. Its optimizer has no state that would lie in the
  // file.
  using trainer = new Trainer(await original.model.compact(), {
    optimizer: sgd({ learningRate: 0.01 }),
    dst: staticSparse(),
    device,
    trackHistory: false,
    format: original.format,
  })
  const x = Float32Array.from({ length: SAMPLES * (original.model.inFeatures as number) }, () => 4 * Math.random() - 2)
  const outputs = (model: Predictor | Trainer) => model.predict(x, { raw: false })
  const [whole, less] = [await outputs(original), await outputs(trainer)]
  const scale = whole.reduce((most, output) => Math.max(most, Math.abs(output)), Number.MIN_VALUE)
  const difference =
    whole.reduce((most, output, i) => Math.max(most, Math.abs(output - (less[i] as number))), 0) / scale
  if (!(difference <= TOLERANCE))
    throw new HebbError(
      'INTERNAL',
      `Expected outputs within ${TOLERANCE} of those of ${file}, got a difference of ${difference}. ${out} was ` +
        'not written.',
    )
  await trainer.save(out, { notes: original.notes })
  // In turns, so that what else the machine does falls on both.
  const times: [number[], number[]] = [[], []]
  for (let i = 0; i < 2 * REPETITIONS; ++i) {
    const start = performance.now()
    await outputs(i % 2 ? trainer : original)
    times[i % 2 ? 1 : 0].push(performance.now() - start)
  }
  const median = (list: number[]) => list.sort((one, two) => one - two)[REPETITIONS >> 1] as number
  const before = { ...(await sizeOf(original.model)), milliseconds: median(times[0]) }
  const after = { ...(await sizeOf(trainer.model)), milliseconds: median(times[1]) }
  if (json) {
    console.log(JSON.stringify({ file, out, before, after, difference, samples: SAMPLES }))
    return
  }
  for (const what of ['nodes', 'links', 'parameters', 'bytes'] as const)
    console.log(
      `${what.padEnd(11)}${count(before[what])} -> ${count(after[what])} (${percent(after[what] / before[what], 1)})`,
    )
  console.log(
    `inference  ${before.milliseconds.toFixed(2)} -> ${after.milliseconds.toFixed(2)} ms for ${SAMPLES} random samples`,
  )
  console.log(`outputs    differ by at most ${difference.toExponential(1)} of the largest`)
}
