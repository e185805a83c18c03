import { toSluiceError } from '../../api/errors.ts'
import type { Device, DiscoveredDevice, DiscoveredDeviceStatus, DiscoveryPolicy } from '../../api/resources.ts'
import type { KubeClient } from '../kube/client.ts'
import {
  collectionPath,
  DEVICE_MODELS,
  DEVICES,
  DISCOVERED_DEVICES,
  DISCOVERY_POLICIES,
  objectPath,
} from '../kube/paths.ts'

/** Fields of the spec that follow what a gateway says; the others are a person's. */
export type SeenFields = Pick<DiscoveredDevice['spec'], 'address' | 'name' | 'candidates' | 'facts'>

export type Approval = NonNullable<DiscoveredDevice['spec']['approve']>

/** What the controller does with a Kubernetes API. Rejects with the errors of `KubeClient`. */
export interface DiscoveryObjects {
  create(object: DiscoveredDevice): Promise<void>
  update(namespace: string, name: string, seen: SeenFields): Promise<void>
  updateStatus(namespace: string, name: string, status: DiscoveredDeviceStatus): Promise<void>
  /** What a policy decided. Rejects where the spec is not that of this generation any more. */
  approve(namespace: string, name: string, generation: number, approve: Approval): Promise<void>
  policyStatus(policy: DiscoveryPolicy, status: NonNullable<DiscoveryPolicy['status']>): Promise<void>
  remove(namespace: string, name: string): Promise<void>
  hasModel(namespace: string, name: string): Promise<boolean>
  createDevice(device: Device): Promise<void>
  device(namespace: string, name: string): Promise<Device | undefined>
}

const query = { fieldManager: 'sluice-cloudcore' }

export function kubeDiscoveryObjects(client: KubeClient): DiscoveryObjects {
  const found = async <T>(path: string): Promise<T | undefined> => {
    try {
      return await client.get<T>(path)
    } catch (thrown) {
      if (toSluiceError(thrown).code === 'SLUICE_KUBE_NOT_FOUND') return undefined
      throw thrown
    }
  }
  return {
    async create(object) {
      await client.create(collectionPath(DISCOVERED_DEVICES, object.metadata.namespace), object, { query })
    },
    async update(namespace, name, seen) {
      // `add` replaces what is there as a whole: a fact that is no longer told goes.
      const operations = Object.entries(seen).map(([field, value]) => ({ op: 'add', path: `/spec/${field}`, value }))
      await client.patch(objectPath(DISCOVERED_DEVICES, name, namespace), 'json', operations, { query })
    },
    async updateStatus(namespace, name, status) {
      await client.patch(objectPath(DISCOVERED_DEVICES, name, namespace, 'status'), 'merge', { status }, { query })
    },
    async approve(namespace, name, generation, approve) {
      const operations = [
        // Whatever a person changed meanwhile stands, and is looked at first.
        { op: 'test', path: '/metadata/generation', value: generation },
        { op: 'add', path: '/spec/approve', value: approve },
      ]
      await client.patch(objectPath(DISCOVERED_DEVICES, name, namespace), 'json', operations, { query })
    },
    async policyStatus({ metadata: { name, namespace } }, status) {
      await client.patch(objectPath(DISCOVERY_POLICIES, name, namespace, 'status'), 'merge', { status }, { query })
    },
    async remove(namespace, name) {
      await client.delete(objectPath(DISCOVERED_DEVICES, name, namespace))
    },
    hasModel: async (namespace, name) => (await found(objectPath(DEVICE_MODELS, name, namespace))) !== undefined,
    async createDevice(device) {
      await client.create(collectionPath(DEVICES, device.metadata.namespace), device, { query })
    },
    device: (namespace, name) => found<Device>(objectPath(DEVICES, name, namespace)),
  }
}
