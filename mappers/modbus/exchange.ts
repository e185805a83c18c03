import { Breaker } from '../sdk/breaker.ts'
import type { MapperHost } from '../sdk/mapper.ts'
import { Reachability } from '../sdk/reachability.ts'
import type { DeviceConfig } from './device-config.ts'
import { type Failure, failureOf } from './failure.ts'
import type { ServedLink } from './served-link.ts'
import type { ModbusReply, ModbusRequest } from './session.ts'

export type Exchanged =
  | { readonly ok: true; readonly reply: ModbusReply; readonly atMs: number }
  | { readonly ok: false; readonly failure: Failure; readonly atMs: number }

export interface ExchangeOptions {
  /** How many readings a good answer serves; for the statistics. */
  readonly serves: number
  /** Repeats at once after a damaged answer. Silence is not repeated at once: it would keep the neighbours waiting twice. */
  readonly retries: number
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
}

export interface ExchangeEvents {
  /** The device did not answer for the third time in a row. */
  silenced(reason: string): void
  /** It answers again. */
  recovered(): void
}

/**
 * A device that is doubted gets at least this long to answer, milliseconds: a machine with more to do than it can keeps
 * a process that is ready from running for a few hundred, be it ours or the one that answers.
 */
const LEAST_SUSPECT_TIMEOUT_MS = 300
/** The same in turnarounds: usual ones, and slowest ones lately. */
const USUAL_FACTOR = 4
const SLOWEST_FACTOR = 1.5
/** What the slowest turnaround loses with each answer: after some hundred good ones it is forgotten. */
const SLOWEST_DECAY = 0.99

/**
 * Requests to one device, each of which teaches something: the breaker, the reachability and the link's meter are fed
 * here and nowhere else. Failures are results, not rejections.
 */
export class UnitExchange {
  readonly breaker: Breaker
  readonly reachability: Reachability
  /** The device is not ours any more: nothing is told about it. */
  closed = false
  #slowestMs = 0
  readonly #config: DeviceConfig
  readonly #link: ServedLink
  readonly #host: MapperHost
  readonly #events: ExchangeEvents

  constructor(config: DeviceConfig, link: ServedLink, host: MapperHost, events: ExchangeEvents) {
    this.#config = config
    this.#link = link
    this.#host = host
    this.#events = events
    this.breaker = new Breaker(host.random)
    this.reachability = new Reachability(config.key)
  }

  /** The device's turnaround as learnt on this link, milliseconds. */
  get turnaroundMs(): number | undefined {
    return this.#link.session.stats.turnaroundMs.get(this.#config.unit)
  }

  /**
   * How long to wait for a device that did not answer last time: several times what it usually takes and longer than it
   * took lately at worst, so that a dead one costs its neighbours little and a slow one is not taken for dead.
   */
  get suspectTimeoutMs(): number {
    const usualMs = USUAL_FACTOR * (this.turnaroundMs ?? 0)
    const slowestMs = SLOWEST_FACTOR * this.#slowestMs
    return Math.min(this.#config.timeoutMs, Math.max(LEAST_SUSPECT_TIMEOUT_MS, usualMs, slowestMs))
  }

  async request(request: ModbusRequest, options: ExchangeOptions): Promise<Exchanged> {
    for (let attempt = 0; ; attempt++) {
      const result = await this.#once(request, options)
      if (result.ok || attempt >= options.retries || result.failure.kind !== 'noise') return result
    }
  }

  async #once(request: ModbusRequest, options: ExchangeOptions): Promise<Exchanged> {
    const doubted = this.breaker.state.failures > 0
    const timeoutMs = options.timeoutMs ?? (doubted ? this.suspectTimeoutMs : this.#config.timeoutMs)
    try {
      const reply = await this.#link.session.request(this.#config.unit, request, {
        timeoutMs,
        ...(options.signal === undefined ? {} : { signal: options.signal }),
      })
      this.#link.meter.answered(reply.wireMs, options.serves, this.#config.key)
      const atMs = this.#host.clock.now()
      this.#answered(reply.turnaroundMs, atMs)
      return { ok: true, reply, atMs }
    } catch (error) {
      const failure = failureOf(error)
      const atMs = this.#host.clock.now()
      this.#learn(failure, atMs)
      return { ok: false, failure, atMs }
    }
  }

  #answered(latencyMs: number, atMs: number): void {
    this.#slowestMs = Math.max(latencyMs, this.#slowestMs * SLOWEST_DECAY)
    const recovers = this.breaker.succeeded()
    this.#tell(this.reachability.answered(latencyMs, atMs))
    if (recovers) this.#events.recovered()
  }

  #learn(failure: Failure, atMs: number): void {
    if (failure.kind === 'given up') {
      this.breaker.abandoned(this.#host.clock.monotonic())
      return
    }
    this.#link.meter.failed(failure.code)
    switch (failure.kind) {
      case 'busy':
      case 'refused':
        this.#answered(this.turnaroundMs ?? 0, atMs)
        return
      case 'linkDown':
        this.breaker.abandoned(this.#host.clock.monotonic())
        return
      case 'noise':
        // Damaged answers are cheap to repeat and prove that somebody is there: they do not open the breaker.
        this.#tell(this.reachability.failed(atMs))
        this.breaker.abandoned(this.#host.clock.monotonic())
        return
      case 'silent':
        this.#tell(this.reachability.failed(atMs))
        if (this.breaker.failed(this.#host.clock.monotonic())) this.offline(failure.reason)
    }
  }

  offline(reason: string): void {
    this.#tell(this.reachability.offline(reason, this.#host.clock.now()))
    this.#events.silenced(reason)
  }

  /** Says that the device cannot be reached for a reason that is not its own. */
  cutOff(reason: string): void {
    this.#tell(this.reachability.offline(reason, this.#host.clock.now()))
  }

  #tell(news: ReturnType<Reachability['offline']>): void {
    if (news !== undefined && !this.closed) this.#host.reachability([news])
  }
}
