/** Devices as users open them: options are checked here, and what 'auto' takes is decided. The rest is the addon's. */
import { expect, HebbError, integer, known, number, show } from './error.js'
import { addon, type DeviceInfo, type Memory, type NativeDevice } from './native.js'
import type { LinkPredictor, PredictionRoute } from './tensor.js'

export type { DeviceInfo, Memory } from './native.js'

/** How a device is opened. */
export interface DeviceOptions {
  /**
   * 'cpu', 'cuda' (fails when there is none), or 'auto' (default): CUDA when the build, the driver and the backend
   * allow it, else the CPU; `reason` says why.
   */
  kind?: 'auto' | 'cpu' | 'cuda' | undefined
  /** CPU threads; default: as many as the process may use. Results do not depend on it. */
  threads?: number | undefined
  /** CPU: a SIMD level below the processor's best, for tests: 'x86-64-v3', 'x86-64-v2' or 'portable'. */
  simd?: string | undefined
  /**
   * CPU: share of the possible links from which on a layer's forward product multiplies dense tiles, zeros included;
   * its weights stay those of the links alone, with one bit more for each cell. Default: as measured for the SIMD level
   * (`npm run bench -- cpp --programs forms`). 0: always; 2: never.
   */
  denseFrom?: number | undefined
  /** Which GPU. */
  index?: number | undefined
  /**
   * What multiplies dense matrices of at least 64 x 64 on a GPU: hebb's own kernels (default), whose bits are the same
   * in every run, or 'cublas', which is loaded from the machine (libcublas.so.13 or .12; HEBB_CUBLAS names another
   * file) and rounds as its version and the GPU have it.
   */
  blas?: 'own' | 'cublas' | undefined
  /**
   * Which routes a GPU takes where it is free to choose. 'device' (default): the fastest that repeats itself on this
   * device. 'everywhere': one whose bits are the same on every backend, which may take much longer: of link prediction
   * the sparse one. A route that is asked for by name is taken in any case. A CPU's routes give the same bits.
   */
  deterministic?: 'device' | 'everywhere' | undefined
}

/** A place where tensors live and programs run. One native thread drives it; calls are carried out in order. */
export class Device {
  /** @internal */
  readonly native: NativeDevice
  /** What 'auto' chose, and why; or what was asked for. */
  readonly reason: string
  #disposed = false

  constructor(options: DeviceOptions = {}) {
    known(options, 'a device', {
      kind: true,
      threads: true,
      simd: true,
      denseFrom: true,
      index: true,
      blas: true,
      deterministic: true,
    })
    const { kind = 'auto', threads = 0, simd, index = 0, denseFrom, blas = 'own', deterministic = 'device' } = options
    expect(
      kind === 'auto' || kind === 'cpu' || kind === 'cuda',
      () => `Expected device to be 'auto', 'cpu' or 'cuda', got ${show(kind)}`,
    )
    integer(threads, 'threads', 0, 1024)
    if (denseFrom !== undefined) number(denseFrom, 'denseFrom', 0)
    expect(blas === 'own' || blas === 'cublas', () => `Expected blas to be 'own' or 'cublas', got ${show(blas)}`)
    expect(
      blas === 'own' || kind === 'cuda',
      () => `Expected blas 'cublas' with device 'cuda', got ${show(kind)}. Ask for 'cuda' by name, or use blas 'own'.`,
    )
    expect(
      deterministic === 'device' || deterministic === 'everywhere',
      () => `Expected deterministic to be 'device' or 'everywhere', got ${show(deterministic)}`,
    )
    const isOwn = blas === 'own' || deterministic === 'device'
    expect(isOwn, () => "Expected blas 'own' where deterministic is 'everywhere', got 'cublas', whose bits are its own")
    if (kind === 'cuda') {
      this.native = new addon.Device('cuda', { index: integer(index, 'index', 0, 1023), blas, deterministic })
      this.reason = 'cuda was asked for'
    } else {
      this.native = new addon.Device('cpu', { threads, simd, denseFrom })
      // It becomes auto's choice when it has been verified on a GPU.
      this.reason =
        kind === 'cpu'
          ? 'cpu was asked for'
          : 'auto chose the CPU: ' +
            (addon.cudaStatus().devices > 0
              ? 'the CUDA backend of this version was not yet verified on a GPU; ask for it by name'
              : addon.cudaStatus().detail)
    }
  }

  /** What the device is: processor, threads, memory. Throws DISPOSED after dispose(). */
  get info(): DeviceInfo {
    return this.#use().info
  }

  /**
   * The route that 'auto' takes for link prediction in a layer of rows x cols whose memory has room for so many links.
   * A GPU goes by these sizes alone, and by what was measured on an H100 (cuda/prediction_figures.h). 'auto' on a CPU,
   * which looks at the links themselves: its routes give the same bits.
   */
  predictionRoute(rows: number, cols: number, links: number, predictor: LinkPredictor): PredictionRoute {
    return this.#use().predictionRoute(rows, cols, links, predictor)
  }

  /** Live native memory on this device. */
  memory(): Memory {
    return this.#use().memory()
  }

  /** Stops what runs and ends the device's thread. Safe to call twice. */
  dispose(): void {
    if (this.#disposed) return
    this.#disposed = true
    this.native.dispose()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }

  #use(): NativeDevice {
    if (this.#disposed) throw new HebbError('DISPOSED', 'Expected a device that is in use, got one that was disposed')
    return this.native
  }
}

/** Opens a device. */
export function device(options: DeviceOptions | 'auto' | 'cpu' | 'cuda' = {}): Device {
  return new Device(typeof options === 'string' ? { kind: options } : options)
}

/** A device, or how to open one. */
export type DeviceChoice = Device | DeviceOptions | 'auto' | 'cpu' | 'cuda'

export function openDevice(choice: DeviceChoice): { device: Device; owned: boolean } {
  if (choice instanceof Device) return { device: choice, owned: false }
  return { device: new Device(typeof choice === 'string' ? { kind: choice } : choice), owned: true }
}
