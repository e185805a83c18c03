import type { WholePower } from './choose.ts'
import type { Days } from './days.ts'
import type { EnergyStorage } from './energy.ts'
import type { EnergyTotals } from './snapshot.ts'
import type { SampleTime } from './source.ts'

/** Power is taken to have changed evenly between two samples, for at most this long; beyond, nobody knows. */
const MAX_GAP_S = 60
const SAVE_MS = 60_000
const KEY = 'ledger'
const KEPT_DAYS = 8

interface Amount {
  measuredJ: number
  estimatedJ: number
  /** Estimated joules times their error in percent. */
  errorWeight: number
  agentJ: number
  carbonG: number
  carbonKnownJ: number
  unknownS: number
}

interface Kept {
  readonly bootId: string | undefined
  readonly boot: Amount
  readonly days: Record<string, Amount>
}

/** What one sample added to the whole. */
export interface LedgerStep {
  readonly joules: number
  readonly watts: number
  readonly source: 'measured' | 'estimated'
}

/** Energy of the whole machine since it was switched on and by day, kept across restarts of the agent. */
export class Ledger {
  readonly #storage: EnergyStorage
  readonly #days: Days
  readonly #bootId: string | undefined
  #kept: Kept
  readonly #sinceStart: Amount = emptyAmount()
  #last: { readonly meter: string; readonly watts: number } | undefined
  #today = ''
  #savedMs: number | undefined
  #failure: string | undefined

  /** `bootId` is the kernel's, so that a restart of the agent is told from one of the machine. */
  constructor(storage: EnergyStorage, days: Days, bootId: string | undefined) {
    this.#storage = storage
    this.#days = days
    this.#bootId = bootId
    const kept = parseKept(storage.get(KEY))
    const same = kept !== undefined && bootId !== undefined && kept.bootId === bootId
    this.#kept = { bootId, boot: same ? kept.boot : emptyAmount(), days: kept?.days ?? {} }
  }

  /** Books one sample; returns what it added, or undefined where nothing is known of the time that passed. */
  add(time: SampleTime, power: WholePower | undefined, carbonGPerKWh: number | undefined): LedgerStep | undefined {
    const { elapsedS, suspendedS } = time
    this.#today = this.#days.of(time.wallMs)
    this.#savedMs ??= time.monotonicMs
    const before = this.#last
    this.#last = power === undefined ? undefined : { meter: power.meter, watts: power.watts }
    if (elapsedS <= 0) return undefined
    const joules = power === undefined ? undefined : joulesOf(power, before, elapsedS)
    const asleepKnown = power?.joules !== undefined && power.by === 'battery'
    const unknownS = (joules === undefined ? elapsedS : 0) + (asleepKnown ? 0 : suspendedS)
    const errorWeight = power?.source === 'estimated' ? (joules ?? 0) * (power.errorPercent ?? 100) : 0
    for (const amount of this.#open()) {
      amount.unknownS += unknownS
      if (power === undefined || joules === undefined) continue
      if (power.source === 'measured') amount.measuredJ += joules
      else amount.estimatedJ += joules
      amount.errorWeight += errorWeight
      if (carbonGPerKWh !== undefined) {
        amount.carbonG += (joules / 3.6e6) * carbonGPerKWh
        amount.carbonKnownJ += joules
      }
    }
    if (time.monotonicMs - this.#savedMs >= SAVE_MS) this.save('soon', time.monotonicMs)
    if (power === undefined || joules === undefined) return undefined
    return { joules, watts: power.watts, source: power.source }
  }

  /** Of what was booked, what the agent itself took. */
  addAgent(joules: number): void {
    for (const amount of this.#open()) amount.agentJ += joules
  }

  #open(): Amount[] {
    const { days } = this.#kept
    const today = (days[this.#today] ??= emptyAmount())
    const names = Object.keys(days).sort()
    // A clock that was wrong for a while leaves odd days behind; the oldest go first, today never.
    for (const name of names.slice(0, Math.max(0, names.length - KEPT_DAYS)))
      if (name !== this.#today) delete days[name]
    return [today, this.#kept.boot, this.#sinceStart]
  }

  get today(): Readonly<Amount> {
    return this.#kept.days[this.#today] ?? emptyAmount()
  }

  get sinceBoot(): Readonly<Amount> {
    return this.#kept.boot
  }

  /** Since the agent started: what counters in metrics show. */
  get totals(): EnergyTotals {
    const { measuredJ, estimatedJ, unknownS } = this.#sinceStart
    return { measuredJ, estimatedJ, unknownS }
  }

  /** Why the sums could not be written last time. */
  get failure(): string | undefined {
    return this.#failure
  }

  save(durability: 'now' | 'soon', nowMs: number): void {
    this.#savedMs = nowMs
    try {
      this.#storage.put({ [KEY]: JSON.stringify({ ...this.#kept, bootId: this.#bootId }) }, durability)
      this.#failure = undefined
    } catch (error) {
      // A full disk must not end the sampling; the next minute tries again.
      this.#failure = error instanceof Error ? error.message : String(error)
    }
  }
}

export const emptyAmount = (): Amount => ({
  measuredJ: 0,
  estimatedJ: 0,
  errorWeight: 0,
  agentJ: 0,
  carbonG: 0,
  carbonKnownJ: 0,
  unknownS: 0,
})

/** A counter knows; a gauge is taken to have moved evenly since its last reading. */
function joulesOf(power: WholePower, before: { meter: string; watts: number } | undefined, elapsedS: number) {
  if (power.joules !== undefined) return power.joules
  if (elapsedS > MAX_GAP_S) return undefined
  return before?.meter === power.meter ? ((before.watts + power.watts) / 2) * elapsedS : power.watts * elapsedS
}

function parseKept(text: string | undefined): Kept | undefined {
  if (text === undefined) return undefined
  try {
    const kept = JSON.parse(text) as Kept
    const amounts = [kept.boot, ...Object.values(kept.days)]
    return amounts.every(isAmount) ? kept : undefined
  } catch {
    return undefined
  }
}

function isAmount(value: unknown): value is Amount {
  if (typeof value !== 'object' || value === null) return false
  const fields = Object.entries(value)
  return Object.keys(emptyAmount()).every((key) =>
    fields.some(([name, field]) => name === key && typeof field === 'number' && Number.isFinite(field) && field >= 0),
  )
}
