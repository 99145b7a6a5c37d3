/** Texts that are larger than memory. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { expect } from 'chai'
import { type Corpus, type CorpusState, corpus } from '../../lib/text/index.js'
import { refuses } from './refuses.js'

async function rest<T>(lines: Corpus<T>): Promise<T[]> {
  const found: T[] = []
  for await (const line of lines) found.push(line)
  return found
}

const sorted = (lines: readonly string[]) => [...lines].sort()

describe('corpora', () => {
  let scratch: string
  let files: string[]
  const lines = Array.from({ length: 3 }, (_, file) => Array.from({ length: 40 + file }, (_, i) => `${file}:${i}`))
  const all = sorted(lines.flat())
  before(async () => {
    scratch = await mkdtemp(join(tmpdir(), 'hebb-text-'))
    files = ['a', 'b.gz', 'c'].map((name) => join(scratch, name))
    for (const [i, file] of files.entries()) {
      const text = `${(lines[i] as string[]).join('\n')}\n`
      await writeFile(file, file.endsWith('.gz') ? gzipSync(text) : text)
    }
  })
  after(() => rm(scratch, { recursive: true }))

  it('give each line once an epoch, in an order of seed and epoch', async () => {
    for (const chunk of [1, 7, 40, 1000]) {
      const one = corpus({ files, chunk, seed: 3 })
      const epochs = [await rest(one), await rest(one), await rest(one)]
      expect(one.epoch).to.equal(3)
      for (const epoch of epochs) expect(sorted(epoch)).to.deep.equal(all)
      expect(epochs[0]).to.not.deep.equal(epochs[1])
      expect(await rest(corpus({ files, chunk, seed: 3 }))).to.deep.equal(epochs[0])
      if (chunk > 1) expect(await rest(corpus({ files, chunk, seed: 4 }))).to.not.deep.equal(epochs[0])
    }
  })

  it('shuffle files, and the lines of a chunk', async () => {
    const one = corpus({ files, chunk: 20 })
    const firsts = new Set<string>()
    for (let epoch = 0; epoch < 12; ++epoch) {
      const order = await rest(one)
      firsts.add((order[0] as string).slice(0, 1))
      const of = (order[0] as string).slice(0, 2)
      const chunk = order.slice(0, 20).map((line) => Number(line.slice(2)))
      expect(order.slice(0, 20).every((line) => line.startsWith(of))).to.equal(true)
      expect([...chunk].sort((a, b) => a - b)).to.deep.equal(Array.from({ length: 20 }, (_, i) => i))
      expect(chunk).to.not.deep.equal([...chunk].sort((a, b) => a - b))
    }
    expect(firsts.size).to.equal(3)
    // Chunks have orders of their own.
    const order = (await rest(corpus({ files: files.slice(0, 1), chunk: 20 }))).map((line) => Number(line.slice(2)))
    expect(order.slice(0, 20)).to.not.deep.equal(order.slice(20).map((i) => i - 20))
  })

  it('go on from every state with the lines that follow', async () => {
    const one = corpus({ files, chunk: 7, seed: 5 })
    await rest(one)
    const states: CorpusState[] = [one.state()]
    const given: string[] = []
    for await (const line of one) {
      given.push(line)
      states.push(one.state())
    }
    const next = await rest(one)
    for (const [i, state] of states.entries()) {
      const other = corpus({ files, chunk: 7, seed: 5 })
      other.restore(JSON.parse(JSON.stringify(state)))
      expect(await rest(other), `from line ${i}`).to.deep.equal(given.slice(i))
      if (i % 50 === 0) expect(await rest(other)).to.deep.equal(next)
    }
  })

  it('go on where a loop was left', async () => {
    const [one, other] = [corpus({ files, chunk: 7 }), corpus({ files, chunk: 7 })]
    const given: string[] = []
    for (const many of [1, 6, 30, 50])
      for await (const line of one) {
        given.push(line)
        if (given.length % many === 0) break
      }
    expect([...given, ...(await rest(one))]).to.deep.equal(await rest(other))
  })

  it('keep lines and their translations together', async () => {
    const targets = files.map((file) => `${file.replace(/\.gz$/, '')}.de`)
    for (const [i, file] of targets.entries())
      await writeFile(file, (lines[i] as string[]).map((l) => `de ${l}`).join('\n'))
    const pairs = await rest(corpus({ files, targets, chunk: 11 }))
    expect(sorted(pairs.map(({ source }) => source))).to.deep.equal(all)
    for (const { source, target } of pairs) expect(target).to.equal(`de ${source}`)
  })

  it('refuse what does not fit', async () => {
    await refuses(() => corpus({ files: [] }), /files to be the names of text files, got \[\]/)
    await refuses(() => corpus({ files: 'a' as never }), /names of text files, got 'a'/)
    await refuses(() => corpus({ files, targets: ['a'] }), /targets to be 3 names .* got \["a"\]/)
    await refuses(() => corpus({ files, chunk: 0 }), /chunk to be an integer/)
    await refuses(() => corpus({ files, seeds: 0 } as never), /Did you mean 'seed'/)
    await refuses(() => rest(corpus({ files: [join(scratch, 'none')] })), /none, got none/, 'MISSING_FILE')
    const one = corpus({ files, seed: 1 })
    const state = one.state()
    for (const [name, value] of Object.entries({ seed: 2, chunk: 7, files: 2 }))
      await refuses(
        () => one.restore({ ...state, [name]: value }),
        new RegExp(`corpus with ${name} \\d+, got ${value}`),
      )
    await refuses(() => one.restore({ ...state, linesDone: -1 }), /linesDone of the state to be an integer/)
    await refuses(() => one.restore(undefined as never), /options of restore\(\) to be an object/)
    one.restore({ ...state, filesDone: 2, linesDone: 1000 })
    await refuses(() => rest(one), /to have 1000 lines, as many as were read before, got 4\d/, 'BAD_FILE')
    one.restore(state)
    for await (const _ of one) {
      await refuses(() => rest(one), /one loop over a corpus at a time/)
      await refuses(() => one.restore(state), /outside of a loop/)
      break
    }
    one.restore(state)
    expect((await rest(one)).length).to.equal(all.length)
  })
})
