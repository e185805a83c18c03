import type { HeardBy } from '../../api/link/messages.ts'
import type { Json } from '../../api/resources.ts'
import { bad } from '../../api/twin/quality.ts'
import type { DeviceReachability, MapperHost, Reading } from '../sdk/mapper.ts'
import { Unusable } from '../sdk/no-value.ts'
import type { LoraDevice } from './device-config.ts'
import type { DeviceStatusNews, Trouble, Uplink } from './network.ts'
import type { Point } from './point.ts'
import type { RadioFact } from './schema.ts'

/** Weight of a new signal value: smooths over about eight uplinks. */
const SIGNAL_WEIGHT = 1 / 8
/** News without a change of state at most this often. */
const REFRESH_MS = 60_000
/** Uplinks that may be missing before a device counts as gone. */
const PATIENCE = 3
/** When nobody said how often it reports, what was seen is believed less. */
const LEARNT_PATIENCE = 5
const MIN_SILENCE_MS = 30_000
const MIN_LEARNT_SILENCE_MS = 600_000

/** What a decoder made of a payload. */
export type Decoded =
  | { readonly ok: true; readonly data: Json | undefined }
  | { readonly ok: false; readonly code: string; readonly reason: string }

/** Turns what is heard of one device into readings and news of its reachability. */
export class TwinFeed {
  device: LoraDevice
  readonly #host: MapperHost
  readonly #carryOf: (device: LoraDevice) => string | undefined
  readonly #watchers = new Map<string, Set<(value: Json) => void>>()
  #online: boolean | undefined
  #reason: string | undefined
  #lastMonoMs: number | undefined
  #intervalMs: number | undefined
  /** Time on the air of everything heard from it. */
  heardAirtimeMs = 0
  #rssiDbm: number | undefined
  #snrDb: number | undefined
  #batteryPercent: number | undefined
  #marginDb: number | undefined
  #spreadingFactor: number | undefined
  #heardBy: readonly HeardBy[] | undefined
  #received = 0
  #missed = 0
  #lastFCnt: number | undefined
  #told:
    | { atMonoMs: number; rssiDbm: number | undefined; snrDb: number | undefined; battery: number | undefined }
    | undefined

  /** @param carryOf what another gateway needs to go on with the device; asked for when there is news to tell */
  constructor(
    device: LoraDevice,
    host: MapperHost,
    carryOf: (device: LoraDevice) => string | undefined = () => undefined,
  ) {
    this.device = device
    this.#host = host
    this.#carryOf = carryOf
  }

  get online(): boolean {
    return this.#online === true
  }

