/**
 * Which lines of cuda/ ran on the emulated GPU, kernels and host code: a table from the counters of a build with
 * -DHEBB_CUDA=EMULATE -DHEBB_COVERAGE=ON, of all its programs and addons that have run since it was built. Exits with
 * 1 below 95% in all.
 * `npx tsx test/emulation/coverage.ts FOLDER` (needs gcov)
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative, resolve } from 'node:path'
import { gunzipSync } from 'node:zlib'

const LEAST = 0.95
const root = resolve(import.meta.dirname, '../..')
if (process.argv.length !== 3) throw new Error('Expected one folder, that of a build with HEBB_COVERAGE')
const folder = resolve(process.argv[2] as string)

/** What gcov's counters were written to. */
const counted = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((file) => /\.cu\.gcda$/.test(file))
if (counted.length === 0) throw new Error(`Expected counters in ${folder}, got none: nothing of it has run`)

interface Report {
  files: { file: string; lines: { line_number: number; count: number }[] }[]
}

/** Whether each line that compiles to something ran, by file. */
const files = new Map<string, Map<number, boolean>>()
const reports = mkdtempSync(join(tmpdir(), 'hebb-coverage-'))
try {
  for (const object of counted)
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
if (!(ran / all >= LEAST)) process.exitCode = 1
