/** Calendar days of one time zone, asked every second and computed a few times a day. */
export class Days {
  readonly #dayOf: (wallMs: number) => string
  #day = ''
  #fromMs = 0
  #untilMs = 0

  /** Throws RangeError for a zone that does not exist; undefined is the machine's own. */
  constructor(timeZone: string | undefined) {
    this.#dayOf = timeZone === undefined ? localDay : dayIn(timeZone)
  }

  /** `2026-03-29` of a wall-clock time in milliseconds. */
  of(wallMs: number): string {
    if (wallMs >= this.#fromMs && wallMs < this.#untilMs) return this.#day
    this.#day = this.#dayOf(wallMs)
    // Every midnight there is lies on a full quarter of an hour of UTC, daylight saving or not.
    this.#fromMs = Math.floor(wallMs / QUARTER_MS) * QUARTER_MS
    this.#untilMs = this.#fromMs + QUARTER_MS
    return this.#day
  }
}

const QUARTER_MS = 900_000

/** By the machine's own zone. Not by Intl, whose first use takes 8 MiB. */
function localDay(wallMs: number): string {
  const date = new Date(wallMs)
  const two = (value: number) => String(value).padStart(2, '0')
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`
}

function dayIn(timeZone: string): (wallMs: number) => string {
  if (timeZone === 'UTC') return (wallMs) => new Date(wallMs).toISOString().slice(0, 10)
  const format = new Intl.DateTimeFormat('en-CA', { timeZone, year: 'numeric', month: '2-digit', day: '2-digit' })
  return (wallMs) => format.format(wallMs)
}
