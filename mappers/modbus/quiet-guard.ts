import type { ModbusRequest } from './codec.ts'

/** A request whose answer may still come. */
interface Missed {
  readonly request: ModbusRequest
  readonly sinceMs: number
  readonly untilMs: number
}

/** How much longer than the latest answer ever seen to wait. */
const margin = 1.5

/** Remembers who did not answer, and until when that answer could come; see guarantee 2 of `LineSession`. */
export class QuietGuard {
  readonly #missed = new Map<number, Missed>()
  readonly #maxMs: number
  readonly #scope: 'line' | 'unit'
  #quietMs: number

  constructor(quietMs: number, maxMs: number, scope: 'line' | 'unit') {
    this.#quietMs = quietMs
    this.#maxMs = Math.max(quietMs, maxMs)
    this.#scope = scope
  }

  /** When a unit that is held now may be asked again; with scope `line` that is when all may. */
  freeAtMs(nowMs: number): number {
    let freeAt = 0
    for (const { untilMs } of this.#missed.values()) {
      if (untilMs <= nowMs) continue
      freeAt = freeAt === 0 || this.#scope === 'line' ? Math.max(freeAt, untilMs) : Math.min(freeAt, untilMs)
    }
    return freeAt
  }

  missed(unit: number, request: ModbusRequest, sinceMs: number): void {
    this.#missed.set(unit, { request, sinceMs, untilMs: sinceMs + this.#quietMs })
  }

  /** True while `unit` must not be asked. */
  holds(unit: number, nowMs: number): boolean {
    if (this.#missed.size === 0) return false
    // Kept beyond its hold up to `maxMs`: an answer even later than the hold teaches to wait longer.
    for (const [id, missed] of this.#missed) if (nowMs >= missed.sinceMs + this.#maxMs) this.#missed.delete(id)
    if (this.#scope === 'unit') return (this.#missed.get(unit)?.untilMs ?? 0) > nowMs
    for (const missed of this.#missed.values()) if (missed.untilMs > nowMs) return true
    return false
  }

  /** Every request whose late answer to look for. */
  entries(): IterableIterator<[number, Missed]> {
    return this.#missed.entries()
  }

  get size(): number {
    return this.#missed.size
  }

  /** The late answer of `unit` came. */
  cameLate(unit: number, nowMs: number): void {
    const missed = this.#missed.get(unit)
    if (missed === undefined) return
    this.#missed.delete(unit)
    this.#quietMs = Math.min(this.#maxMs, Math.max(this.#quietMs, margin * (nowMs - missed.sinceMs)))
  }

  /** `unit` answered a later request: the old answer is not awaited any more. */
  answered(unit: number): void {
    this.#missed.delete(unit)
  }
}
