/** Zero-shot questions: against logits in double precision, by hand, and as files have them. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { expect } from 'chai'
import { Tape } from '../lib/autograd.js'
import { adam, llama, mlp, sgd, Trainer } from '../lib/index.js'
import { Program } from '../lib/program.js'
import { languageDocuments, type Question, readQuestions, Tokenizer } from '../lib/text/index.js'
import { encodedChoice, matthewsOf } from '../lib/train/multiple_choice.js'
import { at, cpu, modelPlaces, on, random, sanitized } from './support.js'
import { refuses } from './text/refuses.js'
import { tokensOf } from './translation.js'

/** A token a character, but for 'ab', which is one, too. */
const letters = [...'abcdefgh .']
const tokenizer = Tokenizer.from({
  ...{ version: '1.0', truncation: null, padding: null, normalizer: null, pre_tokenizer: null },
  ...{ post_processor: null, decoder: null },
  added_tokens: [
    {
      ...{ id: 0, content: '</s>', single_word: false, lstrip: false, rstrip: false },
      ...{ normalized: false, special: true },
    },
  ],
  model: {
    type: 'BPE',
    vocab: Object.fromEntries(['</s>', ...letters, 'ab'].map((token, i) => [token, i])),
    merges: ['a b'],
    unk_token: '.',
  },
} as never)
const END = 0
const ids = (text: string) => [...tokenizer.encode(text, { special: false })]

const trainerOf = (place = 'portable', places = 16) =>
  new Trainer(
    llama({ words: tokenizer.size, features: 16, hidden: 24, layers: 2, heads: 2, density: 0.5, places, seed: 4 }),
    { optimizer: adam({ learningRate: 0.02 }), device: at(place) },
  )
const trained = async (trainer: Trainer, documents: string[], steps: number) => {
  const text = await languageDocuments(documents, { tokenizer, window: 16 })
  await trainer.fit(text, { steps, batchSize: 64 })
}

/** What the model's logits say of a choice, in double precision. */
async function logLikelihood(trainer: Trainer, context: number[], choice: number[]): Promise<number> {
  const sequence = [END, ...context, ...choice]
  return on(trainer.device, async (w) => {
    const program = w.own(new Program(w.device))
    const tape = w.own(new Tape(program, { training: false }))
    const given = sequence.slice(0, -1)
    const logits = trainer.model.forward(tape, tokensOf(tape, [given], [given.length]))
    program.keep(logits.activations)
    await program.replay(1)
    const all = await logits.activations.read(given.length)
    return choice.reduce((sum, token, i) => {
      const at = (context.length + i) * tokenizer.size
      const scores = [...all.subarray(at, at + tokenizer.size)]
      return sum + scores[token] - Math.log(scores.reduce((a, score) => a + Math.exp(score), 0))
    }, 0)
  })
}

