import { delay } from '../../api/clock.ts'
import { SluiceError, toSluiceError } from '../../api/errors.ts'
import { LinkMeter } from '../sdk/link-meter.ts'
import type { GatewayHost, LinkStats } from '../sdk/mapper.ts'
import { LinkScheduler } from '../sdk/scheduler.ts'
import type { Adapter } from './adapter.ts'
import type { Patience } from './guard.ts'
import { withDeadline } from './guard.ts'
import type { BleLink, BleTransport, Heard, Peer } from './transport.ts'

export type OpenTransport = (adapter: Adapter, host: GatewayHost) => Promise<BleTransport>

/** Who is served by a radio. */
export interface RadioUser {
  readonly mac: string
  /** Whether it would like a connection that stays. */
  readonly wantsToStay: boolean
  heard(heard: Heard, nowMs: number): void
  radioUp(): void
  radioDown(reason: string): void
  /** Called now and then, to notice silence. */
  tick(nowMs: number): void
}

/** Links at once. Controllers hold 7 to 20 (peers of the field say), and the smallest must do. */
export const MAX_LINKS = 7
const OPEN_MS = 10_000
const CALL_MS = 5000
const ALIVE_MS = 2000
const TICK_MS = 1000
/** A scanning radio that hears nobody for this long is asked whether it is alive. */
const QUIET_MS = 5000
const BACKOFF_MIN_MS = 1000
const BACKOFF_MAX_MS = 60_000
const READS_AT_ONCE = 16

/**
 * One radio: opens it, opens it again when it fails, shares its connections. A peer that does not answer is told from a
 * radio that does not answer: after every time-out the radio itself is asked, and reset when it is silent too.
 */
export class Radio implements AsyncDisposable {
  readonly id: string
  /** Sessions of devices that are connected for one reading. */
  readonly sessions: LinkScheduler
  /** Reads over connections that stay. */
  readonly reads: LinkScheduler
  readonly meter: LinkMeter
  readonly #adapter: Adapter
  readonly #host: GatewayHost
  readonly #open: OpenTransport
  readonly #users = new Map<string, Set<RadioUser>>()
  readonly #closing = new AbortController()
  readonly #done: Promise<void>
  readonly #stranger: (heard: Heard, nowMs: number) => void
  #transport: BleTransport | undefined
  #up = Promise.withResolvers<void>()
  #downReason: string | undefined
  #resetWanted: PromiseWithResolvers<string> | undefined
  #connecting: Promise<unknown> = Promise.resolve()
  #links = 0
  #freed = Promise.withResolvers<void>()
  #staying = 0
  #heardMs = 0
  #adverts = 0
  #resets = 0

