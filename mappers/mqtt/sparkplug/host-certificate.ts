import type { Clock } from '../../../api/clock.ts'
import { decodeState, encodeState, stateTopic } from '../../sdk/sparkplug-state.ts'
import type { Certificate, MqttSession } from '../session.ts'

/**
 * A connection that says that it is a host application (Sparkplug B 3.0, sections 5.3 and 6.4.27): born when it is
 * there, dead by its will or when it ends in order. Both are retained and have the time at which the session began.
 */
export class HostCertificate {
  readonly #clock: Clock
  readonly #topic: string
  #sinceMs = 0

  constructor(host: string, clock: Clock) {
    this.#clock = clock
    this.#topic = stateTopic(host)
  }

  /** The will of the next connection, made just before it. */
  readonly nextWill = (): Certificate => {
    this.#sinceMs = this.#clock.now()
    return this.#certificate(false)
  }

  /** Says that it is there, and says so again whenever somebody or an old will says that it is not. */
  watch(session: MqttSession): Disposable {
    return session.subscribe(this.#topic, 1, (_, payload) => {
      if (session.state.up && decodeState(payload)?.online === false) this.#publish(session, true)
    })
  }

  born(session: MqttSession): void {
    if (this.#sinceMs === 0) this.#sinceMs = this.#clock.now()
    this.#publish(session, true)
  }

  async end(session: MqttSession): Promise<void> {
    const { topic, payload } = this.#certificate(false)
    if (session.state.up) await session.publish(topic, payload, 1, true).catch(() => undefined)
  }

  #publish(session: MqttSession, online: boolean): void {
    const { topic, payload } = this.#certificate(online)
    // Without a connection it is told with the next one.
    session.publish(topic, payload, 1, true).catch(() => undefined)
  }

  #certificate(online: boolean): Certificate {
    return { topic: this.#topic, payload: Buffer.from(encodeState({ online, timestampMs: this.#sinceMs })) }
  }
}
