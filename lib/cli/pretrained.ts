/**
 * hebb train --task translation --from FILE: what a new run takes from a checkpoint, and which flags fit to that.
 * Shapes, tokenizers, links and weights are the file's; steps, rates, method and seed are flags.
 */
import { expect, HebbError, show } from '../error.js'
import type { Sequential } from '../nn/sequential.js'
import { sparseLayers } from '../nn/sparse_linear.js'
import { Transformer, type TransformerOptions, transformer } from '../nn/transformer.js'
import { decays, methods, pick } from '../settings/choices.js'
import { isDense } from '../settings/flag_table.js'
import { type FlagName, type Given, typed } from '../settings/flags.js'
import { densityText } from '../settings/format.js'
import type { Tokenizers } from '../text/parallel.js'
import { Tokenizer } from '../text/tokenizer.js'
import { type Checkpoint, namedModules, readCheckpoint } from '../train/checkpoint.js'

export interface Pretrained {
  /** The flags, with what the file decides. */
  readonly given: Given
  readonly tokenizers: Tokenizers
  /** The file's model for a new run, which nothing uses yet. */
  model(own: { dropout: number; seed: number }): Sequential
}

/** A layer that has links, or may have. */
interface Layer {
  readonly name: string
  readonly possible: number
  readonly links: number
}

const percent = (share: number) => `${densityText(share)}%`
const linksAt = (density: number, { possible }: Layer) => Math.round(density * possible)

/** The layers that have a density in a model, with the links that the file has for them. */
function layersOf(model: Sequential, checkpoint: Checkpoint): Layer[] {
  const names = namedModules(model)
  return sparseLayers(model).map((layer) => {
    const path = names.get(layer) as string
    const possible = layer.inFeatures * layer.outFeatures
    const links = checkpoint.dense ? possible : checkpoint.linksOf(`${path}.weights`)?.columnIndices.length
    return {
      name: path.replace('modules.0.', '').replace(/\.module\.(attention\.)?/, '.'),
      possible,
      links: links ?? 0,
    }
  })
}

/** The flags that say how dense the layers are, and what they come to for the model. */
function densityOf(
  file: string,
  given: Given,
  layers: readonly Layer[],
  options: TransformerOptions,
): { given: Given; densities: Pick<TransformerOptions, 'density' | 'densities'> } {
  const sum = (of: (layer: Layer) => number) => layers.reduce((all, layer) => all + of(layer), 0)
  const isOfAll = (density: number) => layers.every((layer) => Math.abs(linksAt(density, layer) - layer.links) <= 1)
  const total = sum(({ links }) => links) / sum(({ possible }) => possible)
  // As it was asked for, where the links are those: 0.05 and not 0.0499992.
  const there = [given.density, options.density].find((one) => one !== undefined && isOfAll(one)) ?? total
  const { method = there === 1 ? 'dense' : 'chts' } = given
  if (isDense(method)) {
    expect(
      given.density === undefined || given.density === 1,
      () =>
        `Expected --density to be 1 for the method 'dense', got ${given.density}. With --method chtss, gmp or granet ` +
        `it falls from the ${percent(there)} of ${file}.`,
    )
    return { given: { ...given, method, density: 1 }, densities: { density: 1, densities: undefined } }
  }
  const rule = pick(methods, method, 'method')().density
  const density = given.density ?? there
  if (Object.hasOwn(decays, rule.name)) {
    expect(
      density <= there,
      () => `Expected --density to be at most the ${percent(there)} of ${file}, got ${percent(density)}`,
    )
    expect(
      given.initialDensity === undefined || isOfAll(given.initialDensity),
      () =>
        `Expected --initial-density to be the ${percent(there)} of ${file}, got ${show(given.initialDensity)}. Leave ` +
        'it out.',
    )
    expect(
      isOfAll(there),
      () =>
        `Expected layers of one density in ${file} for the method '${method}', whose density falls, got ` +
        `${layers.map(({ name, links, possible }) => `${name}: ${percent(links / possible)}`).join(', ')}. Take chts.`,
    )
    const filled = { ...given, method, density, initialDensity: there }
    return { given: filled, densities: { density, densities: undefined } }
  }
  expect(
    rule.initial(density) === density,
    () =>
      `Expected a method that begins with the links of ${file}, got --method ${method}, which begins with more. Take ` +
      'chts, set, rigl or static.',
  )
  expect(
    density === there,
    () =>
      `Expected --density to be the ${percent(there)} of ${file} for the method '${method}', which keeps it, got ` +
      `${percent(density)}. With --method chtss, gmp or granet it falls to a lower one.`,
  )
  const own = Object.fromEntries(layers.map(({ name, links, possible }) => [name, links / possible]))
  const densities = isOfAll(density) ? { density, densities: undefined } : { density: undefined, densities: own }
  return { given: { ...given, method, density }, densities }
}

/** Refuses a flag that says otherwise than the file. */
function expectSame(file: string, name: FlagName, given: unknown, values: readonly unknown[]): void {
  expect(
    given === undefined || values.every((value) => value === given),
    () => `Expected --${typed(name)} to be ${values.join(' and ')}, as in ${file}, got ${given}. Leave it out.`,
  )
}

/** What a new run from a checkpoint has, and the flags that were given beside it. */
export async function pretrained(file: string, given: Given): Promise<Pretrained> {
  const checkpoint = await readCheckpoint(file, { training: false })
  const tokenizers = checkpoint.vocabularies?.tokenizers
  const made = checkpoint.model()
  const [only] = made.modules
  if (!tokenizers || made.modules.length !== 1 || !(only instanceof Transformer))
    throw new HebbError('INVALID_ARGUMENT', `Expected ${file} to be a translator, got a network of another kind`)
  const { options } = only
  const { source, target } = tokenizers
  for (const [name, ...values] of [
    ['width', options.features],
    ['feedForward', options.hidden],
    ['layers', options.encoderLayers, options.decoderLayers],
    ['heads', options.heads],
    ['perHead', options.perHead ?? false],
    ['vocabulary', source.size, target.size],
  ] as const)
    expectSame(file, name, given[name], values)
  if (given.tokenizer !== undefined) {
    const text = JSON.stringify(Tokenizer.from(given.tokenizer))
    expect(
      [source, target].every((own) => JSON.stringify(own) === text),
      () =>
        `Expected --tokenizer to be that of ${file}, whose words the model knows, got another one in ` +
        `${given.tokenizer}. Leave it out.`,
    )
  }
  // A matrix may be pruned: then all of them are.
  const all = checkpoint.dense ? transformer({ ...options, density: 1, densities: undefined }) : made
  const layers = layersOf(all, checkpoint)
  const dense = densityOf(file, given, layers, options)
  const { features: width, hidden: feedForward, encoderLayers, heads } = options
  return {
    given: {
      ...dense.given,
      width,
      feedForward,
      layers: encoderLayers,
      heads,
      vocabulary: source.size,
      ...(options.perHead && { perHead: true }),
    },
    tokenizers,
    model: (own) => transformer({ ...options, ...dense.densities, ...own }),
  }
}
