/** Hazard: a process that ends, in whatever way, while native threads work. */
import { expect } from 'chai'
import { child } from './child.js'
import { bound, train } from './training.js'

/** Milliseconds for a process that starts and ends, with those of the tests of other programs on the same machine. */
const SOON = 10_000

describe('a process', () => {
  it('ends by itself when its training is done, although nothing was disposed', async () => {
    const { code, signal, stdout, stderr } = await child('exit.ts', ['natural'])
    expect({ code, signal, stderr }).to.deep.equal({ code: 0, signal: null, stderr: '' })
    expect(stdout.trim()).to.equal(await train({ epochs: 4 }))
  })

  for (const phase of ['training', 'updating', 'loading']) {
    for (const [way, status] of [
      ['exit', { code: 7, signal: null }],
      ['throw', { code: 1, signal: null }],
      ['reject', { code: 1, signal: null }],
      ['kill', { code: null, signal: 'SIGTERM' }],
    ] as const) {
      if (phase === 'loading' && way !== 'exit') continue
      it(`ends by ${way} while ${phase}`, async () => {
        const { code, signal, stderr, milliseconds } = await child('exit.ts', [way, phase])
        expect({ code, signal }, stderr).to.deep.equal(status)
        if (status.code === 1) expect(stderr).to.match(/Error: on purpose/)
        else expect(stderr).to.equal('')
        expect(milliseconds).to.be.below(bound(SOON))
      })
    }
  }
})
