import { spawn } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import { Trainer } from '../lib/index.js'
import { hebb, main } from './programs.js'
import { clusters, writeIdx } from './synthetic.js'

describe('hebb', () => {
  let folder: string
  const flags = () => ['train', '--data', folder, '--hidden', '48,40', '--density', '0.1', '--device', 'cpu']

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hebb-cli-'))
    for (const [part, samples, seed] of [
      ['train', 320, 1],
      ['t10k', 100, 2],
    ] as const) {
      await writeIdx(folder, part, clusters({ samples, features: 36, classes: 10, seed, noise: 30 }), [6, 6])
    }
  })
  after(() => rm(folder, { recursive: true }))

  it('train --json prints JSON lines and nothing else, an event an epoch and a last one', async () => {
    const { code, stdout, stderr } = await hebb(
      ...flags(),
      '--method',
      'chts',
      '--epochs',
      '4',
      '--seed',
      '5',
      '--json',
    )
    expect([code, stderr]).to.deep.equal([0, ''])
    const events = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(events.map((e) => e.event)).to.deep.equal(['epoch', 'epoch', 'epoch', 'epoch', 'done'])
    const links = Math.round(0.1 * 36 * 48) + Math.round(0.1 * 48 * 40)
    for (const [i, e] of events.slice(0, 4).entries()) {
      expect(e).to.include({ epoch: i + 1, links })
      for (const share of [e.testAccuracy, e.density, e.activeNeurons, e.itop]) expect(share).to.be.within(0, 1)
      for (const time of [e.trainLoss, e.seconds, e.updateSeconds]) expect(time).to.be.at.least(0)
    }
    expect(events[4]).to.include({ epochs: 4, method: 'chts', seed: 5, testAccuracy: events[3].testAccuracy })
    expect(events[4].bestTestAccuracy).to.equal(Math.max(...events.slice(0, 4).map((e) => e.testAccuracy)))
  })

  it('compact writes a smaller network of the same accuracy, and not over its own file', async () => {
    const [file, out] = [join(folder, 'whole.safetensors'), join(folder, 'compact.safetensors')]
    expect(
      (await hebb(...flags(), '--density', '0.03', '--epochs', '2', '--checkpoint', file, '--json')).code,
    ).to.equal(0)
    const { code, stdout, stderr } = await hebb('compact', file, '--out', out, '--json')
    expect([code, stderr]).to.deep.equal([0, ''])
    const { before, after, difference } = JSON.parse(stdout)
    expect(difference).to.be.within(0, 1e-6)
    for (const what of ['nodes', 'links', 'parameters', 'bytes']) expect(after[what], what).to.be.below(before[what])
    const [one, two] = await Promise.all(
      [file, out].map(async (f) => JSON.parse((await hebb('evaluate', f, '--json')).stdout)),
    )
    expect([two.accuracy, two.dataset]).to.deep.equal([one.accuracy, one.dataset])
    expect((await hebb('compact', file, '--out', file)).stderr).to.match(/another file/)
  })

  it('train --optimizer adam has a rate of its own, and is gone on with', async () => {
    const file = join(folder, 'adam.safetensors')
    const rates = (stdout: string) =>
      stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line))
        .filter((e) => e.event === 'epoch')
        .map((e) => e.learningRate)
    const whole = await hebb(
      ...flags(),
      '--optimizer',
      'adam',
      '--epochs',
      '3',
      '--checkpoint',
      file,
      '--every',
      '2',
      '--json',
    )
    expect([whole.code, whole.stderr]).to.deep.equal([0, ''])
    expect(rates(whole.stdout)[0]).to.equal(0.001)
    const other = await hebb(...flags(), '--optimizer', 'adam', '--learning-rate', '0.004', '--epochs', '1', '--json')
    expect(rates(other.stdout)).to.deep.equal([0.004])
    const { notes, run } = await Trainer.load(file, { device: 'cpu' }).then((trainer) => {
      using _ = trainer
      return { notes: trainer.notes, run: trainer.run }
    })
    expect(notes.dataset).to.equal('mnist')
    expect(run?.epoch).to.equal(3)
    const changed = await hebb('train', '--resume', file, '--optimizer', 'sgd')
    expect(changed.code).to.not.equal(0)
    expect(changed.stderr).to.match(/no --optimizer beside --resume/)
  })

  it('train --momentum, --weight-decay, --label-smoothing and --density in percent take effect', async () => {
    const lossOf = async (...more: string[]) => {
      const { code, stdout, stderr } = await hebb(...flags(), '--method', 'set', '--epochs', '2', '--json', ...more)
      expect([code, stderr]).to.deep.equal([0, ''])
      const { trainLoss, settings } = JSON.parse(stdout.trim().split('\n').at(-1) as string)
      return { trainLoss, settings }
    }
    const own = await lossOf()
    expect(await lossOf('--density', '10%')).to.deep.equal(own)
    const named = await lossOf('--momentum', '0.9', '--weight-decay', '5e-4')
    expect(named.trainLoss).to.equal(own.trainLoss)
    expect(named.settings).to.deep.equal({ ...own.settings, momentum: 0.9, weightDecay: 5e-4 })
    for (const part of [
      ['--momentum', '0'],
      ['--weight-decay', '0.1'],
      ['--optimizer', 'adam', '--weight-decay', '0.1'],
      ['--label-smoothing', '0.1'],
    ])
      expect((await lossOf(...part)).trainLoss, part.join(' ')).to.not.equal(own.trainLoss)
  })

  it('the same seed trains to the same result with one thread and two', async () => {
    const run = async (threads: string) => {
      const { stdout } = await hebb(...flags(), '--method', 'chtss', '--epochs', '5', '--threads', threads, '--json')
      return stdout
        .trim()
        .split('\n')
        .map((line) => {
          const { seconds, updateSeconds, wallSeconds, stepSeconds, samplesPerSecond, device, ...rest } =
            JSON.parse(line)
          return rest
        })
    }
    expect(await run('2')).to.deep.equal(await run('1'))
  })

  for (const method of ['set', 'static']) {
    it(`train --method ${method} reads well for a person`, async () => {
      const { code, stdout } = await hebb(...flags(), '--method', method, '--topology', 'brf', '--epochs', '2')
      expect(code).to.equal(0)
      expect(stdout).to.match(/36-48-40-10, density 10\.00%/)
      expect(stdout).to.match(/epoch 2 {2}loss \d\.\d+ {2}accuracy [\d.]+% {2}links 365/)
      expect(stdout).to.match(/test accuracy .* after the last epoch \(best: .* in epoch \d\)/)
      expect(stdout).to.match(/active neurons/)
      expect(stdout).to.match(/speed .* ms a step, .* samples a second/)
    })
  }

  it("train --predictor, --removal and --initial-density replace the method's parts", async () => {
    const run = async (...more: string[]) => {
      const { code, stdout, stderr } = await hebb(...flags(), '--method', 'chts', '--epochs', '3', '--json', ...more)
      expect([code, stderr]).to.deep.equal([0, ''])
      return JSON.parse(stdout.trim().split('\n').at(-1) as string).trainLoss as number
    }
    const own = await run()
    expect(await run('--predictor', 'CH2-L3n')).to.equal(own)
    expect(await run('--removal', 'soft-magnitude')).to.equal(own)
    for (const part of [
      ['--predictor', 'CH3-L3p'],
      ['--removal', 'soft-relative'],
      ['--removal', 'relative'],
    ])
      expect(await run(...part), part.join(' ')).to.not.equal(own)
    for (const method of ['chtss', 'gmp', 'granet']) {
      const fromHalf = await run('--method', method, '--initial-density', '0.5')
      expect(await run('--method', method), method).to.equal(fromHalf)
      expect(await run('--method', method, '--initial-density', '0.3'), method).to.not.equal(fromHalf)
    }
  })

  for (const topology of ['brf-uniform', 'bsw', 'bsf', 'csti', 'erdos-renyi']) {
    it(`train --topology ${topology} begins with that network`, async () => {
      const { code, stdout, stderr } = await hebb(
        ...flags(),
        '--hidden',
        '36,72',
        '--topology',
        topology,
        '--epochs',
        '1',
        '--json',
      )
      expect([code, stderr]).to.deep.equal([0, ''])
      expect(JSON.parse(stdout.trim().split('\n').at(-1) as string).topology).to.equal(topology.replace('-uniform', ''))
    })
  }

  it('stops at SIGINT and says so', async () => {
    const child = spawn(process.execPath, [main, ...flags(), '--epochs', '1000000', '--json'])
    let out = ''
    const code = await new Promise((resolve) => {
      child.stdout.on('data', (chunk) => {
        if (out === '') child.kill('SIGINT')
        out += chunk
      })
      child.on('exit', resolve)
    })
    expect(code).to.equal(130)
    expect(JSON.parse(out.trim().split('\n').at(-1) as string)).to.include({ event: 'aborted' })
  })

  it('goes on after a kill with --resume, to the same result, and evaluates what was saved', async () => {
    const whole = join(folder, 'whole.safetensors')
    const parts = join(folder, 'parts.safetensors')
    const all = ['--method', 'chts', '--epochs', '9', '--seed', '4', '--batch-size', '8', '--json']
    const linesOf = (out: string) => {
      const timeless = (line: string) => {
        const {
          seconds,
          updateSeconds,
          wallSeconds,
          stepSeconds,
          samplesPerSecond,
          device,
          bestTestAccuracy,
          bestEpoch,
          ...rest
        } = JSON.parse(line)
        return rest
      }
      return out.trim().split('\n').map(timeless)
    }
    const expected = await hebb(...flags(), ...all, '--checkpoint', whole)
    expect([expected.code, expected.stderr]).to.deep.equal([0, ''])
    const child = spawn(process.execPath, [main, ...flags(), ...all, '--checkpoint', parts, '--every', '30steps'])
    let out = ''
    await new Promise((resolve) => {
      child.stdout.on('data', (chunk) => {
        out += chunk
        if (out.includes('"epoch":3')) child.kill('SIGKILL')
      })
      child.on('exit', resolve)
    })
    const resumed = await hebb('train', '--resume', parts, '--json')
    expect([resumed.code, resumed.stderr]).to.deep.equal([0, ''])
    const lines = linesOf(resumed.stdout)
    expect(lines.length).to.be.within(2, 8)
    expect(lines).to.deep.equal(linesOf(expected.stdout).slice(-lines.length))
    const evaluations = await Promise.all([whole, parts].map((file) => hebb('evaluate', file, '--json')))
    const [a, b] = evaluations.map(({ stdout }) => JSON.parse(stdout))
    expect([b.accuracy, b.loss]).to.deep.equal([a.accuracy, a.loss])
    expect(a.accuracy).to.equal(lines.at(-1)?.testAccuracy)
    const { accuracy, metrics } = JSON.parse((await hebb('evaluate', whole, '--metrics', '--json')).stdout)
    expect([accuracy, metrics.confusion.length]).to.deep.equal([metrics.accuracy, 10])
    expect((await hebb('evaluate', whole, '--metrics')).stdout).to.match(
      /\ntop-5 accuracy [\d.]+%\nclass +precision +recall +F1 +samples\n(.*\n)+mean( +[\d.]+%){3}/,
    )
    expect((await hebb('evaluate', whole)).stdout).to.match(/mnist test: accuracy [\d.]+%, loss [\d.]+, 100 samples/)
    const described = JSON.parse((await hebb('describe', whole, '--json')).stdout)
    expect([described.links, described.activeNeurons]).to.deep.equal([lines.at(-1)?.links, lines.at(-1)?.activeNeurons])
    expect((await hebb('describe', whole)).stdout).to.match(
      new RegExp(
        /links in 2 sparse layers.*\npercolated: .*\n\nlayer 0 {6}36 -> 48: .*\n/.source +
          /inputs .*\noutputs .*\nclustering +0\.\d+\npath length/.source,
      ),
    )
    const others = await mkdtemp(join(folder, 'others-'))
    await writeIdx(others, 'train', clusters({ samples: 320, features: 36, classes: 10, seed: 9, noise: 30 }), [6, 6])
    await writeIdx(others, 't10k', clusters({ samples: 100, features: 36, classes: 10, seed: 2, noise: 30 }), [6, 6])
    const elsewhere = await hebb('train', '--resume', whole, '--data', others)
    expect([elsewhere.code, elsewhere.stderr]).to.deep.equal([
      1,
      `hebb: Expected the data of mnist that the run of ${whole} began with, got others. Give their place by --data.\n`,
    ])
    const again = await hebb('train', '--resume', parts)
    expect([again.code, again.stderr]).to.deep.equal([
      1,
      'hebb: Expected a run that is not finished, got one that has done its 9 epochs. Begin one with fit().\n',
    ])
    const conflict = await hebb('train', '--resume', parts, '--method', 'set', '--seed', '7')
    expect([conflict.code, conflict.stderr]).to.deep.equal([
      1,
      'hebb: Expected no --method beside --resume: the run goes on as it began\n',
    ])
  }).timeout(60000)

  it('saves when it is interrupted, and says how to go on', async () => {
    const file = join(folder, 'interrupted.safetensors')
    const child = spawn(process.execPath, [
      main,
      ...flags(),
      '--epochs',
      '1000000',
      '--checkpoint',
      file,
      '--every',
      '1000000',
    ])
    let out = ''
    const code = await new Promise((resolve) => {
      child.stdout.on('data', (chunk) => {
        if (!out.includes('epoch ') && String(chunk).includes('epoch ')) child.kill('SIGINT')
        out += chunk
      })
      child.on('exit', resolve)
    })
    expect(code).to.equal(130)
    expect(out).to.match(/stopped in epoch \d+; go on with: hebb train --resume .*interrupted\.safetensors/)
    const { accuracy } = JSON.parse((await hebb('evaluate', file, '--json')).stdout)
    expect(accuracy).to.be.within(0, 1)
  })

  it('tells bad flags on stderr, with what would do', async () => {
    const fails: [string[], RegExp][] = [
      [['--predictor', 'CN'], /--predictor to be one of CH2-L3n, CH3-L3n, CH2-L3p, CH3-L3p, got 'CN'/],
      [['--method', 'set', '--predictor', 'CH3-L3p'], /Expected no --predictor for the method 'set'/],
      [
        ['--removal', 'random'],
        /--removal to be one of magnitude, relative, soft-magnitude, soft-relative, got 'random'/,
      ],
      [
        ['--method', 'gmp', '--removal', 'magnitude'],
        /Expected no --removal for the method 'gmp', which removes no links/,
      ],
      [
        ['--method', 'chts', '--initial-density', '0.1'],
        /Expected no --initial-density for the method 'chts', which has no density that decays, got 0.1/,
      ],
      [['--method', 'chtss', '--initial-density', '0'], /initial-density to be in \(0, 1\], got 0/],
      [
        ['--method', 'chtss', '--density', '0.2', '--initial-density', '0.1'],
        /--initial-density to be at least 0.2, the density that it falls to, got 0.1/,
      ],
      [
        ['--method', 'adam'],
        /--method to be one of chts, chtss, cht, set, rigl, mest, gmp, granet, static, dense, got 'adam'/,
      ],
      [['--method', 'dense', '--density', '0.5'], /to have density 1, to be fully connected, got 0.5/],
      [['--optimizer', 'lbfgs'], /--optimizer to be one of sgd, adam/],
      [['--dataset', 'cifar'], /--dataset to be one of mnist, fashion-mnist/],
      [['--topology', 'ring'], /--topology to be one of brf, brf-uniform, bsw, bsf, csti, erdos-renyi/],
      [['--distribution', 'even'], /--distribution to be one of uniform, erk, got 'even'/],
      [['--density', 'some'], /--density to be a number/],
      [['--density', '2'], /density to be in \(0, 1\]/],
      [['--data', '/nowhere'], /IDX file at \/nowhere/],
      [['--dataset', 'fashion-mnist', '--data', '/nowhere'], /IDX file at \/nowhere/],
      [['--epochs', '0'], /epochs to be an integer/],
      [['--batch-size', '1000'], /batchSize to be at most the 320 samples/],
      [['--device', 'tpu'], /device to be 'auto', 'cpu' or 'cuda'/],
      [['--deterministic', 'nowhere'], /deterministic to be 'device' or 'everywhere'/],
      [['--frobnicate'], /unknown option/],
      [['--every', '0'], /--every to be a number of epochs, or of steps as in 500steps, got '0'/],
      [['--resume', '/nowhere'], /(checkpoint at \/nowhere|no --\w+ beside --resume)/],
    ]
    for (const [extra, message] of fails) {
      const { code, stdout, stderr } = await hebb(...flags(), ...extra)
      expect(code, extra.join(' ')).to.equal(1)
      expect(stderr, extra.join(' ')).to.match(message)
      expect(stdout + stderr).to.not.match(/\n\s+at /)
    }
  }).timeout(60000)

  it('train --report writes what one run was like', async () => {
    const file = join(folder, 'run.html')
    const { code, stderr } = await hebb(...flags(), '--method', 'chts', '--epochs', '3', '--report', file)
    expect([code, stderr]).to.deep.equal([0, ''])
    const html = await readFile(file, 'utf8')
    expect(html).to.match(/<title>chts on mnist<\/title>/)
    for (const part of [
      'Accuracy on the test set',
      'After epoch 1',
      'After epoch 3',
      'links of every input',
      'learningRate',
    ])
      expect(html).to.include(part)
    const lost = await hebb(...flags(), '--epochs', '1', '--report', join(folder, 'no', 'run.html'))
    expect([lost.code, lost.stderr]).to.deep.equal([
      1,
      `hebb: Expected to be able to write ${join(folder, 'no', 'run.html')}: there is no such folder. Make it first.\n`,
    ])
  })

  it('doctor tells what was loaded', async () => {
    const { stdout } = await hebb('doctor', '--json')
    const lines = [
      'hebb',
      'node',
      'platform',
      'addon',
      'processor',
      'simd',
      'threads',
      'cuda',
      'cublas',
      'deterministic',
      'auto',
    ]
    expect(JSON.parse(stdout)).to.have.all.keys(...lines)
    expect((await hebb('doctor')).stdout).to.match(/simd .*portable/)
  })
})
