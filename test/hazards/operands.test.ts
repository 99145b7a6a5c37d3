/**
 * Hazards: operands of another type than an operation reads, and memory that an operation would read after having
 * written it.
 */
import { expect } from 'chai'
import { Tensor } from '../../lib/index.js'
import type { Operands } from '../../lib/program.js'
import type { TensorType } from '../../lib/tensor.js'
import { changesOf, cpu, expectRefusal, numbers, on, randomCsr, type Workspace } from '../support.js'

const csr = randomCsr(16, 16, 90, 1)
const batch = 8
const types: TensorType[] = ['float32', 'float64', 'int32', 'uint8', 'uint64']

/**
 * Operands of every operation that can be recorded, all of them good. Square layers and equal lengths, so that only
 * what is tested can be wrong.
 */
function operationsOf(w: Workspace): Record<string, Operands> {
  const matrix = () => w.matrix(csr)
  const floats = (count = 256) => w.floats(count)
  const activations = () => w.batch(16, batch)
  const changes = () => changesOf(w, 90)
  const pool = () => ({ links: matrix(), values: floats(), keep: w.tensor('uint8', 90) })
  const totals = () => w.tensor('float64', 4)
  const products = {
    outputGradient: activations(),
    inputGradient: activations(),
    input: activations(),
    activation: 'relu',
  }
  const gradients = { outputGradient: activations(), input: activations(), gradient: floats(), biasGradient: floats() }
  const stream = { samples: 10, indices: w.tensor('int32', 16), count: 10 }
  return {
    permute: { indices: w.tensor('int32', 10), count: 10, seed: 1 },
    gather: { ...stream, floats: floats(), output: activations() },
    gatherLabels: { ...stream, labels: w.tensor('int32', 16), targets: w.tensor('int32', 16) },
    spmm: { weights: matrix(), values: floats(), bias: floats(), input: activations(), output: activations() },
    spmmTransposed: { weights: matrix(), values: floats(), ...products },
    sddmm: { pattern: matrix(), ...gradients },
    linear: { weights: floats(), bias: floats(), input: activations(), output: activations() },
    linearTransposed: { weights: floats(), ...products },
    linearGradient: gradients,
    relu: { input: activations(), output: activations() },
    reluGradient: { output: activations(), outputGradient: activations(), inputGradient: activations() },
    softmaxCrossEntropy: {
      logits: activations(),
      targets: w.tensor('int32', 16),
      gradient: activations(),
      totals: totals(),
    },
    meanSquaredError: { output: activations(), target: activations(), gradient: activations(), totals: totals() },
    sgd: { count: 90, values: floats(), velocity: floats(), gradient: floats(), learningRate: 0, momentum: 0.9 },
    adam: {
      count: 90,
      values: floats(),
      gradient: floats(),
      firstMoment: floats(),
      secondMoment: floats(),
      steps: floats(),
      learningRate: 0,
    },
    importance: { links: matrix(), values: floats(), keep: w.tensor('uint8', 90), rule: 'relative', scores: floats() },
    keepLinks: {
      links: matrix(),
      scores: floats(),
      keep: w.tensor('uint8', 90),
      count: 0,
      update: 0,
      seed: 1,
      purpose: 'remove',
      layer: 0,
    },
    percolate: {
      layers: [
        { links: matrix(), keep: w.tensor('uint8', 90) },
        { links: matrix(), keep: w.tensor('uint8', 90) },
      ],
      relations: [{ first: 0, second: 1, kind: 'consecutive' }],
    },
    regrow: {
      links: matrix(),
      changes: changes(),
      predictor: 'none',
      selection: 'sample',
      count: 0,
      update: 0,
      seed: 1,
      layer: 0,
    },
    openPool: { links: matrix(), values: floats(), pool: pool() },
    chooseFromPool: { links: matrix(), changes: changes(), pool: pool() },
    restoreWeights: { links: matrix(), values: floats(), pool: pool() },
    beginUpdate: { links: matrix(), changes: changes() },
    rebuild: { links: matrix(), changes: changes(), arrays: [floats(), floats()] },
    uniteLinks: { links: matrix(), ever: w.tensor('uint64', 256), count: w.tensor('uint64', 1), capacity: 256 },
    activeNeurons: { links: matrix(), counts: w.tensor('int32', 3) },
    initializeNormal: { pattern: matrix(), values: floats(), deviation: 1, seed: 1, layer: 0 },
  }
}

/** The operands with the one at `path` replaced. */
function replaced(operands: any, path: readonly string[], by: unknown): any {
  const [name, ...rest] = path
  if (name === undefined) return by
  const copy = Array.isArray(operands) ? [...operands] : { ...operands }
  copy[name] = replaced(operands[name], rest, by)
  return copy
}

/** Where tensors are among the operands. */
function* tensorsIn(
  operands: object,
  path: readonly string[] = [],
): Generator<[path: string[], tensor: Tensor<TensorType>]> {
  for (const [name, operand] of Object.entries(operands)) {
    const here = [...path, name]
    if (operand instanceof Tensor) yield [here, operand]
    else if (typeof operand === 'object' && operand !== null && [Object, Array].includes(operand.constructor))
      yield* tensorsIn(operand, here)
  }
}

