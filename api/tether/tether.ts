/**
 * The tether: who decides for a gateway, and what becomes of its work when the one who decides is silent. Pure functions;
 * docs/tether.md has the state machine as a picture and the reasons. Times are milliseconds of the own monotonic clock.
 *
 * A supernode leads a tethered gateway by a lease: a term that only grows, and a span of time. The gateway counts the span
 * from the moment it *asked*, the supernode from the moment it *answered* and a little longer: so the gateway always stops
 * believing first, whatever the network does and as long as clocks run at nearly the same speed.
 */

/** What a tethered gateway does with its work once the lease and the grace are over. */
export const ON_LOSS = ['keep', 'freeze', 'stop'] as const
export type OnLoss = (typeof ON_LOSS)[number]

/** `autonomous`: no tether; the others as below. */
export const TETHER_STATES = ['autonomous', 'led', 'slack', 'lost'] as const

export type TetherPolicy =
  | { readonly mode: 'autonomous' }
  | { readonly mode: 'tethered'; readonly onLoss: OnLoss; readonly graceMs: number }

export const AUTONOMOUS: TetherPolicy = { mode: 'autonomous' }

export type TetherState =
  /** The gateway decides for itself. */
  | { readonly is: 'autonomous'; readonly term: number }
  /** A lease is in force until then. */
  | { readonly is: 'led'; readonly term: number; readonly untilMs: number }
  /** The lease ran out; what runs goes on, nothing new begins. */
  | { readonly is: 'slack'; readonly term: number; readonly sinceMs: number }
  /** The grace is over. */
  | { readonly is: 'lost'; readonly term: number; readonly sinceMs: number }

export interface Grant {
  readonly term: number
  /** When the question was sent that this answers, by the gateway's own clock. */
  readonly askedMs: number
  readonly spanMs: number
}

/** Why a grant was not taken: it came from a supernode that has been replaced, or was over before it arrived. */
export type GrantRefusal = 'staleTerm' | 'expired'

/** How it begins when the agent starts: with the highest term it has ever seen, and no lease. */
export function initialTether(policy: TetherPolicy, highestTerm: number, nowMs: number): TetherState {
  if (policy.mode === 'autonomous') return { is: 'autonomous', term: highestTerm }
  // Nobody knows how long the machine was off, so its work may run elsewhere already. What has to be safe then waits for a
  // lease; what is to be kept in any case begins at once.
  return { is: policy.onLoss === 'keep' ? 'slack' : 'lost', term: highestTerm, sinceMs: nowMs }
}

/** Takes a lease. A lower term is refused for ever: whoever sent it is no longer the one who leads. */
export function takeGrant(
  state: TetherState,
  grant: Grant,
  nowMs: number,
): { readonly state: TetherState; readonly refused?: GrantRefusal } {
  if (grant.term < state.term) return { state, refused: 'staleTerm' }
  const untilMs = grant.askedMs + grant.spanMs
  if (state.is === 'autonomous') return { state: { ...state, term: grant.term } }
  if (untilMs <= nowMs) return { state: { ...state, term: grant.term }, refused: 'expired' }
  const before = state.is === 'led' && state.term === grant.term ? state.untilMs : 0
  // Answers may overtake each other: an older one never shortens the lease.
  return { state: { is: 'led', term: grant.term, untilMs: Math.max(before, untilMs) } }
}

/** Lets time pass. Call it at `nextTetherMs`, or later: what was missed is made up for. */
export function passTime(state: TetherState, policy: TetherPolicy, nowMs: number): TetherState {
  if (policy.mode === 'autonomous') return state.is === 'autonomous' ? state : { is: 'autonomous', term: state.term }
  const { term } = state
  if (state.is === 'autonomous') return { is: 'slack', term, sinceMs: nowMs }
  if (state.is === 'led' && nowMs >= state.untilMs) {
    return passTime({ is: 'slack', term, sinceMs: state.untilMs }, policy, nowMs)
  }
  if (state.is === 'slack' && nowMs >= state.sinceMs + policy.graceMs) {
    return { is: 'lost', term, sinceMs: state.sinceMs + policy.graceMs }
  }
  // A longer grace that was written meanwhile does not bring back what was given up; a new lease does.
  return state
}

/** When the next change comes by itself; undefined when none does. */
export function nextTetherMs(state: TetherState, policy: TetherPolicy): number | undefined {
  if (policy.mode === 'autonomous') return undefined
  if (state.is === 'led') return state.untilMs
  return state.is === 'slack' ? state.sinceMs + policy.graceMs : undefined
}

/** What a gateway may do. */
export interface Leash {
  /** May work begin that did not run before? */
  readonly begins: boolean
  /** May somebody at the gateway set a desired value, refuse work, or hand it back? */
  readonly ownWill: boolean
  /** What becomes of the work that runs. */
  readonly work: 'runs' | 'frozen' | 'stopped'
}

export function leash(state: TetherState, policy: TetherPolicy): Leash {
  if (policy.mode === 'autonomous' || state.is === 'autonomous') return { begins: true, ownWill: true, work: 'runs' }
  if (state.is === 'led') return { begins: true, ownWill: false, work: 'runs' }
  if (state.is === 'slack') return { begins: false, ownWill: false, work: 'runs' }
  const work = policy.onLoss === 'keep' ? 'runs' : policy.onLoss === 'freeze' ? 'frozen' : 'stopped'
  // Somebody standing beside a machine that nobody leads any more must be able to act.
  return { begins: false, ownWill: true, work }
}

/** Clocks of gateway and supernode may differ in speed by this share; a quartz is a hundred times better. */
export const MAX_DRIFT = 0.005

/** What the supernode remembers of the lease it gives a gateway. */
export interface Given {
  readonly term: number
  /** Until when the gateway may believe itself led, by the supernode's clock. */
  readonly believedUntilMs: number
}

/** Answers a question for a lease; `given` is what was given before, of this or an earlier term. */
export function giveLease(given: Given | undefined, term: number, spanMs: number, nowMs: number): Given {
  const untilMs = nowMs + spanMs * (1 + MAX_DRIFT)
  return { term, believedUntilMs: Math.max(given?.believedUntilMs ?? 0, untilMs) }
}

/**
 * From when on the work of a silent gateway may begin elsewhere. Undefined: never by itself, because the gateway keeps it
 * running; a person may still decide that it is dead.
 */
export function mayMoveFromMs(given: Given, policy: TetherPolicy): number | undefined {
  if (policy.mode === 'autonomous' || policy.onLoss === 'keep') return undefined
  return given.believedUntilMs + policy.graceMs * (1 + MAX_DRIFT)
}

/** What a supernode knows of a tethered gateway: its lease may be in force, is certainly over, or its grace is too. */
export function believedState(
  given: Given,
  policy: TetherPolicy & { readonly mode: 'tethered' },
  nowMs: number,
): { readonly is: 'led' | 'slack' | 'lost'; readonly sinceMs: number | undefined } {
  if (nowMs < given.believedUntilMs) return { is: 'led', sinceMs: undefined }
  const lostMs = given.believedUntilMs + policy.graceMs * (1 + MAX_DRIFT)
  return nowMs < lostMs ? { is: 'slack', sinceMs: given.believedUntilMs } : { is: 'lost', sinceMs: lostMs }
}
