/**
 * Runs topology updates: (prune to the scheduled density) -> remove -> percolate -> score and regrow -> rebuild, for
 * all layers. The built-in parts are recorded into Programs once; a user's own function gets copies of the links
 * between them. Until the rebuild nothing that training sees has changed, so an update that is stopped or fails leaves
 * the network as it was.
 */
import type { LayerGradient } from '../autograd.js'
import type { Device } from '../device.js'
import { expect, HebbError, show } from '../error.js'
import type { Relation } from '../nn/module.js'
import type { Pool, SparseParameter } from '../nn/parameter.js'
import { Program } from '../program.js'
import { cscSlots, inRowOrder, type SparseMatrix, Tensor } from '../tensor.js'
import type { DensitySchedule } from './density.js'
import { type Method, usesGradients } from './method.js'
import type { RegrowFunction } from './regrow.js'
import type { BuiltInRemove, RemoveFunction } from './remove.js'
import { linksAt, Room } from './room.js'

/** Steps of the training run that updates are laid out over. */
interface Plan {
  readonly steps: number
  readonly stepsPerEpoch: number
}

/** The gradients of a batch, for methods that ask for them. */
export interface Gradients {
  /** What they are products of, and columns of a full batch. */
  readonly probe: {
    readonly batch: number
    readonly layers: readonly LayerGradient[]
    /** What they are multiplied by. */
    readonly lossScale: number
  }
  /** Valid columns of this batch. */
  readonly columns: number
}

interface Layer {
  readonly parameter: SparseParameter
  /** Density after c updates. */
  readonly density: DensitySchedule
  readonly room: Room
  readonly changes: {
    keep: Tensor<'uint8'>
    newRows: Tensor<'int32'>
    newColumns: Tensor<'int32'>
    newCount: Tensor<'int32'>
  }
  /** New links that the update has removed, and new links; where that may end a layer's updates. */
  readonly returned: Tensor<'int32'> | undefined
  /** Index of the layer's first scalar. */
  readonly scalar: number
}

/** Links that a choice is made among. */
interface Candidates {
  readonly links: SparseMatrix
  readonly values: Tensor
  readonly keep: Tensor<'uint8'>
}

function poolOf({ pool, layer }: SparseParameter): Pool {
  if (!pool) throw new HebbError('INVALID_ARGUMENT', `Expected layer ${layer} to have a pool of links, got none`)
  return pool
}

/** Scalars of a layer in the table, after the update's number at index 0. */
const PRUNED = 0
const KEPT = 1
const TEMPERATURE = 2
const TARGET = 3
const SCALARS = 4

/**
 * Updates that a plan leads to: after every `every` steps, until the share `until` of all steps, and not after the last
 * one.
 */
export function updatesOf(method: Method, plan: Plan): { count: number; interval: number; lastStep: number } {
  if (!method.updates) return { count: 0, interval: Number.POSITIVE_INFINITY, lastStep: 0 }
  const interval = method.updates.every === 'epoch' ? plan.stepsPerEpoch : method.updates.every
  const lastStep = method.updates.until * plan.steps
  return { count: Math.floor(Math.min(lastStep, plan.steps - 1) / interval), interval, lastStep }
}

export class Scheduler {
  readonly #device: Device
  readonly #method: Method
  readonly #seed: number
  readonly #parameters: readonly SparseParameter[]
  readonly #relations: readonly Relation[]
  #plan: Plan | undefined
  #layers: Layer[] = []
  #segments: (Program | (() => Promise<void>))[] = []
  #scores: Tensor | undefined
  /** What the segments' gradients are products of. */
  #probe: Gradients['probe'] | undefined
  #done = 0
  /** Layers, by number, whose links stay as they are. */
  #settled = new Set<number>()
  /** The step before which the last update was made. */
  #lastStep = 0
  /** The Program that is being recorded. */
  #open: Program | undefined
  /** The update that runs. */
  #current: { update: number; scalars: Float64Array } = { update: 0, scalars: new Float64Array() }

  /** `parameters` are the layers whose links move; relations to others are left out. */
  constructor(
    device: Device,
    method: Method,
    seed: number,
    parameters: readonly SparseParameter[],
    relations: readonly Relation[],
  ) {
    this.#device = device
    this.#method = method
    this.#seed = seed
    this.#parameters = parameters
    this.#relations = relations.filter(({ first, second }) => parameters.includes(first) && parameters.includes(second))
  }

