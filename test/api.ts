/**
 * What the package exports, by its declarations in dist/: `npx tsx test/api.ts` writes test/api.d.ts, one file that a
 * review sees changes in. Read by TypeScript 5.9: version 7 has no such interface yet.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import type * as typescript from 'typescript-5'

const ts: typeof typescript = createRequire(import.meta.url)('typescript-5')
const root = resolve(import.meta.dirname, '..')
export const snapshot = fileURLToPath(new URL('api.d.ts', import.meta.url))

/** Something that a user can name. */
export interface Exported {
  /** 'hebb/data: csv', or 'hebb: Trainer.fit' for what a class or a namespace has. */
  readonly name: string
  readonly documentation: string
  /** Of what stands by itself: its declarations without comments. */
  readonly declaration?: string
  /** Whether another entry point exports the same. */
  readonly again?: string
}

const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  exports: Record<string, string | { types: string }>
}
const entries = Object.entries(exports).flatMap(([path, one]) =>
  typeof one === 'string' ? [] : [{ name: `hebb${path.slice(1)}`, file: join(root, one.types) }],
)
const options: typescript.CompilerOptions = {
  target: ts.ScriptTarget.ES2023,
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  skipLibCheck: true,
}

/** All exports of all entry points, by name. */
export function exported(): Exported[] {
  const program = ts.createProgram(
    entries.map(({ file }) => file),
    options,
  )
  const checker = program.getTypeChecker()
  const printer = ts.createPrinter({ removeComments: true })
  const seen = new Map<typescript.Symbol, string>()
  const text = (symbol: typescript.Symbol) => ts.displayPartsToString(symbol.getDocumentationComment(checker))
  const isInternal = (node: typescript.Node) => ts.getJSDocTags(node).some((tag) => tag.tagName.text === 'internal')
  const isPrivate = (node: typescript.Node) =>
    isInternal(node) ||
    (ts.isClassElement(node) && node.name !== undefined && ts.isPrivateIdentifier(node.name)) ||
    (ts.canHaveModifiers(node) && ts.getModifiers(node)?.some(({ kind }) => kind === ts.SyntaxKind.PrivateKeyword))

  /** A declaration without comments, and without what is nobody's business. */
  function printed(declaration: typescript.Declaration): string {
    const whole = ts.isVariableDeclaration(declaration) ? declaration.parent.parent : declaration
    const { transformed } = ts.transform<typescript.Node>(whole, [
      (context) => (node) => ts.visitEachChild(node, (child) => (isPrivate(child) ? undefined : child), context),
    ])
    return printer.printNode(ts.EmitHint.Unspecified, transformed[0] as typescript.Node, whole.getSourceFile())
  }

  const sorted = (symbols: typescript.Symbol[]) => symbols.sort((a, b) => (a.name < b.name ? -1 : 1))
  function walk(module: typescript.Symbol, prefix: string): Exported[] {
    return sorted(checker.getExportsOfModule(module)).flatMap((one): Exported[] => {
      const symbol = one.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(one) : one
      const name = `${prefix}${one.name}`
      const again = seen.get(symbol)
      if (again) return [{ name, again, documentation: text(symbol) }]
      seen.set(symbol, name)
      if (symbol.flags & ts.SymbolFlags.ValueModule && symbol.declarations?.some(ts.isSourceFile))
        return walk(symbol, `${name}.`)
      const declarations = symbol.declarations ?? []
      const members = declarations.flatMap((declaration) =>
        ts.isClassDeclaration(declaration)
          ? declaration.members.filter((member) => member.name && !isPrivate(member))
          : [],
      )
      const methods = new Map(
        members
          .filter((member) => !ts.isPropertyDeclaration(member))
          .map((member) => checker.getSymbolAtLocation(member.name as typescript.Node))
          .flatMap((member) => (member && !member.name.startsWith('__@') ? [[member.name, member] as const] : [])),
      )
      return [
        { name, documentation: text(symbol), declaration: declarations.map(printed).join('\n') },
        ...[...methods.values()].map((method) => ({
          name: `${name}.${method.name}`,
          documentation: inherited(method, declarations),
        })),
      ]
    })
  }

  /** A method's own words, or those of the interface or class that it is of. */
  function inherited(method: typescript.Symbol, classes: readonly typescript.Declaration[]): string {
    const own = text(method)
    if (own) return own
    const bases = classes.flatMap((one) =>
      ts.isClassDeclaration(one) ? (one.heritageClauses ?? []).flatMap(({ types }) => [...types]) : [],
    )
    for (const base of bases) {
      const found = checker.getTypeAtLocation(base).getProperty(method.name)
      if (found && text(found)) return text(found)
    }
    return ''
  }

  return entries.flatMap(({ name, file }) => {
    const source = program.getSourceFile(file)
    const module = source && checker.getSymbolAtLocation(source)
    if (!module) throw new Error(`Expected ${file} to export something. Run 'npm run build:lib'.`)
    return walk(module, `${name}: `)
  })
}

/** The text of test/api.d.ts. */
export function declarations(all: readonly Exported[] = exported()): string {
  const parts = all.flatMap(({ name, declaration, again }) => {
    if (again) return [`// ${name} is ${again}`]
    return declaration === undefined ? [] : [`// ${name}\n${declaration}`]
  })
  return `// What the package exports, without comments. Made by: npx tsx test/api.ts\n\n${parts.join('\n\n')}\n`
}

if (process.argv[1]?.endsWith('api.ts')) writeFileSync(snapshot, declarations())