describe('operands', () => {
  it('of another type are refused when an operation is recorded, whatever their size', async () => {
    await on(cpu(), async (w) => {
      const program = w.program({ batch })
      let refused = 0
      for (const [operation, operands] of Object.entries(operationsOf(w))) {
        for (const [path, tensor] of tensorsIn(operands)) {
          for (const type of types.filter((t) => t !== tensor.type)) {
            const bad = replaced(operands, path, w.tensor(type, 1024))
            const what = `${operation} with ${path.join('.')} of ${type}`
            const error = await expectRefusal(() => program.record(operation, bad), 'INVALID_ARGUMENT', what)
            expect(error.message, what).to.match(new RegExp(`to be a tensor of ${tensor.type}, got one of ${type}`))
            ++refused
          }
          await expectRefusal(
            () => program.record(operation, replaced(operands, path, w.batch(16, batch))),
            'INVALID_ARGUMENT',
            `${operation}: activations`,
          )
        }
        program.record(operation, operands)
      }
      expect(refused).to.be.above(150)
    })
  })

  // [operation, what is written, what must not be the same memory]
  const apart: [string, string, string][] = [
    ['gatherLabels', 'targets', 'labels'],
    ['gatherLabels', 'targets', 'indices'],
    ['spmm', 'output', 'input'],
    ['spmmTransposed', 'inputGradient', 'outputGradient'],
    ['sddmm', 'gradient', 'biasGradient'],
    ['linear', 'output', 'input'],
    ['linearTransposed', 'inputGradient', 'outputGradient'],
    ['linearGradient', 'gradient', 'biasGradient'],
    ['sgd', 'values', 'velocity'],
    ['sgd', 'values', 'gradient'],
    ['sgd', 'velocity', 'gradient'],
    ['adam', 'values', 'gradient'],
    ['adam', 'firstMoment', 'secondMoment'],
    ['adam', 'secondMoment', 'steps'],
    ['adam', 'steps', 'gradient'],
    ['importance', 'scores', 'values'],
    ['percolate', 'layers.0.keep', 'layers.1.keep'],
    ['regrow', 'changes.newRows', 'changes.newColumns'],
    ['regrow', 'changes.newRows', 'changes.newCount'],
    ['openPool', 'pool.values', 'values'],
    ['chooseFromPool', 'changes.newRows', 'changes.newColumns'],
    ['chooseFromPool', 'changes.keep', 'pool.keep'],
    ['restoreWeights', 'values', 'pool.values'],
    ['rebuild', 'changes.newColumns', 'changes.newCount'],
    ['rebuild', 'arrays.0', 'arrays.1'],
    ['beginUpdate', 'changes.newRows', 'changes.newCount'],
    ['uniteLinks', 'ever', 'count'],
  ]
  for (const [operation, written, other] of apart) {
    it(`of ${operation}: ${written} and ${other} must be different memory`, async () => {
      await on(cpu(), async (w) => {
        const program = w.program({ batch })
        const operands = operationsOf(w)[operation] as Operands
        const path = written.split('.')
        const at = (p: string) => p.split('.').reduce((value: any, name) => value[name], operands)
        // The longer of the two stands for both, so that nothing but the memory is wrong.
        const shared = [at(written), at(other)].sort((a, b) => b.length - a.length)[0]
        const bad = replaced(replaced(operands, path, shared), other.split('.'), shared)
        const error = await expectRefusal(() => program.record(operation, bad), 'INVALID_ARGUMENT', 'the same memory')
        expect(error.message).to.match(new RegExp(`^${operation}: Expected .* to be different memory`))
        program.record(operation, operands)
      })
    })
  }

  it('that are read before they are written may be the same memory', async () => {
    await on(cpu(), async (w) => {
      const program = w.program({ batch })
      const x = w.batch(16, batch, numbers(16 * batch, 1))
      program.record('relu', { input: x, output: x })
      const { spmmTransposed, reluGradient, softmaxCrossEntropy } = operationsOf(w) as Record<string, any>
      program.record('spmmTransposed', { ...spmmTransposed, input: spmmTransposed.inputGradient })
      program.record('reluGradient', { ...reluGradient, inputGradient: reluGradient.outputGradient })
      program.record('softmaxCrossEntropy', { ...softmaxCrossEntropy, gradient: softmaxCrossEntropy.logits })
      const { logits } = softmaxCrossEntropy
      await logits.write(numbers(logits.features * logits.capacity, 3))
      await program.replay(1)
      expect([...(await x.read())]).to.deep.equal([...numbers(16 * batch, 1).map((v) => Math.max(0, v))])
    })
  })

  it('of a copy are of one type, different, and fit', async () => {
    await on(cpu(), async (w) => {
      const [long, short] = [w.tensor('float32', numbers(10, 1)), w.tensor('float32', numbers(4, 2))]
      for (const [what, from] of Object.entries({
        'the same': short,
        'a longer one': long,
        'another type': w.tensor('int32', 4),
        'an array': new Float32Array(4),
      })) {
        await expectRefusal(() => short.copy(from as Tensor), 'INVALID_ARGUMENT', what)
      }
      await long.copy(short)
      expect([...(await long.read())]).to.deep.equal([...numbers(4, 2), ...numbers(10, 1).subarray(4)])
    })
  })

  it('of percolate relate two layers that share neurons, and not one to itself', async () => {
    await on(cpu(), async (w) => {
      const program = w.program()
      const { percolate } = operationsOf(w) as Record<string, any>
      for (const kind of ['consecutive', 'joint']) {
        for (const layer of [0, 1]) {
          const relations = [{ first: layer, second: layer, kind }]
          const error = await expectRefusal(
            () => program.record('percolate', { ...percolate, relations }),
            'INVALID_ARGUMENT',
            `${kind} ${layer}`,
          )
          expect(error.message).to.match(/between two layers/)
        }
      }
      const narrow = { links: w.matrix(randomCsr(9, 7, 20, 1)), keep: w.tensor('uint8', 20) }
      const layers = [percolate.layers[0], narrow]
      await expectRefusal(
        () => program.record('percolate', { ...percolate, layers }),
        'INVALID_ARGUMENT',
        'layers of 16 and 7 neurons',
      )
    })
  })
})