  /** Updates done, the step before which the last one was, and the layers that had their last. */
  get progress(): { done: number; step: number; settled: readonly number[] } {
    return { done: this.#done, step: this.#lastStep, settled: [...this.#settled] }
  }

  /** Whether update() is to be given gradients. */
  get needsGradients(): boolean {
    return usesGradients(this.#method)
  }

  /** Goes on after updates that were made before. */
  restore({ done, step, settled }: { done: number; step: number; settled: readonly number[] }): void {
    this.#done = done
    this.#lastStep = step
    this.#settled = new Set(settled)
  }

  /** A run begins: its first step is step 0. */
  begin(): void {
    this.#lastStep = 0
    this.#settled.clear()
  }

  /** Lays the updates out over a run. */
  plan(plan: Plan): void {
    this.#plan = plan
    const { count } = updatesOf(this.#method, plan)
    this.#layers = this.#layers.length
      ? this.#layers.map((layer) => ({ ...layer, ...this.#scheduled(layer.parameter, count) }))
      : this.#parameters.map((parameter, i) => ({
          parameter,
          ...this.#scheduled(parameter, count),
          changes: {
            keep: new Tensor(this.#device, 'uint8', parameter.capacity),
            newRows: new Tensor(this.#device, 'int32', parameter.capacity),
            newColumns: new Tensor(this.#device, 'int32', parameter.capacity),
            newCount: new Tensor(this.#device, 'int32', 1),
          },
          returned: this.#method.earlyStop === undefined ? undefined : new Tensor(this.#device, 'int32', 2),
          scalar: 1 + i * SCALARS,
        }))
    if (this.#segments.length === 0 && count > 0 && !this.needsGradients && !this.#method.prune.historical)
      this.#record()
  }

  /** Whether an update is due before step `step` runs. */
  due(step: number): boolean {
    if (!this.#plan || this.#parameters.length === 0) return false
    const { interval, lastStep } = updatesOf(this.#method, this.#plan)
    return step > this.#lastStep && step < this.#plan.steps && step <= lastStep && step % interval === 0
  }

  /** Steps from the last update, or from the first step, to `step`. */
  stepsSinceUpdate(step: number): number {
    return step - this.#lastStep
  }

  /** Share of the possible links that the layers have now, as their schedule says; 1 without any. */
  get density(): number {
    let [links, possible] = [0, 0]
    for (const parameter of this.#parameters) {
      const planned = this.#layers.find((layer) => layer.parameter === parameter)
      links += linksAt(planned?.density(this.#done) ?? parameter.density, parameter.possible)
      possible += parameter.possible
    }
    return possible === 0 ? 1 : links / possible
  }

  /** Steps from `step` until the next update is due, at least 1. */
  until(step: number): number {
    if (!this.#plan) return Number.POSITIVE_INFINITY
    const { interval } = updatesOf(this.#method, this.#plan)
    return interval - (step % interval)
  }

  /** Runs one update. */
  async update(
    step: number,
    { gradients, signal }: { gradients?: Gradients | undefined; signal?: AbortSignal | undefined } = {},
  ): Promise<void> {
    if (!this.#plan || !this.#method.updates)
      throw new HebbError('INVALID_ARGUMENT', 'Expected a method with updates and a plan')
    const { lastStep } = updatesOf(this.#method, this.#plan)
    const update = this.#done + 1
    if (gradients && gradients.probe !== this.#probe) {
      this.#forget()
      this.#probe = gradients.probe
      this.#record()
    }
    if (this.#segments.length === 0) this.#record() // pools were made since the run was planned
    const remove = this.#method.remove
    const heat = typeof remove === 'object' ? remove.temperature : undefined
    const scalars = new Float64Array(1 + SCALARS * this.#layers.length)
    scalars[0] = update
    for (const layer of this.#layers) {
      const needed = layer.room.needed(this.#done)
      // After a run that ended sparser than this one is now.
      if (layer.parameter.capacity < needed) await this.#resize(layer, layer.room.after(this.#done))
    }
    for (const { parameter, density, scalar } of this.#layers) {
      const share = density(update)
      const target = linksAt(share, parameter.possible)
      const zeta = this.#settled.has(parameter.layer)
        ? 0
        : this.#method.updates.fraction({ step, lastStep, density: share, target: parameter.density })
      scalars[scalar + PRUNED] = target
      scalars[scalar + KEPT] = target - Math.floor(zeta * target)
      scalars[scalar + TEMPERATURE] = heat ? heat.from + ((heat.to - heat.from) * step) / lastStep : 1
      scalars[scalar + TARGET] = target
    }
    this.#current = { update, scalars }
    for (const segment of this.#segments) {
      if (signal?.aborted)
        throw new HebbError('ABORTED', 'The update was stopped by its AbortSignal', { cause: signal.reason })
      if (typeof segment === 'function') {
        await segment()
      } else {
        await segment.replay(1, { signal, begin: { scalars, columns: gradients?.columns } })
      }
    }
    for (const { parameter, returned } of this.#layers) {
      if (!returned) continue
      const [again, grown] = (await returned.read()) as unknown as [number, number]
      if (again > (this.#method.earlyStop as number) * grown) this.#settled.add(parameter.layer)
    }
    this.#done = update
    this.#lastStep = step
    await this.#giveBack()
  }

  /** Gives back the memory that links of a falling density no longer need. */
  async #giveBack(): Promise<void> {
    for (const layer of this.#layers) {
      const room = layer.room.after(this.#done)
      if (room >= layer.parameter.capacity) continue
      try {
        await this.#resize(layer, room)
      } catch (error) {
        // The move takes memory for a moment. Where there is none, the layer keeps what it has.
        if ((error as HebbError).code !== 'OUT_OF_MEMORY') throw error
      }
    }
  }

  /** What updates choose in, on the device. */
  get bytes(): number {
    const tensors = this.#layers.flatMap(({ changes, returned }) => [...Object.values(changes), returned])
    return [...tensors, this.#scores].reduce((sum, tensor) => sum + (tensor?.bytes ?? 0), 0)
  }

  dispose(): void {
    this.#forget()
    for (const { changes, returned } of this.#layers)
      for (const tensor of [...Object.values(changes), returned]) tensor?.dispose()
    this.#scores?.dispose()
  }

  #forget(): void {
    for (const segment of this.#segments) if (typeof segment !== 'function') segment.dispose()
    this.#segments = []
  }

  #scheduled({ density: target, possible }: SparseParameter, updates: number): Pick<Layer, 'density' | 'room'> {
    const rule = this.#method.density
    const density = rule.schedule({ target, updates })
    const most = linksAt(rule.most(target), possible)
    const falls = most > linksAt(target, possible)
    return { density, room: new Room(density, { possible, most, updates: falls ? updates : 0 }) }
  }

  /** The Program that the next built-in part is recorded into: the open one, or a new one after a user's function. */
  #program(): Program {
    if (!this.#open) {
      this.#open = new Program(this.#device, {
        scalars: 1 + SCALARS * this.#layers.length,
        batch: this.#probe?.batch ?? 1,
      })
      this.#segments.push(this.#open)
    }
    return this.#open
  }

  #custom(run: () => Promise<void>): void {
    this.#open = undefined
    this.#segments.push(run)
  }

  #record(): void {
    const { remove, regrow, prune, percolate } = this.#method
    for (const layer of this.#layers) {
      this.#program().record('beginUpdate', { links: layer.parameter.matrix, changes: layer.changes })
      if (prune.historical) this.#recordChoice(layer, prune, 'prune', PRUNED)
      else this.#recordKeep(layer, prune, 'prune', PRUNED)
      if (typeof remove === 'object') this.#recordKeep(layer, remove, 'remove', KEPT)
    }
    if (typeof remove === 'function') {
      for (const layer of this.#layers) this.#custom(() => this.#userRemove(layer))
    }
    const relations = percolate ? this.#relatedLayers() : []
    if (relations.length > 0) {
      this.#program().record('percolate', {
        layers: this.#layers.map(({ parameter, changes }) => ({ links: parameter.matrix, keep: changes.keep })),
        relations,
      })
    }
    for (const layer of this.#layers) {
      if (typeof regrow === 'function') {
        this.#custom(() => this.#userRegrow(layer))
      } else if (regrow) {
        const common = {
          links: layer.parameter.matrix,
          changes: layer.changes,
          count: layer.scalar + TARGET,
          update: 0,
          seed: this.#seed,
          layer: layer.parameter.layer,
        }
        if (regrow.predictor === 'gradient') {
          const { input, outputGradient } = this.#gradientOf(layer.parameter)
          this.#program().record('regrowByGradient', { ...common, input, outputGradient })
        } else {
          const { predictor, selection, route = 'auto' } = regrow
          this.#program().record('regrow', { ...common, predictor, selection, route })
        }
      }
    }
    for (const { parameter, changes, returned } of this.#layers) {
      if (returned) this.#program().record('returnedLinks', { links: parameter.matrix, changes, counts: returned })
      const links = parameter.matrix
      this.#program().record('rebuild', { links, changes, arrays: parameter.arrays })
      if (prune.historical)
        this.#program().record('restoreWeights', { links, values: parameter.values, pool: poolOf(parameter) })
    }
    this.#open = undefined
  }

  /** Records the choice of the links that stay. Without decay, pruning finds nothing to do. */
  #recordKeep(layer: Layer, rule: BuiltInRemove, purpose: 'prune' | 'remove', count: number): void {
    const { parameter, changes } = layer
    this.#recordRanking(
      layer,
      { links: parameter.matrix, values: parameter.values, keep: changes.keep },
      rule,
      purpose,
      count,
    )
  }

  /** Records the choice of the links that stay or return, among those of the pool. */
  #recordChoice(layer: Layer, rule: BuiltInRemove, purpose: 'prune' | 'remove', count: number): void {
    const { parameter, changes } = layer
    const pool = poolOf(parameter)
    const links = parameter.matrix
    this.#program().record('openPool', { links, values: parameter.values, pool })
    this.#recordRanking(layer, pool, rule, purpose, count)
    this.#program().record('chooseFromPool', { links, changes, pool })
  }

  #recordRanking(
    { parameter, scalar }: Layer,
    { links, values, keep }: Candidates,
    rule: BuiltInRemove,
    purpose: 'prune' | 'remove',
    count: number,
  ): void {
    // Scores are read by the operation after the one that writes them: all layers and rules share an array.
    this.#scores ??= new Tensor(
      this.#device,
      'float32',
      Math.max(...this.#parameters.map((p) => Math.max(p.capacity, p.pool?.links.capacity ?? 0))),
    )
    const scores = this.#scores
    const share = (rule.gradientShare ?? 0) / (this.#probe?.lossScale ?? 1)
    const gradient = rule.importance === 'magnitude+gradient' && { gradient: parameter.gradient, share }
    this.#program().record('importance', { links, values, keep, rule: rule.importance, scores, ...gradient })
    this.#program().record('keepLinks', {
      links,
      scores,
      keep,
      count: scalar + count,
      temperature: rule.temperature ? scalar + TEMPERATURE : undefined,
      update: 0,
      seed: this.#seed,
      purpose,
      layer: parameter.layer,
    })
  }

  #gradientOf(parameter: SparseParameter): LayerGradient {
    const uses = this.#probe?.layers.filter(({ weights }) => weights === parameter) ?? []
    if (uses.length !== 1) {
      const [name, layer] = [this.#method.name, parameter.layer]
      throw new HebbError(
        'UNSUPPORTED',
        `Expected ${name}'s layers to be used once in a forward pass, for their gradients, got ${uses.length} ` +
          `uses of layer ${layer}`,
      )
    }
    return uses[0] as LayerGradient
  }

  /** Layers that share neurons, as the model declares them, by their places. */
  #relatedLayers(): { first: number; second: number; kind: Relation['kind'] }[] {
    const place = (parameter: SparseParameter) => this.#parameters.indexOf(parameter)
    return this.#relations.map(({ first, second, kind }) => ({ first: place(first), second: place(second), kind }))
  }

  /** Gives a layer room for so many links, and all that runs parallel to them. */
  async #resize({ parameter, changes: { keep, newRows, newColumns } }: Layer, capacity: number): Promise<void> {
    const arrays = async () => {
      for (const tensor of [keep, newRows, newColumns]) await tensor.resize(capacity)
    }
    if (capacity > parameter.capacity) await arrays()
    await parameter.resize(capacity)
    if (capacity < keep.length) await arrays()
    const most = Math.max(...this.#parameters.map((p) => Math.max(p.capacity, p.pool?.links.capacity ?? 0)))
    if (this.#scores && this.#scores.length !== most) await this.#scores.resize(most)
  }

  async #userRemove({ parameter, changes, scalar }: Layer): Promise<void> {
    const { matrix } = parameter
    const [links, values, keep] = await Promise.all([matrix.read(), parameter.values.read(), changes.keep.read()])
    const slots = cscSlots(links, matrix.cols)
    // The user sees the links that pruning has left, by row; `places` leads back.
    const places: number[] = []
    const rowOffsets = new Int32Array(matrix.rows + 1)
    for (let row = 0; row < matrix.rows; ++row) {
      for (let k = links.rowOffsets[row] as number; k < (links.rowOffsets[row + 1] as number); ++k)
        if (keep[slots[k] as number]) places.push(k)
      rowOffsets[row + 1] = places.length
    }
    const count = places.length - (this.#current.scalars[scalar + KEPT] as number)
    const view = {
      rows: matrix.rows,
      cols: matrix.cols,
      rowOffsets,
      columnIndices: Int32Array.from(places, (k) => links.columnIndices[k] as number),
      values: Float32Array.from(places, (k) => values[slots[k] as number] as number),
      layer: parameter.layer,
      update: this.#current.update,
      seed: this.#seed,
    }
    const removed = await (this.#method.remove as RemoveFunction)(view, Math.max(0, count))
    expect(
      typeof removed?.length === 'number',
      () => `Expected the remove function to give an array of places, got ${show(removed)} in layer ${parameter.layer}`,
    )
    for (const place of Array.from(removed)) {
      const slot = slots[places[place] as number] as number
      expect(
        Number.isInteger(place) && place >= 0 && place < places.length && keep[slot] === 1,
        () =>
          `Expected the remove function to give each place in [0, ${places.length}) at most once, got ${place} ` +
          `in layer ${parameter.layer}`,
      )
      keep[slot] = 0
    }
    await changes.keep.write(keep)
  }

  async #userRegrow({ parameter, changes, scalar }: Layer): Promise<void> {
    const { matrix } = parameter
    const [links, flags] = await Promise.all([matrix.read(), changes.keep.read()])
    const keep = inRowOrder(flags, cscSlots(links, matrix.cols))
    const rowOffsets = new Int32Array(matrix.rows + 1)
    const kept: number[] = []
    for (let row = 0; row < matrix.rows; ++row) {
      for (let k = links.rowOffsets[row] as number; k < (links.rowOffsets[row + 1] as number); ++k)
        if (keep[k]) kept.push(links.columnIndices[k] as number)
      rowOffsets[row + 1] = kept.length
    }
    const columnIndices = Int32Array.from(kept)
    const count = Math.max(0, (this.#current.scalars[scalar + TARGET] as number) - kept.length)
    const view = {
      rows: matrix.rows,
      cols: matrix.cols,
      rowOffsets,
      columnIndices,
      layer: parameter.layer,
      update: this.#current.update,
      seed: this.#seed,
    }
    const given = await (this.#method.regrow as RegrowFunction)(view, count)
    const where = `in layer ${parameter.layer}`
    expect(
      typeof given?.row?.length === 'number' && typeof given.col?.length === 'number',
      () => `Expected the regrow function to give { row, col }, two arrays, got ${show(given)} ${where}`,
    )
    const { row, col } = given
    expect(
      row.length === count && col.length === count,
      () =>
        `Expected the regrow function to give ${count} links, got ${row.length} rows and ${col.length} columns ` +
        where,
    )
    const order = Array.from({ length: count }, (_, i) => i).sort(
      (a, b) => (row[a] as number) - (row[b] as number) || (col[a] as number) - (col[b] as number),
    )
    const newRows = new Int32Array(parameter.capacity)
    const newColumns = new Int32Array(parameter.capacity)
    const inRange = (x: unknown, end: number) => Number.isInteger(x) && (x as number) >= 0 && (x as number) < end
    for (const [n, i] of order.entries()) {
      const [r, c] = [row[i] as number, col[i] as number]
      expect(
        inRange(r, matrix.rows) && inRange(c, matrix.cols),
        () => `Expected new links inside ${matrix.rows} x ${matrix.cols}, got (${r}, ${c}) ${where}`,
      )
      expect(
        n === 0 || newRows[n - 1] !== r || newColumns[n - 1] !== c,
        () => `Expected each new link once, got (${r}, ${c}) twice ${where}`,
      )
      expect(
        !columnIndices.subarray(rowOffsets[r] as number, rowOffsets[r + 1] as number).includes(c),
        () => `Expected missing links, got (${r}, ${c}), which exists, ${where}`,
      )
      newRows[n] = r
      newColumns[n] = c
    }
    await Promise.all([
      changes.newRows.write(newRows),
      changes.newColumns.write(newColumns),
      changes.newCount.write(Int32Array.of(count)),
    ])
  }
}
