/** How the subject of a client certificate says who somebody is. */
export const GATEWAY_GROUP = 'sluice:gateways'
export const ADMIN_GROUP = 'system:masters'
const GATEWAY_PREFIX = 'sluice:gateway:'

export const gatewayUser = (gateway: string): string => GATEWAY_PREFIX + gateway

export interface CertificateSubject {
  readonly commonName: string | undefined
  readonly organizations: readonly string[]
}

/** Reads a subject as node:crypto's X509Certificate prints it: one `KEY=value` a line. */
export function readSubject(subject: string): CertificateSubject {
  let commonName: string | undefined
  const organizations: string[] = []
  for (const line of subject.split('\n')) {
    if (line.startsWith('CN=')) commonName = line.slice(3)
    else if (line.startsWith('O=')) organizations.push(line.slice(2))
  }
  return { commonName, organizations }
}

/** The gateway a subject names, if it names one. */
export function gatewayOf(subject: string): string | undefined {
  const { commonName, organizations } = readSubject(subject)
  if (commonName === undefined || !organizations.includes(GATEWAY_GROUP)) return undefined
  return commonName.startsWith(GATEWAY_PREFIX) ? commonName.slice(GATEWAY_PREFIX.length) : undefined
}
