/**
 * What a run of run.sh found, as one file and one table: `node report.js FOLDER` reads what its parts left there and
 * writes FOLDER/result.json. `tsx bench/gpu/report.ts --markdown FILE` prints README's table of such a file. Loads
 * nothing of hebb: it has to report an addon that does not load.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

interface Row {
  readonly name: string
  readonly operation: string
  readonly library: string
  readonly rows?: number
  readonly cols?: number
  readonly density?: number
  readonly batch?: number
  readonly item?: string
  readonly medianSeconds: number
  readonly minSeconds: number
  readonly maxSeconds: number
  readonly nsPerItem?: number
  readonly gflops?: number
  readonly rooflineShare?: number
  readonly bound?: string
}

interface Part {
  readonly name: string
  /** 'passed', 'failed: why' or 'skipped: why'. */
  readonly outcome: string
  readonly seconds: number
}

interface Tests {
  readonly passed: number
  readonly skipped: number
  /** Names of the tests that failed. */
  readonly failed: readonly string[]
  /** Whether all of them came to an end. */
  readonly complete: boolean
}

interface Result {
  readonly date: string
  readonly hebb: string
  readonly node: string
  readonly device: string
  readonly detail: string
  /** What nvidia-smi says: name, driver, highest clocks, power limit. */
  readonly driver?: string
  readonly quick: boolean
  readonly versions: { readonly [library: string]: string }
  readonly parts: readonly Part[]
  readonly tests?: Tests
  /** The last line of the training run. */
  readonly training?: {
    readonly testAccuracy: number
    readonly epochs: number
    readonly stepSeconds: number
    readonly updateSeconds: number
  }
  readonly notes: readonly string[]
  readonly rates: readonly object[]
  readonly rows: readonly Row[]
}

const text = (path: string): string | undefined => (existsSync(path) ? readFileSync(path, 'utf8') : undefined)

/** A part that was stopped leaves half a file, or none. */
function json(path: string): Record<string, unknown> {
  try {
    return JSON.parse(text(path) ?? '{}')
  } catch {
    return {}
  }
}

