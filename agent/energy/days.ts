/** Calendar days of one time zone, asked every second and computed a few times a day. */
export class Days {
  /** Only for a zone that is named: the tables behind it cost a gateway 6 MiB of resident memory. */
  readonly #format: Intl.DateTimeFormat | undefined
  #day = ''
  #fromMs = 0
  #untilMs = 0

  /** Throws RangeError for a zone that does not exist; undefined is the machine's own. */
  constructor(timeZone: string | undefined) {
    const parts = { year: 'numeric', month: '2-digit', day: '2-digit' } as const
    this.#format = timeZone === undefined ? undefined : new Intl.DateTimeFormat('en-CA', { timeZone, ...parts })
  }

  /** `2026-03-29` of a wall-clock time in milliseconds. */
  of(wallMs: number): string {
    if (wallMs >= this.#fromMs && wallMs < this.#untilMs) return this.#day
    this.#day = this.#format?.format(wallMs) ?? ownDay(new Date(wallMs))
    // Every midnight there is lies on a full quarter of an hour of UTC, daylight saving or not.
    this.#fromMs = Math.floor(wallMs / QUARTER_MS) * QUARTER_MS
    this.#untilMs = this.#fromMs + QUARTER_MS
    return this.#day
  }
}

const QUARTER_MS = 900_000

const digits = (value: number, length: number) => String(value).padStart(length, '0')

const ownDay = (date: Date): string =>
  `${digits(date.getFullYear(), 4)}-${digits(date.getMonth() + 1, 2)}-${digits(date.getDate(), 2)}`
