/**
 * Trains and saves after every step, from the checkpoint if there is one; says each step with a checksum of everything.
 * Killed by kill.test.ts.
 */
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { chtss, mlp, type SparseParameter, sgd, Trainer, updateSchedule } from '../../lib/index.js'
import { clusters } from '../synthetic.js'

const [file = '', total = '0'] = process.argv.slice(2)
const SAMPLES = 80
const BATCH = 8
const STEPS_PER_EPOCH = SAMPLES / BATCH
const data = clusters({ samples: SAMPLES, features: 30, classes: 4 })
const x = Float32Array.from(data.x, (v) => v / 255)

const options = { device: { kind: 'cpu', threads: 1 } } as const
const trainer = existsSync(file)
  ? await Trainer.load(file, options)
  : new Trainer(mlp({ widths: [30, 200, 40, 4], density: 0.1, seed: 5 }), {
      ...options,
      optimizer: sgd({ learningRate: 0.02, momentum: 0.9 }),
      dst: chtss({ updates: updateSchedule({ every: 7, fraction: 0.3 }) }),
    })
if (trainer.step === 0) trainer.plan({ epochs: Number(total) / STEPS_PER_EPOCH, stepsPerEpoch: STEPS_PER_EPOCH })

async function checksum(): Promise<string> {
  const hash = createHash('sha256')
  for (const parameter of trainer.model.parameters) {
    const matrix = (parameter as Partial<SparseParameter>).matrix
    const links = await matrix?.read()
    if (links) hash.update(links.rowOffsets).update(links.columnIndices)
    for (const array of parameter.arrays) hash.update(await array.read(links?.columnIndices.length))
  }
  return hash.digest('hex')
}

while (trainer.step < Number(total)) {
  const first = (trainer.step % STEPS_PER_EPOCH) * BATCH
  await trainer.trainOn({
    x: x.subarray(30 * first, 30 * (first + BATCH)),
    y: (data.labels as Int32Array).subarray(first, first + BATCH),
  })
  await trainer.save(file)
  process.stdout.write(`${trainer.step} ${await checksum()}\n`)
}
trainer.dispose()
