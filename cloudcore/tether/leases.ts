import type { DatabaseSync } from 'node:sqlite'
import type { Clock, Timer } from '../../api/clock.ts'
import type { GatewaySpec, GatewayStatus } from '../../api/resources.ts'
import { leaseMs, tetherPolicy } from '../../api/tether/policy.ts'
import {
  AUTONOMOUS,
  believedState,
  type Given,
  giveLease,
  mayMoveFromMs,
  type TetherPolicy,
} from '../../api/tether/tether.ts'

export interface LeasesOptions {
  readonly db: DatabaseSync
  readonly clock: Clock
  /** `Gateway.spec` as the API has it; undefined for what is no gateway. */
  readonly spec: (gateway: string) => GatewaySpec | undefined
  /** Whether a gateway holds every object as the API has it, its own among them. */
  readonly settled: (gateway: string) => boolean
  /** `Gateway.status.tether` of a gateway is another one. */
  readonly onChange?: (gateway: string, status: TetherStatus | undefined) => void
}

export type TetherStatus = NonNullable<GatewayStatus['tether']>

const followedOf = (spec: GatewaySpec): Followed => ({ policy: tetherPolicy(spec), leaseMs: leaseMs(spec) })

/** A gateway that was never told anything. */
const UNTOLD: Followed = { policy: AUTONOMOUS, leaseMs: 0 }
const MOST_POLICIES = 16

/** Leases that have run out are noticed within this time. */
const LOOK_MS = 1_000

/** What a gateway was last known to go by, on the disk: nobody can ask it while it is silent. */
interface Followed {
  readonly policy: TetherPolicy
  readonly leaseMs: number
}

/**
 * The supernode's end of the tether: gives leases, and knows when the work of a silent gateway may begin elsewhere. The
 * term is one more than the last one on the disk, and never below the clock: a supernode that lost its files leads on.
 */
export class Leases implements Disposable {
  readonly term: number
  readonly #options: LeasesOptions
  readonly #given = new Map<string, Given>()
  /** What each gateway may go by, the newest last: several while it has not acknowledged what was written. */
  readonly #followed = new Map<string, readonly Followed[]>()
  readonly #startedMs: number
  /** `Gateway.status.tether` as it was told last. */
  readonly #told = new Map<string, TetherStatus>()
  #timer: Timer | undefined

  constructor(options: LeasesOptions) {
    this.#options = options
    const { db, clock } = options
    this.#startedMs = clock.monotonic()
    db.exec(`CREATE TABLE IF NOT EXISTS tether_term (id INTEGER PRIMARY KEY CHECK (id = 1), term INTEGER NOT NULL) STRICT;
      CREATE TABLE IF NOT EXISTS tether_policy (gateway TEXT PRIMARY KEY, policy TEXT NOT NULL) STRICT`)
    const held = Number(db.prepare('SELECT term FROM tether_term').get()?.['term'] ?? 0)
    this.term = Math.max(held + 1, Math.floor(clock.now() / 1000))
    db.prepare('INSERT OR REPLACE INTO tether_term VALUES (1, ?)').run(this.term)
    for (const row of db.prepare('SELECT gateway, policy FROM tether_policy').all()) {
      const followed: Followed | Followed[] = JSON.parse(String(row['policy']))
      this.#followed.set(String(row['gateway']), [followed].flat())
    }
    if (options.onChange !== undefined) this.#arm()
  }

  /** `Gateway.status.tether`: what the supernode knows of it. Undefined while nobody knows what the gateway goes by. */
  status(gateway: string): TetherStatus | undefined {
    return this.#told.get(gateway) ?? this.#state(gateway)
  }

  [Symbol.dispose](): void {
    this.#timer?.cancel()
  }

  /** Answers a gateway that asks; undefined for one that decides for itself. */
  give(gateway: string): { readonly term: number; readonly spanMs: number } | undefined {
    const spec = this.#options.spec(gateway)
    this.#note(gateway, spec)
    if (spec?.mode !== 'tethered') {
      this.#look(gateway)
      return undefined
    }
    const spanMs = leaseMs(spec)
    this.#given.set(gateway, giveLease(this.#given.get(gateway), this.term, spanMs, this.#options.clock.monotonic()))
    this.#look(gateway)
    return { term: this.term, spanMs }
  }

