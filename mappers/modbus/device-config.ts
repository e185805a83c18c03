import { SluiceError } from '../../api/errors.ts'
import type { DeviceModelSpec, DeviceSpec, ObjectKey } from '../../api/resources.ts'
import { durationMs } from '../../api/twin/duration.ts'
import type { DeviceBinding } from '../sdk/mapper.ts'
import { modelHash } from './model-hash.ts'
import { compilePoint, modelOf, type Point } from './point.ts'
import type { ModbusAddress, ModbusModel, SerialLine } from './schema.ts'
import type { SerialSessionOptions, TcpSessionOptions } from './session.ts'
import type { Table } from './tables.ts'

/** Addresses `start` to `end - 1`. An empty range (`start === end`) is a border: no read may cross it. */
export interface AddressRange {
  readonly table: Table
  readonly start: number
  readonly end: number
}

/** What the planner may do with a device's address space. */
export interface ReadLimits {
  readonly maxRegisters: number
  readonly maxBits: number
  /** Undefined: as large a gap as is worth it. */
  readonly maxGap: number | undefined
  readonly onePerProperty: boolean
  readonly bitsFromZero: boolean
  readonly forbidden: readonly AddressRange[]
}

/** What a device without limits of its own could be read with. */
export const UNLIMITED: ReadLimits = {
  maxRegisters: 125,
  maxBits: 2000,
  maxGap: undefined,
  onePerProperty: false,
  bitsFromZero: false,
  forbidden: [],
}

export interface WriteLimits {
  readonly maxRegisters: number
  readonly multipleOnly: boolean
  readonly maskWrite: boolean
}

/** How a link is opened. Devices with the same `id` share it; they must agree on `settings`. */
export interface LinkConfig {
  readonly id: string
  /** For people: `/dev/ttyUSB0`, `tcp://plc:502`. */
  readonly name: string
  /** Line settings in words; what two devices on one wire cannot disagree about. */
  readonly settings: string
  readonly open:
    | { readonly kind: 'serial'; readonly options: SerialSessionOptions }
    | { readonly kind: 'tcp'; readonly options: TcpSessionOptions }
  /** What one wait, character and frame cost; for the planner. */
  readonly line: LineShape
}

export type LineShape =
  | { readonly kind: 'rtu' | 'ascii'; readonly charMs: number; readonly silenceMs: number; readonly baud: number }
  | { readonly kind: 'tcp' }

export interface DeviceConfig {
  readonly key: ObjectKey
  readonly revision: string
  readonly link: LinkConfig
  readonly unit: number
  readonly timeoutMs: number
  readonly retries: number
  readonly busyRetries: number
  readonly busyWaitMs: number
  /** First guess; learnt on the line. */
  readonly turnaroundMs: number
  readonly limits: ReadLimits
  readonly writeLimits: WriteLimits
  readonly points: readonly Point[]
  /** What the device has to be made of, where it is a board that says so (model-check.ts). */
  readonly modelHash?: Uint8Array
}

const DEFAULT_BAUD = 9600
export const DEFAULT_TURNAROUND_MS = 5

const ms = (text: string | undefined, fallback: number) => (text === undefined ? fallback : durationMs(text))

export const addressOf = (device: DeviceSpec): ModbusAddress | undefined =>
  device['modbus'] as ModbusAddress | undefined

/** @throws SluiceError `SLUICE_MODBUS_BINDING` when the device cannot be served as it is written. */
export function compileDevice(binding: DeviceBinding): DeviceConfig {
  const address = addressOf(binding.device)
  if (address === undefined) {
    throw new SluiceError('SLUICE_MODBUS_BINDING', `device ${binding.key} has no modbus address`, {
      hint: 'Give modbus: {tcp: {host: ...}, unit: 1} or modbus: {rtu: {port: ...}, unit: 1}.',
      field: 'spec.modbus',
    })
  }
  const model = modelOf(binding.model)
  return {
    key: binding.key,
    revision: binding.revision,
    link: linkOf(address),
    unit: address.unit ?? 1,
    timeoutMs: ms(address.timeout, 1000),
    retries: address.retries ?? 1,
    busyRetries: address.busyRetries ?? 3,
    busyWaitMs: ms(address.busyWait, 100),
    turnaroundMs: ms(address.turnaround, DEFAULT_TURNAROUND_MS),
    limits: readLimits(model, address.shift),
    writeLimits: {
      maxRegisters: model.maxRegistersPerWrite ?? 123,
      multipleOnly: model.writeMultiple ?? false,
      maskWrite: model.maskWrite ?? false,
    },
    points: pointsOf(binding, address.shift ?? 0),
    ...(model.checkModel === true ? { modelHash: modelHash(binding.model) } : {}),
  }
}

