import { SluiceError } from '../../api/errors.ts'
import type { DeviceModelSpec, DeviceSpec, ObjectKey } from '../../api/resources.ts'
import { durationMs } from '../../api/twin/duration.ts'
import type { DeviceBinding } from '../sdk/mapper.ts'
import { readKeyFile } from './key-file.ts'
import { keyFromHex, type LoraKey, type SessionKeys } from './keys.ts'
import { compilePoint, modelOf, type Point } from './point.ts'
import { type RegionName, regionOf } from './regions/all.ts'
import type { Region } from './regions/region.ts'
import type { ChirpstackOptions, ListenOptions, LoraAddress, TtsOptions } from './schema.ts'

export const DEFAULT_UDP_PORT = 1700
const DEFAULT_STATUS_EVERY_MS = 86_400_000
const MAX_DECODER_MS = 1000

/** How a device came, or comes, to its session. `elsewhere`: another network server holds the keys. */
export type Activation =
  | { readonly kind: 'otaa'; readonly appKey: LoraKey }
  | { readonly kind: 'abp'; readonly devAddr: number; readonly keys: SessionKeys }
  | { readonly kind: 'elsewhere' }

/** Which network a device is reached through. Devices with the same `id` share one. */
export type NetworkConfig =
  | { readonly kind: 'local'; readonly id: 'local'; readonly listen: ListenOptions | undefined }
  | { readonly kind: 'chirpstack'; readonly id: string; readonly options: ChirpstackOptions }
  | { readonly kind: 'tts'; readonly id: string; readonly options: TtsOptions }

/** Everything about one device, worked out once. */
export interface LoraDevice {
  readonly key: ObjectKey
  readonly revision: string
  /** 16 hexadecimal digits, upper case. */
  readonly devEui: string
  /** Undefined: whatever the device sends. */
  readonly joinEui: string | undefined
  readonly activation: Activation
  readonly network: NetworkConfig
  readonly regionName: RegionName
  readonly region: Region
  readonly subBand: number
  readonly deviceClass: 'A' | 'C'
  readonly adr: boolean
  /** 0: never. */
  readonly statusEveryMs: number
  readonly maxDutyCycle: number | undefined
  readonly counterResets: boolean
  /** How often the device is said to report; undefined when nobody said. */
  readonly everyMs: number | undefined
  readonly points: readonly Point[]
  readonly decoder: { readonly source: string; readonly timeLimitMs: number } | undefined
  /** What the gateway that served it before left for this one. */
  readonly carried: string | undefined
}

export const addressOf = (device: DeviceSpec): LoraAddress | undefined => device['lora'] as LoraAddress | undefined

export const plainEui = (eui: string): string => eui.replace(/[-:]/g, '').toUpperCase()

const refuse = (message: string, hint: string, field: string): SluiceError =>
  new SluiceError('SLUICE_LORA_BINDING', message, { hint, field })

/**
 * @param readKeys how to read a key file; not called when keys do not matter (planning, linting).
 * @throws SluiceError `SLUICE_LORA_BINDING`, `SLUICE_LORA_KEY_FILE` when the device cannot be served as it is written.
 */
export function compileDevice(binding: DeviceBinding, readKeys = readKeyFile): LoraDevice {
  const address = addressOf(binding.device)
  if (address === undefined) {
    throw refuse(
      `device ${binding.key} has no lora address`,
      'Give lora: {devEui: ..., server: local, appKey: ...}.',
      'spec.lora',
    )
  }
  const model = modelOf(binding.model)
  const regionName = address.region ?? model.region ?? 'EU868'
  if (model.region !== undefined && address.region !== undefined && model.region !== address.region) {
    throw refuse(
      `device ${binding.key} is used in ${address.region}, its model is made for ${model.region}`,
      'Correct the region of the device or of the model.',
      'spec.lora.region',
    )
  }
  const devEui = plainEui(address.devEui)
  return {
    key: binding.key,
    revision: binding.revision,
    devEui,
    joinEui: address.joinEui === undefined ? undefined : plainEui(address.joinEui),
    activation: activationOf(address, binding.key, readKeys),
    network: networkOf(address),
    regionName,
    region: regionOf(regionName),
    subBand: address.subBand ?? 2,
    deviceClass: model.class ?? 'A',
    adr: model.adr ?? true,
    statusEveryMs: model.statusEvery === undefined ? DEFAULT_STATUS_EVERY_MS : durationMs(model.statusEvery),
    maxDutyCycle: model.maxDutyCycle,
    counterResets: address.counterResets ?? false,
    everyMs: expectedEveryMs(binding.device, binding.model),
    points: pointsOf(binding.model),
    carried: binding.carried,
    decoder:
      model.decoder === undefined
        ? undefined
        : {
            source: model.decoder,
            timeLimitMs: Math.min(
              MAX_DECODER_MS,
              model.decoderTime === undefined ? 100 : durationMs(model.decoderTime),
            ),
          },
  }
}

