/**
 * hebb train: begins a run or goes on with one, and reports every epoch to a person, or with --json as a line. Told to
 * end (ending.ts), it first saves what was trained, where there is a file for it.
 */
import type { Command } from 'commander'
import type { Device } from '../device.js'
import { expect, HebbError } from '../error.js'
import { expectPlace } from '../files.js'
import type { ExecutionForm } from '../nn/parameter.js'
import { sparseLayers } from '../nn/sparse_linear.js'
import { htmlReport } from '../report/html.js'
import {
  bestOf,
  doneEvent,
  type EpochEvent,
  epochEvent,
  figureOf,
  type TopologyEvent,
  topologyEvent,
} from '../report/log.js'
import { intervalOf } from '../settings/flag_types.js'
import {
  type FlagName,
  type Given,
  isSetting,
  read,
  settingsOf,
  takenBy,
  typed,
  valuesOf,
  withDefaults,
} from '../settings/flags.js'
import { count, percent } from '../settings/format.js'
import { isOver, notesIn } from '../train/checkpoint.js'
import { taskOf, told } from '../train/task.js'
import { styled } from './color.js'
import { type Call, define } from './command.js'
import { stopping } from './ending.js'
import { expectFree, REPORT, writeWhole } from './files.js'
import { trainLanguage } from './language.js'
import { ProgressLine, timeLeft } from './progress.js'
import {
  beginRun,
  deviceOf,
  divide,
  networkOf,
  notedPlace,
  notesOf,
  readData,
  resumeRun,
  type TrainingRun,
} from './run.js'
import { TASKS } from './text_run.js'
import { trainTranslation } from './translation.js'

export function defineTrain(program: Command): void {
  define(program, 'train', {
    does: "trains the paper's sparse MLP, a sparse Transformer that translates, or a sparse language model",
    examples: [
      'hebb train --epochs 20',
      'hebb train --method chtss --density 5% --seed 1 --json',
      'hebb train --dataset fashion-mnist --data DIR --optimizer adam --report run.html',
      'hebb train --task regression --data FILE.csv --targets 2 --epochs 20',
      'hebb train --task translation --source F --target F --validation-source F --validation-target F --checkpoint F',
      'hebb train --task translation --from F --source F --target F --validation-source F --validation-target F',
      'hebb train --task lm --data FILE --validation FILE --preset shakespeare --checkpoint F',
      'hebb train --checkpoint run.safetensors --every 5',
      'hebb train --resume run.safetensors',
    ],
    also: TASKS,
    run: trainAny,
  })
}

