/** A process that ends in the middle of something: exit.ts <way> <phase>, for exit.test.ts. */
import { Worker } from 'node:worker_threads'
import { chts, erdosRenyi, mlp, Trainer, updateSchedule } from '../../lib/index.js'
import { clusters } from '../synthetic.js'
import { batchOf, optimizer, train } from './training.js'

const [way, phase] = process.argv.slice(2)

function end(): void {
  if (way === 'exit') process.exit(7)
  if (way === 'kill') process.kill(process.pid, 'SIGTERM')
  if (way === 'throw') throw new Error('on purpose')
  if (way === 'reject') void Promise.reject(new Error('on purpose'))
}

if (way === 'natural') {
  // Nobody awaits or disposes anything: the process lives until the work is done, and no longer.
  void train({ epochs: 4 }).then((result) => console.log(result))
  new Trainer(mlp({ widths: [64, 200, 4], density: 0.3 }), { optimizer: optimizer(), dst: chts() })
} else if (phase === 'training') {
  const trainer = new Trainer(mlp({ widths: [64, 600, 600, 4], density: 0.3 }), {
    optimizer: optimizer(),
    device: 'cpu',
  })
  setTimeout(end, 100)
  for await (const _ of trainer.fit(clusters({ samples: 50_000, features: 64, classes: 4 }), { epochs: 100 }));
} else if (phase === 'updating') {
  const model = mlp({ widths: [64, 1500, 1500, 4], density: 0.5, topology: erdosRenyi() })
  const trainer = new Trainer(model, {
    optimizer: optimizer(),
    dst: chts({ updates: updateSchedule({ every: 1, fraction: 0.3 }) }),
    device: 'cpu',
  })
  trainer.plan({ epochs: 100, stepsPerEpoch: 10 })
  await trainer.trainOn(batchOf(16, 64))
  setTimeout(end, 50)
  for (;;) await trainer.trainOn(batchOf(16, 64))
} else if (phase === 'loading') {
  // A worker loads the addon again meanwhile.
  const workerData = { task: 'train', seed: 0, phase: 'loading' }
  new Worker(new URL('worker.js', import.meta.url), { workerData }).once('message', () => setTimeout(end, 60))
}
