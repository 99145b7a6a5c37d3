/** Where this code runs from, and what to do where its addon does not load: which cure works depends on the place. */
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

/** Bundlers for CommonJS leave no URL: then that of the program. */
const codeUrl: string = import.meta.url ?? pathToFileURL(process.argv[1] ?? join(process.cwd(), 'bundle')).href

interface Manifest {
  readonly name?: string
  readonly version?: string
}

function manifestIn(folder: string): Manifest | undefined {
  try {
    return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
  } catch {
    return undefined
  }
}

/** The package that this code is of; for code in a bundle, the one that is installed where that lies, or runs. */
function findRoot(): string {
  const folder = dirname(fileURLToPath(codeUrl))
  // lib/ and dist/ are files at any depth.
  for (let root = folder; root !== dirname(root); root = dirname(root))
    if (manifestIn(root)?.name === 'hebb') return root
  for (const from of [codeUrl, join(process.cwd(), 'package.json')]) {
    try {
      return dirname(createRequire(from).resolve('hebb/package.json'))
    } catch {}
  }
  return dirname(folder)
}

/** The package's root folder. */
export const packageRoot: string = findRoot()

/** The program that builds the addon. */
export const builder: string = join(packageRoot, 'binding', 'build.js')

/** What its package.json says, if it is there. */
export function manifest(): Manifest | undefined {
  const found = manifestIn(packageRoot)
  return found?.name === 'hebb' ? found : undefined
}

/** The package's version; 'unknown' in a bundle without the package. */
export const version: string = manifest()?.version ?? 'unknown'

/** What to do about an addon that does not load. `why`: what the loader said. */
export function cureOf(why: string): string {
  const asar = /^.*?\.asar(?=[/\\]|$)/.exec(packageRoot)?.[0]
  if (asar !== undefined)
    return (
      `No binary loads from ${asar}: leave hebb out of it, as by "asarUnpack": ["**/node_modules/hebb/**"] of ` +
      'electron-builder.'
    )
  if (!manifest())
    return (
      'hebb was put into a bundle, which has no binaries. Leave it out, so that it is loaded from node_modules: ' +
      "--external:hebb of esbuild, external(s): ['hebb'] of rollup and webpack, serverExternalPackages: ['hebb'] of " +
      'Next.js. Or set HEBB_ADDON to the path of hebb.node.'
    )
  if (existsSync(join(packageRoot, 'lib')) && existsSync(join(packageRoot, 'tsconfig.json')))
    return "Build it there with 'npm run build' (needs CMake and a C++20 compiler)."
  if (process.platform === 'win32')
    return "hebb does not run on Windows itself. In WSL ('wsl --install') it runs as on Linux."
  return `${obstacleOf(why)} Build one with 'npx hebb build' (needs CMake 3.22 and a C++20 compiler).`
}

/** Whether this Linux has another C library than glibc. */
export function isMusl(): boolean {
  if (process.platform !== 'linux') return false
  const { header } = process.report.getReport() as { header: { glibcVersionRuntime?: string } }
  return header.glibcVersionRuntime === undefined
}

/** Why the package's binaries do not load here. */
function obstacleOf(why: string): string {
  const here = `${process.platform}-${process.arch}`
  if (isMusl()) return 'The binaries of the package are for glibc, and this Linux has musl.'
  if (/GLIBC|GLIBCXX|CXXABI/.test(why))
    return 'The binary that was found needs a newer C or C++ library than this machine has.'
  if (/No native build was found/.test(why)) return `The package has no binary for ${here}.`
  return `The binary that was found does not load on ${here}.`
}
