// The MLP in TensorFlow.js, as who reads its guide writes it: fully connected, as it has no sparse layers. Runs where
// bench/tfjs.ts has installed it. A line of JSON for a line of JSON: first what to train, then { seconds, warmup }.

import { dirname } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import * as tf from '@tensorflow/tfjs'
import * as wasm from '@tensorflow/tfjs-backend-wasm'

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
const next = async () => JSON.parse((await lines.next()).value ?? 'null')
const say = (answer) => console.log(JSON.stringify(answer))

const { backend, threads, widths, batch, samples, learningRate, momentum } = await next()
if (backend === 'wasm') {
  wasm.setWasmPaths(`${dirname(fileURLToPath(import.meta.resolve('@tensorflow/tfjs-backend-wasm')))}/`)
  wasm.setThreadsCount(threads)
}
await tf.setBackend(backend)
await tf.ready()

const [features, classes] = [widths[0], widths.at(-1)]
const x = tf.randomUniform([samples, features])
const y = tf
  .oneHot(
    tf.tidy(() => tf.randomUniform([samples], 0, classes).floor().toInt()),
    classes,
  )
  .toFloat()
const layers = widths.slice(1).map((width, i) => ({
  w: tf.variable(tf.randomNormal([widths[i], width], 0, Math.sqrt(2 / widths[i]))),
  b: tf.variable(tf.zeros([width])),
}))
const network = (input) =>
  layers.reduce((value, { w, b }, i) => {
    const sums = tf.add(tf.matMul(value, w), b)
    return i < layers.length - 1 ? tf.relu(sums) : sums
  }, input)
const optimizer = tf.train.momentum(learningRate, momentum)

let order = tf.util.createShuffledIndices(samples)
let at = 0
async function step() {
  if (at + batch > samples) {
    order = tf.util.createShuffledIndices(samples)
    at = 0
  }
  const picked = Int32Array.from(order.subarray(at, at + batch))
  at += batch
  const loss = tf.tidy(() => {
    const indices = tf.tensor1d(picked, 'int32')
    const [input, target] = [tf.gather(x, indices), tf.gather(y, indices)]
    return optimizer.minimize(() => tf.losses.softmaxCrossEntropy(target, network(input)), true)
  })
  const [value] = await loss.data() // the step has then been made
  loss.dispose()
  return value
}

say({ version: tf.version.tfjs, threads: backend === 'wasm' ? wasm.getThreadsCount() : 1 })
for (let asked = await next(); asked; asked = await next()) {
  for (let i = 0; i < asked.warmup; ++i) await step()
  const start = performance.now()
  let [steps, loss] = [0, Number.NaN]
  do {
    loss = await step()
    ++steps
  } while (performance.now() - start < 1000 * asked.seconds)
  say({ seconds: (performance.now() - start) / 1000, steps, loss })
}
