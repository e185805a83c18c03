import type { ObjectKey } from '../resources.ts'
import type { LinkPod, PodMeta } from './pods.ts'

/**
 * A pod that a gateway runs from a file of its own, with no API. Its uid is the hash of what it is; its name ends with the
 * gateway's. The cloud core shows it in the API as a mirror pod, with the annotations that a kubelet uses.
 */
export interface StaticPod {
  readonly key: ObjectKey
  readonly object: LinkPod
}

/** Static pods of a gateway at most: all of them go into one frame. */
export const MAX_STATIC_PODS = 64
/** Characters of all of them together, as JSON. */
export const MAX_STATIC_CHARACTERS = 512 * 1024

/** `file` for a static pod. */
export const CONFIG_SOURCE = 'kubernetes.io/config.source'
/** Hash of what a static pod is. */
export const CONFIG_HASH = 'kubernetes.io/config.hash'
/** On the mirror only: the uid under which its gateway knows the pod. */
export const CONFIG_MIRROR = 'kubernetes.io/config.mirror'
/** When the gateway first saw the file, RFC 3339. */
export const CONFIG_SEEN = 'kubernetes.io/config.seen'

export const isStatic = ({ annotations }: Pick<PodMeta, 'annotations'>): boolean =>
  annotations?.[CONFIG_SOURCE] === 'file'

/** Whether something from outside is one; what is inside is the API server's to check. */
export function isStaticPod(value: unknown): value is StaticPod {
  const { key, object } = record(value)
  if (typeof key !== 'string' || key.length > 320 || !/^[^/]+\/[^/]+$/.test(key)) return false
  const { uid, metadata, spec } = record(object)
  if (typeof uid !== 'string' || !/^[0-9a-f]{32}$/.test(uid)) return false
  const { labels = {}, annotations = {} } = record(metadata)
  if (![labels, annotations].every((map) => Object.values(record(map)).every((one) => typeof one === 'string')))
    return false
  const { containers } = record(spec)
  return Array.isArray(containers) && containers.length > 0 && containers.length <= 64
}

const record = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {}
