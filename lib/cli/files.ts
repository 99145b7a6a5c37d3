/** What commands write beside checkpoints: reports, tables, plans, and logs that are cut back. */
import { isSameFile, type Kind, replaceFile } from '../files.js'
import type { Given } from '../settings/flags.js'
import { expectNoRun } from '../train/checkpoint.js'

export const REPORT: Kind = { name: 'a report', begins: /^<!doctype html>/i }
export const TABLE: Kind = { name: 'a table of hebb compare', begins: /^dataset,method,/ }
export const LOG: Kind = { name: 'a log of hebb', begins: /^{"event":/ }
export const JSON_OBJECT: Kind = { name: 'JSON that hebb wrote', begins: /^{/ }

/** Writes a text file as a whole: it is the old one or the new one. */
export async function writeWhole(file: string, kind: Kind, text: string): Promise<void> {
  await replaceFile(file, kind, (handle) => handle.writeFile(text))
}

/** Refuses to begin, or to go on, over a checkpoint of another run that is not finished. */
export async function expectFree({ checkpoint, resume }: Given): Promise<void> {
  if (checkpoint === undefined || (resume !== undefined && (await isSameFile(checkpoint, resume)))) return
  await expectNoRun(checkpoint)
}
