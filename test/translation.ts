/** The golden data of Transformers: folders of test/vectors, by another program, in double precision. */
import { readFileSync } from 'node:fs'
import { type Sequences, type Tape, Tokens } from '../lib/autograd.js'
import { Tensor } from '../lib/tensor.js'

export interface Golden {
  settings: {
    [name in 'width' | 'ff' | 'heads' | 'layers' | 'sourceVocabulary' | 'targetVocabulary' | 'padding']: number
  } & { labelSmoothing: number }
  sourceLengths: number[]
  targetLengths: number[]
  source: number[][]
  targetInput: number[][]
  targetOutput: number[][]
  loss: number
  /** [sentences][places][words] */
  logits: number[][][]
  tokens: number
}

const read = (folder: string, file: string) => readFileSync(new URL(`vectors/${folder}/${file}`, import.meta.url))
export const goldenOf = (folder: string): Golden => JSON.parse(read(folder, 'golden.json').toString())

/** Tensors, as double precision. */
export function tensorsOf(folder: string, file: string): Map<string, { shape: number[]; data: Float64Array }> {
  const bytes = read(folder, file)
  const length = Number(bytes.readBigUInt64LE(0))
  const header = JSON.parse(bytes.subarray(8, 8 + length).toString())
  delete header.__metadata__
  return new Map(
    Object.entries<{ dtype: string; shape: number[]; data_offsets: [number, number] }>(header).map(([name, one]) => {
      const [begin, end] = one.data_offsets.map((offset) => 8 + length + offset)
      const numbers = new (one.dtype === 'F32' ? Float32Array : Float64Array)(bytes.buffer.slice(begin, end))
      return [name, { shape: one.shape, data: Float64Array.from(numbers) }]
    }),
  )
}

/** Their names for our parameters. */
export function nameOf(ours: string): string {
  return ours
    .replace(/^modules\.0\./, '')
    .replace(/^(encoder|decoder)\.norm\./, '$1.final.norm.')
    .replace('.crossAttention.', '.cross.')
    .replace('.module.attention.', '.')
    .replace('.feedForward.module.in.', '.ffn.w1.')
    .replace('.feedForward.module.out.', '.ffn.w2.')
    .replace('.feedForward.', '.ffn.')
    .replace('.module.norm.', '.norm.')
    .replace('.query.', '.q.')
    .replace('.key.', '.k.')
    .replace('.value.', '.v.')
    .replace('.output.', '.o.')
    .replace('.embedding.', '.')
    .replace(/\.(weights|gain)$/, '.weight')
}

/** Sentences without padding, as a step has them, and an axis that a recorded operation gives its columns. */
export function tokensOf(tape: Tape, sentences: number[][], lengths: number[]): Tokens {
  const { device, program } = tape
  const own = <T extends { dispose(): void }>(memory: T) => tape.own(memory)
  const flat = sentences.flatMap((sentence, i) => sentence.slice(0, lengths[i]))
  const starts = lengths.map((_, i) => lengths.slice(0, i).reduce((a, b) => a + b, 0))
  const [columns, count] = [flat.length + 3, lengths.length + 2]
  const axis = own(program.axis(columns))
  const int32 = (data: number | number[]) =>
    own(new Tensor(device, 'int32', typeof data === 'number' ? data : Int32Array.from(data)))
  const [output, offsets, positions] = [int32(columns), int32(count + 1), int32(columns)]
  tape.record('gatherSequences', {
    ...{ total: flat.length, tokens: int32(flat), sequences: lengths.length, starts: int32([...starts, flat.length]) },
    ...{ planned: lengths.length, plan: int32(lengths.map((_, i) => i)) },
    ...{ steps: 1, batches: int32([0, lengths.length]), most: count, axis, output, positions, offsets },
  })
  const sequences: Sequences = { axis, count, offsets, positions }
  return new Tokens(output, sequences)
}
