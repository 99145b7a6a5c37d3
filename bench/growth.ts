/**
 * How a training step and the memory of a trainer grow with the links, over three decades: networks of n-n-n-10 neurons
 * with a fixed number of links a neuron, so that neurons and activations grow with the links. Exponents are slopes of
 * least squares in log-log.
 *
 * The same sweep is run with two topologies. With links anywhere a product fetches rows of the activations at random,
 * from a cache that holds them or from memory when none does: a row then costs more, and the curve bends there. With
 * links as the library's own network has them (BRF, most of them near) the same work is done on rows that are mostly
 * still in a cache, whatever the size. What differs between the two is the memory hierarchy; what both share is the
 * library.
 */
import { dataset } from '../lib/data/dataset.js'
import { brf, erdosRenyi, mlp, sgd, staticSparse, type Topology, Trainer } from '../lib/index.js'
import { type BenchOptions, median, progress, Quiet, type Report, type Row, rowOf, type Series } from './measure.js'
import { logLogPlot } from './plot.js'

/** Links a neuron has on its input side. */
const DEGREE = 10
const BATCH = 32
const LAYERS = 2
const CLASSES = 10
/** Neurons a layer: from 1e4 to 1e7 links, three sizes a decade. */
const WIDTHS = Array.from({ length: 10 }, (_, i) => Math.round(500 * 10 ** (i / 3)))
const QUICK_WIDTHS = [500, 1077, 2321]
/** Bytes of the data set, whatever the width: an epoch is as many steps as it then makes. */
const DATA_BYTES = 32 << 20
/** A network so small that its step is nothing but its operations' fixed costs. */
const TINY = 32
const TOLERANCE = 0.05

const topologies: { readonly name: string; readonly topology: () => Topology }[] = [
  { name: 'BRF links', topology: brf },
  { name: 'links anywhere', topology: erdosRenyi },
]

interface Point {
  readonly links: number
  readonly neurons: number
  /** Seconds a step, of each round. */
  readonly seconds: readonly number[]
  /** Live native memory without the data set. */
  readonly bytes: number
  readonly dataBytes: number
}

/** Least squares of log y = log factor + exponent log x. */
export function fitPower(points: readonly (readonly [number, number])[]): { factor: number; exponent: number } {
  const logs = points.map(([x, y]) => [Math.log(x), Math.log(y)] as const)
  const mean = (of: (p: readonly [number, number]) => number) => logs.reduce((sum, p) => sum + of(p), 0) / logs.length
  const [mx, my] = [mean(([x]) => x), mean(([, y]) => y)]
  const exponent = mean(([x, y]) => (x - mx) * (y - my)) / mean(([x]) => (x - mx) ** 2)
  return { factor: Math.exp(my - exponent * mx), exponent }
}

async function measure(width: number, topology: Topology, options: BenchOptions, quiet: Quiet): Promise<Point> {
  const { rounds, threads, quick } = options
  const steps = Math.max(2, Math.floor((quick ? 1 << 18 : DATA_BYTES) / (BATCH * width)))
  const samples = steps * BATCH
  // Values that do not repeat with a row or a column.
  const x = new Uint8Array(samples * width).map((_, i) => (i * 167) ^ (i >> 7))
  const y = Int32Array.from({ length: samples }, (_, i) => i % CLASSES)
  const data = dataset({ x, y, shape: [width], classes: CLASSES, name: 'growth' })
  const model = mlp({
    widths: [...new Array(LAYERS + 1).fill(width), CLASSES],
    density: DEGREE / width,
    sparseOutput: true,
  })
  using trainer = new Trainer(model, {
    optimizer: sgd({ learningRate: 1e-3, momentum: 0.9 }),
    dst: staticSparse({ topology }),
    device: { kind: 'cpu', threads },
    trackHistory: false, // the smaller of two kinds of memory, which bends the line for small layers
  })
  const seconds: number[] = []
  let links = 0
  let bytes = 0
  const dataBytes = x.byteLength + 2 * 4 * samples
  for await (const epoch of trainer.fit(data, { epochs: 1 + rounds, batchSize: BATCH })) {
    if (epoch.epoch > 1) seconds.push(epoch.seconds / steps)
    links = epoch.links
    bytes = trainer.memory().bytes - dataBytes
  }
  await quiet.settle()
  return { links, neurons: (LAYERS + 1) * width + CLASSES, seconds, bytes, dataBytes }
}

const time = (p: Point): [number, number] => [p.links, median(p.seconds)]
const memory = (p: Point): [number, number] => [p.links, p.bytes]

