import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { TLSSocket } from 'node:tls'
import { SluiceError } from '../../api/errors.ts'
import { ADMIN_GROUP, readSubject } from '../join/identity.ts'

interface Caller {
  readonly name: string
}

/**
 * Who calls: an administrator by a client certificate of our authority (group `system:masters`), or whoever knows the
 * bearer token. Throws SLUICE_API_UNAUTHENTICATED (nobody) or SLUICE_API_FORBIDDEN (somebody else, such as a gateway).
 */
export function authenticate(request: IncomingMessage, bearerToken: string | undefined): Caller {
  const offered = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1]
  if (offered !== undefined && bearerToken !== undefined && sameSecret(offered, bearerToken)) return { name: 'console' }
  const socket = request.socket
  const certificate = socket instanceof TLSSocket && socket.authorized ? socket.getPeerX509Certificate() : undefined
  if (certificate !== undefined) {
    const { commonName, organizations } = readSubject(certificate.subject)
    if (organizations.includes(ADMIN_GROUP)) return { name: commonName ?? 'admin' }
    throw new SluiceError('SLUICE_API_FORBIDDEN', `'${commonName ?? 'this certificate'}' may not use this API`, {
      hint: "Use an administrator's certificate, such as the one in the kubeconfig of the cloud core.",
    })
  }
  throw new SluiceError('SLUICE_API_UNAUTHENTICATED', 'this API needs a client certificate or a bearer token', {
    hint: 'Use the certificate in the kubeconfig of the cloud core, or the token in its data folder.',
  })
}

export function sameSecret(a: string, b: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(a), digest(b))
}
