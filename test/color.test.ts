/** Colours of the command line: where a terminal has them, and never where a program reads. */
import { spawnSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { hasColors } from '../lib/cli/color.js'
import { main } from './programs.js'
import { clusters, writeIdx } from './synthetic.js'

const ESCAPE = '\x1b['

function hebb(env: NodeJS.ProcessEnv, ...args: string[]) {
  const { FORCE_COLOR: _, NO_COLOR: __, ...own } = process.env
  return spawnSync(process.execPath, [main, ...args], { encoding: 'utf8', env: { ...own, ...env } })
}

describe('colours', () => {
  it('are there where the terminal has them, NO_COLOR takes them away, and FORCE_COLOR brings them back', () => {
    const stream = (isTTY: boolean, has = true) => ({ isTTY, hasColors: () => has }) as NodeJS.WriteStream
    for (const [terminal, env, expected] of [
      [stream(true), {}, true],
      [stream(true, false), {}, false],
      [stream(false), {}, false],
      [{ isTTY: false }, {}, false],
      [stream(true), { NO_COLOR: '1' }, false],
      [stream(true), { NO_COLOR: '' }, true],
      [stream(false), { FORCE_COLOR: '1' }, true],
      [stream(false), { FORCE_COLOR: '' }, false],
      [stream(true), { FORCE_COLOR: '0' }, false],
      [stream(true), { FORCE_COLOR: 'false' }, false],
      [stream(true), { NO_COLOR: '1', FORCE_COLOR: '1' }, true],
    ] as const)
      expect(hasColors(terminal as NodeJS.WriteStream, env), JSON.stringify(env)).to.equal(expected)
  })

  it('mark headings of help and errors, alone and without changing a letter', () => {
    const strip = (text: string) =>
      [1, 22, 31, 39].reduce((left, code) => left.replaceAll(`${ESCAPE}${code}m`, ''), text)
    for (const args of [['--help'], ['train', '--help'], ['evaluate', 'nowhere.safetensors']]) {
      const [plain, forced] = [hebb({}, ...args), hebb({ FORCE_COLOR: '1' }, ...args)]
      expect(plain.stdout + plain.stderr).to.not.include(ESCAPE)
      expect(hebb({ NO_COLOR: '1' }, ...args).stdout).to.equal(plain.stdout)
      expect([strip(forced.stdout), strip(forced.stderr)], args.join(' ')).to.deep.equal([plain.stdout, plain.stderr])
      expect(forced.stdout + forced.stderr).to.include(ESCAPE)
    }
    expect(hebb({ FORCE_COLOR: '1' }, 'train', '--help').stdout).to.include('\x1b[1mExamples:\x1b[22m')
    expect(hebb({ FORCE_COLOR: '1' }, 'evaluate', 'no').stderr).to.include('\x1b[31mhebb:\x1b[39m Expected')
  })

  it('are in what train says, and in no line of JSON', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'hebb-color-'))
    try {
      for (const part of ['train', 't10k'] as const)
        await writeIdx(folder, part, clusters({ samples: 40, features: 36, classes: 10, seed: 1 }), [6, 6])
      const flags = [
        'train',
        '--data',
        folder,
        '--hidden',
        '24',
        '--density',
        '0.2',
        '--device',
        'cpu',
        '--epochs',
        '1',
      ]
      const told = hebb({ FORCE_COLOR: '1' }, ...flags).stdout
      expect(told).to.include('\x1b[1mchts on mnist\x1b[22m: 36-24-10')
      expect(told).to.include('\x1b[1mtest accuracy\x1b[22m ')
      const json = hebb({ FORCE_COLOR: '1' }, ...flags, '--json').stdout
      expect(json).to.not.include(ESCAPE)
      for (const line of json.trim().split('\n')) JSON.parse(line)
    } finally {
      await rm(folder, { recursive: true })
    }
  })
})
