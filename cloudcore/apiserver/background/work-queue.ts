/**
 * Work by name, one piece a turn of the event loop, so that emptying a namespace of ten thousand objects does not
 * hold up requests. A name that is waiting already is not queued twice. `step` returns true while there is more to do.
 */
export class WorkQueue {
  readonly #waiting = new Set<string>()
  readonly #step: (name: string) => boolean
  readonly #onError: (error: unknown) => void
  #scheduled = false
  #closed = false

  constructor(step: (name: string) => boolean, onError: (error: unknown) => void) {
    this.#step = step
    this.#onError = onError
  }

  add(name: string): void {
    if (this.#closed) return
    this.#waiting.add(name)
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => this.#turn())
  }

  close(): void {
    this.#closed = true
    this.#waiting.clear()
  }

  #turn(): void {
    this.#scheduled = false
    const [name] = this.#waiting
    if (name === undefined) return
    this.#waiting.delete(name)
    try {
      if (this.#step(name)) this.#waiting.add(name)
    } catch (error) {
      // Whatever was half done is done again when its objects next change.
      this.#onError(error)
    }
    if (this.#waiting.size === 0 || this.#closed) return
    this.#scheduled = true
    setImmediate(() => this.#turn())
  }
}
