/** Silence that is granted while a device's rhythm is not known yet. */
export const UNKNOWN_RHYTHM_MS = 2 * 3_600_000
export const LEAST_SILENCE_MS = 60_000
const MOST_SILENCE_MS = 86_400_000

/** The longest silence between two messages counts this often. */
const PATIENCE = 3
/** Messages in a burst say nothing of a rhythm: it is known only after so many silences over so long a time. */
const LEARN_GAPS = 3
const LEARN_MS = 600_000
/** A long silence is forgotten by half in this time: a device that was away for a night is not granted two more. */
const HALF_LIFE_MS = 6 * 3_600_000
/** One silence lengthens what is expected by this factor at most: an outage is not a rhythm. */
const MOST_GROWTH = 4

/**
 * How often something reports that speaks when it wants. Remembers the longest recent silence rather than a mean: motion
 * sensors and relays report in bursts and are silent for hours in between.
 */
export class Rhythm {
  #firstMs: number | undefined
  #lastMs = 0
  #gaps = 0
  #longestMs = 0

  /** A message came. Monotonic milliseconds. */
  heard(nowMs: number): void {
    if (this.#firstMs === undefined) {
      this.#firstMs = nowMs
      this.#lastMs = nowMs
      return
    }
    const gapMs = nowMs - this.#lastMs
    const known = this.#known
    const faded = this.#longestMs * 2 ** (-gapMs / HALF_LIFE_MS)
    const most = known ? MOST_GROWTH * Math.max(this.#longestMs, LEAST_SILENCE_MS / PATIENCE) : gapMs
    this.#longestMs = Math.max(faded, Math.min(gapMs, most))
    this.#lastMs = nowMs
    this.#gaps++
  }

  /** After so long without a message something is wrong. Milliseconds. */
  get silenceMs(): number {
    if (!this.#known) return UNKNOWN_RHYTHM_MS
    return Math.min(MOST_SILENCE_MS, Math.max(LEAST_SILENCE_MS, PATIENCE * this.#longestMs))
  }

  get #known(): boolean {
    return this.#gaps >= LEARN_GAPS && this.#lastMs - this.#firstMs! >= LEARN_MS
  }
}
