/** Every way in which a run is told to end saves what was trained, and the exit code says which one it was. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { existsSync, openSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { load } from '../lib/index.js'
import { main } from './programs.js'
import { clusters, writeIdx } from './synthetic.js'

describe('a run that is told to end', () => {
  let folder: string
  let count = 0
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hebb-ending-'))
    for (const part of ['train', 't10k'] as const)
      await writeIdx(folder, part, clusters({ samples: 400, features: 36, classes: 10, seed: 1 }), [6, 6])
  })
  after(() => rm(folder, { recursive: true }))

  /** Of a run that would save after its last epoch alone. `act` is called when its first epoch was reported. */
  async function ended(
    act: (child: ChildProcess) => unknown,
    { output = 'pipe', env = {} }: { output?: 'pipe' | number; env?: NodeJS.ProcessEnv } = {},
  ): Promise<{ code: unknown; stderr: string; step: number | undefined }> {
    const file = join(folder, `${++count}.safetensors`)
    const flags = ['--data', folder, '--hidden', '24', '--density', '0.2', '--device', 'cpu', '--epochs', '1000000']
    const args = ['train', ...flags, '--every', '1000000', '--checkpoint', file]
    const child = spawn(process.execPath, [main, ...args], {
      stdio: ['ignore', output, 'pipe'],
      env: { ...process.env, _: 'node', ...env },
    })
    let [stderr, out, isDone] = ['', '', false]
    child.stderr?.on('data', (chunk) => {
      stderr += chunk
    })
    child.stdout?.on('data', (chunk) => {
      out += chunk
      if (isDone || !out.includes('epoch ')) return
      isDone = true
      act(child)
    })
    const code = await new Promise((resolve) => child.on('close', (status, signal) => resolve(status ?? signal)))
    if (!existsSync(file)) return { code, stderr, step: undefined }
    using saved = await load(file, { device: 'cpu' })
    return { code, stderr, step: JSON.parse(saved.notes.settings as string).epochs }
  }

  for (const [name, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const)
    it(`by ${name}, also twice, ends with ${code}`, async () => {
      const end = await ended((child) => {
        child.kill(name)
        child.kill(name)
      })
      expect(end).to.deep.equal({ code, stderr: '', step: 1000000 })
    })

  it('by SIGHUP goes on under nohup', async () => {
    const end = await ended(
      (child) => {
        child.kill('SIGHUP')
        setTimeout(() => child.kill('SIGTERM'), 300)
      },
      { env: { _: '/usr/bin/nohup' } },
    )
    expect(end.code).to.equal(143)
  })

  it('by a reader that leaves ends with 141, as SIGPIPE would', async () => {
    const end = await ended((child) => child.stdout?.destroy())
    expect(end).to.deep.equal({ code: 141, stderr: '', step: 1000000 })
  })

  it('by a stdout that is full says so', async () => {
    const end = await ended(() => {}, { output: openSync('/dev/full', 'w') })
    expect(end).to.deep.include({ code: 1, step: 1000000 })
    expect(end.stderr).to.match(/^hebb: Expected to be able to write to stdout: the disk is full\..*\n$/)
  })

  it('by a terminal that is closed', async function () {
    if (spawnSync('script', ['--version']).status !== 0) this.skip()
    const file = join(folder, 'terminal.safetensors')
    const flags = ['--data', folder, '--hidden', '24', '--density', '0.2', '--device', 'cpu', '--epochs', '1000000']
    const args = [process.execPath, main, 'train', ...flags, '--every', '1000000', '--checkpoint', file]
    const terminal = spawn('script', ['-qefc', args.join(' '), '/dev/null'], { env: { ...process.env, _: 'node' } })
    await new Promise<void>((resolve) => {
      terminal.stdout.on('data', (chunk) => {
        if (String(chunk).includes('epoch 3')) resolve()
      })
    })
    expect(existsSync(file)).to.equal(false)
    terminal.kill('SIGKILL')
    while (!existsSync(file)) await new Promise((resolve) => setTimeout(resolve, 20))
  })

  it('goes on without a stderr', async () => {
    const end = await ended((child) => {
      child.stderr?.destroy()
      setTimeout(() => child.kill('SIGTERM'), 300)
    })
    expect(end.code).to.equal(143)
  })
})