  /** From when on the work of a gateway may begin elsewhere, ms since 1970. Undefined for what is no gateway. */
  mayMoveFrom(gateway: string): number | 'never' | undefined {
    const spec = this.#options.spec(gateway)
    if (spec === undefined) return undefined
    const followed = this.#followed.get(gateway)
    // What nobody knows to follow a tether keeps its work.
    if (followed === undefined) return 'never'
    const { clock } = this.#options
    const given = this.#givenTo(gateway, followed)
    let latestMs = Number.NEGATIVE_INFINITY
    // Whatever it goes by, and what people now want of it.
    for (const policy of [...followed.map((each) => each.policy), tetherPolicy(spec)]) {
      const fromMs = mayMoveFromMs(given, policy)
      if (fromMs === undefined) return 'never'
      latestMs = Math.max(latestMs, fromMs)
    }
    return clock.now() + latestMs - clock.monotonic()
  }

  /**
   * Somebody wrote another spec. The gateway may have it from now on, and may as well never get it: until it acknowledges
   * the newest, it may go by any that was written since the last one it is known to have.
   */
  specChanged(gateway: string): void {
    const spec = this.#options.spec(gateway)
    if (spec === undefined) return
    const now = followedOf(spec)
    const held = this.#followed.get(gateway) ?? [UNTOLD]
    const same = JSON.stringify(now)
    const others = held.filter((each) => JSON.stringify(each) !== same)
    // So many changes without one word of it: it keeps its work, whatever it is told next.
    this.#put(gateway, others.length < MOST_POLICIES ? [...others, now] : [UNTOLD, now])
  }

  /** Remembers what the gateway goes by, as soon as that is certain. */
  #note(gateway: string, spec: GatewaySpec | undefined): void {
    if (spec === undefined || !this.#options.settled(gateway)) return
    this.#put(gateway, [followedOf(spec)])
  }

  #put(gateway: string, followed: readonly Followed[]): void {
    const text = JSON.stringify(followed)
    if (JSON.stringify(this.#followed.get(gateway)) === text) return
    this.#options.db.prepare('INSERT OR REPLACE INTO tether_policy VALUES (?, ?)').run(gateway, text)
    this.#followed.set(gateway, followed)
  }

  /** The run before may have given a lease in its last moment. */
  #givenTo(gateway: string, followed: readonly Followed[]): Given {
    const longestMs = Math.max(...followed.map((each) => each.leaseMs))
    return this.#given.get(gateway) ?? giveLease(undefined, this.term, longestMs, this.#startedMs)
  }

  #state(gateway: string): TetherStatus | undefined {
    const followed = this.#followed.get(gateway)
    const policy = followed?.at(-1)?.policy
    if (followed === undefined || policy === undefined || this.#options.spec(gateway) === undefined) return undefined
    if (policy.mode === 'autonomous') return { state: 'autonomous' }
    const { clock } = this.#options
    const offsetMs = clock.now() - clock.monotonic()
    const { is, sinceMs } = believedState(this.#givenTo(gateway, followed), policy, clock.monotonic())
    const releasedMs = is === 'led' ? undefined : this.mayMoveFrom(gateway)
    const before = this.#told.get(gateway)
    const since =
      sinceMs !== undefined
        ? iso(sinceMs + offsetMs)
        : before?.state === is && before.since !== undefined
          ? before.since
          : iso(clock.now())
    return {
      ...{ state: is, since, term: this.term, onLoss: policy.onLoss },
      ...(typeof releasedMs === 'number' ? { releasedAt: before?.releasedAt ?? iso(releasedMs) } : {}),
    }
  }

  /** Tells what has become of a tether, once for each change. */
  #look(gateway: string): void {
    const { onChange } = this.#options
    if (onChange === undefined) return
    const before = this.#told.get(gateway)
    const now = this.#state(gateway)
    if (JSON.stringify(gist(before)) === JSON.stringify(gist(now))) return
    if (now === undefined) this.#told.delete(gateway)
    else this.#told.set(gateway, now)
    onChange(gateway, now)
  }

  #arm(): void {
    this.#timer = this.#options.clock.after(
      LOOK_MS,
      () => {
        for (const gateway of this.#followed.keys()) this.#look(gateway)
        this.#arm()
      },
      true,
    )
  }
}

/** Not the times: those of one state are computed anew by clocks that drift apart. */
const gist = (status: TetherStatus | undefined) => [
  ...[status?.state, status?.term, status?.onLoss, status?.releasedAt !== undefined],
]

const iso = (ms: number): string => new Date(ms).toISOString()
