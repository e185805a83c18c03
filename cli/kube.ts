import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { SluiceError } from '../api/errors.ts'
import { API_VERSION, type Device } from '../api/resources.ts'
import type { SluiceResource } from '../api/validate.ts'
import { KubeClient } from '../cloudcore/kube/client.ts'
import { loadKubeconfig } from '../cloudcore/kube/config.ts'
import { DEVICE_MODELS, DEVICES, GATEWAYS, type KubeResource, objectPath } from '../cloudcore/kube/paths.ts'
import { dataFolder } from './device-api.ts'

export const kubeconfigPath = (data: string): string => join(data, 'kubeconfig')

/** A client for the Kubernetes API that the data folder's kubeconfig names. */
export function openKube(data: string): KubeClient {
  const path = kubeconfigPath(data)
  if (!existsSync(path)) {
    throw new SluiceError('SLUICE_CLI_NO_KUBECONFIG', `There is no ${path}`, {
      hint: "Start the cloud core with 'sluice up' or 'sluice cloud', or name its folder with --data DIR.",
    })
  }
  return new KubeClient(loadKubeconfig(path))
}

const RESOURCES: Readonly<Record<string, KubeResource>> = {
  DeviceModel: DEVICE_MODELS,
  Device: DEVICES,
  Gateway: GATEWAYS,
}

/** One object by name. Throws SLUICE_KUBE_NOT_FOUND when there is none. */
export async function kubeObject<T>(
  resource: KubeResource,
  namespace: string | undefined,
  name: string,
  data: string | undefined,
  env: Readonly<Record<string, string | undefined>>,
  signal: AbortSignal,
): Promise<T> {
  await using kube = openKube(dataFolder(data, env))
  return await kube.get<T>(objectPath(resource, name, namespace), { signal })
}

const pathOf = ({ kind, metadata }: SluiceResource): string =>
  objectPath(
    RESOURCES[kind] ?? DEVICES,
    metadata.name,
    kind === 'Gateway' ? undefined : (metadata.namespace ?? 'default'),
  )

/** Creates or updates an object by server-side apply, as `kubectl apply --server-side` does. */
export async function applyObject(kube: KubeClient, resource: SluiceResource, signal: AbortSignal): Promise<void> {
  const { status: _, ...written } = resource
  const body = { ...written, apiVersion: API_VERSION }
  await kube.patch(pathOf(resource), 'apply', body, { query: { fieldManager: 'sluice-up', force: true }, signal })
}

/** Makes a device what the file says, but leaves what somebody asked of it since: a restart undoes nobody's writes. */
export async function applyKeepingDesired(kube: KubeClient, device: Device, signal: AbortSignal): Promise<void> {
  const path = pathOf(device)
  let found: Device
  try {
    found = await kube.get<Device>(path, { signal })
  } catch (thrown) {
    if (thrown instanceof SluiceError && thrown.code === 'SLUICE_KUBE_NOT_FOUND') {
      return applyObject(kube, device, signal)
    }
    throw thrown
  }
  const desired = { ...device.spec.desired, ...found.spec.desired }
  await kube.replace(path, { ...found, spec: { ...device.spec, desired } }, { signal })
}

export { DEVICE_MODELS }
