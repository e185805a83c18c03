import type { MeterFigure, ZoneFigure } from './snapshot.ts'
import type { Sample } from './source.ts'

const MAX_GAP_S = 60
/** Meters come and go with their hardware; those gone longest are forgotten. */
const MAX_METERS = 128

interface Entry {
  figure: MeterFigure
  lastWatts: number | undefined
}

interface Zone {
  path: string
  watts: number
  joules: number
  activeWatts: number
  activeJoules: number
}

/** What each meter counted for itself since the agent started, whatever the whole is taken from. */
export class MeterBook {
  readonly #entries = new Map<string, Entry>()
  readonly #zones = new Map<string, Zone>()

  add({ time, meters, activity }: Sample): void {
    const { elapsedS } = time
    const usage =
      activity === undefined || activity.totalCpuS <= 0 ? 0 : Math.min(1, activity.busyCpuS / activity.totalCpuS)
    for (const zone of this.#zones.values()) zone.watts = zone.activeWatts = 0
    for (const reading of meters) {
      const { meter, by, covers, source, watts, doubt, zone } = reading
      const before = this.#entries.get(meter)
      const joules = reading.joules ?? trapezoid(before?.lastWatts, watts, elapsedS)
      const figure: MeterFigure = {
        meter,
        by,
        covers,
        source,
        ...(watts === undefined ? {} : { watts }),
        joules: (before?.figure.joules ?? 0) + joules,
        ...(doubt === undefined ? {} : { doubt }),
      }
      this.#entries.delete(meter)
      this.#entries.set(meter, { figure, lastWatts: watts })
      if (zone !== undefined && reading.joules !== undefined && elapsedS > 0) {
        this.#addZone(zone, reading.path ?? '', reading.joules, elapsedS, usage)
      }
    }
    for (const meter of this.#entries.keys()) {
      if (this.#entries.size <= MAX_METERS) break
      this.#entries.delete(meter)
    }
  }

  /** Sockets of one zone are added; different zones never. */
  #addZone(name: string, path: string, joules: number, elapsedS: number, usage: number): void {
    let zone = this.#zones.get(name)
    if (zone === undefined) {
      zone = { path, watts: 0, joules: 0, activeWatts: 0, activeJoules: 0 }
      this.#zones.set(name, zone)
    }
    zone.watts += joules / elapsedS
    zone.joules += joules
    zone.activeWatts += (joules * usage) / elapsedS
    zone.activeJoules += joules * usage
  }

  get meters(): readonly MeterFigure[] {
    return [...this.#entries.values()].map(({ figure }) => figure)
  }

  get zones(): readonly ZoneFigure[] {
    return [...this.#zones].map(([zone, { path, watts, joules, activeWatts, activeJoules }]) => ({
      zone,
      path,
      watts,
      joules,
      activeWatts,
      activeJoules,
      idleWatts: watts - activeWatts,
      idleJoules: joules - activeJoules,
    }))
  }
}

function trapezoid(before: number | undefined, now: number | undefined, elapsedS: number): number {
  return now === undefined || elapsedS > MAX_GAP_S ? 0 : (((before ?? now) + now) / 2) * elapsedS
}
