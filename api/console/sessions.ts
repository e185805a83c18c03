import { createHash, randomBytes } from 'node:crypto'
import type { Clock } from '../clock.ts'
import { SluiceError } from '../errors.ts'
import type { Role } from './roles.ts'

export interface Identity {
  readonly name: string
  readonly role: Role
  /** Asks again what this person may do; undefined when it is nothing any more. */
  readonly recheck?: () => Promise<Role | undefined>
}

export interface Session extends Identity {
  /** Has to come back in a header with every write: a foreign page can make a browser send the cookie, not this. */
  readonly csrf: string
  role: Role
  readonly startedMs: number
  usedMs: number
  checkedMs: number
}

const CODE_TTL_MS = 5 * 60_000
const IDLE_MS = 8 * 3_600_000
const LONGEST_MS = 24 * 3_600_000
const RECHECK_MS = 60_000
/** How often it is looked whether the session of something that stays open has ended. */
const LOOK_MS = 30_000
const MAX_SESSIONS = 256
const MAX_CODES = 32
const WRONG_PER_MINUTE = 10
/** Crockford's alphabet: no letters that look like digits. */
const LETTERS = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'

/** Who is signed in to a console, and the one-time codes that sign in. In memory: a restart signs everybody out. */
export class ConsoleSessions {
  readonly #clock: Clock
  readonly #codes = new Map<string, { readonly identity: Identity; readonly untilMs: number }>()
  readonly #sessions = new Map<string, Session>()
  readonly #watchers = new Map<string, Set<() => void>>()
  #wrong = 0
  #wrongSinceMs = Number.NEGATIVE_INFINITY

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** A code of 60 random bits, good once within five minutes. */
  issueCode(identity: Identity): string {
    const nowMs = this.#clock.monotonic()
    for (const [digest, { untilMs }] of this.#codes) if (untilMs <= nowMs) this.#codes.delete(digest)
    const oldest = this.#codes.keys().next()
    if (this.#codes.size >= MAX_CODES && oldest.done !== true) this.#codes.delete(oldest.value)
    const letters = [...randomBytes(12)].map((byte) => LETTERS[byte & 31]!).join('')
    this.#codes.set(digestOf(letters), { identity, untilMs: nowMs + CODE_TTL_MS })
    return letters.replace(/(.{4})(?=.)/g, '$1-')
  }

  /** Who a code was made for; it is worth nothing afterwards. Throws SLUICE_CONSOLE_TOO_MANY after ten wrong ones a minute. */
  redeem(code: string): Identity | undefined {
    this.refuseGuessing()
    const letters = code
      .toUpperCase()
      .replace(/[^0-9A-Z]/g, '')
      .replace(/O/g, '0')
      .replace(/[IL]/g, '1')
    const digest = digestOf(letters)
    const held = this.#codes.get(digest)
    this.#codes.delete(digest)
    if (held !== undefined && held.untilMs > this.#clock.monotonic()) return held.identity
    this.wrongAttempt()
    return undefined
  }

  refuseGuessing(): void {
    if (this.#clock.monotonic() - this.#wrongSinceMs >= 60_000) this.#wrong = 0
    if (this.#wrong < WRONG_PER_MINUTE) return
    throw new SluiceError('SLUICE_CONSOLE_TOO_MANY', 'Too many wrong codes', { hint: 'Wait a minute.' })
  }

  wrongAttempt(): void {
    if (this.#wrong++ === 0) this.#wrongSinceMs = this.#clock.monotonic()
  }

  /** Starts a session; `secret` goes into the cookie and is not kept here. */
  start(identity: Identity): { readonly secret: string; readonly session: Session } {
    this.#sweep()
    const oldest = this.#sessions.keys().next()
    if (this.#sessions.size >= MAX_SESSIONS && oldest.done !== true) this.#sessions.delete(oldest.value)
    const secret = randomBytes(32).toString('base64url')
    const nowMs = this.#clock.monotonic()
    const session: Session = {
      ...identity,
      csrf: randomBytes(24).toString('base64url'),
      startedMs: nowMs,
      usedMs: nowMs,
      checkedMs: nowMs,
    }
    this.#sessions.set(digestOf(secret), session)
    return { secret, session }
  }

  /** The session of a cookie, its role asked for again every minute; undefined when it has ended. */
  async find(secret: string): Promise<Session | undefined> {
    const session = await this.#live(secret)
    if (session !== undefined) session.usedMs = this.#clock.monotonic()
    return session
  }

  /**
   * Calls `ended` when the session of a cookie has ended: at once when somebody signs out, and otherwise within half a
   * minute. What is only open is no use of a session: it ends all the same when nothing else comes.
   */
  follow(secret: string, ended: () => void): Disposable {
    const digest = digestOf(secret)
    const watcher = () => {
      stop()
      ended()
    }
    const look = async () => {
      if ((await this.#live(secret)) === undefined) watcher()
      else if (watching) timer = this.#clock.after(LOOK_MS, () => void look(), true)
    }
    let watching = true
    let timer = this.#clock.after(LOOK_MS, () => void look(), true)
    const stop = () => {
      watching = false
      timer.cancel()
      this.#watchers.get(digest)?.delete(watcher)
      if (this.#watchers.get(digest)?.size === 0) this.#watchers.delete(digest)
    }
    this.#watchers.set(digest, (this.#watchers.get(digest) ?? new Set()).add(watcher))
    return { [Symbol.dispose]: stop }
  }

  async #live(secret: string): Promise<Session | undefined> {
    const digest = digestOf(secret)
    const session = this.#sessions.get(digest)
    if (session === undefined) return undefined
    const nowMs = this.#clock.monotonic()
    if (this.#over(session, nowMs)) {
      this.#sessions.delete(digest)
      return undefined
    }
    if (session.recheck !== undefined && nowMs - session.checkedMs >= RECHECK_MS) {
      session.checkedMs = nowMs
      const role = await session.recheck()
      if (role === undefined) {
        this.#sessions.delete(digest)
        return undefined
      }
      session.role = role
    }
    return session
  }

  end(secret: string): void {
    const digest = digestOf(secret)
    this.#sessions.delete(digest)
    for (const watcher of [...(this.#watchers.get(digest) ?? [])]) watcher()
  }

  #over(session: Session, nowMs: number): boolean {
    return nowMs - session.usedMs > IDLE_MS || nowMs - session.startedMs > LONGEST_MS
  }

  #sweep(): void {
    const nowMs = this.#clock.monotonic()
    for (const [digest, session] of this.#sessions) if (this.#over(session, nowMs)) this.#sessions.delete(digest)
  }
}

const digestOf = (secret: string): string => createHash('sha256').update(secret).digest('base64url')
