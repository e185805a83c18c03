import { createPrivateKey, generateKeyPairSync, type KeyObject, sign, X509Certificate } from 'node:crypto'
import { request } from 'node:https'
import { connect, type DetailedPeerCertificate } from 'node:tls'
import { SluiceError } from '../../api/errors.ts'
import {
  JOIN_PATH,
  type JoinAnswer,
  type JoinRequest,
  type JoinToken,
  MAX_JOIN_BODY_BYTES,
  parseJoinToken,
  publicKeyPin,
  RENEW_PATH,
  type RenewRequest,
} from '../../api/link/join.ts'
import { certificateRequest } from './csr.ts'
import { expiresAtMs, type Identity } from './identity.ts'

const TIMEOUT_MS = 15_000
const MAX_CHAIN = 8

/**
 * Joins with a token: makes a key that never leaves this machine and has the hub certify it. The secret is sent only
 * over a connection that the pinned certificate authority vouches for. A token is good for one key: whoever tries again
 * because the answer got lost gives the same one.
 */
export async function join(tokenText: string, signal?: AbortSignal, key: KeyObject = newKey()): Promise<Identity> {
  const token = parseJoinToken(tokenText)
  const caPem = await pinnedAuthority(token, signal)
  const body: JoinRequest = { token: tokenText.trim(), csrPem: certificateRequest(key, token.gateway) }
  const answer = await post(new URL(JOIN_PATH, token.hubUrl), body, { ca: caPem }, signal)
  return identityOf(token.gateway, key, answer)
}

/**
 * Gets a new certificate for a new key: over mutual TLS with the one in force, or, when that has expired, with a
 * signature by its key.
 */
export async function renew(identity: Identity, nowMs: number, signal?: AbortSignal): Promise<Identity> {
  const url = new URL(identity.hubUrl)
  url.protocol = 'https:'
  url.pathname = RENEW_PATH
  const key = newKey()
  const csrPem = certificateRequest(key, identity.gateway)
  const expired = nowMs >= expiresAtMs(identity)
  const body: RenewRequest = expired
    ? {
        csrPem,
        certPem: identity.certPem,
        signature: sign('sha256', Buffer.from(csrPem), createPrivateKey(identity.keyPem)).toString('base64'),
      }
    : { csrPem }
  const client = expired ? {} : { key: identity.keyPem, cert: identity.certPem }
  const answer = await post(url, body, { ca: identity.caPem, ...client }, signal)
  return identityOf(identity.gateway, key, answer)
}

function identityOf(gateway: string, key: KeyObject, { certPem, caPem, hubUrl }: JoinAnswer): Identity {
  let matches = false
  try {
    matches = new X509Certificate(certPem).checkPrivateKey(key)
  } catch {
    // Unreadable is as bad as foreign.
  }
  if (!matches || !URL.canParse(hubUrl) || new URL(hubUrl).protocol !== 'wss:') {
    throw unusable('it is not a certificate for the key that was offered')
  }
  const keyPem = key.export({ type: 'pkcs8', format: 'pem' }).toString()
  return { gateway, hubUrl: hubUrl.replace(/\/+$/, ''), keyPem, certPem, caPem }
}

export const newKey = (): KeyObject => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey

/**
 * Asks the hub for its chain, without sending anything, and returns the certificate whose public key has the pin. The
 * connection that carries the secret then trusts that authority alone, with every check TLS makes.
 */
function pinnedAuthority(token: JoinToken, signal: AbortSignal | undefined): Promise<string> {
  const { hostname, port } = new URL(token.hubUrl)
  return new Promise((resolve, reject) => {
    const socket = connect({
      host: hostname.replace(/^\[|\]$/g, ''),
      port: Number(port || 443),
      ...(/^[\d.]+$|:/.test(hostname) ? {} : { servername: hostname }),
      minVersion: 'TLSv1.3',
      rejectUnauthorized: false,
    })
    const onAbort = () => socket.destroy(signal?.reason)
    signal?.addEventListener('abort', onAbort, { once: true })
    socket.setTimeout(TIMEOUT_MS, () => socket.destroy(new Error(`no answer within ${TIMEOUT_MS / 1000} s`)))
    socket.once('close', () => signal?.removeEventListener('abort', onAbort))
    socket.once('error', (error) => reject(unreachable(token.hubUrl, error)))
    socket.once('secureConnect', () => {
      const authority = findPinned(socket.getPeerCertificate(true), token.pin)
      socket.destroy()
      if (authority !== undefined) resolve(authority)
      else {
        reject(
          new SluiceError('SLUICE_JOIN_PIN', `The server at ${token.hubUrl} is not the hub that made this token`, {
            hint: 'Check the address; if the hub was set up anew, make a new token. Nothing was sent.',
          }),
        )
      }
    })
  })
}

