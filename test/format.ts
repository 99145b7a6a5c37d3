/**
 * The look of the sources: C++ and CUDA as .clang-format says, and no line over 120 columns in any file that people
 * write. `tsx test/format.ts` formats, `tsx test/format.ts --check` says what is not. TypeScript is Biome's.
 * clang-format is the WebAssembly one of the npm package, so every machine has the same version.
 */
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'

const COLUMNS = 120
const FORMATTED = /\.(h|cc|cu|cuh)$/
const GENERATED = 'test/api.d.ts'
const SOURCE = /\.(ts|js|mjs|h|cc|cu|cuh|py|sh|cmake)$|(^|\/)CMakeLists\.txt$|^\.ci\/run$/

const root = resolve(import.meta.dirname, '..')
const check = process.argv.includes('--check')
const git = (...args: string[]) =>
  execFileSync('git', args, { cwd: root, encoding: 'utf8' }).split('\0').filter(Boolean)
const deleted = new Set(git('ls-files', '-z', '--deleted'))
const files = git('ls-files', '-z').filter((file) => SOURCE.test(file) && file !== GENERATED && !deleted.has(file))

/** The root's .clang-format, and what a folder's own one adds to it (InheritParentConfig). */
const styles = new Map<string, string>()
function styleOf(folder: string): string {
  let style = styles.get(folder)
  if (style !== undefined) return style
  const path = join(root, folder, '.clang-format')
  style = existsSync(path) ? readFileSync(path, 'utf8') : ''
  if (folder !== '.') style = `${styleOf('.')}\n${style.replace(/^BasedOnStyle: InheritParentConfig$/m, '')}`
  styles.set(folder, style)
  return style
}

const { format } = await import('@wasm-fmt/clang-format').catch((error: Error) => {
  console.error(`Expected @wasm-fmt/clang-format, got none that loads: ${error.message}. Run 'npm ci'.`)
  process.exit(1)
})

let wrong = 0
for (const file of files) {
  const path = resolve(root, file)
  let text = readFileSync(path, 'utf8')
  if (FORMATTED.test(file)) {
    // CUDA's suffixes are C++'s to it.
    const formatted = format(text, file.replace(/\.cuh?$/, '.cc'), styleOf(dirname(file)))
    if (check && formatted !== text) {
      const [was, is] = [text.split('\n'), formatted.split('\n')]
      const line = is.findIndex((one, i) => one !== was[i])
      console.error(`${file}:${line + 1}: not as clang-format has it. Run 'npm run format'.`)
      wrong += 1
    } else if (formatted !== text) {
      writeFileSync(path, formatted)
      console.log(`formatted ${file}`)
    }
    if (!check) text = formatted
  }
  for (const [i, line] of text.split('\n').entries()) {
    const columns = [...line].length
    if (columns <= COLUMNS) continue
    console.error(`${file}:${i + 1}: ${columns} columns, more than ${COLUMNS}`)
    wrong += 1
  }
}
if (wrong > 0) process.exitCode = 1
