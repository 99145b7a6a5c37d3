/** BLEU of a file of translations beside a file of references: `npx tsx bench/bleu.ts HYPOTHESES REFERENCES`. */
import { corpusBleu, readLines } from '../lib/text/index.js'

const [hypotheses, references] = await Promise.all(
  process.argv.slice(2, 4).map(async (file) => {
    const lines: string[] = []
    for await (const line of readLines(file)) lines.push(line)
    return lines
  }),
)
const { score, signature } = corpusBleu(hypotheses ?? [], references ?? [])
console.log(score.toFixed(2), signature)
