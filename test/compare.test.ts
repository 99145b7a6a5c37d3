/**
 * `hebb compare`, on small data sets in files: its folder, its table, what it refuses, and that a kill at any moment
 * loses nothing.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { Command } from 'commander'
import { defineCompare } from '../lib/cli/compare.js'
import { defineTrain } from '../lib/cli/train.js'
import { HebbError } from '../lib/index.js'
import { version } from '../lib/package.js'
import { parseEvents, runOf } from '../lib/report/log.js'
import { main } from './programs.js'
import { random } from './support.js'
import { clusters, writeIdx } from './synthetic.js'

const TIMES = [
  'seconds',
  'updateSeconds',
  'wallSeconds',
  'stepSeconds',
  'samplesPerSecond',
  'secondsPerEpoch',
  'device',
]

/** What was measured, without what differs from run to run. */
const timeless = (value: unknown) =>
  JSON.parse(JSON.stringify(value, (key, inner) => (TIMES.includes(key) ? undefined : inner)))

/**
 * What the command line does with these arguments, in this process: starting one takes longer than most of these runs.
 */
async function hebb(args: readonly string[]): Promise<{ code: unknown; stdout: string; stderr: string }> {
  const program = new Command('hebb').version(version)
  defineTrain(program)
  defineCompare(program)
  const { log, error } = console
  let [stdout, stderr] = ['', '']
  console.log = (line) => {
    stdout += `${line}\n`
  }
  console.error = (line) => {
    stderr += `${line}\n`
  }
  try {
    await program.parseAsync(args, { from: 'user' })
  } catch (thrown) {
    if (!(thrown instanceof HebbError)) throw thrown
    stderr += `hebb: ${thrown.message}\n`
    process.exitCode = 1
  } finally {
    Object.assign(console, { log, error })
  }
  const code = process.exitCode ?? 0
  process.exitCode = 0
  return { code, stdout, stderr }
}

