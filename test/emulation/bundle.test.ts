/**
 * What `npm run bundle:gpu` makes fits together and runs: with an emulated GPU and tiny shapes. Needs an addon and
 * programs built with HEBB_CUDA=EMULATE.
 */
import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { peersOf, testsOf } from '../../bench/gpu/report.js'
import { addon } from '../../lib/native.js'
import { packageRoot } from '../../lib/package.js'

const emulated = /^driver.*Emulated GPU/.test(addon.cudaStatus().detail)
const programs = ['hebb_agreement', 'bench/gpu/hebb_gpu_kernels'].map((name) => join(packageRoot, 'build', name))

function output(
  command: string,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    const options = { cwd: packageRoot, env: { ...process.env, ...env } }
    execFile(command, args, options, (error, stdout, stderr) =>
      resolve({ code: error ? Number(error.code) : 0, stdout, stderr }),
    )
  })
}

const outcomes = (folder: string): Record<string, string> => {
  const { parts } = JSON.parse(readFileSync(join(folder, 'result.json'), 'utf8')) as {
    parts: { name: string; outcome: string }[]
  }
  return Object.fromEntries(parts.map(({ name, outcome }) => [name, outcome]))
}

describe('the bundle for a machine with a GPU', () => {
  describe('bundled', () => {
    let work: string
    let script: string
    before(async function () {
      // Under sanitizers the addon is another one than in build/.
      if (!emulated || process.env.HEBB_ADDON || !programs.every((program) => existsSync(program))) this.skip()
      work = mkdtempSync(join(tmpdir(), 'hebb-bundle-'))
      const { code, stdout, stderr } = await output(process.execPath, [
        '--import',
        'tsx',
        'bench/gpu/bundle.ts',
        '--emulated',
        '--output',
        work,
      ])
      expect(code, stderr).to.equal(0)
      script = join(stdout.trim(), 'run.sh')
    })
    after(() => work && rmSync(work, { recursive: true }))

    /** A PATH whose compute-sanitizer ends with what the program ends with, or as one that found something. */
    const sanitizer = (finds: boolean): Record<string, string> => {
      const folder = mkdtempSync(join(work, 'path-'))
      writeFileSync(
        join(folder, 'compute-sanitizer'),
        `#!/bin/sh\necho "$@"\n${finds ? 'exit 9' : 'shift 6; exec "$@"'}\n`,
        { mode: 0o755 },
      )
      return { PATH: `${folder}:${process.env.PATH}` }
    }

    it('runs its parts, and reports them in one file', async () => {
      const folder = join(work, 'all')
      const { code, stdout, stderr } = await output(script, [
        '--quick',
        `--out=${folder}`,
        'agreement',
        'kernels',
        'peers',
        'train',
        'tests',
      ])
      expect(code, stdout + stderr).to.equal(0)
      const { peers, ...others } = outcomes(folder)
      expect(others).to.deep.equal({
        device: 'passed',
        agreement: 'passed',
        kernels: 'passed',
        train: 'passed',
        tests: 'passed',
      })
      expect(peers).to.match(/^passed|^skipped: no PyTorch/)
      const result = JSON.parse(readFileSync(join(folder, 'result.json'), 'utf8'))
      expect(result.device).to.match(/^Emulated GPU/)
      expect(result.quick).to.equal(true)
      expect(result.tests.passed).to.be.above(10)
      expect(result.tests).to.deep.include({ failed: [], complete: true })
      expect(result.training.device.kind).to.equal('cuda')
      expect(result.rates.length).to.be.above(2)
      const operations = new Set(result.rows.map((row: { operation: string }) => row.operation))
      for (const name of [
        'spmm',
        'spmmTransposed',
        'sddmm',
        'sddmm+sgd',
        'training step 20-34-30-10',
        'topology update CH2-L3n',
      ]) {
        expect(operations).to.include(name)
      }
      for (const { medianSeconds, minSeconds, rooflineShare } of result.rows) {
        expect(medianSeconds).to.be.at.least(minSeconds).and.above(0)
        if (rooflineShare !== undefined) expect(rooflineShare).to.be.above(0)
      }
    })

    it('runs a layer, a training and an update under compute-sanitizer', async () => {
      const folder = join(work, 'sanitized')
      const clean = await output(script, ['--quick', `--out=${folder}`, 'memcheck'], sanitizer(false))
      expect(clean.code, clean.stdout).to.equal(0)
      const log = readFileSync(join(folder, 'memcheck.log'), 'utf8')
      for (const words of ['--tool memcheck', 'all alike on', 'training step', 'topology update'])
        expect(log).to.include(words)
      const found = await output(script, ['--quick', `--out=${folder}`, 'synccheck'], sanitizer(true))
      expect(found.code).to.equal(1)
      expect(outcomes(folder).synccheck).to.match(/^failed \(9\): --tool synccheck/)
    })

    it('goes on when a part fails, and ends with 1', async () => {
      const folder = join(work, 'failing')
      const { code, stdout } = await output(script, ['--quick', `--out=${folder}`, 'agreement', 'kernels', 'train'], {
        HEBB_EMULATION_MEMORY: '200000',
      })
      expect(code, stdout).to.equal(1)
      const parts = outcomes(folder)
      expect(Object.keys(parts)).to.deep.equal(['device', 'agreement', 'kernels', 'train'])
      expect(parts.device).to.equal('passed')
      expect(parts.kernels).to.match(/^failed \(1\): .*could not give/)
      expect(parts.train).to.match(/^failed \(1\): .*could not give/)
    })

    it('says that there is no GPU, and runs nothing', async () => {
      const folder = join(work, 'none')
      const { code } = await output(script, ['--quick', `--out=${folder}`], { HEBB_EMULATION_DEVICES: '0' })
      expect(code).to.equal(1)
      const parts = outcomes(folder)
      expect(Object.keys(parts)).to.deep.equal(['device'])
      expect(parts.device).to.match(/^failed \(1\): .*sees no GPU/)
    })

    it('refuses parts that it does not have', async () => {
      const { code, stderr } = await output(script, ['kernel'])
      expect(code).to.equal(2)
      expect(stderr).to.match(/parts of device agreement.*got kernel/)
    })
  })

  it('counts the tests that failed, and tells a run that was stopped', () => {
    const tap = '1..4\nok 1 a sum\nnot ok 2 a product\n  Expected 1\nok 3 a GPU # SKIP -\n'
    expect(testsOf(tap)).to.deep.equal({ passed: 1, skipped: 1, failed: ['a product'], complete: false })
    expect(testsOf(`${tap}ok 4 another\n# tests 4\n# pass 2\n# fail 1\n`).complete).to.equal(true)
  })

  it('compares a product with the fastest that does the same', () => {
    const row = (library: string, operation: string, medianSeconds: number, more: object) =>
      ({
        name: operation,
        operation,
        library,
        medianSeconds,
        minSeconds: 0,
        maxSeconds: 1,
        rows: 8,
        cols: 4,
        batch: 32,
        ...more,
      }) as const
    const ours = row('hebb', 'spmm', 1, { density: 0.01 })
    const csr = row('PyTorch', 'csr', 3, { density: 0.01 })
    const dense = row('PyTorch', 'dense TF32', 2, {})
    const others = [
      row('PyTorch', 'csr', 0.5, { density: 0.1 }),
      row('PyTorch', 'dense TF32', 0.5, { cols: 5 }),
      row('PyTorch', 'sampled_addmm', 0.5, { density: 0.01 }),
    ]
    expect(peersOf(ours, [ours, csr, ...others, dense])).to.deep.equal([dense, csr])
  })
})
