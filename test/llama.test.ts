/** Llama against golden data: two layers by another program, in double precision (test/vectors/llama-tiny). */
import { readFileSync } from 'node:fs'
import { expect } from 'chai'
import { Tape } from '../lib/autograd.js'
import { llama, sgd, staticSparse, Trainer } from '../lib/index.js'
import type { Sequential } from '../lib/nn/sequential.js'
import { Program } from '../lib/program.js'
import { namedParameters } from '../lib/train/checkpoint.js'
import { theirName } from '../lib/train/llama_files.js'
import { at, expectNear, expectRefusal, modelPlaces, on, places } from './support.js'
import { tensorsOf, tokensOf } from './translation.js'

interface Golden {
  readonly ids: number[][]
  /** What follows each token, -100 where it does not count; of the first token nothing tells it. */
  readonly labels: number[][]
  readonly loss: number
  /** [sequences][tokens][words] */
  readonly logits: number[][][]
}

const folder = new URL('vectors/llama-tiny/', import.meta.url)
const golden: Golden = JSON.parse(readFileSync(new URL('golden.json', folder), 'utf8'))
const config = JSON.parse(readFileSync(new URL('config.json', folder), 'utf8'))

const shape = {
  ...{ words: config.vocab_size, features: config.hidden_size, hidden: config.intermediate_size },
  ...{ layers: config.num_hidden_layers, heads: config.num_attention_heads, keyHeads: config.num_key_value_heads },
  ...{ places: config.max_position_embeddings },
}

async function trainerOf(place: string): Promise<{ trainer: Trainer; model: Sequential }> {
  const model = llama(shape)
  const trainer = new Trainer(model, { optimizer: sgd({ learningRate: 0.1 }), device: at(place) })
  await trainer.measures()
  const tensors = tensorsOf('llama-tiny', 'model.safetensors')
  const named = namedParameters(model)
  expect(named.map(([name]) => theirName(name)).sort()).to.deep.equal([...tensors.keys()].sort())
  for (const [name, { values }] of named)
    await values.write(Float32Array.from(tensors.get(theirName(name))?.data ?? []))
  return { trainer, model }
}

describe('llama', () => {
  for (const place of modelPlaces) {
    it(`has the logits and gradients of another program's, at ${place}`, async () => {
      const { trainer, model } = await trainerOf(place)
      await on(at(place), async (w) => {
        const program = w.own(new Program(w.device))
        const tape = w.own(new Tape(program, { training: true }))
        const tokens = tokensOf(
          tape,
          golden.ids,
          golden.ids.map(({ length }) => length),
        )
        const logits = model.forward(tape, tokens)
        program.keep(logits.activations)
        const rows = golden.logits.flat()
        const next = golden.labels.flatMap((labels) => [...labels.slice(1), -100])
        const counted = next.filter((label) => label >= 0).length
        let loss = 0
        const slopes = rows.flatMap((row, i) => {
          if (next[i] < 0) return row.map(() => 0)
          const total = Math.log(row.reduce((sum, z) => sum + Math.exp(z), 0))
          loss += total - row[next[i]]
          return row.map((z, word) => (Math.exp(z - total) - (word === next[i] ? 1 : 0)) / counted)
        })
        expect(loss / counted).to.be.closeTo(golden.loss, 1e-9)
        const slope = tape.own(program.activations(config.vocab_size, 'given', tokens.sequences.axis))
        const into = tape.gradient(logits)
        tape.record('add', { first: slope, output: (into as NonNullable<typeof into>).gradient })
        tape.backward()
        await program.replay(1, { writes: [[slope, Float32Array.from(slopes), rows.length]] })
        expectNear(await logits.activations.read(rows.length), rows.flat(), 'logits', 1e-5)
        const gradients = tensorsOf('llama-tiny', 'gradients.safetensors')
        for (const [name, { gradient }] of namedParameters(model))
          expectNear(await gradient.read(), gradients.get(theirName(name))?.data ?? [], name, 1e-4)
      })
      trainer.dispose()
    })
  }

  it('relates what shares neurons, and takes densities by name', () => {
    const model = llama({ ...shape, keyHeads: 4, density: 0.5, densities: { '*.feedForward.gate': 0.25 } })
    const options = { optimizer: sgd({ learningRate: 0.1 }), dst: staticSparse(), device: at(places[0]) }
    using trainer = new Trainer(model, options)
    const names = new Map(namedParameters(trainer.model).map(([name, parameter]) => [parameter, theirName(name)]))
    const found = model.relations.map(({ first, second, kind }) =>
      `${names.get(first)} ${names.get(second)} ${kind}`.replaceAll(/model\.layers\.|_proj\.weight/g, ''),
    )
    const expected = [0, 1].flatMap((layer) => [
      `${layer}.self_attn.k ${layer}.self_attn.q joint`,
      `${layer}.self_attn.v ${layer}.self_attn.o consecutive`,
      `${layer}.mlp.gate ${layer}.mlp.up joint`,
      `${layer}.mlp.gate ${layer}.mlp.down consecutive`,
      `${layer}.mlp.up ${layer}.mlp.down consecutive`,
    ])
    expect(found).to.have.members(expected)
    const linksOf = (name: string) => [...names].find(([, of]) => of === name)?.[0].capacity
    expect(linksOf('model.layers.1.mlp.gate_proj.weight')).to.equal(32 * 14)
    expect(linksOf('model.layers.1.mlp.up_proj.weight')).to.equal(32 * 28)
  })

  it('shares its embedding with the head where it is told to', () => {
    const sizes = [false, true].map((tied) => {
      const model = llama({ ...shape, tied })
      using _ = new Trainer(model, { optimizer: sgd({ learningRate: 0.1 }), device: at(places[0]) })
      return model.parameters.reduce((sum, { capacity }) => sum + capacity, 0)
    })
    expect(sizes[0] - sizes[1]).to.equal(config.vocab_size * config.hidden_size)
  })

  it('refuses what it cannot be', async () => {
    for (const [what, bad, message] of [
      ['heads of odd features', { features: 20 }, 'heads of an even number of features to rotate, got 5'],
      ['heads that do not share out', { heads: 5 }, 'got 5'],
      ['grouped heads', { keyHeads: 3 }, 'keyHeads to be a divisor of the 4 heads, got 3'],
      ['a misspelt option', { head: 4 }, "'head'"],
      ['a pattern without a match', { densities: { '2.*': 0.1 } }, "got '2.*'"],
    ] as const) {
      const error = await expectRefusal(() => llama({ ...shape, ...bad } as never), 'INVALID_ARGUMENT', what)
      expect(error.message).to.contain(message)
    }
  })
})
