import { createPublicKey, verify, X509Certificate } from 'node:crypto'
import type { Clock } from '../../api/clock.ts'
import { SluiceError } from '../../api/errors.ts'
import { formatJoinToken, type JoinAnswer, parseJoinToken, RENEWAL_GRACE_DAYS } from '../../api/link/join.ts'
import { type CertificateAuthority, canonicalSerial, requestKeyId } from './authority.ts'
import { GATEWAY_GROUP, gatewayOf, gatewayUser } from './identity.ts'
import type { JoinRegistry, TokenView } from './registry.ts'

const DAY_MS = 86_400_000
export const CERTIFICATE_DAYS = 90
export const DEFAULT_TOKEN_TTL_MS = 3_600_000
const MAX_TOKEN_TTL_MS = 30 * DAY_MS

export interface JoinServiceOptions {
  readonly authority: CertificateAuthority
  readonly registry: JoinRegistry
  readonly clock: Clock
  /** `https://host:port` under which gateways reach the hub; known once the server listens. */
  readonly hubUrl: () => string
  /** Told about everything that was granted or refused. */
  readonly audit: (entry: JoinAudit) => void
  /** After a gateway joined with a new key: older connections have to go. */
  readonly onJoined: (gateway: string, serial: string) => void
}

export interface JoinAudit {
  readonly action: 'tokenCreated' | 'tokenRevoked' | 'joined' | 'renewed' | 'revoked' | 'refused'
  readonly gateway: string | undefined
  readonly detail: string
  readonly code?: string
}

/** Issues, renews and revokes the identities of gateways. */
export class JoinService {
  readonly #options: JoinServiceOptions

  constructor(options: JoinServiceOptions) {
    this.#options = options
  }

