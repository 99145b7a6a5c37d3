/**
 * Transformers against golden data: an encoder and decoder of two layers each by another program, in double precision
 * (test/vectors/translation-tiny, and with 30% of the links in translation-tiny-sparse).
 */
import { expect } from 'chai'
import { Tape } from '../lib/autograd.js'
import type { Device } from '../lib/device.js'
import type { Links } from '../lib/native.js'
import { type Parameter, SparseParameter } from '../lib/nn/parameter.js'
import type { Sequential } from '../lib/nn/sequential.js'
import { SparseLinear } from '../lib/nn/sparse_linear.js'
import { transformer } from '../lib/nn/transformer.js'
import { sgd } from '../lib/optim/sgd.js'
import { Program } from '../lib/program.js'
import { cscSlots, inRowOrder } from '../lib/tensor.js'
import { namedModules, namedParameters } from '../lib/train/checkpoint.js'
import { Trainer } from '../lib/train/trainer.js'
import { at, expectNear, expectRefusal, modelPlaces, on, places } from './support.js'
import { type Golden, goldenOf, nameOf, tensorsOf, tokensOf } from './translation.js'

/** The links of a matrix that are not 0, and their values by row. */
function linksOf({
  shape: [rows, cols],
  data,
}: {
  shape: number[]
  data: Float64Array
}): Links & { values: Float32Array } {
  const [rowOffsets, columnIndices, values]: [number[], number[], number[]] = [[0], [], []]
  for (let row = 0; row < rows; ++row) {
    for (let col = 0; col < cols; ++col) {
      if (data[row * cols + col] === 0) continue
      columnIndices.push(col)
      values.push(data[row * cols + col])
    }
    rowOffsets.push(columnIndices.length)
  }
  return {
    ...{ rowOffsets: Int32Array.from(rowOffsets), columnIndices: Int32Array.from(columnIndices) },
    values: Float32Array.from(values),
  }
}

const sparse = 'translation-tiny-sparse'
const model = ({ settings }: Golden, density?: number, densities?: Record<string, number>): Sequential =>
  transformer({
    ...{ sourceWords: settings.sourceVocabulary, targetWords: settings.targetVocabulary },
    ...{ features: settings.width, hidden: settings.ff, heads: settings.heads },
    ...{ encoderLayers: settings.layers, decoderLayers: settings.layers, density, densities },
  })

/** The model of the golden data in the hands of a trainer. */
async function trainerOf(device: Device, folder: string): Promise<{ trainer: Trainer; named: [string, Parameter][] }> {
  const golden = goldenOf(folder)
  const tensors = tensorsOf(folder, 'parameters.safetensors')
  const tensorOf = (ours: string) => tensors.get(nameOf(ours)) ?? expect.fail(`no ${nameOf(ours)} for ${ours}`)
  // Of each layer the density that its links have.
  const sparseNames = (folder === sparse ? [...namedModules(model(golden, 0.5))] : []).filter(
    ([module]) => module instanceof SparseLinear,
  )
  const densityOf = (name: string) => {
    const { shape, data } = tensorOf(`${name}.weights`)
    return linksOf({ shape, data }).columnIndices.length / data.length
  }
  const densities = Object.fromEntries(
    sparseNames.map(([, name]) => {
      const short = name.replace('modules.0.', '').replace('.module.attention.', '.').replace('.module.', '.')
      return [short, densityOf(name)]
    }),
  )
  const made = model(golden, folder === sparse ? 0.5 : undefined, densities)
  for (const [module, name] of namedModules(made)) {
    if (!(module instanceof SparseLinear)) continue
    const { values, ...links } = linksOf(tensorOf(`${name}.weights`))
    module.setWeights({ links, values, bias: Float32Array.from(tensorOf(`${name}.bias`).data) })
  }
  const trainer = new Trainer(made, { optimizer: sgd({ learningRate: 0.1 }), device })
  await trainer.measures()
  const named = namedParameters(made)
  for (const [name, parameter] of named) {
    if (parameter instanceof SparseParameter) continue
    await parameter.values.write(Float32Array.from(tensorOf(name).data))
  }
  return { trainer, named }
}

