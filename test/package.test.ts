/** How the package loads where it may be: in node_modules without a binary, in bundles, in an archive of Electron. */
import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
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
    const { status, stdout, stderr } = run([join(at, 'dist/cli/main.js'), 'doctor'])
    expect([status, stdout]).to.deep.equal([1, ''])
    expect(stderr).to.match(
      /^hebb: Expected hebb's native addon in \S+, got none that loads: No native build was found for platform=.*\n$/,
    )
    expect(stderr).to.contain(`The package has no binary for ${process.platform}-${process.arch}. Build one`)
    expect(stderr).to.contain(`npx cmake-js build -d ${at}'`)
  })

  it('in a clone says the clone’s own command, and in an archive to leave it out', () => {
    const clone = install(join(folder, 'clone'))
    mkdirSync(join(clone, 'lib'))
    writeFileSync(join(clone, 'tsconfig.json'), '{}')
    expect(run([join(clone, 'dist/cli/main.js'), 'doctor']).stderr).to.contain("Build it there with 'npm run build'")
    const archived = install(join(folder, 'app.asar/node_modules/hebb'))
    expect(run([join(archived, 'dist/cli/main.js'), 'doctor']).stderr).to.contain(
      `No binary loads from ${join(folder, 'app.asar')}: leave hebb out of it, as by "asarUnpack"`,
    )
  })

  it('with an HEBB_ADDON that does not load names it', () => {
    writeFileSync(join(folder, 'bad.node'), 'no addon')
    for (const given of ['bad.node', 'none.node'])
      expect(run([main, 'doctor'], given).stderr).to.match(
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
      const addon = resolve(packageRoot, addonPath)
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
