/**
 * What runs were like, as one HTML file that needs nothing else: the table, accuracy and density over the epochs,
 * degrees of the layers and what the first layer looks at, early and late. Made of logs alone.
 */
import { type ColumnName, columns } from '../settings/flags.js'
import { taskOf } from '../train/task.js'
import { capital, type EpochEvent, figureOf, type LayerDegrees, type Run, type TopologyEvent } from './log.js'
import { page } from './page.js'
import { COLOURS, type Curve, chart, escaped, image, type Point } from './svg.js'
import { groupRuns, type Row, spread, tableOf, tableTexts } from './table.js'

interface ReportOptions {
  readonly title: string
  readonly runs: readonly Run[]
  /** What was asked for, by name. */
  readonly settings: Readonly<Record<string, unknown>>
}

/** Groups whose topology is drawn. */
const MOST_PICTURED = 32
/** Layers whose degrees are drawn. */
const MOST_LAYERS = 8

/** Runs that differ in their seed alone. */
interface Group {
  readonly row: Row
  readonly runs: readonly Run[]
  readonly colour: number
}

export function htmlReport({ title, runs, settings }: ReportOptions): string {
  const rows = tableOf(runs)
  const methods = [...new Set(rows.map((row) => labelOf(row, rows)))]
  const groups = groupRuns(runs).map(
    (group, i): Group => ({
      row: rows[i] as Row,
      runs: group,
      colour: methods.indexOf(labelOf(rows[i] as Row, rows)) % COLOURS,
    }),
  )
  /**
   * Methods that are compared with each other: on the same data, at the same density; beside each, fully connected
   * networks.
   */
  const fields = new Map<string, Group[]>()
  for (const group of groups) {
    const key = `${group.row.dataset}, density ${Number((100 * group.row.density).toPrecision(4))}%`
    fields.set(key, [...(fields.get(key) ?? []), group])
  }
  const pictured = groups.filter((group) => group.runs.some((run) => run.topologies.length > 0))
  const parts = [
    `<h1>${escaped(title)}</h1>`,
    tableHtml(rows),
    `<h2>Over the epochs</h2><p>Mean over the seeds; bands are one standard error to both sides.</p>`,
    ...[...fields].map(([key, field]) => curvesOf(key, field, rows)),
    ...(pictured.length > 0
      ? [
          `<h2>Topology</h2><p>Of the first seed, at the end of the first epoch that was kept (dashed) and ` +
            `of the last.` +
            (pictured.length > MOST_PICTURED ? ` The first ${MOST_PICTURED} of ${pictured.length} are shown.` : '') +
            '</p>',
        ]
      : []),
    ...pictured.slice(0, MOST_PICTURED).map((group) => topologyOf(group)),
    `<h2>Settings</h2>`,
    settingsOf(settings, runs),
  ]
  return page(title, parts)
}

/** What tells a row from others on the same data at the same density. */
function labelOf(row: Row, rows: readonly Row[]): string {
  const several = (key: 'topology' | ColumnName | 'epochs') =>
    rows.some((other) => other.method === row.method && other.dataset === row.dataset && other[key] !== row[key])
  return [
    row.method,
    several('topology') && row.topology,
    ...columns.map(({ name, label }) => several(name) && row[name] !== undefined && label(row[name])),
    several('epochs') && `${row.epochs} epochs`,
  ]
    .filter(Boolean)
    .join(', ')
}

function tableHtml(rows: readonly Row[]): string {
  const { head, body } = tableTexts(rows)
  const cells = (tag: string, texts: readonly string[]) =>
    `<tr>${texts.map((text) => `<${tag}>${escaped(text)}</${tag}>`).join('')}</tr>`
  const failures = rows.flatMap((row) =>
    row.failed.map(
      ({ seed, message }) => `<li>${escaped(`${row.method} on ${row.dataset}, seed ${seed}: ${message}`)}</li>`,
    ),
  )
  return `<div class="wide"><table>${cells('th', head)}${body.map((texts) => cells('td', texts)).join('')}</table></div>
<p>Mean over the seeds ± its standard error. Who picks an epoch by the samples that it is measured on \
reports too much: the last epoch is the result.</p>
${failures.length ? `<p>Runs that failed:</p><ul>${failures.join('')}</ul>` : ''}`
}

