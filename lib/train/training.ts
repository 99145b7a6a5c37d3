/** What fit() and resume() give: epochs to look at one by one, or a run to wait for. */
import type { Epoch } from './options.js'

/**
 * A training that begins when it is used, in one of two ways:
 *
 * - `for await (const epoch of training)` gives each epoch when it is done. Leaving the loop stops the training.
 * - `const history = await training` trains to the end and gives all epochs.
 *
 * Nothing starts, and no option is looked at, before one of them. Who awaits it within the loop trains the rest, and
 * the loop then ends; after the loop, or twice, it gives the epochs that were done. An error is thrown by the loop, or
 * rejects the promise, and whoever awaits the training later gets it again.
 */
export class Training implements AsyncGenerator<Epoch, void, undefined>, Promise<readonly Epoch[]> {
  readonly #epochs: AsyncGenerator<Epoch, void, undefined>
  readonly #done: Epoch[] = []
  #failure: { readonly error: unknown } | undefined
  #history: Promise<readonly Epoch[]> | undefined

  /** Internal: `epochs` are those of a trainer's run. */
  constructor(epochs: AsyncGenerator<Epoch, void, undefined>) {
    this.#epochs = epochs
  }

  /** The next epoch, when it is done. */
  async next(): Promise<IteratorResult<Epoch, void>> {
    try {
      const result = await this.#epochs.next()
      if (!result.done) this.#done.push(result.value)
      return result
    } catch (error) {
      this.#failure ??= { error }
      throw error
    }
  }

  /** Stops the training after the epoch that runs, as leaving the loop does. */
  return(): Promise<IteratorResult<Epoch, void>> {
    return this.#epochs.return()
  }

  /** Ends the loop by an error. */
  throw(error: unknown): Promise<IteratorResult<Epoch, void>> {
    return this.#epochs.throw(error)
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return()
  }

  async #drain(): Promise<readonly Epoch[]> {
    while (!(await this.next()).done);
    if (this.#failure) throw this.#failure.error
    return this.#done
  }

  /** Trains to the end, and gives all epochs of this call. */
  // biome-ignore lint/suspicious/noThenProperty: it is meant to be awaited
  then<Fulfilled = readonly Epoch[], Rejected = never>(
    onFulfilled?: ((history: readonly Epoch[]) => Fulfilled | PromiseLike<Fulfilled>) | null,
    // biome-ignore lint/suspicious/noExplicitAny: as a Promise has it
    onRejected?: ((reason: any) => Rejected | PromiseLike<Rejected>) | null,
  ): Promise<Fulfilled | Rejected> {
    this.#history ??= this.#drain()
    return this.#history.then(onFulfilled, onRejected)
  }

  /** As then(), of the error alone. */
  catch<Rejected = never>(
    // biome-ignore lint/suspicious/noExplicitAny: as a Promise has it
    onRejected?: ((reason: any) => Rejected | PromiseLike<Rejected>) | null,
  ): Promise<readonly Epoch[] | Rejected> {
    return this.then(undefined, onRejected)
  }

  /** As then(), whatever comes. */
  finally(onFinally?: (() => void) | null): Promise<readonly Epoch[]> {
    return this.then().finally(onFinally)
  }

  get [Symbol.toStringTag](): string {
    return 'Training'
  }
}
