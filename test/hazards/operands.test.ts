/**
 * Hazards: operands that an operation does not have, operands of another type than it reads, and memory that it would
 * read after having written it. What is tried follows from the operations' own declarations: a new one is in it by
 * itself.
 */
import { readFileSync } from 'node:fs'
import { expect } from 'chai'
import { type Activations, Tensor } from '../../lib/index.js'
import type { Program } from '../../lib/program.js'
import type { TensorType } from '../../lib/tensor.js'
import { type Described, file, operations, types as written } from '../operand_types.js'
import {
  cpu,
  expectRefusal,
  expectSameBits,
  gpu,
  numbers,
  type Operands,
  on,
  places,
  randomCsr,
  record,
  type Workspace,
} from '../support.js'

const csr = randomCsr(16, 16, 90, 1)
const batch = 8
const types: TensorType[] = ['float32', 'float64', 'int32', 'uint8', 'uint64']

/** What a declaration leaves open: integers that others depend on, and one of two; also in the objects of a list. */
const chosen: Record<string, Operands> = {
  permute: { count: 10 },
  gather: { samples: 10, count: 10, bytes: undefined, channels: 1 },
  gatherLabels: { samples: 10, count: 10 },
  gatherWeights: { samples: 10, count: 10 },
  gatherSequences: { total: 10, sequences: 4, planned: 5, steps: 2, most: 3 },
  spmmTransposed: { activation: 'relu' },
  linearTransposed: { activation: 'relu' },
  sgd: { pattern: undefined, count: 90, momentum: 0.9 },
  layerNorm: { epsilon: 1e-5 },
  embedding: { words: 10, scale: 1 },
  embeddingGradient: { words: 10, scale: 1 },
  rotate: { heads: 1 },
  attention: { sequences: 2, heads: 1 },
  attentionGradient: { sequences: 2, heads: 1 },
  poolingGradient: { kind: 'max' },
  adam: { pattern: undefined, count: 90, beta1: 0.9, beta2: 0.9, epsilon: 1e-8 },
  softmaxCrossEntropy: { lossScale: 1 },
  meanSquaredError: { lossScale: 1 },
  gradientNorm: { gradients: { pattern: undefined, count: 90 }, maxNorm: 1, lossScale: 1 },
  importance: { rule: 'magnitude+gradient' },
  percolate: { relations: [{ first: 0, second: 1, kind: 'consecutive' }] },
  uniteLinks: { capacity: 256, bits: undefined },
  initializeNormal: { rows: undefined, cols: undefined },
  initializeUniform: { rows: undefined, cols: undefined },
}

/** Of activations that are not like the others. */
const features: Record<string, number> = { statistics: 2, products: 1 }

/** Good operands for a declaration. Square layers and equal lengths, so that only what is tested can be wrong. */
function operandsOf(
  w: Workspace,
  declared: readonly Described[],
  given: Operands = {},
  program: Program = w.program({ batch }),
): Operands {
  const operands: Operands = {}
  for (const { name, kind, type, choices, operands: inner = [] } of declared) {
    if (kind === 'list' && !type && !Array.isArray(given[name]))
      operands[name] = [operandsOf(w, inner, given[name]), operandsOf(w, inner, given[name])]
    else if (name in given) operands[name] = given[name]
    else if (kind === 'links') operands[name] = w.matrix(csr)
    else if (kind === 'tensor') operands[name] = w.tensor(type as TensorType, 256)
    else if (kind === 'axis') operands[name] = w.own(program.axis(12))
    else if (kind === 'activations') operands[name] = w.batch(features[name] ?? 16, batch)
    else if (kind === 'flag') operands[name] = false
    else if (kind === 'choice') operands[name] = choices?.[0]
    else if (kind === 'group') operands[name] = name === 'augmentation' ? undefined : operandsOf(w, inner)
    else if (kind === 'list') operands[name] = [w.tensor(type as TensorType, 256), w.tensor(type as TensorType, 256)]
    else operands[name] = 0
  }
  return operands
}

/** The operands with the one at `path` replaced. */
function replaced(operands: any, path: readonly string[], by: unknown): any {
  const [name, ...rest] = path
  if (name === undefined) return by
  const copy = Array.isArray(operands) ? [...operands] : { ...operands }
  copy[name] = replaced(operands[name], rest, by)
  return copy
}

const at = (operands: Operands, path: readonly string[]) =>
  path.reduce((value: any, name) => value?.[name], operands as any)

