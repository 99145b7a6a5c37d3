/** hebb train --task translation and hebb translate, and what translators do with lines, on a language of numbers. */
import { spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { load, type Predictor } from '../lib/index.js'
import { corpusBleu, corpusChrf, parallelLines, type Tokenizers, trainTokenizer } from '../lib/text/index.js'
import { hebb, main } from './programs.js'
import { cpu, expectRefusal, random } from './support.js'

const ENGLISH = 'one two three four five six seven eight'.split(' ')
const GERMAN = 'eins zwei drei vier acht elf zwoelf null'.split(' ')

describe('hebb train --task translation, hebb translate', function () {
  this.timeout(120_000)
  let folder: string
  let files: string[]
  const at = (name: string) => join(folder, name)
  const model = ['--width', '32', '--feed-forward', '64', '--layers', '1', '--heads', '4', '--vocabulary', '290']
  const train = (...more: string[]) => hebb(...trained(...more))
  const trained = (...more: string[]) => {
    const run = ['--device', 'cpu', '--batch-tokens', '256', '--warmup', '60', '--dropout', '0', '--rate-factor', '1']
    return ['train', '--task', 'translation', ...files, ...model, ...run, ...more]
  }

  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'hebb-translate-'))
    const next = random(1)
    const numbers = Array.from({ length: 40 }, () =>
      Array.from({ length: 1 + Math.floor(4 * next()) }, () => Math.floor(8 * next())),
    )
    const spelt = (words: string[]) => numbers.map((all) => all.map((n) => words[n]).join(' '))
    for (const [name, lines] of Object.entries({ en: spelt(ENGLISH), de: spelt(GERMAN) })) {
      writeFileSync(at(name), `${lines.join('\n')}\n`)
      writeFileSync(at(`val.${name}`), `${lines.slice(0, 20).join('\n')}\n`)
    }
    const flags = { source: 'en', target: 'de', 'validation-source': 'val.en', 'validation-target': 'val.de' }
    files = Object.entries(flags).flatMap(([flag, name]) => [`--${flag}`, at(name)])
  })
  after(() => rmSync(folder, { recursive: true }))

  it('trains, keeps the best state, translates line by line, and reports', async () => {
    const steps = ['--steps', '400', '--interval', '100', '--density', '0.4']
    const { code, stdout, stderr } = await train(
      ...steps,
      '--checkpoint',
      at('m.safetensors'),
      '--report',
      at('r.html'),
    )
    expect([code, stderr]).to.deep.equal([0, ''])
    expect(stdout).to.match(/topology updates every 8 steps: the run is short for 100/)
    expect(stdout).to.match(/step 400 {2}loss [\d.]+ {2}token accuracy (9[5-9]|100)[\d.]*%/)
    expect(stdout).to.match(/BLEU +\d+\.\d\d there \(nrefs:1\|case:mixed\|eff:no\|tok:13a\|smooth:exp\|version:/)
    expect(stdout).to.match(/for example +[a-z ]+\n +-> [a-z ]+/)
    const html = readFileSync(at('r.html'), 'utf8')
    expect(html).to.match(/<td>activations<\/td><td>[\d.]+ MB<\/td><td>[\d.]+ MB<\/td>/)
    expect(stdout).to.match(/memory {10}[\d.]+ MB of the device at the most: \w+ \d+%, /)
    const maps = html.match(/<table class="heat c0">.*?<\/table>/g) ?? []
    expect(maps).to.have.length(3)
    for (const map of maps) {
      const columns = map.match(/<th scope="col">/g)?.length as number
      const rows = map.match(/<tr><th scope="row">.*?<\/tr>/g) as string[]
      expect(rows.at(-1)).to.contain('<th scope="row">&lt;/s&gt;</th>')
      for (const row of rows) {
        const weights = [...row.matchAll(/<td style="--w:[\d.]+">(\d+)<\/td>/g)].map(([, weight]) => Number(weight))
        expect(weights).to.have.length(columns)
        expect(weights.reduce((a, b) => a + b)).to.be.closeTo(100, columns / 2)
      }
    }
    expect(html.match(/<figcaption>head \d<\/figcaption>/g)).to.have.length(12)
    for (const text of ['Token accuracy', 'encoder.0.attention.module.attention.query', 'density of each head', 'BLEU'])
      expect(html).to.contain(text)

    const best = at('m.best.safetensors')
    const answer = await translated(['translate', best, '--device', 'cpu'], 'one two\n\nthree\n')
    expect(answer.code).to.equal(0)
    expect(answer.stdout.split('\n')).to.have.length(4)
    expect(answer.stdout.split('\n')[1]).to.equal('')
    const json = await translated(
      ['translate', best, '--device', 'cpu', '--beam', '3', '--n-best', '3', '--json'],
      'one\n',
    )
    const { source, translations } = JSON.parse(json.stdout)
    expect(source).to.equal('one')
    expect(translations).to.have.length(3)
    const scores = translations.map(({ score }: { score: number }) => score)
    expect(scores).to.deep.equal([...scores].sort((a: number, b: number) => b - a))

    using translator = await load(best, { device: cpu() })
    await checkTranslator(translator, answer.stdout.split('\n'))
  })

  it('divides the links among heads where it is told to, and reports them as one layer', async () => {
    const { code, stderr } = await train(
      '--per-head',
      '--steps',
      '20',
      '--interval',
      '20',
      '--report',
      at('heads.html'),
    )
    expect([code, stderr]).to.deep.equal([0, ''])
    const html = readFileSync(at('heads.html'), 'utf8')
    expect(html).to.contain('encoder.0.attention.module.attention.query').and.contain('density of each head')
    expect(html).not.to.contain('attention.query.0')
  })

  async function checkTranslator(translator: Predictor, lines: string[]): Promise<void> {
    expect(await translator.translate(['one two', '', 'three'])).to.deep.equal(lines.slice(0, 3))
    expect(await translator.translate([])).to.deep.equal([])
    const all = await translator.translations(['one two', '  '], { nBest: 2, beam: 4 })
    expect(all.map((one) => one.length)).to.deep.equal([2, 1])
    const [{ text, logProbability }] = all[0]
    const [scored] = await translator.scoreTranslations(['one two'], [text])
    expect(scored.logProbability).to.be.closeTo(logProbability, 1e-4)
    for (const [what, bad, message] of [
      ['a line break', ['one\ntwo'], 'lines without line breaks'],
      ['no line', 'one', 'Expected lines to be lines of text'],
    ] as const) {
      const error = await expectRefusal(() => translator.translate(bad as never), 'INVALID_ARGUMENT', what)
      expect(error.message).to.contain(message)
    }
    await expectRefusal(() => translator.translate(['one'], { beams: 2 } as never), 'INVALID_ARGUMENT', 'misspelt')
  }

  it('is evaluated: token accuracy, loss, BLEU and chrF with their signatures', async () => {
    const best = at('m.best.safetensors')
    const evaluate = (...more: string[]) => hebb('evaluate', best, '--device', 'cpu', ...more)
    const [noted, other, said] = [
      await evaluate('--json'),
      await evaluate('--source', at('en'), '--target', at('de'), '--beam', '4', '--json'),
      await evaluate(),
    ]
    expect([noted.stderr, other.stderr, said.stderr]).to.deep.equal(['', '', ''])
    using translator = await load(best, { device: cpu() })
    for (const [text, prefix, pairs, beam] of [
      [noted.stdout, 'val.', 20, 2],
      [other.stdout, '', 40, 4],
    ] as const) {
      const found = JSON.parse(text)
      const [sources, references] = ['en', 'de'].map((name) =>
        readFileSync(at(prefix + name), 'utf8')
          .trimEnd()
          .split('\n'),
      )
      const tokenizer = translator.tokenizers as Tokenizers
      const { accuracy, loss } = await translator.evaluate(await parallelLines(sources, references, { tokenizer }))
      const translations = await translator.translate(sources, { beam })
      const [bleu, chrf] = [corpusBleu(translations, references), corpusChrf(translations, references)]
      const { seconds, ...rest } = found
      expect(seconds).to.be.above(0)
      expect(rest).to.deep.equal({
        ...{ file: best, source: at(`${prefix}en`), target: at(`${prefix}de`), accuracy, loss, pairs },
        ...{ bleu: bleu.score, bleuSignature: bleu.signature, chrf: chrf.score, chrfSignature: chrf.signature },
        ...{ dropped: 0, tooLong: 0 },
      })
    }
    for (const line of [
      /: 20 pairs in [\d.]+ s\n/,
      /\ntoken accuracy {2}[\d.]+%, loss [\d.]+ a token/,
      /\nBLEU {12}[\d.]+ \(nrefs:1/,
      /\nchrF2 {11}[\d.]+ \(nrefs:1/,
    ])
      expect(said.stdout).to.match(line)
    for (const [flags, message] of [
      [['--dataset', 'mnist'], /Expected no --dataset for .* which is a translator, got mnist/],
      [['--source', at('none')], /Expected a text at .*none, got none/],
      [['--beam', '0'], /--beam to be/],
    ] as const) {
      const refused = await evaluate(...flags)
      expect(refused.code).to.equal(1)
      expect(refused.stderr).to.match(message)
    }
  })

  it('keeps the last states, and averages them', async () => {
    // The last update is after three quarters of the steps.
    const steps = ['--steps', '100', '--interval', '10', '--density', '0.4', '--keep', '2']
    const { code, stderr } = await train(...steps, '--checkpoint', at('k.safetensors'))
    expect([code, stderr]).to.deep.equal([0, ''])
    const kept = readdirSync(folder).filter((name) => /^k\.step/.test(name))
    expect(kept.sort()).to.deep.equal(['k.step100.safetensors', 'k.step90.safetensors'])
    const states = kept.map(at)
    const averaged = await hebb('average', ...states, '--out', at('mean.safetensors'), '--json')
    expect(JSON.parse(averaged.stdout)).to.include({ files: 2, out: at('mean.safetensors') })
    const said = await hebb('average', ...states, states[0], '--out', at('mean.safetensors'))
    expect(said.stdout).to.equal(`${at('mean.safetensors')}: the mean of 3 checkpoints\n`)
    const { stdout } = await translated(['translate', at('mean.safetensors'), '--device', 'cpu'], 'one\n\n')
    expect(stdout.split('\n')).to.have.length(3)
    const one = await hebb('average', states[0], '--out', at('mean.safetensors'))
    expect([one.code, one.stderr]).to.deep.equal([
      1,
      `hebb: Expected the paths of at least two checkpoints, got ["${states[0]}"]\n`,
    ])
    const alone = await train('--keep', '2')
    expect(alone.stderr).to.contain('Expected --keep beside --checkpoint or --resume, got it alone')
  })

  it('begins a new run from a checkpoint, with its shapes, links and tokenizer', async () => {
    const from = at('m.best.safetensors')
    const run = ['--device', 'cpu', '--batch-tokens', '256', '--warmup', '20', '--json']
    const tune = (...more: string[]) => hebb('train', '--from', from, ...files, ...run, ...more)
    const { code, stdout, stderr } = await tune('--steps', '20', '--seed', '3', '--checkpoint', at('tuned.safetensors'))
    expect([code, stderr]).to.deep.equal([0, ''])
    const done = JSON.parse(stdout.trim().split('\n').at(-1) as string)
    expect(done.settings).to.include({ method: 'chts', density: 0.4, width: 32, layers: 1, seed: 3, steps: 20, from })
    expect(done.validationAccuracy).to.be.above(0.9)
    // It falls to a lower density where it is asked to, and goes on as any run.
    const pruned = await tune('--steps', '50', '--method', 'chtss', '--density', '20%', '--dropout', '0.1')
    const last = JSON.parse(pruned.stdout.trim().split('\n').at(-1) as string)
    expect(last.settings).to.include({ method: 'chtss', density: 0.2, initialDensity: 0.4 })
    expect(last.density).to.be.closeTo(0.2, 0.001)
    const again = await hebb('train', '--resume', at('tuned.safetensors'), '--device', 'cpu', '--json')
    expect(JSON.parse(again.stdout).validationBleu).to.equal(done.validationBleu)
    writeFileSync(at('other.json'), JSON.stringify(await trainTokenizer(['another'], { vocabulary: 260 })))
    for (const [flags, message] of [
      [['--width', '64'], /Expected --width to be 32, as in .*m\.best\.safetensors, got 64/],
      [['--feed-forward', '32'], /Expected --feed-forward to be 64/],
      [['--layers', '2'], /Expected --layers to be 1 and 1/],
      [['--heads', '8'], /Expected --heads to be 4/],
      [['--vocabulary', '400'], /Expected --vocabulary to be 290/],
      [['--tokenizer', at('other.json')], /Expected --tokenizer to be that of .*got another one in .*other\.json/],
      [['--density', '5%'], /Expected --density to be the 40% of .* for the method 'chts', which keeps it, got 5%/],
      [['--method', 'chtss', '--density', '50%'], /Expected --density to be at most the 40% of/],
      [['--method', 'gmp', '--initial-density', '50%'], /Expected --initial-density to be the 40% of/],
      [['--method', 'mest'], /got --method mest, which begins with more\. Take chts/],
      [['--method', 'dense', '--density', '5%'], /Expected --density to be 1 for the method 'dense'/],
      [['--resume', at('tuned.safetensors')], /Expected --from for a new run or --resume to go on with one, got both/],
    ] as const) {
      const refused = await tune('--steps', '2', ...flags)
      expect(refused.code, flags.join(' ')).to.equal(1)
      expect(refused.stderr).to.match(message)
    }
  })

  it('prunes a dense model, and fills a sparse one', async () => {
    const dense = await train('--steps', '30', '--method', 'dense', '--checkpoint', at('dense.safetensors'), '--json')
    expect([dense.code, dense.stderr]).to.deep.equal([0, ''])
    const run = ['--device', 'cpu', '--batch-tokens', '256', '--warmup', '20', '--steps', '50', '--json']
    for (const [name, flags, method, density] of [
      ['dense', [], 'dense', 1],
      ['dense', ['--method', 'gmp', '--density', '10%'], 'gmp', 0.1],
      ['m.best', ['--method', 'dense'], 'dense', 1],
    ] as const) {
      const tuned = await hebb('train', '--from', at(`${name}.safetensors`), ...files, ...run, ...flags)
      expect([tuned.code, tuned.stderr], method).to.deep.equal([0, ''])
      const done = JSON.parse(tuned.stdout.trim().split('\n').at(-1) as string)
      expect(done.settings.method).to.equal(method)
      expect(done.density).to.be.closeTo(density, 0.001)
    }
  })

  it('translates what a model has room for, names the line that is longer, and ends with its reader', async () => {
    const best = at('m.best.safetensors')
    const long = Array(2000).fill('one').join(' ')
    const call = ['translate', best, '--device', 'cpu']
    const { code, stdout, stderr } = await translated(call, `one\n\n${long}\ntwo\n`)
    expect(code).to.equal(1)
    expect(stdout.split('\n')).to.have.length(3)
    expect(stderr).to.match(/at most 1024 tokens, as the model takes, got \d+ in line 3 of stdin/)
    const groups = await translated([...call, '--beam', '3', '--n-best', '3'], 'one\n\ntwo\n')
    expect(groups.stdout.split('\n')).to.have.length(10)
    expect(groups.stdout.split('\n').slice(3, 6)).to.deep.equal(['', '', ''])
    const refused = await translated([...call, '--n-best', '4'], 'one\n')
    expect(refused.stderr).to.contain('Expected --n-best to be at most --beam, 2, got 4')
    const piped = spawn('bash', ['-c', `yes one | head -5000 | "$0" "$@" | head -1`, process.execPath, main, ...call])
    let said = ''
    piped.stderr.on('data', (data) => {
      said += data
    })
    await new Promise((resolve) => piped.on('close', resolve))
    expect(said).to.equal('')
  })

  it('ends a run that is over once more, and tells rates without their falls', async () => {
    const steps = ['--steps', '60', '--interval', '30', '--density', '0.4', '--json']
    const first = await train(...steps, '--checkpoint', at('over.safetensors'))
    const again = await hebb('train', '--resume', at('over.safetensors'), '--device', 'cpu', '--json')
    const done = (text: string) => JSON.parse(text.trim().split('\n').at(-1) as string)
    const { peak, parts, peakBytes, bytes } = done(first.stdout).memory
    for (const [all, of] of [
      [peakBytes, peak],
      [bytes, parts],
    ])
      expect(Object.values<number>(of).reduce((a, b) => a + b)).to.equal(all)
    expect(peak.weights).to.be.above(4 * 32 * 290 * 3)
    for (const name of ['bestValidationAccuracy', 'bestStep', 'validationBleu'])
      expect(done(again.stdout)[name]).to.equal(done(first.stdout)[name])
    const rates = first.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line).learningRate)
    expect(rates.slice(0, 2).every((rate) => rate > 0)).to.equal(true)
  })

  it('trains in runs so short that updates come step after step', async () => {
    const { stdout } = await train('--steps', '40', '--interval', '20', '--density', '0.4', '--json')
    const [first, second] = stdout.split('\n').map((line) => line && JSON.parse(line))
    expect(second.validationLoss).to.be.below(first.validationLoss - 0.05)
    const said = await train('--steps', '40', '--density', '0.4', '--warmup', '9')
    expect(said.stdout).to.contain('every 1 steps: the run is short for 100, and the rate does not fall after them')
  })

  it('goes on after it was stopped, to the same end', async () => {
    const steps = ['--steps', '120', '--interval', '40', '--density', '0.4', '--json']
    const whole = await train(...steps, '--checkpoint', at('whole.safetensors'))
    // With its text in a file of tokens.
    const stored = [...steps, '--store', at('train.tokens'), '--checkpoint', at('part.safetensors')]
    const child = spawn(process.execPath, [main, ...trained(...stored)])
    child.stdout.once('data', () => child.kill('SIGTERM'))
    const code = await new Promise((resolve) => child.on('exit', resolve))
    const last = (text: string) => {
      const { event, bestValidationAccuracy, validationBleu } = JSON.parse(text.trim().split('\n').at(-1) as string)
      return { event, bestValidationAccuracy, validationBleu }
    }
    // A machine may be so slow that the run is over before the signal comes.
    if (code === 143) {
      const resumed = await hebb('train', '--resume', at('part.safetensors'), '--device', 'cpu', '--json')
      expect([resumed.code, resumed.stderr]).to.deep.equal([0, ''])
      expect(last(resumed.stdout)).to.include({ event: 'done', validationBleu: last(whole.stdout).validationBleu })
    }
    expect(readFileSync(at('train.tokens'), 'latin1')).to.contain('hebb tokens')
    const weights = (file: string) => readFileSync(at(file)).length
    expect(weights('part.safetensors')).to.be.closeTo(weights('whole.safetensors'), 400)
  })

  it('refuses flags of other tasks, missing files, and models that translate nothing', async () => {
    for (const [call, message] of [
      [trained('--epochs', '3'), /Expected no --epochs for the task 'translation'/],
      [trained('--steps', '0'), /--steps/],
      [['train', '--task', 'translation', '--source', at('en')], /Expected --target with a file of sentences/],
      [['train', '--source', at('en')], /Expected --source beside --task translation/],
      [trained('--topology', 'csti'), /got 'csti'/],
      [trained('--source', at('none')), /Expected a text at .*none, got none/],
      [
        ['compare', '--task', 'translation', '--out', at('out')],
        /got 'translation', which is not compared yet\. Run hebb train --task translation/,
      ],
    ] as const) {
      const { code, stderr } = await hebb(...call)
      expect(code, String(message)).to.equal(1)
      expect(stderr).to.match(message)
    }
    const { code, stderr } = await translated(['translate', at('en')], 'one\n')
    expect([code, stderr.split(':')[0]]).to.deep.equal([1, 'hebb'])
  })

  function translated(args: string[], input: string): Promise<{ code: unknown; stdout: string; stderr: string }> {
    const child = spawn(process.execPath, [main, ...args])
    let [stdout, stderr] = ['', '']
    child.stdout.on('data', (data) => {
      stdout += data
    })
    child.stderr.on('data', (data) => {
      stderr += data
    })
    child.stdin.on('error', () => {}) // it may end before it reads
    child.stdin.end(input)
    return new Promise((resolve) => child.on('close', (code) => resolve({ code, stdout, stderr })))
  }
})
