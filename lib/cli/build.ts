/** hebb build: makes the addon from the sources in the package, where its binaries do not load. */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import type { Command } from 'commander'
import { HebbError } from '../error.js'
import { builder, cureOf } from '../package.js'
import { read } from '../settings/flags.js'
import { type Call, define } from './command.js'

export function defineBuild(program: Command): void {
  define(program, 'build', {
    does: "builds the native addon from the package's sources, where no binary loads; for GPUs too with HEBB_CUDA=ON",
    examples: ['hebb build'],
    run: build,
  })
}

function build({ texts }: Call): void {
  read('build', texts)
  if (!existsSync(builder))
    throw new HebbError('MISSING_FILE', `Expected hebb's sources beside it, got no ${builder}. ${cureOf('')}`)
  // What it misses it says itself.
  process.exitCode = spawnSync(process.execPath, [builder], { stdio: 'inherit' }).status ?? 1
}
