import type { Timer } from '../../api/clock.ts'
import type { Json } from '../../api/resources.ts'
import { bad, type Quality } from '../../api/twin/quality.ts'
import { sameValue } from '../../api/twin/twin.ts'
import type { GatewayHost, Reading } from '../sdk/mapper.ts'
import { Reachability } from '../sdk/reachability.ts'
import { type Metric, QUALITY } from '../sdk/sparkplug-payload.ts'
import { unusableEvent } from '../sdk/unusable.ts'
import { Complaints } from './complaints.ts'
import type { Availability, DeviceConfig } from './device-config.ts'
import { type Extracted, Payload } from './payload.ts'
import { planRoutes, type Route } from './plan.ts'
import type { Decoded, Point } from './point.ts'
import type { ServedBroker } from './served-broker.ts'
import { sourceTimeMs } from './source-time.ts'
import { fillPayload } from './template.ts'

/** Called with every good value of a property, fresh and not retained. */
export type ValueListener = (value: Json) => void

/** One device on a broker: its subscriptions, and its payloads made into readings. */
/** Headers of MQTT, TCP, IP and Ethernet around a small PUBLISH. */
const PACKET_BYTES = 75

export class ServedDevice implements Disposable {
  readonly config: DeviceConfig
  readonly broker: ServedBroker
  readonly #host: GatewayHost
  readonly #reach: Reachability
  readonly #complaints = new Map<Point, Complaints>()
  readonly #subscriptions: Disposable[] = []
  readonly #timers = new Set<Timer>()
  readonly #watchers = new Map<string, Set<ValueListener>>()
  readonly #available = new Map<Availability, boolean>()
  /** Newest good value of each property, for writes that wait for one. */
  readonly latest = new Map<string, Json>()
  /** How the metrics were born, which is how a command has to speak of them. */
  readonly born = new Map<string, Pick<Metric, 'type' | 'alias' | 'wide'>>()
  #requestId = 0
  #bytes = 0

  constructor(config: DeviceConfig, broker: ServedBroker, host: GatewayHost) {
    this.config = config
    this.broker = broker
    this.#host = host
    this.#reach = new Reachability(config.key)
  }

