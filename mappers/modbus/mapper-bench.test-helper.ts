import type { DeviceModelSpec, DeviceSpec, Json } from '../../api/resources.ts'
import { VirtualClock } from '../../api/virtual-clock.ts'
import type {
  DeviceBinding,
  DeviceReachability,
  HostEvent,
  Mapper,
  MapperHost,
  Reading,
  WriteOutcome,
} from '../sdk/mapper.ts'
import { createMapper } from './mapper.ts'
import { ScriptedSession } from './scripted-session.test-helper.ts'

export type Property = DeviceModelSpec['properties'][number]

export interface Bench {
  readonly clock: VirtualClock
  readonly mapper: Mapper
  readonly lines: Map<string, ScriptedSession[]>
  readonly line: ScriptedSession
  readonly readings: Reading[]
  readonly news: DeviceReachability[]
  readonly events: HostEvent[]
  values(device: string, property: string): Reading[]
}

/** A mapper on scripted lines in virtual time. */
export function bench(): Bench {
  const clock = new VirtualClock()
  const readings: Reading[] = []
  const news: DeviceReachability[] = []
  const events: HostEvent[] = []
  const lines = new Map<string, ScriptedSession[]>()
  const line = new ScriptedSession(clock)
  const host: MapperHost = {
    clock,
    random: () => 0.5,
    readings: (batch) => void readings.push(...batch),
    event: (event) => void events.push(event),
    writeNews: () => {},
    reachability: (some) => void news.push(...some),
    log: (level, message) => {
      if (level === 'error') throw new Error(message)
    },
  }
  const mapper = createMapper(host, ({ name }) => {
    const opened = lines.get(name) ?? []
    const session = lines.size === 0 && opened.length === 0 ? line : new ScriptedSession(clock)
    lines.set(name, [...opened, session])
    return session
  })
  const values = (device: string, property: string) =>
    readings.filter((reading) => reading.device === device && reading.property === property)
  return { clock, mapper, lines, line, readings, news, events, values }
}

export const voltage: Property = {
  name: 'voltage',
  type: 'float',
  unit: 'V',
  modbus: { input: 0, as: 'uint16', scale: 0.1 },
}
export const power: Property = { name: 'power', type: 'int', unit: 'W', modbus: { input: 4, as: 'int32' } }
export const setpoint: Property = {
  name: 'setpoint',
  type: 'int',
  access: 'readwrite',
  min: 0,
  max: 1000,
  modbus: { holding: 10 },
}

export function device(
  key: string,
  unit: number,
  properties: Property[] = [voltage, power],
  rest: { rtu?: object; modbus?: object; model?: object; revision?: string; poll?: string } = {},
): DeviceBinding {
  const address = { rtu: { port: '/dev/ttyA', baud: 9600, ...rest.rtu }, unit, ...rest.modbus }
  const spec: DeviceSpec = { model: 'm', poll: { every: rest.poll ?? '1s' }, modbus: address }
  const model: DeviceModelSpec = { properties, ...(rest.model === undefined ? {} : { modbus: rest.model }) }
  return { key, device: spec, model, revision: rest.revision ?? `${key}-${unit}` }
}

export function write(
  b: Bench,
  property: string,
  value: Json,
  deadlineInMs = 10_000,
  key = 'ns/a',
): { outcome: WriteOutcome | undefined; abort: AbortController } {
  const abort = new AbortController()
  const box: { outcome: WriteOutcome | undefined; abort: AbortController } = { outcome: undefined, abort }
  const command = { device: key, property, value, version: 1, deadlineMs: b.clock.monotonic() + deadlineInMs }
  void b.mapper.write(command, abort.signal).then((outcome) => {
    box.outcome = outcome
  })
  return box
}
