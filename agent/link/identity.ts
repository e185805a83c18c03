import { createPrivateKey, X509Certificate } from 'node:crypto'
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { SluiceError } from '../../api/errors.ts'

/** Who this gateway is to its hub. */
export interface Identity {
  readonly gateway: string
  /** `wss://host:port`. */
  readonly hubUrl: string
  readonly keyPem: string
  readonly certPem: string
  readonly caPem: string
}

const FILE = 'identity.json'

/**
 * The identity kept in the data directory, or undefined before joining. Key and certificate are one file that is
 * replaced as a whole, so that a power cut never leaves a key beside another key's certificate.
 */
export function loadIdentity(directory: string): Identity | undefined {
  const path = join(directory, FILE)
  if (!existsSync(path)) return undefined
  try {
    const identity = JSON.parse(readFileSync(path, 'utf8')) as Identity
    const matches = new X509Certificate(identity.certPem).checkPrivateKey(createPrivateKey(identity.keyPem))
    if (!matches || !URL.canParse(identity.hubUrl)) throw new Error('the certificate is not for this key')
    return identity
  } catch (cause) {
    throw new SluiceError('SLUICE_IDENTITY_UNREADABLE', `The gateway's identity ${path} cannot be read`, {
      hint: 'Check its owner and mode (0600); if it is damaged, remove it and join again with a new token.',
      cause,
    })
  }
}

/** Writes the identity, readable by this user alone. */
export function saveIdentity(directory: string, identity: Identity): void {
  mkdirSync(directory, { recursive: true })
  const path = join(directory, FILE)
  const file = openSync(`${path}.new`, 'w', 0o600)
  try {
    writeSync(file, JSON.stringify(identity))
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
  renameSync(`${path}.new`, path)
}

/** Milliseconds since 1970 at which the certificate stops being valid. */
export const expiresAtMs = (identity: Identity): number => new X509Certificate(identity.certPem).validToDate.getTime()

/** Moment to renew at: `share` (0.7 to 0.9) of the certificate's life. */
export function renewAtMs(identity: Identity, share: number): number {
  const { validFromDate, validToDate } = new X509Certificate(identity.certPem)
  return validFromDate.getTime() + share * (validToDate.getTime() - validFromDate.getTime())
}
