import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { namesIn, numberOf, textOf } from './folder.ts'
import { KeptFile } from './kept-file.ts'
import type { Coverage, EnergySource, Roots, Sample, SourceHealth } from './source.ts'

const MAX_CHANNELS = 32
const MICRO = 1e-6
/** Labels of a rail that feeds everything: Jetson's VDD_IN and POM_5V_IN, and what carrier boards call theirs. */
const WHOLE = /^(vdd_in|pom_5v_in|5v_in|vin|v_in|dc_in|vsys|sys|total|input|supply)\b/i
const INA2XX = /^ina(2\d\d|7\d\d)/

/** Either a file of microwatts, or millivolts and milliamperes to multiply. */
interface Channel {
  readonly meter: string
  readonly by: string
  readonly covers: Coverage
  readonly power: KeptFile | undefined
  readonly volts: KeptFile | undefined
  readonly amps: KeptFile | undefined
  readonly doubt: string | undefined
}

/**
 * Power sensors under `class/hwmon`, found by their `name`, for the number of a folder changes from boot to boot.
 * Units: Documentation/hwmon/sysfs-interface.rst.
 */
export class HwmonSource implements EnergySource {
  readonly name = 'hwmon'
  readonly #root: string
  #channels: Channel[] = []
  #alarm: KeptFile | undefined
  #signature = ''
  #problem: SourceHealth | undefined

  constructor({ sysRoot }: Roots) {
    this.#root = join(sysRoot, 'class/hwmon')
  }