  constructor(
    id: string,
    adapter: Adapter,
    host: GatewayHost,
    open: OpenTransport,
    stranger: (heard: Heard, nowMs: number) => void,
  ) {
    this.id = id
    this.#adapter = adapter
    this.#host = host
    this.#open = open
    this.#stranger = stranger
    this.meter = new LinkMeter(host.clock)
    const onError = (error: unknown) => host.log('error', `ble: ${String(error)}`, { radio: id })
    const free = () => Math.max(1, MAX_LINKS - this.#staying)
    this.sessions = new LinkScheduler({ clock: host.clock, concurrency: free, onError })
    this.reads = new LinkScheduler({ clock: host.clock, concurrency: () => READS_AT_ONCE, onError })
    this.sessions.pause()
    this.reads.pause()
    this.#done = this.#run()
  }

  get closing(): AbortSignal {
    return this.#closing.signal
  }

  get downReason(): string | undefined {
    return this.#transport === undefined ? (this.#downReason ?? 'the radio is starting') : undefined
  }

  get users(): number {
    let count = 0
    for (const set of this.#users.values()) count += set.size
    return count
  }

  get links(): number {
    return this.#links
  }

  get resets(): number {
    return this.#resets
  }

  /** Resolves when the radio is up, at once when it is. */
  async whenUp(): Promise<void> {
    await this.#up.promise
  }

  join(user: RadioUser): void {
    const set = this.#users.get(user.mac) ?? new Set()
    this.#users.set(user.mac, set)
    set.add(user)
  }

  leave(user: RadioUser): void {
    const set = this.#users.get(user.mac)
    set?.delete(user)
    if (set?.size === 0) this.#users.delete(user.mac)
  }

  /**
   * A place among the connections that stay; false when there is none, and then the device has to come and go. One place
   * is always kept for those that come and go, so nobody is shut out.
   */
  takeStay(): boolean {
    if (this.#staying >= MAX_LINKS - 1) return false
    this.#staying++
    return true
  }

  giveStay(): void {
    this.#staying--
  }

  /**
   * Waits while every connection of the radio is taken. The scheduler gives places in advance, but a connection that is
   * to stay may stand a moment longer than its place, as after a reset.
   */
  async #belowBudget(patience: Patience): Promise<void> {
    while (this.#links >= MAX_LINKS) {
      this.#freed = Promise.withResolvers()
      const { promise } = this.#freed
      await withDeadline(this.#host.clock, patience, 'waiting for a free connection', () => promise)
    }
  }

  /** Connects, one device after the other: a controller can initiate only one connection at a time. */
  connect(peer: Peer, patience: Patience): Promise<BleLink> {
    const turn = this.#connecting.then(async () => {
      const transport = this.#transport
      if (transport === undefined) {
        throw new SluiceError('SLUICE_BLE_RADIO', this.downReason ?? `${this.id} is down`, {
          hint: 'The radio is opened again by itself.',
        })
      }
      await this.#belowBudget(patience)
      try {
        const link = await transport.connect(peer, patience)
        this.#links++
        void link.ended.then(() => {
          this.#links--
          this.#freed.resolve()
        })
        return link
      } catch (thrown) {
        const error = toSluiceError(thrown)
        if (error.code === 'SLUICE_BLE_TIMEOUT') await this.#suspect(transport)
        throw error
      }
    })
    this.#connecting = turn.catch(() => undefined)
    return turn
  }

  stats(): LinkStats {
    const { errors } = this.meter
    return {
      link: this.id,
      protocol: 'ble',
      state: this.#transport !== undefined ? 'up' : this.#downReason === undefined ? 'idle' : 'down',
      ...(this.#downReason === undefined ? {} : { reason: this.#downReason }),
      devices: this.users,
      use: this.#links / MAX_LINKS,
      planEfficiency: 1,
      requests: this.meter.requests + this.#adverts,
      propertiesRead: this.meter.propertiesRead,
      errors: this.#resets === 0 ? errors : { ...errors, 'radio-reset': this.#resets },
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort()
    this.#resetWanted?.resolve('closed')
    this.sessions.dispose()
    this.reads.dispose()
    await this.#done
  }

  async #run(): Promise<void> {
    let backoffMs = BACKOFF_MIN_MS
    while (!this.#closing.signal.aborted) {
      let reason: string
      const transport = await this.#opened()
      if (typeof transport === 'string') reason = transport
      else {
        backoffMs = BACKOFF_MIN_MS
        reason = await this.#serve(transport)
        await this.#closed(transport)
      }
      if (this.#closing.signal.aborted) return
      this.#fell(reason)
      try {
        await delay(this.#host.clock, backoffMs, this.#closing.signal)
      } catch {
        return
      }
      backoffMs = Math.min(BACKOFF_MAX_MS, backoffMs * 2)
    }
  }

  async #opened(): Promise<BleTransport | string> {
    let transport: BleTransport | undefined
    try {
      transport = await this.#open(this.#adapter, this.#host)
      const patience = { timeoutMs: OPEN_MS, signal: this.#closing.signal }
      await transport.open(patience)
      await transport.scan(true, { timeoutMs: CALL_MS, signal: this.#closing.signal })
      return transport
    } catch (thrown) {
      if (transport !== undefined) await this.#closed(transport)
      const { message, hint } = toSluiceError(thrown)
      return hint === undefined ? message : `${message}; ${hint}`
    }
  }

  async #closed(transport: BleTransport): Promise<void> {
    try {
      await withDeadline(this.#host.clock, { timeoutMs: CALL_MS }, 'closing the radio', async () => {
        await transport[Symbol.asyncDispose]()
      })
    } catch (thrown) {
      this.#host.log('warn', `ble: closing ${this.id} failed`, { reason: toSluiceError(thrown).message })
    }
  }

  /** Serves until the radio fails or is not wanted any more; returns why. */
  async #serve(transport: BleTransport): Promise<string> {
    const ended = Promise.withResolvers<string>()
    this.#resetWanted = ended
    transport.onDown((reason) => ended.resolve(reason))
    transport.onHeard((heard) => this.#hear(heard))
    this.#transport = transport
    this.#downReason = undefined
    this.#heardMs = this.#host.clock.monotonic()
    this.#up.resolve()
    this.sessions.resume()
    this.reads.resume()
    for (const user of this.#everybody()) user.radioUp()
    const ticker = this.#tick(transport)
    const reason = await ended.promise
    ticker()
    this.#transport = undefined
    this.#resetWanted = undefined
    return reason
  }

  #fell(reason: string): void {
    const news = this.#downReason === undefined
    this.#downReason = reason
    if (!news) return
    this.#up = Promise.withResolvers<void>()
    this.sessions.pause()
    this.reads.pause()
    this.#host.log('warn', `ble: ${this.id} is down`, { reason })
    for (const user of this.#everybody()) user.radioDown(reason)
  }

  #tick(transport: BleTransport): () => void {
    const { clock } = this.#host
    let asking = false
    const turn = () => {
      timer = clock.after(TICK_MS, turn)
      const nowMs = clock.monotonic()
      for (const user of this.#everybody()) user.tick(nowMs)
      if (asking || nowMs - this.#heardMs < QUIET_MS) return
      asking = true
      void this.#suspect(transport).then(() => {
        asking = false
        this.#heardMs = clock.monotonic()
      })
    }
    let timer = clock.after(TICK_MS, turn)
    return () => timer.cancel()
  }

  /** Asks the radio whether it is alive, and has it reset when it is not. */
  async #suspect(transport: BleTransport): Promise<void> {
    const alive = await transport.alive({ timeoutMs: ALIVE_MS, signal: this.#closing.signal })
    if (alive || this.#transport !== transport || this.#closing.signal.aborted) return
    this.#resets++
    this.#resetWanted?.resolve(`the radio ${this.id} does not answer; it is reset`)
  }

  #hear(heard: Heard): void {
    const nowMs = this.#host.clock.monotonic()
    this.#heardMs = nowMs
    this.#adverts++
    const users = this.#users.get(heard.mac)
    if (users === undefined) this.#stranger(heard, nowMs)
    else for (const user of users) user.heard(heard, nowMs)
  }

  #everybody(): RadioUser[] {
    return [...this.#users.values()].flatMap((set) => [...set])
  }
}
