import { toSluiceError } from '../../api/errors.ts'
import type { Json, ObjectKey } from '../../api/resources.ts'
import { LinkMeter } from '../sdk/link-meter.ts'
import type { GatewayHost, LinkStats } from '../sdk/mapper.ts'
import type { RateLimitedLog } from '../sdk/rate-limited-log.ts'
import { type Bus, type BusOptions, openBus } from './bus.ts'
import type { LoraDevice } from './device-config.ts'
import type { Downlink, DownlinkEnd, Network, NetworkEvents, RadioFacts } from './network.ts'

export type JsonObject = { readonly [key: string]: Json }

/** One event of somebody else's network server, in our words. */
export type ServerEvent =
  | {
      readonly kind: 'uplink'
      /** Distinguishes an uplink from the same one delivered again. */
      readonly id: string
      readonly atMs: number | undefined
      readonly fCnt: number
      readonly port: number | undefined
      readonly payload: Uint8Array
      readonly object: Json | undefined
      readonly radio: RadioFacts
      readonly batteryPercent?: number
    }
  | { readonly kind: 'joined'; readonly atMs: number | undefined }
  | {
      readonly kind: 'status'
      readonly atMs: number | undefined
      readonly batteryPercent?: number
      readonly externalPower?: boolean
      readonly marginDb?: number
    }
  /** `id` is ours; absent when the server does not say which downlink it speaks of. */
  | { readonly kind: 'acknowledged' | 'sent'; readonly id: string | undefined }
  | { readonly kind: 'failed'; readonly id: string | undefined; readonly reason: string }
  | { readonly kind: 'ignored' }
  | { readonly kind: 'malformed'; readonly reason: string }

/** How one product writes its topics and messages. Pure. */
export interface Dialect {
  readonly product: string
  filters(device: LoraDevice): readonly string[]
  /** The part of a topic that names the device, and the kind of event; undefined for a topic that is none of ours. */
  address(topic: string): { readonly device: string; readonly event: string } | undefined
  /** What `address().device` is for this device. */
  nameOf(device: LoraDevice): string
  read(event: string, body: JsonObject): ServerEvent
  command(
    device: LoraDevice,
    downlink: Downlink,
    id: string,
    expiresAtMs: number,
  ): { readonly topic: string; readonly body: Json }
}

interface Pending {
  readonly id: string
  readonly downlink: Downlink
  sent: boolean
  readonly end: (end: DownlinkEnd) => void
}

interface Known {
  device: LoraDevice
  readonly pending: Pending[]
  lastUplinkId: string | undefined
  lastAtMs: number | undefined
  intervalMs: number | undefined
}

const MAX_PENDING = 16
const MAX_MESSAGE_CHARS = 262_144

/** Devices behind ChirpStack or The Things Stack: joining, keys, windows and repetition are that server's business. */
export class ForeignNetwork implements Network {
  readonly #host: GatewayHost
  readonly #events: NetworkEvents
  readonly #log: RateLimitedLog
  readonly #dialect: Dialect
  readonly #broker: string
  readonly #meter: LinkMeter
  readonly #byKey = new Map<ObjectKey, Known>()
  readonly #byName = new Map<string, Known[]>()
  readonly #bus: Promise<Bus | undefined>
  readonly #run = Math.floor(Math.random() * 2 ** 32).toString(16)
  #up = false
  #reason: string | undefined = 'connecting'
  #sequence = 0
  #disposed = false

