/**
 * Programs that tests start, in processes and threads of their own, as JavaScript: to read TypeScript takes each start
 * the better part of a second, and several under a sanitizer. The command line is what `npm run build` has made.
 */
import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { transformSync } from 'esbuild'

const root = resolve(import.meta.dirname, '..')

const made = statSync(join(root, 'dist/cli/main.js'), { throwIfNoEntry: false })
for (const file of readdirSync(join(root, 'lib'), { recursive: true, encoding: 'utf8' })) {
  if (file.endsWith('.ts') && !(made && made.mtimeMs >= statSync(join(root, 'lib', file)).mtimeMs))
    throw new Error(`Expected dist/ to be made from lib/ as it is, got one without ${file}. Run 'npm run build:lib'.`)
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

/** A copy of lib/ and test/ as JavaScript, file by file, where the package's own files are above. */
function compiled(): string {
  if (folder) return folder
  folder = mkdtempSync(join(root, 'build-programs-'))
  process.on('exit', () => rmSync(folder as string, { recursive: true, force: true }))
  for (const part of ['lib', 'test']) {
    for (const file of readdirSync(join(root, part), { recursive: true, encoding: 'utf8' })) {
      if (!file.endsWith('.ts') || file.endsWith('.test.ts')) continue
      const to = join(folder, part, file.replace(/ts$/, 'js'))
      mkdirSync(dirname(to), { recursive: true })
      const options = { loader: 'ts', target: 'node20' } as const
      writeFileSync(to, transformSync(readFileSync(join(root, part, file), 'utf8'), options).code)
    }
  }
  return folder
}

/** A program of test/ that Node runs as it is: 'hazards/exit.ts'. */
export const program = (name: string): string => join(compiled(), 'test', name.replace(/ts$/, 'js'))
