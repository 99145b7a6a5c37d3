// Arrays of your own: which of four rings is a point on? node examples/own-data.mjs [epochs]
// Four sensors see each point; a row is what they say, and its label is the ring.
import { adam, chts, dataset, mlp, Trainer } from 'hebb'
import { trainTestSplit } from 'hebb/data'

const epochs = Number(process.argv[2] ?? 40)
const [samples, features, names] = [4000, 16, ['inner', 'second', 'third', 'outer']]

// The point's place as each sensor sees it, along a direction of its own.
const seen = (ring, angle) =>
  Array.from({ length: features }, (_, sensor) => (1 + ring) * Math.cos(angle + (sensor * Math.PI) / features))

const x = new Float32Array(samples * features) // row after row
const y = new Int32Array(samples)
for (let row = 0; row < samples; ++row) {
  y[row] = Math.floor(4 * Math.random())
  x.set(seen(y[row] + 0.6 * (Math.random() - 0.5), 2 * Math.PI * Math.random()), row * features)
}
const all = dataset({ x, y, shape: [features], classNames: names, name: 'rings' })
const { train, test: validation } = trainTestSplit(all, { testSize: 1000 }) // 1,000 rows that are not trained on

const model = mlp({ widths: [features, 128, 128, 4], density: 0.1 })
const trainer = new Trainer(model, { optimizer: adam({ learningRate: 0.003 }), dst: chts() })
let last
for await (const epoch of trainer.fit(train, { epochs, validation })) last = epoch
console.log(`${(100 * last.validation.accuracy).toFixed(1)}% of the rows that were held out are right`)

const [ring] = await trainer.predict(Float32Array.from(seen(3, 1)), { output: 'labels' })
console.log(`a point on the outer ring: ${ring}`)
trainer.dispose()
