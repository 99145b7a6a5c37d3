/** hebb train --task lm on text that counts: what it says and keeps, how it goes on after a kill, what it refuses. */
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { trainTokenizer } from '../lib/text/index.js'
import { isOfModel } from '../lib/train/checkpoint.js'
import { readTensors } from '../lib/train/safetensors.js'
import { hebb, main } from './programs.js'
import { random } from './support.js'

const NAMES = 'zero one two three four five six seven eight nine'.split(' ')

/** The numbers count on from one at random. */
function counting(count: number, seed: number): string[] {
  const next = random(seed)
  return Array.from({ length: count }, () => {
    const first = Math.floor(10 * next())
    return Array.from({ length: 12 }, (_, i) => NAMES[(first + i) % 10]).join(' ')
  })
}

describe('hebb train --task lm', function () {
  this.timeout(120_000)
  let folder: string
  const at = (name: string) => join(folder, name)
  const shape = ['--width', '32', '--feed-forward', '64', '--layers', '1', '--heads', '4', '--vocabulary', '290']
  const run = ['--window', '32', '--batch-tokens', '256', '--update-every', '10', '--warmup', '10', '--density', '40%']
  const trained = (...more: string[]) => [
    ...['train', '--task', 'lm', '--data', `${at('a.txt')},${at('b.txt')}`, '--validation', at('val.txt')],
    ...['--documents', 'line', '--learning-rate', '0.01', '--device', 'cpu', '--threads', '1'],
    ...[...shape, ...run, ...more],
  ]
  const train = (...more: string[]) => hebb(...trained(...more))
  const events = (text: string) =>
    text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))

  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'hebb-lm-'))
    for (const [name, lines] of Object.entries({
      ...{ 'a.txt': counting(40, 1), 'b.txt': counting(40, 2), 'val.txt': counting(20, 3) },
    }))
      writeFileSync(at(name), `${lines.join('\n')}\n`)
  })
  after(() => rmSync(folder, { recursive: true }))

  it('learns to count, tells how, and keeps the best state', async () => {
    const { code, stdout, stderr } = await train(
      ...['--steps', '120', '--interval', '40', '--checkpoint', at('m.safetensors'), '--report', at('r.html')],
    )
    expect([code, stderr]).to.deep.equal([0, ''])
    expect(stdout).to.match(/tokenizer of 290 tokens trained in [\d.]+ s\n/)
    expect(stdout).to.match(/chtss on .*a\.txt, .*b\.txt: 80 documents, [\d,]+ tokens in [\d,]+ windows; /)
    const [, perplexity] = /step 120 {2}loss [\d.]+ {2}validation loss [\d.]+ {2}perplexity ([\d.]+) {2}rate /.exec(
      stdout,
    ) ?? ['', '1000']
    expect(Number(perplexity)).to.be.below(1.5)
    expect(stdout).to.match(/rate 0\.0010\d* .*links [\d,]+ \(40\.0\d%\).* ms a step, [\d,]+ tokens a second/)
    expect(stdout).to.contain(`measure it with: hebb evaluate ${at('m.best.safetensors')} --data FILE`)
    const html = readFileSync(at('r.html'), 'utf8')
    for (const text of ['Perplexity, validation', 'layers.0.attention.module.attention.query', 'density of each head'])
      expect(html).to.contain(text)
    expect(html).not.to.match(/NaN|undefined|Infinity/)
    expect(existsSync(at('m.best.safetensors'))).to.equal(true)
    // A run that is over tells its end once more, and its report is not written without an interval.
    const over = await hebb('train', '--resume', at('m.safetensors'), '--device', 'cpu', '--json')
    expect(events(over.stdout)).to.have.length(1)
    expect(events(over.stdout)[0]).to.include({ event: 'done', steps: 120 })
  })

  it('is evaluated: perplexity a token and a word, bits per byte, with errors', async () => {
    const best = at('m.best.safetensors')
    const evaluate = (...more: string[]) => hebb('evaluate', best, '--device', 'cpu', ...more)
    const [noted, strided, said] = [
      await evaluate('--json'),
      await evaluate('--data', at('a.txt'), '--window', '16', '--stride', '4', '--documents', 'file', '--json'),
      await evaluate(),
    ]
    expect([noted.stderr, strided.stderr, said.stderr]).to.deep.equal(['', '', ''])
    const found = JSON.parse(noted.stdout)
    expect(found).to.include({
      window: 32,
      stride: 32,
      documents: 20,
      words: 240,
      by: 'windows',
      units: 20,
      masked: true,
    })
    expect(found.data).to.deep.equal([at('val.txt')])
    expect(found.perplexity).to.be.closeTo(Math.exp(found.loss), 1e-9)
    expect(found.perplexity).to.be.within(1, 1.5)
    expect(found.bitsPerByte).to.be.closeTo((found.loss * found.tokens) / found.bytes / Math.LN2, 1e-9)
    expect(found.wordPerplexity).to.be.closeTo(Math.exp((found.loss * found.tokens) / found.words), 1e-9)
    expect(found.lossError).to.be.above(0)
    expect(JSON.parse(strided.stdout)).to.include({ window: 16, stride: 4, documents: 1 })
    expect(said.stdout).to.match(
      /perplexity {6}1\.\d\d ± 0\.\d\d a token\n {16}[\d.]+ ± [\d.]+ a word, of 240\nbits per byte {3}/,
    )
    for (const [flags, message] of [
      [['--source', 'x'], /Expected no --source for .*m\.best\.safetensors, which is a language model, got x/],
      [['--stride', '33'], /stride/],
      [['--window', '33'], /Expected windows of at most 32 tokens, the places of the model, got 33/],
    ] as const) {
      const refused = await evaluate(...flags)
      expect([refused.code, message.test(refused.stderr)], refused.stderr).to.deep.equal([1, true])
    }
    writeFileSync(
      at('q.jsonl'),
      '{"context":"","choices":["one","two"],"label":0}\n["pairs","x","one two","two two"]\n',
    )
    const asked = JSON.parse((await evaluate('--choices', at('q.jsonl'), '--json')).stdout)
    expect(asked).to.include({ questions: 2, cut: 0 })
    expect(asked.groups.pairs.questions).to.equal(1)
    const told = await evaluate('--choices', at('q.jsonl'))
    expect(told.stdout).to.match(/2 questions in .*\naccuracy +[\d.]+ ± [\d.]+% by log-likelihood\n/)
    const both = await evaluate('--choices', at('q.jsonl'), '--stride', '4')
    expect([both.code, both.stderr]).to.deep.equal([1, 'hebb: Expected no --stride beside --choices, got both\n'])
  })

  it('writes by hebb generate, the same by the same seed, and ends with its reader', async () => {
    const best = at('m.best.safetensors')
    const write = (...more: string[]) => hebb('generate', best, '--device', 'cpu', ...more)
    const greedy = await write('--prompt', 'two three four', '--temperature', '0', '--stop', ' eight')
    expect(greedy).to.deep.equal({ code: 0, stdout: ' five six seven\n', stderr: '' })
    const flags = [
      '--tokens',
      '8',
      '--temperature',
      '3',
      '--top-k',
      '40',
      '--top-p',
      '90%',
      '--repetition-penalty',
      '1.2',
    ]
    const [one, again, other] = [
      await write(...flags, '--seed', '1'),
      await write(...flags, '--seed', '1'),
      await write(...flags, '--seed', '2'),
    ]
    expect(one.stderr).to.equal('')
    expect(again.stdout).to.equal(one.stdout)
    expect(other.stdout).not.to.equal(one.stdout)
    const json = await write('--prompt', 'two three four', '--temperature', '0', '--stop', 'seven', '--json')
    const tokens = events(json.stdout)
    expect(tokens.map(({ text }) => text).join('')).to.equal(' five six ')
    expect(tokens[0]).to.have.keys('id', 'text', 'logProbability')
    const endless = '"$0" "$@" --tokens 100000 --temperature 5 | head -c 20'
    const piped = spawn('bash', ['-c', endless, process.execPath, main, 'generate', best, '--device', 'cpu'])
    let said = ''
    piped.stderr.on('data', (data) => {
      said += data
    })
    await new Promise((resolve) => piped.on('close', resolve))
    expect(said).to.equal('')
    for (const [call, message] of [
      [['--top-p', '2'], /Expected --top-p to be in \(0, 1\]/],
      [['--repetition-penalty', '0'], /Expected repetitionPenalty to be above 0/],
      [['--beam', '2'], /unknown option '--beam'/],
    ] as const) {
      const { code, stderr } = await write(...call)
      expect([code, message.test(stderr)], stderr).to.deep.equal([1, true])
    }
  })

  it('goes on after a kill to the same bits, and logs JSON lines', async () => {
    const steps = ['--steps', '100', '--interval', '25', '--every', '10steps', '--json']
    const whole = await train(...steps, '--checkpoint', at('whole.safetensors'))
    expect([whole.code, whole.stderr]).to.deep.equal([0, ''])
    const all = events(whole.stdout)
    expect(all.map(({ event, step }) => step ?? event)).to.deep.equal([25, 50, 75, 100, 'done'])
    const [, second] = all
    expect(second.perplexity).to.be.closeTo(Math.exp(second.validationLoss), 1e-9)
    expect(second.tokensPerSecond).to.be.above(0)
    const done = all[4]
    const least = Math.min(...all.slice(0, 4).map(({ validationLoss }) => validationLoss))
    expect(done.bestValidationLoss).to.equal(least)
    expect(done.settings).to.include({ method: 'chtss', density: 0.4, width: 32, window: 32, documents: 'line' })

    const file = at('part.safetensors')
    const child = spawn(process.execPath, [main, ...trained(...steps, '--checkpoint', file)])
    const ended = new Promise((resolve) => child.on('exit', (_, signal) => resolve(signal)))
    while (!existsSync(file) && child.exitCode === null) await new Promise((resolve) => setTimeout(resolve, 5))
    child.kill('SIGKILL')
    await ended
    const resumed = await hebb('train', '--resume', file, '--device', 'cpu', '--threads', '2', '--json')
    expect([resumed.code, resumed.stderr]).to.deep.equal([0, ''])
    expect(events(resumed.stdout).at(-1).bestValidationLoss).to.be.closeTo(least, 1e-6)
    const weights = async (name: string) => {
      const { tensors } = await readTensors(at(name), isOfModel)
      return [...tensors].map(([tensor, { data }]) => [tensor, Buffer.from(data.buffer).toString('base64')])
    }
    expect(await weights('part.safetensors')).to.deep.equal(await weights('whole.safetensors'))
  })

  it("takes a tokenizer.json, a config.json of Hugging Face's, and other ways to cut", async () => {
    const tokenizer = await trainTokenizer(counting(20, 1), { vocabulary: 280, special: ['<|endoftext|>', '<eod>'] })
    writeFileSync(at('tokenizer.json'), JSON.stringify(tokenizer))
    const config = { model_type: 'llama', hidden_act: 'silu', vocab_size: 300, hidden_size: 32 }
    const rest = { intermediate_size: 40, num_hidden_layers: 2, num_attention_heads: 4, num_key_value_heads: 2 }
    writeFileSync(at('config.json'), JSON.stringify({ ...config, ...rest, tie_word_embeddings: true }))
    const base = ['train', '--task', 'lm', '--data', at('a.txt'), '--validation', at('val.txt'), ...run, '--json']
    const more = [
      '--tokenizer',
      at('tokenizer.json'),
      '--config',
      at('config.json'),
      '--device',
      'cpu',
      '--steps',
      '4',
      '--update-every',
      '1',
    ]
    const { code, stdout, stderr } = await hebb(
      ...[...base, ...more, '--joined', '--separator', '<eod>', '--interval', '2', '--checkpoint', at('c.safetensors')],
    )
    expect([code, stderr]).to.deep.equal([0, ''])
    const { settings } = events(stdout).at(-1)
    expect(settings).to.include({ width: 32, feedForward: 40, layers: 2, joined: true, separator: '<eod>' })
    const { metadata, tensors } = await readTensors(at('c.safetensors'), isOfModel)
    expect(JSON.parse(metadata.separator)).to.equal(1)
    // The same with its tokens in a file.
    const stored = await hebb(...base, ...more, '--joined', '--separator', '<eod>', '--store', at('a.tokens'))
    expect([stored.code, stored.stderr, existsSync(at('a.tokens'))]).to.deep.equal([0, '', true])
    expect(events(stored.stdout).at(-1).validationLoss).to.equal(events(stdout).at(-1).validationLoss)
    expect([...tensors.keys()].some((name) => name.includes('head.'))).to.equal(false)
    for (const [field, value, message] of [
      ['rope_scaling', { factor: 2 }, /Expected rope_scaling of .* to be null, got/],
      ['attention_bias', true, /Expected attention_bias of .* to be false, got true/],
      ['hidden_size', 'wide', /hidden_size of .* to be a positive whole number, got 'wide'/],
      ['vocab_size', 270, /Expected a tokenizer of at most 270 tokens/],
    ] as const) {
      writeFileSync(at('bad.json'), JSON.stringify({ ...config, ...rest, [field]: value }))
      const refused = await hebb(...base, ...more, '--config', at('bad.json'))
      expect([refused.code, message.test(refused.stderr)], refused.stderr).to.deep.equal([1, true])
    }
  })

  it('refuses what does not go together', async () => {
    for (const [call, message] of [
      [trained('--epochs', '3'), /Expected no --epochs for the task 'lm'/],
      [trained('--source', 'x'), /Expected no --source for the task 'lm'/],
      [trained('--batch-tokens', '31'), /Expected --batch-tokens of at least --window, 32, got 31/],
      [
        trained('--preset', 'multi30k'),
        /Expected --preset of the task 'lm', got 'multi30k', which is for 'translation'/,
      ],
      [trained('--separator', '<eod>'), /Expected a separator that the tokenizer has as a token, got '<eod>'/],
      [trained('--tokenizer', 'x'), /Expected --tokenizer or --vocabulary, got both/],
      [trained('--config', 'x'), /Expected no --width beside --config/],
      [trained('--validation', at('none.txt')), /Expected a text at .*none\.txt, got none/],
      [['train', '--task', 'lm', '--data', at('a.txt')], /Expected --validation with a text file for the task 'lm'/],
      [['train', '--window', '32'], /Expected --window beside --task lm, got it alone/],
      [['train', '--resume', at('m.safetensors'), '--width', '3'], /Expected no --width beside --resume/],
      [['compare', '--task', 'lm', '--out', at('out')], /got 'lm', which is not compared yet/],
    ] as const) {
      const { code, stderr } = await hebb(...call)
      expect([code, message.test(stderr)], stderr).to.deep.equal([1, true])
    }
  })
})
