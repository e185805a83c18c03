import { randomUUID } from 'node:crypto'
import { toSluiceError } from '../../api/errors.ts'
import type { Json, ModelProperty, ObjectKey } from '../../api/resources.ts'
import { sameValue } from '../../api/twin/twin.ts'
import { EVENT_PREFIX, fromText, requestBody, textOf, typeName, valueIn } from '../sdk/kubeedge-message.ts'
import type {
  DeviceBinding,
  GatewayHost,
  LinkStats,
  LocalBroker,
  Mapper,
  PlanExplanation,
  Reading,
  WriteCommand,
  WriteOutcome,
} from '../sdk/mapper.ts'

/** A program's clock may be wrong; a time further ahead of ours than this is not believed. */
const MAX_AHEAD_MS = 60_000

interface Served {
  readonly binding: DeviceBinding
  online: boolean | undefined
}

interface Waiting {
  readonly value: Json
  readonly end: (outcome: WriteOutcome) => void
}

export const createMapper = (host: GatewayHost): Mapper => new CustomMapper(host)

/**
 * Reported values come as `twin/update` with `actual`, reachability as `state/update`; a desired value goes out as
 * `twin/update/delta` and is applied when it is reported.
 */
class CustomMapper implements Mapper {
  readonly #host: GatewayHost
  readonly #devices = new Map<ObjectKey, Served>()
  readonly #waiting = new Map<string, Waiting>()
  #subscriptions: readonly Disposable[] = []
  #broker: LocalBroker | undefined
  #down: string | undefined
  #heard = 0
  #errors = 0
  #closed = false

  constructor(host: GatewayHost) {
    this.#host = host
    host.broker().then(
      (broker) => this.#attach(broker),
      (error: unknown) => {
        this.#down = toSluiceError(error).message
        this.#tellDown()
      },
    )
  }

