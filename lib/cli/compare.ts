/**
 * Runs a matrix of methods, densities, seeds and data sets, each cell a run of its own, and makes one table of them.
 * All that is known lies in the folder, so a process that is killed at any time is followed by one that goes on:
 *
 *   plan.json           what was asked for; a folder never holds the cells of two plans
 *   cells/NAME.jsonl    the log of a cell; finished when its last line is 'done', or 'failed' for a reason that will
 *                       not pass
 *   cells/NAME.safetensors  the cell's last checkpoint, always written after the log of its epochs
 *   table.csv, results.json, report.html  made of the logs alone, at the end
 */
import { appendFile, mkdir, readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import type { Command } from 'commander'
import type { Device } from '../device.js'
import { cannotWrite, expect, HebbError, show } from '../error.js'
import { type Lock, lock } from '../lock.js'
import { htmlReport } from '../report/html.js'
import {
  doneEvent,
  type EpochEvent,
  epochEvent,
  type FailedEvent,
  figureOf,
  type LogEvent,
  parseEvents,
  type Run,
  runOf,
  topologyEvent,
} from '../report/log.js'
import { csvTable, markdownTable, tableOf } from '../report/table.js'
import { datasets } from '../settings/datasets.js'
import { isDense } from '../settings/flag_table.js'
import { intervalOf } from '../settings/flag_types.js'
import {
  type FlagName,
  type Given,
  type ListName,
  type Lists,
  lists,
  needOf,
  planKeys,
  read,
  type Settings,
  settingsOf,
  sharedSettings,
  type Texts,
  typed,
  valuesOf,
  withDefaults,
} from '../settings/flags.js'
import { suggestion } from '../suggestion.js'
import { isOver } from '../train/checkpoint.js'
import { taskOf, told } from '../train/task.js'
import { define } from './command.js'
import { stopping } from './ending.js'
import { JSON_OBJECT, LOG, REPORT, TABLE, writeWhole } from './files.js'
import { ProgressLine, timeLeft } from './progress.js'
import {
  beginRun,
  deviceOf,
  divide,
  networkOf,
  notesOf,
  type RunData,
  readData,
  resumeRun,
  type TrainingRun,
} from './run.js'

export function defineCompare(program: Command): void {
  define(program, 'compare', {
    does:
      'trains by every method at every density, with every seed, on every data set, and makes one table; goes on ' +
      'where it was stopped',
    argument: [
      '[plan]',
      'a JSON file with these flags: {"methods": ["chts", "set"], "seeds": [0, 1, 2], "epochs": 100, "out": "folder"}',
    ],
    examples: [
      'hebb compare --methods chts,set --densities 1%,5% --seeds 0,1,2 --epochs 20 --out study',
      'hebb compare --methods chts --datasets mnist,fashion-mnist --data fashion-mnist=DIR --out both',
      'hebb compare plan.json --out again',
    ],
    async run({ argument, texts, version }) {
      await compare(argument === undefined ? texts : await withPlan(argument, texts), version)
    },
  })
}

/** The flags, with what a plan file says where the command line says nothing. */
async function withPlan(file: string, texts: Texts): Promise<Texts> {
  const text = await readFile(file, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    throw new HebbError('MISSING_FILE', `Expected a plan in ${file}, got none that can be read: ${cause.message}`, {
      cause,
    })
  })
  let plan: unknown
  try {
    plan = JSON.parse(text)
  } catch (cause) {
    throw new HebbError('BAD_FILE', `Expected the plan ${file} to be JSON: ${(cause as Error).message}`, { cause })
  }
  expect(
    typeof plan === 'object' && plan !== null && !Array.isArray(plan),
    () => `Expected the plan ${file} to be an object, got ${show(plan)}`,
  )
  const planned: Record<string, string> = {}
  for (const [key, value] of Object.entries(plan as object)) {
    expect(
      planKeys.includes(key),
      () =>
        `Expected the plan ${file} to hold only ${planKeys.join(', ')}, got ${show(key)}${suggestion(key, planKeys)}`,
    )
    planned[key] = planText(value, key)
  }
  return { ...planned, ...texts }
}

