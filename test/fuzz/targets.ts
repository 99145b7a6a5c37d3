/**
 * What the readers of files may do with any bytes: give what the format says, or throw a HebbError. Each target runs an
 * input and tells in a few words how it ended; ends that were not seen before are worth keeping, for they are other
 * branches of the reader.
 */
import { createHash } from 'node:crypto'
import { rm, writeFile } from 'node:fs/promises'
import { gzipSync } from 'node:zlib'
import { csv } from '../../lib/data/csv.js'
import { parseIdx, readIdx } from '../../lib/data/idx.js'
import { parseNpy } from '../../lib/data/npy.js'
import { Device, type ErrorCode, HebbError, load, Trainer } from '../../lib/index.js'
import { readLines, Tokenizer } from '../../lib/text/index.js'
import { readTensors } from '../../lib/train/safetensors.js'

export type Input = Buffer<ArrayBuffer>

export interface Target {
  readonly name: 'idx' | 'npy' | 'csv' | 'safetensors' | 'checkpoint' | 'tokenizer' | 'lines'
  /** How the input ended; throws when it ended as nothing should. */
  run(input: Buffer, scratch: string): Promise<string>
  mutate(input: Input, random: () => number): Input
}

/** A refusal in a few words: its code, and its message without what varies. */
async function endOf(act: () => unknown, codes: readonly ErrorCode[]): Promise<string> {
  try {
    await act()
    return 'taken'
  } catch (error) {
    if (!(error instanceof HebbError) || !codes.includes(error.code))
      throw new Error(`Expected a HebbError (${codes.join(', ')}), got ${error}`, { cause: error })
    const words = error.message
      .replace(/'[^']*'|\b0x[0-9a-f]+|\b[0-9a-f]{8}\b|\/\S+|[\d.e+-]*\d[\d.e+-]*|NaN|Infinity/g, '#')
      .replace(/#[ x#,]*#/g, '#')
    return `${error.code} ${words.slice(0, 160)}`
  }
}

const interesting = [0, 1, 2, 3, 4, 7, 8, 16, 127, 128, 255]

/** Changes bytes, cuts, repeats, inserts. */
function mutateBytes(input: Input, random: () => number): Input {
  let bytes = Buffer.from(input)
  for (let n = 1 + Math.floor(random() * 4); n > 0; --n) {
    const at = Math.floor(random() * (bytes.length + 1))
    const length = Math.min(bytes.length - at, Math.floor(random() ** 3 * 64) + 1)
    switch (Math.floor(random() * 6)) {
      case 0:
        if (at < bytes.length) bytes[at] = Math.floor(random() * 256)
        break
      case 1:
        if (at < bytes.length) bytes[at] = interesting[Math.floor(random() * interesting.length)] as number
        break
      case 2:
        if (at < bytes.length) bytes[at] ^= 1 << Math.floor(random() * 8)
        break
      case 3:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + length)])
        break
      case 4:
        bytes = Buffer.concat([bytes.subarray(0, at + length), bytes.subarray(at)])
        break
      default:
        bytes = bytes.subarray(0, at)
    }
  }
  return bytes
}

type Json = null | boolean | number | string | Json[] | { [name: string]: Json }
const values: readonly Json[] = [
  null,
  true,
  false,
  0,
  1,
  -1,
  2,
  3,
  0.5,
  -0,
  1e-9,
  1e308,
  2 ** 32,
  2 ** 53,
  99999,
  '',
  'F32',
  'I32',
  'F64',
  'U8',
  'x',
  [],
  {},
  [[]],
  [0, 0],
]

