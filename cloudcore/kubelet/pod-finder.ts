import { SluiceError, toSluiceError } from '../../api/errors.ts'
import type { PodTarget } from '../../api/link/pod-streams.ts'
import { CONFIG_MIRROR } from '../../api/link/static-pods.ts'
import type { KubeClient } from '../kube/client.ts'

/** Where a pod is and what it has, as the API says. */
export interface PlacedPod extends PodTarget {
  readonly gateway: string
  readonly containers: readonly string[]
  /** Of the first of them, or the one that the pod names as its default. */
  readonly defaultContainer: string
}

interface ApiPod {
  readonly metadata: { readonly uid: string; readonly annotations?: Readonly<Record<string, string>> }
  readonly spec: {
    readonly nodeName?: string
    readonly containers: readonly { readonly name: string }[]
    readonly initContainers?: readonly { readonly name: string }[]
    readonly ephemeralContainers?: readonly { readonly name: string }[]
  }
}

/** Asks the API each time: a pod that was just made or moved is where it says. Throws SLUICE_POD_NOT_FOUND. */
export async function placePod(
  client: Pick<KubeClient, 'get'>,
  namespace: string,
  pod: string,
  signal: AbortSignal,
): Promise<PlacedPod> {
  const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(pod)}`
  let found: ApiPod
  try {
    found = await client.get<ApiPod>(path, { signal, timeoutMs: 10_000 })
  } catch (thrown) {
    const error = toSluiceError(thrown)
    throw error.code === 'SLUICE_KUBE_NOT_FOUND' ? notFound(namespace, pod) : error
  }
  const { metadata, spec } = found
  const gateway = spec.nodeName
  if (gateway === undefined || gateway === '') throw notFound(namespace, pod)
  const containers = [...spec.containers, ...(spec.initContainers ?? []), ...(spec.ephemeralContainers ?? [])]
  const chosen = metadata.annotations?.['kubectl.kubernetes.io/default-container']
  return {
    // What a gateway runs from a file it knows by the file's own hash.
    ...{
      namespace,
      pod,
      uid: metadata.annotations?.[CONFIG_MIRROR] ?? metadata.uid,
      gateway,
      containers: containers.map(({ name }) => name),
    },
    defaultContainer: chosen ?? spec.containers[0]?.name ?? '',
  }
}

const notFound = (namespace: string, pod: string) =>
  new SluiceError('SLUICE_POD_NOT_FOUND', `pod "${pod}" not found in namespace "${namespace}" on any gateway`)
