import { SluiceError } from '../../api/errors.ts'
import type { Json, ObjectKey } from '../../api/resources.ts'
import type { DeviceState, PropertyState } from './device-state.ts'
import type { CheckValue } from './writes.ts'

/** The property a local user may set to this value; throws what the local API answers otherwise. */
export function writableProperty(
  devices: ReadonlyMap<ObjectKey, DeviceState>,
  checkValue: CheckValue,
  key: ObjectKey,
  name: string,
  value: Json,
): { readonly device: DeviceState; readonly property: PropertyState } {
  const device = devices.get(key)
  if (device === undefined) throw unknownDevice(key)
  const property = device.properties.get(name)
  if (property?.definition === undefined) {
    throw new SluiceError('SLUICE_TWIN_PROPERTY_UNKNOWN', `Device ${key} has no property '${name}'`, {
      hint: `Its properties are: ${[...device.properties.keys()].join(', ') || 'none'}.`,
    })
  }
  if (device.standby) {
    throw new SluiceError('SLUICE_TWIN_STANDBY', `Another gateway serves ${key} at the moment; this one stands by`, {
      hint: 'Set the value in the cloud, or at the gateway that serves the device.',
    })
  }
  if ((property.definition.access ?? 'read') === 'read') {
    throw new SluiceError('SLUICE_TWIN_READ_ONLY', `Property '${name}' of ${key} cannot be written`, {
      hint: "Give it `access: readwrite` in its DeviceModel, if the device's documentation allows writing.",
    })
  }
  const finding = checkValue(property.definition, value)
  if (finding !== undefined) {
    throw new SluiceError('SLUICE_TWIN_VALUE_REFUSED', `${name} of ${key}: ${finding.message}`, {
      hint: finding.hint,
    })
  }
  return { device, property }
}

export function unknownDevice(key: ObjectKey): SluiceError {
  return new SluiceError('SLUICE_TWIN_DEVICE_UNKNOWN', `There is no device ${key} on this gateway`, {
    hint: 'List the devices with `sluice device ls`; the name is namespace/name.',
  })
}
