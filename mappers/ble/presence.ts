import type { ObjectKey } from '../../api/resources.ts'
import type { DeviceReachability } from '../sdk/mapper.ts'

/** One new measurement counts an eighth: a single bad or lucky one does not move the figure by more than a few dB. */
const RSSI_WEIGHT = 1 / 8
const ERROR_WEIGHT = 1 / 16
const LATENCY_WEIGHT = 1 / 8
const REFRESH_MS = 30_000
const SHARED_REFRESH_MS = 1000
const RSSI_STEP_DB = 3

/** Follows whether one device can be reached, how well it is heard and how full its battery is. */
export class Presence {
  readonly #device: ObjectKey
  readonly #shared: boolean
  readonly #tell: (news: DeviceReachability) => void
  #online: boolean | undefined
  #reason: string | undefined
  #rssi: number | undefined
  #battery: number | undefined
  #errorRate = 0
  #latencyMs: number | undefined
  #told = { atMs: 0, rssi: 0, battery: -1, errorRate: 0 }

  /** @param shared several gateways hear the device: how well is told every second, for somebody to choose. */
  constructor(device: ObjectKey, tell: (news: DeviceReachability) => void, shared = false) {
    this.#device = device
    this.#shared = shared
    this.#tell = tell
  }

  get online(): boolean | undefined {
    return this.#online
  }

  /** Smoothed, dBm. */
  get rssiDbm(): number | undefined {
    return this.#rssi
  }

  heard(rssiDbm: number | undefined, atMs: number): void {
    if (rssiDbm !== undefined) {
      this.#rssi = this.#rssi === undefined ? rssiDbm : this.#rssi + (rssiDbm - this.#rssi) * RSSI_WEIGHT
    }
    this.#up(atMs)
  }

  answered(latencyMs: number, atMs: number): void {
    this.#errorRate -= this.#errorRate * ERROR_WEIGHT
    this.#latencyMs =
      this.#latencyMs === undefined ? latencyMs : this.#latencyMs + (latencyMs - this.#latencyMs) * LATENCY_WEIGHT
    this.#up(atMs)
  }

  failed(): void {
    this.#errorRate += (1 - this.#errorRate) * ERROR_WEIGHT
  }

  battery(percent: number, atMs: number): void {
    if (!(percent >= 0 && percent <= 100)) return
    this.#battery = percent
    if (this.#online === true) this.#refresh(atMs)
  }

  offline(reason: string, atMs: number): void {
    if (this.#online === false && this.#reason === reason) return
    this.#online = false
    this.#reason = reason
    this.#news(atMs)
  }

  #up(atMs: number): void {
    if (this.#online === true) {
      this.#refresh(atMs)
      return
    }
    this.#online = true
    this.#reason = undefined
    this.#news(atMs)
  }

  #refresh(atMs: number): void {
    if (this.#shared && Math.abs(atMs - this.#told.atMs) >= SHARED_REFRESH_MS) {
      this.#news(atMs)
      return
    }
    // The wall clock may jump back; that must not silence the news for good.
    if (Math.abs(atMs - this.#told.atMs) < REFRESH_MS && this.#told.battery === (this.#battery ?? -1)) return
    const moved =
      Math.abs((this.#rssi ?? 0) - this.#told.rssi) >= RSSI_STEP_DB ||
      this.#told.battery !== (this.#battery ?? -1) ||
      Math.abs(this.#errorRate - this.#told.errorRate) >= 0.05
    if (moved) this.#news(atMs)
  }

  #news(atMs: number): void {
    this.#told = { atMs, rssi: this.#rssi ?? 0, battery: this.#battery ?? -1, errorRate: this.#errorRate }
    this.#tell({
      device: this.#device,
      online: this.#online === true,
      atMs,
      ...(this.#reason === undefined ? {} : { reason: this.#reason }),
      errorRate: Math.round(this.#errorRate * 1000) / 1000,
      ...(this.#latencyMs === undefined ? {} : { latencyMs: Math.round(this.#latencyMs * 10) / 10 }),
      ...(this.#rssi === undefined ? {} : { rssiDbm: Math.round(this.#rssi) }),
      ...(this.#battery === undefined ? {} : { batteryPercent: this.#battery }),
    })
  }
}