  configure(devices: readonly DeviceBinding[]): void {
    const wanted = new Set(devices.map(({ key }) => key))
    for (const key of this.#devices.keys()) if (!wanted.has(key)) this.#devices.delete(key)
    for (const binding of devices) {
      const online = this.#devices.get(binding.key)?.online
      this.#devices.set(binding.key, { binding, online })
    }
    if (this.#down !== undefined) this.#tellDown()
    if (this.#broker !== undefined) this.#tellSilent()
  }

  async write(command: WriteCommand, signal: AbortSignal): Promise<WriteOutcome> {
    const { device, property, value } = command
    const { clock } = this.#host
    const definition = this.#definition(device, property)
    if (this.#broker === undefined || definition === undefined) {
      const reason = this.#down ?? `device ${device} is not served yet`
      return { state: 'rejected', code: 'SLUICE_MAPPER_UNKNOWN', reason, atMs: clock.now() }
    }
    const id = `${device}/${property}`
    const expected = { value: textOf(value), metadata: { timestamp: clock.now() } }
    const twin = { [property]: { expected, optional: true, metadata: { type: typeName(definition.type) } } }
    const message = { event_id: randomUUID(), timestamp: clock.now(), twin, delta: { [property]: expected.value } }
    return new Promise((resolve) => {
      const timer = clock.after(Math.max(0, command.deadlineMs - clock.monotonic()), () => {
        const reason = 'the program that serves this device has not reported this value'
        end({ state: 'timedOut', reason, atMs: clock.now() })
      })
      const superseded = () => {
        const reason = signal.reason instanceof Error ? signal.reason.message : 'a newer value replaced it'
        end({ state: 'rejected', code: 'SLUICE_WRITE_SUPERSEDED', reason, atMs: clock.now() })
      }
      const end = (outcome: WriteOutcome) => {
        timer.cancel()
        signal.removeEventListener('abort', superseded)
        if (this.#waiting.get(id) === waiting) this.#waiting.delete(id)
        resolve(outcome)
      }
      const waiting: Waiting = { value, end }
      this.#waiting.set(id, waiting)
      if (signal.aborted) superseded()
      else {
        signal.addEventListener('abort', superseded, { once: true })
        this.#broker?.publish(`${EVENT_PREFIX}/${device}/twin/update/delta`, Buffer.from(JSON.stringify(message)), {
          qos: 1,
        })
      }
    })
  }

  links(): readonly LinkStats[] {
    return [
      {
        ...{ link: 'custom', protocol: 'custom', state: this.#broker === undefined ? 'down' : 'up', use: 0 },
        ...(this.#down === undefined ? {} : { reason: this.#down }),
        ...{ devices: this.#devices.size, planEfficiency: 1, requests: this.#heard, propertiesRead: this.#heard },
        errors: this.#errors === 0 ? {} : { 'bad-message': this.#errors },
      },
    ]
  }

  explain(): PlanExplanation | undefined {
    return undefined
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true
    for (const subscription of this.#subscriptions) subscription[Symbol.dispose]()
    for (const { end } of [...this.#waiting.values()]) {
      end({ state: 'timedOut', reason: 'the agent stops', atMs: this.#host.clock.now() })
    }
  }

  #attach(broker: LocalBroker): void {
    if (this.#closed) return
    this.#broker = broker
    const on = (what: string, act: (served: Served, payload: Uint8Array) => void) =>
      ['+/+', '+'].map((id) =>
        broker.subscribe(`${EVENT_PREFIX}/${id}/${what}`, (topic, payload, retained) => {
          const served = this.#addressed(topic.split('/').slice(3, -2).join('/'))
          if (served !== undefined && !retained) act(served, payload)
        }),
      )
    this.#subscriptions = [
      ...on('twin/update', (served, payload) => this.#reported(served, payload)),
      ...on('state/update', (served, payload) => this.#state(served, payload)),
    ]
    this.#tellSilent()
  }

  /** By its key, or by a name that only one of the devices here has. */
  #addressed(id: string): Served | undefined {
    if (id.includes('/')) return this.#devices.get(id)
    const named = [...this.#devices].filter(([key]) => key.endsWith(`/${id}`))
    return named.length === 1 ? named[0]![1] : undefined
  }

  #reported(served: Served, payload: Uint8Array): void {
    const { key } = served.binding
    const nowMs = this.#host.clock.now()
    const readings: Reading[] = []
    for (const [property, entry] of Object.entries(requestBody(payload).twin)) {
      const actual = valueIn(entry, 'actual')
      if (actual === undefined) continue
      const definition = this.#definition(key, property)
      if (definition === undefined) {
        this.#errors++
        continue
      }
      const value = fromText(actual.value, definition)
      const atMs = actual.atMs === undefined || actual.atMs > nowMs + MAX_AHEAD_MS ? nowMs : actual.atMs
      if (isOfType(value, definition)) readings.push({ device: key, property, value, atMs, quality: 'good' })
      else {
        this.#errors++
        const reason = `'${textOf(value).slice(0, 60)}' is no ${definition.type}`
        readings.push({ device: key, property, atMs, quality: 'bad(type)', reason })
        continue
      }
      const waiting = this.#waiting.get(`${key}/${property}`)
      if (waiting !== undefined && sameValue(waiting.value, value)) {
        waiting.end({ state: 'applied', readBack: value, atMs })
      }
    }
    if (readings.length === 0) return
    this.#heard += readings.length
    this.#host.readings(readings)
    this.#online(served, true, undefined)
  }

  #state(served: Served, payload: Uint8Array): void {
    const { state } = requestBody(payload)
    if (state === 'online') this.#online(served, true, undefined)
    else if (state === 'offline' || state === 'unknown') {
      this.#online(served, false, `the program that serves it says ${state}`)
    } else this.#errors++
  }

  #online(served: Served, online: boolean, reason: string | undefined): void {
    if (served.online === online) return
    served.online = online
    const atMs = this.#host.clock.now()
    const why = reason === undefined ? {} : { reason }
    this.#host.reachability([{ device: served.binding.key, online, atMs, ...why }])
  }

  /** From here on it is listened to. */
  #tellSilent(): void {
    for (const served of this.#devices.values()) {
      if (served.online === undefined) this.#online(served, false, 'the program that serves it has said nothing yet')
    }
  }

  #tellDown(): void {
    const atMs = this.#host.clock.now()
    const reason = this.#down ?? 'no broker'
    this.#host.reachability([...this.#devices.keys()].map((device) => ({ device, online: false, atMs, reason })))
  }

  #definition(device: ObjectKey, property: string): ModelProperty | undefined {
    return this.#devices.get(device)?.binding.model.properties.find(({ name }) => name === property)
  }
}

function isOfType(value: Json, { type }: ModelProperty): boolean {
  switch (type) {
    case 'bool':
      return typeof value === 'boolean'
    case 'int':
      return Number.isInteger(value)
    case 'float':
      return typeof value === 'number'
    case 'string':
    case 'bytes':
      return typeof value === 'string'
    case 'array':
      return Array.isArray(value)
    case 'object':
      return typeof value === 'object' && value !== null && !Array.isArray(value)
    default:
      return true
  }
}