/** Where memory is among the operands, by path. */
function* memoryIn(
  declared: readonly Described[],
  operands: any,
  path: readonly string[] = [],
): Generator<[path: string[], operand: Described]> {
  for (const operand of declared) {
    const { name, kind, operands: inner } = operand
    const here = [...path, name]
    const value = operands?.[name]
    if (value === undefined) continue
    if (kind === 'tensor' || kind === 'activations') yield [here, operand]
    else if (kind === 'group') yield* memoryIn(inner ?? [], value, here)
    else if (kind === 'list') {
      for (const [i, item] of value.entries()) {
        if (inner) yield* memoryIn(inner, item, [...here, String(i)])
        else yield [[...here, String(i)], operand]
      }
    }
  }
}

/** Where objects are that have operands. */
function* groupsIn(declared: readonly Described[], operands: any, path: readonly string[] = []): Generator<string[]> {
  yield [...path]
  for (const { name, operands: inner } of declared) {
    const value = operands?.[name]
    if (!inner || value === undefined) continue
    const items = Array.isArray(value) ? value.map((_, i) => [name, String(i)]) : [[name]]
    for (const item of items) yield* groupsIn(inner, at(operands, item), [...path, ...item])
  }
}

const goodOf = (w: Workspace): Record<string, any> =>
  Object.fromEntries(operations().map(({ name, operands }) => [name, operandsOf(w, operands, chosen[name])]))

/** The CPU, and a GPU, real or emulated, where there is one. */
const devices = () => (places.includes('cuda') ? [cpu(), gpu()] : [cpu()])

