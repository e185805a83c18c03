import type { Handed } from './understudy.ts'

/** The time in which a gateway serves a device already and has yet to hear there what the one before told last of it. */
export class CatchUp {
  readonly handed: Handed
  readonly #over = Promise.withResolvers<void>()

  constructor(handed: Handed) {
    this.handed = handed
  }

  /** Resolves when it has heard that, waits no longer, or serves the device no more. */
  get over(): Promise<void> {
    return this.#over.promise
  }

  end(): void {
    this.#over.resolve()
  }
}