  constructor(host: GatewayHost, dialect: Dialect, options: BusOptions, events: NetworkEvents, log: RateLimitedLog) {
    this.#host = host
    this.#events = events
    this.#log = log
    this.#dialect = dialect
    this.#broker = options.broker.replace(/\/\/[^@/]*@/, '//')
    this.#meter = new LinkMeter(host.clock)
    this.#bus = openBus(options, host, {
      message: (topic, payload) => this.#message(topic, payload),
      state: (up, reason) => this.#state(up, reason),
    }).catch((error) => {
      this.#state(false, toSluiceError(error).message)
      return undefined
    })
  }

  configure(devices: readonly LoraDevice[]): void {
    const wanted = new Map(devices.map((device) => [device.key, device]))
    for (const [key, known] of [...this.#byKey]) {
      const next = wanted.get(key)
      if (next !== undefined && this.#dialect.nameOf(next) === this.#dialect.nameOf(known.device)) known.device = next
      else {
        this.#byKey.delete(key)
        const atMs = this.#host.clock.now()
        for (const { end } of [...known.pending]) {
          end({ state: 'refused', code: 'SLUICE_WRITE_NOT_SERVED', reason: `${key} is not served any more`, atMs })
        }
      }
    }
    for (const device of devices) {
      if (this.#byKey.has(device.key)) continue
      this.#byKey.set(device.key, {
        device,
        pending: [],
        lastUplinkId: undefined,
        lastAtMs: undefined,
        intervalMs: undefined,
      })
    }
    this.#byName.clear()
    for (const known of this.#byKey.values()) {
      const name = this.#dialect.nameOf(known.device)
      this.#byName.set(name, [...(this.#byName.get(name) ?? []), known])
    }
    const filters = new Set(devices.flatMap((device) => this.#dialect.filters(device)))
    void this.#bus.then((bus) => bus?.subscribe([...filters]))
  }

  async send(downlink: Downlink): Promise<DownlinkEnd> {
    const { clock } = this.#host
    const refused = (code: string, reason: string): DownlinkEnd => ({
      state: 'refused',
      code,
      reason,
      atMs: clock.now(),
    })
    const known = this.#byKey.get(downlink.device)
    if (known === undefined)
      return refused('SLUICE_WRITE_NOT_SERVED', `${downlink.device} is not served by this gateway`)
    if (downlink.signal.aborted) return refused('SLUICE_WRITE_SUPERSEDED', 'a newer value replaced it')
    if (known.pending.length >= MAX_PENDING) {
      return refused('SLUICE_LORA_QUEUE', `${MAX_PENDING} downlinks wait for ${known.device.devEui} already`)
    }
    const bus = await this.#bus
    const id = uuidOf(this.#run, ++this.#sequence)
    const leftMs = Math.max(0, downlink.deadlineMs - clock.monotonic())
    const { topic, body } = this.#dialect.command(known.device, downlink, id, clock.now() + leftMs)
    return new Promise((resolve) => {
      const end = (result: DownlinkEnd) => {
        timer.cancel()
        downlink.signal.removeEventListener('abort', onAbort)
        const at = known.pending.indexOf(pending)
        if (at >= 0) known.pending.splice(at, 1)
        resolve(result)
      }
      const onAbort = () => end(refused('SLUICE_WRITE_SUPERSEDED', 'a newer value replaced it'))
      const timer = clock.after(leftMs, () =>
        end({ state: 'expired', reason: this.#waitingText(known, pending), atMs: clock.now() }),
      )
      const pending: Pending = { id, downlink, sent: false, end }
      known.pending.push(pending)
      downlink.signal.addEventListener('abort', onAbort, { once: true })
      const failed = (error: unknown) =>
        end(refused('SLUICE_LORA_BROKER', `${this.#dialect.product} was not told: ${toSluiceError(error).message}`))
      if (bus === undefined) failed(new Error(this.#reason ?? 'no broker'))
      else bus.publish(topic, JSON.stringify(body)).catch(failed)
    })
  }

  nextWindowAtMs(device: ObjectKey): number | undefined {
    const known = this.#byKey.get(device)
    const nowMs = this.#host.clock.now()
    if (known?.device.deviceClass === 'C') return nowMs
    const every = known?.device.everyMs ?? known?.intervalMs
    if (every === undefined || known?.lastAtMs === undefined) return undefined
    const missed = Math.max(0, Math.floor((nowMs - known.lastAtMs) / every))
    return known.lastAtMs + (missed + 1) * every
  }

  links(): readonly LinkStats[] {
    return [
      {
        link: `${this.#dialect.product} at ${this.#broker}`,
        protocol: 'lora',
        state: this.#up ? 'up' : 'down',
        ...(this.#reason === undefined ? {} : { reason: this.#reason }),
        devices: this.#byKey.size,
        use: this.#meter.use(),
        planEfficiency: 1,
        requests: this.#meter.requests,
        propertiesRead: this.#meter.propertiesRead,
        errors: this.#meter.errors,
      },
    ]
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true
    this.configure([])
    const bus = await this.#bus
    await bus?.[Symbol.asyncDispose]()
  }

  #state(up: boolean, reason?: string): void {
    if (this.#disposed || (up === this.#up && reason === this.#reason)) return
    this.#up = up
    this.#reason = reason
    if (!up)
      this.#log.warn(
        `broker ${this.#broker}`,
        `lora: ${this.#dialect.product} at ${this.#broker}: ${reason ?? 'not connected'}`,
      )
  }

  #message(topic: string, payload: Uint8Array): void {
    const address = this.#dialect.address(topic)
    if (address === undefined || this.#disposed) return
    const body = payload.length > MAX_MESSAGE_CHARS ? undefined : parseObject(payload)
    const event: ServerEvent =
      body === undefined ? { kind: 'malformed', reason: 'no JSON object' } : this.#dialect.read(address.event, body)
    if (event.kind === 'ignored') return
    if (event.kind === 'malformed') {
      this.#meter.failed('bad-message')
      const message = `a message on ${topic.slice(0, 200)} cannot be used: ${event.reason}`
      this.#host.event({ about: 'gateway', type: 'Warning', reason: 'PayloadUnusable', message })
      this.#log.warn(`message ${topic}`, `lora: a message on ${topic} cannot be used: ${event.reason}`)
      return
    }
    this.#meter.answered('radio' in event ? (event.radio.airtimeMs ?? 0) : 0, 1)
    const known = this.#byName.get(address.device)
    if (known === undefined) {
      this.#meter.failed('unknown-device')
      this.#sighted(address.device, topic, event)
      return
    }
    for (const one of known) this.#tell(one, event)
  }

  #tell(known: Known, event: Exclude<ServerEvent, { kind: 'ignored' | 'malformed' }>): void {
    const { key } = known.device
    const nowMs = this.#host.clock.now()
    switch (event.kind) {
      case 'uplink': {
        // A broker may deliver a message again.
        if (event.id === known.lastUplinkId) return
        const atMs = event.atMs ?? nowMs
        const gap = known.lastAtMs === undefined ? undefined : atMs - known.lastAtMs
        if (gap !== undefined && gap > 500)
          known.intervalMs = known.intervalMs === undefined ? gap : known.intervalMs + (gap - known.intervalMs) / 4
        known.lastUplinkId = event.id
        known.lastAtMs = atMs
        const { fCnt, payload, radio, port, object, batteryPercent } = event
        this.#events.uplinks([
          {
            device: key,
            atMs,
            fCnt,
            payload,
            radio,
            ...(port === undefined ? {} : { port }),
            ...(object === undefined ? {} : { object }),
          },
        ])
        if (batteryPercent !== undefined) this.#events.status({ device: key, atMs, batteryPercent })
        return
      }
      case 'joined':
        this.#events.joined(key, event.atMs ?? nowMs)
        return
      case 'status': {
        const { kind: _, atMs, ...news } = event
        this.#events.status({ device: key, atMs: atMs ?? nowMs, ...news })
        return
      }
      default:
        this.#delivered(known, event)
    }
  }

  #delivered(known: Known, event: Extract<ServerEvent, { kind: 'acknowledged' | 'sent' | 'failed' }>): void {
    const atMs = this.#host.clock.now()
    const pending = known.pending.find(({ id }) => id === event.id)
    if (pending === undefined) {
      if (event.kind === 'failed' && event.id === undefined) {
        this.#events.trouble({ device: known.device.key, kind: 'server', reason: event.reason, atMs })
      }
      return
    }
    switch (event.kind) {
      case 'acknowledged':
        pending.end({ state: 'acknowledged', atMs })
        return
      case 'failed':
        pending.end({ state: 'refused', code: 'SLUICE_LORA_NOT_ACKNOWLEDGED', reason: event.reason, atMs })
        return
      default:
        pending.sent = true
        if (!pending.downlink.confirmed) pending.end({ state: 'transmitted', atMs })
    }
  }

  #sighted(name: string, topic: string, event: ServerEvent): void {
    if (event.kind !== 'joined' && event.kind !== 'uplink') return
    const rssiDbm = event.kind === 'uplink' ? event.radio.rssiDbm : undefined
    this.#host.sighted([
      {
        id: name.toUpperCase(),
        address: { devEui: name.replace(/^eui-/, '').toUpperCase() },
        name,
        candidates: [],
        facts: { server: this.#dialect.product, broker: this.#broker, topic },
        ...(rssiDbm === undefined ? {} : { rssiDbm }),
        atMs: this.#host.clock.now(),
      },
    ])
  }

  #waitingText(known: Known, pending: Pending): string {
    const next = this.nextWindowAtMs(known.device.key)
    const when =
      next === undefined
        ? 'nothing is known of when the device reports'
        : `the next receive window is expected at ${new Date(next).toISOString()}`
    return pending.sent ? `sent, not acknowledged; ${when}` : `${this.#dialect.product} has not sent it yet; ${when}`
  }
}

