/** Files that are written: over nothing but regular files of their own kind, behind links, with their permissions. */
import { execFileSync } from 'node:child_process'
import {
  chmod,
  link,
  lstat,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { expectPlace, isSameFile, type Kind, replaceFile } from '../lib/files.js'
import { mlp, sgd, Trainer } from '../lib/index.js'
import { hebb } from './programs.js'
import { expectRefusal } from './support.js'
import { clusters, writeIdx } from './synthetic.js'

describe('files that are written', () => {
  let folder: string
  const kind: Kind = { name: 'a letter', begins: /^Dear / }
  const at = (name: string) => join(folder, name)
  const letter = (file: string) => replaceFile(file, kind, (handle) => handle.writeFile('Dear you'))
  const trainer = () =>
    new Trainer(mlp({ widths: [8, 4, 3], density: 0.5 }), {
      optimizer: sgd({ learningRate: 0.1 }),
      device: 'cpu',
    })

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hebb-files-'))
  })
  afterEach(() => rm(folder, { recursive: true }))

  it('take the place of no pipe, device or socket', async () => {
    execFileSync('mkfifo', [at('pipe')])
    const server = createServer().listen(at('socket'))
    await new Promise((resolve) => server.on('listening', resolve))
    await symlink('/dev/null', at('device'))
    using saving = trainer()
    for (const name of ['pipe', 'socket', 'device']) {
      const before = await lstat(at(name))
      for (const write of [letter, (file: string) => expectPlace(file, kind), (file: string) => saving.save(file)]) {
        const { message } = await expectRefusal(() => write(at(name)), 'CANNOT_WRITE', name)
        expect(message).to.contain(at(name)).and.to.contain('a pipe, a device or a socket')
      }
      expect((await lstat(at(name))).ino).to.equal(before.ino)
    }
    server.close()
    expect((await stat('/dev/null')).isCharacterDevice()).to.equal(true)
    expect((await readdir(folder)).sort()).to.deep.equal(['device', 'pipe'])
  })

  it('take the place of no file of another kind, and of an empty one', async () => {
    await writeFile(at('data.csv'), 'a,b\n1,2\n')
    using saving = trainer()
    for (const write of [letter, (file: string) => saving.save(file)]) {
      const { message } = await expectRefusal(() => write(at('data.csv')), 'CANNOT_WRITE', 'a table')
      expect(message).to.match(/it is not a (letter|checkpoint of hebb), and would be lost/)
    }
    expect(await readFile(at('data.csv'), 'utf8')).to.equal('a,b\n1,2\n')
    await writeFile(at('empty'), '')
    await saving.save(at('empty'))
    await saving.save(at('empty'))
    await expectRefusal(() => letter(at('empty')), 'CANNOT_WRITE', 'a checkpoint')
    expect((await readdir(folder)).sort()).to.deep.equal(['data.csv', 'empty'])
  })

  it('take the place of no write-protected file', async () => {
    await letter(at('letter'))
    await chmod(at('letter'), 0o444)
    const { message } = await expectRefusal(() => letter(at('letter')), 'CANNOT_WRITE', 'protected')
    expect(message).to.contain('it is write-protected')
    expect((await stat(at('letter'))).mode & 0o777).to.equal(0o444)
  })

  it('lie behind links, whether these lead to a file yet or not, with the permissions of the old file', async () => {
    await symlink('target', at('link'))
    await symlink('link', at('links'))
    await letter(at('links'))
    expect(await readlink(at('link'))).to.equal('target')
    expect((await lstat(at('target'))).isFile()).to.equal(true)
    await chmod(at('target'), 0o640)
    await letter(at('links'))
    expect((await stat(at('target'))).mode & 0o777).to.equal(0o640)
    expect(await isSameFile(at('links'), at('target'))).to.equal(true)
    await link(at('target'), at('hard'))
    expect(await isSameFile(at('hard'), at('link'))).to.equal(true)
    await symlink('circle', at('circle'))
    expect((await expectRefusal(() => letter(at('circle')), 'CANNOT_WRITE', 'a circle')).message).to.contain('circle')
  })

  it('leave no temporary where writing fails', async () => {
    await letter(at('letter'))
    const failing = replaceFile(at('letter'), kind, async () => {
      throw Object.assign(new Error('no space'), { code: 'ENOSPC' })
    })
    await expectRefusal(() => failing, 'CANNOT_WRITE', 'a full disk')
    expect(await readdir(folder)).to.deep.equal(['letter'])
  })

  it('of the command line are not over a run that is not finished, or over what another flag names', async () => {
    for (const [part, samples] of [
      ['train', 100],
      ['t10k', 20],
    ] as const)
      await writeIdx(folder, part, clusters({ samples, features: 36, classes: 10, seed: 1 }), [6, 6])
    const flags = ['train', '--data', folder, '--hidden', '24', '--density', '0.2', '--device', 'cpu', '--epochs', '3']
    const [file, other] = [at('run.safetensors'), at('link.safetensors')]
    expect((await hebb(...flags, '--checkpoint', file)).stderr).to.equal('')
    await symlink('run.safetensors', other)
    const before = await readFile(file)
    // Through links, and where a report would go.
    const { code, stderr } = await hebb('compact', file, '--out', other)
    expect([code, stderr]).to.deep.equal([1, `hebb: Expected --out to be another file than ${file}, got ${other}\n`])
    expect((await hebb(...flags, '--report', file)).stderr).to.contain('it is not a report, and would be lost')
    expect((await readFile(file)).equals(before)).to.equal(true)
    // A finished run may be made again; one that was stopped is gone on with.
    expect((await hebb(...flags, '--checkpoint', file)).stderr).to.equal('')
    using stopped = await Trainer.load(file, { device: 'cpu' })
    for await (const _ of stopped.fit(clusters({ samples: 40, features: 36, classes: 10, seed: 1 }), { epochs: 9 }))
      break
    await stopped.save(file)
    for (const args of [
      [...flags, '--checkpoint', file],
      ['compact', at('whole.safetensors'), '--out', file],
    ]) {
      if (args[0] === 'compact') expect((await hebb(...flags, '--checkpoint', args[1] as string)).stderr).to.equal('')
      const refused = await hebb(...args)
      expect(refused.code, args[0]).to.equal(1)
      expect(refused.stderr).to.contain(
        `got ${file}, whose run has done 1 of its 9 epochs. Go on with it by hebb train`,
      )
    }
  })
})
