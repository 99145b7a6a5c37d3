/** Pooling of sequences, on the tape and as a module: from tokens to one column of each sequence. */
import type { Tape, Value } from '../autograd.js'
import { expect, HebbError, known, show } from '../error.js'
import type { OperandsOf } from '../operands.js'
import { makerOf, remember } from '../recipe.js'
import { sequencesOf } from './embedding.js'
import type { Module } from './module.js'

type Kind = OperandsOf['pooling']['kind']

/** One column of each sequence of x on the tape: what `kind` makes of those of its tokens. */
export function pooling(tape: Tape, x: Value, kind: Kind = 'mean'): Value {
  const { offsets, whole } = sequencesOf(x, 'Pooling')
  if (!whole)
    throw new HebbError(
      'INVALID_ARGUMENT',
      'Expected a text whose sequences have labels for Pooling, got one whose tokens have. Leave Pooling out, or ' +
        'train on labelledText().',
    )
  const { features } = x.activations
  return tape.apply({
    ...{ features, inputs: [x], axis: whole },
    forward: (output) => tape.record('pooling', { input: x.activations, offsets, kind, output }),
    backward(outputGradient, output) {
      const into = tape.gradient(x)
      if (!into) return
      const { gradient: inputGradient, accumulate } = into
      tape.record('poolingGradient', {
        ...{ outputGradient, offsets, kind, inputGradient, accumulate },
        ...(kind === 'max' && { input: x.activations, output }),
      })
    },
  })
}

/** What a Pooling is made with. */
export interface PoolingOptions {
  /**
   * 'mean' (default): the mean of a sequence's tokens. 'max': the largest number of each feature. 'first': the first
   * token, as that of a tokenizer which begins each text with a token for the whole.
   */
  kind?: Kind | undefined
}

const KINDS: Readonly<Record<Kind, true>> = { mean: true, max: true, first: true }

/** Makes one column of each sequence: behind it, modules see sequences in place of tokens. */
export class Pooling implements Module {
  readonly parameters = []
  readonly sparse = []
  /** Neurons stay what they are. */
  readonly pointwise = true
  readonly kind: Kind

  constructor(options: PoolingOptions = {}) {
    const { kind = 'mean' } = known(options, 'Pooling', { kind: true })
    expect(
      Object.hasOwn(KINDS, kind),
      () => `Expected kind to be '${Object.keys(KINDS).join("', '")}', got ${show(kind)}`,
    )
    this.kind = kind
    if (new.target === Pooling) remember('Pooling', [options], this)
  }

  materialise(): void {}

  forward(tape: Tape, x: Value): Value {
    return pooling(tape, x, this.kind)
  }

  dispose(): void {}
}
makerOf('Pooling', Pooling)
