import { toSluiceError } from '../../api/errors.ts'
import { API_VERSION, type Device, type DiscoveredDeviceSpec, type Json, objectKey } from '../../api/resources.ts'
import { sameValue } from '../../api/twin/twin.ts'
import { protocols } from '../../mappers/registry.ts'
import { isPassing } from '../kube/errors.ts'
import type { DiscoveryObjects } from './objects.ts'

/** Names the DiscoveredDevice that a Device was made from. */
export const DISCOVERED_LABEL = 'sluice.dev/discovered'

export type ApprovalEnd =
  | { readonly ok: true; readonly device: string; readonly message: string }
  | { readonly ok: false; readonly reason: string; readonly message: string }

/**
 * Makes the Device that `spec.approve` asks for; one that was made before counts as made. Rejects only with errors after
 * which trying again may help.
 */
export async function approve(
  objects: DiscoveryObjects,
  seen: { readonly namespace: string; readonly name: string; readonly spec: DiscoveredDeviceSpec },
): Promise<ApprovalEnd> {
  const { spec } = seen
  const { name = '', model = '', namespace = seen.namespace } = spec.approve ?? {}
  const key = objectKey(namespace, name)
  // A gateway chose this word: it must not stand for another field of the Device.
  if (!protocols.some((protocol) => protocol.name === spec.protocol)) {
    const next = spec.facts?.['next']
    const message =
      next === undefined
        ? `protocol '${spec.protocol}' is unknown to this cloud core`
        : `a ${spec.protocol} is no device that Sluice speaks to; instead: ${next}`
    return { ok: false, reason: 'ProtocolUnknown', message }
  }
  if (!(await objects.hasModel(namespace, model))) {
    const message = `there is no DeviceModel '${model}' in namespace ${namespace}; apply one, or approve with another`
    return { ok: false, reason: 'ModelNotFound', message }
  }
  const device: Device = {
    apiVersion: API_VERSION,
    kind: 'Device',
    metadata: { name, namespace, labels: { [DISCOVERED_LABEL]: seen.name } },
    spec: { model, nodeName: spec.gateway, [spec.protocol]: spec.address },
  }
  try {
    await objects.createDevice(device)
    return { ok: true, device: key, message: `device ${key} was made` }
  } catch (thrown) {
    const error = toSluiceError(thrown)
    if (isPassing(error)) throw error
    if (error.code !== 'SLUICE_KUBE_EXISTS') return { ok: false, reason: 'DeviceRefused', message: error.message }
  }
  const found = await objects.device(namespace, name)
  const same =
    found?.metadata.labels?.[DISCOVERED_LABEL] === seen.name ||
    (found?.spec.nodeName === spec.gateway && sameValue(found.spec[spec.protocol] as Json | undefined, spec.address))
  if (same) return { ok: true, device: key, message: `device ${key} is there` }
  const message = `there is another device ${key} already; approve with another name`
  return { ok: false, reason: 'DeviceExists', message }
}