function parseObject(payload: Uint8Array): JsonObject | undefined {
  try {
    const value = JSON.parse(Buffer.from(payload).toString('utf8')) as Json
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonObject) : undefined
  } catch {
    return undefined
  }
}

/** ChirpStack wants a UUID; ours carries the run and a number. */
const uuidOf = (run: string, sequence: number): string =>
  `${run.padStart(8, '0')}-0000-4000-8000-${sequence.toString(16).padStart(12, '0')}`

export const objectIn = (value: Json | undefined): JsonObject | undefined =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonObject) : undefined

export const listIn = (value: Json | undefined): readonly Json[] =>
  Array.isArray(value) ? (value as readonly Json[]) : []

/** A number, or a string that is one: proto3 JSON writes 64-bit integers in quotes. */
export function numberIn(value: Json | undefined): number | undefined {
  const number = typeof value === 'string' && value !== '' ? Number(value) : value
  return typeof number === 'number' && Number.isFinite(number) ? number : undefined
}

export function timeIn(value: Json | undefined): number | undefined {
  const atMs = typeof value === 'string' ? Date.parse(value) : Number.NaN
  return Number.isFinite(atMs) ? atMs : undefined
}

/** Bytes of a base64 field; an absent one is empty. Undefined when it is something else. */
export function bytesIn(value: Json | undefined): Uint8Array | undefined {
  if (value === undefined) return new Uint8Array(0)
  if (typeof value !== 'string' || value.length > 1024 || !/^[A-Za-z0-9+/]*={0,2}$/.test(value)) return undefined
  return new Uint8Array(Buffer.from(value, 'base64'))
}
