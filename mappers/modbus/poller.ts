import type { Timer } from '../../api/clock.ts'
import { bad, type Quality } from '../../api/twin/quality.ts'
import type { MapperHost, PlanExplanation, Reading } from '../sdk/mapper.ts'
import type { Beat, ScheduledTask } from '../sdk/scheduler.ts'
import { type DeviceConfig, UNLIMITED } from './device-config.ts'
import { type Exchanged, UnitExchange } from './exchange.ts'
import { explainPlan } from './explain.ts'
import { type Failure, qualityOf, wrongAnswerEvent } from './failure.ts'
import { Holes } from './holes.ts'
import { ModelCheck } from './model-check.ts'
import { narrow, type ReadRange, rangeOf } from './narrow.ts'
import { type Plan, type PlanGroup, planReads, shapeOf } from './plan.ts'
import { type ReadCost, readCost, thinkingMs } from './plan-cost.ts'
import type { Point } from './point.ts'
import { readingsOf } from './readings.ts'
import type { LinkUser, ServedLink } from './served-link.ts'
import { READ_FUNCTION } from './tables.ts'

/** Every fourth probe of a silent device waits the whole time-out, so that a slow one is found again too. */
const FULL_PROBE_EVERY = 4
/** What a time-out costs a line beyond itself: the session listens for the late answer. */
const QUIET_AFTER_TIMEOUT_MS = 200
const REVIEW_EVERY_MS = 30_000
/** Learnt and planned turnaround must differ by this factor and this much before a plan is reviewed. */
const REVIEW_FACTOR = 1.3
const REVIEW_LEAST_MS = 1
/** How often properties that cannot be read say so again. */
const REPEAT_UNREADABLE_MS = 5000

interface Asked {
  readonly group: PlanGroup<Point>
  readonly points: readonly Point[]
  readonly range: ReadRange
}

interface RepeatsLeft {
  readonly busy: number
  readonly silent: number
}

/** Reads one device by its plan, leaves it alone while it is silent, and learns what it refuses. */
export class UnitPoller implements LinkUser {
  readonly config: DeviceConfig
  readonly exchange: UnitExchange
  readonly #link: ServedLink
  readonly #host: MapperHost
  readonly #points: readonly Point[]
  readonly #holes = new Holes()
  /** Groups that take no turn, because something about them is under way already. */
  readonly #held = new Set<PlanGroup<Point>>()
  /** Of boards that say what model they were made of. */
  readonly check: ModelCheck | undefined
  #cost: ReadCost
  #plannedTurnaroundMs: number
  #plan: Plan<Point>
  #idealLoad: number | undefined
  #tasks: ScheduledTask[] = []
  #probeTimer: Timer | undefined
  #expiryTimer: Timer | undefined
  #probes = 0
  #reviewAtMs: number
  #repeatAtMs = 0
  #disposed = false

  constructor(config: DeviceConfig, link: ServedLink, host: MapperHost) {
    this.config = config
    this.#link = link
    this.#host = host
    this.#points = config.points.filter((point) => point.polled)
    this.exchange = new UnitExchange(config, link, host, {
      silenced: (reason) => this.#silenced(reason),
      recovered: () => this.#recovered(),
    })
    if (config.modelHash !== undefined) {
      this.check = new ModelCheck(config.key, config.modelHash, this.exchange, host, {
        changed: () => this.exchange.breaker.closed && link.downReason === undefined && this.#schedule(),
        refused: (reason) => this.#emitBad(this.#points, bad('model-mismatch'), reason),
      })
    }
    this.#plannedTurnaroundMs = this.#turnaroundMs()
    this.#cost = readCost(config.link.line, this.#plannedTurnaroundMs)
    this.#plan = this.#makePlan()
    this.#reviewAtMs = host.clock.monotonic() + REVIEW_EVERY_MS / 3
  }

  get load(): number {
    return this.#plan.load
  }

  /** Worked out when somebody asks: it is as much work as the plan itself. */
  get idealLoad(): number {
    this.#idealLoad ??= planReads(this.#points, UNLIMITED, this.#cost).load
    return this.#idealLoad
  }

