/** Text by language models: which token comes next, with the cache and without, and streams that end in many ways. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { Tape } from '../lib/autograd.js'
import {
  adam,
  chts,
  Embedding,
  exportLlama,
  type GenerateOptions,
  importLlama,
  Linear,
  llama,
  load,
  MultiHeadAttention,
  mlp,
  normal,
  PositionalEncoding,
  type Predictor,
  Residual,
  Sequential,
  sgd,
  Trainer,
  updateSchedule,
} from '../lib/index.js'
import { Program } from '../lib/program.js'
import { languageDocuments, type Tokenizer, trainTokenizer } from '../lib/text/index.js'
import { candidatesOf, drawOf, type SamplingOptions, sample } from '../lib/text/sampling.js'
import { contextOf, NextToken } from '../lib/train/generation.js'
import { chiSquareTest } from './reference.js'
import { at, cpu, expectNear, expectRefusal, FALSE_ALARM, modelPlaces, on, places, random, repeats } from './support.js'
import { tokensOf } from './translation.js'

const NAMES = 'zero one two three four five six seven eight nine'.split(' ')
/** Counts on from a number, `length` of them. */
const counted = (first: number, length: number) => Array.from({ length }, (_, i) => NAMES[(first + i) % 10]).join(' ')

describe('sampling the next token', () => {
  const scores = [0, Math.log(4), Math.log(2), Math.log(1)]
  const told = (options: SamplingOptions, seen: number[] = []) =>
    candidatesOf(scores, seen, options).map(({ token, probability }) => [token, Number(probability.toFixed(9))])

  it('has the probabilities that temperature, limits and penalty say, by hand', () => {
    expect(told({})).to.deep.equal([
      [1, 0.5],
      [2, 0.25],
      [0, 0.125],
      [3, 0.125],
    ])
    // At temperature 1/2 powers are squares: 16, 4, 1, 1.
    expect(told({ temperature: 0.5 }).map(([, p]) => p)).to.deep.equal(
      [16, 4, 1, 1].map((p) => Number((p / 22).toFixed(9))),
    )
    expect(told({ topK: 2 })).to.deep.equal([
      [1, 0.666666667],
      [2, 0.333333333],
    ])
    expect(told({ topP: 0.5 })).to.deep.equal([[1, 1]])
    expect(told({ topP: 0.51 }).map(([token]) => token)).to.deep.equal([1, 2])
    expect(told({ topP: 0.76 }).map(([token]) => token)).to.deep.equal([1, 2, 0])
    expect(told({ temperature: 0 })).to.deep.equal([[1, 1]])
    expect(told({ temperature: 1e-300 })[0]).to.deep.equal([1, 1])
    // Above 0 a score is divided: log 4 / 2 = log 2. Below, it is multiplied.
    expect(told({ repetitionPenalty: 2 }, [1, 1]).slice(0, 2)).to.deep.equal([
      [1, 0.333333333],
      [2, 0.333333333],
    ])
    const below = candidatesOf([-1, -1], [0], { repetitionPenalty: 2 })
    expect(below.map(({ token }) => token)).to.deep.equal([1, 0])
    expect(below[0].probability).to.be.closeTo(1 / (1 + Math.exp(-1)), 1e-12)
    expect(() => candidatesOf([Number.NaN, 1], [], {})).to.throw('Expected finite scores')
  })

  it('takes each token as often as that says (false alarm: one in a million)', () => {
    const next = random(11)
    for (const [i, options] of [
      ...[{}, { temperature: 0.7 }, { temperature: 2, topK: 5 }, { topP: 0.8 }, { repetitionPenalty: 1.3 }],
      { temperature: 1.5, topK: 12, topP: 0.9, repetitionPenalty: 0.8 },
    ].entries()) {
      const all = Float32Array.from({ length: 20 }, () => 4 * next() - 2)
      const seen = [3, 5, 3]
      const count = repeats(20_000)
      const seed = 100 + i
      const tally = new Map<number, number>()
      for (let place = 0; place < count; ++place) {
        const token = sample(all, seen, options, drawOf(seed, place))
        tally.set(token, (tally.get(token) ?? 0) + 1)
      }
      const law = new Map(candidatesOf(all, seen, options).map(({ token, probability }) => [token, probability]))
      for (const token of tally.keys()) expect(law.has(token)).to.equal(true)
      expect(chiSquareTest(tally, law), JSON.stringify(options)).to.be.above(FALSE_ALARM)
    }
  })

  it('draws by seed and place alone, and takes the last candidate at the end of [0, 1)', () => {
    expect(drawOf(1, 2)).to.equal(drawOf(1, 2))
    expect(new Set([drawOf(1, 2), drawOf(1, 3), drawOf(2, 2), drawOf(2 ** 40 + 1, 2)]).size).to.equal(4)
    expect(sample(scores, [], {}, 0)).to.equal(1)
    expect(sample(scores, [], {}, 1 - 2 ** -32)).to.equal(3)
    expect(sample([0, 0, 0], [], {}, 1 - 2 ** -53)).to.equal(2)
  })
})

