import type { DeviceCounters, WirelessLine } from './proc-net.ts'

/** A counter of 32 bits on an older kernel starts again at zero; one that fell for another reason was reset. */
const WORD = 2 ** 32

/**
 * How far a counter went since the last look. Undefined when it was reset in between: what it counted before is then
 * unknown, and nothing is made up for it.
 */
export function counterStep(before: number, now: number): number | undefined {
  if (now >= before) return now - before
  const wrapped = now + WORD - before
  return before < WORD && wrapped < WORD / 2 ? wrapped : undefined
}

/** A ratio of two counters over about the last minute. */
export class DecayingRatio {
  #part = 0
  #whole = 0
  #lastMs: number | undefined

  /** 0 to 1; undefined while nothing was counted. */
  get value(): number | undefined {
    return this.#whole < 1 ? undefined : Math.min(1, this.#part / this.#whole)
  }

  take(part: number, whole: number, nowMs: number): void {
    const passedMs = this.#lastMs === undefined ? 0 : Math.max(0, nowMs - this.#lastMs)
    this.#lastMs = nowMs
    const kept = Math.exp(-passedMs / MEMORY_MS)
    this.#part = this.#part * kept + part
    this.#whole = this.#whole * kept + whole
  }
}

const MEMORY_MS = 60_000

/** Errors, retries and missed beacons of one interface, from counters that may wrap or be reset. */
export class InterfaceRates {
  readonly errors = new DecayingRatio()
  readonly retries = new DecayingRatio()
  beaconLoss = 0
  #counters: DeviceCounters | undefined
  #wireless: WirelessLine | undefined

  take(counters: DeviceCounters | undefined, wireless: WirelessLine | undefined, nowMs: number): void {
    const before = this.#counters
    const heard = this.#wireless
    this.#counters = counters
    this.#wireless = wireless
    if (wireless !== undefined && heard !== undefined)
      this.beaconLoss += counterStep(heard.missedBeacons, wireless.missedBeacons) ?? 0
    if (counters === undefined || before === undefined) return
    const step = (key: keyof DeviceCounters) => counterStep(before[key], counters[key])
    const [rx, tx, rxErrors, txErrors] = [step('rxPackets'), step('txPackets'), step('rxErrors'), step('txErrors')]
    if (rx === undefined || tx === undefined || rxErrors === undefined || txErrors === undefined) return
    const errors = rxErrors + txErrors
    this.errors.take(errors, rx + tx + errors, nowMs)
    if (wireless === undefined || heard === undefined) return
    const retries = counterStep(heard.discardedRetries, wireless.discardedRetries)
    if (retries !== undefined) this.retries.take(retries, tx + retries, nowMs)
  }
}