/** A plan's value as its flag would be given. */
function planText(value: unknown, key: string): string {
  const isPlain = (one: unknown) => typeof one === 'number' || typeof one === 'string'
  if (isPlain(value)) return String(value)
  if (Array.isArray(value) && value.length > 0 && value.every(isPlain)) return value.join(',')
  const isPlaces =
    key === 'data' &&
    typeof value === 'object' &&
    value !== null &&
    Object.values(value).every((place) => typeof place === 'string')
  expect(
    isPlaces,
    () => `Expected the plan's ${show(key)} to be a number, a text or a list of these, got ${show(value)}`,
  )
  return JSON.stringify(value)
}

/** NAME=DIR,NAME=DIR: a comma that no data set's name follows, and a second =, belong to a folder. */
function listed(text: string): [name: string, place: string][] {
  const name = `(?:${Object.keys(datasets).join('|')})`
  if (!new RegExp(`^\\s*${name}=`).test(text)) return []
  return text.split(new RegExp(`,(?=\\s*${name}=)`)).map((entry) => {
    const at = entry.indexOf('=')
    return [entry.slice(0, at).trim(), entry.slice(at + 1)]
  })
}

/** { "NAME": "DIR" } */
function objectOf(text: string): [name: string, place: string][] {
  let places: unknown
  try {
    places = JSON.parse(text)
  } catch {} // refused below
  const entries = Object.entries(Object(places)) as [string, string][]
  expect(
    entries.length > 0 && entries.every(([, place]) => typeof place === 'string'),
    () => `Expected --data to be folders by data sets such as {"mnist": "DIR"}, got ${text}`,
  )
  return entries
}

/** Folders by data set: that of the only one, a list, or an object as plans have it. */
function placesOf(text: string | undefined, names: readonly string[]): Record<string, string> {
  if (text === undefined) return {}
  const places = text.startsWith('{') ? objectOf(text) : listed(text)
  if (places.length === 0) {
    expect(
      names.length === 1,
      () =>
        'Expected --data to tell the folder of each data set, as in ' +
        `${names.map((name) => `${name}=DIR`).join(',')}, got ${show(text)}`,
    )
    return { [names[0] as string]: text }
  }
  for (const [i, [name]] of places.entries()) {
    expect(
      names.includes(name),
      () => `Expected --data to name data sets of this comparison, ${names.join(', ')}, got ${show(name)}`,
    )
    const isFirst = places.findIndex(([other]) => other === name) === i
    expect(isFirst, () => `Expected every entry of --data once, got ${show(name)} twice`)
  }
  return Object.fromEntries(places)
}

/** One run of the matrix. */
interface Cell {
  readonly name: string
  readonly settings: Settings
  readonly log: string
  readonly checkpoint: string
}

/** All cells in the order in which they run: a data set, a density and a method after the other, the seeds together. */
function cellsOf(given: Given, lists: Lists, out: string): Cell[] {
  const { task } = given
  expect(
    task !== 'translation' && task !== 'lm',
    () =>
      `Expected --task to be 'classification' or 'regression', got '${task}', which is not compared yet. Run hebb ` +
      `train --task ${task} with a --checkpoint for each method, density and seed, then hebb evaluate FILE ` +
      `${task === 'lm' ? '--data F' : '--source F --target F'} --json on each.`,
  )
  // Without a list, what holds by default: of the density, by the method.
  const none = withDefaults('compare', given)
  const { dataset = [none.dataset], method: chosen = [none.method], seed: seeds = [none.seed] } = lists
  // What only some of the methods, or of the data sets, have a use for.
  const partial = (Object.keys(given) as FlagName[]).flatMap((name) => {
    const need = needOf(name)
    const isListed = need?.of === 'method' || need?.of === 'dataset'
    return isListed ? [{ name, ...need, among: { method: chosen, dataset }[need.of] }] : []
  })
  for (const { name, met, having, among } of partial)
    expect(
      among.some(met),
      () => `Expected no --${typed(name)}, as none of ${among.join(', ')} ${having}, got ${show(given[name])}`,
    )
  const cells: Cell[] = []
  for (const one of dataset)
    for (const [i, density] of (lists.density ?? [undefined]).entries())
      for (const method of chosen) {
        // Of one density alone, a dense network runs once.
        if (isDense(method) && i > 0) continue
        const useless = partial.filter(({ of, met }) => !met({ method, dataset: one }[of as 'method' | 'dataset']))
        for (const seed of seeds) {
          const asked = { ...given, ...Object.fromEntries(useless.map(({ name }) => [name, undefined])) }
          const cell = { dataset: one, method, seed, density: isDense(method) ? undefined : density }
          const settings = settingsOf(valuesOf('compare', { ...asked, ...cell }))
          const name = `${one}-${method}-${settings.density}-seed${seed}`
          expect(!cells.some((cell) => cell.name === name), () => `Expected every cell once, got ${name} twice`)
          cells.push({
            name,
            settings,
            log: join(out, 'cells', `${name}.jsonl`),
            checkpoint: join(out, 'cells', `${name}.safetensors`),
          })
        }
      }
  return cells
}

