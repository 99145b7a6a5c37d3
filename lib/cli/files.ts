/** What commands write beside checkpoints: reports, tables, plans, and logs that are cut back. */
import { rename, writeFile } from 'node:fs/promises'
import { cannotWrite } from '../train/safetensors.js'

/** Writes a text file as a whole: it is the old one or the new one. */
export async function writeWhole(file: string, text: string): Promise<void> {
  try {
    await writeFile(`${file}.tmp`, text)
    await rename(`${file}.tmp`, file)
  } catch (error) {
    throw cannotWrite(file, error as NodeJS.ErrnoException)
  }
}
