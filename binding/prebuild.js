// Puts the addon that was built last where node-gyp-build looks for what a package ships.
import { cpSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'

const root = join(import.meta.dirname, '..')
const folder = join(root, 'prebuilds', `${process.platform}-${process.arch}`)
const libc =
  process.platform === 'linux' ? (process.report.getReport().header.glibcVersionRuntime ? '.glibc' : '.musl') : ''
mkdirSync(folder, { recursive: true })
cpSync(join(root, 'build', 'Release', 'hebb.node'), join(folder, `node.napi${libc}.node`))