describe('a transformer', () => {
  for (const place of modelPlaces) {
    for (const folder of ['translation-tiny', sparse]) {
      it(`has the logits and gradients of another program's: ${folder}, ${place}`, async () => {
        const golden = goldenOf(folder)
        const { padding, labelSmoothing, targetVocabulary: words } = golden.settings
        const { trainer, named } = await trainerOf(at(place), folder)
        await on(at(place), async (w) => {
          const program = w.own(new Program(w.device))
          const tape = w.own(new Tape(program, { training: true }))
          const source = tokensOf(tape, golden.source, golden.sourceLengths)
          const target = tokensOf(tape, golden.targetInput, golden.targetLengths)
          const logits = trainer.model.forward(tape, source, target)
          program.keep(logits.activations)
          // The gradient of the loss: softmax less the smoothed target, over the tokens.
          const rows = golden.logits.flatMap((sentence, i) => sentence.slice(0, golden.targetLengths[i]))
          const labels = golden.targetOutput.flatMap((sentence, i) => sentence.slice(0, golden.targetLengths[i]))
          let loss = 0
          const slopes = rows.flatMap((row, i) => {
            const total = Math.log(row.reduce((sum, z) => sum + Math.exp(z), 0))
            return row.map((z, word) => {
              const other = word === padding ? 0 : labelSmoothing / (words - 2)
              const wanted = word === labels[i] ? 1 - labelSmoothing : other
              if (wanted > 0) loss += wanted * (Math.log(wanted) - (z - total))
              return (Math.exp(z - total) - wanted) / golden.tokens
            })
          })
          expect(loss / golden.tokens).to.be.closeTo(golden.loss, 1e-9)
          const slope = tape.own(program.activations(words, 'given', target.sequences.axis))
          const into = tape.gradient(logits)
          tape.record('add', { first: slope, output: (into as NonNullable<typeof into>).gradient })
          tape.backward()
          await program.replay(1, { writes: [[slope, Float32Array.from(slopes), rows.length]] })
          expectNear(await logits.activations.read(rows.length), rows.flat(), 'logits', 1e-5)
          const gradients = tensorsOf(folder, 'gradients.safetensors')
          expect(named.length).to.equal(gradients.size)
          for (const [name, parameter] of named) {
            const { data, shape } = gradients.get(nameOf(name)) ?? expect.fail(`no gradient for ${name}`)
            let got = await parameter.gradient.read()
            let expected: ArrayLike<number> = data
            if (parameter instanceof SparseParameter) {
              const links = await parameter.matrix.read()
              got = inRowOrder(got, cscSlots(links, parameter.matrix.cols))
              const places: number[] = []
              for (let row = 0; row < shape[0]; ++row)
                for (let k = links.rowOffsets[row]; k < links.rowOffsets[row + 1]; ++k)
                  places.push(row * shape[1] + links.columnIndices[k])
              expected = places.map((place) => data[place])
            }
            // Attention looks away from what moves all keys alike: those gradients are 0 but for rounding.
            if (/\.key\.bias$/.test(name)) expect(got.every((g) => Math.abs(g) < 1e-7)).to.equal(true)
            else expectNear(got, expected, name, 1e-4)
          }
        })
        trainer.dispose()
      })
    }
  }

  it('shares its embeddings where it is told to, each one parameter', () => {
    const golden = goldenOf('translation-tiny')
    const counts = (['none', 'target', 'all'] as const).map((shared) => {
      const options = { sourceWords: 19, targetWords: 19, features: 16, hidden: 24, heads: 2, shared }
      const made = transformer({ ...options, encoderLayers: 1, decoderLayers: 1 })
      const trainer = new Trainer(made, { optimizer: sgd({ learningRate: 0.1 }), device: at(places[0]) })
      const tables = namedParameters(made).filter(([, p]) => p.capacity === 19 * 16)
      trainer.dispose()
      return tables.length
    })
    expect(counts).to.deep.equal([3, 2, 1])
    expect(golden.settings.width).to.equal(16)
  })

  it('relates what shares neurons, and nothing across connections', async () => {
    const made = model(goldenOf('translation-tiny'), 0.5)
    const trainer = new Trainer(made, { optimizer: sgd({ learningRate: 0.1 }), device: at(places[0]) })
    const names = new Map(namedParameters(made).map(([name, parameter]) => [parameter, nameOf(name)]))
    const pairs = made.relations.map(({ first, second, kind }) => `${names.get(first)} ${names.get(second)} ${kind}`)
    const expected: string[] = []
    for (const part of ['encoder.0.attention', 'encoder.1.attention', 'decoder.0.attention', 'decoder.0.cross'])
      expected.push(`${part}.k.weight ${part}.q.weight joint`, `${part}.v.weight ${part}.o.weight consecutive`)
    for (const part of ['encoder.0.ffn', 'decoder.1.ffn'])
      expected.push(`${part}.w1.weight ${part}.w2.weight consecutive`)
    expect(pairs).to.include.members(expected)
    expect(pairs.length).to.equal(2 * 3 + 2 * 5)
    trainer.dispose()
  })

  it('takes densities by name, and refuses what it does not have', async () => {
    const golden = goldenOf('translation-tiny')
    const made = model(golden, 0.5, { 'encoder.*.attention.query': 0.25, 'decoder.1.feedForward.in': 0.1 })
    const found = new Map(
      [...namedModules(made)].flatMap(([module, name]) =>
        module instanceof SparseLinear ? [[name.replace('modules.0.', ''), module.density] as const] : [],
      ),
    )
    expect(found.get('encoder.1.attention.module.attention.query')).to.equal(0.25)
    expect(found.get('decoder.1.feedForward.module.in')).to.equal(0.1)
    expect(found.get('decoder.1.attention.module.attention.query')).to.equal(0.5)
    const options = { sourceWords: 9, targetWords: 8, features: 16, hidden: 24, heads: 2 }
    const layers = { encoderLayers: 1, decoderLayers: 1 }
    for (const [what, bad, message] of [
      ['heads', { heads: 3 }, 'heads that share out the 16 features evenly, got 3'],
      ['a misspelt option', { drop: 0.1 }, "'drop'"],
      ['a pattern without a match', { densities: { 'encoder.1.*': 0.1 } }, "got 'encoder.1.*'"],
      ['one embedding for two vocabularies', { shared: 'all' }, 'got 9 and 8 words'],
      ['an activation', { activation: 'swish' }, "got 'swish'"],
    ] as const) {
      const make = () => transformer({ ...options, ...layers, ...bad } as never)
      const error = await expectRefusal(make, 'INVALID_ARGUMENT', what)
      expect(error.message).to.contain(message)
    }
  })
})