describe('questions with choices', function () {
  this.timeout(sanitized ? 600_000 : 60_000)

  it('are encoded as one text, and cut where the context ends', () => {
    for (const [context, choice, tokens, own] of [
      ['c', 'd', 'cd', 2],
      ['', 'cd', 'cd', 1],
      // A token may span the cut: it is the context's by count.
      ['ca', 'b', 'cab', 2],
      ['ca', 'bd', 'cabd', 3],
      // Spaces at the end of a context are the choice's.
      ['c ', 'd', 'c d', 2],
      [' ', 'd', ' d', 1],
    ] as const) {
      const found = encodedChoice(tokenizer, { context, choice }, END)
      expect([...found.tokens], `${context}|${choice}`).to.deep.equal([END, ...ids(tokens)])
      expect(found.context, `${context}|${choice}`).to.equal(own)
    }
  })

  for (const place of modelPlaces)
    it(`are answered as the logits have it, at ${place}`, async () => {
      using trainer = trainerOf(place)
      await trained(trainer, ['abcabcabc', 'defdef', 'gh gh'], 30)
      const next = random(5)
      const letter = () => letters[Math.floor(next() * letters.length)]
      const text = (most: number) => Array.from({ length: 1 + Math.floor(next() * most) }, letter).join('')
      const questions: Question[] = Array.from({ length: 40 }, (_, i) => ({
        context: i % 5 === 0 ? '' : `c${text(4)}h`,
        choices: Array.from({ length: 2 + (i % 2) }, () => text(5)),
        label: i % 2,
        group: i % 3 === 0 ? 'a' : 'b',
      }))
      const found = await trainer.evaluateChoices(questions)
      const hits: [number, number][] = []
      for (const { context, choices, label } of questions) {
        const sums: number[] = []
        for (const choice of choices) {
          const whole = ids(context + choice)
          const own = Math.min(ids(context.trimEnd()).length, whole.length - 1)
          sums.push(await logLikelihood(trainer, whole.slice(0, own), whole.slice(own)))
        }
        const best = (of: number[]) => {
          const most = Math.max(...of)
          const equal = of.filter((sum) => most - sum < 1e-6)
          return most - of[label] < 1e-6 ? 1 / equal.length : 0
        }
        hits.push([best(sums), best(sums.map((sum, i) => sum / choices[i].length))])
      }
      const mean = (at: 0 | 1, of = hits) => of.reduce((sum, hit) => sum + hit[at], 0) / of.length
      expect(found.questions).to.equal(40)
      expect(found.accuracy.value).to.be.closeTo(mean(0), 1e-9)
      expect(found.normalised.value).to.be.closeTo(mean(1), 1e-9)
      const share = mean(0)
      if (hits.every(([hit]) => hit === 0 || hit === 1))
        expect(found.accuracy.error).to.be.closeTo(Math.sqrt((share * (1 - share)) / 39), 1e-9)
      const groups = ['a', 'b'].map((name) => hits.filter((_, i) => questions[i].group === name))
      expect(found.groups.a.accuracy.value).to.be.closeTo(mean(0, groups[0]), 1e-9)
      expect(found.groups.b.questions).to.equal(groups[1].length)
      expect(found.groupMean?.value).to.be.closeTo((mean(0, groups[0]) + mean(0, groups[1])) / 2, 1e-9)
      expect(found.cut).to.equal(0)
    })

  it('are learnt, counted by parts where choices tie, and seen from the end where they are long', async () => {
    using trainer = trainerOf()
    await trained(trainer, ['abcabcabcabcabc', 'abcabc', 'defdefdefdefdef'], 200)
    const right = (context: string, choices: string[], label: number) => ({ context, choices, label })
    const found = await trainer.evaluateChoices([
      right('abc', ['abc', 'def'], 0),
      right('def', ['abc', 'def'], 1),
      right('', ['abc', 'hhh'], 0),
    ])
    expect(found.accuracy.value).to.equal(1)
    expect(found.matthews.value).to.equal(1)
    expect(found.groups).to.deep.equal({})
    expect(found.groupMean).to.equal(undefined)
    const tie = await trainer.evaluateChoices([right('abc', ['d', 'd', 'a'], 0), right('abc', ['a', 'a', 'd'], 0)])
    expect(tie.accuracy.value).to.equal(0.25)
    const long = await trainer.evaluateChoices([right(`${'ghgh'.repeat(9)}defdefdefdefd`, ['ef', 'bc'], 0)])
    expect([long.cut, long.accuracy.value]).to.deep.equal([1, 1])
    expect(long.accuracy.error).to.be.NaN
  })

  it('have the Matthews correlation of two classes and of more, with its error', () => {
    // By hand: TP 6, FN 2, FP 1, TN 3.
    const [right, chosen] = [[], []] as [number[], number[]]
    for (const [label, choice, times] of [
      [1, 1, 6],
      [1, 0, 2],
      [0, 1, 1],
      [0, 0, 3],
    ])
      for (let i = 0; i < times; ++i) {
        right.push(label)
        chosen.push(choice)
      }
    const found = matthewsOf(right, chosen)
    expect(found.value).to.be.closeTo((6 * 3 - 1 * 2) / Math.sqrt(7 * 8 * 4 * 5), 1e-12)
    const without = right.map(
      (_, i) =>
        matthewsOf(
          right.filter((_, j) => j !== i),
          chosen.filter((_, j) => j !== i),
        ).value,
    )
    const mean = without.reduce((a, b) => a + b, 0) / 12
    const squares = without.reduce((sum, one) => sum + (one - mean) ** 2, 0)
    expect(found.error).to.be.closeTo(Math.sqrt((11 / 12) * squares), 1e-12)
    expect(matthewsOf([0, 1, 2], [0, 1, 2]).value).to.be.closeTo(1, 1e-12)
    expect(matthewsOf([0, 1, 0], [1, 1, 1]).value).to.equal(0)
    expect(matthewsOf([0], [0]).error).to.be.NaN
  })

  it('come from JSON lines, and as BLiMP has its pairs; others are refused by their line', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'hebb-choices-'))
    const file = join(folder, 'q.jsonl')
    try {
      writeFileSync(
        `${file}.gz`,
        gzipSync(
          [
            '{"context":"a","choices":["b","c"],"label":1}',
            '',
            '["island","syntax","x","good","bad"]',
            '{"sentence_good":"g","sentence_bad":"b","UID":"u","more":1}',
          ].join('\n'),
        ),
      )
      expect(await readQuestions(`${file}.gz`)).to.deep.equal([
        { context: 'a', choices: ['b', 'c'], label: 1, group: undefined },
        { context: '', choices: ['good', 'bad'], label: 0, group: 'island' },
        { context: '', choices: ['g', 'b'], label: 0, group: 'u' },
      ])
      for (const [line, message] of [
        ['{"choices":["b"],"label":0}', /choices of line 2 of .* two or more texts/],
        ['{"choices":["b",""],"label":0}', /none of them empty/],
        ['{"choices":["b","c"],"label":2}', /label of line 2 .* 2 choices, got 2/],
        ['{"context":1,"choices":["b","c"],"label":0}', /context of line 2 .* got 1/],
        ['"x"', /a question in line 2/],
        ['{', /JSON in line 2/],
      ] as const) {
        writeFileSync(file, `{"choices":["b","c"],"label":1}\n${line}\n`)
        await refuses(() => readQuestions(file), message, 'BAD_FILE')
      }
      writeFileSync(file, '\n')
      await refuses(() => readQuestions(file), /questions in .*, got none/, 'BAD_FILE')
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('are refused of other models, and where a choice is longer than the model takes', async () => {
    using trainer = trainerOf()
    const one: Question = { context: 'a', choices: ['b', 'c'], label: 0 }
    await refuses(() => trainer.evaluateChoices([one]), /trained on a text made by languageText/)
    await trained(trainer, ['abc'], 1)
    await refuses(() => trainer.evaluateChoices([]), /at least one/)
    await refuses(() => trainer.evaluateChoices([one, { ...one, label: 3 }]), /label of question 2/)
    await refuses(
      () => trainer.evaluateChoices([{ ...one, choices: ['c'.repeat(17), 'b'] }]),
      /at most 16 tokens, as the model takes, got 17 in question 1/,
    )
    await trainer.evaluateChoices([{ ...one, choices: ['c'.repeat(16), 'b'] }])
    using other = new Trainer(mlp({ widths: [2, 2], density: 1 }), {
      optimizer: sgd({ learningRate: 1 }),
      device: cpu(),
    })
    await refuses(() => other.evaluateChoices([one]), /a language model/)
  })
})
