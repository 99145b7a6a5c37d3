/**
 * Programs that tests start, in processes and threads of their own, as JavaScript: to read TypeScript takes each start
 * the better part of a second, and several under a sanitizer. The command line is what `npm run build` has made.
 */
import { execFile } from 'node:child_process'
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { transformSync } from 'esbuild'

const root = resolve(import.meta.dirname, '..')

for (const file of readdirSync(join(root, 'lib'), { recursive: true, encoding: 'utf8' })) {
  if (!file.endsWith('.ts')) continue
  const made = statSync(join(root, 'dist', file.replace(/ts$/, 'js')), { throwIfNoEntry: false })
  if (!made || made.mtimeMs < statSync(join(root, 'lib', file)).mtimeMs)
    throw new Error(`Expected dist/ to be made from lib/ as it is, got an older ${file}. Run 'npm run build:lib'.`)
}

/** hebb's command line. */
export const main: string = join(root, 'dist/cli/main.js')

/** What the command line says to these arguments, in a process of its own. */
export function hebb(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((done) => {
    execFile(process.execPath, [main, ...args], (error, stdout, stderr) =>
      done({ code: error ? (error.code as unknown as number) : 0, stdout, stderr }),
    )
  })
}

let folder: string | undefined

/** A copy of test/ as JavaScript, beside a lib/ that is dist/. */
function compiled(): string {
  if (folder) return folder
  folder = mkdtempSync(join(tmpdir(), 'hebb-programs-'))
  process.on('exit', () => rmSync(folder as string, { recursive: true, force: true }))
  for (const [name, target] of Object.entries({ lib: 'dist', node_modules: 'node_modules' }))
    symlinkSync(join(root, target), join(folder, name))
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}')
  for (const file of readdirSync(import.meta.dirname, { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith('.ts') || file.endsWith('.test.ts')) continue
    const to = join(folder, 'test', file.replace(/ts$/, 'js'))
    mkdirSync(dirname(to), { recursive: true })
    writeFileSync(
      to,
      transformSync(readFileSync(join(import.meta.dirname, file), 'utf8'), { loader: 'ts', target: 'node20' }).code,
    )
  }
  return folder
}

/** A program of test/ that Node runs as it is: 'hazards/exit.ts'. */
export const program = (name: string): string => join(compiled(), 'test', name.replace(/ts$/, 'js'))
