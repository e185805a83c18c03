import 'reflect-metadata'
import { createSign, generateKeyPairSync, webcrypto, X509Certificate } from 'node:crypto'
import { mkdtempSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import * as x509 from '@peculiar/x509'
import { beforeEach, describe, expect, it } from 'vitest'
import { parseJoinToken, publicKeyPin } from '../../api/link/join.ts'
import { VirtualClock } from '../../api/virtual-clock.ts'
import { CertificateAuthority, canonicalSerial } from './authority.ts'
import { gatewayOf } from './identity.ts'
import { type JoinAudit, JoinService } from './join-service.ts'
import { JoinRegistry } from './registry.ts'

const DAY_MS = 86_400_000
const EC = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }

async function request(name = 'CN=whatever') {
  const keys = await webcrypto.subtle.generateKey(EC, true, ['sign', 'verify'])
  const csr = await x509.Pkcs10CertificateRequestGenerator.create({ name, keys, signingAlgorithm: EC })
  const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey))
  const keyPem = `-----BEGIN PRIVATE KEY-----\n${pkcs8.toString('base64')}\n-----END PRIVATE KEY-----`
  return { csrPem: csr.toString('pem'), keyPem }
}

let clock: VirtualClock
let directory: string
let audit: JoinAudit[]
let registry: JoinRegistry
let service: JoinService
let authority: CertificateAuthority

beforeEach(async () => {
  clock = new VirtualClock()
  directory = mkdtempSync(join(tmpdir(), 'sluice-ca-'))
  authority = await CertificateAuthority.open(directory, clock)
  registry = new JoinRegistry(new DatabaseSync(':memory:'), clock)
  audit = []
  service = new JoinService({
    authority,
    registry,
    clock,
    hubUrl: () => 'https://hub.example:7443',
    audit: (entry) => audit.push(entry),
    onJoined: () => {},
  })
})

const code = async (promise: Promise<unknown>) => {
  const thrown = await promise.then(
    () => ({ code: 'none' }),
    (error) => error as { code: string },
  )
  return thrown.code
}

describe('the certificate authority', () => {
  it('keeps its key readable for its owner only and is the same after a restart', async () => {
    expect(statSync(join(directory, 'ca.key')).mode & 0o777).toBe(0o600)
    expect((await CertificateAuthority.open(directory, clock)).pin).toBe(authority.pin)
    expect(publicKeyPin(authority.caPem)).toBe(authority.pin)
  })

  it('issues server certificates with the names asked for', async () => {
    const server = await authority.issueServer('hub', { dns: ['localhost'], ips: ['127.0.0.1', '::1'] }, 90)
    const certificate = new X509Certificate(server.certPem)
    expect(certificate.checkHost('localhost')).toBe('localhost')
    expect(certificate.checkIP('127.0.0.1')).toBe('127.0.0.1')
    expect(certificate.ca).toBe(false)
  })
})

