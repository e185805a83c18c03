import { TopicTrie } from '../../mappers/sdk/topic-filter.ts'
import type { Congestion } from './congestion.ts'

/** A message on its way through the broker, as aedes makes them. */
export interface BrokerMessage {
  readonly topic: string
  payload: Buffer | string
  readonly qos: 0 | 1 | 2
  readonly retain: boolean
  /** Numbers a broker's messages; clients drop what does not count up, as a copy under another of their filters. */
  brokerCounter?: number
  readonly clientId?: string
}

export type MessageListener = (message: BrokerMessage, done: () => void) => void
type Done = (error?: Error) => void

const ignore = (): void => {}

/**
 * Hands messages to the listeners of their topics: what aedes takes as its `mq`. Nothing is queued in here, so there is
 * nothing to grow and no recursion to end: a message goes to every listener at once, and only the publisher's next
 * packet waits (a moment, see {@link Congestion}) when somebody has not read what came before.
 */
export class Emitter {
  readonly #listeners = new TopicTrie<MessageListener>()
  readonly #congestion: Congestion
  readonly #onError: (error: unknown) => void
  #sequence = 0
  #closed = false

  constructor(congestion: Congestion, onError: (error: unknown) => void) {
    this.#congestion = congestion
    this.#onError = onError
  }

  get subscriptions(): number {
    return this.#listeners.size
  }

  wants(topic: string): boolean {
    return this.#listeners.match(topic).length > 0
  }

  on(filter: string, listener: MessageListener, done?: () => void): this {
    this.#listeners.add(filter, listener)
    if (done !== undefined) setImmediate(done)
    return this
  }

  removeListener(filter: string, listener: MessageListener, done?: () => void): this {
    this.#listeners.remove(filter, listener)
    if (done !== undefined) setImmediate(done)
    return this
  }

  emit(message: BrokerMessage, done: Done = ignore): this {
    if (this.#closed) {
      done(new Error('the broker is closing'))
      return this
    }
    // A message gets its number when it leaves, not when it came: one that was stored first would else be overtaken
    // by a later one and then taken for a copy.
    message.brokerCounter = ++this.#sequence
    const mark = this.#congestion.mark()
    for (const listener of this.#listeners.match(message.topic)) {
      try {
        listener(message, ignore)
      } catch (error) {
        this.#onError(error)
      }
    }
    this.#congestion.pass(mark, done)
    return this
  }

  close(done: () => void): this {
    this.#closed = true
    this.#congestion.close()
    setImmediate(done)
    return this
  }
}
