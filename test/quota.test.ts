/** The default number of threads keeps to the CPU quota of a control group, as containers have one. */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, rmdirSync, writeFileSync } from 'node:fs'
import { expect } from 'chai'
import { Device } from '../lib/index.js'
import { main } from './programs.js'

/** Where root may make groups: version 1, or 2. */
function groupOf(quota: number): string | undefined {
  for (const [root, file] of [
    ['/sys/fs/cgroup/cpu', 'cpu.cfs_quota_us'],
    ['/sys/fs/cgroup', 'cpu.max'],
  ] as const) {
    const group = `${root}/hebb-test-${process.pid}`
    try {
      if (!existsSync(`${root}/cgroup.procs`)) continue
      mkdirSync(group)
      writeFileSync(`${group}/${file}`, String(quota))
      return group
    } catch {
      if (existsSync(group)) rmdirSync(group)
    }
  }
  return undefined
}

describe('the default number of threads', () => {
  for (const [share, threads] of [
    [0.5, 1],
    [1, 1],
    [1.9, 1],
    [64, undefined],
  ] as const)
    it(`with a quota of ${share} processors is ${threads ?? 'that without one'}`, function () {
      using device = new Device({ kind: 'cpu' })
      const group = groupOf(share * 100_000)
      if (!group) this.skip()
      try {
        const command = `echo $$ > ${group}/cgroup.procs && exec "$0" "$@"`
        const { stdout } = spawnSync('sh', ['-c', command, process.execPath, main, 'doctor', '--json'], {
          encoding: 'utf8',
        })
        expect(JSON.parse(stdout).threads).to.equal(threads ?? device.info.threads)
      } finally {
        rmdirSync(group)
      }
    })
})
