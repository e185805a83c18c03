import { type Clock, delay } from '../../../api/clock.ts'

const AGAIN_MS = 500
const FIRST_LOOK_MS = 10
const LAST_LOOK_MS = 250
const SETTLE_MS = 60_000

/** What an engine tells of its containers, in its own words. */
export interface EngineWords<Event> {
  /** Its events from now on; ends or throws when the engine goes away. */
  listen(signal: AbortSignal): AsyncGenerator<Event>
  /** A question that it answers after it has understood that it is to tell. */
  ask(signal: AbortSignal): Promise<unknown>
  /** The container or sandbox whose end it tells of, or undefined. */
  ended(event: Event): string | undefined
  /** Whether the engine still says that this runs. */
  running(id: string, signal: AbortSignal): Promise<boolean>
}

/** Tells when something may have changed in an engine: something of it ended, or the engine came back. */
export class EngineEvents<Event> implements AsyncDisposable {
  readonly #words: EngineWords<Event>
  readonly #clock: Clock
  readonly #wakes = new Set<() => void>()
  readonly #stop = new AbortController()
  readonly #listening: Promise<unknown>

  /** `lookMs`: of an engine that may leave out an end, how often it is to be looked at anyway. */
  constructor(words: EngineWords<Event>, clock: Clock, lookMs?: number) {
    this.#words = words
    this.#clock = clock
    this.#listening = Promise.all([this.#listen(), lookMs === undefined ? undefined : this.#look(lookMs)])
  }

  onChange(wake: () => void): () => void {
    this.#wakes.add(wake)
    return () => void this.#wakes.delete(wake)
  }

  changed(): void {
    for (const wake of this.#wakes) wake()
  }

  /** An end is told a moment before it is known, and under load a long one. Resolves after `withinMs` in any case. */
  async settled(id: string, withinMs = SETTLE_MS): Promise<void> {
    const { signal } = this.#stop
    const endMs = this.#clock.monotonic() + withinMs
    for (
      let pauseMs = FIRST_LOOK_MS;
      await this.#words.running(id, signal);
      pauseMs = Math.min(pauseMs * 1.2, LAST_LOOK_MS)
    ) {
      if (this.#clock.monotonic() > endMs) return
      await delay(this.#clock, pauseMs, signal)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#wakes.clear()
    this.#stop.abort(new Error('the agent stops'))
    await this.#listening
  }

  async #look(everyMs: number): Promise<void> {
    const { signal } = this.#stop
    while (!signal.aborted) {
      await delay(this.#clock, everyMs, signal).catch(() => undefined)
      this.changed()
    }
  }

  async #listen(): Promise<void> {
    const { signal } = this.#stop
    while (!signal.aborted) {
      try {
        const events = this.#words.listen(signal)
        let next = events.next()
        next.catch(() => undefined)
        await this.#words.ask(signal)
        // Something may have happened while nobody told.
        this.changed()
        for (let told = await next; told.done !== true; told = await next) {
          next = events.next()
          next.catch(() => undefined)
          void this.#heard(told.value).catch(() => this.changed())
        }
      } catch {
        // It is away: whoever lists will say so.
      }
      await delay(this.#clock, AGAIN_MS, signal).catch(() => undefined)
    }
  }

  async #heard(event: Event): Promise<void> {
    const id = this.#words.ended(event)
    if (id !== undefined) await this.settled(id)
    this.changed()
  }
}
