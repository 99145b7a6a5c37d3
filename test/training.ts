/** What tests of training share: a small problem, a run's epochs, and all that training changes. */
import { expect } from 'chai'
import { type Epoch, HebbError, SparseParameter, sgd, type Trainer } from '../lib/index.js'
import { clusters } from './synthetic.js'

export const widths = [48, 64, 56, 4]
export const optimizer = () => sgd({ learningRate: 0.05, momentum: 0.9, weightDecay: 1e-4 })
export const train = clusters({ samples: 400, features: 48, classes: 4 })
export const test = clusters({ samples: 203, features: 48, classes: 4, seed: 2 })

/** The epochs of a run. */
export async function all(run: AsyncIterable<Epoch>): Promise<Epoch[]> {
  const epochs: Epoch[] = []
  for await (const epoch of run) epochs.push(epoch)
  return epochs
}

/** All parameters and links of a trainer's model, as bits. */
export async function state(trainer: Trainer): Promise<number[][]> {
  const result: number[][] = []
  for (const parameter of trainer.model.parameters) {
    const arrays = await Promise.all(parameter.arrays.map((a) => a.read()))
    let count = parameter.capacity
    if (parameter instanceof SparseParameter) {
      const { rowOffsets, columnIndices } = await parameter.matrix.read()
      result.push(Array.from(rowOffsets), Array.from(columnIndices))
      count = columnIndices.length
    }
    for (const array of arrays) result.push(Array.from(new Int32Array(array.buffer, 0, count)))
  }
  return result
}

/** The HebbError that `run` ends with. */
export async function error(run: () => unknown): Promise<HebbError> {
  try {
    await run()
  } catch (e) {
    expect(e).to.be.instanceOf(HebbError)
    return e as HebbError
  }
  throw new Error('Expected a HebbError, got none')
}