export async function growth(options: BenchOptions): Promise<Report> {
  const { threads, quick } = options
  const quiet = new Quiet(options)
  const tiny = await measure(TINY, erdosRenyi(), options, quiet)
  const curves: Point[][] = topologies.map(() => [])
  for (const width of quick ? QUICK_WIDTHS : WIDTHS) {
    for (const [i, { name, topology }] of topologies.entries()) {
      progress(`growth: ${width} neurons a layer, ${name}`)
      curves[i]?.push(await measure(width, topology(), options, quiet))
    }
  }

  const series: Series[] = [
    {
      name: `fixed cost of a step: ${TINY} neurons a layer, ${tiny.links} links`,
      unit: 'us',
      samples: tiny.seconds.map((s) => 1e6 * s),
    },
  ]
  const figures: { name: string; unit: string; value: number; goal?: string }[] = []
  const rows: Row[] = []
  for (const [i, { name }] of topologies.entries()) {
    const points = curves[i] as Point[]
    for (const [n, point] of points.entries()) {
      const before = points[n - 1]
      const local = before ? `, exponent here ${fitPower([time(before), time(point)]).exponent.toFixed(2)}` : ''
      const text = `${point.links.toLocaleString('en-US')} ${name}, ${(point.bytes / 2 ** 20).toFixed(1)} MiB`
      series.push({ name: `${text}: a step${local}`, unit: 'us', samples: point.seconds.map((s) => 1e6 * s) })
      const about = {
        name: `growth/${name}/${point.links}`,
        operation: `training step, ${name}`,
        batch: BATCH,
        threads,
        item: 'link',
        items: point.links,
      }
      rows.push(rowOf(about, point.seconds))
    }
    const exponent = (what: string, value: number) =>
      figures.push({
        name: `${name}: exponent of ${what}`,
        unit: '',
        value,
        goal: `1 within ${TOLERANCE}: ${Math.abs(value - 1) <= TOLERANCE ? 'met' : 'missed'}`,
      })
    exponent('time, all', fitPower(points.map(time)).exponent)
    exponent('memory, all', fitPower(points.map(memory)).exponent)
    // Three sizes a decade, and the one that ends it.
    for (let n = 0; n + 3 < points.length; n += 3) {
      const part = points.slice(n, n + 4)
      const [from, to] = [part[0] as Point, part.at(-1) as Point].map((p) => p.links.toExponential(0))
      figures.push({
        name: `${name}: exponent of time, ${from} to ${to} links`,
        unit: '',
        value: fitPower(part.map(time)).exponent,
      })
    }
    const fixed = median(tiny.seconds)
    const beyond = points
      .filter((p) => median(p.seconds) > 2 * fixed)
      .map((p): [number, number] => [p.links, median(p.seconds) - fixed])
    if (beyond.length > 1)
      figures.push({
        name: `${name}: exponent of time less the fixed cost`,
        unit: '',
        value: fitPower(beyond).exponent,
      })
  }

  const fitted = (of: (p: Point) => [number, number]) =>
    topologies.map(({ name }, i) => {
      const points = (curves[i] as Point[]).map(of)
      return { name, points, fit: fitPower(points) }
    })
  const subtitle = `${DEGREE} links a neuron, batch ${BATCH}, ${threads} threads, median of ${options.rounds}`
  return {
    series,
    figures,
    rows,
    files: {
      'growth-time.svg': logLogPlot({
        title: 'Time of a training step',
        subtitle,
        x: 'links',
        y: 'seconds',
        series: fitted(time),
      }),
      'growth-memory.svg': logLogPlot({
        title: 'Live native memory of a trainer',
        subtitle: `${subtitle}, without the data set`,
        x: 'links',
        y: 'bytes',
        series: fitted(memory),
      }),
    },
    details: {
      points: topologies.map(({ name }, i) => ({
        topology: name,
        points: (curves[i] as Point[]).map((p) => ({
          links: p.links,
          neurons: p.neurons,
          medianSeconds: median(p.seconds),
          bytes: p.bytes,
          dataBytes: p.dataBytes,
        })),
      })),
    },
    notes: [
      `n-n-n-${CLASSES} neurons, ${DEGREE} links a neuron, batch ${BATCH}, SGD with momentum, gathering ` +
        'included; memory is live native memory without the data set',
      'BRF links (r = 0.25, the default) do the same work on rows that are mostly still in a cache; where links ' +
        'anywhere cost more, the memory hierarchy does it',
      ...quiet.notes,
    ],
  }
}