/** Mean over the runs that have an epoch, with its standard error. */
function mean(runs: readonly Run[], read: (epoch: EpochEvent) => number): Point[] {
  const byEpoch = new Map<number, number[]>()
  for (const { epochs } of runs)
    for (const event of epochs) byEpoch.set(event.epoch, [...(byEpoch.get(event.epoch) ?? []), read(event)])
  return [...byEpoch]
    .sort(([a], [b]) => a - b)
    .map(([epoch, values]) => [epoch, spread(values).mean, spread(values).error ?? 0])
}

const short = (value: number) => String(Number(value.toPrecision(4)))
const percent = (value: number) => `${Number((100 * value).toPrecision(4))}%`

function curvesOf(key: string, field: readonly Group[], rows: readonly Row[]): string {
  const curves = (read: (epoch: EpochEvent) => number) =>
    field.map(({ row, runs, colour }): Curve => ({ name: labelOf(row, rows), points: mean(runs, read), colour }))
  // One data set has one task.
  const task = taskOf(field[0]?.row)
  const { title, unit } = task.figure
  const figure = curves((epoch) => figureOf(epoch, task))
  // The first epochs rise from chance: what tells methods apart begins after a tenth of them.
  const late = figure
    .flatMap(({ points }) => points.slice(Math.floor(points.length / 10)).flatMap(([, y, s = 0]) => [y - s, y + s]))
    .filter(Number.isFinite)
  const [low, high] = [Math.min(...late), Math.max(...late)]
  const on = field.some(({ row }) => row.measuredOn === 'validation') ? 'validation' : 'test'
  const most = Math.max(
    ...field.flatMap(({ runs }) => runs.flatMap(({ epochs }) => epochs.map(({ density }) => density))),
  )
  const plain = { x: 'epoch', counts: true, yLabel: percent }
  const charts = [
    chart({
      ...plain,
      title: `${capital(title)} on the ${on} set`,
      y: title,
      curves: figure,
      ...(unit !== '%' && { yLabel: short }),
      ...(high > low && { range: [low - 0.05 * (high - low), high + 0.05 * (high - low)] as const }),
    }),
    chart({
      ...plain,
      title: 'Loss in training',
      y: 'mean loss',
      curves: curves((epoch) => epoch.trainLoss),
      yLabel: String,
    }),
    chart({
      ...plain,
      title: 'Links of the possible',
      y: 'density',
      curves: curves((epoch) => epoch.density),
      ...(most > 0 && { range: [0, 1.05 * most] as const }),
    }),
    chart({
      ...plain,
      title: 'Active neurons',
      y: 'share',
      curves: curves((epoch) => epoch.activeNeurons),
      range: [0, 1.02],
    }),
    chart({
      ...plain,
      title: 'Links ever active (ITOP)',
      y: 'share of the possible',
      curves: curves((epoch) => epoch.itop),
    }),
  ]
  const legend = field.map(
    ({ row, colour, runs }) =>
      `<span class="c${colour}"><i></i>${escaped(labelOf(row, rows))} ` +
      `(${runs.length} ${runs.length === 1 ? 'seed' : 'seeds'})</span>`,
  )
  return `<h3>${escaped(key)}</h3><p class="legend">${legend.join('')}</p><div class="row">${charts.join('')}</div>`
}

/** The share of neurons with at least so many links. */
function atLeast(histogram: LayerDegrees['inputs']): Point[] {
  const neurons = histogram.reduce((sum, [, count]) => sum + count, 0)
  let left = neurons
  return histogram.map(([degree, count]) => {
    const point: Point = [degree, left / neurons]
    left -= count
    return point
  })
}

