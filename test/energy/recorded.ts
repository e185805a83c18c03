import { readFileSync } from 'node:fs'
import { Battery } from '../../agent/energy/battery.ts'
import type { EnergyStorage } from '../../agent/energy/energy.ts'
import { MemoryStorage } from '../../agent/energy/fake-machine.test-helper.ts'
import { emptySample } from '../../agent/energy/sample.test-helper.ts'
import type { PackReading } from '../../agent/energy/source.ts'
import type { Forecast } from '../../api/schema/power.ts'
import { type LoadKind, SimulatedGateway } from './simulated-battery.ts'

const FOLDER = new URL('discharges/', import.meta.url)
const STEP_S = 10
const EPOCH_MS = 1.6e12
const DAYS_AT_MAINS = 3
/** The machine slept where more is missing, and nobody took samples. */
const ASLEEP_S = 600

interface Recording {
  readonly name: string
  /** What the gateway's own reader would have said, every ten seconds. */
  readonly samples: readonly { readonly atS: number; readonly pack: PackReading }[]
  /** When the power went, or where the recording ends. */
  readonly endS: number
  /** Charge at which the recording ends although the battery did not. */
  readonly endShare: number
}

/** How a forecast came out over the last half of a discharge. */
export interface Outcome {
  /** Mean and worst error: of the time left, or of a tenth of the whole where less than that is left. */
  readonly meanError: number
  readonly worstError: number
  /** Share of the minutes in which it was within 10 %, and in which its interval held the truth. */
  readonly within: number
  readonly covered: number
  /** Share of the minutes in which there was a forecast. */
  readonly told: number
  /**
   * The minutes whose load to come was, on the mean, within a tenth of the load of the hour before: what load there will be,
   * nobody can read off a battery. `share` of all, and `within` 10 % of these.
   */
  readonly steady: { readonly share: number; readonly meanError: number; readonly within: number }
}

export const RECORDINGS = ['thinkpad-1', 'thinkpad-2', 'librem5-1', 'librem5-2', 'pi-ups-1', 'pi-ups-2'] as const

type RecordingName = (typeof RECORDINGS)[number]

