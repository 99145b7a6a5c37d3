/** hebb doctor: which addon was loaded, and which devices it finds here. What to send with a report of a bug. */
import type { Command } from 'commander'
import { Device } from '../device.js'
import { addon, addonPath } from '../native.js'
import { read } from '../settings/flags.js'
import { type Call, define } from './command.js'

/** Own kernels are the default: --blas cublas, or blas: 'cublas', asks for it. */
const cublas = ({ found, detail }: { found: boolean; detail: string }) =>
  found ? `${detail}, used where blas is 'cublas'` : detail

/** What was loaded, and what this machine offers. */
export function defineDoctor(program: Command): void {
  define(program, 'doctor', {
    does: 'tells what was loaded and what this machine offers',
    examples: ['hebb doctor', 'hebb doctor --json'],
    run: doctor,
  })
}

function doctor({ texts }: Call): void {
  const { given } = read('doctor', texts)
  using device = new Device()
  const { name, simd, threads, detail } = device.info
  const cuda = addon.cudaStatus()
  const report = {
    node: process.version,
    platform: `${process.platform}-${process.arch}`,
    addon: addonPath,
    processor: name,
    simd: `${simd} (this processor can run ${detail})`,
    threads,
    cuda: cuda.built
      ? cuda.devices > 0
        ? `${cuda.devices} usable: ${cuda.detail}`
        : `built in, no usable GPU: ${cuda.detail}`
      : cuda.detail,
    cublas: cuda.devices > 0 ? cublas(addon.cublasStatus()) : 'of use with a GPU only',
    deterministic:
      cuda.devices > 0
        ? "on this GPU, by its fastest routes; where deterministic is 'everywhere', by those with the CPU's bits"
        : device.info.deterministic,
    auto: device.reason,
  }
  if (given.json) console.log(JSON.stringify(report))
  else for (const [key, value] of Object.entries(report)) console.log(`${key.padEnd(13)} ${value}`)
}
