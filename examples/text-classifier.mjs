// An encoder that classifies lines of text, from parts: node examples/text-classifier.mjs
// It makes its own lines, "tree cat red dog", labelled by the animal that comes first. Yours are two files of equally
// many lines: await labelledText('lines.txt', 'labels.txt', { tokenizer }).
import * as hebb from 'hebb'
import { labelledLines, trainTokenizer } from 'hebb/text'

const animals = ['cat', 'dog', 'bird', 'fish']
const words = [...animals, 'tree', 'red', 'blue', 'one', 'two', 'house']
const lines = Array.from({ length: 3000 }, () =>
  Array.from({ length: 4 + Math.floor(9 * Math.random()) }, () => words[Math.floor(words.length * Math.random())]),
).filter((line) => line.some((word) => animals.includes(word)))
const labels = lines.map((line) => line.find((word) => animals.includes(word)))
const texts = lines.map((line) => line.join(' '))

const tokenizer = await trainTokenizer(texts, { vocabulary: 300 })
const train = await labelledLines(texts.slice(500), labels.slice(500), { tokenizer })
const validation = await labelledLines(texts.slice(0, 500), labels.slice(0, 500), { tokenizer, classes: train.classes })

const features = 64
const model = new hebb.Sequential({
  embedding: new hebb.Embedding({ words: tokenizer.size, features, scale: Math.sqrt(features) }),
  positions: new hebb.PositionalEncoding({ features }),
  first: hebb.encoderLayer({ features, heads: 4, hidden: 128, density: 0.2, dropout: 0.1 }),
  second: hebb.encoderLayer({ features, heads: 4, hidden: 128, density: 0.2, dropout: 0.1 }),
  norm: new hebb.LayerNorm({ features }),
  pooling: new hebb.Pooling(), // from a column a token to one a line
  classes: new hebb.Linear({ inFeatures: features, outFeatures: train.classes.length }),
})
const dst = hebb.chts({ updates: hebb.updateSchedule({ every: 50, fraction: hebb.cosineFraction(0.3) }) })
const trainer = new hebb.Trainer(model, { optimizer: hebb.adam({ learningRate: 0.003 }), dst })
for await (const report of trainer.fit(train, { steps: 400, interval: 100, batchSize: 512, validation }))
  console.log(`step ${trainer.step}: ${(100 * report.validation.accuracy).toFixed(1)}% of the other lines are right`)
console.log(await trainer.classify(['red fish cat', 'house one cat fish'])) // save() keeps the tokenizer, load() has it
trainer.dispose()