function readRecording(name: RecordingName): Recording {
  const lines = readFileSync(new URL(`${name}.csv`, FOLDER), 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
  const columns = lines[0]!.split(',')
  const rows = lines
    .slice(1)
    .map((line) => Object.fromEntries(line.split(',').map((cell, i) => [columns[i]!, Number(cell)])))
  const samples: { atS: number; pack: PackReading }[] = []
  let changed: { readonly energyJ: number; readonly atS: number } | undefined
  let watts: number | undefined
  let rowS = 0
  let atS = 0
  for (const [i, row] of rows.entries()) {
    const next = rows[i + 1]
    const gapS = next === undefined ? STEP_S : next['seconds']! - row['seconds']!
    const endS = rowS + (gapS > ASLEEP_S ? 60 : gapS)
    for (; atS < endS; atS += STEP_S) {
      // The log had a reading a minute; between two that were kept the gauge goes straight, in its own grain.
      const part = next === undefined || gapS > ASLEEP_S ? 0 : Math.floor((atS - rowS) / 60) * (60 / gapS)
      const pack = packOf(name, row, next ?? row, Math.max(0, part))
      if (pack.energyJ !== undefined) {
        // As the reader of power supplies does it where a battery does not say its power.
        if (changed === undefined) changed = { energyJ: pack.energyJ, atS }
        else if (changed.energyJ !== pack.energyJ) {
          watts = (pack.energyJ - changed.energyJ) / (atS - changed.atS)
          changed = { energyJ: pack.energyJ, atS }
        }
      }
      samples.push({ atS, pack: pack.watts === undefined && watts !== undefined ? { ...pack, watts } : pack })
    }
    rowS = endS
  }
  const last = samples.at(-1)!.pack
  const endShare = name.startsWith('librem5') ? last.energyJ! / last.fullJ! : 0
  return { name, samples, endS: samples.at(-1)!.atS, endShare }
}

type Row = Readonly<Record<string, number>>

function packOf(name: string, row: Row, next: Row, part: number): PackReading {
  const common = { name: 'BAT0', by: 'battery', state: 'discharging' } as const
  const { wattHours, milliampereHours, percent, milliwatts, millivolts } = row
  if (percent !== undefined) return { ...common, percent, watts: -milliwatts! / 1000, volts: millivolts! / 1000 }
  if (wattHours !== undefined) {
    const energy = wattHours + (next['wattHours']! - wattHours) * part
    const full = name === 'thinkpad-1' ? 45.09 : 45.01
    return { ...common, energyJ: Math.round(energy * 100) * 36, fullJ: full * 3600 }
  }
  const charge = Math.round(milliampereHours! + (next['milliampereHours']! - milliampereHours!) * part)
  return { ...common, energyJ: charge * 3.8 * 3.6, fullJ: 3000 * 3.8 * 3.6 }
}

/** A storage in which an earlier discharge is remembered that ended at this share of the gauge. */
function endsAt(share: number): MemoryStorage {
  const storage = new MemoryStorage()
  storage.put({ discharges: JSON.stringify({ reserveShare: share, curves: [] }) })
  return storage
}

/** Plays a recording through the battery of a gateway and judges what it told, each minute of the last half. */
function play({ samples, endS }: Recording, storage: EnergyStorage, bootId: string): Outcome {
  const battery = new Battery(storage, bootId)
  const judge = new Judge(samples, endS)
  for (const { atS, pack } of samples) {
    const time = { monotonicMs: atS * 1000, wallMs: EPOCH_MS + atS * 1000, elapsedS: STEP_S, suspendedS: 0 }
    battery.add({ ...emptySample(), time, packs: [pack] })
    judge.add(atS, battery.status?.timeToEmpty)
  }
  return judge.outcome
}

/**
 * A recording as the first discharge that a gateway sees, or after the one `before` it. Where a recording ends before the
 * battery did, that charge is known beforehand, and the time to it is judged.
 */
export function playFrom(name: RecordingName, before?: RecordingName): Outcome {
  const recording = readRecording(name)
  const storage = recording.endShare > 0 ? endsAt(recording.endShare) : new MemoryStorage()
  if (before !== undefined) play(readRecording(before), storage, 'boot-1')
  return play(recording, storage, 'boot-2')
}

/**
 * A gateway that has lived for some days with its mains and ran out several times; the last discharge is judged. Time goes
 * on from one to the next, and each run of the battery is a boot of its own.
 */
export function live(seed: number, kind: LoadKind, discharges: number): Outcome {
  const gateway = new SimulatedGateway(seed, kind)
  const storage = new MemoryStorage()
  let wallS = EPOCH_MS / 1000 + seed * 3600
  for (let turn = 1; ; turn++) {
    const battery = new Battery(storage, `boot-${turn}`)
    const atMains = turn === 1 ? 0 : DAYS_AT_MAINS * 86_400
    const beganS = wallS
    const add = (pack: PackReading, elapsedS: number, loadWatts: number) => {
      const time = { monotonicMs: (wallS - beganS) * 1000, wallMs: wallS * 1000, elapsedS, suspendedS: 0 }
      battery.add({ ...emptySample(), time, packs: [pack] }, loadWatts)
    }
    for (; wallS - beganS < atMains; wallS += 60) add(gateway.rest(), 60, gateway.watts(wallS, 60))
    gateway.recharge()
    const pulledS = wallS
    const samples: { atS: number; pack: PackReading }[] = []
    const told: (Forecast | undefined)[] = []
    for (;;) {
      const pack = gateway.discharge(wallS, STEP_S)
      if (pack === undefined) break
      add(pack, STEP_S, -pack.watts!)
      samples.push({ atS: wallS - pulledS, pack })
      told.push(battery.status?.timeToEmpty)
      wallS += STEP_S
    }
    if (turn < discharges) continue
    const judge = new Judge(samples, wallS - pulledS)
    for (const [i, { atS }] of samples.entries()) judge.add(atS, told[i])
    return judge.outcome
  }
}

class Judge {
  readonly #endS: number
  readonly #loads: LoadSums
  #minutes = 0
  #told = 0
  #within = 0
  #covered = 0
  #sum = 0
  #worst = 0
  readonly #steady = { minutes: 0, sum: 0, within: 0 }

  constructor(samples: Recording['samples'], endS: number) {
    this.#endS = endS
    this.#loads = new LoadSums(samples)
  }

  add(atS: number, forecast: Forecast | undefined): void {
    const endS = this.#endS
    if (atS < endS / 2 || atS % 60 !== 0) return
    this.#minutes++
    if (forecast === undefined) return
    const trueS = endS - atS
    const error = Math.abs(forecast.seconds - trueS) / Math.max(trueS, endS / 10)
    const within = error <= 0.1 ? 1 : 0
    this.#told++
    this.#sum += error
    this.#worst = Math.max(this.#worst, error)
    this.#within += within
    if (forecast.lowSeconds <= trueS && trueS <= forecast.highSeconds) this.#covered++
    if (!this.#loads.steady(atS, endS)) return
    this.#steady.minutes++
    this.#steady.sum += error
    this.#steady.within += within
  }

  get outcome(): Outcome {
    const told = this.#told
    const { minutes, sum, within } = this.#steady
    return {
      meanError: this.#sum / told,
      worstError: this.#worst,
      within: this.#within / told,
      covered: this.#covered / told,
      told: told / this.#minutes,
      steady: {
        share: minutes / told,
        meanError: minutes === 0 ? 0 : sum / minutes,
        within: minutes === 0 ? 1 : within / minutes,
      },
    }
  }
}

/** Mean load of any stretch of a recording: of what was measured, or else of what the gauge lost. */
class LoadSums {
  readonly #sums: number[] = [0]

  constructor(samples: Recording['samples']) {
    for (const { pack } of samples) this.#sums.push(this.#sums.at(-1)! + -(pack.watts ?? 0))
  }

  steady(atS: number, endS: number): boolean {
    const before = this.#mean(Math.max(0, atS - 3600), atS)
    return Math.abs(this.#mean(atS, endS) / before - 1) <= 0.1
  }

  #mean(fromS: number, toS: number): number {
    const [from, to] = [Math.floor(fromS / STEP_S), Math.max(Math.floor(fromS / STEP_S) + 1, Math.floor(toS / STEP_S))]
    return (this.#sums[Math.min(to, this.#sums.length - 1)]! - this.#sums[from]!) / (to - from)
  }
}

/** Means over several discharges, and the worst of all. */
export function summary(
  outcomes: readonly Outcome[],
): Pick<Outcome, 'meanError' | 'worstError' | 'within' | 'covered'> {
  const mean = (of: (outcome: Outcome) => number) => outcomes.reduce((sum, each) => sum + of(each), 0) / outcomes.length
  return {
    meanError: mean(({ meanError }) => meanError),
    worstError: Math.max(...outcomes.map(({ worstError }) => worstError)),
    within: mean(({ within }) => within),
    covered: mean(({ covered }) => covered),
  }
}
