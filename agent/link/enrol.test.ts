import { execFileSync } from 'node:child_process'
import { createPublicKey, generateKeyPairSync, verify, X509Certificate } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join as joinPath } from 'node:path'
import type { TLSSocket } from 'node:tls'
import fc from 'fast-check'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { formatJoinToken, type JoinToken, parseJoinToken, publicKeyPin } from '../../api/link/join.ts'
import { certificateRequest } from './csr.ts'
import { join, renew } from './enrol.ts'
import { expiresAtMs, type Identity, loadIdentity, renewAtMs, saveIdentity } from './identity.ts'

const newKey = () => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey

/** A certificate authority made by OpenSSL: nothing of ours checks our own requests. */
class OpensslAuthority {
  readonly directory = mkdtempSync(joinPath(tmpdir(), 'sluice-ca-'))
  readonly #extensions = this.file('extensions')

  constructor() {
    this.#run(
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-days',
      '2',
      '-subj',
      '/CN=Test CA',
      '-keyout',
      this.file('ca.key'),
      '-out',
      this.file('ca.crt'),
    )
    this.#run(
      'req',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-subj',
      '/CN=hub',
      '-keyout',
      this.file('hub.key'),
      '-out',
      this.file('hub.csr'),
    )
    this.#sign('hub.csr', 'hub.crt', 'subjectAltName=IP:127.0.0.1', '1')
  }

  get caPem(): string {
    return this.read('ca.crt')
  }

  certify(csrPem: string, days = '1'): string {
    writeFileSync(this.file('gateway.csr'), csrPem)
    this.#run('req', '-in', this.file('gateway.csr'), '-noout', '-verify')
    this.#sign('gateway.csr', 'gateway.crt', 'extendedKeyUsage=clientAuth', days)
    return this.read('gateway.crt')
  }

  subjectOf(csrPem: string): string {
    writeFileSync(this.file('gateway.csr'), csrPem)
    return this.#run('req', '-in', this.file('gateway.csr'), '-noout', '-subject', '-verify', '-nameopt', 'utf8')
  }

  read(name: string): string {
    return readFileSync(this.file(name), 'utf8')
  }

  file(name: string): string {
    return joinPath(this.directory, name)
  }

  #sign(request: string, certificate: string, extension: string, days: string): void {
    writeFileSync(this.#extensions, extension)
    this.#run(
      'x509',
      '-req',
      '-in',
      this.file(request),
      '-CA',
      this.file('ca.crt'),
      '-CAkey',
      this.file('ca.key'),
      '-CAcreateserial',
      '-days',
      days,
      '-extfile',
      this.#extensions,
      '-out',
      this.file(certificate),
    )
  }

  #run(...args: string[]): string {
    return execFileSync('openssl', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
  }
}

interface Seen {
  readonly path: string
  readonly body: Record<string, string>
  readonly client: string | undefined
}

let authority: OpensslAuthority
let server: ReturnType<typeof createServer>
let url = ''
let seen: Seen[] = []
let answer: (body: Record<string, string>) => { status: number; body: unknown } = () => ({ status: 500, body: {} })

beforeAll(async () => {
  authority = new OpensslAuthority()
  const tls = { key: authority.read('hub.key'), cert: authority.read('hub.crt') + authority.caPem, ca: authority.caPem }
  server = createServer({ ...tls, requestCert: true, rejectUnauthorized: false }, async (request, response) => {
    let text = ''
    for await (const chunk of request) text += String(chunk)
    const socket = request.socket as TLSSocket
    const body = JSON.parse(text) as Record<string, string>
    seen.push({
      path: request.url ?? '',
      body,
      client: socket.authorized ? String(socket.getPeerCertificate().subject.CN) : undefined,
    })
    const { status, body: out } = answer(body)
    response.writeHead(status)
    response.end(typeof out === 'string' ? out : JSON.stringify(out))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterEach(() => {
  seen = []
})
afterAll(async () => {
  await new Promise<void>((resolve) => server.close(() => resolve()))
  rmSync(authority.directory, { recursive: true, force: true })
})

const tokenFor = (changes: Partial<JoinToken> = {}) =>
  formatJoinToken({
    hubUrl: url,
    gateway: 'gw-1',
    secret: 'open sesame',
    pin: publicKeyPin(authority.caPem),
    ...changes,
  })
const certify = (body: Record<string, string>) => ({
  status: 200,
  body: { certPem: authority.certify(body['csrPem']!), caPem: authority.caPem, hubUrl: url.replace('https', 'wss') },
})

describe('a certificate request', () => {
  it('is accepted by OpenSSL, for names of every length and script', () => {
    for (const name of ['gw-1', 'x', 'a'.repeat(64), 'büro-3', '水門']) {
      const key = newKey()
      const request = certificateRequest(key, name)
      expect(authority.subjectOf(request)).toContain(name)
      expect(new X509Certificate(authority.certify(request)).checkPrivateKey(key)).toBe(true)
    }
  })

  it('cuts a name that X.509 does not allow to be longer', () => {
    expect(() => authority.certify(certificateRequest(newKey(), 'a'.repeat(253)))).not.toThrow()
  })
})

describe('a join token', () => {
  it('reads as it was written', () => {
    const name = fc.stringMatching(/^[a-z0-9]([-a-z0-9.]{0,30}[a-z0-9])?$/)
    fc.assert(
      fc.property(name, fc.string({ minLength: 1 }), (gateway, secret) => {
        const token: JoinToken = { hubUrl: 'https://hub:8443', gateway, secret, pin: 'ab'.repeat(32) }
        expect(parseJoinToken(` ${formatJoinToken(token)}\n`)).toEqual(token)
      }),
    )
  })

  it('that was damaged is refused by name and never quoted', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.json().map((json) => `sluice1.${Buffer.from(json).toString('base64url')}`),
        ),
        (text) => {
          expect(() => parseJoinToken(text)).toThrow(expect.objectContaining({ code: 'SLUICE_JOIN_TOKEN_MALFORMED' }))
        },
      ),
    )
  })
})