/** What a comparison is asked for, as its folder keeps it. */
function planOf(cells: readonly Cell[]): Record<string, unknown> {
  const all = cells.map(({ settings }) => settings)
  const unique = (name: ListName) => [...new Set(all.map((settings) => settings[name]))]
  const shared = sharedSettings.map(({ name, byDataset }) => [
    name,
    byDataset
      ? Object.fromEntries(all.map((settings) => [settings.dataset, settings[name]]))
      : all.find((settings) => settings[name] !== undefined)?.[name],
  ])
  return {
    ...Object.fromEntries(Object.entries(lists).map(([name, list]) => [list, unique(name as ListName)])),
    ...Object.fromEntries(shared.filter(([, value]) => value !== undefined)),
  }
}

async function append(file: string, event: LogEvent): Promise<void> {
  await appendFile(file, `${JSON.stringify(event)}\n`).catch((error) => {
    throw cannotWrite(file, error)
  })
}

async function readIfThere(file: string): Promise<string | undefined> {
  return readFile(file, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') return undefined
    throw new HebbError('BAD_FILE', `Expected to be able to read ${file}: ${cause.message}`, { cause })
  })
}

const LOCK = '.lock'

/** Makes the folder, or refuses one that is of another plan, or that another process works on. */
async function claim(out: string, plan: Record<string, unknown>): Promise<Lock> {
  let owned: Lock
  try {
    await mkdir(join(out, 'cells'), { recursive: true })
    owned = lock(out, join(out, LOCK))
  } catch (error) {
    throw error instanceof HebbError ? error : cannotWrite(out, error as NodeJS.ErrnoException)
  }
  try {
    await expectPlan(out, plan)
    return owned
  } catch (error) {
    owned.release()
    throw error
  }
}

async function expectPlan(out: string, plan: Record<string, unknown>): Promise<void> {
  const file = join(out, 'plan.json')
  const text = await readIfThere(file)
  if (text === undefined) {
    const there = (await readdir(out)).filter((name) => ![LOCK, 'cells'].includes(name) && !name.endsWith('.tmp'))
    const cells = await readdir(join(out, 'cells'))
    expect(
      there.length + cells.length === 0,
      () =>
        `Expected ${out} to be an empty folder or one of this comparison, got ${show([...there, ...cells][0])} ` +
        'in it. Give another --out.',
    )
    return writeWhole(file, JSON_OBJECT, `${JSON.stringify(plan, null, 2)}\n`)
  }
  let known: Record<string, unknown>
  try {
    known = JSON.parse(text)
  } catch (cause) {
    throw new HebbError('BAD_FILE', `Expected ${file} to be the JSON that hebb wrote. Give another --out.`, { cause })
  }
  const [asked, had] = [plan, known].map((one) => flat(one))
  const differing = [...new Set([...Object.keys(asked as object), ...Object.keys(had as object)])].find(
    (key) => asked?.[key] !== had?.[key],
  )
  expect(
    differing === undefined,
    () =>
      `Expected ${out} to be of this comparison, got one whose ${differing} is ` +
      `${had?.[differing as string] ?? 'not given'} and not ${asked?.[differing as string] ?? 'left out'}. Ask ` +
      'for the same, or give another --out.',
  )
}

/** Every value of a plan as text, by its place. */
function flat(value: unknown, path = ''): Record<string, string> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return { [path]: JSON.stringify(value) }
  return Object.assign({}, ...Object.entries(value).map(([key, inner]) => flat(inner, path ? `${path}.${key}` : key)))
}

/** Whether a cell is not to be run again: a run whose numbers ended will end there again. */
function isFinished(run: Run): boolean {
  return run.done !== undefined || run.failed?.code === 'NON_FINITE'
}

