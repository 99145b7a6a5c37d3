import { readFileSync } from 'node:fs'
import { expect } from 'chai'
import { version } from '../../lib/package.js'
import { corpusChrf } from '../../lib/text/index.js'
import { expectRefusal } from '../support.js'

interface Expected {
  options: { char_order?: number; word_order?: number; beta?: number; lowercase?: boolean }
  signature: string
  name: string
  score: number
}

const { cases } = JSON.parse(readFileSync(new URL('../vectors/bleu.json', import.meta.url), 'utf8')) as {
  cases: { name: string; hypotheses: string[]; references: string[][]; chrf: Expected[] }[]
}

describe('chrF', () => {
  describe("has sacreBLEU's numbers", () => {
    for (const { name, hypotheses, references, chrf } of cases)
      it(name, () => {
        for (const expected of chrf) {
          const { char_order: charOrder, word_order: wordOrder, beta, lowercase } = expected.options
          const given = corpusChrf(hypotheses, references, { charOrder, wordOrder, beta, lowercase })
          const what = JSON.stringify(expected.options)
          expect(given.score, what).to.be.closeTo(expected.score, 1e-9)
          expect(given.name, what).to.equal(expected.name)
          const ours = expected.signature.replace(/version:[^|]*$/, `version:hebb-${version}`)
          expect(given.signature, what).to.equal(ours)
        }
      })
  })

  it('is what it is by hand', () => {
    // Without the space abcd and abxcd. Of 1-grams 4 match, of 4 and of 5; of 2-grams ab and cd, of 3 and of 4; of
    // 3-grams none, of 2 and of 3; of 4-grams none, of 1 and of 2. 5-grams, which only the reference has, do not count.
    const precision = (4 / 4 + 2 / 3 + 0 + 0) / 4
    const recall = (4 / 5 + 2 / 4 + 0 + 0) / 4
    const f = (beta: number) => (100 * (1 + beta ** 2) * precision * recall) / (beta ** 2 * precision + recall)
    expect(corpusChrf(['ab cd'], ['abx cd']).score).to.be.closeTo(f(2), 1e-9)
    expect(corpusChrf(['ab cd'], ['abx cd'], { beta: 1 }).score).to.be.closeTo(f(1), 1e-9)
  })

  it('counts punctuation as a word where words are counted', () => {
    // Of words: (hi and ) and there against hi and there: 1 of 3 and 1 of 2; no 2-gram of 2 and of 1.
    // Of characters: 7 of 9 and of 7.
    const [precision, recall] = [(7 / 9 + 1 / 3 + 0) / 3, (7 / 7 + 1 / 2 + 0) / 3]
    const { score } = corpusChrf(['(hi) there'], ['hi there'], { charOrder: 1, wordOrder: 2, beta: 1 })
    expect(score).to.be.closeTo((200 * precision * recall) / (precision + recall), 1e-9)
  })

  it('takes for each line the reference that scores best', () => {
    const [good, bad] = ['Ein Hund läuft.', 'Etwas ganz anderes steht da.']
    const hypotheses = ['Ein Hund lief.', 'Ein Hund läuft']
    const best = corpusChrf(hypotheses, [good, good]).score
    const several = [
      [good, bad],
      [bad, good],
    ]
    expect(corpusChrf(hypotheses, several).score).to.equal(best)
    expect(corpusChrf(hypotheses, several[0]).score).to.be.below(best)
  })

  it('is 100 where lines are equal but for white space, and 0 where nothing is', () => {
    expect(corpusChrf(['Ein Hund läuft.'], [' Ein  Hund\u00a0läuft.']).score).to.be.closeTo(100, 1e-9)
    expect(corpusChrf(['ab'], ['cd']).score).to.equal(0)
    expect(corpusChrf([''], ['']).score).to.equal(0)
  })

  it('is precision for a beta of 0, and tends to recall', () => {
    // ab against abcd: 2 of 2 and of 4, 1 of 1 and of 3.
    const score = (beta: number) => corpusChrf(['ab'], ['abcd'], { beta }).score
    expect(score(0)).to.be.closeTo(100, 1e-9)
    expect(score(1e6)).to.be.closeTo(50 * (2 / 4 + 1 / 3), 1e-6)
  })

  const refused: [string, () => unknown, RegExp][] = [
    ['no lines', () => corpusChrf([], []), /hypotheses to have at least one line/],
    ['fewer references', () => corpusChrf(['a', 'b'], ['a']), /references to have a line for each of the 2 hypotheses/],
    ['no characters', () => corpusChrf(['a'], ['a'], { charOrder: 0 }), /charOrder to be an integer of at least 1/],
    ['half a word', () => corpusChrf(['a'], ['a'], { wordOrder: 0.5 }), /wordOrder to be an integer of at least 0/],
    ['a negative beta', () => corpusChrf(['a'], ['a'], { beta: -1 }), /beta to be a number of at least 0, got -1/],
    ['yes', () => corpusChrf(['a'], ['a'], { lowercase: 1 as any }), /lowercase to be true or false, got 1/],
    [
      'what BLEU has',
      () => corpusChrf(['a'], ['a'], { tokenize: 'char' } as any),
      /corpusChrf\(\) named .* 'tokenize'/,
    ],
  ]
  for (const [what, act, message] of refused)
    it(`refuses ${what}`, async () => {
      expect((await expectRefusal(act, 'INVALID_ARGUMENT', what)).message).to.match(message)
    })
})
