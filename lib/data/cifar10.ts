/**
 * CIFAR-10's binary version: a label and 3072 bytes an image, without a header. What was cut short is known by its
 * length alone.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { HebbError, known } from '../error.js'
import { type Augment, type Dataset, dataset } from './dataset.js'
import type { TrainAndTest } from './mnist.js'

const SHAPE = [3, 32, 32] as const
const PIXELS = 3072
/** A label and an image. */
const RECORD = 1 + PIXELS
const CLASSES = ['airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck']
const NORMALISE = { mean: [0.4914, 0.4822, 0.4465], deviation: [0.247, 0.2435, 0.2616] }
const MEND = 'Unpack cifar-10-binary.tar.gz anew, and give its folder cifar-10-batches-bin.'

async function batch(directory: string, name: string): Promise<{ file: string; bytes: Uint8Array }> {
  const file = join(directory, name)
  const bytes = await readFile(file).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT')
      throw new HebbError('MISSING_FILE', `Expected a batch of CIFAR-10 at ${file}, got none. ${MEND}`, { cause })
    throw new HebbError('BAD_FILE', `Expected to be able to read ${file}: ${cause.message}`, { cause })
  })
  const bad = (problem: string) =>
    new HebbError('BAD_FILE', `Expected ${file} to be a binary batch of CIFAR-10: ${problem}. ${MEND}`)
  if (bytes.length === 0 || bytes.length % RECORD !== 0)
    throw bad(`it has ${bytes.length} bytes, not images of ${RECORD} bytes each (officially 10,000)`)
  for (let at = 0; at < bytes.length; at += RECORD)
    if ((bytes[at] as number) >= CLASSES.length)
      throw bad(`the label of image ${at / RECORD} is ${bytes[at]}, and there are ${CLASSES.length} classes`)
  return { file, bytes }
}

function images(batches: readonly Uint8Array[], name: string, augment?: Augment): Dataset {
  const samples = batches.reduce((sum, bytes) => sum + bytes.length / RECORD, 0)
  const x = new Uint8Array(samples * PIXELS)
  const y = new Uint8Array(samples)
  let sample = 0
  for (const bytes of batches) {
    for (let at = 0; at < bytes.length; at += RECORD, ++sample) {
      y[sample] = bytes[at] as number
      x.set(bytes.subarray(at + 1, at + RECORD), sample * PIXELS)
    }
  }
  return dataset({
    x,
    y,
    shape: SHAPE,
    classes: CLASSES.length,
    classNames: CLASSES,
    normalise: NORMALISE,
    name,
    ...(augment && { augment }),
  })
}

/**
 * CIFAR-10: 50,000 + 10,000 images of 3 x 32 x 32, from the folder of its binary version (data_batch_1.bin to
 * data_batch_5.bin and test_batch.bin). Each channel is normalised by its own mean and deviation. In training, images
 * are cut out of a frame of 4 zeros and flipped at random; `augment: false` leaves that out.
 */
export async function cifar10(
  directory: string,
  options: { augment?: boolean | undefined } = {},
): Promise<TrainAndTest> {
  known(options, 'cifar10()', { augment: true })
  const names = [...[1, 2, 3, 4, 5].map((n) => `data_batch_${n}.bin`), 'test_batch.bin']
  const batches = await Promise.all(names.map((name) => batch(directory, name)))
  // Officially all six are of the same length, so one that was cut short between two images shows.
  const longest = Math.max(...batches.map(({ bytes }) => bytes.length))
  const short = batches.find(({ bytes }) => bytes.length < longest)
  if (short)
    throw new HebbError(
      'BAD_FILE',
      `Expected ${short.file} to hold ${longest / RECORD} images, as the longest of the six batches does, got ` +
        `${short.bytes.length / RECORD}. ${MEND}`,
    )
  const all = batches.map(({ bytes }) => bytes)
  const augment = (options.augment ?? true) ? { padding: 4, flip: true } : undefined
  return { train: images(all.slice(0, 5), 'CIFAR-10 train', augment), test: images(all.slice(5), 'CIFAR-10 test') }
}
