// Builds the addon of this folder in build/: `npm run build:native` in a clone, `hebb build` where hebb is installed.
//   node binding/build.js            with CUDA where nvcc and a GPU are found, for that GPU
//   node binding/build.js --check    what that takes, and whether it is here, as JSON
// HEBB_CUDA=ON, CUDAARCHS='ARCHITECTURES' or packing build CUDA for GPUs elsewhere. HEBB_CUDA=OFF leaves it out.
// Packing builds for all processors, else the levels of SIMD that this one cannot run are left out.
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

const root = join(import.meta.dirname, '..')
const require = createRequire(join(root, 'package.json'))
const { devDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))

function fail(message) {
  console.error(`hebb: ${message}`)
  process.exit(1)
}

/** What a program prints; undefined where there is none, or it fails. */
function outputOf(command, args, input = '') {
  const { status, stdout } = spawnSync(command, args, { encoding: 'utf8', input, stdio: ['pipe', 'pipe', 'ignore'] })
  return status === 0 ? stdout.trim() : undefined
}

const firstLine = (text) => text?.split('\n', 1)[0]
const program = '#include <concepts>\n#include <span>\nint main() { return std::span<int>().size(); }\n'
const knowsCpp20 = (compiler) => outputOf(compiler, ['-std=c++20', '-fsyntax-only', '-x', 'c++', '-'], program)
const install = (debian, fedora, alpine, mac) =>
  `Install it: 'apt install ${debian}' (Debian, Ubuntu), 'dnf install ${fedora}' (Fedora, RHEL), ` +
  `'apk add ${alpine}' (Alpine), '${mac}' (macOS).`

/** Each tool: what was found, or what to do. */
function tools() {
  const cmake = firstLine(outputOf('cmake', ['--version']))
  const [major, minor] = (/(\d+)\.(\d+)/.exec(cmake) ?? []).slice(1).map(Number)
  const compilers = process.env.CXX ? [process.env.CXX] : ['c++', 'g++', 'clang++']
  const compiler = compilers.find((name) => firstLine(outputOf(name, ['--version'])) !== undefined)
  const makers = ['ninja', 'ninja-build', 'make'].map((name) => firstLine(outputOf(name, ['--version'])))
  return {
    cmake:
      major > 3 || (major === 3 && minor >= 22)
        ? { found: cmake }
        : {
            missing:
              `Expected CMake 3.22 or later, got ${cmake ?? 'none'}. ` +
              (cmake === undefined
                ? install('cmake', 'cmake', 'cmake', 'brew install cmake')
                : "A newer one is on cmake.org, and comes by 'pip install cmake'."),
          },
    compiler:
      compiler !== undefined && knowsCpp20(compiler) !== undefined
        ? { found: firstLine(outputOf(compiler, ['--version'])) }
        : {
            missing:
              'Expected a compiler that knows C++20 (GCC 10, clang 14 or later), got ' +
              `${compiler === undefined ? 'none' : firstLine(outputOf(compiler, ['--version']))}. ` +
              install('g++', 'gcc-c++', 'g++', 'xcode-select --install') +
              ' CXX names another one.',
          },
    make: makers.some((made) => made !== undefined)
      ? { found: makers.find((made) => made !== undefined) }
      : {
          missing: `Expected make or ninja, got none. ${install('make', 'make', 'make', 'xcode-select --install')}`,
        },
  }
}

const isPacked = ['pack', 'publish'].includes(process.env.npm_command)

/** Whether CUDA is built in, for which architectures, and what a person is told of it. */
function cudaOf() {
  const { HEBB_CUDA: wish = 'AUTO', CUDACXX = 'nvcc', CUDAARCHS } = process.env
  if (!['AUTO', 'ON', 'OFF'].includes(wish)) fail(`Expected HEBB_CUDA to be ON, OFF or AUTO, got '${wish}'.`)
  if (wish === 'OFF' || (wish === 'AUTO' && outputOf(CUDACXX, ['--version']) === undefined))
    return { built: false, said: 'the CPU' }
  const isForOthers = wish === 'ON' || CUDAARCHS || isPacked
  const gpus = isForOthers ? undefined : outputOf('nvidia-smi', ['--query-gpu=compute_cap', '--format=csv,noheader'])
  const own = [...new Set(gpus?.match(/^\d+\.\d+$/gm))].map((capability) => `${capability.replace('.', '')}-real`)
  if (!isForOthers && own.length === 0)
    return { built: false, said: 'the CPU (nvcc is here, but no GPU: HEBB_CUDA=ON builds for GPUs too)' }
  // The default is CMakeLists.txt's. It is given again, as CMake keeps what it was given before.
  const architectures = CUDAARCHS || own.join(';') || '80-real;90'
  return { built: true, architectures, said: `the CPU and GPUs (${architectures})` }
}

/** The folder with cmake-js and node-addon-api: a clone's own, or one that is made now. */
function modulesOf() {
  try {
    require.resolve('node-addon-api/package.json')
    return dirname(dirname(require.resolve('cmake-js/package.json')))
  } catch {}
  const folder = join(root, 'build', 'tools')
  const wanted = ['cmake-js', 'node-addon-api'].map((name) => `${name}@${devDependencies[name]}`)
  console.log(`hebb: gets ${wanted.join(' and ')} by npm`)
  const flags = ['--prefix', folder, '--no-save', '--no-audit', '--no-fund', '--loglevel=error']
  const [command, ...args] = process.env.npm_execpath?.endsWith('.js')
    ? [process.execPath, process.env.npm_execpath]
    : ['npm']
  const { status, error } = spawnSync(command, [...args, 'install', ...flags, ...wanted], { stdio: 'inherit' })
  if (status !== 0)
    fail(`Expected npm to install ${wanted.join(' and ')} in ${folder}: ${error?.message ?? 'it failed'}.`)
  return join(folder, 'node_modules')
}

if (process.argv[2] === '--check') {
  console.log(JSON.stringify(tools()))
} else {
  if (process.platform === 'win32') fail("Expected Linux or macOS, got Windows: build in WSL ('wsl --install').")
  const missing = Object.values(tools()).flatMap((tool) => tool.missing ?? [])
  if (missing.length > 0) fail(missing.join('\nhebb: '))
  const { built, architectures, said } = cudaOf()
  const modules = modulesOf()
  const time = built ? 'five to nine' : 'two to three'
  console.log(`hebb: builds for ${said}, which takes ${time} minutes on two cores.`)
  const options = [
    `--CDHEBB_LEVELS=${isPacked ? 'ALL' : 'OWN'}`,
    `--CDHEBB_CUDA=${built ? 'ON' : 'OFF'}`,
    ...(built ? [`--CDCMAKE_CUDA_ARCHITECTURES=${architectures}`] : []),
  ]
  const run = (command) =>
    spawnSync(
      process.execPath,
      [join(modules, 'cmake-js/bin/cmake-js'), command, '--directory', root, ...options, '--log-level', 'error'],
      { stdio: 'inherit', cwd: root, env: { ...process.env, NODE_PATH: modules } },
    ).status
  // Of a folder that is configured, cmake-js builds what it was told before.
  const configured = run('configure')
  const status = configured === 0 ? run('build') : configured
  process.exitCode = status ?? 1
  if (status === 0) console.log(`hebb: built ${join(root, 'build/Release/hebb.node')}`)
}
