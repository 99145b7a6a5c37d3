/** The table of flags: what each command takes, how values are read, and what follows from it. */
import { expect } from 'chai'
import { Command } from 'commander'
import { defineAverage } from '../lib/cli/average.js'
import { defineBuild } from '../lib/cli/build.js'
import { defineCompact } from '../lib/cli/compact.js'
import { defineCompare } from '../lib/cli/compare.js'
import { defineDescribe } from '../lib/cli/describe.js'
import { defineDoctor } from '../lib/cli/doctor.js'
import { defineEvaluate } from '../lib/cli/evaluate.js'
import { defineGenerate } from '../lib/cli/generate.js'
import { defineExport, defineImport } from '../lib/cli/hugging_face.js'
import { definePredict } from '../lib/cli/predict.js'
import { defineTrain } from '../lib/cli/train.js'
import { defineTranslate } from '../lib/cli/translate.js'
import { HebbError } from '../lib/index.js'
import type { CommandName } from '../lib/settings/flag_table.js'
import { isSetting, lists, planKeys, read, settingsOf, takenBy, typed, valuesOf } from '../lib/settings/flags.js'
import { suggestion } from '../lib/suggestion.js'

const program = new Command('hebb').version('1.2.3')
const defined = [
  defineTrain,
  defineCompare,
  defineEvaluate,
  definePredict,
  defineTranslate,
  defineGenerate,
  defineDescribe,
  defineCompact,
]
for (const define of [...defined, defineAverage, defineImport, defineExport, defineDoctor, defineBuild]) define(program)
const commands = Object.fromEntries(program.commands.map((command) => [command.name(), command]))
const flagsOf = (name: string) => commands[name].options.map((option) => option.long?.slice(2) as string)
const refusal = (act: () => unknown): string => {
  try {
    act()
  } catch (error) {
    expect(error).to.be.instanceOf(HebbError)
    return (error as HebbError).message
  }
  return expect.fail('Expected a refusal, got none')
}
const settings = (texts: Record<string, string>) => settingsOf(valuesOf('train', read('train', texts).given))

