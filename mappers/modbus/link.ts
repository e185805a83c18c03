import type { Clock, Timer } from '../../api/clock.ts'
import { SluiceError, toSluiceError } from '../../api/errors.ts'
import type { LinkOptions, LinkState } from './session.ts'
import type { ByteTransport, OpenTransport } from './transport.ts'

export interface LinkHooks {
  /** The transport is open and its pause has passed; `onData` is the session's to set. */
  up(transport: ByteTransport): void
  /** The connection was lost or could not be made (`reason`), or was closed on purpose (no reason). */
  down(reason: SluiceError | undefined): void
  /** True while something is asked or waited for, so that it is not closed as idle. */
  busy(): boolean
}

/**
 * Opens a transport when first needed and keeps it open: idle -> connecting -> up -> down -> connecting ...
 * The wait between tries doubles up to a bound and is jittered to between half and the whole of it, so that a plant
 * that comes back from a power cut is not asked by everybody at once.
 */
export class SessionLink {
  readonly #open: OpenTransport
  readonly #clock: Clock
  readonly #random: () => number
  readonly #options: LinkOptions
  readonly #hooks: LinkHooks
  readonly #listeners = new Set<(state: LinkState) => void>()
  #state: LinkState = { phase: 'idle' }
  #transport: ByteTransport | undefined
  #opening: AbortController | undefined
  #timer: Timer | undefined
  #idleTimer: Timer | undefined
  #failures = 0
  #connects = 0
  #lastUseMs = 0

  constructor(open: OpenTransport, options: LinkOptions, hooks: LinkHooks, clock: Clock, random: () => number) {
    this.#open = open
    this.#options = options
    this.#hooks = hooks
    this.#clock = clock
    this.#random = random
  }

  get state(): LinkState {
    return this.#state
  }

  get connects(): number {
    return this.#connects
  }

  /** Down, or trying again after it was: a request has no business waiting for that. */
  get isFailing(): boolean {
    return this.#state.phase === 'down' || (this.#state.phase === 'connecting' && this.#state.reason !== undefined)
  }

  onState(listener: (state: LinkState) => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  /** Something wants to be sent: opens an idle link. */
  need(): void {
    this.#lastUseMs = this.#clock.monotonic()
    if (this.#state.phase === 'idle') this.#connect()
  }

  /** The far side answered: the next failure starts with the short wait again. */
  proven(): void {
    this.#failures = 0
  }

  /** Gives the connection up for `reason` and makes a new one. */
  fail(reason: SluiceError): void {
    if (this.#transport !== undefined) this.#lost(reason)
  }

  closeIdle(): void {
    if (this.#state.phase !== 'up' || this.#hooks.busy()) return
    this.#dropTransport()
    this.#set({ phase: 'idle' })
    this.#hooks.down(undefined)
  }

  close(): void {
    if (this.#state.phase === 'closed') return
    this.#timer?.cancel()
    this.#opening?.abort()
    this.#dropTransport()
    this.#set({ phase: 'closed' })
    this.#hooks.down(undefined)
  }

  #connect(): void {
    const { reason } = this.#state
    this.#set({ phase: 'connecting', ...(reason === undefined ? {} : { reason }) })
    const opening = new AbortController()
    this.#opening = opening
    this.#open(opening.signal).then(
      (transport) => {
        if (opening.signal.aborted) return transport.close()
        this.#opened(transport)
      },
      (thrown: unknown) => {
        if (!opening.signal.aborted) this.#lost(toSluiceError(thrown))
      },
    )
  }

  #opened(transport: ByteTransport): void {
    this.#transport = transport
    this.#connects++
    transport.onClose((reason) => {
      if (this.#transport !== transport) return
      this.#lost(reason ?? new SluiceError('SLUICE_MODBUS_LINK_DOWN', 'the connection was closed by the other side'))
    })
    const pauseMs = this.#options.pauseAfterConnectMs ?? 0
    if (pauseMs > 0) this.#timer = this.#clock.after(pauseMs, () => this.#ready(transport))
    else this.#ready(transport)
  }

  #ready(transport: ByteTransport): void {
    this.#set({ phase: 'up' })
    this.#lastUseMs = this.#clock.monotonic()
    this.#hooks.up(transport)
    this.#watchIdle()
  }

  #lost(reason: SluiceError): void {
    this.#dropTransport()
    const leastMs = this.#options.reconnectMinMs ?? 250
    const mostMs = this.#options.reconnectMaxMs ?? 30_000
    const waitMs = Math.min(mostMs, leastMs * 2 ** Math.min(this.#failures++, 20)) * (0.5 + this.#random() / 2)
    this.#timer = this.#clock.after(waitMs, () => this.#connect())
    this.#set({ phase: 'down', reason, retryAtMs: this.#clock.monotonic() + waitMs })
    this.#hooks.down(reason)
  }

  #dropTransport(): void {
    this.#timer?.cancel()
    this.#idleTimer?.cancel()
    const transport = this.#transport
    this.#transport = undefined
    transport?.close()
  }

  #watchIdle(): void {
    const idleMs = this.#options.closeAfterIdleMs ?? 0
    if (idleMs <= 0) return
    const leftMs = this.#lastUseMs + idleMs - this.#clock.monotonic()
    const onTimer = () => {
      if (this.#hooks.busy()) this.#lastUseMs = this.#clock.monotonic()
      if (this.#clock.monotonic() - this.#lastUseMs >= idleMs) this.closeIdle()
      else this.#watchIdle()
    }
    this.#idleTimer = this.#clock.after(Math.max(leftMs, 1), onTimer, true)
  }

  #set(state: LinkState): void {
    this.#state = state
    for (const listener of this.#listeners) listener(state)
  }
}
