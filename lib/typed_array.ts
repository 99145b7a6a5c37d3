/**
 * What arrays of numbers are. In another realm, as test runners and node:vm make them, their constructors are others.
 */

interface Named {
  Float32Array: Float32Array
  Float64Array: Float64Array
  Int32Array: Int32Array
  Uint8Array: Uint8Array
  BigUint64Array: BigUint64Array
}

/** Whether `value` is a typed array of this name, a subclass such as Buffer included, whichever realm made it. */
export function isTyped<Name extends keyof Named>(value: unknown, name: Name): value is Named[Name] {
  return ArrayBuffer.isView(value) && Object.prototype.toString.call(value) === `[object ${name}]`
}
