/** Rotary positions (Su et al., 2021): queries and keys are turned by angles that grow with a token's place. */
import type { Sequences, Tape, Value } from '../autograd.js'
import type { Device } from '../device.js'
import { integer, known, number } from '../error.js'
import { type Activations, Tensor } from '../tensor.js'

export interface RotaryOptions {
  /** Tokens of the longest sequence. Default 1024. */
  places?: number | undefined
  /** Of the pair i of h, the angle a place is base^(-i / h). Default 10,000. */
  base?: number | undefined
}

/**
 * In each head of x, features i and i + h are turned by the angle of the token's place, h being half the features of a
 * head; `angles` [2 h][columns]: its cosines and its sines.
 */
export function rotate(tape: Tape, x: Value, angles: Activations, heads: number): Value {
  const input = x.activations
  return tape.apply({
    features: input.features,
    inputs: [x],
    forward: (output) => tape.record('rotate', { input, output, angles, heads }),
    backward(outputGradient) {
      const into = tape.gradient(x)
      if (!into) return
      const { gradient: output, accumulate } = into
      tape.record('rotate', { input: outputGradient, output, angles, heads, back: true, accumulate })
    },
  })
}

/** The angles of all places, for heads of so many features. */
export class Rotary {
  readonly #features: number
  readonly #places: number
  readonly #table: Tensor

  constructor(device: Device, features: number, { places, base }: Required<RotaryOptions>) {
    this.#features = features
    this.#places = places
    const half = features / 2
    const table = Float32Array.from({ length: places * features }, (_, i) => {
      const [place, f] = [Math.floor(i / features), i % features]
      const angle = place * base ** (-(f % half) / half)
      return f < half ? Math.cos(angle) : Math.sin(angle)
    })
    this.#table = new Tensor(device, 'float32', table)
  }

  /** Those of the tokens of sequences: [2 h][columns]. */
  angles(tape: Tape, sequences: Sequences): Activations {
    const output = tape.activations(this.#features, sequences)
    tape.record('embedding', { tokens: sequences.positions, table: this.#table, words: this.#places, output })
    return output
  }

  dispose(): void {
    this.#table.dispose()
  }
}

export function rotaryOptions(options: RotaryOptions): Required<RotaryOptions> {
  const { places = 1024, base = 10_000 } = known(options, 'rotary', { places: true, base: true })
  return { places: integer(places, 'places', 1), base: number(base, 'base', 1) }
}