/** Counts what mocha's TAP reporter printed. */
export function testsOf(tap: string): Tests {
  const lines = tap.split('\n')
  const ran = lines.filter((line) => /^(not )?ok \d/.test(line))
  return {
    passed: ran.filter((line) => line.startsWith('ok') && !/# SKIP/.test(line)).length,
    skipped: ran.filter((line) => /# SKIP/.test(line)).length,
    failed: ran.filter((line) => line.startsWith('not ok')).map((line) => line.replace(/^not ok \d+ /, '')),
    complete: lines.some((line) => /^# tests \d/.test(line)),
  }
}

/** The training run's last event, if it got there. */
function trainingOf(log: string | undefined): Result['training'] {
  const done = log?.split('\n').find((line) => line.startsWith('{"event":"done"'))
  return done === undefined ? undefined : JSON.parse(done)
}

function collect(folder: string): Result {
  const kernels = json(join(folder, 'kernels.json'))
  const peers = json(join(folder, 'peers.json'))
  const detail = text(join(folder, 'device.log'))?.trim() ?? ''
  const parts = (text(join(folder, 'parts.tsv')) ?? '')
    .split('\n')
    .filter(Boolean)
    .map((line): Part => {
      const [name = '', outcome = '', seconds = ''] = line.split('\t')
      return { name, outcome, seconds: Number(seconds) }
    })
  const log = text(join(folder, 'tests.log'))
  const training = trainingOf(text(join(folder, 'train.log')))
  const driver = text(join(folder, 'driver.txt'))?.trim()
  const label = (rows: unknown, library: string) =>
    ((rows ?? []) as Omit<Row, 'library'>[]).map((row) => ({ ...row, library }))
  return {
    date: new Date().toISOString(),
    hebb: (json(join(import.meta.dirname, '..', '..', 'package.json')).version as string | undefined) ?? '',
    node: process.version,
    device: (kernels.device as string | undefined) ?? detail,
    detail: (kernels.detail as string | undefined) ?? detail,
    ...(driver && { driver }),
    quick: Boolean(kernels.quick ?? peers.quick),
    versions: (peers.versions ?? {}) as Result['versions'],
    parts,
    ...(log !== undefined && { tests: testsOf(log) }),
    ...(training && { training }),
    notes: (peers.notes ?? []) as string[],
    rates: (kernels.rates ?? []) as object[],
    rows: [...label(kernels.rows, 'hebb'), ...label(peers.rows, 'PyTorch')],
  }
}

/** What PyTorch computes the same with: products of the layer's links, and dense products of its shape. */
const PEERS: Record<string, string> = { spmm: 'csr', spmmTransposed: 'csr transposed', sddmm: 'sampled_addmm' }

/** The rows of other libraries that do what a row of hebb does, the fastest first. */
export function peersOf(row: Row, rows: readonly Row[]): Row[] {
  const same = (a: Row, keys: readonly ('rows' | 'cols' | 'density' | 'batch')[]) =>
    keys.every((key) => a[key] === row[key])
  return rows
    .filter(({ library }) => library !== 'hebb')
    .filter((other) => {
      if (row.operation.startsWith('training step'))
        return other.operation.startsWith(`${row.operation} with masks`) && same(other, ['batch'])
      if (row.operation.startsWith('linear, '))
        return /^dense /.test(other.operation) && same(other, ['rows', 'cols', 'batch'])
      const sparse = PEERS[row.operation]
      if (sparse === undefined) return false
      return (
        (other.operation === sparse && same(other, ['rows', 'cols', 'density', 'batch'])) ||
        (/^dense /.test(other.operation) && same(other, ['rows', 'cols', 'batch']))
      )
    })
    .sort((a, b) => a.medianSeconds - b.medianSeconds)
}

const short = (operation: string) => operation.replace(/^training step \S+ /, '')
const us = (seconds: number) => (1e6 * seconds).toPrecision(3)

/** Head and cells of the table of a result's rows. */
export function cellsOf({ rows }: Pick<Result, 'rows'>): string[][] {
  const head = [
    'hebb',
    'median us',
    'least',
    'ns/link',
    'GFLOP/s',
    'of roofline',
    'fastest in PyTorch',
    'us',
    'times slower',
  ]
  const body = rows
    .filter(({ library }) => library === 'hebb')
    .map((row) => {
      const [peer] = peersOf(row, rows)
      return [
        row.name,
        us(row.medianSeconds),
        us(row.minSeconds),
        row.item === 'link' && row.nsPerItem !== undefined ? row.nsPerItem.toPrecision(3) : '',
        row.gflops === undefined ? '' : row.gflops.toFixed(0),
        row.rooflineShare === undefined ? '' : `${(100 * row.rooflineShare).toFixed(0)}% (${row.bound})`,
        ...(peer
          ? [short(peer.operation), us(peer.medianSeconds), (peer.medianSeconds / row.medianSeconds).toFixed(2)]
          : ['', '', '']),
      ]
    })
  return [head, ...body]
}

function printed(cells: readonly (readonly string[])[]): string {
  const widths = (cells[0] ?? []).map((_, column) => Math.max(...cells.map((line) => (line[column] ?? '').length)))
  return cells
    .map((line) =>
      line
        .map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
        .join('  '),
    )
    .join('\n')
}

const markdown = ([head = [], ...body]: readonly (readonly string[])[]): string =>
  [head, head.map(() => '---'), ...body].map((line) => `| ${line.join(' | ')} |`).join('\n')

function say({ device, detail, driver, quick, parts, tests, training, notes, rows }: Result): void {
  console.log(
    `\n${[...new Set([device, driver ?? detail])].join(', ')}${quick ? '; quick: numbers mean nothing' : ''}\n`,
  )
  if (rows.length > 0) console.log(`${printed(cellsOf({ rows }))}\n`)
  for (const note of notes) console.log(note)
  console.log(
    printed([
      ['part', 'seconds', 'outcome'],
      ...parts.map(({ name, seconds, outcome }) => [name, String(seconds), outcome]),
    ]),
  )
  if (tests)
    console.log(
      `\ntests: ${tests.passed} passed, ${tests.failed.length} failed, ${tests.skipped} skipped` +
        (tests.complete ? '' : ', not all of them ran'),
    )
  for (const name of tests?.failed ?? []) console.log(`  failed: ${name}`)
  if (training) {
    const { testAccuracy, epochs, stepSeconds, updateSeconds } = training
    console.log(
      `training: ${(100 * testAccuracy).toFixed(2)}% after ${epochs} epochs, ${us(stepSeconds)} us a step, ` +
        `updates ${updateSeconds.toFixed(3)} s in all`,
    )
  }
}

/** A row, a rate and a part to a line. */
function fileOf(result: Result): string {
  const fields = Object.entries(result).map(([key, value]) => {
    const lines = ['rows', 'rates', 'parts'].includes(key) && Array.isArray(value) && value.length > 0
    return (
      `${JSON.stringify(key)}: ` +
      `${lines ? `[\n${value.map((one) => JSON.stringify(one)).join(',\n')}\n]` : JSON.stringify(value)}`
    )
  })
  return `{\n${fields.join(',\n')}\n}\n`
}

function main([first, second]: readonly string[]): void {
  if (first === '--markdown' && second !== undefined) {
    console.log(markdown(cellsOf(JSON.parse(readFileSync(second, 'utf8')))))
  } else if (first !== undefined && !first.startsWith('-') && existsSync(first)) {
    const result = collect(first)
    writeFileSync(join(first, 'result.json'), fileOf(result))
    say(result)
    console.log(`\nall of it: ${join(first, 'result.json')}`)
  } else {
    console.error(`Expected the folder of a run, or --markdown and the file of one, got '${first ?? ''}'`)
    process.exitCode = 2
  }
}

if (process.argv[1] === import.meta.filename) main(process.argv.slice(2))