async function compare(texts: Texts, version: string): Promise<void> {
  const { given, lists: asked } = read('compare', texts)
  const out = given.out as string // required
  const interval = intervalOf(given.every ?? '1', 'every')
  expect('everyEpochs' in interval, () => `Expected --every to be a number of epochs, got ${given.every}`)
  const every = interval.everyEpochs
  const cells = cellsOf(given, asked, out)
  const { epochs, validationSplit } = (cells[0] as Cell).settings
  const names = [...new Set(cells.map((cell) => cell.settings.dataset))]
  const places = placesOf(given.data, names)
  using device = deviceOf(withDefaults('compare', given))
  const whole = new Map<string, Awaited<ReturnType<typeof readData>>>()
  const settingsOn = (name: string) => (cells.find(({ settings }) => settings.dataset === name) as Cell).settings
  for (const name of names) whole.set(name, await readData(settingsOn(name), places[name]))
  const data = new Map<string, RunData>()
  const checksums: Record<string, string> = {}
  for (const [name, both] of whole) {
    data.set(name, divide(both, validationSplit))
    checksums[name] = both.notes.checksum
  }
  const plan = { version, device: device.info.kind, ...planOf(cells), checksums }
  using _owned = await claim(out, plan)

  const task = taskOf((cells[0] as Cell).settings)
  using stop = stopping()
  const line = new ProgressLine(process.stderr)
  const say = (text: string) => void (given.json || console.log(text))
  const warn = (text: string) => {
    line.clear()
    console.error(`hebb: ${text}`)
  }
  const runs: Run[] = []
  /** Epochs in all, those that are behind, and those that this process has trained. */
  const work = { all: cells.length * epochs, behind: 0, trained: 0, began: performance.now() }
  try {
    for (const [i, cell] of cells.entries()) {
      const had = runOf(parseEvents((await readIfThere(cell.log)) ?? ''), cell.log)
      if (isFinished(had)) {
        runs.push(had)
        work.behind += epochs
        continue
      }
      const behind = work.behind
      const draw = (done: number, epoch: number, step: string) => {
        const trained = work.trained + done - epoch
        const left = timeLeft(trained, work.all - behind - done, performance.now() - work.began)
        line.draw(
          `${i + 1}/${cells.length} ${cell.name} epoch ${Math.min(epochs, Math.floor(done) + 1)}/${epochs}`,
          (behind + done) / work.all,
          [step, ...left].join(', '),
        )
      }
      const run = await runCell(cell, {
        device,
        data: data.get(cell.settings.dataset) as RunData,
        folder: places[cell.settings.dataset],
        had,
        version,
        draw,
        warn,
        ...{ signal: stop.signal, every },
      })
      work.behind += epochs
      work.trained += run.epochs.length - run.begun
      runs.push(run)
      line.clear()
      const { done, failed } = run
      say(
        `${String(i + 1).padStart(String(cells.length).length)}/${cells.length} ${cell.name}: ` +
          (done
            ? `${told(task.figure, figureOf(done, task))} after ${done.epochs} epochs`
            : `failed after ${failed?.epochs} epochs, ${failed?.code}`),
      )
      if (failed) warn(`${cell.name} failed. ${failed.message}`)
    }
  } catch (error) {
    line.clear()
    if (!(error instanceof HebbError) || error.code !== 'ABORTED') throw error
    say(`stopped with ${runs.length} of ${cells.length} runs done; the same command goes on`)
    process.exitCode = stop.code
    return
  }
  const table = tableOf(runs)
  const results = { plan, table, runs: runs.flatMap(({ done, failed }) => done ?? failed ?? []) }
  await writeWhole(join(out, 'table.csv'), TABLE, csvTable(table))
  await writeWhole(join(out, 'results.json'), JSON_OBJECT, `${JSON.stringify(results, null, 2)}\n`)
  await writeWhole(
    join(out, 'report.html'),
    REPORT,
    htmlReport({
      title: `${[...new Set(cells.map((cell) => cell.settings.method))].join(', ')} on ${names.join(', ')}`,
      runs,
      settings: plan,
    }),
  )
  if (given.json) console.log(JSON.stringify(results))
  say(`\n${markdownTable(table)}\n\n${out}: table.csv, results.json, report.html`)
  if (runs.some((run) => run.failed)) process.exitCode = 1
}

interface CellOptions {
  readonly device: Device
  readonly data: RunData
  readonly folder: string | undefined
  /** What the cell's log tells by now. */
  readonly had: Run
  readonly version: string
  readonly signal: AbortSignal
  /** Epochs between checkpoints. */
  readonly every: number
  /**
   * Epochs done, with the part of the one that runs; how many of them an earlier process did; and where in the epoch.
   */
  draw(done: number, begun: number, step: string): void
  warn(text: string): void
}

