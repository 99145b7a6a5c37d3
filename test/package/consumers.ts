/**
 * The package as its users have it: installed from the archive, without install scripts, into empty projects, and used.
 *   npx tsx test/package/consumers.ts TARBALL [NAME...]
 * Prints a table; fails where one fails. Needs npm's registry.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

const [archive, ...wanted] = process.argv.slice(2)
if (archive === undefined) throw new Error('Expected a tarball of npm pack')
const tarball = resolve(archive)
const all = mkdtempSync(join(tmpdir(), 'hebb-consumers-'))
process.on('exit', () => rmSync(all, { recursive: true }))

/** Trains two epochs, and is refused twice, by TypeScript and by C++. */
const training = `
  const x = Float32Array.from({ length: 64 * 16 }, (_, i) => ((i * 7919) % 13) / 13)
  const data = hebb.dataset({ x, y: Array.from({ length: 64 }, (_, i) => i % 4), shape: [16] })
  const model = hebb.mlp({ widths: [16, 32, 24, 4], density: 0.2, seed: 1 })
  const optimizer = hebb.sgd({ learningRate: 0.05 })
  const trainer = new hebb.Trainer(model, { optimizer, dst: hebb.chts(), device: 'cpu' })
  let result = ''
  for await (const epoch of trainer.fit(data, { epochs: 2, batchSize: 16 })) result = epoch.epoch + ' ' + epoch.links
  trainer.dispose()
  for (const options of [{ threads: -1 }, { simd: 'none' }]) {
    try {
      new hebb.Device({ kind: 'cpu', ...options })
    } catch (error) {
      result += ' ' + (error instanceof hebb.HebbError ? error.code : error)
    }
  }
  result += ' ' + text.corpusBleu(['a b c d'], ['a b c d']).score`
/** What every consumer must come to. */
const expected = '2 256 INVALID_ARGUMENT INVALID_ARGUMENT 100'

const program = `import * as hebb from 'hebb'
import * as text from 'hebb/text'
import 'hebb/data'
async function train() {${training}
  return result
}
`
const required = `const hebb = require('hebb'), text = require('hebb/text')
async function train() {${training}
  return result
}
train().then(console.log)
`
const printing = `${program}console.log(await train())\n`

interface Consumer {
  /** What is installed beside hebb. */
  readonly packages?: readonly string[]
  readonly files: Readonly<Record<string, string>>
  /** Commands, in turn. */
  readonly commands: readonly (readonly string[])[]
  /** What it prints; otherwise what `training` comes to. */
  readonly prints?: RegExp
}

const tested = `${program}test('trains', async () => expect(await train()).toBe('${expected}'))\n`
const node = (version: string) => join('node_modules', `node-${version}`, 'bin', 'node')
const versions = ['20', '22', '24', '26']
const nodes = versions.map((version) => `node-${version}@npm:node-linux-${process.arch}@${version}`)

