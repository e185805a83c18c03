import { join } from 'node:path'
import { namesIn, textOf } from './folder.ts'
import { KeptFile } from './kept-file.ts'
import type { EnergySource, PackReading, Roots, Sample, SourceHealth } from './source.ts'

const MAX_SUPPLIES = 16
const MICROWATT_HOURS_TO_J = 3600e-6
const MICRO = 1e-6

type PackState = PackReading['state']

const STATES: Readonly<Record<string, PackState>> = {
  Charging: 'charging',
  Discharging: 'discharging',
  'Not charging': 'idle',
  Full: 'full',
}

/** Files of a pack, by the kernel's ABI (Documentation/ABI/testing/sysfs-class-power). Any of them may be missing. */
const ATTRIBUTES = [
  'capacity',
  'charge_full',
  'charge_full_design',
  'charge_now',
  'current_now',
  'cycle_count',
  'energy_full',
  'energy_full_design',
  'energy_now',
  'power_now',
  'present',
  'temp',
  'voltage_min_design',
  'voltage_now',
] as const
type Attribute = (typeof ATTRIBUTES)[number]
type Values = { [attribute in Attribute]?: number | undefined }

/** What hardly changes is read every tenth time. */
const SLOW = new Set<Attribute>([
  'charge_full',
  'charge_full_design',
  'cycle_count',
  'energy_full',
  'energy_full_design',
  'temp',
  'voltage_min_design',
])
const SLOW_MS = 10_000

class Pack implements Disposable {
  readonly name: string
  readonly #status: KeptFile
  readonly #files = new Map<Attribute, KeptFile>()
  readonly #values: Values = {}
  readonly #slope = new EnergySlope()
  problem: string | undefined
  forbidden = false
  #slowMs = Number.NEGATIVE_INFINITY

  constructor(folder: string, name: string) {
    this.name = name
    this.#status = new KeptFile(join(folder, 'status'))
    const there = new Set(namesIn(folder))
    for (const attribute of ATTRIBUTES) {
      if (there.has(attribute)) this.#files.set(attribute, new KeptFile(join(folder, attribute)))
    }
  }

