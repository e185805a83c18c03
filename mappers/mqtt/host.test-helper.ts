import { systemClock } from '../../api/clock.ts'
import type { DeviceModelSpec, Json } from '../../api/resources.ts'
import type {
  DeviceBinding,
  DeviceReachability,
  GatewayHost,
  HostEvent,
  LocalBroker,
  Mapper,
  Reading,
  Sighting,
  WriteOutcome,
} from '../sdk/mapper.ts'
import { createMapper } from './mapper.ts'
import type { MqttAddress } from './schema.ts'

interface Waiting<T> {
  readonly test: (item: T) => boolean
  readonly resolve: (item: T) => void
}

/** Everything that was told, and a way to wait for what is still to come. */
class Told<T> {
  readonly all: T[] = []
  readonly #waiting = new Set<Waiting<T>>()

  push(items: readonly T[]): void {
    for (const item of items) {
      this.all.push(item)
      for (const waiting of this.#waiting) {
        if (!waiting.test(item)) continue
        this.#waiting.delete(waiting)
        waiting.resolve(item)
      }
    }
  }

  until(test: (item: T) => boolean): Promise<T> {
    const known = this.all.find(test)
    if (known !== undefined) return Promise.resolve(known)
    return new Promise((resolve) => this.#waiting.add({ test, resolve }))
  }
}

/** The mapper on a real broker, with everything it tells its gateway. */
export class MapperUnderTest implements AsyncDisposable {
  readonly readings = new Told<Reading>()
  readonly reach = new Told<DeviceReachability>()
  readonly sightings = new Told<Sighting>()
  readonly events = new Told<HostEvent>()
  readonly mapper: Mapper

  constructor(broker: LocalBroker | undefined) {
    const host: GatewayHost = {
      clock: systemClock,
      random: () => 0,
      readings: (batch) => this.readings.push(batch),
      event: (event) => this.events.push([event]),
      writeNews: () => {},
      reachability: (news) => this.reach.push(news),
      sighted: (sightings) => this.sightings.push(sightings),
      log: () => {},
      storage: { get: () => undefined, keys: () => [], put: () => {} },
      broker: () => (broker === undefined ? Promise.reject(new Error('no broker')) : Promise.resolve(broker)),
    }
    this.mapper = createMapper(host)
  }

  configure(...devices: readonly DeviceBinding[]): void {
    this.mapper.configure(devices)
  }

  reading(property: string, test: (reading: Reading) => boolean = () => true): Promise<Reading> {
    return this.readings.until((reading) => reading.property === property && test(reading))
  }

  value(property: string, value: Json): Promise<Reading> {
    return this.reading(property, (reading) => JSON.stringify(reading.value) === JSON.stringify(value))
  }

  write(property: string, value: Json, deadlineMs = 5000, signal?: AbortSignal): Promise<WriteOutcome> {
    const command = {
      device: 'plant/lamp',
      property,
      value,
      version: 1,
      deadlineMs: systemClock.monotonic() + deadlineMs,
    }
    return this.mapper.write(command, signal ?? new AbortController().signal)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve(this.mapper[Symbol.asyncDispose]())
  }
}

export function bind(model: DeviceModelSpec, address: MqttAddress = {}, name = 'lamp'): DeviceBinding {
  return {
    key: `plant/${name}`,
    device: { model: 'm', nodeName: 'gw', mqtt: address },
    model,
    revision: JSON.stringify([model, address]),
  }
}
