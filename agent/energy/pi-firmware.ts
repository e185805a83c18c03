import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock } from '../../api/clock.ts'
import { type RunTool, runTool, SlowProbe, ToolFailure } from './slow-probe.ts'
import type { EnergySource, Roots, Sample, SourceHealth } from './source.ts'
import { piThrottles } from './thermal.ts'

const EVERY_MS = 10_000
const TIMEOUT_MS = 3000

/**
 * From the rails of the Pi 5's power chip to what goes in at the plug: a published linear fit against a wall meter.
 * The chip does not measure the 5 V rail's current, so USB devices are only in the fit's mean.
 */
const WALL_FIT = { factor: 1.1451, offsetWatts: 0.5879, errorPercent: 10 }

/** Sum of volts times amperes of the rails that `vcgencmd pmic_read_adc` prints; undefined when no rail has both. */
export function pmicWatts(output: string): number | undefined {
  const amps = new Map<string, number>()
  const volts = new Map<string, number>()
  for (const [, rail, kind, value] of output.matchAll(/^\s*(\w+)_[AV] (current|volt)\(\d+\)=(-?[\d.]+)[AV]\s*$/gm)) {
    const number = Number(value)
    if (Number.isFinite(number) && number >= 0) (kind === 'current' ? amps : volts).set(rail!, number)
  }
  let watts: number | undefined
  for (const [rail, current] of amps) {
    const voltage = volts.get(rail)
    if (voltage !== undefined) watts = (watts ?? 0) + voltage * current
  }
  return watts
}

/** The mask in `throttled=0x50005`. */
export function throttledMask(output: string): number | undefined {
  const digits = /throttled=0x([0-9a-f]{1,8})\b/i.exec(output)?.[1]
  return digits === undefined ? undefined : Number.parseInt(digits, 16)
}

interface FirmwareAnswer {
  readonly watts: number | undefined
  readonly throttles: readonly string[]
}

/**
 * What only the Raspberry Pi's firmware knows: rail currents of a Pi 5, and throttling where the kernel has no file for
 * it. The mailbox behind it wants an ioctl, which Node has not, so `vcgencmd` is run every 10 s beside the samples.
 */
export class PiFirmwareSource implements EnergySource {
  readonly name = 'pmic'
  readonly #roots: Roots
  readonly #probe: SlowProbe<FirmwareAnswer>
  #isPi = false
  #kernelTellsThrottling = false

  constructor(roots: Roots, clock: Clock, run: RunTool = runTool) {
    this.#roots = roots
    this.#probe = new SlowProbe({ clock, everyMs: EVERY_MS, probe: (signal) => this.#ask(run, signal) })
  }

  discover(): void {
    this.#isPi = existsSync(join(this.#roots.sysRoot, 'bus/platform/drivers/raspberrypi-firmware'))
    const soc = join(this.#roots.sysRoot, 'devices/platform/soc')
    this.#isPi ||= existsSync(join(soc, 'soc:firmware'))
    this.#kernelTellsThrottling = existsSync(join(soc, 'soc:firmware/get_throttled'))
    if (this.#isPi) this.#probe.start()
  }

  async #ask(run: RunTool, signal: AbortSignal): Promise<FirmwareAnswer> {
    const options = { signal, timeoutMs: TIMEOUT_MS }
    const mask = this.#kernelTellsThrottling ? 0 : throttledMask(await run('vcgencmd', ['get_throttled'], options))
    // A Pi before the 5 has no such chip and says so with an error.
    const adc = await run('vcgencmd', ['pmic_read_adc'], options).catch((error: unknown) => {
      if (this.#kernelTellsThrottling) throw error
      return ''
    })
    return { watts: pmicWatts(adc), throttles: piThrottles(mask ?? 0) }
  }

  sample(sample: Sample): void {
    const newest = this.#probe.newest()
    if (newest === undefined) return
    for (const reason of newest.value.throttles) if (!sample.throttles.includes(reason)) sample.throttles.push(reason)
    const { watts } = newest.value
    if (watts === undefined) return
    const { factor, offsetWatts, errorPercent } = WALL_FIT
    const doubt = 'The rails of the power chip and a published fit; read every 10 s'
    const wall = watts * factor + offsetWatts
    sample.meters.push(
      { meter: 'pmic:rails', by: 'pmic', covers: 'part', source: 'measured', watts },
      { meter: 'pmic', by: 'pmic', covers: 'machine', source: 'estimated', errorPercent, watts: wall, doubt },
    )
  }

  health(): readonly SourceHealth[] {
    const source = this.name
    if (!this.#isPi) return [{ source, state: 'absent', reason: 'This is no Raspberry Pi' }]
    const { error } = this.#probe
    if (error instanceof ToolFailure && error.missing) {
      const remedy = 'Install vcgencmd: apt-get install raspi-utils (or libraspberrypi-bin).'
      return [{ source, state: 'absent', reason: 'vcgencmd is not installed', remedy }]
    }
    if (error instanceof ToolFailure && error.forbidden) {
      const remedy = 'Add the agent to the group video: usermod -aG video sluice.'
      return [{ source, state: 'forbidden', reason: error.message, remedy }]
    }
    if (error !== undefined) {
      return [{ source, state: 'faulty', reason: error instanceof Error ? error.message : String(error) }]
    }
    if (!this.#probe.answered) return [{ source, state: 'absent', reason: 'The firmware has not answered yet' }]
    if (this.#probe.newest()?.value.watts !== undefined) return [{ source, state: 'ok' }]
    return [{ source, state: 'absent', reason: 'This Raspberry Pi has no current sensing; the Pi 5 does' }]
  }

  [Symbol.dispose](): void {
    this.#probe[Symbol.dispose]()
  }
}
