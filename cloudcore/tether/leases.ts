import type { DatabaseSync } from 'node:sqlite'
import type { Clock, Timer } from '../../api/clock.ts'
import type { GatewaySpec, GatewayStatus } from '../../api/resources.ts'
import { leaseMs, tetherPolicy } from '../../api/tether/policy.ts'
import { believedState, type Given, giveLease, mayMoveFromMs, type TetherPolicy } from '../../api/tether/tether.ts'

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
  readonly #followed = new Map<string, Followed>()
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
      this.#followed.set(String(row['gateway']), JSON.parse(String(row['policy'])))
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
    const moments = [followed.policy, tetherPolicy(spec)].map((policy) => mayMoveFromMs(given, policy))
    // What it goes by decides, and what people now want of it.
    const [first, second] = moments
    if (first === undefined || second === undefined) return 'never'
    return clock.now() + Math.max(first, second) - clock.monotonic()
  }

  /** Remembers what the gateway goes by, as soon as that is certain. */
  #note(gateway: string, spec: GatewaySpec | undefined): void {
    if (spec === undefined || !this.#options.settled(gateway)) return
    const followed: Followed = { policy: tetherPolicy(spec), leaseMs: leaseMs(spec) }
    const text = JSON.stringify(followed)
    if (JSON.stringify(this.#followed.get(gateway)) === text) return
    this.#options.db.prepare('INSERT OR REPLACE INTO tether_policy VALUES (?, ?)').run(gateway, text)
    this.#followed.set(gateway, followed)
  }

  /** The run before may have given a lease in its last moment. */
  #givenTo(gateway: string, followed: Followed): Given {
    return this.#given.get(gateway) ?? giveLease(undefined, this.term, followed.leaseMs, this.#startedMs)
  }

  #state(gateway: string): TetherStatus | undefined {
    const followed = this.#followed.get(gateway)
    if (followed === undefined || this.#options.spec(gateway) === undefined) return undefined
    const { policy } = followed
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
