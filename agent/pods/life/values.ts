import { SluiceError } from '../../../api/errors.ts'
import type { LinkConfigMap, LinkPod, LinkSecret, PodContainer, PodEnv } from '../../../api/link/pods.ts'
import { splitKey } from '../../../api/resources.ts'
import type { Resources } from '../runtimes/runtime.ts'
import { quantity } from './quantity.ts'

/** What a pod may read besides its own object; everything is on this gateway already. */
export interface Sources {
  readonly configMap: (name: string) => LinkConfigMap | undefined
  readonly secret: (name: string) => LinkSecret | undefined
  readonly node: NodeFacts
}

export interface NodeFacts {
  readonly name: string
  readonly hostIp: string
  readonly allocatableCpu: number
  readonly allocatableMemoryBytes: number
}

export interface PodFacts {
  readonly key: string
  readonly pod: LinkPod
  readonly podIp: string
}

/** Names of shells' variables, and what else Kubernetes allows in them. */
const VARIABLE = /^[-._a-zA-Z][-._a-zA-Z0-9]*$/

/**
 * A container's environment, with `$(NAME)` put in as Kubernetes does. Throws `SLUICE_POD_CONFIG` naming what is missing;
 * such a container waits with the reason CreateContainerConfigError.
 */
export function containerEnv(facts: PodFacts, container: PodContainer, sources: Sources): [string, string][] {
  const values = new Map<string, string>()
  for (const { prefix = '', configMapRef, secretRef } of container.envFrom ?? []) {
    const data =
      configMapRef !== undefined
        ? configMapRef.optional === true && sources.configMap(configMapRef.name) === undefined
          ? {}
          : (configMapOf(sources, configMapRef.name).data ?? {})
        : secretRef !== undefined
          ? secretRef.optional === true && sources.secret(secretRef.name) === undefined
            ? {}
            : decoded(secretOf(sources, secretRef.name))
          : {}
    for (const [name, value] of Object.entries(data)) {
      if (VARIABLE.test(prefix + name)) values.set(prefix + name, value)
    }
  }
  for (const one of container.env ?? []) {
    const value =
      one.valueFrom === undefined ? expand(one.value ?? '', values) : valueFrom(facts, container, one, sources)
    if (value !== undefined) values.set(one.name, value)
  }
  return [...values]
}

/** `$(NAME)` becomes its value, `$$(NAME)` stays as `$(NAME)`, an unknown name stays as it is. */
export function expand(text: string, values: ReadonlyMap<string, string>): string {
  return text.replace(/\$\$|\$\(([-._a-zA-Z][-._a-zA-Z0-9]*)\)/g, (whole, name: string | undefined) =>
    name === undefined ? '$' : (values.get(name) ?? whole),
  )
}

function valueFrom(facts: PodFacts, container: PodContainer, { name, valueFrom: from }: PodEnv, sources: Sources) {
  const { configMapKeyRef, secretKeyRef, fieldRef, resourceFieldRef } = from!
  if (configMapKeyRef !== undefined) {
    const { optional = false, key } = configMapKeyRef
    const map = sources.configMap(configMapKeyRef.name)
    const value = map?.data?.[key]
    if (value !== undefined || optional) return value
    throw missing(
      map === undefined ? `configmap "${configMapKeyRef.name}"` : `key ${key} in configmap "${configMapKeyRef.name}"`,
    )
  }
  if (secretKeyRef !== undefined) {
    const { optional = false, key } = secretKeyRef
    const secret = sources.secret(secretKeyRef.name)
    const value = secret?.data?.[key]
    if (value !== undefined) return Buffer.from(value, 'base64').toString('utf8')
    if (optional) return undefined
    throw missing(
      secret === undefined ? `secret "${secretKeyRef.name}"` : `key ${key} in secret "${secretKeyRef.name}"`,
    )
  }
  if (fieldRef !== undefined) return podField(facts, fieldRef.fieldPath, sources.node)
  if (resourceFieldRef !== undefined) {
    const other = facts.pod.spec.containers.find((one) => one.name === resourceFieldRef.containerName) ?? container
    return resourceField(other, resourceFieldRef.resource, resourceFieldRef.divisor, sources.node)
  }
  throw new SluiceError('SLUICE_POD_CONFIG', `Variable ${name} is to come from nowhere`)
}

/** A field of the pod as the downward API offers it. */
export function podField({ key, pod, podIp }: PodFacts, path: string, node: NodeFacts): string {
  const { namespace, name } = splitKey(key)
  const entry = /^metadata\.(labels|annotations)\['(.+)'\]$/.exec(path)
  if (entry !== null) return pod.metadata[entry[1] as 'labels' | 'annotations']?.[entry[2]!] ?? ''
  switch (path) {
    case 'metadata.name':
      return name
    case 'metadata.namespace':
      return namespace
    case 'metadata.uid':
      return pod.uid
    case 'metadata.labels':
      return lines(pod.metadata.labels)
    case 'metadata.annotations':
      return lines(pod.metadata.annotations)
    case 'spec.nodeName':
      return node.name
    case 'spec.serviceAccountName':
      return pod.spec.serviceAccountName ?? 'default'
    case 'status.hostIP':
    case 'status.hostIPs':
      return node.hostIp
    case 'status.podIP':
    case 'status.podIPs':
      return podIp
    default:
      throw new SluiceError('SLUICE_POD_CONFIG', `The downward API has no field ${path}`)
  }
}

const lines = (map: Readonly<Record<string, string>> | undefined): string =>
  Object.entries(map ?? {})
    .map(([name, value]) => `${name}=${JSON.stringify(value)}`)
    .join('\n')

export function resourceField(
  { resources }: PodContainer,
  resource: string,
  divisor: string | undefined,
  node: NodeFacts,
): string {
  const [kind, name] = resource.split('.')
  const asked = kind === 'limits' ? resources?.limits?.[name ?? ''] : resources?.requests?.[name ?? '']
  const whole = name === 'cpu' ? node.allocatableCpu : node.allocatableMemoryBytes
  const value = quantity(asked) ?? (kind === 'limits' ? whole : 0)
  return String(Math.ceil(value / (quantity(divisor) || 1)))
}

/** Limits in the words of a runtime. */
export function resourcesOf({ resources }: PodContainer): Resources {
  const [cpuLimit, memory] = [quantity(resources?.limits?.['cpu']), quantity(resources?.limits?.['memory'])]
  const cpuRequest = quantity(resources?.requests?.['cpu'])
  return {
    ...(cpuLimit === undefined ? {} : { cpuLimitMilli: Math.round(cpuLimit * 1000) }),
    cpuRequestMilli: Math.round((cpuRequest ?? cpuLimit ?? 0) * 1000),
    ...(memory === undefined ? {} : { memoryLimitBytes: Math.floor(memory) }),
  }
}

export function configMapOf(sources: Sources, name: string): LinkConfigMap {
  const map = sources.configMap(name)
  if (map === undefined) throw missing(`configmap "${name}"`)
  return map
}

export function secretOf(sources: Sources, name: string): LinkSecret {
  const secret = sources.secret(name)
  if (secret === undefined) throw missing(`secret "${name}"`)
  return secret
}

const decoded = (secret: LinkSecret): Record<string, string> =>
  Object.fromEntries(
    Object.entries(secret.data ?? {}).map(([name, value]) => [name, Buffer.from(value, 'base64').toString('utf8')]),
  )

/** As the kubelet words it. */
const missing = (what: string): SluiceError =>
  new SluiceError('SLUICE_POD_CONFIG', `${what} not found`, { hint: 'Create it; the pod goes on by itself.' })
