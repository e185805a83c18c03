import type { MapperHost } from './mapper.ts'

const QUIET_MS = 60_000
const MAX_SUBJECTS = 512

/** Says the same thing about the same subject at most once a minute, and then how often it happened meanwhile. */
export class RateLimitedLog {
  readonly #host: Pick<MapperHost, 'clock' | 'log'>
  readonly #subjects = new Map<string, { untilMs: number; withheld: number }>()

  constructor(host: Pick<MapperHost, 'clock' | 'log'>) {
    this.#host = host
  }

  warn(subject: string, message: string): void {
    const nowMs = this.#host.clock.monotonic()
    const known = this.#subjects.get(subject)
    if (known !== undefined && nowMs < known.untilMs) {
      known.withheld++
      return
    }
    // Whoever invents subjects as fast as packets come must fill neither memory nor the log.
    if (known === undefined && this.#subjects.size >= MAX_SUBJECTS) {
      for (const [key, { untilMs }] of this.#subjects) if (untilMs <= nowMs) this.#subjects.delete(key)
      if (this.#subjects.size >= MAX_SUBJECTS) return
    }
    const tail = known === undefined || known.withheld === 0 ? '' : ` (${known.withheld} more like it meanwhile)`
    this.#subjects.set(subject, { untilMs: nowMs + QUIET_MS, withheld: 0 })
    this.#host.log('warn', `${message.slice(0, 400)}${tail}`)
  }
}
