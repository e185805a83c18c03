import 'reflect-metadata'
import { randomBytes, webcrypto } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as x509 from '@peculiar/x509'
import type { Clock } from '../../api/clock.ts'
import { SluiceError } from '../../api/errors.ts'
import { publicKeyPin } from '../../api/link/join.ts'

const DAY_MS = 86_400_000
const CA_DAYS = 3650
/** Clocks of gateways without a battery-backed clock run behind; certificates are valid this long before their birth. */
const BACKDATE_MS = 3_600_000
const EC = { name: 'ECDSA', namedCurve: 'P-256' } as const
const SIGNING = { name: 'ECDSA', hash: 'SHA-256' } as const

export interface IssuedCertificate {
  readonly certPem: string
  /** Upper-case hexadecimal without leading zeros, as node:crypto prints it. */
  readonly serial: string
  readonly notAfterMs: number
}

export interface KeyAndCertificate extends IssuedCertificate {
  readonly keyPem: string
}

export interface ServerNames {
  readonly dns: readonly string[]
  readonly ips: readonly string[]
}

interface Subject {
  readonly commonName: string
  readonly organization?: string
}

/** The certificate authority of one cloud core: it signs the hub, the embedded API, its clients and every gateway. */
export class CertificateAuthority {
  readonly caPem: string
  readonly pin: string
  readonly #clock: Clock
  readonly #certificate: x509.X509Certificate
  readonly #key: webcrypto.CryptoKey

  private constructor(caPem: string, key: webcrypto.CryptoKey, clock: Clock) {
    this.caPem = caPem
    this.pin = publicKeyPin(caPem)
    this.#certificate = new x509.X509Certificate(caPem)
    this.#key = key
    this.#clock = clock
  }

  /** Loads `ca.crt` and `ca.key` (mode 0600) of a folder, or makes them. Throws SLUICE_CA_UNREADABLE. */
  static async open(directory: string, clock: Clock): Promise<CertificateAuthority> {
    const certPath = join(directory, 'ca.crt')
    const keyPath = join(directory, 'ca.key')
    if (!existsSync(certPath) || !existsSync(keyPath)) {
      mkdirSync(directory, { recursive: true, mode: 0o700 })
      const made = await createAuthority(clock)
      writeSecretFile(keyPath, made.keyPem)
      writeFileSync(certPath, made.certPem)
    }
    try {
      const keyPem = readFileSync(keyPath, 'utf8')
      const key = await webcrypto.subtle.importKey('pkcs8', pemBytes(keyPem), EC, false, ['sign'])
      return new CertificateAuthority(readFileSync(certPath, 'utf8'), key, clock)
    } catch (cause) {
      throw new SluiceError('SLUICE_CA_UNREADABLE', `the certificate authority in ${directory} cannot be read`, {
        cause,
        hint: 'Restore ca.crt and ca.key from a backup. Without them every gateway has to join again.',
      })
    }
  }

  /**
   * Signs the public key of a CSR. The subject asked for is ignored: the name comes from whoever authorised it.
   * Accepts EC P-256, Ed25519 and RSA of 2048 bits or more; throws SLUICE_JOIN_CSR_REFUSED.
   */
  async signGateway(csrPem: string, subject: Subject, days: number): Promise<IssuedCertificate> {
    const request = await readRequest(csrPem)
    return this.#issue(request.publicKey, subject, days, [x509.ExtendedKeyUsage.clientAuth])
  }

  /** A client of the APIs: a fresh key and its certificate. */
  async issueClient(subject: Subject, days: number): Promise<KeyAndCertificate> {
    const { keys, keyPem } = await newKey()
    const issued = await this.#issue(keys.publicKey, subject, days, [x509.ExtendedKeyUsage.clientAuth])
    return { ...issued, keyPem }
  }

  async issueServer(commonName: string, names: ServerNames, days: number): Promise<KeyAndCertificate> {
    const { keys, keyPem } = await newKey()
    const alternatives = new x509.SubjectAlternativeNameExtension([
      ...names.dns.map((value) => ({ type: 'dns' as const, value })),
      ...names.ips.map((value) => ({ type: 'ip' as const, value })),
    ])
    const usage = [x509.ExtendedKeyUsage.serverAuth]
    const issued = await this.#issue(keys.publicKey, { commonName }, days, usage, [alternatives])
    return { ...issued, keyPem }
  }

