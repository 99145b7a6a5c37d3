/**
 * npm run bench -- [names...] [--rounds 5] [--threads 2] [--full] [--programs 'spmm|sddmm'] [--save] [--quick]
 *
 * Runs the benchmarks of the given names, one after the other, and prints one table: the median of the rounds, and
 * their least and largest. Without names: all but the C++ ones, which have to be built, huge, and tfjs, which installs
 * TensorFlow.js; about a quarter of an hour. `all` runs those, too, and every shape of all (--full). What is compared
 * is measured in turns in one run. --save writes bench/results/<date>-<processor>.json, rows of every shape included,
 * and plots. --programs chooses among the C++ ones. --quick only shows that everything runs.
 */
import { parseArgs } from 'node:util'
import { Device } from '../lib/index.js'
import { contention } from './contention.js'
import { cpp } from './cpp.js'
import { growth } from './growth.js'
import { huge } from './huge.js'
import { loop } from './loop.js'
import {
  type Bench,
  type BenchOptions,
  describeRun,
  hebbVersion,
  processorName,
  progress,
  type Report,
  save,
  table,
} from './measure.js'
import { memory } from './memory.js'
import { operations } from './operations.js'
import { peers } from './peers.js'
import { predictors } from './predictors.js'
import { responsiveness } from './responsiveness.js'
import { search } from './search.js'
import { server } from './server.js'
import { step } from './step.js'
import { tfjs } from './tfjs.js'
import { translation } from './translation.js'
import { update } from './update.js'

const benches: Record<string, Bench> = {
  step,
  translation,
  update,
  contention,
  responsiveness,
  operations,
  peers,
  predictors,
  growth,
  loop,
  search,
  server,
  memory,
  huge,
  tfjs,
  cpp,
}
const named = ['cpp', 'huge', 'tfjs'] // only when they are named, or with all
const usual = Object.keys(benches).filter((name) => !named.includes(name))

function fail(message: string): never {
  console.error(message)
  process.exit(2)
}

function wholeNumber(text: string, flag: string): number {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 1)
    fail(`Expected --${flag} to be a whole number of at least 1, got '${text}'`)
  return value
}

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '5' },
    threads: { type: 'string', default: '2' },
    full: { type: 'boolean', default: false },
    programs: { type: 'string', default: '.' },
    save: { type: 'boolean', default: false },
    quick: { type: 'boolean', default: false },
  },
})
const all = positionals.includes('all')
const names = all ? Object.keys(benches) : positionals.length > 0 ? positionals : usual
const unknown = [...names, ...positionals].find((name) => name !== 'all' && !Object.hasOwn(benches, name))
if (unknown !== undefined) fail(`Expected names of ${Object.keys(benches).join(', ')} or all, got '${unknown}'`)
if (flags.save && flags.quick) fail('Expected --save or --quick: the numbers of a quick run are not worth keeping')
const options: BenchOptions = {
  rounds: flags.quick ? 2 : wholeNumber(flags.rounds, 'rounds'),
  threads: wholeNumber(flags.threads, 'threads'),
  quick: flags.quick,
  full: (flags.full || all) && !flags.quick,
  programs: new RegExp(flags.programs),
}

const reports: Record<string, Report> = {}
for (const name of names) {
  reports[name] = await (benches[name] as Bench)(options)
  progress('')
}

using device = new Device({ kind: 'cpu', threads: options.threads })
const { simd } = device.info
const warning = options.quick ? ', quick: numbers mean nothing' : ''
console.log(
  `hebb ${await hebbVersion()}, ${processorName()}, ${simd}, node ${process.version}; ${options.rounds} rounds` +
    warning,
)
console.log(table(reports))
if (flags.save) {
  const command = [
    'npm run bench --',
    ...positionals,
    `--rounds ${options.rounds}`,
    `--threads ${options.threads}`,
    ...(flags.full ? ['--full'] : []),
    ...(flags.programs === '.' ? [] : [`--programs '${flags.programs}'`]),
    '--save',
  ].join(' ')
  console.log(`saved as ${(await save(await describeRun(command, simd, options, reports))).join(', ')}`)
}