describe('operands', () => {
  it('have the types that lib/operands.ts says (npm run operands)', () => {
    expect(readFileSync(file, 'utf8').replace(/\s+|;|\|/g, '')).to.equal(written().replace(/\s+|;|\|/g, ''))
  })

  it('F3: that an operation does not have are refused by name, with the one that was meant', async () => {
    await on(cpu(), async (w) => {
      const program = w.program({ batch })
      for (const { name: operation, operands: declared } of operations()) {
        const good = operandsOf(w, declared, chosen[operation], program)
        for (const path of groupsIn(declared, good)) {
          const bad = replaced(good, path, { ...at(good, path), acumulate: true })
          const error = await expectRefusal(() => record(program, operation, bad), 'INVALID_ARGUMENT', operation)
          expect(error.message).to.match(/^\w+: Expected operands named .*, got '[\w.]*acumulate'/)
        }
        record(program, operation, good)
      }
      const operands = operations().find(({ name }) => name === 'spmmTransposed')?.operands ?? []
      const bad = { ...operandsOf(w, operands, chosen.spmmTransposed), acumulate: true }
      const error = await expectRefusal(() => record(program, 'spmmTransposed', bad), 'INVALID_ARGUMENT', 'misspelt')
      expect(error.message).to.contain("got 'acumulate'. Did you mean 'accumulate'?")
    })
  })

  it('of another type are refused when an operation is recorded, whatever their size', async () => {
    await on(cpu(), async (w) => {
      const program = w.program({ batch })
      let refused = 0
      const refuse = async (operation: string, bad: Operands, what: string, message: RegExp) => {
        const error = await expectRefusal(() => record(program, operation, bad), 'INVALID_ARGUMENT', what)
        expect(error.message, what).to.match(message)
        ++refused
      }
      for (const { name: operation, operands: declared } of operations()) {
        const good = operandsOf(w, declared, chosen[operation], program)
        for (const [path, { kind, type: right }] of memoryIn(declared, good)) {
          const what = `${operation} with ${path.join('.')}`
          if (kind === 'activations') {
            await refuse(operation, replaced(good, path, w.floats(1024)), `${what}: a tensor`, /to be activations, got/)
            continue
          }
          for (const type of types.filter((t) => t !== right)) {
            const bad = replaced(good, path, w.tensor(type, 1024))
            await refuse(operation, bad, `${what} of ${type}`, new RegExp(`a tensor of ${right}, got one of ${type}`))
          }
          await refuse(operation, replaced(good, path, w.batch(16, batch)), `${what}: activations`, /a tensor, got/)
        }
        record(program, operation, good)
      }
      expect(refused).to.be.above(250)
    })
  })

  for (const { name: operation, operands: declared } of operations()) {
    it(`of ${operation}: what is written must be memory of its own`, async () => {
      await on(cpu(), async (w) => {
        const program = w.program({ batch })
        const good = operandsOf(w, declared, chosen[operation], program)
        const all = [...memoryIn(declared, good)]
        for (const [path, operand] of all) {
          if (operand.role === 'reads') continue
          for (const [other, { kind, type, name, over }] of all) {
            if (other === path || kind !== operand.kind || type !== operand.type) continue
            if (at(good, other).features !== at(good, path).features) continue
            const bad = replaced(good, path, at(good, other))
            if (operand.over?.includes(name) || over?.includes(operand.name)) {
              record(program, operation, bad)
              continue
            }
            const what = `${path.join('.')} as ${other.join('.')}`
            const error = await expectRefusal(() => record(program, operation, bad), 'INVALID_ARGUMENT', what)
            expect(error.message, what).to.match(new RegExp(`^${operation}: Expected .* to be different memory`))
          }
        }
        record(program, operation, good)
      })
    })
  }

  it('that are rows of one buffer: two heads are not an alias, two ranges that overlap are', async () => {
    await on(cpu(), async (w) => {
      const program = w.program({ batch })
      const whole = w.batch(32, batch, numbers(32 * batch, 1))
      whole.slice(0, 16).dispose() // has no memory of its own
      const relu = (input: Activations, output: Activations) => program.record('relu', { input, output })
      relu(whole.slice(0, 16), whole.slice(16, 32))
      relu(whole.slice(4, 12), whole.slice(4, 12))
      for (const [first, end] of [
        [15, 31],
        [1, 17],
        [4, 20],
      ]) {
        const overlapping = whole.slice(first as number, end)
        const error = await expectRefusal(() => relu(whole.slice(0, 16), overlapping), 'INVALID_ARGUMENT', `${first}`)
        expect(error.message).to.match(
          /output and input to be different memory|input and output to be different memory/,
        )
      }
      await program.replay(1)
      const [all, rows] = [await whole.read(), await whole.slice(16, 32).read()]
      for (let column = 0; column < batch; ++column) {
        const from = all.subarray(column * 32, column * 32 + 16)
        expectSameBits(
          rows.subarray(column * 16, column * 16 + 16),
          from.map((x) => Math.max(x, 0)),
          'the second head',
        )
      }
    })
  })

  for (const device of devices()) {
    it(`that moved are bound again (${device.info.kind})`, async () => {
      await on(device, async (w) => {
        const program = w.program({ batch })
        const links = w.matrix(csr)
        const values = w.floats(numbers(90, 2))
        const input = w.batch(16, batch, numbers(16 * batch, 3))
        const output = w.batch(16, batch)
        program.record('spmm', { weights: links, values, input, output })
        const result = async () => {
          await program.replay(2)
          return output.read()
        }
        const before = await result()
        await values.resize(1000)
        await links.resize(700)
        // What was theirs is somebody else's now.
        for (let i = 0; i < 20; ++i) w.floats(numbers(90, 4 + i))
        expect(values.length).to.equal(1000)
        expect(links.capacity).to.equal(700)
        expectSameBits(await result(), before, 'larger memory')
        await links.resize(90)
        await values.resize(90)
        expectSameBits(await result(), before, 'memory of the first size')
        expectSameBits(
          await links.read(),
          { rowOffsets: csr.rowOffsets, columnIndices: csr.columnIndices },
          'the links',
        )

        await expectRefusal(() => links.resize(89), 'INVALID_ARGUMENT', 'less room than links')
        await values.resize(89)
        const error = await expectRefusal(() => program.replay(1), 'INVALID_ARGUMENT', 'fewer values than links fit')
        expect(error.message).to.match(/^spmm: Expected values to hold at least 90 elements, got 89/)
        await values.resize(90)
        await result()
      })
    })
  }

  it('that are resized keep their first elements and account for every byte', async () => {
    await on(cpu(), async (w) => {
      const tensor = w.floats(numbers(100, 1))
      const first = await tensor.read(40)
      const { bytes } = w.device.memory()
      await tensor.resize(40)
      expect(w.device.memory().bytes).to.equal(bytes - 240)
      await tensor.resize(60)
      expectSameBits(
        await tensor.read(),
        Float32Array.from({ length: 60 }, (_, i) => first[i] ?? 0),
        'the rest is 0',
      )
      expect(tensor).to.be.instanceOf(Tensor)
    })
  })

  it('that are read before they are written may be the same memory', async () => {
    await on(cpu(), async (w) => {
      const program = w.program({ batch })
      const x = w.batch(16, batch, numbers(16 * batch, 1))
      program.record('relu', { input: x, output: x })
      const { spmmTransposed, reluGradient, softmaxCrossEntropy } = goodOf(w)
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
      const { percolate } = goodOf(w)
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