const consumers: Record<string, Consumer> = {
  ...Object.fromEntries(
    versions.map((version, i) => [
      `Node ${version}, ESM`,
      { packages: [nodes[i]], files: { 'use.mjs': printing }, commands: [[node(version), 'use.mjs']] },
    ]),
  ),
  ...Object.fromEntries(
    versions.map((version, i) => [
      `Node ${version}, require()`,
      { packages: [nodes[i]], files: { 'use.cjs': required }, commands: [[node(version), 'use.cjs']] },
    ]),
  ),
  worker_threads: {
    files: {
      'worker.mjs': `import { parentPort } from 'node:worker_threads'
${program}parentPort.postMessage(await train())\n`,
      'use.mjs': `import { Worker } from 'node:worker_threads'
import { once } from 'node:events'
const workers = [0, 1, 2].map(() => new Worker('./worker.mjs'))
const said = (await Promise.all(workers.map((worker) => once(worker, 'message')))).flat()
console.log(new Set(said).size === 1 ? said[0] : said)\n`,
    },
    commands: [['node', 'use.mjs']],
  },
  'the command line': {
    files: {},
    commands: [
      ['npx', '--no-install', 'hebb', 'train', '--help'],
      ['npx', '--no-install', 'hebb', 'doctor'],
    ],
    prints: /addon +\S+prebuilds\/linux-\w+\/node\.napi\.glibc\.node/,
  },
  'esbuild, hebb left out': {
    packages: ['esbuild'],
    files: { 'use.mjs': printing },
    commands: [
      [
        'npx',
        'esbuild',
        'use.mjs',
        '--bundle',
        '--platform=node',
        '--format=esm',
        '--external:hebb',
        '--outfile=out.mjs',
      ],
      ['node', 'out.mjs'],
    ],
  },
  'esbuild, hebb in the bundle': {
    packages: ['esbuild'],
    files: { 'use.mjs': `${program}train().then(console.log)\n` },
    commands: [
      [
        'npx',
        'esbuild',
        'use.mjs',
        '--bundle',
        '--platform=node',
        '--format=cjs',
        '--outfile=out.cjs',
        '--log-level=error',
      ],
      ['node', 'out.cjs'],
    ],
  },
  rollup: {
    packages: ['rollup', '@rollup/plugin-node-resolve', '@rollup/plugin-commonjs', '@rollup/plugin-json'],
    files: {
      'use.mjs': printing,
      'rollup.config.mjs': `import resolve from '@rollup/plugin-node-resolve'
import commonjs from '@rollup/plugin-commonjs'
import json from '@rollup/plugin-json'
export default {
  input: 'use.mjs',
  output: { dir: 'out', format: 'es', entryFileNames: '[name].mjs' },
  external: [/^hebb($|\\/)/],
  plugins: [resolve({ preferBuiltins: true }), commonjs(), json()],
}\n`,
    },
    commands: [
      ['npx', 'rollup', '-c', '--silent'],
      ['node', 'out/use.mjs'],
    ],
  },
  Jest: {
    packages: ['jest'],
    files: {
      'package.json': JSON.stringify({ type: 'module', jest: { transform: {} } }),
      'use.test.js': tested,
    },
    commands: [['node', '--experimental-vm-modules', 'node_modules/jest/bin/jest.js']],
    prints: /Tests: +1 passed/,
  },
  vitest: {
    packages: ['vitest'],
    files: {
      'use.test.js': `import { expect, test } from 'vitest'\n${tested}`,
    },
    commands: [['npx', 'vitest', 'run', '--no-color']],
    prints: /Tests +1 passed/,
  },
  TypeScript: {
    packages: ['typescript@5.9', '@types/node@20'],
    files: {
      'use.mts': `import { mlp, type Trainer } from 'hebb'
import { mnist } from 'hebb/data'
import { corpusBleu } from 'hebb/text'
export const widths: number | undefined = mlp({ widths: [2, 2], density: 1 }).modules[0]?.outFeatures
export const score: number = corpusBleu(['a'], ['a']).score
export const use = async (trainer: Trainer) => trainer.fit((await mnist()).train, { epochs: 1, batchSize: 2 })\n`,
      'tsconfig.json': JSON.stringify({
        compilerOptions: { module: 'nodenext', target: 'es2022', strict: true, noEmit: true, skipLibCheck: false },
      }),
    },
    commands: [
      ['npx', 'tsc', '-p', '.'],
      ['node', '-e', 'console.log("no errors")'],
    ],
    prints: /no errors/,
  },
  Bun: {
    packages: [`@oven/bun-linux-${process.arch === 'arm64' ? 'aarch64' : 'x64-baseline'}`],
    files: { 'use.mjs': printing },
    commands: [
      [`node_modules/@oven/bun-linux-${process.arch === 'arm64' ? 'aarch64' : 'x64-baseline'}/bin/bun`, 'use.mjs'],
    ],
  },
  Deno: {
    packages: [`@deno/linux-${process.arch}-glibc`],
    files: { 'use.mjs': printing },
    commands: [[`node_modules/@deno/linux-${process.arch}-glibc/deno`, 'run', '--allow-all', 'use.mjs']],
  },
  publint: {
    packages: ['publint'],
    files: {},
    commands: [['npx', 'publint', tarball, '--strict']],
    prints: /All good/,
  },
  'attw, ESM alone': {
    packages: ['@arethetypeswrong/cli'],
    files: {},
    commands: [['npx', 'attw', tarball, '--profile', 'esm-only', '--no-emoji', '--no-color']],
    prints: /"hebb\/text".*OK \(ESM\)/,
  },
}

/** What was wrong; nothing where all was well. */
function faultOf({ packages = [], files, commands, prints }: Consumer, folder: string): string | undefined {
  mkdirSync(folder)
  writeFileSync(join(folder, 'package.json'), '{}')
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text)
  const flags = ['--ignore-scripts', '--no-audit', '--no-fund', '--silent']
  try {
    execFileSync('npm', ['install', ...flags, tarball, ...packages], { cwd: folder, stdio: 'pipe' })
  } catch (error) {
    return `npm install: ${(error as Error).message}`
  }
  const { HEBB_ADDON: _, NODE_OPTIONS: __, ...env } = process.env
  let said = ''
  for (const [command, ...args] of commands) {
    const { status, stdout, stderr } = spawnSync(command, args, { cwd: folder, encoding: 'utf8', env, timeout: 300e3 })
    said = `${stdout}${stderr}`
    if (status !== 0) return `${command} ${args.join(' ')} ended with ${status}: ${said}`
  }
  return (prints ?? new RegExp(`^${expected}$`, 'm')).test(said) ? undefined : `it said ${said}`
}

const rows: string[] = []
let index = 0
for (const [name, consumer] of Object.entries(consumers)) {
  if (wanted.length > 0 && !wanted.some((part) => name.includes(part))) continue
  const began = performance.now()
  const fault = faultOf(consumer, join(all, String(index++)))
  const seconds = ((performance.now() - began) / 1000).toFixed(0).padStart(4)
  rows.push(`${name.padEnd(28)} ${(fault === undefined ? 'works' : 'FAILS').padEnd(6)} ${seconds} s`)
  if (fault !== undefined) {
    console.error(`--- ${name}\n${fault.slice(0, 4000)}\n`)
    process.exitCode = 1
  }
}
console.log(rows.join('\n'))
