/** The command line on a task that is no classification: numbers out of a CSV file. */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { beginRun, divide, notesOf, readData } from '../lib/cli/run.js'
import { csv } from '../lib/data/index.js'
import { Device, load } from '../lib/index.js'
import { htmlReport } from '../lib/report/html.js'
import { parseEvents, runOf } from '../lib/report/log.js'
import { betterFirst, csvTable, markdownTable, tableOf } from '../lib/report/table.js'
import { read, settingsOf, valuesOf } from '../lib/settings/flags.js'
import { hebb } from './programs.js'
import { csvText } from './synthetic.js'

const eventsOf = (stdout: string): any[] =>
  stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))

const TIMES = ['seconds', 'updateSeconds', 'wallSeconds', 'stepSeconds', 'samplesPerSecond', 'secondsPerEpoch']
const timeless = (value: unknown) =>
  JSON.parse(JSON.stringify(value, (key, inner) => (TIMES.includes(key) ? undefined : inner)))

describe('hebb --task regression', () => {
  let folder: string
  let file: string
  const flags = (...more: string[]) => [
    ...['--task', 'regression', '--data', file, '--targets', '2', '--hidden', '40,32', '--device', 'cpu'],
    ...more,
  ]

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hebb-regression-'))
    file = join(folder, 'table.csv')
    await writeFile(file, csvText({ samples: 400, inputs: 6, targets: 2 }))
  })
  after(() => rm(folder, { recursive: true }))

  it('train learns, and tells the error of every epoch; the best is the lowest', async () => {
    const { code, stdout, stderr } = await hebb('train', ...flags('--method', 'chts', '--epochs', '8', '--json'))
    expect([code, stderr]).to.deep.equal([0, ''])
    const events = eventsOf(stdout)
    const errors = events.slice(0, 8).map((event) => event.testMeanSquaredError)
    expect(errors.at(-1)).to.be.within(0, 0.7 * errors[0])
    // Who predicts the means has 1.
    expect(errors.at(-1)).to.be.below(0.7)
    const done = events.at(-1)
    expect(done).to.deep.include({
      event: 'done',
      dataset: 'csv',
      testMeanSquaredError: errors.at(-1),
      bestTestMeanSquaredError: Math.min(...errors),
      bestEpoch: errors.indexOf(Math.min(...errors)) + 1,
    })
    expect(done.settings).to.deep.include({ task: 'regression', targets: 2, testSplit: 0.2, density: 0.1 })
    expect(stdout).to.not.match(/accuracy/i)

    const plain = await hebb('train', ...flags('--method', 'chts', '--epochs', '2', '--report', join(folder, 'r.html')))
    expect(plain.stdout).to.match(/chts on csv: 6-40-32-2, density 10\.00%/)
    expect(plain.stdout).to.match(/epoch 2 {2}loss \d\.\d+ {2}mean squared error \d\.\d+ {2}links/)
    expect(plain.stdout).to.match(/test mean squared error \d\.\d+ after the last epoch \(best: \d\.\d+ in epoch \d\)/)
    const html = await readFile(join(folder, 'r.html'), 'utf8')
    expect(html).to.include('Mean squared error on the test set').and.include('test mean squared error, last epoch')
    expect(html).to.not.match(/accuracy|NaN|undefined/i)
  })

  it('goes on from a checkpoint to the same result, and evaluates it as it was trained', async () => {
    const [whole, parts] = [join(folder, 'whole.safetensors'), join(folder, 'parts.safetensors')]
    const run = flags('--method', 'set', '--epochs', '5', '--json', '--checkpoint')
    const all = eventsOf((await hebb('train', ...run, whole)).stdout)
    // The run as it is after its third epoch.
    const { given } = read('train', { task: 'regression', targets: '2', hidden: '40,32', method: 'set', epochs: '5' })
    const settings = settingsOf(valuesOf('train', given))
    const data = divide(await readData(settings, file), 0)
    using device = new Device({ kind: 'cpu' })
    const { trainer, epochs } = beginRun(settings, data, device)
    for await (const { epoch } of epochs({})) if (epoch === 3) break
    await trainer.save(parts, { notes: notesOf(settings, file, data) })
    trainer.dispose()
    const resumed = await hebb('train', '--resume', parts, '--json')
    expect([resumed.code, resumed.stderr]).to.deep.equal([0, ''])
    const rest = timeless(eventsOf(resumed.stdout))
    expect(rest.map((event: any) => `${event.event} ${event.epoch}`)).to.deep.equal(['epoch 4', 'epoch 5', 'done 5'])
    expect(rest.slice(0, 2)).to.deep.equal(timeless(all.slice(3, 5)))
    const whatItWas = await readFile(file, 'utf8')
    await writeFile(file, whatItWas.replace(/\n1/, '\n2'))
    expect((await hebb('train', '--resume', parts)).stderr).to.match(/Expected the data of csv that the run of/)
    await writeFile(file, whatItWas)
    const evaluated = JSON.parse((await hebb('evaluate', whole, '--json')).stdout)
    expect(evaluated).to.deep.include({
      dataset: 'csv',
      samples: 80,
      meanSquaredError: all.at(-1).testMeanSquaredError,
    })
    expect((await hebb('evaluate', whole)).stdout).to.match(
      /^csv test: mean squared error \d\.\d+, 80 samples in [\d.]+ s\n$/,
    )

    // Another file is seen as the first one was: in its units.
    const other = join(folder, 'other.csv')
    const text = csvText({ samples: 100, inputs: 6, targets: 2, seed: 5 })
    await writeFile(other, text)
    const { error } = await (async () => {
      using predictor = await load(whole, { device: 'cpu' })
      const columns = JSON.parse(predictor.notes.columns)
      const { test } = await csv(other, { targets: 2, columns })
      const outputs = await predictor.predict(test)
      const targets = test.targets as Float32Array
      return { error: outputs.reduce((sum, v, i) => sum + (v - targets[i]) ** 2, 0) / outputs.length }
    })()
    const elsewhere = JSON.parse((await hebb('evaluate', whole, '--data', other, '--json')).stdout)
    expect(elsewhere.samples).to.equal(20)
    expect(elsewhere.meanSquaredError).to.be.closeTo(error, 1e-5 * error)
    await writeFile(other, text.replace('x3', 'u'))
    const strange = await hebb('evaluate', whole, '--data', other)
    expect([strange.code, strange.stderr]).to.deep.equal([
      1,
      `hebb: Expected column 4 of ${other} to be 'x3', got 'u'. Give a file with the columns that the network was ` +
        'trained on.\n',
    ])
    const classes = await hebb('evaluate', whole, '--dataset', 'mnist', '--targets', '2')
    expect(classes.stderr).to.match(/no --targets for the dataset 'mnist', which has targets of its own/)
    const sentences = await hebb('evaluate', whole, '--source', 'F')
    expect(sentences.stderr).to.match(/Expected no --source for .*, which is no model of text, got F/)
    const compact = await hebb('compact', whole, '--out', join(folder, 'small.safetensors'))
    expect([compact.code, compact.stderr]).to.deep.equal([0, ''])
    const small = JSON.parse((await hebb('evaluate', join(folder, 'small.safetensors'), '--json')).stdout)
    expect(small.meanSquaredError).to.be.closeTo(evaluated.meanSquaredError, 1e-5)
  })

  it('compare makes a table of errors, and a report', async () => {
    const out = join(folder, 'study')
    const { code, stdout, stderr } = await hebb(
      'compare',
      ...flags('--methods', 'set,static', '--seeds', '0,1', '--epochs', '3', '--out', out),
    )
    expect([code, stderr]).to.deep.equal([0, ''])
    expect(stdout.split('\n')[0]).to.match(/^1\/4 csv-set-0.1-seed0: \d\.\d+ after 3 epochs$/)
    expect(stdout).to.match(/\| test mean squared error, last epoch \| best epoch \(picked on the test set\) \|/)
    const { table, runs, plan } = JSON.parse(await readFile(join(out, 'results.json'), 'utf8'))
    expect(plan).to.deep.include({ task: 'regression', targets: 2, testSplit: 0.2, datasets: ['csv'] })
    for (const row of table) {
      const own = runs.filter((run: any) => run.method === row.method)
      const mean = own.reduce((sum: number, run: any) => sum + run.testMeanSquaredError / 2, 0)
      expect(row.meanSquaredError.mean).to.be.closeTo(mean, 1e-12)
      expect(row.bestMeanSquaredError.mean).to.be.at.most(mean)
      expect(row).to.include({ task: 'regression' }).and.not.have.property('accuracy')
    }
    expect((await readFile(join(out, 'table.csv'), 'utf8')).split('\n')[0]).to.include(
      ',failed,meanSquaredError,meanSquaredErrorStandardError,bestMeanSquaredError,',
    )
    expect(await readFile(join(out, 'report.html'), 'utf8')).to.include('Mean squared error on the test set')
    // Held out of the training set, it is measured in both tasks alike.
    const held = await hebb('train', ...flags('--validation-split', '64', '--epochs', '1', '--json'))
    expect(eventsOf(held.stdout)[1]).to.include.keys('validationMeanSquaredError', 'bestValidationMeanSquaredError')
    // The file has changed: these runs would not be comparable.
    const refused = await hebb(
      'compare',
      ...flags('--methods', 'set,static', '--seeds', '0,1', '--epochs', '3', '--out', out, '--test-split', '10%'),
    )
    expect(refused.stderr).to.match(/one whose testSplit is 0.2 and not 0.1/)

    // Beside runs that classify, each row has its own columns.
    const logs = (await readdir(join(out, 'cells'))).filter((name) => name.endsWith('.jsonl'))
    const all = await Promise.all(
      logs.map(async (name) => runOf(parseEvents(await readFile(join(out, 'cells', name), 'utf8')), name)),
    )
    const { task: _, ...settings } = runs[0].settings
    const classified = {
      ...runs[0],
      settings: { ...settings, dataset: 'mnist' },
      testAccuracy: 0.9,
      bestTestAccuracy: 1,
    }
    const rows = tableOf([...all, { epochs: [], topologies: [], done: classified }])
    expect(rows.map((row) => row.task ?? 'none')).to.deep.equal(['regression', 'regression', 'none'])
    const [head, , ...body] = markdownTable(rows).split('\n')
    expect(head).to.match(/test accuracy %, last epoch .*test mean squared error, last epoch/)
    expect(new Set([head, ...body].map((line) => line.split('|').length)).size).to.equal(1)
    expect(body[2]).to.match(/\| 90.00 +\| 100.00 +\| +\| +\|/)
    const lines = csvTable(rows).trim().split('\n')
    expect(new Set(lines.map((line) => line.split(',').length)).size).to.equal(1)
    expect(htmlReport({ title: 'both', runs: all, settings: {} })).to.include('test mean squared error')
    const sorted = rows.slice(0, 2).sort(betterFirst)
    expect(sorted[0].meanSquaredError?.mean).to.be.at.most(sorted[1].meanSquaredError?.mean as number)
  }).timeout(60_000)

  it('tells what does not fit the task, with what would do', async () => {
    const cases: [string[], RegExp][] = [
      [['--task', 'regression'], /--data with the CSV file: a line with the names of its columns/],
      [
        ['--task', 'regression', '--dataset', 'mnist'],
        /--dataset to be one of csv for the task 'regression', got 'mnist'\. Give --task classification for that/,
      ],
      [['--dataset', 'csv', '--data', file], /got 'csv'\. Give --task regression for that/],
      [['--targets', '2'], /no --targets for the dataset 'mnist', which has targets of its own, got 2/],
      [['--test-split', '0.1'], /no --test-split for the dataset 'mnist', which has a test set of its own/],
      [['--task', 'regresion'], /--task to be 'classification', 'regression', 'translation' or 'lm', got 'regresion'/],
      [flags('--test-split', '100%'), /--test-split to be in \(0, 1\), got 100%/],
      [flags('--targets', '8'), /targets to leave inputs among the 8 columns/],
    ]
    for (const [args, message] of cases) {
      const { code, stderr } = await hebb('train', ...args)
      expect(code, args.join(' ')).to.equal(1)
      expect(stderr, args.join(' ')).to.match(message)
    }
    const none = await hebb('compare', '--targets', '2', '--out', join(folder, 'none'))
    expect(none.stderr).to.match(/no --targets, as none of mnist is a CSV file, got 2/)
  }).timeout(60_000)
})
