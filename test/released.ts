/**
 * What each version wrote, kept for ever in test/fixtures/VERSION: a checkpoint of every kind, and what the command
 * line prints as JSON. `npx tsx test/released.ts` adds the folder of the version in package.json, by dist/ as it is; a
 * folder that is there stays, as it is worth something because an older version made it.
 */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import {
  adam,
  chts,
  chtss,
  type DeviceChoice,
  Embedding,
  type Epoch,
  Linear,
  mlp,
  Pooling,
  PositionalEncoding,
  Sequential,
  SparseLinear,
  sgd,
  Trainer,
  transformer,
  updateSchedule,
} from '../lib/index.js'
import { labelledLines, parallelLines, trainTokenizer } from '../lib/text/index.js'
import { hebb } from './programs.js'
import { clusters, csvText, randomFrom } from './synthetic.js'

export const fixtures = fileURLToPath(new URL('fixtures/', import.meta.url))

/** What the files of a version gave when they were written. */
export interface Expected {
  /** Of the first samples. */
  readonly predictions: readonly number[]
  readonly itop: number
  /** Of the epochs that follow on each file. */
  readonly losses: Readonly<Record<'mlp' | 'unfinished' | 'translator' | 'classifier', readonly number[]>>
  readonly translations: readonly string[]
  readonly labels: readonly string[]
}

const ENGLISH = 'one two three four five six seven eight'.split(' ')
const GERMAN = 'eins zwei drei vier acht elf zwoelf null'.split(' ')

/** Numbers in words, and the same ones the other way round in other words. */
export function sentences(): { english: string[]; german: string[] } {
  const next = randomFrom(1)
  const numbers = Array.from({ length: 40 }, () =>
    Array.from({ length: 1 + Math.floor(4 * next()) }, () => Math.floor(8 * next())),
  )
  const spelt = (words: string[], all: number[]) => all.map((n) => words[n]).join(' ')
  return {
    english: numbers.map((all) => spelt(ENGLISH, all)),
    german: numbers.map((all) => spelt(GERMAN, all.toReversed())),
  }
}

export const samples = () => clusters({ samples: 400, features: 24, classes: 4 })

export async function texts() {
  const { english, german } = sentences()
  const tokenizer = await trainTokenizer([...english, ...german], { vocabulary: 280 })
  const long = english.map((line) => (line.split(' ').length > 2 ? 'long' : 'short'))
  return {
    pairs: await parallelLines(english, german, { tokenizer }),
    labelled: await labelledLines(english, long, { tokenizer }),
    words: tokenizer.size,
    ...{ english, german },
  }
}

export const lossesOf = async (run: AsyncIterable<Epoch>): Promise<number[]> => {
  const losses: number[] = []
  for await (const { trainLoss } of run) losses.push(trainLoss)
  return losses
}

const updates = updateSchedule({ every: 10, fraction: 0.3 })
const often = { updates }

