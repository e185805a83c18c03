import { isIP } from 'node:net'
import type { Clock } from '../../api/clock.ts'
import { type SluiceError, toSluiceError } from '../../api/errors.ts'
import type { NodeFace } from '../gateways/node-keeper.ts'
import type { CertificateAuthority, ServerNames } from '../join/authority.ts'
import type { KubeClient } from '../kube/client.ts'
import { onPort } from '../ports.ts'
import { keepServerCertificate, SERVER_DAYS } from '../server-certificate.ts'
import type { StreamBroker } from '../streams/broker.ts'
import { clientAuthorities } from './client-authorities.ts'
import { startKubeletServer } from './server.ts'
import { StatsKeeper } from './stats-keeper.ts'

export interface KubeletFaceOptions {
  readonly host: string
  /** Host that API servers reach; may be in brackets. */
  readonly advertised: string
  readonly port: number | undefined
  readonly lastPort: number | undefined
  readonly authority: CertificateAuthority
  readonly names: { dns: string[]; ips: string[] } & ServerNames
  readonly client: KubeClient
  readonly broker: StreamBroker
  readonly gateways: () => readonly string[]
  readonly clock: Clock
  readonly signal: AbortSignal
  readonly onPortMoved: (error: SluiceError) => void
  readonly onTrouble: (what: string, error: SluiceError) => void
}

export interface KubeletFace extends AsyncDisposable {
  readonly node: NodeFace
}

/** The port of kubelets. */
const DEFAULT_PORT = 10_250

/** Opens the node face of all gateways and says what their Nodes are to publish of it. */
export async function openKubeletFace(options: KubeletFaceOptions): Promise<KubeletFace> {
  const { host, authority, names, client, broker, clock, signal, onTrouble } = options
  const serverKey = await authority.issueServer('sluice-kubelet', names, SERVER_DAYS)
  const ca = [authority.caPem, ...(await clientAuthorities(client, signal, onTrouble))]
  const tls = { key: serverKey.keyPem, cert: serverKey.certPem, ca }
  const stats = new StatsKeeper({ broker, clock, gateways: options.gateways })
  const preferred = [options.lastPort, DEFAULT_PORT]
  const server = await onPort(options.port, preferred, 'SLUICE_KUBELET_PORT_BUSY', options.onPortMoved, (port) =>
    startKubeletServer({
      ...{ host, port, tls, client, broker, stats, clock },
      onTrouble: (error) => onTrouble('node face', toSluiceError(error)),
    }),
  )
  keepServerCertificate(clock, signal, authority, names, server, onTrouble)
  return {
    node: { addresses: addressesOf(options.advertised.replace(/^\[|\]$/g, '')), port: server.port },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
}

/**
 * An API server takes the Hostname first unless it was told otherwise, so that too has to lead here: a gateway behind
 * NAT has no address that would.
 */
const addressesOf = (host: string): NodeFace['addresses'] => [
  { type: 'Hostname', address: host },
  { type: isIP(host) === 0 ? 'InternalDNS' : 'InternalIP', address: host },
]
