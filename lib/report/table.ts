/** Runs that differ in their seed alone, as one row of a table: mean and standard error over the seeds. */
import { type ColumnName, columns, type Settings } from '../settings/flags.js'
import { densityText } from '../settings/format.js'
import { type Figure, type FigureName, isBetter, type TaskName, taskOf, tasks } from '../train/task.js'
import { bestOf, capital, type DoneEvent, figureOf, type Part, type Run } from './log.js'

interface Spread {
  readonly mean: number
  /** Standard error of the mean; absent for one run. */
  readonly error?: number
}

/** What runs may be given in place of what their method or optimizer has. */
type Parts = Partial<Pick<Settings, ColumnName>>

/** The figure after the last epoch, and of each run's best epoch: picked on the very samples that it is measured on. */
type Figures = Readonly<Partial<Record<FigureName | `best${Capitalize<FigureName>}`, Spread>>>

export interface Row extends Parts, Figures {
  /** Absent: they classify. */
  readonly task?: TaskName
  readonly dataset: string
  readonly method: string
  /** The initial network's. */
  readonly topology: string
  readonly density: number
  readonly epochs: number
  /** Of the runs that ended well. */
  readonly seeds: readonly number[]
  /** What the figures are of. */
  readonly measuredOn: Part
  readonly activeNeurons: Spread
  readonly itop: Spread
  /** Steps and topology updates, without evaluation. */
  readonly secondsPerEpoch: Spread
  readonly links: Spread
  /** Runs that failed, with why. */
  readonly failed: readonly { readonly seed: number; readonly code: string; readonly message: string }[]
}

export function spread(values: readonly number[]): Spread {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length
  if (values.length < 2) return { mean }
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1)
  return { mean, error: Math.sqrt(variance / values.length) }
}

/**
 * What is the same in all runs of a row. Early logs have no settings: what they were asked for is then read off what
 * came out.
 */
function identityOf({
  done,
  failed,
}: Run): Pick<Row, 'task' | 'dataset' | 'method' | 'topology' | ColumnName | 'density' | 'epochs'> | undefined {
  const settings: Settings | undefined = done?.settings ?? failed?.settings
  if (settings) {
    const { task, dataset, method, density, epochs } = settings
    const parts = Object.fromEntries(
      columns.flatMap(({ name }) => (settings[name] !== undefined ? [[name, settings[name]]] : [])),
    )
    return {
      ...(task && { task }),
      ...{ dataset, method, topology: settings.topology ?? done?.topology ?? '' },
      ...{ ...parts, density, epochs },
    }
  }
  return (
    done && {
      dataset: done.dataset,
      method: done.method,
      topology: done.topology,
      density: Number(done.density.toFixed(4)),
      epochs: done.epochs,
    }
  )
}

/**
 * Runs of one row, by what they have in common; in the order of the first of each. Runs that are not finished belong to
 * none.
 */
export function groupRuns(runs: readonly Run[]): Run[][] {
  const groups = new Map<string, Run[]>()
  for (const run of runs) {
    const identity = identityOf(run)
    if (!identity) continue
    // A failed run does not know its method's topology.
    const { topology: _, ...rest } = identity
    const asked =
      (run.done?.settings ?? run.failed?.settings)?.topology ??
      (run.done?.settings || run.failed ? '' : identity.topology)
    const key = JSON.stringify([rest, asked])
    groups.set(key, [...(groups.get(key) ?? []), run])
  }
  return [...groups.values()]
}

export function tableOf(runs: readonly Run[]): Row[] {
  return groupRuns(runs).map((group) => {
    const done = group.flatMap((run) => run.done ?? []).sort((a, b) => a.seed - b.seed)
    const all = (read: (run: DoneEvent) => number) => spread(done.map(read))
    const identity = identityOf(group.find((run) => run.done) ?? (group[0] as Run)) as NonNullable<
      ReturnType<typeof identityOf>
    >
    const task = taskOf(identity)
    const validation = group.some((run) => ((run.done?.settings ?? run.failed?.settings)?.validationSplit ?? 0) > 0)
    return {
      ...identity,
      seeds: done.map((run) => run.seed),
      measuredOn: validation ? 'validation' : 'test',
      [task.figure.name]: all((run) => figureOf(run, task)),
      [best(task.figure)]: all((run) => bestOf(run, task)),
      activeNeurons: all((run) => run.activeNeurons),
      itop: all((run) => run.itop),
      secondsPerEpoch: all((run) => (run.seconds + run.updateSeconds) / run.epochs),
      links: all((run) => run.links),
      failed: group.flatMap(({ failed }) =>
        failed ? [{ seed: failed.settings.seed, code: failed.code, message: failed.message }] : [],
      ),
    }
  })
}

