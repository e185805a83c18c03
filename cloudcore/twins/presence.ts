import type { Clock, Timer } from '../../api/clock.ts'

export type PresenceState = 'online' | 'lost' | 'away'

interface Presence {
  state: PresenceState
  lastHeardMs: number
  sinceMs: number
  timer: Timer | undefined
}

export interface PresenceListener {
  /** The link came up, or came back before anybody was told that it had gone. */
  online?(gateway: string, wasAway: boolean): void
  /** Silent for longer than the grace: what its twins say is stale since `sinceMs`. */
  away?(gateway: string, sinceMs: number): void
}

/**
 * Whether each gateway is there. A link that breaks makes its gateway `lost`; only when it stays away for the grace
 * period is it `away` and everybody told, so that a quick reconnect disturbs nobody.
 */
export class PresenceBoard {
  readonly #clock: Clock
  readonly #graceMs: number
  readonly #gateways = new Map<string, Presence>()
  readonly #listeners: PresenceListener[] = []

  constructor(clock: Clock, graceMs: number) {
    this.#clock = clock
    this.#graceMs = graceMs
  }

  listen(listener: PresenceListener): void {
    this.#listeners.push(listener)
  }

  /** A gateway the API knows of but nobody has heard yet; `lastHeardMs` from its status. */
  expect(gateway: string, lastHeardMs: number | undefined, alreadyAway: boolean): void {
    if (this.#gateways.has(gateway)) return
    const nowMs = this.#clock.now()
    const heardMs = lastHeardMs ?? nowMs
    const presence: Presence = { state: 'lost', lastHeardMs: heardMs, sinceMs: heardMs, timer: undefined }
    this.#gateways.set(gateway, presence)
    if (alreadyAway) presence.state = 'away'
    else this.#countDown(gateway, presence)
  }

  connected(gateway: string): void {
    const nowMs = this.#clock.now()
    const held = this.#gateways.get(gateway)
    held?.timer?.cancel()
    const wasAway = held?.state === 'away'
    this.#gateways.set(gateway, { state: 'online', lastHeardMs: nowMs, sinceMs: nowMs, timer: undefined })
    for (const listener of this.#listeners) listener.online?.(gateway, wasAway)
  }

  disconnected(gateway: string, lastHeardMs: number): void {
    const held = this.#gateways.get(gateway)
    if (held === undefined || held.state !== 'online') return
    held.state = 'lost'
    held.lastHeardMs = lastHeardMs
    held.sinceMs = lastHeardMs
    this.#countDown(gateway, held)
  }

  /** The gateway was shut out: nobody has to wait for the grace to see that. */
  gone(gateway: string): void {
    const held = this.#gateways.get(gateway)
    if (held === undefined || held.state === 'away') return
    held.timer?.cancel()
    if (held.state === 'online') held.lastHeardMs = held.sinceMs = this.#clock.now()
    this.#leave(gateway, held)
  }

  state(gateway: string): PresenceState | undefined {
    return this.#gateways.get(gateway)?.state
  }

  awaySinceMs(gateway: string | undefined): number | undefined {
    const held = gateway === undefined ? undefined : this.#gateways.get(gateway)
    return held?.state === 'away' ? held.sinceMs : undefined
  }

  forget(gateway: string): void {
    this.#gateways.get(gateway)?.timer?.cancel()
    this.#gateways.delete(gateway)
  }

  close(): void {
    for (const presence of this.#gateways.values()) presence.timer?.cancel()
  }

  #countDown(gateway: string, presence: Presence): void {
    presence.timer?.cancel()
    presence.timer = this.#clock.after(this.#graceMs, () => this.#leave(gateway, presence), true)
  }

  #leave(gateway: string, presence: Presence): void {
    presence.timer = undefined
    presence.state = 'away'
    for (const listener of this.#listeners) listener.away?.(gateway, presence.sinceMs)
  }
}
