import type { PodLinkObject } from '../../api/link/messages.ts'
import type { LinkPod, PodContainer } from '../../api/link/pods.ts'
import type { Finding } from '../../api/yaml/findings.ts'

const MAX_CONTAINERS = 64
const MAX_PAYLOAD_BYTES = 1_500_000
/** RFC 1123 label, as Kubernetes names containers and volumes. */
const LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/
/** Becomes part of paths. */
const UID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/
const DATA_KEY = /^[-._a-zA-Z0-9]{1,253}$/

/**
 * The first thing that keeps a Pod, ConfigMap or Secret from being used at all. An API server has checked most of it;
 * this is for what names become paths and what would exhaust the gateway. What a pod asks for and the gateway lacks is
 * no finding: the pod is taken and its status and an event say so.
 */
export function checkPodObject(given: PodLinkObject): Finding | undefined {
  if (!UID.test(given.object.uid)) return finding('uid', `the uid '${given.object.uid.slice(0, 64)}' is none`)
  return given.kind === 'Pod' ? checkPod(given.object) : checkPayload(given)
}

function checkPayload(given: Exclude<PodLinkObject, { kind: 'Pod' }>): Finding | undefined {
  const { object } = given
  const maps = [object.data ?? {}, 'binaryData' in object ? (object.binaryData ?? {}) : {}]
  const keys = maps.flatMap((map) => Object.keys(map))
  // A key may become a file: `..` is no name for one.
  const bad = keys.find((key) => !DATA_KEY.test(key) || key === '.' || key === '..' || key.startsWith('..'))
  if (bad !== undefined) return finding('data', `'${bad.slice(0, 64)}' is no key`)
  const bytes = maps.flatMap((map) => Object.values(map)).reduce((sum, text) => sum + text.length, 0)
  return bytes > MAX_PAYLOAD_BYTES ? finding('data', `${bytes} bytes are more than ${MAX_PAYLOAD_BYTES}`) : undefined
}

function checkPod({ spec }: LinkPod): Finding | undefined {
  const all: readonly PodContainer[] = [
    ...(spec.initContainers ?? []),
    ...spec.containers,
    ...(spec.ephemeralContainers ?? []),
  ]
  if (spec.containers.length === 0) return finding('spec.containers', 'a pod has at least one container')
  if (all.length > MAX_CONTAINERS) return finding('spec.containers', `at most ${MAX_CONTAINERS} containers`)
  const names = new Set<string>()
  for (const { name, image } of all) {
    if (typeof name !== 'string' || !LABEL.test(name)) return finding('spec.containers', `'${String(name)}' is no name`)
    if (names.has(name)) return finding('spec.containers', `two containers are named '${name}'`)
    if (typeof image !== 'string' || image === '') return finding('spec.containers', `container '${name}' has no image`)
    names.add(name)
  }
  const volumes = new Set((spec.volumes ?? []).map(({ name }) => name))
  const badVolume = [...volumes].find((name) => !LABEL.test(name))
  if (badVolume !== undefined) return finding('spec.volumes', `'${badVolume}' is no name`)
  for (const container of all) {
    for (const { name, mountPath } of container.volumeMounts ?? []) {
      if (!volumes.has(name))
        return finding('spec.volumes', `container '${container.name}' mounts '${name}', no volume`)
      if (!mountPath.startsWith('/')) return finding('spec.containers', `'${mountPath}' is no absolute path`)
    }
  }
  return undefined
}

const finding = (field: string, message: string): Finding => ({
  severity: 'error',
  code: 'SLUICE_POD_INVALID',
  message: `${field}: ${message}`,
  hint: 'Correct the manifest and apply it again.',
  path: field.split('.'),
})
