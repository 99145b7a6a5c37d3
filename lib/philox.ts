/** The draws of include/hebb/philox.h and the permutation of include/hebb/step.h, for orders that the host makes. */

/** The high 32 bits of a product of 32-bit numbers, of which b is given in halves. */
function highProduct(a: number, bHigh: number, bLow: number): number {
  const [aHigh, aLow] = [a >>> 16, a & 0xffff]
  // Neither sum has more than 32 bits.
  const middle = Math.imul(aHigh, bLow) + (Math.imul(aLow, bLow) >>> 16)
  const crossed = Math.imul(aLow, bHigh) + (middle & 0xffff)
  return (Math.imul(aHigh, bHigh) + (middle >>> 16) + (crossed >>> 16)) | 0
}

/**
 * Philox-4x32-10: the first of four random words, as a signed integer, for a counter of four words under the key
 * `seed`, an integer of up to 53 bits.
 */
export function philox(seed: number, c0: number, c1: number, c2: number, c3: number): number {
  let k0 = seed | 0
  let k1 = Math.floor(seed / 2 ** 32) | 0
  for (let round = 0; round < 10; ++round) {
    const high0 = highProduct(c0, 0xd251, 0x1f53)
    const high1 = highProduct(c2, 0xcd9e, 0x8d57)
    const [low0, low1] = [Math.imul(0xd2511f53, c0), Math.imul(0xcd9e8d57, c2)]
    c0 = high1 ^ c1 ^ k0
    c1 = low1
    c2 = high0 ^ c3 ^ k1
    c3 = low0
    k0 = (k0 + 0x9e3779b9) | 0
    k1 = (k1 + 0xbb67ae85) | 0
  }
  return c0
}

/** What a permutation is for, as hebb::Purpose numbers it, and which one of those. */
export interface Draw {
  readonly purpose: number
  readonly layer: number
}

/** [count] the numbers below `count` in an order that depends on all of this alone: what permute does on a device. */
export function permutation(count: number, seed: number, epoch: number, { purpose, layer }: Draw): Int32Array {
  const last = ((purpose << 24) | layer) >>> 0
  let half = 1
  while (2 ** (2 * half) < count) ++half
  const mask = 2 ** half - 1
  return Int32Array.from({ length: count }, (_, index) => {
    // Six Feistel rounds permute the numbers of 2 * half bits. They are repeated until the number is one of those asked
    // for.
    let i = index
    do {
      let left = i >>> half
      let right = i & mask
      for (let round = 0; round < 6; ++round) {
        const next = (left ^ philox(seed, right, round, epoch, last)) & mask
        left = right
        right = next
      }
      i = ((left << half) | right) >>> 0
    } while (i >= count)
    return i
  })
}
