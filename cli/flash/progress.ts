import type { Clock } from '../../api/clock.ts'
import type { Output } from '../output.ts'
import { gigabytes } from './disks.ts'

const EVERY_MS = 250
/** In plain lines, for logs. */
const EVERY_LINE_MS = 10_000

/** Shows how far a phase is: a line that is redrawn, lines now and then where there is no terminal, or JSON objects. */
export class Progress {
  readonly #out: Output
  readonly #clock: Pick<Clock, 'monotonic'>
  #phase = ''
  #startedMs = 0
  #shownMs = 0
  #drawn = false

  constructor(out: Output, clock: Pick<Clock, 'monotonic'>) {
    this.#out = out
    this.#clock = clock
  }

  show(phase: string, doneBytes: number, totalBytes: number): void {
    const nowMs = this.#clock.monotonic()
    if (phase !== this.#phase) {
      this.end()
      this.#phase = phase
      this.#startedMs = nowMs
      this.#shownMs = nowMs
    }
    const { interactive, json } = this.#out
    const every = interactive || json ? EVERY_MS : EVERY_LINE_MS
    const finished = doneBytes >= totalBytes
    if (nowMs - this.#shownMs < every && !(finished && (json || interactive))) return
    this.#shownMs = nowMs
    const { bytesPerSecond, etaSeconds } = rateOf(doneBytes, totalBytes, nowMs - this.#startedMs)
    if (json) {
      this.#out.value({ event: 'progress', phase, doneBytes, totalBytes, bytesPerSecond, etaSeconds })
      return
    }
    const percent = Math.floor((100 * doneBytes) / Math.max(1, totalBytes))
    const text = `${phase} ${percent}%  ${gigabytes(doneBytes)} of ${gigabytes(totalBytes)}  ${gigabytes(bytesPerSecond)}/s${etaSeconds === null ? '' : `  ${etaSeconds} s left`}`
    if (interactive) {
      this.#out.raw(`\r\x1b[2K${text.slice(0, this.#out.width - 1)}`)
      this.#drawn = true
    } else this.#out.note(text)
  }

  /** Leaves the line that was drawn. */
  end(): void {
    if (this.#drawn) this.#out.raw('\n')
    this.#drawn = false
  }
}

/** Mean rate so far and what is left at that rate, in whole seconds; null while there is nothing to judge by. */
export function rateOf(
  doneBytes: number,
  totalBytes: number,
  elapsedMs: number,
): { bytesPerSecond: number; etaSeconds: number | null } {
  const bytesPerSecond = elapsedMs > 0 ? Math.round((doneBytes * 1000) / elapsedMs) : 0
  const etaSeconds = bytesPerSecond > 0 ? Math.ceil(Math.max(0, totalBytes - doneBytes) / bytesPerSecond) : null
  return { bytesPerSecond, etaSeconds }
}