describe('joining', () => {
  it('gets a certificate for a key that never leaves the gateway', async () => {
    answer = certify
    const identity = await join(tokenFor())
    expect(identity).toMatchObject({ gateway: 'gw-1', hubUrl: url.replace('https', 'wss'), caPem: authority.caPem })
    expect(seen).toHaveLength(1)
    expect(JSON.stringify(seen)).not.toContain('PRIVATE KEY')
    const directory = mkdtempSync(joinPath(tmpdir(), 'sluice-id-'))
    saveIdentity(directory, identity)
    expect(loadIdentity(directory)).toEqual(identity)
    expect(statSync(joinPath(directory, 'identity.json')).mode & 0o777).toBe(0o600)
    rmSync(directory, { recursive: true })
  })

  it('sends nothing to a server without the pinned authority', async () => {
    await expect(join(tokenFor({ pin: '0'.repeat(64) }))).rejects.toMatchObject({ code: 'SLUICE_JOIN_PIN' })
    expect(seen).toEqual([])
  })

  it('says what the hub refused, with its hint', async () => {
    answer = () => ({
      status: 403,
      body: { code: 'SLUICE_JOIN_TOKEN_USED', message: 'used before', hint: 'Make another.' },
    })
    await expect(join(tokenFor())).rejects.toMatchObject({
      code: 'SLUICE_JOIN_REFUSED',
      message: expect.stringContaining('SLUICE_JOIN_TOKEN_USED'),
      hint: 'Make another.',
    })
  })

  it('refuses an answer that is not for its key, is cut short or too large', async () => {
    for (const body of [
      { certPem: authority.caPem, caPem: authority.caPem, hubUrl: 'wss://127.0.0.1' },
      { certPem: 'no', caPem: '', hubUrl: '' },
      {},
      '{"certPem":',
    ]) {
      answer = () => ({ status: 200, body })
      await expect(join(tokenFor())).rejects.toMatchObject({ code: 'SLUICE_JOIN_ANSWER' })
    }
    answer = () => ({ status: 200, body: 'x'.repeat(100_000) })
    await expect(join(tokenFor())).rejects.toMatchObject({ code: 'SLUICE_JOIN_UNREACHABLE' })
  })

  it('says when nobody is there', async () => {
    await expect(join(tokenFor({ hubUrl: 'https://127.0.0.1:1' }))).rejects.toMatchObject({
      code: 'SLUICE_JOIN_UNREACHABLE',
    })
  })
})

describe('renewing', () => {
  let identity: Identity
  beforeAll(async () => {
    answer = certify
    identity = await join(tokenFor())
    seen = []
  })

  it('makes a new key and proves who it is with the certificate in force', async () => {
    answer = certify
    const renewed = await renew(identity, Date.now())
    expect(seen).toMatchObject([{ path: '/renew', client: 'gw-1' }])
    expect(Object.keys(seen[0]!.body)).toEqual(['csrPem'])
    expect(renewed.keyPem).not.toBe(identity.keyPem)
  })

  it('proves it with a signature when the certificate has expired', async () => {
    answer = certify
    await renew(identity, expiresAtMs(identity) + 1000)
    const { body, client } = seen[0]!
    expect(client).toBeUndefined()
    const publicKey = createPublicKey(identity.certPem)
    expect(verify('sha256', Buffer.from(body['csrPem']!), publicKey, Buffer.from(body['signature']!, 'base64'))).toBe(
      true,
    )
    expect(body['certPem']).toBe(identity.certPem)
  })

  it('is due between 70 and 90 % of the life of the certificate', () => {
    const { validFromDate, validToDate } = new X509Certificate(identity.certPem)
    const lifeMs = validToDate.getTime() - validFromDate.getTime()
    expect(renewAtMs(identity, 0.7)).toBe(validFromDate.getTime() + 0.7 * lifeMs)
  })
})
