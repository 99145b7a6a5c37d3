/** Text files, line by line. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { expect } from 'chai'
import { readLines, readParallel } from '../../lib/text/index.js'
import { refuses } from './refuses.js'

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = []
  for await (const item of items) found.push(item)
  return found
}

describe('text files', () => {
  let scratch: string
  before(async () => {
    scratch = await mkdtemp(join(tmpdir(), 'hebb-text-'))
  })
  after(() => rm(scratch, { recursive: true }))

  async function file(name: string, content: string | Uint8Array): Promise<string> {
    await writeFile(join(scratch, name), content)
    return join(scratch, name)
  }
  const linesOf = (...files: string[]) => all(readLines(...files))
  const linesIn = async (content: string | Uint8Array) => linesOf(await file('text', content))

  it('have lines that end with \\n alone', async () => {
    expect(await linesIn('one\ntwo\n')).to.deep.equal(['one', 'two'])
    expect(await linesIn('one\ntwo')).to.deep.equal(['one', 'two'])
    expect(await linesIn('one\r\ntwo\r\n')).to.deep.equal(['one', 'two'])
    expect(await linesIn('a\rb\r\r\nc')).to.deep.equal(['a\rb\r', 'c'])
    const inside = 'no\u00a0break\u2028line\u2029paragraph\u0085next\fform\vtab\0null\u001e'
    expect(await linesIn(`${inside}\n${inside}`)).to.deep.equal([inside, inside])
  })

  it('keep empty lines and spaces', async () => {
    expect(await linesIn('\n\n a \n\n')).to.deep.equal(['', '', ' a ', ''])
    expect(await linesIn('\n')).to.deep.equal([''])
  })

  it('leave a byte order mark out at the beginning alone', async () => {
    expect(await linesIn('\ufeffone\n\ufefftwo')).to.deep.equal(['one', '\ufefftwo'])
    expect(await linesIn('\ufeff\ufeffone')).to.deep.equal(['\ufeffone'])
    expect(await linesIn('\ufeff\n')).to.deep.equal([''])
  })

  it('are unpacked where they end in .gz, and follow one another', async () => {
    const [packed, plain] = [await file('a.gz', gzipSync('ä\nb\n')), await file('b', 'c')]
    expect(await linesOf(packed, plain, packed)).to.deep.equal(['ä', 'b', 'c', 'ä', 'b'])
  })

  it('have the same lines wherever a read ends', async () => {
    // Longer than a read of a megabyte, with a character across its end, and a line longer than two reads.
    const lines = [
      'ä'.repeat(2 ** 19 - 1),
      `x🚀${'y'.repeat(2 ** 22)}`,
      '',
      ...Array.from({ length: 1000 }, (_, i) => `${i}`),
    ]
    const found = await linesIn(`x${lines.join('\r\n')}`)
    expect(found.length).to.equal(lines.length)
    for (const [i, line] of lines.entries())
      expect(found[i] === (i === 0 ? `x${line}` : line), `line ${i}`).to.equal(true)
  })

  it('may be left before their end', async () => {
    const path = await file('long', 'line\n'.repeat(2 ** 20))
    for await (const line of readLines(path)) {
      expect(line).to.equal('line')
      break
    }
    const packed = await file('long.gz', gzipSync('line\n'.repeat(2 ** 20)))
    for await (const _ of readLines(packed)) break
  })

  it('name what is wrong with them', async () => {
    await refuses(() => linesOf(join(scratch, 'none')), /a text at .*none, got none/, 'MISSING_FILE')
    await refuses(() => linesOf(scratch), /to be readable/, 'BAD_FILE')
    await refuses(() => linesIn(''), /text to have lines, got an empty file/, 'BAD_FILE')
    await refuses(() => linesIn('\ufeff'), /got an empty file/, 'BAD_FILE')
    const latin = Buffer.from('gut\nschön\nschön', 'latin1')
    await refuses(() => linesIn(latin), /text to be UTF-8, got other bytes in line 2. Convert it: iconv/, 'BAD_FILE')
    await refuses(() => linesIn(Buffer.concat([Buffer.from('x\n'.repeat(2 ** 20)), latin])), /line 1048578/, 'BAD_FILE')
    await refuses(() => linesIn(Buffer.from('\ufeffa\n', 'utf16le')), /in line 1/, 'BAD_FILE')
    // The first two bytes of three, then the end.
    await refuses(() => linesIn(Buffer.from('a\nb\n€').subarray(0, 6)), /in line 3/, 'BAD_FILE')
    const packed = gzipSync('line\n'.repeat(1000))
    const [cut, plain] = [await file('cut.gz', packed.subarray(0, 30)), await file('plain.gz', 'line\n')]
    for (const path of [cut, plain])
      await refuses(() => linesOf(path), /to be whole gzip data.*Fetch it again/, 'BAD_FILE')
    await refuses(() => linesOf(), /names of text files, got none/)
    await refuses(() => linesOf(5 as never), /name of a text file, got 5/)
  })

  describe('side by side', () => {
    const pairsOf = (one: string, other: string) => all(readParallel(one, other))

    it('pair their lines', async () => {
      const [en, de] = [await file('en', 'a\u2028b\n\nc\n'), await file('de.gz', gzipSync('\ufeffA\u00a0B\r\n\r\nC'))]
      expect(await pairsOf(en, de)).to.deep.equal([
        { source: 'a\u2028b', target: 'A\u00a0B' },
        { source: '', target: '' },
        { source: 'c', target: 'C' },
      ])
      for await (const _ of readParallel(en, de)) break
    })

    it('must have equally many', async () => {
      const [en, de] = [await file('en', 'a\nb\n'), await file('de', 'A\nB\nC\nD')]
      const message = /en and .*de to have equally many lines, got 2 and 4: line 3 of .*de has no partner/
      await refuses(() => pairsOf(en, de), message, 'BAD_FILE')
      await refuses(() => pairsOf(de, en), /got 4 and 2: line 3 of .*de has no partner/, 'BAD_FILE')
      await refuses(() => pairsOf(en, join(scratch, 'none')), /none, got none/, 'MISSING_FILE')
      await refuses(() => pairsOf(en, undefined as never), /name of a text file, got undefined/)
    })
  })
})