  /** Undefined when the pack is taken out or says nothing. */
  read(nowMs: number, elapsedS: number): PackReading | undefined {
    this.problem = undefined
    this.forbidden = false
    const slow = nowMs - this.#slowMs >= SLOW_MS
    if (slow) this.#slowMs = nowMs
    for (const [attribute, file] of this.#files) {
      if (!slow && SLOW.has(attribute)) continue
      const value = file.readInteger(nowMs)
      this.#values[attribute] = value
      if (value !== undefined) continue
      if (file.problem === 'forbidden') this.forbidden = true
      else if (file.problem === 'faulty') this.problem = `${file.path} is no number`
    }
    if (this.#values.present === 0) return undefined
    const word = this.#status.readText(nowMs)
    const v = this.#values
    const stored = energyOf(v)
    if (word === undefined && stored.energyJ === undefined && v.capacity === undefined) return undefined
    const power = powerOf(v, STATES[word ?? ''] ?? 'unknown')
    const sloped = power.watts ?? this.#slope.watts(stored.energyJ, elapsedS)
    const percent = percentOf(v, stored)
    return {
      name: this.name,
      by: 'battery',
      state: power.state,
      ...(percent === undefined ? {} : { percent }),
      ...(v.voltage_now === undefined || v.voltage_now <= 0 ? {} : { volts: v.voltage_now / 1e6 }),
      ...(sloped === undefined ? {} : { watts: sloped }),
      ...stored,
      ...(v.cycle_count === undefined || v.cycle_count < 0 ? {} : { cycles: v.cycle_count }),
      ...(v.temp === undefined ? {} : { celsius: v.temp / 10 }),
      ...(this.problem === undefined ? {} : { doubt: this.problem }),
    }
  }

  [Symbol.dispose](): void {
    this.#status[Symbol.dispose]()
    for (const file of this.#files.values()) file[Symbol.dispose]()
  }
}

/** The power of a pack that only says how much is in it: what was gone when the figure last changed. */
class EnergySlope {
  #energyJ: number | undefined
  #sinceS = 0
  #watts: number | undefined

  watts(energyJ: number | undefined, elapsedS: number): number | undefined {
    this.#sinceS += elapsedS
    if (energyJ === undefined) return undefined
    if (this.#energyJ === undefined) {
      this.#energyJ = energyJ
      this.#sinceS = 0
    } else if (energyJ !== this.#energyJ && this.#sinceS > 0) {
      this.#watts = (energyJ - this.#energyJ) / this.#sinceS
      this.#energyJ = energyJ
      this.#sinceS = 0
    }
    return this.#watts
  }
}

function energyOf(v: Values): Pick<PackReading, 'energyJ' | 'fullJ' | 'designJ'> {
  // A charge is worth the voltage it is delivered at; the design voltage is nearer to its mean than the voltage now.
  const volts = (v.voltage_min_design ?? v.voltage_now ?? 0) * MICRO
  const joules = (energy: number | undefined, charge: number | undefined) => {
    const value = energy ?? (charge === undefined || volts <= 0 ? undefined : charge * volts)
    return value === undefined || value < 0 ? undefined : value * MICROWATT_HOURS_TO_J
  }
  const energyJ = joules(v.energy_now, v.charge_now)
  const fullJ = joules(v.energy_full, v.charge_full)
  const designJ = joules(v.energy_full_design, v.charge_full_design)
  return {
    ...(energyJ === undefined ? {} : { energyJ }),
    ...(fullJ === undefined || fullJ === 0 ? {} : { fullJ }),
    ...(designJ === undefined || designJ === 0 ? {} : { designJ }),
  }
}

/**
 * Drivers disagree on signs: the ABI has a positive current flow into the pack, many say a magnitude only, some turn it
 * round. `status` decides where it says something, and the sign only where it does not.
 */
function powerOf(v: Values, said: PackState): { watts?: number; state: PackState } {
  const flow =
    v.power_now !== undefined
      ? v.power_now * MICRO
      : v.current_now !== undefined && v.voltage_now !== undefined
        ? v.current_now * v.voltage_now * MICRO * MICRO
        : undefined
  if (flow === undefined) return { state: said }
  const signed = v.power_now !== undefined && (v.current_now ?? 0) < 0 ? -Math.abs(flow) : flow
  if (said === 'discharging') return { watts: -Math.abs(flow), state: said }
  if (said === 'charging') return { watts: Math.abs(flow), state: said }
  if (said === 'unknown' && signed < 0) return { watts: signed, state: 'discharging' }
  return { watts: said === 'unknown' ? signed : Math.min(0, signed), state: said }
}

function percentOf(v: Values, { energyJ, fullJ }: Pick<PackReading, 'energyJ' | 'fullJ'>) {
  if (v.capacity !== undefined && v.capacity >= 0 && v.capacity <= 100) return v.capacity
  return energyJ === undefined || fullJ === undefined ? undefined : Math.min(100, (energyJ / fullJ) * 100)
}

/** Batteries, UPS HATs with a kernel driver and mains adapters, under `class/power_supply`. */
export class PowerSupplySource implements EnergySource {
  readonly name = 'battery'
  readonly #root: string
  readonly #packs = new Map<string, Pack>()
  readonly #adapters = new Map<string, KeptFile>()
  #dischargedJ: number | undefined
  #read = 0

  constructor({ sysRoot }: Roots) {
    this.#root = join(sysRoot, 'class/power_supply')
  }

  discover(): void {
    const names = namesIn(this.#root).slice(0, MAX_SUPPLIES)
    const there = new Set<string>()
    for (const name of names) {
      const folder = join(this.#root, name)
      const type = textOf(join(folder, 'type'))
      // A battery of scope Device is in a mouse or a keyboard.
      if (type === undefined || textOf(join(folder, 'scope')) === 'Device') continue
      there.add(name)
      if (type === 'Battery' || type === 'UPS') {
        if (!this.#packs.has(name)) this.#packs.set(name, new Pack(folder, name))
      } else if (!this.#adapters.has(name)) this.#adapters.set(name, new KeptFile(join(folder, 'online')))
    }
    for (const kept of [this.#packs, this.#adapters]) {
      for (const [name, closable] of kept) {
        if (there.has(name)) continue
        closable[Symbol.dispose]()
        kept.delete(name)
      }
    }
  }

  sample(sample: Sample): void {
    const { monotonicMs, elapsedS } = sample.time
    for (const adapter of this.#adapters.values()) {
      const online = adapter.readInteger(monotonicMs)
      if (online !== undefined) sample.mains = (sample.mains ?? false) || online > 0
    }
    const packs: PackReading[] = []
    for (const pack of this.#packs.values()) {
      const reading = pack.read(monotonicMs, elapsedS)
      if (reading !== undefined) packs.push(reading)
    }
    this.#read = packs.length
    sample.packs.push(...packs)
    this.#discharge(sample, packs)
  }

  /** What the packs give is what the machine takes, as long as nothing else feeds it. */
  #discharge(sample: Sample, packs: readonly PackReading[]): void {
    const storedJ =
      packs.length > 0 && packs.every((p) => p.energyJ !== undefined) ? sum(packs.map((p) => p.energyJ!)) : undefined
    const before = this.#dischargedJ
    this.#dischargedJ = storedJ
    if (sample.mains === true || !packs.some(({ state }) => state === 'discharging')) return
    if (packs.some(({ state, watts }) => state === 'discharging' && watts === undefined)) return
    const watts = -sum(packs.map((pack) => pack.watts ?? 0))
    if (watts < 0) return
    const doubt = packs.find((pack) => pack.doubt !== undefined)?.doubt
    // Nobody took samples while the machine slept, but the pack knows what is gone.
    const slept = sample.time.suspendedS > 0 && before !== undefined && storedJ !== undefined && storedJ <= before
    sample.meters.push({
      meter: 'battery',
      by: 'battery',
      covers: 'machine',
      source: 'measured',
      watts,
      ...(slept ? { joules: before - storedJ } : {}),
      ...(doubt === undefined ? {} : { doubt }),
    })
  }

  health(): readonly SourceHealth[] {
    const source = this.name
    if (this.#packs.size === 0) return [{ source, state: 'absent', reason: 'This machine has no battery of its own' }]
    const packs = [...this.#packs.values()]
    if (packs.some(({ forbidden }) => forbidden)) {
      const remedy = 'Let this user read the files under class/power_supply; the kernel makes them readable for all.'
      return [{ source, state: 'forbidden', reason: 'A battery may not be read by this user', remedy }]
    }
    const problem = packs.find((pack) => pack.problem !== undefined)?.problem
    if (problem !== undefined) return [{ source, state: 'faulty', reason: problem }]
    if (this.#read === 0) return [{ source, state: 'absent', reason: 'No pack is plugged in' }]
    return [{ source, state: 'ok' }]
  }

  [Symbol.dispose](): void {
    for (const pack of this.#packs.values()) pack[Symbol.dispose]()
    for (const adapter of this.#adapters.values()) adapter[Symbol.dispose]()
    this.#packs.clear()
    this.#adapters.clear()
  }
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)
