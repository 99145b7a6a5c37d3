/** Classifying lines of text by an encoder from parts: whether brackets are balanced, which no bag of words tells. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import {
  adam,
  chts,
  chtss,
  Dropout,
  dense,
  Embedding,
  type Epoch,
  encoderLayer,
  granet,
  type HebbError,
  LayerNorm,
  Linear,
  load,
  type Method,
  mlp,
  Pooling,
  PositionalEncoding,
  Relu,
  rigl,
  Sequential,
  SparseLinear,
  set,
  sgd,
  Trainer,
  transformer,
  updateSchedule,
} from '../lib/index.js'
import {
  type LabelledText,
  labelledLines,
  labelledText,
  parallelLines,
  type Tokenizer,
  trainTokenizer,
} from '../lib/text/index.js'
import { readTensors, writeTensors } from '../lib/train/safetensors.js'
import { cpu, expectRefusal, expectSameBits, gpu, places, random, sanitized } from './support.js'

/** Lines of as many opening brackets as closing ones; those that are not balanced are shuffles of such. */
function brackets(count: number, seed: number): [lines: string[], labels: string[]] {
  const next = random(seed)
  const isBalanced = (line: readonly string[]) => {
    let depth = 0
    return line.every((bracket) => {
      depth += bracket === '(' ? 1 : -1
      return depth >= 0
    })
  }
  const lines: string[] = []
  const labels: string[] = []
  while (lines.length < count) {
    const length = 2 * (2 + Math.floor(4 * next()))
    const line: string[] = Array.from({ length }, (_, i) => (i % 2 === 0 ? '(' : ')'))
    for (let i = line.length - 1; i > 0; --i) {
      const j = Math.floor(next() * (i + 1))
      ;[line[i], line[j]] = [line[j], line[i]]
    }
    // As many of the one as of the other.
    const label = isBalanced(line) ? 'balanced' : 'not'
    if (label !== (lines.length % 2 === 0 ? 'balanced' : 'not')) continue
    lines.push(line.join(' '))
    labels.push(label)
  }
  return [lines, labels]
}

const FEATURES = 32
let tokenizer: Tokenizer
let train: LabelledText
let validation: LabelledText

before(async () => {
  const [lines, labels] = brackets(1000, 1)
  tokenizer = await trainTokenizer(lines, { vocabulary: 270 })
  train = await labelledLines(lines, labels, { tokenizer })
  validation = await labelledLines(...brackets(300, 2), { tokenizer, classes: train.classes })
})

const encoder = (
  density: number | undefined,
  { dropout = 0, words = tokenizer.size, pooling = new Pooling(), outputs = 2 } = {},
) =>
  new Sequential({
    embedding: new Embedding({ words, features: FEATURES, scale: Math.sqrt(FEATURES) }),
    positions: new PositionalEncoding({ features: FEATURES, places: 64 }),
    layer: encoderLayer({ features: FEATURES, heads: 4, hidden: 64, density, dropout }),
    norm: new LayerNorm({ features: FEATURES }),
    pooling,
    lost: new Dropout({ probability: dropout }),
    classes: new Linear({ inFeatures: FEATURES, outFeatures: outputs }),
  })

const updates = updateSchedule({ every: 20, until: 0.75, fraction: 0.3 })

