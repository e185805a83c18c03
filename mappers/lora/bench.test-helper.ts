import type { Clock } from '../../api/clock.ts'
import { systemClock } from '../../api/clock.ts'
import type { DeviceModelSpec, DeviceSpec, Json } from '../../api/resources.ts'
import type {
  DeviceBinding,
  DeviceReachability,
  GatewayHost,
  HostEvent,
  LocalBroker,
  Mapper,
  MapperStorage,
  Reading,
  Sighting,
  WriteCommand,
  WriteNews,
  WriteOutcome,
} from '../sdk/mapper.ts'
import { createMapper } from './mapper.ts'

export const APP_KEY = '2B7E151628AED2A6ABF7158809CF4F3C'
export const DEV_EUI = '70B3D57ED0001234'

export class MemoryStorage implements MapperStorage {
  readonly values = new Map<string, string>()
  readonly writes: { readonly keys: readonly string[]; readonly durability: 'now' | 'soon' }[] = []
  get(key: string): string | undefined {
    return this.values.get(key)
  }
  keys(prefix: string): readonly string[] {
    return [...this.values.keys()].filter((key) => key.startsWith(prefix))
  }
  put(entries: Readonly<Record<string, string | undefined>>, durability: 'now' | 'soon'): void {
    this.writes.push({ keys: Object.keys(entries), durability })
    for (const [key, value] of Object.entries(entries)) {
      if (value === undefined) this.values.delete(key)
      else this.values.set(key, value)
    }
  }
}

export interface Bench extends AsyncDisposable {
  readonly mapper: Mapper
  readonly host: GatewayHost
  readonly storage: MemoryStorage
  readonly readings: Reading[]
  readonly news: DeviceReachability[]
  readonly sightings: Sighting[]
  readonly events: HostEvent[]
  /** Why writes wait, as it was told. */
  readonly waits: WriteNews[]
  readonly logs: string[]
  /** Resolves when `test` holds after some call to the host. */
  until<T>(what: () => T | undefined | false): Promise<T>
  last(property: string): Reading | undefined
  write(property: string, value: Json, withinMs?: number): Promise<WriteOutcome>
}

export interface BenchOptions {
  readonly clock?: Clock
  readonly storage?: MemoryStorage
  readonly broker?: () => Promise<LocalBroker>
  readonly create?: (host: GatewayHost) => Mapper
}

/** A mapper with a host that remembers everything. */
export function bench({
  clock = systemClock,
  storage = new MemoryStorage(),
  broker,
  create = createMapper,
}: BenchOptions = {}): Bench {
  const readings: Reading[] = []
  const news: DeviceReachability[] = []
  const sightings: Sighting[] = []
  const events: HostEvent[] = []
  const waits: WriteNews[] = []
  const logs: string[] = []
  const checks = new Set<() => void>()
  const poke = () => {
    for (const check of [...checks]) check()
  }
  const host: GatewayHost = {
    clock,
    random: () => 0.5,
    storage,
    broker: broker ?? (() => Promise.reject(new Error('no broker here'))),
    readings: (batch) => {
      readings.push(...batch)
      poke()
    },
    event: (event) => {
      events.push(event)
      poke()
    },
    writeNews: (wait) => {
      waits.push(wait)
      poke()
    },
    reachability: (some) => {
      news.push(...some)
      poke()
    },
    sighted: (some) => {
      sightings.push(...some)
      poke()
    },
    log: (level, message) => {
      logs.push(`${level} ${message}`)
      poke()
    },
  }
  const mapper = create(host)
  return {
    mapper,
    host,
    storage,
    readings,
    news,
    sightings,
    events,
    waits,
    logs,
    until: (what) =>
      new Promise((resolve) => {
        const check = () => {
          const value = what()
          if (value === undefined || value === false) return
          checks.delete(check)
          resolve(value)
        }
        checks.add(check)
        check()
      }),
    last: (property) => readings.findLast((reading) => reading.property === property),
    write(property, value, withinMs = 60_000) {
      const command: WriteCommand = {
        device: 'ns/a',
        property,
        value,
        version: 1,
        deadlineMs: clock.monotonic() + withinMs,
      }
      return mapper.write(command, new AbortController().signal)
    },
    [Symbol.asyncDispose]: () => mapper[Symbol.asyncDispose](),
  }
}

export const temperature = {
  name: 'temperature',
  type: 'float' as const,
  unit: 'degC',
  lora: { port: 2, at: 0, as: 'int16', scale: 0.01 },
}
export const interval = {
  name: 'interval',
  type: 'int' as const,
  access: 'readwrite' as const,
  lora: { port: 2, at: 2, as: 'uint16', downlink: { port: 3, prefix: '01', as: 'uint16' } },
}

/** A device on the gateway's own server, reached over UDP on any free port. */
export function binding(
  options: {
    lora?: Record<string, unknown>
    model?: Record<string, unknown>
    properties?: DeviceModelSpec['properties']
    spec?: Partial<DeviceSpec>
    key?: string
    revision?: string
  } = {},
): DeviceBinding {
  return {
    key: options.key ?? 'ns/a',
    revision: options.revision ?? '1',
    device: {
      model: 'm',
      ...options.spec,
      lora: { devEui: DEV_EUI, appKey: APP_KEY, server: 'local', listen: { udp: 0 }, ...options.lora },
    },
    model: {
      properties: options.properties ?? [temperature, interval],
      lora: { statusEvery: '0s', ...options.model },
    },
  }
}

/** Port the network server listens on, once it says so. */
export const portOf = (b: Bench): Promise<number> =>
  b.until(() => {
    const match = b.logs.map((line) => /listens on [^ ]+:(\d+)/.exec(line)).find((found) => found !== null)
    return match === null || match === undefined ? undefined : Number(match[1])
  })

/** Port of Basic Station, the second that is told. */
export const stationPortOf = (b: Bench): Promise<number> =>
  b.until(() => {
    const match = b.logs.map((line) => /and [^ ]+:(\d+)$/.exec(line)).find((found) => found !== null)
    return match === null || match === undefined ? undefined : Number(match[1])
  })
