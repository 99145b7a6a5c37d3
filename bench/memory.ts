/**
 * Native memory of the paper's MNIST network, data sets left out, as CHTs and CHTss train it: CHTss begins with half of
 * all links and gives memory back as it decays. And what it costs that Programs are bound again after an update.
 */
import { chts, chtss, Device, linearDecay, type Method, mlp, sgd, Trainer } from '../lib/index.js'
import {
  type BenchOptions,
  type Figure,
  firstOf,
  median,
  milliseconds,
  progress,
  type Report,
  type Series,
} from './measure.js'
import { BATCH, trainingImages, WIDTHS } from './step.js'

export async function memory({ threads, quick }: BenchOptions): Promise<Report> {
  const epochs = quick ? 3 : 40
  const samples = quick ? 320 : 3200
  const data = firstOf(await trainingImages(quick), samples)
  const dataBytes = data.x.byteLength + 2 * 4 * samples + 4 * samples
  const methods: Record<string, () => Method> = { CHTs: chts, CHTss: chtss }
  const figures: Figure[] = []
  const series: Series[] = []
  const ends: number[] = []
  for (const [name, method] of Object.entries(methods)) {
    progress(`memory: ${name}`)
    using device = new Device({ kind: 'cpu', threads })
    const model = mlp({ widths: WIDTHS, density: 0.01, seed: 0 })
    using trainer = new Trainer(model, {
      optimizer: sgd({ learningRate: linearDecay({ from: 0.025, to: 2.5e-4 }), momentum: 0.9, weightDecay: 5e-4 }),
      dst: method(),
      device,
    })
    const live: number[] = []
    const updates: number[] = []
    for await (const epoch of trainer.fit(data, { epochs, batchSize: BATCH })) {
      live.push((trainer.memory().bytes - dataBytes) / 1e6)
      if (epoch.updateSeconds > 0) updates.push(epoch.updateSeconds * 1e3)
    }
    ends.push(live.at(-1) as number)
    series.push({ name: `${name}, an update`, unit: 'ms', samples: updates })
    figures.push({ name: `${name}, first epoch`, unit: 'MB', value: live[0] as number })
    figures.push({ name: `${name}, at its peak`, unit: 'MB', value: (trainer.memory().peakBytes - dataBytes) / 1e6 })
    figures.push({ name: `${name}, at the end`, unit: 'MB', value: live.at(-1) as number })
    const [plain, again] = await boundAgain(trainer, model)
    series.push({ name: `${name}, a step`, unit: 'ms', samples: plain })
    series.push({ name: `${name}, a step, bound again`, unit: 'ms', samples: again })
    const share = (median(again) - median(plain)) / median(updates)
    figures.push({ name: `${name}, binding again over an update`, unit: '', value: share, goal: '<= 0.1' })
  }
  const [even, decayed] = ends as [number, number]
  figures.push({ name: 'CHTss at the end, over CHTs', unit: '', value: decayed / even, goal: '<= 1.1' })
  return {
    series,
    figures,
    notes: [`${epochs} epochs of ${samples} images, batch ${BATCH}; peaks hold what operations take for a moment`],
  }
}

/** Milliseconds of a step of one batch, and of one before which all layers have moved. */
async function boundAgain(
  trainer: Trainer,
  model: ReturnType<typeof mlp>,
): Promise<[plain: number[], again: number[]]> {
  const x = new Float32Array(BATCH * (WIDTHS[0] as number)).fill(0.1)
  const y = new Int32Array(BATCH)
  const [plain, again]: [number[], number[]] = [[], []]
  const step = async (into: number[]) => into.push(await milliseconds(() => trainer.trainOn({ x, y })))
  await step([])
  for (let round = 0; round < 31; ++round) {
    await step(plain)
    for (const parameter of model.sparse) await parameter.resize(parameter.capacity + 1)
    await step(again)
  }
  return [plain, again]
}
