import type { Quality } from '../../api/twin/quality.ts'
import type { StreamHub } from './stream.ts'

/** The part of an MQTT client that is used; `mqtt` in production. */
export interface MqttClient {
  publish(topic: string, payload: string, options: { retain: boolean; qos: 0 | 1 }, done: (error?: Error) => void): void
  readonly connected: boolean
  on(event: 'connect', listener: () => void): unknown
  end(force: boolean, done: () => void): void
}

export interface MqttPublisherOptions {
  readonly stream: StreamHub
  readonly client: MqttClient
  /** Topics that may wait while the broker is slow or away. */
  readonly maxQueued?: number
  readonly maxInFlight?: number
}

interface Payload {
  readonly value: unknown
  readonly at: string
  readonly quality: Quality
}

/**
 * Publishes every property as a retained message `sluice/<namespace>/<device>/<property>` with `{value, at, quality}`.
 * A topic holds the newest value by the source's time; while the broker is away only the newest of each waits, and
 * what does not fit is dropped and counted.
 */
export class MqttPublisher implements AsyncDisposable {
  readonly #client: MqttClient
  readonly #queue = new Map<string, Payload>()
  readonly #newestMs = new Map<string, number>()
  readonly #maxQueued: number
  readonly #maxInFlight: number
  readonly #stopListening: () => void
  #inFlight = 0
  published = 0
  dropped = 0

  constructor(options: MqttPublisherOptions) {
    this.#client = options.client
    this.#maxQueued = options.maxQueued ?? 50_000
    this.#maxInFlight = options.maxInFlight ?? 500
    this.#client.on('connect', () => this.#pump())
    this.#stopListening = options.stream.listen({
      row: (_, shared) => {
        for (const event of shared.events()) {
          if (event.kind !== 'reported') continue
          this.#offer(`sluice/${event.device}/${event.property}`, event)
        }
        this.#pump()
      },
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopListening()
    await new Promise<void>((resolve) => this.#client.end(false, resolve))
  }

  #offer(topic: string, event: Payload): void {
    const atMs = Date.parse(event.at)
    const newestMs = this.#newestMs.get(topic)
    if (newestMs !== undefined && atMs < newestMs) return
    if (!this.#queue.has(topic) && this.#queue.size >= this.#maxQueued) {
      this.dropped++
      return
    }
    if (this.#newestMs.size >= 2 * this.#maxQueued) this.#newestMs.clear()
    this.#newestMs.set(topic, atMs)
    this.#queue.set(topic, { value: event.value, at: event.at, quality: event.quality })
  }

  #pump(): void {
    if (!this.#client.connected) return
    for (const [topic, payload] of this.#queue) {
      if (this.#inFlight >= this.#maxInFlight) return
      this.#queue.delete(topic)
      this.#inFlight++
      this.#client.publish(topic, JSON.stringify(payload), { retain: true, qos: 0 }, (error) => {
        this.#inFlight--
        if (error === undefined || error === null) this.published++
        else this.dropped++
        this.#pump()
      })
    }
  }
}

/** Connects with the `mqtt` library, which is only loaded when somebody wants it. */
export async function connectMqtt(url: string): Promise<MqttClient> {
  const { connect } = await import('mqtt')
  return connect(url, { clean: true, reconnectPeriod: 2000, queueQoSZero: false, disableNumberCache: true } as object)
}