describe('flags', () => {
  it('train and compare take the same for a run: a list of what is compared', () => {
    const plural = Object.fromEntries(Object.entries(lists))
    const ofRun = takenBy('train')
      .filter(isSetting)
      .map((name) => typed(name))
    expect(ofRun).to.have.length.above(15)
    for (const name of ofRun) expect(flagsOf('compare')).to.include(plural[name] ?? name)
    // All others, too, but for where things are kept: compare keeps the checkpoints, the logs and a report of all runs
    // in one folder, and goes on with them when it is called again.
    const ofOne = { train: ['checkpoint', 'resume', 'report'], compare: ['out'] }
    const [train, compare] = [takenBy('train'), takenBy('compare')]
    expect(train.filter((name) => !compare.includes(name))).to.deep.equal(ofOne.train)
    expect(compare.filter((name) => !train.includes(name))).to.deep.equal(ofOne.compare)
    for (const name of ['device', 'threads', 'blas', 'deterministic', 'json'])
      for (const command of ['train', 'compare', 'evaluate']) expect(flagsOf(command), command).to.include(name)
  })

  it('help tells of every command what it takes, what holds by default, and examples that it reads', () => {
    for (const [name, command] of Object.entries(commands)) {
      let help = ''
      command.configureOutput({
        writeOut: (text) => {
          help += text
        },
      })
      command.outputHelp()
      for (const flag of flagsOf(name)) expect(help, name).to.include(`--${flag}`)
      const examples = help.split('Examples:\n')[1].trim().split('\n')
      // Two or three; more of train, which has several tasks, and one where there is nothing to say.
      const least = flagsOf(name).length > 0 ? 2 : 1
      expect(examples.length, name).to.be.within(least, name === 'train' ? 9 : 3)
      for (const example of examples) {
        const [hebb, called, ...words] = example.replace(/ < .*/, '').trim().split(' ')
        expect([hebb, called]).to.deep.equal(['hebb', name])
        const { operands, unknown } = command.parseOptions(words)
        expect(unknown, example).to.deep.equal([])
        expect(operands.length, example).to.be.at.most({ average: 9, predict: 2 }[name] ?? 1)
        const { task } = command.opts()
        const mode = (['translation', 'lm'].includes(task) ? task : name) as CommandName
        const { given } = read(mode, { out: 'x', ...command.opts() })
        if (!('resume' in given)) valuesOf(mode, given)
        for (const flag of Object.keys(command.opts())) command.setOptionValue(flag, undefined)
      }
    }
    const help = commands.train.helpInformation()
    for (const text of [
      /--epochs <n> +passes over the training set \(default: 100\)/,
      /--initial-density <share> +[\s\S]*for chtss,\s+gmp,\s+granet/,
      /--momentum <x> +.*\s+along, for sgd \(default: 0.9\)/,
      /default: classification: 0.01;\s+regression: 0.1;\s+translation: 0.05;\s+lm: 0.3;\s+dense: 1/,
      /--targets <n> .*\s+to be predicted, for csv \(default: 1\)/,
      /sgd: 0.025; adam: 0.001;\s+shakespeare: 0.003/,
      /for classification,\s+translation\s+\(default: 0\)/,
    ])
      expect(help).to.match(text)
  })

  it('a share is a number or a percentage, and the same number either way', () => {
    for (const [text, value] of [
      ['0.01', 0.01],
      ['1%', 0.01],
      ['0.7%', 0.007],
      ['12.5 %', 0.125],
      ['100%', 1],
      ['1e-3', 0.001],
    ] as const)
      expect(settings({ density: text }).density, text).to.equal(value)
    expect(settings({ method: 'chtss', initialDensity: '30%' }).initialDensity).to.equal(0.3)
    expect(refusal(() => settings({ density: '101%' }))).to.equal(
      'Expected --density to be in (0, 1], got 101%. Write 0.05, or 5%.',
    )
    for (const text of ['%', '1%%', 'a%', '', ' '])
      expect(
        refusal(() => settings({ density: text })),
        text,
      ).to.match(/--density to be a number such as 0.05, or 5%/)
  })

  it('what is not given is by default, by the other flags where it depends on them', () => {
    expect(settings({})).to.deep.equal({
      method: 'chts',
      density: 0.01,
      seed: 0,
      dataset: 'mnist',
      validationSplit: 0,
      distribution: 'uniform',
      hidden: [1568, 1568, 1568],
      epochs: 100,
      batchSize: 32,
      optimizer: 'sgd',
      learningRate: 0.025,
    })
    expect(settings({ method: 'dense', dataset: 'cifar10', optimizer: 'adam' })).to.deep.include({
      density: 1,
      hidden: [3072, 3072, 3072],
      learningRate: 0.001,
    })
    expect(settings({ task: 'regression' })).to.deep.include({
      task: 'regression',
      dataset: 'csv',
      density: 0.1,
      targets: 1,
      testSplit: 0.2,
      hidden: [256, 256, 256],
    })
    // As logs and folders have it from before there was a choice.
    expect(settings({ task: 'classification', labelSmoothing: '0' })).to.deep.equal(settings({}))
    expect(settings({ labelSmoothing: '10%' }).labelSmoothing).to.equal(0.1)
  })

  it('refuses what does not go together, and says what would do', () => {
    const cases: [Record<string, string>, RegExp][] = [
      [{ method: 'chst' }, /got 'chst'\. Did you mean 'chts'\?$/],
      [{ dataset: 'fashion' }, /got 'fashion'\. Did you mean 'fashion-mnist'\?$/],
      [{ predictor: 'ch3-l3P' }, /Did you mean 'CH3-L3p'\?$/],
      [{ dataset: 'imagenet' }, /got 'imagenet'$/],
      [{ optimizer: 'adam', momentum: '0.5' }, /no --momentum for the optimizer 'adam', which has none, got 0\.5$/],
      [{ labelSmoothing: '1' }, /--label-smoothing to be in \[0, 1\), got 1\. Write 0.05, or 5%/],
      [{ labelSmoothing: '-1%' }, /--label-smoothing to be/],
      [{ task: 'regression', labelSmoothing: '0.1' }, /for the task 'regression', which has none, got 0\.1$/],
      [{ momentum: '1.5' }, /--momentum to be a number between 0 and 1, got 1\.5/],
      [{ weightDecay: '-1' }, /--weight-decay to be a number of at least 0/],
      [{ every: '5' }, /--every beside --checkpoint or --resume, got it alone/],
      [{ threads: '2000' }, /--threads to be an integer between 0 and 1024, got 2000/],
      [{ device: 'gpu' }, /--device to be 'auto', 'cpu' or 'cuda', got 'gpu'/],
      [{ report: '' }, /--report to be a path, got ''/],
    ]
    for (const [texts, message] of cases) expect(refusal(() => settings(texts))).to.match(message)
    expect(settings({ every: '5', checkpoint: 'x' }).epochs).to.equal(100)
    expect(refusal(() => read('compact', {}))).to.equal(
      'Expected --out with the file where the compact network goes, got none',
    )
  })

  it('a plan holds what compare takes', () => {
    expect([...planKeys].map((key) => typed(key as never)).sort()).to.deep.equal(
      flagsOf('compare')
        .filter((name) => name !== 'json')
        .sort(),
    )
  })

  it('suggests the nearest name, and none that is far', () => {
    const names = ['chts', 'chtss', 'cht', 'set', 'rigl', 'static']
    for (const [word, name] of [
      ['CHTS', 'chts'],
      ['rgil', 'rigl'],
      ['statci', 'static'],
      ['stat', 'static'],
    ])
      expect(suggestion(word, names), word).to.equal(`. Did you mean '${name}'?`)
    for (const word of ['adam', 'x', '']) expect(suggestion(word, names), word).to.equal('')
  })
})
