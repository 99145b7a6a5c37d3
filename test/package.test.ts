/** How the package loads where it may be: in node_modules without a binary, in bundles, in an archive of Electron. */
import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { expect } from 'chai'
import { buildSync } from 'esbuild'
import { addonPath } from '../lib/native.js'
import { packageRoot } from '../lib/package.js'
import { main } from './programs.js'

describe('the package', () => {
  let folder: string
  const root = dirname(dirname(dirname(main)))
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'hebb-package-'))
  })
  afterEach(() => rmSync(folder, { recursive: true }))

  /** What Node says to a file, with that addon or without one. */
  function run(args: string[], addon?: string) {
    const { HEBB_ADDON: _, ...env } = process.env
    const options = { cwd: folder, encoding: 'utf8', env: { ...env, ...(addon && { HEBB_ADDON: addon }) } } as const
    const { status, stdout, stderr } = spawnSync(process.execPath, args, options)
    return { status, stdout, stderr }
  }

  /** lib/package.ts as JavaScript, in the package. */
  function transformed(at: string): string {
    buildSync({ entryPoints: [join(root, 'lib/package.ts')], outdir: at, outExtension: { '.js': '.mjs' } })
    return join(at, 'package.mjs')
  }

  /** As npm installs it, but without a binary. */
  function install(at: string): string {
    mkdirSync(at, { recursive: true })
    cpSync(join(root, 'dist'), join(at, 'dist'), { recursive: true })
    cpSync(join(root, 'package.json'), join(at, 'package.json'))
    for (const name of ['commander', 'node-gyp-build', '@huggingface']) {
      const to = join(at, 'node_modules', name)
      mkdirSync(dirname(to), { recursive: true })
      symlinkSync(join(root, 'node_modules', name), to)
    }
    return at
  }

  it('without a binary says in a line how to build one where it is installed', () => {
    const at = install(join(folder, 'node_modules/hebb'))
    const { status, stdout, stderr } = run([join(at, 'dist/cli/main.js'), 'train'])
    expect([status, stdout]).to.deep.equal([1, ''])
    expect(stderr).to.match(
      /^hebb: Expected hebb's native addon in \S+, got none that loads: No native build was found for platform=.*\n$/,
    )
    expect(stderr).to.contain(`The package has no binary for ${process.platform}-${process.arch}. Build one with`)
    expect(stderr).to.contain("'npx hebb build' (needs CMake 3.22 and a C++20 compiler)")
  })

  it('without a binary can be imported, shows its help and version, and what the doctor finds', () => {
    const at = install(join(folder, 'node_modules/hebb'))
    cpSync(join(root, 'binding'), join(at, 'binding'), { recursive: true })
    const hebb = (...args: string[]) => run([join(at, 'dist/cli/main.js'), ...args])
    for (const args of [['--help'], ['--version'], ['train', '--help'], ['build', '--help']])
      expect(hebb(...args), args.join(' ')).to.include({ status: 0, stderr: '' })
    const code =
      "import { mlp } from 'hebb'; await import('hebb/data'); await import('hebb/text'); console.log(typeof mlp)"
    writeFileSync(join(folder, 'use.mjs'), code)
    expect(run(['use.mjs'])).to.include({ status: 0, stdout: 'function\n' })
    const { status, stdout, stderr } = hebb('doctor', '--json')
    expect([status, stderr]).to.deep.equal([1, ''])
    const report = JSON.parse(stdout)
    expect(report.addon).to.contain("Build one with 'npx hebb build'")
    expect(report.cmake).to.match(/^cmake version 3|^Expected CMake 3.22 or later/)
    expect(report).to.have.all.keys('hebb', 'node', 'platform', 'addon', 'cmake', 'compiler', 'make')
    expect(hebb('doctor').stdout).to.match(/^compiler +\S+/m)
  })

  it('hebb build says what it misses, and where it was told what it does not know', () => {
    const at = install(join(folder, 'node_modules/hebb'))
    const built = (env: object) => {
      const { status, stderr } = spawnSync(process.execPath, [join(at, 'dist/cli/main.js'), 'build'], {
        encoding: 'utf8',
        env: { ...process.env, ...env },
      })
      return { status, stderr }
    }
    expect(built({}).stderr).to.match(/^hebb: Expected hebb's sources beside it, got no \S+build\.js\./)
    cpSync(join(root, 'binding'), join(at, 'binding'), { recursive: true })
    const { status, stderr } = built({ PATH: folder, CXX: 'none' })
    expect(status).to.equal(1)
    expect(stderr).to.contain("hebb: Expected CMake 3.22 or later, got none. Install it: 'apt install cmake'")
    expect(stderr).to.contain('hebb: Expected a compiler that knows C++20 (GCC 10, clang 14 or later), got none.')
    expect(stderr).to.contain('hebb: Expected make or ninja, got none.')
    expect(built({ HEBB_CUDA: 'yes' }).stderr).to.equal("hebb: Expected HEBB_CUDA to be ON, OFF or AUTO, got 'yes'.\n")
  })

  it('names why its binary does not load: a library that is too old, another C library, another system', () => {
    const at = install(join(folder, 'node_modules/hebb'))
    const cure = (change: string, why: string) =>
      run([
        '--input-type=module',
        '-e',
        `${change}
        const { cureOf } = await import(${JSON.stringify(pathToFileURL(transformed(at)).href)})
        console.log(cureOf(${JSON.stringify(why)}))`,
      ]).stdout
    expect(cure('', "/lib/libm.so.6: version `GLIBC_2.29' not found")).to.contain('needs a newer C or C++ library')
    expect(cure('', 'invalid ELF header')).to.contain('The binary that was found does not load on')
    const linux = "Object.defineProperty(process, 'platform', { value: 'linux' })"
    const musl = `process.report.getReport = () => ({ header: {} }); ${linux}`
    expect(cure(musl, 'libm.so.6 is missing')).to.contain('are for glibc, and this Linux has musl. Build one with')
    const windows = "Object.defineProperty(process, 'platform', { value: 'win32' })"
    expect(cure(windows, 'No native build was found')).to.match(/^hebb does not run on Windows itself\. In WSL/)
    const mac = "Object.defineProperty(process, 'platform', { value: 'darwin' })"
    expect(cure(mac, 'No native build was found')).to.match(
      /^The package has no binary for darwin-\w+\. Build one with/,
    )
  })

  it('says of a binary which versions of C and C++ libraries it needs, and refuses newer ones', function () {
    if (process.platform !== 'linux' || spawnSync('readelf', ['--version']).status !== 0) this.skip()
    const needs = (file: string) => run([join(root, 'binding/symbol_versions.js'), file])
    expect(needs(resolve(packageRoot, addonPath())).stdout).to.match(/: needs .*\bGLIBC 2\.\d+.*; .*libc\.so\.6/)
    const { header } = process.report.getReport() as { header: { glibcVersionRuntime?: string } }
    const minor = Number(header.glibcVersionRuntime?.split('.')[1])
    writeFileSync(join(folder, 'f.c'), 'double exp(double); double f(double x) { return exp(x); }')
    const { status: built } = spawnSync('cc', ['-shared', '-fPIC', 'f.c', '-o', 'f.so', '-lm'], { cwd: folder })
    if (built !== 0 || !(minor >= 29)) this.skip()
    const { status, stderr } = needs(join(folder, 'f.so'))
    expect(status).to.equal(1)
    expect(stderr).to.contain(
      'f.so: expected to need GLIBC 2.28, GLIBCXX 3.4.25, CXXABI 1.3.11 at most, got exp (GLIBC',
    )
  })

  it('has source maps with their sources', () => {
    for (const name of ['index.js.map', 'cli/main.js.map']) {
      const { sources, sourcesContent } = JSON.parse(readFileSync(join(root, 'dist', name), 'utf8'))
      expect(sourcesContent).to.have.length(sources.length)
      for (const content of sourcesContent) expect(content).to.be.a('string')
    }
  })

  it('in a clone says the clone’s own command, and in an archive to leave it out', () => {
    const clone = install(join(folder, 'clone'))
    mkdirSync(join(clone, 'lib'))
    writeFileSync(join(clone, 'tsconfig.json'), '{}')
    expect(run([join(clone, 'dist/cli/main.js'), 'train']).stderr).to.contain("Build it there with 'npm run build'")
    const archived = install(join(folder, 'app.asar/node_modules/hebb'))
    expect(run([join(archived, 'dist/cli/main.js'), 'train']).stderr).to.contain(
      `No binary loads from ${join(folder, 'app.asar')}: leave hebb out of it, as by "asarUnpack"`,
    )
  })

  it('with an HEBB_ADDON that does not load names it', () => {
    writeFileSync(join(folder, 'bad.node'), 'no addon')
    for (const given of ['bad.node', 'none.node'])
      expect(run([main, 'train'], given).stderr).to.match(
        new RegExp(
          `^hebb: Expected HEBB_ADDON to be the path of hebb's native addon, got ${given}, which does not load`,
        ),
      )
  })

  for (const format of ['esm', 'cjs'] as const)
    it(`in a bundle as ${format} takes the addon of HEBB_ADDON or of the installed package`, () => {
      const [from, bundle] = [join(folder, 'app.mjs'), join(folder, format === 'esm' ? 'b.mjs' : 'b.cjs')]
      const modules = join(folder, 'node_modules')
      mkdirSync(modules)
      symlinkSync(root, join(modules, 'hebb'))
      writeFileSync(
        from,
        "import { Device } from 'hebb'; import { corpusBleu } from 'hebb/text'\n" +
          "const d = new Device({ kind: 'cpu' }); console.log(d.info.kind, corpusBleu(['a'], ['a']).signature)\n" +
          'd.dispose()',
      )
      buildSync({ entryPoints: [from], outfile: bundle, bundle: true, platform: 'node', format, logLevel: 'error' })
      const addon = resolve(packageRoot, addonPath())
      expect(run([bundle], addon).stdout).to.match(/^cpu .*version:hebb-\d/)
      rmSync(modules, { recursive: true })
      expect(run([bundle], addon).stdout).to.match(/^cpu .*version:hebb-unknown/)
      expect(run([bundle]).stderr).to.contain('hebb was put into a bundle, which has no binaries. Leave it out')
      const installed = install(join(modules, 'hebb'))
      mkdirSync(join(installed, 'build/Release'), { recursive: true })
      cpSync(addon, join(installed, 'build/Release/hebb.node'))
      expect(run([bundle]).stdout).to.match(/^cpu .*version:hebb-\d/)
    })
})
