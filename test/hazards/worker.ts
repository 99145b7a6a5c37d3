/** A worker thread that does what its data say, for workers.test.ts. */
import { parentPort, workerData } from 'node:worker_threads'

const { task, seed, phase } = workerData as { task: 'train' | 'endless'; seed: number; phase?: string }
// What the test waits for before it ends this worker in the middle of something.
const say = (word: unknown) => parentPort?.postMessage(word)

if (phase === 'loading') say('loading')
const { chts, Device, erdosRenyi, mlp, Program, Tensor, Trainer, updateSchedule } = await import('../../lib/index.js')
const { batchOf, optimizer, train } = await import('./training.js')

if (task === 'train') {
  say(await train({ seed, device: { kind: 'cpu', threads: 1 } }))
} else if (phase === 'training') {
  const trainer = new Trainer(mlp({ widths: [64, 600, 600, 4], density: 0.3 }), {
    optimizer: optimizer(),
    device: 'cpu',
  })
  for (;;) {
    await trainer.trainOn(batchOf(128, 64))
    say('training')
  }
} else if (phase === 'updating') {
  const model = mlp({ widths: [64, 1500, 1500, 4], density: 0.5, topology: erdosRenyi() })
  const trainer = new Trainer(model, {
    optimizer: optimizer(),
    dst: chts({ updates: updateSchedule({ every: 1, fraction: 0.3 }) }),
    device: 'cpu',
  })
  trainer.plan({ epochs: 10, stepsPerEpoch: 10 })
  await trainer.trainOn(batchOf(16, 64))
  setTimeout(() => say('updating'), 50)
  await trainer.trainOn(batchOf(16, 64))
} else if (phase === 'drawing') {
  new Trainer(mlp({ widths: [64, 3000, 3000, 4], density: 0.5 }), {
    optimizer: optimizer(),
    dst: chts(),
    device: 'cpu',
  })
  setTimeout(() => say('drawing'), 200) // in the course of seconds
} else if (phase === 'pending') {
  // Hundreds of promises of every kind, behind a replay that does not end.
  const device = new Device({ kind: 'cpu', threads: 2 })
  const program = new Program(device)
  const [a, b] = [new Tensor(device, 'float32', 100_000), new Tensor(device, 'float32', 100_000)]
  program.record('sgd', { count: 100_000, values: a, gradient: b, learningRate: 0 })
  void program.replay(1e9)
  for (let i = 0; i < 100; ++i) {
    void a.read()
    void a.write(new Float32Array(100_000))
    void b.copy(a)
    void program.replay(0, { begin: { scalars: [i] } })
  }
  say('pending')
}