  discover(): void {
    const chips = namesIn(this.#root).map((entry) => ({ entry, name: chipName(join(this.#root, entry)) }))
    const signature = JSON.stringify(chips)
    if (signature === this.#signature) return
    this[Symbol.dispose]()
    this.#signature = signature
    const found: Channel[] = []
    for (const { entry, name } of chips) {
      if (name === undefined) continue
      const folder = join(this.#root, entry)
      if (name === 'rpi_volt') this.#alarm = new KeptFile(join(folder, 'in0_lcrit_alarm'))
      else found.push(...channelsOf(folder, entry, name))
    }
    this.#channels = onlyOneWhole(found).slice(0, MAX_CHANNELS)
  }

  sample(sample: Sample): void {
    const { monotonicMs } = sample.time
    this.#problem = undefined
    if (this.#alarm?.readInteger(monotonicMs) === 1) sample.throttles.push('under-voltage')
    for (const { meter, by, covers, power, volts, amps, doubt } of this.#channels) {
      const watts = wattsOf(power, volts, amps, monotonicMs)
      if (watts === undefined || watts < 0) {
        this.#complain(meter, watts, [power, volts, amps])
        continue
      }
      const path = (power ?? volts!).path
      sample.meters.push({
        meter,
        by,
        covers,
        path,
        source: 'measured',
        watts,
        ...(doubt === undefined ? {} : { doubt }),
      })
    }
  }

  #complain(meter: string, watts: number | undefined, files: readonly (KeptFile | undefined)[]): void {
    const source = this.name
    const problem = files.find((file) => file?.problem !== undefined)
    if (watts !== undefined) {
      const reason = `${meter} says ${watts} W; a shunt that is wired the other way round measures negative`
      this.#problem = { source, state: 'faulty', reason, remedy: 'Swap the two sides of the shunt.' }
    } else if (problem?.problem === 'forbidden') {
      const remedy = `Let this user read ${problem.path}, by a udev rule or a group.`
      this.#problem = { source, state: 'forbidden', reason: `${problem.path} may not be read by this user`, remedy }
    } else {
      const reason = `${problem?.path ?? meter} ${problem?.problem === 'absent' ? 'gives nothing' : 'is no number'}`
      this.#problem = { source, state: 'faulty', reason }
    }
  }

  health(): readonly SourceHealth[] {
    if (this.#problem !== undefined) return [this.#problem]
    const reason = 'This machine has no power sensor among its hardware monitors'
    return [
      this.#channels.length > 0 ? { source: this.name, state: 'ok' } : { source: this.name, state: 'absent', reason },
    ]
  }

  [Symbol.dispose](): void {
    this.#alarm?.[Symbol.dispose]()
    this.#alarm = undefined
    for (const { power, volts, amps } of this.#channels) {
      power?.[Symbol.dispose]()
      volts?.[Symbol.dispose]()
      amps?.[Symbol.dispose]()
    }
    this.#channels = []
    this.#signature = ''
  }
}

function wattsOf(power: KeptFile | undefined, volts: KeptFile | undefined, amps: KeptFile | undefined, nowMs: number) {
  const microwatts = power?.readInteger(nowMs)
  if (microwatts !== undefined) return microwatts * MICRO
  if (volts === undefined || amps === undefined) return undefined
  const millivolts = volts.readInteger(nowMs)
  const milliamps = amps.readInteger(nowMs)
  return millivolts === undefined || milliamps === undefined ? undefined : millivolts * milliamps * MICRO
}

const chipName = (folder: string): string | undefined =>
  textOf(join(folder, 'name')) ?? textOf(join(folder, 'device/name'))

function channelsOf(folder: string, entry: string, name: string): Channel[] {
  if (name === 'ina3221') return [1, 2, 3].flatMap((n) => shuntChannel(folder, entry, name, n))
  // Before Linux 6.1 the ACPI meter has its files in the device's folder.
  for (const base of [folder, join(folder, 'device')]) {
    for (const file of ['power1_average', 'power1_input']) {
      if (!existsSync(join(base, file))) continue
      const label = textOf(join(base, 'power1_label')) ?? textOf(join(base, 'in1_label')) ?? ''
      const whole = name === 'power_meter' || INA2XX.test(name) || WHOLE.test(label)
      return [
        {
          meter: `hwmon:${name}:${entry}/power1`,
          by: `hwmon:${name}`,
          covers: whole ? 'machine' : 'part',
          power: new KeptFile(join(base, file)),
          volts: INA2XX.test(name) ? new KeptFile(join(base, 'in1_input')) : undefined,
          amps: INA2XX.test(name) ? new KeptFile(join(base, 'curr1_input')) : undefined,
          doubt: INA2XX.test(name) && !WHOLE.test(label) ? 'Taken to sit in the supply line of the machine' : undefined,
        },
      ]
    }
  }
  return INA2XX.test(name) ? shuntChannel(folder, entry, name, 1) : []
}

function shuntChannel(folder: string, entry: string, name: string, n: number): Channel[] {
  if (!existsSync(join(folder, `curr${n}_input`)) || numberOf(join(folder, `in${n}_enable`)) === 0) return []
  const label = textOf(join(folder, `in${n}_label`)) ?? textOf(join(folder, `curr${n}_label`)) ?? ''
  const channel: Channel = {
    meter: `hwmon:${name}:${entry}/${label === '' ? `channel${n}` : label}`,
    by: `hwmon:${name}`,
    covers: WHOLE.test(label) || (INA2XX.test(name) && name !== 'ina3221') ? 'machine' : 'part',
    power: undefined,
    volts: new KeptFile(join(folder, `in${n}_input`)),
    amps: new KeptFile(join(folder, `curr${n}_input`)),
    doubt: undefined,
  }
  return [channel]
}

/** One sensor without a label sits in the supply line. Of several, nobody knows which one does: then none is the whole. */
function onlyOneWhole(channels: readonly Channel[]): Channel[] {
  const assumed = channels.filter(({ covers, doubt }) => covers === 'machine' && doubt !== undefined)
  const certain = channels.some(({ covers, doubt }) => covers === 'machine' && doubt === undefined)
  if (assumed.length === 0 || (assumed.length === 1 && !certain)) return [...channels]
  return channels.map((channel) =>
    assumed.includes(channel) ? { ...channel, covers: 'part', doubt: undefined } : channel,
  )
}
