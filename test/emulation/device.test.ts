/**
 * What the CUDA device does when things go wrong, on a machine that can be told to: an addon that was built with
 * HEBB_CUDA=EMULATE.
 */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect } from 'chai'
import { chts, Device, HebbError, mlp, sgd, Trainer, updateSchedule } from '../../lib/index.js'
import { addon } from '../../lib/native.js'
import { Tensor } from '../../lib/tensor.js'
import { main } from '../programs.js'
import { expectRefusal, gpu } from '../support.js'
import { clusters } from '../synthetic.js'

const emulated = /^driver.*Emulated GPU/.test(addon.cudaStatus().detail)

type Setting = 'DEVICES' | 'MEMORY' | 'ARCHITECTURE' | 'DRIVER' | 'FAIL_ALLOCATION' | 'FAIL_LAUNCH'

/** Runs `act` on a machine that differs in these things. */
async function onMachine<T>(settings: Partial<Record<Setting, string>>, act: () => T | Promise<T>): Promise<T> {
  const names = Object.keys(settings) as Setting[]
  for (const name of names) process.env[`HEBB_EMULATION_${name}`] = settings[name]
  try {
    return await act()
  } finally {
    for (const name of names) delete process.env[`HEBB_EMULATION_${name}`]
  }
}

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

/** Lets queued work end and finalizers run, for as long as a device holds more than it should; not for ever. */
async function settled(device: Device, bytes: number, error?: unknown): Promise<void> {
  void (error as Error | undefined)?.stack // until it is asked for, an error holds the objects of its frames
  for (let i = 0; i < 100 && device.memory().bytes !== bytes; ++i) {
    collect()
    await new Promise((resolve) => setTimeout(resolve, i))
  }
}

/** Two epochs of three steps with topology updates. */
async function trained(device: Device): Promise<number> {
  const model = mlp({ widths: [12, 10, 8, 3], density: 0.4, seed: 1 })
  const dst = chts({ updates: updateSchedule({ every: 2, until: 1, fraction: 0.3 }) })
  const trainer = new Trainer(model, { optimizer: sgd({ learningRate: 0.05, momentum: 0.9 }), dst, device })
  try {
    let loss = Number.NaN
    for await (const epoch of trainer.fit(clusters({ samples: 24, features: 12, classes: 3 }), {
      epochs: 2,
      batchSize: 8,
    }))
      loss = epoch.trainLoss
    return loss
  } finally {
    trainer.dispose()
  }
}

