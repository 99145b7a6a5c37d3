/**
 * What released versions wrote, by this one: their checkpoints give what they gave and go on, their logs are read, and
 * what commands print as JSON still has every name that it had. docs/stability.md promises it.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { load, Trainer } from '../lib/index.js'
import { htmlReport } from '../lib/report/html.js'
import { parseEvents, runOf } from '../lib/report/log.js'
import { tableOf } from '../lib/report/table.js'
import { hebb } from './programs.js'
import { type Expected, fixtures, lossesOf, printed, samples, texts } from './released.js'
import { cpu, expectNear } from './support.js'

/** Every value's place and type: 'settings.hidden.0: number'. A list has those of its first element. */
function namesIn(value: unknown, path = ''): string[] {
  if (typeof value !== 'object' || value === null) return [`${path}: ${value === null ? 'number' : typeof value}`]
  const entries = Array.isArray(value) ? Object.entries(value.slice(0, 1)) : Object.entries(value)
  return entries.flatMap(([name, inner]) => namesIn(inner, path ? `${path}.${name}` : name))
}

const linesOf = (text: string): any[] =>
  text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))

/** The first object of each kind. */
const kindsOf = (text: string) => new Map(linesOf(text).map((one) => [one.event as string | undefined, one]))

describe('released formats', function () {
  this.timeout(60_000)
  let folder: string
  let today: Record<string, string>
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'hebb-released-'))
    today = await printed(folder)
  })
  after(() => rmSync(folder, { recursive: true }))

  for (const version of readdirSync(fixtures)) {
    const at = (name: string) => join(fixtures, version, name)
    const text = (name: string) => readFileSync(at(name), 'utf8')
    const expected: Expected = JSON.parse(text('expected.json'))
    const { losses } = expected
    const near = (name: keyof typeof losses, found: number[]) =>
      expectNear(found, losses[name], `${name}'s losses`, 0.05)

    it(`${version}: a network predicts as it did, and trains on with Adam's moments and its history`, async () => {
      using predictor = await load(at('mlp.safetensors'), { device: cpu() })
      const outputs = await predictor.predict(samples())
      expectNear(outputs.subarray(0, expected.predictions.length), expected.predictions, 'predictions', 1e-4)
      using trainer = await Trainer.load(at('mlp.safetensors'), { device: cpu() })
      expect(trainer.notes).to.deep.equal({ made: 'for the tests of later versions' })
      expect((await trainer.measures()).itop).to.equal(expected.itop)
      near('mlp', await lossesOf(trainer.fit(samples(), { epochs: 2 })))
    })

    it(`${version}: a run that was in the middle of an epoch goes on to its end`, async () => {
      using trainer = await Trainer.load(at('unfinished.safetensors'), { device: cpu() })
      expect(trainer.step).to.equal(30)
      near('unfinished', await lossesOf(trainer.resume(samples())))
    })

    it(`${version}: a translator translates as it did, and goes on`, async () => {
      const { english, pairs } = await texts()
      using translator = await load(at('translator.safetensors'), { device: cpu() })
      expect(await translator.translate(english.slice(0, 8))).to.deep.equal(expected.translations)
      using trainer = await Trainer.load(at('translator.safetensors'), { device: cpu() })
      near('translator', await lossesOf(trainer.resume(pairs)))
    })

    it(`${version}: a classifier of text has its classes, and goes on`, async () => {
      const { english, labelled } = await texts()
      using classifier = await load(at('classifier.safetensors'), { device: cpu() })
      const found = await classifier.classify(english.slice(0, 8))
      expect(found.map(({ label }) => label)).to.deep.equal(expected.labels)
      using trainer = await Trainer.load(at('classifier.safetensors'), { device: cpu() })
      near('classifier', await lossesOf(trainer.resume(labelled)))
    })

    it(`${version}: a checkpoint of the command line is evaluated by its notes`, async () => {
      const { code, stdout } = await hebb('evaluate', at('mnist.safetensors'), '--device', 'cpu', '--json')
      expect(code).to.equal(0)
      expect(JSON.parse(stdout).accuracy).to.be.closeTo(JSON.parse(text('evaluate.json')).accuracy, 0.002)
    })

    for (const name of ['train.jsonl', 'regression.jsonl'])
      it(`${version}: a table and a report are made of ${name}`, () => {
        const run = runOf(parseEvents(text(name)), name)
        expect(run.epochs).to.have.length(2)
        expect(tableOf([run])).to.have.length(1)
        expect(htmlReport({ title: name, runs: [run], settings: {} })).to.contain(`hebb ${version}`)
      })

    it(`${version}: nothing that was printed as JSON is missing today`, () => {
      for (const name of Object.keys(today).filter((name) => readdirSync(join(fixtures, version)).includes(name))) {
        const now = kindsOf(today[name])
        for (const [kind, one] of kindsOf(text(name)))
          expect(namesIn(now.get(kind)), `${kind ?? 'the object'} of ${name}`).to.include.members(namesIn(one))
      }
    })
  }
})
