import type { ValueType } from './values.ts'

/** A characteristic whose form the Bluetooth SIG has fixed (GATT Specification Supplement). */
export interface StandardCharacteristic {
  readonly uuid: string
  readonly as: ValueType
  readonly scale?: number
  readonly offset?: number
  /** Raw value that means "not known". */
  readonly unknown?: number
  /** Unit after scaling. */
  readonly unit?: string
}

const text = (uuid: string): StandardCharacteristic => ({ uuid, as: 'string' })

/** By the name a model gives in `characteristic:`. */
export const STANDARD: Readonly<Record<string, StandardCharacteristic>> = {
  batteryLevel: { uuid: '2a19', as: 'uint8', unit: '%' },
  temperature: { uuid: '2a6e', as: 'int16', scale: 0.01, unknown: -0x8000, unit: 'degC' },
  humidity: { uuid: '2a6f', as: 'uint16', scale: 0.01, unknown: 0xffff, unit: '%' },
  pressure: { uuid: '2a6d', as: 'uint32', scale: 0.1, unit: 'Pa' },
  elevation: { uuid: '2a6c', as: 'int24', scale: 0.01, unit: 'm' },
  trueWindSpeed: { uuid: '2a70', as: 'uint16', scale: 0.01, unit: 'm/s' },
  trueWindDirection: { uuid: '2a71', as: 'uint16', scale: 0.01, unit: 'deg' },
  apparentWindSpeed: { uuid: '2a72', as: 'uint16', scale: 0.01, unit: 'm/s' },
  apparentWindDirection: { uuid: '2a73', as: 'uint16', scale: 0.01, unit: 'deg' },
  gustFactor: { uuid: '2a74', as: 'uint8', scale: 0.1 },
  pollenConcentration: { uuid: '2a75', as: 'uint24', unit: '1/m3' },
  uvIndex: { uuid: '2a76', as: 'uint8' },
  irradiance: { uuid: '2a77', as: 'uint16', scale: 0.1, unit: 'W/m2' },
  rainfall: { uuid: '2a78', as: 'uint16', scale: 0.001, unit: 'm' },
  windChill: { uuid: '2a79', as: 'int8', unit: 'degC' },
  heatIndex: { uuid: '2a7a', as: 'int8', unit: 'degC' },
  dewPoint: { uuid: '2a7b', as: 'int8', unit: 'degC' },
  barometricPressureTrend: { uuid: '2aa3', as: 'uint8' },
  temperature8: { uuid: '2b0d', as: 'int8', scale: 0.5, unknown: -0x80, unit: 'degC' },
  illuminance: { uuid: '2afb', as: 'uint24', scale: 0.01, unknown: 0xffffff, unit: 'lx' },
  co2Concentration: { uuid: '2b8c', as: 'uint16', unknown: 0xffff, unit: 'ppm' },
  voltage: { uuid: '2b18', as: 'uint16', scale: 1 / 64, unknown: 0xffff, unit: 'V' },
  electricCurrent: { uuid: '2aee', as: 'uint16', scale: 0.01, unknown: 0xffff, unit: 'A' },
  power: { uuid: '2b05', as: 'uint24', scale: 0.1, unknown: 0xffffff, unit: 'W' },
  txPowerLevel: { uuid: '2a07', as: 'int8', unit: 'dBm' },
  alertLevel: { uuid: '2a06', as: 'uint8' },
  deviceName: text('2a00'),
  appearance: { uuid: '2a01', as: 'uint16' },
  systemId: { uuid: '2a23', as: 'bytes' },
  modelNumber: text('2a24'),
  serialNumber: text('2a25'),
  firmwareRevision: text('2a26'),
  hardwareRevision: text('2a27'),
  softwareRevision: text('2a28'),
  manufacturerName: text('2a29'),
}

const BY_UUID: ReadonlyMap<string, StandardCharacteristic> = new Map(
  Object.values(STANDARD).map((one) => [one.uuid, one]),
)

/** By name or UUID. */
export const standardOf = (nameOrUuid: string): StandardCharacteristic | undefined =>
  (Object.hasOwn(STANDARD, nameOrUuid) ? STANDARD[nameOrUuid] : undefined) ?? BY_UUID.get(nameOrUuid)
