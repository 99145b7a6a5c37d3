// Says which versions of the C and C++ libraries addons need, and fails where one needs more than RHEL 8 has.
//   node binding/symbol_versions.js FILE...        needs readelf (binutils)
import { execFileSync } from 'node:child_process'

const most = { GLIBC: '2.28', GLIBCXX: '3.4.25', CXXABI: '1.3.11' }

const isNewer = (version, than) => version.localeCompare(than, 'en', { numeric: true }) > 0

const files = process.argv.slice(2)
if (files.length === 0) {
  console.error('Expected the paths of addons: node binding/symbol_versions.js FILE...')
  process.exit(1)
}
for (const file of files) {
  const lines = execFileSync('readelf', ['--wide', '--dyn-syms', '--dynamic', file], { encoding: 'utf8' }).split('\n')
  const needed = {}
  const refused = []
  for (const line of lines) {
    const [, symbol, library, version] = /\bUND (\S+?)@+([A-Z]+)_([\d.]+)/.exec(line) ?? []
    if (!(library in most)) continue
    if (!needed[library] || isNewer(version, needed[library])) needed[library] = version
    if (isNewer(version, most[library])) refused.push(`${symbol} (${library}_${version})`)
  }
  const libraries = lines.flatMap((line) => /\(NEEDED\).*\[(.*)\]/.exec(line)?.[1] ?? [])
  const versions = Object.entries(needed).map(([library, version]) => `${library} ${version}`)
  console.log(`${file}: needs ${versions.join(', ')}; ${libraries.join(' ')}`)
  if (refused.length > 0) {
    const limits = Object.entries(most).map(([library, version]) => `${library} ${version}`)
    console.error(`${file}: expected to need ${limits.join(', ')} at most, got ${refused.join(', ')}`)
    process.exitCode = 1
  }
}