/** Changes one place in a JSON value: takes it out, puts another there, moves it. */
function mutateJson(json: Json, random: () => number): Json {
  const pick = <T>(list: readonly T[]) => list[Math.floor(random() * list.length)] as T
  if (typeof json === 'string' && json.length > 0 && '{["'.includes(json[0] as string) && random() < 0.95) {
    try {
      return JSON.stringify(mutateJson(JSON.parse(json), random))
    } catch {}
  }
  if (typeof json !== 'object' || json === null || random() < 0.08) {
    if (typeof json === 'number' && random() < 0.5) return json + pick([-2, -1, 1, 2, 8, 0.5])
    return pick(values)
  }
  if (Array.isArray(json)) {
    const copy = [...json]
    const at = Math.floor(random() * copy.length)
    const choice = random()
    if (copy.length === 0 || choice < 0.1) copy.push(pick(values))
    else if (choice < 0.2) copy.splice(at, 1)
    else if (choice < 0.3) copy.splice(at, 0, copy[at] as Json)
    else copy[at] = mutateJson(copy[at] as Json, random)
    return copy
  }
  const names = Object.keys(json)
  const name = pick(names)
  const copy = { ...json }
  if (names.length === 0) return pick(values)
  const choice = random()
  if (choice < 0.06) delete copy[name]
  else if (choice < 0.1) copy[pick(names)] = copy[name] as Json
  else if (choice < 0.12) copy[pick(['__proto__x', 'constructor', '', 'made', 'custom', 'with'])] = copy[name] as Json
  else copy[name] = mutateJson(copy[name] as Json, random)
  return copy
}

/** Puts the right length and checksum on a file, so that what lies behind them is reached. */
function sealed(header: Json, data: Buffer): Input {
  const zeros = `sha256:${'0'.repeat(64)}`
  const metadata = (header as { __metadata__?: Json }).__metadata__
  if (typeof metadata === 'object' && metadata !== null && !Array.isArray(metadata) && 'checksum' in metadata)
    metadata.checksum = zeros
  const json = Buffer.from(JSON.stringify(header))
  const start = Buffer.alloc(8 + Math.ceil(json.length / 8) * 8, ' ')
  start.writeBigUInt64LE(BigInt(start.length - 8))
  json.copy(start, 8)
  const sum = `sha256:${createHash('sha256').update(start).update(data).digest('hex')}`
  if (start.includes(zeros)) start.write(sum, start.indexOf(zeros), 'latin1')
  return Buffer.concat([start, data])
}

function mutateFile(input: Input, random: () => number): Input {
  const length = Number(input.readBigUInt64LE(0))
  const header = JSON.parse(input.subarray(8, 8 + length).toString()) as Json
  const data = input.subarray(8 + length)
  if (random() < 0.2 && data.length > 0) {
    const changed = Buffer.from(data)
    for (let n = 1 + Math.floor(random() * 8); n > 0; --n)
      changed[Math.floor(random() * changed.length)] = Math.floor(random() * 256)
    return sealed(header, changed)
  }
  let mutated = header
  for (let n = 1 + Math.floor(random() * 2); n > 0; --n) mutated = mutateJson(mutated, random)
  return typeof mutated === 'object' && mutated !== null && !Array.isArray(mutated)
    ? sealed(mutated, data)
    : Buffer.from(JSON.stringify(mutated))
}

let device: Device | undefined

