/** Hazard: child processes that are started while native threads work: fork() copies one thread and every lock. */
import { execFile, fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { promisify } from 'node:util'
import { expect } from 'chai'
import { train } from './training.js'

const say = ['-e', 'process.stdout.write("well")']

describe('child processes started while training goes on', () => {
  it('work, and the result is that of an undisturbed run', async () => {
    const undisturbed = await train({ epochs: 60 })
    let training = true
    const disturbed = train({ epochs: 60 }).finally(() => {
      training = false
    })
    let started = 0
    while (training && started < 24) {
      const spawned = Array.from({ length: 4 }, async () => {
        const child = spawn('true', { stdio: 'ignore' })
        expect((await once(child, 'exit'))[0]).to.equal(0)
      })
      const executed = promisify(execFile)(process.execPath, say)
      const forked = fork('-', {
        execPath: process.execPath,
        execArgv: ['-e', 'process.send("well"); process.disconnect()', '--'],
      })
      const [message] = await once(forked, 'message')
      expect(message).to.equal('well')
      expect((await executed).stdout).to.equal('well')
      await Promise.all(spawned)
      started += 6
    }
    expect(started).to.be.above(5)
    expect(await disturbed).to.equal(undisturbed)
  })
})
