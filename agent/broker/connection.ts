import type { Duplex } from 'node:stream'
import { TLSSocket } from 'node:tls'

/** Where a connection comes from; undefined when it is gone already. */
export function remoteAddress(connection: Duplex): string | undefined {
  const address = 'remoteAddress' in connection ? connection.remoteAddress : undefined
  return typeof address === 'string' ? address : undefined
}

/** The common name of a certificate that our authority signed. */
export function certificateUser(connection: Duplex): string | undefined {
  if (!(connection instanceof TLSSocket) || !connection.authorized) return undefined
  const name = connection.getPeerCertificate().subject?.CN
  return typeof name === 'string' ? name : undefined
}

/**
 * What is wrong with the protocol level of CONNECT. aedes answers it with return code 1 (MQTT 3.1.1, section 3.1.2.2), as
 * clients that speak MQTT 5 expect of a broker that does not, and ends the connection.
 */
export function versionProblem(version: number | undefined): string | undefined {
  if (version === 3 || version === 4) return undefined
  return (
    `speaks MQTT ${version}, this broker 3.1.1: set the client to 3.1.1, ` +
    'or give the agent a broker that speaks 5 with --mqtt-broker'
  )
}
