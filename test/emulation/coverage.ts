/**
 * Which lines of cuda/ the tests run on the emulated GPU, kernels and host code: builds the addon and the C++ tests
 * with counters, runs the tests of operations and of the device, and prints a table. Exits with 1 below 95% in all, or
 * when a test fails.
 * `npx tsx test/emulation/coverage.ts [folder]` (default build-coverage; needs g++ and gcov).
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative, resolve } from 'node:path'
import { gunzipSync } from 'node:zlib'

const LEAST = 0.95
const root = resolve(import.meta.dirname, '../..')
const folder = resolve(root, process.argv[2] ?? 'build-coverage')
const run = (command: string, args: string[], options: { cwd?: string; env?: NodeJS.ProcessEnv } = {}) =>
  execFileSync(command, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'], ...options })

const start = performance.now()
const options = ['--CDHEBB_CUDA=EMULATE', '--CDHEBB_COVERAGE=ON', '--CDHEBB_EMULATION_TESTS=ON']
run('npx', ['cmake-js', 'build', '-O', folder, ...options, '--log-level', 'error'])
const built = performance.now()
for (const file of counted()) rmSync(join(folder, file)) // of a run before
let failed = false
const tests: [string, string[]][] = [
  [
    'npx',
    [
      'mocha',
      '--reporter',
      'dot',
      '--timeout',
      '600000',
      '--ignore',
      'test/*.test.ts',
      '--ignore',
      'test/hazards/**',
      '--ignore',
      '**/bundle.test.ts',
    ],
  ],
  ['ctest', ['--test-dir', folder, '--parallel', '2', '--output-on-failure']],
]
for (const [command, args] of tests) {
  try {
    run(command, args, { env: { ...process.env, HEBB_ADDON: join(folder, 'Release/hebb.node') } })
  } catch {
    failed = true
  }
}
console.log(
  `built in ${((built - start) / 1000).toFixed()} s, tested in ${((performance.now() - built) / 1000).toFixed()} s`,
)

/** What gcov's counters were written to. */
function counted(): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((file) => /\.cu\.gcda$/.test(file))
}

interface Report {
  files: { file: string; lines: { line_number: number; count: number }[] }[]
}

/** Whether each line that compiles to something ran, by file. */
const files = new Map<string, Map<number, boolean>>()
const reports = mkdtempSync(join(tmpdir(), 'hebb-coverage-'))
try {
  for (const object of counted())
    execFileSync('gcov', ['--json-format', join(folder, object)], { cwd: reports, stdio: 'ignore' })
  for (const name of readdirSync(reports)) {
    const report = JSON.parse(gunzipSync(readFileSync(join(reports, name))).toString()) as Report
    for (const { file, lines } of report.files) {
      const path = relative(root, resolve(folder, file))
      if (!path.startsWith('cuda/')) continue
      const known = files.get(path) ?? new Map<number, boolean>()
      for (const { line_number, count } of lines) known.set(line_number, (known.get(line_number) ?? false) || count > 0)
      files.set(path, known)
    }
  }
} finally {
  rmSync(reports, { recursive: true })
}

let [ran, all] = [0, 0]
for (const [path, lines] of [...files].sort(([a], [b]) => a.localeCompare(b))) {
  const missed = [...lines].filter(([, did]) => !did).map(([line]) => line)
  ran += lines.size - missed.length
  all += lines.size
  const share = ((100 * (lines.size - missed.length)) / lines.size).toFixed(1)
  console.log(
    `${path.padEnd(28)} ${share.padStart(5)}% of ${String(lines.size).padStart(4)} lines` +
      `${missed.length ? `, not ${missed.sort((a, b) => a - b).join(' ')}` : ''}`,
  )
}
console.log(`${'cuda/'.padEnd(28)} ${((100 * ran) / all).toFixed(1).padStart(5)}% of ${String(all).padStart(4)} lines`)
if (failed || !(ran / all >= LEAST)) process.exitCode = 1
