/** The golden data of Transformers: folders of test/vectors, by another program, in double precision. */
import { readFileSync } from 'node:fs'

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

/** Tensors of double precision. */
export function tensorsOf(folder: string, file: string): Map<string, { shape: number[]; data: Float64Array }> {
  const bytes = read(folder, file)
  const length = Number(bytes.readBigUInt64LE(0))
  const header = JSON.parse(bytes.subarray(8, 8 + length).toString())
  delete header.__metadata__
  return new Map(
    Object.entries<{ shape: number[]; data_offsets: [number, number] }>(header).map(([name, one]) => {
      const [begin, end] = one.data_offsets.map((offset) => 8 + length + offset)
      return [name, { shape: one.shape, data: new Float64Array(bytes.buffer.slice(begin, end)) }]
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
