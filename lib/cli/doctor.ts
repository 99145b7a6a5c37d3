/**
 * hebb doctor: which addon was loaded, and which devices it finds here; or why none loads, and what there is to build
 * one. What to send with a report of a bug.
 */
import { spawnSync } from 'node:child_process'
import type { Command } from 'commander'
import { Device } from '../device.js'
import { HebbError } from '../error.js'
import { addon, addonPath } from '../native.js'
import { builder, isMusl, version } from '../package.js'
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
  const report = { hebb: version, node: process.version, platform: platform(), ...(missing() ?? found()) }
  if (given.json) console.log(JSON.stringify(report))
  else for (const [key, value] of Object.entries(report)) console.log(`${key.padEnd(13)} ${value}`)
}

const platform = () => `${process.platform}-${process.arch}${isMusl() ? ', musl' : ''}`

/** What is told where no addon loads; nothing where one does. */
function missing(): object | undefined {
  try {
    addonPath()
    return undefined
  } catch (error) {
    if (!(error instanceof HebbError)) throw error
    process.exitCode = 1
    const tools: Record<string, { found?: string; missing?: string }> = JSON.parse(
      spawnSync(process.execPath, [builder, '--check'], { encoding: 'utf8' }).stdout || '{}',
    )
    const told = Object.entries(tools).map(([tool, { found, missing }]) => [tool, found ?? missing])
    return { addon: error.message, ...Object.fromEntries(told) }
  }
}

/** What was loaded, and the devices. */
function found(): object {
  using device = new Device()
  const { name, simd, threads, detail } = device.info
  const cuda = addon.cudaStatus()
  return {
    addon: addonPath(),
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
}
