import { expect } from 'chai'
import { HebbError } from '../lib/error.js'

describe('HebbError', () => {
  it('is known in another copy of the library, and so are those of its own only to their class', async () => {
    const again = '../lib/error.ts?again'
    const copy: typeof import('../lib/error.js') = await import(again)
    expect(copy.HebbError).to.not.equal(HebbError)
    expect(new copy.HebbError('INTERNAL', 'x')).to.be.instanceOf(HebbError)
    expect(new HebbError('INTERNAL', 'x')).to.be.instanceOf(copy.HebbError)
    class Own extends HebbError {}
    expect(new Own('INTERNAL', 'x')).to.be.instanceOf(HebbError).and.instanceOf(Own)
    expect(new HebbError('INTERNAL', 'x')).to.not.be.instanceOf(Own)
    for (const other of [new Error('x'), undefined, null, 'x', {}, Object.create(null), HebbError])
      expect(other instanceof HebbError).to.equal(false)
  })
})
