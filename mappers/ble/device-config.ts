import { SluiceError } from '../../api/errors.ts'
import type { DeviceSpec, ObjectKey } from '../../api/resources.ts'
import { durationMs } from '../../api/twin/duration.ts'
import type { DeviceBinding } from '../sdk/mapper.ts'
import { type Adapter, adapterOf, DEFAULT_ADAPTER, isAdapter } from './adapter.ts'
import { compilePoint, type GattSource, type Point } from './point.ts'
import type { BleAddress, BleModel } from './schema.ts'

export type GattPoint = Point & { readonly source: GattSource }

/** How much of a connection a device is given. */
export type ConnectMode = 'never' | 'onDemand' | 'keep'

export interface DeviceConfig {
  readonly key: ObjectKey
  readonly revision: string
  readonly modelName: string
  /** Upper case. */
  readonly mac: string
  readonly random: boolean | undefined
  readonly radio: { readonly id: string; readonly adapter: Adapter }
  readonly bindKey: { readonly hex: string } | { readonly file: string } | undefined
  /** Pair when connecting, with the passkey of a file where there is one. */
  readonly pairing: { readonly passkeyFile: string | undefined } | undefined
  readonly timeoutMs: number
  readonly connectTimeoutMs: number
  readonly silentAfterMs: number
  readonly mtu: number | undefined
  readonly mode: ConnectMode
  readonly advertPoints: readonly Point[]
  readonly gattPoints: readonly GattPoint[]
}

const DEFAULT_SILENT_MS = 300_000
/** A connection costs the device more than many advertisements: it is not made more often than this. */
export const MIN_ON_DEMAND_MS = 10_000

const ms = (text: string | undefined, fallback: number) => (text === undefined ? fallback : durationMs(text))

export const addressOf = (device: DeviceSpec): BleAddress | undefined => device['ble'] as BleAddress | undefined

export const modelOf = (model: { readonly [protocol: string]: unknown }): BleModel =>
  (model['ble'] as BleModel | undefined) ?? {}

/** @throws SluiceError `SLUICE_BLE_BINDING` when the device cannot be served as it is written. */
export function compileDevice({ key, revision, device, model }: DeviceBinding): DeviceConfig {
  const address = addressOf(device)
  if (address === undefined) {
    throw new SluiceError('SLUICE_BLE_BINDING', `device ${key} has no ble address`, {
      hint: 'Give ble: {mac: "A4:C1:38:56:53:84"}.',
      field: 'spec.ble',
    })
  }
  const adapter = address.adapter ?? DEFAULT_ADAPTER
  if (!isAdapter(adapter)) {
    throw new SluiceError('SLUICE_BLE_BINDING', `device ${key} names the adapter ${adapter}, which is none`, {
      hint: 'Write hci0, bluez:hci0, or the path of a serial port with an HCI controller.',
      field: 'spec.ble.adapter',
    })
  }
  if (address.pair === true && !adapter.startsWith('bluez')) {
    throw new SluiceError(
      'SLUICE_BLE_BINDING',
      `device ${key} asks for pairing on ${adapter}, where no keys are kept`,
      {
        hint: 'Reach it through BlueZ: adapter: bluez:hci0.',
        field: 'spec.ble.pair',
      },
    )
  }
  const points: Point[] = []
  for (const property of model.properties) {
    const point = compilePoint(property, device)
    if (point !== undefined) points.push(point)
  }
  const gattPoints = points.filter(isGatt)
  const slowestMs = points.reduce((slowest, point) => Math.max(slowest, point.everyMs), 0)
  const { mtu, connect } = modelOf(model)
  return {
    key,
    revision,
    modelName: device.model,
    mac: address.mac.toUpperCase(),
    random: address.addressType === undefined ? undefined : address.addressType === 'random',
    radio: { id: adapter, adapter: adapterOf(adapter, address.baud) },
    bindKey:
      address.bindKey !== undefined
        ? { hex: address.bindKey }
        : address.bindKeyFile === undefined
          ? undefined
          : { file: address.bindKeyFile },
    pairing: address.pair === true ? { passkeyFile: address.passkeyFile } : undefined,
    timeoutMs: ms(address.timeout, 5000),
    connectTimeoutMs: ms(address.connectTimeout, 10_000),
    silentAfterMs: Math.max(3 * slowestMs, ms(address.silentAfter, DEFAULT_SILENT_MS)),
    mtu,
    mode: connect ?? modeOf(gattPoints),
    advertPoints: points.filter((point) => !isGatt(point) && point.readable),
    gattPoints,
  }
}

const isGatt = (point: Point): point is GattPoint => point.source.kind === 'gatt'

/** Notifications need a connection that stays; reading more often than every ten seconds is cheaper with one, too. */
function modeOf(points: readonly GattPoint[]): ConnectMode {
  if (points.length === 0) return 'never'
  const often = points.some((point) => point.readable && point.everyMs < MIN_ON_DEMAND_MS)
  return often || points.some(({ source }) => source.notify) ? 'keep' : 'onDemand'
}
