import { readFileSync } from 'node:fs'
import { expect } from 'chai'
import { version } from '../../lib/package.js'
import { type BleuOptions, corpusBleu } from '../../lib/text/index.js'
import { expectRefusal } from '../support.js'

interface Expected {
  options: { lowercase?: boolean; tokenize?: string; smooth_method?: string; smooth_value?: number }
  signature: string
  score: number
  precisions: number[]
  brevityPenalty: number
  hypothesisLength: number
  referenceLength: number
  /** Not with add-k, whose sums sacreBLEU puts here. */
  counts?: number[]
  totals?: number[]
}

const { cases } = JSON.parse(readFileSync(new URL('../vectors/bleu.json', import.meta.url), 'utf8')) as {
  cases: { name: string; hypotheses: string[]; references: string[][]; bleu: Expected[] }[]
}

const near = (given: readonly number[], expected: readonly number[], what: string) => {
  expect(given, what).to.have.length(expected.length)
  for (const [i, value] of expected.entries()) expect(given[i], `${what} ${i + 1}`).to.be.closeTo(value, 1e-9)
}

describe('BLEU', () => {
  describe("has sacreBLEU's numbers", () => {
    for (const { name, hypotheses, references, bleu } of cases)
      it(name, () => {
        for (const expected of bleu) {
          const { smooth_method: smoothMethod, smooth_value: smoothValue, ...others } = expected.options
          const options = { ...others, smoothMethod, smoothValue } as BleuOptions
          const given = corpusBleu(hypotheses, references, options)
          const what = JSON.stringify(expected.options)
          near([given.score], [expected.score], `${what}: score`)
          near(given.precisions, expected.precisions, `${what}: precision`)
          near([given.brevityPenalty], [expected.brevityPenalty], `${what}: brevity penalty`)
          expect(given.hypothesisLength, what).to.equal(expected.hypothesisLength)
          expect(given.referenceLength, what).to.equal(expected.referenceLength)
          if (expected.counts) expect(given.counts, what).to.deep.equal(expected.counts)
          if (expected.totals) expect(given.totals, what).to.deep.equal(expected.totals)
          const ours = expected.signature.replace(/version:[^|]*$/, `version:hebb-${version}`)
          expect(given.signature, what).to.equal(ours)
        }
      })
  })

  it('takes one set of references with or without an array around it', () => {
    const [hypotheses, references] = [['a b c d e'], ['a b c d f']]
    expect(corpusBleu(hypotheses, [references])).to.deep.equal(corpusBleu(hypotheses, references))
  })

  it('is 100 where all lines are equal, and not more', () => {
    const lines = ['Ein Kind fährt in einem Kettenkarussell.', 'Zwei Männer spielen Baseball.']
    const { score, precisions, brevityPenalty } = corpusBleu(lines, lines)
    expect(score).to.be.within(100 - 1e-9, 100)
    expect([...precisions, brevityPenalty]).to.deep.equal([100, 100, 100, 100, 1])
  })

  it('takes the nearest reference for the length, and of two the shorter', () => {
    const lengthFor = (...references: string[]) =>
      corpusBleu(
        ['a b c d'],
        references.map((line) => [line]),
      ).referenceLength
    expect(lengthFor('a b c d e f g', 'a b c d e')).to.equal(5)
    expect(lengthFor('a b c d e', 'a b c')).to.equal(3)
    expect(lengthFor('a b c', 'a b c d e')).to.equal(3)
  })

  it('halves again for every order without a match', () => {
    // 4 words, 2 of them matched: 2/4, then 1/2 of 3, 1/4 of 2 and 1/8 of 1.
    const { precisions } = corpusBleu(['a x b y'], ['a b c d'])
    near(precisions, [50, 100 / 6, 100 / 8, 100 / 8], 'precision')
  })

  it('matches a word as often as the reference has it that has it most often', () => {
    // The example of Papineni et al.: `the` is twice in the first reference and once in the second.
    const references = [['The cat is on the mat.'], ['There is a cat on the mat.']]
    const { counts, totals } = corpusBleu(['the the the the the the the'], references, { lowercase: true })
    expect([counts[0], totals[0]]).to.deep.equal([2, 7])
  })

  it('has white space where Python has it, and nowhere else', () => {
    const isSpace = (code: number) =>
      (code >= 9 && code <= 13) ||
      (code >= 0x1c && code <= 0x20) ||
      (code >= 0x2000 && code <= 0x200a) ||
      [0x85, 0xa0, 0x1680, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000].includes(code)
    const codes = Array.from({ length: 0x10000 }, (_, code) => code)
    const tokens = (line: string) => corpusBleu([line], ['a'], { tokenize: 'none' }).hypothesisLength
    const spaces = codes.filter(isSpace).map((code) => String.fromCharCode(code))
    expect(tokens(`a${spaces.join('a')}a`)).to.equal(spaces.length + 1)
    expect(tokens(String.fromCharCode(...codes.filter((code) => !isSpace(code))))).to.equal(1)
  })

  it('counts matches over all lines, and so is no mean of lines', () => {
    const [first, second] = [
      ['a b c d e', 'a b c d e'],
      ['v w x y z 1 2 3', 'v w x y z 4 5 6'],
    ] as const
    const both = corpusBleu([first[0], second[0]], [first[1], second[1]])
    const [one, other] = [corpusBleu([first[0]], [first[1]]), corpusBleu([second[0]], [second[1]])]
    expect(both.counts).to.deep.equal(one.counts.map((count, i) => count + other.counts[i]))
    expect(both.score).to.not.be.closeTo((one.score + other.score) / 2, 1)
  })

  const refused: [string, () => unknown, RegExp][] = [
    ['no lines', () => corpusBleu([], []), /hypotheses to have at least one line, got none/],
    [
      'fewer references',
      () => corpusBleu(['a', 'b'], ['a']),
      /references to have a line for each of the 2 .* got 1\. A/,
    ],
    ['no references', () => corpusBleu(['a'], []), /references to have a line for each of the 1 hypotheses, got 0/],
    ['a set too long', () => corpusBleu(['a'], [['a'], ['a', 'b']]), /references\[1\] to have .* 1 hypotheses, got 2/],
    [
      'references by hypothesis',
      () => corpusBleu(['a', 'b', 'c'], [['a', 'A'], ['b', 'B'], ['c', 'C']]), // biome-ignore format: a line each
      /got 2\. It looks as if each array had the references of one hypothesis/,
    ],
    ['a string', () => corpusBleu('a' as any, ['a']), /hypotheses to be .* got 'a'\. Put a single line into an array/],
    [
      'a number',
      () => corpusBleu(['a', 3 as any], ['a', 'b']),
      /hypotheses to be an array of strings, got 3 at index 1/,
    ],
    ['a missing reference', () => corpusBleu(['a', 'b'], ['a', null as any]), /references .* got null at index 1/],
    ['a missing set', () => corpusBleu(['a'], [['a'], undefined as any]), /references\[1\] .* got undefined/],
    ['sets and lines', () => corpusBleu(['a', 'b'], ['a', ['b']] as any), /references .* got \["b"\] at index 1/],
    ['no array of references', () => corpusBleu(['a'], undefined as any), /references to be an array .* got undefined/],
    ['a hole', () => corpusBleu(new Array<string>(2), ['a', 'b']), /hypotheses .* got undefined at index 0/],
    [
      'another tokenisation',
      () => corpusBleu(['a'], ['a'], { tokenize: '13' as any }),
      /tokenize to be one of 13a, intl, char, none, got '13'\. Did you mean '13a'\?/,
    ],
    ['a number for it', () => corpusBleu(['a'], ['a'], { tokenize: 13 as any }), /tokenize to be one of .* got 13$/],
    ['what objects have', () => corpusBleu(['a'], ['a'], { tokenize: 'constructor' as any }), /got 'constructor'/],
    [
      'another smoothing',
      () => corpusBleu(['a'], ['a'], { smoothMethod: 'addk' as any }),
      /smoothMethod to be one of exp, floor, add-k, none, got 'addk'\. Did you mean 'add-k'\?/,
    ],
    [
      'a value that nobody reads',
      () => corpusBleu(['a'], ['a'], { smoothValue: 0.1 }),
      /no smoothValue for smoothMethod 'exp', which has none, got 0\.1\. 'floor' and 'add-k' have one/,
    ],
    [
      'a negative value',
      () => corpusBleu(['a'], ['a'], { smoothMethod: 'floor', smoothValue: -1 }),
      /smoothValue to be a number of at least 0, got -1/,
    ],
    ['yes', () => corpusBleu(['a'], ['a'], { lowercase: 'yes' as any }), /lowercase to be true or false, got 'yes'/],
    [
      'a misspelt option',
      () => corpusBleu(['a'], ['a'], { lowerCase: true } as any),
      /options of corpusBleu\(\) named .* got 'lowerCase'\. Did you mean 'lowercase'\?/,
    ],
  ]
  for (const [what, act, message] of refused)
    it(`refuses ${what}`, async () => {
      expect((await expectRefusal(act, 'INVALID_ARGUMENT', what)).message).to.match(message)
    })
})