  async #issue(
    publicKey: x509.PublicKeyType,
    subject: Subject,
    days: number,
    usages: x509.ExtendedKeyUsageType[],
    extensions: x509.Extension[] = [],
  ): Promise<IssuedCertificate> {
    const nowMs = this.#clock.now()
    const certificate = await x509.X509CertificateGenerator.create({
      serialNumber: newSerial(),
      subject: nameOf(subject),
      issuer: this.#certificate.subject,
      notBefore: new Date(nowMs - BACKDATE_MS),
      notAfter: new Date(nowMs + days * DAY_MS),
      publicKey,
      signingKey: this.#key,
      signingAlgorithm: SIGNING,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension(usages),
        await x509.AuthorityKeyIdentifierExtension.create(this.#certificate.publicKey),
        ...extensions,
      ],
    })
    return {
      certPem: `${certificate.toString('pem')}\n`,
      serial: canonicalSerial(certificate.serialNumber),
      notAfterMs: certificate.notAfter.getTime(),
    }
  }
}

/** One spelling for serial numbers, whoever prints them. */
export const canonicalSerial = (hex: string): string => hex.toUpperCase().replace(/^0+(?=.)/, '')

/** Writes a file only its owner may read, complete or not at all. */
export function writeSecretFile(path: string, content: string): void {
  const temporary = `${path}.${process.pid}.tmp`
  writeFileSync(temporary, content, { mode: 0o600 })
  renameSync(temporary, path)
}

/** Identity of the key in a CSR: hexadecimal SHA-256 of its public key. Throws SLUICE_JOIN_CSR_REFUSED. */
export async function requestKeyId(csrPem: string): Promise<string> {
  const request = await readRequest(csrPem)
  return Buffer.from(await webcrypto.subtle.digest('SHA-256', request.publicKey.rawData)).toString('hex')
}

async function readRequest(csrPem: string): Promise<x509.Pkcs10CertificateRequest> {
  let request: x509.Pkcs10CertificateRequest
  let valid = false
  try {
    request = new x509.Pkcs10CertificateRequest(csrPem)
    valid = strongKey(request.publicKey) && (await request.verify())
  } catch (cause) {
    throw refusedRequest('is not a readable PKCS#10 request', cause)
  }
  if (!strongKey(request.publicKey))
    throw refusedRequest('asks for a key that is neither P-256, Ed25519 nor RSA >= 2048')
  if (!valid) throw refusedRequest('is not signed by its own key')
  return request
}

function strongKey(key: x509.PublicKey): boolean {
  const algorithm = key.algorithm as { name: string; namedCurve?: string; modulusLength?: number }
  if (algorithm.name === 'Ed25519') return true
  if (algorithm.name === 'ECDSA') return algorithm.namedCurve === 'P-256'
  return algorithm.name.startsWith('RSA') && (algorithm.modulusLength ?? 0) >= 2048
}

function refusedRequest(why: string, cause?: unknown): SluiceError {
  return new SluiceError('SLUICE_JOIN_CSR_REFUSED', `the certificate request ${why}`, {
    cause,
    hint: 'Use a gateway agent of this release; it makes its key and request by itself.',
  })
}

async function createAuthority(clock: Clock): Promise<{ keyPem: string; certPem: string }> {
  const { keys, keyPem } = await newKey()
  const nowMs = clock.now()
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: newSerial(),
    name: 'CN=sluice-ca',
    notBefore: new Date(nowMs - BACKDATE_MS),
    notAfter: new Date(nowMs + CA_DAYS * DAY_MS),
    keys,
    signingAlgorithm: SIGNING,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  })
  return { keyPem, certPem: `${certificate.toString('pem')}\n` }
}

async function newKey() {
  const keys = await webcrypto.subtle.generateKey(EC, true, ['sign', 'verify'])
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey))
  const lines = der
    .toString('base64')
    .match(/.{1,64}/g)!
    .join('\n')
  return { keys, keyPem: `-----BEGIN PRIVATE KEY-----\n${lines}\n-----END PRIVATE KEY-----\n` }
}

/** 127 random bits with a leading one, so that the number is positive and has one spelling. */
function newSerial(): string {
  const bytes = randomBytes(16)
  bytes[0] = (bytes[0]! & 0x3f) | 0x40
  return bytes.toString('hex')
}

const nameOf = (subject: Subject): x509.JsonName => [
  { CN: [subject.commonName] },
  ...(subject.organization === undefined ? [] : [{ O: [subject.organization] }]),
]

const pemBytes = (pem: string) => Buffer.from(pem.replace(/-----[^-]+-----|\s/g, ''), 'base64')
