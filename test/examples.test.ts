/** The examples in JavaScript run as they are. examples/mlp.cc is built and run by test/cmake. */
import { execFile } from 'node:child_process'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { expect } from 'chai'
import './programs.js' // which refuses an old dist/
import { sanitized } from './support.js'

const example = (name: string) => join(resolve(import.meta.dirname, '..'), 'examples', name)

describe('examples', function () {
  this.timeout(120_000)

  it('text-classifier.mjs learns which animal comes first', async function () {
    if (sanitized) this.skip()
    const { stdout } = await promisify(execFile)(process.execPath, [example('text-classifier.mjs')])
    const told = [...stdout.matchAll(/^step (\d+): ([\d.]+)%/gm)].map(([, step, right]) => [
      Number(step),
      Number(right),
    ])
    expect(told.map(([step]) => step)).to.deep.equal([100, 200, 300, 400])
    expect(told[3][1]).to.be.above(95)
    expect(stdout).to.match(/label: 'fish'.*label: 'cat'/s)
  })
})