/** Compiled points by model, poll period and shift: the many devices of one model share them. */
const compiled = new WeakMap<DeviceModelSpec, Map<string, readonly Point[]>>()

function pointsOf({ model, device }: DeviceBinding, shift: number): readonly Point[] {
  const byWish = compiled.get(model) ?? new Map<string, readonly Point[]>()
  compiled.set(model, byWish)
  const wish = `${device.poll?.every ?? ''} ${shift}`
  const known = byWish.get(wish)
  if (known !== undefined) return known
  const points: Point[] = []
  for (const property of model.properties) {
    const point = compilePoint(property, modelOf(model), device, shift)
    if (point !== undefined) points.push(point)
  }
  byWish.set(wish, points)
  return points
}

export function readLimits(model: ModbusModel, shift = 0): ReadLimits {
  const base = (model.addressBase ?? 0) - shift
  return {
    maxRegisters: model.maxRegistersPerRead ?? 125,
    maxBits: model.maxBitsPerRead ?? 2000,
    maxGap: model.maxGap,
    onePerProperty: model.oneReadPerProperty ?? false,
    bitsFromZero: model.coilsFromZero ?? false,
    forbidden: (model.forbidden ?? []).map(({ table, start, count }) => ({
      table,
      start: start - base,
      end: start - base + count,
    })),
  }
}

export function linkOf(address: ModbusAddress): LinkConfig {
  const shared = {
    pauseAfterConnectMs: ms(address.pauseAfterConnect, 0),
    pauseBetweenRequestsMs: ms(address.pauseBetweenRequests, 0),
    ...(address.closeAfterGather === true ? { closeAfterIdleMs: 50 } : {}),
    ...(address.retryFirstRequest === true ? { retryFirstRequest: true } : {}),
  }
  if (address.rtu !== undefined) return serialLink(address.rtu, 'rtu', shared)
  if (address.ascii !== undefined) return serialLink(address.ascii, 'ascii', shared)
  if (address.rtuOverTcp !== undefined) {
    const { host, port, baud = DEFAULT_BAUD } = address.rtuOverTcp
    return {
      id: `tcp:${host}:${port}`,
      name: `tcp://${host}:${port}`,
      settings: 'RTU frames',
      open: { kind: 'tcp', options: { host, port, framing: 'rtu', ...shared } },
      line: lineShape('rtu', baud, 10, shared.pauseBetweenRequestsMs),
    }
  }
  const { host, port = 502, window, transactionIdZero, anyUnit } = address.tcp ?? { host: 'localhost' }
  return {
    id: `tcp:${host}:${port}`,
    name: `tcp://${host}:${port}`,
    settings: 'Modbus TCP',
    open: {
      kind: 'tcp',
      options: {
        host,
        port,
        framing: 'tcp',
        ...shared,
        ...(window === undefined ? {} : { maxWindow: window }),
        ...(transactionIdZero === true ? { transactionIdZero } : {}),
        ...(anyUnit === true ? { anyUnit } : {}),
      },
    },
    line: { kind: 'tcp' },
  }
}

type SharedOptions = Pick<SerialSessionOptions, 'pauseAfterConnectMs' | 'pauseBetweenRequestsMs' | 'closeAfterIdleMs'>

function serialLink(line: SerialLine, framing: 'rtu' | 'ascii', shared: SharedOptions): LinkConfig {
  const { port, baud = DEFAULT_BAUD, parity = 'none', dataBits = 8, stopBits = 1, rts } = line
  const letter = { none: 'N', even: 'E', odd: 'O' }[parity]
  const bits = 1 + dataBits + (parity === 'none' ? 0 : 1) + stopBits
  return {
    id: `serial:${port}`,
    name: port,
    settings: `${framing} ${baud} ${dataBits}${letter}${stopBits}`,
    open: {
      kind: 'serial',
      options: {
        path: port,
        baud,
        parity,
        dataBits,
        stopBits,
        framing,
        ...shared,
        ...(rts === undefined
          ? {}
          : { rtsMode: rts.send, rtsBeforeMs: ms(rts.before, 0), rtsAfterMs: ms(rts.after, 0) }),
      },
    },
    line: lineShape(framing, baud, bits, shared.pauseBetweenRequestsMs ?? 0),
  }
}

/** Serial line specification V1.02, section 2.5.1.1: t3.5 is 3.5 characters of 11 bits, 1.75 ms above 19 200 baud. */
function lineShape(kind: 'rtu' | 'ascii', baud: number, bits: number, pauseMs: number): LineShape {
  const t35Ms = baud > 19_200 ? 1.75 : (3.5 * 11 * 1000) / baud
  const silenceMs = kind === 'ascii' ? pauseMs : Math.max(t35Ms, pauseMs)
  return { kind, charMs: (bits * 1000) / baud, silenceMs, baud }
}
