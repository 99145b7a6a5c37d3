/**
 * What must hold of the archive that npm is given:
 *   npx tsx test/package/tarball.ts TARBALL [--release]
 * --release: it has all binaries, and they load on old systems.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'

/** Bytes. */
const MOST = 30e6
/** ELF's numbers of machines. */
const machines = { 'linux-x64': 62, 'linux-arm64': 183 }

const { values, positionals } = parseArgs({ options: { release: { type: 'boolean' } }, allowPositionals: true })
if (positionals.length !== 1) throw new Error('Expected a tarball of npm pack')
const tarball = resolve(positionals[0])
const folder = mkdtempSync(join(tmpdir(), 'hebb-tarball-'))
process.on('exit', () => rmSync(folder, { recursive: true }))
execFileSync('tar', ['-xzf', tarball, '-C', folder])
const root = join(folder, 'package')
const faults: string[] = []
const expect = (holds: boolean, fault: string) => void (holds || faults.push(fault))

const { size } = statSync(tarball)
expect(size <= MOST, `at most ${MOST / 1e6} MB, got ${(size / 1e6).toFixed(1)} MB`)

const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
for (const name of ['preinstall', 'install', 'postinstall'])
  expect(manifest.scripts[name] === undefined, `no script that npm runs where it installs, got ${name}`)
for (const field of ['os', 'cpu', 'libc'])
  expect(manifest[field] === undefined, `no "${field}": it must install anywhere`)

const files = readdirSync(root, { recursive: true, encoding: 'utf8' })
for (const file of ['dist/index.js', 'dist/cli/main.js', 'binding/build.js', 'CMakeLists.txt', 'LICENSE', 'README.md'])
  expect(files.includes(file), `${file}, got none`)
for (const file of files) {
  expect(!/(^|\/)(\.env|\.npmrc|id_rsa|\.git)($|\/)/.test(file), `no ${file}`)
  if (!file.endsWith('.js.map')) continue
  const { sources, sourcesContent } = JSON.parse(readFileSync(join(root, file), 'utf8'))
  expect(sourcesContent?.length === sources.length, `${file} with its sources inside`)
}

for (const [platform, machine] of Object.entries(machines)) {
  const file = `prebuilds/${platform}/node.napi.glibc.node`
  if (!files.includes(file)) {
    expect(!values.release && platform !== `${process.platform}-${process.arch}`, `${file}, got none`)
    continue
  }
  expect(readFileSync(join(root, file)).readUInt16LE(18) === machine, `${file} to be for ${platform}`)
  if (!values.release) continue
  const sections = execFileSync('readelf', ['--wide', '--sections', join(root, file)], { encoding: 'utf8' })
  expect(!/\.symtab|\.debug_/.test(sections), `${file} without symbols of its own and debug information`)
  const { status } = spawnSync(process.execPath, ['binding/symbol_versions.js', join(root, file)], { stdio: 'inherit' })
  expect(status === 0, `${file} to load on old systems`)
}

for (const fault of faults) console.error(`${tarball}: expected ${fault}`)
if (faults.length > 0) process.exit(1)
console.log(`${tarball}: ${(size / 1e6).toFixed(1)} MB, ${files.length} files`)
