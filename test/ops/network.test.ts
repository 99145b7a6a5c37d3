import { expect } from 'chai'
import { Tape, type Value } from '../../lib/autograd.js'
import { linear, relu, sparseLinear } from '../../lib/nn/layers.js'
import { DenseParameter, SparseParameter } from '../../lib/nn/parameter.js'
import { Program } from '../../lib/program.js'
import type { Activations, PlainCsr } from '../../lib/tensor.js'
import { forward, fullCsr, meanSquaredError, numericalGradient, softmaxCrossEntropy } from '../reference.js'
import {
  at,
  byColumn,
  byRow,
  cpu,
  expectNear,
  expectRefusal,
  expectSameBits,
  numbers,
  on,
  places,
  randomCsr,
  type Workspace,
} from '../support.js'

const batch = 23

/** A layer on the device and in double precision. */
interface Layer {
  csr: PlainCsr
  weights: Float64Array
  bias: Float64Array
}

function layerOf(outputs: number, inputs: number, links: number, seed: number): Layer {
  const csr = links === outputs * inputs ? fullCsr(outputs, inputs) : randomCsr(outputs, inputs, links, seed)
  return {
    csr,
    weights: Float64Array.from(numbers(links, seed + 1)),
    bias: Float64Array.from(numbers(outputs, seed + 2)),
  }
}

function sparseParameters(w: Workspace, layer: Layer): { weights: SparseParameter; bias: DenseParameter } {
  const { rows, cols } = layer.csr
  const weights = w.own(new SparseParameter(w.device, { name: 'weights', layer: 0, rows, cols, links: layer.csr }))
  void weights.values.write(byColumn(layer.csr, Float32Array.from(layer.weights)))
  return { weights, bias: biasParameter(w, layer) }
}

function denseParameters(w: Workspace, layer: Layer): { weights: DenseParameter; bias: DenseParameter } {
  const { rows, cols } = layer.csr
  const weights = w.own(new DenseParameter(w.device, 'weights', rows, cols))
  void weights.values.write(Float32Array.from(layer.weights))
  return { weights, bias: biasParameter(w, layer) }
}

function biasParameter(w: Workspace, layer: Layer): DenseParameter {
  const bias = w.own(new DenseParameter(w.device, 'bias', layer.csr.rows, 1))
  void bias.values.write(Float32Array.from(layer.bias))
  return bias
}

const apply = ({ csr, weights, bias }: Layer, x: Float64Array, activation = 'none') =>
  forward(csr, weights, bias, x, batch, activation).value