  /** Words for `explain`. */
  get facts(): readonly string[] {
    const facts: string[] = []
    if (this.#intervalMs !== undefined) facts.push(`reports about every ${Math.round(this.#intervalMs / 1000)} s`)
    if (this.#rssiDbm !== undefined && this.#snrDb !== undefined) {
      facts.push(`heard with ${this.#rssiDbm.toFixed(0)} dBm and ${this.#snrDb.toFixed(1)} dB signal to noise`)
    }
    if (this.#received > 0 && this.#missed > 0)
      facts.push(`${this.#missed} of ${this.#missed + this.#received} uplinks were lost`)
    return facts
  }

  get intervalMs(): number | undefined {
    return this.#intervalMs
  }

  /** Nothing has been heard yet. */
  start(): DeviceReachability {
    this.#online = false
    this.#reason = 'nothing was heard of it yet'
    return this.#news()
  }

  /** Notes that the device lives and how it is heard. Returns news when there is some worth telling. */
  heard({ radio, fCnt }: Uplink): DeviceReachability | undefined {
    this.heardAirtimeMs += radio.airtimeMs ?? 0
    const nowMs = this.#host.clock.monotonic()
    const gap = this.#lastMonoMs === undefined ? undefined : nowMs - this.#lastMonoMs
    if (gap !== undefined && gap > 500) {
      this.#intervalMs = this.#intervalMs === undefined ? gap : this.#intervalMs + (gap - this.#intervalMs) / 4
    }
    this.#lastMonoMs = nowMs
    this.#received++
    if (this.#lastFCnt !== undefined && fCnt > this.#lastFCnt) this.#missed += fCnt - this.#lastFCnt - 1
    this.#lastFCnt = fCnt
    this.#rssiDbm = smooth(this.#rssiDbm, radio.rssiDbm)
    this.#snrDb = smooth(this.#snrDb, radio.snrDb)
    this.#spreadingFactor = radio.spreadingFactor ?? this.#spreadingFactor
    this.#heardBy = radio.heardBy
    const before = this.#online
    this.#online = true
    this.#reason = undefined
    return before === true ? this.#refresh() : this.#news()
  }

  status({ batteryPercent, marginDb }: DeviceStatusNews): DeviceReachability | undefined {
    if (marginDb !== undefined) this.#marginDb = marginDb
    if (batteryPercent !== undefined) this.#batteryPercent = batteryPercent
    return this.#online === true && this.#batteryPercent !== this.#told?.battery ? this.#news() : undefined
  }

  /** Asked now and then: has the device been silent for too long? */
  sweep(): DeviceReachability | undefined {
    if (this.#online !== true || this.#lastMonoMs === undefined) return undefined
    const allowedMs = this.#allowedSilenceMs()
    const silentMs = this.#host.clock.monotonic() - this.#lastMonoMs
    if (allowedMs === undefined || silentMs <= allowedMs) return undefined
    this.#online = false
    this.#reason = `silent for ${span(silentMs)}, though it should report every ${span(this.device.everyMs ?? this.#intervalMs!)}`
    return this.#news()
  }

  /**
   * Trouble with frames that claim to be of this device. While authentic ones come too, it is somebody else's doing and
   * the twin keeps its values: otherwise anybody with a radio could spoil them.
   */
  trouble({ kind, reason, atMs }: Trouble): {
    readonly news?: DeviceReachability
    readonly readings: readonly Reading[]
  } {
    if (this.#online === true || this.#reason === reason) return { readings: [] }
    this.#online = false
    this.#reason = reason
    const quality = bad(`lora-${kind}`)
    const readings = this.#readable().map(({ name }) => ({
      device: this.device.key,
      property: name,
      atMs,
      quality,
      reason,
    }))
    return { news: this.#news(), readings }
  }

  /** Readings of one uplink. `decoded` is undefined when no property needs a decoder. */
  readings(uplink: Uplink, decoded: Decoded | undefined): Reading[] {
    const { key, points } = this.device
    const out: Reading[] = []
    for (const point of points) {
      const value = readPoint(point, uplink, decoded)
      if (value === undefined) continue
      if (value instanceof Unusable) {
        out.push({
          device: key,
          property: point.name,
          atMs: uplink.atMs,
          quality: bad(value.code),
          reason: value.reason,
        })
        continue
      }
      out.push({ device: key, property: point.name, value, atMs: uplink.atMs, quality: 'good' })
      for (const watcher of this.#watchers.get(point.name) ?? []) watcher(value)
    }
    return out
  }

  statusReadings({ atMs, batteryPercent, marginDb }: DeviceStatusNews): Reading[] {
    return this.device.points.flatMap((point) => {
      const fact = point.radio === 'battery' ? batteryPercent : point.radio === 'margin' ? marginDb : undefined
      if (fact === undefined) return []
      return [
        { device: this.device.key, property: point.name, value: point.fromFact(fact), atMs, quality: 'good' as const },
      ]
    })
  }

  /** Calls `listener` with every good reading of a property until disposed. */
  watch(property: string, listener: (value: Json) => void): Disposable {
    const watchers = this.#watchers.get(property) ?? new Set()
    this.#watchers.set(property, watchers.add(listener))
    return { [Symbol.dispose]: () => void watchers.delete(listener) }
  }

  #readable(): Point[] {
    return this.device.points.filter(({ source }) => source === 'field' || source === 'layout')
  }

  #allowedSilenceMs(): number | undefined {
    const { everyMs } = this.device
    if (everyMs !== undefined) return Math.max(MIN_SILENCE_MS, PATIENCE * everyMs)
    if (this.#intervalMs === undefined) return undefined
    return Math.max(MIN_LEARNT_SILENCE_MS, LEARNT_PATIENCE * this.#intervalMs)
  }

  #refresh(): DeviceReachability | undefined {
    const told = this.#told
    if (told === undefined) return this.#news()
    if (this.#host.clock.monotonic() - told.atMonoMs < REFRESH_MS) return undefined
    // A counter has moved at least.
    if (this.device.activation.kind !== 'elsewhere') return this.#news()
    const moved = (a: number | undefined, b: number | undefined, by: number) =>
      a !== undefined && (b === undefined || Math.abs(a - b) >= by)
    return moved(this.#rssiDbm, told.rssiDbm, 2) || moved(this.#snrDb, told.snrDb, 1) ? this.#news() : undefined
  }

  #news(): DeviceReachability {
    this.#told = {
      atMonoMs: this.#host.clock.monotonic(),
      rssiDbm: this.#rssiDbm,
      snrDb: this.#snrDb,
      battery: this.#batteryPercent,
    }
    const total = this.#received + this.#missed
    const carry = this.#carryOf(this.device)
    return {
      device: this.device.key,
      online: this.#online === true,
      atMs: this.#host.clock.now(),
      ...(this.#reason === undefined ? {} : { reason: this.#reason }),
      ...(total === 0 ? {} : { errorRate: Math.round((this.#missed / total) * 1000) / 1000 }),
      ...(this.#rssiDbm === undefined ? {} : { rssiDbm: Math.round(this.#rssiDbm * 10) / 10 }),
      ...(this.#snrDb === undefined ? {} : { snrDb: Math.round(this.#snrDb * 10) / 10 }),
      ...(this.#spreadingFactor === undefined ? {} : { spreadingFactor: this.#spreadingFactor }),
      ...(this.#marginDb === undefined ? {} : { marginDb: this.#marginDb }),
      ...(this.#heardBy === undefined ? {} : { gateways: this.#heardBy }),
      ...(this.#batteryPercent === undefined ? {} : { batteryPercent: this.#batteryPercent }),
      ...(carry === undefined ? {} : { carry }),
    }
  }
}

function smooth(before: number | undefined, value: number | undefined): number | undefined {
  if (value === undefined) return before
  return before === undefined ? value : before + (value - before) * SIGNAL_WEIGHT
}

function readPoint(point: Point, uplink: Uplink, decoded: Decoded | undefined): Json | Unusable | undefined {
  if (point.source === 'radio') {
    const fact = radioFact(point.radio!, uplink)
    return fact === undefined ? undefined : point.fromFact(fact)
  }
  // An uplink without application payload carries no value and spoils none.
  if (point.source === 'none' || uplink.port === undefined) return undefined
  if (point.source === 'layout') return point.read(uplink, undefined)
  if (decoded === undefined) return undefined
  return decoded.ok ? point.read(uplink, decoded.data) : new Unusable(decoded.code, decoded.reason)
}

function radioFact(fact: RadioFact, { radio, fCnt }: Uplink): number | undefined {
  switch (fact) {
    case 'rssi':
      return radio.rssiDbm
    case 'snr':
      return radio.snrDb
    case 'spreadingFactor':
      return radio.spreadingFactor
    case 'gateways':
      return radio.gateways
    case 'airtime':
      return radio.airtimeMs === undefined ? undefined : Math.round(radio.airtimeMs * 1000) / 1000
    case 'frameCounter':
      return fCnt
    default:
      return undefined
  }
}

/** `90 s`, `12 min`, `3 h`. */
export function span(ms: number): string {
  if (ms < 120_000) return `${Math.round(ms / 1000)} s`
  return ms < 7_200_000 ? `${Math.round(ms / 60_000)} min` : `${Math.round(ms / 3_600_000)} h`
}