const best = ({ name }: Figure) => `best${capital(name)}` as const

/** Figures of some rows, in the order of the tasks. */
const figuresOf = (rows: readonly Row[]): Figure[] =>
  Object.values(tasks).flatMap(({ name, figure }) => (rows.some((row) => taskOf(row).name === name) ? [figure] : []))

/** The row with the better figure first: for rows of one task. */
export function betterFirst(a: Row, b: Row): number {
  const { figure } = taskOf(a)
  const [one, two] = [a, b].map((row) => row[figure.name]?.mean ?? Number.NaN) as [number, number]
  return isBetter(figure, one, two) ? -1 : isBetter(figure, two, one) ? 1 : 0
}

const numberText = (value: number, text: (value: number) => string) => (Number.isFinite(value) ? text(value) : '-')

function spreadText({ mean, error }: Spread, text: (value: number) => string): string {
  return error === undefined ? numberText(mean, text) : `${numberText(mean, text)} ± ${numberText(error, text)}`
}

const percents = (spread: Spread) => spreadText(spread, (share) => (100 * share).toFixed(1))
const whole = (n: number) => (Number.isFinite(n) ? Math.round(n).toLocaleString('en-US') : '-')

/** The table's head and cells, as texts. */
export function tableTexts(rows: readonly Row[]): { head: string[]; body: string[][] } {
  const on = rows.some((row) => row.measuredOn === 'validation') ? 'validation' : 'test'
  const figures = figuresOf(rows)
  const parts = columns.filter(({ name }) => rows.some((row) => row[name] !== undefined))
  return {
    head: [
      ...['data', 'method', 'network', ...parts.map(({ title }) => title), 'density %', 'seeds'],
      ...figures.flatMap(({ title, unit }) => [
        `${on} ${title}${unit && ` ${unit}`}, last epoch`,
        `best epoch (picked on the ${on} set)`,
      ]),
      ...['active neurons %', 'ITOP %', 's an epoch', 'links'],
    ],
    body: rows.map((row) => [
      ...[row.dataset, row.method, row.topology],
      ...parts.map(({ name, text }) => (row[name] === undefined ? '' : text(row[name]))),
      densityText(row.density),
      [row.seeds.join(', '), ...row.failed.map(({ seed, code }) => `${seed}: ${code}`)].filter(Boolean).join('; '),
      ...figures.flatMap((figure) =>
        [row[figure.name], row[best(figure)]].map((one) => (one ? spreadText(one, figure.text) : '')),
      ),
      ...[percents(row.activeNeurons), percents(row.itop)],
      numberText(row.secondsPerEpoch.mean, (seconds) => seconds.toPrecision(3)),
      whole(row.links.mean),
    ]),
  }
}

/** For a terminal, and for Markdown. */
export function markdownTable(rows: readonly Row[]): string {
  const { head, body } = tableTexts(rows)
  const widths = head.map((title, i) => Math.max(title.length, ...body.map((cells) => (cells[i] as string).length)))
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, i) => cell.padEnd(widths[i] as number)).join(' | ')} |`
  return [line(head), `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`, ...body.map(line)].join('\n')
}

/** Fractions of 1, seconds and counts as numbers, one row a line. */
export function csvTable(rows: readonly Row[]): string {
  const spreads = [
    ...figuresOf(rows).flatMap((figure) => [figure.name, best(figure)]),
    ...(['activeNeurons', 'itop', 'secondsPerEpoch', 'links'] as const),
  ]
  const parts = columns.flatMap(({ name, always }) =>
    always || rows.some((row) => row[name] !== undefined) ? [name] : [],
  )
  const head = ['dataset', 'method', 'topology', ...parts, 'density', 'epochs', 'measuredOn', 'seeds', 'failed']
  const quoted = (value: unknown) => {
    const text = value === undefined || Number.isNaN(value) ? '' : String(value)
    return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
  }
  const lines = rows.map((row) => [
    ...[
      row.dataset,
      row.method,
      row.topology,
      ...parts.map((part) => row[part]),
      row.density,
      row.epochs,
      row.measuredOn,
      row.seeds.join(' '),
    ],
    row.failed.map(({ seed, code }) => `${seed}:${code}`).join(' '),
    ...spreads.flatMap((name) => [row[name]?.mean, row[name]?.error]),
  ])
  const names = [...head, ...spreads.flatMap((name) => [name, `${name}StandardError`])]
  return `${[names, ...lines].map((line) => line.map(quoted).join(',')).join('\n')}\n`
}
