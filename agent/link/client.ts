import type { Clock, Timer } from '../../api/clock.ts'
import type { CoreListener } from '../core.ts'
import { Session, type SessionOptions } from './session.ts'
import type { Dial, Transport, TransportEvents } from './transport.ts'

export interface ClientOptions extends Omit<SessionOptions, 'onLease'> {
  readonly clock: Clock
  readonly random: () => number
  readonly dial: Dial
}

const FIRST_RETRY_MS = 500
const LAST_RETRY_MS = 30_000
/** A link that held this long starts the back-off anew. */
const STEADY_MS = 10_000

/** Keeps one link to the hub: connects, and connects again with growing, jittered pauses, for as long as it is open. */
export class LinkClient implements CoreListener, Disposable {
  readonly #options: ClientOptions
  #session: Session | undefined
  #connection: { close(reason: string): void } | undefined
  #retry: Timer | undefined
  #failures = 0
  #stopped = false
  #leaseUntilMs = Number.NEGATIVE_INFINITY
  #leaseTimer: Timer | undefined

  constructor(options: ClientOptions) {
    this.#options = options
    options.core.store.onGap = () => this.#session?.gapsChanged()
  }

  get live(): boolean {
    return this.#session?.streaming ?? false
  }

  get caughtUp(): boolean {
    return this.#session?.caughtUp ?? false
  }

  start(): void {
    this.#connect()
  }

  onStored(): void {
    this.#session?.pump()
  }

  onDesire(): void {
    this.#session?.offerDesires()
  }

  onHeard(): void {
    this.#session?.announce('heard')
  }

  onPods(): void {
    this.#session?.announce('pods')
  }

  onUpdates(): void {
    this.#session?.announce('updates')
  }

  get mayWriteRoaming(): boolean {
    return this.#options.clock.monotonic() < this.#leaseUntilMs
  }

  onSighted(): void {
    this.#session?.announce('sighted')
  }

  onNotice(): void {
    this.#session?.announce('noticed')
  }

  statusChanged(): void {
    this.#session?.statusChanged()
  }

  /** Ends the present connection, to connect again at once, for example with a new certificate. */
  reconnect(reason: string): void {
    this.#failures = 0
    this.#connection?.close(reason)
  }

  [Symbol.dispose](): void {
    this.#stopped = true
    this.#retry?.cancel()
    this.#leaseTimer?.cancel()
    // The store closes next: nothing of the session may wait for the socket's own end.
    this.#session?.closed()
    this.#connection?.close('the agent stops')
  }

  #connect(): void {
    this.#retry = undefined
    const { dial, status } = this.#options
    let session: Session | undefined
    const events: TransportEvents = {
      onOpen: (transport: Transport) => {
        status.connected = true
        status.downReason = undefined
        status.reconnects++
        status.connectedSinceMs = this.#options.clock.now()
        status.peerAddress = transport.peerAddress
        const opened = new Session({ ...this.#options, onLease: () => this.#lease(opened.leaseUntilMs) }, transport)
        session = opened
        this.#session = session
      },
      onMessage: (text) => session?.receive(text),
      onDrain: () => session?.pump(),
      onClose: (reason) => this.#closed(session, reason),
    }
    this.#connection = dial(events)
  }

  /** The hub has given its word anew that no other gateway writes to what this one serves. */
  #lease(untilMs: number): void {
    const { clock, core } = this.#options
    const held = this.mayWriteRoaming
    this.#leaseUntilMs = Math.max(this.#leaseUntilMs, untilMs)
    this.#leaseTimer?.cancel()
    this.#leaseTimer = clock.after(this.#leaseUntilMs - clock.monotonic(), () => core.engine.roles.withdraw(), true)
    if (!held) core.engine.roles.readmit()
  }

  #closed(session: Session | undefined, reason: string): void {
    const { status, clock, random, log } = this.#options
    if (session !== undefined && session.upMs > STEADY_MS) this.#failures = 0
    session?.closed()
    this.#session = undefined
    this.#connection = undefined
    status.connected = false
    status.connectedSinceMs = undefined
    status.peerAddress = undefined
    status.downReason = reason
    if (this.#stopped) return
    const pauseMs = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** this.#failures)
    this.#failures = Math.min(this.#failures + 1, 10)
    // Between half and the whole: gateways that lost the same hub do not come back at the same moment.
    const waitMs = pauseMs * (0.5 + random() / 2)
    log('info', `No link to the hub: ${reason}`, { retryMs: Math.round(waitMs) })
    this.#retry = clock.after(waitMs, () => this.#connect(), true)
  }
}
