/** Hazard: several devices in one process. */
import { expect } from 'chai'
import { Device, Program, Tensor } from '../../lib/index.js'
import { expectRefusal, numbers, on, randomCsr } from '../support.js'
import { train } from './training.js'

describe('two devices', () => {
  it('train at the same time, with the bits that each gives alone', async () => {
    using a = new Device({ kind: 'cpu', threads: 2 })
    using b = new Device({ kind: 'cpu', threads: 3 })
    const together = await Promise.all([
      train({ seed: 1, device: a }),
      train({ seed: 2, device: b }),
      train({ seed: 3, device: a }),
    ])
    const alone = [
      await train({ seed: 1, device: a }),
      await train({ seed: 2, device: a }),
      await train({ seed: 3, device: b }),
    ]
    expect(together).to.deep.equal(alone)
    for (const device of [a, b]) expect(device.memory()).to.include({ buffers: 0, bytes: 0 })
  })

  it('refuse the operands of each other', async () => {
    using other = new Device({ kind: 'cpu', threads: 1 })
    using device = new Device({ kind: 'cpu', threads: 1 })
    await on(other, (theirs) =>
      on(device, async (w) => {
        const csr = randomCsr(20, 30, 100, 1)
        const operandsOf = (from: typeof w) => ({
          weights: from.matrix(csr),
          values: from.floats(numbers(100, 1)),
          bias: from.floats(20),
          input: from.batch(30, 8),
          output: from.batch(20, 8),
        })
        const [mine, foreign] = [operandsOf(w), operandsOf(theirs)]
        const program = new Program(device, { batch: 8 })
        for (const name of Object.keys(foreign) as (keyof typeof foreign)[]) {
          const error = await expectRefusal(
            () => program.record('spmm', { ...mine, [name]: foreign[name] }),
            'INVALID_ARGUMENT',
            name,
          )
          expect(error.message).to.match(new RegExp(`${name} to be on the program's device`))
        }
        program.record('spmm', mine)
        await program.replay(1)
        program.dispose()
        const tensor = new Tensor(device, 'float32', 100)
        await expectRefusal(() => tensor.copy(foreign.values), 'INVALID_ARGUMENT', 'copy')
        await expectRefusal(
          () => mine.output.read.call({ ...foreign.output, device, features: 20, capacity: 8 }, 8),
          'INVALID_ARGUMENT',
          'activations',
        )
        tensor.dispose()
      }),
    )
  })
})
