import type { Clock, Timer } from '../../api/clock.ts'
import type { EnergySeriesView } from '../../api/console/insight.ts'
import type { EnergySnapshot } from '../energy/snapshot.ts'

/** A point each five seconds, an hour back, of at most 40 parts: 115 KiB. */
const EVERY_MS = 5_000
const MOST_POINTS = 720
const MOST_PARTS = 40

/** Who took how much of the gateway's power, lately: in memory, and only since somebody first looked. */
export class EnergySeries implements Disposable {
  readonly #clock: Clock
  readonly #snapshot: () => EnergySnapshot
  readonly #podName: (uid: string) => string | undefined
  readonly #at: number[] = []
  /** By part; as long as `#at`, NaN where nothing was known of it. */
  readonly #watts = new Map<string, number[]>()
  readonly #sinceMs: number
  #timer: Timer | undefined

  /** @param podName `namespace/name` of a pod that runs here: what accounts for energy may know its uid alone. */
  constructor(clock: Clock, snapshot: () => EnergySnapshot, podName: (uid: string) => string | undefined) {
    this.#clock = clock
    this.#snapshot = snapshot
    this.#podName = podName
    this.#sinceMs = clock.now()
    this.#take()
  }

  /** What is newer than `fromMs`. */
  view(fromMs: number): EnergySeriesView {
    const found = this.#at.findIndex((atMs) => atMs > fromMs)
    const first = found < 0 ? this.#at.length : found
    const parts = [...this.#watts].map(([name, watts]) => ({ name, watts: watts.slice(first).map(rounded) }))
    const since = new Date(this.#at.length === MOST_POINTS ? this.#at[0]! : this.#sinceMs).toISOString()
    return { everyMs: EVERY_MS, since, atMs: this.#at.slice(first), parts }
  }

  [Symbol.dispose](): void {
    this.#timer?.cancel()
  }

  #take(): void {
    this.#timer = this.#clock.after(EVERY_MS, () => this.#take(), true)
    const parts = partsOf(this.#snapshot(), this.#podName)
    if (parts === undefined) return
    for (const [name, watts] of parts) {
      if (this.#watts.has(name) || watts <= 0 || this.#watts.size >= MOST_PARTS) continue
      this.#watts.set(
        name,
        this.#at.map(() => Number.NaN),
      )
    }
    this.#at.push(this.#clock.now())
    for (const [name, watts] of this.#watts) watts.push(parts.get(name) ?? Number.NaN)
    if (this.#at.length <= MOST_POINTS) return
    this.#at.shift()
    for (const [name, watts] of this.#watts) {
      watts.shift()
      if (watts.every((each) => Number.isNaN(each))) this.#watts.delete(name)
    }
  }
}

const rounded = (watts: number): number | null => (Number.isNaN(watts) ? null : Math.round(watts * 1e4) / 1e4)

/** `idle`, `rest`, `agent`, and `pod:`, `slice:`, `device:` with the name of each. */
function partsOf(
  { attribution }: EnergySnapshot,
  podName: (uid: string) => string | undefined,
): Map<string, number> | undefined {
  if (attribution === undefined) return undefined
  const { idle, rest, pods, slices, agent } = attribution
  return new Map([
    ['idle', idle.watts],
    ['rest', rest.watts],
    ['agent', agent.own.watts],
    ...pods
      .filter(({ state }) => state === 'running')
      .map(({ uid, name, watts }) => [`pod:${podName(uid) ?? name}`, watts] as const),
    ...slices.map(({ name, watts }) => [`slice:${name}`, watts] as const),
    ...agent.mappers.flatMap(({ devices }) => devices).map(({ name, watts }) => [`device:${name}`, watts] as const),
  ])
}
