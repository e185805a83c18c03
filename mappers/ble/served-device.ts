import type { GatewayHost, PlanExplanation, WriteCommand, WriteOutcome } from '../sdk/mapper.ts'
import { unusableEvent } from '../sdk/unusable.ts'
import { AdvertReader } from './advert-reader.ts'
import { advertAirS, connectionAirS } from './airtime.ts'
import { readBindKey } from './bind-key.ts'
import type { DeviceConfig } from './device-config.ts'
import { explainPlan } from './explain.ts'
import { GattClient } from './gatt-client.ts'
import type { Point } from './point.ts'
import { Presence } from './presence.ts'
import type { Radio, RadioUser } from './radio.ts'
import { badReading } from './readings.ts'
import type { Heard } from './transport.ts'
import { BleWriter } from './writer.ts'

/** One device on one radio: its advertisements, its connection, whether it can be reached. */
export class ServedDevice implements RadioUser {
  readonly config: DeviceConfig
  readonly radio: Radio
  readonly mac: string
  readonly wantsToStay: boolean
  readonly #host: GatewayHost
  readonly #presence: Presence
  readonly #adverts: AdvertReader
  #client: GattClient
  #writer: BleWriter
  #standby: boolean
  #joined = false
  readonly #points: ReadonlyMap<string, Point>
  #heardMs: number
  #intervalMs: number | undefined
  #disposed = false
  #heardAirS = 0

  constructor(config: DeviceConfig, radio: Radio, host: GatewayHost, roaming: { shared: boolean; standby: boolean }) {
    this.config = config
    this.radio = radio
    this.mac = config.mac
    this.wantsToStay = config.mode === 'keep'
    this.#host = host
    this.#heardMs = host.clock.monotonic()
    this.#presence = new Presence(config.key, (news) => host.reachability([news]), roaming.shared)
    this.#standby = roaming.standby
    this.#adverts = new AdvertReader({
      device: config.key,
      mac: config.mac,
      points: config.advertPoints,
      clock: host.clock,
      storage: host.storage,
      onUnusable: (code, reason) => host.event(unusableEvent(config.key, code, reason)),
    })
    this.#client = new GattClient(config, radio, host, this.#presence)
    this.#writer = new BleWriter(this.#client, radio, host)
    this.#points = new Map([...config.advertPoints, ...config.gattPoints].map((point) => [point.name, point]))
  }

  async start(): Promise<void> {
    const { bindKey } = this.config
    // Before the first advertisement: what cannot be opened yet would be told as a fault.
    if (bindKey !== undefined) this.#adverts.useKey(await readBindKey(bindKey))
    if (this.#disposed) return
    this.#joined = true
    this.radio.join(this)
    if (!this.#standby) this.#client.start()
  }

  /** Another gateway serves the device: it is listened to as before, and never connected to. */
  standBy(standby: boolean): void {
    if (this.#standby === standby || this.#disposed) return
    this.#standby = standby
    if (standby) {
      this.#writer.dispose()
      this.#client.dispose()
      return
    }
    this.#client = new GattClient(this.config, this.radio, this.#host, this.#presence)
    this.#writer = new BleWriter(this.#client, this.radio, this.#host)
    if (this.#joined) this.#client.start()
  }

  /** @param gone the device was taken out, not only changed. */
  dispose(gone: boolean): void {
    this.#disposed = true
    this.radio.leave(this)
    this.#writer.dispose()
    this.#client.dispose()
    if (gone && this.config.bindKey !== undefined) this.#adverts.forget()
  }

  heard(heard: Heard, nowMs: number): void {
    if (this.#disposed) return
    this.#intervalMs = smoothed(this.#intervalMs, nowMs - this.#heardMs)
    this.#heardMs = nowMs
    this.#heardAirS += advertAirS(heard.data.length)
    const atMs = this.#host.clock.now()
    this.#client.heard(heard, nowMs)
    // A connected device may go silent on the air, and one that is only heard may still refuse connections.
    this.#presence.heard(heard.rssiDbm, atMs)
    if (this.config.advertPoints.length === 0) return
    const { readings, battery } = this.#adverts.heard(heard.data, nowMs)
    if (readings.length > 0) {
      this.radio.meter.answered(0, readings.length)
      this.#host.readings(readings)
    }
    if (battery !== undefined) this.#presence.battery(battery, atMs)
  }

  radioUp(): void {
    this.#heardMs = this.#host.clock.monotonic()
    this.#client.hurry()
  }

  radioDown(reason: string): void {
    this.#silent('radio-down', reason)
  }

  tick(nowMs: number): void {
    if (this.#client.staying || nowMs - this.#heardMs < this.config.silentAfterMs) return
    if (this.#presence.online === false) return
    const seconds = Math.round((nowMs - this.#heardMs) / 1000)
    this.#silent('silent', `${this.mac} was not heard for ${seconds} s`)
  }

  /** Time its advertisements and its connections were on the air, seconds. */
  get airtimeS(): number {
    return this.#heardAirS + connectionAirS(this.#client.connectedS)
  }

  write(point: Point, command: WriteCommand, signal: AbortSignal): Promise<WriteOutcome> {
    return this.#writer.write(point, command, signal)
  }

  point(name: string): Point | undefined {
    return this.#points.get(name)
  }

  explain(): PlanExplanation {
    const notes: string[] = []
    if (this.radio.downReason !== undefined) notes.push(this.radio.downReason)
    if (this.config.mode === 'keep') {
      notes.push(this.#client.staying ? `connected, MTU ${this.#client.mtu ?? 23}` : 'not connected at the moment')
    }
    if (this.#intervalMs !== undefined) notes.push(`heard every ${Math.round(this.#intervalMs)} ms on average`)
    const rssi = this.#presence.rssiDbm
    if (rssi !== undefined) notes.push(`signal ${Math.round(rssi)} dBm`)
    for (const [code, count] of this.#adverts.errors) notes.push(`${count} advertisements unusable (${code})`)
    return explainPlan(this.config, notes)
  }

  #silent(code: string, reason: string): void {
    const atMs = this.#host.clock.now()
    const points = [...this.#points.values()].filter(({ readable }) => readable)
    this.#host.readings(points.map((point) => badReading(this.config.key, point, code, reason, atMs)))
    this.#presence.offline(reason, atMs)
  }
}

const smoothed = (average: number | undefined, sample: number): number =>
  average === undefined ? sample : average + (sample - average) / 8
