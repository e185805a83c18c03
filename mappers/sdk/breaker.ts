/**
 * Keeps a silent device from costing its neighbours: after a few requests in a row without an answer it is left alone
 * and only probed now and then. A pure state machine; times are monotonic milliseconds.
 *
 *     closed --(threshold failures in a row)--> open --(retryAtMs)--> halfOpen --(answer)--> closed
 *                                                 ^----------(no answer)---------'
 */
export interface BreakerOptions {
  /** Failures in a row that open it. Default 3. */
  readonly threshold?: number
  /** First wait before a probe; doubles with every failed one. Default 1000. */
  readonly backoffMinMs?: number
  /** Default 60 000. */
  readonly backoffMaxMs?: number
  /** Waits are shortened by up to this share at random, so that probes of many devices spread. Default 0.2. */
  readonly jitter?: number
}

export type BreakerState =
  | { readonly phase: 'closed'; readonly failures: number }
  | { readonly phase: 'open'; readonly failures: number; readonly retryAtMs: number; readonly backoffMs: number }
  | { readonly phase: 'halfOpen'; readonly failures: number; readonly backoffMs: number }

const DEFAULTS = { threshold: 3, backoffMinMs: 1000, backoffMaxMs: 60_000, jitter: 0.2 }

export class Breaker {
  readonly #options: Required<BreakerOptions>
  readonly #random: () => number
  #state: BreakerState = { phase: 'closed', failures: 0 }

  constructor(random: () => number, options: BreakerOptions = {}) {
    this.#random = random
    this.#options = { ...DEFAULTS, ...options }
  }

  get state(): BreakerState {
    return this.#state
  }

  /** Whether ordinary traffic may go to the device. */
  get closed(): boolean {
    return this.#state.phase === 'closed'
  }

  /** Takes the one probe that is due; false when it is not due or another one is under way. */
  takeProbe(nowMs: number): boolean {
    const state = this.#state
    if (state.phase !== 'open' || nowMs < state.retryAtMs) return false
    this.#state = { phase: 'halfOpen', failures: state.failures, backoffMs: state.backoffMs }
    return true
  }

  /** Makes the next probe due now: the link came back, or a person wants to write. */
  hurry(nowMs: number): void {
    const state = this.#state
    if (state.phase === 'open') this.#state = { ...state, retryAtMs: Math.min(state.retryAtMs, nowMs) }
  }

  /** The device answered. True when that closed the breaker. */
  succeeded(): boolean {
    const closes = this.#state.phase !== 'closed'
    this.#state = { phase: 'closed', failures: 0 }
    return closes
  }

  /** The device did not answer. True when that opened the breaker, which it does not do twice. */
  failed(nowMs: number): boolean {
    const state = this.#state
    const failures = state.failures + 1
    const { threshold, backoffMinMs, backoffMaxMs, jitter } = this.#options
    if (state.phase === 'closed' && failures < threshold) {
      this.#state = { phase: 'closed', failures }
      return false
    }
    // A straggler that was sent before the breaker opened says nothing new: the wait stays as it is.
    if (state.phase === 'open') {
      this.#state = { ...state, failures }
      return false
    }
    const backoffMs = state.phase === 'closed' ? backoffMinMs : Math.min(backoffMaxMs, state.backoffMs * 2)
    const retryAtMs = nowMs + backoffMs * (1 - jitter * this.#random())
    this.#state = { phase: 'open', failures, retryAtMs, backoffMs }
    return state.phase === 'closed'
  }

  /** The probe could not be sent or was given up: as if it had not been taken. */
  abandoned(nowMs: number): void {
    const state = this.#state
    if (state.phase === 'halfOpen') {
      this.#state = {
        phase: 'open',
        failures: state.failures,
        backoffMs: state.backoffMs,
        retryAtMs: nowMs + state.backoffMs,
      }
    }
  }
}
