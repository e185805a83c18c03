import { connect } from 'node:net'
import type { Duplex } from 'node:stream'
import type { LinkPod, LinkSecret, PodContainer } from '../../../api/link/pods.ts'
import type { RegistryAuth } from '../runtimes/runtime.ts'

/** All containers of a pod, those that come first first. */
export const containersOf = ({ spec }: LinkPod): readonly PodContainer[] => [
  ...(spec.initContainers ?? []),
  ...spec.containers,
]

/** Those that look into it, too. */
export const everyContainerOf = (pod: LinkPod): readonly PodContainer[] => [
  ...containersOf(pod),
  ...(pod.spec.ephemeralContainers ?? []),
]

/** Ports of a container that the machine itself answers. */
export const portMappings = ({ ports = [] }: PodContainer) =>
  ports.flatMap(({ containerPort, hostPort, hostIP, protocol = 'TCP' }) =>
    hostPort === undefined || (protocol !== 'TCP' && protocol !== 'UDP' && protocol !== 'SCTP')
      ? []
      : [{ containerPort, hostPort, protocol, ...(hostIP === undefined ? {} : { hostIp: hostIP }) } as const],
  )

/** Name and password for a registry in a secret of the type kubernetes.io/dockerconfigjson. */
export function authIn(secret: LinkSecret | undefined, registry: string): RegistryAuth | undefined {
  const text = secret?.data?.['.dockerconfigjson']
  if (text === undefined) return undefined
  try {
    const { auths = {} } = JSON.parse(Buffer.from(text, 'base64').toString('utf8')) as {
      auths?: Record<string, { auth?: string; username?: string; password?: string }>
    }
    const entry = Object.entries(auths).find(([host]) =>
      host
        .replace(/^https?:\/\//, '')
        .split('/')[0]
        ?.endsWith(registry),
    )?.[1]
    if (entry?.username !== undefined && entry.password !== undefined)
      return { username: entry.username, password: entry.password }
    const [username, ...rest] = Buffer.from(entry?.auth ?? '', 'base64')
      .toString('utf8')
      .split(':')
    return username === undefined || rest.length === 0 ? undefined : { username, password: rest.join(':') }
  } catch {
    return undefined
  }
}

/** Connects to a port. */
export function tcp(host: string, port: number, signal: AbortSignal): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, signal })
    socket.once('error', reject)
    socket.once('connect', () => {
      socket.off('error', reject)
      socket.on('error', () => {})
      resolve(socket)
    })
  })
}

export const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1)
