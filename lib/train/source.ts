/** What fit() takes: samples, streams of them and text, and how a run on each is laid out. */
import { checksum, checksumOf } from '../data/checksum.js'
import type { Dataset } from '../data/dataset.js'
import { SampleStream } from '../data/stream.js'
import { expect, integer, show } from '../error.js'
import type { Sequential } from '../nn/sequential.js'
import { TextDataset } from '../text/dataset.js'
import { StoredText } from '../text/token_file.js'
import { placesOf } from './check_data.js'
import type { Plan, Run } from './checkpoint.js'
import type { DeviceDatasets } from './device_datasets.js'
import type { Order } from './feed.js'
import type { FitOptions } from './options.js'

/** What a run trains on. */
export interface Source {
  /** Of a stream, its first chunk. */
  readonly shown: Dataset | TextDataset
  /** Of a text, sequences, or pairs of them. */
  readonly samples: number
  /** Refuses a size of batches that would cut a stream's chunks. */
  check(batchSize: number): void
  order(run: Pick<Run, 'batchSize' | 'packed'>): Order
  /** Of all that it trains on; of a stream, of its first chunk. */
  checksum(): Promise<string>
}

/** What a network can be trained on: samples in memory, samples that are read a chunk at a time, or text. */
export type TrainingData = Dataset | SampleStream | TextDataset

/** Steps between two reports on a text. */
const INTERVAL = 500

/** A run on samples, by epochs. */
function dataPlan({ epochs, steps, interval, packed }: FitOptions, samples: number, batchSize: number): Plan {
  expect(
    steps === undefined && interval === undefined && packed === undefined,
    () =>
      `Expected epochs for samples, got steps ${show(steps)}, interval ${show(interval)} and packed ${show(packed)}. ` +
      'They are for text.',
  )
  return { epochs: integer(epochs, 'epochs', 1), stepsPerEpoch: Math.ceil(samples / batchSize) }
}

/** A run on text, by steps: what is an epoch elsewhere is an interval of steps between two reports. */
function textPlan({ epochs, steps, interval, packed = false }: FitOptions): Plan {
  expect(typeof packed === 'boolean', () => `Expected packed to be true or false, got ${show(packed)}`)
  expect(epochs === undefined, () => `Expected steps for text, got epochs ${show(epochs)}`)
  const all = integer(steps, 'steps', 1)
  const stepsPerEpoch = Math.min(all, integer(interval ?? INTERVAL, 'interval', 1))
  return { epochs: Math.ceil(all / stepsPerEpoch), stepsPerEpoch, steps: all }
}

export function planOf(data: TrainingData, options: FitOptions, samples: number, batchSize: number): Plan {
  return data instanceof TextDataset ? textPlan(options) : dataPlan(options, samples, batchSize)
}

function checksumOfText(data: TextDataset): Promise<string> {
  const texts = new Set([...data.inputs, data.labels].map(({ text }) => text))
  const parts = [...texts].flatMap((text): (string | Int32Array)[] =>
    text instanceof StoredText ? [`${text.part} ${text.file.checksum}`] : [text.tokens, text.starts],
  )
  return checksum(parts)
}

/** Of what a run is validated on. */
export function validationChecksum(data: Dataset | TextDataset): Promise<string> {
  return data instanceof TextDataset ? checksumOfText(data) : checksumOf(data)
}

/** `datasets` bring it to the device, when a step asks for it. */
export async function sourceOf(data: TrainingData, model: Sequential, datasets: DeviceDatasets): Promise<Source> {
  const { seed } = model
  const check = () => {}
  if (data instanceof TextDataset) {
    const places = placesOf(model)
    const order: Source['order'] = ({ batchSize: tokens, packed = data.packed }) =>
      datasets.ofText(data, { tokens, seed, places, packed })
    return { shown: data, samples: data.samples, check, order, checksum: () => checksumOfText(data) }
  }
  if (!(data instanceof SampleStream))
    return {
      ...{ shown: data, samples: data?.samples, check, order: () => datasets.of(data, seed) },
      checksum: () => checksumOf(data),
    }
  const { samples, chunk, chunks, name } = data
  const shown = await data.dataset(0)
  return {
    ...{ shown, samples },
    check: (batchSize) =>
      expect(
        chunks === 1 || chunk % batchSize === 0,
        () => `Expected the chunks of ${name} to be a multiple of the ${batchSize} samples of a batch, got ${chunk}`,
      ),
    order: () => datasets.ofStream(data, shown, seed),
    checksum: async () => checksum([`${samples} in ${chunk}`, await checksumOf(shown)]),
  }
}
