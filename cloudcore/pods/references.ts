import type { PodLinkObject } from '../../api/link/messages.ts'
import type { PodSpec, VolumeSource } from '../../api/link/pods.ts'
import { type ObjectKey, objectKey } from '../../api/resources.ts'

export type PayloadKind = Exclude<PodLinkObject['kind'], 'Pod'>
/** A ConfigMap or a Secret, as `kind namespace/name`. */
export type PayloadId = `${PayloadKind} ${ObjectKey}`

export const payloadId = (kind: PayloadKind, key: ObjectKey): PayloadId => `${kind} ${key}`

export function splitPayloadId(id: PayloadId): readonly [kind: PayloadKind, key: ObjectKey] {
  const space = id.indexOf(' ')
  return [id.slice(0, space) as PayloadKind, id.slice(space + 1)]
}

/** The ConfigMaps and Secrets that a pod names, each once: what its gateway needs of them to run it, and no more. */
export function referencesOf(namespace: string, spec: PodSpec): readonly PayloadId[] {
  const found = new Set<PayloadId>()
  const add = (kind: PayloadKind, name: string | undefined) => {
    if (name !== undefined && name !== '') found.add(payloadId(kind, objectKey(namespace, name)))
  }
  const addSource = ({ configMap, secret }: VolumeSource) => {
    add('ConfigMap', configMap?.name)
    // A volume says `secretName`, a projected source `name`.
    add('Secret', secret?.secretName ?? secret?.name)
  }
  for (const container of [
    ...(spec.initContainers ?? []),
    ...(spec.containers ?? []),
    ...(spec.ephemeralContainers ?? []),
  ]) {
    for (const { configMapRef, secretRef } of container.envFrom ?? []) {
      add('ConfigMap', configMapRef?.name)
      add('Secret', secretRef?.name)
    }
    for (const { valueFrom } of container.env ?? []) {
      add('ConfigMap', valueFrom?.configMapKeyRef?.name)
      add('Secret', valueFrom?.secretKeyRef?.name)
    }
  }
  for (const volume of spec.volumes ?? []) {
    addSource(volume)
    for (const source of volume.projected?.sources ?? []) addSource(source)
  }
  for (const { name } of spec.imagePullSecrets ?? []) add('Secret', name)
  return [...found]
}
