/**
 * hebb predict: what a saved network says of the samples of a file, or of the lines of stdin: a line for each, in their
 * order.
 */
import type { Command } from 'commander'
import { readInputs } from '../data/inputs.js'
import { expect, HebbError } from '../error.js'
import { type Given, read, withDefaults } from '../settings/flags.js'
import { linesIn } from '../text/lines.js'
import { placesOf } from '../train/check_data.js'
import { linesFor } from '../train/classifier.js'
import { load, type Predictor } from '../train/predictor.js'
import { type Call, define } from './command.js'
import { deviceOf } from './run.js'

/** Lines that are classified together, and samples that are told together. */
const LINES = 1024

export function definePredict(program: Command): void {
  define(program, 'predict', {
    does: 'tells the class of each sample of a file by a saved network, or of each line of stdin',
    argument: ['<file>', 'a checkpoint'],
    input: ['[input]', 'raw samples: IDX images, a .csv or a .npy file; none for a classifier of text'],
    examples: [
      'hebb predict run.safetensors t10k-images-idx3-ubyte',
      'hebb predict run.safetensors rows.csv --top 3 --probabilities',
      'hebb predict classifier.safetensors --json < FILE',
    ],
    run: predict,
  })
}

/** A class, for a line of the answer. */
interface Choice {
  readonly label: string
  readonly probability: number
}

/** The `top` most probable classes of each sample, of probabilities [samples][columns]. */
function choicesOf(probabilities: Float32Array, columns: number, classes: readonly string[], top: number): Choice[][] {
  return Array.from({ length: probabilities.length / columns }, (_, sample) => {
    const own = probabilities.subarray(sample * columns, (sample + 1) * columns)
    const order = [...own.keys()].sort((a, b) => (own[b] as number) - (own[a] as number) || a - b)
    return order.slice(0, top).map((n) => ({ label: classes[n] ?? String(n), probability: own[n] as number }))
  })
}

/** A line of stdout for each sample, fields separated by tabs. */
function tell(all: readonly Choice[][], { json, probabilities }: Given): void {
  const fields = ({ label, probability }: Choice) => [label, ...(probabilities ? [probability.toFixed(4)] : [])]
  for (const classes of all) console.log(json ? JSON.stringify({ classes }) : classes.flatMap(fields).join('\t'))
}

async function predict({ args, texts }: Call): Promise<void> {
  const [file, input] = args as [string, string | undefined]
  const { given } = read('predict', texts)
  const { top, ...values } = withDefaults('predict', given)
  using device = deviceOf(values)
  using model = await load(file, { device })
  const { tokenizers, classes } = model
  if (tokenizers) {
    expect(
      classes !== undefined,
      () => `Expected a network that classifies, got ${file}, which translates: hebb translate`,
    )
    expect(input === undefined, () => `Expected lines on stdin for a classifier of text, got ${input}: < ${input}`)
    await predictLines(model, { tokenizers, classes }, top, given)
    return
  }
  const { format } = model
  if (!format)
    throw new HebbError(
      'INVALID_ARGUMENT',
      `Expected ${file} to tell how its inputs were scaled, got a checkpoint of trainOn() or of an older hebb. Go on ` +
        'with its run by this one, or use load() with a format.',
    )
  expect(input !== undefined, () => 'Expected a file of samples behind the checkpoint: IDX images, .csv or .npy')
  if (format.targets)
    for (const name of ['top', 'probabilities'] as const)
      expect(given[name] === undefined, () => `Expected no --${name} for ${file}, which is of a regression`)
  const x = await readInputs(input, format)
  if (format.targets) {
    tellValues(await model.predict(x, { raw: true, output: 'values' }), format.targets.names, model, given)
    return
  }
  const probabilities = await model.predict(x, { raw: true, output: 'probabilities' })
  tell(choicesOf(probabilities, model.model.outFeatures as number, classes ?? [], top), given)
}

/** Numbers of a regression, in the units of its targets. */
function tellValues(all: Float32Array, names: readonly string[] | undefined, { model }: Predictor, given: Given): void {
  const outputs = model.outFeatures as number
  for (let first = 0; first < all.length; first += outputs) {
    const own = [...all.subarray(first, first + outputs)].map((value) => Number(value.toPrecision(8)))
    const values = names ? Object.fromEntries(names.map((name, i) => [name, own[i]])) : own
    console.log(given.json ? JSON.stringify({ values }) : own.join('\t'))
  }
}

/** Lines of stdin, some hundred at a time, up to the first one that the model cannot take. */
async function predictLines(
  model: Predictor,
  known: NonNullable<Parameters<typeof linesFor>[0]>,
  top: number,
  given: Given,
): Promise<void> {
  const places = placesOf(model.model) ?? Number.POSITIVE_INFINITY
  const classes = known.classes as readonly string[]
  let done = 0
  const flush = async (lines: string[]) => {
    if (lines.length === 0) return
    const probabilities = await model.predict(linesFor(known, lines, done), { output: 'probabilities' })
    tell(choicesOf(probabilities, model.model.outFeatures as number, classes, top), given)
    done += lines.length
  }
  const take = async (lines: string[]) => {
    const lengths = lines.map((line) => (line.trim() === '' ? 0 : known.tokenizers.source.encode(line).length))
    const bad = lengths.findIndex((length) => length === 0 || length > places)
    await flush(bad < 0 ? lines : lines.slice(0, bad))
    expect(bad < 0, () => {
      const got = `got ${lengths[bad]} in line ${done + 1} of stdin`
      return Number.isFinite(places)
        ? `Expected lines of 1 to ${places} tokens, as the model takes, ${got}. Nothing is cut: leave it out, or ` +
            'divide it.'
        : `Expected lines with a token or more, ${got}. Leave it out.`
    })
  }
  let lines: string[] = []
  for await (const line of linesIn(process.stdin, 'stdin')) {
    lines.push(line)
    if (lines.length < LINES) continue
    await take(lines)
    lines = []
  }
  await take(lines)
}
