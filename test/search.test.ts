/**
 * Beam search, against a second one that is written here: a sentence at a time, without a cache, over a forward pass of
 * the Transformer in double precision; and against all translations there are.
 */
import { expect } from 'chai'
import type { Device } from '../lib/device.js'
import type { HebbError } from '../lib/error.js'
import { addon } from '../lib/native.js'
import { type DenseParameter, type Parameter, SparseParameter } from '../lib/nn/parameter.js'
import { Transformer, type TransformerOptions, transformer } from '../lib/nn/transformer.js'
import { sgd } from '../lib/optim/sgd.js'
import { cscSlots, inRowOrder } from '../lib/tensor.js'
import { namedParameters } from '../lib/train/checkpoint.js'
import { crossAttention, meanOfHeads } from '../lib/train/cross_attention.js'
import { type Hypothesis, Search, type TranslateOptions } from '../lib/train/search.js'
import { Trainer } from '../lib/train/trainer.js'
import { at, cpu, expectRefusal, gpu, modelPlaces, numbers, onAnyThreads, random, withEnvironment } from './support.js'
import { goldenOf, nameOf, tensorsOf } from './translation.js'

const [BEGIN, END] = [1, 2]

/** A model in the hands of a trainer, and what a test needs of it. */
interface Ready {
  device: Device
  model: Transformer
  search: Search
  named: [string, Parameter][]
  parameter(name: string): DenseParameter
}

async function using<T>(device: Device, options: TransformerOptions, use: (ready: Ready) => Promise<T>): Promise<T> {
  const made = transformer({ ...options, seed: 5 })
  const trainer = new Trainer(made, { optimizer: sgd({ learningRate: 0.1 }), device })
  await trainer.measures()
  const model = made.modules[0] as Transformer
  const search = new Search(device, model, { begin: BEGIN, end: END })
  const named = namedParameters(made)
  const parameter = (name: string) => named.find(([ours]) => nameOf(ours) === name)?.[1] as DenseParameter
  try {
    return await use({ device, model, search, named, parameter })
  } finally {
    search.dispose()
    trainer.dispose()
  }
}

const tiny: TransformerOptions = {
  ...{ sourceWords: 23, targetWords: 19, features: 16, hidden: 24, heads: 2, encoderLayers: 2, decoderLayers: 2 },
}
/** With few words, so that all translations can be listed. */
const few: TransformerOptions = { ...tiny, sourceWords: 7, targetWords: 5, encoderLayers: 1 }

const golden = (device: Device, use: (ready: Ready) => Promise<void>) =>
  using(device, tiny, async (ready) => {
    const tensors = tensorsOf('translation-tiny', 'parameters.safetensors')
    for (const [name, { values }] of ready.named)
      await values.write(Float32Array.from(tensors.get(nameOf(name))?.data ?? expect.fail(name)))
    await use(ready)
  })

type Vector = number[]
const dot = (a: ArrayLike<number>, b: ArrayLike<number>) => {
  let sum = 0
  for (let i = 0; i < a.length; ++i) sum += a[i] * b[i]
  return sum
}
const plus = (a: Vector, b: Vector): Vector => a.map((v, i) => v + b[i])
const logSoftmax = (z: Vector): Vector => {
  const all = Math.log(z.reduce((sum, v) => sum + Math.exp(v), 0))
  return z.map((v) => v - all)
}

/** The Transformer of the paper's appendix in double precision, with the parameters that a model has. */
class Plain {
  readonly #matrices = new Map<string, Vector[]>()
  readonly #heads: number
  /** [heads][tokens] of the cross-attention that was computed last, for each head of each token. */
  attended: number[][][] = []

