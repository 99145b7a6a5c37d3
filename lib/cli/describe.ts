/** hebb describe: prints what the links of a checkpoint look like. It needs no data set, and always runs on the CPU. */
import type { Command } from 'commander'
import { Device } from '../device.js'
import { read, valuesOf } from '../settings/flags.js'
import { count, percent } from '../settings/format.js'
import type { Degrees, LayerDescription, Measured } from '../topology/describe.js'
import { load } from '../train/predictor.js'
import { styled } from './color.js'
import { type Call, define } from './command.js'

/** What the links of a saved network look like. */
export function defineDescribe(program: Command): void {
  define(program, 'describe', {
    does: "tells what a saved network's topology looks like: degrees, clustering, path lengths, percolation",
    argument: ['<file>', 'a checkpoint'],
    examples: ['hebb describe run.safetensors', 'hebb describe run.safetensors --exact-up-to 1e12 --json'],
    run: describe,
  })
}

async function describe({ argument, texts }: Call): Promise<void> {
  const file = argument as string
  const { threads, exactUpTo, json } = valuesOf('describe', read('describe', texts).given)
  using device = new Device({ kind: 'cpu', threads })
  using predictor = await load(file, { device })
  const description = await predictor.describeTopology({ exactUpTo })
  if (json) {
    console.log(JSON.stringify({ file, ...description }))
    return
  }
  const { links, density, activeNeurons, percolated, layers } = description
  console.log(
    `${file}: ${count(links)} links in ${layers.length} sparse layers, ${percent(density)} of the possible; ` +
      `${percent(activeNeurons, 1)} of the neurons active`,
  )
  console.log(`percolated: ${count(percolated.links)} links, ${percent(percolated.neurons, 1)} of the neurons`)
  for (const [i, layer] of layers.entries()) console.log(`\n${linesOf(layer, i).join('\n')}`)
}

function linesOf(
  {
    inFeatures,
    outFeatures,
    links,
    density,
    inputs,
    outputs,
    clustering,
    pathLength,
    connected,
    percolated,
  }: LayerDescription,
  i: number,
): string[] {
  const degrees = ({ active, neurons, mean, deviation, largest }: Degrees) =>
    `${count(active)} of ${count(neurons)} active, degree ${mean.toFixed(2)} ± ${deviation.toFixed(2)}, at most ` +
    count(largest)
  const measure = ({ value, error }: Measured, digits: number) =>
    Number.isNaN(value)
      ? 'none'
      : `${value.toFixed(digits)}${error ? ` (sampled, standard error ${error.toPrecision(1)})` : ''}`
  return [
    `${styled(`layer ${i}`, 'bold', process.stdout)}      ${inFeatures} -> ${outFeatures}: ` +
      `${count(links)} links, ${percent(density)}`,
    `inputs       ${degrees(inputs)}`,
    `outputs      ${degrees(outputs)}`,
    `clustering   ${measure(clustering, 4)}`,
    `path length  ${measure(pathLength, 3)}` +
      `${Number.isNaN(connected) ? '' : `; ${percent(connected, 1)} of the pairs of active neurons are connected`}`,
    `percolated   ${count(percolated.links)} links, ${count(percolated.inputs)} -> ${count(percolated.outputs)} ` +
      'neurons',
  ]
}
