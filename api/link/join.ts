import { createHash, X509Certificate } from 'node:crypto'
import { SluiceError } from '../errors.ts'

/**
 * How a gateway gets and renews its client certificate: two HTTPS requests with JSON bodies, on the same port as the
 * link. Bodies are at most `MAX_JOIN_BODY_BYTES`. An error is answered as `{code, message, hint}` with status 400
 * (unreadable request), 403 (refused: token replayed, expired, unknown or for another name, certificate revoked or too
 * long expired), 413 or 429.
 *
 *     POST /join    JoinRequest                               -> JoinAnswer
 *     POST /renew   RenewRequest                              -> JoinAnswer
 *
 * `/renew` is authorised in one of two ways: by mutual TLS with the certificate in force (body `{csrPem}` alone), or,
 * for a certificate that expired less than `RENEWAL_GRACE_DAYS` ago, without a client certificate, by proof of
 * possession: `certPem` is the expired certificate and `signature` is over the exact text of `csrPem`. Replaying such a
 * request yields a certificate only for the key inside the CSR, which the replayer does not have.
 *
 * The hub checks that the CSR's own signature is right and takes nothing but the public key from it: the name comes
 * from the token or the certificate that authorised the request.
 */
export const JOIN_PATH = '/join'
export const RENEW_PATH = '/renew'
export const MAX_JOIN_BODY_BYTES = 32 * 1024
export const RENEWAL_GRACE_DAYS = 90

export interface JoinRequest {
  /** The whole token as it was printed. */
  readonly token: string
  /** PKCS#10, EC P-256, ECDSA with SHA-256, subject `CN=<gateway>`. */
  readonly csrPem: string
}

export interface RenewRequest {
  readonly csrPem: string
  /** The expired certificate; only without mutual TLS. */
  readonly certPem?: string
  /** Base64 of the DER ECDSA-SHA256 signature by the expired certificate's key over the UTF-8 bytes of `csrPem`. */
  readonly signature?: string
}

export interface JoinAnswer {
  /** The gateway's client certificate: subject `CN=<gateway>`, extended key usage clientAuth. */
  readonly certPem: string
  /** Certificate authority (one or more, so that it can be replaced while gateways are away) that signs the hub. */
  readonly caPem: string
  /** `wss://host:port`, without a path: the agent appends `LINK_PATH`. `/renew` is at the same host and port. */
  readonly hubUrl: string
}

/** What a join token says. `secret` is the only part that must stay secret. */
export interface JoinToken {
  /** `https://host:port` of the hub. */
  readonly hubUrl: string
  readonly gateway: string
  readonly secret: string
  /** SHA-256 over the DER SubjectPublicKeyInfo of the CA, 64 lower-case hexadecimal digits. */
  readonly pin: string
}

const TOKEN_PREFIX = 'sluice1.'
const MAX_TOKEN_LENGTH = 4096

/** `sluice1.` and base64url of `{u, g, s, p}`. */
export function formatJoinToken(token: JoinToken): string {
  const body = JSON.stringify({ u: token.hubUrl, g: token.gateway, s: token.secret, p: token.pin })
  return TOKEN_PREFIX + Buffer.from(body).toString('base64url')
}

/** Reads a token; throws `SLUICE_JOIN_TOKEN_MALFORMED`, never quoting the token. */
export function parseJoinToken(text: string): JoinToken {
  const trimmed = text.trim()
  if (!trimmed.startsWith(TOKEN_PREFIX) || trimmed.length > MAX_TOKEN_LENGTH) {
    throw malformed(`does not start with '${TOKEN_PREFIX}'`)
  }
  let body: unknown
  try {
    body = JSON.parse(Buffer.from(trimmed.slice(TOKEN_PREFIX.length), 'base64url').toString())
  } catch {
    throw malformed('is cut short or was changed')
  }
  if (typeof body !== 'object' || body === null) throw malformed('has no content')
  const { u, g, s, p } = body as Record<string, unknown>
  if (typeof u !== 'string' || typeof g !== 'string' || typeof s !== 'string' || typeof p !== 'string') {
    throw malformed('lacks a field')
  }
  if (!URL.canParse(u) || new URL(u).protocol !== 'https:') throw malformed('names no https address')
  if (!/^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/.test(g)) throw malformed('names no gateway')
  if (!/^[0-9a-f]{64}$/.test(p) || s.length === 0) throw malformed('lacks the pin or the secret')
  return { hubUrl: u, gateway: g, secret: s, pin: p }
}

function malformed(what: string): SluiceError {
  return new SluiceError('SLUICE_JOIN_TOKEN_MALFORMED', `The join token ${what}`, {
    hint: 'Copy the whole line that `sluice token create` printed, or make a new token.',
  })
}

/** The pin of a certificate: SHA-256 over its DER SubjectPublicKeyInfo, in lower-case hexadecimal. */
export function publicKeyPin(certificate: X509Certificate | string): string {
  const parsed = typeof certificate === 'string' ? new X509Certificate(certificate) : certificate
  return createHash('sha256')
    .update(parsed.publicKey.export({ type: 'spki', format: 'der' }))
    .digest('hex')
}
