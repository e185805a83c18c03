import type { TSchema } from 'typebox'
import { deviceSpec, deviceStatus } from './device.ts'
import { deviceModelSpec } from './device-model.ts'
import { discoveredDeviceSpec, discoveredDeviceStatus } from './discovered-device.ts'
import { discoveryPolicySpec, discoveryPolicyStatus } from './discovery-policy.ts'
import { firmwareReleaseSpec, firmwareReleaseStatus } from './firmware-release.ts'
import { firmwareRolloutSpec, firmwareRolloutStatus } from './firmware-rollout.ts'
import { gatewaySpec, gatewayStatus } from './gateway.ts'
import { anyObject, type Rule } from './parts.ts'
import type { ProtocolSchema } from './protocol.ts'

export interface PrinterColumn {
  readonly name: string
  readonly type: 'string' | 'integer' | 'number' | 'boolean' | 'date'
  readonly jsonPath: string
  readonly description?: string
  readonly priority?: number
}

/** Everything about a kind that its CRD, its validator and its users have to agree on. */
export interface ResourceDefinition {
  readonly kind: string
  readonly plural: string
  readonly shortNames: readonly string[]
  readonly namespaced: boolean
  readonly spec: TSchema
  readonly status: TSchema
  readonly specRequired: boolean
  readonly rules?: readonly Rule[]
  readonly columns: readonly PrinterColumn[]
  readonly selectableFields?: readonly string[]
  /** Of the cloud core alone: an API server checks it, and no gateway carries a validator for it. */
  readonly cloudOnly?: boolean
}

