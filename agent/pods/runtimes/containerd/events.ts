import { type Clock, delay } from '../../../../api/clock.ts'
import { type Channel, isGone } from './channel.ts'
import { CONTAINER, CONTAINERD, CRI, SANDBOX_READY, TaskEvent } from './cri.ts'

const AGAIN_MS = 500
const SETTLE_LOOK_MS = 10
const SETTLE_TRIES = 500

/** Tells when something may have changed: a task of containerd ended, or containerd came back. */
export class TaskEvents implements AsyncDisposable {
  readonly #channel: Channel
  readonly #clock: Clock
  readonly #namespace: string
  readonly #wakes = new Set<() => void>()
  readonly #stop = new AbortController()
  readonly #listening: Promise<void>

  constructor(channel: Channel, clock: Clock, namespace: string) {
    this.#channel = channel
    this.#clock = clock
    this.#namespace = namespace
    this.#listening = this.#listen()
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

  /** containerd's own events: the interface for pods has none in this version. */
  async #listen(): Promise<void> {
    const { signal } = this.#stop
    const filters = [`namespace==${this.#namespace},topic~="^/tasks/(exit|oom)"`]
    while (!signal.aborted) {
      try {
        const events = this.#channel.listen(CONTAINERD.subscribe, { filters }, signal)
        let next = events.next()
        next.catch(() => undefined)
        // Over the same connection, so it has the subscription when it has answered this.
        await this.#channel.call(CRI.version, {}, { signal })
        // Something may have happened while nobody told.
        this.changed()
        for (let told = await next; told.done !== true; told = await next) {
          next = events.next()
          next.catch(() => undefined)
          void this.#heard(told.value.topic, told.value.event?.value ?? Buffer.alloc(0)).catch(() => this.changed())
        }
      } catch {
        // It is away: whoever lists will say so.
      }
      await delay(this.#clock, AGAIN_MS, signal).catch(() => undefined)
    }
  }

  /** The interface for pods learns of an end from the same event, and may be later than we are. */
  async #heard(topic: string, event: Buffer): Promise<void> {
    const { containerId, id } = TaskEvent.decode(event)
    if (topic === '/tasks/exit' && id === containerId) await this.#settled(id)
    this.changed()
  }

  async #settled(id: string): Promise<void> {
    const { signal } = this.#stop
    const running = async () => {
      try {
        const { status } = await this.#channel.call(CRI.containerStatus, { id }, { signal })
        return status !== undefined && CONTAINER[status.state] === 'running'
      } catch (error) {
        if (!isGone(error)) throw error
      }
      const { status } = await this.#channel.call(CRI.sandboxStatus, { id }, { signal })
      return status?.state === SANDBOX_READY
    }
    for (let tries = 0; tries < SETTLE_TRIES && (await running()); tries++) {
      await delay(this.#clock, SETTLE_LOOK_MS, signal)
    }
  }
}