  /** A token for one gateway name, usable once within `ttlMs` (1 s to 30 days). */
  createToken(request: { readonly gateway: string; readonly ttlMs?: number }): {
    token: string
    gateway: string
    expiresAt: string
  } {
    const { gateway, ttlMs = DEFAULT_TOKEN_TTL_MS } = request
    if (!/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(gateway)) {
      throw new SluiceError('SLUICE_JOIN_BAD_NAME', `'${gateway}' cannot name a gateway`, {
        hint: 'Use lower-case letters, digits and hyphens, at most 63, beginning and ending with a letter or digit.',
      })
    }
    if (!(ttlMs >= 1000 && ttlMs <= MAX_TOKEN_TTL_MS)) {
      throw new SluiceError('SLUICE_JOIN_BAD_TTL', `a token cannot live for ${ttlMs} ms`, {
        hint: 'Choose between 1s and 30d.',
      })
    }
    const { secret, expiresMs } = this.#options.registry.createToken(gateway, ttlMs)
    const expiresAt = new Date(expiresMs).toISOString()
    this.#options.audit({ action: 'tokenCreated', gateway, detail: `token valid until ${expiresAt}` })
    const pin = this.#options.authority.pin
    return { token: formatJoinToken({ hubUrl: this.#options.hubUrl(), gateway, secret, pin }), gateway, expiresAt }
  }

  tokens(): readonly TokenView[] {
    return this.#options.registry.tokens()
  }

  /** Makes an unused token worthless, by its id, or all of a gateway's; returns how many there were. */
  revokeTokens(idOrGateway: string): number {
    const count = this.#options.registry.takeBackTokens(idOrGateway)
    const detail = `${count} unused token(s) of '${idOrGateway}' revoked`
    if (count > 0) this.#options.audit({ action: 'tokenRevoked', gateway: undefined, detail })
    return count
  }

  async join(body: unknown): Promise<JoinAnswer> {
    const { token, csrPem } = fields(body)
    let gateway: string | undefined
    try {
      if (token === undefined || csrPem === undefined) throw badRequest('needs token and csrPem')
      const parsed = parseJoinToken(token)
      gateway = parsed.gateway
      const keyId = await requestKeyId(csrPem)
      const { firstUse } = this.#options.registry.redeem(parsed.secret, gateway, keyId)
      const issued = await this.#issue(gateway, csrPem)
      if (firstUse) {
        const replaced = this.#options.registry.revoke(gateway, 'replaced by a later join', issued.serial)
        const detail = replaced > 0 ? `joined; ${replaced} older certificate(s) revoked` : 'joined'
        this.#options.audit({ action: 'joined', gateway, detail })
      }
      this.#options.onJoined(gateway, issued.serial)
      return issued.answer
    } catch (thrown) {
      throw this.#refused(gateway, thrown)
    }
  }

  /** `peer` is the client certificate that the TLS layer verified, or any it was shown; its signature is checked here. */
  async renew(body: unknown, peer: X509Certificate | undefined): Promise<JoinAnswer> {
    const { csrPem, certPem, signature } = fields(body)
    let gateway: string | undefined
    try {
      if (csrPem === undefined) throw badRequest('needs csrPem')
      const certificate = peer ?? provenCertificate(certPem, signature, csrPem)
      gateway = this.#holderOf(certificate)
      const issued = await this.#issue(gateway, csrPem)
      this.#options.audit({ action: 'renewed', gateway, detail: `certificate ${issued.serial}` })
      return issued.answer
    } catch (thrown) {
      throw this.#refused(gateway, thrown)
    }
  }

  revoke(gateway: string, reason = 'revoked by an administrator'): number {
    const count = this.#options.registry.revoke(gateway, reason)
    this.#options.audit({ action: 'revoked', gateway, detail: `${count} certificate(s): ${reason}` })
    return count
  }

  #holderOf(certificate: X509Certificate): string {
    const { authority, registry, clock } = this.#options
    if (!certificate.verify(createPublicKey(authority.caPem))) {
      throw new SluiceError('SLUICE_JOIN_CERT_UNKNOWN', 'the certificate was not issued here')
    }
    const gateway = gatewayOf(certificate.subject)
    if (gateway === undefined) throw new SluiceError('SLUICE_JOIN_CERT_UNKNOWN', 'the certificate names no gateway')
    registry.checkCertificate(canonicalSerial(certificate.serialNumber), gateway)
    const expiredMs = clock.now() - Date.parse(certificate.validTo)
    if (expiredMs > RENEWAL_GRACE_DAYS * DAY_MS) {
      throw new SluiceError(
        'SLUICE_JOIN_CERT_EXPIRED',
        `the certificate of gateway '${gateway}' expired more than ${RENEWAL_GRACE_DAYS} days ago`,
        { hint: 'Join the gateway again: sluice token create, then sluice join' },
      )
    }
    return gateway
  }

  async #issue(gateway: string, csrPem: string): Promise<{ answer: JoinAnswer; serial: string }> {
    const { authority, registry, hubUrl } = this.#options
    const subject = { commonName: gatewayUser(gateway), organization: GATEWAY_GROUP }
    const issued = await authority.signGateway(csrPem, subject, CERTIFICATE_DAYS)
    registry.recordCertificate(issued.serial, gateway, issued.notAfterMs)
    const answer = { certPem: issued.certPem, caPem: authority.caPem, hubUrl: hubUrl().replace(/^http/, 'ws') }
    return { answer, serial: issued.serial }
  }

  #refused(gateway: string | undefined, thrown: unknown): unknown {
    if (thrown instanceof SluiceError) {
      this.#options.audit({ action: 'refused', gateway, detail: thrown.message, code: thrown.code })
    }
    return thrown
  }
}

function provenCertificate(certPem: string | undefined, signature: string | undefined, csrPem: string) {
  if (certPem === undefined || signature === undefined) {
    throw badRequest('needs a client certificate, or certPem and signature')
  }
  let certificate: X509Certificate
  let proven: boolean
  try {
    certificate = new X509Certificate(certPem)
    proven = verify('sha256', Buffer.from(csrPem), certificate.publicKey, Buffer.from(signature, 'base64'))
  } catch (cause) {
    throw new SluiceError('SLUICE_JOIN_BAD_REQUEST', 'the certificate or the signature cannot be read', { cause })
  }
  if (!proven) {
    throw new SluiceError('SLUICE_JOIN_NOT_PROVEN', 'the request is not signed by the key of the certificate it shows')
  }
  return certificate
}

function fields(body: unknown): { token?: string; csrPem?: string; certPem?: string; signature?: string } {
  if (typeof body !== 'object' || body === null) return {}
  const texts = Object.entries(body).filter((entry): entry is [string, string] => typeof entry[1] === 'string')
  return Object.fromEntries(texts)
}

const badRequest = (why: string) => new SluiceError('SLUICE_JOIN_BAD_REQUEST', `the request ${why}`)