const age: PrinterColumn = { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' }

export const resourceDefinitions = (protocols: readonly ProtocolSchema[]): readonly ResourceDefinition[] => [
  {
    kind: 'DeviceModel',
    plural: 'devicemodels',
    shortNames: ['dm'],
    namespaced: true,
    spec: deviceModelSpec(protocols),
    status: anyObject(),
    specRequired: true,
    columns: [
      { name: 'Vendor', type: 'string', jsonPath: '.spec.vendor' },
      { name: 'Description', type: 'string', jsonPath: '.spec.description' },
      age,
    ],
  },
  {
    kind: 'Device',
    plural: 'devices',
    shortNames: ['dev'],
    namespaced: true,
    spec: deviceSpec(protocols),
    status: deviceStatus(),
    specRequired: true,
    selectableFields: ['.spec.nodeName', '.spec.model'],
    columns: [
      { name: 'Model', type: 'string', jsonPath: '.spec.model' },
      { name: 'Gateway', type: 'string', jsonPath: '.status.gateway' },
      { name: 'State', type: 'string', jsonPath: '.status.state' },
      { name: 'Values', type: 'string', jsonPath: '.status.summary' },
      { name: 'Seen', type: 'date', jsonPath: '.status.lastSeen' },
      { name: 'Stale', type: 'date', jsonPath: '.status.staleSince', priority: 1 },
      { name: 'RSSI-dBm', type: 'number', jsonPath: '.status.link.rssiDbm', priority: 1 },
      { name: 'Errors', type: 'number', jsonPath: '.status.link.errorRate', priority: 1 },
      { name: 'Battery-%', type: 'number', jsonPath: '.status.battery.percent', priority: 1 },
      age,
    ],
  },
  {
    kind: 'Gateway',
    plural: 'gateways',
    shortNames: ['gw'],
    namespaced: false,
    spec: gatewaySpec(),
    status: gatewayStatus(),
    specRequired: false,
    columns: [
      { name: 'State', type: 'string', jsonPath: '.status.state' },
      { name: 'Mode', type: 'string', jsonPath: '.spec.mode' },
      { name: 'Tether', type: 'string', jsonPath: '.status.tether.state' },
      { name: 'Devices', type: 'integer', jsonPath: '.status.devices.total' },
      { name: 'Online', type: 'integer', jsonPath: '.status.devices.online' },
      { name: 'Outbox', type: 'integer', jsonPath: '.status.outbox.batches' },
      { name: 'Dropped', type: 'integer', jsonPath: '.status.outbox.droppedValues' },
      { name: 'Battery', type: 'string', jsonPath: '.status.summary.battery' },
      { name: 'Power', type: 'string', jsonPath: '.status.summary.power' },
      { name: 'Link', type: 'string', jsonPath: '.status.summary.link' },
      { name: 'Seen', type: 'date', jsonPath: '.status.lastSeen' },
      { name: 'Stage', type: 'string', jsonPath: '.status.policy.stage', priority: 1 },
      { name: 'Source', type: 'string', jsonPath: '.status.power.by', priority: 1 },
      { name: 'Today-J', type: 'number', jsonPath: '.status.energy.todayJ', priority: 1 },
      { name: 'Celsius', type: 'number', jsonPath: '.status.thermal.celsius', priority: 1 },
      { name: 'RTT-ms', type: 'number', jsonPath: '.status.link.roundTripMs', priority: 1 },
      { name: 'Version', type: 'string', jsonPath: '.status.agentVersion', priority: 1 },
      age,
    ],
  },
  {
    kind: 'DiscoveredDevice',
    plural: 'discovereddevices',
    shortNames: ['dd'],
    namespaced: true,
    spec: discoveredDeviceSpec(),
    status: discoveredDeviceStatus(),
    specRequired: true,
    cloudOnly: true,
    columns: [
      { name: 'Protocol', type: 'string', jsonPath: '.spec.protocol' },
      { name: 'Gateway', type: 'string', jsonPath: '.spec.gateway' },
      { name: 'Calls-Itself', type: 'string', jsonPath: '.spec.name' },
      { name: 'Resembles', type: 'string', jsonPath: '.status.resembles' },
      { name: 'Seen', type: 'date', jsonPath: '.status.lastSeen' },
      { name: 'State', type: 'string', jsonPath: '.status.state' },
      { name: 'Id', type: 'string', jsonPath: '.spec.id', priority: 1 },
      { name: 'Device', type: 'string', jsonPath: '.status.device', priority: 1 },
      age,
    ],
  },
  {
    kind: 'DiscoveryPolicy',
    plural: 'discoverypolicies',
    shortNames: ['dp'],
    namespaced: true,
    spec: discoveryPolicySpec(),
    status: discoveryPolicyStatus(),
    specRequired: true,
    cloudOnly: true,
    columns: [
      { name: 'Adopted', type: 'integer', jsonPath: '.status.adopted' },
      { name: 'Last', type: 'string', jsonPath: '.status.lastDevice' },
      { name: 'When', type: 'date', jsonPath: '.status.lastAdopted' },
      { name: 'Suspended', type: 'boolean', jsonPath: '.spec.suspend' },
      age,
    ],
  },
  {
    kind: 'FirmwareRelease',
    plural: 'firmwarereleases',
    shortNames: ['fwr'],
    namespaced: true,
    spec: firmwareReleaseSpec(),
    status: firmwareReleaseStatus(),
    specRequired: true,
    cloudOnly: true,
    columns: [
      { name: 'Board', type: 'string', jsonPath: '.spec.board' },
      { name: 'Model', type: 'string', jsonPath: '.spec.model' },
      { name: 'Version', type: 'string', jsonPath: '.spec.version' },
      { name: 'Counter', type: 'integer', jsonPath: '.spec.securityCounter', priority: 1 },
      { name: 'State', type: 'string', jsonPath: '.status.state' },
      { name: 'Why', type: 'string', jsonPath: '.status.message', priority: 1 },
      age,
    ],
  },
  {
    kind: 'FirmwareRollout',
    plural: 'firmwarerollouts',
    shortNames: ['fwo'],
    namespaced: true,
    spec: firmwareRolloutSpec(),
    status: firmwareRolloutStatus(),
    specRequired: true,
    cloudOnly: true,
    columns: [
      { name: 'Release', type: 'string', jsonPath: '.spec.release' },
      { name: 'Phase', type: 'string', jsonPath: '.status.phase' },
      { name: 'Done', type: 'string', jsonPath: '.status.progress' },
      { name: 'Stage', type: 'string', jsonPath: '.status.stage' },
      { name: 'Updating', type: 'integer', jsonPath: '.status.updating' },
      { name: 'Failed', type: 'integer', jsonPath: '.status.failed' },
      { name: 'Back', type: 'integer', jsonPath: '.status.reverted' },
      { name: 'Why', type: 'string', jsonPath: '.status.message' },
      age,
    ],
  },
]