describe('a language model that writes', () => {
  it('moves its context by half of its places', () => {
    expect([1, 10, 11, 15, 16, 20, 21].map((tokens) => contextOf(tokens, 10))).to.deep.equal([0, 0, 5, 5, 10, 10, 15])
    expect([7, 8, 11, 12].map((tokens) => contextOf(tokens, 7))).to.deep.equal([0, 4, 4, 8])
    expect([1, 2, 3].map((tokens) => contextOf(tokens, 1))).to.deep.equal([0, 1, 2])
  })

  const words = 61
  const parts = () => {
    const attention = new MultiHeadAttention({ features: 16, heads: 2, causal: true, density: 0.5 })
    return new Sequential({
      embedding: new Embedding({ words, features: 16 }),
      positions: new PositionalEncoding({ features: 16, places: 90, kind: 'learned' }),
      attention: new Residual(new Sequential([attention])),
      head: new Linear({ inFeatures: 16, outFeatures: words }),
    })
  }
  const large = () =>
    llama({
      ...{ words, features: 32, hidden: 40, layers: 2, heads: 4, keyHeads: 2, density: 0.4, places: 90, seed: 2 },
      weights: normal(0.2),
    })
  for (const place of modelPlaces)
    for (const [name, model] of [
      ['llama', large()],
      ['a model from parts', parts()],
    ] as const)
      it(`has the scores of the whole text with its cache: ${name}, at ${place}`, async () => {
        using trainer = new Trainer(model, { optimizer: sgd({ learningRate: 0.1 }), device: at(place) })
        await trainer.measures()
        const next = random(4)
        const text = Int32Array.from({ length: 140 }, () => Math.floor(words * next()))
        const generation = new NextToken(trainer.device, model)
        let compared = 0
        // A prompt of more tokens than a step takes, then one by one; the context moves twice.
        for (let length = 70; length <= text.length; ++length) {
          const scores = await generation.scores(text.slice(0, length))
          if (length > 75 && length % 9 > 0 && ![90, 91, 135, 136].includes(length)) continue
          const context = [...text.slice(contextOf(length, 90), length)]
          await on(at(place), async (w) => {
            const program = w.own(new Program(w.device))
            const tape = w.own(new Tape(program, { training: false }))
            const { activations } = model.forward(tape, tokensOf(tape, [context], [context.length]))
            program.keep(activations)
            await program.replay(1)
            const all = await activations.read(context.length)
            expectNear(scores, all.subarray((context.length - 1) * words), `behind ${length} tokens`, 1e-5)
            ++compared
          })
        }
        expect(compared).to.be.above(12)
        // Another text uses what it has in common with the last one.
        const other = text.slice(0, 90)
        other[80] = (other[80] + 1) % words
        const fresh = new NextToken(trainer.device, model)
        expectNear(await generation.scores(other), await fresh.scores(other), 'another text', 1e-5)
        fresh.dispose()
        generation.dispose()
      })

  let folder: string
  let tokenizer: Tokenizer
  const file = () => join(folder, 'm.safetensors')
  /** A model that counts. */
  before(async function () {
    this.timeout(60_000)
    folder = mkdtempSync(join(tmpdir(), 'hebb-generate-'))
    const lines = Array.from({ length: 60 }, (_, i) => counted(i, 4 + (i % 7)))
    tokenizer = await trainTokenizer(lines, { vocabulary: 320 })
    const text = await languageDocuments(lines, { tokenizer, window: 24 })
    const model = llama({
      ...{ words: tokenizer.size, features: 32, hidden: 64, layers: 2, heads: 4, density: 0.5, places: 24 },
    })
    using trainer = new Trainer(model, {
      optimizer: adam({ learningRate: 0.01 }),
      dst: chts({ updates: updateSchedule({ every: 20, fraction: 0.1 }) }),
      device: cpu(),
    })
    for await (const _ of trainer.fit(text, { steps: 200, batchSize: 240 })) {
    }
    await trainer.save(file())
  })
  after(() => rmSync(folder, { recursive: true }))

  const written = async (model: Pick<Predictor, 'generate'>, prompt: string, options?: GenerateOptions) => {
    const all = []
    for await (const token of model.generate(prompt, options)) all.push(token)
    return { text: all.map(({ text }) => text).join(''), tokens: all }
  }

  it('counts on, stops at texts, at its end and after so many tokens', async () => {
    using model = await load(file(), { device: cpu() })
    const best = { temperature: 0 }
    const { text, tokens } = await written(model, 'two three four', { ...best, tokens: 4 })
    expect(text).to.equal(' five six seven eight')
    expect(tokens).to.have.length(4)
    for (const { logProbability } of tokens) expect(logProbability).to.be.within(-0.7, 0)
    // Texts to stop at may begin within tokens, and lie over several of them.
    for (const [stop, expected] of [
      ['six', ' five '],
      [['ven eig', 'nine'], ' five six se'],
      ['ve six s', ' fi'],
      ['sixty', ' five six seven eight'],
      ['eights', ' five six seven eight'],
    ] as const)
      expect((await written(model, 'two three four', { ...best, tokens: 4, stop })).text, String(stop)).to.equal(
        expected,
      )
    // An end of its own, whose token is the last.
    const whole = await written(model, '', { seed: 3, tokens: 40 })
    expect(whole.tokens.at(-1)?.id).to.equal(tokenizer.idOf('</s>'))
    const spoken = whole.text.split(' ')
    expect(spoken.length).to.be.within(2, 12)
    expect(whole.text).to.equal(counted(NAMES.indexOf(spoken[0]), spoken.length))
    // Longer than its places: the context moves on.
    const long = await written(model, counted(3, 60), { ...best, tokens: 3 })
    expect(long.tokens).to.have.length.within(1, 3)
  })

  it('writes the same by the same seed, side by side too, and other things by others', async () => {
    using model = await load(file(), { device: cpu() })
    const options = { tokens: 12, temperature: 2 }
    const one = await written(model, 'one', { ...options, seed: 1 })
    const [again, other] = await Promise.all([
      written(model, 'one', { ...options, seed: 1 }),
      written(model, 'one', { ...options, seed: 2 }),
    ])
    expect(again).to.deep.equal(one)
    expect(other.text).not.to.equal(one.text)
  })

  it('leaves nothing behind when it is broken off, stopped by a signal, or disposed', async () => {
    const before = cpu().memory().bytes
    const model = await load(file(), { device: cpu() })
    const { bytes } = model.memory()
    for await (const _ of model.generate('one')) break
    expect(model.memory().bytes).to.equal(bytes)
    const stop = new AbortController()
    let tokens = 0
    const error = await expectRefusal(
      async () => {
        for await (const _ of model.generate('one', { signal: stop.signal, temperature: 3 })) {
          if (++tokens === 2) stop.abort()
        }
      },
      'ABORTED',
      'a signal',
    )
    expect([error.code, tokens]).to.deep.equal(['ABORTED', 2])
    expect(model.memory().bytes).to.equal(bytes)
    const stream = model.generate('one')
    await stream.next()
    model.dispose()
    expect(cpu().memory().bytes).to.equal(before)
    await expectRefusal(() => stream.next(), 'DISPOSED', 'disposed')
  })

  it('writes while it is trained, by what it has learned', async () => {
    using trainer = await Trainer.load(file(), { device: cpu() })
    const best = { temperature: 0, tokens: 4 }
    expect((await written(trainer, 'two three four', best)).text).to.equal(' five six seven eight')
    const same = await languageDocuments(Array(8).fill('two three four one one one one'), { tokenizer, window: 24 })
    const stream = trainer.generate('two three four', best)
    expect((await stream.next()).value?.text).to.equal(' five')
    for await (const _ of trainer.fit(same, { steps: 60, batchSize: 240 })) {
    }
    const left = []
    for await (const { text } of stream) left.push(text)
    expect(left).not.to.deep.equal([' six', ' seven', ' eight'])
    expect((await written(trainer, 'two three four', best)).text).to.equal(' one one one one')
  }).timeout(60_000)

  it('writes by a model that was imported, as its tokenizer begins texts', async () => {
    const [theirs, best] = [join(folder, 'theirs'), { temperature: 0, tokens: 4 }]
    await exportLlama(file(), theirs)
    const imported = join(folder, 'imported.safetensors')
    for (const template of [false, true]) {
      if (template) {
        const path = join(theirs, 'tokenizer.json')
        const single = [
          { SpecialToken: { id: '</s>', type_id: 0 } },
          { Sequence: { id: 'A', type_id: 0 } },
          { SpecialToken: { id: '</s>', type_id: 0 } },
        ]
        const specials = { '</s>': { id: '</s>', ids: [tokenizer.idOf('</s>')], tokens: ['</s>'] } }
        const pair = [...single, { Sequence: { id: 'B', type_id: 1 } }]
        const json = JSON.parse(readFileSync(path, 'utf8'))
        json.post_processor = { type: 'TemplateProcessing', single, pair, special_tokens: specials }
        writeFileSync(path, JSON.stringify(json))
      }
      await importLlama(theirs, imported)
      using model = await load(imported, { device: cpu() })
      expect(model.separator).to.equal(undefined)
      expect((await written(model, 'two three four', best)).text).to.equal(' five six seven eight')
      const text = await languageDocuments([counted(2, 8)], {
        tokenizer: model.tokenizers?.source as Tokenizer,
        window: 24,
      })
      expect((await model.perplexity(text)).perplexity.value).to.be.below(3)
    }
  })

  it('refuses what cannot be', async () => {
    using model = await load(file(), { device: cpu() })
    const { bytes } = model.memory()
    for (const [what, prompt, options, message] of [
      ['no prompt', 3, {}, 'Expected a prompt, a text, got 3'],
      ['a misspelt option', '', { topk: 3 }, "'topk'"],
      ['a temperature below 0', '', { temperature: -1 }, 'temperature'],
      ['no tokens', '', { tokens: 0 }, 'tokens'],
      ['a topK of none', '', { topK: 0 }, 'topK'],
      ['a topP of none', '', { topP: 0 }, 'Expected topP to be above 0 and at most 1, got 0'],
      ['a penalty of 0', '', { repetitionPenalty: 0 }, 'Expected repetitionPenalty to be above 0, got 0'],
      ['an empty stop', '', { stop: '' }, 'Expected stop to be a text, or some, none of them empty'],
      ['a seed that is none', '', { seed: 0.5 }, 'seed'],
    ] as const) {
      const error = await expectRefusal(
        () => written(model, prompt as never, options as never),
        'INVALID_ARGUMENT',
        what,
      )
      expect(error.message).to.contain(message)
    }
    expect(model.memory().bytes).to.equal(bytes)
    using other = new Trainer(mlp({ widths: [4, 2], density: 0.5 }), {
      ...{ optimizer: sgd({ learningRate: 0.1 }), device: at(places[0]) },
    })
    const error = await expectRefusal(() => written(other, ''), 'INVALID_ARGUMENT', 'a model for samples')
    expect(error.message).to.contain('Expected a language model such as llama()')
  })
})
