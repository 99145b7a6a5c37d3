/** The package that this file is part of: whether it lies in lib/, or in a file that was made of all of lib/. */
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

function packageOf(folder: string): { root: string; version: string } {
  try {
    const { name, version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
    if (name === 'hebb') return { root: folder, version }
  } catch {}
  const above = dirname(folder)
  if (above === folder)
    throw new Error(`Expected package.json of hebb above ${fileURLToPath(import.meta.url)}, got none`)
  return packageOf(above)
}

/** Its root folder, and its version. */
export const { root: packageRoot, version }: { root: string; version: string } = packageOf(
  dirname(fileURLToPath(import.meta.url)),
)
