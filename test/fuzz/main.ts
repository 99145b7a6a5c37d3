/**
 * Feeds the readers of files with changed inputs for a while: `tsx test/fuzz/main.ts [--seconds=20] [--seed=N]
 * [--keep]`, seconds for each target. Inputs whose end was not seen before join the others; with --keep they are
 * written to corpus/. Ends with 1 at the first input that a reader does not survive, and writes it to the working
 * directory.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { randomFrom } from '../synthetic.js'
import { type Input, targets } from './targets.js'

const { values } = parseArgs({
  options: { seconds: { type: 'string' }, seed: { type: 'string' }, keep: { type: 'boolean' } },
})
const seconds = Number(values.seconds ?? 20)
const seed = Number(values.seed ?? Date.now() % 2 ** 31)
const folder = mkdtempSync(join(tmpdir(), 'hebb-fuzz-'))
process.once('exit', () => rmSync(folder, { recursive: true }))
/** An input that takes this long is one to look at. */
const SLOW = 5000

for (const target of targets) {
  const corpus = fileURLToPath(new URL(`corpus/${target.name}/`, import.meta.url))
  const inputs = readdirSync(corpus).map((name) => readFileSync(join(corpus, name)))
  const random = randomFrom(seed)
  const seen = new Set<string>()
  let executions = 0
  let kept = 0
  let current: Input = Buffer.alloc(0)
  const run = async () => {
    const start = performance.now()
    const end = await target.run(current, join(folder, 'input'))
    if (performance.now() - start > SLOW) throw new Error(`took ${performance.now() - start} ms`)
    ++executions
    return end
  }
  try {
    for (current of inputs) seen.add(await run())
    for (const stop = performance.now() + 1000 * seconds; performance.now() < stop; ) {
      current = target.mutate(inputs[Math.floor(random() * inputs.length)] as Input, random)
      const end = await run()
      if (seen.has(end) || current.length > 1 << 16) continue
      seen.add(end)
      inputs.push(current)
      if (values.keep) writeFileSync(join(corpus, `${String(inputs.length).padStart(3, '0')}`), current)
      ++kept
    }
  } catch (error) {
    const file = `fuzz-${target.name}.bin`
    writeFileSync(file, current)
    console.error(
      `${target.name}: an input of ${current.length} bytes, kept in ${file}, after ${executions} executions, ` +
        `seed ${seed}:`,
      error,
    )
    process.exit(1)
  }
  console.log(
    `${target.name}: ${executions} executions in ${seconds} s, ${seen.size} different ends (${kept} new), seed ${seed}`,
  )
}
process.exit(0)
