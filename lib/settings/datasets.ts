/** The data sets that runs are made on, by the task that each is of. */
import { type CsvColumn, cifar10, csv, emnist, fashionMnist, mnist, type TrainAndTest } from '../data/index.js'
import { HebbError } from '../error.js'
import type { TaskName } from '../train/task.js'

interface DataOptions {
  /** How many of the last columns are targets. */
  readonly targets?: number | undefined
  /** Share of the samples that is the test set. */
  readonly testSplit?: number | undefined
  /** What was noted when the data were read first. */
  readonly notes?: Readonly<Record<string, string>> | undefined
}

/** What was read, with what is to be noted of it with checkpoints. */
type DataRead = TrainAndTest & { readonly notes?: Readonly<Record<string, string>> }

interface DataSource {
  readonly task: TaskName
  /** Neurons of the hidden layers, where they are not the paper's 1568. */
  readonly hidden?: readonly number[]
  /** What lies in one file, and says itself neither what its targets are nor what to test on. */
  readonly isTable?: true
  /** `place`: the folder of its files, or its file. */
  read(place: string | undefined, options: DataOptions): Promise<DataRead>
}

export const datasets: Readonly<Record<string, DataSource>> = {
  mnist: { task: 'classification', read: (folder) => mnist(folder) },
  'fashion-mnist': {
    task: 'classification',
    read: (folder) =>
      fashionMnist(
        given(
          folder,
          "folder of Fashion-MNIST's four IDX files (Debian: dataset-fashion-mnist installs them in " +
            '/usr/share/datasets/fashion-mnist)',
        ),
      ),
  },
  emnist: {
    task: 'classification',
    read: (folder) =>
      emnist(given(folder, "folder of EMNIST's files emnist-balanced-*-ubyte (NIST's gzip.zip has them)")),
  },
  cifar10: {
    task: 'classification',
    hidden: [3072, 3072, 3072],
    read: (folder) =>
      cifar10(
        given(folder, "folder of CIFAR-10's binary version: data_batch_1.bin to data_batch_5.bin and test_batch.bin"),
      ),
  },
  csv: {
    task: 'regression',
    hidden: [256, 256, 256],
    isTable: true,
    async read(place, { targets, testSplit, notes }) {
      const file = given(place, 'CSV file: a line with the names of its columns, then numbers, the targets last')
      const { columns, ...both } = await csv(file, {
        ...(targets !== undefined && { targets }),
        ...(testSplit !== undefined && { testSize: testSplit }),
        ...(notes?.columns !== undefined && { columns: columnsOf(notes.columns) }),
      })
      return { ...both, notes: { columns: JSON.stringify(columns) } }
    },
  },
}

/** What a task takes where nothing else is asked for. */
export const usual: Readonly<Record<TaskName, { readonly dataset: string; readonly density: number }>> = {
  classification: { dataset: 'mnist', density: 0.01 },
  regression: { dataset: 'csv', density: 0.1 },
  translation: { dataset: 'none, it has files', density: 0.05 },
  lm: { dataset: 'none, it has files', density: 0.3 },
}

function given(place: string | undefined, what: string): string {
  if (place === undefined) throw new HebbError('INVALID_ARGUMENT', `Expected --data with the ${what}`)
  return place
}

function columnsOf(noted: string): CsvColumn[] {
  try {
    return JSON.parse(noted)
  } catch (cause) {
    throw new HebbError('BAD_FILE', `Expected a checkpoint whose note of its columns is JSON, got ${noted}`, { cause })
  }
}
