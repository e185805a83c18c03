import type { ObjectKey } from '../../api/resources.ts'
import type { DeviceReachability } from './mapper.ts'

const ERROR_WEIGHT = 1 / 16
const LATENCY_WEIGHT = 1 / 8
/** News without a change of state: at most this often, and only when the figures moved. */
const REFRESH_MS = 30_000

/** Follows whether one device can be reached. Each call returns news when there is some worth telling. */
export class Reachability {
  readonly #device: ObjectKey
  #online: boolean | undefined
  #reason: string | undefined
  #errorRate = 0
  #latencyMs: number | undefined
  #told: { errorRate: number; latencyMs: number; atMs: number } = { errorRate: 0, latencyMs: 0, atMs: 0 }

  constructor(device: ObjectKey) {
    this.#device = device
  }

  get online(): boolean | undefined {
    return this.#online
  }

  get reason(): string | undefined {
    return this.#reason
  }

  answered(latencyMs: number, atMs: number): DeviceReachability | undefined {
    this.#errorRate -= this.#errorRate * ERROR_WEIGHT
    this.#latencyMs =
      this.#latencyMs === undefined ? latencyMs : this.#latencyMs + (latencyMs - this.#latencyMs) * LATENCY_WEIGHT
    if (this.#online === true) return this.#refresh(atMs)
    this.#online = true
    this.#reason = undefined
    return this.#news(atMs)
  }

  /** One request failed; that alone does not make the device offline. */
  failed(atMs: number): DeviceReachability | undefined {
    this.#errorRate += (1 - this.#errorRate) * ERROR_WEIGHT
    return this.#online === true ? this.#refresh(atMs) : undefined
  }

  offline(reason: string, atMs: number): DeviceReachability | undefined {
    if (this.#online === false && this.#reason === reason) return undefined
    this.#online = false
    this.#reason = reason
    return this.#news(atMs)
  }

  #refresh(atMs: number): DeviceReachability | undefined {
    // The wall clock may jump back; that must not silence the news for good.
    if (Math.abs(atMs - this.#told.atMs) < REFRESH_MS) return undefined
    const latencyMs = this.#latencyMs ?? 0
    const moved =
      Math.abs(this.#errorRate - this.#told.errorRate) >= 0.05 ||
      Math.abs(latencyMs - this.#told.latencyMs) >= 0.5 * Math.max(1, this.#told.latencyMs)
    return moved ? this.#news(atMs) : undefined
  }

  #news(atMs: number): DeviceReachability {
    this.#told = { errorRate: this.#errorRate, latencyMs: this.#latencyMs ?? 0, atMs }
    return {
      device: this.#device,
      online: this.#online === true,
      atMs,
      ...(this.#reason === undefined ? {} : { reason: this.#reason }),
      errorRate: Math.round(this.#errorRate * 1000) / 1000,
      ...(this.#latencyMs === undefined ? {} : { latencyMs: Math.round(this.#latencyMs * 10) / 10 }),
    }
  }
}