/** A process of its own, to be killed. */
function start(args: readonly string[]): {
  child: ChildProcess
  ended: Promise<{ code: number | null; signal: string | null; stdout: string }>
} {
  const child = spawn(process.execPath, [main, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
  let stdout = ''
  child.stdout.on('data', (chunk) => {
    stdout += chunk
  })
  return {
    child,
    ended: new Promise((resolve) => child.on('close', (code, signal) => resolve({ code, signal, stdout }))),
  }
}

/** Sizes of all files below a folder. */
async function sizesOf(folder: string): Promise<string> {
  const files = (await readdir(folder, { recursive: true }).catch(() => [])).sort()
  return JSON.stringify(
    await Promise.all(files.map(async (file) => [file, (await stat(join(folder, file)).catch(() => undefined))?.size])),
  )
}

/** Checks that every tag is closed, and that nothing is fetched; returns the tags by name. */
function tagsOf(html: string): Map<string, number> {
  const open: string[] = []
  const counts = new Map<string, number>()
  const body = html.replace('<!DOCTYPE html>', '').replace(/<style>[^<]*<\/style>/, '')
  for (const [tag, closing, name, attributes, own] of body.matchAll(
    /<(\/?)([a-zA-Z][\w]*)((?:\s+[\w:-]+="[^"<>]*")*)\s*(\/?)>|<[^>]*>?/g,
  )) {
    expect(name, `a tag: ${tag}`).to.be.a('string')
    expect(attributes, tag).to.not.match(/\s(src|href|on\w+)=|NaN|undefined|Infinity/)
    if (closing) expect(open.pop(), tag).to.equal(name)
    else counts.set(name, (counts.get(name) ?? 0) + 1)
    if (!closing && !own) open.push(name)
  }
  expect(open).to.deep.equal([])
  expect(body.replace(/<[^>]*>/g, '')).to.not.match(/[<>]|NaN%|undefined|&(?!(amp|lt|gt|quot);)/)
  return counts
}

describe('hebb compare', () => {
  let folder: string
  let out: string
  let made = 0
  const cells = [
    'compare',
    '--hidden',
    '40,32',
    '--densities',
    '0.1',
    '--batch-size',
    '16',
    '--device',
    'cpu',
    '--threads',
    '1',
  ]
  const matrix = () => [
    ...cells,
    '--methods',
    'chts,set',
    '--seeds',
    '0,1',
    '--epochs',
    '3',
    '--data',
    join(folder, 'a'),
    '--out',
    out,
  ]
  const results = async (place = out) => JSON.parse(await readFile(join(place, 'results.json'), 'utf8'))

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hebb-compare-'))
    for (const [name, seed] of [
      ['a', 1],
      ['b', 5],
    ] as const) {
      await mkdir(join(folder, name))
      await writeIdx(
        join(folder, name),
        'train',
        clusters({ samples: 320, features: 36, classes: 10, seed, noise: 30 }),
        [6, 6],
      )
      await writeIdx(
        join(folder, name),
        't10k',
        clusters({ samples: 100, features: 36, classes: 10, seed: seed + 1, noise: 30 }),
        [6, 6],
      )
    }
  })
  beforeEach(() => {
    out = join(folder, `out${++made}`)
  })
  after(() => rm(folder, { recursive: true }))

  const title =
    'runs every cell once and makes one table, logs like those of train, and a report that needs nothing else'
  it(title, async () => {
    const args = [
      ...cells,
      '--methods',
      'chts,set',
      '--seeds',
      '0,1,2',
      '--epochs',
      '3',
      '--datasets',
      'mnist,fashion-mnist',
    ]
    const both = ['--data', `mnist=${join(folder, 'a')},fashion-mnist=${join(folder, 'b')}`, '--out', out]
    const { code, stdout, stderr } = await hebb([...args, ...both])
    expect([code, stderr]).to.deep.equal([0, ''])
    expect(stdout.split('\n')[0]).to.match(/^ 1\/12 mnist-chts-0.1-seed0: [\d.]+% after 3 epochs$/)
    expect(stdout).to.match(/\| data .*test accuracy %, last epoch *\| best epoch \(picked on the test set\)/)
    expect(stdout.match(/^\| (mnist|fashion-mnist) +\| (chts|set)/gm)).to.have.length(4)
    expect((await readdir(out)).sort()).to.deep.equal([
      'cells',
      'plan.json',
      'report.html',
      'results.json',
      'table.csv',
    ])
    const { table, runs, plan } = await results()
    expect(plan).to.deep.include({
      methods: ['chts', 'set'],
      seeds: [0, 1, 2],
      datasets: ['mnist', 'fashion-mnist'],
      epochs: 3,
      validationSplit: 0,
    })
    expect(runs).to.have.length(12)
    for (const row of table) {
      const own = runs.filter((run: any) => run.dataset === row.dataset && run.method === row.method)
      const accuracies = own.map((run: any) => run.testAccuracy)
      const mean = accuracies.reduce((a: number, b: number) => a + b) / 3
      expect(row.seeds).to.deep.equal([0, 1, 2])
      expect(row.accuracy.mean).to.be.closeTo(mean, 1e-12)
      const variance = accuracies.reduce((sum: number, a: number) => sum + (a - mean) ** 2, 0) / 2
      expect(row.accuracy.error).to.be.closeTo(Math.sqrt(variance / 3), 1e-12)
      expect(row.bestAccuracy.mean).to.be.at.least(mean)
    }
    const csv = (await readFile(join(out, 'table.csv'), 'utf8')).trim().split('\n')
    expect(csv).to.have.length(5)
    expect(csv.map((line) => line.split(',').length)).to.deep.equal(new Array(5).fill(23))

    // A cell is what train does, to the last bit.
    const trained = await hebb([
      'train',
      '--hidden',
      '40,32',
      '--density',
      '0.1',
      '--batch-size',
      '16',
      '--device',
      'cpu',
      '--method',
      'set',
      '--seed',
      '2',
      '--epochs',
      '3',
      '--data',
      join(folder, 'b'),
      '--dataset',
      'fashion-mnist',
      '--json',
    ])
    const log = parseEvents(await readFile(join(out, 'cells', 'fashion-mnist-set-0.1-seed2.jsonl'), 'utf8'))
    expect(timeless(log.filter(({ event }) => event !== 'topology'))).to.deep.equal(
      timeless(parseEvents(trained.stdout)),
    )
    expect(log.map((event) => `${event.event} ${(event as any).epoch}`)).to.deep.equal([
      'epoch 1',
      'topology 1',
      'epoch 2',
      'epoch 3',
      'topology 3',
      'done 3',
    ])

    const html = await readFile(join(out, 'report.html'), 'utf8')
    const tags = tagsOf(html)
    expect(tags.get('h3')).to.equal(6) // two data sets, and two methods on each
    expect(tags.has('script') || tags.has('link')).to.equal(false)
    expect(tags.get('svg')).to.be.above(60)
    expect(html).to.match(/links of every input, from \d+ \(light\) to \d+/)
    expect(html).to.match(/hebb \d+\.\d+\.\d+, Node\.js v/)

    // Nothing is done again, and nothing changes.
    const again = await hebb([...args, ...both, '--json'])
    expect(again.code).to.equal(0)
    expect(JSON.parse(again.stdout)).to.deep.equal({ plan, table, runs })
    expect(await readFile(join(out, 'report.html'), 'utf8')).to.equal(html)
  }).timeout(120_000)

  it('a kill at any moment loses nothing: the table is that of a comparison that was left alone', async () => {
    /** Until the work of a comparison begins: its first change in the folder. */
    const begins = async (stillRuns: () => boolean) => {
      const before = await sizesOf(out)
      while (stillRuns() && (await sizesOf(out)) === before) await new Promise((resolve) => setTimeout(resolve, 2))
    }
    const left = hebb(matrix())
    await begins(() => true)
    const began = performance.now()
    expect((await left).code).to.equal(0)
    const work = performance.now() - began
    const expected = await results()
    const whole = out
    const next = random(7)
    for (let round = 0; round < 2; ++round) {
      out = join(folder, `killed${round}`)
      // The second time with fewer checkpoints: what was logged since the last one is done again.
      const args = [...matrix(), ...(round > 0 ? ['--every', '2'] : [])]
      let kills = 0
      for (let tries = 0; tries < 4; ++tries) {
        const { child, ended } = start(args)
        let done = false
        void ended.then(() => {
          done = true
        })
        await begins(() => !done)
        await new Promise((resolve) => setTimeout(resolve, (work / 3) * next()))
        child.kill('SIGKILL')
        if ((await ended).signal === 'SIGKILL') ++kills
      }
      expect(kills, 'kills before the end').to.be.at.least(2)
      expect((await hebb(args)).code, `round ${round}`).to.equal(0)
      expect(timeless(await results()), `round ${round}, after ${kills} kills`).to.deep.equal(timeless(expected))
      for (const name of (await readdir(join(out, 'cells'))).filter((file) => file.endsWith('.jsonl'))) {
        const [log, undisturbed] = await Promise.all(
          [out, whole].map(async (place) => parseEvents(await readFile(join(place, 'cells', name), 'utf8'))),
        )
        expect(timeless(log), name).to.deep.equal(timeless(undisturbed))
      }
    }
  }).timeout(300_000)

  it('takes --every in epochs alone', async () => {
    const { code, stderr } = await hebb([...matrix(), '--every', '500steps'])
    expect([code, stderr]).to.deep.equal([1, 'hebb: Expected --every to be a number of epochs, got 500steps\n'])
  })

  it('goes on from every place where a cell may have been left', async () => {
    expect((await hebb(matrix())).code).to.equal(0)
    const expected = timeless(await results())
    const whole = out
    const cell = 'mnist-chts-0.1-seed1'
    const log = (await readFile(join(whole, 'cells', `${cell}.jsonl`), 'utf8')).trim().split('\n')
    const text = (lines: number, torn = '') => `${log.slice(0, lines).join('\n')}${lines ? '\n' : ''}${torn}`
    const cases: Record<string, [log: string | undefined, checkpoint: 'none' | 'last' | 'broken']> = {
      'before its first epoch': [undefined, 'none'],
      'with an empty log': ['', 'none'],
      'within the log of its first epoch': [text(0, log[0]?.slice(0, 50)), 'none'],
      'between log and checkpoint': [text(2), 'none'],
      'before the last line': [text(5), 'last'],
      'within the last line': [text(5, log[5]?.slice(0, 100)), 'last'],
      'with a log that a power cut has shortened': [text(3), 'last'],
      'with a checkpoint that does not load': [text(3), 'broken'],
    }
    for (const [what, [left, checkpoint]] of Object.entries(cases)) {
      out = join(folder, `left ${what}`)
      await cp(whole, out, { recursive: true })
      const place = (ending: string) => join(out, 'cells', `${cell}.${ending}`)
      if (left === undefined) await rm(place('jsonl'))
      else await writeFile(place('jsonl'), left)
      if (checkpoint === 'none') await rm(place('safetensors'))
      if (checkpoint === 'broken') await writeFile(place('safetensors'), 'no tensors')
      const { code, stderr } = await hebb(matrix())
      expect(code, what).to.equal(0)
      expect(stderr, what).to.match(checkpoint === 'broken' ? /mnist-chts-0.1-seed1 begins anew.*safetensors/ : /^$/)
      expect(timeless(await results()), what).to.deep.equal(expected)
    }
  }).timeout(180_000)

  it('Ctrl-C leaves a folder to go on with, in the middle of an epoch', async () => {
    const long = [
      ...cells,
      '--batch-size',
      '1',
      '--methods',
      'chts',
      '--epochs',
      '40',
      '--data',
      join(folder, 'a'),
      '--out',
      out,
    ]
    const { child, ended } = start(long)
    let log = ''
    while (!log.includes('"epoch":2')) {
      await new Promise((resolve) => setTimeout(resolve, 5))
      log = await readFile(join(out, 'cells', 'mnist-chts-0.1-seed0.jsonl'), 'utf8').catch(() => '')
    }
    child.kill('SIGINT')
    const stopped = await ended
    expect([stopped.code, stopped.stdout]).to.deep.equal([
      130,
      'stopped with 0 of 1 runs done; the same command goes on\n',
    ])
    expect(await readdir(out)).to.not.include('results.json')
    expect((await hebb(long)).code).to.equal(0)
    const resumed = timeless(await results())
    out = join(folder, 'alone')
    expect((await hebb([...long.slice(0, -1), out])).code).to.equal(0)
    expect(resumed).to.deep.equal(timeless(await results()))
  }).timeout(120_000)

  it('a run that fails is told in the table, is not run again, and the others are not lost', async () => {
    const args = [
      ...cells,
      '--methods',
      'chts',
      '--seeds',
      '0,1',
      '--epochs',
      '2',
      '--data',
      join(folder, 'a'),
      '--out',
      out,
    ]
    const fails = [...args, '--learning-rate', '1e30']
    const { code, stdout, stderr } = await hebb(fails)
    expect(code).to.equal(1)
    expect(stdout).to.match(/mnist-chts-0.1-seed0: failed after 0 epochs, NON_FINITE/)
    expect(stdout).to.match(/\| 0: NON_FINITE; 1: NON_FINITE \|/)
    expect(stderr).to.match(/seed1 failed\. Expected a finite loss/)
    const { table, runs } = await results()
    expect(runs.map((run: any) => run.event)).to.deep.equal(['failed', 'failed'])
    expect(table[0].failed[0]).to.include({ seed: 0, code: 'NON_FINITE' })
    tagsOf(await readFile(join(out, 'report.html'), 'utf8'))
    const log = join(out, 'cells', 'mnist-chts-0.1-seed0.jsonl')
    const before = await readFile(log, 'utf8')
    expect((await hebb(fails)).code).to.equal(1)
    expect(await readFile(log, 'utf8')).to.equal(before)
    // What may pass is tried again.
    await writeFile(log, `${JSON.stringify({ ...JSON.parse(before), code: 'OUT_OF_MEMORY' })}\n`)
    await hebb(fails)
    expect(await readFile(log, 'utf8')).to.match(/NON_FINITE/)
    expect(() =>
      runOf([...parseEvents('{"event":"epoch","epoch":1}\n{"event":"epoch","epoch":3}')], 'x.jsonl'),
    ).to.throw(/x.jsonl to tell every epoch once/)
  }).timeout(60_000)

  it('measures on samples that were held out, and never on the test set', async () => {
    const args = [...cells, '--methods', 'set', '--epochs', '2', '--validation-split', '64', '--out', out]
    // A test set that none could learn from: nothing is measured on it.
    await mkdir(join(folder, 'shuffled'), { recursive: true })
    await cp(join(folder, 'a'), join(folder, 'shuffled'), { recursive: true })
    await writeIdx(
      join(folder, 'shuffled'),
      't10k',
      clusters({ samples: 50, features: 36, classes: 10, seed: 77, noise: 255 }),
      [6, 6],
    )
    await cp(join(folder, 'a'), join(folder, 'b,a=c'), { recursive: true })
    const { stdout } = await hebb([...args, '--data', join(folder, 'b,a=c')])
    expect(stdout).to.match(/validation accuracy %, last epoch *\| best epoch \(picked on the validation set\)/)
    const { runs, table } = await results()
    expect(runs[0]).to.include.keys('validationAccuracy', 'bestValidationAccuracy')
    expect(JSON.stringify(runs[0])).to.not.match(/test(Accuracy|Loss)/i)
    expect(table[0].measuredOn).to.equal('validation')
    out = `${out}-shuffled`
    await hebb([...args.slice(0, -1), out, '--data', join(folder, 'shuffled')])
    expect((await results()).runs[0].validationAccuracy).to.equal(runs[0].validationAccuracy)
    const file = join(folder, 'held.safetensors')
    const run = [
      'train',
      '--hidden',
      '40,32',
      '--density',
      '0.1',
      '--batch-size',
      '16',
      '--device',
      'cpu',
      '--method',
      'set',
      '--data',
      join(folder, 'a'),
    ]
    const trained = await hebb([...run, '--epochs', '2', '--validation-split', '64', '--checkpoint', file])
    expect(trained.stdout).to.match(/held-out accuracy [\d.]+% after the last epoch/)
    const tooMany = await hebb([...run, '--validation-split', '320'])
    expect([tooMany.code, tooMany.stderr]).to.deep.equal([
      1,
      'hebb: Expected --validation-split to be less than the 320 samples of MNIST train, got 320\n',
    ])
  }).timeout(60_000)

  it('runs a dense network once, at density 1, beside all densities of the others', async () => {
    const args = [
      'compare',
      '--methods',
      'gmp,dense',
      '--densities',
      '0.1,0.2',
      '--hidden',
      '40,32',
      '--epochs',
      '2',
      '--batch-size',
      '16',
      '--device',
      'cpu',
    ]
    const { code, stderr } = await hebb([...args, '--data', join(folder, 'a'), '--out', out])
    expect([code, stderr]).to.deep.equal([0, ''])
    const { table } = await results()
    expect(table.map((row: any) => `${row.method} ${row.density} ${row.topology}`)).to.deep.equal([
      'gmp 0.1 erdos-renyi',
      'dense 1 full',
      'gmp 0.2 erdos-renyi',
    ])
    const dense = table.find((row: any) => row.method === 'dense')
    expect([dense.links, dense.activeNeurons, dense.itop].map((one) => one.mean ?? one)).to.deep.equal([
      40 * 36 + 32 * 40,
      1,
      1,
    ])
  }).timeout(60_000)

  it('--patience ends runs early, in train alike, and again when a folder is gone on with', async () => {
    const flags = ['--epochs', '30', '--patience', '2', '--data', join(folder, 'a')]
    const args = [...cells, '--methods', 'chts,chtss', ...flags, '--out', out]
    expect((await hebb(args)).code).to.equal(0)
    const { runs, table } = await results()
    for (const run of runs) expect([run.epochs, run.settings.patience]).to.deep.equal([run.epoch, 2])
    expect(runs[0].epochs).to.be.below(30)
    expect(runs[0].bestEpoch).to.equal(runs[0].epochs - 2)
    for (const row of table) expect([row.epochs, row.patience]).to.deep.equal([30, 2])
    // As if it was killed before it told its end.
    const log = join(out, 'cells', 'mnist-chts-0.1-seed0.jsonl')
    const lines = (await readFile(log, 'utf8')).trim().split('\n')
    expect(lines.filter((line) => JSON.parse(line).event === 'topology')).to.have.length(2)
    await writeFile(log, `${lines.slice(0, -1).join('\n')}\n`)
    expect((await hebb(args)).code).to.equal(0)
    expect(timeless((await results()).runs)).to.deep.equal(timeless(runs))

    const file = join(folder, 'patient.safetensors')
    const one = [
      'train',
      ...cells.slice(1).filter((word) => word !== '--densities' && word !== '0.1'),
      '--density',
      '0.1',
    ]
    const trained = await hebb([...one, ...flags, '--checkpoint', file])
    expect(trained.stdout).to.match(
      new RegExp(`stopped after epoch ${runs[0].epochs}: the figure of the validation became no better in 2 epochs`),
    )
    const { code, stderr } = await hebb(['train', '--resume', file, '--device', 'cpu'])
    expect(code).to.equal(1)
    expect(stderr).to.match(/was stopped: /)
  })

  it('takes a plan from a file, and says what is wrong with one', async () => {
    const file = join(folder, 'plan.json')
    const good = {
      methods: ['chtss', 'set'],
      predictor: 'CH3-L3n',
      removal: 'soft-relative',
      initialDensity: 0.3,
      densities: [0.1],
      seeds: [3],
      hidden: [40, 32],
      epochs: 3,
      batchSize: 16,
      device: 'cpu',
      data: { mnist: join(folder, 'a, b=c') },
      out,
    }
    await cp(join(folder, 'a'), good.data.mnist, { recursive: true })
    await writeFile(file, JSON.stringify(good))
    const { code, stderr } = await hebb(['compare', file, '--epochs', '2'])
    expect([code, stderr]).to.deep.equal([0, ''])
    const { plan, runs, table } = await results()
    expect(plan).to.deep.include({
      methods: ['chtss', 'set'],
      predictor: 'CH3-L3n',
      initialDensity: 0.3,
      seeds: [3],
      hidden: { mnist: [40, 32] },
      epochs: 2,
    })
    expect(runs.map((run: any) => run.settings.predictor)).to.deep.equal(['CH3-L3n', undefined])
    expect(table.map((row: any) => row.predictor)).to.deep.equal(['CH3-L3n', undefined])
    expect(plan.removal).to.equal('soft-relative')
    expect(table.map((row: any) => row.removal)).to.deep.equal(['soft-relative', 'soft-relative'])
    expect(table.map((row: any) => row.initialDensity)).to.deep.equal([0.3, undefined])
    expect((await readFile(join(out, 'table.csv'), 'utf8')).split('\n')[0]).to.match(
      /^dataset,method,topology,predictor,removal,initialDensity,density/,
    )
    const wrong: [unknown, RegExp][] = [
      ['{"methods": [', /the plan .*plan.json to be JSON/],
      ['[1]', /to be an object, got \[1\]/],
      [{ ...good, method: 'chts' }, /to hold only methods, densities, .*got 'method'/],
      [{ ...good, epochs: { n: 1 } }, /the plan's 'epochs' to be a number, a text or a list of these, got \{"n":1\}/],
      [{ ...good, seeds: [] }, /the plan's 'seeds'/],
      [{ ...good, seeds: [1, 1] }, /every entry of --seeds once, got '1' twice/],
      [{ ...good, seeds: ['1', '1.0'] }, /every cell once, got mnist-chtss-0.1-seed1 twice/],
      [{ ...good, methods: ['adam'] }, /--method to be one of/],
      [{ ...good, methods: ['set'] }, /no --predictor, as none of set regrows by one/],
      [{ ...good, methods: ['chts'] }, /no --initial-density, as none of chts has a density that decays/],
      [{ ...good, predictor: 'CH9' }, /--predictor to be one of/],
      [
        { ...good, predictor: undefined, methods: ['static', 'gmp'] },
        /no --removal, as none of static, gmp removes links/,
      ],
      [{ ...good, removal: 'all' }, /--removal to be one of/],
      [{ ...good, epochs: 'many' }, /--epochs to be a number, got 'many'/],
      [{ ...good, data: '{"mnist": 3}' }, /--data to be folders by data sets such as .*, got \{"mnist": 3\}/],
      [{ ...good, data: '{mnist}' }, /--data to be folders by data sets such as .*, got \{mnist\}/],
      [{ ...good, data: 'mnist=a,mnist=b' }, /every entry of --data once, got 'mnist' twice/],
      [{ ...good, data: { fashion: 'x' } }, /--data to name data sets of this comparison, mnist, got 'fashion'/],
      [{ ...good, datasets: ['mnist', 'fashion-mnist'], data: 'x' }, /mnist=DIR,fashion-mnist=DIR, got 'x'/],
      [{ ...good, densities: [2] }, /density to be in \(0, 1\]/],
      [{ ...good, out: undefined }, /--out with the folder/],
    ]
    for (const [plan, message] of wrong) {
      await writeFile(file, typeof plan === 'string' ? plan : JSON.stringify(plan))
      const { code, stderr, stdout } = await hebb(['compare', file])
      expect([code, stdout], String(message)).to.deep.equal([1, ''])
      expect(stderr).to.match(message)
      expect(stderr).to.not.match(/\n\s+at /)
    }
    expect((await hebb(['compare', join(folder, 'nowhere.json')])).stderr).to.match(
      /a plan in .*nowhere.json, got none/,
    )
  }).timeout(120_000)

  const refusals =
    'refuses a folder of another comparison, and one that it may not write to, and leaves them as they were'
  it(refusals, async () => {
    expect((await hebb([...matrix(), '--epochs', '1'])).code).to.equal(0)
    const listing = async () => (await readdir(out, { recursive: true })).sort()
    const before = await listing()
    const others: [string[], RegExp][] = [
      [['--epochs', '2'], /one whose epochs is 1 and not 2\. Ask for the same, or give another --out/],
      [['--epochs', '1', '--seeds', '0,1,2'], /one whose seeds is \[0,1\] and not \[0,1,2\]/],
      [['--epochs', '1', '--topology', 'brf'], /one whose topology is not given and not "brf"/],
      [['--epochs', '1', '--learning-rate', '0.1'], /learningRate is 0.025 and not 0.1/],
      [['--epochs', '1', '--data', join(folder, 'b')], /checksums.mnist/],
    ]
    for (const [extra, message] of others) {
      const { code, stderr } = await hebb([...matrix(), ...extra])
      expect(code, String(message)).to.equal(1)
      expect(stderr).to.match(message)
    }
    expect(await listing()).to.deep.equal(before)
    const foreign = join(folder, 'a')
    expect((await hebb([...matrix(), '--out', foreign])).stderr).to.match(
      /to be an empty folder or one of this comparison, got '.*idx/,
    )
    const file = join(folder, 'a file')
    await writeFile(file, '')
    const unwritable = await hebb([...matrix(), '--out', join(file, 'below')])
    expect([unwritable.code, unwritable.stderr]).to.deep.equal([
      1,
      `hebb: Expected to be able to write ${join(file, 'below')}: there is no such folder. Make it first.\n`,
    ])
  }).timeout(60_000)
})