function trainerOf(dst: Method, { dropout = 0, threads = 1, device = cpu(threads) } = {}): Trainer {
  const optimizer = adam({ learningRate: 0.005 })
  return new Trainer(encoder(dst.dense ? undefined : 0.4, { dropout }), { optimizer, dst, device })
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

describe('text classification', function () {
  this.timeout(sanitized ? 600_000 : 60_000)

  for (const [name, dst] of Object.entries({
    dense: () => dense(),
    chts: () => chts({ updates }),
  })) {
    it(`learns from lines which others are balanced: ${name}`, async function () {
      if (sanitized && name !== 'chts') this.skip()
      using trainer = trainerOf(dst())
      const reports = await all(trainer.fit(train, { steps: 400, interval: 200, batchSize: 512, validation }))
      const last = reports[1]
      expect(last.validation?.accuracy).to.be.above(0.95)
      expect(last.validation?.samples).to.equal(300)
      expect(last.trainLoss).to.be.below(reports[0].trainLoss)
      // Lines are counted, not their tokens: some 50 of up to 10 tokens a step.
      expect(last.counted).to.be.within(200 * 45, 200 * 80)
      expect(last.dropped).to.equal(0)

      // What it predicts is what was measured.
      const logits = await trainer.predict(validation)
      expect(logits.length).to.equal(600)
      const right = [...validation.classNumbers].filter((y, i) => y === Number(logits[2 * i + 1] > logits[2 * i]))
      expect(right.length / 300).to.be.closeTo(last.validation?.accuracy as number, 1e-9)
    })
  }

  it('runs by methods that look at gradients, those behind Pooling among them', async () => {
    for (const dst of [set({ updates }), rigl({ updates }), granet({ updates })]) {
      const { embedding, layer, pooling } = Object.fromEntries(encoder(0.4).children)
      const sparse = new SparseLinear({ inFeatures: FEATURES, outFeatures: 32, density: 0.3 })
      const classes = new Linear({ inFeatures: 32, outFeatures: 2 })
      const head = new Sequential({ embedding, layer, pooling, sparse, relu: new Relu(), classes })
      using trainer = new Trainer(head, { optimizer: adam({ learningRate: 0.005 }), dst, device: cpu() })
      const reports = await all(trainer.fit(train, { steps: 80, interval: 40, batchSize: 512 }))
      expect(reports[1].trainLoss, dst.name).to.be.below(reports[0].trainLoss)
      expect(reports[0].updateSeconds, dst.name).to.be.above(0)
    }
  })

  it('pools by what it is told', async () => {
    for (const kind of ['max', 'first'] as const) {
      const optimizer = adam({ learningRate: 0.005 })
      using trainer = new Trainer(encoder(undefined, { pooling: new Pooling({ kind }) }), { optimizer, device: cpu() })
      const reports = await all(trainer.fit(train, { steps: 80, interval: 40, batchSize: 512 }))
      expect(reports[1].trainLoss, kind).to.be.below(reports[0].trainLoss)
    }
  })

  it('runs on a GPU as on a CPU, but for rounding', async function () {
    if (!places.includes('cuda')) this.skip()
    const losses: number[] = []
    for (const device of [cpu(), gpu()]) {
      using trainer = trainerOf(chts({ updates }), { dropout: 0.1, device })
      const [report] = await all(trainer.fit(train, { steps: 6, interval: 6, batchSize: 128, validation }))
      const logits = await trainer.predict(validation)
      losses.push(report.trainLoss, report.validation?.loss as number, ...logits.subarray(0, 20))
    }
    for (let i = 0; i < 22; ++i) expect(losses[22 + i]).to.be.closeTo(losses[i], 1e-4)
  })

  it('gives the same bits with 1 and 2 threads, and after a stop in the middle of an interval', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'hebb-classification-'))
    const file = join(folder, 'run.safetensors')
    try {
      const options = { steps: 90, interval: 40, batchSize: 200, validation }
      const whole = trainerOf(chtss({ updates }), { dropout: 0.1 })
      const reports = await all(whole.fit(train, options))
      const expected = await stateOf(whole)
      whole.dispose()

      const two = trainerOf(chtss({ updates }), { dropout: 0.1, threads: 2 })
      await all(two.fit(train, options))
      expectSameBits(await stateOf(two), expected, 'two threads')
      two.dispose()

      const stop = new AbortController()
      const stopped = trainerOf(chtss({ updates }), { dropout: 0.1 })
      const onProgress = ({ epoch, step }: { epoch: number; step: number }) => {
        if (epoch === 2 && step > 20) stop.abort()
      }
      const checkpoint = { file, everySteps: 55 }
      const run = stopped.fit(train, { ...options, checkpoint, onProgress, signal: stop.signal })
      await all(run).catch((error: HebbError) => expect(error.code).to.equal('ABORTED'))
      stopped.dispose()
      const again = await Trainer.load(file, { device: cpu() })
      expect(again.step).to.equal(55)
      const later = await all(again.resume(train, { validation }))
      expectSameBits(await stateOf(again), expected, 'gone on with')
      expect(later.map(({ trainLoss }) => trainLoss)).to.deep.equal(reports.slice(1).map(({ trainLoss }) => trainLoss))
      again.dispose()
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('measures many classes, computed some lines at a time, as what it predicts says', async () => {
    const classes = Array.from({ length: 5000 }, (_, i) => `class ${i}`)
    const lines = brackets(150, 5)[0]
    const text = await labelledLines(
      lines,
      lines.map((_, i) => 33 * i),
      { tokenizer, classes },
    )
    using trainer = new Trainer(encoder(0.4, { outputs: classes.length }), {
      ...{ optimizer: sgd({ learningRate: 0.1 }), device: cpu() },
    })
    const [report] = await all(trainer.fit(text, { steps: 3, interval: 3, batchSize: 1024, validation: text }))
    expect(report.trainLoss).to.be.within(7, 10)
    const logits = await trainer.predict(text)
    const losses = lines.map((_, i) => {
      const own = logits.subarray(5000 * i, 5000 * (i + 1))
      return Math.log(own.reduce((sum, logit) => sum + Math.exp(logit), 0)) - own[33 * i]
    })
    const mean = losses.reduce((sum, loss) => sum + loss / losses.length, 0)
    expect(report.validation?.loss).to.be.closeTo(mean, 1e-4)
  })

  it('classifies lines by the file alone: model, tokenizer and names of classes', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'hebb-classification-'))
    const file = join(folder, 'run.safetensors')
    try {
      const lines = brackets(70, 3)[0]
      const trainer = trainerOf(chts({ updates }))
      await all(trainer.fit(train, { steps: 60, batchSize: 512 }))
      const expected = await trainer.classify(lines)
      await trainer.save(file)
      trainer.dispose()
      using classifier = await load(file, { device: cpu() })
      expect(classifier.classes).to.deep.equal(['balanced', 'not'])
      const got = await classifier.classify(lines)
      expect(got).to.deep.equal(expected)
      for (const { label, probability } of got) {
        expect(label).to.be.oneOf(['balanced', 'not'])
        expect(probability).to.be.within(0.5, 1)
      }
      // A line by itself has what it has among others.
      for (const i of [0, 69]) expect(await classifier.classify([lines[i]])).to.deep.equal([got[i]])
      expect(await classifier.classify([])).to.deep.equal([])
      const { buffers, bytes } = classifier.memory()
      await classifier.classify(lines)
      expect(classifier.memory(), 'what a call leaves').to.include({ buffers, bytes })
      for (const [bad, message] of [
        [['( )', ''], /a token or more, got '' in line 2/],
        [['( )', Array(40).fill('( )').join(' ')], /of at most 64 tokens, as the model takes, got \d+ in line 2/],
        [[7 as unknown as string], /to be lines of text/],
      ] as const) {
        const error = await expectRefusal(() => classifier.classify(bad), 'INVALID_ARGUMENT', String(message))
        expect(error.message).to.match(message)
      }
      const other = await labelledLines(['( )'], ['yes'], { tokenizer })
      const error = await expectRefusal(() => classifier.evaluate(other), 'INVALID_ARGUMENT', 'other classes')
      expect(error.message).to.contain(`the classes that the model was trained on, ["balanced","not"], got ["yes"]`)
      await expectRefusal(() => classifier.translate(['( )']), 'INVALID_ARGUMENT', 'no translator')
      const { metadata, tensors } = await readTensors(file)
      const { checksum: _, ...rest } = metadata
      const outgoing = [...tensors].map(([name, { type, shape, data }]) => ({ name, type, shape, read: () => data }))
      await writeTensors(file, outgoing, { ...rest, classes: '[1, 2]' })
      for (const read of [load, Trainer.load]) {
        const bad = await expectRefusal(() => read(file, { device: cpu() }), 'BAD_FILE', 'classes that are no names')
        expect(bad.message).to.contain("its 'classes' are not names")
      }
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('leaves out lines that are too long, and counts them', async () => {
    const [lines, labels] = brackets(20, 4)
    const long = Array(40).fill('( )').join(' ')
    const some = await labelledLines([...lines, long], [...labels, 'balanced'], { tokenizer })
    using trainer = trainerOf(chts({ updates }))
    const [report] = await all(trainer.fit(some, { steps: 2, batchSize: 128, validation: some }))
    expect(report.dropped).to.equal(1)
    expect(report.validation?.samples).to.equal(20)
    expect(report.validation?.dropped).to.equal(1)
  })

  it('takes class numbers, names and two files, and refuses what does not fit, by name', async () => {
    const numbered = await labelledLines(['( )', ') ('], [2, 0], { tokenizer })
    expect(numbered.classes).to.deep.equal(['0', '1', '2'])
    expect([...numbered.classNumbers]).to.deep.equal([2, 0])
    const named = await labelledLines(['( )', ') ('], ['yes', 'no'], { tokenizer })
    expect(named.classes).to.deep.equal(['no', 'yes'])
    expect([...named.classNumbers]).to.deep.equal([1, 0])
    const lines = ['( )', ') (', '( )']
    for (const [labels, options, message] of [
      [['yes', 'no'], {}, /as many labels as lines, got 2 and 3/],
      [['yes', 'no', 'yess'], { classes: ['no', 'yes'] }, /got 'yess' for line 3 of the lines. Did you mean 'yes'/],
      [[0, 1, 2], { classes: ['no', 'yes'] }, /labels in \[0, 2\), the classes, got 2 for line 3/],
      [[0, -1, 1], {}, /numbers from 0 on, got -1 for line 2/],
      [[0, 0.5, 1], {}, /numbers from 0 on, got 0.5 for line 2/],
      [['yes', 1, 'no'], {}, /got 1 for line 2/],
      [[0, 1e9, 1], {}, /labels below 65536/],
      [[0, 1, 0], { classes: ['no', 'no'] }, /classes to be names, each once/],
      [[0, 1, 0], { clases: ['no', 'yes'] }, /Did you mean 'classes'/],
      [[0, 1, 0], { tokenizer: {} }, /Expected tokenizer to be made by/],
    ] as const) {
      const make = () => labelledLines(lines, labels as unknown as string[], { tokenizer, ...(options as object) })
      expect((await expectRefusal(make, 'INVALID_ARGUMENT', String(message))).message).to.match(message)
    }
    const empty = await expectRefusal(
      () => labelledLines(['( )', '  '], [0, 1], { tokenizer }),
      'INVALID_ARGUMENT',
      'an empty line',
    )
    expect(empty.message).to.contain("got '  ' in line 2 of the lines. Leave it out, with its label.")
    const folder = mkdtempSync(join(tmpdir(), 'hebb-classification-'))
    try {
      const file = (name: string, content: string) => {
        writeFileSync(join(folder, name), content)
        return join(folder, name)
      }
      const [text, good] = [file('text', '( )\n) (\n'), file('labels', 'yes\nno\n')]
      const read = await labelledText(text, good, { tokenizer })
      expect([...read.classNumbers]).to.deep.equal([1, 0])
      expect(read.name).to.equal(text)
      for (const [labels, message] of [
        [file('short', 'yes\n'), /equally many lines, got 2 and 1/],
        [file('blank', 'yes\n \n'), /to have a class in each line, got none in 2/],
      ] as const) {
        const error = await expectRefusal(() => labelledText(text, labels, { tokenizer }), 'BAD_FILE', String(message))
        expect(error.message).to.match(message)
      }
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('refuses models that do not fit a text, and texts that do not fit a model', async () => {
    const pairs = await parallelLines(['( )'], [') ('], { tokenizer })
    const optimizer = sgd({ learningRate: 0.1 })
    const words = { sourceWords: tokenizer.size, targetWords: tokenizer.size }
    const parts = { embedding: new Embedding({ words: tokenizer.size, features: FEATURES }) }
    for (const [what, model, text, message] of [
      [
        'a translator',
        transformer({ ...words, features: 8, heads: 2, hidden: 8, encoderLayers: 1, decoderLayers: 1 }),
        train,
        /begins with an Embedding for the lines, got one that translates/,
      ],
      [
        'an MLP',
        mlp({ widths: [4, 3, 2], density: 0.5 }),
        train,
        /an Embedding for the lines, got one for samples of 4 features/,
      ],
      ['few words', encoder(undefined, { words: 20 }), train, /a tokenizer of at most 20 tokens/],
      ['pairs', encoder(undefined), pairs, /made by transformer\(\) for the sentences, got one from parts/],
      [
        'few classes',
        new Sequential({ ...parts, pooling: new Pooling(), out: new Linear({ inFeatures: FEATURES, outFeatures: 1 }) }),
        train,
        /to have 1 classes, the width of the model's output, got 2/,
      ],
      [
        'no pooling',
        new Sequential({ ...parts, out: new Linear({ inFeatures: FEATURES, outFeatures: 2 }) }),
        train,
        /a column for each sequence of the lines, got one for each token. Put Pooling before/,
      ],
    ] as const) {
      using trainer = new Trainer(model, { optimizer, device: cpu() })
      const error = await expectRefusal(() => all(trainer.fit(text, { steps: 2 })), 'INVALID_ARGUMENT', what)
      expect(error.message, what).to.match(message)
    }
    using trainer = trainerOf(dense())
    const untrained = await expectRefusal(() => trainer.classify(['( )']), 'INVALID_ARGUMENT', 'no text')
    expect(untrained.message).to.contain('Expected a model trained on labelledText(), got one that has seen no text')
    const samples = await expectRefusal(() => trainer.predict(new Float32Array(32)), 'INVALID_ARGUMENT', 'samples')
    expect(samples.message).to.contain('Expected a model for samples, got one for text')
    for (const [options, message] of [
      [{ epochs: 3 }, 'Expected steps for text, got epochs 3'],
      [{ steps: 3, microBatchSize: 16 }, 'Expected no microBatchSize for text'],
    ] as const) {
      const error = await expectRefusal(() => all(trainer.fit(train, options)), 'INVALID_ARGUMENT', message)
      expect(error.message).to.contain(message)
    }
  })
})
