/**
 * Hazard: the garbage collector, which takes what nobody holds while native threads still use it, and which does not
 * see native memory.
 */
import { expect } from 'chai'
import { child } from './child.js'

describe('garbage collection', () => {
  const title =
    'takes everything that was dropped, while its jobs run and while V8 is under pressure, ' +
    'and native memory returns to zero'
  it(title, async () => {
    const { code, signal, stdout, stderr } = await child('garbage.ts', [], ['--expose-gc'])
    expect({ code, signal, stderr }).to.deep.equal({ code: 0, signal: null, stderr: '' })
    expect(stdout.trim()).to.equal('jobs copies trainers devices pressure')
  })
})