export const targets: readonly Target[] = [
  {
    name: 'idx',
    async run(input, scratch) {
      const zipped = input.length % 64 === 5
      if (zipped)
        await writeFile(
          scratch,
          input.length % 128 === 5 ? gzipSync(input) : Buffer.concat([Buffer.of(0x1f, 0x8b), input]),
        )
      return endOf(async () => {
        const { shape, data } = zipped ? await readIdx(scratch) : parseIdx(input)
        if (shape.reduce((product, n) => product * n, 1) !== data.length)
          throw new Error(`${shape} is not the shape of ${data.length} bytes`)
      }, ['BAD_FILE'])
    },
    mutate: mutateBytes,
  },
  {
    name: 'npy',
    run: (input) =>
      endOf(() => {
        const { shape, data } = parseNpy(input)
        if (shape.reduce((product, n) => product * n, 1) !== data.length)
          throw new Error(`${shape} is not the shape of ${data.length} elements`)
      }, ['BAD_FILE']),
    mutate: mutateBytes,
  },
  {
    name: 'csv',
    async run(input, scratch) {
      await writeFile(scratch, input)
      return endOf(async () => {
        const { train, test, columns } = await csv(scratch, { targets: 2 })
        if (train.features + train.classes !== columns.length || test.features !== train.features)
          throw new Error(`${columns.length} columns are not those of the samples`)
      }, ['BAD_FILE', 'INVALID_ARGUMENT', 'NON_FINITE'])
    },
    mutate: mutateBytes,
  },
  {
    name: 'safetensors',
    async run(input, scratch) {
      await writeFile(scratch, input)
      return endOf(async () => {
        for (const [name, { shape, data }] of (await readTensors(scratch)).tensors) {
          if (shape.reduce((product, n) => product * n, 1) !== data.length)
            throw new Error(`${shape} is not the shape of ${name}`)
        }
      }, ['BAD_FILE'])
    },
    mutate: (input, random) =>
      random() < 0.3 || input.length < 8 ? mutateBytes(input, random) : safely(() => mutateFile(input, random), input),
  },
  {
    name: 'checkpoint',
    async run(input, scratch) {
      await writeFile(scratch, input)
      device ??= new Device({ kind: 'cpu', threads: 1 })
      const used = device
      const codes: ErrorCode[] = ['BAD_FILE', 'INVALID_ARGUMENT', 'UNSUPPORTED']
      const predicting = await endOf(async () => {
        using predictor = await load(scratch, { device: used })
        await predictor.predict(new Float32Array(predictor.model.inFeatures ?? 1))
      }, codes)
      const training = await endOf(async () => {
        using trainer = await Trainer.load(scratch, { device: used })
        // Beside it: what begins as no file of ours does is not written over.
        await trainer.save(`${scratch}.saved`)
        await rm(`${scratch}.saved`)
        await trainer.measures()
      }, codes)
      if (used.memory().buffers !== 0) throw new Error(`${used.memory().buffers} buffers are left`)
      return `${predicting} | ${training}`
    },
    mutate: (input, random) => safely(() => mutateFile(input, random), input),
  },
  {
    name: 'tokenizer',
    async run(input, scratch) {
      await writeFile(scratch, input)
      return endOf(() => {
        const tokenizer = Tokenizer.from(scratch)
        const ids = tokenizer.encode('a <s> b  In é\u{1f680}1\ud800 "x"')
        if (ids.some((id) => !(id >= 0 && id < tokenizer.size))) throw new Error(`${ids} are not all tokens`)
        tokenizer.decode(ids, { skipSpecial: true })
      }, ['BAD_FILE', 'UNSUPPORTED'])
    },
    mutate: (input, random) =>
      random() < 0.05
        ? mutateBytes(input, random)
        : safely(() => Buffer.from(JSON.stringify(mutateJson(JSON.parse(input.toString()), random))), input),
  },
  {
    name: 'lines',
    async run(input, scratch) {
      const file = input.length % 8 === 5 ? `${scratch}.gz` : scratch
      await writeFile(file, input)
      return endOf(async () => {
        let lines = 0
        for await (const line of readLines(file)) {
          if (line.includes('\n')) throw new Error(`${JSON.stringify(line)} is more than a line`)
          ++lines
        }
        if (file === scratch && lines !== input.toString().split('\n').length - (input.at(-1) === 0x0a ? 1 : 0))
          throw new Error(`${lines} lines are not those of ${input.toString('hex')}`)
      }, ['BAD_FILE'])
    },
    mutate: mutateBytes,
  },
]

/** Inputs that are no files any more cannot be changed by their structure. */
function safely(mutate: () => Input, otherwise: Input): Input {
  try {
    return mutate()
  } catch {
    return otherwise
  }
}
