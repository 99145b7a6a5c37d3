/** The line that says how far a command is: within the terminal's width, and in lines where it takes none back. */
import { expect } from 'chai'
import { ProgressLine, progressLine, timeLeft } from '../lib/cli/progress.js'

describe('progress', () => {
  const before = '11/12 fashion-mnist-granet-0.005-seed20 epoch 100/100'
  const after = '14999/15000, 35.2 h left'

  it('is narrower than any terminal, and says what is left as long as there is room', () => {
    for (let columns = 1; columns <= 200; ++columns)
      for (const share of [0, 0.5, 1, 1.2]) {
        const line = progressLine(before, share, after, columns)
        expect(line.length, `${columns} columns`).to.be.below(columns)
        if (columns >= 40)
          expect(line)
            .to.contain(after)
            .and.to.match(/[█░]{8}/)
        if (columns >= 100) expect(line).to.contain(before)
      }
    expect(progressLine('epoch 1/2', 0.25, '1/4', 30)).to.equal('epoch 1/2 ████░░░░░░░░░░░ 1/4')
  })

  it('leaves the last texts out where there is no room for all', () => {
    const texts = ['1874/1875', '12 min left', 'loss 0.1234']
    for (let columns = 1; columns <= 120; ++columns) {
      const line = progressLine('epoch 12/100', 0.5, texts, columns)
      expect(line.length, `${columns} columns`).to.be.below(columns)
      if (columns > 33) expect(line).to.match(/^epoch 12\/100 [█░]{8,} 1874\/1875(, |$)/)
    }
    expect(progressLine('epoch 12/100', 0.5, texts, 80)).to.match(/ 1874\/1875, 12 min left, loss 0.1234$/)
    expect(progressLine('epoch 12/100', 0.5, texts, 50)).to.match(/ 1874\/1875, 12 min left$/)
  })

  it('tells how long the rest takes, in units of a person', () => {
    expect(timeLeft(0, 10, 5000)).to.deep.equal([])
    expect(timeLeft(10, 20, 5000)).to.deep.equal(['10 s left'])
    expect(timeLeft(1000, 0, 5000)).to.deep.equal(['1 s left'])
    expect(timeLeft(1, 60, 30_000)).to.deep.equal(['30 min left'])
    expect(timeLeft(1, 240, 60_000)).to.deep.equal(['4.0 h left'])
  })

  it('is lines on a dumb terminal, and nothing where there is none', () => {
    const written: string[] = []
    const stream = (isTTY: boolean) =>
      ({ isTTY, columns: 80, write: (text: string) => written.push(text) }) as unknown as NodeJS.WriteStream
    const { TERM } = process.env
    try {
      process.env.TERM = 'dumb'
      const line = new ProgressLine(stream(true))
      for (let i = 0; i < 5; ++i) line.draw('epoch 1/2', 0.25, '1/4')
      line.clear()
      expect(written).to.deep.equal(['epoch 1/2 25% 1/4\n'])
      process.env.TERM = 'xterm'
      written.length = 0
      const coloured = Object.assign(stream(true), { columns: 30, hasColors: () => true })
      const { NO_COLOR, FORCE_COLOR } = process.env
      delete process.env.NO_COLOR
      delete process.env.FORCE_COLOR
      try {
        new ProgressLine(coloured).draw('epoch 1/2', 0.25, '1/4')
      } finally {
        if (NO_COLOR !== undefined) process.env.NO_COLOR = NO_COLOR
        if (FORCE_COLOR !== undefined) process.env.FORCE_COLOR = FORCE_COLOR
      }
      expect(written).to.deep.equal(['\r\x1b[2Kepoch 1/2 \x1b[36m████\x1b[39m░░░░░░░░░░░ 1/4'])
      written.length = 0
      new ProgressLine(stream(false)).draw('epoch 1/2', 0.25, '1/4')
      expect(written).to.deep.equal([])
    } finally {
      if (TERM === undefined) delete process.env.TERM
      else process.env.TERM = TERM
    }
  })
})
