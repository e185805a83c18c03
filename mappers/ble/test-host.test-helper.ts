import { type Clock, systemClock } from '../../api/clock.ts'
import type { DeviceModelSpec, DeviceSpec, Json } from '../../api/resources.ts'
import type { DeviceBinding, DeviceReachability, GatewayHost, HostEvent, Reading, Sighting } from '../sdk/mapper.ts'

export interface TestHost {
  readonly host: GatewayHost
  readonly readings: Reading[]
  readonly news: DeviceReachability[]
  readonly sightings: Sighting[]
  readonly stored: Map<string, string>
  readonly logs: string[]
  readonly events: HostEvent[]
  /** Resolves as soon as `what` holds; looked at whenever something is told. */
  until<T>(what: () => T | undefined | false): Promise<T>
  values(property: string, device?: string): Json[]
}

export function testHost(clock: Clock = systemClock): TestHost {
  const readings: Reading[] = []
  const news: DeviceReachability[] = []
  const sightings: Sighting[] = []
  const logs: string[] = []
  const events: HostEvent[] = []
  const stored = new Map<string, string>()
  const watchers = new Set<() => void>()
  const look = () => {
    for (const watcher of [...watchers]) watcher()
  }
  const host: GatewayHost = {
    clock,
    random: () => 0.5,
    readings: (batch) => {
      readings.push(...batch)
      look()
    },
    event: (event) => void events.push(event),
    writeNews: () => {},
    reachability: (some) => {
      news.push(...some)
      look()
    },
    sighted: (some) => {
      sightings.push(...some)
      look()
    },
    log: (level, message, fields) => void logs.push(`${level} ${message} ${JSON.stringify(fields ?? {})}`),
    storage: {
      get: (key) => stored.get(key),
      keys: (prefix) => [...stored.keys()].filter((key) => key.startsWith(prefix)),
      put: (entries) => {
        for (const [key, value] of Object.entries(entries)) {
          if (value === undefined) stored.delete(key)
          else stored.set(key, value)
        }
      },
    },
    broker: () => Promise.reject(new Error('no broker here')),
  }
  return {
    host,
    readings,
    events,
    news,
    sightings,
    stored,
    logs,
    until: (what) =>
      new Promise((resolve) => {
        const watcher = () => {
          const found = what()
          if (found === undefined || found === false) return
          watchers.delete(watcher)
          resolve(found)
        }
        watchers.add(watcher)
        watcher()
      }),
    values: (property, device) =>
      readings
        .filter((one) => one.property === property && (device === undefined || one.device === device))
        .flatMap(({ value }) => (value === undefined ? [] : [value])),
  }
}

export function device(
  key: string,
  mac: string,
  properties: DeviceModelSpec['properties'],
  rest: { address?: object; model?: object; spec?: Partial<DeviceSpec>; revision?: string } = {},
): DeviceBinding {
  const spec: DeviceSpec = { model: 'm', ...rest.spec, ble: { mac, ...rest.address } }
  const model: DeviceModelSpec = { properties, ...(rest.model === undefined ? {} : { ble: rest.model }) }
  return { key, device: spec, model, revision: rest.revision ?? `${key}-${mac}` }
}