function findPinned(leaf: DetailedPeerCertificate, pin: string): string | undefined {
  let certificate: DetailedPeerCertificate | undefined = leaf
  for (let depth = 0; certificate?.raw !== undefined && depth < MAX_CHAIN; depth++) {
    const parsed = new X509Certificate(certificate.raw)
    if (publicKeyPin(parsed) === pin) return parsed.toString()
    if (certificate.issuerCertificate === certificate) return undefined
    certificate = certificate.issuerCertificate
  }
  return undefined
}

interface TlsOptions {
  readonly ca: string
  readonly key?: string
  readonly cert?: string
}

function post(
  url: URL,
  body: JoinRequest | RenewRequest,
  tls: TlsOptions,
  signal: AbortSignal | undefined,
): Promise<JoinAnswer> {
  const text = JSON.stringify(body)
  return new Promise((resolve, reject) => {
    const outgoing = request(
      url,
      {
        method: 'POST',
        ...tls,
        minVersion: 'TLSv1.3',
        agent: false,
        timeout: TIMEOUT_MS,
        headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) },
        ...(signal === undefined ? {} : { signal }),
      },
      (response) => {
        const chunks: Buffer[] = []
        let bytes = 0
        response.on('data', (chunk: Buffer) => {
          bytes += chunk.length
          if (bytes > MAX_JOIN_BODY_BYTES) response.destroy(new Error('the answer is too large'))
          else chunks.push(chunk)
        })
        response.on('error', (error) => reject(unreachable(url.origin, error)))
        response.on('end', () => {
          try {
            resolve(readAnswer(response.statusCode ?? 0, Buffer.concat(chunks).toString()))
          } catch (error) {
            reject(error)
          }
        })
      },
    )
    outgoing.on('timeout', () => outgoing.destroy(new Error(`no answer within ${TIMEOUT_MS / 1000} s`)))
    outgoing.on('error', (error) => reject(unreachable(url.origin, error)))
    outgoing.end(text)
  })
}

function readAnswer(status: number, text: string): JoinAnswer {
  let body: unknown
  try {
    body = JSON.parse(text)
  } catch {
    throw unusable(`it answered with status ${status} and no JSON`)
  }
  const fields = typeof body === 'object' && body !== null ? (body as Readonly<Record<string, unknown>>) : {}
  if (status !== 200) {
    const { code, message, hint } = fields
    throw new SluiceError(
      'SLUICE_JOIN_REFUSED',
      `The hub refused: ${String(code ?? status)}: ${String(message ?? '')}`,
      {
        hint: typeof hint === 'string' ? hint : 'Make a new token with `sluice token create` and join again.',
      },
    )
  }
  const { certPem, caPem, hubUrl } = fields
  if (typeof certPem !== 'string' || typeof caPem !== 'string' || typeof hubUrl !== 'string') {
    throw unusable('a field is missing')
  }
  return { certPem, caPem, hubUrl }
}

function unusable(what: string): SluiceError {
  return new SluiceError('SLUICE_JOIN_ANSWER', `The hub's answer cannot be used: ${what}`, {
    hint: 'Check that the address in the token is that of a Sluice hub of a fitting release.',
  })
}

function unreachable(where: string, cause: Error): SluiceError {
  return new SluiceError('SLUICE_JOIN_UNREACHABLE', `The hub at ${where} cannot be reached: ${cause.message}`, {
    hint: 'Check the network, the address and that the cloud core runs.',
    cause,
  })
}