  static async of({ named, model }: Ready): Promise<Plain> {
    const plain = new Plain(model.options.heads)
    for (const [name, parameter] of named) {
      const isSparse = parameter instanceof SparseParameter
      const { rows, cols } = isSparse ? parameter.matrix : (parameter as DenseParameter)
      let all = await parameter.values.read()
      if (isSparse) {
        const links = await parameter.matrix.read()
        const values = inRowOrder(all, cscSlots(links, cols))
        all = new Float32Array(rows * cols)
        for (let row = 0; row < rows; ++row)
          for (let k = links.rowOffsets[row]; k < links.rowOffsets[row + 1]; ++k)
            all[row * cols + links.columnIndices[k]] = values[k]
      }
      plain.#matrices.set(
        nameOf(name),
        Array.from({ length: rows }, (_, row) => [...all.subarray(row * cols, (row + 1) * cols)]),
      )
    }
    return plain
  }

  private constructor(heads: number) {
    this.#heads = heads
  }

  /** By the first of these names that the model has: one matrix may serve as another. */
  #of(...names: string[]): Vector[] {
    const name = names.find((one) => this.#matrices.has(one)) ?? expect.fail(`no ${names[0]}`)
    return this.#matrices.get(name) as Vector[]
  }

  #linear(x: Vector, name: string, weights = this.#of(`${name}.weight`)): Vector {
    const bias = this.#of(`${name}.bias`).flat()
    return weights.map((row, i) => dot(row, x) + bias[i])
  }

  #norm(x: Vector, name: string): Vector {
    const mean = x.reduce((a, b) => a + b, 0) / x.length
    const variance = x.reduce((sum, v) => sum + (v - mean) ** 2, 0) / x.length
    const [gain, bias] = ['weight', 'bias'].map((part) => this.#of(`${name}.norm.${part}`).flat())
    return x.map((v, i) => ((v - mean) / Math.sqrt(variance + 1e-6)) * gain[i] + bias[i])
  }

  #embed(tokens: ArrayLike<number>, name: string): Vector[] {
    return Array.from(tokens, (token, place) => {
      const row = this.#of(`${name}.weight`, 'source.weight')[token]
      return row.map((v, i) => {
        const angle = place / 10000 ** ((i - (i % 2)) / row.length)
        return v * Math.sqrt(row.length) + (i % 2 === 0 ? Math.sin(angle) : Math.cos(angle))
      })
    })
  }

  #attend(x: Vector[], memory: Vector[], name: string, causal: boolean): Vector[] {
    const [queries, keys, values] = [x, memory, memory].map((from, i) =>
      from.map((v) => this.#linear(v, `${name}.${'qkv'[i]}`)),
    )
    if (name.endsWith('.cross')) this.attended = Array.from({ length: this.#heads }, () => [])
    return queries.map((query, q) => {
      const own = query.length / this.#heads
      const seen = causal ? q + 1 : keys.length
      const attended = query.map(() => 0)
      for (let first = 0; first < query.length; first += own) {
        const head = (v: Vector) => v.slice(first, first + own)
        const scores = keys.slice(0, seen).map((key) => dot(head(query), head(key)) / Math.sqrt(own))
        if (name.endsWith('.cross')) this.attended[first / own].push(logSoftmax(scores).map(Math.exp))
        for (const [k, score] of logSoftmax(scores).entries())
          for (let i = first; i < first + own; ++i) attended[i] += Math.exp(score) * values[k][i]
      }
      return this.#linear(attended, `${name}.o`)
    })
  }

  #stack(x: Vector[], stack: string, memory?: Vector[]): Vector[] {
    let all = x
    for (let i = 0; this.#matrices.has(`${stack}.${i}.ffn.w1.weight`); ++i) {
      for (const part of memory ? ['attention', 'cross'] : ['attention']) {
        const name = `${stack}.${i}.${part}`
        const normed = all.map((v) => this.#norm(v, name))
        const keys = part === 'cross' ? (memory as Vector[]) : normed
        const added = this.#attend(normed, keys, name, memory !== undefined && part === 'attention')
        all = all.map((v, k) => plus(v, added[k]))
      }
      const name = `${stack}.${i}.ffn`
      all = all.map((v) => {
        const hidden = this.#linear(this.#norm(v, name), `${name}.w1`).map((h) => Math.max(0, h))
        return plus(v, this.#linear(hidden, `${name}.w2`))
      })
    }
    return all.map((v) => this.#norm(v, `${stack}.final`))
  }

  encode(source: ArrayLike<number>): Vector[] {
    return this.#stack(this.#embed(source, 'source'), 'encoder')
  }

  /** Logarithms of probabilities of the words behind each token. */
  decode(memory: Vector[], tokens: readonly number[]): Vector[] {
    const weights = this.#of('generator.weight', 'target.weight', 'source.weight')
    return this.#stack(this.#embed(tokens, 'target'), 'decoder', memory).map((v) =>
      logSoftmax(this.#linear(v, 'generator', weights)),
    )
  }
}

const DEFAULTS = { beam: 2, lengthPenalty: 1, minLength: 1, maxLength: 20, nBest: 1 }
type Settings = typeof DEFAULTS

const hypothesisOf = (tokens: number[], logProbability: number, finished: boolean, alpha: number): Hypothesis => {
  const length = tokens.length + Number(finished)
  const score = logProbability / ((5 + length) / 6) ** alpha
  return { tokens: Int32Array.from(tokens), score, logProbability, finished }
}

/** Beam search from its definition. */
function searched(plain: Plain, source: Int32Array, settings: Partial<Settings>): Hypothesis[] {
  const { beam, lengthPenalty, minLength, maxLength, nBest } = { ...DEFAULTS, ...settings }
  const memory = plain.encode(source)
  const found: Hypothesis[] = []
  let live = [{ tokens: [] as number[], sum: 0 }]
  for (let length = 1; length <= maxLength && live.length > 0; ++length) {
    const candidates = live
      .flatMap(({ tokens, sum }, parent) => {
        const words = plain.decode(memory, [BEGIN, ...tokens]).at(-1) as Vector
        return words.map((logProbability, word) => ({ parent, word, tokens, sum: sum + logProbability }))
      })
      .filter(({ word }) => word !== END || length > minLength)
      .sort((a, b) => b.sum - a.sum || a.parent - b.parent || a.word - b.word)
      .slice(0, 2 * beam)
    live = candidates
      .filter(({ word }) => word !== END)
      .slice(0, beam)
      .map(({ tokens, word, sum }) => ({ tokens: [...tokens, word], sum }))
    for (const { tokens, word, sum } of candidates.slice(0, beam))
      if (word === END) found.push(hypothesisOf(tokens, sum, true, lengthPenalty))
    if (found.length >= beam) live = []
  }
  for (const { tokens, sum } of live) found.push(hypothesisOf(tokens, sum, false, lengthPenalty))
  return found.sort((a, b) => b.score - a.score).slice(0, nBest)
}

/** All translations of at most so many tokens, the best first. */
function listed(plain: Plain, source: Int32Array, { lengthPenalty, minLength, maxLength }: Settings): Hypothesis[] {
  const memory = plain.encode(source)
  const all: Hypothesis[] = []
  const follow = (tokens: number[], sum: number) => {
    if (tokens.length === maxLength) {
      all.push(hypothesisOf(tokens, sum, false, lengthPenalty))
      return
    }
    for (const [word, logProbability] of (plain.decode(memory, [BEGIN, ...tokens]).at(-1) as Vector).entries()) {
      if (word !== END) follow([...tokens, word], sum + logProbability)
      else if (tokens.length >= minLength) all.push(hypothesisOf(tokens, sum + logProbability, true, lengthPenalty))
    }
  }
  follow([], 0)
  return all.sort((a, b) => b.score - a.score)
}

function expectSame(actual: readonly Hypothesis[], expected: readonly Hypothesis[], what: string): void {
  const plain = (all: readonly Hypothesis[]) => all.map(({ tokens, finished }) => `${tokens} ${finished}`)
  expect(plain(actual), what).to.deep.equal(plain(expected))
  for (const [i, { score, logProbability }] of actual.entries()) {
    expect(score, `${what}: score ${i}`).to.be.closeTo(expected[i].score, 1e-4)
    expect(logProbability, `${what}: logarithm ${i}`).to.be.closeTo(expected[i].logProbability, 1e-4)
  }
}

/** Sentences of these lengths. */
function sentencesOf(lengths: readonly number[], words: number, seed = 1): Int32Array[] {
  const next = random(seed)
  return lengths.map((length) => Int32Array.from({ length }, () => Math.floor(next() * words)))
}

/** Lengths as sentences have them, some empty, one with more than a tile of keys. */
const lengths = Array.from({ length: 40 }, (_, i) => (i % 13 === 5 ? 0 : 1 + ((i * 7) % 19))).concat(70)

for (const place of modelPlaces) {
  describe(`beam search at ${place}`, () => {
    it('finds what one without a cache finds, a sentence at a time', async () => {
      await golden(at(place), async (ready) => {
        const { source, sourceLengths } = goldenOf('translation-tiny')
        const given = source.map((tokens, i) => Int32Array.from(tokens.slice(0, sourceLengths[i])))
        const sources = [...given, ...sentencesOf([1, 9, 0, 4], 23)]
        const plain = await Plain.of(ready)
        for (const settings of [
          { beam: 1 },
          { beam: 2 },
          { beam: 4, nBest: 4 },
          { beam: 4, nBest: 3, lengthPenalty: 0, minLength: 4 },
          { beam: 3, nBest: 3, lengthPenalty: 2.5, minLength: 0, maxLength: 7 },
          { beam: 30, nBest: 30, maxLength: 3 }, // wider than the vocabulary
        ]) {
          const all = await ready.search.translate(sources, { maxLength: 20, ...settings })
          for (const [i, source] of sources.entries())
            expectSame(all[i], searched(plain, source, settings), `${JSON.stringify(settings)}, sentence ${i}`)
        }
      })
    })

    it('does so with sparse layers, one matrix for all embeddings, and dropout, which loses nothing', async () => {
      const options = { ...tiny, sourceWords: 19, shared: 'all', density: 0.3, dropout: 0.4 } as const
      await using(at(place), options, async (ready) => {
        const sources = sentencesOf([5, 8, 2], 19)
        const plain = await Plain.of(ready)
        const all = await ready.search.translate(sources, { beam: 3, nBest: 3, maxLength: 12 })
        for (const [i, source] of sources.entries())
          expectSame(all[i], searched(plain, source, { beam: 3, nBest: 3, maxLength: 12 }), `sentence ${i}`)
      })
    })

    it('finds all translations with a beam that is wide enough', async () => {
      await using(at(place), few, async (ready) => {
        const sources = sentencesOf([3, 0, 1], 7)
        const plain = await Plain.of(ready)
        for (const [minLength, maxLength, lengthPenalty] of [
          [1, 3, 1],
          [0, 3, 0.6],
          [2, 2, 0],
          [0, 1, 1],
        ]) {
          const settings = { minLength, maxLength, lengthPenalty, beam: 125, nBest: 125 }
          const all = await ready.search.translate(sources, settings)
          for (const [i, source] of sources.entries()) {
            const expected = listed(plain, source, settings)
            expect(expected.length).to.be.above(maxLength === 3 ? 70 : 4)
            expectSame(all[i], expected, `${minLength} to ${maxLength}, sentence ${i}`)
          }
        }
      })
    })

    it('tells what the last layer attends to, of each head', async () => {
      const options = { ...tiny, density: 0.5, dropout: 0.3, heads: 4 }
      await using(at(place), options, async (ready) => {
        const { device, model } = ready
        const plain = await Plain.of(ready)
        const [sources, targets] = [sentencesOf([4, 0, 12, 1, 6], 23), sentencesOf([3, 5, 0, 17, 1], 19, 2)]
        const { buffers } = device.memory()
        const found = await crossAttention(
          ...([device, model, BEGIN] as const),
          sources.map((source, i) => [source, targets[i]]),
        )
        expect(device.memory().buffers).to.equal(buffers)
        for (const [i, { heads, rows, cols, weights }] of found.entries()) {
          expect([heads, rows, cols]).to.deep.equal([4, targets[i].length + 1, sources[i].length])
          plain.decode(plain.encode(sources[i]), [BEGIN, ...targets[i]])
          const expected = plain.attended.flat(2)
          expect(weights.length).to.equal(expected.length)
          for (const [k, weight] of weights.entries()) expect(weight, `${i} at ${k}`).to.be.closeTo(expected[k], 1e-5)
          const mean = meanOfHeads(found[i])
          for (const [k, weight] of mean.entries())
            expect(weight).to.be.closeTo(plain.attended.reduce((sum, head) => sum + head.flat()[k], 0) / 4, 1e-5)
        }
        expect(await crossAttention(device, model, BEGIN, [])).to.deep.equal([])
      })
    })

    it('scores given translations, as it scores its own', async () => {
      await golden(at(place), async (ready) => {
        const sources = sentencesOf([4, 0, 12, 1, 6], 23)
        const plain = await Plain.of(ready)
        const targets = sentencesOf([3, 5, 0, 17, 1], 19, 2)
        for (const batchTokens of [4096, 1]) {
          const scores = await ready.search.score(sources, targets, { batchTokens })
          for (const [i, { logProbability, tokens }] of scores.entries()) {
            const words = plain.decode(plain.encode(sources[i]), [BEGIN, ...targets[i]])
            const sum = [...targets[i], END].reduce((all, word, place) => all + words[place][word], 0)
            expect(logProbability).to.be.closeTo(sum, 1e-4)
            expect(tokens).to.equal(targets[i].length + 1)
          }
        }
        const found = await ready.search.translate(sources, { beam: 4 })
        const finished = found.map(([one], i) => ({ ...one, i })).filter((one) => one.finished)
        expect(finished.length).to.be.above(2)
        const again = await ready.search.score(
          finished.map(({ i }) => sources[i]),
          finished.map(({ tokens }) => tokens),
        )
        for (const [i, { logProbability }] of again.entries())
          expect(logProbability).to.be.closeTo(finished[i].logProbability, 1e-5)
      })
    })

    it('gives hypotheses that have no end at the maximum, and its cache grows', async () => {
      await using(at(place), few, async (ready) => {
        const bias = await ready.parameter('generator.bias').values.read()
        bias[END] = Number.NEGATIVE_INFINITY
        await ready.parameter('generator.bias').values.write(bias)
        const sources = sentencesOf([2, 5], 7)
        const plain = await Plain.of(ready)
        const settings = { beam: 2, nBest: 2, maxLength: 37 }
        const all = await ready.search.translate(sources, settings)
        for (const [i, source] of sources.entries()) {
          expectSame(all[i], searched(plain, source, settings), `sentence ${i}`)
          for (const { tokens, finished, score, logProbability } of all[i]) {
            expect([tokens.length, finished]).to.deep.equal([37, false])
            expect(score).to.be.closeTo(logProbability / 7, 1e-9)
          }
        }
      })
    })

    it('takes the earlier hypothesis and then the smaller word where all are equal', async () => {
      await using(at(place), few, async ({ device, model, parameter }) => {
        for (const name of ['generator.weight', 'generator.bias'])
          await parameter(name).values.write(new Float32Array(parameter(name).capacity))
        const of = async (end: number) => {
          const search = new Search(device, model, { begin: BEGIN, end })
          const [found] = await search.translate([Int32Array.of(3)], { beam: 2, nBest: 2, maxLength: 4 })
          search.dispose()
          return found.map(({ tokens, finished, logProbability }) => {
            expect(logProbability).to.be.closeTo(-(tokens.length + Number(finished)) * Math.log(5), 1e-6)
            return [[...tokens], finished]
          })
        }
        // The end is the third best of each hypothesis, or the best.
        expect(await of(2)).to.deep.equal([
          [[0, 0, 0, 0], false],
          [[0, 0, 0, 1], false],
        ])
        expect(await of(0)).to.deep.equal([
          [[1], true],
          [[1, 1], true],
        ])
      })
    })
  })
}

describe('beam search', () => {
  const wide = { ...tiny, features: 32, hidden: 48, heads: 4 }
  const settings = { beam: 4, nBest: 4, maxLength: 15 }

  it('gives sorted hypotheses, all different', async () => {
    await using(cpu(), wide, async ({ search }) => {
      const all = await search.translate(sentencesOf(lengths, 23), { ...settings, beam: 7, nBest: 7 })
      for (const found of all) {
        expect(found.length).to.equal(7)
        expect(new Set(found.map(({ tokens, finished }) => `${tokens} ${finished}`)).size).to.equal(7)
        const scores = found.map(({ score }) => score)
        expect(scores).to.deep.equal([...scores].sort((a, b) => b - a))
      }
      expect(await search.translate([])).to.deep.equal([])
      expect(await search.score([], [])).to.deep.equal([])
    })
  })

  for (const density of [undefined, 0.3]) {
    // A GPU's tiles of attention lie across sequences: there the sums differ by rounding.
    it(`gives a sentence the same bits alone and among others, on any threads: density ${density}`, async () => {
      await onAnyThreads((device) =>
        using(device, { ...wide, density }, async ({ model, search }) => {
          const isCpu = device.info.kind === 'cpu' // an emulated GPU takes its time
          const sources = sentencesOf(isCpu ? lengths : lengths.slice(33), 23)
          const settings = { beam: 4, nBest: 4, maxLength: isCpu ? 15 : 5 }
          const all = await search.translate(sources, settings)
          const targets = all.map(([{ tokens }]) => tokens)
          const scores = await search.score(sources, targets)
          const compare = async (by: Search, of: readonly number[], batchTokens: number, what: string) => {
            const given = of.map((i) => sources[i])
            const found = await by.translate(given, { ...settings, batchTokens })
            const forced = await by.score(
              given,
              of.map((i) => targets[i]),
              { batchTokens },
            )
            for (const [k, i] of of.entries()) {
              expectSame(found[k], all[i], `${what}, sentence ${i}`)
              expect(forced[k].logProbability).to.be.closeTo(scores[i].logProbability, 1e-4)
              if (isCpu) expect([found[k], forced[k]], `${what}, sentence ${i}`).to.deep.equal([all[i], scores[i]])
            }
          }
          await compare(search, [...sources.keys()], 60, 'in small batches')
          await compare(search, [...sources.keys()].reverse(), 4096, 'in another order')
          for (const i of isCpu ? [0, 5, 7, 33, 40] : [1, 7]) {
            await compare(search, [i], 4096, 'alone')
            const another = new Search(device, model, { begin: BEGIN, end: END })
            await compare(another, [i], 4096, 'alone, with less room')
            another.dispose()
          }
          return all
        }),
      )
    })
  }

  it('sees the parameters as they are, and what else it is asked for waits', async () => {
    await using(cpu(), few, async (ready) => {
      const sources = sentencesOf([4, 2], 7)
      const { search } = ready
      const before = await search.translate(sources)
      const bias = ready.parameter('generator.bias').values
      await bias.write(Float32Array.of(3, 0, 1, 0, -2))
      const plain = await Plain.of(ready)
      const [after, wider, scores] = await Promise.all([
        search.translate(sources),
        search.translate(sources, { beam: 3 }),
        search.score(
          sources,
          before.map(([{ tokens }]) => tokens),
        ),
      ])
      expect(after).to.not.deep.equal(before)
      for (const [i, source] of sources.entries()) {
        expectSame(after[i], searched(plain, source, { maxLength: 100 }), `sentence ${i}`)
        expectSame(wider[i], searched(plain, source, { beam: 3, maxLength: 100 }), `sentence ${i}, wider`)
        expect(scores[i].tokens).to.equal(before[i][0].tokens.length + 1)
      }
    })
  })

  it('is stopped by its signal, and works afterwards', async () => {
    await using(cpu(), wide, async ({ search }) => {
      const sources = sentencesOf(lengths, 23)
      const expected = await search.translate(sources, settings)
      const early = AbortSignal.abort()
      await expectRefusal(() => search.translate(sources, { ...settings, signal: early }), 'ABORTED', 'before')
      const one = [Int32Array.of(3)]
      await expectRefusal(() => search.score(one, one, { signal: early }), 'ABORTED', 'score() before')
      for (const delay of [0, 5, 20]) {
        const controller = new AbortController()
        const stopped = search.translate(sources, { beam: 30, maxLength: 100, signal: controller.signal })
        setTimeout(() => controller.abort('enough'), delay)
        const error = await expectRefusal(() => stopped, 'ABORTED', `after ${delay} ms`)
        expect(error.cause).to.equal('enough')
      }
      expect(await search.translate(sources, settings)).to.deep.equal(expected)
    })
  })

  it('gives its memory back, also where it is disposed while it runs', async () => {
    await using(cpu(), wide, async ({ device, model, search }) => {
      search.dispose()
      const before = device.memory().bytes
      const another = new Search(device, model, { begin: BEGIN, end: END })
      const sources = sentencesOf(lengths, 23)
      await another.translate(sources, settings)
      const one = [Int32Array.of(3)]
      await another.score(one, one)
      expect(device.memory().bytes).to.be.above(before)
      const running = another.translate(sources, settings)
      setTimeout(() => another.dispose(), 3)
      await expectRefusal(() => running, 'DISPOSED', 'while it runs')
      expect(device.memory().bytes).to.equal(before)
      another.dispose()
      await expectRefusal(() => another.translate(sources), 'DISPOSED', 'afterwards')
      await expectRefusal(() => another.score(one, one), 'DISPOSED', 'afterwards')
    })
  })

  it('refuses a model that nobody uses any more, and keeps no memory for it', async () => {
    const [made, device] = [transformer(tiny), cpu()]
    const before = device.memory().bytes
    const trainer = new Trainer(made, { optimizer: sgd({ learningRate: 0.1 }), device })
    await trainer.measures()
    const model = made.modules[0] as Transformer
    const [used, fresh] = [0, 1].map(() => new Search(device, model, { begin: BEGIN, end: END }))
    const one = [Int32Array.of(3)]
    await used.translate(one)
    await used.score(one, one)
    trainer.dispose()
    for (const search of [used, fresh]) {
      await expectRefusal(() => search.translate(one), 'DISPOSED', 'translate()')
      await expectRefusal(() => search.score(one, one), 'DISPOSED', 'score()')
    }
    // In the hands of another trainer it has other parameters.
    const another = new Trainer(made, { optimizer: sgd({ learningRate: 0.1 }), device })
    await another.measures()
    const generator = namedParameters(made).find(([name]) => nameOf(name) === 'generator.bias')?.[1] as DenseParameter
    await generator.values.write(new Float32Array(19).fill(-1e4).fill(0, 7, 8))
    for (const search of [used, fresh]) {
      const [[{ tokens }]] = await search.translate(one, { beam: 1, maxLength: 3 })
      expect([...tokens]).to.deep.equal([7, 7, 7])
      search.dispose()
    }
    another.dispose()
    expect(device.memory().bytes).to.equal(before)
  })

  it('leaves nothing where memory runs out, and works afterwards', async function () {
    if (!/Emulated GPU/.test(addon.cudaStatus().detail)) this.skip()
    await using(gpu(), few, async ({ device, model, search }) => {
      const one = [Int32Array.of(3, 1)]
      const expected = await search.translate(one, { maxLength: 3 })
      search.dispose()
      const { buffers, bytes } = device.memory()
      let failures = 0
      for (let n = 1, successes = 0; successes < 6; n += 2) {
        const another = new Search(device, model, { begin: BEGIN, end: END })
        const outcome = await withEnvironment('HEBB_EMULATION_FAIL_ALLOCATION', `${n}:2`, () =>
          another.translate(one, { maxLength: 3 }).catch((error: unknown) => error),
        )
        if (Array.isArray(outcome)) successes += 1
        else {
          expect((outcome as HebbError).code, `allocation ${n}: ${outcome}`).to.equal('OUT_OF_MEMORY')
          failures += 1
        }
        expect(await another.translate(one, { maxLength: 3 }), `after allocation ${n}`).to.deep.equal(expected)
        another.dispose()
        expect(device.memory(), `after allocation ${n}`).to.include({ buffers, bytes })
      }
      expect(failures).to.be.above(15)
    })
  })

  it('adds up logarithms in double precision', async () => {
    await using(cpu(), tiny, async ({ search, parameter }) => {
      const weights = parameter('generator.weight')
      await weights.values.write(new Float32Array(weights.capacity))
      // All words have the same probabilities everywhere, some none, some next to none.
      const bias = Float32Array.from(numbers(19, 4, -3, 3))
      bias[7] = Number.NEGATIVE_INFINITY
      bias[8] = -1000
      await parameter('generator.bias').values.write(bias)
      const words = logSoftmax([...bias])
      const target = Int32Array.of(3, 18, 5, 8, 0)
      const [{ logProbability }] = await search.score([Int32Array.of(1)], [target])
      expect(logProbability / [...target, END].reduce((sum, word) => sum + words[word], 0)).to.be.closeTo(1, 1e-11)
    })
  })

  it('says where scores are not finite', async () => {
    await using(cpu(), few, async ({ search, parameter }) => {
      await parameter('generator.bias').values.write(Float32Array.of(0, Number.NaN, 0, 0, 0))
      const source = [Int32Array.of(1)]
      await expectRefusal(() => search.translate(source), 'NON_FINITE', 'translate()')
      await expectRefusal(() => search.score(source, source), 'NON_FINITE', 'score()')
    })
  })

  it('refuses wrong arguments by name', async () => {
    await using(cpu(), { ...few, places: 12 }, async ({ device, model, search }) => {
      const make = (options: object) => () => new Search(device, model, { begin: BEGIN, end: END, ...options } as never)
      const of = (options: object) => () => search.translate([Int32Array.of(1)], options as TranslateOptions)
      const wrong: [() => unknown, string][] = [
        [make({ begin: 5 }), 'begin to be an integer between 0 and 4, got 5'],
        [make({ end: -1 }), 'end to be an integer between 0 and 4, got -1'],
        [make({ places: 13 }), 'places to be an integer between 1 and 12, got 13'],
        [make({ start: 1 }), "got 'start'"],
        [() => new Search(device, transformer(few) as never, { begin: 1, end: 2 }), 'a Transformer, got a Sequential'],
        [() => new Search(cpu(2), model, { begin: 1, end: 2 }), 'the device of the model'],
        [of({ beam: 0 }), 'beam to be an integer'],
        [of({ lengthPenalty: -1 }), 'lengthPenalty to be a number of at least 0, got -1'],
        [of({ lengthPenalty: Number.NaN }), 'lengthPenalty to be a number of at least 0, got NaN'],
        [of({ maxLength: 13 }), 'maxLength to be an integer between 1 and 12, got 13'],
        [of({ maxLength: 0 }), 'maxLength to be an integer between 1 and 12, got 0'],
        [of({ minLength: 5, maxLength: 4 }), 'minLength to be an integer between 0 and 4, got 5'],
        [of({ nBest: 3 }), 'nBest to be an integer between 1 and 2, got 3'],
        [of({ batchTokens: 0 }), 'batchTokens to be an integer of at least 1, got 0'],
        [of({ beams: 3 }), "got 'beams'. Did you mean 'beam'?"],
        [() => search.translate(Int32Array.of(1) as never), 'sources to be a list of Int32Arrays, got Int32Array(1)'],
        [() => search.translate([[1]] as never), 'sources of Int32Arrays, got [1] at 0'],
        [() => search.translate([new Int32Array(3), new Int32Array(13)]), 'at most 12 tokens, got 13 at 1'],
        [() => search.translate([Int32Array.of(6, 7)]), 'sources of tokens in [0, 7), got 7 at 0'],
        [() => search.score([Int32Array.of(1)], [Int32Array.of(5)]), 'targets of tokens in [0, 5), got 5 at 0'],
        [() => search.score([Int32Array.of(1)], [new Int32Array(12)]), 'targets of at most 11 tokens, got 12 at 0'],
        [() => search.score([Int32Array.of(1)], []), 'as many targets as sources, got 0 for 1'],
        [() => search.score([], [], { batch: 1 } as never), "got 'batch'"],
      ]
      for (const [act, message] of wrong) {
        const error = await expectRefusal(act, 'INVALID_ARGUMENT', message)
        expect(error.message).to.contain(message)
      }
      expect((await search.translate([new Int32Array(12)]))[0].length).to.equal(1)
      expect(await search.score([new Int32Array(12)], [new Int32Array(11)])).to.have.length(1)
    })
    const unused = new Transformer(few)
    await expectRefusal(() => new Search(cpu(), unused, { begin: 1, end: 2 }), 'DISPOSED', 'a model that nobody uses')
  })
})