describe('a network on the tape', () => {
  //   x - first, relu - h - second - p - relu - r - third  -> cross-entropy
  //                      \            \
  //                       fifth        fourth, relu -> mean squared error
  //                         -> mean squared error
  const layers = {
    first: layerOf(9, 6, 25, 10),
    second: layerOf(8, 9, 30, 20),
    third: layerOf(5, 8, 40, 30),
    fourth: layerOf(3, 8, 24, 40),
    fifth: layerOf(4, 9, 12, 50),
  }
  const x = Float64Array.from(numbers(batch * 6, 60))
  const classes = Int32Array.from({ length: batch }, (_, i) => (i * 7) % 5)
  const [fourthTarget, fifthTarget] = [numbers(batch * 3, 61), numbers(batch * 4, 62)]

  const loss = () => {
    const h = apply(layers.first, x, 'relu')
    const p = apply(layers.second, h)
    const r = p.map((v) => Math.max(0, v))
    return (
      (softmaxCrossEntropy(apply(layers.third, r), classes, 5, batch).loss +
        meanSquaredError(apply(layers.fourth, p, 'relu'), fourthTarget, 3, batch).loss +
        meanSquaredError(apply(layers.fifth, h), fifthTarget, 4, batch).loss) /
      batch
    )
  }

  for (const [place, columns] of places.flatMap((place) => [[place, batch] as const, [place, 16] as const])) {
    it(`has the gradients that differences have, a loss of ${columns} columns at a time, at ${place}`, async () => {
      await on(at(place, 2), async (w) => {
        const workspace = w.tensor('uint8', 0)
        const program = w.own(new Program(w.device, { batch, workspace }))
        const tape = w.own(new Tape(program, { training: true }))
        const parameters = {
          first: sparseParameters(w, layers.first),
          second: sparseParameters(w, layers.second),
          third: denseParameters(w, layers.third),
          fourth: denseParameters(w, layers.fourth),
          fifth: sparseParameters(w, layers.fifth),
        }
        const input: Value = { activations: w.batch(6, batch, x), needsGradient: true }
        const h = relu(tape, sparseLinear(tape, input, parameters.first.weights, parameters.first.bias))
        const p = sparseLinear(tape, h, parameters.second.weights, parameters.second.bias)
        const fourth = relu(tape, linear(tape, p, parameters.fourth.weights, parameters.fourth.bias))
        const fifth = sparseLinear(tape, h, parameters.fifth.weights, parameters.fifth.bias)
        const totals = w.tensor('float64', 4)
        const targets = w.tensor('int32', classes)
        const classify = (from: Value) => {
          const logits = linear(tape, relu(tape, from), parameters.third.weights, parameters.third.bias)
          const gradient = tape.gradient(logits)?.gradient
          program.record('softmaxCrossEntropy', { logits: logits.activations, targets, gradient, totals })
        }
        if (columns < batch) tape.byColumns(p, columns, classify)
        else classify(p)
        for (const [value, target, features] of [
          [fourth, fourthTarget, 3],
          [fifth, fifthTarget, 4],
        ] as const) {
          program.record('meanSquaredError', {
            output: value.activations,
            target: w.batch(features, batch, target),
            gradient: tape.gradient(value)?.gradient,
            totals,
          })
        }
        tape.backward()
        const ofInput = tape.gradient(input)?.gradient as Activations
        program.keep(ofInput)
        await program.replay(1)
        expectNear([(await totals.read())[0] / batch], [loss()], 'loss', 1e-6)

        const read = async (): Promise<Record<string, Float32Array>> => ({
          input: await ofInput.read(),
          ...Object.fromEntries(
            await Promise.all(
              Object.entries(parameters).flatMap(([name, { weights, bias }]) => [
                weights.gradient.read().then((g) => [`${name} weights`, g] as const),
                bias.gradient.read().then((g) => [`${name} bias`, g] as const),
              ]),
            ),
          ),
        })
        const gradients = await read()
        expectNear(gradients.input, numericalGradient(loss, x), 'input', 2e-5)
        for (const [name, layer] of Object.entries(layers)) {
          const weights = gradients[`${name} weights`]
          const sparse = parameters[name as keyof typeof parameters].weights instanceof SparseParameter
          expectNear(
            sparse ? byRow(layer.csr, weights) : weights,
            numericalGradient(loss, layer.weights),
            `${name} weights`,
            2e-5,
          )
          expectNear(gradients[`${name} bias`], numericalGradient(loss, layer.bias), `${name} bias`, 2e-5)
        }
        await program.replay(2)
        expectSameBits(await read(), gradients, 'later steps')
        // Nothing of what others leave in the values' memory is read.
        const other = w.own(new Program(w.device, { batch: 256, workspace }))
        await w.own(other.activations(512, 'given')).write(new Float32Array(512 * 256).fill(Number.NaN))
        await program.replay(1)
        expectSameBits(await read(), gradients, 'memory full of NaN')
      })
    })
  }

  it('adds up the gradients of weights and biases that are used twice', async () => {
    const first = layerOf(7, 7, 20, 70)
    const x = Float64Array.from(numbers(batch * 7, 71))
    const target = numbers(batch * 7, 72)
    const loss = () => meanSquaredError(apply(first, apply(first, x, 'relu')), target, 7, batch).loss / batch
    await on(cpu(), async (w) => {
      const program = w.program({ batch })
      const tape = w.own(new Tape(program, { training: true }))
      const { weights, bias } = sparseParameters(w, first)
      const h = relu(tape, sparseLinear(tape, tape.input(w.batch(7, batch, x)), weights, bias))
      const y = sparseLinear(tape, h, weights, bias)
      const operands = {
        output: y.activations,
        target: w.batch(7, batch, target),
        gradient: tape.gradient(y)?.gradient,
        totals: w.tensor('float64', 4),
      }
      program.record('meanSquaredError', operands)
      tape.backward()
      await program.replay(2)
      expectNear(
        byRow(first.csr, await weights.gradient.read()),
        numericalGradient(loss, first.weights),
        'weights',
        1e-5,
      )
      expectNear(await bias.gradient.read(), numericalGradient(loss, first.bias), 'bias', 1e-5)
    })
  })

  it('keeps the biases of shared weights apart', async () => {
    const first = layerOf(7, 7, 20, 80)
    const second = { ...first, bias: Float64Array.from(numbers(7, 81)) }
    const x = Float64Array.from(numbers(batch * 7, 82))
    const target = numbers(batch * 7, 83)
    const loss = () => meanSquaredError(apply(second, apply(first, x, 'relu')), target, 7, batch).loss / batch
    await on(cpu(), async (w) => {
      const program = w.program({ batch })
      const tape = w.own(new Tape(program, { training: true }))
      const { weights, bias } = sparseParameters(w, first)
      const otherBias = biasParameter(w, second)
      const h = relu(tape, sparseLinear(tape, tape.input(w.batch(7, batch, x)), weights, bias))
      const y = sparseLinear(tape, h, weights, otherBias)
      const operands = {
        output: y.activations,
        target: w.batch(7, batch, target),
        gradient: tape.gradient(y)?.gradient,
        totals: w.tensor('float64', 4),
      }
      program.record('meanSquaredError', operands)
      tape.backward()
      await program.replay(2)
      expectNear(
        byRow(first.csr, await weights.gradient.read()),
        numericalGradient(loss, first.weights),
        'weights',
        1e-5,
      )
      expectNear(await bias.gradient.read(), numericalGradient(loss, first.bias), 'the first bias', 1e-5)
      expectNear(await otherBias.gradient.read(), numericalGradient(loss, second.bias), 'the second bias', 1e-5)
    })
  })

  it('adds up the gradients of a value that a loss and a layer use', async () => {
    const [first, second] = [layerOf(7, 5, 20, 90), layerOf(4, 7, 15, 91)]
    const x = Float64Array.from(numbers(batch * 5, 92))
    const [target, auxiliary] = [numbers(batch * 4, 93), numbers(batch * 7, 94)]
    const loss = () => {
      const h = apply(first, x)
      return (
        (meanSquaredError(h, auxiliary, 7, batch).loss + meanSquaredError(apply(second, h), target, 4, batch).loss) /
        batch
      )
    }
    await on(cpu(), async (w) => {
      const program = w.program({ batch })
      const tape = w.own(new Tape(program, { training: true }))
      const [a, b] = [sparseParameters(w, first), sparseParameters(w, second)]
      const h = sparseLinear(tape, tape.input(w.batch(5, batch, x)), a.weights, a.bias)
      const y = sparseLinear(tape, h, b.weights, b.bias)
      const totals = w.tensor('float64', 4)
      program.record('meanSquaredError', {
        output: h.activations,
        target: w.batch(7, batch, auxiliary),
        gradient: tape.gradient(h)?.gradient,
        totals,
      })
      program.record('meanSquaredError', {
        output: y.activations,
        target: w.batch(4, batch, target),
        gradient: tape.gradient(y)?.gradient,
        totals,
      })
      tape.backward()
      await program.replay(2)
      expectNear(
        byRow(second.csr, await b.weights.gradient.read()),
        numericalGradient(loss, second.weights),
        'second',
        1e-5,
      )
      expectNear(
        byRow(first.csr, await a.weights.gradient.read()),
        numericalGradient(loss, first.weights),
        'first',
        1e-5,
      )
    })
  })

  it('has no backward pass when it only evaluates', async () => {
    await on(cpu(), async (w) => {
      const program = w.program({ batch })
      const tape = w.own(new Tape(program, { training: false }))
      const { weights, bias } = sparseParameters(w, layers.first)
      relu(tape, sparseLinear(tape, tape.input(w.batch(6, batch, x)), weights, bias))
      await expectRefusal(() => tape.backward(), 'INVALID_ARGUMENT', 'backward')
      await program.replay(1)
      expect(program.operationCount).to.equal(1) // of which nobody reads anything
    })
  })
})
