/**
 * EMNIST's balanced split. Its files hold images column by column and classes by a list of their own: images are
 * transposed, and the list is checked where the folder has it.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { HebbError, show } from '../error.js'
import { type Dataset, dataset } from './dataset.js'
import { readIdx } from './idx.js'
import type { TrainAndTest } from './mnist.js'

/** The balanced split's classes in their order: lower-case letters that look like their capitals are these. */
const CLASSES = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt'
const SIDE = 28

/**
 * The files of one part, checked: images of 28 x 28 and as many labels of 47 classes, each class as often as every
 * other.
 */
async function images(directory: string, part: 'train' | 'test'): Promise<Dataset> {
  const file = (content: string) => join(directory, `emnist-balanced-${part}-${content}-ubyte`)
  const [x, y] = await Promise.all([readIdx(file('images-idx3')), readIdx(file('labels-idx1'))])
  const bad = (content: string, problem: string) =>
    new HebbError(
      'BAD_FILE',
      `Expected ${file(content)} to be of EMNIST's balanced split: ${problem}. Unpack EMNIST's gzip.zip anew, ` +
        'and give the folder of its files.',
    )
  if (x.shape.length !== 3 || x.shape[1] !== SIDE || x.shape[2] !== SIDE || x.shape[0] === 0)
    throw bad('images-idx3', `it holds ${x.shape.join(' x ')} bytes, not images of ${SIDE} x ${SIDE}`)
  const samples = x.shape[0] as number
  if (y.shape.length !== 1 || y.shape[0] !== samples)
    throw bad('labels-idx1', `it holds ${y.shape.join(' x ')} labels for ${samples} images`)
  const counts = new Int32Array(CLASSES.length)
  for (const [i, label] of y.data.entries()) {
    if (label >= CLASSES.length)
      throw bad('labels-idx1', `label ${i} is ${label}, and there are ${CLASSES.length} classes`)
    counts[label] = (counts[label] as number) + 1
  }
  const odd = counts.findIndex((count) => count !== counts[0])
  if (odd >= 0) throw bad('labels-idx1', `class ${odd} occurs ${counts[odd]} times and class 0 ${counts[0]} times`)
  return dataset({
    x: transposed(x.data),
    y: y.data,
    shape: [SIDE, SIDE],
    classes: CLASSES.length,
    classNames: [...CLASSES],
    normalise: { mean: 0.1736, deviation: 0.3317 },
    name: `EMNIST ${part}`,
  })
}

/** EMNIST's files hold images column by column. */
export function transposed(data: Uint8Array): Uint8Array {
  const upright = new Uint8Array(data.length)
  for (let image = 0; image < data.length; image += SIDE * SIDE)
    for (let y = 0; y < SIDE; ++y)
      for (let x = 0; x < SIDE; ++x) upright[image + y * SIDE + x] = data[image + x * SIDE + y] as number
  return upright
}

/**
 * Refuses a mapping of classes to characters that is not the balanced split's. The file may be missing: the mapping is
 * known.
 */
async function checkMapping(file: string): Promise<void> {
  const text = await readFile(file, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') return undefined
    throw new HebbError('BAD_FILE', `Expected to be able to read ${file}: ${cause.message}`, { cause })
  })
  if (text === undefined) return
  const lines = text.trim().split(/\r?\n/)
  const wrong = Array.from({ length: Math.max(lines.length, CLASSES.length) }, (_, i) => i).find(
    (i) => lines[i]?.trim() !== `${i} ${CLASSES.charCodeAt(i)}`,
  )
  if (wrong !== undefined)
    throw new HebbError(
      'BAD_FILE',
      `Expected line ${wrong + 1} of ${file} to be '` +
        `${wrong < CLASSES.length ? `${wrong} ${CLASSES.charCodeAt(wrong)}` : ''}', as in EMNIST's balanced ` +
        `split, got ${show(lines[wrong] ?? 'nothing')}. Unpack EMNIST's gzip.zip anew.`,
    )
}

/**
 * EMNIST's balanced split: 112,800 + 18,800 images of 28 x 28 in 47 classes, from a folder of its files
 * emnist-balanced-{train,test}-{images-idx3,labels-idx1}-ubyte (plain or gzipped; NIST's gzip.zip has them). Images are
 * turned upright; normalised by (0.1736, 0.3317). `classNames` tells each class's character.
 */
export async function emnist(directory: string): Promise<TrainAndTest> {
  const [train, test] = await Promise.all([
    images(directory, 'train'),
    images(directory, 'test'),
    checkMapping(join(directory, 'emnist-balanced-mapping.txt')),
  ])
  return { train, test }
}