/** Writes the checkpoints, and what follows on them. */
export async function checkpoints(folder: string, device: DeviceChoice): Promise<void> {
  const at = (name: string) => join(folder, `${name}.safetensors`)
  const data = samples()
  const { pairs, labelled, words, english } = await texts()

  // A network with Adam's moments and the history of its links, whose run has ended.
  const network = mlp({ widths: [24, 20, 16, 4], density: 0.3, seed: 5 })
  using first = new Trainer(network, { optimizer: adam({ learningRate: 0.01 }), dst: chts(often), device })
  await lossesOf(first.fit(data, { epochs: 3 }))
  await first.save(at('mlp'), { notes: { made: 'for the tests of later versions' } })
  const predictions = Array.from(await first.predict(data)).slice(0, 40)
  const { itop } = await first.measures()
  const mlpLosses = await lossesOf(first.fit(data, { epochs: 2 }))

  // In the middle of an epoch, of a method whose density falls.
  const falling = mlp({ widths: [24, 20, 16, 4], density: 0.1, seed: 6 })
  const optimizer = sgd({ learningRate: 0.05, momentum: 0.9 })
  using second = new Trainer(falling, { optimizer, dst: chtss(often), device })
  const unfinished: number[] = []
  const file = at('run')
  for await (const { epoch, trainLoss } of second.fit(data, { epochs: 6, checkpoint: { file, everySteps: 30 } })) {
    if (epoch === 3) renameSync(file, at('unfinished')) // of step 30; an epoch has 13
    if (epoch >= 3) unfinished.push(trainLoss)
  }
  rmSync(file)

  const density = 0.4
  const shape = { features: 16, hidden: 32, heads: 2, encoderLayers: 1, decoderLayers: 1 }
  const translating = transformer({ sourceWords: words, targetWords: words, ...shape, density, shared: 'all' })
  using third = new Trainer(translating, { optimizer: adam({ learningRate: 0.01 }), dst: chts(often), device })
  const run = { steps: 200, interval: 50, batchSize: 200 }
  const translator: number[] = []
  let translations: string[] = []
  for await (const { epoch, trainLoss } of third.fit(pairs, run)) {
    if (epoch > 3) translator.push(trainLoss)
    if (epoch !== 3) continue
    await third.save(at('translator'))
    translations = await third.translate(english.slice(0, 8))
  }

  const features = 16
  const classifying = new Sequential({
    embedding: new Embedding({ words, features }),
    positions: new PositionalEncoding({ features, places: 64 }),
    hidden: new SparseLinear({ inFeatures: features, outFeatures: 32, density }),
    pooling: new Pooling(),
    classes: new Linear({ inFeatures: 32, outFeatures: 2 }),
  })
  using fourth = new Trainer(classifying, { optimizer: adam({ learningRate: 0.01 }), dst: chts(often), device })
  const classifier: number[] = []
  let labels: string[] = []
  for await (const { epoch, trainLoss } of fourth.fit(labelled, { steps: 80, interval: 20, batchSize: 200 })) {
    if (epoch > 3) classifier.push(trainLoss)
    if (epoch !== 3) continue
    await fourth.save(at('classifier'))
    labels = (await fourth.classify(english.slice(0, 8))).map(({ label }) => label)
  }
  const losses = { mlp: mlpLosses, unfinished, translator, classifier }
  const expected: Expected = { predictions, itop, losses, translations, labels }
  writeFileSync(join(folder, 'expected.json'), `${JSON.stringify(expected, null, 1)}\n`)
}

/** What the commands print with --json, by the name of a file. `folder`: for what they read and write. */
export async function printed(folder: string): Promise<Record<string, string>> {
  const at = (name: string) => join(folder, name)
  const { english, german } = sentences()
  writeFileSync(at('table.csv'), csvText({ samples: 400, inputs: 6, targets: 2 }))
  for (const [name, lines] of Object.entries({ en: english, de: german }))
    writeFileSync(at(name), `${lines.join('\n')}\n`)
  const say = async (...args: string[]) => {
    const { code, stdout, stderr } = await hebb(
      ...args,
      ...(args[0] === 'describe' ? [] : ['--device', 'cpu']),
      '--json',
    )
    if (code !== 0) throw new Error(`Expected hebb ${args.join(' ')} to end with 0, got ${code}: ${stderr}`)
    return stdout.replaceAll(folder, '.')
  }
  const files = ['--source', at('en'), '--target', at('de')]
  const validation = ['--validation-source', at('en'), '--validation-target', at('de')]
  const small = ['--width', '16', '--feed-forward', '32', '--layers', '1', '--heads', '2', '--vocabulary', '280']
  const short = ['--steps', '40', '--interval', '20', '--batch-tokens', '200', '--density', '0.4']
  const checkpoint = ['--checkpoint', at('mnist.safetensors')]
  return {
    'train.jsonl': await say('train', '--hidden', '16,16', '--density', '20%', '--epochs', '2', ...checkpoint),
    'evaluate.json': await say('evaluate', at('mnist.safetensors')),
    'describe.json': await say('describe', at('mnist.safetensors')),
    'regression.jsonl': await say(
      ...['train', '--task', 'regression', '--data', at('table.csv'), '--targets', '2'],
      ...['--hidden', '16', '--epochs', '2'],
    ),
    'translation.jsonl': await say('train', '--task', 'translation', ...files, ...validation, ...small, ...short),
    'compare.json': await say(
      ...['compare', '--methods', 'chts,set', '--seeds', '0', '--hidden', '16,16', '--epochs', '1'],
      ...['--out', at('study')],
    ),
  }
}

async function main(): Promise<void> {
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))
  const folder = join(fixtures, version)
  if (existsSync(folder)) throw new Error(`Expected no ${folder}: what a version wrote is not written again`)
  mkdirSync(folder, { recursive: true })
  await checkpoints(folder, { kind: 'cpu', threads: 1 })
  const scratch = mkdtempSync(join(tmpdir(), 'hebb-released-'))
  try {
    for (const [name, text] of Object.entries(await printed(scratch))) writeFileSync(join(folder, name), text)
    writeFileSync(join(folder, 'mnist.safetensors'), readFileSync(join(scratch, 'mnist.safetensors')))
  } finally {
    rmSync(scratch, { recursive: true })
  }
}

if (process.argv[1]?.endsWith('released.ts')) void main()