/** By the task, or by that of the run that is gone on with or begun from. */
async function trainAny(call: Call): Promise<void> {
  const { task, resume, from = resume } = call.texts
  const of = task ?? (typeof from === 'string' ? (await notesIn(from)).task : undefined)
  if (of === 'translation') return trainTranslation(call)
  if (of === 'lm') return trainLanguage(call)
  return train(call)
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

/** A new run, or the one that a checkpoint was saved in; and the folder of its data. */
async function start(
  given: Given,
  device: Device,
): Promise<{ run: TrainingRun; folder: string | undefined; every: string }> {
  if (given.resume === undefined) {
    const values = valuesOf('train', given)
    const settings = settingsOf(values)
    const data = divide(await readData(settings, given.data), settings.validationSplit)
    return { run: beginRun(settings, data, device), folder: given.data, every: given.every ?? '1' }
  }
  const changed = (Object.keys(given) as FlagName[]).find(isSetting)
  expect(
    changed === undefined,
    () => `Expected no --${typed(changed as FlagName)} beside --resume: the run goes on as it began`,
  )
  let folder = given.data
  const run = await resumeRun(given.resume, device, async (settings, notes) => {
    folder ??= notedPlace(notes)
    return divide(await readData(settings, folder, notes), settings.validationSplit)
  })
  return { run, folder, every: given.every ?? run.trainer.notes.every ?? '1' }
}

async function train({ texts, version }: Call): Promise<void> {
  const taken = new Set(takenBy('train'))
  for (const task of TASKS)
    for (const name of takenBy(task))
      expect(
        texts[name] === undefined || taken.has(name),
        () => `Expected --${typed(name)} beside --task ${task}, got it alone`,
      )
  const { given } = read('train', texts)
  if (given.report !== undefined) await expectPlace(given.report, REPORT)
  await expectFree(given)
  using device = deviceOf(withDefaults('train', given))
  const { run, folder, every } = await start(given, device)
  const { settings, data } = run
  const task = taskOf(settings)
  const { figure } = task
  using trainer = run.trainer
  const file = given.checkpoint ?? given.resume
  const notes = { ...notesOf(settings, folder, data), every }
  const widths = [data.train.features, ...trainer.model.modules.flatMap((module) => module.outFeatures ?? [])]
  const layers = sparseLayers(trainer.model)
  const possible = layers.reduce((sum, layer) => sum + layer.inFeatures * layer.outFeatures, 0)
  const density = layers.reduce(
    (sum, layer) => sum + (layer.density * layer.inFeatures * layer.outFeatures) / possible,
    0,
  )
  const first = trainer.run?.epoch ?? 0

  using stop = stopping()
  const say = (line: string) => void (given.json || console.log(line))
  const event = (fields: object) => void (given.json && console.log(JSON.stringify(fields)))
  const { kind, name, simd, threads: running } = device.info
  const heading = styled(`${settings.method} on ${settings.dataset}`, 'bold', process.stdout)
  say(
    `${heading}: ${widths.join('-')}, density ${percent(density)}, seed ${settings.seed}` +
      `${first ? `, from epoch ${first + 1} on` : ''}`,
  )
  say(`${kind}: ${name}${kind === 'cpu' ? `, ${simd}, ${running} threads` : ''} (${device.reason})`)

  const line = new ProgressLine(process.stderr)
  const unsaved = (error: Error) => {
    line.clear()
    console.error(`hebb: the checkpoint was not written, training goes on. ${error.message}`)
    process.exitCode = 1
  }
  const began = performance.now()
  /** Steps that another process did. */
  const before = trainer.step
  const epochs: EpochEvent[] = []
  const topologies: TopologyEvent[] = []
  try {
    const reports = run.epochs({
      signal: stop.signal,
      onProgress({ epoch, epochs: all, step, stepsPerEpoch }) {
        const done = (epoch - 1) * stepsPerEpoch + step
        const left = timeLeft(done - before, all * stepsPerEpoch - done, performance.now() - began)
        const last = epochs.at(-1)
        const loss = last ? [`loss ${last.trainLoss.toFixed(4)}`] : []
        line.draw(`epoch ${epoch}/${all}`, step / stepsPerEpoch, [`${step}/${stepsPerEpoch}`, ...left, ...loss])
      },
      ...(file !== undefined && { checkpoint: { file, ...intervalOf(every, 'every'), notes, onError: unsaved } }),
    })
    for await (const epoch of reports) {
      const reported = epochEvent(epoch, data.part, task)
      epochs.push(reported)
      if (given.report !== undefined && (epochs.length === 1 || (trainer.run && isOver(trainer.run))))
        topologies.push(await topologyEvent(trainer, epoch.epoch, data.train.shape))
      line.clear()
      event(reported)
      for (const change of formChanges(epochs.at(-2)?.forms, epoch.forms)) say(change)
      const update = epoch.updateSeconds ? ` + ${(1000 * epoch.updateSeconds).toFixed(0)} ms update` : ''
      say(
        `epoch ${String(epoch.epoch).padStart(String(settings.epochs).length)}  loss ` +
          `${epoch.trainLoss.toFixed(4)}  ${figure.title} ${told(figure, figureOf(reported, task))}  links ` +
          `${count(epoch.links)} (${percent(epoch.density)})  active ${percent(epoch.activeNeurons, 1)}  ` +
          `${epoch.seconds.toFixed(2)} s${update}`,
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
    process.exitCode = stop.code
    return
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
  if (given.report !== undefined) {
    const title = `${settings.method} on ${settings.dataset}`
    await writeWhole(
      given.report,
      REPORT,
      htmlReport({ title, runs: [{ epochs, topologies, done }], settings: { ...settings } }),
    )
  }
  say('')
  if (trainer.run?.stopped !== undefined) say(`stopped after epoch ${done.epoch}: ${trainer.run.stopped}`)
  say(
    `${styled(`${data.part === 'test' ? 'test' : 'held-out'} ${figure.title}`, 'bold', process.stdout)} ` +
      `${told(figure, figureOf(done, task))} after the ` +
      `last epoch (best: ${told(figure, bestOf(done, task))} in epoch ${done.bestEpoch})`,
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
