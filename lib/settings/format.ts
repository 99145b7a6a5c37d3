/** Numbers for a person. */
export const percent = (share: number, digits = 2) => `${(100 * share).toFixed(digits)}%`
export const count = (n: number) => Math.round(n).toLocaleString('en-US')
/** A density in percent, as short as it goes. */
export const densityText = (share: number) => Number((100 * share).toPrecision(4)).toString()
