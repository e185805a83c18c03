import type {
  Device,
  FirmwareRelease,
  FirmwareReleaseStatus,
  FirmwareRolloutStatus,
  ObjectMeta,
} from '../../api/resources.ts'
import type { KubeClient, KubeList } from '../kube/client.ts'
import { collectionPath, DEVICES, FIRMWARE_RELEASES, FIRMWARE_ROLLOUTS, objectPath } from '../kube/paths.ts'

/** What the controller does with a Kubernetes API. Rejects with the errors of `KubeClient`. */
export interface FirmwareObjects {
  releaseStatus(release: FirmwareRelease, status: FirmwareReleaseStatus): Promise<void>
  rolloutStatus(metadata: ObjectMeta, status: FirmwareRolloutStatus): Promise<void>
  /** Names of devices of a model with these labels. */
  devices(namespace: string, model: string, labels: Readonly<Record<string, string>>): Promise<readonly string[]>
}

const query = { fieldManager: 'sluice-cloudcore' }
const PAGE = 500

export const kubeFirmwareObjects = (client: KubeClient): FirmwareObjects => ({
  async releaseStatus({ metadata: { name, namespace } }: FirmwareRelease, status) {
    await client.patch(objectPath(FIRMWARE_RELEASES, name, namespace, 'status'), 'merge', { status }, { query })
  },
  async rolloutStatus({ name, namespace }, status) {
    await client.patch(objectPath(FIRMWARE_ROLLOUTS, name, namespace, 'status'), 'merge', { status }, { query })
  },
  async devices(namespace, model, labels) {
    const labelSelector = Object.entries(labels)
      .map(([name, value]) => `${name}=${value}`)
      .join(',')
    const found: string[] = []
    for (let from: string | undefined; ; ) {
      const words = new URLSearchParams({
        ...{ labelSelector, fieldSelector: `spec.model=${model}`, limit: `${PAGE}` },
        ...(from === undefined ? {} : { continue: from }),
      })
      const page = await client.get<KubeList<Device>>(`${collectionPath(DEVICES, namespace)}?${words}`)
      found.push(...page.items.map(({ metadata }) => metadata.name))
      from = page.metadata.continue
      if (from === undefined || from === '') return found.sort()
    }
  },
})
