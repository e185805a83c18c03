import { type Clock, delay } from '../../../../api/clock.ts'
import { type PodmanApi, textAt } from './api.ts'
import { LABEL_OWNER } from './specs.ts'
import type { States } from './states.ts'

const AGAIN_MS = 500
/** podman notices an end by itself only when its clean-up after a container works; else when somebody looks. */
const LOOK_MS = 5000
const BEFORE_S = 5
const SETTLE_LOOK_MS = 10
const SETTLE_TRIES = 500

/** Tells when something may have changed: a container of ours began or ended, or podman's service came back. */
export class ContainerEvents implements AsyncDisposable {
  readonly #api: PodmanApi
  readonly #states: States
  readonly #clock: Clock
  readonly #owner: string
  readonly #wakes = new Set<() => void>()
  readonly #stop = new AbortController()
  readonly #listening: Promise<void>

  constructor(api: PodmanApi, states: States, clock: Clock, owner: string) {
    this.#api = api
    this.#states = states
    this.#clock = clock
    this.#owner = owner
    this.#listening = Promise.all([this.#listen(), this.#look()]).then(() => undefined)
  }

  onChange(wake: () => void): () => void {
    this.#wakes.add(wake)
    return () => void this.#wakes.delete(wake)
  }

  changed(): void {
    for (const wake of this.#wakes) wake()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#wakes.clear()
    this.#stop.abort(new Error('the agent stops'))
    await this.#listening
  }

  async #look(): Promise<void> {
    const { signal } = this.#stop
    while (!signal.aborted) {
      await delay(this.#clock, LOOK_MS, signal).catch(() => undefined)
      this.changed()
    }
  }

  async #listen(): Promise<void> {
    const { signal } = this.#stop
    const filters = JSON.stringify({ type: ['container'], label: [`${LABEL_OWNER}=${this.#owner}`] })
    while (!signal.aborted) {
      try {
        // From before now: what happened while nobody listened, or before podman had the question, is told again.
        const since = Math.floor(this.#clock.now() / 1000) - BEFORE_S
        const events = this.#api.listen('/events', { signal, query: { stream: true, filters, since } })
        let next = events.next()
        next.catch(() => undefined)
        await this.#api.call('GET', '/_ping', { signal })
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

  async #heard(event: unknown): Promise<void> {
    const id = textAt(event, 'Actor', 'ID')
    const action = textAt(event, 'Action') || textAt(event, 'status')
    if (action === 'died') await this.settled(id)
    this.changed()
  }

  /** Its end is told a moment before it is known. */
  async settled(id: string): Promise<void> {
    const { signal } = this.#stop
    for (let tries = 0; tries < SETTLE_TRIES && (await this.#states.running(id, signal)); tries++) {
      await delay(this.#clock, SETTLE_LOOK_MS, signal)
    }
  }
}
