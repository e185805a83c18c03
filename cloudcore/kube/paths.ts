import { GROUP, VERSION } from '../../api/resources.ts'

/** A resource of the Kubernetes API: where its collection lives. */
export interface KubeResource {
  readonly prefix: string
  readonly plural: string
  readonly apiVersion: string
  readonly kind: string
}

const core = (plural: string, kind: string): KubeResource => ({ prefix: '/api/v1', plural, apiVersion: 'v1', kind })
const ours = (plural: string, kind: string): KubeResource => ({
  prefix: `/apis/${GROUP}/${VERSION}`,
  plural,
  apiVersion: `${GROUP}/${VERSION}`,
  kind,
})

export const DEVICES = ours('devices', 'Device')
export const DEVICE_MODELS = ours('devicemodels', 'DeviceModel')
export const GATEWAYS = ours('gateways', 'Gateway')
export const DISCOVERED_DEVICES = ours('discovereddevices', 'DiscoveredDevice')
export const DISCOVERY_POLICIES = ours('discoverypolicies', 'DiscoveryPolicy')
export const FIRMWARE_RELEASES = ours('firmwarereleases', 'FirmwareRelease')
export const FIRMWARE_ROLLOUTS = ours('firmwarerollouts', 'FirmwareRollout')
export const NODES = core('nodes', 'Node')
export const PODS = core('pods', 'Pod')
export const CONFIG_MAPS = core('configmaps', 'ConfigMap')
export const SECRETS = core('secrets', 'Secret')
export const NAMESPACES = core('namespaces', 'Namespace')
export const EVENTS = core('events', 'Event')
export const LEASES: KubeResource = {
  prefix: '/apis/coordination.k8s.io/v1',
  plural: 'leases',
  apiVersion: 'coordination.k8s.io/v1',
  kind: 'Lease',
}
export const CRDS: KubeResource = {
  prefix: '/apis/apiextensions.k8s.io/v1',
  plural: 'customresourcedefinitions',
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
}

/** Path of a collection: of one namespace, or of all (also for cluster-scoped kinds) when none is given. */
export function collectionPath(resource: KubeResource, namespace?: string): string {
  const scope = namespace === undefined ? '' : `/namespaces/${encodeURIComponent(namespace)}`
  return `${resource.prefix}${scope}/${resource.plural}`
}

export function objectPath(
  resource: KubeResource,
  name: string,
  namespace?: string,
  subresource?: 'status' | 'scale' | 'binding' | 'eviction',
): string {
  const tail = subresource === undefined ? '' : `/${subresource}`
  return `${collectionPath(resource, namespace)}/${encodeURIComponent(name)}${tail}`
}