function topologyOf({ row, runs, colour }: Group): string {
  const { topologies } = runs.find((run) => run.topologies.length > 0) as Run
  const [early, late] = [topologies[0] as TopologyEvent, topologies.at(-1) as TopologyEvent]
  const both = early === late ? [late] : [early, late]
  const charts = late.layers.slice(0, MOST_LAYERS).flatMap(({ rows, cols }, layer) =>
    (['inputs', 'outputs'] as const).map((side) =>
      chart({
        title: `Layer ${layer + 1}, ${cols} → ${rows}: ${side}`,
        x: 'links',
        y: 'share with at least as many',
        logarithmic: true,
        width: 300,
        height: 210,
        yLabel: percent,
        curves: both.map((topology) => ({
          name: `after epoch ${topology.epoch}`,
          points: atLeast((topology.layers[layer] as LayerDegrees)[side]),
          colour,
          dashed: topology !== late,
        })),
      }),
    ),
  )
  const looks = both
    .map((topology) => `<h4>After epoch ${topology.epoch}</h4><div class="row">${picturesOf(topology)}</div>`)
    .join('')
  const left =
    late.layers.length > MOST_LAYERS ? `<p>The first ${MOST_LAYERS} of ${late.layers.length} layers.</p>` : ''
  const name = `${row.method} on ${row.dataset}, density ${percent(row.density)}, network ${row.topology}`
  return `<h3>${escaped(name)}</h3><div class="row">${charts.join('')}</div>${left}${late.inputDegrees ? looks : ''}`
}

/**
 * The first layer's inputs as pictures: links of every input, and the inputs of some neurons. Channels of an image
 * stand below each other.
 */
function picturesOf({ shape, inputDegrees = [], fields = [] }: TopologyEvent): string {
  if (shape.length < 2 || shape.length > 3) return ''
  const [width, height] = [shape.at(-1) as number, shape.slice(0, -1).reduce((product, length) => product * length, 1)]
  const pixel = Math.max(1, Math.floor(112 / width))
  const [least, most] = [
    inputDegrees.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY),
    inputDegrees.reduce((a, b) => Math.max(a, b), 0),
  ]
  const figure = (values: ArrayLike<number>, caption: string, size = pixel) =>
    `<figure>${image(values, width, height, size)}<figcaption>${escaped(caption)}</figcaption></figure>`
  const seen = fields.map(({ row, links, inputs }) => {
    const bits = Buffer.from(inputs, 'base64')
    const mask = Array.from({ length: width * height }, (_, i) => ((bits[i >> 3] ?? 0) >> (i & 7)) & 1)
    return figure(mask, `neuron ${row}: ${links} links`)
  })
  return [
    figure(
      inputDegrees.map((degree) => (degree - least) / (most - least || 1)),
      `links of every input, from ${least} (light) to ${most}`,
      2 * pixel,
    ),
    ...seen,
  ].join('')
}

function settingsOf(settings: Readonly<Record<string, unknown>>, runs: readonly Run[]): string {
  const devices = new Set(
    runs.flatMap(({ done }) =>
      done
        ? [
            [
              done.device.kind,
              done.device.name,
              done.device.simd,
              done.device.threads ? `${done.device.threads} threads` : '',
            ]
              .filter(Boolean)
              .join(', '),
          ]
        : [],
    ),
  )
  const versions = new Set(
    runs.flatMap(({ done }) => (done?.version ? [`hebb ${done.version}, Node.js ${done.node}`] : [])),
  )
  const shown = {
    ...settings,
    ...(devices.size && { 'trained on': [...devices].join('; ') }),
    ...(versions.size && { with: [...versions].join('; ') }),
  }
  const text = (value: unknown) =>
    typeof value === 'string'
      ? value
      : Array.isArray(value) && value.every((v) => typeof v !== 'object')
        ? value.join(', ')
        : JSON.stringify(value)
  return `<table class="settings">${Object.entries(shown)
    .map(([name, value]) => `<tr><th>${escaped(name)}</th><td>${escaped(text(value) ?? '')}</td></tr>`)
    .join('')}</table>`
}
