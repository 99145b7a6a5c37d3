/**
 * Writes lib/operands.ts, the types of all operations' operands, from what the addon says of its declarations
 * (include/hebb). `npm run operands` after a declaration has changed; test/hazards/operands.test.ts fails until then.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { addon } from '../lib/native.js'

/** One operand, as the addon describes it. */
export interface Described {
  readonly name: string
  readonly kind:
    | 'links'
    | 'tensor'
    | 'activations'
    | 'axis'
    | 'scalar'
    | 'number'
    | 'integer'
    | 'flag'
    | 'choice'
    | 'group'
    | 'list'
  readonly optional?: true
  readonly type?: string
  readonly role?: 'reads' | 'writes' | 'updates'
  readonly choices?: readonly string[]
  /** Operands whose memory it may be. */
  readonly over?: readonly string[]
  readonly operands?: readonly Described[]
}

export interface DescribedOperation {
  readonly name: string
  readonly operands: readonly Described[]
}

export const operations = (): readonly DescribedOperation[] => JSON.parse(addon.describeOperations())

export const file: string = fileURLToPath(new URL('../lib/operands.ts', import.meta.url))
export const written = (): string => readFileSync(file, 'utf8')

function typeOf({ kind, type, choices = [], operands }: Described, indent: string): string {
  switch (kind) {
    case 'links':
      return 'SparseMatrix'
    case 'tensor':
      return type === 'float32' ? 'Tensor' : `Tensor<'${type}'>`
    case 'activations':
      return 'Activations'
    case 'axis':
      return 'Axis'
    case 'scalar':
    case 'number':
    case 'integer':
      return 'number'
    case 'flag':
      return 'boolean'
    case 'choice':
      return choices.map((choice) => `'${choice}'`).join(' | ')
    case 'group':
      return `{\n${fields(operands ?? [], `${indent}  `)}${indent}}`
    case 'list':
      return operands
        ? `readonly {\n${fields(operands, `${indent}  `)}${indent}}[]`
        : `readonly ${type === 'float32' ? 'Tensor' : `Tensor<'${type}'>`}[]`
  }
}

function fields(operands: readonly Described[], indent: string): string {
  return operands
    .map((operand) => {
      const { name, kind, optional, role } = operand
      const doc =
        kind === 'scalar'
          ? 'index in the scalar table'
          : role === 'writes'
            ? 'written'
            : role === 'updates'
              ? 'updated'
              : undefined
      const comment = doc ? `${indent}/** ${doc} */\n` : ''
      const [mark, or] = optional ? ['?', ' | undefined'] : ['', '']
      return `${comment}${indent}${name}${mark}: ${typeOf(operand, indent)}${or}\n`
    })
    .join('')
}

/** The file's text, as the declarations have it now. */
export function types(): string {
  const all = operations()
  const bodies = all.map(({ name, operands }) => `  ${name}: {\n${fields(operands, '    ')}  }\n`)
  return `/** The operands of every operation. Written by \`npm run operands\` from include/hebb. */
import type { Activations, Axis, SparseMatrix, Tensor } from './tensor.js'

/** By the operation's name. What an operation computes is said where it is declared. */
export interface OperandsOf {
${bodies.join('')}}

/** The operations that a Program records. */
export type OperationName = keyof OperandsOf
`
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(file, types())
