import { LinkMeter } from '../sdk/link-meter.ts'
import type { LinkStats, MapperHost } from '../sdk/mapper.ts'
import { ProbeBudget } from '../sdk/probe-budget.ts'
import { LinkScheduler } from '../sdk/scheduler.ts'
import type { LinkConfig } from './device-config.ts'
import { type LinkState, type ModbusSession, openSerialSession, openTcpSession } from './session.ts'

/** Opens the wire of a link; replaced in tests. */
export type OpenSession = (link: LinkConfig, host: MapperHost) => ModbusSession

export const openSession: OpenSession = ({ open }, { clock, random }) =>
  open.kind === 'serial'
    ? openSerialSession(open.options, { clock, random })
    : openTcpSession(open.options, { clock, random })

/** Who is told about the link. */
export interface LinkUser {
  linkDown(reason: string): void
  linkUp(): void
  /** Another unit of the link that was silent answers again: the cause may be gone for everybody. */
  neighbourRecovered(): void
  readonly load: number
  readonly idealLoad: number
}

/** One wire with its scheduler, its statistics and everybody who uses it. */
export class ServedLink implements AsyncDisposable {
  readonly config: LinkConfig
  readonly session: ModbusSession
  readonly scheduler: LinkScheduler
  readonly meter: LinkMeter
  readonly budget: ProbeBudget
  readonly users = new Set<LinkUser>()
  readonly #closing = new AbortController()
  readonly #unsubscribe: () => void
  #downReason: string | undefined
  #cameUp = Promise.withResolvers<void>()

  /** `phase`: see `SchedulerOptions`. */
  constructor(config: LinkConfig, host: MapperHost, open: OpenSession, phase: number) {
    this.config = config
    this.session = open(config, host)
    this.meter = new LinkMeter(host.clock)
    this.budget = new ProbeBudget(host.clock.monotonic())
    const { session } = this
    const oneByOne = config.line.kind !== 'tcp'
    this.scheduler = new LinkScheduler({
      clock: host.clock,
      phase,
      // Twice the window, so that the session always has the next request at hand when an answer comes.
      concurrency: () => (oneByOne ? 1 : 2 * session.stats.window),
      onError: (error) => host.log('error', `modbus: ${String(error)}`, { link: config.name }),
    })
    this.#unsubscribe = session.onState((state) => this.#changed(state))
  }

  /** Aborts when the link is closed for good. */
  get closing(): AbortSignal {
    return this.#closing.signal
  }

  get downReason(): string | undefined {
    return this.#downReason
  }

  /** Share of the link's time taken by traffic lately. */
  get use(): number {
    return this.meter.use(this.config.line.kind === 'tcp' ? this.session.stats.window : 1)
  }

  /** Resolves at once while the link is not known to be down, else when it comes back. */
  whenUp(): Promise<void> {
    return this.#downReason === undefined ? Promise.resolve() : this.#cameUp.promise
  }

  recovered(user: LinkUser): void {
    for (const other of this.users) if (other !== user) other.neighbourRecovered()
  }

  stats(): LinkStats {
    const { state, stats } = this.session
    let load = 0
    let idealLoad = 0
    for (const user of this.users) {
      load += user.load
      idealLoad += user.idealLoad
    }
    const turnarounds = [...stats.turnaroundMs.values()]
    const average = turnarounds.reduce((sum, one) => sum + one, 0) / turnarounds.length
    const skipped = this.scheduler.turns.skipped
    return {
      link: this.config.name,
      protocol: 'modbus',
      state: state.phase === 'up' ? 'up' : this.#downReason === undefined ? 'idle' : 'down',
      ...(this.#downReason === undefined ? {} : { reason: this.#downReason }),
      devices: this.users.size,
      use: this.use,
      planEfficiency: load === 0 ? 1 : Math.min(1, idealLoad / load),
      requests: this.meter.requests,
      propertiesRead: this.meter.propertiesRead,
      errors: skipped === 0 ? this.meter.errors : { ...this.meter.errors, 'skipped-turn': skipped },
      ...(turnarounds.length === 0 ? {} : { turnaroundMs: Math.round(average * 10) / 10 }),
    }
  }

  #changed(state: LinkState): void {
    if (state.phase === 'down') {
      const reason = `${this.config.name} is down: ${state.reason?.message ?? 'no connection'}`
      const news = this.#downReason === undefined
      this.#downReason = reason
      if (!news) return
      this.scheduler.pause()
      for (const user of this.users) user.linkDown(reason)
    } else if (state.phase === 'up' && this.#downReason !== undefined) {
      this.#downReason = undefined
      this.#cameUp.resolve()
      this.#cameUp = Promise.withResolvers<void>()
      this.scheduler.resume()
      for (const user of this.users) user.linkUp()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#unsubscribe()
    this.#closing.abort()
    this.scheduler.dispose()
    await this.session[Symbol.asyncDispose]()
  }
}