describe('joining', () => {
  it('gives a certificate for the name in the token, whatever the request says', async () => {
    const { token } = service.createToken({ gateway: 'gw-1' })
    expect(parseJoinToken(token)).toMatchObject({ gateway: 'gw-1', pin: authority.pin })
    const { csrPem } = await request('CN=sluice:gateway:gw-2, O=system:masters')
    const answer = await service.join({ token, csrPem })
    const certificate = new X509Certificate(answer.certPem)
    expect(gatewayOf(certificate.subject)).toBe('gw-1')
    expect(certificate.subject).not.toContain('masters')
    expect(certificate.verify(new X509Certificate(answer.caPem).publicKey)).toBe(true)
    expect(answer.hubUrl).toBe('wss://hub.example:7443')
    expect(registry.checkCertificate(canonicalSerial(certificate.serialNumber), 'gw-1')).toBeDefined()
  })

  it('refuses a token the second time, but answers the same key again', async () => {
    const { token } = service.createToken({ gateway: 'gw-1' })
    const first = await request()
    await service.join({ token, csrPem: first.csrPem })
    expect(await code(service.join({ token, csrPem: (await request()).csrPem }))).toBe('SLUICE_JOIN_TOKEN_USED')
    expect(await code(service.join({ token, csrPem: first.csrPem }))).toBe('none')
    expect(audit.filter((entry) => entry.action === 'refused')).toHaveLength(1)
  })

  it('shows tokens without their secrets, and takes back unused ones by id or gateway', async () => {
    const { token } = service.createToken({ gateway: 'gw-1' })
    const { csrPem } = await request()
    await service.join({ token, csrPem })
    const doomed = service.createToken({ gateway: 'gw-2', ttlMs: 60_000 })
    service.createToken({ gateway: 'gw-3', ttlMs: 120_000 })
    service.createToken({ gateway: 'gw-3', ttlMs: 130_000 })
    const shown = service.tokens()
    expect(shown.map(({ gateway, state }) => `${gateway} ${state}`)).toEqual([
      'gw-1 used',
      'gw-3 unused',
      'gw-3 unused',
      'gw-2 unused',
    ])
    expect(JSON.stringify(shown)).not.toContain(parseJoinToken(doomed.token).secret)
    expect(service.revokeTokens(shown[3]!.id)).toBe(1)
    expect(await code(service.join({ token: doomed.token, csrPem }))).toBe('SLUICE_JOIN_TOKEN_UNKNOWN')
    expect(service.revokeTokens('gw-3')).toBe(2)
    expect(service.revokeTokens('gw-1')).toBe(0)
    expect(service.tokens()).toHaveLength(1)
  })

  it('refuses expired, unknown, renamed and malformed tokens', async () => {
    const { csrPem } = await request()
    const { token } = service.createToken({ gateway: 'gw-1', ttlMs: 60_000 })
    const parts = JSON.parse(Buffer.from(token.slice(8), 'base64url').toString())
    const forge = (change: object) =>
      `sluice1.${Buffer.from(JSON.stringify({ ...parts, ...change })).toString('base64url')}`
    expect(await code(service.join({ token: forge({ g: 'gw-2' }), csrPem }))).toBe('SLUICE_JOIN_TOKEN_OTHER_GATEWAY')
    expect(await code(service.join({ token: forge({ s: 'guess' }), csrPem }))).toBe('SLUICE_JOIN_TOKEN_UNKNOWN')
    expect(await code(service.join({ token: 'sluice1.e30', csrPem }))).toBe('SLUICE_JOIN_TOKEN_MALFORMED')
    expect(await code(service.join({ csrPem }))).toBe('SLUICE_JOIN_BAD_REQUEST')
    await clock.advance(60_000)
    expect(await code(service.join({ token, csrPem }))).toBe('SLUICE_JOIN_TOKEN_EXPIRED')
  })

  it('does not use the token up when the request is no good', async () => {
    const { token } = service.createToken({ gateway: 'gw-1' })
    expect(await code(service.join({ token, csrPem: 'nonsense' }))).toBe('SLUICE_JOIN_CSR_REFUSED')
    expect(await code(service.join({ token, csrPem: (await request()).csrPem }))).toBe('none')
  })

  it('revokes the certificates of the hardware it replaces', async () => {
    const first = await service.join({
      token: service.createToken({ gateway: 'gw-1' }).token,
      csrPem: (await request()).csrPem,
    })
    await service.join({ token: service.createToken({ gateway: 'gw-1' }).token, csrPem: (await request()).csrPem })
    const serial = canonicalSerial(new X509Certificate(first.certPem).serialNumber)
    expect(() => registry.checkCertificate(serial, 'gw-1')).toThrowError(/revoked/)
  })
})

describe('renewing', () => {
  const joined = async () => {
    const held = await request()
    const answer = await service.join({ token: service.createToken({ gateway: 'gw-1' }).token, csrPem: held.csrPem })
    return { ...held, certPem: answer.certPem, certificate: new X509Certificate(answer.certPem) }
  }
  const proof = (csrPem: string, keyPem: string) => createSign('sha256').update(csrPem).sign(keyPem, 'base64')

  it('takes the verified client certificate as proof', async () => {
    const { certificate } = await joined()
    const answer = await service.renew({ csrPem: (await request()).csrPem }, certificate)
    expect(gatewayOf(new X509Certificate(answer.certPem).subject)).toBe('gw-1')
  })

  it('takes an expired certificate with a signature by its key, within ninety days', async () => {
    const { certPem, keyPem } = await joined()
    await clock.advance(120 * DAY_MS)
    const { csrPem } = await request()
    expect(await code(service.renew({ csrPem, certPem, signature: proof(csrPem, keyPem) }, undefined))).toBe('none')
    const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
    const forged = createSign('sha256').update(csrPem).sign(stranger, 'base64')
    expect(await code(service.renew({ csrPem, certPem, signature: forged }, undefined))).toBe('SLUICE_JOIN_NOT_PROVEN')
    await clock.advance(61 * DAY_MS)
    expect(await code(service.renew({ csrPem, certPem, signature: proof(csrPem, keyPem) }, undefined))).toBe(
      'SLUICE_JOIN_CERT_EXPIRED',
    )
  })

  it('refuses a revoked certificate and one of another authority', async () => {
    const { certificate } = await joined()
    service.revoke('gw-1')
    const { csrPem } = await request()
    expect(await code(service.renew({ csrPem }, certificate))).toBe('SLUICE_JOIN_CERT_REVOKED')
    const other = await CertificateAuthority.open(mkdtempSync(join(tmpdir(), 'sluice-ca-')), clock)
    const foreign = await other.signGateway(
      csrPem,
      { commonName: 'sluice:gateway:gw-1', organization: 'sluice:gateways' },
      9,
    )
    expect(await code(service.renew({ csrPem }, new X509Certificate(foreign.certPem)))).toBe('SLUICE_JOIN_CERT_UNKNOWN')
  })
})
