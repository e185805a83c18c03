import { randomBytes } from 'node:crypto'
import { answeredError, type Endpoint, openRequest, readBody } from '../../api/client/http.ts'
import { type Clock, delay } from '../../api/clock.ts'
import { SluiceError } from '../../api/errors.ts'
import {
  API_VERSION,
  type Device,
  type FirmwareRelease,
  type FirmwareRollout,
  type FirmwareRolloutSpec,
} from '../../api/resources.ts'
import type { KubeClient, KubeList } from '../../cloudcore/kube/client.ts'
import {
  collectionPath,
  DEVICES,
  FIRMWARE_RELEASES,
  FIRMWARE_ROLLOUTS,
  objectPath,
} from '../../cloudcore/kube/paths.ts'
import type { SignedRelease } from './release.ts'

const LOOK_EVERY_MS = 500

/** Devices of a model that a gateway serves; SLUICE_FW_OTA_NO_DEVICE when there is none. */
export async function devicesOf(
  kube: KubeClient,
  where: { readonly namespace: string; readonly model: string; readonly gateway: string },
  signal: AbortSignal,
): Promise<string[]> {
  const { namespace, model, gateway } = where
  const query = new URLSearchParams({ fieldSelector: `spec.model=${model}` })
  const list = await kube.get<KubeList<Device>>(`${collectionPath(DEVICES, namespace)}?${query}`, { signal })
  const names = list.items
    .filter(({ spec, status }) => (status?.gateway ?? spec.nodeName) === gateway)
    .map(({ metadata }) => metadata.name)
  if (names.length > 0) return names.sort()
  throw new SluiceError(
    'SLUICE_FW_OTA_NO_DEVICE',
    `gateway ${gateway} serves no device of model ${model} in ${namespace}`,
    {
      hint: 'Apply generated/gateway.yaml of the project first, or name the namespace with --namespace.',
    },
  )
}

/** Brings the bytes and the FirmwareRelease to the cloud core; what is there already stays. */
export async function publish(
  kube: KubeClient,
  endpoint: Endpoint,
  release: SignedRelease,
  namespace: string,
  signal: AbortSignal,
): Promise<void> {
  for (const { bytes, slot } of release.images) {
    const sha256 = release.spec.images.find((image) => image.slot === slot)?.sha256 ?? ''
    const answer = await openRequest(endpoint, { method: 'PUT', path: `/v1/firmware/${sha256}`, bytes, signal })
    const body = await readBody(answer)
    const status = answer.statusCode ?? 0
    if (status < 200 || status > 299) throw answeredError(status, body, endpoint)
  }
  const object: FirmwareRelease = {
    apiVersion: API_VERSION,
    kind: 'FirmwareRelease',
    metadata: { name: release.name, namespace },
    spec: release.spec,
  }
  try {
    await kube.create(collectionPath(FIRMWARE_RELEASES, namespace), object, { signal })
  } catch (thrown) {
    if (!(thrown instanceof SluiceError) || thrown.code !== 'SLUICE_KUBE_EXISTS') throw thrown
    const path = objectPath(FIRMWARE_RELEASES, release.name, namespace)
    const held = await kube.get<FirmwareRelease>(path, { signal })
    if (held.spec.publicKey !== release.spec.publicKey)
      throw new SluiceError('SLUICE_FW_OTA_RELEASE', `another release is called ${release.name}`, {
        hint: 'Raise the version of the project.',
      })
  }
}

export async function beginRollout(
  kube: KubeClient,
  release: SignedRelease,
  namespace: string,
  spec: Omit<FirmwareRolloutSpec, 'release'>,
  signal: AbortSignal,
): Promise<FirmwareRollout> {
  const object: FirmwareRollout = {
    apiVersion: API_VERSION,
    kind: 'FirmwareRollout',
    metadata: { name: `${release.name}-${randomBytes(3).toString('hex')}`, namespace },
    spec: { release: release.name, ...spec },
  }
  return await kube.create<FirmwareRollout>(collectionPath(FIRMWARE_ROLLOUTS, namespace), object, { signal })
}

/** Whether nothing more happens by itself. */
export const isRolloutEnd = ({ status }: FirmwareRollout): boolean =>
  status?.phase === 'Done' || status?.phase === 'Halted' || status?.phase === 'RolledBack'

/** Follows a rollout until it is done, halted or rolled back, or `waitMs` passed. */
export async function followRollout(
  kube: KubeClient,
  rollout: FirmwareRollout,
  options: {
    readonly waitMs: number
    readonly clock: Clock
    readonly signal: AbortSignal
    readonly onStatus: (rollout: FirmwareRollout) => void
  },
): Promise<FirmwareRollout> {
  const { clock, signal, waitMs, onStatus } = options
  const path = objectPath(FIRMWARE_ROLLOUTS, rollout.metadata.name, rollout.metadata.namespace)
  const endMs = clock.monotonic() + waitMs
  for (let told = ''; ; ) {
    const now = await kube.get<FirmwareRollout>(path, { signal })
    const text = JSON.stringify(now.status ?? {})
    if (text !== told) onStatus(now)
    told = text
    if (isRolloutEnd(now)) return now
    if (clock.monotonic() >= endMs) return now
    await delay(clock, LOOK_EVERY_MS, signal)
  }
}
