import { readdir, readFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'

const lib = fileURLToPath(new URL('../lib', import.meta.url))

/** What each folder of lib/, and each file directly in it, imports of the others, types aside. */
async function importsOf(): Promise<Map<string, Set<string>>> {
  const place = (file: string) => {
    const folder = dirname(relative(lib, file))
    return folder === '.' ? relative(lib, file) : folder
  }
  const imports = new Map<string, Set<string>>()
  for (const name of await readdir(lib, { recursive: true })) {
    if (!name.endsWith('.ts')) continue
    const file = join(lib, name)
    const from = place(file)
    const into = imports.get(from) ?? new Set()
    imports.set(from, into)
    const text = await readFile(file, 'utf8')
    for (const [, names, path] of text.matchAll(/^(?:import|export) ((?:(?! from ).)*) from '(\.[^']*)\.js'/gms)) {
      const values = names.replaceAll(/[{}]/g, '').split(',')
      if (names.startsWith('type ') || values.every((one) => /^\s*(type |$)/.test(one))) continue
      const to = place(join(dirname(file), `${path}.ts`))
      if (to !== from) into.add(to)
    }
  }
  return imports
}

describe("lib's folders", () => {
  it('import one another without a circle', async () => {
    const imports = await importsOf()
    expect([...imports.keys()]).to.include.members(['nn', 'train', 'cli', 'tensor.ts'])
    expect([...(imports.get('train') ?? [])]).to.include.members(['nn', 'optim', 'dst', 'program.ts'])
    // Those that import nothing that is left are taken away, again and again.
    for (let before = -1; before !== imports.size; ) {
      before = imports.size
      for (const [name, others] of imports) {
        if ([...others].some((other) => imports.has(other))) continue
        imports.delete(name)
      }
    }
    expect(Object.fromEntries([...imports].map(([name, others]) => [name, [...others]]))).to.deep.equal({})
  })
})