  start(): void {
    const { session } = this.broker
    for (const route of planRoutes(this.config)) {
      this.#subscriptions.push(
        session.subscribe(route.filter, this.config.qos, (topic, payload, retained) => {
          this.broker.counted(payload.length)
          this.count(topic.length + payload.length)
          this.#take(route, topic, new Payload(payload), retained)
        }),
      )
    }
    const { sparkplug } = this.config
    if (sparkplug !== undefined) {
      this.#subscriptions.push(
        this.broker.sparkplug(sparkplug, {
          device: sparkplug.device,
          metrics: (metrics, timestampMs, birth) => this.#takeMetrics(metrics, timestampMs, birth),
          death: (reason) => this.#away(reason),
          wrong: (reason) => this.#wrongEverywhere('payload-format', reason),
        }),
      )
    }
    this.connectionChanged()
  }

  /** The connection to the broker came or went. */
  connectionChanged(): void {
    for (const timer of this.#timers) timer.cancel()
    this.#timers.clear()
    const { state } = this.broker.session
    if (!state.up) {
      this.#tellOffline(`no connection to the broker ${this.config.broker.name}: ${state.reason ?? 'unknown'}`)
      return
    }
    if (this.#reach.online !== true)
      this.#tellOffline('connected to the broker, but nothing was heard from the device yet')
    for (const request of this.config.requests) this.#ask(request)
  }

  /** What came for it and went to it over the broker, topics included. */
  get bytes(): number {
    return this.#bytes
  }

  /** One message more, to it or from it. */
  count(bytes: number): void {
    this.#bytes += bytes + PACKET_BYTES
  }

  /** Calls `listener` at each good value until disposed. */
  watch(property: string, listener: ValueListener): Disposable {
    const set = this.#watchers.get(property) ?? new Set()
    this.#watchers.set(property, set.add(listener))
    return { [Symbol.dispose]: () => void set.delete(listener) }
  }

  [Symbol.dispose](): void {
    for (const timer of this.#timers) timer.cancel()
    for (const subscription of this.#subscriptions) subscription[Symbol.dispose]()
  }

  #ask(request: DeviceConfig['requests'][number]): void {
    const payload = Buffer.from(fillPayload(request.payload, null, ++this.#requestId))
    this.count(request.topic.length + payload.length)
    this.broker.session.publish(request.topic, payload, this.config.qos, false).catch(() => {})
    if (request.everyMs === undefined) return
    const timer = this.#host.clock.after(
      request.everyMs,
      () => {
        this.#timers.delete(timer)
        this.#ask(request)
      },
      true,
    )
    this.#timers.add(timer)
  }

  #take(route: Route, topic: string, payload: Payload, retained: boolean): void {
    const nowMs = this.#host.clock.now()
    const batch: Reading[] = []
    for (const point of route.points) {
      if (retained && point.ignoreRetained) continue
      const decoded = point.decode(payload)
      if (decoded === undefined) continue
      const sourceMs = point.time === undefined ? undefined : timeIn(payload, point, nowMs)
      const reading = this.#reading(point, decoded, sourceMs ?? nowMs, retained && sourceMs === undefined, topic)
      if (reading !== undefined) batch.push(this.#shared(point, topic, reading))
      if ('value' in decoded && !retained) this.#tellWatchers(point.name, decoded.value)
    }
    if (batch.length > 0) this.#host.readings(batch)
    this.#follow(route, payload, retained, nowMs)
  }

  /** A value that another device takes from the very same place: whose it is nobody can say. */
  #shared(point: Point, topic: string, reading: Reading): Reading {
    const rival = this.broker.rivalFor(topic, point.place, this.config.key)
    if (rival === undefined) return reading
    const reason = `${topic.slice(0, 200)} also matches ${rival}; give one of them a topic of its own`
    this.#host.event({
      ...{ about: this.config.key, type: 'Warning', reason: 'TopicShared', message: reason },
      unusable: true,
    })
    return reading.quality === 'good' ? { ...reading, quality: 'uncertain', reason } : reading
  }

  #takeMetrics(metrics: readonly Metric[], timestampMs: number | undefined, birth: boolean): void {
    const nowMs = this.#host.clock.now()
    const batch: Reading[] = []
    for (const metric of metrics) {
      for (const point of this.config.points) {
        if (point.metric !== metric.name) continue
        if (metric.isHistorical === true) {
          // The twin is what is so now: what the node kept while it was away is counted and not told.
          this.broker.failed('historical')
          continue
        }
        if (birth) this.born.set(point.metric!, metric)
        const atMs = sourceTimeMs(metric.timestampMs ?? timestampMs, 'ms', nowMs) ?? nowMs
        const decoded = decodedOf(metric, point)
        const reading = this.#reading(point, decoded, atMs, false, metric.name ?? '')
        const isStale = metric.quality === QUALITY.stale
        if (reading !== undefined) batch.push(isStale ? { ...reading, quality: 'stale', reason: STALE } : reading)
        if ('value' in decoded && !isStale) this.#tellWatchers(point.name, decoded.value)
      }
    }
    if (batch.length > 0) this.#host.readings(batch)
    this.#tellOnline(nowMs)
  }

  #reading(point: Point, decoded: Decoded, atMs: number, old: boolean, source: string): Reading | undefined {
    const base = { device: this.config.key, property: point.name, atMs }
    if ('value' in decoded) {
      this.#complaints.get(point)?.right()
      if (!old) return { ...base, value: decoded.value, quality: 'good' }
      const reason = 'retained by the broker, its age is not known'
      return { ...base, value: decoded.value, quality: 'uncertain', reason }
    }
    const [quality, reason]: [Quality, string] =
      'none' in decoded
        ? [bad('not-available'), decoded.none]
        : [bad(decoded.problem.code), `${decoded.problem.reason}, on ${source.slice(0, 200)}`]
    let complaints = this.#complaints.get(point)
    if (complaints === undefined) this.#complaints.set(point, (complaints = new Complaints(this.#host.clock)))
    if ('problem' in decoded) {
      this.broker.failed(decoded.problem.code)
      this.#host.event(unusableEvent(this.config.key, decoded.problem.code, `${point.name}: ${reason}`))
    }
    const words = complaints.wrong(quality, reason)
    return words === undefined ? undefined : { ...base, quality, reason: words }
  }

  #wrongEverywhere(code: string, reason: string): void {
    const batch: Reading[] = []
    const atMs = this.#host.clock.now()
    this.broker.failed(code)
    this.#host.event(unusableEvent(this.config.key, code, reason))
    for (const point of this.config.points) {
      if (point.metric === undefined) continue
      let complaints = this.#complaints.get(point)
      if (complaints === undefined) this.#complaints.set(point, (complaints = new Complaints(this.#host.clock)))
      const words = complaints.wrong(code, reason)
      if (words === undefined) continue
      batch.push({ device: this.config.key, property: point.name, atMs, quality: bad(code), reason: words })
    }
    if (batch.length > 0) this.#host.readings(batch)
  }

  #follow(route: Route, payload: Payload, retained: boolean, nowMs: number): void {
    for (const rule of route.availability) {
      const extracted = payload.extract(rule.place.format, rule.place.path, rule.place.wire)
      if (holds(extracted, rule.offline)) this.#available.set(rule, false)
      else if (holds(extracted, rule.online)) this.#available.set(rule, true)
    }
    if (route.availability.length > 0 && [...this.#available.values()].includes(false)) {
      this.#away('its availability topic says that it is away')
      return
    }
    // A retained value says that the device was there once; its availability topic, that it is now.
    if (retained && route.availability.length === 0) return
    if (this.config.availability.every((rule) => this.#available.get(rule) !== false)) this.#tellOnline(nowMs)
  }

  #tellWatchers(property: string, value: Json): void {
    this.latest.set(property, value)
    for (const listener of this.#watchers.get(property) ?? []) listener(value)
  }

  #tellOnline(nowMs: number): void {
    const news = this.#reach.answered(0, nowMs)
    if (news === undefined) return
    const { latencyMs: _none, ...rest } = news
    this.#host.reachability([rest])
  }

  #tellOffline(reason: string): void {
    this.latest.clear()
    const news = this.#reach.offline(reason, this.#host.clock.now())
    if (news !== undefined) this.#host.reachability([news])
  }

  /** The device has gone: what it said last is not so any more. */
  #away(reason: string): void {
    if (this.#reach.online === false && this.#reach.reason === reason) return
    this.#tellOffline(reason)
    const atMs = this.#host.clock.now()
    const batch = this.config.points
      .filter(({ topic, metric }) => topic !== undefined || metric !== undefined)
      .map((point): Reading => ({ device: this.config.key, property: point.name, atMs, quality: 'stale', reason }))
    if (batch.length > 0) this.#host.readings(batch)
  }
}

const STALE = 'the edge node says that it is stale (Quality 500)'

function decodedOf({ value, quality, problem }: Metric, point: Point): Decoded {
  if (problem !== undefined) return { problem: { code: 'payload-type', reason: problem } }
  if (quality === QUALITY.bad) return { none: 'the edge node says that it is bad (Quality 0)' }
  return value === undefined ? { none: 'the metric is null' } : point.convert(value)
}

const holds = (extracted: Extracted, values: readonly Json[]): boolean =>
  'raw' in extracted && values.some((value) => sameValue(value, extracted.raw) || String(value) === extracted.raw)

function timeIn(payload: Payload, { place, time }: Point, nowMs: number): number | undefined {
  const extracted = payload.extract(place.format, time!.path, place.wire)
  return 'raw' in extracted ? sourceTimeMs(extracted.raw, time!.unit, nowMs) : undefined
}
