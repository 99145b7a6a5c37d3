/**
 * Creates, trains, updates, saves, loads and disposes, again and again: `tsx test/hazards/soak.ts [seconds]` (default
 * 20). After every cycle no native byte is live; resident memory, read after every cycle, does not grow: of the cycles
 * after the first fifth, the last third is on average within 2% or 8 MiB of the first third. Ends with 1 and says why
 * otherwise.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chts, chtss, Device, load, mlp, set, sgd, staticSparse, Trainer, updateSchedule } from '../../lib/index.js'
import { clusters } from '../synthetic.js'

const seconds = Number(process.argv[2] ?? 20)
const folder = await mkdtemp(join(tmpdir(), 'hebb-soak-'))
const file = join(folder, 'model.safetensors')
const shared = new Device({ kind: 'cpu' })
const data = clusters({ samples: 600, features: 100, classes: 5 })
const methods = [chts, chtss, set, staticSparse]
const resident: number[] = []
const end = performance.now() + 1000 * seconds
let said = performance.now()

const fail = (message: string): never => {
  console.error(message)
  process.exit(1)
}

for (let cycle = 0; performance.now() < end || cycle < 30; ++cycle) {
  const widths = [100, 80 + 40 * (cycle % 7), 120, 5]
  const create = methods[cycle % methods.length] as typeof chts
  const device = cycle % 3 === 0 ? new Device({ kind: 'cpu', threads: 1 + (cycle % 4) }) : shared
  const options = {
    optimizer: sgd({ learningRate: 0.02, momentum: 0.9 }),
    dst: create(cycle % 2 ? { updates: updateSchedule({ every: 5, fraction: 0.3 }) } : {}),
  }
  const trainer = new Trainer(mlp({ widths, density: 0.05, seed: cycle }), { ...options, device })
  let epochs = 0
  for await (const _ of trainer.fit(data, { epochs: 6, batchSize: 50, validation: data })) if (++epochs === 3) break
  await trainer.save(file)
  trainer.dispose()
  const resumed = await Trainer.load(file, { device })
  for await (const _ of resumed.resume(data)) ++epochs
  resumed.dispose()
  const predictor = await load(file, { device })
  await predictor.predict(data)
  predictor.dispose()
  const { buffers, bytes } = device.memory()
  if (buffers !== 0 || bytes !== 0)
    fail(`Expected no live native memory after cycle ${cycle}, got ${buffers} buffers of ${bytes} bytes`)
  if (epochs !== 6) fail(`Expected 6 epochs, got ${epochs}`)
  if (device !== shared) device.dispose()
  global.gc?.()
  resident.push(process.memoryUsage.rss())
  if (performance.now() - said > 60_000) {
    said = performance.now()
    console.log(`${cycle + 1} cycles, ${(resident.at(-1) as number) >> 20} MiB resident`)
  }
}
shared.dispose()
await rm(folder, { recursive: true })

const mean = (numbers: readonly number[]) => numbers.reduce((sum, n) => sum + n, 0) / numbers.length
const settled = resident.slice(Math.floor(resident.length / 5))
const third = Math.floor(settled.length / 3)
const [first, last] = [mean(settled.slice(0, third)), mean(settled.slice(-third))]
const MiB = 2 ** 20
console.log(
  `${resident.length} cycles in ${seconds} s; live native bytes 0 after each; resident ` +
    `${(first / MiB).toFixed(1)} MiB early, ${(last / MiB).toFixed(1)} MiB late`,
)
if (last - first > Math.max(0.02 * first, 8 * MiB)) fail('Expected resident memory not to grow')
process.exit(0)
