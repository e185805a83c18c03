import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import type { Clock } from '../../api/clock.ts'
import { SluiceError } from '../../api/errors.ts'

const SCHEMA = `
CREATE TABLE IF NOT EXISTS token(
  hash TEXT PRIMARY KEY, gateway TEXT NOT NULL, expires_ms INTEGER NOT NULL, used_ms INTEGER, used_key TEXT
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS certificate(
  serial TEXT PRIMARY KEY, gateway TEXT NOT NULL, issued_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL,
  revoked_ms INTEGER, reason TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS certificate_gateway ON certificate(gateway);
`
const FORGET_AFTER_MS = 180 * 86_400_000

interface TokenRow {
  readonly gateway: string
  readonly expires_ms: number
  readonly used_ms: number | null
  readonly used_key: string | null
}

interface CertificateRow {
  readonly gateway: string
  readonly expires_ms: number
  readonly revoked_ms: number | null
  readonly reason: string | null
}

/** A join token as it may be shown: the secret itself is known to nobody here. */
export interface TokenView {
  /** Names the token: the beginning of its secret's hash. */
  readonly id: string
  readonly gateway: string
  readonly expiresAt: string
  readonly state: 'unused' | 'used' | 'expired'
}

const ID_CHARS = 12

/** Join tokens (only their hashes) and the certificates issued to gateways, in the hub's database. */
export class JoinRegistry {
  readonly #db: DatabaseSync
  readonly #clock: Clock
  readonly #certificate: StatementSync

  constructor(db: DatabaseSync, clock: Clock) {
    this.#db = db
    this.#clock = clock
    db.exec(SCHEMA)
    const oldestMs = clock.now() - FORGET_AFTER_MS
    db.prepare('DELETE FROM token WHERE expires_ms < ?').run(oldestMs)
    db.prepare('DELETE FROM certificate WHERE expires_ms < ?').run(oldestMs)
    this.#certificate = db.prepare('SELECT gateway, expires_ms, revoked_ms, reason FROM certificate WHERE serial = ?')
  }

  /** Makes a secret of 256 bits for one gateway; only its hash is kept. */
  createToken(gateway: string, ttlMs: number): { secret: string; expiresMs: number } {
    const secret = randomBytes(32).toString('base64url')
    const expiresMs = this.#clock.now() + ttlMs
    this.#db
      .prepare('INSERT INTO token(hash, gateway, expires_ms) VALUES(?, ?, ?)')
      .run(hashOf(secret), gateway, expiresMs)
    return { secret, expiresMs }
  }

  /**
   * Uses a token up for the key `keyId`. The same key may use it again until it expires, so that a lost answer does not
   * lock the gateway out. Throws SLUICE_JOIN_TOKEN_UNKNOWN, _TOKEN_OTHER_GATEWAY, _TOKEN_EXPIRED, _TOKEN_USED.
   */
  redeem(secret: string, gateway: string, keyId: string): { firstUse: boolean } {
    const hash = hashOf(secret)
    const row = this.#db.prepare('SELECT * FROM token WHERE hash = ?').get(hash) as TokenRow | undefined
    const again = 'Make a new token: sluice token create --gateway NAME'
    if (row === undefined) {
      throw new SluiceError('SLUICE_JOIN_TOKEN_UNKNOWN', 'the join token is not known here', { hint: again })
    }
    if (!sameText(row.gateway, gateway)) {
      throw new SluiceError('SLUICE_JOIN_TOKEN_OTHER_GATEWAY', `the join token is not for gateway '${gateway}'`, {
        hint: again,
      })
    }
    if (row.expires_ms <= this.#clock.now()) {
      throw new SluiceError('SLUICE_JOIN_TOKEN_EXPIRED', 'the join token has expired', { hint: again })
    }
    if (row.used_ms !== null) {
      if (row.used_key !== null && sameText(row.used_key, keyId)) return { firstUse: false }
      throw new SluiceError('SLUICE_JOIN_TOKEN_USED', 'the join token was used already', { hint: again })
    }
    this.#db
      .prepare('UPDATE token SET used_ms = ?, used_key = ? WHERE hash = ? AND used_ms IS NULL')
      .run(this.#clock.now(), keyId, hash)
    return { firstUse: true }
  }

  /** Every token that is still remembered, the newest end of life first. */
  tokens(): TokenView[] {
    const rows = this.#db
      .prepare('SELECT hash, gateway, expires_ms, used_ms FROM token ORDER BY expires_ms DESC, hash')
      .all() as { hash: string; gateway: string; expires_ms: number; used_ms: number | null }[]
    const nowMs = this.#clock.now()
    return rows.map(({ hash, gateway, expires_ms: expiresMs, used_ms: usedMs }) => ({
      id: hash.slice(0, ID_CHARS),
      gateway,
      expiresAt: new Date(expiresMs).toISOString(),
      state: usedMs !== null ? 'used' : expiresMs <= nowMs ? 'expired' : 'unused',
    }))
  }

  /** Takes back the unused token with this id, or all unused ones of a gateway of this name; returns how many. */
  takeBackTokens(idOrGateway: string): number {
    const result = this.#db
      .prepare('DELETE FROM token WHERE used_ms IS NULL AND (substr(hash, 1, ?) = ? OR gateway = ?)')
      .run(ID_CHARS, idOrGateway, idOrGateway)
    return Number(result.changes)
  }

  recordCertificate(serial: string, gateway: string, expiresMs: number): void {
    this.#db
      .prepare('INSERT OR REPLACE INTO certificate(serial, gateway, issued_ms, expires_ms) VALUES(?, ?, ?, ?)')
      .run(serial, gateway, this.#clock.now(), expiresMs)
  }

  /** Throws SLUICE_JOIN_CERT_REVOKED or SLUICE_JOIN_CERT_UNKNOWN unless `serial` is `gateway`'s and in force. */
  checkCertificate(serial: string, gateway: string): { expiresMs: number } {
    const row = this.#certificate.get(serial) as CertificateRow | undefined
    const again = 'Join the gateway again: sluice token create, then sluice join'
    if (row === undefined || row.gateway !== gateway) {
      throw new SluiceError('SLUICE_JOIN_CERT_UNKNOWN', `the certificate of gateway '${gateway}' was not issued here`, {
        hint: again,
      })
    }
    if (row.revoked_ms !== null) {
      const why = row.reason ?? 'revoked'
      throw new SluiceError('SLUICE_JOIN_CERT_REVOKED', `the certificate of gateway '${gateway}' is revoked: ${why}`, {
        hint: again,
      })
    }
    return { expiresMs: row.expires_ms }
  }

  /** Revokes every certificate of a gateway but `exceptSerial`; returns how many. */
  revoke(gateway: string, reason: string, exceptSerial = ''): number {
    const result = this.#db
      .prepare(
        'UPDATE certificate SET revoked_ms = ?, reason = ? WHERE gateway = ? AND serial <> ? AND revoked_ms IS NULL',
      )
      .run(this.#clock.now(), reason, gateway, exceptSerial)
    return Number(result.changes)
  }
}

const hashOf = (secret: string) => createHash('sha256').update(secret).digest('hex')

function sameText(a: string, b: string): boolean {
  const left = createHash('sha256').update(a).digest()
  const right = createHash('sha256').update(b).digest()
  return timingSafeEqual(left, right)
}