  start(): void {
    this.#link.users.add(this)
    if (this.#link.downReason === undefined) this.#schedule()
    else this.linkDown(this.#link.downReason)
  }

  dispose(): void {
    this.#disposed = true
    this.exchange.closed = true
    this.#link.users.delete(this)
    this.#stopTasks()
    this.#probeTimer?.cancel()
    this.#expiryTimer?.cancel()
  }

  /** With `otherwise`, the plan that the same device would have as it is compiled there, by what was learnt of it. */
  explain(otherwise?: DeviceConfig): PlanExplanation {
    const learnt = this.exchange.turnaroundMs
    const notes = [
      learnt === undefined
        ? `turnaround of ${this.#plannedTurnaroundMs} ms assumed, nothing measured yet`
        : `turnaround learnt: ${learnt.toPrecision(3)} ms`,
      ...this.#holes.ranges.map(({ table, start, end }) =>
        start === end
          ? `the device refuses reads across ${table} ${start}`
          : `the device refuses ${table} ${start} to ${end - 1}; tried again within a day`,
      ),
    ]
    if (!this.exchange.breaker.closed) notes.push(`not polled now: ${this.exchange.reachability.reason ?? 'no answer'}`)
    const holes = this.#holes.ranges
      .filter(({ start, end }) => end > start)
      .map(({ table, start, end }) => ({ table, start, length: end - start }))
    if (otherwise === undefined) return { ...explainPlan(this.config, this.#plan, this.#cost, notes), holes }
    const points = otherwise.points.filter((point) => point.polled)
    return { ...explainPlan(otherwise, this.#planOf(points, otherwise), this.#cost, notes), holes }
  }

  linkDown(reason: string): void {
    this.#stopTasks()
    this.#probeTimer?.cancel()
    this.check?.doubt()
    this.exchange.cutOff(reason)
    this.#emitBad(this.#points, bad('link-down'), reason)
  }

  linkUp(): void {
    if (this.exchange.breaker.closed) this.#schedule()
    else this.neighbourRecovered()
  }

  neighbourRecovered(): void {
    this.exchange.breaker.hurry(this.#host.clock.monotonic())
    this.#planProbe()
  }

  /** Reads one property now, ahead of the plan; for reading back what was written. Runs in the caller's turn. */
  async readNow(point: Point, signal: AbortSignal): Promise<Exchanged> {
    return this.#read({ table: point.table, start: point.start, count: point.size }, 1, 0, signal)
  }

  deliver(points: readonly Point[], range: ReadRange, result: Exchanged & { ok: true }): readonly Reading[] {
    if (this.#disposed || this.check?.passed === false) return []
    const readings = readingsOf(this.config.key, points, range, result.reply.response, result.atMs)
    this.#host.readings(readings)
    this.#housekeeping()
    return readings
  }

  #makePlan(): Plan<Point> {
    this.#idealLoad = undefined
    return this.#planOf(this.#points, this.config)
  }

  #planOf(points: readonly Point[], { limits }: DeviceConfig): Plan<Point> {
    return planReads(points, { ...limits, forbidden: [...limits.forbidden, ...this.#holes.ranges] }, this.#cost)
  }

  #turnaroundMs(): number {
    const learnt = this.exchange.turnaroundMs
    return learnt === undefined ? this.config.turnaroundMs : thinkingMs(this.config.link.line, learnt)
  }

  #schedule(): void {
    this.#stopTasks()
    if (this.#disposed) return
    const { check } = this
    if (check !== undefined)
      this.#tasks.push(this.#link.scheduler.every({ everyMs: check.everyMs, run: () => check.turn() }))
    if (check?.passed === false) return
    for (const group of this.#plan.groups) {
      const nextAt = group.steps.map(() => 0)
      const run = (beat: Beat) => this.#turn(group, nextAt, beat)
      this.#tasks.push(this.#link.scheduler.every({ everyMs: group.everyMs, run }))
    }
    this.#emitUnreadable()
  }

  #stopTasks(): void {
    for (const task of this.#tasks) task.cancel()
    this.#tasks = []
  }

  #replan(): void {
    this.#plan = this.#makePlan()
    this.#armExpiry()
    if (this.exchange.breaker.closed && this.#link.downReason === undefined) this.#schedule()
  }

  /** What was refused is tried again in time, even when nothing else is left to read. */
  #armExpiry(): void {
    this.#expiryTimer?.cancel()
    const atMs = this.#holes.nextExpiryMs
    if (atMs === undefined || this.#disposed) return
    this.#expiryTimer = this.#host.clock.after(atMs - this.#host.clock.monotonic(), () => {
      this.#holes.expire(this.#host.clock.monotonic())
      this.#replan()
    })
  }

  /** `nextAt[n]`: the turn from which step n is due. */
  async #turn(group: PlanGroup<Point>, nextAt: number[], beat: Beat): Promise<void> {
    if (this.#held.has(group)) return
    const due = group.steps.filter((_, step) => beat.index >= nextAt[step]!)
    const widest = due.at(-1)
    if (widest === undefined) return
    const range = { table: group.table, start: widest.start, count: widest.count }
    const points = due.length === 1 ? widest.items : due.flatMap((step) => step.items)
    const result = await this.#read(range, points.length, this.config.retries)
    if (result.ok || result.failure.kind === 'refused') {
      group.steps.forEach((step, index) => {
        const turns = Math.round(step.everyMs / group.everyMs)
        if (beat.index >= nextAt[index]!) nextAt[index] = (Math.floor(beat.index / turns) + 1) * turns
      })
    }
    this.#conclude({ group, points, range }, result, { busy: this.config.busyRetries, silent: this.config.retries })
  }

  #conclude(asked: Asked, result: Exchanged, left: RepeatsLeft): void {
    if (this.#disposed) return
    const { group, points, range } = asked
    if (result.ok) {
      this.deliver(points, range, result)
      return
    }
    const { failure } = result
    // Whoever did not answer may be starting, and with another program than before.
    if (failure.kind === 'silent') this.check?.doubt()
    if (failure.kind === 'busy' && left.busy > 0) {
      this.#held.add(group)
      const again = () => void this.#readAgain(asked, { ...left, busy: left.busy - 1 })
      this.#host.clock.after(this.config.busyWaitMs, again)
    } else if (failure.kind === 'silent' && left.silent > 0 && this.exchange.breaker.closed) {
      this.#held.add(group)
      void this.#readAgain(asked, { ...left, silent: left.silent - 1 })
    } else if (failure.exception === 1) {
      this.#holes.learn({ table: range.table, start: 0, end: 65536 }, 1, this.#host.clock.monotonic())
      this.#replan()
    } else if (failure.exception === 2 || failure.exception === 3) {
      this.#held.add(group)
      void this.#narrow(group, points, range, failure)
    } else if (failure.kind !== 'linkDown' && failure.kind !== 'given up' && this.exchange.breaker.closed) {
      // A broken link and an opened breaker have told about all properties already.
      this.#emitBad(points, qualityOf(failure), failure.reason)
    }
  }

  /** Once more, but after everybody who waits already. */
  async #readAgain(asked: Asked, left: RepeatsLeft): Promise<void> {
    if (this.#disposed || this.#link.closing.aborted) return
    const { retries } = this.config
    const result = await this.#link.scheduler.once('read', () => this.#read(asked.range, asked.points.length, retries))
    this.#held.delete(asked.group)
    this.#conclude(asked, result, left)
  }

  /** Finds out which addresses the device refuses, telling the readings it gets on the way, and plans around them. */
  async #narrow(group: PlanGroup<Point>, points: readonly Point[], range: ReadRange, failure: Failure): Promise<void> {
    const { bitsFromZero } = this.config.limits
    const learnt = await narrow(points, range, {
      read: async (part, partRange) => {
        if (this.#disposed || this.#link.closing.aborted) return 'failed'
        const result = await this.#link.scheduler.once('read', () => this.#read(partRange, part.length, 0))
        if (result.ok) this.deliver(part, partRange, result)
        else if (result.failure.exception === 2 || result.failure.exception === 3) return 'refused'
        return result.ok ? 'answered' : 'failed'
      },
      rangeOf: (part) => rangeOf(part, bitsFromZero),
    })
    this.#held.delete(group)
    if (this.#disposed || learnt.length === 0) return
    const nowMs = this.#host.clock.monotonic()
    for (const hole of learnt) this.#holes.learn(hole, failure.exception ?? 2, nowMs)
    this.#host.log('info', `modbus: ${this.config.key} refuses some addresses; planned around them`, {
      holes: learnt.map(({ table, start, end }) => `${table} ${start}..${Math.max(start, end - 1)}`),
    })
    this.#replan()
  }

  #read(range: ReadRange, serves: number, retries: number, signal?: AbortSignal): Promise<Exchanged> {
    const request = { fc: READ_FUNCTION[range.table], address: range.start, count: range.count }
    return this.exchange.request(request, { serves, retries, ...(signal === undefined ? {} : { signal }) })
  }

  #silenced(reason: string): void {
    if (this.#disposed) return
    this.#stopTasks()
    this.#host.log('warn', `modbus: ${this.config.key} does not answer`, { reason })
    this.#emitBad(this.#points, bad('timeout'), reason)
    this.#planProbe()
  }

  #recovered(): void {
    if (this.#disposed) return
    this.#probes = 0
    this.#probeTimer?.cancel()
    this.#schedule()
    this.#link.recovered(this)
  }

  /** Arms the timer for the probe that the breaker allows next, within what the link can spare. */
  #planProbe(): void {
    this.#probeTimer?.cancel()
    const { state } = this.exchange.breaker
    if (this.#disposed || state.phase !== 'open' || this.#plan.groups.length === 0) return
    const waitMs = state.retryAtMs - this.#host.clock.monotonic()
    this.#probeTimer = this.#host.clock.after(Math.max(0, waitMs), () => this.#maybeProbe())
  }

  #maybeProbe(): void {
    if (this.#disposed || this.#link.downReason !== undefined) return
    const nowMs = this.#host.clock.monotonic()
    const full = this.#probes % FULL_PROBE_EVERY === FULL_PROBE_EVERY - 1
    const timeoutMs = full ? this.config.timeoutMs : this.exchange.suspectTimeoutMs
    const tcp = this.config.link.line.kind === 'tcp'
    const costMs = tcp ? timeoutMs / this.#link.session.stats.window : timeoutMs + QUIET_AFTER_TIMEOUT_MS
    const waitMs = this.#link.budget.take(costMs, this.#link.use, nowMs)
    if (waitMs > 0) {
      this.#probeTimer = this.#host.clock.after(waitMs, () => this.#maybeProbe())
      return
    }
    if (!this.exchange.breaker.takeProbe(nowMs)) return
    this.#probes++
    void this.#probe(timeoutMs)
  }

  async #probe(timeoutMs: number): Promise<void> {
    const step = this.#plan.groups
      .map((group) => ({ table: group.table, ...group.steps[0]! }))
      .sort((a, b) => a.count - b.count)[0]!
    const range = { table: step.table, start: step.start, count: step.count }
    const request = { fc: READ_FUNCTION[range.table], address: range.start, count: range.count }
    const result = await this.#link.scheduler.once('read', () =>
      this.exchange.request(request, { serves: step.items.length, retries: 0, timeoutMs }),
    )
    if (result.ok && !this.#disposed) this.deliver(step.items, range, result)
    this.#planProbe()
  }

  #housekeeping(): void {
    const nowMs = this.#host.clock.monotonic()
    if (nowMs >= this.#repeatAtMs) this.#emitUnreadable()
    if (nowMs < this.#reviewAtMs) return
    this.#reviewAtMs = nowMs + REVIEW_EVERY_MS
    const turnaroundMs = this.#turnaroundMs()
    const factor = Math.max(turnaroundMs, 0.01) / Math.max(this.#plannedTurnaroundMs, 0.01)
    const differs = Math.abs(turnaroundMs - this.#plannedTurnaroundMs) >= REVIEW_LEAST_MS
    if (!differs || (factor <= REVIEW_FACTOR && factor >= 1 / REVIEW_FACTOR)) return
    this.#plannedTurnaroundMs = turnaroundMs
    this.#cost = readCost(this.config.link.line, turnaroundMs)
    const before = shapeOf(this.#plan)
    const plan = this.#makePlan()
    const same = shapeOf(plan) === before
    // The running turns refer to the old groups, which are equal to the new ones: nothing to disturb.
    this.#plan = plan
    if (!same && this.exchange.breaker.closed && this.#link.downReason === undefined) this.#schedule()
  }

  #emitUnreadable(): void {
    this.#repeatAtMs = this.#host.clock.monotonic() + REPEAT_UNREADABLE_MS
    for (const { item, why } of this.#plan.unreadable) {
      const exception = this.#holes.exceptionAt(item.table, item.start, item.size)
      if (why === 'tooLong')
        this.#emitBad([item], bad('too-long'), `${item.name} is longer than the device's longest read`)
      else if (exception === undefined)
        this.#emitBad([item], bad('forbidden'), `the model forbids reading ${item.name}`)
      else
        this.#emitBad(
          [item],
          bad(`modbus-exception-${exception}`),
          `the device refuses to give ${item.name} (exception ${exception})`,
        )
    }
  }

  #emitBad(points: readonly Point[], quality: Quality, reason: string): void {
    if (points.length === 0 || this.#disposed) return
    const atMs = this.#host.clock.now()
    this.#host.readings(
      points.map((point) => ({ device: this.config.key, property: point.name, atMs, quality, reason })),
    )
    const event = wrongAnswerEvent(this.config.key, points, quality, reason)
    if (event !== undefined) this.#host.event(event)
  }
}
