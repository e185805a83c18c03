import type { DeviceModelSpec, DeviceSpec, ModelProperty } from '../../api/resources.ts'
import { durationMs } from '../../api/twin/duration.ts'
import type { Finding } from '../../api/yaml/findings.ts'
import { DEFAULT_ADAPTER } from './adapter.ts'
import { ADVERT_FORMATS, FORMATS, isKnownField } from './codec/formats.ts'
import { standardOf } from './codec/standard.ts'
import { isUuid, shortUuid } from './codec/uuid.ts'
import { sizeOf } from './codec/values.ts'
import { addressOf, MIN_ON_DEMAND_MS, modelOf } from './device-config.ts'
import { bindingOf } from './point.ts'
import { MAX_LINKS } from './radio.ts'
import type { BleModel, BleProperty } from './schema.ts'

interface Bound {
  readonly property: ModelProperty
  readonly binding: BleProperty
  readonly path: readonly (string | number)[]
}

/** Legacy advertisements carry 31 bytes, of which a structure takes two for itself. */
const LEGACY_BYTES = 29

/** What Bluetooth LE knows to say about a model and the devices that use it. */
export function lintBle(model: DeviceModelSpec, devices: readonly DeviceSpec[]): readonly Finding[] {
  const options = modelOf(model)
  const bound: Bound[] = []
  model.properties.forEach((property, index) => {
    const binding = bindingOf(property)
    if (binding !== undefined) bound.push({ property, binding, path: ['spec', 'properties', index, 'ble'] })
  })
  return [
    ...bound.flatMap((one) => [...lintSource(one), ...lintForm(one), ...lintAccess(one), ...lintPoll(one, options)]),
    ...lintDevices(bound, devices),
  ]
}

const finding = (
  severity: Finding['severity'],
  code: string,
  path: Finding['path'],
  message: string,
  hint: string,
): Finding => ({ severity, code, message, hint, path })

function lintSource({ property, binding, path }: Bound): Finding[] {
  const { advert, field } = binding
  if (advert !== undefined && field !== undefined && ADVERT_FORMATS.includes(advert) && !isKnownField(advert, field)) {
    const code = 'SLUICE_LINT_BLE_FIELD'
    const message = `${property.name} asks for ${field}, which ${FORMATS[advert].title} does not have`
    return [finding('error', code, [...path, 'field'], message, `Fields: ${FORMATS[advert].fields.join(', ')}.`)]
  }
  const name = binding.characteristic
  if (name !== undefined && standardOf(name) === undefined && !isUuid(shortUuid(name))) {
    const message = `${property.name} names the characteristic ${name}, which is no UUID and no standard name`
    const hint = 'Give a UUID of 4 or 32 digits, or a name such as batteryLevel, temperature, firmwareRevision.'
    return [finding('error', 'SLUICE_LINT_BLE_CHARACTERISTIC', [...path, 'characteristic'], message, hint)]
  }
  return []
}

function lintForm({ property, binding, path }: Bound): Finding[] {
  const as = binding.as ?? 'uint8'
  const size = sizeOf(as) || (binding.length ?? 1)
  const end = (binding.at ?? 0) + size
  const found: Finding[] = []
  if ((binding.manufacturer !== undefined || binding.serviceData !== undefined) && end > LEGACY_BYTES) {
    const message = `${property.name} ends at byte ${end}, a plain advertisement has ${LEGACY_BYTES} for it`
    const hint = 'Only extended advertisements (Bluetooth 5) are longer; check at.'
    found.push(finding('warning', 'SLUICE_LINT_BLE_TOO_LONG', [...path, 'at'], message, hint))
  }
  if (binding.manufacturer !== undefined && binding.at !== undefined && binding.at < 2) {
    const message = `${property.name} reads the company identifier itself`
    const hint = 'In manufacturer data at counts the two bytes of the company as 0 and 1; values begin at 2.'
    found.push(finding('warning', 'SLUICE_LINT_BLE_COMPANY', [...path, 'at'], message, hint))
  }
  const text = as === 'string' || as === 'bytes'
  if (text && property.type !== 'string' && property.type !== 'bytes') {
    const message = `${property.name} is ${property.type}, but its bytes are read as ${as}`
    found.push(finding('error', 'SLUICE_LINT_BLE_TYPE', [...path, 'as'], message, 'Correct type or as.'))
  }
  return found
}

function lintAccess({ property, binding, path }: Bound): Finding[] {
  if ((property.access ?? 'read') === 'read') return []
  if (binding.characteristic === undefined) {
    const message = `${property.name} is writable, but advertisements cannot be written`
    const hint = 'Bind it to a characteristic, or say access: read.'
    return [finding('error', 'SLUICE_LINT_BLE_READ_ONLY', path, message, hint)]
  }
  const part = (binding.at ?? 0) !== 0 || binding.bit !== undefined || binding.bits !== undefined
  if ((part || binding.converter !== undefined) && binding.writeValues === undefined) {
    const message = `${property.name} is a part of its characteristic and cannot be written back as it is`
    return [finding('error', 'SLUICE_LINT_BLE_PART', path, message, 'Give writeValues, or say access: read.')]
  }
  return []
}

function lintPoll({ property, binding, path }: Bound, options: BleModel): Finding[] {
  const every = property.poll?.every
  if (binding.characteristic === undefined) return []
  if (options.connect === 'never') {
    const message = `${property.name} is in a characteristic, but the model says connect: never`
    const hint = 'Remove spec.ble.connect, or take the value from an advertisement.'
    return [finding('error', 'SLUICE_LINT_BLE_NEVER', path, message, hint)]
  }
  if (options.connect !== 'onDemand' || every === undefined || durationMs(every) >= MIN_ON_DEMAND_MS) return []
  const message = `${property.name} is read every ${every}, but connections on demand are made every 10s at most`
  const hint = 'Say connect: keep, or poll more slowly: every connection costs the device as much as many adverts.'
  return [finding('warning', 'SLUICE_LINT_BLE_POLL', path, message, hint)]
}

function lintDevices(bound: readonly Bound[], devices: readonly DeviceSpec[]): Finding[] {
  const found: Finding[] = []
  const stays = bound.filter(({ binding }) => binding.notify === true)
  const byRadio = new Map<string, number>()
  for (const device of devices) {
    const address = addressOf(device)
    if (address === undefined) continue
    const radio = `${device.nodeName ?? ''}/${address.adapter ?? DEFAULT_ADAPTER}`
    byRadio.set(radio, (byRadio.get(radio) ?? 0) + 1)
  }
  for (const [radio, count] of byRadio) {
    if (stays.length === 0 || count < MAX_LINKS) continue
    const message = `${count} devices of this model want connections that stay over one radio (${radio.split('/').pop()}), which has ${MAX_LINKS - 1} for that`
    const hint =
      'Add a radio and name it as adapter, or take the values from advertisements; the others are visited in turn.'
    found.push(finding('warning', 'SLUICE_LINT_BLE_LINKS', stays[0]!.path, message, hint))
  }
  return found
}
