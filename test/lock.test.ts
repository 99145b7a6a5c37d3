/** What a run saves to, and the folder of a comparison, belong to one process, until it ends, however that happens. */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rm, symlink } from 'node:fs/promises'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { mlp, sgd, Trainer } from '../lib/index.js'
import { hebb, main } from './programs.js'
import { expectRefusal } from './support.js'
import { clusters, writeIdx } from './synthetic.js'

describe('one process at a time', () => {
  let folder: string
  const data = clusters({ samples: 100, features: 36, classes: 10, seed: 1 })
  const shared = () => ['--data', folder, '--hidden', '24', '--device', 'cpu', '--epochs', '1000000']
  const children: ChildProcess[] = []

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hebb-lock-'))
    for (const part of ['train', 't10k'] as const) await writeIdx(folder, part, data, [6, 6])
  })
  afterEach(() => {
    for (const child of children.splice(0)) child.kill('SIGKILL')
  })
  after(() => rm(folder, { recursive: true }))

  /** Starts a command; resolves when that file is there. */
  async function started(file: string, ...args: string[]): Promise<{ child: ChildProcess; ended: Promise<unknown> }> {
    const child = spawn(process.execPath, [main, ...args], { stdio: 'ignore' })
    children.push(child)
    const ended = new Promise((resolve) => child.on('close', resolve))
    while (!existsSync(file)) await new Promise((resolve) => setTimeout(resolve, 20))
    return { child, ended }
  }

  const trainer = () =>
    new Trainer(mlp({ widths: [36, 24, 10], density: 0.2 }), { optimizer: sgd({ learningRate: 0.1 }), device: 'cpu' })

  it('compares in a folder; one that was killed leaves it to the next', async () => {
    const out = join(folder, 'study')
    const args = ['compare', '--densities', '0.2', '--datasets', 'mnist', ...shared(), '--out', out]
    const { child, ended } = await started(join(out, 'cells', 'mnist-chts-0.2-seed0.safetensors'), ...args)
    const { code, stderr } = await hebb(...args)
    expect([code, stderr]).to.deep.equal([
      1,
      `hebb: Expected ${out} to be written by one process at a time, got one that process ${child.pid} on ` +
        `${hostname()} works on. Wait until it has ended, or give another name.\n`,
    ])
    child.kill('SIGKILL')
    await ended
    expect(existsSync(join(out, '.lock'))).to.equal(true) // the file, and no lock
    const next = spawn(process.execPath, [main, ...args])
    children.push(next)
    let said = ''
    next.stderr.on('data', (chunk) => {
      said += chunk
    })
    setTimeout(() => next.kill('SIGINT'), 3000)
    const status = await new Promise((resolve) => next.on('close', resolve))
    expect([status, said]).to.deep.equal([130, ''])
    expect(existsSync(join(out, '.lock'))).to.equal(false)
  })

  it('trains a checkpoint, whatever name it is called by, and nobody else saves there', async () => {
    const [file, link] = [join(folder, 'run.safetensors'), join(folder, 'link.safetensors')]
    const { child, ended } = await started(file, 'train', ...shared(), '--density', '0.2', '--checkpoint', file)
    await symlink('run.safetensors', link)
    for (const flag of ['--resume', '--checkpoint']) {
      const args = flag === '--resume' ? [] : ['--density', '0.2', '--data', folder, '--hidden', '24']
      const { code, stderr } = await hebb('train', ...args, '--device', 'cpu', flag, link)
      expect(code, flag).to.equal(1)
      expect(stderr).to.match(flag === '--resume' ? /one process at a time, got one that process/ : /is not finished/)
    }
    using saving = trainer()
    const { message } = await expectRefusal(() => saving.save(link), 'CANNOT_WRITE', 'a file that another one owns')
    expect(message).to.contain(`Expected ${link} to be written by one process at a time, got one that process`)
    child.kill('SIGKILL')
    await ended
    await saving.save(link)
  })

  it('and one trainer: until its loop is left, it is disposed, or begins another run', async () => {
    const [file, best] = [join(folder, 'a.safetensors'), join(folder, 'b.safetensors')]
    using first = trainer()
    using second = trainer()
    const begin = (one: Trainer) =>
      one.fit(data, { epochs: 3, validation: data, checkpoint: { file, best, overwrite: true } })
    const left = begin(first)
    await left.next()
    await expectRefusal(() => begin(second).next(), 'CANNOT_WRITE', 'what another trainer saves to')
    expect(second.run, 'refused before anything has changed').to.equal(undefined)
    await left.return()
    for await (const _ of begin(second)) break
    const abandoned = begin(first)
    await abandoned.next()
    await begin(first).next() // in place of the one before
    await abandoned.return()
    await expectRefusal(() => begin(second).next(), 'CANNOT_WRITE', 'the later run owns it still')
    first.dispose()
    expect(existsSync(`${file}.lock`)).to.equal(false)
    for await (const _ of begin(second));
    expect(existsSync(`${file}.lock`) || existsSync(`${best}.lock`)).to.equal(false)
  })
})
