// A module of your own, saved and loaded: node examples/own-module.mjs [steps]
// It learns the product of two sums, which a layer with a gate finds easy.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { adam, chts, cosineFraction, layers, load, Sequential, SparseLinear, Trainer, updateSchedule } from 'hebb'

const steps = Number(process.argv[2] ?? 600)

/** y = A x * sigmoid(B x), both sparse: B decides how much of A x passes. */
class Gated {
  constructor({ inFeatures, outFeatures, density }) {
    this.inFeatures = inFeatures
    this.outFeatures = outFeatures
    const branch = () => new SparseLinear({ inFeatures, outFeatures, density })
    this.children = new Map([
      ['value', branch()], // parameters are named after these in a file: 'modules.0.value.weights'
      ['gate', branch()],
    ])
  }

  get parameters() {
    return [...this.children.values()].flatMap((child) => child.parameters)
  }

  get sparse() {
    return [...this.children.values()].flatMap((child) => child.sparse)
  }

  // Both lead to the same neurons. A rewiring must not leave a neuron with inputs from one of them alone.
  get relations() {
    const [first, second] = this.sparse
    return first ? [{ first, second, kind: 'joint' }] : []
  }

  // Makes the parameters, on the trainer's device.
  materialise(materials) {
    for (const child of this.children.values()) child.materialise(materials)
  }

  // Called once, to record the operations of a step; their gradients are recorded with them.
  forward(tape, x) {
    const [value, gate] = [...this.children.values()].map((child) => child.forward(tape, x))
    return layers.multiply(tape, value, layers.sigmoid(tape, gate))
  }

  dispose() {
    for (const child of this.children.values()) child.dispose()
  }
}

const features = 20
const network = () =>
  new Sequential([
    new Gated({ inFeatures: features, outFeatures: 64, density: 0.3 }),
    new SparseLinear({ inFeatures: 64, outFeatures: 1, density: 0.5 }),
  ])

function batch(samples) {
  const x = Float32Array.from({ length: samples * features }, () => 2 * Math.random() - 1)
  const sum = (row, from, to) => x.subarray(row * features + from, row * features + to).reduce((a, b) => a + b, 0)
  return { x, y: Float32Array.from({ length: samples }, (_, row) => sum(row, 0, 4) * sum(row, 4, 8)) }
}

const dst = chts({ updates: updateSchedule({ every: 50, fraction: cosineFraction(0.3) }) })
const trainer = new Trainer(network(), { optimizer: adam({ learningRate: 0.01 }), dst })
trainer.plan({ epochs: 1, stepsPerEpoch: steps }) // over which rates and rewiring are laid out
let mean = 0
for (let step = 1; step <= steps; ++step) {
  mean += (await trainer.trainOn(batch(128))) / 100
  if (step % 100 > 0) continue
  console.log(`step ${step}: mean squared error ${mean.toFixed(3)}`)
  mean = 0
}

// A file holds the parameters of your modules, not their code: give a network of the same shape to load().
const folder = await mkdtemp(join(tmpdir(), 'gated-'))
await trainer.save(join(folder, 'gated.safetensors'))
const loaded = await load(join(folder, 'gated.safetensors'), { model: network() })
const { x } = batch(4)
const [before, after] = [await trainer.predict(x), await loaded.predict(x)]
console.log(`the loaded network predicts the same: ${before.every((output, i) => output === after[i])}`)
trainer.dispose()
loaded.dispose()
await rm(folder, { recursive: true })
