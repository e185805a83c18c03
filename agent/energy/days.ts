/** Calendar days of one time zone, asked every second and computed a few times a day. */
export class Days {
  readonly #format: Intl.DateTimeFormat
  #day = ''
  #fromMs = 0
  #untilMs = 0

  /** Throws RangeError for a zone that does not exist; undefined is the machine's own. */
  constructor(timeZone: string | undefined) {
    this.#format = new Intl.DateTimeFormat('en-CA', {
      ...(timeZone === undefined ? {} : { timeZone }),
      year: 'numeric',
      month: '2-digit',
      day: '2-digit',
    })
  }

  /** `2026-03-29` of a wall-clock time in milliseconds. */
  of(wallMs: number): string {
    if (wallMs >= this.#fromMs && wallMs < this.#untilMs) return this.#day
    this.#day = this.#format.format(wallMs)
    // Every midnight there is lies on a full quarter of an hour of UTC, daylight saving or not.
    this.#fromMs = Math.floor(wallMs / QUARTER_MS) * QUARTER_MS
    this.#untilMs = this.#fromMs + QUARTER_MS
    return this.#day
  }
}

const QUARTER_MS = 900_000
