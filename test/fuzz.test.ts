/** Every input that the fuzzer kept, once: see fuzz/main.ts. */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { targets } from './fuzz/targets.js'

describe('the fuzzer’s corpus', () => {
  let folder: string
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hebb-corpus-'))
  })
  after(() => rm(folder, { recursive: true }))

  for (const target of targets) {
    it(`${target.name}: files are taken or refused, and nothing else happens`, async () => {
      const corpus = fileURLToPath(new URL(`fuzz/corpus/${target.name}/`, import.meta.url))
      const ends = new Set<string>()
      for (const name of await readdir(corpus))
        ends.add(await target.run(await readFile(join(corpus, name)), join(folder, 'input')))
      expect([...ends].some((end) => end.startsWith('taken'))).to.equal(true)
      expect(ends.size).to.be.above(5)
    })
  }
})
