import { readFileSync } from 'node:fs'
import { type Clock, systemClock } from '../api/clock.ts'
import { toSluiceError } from '../api/errors.ts'
import { kubeconfigFor } from './apiserver/kubeconfig.ts'
import { startApiServer } from './apiserver/server.ts'
import { startApiThread } from './apiserver/thread.ts'
import { type openDataFolder, reachableHost } from './data-folder.ts'
import { type CertificateAuthority, writeSecretFile } from './join/authority.ts'
import { ADMIN_GROUP } from './join/identity.ts'
import { loadKubeconfig } from './kube/config.ts'
import type { CloudCoreOptions, CloudLog } from './options.ts'
import { onPort, portMoved } from './ports.ts'

/** Says that this process runs in the cluster it works for, as a pod. */
export const IN_CLUSTER = 'in-cluster'
const DEFAULT_API_PORT = 6443

interface ApiParts {
  readonly clock: Clock
  readonly log: CloudLog
  readonly stack: AsyncDisposableStack
  readonly folder: ReturnType<typeof openDataFolder>
  readonly authority: CertificateAuthority
  readonly host: string
  readonly lastPort: number | undefined
  readonly names: { dns: string[]; ips: string[] }
}

/** The Kubernetes API to work with: the embedded one, started here, or somebody's cluster. Says where its kubeconfig is. */
export async function openApi(
  options: CloudCoreOptions,
  parts: ApiParts,
): Promise<{ kubeconfig: string; port?: number }> {
  if (options.kubeconfig === IN_CLUSTER) return { kubeconfig: IN_CLUSTER }
  if (options.kubeconfig !== undefined) {
    writeSecretFile(parts.folder.kubeconfig, portableKubeconfig(options.kubeconfig))
    return { kubeconfig: options.kubeconfig }
  }
  const { clock, log, stack, folder, authority, host, names } = parts
  const serverKey = await authority.issueServer('sluice-api', names, 825)
  const toNodes = await authority.issueClient(
    { commonName: 'kube-apiserver-kubelet-client', organization: ADMIN_GROUP },
    825,
  )
  const nodes = { ca: authority.caPem, key: toNodes.keyPem, cert: toNodes.certPem }
  const server = await onPort(
    options.apiPort,
    [parts.lastPort, DEFAULT_API_PORT],
    'SLUICE_API_PORT_BUSY',
    portMoved(log),
    (port) => {
      const tls = { key: serverKey.keyPem, cert: serverKey.certPem, ca: authority.caPem }
      const onError = (error: unknown) => log('warn', `api server: ${toSluiceError(error).message}`)
      const api = { dataDir: folder.api, host, port, tls, nodes, onError }
      // Another clock cannot be handed to another thread.
      return clock === systemClock ? startApiThread(api) : startApiServer({ ...api, clock })
    },
  )
  stack.use(server)
  if (server.setAside !== undefined) log('error', 'a damaged database was set aside', { file: server.setAside })
  const admin = await authority.issueClient({ commonName: 'admin', organization: ADMIN_GROUP }, 3650)
  const url = `https://${reachableHost(host, options.advertise)}:${server.port}`
  const { certPem, keyPem } = admin
  writeSecretFile(folder.kubeconfig, kubeconfigFor({ url, caPem: authority.caPem, certPem, keyPem }))
  return { kubeconfig: folder.kubeconfig, port: server.port }
}

/** A kubeconfig that works from any folder: certificates that it names by path are put inside. */
function portableKubeconfig(path: string): string {
  const { server, caPem, certPem, keyPem } = loadKubeconfig(path)
  if (caPem === undefined || certPem === undefined || keyPem === undefined) return readFileSync(path, 'utf8')
  return kubeconfigFor({ url: server, caPem, certPem, keyPem })
}
