/** Training on text: a language that the tests make, whose sentences are numbers to be spelt and turned around. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import {
  adam,
  chts,
  chtss,
  crossEntropy,
  dense,
  type Epoch,
  granet,
  type HebbError,
  inoam,
  type Method,
  mest,
  mlp,
  rigl,
  type Sequential,
  set,
  sgd,
  Trainer,
  transformer,
  updateSchedule,
} from '../lib/index.js'
import {
  type ParallelText,
  parallelLines,
  parallelText,
  readLines,
  type Tokenizer,
  trainTokenizer,
} from '../lib/text/index.js'
import { cpu, expectRefusal, expectSameBits, gpu, places, random, sanitized } from './support.js'

const WORDS = ['one two three four five six seven eight', 'eins zwei drei vier acht elf zwoelf null'].map((w) =>
  w.split(' '),
)

function sentences(count: number, seed: number): [sources: string[], targets: string[]] {
  const next = random(seed)
  const numbers = Array.from({ length: count }, () =>
    Array.from({ length: 1 + Math.floor(5 * next()) }, () => Math.floor(8 * next())),
  )
  const spell = (words: string[], all: number[]) => all.map((n) => words[n]).join(' ')
  return [numbers.map((all) => spell(WORDS[0], all)), numbers.map((all) => spell(WORDS[1], all.toReversed()))]
}

let tokenizer: Tokenizer
let text: ParallelText

before(async () => {
  const [sources, targets] = sentences(32, 1)
  tokenizer = await trainTokenizer([...sources, ...targets], { vocabulary: 290 })
  text = await parallelLines(sources, targets, { tokenizer })
})

const model = (density: number, more: { dropout?: number; seed?: number } = {}): Sequential =>
  transformer({
    ...{ sourceWords: tokenizer.size, targetWords: tokenizer.size, features: 32, hidden: 64, heads: 4 },
    ...{ encoderLayers: 1, decoderLayers: 1, density, ...more },
  })

const updates = updateSchedule({ every: 20, until: 0.75, fraction: 0.3 })

function trainerOf(dst: Method, { dropout = 0, threads = 1, device = cpu(threads) } = {}): Trainer {
  return new Trainer(model(dst.dense ? 1 : 0.4, { dropout }), {
    optimizer: adam({ learningRate: inoam({ width: 32, warmup: 40, factor: 0.5 }), beta2: 0.998, epsilon: 1e-9 }),
    loss: crossEntropy({ labelSmoothing: 0.1, paddingClass: 0 }),
    ...{ dst, device },
  })
}

async function all(run: AsyncIterable<Epoch>): Promise<Epoch[]> {
  const reports: Epoch[] = []
  for await (const report of run) reports.push(report)
  return reports
}

/** All weights, and the optimizer's state. */
async function stateOf(trainer: Trainer): Promise<Float32Array[]> {
  const arrays = trainer.model.parameters.flatMap(({ arrays }) => arrays)
  return Promise.all(arrays.map((tensor) => tensor.read()))
}

