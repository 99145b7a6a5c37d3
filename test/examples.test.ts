/** The examples in JavaScript run as they are, for a short time. examples/mlp.cc is built and run by test/cmake. */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { expect } from 'chai'
import { mlp, sgd, Trainer } from '../lib/index.js'
import './programs.js' // which refuses an old dist/
import { numbers, sanitized } from './support.js'
import { clusters } from './synthetic.js'

const examples = join(resolve(import.meta.dirname, '..'), 'examples')

describe('examples', function () {
  this.timeout(120_000)
  let folder: string
  before(async function () {
    if (sanitized) this.skip()
    folder = await mkdtemp(join(tmpdir(), 'hebb-examples-'))
  })
  after(async () => folder && (await rm(folder, { recursive: true })))

  /** What an example prints. */
  async function printed(name: string, ...args: (string | number)[]): Promise<string> {
    const given = [join(examples, name), ...args.map(String)]
    return (await promisify(execFile)(process.execPath, given, { cwd: folder })).stdout
  }
  /** The numbers that a pattern has in its first group. */
  const found = (text: string, pattern: RegExp) => [...text.matchAll(pattern)].map(([, number]) => Number(number))

  it('are all run here', async () => {
    const tested = 'csv mnist own-data own-method own-module server text-classifier workers'
    const files = (await readdir(examples)).filter((file) => file.endsWith('.mjs'))
    expect(files.map((file) => file.replace('.mjs', '')).sort()).to.deep.equal(tested.split(' '))
  })

  it('mnist.mjs reaches 93% after an epoch, and saves', async () => {
    expect(found(await printed('mnist.mjs', 1), /([\d.]+)% of the test images/g)[0]).to.be.above(93)
    using trainer = await Trainer.load(join(folder, 'mnist.safetensors'))
    expect(trainer.step).to.equal(1875)
  })

  it('own-data.mjs learns four rings', async () => {
    const stdout = await printed('own-data.mjs')
    expect(found(stdout, /([\d.]+)% of the rows/g)[0]).to.be.above(95)
    expect(stdout).to.contain('a point on the outer ring: outer')
  })

  it('csv.mjs learns prices, in their units', async () => {
    const stdout = await printed('csv.mjs')
    expect(found(stdout, /off by ([\d.]+)/g)[0]).to.be.below(20)
    const [, predicted, right] = /predicted (\d+), true (\d+)/.exec(stdout) as RegExpExecArray
    expect(Number(predicted)).to.be.closeTo(Number(right), 40)
  })

  it('own-method.mjs compares three methods with the same number of links', async () => {
    const stdout = await printed('own-method.mjs', 2)
    const right = found(stdout, /: ([\d.]+)% of the test images/g)
    expect(right).to.have.length(3)
    expect(Math.min(...right)).to.be.above(88)
    expect(new Set(found(stdout, /; (\d+) links/g)).size).to.equal(1)
  })

  it('own-module.mjs learns a product, and predicts the same when it is loaded', async () => {
    const stdout = await printed('own-module.mjs')
    const errors = found(stdout, /error ([\d.]+)/g)
    expect(errors.at(-1)).to.be.below(0.1 * (errors[0] as number))
    expect(stdout).to.contain('predicts the same: true')
  })

  it('workers.mjs trains a network in each of three threads', async () => {
    const stdout = await printed('workers.mjs', 1, 3)
    const right = found(stdout, /^seed \d: ([\d.]+)%/gm)
    expect(right).to.have.length(3)
    expect(Math.min(...right)).to.be.above(88)
    expect(stdout).to.match(/^mean of 3 seeds/m)
  })

  it('text-classifier.mjs learns which animal comes first', async () => {
    const stdout = await printed('text-classifier.mjs')
    const told = [...stdout.matchAll(/^step (\d+): ([\d.]+)%/gm)].map(([, step, right]) => [
      Number(step),
      Number(right),
    ])
    expect(told.map(([step]) => step)).to.deep.equal([100, 200, 300, 400])
    expect(told[3][1]).to.be.above(95)
    expect(stdout).to.match(/label: 'fish'.*label: 'cat'/s)
  })

  /** Starts the server, and calls it with all inputs at once and with bad ones. */
  async function serve(trainer: Trainer, inputs: (Uint8Array | Float32Array)[], bytes: number): Promise<void> {
    const file = join(folder, 'network.safetensors')
    await trainer.save(file)
    const child = spawn(process.execPath, [join(examples, 'server.mjs'), file, '--port', '0', '--batch', '7'])
    const ended = once(child, 'exit')
    try {
      const [said] = await once(child.stdout, 'data')
      const url = /http:\S+/.exec(String(said))?.[0] as string
      const call = (body: ArrayBufferView) => fetch(url, { method: 'POST', body: body as BodyInit })
      const answers = await Promise.all(inputs.map(async (input) => (await call(input)).json() as Promise<number[]>))
      for (const [i, input] of inputs.entries())
        expect(answers[i]).to.deep.equal(Array.from(await trainer.predict(input)))
      for (const length of [0, bytes - 1, bytes + 1, 1e6]) {
        const refused = await call(new Uint8Array(length))
        expect(refused.status).to.equal(400)
        expect(((await refused.json()) as { error: string }).error).to.contain(`Expected a body of ${bytes} bytes`)
      }
    } finally {
      child.kill('SIGTERM')
    }
    expect(await ended).to.deep.equal([0, null])
  }

  it('server.mjs answers calls that wait together as it does alone, refuses bad ones, and ends', async () => {
    using trainer = new Trainer(mlp({ widths: [6, 20, 3], density: 0.5 }), { optimizer: sgd({ learningRate: 0.1 }) })
    const inputs = Array.from({ length: 40 }, (_, i) => numbers(6, i))
    await serve(trainer, inputs, 24)
  })

  it('server.mjs takes bytes for a network that was trained on bytes', async () => {
    const data = clusters({ samples: 64, features: 6, classes: 3 })
    using trainer = new Trainer(mlp({ widths: [6, 20, 3], density: 0.5 }), { optimizer: sgd({ learningRate: 0.1 }) })
    for await (const _ of trainer.fit(data, { epochs: 1 }));
    const inputs = Array.from({ length: 10 }, (_, i) => data.x.subarray(6 * i, 6 * i + 6))
    await serve(trainer, inputs, 6)
  })
})
