/** What the package exports, as a whole. */
import { readFileSync } from 'node:fs'
import { expect } from 'chai'
import { declarations, exported, snapshot } from './api.js'
import './programs.js' // which refuses an old dist/

describe('the public API', function () {
  this.timeout(60_000)

  it("is that of test/api.d.ts; 'npm run api' writes it anew after a change that is meant", () => {
    const [is, was] = [declarations().split('\n'), readFileSync(snapshot, 'utf8').split('\n')]
    const line = is.findIndex((text, i) => text !== was[i])
    const differing = line < 0 && is.length === was.length ? [] : [line + 1, was[line], is[line]]
    expect(differing, 'the first line that differs, what it was, what it is').to.deep.equal([])
  })

  it('has a docstring for each export, and for each method of a class', () => {
    const all = exported()
    expect(all.length).to.be.above(400)
    expect(all.filter(({ documentation }) => !documentation).map(({ name }) => name)).to.deep.equal([])
  })
})