describe('translation', function () {
  this.timeout(sanitized ? 600_000 : 60_000)

  for (const [name, dst] of Object.entries({
    dense: () => dense(),
    chts: () => chts({ updates }),
    chtss: () => chtss({ updates }),
  })) {
    it(`learns 32 sentences by heart: ${name}`, async function () {
      if (sanitized && name !== 'chtss') this.skip()
      using trainer = trainerOf(dst())
      const reports = await all(trainer.fit(text, { steps: 500, interval: 200, batchSize: 256, validation: text }))
      expect(reports.map(({ epoch }) => epoch)).to.deep.equal([1, 2, 3])
      expect(trainer.step).to.equal(500)
      const { validation, trainLoss, dropped } = reports[2]
      expect(validation?.accuracy).to.be.above(0.99)
      expect(validation?.samples).to.equal(32)
      expect(trainLoss).to.be.below(reports[0].trainLoss)
      expect(dropped).to.equal(0)
    })
  }

  it('runs by every method, those that look at gradients among them', async () => {
    for (const dst of [set({ updates }), rigl({ updates }), mest({ updates }), granet({ updates })]) {
      using trainer = trainerOf(dst, { dropout: 0.1 })
      const reports = await all(trainer.fit(text, { steps: 60, interval: 30, batchSize: 256, validation: text }))
      expect(reports[1].trainLoss, dst.name).to.be.below(reports[0].trainLoss)
      expect(reports[1].updateSeconds + reports[0].updateSeconds, dst.name).to.be.above(0)
    }
  })

  it('runs on a GPU as on a CPU, but for rounding', async function () {
    if (!places.includes('cuda')) this.skip()
    const losses: number[] = []
    for (const device of [cpu(), gpu()]) {
      using trainer = trainerOf(chts({ updates }), { dropout: 0.1, device })
      const reports = await all(trainer.fit(text, { steps: 6, interval: 6, batchSize: 128, validation: text }))
      losses.push(reports[0].trainLoss, reports[0].validation?.loss as number)
    }
    expect(losses[2]).to.be.closeTo(losses[0], 1e-4)
    expect(losses[3]).to.be.closeTo(losses[1], 1e-4)
  })

  it('gives the same bits with 1 and 2 threads, and after a stop in the middle of an interval', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'hebb-translation-'))
    const file = join(folder, 'run.safetensors')
    try {
      const options = { steps: 90, interval: 40, batchSize: 200, validation: text }
      const whole = trainerOf(chtss({ updates }), { dropout: 0.1 })
      const reports = await all(whole.fit(text, options))
      const expected = await stateOf(whole)
      whole.dispose()

      const two = trainerOf(chtss({ updates }), { dropout: 0.1, threads: 2 })
      await all(two.fit(text, options))
      expectSameBits(await stateOf(two), expected, 'two threads')
      two.dispose()

      const stop = new AbortController()
      const stopped = trainerOf(chtss({ updates }), { dropout: 0.1 })
      const checkpoint = { file, everySteps: 55 }
      const onProgress = ({ epoch, step }: { epoch: number; step: number }) => {
        if (epoch === 2 && step > 20) stop.abort()
      }
      const run = stopped.fit(text, { ...options, checkpoint, onProgress, signal: stop.signal })
      await all(run).catch((error: HebbError) => expect(error.code).to.equal('ABORTED'))
      stopped.dispose()
      const again = await Trainer.load(file, { device: cpu() })
      expect(again.step).to.equal(55)
      const later = await all(again.resume(text, { validation: text }))
      expectSameBits(await stateOf(again), expected, 'gone on with')
      expect(later.map(({ trainLoss }) => trainLoss)).to.deep.equal(reports.slice(1).map(({ trainLoss }) => trainLoss))
      again.dispose()
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('keeps the best state, with its tokenizer, once the links are as few as they are to be', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'hebb-translation-'))
    try {
      using trainer = trainerOf(chtss({ updates }))
      const [file, best] = [join(folder, 'run.safetensors'), join(folder, 'best.safetensors')]
      const options = { steps: 200, interval: 40, batchSize: 256, validation: text, checkpoint: { file, best } }
      const reports = await all(trainer.fit(text, options))
      const eligible = reports.map(({ validation, links }, i) =>
        links <= reports[4].links ? (validation?.accuracy as number) + i * 1e-12 : -1,
      )
      const kept = await Trainer.load(best, { device: cpu() })
      const accuracy = (await kept.evaluate(text)).accuracy
      expect(accuracy).to.be.closeTo(Math.max(...eligible), 1e-9)
      const other = await trainTokenizer(['another vocabulary'], { vocabulary: 260 })
      const stranger = await parallelLines(['one'], ['eins'], { tokenizer: other })
      const error = await expectRefusal(() => kept.evaluate(stranger), 'INVALID_ARGUMENT', 'another vocabulary')
      expect(error.message).to.contain('got those of another tokenizer')
      kept.dispose()
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('leaves out what is too long, counts it, and cuts nothing', async () => {
    const [sources, targets] = sentences(8, 2)
    const long = Array(100).fill('one').join(' ')
    const some = await parallelLines([...sources, long], [...targets, 'eins'], { tokenizer })
    using trainer = trainerOf(chts({ updates }))
    const [report] = await all(trainer.fit(some, { steps: 2, batchSize: 64, validation: some }))
    expect(report.dropped).to.equal(1)
    expect(report.validation?.samples).to.equal(9) // batches of evaluation are longer
    const none = await parallelLines([long], ['eins'], { tokenizer })
    const error = await expectRefusal(() => all(trainer.fit(none, { steps: 2, batchSize: 64 })), 'INVALID_ARGUMENT', '')
    expect(error.message).to.match(/Expected sentences that fit in 64 tokens, got 1 longer ones/)
  })

  it('moves embeddings of words that a batch does not have, too: Adam is not lazy', async () => {
    const two = await parallelLines(['one one one', 'eight eight eight'], ['eins', 'null'], { tokenizer })
    using trainer = trainerOf(dense())
    const table = trainer.model.parameters[0].values
    const rows = async () => {
      const values = await table.read()
      return Array.from({ length: tokenizer.size }, (_, word) => values.slice(32 * word, 32 * (word + 1)).join())
    }
    const states = [await rows()]
    // A batch has room for one of the pairs.
    const tokens = 3 * tokenizer.encode('one', { special: false }).length + 6
    for await (const _ of trainer.fit(two, { steps: 2, interval: 1, batchSize: tokens })) states.push(await rows())
    const moved = (step: number) =>
      states[0].flatMap((_, word) => (states[step][word] === states[step + 1][word] ? [] : [word]))
    expect(moved(0).length).to.be.within(1, 8)
    expect(moved(1)).to.include.members(moved(0))
    expect(moved(1).length).to.be.above(moved(0).length)
  })

  it('fills batches with true tokens where it is told to, and goes on with that', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'hebb-translation-'))
    const file = join(folder, 'run.safetensors')
    try {
      const options = { steps: 20, interval: 10, batchSize: 60, packed: true }
      using whole = trainerOf(chts({ updates }))
      const reports = await all(whole.fit(text, options))
      for (const { counted } of reports) expect(counted).to.be.within(10 * 30, 10 * 60)
      const half = trainerOf(chts({ updates }))
      const first = half.fit(text, options)
      await first.next()
      await first.return()
      await half.save(file)
      half.dispose()
      using again = await Trainer.load(file, { device: cpu() })
      await all(again.resume(text))
      expectSameBits(await stateOf(again), await stateOf(whole), 'gone on with')
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('names the step where numbers end, in the middle of a segment', async () => {
    using trainer = new Trainer(model(0.4), {
      ...{ optimizer: sgd({ learningRate: ({ step }) => (step > 4 ? 1e38 : 0.001) }), device: cpu() },
    })
    const run = () => all(trainer.fit(text, { steps: 20, batchSize: 128 }))
    const error = await expectRefusal(run, 'NON_FINITE', 'a rate that is far too large')
    expect(error.message).to.match(/got NaN or infinity in step [67]/)
    expect(trainer.step).to.be.within(6, 7)
  })

  it('refuses a text, and samples, before it has begun, and is free for others afterwards', async () => {
    using trainer = trainerOf(dense())
    const other = await trainTokenizer(['another vocabulary'], { vocabulary: 260 })
    const stranger = await parallelLines(['one'], ['eins'], { tokenizer: other })
    await expectRefusal(() => all(trainer.fit(stranger, { epochs: 1 })), 'INVALID_ARGUMENT', 'no steps')
    expect(trainer.tokenizers).to.equal(undefined)
    const long = await parallelLines([Array(3000).fill('one').join(' ')], ['eins'], { tokenizer })
    const options = { steps: 2, batchSize: 128, validation: long }
    const error = await expectRefusal(() => all(trainer.fit(text, options)), 'INVALID_ARGUMENT', 'nothing to measure')
    expect(error.message).to.contain('Expected sentences that fit in')
    expect(trainer.step).to.equal(0)
    await all(trainer.fit(text, { steps: 2, batchSize: 128 }))
    expect(trainer.tokenizers?.source).to.equal(tokenizer)
    const samples = await expectRefusal(() => trainer.predict(new Float32Array(4)), 'INVALID_ARGUMENT', 'samples')
    expect(samples.message).to.contain('Expected a model for samples, got one for text')
  })

  it('takes empty lines', async () => {
    const some = await parallelLines(['one', '', 'two one', ''], ['eins', 'null', '', ''], { tokenizer })
    using trainer = trainerOf(chts({ updates }), { dropout: 0.1 })
    const [report] = await all(trainer.fit(some, { steps: 4, batchSize: 32, validation: some }))
    expect(report.validation?.samples).to.equal(4)
    expect(report.trainLoss).to.be.above(0)
  })

  it('refuses files and options that do not fit, each by its name', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'hebb-translation-'))
    const file = (name: string, content: string | Uint8Array) => {
      writeFileSync(join(folder, name), content)
      return join(folder, name)
    }
    try {
      const [two, three] = [file('two', 'one\ntwo\n'), file('three', 'eins\nzwei\ndrei\n')]
      const bytes = file('bytes', Uint8Array.of(0x6f, 0x0a, 0xff, 0xfe, 0x0a))
      const empty = file('empty', '')
      for (const [source, target, message] of [
        [two, three, /equally many lines, got 2 and 3/],
        [two, bytes, /bytes to be UTF-8, got other bytes in line 2/],
        [empty, two, /empty/],
      ] as const) {
        const error = await expectRefusal(
          () => parallelText(source, target, { tokenizer }),
          'BAD_FILE',
          String(message),
        )
        expect(error.message).to.match(message)
      }
      await expectRefusal(() => parallelText(join(folder, 'none'), two, { tokenizer }), 'MISSING_FILE', 'no file')
      const without = await trainTokenizer(readLines(two), { vocabulary: 260, special: [] })
      const lacking = await expectRefusal(
        () => parallelLines(['one'], ['eins'], { tokenizer: without }),
        'INVALID_ARGUMENT',
        'no special tokens',
      )
      expect(lacking.message).to.contain("Expected a tokenizer with the token '<s>'")
      using trainer = trainerOf(dense())
      for (const [options, message] of [
        [{ epochs: 3 }, 'Expected steps for text, got epochs 3'],
        [{}, 'Expected steps to be'],
        [{ steps: 3, microBatchSize: 16 }, 'Expected no microBatchSize for text'],
      ] as const) {
        const error = await expectRefusal(() => all(trainer.fit(text, options)), 'INVALID_ARGUMENT', message)
        expect(error.message).to.contain(message)
      }
      using samples = new Trainer(mlp({ widths: [4, 3, 2], density: 0.5 }), {
        ...{ optimizer: sgd({ learningRate: 0.1 }), device: cpu() },
      })
      const error = await expectRefusal(() => all(samples.fit(text, { steps: 2 })), 'INVALID_ARGUMENT', 'an MLP')
      expect(error.message).to.contain('Expected a model made by transformer()')
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})
