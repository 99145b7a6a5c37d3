/** What is refused, and by which words. */
import { expect } from 'chai'
import { type ErrorCode, HebbError } from '../../lib/error.js'

/** Expects act(), or its promise, to fail with a HebbError of this code and message. */
export async function refuses(
  act: () => unknown,
  message: RegExp,
  code: ErrorCode = 'INVALID_ARGUMENT',
): Promise<void> {
  let error: unknown
  try {
    await act()
  } catch (caught) {
    error = caught
  }
  expect(error, `${message}`).to.be.instanceOf(HebbError)
  expect((error as HebbError).message).to.match(message)
  expect((error as HebbError).code, (error as HebbError).message).to.equal(code)
}
