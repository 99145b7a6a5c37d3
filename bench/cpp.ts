/** The C++ benchmarks: built by CMake in build-bench, all run, and their rows taken over. */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fitPower } from './growth.js'
import { type BenchOptions, type Figure, progress, Quiet, type Report, type Row, root, type Series } from './measure.js'

const BUILD = join(root, 'build-bench')

/** What a program writes with --json. */
interface Output {
  readonly date: string
  readonly simd: string
  readonly compiler: string
  readonly timer: string
  readonly rates: readonly {
    readonly what: string
    readonly bytes: number
    readonly threads: number
    readonly rate: number
    readonly unit: string
  }[]
  readonly rows: readonly Row[]
}

/** Runs a command; what it prints goes nowhere unless it fails. */
async function quietly(command: string, args: readonly string[]): Promise<void> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  const printed: Buffer[] = []
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data: Buffer) => printed.push(data))
  const [code] = await once(child, 'close')
  if (code !== 0)
    throw new Error(`Expected ${[command, ...args].join(' ')} to succeed, got ${code}:\n${Buffer.concat(printed)}`)
}

/** How the products' times grow with the links, and how their rooflines do: of the rows of bench_growth. */
function exponents(rows: readonly Row[]): Figure[] {
  const curves = new Map<string, Row[]>()
  for (const row of rows) {
    if (!row.operation.startsWith('growth: ')) continue
    const key = `${row.operation}, threads: ${row.threads}`
    curves.set(key, [...(curves.get(key) ?? []), row])
  }
  return [...curves].flatMap(([key, points]) => [
    {
      name: `${key}: exponent of time in links`,
      unit: '',
      value: fitPower(points.map((p) => [p.items, p.medianSeconds])).exponent,
    },
    {
      name: `${key}: exponent of the roofline`,
      unit: '',
      value: fitPower(points.map((p) => [p.items, p.rooflineSeconds as number])).exponent,
    },
  ])
}

export async function cpp(options: BenchOptions): Promise<Report> {
  const { threads, quick } = options
  if (spawnSync('cmake', ['--version'], { stdio: 'ignore' }).status !== 0)
    return { series: [], figures: [], notes: ['not run: no cmake on this machine'] }
  progress('cpp: building')
  await quietly('cmake', ['-S', root, '-B', BUILD, '-DHEBB_BENCH=ON', '-DHEBB_CUDA=OFF', '-DCMAKE_BUILD_TYPE=Release'])
  await quietly('cmake', ['--build', BUILD, '--parallel', '2'])
  const folder = join(BUILD, 'bench', 'cpp')
  const programs = (await readdir(folder))
    .filter((name) => /^bench_[a-z_]+$/.test(name) && options.programs.test(name.slice('bench_'.length)))
    .sort()
  const work = await mkdtemp(join(tmpdir(), 'hebb-bench-'))
  if (programs.length === 0)
    throw new Error(`Expected --programs to match one of the C++ benchmarks, got ${options.programs}`)
  const quiet = new Quiet(options)
  const outputs: (readonly [program: string, Output])[] = []
  try {
    for (const program of programs) {
      progress(`cpp: ${program}`)
      await quiet.settle()
      const json = join(work, `${program}.json`)
      await quietly(join(folder, program), [
        `--json=${json}`,
        ...(threads > 1 ? [`--threads=1,${threads}`] : ['--threads=1']),
        ...(quick ? ['--quick'] : []),
      ])
      outputs.push([program, JSON.parse(await readFile(json, 'utf8'))])
    }
  } finally {
    await rm(work, { recursive: true })
  }
  const rows = outputs.flatMap(([, { rows }]) => rows)
  const short = rows.filter(
    (row) =>
      row.threads === threads &&
      (row.density ?? 0.01) === 0.01 &&
      (row.batch ?? 32) === 32 &&
      (row.density === undefined || row.cols === 1568),
  )
  const series = short.map(
    ({ name, item, nsPerItem, rooflineShare, bound, minSeconds, medianSeconds, maxSeconds }): Series => {
      const speed = nsPerItem === undefined ? '' : `, ${nsPerItem.toPrecision(3)} ns/${item}`
      const share =
        rooflineShare === undefined ? '' : `, ${(100 * rooflineShare).toFixed(0)}% of the roofline (${bound})`
      return {
        name: `${name}${speed}${share}`,
        unit: 'us',
        samples: [minSeconds, medianSeconds, maxSeconds].map((s) => 1e6 * s),
      }
    },
  )
  const { simd, compiler, timer } = (outputs[0] as (typeof outputs)[0])[1]
  return {
    series,
    figures: exponents(rows),
    rows,
    details: {
      simd,
      compiler,
      timer,
      programs: outputs.map(([program, { date, rates }]) => ({ program, date, rates })),
    },
    notes: [
      `${rows.length} rows of ${programs.length} programs, ${compiler}, ${simd}, timed by ${timer}`,
      ...quiet.notes,
    ],
  }
}
