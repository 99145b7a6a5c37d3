/** One number of all that data are: a run that is gone on with tells others by it. */
import { createHash } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import { type Dataset, expectSamples } from './dataset.js'

/** What the event loop waits for at once. */
const CHUNK = 1 << 22 // bytes

/** SHA-256 of texts and of the bytes of arrays, one behind another. */
export async function checksum(parts: Iterable<string | ArrayBufferView | undefined>): Promise<string> {
  const hash = createHash('sha256')
  let since = 0
  for (const array of parts) {
    if (array === undefined) continue
    if (typeof array === 'string') {
      hash.update(array)
      continue
    }
    const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength)
    for (let at = 0; at < bytes.length; at += CHUNK) {
      const part = bytes.subarray(at, at + CHUNK)
      hash.update(part)
      since += part.length
      if (since < CHUNK) continue
      since = 0
      await setImmediate()
    }
  }
  return hash.digest('hex')
}

/** They are not to be changed, and so each is looked at once. */
const known = new WeakMap<Dataset, Promise<string>>()

/** Of samples, targets, and how a network sees them. */
export function checksumOf(data: Dataset): Promise<string> {
  const found = known.get(data)
  if (found) return found
  expectSamples(data)
  const { x, labels, targets, weights, ignore, shape, classes, scale, shift, perChannel, augment } = data
  const arrays = [x, labels, targets, weights, perChannel?.scale, perChannel?.shift]
  const lengths = arrays.map((array) => array?.length ?? 0)
  const made = checksum([JSON.stringify({ shape, classes, lengths, ignore, scale, shift, augment }), ...arrays])
  known.set(data, made)
  return made
}
