// Numbers from a table: node examples/csv.mjs [epochs]
// It writes a table of its own; yours has a line with the columns' names, then numbers, the targets last.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { adam, chts, mlp, Trainer } from 'hebb'
import { csv } from 'hebb/data'

const epochs = Number(process.argv[2] ?? 60)
const price = (area, rooms, age, distance) => 50 + 3 * area + 10 * rooms - 0.8 * age - 40 * Math.log(1 + distance)
const houses = Array.from({ length: 3000 }, () => {
  const house = [30 + 170 * Math.random(), Math.ceil(6 * Math.random()), 80 * Math.random(), 30 * Math.random()]
  return [...house, price(...house) + 10 * (Math.random() - 0.5)].map((number) => number.toFixed(2))
})
const folder = await mkdtemp(join(tmpdir(), 'houses-'))
const file = join(folder, 'houses.csv')
await writeFile(file, ['area,rooms,age,distance,price', ...houses].join('\n'))

// A fifth of the rows is the test set. Columns are standardised: the network sees (number - mean) / deviation.
const { train, test, columns } = await csv(file, { targets: 1, testSize: 0.2 })
const model = mlp({ widths: [4, 128, 128, 1], density: 0.2 })
const trainer = new Trainer(model, { optimizer: adam({ learningRate: 0.002 }), dst: chts() })
let last
for await (const epoch of trainer.fit(train, { epochs, validation: test })) last = epoch

// Back to the target's units: times its deviation.
const target = columns.at(-1)
const error = Math.sqrt(last.validation.loss) * target.deviation
console.log(`prices of the test set are off by ${error.toFixed(1)}; they vary by ${target.deviation.toFixed(1)}`)
const house = [100, 4, 20, 5]
// Raw numbers are standardised as in training, and values are in the target's units.
const [predicted] = await trainer.predict(Float32Array.from(house), { raw: true, output: 'values' })
console.log(`a house of 100 square metres: predicted ${predicted.toFixed(0)}, true ${price(...house).toFixed(0)}`)
trainer.dispose()
await rm(folder, { recursive: true })
