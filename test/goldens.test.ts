/**
 * Every method's short runs, and runs that an earlier version saved, give what they gave, to the last bit, on every
 * SIMD level; those over the whole of MNIST on the best one, and on all when goldens.ts is run as a program.
 */
import { expect } from 'chai'
import { cases, expected, goldens, resumed, run, saved } from './goldens.js'
import { cpu, levels } from './support.js'

describe('goldens', () => {
  const known = goldens()
  for (const level of levels) {
    for (const [name, { whole }] of Object.entries(cases)) {
      if (whole && level !== levels[0]) continue
      it(`${name}, ${level}`, async () => {
        expect(await run(name, cpu(2, level))).to.deep.equal(expected(known, name, level))
      })
    }
    for (const name of Object.keys(saved)) {
      it(`a checkpoint of ${name} resumed, ${level}`, async () => {
        expect(await resumed(name, cpu(2, level))).to.deep.equal(expected(known, `${name}, resumed`, level))
      })
    }
  }
})