/** Runs a cell to its end, from its checkpoint if it has one. */
async function runCell(cell: Cell, options: CellOptions): Promise<Run & { begun: number }> {
  const { settings, log, checkpoint } = cell
  const { device, data, folder, signal, every, version, draw, warn } = options
  const notes = notesOf(settings, folder, data)
  let [known, begun]: [LogEvent[], number] = [[], 0]
  const tell = async (event: LogEvent) => {
    await append(log, event)
    known.push(event)
  }
  const began = performance.now()
  let run: TrainingRun | undefined
  try {
    run = await goOn(cell, options)
    begun = run?.trainer.run?.epoch ?? 0
    known = [...options.had.epochs, ...options.had.topologies]
      .filter(({ epoch }) => epoch <= begun)
      .sort((a, b) => a.epoch - b.epoch)
    await writeWhole(log, LOG, known.map((event) => `${JSON.stringify(event)}\n`).join(''))
    run ??= beginRun(settings, data, device)
    const { trainer } = run
    const isNew = begun === 0
    if (!(trainer.run && isOver(trainer.run))) {
      const epochs = run.epochs({
        signal,
        onProgress: ({ epoch, step, stepsPerEpoch }) =>
          draw(epoch - 1 + step / stepsPerEpoch, begun, `${step}/${stepsPerEpoch}`),
      })
      for await (const epoch of epochs) {
        await tell(epochEvent(epoch, data.part, taskOf(settings)))
        if ((epoch.epoch === 1 && isNew) || (trainer.run && isOver(trainer.run)))
          await tell(await topologyEvent(trainer, epoch.epoch, data.train.shape))
        // After the log: what a checkpoint has done is in the log, whenever the process is killed.
        const isLast = trainer.run !== undefined && isOver(trainer.run)
        if (epoch.epoch % every === 0 || isLast) await save(trainer, checkpoint, notes, warn)
      }
    }
    const epochs = known.filter((event): event is EpochEvent => event.event === 'epoch')
    await tell(
      doneEvent(epochs, {
        settings,
        steps: trainer.step,
        samples: data.train.samples,
        // Of this process: one that was killed has told nobody how long it ran.
        wallSeconds: (performance.now() - began) / 1000,
        topology: networkOf(trainer.method),
        device: device.info,
        version,
      }),
    )
  } catch (error) {
    if (!(error instanceof HebbError) || error.code === 'CANNOT_WRITE') throw error
    if (error.code === 'ABORTED') {
      if (run) await save(run.trainer, checkpoint, notes, warn)
      throw error
    }
    const failed: FailedEvent = {
      event: 'failed',
      code: error.code,
      message: error.message,
      epochs: run?.trainer.run?.epoch ?? 0,
      settings,
    }
    await tell(failed)
  } finally {
    run?.trainer.dispose()
  }
  return { ...runOf(known, log), begun }
}

/** The cell's run as its checkpoint has it; none when there is no checkpoint, or one that its log does not reach. */
async function goOn(cell: Cell, { device, data, had, warn }: CellOptions): Promise<TrainingRun | undefined> {
  let run: TrainingRun
  try {
    run = await resumeRun(cell.checkpoint, device, async () => data)
  } catch (error) {
    if (!(error instanceof HebbError)) throw error
    if (error.code === 'BAD_FILE') {
      warn(`${cell.name} begins anew. ${error.message}`)
      await rm(cell.checkpoint)
    } else if (error.code !== 'MISSING_FILE') throw error
    return undefined
  }
  const { trainer, settings } = run
  const isSame = isDeepStrictEqual(settings, JSON.parse(JSON.stringify(cell.settings)))
  if (isSame && trainer.run && had.epochs.length >= trainer.run.epoch && (had.epochs[0]?.epoch ?? 1) === 1) return run
  trainer.dispose()
  expect(
    isSame,
    () =>
      `Expected ${cell.checkpoint} to be of the run ${cell.name}, got one of ${show(settings)}. Remove it, or ` +
      'give another --out.',
  )
  return undefined
}

async function save(
  trainer: TrainingRun['trainer'],
  file: string,
  notes: Record<string, string>,
  warn: (text: string) => void,
): Promise<void> {
  try {
    await trainer.save(file, { notes })
  } catch (error) {
    if (!(error instanceof HebbError) || error.code !== 'CANNOT_WRITE') throw error
    warn(`the checkpoint was not written, training goes on. ${error.message}`)
  }
}