describe('a CUDA device', () => {
  before(function () {
    if (!emulated) this.skip()
  })

  describe('tells apart why there is none', () => {
    const machines: readonly [string, Partial<Record<Setting, string>>, RegExp][] = [
      ['no driver', { DRIVER: '0' }, /no NVIDIA driver is installed.*install a driver >= 580/i],
      [
        'a driver that is too old',
        { DRIVER: '12040' },
        /the NVIDIA driver \(CUDA 12\.4\) is too old for this build, which needs CUDA 13.*install a driver >= 580/i,
      ],
      ['no GPU', { DEVICES: '0' }, /the NVIDIA driver \(CUDA 13\.0\) sees no GPU.*nvidia-smi/i],
      [
        'a GPU that is too old',
        { ARCHITECTURE: '75' },
        /compute capability 7\.5.*needs compute capability 8\.0 or newer.*use an A100/i,
      ],
    ]
    for (const [name, settings, words] of machines) {
      it(`${name}, when it is opened and to the doctor`, async () => {
        await onMachine(settings, async () => {
          const { message } = await expectRefusal(() => new Device({ kind: 'cuda' }), 'DEVICE_UNAVAILABLE', name)
          expect(message)
            .to.match(words)
            .and.to.match(/use device 'cpu' or 'auto'/)
          expect(addon.cudaStatus().devices).to.equal(0)
          const { stdout } = await promisify(execFile)(process.execPath, [main, 'doctor', '--json'])
          expect(JSON.parse(stdout).cuda)
            .to.match(/^built in, no usable GPU: /)
            .and.to.match(words)
        })
      })
    }

    it('an index that is not there', async () => {
      const { message } = await expectRefusal(
        () => new Device({ kind: 'cuda', index: 1 }),
        'INVALID_ARGUMENT',
        'index 1',
      )
      expect(message).to.match(/between 0 and 0.*got 1/)
    })
  })

  it('says that it is emulated', () => {
    expect(gpu().info.name).to.match(/^Emulated/)
  })

  it('waits for memory that was given back before it says that there is none', async () => {
    // Room for two of the three: the third needs what the first gave back, which nobody has waited for.
    await onMachine({ DEVICES: '2', MEMORY: '40000000' }, async () => {
      using device = new Device({ kind: 'cuda', index: 1 })
      for (let i = 0; i < 5; ++i) {
        const held = new Tensor(device, 'uint8', 15_000_000)
        new Tensor(device, 'uint8', 15_000_000).dispose()
        held.dispose()
      }
      const held = new Tensor(device, 'uint8', 15_000_000)
      const { message } = await expectRefusal(
        () => new Tensor(device, 'uint8', 30_000_000),
        'OUT_OF_MEMORY',
        'too much',
      )
      expect(message).to.match(
        new RegExp(
          /could not give 30000000 bytes.*holds 15000000 bytes in 1 buffers, /.source +
            /and \d+ of the GPU's 40000000 bytes are free/.source,
        ),
      )
      held.dispose()
      new Tensor(device, 'uint8', 30_000_000).dispose()
    })
  })

  it('that fails at any allocation says so, leaks nothing, and works afterwards', async function () {
    this.timeout(300_000)
    const device = gpu()
    const expected = await trained(device)
    const probe = new Tensor(device, 'float32', 1)
    const { buffers, bytes } = device.memory()
    let failures = 0
    // Each allocation of setting up and of the first steps, then ever rarer ones. Two in a row: the device tries twice.
    // What cannot be recorded as a graph for want of memory goes on one by one, so that training may succeed; it is
    // over when it succeeds again and again.
    for (let n = 1, successes = 0; successes < 40; n += n < 200 ? 1 : 17) {
      await probe.read() // what the trainer before has left in the queue is done
      const outcome = await onMachine({ FAIL_ALLOCATION: `${n}:2` }, () =>
        trained(device).catch((error: unknown) => error),
      )
      if (typeof outcome === 'number') {
        expect(outcome, `allocation ${n}`).to.equal(expected)
        ++successes
      } else {
        successes = 0
        ++failures
        expect(outcome, `allocation ${n}: ${outcome}`).to.be.instanceOf(HebbError)
        expect((outcome as HebbError).code, `allocation ${n}: ${outcome}`).to.equal('OUT_OF_MEMORY')
      }
      // Objects that were half made are left to the garbage collector.
      await settled(device, bytes, outcome)
      expect(device.memory(), `after allocation ${n} failed`).to.include({ buffers, bytes })
    }
    expect(failures).to.be.greaterThan(50)
    expect(await trained(device)).to.equal(expected)
    probe.dispose()
  })

  it('that can be opened only half gives back what it had', async () => {
    const failure = await onMachine({ FAIL_ALLOCATION: '1:2' }, () =>
      expectRefusal(() => new Device({ kind: 'cuda' }), 'OUT_OF_MEMORY', 'opening'),
    )
    expect(failure.message).to.match(/could not give/)
    using device = new Device({ kind: 'cuda' })
    expect(device.memory().bytes).to.equal(0)
  })

  it('that is broken says the first error at every call, and other devices go on', async () => {
    await onMachine({ DEVICES: '2' }, async () => {
      using device = new Device({ kind: 'cuda', index: 1 })
      const tensor = new Tensor(device, 'float32', 4)
      const failure = await onMachine({ FAIL_LAUNCH: '9' }, () =>
        expectRefusal(() => trained(device), 'INTERNAL', 'a launch that fails'),
      )
      expect(failure.message).to.match(
        /as the test asked \(cudaErrorIllegalAddress\)\. GPU 1 does nothing more for this process/,
      )
      const first = failure.message.slice(failure.message.indexOf('CUDA could not'))
      for (const act of [
        () => tensor.read(),
        () => tensor.write(new Float32Array(4)),
        () => new Tensor(device, 'float32', 4),
        () => trained(device),
      ]) {
        const again = await expectRefusal(act, 'INTERNAL', `${act}`)
        expect(again.message).to.include(first)
        void again.stack
      }
      tensor.dispose()
      await settled(device, 0, failure)
      expect(device.memory()).to.include({ buffers: 0, bytes: 0 })
      expect(await trained(gpu())).to.be.greaterThan(0)
    })
  })
})