/** For LoRaWAN `poll.every` says how often the device reports by itself; the most frequent property counts. */
export function expectedEveryMs(device: Pick<DeviceSpec, 'poll'>, model: DeviceModelSpec): number | undefined {
  const own = model.properties
    .filter((property) => property['lora'] !== undefined)
    .flatMap(({ poll }) => (poll?.every === undefined ? [] : [durationMs(poll.every)]))
  if (device.poll?.every !== undefined) own.push(durationMs(device.poll.every))
  return own.length === 0 ? undefined : Math.max(1000, Math.min(...own))
}

/** Compiled points by model: the many devices of one model share them. */
const compiled = new WeakMap<DeviceModelSpec, readonly Point[]>()

function pointsOf(model: DeviceModelSpec): readonly Point[] {
  const known = compiled.get(model)
  if (known !== undefined) return known
  const points = model.properties.flatMap((property) => compilePoint(property, modelOf(model)) ?? [])
  compiled.set(model, points)
  return points
}

function activationOf(address: LoraAddress, key: ObjectKey, readKeys: typeof readKeyFile): Activation {
  if (address.server === undefined) return { kind: 'elsewhere' }
  const texts = address.keyFile === undefined ? address : { ...address, ...readKeys(address.keyFile) }
  const parse = (name: 'appKey' | 'nwkSKey' | 'appSKey'): LoraKey | undefined => {
    const text = texts[name]
    if (text === undefined) return undefined
    const parsed = keyFromHex(text)
    if (parsed === undefined) {
      throw refuse(`${name} of ${key} is no key`, 'A key has 32 hexadecimal digits.', `spec.lora.${name}`)
    }
    return parsed
  }
  const appKey = parse('appKey')
  if (appKey !== undefined) return { kind: 'otaa', appKey }
  const nwkSKey = parse('nwkSKey')
  const appSKey = parse('appSKey')
  const { devAddr } = texts
  if (devAddr === undefined || !/^[0-9A-Fa-f]{8}$/.test(devAddr) || nwkSKey === undefined || appSKey === undefined) {
    throw refuse(
      `device ${key} has no complete set of keys`,
      'Give appKey (OTAA), or devAddr, nwkSKey and appSKey (ABP), inline or in the keyFile.',
      'spec.lora',
    )
  }
  return { kind: 'abp', devAddr: Number.parseInt(devAddr, 16), keys: { nwkSKey, appSKey } }
}

function networkOf(address: LoraAddress): NetworkConfig {
  if (address.chirpstack !== undefined) {
    const { chirpstack } = address
    return { kind: 'chirpstack', id: `chirpstack:${chirpstack.broker}`, options: chirpstack }
  }
  if (address.tts !== undefined) {
    return { kind: 'tts', id: `tts:${address.tts.broker}:${address.tts.application}`, options: address.tts }
  }
  return { kind: 'local', id: 'local', listen: address.listen }
}

/** What two devices on one network may not disagree about, in words. */
export function settingsOf(device: LoraDevice): string {
  const { network } = device
  if (network.kind === 'local') return JSON.stringify([device.regionName, device.subBand])
  const { broker, username, passwordFile, caFile } = network.options
  return JSON.stringify([broker, username, passwordFile, caFile])
}
