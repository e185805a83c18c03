import { join } from 'node:path'
import { namesIn, numberOf, textOf } from './folder.ts'
import { KeptFile } from './kept-file.ts'
import type { EnergySource, Roots, Sample, SourceHealth } from './source.ts'

const MAX_ZONES = 32
const MAX_THROTTLE_COUNTERS = 16
const CPU_CHIPS = new Set(['coretemp', 'k10temp', 'zenpower', 'cpu_thermal'])
/** Lower than any gateway works, higher than any silicon survives. */
const PLAUSIBLE_CELSIUS = { min: -60, max: 150 }
/** A counter that moved this lately means throttled now: the kernel counts the beginning, not the time. */
const THROTTLED_FOR_MS = 10_000
/** They only grow, so nothing is missed between two looks. */
const COUNTERS_MS = 5000

/** Bits of the firmware's `get_throttled` that say what is so right now; those above 16 say what has been. */
const PI_THROTTLES: readonly (readonly [number, string])[] = [
  [1, 'under-voltage'],
  [2, 'frequency capped'],
  [4, 'throttled by the firmware'],
  [8, 'soft temperature limit'],
]

/** The reasons in the bit mask that `get_throttled` gives. */
export function piThrottles(mask: number): string[] {
  return PI_THROTTLES.filter(([bit]) => (mask & bit) !== 0).map(([, reason]) => reason)
}

interface Temperature {
  readonly name: string
  readonly file: KeptFile
}

interface ThrottleCounter {
  readonly file: KeptFile
  last: number | undefined
  movedMs: number
}

/** Temperatures, cooling that slows the processor down, and the counters of x86 and the Raspberry Pi's firmware. */
export class ThermalSource implements EnergySource {
  readonly name = 'thermal'
  readonly #roots: Roots
  #temperatures: Temperature[] = []
  #coolers: KeptFile[] = []
  #counters: ThrottleCounter[] = []
  #firmware: KeptFile | undefined
  #countersMs = Number.NEGATIVE_INFINITY
  #signature = ''
  #problem: string | undefined

  constructor(roots: Roots) {
    this.#roots = roots
  }

  discover(): void {
    const { sysRoot } = this.#roots
    const thermal = join(sysRoot, 'class/thermal')
    const hwmon = join(sysRoot, 'class/hwmon')
    const cpus = join(sysRoot, 'devices/system/cpu')
    const firmware = join(sysRoot, 'devices/platform/soc/soc:firmware/get_throttled')
    const names = [namesIn(thermal), namesIn(hwmon), namesIn(cpus)] as const
    const signature = `${names.join()} ${textOf(firmware) === undefined}`
    if (signature === this.#signature) return
    this[Symbol.dispose]()
    this.#signature = signature
    const zones = names[0].filter((entry) => entry.startsWith('thermal_zone'))
    this.#temperatures = [
      ...zones.map((entry) => temperature(join(thermal, entry), textOf(join(thermal, entry, 'type')) ?? entry, 'temp')),
      // Where the processor has a thermal zone, its sensor chip says the same once more.
      ...names[1].flatMap((entry) => {
        const chip = textOf(join(hwmon, entry, 'name')) ?? ''
        const wanted = CPU_CHIPS.has(chip) && !zones.some((zone) => isCpuZone(textOf(join(thermal, zone, 'type'))))
        return wanted ? [temperature(join(hwmon, entry), chip, 'temp1_input')] : []
      }),
    ].slice(0, MAX_ZONES)
    this.#temperatures = numbered(this.#temperatures)
    this.#coolers = names[0]
      .filter((entry) => entry.startsWith('cooling_device'))
      .filter((entry) => /^(processor|cpufreq|thermal-cpufreq)/i.test(textOf(join(thermal, entry, 'type')) ?? ''))
      .map((entry) => new KeptFile(join(thermal, entry, 'cur_state')))
    this.#counters = names[2]
      .filter((entry) => /^cpu\d+$/.test(entry))
      .map((entry) => join(cpus, entry, 'thermal_throttle/core_throttle_count'))
      .filter((path) => numberOf(path) !== undefined)
      .slice(0, MAX_THROTTLE_COUNTERS)
      .map((path) => ({ file: new KeptFile(path), last: undefined, movedMs: Number.NEGATIVE_INFINITY }))
    this.#firmware = textOf(firmware) === undefined ? undefined : new KeptFile(firmware)
  }

  sample(sample: Sample): void {
    const nowMs = sample.time.monotonicMs
    this.#problem = undefined
    for (const { name, file } of this.#temperatures) {
      const millidegrees = file.readInteger(nowMs)
      if (millidegrees === undefined) {
        if (file.problem === 'faulty') this.#problem = `${file.path} is no number`
        continue
      }
      const celsius = millidegrees / 1000
      if (celsius < PLAUSIBLE_CELSIUS.min || celsius > PLAUSIBLE_CELSIUS.max) {
        this.#problem = `${file.path} says ${celsius} °C`
      } else sample.temperatures.push({ name, celsius })
    }
    if (this.#coolers.some((cooler) => (cooler.readInteger(nowMs) ?? 0) > 0)) {
      addReason(sample, 'processor slowed down by heat')
    }
    const lookAtCounters = nowMs - this.#countersMs >= COUNTERS_MS
    if (lookAtCounters) this.#countersMs = nowMs
    for (const counter of this.#counters) {
      if (nowMs - counter.movedMs < THROTTLED_FOR_MS) addReason(sample, 'processor slowed down by heat')
      if (!lookAtCounters) continue
      const count = counter.file.readInteger(nowMs)
      if (count !== undefined && counter.last !== undefined && count > counter.last) counter.movedMs = nowMs
      counter.last = count
      if (nowMs - counter.movedMs < THROTTLED_FOR_MS) addReason(sample, 'processor slowed down by heat')
    }
    const mask = Number.parseInt(this.#firmware?.readText(nowMs) ?? '0', 16)
    for (const reason of piThrottles(mask)) addReason(sample, reason)
  }

  health(): readonly SourceHealth[] {
    const source = this.name
    if (this.#problem !== undefined) return [{ source, state: 'faulty', reason: this.#problem }]
    if (this.#temperatures.length > 0) return [{ source, state: 'ok' }]
    return [{ source, state: 'absent', reason: 'This machine has no temperature sensor the kernel knows' }]
  }

  [Symbol.dispose](): void {
    for (const { file } of [...this.#temperatures, ...this.#counters]) file[Symbol.dispose]()
    for (const file of this.#coolers) file[Symbol.dispose]()
    this.#firmware?.[Symbol.dispose]()
    this.#temperatures = []
    this.#coolers = []
    this.#counters = []
    this.#firmware = undefined
    this.#signature = ''
  }
}

const temperature = (folder: string, name: string, file: string): Temperature => ({
  name: name.slice(0, 60),
  file: new KeptFile(join(folder, file)),
})

const isCpuZone = (type: string | undefined): boolean => /x86_pkg_temp|cpu/i.test(type ?? '')

function addReason(sample: Sample, reason: string): void {
  if (!sample.throttles.includes(reason)) sample.throttles.push(reason)
}

/** Several zones of one name (`acpitz`) get numbers, so that each keeps its own. */
function numbered(zones: readonly Temperature[]): Temperature[] {
  const seen = new Map<string, number>()
  return zones.map((zone) => {
    const n = (seen.get(zone.name) ?? 0) + 1
    seen.set(zone.name, n)
    return n === 1 ? zone : { ...zone, name: `${zone.name}-${n}` }
  })
}
