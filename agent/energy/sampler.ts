import { join } from 'node:path'
import type { Clock, Timer } from '../../api/clock.ts'
import { KeptFile } from './kept-file.ts'
import type { EnergySource, Roots, Sample, SampleTime, SourceHealth } from './source.ts'

export const SAMPLE_MS = 1000
const DISCOVER_MS = 60_000
/** `/proc/uptime` counts hundredths and is read a moment after the clock; less than this is no sleep. */
const MIN_SUSPEND_S = 0.5

export interface SamplerOptions {
  readonly clock: Clock
  readonly roots: Roots
  readonly sources: readonly EnergySource[]
  readonly onSample: (sample: Sample) => void
  /** Default 1000. */
  readonly everyMs?: number
}

/**
 * Reads every source once a second. Durations are monotonic, so a wall clock that jumps changes no energy; the time the
 * machine slept is told apart by `/proc/uptime`, which goes on counting where the monotonic clock stands still.
 */
export class Sampler implements Disposable {
  readonly #options: SamplerOptions
  readonly #everyMs: number
  readonly #uptime: KeptFile
  #timer: Timer | undefined
  #dueMs = 0
  #discoverMs = Number.NEGATIVE_INFINITY
  #last: { readonly monotonicMs: number; readonly uptimeS: number | undefined } | undefined

  constructor(options: SamplerOptions) {
    this.#options = options
    this.#everyMs = options.everyMs ?? SAMPLE_MS
    this.#uptime = new KeptFile(join(options.roots.procRoot, 'uptime'))
  }

  start(): void {
    this.#dueMs = this.#options.clock.monotonic()
    this.#tick()
  }

  /** Takes one sample now. */
  sampleNow(): Sample {
    const { clock, sources } = this.#options
    const monotonicMs = clock.monotonic()
    if (monotonicMs - this.#discoverMs >= DISCOVER_MS) {
      this.#discoverMs = monotonicMs
      for (const source of sources) source.discover()
    }
    const sample: Sample = {
      time: this.#time(monotonicMs),
      meters: [],
      packs: [],
      temperatures: [],
      throttles: [],
      mains: undefined,
      activity: undefined,
    }
    for (const source of sources) source.sample(sample)
    this.#options.onSample(sample)
    return sample
  }

  health(): readonly SourceHealth[] {
    return this.#options.sources.flatMap((source) => source.health())
  }

  #time(monotonicMs: number): SampleTime {
    const uptimeS = this.#uptime.readDecimal(monotonicMs)
    const last = this.#last
    this.#last = { monotonicMs, uptimeS }
    const { clock } = this.#options
    if (last === undefined) return { monotonicMs, wallMs: clock.now(), elapsedS: 0, suspendedS: 0 }
    const elapsedS = Math.max(0, (monotonicMs - last.monotonicMs) / 1000)
    const slept = uptimeS === undefined || last.uptimeS === undefined ? 0 : uptimeS - last.uptimeS - elapsedS
    return { monotonicMs, wallMs: clock.now(), elapsedS, suspendedS: slept >= MIN_SUSPEND_S ? slept : 0 }
  }

  /** A turn that comes late does not move the others; turns that were missed are not made up for. */
  #tick(): void {
    this.sampleNow()
    const nowMs = this.#options.clock.monotonic()
    this.#dueMs += this.#everyMs
    if (this.#dueMs <= nowMs) this.#dueMs = nowMs + this.#everyMs - ((nowMs - this.#dueMs) % this.#everyMs)
    this.#timer = this.#options.clock.after(this.#dueMs - nowMs, () => this.#tick(), true)
  }

  [Symbol.dispose](): void {
    this.#timer?.cancel()
    this.#uptime[Symbol.dispose]()
    for (const source of this.#options.sources) source[Symbol.dispose]()
  }
}
