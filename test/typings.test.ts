/** The declarations compile by TypeScript 7 and 5.9 with the strictest settings, and take what may be undefined. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { expect } from 'chai'
import { main } from './programs.js'

const root = dirname(dirname(dirname(main)))
const PROGRAM = `
import { adam, Device, Trainer, chts, dataset, load, mlp, sgd, stream, transformer } from 'hebb'
import type { Epoch, FitOptions } from 'hebb'
import { mnist } from 'hebb/data'
import { corpusBleu, trainTokenizer } from 'hebb/text'
declare const signal: AbortSignal | undefined
declare const n: number | undefined
declare const text: string | undefined
const device = new Device({ kind: 'cpu', threads: n, simd: text, denseFrom: n })
const model = mlp({ widths: [8, 4, 3], density: 0.5, seed: n })
const optimizer = sgd({ learningRate: 0.1, momentum: n })
const trainer = new Trainer(model, { optimizer, dst: chts(), device, loss: undefined })
const data = dataset({ x: new Float32Array(8), y: [0], shape: [8], classes: n, name: text, normalise: undefined })
const checkpoint = { file: 'run', best: text, everyEpochs: n, onError: undefined }
const options: FitOptions = { epochs: n, batchSize: n, signal, checkpoint, validation: undefined }
for await (const { trainLoss, validation } of trainer.fit(data, options)) console.log(trainLoss, validation?.accuracy)
const history: readonly Epoch[] = await trainer.fit(data, options)
const rest: AsyncGenerator<Epoch, void, undefined> & Promise<readonly Epoch[]> = trainer.resume(data)
await trainer.evaluate(data, { signal })
await trainer.save('x', { notes: undefined })
const predictor = await load('x', { device: undefined, loss: undefined })
export { adam, corpusBleu, history, mnist, rest, predictor, stream, trainTokenizer, transformer }
`

describe('typings', () => {
  const strict = [
    '--noEmit',
    '--strict',
    '--noUncheckedIndexedAccess',
    '--exactOptionalPropertyTypes',
    '--noImplicitOverride',
  ]
  for (const compiler of ['typescript', 'typescript-5'])
    it(`compile by ${compiler}`, () => {
      const folder = mkdtempSync(join(tmpdir(), 'hebb-typings-'))
      try {
        mkdirSync(join(folder, 'node_modules/@types'), { recursive: true })
        symlinkSync(root, join(folder, 'node_modules/hebb'))
        for (const name of ['@types/node', 'undici-types'])
          symlinkSync(join(root, 'node_modules', name), join(folder, 'node_modules', name))
        writeFileSync(join(folder, 'a.mts'), PROGRAM)
        const tsc = join(root, 'node_modules', compiler, 'bin/tsc')
        for (const lib of [[], ['--lib', 'es2022', '--types', 'node']]) {
          const target = ['--target', 'es2022', '--module', 'nodenext', ...lib]
          const { stdout } = spawnSync(process.execPath, [tsc, ...strict, ...target, 'a.mts'], {
            cwd: folder,
            encoding: 'utf8',
          })
          expect(stdout).to.equal('')
        }
      } finally {
        rmSync(folder, { recursive: true })
      }
    })
})
