import type { Clock, Timer } from '../../api/clock.ts'
import { SluiceError } from '../../api/errors.ts'
import type { GatewaySpec, GatewayStatus } from '../../api/resources.ts'
import { tetherPolicy } from '../../api/tether/policy.ts'
import {
  type Grant,
  initialTether,
  type Leash,
  leash,
  nextTetherMs,
  passTime,
  type TetherPolicy,
  type TetherState,
  takeGrant,
} from '../../api/tether/tether.ts'
import type { MapperStorage } from '../../mappers/sdk/mapper.ts'

/** Where the agent keeps the highest term it ever heard. */
export const TETHER_STORE = 'tether'
const TERM = 'term'

export interface TetherOptions {
  readonly clock: Clock
  readonly storage: MapperStorage
}

/**
 * The gateway's end of the tether: takes leases from the link, lets time pass, and says what the gateway may do. The
 * highest term is on the disk before anything is done by its word.
 */
export class Tether implements Disposable {
  readonly #options: TetherOptions
  readonly #listeners = new Set<(leash: Leash) => void>()
  #policy: TetherPolicy = { mode: 'autonomous' }
  #state: TetherState
  #told: string
  #timer: Timer | undefined

  constructor(options: TetherOptions) {
    this.#options = options
    const held = Number(options.storage.get(TERM) ?? 0)
    this.#state = { is: 'autonomous', term: Number.isSafeInteger(held) ? held : 0 }
    this.#told = JSON.stringify(this.leash)
  }

  /** After a start, with what the store has of the gateway. */
  begin(spec: GatewaySpec | undefined): void {
    this.#policy = tetherPolicy(spec)
    this.#enter(initialTether(this.#policy, this.#state.term, this.#options.clock.monotonic()))
  }

  configure(spec: GatewaySpec | undefined): void {
    this.#policy = tetherPolicy(spec)
    this.#pass()
  }

  /** Takes a lease that the hub gave; a term that is over is not listened to. */
  grant(grant: Grant): void {
    const { clock, storage } = this.#options
    const { state } = takeGrant(passTime(this.#state, this.#policy, clock.monotonic()), grant, clock.monotonic())
    if (state.term > this.#state.term) storage.put({ [TERM]: String(state.term) }, 'now')
    this.#enter(state)
  }

  get state(): TetherState {
    return passTime(this.#state, this.#policy, this.#options.clock.monotonic())
  }

  /** As `Gateway.status` shows it: what the gateway itself believes. */
  get status(): NonNullable<GatewayStatus['tether']> {
    const { state } = this
    const { clock } = this.#options
    if (this.#policy.mode === 'autonomous' || state.is === 'autonomous') return { state: 'autonomous' }
    const { is, term } = state
    const since =
      state.is === 'led' ? {} : { since: new Date(clock.now() - clock.monotonic() + state.sinceMs).toISOString() }
    return { state: is, ...since, term, onLoss: this.#policy.onLoss }
  }

  /** What the gateway may do now. */
  get leash(): Leash {
    return leash(this.state, this.#policy)
  }

  /** Calls `listener` after every change of what the gateway may do. */
  onChange(listener: (leash: Leash) => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  /** Throws when a person at the gateway may not set something, because the supernode decides. */
  needOwnWill(what: string): void {
    if (this.leash.ownWill) return
    throw new SluiceError(
      'SLUICE_TETHERED',
      `This gateway is tethered: the supernode decides, and ${what} is not set here`,
      {
        hint: 'Set it in the cloud, for example with kubectl; or set Gateway.spec.mode to autonomous.',
      },
    )
  }

  [Symbol.dispose](): void {
    this.#timer?.cancel()
    this.#listeners.clear()
  }

  #pass(): void {
    this.#enter(passTime(this.#state, this.#policy, this.#options.clock.monotonic()))
  }

  #enter(state: TetherState): void {
    this.#state = state
    this.#arm()
    const now = this.leash
    const text = JSON.stringify(now)
    if (text === this.#told) return
    this.#told = text
    for (const listener of this.#listeners) listener(now)
  }

  #arm(): void {
    this.#timer?.cancel()
    const { clock } = this.#options
    const dueMs = nextTetherMs(this.#state, this.#policy)
    if (dueMs === undefined) return
    // Read by whoever asks in any case; the timer is for those who wait to be told.
    this.#timer = clock.after(Math.max(1, dueMs - clock.monotonic()), () => this.#pass(), true)
  }
}
