/**
 * Room for links as a layer's density falls: a function of its schedule and of the updates done, and of nothing that
 * has happened. A run that is resumed then has the room, and on a GPU the kernels, that it would have had.
 */
import type { DensitySchedule } from './density.js'

export function linksAt(density: number, possible: number): number {
  return Math.round(density * possible)
}

/**
 * A layer is given other memory when it needs less than this share of what it has, and when its density is the final
 * one.
 */
const SHRINK = 7 / 8

export class Room {
  /** The most links that there will be after update c or a later one. */
  readonly #needed: Int32Array
  readonly #most: number

  /** `most`: what the layer begins with room for. `updates`: how many the schedule is laid out over. */
  constructor(
    schedule: DensitySchedule,
    { possible, most, updates }: { possible: number; most: number; updates: number },
  ) {
    this.#most = most
    this.#needed = new Int32Array(updates + 1)
    let needed = 0
    for (let c = updates; c >= 0; --c) {
      needed = Math.max(needed, linksAt(schedule(c), possible))
      this.#needed[c] = needed
    }
  }

  /** Links that must fit after `c` updates. */
  needed(c: number): number {
    return this.#needed[Math.min(c, this.#needed.length - 1)] as number
  }

  /** Links that are to fit then. */
  after(c: number): number {
    const needed = this.needed(c)
    if (needed === this.needed(this.#needed.length - 1)) return needed
    let room = this.#most
    for (let next = Math.floor(room * SHRINK); next >= needed; next = Math.floor(room * SHRINK)) room = next
    return Math.max(room, needed)
  }
}
