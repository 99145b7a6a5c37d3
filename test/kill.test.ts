/**
 * Kills a process with SIGKILL at random moments while it trains and saves after every step, starts it again from its
 * checkpoint, and so on: there is always a checkpoint to load, it is the state of an undisturbed run at that step, and
 * the run's end is the same to the last bit. HEBB_KILLS: how often (default 10; .ci/run 25, .ci/release 100).
 */
import { spawn } from 'node:child_process'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { readTensors } from '../lib/train/safetensors.js'
import { program } from './programs.js'
import { random } from './support.js'

const kills = Number(process.env.HEBB_KILLS ?? 10)
/** Long enough that the run never ends before the last kill. */
const steps = 40 * kills

describe('SIGKILL while saving', () => {
  let folder: string
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hebb-kill-'))
  })
  after(() => rm(folder, { recursive: true }))

  /** Starts the program; kills it `delay` ms after it has saved for the first time, or lets it end. */
  const run = (file: string, delay?: number) =>
    new Promise<{ code: number | null; signal: string | null; said: string }>((resolve) => {
      const child = spawn(process.execPath, [program('hazards/saves.ts'), file, String(steps)], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      let said = ''
      child.stdout.on('data', (chunk) => {
        if (said === '' && delay !== undefined) setTimeout(() => child.kill('SIGKILL'), delay)
        said += chunk
      })
      child.on('close', (code, signal) => resolve({ code, signal, said }))
    })

  it(`${kills} times: always a checkpoint that loads, and the same end`, async () => {
    const whole = join(folder, 'whole.safetensors')
    const file = join(folder, 'killed.safetensors')
    const next = random(2026)
    const undisturbed = await run(whole)
    expect(undisturbed.code, undisturbed.said).to.equal(0)
    /** Checksums of the tensors after each step, as the program says them. */
    const expected = new Map(
      undisturbed.said
        .trim()
        .split('\n')
        .map((line) => line.split(' ') as [string, string]),
    )
    let killed = 0
    let last = 0
    for (let i = 0; i < kills; ++i) {
      const { signal, said } = await run(file, 60 * next())
      if (signal === 'SIGKILL') ++killed
      for (const line of said
        .trim()
        .split('\n')
        .filter((l) => / [0-9a-f]{64}$/.test(l))) {
        const [step, sum] = line.split(' ') as [string, string]
        expect(sum, `step ${step} after ${i} kills`).to.equal(expected.get(step))
      }
      const { metadata } = await readTensors(file)
      const { step } = JSON.parse(metadata.progress as string)
      expect(step, `the checkpoint after kill ${i + 1}`).to.be.at.least(last)
      last = step
    }
    expect(killed, 'runs that were killed before their end').to.equal(kills)
    expect((await run(file)).code).to.equal(0)
    const [a, b] = await Promise.all([whole, file].map((f) => readTensors(f)))
    expect([...(b?.tensors ?? [])]).to.deep.equal([...(a?.tensors ?? [])])
    expect((await readdir(folder)).filter((name) => name.endsWith('.tmp'))).to.deep.equal([])
  }).timeout(600_000)
})
