export type { Device, DeviceSpec, DeviceStatus, DeviceTwin, WriteState } from './schema/device.ts'
export type {
  DeviceModel,
  DeviceModelSpec,
  ModelProperty,
  ReportPolicy,
} from './schema/device-model.ts'
export type { DiscoveredDevice, DiscoveredDeviceSpec, DiscoveredDeviceStatus } from './schema/discovered-device.ts'
export type { DiscoveryPolicy, DiscoveryPolicySpec } from './schema/discovery-policy.ts'
export type { FirmwareRelease, FirmwareReleaseSpec, FirmwareReleaseStatus } from './schema/firmware-release.ts'
export type {
  FirmwareRollout,
  FirmwareRolloutSpec,
  FirmwareRolloutStatus,
  RolloutDevice,
} from './schema/firmware-rollout.ts'
export type { Gateway, GatewaySpec, GatewayStatus } from './schema/gateway.ts'
export type { Json, ObjectMeta } from './schema/parts.ts'

export const GROUP = 'sluice.dev'
export const VERSION = 'v1alpha1'
export const API_VERSION = `${GROUP}/${VERSION}`

/** `namespace/name`: how a namespaced object is called inside the agent, on the link and in the local API. */
export type ObjectKey = string

export const objectKey = (namespace: string, name: string): ObjectKey => `${namespace}/${name}`

export function splitKey(key: ObjectKey): { namespace: string; name: string } {
  const slash = key.indexOf('/')
  return { namespace: key.slice(0, slash), name: key.slice(slash + 1) }
}
